//! Requests that many tests send.

use serde_json::{Value, json};
use testkit::{Error, Result, wait};
use wire::api::ApiKey;

use crate::caller::Caller;
use crate::message::hex;
use crate::records::batch;
use crate::way::error_codes;
use crate::world::LIMIT;

/// Kafka's error codes.
pub(crate) mod code {
    pub(crate) const UNKNOWN_TOPIC_OR_PARTITION: i64 = 3;
    pub(crate) const INVALID_TOPIC: i64 = 17;
    pub(crate) const INVALID_GROUP_ID: i64 = 24;
    pub(crate) const TOPIC_AUTHORIZATION_FAILED: i64 = 29;
    pub(crate) const GROUP_AUTHORIZATION_FAILED: i64 = 30;
    pub(crate) const CLUSTER_AUTHORIZATION_FAILED: i64 = 31;
    pub(crate) const TOPIC_ALREADY_EXISTS: i64 = 36;
    pub(crate) const POLICY_VIOLATION: i64 = 44;
    pub(crate) const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i64 = 53;
    pub(crate) const GROUP_ID_NOT_FOUND: i64 = 69;
    pub(crate) const FETCH_SESSION_ID_NOT_FOUND: i64 = 70;
    pub(crate) const TOPIC_DELETION_DISABLED: i64 = 73;
    pub(crate) const GROUP_SUBSCRIBED_TO_TOPIC: i64 = 86;
    pub(crate) const UNKNOWN_TOPIC_ID: i64 = 100;
    pub(crate) const TRANSACTIONAL_ID_NOT_FOUND: i64 = 105;
    pub(crate) const INVALID_REGULAR_EXPRESSION: i64 = 128;
}

/// Asks for a topic on one replica per partition, partition `n` on broker `n % 3 + 1`; gives the error code.
pub(crate) fn create(caller: &mut Caller, name: &str, partitions: i32) -> Result<i64> {
    let answer = caller.ask(1, ApiKey::CREATE_TOPICS, 7, &creation(name, partitions))?;
    Ok(answer["Topics"][0]["ErrorCode"].as_i64().unwrap_or(-1))
}

/// A CreateTopics request as [`create`] sends it.
pub(crate) fn creation(name: &str, partitions: i32) -> Value {
    let assignments: Vec<Value> = (0..partitions)
        .map(|index| json!({ "PartitionIndex": index, "BrokerIds": [index % 3 + 1] }))
        .collect();
    json!({
        "Topics": [{
            "Name": name,
            "NumPartitions": -1,
            "ReplicationFactor": -1,
            "Assignments": assignments,
            // Records of the tests are of a time that brokers would soon delete.
            "Configs": [{ "Name": "retention.ms", "Value": "-1" }],
        }],
        "timeoutMs": 30_000,
    })
}

/// Makes a topic that all brokers serve; gives its id.
pub(crate) fn topic(caller: &mut Caller, name: &str, partitions: i32) -> Result<String> {
    match create(caller, name, partitions)? {
        0 => {}
        code => return Err(Error::Violated(format!("creating {name} gave {code}"))),
    }
    for partition in 0..partitions {
        let node = partition % 3 + 1;
        wait::until("a new partition to be served", LIMIT, || {
            Ok(end(caller, node, name, partition)?.map(drop))
        })?;
    }
    let mut id = String::new();
    for node in caller.nodes() {
        id = wait::until("all brokers to know a new topic", LIMIT, || {
            let answer = caller.ask(node, ApiKey::METADATA, 12, &named(&[name]))?;
            let known = error_codes(ApiKey::METADATA, &answer)
                .iter()
                .all(|code| *code == 0);
            let id = answer["Topics"][0]["TopicId"].as_str().map(str::to_owned);
            Ok(id.filter(|_| known))
        })?;
    }
    Ok(id)
}

/// Offset after the last record; `None` if the broker answers with an error.
pub(crate) fn end(
    caller: &mut Caller,
    node: i32,
    topic: &str,
    partition: i32,
) -> Result<Option<i64>> {
    let body = json!({
        "ReplicaId": -1,
        "Topics": [{
            "Name": topic,
            "Partitions": [{ "PartitionIndex": partition, "Timestamp": -1 }],
        }],
    });
    let answer = caller.ask(node, ApiKey::LIST_OFFSETS, 7, &body)?;
    let found = &answer["Topics"][0]["Partitions"][0];
    Ok(found["Offset"].as_i64().filter(|_| found["ErrorCode"] == 0))
}

/// A Metadata request for these topics.
pub(crate) fn named(names: &[&str]) -> Value {
    let topics: Vec<Value> = names.iter().map(|name| json!({ "Name": name })).collect();
    json!({ "Topics": topics, "AllowAutoTopicCreation": false })
}

/// Names of all topics, sorted.
pub(crate) fn topics(caller: &mut Caller) -> Result<Vec<String>> {
    let body = json!({ "Topics": null, "AllowAutoTopicCreation": false });
    let answer = caller.must(1, ApiKey::METADATA, 12, &body)?;
    Ok(sorted(texts(&answer["Topics"], "Name")))
}

/// Error codes that Metadata gives for names.
pub(crate) fn lookup(caller: &mut Caller, names: &[&str]) -> Result<Vec<i64>> {
    let answer = caller.ask(1, ApiKey::METADATA, 12, &named(names))?;
    Ok(ints(&answer["Topics"], "ErrorCode"))
}

/// All groups, sorted.
pub(crate) fn groups(caller: &mut Caller) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for node in 1..=3 {
        let answer = caller.must(node, ApiKey::LIST_GROUPS, 5, &json!({}))?;
        all.extend(texts(&answer["Groups"], "GroupId"));
    }
    Ok(sorted(all))
}

/// All transactional ids that match, sorted.
pub(crate) fn transactional_ids(caller: &mut Caller, pattern: Value) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for node in 1..=3 {
        all.extend(transactional_ids_of(caller, node, pattern.clone())?);
    }
    Ok(sorted(all))
}

/// Those of one broker.
pub(crate) fn transactional_ids_of(
    caller: &mut Caller,
    node: i32,
    pattern: Value,
) -> Result<Vec<String>> {
    let body = json!({ "TransactionalIdPattern": pattern });
    let answer = caller.must(node, ApiKey::LIST_TRANSACTIONS, 2, &body)?;
    Ok(texts(&answer["TransactionStates"], "TransactionalId"))
}

/// A Produce request of version 3 to 12 for one batch.
pub(crate) fn production(topic: &str, partition: i32, batch: &[u8]) -> Value {
    json!({
        "Acks": -1,
        "TimeoutMs": 30_000,
        "TopicData": [{
            "Name": topic,
            "PartitionData": [{ "Index": partition, "Records": hex(batch) }],
        }],
    })
}

/// Appends records to partition 0.
pub(crate) fn produce(caller: &mut Caller, topic: &str, count: u8, value: &str) -> Result<()> {
    let body = production(topic, 0, &batch(count, value));
    caller.must(1, ApiKey::PRODUCE, 9, &body).map(drop)
}

/// What a coordinator is for.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Group = 0,
    Transaction = 1,
}

/// The coordinator of a group or transactional id, once it serves.
pub(crate) fn coordinator(caller: &mut Caller, kind: Kind, key: &str) -> Result<i32> {
    /// Coordinator not available, not coordinator.
    const NOT_SERVING: [i64; 2] = [15, 16];
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
    wait::until("a coordinator", LIMIT, || {
        let answer = caller.ask(1, ApiKey::FIND_COORDINATOR, 4, &find)?;
        let found = &answer["Coordinators"][0];
        let node = found["NodeId"]
            .as_i64()
            .and_then(|id| i32::try_from(id).ok());
        let Some(node) = node.filter(|_| found["ErrorCode"] == 0) else {
            return Err(Error::Answer(answer.to_string()));
        };
        let answer = caller.ask(node, api, version, &probe)?;
        let codes = error_codes(api, &answer);
        let serves = codes.iter().all(|code| !NOT_SERVING.contains(code));
        Ok(serves.then_some(node))
    })
}

/// Commits an offset of partition 0 for a group without members; gives the coordinator.
pub(crate) fn commit(caller: &mut Caller, group: &str, topic: &str, offset: i64) -> Result<i32> {
    let node = coordinator(caller, Kind::Group, group)?;
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
    caller.must(node, ApiKey::OFFSET_COMMIT, 8, &body)?;
    Ok(node)
}

/// The committed offset of partition 0; -1 if there is none.
pub(crate) fn committed(caller: &mut Caller, group: &str, topic: &str) -> Result<i64> {
    let node = coordinator(caller, Kind::Group, group)?;
    let body = json!({
        "GroupId": group,
        "Topics": [{ "Name": topic, "PartitionIndexes": [0] }],
    });
    let answer = caller.must(node, ApiKey::OFFSET_FETCH, 7, &body)?;
    let partition = &answer["Topics"][0]["Partitions"][0];
    Ok(partition["CommittedOffset"].as_i64().unwrap_or(-1))
}

/// Begins or fences the use of a transactional id; gives coordinator, producer id and epoch.
pub(crate) fn init_producer(caller: &mut Caller, id: &str) -> Result<(i32, i64, i64)> {
    let node = coordinator(caller, Kind::Transaction, id)?;
    let body = json!({ "TransactionalId": id, "TransactionTimeoutMs": 60_000 });
    let answer = caller.must(node, ApiKey::INIT_PRODUCER_ID, 4, &body)?;
    let number = |field: &str| answer[field].as_i64().unwrap_or(-1);
    Ok((node, number("ProducerId"), number("ProducerEpoch")))
}

/// Texts of a field of all elements.
pub(crate) fn texts(list: &Value, field: &str) -> Vec<String> {
    let elements = list.as_array().into_iter().flatten();
    elements
        .map(|element| element[field].as_str().unwrap_or("<null>").to_owned())
        .collect()
}

/// Numbers of a field of all elements.
pub(crate) fn ints(list: &Value, field: &str) -> Vec<i64> {
    let elements = list.as_array().into_iter().flatten();
    elements
        .map(|element| element[field].as_i64().unwrap_or(-1))
        .collect()
}

pub(crate) fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}
