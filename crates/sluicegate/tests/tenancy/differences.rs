//! What may differ between a plain Kafka and a virtual cluster besides [`crate::normal`], all of it in this file.
//!
//! The keys that are not compared at all have their reasons in [`not_compared`].

use serde_json::{Value, json};
use wire::api::ApiKey;
use wire::schema::{Entity, FieldSpec, FieldType};

const CLUSTER_AUTHORIZATION_FAILED: i64 = 31;
const MISMATCHED_ENDPOINT_TYPE: i64 = 114;

/// A difference that may be.
struct Allowed {
    /// Where.
    apis: &'static [ApiKey],
    /// Beginnings of what is asked, or all of it if a `$` follows; empty: whatever it is.
    asked: &'static [&'static str],
    #[expect(dead_code, reason = "for the reader")]
    reason: &'static str,
    /// Makes it vanish from an answer; the flag says that it is one of the virtual cluster. The number is the version.
    even_out: fn(&mut Value, bool, i16),
}

const ALLOWED: &[Allowed] = &[
    Allowed {
        apis: &[ApiKey::METADATA, ApiKey::DESCRIBE_CLUSTER],
        asked: &[],
        reason: "The cluster id begins with the name of the virtual cluster.",
        even_out: |answer, in_tenant, _| {
            if let Some(id) = answer
                .get_mut("ClusterId")
                .filter(|id| id.is_string() && *id != "")
            {
                let text = id.as_str().unwrap_or_default();
                let named = text.starts_with(&format!("{}@", crate::equivalence::NAME));
                *id = json!(if named == in_tenant {
                    "<id>"
                } else {
                    "ID OF THE OTHER"
                });
            }
        },
    },
    Allowed {
        apis: &[ApiKey::METADATA, ApiKey::DESCRIBE_TOPIC_PARTITIONS],
        asked: &["all", "none", "bad cursor"],
        reason: "The plain cluster has internal topics and what others have made; both have what other cases have made.",
        even_out: |answer, in_tenant, _| {
            only_of_readers(answer, "Topics", "Name", in_tenant);
        },
    },
    Allowed {
        apis: &[
            ApiKey::LIST_GROUPS,
            ApiKey::LIST_TRANSACTIONS,
            ApiKey::LIST_CONFIG_RESOURCES,
        ],
        asked: &[],
        reason: "As above.",
        even_out: |answer, in_tenant, _| {
            only_of_readers(answer, "Groups", "GroupId", in_tenant);
            only_of_readers(answer, "TransactionStates", "TransactionalId", in_tenant);
            only_of_readers(answer, "ConfigResources", "ResourceName", in_tenant);
        },
    },
    Allowed {
        apis: &[ApiKey::METADATA],
        asked: &["by id", "by unknown id"],
        reason: "Before version 12 brokers refuse an id without a name by refusing the request; the gateway answers, with an error \
                 for the topic.",
        even_out: |answer, in_tenant, version| {
            let code = &answer["Topics"][0]["ErrorCode"];
            if version < 12 && (!in_tenant || *code != 0) {
                *answer = json!({ "ErrorCode": "refused" });
            }
        },
    },
    Allowed {
        apis: &[ApiKey::DESCRIBE_TOPIC_PARTITIONS],
        asked: &["bad cursor"],
        reason: "Brokers answer a bad cursor for each topic that is named: for none. The gateway names all topics of the \
                 virtual cluster.",
        even_out: |answer, in_tenant, _| {
            const INVALID_REQUEST: i64 = 42;
            let topics = answer.get_mut("Topics").and_then(Value::as_array_mut);
            if let Some(topics) = topics.filter(|_| in_tenant) {
                topics.retain(|topic| topic["ErrorCode"] != INVALID_REQUEST);
            }
        },
    },
    Allowed {
        apis: &[ApiKey::SHARE_FETCH],
        asked: &["unknown topic"],
        reason: "Brokers fail as a whole at an id that they do not know; the gateway says which topic is unknown.",
        even_out: |answer, in_tenant, _| {
            const UNKNOWN_SERVER_ERROR: i64 = -1;
            const UNKNOWN_TOPIC_ID: i64 = 100;
            let topic = &answer["Responses"][0]["Partitions"][0]["ErrorCode"];
            let due = match in_tenant {
                true => *topic == UNKNOWN_TOPIC_ID,
                false => answer["ErrorCode"] == UNKNOWN_SERVER_ERROR,
            };
            if due {
                *answer = json!({ "ErrorCode": "unknown" });
            }
        },
    },
    Allowed {
        apis: &[ApiKey::FETCH],
        asked: &[],
        reason: "Brokers may tell of a topic in several places of an answer; the gateway tells of each once.",
        even_out: |answer, _, _| {
            if let Some(topics) = answer.get_mut("Responses") {
                each_topic_once(topics);
            }
        },
    },
    Allowed {
        apis: &[
            ApiKey::DESCRIBE_GROUPS,
            ApiKey::CONSUMER_GROUP_DESCRIBE,
            ApiKey::SHARE_GROUP_DESCRIBE,
            ApiKey::STREAMS_GROUP_DESCRIBE,
        ],
        asked: &[],
        reason: "Brokers know the address of the gateway instead of the member's.",
        even_out: |answer, in_tenant, _| {
            each_field(answer, "ClientHost", &|host| {
                let fits = if in_tenant {
                    host == ""
                } else {
                    host == "/127.0.0.1"
                };
                if fits {
                    *host = "<address of the member>".into();
                }
            });
        },
    },
    Allowed {
        apis: &[
            ApiKey::DESCRIBE_CONFIGS,
            ApiKey::ALTER_CONFIGS,
            ApiKey::INCREMENTAL_ALTER_CONFIGS,
            ApiKey::FIND_COORDINATOR,
        ],
        asked: &["type 99", "bad type", "type 9"],
        reason: "What no version knows is refused by the gateway, in its own words.",
        even_out: |answer, _, _| each_field(answer, "ErrorMessage", &|text| *text = Value::Null),
    },
    Allowed {
        apis: &[
            ApiKey::OFFSET_COMMIT,
            ApiKey::JOIN_GROUP,
            ApiKey::CONSUMER_GROUP_HEARTBEAT,
            ApiKey::ADD_OFFSETS_TO_TXN,
            ApiKey::FIND_COORDINATOR,
            ApiKey::DESCRIBE_CONFIGS,
        ],
        asked: &["no group", "several", "none", "type 32 $"],
        reason: "A group without a name would become one with a name behind the prefix.",
        even_out: |answer, in_tenant, _| nameless_groups(answer, in_tenant),
    },
    Allowed {
        apis: &[
            ApiKey::DESCRIBE_CONFIGS,
            ApiKey::ALTER_CONFIGS,
            ApiKey::INCREMENTAL_ALTER_CONFIGS,
        ],
        asked: &[
            "type 4",
            "type 8",
            "type 16",
            "broker",
            "another broker",
            "client metrics",
            "logger",
            "bad level",
            "read-only",
        ],
        reason: "Brokers, their loggers and client metrics are the operator's.",
        even_out: |answer, in_tenant, _| {
            for list in ["Results", "Responses"] {
                let list = answer.get_mut(list).and_then(Value::as_array_mut);
                refused(list, in_tenant, CLUSTER_AUTHORIZATION_FAILED);
            }
        },
    },
    Allowed {
        apis: &[ApiKey::DESCRIBE_CLUSTER],
        asked: &["controllers"],
        reason: "Controllers are the operator's.",
        even_out: |answer, in_tenant, version| {
            // Version 0 cannot ask for them.
            if version > 0 && (!in_tenant || answer["ErrorCode"] == MISMATCHED_ENDPOINT_TYPE) {
                *answer = json!({ "ErrorCode": MISMATCHED_ENDPOINT_TYPE });
            }
        },
    },
    Allowed {
        apis: &[ApiKey::FIND_COORDINATOR],
        asked: &["type 2"],
        reason: "Coordinators of share partitions are looked for by brokers.",
        even_out: |answer, in_tenant, version| {
            let code = answer["Coordinators"][0]["ErrorCode"].as_i64();
            let code = code.or(answer["ErrorCode"].as_i64());
            // Version 0 takes everything for a group.
            if version > 0 && (!in_tenant || code != Some(0)) {
                *answer = json!({ "ErrorCode": "refused" });
            }
        },
    },
];

/// Why a key is not compared; `None` if it is.
pub(crate) fn not_compared(api: ApiKey) -> Option<&'static str> {
    Some(match api {
        ApiKey::API_VERSIONS
        | ApiKey::SASL_HANDSHAKE
        | ApiKey::SASL_AUTHENTICATE
        | ApiKey::DESCRIBE_ACLS
        | ApiKey::CREATE_ACLS
        | ApiKey::DELETE_ACLS => "answered by the gateway",
        ApiKey::ALTER_REPLICA_LOG_DIRS
        | ApiKey::DESCRIBE_LOG_DIRS
        | ApiKey::ELECT_LEADERS
        | ApiKey::ALTER_PARTITION_REASSIGNMENTS
        | ApiKey::LIST_PARTITION_REASSIGNMENTS
        | ApiKey::DESCRIBE_CLIENT_QUOTAS
        | ApiKey::ALTER_CLIENT_QUOTAS
        | ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS
        | ApiKey::ALTER_USER_SCRAM_CREDENTIALS
        | ApiKey::DESCRIBE_QUORUM
        | ApiKey::UPDATE_FEATURES
        | ApiKey::UNREGISTER_BROKER
        | ApiKey::ADD_RAFT_VOTER
        | ApiKey::REMOVE_RAFT_VOTER => "the operator's; refused in a virtual cluster",
        _ => return None,
    })
}

/// The answer with what may differ made equal.
pub(crate) fn even_out(
    api: ApiKey,
    version: i16,
    asked: &str,
    in_tenant: bool,
    answer: &Value,
) -> Value {
    let mut answer = answer.clone();
    let spec = api.spec().expect("a known API");
    for allowed in ALLOWED {
        let fits = |what: &&str| match what.strip_suffix('$') {
            Some(whole) => asked == whole,
            None => asked.starts_with(*what),
        };
        let anything = allowed.asked.is_empty();
        if allowed.apis.contains(&api) && (anything || allowed.asked.iter().any(fits)) {
            (allowed.even_out)(&mut answer, in_tenant, version);
        }
    }
    texts(spec.response.fields, &mut answer, None);
    answer
}

/// Texts of errors may be left out, except those that say what to correct: of wrong numbers of partitions (37) or replicas
/// (38), of configurations (40), of requests (42) and of policies (44).
fn texts(fields: &[FieldSpec], value: &mut Value, outer: Option<i64>) {
    const TOLD: [i64; 5] = [37, 38, 40, 42, 44];
    let code = fields
        .iter()
        .find(|spec| spec.entity == Entity::ErrorCode && !spec.array)
        .and_then(|spec| value[spec.name].as_i64())
        .or(outer);
    for spec in fields {
        let Some(inner) = value.get_mut(spec.name) else {
            continue;
        };
        match (spec.ty, inner) {
            (FieldType::Struct(fields), Value::Array(elements)) => {
                elements
                    .iter_mut()
                    .for_each(|element| texts(fields, element, code));
            }
            (FieldType::Struct(fields), inner @ Value::Object(_)) => texts(fields, inner, code),
            (_, text)
                if spec.entity == Entity::ErrorMessage
                    && !code.is_some_and(|code| TOLD.contains(&code)) =>
            {
                *text = Value::Null;
            }
            _ => {}
        }
    }
}

/// Keeps what reading cases have made; of the virtual cluster everything but what other cases of its own have made.
fn only_of_readers(answer: &mut Value, list: &str, field: &str, in_tenant: bool) {
    if let Some(elements) = answer.get_mut(list).and_then(Value::as_array_mut) {
        elements.retain(|element| {
            let name = element[field].as_str().unwrap_or_default();
            match in_tenant {
                true => !name.starts_with("diff-b-"),
                false => name.starts_with("diff-s-") || is_broker(element),
            }
        });
    }
}

/// Puts the partitions of a topic together.
fn each_topic_once(topics: &mut Value) {
    let mut whole: Vec<Value> = Vec::new();
    for topic in topics.as_array().into_iter().flatten() {
        let same = |known: &&mut Value| {
            known["Topic"] == topic["Topic"] && known["TopicId"] == topic["TopicId"]
        };
        let partitions = topic["Partitions"].as_array().cloned().unwrap_or_default();
        match whole.iter_mut().find(same) {
            Some(known) => {
                if let Some(known) = known["Partitions"].as_array_mut() {
                    known.extend(partitions);
                }
            }
            None => whole.push(topic.clone()),
        }
    }
    *topics = whole.into();
}

/// Takes out the answer about a group without a name, if it is the one that is due.
fn nameless_groups(answer: &mut Value, in_tenant: bool) {
    const INVALID_GROUP_ID: i64 = 24;
    // From version 4 on FindCoordinator names what it answers.
    if let Some(elements) = answer.get_mut("Coordinators").and_then(Value::as_array_mut) {
        elements.retain(|element| {
            let due = !in_tenant || element["ErrorCode"] == INVALID_GROUP_ID;
            !(element["Key"] == "" && due)
        });
        return;
    }
    let mut codes = 0;
    let mut due = true;
    each_value(answer, "ErrorCode", &mut |code| {
        codes += 1;
        due &= !in_tenant || *code == INVALID_GROUP_ID;
    });
    if codes > 0 && due {
        *answer = json!({ "ErrorCode": "a group needs a name" });
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

fn each_value(value: &Value, field: &str, act: &mut dyn FnMut(&Value)) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                match name == field {
                    true => act(value),
                    false => each_value(value, field, act),
                }
            }
        }
        Value::Array(elements) => elements
            .iter()
            .for_each(|value| each_value(value, field, act)),
        _ => {}
    }
}

/// Brokers are listed for everybody.
fn is_broker(resource: &Value) -> bool {
    const BROKER: [i64; 2] = [4, 8];
    let kind = resource["ResourceType"].as_i64();
    kind.is_some_and(|kind| BROKER.contains(&kind))
}

/// One word for each entry: of the virtual cluster where it has this error.
fn refused(list: Option<&mut Vec<Value>>, in_tenant: bool, code: i64) {
    for entry in list.into_iter().flatten() {
        if !in_tenant || entry["ErrorCode"] == code {
            *entry = json!({ "ErrorCode": "refused" });
        }
    }
}
