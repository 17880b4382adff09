//! Another producer id in the batches of a record set.

use super::batch::{Batches, Entry};

const CRC_AT: usize = 17;
const COVERED_FROM: usize = 21;
const PRODUCER_ID_AT: usize = 43;

/// Gives each batch of an idempotent producer the id that `new` says, where that is another one, and a new CRC. Batches of transactions are
/// left alone: their ids are known to a coordinator. So are those that are damaged: whoever looks at them next has to find out. `None`:
/// nothing has changed.
#[must_use]
pub fn with_producer_ids(set: &[u8], new: impl Fn(i64) -> i64) -> Option<Vec<u8>> {
    let mut changed: Option<Vec<u8>> = None;
    for entry in Batches::new(set) {
        let Ok(Entry::Batch(batch)) = entry else {
            continue;
        };
        let header = batch.header();
        let is_idempotent = header.producer_id >= 0 && !header.attributes.is_transactional();
        let id = new(header.producer_id);
        if !is_idempotent || id == header.producer_id || !batch.crc_is_valid() {
            continue;
        }
        let out = changed.get_or_insert_with(|| set.to_vec());
        let Some(bytes) = out.get_mut(batch.range()) else {
            continue;
        };
        if bytes.len() < PRODUCER_ID_AT + 8 {
            continue;
        }
        bytes[PRODUCER_ID_AT..PRODUCER_ID_AT + 8].copy_from_slice(&id.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[COVERED_FROM..]);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty batch.
    fn batch(attributes: u16, producer_id: i64) -> Vec<u8> {
        let mut bytes = vec![0; 61];
        bytes[8..12].copy_from_slice(&49_i32.to_be_bytes());
        bytes[16] = 2;
        bytes[21..23].copy_from_slice(&attributes.to_be_bytes());
        bytes[43..51].copy_from_slice(&producer_id.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    #[test]
    fn idempotent_batches_change_and_others_do_not() {
        const TRANSACTIONAL: u16 = 0x10;
        let set = [
            batch(0, 7),
            batch(0, -1),
            batch(TRANSACTIONAL, 7),
            batch(0, 9),
        ]
        .concat();
        let changed = with_producer_ids(&set, |id| if id == 9 { 9 } else { id + 1000 }).unwrap();
        let expected = [
            batch(0, 1007),
            batch(0, -1),
            batch(TRANSACTIONAL, 7),
            batch(0, 9),
        ]
        .concat();
        assert_eq!(changed, expected);
        assert_eq!(with_producer_ids(&set, |id| id), None);
        let mut damaged = batch(0, 7);
        damaged[60] ^= 1;
        assert_eq!(with_producer_ids(&damaged, |id| id + 1), None);
        for cut in 0..61 {
            assert_eq!(with_producer_ids(&batch(0, 7)[..cut], |id| id + 1), None);
        }
    }
}
