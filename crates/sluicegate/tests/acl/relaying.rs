//! With logins and rights left to the brokers: what the gateway hides and refuses all the same.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::{Result, shared, wait};
use wire::api::ApiKey;

use crate::message::hex;
use crate::principals::{FULL, NONE, PART, ROOT, SEER};
use crate::records::batch;
use crate::world::{Clients, LIMIT, World, any_binding, count, relaying};

const UNKNOWN_TOPIC_OR_PARTITION: i64 = 3;
const TOPIC_AUTHORIZATION_FAILED: i64 = 29;
const GROUP_AUTHORIZATION_FAILED: i64 = 30;

/// Whoever the brokers let do everything, because there is no authorizer or because of who it is, could read and write what the gateway
/// keeps in Kafka.
#[test]
fn the_gateways_own_topics_are_nobodys() -> Result<()> {
    let world = World::get()?;
    let id = shared::unique("relaying");
    let (_process, way) = relaying(world, &id)?;
    let (mut direct, mut root) = (world.direct.clients(ROOT), way.clients(ROOT));
    let all = topics(&mut direct)?;
    let (own, others): (BTreeMap<_, _>, BTreeMap<_, _>) = all
        .into_iter()
        .partition(|(name, _)| name.starts_with(&format!("_conduktor_{id}_")));
    assert!(own.len() >= 5, "{own:?}");
    let seen = topics(&mut root)?;
    assert!(own.keys().all(|name| !seen.contains_key(name)), "{seen:?}");
    assert!(
        others.keys().all(|name| seen.contains_key(name)),
        "{seen:?}"
    );

    let denied = TOPIC_AUTHORIZATION_FAILED;
    for (name, id) in &own {
        let named = json!({ "Topics": [{ "Name": name }], "AllowAutoTopicCreation": false });
        let answer = root.ask(1, ApiKey::METADATA, 12, &named)?;
        assert_eq!(answer["Topics"][0]["ErrorCode"], denied, "{answer}");
        let answer = root.ask(
            1,
            ApiKey::METADATA,
            12,
            &json!({ "Topics": [{ "TopicId": id }] }),
        )?;
        assert_eq!(answer["Topics"][0]["ErrorCode"], denied, "{answer}");
        for version in [3, 9, 13] {
            let answer = root.ask(1, ApiKey::PRODUCE, version, &production(name, id))?;
            let partition = &answer["Responses"][0]["PartitionResponses"][0];
            assert_eq!(partition["ErrorCode"], denied, "v{version}: {answer}");
        }
        for version in [4, 12, 13, 17] {
            let answer = root.ask(1, ApiKey::FETCH, version, &fetch(name, id))?;
            let partition = &answer["Responses"][0]["Partitions"][0];
            assert_eq!(partition["ErrorCode"], denied, "v{version}: {answer}");
        }
        let body = json!({ "Topics": [{ "TopicId": id }], "TimeoutMs": 1000 });
        let answer = root.ask(1, ApiKey::DELETE_TOPICS, 6, &body)?;
        assert_eq!(answer["Responses"][0]["ErrorCode"], denied, "{answer}");
    }
    let member = json!({ "GroupId": format!("conduktor_{id}"), "MemberId": "", "Protocols": [] });
    let answer = root.ask(1, ApiKey::JOIN_GROUP, 5, &member)?;
    assert_eq!(answer["ErrorCode"], GROUP_AUTHORIZATION_FAILED, "{answer}");
    Ok(())
}

#[test]
fn topics_do_not_come_into_being_by_being_asked_for() -> Result<()> {
    let world = World::get()?;
    let (_process, way) = relaying(world, &shared::unique("relaying"))?;
    let (mut direct, mut root) = (world.direct.clients(ROOT), way.clients(ROOT));
    let ask_for = |clients: &mut Clients<'_>, version, name: &str| {
        let body = json!({ "Topics": [{ "Name": name }], "AllowAutoTopicCreation": true });
        clients.ask(1, ApiKey::METADATA, version, &body)
    };
    let label = shared::unique("asked-for");
    for version in [0, 3, 4, 12] {
        let answer = ask_for(&mut root, version, &format!("{label}-{version}"))?;
        let code = &answer["Topics"][0]["ErrorCode"];
        assert_eq!(*code, UNKNOWN_TOPIC_OR_PARTITION, "v{version}: {answer}");
    }
    // Brokers create topics by and by, in the order in which they were asked for.
    let last = format!("{label}-last");
    wait::until("a topic that a broker creates", LIMIT, || {
        ask_for(&mut direct, 12, &last)?;
        Ok(topics(&mut direct)?.remove(&last).map(drop))
    })?;
    let all = topics(&mut direct)?;
    let created: Vec<_> = all.keys().filter(|name| name.starts_with(&label)).collect();
    assert_eq!(created, [&last]);
    Ok(())
}

/// Rights, what is said of them, and lists are the brokers'.
#[test]
fn everything_else_is_as_the_brokers_say() -> Result<()> {
    let world = World::get()?;
    let (_process, way) = relaying(world, &shared::unique("relaying"))?;
    let id = &world.state.ids[crate::principals::LITERAL];
    let name = crate::principals::LITERAL;
    let described = json!({
        "Topics": [{ "Name": name }], "AllowAutoTopicCreation": false,
        "IncludeTopicAuthorizedOperations": true, "IncludeClusterAuthorizedOperations": true,
    });
    let cluster = json!({ "IncludeClusterAuthorizedOperations": true });
    let group = json!({ "Groups": [name], "IncludeAuthorizedOperations": true });
    let pages = json!({ "Topics": [{ "Name": name }], "ResponsePartitionLimit": 100 });
    for user in [ROOT, FULL, PART, SEER, NONE] {
        let (mut direct, mut relayed) = (world.direct.clients(user), way.clients(user));
        let mut same = |api, version, body: &Value, part: fn(&Value) -> Value| -> Result<()> {
            let answers = [
                direct.ask(1, api, version, body)?,
                relayed.ask(1, api, version, body)?,
            ];
            let [expected, got] = answers.each_ref().map(part);
            assert_eq!(got, expected, "{user}: {api} v{version}: {answers:?}");
            Ok(())
        };
        let operations: fn(&Value) -> Value = |answer| {
            let topic = &answer["Topics"][0];
            json!([
                topic["TopicAuthorizedOperations"],
                topic["ErrorCode"],
                answer["ClusterAuthorizedOperations"],
            ])
        };
        same(ApiKey::METADATA, 10, &described, operations)?;
        same(ApiKey::DESCRIBE_TOPIC_PARTITIONS, 0, &pages, operations)?;
        same(ApiKey::DESCRIBE_CLUSTER, 1, &cluster, |answer| {
            answer["ClusterAuthorizedOperations"].clone()
        })?;
        same(ApiKey::DESCRIBE_GROUPS, 5, &group, |answer| {
            json!([
                answer["Groups"][0]["AuthorizedOperations"],
                answer["Groups"][0]["ErrorCode"]
            ])
        })?;
        // By names and by ids, which the gateway does not look up.
        for version in [12, 13, 17] {
            same(ApiKey::FETCH, version, &fetch(name, id), |answer| {
                let partition = &answer["Responses"][0]["Partitions"][0];
                json!([partition["ErrorCode"], partition["Records"]])
            })?;
        }
        same(ApiKey::DESCRIBE_ACLS, 3, &any_binding(), |answer| {
            json!([answer["ErrorCode"], count(answer)])
        })?;
    }
    Ok(())
}

/// Names and ids of all topics.
fn topics(clients: &mut Clients<'_>) -> Result<BTreeMap<String, String>> {
    let body = json!({ "Topics": null, "AllowAutoTopicCreation": false });
    let answer = clients.must(1, ApiKey::METADATA, 12, &body)?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let topics = answer["Topics"].as_array().into_iter().flatten();
    Ok(topics
        .filter_map(|topic| Some((text(&topic["Name"])?, text(&topic["TopicId"])?)))
        .collect())
}

fn production(name: &str, id: &str) -> Value {
    let records = hex(&batch(1, "one"));
    json!({
        "Acks": -1,
        "TimeoutMs": 30_000,
        "TopicData": [{
            "Name": name, "TopicId": id,
            "PartitionData": [{ "Index": 0, "Records": records }],
        }],
    })
}

fn fetch(name: &str, id: &str) -> Value {
    json!({
        "ReplicaId": -1, "MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": 1 << 20, "SessionEpoch": -1,
        "Topics": [{
            "Topic": name, "TopicId": id,
            "Partitions": [{
                "Partition": 0, "CurrentLeaderEpoch": -1, "FetchOffset": 0, "LastFetchedEpoch": -1,
                "LogStartOffset": -1, "PartitionMaxBytes": 1 << 20,
            }],
        }],
    })
}
