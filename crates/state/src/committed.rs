//! Committed records out of what a Fetch with `isolation_level` 1 answers.
//!
//! The broker ends the answer before the first open transaction. What lies before may hold aborted transactions, which
//! the answer lists, and the brokers' markers.

use std::collections::HashSet;

use thiserror::Error;
use wire::records::{Batches, Entry, RecordError};

/// A committed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Committed<'a> {
    pub(crate) offset: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
}

/// A transaction of this producer, from this offset to its marker, was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
}

/// The bytes are not what a broker should send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum SetError {
    /// They cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A checksum is wrong.
    #[error("the batch at offset {0} fails its checksum")]
    Checksum(i64),
    /// The batch has the format of before Kafka 0.11.
    #[error("the record at offset {0} has an old format")]
    Legacy(i64),
}

impl SetError {
    /// Whether fetching again gives the same.
    pub(crate) fn is_lasting(&self) -> bool {
        matches!(
            self,
            SetError::Legacy(_) | SetError::Record(RecordError::Compressed { .. })
        )
    }
}

/// Gives `each` the committed records with offsets in `from..until`, in order. Returns the offset to go on from.
pub(crate) fn read(
    set: &[u8],
    aborted: &[Aborted],
    from: i64,
    until: i64,
    mut each: impl FnMut(Committed<'_>),
) -> Result<i64, SetError> {
    let mut aborted = aborted.to_vec();
    aborted.sort_by_key(|a| std::cmp::Reverse(a.first_offset));
    let mut aborting = HashSet::new();
    let mut next = from;
    for entry in Batches::new(set) {
        let batch = match entry? {
            Entry::Batch(batch) => batch,
            Entry::Legacy(message) => return Err(SetError::Legacy(message.offset)),
            Entry::Partial(_) => break,
        };
        let header = batch.header();
        if !batch.crc_is_valid() {
            return Err(SetError::Checksum(header.base_offset));
        }
        if header.base_offset >= until {
            return Ok(next.max(until));
        }
        while let Some(one) = aborted.pop_if(|a| a.first_offset <= header.last_offset()) {
            aborting.insert(one.producer_id);
        }
        if header.attributes.is_control() {
            // A producer has one transaction at a time: whatever the marker says, it ends it.
            aborting.remove(&header.producer_id);
        } else if !(header.attributes.is_transactional() && aborting.contains(&header.producer_id))
        {
            for record in batch.records()? {
                let record = record?;
                let offset = header.offset(record.offset_delta);
                if (from..until).contains(&offset) {
                    each(Committed {
                        offset,
                        key: record.key,
                        value: record.value,
                    });
                }
            }
        }
        next = next.max(header.last_offset().saturating_add(1));
    }
    Ok(next.min(until.max(from)))
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, Bytes, BytesMut};
    use kafka_protocol::records::{
        Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
    };

    use super::*;

    /// A batch of records with these offsets; the value of each is its key.
    fn batch(producer_id: i64, control: bool, offsets: &[i64]) -> Bytes {
        let records: Vec<Record> = offsets
            .iter()
            .map(|offset| Record {
                transactional: producer_id >= 0,
                control,
                delete_horizon: false,
                partition_leader_epoch: 0,
                producer_id,
                producer_epoch: 0,
                timestamp_type: TimestampType::Creation,
                offset: *offset,
                sequence: i32::try_from(*offset).unwrap(),
                timestamp: 0,
                key: Some(Bytes::from(offset.to_string())),
                value: None,
                headers: Default::default(),
            })
            .collect();
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions {
            version: 2,
            compression: Compression::None,
        };
        RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
        bytes.freeze()
    }

    /// `batch` as compaction leaves it: the last offset it once had stays.
    fn compacted(offsets: &[i64], last: i64) -> Bytes {
        let mut bytes = BytesMut::from(&batch(-1, false, offsets)[..]);
        let delta = i32::try_from(last - offsets[0]).unwrap();
        bytes[23..27].copy_from_slice(&delta.to_be_bytes());
        let crc = crc(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        bytes.freeze()
    }

    /// CRC-32C, bit by bit.
    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0_u32, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
            })
        })
    }

    fn seen(
        batches: &[Bytes],
        aborted: &[(i64, i64)],
        from: i64,
        until: i64,
    ) -> (Result<i64, SetError>, Vec<i64>) {
        let set = batches.concat();
        let aborted: Vec<Aborted> = aborted
            .iter()
            .map(|(producer_id, first_offset)| Aborted {
                producer_id: *producer_id,
                first_offset: *first_offset,
            })
            .collect();
        let mut offsets = Vec::new();
        let next = read(&set, &aborted, from, until, |record| {
            assert_eq!(record.key, Some(record.offset.to_string().as_bytes()));
            offsets.push(record.offset);
        });
        (next, offsets)
    }

    #[test]
    fn aborted_transactions_are_left_out() {
        let log = [
            batch(-1, false, &[0]),
            batch(7, false, &[1, 2]),
            batch(8, false, &[3]),
            batch(7, false, &[4]),
            batch(7, true, &[5]),
            batch(8, true, &[6]),
            batch(7, false, &[7]),
            batch(7, true, &[8]),
            batch(8, false, &[9]),
            batch(8, true, &[10]),
        ];
        let (next, offsets) = seen(&log, &[(8, 9), (7, 1)], 0, i64::MAX);
        assert_eq!((next, offsets), (Ok(11), vec![0, 3, 7]));
        let (next, offsets) = seen(&log, &[], 2, 8);
        assert_eq!((next, offsets), (Ok(8), vec![2, 3, 4, 7]));
    }

    #[test]
    fn gaps_of_compaction_are_stepped_over() {
        let log = [compacted(&[0, 3], 9), batch(-1, false, &[20, 21])];
        assert_eq!(seen(&log, &[], 0, i64::MAX), (Ok(22), vec![0, 3, 20, 21]));
        assert_eq!(seen(&log[..1], &[], 5, i64::MAX), (Ok(10), vec![]));
        assert_eq!(seen(&log, &[], 0, 21), (Ok(21), vec![0, 3, 20]));
        assert_eq!(seen(&log, &[], 0, 15), (Ok(15), vec![0, 3]));
        assert_eq!(seen(&log, &[], 12, 10).0, Ok(12));
    }

    #[test]
    fn damage_is_told() {
        let whole = batch(-1, false, &[0, 1]);
        for len in 0..whole.len() {
            assert_eq!(seen(&[whole.slice(..len)], &[], 0, 9), (Ok(0), vec![]));
        }
        let mut flipped = BytesMut::from(&whole[..]);
        flipped[70] ^= 1;
        let (error, offsets) = seen(&[flipped.freeze()], &[], 0, 9);
        assert_eq!((error, offsets), (Err(SetError::Checksum(0)), vec![]));
        assert!(!SetError::Checksum(0).is_lasting());

        let mut packed = BytesMut::from(&whole[..]);
        packed[22] |= 4;
        let sum = crc(&packed[21..]);
        packed[17..21].copy_from_slice(&sum.to_be_bytes());
        let (error, _) = seen(&[packed.freeze()], &[], 0, 9);
        assert!(error.unwrap_err().is_lasting());

        let mut old = BytesMut::new();
        old.put_i64(5);
        old.put_i32(22);
        old.put_i32(0);
        old.put_i8(1);
        old.put_bytes(0, 17);
        let (error, _) = seen(&[old.freeze()], &[], 0, 9);
        assert_eq!(error, Err(SetError::Legacy(5)));
    }
}
