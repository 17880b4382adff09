//! Leaders, coordinators and brokers move while clients of a virtual cluster work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::rdkafka::Message;
use testkit::rdkafka::consumer::{BaseConsumer, Consumer};
use testkit::rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use testkit::{Error, KafkaCluster, Listener, Release, Result, librdkafka, wait};
use wire::api::ApiKey;

use crate::ask::{self, Kind};
use crate::caller::Caller;
use crate::scale;
use crate::stop::Stop;
use crate::world::{Front, LIMIT, Tenant, World, addresses, fresh_name, gateway_options, java};

const OFFSETS: &str = "__consumer_offsets";

/// Topics as the tenant calls them: of its own, and an alias.
const READ: [&str; 2] = ["orders", "ledger"];

/// The same, for those who ask the wrong broker.
const PROBED: [&str; 2] = ["probe", "mirror"];

/// Groups of clients that read [`READ`].
const CLASSIC: &str = "classic";
const MODERN: &str = "modern";
const SMALL: &str = "small";

/// On ordinary days leaders of own topics move, which disturbs nobody else; in a full run, with brokers of its own, coordinators
/// and brokers as well.
#[test]
fn clients_follow_what_moves() -> Result<()> {
    if !crate::is_full() {
        let world = World::get()?;
        return follow(&world.cluster, &world.front);
    }
    let cluster = KafkaCluster::start(Release::V4_3)?;
    let front = Front::start(gateway_options(&cluster.bootstrap(Listener::Relayed)))?;
    follow(&cluster, &front)
}

/// Whatever is acknowledged is read, by all kinds of clients, and nobody hears of brokers or of what topics are called there.
fn follow(cluster: &KafkaCluster, front: &Front) -> Result<()> {
    let tenant = front.tenant(&fresh_name("moving"), json!({}))?;
    let mut brokers = Caller::new(cluster.addresses(Listener::Plaintext), None);
    let mut physical = Vec::new();
    for ([own, alias], partitions) in [(READ, 2), (PROBED, 1)] {
        let target = fresh_name("target");
        for name in [tenant.physical(own), target.clone()] {
            replicated(&mut brokers, &name, partitions)?;
            physical.push(name);
        }
        front.api.alias(&tenant.name, alias, &target)?;
    }
    let access = tenant.access()?;
    let (stop, stop_reading) = (Stop::default(), Stop::default());
    let (read, probed) = (&Progress::default(), &Progress::default());
    let (java_sent, small_sent) = std::thread::scope(|scope| -> Result<_> {
        // However this ends, all others end with it.
        let _stop = [stop.on_drop(), stop_reading.on_drop()];
        let ends = stop.flag();
        let watch = Watch::new(front, &tenant, cluster, &physical)?;
        let watch = scope.spawn(move || watch.run(ends, probed));
        let producers = [
            java()?.lasting(READ[0], &access)?,
            java()?.lasting(READ[1], &access)?,
        ];
        let settings = tenant.settings()?;
        let small = scope.spawn(move || produce(&settings.list(), ends));
        let settings = tenant.settings()?;
        let no_more = stop_reading.flag();
        let reader = scope.spawn(move || consume(&settings.list(), no_more, read));
        let group = |group: &str, protocol: &str| {
            let settings = [("group.id", group), ("group.protocol", protocol)];
            java()?.follow(&READ.join(","), &access.clone().java(&settings))
        };
        let followers = [group(CLASSIC, "classic")?, group(MODERN, "consumer")?];
        let groups = [CLASSIC, MODERN, SMALL];
        move_everything(cluster, &tenant, &physical, &groups, [read, probed])?;

        let mut java_sent = 0;
        for producer in producers {
            let report = producer.stop()?;
            assert!(report.text.is_empty(), "a producer: {}", report.text);
            java_sent += report.count;
        }
        stop.now();
        let small_sent = joined(small)?;
        let total = java_sent + small_sent;
        read.is(total)?;
        stop_reading.now();
        joined(reader)?;
        for follower in followers {
            let report = follower.stop()?;
            assert!(report.text.is_empty(), "a consumer: {}", report.text);
            assert_eq!(report.count, total, "read of what was acknowledged");
        }
        joined(watch)?.assert_complete();
        Ok((java_sent, small_sent))
    })?;
    assert!(small_sent > 0);
    let kept = physical[..2]
        .iter()
        .map(|name| librdkafka::record_count(&cluster.bootstrap(Listener::Plaintext), name))
        .sum::<Result<usize>>()?;
    assert_eq!(kept as u64, java_sent + small_sent, "nothing twice");
    println!("{kept} records, {} rounds of questions", probed.now());
    assert!(!front.log().contains("panicked"), "{}", front.log());
    cluster.assert_only_gateway_connects()
}

/// Gives everything another leader; in a full run groups another coordinator, too, and then stops and starts a broker that has
/// much to do.
fn move_everything(
    cluster: &KafkaCluster,
    tenant: &Tenant<'_>,
    physical: &[String],
    groups: &[&str],
    progress: [&Progress; 2],
) -> Result<()> {
    let goes_on = || progress.iter().try_for_each(|progress| progress.goes_on());
    for round in 0..scale(1) {
        let mut brokers = Caller::new(cluster.addresses(Listener::Plaintext), None);
        goes_on()?;
        for name in physical {
            move_leaders(&mut brokers, name)?;
        }
        goes_on()?;
        if !crate::is_full() {
            continue;
        }
        let before = coordinators(tenant, groups)?;
        move_leaders(&mut brokers, OFFSETS)?;
        wait::until("all coordinators to move", LIMIT, || {
            let after = coordinators(tenant, groups)?;
            Ok(before
                .iter()
                .zip(&after)
                .all(|(before, after)| before != after)
                .then_some(()))
        })?;
        goes_on()?;
        let busy = coordinators(tenant, groups)?;
        cluster.restart(busy[round as usize % busy.len()])?;
        goes_on()?;
    }
    Ok(())
}

/// Who coordinates the groups, as their members are told.
fn coordinators(tenant: &Tenant<'_>, groups: &[&str]) -> Result<Vec<i32>> {
    let mut root = tenant.root()?;
    let find = |group: &&str| ask::coordinator(&mut root, Kind::Group, group);
    groups.iter().map(find).collect()
}

/// A topic with a replica on each broker and other first ones for its partitions.
fn replicated(brokers: &mut Caller, name: &str, partitions: i32) -> Result<()> {
    let mut body = ask::creation(name, partitions);
    for index in 0..partitions as usize {
        let replicas = [0, 1, 2].map(|at| (index + at) % 3 + 1);
        body["Topics"][0]["Assignments"][index]["BrokerIds"] = json!(replicas);
    }
    brokers.must(1, ApiKey::CREATE_TOPICS, 7, &body)?;
    wait::until("leaders of a new topic", LIMIT, || {
        let found = partitions_of(brokers, name)?;
        let led = found.len() == partitions as usize && found.iter().all(|one| one.leader > 0);
        Ok(led.then_some(()))
    })
}

struct Partition {
    index: i64,
    leader: i64,
    replicas: Vec<i64>,
}

fn partitions_of(brokers: &mut Caller, name: &str) -> Result<Vec<Partition>> {
    let answer = brokers.ask(1, ApiKey::METADATA, 12, &ask::named(&[name]))?;
    let listed = answer["Topics"][0]["Partitions"].as_array();
    let partition = |one: &Value| {
        let replicas = one["ReplicaNodes"].as_array()?.iter();
        Some(Partition {
            index: one["PartitionIndex"].as_i64()?,
            leader: one["LeaderId"].as_i64()?,
            replicas: replicas.filter_map(Value::as_i64).collect(),
        })
    };
    let broken = || Error::Answer(answer.to_string());
    let listed = listed.ok_or_else(broken)?;
    listed
        .iter()
        .map(|one| partition(one).ok_or_else(broken))
        .collect()
}

/// Makes the replica after the leader the leader, of all partitions.
fn move_leaders(brokers: &mut Caller, name: &str) -> Result<()> {
    let mut wanted = BTreeMap::new();
    for mut partition in partitions_of(brokers, name)? {
        let replicas = &mut partition.replicas;
        let at = replicas.iter().position(|id| *id == partition.leader);
        replicas.rotate_left(at.map_or(0, |at| at + 1) % 3);
        wanted.insert(partition.index, partition.replicas);
    }
    let moves: Vec<Value> = wanted
        .iter()
        .map(|(index, replicas)| json!({ "PartitionIndex": index, "Replicas": replicas }))
        .collect();
    let body = json!({
        "TimeoutMs": 30_000,
        "Topics": [{ "Name": name, "Partitions": moves }],
    });
    brokers.must(1, ApiKey::ALTER_PARTITION_REASSIGNMENTS, 0, &body)?;
    let indexes: Vec<i64> = wanted.keys().copied().collect();
    let elect = json!({
        "ElectionType": 0,
        "TopicPartitions": [{ "Topic": name, "Partitions": indexes }],
        "TimeoutMs": 30_000,
    });
    wait::until("other leaders", LIMIT, || {
        brokers.ask(1, ApiKey::ELECT_LEADERS, 2, &elect)?;
        let found = partitions_of(brokers, name)?;
        let moved = |one: &Partition| wanted[&one.index].first() == Some(&one.leader);
        Ok(found.iter().all(moved).then_some(()))
    })
}

/// Sends to the alias until it is told to stop; gives how many were acknowledged.
fn produce(settings: &[(&str, &str)], stop: &AtomicBool) -> Result<u64> {
    let bootstrap = bootstrap_of(settings);
    let mut config = librdkafka::config(bootstrap, settings);
    config.set("enable.idempotence", "true");
    let producer: BaseProducer = config.create()?;
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        let value = format!("small {sent}");
        let record = BaseRecord::<(), str>::to(READ[1]).payload(&value);
        producer.send(record).map_err(|(error, _)| error)?;
        sent += 1;
        producer.poll(Duration::ZERO);
        // The pace.
        std::thread::sleep(Duration::from_millis(25));
    }
    producer.flush(LIMIT)?;
    Ok(sent)
}

/// Counts each record of [`READ`] once until it is told to stop.
fn consume(settings: &[(&str, &str)], stop: &AtomicBool, read: &Progress) -> Result<()> {
    let mut config = librdkafka::config(bootstrap_of(settings), settings);
    config.set("group.id", SMALL);
    config.set("auto.offset.reset", "earliest");
    let consumer: BaseConsumer = config.create()?;
    consumer.subscribe(&READ)?;
    let mut seen = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        // Errors tell of brokers that come and go; the client heals itself.
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(200)) {
            assert!(READ.contains(&message.topic()), "{}", message.topic());
            seen.insert((
                message.topic().to_owned(),
                message.partition(),
                message.offset(),
            ));
            read.set(seen.len() as u64);
        }
    }
    Ok(())
}

fn bootstrap_of<'a>(settings: &[(&str, &'a str)]) -> &'a str {
    let mut found = settings
        .iter()
        .filter(|(key, _)| *key == "bootstrap.servers");
    found.next().map_or("", |(_, value)| value)
}

/// Asks every broker for everything that tells an address, right or wrong.
struct Watch {
    caller: Caller,
    questions: Vec<(&'static str, ApiKey, i16, Value)>,
    /// Host and port that may be told for a broker.
    doors: BTreeMap<i32, (String, u16)>,
    /// What may be in no answer.
    foreign: Vec<String>,
    /// Answers by question, and those of them that told where the leader is.
    seen: BTreeMap<&'static str, (usize, usize)>,
}

impl Watch {
    fn new(
        front: &Front,
        tenant: &Tenant<'_>,
        cluster: &KafkaCluster,
        physical: &[String],
    ) -> Result<Watch> {
        let mut caller = tenant.root()?;
        let mut questions = vec![
            (
                "all topics",
                ApiKey::METADATA,
                12,
                json!({ "Topics": null, "AllowAutoTopicCreation": false }),
            ),
            ("topics", ApiKey::METADATA, 1, ask::named(&PROBED)),
            ("the cluster", ApiKey::DESCRIBE_CLUSTER, 1, json!({})),
            (
                "coordinators",
                ApiKey::FIND_COORDINATOR,
                4,
                json!({ "KeyType": 0, "CoordinatorKeys": [CLASSIC, MODERN, SMALL] }),
            ),
            (
                "a coordinator",
                ApiKey::FIND_COORDINATOR,
                2,
                json!({ "KeyType": 0, "Key": CLASSIC }),
            ),
        ];
        let batch = crate::message::hex(&crate::records::batch(1, "one"));
        let labels = [
            ["produce", "fetch"],
            ["produce to the alias", "fetch from the alias"],
        ];
        for (name, [produce, fetch]) in PROBED.into_iter().zip(labels) {
            let answer = caller.must(1, ApiKey::METADATA, 12, &ask::named(&[name]))?;
            let id = &answer["Topics"][0]["TopicId"];
            let production = json!({
                "Acks": -1,
                "TimeoutMs": 30_000,
                "TopicData": [{
                    "Name": name,
                    "TopicId": id,
                    "PartitionData": [{ "Index": 0, "Records": batch }],
                }],
            });
            // The first leader's epoch is over when leaders have moved, and then brokers tell who leads; without one they
            // give what they have.
            let fetching = |epoch: i8| {
                json!({
                    "MaxWaitMs": 0,
                    "SessionId": 0,
                    "SessionEpoch": -1,
                    "Topics": [{ "Topic": name, "TopicId": id, "Partitions": [{
                        "Partition": 0,
                        "CurrentLeaderEpoch": epoch,
                        "FetchOffset": 0,
                        "PartitionMaxBytes": 1,
                    }] }],
                })
            };
            for version in [12, 13] {
                questions.push((produce, ApiKey::PRODUCE, version, production.clone()));
            }
            for (version, epoch) in [(16, 0), (17, 0), (17, -1)] {
                questions.push((fetch, ApiKey::FETCH, version, fetching(epoch)));
            }
        }
        let mut foreign = physical.to_vec();
        foreign.push(tenant.name.clone());
        for listener in Listener::ALL {
            foreign.extend(cluster.addresses(listener).into_values());
        }
        Ok(Watch {
            caller,
            questions,
            doors: addresses(&front.doors)?,
            foreign,
            seen: BTreeMap::new(),
        })
    }

    fn run(mut self, stop: &AtomicBool, rounds: &Progress) -> Result<Watch> {
        let questions = std::mem::take(&mut self.questions);
        while !stop.load(Ordering::Relaxed) {
            for node in self.caller.nodes() {
                for (what, api, version, body) in &questions {
                    match self.caller.ask(node, *api, *version, body) {
                        Ok(answer) if !answer.is_null() => self.judge(what, answer),
                        // The broker is away.
                        _ => self.caller = self.caller.again(),
                    }
                }
            }
            rounds.set(rounds.now() + 1);
            // There are other tests.
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(self)
    }

    fn judge(&mut self, what: &'static str, mut answer: Value) {
        self.check_addresses(what, &answer);
        let (count, hints) = self.seen.entry(what).or_default();
        *count += 1;
        *hints += usize::from(!ask::ints(&answer["NodeEndpoints"], "Port").is_empty());
        if let Some(id) = answer.get_mut("ClusterId") {
            // It begins with the name of the virtual cluster.
            *id = Value::Null;
        }
        let text = answer.to_string();
        for foreign in &self.foreign {
            assert!(!text.contains(foreign), "{foreign} to {what}: {text}");
        }
    }

    /// Wherever there is a host, it is that of the gateway's for the broker.
    fn check_addresses(&self, what: &str, value: &Value) {
        match value {
            Value::Array(elements) => {
                for element in elements {
                    self.check_addresses(what, element);
                }
            }
            Value::Object(fields) => {
                let text = |name: &str| fields.get(name).and_then(Value::as_str);
                let number = |name: &str| fields.get(name).and_then(Value::as_i64);
                if let Some(host) = text("Host").filter(|host| !host.is_empty()) {
                    let id = number("NodeId").or(number("BrokerId"));
                    let door = id.and_then(|id| self.doors.get(&i32::try_from(id).ok()?));
                    let told = number("Port").map(|port| (host, port));
                    let own = door.map(|(host, port)| (host.as_str(), i64::from(*port)));
                    assert_eq!(told, own, "{what}: {value}");
                }
                for field in fields.values() {
                    self.check_addresses(what, field);
                }
            }
            _ => {}
        }
    }

    /// Every question was answered, and who asked the wrong broker was told the right one.
    fn assert_complete(&self) {
        let seen = &self.seen;
        assert_eq!(seen.len(), 9, "{seen:?}");
        for (what, (_, hints)) in seen {
            let may_hint = what.starts_with("produce") || what.starts_with("fetch");
            assert_eq!(*hints > 0, may_hint, "{what}: {seen:?}");
        }
    }
}

/// A number that goes up.
#[derive(Default)]
struct Progress(AtomicU64);

impl Progress {
    fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until it is higher than now.
    fn goes_on(&self) -> Result<()> {
        let before = self.now();
        wait::until_true("traffic to go on", LIMIT, || self.now() > before + 1)
    }

    /// Waits until it has this value.
    fn is(&self, value: u64) -> Result<()> {
        wait::until("all records to be read", LIMIT, || match self.now() {
            now if now == value => Ok(Some(())),
            now => Err(Error::Answer(format!("{now} of {value}"))),
        })
    }
}

fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    let ended = thread.join();
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
