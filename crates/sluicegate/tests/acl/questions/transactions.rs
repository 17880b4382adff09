//! Producers and transactions.

use serde_json::{Value, json};

use super::{Asking, Question, all_names, question};
use crate::principals::{BUSY, HIDDEN, LITERAL, PREFIXED, PUBLIC};

/// A producer that nobody is.
const PRODUCER: i64 = 4711;

/// The same request for each transactional id.
fn each(asking: &Asking<'_>, field: &str, what: &str, body: &Value) -> Vec<Question> {
    let ask = |id: &str| {
        let mut body = body.clone();
        body[field] = id.into();
        question(asking.state.transactions, format!("id {id}{what}"), body)
    };
    all_names().into_iter().map(ask).collect()
}

pub(crate) fn init_producer_id(asking: &Asking<'_>) -> Vec<Question> {
    let body = json!({ "TransactionTimeoutMs": 60_000 });
    let mut questions = each(asking, "TransactionalId", "", &body);
    let mut none = body.clone();
    none["TransactionalId"] = Value::Null;
    questions.push(question(1, "no transaction", none));
    if asking.version >= 6 {
        let mut two_phase = body;
        two_phase["Enable2Pc"] = true.into();
        questions.extend(each(asking, "TransactionalId", ", two phases", &two_phase));
    }
    questions
}

pub(crate) fn add_partitions(asking: &Asking<'_>) -> Vec<Question> {
    let mut questions = Vec::new();
    let all = all_names();
    for (what, names) in [(", all", all.as_slice()), (", allowed", &[PREFIXED])] {
        let body = json!({
            "V3AndBelowProducerId": PRODUCER,
            "V3AndBelowProducerEpoch": 0,
            "V3AndBelowTopics": asking.topics("Name", names, json!({ "Partitions": [0] })),
        });
        questions.extend(each(asking, "V3AndBelowTransactionalId", what, &body));
    }
    questions
}

pub(crate) fn add_offsets(asking: &Asking<'_>) -> Vec<Question> {
    let group = |group: &str| {
        let body = json!({ "ProducerId": PRODUCER, "ProducerEpoch": 0, "GroupId": group });
        each(
            asking,
            "TransactionalId",
            &format!(", group {group}"),
            &body,
        )
    };
    [LITERAL, PUBLIC, HIDDEN]
        .into_iter()
        .flat_map(group)
        .collect()
}

pub(crate) fn end(asking: &Asking<'_>) -> Vec<Question> {
    let body = json!({ "ProducerId": PRODUCER, "ProducerEpoch": 0, "Committed": false });
    each(asking, "TransactionalId", "", &body)
}

pub(crate) fn offset_commit(asking: &Asking<'_>) -> Vec<Question> {
    let fields = json!({ "Partitions": [
        { "PartitionIndex": 0, "CommittedOffset": 1, "CommittedMetadata": "" },
    ] });
    let group = |group: &str| {
        let body = json!({
            "GroupId": group,
            "ProducerId": PRODUCER,
            "ProducerEpoch": 0,
            "GenerationId": 3,
            "MemberId": "nobody",
            "Topics": asking.topics("Name", &all_names(), fields.clone()),
        });
        let mut questions = each(
            asking,
            "TransactionalId",
            &format!(", group {group}"),
            &body,
        );
        for question in &mut questions {
            question.node = asking.state.groups;
        }
        questions
    };
    [LITERAL, PUBLIC, HIDDEN]
        .into_iter()
        .flat_map(group)
        .collect()
}

pub(crate) fn describe(asking: &Asking<'_>) -> Vec<Question> {
    let mut ids = all_names();
    ids.push(BUSY);
    let node = asking.state.transactions;
    vec![question(node, "all", json!({ "TransactionalIds": ids }))]
}

pub(crate) fn list(asking: &Asking<'_>) -> Vec<Question> {
    let body = json!({ "StateFilters": [], "ProducerIdFilters": [] });
    vec![question(asking.state.transactions, "all", body)]
}
