//! What the scenarios need: a client, raw requests, a transport that fails on command.
#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod scenarios;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, TopicName, TransactionalId};
use kafka_protocol::protocol::{Decodable, Request, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use serde_json::{Map, json};
use state::{
    AccountKind, AclBinding, AclOperation, AclPattern, AclPermission, AclResource, Answering, Call,
    Node, Options, ServiceAccount, Status, Store, StoreTopic, Transport, TransportError,
};
use wire::api::ApiKey;

/// Longer than anything here may take on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// A client of the gateway's own kind.
pub(crate) fn client(bootstrap: &str) -> Arc<dyn Transport> {
    let source = config::Source::from_pairs([("KAFKA_BOOTSTRAP_SERVERS", bootstrap)]);
    let loaded = config::load(&source).expect("a valid configuration");
    let cluster = &loaded.config.upstream.main;
    let auth = auth::UpstreamAuth::new(&cluster.security).expect("no security");
    Arc::new(proxy::Client::new(
        cluster,
        auth,
        "state-test".to_owned(),
        &telemetry::metrics::Metrics::new(&telemetry::metrics::MetricsSettings::default()),
    ))
}

pub(crate) fn options(id: &str) -> Options {
    Options {
        replication_factor: 1,
        start_limit: LIMIT,
        write_limit: LIMIT,
        ..Options::new(id, "node-1")
    }
}

pub(crate) async fn open(bootstrap: &str, id: &str) -> Store {
    Store::open(client(bootstrap), options(id))
        .await
        .expect("the store opens")
}

pub(crate) fn local(vcluster: &str, name: &str) -> ServiceAccount {
    let mut metadata = Map::new();
    metadata.insert("labels".to_owned(), json!({"team": "a"}));
    ServiceAccount {
        vcluster: vcluster.to_owned(),
        name: name.to_owned(),
        kind: AccountKind::Local,
        incarnation: None,
        metadata,
    }
}

pub(crate) fn external(vcluster: &str, name: &str, external_name: &str) -> ServiceAccount {
    ServiceAccount {
        kind: AccountKind::External {
            external_names: vec![external_name.to_owned()],
        },
        ..local(vcluster, name)
    }
}

pub(crate) fn binding(vcluster: &str, topic: &str) -> AclBinding {
    AclBinding {
        vcluster: vcluster.to_owned(),
        resource_type: AclResource::Topic,
        pattern_type: AclPattern::Literal,
        resource_name: topic.to_owned(),
        principal: "User:someone".to_owned(),
        host: "*".to_owned(),
        operation: AclOperation::Read,
        permission: AclPermission::Allow,
    }
}

pub(crate) fn size(store: &Store, topic: StoreTopic) -> usize {
    let sizes = store.sizes();
    sizes.iter().find(|(t, _)| *t == topic).map_or(0, |s| s.1)
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, waited)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"));
}

pub(crate) async fn broken(store: &Store) {
    eventually("the store to be broken", || {
        matches!(store.status(), Status::Broken { .. })
    })
    .await;
}

/// Sends a request to the bootstrap server; these clusters have one broker.
pub(crate) async fn ask<R: Request + Send + 'static>(
    transport: &dyn Transport,
    max_version: i16,
    request: R,
) -> R::Response {
    let call = Call {
        api: ApiKey(R::KEY),
        min_version: R::VERSIONS.min,
        max_version,
        encode: Box::new(move |version| {
            let mut body = BytesMut::new();
            request
                .encode(&mut body, version)
                .map_err(|e| e.to_string())?;
            Ok(body.freeze())
        }),
    };
    let mut reply = transport
        .call(Node::Bootstrap, call)
        .await
        .expect("an answer");
    R::Response::decode(&mut reply.body, reply.version).expect("decodes")
}

pub(crate) fn topic_name(topic: StoreTopic, id: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.default_name(id)))
}

/// Key and value of a raw record.
pub(crate) type Raw = (Option<Vec<u8>>, Option<Vec<u8>>);

pub(crate) fn raw(key: &str, value: &str) -> Raw {
    (Some(key.into()), Some(value.into()))
}

/// A producer id and epoch, for transactions.
pub(crate) type Producer = (TransactionalId, i64, i16);

/// Writes records past the store.
pub(crate) async fn produce(
    transport: &dyn Transport,
    topic: &TopicName,
    partition: i32,
    records: &[Raw],
    producer: Option<&Producer>,
) {
    let (id, epoch) = producer.map_or((-1, -1), |p| (p.1, p.2));
    let records: Vec<Record> = (0..)
        .zip(records)
        .map(|(index, (key, value))| Record {
            transactional: producer.is_some(),
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: id,
            producer_epoch: epoch,
            timestamp_type: TimestampType::Creation,
            offset: index,
            sequence: index as i32 - i32::from(producer.is_none()),
            timestamp: 1,
            key: key.clone().map(Bytes::from),
            value: value.clone().map(Bytes::from),
            headers: Default::default(),
        })
        .collect();
    let mut bytes = BytesMut::new();
    let encoding = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    RecordBatchEncoder::encode(&mut bytes, &records, &encoding).expect("encodes");
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_transactional_id(producer.map(|p| p.0.clone()))
        .with_topic_data(vec![
            TopicProduceData::default()
                .with_name(topic.clone())
                .with_partition_data(vec![
                    PartitionProduceData::default()
                        .with_index(partition)
                        .with_records(Some(bytes.freeze())),
                ]),
        ]);
    let answer = ask(transport, 9, request).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    /// It does not reach the broker.
    Lost,
    /// The broker carries it out; the answer does not arrive.
    AnswerLost,
}

type Judge = Box<dyn FnMut(&Call) -> Fate + Send>;

/// A transport that fails on command.
pub(crate) struct Faulty {
    inner: Arc<dyn Transport>,
    judge: Mutex<Judge>,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn Transport>) -> Arc<Self> {
        let judge: Mutex<Judge> = Mutex::new(Box::new(|_| Fate::Pass));
        Arc::new(Faulty { inner, judge })
    }

    pub(crate) fn judge(&self, judge: impl FnMut(&Call) -> Fate + Send + 'static) {
        *self.judge.lock().unwrap() = Box::new(judge);
    }
}

impl Transport for Faulty {
    fn call(&self, to: Node, call: Call) -> Answering<'_> {
        let fate = (self.judge.lock().unwrap())(&call);
        Box::pin(async move {
            let lost = || TransportError::unreachable("lost on command");
            match fate {
                Fate::Pass => self.inner.call(to, call).await,
                Fate::Lost => Err(lost()),
                Fate::AnswerLost => {
                    self.inner.call(to, call).await?;
                    Err(lost())
                }
            }
        })
    }
}
