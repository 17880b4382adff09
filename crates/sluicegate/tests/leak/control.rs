//! What Kafka itself says is found by the same search: proof that the search works.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::{Error, Result};
use wire::api::{ApiKey, Direction};

use crate::fixtures::LEADER;
use crate::line::{Client, Heard, read, request};
use crate::message;
use crate::names::{GROUPS, SIMPLE, TOPIC};
use crate::search::Sent;
use crate::world::World;

#[test]
fn the_search_finds_what_kafka_says_itself() {
    let world = World::get();
    let mut client = world.direct();
    let mut found = BTreeSet::new();
    for (node, api, version, body) in questions(world) {
        let heard = ask(world, &mut client, node, api, version, &body);
        found.extend(heard.unwrap_or_else(|error| panic!("{error}")));
    }
    let missed: Vec<&str> = world
        .markers
        .all()
        .into_iter()
        .filter(|marker| !found.contains(*marker))
        .collect();
    assert!(
        missed.is_empty(),
        "not found in Kafka's answers: {missed:#?}"
    );
    for what in [
        "the cluster id",
        "the address",
        "LogDir",
        "a name as Kafka has it",
    ] {
        let is_found = found.iter().any(|found| found.starts_with(what));
        assert!(
            is_found,
            "{what} was not found in Kafka's answers: {found:#?}"
        );
    }
}

/// What is found in one answer.
fn ask(
    world: &World,
    client: &mut Client,
    node: i32,
    api: ApiKey,
    version: i16,
    body: &Value,
) -> Result<BTreeSet<String>> {
    let bytes = message::encode(api, version, Direction::Request, body);
    let line = client.line(node)?;
    let Heard::Answer(answer) = line.exchange(request(api, version, "control", &bytes), true)?
    else {
        return Err(Error::Answer(format!("none to {api} v{version}")));
    };
    let mut found = world.markers.search(&answer, &Sent::default());
    let fields = read(api, version, &answer)?;
    found.extend(world.markers.search_fields(api, &fields));
    Ok(found)
}

/// Questions whose answers tell everything.
fn questions(world: &World) -> Vec<(i32, ApiKey, i16, Value)> {
    let mut questions = vec![
        (1, ApiKey::METADATA, 12, json!({ "Topics": null })),
        (1, ApiKey::DESCRIBE_LOG_DIRS, 4, json!({ "Topics": null })),
    ];
    for node in 1..=3 {
        let resources = json!([{ "ResourceType": 4, "ResourceName": node.to_string() }]);
        questions.push((
            node,
            ApiKey::DESCRIBE_CONFIGS,
            4,
            json!({ "Resources": resources }),
        ));
        questions.push((node, ApiKey::LIST_GROUPS, 5, json!({})));
        questions.push((node, ApiKey::LIST_TRANSACTIONS, 1, json!({})));
    }
    for owner in world.names.others() {
        for word in owner.words() {
            let topic = owner.physical(word, TOPIC);
            let groups = GROUPS.map(|kind| owner.physical(word, kind));
            let node = world.coordinators.groups;
            let body = json!({ "Groups": groups });
            questions.push((node, ApiKey::DESCRIBE_GROUPS, 5, body));
            let body = json!({
                "Groups": [{ "GroupId": owner.physical(word, SIMPLE), "Topics": null }],
            });
            questions.push((node, ApiKey::OFFSET_FETCH, 8, body));
            for (partition, timestamp) in [(0, -3), (1, -1)] {
                let body = json!({
                    "ReplicaId": -1,
                    "Topics": [{
                        "Name": topic,
                        "Partitions": [{ "PartitionIndex": partition, "Timestamp": timestamp }],
                    }],
                });
                questions.push((LEADER, ApiKey::LIST_OFFSETS, 7, body));
            }
            let body = json!({
                "MaxWaitMs": 1,
                "Topics": [{
                    "Topic": topic,
                    "Partitions": [{ "Partition": 0, "PartitionMaxBytes": 1 << 20 }],
                }],
            });
            questions.push((LEADER, ApiKey::FETCH, 11, body));
        }
    }
    questions
}
