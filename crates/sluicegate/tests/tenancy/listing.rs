//! Pages, texts of errors, and topics that nobody asked for.

use serde_json::{Value, json};
use testkit::{Listener, Result};
use wire::api::ApiKey;

use crate::ask::{self, code};
use crate::world::World;

#[test]
fn pages_go_through_own_topics() -> Result<()> {
    let world = World::get()?;
    let (own, other) = (world.tenant("paging")?, world.tenant("paged")?);
    for name in ["a", "c", "e"] {
        ask::topic(&mut other.root()?, name, 1)?;
    }
    let mut root = own.root()?;
    let names = ["alpha", "beta", "delta", "epsilon", "gamma"];
    for name in names {
        ask::topic(&mut root, name, 1)?;
    }
    // Two partitions: a cursor may stand between them.
    let body = json!({
        "Topics": [{ "Name": "beta", "Count": 3, "Assignments": null }],
        "TimeoutMs": 30_000,
    });
    root.must(1, ApiKey::CREATE_PARTITIONS, 3, &body)?;
    let settled = || -> Result<bool> {
        let answer = own
            .root()?
            .must(1, ApiKey::METADATA, 12, &ask::named(&["beta"]))?;
        Ok(answer["Topics"][0]["Partitions"].as_array().map(Vec::len) == Some(3))
    };
    testkit::wait::until_true("new partitions", crate::world::LIMIT, || {
        settled().unwrap_or(false)
    })?;
    let mut seen = Vec::new();
    let mut cursor = Value::Null;
    for _ in 0..10 {
        let body = json!({ "Topics": [], "ResponsePartitionLimit": 2, "Cursor": cursor });
        let answer = root.must(1, ApiKey::DESCRIBE_TOPIC_PARTITIONS, 0, &body)?;
        for topic in answer["Topics"].as_array().into_iter().flatten() {
            let name = topic["Name"].as_str().unwrap_or_default();
            let partitions = ask::ints(&topic["Partitions"], "PartitionIndex");
            seen.extend(
                partitions
                    .into_iter()
                    .map(|index| format!("{name}-{index}")),
            );
        }
        cursor = answer["NextCursor"].clone();
        if cursor.is_null() {
            break;
        }
        let at = cursor["TopicName"].as_str().unwrap_or_default();
        assert!(names.contains(&at), "{cursor}");
    }
    let expected = [
        "alpha-0",
        "beta-0",
        "beta-1",
        "beta-2",
        "delta-0",
        "epsilon-0",
        "gamma-0",
    ];
    assert_eq!(seen, expected);
    // A cursor that names somebody else's topic is a place in one's own list, nothing more.
    let foreign = json!({ "TopicName": other.physical("a"), "PartitionIndex": 0 });
    let body = json!({ "Topics": [], "Cursor": foreign });
    let answer = root.ask(1, ApiKey::DESCRIBE_TOPIC_PARTITIONS, 0, &body)?;
    let listed = ask::texts(&answer["Topics"], "Name");
    assert!(
        listed.iter().all(|name| names.contains(&name.as_str())),
        "{answer}"
    );
    Ok(())
}

#[test]
fn texts_of_errors_hold_logical_names_only() -> Result<()> {
    let world = World::get()?;
    let tenant = world.tenant("erring")?;
    let mut root = tenant.root()?;
    ask::topic(&mut root, "orders", 1)?;
    ask::topic(&mut root, "in_stock", 1)?;
    let with_config = |name: &str, key: &str, value: &str| {
        let mut body = ask::creation(name, 1);
        body["Topics"][0]["Configs"] = json!([{ "Name": key, "Value": value }]);
        body
    };
    let mut replicas = ask::creation("replicated", 1);
    replicas["Topics"][0] =
        json!({ "Name": "replicated", "NumPartitions": 1, "ReplicationFactor": 9 });
    let shrink = json!({
        "Topics": [{ "Name": "orders", "Count": 1, "Assignments": null }],
        "TimeoutMs": 30_000,
    });
    let configs = |kind: i8, key: &str, value: &str| {
        json!({ "Resources": [{
            "ResourceType": kind,
            "ResourceName": "orders",
            "Configs": [{ "Name": key, "ConfigOperation": 0, "Value": value }],
        }] })
    };
    let grown = json!({ "Topics": [{
        "Name": "orders",
        "Count": 3,
        "Assignments": [{ "BrokerIds": [98] }, { "BrokerIds": [99] }],
    }], "TimeoutMs": 30_000 });
    for (expected, api, version, body) in [
        (
            code::TOPIC_ALREADY_EXISTS,
            ApiKey::CREATE_TOPICS,
            7,
            ask::creation("orders", 1),
        ),
        (
            code::INVALID_TOPIC,
            ApiKey::CREATE_TOPICS,
            7,
            ask::creation("in.stock", 1),
        ),
        (
            40,
            ApiKey::CREATE_TOPICS,
            7,
            with_config("configured", "retention.ms", "soon"),
        ),
        (
            40,
            ApiKey::CREATE_TOPICS,
            5,
            with_config("configured", "no.such.key", "1"),
        ),
        (38, ApiKey::CREATE_TOPICS, 7, replicas),
        (37, ApiKey::CREATE_PARTITIONS, 3, shrink),
        (39, ApiKey::CREATE_PARTITIONS, 3, grown),
        (
            40,
            ApiKey::INCREMENTAL_ALTER_CONFIGS,
            1,
            configs(2, "retention.ms", "soon"),
        ),
        (
            40,
            ApiKey::ALTER_CONFIGS,
            2,
            json!({ "Resources": [{
            "ResourceType": 2,
            "ResourceName": "orders",
            "Configs": [{ "Name": "retention.ms", "Value": "soon" }],
        }] }),
        ),
        (
            40,
            ApiKey::INCREMENTAL_ALTER_CONFIGS,
            1,
            configs(32, "consumer.session.timeout.ms", "1"),
        ),
    ] {
        let answer = root.ask(1, api, version, &body)?;
        let codes = crate::way::error_codes(api, &answer);
        assert!(codes.contains(&expected), "{api}: {answer}");
        assert!(
            !answer.to_string().contains(&tenant.name),
            "{api}: {answer}"
        );
    }
    Ok(())
}

/// Versions 0 to 3 of Metadata cannot say that nothing shall be created.
#[test]
fn asking_for_a_topic_creates_none() -> Result<()> {
    let world = World::get()?;
    let tenant = world.tenant("asking")?;
    let mut root = tenant.root()?;
    for version in 0..=13 {
        let mut body = ask::named(&["nowhere"]);
        body["AllowAutoTopicCreation"] = true.into();
        let answer = root.ask(1, ApiKey::METADATA, version, &body)?;
        let codes = ask::ints(&answer["Topics"], "ErrorCode");
        assert_eq!(
            codes,
            [code::UNKNOWN_TOPIC_OR_PARTITION],
            "v{version}: {answer}"
        );
    }
    let physical = ask::topics(&mut world.brokers())?;
    assert!(!physical.contains(&tenant.physical("nowhere")));
    assert!(!physical.contains(&"nowhere".to_owned()));
    Ok(())
}

#[test]
fn only_addresses_of_the_gateway_reach_clients() -> Result<()> {
    let world = World::get()?;
    let tenant = world.tenant("leading")?;
    let mut root = tenant.root()?;
    let id = ask::topic(&mut root, "orders", 2)?;
    let batch = crate::message::hex(&crate::records::batch(1, "one"));
    let production = json!({
        "Acks": -1,
        "TimeoutMs": 30_000,
        "TopicData": [{
            "Name": "orders",
            "TopicId": id,
            "PartitionData": [{ "Index": 0, "Records": batch }],
        }],
    });
    let fetch = json!({
        "MaxWaitMs": 0,
        "SessionId": 0,
        "SessionEpoch": -1,
        "Topics": [{
            "Topic": "orders",
            "TopicId": id,
            "Partitions": [{ "Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1 << 20 }],
        }],
    });
    let own: Vec<i64> = world
        .front
        .doors
        .values()
        .filter_map(|door| door.rsplit_once(':')?.1.parse().ok())
        .collect();
    let hinted = |answer: &Value| {
        let ports = ask::ints(&answer["NodeEndpoints"], "Port");
        assert_eq!(ports, own[..1], "{answer}");
    };
    // Broker 2 does not lead partition 0.
    for version in 10..=13 {
        hinted(&root.ask(2, ApiKey::PRODUCE, version, &production)?);
    }
    for version in 16..=17 {
        hinted(&root.ask(2, ApiKey::FETCH, version, &fetch)?);
    }
    for version in 0..=12 {
        let answer = root.must(1, ApiKey::METADATA, version, &ask::named(&["orders"]))?;
        let mut ports = ask::ints(&answer["Brokers"], "Port");
        ports.sort_unstable();
        assert_eq!(ports, own, "v{version}");
    }
    let relays = world.cluster.bootstrap(Listener::Relayed);
    assert!(!relays.contains(&format!(":{}", own[0])));
    world.cluster.assert_only_gateway_connects()
}

/// Whoever has an id from elsewhere, such as an assignment, asks for the name.
#[test]
fn own_topic_ids_lead_to_names() -> Result<()> {
    let world = World::get()?;
    let tenant = world.tenant("tracing")?;
    let outside = tenant.physical("outside");
    let mut ids = vec![("outside", ask::topic(&mut world.brokers(), &outside, 1)?)];
    ids.push(("inside", ask::topic(&mut tenant.root()?, "inside", 1)?));
    for (name, id) in ids {
        for version in 12..=13 {
            // Java's admin client sends an empty name.
            for (node, no_name) in [(1, json!(null)), (2, json!("")), (3, json!(null))] {
                let body = json!({
                    "Topics": [{ "TopicId": id, "Name": no_name }],
                    "AllowAutoTopicCreation": false,
                });
                let answer = tenant.root()?.ask(node, ApiKey::METADATA, version, &body)?;
                assert_eq!(
                    ask::texts(&answer["Topics"], "Name"),
                    [name],
                    "v{version}: {answer}"
                );
                assert_eq!(ask::texts(&answer["Topics"], "TopicId"), [id.as_str()]);
            }
        }
    }
    Ok(())
}
