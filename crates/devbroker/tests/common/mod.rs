//! A client that speaks single frames.
#![allow(dead_code)]

use bytes::{Buf, BufMut, Bytes, BytesMut};
use devbroker::{DevCluster, Options};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    next: i32,
}

impl Client {
    pub(crate) async fn connect(cluster: &DevCluster, node: i32) -> Client {
        let stream = TcpStream::connect(cluster.addresses()[node as usize - 1])
            .await
            .expect("connects");
        Client { stream, next: 0 }
    }

    pub(crate) async fn call<R: Request>(&mut self, version: i16, request: R) -> R::Response {
        self.send(version, &request).await;
        let id = self.next;
        let mut frame = self.frame().await.expect("an answer");
        assert_eq!(frame.get_i32(), id, "correlation id");
        if R::Response::header_version(version) > 0 {
            assert_eq!(frame.get_u8(), 0, "no tags in the header");
        }
        // The answer must satisfy the table, not only the typed decoder that was used on the other side.
        let api = wire::api::ApiKey(R::KEY);
        wire::walk::validate(api, version, wire::api::Direction::Response, &frame)
            .expect("valid response");
        let response = R::Response::decode(&mut frame, version).expect("decodes");
        assert!(!frame.has_remaining(), "nothing after the response");
        response
    }

    pub(crate) async fn send<R: Request>(&mut self, version: i16, request: &R) {
        self.next += 1;
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_correlation_id(self.next)
            .with_client_id(Some(StrBytes::from_static_str("frames")));
        let mut body = BytesMut::new();
        header
            .encode(&mut body, R::header_version(version))
            .expect("header");
        request.encode(&mut body, version).expect("request");
        let mut frame = BytesMut::new();
        frame.put_i32(body.len() as i32);
        frame.put_slice(&body);
        self.stream.write_all(&frame).await.expect("sent");
    }

    /// The next frame without its length; None at the end of the stream.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        let length = self.stream.read_i32().await.ok()?;
        let mut frame = vec![0; length as usize];
        self.stream.read_exact(&mut frame).await.ok()?;
        Some(Bytes::from(frame))
    }

    pub(crate) async fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0; 1]).await, Ok(0) | Err(_))
    }
}

pub(crate) async fn start(options: Options) -> DevCluster {
    DevCluster::start(options).await.expect("starts")
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

pub(crate) async fn create_topic(
    client: &mut Client,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> uuid::Uuid {
    use create_topics_request::{CreatableTopic, CreatableTopicConfig};
    let configs = configs.iter().map(|(k, v)| {
        CreatableTopicConfig::default()
            .with_name(text(k))
            .with_value(Some(text(v)))
    });
    let wanted = CreatableTopic::default()
        .with_name(topic(name))
        .with_num_partitions(partitions)
        .with_replication_factor(1);
    let request =
        CreateTopicsRequest::default().with_topics(vec![wanted.with_configs(configs.collect())]);
    let response = client.call(7, request).await;
    assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0]);
    response.topics[0].topic_id
}

#[derive(Clone, Copy)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
    pub(crate) sequence: i32,
    pub(crate) transactional: bool,
}

pub(crate) const PLAIN: Producer = Producer {
    id: -1,
    epoch: -1,
    sequence: -1,
    transactional: false,
};

/// Timestamp of the first record of every batch: now, as older records would not be retained.
pub(crate) fn first_timestamp() -> i64 {
    static FIRST: std::sync::OnceLock<i64> = std::sync::OnceLock::new();
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    *FIRST.get_or_init(|| now().expect("after 1970").as_millis() as i64)
}

/// One batch of records (key, value) with timestamps one millisecond apart.
pub(crate) fn batch(producer: Producer, records: &[(&str, &str)]) -> Bytes {
    let records: Vec<Record> = records
        .iter()
        .enumerate()
        .map(|(i, (key, value))| Record {
            transactional: producer.transactional,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            timestamp_type: TimestampType::Creation,
            offset: i as i64,
            // The encoder begins a new batch where sequences and offsets do not run side by side.
            sequence: producer.sequence + i as i32,
            timestamp: first_timestamp() + i as i64,
            key: Some(Bytes::copy_from_slice(key.as_bytes())),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: Default::default(),
        })
        .collect();
    let mut out = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    RecordBatchEncoder::encode(&mut out, &records, &options).expect("encodes");
    out.freeze()
}

pub(crate) fn produce_request(
    name: &str,
    partition: i32,
    transactional_id: Option<&str>,
    records: Bytes,
) -> ProduceRequest {
    use produce_request::{PartitionProduceData, TopicProduceData};
    let data = PartitionProduceData::default()
        .with_index(partition)
        .with_records(Some(records));
    let topics = vec![
        TopicProduceData::default()
            .with_name(topic(name))
            .with_partition_data(vec![data]),
    ];
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(1_000)
        .with_transactional_id(transactional_id.map(|id| TransactionalId(text(id))))
        .with_topic_data(topics)
}

pub(crate) async fn produce(
    client: &mut Client,
    name: &str,
    partition: i32,
    records: Bytes,
) -> produce_response::PartitionProduceResponse {
    let mut response = client
        .call(12, produce_request(name, partition, None, records))
        .await;
    response.responses[0].partition_responses.remove(0)
}

pub(crate) fn fetch_request(name: &str, partition: i32, offset: i64) -> FetchRequest {
    use fetch_request::{FetchPartition, FetchTopic};
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_fetch_offset(offset);
    let partition = partition
        .with_partition_max_bytes(1 << 20)
        .with_current_leader_epoch(-1);
    let topics = vec![
        FetchTopic::default()
            .with_topic(topic(name))
            .with_partitions(vec![partition]),
    ];
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(topics)
}

pub(crate) async fn fetch(
    client: &mut Client,
    request: FetchRequest,
) -> fetch_response::PartitionData {
    let mut response = client.call(12, request).await;
    response.responses[0].partitions.remove(0)
}

/// (base offset, count) of each batch.
pub(crate) fn batches(records: &Bytes) -> Vec<(i64, i32)> {
    let mut found = Vec::new();
    let mut rest = records.clone();
    while rest.len() >= 61 {
        let base = (&rest[0..8]).get_i64();
        let length = (&rest[8..12]).get_i32() as usize;
        found.push((base, (&rest[57..61]).get_i32()));
        rest.advance(12 + length);
    }
    assert!(rest.is_empty(), "whole batches only");
    found
}
