//! How much there is in a body, without making anything of it.
//!
//! Whoever works on each element of a body (as a [tree](crate::tree), say) takes time by their number, not by the bytes: names may be empty, and
//! 100,000 of them fit 100 KB. Counting them costs a few nanoseconds each, and ends at a limit.

use crate::api::{ApiKey, Direction};
use crate::cursor::Cursor;
use crate::plan::{Interest, Op, Plans, Tag};
use crate::walk::{WalkError, element_count, finish, skip, tag_count};

/// Elements of all arrays of a body, those within others included, and tagged fields. `None`: more than `limit`; the body has not been
/// looked at to its end.
///
/// # Errors
/// The body is no message of this kind.
pub fn elements(
    api: ApiKey,
    version: i16,
    dir: Direction,
    body: &[u8],
    limit: usize,
) -> Result<Option<usize>, WalkError> {
    static PLANS: Plans = Plans::new(Interest::NONE);
    let plan = PLANS
        .get(api, version, dir)
        .ok_or(WalkError::UnknownMessage { api, version })?;
    let mut cursor = Cursor::new(body);
    let mut count = Count { left: limit };
    if count.program(&mut cursor, &plan.root.ops)?.is_none() {
        return Ok(None);
    }
    finish(&cursor)?;
    Ok(Some(limit - count.left))
}

struct Count {
    left: usize,
}

/// `None`: there are more than may be counted.
type Counted = Result<Option<()>, WalkError>;

impl Count {
    fn program(&mut self, cursor: &mut Cursor<'_>, ops: &[Op]) -> Counted {
        for op in ops {
            match op {
                Op::SkipElements {
                    size,
                    prefix,
                    nullable,
                } => {
                    let count = element_count(cursor, *prefix, *nullable, *size)?.unwrap_or(0);
                    if self.take(count).is_none() {
                        return Ok(None);
                    }
                    cursor.advance(count * *size as usize)?;
                }
                Op::Array {
                    element,
                    prefix,
                    nullable,
                    ..
                } => {
                    let count = element_count(cursor, *prefix, *nullable, element.min_size)?;
                    let count = count.unwrap_or(0);
                    if self.take(count).is_none() {
                        return Ok(None);
                    }
                    for _ in 0..count {
                        if self.program(cursor, &element.ops)?.is_none() {
                            return Ok(None);
                        }
                    }
                }
                Op::Struct {
                    inner, nullable, ..
                } => {
                    if (!nullable || cursor.present()?)
                        && self.program(cursor, &inner.ops)?.is_none()
                    {
                        return Ok(None);
                    }
                }
                Op::Tags { known, .. } => {
                    if self.tags(cursor, known)?.is_none() {
                        return Ok(None);
                    }
                }
                Op::Skip(size) => cursor.advance(*size as usize)?,
                Op::SkipVar { prefix, nullable } => {
                    let len = cursor.prefix(*prefix, *nullable)?.unwrap_or(0);
                    cursor.advance(len)?;
                }
                Op::Fixed { .. } | Op::Var { .. } => skip(cursor, std::slice::from_ref(op))?,
            }
        }
        Ok(Some(()))
    }

    fn tags(&mut self, cursor: &mut Cursor<'_>, known: &[Tag]) -> Counted {
        let count = tag_count(cursor)?;
        if self.take(count).is_none() {
            return Ok(None);
        }
        for _ in 0..count {
            let tag = cursor.varint()?;
            let size = cursor.varint()? as usize;
            let offset = cursor.pos;
            if size > cursor.remaining() {
                return Err(WalkError::Truncated { offset });
            }
            let Some(tag) = known.iter().find(|known| known.tag == tag) else {
                cursor.advance(size)?;
                continue;
            };
            let outer = std::mem::replace(&mut cursor.end, offset + size);
            if self.program(cursor, &tag.program.ops)?.is_none() {
                return Ok(None);
            }
            if cursor.pos != cursor.end {
                return Err(WalkError::TagSizeMismatch { offset: cursor.pos });
            }
            cursor.end = outer;
        }
        Ok(Some(()))
    }

    fn take(&mut self, count: usize) -> Option<()> {
        self.left = self.left.checked_sub(count)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Rng, crowded_bodies, mutate, random_body};
    use crate::walk::validate;

    #[test]
    fn it_agrees_with_the_walker_on_what_is_a_message() {
        let mut rng = Rng::new(11);
        for api in ApiKey::all() {
            let spec = api.spec().expect("it is in the table");
            for version in spec.min_version..=spec.max_version {
                for dir in [Direction::Request, Direction::Response] {
                    let mut body = random_body(api, version, dir, &mut rng);
                    let counted = elements(api, version, dir, &body, usize::MAX);
                    assert!(matches!(counted, Ok(Some(_))), "{api} v{version}");
                    mutate(&mut body, &mut rng);
                    let counted = elements(api, version, dir, &body, usize::MAX);
                    let valid = validate(api, version, dir, &body);
                    assert_eq!(counted.map(drop), valid, "{api} v{version}");
                }
            }
        }
    }

    #[test]
    fn elements_are_counted_up_to_the_limit() {
        // DeleteGroups version 2: three groups without a name, no tagged fields.
        let body = [4, 1, 1, 1, 0];
        let count = |limit| elements(ApiKey::DELETE_GROUPS, 2, Direction::Request, &body, limit);
        assert_eq!(count(9), Ok(Some(3)));
        assert_eq!(count(3), Ok(Some(3)));
        assert_eq!(count(2), Ok(None));
        for api in ApiKey::all() {
            let version = api.spec().map_or(0, |spec| spec.max_version);
            for (path, body) in crowded_bodies(api, version, Direction::Request, 100) {
                let counted = elements(api, version, Direction::Request, &body, 1000);
                let enough = matches!(counted, Ok(Some(100..=250)));
                assert!(enough, "{api} {path}: {counted:?}");
            }
        }
    }
}
