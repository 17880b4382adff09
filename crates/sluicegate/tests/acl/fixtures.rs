//! What the brokers hold before anybody is asked.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::{Error, Result, wait};
use wire::api::ApiKey;

use crate::message::hex;
use crate::principals::{BUSY, HIDDEN, KEPT, LITERAL, NAMES, SEEN};
use crate::records::batch;
use crate::way::error_codes;
use crate::world::{Clients, LIMIT};

/// Leader of all topics.
pub(crate) const LEADER: i32 = 1;

/// A member id as clients draw it.
pub(crate) const MEMBER: &str = "QWxsIHlvdXIgbWVtYmVycw";

/// What questions need to know.
pub(crate) struct State {
    /// Topic ids by name.
    pub(crate) ids: BTreeMap<String, String>,
    /// Coordinator of all groups.
    pub(crate) groups: i32,
    /// Coordinator of all transactions.
    pub(crate) transactions: i32,
}

/// Names of busy groups.
pub(crate) fn busy(kind: &str) -> String {
    format!("{BUSY}-{kind}")
}

/// Makes topics, groups and a transaction. `root` asks the brokers.
pub(crate) fn make(root: &mut Clients<'_>) -> Result<State> {
    let mut ids = BTreeMap::new();
    for name in NAMES.into_iter().chain([KEPT]) {
        ids.insert(name.to_owned(), topic(root, name)?);
        let produced = json!({
            "Acks": 1,
            "TimeoutMs": 30_000,
            "TopicData": [{
                "Name": name,
                "PartitionData": [{ "Index": 0, "Records": hex(&batch(2, "some")) }],
            }],
        });
        root.must(LEADER, ApiKey::PRODUCE, 9, &produced)?;
    }
    let state = State {
        ids,
        groups: coordinator(root, 0)?,
        transactions: coordinator(root, 1)?,
    };
    for group in [LITERAL, SEEN, HIDDEN] {
        commit(root, &state, group)?;
    }
    members(root, &state)?;
    transaction(root, &state)?;
    Ok(state)
}

/// Makes a topic of one partition that all brokers know, gives its id.
pub(crate) fn topic(root: &mut Clients<'_>, name: &str) -> Result<String> {
    let body = json!({
        "Topics": [{
            "Name": name,
            "NumPartitions": -1,
            "ReplicationFactor": -1,
            "Assignments": [{ "PartitionIndex": 0, "BrokerIds": [LEADER] }],
            "Configs": [{ "Name": "min.insync.replicas", "Value": "1" }],
        }],
        "timeoutMs": 30_000,
    });
    root.must(LEADER, ApiKey::CREATE_TOPICS, 7, &body)?;
    let named = json!({ "Topics": [{ "Name": name }], "AllowAutoTopicCreation": false });
    let mut id = String::new();
    for node in 1..=3 {
        id = wait::until("all brokers to know a new topic", LIMIT, || {
            let answer = root.ask(node, ApiKey::METADATA, 12, &named)?;
            let known = error_codes(ApiKey::METADATA, &answer)
                .into_iter()
                .all(|code| code == 0);
            let id = answer["Topics"][0]["TopicId"].as_str().map(str::to_owned);
            Ok(id.filter(|_| known))
        })?;
    }
    let offsets = json!({
        "ReplicaId": -1,
        "Topics": [{ "Name": name, "Partitions": [{ "PartitionIndex": 0, "Timestamp": -1 }] }],
    });
    wait::until("a new partition to be served", LIMIT, || {
        let answer = root.ask(LEADER, ApiKey::LIST_OFFSETS, 7, &offsets)?;
        Ok((error_codes(ApiKey::LIST_OFFSETS, &answer) == [0]).then_some(()))
    })?;
    Ok(id)
}

/// The one coordinator of all groups (kind 0) or transactions (kind 1), once it serves.
fn coordinator(root: &mut Clients<'_>, kind: i8) -> Result<i32> {
    /// Coordinator not available, not coordinator.
    const NOT_SERVING: [i64; 2] = [15, 16];
    let find = json!({ "KeyType": kind, "CoordinatorKeys": [LITERAL] });
    let (api, version, probe) = match kind {
        0 => (
            ApiKey::OFFSET_FETCH,
            7,
            json!({ "GroupId": LITERAL, "Topics": [] }),
        ),
        _ => (
            ApiKey::DESCRIBE_TRANSACTIONS,
            0,
            json!({ "TransactionalIds": [LITERAL] }),
        ),
    };
    wait::until("a coordinator", LIMIT, || {
        let answer = root.ask(LEADER, ApiKey::FIND_COORDINATOR, 4, &find)?;
        let found = &answer["Coordinators"][0];
        let node = found["NodeId"].as_i64().map(|id| id as i32);
        let Some(node) = node.filter(|_| found["ErrorCode"] == 0) else {
            return Ok(None);
        };
        let answer = root.ask(node, api, version, &probe)?;
        let serves = error_codes(api, &answer)
            .into_iter()
            .all(|code| !NOT_SERVING.contains(&code));
        Ok(serves.then_some(node))
    })
}

fn commit(root: &mut Clients<'_>, state: &State, group: &str) -> Result<()> {
    let topics: Vec<Value> = NAMES
        .iter()
        .map(|name| {
            json!({
                "Name": name,
                "Partitions": [{ "PartitionIndex": 0, "CommittedOffset": 1, "CommittedMetadata": "" }],
            })
        })
        .collect();
    let body = json!({ "GroupId": group, "Topics": topics });
    root.must(state.groups, ApiKey::OFFSET_COMMIT, 8, &body)
        .map(drop)
}

/// One group of each newer kind with a member.
fn members(root: &mut Clients<'_>, state: &State) -> Result<()> {
    let topics = json!([LITERAL, HIDDEN]);
    let consumer = json!({
        "RebalanceTimeoutMs": 30_000,
        "SubscribedTopicNames": topics,
        "TopicPartitions": [],
    });
    let share = json!({ "SubscribedTopicNames": topics });
    let streams = json!({
        "RebalanceTimeoutMs": 30_000,
        "Topology": {
            "Epoch": 0,
            "Subtopologies": [{ "SubtopologyId": "0", "SourceTopics": topics }],
        },
        "ActiveTasks": [],
        "StandbyTasks": [],
        "WarmupTasks": [],
        "ProcessId": "process",
    });
    for (kind, api, version, first) in [
        ("consumer", ApiKey::CONSUMER_GROUP_HEARTBEAT, 1, consumer),
        ("share", ApiKey::SHARE_GROUP_HEARTBEAT, 1, share),
        ("streams", ApiKey::STREAMS_GROUP_HEARTBEAT, 0, streams),
    ] {
        let beat = |epoch: i64, mut body: Value| {
            body["GroupId"] = busy(kind).into();
            body["MemberId"] = MEMBER.into();
            body["MemberEpoch"] = epoch.into();
            body
        };
        let mut body = beat(0, first);
        let assigned = wait::until("an assignment", LIMIT, || {
            let answer = root.must(state.groups, api, version, &body)?;
            body = beat(answer["MemberEpoch"].as_i64().unwrap_or(0), json!({}));
            let given = match kind {
                "streams" => &answer["ActiveTasks"],
                _ => &answer["Assignment"]["TopicPartitions"],
            };
            let is_given = given.as_array().is_some_and(|list| !list.is_empty());
            Ok(is_given.then_some(answer))
        })?;
        // Taken, so that it is no longer in flux.
        let owned = match kind {
            "streams" => json!({
                "ActiveTasks": assigned["ActiveTasks"], "StandbyTasks": [], "WarmupTasks": [],
            }),
            "consumer" => json!({ "TopicPartitions": assigned["Assignment"]["TopicPartitions"] }),
            _ => json!({}),
        };
        let epoch = assigned["MemberEpoch"].as_i64().unwrap_or(0);
        root.must(state.groups, api, version, &beat(epoch, owned))?;
    }
    Ok(())
}

/// Begins a transaction on two topics.
fn transaction(root: &mut Clients<'_>, state: &State) -> Result<()> {
    let body = json!({ "TransactionalId": BUSY, "TransactionTimeoutMs": 900_000 });
    let answer = root.must(state.transactions, ApiKey::INIT_PRODUCER_ID, 4, &body)?;
    let topics: Vec<Value> = [LITERAL, HIDDEN]
        .iter()
        .map(|name| json!({ "Name": name, "Partitions": [0] }))
        .collect();
    let body = json!({
        "V3AndBelowTransactionalId": BUSY,
        "V3AndBelowProducerId": answer["ProducerId"],
        "V3AndBelowProducerEpoch": answer["ProducerEpoch"],
        "V3AndBelowTopics": topics,
    });
    let answer = root.ask(state.transactions, ApiKey::ADD_PARTITIONS_TO_TXN, 3, &body)?;
    match error_codes(ApiKey::ADD_PARTITIONS_TO_TXN, &answer)
        .iter()
        .all(|code| *code == 0)
    {
        true => Ok(()),
        false => Err(Error::Violated(format!("no transaction: {answer}"))),
    }
}
