//! Names that one client makes up, in great numbers: none of them becomes a series.
//!
//! `SLUICEGATE_TEST_NAMES` is how many topics, groups and users: 2000 of each if unset. `SLUICEGATE_TEST_BROKER_HEAP` is the heap of each broker; see
//! `docs/proofs.md`.

use std::collections::BTreeSet;
use std::thread;

use serde_json::{Value, json};
use testkit::raw::{RawClient, Request};
use testkit::{Error, Result};
use wire::api::ApiKey;

use crate::identities::{account, login_to, token};
use crate::records::batch;
use crate::topics::{call, fetch, produce};
use crate::world::{BROKER, Front, METADATA, world};

const THREADS: usize = 4;

/// Topics in one request.
const AT_ONCE: usize = 500;

const USER: &str = "names-app";

/// The series of a scrape, and how many bytes the gateway holds.
fn look(front: &Front) -> Result<(BTreeSet<String>, u64)> {
    let scrape = front.scrape()?;
    let series = scrape.series().map(str::to_owned).collect();
    Ok((series, front.gateway.resident_bytes()))
}

/// Everything that can be asked about topics that there are not.
fn topics(client: &mut RawClient, names: &[String]) -> Result<()> {
    let nil = Value::Null;
    let records = batch(1, "x");
    let each = |topic: &dyn Fn(&str) -> Value| -> Vec<Value> {
        names.iter().map(|name| topic(name)).collect()
    };
    let mut message = produce("", &nil, 9, 1, &records);
    message["TopicData"] = json!(each(&|name| {
        produce(name, &nil, 9, 1, &records)["TopicData"][0].clone()
    }));
    call(client, ApiKey::PRODUCE, 9, &message)?;
    let mut message = fetch("", &nil, 4, 0);
    message["Topics"] = json!(each(&|name| fetch(name, &nil, 4, 0)["Topics"][0].clone()));
    call(client, ApiKey::FETCH, 4, &message)?;
    let partition = json!([{"PartitionIndex": 0, "Timestamp": -1}]);
    let wanted = each(&|name| json!({"Name": name, "Partitions": partition}));
    let message = json!({"ReplicaId": -1, "IsolationLevel": 0, "Topics": wanted});
    call(client, ApiKey::LIST_OFFSETS, 5, &message)?;
    let wanted = each(&|name| json!({"Name": name}));
    let message = json!({"Topics": wanted, "AllowAutoTopicCreation": false});
    call(client, ApiKey::METADATA, 9, &message)?;
    let message = json!({"TopicNames": names, "TimeoutMs": 30_000});
    call(client, ApiKey::DELETE_TOPICS, 5, &message)?;
    Ok(())
}

/// The same by an id.
fn topic_id(client: &mut RawClient, number: usize) -> Result<()> {
    let id = json!(format!("{:032x}", number + 1));
    call(client, ApiKey::FETCH, 13, &fetch("", &id, 13, 0))?;
    let message = produce("", &id, 13, 1, &batch(1, "x"));
    call(client, ApiKey::PRODUCE, 13, &message)?;
    Ok(())
}

/// Groups that have committed nothing, and topics that there are not.
fn group(client: &mut RawClient, name: &str) -> Result<()> {
    let committed = json!({"PartitionIndex": 0, "CommittedOffset": 7});
    let commit = json!({"GroupId": name, "Topics": [{"Name": name, "Partitions": [committed]}]});
    call(client, ApiKey::OFFSET_COMMIT, 8, &commit)?;
    let asked = json!({"GroupId": name, "Topics": [{"Name": name, "PartitionIndexes": [0]}]});
    call(client, ApiKey::OFFSET_FETCH, 7, &asked)?;
    let beat = json!({"GroupId": name, "GenerationId": 1, "MemberId": name});
    call(client, ApiKey::HEARTBEAT, 3, &beat)?;
    Ok(())
}

/// Everybody calls itself something else.
fn user(front: &Front, name: &str) -> Result<()> {
    let (_, welcome) = login_to(front, BROKER, name, "made-up")?;
    assert!(!welcome, "{name}");
    let mut client = front.connect()?;
    let length = u16::try_from(name.len()).map_err(|e| Error::Answer(e.to_string()))?;
    let mut body = length.to_be_bytes().to_vec();
    body.extend(name.as_bytes());
    // A mechanism of that name.
    client.call(Request {
        api: 17,
        version: 1,
        client_id: name,
        body: &body,
        ..METADATA
    })?;
    Ok(())
}

/// `count` names of each kind from number `from` on.
fn make_up(front: &Front, password: &str, from: usize, count: usize) -> Result<()> {
    let names: Vec<String> = (from..from + count)
        .map(|n| format!("made-up-{n}"))
        .collect();
    let share = count.div_ceil(THREADS);
    thread::scope(|scope| {
        let parts = names.chunks(share).enumerate().map(|(part, names)| {
            scope.spawn(move || -> Result<()> {
                let (mut client, welcome) = login_to(front, BROKER, USER, password)?;
                assert!(welcome);
                for some in names.chunks(AT_ONCE) {
                    topics(&mut client, some)?;
                }
                // Each of these makes the gateway ask Kafka.
                for number in 0..names.len().div_ceil(100) {
                    topic_id(&mut client, from + part * share + number)?;
                }
                for name in names {
                    group(&mut client, name)?;
                    user(front, name)?;
                }
                Ok(())
            })
        });
        let parts: Vec<_> = parts.collect();
        parts
            .into_iter()
            .try_for_each(|part| part.join().expect("no panic"))
    })
}

#[test]
fn made_up_names_are_no_series() -> Result<()> {
    let count = std::env::var("SLUICEGATE_TEST_NAMES");
    let count = count.map_or(2000, |text| text.parse().expect("a number of names"));
    let world = world()?;
    let front = world.secured_front(&[
        ("GATEWAY_METRICS_OFFSET_POLL_MS", "500"),
        // Those that other tests have left in Kafka are real.
        ("GATEWAY_METRICS_GROUP_ALLOW", "made-up-.*"),
        // Kafka itself says that there are no such topics.
        ("GATEWAY_ACL_ENABLED", "false"),
        ("GATEWAY_CONNECTION_FAILED_AUTHENTICATION_DELAY_MS", "0"),
    ])?;
    account(&front, "passthrough", USER)?;
    let token = token(&front, "passthrough", USER)?;
    // Every kind of request, and of error, has been seen once.
    make_up(&front, &token, 0, 4 * THREADS)?;
    let at_rest = |scrape: &crate::scrape::Scrape| {
        scrape.get("gateway_upstream_connections_downstream") == 0.0
            && scrape.sum("gateway_current_inflight_apiKeys", &[]) == 0.0
    };
    front.eventually("rest", at_rest)?;
    let (before, held) = look(&front)?;
    make_up(&front, &token, 1_000_000, count)?;
    front.eventually("rest", at_rest)?;
    let (after, holds) = look(&front)?;
    println!(
        "{count} names of each kind: {} series before, {} after; {} and {} KiB resident",
        before.len(),
        after.len(),
        held >> 10,
        holds >> 10
    );
    let new: Vec<_> = after
        .difference(&before)
        .filter(|series| !series.contains("\"<unknown>\"") && !series.contains("\"<other>\""))
        .collect();
    assert!(new.is_empty(), "{} series: {:?}", new.len(), new.first());
    assert!(!after.iter().any(|series| series.contains("made-up")));
    Ok(())
}
