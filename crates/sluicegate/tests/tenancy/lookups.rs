//! Somebody who asks for what takes long to look up: unknown topic ids, large subscriptions, monstrous regular expressions.
//!
//! Brokers of its own, so that their CPU time is that of these requests, and a gateway with one worker. While one virtual cluster attacks, how
//! long requests of another take is compared with before. The figures that are printed are those in `docs/limits.md`; the variable
//! `SLUICEGATE_TEST_ATTACK` is a factor.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::raw::{RawClient, Request};
use testkit::{ClusterOptions, Error, KafkaCluster, Listener, Release, Result};
use wire::api::{ApiKey, Direction};

use crate::ask::{self, Kind, code};
use crate::caller::Caller;
use crate::message;
use crate::stop::Stop;
use crate::world::{Front, Tenant, fresh_name, gateway_options};

const MIB: u64 = 1 << 20;

/// Requests of the innocent that are timed.
const TIMED: usize = 200;

/// Two brokers, each in a rack of its own, and a gateway.
pub(crate) struct Lookups {
    cluster: KafkaCluster,
    pub(crate) front: Front,
    /// Held by a test: they are about what others notice.
    pub(crate) alone: Mutex<()>,
}

impl Lookups {
    pub(crate) fn get() -> Result<&'static Lookups> {
        static LOOKUPS: OnceLock<Result<Lookups, String>> = OnceLock::new();
        LOOKUPS
            .get_or_init(|| Lookups::start().map_err(|error| error.to_string()))
            .as_ref()
            .map_err(|error| Error::Violated(error.clone()))
    }

    fn start() -> Result<Lookups> {
        let selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
        let options = ClusterOptions::new(Release::V4_3)
            .node_ids(&[1, 2])
            .racks()
            .property("replica.selector.class", selector);
        let cluster = KafkaCluster::start_with(options)?;
        let options = gateway_options(&cluster.bootstrap(Listener::Plaintext))
            .env("GATEWAY_UPSTREAM_THREAD", "1")
            .env("GATEWAY_DOWNSTREAM_THREAD", "1");
        Ok(Lookups {
            front: Front::start(options)?,
            cluster,
            alone: Mutex::default(),
        })
    }

    pub(crate) fn tenant(&'static self, label: &str, spec: Value) -> Result<Tenant<'static>> {
        self.front.tenant(&fresh_name(label), spec)
    }

    /// CPU time that the brokers have taken, hundredths of a second.
    fn broker_ticks(&self) -> u64 {
        let ticks = |pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
            let ticks = |field: usize| fields.get(field).and_then(|ticks| ticks.parse().ok());
            ticks(11).unwrap_or(0_u64) + ticks(12).unwrap_or(0)
        };
        self.cluster.pids().into_values().map(ticks).sum()
    }
}

/// How much larger than everyday an attack is.
fn factor() -> usize {
    let set = std::env::var("SLUICEGATE_TEST_ATTACK").ok();
    set.and_then(|number| number.parse().ok()).unwrap_or(1)
}

/// Ids that no topic has and nobody has asked for before.
fn unknown_ids(count: usize) -> Vec<String> {
    static DRAWN: AtomicU64 = AtomicU64::new(1);
    let first = DRAWN.fetch_add(count as u64, Ordering::Relaxed);
    let ids = (first..first + count as u64).map(|number| {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        format!("{mixed:016x}{:016x}", mixed.rotate_left(17) ^ number)
    });
    ids.collect()
}

/// A body that fetches from topics by their ids.
fn fetching(ids: &[String]) -> Vec<u8> {
    let topics = ids.iter().map(|id| {
        let partition = json!({ "Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1 << 20 });
        json!({ "TopicId": id, "Partitions": [partition] })
    });
    let topics: Vec<Value> = topics.collect();
    let body = json!({ "MaxWaitMs": 0, "SessionId": 0, "SessionEpoch": -1, "Topics": topics });
    message::encode(ApiKey::FETCH, 13, Direction::Request, &body)
}

fn call(client: &mut RawClient, api: ApiKey, version: i16, body: &[u8]) -> Result<Vec<u8>> {
    client.call(Request {
        api: api.0,
        version,
        flexible: true,
        client_id: "lookups",
        body,
    })
}

/// How long a request of the innocent takes, the slowest of a hundred left out.
fn p99(innocent: &mut Caller) -> Result<Duration> {
    let mut times = Vec::new();
    for _ in 0..TIMED {
        let begun = Instant::now();
        ask::produce(innocent, "orders", 1, "value")?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times[TIMED - 1 - TIMED / 100])
}

/// Compares the innocent's times while so many others attack with those before.
fn stays_well(
    what: &str,
    attackers: usize,
    attack: impl Fn(usize, &AtomicBool) -> Result<()> + Sync,
) -> Result<()> {
    let innocent = Lookups::get()?.tenant("innocent", json!({}))?;
    let mut innocent = innocent.root()?;
    ask::topic(&mut innocent, "orders", 1)?;
    p99(&mut innocent)?;
    let before = p99(&mut innocent)?;
    let stop = Stop::default();
    let during = thread::scope(|scope| {
        let _guard = stop.on_drop();
        let attackers: Vec<_> = (0..attackers)
            .map(|number| {
                let (attack, stop) = (&attack, stop.flag());
                scope.spawn(move || attack(number, stop))
            })
            .collect();
        let during = p99(&mut innocent)?;
        stop.now();
        for attacker in attackers {
            let ended = attacker.join();
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        Ok::<_, Error>(during)
    })?;
    println!("{what}: p99 of an innocent producer {before:?} before and {during:?} during");
    // The machine is busy with the attackers, too, who are on it.
    let bound = before * 20 + Duration::from_millis(400);
    assert!(during < bound, "{what}: {before:?} became {during:?}");
    Ok(())
}

/// An id that Kafka does not know costs it about what it costs without a gateway.
#[test]
fn unknown_topic_ids_cost_what_they_cost_without_a_gateway() -> Result<()> {
    const IDS: usize = 2000;
    const ROUNDS: usize = 3;
    let lookups = Lookups::get()?;
    let _alone = lookups.alone.lock().unwrap_or_else(PoisonError::into_inner);
    let mut direct = Caller::new(lookups.cluster.addresses(Listener::Plaintext), None);
    let mut tenant = lookups.tenant("inventing", json!({}))?.root()?;
    let guarded = json!({ "aclEnabled": true, "aclMode": "KAFKA_API", "superUsers": ["nobody"] });
    let mut denied = lookups.tenant("denied", guarded)?.root()?;
    let ticks = |caller: &mut Caller| {
        let client = caller.client(1)?;
        let requests: Vec<_> = (0..ROUNDS).map(|_| fetching(&unknown_ids(IDS))).collect();
        call(client, ApiKey::FETCH, 13, &requests[0])?;
        let before = lookups.broker_ticks();
        for request in &requests {
            call(client, ApiKey::FETCH, 13, request)?;
        }
        Ok::<_, Error>(lookups.broker_ticks() - before)
    };
    let without = ticks(&mut direct)?;
    for (who, caller) in [
        ("a tenant", &mut tenant),
        ("one without rights", &mut denied),
    ] {
        let with = ticks(caller)?;
        println!(
            "{ROUNDS} x {IDS} unknown ids: {} ms of broker CPU direct, {} ms by {who}",
            without * 10,
            with * 10
        );
        assert!(
            with <= 10 * without + 200,
            "{who}: {with} ticks for {without}"
        );
    }
    Ok(())
}

#[test]
fn swarms_of_unknown_topic_ids_disturb_nobody() -> Result<()> {
    let lookups = Lookups::get()?;
    let _alone = lookups.alone.lock().unwrap_or_else(PoisonError::into_inner);
    let tenant = lookups.tenant("swarming", json!({}))?;
    let ids = 1000 * factor();
    let before = lookups.broker_ticks();
    stays_well(&format!("8 x {ids} unknown ids"), 8, |_, stop| {
        let mut root = tenant.root()?;
        let client = root.client(1)?;
        while !stop.load(Ordering::Relaxed) {
            call(client, ApiKey::FETCH, 13, &fetching(&unknown_ids(ids)))?;
        }
        Ok(())
    })?;
    println!(
        "{} ms of broker CPU",
        (lookups.broker_ticks() - before) * 10
    );
    // What is new is found at once all the same.
    let mut root = tenant.root()?;
    let id = ask::topic(&mut root, "new", 1)?;
    let mut ids = unknown_ids(2 * ids);
    ids.push(id.clone());
    for ids in [&ids[ids.len() - 1..], &ids[..]] {
        let answer = call(root.client(1)?, ApiKey::FETCH, 13, &fetching(ids))?;
        let answer = message::decode(ApiKey::FETCH, 13, Direction::Response, &answer[1..]);
        let answer = answer.map_err(Error::Answer)?;
        let topics = answer["Responses"].as_array().into_iter().flatten();
        let mut found = topics.filter(|topic| topic["TopicId"] == *id);
        let partition = found
            .next()
            .map(|topic| &topic["Partitions"][0]["ErrorCode"]);
        assert_eq!(partition, Some(&json!(0)), "one of {}", ids.len());
    }
    Ok(())
}

/// A heartbeat with which a member joins.
fn joining(member: &str, names: Value, pattern: Value) -> Value {
    json!({
        "GroupId": "readers",
        "MemberId": member,
        "MemberEpoch": 0,
        "RebalanceTimeoutMs": 30_000,
        "SubscribedTopicNames": names,
        "SubscribedTopicRegex": pattern,
        "TopicPartitions": [],
    })
}

/// What is remembered of subscriptions is little, whether the member may subscribe or not.
#[test]
fn large_subscriptions_are_not_remembered() -> Result<()> {
    const MEMBERS: usize = 32;
    const HEARTBEAT: ApiKey = ApiKey::CONSUMER_GROUP_HEARTBEAT;
    let lookups = Lookups::get()?;
    let _alone = lookups.alone.lock().unwrap_or_else(PoisonError::into_inner);
    let guarded = json!({ "aclEnabled": true, "aclMode": "KAFKA_API", "superUsers": ["nobody"] });
    let names: Vec<String> = (0..10_000).map(|number| format!("{number:0240}")).collect();
    for (who, spec) in [("a tenant", json!({})), ("one without rights", guarded)] {
        let tenant = lookups.tenant("subscribing", spec)?;
        let subscribe = |root: &mut Caller, member: usize| {
            let member = format!("member-{member}");
            let body = joining(&member, json!(names), Value::Null);
            let body = message::encode(HEARTBEAT, 1, Direction::Request, &body);
            call(root.client(1)?, HEARTBEAT, 1, &body).map(drop)
        };
        // What requests of this size take anyway.
        let mut first = tenant.root()?;
        for _ in 0..4 {
            subscribe(&mut first, 0)?;
        }
        let before = lookups.front.resident_bytes();
        let mut connections = Vec::new();
        for _ in 0..factor() {
            let mut root = tenant.root()?;
            for member in 0..MEMBERS {
                subscribe(&mut root, member)?;
            }
            connections.push(root);
        }
        let grown = lookups.front.resident_bytes().saturating_sub(before) / MIB;
        println!(
            "{MEMBERS} subscriptions on each of {} connections of {who}: {grown} MiB",
            factor()
        );
        assert!(grown < 32, "{who}: {grown} MiB");
    }
    Ok(())
}

/// An expression whose automaton has more states than anybody can hold. Another one each time.
fn monstrous(count: usize) -> String {
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    let number = DRAWN.fetch_add(1, Ordering::Relaxed);
    let parts: Vec<String> = (0..count)
        .map(|part| format!("[ab]*a[ab]{{{}}}", 100 + part % 20))
        .collect();
    format!("x{number}|{}", parts.join("|"))
}

/// A name of this length of two letters, as if drawn.
fn name_of_two_letters(number: usize, len: usize) -> String {
    let mut state = number as u64 + 1;
    let letters = (0..len).map(|_| {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        if state >> 63 == 0 { 'a' } else { 'b' }
    });
    letters.collect()
}

#[test]
fn monstrous_expressions_are_refused_and_disturb_nobody() -> Result<()> {
    const HEARTBEAT: ApiKey = ApiKey::CONSUMER_GROUP_HEARTBEAT;
    let lookups = Lookups::get()?;
    let _alone = lookups.alone.lock().unwrap_or_else(PoisonError::into_inner);
    let tenant = lookups.tenant("matching", json!({}))?;
    let mut root = tenant.root()?;
    let topics = 50 * factor();
    for first in (0..topics).step_by(50) {
        let of = |number: usize| {
            ask::creation(&name_of_two_letters(number, 230), 1)["Topics"][0].clone()
        };
        let topics: Vec<Value> = (first..first + 50).map(of).collect();
        let body = json!({ "Topics": topics, "timeoutMs": 60_000 });
        root.must(1, ApiKey::CREATE_TOPICS, 7, &body)?;
    }
    let node = ask::coordinator(&mut root, Kind::Group, "readers")?;
    // One transactional id is as long as that of many topics.
    let id = name_of_two_letters(7, 10_000);
    let (transactions, ..) = ask::init_producer(&mut root, &id)?;
    for count in [1, 4, 150] {
        let body = joining("reader", Value::Null, json!(monstrous(count)));
        let answer = root.ask(node, HEARTBEAT, 1, &body)?;
        assert_eq!(
            answer["ErrorCode"],
            code::INVALID_REGULAR_EXPRESSION,
            "{answer}"
        );
        let body = json!({ "TransactionalIdPattern": monstrous(count) });
        let answer = root.ask(transactions, ApiKey::LIST_TRANSACTIONS, 2, &body)?;
        assert_eq!(
            answer["ErrorCode"],
            code::INVALID_REGULAR_EXPRESSION,
            "{answer}"
        );
    }
    let found = ask::transactional_ids_of(&mut root, transactions, json!("[ab]+"))?;
    assert_eq!(found, [id]);
    let begun = AtomicU64::new(0);
    stays_well(
        "regular expressions on 33 connections",
        33,
        |number, stop| {
            let mut root = tenant.root()?;
            while !stop.load(Ordering::Relaxed) {
                begun.fetch_add(1, Ordering::Relaxed);
                match number % 3 {
                    0 => {
                        let body = json!({ "TransactionalIdPattern": monstrous(4) });
                        root.ask(transactions, ApiKey::LIST_TRANSACTIONS, 2, &body)?;
                    }
                    _ => {
                        let body = joining(
                            "reader",
                            Value::Null,
                            json!(monstrous([4, 150][number % 2])),
                        );
                        root.ask(node, HEARTBEAT, 1, &body)?;
                    }
                }
            }
            Ok(())
        },
    )?;
    println!("{} expressions over {topics} topics", begun.into_inner());
    Ok(())
}
