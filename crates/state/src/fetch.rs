//! Fetch requests and their answers.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse};
use wire::error_code::NONE;

use crate::committed::Aborted;
use crate::kafka::{Failure, Kafka, Place};
use crate::transport::Node;

/// Highest version used: the first that names topics by id, so that a topic made anew is noticed (KIP-516).
const FETCH: i16 = 13;
const TOPIC_IDS_FROM: i16 = 13;

const READ_COMMITTED: i8 = 1;
const MAX_BYTES: i32 = 8 << 20;

/// How much longer than it was asked to a broker may wait.
const GRACE: Duration = Duration::from_secs(5);

/// What was read of one partition.
pub(crate) struct Read {
    pub(crate) place: Place,
    pub(crate) error: i16,
    /// The first offset of the log; -1 if the broker does not tell.
    pub(crate) log_start: i64,
    /// The end of what can be read.
    pub(crate) end: i64,
    pub(crate) aborted: Vec<Aborted>,
    pub(crate) records: Bytes,
}

/// Reads committed records of several partitions that one broker leads; waits up to `wait` if there are none.
pub(crate) async fn fetch(
    kafka: &Kafka,
    leader: &Node,
    places: &[(Place, i64)],
    wait: Duration,
) -> Result<Vec<Read>, Failure> {
    let mut topics: BTreeMap<_, Vec<FetchPartition>> = BTreeMap::new();
    for ((topic, partition), offset) in places {
        topics.entry(*topic).or_default().push(
            FetchPartition::default()
                .with_partition(*partition)
                .with_fetch_offset(*offset)
                .with_partition_max_bytes(MAX_BYTES),
        );
    }
    let mut ids = BTreeMap::new();
    let mut named = Vec::new();
    for (topic, partitions) in topics {
        let id = kafka.topic(topic).map(|seen| seen.id).unwrap_or_default();
        ids.insert(id, topic);
        named.push(
            FetchTopic::default()
                .with_topic(kafka.topic_name(topic))
                .with_topic_id(id)
                .with_partitions(partitions),
        );
    }
    let by_id = !named.iter().any(|t| t.topic_id.is_nil());
    let max_version = if by_id { FETCH } else { TOPIC_IDS_FROM - 1 };
    let max_wait = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    let answer = kafka
        .ask_patiently::<FetchRequest>(leader, max_version, wait + GRACE, move |version| {
            for topic in &mut named {
                if version >= TOPIC_IDS_FROM {
                    topic.topic = Default::default();
                } else {
                    topic.topic_id = Default::default();
                }
            }
            FetchRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_max_wait_ms(max_wait)
                .with_min_bytes(1)
                .with_max_bytes(MAX_BYTES)
                .with_isolation_level(READ_COMMITTED)
                .with_session_epoch(-1)
                .with_topics(named)
        })
        .await?;
    if answer.error_code != NONE {
        return Err(Failure::code("Fetch", answer.error_code));
    }
    Ok(reads(answer, |name, id| {
        kafka.topic_called(name).or_else(|| ids.get(id).copied())
    }))
}

fn reads(
    answer: FetchResponse,
    topic_of: impl Fn(&str, &uuid::Uuid) -> Option<crate::StoreTopic>,
) -> Vec<Read> {
    let mut reads = Vec::new();
    for listed in answer.responses {
        let Some(topic) = topic_of(&listed.topic, &listed.topic_id) else {
            continue;
        };
        for partition in listed.partitions {
            let aborted = partition.aborted_transactions.unwrap_or_default();
            reads.push(Read {
                place: (topic, partition.partition_index),
                error: partition.error_code,
                log_start: partition.log_start_offset,
                end: partition.last_stable_offset,
                aborted: aborted
                    .into_iter()
                    .map(|a| Aborted {
                        producer_id: a.producer_id.0,
                        first_offset: a.first_offset,
                    })
                    .collect(),
                records: partition.records.unwrap_or_default(),
            });
        }
    }
    reads
}
