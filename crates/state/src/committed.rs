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
