//! Record batches (magic 2) as bytes: the header's fields, checks, the few patches a broker makes, and lazy iteration of uncompressed records.
//!
//! Layout: <https://kafka.apache.org/documentation/#recordbatch>. The CRC covers everything from the attributes on, so base offset and
//! leader epoch can be patched without touching it.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::ResponseError;

/// Bytes before the first record.
pub(crate) const HEADER_LEN: usize = 61;
const LENGTH_END: usize = 12;
const CRC_START: usize = 17;
const CRC_END: usize = 21;

const COMPRESSION_MASK: i16 = 0x07;
const LOG_APPEND_TIME: i16 = 0x08;
const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

/// The fixed fields of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) base_offset: i64,
    /// Bytes of the whole batch, the first twelve included.
    pub(crate) size: usize,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`; an error if the batch is cut off or not of magic 2.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ResponseError> {
        if bytes.len() < HEADER_LEN {
            return Err(ResponseError::CorruptMessage);
        }
        let size = usize::try_from(int32(bytes, 8))
            .ok()
            .and_then(|n| n.checked_add(LENGTH_END));
        let size = size
            .filter(|n| (HEADER_LEN..=bytes.len()).contains(n))
            .ok_or(ResponseError::CorruptMessage)?;
        if bytes[16] != 2 {
            return Err(ResponseError::UnsupportedForMessageFormat);
        }
        Ok(BatchHeader {
            base_offset: int64(bytes, 0),
            size,
            attributes: int16(bytes, 21),
            last_offset_delta: int32(bytes, 23),
            base_timestamp: int64(bytes, 27),
            max_timestamp: int64(bytes, 35),
            producer_id: int64(bytes, 43),
            producer_epoch: int16(bytes, 51),
            base_sequence: int32(bytes, 53),
            count: int32(bytes, 57),
        })
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.attributes & COMPRESSION_MASK != 0
    }

    pub(crate) fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    pub(crate) fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    pub(crate) fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    pub(crate) fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }
}

/// What a topic and a request version allow in a produced batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) max_bytes: usize,
    /// Compacted topics: every record needs a key.
    pub(crate) keys_required: bool,
    /// zstd came with Produce version 7 (KIP-110).
    pub(crate) zstd_allowed: bool,
}

/// Checks a produced record set: exactly one batch, whole, intact, and what the rules allow.
pub(crate) fn check(records: &[u8], rules: Rules) -> Result<BatchHeader, ResponseError> {
    let header = BatchHeader::parse(records)?;
    if header.size != records.len() {
        return Err(ResponseError::InvalidRecord);
    }
    if records.len() > rules.max_bytes {
        return Err(ResponseError::MessageTooLarge);
    }
    if int32(records, CRC_START) as u32 != crc32c::crc32c(&records[CRC_END..]) {
        return Err(ResponseError::CorruptMessage);
    }
    let compression = header.attributes & COMPRESSION_MASK;
    if compression > 4 || (compression == 4 && !rules.zstd_allowed) {
        return Err(ResponseError::UnsupportedCompressionType);
    }
    if header.count <= 0 || header.last_offset_delta != header.count - 1 || header.is_control() {
        return Err(ResponseError::InvalidRecord);
    }
    if header.is_transactional() && header.producer_id < 0 {
        return Err(ResponseError::InvalidRecord);
    }
    if header.producer_id >= 0 && (header.producer_epoch < 0 || header.base_sequence < 0) {
        return Err(ResponseError::InvalidRecord);
    }
    if compression == 0 {
        check_records(records, &header, rules.keys_required)?;
    }
    Ok(header)
}

fn check_records(
    records: &[u8],
    header: &BatchHeader,
    keys_required: bool,
) -> Result<(), ResponseError> {
    let mut iter = Records::new(&records[HEADER_LEN..]);
    for expected in 0..header.count {
        let record = iter.next().ok_or(ResponseError::InvalidRecord)??;
        if record.offset_delta != i64::from(expected) || (keys_required && record.key.is_none()) {
            return Err(ResponseError::InvalidRecord);
        }
    }
    if iter.rest.is_empty() {
        Ok(())
    } else {
        Err(ResponseError::InvalidRecord)
    }
}

/// A copy of a checked batch as it stands in the log. `append_time` overwrites the timestamp type and the maximal timestamp.
pub(crate) fn stored_copy(
    records: &[u8],
    base_offset: i64,
    leader_epoch: i32,
    append_time: Option<i64>,
) -> Bytes {
    let mut copy = BytesMut::from(records);
    copy[0..8].copy_from_slice(&base_offset.to_be_bytes());
    copy[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
    let attributes = int16(&copy, 21);
    let patched = match append_time {
        Some(now) => {
            copy[35..43].copy_from_slice(&now.to_be_bytes());
            attributes | LOG_APPEND_TIME
        }
        None => attributes & !LOG_APPEND_TIME,
    };
    if append_time.is_some() || patched != attributes {
        copy[21..23].copy_from_slice(&patched.to_be_bytes());
        seal(&mut copy);
    }
    copy.freeze()
}

/// The first 16 bytes of `batch` for another base offset.
pub(crate) fn rebased_prefix(batch: &[u8], base_offset: i64) -> Bytes {
    let mut prefix = BytesMut::with_capacity(16);
    prefix.put_i64(base_offset);
    prefix.put_slice(&batch[8..16]);
    prefix.freeze()
}

/// A transaction marker (control batch) that commits or aborts what the producer has open.
pub(crate) fn transaction_marker(
    base_offset: i64,
    leader_epoch: i32,
    producer: (i64, i16),
    committed: bool,
    now: i64,
) -> Bytes {
    let mut record = BytesMut::new();
    record.put_u8(0);
    put_varint(&mut record, 0);
    put_varint(&mut record, 0);
    put_varint(&mut record, 4);
    record.put_i16(0);
    record.put_i16(i16::from(committed));
    put_varint(&mut record, 6);
    record.put_i16(0);
    record.put_i32(0);
    put_varint(&mut record, 0);
    let mut records = BytesMut::new();
    put_varint(&mut records, record.len() as i64);
    records.put_slice(&record);
    build(
        &BatchHeader {
            base_offset,
            size: 0,
            attributes: TRANSACTIONAL | CONTROL,
            last_offset_delta: 0,
            base_timestamp: now,
            max_timestamp: now,
            producer_id: producer.0,
            producer_epoch: producer.1,
            base_sequence: -1,
            count: 1,
        },
        leader_epoch,
        &records,
    )
}

/// A batch of `count` equal records without keys, as benchmarks fetch them.
pub(crate) fn prepared(count: usize, value_bytes: usize, now: i64) -> Bytes {
    let value = vec![b'x'; value_bytes];
    let mut records = BytesMut::new();
    for delta in 0..count {
        let mut record = BytesMut::with_capacity(value_bytes + 16);
        record.put_u8(0);
        put_varint(&mut record, 0);
        put_varint(&mut record, delta as i64);
        put_varint(&mut record, -1);
        put_varint(&mut record, value_bytes as i64);
        record.put_slice(&value);
        put_varint(&mut record, 0);
        put_varint(&mut records, record.len() as i64);
        records.put_slice(&record);
    }
    build(
        &BatchHeader {
            base_offset: 0,
            size: 0,
            attributes: 0,
            last_offset_delta: count as i32 - 1,
            base_timestamp: now,
            max_timestamp: now,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            count: count as i32,
        },
        0,
        &records,
    )
}

/// `batch` with other records of the same offset range: what compaction leaves.
pub(crate) fn with_records(batch: &[u8], count: i32, records: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_LEN + records.len());
    out.put_slice(&batch[..HEADER_LEN]);
    out.put_slice(records);
    let length = (out.len() - LENGTH_END) as i32;
    out[8..12].copy_from_slice(&length.to_be_bytes());
    out[57..61].copy_from_slice(&count.to_be_bytes());
    seal(&mut out);
    out.freeze()
}

fn build(header: &BatchHeader, leader_epoch: i32, records: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_LEN + records.len());
    out.put_i64(header.base_offset);
    out.put_i32((HEADER_LEN - LENGTH_END + records.len()) as i32);
    out.put_i32(leader_epoch);
    out.put_u8(2);
    out.put_u32(0);
    out.put_i16(header.attributes);
    out.put_i32(header.last_offset_delta);
    out.put_i64(header.base_timestamp);
    out.put_i64(header.max_timestamp);
    out.put_i64(header.producer_id);
    out.put_i16(header.producer_epoch);
    out.put_i32(header.base_sequence);
    out.put_i32(header.count);
    out.put_slice(records);
    seal(&mut out);
    out.freeze()
}

fn seal(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[CRC_END..]);
    batch[CRC_START..CRC_END].copy_from_slice(&crc.to_be_bytes());
}

/// One record of an uncompressed batch.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    /// The record as it stands, length prefix included.
    pub(crate) raw: &'a [u8],
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) is_tombstone: bool,
}

/// The records of an uncompressed batch, one after the other.
#[derive(Debug)]
pub(crate) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// `records`: what follows the batch header.
    pub(crate) fn new(records: &'a [u8]) -> Self {
        Records { rest: records }
    }

    fn read(&mut self) -> Option<Record<'a>> {
        let whole = self.rest;
        let mut at = 0;
        let length = usize::try_from(varint(whole, &mut at)?).ok()?;
        let end = at.checked_add(length).filter(|end| *end <= whole.len())?;
        let body = &whole[..end];
        at += 1;
        let timestamp_delta = varint(body, &mut at)?;
        let offset_delta = varint(body, &mut at)?;
        let key = field(body, &mut at)?;
        let value = field(body, &mut at)?;
        self.rest = &whole[end..];
        Some(Record {
            raw: body,
            timestamp_delta,
            offset_delta,
            key,
            is_tombstone: value.is_none(),
        })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, ResponseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.read();
        if record.is_none() {
            self.rest = &[];
        }
        Some(record.ok_or(ResponseError::InvalidRecord))
    }
}

fn field<'a>(bytes: &'a [u8], at: &mut usize) -> Option<Option<&'a [u8]>> {
    let length = varint(bytes, at)?;
    if length == -1 {
        return Some(None);
    }
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    let value = bytes.get(*at..end)?;
    *at = end;
    Some(Some(value))
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let mut raw = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        raw |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((raw >> 1) as i64 ^ -((raw & 1) as i64));
        }
    }
    None
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        out.put_u8(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.put_u8(raw as u8);
}

fn int16(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn int32(bytes: &[u8], at: usize) -> i32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    i32::from_be_bytes(raw)
}

fn int64(bytes: &[u8], at: usize) -> i64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    i64::from_be_bytes(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        max_bytes: 1 << 20,
        keys_required: false,
        zstd_allowed: true,
    };

    #[test]
    fn a_prepared_batch_passes_its_own_check_and_a_flipped_bit_does_not() {
        let batch = prepared(3, 10, 5);
        let header = check(&batch, RULES).expect("valid");
        assert_eq!(
            (header.count, header.last_offset_delta, header.max_timestamp),
            (3, 2, 5)
        );
        let mut broken = batch.to_vec();
        broken[70] ^= 1;
        assert_eq!(check(&broken, RULES), Err(ResponseError::CorruptMessage));
        assert_eq!(
            check(&batch[..60], RULES),
            Err(ResponseError::CorruptMessage)
        );
        let keyed = Rules {
            keys_required: true,
            ..RULES
        };
        assert_eq!(check(&batch, keyed), Err(ResponseError::InvalidRecord));
    }

    #[test]
    fn offset_and_epoch_are_patched_without_a_new_checksum() {
        let batch = prepared(2, 4, 5);
        let copy = stored_copy(&batch, 77, 3, None);
        assert_eq!(copy[17..], batch[17..]);
        assert_eq!(check(&copy, RULES).expect("valid").last_offset(), 78);
        let stamped = stored_copy(&batch, 77, 3, Some(99));
        let header = check(&stamped, RULES).expect("checksum renewed");
        assert!(header.is_log_append_time());
        assert_eq!(header.max_timestamp, 99);
    }

    #[test]
    fn varints_of_all_lengths_come_back() {
        for value in [
            0,
            -1,
            1,
            63,
            64,
            -65,
            1 << 20,
            i64::from(i32::MAX),
            i64::MIN,
            i64::MAX,
        ] {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            let mut at = 0;
            assert_eq!(varint(&out, &mut at), Some(value));
            assert_eq!(at, out.len());
        }
        assert_eq!(varint(&[0x80; 11], &mut 0), None);
    }

    #[test]
    fn hostile_record_lengths_end_the_iteration() {
        let mut records = Records::new(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0]);
        assert!(matches!(records.next(), Some(Err(_))));
        assert!(records.next().is_none());
    }
}
