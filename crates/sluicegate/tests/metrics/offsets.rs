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
use crate::topics::{ENDS, ONLY_SEEN, bytes, end};
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
