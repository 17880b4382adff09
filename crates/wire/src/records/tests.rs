//! The reader against an encoder of its own, and against batches that `kafka-protocol` encodes.

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as oracle;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::*;

type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);

#[derive(Clone, Debug, Default, PartialEq)]
struct OwnedRecord {
    attributes: u8,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<OwnedHeader>,
}

fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varlong(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.extend_from_slice(bytes.unwrap_or_default());
}

fn put_record(out: &mut Vec<u8>, record: &OwnedRecord) {
    let mut body = vec![record.attributes];
    put_varlong(&mut body, record.timestamp_delta);
    put_varlong(&mut body, i64::from(record.offset_delta));
    put_bytes(&mut body, record.key.as_deref());
    put_bytes(&mut body, record.value.as_deref());
    put_varlong(&mut body, record.headers.len() as i64);
    for (key, value) in &record.headers {
        put_bytes(&mut body, Some(key));
        put_bytes(&mut body, value.as_deref());
    }
    put_varlong(out, body.len() as i64);
    out.extend_from_slice(&body);
}

fn record_section(records: &[OwnedRecord]) -> Vec<u8> {
    let mut section = Vec::new();
    records
        .iter()
        .for_each(|record| put_record(&mut section, record));
    section
}

const BASE_OFFSET: i64 = 1_000_000_000_000;

/// A batch around any record section, with a correct length and CRC.
fn batch(attributes: u16, count: i32, section: &[u8]) -> Vec<u8> {
    let mut covered = Vec::new();
    covered.extend_from_slice(&attributes.to_be_bytes());
    covered.extend_from_slice(&count.wrapping_sub(1).to_be_bytes());
    covered.extend_from_slice(&1_700_000_000_000_i64.to_be_bytes());
    covered.extend_from_slice(&1_700_000_000_999_i64.to_be_bytes());
    covered.extend_from_slice(&77_i64.to_be_bytes());
    covered.extend_from_slice(&3_i16.to_be_bytes());
    covered.extend_from_slice(&9_i32.to_be_bytes());
    covered.extend_from_slice(&count.to_be_bytes());
    covered.extend_from_slice(section);
    let mut batch = Vec::new();
    batch.extend_from_slice(&BASE_OFFSET.to_be_bytes());
    batch.extend_from_slice(&(9 + covered.len() as i32).to_be_bytes());
    batch.extend_from_slice(&5_i32.to_be_bytes());
    batch.push(2);
    batch.extend_from_slice(&crc32c::crc32c(&covered).to_be_bytes());
    batch.extend_from_slice(&covered);
    batch
}

fn legacy_message(magic: u8, attributes: u8, value: &[u8]) -> Vec<u8> {
    let mut tail = vec![0xde, 0xad, 0xbe, 0xef, magic, attributes];
    if magic == 1 {
        tail.extend_from_slice(&1_700_000_000_000_i64.to_be_bytes());
    }
    tail.extend_from_slice(&(-1_i32).to_be_bytes());
    tail.extend_from_slice(&(value.len() as i32).to_be_bytes());
    tail.extend_from_slice(value);
    let mut message = 42_i64.to_be_bytes().to_vec();
    message.extend_from_slice(&(tail.len() as i32).to_be_bytes());
    message.extend_from_slice(&tail);
    message
}

fn only_batch(set: &[u8]) -> Batch<'_> {
    let mut batches = Batches::new(set);
    let Some(Ok(Entry::Batch(batch))) = batches.next() else {
        panic!("no batch")
    };
    assert!(batches.next().is_none());
    batch
}

fn read(batch: &Batch<'_>) -> Result<Vec<OwnedRecord>, RecordError> {
    let mut records = Vec::new();
    for record in batch.records()? {
        let record = record?;
        let mut headers = Vec::new();
        for header in record.headers() {
            let header = header?;
            headers.push((header.key.to_vec(), header.value.map(<[u8]>::to_vec)));
        }
        records.push(OwnedRecord {
            attributes: record.attributes,
            timestamp_delta: record.timestamp_delta,
            offset_delta: record.offset_delta,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers,
        });
    }
    Ok(records)
}

/// Everything the module can do with arbitrary bytes; must neither panic nor leave the input.
fn exercise(set: &[u8]) {
    let mut end = 0;
    for entry in Batches::new(set) {
        match entry {
            Ok(Entry::Batch(batch)) => {
                assert_eq!(batch.range().start, end);
                end = batch.range().end;
                assert_eq!(&set[batch.range()], batch.bytes());
                assert_eq!(&set[batch.payload_range()], batch.payload());
                let _ = batch.crc_is_valid();
                let checked = batch.check_records();
                assert_eq!(checked.is_ok(), read(&batch).is_ok());
                if let Err(error) = checked {
                    assert!(
                        batch.range().contains(&error.offset())
                            || error.offset() == batch.range().end
                    );
                }
            }
            Ok(Entry::Legacy(message)) => {
                assert_eq!(message.range().start, end);
                end = message.range().end;
                assert_eq!(&set[message.range()], message.bytes());
            }
            Ok(Entry::Partial(partial)) => {
                assert_eq!((partial.start, partial.available), (end, set.len() - end));
                assert!(partial.total.is_none_or(|total| total > partial.available));
            }
            Err(error) => assert!((end..=set.len()).contains(&error.offset())),
        }
    }
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..24)
}

fn any_record() -> impl Strategy<Value = OwnedRecord> {
    let headers = vec(
        (
            prop_oneof![any_bytes(), Just(b"dup".to_vec())],
            of(any_bytes()),
        ),
        0..5,
    );
    (
        any::<u8>(),
        any::<i64>(),
        any::<i32>(),
        of(any_bytes()),
        of(any_bytes()),
        headers,
    )
        .prop_map(
            |(attributes, timestamp_delta, offset_delta, key, value, headers)| OwnedRecord {
                attributes,
                timestamp_delta,
                offset_delta,
                key,
                value,
                headers,
            },
        )
}

proptest! {
    #[test]
    fn records_come_back_as_written(records in vec(any_record(), 0..12), attributes in any::<u16>()) {
        let set = batch(attributes & !0x07, records.len() as i32, &record_section(&records));
        let found = only_batch(&set);
        prop_assert!(found.crc_is_valid());
        prop_assert_eq!(found.header().attributes.0, attributes & !0x07);
        prop_assert_eq!(found.check_records(), Ok(()));
        prop_assert_eq!(read(&found), Ok(records));
        exercise(&set);
    }

    #[test]
    fn a_cut_set_is_partial_never_an_error(records in vec(any_record(), 1..6), cut in any::<prop::sample::Index>()) {
        let one = batch(0, records.len() as i32, &record_section(&records));
        let set = [&one[..], &one].concat();
        let cut = cut.index(set.len());
        let summary = Summary::of(&set[..cut]).unwrap();
        prop_assert_eq!(summary.batches, cut / one.len());
        prop_assert_eq!(summary.complete_bytes, cut / one.len() * one.len());
        exercise(&set[..cut]);
    }

    #[test]
    fn changed_bytes_are_handled(
        records in vec(any_record(), 1..6),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let one = batch(0, records.len() as i32, &record_section(&records));
        let mut set = [&one[..], &legacy_message(1, 0, b"old"), &one].concat();
        for (place, byte) in changes {
            let place = place.index(set.len());
            set[place] = byte;
        }
        exercise(&set);
    }

    #[test]
    fn a_changed_covered_byte_breaks_the_crc(record in any_record(), place in any::<prop::sample::Index>(), bit in 0_u32..8) {
        let mut set = batch(0, 1, &record_section(&[record]));
        let place = 17 + place.index(set.len() - 17);
        set[place] ^= 1_u8 << bit;
        // A flipped count may be negative, which is refused before anyone asks for the CRC.
        if let Some(Ok(Entry::Batch(found))) = Batches::new(&set).next() {
            prop_assert!(!found.crc_is_valid());
        }
    }

    #[test]
    fn arbitrary_bytes_are_handled(set in vec(any::<u8>(), 0..200), magic in 0_u8..4) {
        exercise(&set);
        let mut plausible = set;
        if let Some(byte) = plausible.get_mut(16) {
            *byte = magic;
            plausible[8..12].copy_from_slice(&60_i32.to_be_bytes());
        }
        exercise(&plausible);
    }

    #[test]
    fn batches_of_the_typed_encoder_read_the_same(
        records in vec((of(any_bytes()), of(any_bytes()), 0_i64..1_000_000, vec(("[a-z]{0,4}", of(any_bytes())), 0..4)), 1..8),
    ) {
        let typed: Vec<_> = records.iter().enumerate().map(|(i, (key, value, timestamp, headers))| {
            let headers: IndexMap<_, _> = headers
                .iter()
                .map(|(key, value)| (StrBytes::from_string(key.clone()), value.clone().map(Bytes::from)))
                .collect();
            typed_record(i as i64, *timestamp, key.clone(), value.clone(), headers)
        }).collect();
        let set = typed_encode(&typed);
        let found = only_batch(&set);
        prop_assert!(found.crc_is_valid());
        prop_assert_eq!(found.check_records(), Ok(()));
        let header = found.header();
        prop_assert_eq!(header.records_count as usize, typed.len());
        prop_assert_eq!(header.last_offset(), typed.len() as i64 - 1);
        prop_assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (7, 2, 100));
        for (record, typed) in found.records().unwrap().zip(&typed) {
            let record = record.unwrap();
            prop_assert_eq!(header.offset(record.offset_delta), typed.offset);
            prop_assert_eq!(header.timestamp(record.timestamp_delta), typed.timestamp);
            prop_assert_eq!(record.key, typed.key.as_deref());
            prop_assert_eq!(record.value, typed.value.as_deref());
            let headers: Vec<_> = record.headers().map(Result::unwrap).collect();
            let expected: Vec<_> = typed.headers.iter()
                .map(|(key, value)| Header { key: key.as_bytes(), value: value.as_deref() })
                .collect();
            prop_assert_eq!(headers, expected);
        }
        exercise(&set);
    }
}

fn typed_record(
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: IndexMap<StrBytes, Option<Bytes>>,
) -> oracle::Record {
    oracle::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: 7,
        producer_epoch: 2,
        timestamp_type: oracle::TimestampType::Creation,
        offset,
        sequence: 100 + offset as i32,
        timestamp,
        key: key.map(Bytes::from),
        value: value.map(Bytes::from),
        headers,
    }
}

fn typed_encode(records: &[oracle::Record]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let options = oracle::RecordEncodeOptions {
        version: 2,
        compression: oracle::Compression::None,
    };
    oracle::RecordBatchEncoder::encode(&mut out, records, &options).unwrap();
    out.to_vec()
}

#[test]
fn header_fields_have_their_places() {
    let section = record_section(&[
        OwnedRecord::default(),
        OwnedRecord {
            offset_delta: 1,
            ..Default::default()
        },
    ]);
    let set = batch(0x78, 2, &section);
    let found = only_batch(&set);
    let header = found.header();
    assert_eq!(header.base_offset, BASE_OFFSET);
    assert_eq!(header.last_offset(), BASE_OFFSET + 1);
    assert_eq!(header.batch_length as usize, set.len() - 12);
    assert_eq!(header.partition_leader_epoch, 5);
    assert_eq!(header.base_timestamp, 1_700_000_000_000);
    assert_eq!(header.max_timestamp, 1_700_000_000_999);
    assert_eq!(
        (
            header.producer_id,
            header.producer_epoch,
            header.base_sequence
        ),
        (77, 3, 9)
    );
    assert_eq!(header.records_count, 2);
    assert!(header.attributes.is_transactional() && header.attributes.is_control());
    assert_eq!(
        header.attributes.timestamp_type(),
        TimestampType::LogAppendTime
    );
    assert_eq!(header.timestamp(5), 1_700_000_000_999);
    assert_eq!(header.delete_horizon(), Some(1_700_000_000_000));
    assert_eq!(found.payload(), section);
    assert_eq!(BatchHeader::parse(&set[..61]).as_ref(), Ok(header));
    assert_eq!(
        BatchHeader::parse(&set[..60]),
        Err(RecordError::Truncated { at: 0 })
    );
}

#[test]
fn record_ranges_cover_the_section() {
    let records = vec![
        OwnedRecord {
            value: Some(vec![1; 100]),
            ..Default::default()
        };
        3
    ];
    let set = batch(0, 3, &record_section(&records));
    let found = only_batch(&set);
    let mut at = found.payload_range().start;
    for record in found.records().unwrap() {
        let range = record.unwrap().range();
        assert_eq!(range.start, at);
        at = range.end;
    }
    assert_eq!(at, found.payload_range().end);
}

#[test]
fn duplicate_and_non_utf8_header_keys_are_kept() {
    let headers = vec![
        (b"a".to_vec(), Some(b"1".to_vec())),
        (b"a".to_vec(), None),
        (vec![0xff, 0xfe], Some(Vec::new())),
        (Vec::new(), Some(b"x".to_vec())),
    ];
    let record = OwnedRecord {
        headers,
        ..Default::default()
    };
    let set = batch(0, 1, &record_section(std::slice::from_ref(&record)));
    assert_eq!(read(&only_batch(&set)), Ok(vec![record]));
}

#[test]
fn codecs_are_named_and_not_decompressed() {
    for (bits, codec) in [
        (1, Compression::Gzip),
        (2, Compression::Snappy),
        (3, Compression::Lz4),
        (4, Compression::Zstd),
        (7, Compression::Reserved(7)),
    ] {
        let set = batch(bits, 10, b"compressed");
        let found = only_batch(&set);
        assert_eq!(found.compression(), codec);
        assert_eq!(found.payload(), b"compressed");
        assert_eq!(found.payload_range(), 61..71);
        assert_eq!(
            found.check_records(),
            Err(RecordError::Compressed { at: 61, codec })
        );
    }
}

#[test]
fn older_formats_are_stepped_over() {
    let new = batch(0, 0, &[]);
    let set = [
        legacy_message(0, 0, b"v0"),
        legacy_message(1, 3, b"wrapper"),
        new,
    ]
    .concat();
    let entries: Vec<_> = Batches::new(&set).map(Result::unwrap).collect();
    let [Entry::Legacy(zero), Entry::Legacy(one), Entry::Batch(_)] = entries[..] else {
        panic!("{entries:?}")
    };
    assert_eq!(
        (zero.magic, zero.offset, zero.compression),
        (0, 42, Compression::None)
    );
    assert_eq!((one.magic, one.compression), (1, Compression::Lz4));
    assert_eq!(one.range().start, zero.range().end);
    let summary = Summary::of(&set).unwrap();
    assert_eq!(
        summary,
        Summary {
            batches: 1,
            records: 0,
            legacy_messages: 2,
            complete_bytes: set.len()
        }
    );
}

#[test]
fn the_tail_of_a_fetch_response_is_partial() {
    let one = batch(0, 0, &[]);
    let set = [&one[..], &one[..30]].concat();
    let Some(Ok(Entry::Partial(partial))) = Batches::new(&set).nth(1) else {
        panic!()
    };
    assert_eq!(
        partial,
        Partial {
            start: 61,
            available: 30,
            total: Some(61)
        }
    );
    let Some(Ok(Entry::Partial(partial))) = Batches::new(&one[..11]).next() else {
        panic!()
    };
    assert_eq!(
        partial,
        Partial {
            start: 0,
            available: 11,
            total: None
        }
    );
}

#[test]
fn lies_in_the_batch_header_are_errors() {
    let good = batch(0, 0, &[]);
    let with = |at: usize, bytes: &[u8]| {
        let mut set = [&good[..], &good].concat();
        set[61 + at..61 + at + bytes.len()].copy_from_slice(bytes);
        let mut batches = Batches::new(&set);
        assert!(batches.next().unwrap().is_ok());
        let error = batches.next().unwrap().unwrap_err();
        assert!(batches.next().is_none());
        error
    };
    assert_eq!(
        with(8, &(-1_i32).to_be_bytes()),
        RecordError::BatchTooShort { at: 61, length: -1 }
    );
    assert_eq!(
        with(8, &48_i32.to_be_bytes()),
        RecordError::BatchTooShort { at: 61, length: 48 }
    );
    assert_eq!(
        with(16, &[3]),
        RecordError::UnknownMagic { at: 77, magic: 3 }
    );
    assert_eq!(
        with(16, &[0xff]),
        RecordError::UnknownMagic { at: 77, magic: -1 }
    );
    assert_eq!(
        with(57, &(-1_i32).to_be_bytes()),
        RecordError::NegativeCount { at: 118, count: -1 }
    );
    let cut = [&good[..8], &4_i32.to_be_bytes()].concat();
    assert_eq!(
        Summary::of(&cut),
        Err(RecordError::BatchTooShort { at: 0, length: 4 })
    );
}

#[test]
fn lies_in_records_are_errors() {
    let check = |count, section: &[u8]| only_batch(&batch(0, count, section)).check_records();
    let one = record_section(&[OwnedRecord::default()]);
    assert_eq!(one.len(), 7);
    assert_eq!(check(1, &one), Ok(()));
    // More and fewer records than the count says.
    assert_eq!(check(2, &one), Err(RecordError::Truncated { at: 68 }));
    assert_eq!(
        check(i32::MAX, &one),
        Err(RecordError::Truncated { at: 68 })
    );
    assert_eq!(check(0, &one), Err(RecordError::TrailingBytes { at: 61 }));
    // Length -1; length beyond the section; length shorter than the content; room left after the headers.
    assert_eq!(
        check(1, &[0x01]),
        Err(RecordError::NegativeLength { at: 61, length: -1 })
    );
    assert_eq!(
        check(1, &[0x0e, 0, 0, 0, 1, 1, 0]),
        Err(RecordError::Truncated { at: 62 })
    );
    assert_eq!(
        check(1, &[0x0a, 0, 0, 0, 1, 1]),
        Err(RecordError::Truncated { at: 67 })
    );
    assert_eq!(
        check(1, &[0x0e, 0, 0, 0, 1, 1, 0, 9]),
        Err(RecordError::TrailingBytes { at: 68 })
    );
    // Key longer than the record; header count and header key length below zero; header count beyond the bytes.
    assert_eq!(
        check(1, &[0x0c, 0, 0, 0, 0x7e, 1, 0]),
        Err(RecordError::Truncated { at: 66 })
    );
    assert_eq!(
        check(1, &[0x0c, 0, 0, 0, 1, 1, 1]),
        Err(RecordError::NegativeCount { at: 67, count: -1 })
    );
    assert_eq!(
        check(1, &[0x0e, 0, 0, 0, 1, 1, 2, 1]),
        Err(RecordError::NegativeLength { at: 68, length: -1 })
    );
    assert_eq!(
        check(1, &[0x0c, 0, 0, 0, 1, 1, 2]),
        Err(RecordError::Truncated { at: 68 })
    );
    // Any negative key or value length is null.
    let odd = batch(0, 1, &[0x0c, 0, 0, 0, 0x05, 0x03, 0]);
    assert_eq!(read(&only_batch(&odd)), Ok(vec![OwnedRecord::default()]));
}

#[test]
fn iterators_stop_after_the_first_error() {
    let section = [
        record_section(&[OwnedRecord::default()]),
        vec![0x01],
        record_section(&[OwnedRecord::default()]),
    ];
    let set = batch(0, 3, &section.concat());
    let mut records = only_batch(&set).records().unwrap();
    assert!(records.next().unwrap().is_ok());
    assert!(records.next().unwrap().is_err());
    assert!(records.next().is_none());
}
