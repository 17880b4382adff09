//! What the walker costs on the messages that matter, and what the typed codec costs on the same bytes.
//!
//! ```text
//! cargo bench -p sluicegate-wire --bench walker
//! ```

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    BrokerId, FetchResponse, MetadataResponse, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use sluicegate_wire::api::{ApiKey, Direction};
use sluicegate_wire::header::RequestHeader;
use sluicegate_wire::plan::{Interest, Plan};
use sluicegate_wire::rewrite::{Edits, Rewrite, Segments};
use sluicegate_wire::schema::Entity;
use sluicegate_wire::stream::{Step, StreamWalker};
use sluicegate_wire::walk::{Field, Value, validate};

const MIB: usize = 1 << 20;
const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
const METADATA_VERSION: i16 = 12;
const TOPICS: usize = 1000;
const PARTITIONS: usize = 12;
const BROKERS: i32 = 3;

/// Puts a prefix on names, and the gateway's address in place of the brokers'.
struct Gateway {
    name: Vec<u8>,
    node: i64,
}

const PREFIX: &[u8] = b"tenant-a.";

impl Gateway {
    fn new() -> Self {
        Self {
            name: PREFIX.to_vec(),
            node: 0,
        }
    }
}

impl Rewrite for Gateway {
    fn field(&mut self, field: &Field<'_>, edits: &mut Edits<'_>) {
        match (field.entity, field.value) {
            (Entity::TopicName, Value::Text(Some(name))) => {
                self.name.truncate(PREFIX.len());
                self.name.extend_from_slice(name);
                edits.set_text(Some(&self.name));
            }
            (Entity::NodeId, Value::Int(node)) => self.node = node,
            (Entity::Host, _) => edits.set_text(Some(b"gateway.example.org")),
            (Entity::Port, _) => edits.set_int(field.pos, 4, 6969 + self.node),
            _ => {}
        }
    }
}

fn encoded(message: &impl Encodable, version: i16) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    message
        .encode(&mut bytes, version)
        .expect("a valid message");
    bytes.to_vec()
}

fn name(topic: usize) -> TopicName {
    TopicName(StrBytes::from_string(format!(
        "orders-of-department-{topic:04}"
    )))
}

fn produce_request() -> Vec<u8> {
    let partition = PartitionProduceData::default()
        .with_index(3)
        .with_records(Some(Bytes::from(vec![7; MIB])));
    let topic = TopicProduceData::default()
        .with_name(name(1))
        .with_partition_data(vec![partition]);
    encoded(
        &ProduceRequest::default()
            .with_acks(-1)
            .with_topic_data(vec![topic]),
        PRODUCE_VERSION,
    )
}

fn fetch_response() -> Vec<u8> {
    let partition = PartitionData::default()
        .with_high_watermark(9)
        .with_records(Some(Bytes::from(vec![7; MIB])));
    let topic = FetchableTopicResponse::default()
        .with_topic(name(1))
        .with_partitions(vec![partition]);
    encoded(
        &FetchResponse::default().with_responses(vec![topic]),
        FETCH_VERSION,
    )
}

fn metadata_response() -> Vec<u8> {
    let replicas: Vec<BrokerId> = (0..BROKERS).map(BrokerId).collect();
    let partition = |index| {
        MetadataResponsePartition::default()
            .with_partition_index(index as i32)
            .with_leader_id(replicas[index % replicas.len()])
            .with_replica_nodes(replicas.clone())
            .with_isr_nodes(replicas.clone())
    };
    let topics = (0..TOPICS).map(|topic| {
        MetadataResponseTopic::default()
            .with_name(Some(name(topic)))
            .with_partitions((0..PARTITIONS).map(partition).collect())
    });
    let brokers = replicas.iter().map(|id| {
        MetadataResponseBroker::default()
            .with_node_id(*id)
            .with_host(StrBytes::from_string(format!(
                "broker-{}.internal.example.org",
                id.0
            )))
            .with_port(9092)
    });
    let response = MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_topics(topics.collect());
    encoded(&response, METADATA_VERSION)
}

fn produce(c: &mut Criterion) {
    let mut body = produce_request();
    let interest = Interest::of(&[Entity::TopicName]);
    let plan = Plan::compile(
        ApiKey::PRODUCE,
        PRODUCE_VERSION,
        Direction::Request,
        interest,
    )
    .expect("known");
    let mut segments = Segments::new();
    let mut gateway = Gateway::new();
    c.bench_function("produce 1 MiB, rename the topic", |b| {
        b.iter(|| {
            plan.rewrite(black_box(&mut body), &mut gateway, &mut segments)
                .expect("valid");
            black_box(segments.len())
        });
    });
}

fn fetch(c: &mut Criterion) {
    let body = fetch_response();
    c.bench_function("fetch 1 MiB, validate", |b| {
        b.iter(|| {
            validate(
                ApiKey::FETCH,
                FETCH_VERSION,
                Direction::Response,
                black_box(&body),
            )
        });
    });
    let plan = Plan::compile(
        ApiKey::FETCH,
        FETCH_VERSION,
        Direction::Response,
        Interest::NONE,
    )
    .expect("known");
    c.bench_function("fetch 1 MiB, stream in windows of 64 KiB", |b| {
        b.iter(|| {
            let mut walker = StreamWalker::new(&plan, body.len() as u64);
            let mut at = 0;
            while let Ok(Step::Skip(len)) =
                walker.next(black_box(&body[at..body.len().min(at + 65536)]))
            {
                at += len;
            }
            assert_eq!(at, body.len());
        });
    });
}

fn metadata(c: &mut Criterion) {
    let original = metadata_response();
    let mut group = c.benchmark_group(format!("metadata {TOPICS} x {PARTITIONS}"));
    group.throughput(Throughput::Bytes(original.len() as u64));
    let addresses = Interest::of(&[Entity::NodeId, Entity::Host, Entity::Port]);
    let names = addresses.and(Interest::of(&[Entity::TopicName]));
    for (what, interest) in [("brokers", addresses), ("brokers and topics", names)] {
        let plan = Plan::compile(
            ApiKey::METADATA,
            METADATA_VERSION,
            Direction::Response,
            interest,
        )
        .expect("known");
        let mut body = original.clone();
        let mut segments = Segments::new();
        let mut gateway = Gateway::new();
        group.bench_function(format!("rewrite {what}"), |b| {
            b.iter(|| {
                plan.rewrite(black_box(&mut body), &mut gateway, &mut segments)
                    .expect("valid");
                black_box(segments.len())
            });
        });
    }
    let bytes = Bytes::from(original.clone());
    let mut out = BytesMut::with_capacity(2 * bytes.len());
    group.bench_function("typed decode, brokers, encode", |b| {
        b.iter(|| {
            let mut response =
                MetadataResponse::decode(&mut bytes.clone(), METADATA_VERSION).expect("valid");
            for broker in &mut response.brokers {
                broker.host = StrBytes::from_static_str("gateway.example.org");
                broker.port = 6969 + broker.node_id.0;
            }
            out.clear();
            response.encode(&mut out, METADATA_VERSION).expect("valid");
            black_box(out.len())
        });
    });
    group.bench_function("validate", |b| {
        b.iter(|| {
            validate(
                ApiKey::METADATA,
                METADATA_VERSION,
                Direction::Response,
                black_box(&original),
            )
        });
    });
    group.finish();
}

fn header(c: &mut Criterion) {
    let frame = [&[0, 0, 0, 9, 0, 0, 0, 7, 0, 10][..], b"producer-1", &[0]].concat();
    c.bench_function("request header, parse", |b| {
        b.iter(|| RequestHeader::parse(black_box(&frame)))
    });
}

criterion_group!(benches, produce, fetch, metadata, header);
criterion_main!(benches);
