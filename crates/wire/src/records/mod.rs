//! Record batches: the bytes inside the `records` fields of Produce and Fetch.
//!
//! ```
//! use sluicegate_wire::records::{Batches, Entry};
//!
//! fn count(record_set: &[u8]) -> Result<u64, sluicegate_wire::records::RecordError> {
//!     let mut records = 0;
//!     for entry in Batches::new(record_set) {
//!         match entry? {
//!             Entry::Batch(batch) => records += u64::from(batch.header().records_count),
//!             // A fetch response may end in the middle of a batch; clients drop that tail.
//!             Entry::Legacy(_) | Entry::Partial(_) => {}
//!         }
//!     }
//!     Ok(records)
//! }
//! assert_eq!(count(&[]), Ok(0));
//! ```
//!
//! Layers, each lazy and each checked against the bytes that are there:
//!
//! 1. [`Batches`] walks a record set: complete batches (magic 2), messages of the older formats (magic 0 and 1,
//!    recognised and stepped over, not decoded), and the incomplete tail that a fetch response may have.
//! 2. [`Batch`] gives the header, the byte ranges, the CRC-32C check and the record section.
//! 3. [`Records`] iterates the records of an uncompressed record section; [`Headers`] the headers of one record.
//!
//! Nothing here allocates or copies: keys, values and headers are slices of the input. Every error says at which byte
//! of the record set it was found, and an iterator yields nothing more after its first error.
//!
//! Compressed record sections are not decompressed. [`Batch::compression`] names the codec,
//! [`Batch::payload`] is the compressed block, and [`Batch::records`] answers [`RecordError::Compressed`].
//!
//! Source: Kafka's message format page ("Record Batch", "Record", "Record Header"), KIP-98 (magic 2), KIP-534 (delete
//! horizon), KIP-32 (timestamp types).

mod batch;
mod error;
mod producer;
mod read;
mod record;
#[cfg(test)]
mod tests;

pub use batch::{
    Attributes, Batch, BatchHeader, Batches, Compression, Entry, Legacy, Partial, Summary,
    TimestampType,
};
pub use error::RecordError;
pub use producer::with_producer_ids;
pub use record::{Header, Headers, Record, Records};
