//! Rows 23 and 24 and lag: what Kafka says of its topics and groups, against what is shown.

use std::time::Duration;

use testkit::rdkafka::admin::{AdminClient, AdminOptions};
use testkit::rdkafka::client::DefaultClientContext;
use testkit::rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use testkit::rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use testkit::rdkafka::{Offset, TopicPartitionList};
use testkit::{Result, librdkafka, shared, wait};

use crate::identities::{account, put, token};
use crate::scrape::Scrape;
use crate::topics::{BYTES, ENDS, ONLY_SEEN, bytes, end};
use crate::world::{LIMIT, World, world};

const COMMITS: &str = "gateway_topic_current_offset";
const LAG: &str = "gateway_consumer_lag";
const AGE: &str = "gateway_consumer_lag_seconds";

const POLLED: (&str, &str) = ("GATEWAY_METRICS_OFFSET_POLL_MS", "500");

/// What a group has committed, says Kafka; `None`: nothing.
fn committed(world: &World, group: &str, topic: &str, partitions: i32) -> Result<Vec<Option<f64>>> {
    let settings = [("group.id", group)];
    let consumer: BaseConsumer = librdkafka::config(&world.kafka(), &settings).create()?;
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_range(topic, 0, partitions - 1);
    let found = consumer.committed_offsets(wanted, LIMIT)?;
    let elements = found.elements();
    Ok(elements
        .iter()
        .map(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset as f64),
            _ => None,
        })
        .collect())
}

fn ends(world: &World, topic: &str, partitions: i32) -> Result<Vec<f64>> {
    (0..partitions).map(|p| end(world, topic, p)).collect()
}

fn end_of(scrape: &Scrape, vcluster: &str, topic: &str, partition: usize) -> f64 {
    let labels = format!("vcluster=\"{vcluster}\",topic=\"{topic}\",partition=\"{partition}\"");
    scrape.get(&format!("{ENDS}{{{labels}}}"))
}

fn commit_of(scrape: &Scrape, group: &str, topic: &str, partition: usize) -> Option<f64> {
    let labels = format!("group=\"{group}\",topic=\"{topic}\",partition=\"{partition}\"");
    let series = format!("{COMMITS}{{vcluster=\"passthrough\",{labels}}}");
    scrape.has(&series).then(|| scrape.get(&series))
}

fn shows(scrape: &Scrape, topic: &str, expected: &[f64]) -> bool {
    let mut all = expected.iter().enumerate();
    all.all(|(p, end)| end_of(scrape, "passthrough", topic, p) == *end)
}

fn shows_commits(scrape: &Scrape, group: &str, topic: &str, expected: &[Option<f64>]) -> bool {
    let mut all = expected.iter().enumerate();
    all.all(|(p, offset)| commit_of(scrape, group, topic, p) == *offset)
}

fn numbers(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("{n:04}"))
}

/// A consumer that has read `count` records and committed.
fn read(bootstrap: &str, group: &str, topic: &str, count: usize) -> Result<BaseConsumer> {
    let settings = [
        ("group.id", group),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.commit", "false"),
    ];
    let consumer: BaseConsumer = librdkafka::config(bootstrap, &settings).create()?;
    consumer.subscribe(&[topic])?;
    let mut seen = 0;
    wait::until_true("records", LIMIT, || {
        let polled = consumer.poll(Duration::from_millis(100));
        seen += usize::from(matches!(polled, Some(Ok(_))));
        seen == count
    })?;
    Ok(consumer)
}

#[test]
fn offsets_and_lag_are_those_of_kafka() -> Result<()> {
    let world = world()?;
    let front = world.front(&[POLLED])?;
    let through = front.gateway.bootstrap();
    let (topic, group) = (shared::unique("offsets"), shared::unique("group"));
    librdkafka::create_topic(&world.kafka(), &topic, 3)?;
    librdkafka::produce(&through, &[], &topic, numbers(50))?;
    let consumer = read(&through, &group, &topic, 50)?;
    consumer.commit_consumer_state(CommitMode::Sync)?;
    let (expected, offsets) = (
        ends(&world, &topic, 3)?,
        committed(&world, &group, &topic, 3)?,
    );
    assert_eq!(expected.iter().sum::<f64>(), 50.0);
    let of_group = format!("vcluster=\"passthrough\",group=\"{group}\",topic=\"{topic}\"");
    let (lag, age) = (
        format!("{LAG}{{{of_group}}}"),
        format!("{AGE}{{{of_group}}}"),
    );
    front.eventually("Kafka's offsets", |scrape| {
        shows(scrape, &topic, &expected)
            && shows_commits(scrape, &group, &topic, &offsets)
            && scrape.has(&lag)
            && scrape.get(&lag) == 0.0
            && scrape.has(&age)
            && scrape.get(&age) == 0.0
    })?;

    // Behind the gateway.
    librdkafka::produce(&world.kafka(), &[], &topic, numbers(20))?;
    let expected = ends(&world, &topic, 3)?;
    let lags = expected.iter().zip(&offsets);
    let most = lags
        .map(|(end, at)| end - at.unwrap_or(*end))
        .fold(0.0, f64::max);
    assert!(most > 0.0);
    let scrape = front.eventually("lag", |scrape| {
        shows(scrape, &topic, &expected) && scrape.get(&lag) == most
    })?;
    let first = scrape.get(&age);
    front.eventually("it to grow older", |scrape| scrape.get(&age) > first + 1.0)?;
    drop(consumer);

    // What has been deleted is not shown any more.
    let admin: AdminClient<DefaultClientContext> = librdkafka::config(&through, &[]).create()?;
    let options = AdminOptions::new().operation_timeout(Some(LIMIT));
    wait::until_true("the group to be deleted", LIMIT, || {
        let deleted = librdkafka::block_on(admin.delete_groups(&[&group], &options));
        deleted.is_ok_and(|results| results.iter().all(Result::is_ok))
    })?;
    let scrape = front.eventually("no group", |scrape| !scrape.has(&lag) && !scrape.has(&age))?;
    assert_eq!(scrape.count(COMMITS, &[&format!("group=\"{group}\"")]), 0);
    let direct: AdminClient<DefaultClientContext> =
        librdkafka::config(&world.kafka(), &[]).create()?;
    librdkafka::block_on(direct.delete_topics(&[&topic], &options))?;
    front.eventually("no topic", |scrape| {
        scrape.series().all(|series| !series.contains(&topic))
    })?;
    Ok(())
}

#[test]
fn commits_in_transactions_are_found() -> Result<()> {
    let world = world()?;
    let front = world.front(&[POLLED])?;
    let through = front.gateway.bootstrap();
    let (topic, group) = (shared::unique("offsets"), shared::unique("group"));
    librdkafka::create_topic(&world.kafka(), &topic, 2)?;
    librdkafka::produce(&through, &[], &topic, numbers(30))?;
    let consumer = read(&through, &group, &topic, 30)?;
    let settings = [("transactional.id", group.as_str())];
    let producer: ThreadedProducer<DefaultProducerContext> =
        librdkafka::config(&through, &settings).create()?;
    producer.init_transactions(LIMIT)?;
    producer.begin_transaction()?;
    let record = BaseRecord::<str, str>::to(&topic).key("k").payload("v");
    producer.send(record).map_err(|(error, _)| error)?;
    let metadata = consumer.group_metadata();
    let metadata = metadata.ok_or_else(|| testkit::Error::Answer("no group".to_owned()))?;
    producer.send_offsets_to_transaction(&consumer.position()?, &metadata, LIMIT)?;
    producer.commit_transaction(LIMIT)?;
    let offsets = committed(&world, &group, &topic, 2)?;
    assert!(offsets.iter().any(Option::is_some));
    let expected = ends(&world, &topic, 2)?;
    // The marker of the transaction takes an offset, too.
    assert_eq!(expected.iter().sum::<f64>(), 32.0);
    front.eventually("Kafka's offsets", |scrape| {
        shows(scrape, &topic, &expected) && shows_commits(scrape, &group, &topic, &offsets)
    })?;
    Ok(())
}

#[test]
fn without_polls_what_clients_do_is_shown() -> Result<()> {
    let world = world()?;
    let front = world.front(&[ONLY_SEEN, ("GATEWAY_METRICS_OFFSET_PARTITIONS", "false")])?;
    let through = front.gateway.bootstrap();
    let (topic, group) = (shared::unique("offsets"), shared::unique("group"));
    librdkafka::create_topic(&world.kafka(), &topic, 3)?;
    librdkafka::produce(&world.kafka(), &[], &topic, numbers(40))?;
    let consumer = read(&through, &group, &topic, 40)?;
    consumer.commit_consumer_state(CommitMode::Sync)?;
    let of_topic = format!("{ENDS}{{vcluster=\"passthrough\",topic=\"{topic}\"}}");
    let of_group =
        format!("{COMMITS}{{vcluster=\"passthrough\",group=\"{group}\",topic=\"{topic}\"}}");
    front.eventually("the sums", |scrape| {
        scrape.get(&of_topic) == 40.0 && scrape.get(&of_group) == 40.0
    })?;
    Ok(())
}

#[test]
fn virtual_clusters_are_shown_apart() -> Result<()> {
    const TOPIC: &str = "same-topic";
    let world = world()?;
    let front = &world.secured;
    let through = front.gateway.bootstrap();
    for (vcluster, count) in [("north-", 5), ("south-", 9)] {
        let metadata = format!(r#"{{"name":"{vcluster}"}}"#);
        put(front, "VirtualCluster", "virtual-cluster", &metadata, "{}")?;
        account(front, vcluster, &format!("{vcluster}app"))?;
        let token = token(front, vcluster, &format!("{vcluster}app"))?;
        librdkafka::create_topic(&world.kafka(), &format!("{vcluster}{TOPIC}"), 1)?;
        let user = format!("{vcluster}app");
        let login = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", user.as_str()),
            ("sasl.password", token.as_str()),
        ];
        librdkafka::produce(&through, &login, TOPIC, numbers(count))?;
        let read = librdkafka::consume(&through, &login, "readers", TOPIC, count)?;
        assert_eq!(read.len(), count);
    }
    let scrape = front.eventually("both", |scrape| {
        let end = |vcluster| end_of(scrape, vcluster, TOPIC, 0);
        let commit = |vcluster: &str| {
            scrape.sum(
                COMMITS,
                &[&format!("vcluster=\"{vcluster}\""), "group=\"readers\""],
            )
        };
        end("north-") == 5.0
            && end("south-") == 9.0
            && commit("north-") == 5.0
            && commit("south-") == 9.0
    })?;
    let names = [format!("north-{TOPIC}"), format!("south-{TOPIC}")];
    for name in names {
        assert!(
            scrape.series().all(|series| !series.contains(&name)),
            "{name}"
        );
    }
    assert!(bytes(&scrape, TOPIC, "vcluster=\"north-\"") > 0.0);
    Ok(())
}

/// Commits for a group that is not running, straight at Kafka.
fn commit(world: &World, group: &str, topic: &str, offsets: &[i64]) -> Result<()> {
    let settings = [("group.id", group)];
    let consumer: BaseConsumer = librdkafka::config(&world.kafka(), &settings).create()?;
    let mut done = TopicPartitionList::new();
    for (partition, offset) in (0..).zip(offsets) {
        done.add_partition_offset(topic, partition, Offset::Offset(*offset))?;
    }
    // The coordinator of a first group takes its time.
    wait::until_true("a commit", LIMIT, || {
        consumer.commit(&done, CommitMode::Sync).is_ok()
    })
}

/// The greatest lag of a partition that the group has committed, says Kafka.
fn most(world: &World, group: &str, topic: &str, partitions: i32) -> Result<f64> {
    let ends = ends(world, topic, partitions)?;
    let offsets = committed(world, group, topic, partitions)?;
    let lags = ends.iter().zip(offsets);
    Ok(lags
        .filter_map(|(end, at)| Some(end - at?))
        .fold(0.0, f64::max))
}

#[test]
fn groups_that_nobody_asks_about_are_shown_after_a_restart() -> Result<()> {
    let world = world()?;
    let front = world.front(&[POLLED])?;
    let through = front.gateway.bootstrap();
    let topic = shared::unique("offsets");
    let (stopped, elsewhere) = (shared::unique("stopped"), shared::unique("elsewhere"));
    librdkafka::create_topic(&world.kafka(), &topic, 3)?;
    librdkafka::produce(&through, &[], &topic, numbers(60))?;
    let consumer = read(&through, &stopped, &topic, 60)?;
    consumer.commit_consumer_state(CommitMode::Sync)?;
    drop(consumer);
    drop(front);
    librdkafka::produce(&world.kafka(), &[], &topic, numbers(45))?;
    commit(&world, &elsewhere, &topic, &[1, 2])?;

    let front = world.front(&[POLLED])?;
    let lag = |group: &str| {
        format!("{LAG}{{vcluster=\"passthrough\",group=\"{group}\",topic=\"{topic}\"}}")
    };
    let facts = [&stopped, &elsewhere].map(|group| {
        let offsets = committed(&world, group, &topic, 3);
        let most = most(&world, group, &topic, 3);
        offsets.and_then(|offsets| Ok((group, offsets, most?)))
    });
    let facts: Vec<_> = facts.into_iter().collect::<Result<_>>()?;
    let expected = ends(&world, &topic, 3)?;
    assert!(facts.iter().all(|(_, _, most)| *most > 0.0), "{facts:?}");
    let scrape = front.eventually("the lags of both", |scrape| {
        shows(scrape, &topic, &expected)
            && facts.iter().all(|(group, offsets, most)| {
                shows_commits(scrape, group, &topic, offsets)
                    && scrape.has(&lag(group))
                    && scrape.get(&lag(group)) == *most
            })
    })?;
    // Nobody has produced or fetched here: the topic takes no place from those that are used.
    assert_eq!(scrape.count(BYTES, &[&format!("topic=\"{topic}\"")]), 0);

    let options = AdminOptions::new().operation_timeout(Some(LIMIT));
    let direct: AdminClient<DefaultClientContext> =
        librdkafka::config(&world.kafka(), &[]).create()?;
    wait::until_true("a group to be deleted", LIMIT, || {
        let deleted = librdkafka::block_on(direct.delete_groups(&[&elsewhere], &options));
        deleted.is_ok_and(|results| results.iter().all(Result::is_ok))
    })?;
    let scrape = front.eventually("one group less", |scrape| {
        scrape.count(COMMITS, &[&format!("group=\"{elsewhere}\"")]) == 0
            && !scrape.has(&lag(&elsewhere))
    })?;
    assert_eq!(scrape.get(&lag(&stopped)), facts[0].2);
    librdkafka::produce(&front.gateway.bootstrap(), &[], &topic, numbers(3))?;
    front.eventually("bytes, now that it is used", |scrape| {
        bytes(scrape, &topic, "direction=\"upstream\"") > 0.0
    })?;
    Ok(())
}

#[test]
fn groups_are_shown_in_their_virtual_cluster_only() -> Result<()> {
    const GROUP: &str = "sleepers";
    let world = world()?;
    let topic = shared::unique("offsets");
    for vcluster in ["east-", "east-inner-", "west-"] {
        let metadata = format!(r#"{{"name":"{vcluster}"}}"#);
        put(
            &world.secured,
            "VirtualCluster",
            "virtual-cluster",
            &metadata,
            "{}",
        )?;
    }
    let owners = [("east-", 7), ("east-inner-", 4), ("", 2)];
    for (prefix, count) in owners {
        let name = format!("{prefix}{topic}");
        librdkafka::create_topic(&world.kafka(), &name, 1)?;
        librdkafka::produce(&world.kafka(), &[], &name, numbers(count + 1))?;
        commit(&world, &format!("{prefix}{GROUP}"), &name, &[1])?;
    }
    // A group of one that has read a topic of another: not what its clients could see.
    commit(
        &world,
        &format!("east-{GROUP}"),
        &format!("east-inner-{topic}"),
        &[1],
    )?;

    let front = world.secured_front(&[POLLED])?;
    let scrape = front.eventually("three lags", |scrape| {
        owners.iter().all(|(prefix, count)| {
            let vcluster = if prefix.is_empty() {
                "passthrough"
            } else {
                prefix
            };
            let series =
                format!("{LAG}{{vcluster=\"{vcluster}\",group=\"{GROUP}\",topic=\"{topic}\"}}");
            scrape.has(&series) && scrape.get(&series) == *count as f64
        })
    })?;
    assert_eq!(scrape.count(LAG, &[&format!("group=\"{GROUP}\"")]), 3);
    for name in [
        format!("east-{GROUP}"),
        format!("inner-{GROUP}"),
        format!("inner-{topic}"),
    ] {
        let leaked = scrape.series().find(|series| series.contains(&name));
        assert_eq!(leaked, None);
    }
    Ok(())
}
