//! What may differ between an answer of a broker and the same answer through the gateway, all of it in this file.
//!
//! | what | treatment |
//! | --- | --- |
//! | host and port of a broker | must be the address that this side advertises for the node id next to it |
//! | controller addresses (DescribeQuorum) | the gateway empties the list; direct answers are emptied to compare |
//! | a trailing unknown tag in Fetch v16+ and ShareFetch | filling of the rewritten end (`rewrite/tail.rs`); left out |
//! | throttle time | left out |
//! | [`MASKED`]: ids that brokers draw, clocks, ends of logs that grow by themselves | masked unless "none" |
//! | topic ids | by the topic's name if the case knows it, else masked unless zero |
//! | the controller's id | must be a broker; with KRaft brokers name one of them at random |
//! | names with the side's prefix | `diff-a-` and `diff-b-` become `diff-*-`, the letters at the end `**` |
//! | settings of brokers that hold addresses | the gateway shows them without a value |
//! | the text of `SECURITY_DISABLED` | the gateway answers about access control lists in its own words |
//! | order of structs and names in an array | sorted; brokers take it from hash maps |
//!
//! Everything else has to be equal: codes, texts, names, offsets, record bytes.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use wire::api::ApiKey;
use wire::schema::{Entity, FieldSpec, FieldType};

use crate::message::{UNKNOWN_TAGS, hex, unhex};
use crate::way::Side;

/// Fields that brokers fill with random values or with clocks. Negative numbers, zero in session ids and empty text
/// stay: they say that there is none.
const MASKED: &[&str] = &[
    // drawn by the broker
    "MemberId",
    "Leader",
    "ProducerId",
    "OngoingTxnProducerId",
    "SessionId",
    "ReplicaDirectoryId",
    // clocks
    "LogAppendTimeMs",
    "LastFetchTimestamp",
    "LastCaughtUpTimestamp",
    "TransactionStartTimeMs",
    // the metadata log, disks
    "FinalizedFeaturesEpoch",
    "LogEndOffset",
    "UsableBytes",
];

/// What is needed to recognise names and ids of one side.
pub(crate) struct Names<'n> {
    pub(crate) side: &'n Side,
    /// Prefix of names that only this side uses.
    pub(crate) own_prefix: &'n str,
    /// End of names that only this run uses, without the two letters at last.
    pub(crate) own_suffix: &'n str,
    /// Ids and what they stand for.
    pub(crate) aliases: &'n [(String, String)],
}

/// The answer with everything that may differ made equal.
pub(crate) fn normalise(api: ApiKey, version: i16, answer: &Value, names: &Names<'_>) -> Value {
    let spec = api.spec().expect("a known API");
    let mut answer = answer.clone();
    let fills_up = (api == ApiKey::FETCH && version >= 16) || api == ApiKey::SHARE_FETCH;
    if fills_up
        && names.side.is_gateway()
        && let Some(object) = answer.as_object_mut()
    {
        object.remove(UNKNOWN_TAGS);
    }
    if api == ApiKey::DESCRIBE_CONFIGS && !names.side.is_gateway() {
        without_addresses(&mut answer);
    }
    let mut normal = object(spec.response.fields, &answer, names);
    in_the_same_words(&mut normal);
    normal
}

/// What the gateway makes of the addresses among the settings of brokers: sensitive values.
fn without_addresses(value: &mut Value) {
    const ADDRESSES: [&str; 4] = [
        "listeners",
        "advertised.listeners",
        "controller.quorum.voters",
        "controller.quorum.bootstrap.servers",
    ];
    match value {
        Value::Object(object) => {
            let is_address = object
                .get("Name")
                .and_then(Value::as_str)
                .is_some_and(|name| ADDRESSES.contains(&name));
            if is_address && object.contains_key("Value") {
                object.insert("Value".to_owned(), Value::Null);
                if object.contains_key("IsSensitive") {
                    object.insert("IsSensitive".to_owned(), json!(true));
                }
            }
            object.values_mut().for_each(without_addresses);
        }
        Value::Array(elements) => elements.iter_mut().for_each(without_addresses),
        _ => {}
    }
}

/// Access control lists are the gateway's own; that there are none it says in its own words.
fn in_the_same_words(value: &mut Value) {
    const NO_LISTS: [&str; 3] = [
        "No Authorizer is configured on the broker",
        "No Authorizer is configured.",
        "Access control lists are not enabled.",
    ];
    match value {
        Value::Object(object) => object.values_mut().for_each(in_the_same_words),
        Value::Array(elements) => elements.iter_mut().for_each(in_the_same_words),
        Value::String(text) if NO_LISTS.contains(&text.as_str()) => *text = "no lists".to_owned(),
        _ => {}
    }
}

/// Lines of `path = value`, for comparing and for reading.
pub(crate) fn flatten(value: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    flatten_into("", value, &mut lines);
    lines
}

fn flatten_into(path: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                flatten_into(&format!("{path}.{name}"), value, lines);
            }
        }
        Value::Array(elements) if !elements.is_empty() => {
            for (at, value) in elements.iter().enumerate() {
                flatten_into(&format!("{path}[{at}]"), value, lines);
            }
        }
        _ => lines.push(format!("{} = {value}", path.trim_start_matches('.'))),
    }
}

fn object(fields: &[FieldSpec], value: &Value, names: &Names<'_>) -> Value {
    let Some(object) = value.as_object() else {
        return value.clone();
    };
    let address = address(fields, object, names);
    let mut normal = Map::new();
    for (name, value) in object {
        let Some(spec) = fields.iter().find(|spec| spec.name == name) else {
            normal.insert(name.clone(), value.clone());
            continue;
        };
        let value = match (spec.entity, &address) {
            (Entity::ThrottleTime, _) => continue,
            (Entity::Host, Some(address)) => address.clone(),
            (Entity::Port, Some(_)) => continue,
            _ => field(spec, value, names),
        };
        normal.insert(name.clone(), value);
    }
    Value::Object(normal)
}

/// What stands for host and port in a struct that has both and the id of a node.
fn address(fields: &[FieldSpec], object: &Map<String, Value>, names: &Names<'_>) -> Option<Value> {
    let get = |entity| {
        let spec = fields
            .iter()
            .find(|spec| spec.entity == entity && object.contains_key(spec.name))?;
        object.get(spec.name)
    };
    let (id, host, port) = (
        get(Entity::NodeId)?.as_i64()?,
        get(Entity::Host)?.as_str()?,
        get(Entity::Port)?.as_i64()?,
    );
    let expected = names.side.advertised(id);
    let seen = (host.to_owned(), port);
    Some(if id < 0 {
        json!(format!("no address: {host}:{port}"))
    } else if expected == Some(seen) {
        json!("<address of the node>")
    } else {
        json!(format!(
            "FOREIGN ADDRESS {host}:{port} from {:?}",
            names.side
        ))
    })
}

fn field(spec: &FieldSpec, value: &Value, names: &Names<'_>) -> Value {
    let Value::Array(elements) = value else {
        return scalar(spec, value, names);
    };
    if let FieldType::Struct(inner) = spec.ty
        && inner.iter().any(|spec| spec.entity == Entity::InternalHost)
    {
        // Only the gateway's answer has to be empty.
        return if names.side.is_gateway() {
            value.clone()
        } else {
            json!([])
        };
    }
    let mut elements: Vec<Value> = elements
        .iter()
        .map(|value| scalar(spec, value, names))
        .collect();
    if matches!(spec.ty, FieldType::Struct(_) | FieldType::String) {
        elements.sort_by_cached_key(Value::to_string);
    }
    Value::Array(elements)
}

fn scalar(spec: &FieldSpec, value: &Value, names: &Names<'_>) -> Value {
    let masked = MASKED.contains(&spec.name);
    match (spec.ty, value) {
        (FieldType::Struct(inner), _) => object(inner, value, names),
        (FieldType::Uuid, Value::String(id)) => {
            let known = names.aliases.iter().find(|(raw, _)| raw == id);
            match known {
                Some((_, label)) => json!(same_text(label, names)),
                None if id.bytes().all(|digit| digit == b'0') => value.clone(),
                None if spec.entity == Entity::TopicId || masked => {
                    json!(format!("<{}>", spec.name))
                }
                None => value.clone(),
            }
        }
        (FieldType::Bytes, Value::String(bytes)) => json!(hex(&same_names(unhex(bytes), names))),
        (FieldType::Records, Value::String(bytes)) => records(&unhex(bytes)),
        (FieldType::String, Value::String(text)) => {
            let mut text = same_text(text, names);
            for (raw, label) in names.aliases {
                text = text.replace(raw, label);
            }
            if masked && !text.is_empty() && !text.starts_with('<') {
                text = format!("<{}>", spec.name);
            }
            json!(text)
        }
        (_, Value::Number(id)) if spec.entity == Entity::ControllerId => {
            let known = id
                .as_i64()
                .is_some_and(|id| names.side.advertised(id).is_some());
            json!(if known {
                "<a broker>".to_owned()
            } else {
                id.to_string()
            })
        }
        (_, Value::Number(number)) if masked => match number.as_i64() {
            Some(..0) => value.clone(),
            Some(0) if spec.entity == Entity::SessionId => value.clone(),
            _ => json!(format!("<{}>", spec.name)),
        },
        _ => value.clone(),
    }
}

fn same_text(text: &str, names: &Names<'_>) -> String {
    let bytes = same_names(text.as_bytes().to_vec(), names);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Names of both sides made equal, in texts and in subscriptions and assignments of classic groups.
fn same_names(mut bytes: Vec<u8>, names: &Names<'_>) -> Vec<u8> {
    let (prefix, suffix) = (names.own_prefix.as_bytes(), names.own_suffix.as_bytes());
    for at in 0..bytes.len() {
        if bytes[at..].starts_with(prefix) {
            bytes[at..at + prefix.len()].copy_from_slice(b"diff-*-");
        }
        if bytes[at..].starts_with(suffix)
            && let Some(letters) = bytes.get_mut(at + suffix.len()..at + suffix.len() + 2)
        {
            letters.copy_from_slice(b"**");
        }
    }
    bytes
}

/// Offset of the length in a record batch, and of what it counts.
const LENGTH: std::ops::Range<usize> = 8..12;
/// Bytes of a batch before its records.
const BATCH_HEADER: usize = 61;
const CONTROL: i16 = 1 << 5;

/// Record batches by their fields. Checksums, clocks and producer ids are those of the broker where there is a producer;
/// markers are written by the broker itself.
fn records(mut bytes: &[u8]) -> Value {
    let mut batches = Vec::new();
    while let Some(length) = bytes.get(LENGTH) {
        let length = u32::from_be_bytes(length.try_into().unwrap_or_default()) as usize;
        let Some((batch, rest)) = bytes.split_at_checked(LENGTH.end + length) else {
            break; // cut by the size limit
        };
        bytes = rest;
        batches.push(json!(describe_batch(batch)));
    }
    if !bytes.is_empty() {
        batches.push(json!(format!("{} more bytes", bytes.len())));
    }
    Value::Array(batches)
}

fn describe_batch(batch: &[u8]) -> String {
    let Some((header, records)) = batch.split_first_chunk::<BATCH_HEADER>() else {
        return hex(batch);
    };
    let int = |at: usize, size: usize| {
        header[at..at + size]
            .iter()
            .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let attributes = int(21, 2) as i16;
    let mut text = format!(
        "offset {} length {} leader epoch {} magic {} attributes {attributes} last delta {} \
         producer epoch {} sequence {} count {}",
        int(0, 8),
        int(8, 4),
        int(12, 4),
        int(16, 1),
        int(23, 4),
        int(51, 2) as i16,
        int(53, 4) as i32,
        int(57, 4),
    );
    let has_producer = int(43, 8) != u64::MAX;
    if !has_producer {
        let _ = write!(text, " crc {}", int(17, 4));
    }
    if attributes & CONTROL == 0 {
        let _ = write!(
            text,
            " times {} {} records {}",
            int(27, 8),
            int(35, 8),
            hex(records)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::way::compare;

    /// A gateway at `gw.test`, brokers at `kafka`, both with port 9000 + node id.
    fn said(letter: char, answer: &Value) -> Vec<String> {
        let host = if letter == 'b' { "gw.test" } else { "kafka" };
        let side = Side {
            letter,
            doors: Default::default(),
            addresses: (1..4)
                .map(|id| (id, (host.to_owned(), 9000 + id as u16)))
                .collect(),
        };
        let names = Names {
            side: &side,
            own_prefix: &format!("diff-{letter}-"),
            own_suffix: "-k3-v12-",
            aliases: &[],
        };
        flatten(&normalise(ApiKey::METADATA, 12, answer, &names))
    }

    fn metadata(host: &str, port: i32, topic: &str, code: i16) -> Value {
        json!({
            "ThrottleTimeMs": port,
            "Brokers": [{ "NodeId": 1, "Host": host, "Port": port }],
            "ControllerId": 2,
            "Topics": [{ "ErrorCode": code, "Name": topic }],
        })
    }

    #[test]
    fn own_addresses_and_names_are_no_difference() {
        let direct = said('a', &metadata("kafka", 9001, "diff-a-t-k3-v12-aa", 0));
        let gateway = said('b', &metadata("gw.test", 9001, "diff-b-t-k3-v12-xy", 0));
        assert_eq!(compare(&direct, &gateway), Ok(()));
    }

    #[test]
    fn addresses_of_others_and_all_else_are_differences() {
        let direct = said('a', &metadata("kafka", 9001, "t", 0));
        for (host, port, topic, code) in [
            ("kafka", 9001, "t", 0),
            ("gw.test", 9002, "t", 0),
            ("gw.test", 9001, "u", 0),
            ("gw.test", 9001, "t", 3),
        ] {
            let gateway = said('b', &metadata(host, port, topic, code));
            assert!(
                compare(&direct, &gateway).is_err(),
                "{host} {port} {topic} {code}"
            );
        }
    }
}
