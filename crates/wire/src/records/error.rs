//! Why a record set could not be read.

use super::Compression;

/// What is wrong with a record set. `at` is a byte offset from the start of the record set given to
/// [`Batches::new`](super::Batches::new).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A value ends after the bytes that hold it.
    #[error("byte {at}: the value goes beyond the end of its record or batch")]
    Truncated {
        /// Where the value begins.
        at: usize,
    },
    /// The size in front of a batch or message is smaller than its fixed fields.
    #[error("byte {at}: size {length} is too small for a batch of this format")]
    BatchTooShort {
        /// Where the batch begins.
        at: usize,
        /// The size field as sent.
        length: i32,
    },
    /// Neither a batch (magic 2) nor a message of an older format (0, 1).
    #[error("byte {at}: unknown magic {magic}")]
    UnknownMagic {
        /// Where the magic byte is.
        at: usize,
        /// The magic byte as sent.
        magic: i8,
    },
    /// A batch says that it holds fewer than zero records, or a record fewer than zero headers.
    #[error("byte {at}: negative count {count}")]
    NegativeCount {
        /// Where the count is.
        at: usize,
        /// The count as sent.
        count: i32,
    },
    /// A length that must not be negative (record, header key) is.
    #[error("byte {at}: negative length {length}")]
    NegativeLength {
        /// Where the length is.
        at: usize,
        /// The length as sent.
        length: i32,
    },
    /// A variable-length integer is longer than its type allows.
    #[error("byte {at}: variable-length integer out of range")]
    BadVarint {
        /// Where the integer begins.
        at: usize,
    },
    /// Bytes are left over: in a record after its headers, or in a batch after its last record.
    #[error("byte {at}: bytes after the last element")]
    TrailingBytes {
        /// The first byte too many.
        at: usize,
    },
    /// The record section is compressed; its records cannot be iterated in place.
    #[error("byte {at}: records are compressed ({codec:?})")]
    Compressed {
        /// Where the compressed section begins.
        at: usize,
        /// How it is compressed.
        codec: Compression,
    },
}

impl RecordError {
    /// Byte offset of the problem from the start of the record set.
    #[must_use]
    pub const fn offset(&self) -> usize {
        match *self {
            Self::Truncated { at }
            | Self::BatchTooShort { at, .. }
            | Self::UnknownMagic { at, .. }
            | Self::NegativeCount { at, .. }
            | Self::NegativeLength { at, .. }
            | Self::BadVarint { at }
            | Self::TrailingBytes { at }
            | Self::Compressed { at, .. } => at,
        }
    }
}
