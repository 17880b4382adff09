//! Record batches.

/// Time of all records, ms.
pub(crate) const TIMESTAMP: i64 = 1_700_000_000_000;

/// A producer id and its epoch.
#[derive(Clone, Copy)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i64,
}

/// A batch of `count` records without producer.
pub(crate) fn batch(count: u8, value: &str) -> Vec<u8> {
    batch_of(Producer { id: -1, epoch: -1 }, -1, false, count, value)
}

/// A record batch in format version 2, not compressed, offsets from 0.
pub(crate) fn batch_of(
    producer: Producer,
    sequence: i32,
    transactional: bool,
    count: u8,
    value: &str,
) -> Vec<u8> {
    let mut records = Vec::new();
    for offset in 0..count {
        let key = [b'k', b'0' + offset];
        let mut record = vec![0, 0]; // attributes, time after the first
        put_varint(offset.into(), &mut record);
        put_varint(key.len() as i64, &mut record);
        record.extend(key);
        put_varint(value.len() as i64, &mut record);
        record.extend(value.bytes());
        record.push(0); // headers
        put_varint(record.len() as i64, &mut records);
        records.extend(record);
    }
    let last = i32::from(count) - 1;
    let attributes: i16 = if transactional { 1 << 4 } else { 0 };
    let mut checked = Vec::new();
    checked.extend(attributes.to_be_bytes());
    checked.extend(last.to_be_bytes());
    checked.extend(TIMESTAMP.to_be_bytes());
    checked.extend(TIMESTAMP.to_be_bytes());
    checked.extend(producer.id.to_be_bytes());
    checked.extend((producer.epoch as i16).to_be_bytes());
    checked.extend(sequence.to_be_bytes());
    checked.extend(i32::from(count).to_be_bytes());
    checked.extend(records);
    let mut batch = vec![0; 8]; // base offset
    batch.extend((checked.len() as u32 + 9).to_be_bytes());
    batch.extend((-1_i32).to_be_bytes()); // leader epoch
    batch.push(2); // magic
    batch.extend(crc32c::crc32c(&checked).to_be_bytes());
    batch.extend(checked);
    batch
}

/// Appends a signed varint, as in records.
fn put_varint(value: i64, out: &mut Vec<u8>) {
    let mut rest = (value << 1 ^ value >> 63) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
