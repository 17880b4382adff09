//! Frames that are made once and sent often.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{FetchRequest, ProduceRequest, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use uuid::Uuid;
use wire::api::ApiKey;
use wire::header::{request_header_version, response_header_len};

use crate::Result;

const CLIENT_ID: &str = "bench";
/// Length, API key, version, correlation id.
const HEAD: usize = 12;
/// First version of Produce and Fetch that names topics by id (KIP-516).
const IDS_FROM: i16 = 13;

/// A request frame but for its correlation id.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    head: [u8; 8],
    rest: Bytes,
}

impl Template {
    /// Encodes a request.
    pub(crate) fn new(api: ApiKey, version: i16, body: &impl Encodable) -> Result<Template> {
        let mut rest = BytesMut::new();
        rest.put_i16(CLIENT_ID.len() as i16);
        rest.put_slice(CLIENT_ID.as_bytes());
        if request_header_version(api, version) >= 2 {
            rest.put_u8(0);
        }
        body.encode(&mut rest, version)?;
        let mut head = [0; 8];
        let length = u32::try_from(HEAD - 4 + rest.len())?;
        head[..4].copy_from_slice(&length.to_be_bytes());
        head[4..6].copy_from_slice(&api.0.to_be_bytes());
        head[6..].copy_from_slice(&version.to_be_bytes());
        Ok(Template {
            head,
            rest: rest.freeze(),
        })
    }

    /// The beginning of the frame, to which [`Template::rest`] belongs.
    pub(crate) fn head(&self, correlation_id: i32) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&self.head);
        head[8..].copy_from_slice(&correlation_id.to_be_bytes());
        head
    }

    /// What follows the head.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// Bytes of the whole frame.
    pub(crate) fn len(&self) -> usize {
        HEAD + self.rest.len()
    }
}

/// Decodes an answer, given without its length.
pub(crate) fn decode<T: Decodable>(api: ApiKey, version: i16, frame: &[u8]) -> Result<T> {
    let header = response_header_len(api, version, frame).map_err(|e| e.to_string())?;
    let mut body = Bytes::copy_from_slice(frame.get(header..).unwrap_or_default());
    Ok(T::decode(&mut body, version)?)
}

/// Kafka's text type.
pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic by both its names.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    /// Name.
    pub(crate) name: String,
    /// Topic id.
    pub(crate) id: Uuid,
    /// Node id of the leader of partition 0.
    pub(crate) leader: i32,
}

/// A Produce request with `batch` for partition 0 of each topic.
pub(crate) fn produce(
    version: i16,
    acks: i16,
    topics: &[Topic],
    batch: &Bytes,
) -> Result<Template> {
    let data = topics.iter().map(|topic| {
        let partition = PartitionProduceData::default().with_records(Some(batch.clone()));
        let data = TopicProduceData::default().with_partition_data(vec![partition]);
        if version >= IDS_FROM {
            data.with_topic_id(topic.id)
        } else {
            data.with_name(TopicName(text(&topic.name)))
        }
    });
    let request = ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(30_000)
        .with_topic_data(data.collect());
    Template::new(ApiKey::PRODUCE, version, &request)
}

/// A Fetch request without a session, from the beginning of partition 0 of each topic, for `bytes` in all.
pub(crate) fn fetch(version: i16, topics: &[Topic], bytes: usize) -> Result<Template> {
    let share = i32::try_from(bytes / topics.len().max(1))?;
    let topics = topics.iter().map(|topic| {
        let mut partition = FetchPartition::default()
            .with_fetch_offset(0)
            .with_current_leader_epoch(-1)
            .with_last_fetched_epoch(-1)
            .with_log_start_offset(-1)
            .with_partition_max_bytes(share);
        partition.partition = 0;
        let asked = FetchTopic::default().with_partitions(vec![partition]);
        if version >= IDS_FROM {
            asked.with_topic_id(topic.id)
        } else {
            asked.with_topic(TopicName(text(&topic.name)))
        }
    });
    let request = FetchRequest::default()
        .with_max_wait_ms(500)
        .with_min_bytes(1)
        .with_max_bytes(i32::try_from(bytes)?)
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(topics.collect());
    Template::new(ApiKey::FETCH, version, &request)
}

/// A batch (magic 2, not compressed) of records without keys whose values have `record` bytes; as many as make
/// `batch` bytes of values, at least one.
pub(crate) fn batch(record: usize, batch: usize) -> Bytes {
    let count = (batch / record.max(1)).max(1) as i32;
    let mut records = BytesMut::new();
    let mut one = BytesMut::new();
    for delta in 0..count {
        one.clear();
        one.put_u8(0);
        put_varint(&mut one, 0);
        put_varint(&mut one, i64::from(delta));
        put_varint(&mut one, -1);
        put_varint(&mut one, record as i64);
        // Neither constant nor random: nobody compresses it on the way.
        one.extend((0..record).map(|n| (n * 31 + delta as usize) as u8));
        put_varint(&mut one, 0);
        put_varint(&mut records, one.len() as i64);
        records.put_slice(&one);
    }
    let mut checked = BytesMut::new();
    checked.put_i16(0);
    checked.put_i32(count - 1);
    let now = now_ms();
    checked.put_i64(now);
    checked.put_i64(now);
    checked.put_i64(-1);
    checked.put_i16(-1);
    checked.put_i32(-1);
    checked.put_i32(count);
    checked.put_slice(&records);
    let mut whole = BytesMut::new();
    whole.put_i64(0);
    whole.put_i32((checked.len() + 9) as i32);
    whole.put_i32(0);
    whole.put_u8(2);
    whole.put_u32(crc32c::crc32c(&checked));
    whole.put_slice(&checked);
    whole.freeze()
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as i64)
}

/// The same batch for every `base` offset, until `bytes` are full; at least one.
pub(crate) fn record_set(batch: &Bytes, records: i64, bytes: usize) -> Bytes {
    let count = (bytes / batch.len()).max(1);
    let mut set = BytesMut::with_capacity(count * batch.len());
    for n in 0..count as i64 {
        set.put_i64(n * records);
        set.put_slice(&batch[8..]);
    }
    set.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::records::{Batches, Entry};

    #[test]
    fn batches_are_valid() {
        for (record, bytes, count) in [(100, 16_384, 163), (100_000, 16_384, 1)] {
            let batch = batch(record, bytes);
            let set = record_set(&batch, i64::from(count), 3 * batch.len());
            let mut base = 0;
            for entry in Batches::new(&set) {
                let Ok(Entry::Batch(batch)) = entry else {
                    panic!("no batch: {entry:?}");
                };
                assert!(batch.crc_is_valid());
                batch.check_records().expect("records");
                assert_eq!(batch.header().records_count, count);
                assert_eq!(batch.header().base_offset, base);
                base += i64::from(count);
            }
            assert_eq!(base, 3 * i64::from(count));
        }
    }
}
