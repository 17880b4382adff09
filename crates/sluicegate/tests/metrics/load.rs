//! Very many topics, groups and users: caps, sums, memory, and what scrapes cost those who work meanwhile.
//!
//! | variable | if unset | full proof |
//! | --- | --- | --- |
//! | `SLUICEGATE_TEST_LOAD_TOPICS`: topics; 3 groups for 100 of them, a user for 10 | 300 | 10000 |
//! | `SLUICEGATE_TEST_SCRAPE_ROUNDS`: pairs of 10 s with and without a scrape every second | 0 | 6 |
//! | `SLUICEGATE_TEST_CHURN_NAMES`: topics and groups that come and go | 120 | 6000 |
//! | `SLUICEGATE_TEST_CHURN_PACE`: how many of them a minute | no pause | 100 |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::raw::{self, RawClient};
use testkit::{Error, Listener, Result, shared, wait};
use wire::api::ApiKey;

use crate::identities::{account, login_to, token};
use crate::records::batch;
use crate::requests::assert_invariants;
use crate::scrape::Scrape;
use crate::topics::{
    BYTES, DOWN, ENDS, FOLDED, UP, assert_part_of_all, bytes, call, fetch, id, produce,
};
use crate::world::{BROKER, Front, LIMIT, UNKNOWN_VERSION, World, world};

const COMMITS: &str = "gateway_topic_current_offset";
const BY_USER: &str = "gateway_current_inflight_apiKeys_total";
const SERIES: &str = "gateway_metrics_series";
const BROKERS: usize = 3;
const THREADS: usize = 6;
/// Topics of one user, which one broker leads.
const EACH: usize = 10;

fn number(variable: &str, default: usize) -> usize {
    let text = std::env::var(variable);
    text.map_or(default, |text| text.parse().expect("a number"))
}

fn broker(index: usize) -> i32 {
    BROKER + i32::try_from(index % BROKERS).unwrap_or_default()
}

/// Creates topics of one partition and one replica, each with the broker that leads it.
fn create(client: &mut RawClient, topics: &[(String, i32)]) -> Result<()> {
    for some in topics.chunks(250) {
        let topic = |(name, leader): &(String, i32)| {
            let assigned = json!([{"PartitionIndex": 0, "BrokerIds": [leader]}]);
            json!({"Name": name, "NumPartitions": -1, "ReplicationFactor": -1, "Assignments": assigned})
        };
        let topics: Vec<Value> = some.iter().map(topic).collect();
        let message = json!({"Topics": topics, "timeoutMs": 60_000});
        let answer = call(client, ApiKey::CREATE_TOPICS, 4, &message)?;
        assert_none(&answer["Topics"], some.len());
    }
    Ok(())
}

/// So many results, and no error in them.
fn assert_none(results: &Value, count: usize) {
    let results = results.as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!(results.len(), count);
    let wrong = results.iter().find(|result| result["ErrorCode"] != 0);
    assert!(wrong.is_none(), "{wrong:?}");
}

/// Waits until every broker knows the topics that begin with `label`.
fn wait_known(world: &World, label: &str, count: usize) -> Result<()> {
    for address in world.cluster.addresses(Listener::Plaintext).values() {
        wait::until_true("all topics to be known", 10 * LIMIT, || {
            let is_known = raw::metadata(address).is_ok_and(|view| {
                let of_label = |p: &&raw::PartitionView| p.topic.starts_with(label) && p.leader > 0;
                view.partitions.iter().filter(of_label).count() == count
            });
            if !is_known {
                // The answer is long: brokers have better things to do.
                thread::sleep(Duration::from_millis(count as u64 / 5));
            }
            is_known
        })?;
    }
    Ok(())
}

/// Sends a batch to each topic until it is taken; gives the bytes of records that were sent to Kafka, by topic.
fn fill(client: &mut RawClient, topics: &[&str], size: usize) -> Result<Vec<u64>> {
    const NOT_LEADER: i64 = 6;
    const UNKNOWN: i64 = 3;
    let mut sent = vec![0; topics.len()];
    let mut left: Vec<usize> = (0..topics.len()).collect();
    let records = |at: usize| batch(1, &"x".repeat(size + at));
    wait::until("all to be taken", LIMIT, || {
        let mut message = produce("", &Value::Null, 9, 1, &[]);
        let data = |at: &usize| {
            produce(topics[*at], &Value::Null, 9, 1, &records(*at))["TopicData"][0].clone()
        };
        message["TopicData"] = json!(left.iter().map(data).collect::<Vec<_>>());
        let answer = match call(client, ApiKey::PRODUCE, 9, &message) {
            Ok(answer) => answer,
            // The connection is of no use any more.
            Err(error) => return Ok(Some(Err(error))),
        };
        let error = |at: usize| -> i64 {
            let results = answer["Responses"]
                .as_array()
                .map_or(&[][..], Vec::as_slice);
            let of_topic = results.iter().find(|result| result["Name"] == topics[at]);
            let code = of_topic.map(|result| &result["PartitionResponses"][0]["ErrorCode"]);
            code.and_then(Value::as_i64).unwrap_or(-1)
        };
        left.retain(|at| {
            let code = error(*at);
            assert!([0, NOT_LEADER, UNKNOWN].contains(&code), "{answer}");
            if code != UNKNOWN {
                sent[*at] += records(*at).len() as u64;
            }
            code != 0
        });
        Ok(left.is_empty().then_some(Ok(())))
    })??;
    Ok(sent)
}

/// Reads topics from the beginning; gives the bytes of records.
fn drain(client: &mut RawClient, topics: &[&str]) -> Result<u64> {
    let mut message = fetch("", &Value::Null, 4, 0);
    let wanted = |name: &&str| fetch(name, &Value::Null, 4, 0)["Topics"][0].clone();
    message["Topics"] = json!(topics.iter().map(wanted).collect::<Vec<_>>());
    let answer = call(client, ApiKey::FETCH, 4, &message)?;
    let results = answer["Responses"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let records = results
        .iter()
        .map(|topic| &topic["Partitions"][0]["Records"]);
    Ok(records
        .map(|text| text.as_str().map_or(0, |text| text.len() as u64 / 2))
        .sum())
}

/// Commits offset 1 of all these topics.
fn commit(clients: &mut [RawClient], group: &str, topics: &[&str]) -> Result<()> {
    let partition = json!([{"PartitionIndex": 0, "CommittedOffset": 1}]);
    let topic = |name: &&str| json!({"Name": name, "Partitions": partition});
    let all = json!(topics.iter().map(topic).collect::<Vec<_>>());
    let message = json!({"GroupId": group, "GenerationIdOrMemberEpoch": -1, "Topics": all});
    wait::until("the commit", LIMIT, || {
        let at = coordinator(clients, group)?;
        let answer = call(&mut clients[at], ApiKey::OFFSET_COMMIT, 8, &message)?;
        let results = answer["Topics"].as_array().map_or(&[][..], Vec::as_slice);
        let is_done = |topic: &Value| topic["Partitions"][0]["ErrorCode"] == 0;
        Ok((results.len() == topics.len() && results.iter().all(is_done)).then_some(()))
    })
}

/// Which of the clients, one for each broker, speaks to the coordinator of a group.
fn coordinator(clients: &mut [RawClient], group: &str) -> Result<usize> {
    let find = json!({"Key": group, "KeyType": 0});
    let found = call(&mut clients[0], ApiKey::FIND_COORDINATOR, 3, &find)?;
    match (found["ErrorCode"].as_i64(), found["NodeId"].as_i64()) {
        (Some(0), Some(node)) => Ok((node - i64::from(BROKER)) as usize),
        _ => Err(Error::Answer(found.to_string())),
    }
}

/// The values of a label.
fn values(scrape: &Scrape, name: &str, label: &str) -> BTreeSet<String> {
    let (name, label) = (format!("{name}{{"), format!("{label}=\""));
    let of_name = scrape.series().filter(|series| series.starts_with(&name));
    let value = |series: &str| -> Option<String> {
        let (_, rest) = series.split_once(&label)?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    of_name.filter_map(value).collect()
}

/// A gateway with everybody logged in, and what they did.
struct Load<'w> {
    world: &'w World,
    front: Front,
    label: String,
    topics: Vec<(String, i32)>,
    users: Vec<(String, String)>,
    clients: Vec<RawClient>,
    sent: BTreeMap<String, u64>,
    received: u64,
}

impl Load<'_> {
    fn start<'w>(world: &'w World, count: usize, settings: &[(&str, &str)]) -> Result<Load<'w>> {
        let label = shared::unique("load");
        let topic = |n: usize| (format!("{label}-{n}"), broker(n / EACH));
        let topics: Vec<_> = (0..count).map(topic).collect();
        let addresses = world.cluster.addresses(Listener::Plaintext);
        let address = addresses.get(&BROKER).cloned().unwrap_or_default();
        create(&mut RawClient::connect(&address)?, &topics)?;
        wait_known(world, &format!("{label}-"), count)?;
        Ok(Load {
            world,
            front: world.secured_front(settings)?,
            label,
            topics,
            users: Vec::new(),
            clients: Vec::new(),
            sent: BTreeMap::new(),
            received: 0,
        })
    }

    fn names(&self, user: usize) -> Vec<&str> {
        let all = self.topics.iter().skip(user * EACH).take(EACH);
        all.map(|(name, _)| name.as_str()).collect()
    }

    /// Makes accounts with tokens.
    fn make_users(&mut self, count: usize) -> Result<()> {
        let (front, label) = (&self.front, &self.label);
        let numbers: Vec<usize> = (0..count).collect();
        let made = in_parallel(&numbers, |user| {
            let name = format!("{label}-user-{user}");
            account(front, "passthrough", &name)?;
            let token = token(front, "passthrough", &name)?;
            Ok((name, token))
        })?;
        self.users = made;
        Ok(())
    }

    /// Everybody logs in, produces to their topics in three requests, and reads them; they stay.
    fn work(&mut self) -> Result<()> {
        let numbers: Vec<usize> = (0..self.users.len()).collect();
        let this = &*self;
        let done = in_parallel(&numbers, |user| {
            let (name, token) = &this.users[user];
            let (mut client, welcome) = login_to(&this.front, broker(user), name, token)?;
            assert!(welcome, "{name}");
            client.set_timeout(2 * LIMIT)?;
            let names = this.names(user);
            let mut sent = vec![0; names.len()];
            for round in 0..3 {
                let more = fill(&mut client, &names, 100 * (round + 1) + user)?;
                sent.iter_mut()
                    .zip(more)
                    .for_each(|(sum, more)| *sum += more);
            }
            let received = drain(&mut client, &names)?;
            assert!(received > 0);
            Ok((client, sent, received))
        })?;
        for (user, (client, sent, received)) in done.into_iter().enumerate() {
            let names: Vec<String> = self.names(user).into_iter().map(str::to_owned).collect();
            self.sent.extend(names.into_iter().zip(sent));
            self.received += received;
            self.clients.push(client);
        }
        Ok(())
    }

    /// Groups commit a hundred topics each.
    fn commit(&mut self, groups: usize) -> Result<()> {
        let (name, token) = &self.users[0];
        let mut clients = Vec::new();
        for index in 0..BROKERS {
            clients.push(login_to(&self.front, broker(index), name, token)?.0);
        }
        for group in 0..groups {
            let all = self.topics.iter().cycle().skip(group * 37).take(100);
            let all: Vec<&str> = all.map(|(name, _)| name.as_str()).collect();
            commit(&mut clients, &format!("{}-group-{group}", self.label), &all)?;
        }
        Ok(())
    }

    /// Makes Kafka forget the topics.
    fn delete_topics(&self) -> Result<()> {
        let addresses = self.world.cluster.addresses(Listener::Plaintext);
        let address = addresses.get(&BROKER).cloned().unwrap_or_default();
        let mut client = RawClient::connect(&address)?;
        for some in self.topics.chunks(250) {
            let names: Vec<&str> = some.iter().map(|(name, _)| name.as_str()).collect();
            let message = json!({"TopicNames": names, "TimeoutMs": 60_000});
            call(&mut client, ApiKey::DELETE_TOPICS, 3, &message)?;
        }
        Ok(())
    }
}

/// Does something with each number, on some threads; results in order.
fn in_parallel<T: Send>(
    numbers: &[usize],
    each: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let share = numbers.len().div_ceil(THREADS).max(1);
    let each = &each;
    thread::scope(|scope| {
        let parts = numbers.chunks(share).map(|part| {
            scope.spawn(move || {
                part.iter()
                    .map(|number| each(*number))
                    .collect::<Result<_>>()
            })
        });
        let parts: Vec<_> = parts.collect();
        let mut all = Vec::with_capacity(numbers.len());
        for part in parts {
            let some: Vec<T> = part.join().expect("no panic")?;
            all.extend(some);
        }
        Ok(all)
    })
}

#[test]
fn many_topics_groups_and_users_stay_under_the_caps() -> Result<()> {
    let count = number("SLUICEGATE_TEST_LOAD_TOPICS", 300);
    let (groups, users) = (count * 3 / 100, count / EACH);
    // A half of the topics, two thirds of what is committed, nine users of ten.
    let (max_topics, max_offsets, max_users) = (count / 2, count * 2, users * 9 / 10);
    let [topic_cap, offset_cap, user_cap] =
        [max_topics, max_offsets, max_users].map(|cap| cap.to_string());
    let world = world()?;
    let mut load = Load::start(
        &world,
        count,
        &[
            ("GATEWAY_ACL_ENABLED", "false"),
            ("GATEWAY_METRICS_MAX_TOPICS", &topic_cap),
            ("GATEWAY_METRICS_MAX_OFFSET_SERIES", &offset_cap),
            ("GATEWAY_METRICS_MAX_USERS", &user_cap),
        ],
    )?;
    load.make_users(users)?;
    load.work()?;
    load.commit(groups)?;
    let sent: u64 = load.sent.values().sum();
    let scrape = load.front.eventually("all bytes, and rest", |scrape| {
        scrape.sum(BYTES, &[UP]) == sent as f64
            && scrape.sum(BYTES, &[DOWN]) == load.received as f64
            && scrape.sum("gateway_current_inflight_apiKeys", &[]) == 0.0
    })?;
    assert_invariants(&scrape);
    assert_part_of_all(&scrape);

    // The topics that have series of their own have their own bytes, and the rest is together.
    let mut shown = values(&scrape, BYTES, "topic");
    assert!(shown.remove("<other>"));
    assert_eq!(shown.len(), max_topics);
    let of = |name: &String| load.sent.get(name).copied().unwrap_or_default();
    for name in &shown {
        let series = format!("{BYTES}{{{UP},topic=\"{name}\",vcluster=\"passthrough\"}}");
        assert_eq!(scrape.get(&series), of(name) as f64, "{name}");
    }
    let own: u64 = shown.iter().map(of).sum();
    assert_eq!(bytes(&scrape, "<other>", UP), (sent - own) as f64);
    assert_eq!(scrape.count(ENDS, &[]), count);
    assert_eq!(scrape.count(COMMITS, &[]), max_offsets);
    let mut named = values(&scrape, BY_USER, "username");
    assert!(named.remove("<other>"));
    assert_eq!(named.len(), max_users);

    // It says so itself, and this is all there is.
    let said = |family: &str| scrape.get(&format!("{SERIES}{{family=\"{family}\"}}"));
    for family in [BYTES, ENDS, COMMITS, BY_USER, "gateway_consumer_lag"] {
        assert_eq!(said(family), scrape.count(family, &[]) as f64, "{family}");
        assert!(family == ENDS || family.contains("lag") || folded(&scrape, family) > 0.0);
    }
    let apis = values(&scrape, BY_USER, "apiKeys").len();
    let (of_topics, of_offsets) = (2 * (max_topics + 1), 4 * max_offsets);
    let of_users = 2 * (max_users + 3) * apis;
    let rest = 1000;
    let all = scrape.sum(SERIES, &[]);
    let most = of_topics + of_offsets + of_users + rest;
    println!(
        "{count} topics, {groups} groups, {users} users: {all} series of at most {most}, {} lines; {} KiB resident",
        scrape.series().count(),
        load.front.gateway.resident_bytes() >> 10
    );
    assert!(all <= most as f64, "{all} of {most}");

    compare_with_scrapes(&load, number("SLUICEGATE_TEST_SCRAPE_ROUNDS", 0))?;
    load.delete_topics()
}

fn folded(scrape: &Scrape, family: &str) -> f64 {
    scrape.get(&format!("{FOLDED}{{family=\"{family}\"}}"))
}

/// Latencies of requests, seconds.
#[derive(Default)]
struct Latencies {
    /// Produce, that Kafka answers.
    produce: Vec<f64>,
    /// What the gateway answers itself.
    own: Vec<f64>,
}

fn percentile(of: &mut [f64], share: f64) -> f64 {
    of.sort_by(f64::total_cmp);
    let at = (of.len() as f64 * share) as usize;
    of.get(at.min(of.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// Measures rounds with a scrape every second against rounds without, in turn. Nothing is asserted.
fn compare_with_scrapes(load: &Load<'_>, rounds: usize) -> Result<()> {
    const ROUND: Duration = Duration::from_secs(10);
    let mut seen = [Vec::new(), Vec::new()];
    for round in 0..2 * rounds {
        // Each kind goes first as often as the other.
        let is_scraped = (round % 4 == 1) || (round % 4 == 2);
        let stop = AtomicBool::new(false);
        let mut latencies = thread::scope(|scope| {
            let scraper = scope.spawn(|| -> Result<Duration> {
                let (mut slowest, mut due) = (Duration::ZERO, Instant::now());
                while is_scraped && !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    load.front.text("text/plain")?;
                    slowest = slowest.max(began.elapsed());
                    due += Duration::from_secs(1);
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                Ok(slowest)
            });
            let clients: Vec<_> = (0..8)
                .map(|user| scope.spawn(move || ask_steadily(load, user, ROUND)))
                .collect();
            let mut all = Latencies::default();
            for client in clients {
                let some = client.join().expect("no panic")?;
                all.produce.extend(some.produce);
                all.own.extend(some.own);
            }
            stop.store(true, Ordering::Relaxed);
            let slowest = scraper.join().expect("no panic")?;
            println!(
                "round {round}, {}: produce p50 {:.3} p99 {:.3} ms, own p50 {:.3} p99 {:.3} ms, slowest scrape {slowest:?}",
                if is_scraped { "scraped" } else { "alone" },
                percentile(&mut all.produce, 0.5) * 1e3,
                percentile(&mut all.produce, 0.99) * 1e3,
                percentile(&mut all.own, 0.5) * 1e3,
                percentile(&mut all.own, 0.99) * 1e3,
            );
            Ok::<_, Error>(all)
        })?;
        let p99 = [&mut latencies.produce, &mut latencies.own].map(|of| percentile(of, 0.99));
        seen[usize::from(is_scraped)].push(p99);
    }
    for (kind, name) in ["produce", "own answer"].into_iter().enumerate() {
        let [mut alone, mut scraped] =
            [0, 1].map(|mode| seen[mode].iter().map(|p99| p99[kind]).collect::<Vec<f64>>());
        let (alone, scraped) = (percentile(&mut alone, 0.5), percentile(&mut scraped, 0.5));
        if rounds > 0 {
            println!(
                "{name}: median p99 {:.3} ms alone, {:.3} ms scraped: {:+.1} %",
                alone * 1e3,
                scraped * 1e3,
                (scraped / alone - 1.0) * 100.0
            );
        }
    }
    Ok(())
}

/// A request is due every 10 ms, whatever became of those before; its latency counts from then.
fn ask_steadily(load: &Load<'_>, user: usize, time: Duration) -> Result<Latencies> {
    const PACE: Duration = Duration::from_millis(10);
    let (name, token) = &load.users[user];
    let (mut client, _) = login_to(&load.front, broker(user), name, token)?;
    let topic = load.names(user)[0];
    let message = produce(topic, &Value::Null, 9, 1, &batch(1, &"x".repeat(1000)));
    let mut latencies = Latencies::default();
    let began = Instant::now();
    let mut due = began;
    while due.duration_since(began) < time {
        due += PACE;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if user.is_multiple_of(2) {
            call(&mut client, ApiKey::PRODUCE, 9, &message)?;
            latencies.produce.push(due.elapsed().as_secs_f64());
        } else {
            client.call(UNKNOWN_VERSION)?;
            latencies.own.push(due.elapsed().as_secs_f64());
        }
    }
    Ok(latencies)
}

/// Topics and groups that are made, used and deleted, by clients that stay.
#[test]
fn topics_and_groups_that_come_and_go_leave_nothing() -> Result<()> {
    const BATCH: usize = 20;
    /// What memory may grow by after the first third.
    const MOST: u64 = 8 << 20;
    let count = number("SLUICEGATE_TEST_CHURN_NAMES", 120);
    let pace = number("SLUICEGATE_TEST_CHURN_PACE", 0);
    let world = world()?;
    let front = world.front(&[("GATEWAY_METRICS_OFFSET_POLL_MS", "500")])?;
    let mut clients = Vec::new();
    for index in 0..BROKERS {
        clients.push(front.connect_to(broker(index))?);
    }
    let label = shared::unique("churn");
    let began = Instant::now();
    let mut memory = Vec::new();
    let mut sent = 0;
    for from in (0..count).step_by(BATCH) {
        let leader = from / BATCH % BROKERS;
        let topic = |n: usize| (format!("{label}-{n}"), broker(leader));
        let topics: Vec<_> = (from..from + BATCH).map(topic).collect();
        create(&mut clients[0], &topics)?;
        let names: Vec<&str> = topics.iter().map(|(name, _)| name.as_str()).collect();
        sent += fill(&mut clients[leader], &names, 200)?.iter().sum::<u64>();
        drain(&mut clients[leader], &names)?;
        by_id(&mut clients[leader], names[0])?;
        commit(&mut clients, names[0], &names)?;
        let message = json!({"TopicNames": names, "TimeoutMs": 60_000});
        let answer = call(&mut clients[0], ApiKey::DELETE_TOPICS, 3, &message)?;
        assert_none(&answer["Responses"], BATCH);
        let at = coordinator(&mut clients, names[0])?;
        let message = json!({"GroupsNames": [names[0]]});
        let answer = call(&mut clients[at], ApiKey::DELETE_GROUPS, 1, &message)?;
        assert_none(&answer["Results"], 1);
        front.scrape()?;
        if from % (count / 10).next_multiple_of(BATCH) == 0 {
            let resident = front.gateway.resident_bytes();
            println!(
                "{from} names, {:.0?}: {} KiB",
                began.elapsed(),
                resident >> 10
            );
            memory.push(resident);
        }
        if pace > 0 {
            let due = Duration::from_secs((from + BATCH) as u64 * 60 / pace as u64);
            thread::sleep(due.saturating_sub(began.elapsed()));
        }
    }
    let scrape = front.eventually("nothing of them", |scrape| {
        scrape.series().all(|series| !series.contains(&label))
    })?;
    assert!(scrape.get("gateway_bytes_exchanged_total{direction=\"upstream\"}") > sent as f64);
    for family in [BYTES, ENDS, COMMITS] {
        let series = format!("{SERIES}{{family=\"{family}\"}}");
        assert_eq!(scrape.get(&series), 0.0, "{family}");
    }
    let last = front.gateway.resident_bytes();
    let warm = memory
        .get(memory.len().div_ceil(3))
        .copied()
        .unwrap_or(last);
    println!(
        "{count} names in {:.0?}: {} KiB after a third, {} KiB at the end",
        began.elapsed(),
        warm >> 10,
        last >> 10
    );
    assert!(last < warm + MOST, "{last} {warm}");
    Ok(())
}

/// Reads a topic by its id, as newer clients do.
fn by_id(client: &mut RawClient, topic: &str) -> Result<()> {
    let id = id(client, topic)?;
    let answer = call(client, ApiKey::FETCH, 13, &fetch(topic, &id, 13, 0))?;
    assert_eq!(answer["Responses"][0]["Partitions"][0]["ErrorCode"], 0);
    Ok(())
}
