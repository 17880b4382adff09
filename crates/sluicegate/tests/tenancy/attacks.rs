//! Ids, sessions and identities of others.

use serde_json::{Value, json};
use testkit::{Listener, Result, wait};
use wire::api::ApiKey;

use crate::ask::{self, Kind, code};
use crate::caller::Caller;
use crate::message::hex;
use crate::records::batch;
use crate::way::error_codes;
use crate::world::{Front, LIMIT, World};

/// A member id as clients draw it.
const MEMBER: &str = "QWxsIHlvdXIgbWVtYmVycw";

#[test]
fn topic_ids_of_others_are_unknown() -> Result<()> {
    let world = World::get()?;
    let (own, other) = (world.tenant("guessing")?, world.tenant("guessed")?);
    let id = ask::topic(&mut other.root()?, "orders", 1)?;
    ask::produce(&mut other.root()?, "orders", 2, "secret")?;
    let mut outside = world.passthrough().root()?;
    let named = ask::named(&[&other.physical("orders")]);
    let answer = outside.must(1, ApiKey::METADATA, 12, &named)?;
    assert_eq!(answer["Topics"][0]["TopicId"], *id, "the outside sees it");

    let mut root = own.root()?;
    ask::topic(&mut root, "own", 1)?;
    for version in 12..=13 {
        let body = json!({ "Topics": [{ "TopicId": id, "Name": null }] });
        let answer = root.ask(1, ApiKey::METADATA, version, &body)?;
        assert_eq!(
            ask::ints(&answer["Topics"], "ErrorCode"),
            [code::UNKNOWN_TOPIC_ID]
        );
        assert_eq!(ask::texts(&answer["Topics"], "Name"), ["<null>"]);
    }
    for version in 13..=17 {
        let answer = root.ask(1, ApiKey::FETCH, version, &fetching(&id))?;
        assert_eq!(
            partition_code(&answer["Responses"], "Partitions"),
            code::UNKNOWN_TOPIC_ID
        );
    }
    let body = json!({
        "Acks": -1,
        "TimeoutMs": 30_000,
        "TopicData": [{
            "TopicId": id,
            "PartitionData": [{ "Index": 0, "Records": hex(&batch(1, "forged")) }],
        }],
    });
    let answer = root.ask(1, ApiKey::PRODUCE, 13, &body)?;
    assert_eq!(
        partition_code(&answer["Responses"], "PartitionResponses"),
        code::UNKNOWN_TOPIC_ID
    );
    let body = json!({ "Topics": [{ "TopicId": id, "Name": null }], "TimeoutMs": 30_000 });
    let answer = root.ask(1, ApiKey::DELETE_TOPICS, 6, &body)?;
    assert_eq!(
        ask::ints(&answer["Responses"], "ErrorCode"),
        [code::UNKNOWN_TOPIC_ID]
    );
    assert_eq!(ask::texts(&answer["Responses"], "Name"), ["<null>"]);
    owning_in_a_group(&mut root, &id)?;
    acquiring(&mut root, &id)?;

    let mut theirs = other.root()?;
    assert_eq!(ask::topics(&mut theirs)?, ["orders"]);
    assert_eq!(ask::end(&mut theirs, 1, "orders", 0)?, Some(2));
    Ok(())
}

/// A member says that it owns partitions of the topic.
fn owning_in_a_group(root: &mut Caller, id: &str) -> Result<()> {
    let node = ask::coordinator(root, Kind::Group, "owners")?;
    let body = json!({
        "GroupId": "owners",
        "MemberId": MEMBER,
        "MemberEpoch": 0,
        "RebalanceTimeoutMs": 30_000,
        "SubscribedTopicNames": ["own"],
        "TopicPartitions": [{ "TopicId": id, "Partitions": [0] }],
    });
    for version in 0..=1 {
        let answer = root.ask(node, ApiKey::CONSUMER_GROUP_HEARTBEAT, version, &body)?;
        assert_eq!(answer["ErrorCode"], code::UNKNOWN_TOPIC_ID, "{answer}");
    }
    Ok(())
}

/// A share group acquires records of the topic.
fn acquiring(root: &mut Caller, id: &str) -> Result<()> {
    let body = json!({
        "GroupId": "sharers",
        "MemberId": MEMBER,
        "ShareSessionEpoch": 0,
        "MaxWaitMs": 0,
        "MinBytes": 1,
        "MaxBytes": 1 << 20,
        "MaxRecords": 10,
        "BatchSize": 10,
        "Topics": [{ "TopicId": id, "Partitions": [{ "PartitionIndex": 0 }] }],
    });
    let answer = root.ask(1, ApiKey::SHARE_FETCH, 1, &body)?;
    let codes = error_codes(ApiKey::SHARE_FETCH, &answer);
    assert!(codes.contains(&code::UNKNOWN_TOPIC_ID), "{answer}");
    assert!(!answer.to_string().contains(&hex(b"secret")), "{answer}");
    Ok(())
}

#[test]
fn fetch_sessions_of_others_are_not_found() -> Result<()> {
    let world = World::get()?;
    let (own, other) = (world.tenant("joining")?, world.tenant("fetching")?);
    let id = ask::topic(&mut other.root()?, "orders", 1)?;
    let mut theirs = other.root()?;
    let mut first = fetching(&id);
    first["SessionEpoch"] = 0.into();
    let answer = theirs.must(1, ApiKey::FETCH, 13, &first)?;
    let session = answer["SessionId"].clone();
    assert_ne!(session, 0, "a session: {answer}");
    let next = json!({ "MaxWaitMs": 0, "SessionId": session, "SessionEpoch": 1 });
    // Another virtual cluster, and another connection of the same.
    for caller in [&mut own.root()?, &mut other.root()?] {
        for version in 7..=17 {
            let answer = caller.ask(1, ApiKey::FETCH, version, &next)?;
            assert_eq!(
                answer["ErrorCode"],
                code::FETCH_SESSION_ID_NOT_FOUND,
                "v{version}"
            );
        }
        // Who ends it, or replaces it by a new one, has to be its owner, too.
        for epoch in [-1, 0] {
            let end = json!({ "MaxWaitMs": 0, "SessionId": session, "SessionEpoch": epoch });
            caller.ask(1, ApiKey::FETCH, 13, &end)?;
        }
    }
    // An empty answer, or the first one with what has come in since.
    ask::produce(&mut other.root()?, "orders", 1, "news")?;
    let mut epoch = 1;
    wait::until("the session to give a record", LIMIT, || {
        let body = json!({ "MaxWaitMs": 100, "SessionId": session, "SessionEpoch": epoch });
        let answer = theirs.must(1, ApiKey::FETCH, 13, &body)?;
        epoch += 1;
        assert_eq!(answer["SessionId"], session);
        let text = answer.to_string();
        Ok(text.contains(&hex(b"news")).then_some(()))
    })
}

#[test]
fn share_sessions_of_others_are_not_found() -> Result<()> {
    const SHARE_SESSION_NOT_FOUND: i64 = 122;
    const INVALID_REQUEST: i64 = 42;
    let world = World::get()?;
    let tenant = world.tenant("sharing")?;
    let mut first = tenant.root()?;
    let id = ask::topic(&mut first, "orders", 1)?;
    let body = |epoch: i64, topics: Value| {
        json!({
            "GroupId": "sharers",
            "MemberId": MEMBER,
            "ShareSessionEpoch": epoch,
            "MaxWaitMs": 0,
            "MinBytes": 1,
            "MaxBytes": 1 << 20,
            "MaxRecords": 10,
            "BatchSize": 10,
            "Topics": topics,
        })
    };
    let topics = json!([{ "TopicId": id, "Partitions": [{ "PartitionIndex": 0 }] }]);
    let ask = |caller: &mut Caller, body: &Value| {
        let answer = caller.ask(1, ApiKey::SHARE_FETCH, 1, body)?;
        Ok::<_, testkit::Error>(answer["ErrorCode"].clone())
    };
    assert_eq!(ask(&mut first, &body(0, topics))?, 0);
    let next = body(1, json!([]));
    let mut second = first.again();
    assert_eq!(ask(&mut second, &next)?, SHARE_SESSION_NOT_FOUND);
    assert_eq!(ask(&mut first, &next)?, 0, "it goes on for its owner");
    // A broker refuses a beginning with acknowledgements, and keeps the session of before, with topics that were looked at then.
    let acknowledged = json!([{ "FirstOffset": 0, "LastOffset": 0, "AcknowledgeTypes": [1] }]);
    let partition = json!({ "PartitionIndex": 0, "AcknowledgementBatches": acknowledged });
    let refused = body(0, json!([{ "TopicId": id, "Partitions": [partition] }]));
    assert_eq!(ask(&mut first, &refused)?, INVALID_REQUEST);
    let next = body(2, json!([]));
    assert_eq!(ask(&mut first, &next)?, SHARE_SESSION_NOT_FOUND);
    Ok(())
}

/// Requests of some hundred KB that name very many groups, all of them denied, sent without taking an answer. What they cost has an end,
/// in memory and in the log, and others are served meanwhile.
#[test]
fn swarms_of_names_cost_little() -> Result<()> {
    const NAMES: usize = 140_000;
    const REQUESTS: usize = 40;
    const MIB: u64 = 1 << 20;
    let world = World::get()?;
    let options = world.gateway_options(Listener::Plaintext);
    let budget = (16 * MIB).to_string();
    let front = Front::start(options.env("GATEWAY_MAX_BUFFERED_BYTES", &budget))?;
    let tenant = world.guarded("swarming")?;
    tenant.account("nobody")?;
    let tenant = tenant.at(&front);
    let before = front.resident_bytes();
    let keys = vec!["x"; NAMES];
    for (api, version, body) in [
        (
            ApiKey::FIND_COORDINATOR,
            4,
            json!({ "KeyType": 0, "CoordinatorKeys": keys }),
        ),
        (ApiKey::DESCRIBE_GROUPS, 5, json!({ "Groups": keys })),
        (ApiKey::DELETE_GROUPS, 2, json!({ "GroupsNames": keys })),
    ] {
        let mut swarm = tenant.caller("nobody")?;
        let taken = (0..REQUESTS)
            .take_while(|_| swarm.send_only(1, api, version, &body).is_ok())
            .count();
        assert!(taken < REQUESTS, "the gateway keeps all that is not taken");
        let mut root = tenant.root()?;
        assert!(ask::topics(&mut root)?.is_empty(), "others are served");
    }
    let peak = front.peak_resident_bytes() - before;
    assert!(peak < 256 * MIB, "{} MiB", peak / MIB);
    let denials = front.log().matches("denied").count();
    assert!(denials < NAMES, "{denials} denials are in the log");
    println!("{} MiB at most, {denials} lines", peak / MIB);
    Ok(())
}

#[test]
fn nobody_is_a_replica() -> Result<()> {
    let world = World::get()?;
    let tenant = world.tenant("following")?;
    let mut root = tenant.root()?;
    let id = ask::topic(&mut root, "orders", 1)?;
    ask::produce(&mut root, "orders", 2, "seen")?;
    for version in 4..=17 {
        let mut body = fetching(&id);
        match version {
            4..15 => body["ReplicaId"] = 1.into(),
            _ => body["ReplicaState"] = json!({ "ReplicaId": 1, "ReplicaEpoch": 1 }),
        }
        refused(
            &root.ask(1, ApiKey::FETCH, version, &body)?,
            ApiKey::FETCH,
            version,
        );
    }
    for version in 1..=10 {
        let answer = root.ask(1, ApiKey::LIST_OFFSETS, version, &listing(1))?;
        refused(&answer, ApiKey::LIST_OFFSETS, version);
    }
    for version in 3..=4 {
        let answer = root.ask(1, ApiKey::OFFSET_FOR_LEADER_EPOCH, version, &epochs(1))?;
        refused(&answer, ApiKey::OFFSET_FOR_LEADER_EPOCH, version);
        // What some write when they mean nobody.
        let answer = root.ask(1, ApiKey::OFFSET_FOR_LEADER_EPOCH, version, &epochs(-2))?;
        let partition = &answer["Topics"][0]["Partitions"][0];
        assert_eq!(partition["ErrorCode"], 0, "{answer}");
        assert_eq!(partition["EndOffset"], 2, "{answer}");
    }
    Ok(())
}

fn refused(answer: &Value, api: ApiKey, version: i16) {
    let codes = error_codes(api, answer);
    assert!(
        codes.contains(&code::CLUSTER_AUTHORIZATION_FAILED) || answer.is_null(),
        "{api} v{version}: {answer}"
    );
    assert!(
        !answer.to_string().contains(&hex(b"seen")),
        "{api} v{version}: {answer}"
    );
}

fn listing(replica: i32) -> Value {
    json!({
        "ReplicaId": replica,
        "Topics": [{ "Name": "orders", "Partitions": [{ "PartitionIndex": 0, "Timestamp": -1 }] }],
    })
}

fn epochs(replica: i32) -> Value {
    json!({
        "ReplicaId": replica,
        "Topics": [{
            "Topic": "orders",
            "Partitions": [{ "Partition": 0, "CurrentLeaderEpoch": -1, "LeaderEpoch": 0 }],
        }],
    })
}

/// A fetch of partition 0 of `orders` from its beginning, by name or id, without session.
fn fetching(id: &str) -> Value {
    json!({
        "MaxWaitMs": 0,
        "SessionId": 0,
        "SessionEpoch": -1,
        "Topics": [{
            "Topic": "orders",
            "TopicId": id,
            "Partitions": [{ "Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1 << 20 }],
        }],
    })
}

fn partition_code(topics: &Value, partitions: &str) -> i64 {
    topics[0][partitions][0]["ErrorCode"].as_i64().unwrap_or(-1)
}
