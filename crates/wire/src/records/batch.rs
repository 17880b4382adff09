//! Record sets and batch headers.

use std::ops::Range;

use super::read::Cursor;
use super::{RecordError, Records};

/// Iterates the batches of a record set (the content of one `records` field).
///
/// Ends after the last complete entry, after an [`Entry::Partial`], or after the first error.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    set: Cursor<'a>,
}

/// One thing found in a record set.
#[derive(Clone, Copy, Debug)]
pub enum Entry<'a> {
    /// A complete batch of the current format (magic 2).
    Batch(Batch<'a>),
    /// A complete message (or compressed wrapper message) of an older format.
    Legacy(Legacy<'a>),
    /// The set ends inside an entry. Normal at the end of a fetch response, an error in a produce request.
    Partial(Partial),
}

/// A message of format 0 or 1, recognised but not decoded. Brokers from Kafka 4.0 on neither accept nor send these
/// (KIP-896, KIP-724).
#[derive(Clone, Copy, Debug)]
pub struct Legacy<'a> {
    /// 0 or 1.
    pub magic: u8,
    /// The offset in front of the message; for a compressed wrapper of format 1 that of its last inner message.
    pub offset: i64,
    /// Low three bits of the attributes.
    pub compression: Compression,
    bytes: &'a [u8],
    start: usize,
}

/// The incomplete entry at the end of a record set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// Where it begins in the record set.
    pub start: usize,
    /// How many of its bytes are there.
    pub available: usize,
    /// How long the whole entry is, if its size field is there.
    pub total: Option<usize>,
}

/// One complete batch of format 2.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
    start: usize,
}

/// The fixed fields at the front of a batch, big-endian on the wire, [`BatchHeader::LEN`] bytes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record the batch was written with. Producers send 0.
    pub base_offset: i64,
    /// Bytes that follow this field; the batch is 12 bytes longer.
    pub batch_length: i32,
    /// Leader epoch of the append, -1 from producers. Not covered by the CRC.
    pub partition_leader_epoch: i32,
    /// CRC-32C of everything from the attributes to the end of the batch.
    pub crc: u32,
    /// Compression, timestamp type and flags.
    pub attributes: Attributes,
    /// Offset of the last record the batch was written with, relative to `base_offset`. Survives compaction.
    pub last_offset_delta: i32,
    /// Timestamp that record deltas add to, in ms; or the delete horizon, see [`BatchHeader::delete_horizon`].
    pub base_timestamp: i64,
    /// Largest timestamp of the batch, or the time of the append, in ms.
    pub max_timestamp: i64,
    /// -1 without idempotence.
    pub producer_id: i64,
    /// -1 without idempotence.
    pub producer_epoch: i16,
    /// Sequence number of the first record, -1 without idempotence.
    pub base_sequence: i32,
    /// How many records the batch says it holds. Not checked against the record section by reading the header.
    pub records_count: u32,
}

/// The attribute bits of a batch. Bits without a meaning are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes(pub u16);

/// How a record section is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Records stand in the batch as they are.
    None,
    /// gzip.
    Gzip,
    /// Snappy, usually in the framing of xerial's snappy-java.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard (KIP-110).
    Zstd,
    /// 5, 6 or 7: without a meaning today.
    Reserved(u8),
}

/// Who set the timestamps of a batch (KIP-32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer: base timestamp plus the record's delta.
    CreateTime,
    /// The broker: every record has the batch's maximum timestamp.
    LogAppendTime,
}

/// What a record set holds, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Complete batches of format 2.
    pub batches: usize,
    /// Records that those batches say they hold.
    pub records: u64,
    /// Complete messages of older formats; a compressed wrapper counts as one.
    pub legacy_messages: usize,
    /// Bytes in complete entries. The rest of the set is an incomplete entry.
    pub complete_bytes: usize,
}

// === impl Batches ===

impl<'a> Batches<'a> {
    /// Looks at `record_set`, the content of one `records` field.
    #[must_use]
    pub const fn new(record_set: &'a [u8]) -> Self {
        Self {
            set: Cursor::new(record_set, 0),
        }
    }

    fn entry(&mut self) -> Result<Entry<'a>, RecordError> {
        let start = self.set.at();
        let rest = self.set.rest();
        let length = i32_at(rest, SIZE_AT);
        let partial = |total| {
            Entry::Partial(Partial {
                start,
                available: rest.len(),
                total,
            })
        };
        let Some(length) = length else {
            return Ok(partial(None));
        };
        let too_short = RecordError::BatchTooShort { at: start, length };
        let total = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_add(PREFIX_LEN))
            .ok_or(too_short)?;
        let Some(magic) = i8_at(rest, MAGIC_AT) else {
            // The magic byte is inside the smallest entry of every format.
            return if total <= MAGIC_AT {
                Err(too_short)
            } else {
                Ok(partial(Some(total)))
            };
        };
        let least = match magic {
            0 => LEGACY_V0_LEN,
            1 => LEGACY_V1_LEN,
            2 => BatchHeader::LEN,
            magic => {
                return Err(RecordError::UnknownMagic {
                    at: start + MAGIC_AT,
                    magic,
                });
            }
        };
        if total < least {
            return Err(too_short);
        }
        if total > rest.len() {
            return Ok(partial(Some(total)));
        }
        let bytes = self.set.take(total)?;
        if magic == 2 {
            Batch::new(bytes, start).map(Entry::Batch)
        } else {
            let attributes = i8_at(bytes, LEGACY_ATTRIBUTES_AT).ok_or(too_short)?;
            Ok(Entry::Legacy(Legacy {
                magic: magic.unsigned_abs(),
                offset: i64_at(bytes, 0).ok_or(too_short)?,
                compression: Attributes(attributes as u16).compression(),
                bytes,
                start,
            }))
        }
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Entry<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.set.is_empty() {
            return None;
        }
        let entry = self.entry();
        if !matches!(entry, Ok(Entry::Batch(_) | Entry::Legacy(_))) {
            self.set = Cursor::new(&[], self.set.at());
        }
        Some(entry)
    }
}

impl std::iter::FusedIterator for Batches<'_> {}

// === impl Legacy ===

impl<'a> Legacy<'a> {
    /// The whole message with its offset and size.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the message is in the record set.
    #[must_use]
    pub const fn range(&self) -> Range<usize> {
        self.start..self.start + self.bytes.len()
    }
}

// === impl Batch ===

impl<'a> Batch<'a> {
    fn new(bytes: &'a [u8], start: usize) -> Result<Self, RecordError> {
        let header = BatchHeader::parse(bytes).map_err(|error| match error {
            RecordError::NegativeCount { at, count } => RecordError::NegativeCount {
                at: start + at,
                count,
            },
            RecordError::UnknownMagic { at, magic } => RecordError::UnknownMagic {
                at: start + at,
                magic,
            },
            RecordError::BatchTooShort { length, .. } => {
                RecordError::BatchTooShort { at: start, length }
            }
            _ => RecordError::Truncated { at: start },
        })?;
        Ok(Self {
            header,
            bytes,
            start,
        })
    }

    /// The fixed fields.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch, header included.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Where the batch is in the record set.
    #[must_use]
    pub const fn range(&self) -> Range<usize> {
        self.start..self.start + self.bytes.len()
    }

    /// The record section: everything after the header, compressed or not.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.bytes.get(BatchHeader::LEN..).unwrap_or_default()
    }

    /// Where the record section is in the record set.
    #[must_use]
    pub const fn payload_range(&self) -> Range<usize> {
        self.start + BatchHeader::LEN..self.start + self.bytes.len()
    }

    /// How the record section is compressed.
    #[must_use]
    pub const fn compression(&self) -> Compression {
        self.header.attributes.compression()
    }

    /// Computes the CRC-32C and compares it with the header's: reads the whole batch.
    #[must_use]
    pub fn crc_is_valid(&self) -> bool {
        self.bytes
            .get(ATTRIBUTES_AT..)
            .is_some_and(|covered| crc32c::crc32c(covered) == self.header.crc)
    }

    /// The records of an uncompressed batch.
    ///
    /// # Errors
    /// [`RecordError::Compressed`] if a codec is set.
    pub fn records(&self) -> Result<Records<'a>, RecordError> {
        let at = self.payload_range().start;
        match self.compression() {
            Compression::None => Ok(Records::new(self.payload(), at, self.header.records_count)),
            codec => Err(RecordError::Compressed { at, codec }),
        }
    }

    /// Reads every record and every header of an uncompressed batch and forgets them: the count must be right and
    /// nothing left over.
    ///
    /// # Errors
    /// The first thing wrong; [`RecordError::Compressed`] if a codec is set.
    pub fn check_records(&self) -> Result<(), RecordError> {
        for record in self.records()? {
            for header in record?.headers() {
                header?;
            }
        }
        Ok(())
    }
}

// === impl BatchHeader ===

impl BatchHeader {
    /// Length of the fixed fields in bytes.
    pub const LEN: usize = 61;

    /// Reads the header at the start of `bytes`; the record section need not be there.
    ///
    /// # Errors
    /// [`RecordError::Truncated`] with fewer than [`Self::LEN`] bytes, [`RecordError::UnknownMagic`] if the magic is
    /// not 2, [`RecordError::BatchTooShort`] if the length does not cover the header, [`RecordError::NegativeCount`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let truncated = RecordError::Truncated { at: 0 };
        let fixed: &[u8; Self::LEN] = bytes.first_chunk().ok_or(truncated)?;
        let int16 = |at| i16_at(fixed, at).ok_or(truncated);
        let int32 = |at| i32_at(fixed, at).ok_or(truncated);
        let int64 = |at| i64_at(fixed, at).ok_or(truncated);

        let magic = i8_at(fixed, MAGIC_AT).ok_or(truncated)?;
        if magic != 2 {
            return Err(RecordError::UnknownMagic {
                at: MAGIC_AT,
                magic,
            });
        }
        let batch_length = int32(SIZE_AT)?;
        if usize::try_from(batch_length).is_ok_and(|length| length < Self::LEN - PREFIX_LEN)
            || batch_length < 0
        {
            return Err(RecordError::BatchTooShort {
                at: 0,
                length: batch_length,
            });
        }
        let count = int32(COUNT_AT)?;
        Ok(Self {
            base_offset: int64(0)?,
            batch_length,
            partition_leader_epoch: int32(12)?,
            crc: int32(17)? as u32,
            attributes: Attributes(int16(ATTRIBUTES_AT)? as u16),
            last_offset_delta: int32(23)?,
            base_timestamp: int64(27)?,
            max_timestamp: int64(35)?,
            producer_id: int64(43)?,
            producer_epoch: int16(51)?,
            base_sequence: int32(53)?,
            records_count: u32::try_from(count).map_err(|_| RecordError::NegativeCount {
                at: COUNT_AT,
                count,
            })?,
        })
    }

    /// Offset of the last record the batch was written with (wraps on nonsense from the wire).
    #[must_use]
    pub const fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(self.last_offset_delta as i64)
    }

    /// When the tombstones and markers in the batch may be dropped, in ms, if compaction has set it. The base timestamp
    /// then no longer is the first record's (KIP-534).
    #[must_use]
    pub const fn delete_horizon(&self) -> Option<i64> {
        if self.attributes.has_delete_horizon() {
            Some(self.base_timestamp)
        } else {
            None
        }
    }

    /// Timestamp in ms of a record with this delta: the batch's maximum if the broker sets timestamps.
    #[must_use]
    pub const fn timestamp(&self, delta: i64) -> i64 {
        match self.attributes.timestamp_type() {
            TimestampType::CreateTime => self.base_timestamp.wrapping_add(delta),
            TimestampType::LogAppendTime => self.max_timestamp,
        }
    }

    /// Offset of a record with this delta.
    #[must_use]
    pub const fn offset(&self, delta: i32) -> i64 {
        self.base_offset.wrapping_add(delta as i64)
    }
}

// === impl Attributes ===

impl Attributes {
    /// Bits 0 to 2.
    #[must_use]
    pub const fn compression(self) -> Compression {
        match (self.0 & 0x07) as u8 {
            0 => Compression::None,
            1 => Compression::Gzip,
            2 => Compression::Snappy,
            3 => Compression::Lz4,
            4 => Compression::Zstd,
            other => Compression::Reserved(other),
        }
    }

    /// Bit 3.
    #[must_use]
    pub const fn timestamp_type(self) -> TimestampType {
        if self.0 & 0x08 == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Bit 4: the batch belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(self) -> bool {
        self.0 & 0x10 != 0
    }

    /// Bit 5: the records are markers of the broker, not data.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.0 & 0x20 != 0
    }

    /// Bit 6: the base timestamp is a delete horizon.
    #[must_use]
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & 0x40 != 0
    }
}

// === impl Summary ===

impl Summary {
    /// Counts what `record_set` holds, reading headers only.
    ///
    /// # Errors
    /// The first thing wrong with the set; an incomplete last entry is not an error.
    pub fn of(record_set: &[u8]) -> Result<Self, RecordError> {
        let mut summary = Self::default();
        for entry in Batches::new(record_set) {
            match entry? {
                Entry::Batch(batch) => {
                    summary.batches += 1;
                    summary.records += u64::from(batch.header.records_count);
                    summary.complete_bytes = batch.range().end;
                }
                Entry::Legacy(message) => {
                    summary.legacy_messages += 1;
                    summary.complete_bytes = message.range().end;
                }
                Entry::Partial(_) => {}
            }
        }
        Ok(summary)
    }
}

/// Offset and size, in front of entries of every format and not counted by the size.
const PREFIX_LEN: usize = 12;
const SIZE_AT: usize = 8;
const MAGIC_AT: usize = 16;
const ATTRIBUTES_AT: usize = 21;
const COUNT_AT: usize = 57;
/// Prefix, CRC, magic, attributes, null key, null value.
const LEGACY_V0_LEN: usize = PREFIX_LEN + 4 + 1 + 1 + 4 + 4;
/// The same with a timestamp.
const LEGACY_V1_LEN: usize = LEGACY_V0_LEN + 8;
const LEGACY_ATTRIBUTES_AT: usize = 17;

fn chunk_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

fn i8_at(bytes: &[u8], at: usize) -> Option<i8> {
    chunk_at(bytes, at).map(i8::from_be_bytes)
}

fn i16_at(bytes: &[u8], at: usize) -> Option<i16> {
    chunk_at(bytes, at).map(i16::from_be_bytes)
}

fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    chunk_at(bytes, at).map(i32::from_be_bytes)
}

fn i64_at(bytes: &[u8], at: usize) -> Option<i64> {
    chunk_at(bytes, at).map(i64::from_be_bytes)
}
