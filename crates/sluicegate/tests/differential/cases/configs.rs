//! Configurations and quotas.

use serde_json::{Value, json};
use testkit::Result;
use wire::api::ApiKey;

use crate::prepare::{GROUP, ORDERS, topic};
use crate::side::Run;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const CONSUMER_GROUP: i8 = 32;

pub(crate) fn describe(run: &mut Run<'_>) -> Result<()> {
    let request = |kind: i8, name: &str, keys: Value| {
        json!({
            "Resources": [{
                "ResourceType": kind,
                "ResourceName": name,
                "ConfigurationKeys": keys,
            }],
            "IncludeSynonyms": true,
            "IncludeDocumentation": true,
        })
    };
    let resources = [
        (TOPIC, ORDERS),
        (TOPIC, "diff-s-nowhere"),
        (TOPIC, "no/name"),
        (BROKER, ""),
        (BROKER, "1"),
        (BROKER, "x"),
        (BROKER_LOGGER, "1"),
        (BROKER_LOGGER, "99"),
        (CLIENT_METRICS, "diff-s-metrics"),
        (CONSUMER_GROUP, GROUP),
        (CONSUMER_GROUP, ""),
        (99, "anything"),
    ];
    for (kind, name) in resources {
        run.ask(
            1,
            &format!("type {kind} {name}"),
            request(kind, name, Value::Null),
        )?;
    }
    for node in 1..=3 {
        run.ask(
            node,
            &format!("broker {node}"),
            request(BROKER, &node.to_string(), Value::Null),
        )?;
    }
    run.ask(1, "another broker", request(BROKER, "2", Value::Null))?;
    let some = json!(["retention.ms", "no.such.key"]);
    run.ask(2, "some keys", request(TOPIC, ORDERS, some))?;
    run.ask(3, "no keys", request(TOPIC, ORDERS, json!([])))?;
    run.ask(3, "nothing", json!({}))?;
    Ok(())
}

pub(crate) fn alter(run: &mut Run<'_>) -> Result<()> {
    let name = run.name("altered");
    topic(run, &name, &[&[1]])?;
    let request = |kind: i8, name: &str, key: &str, value: Value, validate: bool| {
        json!({
            "Resources": [{
                "ResourceType": kind,
                "ResourceName": name,
                "Configs": [{ "Name": key, "Value": value }],
            }],
            "ValidateOnly": validate,
        })
    };
    let hour = json!("3600000");
    run.ask(
        1,
        "validate only",
        request(TOPIC, &name, "retention.ms", hour.clone(), true),
    )?;
    run.ask(
        2,
        "topic",
        request(TOPIC, &name, "retention.ms", hour.clone(), false),
    )?;
    run.ask(
        3,
        "bad value",
        request(TOPIC, &name, "retention.ms", json!("soon"), false),
    )?;
    run.ask(
        1,
        "bad key",
        request(TOPIC, &name, "no.such.key", hour.clone(), false),
    )?;
    run.ask(
        1,
        "null",
        request(TOPIC, &name, "retention.ms", Value::Null, false),
    )?;
    run.ask(
        1,
        "no such topic",
        request(TOPIC, "diff-s-nowhere", "retention.ms", hour, false),
    )?;
    let threads = json!("3");
    run.ask(
        1,
        "broker",
        request(BROKER, "1", "num.io.threads", threads.clone(), true),
    )?;
    run.ask(
        1,
        "another broker",
        request(BROKER, "2", "num.io.threads", threads, true),
    )?;
    run.ask(
        1,
        "bad type",
        request(99, "anything", "key", json!("value"), true),
    )?;
    Ok(())
}

pub(crate) fn incremental_alter(run: &mut Run<'_>) -> Result<()> {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    const APPEND: i8 = 2;
    const SUBTRACT: i8 = 3;
    let name = run.name("tuned");
    topic(run, &name, &[&[1]])?;
    let request = |kind: i8, name: &str, operation: i8, key: &str, value: Value| {
        json!({ "Resources": [{
            "ResourceType": kind,
            "ResourceName": name,
            "Configs": [{ "Name": key, "ConfigOperation": operation, "Value": value }],
        }] })
    };
    let set =
        |kind, name: &str, key: &str, value: &str| request(kind, name, SET, key, json!(value));
    run.ask(1, "set", set(TOPIC, &name, "retention.ms", "3600000"))?;
    let policy = "cleanup.policy";
    run.ask(
        2,
        "append",
        request(TOPIC, &name, APPEND, policy, json!("compact")),
    )?;
    run.ask(
        3,
        "subtract",
        request(TOPIC, &name, SUBTRACT, policy, json!("delete")),
    )?;
    run.ask(
        1,
        "delete",
        request(TOPIC, &name, DELETE, "retention.ms", Value::Null),
    )?;
    run.ask(
        1,
        "append to a number",
        request(TOPIC, &name, APPEND, "retention.ms", json!("1")),
    )?;
    run.ask(
        1,
        "bad operation",
        request(TOPIC, &name, 9, policy, json!("delete")),
    )?;
    run.ask(1, "bad value", set(TOPIC, &name, "retention.ms", "soon"))?;
    run.ask(1, "bad key", set(TOPIC, &name, "no.such.key", "1"))?;
    run.ask(
        1,
        "no such topic",
        set(TOPIC, "diff-s-nowhere", "retention.ms", "1"),
    )?;
    let group = run.name("tuned-group");
    run.ask(
        1,
        "group",
        set(
            CONSUMER_GROUP,
            &group,
            "consumer.session.timeout.ms",
            "50000",
        ),
    )?;
    let metrics = run.name("tuned-metrics");
    run.ask(
        1,
        "client metrics",
        set(CLIENT_METRICS, &metrics, "interval.ms", "60000"),
    )?;
    let logger = "kafka.server.differential";
    run.ask(1, "logger", set(BROKER_LOGGER, "1", logger, "INFO"))?;
    run.ask(1, "bad level", set(BROKER_LOGGER, "1", logger, "QUIET"))?;
    let mut broker = set(BROKER, "1", "num.io.threads", "4");
    broker["ValidateOnly"] = true.into();
    run.ask(1, "broker", broker)?;
    run.ask(1, "read-only", set(BROKER, "1", "node.id", "7"))?;
    Ok(())
}

pub(crate) fn list_resources(run: &mut Run<'_>) -> Result<()> {
    run.ask(1, "all", json!({}))?;
    for kind in [
        TOPIC,
        BROKER,
        BROKER_LOGGER,
        CLIENT_METRICS,
        CONSUMER_GROUP,
        99,
    ] {
        run.ask(
            2,
            &format!("type {kind}"),
            json!({ "ResourceTypes": [kind] }),
        )?;
    }
    Ok(())
}

pub(crate) fn describe_quotas(run: &mut Run<'_>) -> Result<()> {
    let client = run.name("limited");
    let entry = json!([{ "EntityType": "client-id", "EntityName": client }]);
    let ops = json!([{ "Key": "consumer_byte_rate", "Value": 1_000_000.0 }]);
    let body = json!({ "Entries": [{ "Entity": entry, "Ops": ops }] });
    run.must(1, ApiKey::ALTER_CLIENT_QUOTAS, 1, body)?;
    let request = |kind: &str, match_type: i8, name: Value| {
        json!({
            "Components": [{ "EntityType": kind, "MatchType": match_type, "Match": name }],
            "Strict": true,
        })
    };
    let exact = request("client-id", 0, json!(client));
    // Brokers learn of it from the metadata log.
    run.until("a new quota to be known", |run| {
        let answer = run.must(1, ApiKey::DESCRIBE_CLIENT_QUOTAS, 1, exact.clone())?;
        let known = answer["Entries"]
            .as_array()
            .is_some_and(|entries| !entries.is_empty());
        Ok(known.then_some(()))
    })?;
    run.ask(1, "exact", exact)?;
    run.ask(2, "default", request("user", 1, Value::Null))?;
    run.ask(3, "bad type", request("planet", 0, json!("mars")))?;
    run.ask(1, "bad match", request("user", 9, Value::Null))?;
    Ok(())
}

pub(crate) fn alter_quotas(run: &mut Run<'_>) -> Result<()> {
    let client = run.name("limited");
    let request = |kind: &str, key: &str, value: f64, remove: bool, validate: bool| {
        json!({
            "Entries": [{
                "Entity": [{ "EntityType": kind, "EntityName": client }],
                "Ops": [{ "Key": key, "Value": value, "Remove": remove }],
            }],
            "ValidateOnly": validate,
        })
    };
    let (id, rate) = ("client-id", "producer_byte_rate");
    run.ask(1, "validate only", request(id, rate, 1e6, false, true))?;
    run.ask(2, "set", request(id, rate, 1e6, false, false))?;
    run.ask(3, "remove", request(id, rate, 0.0, true, false))?;
    run.ask(
        1,
        "bad key",
        request(id, "happiness_rate", 1.0, false, false),
    )?;
    run.ask(1, "bad value", request(id, rate, -5.0, false, false))?;
    run.ask(1, "bad type", request("planet", rate, 1.0, false, false))?;
    run.ask(1, "nothing", json!({}))?;
    Ok(())
}
