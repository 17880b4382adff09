//! Applications of Kafka Streams, and a worker of Kafka Connect, that are killed in the middle of a transaction and start again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::http::Request;
use testkit::programs::{self, Settings};
use testkit::{Result, librdkafka, ports, wait};
use wire::api::ApiKey;

use crate::ask;
use crate::caller::Caller;
use crate::scale;
use crate::world::{LIMIT, Tenant, World};

const READ_COMMITTED: (&str, &str) = ("isolation.level", "read_committed");

/// What both kinds of members say, so that nobody waits long for one that is dead. Brokers allow no less.
const SESSION: [(&str, &str); 2] = [
    ("session.timeout.ms", "6000"),
    ("heartbeat.interval.ms", "500"),
];

/// How long a program may take to start and to do what it is to do, the machine being busy.
fn patience() -> Duration {
    3 * LIMIT * u32::try_from(crate::factor()).unwrap_or(1)
}

/// All topics of the application, as its users see them.
const STREAMS_TOPICS: [&str; 4] = [
    "counts",
    "lines",
    "word-count-counts-changelog",
    "word-count-words-repartition",
];

/// Two virtual clusters run the same application, and do not know of each other.
#[test]
fn words_are_counted_exactly_once() -> Result<()> {
    const WORDS_PER_LINE: u64 = 5;
    let world = World::get()?;
    let tenants = [world.tenant("streamer")?, world.tenant("streamed")?];
    let deaths = scale(1).min(10);
    let lines = scale(60);
    let mut sent = 0;
    let mut send = |count: u64| -> Result<()> {
        for tenant in &tenants {
            // Each line once, and words that come again and again.
            let line = |number: u64| {
                let word = |place: u64| format!("{}{}", tenant.name, (number * 7 + place * 3) % 11);
                (0..WORDS_PER_LINE).map(word).collect::<Vec<_>>().join(" ")
            };
            let values = (sent..sent + count).map(line);
            let settings = tenant.settings()?;
            librdkafka::produce(&tenant.bootstrap(), &settings.list(), "lines", values)?;
        }
        sent += count;
        Ok(())
    };
    let mut roots = Vec::new();
    for tenant in &tenants {
        let mut root = tenant.root()?;
        for topic in ["lines", "counts"] {
            ask::topic(&mut root, topic, 2)?;
        }
        roots.push(root);
    }
    let applications = |stall_after: u64| -> Result<Vec<Settings>> {
        let settings = tenants
            .iter()
            .map(|tenant| application(tenant, stall_after));
        settings.collect()
    };
    for _ in 0..deaths {
        send(lines)?;
        // About half of what each death leaves to be done.
        let program = programs::word_count(&applications(lines * WORDS_PER_LINE / 2)?)?;
        // Whoever has stalled has one for a while only: brokers end it.
        let mut working = BTreeSet::new();
        wait::until_true("open transactions", patience(), || {
            for (number, root) in roots.iter_mut().enumerate() {
                if !working.contains(&number)
                    && open_transactions(root).is_ok_and(|ids| !ids.is_empty())
                {
                    working.insert(number);
                }
            }
            working.len() == tenants.len()
        })?;
        for _ in &tenants {
            program.says("stalled", patience())?;
        }
        drop(program);
    }
    send(lines)?;
    let mut program = programs::word_count(&applications(0)?)?;
    let words = usize::try_from(sent * WORDS_PER_LINE).unwrap_or(usize::MAX);
    for (tenant, root) in tenants.iter().zip(&mut roots) {
        let mut seen = Vec::new();
        let counted = wait::until_true("all words to be counted", patience(), || {
            seen = counts(tenant).unwrap_or_default();
            program.check_alive().is_err() || seen.len() >= words
        });
        program.check_alive()?;
        if counted.is_err() {
            panic!("{} of {words} words: {}", seen.len(), program.log());
        }
        // Each count of each word once: neither lost nor counted again.
        let mut by_word: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for said in &seen {
            let (word, count) = said.split_once(' ').unwrap_or_default();
            assert!(word.starts_with(&tenant.name), "{said}");
            let counts = by_word.entry(word).or_default();
            counts.push(count.parse().unwrap_or_default());
        }
        for (word, counts) in by_word {
            let expected: Vec<u64> = (1..).take(counts.len()).collect();
            assert_eq!(counts, expected, "{word}");
        }
        assert_eq!(seen.len(), words, "more than there are");
        wait::until_true("what was counted to be purged", LIMIT, || {
            (0..2).any(|partition| {
                let begin = begin(root, "word-count-words-repartition", partition);
                begin.is_ok_and(|offset| offset > Some(0))
            })
        })?;
        names_are_mapped(world, tenant, root, &STREAMS_TOPICS, "word-count")?;
        let ids = ask::transactional_ids(root, Value::Null)?;
        assert!(!ids.is_empty());
        let at_brokers = ask::transactional_ids(&mut world.brokers(), Value::Null)?;
        for id in ids {
            assert!(id.starts_with("word-count-"), "{id}");
            assert!(at_brokers.contains(&tenant.physical(&id)), "{at_brokers:?}");
            assert!(!at_brokers.contains(&id), "{at_brokers:?}");
        }
        println!("{words} words of {}, {deaths} deaths", tenant.name);
    }
    Ok(())
}

/// The first offset of a partition.
fn begin(root: &mut Caller, topic: &str, partition: i32) -> Result<Option<i64>> {
    const EARLIEST: i64 = -2;
    let body = json!({
        "ReplicaId": -1,
        "Topics": [{
            "Name": topic,
            "Partitions": [{ "PartitionIndex": partition, "Timestamp": EARLIEST }],
        }],
    });
    for node in root.nodes() {
        let answer = root.ask(node, ApiKey::LIST_OFFSETS, 7, &body)?;
        let found = &answer["Topics"][0]["Partitions"][0];
        if found["ErrorCode"] == 0 {
            return Ok(found["Offset"].as_i64());
        }
    }
    Ok(None)
}

fn application(tenant: &Tenant<'_>, stall_after: u64) -> Result<Settings> {
    let stall_after = stall_after.to_string();
    let own = [
        ("application.id", "word-count"),
        ("processing.guarantee", "exactly_once_v2"),
        ("auto.offset.reset", "earliest"),
        ("commit.interval.ms", "100"),
        ("repartition.purge.interval.ms", "100"),
        // Whoever was killed holds up others for as long.
        ("producer.transaction.timeout.ms", "6000"),
        ("stall.after", &stall_after),
    ];
    Ok(tenant.access()?.java(&own).java(&SESSION).java_settings())
}

/// What the application has said in transactions that were committed.
fn counts(tenant: &Tenant<'_>) -> Result<Vec<String>> {
    let settings = tenant.settings()?.with(READ_COMMITTED.0, READ_COMMITTED.1);
    librdkafka::read_all(&tenant.bootstrap(), &settings.list(), "counts")
}

/// Transactional ids with a transaction under way.
fn open_transactions(root: &mut Caller) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for node in root.nodes() {
        let body = json!({ "StateFilters": ["Ongoing"] });
        let answer = root.must(node, ApiKey::LIST_TRANSACTIONS, 0, &body)?;
        all.extend(ask::texts(&answer["TransactionStates"], "TransactionalId"));
    }
    Ok(all)
}

/// These are all topics of a virtual cluster, and that is its only group; both are prefixed at the brokers, and nothing is there without.
fn names_are_mapped(
    world: &World,
    tenant: &Tenant<'_>,
    root: &mut Caller,
    topics: &[&str],
    group: &str,
) -> Result<()> {
    assert_eq!(ask::topics(root)?, topics);
    assert_eq!(ask::groups(root)?, [group]);
    let mut brokers = world.brokers();
    let at_brokers: BTreeSet<String> = ask::topics(&mut brokers)?.into_iter().collect();
    let groups = ask::groups(&mut brokers)?;
    for topic in topics {
        assert!(at_brokers.contains(&tenant.physical(topic)), "{topic}");
    }
    let own = topics.iter().filter(|topic| topic.contains('-'));
    let bare: Vec<_> = own.filter(|topic| at_brokers.contains(**topic)).collect();
    assert!(bare.is_empty(), "{bare:?} at the brokers");
    assert!(groups.contains(&tenant.physical(group)), "{groups:?}");
    assert!(!groups.contains(&group.to_owned()), "{groups:?}");
    Ok(())
}

const CONNECT_TOPICS: [&str; 4] = [
    "connect-configs",
    "connect-offsets",
    "connect-status",
    "numbers",
];

/// A worker of Connect dies with a transaction of its connector open; another one goes on where the last one that was committed ends.
#[test]
fn a_connector_goes_on_where_it_was() -> Result<()> {
    let world = World::get()?;
    let (tenant, other) = (world.tenant("linker")?, world.tenant("linked")?);
    // Somebody else's, with nothing in them that a worker could understand.
    for topic in CONNECT_TOPICS {
        ask::topic(&mut other.root()?, topic, 1)?;
        ask::produce(&mut other.root()?, topic, 1, "not for the worker")?;
    }
    let mut root = tenant.root()?;
    let (kept, stalled, end) = (scale(50) * 10, scale(50) * 20, scale(50) * 40);
    let connector = json!({
        "connector.class": "Numbers",
        "tasks.max": "1",
        "to": "numbers",
        "keep": kept.to_string(),
        "stall.at": stalled.to_string(),
        "end": end.to_string(),
        "transaction.boundary": "connector",
        "topic.creation.default.replication.factor": "1",
        "topic.creation.default.partitions": "1",
    });
    let (port, settings) = worker(&tenant)?;
    let mut first = programs::connect_worker(&settings)?;
    wait::until("the connector to be taken", patience(), || {
        first.check_alive()?;
        let (status, body) = Request::new("PUT", "/connectors/counter/config")
            .json(&connector)
            .send(port)?;
        match status {
            200 | 201 => Ok(Some(())),
            _ => Err(testkit::Error::Answer(format!("{status}: {body}"))),
        }
    })
    .map_err(|error| with_log(error, &first))?;
    assert_eq!(first.says("begins", patience())?, "0");
    first.says("stalled", patience())?;
    wait::until_true("the connector's transaction", LIMIT, || {
        let open = open_transactions(&mut root);
        open.is_ok_and(|ids| ids.iter().any(|id| id.contains("counter")))
    })?;
    drop(first);

    let (port, settings) = worker(&tenant)?;
    let mut second = programs::connect_worker(&settings)?;
    let begins = second.says("begins", patience())?;
    assert_eq!(begins, kept.to_string());
    let numbers = |tenant: &Tenant<'_>| -> Result<Vec<u64>> {
        let settings = tenant.settings()?.with(READ_COMMITTED.0, READ_COMMITTED.1);
        let read = librdkafka::read_all(&tenant.bootstrap(), &settings.list(), "numbers")?;
        Ok(read.iter().filter_map(|value| value.parse().ok()).collect())
    };
    let mut seen = Vec::new();
    let all = wait::until_true("all numbers", patience(), || {
        seen = numbers(&tenant).unwrap_or_default();
        second.check_alive().is_err() || seen.last().is_some_and(|last| last + 1 == end)
    });
    all.map_err(|error| with_log(error, &second))?;
    assert_eq!(seen, (0..end).collect::<Vec<_>>(), "{}", second.log());
    let offsets = wait::until("the offset", LIMIT, || {
        let (status, body) = testkit::http::get(port, "/connectors/counter/offsets")?;
        let expected = json!({ "offsets": [
            { "partition": { "source": "numbers" }, "offset": { "next": end } },
        ] });
        let said: Value = serde_json::from_str(&body).unwrap_or_default();
        Ok((status == 200 && said == expected).then_some(()))
    });
    offsets.map_err(|error| with_log(error, &second))?;
    let (_, connectors) = testkit::http::get(port, "/connectors")?;
    assert_eq!(connectors, r#"["counter"]"#);

    names_are_mapped(world, &tenant, &mut root, &CONNECT_TOPICS, "connect")?;
    let ids = ask::transactional_ids(&mut root, Value::Null)?;
    let at_brokers = ask::transactional_ids(&mut world.brokers(), Value::Null)?;
    for id in ["connect-cluster-connect", "connect-counter-0"] {
        assert!(ids.contains(&id.to_owned()), "{ids:?}");
        assert!(at_brokers.contains(&tenant.physical(id)), "{at_brokers:?}");
        assert!(!at_brokers.contains(&id.to_owned()), "{at_brokers:?}");
    }
    for topic in CONNECT_TOPICS {
        assert_eq!(
            ask::end(&mut other.root()?, 1, topic, 0)?,
            Some(1),
            "{topic}"
        );
    }
    assert_eq!(ask::groups(&mut other.root()?)?, Vec::<String>::new());
    println!("{end} numbers, killed after {stalled}");
    Ok(())
}

fn with_log(error: testkit::Error, program: &programs::Program) -> testkit::Error {
    testkit::Error::Violated(format!("{error}\n{}", program.log()))
}

/// Settings of a worker, and the port of its REST interface.
fn worker(tenant: &Tenant<'_>) -> Result<(u16, Settings)> {
    let port = ports::free();
    let listener = format!("http://127.0.0.1:{port}");
    let converter = "org.apache.kafka.connect.storage.StringConverter";
    let own = [
        ("group.id", "connect"),
        ("exactly.once.source.support", "enabled"),
        ("config.storage.topic", "connect-configs"),
        ("config.storage.replication.factor", "1"),
        ("offset.storage.topic", "connect-offsets"),
        ("offset.storage.replication.factor", "1"),
        ("offset.storage.partitions", "2"),
        ("status.storage.topic", "connect-status"),
        ("status.storage.replication.factor", "1"),
        ("status.storage.partitions", "1"),
        ("scheduled.rebalance.max.delay.ms", "0"),
        ("plugin.discovery", "service_load"),
        ("key.converter", converter),
        ("value.converter", converter),
        ("listeners", &listener),
    ];
    let access = tenant.access()?.java_settings();
    let mut settings = access.clone();
    // Its clients take over nothing of these by themselves.
    for (key, value) in &access {
        if key.starts_with("sasl.") || key == "security.protocol" {
            for client in ["producer", "consumer", "admin"] {
                settings.push((format!("{client}.{key}"), value.clone()));
            }
        }
    }
    let own = own.iter().chain(&SESSION);
    settings.extend(own.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
    Ok((port, settings))
}
