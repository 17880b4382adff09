//! Topics and what is in them.

use serde_json::{Value, json};

use super::{Asking, Question, all_names, question};
use crate::fixtures::LEADER;
use crate::message::hex;
use crate::principals::{
    GONE, HIDDEN, KEPT, LITERAL, NAMES, PREFIXED, PREFIXED_GONE, PUBLIC, SEEN, may_delete_all,
};
use crate::records::{Producer, batch_of};

pub(crate) fn produce(asking: &Asking<'_>) -> Vec<Question> {
    let body = |names: &[&str], id: Value, acks: i16| {
        let producer = Producer { id: 4711, epoch: 0 };
        let mut batch = batch_of(producer, 0, !id.is_null(), 1, "a");
        // Allowed is not accepted: the checksum is wrong.
        *batch.last_mut().expect("a batch has bytes") ^= 1;
        let data = json!({ "PartitionData": [{ "Index": 0, "Records": hex(&batch) }] });
        json!({
            "TransactionalId": id,
            "Acks": acks,
            "TimeoutMs": 10_000,
            "TopicData": asking.topics_with_ids("Name", names, data),
        })
    };
    let mut questions = vec![
        question(LEADER, "all", body(&all_names(), Value::Null, -1)),
        question(LEADER, "allowed", body(&[PREFIXED], Value::Null, 1)),
        question(LEADER, "denied", body(&[HIDDEN], Value::Null, 1)),
    ];
    for id in all_names() {
        questions.push(question(
            LEADER,
            format!("in transaction {id}"),
            body(&[PREFIXED, HIDDEN], id.into(), -1),
        ));
    }
    questions
}

pub(crate) fn fetch(asking: &Asking<'_>) -> Vec<Question> {
    let body = |names: &[&str], epoch: i32| {
        let partitions = json!({ "Partitions": [{
            "Partition": 0,
            "CurrentLeaderEpoch": -1,
            "FetchOffset": 0,
            "LastFetchedEpoch": -1,
            "LogStartOffset": -1,
            "PartitionMaxBytes": 1 << 20,
        }] });
        json!({
            "ReplicaId": -1,
            "MaxWaitMs": 0,
            "MinBytes": 0,
            "MaxBytes": 1 << 20,
            "SessionId": 0,
            "SessionEpoch": epoch,
            "Topics": asking.topics_with_ids("Topic", names, partitions),
        })
    };
    vec![
        question(LEADER, "all", body(&all_names(), -1)),
        question(LEADER, "a session", body(&all_names(), 0)),
        question(LEADER, "allowed", body(&[PREFIXED], -1)),
        question(LEADER, "denied", body(&[HIDDEN], -1)),
    ]
}

pub(crate) fn list_offsets(asking: &Asking<'_>) -> Vec<Question> {
    let fields = json!({ "Partitions": [
        { "PartitionIndex": 0, "CurrentLeaderEpoch": -1, "Timestamp": -2 },
        { "PartitionIndex": 3, "CurrentLeaderEpoch": -1, "Timestamp": -2 },
    ] });
    let topics = asking.topics("Name", &all_names(), fields);
    vec![question(
        LEADER,
        "all",
        json!({ "ReplicaId": -1, "Topics": topics, "TimeoutMs": 5_000 }),
    )]
}

/// Names that cannot come into being, so that who may create them learns that.
const UNNAMEABLE: &str = "diff-s-no/name";
const PREFIXED_UNNAMEABLE: &str = "diff-s-pre/name";

pub(crate) fn metadata(asking: &Asking<'_>) -> Vec<Question> {
    let body = |topics: Value, creating: bool, operations: bool| {
        json!({
            "Topics": topics,
            "AllowAutoTopicCreation": creating,
            "IncludeClusterAuthorizedOperations": operations,
            "IncludeTopicAuthorizedOperations": operations,
        })
    };
    let named = |names: &[&str]| {
        let names: Vec<Value> = names.iter().map(|name| json!({ "Name": name })).collect();
        json!(names)
    };
    let mut all = NAMES.to_vec();
    all.extend([UNNAMEABLE, PREFIXED_UNNAMEABLE]);
    let mut questions = vec![
        question(1, "all", body(Value::Null, false, true)),
        question(2, "all, no operations", body(Value::Null, true, false)),
        question(1, "named", body(named(&all), false, true)),
        question(3, "creating", body(named(&all), true, true)),
        question(1, "allowed", body(named(&[PREFIXED]), false, false)),
        question(1, "denied", body(named(&[HIDDEN]), false, true)),
        question(2, "creating one", body(named(&[UNNAMEABLE]), true, false)),
    ];
    if asking.version >= 4 {
        let gone = body(named(&[GONE, PREFIXED_GONE, SEEN]), false, true);
        questions.push(question(1, "gone", gone));
    }
    if asking.version >= 1 {
        questions.push(question(1, "nothing", body(json!([]), false, true)));
    }
    if asking.version >= 12 {
        let by_id = |name: &&str| json!({ "TopicId": asking.id(name), "Name": null });
        let ids: Vec<Value> = all_names().iter().map(by_id).collect();
        questions.push(question(1, "by id", body(json!(ids), false, true)));
        let hidden = json!([by_id(&HIDDEN)]);
        questions.push(question(1, "denied by id", body(hidden, false, true)));
    }
    questions
}

pub(crate) fn leader_epoch(asking: &Asking<'_>) -> Vec<Question> {
    let fields = json!({ "Partitions": [
        { "Partition": 0, "CurrentLeaderEpoch": -1, "LeaderEpoch": 0 },
    ] });
    let topics = asking.topics("Topic", &all_names(), fields);
    let body = json!({ "ReplicaId": -1, "Topics": topics });
    vec![question(LEADER, "all", body)]
}

pub(crate) fn delete_records(asking: &Asking<'_>) -> Vec<Question> {
    let fields = json!({ "Partitions": [{ "PartitionIndex": 0, "Offset": 0 }] });
    let topics = asking.topics("Name", &all_names(), fields);
    let body = json!({ "Topics": topics, "TimeoutMs": 10_000 });
    vec![question(LEADER, "all", body)]
}

pub(crate) fn describe_producers(asking: &Asking<'_>) -> Vec<Question> {
    let fields = json!({ "PartitionIndexes": [0, 5] });
    let topics = asking.topics("Name", &all_names(), fields);
    vec![question(LEADER, "all", json!({ "Topics": topics }))]
}

pub(crate) fn describe_partitions(asking: &Asking<'_>) -> Vec<Question> {
    let body = |names: &[&str], limit: i32, cursor: Value| {
        json!({
            "Topics": asking.topics("Name", names, json!({})),
            "ResponsePartitionLimit": limit,
            "Cursor": cursor,
        })
    };
    let at = |name: &str| json!({ "TopicName": name, "PartitionIndex": 0 });
    vec![
        question(1, "named", body(&all_names(), 2000, Value::Null)),
        question(1, "all", body(&[], 2000, Value::Null)),
        question(1, "from", body(&[], 2000, at(LITERAL))),
        question(1, "denied", body(&[HIDDEN], 2000, Value::Null)),
    ]
}

pub(crate) fn create(asking: &Asking<'_>) -> Vec<Question> {
    let fields = json!({ "NumPartitions": 2, "ReplicationFactor": 1 });
    let body = |names: &[&str]| {
        json!({
            "Topics": asking.topics("Name", names, fields.clone()),
            "timeoutMs": 10_000,
            "validateOnly": true,
        })
    };
    vec![
        question(1, "all", body(&all_names())),
        question(2, "allowed", body(&[PREFIXED_GONE])),
        question(2, "denied", body(&[GONE])),
        question(1, "twice", body(&[GONE, GONE, PREFIXED_GONE])),
    ]
}

pub(crate) fn delete(asking: &Asking<'_>) -> Vec<Question> {
    let body = |names: &[&str]| {
        json!({
            "TopicNames": names,
            "Topics": asking.topics("Name", names, json!({})),
            "TimeoutMs": 10_000,
        })
    };
    let mut questions = vec![
        question(1, "gone", body(&[GONE, PREFIXED_GONE])),
        question(1, "twice", body(&[GONE, GONE, PREFIXED_GONE])),
    ];
    if !may_delete_all(asking.principal) {
        questions.push(question(2, "kept", body(&[KEPT, GONE])));
    }
    if asking.version >= 6 {
        let mut ids = vec![json!({ "Name": null, "TopicId": asking.id(GONE) })];
        if !may_delete_all(asking.principal) {
            ids.push(json!({ "Name": null, "TopicId": asking.id(KEPT) }));
        }
        let body = json!({ "Topics": ids, "TimeoutMs": 10_000 });
        questions.push(question(1, "by id", body));
    }
    questions
}

pub(crate) fn create_partitions(asking: &Asking<'_>) -> Vec<Question> {
    let body = |names: &[&str]| {
        json!({
            "Topics": asking.topics("Name", names, json!({ "Count": 2 })),
            "TimeoutMs": 10_000,
            "ValidateOnly": true,
        })
    };
    vec![
        question(1, "all", body(&all_names())),
        question(2, "twice", body(&[HIDDEN, HIDDEN, PREFIXED])),
    ]
}

pub(crate) fn elect_leaders(asking: &Asking<'_>) -> Vec<Question> {
    let topics = asking.topics("Topic", &all_names(), json!({ "Partitions": [0] }));
    let body = json!({ "ElectionType": 0, "TopicPartitions": topics, "TimeoutMs": 10_000 });
    vec![question(1, "all", body)]
}

pub(crate) fn reassign(asking: &Asking<'_>) -> Vec<Question> {
    let fields = json!({ "Partitions": [{ "PartitionIndex": 0, "Replicas": null }] });
    let topics = asking.topics("Name", &all_names(), fields);
    let body = json!({ "TimeoutMs": 10_000, "Topics": topics });
    vec![question(1, "cancel", body)]
}

pub(crate) fn list_reassignments(asking: &Asking<'_>) -> Vec<Question> {
    let some = asking.topics(
        "Name",
        &[LITERAL, HIDDEN],
        json!({ "PartitionIndexes": [0] }),
    );
    vec![
        question(1, "all", json!({ "TimeoutMs": 10_000, "Topics": null })),
        question(2, "some", json!({ "TimeoutMs": 10_000, "Topics": some })),
    ]
}

pub(crate) fn describe_log_dirs(asking: &Asking<'_>) -> Vec<Question> {
    let names = [LITERAL, PUBLIC, HIDDEN, GONE];
    let topics = asking.topics("Topic", &names, json!({ "Partitions": [0] }));
    vec![question(1, "some", json!({ "Topics": topics }))]
}

pub(crate) fn alter_log_dirs(asking: &Asking<'_>) -> Vec<Question> {
    let topics = asking.topics("Name", &all_names(), json!({ "Partitions": [0] }));
    let body = json!({ "Dirs": [{ "Path": "/no/such/path", "Topics": topics }] });
    vec![question(1, "all", body)]
}
