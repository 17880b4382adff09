//! What may differ between the brokers' answers and the gateway's besides [`crate::normal`], all of it in this file.
//!
//! The keys that are not compared at all have their reasons in [`crate::questions::coverage`].

use serde_json::Value;
use wire::api::ApiKey;

use crate::principals::{PART, SEER};

/// A difference that may be.
struct Allowed {
    /// Where; empty: everywhere.
    apis: &'static [ApiKey],
    /// Who asks; empty: anybody.
    principals: &'static [&'static str],
    #[expect(dead_code, reason = "for the reader")]
    reason: &'static str,
    /// Makes it vanish from an answer of either side.
    even_out: fn(&mut Value),
}

const ALLOWED: &[Allowed] = &[
    Allowed {
        apis: &[],
        principals: &[],
        reason: "Texts of errors are for people. Brokers print a whole request into some, with addresses between brokers; \
                 the gateway says what kind of thing is denied.",
        even_out: |answer| each_field(answer, "ErrorMessage", &|text| *text = Value::Null),
    },
    Allowed {
        apis: &[ApiKey::INIT_PRODUCER_ID],
        principals: &[],
        reason: "The epoch of a transactional id counts up with each answer.",
        even_out: |answer| {
            each_field(answer, "ProducerEpoch", &|epoch| {
                if epoch.as_i64() >= Some(0) {
                    *epoch = "counts up".into();
                }
            });
        },
    },
    Allowed {
        apis: &[ApiKey::FETCH],
        principals: &[],
        reason: "A fetch that names a denied topic opens no session: each of the next ones is judged as a whole.",
        even_out: |answer| each_field(answer, "SessionId", &|id| *id = Value::Null),
    },
    Allowed {
        apis: &[ApiKey::METADATA, ApiKey::DESCRIBE_TOPIC_PARTITIONS],
        principals: &[],
        reason: "Nobody but super users may change the topics that the gateway keeps its state in, whatever the lists say.",
        even_out: without_own_topics,
    },
    Allowed {
        apis: &[ApiKey::LIST_TRANSACTIONS],
        principals: &[],
        reason: "The gateway's own transaction goes on while the two answers are fetched one after the other.",
        even_out: without_own_transactions,
    },
    Allowed {
        apis: &[ApiKey::ADD_PARTITIONS_TO_TXN],
        principals: &[],
        reason: "Where a topic is denied nothing is attempted. Brokers tell then which of the others do not exist; the gateway \
                 does not ask for that, and says of all others that they were not attempted.",
        even_out: |answer| {
            const UNKNOWN_TOPIC_OR_PARTITION: i64 = 3;
            const OPERATION_NOT_ATTEMPTED: i64 = 55;
            each_field(answer, "PartitionErrorCode", &|code| {
                if code.as_i64() == Some(UNKNOWN_TOPIC_OR_PARTITION) {
                    *code = OPERATION_NOT_ATTEMPTED.into();
                }
            });
        },
    },
    Allowed {
        apis: &[ApiKey::DELETE_TOPICS],
        principals: &["only-2-3", "only-2-4", "only-2-7", "only-2-8", SEER],
        reason: "Who may describe topics and not delete them hears from brokers that one does not exist; the gateway does not \
                 ask for that, and says that deleting is denied.",
        even_out: |answer| {
            const UNKNOWN_TOPIC_OR_PARTITION: i64 = 3;
            const TOPIC_AUTHORIZATION_FAILED: i64 = 29;
            each_field(answer, "ErrorCode", &|code| {
                if code.as_i64() == Some(UNKNOWN_TOPIC_OR_PARTITION) {
                    *code = TOPIC_AUTHORIZATION_FAILED.into();
                }
            });
            sort(&mut answer["Responses"]);
        },
    },
    Allowed {
        apis: &[ApiKey::STREAMS_GROUP_HEARTBEAT],
        principals: &[PART],
        reason: "Brokers create the internal topics of a topology with the rights of who sends the heartbeat, which is the \
                 gateway. So it refuses a topology whose internal topics the client may not create, where a broker would leave \
                 them uncreated or find another fault with the topology.",
        even_out: |answer| {
            const TOPIC_AUTHORIZATION_FAILED: i64 = 29;
            const INVALID_REQUEST: i64 = 42;
            const STREAMS_INVALID_TOPOLOGY: i64 = 130;
            each_field(answer, "ErrorCode", &|code| {
                if [INVALID_REQUEST, STREAMS_INVALID_TOPOLOGY]
                    .map(Some)
                    .contains(&code.as_i64())
                {
                    *code = TOPIC_AUTHORIZATION_FAILED.into();
                }
            });
        },
    },
];

/// Makes what may differ equal.
pub(crate) fn even_out(api: ApiKey, principal: &str, answer: &mut Value) {
    for allowed in ALLOWED {
        let here = allowed.apis.is_empty() || allowed.apis.contains(&api);
        let anybody = allowed.principals.is_empty();
        if here && (anybody || allowed.principals.contains(&principal)) {
            (allowed.even_out)(answer);
        }
    }
}

fn without_own_topics(answer: &mut Value) {
    without_own(&mut answer["Topics"], "Name");
}

fn without_own_transactions(answer: &mut Value) {
    without_own(&mut answer["TransactionStates"], "TransactionalId");
}

/// Takes out of a list what the gateway keeps for itself.
fn without_own(list: &mut Value, name: &str) {
    const OWN: &str = "_conduktor_";
    if let Some(elements) = list.as_array_mut() {
        elements.retain(|element| {
            let name = element[name].as_str();
            !name.is_some_and(|name| name.starts_with(OWN))
        });
    }
}

/// Sorts again what was sorted by what is now equal.
fn sort(list: &mut Value) {
    if let Some(elements) = list.as_array_mut() {
        elements.sort_by_cached_key(Value::to_string);
    }
}

fn each_field(value: &mut Value, field: &str, act: &dyn Fn(&mut Value)) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                match name == field {
                    true => act(value),
                    false => each_field(value, field, act),
                }
            }
        }
        Value::Array(elements) => elements
            .iter_mut()
            .for_each(|value| each_field(value, field, act)),
        _ => {}
    }
}
