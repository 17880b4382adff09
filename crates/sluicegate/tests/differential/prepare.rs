//! What cases need before they can ask: topics, records, groups, transactions.

use serde_json::{Value, json};
use testkit::{Error, Result};
use wire::api::ApiKey;

use crate::message::hex;
use crate::records::{Producer, batch};
use crate::side::Run;
use crate::way::error_codes;

/// Topic that only reading cases use: three partitions, led by brokers 1, 2 and 3; see [`fixtures`].
pub(crate) const ORDERS: &str = "diff-s-orders";
/// Topic of one partition that only broker 1 has.
pub(crate) const SINGLE: &str = "diff-s-single";
/// Topic of one partition on broker 2 with one record of [`LARGE_VALUE`] bytes.
pub(crate) const LARGE: &str = "diff-s-large";
/// More than the gateway holds of an answer that streams.
const LARGE_VALUE: usize = 700_000;
/// Group with committed offsets of [`ORDERS`], without members.
pub(crate) const GROUP: &str = "diff-s-group";
/// Transactional id without a transaction.
pub(crate) const TRANSACTIONAL: &str = "diff-s-transactional";

/// A topic id that no topic has.
pub(crate) const NO_TOPIC_ID: &str = "42424242424242424242424242424242";

/// Replicas of three partitions, a different broker leading each.
pub(crate) const SPREAD: &[&[i32]] = &[&[1, 2, 3], &[2, 3, 1], &[3, 1, 2]];

/// One replica of each of three partitions, each on a broker of its own: quicker to make than [`SPREAD`].
pub(crate) const SINGLES: &[&[i32]] = &[&[1], &[2], &[3]];

/// Makes what reading cases read. `run` is a direct one.
pub(crate) fn fixtures(run: &mut Run<'_>) -> Result<()> {
    topic(run, ORDERS, SPREAD)?;
    topic(run, SINGLE, &[&[1]])?;
    produce(run, 1, ORDERS, 0, &batch(3, "first"))?;
    produce(run, 1, ORDERS, 0, &batch(3, "second"))?;
    topic(run, LARGE, &[&[2]])?;
    produce(run, 2, LARGE, 0, &batch(1, &"x".repeat(LARGE_VALUE)))?;
    produce(run, 2, ORDERS, 1, &batch(1, "only"))?;
    let node = coordinator(run, Kind::Group, GROUP)?;
    commit(run, node, GROUP, ORDERS, 2)?;
    let node = coordinator(run, Kind::Transaction, TRANSACTIONAL)?;
    init_producer(run, node, TRANSACTIONAL)?;
    Ok(())
}

/// Makes the topics that changing cases of one side share: `orders` like [`ORDERS`] but empty.
pub(crate) fn side_fixtures(run: &mut Run<'_>) -> Result<()> {
    let name = run.fixture("orders");
    topic(run, &name, SPREAD).map(drop)
}

/// Makes a topic whose partitions have these replicas, waits until their leaders serve it, gives its id.
pub(crate) fn topic(run: &mut Run<'_>, name: &str, replicas: &[&[i32]]) -> Result<String> {
    let assignments: Vec<Value> = replicas
        .iter()
        .enumerate()
        .map(|(index, brokers)| json!({ "PartitionIndex": index, "BrokerIds": brokers }))
        .collect();
    let body = json!({
        "Topics": [{
            "Name": name,
            "NumPartitions": -1,
            "ReplicationFactor": -1,
            "Assignments": assignments,
            "Configs": [{ "Name": "retention.ms", "Value": "-1" }],
        }],
        "timeoutMs": 30_000,
    });
    run.must(1, ApiKey::CREATE_TOPICS, 7, body)?;
    for (index, brokers) in replicas.iter().enumerate() {
        let body = json!({
            "ReplicaId": -1,
            "Topics": [{ "Name": name, "Partitions": [{ "PartitionIndex": index, "Timestamp": -1 }] }],
        });
        run.until("a new partition to be served", |run| {
            let answer = run.step(brokers[0], ApiKey::LIST_OFFSETS, 7, body.clone())?;
            Ok((error_codes(ApiKey::LIST_OFFSETS, &answer) == [0]).then_some(()))
        })?;
    }
    for node in 1..=3 {
        run.until("all brokers to know a new topic", |run| {
            let answer = run.step(node, ApiKey::METADATA, 12, named(name))?;
            let ready = answer["Topics"][0]["Partitions"]
                .as_array()
                .is_some_and(|partitions| {
                    partitions.len() == replicas.len()
                        && partitions.iter().all(|partition| {
                            let count = |list: &str| partition[list].as_array().map(Vec::len);
                            count("ReplicaNodes") == count("IsrNodes")
                        })
                });
            Ok(ready.then_some(()))
        })?;
    }
    topic_id(run, name)
}

/// The id of a topic; in the transcript it reads as that.
pub(crate) fn topic_id(run: &mut Run<'_>, name: &str) -> Result<String> {
    let answer = run.must(1, ApiKey::METADATA, 12, named(name))?;
    let id = text(&answer["Topics"][0]["TopicId"]);
    let letters = name.trim_start_matches("diff-").get(2..).unwrap_or(name);
    run.alias(&id, &format!("id of {letters}"));
    Ok(id)
}

/// A Metadata request for one topic.
fn named(name: &str) -> Value {
    json!({ "Topics": [{ "Name": name }], "AllowAutoTopicCreation": false })
}

/// Appends one batch with `acks=all`.
pub(crate) fn produce(
    run: &mut Run<'_>,
    node: i32,
    topic: &str,
    partition: i32,
    batch: &[u8],
) -> Result<()> {
    let body = json!({
        "Acks": -1,
        "TimeoutMs": 30_000,
        "TopicData": [{
            "Name": topic,
            "PartitionData": [{ "Index": partition, "Records": hex(batch) }],
        }],
    });
    run.must(node, ApiKey::PRODUCE, 9, body).map(drop)
}

/// What a coordinator is for.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Group = 0,
    Transaction = 1,
}

/// The coordinator of a group or transactional id; waits until it serves.
pub(crate) fn coordinator(run: &mut Run<'_>, kind: Kind, key: &str) -> Result<i32> {
    let find = json!({ "KeyType": kind as i8, "CoordinatorKeys": [key] });
    let (api, version, probe) = match kind {
        Kind::Group => {
            let body = json!({ "GroupId": key, "Topics": [] });
            (ApiKey::OFFSET_FETCH, 7, body)
        }
        Kind::Transaction => {
            let body = json!({ "TransactionalIds": [key] });
            (ApiKey::DESCRIBE_TRANSACTIONS, 0, body)
        }
    };
    run.until("a coordinator", |run| {
        let answer = run.step(1, ApiKey::FIND_COORDINATOR, 4, find.clone())?;
        let found = &answer["Coordinators"][0];
        let node = found["NodeId"]
            .as_i64()
            .and_then(|id| i32::try_from(id).ok());
        let Some(node) = node.filter(|_| found["ErrorCode"] == 0) else {
            return Ok(None);
        };
        let answer = run.step(node, api, version, probe.clone())?;
        let serves = error_codes(api, &answer)
            .into_iter()
            .all(|code| !NOT_SERVING.contains(&code));
        Ok(serves.then_some(node))
    })
}

/// Coordinator not available, not coordinator.
const NOT_SERVING: [i64; 2] = [15, 16];

/// A broker that is not this one.
pub(crate) fn other(node: i32) -> i32 {
    node % 3 + 1
}

/// Commits an offset of partition 0 for a group without members.
pub(crate) fn commit(
    run: &mut Run<'_>,
    node: i32,
    group: &str,
    topic: &str,
    offset: i64,
) -> Result<()> {
    let body = json!({
        "GroupId": group,
        "Topics": [{
            "Name": topic,
            "Partitions": [{
                "PartitionIndex": 0,
                "CommittedOffset": offset,
                "CommittedMetadata": "a note",
            }],
        }],
    });
    run.must(node, ApiKey::OFFSET_COMMIT, 8, body).map(drop)
}

/// The only member of a classic group.
pub(crate) struct Member {
    pub(crate) coordinator: i32,
    pub(crate) group: String,
    pub(crate) id: String,
    pub(crate) generation: i64,
}

/// A JoinGroup request of a consumer of `topic`.
pub(crate) fn join_request(group: &str, member: &str, topic: &str) -> Value {
    json!({
        "GroupId": group,
        "SessionTimeoutMs": 30_000,
        "RebalanceTimeoutMs": 30_000,
        "MemberId": member,
        "ProtocolType": "consumer",
        "Protocols": [{ "Name": "range", "Metadata": hex(&subscription(topic)) }],
        "Reason": "a test",
    })
}

/// Joins a new classic group of the run's own without giving an assignment yet.
pub(crate) fn join(run: &mut Run<'_>, label: &str, topic: &str) -> Result<Member> {
    let group = &run.name(label);
    let node = coordinator(run, Kind::Group, group)?;
    let body = join_request(group, "", topic);
    let first = run.step(node, ApiKey::JOIN_GROUP, 4, body)?;
    let id = text(&first["MemberId"]);
    run.alias(&id, "member");
    let body = join_request(group, &id, topic);
    let answer = run.must(node, ApiKey::JOIN_GROUP, 4, body)?;
    Ok(Member {
        coordinator: node,
        group: group.to_owned(),
        id,
        generation: answer["GenerationId"].as_i64().unwrap_or(-1),
    })
}

/// Joins a new classic group of the run's own and takes partition 0 of `topic`.
pub(crate) fn join_and_sync(run: &mut Run<'_>, label: &str, topic: &str) -> Result<Member> {
    let member = join(run, label, topic)?;
    let body = json!({
        "GroupId": member.group,
        "GenerationId": member.generation,
        "MemberId": member.id,
        "Assignments": [{ "MemberId": member.id, "Assignment": hex(&assignment(topic)) }],
    });
    run.must(member.coordinator, ApiKey::SYNC_GROUP, 3, body)?;
    Ok(member)
}

/// Leaves a classic group.
pub(crate) fn leave(run: &mut Run<'_>, member: &Member) -> Result<()> {
    let body = json!({ "GroupId": member.group, "MemberId": member.id });
    run.must(member.coordinator, ApiKey::LEAVE_GROUP, 2, body)
        .map(drop)
}

/// Begins or fences the use of a transactional id.
pub(crate) fn init_producer(run: &mut Run<'_>, node: i32, id: &str) -> Result<Producer> {
    let body = json!({ "TransactionalId": id, "TransactionTimeoutMs": 60_000 });
    let answer = run.must(node, ApiKey::INIT_PRODUCER_ID, 4, body)?;
    Ok(Producer {
        id: answer["ProducerId"].as_i64().unwrap_or(-1),
        epoch: answer["ProducerEpoch"].as_i64().unwrap_or(-1),
    })
}

/// Subscription of the consumer protocol, version 0.
pub(crate) fn subscription(topic: &str) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 1];
    bytes.extend((topic.len() as u16).to_be_bytes());
    bytes.extend(topic.bytes());
    bytes.extend((-1_i32).to_be_bytes());
    bytes
}

/// Assignment of partition 0, version 0 of the consumer protocol.
pub(crate) fn assignment(topic: &str) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 1];
    bytes.extend((topic.len() as u16).to_be_bytes());
    bytes.extend(topic.bytes());
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 0]);
    bytes.extend((-1_i32).to_be_bytes());
    bytes
}

/// Text of an answer; empty for null.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// For cases: an error if a condition of the preparation does not hold.
pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Error::Violated(what()))
}
