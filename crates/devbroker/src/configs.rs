//! Topic and broker configurations: what exists, its default, and the few topic settings that take effect.

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;

/// A configuration's type, with the protocol's number (DescribeConfigs version 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean = 1,
    String = 2,
    Int = 3,
    Long = 5,
    Double = 6,
    List = 7,
}

/// One row of the tables below.
#[derive(Debug)]
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) default: &'static str,
    pub(crate) kind: Kind,
    /// Empty: any value of the kind.
    pub(crate) allowed: &'static [&'static str],
    pub(crate) read_only: bool,
}

const fn row(name: &'static str, default: &'static str, kind: Kind) -> Definition {
    Definition {
        name,
        default,
        kind,
        allowed: &[],
        read_only: false,
    }
}

const fn choice(
    name: &'static str,
    default: &'static str,
    kind: Kind,
    allowed: &'static [&'static str],
) -> Definition {
    Definition {
        name,
        default,
        kind,
        allowed,
        read_only: false,
    }
}

const fn fixed(name: &'static str, default: &'static str, kind: Kind) -> Definition {
    Definition {
        name,
        default,
        kind,
        allowed: &[],
        read_only: true,
    }
}

/// Longest value taken.
const MAX_VALUE_BYTES: usize = 4_096;

const CLEANUP_POLICIES: &[&str] = &["compact", "delete"];
const COMPRESSIONS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
const TIMESTAMP_TYPES: &[&str] = &["CreateTime", "LogAppendTime"];

/// Every topic configuration of Kafka 4.x that clients set, whether it takes effect here or not.
pub(crate) const TOPIC: &[Definition] = &[
    choice("cleanup.policy", "delete", Kind::List, CLEANUP_POLICIES),
    choice("compression.type", "producer", Kind::String, COMPRESSIONS),
    row("compression.gzip.level", "-1", Kind::Int),
    row("compression.lz4.level", "9", Kind::Int),
    row("compression.zstd.level", "3", Kind::Int),
    row("delete.retention.ms", "86400000", Kind::Long),
    row("file.delete.delay.ms", "60000", Kind::Long),
    row("flush.messages", "9223372036854775807", Kind::Long),
    row("flush.ms", "9223372036854775807", Kind::Long),
    row("follower.replication.throttled.replicas", "", Kind::List),
    row("index.interval.bytes", "4096", Kind::Int),
    row("leader.replication.throttled.replicas", "", Kind::List),
    row("local.retention.bytes", "-2", Kind::Long),
    row("local.retention.ms", "-2", Kind::Long),
    row("max.compaction.lag.ms", "9223372036854775807", Kind::Long),
    row("max.message.bytes", "1048588", Kind::Int),
    row("message.timestamp.after.max.ms", "3600000", Kind::Long),
    row(
        "message.timestamp.before.max.ms",
        "9223372036854775807",
        Kind::Long,
    ),
    choice(
        "message.timestamp.type",
        "CreateTime",
        Kind::String,
        TIMESTAMP_TYPES,
    ),
    row("min.cleanable.dirty.ratio", "0.5", Kind::Double),
    row("min.compaction.lag.ms", "0", Kind::Long),
    row("min.insync.replicas", "1", Kind::Int),
    row("preallocate", "false", Kind::Boolean),
    row("remote.storage.enable", "false", Kind::Boolean),
    row("retention.bytes", "-1", Kind::Long),
    row("retention.ms", "604800000", Kind::Long),
    row("segment.bytes", "1073741824", Kind::Int),
    row("segment.index.bytes", "10485760", Kind::Int),
    row("segment.jitter.ms", "0", Kind::Long),
    row("segment.ms", "604800000", Kind::Long),
    row("unclean.leader.election.enable", "false", Kind::Boolean),
];

/// Broker configurations that clients look at. The read-only ones are filled in from the cluster's options.
pub(crate) const BROKER: &[Definition] = &[
    fixed("advertised.listeners", "", Kind::String),
    fixed("auto.create.topics.enable", "true", Kind::Boolean),
    row("background.threads", "10", Kind::Int),
    fixed("broker.id", "", Kind::Int),
    row("compression.type", "producer", Kind::String),
    fixed("default.replication.factor", "1", Kind::Int),
    fixed("delete.topic.enable", "true", Kind::Boolean),
    fixed("fetch.max.bytes", "57671680", Kind::Int),
    fixed(
        "group.coordinator.rebalance.protocols",
        "classic",
        Kind::List,
    ),
    fixed("group.max.session.timeout.ms", "1800000", Kind::Int),
    fixed("group.min.session.timeout.ms", "1000", Kind::Int),
    row("log.cleaner.delete.retention.ms", "86400000", Kind::Long),
    row("log.cleaner.threads", "1", Kind::Int),
    row("log.cleanup.policy", "delete", Kind::List),
    row("log.retention.bytes", "-1", Kind::Long),
    row("log.retention.ms", "604800000", Kind::Long),
    row("log.segment.bytes", "1073741824", Kind::Int),
    row("max.connections", "512", Kind::Int),
    row("message.max.bytes", "1048588", Kind::Int),
    row("min.insync.replicas", "1", Kind::Int),
    fixed("node.id", "", Kind::Int),
    fixed("num.partitions", "1", Kind::Int),
    fixed("offsets.topic.replication.factor", "1", Kind::Int),
    fixed("socket.request.max.bytes", "104857600", Kind::Int),
    fixed("transaction.max.timeout.ms", "900000", Kind::Int),
    row("unclean.leader.election.enable", "false", Kind::Boolean),
];

/// Values set by clients, over the defaults of a table.
pub(crate) type Overrides = BTreeMap<String, String>;

/// One change of IncrementalAlterConfigs (KIP-339).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Set,
    Delete,
    Append,
    Subtract,
}

impl Operation {
    pub(crate) fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Operation::Set),
            1 => Some(Operation::Delete),
            2 => Some(Operation::Append),
            3 => Some(Operation::Subtract),
            _ => None,
        }
    }
}

/// Finds a configuration by name.
pub(crate) fn find(table: &'static [Definition], name: &str) -> Option<&'static Definition> {
    table.iter().find(|d| d.name == name)
}

/// Applies one change to `overrides`; the message says what was wrong.
pub(crate) fn apply(
    table: &'static [Definition],
    overrides: &mut Overrides,
    name: &str,
    operation: Operation,
    value: Option<&str>,
) -> Result<(), (ResponseError, String)> {
    let invalid = |why: String| (ResponseError::InvalidConfig, why);
    let definition = find(table, name)
        .ok_or_else(|| invalid(format!("Unknown configuration {}", printable(name))))?;
    if definition.read_only {
        return Err((
            ResponseError::InvalidRequest,
            format!("{name} cannot be altered"),
        ));
    }
    if operation == Operation::Delete {
        overrides.remove(name);
        return Ok(());
    }
    let value = value.ok_or_else(|| invalid(format!("{name} needs a value")))?;
    let value = match operation {
        Operation::Append | Operation::Subtract if definition.kind != Kind::List => {
            return Err(invalid(format!("{name} is not a list")));
        }
        Operation::Append => {
            let mut items = items(
                overrides
                    .get(name)
                    .map_or(definition.default, String::as_str),
            );
            items.extend(
                self::items(value)
                    .into_iter()
                    .filter(|i| !value_has(overrides, definition, i)),
            );
            items.join(",")
        }
        Operation::Subtract => {
            let gone = items(value);
            let now = items(
                overrides
                    .get(name)
                    .map_or(definition.default, String::as_str),
            );
            now.into_iter()
                .filter(|i| !gone.contains(i))
                .collect::<Vec<_>>()
                .join(",")
        }
        Operation::Set | Operation::Delete => value.trim().to_owned(),
    };
    check(definition, &value).map_err(invalid)?;
    overrides.insert(name.to_owned(), value);
    Ok(())
}

fn value_has(overrides: &Overrides, definition: &Definition, item: &str) -> bool {
    items(
        overrides
            .get(definition.name)
            .map_or(definition.default, String::as_str),
    )
    .contains(&item)
}

fn items(list: &str) -> Vec<&str> {
    list.split(',')
        .map(str::trim)
        .filter(|i| !i.is_empty())
        .collect()
}

fn check(definition: &Definition, value: &str) -> Result<(), String> {
    let fits = match definition.kind {
        Kind::Boolean => matches!(value, "true" | "false"),
        Kind::Int => value.parse::<i32>().is_ok(),
        Kind::Long => value.parse::<i64>().is_ok(),
        Kind::Double => value.parse::<f64>().is_ok(),
        Kind::String | Kind::List => value.len() <= MAX_VALUE_BYTES,
    };
    let allowed = match (definition.allowed, definition.kind) {
        ([], _) => true,
        (allowed, Kind::List) => items(value).iter().all(|i| allowed.contains(i)),
        (allowed, _) => allowed.contains(&value),
    };
    if fits && allowed {
        Ok(())
    } else {
        Err(format!(
            "Invalid value {} for {}",
            printable(value),
            definition.name
        ))
    }
}

fn printable(text: &str) -> String {
    text.chars()
        .take(80)
        .collect::<String>()
        .escape_debug()
        .to_string()
}

/// The topic settings that take effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicSettings {
    pub(crate) compact: bool,
    pub(crate) delete: bool,
    pub(crate) log_append_time: bool,
    pub(crate) max_message_bytes: usize,
    pub(crate) retention_bytes: Option<u64>,
    pub(crate) retention_ms: Option<i64>,
    pub(crate) delete_retention_ms: i64,
}

impl TopicSettings {
    pub(crate) fn new(overrides: &Overrides) -> Self {
        let text = |name: &'static str| match overrides.get(name) {
            Some(value) => value.as_str(),
            None => find(TOPIC, name).map_or("", |d| d.default),
        };
        let number = |name| text(name).parse::<i64>().unwrap_or(-1);
        let policy = items(text("cleanup.policy"));
        TopicSettings {
            compact: policy.contains(&"compact"),
            delete: policy.contains(&"delete"),
            log_append_time: text("message.timestamp.type") == "LogAppendTime",
            max_message_bytes: usize::try_from(number("max.message.bytes")).unwrap_or(0),
            retention_bytes: u64::try_from(number("retention.bytes")).ok(),
            retention_ms: Some(number("retention.ms")).filter(|ms| *ms >= 0),
            delete_retention_ms: number("delete.retention.ms").max(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_checked_and_take_effect() {
        let mut set = Overrides::new();
        apply(
            TOPIC,
            &mut set,
            "retention.ms",
            Operation::Set,
            Some("1000"),
        )
        .expect("valid");
        apply(
            TOPIC,
            &mut set,
            "cleanup.policy",
            Operation::Append,
            Some("compact"),
        )
        .expect("valid");
        assert_eq!(set["cleanup.policy"], "delete,compact");
        let settings = TopicSettings::new(&set);
        assert!(settings.compact && settings.delete);
        assert_eq!(settings.retention_ms, Some(1000));
        assert_eq!(settings.retention_bytes, None);
        apply(
            TOPIC,
            &mut set,
            "cleanup.policy",
            Operation::Subtract,
            Some("delete"),
        )
        .expect("valid");
        apply(TOPIC, &mut set, "retention.ms", Operation::Delete, None).expect("valid");
        assert_eq!(set.len(), 1);
        for (name, value) in [
            ("retention.ms", "soon"),
            ("no.such", "1"),
            ("cleanup.policy", "burn"),
        ] {
            assert!(
                apply(TOPIC, &mut set, name, Operation::Set, Some(value)).is_err(),
                "{name}"
            );
        }
        assert!(apply(BROKER, &mut set, "node.id", Operation::Set, Some("7")).is_err());
    }

    #[test]
    fn defaults_are_valid_values() {
        for table in [TOPIC, BROKER] {
            for row in table {
                assert!(
                    row.read_only || check(row, row.default).is_ok(),
                    "{}",
                    row.name
                );
            }
        }
    }
}
