//! Records and their headers in an uncompressed record section.

use std::iter::FusedIterator;

use super::RecordError;
use super::read::Cursor;

/// Iterates the records of one batch, as many as its header says.
///
/// After the last one nothing may be left ([`RecordError::TrailingBytes`]). Yields nothing more after an error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    section: Cursor<'a>,
    left: u32,
    done: bool,
}

/// One record. Key, value and headers are slices of the record set.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Attribute bits of the record; without a meaning today.
    pub attributes: u8,
    /// Add to the batch's base timestamp, see [`BatchHeader::timestamp`](super::BatchHeader::timestamp). In ms.
    pub timestamp_delta: i64,
    /// Add to the batch's base offset.
    pub offset_delta: i32,
    /// `None` is null, not empty.
    pub key: Option<&'a [u8]>,
    /// `None` is null: a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    headers: Headers<'a>,
    start: usize,
    len: usize,
}

/// Iterates the headers of one record in their order, duplicates included.
///
/// The record may hold nothing after them ([`RecordError::TrailingBytes`]). Yields nothing more after an error.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    bytes: Cursor<'a>,
    left: u32,
    done: bool,
}

/// One record header (KIP-82).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Meant to be UTF-8; any bytes occur.
    pub key: &'a [u8],
    /// `None` is null, not empty.
    pub value: Option<&'a [u8]>,
}

// === impl Records ===

impl<'a> Records<'a> {
    pub(super) const fn new(section: &'a [u8], at: usize, count: u32) -> Self {
        Self {
            section: Cursor::new(section, at),
            left: count,
            done: false,
        }
    }

    fn record(&mut self) -> Result<Record<'a>, RecordError> {
        let start = self.section.at();
        let length = self.section.varint()?;
        let length = usize::try_from(length)
            .map_err(|_| RecordError::NegativeLength { at: start, length })?;
        let body_at = self.section.at();
        let mut body = Cursor::new(self.section.take(length)?, body_at);
        let attributes = body.byte()?;
        let timestamp_delta = body.varlong()?;
        let offset_delta = body.varint()?;
        let key = body.nullable_bytes()?;
        let value = body.nullable_bytes()?;
        let headers = Headers::new(body)?;
        let len = self.section.at() - start;
        Ok(Record {
            attributes,
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers,
            start,
            len,
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.done = true;
            let at = self.section.at();
            return (!self.section.is_empty()).then_some(Err(RecordError::TrailingBytes { at }));
        };
        self.left = left;
        let record = self.record();
        self.done = record.is_err();
        Some(record)
    }
}

impl FusedIterator for Records<'_> {}

// === impl Record ===

impl<'a> Record<'a> {
    /// The headers, read when iterated.
    #[must_use]
    pub const fn headers(&self) -> Headers<'a> {
        self.headers
    }

    /// Where the record is in the record set, its length included.
    #[must_use]
    pub const fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.len
    }
}

// === impl Headers ===

impl<'a> Headers<'a> {
    /// `bytes` begins with the number of headers and ends with the record.
    fn new(mut bytes: Cursor<'a>) -> Result<Self, RecordError> {
        let at = bytes.at();
        let count = bytes.varint()?;
        let left = u32::try_from(count).map_err(|_| RecordError::NegativeCount { at, count })?;
        Ok(Self {
            bytes,
            left,
            done: false,
        })
    }

    /// How many headers the record says it has and that are not yet iterated. Not checked against the bytes.
    #[must_use]
    pub const fn claimed(&self) -> u32 {
        self.left
    }

    fn header(&mut self) -> Result<Header<'a>, RecordError> {
        let at = self.bytes.at();
        let length = self.bytes.varint()?;
        let key_len =
            usize::try_from(length).map_err(|_| RecordError::NegativeLength { at, length })?;
        let key = self.bytes.take(key_len)?;
        let value = self.bytes.nullable_bytes()?;
        Ok(Header { key, value })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<Header<'a>, RecordError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let Some(left) = self.left.checked_sub(1) else {
            self.done = true;
            let at = self.bytes.at();
            return (!self.bytes.is_empty()).then_some(Err(RecordError::TrailingBytes { at }));
        };
        self.left = left;
        let header = self.header();
        self.done = header.is_err();
        Some(header)
    }
}

impl FusedIterator for Headers<'_> {}
