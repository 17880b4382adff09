//! Access control inside a virtual cluster.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use testkit::raw::{RawClient, Request};
use testkit::{JavaTool, Release, Result, Tool, wait};
use wire::api::{ApiKey, Direction};

use crate::ask::{self, Kind, code};
use crate::caller::Caller;
use crate::message::{encode, hex};
use crate::records::batch;
use crate::stop::Stop;
use crate::world::{LIMIT, ROOT, Tenant, World, fresh_name};

const TOPIC: i8 = 2;
const GROUP: i8 = 3;
const CLUSTER: i8 = 4;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const ALL: i8 = 2;
const READ: i8 = 3;
const WRITE: i8 = 4;
const CREATE: i8 = 5;
const DESCRIBE: i8 = 8;
const ALLOW: i8 = 3;
const DENY: i8 = 2;

/// A binding for the user `clerk`.
fn binding(kind: i8, name: &str, pattern: i8, operation: i8, permission: i8) -> Value {
    json!({
        "ResourceType": kind,
        "ResourceName": name,
        "ResourcePatternType": pattern,
        "Principal": "User:clerk",
        "Host": "*",
        "Operation": operation,
        "PermissionType": permission,
    })
}

fn allow(root: &mut Caller, bindings: &[Value]) -> Result<()> {
    root.must(1, ApiKey::CREATE_ACLS, 3, &json!({ "Creations": bindings }))
        .map(drop)
}

/// Takes all rights away from the user `clerk`.
fn withdraw(root: &mut Caller) -> Result<()> {
    let filter = json!({
        "ResourceTypeFilter": 1, "PatternTypeFilter": 1, "Operation": 1, "PermissionType": 1,
        "ResourceNameFilter": null, "HostFilter": null, "PrincipalFilter": "User:clerk",
    });
    root.must(1, ApiKey::DELETE_ACLS, 3, &json!({ "Filters": [filter] }))
        .map(drop)
}

fn production_code(caller: &mut Caller, topic: &str) -> Result<i64> {
    let body = ask::production(topic, 0, &batch(1, "one"));
    let answer = caller.ask(1, ApiKey::PRODUCE, 9, &body)?;
    let answered = &answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"];
    Ok(answered.as_i64().unwrap_or(-1))
}

fn fetch_code(caller: &mut Caller, topic: &str) -> Result<i64> {
    Ok(fetch_codes(caller, &[topic])?
        .first()
        .copied()
        .unwrap_or(-1))
}

/// The code of each topic that has another one than the topics before it.
fn fetch_codes(caller: &mut Caller, topics: &[&str]) -> Result<Vec<i64>> {
    let topic = |topic: &&str| {
        json!({
            "Topic": topic,
            "Partitions": [{ "Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1 << 20 }],
        })
    };
    let body = json!({
        "MaxWaitMs": 0,
        "SessionEpoch": -1,
        "Topics": topics.iter().map(topic).collect::<Vec<_>>(),
    });
    let answer = caller.ask(1, ApiKey::FETCH, 12, &body)?;
    let answered = answer["Responses"].as_array().into_iter().flatten();
    let mut codes: Vec<i64> = answered
        .filter_map(|topic| topic["Partitions"][0]["ErrorCode"].as_i64())
        .collect();
    codes.dedup();
    Ok(codes)
}

fn coordinator_code(caller: &mut Caller, kind: Kind, key: &str) -> Result<i64> {
    let body = json!({ "KeyType": kind as i8, "CoordinatorKeys": [key] });
    let answer = caller.ask(1, ApiKey::FIND_COORDINATOR, 4, &body)?;
    let answered = &answer["Coordinators"][0]["ErrorCode"];
    Ok(answered.as_i64().unwrap_or(-1))
}

#[test]
fn lists_open_and_close() -> Result<()> {
    let world = World::get()?;
    let tenant = world.guarded("walking")?;
    tenant.account("clerk")?;
    let (mut root, mut clerk) = (tenant.root()?, tenant.caller("clerk")?);
    for topic in ["orders", "outlets", "secrets"] {
        ask::topic(&mut root, topic, 1)?;
    }
    ask::commit(&mut root, "app-readers", "orders", 0)?;

    // Nothing is allowed.
    assert_eq!(ask::topics(&mut clerk)?, Vec::<String>::new());
    assert_eq!(ask::groups(&mut clerk)?, Vec::<String>::new());
    assert_eq!(
        ask::lookup(&mut clerk, &["orders"])?,
        [code::TOPIC_AUTHORIZATION_FAILED]
    );
    assert_eq!(
        production_code(&mut clerk, "orders")?,
        code::TOPIC_AUTHORIZATION_FAILED
    );
    assert_eq!(
        fetch_code(&mut clerk, "orders")?,
        code::TOPIC_AUTHORIZATION_FAILED
    );
    assert_eq!(
        ask::create(&mut clerk, "made", 1)?,
        code::TOPIC_AUTHORIZATION_FAILED
    );
    let body = json!({ "TransactionalId": null, "TransactionTimeoutMs": 60_000 });
    let answer = clerk.ask(1, ApiKey::INIT_PRODUCER_ID, 4, &body)?;
    assert_eq!(
        answer["ErrorCode"],
        code::CLUSTER_AUTHORIZATION_FAILED,
        "idempotent producer"
    );
    assert_eq!(
        coordinator_code(&mut clerk, Kind::Group, "app-readers")?,
        code::GROUP_AUTHORIZATION_FAILED
    );
    assert_eq!(
        coordinator_code(&mut clerk, Kind::Transaction, "app")?,
        code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    );

    // Reading.
    allow(
        &mut root,
        &[
            binding(TOPIC, "orders", LITERAL, READ, ALLOW),
            binding(GROUP, "app-", PREFIXED, READ, ALLOW),
        ],
    )?;
    assert_eq!(ask::topics(&mut clerk)?, ["orders"]);
    assert_eq!(ask::groups(&mut clerk)?, ["app-readers"]);
    assert_eq!(fetch_code(&mut clerk, "orders")?, 0);
    assert_eq!(ask::committed(&mut clerk, "app-readers", "orders")?, 0);
    assert_eq!(
        production_code(&mut clerk, "orders")?,
        code::TOPIC_AUTHORIZATION_FAILED
    );

    // Writing, by prefix; nothing is allowed where something is denied.
    allow(&mut root, &[binding(TOPIC, "o", PREFIXED, WRITE, ALLOW)])?;
    assert_eq!(production_code(&mut clerk, "outlets")?, 0);
    assert_eq!(
        production_code(&mut clerk, "secrets")?,
        code::TOPIC_AUTHORIZATION_FAILED
    );
    allow(
        &mut root,
        &[binding(TOPIC, "outlets", LITERAL, WRITE, DENY)],
    )?;
    assert_eq!(
        production_code(&mut clerk, "outlets")?,
        code::TOPIC_AUTHORIZATION_FAILED
    );
    assert_eq!(production_code(&mut root, "outlets")?, 0, "a super user");

    // Creating: on the topic, or on the cluster.
    allow(
        &mut root,
        &[binding(TOPIC, "made", PREFIXED, CREATE, ALLOW)],
    )?;
    assert_eq!(ask::create(&mut clerk, "made-by-name", 1)?, 0);
    assert_eq!(
        ask::create(&mut clerk, "other", 1)?,
        code::TOPIC_AUTHORIZATION_FAILED
    );
    allow(
        &mut root,
        &[binding(CLUSTER, "kafka-cluster", LITERAL, CREATE, ALLOW)],
    )?;
    assert_eq!(ask::create(&mut clerk, "other", 1)?, 0);

    // Everything.
    allow(&mut root, &[binding(TOPIC, "*", LITERAL, ALL, ALLOW)])?;
    assert_eq!(production_code(&mut clerk, "secrets")?, 0);
    assert_eq!(
        production_code(&mut clerk, "outlets")?,
        code::TOPIC_AUTHORIZATION_FAILED
    );

    // A user of that name elsewhere has gained nothing.
    let other = world.guarded("strolling")?;
    other.account("clerk")?;
    ask::topic(&mut other.root()?, "orders", 1)?;
    assert_eq!(
        ask::topics(&mut other.caller("clerk")?)?,
        Vec::<String>::new()
    );
    Ok(())
}

/// Requests that wait for records when the right to read them is taken away give none, however many there are. Changes of others'
/// rights are no matter.
#[test]
fn requests_on_their_way_lose_the_right_to_read() -> Result<()> {
    const REQUESTS: usize = 20;
    let world = World::get()?;
    let tenant = world.guarded("withdrawn")?;
    tenant.account("clerk")?;
    let mut root = tenant.root()?;
    let right = || binding(TOPIC, "orders", LITERAL, READ, ALLOW);
    let others = || {
        let mut binding = right();
        binding["Principal"] = "User:other".into();
        binding
    };
    let id = ask::topic(&mut root, "orders", 1)?;
    // By name, which is another one in Kafka, and by id.
    for version in [4, 6, 12, 13, 17] {
        for withdrawn in [false, true] {
            allow(&mut root, &[right()])?;
            let mut clerk = tenant.caller("clerk")?;
            let end = ask::end(&mut root, 1, "orders", 0)?;
            let fetch = json!({
                "MaxWaitMs": 60_000, "MinBytes": 1, "MaxBytes": 1 << 20, "SessionEpoch": -1,
                "ReplicaId": -1,
                "Topics": [{
                    "Topic": "orders", "TopicId": id,
                    "Partitions": [{
                        "Partition": 0, "FetchOffset": end, "PartitionMaxBytes": 1 << 20,
                        "CurrentLeaderEpoch": -1, "LastFetchedEpoch": -1, "LogStartOffset": -1,
                    }],
                }],
            });
            for _ in 0..REQUESTS {
                clerk.send_only(1, ApiKey::FETCH, version, &fetch)?;
            }
            let what = format!("v{version}, withdrawn: {withdrawn}");
            match withdrawn {
                true => withdraw(&mut root)?,
                false => allow(&mut root, &[others()])?,
            }
            ask::produce(&mut root, "orders", 1, "secret")?;
            for request in 0..REQUESTS {
                let answer = clerk.receive(1, ApiKey::FETCH, version)?;
                assert_eq!(
                    has_records(&answer),
                    !withdrawn,
                    "{what}, {request}: {answer}"
                );
                if withdrawn && version >= 7 {
                    assert_eq!(answer["ErrorCode"], code::FETCH_SESSION_ID_NOT_FOUND);
                }
            }
            let after = fetch_code(&mut clerk, "orders")?;
            assert_eq!(
                after == code::TOPIC_AUTHORIZATION_FAILED,
                withdrawn,
                "{what}"
            );
        }
    }
    Ok(())
}

/// A fetch session whose topics were judged by other lists is not gone on with, even if an answer in it comes after another one was begun.
#[test]
fn a_session_of_before_is_not_gone_on_with() -> Result<()> {
    let world = World::get()?;
    let tenant = world.guarded("session")?;
    tenant.account("clerk")?;
    let mut root = tenant.root()?;
    let id = ask::topic(&mut root, "orders", 1)?;
    for version in [12, 13] {
        allow(&mut root, &[binding(TOPIC, "orders", LITERAL, READ, ALLOW)])?;
        let mut clerk = tenant.caller("clerk")?;
        let end = ask::end(&mut root, 1, "orders", 0)?;
        let topics = json!([{
            "Topic": "orders", "TopicId": id,
            "Partitions": [{
                "Partition": 0, "FetchOffset": end, "PartitionMaxBytes": 1 << 20,
                "CurrentLeaderEpoch": -1, "LastFetchedEpoch": -1, "LogStartOffset": -1,
            }],
        }]);
        let fetch = |wait: i32, session: i64, epoch: i32, topics: &Value| {
            json!({
                "MaxWaitMs": wait, "MinBytes": 1, "MaxBytes": 1 << 20, "ReplicaId": -1,
                "SessionId": session, "SessionEpoch": epoch, "Topics": topics,
            })
        };
        let begun = clerk.must(1, ApiKey::FETCH, version, &fetch(0, 0, 0, &topics))?;
        let session = begun["SessionId"].as_i64().unwrap_or_default();
        assert_ne!(session, 0, "{begun}");
        let nothing = json!([]);
        let goes_on = fetch(60_000, session, 1, &nothing);
        clerk.send_only(1, ApiKey::FETCH, version, &goes_on)?;
        withdraw(&mut root)?;
        // The gateway answers this one itself, when the one before it is answered.
        clerk.send_only(1, ApiKey::FETCH, version, &fetch(0, 0, 0, &topics))?;
        ask::produce(&mut root, "orders", 1, "secret")?;
        for _ in 0..2 {
            let answer = clerk.receive(1, ApiKey::FETCH, version)?;
            assert!(!has_records(&answer), "v{version}: {answer}");
        }
        let goes_on = fetch(1000, session, 2, &nothing);
        let answer = clerk.ask(1, ApiKey::FETCH, version, &goes_on)?;
        assert_eq!(
            answer["ErrorCode"],
            code::FETCH_SESSION_ID_NOT_FOUND,
            "v{version}: {answer}"
        );
        assert!(!has_records(&answer), "v{version}: {answer}");
    }
    Ok(())
}

fn has_records(answer: &Value) -> bool {
    let records = &answer["Responses"][0]["Partitions"][0]["Records"];
    records.as_str().is_some_and(|records| !records.is_empty())
}

/// Whoever has others' records crowded out of the log could hide what they do.
#[test]
fn a_flood_hides_no_denial_and_no_failed_login_of_others() -> Result<()> {
    const TOPICS: usize = 500;
    const LOGINS: usize = 150;
    let world = World::get()?;
    let (noisy, quiet) = (world.guarded("noisy")?, world.guarded("quiet")?);
    noisy.account("clerk")?;
    quiet.account("clerk")?;
    let mut loud = noisy.caller("clerk")?;
    let mut one = quiet.caller("clerk")?;
    let (secret, forger) = (fresh_name("secret"), fresh_name("forger"));
    let stop = Stop::default();
    let lines = |words: &[&str]| {
        let log = world.front.log();
        let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
        log.lines().filter(has_all).count()
    };
    std::thread::scope(|scope| {
        let _stop = stop.on_drop();
        let denials = scope.spawn(|| -> Result<()> {
            let names: Vec<String> = (0..TOPICS).map(|n| format!("made-up-{n}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            while !stop.flag().load(Ordering::Relaxed) {
                fetch_codes(&mut loud, &names)?;
            }
            Ok(())
        });
        let logins = scope.spawn(|| -> Result<()> {
            while !stop.flag().load(Ordering::Relaxed) {
                let mut open = Vec::new();
                for _ in 0..LOGINS {
                    open.push(guess(&world.front.doors[&1], "mallory")?);
                }
                for client in &mut open {
                    client.is_closed_by_peer();
                }
            }
            Ok(())
        });
        let clerk = ["principal=User:clerk", "operation=READ"];
        let of = |tenant: &Tenant| format!("vcluster={}", tenant.name);
        wait::until_true("the flood to be counted", LIMIT, || {
            lines(&[clerk[0], clerk[1], &of(&noisy), "suppressed="]) > 0
                && lines(&["user=mallory", "suppressed="]) > 0
        })?;
        let codes = fetch_codes(&mut one, &[&secret])?;
        assert_eq!(codes, [code::TOPIC_AUTHORIZATION_FAILED]);
        guess(&world.front.doors[&2], &forger)?.is_closed_by_peer();
        wait::until_true("what others do to be recorded", LIMIT, || {
            lines(&[clerk[0], clerk[1], &of(&quiet), &secret]) == 1
                && lines(&["outcome=wrong_credentials", &forger]) == 1
        })?;
        stop.now();
        denials.join().expect("no panic")?;
        logins.join().expect("no panic")
    })
}

/// A login with a wrong password, the answer to which is on its way.
fn guess(door: &str, user: &str) -> Result<RawClient> {
    let mut client = RawClient::connect(door)?;
    let secret = hex(format!("\0{user}\0wrong").as_bytes());
    for (api, body) in [
        (ApiKey::SASL_HANDSHAKE, json!({ "Mechanism": "PLAIN" })),
        (ApiKey::SASL_AUTHENTICATE, json!({ "AuthBytes": secret })),
    ] {
        client.send(Request {
            api: api.0,
            version: 1,
            flexible: false,
            client_id: "tenancy",
            body: &encode(api, 1, Direction::Request, &body),
        })?;
    }
    client.receive()?;
    Ok(client)
}

#[test]
fn lists_of_others_are_not_shown() -> Result<()> {
    let world = World::get()?;
    let (own, other) = (world.guarded("listing")?, world.guarded("listed")?);
    allow(
        &mut own.root()?,
        &[binding(TOPIC, "orders", LITERAL, READ, ALLOW)],
    )?;
    allow(
        &mut other.root()?,
        &[binding(TOPIC, "marked", LITERAL, READ, ALLOW)],
    )?;
    let mut tool = JavaTool::new(Tool::Acls, Release::V4_3, &own.bootstrap()).args(&["--list"]);
    for (key, value) in own.access()?.java_settings() {
        tool = tool.config(&key, &value);
    }
    let listed = tool.run(LIMIT)?.join("\n");
    assert!(
        listed.contains("name=orders") && listed.contains("User:clerk"),
        "{listed}"
    );
    for word in ["marked", &own.name, &other.name] {
        assert!(!listed.contains(word), "{word} in {listed}");
    }
    let any = json!({
        "ResourceTypeFilter": 1, "PatternTypeFilter": 1, "Operation": 1, "PermissionType": 1,
        "ResourceNameFilter": null, "PrincipalFilter": null, "HostFilter": null,
    });
    let outside = world
        .passthrough()
        .root()?
        .must(1, ApiKey::DESCRIBE_ACLS, 3, &any)?;
    assert_eq!(
        outside["Resources"],
        json!([]),
        "those of virtual clusters stay there"
    );
    let removed = own
        .root()?
        .must(1, ApiKey::DELETE_ACLS, 3, &json!({ "Filters": [any] }))?;
    let matching = removed["FilterResults"][0]["MatchingAcls"]
        .as_array()
        .map(Vec::len);
    assert_eq!(matching, Some(1), "{removed}");
    let left = other.root()?.must(1, ApiKey::DESCRIBE_ACLS, 3, &any)?;
    assert_eq!(ask::texts(&left["Resources"], "ResourceName"), ["marked"]);
    Ok(())
}

#[test]
fn declared_lists_replace_each_other() -> Result<()> {
    let world = World::get()?;
    let name = fresh_name("declared");
    let api = &world.front.api;
    let declare = |topics: &[&str]| {
        let acls: Vec<Value> = topics
            .iter()
            .map(|topic| {
                json!({
                    "resourcePattern": {
                        "resourceType": "TOPIC", "name": topic, "patternType": "LITERAL",
                    },
                    "principal": "User:root",
                    "host": "*",
                    "operation": "ALL",
                    "permissionType": "ALLOW",
                })
            })
            .chain([json!({
                "resourcePattern": {
                    "resourceType": "CLUSTER", "name": "kafka-cluster", "patternType": "LITERAL",
                },
                "principal": ROOT,
                "host": "*",
                "operation": "DESCRIBE",
                "permissionType": "ALLOW",
            })])
            .collect();
        api.virtual_cluster(
            &name,
            json!({ "aclEnabled": true, "aclMode": "REST_API", "acls": acls }),
        )
    };
    declare(&["orders"])?;
    let tenant = world.front.tenant_as_it_is(&name)?;
    let mut root = tenant.root()?;
    let create = |root: &mut Caller, topic: &str| ask::create(root, topic, 1);
    assert_eq!(create(&mut root, "orders")?, 0);
    assert_eq!(
        create(&mut root, "outlets")?,
        code::TOPIC_AUTHORIZATION_FAILED
    );
    declare(&["outlets"])?;
    assert_eq!(create(&mut root, "outlets")?, 0);
    wait::until_true("the first list to be gone", LIMIT, || {
        ask::topics(&mut root).is_ok_and(|topics| topics == ["outlets"])
    })?;

    let creation = json!({ "Creations": [binding(TOPIC, "orders", LITERAL, DESCRIBE, ALLOW)] });
    let answer = root.ask(1, ApiKey::CREATE_ACLS, 3, &creation)?;
    let codes = ask::ints(&answer["Results"], "ErrorCode");
    assert_eq!(codes, [code::CLUSTER_AUTHORIZATION_FAILED], "{answer}");
    let any = json!({
        "ResourceTypeFilter": 1, "PatternTypeFilter": 1, "Operation": 1, "PermissionType": 1,
        "ResourceNameFilter": null, "PrincipalFilter": null, "HostFilter": null,
    });
    let answer = root.ask(1, ApiKey::DELETE_ACLS, 3, &json!({ "Filters": [any] }))?;
    let codes = ask::ints(&answer["FilterResults"], "ErrorCode");
    assert_eq!(codes, [code::CLUSTER_AUTHORIZATION_FAILED], "{answer}");
    let answer = root.must(1, ApiKey::DESCRIBE_ACLS, 3, &any)?;
    assert_eq!(
        answer["Resources"].as_array().map(Vec::len),
        Some(2),
        "{answer}"
    );

    let spec = json!({ "aclEnabled": true, "aclMode": "KAFKA_API", "superUsers": [ROOT] });
    let (status, answer) = api.put("VirtualCluster", json!({ "name": name }), spec)?;
    assert_eq!(status, 409, "{answer}");
    Ok(())
}

/// Bits that say which operations are allowed are of the user, not of the gateway.
#[test]
fn allowed_operations_are_the_users() -> Result<()> {
    let world = World::get()?;
    let tenant = world.guarded("bits")?;
    tenant.account("clerk")?;
    let (mut root, mut clerk) = (tenant.root()?, tenant.caller("clerk")?);
    ask::topic(&mut root, "orders", 1)?;
    ask::commit(&mut root, "classic", "orders", 0)?;
    let node = members(&mut root)?;
    allow(
        &mut root,
        &[
            binding(TOPIC, "orders", LITERAL, READ, ALLOW),
            binding(GROUP, "*", LITERAL, DESCRIBE, ALLOW),
            binding(CLUSTER, "kafka-cluster", LITERAL, DESCRIBE, ALLOW),
        ],
    )?;
    let bits = |operations: &[i8]| -> i64 { operations.iter().map(|bit| 1 << bit).sum() };
    // Reading implies describing.
    let topic = bits(&[READ, DESCRIBE]);
    let (group, cluster) = (bits(&[DESCRIBE]), bits(&[DESCRIBE]));
    let named = |mut body: Value| {
        body["IncludeTopicAuthorizedOperations"] = true.into();
        body
    };
    for version in 8..=13 {
        let body = named(ask::named(&["orders"]));
        let answer = clerk.must(1, ApiKey::METADATA, version, &body)?;
        assert_eq!(
            ask::ints(&answer["Topics"], "TopicAuthorizedOperations"),
            [topic],
            "v{version}"
        );
    }
    for version in 8..=10 {
        let mut body = ask::named(&["orders"]);
        body["IncludeClusterAuthorizedOperations"] = true.into();
        let answer = clerk.must(1, ApiKey::METADATA, version, &body)?;
        assert_eq!(answer["ClusterAuthorizedOperations"], cluster, "v{version}");
    }
    let body = json!({ "IncludeClusterAuthorizedOperations": true });
    let answer = clerk.must(1, ApiKey::DESCRIBE_CLUSTER, 1, &body)?;
    assert_eq!(answer["ClusterAuthorizedOperations"], cluster);
    let body = json!({ "Topics": [{ "Name": "orders" }] });
    let answer = clerk.must(1, ApiKey::DESCRIBE_TOPIC_PARTITIONS, 0, &body)?;
    assert_eq!(
        ask::ints(&answer["Topics"], "TopicAuthorizedOperations"),
        [topic]
    );
    for (api, version, list, id, at) in [
        (
            ApiKey::DESCRIBE_GROUPS,
            6,
            "Groups",
            "classic",
            coordinator_of(&mut root, "classic")?,
        ),
        (
            ApiKey::CONSUMER_GROUP_DESCRIBE,
            1,
            "GroupIds",
            "modern",
            node,
        ),
        (
            ApiKey::SHARE_GROUP_DESCRIBE,
            1,
            "GroupIds",
            "shared",
            coordinator_of(&mut root, "shared")?,
        ),
    ] {
        let mut body = json!({ "IncludeAuthorizedOperations": true });
        body[list] = json!([id]);
        let answer = clerk.ask(at, api, version, &body)?;
        assert_eq!(
            ask::ints(&answer["Groups"], "AuthorizedOperations"),
            [group],
            "{api}: {answer}"
        );
    }
    Ok(())
}

fn coordinator_of(caller: &mut Caller, group: &str) -> Result<i32> {
    ask::coordinator(caller, Kind::Group, group)
}

/// One group each of the consumer protocol and of sharers; gives the coordinator of the first.
fn members(root: &mut Caller) -> Result<i32> {
    const MEMBER: &str = "QWxsIHlvdXIgbWVtYmVycw";
    let body = |group: &str| {
        json!({
            "GroupId": group,
            "MemberId": MEMBER,
            "MemberEpoch": 0,
            "RebalanceTimeoutMs": 30_000,
            "SubscribedTopicNames": ["orders"],
            "TopicPartitions": [],
        })
    };
    let node = coordinator_of(root, "modern")?;
    root.must(node, ApiKey::CONSUMER_GROUP_HEARTBEAT, 1, &body("modern"))?;
    let mut sharer = body("shared");
    for field in ["RebalanceTimeoutMs", "TopicPartitions"] {
        sharer.as_object_mut().and_then(|body| body.remove(field));
    }
    let at = coordinator_of(root, "shared")?;
    root.must(at, ApiKey::SHARE_GROUP_HEARTBEAT, 1, &sharer)?;
    Ok(node)
}

/// All topics and all offsets: what may be described, without an error for the rest.
#[test]
fn everything_means_what_one_may_see() -> Result<()> {
    let world = World::get()?;
    let tenant: Tenant<'_> = world.guarded("partial")?;
    tenant.account("clerk")?;
    let (mut root, mut clerk) = (tenant.root()?, tenant.caller("clerk")?);
    for topic in ["orders", "secrets"] {
        ask::topic(&mut root, topic, 1)?;
        ask::commit(&mut root, "readers", topic, 1)?;
    }
    allow(
        &mut root,
        &[
            binding(TOPIC, "orders", LITERAL, DESCRIBE, ALLOW),
            binding(GROUP, "readers", LITERAL, DESCRIBE, ALLOW),
        ],
    )?;
    let node = coordinator_of(&mut clerk, "readers")?;
    let answer = clerk.must(
        node,
        ApiKey::OFFSET_FETCH,
        7,
        &json!({ "GroupId": "readers", "Topics": null }),
    )?;
    assert_eq!(ask::texts(&answer["Topics"], "Name"), ["orders"]);
    let body = json!({ "Groups": [
        { "GroupId": "readers", "Topics": null },
        { "GroupId": "others", "Topics": null },
    ] });
    let answer = clerk.ask(node, ApiKey::OFFSET_FETCH, 8, &body)?;
    assert_eq!(
        ask::ints(&answer["Groups"], "ErrorCode"),
        [0, code::GROUP_AUTHORIZATION_FAILED]
    );
    let answer = clerk.must(
        1,
        ApiKey::DESCRIBE_TOPIC_PARTITIONS,
        0,
        &json!({ "Topics": [] }),
    )?;
    assert_eq!(ask::texts(&answer["Topics"], "Name"), ["orders"]);
    assert!(!answer.to_string().contains(&hex(b"secrets")));
    Ok(())
}
