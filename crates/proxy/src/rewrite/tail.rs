//! The end of a streamed answer: broker addresses rewritten without changing the length.
//!
//! When the end of a large Fetch answer arrives its length prefix has long been sent. So the end is rewritten and then
//! filled up to its old length with an unknown tagged field, which every client skips (KIP-482). If the new addresses
//! are longer than the old ones, the list is emptied instead: clients then find the new leader by asking for metadata,
//! as they did before KIP-951.

use telemetry::targets::REBUILD;
use wire::api::ApiKey;
use wire::plan::Plan;
use wire::rewrite::{Edits, Rewrite, Segments};
use wire::schema::FieldSpec;
use wire::stream::StopPoint;
use wire::varint;
use wire::walk::{Field, WalkError};

use super::{Addresses, Context};

/// Longest end of an answer that is held in memory, bytes; addresses of several hundred brokers.
pub(crate) const MAX_TAIL: usize = 128 * 1024;

/// Where a stream was stopped.
pub(crate) struct Tail<'p> {
    pub(crate) plan: &'p Plan,
    pub(crate) stop: StopPoint,
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
}

impl Tail<'_> {
    /// The new end, as long as the old one. `None`: the old one may stay.
    pub(crate) fn rewrite(
        &self,
        tail: &mut [u8],
        context: &Context<'_>,
    ) -> Result<Option<Vec<u8>>, WalkError> {
        let mut emptied = Segments::new();
        let mut counter = Empty { elements: 0 };
        self.plan
            .rewrite_tail(self.stop, tail, &mut counter, &mut emptied)?;
        if counter.elements == 0 {
            return Ok(None);
        }
        let empty = emptied.to_vec(tail);
        // What is behind the list: of ShareFetch the tagged fields, of Fetch nothing (the list is a tagged field).
        let behind = if self.api == ApiKey::SHARE_FETCH {
            empty.len().saturating_sub(1)
        } else {
            empty.len()
        };
        let length = tail.len();
        let mut unroutable = Vec::new();
        let mut addresses = Addresses::new(self.api, context, &mut unroutable);
        let mut rewritten = Segments::new();
        self.plan
            .rewrite_tail(self.stop, tail, &mut addresses, &mut rewritten)?;
        drop(addresses);
        if unroutable.is_empty() {
            let new = rewritten.to_vec(tail);
            if new.len() == length {
                return Ok(Some(new));
            }
            let list = if self.api == ApiKey::SHARE_FETCH {
                new.len().saturating_sub(behind)
            } else {
                0
            };
            if let Some(new) = fill_up(new, list, length) {
                return Ok(Some(new));
            }
        }
        let list = empty.len() - behind;
        fill_up(empty, list, length).map(Some).ok_or_else(|| {
            // Cannot be: an emptied list leaves more room than a tagged field needs.
            tracing::error!(target: REBUILD, api = self.api.name(), version = self.version, "an answer's end cannot be filled up");
            WalkError::TrailingBytes { offset: 0 }
        })
    }
}

/// Counts and removes the elements of the list.
struct Empty {
    elements: usize,
}

impl Rewrite for Empty {
    fn field(&mut self, _field: &Field<'_>, _edits: &mut Edits<'_>) {}

    fn leave(&mut self, spec: &'static FieldSpec, _pos: usize, edits: &mut Edits<'_>) {
        if spec.array {
            self.elements += 1;
            edits.drop_element();
        }
    }
}

/// Lengthens `bytes`, whose tagged fields begin at `section`, to `length` by one more tagged field.
fn fill_up(bytes: Vec<u8>, section: usize, length: usize) -> Option<Vec<u8>> {
    let extra = length.checked_sub(bytes.len())?;
    let mut rest = bytes.get(section..)?;
    let count = varint::take(&mut rest)?;
    let fields = rest;
    let mut last_tag = None;
    for _ in 0..count {
        last_tag = Some(varint::take(&mut rest)?);
        let size = usize::try_from(varint::take(&mut rest)?).ok()?;
        rest = rest.get(size..)?;
    }
    let count_len = bytes.len() - section - fields.len();
    let new_count = encoded(count + 1);
    // Tags ascend. A short and a long tag number between them reach every length.
    let grown = new_count.len() - count_len.min(new_count.len());
    let extra = extra.checked_sub(grown)?;
    let after = last_tag.map_or(0, |tag| tag + 1);
    for tag in [after.max(64), after.max(1 << 14)] {
        let tag = encoded(tag);
        for size_len in 1..=4_usize {
            let Some(payload) = extra.checked_sub(tag.len() + size_len) else {
                break;
            };
            let size = encoded(u32::try_from(payload).ok()?);
            if size.len() == size_len {
                let mut new = Vec::with_capacity(length);
                new.extend_from_slice(&bytes[..section]);
                new.extend_from_slice(&new_count);
                new.extend_from_slice(fields);
                new.extend_from_slice(&tag);
                new.extend_from_slice(&size);
                new.resize(length, 0);
                return Some(new);
            }
        }
    }
    None
}

fn encoded(value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    varint::put(value, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_up_to_any_length_with_room_for_a_field() {
        let section = vec![0_u8];
        // Around every length at which a length of its own grows by a byte.
        for extra in (2..400).chain(16_300..16_500).chain(65_500..65_600) {
            let filled =
                fill_up(section.clone(), 0, 1 + extra).unwrap_or_else(|| panic!("{extra}"));
            assert_eq!(filled.len(), 1 + extra);
            let mut rest = &filled[..];
            assert_eq!(varint::take(&mut rest), Some(1));
            varint::take(&mut rest).unwrap();
            assert_eq!(varint::take(&mut rest), Some(rest.len() as u32));
        }
        assert_eq!(
            fill_up(section.clone(), 0, 2),
            None,
            "a field needs two bytes"
        );
        assert_eq!(fill_up(section, 0, 0), None);
    }

    #[test]
    fn keeps_what_is_there_and_tags_ascending() {
        // an array prefix, then one tagged field: tag 100, two bytes
        let bytes = vec![9, 9, 1, 100, 2, 7, 8];
        let filled = fill_up(bytes, 2, 20).unwrap();
        assert_eq!(filled[..2], [9, 9]);
        assert_eq!(filled[2], 2);
        assert_eq!(filled[3..7], [100, 2, 7, 8]);
        assert_eq!(filled[7], 101);
        assert_eq!(filled.len(), 20);
        let mut rest = &filled[8..];
        assert_eq!(varint::take(&mut rest), Some(rest.len() as u32));
    }
}
