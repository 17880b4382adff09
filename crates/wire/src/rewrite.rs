//! Changing fields of a body without decoding it.
//!
//! The result is a list of [`Segments`]: ranges of the input that stay byte for byte (unknown tagged fields, longer varints and all) and
//! the patches between them. Fixed-size fields are patched in place.
//!
//! ```
//! use sluicegate_wire::api::{ApiKey, Direction};
//! use sluicegate_wire::plan::{Interest, Plan};
//! use sluicegate_wire::rewrite::{Edits, Rewrite, Segments};
//! use sluicegate_wire::schema::Entity;
//! use sluicegate_wire::walk::{Field, Value};
//!
//! struct Prefixed(&'static str);
//! impl Rewrite for Prefixed {
//!     fn field(&mut self, field: &Field<'_>, edits: &mut Edits<'_>) {
//!         if let Value::Text(Some(name)) = field.value {
//!             edits.set_text(Some(&[self.0.as_bytes(), name].concat()));
//!         }
//!     }
//! }
//!
//! let mut body = [0, 1, b'g', 0, 0, 0, 7, 0, 1, b'm'];
//! let plan = Plan::compile(ApiKey::HEARTBEAT, 0, Direction::Request, Interest::of(&[Entity::GroupId])).unwrap();
//! let mut out = Segments::new();
//! plan.rewrite(&mut body, &mut Prefixed("tenant-"), &mut out).unwrap();
//! assert_eq!(out.to_vec(&body), b"\0\x08tenant-g\0\0\0\x07\0\x01m");
//! ```

use std::fmt;
use std::ops::Range;

use crate::cursor::Cursor;
use crate::plan::{Op, Plan, Prefix};
use crate::schema::FieldSpec;
use crate::stream::StopPoint;
use crate::walk::{Field, Shape, Sink, Value, WalkError, finish, walk};

/// Decides what happens to the fields of interest.
pub trait Rewrite {
    /// A field of interest, or one element of an array of such.
    fn field(&mut self, field: &Field<'_>, edits: &mut Edits<'_>);

    /// A struct (one element, if `spec` is an array) that can hold something of interest begins at `pos`.
    fn enter(&mut self, _spec: &'static FieldSpec, _pos: usize, _edits: &mut Edits<'_>) {}

    /// The struct ends before `pos`.
    fn leave(&mut self, _spec: &'static FieldSpec, _pos: usize, _edits: &mut Edits<'_>) {}
}

impl Plan {
    /// Walks `body`, lets `rewriter` edit it and puts the result into `out`, which is cleared first. The body itself changes only where
    /// fixed-size fields are set, and only if the walk succeeds.
    pub fn rewrite<R: Rewrite>(
        &self,
        body: &mut [u8],
        rewriter: &mut R,
        out: &mut Segments,
    ) -> Result<(), WalkError> {
        rewrite(&self.root.ops, body, rewriter, out)
    }

    /// Like [`Plan::rewrite`] for the end of a body whose beginning a [`StreamWalker`](crate::stream::StreamWalker) went through.
    /// Positions count from the beginning of `tail`.
    pub fn rewrite_tail<R: Rewrite>(
        &self,
        stop: StopPoint,
        tail: &mut [u8],
        rewriter: &mut R,
        out: &mut Segments,
    ) -> Result<(), WalkError> {
        rewrite(self.ops_from(stop), tail, rewriter, out)
    }
}

/// Edits a [`Rewrite`] makes. An edit that cannot be done makes the rewrite fail with [`WalkError::BadEdit`].
pub struct Edits<'o> {
    out: &'o mut Segments,
    /// The field that [`Rewrite::field`] is looking at.
    current: Option<(usize, Shape, Kind)>,
    /// New encoding of the current field, from here to the end of the arena.
    pending: Option<usize>,
    drop: bool,
    problem: Option<(usize, EditProblem)>,
    /// Output bytes minus input bytes so far.
    growth: i64,
}

impl Edits<'_> {
    /// Overwrites the integer or bool of `width` bytes at `pos` (a [`Field::pos`] of this body, the current one or another).
    pub fn set_int(&mut self, pos: usize, width: u8, value: i64) {
        match width {
            1 | 2 | 4 | 8 => self.patch(pos, &value.to_be_bytes()[8 - usize::from(width)..]),
            _ => self.fail(pos, EditProblem::BadWidth(width)),
        }
    }

    /// Overwrites the uuid at `pos`.
    pub fn set_uuid(&mut self, pos: usize, value: [u8; 16]) {
        self.patch(pos, &value);
    }

    /// Replaces the string this call of [`Rewrite::field`] is about.
    pub fn set_text(&mut self, value: Option<&[u8]>) {
        self.set_variable(value, Kind::Text);
    }

    /// Replaces the bytes or records this call of [`Rewrite::field`] is about.
    pub fn set_bytes(&mut self, value: Option<&[u8]>) {
        self.set_variable(value, Kind::Bytes);
    }

    /// Removes the array element this call of [`Rewrite::leave`] is about, or of [`Rewrite::field`] for an array of strings or numbers.
    pub fn drop_element(&mut self) {
        self.drop = true;
    }

    fn set_variable(&mut self, value: Option<&[u8]>, kind: Kind) {
        let Some((pos, shape, current)) = self.current else {
            return self.fail(0, EditProblem::NoField);
        };
        let (Some(prefix), true) = (shape.prefix, current == kind) else {
            return self.fail(pos, EditProblem::WrongType);
        };
        if value.is_none() && !shape.nullable {
            return self.fail(pos, EditProblem::NullNotAllowed);
        }
        if value.is_some_and(|value| value.len() > prefix.max_len()) {
            return self.fail(pos, EditProblem::TooLong);
        }
        let start = *self.pending.get_or_insert(self.out.arena.len());
        self.out.arena.truncate(start);
        prefix.encode(value.map(<[u8]>::len), &mut self.out.arena);
        self.out.arena.extend_from_slice(value.unwrap_or_default());
    }

    fn patch(&mut self, pos: usize, bytes: &[u8]) {
        let mut value = [0; 16];
        value[..bytes.len()].copy_from_slice(bytes);
        self.out.patches.push(Patch {
            pos,
            value,
            len: bytes.len(),
        });
    }

    fn fail(&mut self, pos: usize, problem: EditProblem) {
        self.problem.get_or_insert((pos, problem));
    }

    fn take_problem(&mut self) -> Result<(), WalkError> {
        match self.problem.take() {
            Some((offset, problem)) => Err(WalkError::BadEdit { offset, problem }),
            None => Ok(()),
        }
    }
}

/// Why an edit cannot be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EditProblem {
    /// No integer has this width.
    #[error("no integer of {0} bytes")]
    BadWidth(u8),
    /// A fixed-size field does not lie in the body at this position.
    #[error("outside the body")]
    OutOfBody,
    /// A variable-size field was set outside of `field`.
    #[error("no current field")]
    NoField,
    /// The current field is not of this type.
    #[error("field is of another type")]
    WrongType,
    /// The current field must not be null in this version.
    #[error("field must not be null")]
    NullNotAllowed,
    /// The value is longer than the type allows.
    #[error("value too long")]
    TooLong,
    /// Only elements of arrays can be dropped.
    #[error("not an array element")]
    NotAnElement,
}

/// A rewritten body: ranges of the input and patches between them. Keep one and use it again: clearing keeps the memory.
#[derive(Default)]
pub struct Segments {
    parts: Vec<Part>,
    arena: Vec<u8>,
    patches: Vec<Patch>,
    len: usize,
    /// Input bytes already covered by `parts` or left out.
    covered: usize,
}

impl Segments {
    /// An empty list.
    pub fn new() -> Segments {
        Segments::default()
    }

    /// Forgets the content, keeps the memory.
    pub fn clear(&mut self) {
        self.parts.clear();
        self.arena.clear();
        self.patches.clear();
        self.len = 0;
        self.covered = 0;
    }

    /// Bytes of the result.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the result has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the result is the body as one piece: nothing was edited, or only fixed-size fields, in place.
    pub fn is_identity(&self) -> bool {
        match self.parts.as_slice() {
            [] => true,
            [part] => !part.arena && part.start == 0 && self.len == self.covered,
            _ => false,
        }
    }

    /// The pieces in order, none empty. `body` must be the body that was rewritten.
    pub fn io_slices<'a>(&'a self, body: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.parts.iter().map(move |part| {
            let source = if part.arena {
                self.arena.as_slice()
            } else {
                body
            };
            source.get(part.start..part.end).unwrap_or_default()
        })
    }

    /// The result in one piece. `body` must be the body that was rewritten.
    pub fn to_vec(&self, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        self.io_slices(body)
            .for_each(|piece| bytes.extend_from_slice(piece));
        bytes
    }

    /// Covers the input up to `end` unchanged.
    fn keep_until(&mut self, end: usize) {
        if self.covered < end {
            self.parts.push(Part {
                arena: false,
                start: self.covered,
                end,
            });
            self.covered = end;
        }
    }

    /// Replaces the input range by the arena from `start` on.
    fn replace(&mut self, range: (usize, usize), start: usize) {
        self.keep_until(range.0);
        self.parts.push(Part {
            arena: true,
            start,
            end: self.arena.len(),
        });
        self.covered = range.1;
    }

    /// Replaces an input range that lies in the first part pushed after `mark` (later edits came behind it) by the arena from `start` on.
    fn replace_behind(&mut self, mark: Mark, range: (usize, usize), start: usize) {
        let patch = Part {
            arena: true,
            start,
            end: self.arena.len(),
        };
        let Some(part) = self.parts.get(mark.parts).copied() else {
            return self.replace(range, start);
        };
        let pieces = [
            Part {
                end: range.0,
                ..part
            },
            patch,
            Part {
                start: range.1,
                ..part
            },
        ];
        self.parts.splice(
            mark.parts..=mark.parts,
            pieces.into_iter().filter(|piece| piece.start < piece.end),
        );
    }

    fn finish(&mut self, body: &mut [u8]) -> Result<(), WalkError> {
        self.keep_until(body.len());
        self.len = self.parts.iter().map(|part| part.end - part.start).sum();
        if let Some(patch) = self
            .patches
            .iter()
            .find(|patch| body.get(patch.range()).is_none())
        {
            return Err(WalkError::BadEdit {
                offset: patch.pos,
                problem: EditProblem::OutOfBody,
            });
        }
        for patch in &self.patches {
            if let Some(target) = body.get_mut(patch.range()) {
                target.copy_from_slice(&patch.value[..patch.len]);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Segments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segments")
            .field("len", &self.len)
            .field("parts", &self.parts.len())
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
struct Part {
    arena: bool,
    start: usize,
    end: usize,
}

#[derive(Clone, Copy)]
struct Patch {
    pos: usize,
    value: [u8; 16],
    len: usize,
}

impl Patch {
    fn range(&self) -> Range<usize> {
        self.pos..self.pos.saturating_add(self.len)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Fixed,
    Text,
    Bytes,
}

impl Prefix {
    fn max_len(self) -> usize {
        match self {
            Prefix::Int16 => i16::MAX as usize,
            Prefix::Int32 | Prefix::Compact => i32::MAX as usize - 1,
        }
    }

    /// Writes a length or count; `None` is null. The value must not be above [`Prefix::max_len`].
    pub(crate) fn encode(self, value: Option<usize>, out: &mut Vec<u8>) {
        match self {
            Prefix::Compact => crate::varint::put(value.map_or(0, |value| value as u32 + 1), out),
            Prefix::Int16 => {
                out.extend_from_slice(&value.map_or(-1, |value| value as i16).to_be_bytes())
            }
            Prefix::Int32 => {
                out.extend_from_slice(&value.map_or(-1, |value| value as i32).to_be_bytes())
            }
        }
    }
}

fn rewrite<R: Rewrite>(
    ops: &[Op],
    body: &mut [u8],
    rewriter: &mut R,
    out: &mut Segments,
) -> Result<(), WalkError> {
    out.clear();
    let mut sink = Rewriting {
        rewriter,
        edits: Edits {
            out,
            current: None,
            pending: None,
            drop: false,
            problem: None,
            growth: 0,
        },
    };
    let mut cursor = Cursor::new(body);
    let walked = walk(&mut cursor, ops, &mut sink)
        .and_then(|()| finish(&cursor))
        .and_then(|()| sink.edits.take_problem());
    let done = walked.and_then(|()| out.finish(body));
    if done.is_err() {
        out.clear();
    }
    done
}

struct Rewriting<'r, 'o, R> {
    rewriter: &'r mut R,
    edits: Edits<'o>,
}

/// State of the output at the beginning of something that may have to be changed from behind.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    parts: usize,
    arena: usize,
    covered: usize,
    growth: i64,
}

impl<R: Rewrite> Sink for Rewriting<'_, '_, R> {
    type Mark = Mark;

    #[inline(always)]
    fn mark(&mut self) -> Mark {
        let out = &self.edits.out;
        Mark {
            parts: out.parts.len(),
            arena: out.arena.len(),
            covered: out.covered,
            growth: self.edits.growth,
        }
    }

    #[inline(always)]
    fn field(&mut self, field: &Field<'_>, shape: Shape) -> Result<bool, WalkError> {
        let kind = match field.value {
            Value::Text(_) => Kind::Text,
            Value::Bytes(_) | Value::Records(_) => Kind::Bytes,
            _ => Kind::Fixed,
        };
        self.edits.current = Some((field.pos, shape, kind));
        self.rewriter.field(field, &mut self.edits);
        self.edits.current = None;
        if self.edits.problem.is_some() {
            self.edits.take_problem()?;
        }
        let range = (field.pos, field.pos + field.len);
        if self.edits.drop {
            self.edits.drop = false;
            if !shape.element {
                return Err(WalkError::BadEdit {
                    offset: field.pos,
                    problem: EditProblem::NotAnElement,
                });
            }
            if let Some(start) = self.edits.pending.take() {
                self.edits.out.arena.truncate(start);
            }
            self.leave_out(range);
            return Ok(true);
        }
        if let Some(start) = self.edits.pending.take() {
            self.edits.growth += (self.edits.out.arena.len() - start) as i64 - field.len as i64;
            self.edits.out.replace(range, start);
        }
        Ok(false)
    }

    #[inline(always)]
    fn enter(&mut self, spec: &'static FieldSpec, pos: usize) {
        self.rewriter.enter(spec, pos, &mut self.edits);
        if std::mem::take(&mut self.edits.drop) {
            self.edits.fail(pos, EditProblem::NotAnElement);
        }
    }

    #[inline(always)]
    fn leave(
        &mut self,
        spec: &'static FieldSpec,
        range: (usize, usize),
        mark: Mark,
    ) -> Result<bool, WalkError> {
        self.rewriter.leave(spec, range.1, &mut self.edits);
        if self.edits.problem.is_some() {
            self.edits.take_problem()?;
        }
        if !std::mem::take(&mut self.edits.drop) {
            return Ok(false);
        }
        self.edits.out.parts.truncate(mark.parts);
        self.edits.out.arena.truncate(mark.arena);
        self.edits.out.covered = mark.covered;
        self.edits.growth = mark.growth;
        self.leave_out(range);
        Ok(true)
    }

    fn end_array(
        &mut self,
        at: (usize, usize),
        prefix: Prefix,
        count: usize,
        dropped: usize,
        mark: Mark,
    ) {
        let start = self.edits.out.arena.len();
        prefix.encode(Some(count - dropped), &mut self.edits.out.arena);
        self.put_behind(at, start, mark);
    }

    fn end_tag(&mut self, at: (usize, usize), size: usize, mark: Mark) {
        let growth = self.edits.growth - mark.growth;
        if growth == 0 {
            return;
        }
        let start = self.edits.out.arena.len();
        crate::varint::put((size as i64 + growth) as u32, &mut self.edits.out.arena);
        self.put_behind(at, start, mark);
    }
}

impl<R> Rewriting<'_, '_, R> {
    /// Drops an input range behind everything covered so far.
    fn leave_out(&mut self, range: (usize, usize)) {
        self.edits.out.keep_until(range.0);
        self.edits.out.covered = range.1;
        self.edits.growth -= (range.1 - range.0) as i64;
    }

    /// Puts the arena from `start` on in the place of a prefix that was walked before the edits since `mark`.
    fn put_behind(&mut self, at: (usize, usize), start: usize, mark: Mark) {
        let len = self.edits.out.arena.len() - start;
        self.edits.growth += len as i64 - (at.1 - at.0) as i64;
        self.edits.out.replace_behind(mark, at, start);
    }
}

#[cfg(test)]
mod tests {
    use super::{EditProblem, Edits, Rewrite, Segments};
    use crate::api::{ApiKey, Direction};
    use crate::plan::{Interest, Plan};
    use crate::schema::{Entity, FieldSpec};
    use crate::stream::{Step, StreamWalker};
    use crate::walk::{Field, Value, WalkError, validate};

    /// A rewriter from two closures.
    struct With<F, L>(F, L);

    impl<F: FnMut(&Field<'_>, &mut Edits<'_>), L: FnMut(&'static FieldSpec, &mut Edits<'_>)> Rewrite
        for With<F, L>
    {
        fn field(&mut self, field: &Field<'_>, edits: &mut Edits<'_>) {
            (self.0)(field, edits);
        }

        fn leave(&mut self, spec: &'static FieldSpec, _pos: usize, edits: &mut Edits<'_>) {
            (self.1)(spec, edits);
        }
    }

    fn text<'a>(field: &Field<'a>) -> &'a [u8] {
        match field.value {
            Value::Text(Some(text)) => text,
            _ => b"",
        }
    }

    fn plan(api: ApiKey, version: i16, dir: Direction, entities: &[Entity]) -> Plan {
        Plan::compile(api, version, dir, Interest::of(entities)).unwrap()
    }

    fn apply(plan: &Plan, body: &[u8], rewriter: &mut impl Rewrite) -> Result<Vec<u8>, WalkError> {
        let mut body = body.to_vec();
        let mut out = Segments::new();
        plan.rewrite(&mut body, rewriter, &mut out)?;
        Ok(out.to_vec(&body))
    }

    fn describe_groups(names: &[Vec<u8>]) -> Vec<u8> {
        let mut body = Vec::new();
        crate::varint::put(names.len() as u32 + 1, &mut body);
        for name in names {
            crate::varint::put(name.len() as u32 + 1, &mut body);
            body.extend_from_slice(name);
        }
        body.extend_from_slice(&[0, 0]);
        body
    }

    #[test]
    fn addresses_move_and_the_rest_stays() {
        let mut body = vec![
            0, 0, 0, 1, 0, 0, 0, 5, 0, 2, b'h', b'1', 0, 0, 0, 80, 0, 1, b'r', 0, 0, 0, 5, 0, 0, 0,
            0,
        ];
        let plan = plan(
            ApiKey::METADATA,
            1,
            Direction::Response,
            &[Entity::NodeId, Entity::Host, Entity::Port],
        );
        let mut id = 0;
        let mut move_it = With(
            |field: &Field<'_>, edits: &mut Edits<'_>| match (field.entity, field.value) {
                (Entity::NodeId, Value::Int(node)) => id = node,
                (Entity::Host, _) => edits.set_text(Some(b"gateway")),
                (Entity::Port, _) => edits.set_int(field.pos, 4, 6969 + id),
                _ => {}
            },
            |_, _: &mut Edits<'_>| {},
        );
        let mut out = Segments::new();
        plan.rewrite(&mut body, &mut move_it, &mut out).unwrap();
        assert!(!out.is_identity());
        assert_eq!(out.io_slices(&body).count(), 3);
        let expected = [
            &[0, 0, 0, 1, 0, 0, 0, 5, 0, 7][..],
            b"gateway",
            &[0, 0, 0x1b, 0x3e, 0, 1, b'r'],
            &[0, 0, 0, 5, 0, 0, 0, 0],
        ];
        assert_eq!(out.to_vec(&body), expected.concat());
        assert_eq!(out.len(), expected.concat().len());
    }

    #[test]
    fn numbers_alone_leave_one_piece() {
        let mut body = vec![0, 0, 0, 0, 0, 25];
        let plan = plan(
            ApiKey::HEARTBEAT,
            1,
            Direction::Response,
            &[Entity::ErrorCode, Entity::ThrottleTime],
        );
        let mut out = Segments::new();
        let mut zero = With(
            |field: &Field<'_>, edits: &mut Edits<'_>| edits.set_int(field.pos, field.len as u8, 1),
            |_, _: &mut Edits<'_>| {},
        );
        plan.rewrite(&mut body, &mut zero, &mut out).unwrap();
        assert!(out.is_identity());
        assert_eq!(body, [0, 0, 0, 1, 0, 1]);
        assert_eq!(out.to_vec(&body), body);
    }

    #[test]
    fn counts_shrink_with_dropped_elements() {
        // 200 elements take a count of two bytes, what remains one byte.
        let names: Vec<Vec<u8>> = (0..200).map(|at| format!("g{at}").into_bytes()).collect();
        let plan = plan(
            ApiKey::CONSUMER_GROUP_DESCRIBE,
            0,
            Direction::Request,
            &[Entity::GroupId],
        );
        let mut keep_tens = With(
            |field: &Field<'_>, edits: &mut Edits<'_>| {
                if text(field).last() != Some(&b'0') {
                    edits.drop_element()
                }
            },
            |_, _: &mut Edits<'_>| {},
        );
        let kept: Vec<_> = names
            .iter()
            .filter(|name| name.last() == Some(&b'0'))
            .cloned()
            .collect();
        assert_eq!(
            apply(&plan, &describe_groups(&names), &mut keep_tens).unwrap(),
            describe_groups(&kept)
        );
        let mut none = With(
            |_: &Field<'_>, edits: &mut Edits<'_>| edits.drop_element(),
            |_, _: &mut Edits<'_>| {},
        );
        assert_eq!(
            apply(&plan, &describe_groups(&names), &mut none).unwrap(),
            describe_groups(&[])
        );
    }

    #[test]
    fn a_dropped_struct_takes_its_edits_with_it() {
        // ListGroups v0: error, groups of (id, protocol type).
        let group = |id: u8| vec![0, 1, id, 0, 1, b'c'];
        let body = [
            vec![0, 0, 0, 0, 0, 3],
            group(b'a'),
            group(b'b'),
            group(b'c'),
        ]
        .concat();
        let plan = plan(
            ApiKey::LIST_GROUPS,
            0,
            Direction::Response,
            &[Entity::GroupId],
        );
        let last = std::cell::Cell::new(0);
        let mut rename = With(
            |field: &Field<'_>, edits: &mut Edits<'_>| {
                last.set(text(field)[0]);
                edits.set_text(Some(b"renamed"));
            },
            |_: &'static FieldSpec, edits: &mut Edits<'_>| {
                if last.get() == b'b' {
                    edits.drop_element();
                }
            },
        );
        let renamed = [&[0, 7][..], b"renamed", &[0, 1, b'c']].concat();
        let expected = [vec![0, 0, 0, 0, 0, 2], renamed.clone(), renamed].concat();
        assert_eq!(apply(&plan, &body, &mut rename).unwrap(), expected);
    }

    #[test]
    fn sizes_of_tagged_fields_follow_their_content() {
        let head = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let endpoint = |host: &[u8]| {
            [
                &[0, 0, 0, 7, host.len() as u8 + 1],
                host,
                &[0, 0, 0, 80, 0, 0],
            ]
            .concat()
        };
        let tags = |node: &[u8]| {
            let mut tags = vec![2, 0];
            crate::varint::put(node.len() as u32, &mut tags);
            [&head[..], &tags, node, &[9, 1, 0xaa]].concat()
        };
        let body = tags(&[&[3][..], &endpoint(b"h"), &endpoint(b"i")].concat());
        let plan = plan(ApiKey::FETCH, 16, Direction::Response, &[Entity::Host]);
        let long = [b'x'; 60];
        let mut longer = With(
            |_: &Field<'_>, edits: &mut Edits<'_>| edits.set_text(Some(&long)),
            |_, _: &mut Edits<'_>| {},
        );
        let expected = tags(&[&[3][..], &endpoint(&long), &endpoint(&long)].concat());
        assert_eq!(apply(&plan, &body, &mut longer).unwrap(), expected);
        let mut none = With(
            |_: &Field<'_>, _: &mut Edits<'_>| {},
            |_, edits: &mut Edits<'_>| edits.drop_element(),
        );
        assert_eq!(apply(&plan, &expected, &mut none).unwrap(), tags(&[1]));
        assert_eq!(
            validate(ApiKey::FETCH, 16, Direction::Response, &expected),
            Ok(())
        );

        // The same through a stream: the walk stops before the tagged fields.
        let mut walker = StreamWalker::new(&plan, body.len() as u64);
        assert_eq!(walker.next(&body), Ok(Step::Skip(head.len())));
        let Ok(Step::Stop(stop)) = walker.next(&body[head.len()..]) else {
            panic!("no stop")
        };
        assert_eq!(stop.offset, head.len() as u64);
        let mut tail = body[head.len()..].to_vec();
        let mut out = Segments::new();
        plan.rewrite_tail(stop, &mut tail, &mut longer, &mut out)
            .unwrap();
        assert_eq!(out.to_vec(&tail), expected[head.len()..]);
    }

    #[test]
    fn edits_that_cannot_be_done_are_refused() {
        let body = [0, 1, b'g', 0, 0, 0, 7, 0, 1, b'm'];
        let plan = plan(ApiKey::HEARTBEAT, 0, Direction::Request, &[Entity::GroupId]);
        let problem = |edit: &mut dyn FnMut(&Field<'_>, &mut Edits<'_>)| match apply(
            &plan,
            &body,
            &mut With(edit, |_, _: &mut Edits<'_>| {}),
        ) {
            Err(WalkError::BadEdit { problem, .. }) => problem,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            problem(&mut |_, edits| edits.set_text(None)),
            EditProblem::NullNotAllowed
        );
        assert_eq!(
            problem(&mut |_, edits| edits.set_bytes(None)),
            EditProblem::WrongType
        );
        assert_eq!(
            problem(&mut |_, edits| edits.set_text(Some(&[0; 40_000]))),
            EditProblem::TooLong
        );
        assert_eq!(
            problem(&mut |_, edits| edits.set_int(9, 4, 0)),
            EditProblem::OutOfBody
        );
        assert_eq!(
            problem(&mut |_, edits| edits.set_int(0, 3, 0)),
            EditProblem::BadWidth(3)
        );
        assert_eq!(
            problem(&mut |_, edits| edits.drop_element()),
            EditProblem::NotAnElement
        );
    }

    #[test]
    fn the_last_value_set_wins() {
        let body = [0, 1, b'g', 0, 0, 0, 7, 0, 1, b'm'];
        let plan = plan(ApiKey::HEARTBEAT, 0, Direction::Request, &[Entity::GroupId]);
        let mut twice = With(
            |_: &Field<'_>, edits: &mut Edits<'_>| {
                edits.set_text(Some(b"first"));
                edits.set_text(Some(b"2"));
            },
            |_, _: &mut Edits<'_>| {},
        );
        assert_eq!(
            apply(&plan, &body, &mut twice).unwrap(),
            [0, 1, b'2', 0, 0, 0, 7, 0, 1, b'm']
        );
    }

    #[test]
    fn a_failed_walk_changes_nothing() {
        let mut body = vec![0, 0, 0, 9, 0, 25, 1];
        let before = body.clone();
        let plan = plan(
            ApiKey::HEARTBEAT,
            1,
            Direction::Response,
            &[Entity::ThrottleTime],
        );
        let mut out = Segments::new();
        let mut zero = With(
            |field: &Field<'_>, edits: &mut Edits<'_>| edits.set_int(field.pos, 4, 0),
            |_, _: &mut Edits<'_>| {},
        );
        assert_eq!(
            plan.rewrite(&mut body, &mut zero, &mut out),
            Err(WalkError::TrailingBytes { offset: 6 })
        );
        assert_eq!(body, before);
        assert!(out.is_empty());
    }
}
