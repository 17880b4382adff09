//! Who leads what: metadata, the coordinator of the store's transactional id, offsets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    BrokerId, FindCoordinatorRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse,
    TopicName,
};
use kafka_protocol::protocol::{Request, StrBytes};
use thiserror::Error;
use tokio::time::timeout;
use uuid::Uuid;
use wire::error_code::{NONE, TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_OR_PARTITION};

use crate::topic::StoreTopic;
use crate::transport::{Node, Transport, TransportError, ask};

/// One answer may take this long before another broker is tried.
const PATIENCE: Duration = Duration::from_secs(5);

/// Highest versions used. Topic ids in Metadata came with 10, committed ends in ListOffsets with 2.
const METADATA: i16 = 12;
const LIST_OFFSETS: i16 = 7;
const FIND_COORDINATOR: i16 = 3;

const TRANSACTION: i8 = 1;
const READ_COMMITTED: i8 = 1;
const CONSUMER: BrokerId = BrokerId(-1);

/// A partition of a store topic.
pub(crate) type Place = (StoreTopic, i32);

/// An offset in each partition.
pub(crate) type Offsets = BTreeMap<Place, i64>;

/// Which end of a partition to ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The first offset.
    First,
    /// Behind the last committed record.
    Committed,
}

impl End {
    fn timestamp(self) -> i64 {
        match self {
            End::First => -2,
            End::Committed => -1,
        }
    }
}

/// Why a question has no answer.
#[derive(Clone, Debug, Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("{asked}: Kafka answers error {code}{}", said(.message))]
    Code {
        asked: &'static str,
        code: i16,
        message: Option<String>,
    },
    #[error("{}: Kafka does not let the gateway see the topic", .0.variable())]
    Hidden(StoreTopic),
    #[error("topic {0} is not there")]
    Missing(String),
    #[error("partition {1} of {0} has no leader")]
    NoLeader(String, i32),
    #[error("no answer within {PATIENCE:?}")]
    TimedOut,
}

fn said(message: &Option<String>) -> String {
    message
        .as_ref()
        .map(|m| format!(" ({m})"))
        .unwrap_or_default()
}

impl Failure {
    pub(crate) fn code(asked: &'static str, code: i16) -> Self {
        Failure::Code {
            asked,
            code,
            message: None,
        }
    }
}

/// What the brokers said last.
#[derive(Default)]
struct View {
    brokers: BTreeMap<i32, Node>,
    topics: BTreeMap<StoreTopic, TopicView>,
    coordinator: Option<Node>,
}

/// A topic as Metadata shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicView {
    /// Nil if the brokers know no topic ids.
    pub(crate) id: Uuid,
    /// Leaders by partition; -1: none.
    pub(crate) leaders: BTreeMap<i32, i32>,
    /// The smallest number of replicas of a partition.
    pub(crate) replicas: usize,
}

/// The cluster as the store uses it.
pub(crate) struct Kafka {
    transport: Arc<dyn Transport>,
    names: BTreeMap<StoreTopic, String>,
    pub(crate) transactional_id: String,
    view: Mutex<View>,
}

impl Kafka {
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        names: BTreeMap<StoreTopic, String>,
        transactional_id: String,
    ) -> Self {
        Kafka {
            transport,
            names,
            transactional_id,
            view: Mutex::default(),
        }
    }

    /// The topic's name in Kafka.
    pub(crate) fn name(&self, topic: StoreTopic) -> &str {
        self.names.get(&topic).map_or("", String::as_str)
    }

    pub(crate) fn topic_name(&self, topic: StoreTopic) -> TopicName {
        TopicName(StrBytes::from_string(self.name(topic).to_owned()))
    }

    pub(crate) fn topic_called(&self, name: &str) -> Option<StoreTopic> {
        self.names
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(topic, _)| *topic)
    }

    /// Asks one broker.
    pub(crate) async fn ask<R: Request>(
        &self,
        to: &Node,
        max_version: i16,
        request: impl FnOnce(i16) -> R + Send + 'static,
    ) -> Result<R::Response, Failure> {
        self.ask_patiently(to, max_version, PATIENCE, request).await
    }

    /// The same with another limit.
    pub(crate) async fn ask_patiently<R: Request>(
        &self,
        to: &Node,
        max_version: i16,
        patience: Duration,
        request: impl FnOnce(i16) -> R + Send + 'static,
    ) -> Result<R::Response, Failure> {
        let asked = ask::<R>(
            self.transport.as_ref(),
            to.clone(),
            (0, max_version),
            request,
        );
        timeout(patience, asked)
            .await
            .map_err(|_| Failure::TimedOut)?
            .map_err(Failure::from)
    }

    /// Asks the brokers in turn until one answers, then the bootstrap servers.
    pub(crate) async fn ask_any<R: Request + Clone + Send + 'static>(
        &self,
        max_version: i16,
        request: &R,
    ) -> Result<R::Response, Failure> {
        let known: Vec<Node> = self.view().brokers.values().cloned().collect();
        let mut last = Failure::TimedOut;
        for node in known.into_iter().chain([Node::Bootstrap]) {
            let request = request.clone();
            match self.ask(&node, max_version, move |_| request).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => last = failure,
            }
        }
        Err(last)
    }

    /// Reads the metadata anew. Topics that Kafka says do not exist are absent from the answer.
    pub(crate) async fn refresh(&self) -> Result<BTreeMap<StoreTopic, TopicView>, Failure> {
        let topics = self
            .names
            .keys()
            .map(|topic| MetadataRequestTopic::default().with_name(Some(self.topic_name(*topic))))
            .collect();
        let request = MetadataRequest::default()
            .with_topics(Some(topics))
            .with_allow_auto_topic_creation(false);
        let answer = self.ask_any(METADATA, &request).await?;
        let brokers = brokers(&answer);
        let mut seen = BTreeMap::new();
        for listed in &answer.topics {
            let Some(topic) = listed.name.as_ref().and_then(|n| self.topic_called(n)) else {
                continue;
            };
            match listed.error_code {
                // A partition without a leader makes an error of the topic in old versions.
                NONE | wire::error_code::LEADER_NOT_AVAILABLE => {}
                UNKNOWN_TOPIC_OR_PARTITION => continue,
                TOPIC_AUTHORIZATION_FAILED => return Err(Failure::Hidden(topic)),
                code => return Err(Failure::code("Metadata", code)),
            }
            let partitions = &listed.partitions;
            let view = TopicView {
                id: listed.topic_id,
                leaders: partitions
                    .iter()
                    .map(|p| (p.partition_index, p.leader_id.0))
                    .collect(),
                replicas: partitions
                    .iter()
                    .map(|p| p.replica_nodes.len())
                    .min()
                    .unwrap_or(0),
            };
            seen.insert(topic, view);
        }
        let mut view = self.view();
        view.brokers = brokers;
        view.topics = seen.clone();
        Ok(seen)
    }

    /// The topic as it was seen last.
    pub(crate) fn topic(&self, topic: StoreTopic) -> Option<TopicView> {
        self.view().topics.get(&topic).cloned()
    }

    /// Every partition seen last, by the broker that leads it.
    pub(crate) fn places_by_leader(&self) -> BTreeMap<i32, Vec<Place>> {
        let view = self.view();
        let mut places: BTreeMap<i32, Vec<Place>> = BTreeMap::new();
        for (topic, seen) in &view.topics {
            for (partition, leader) in &seen.leaders {
                places
                    .entry(*leader)
                    .or_default()
                    .push((*topic, *partition));
            }
        }
        places
    }

    /// Where broker `id` is.
    pub(crate) fn broker(&self, id: i32) -> Option<Node> {
        self.view().brokers.get(&id).cloned()
    }

    /// The leader of a partition.
    pub(crate) fn leader(&self, (topic, partition): Place) -> Result<Node, Failure> {
        let view = self.view();
        let seen = view
            .topics
            .get(&topic)
            .ok_or_else(|| Failure::Missing(self.name(topic).to_owned()))?;
        seen.leaders
            .get(&partition)
            .and_then(|id| view.brokers.get(id))
            .cloned()
            .ok_or_else(|| Failure::NoLeader(self.name(topic).to_owned(), partition))
    }

    /// The broker that coordinates the store's transactional id.
    pub(crate) async fn coordinator(&self) -> Result<Node, Failure> {
        if let Some(known) = self.view().coordinator.clone() {
            return Ok(known);
        }
        let request = FindCoordinatorRequest::default()
            .with_key(StrBytes::from_string(self.transactional_id.clone()))
            .with_key_type(TRANSACTION);
        let answer = self.ask_any(FIND_COORDINATOR, &request).await?;
        if answer.error_code != NONE {
            return Err(Failure::Code {
                asked: "FindCoordinator",
                code: answer.error_code,
                message: answer.error_message.map(|m| m.to_string()),
            });
        }
        let node = node(&answer.host, answer.port).ok_or(Failure::TimedOut)?;
        self.view().coordinator = Some(node.clone());
        Ok(node)
    }

    /// The coordinator has moved, or does not answer.
    pub(crate) fn forget_coordinator(&self) {
        self.view().coordinator = None;
    }

    /// One end of every partition.
    pub(crate) async fn offsets(&self, end: End) -> Result<Offsets, Failure> {
        let mut offsets = Offsets::new();
        for (leader, places) in self.places_by_leader() {
            let Some(node) = self.broker(leader) else {
                let name = |(topic, partition): &Place| (self.name(*topic).to_owned(), *partition);
                let (topic, partition) = places.first().map(name).unwrap_or_default();
                return Err(Failure::NoLeader(topic, partition));
            };
            let request = self.offsets_request(&places, end);
            let answer = self
                .ask::<ListOffsetsRequest>(&node, LIST_OFFSETS, move |_| request)
                .await?;
            for topic in &answer.topics {
                let Some(store) = self.topic_called(&topic.name) else {
                    continue;
                };
                for partition in &topic.partitions {
                    if partition.error_code != NONE {
                        return Err(Failure::code("ListOffsets", partition.error_code));
                    }
                    offsets.insert((store, partition.partition_index), partition.offset);
                }
            }
            if let Some((topic, _)) = places.iter().find(|p| !offsets.contains_key(*p)) {
                return Err(Failure::Missing(self.name(*topic).to_owned()));
            }
        }
        Ok(offsets)
    }

    fn offsets_request(&self, places: &[Place], end: End) -> ListOffsetsRequest {
        let topics = places
            .iter()
            .map(|(topic, partition)| {
                ListOffsetsTopic::default()
                    .with_name(self.topic_name(*topic))
                    .with_partitions(vec![
                        ListOffsetsPartition::default()
                            .with_partition_index(*partition)
                            .with_timestamp(end.timestamp()),
                    ])
            })
            .collect();
        ListOffsetsRequest::default()
            .with_replica_id(CONSUMER)
            .with_isolation_level(READ_COMMITTED)
            .with_topics(topics)
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn brokers(answer: &MetadataResponse) -> BTreeMap<i32, Node> {
    answer
        .brokers
        .iter()
        .filter_map(|b| Some((b.node_id.0, node(&b.host, b.port)?)))
        .collect()
}

fn node(host: &str, port: i32) -> Option<Node> {
    Some(Node::At {
        host: Arc::from(host),
        port: u16::try_from(port).ok()?,
    })
}
