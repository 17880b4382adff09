//! A foreign client, so that two equal mistakes do not agree: librdkafka produces, consumes in groups, runs transactions and administers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use devbroker::{DevCluster, Fault, Options, Rule};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::{ClientConfig, FromClientConfig};
use rdkafka::consumer::{BaseConsumer, Consumer, StreamConsumer};
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

const PATIENCE: Duration = Duration::from_secs(60);

async fn start(options: Options) -> DevCluster {
    DevCluster::start(options).await.expect("starts")
}

fn client<T: FromClientConfig>(cluster: &DevCluster, settings: &[(&str, &str)]) -> T {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap());
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config.create().expect("client")
}

async fn create(cluster: &DevCluster, name: &str, partitions: i32) {
    let admin: AdminClient<DefaultClientContext> = client(cluster, &[]);
    let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(3));
    let results = admin
        .create_topics(&[topic], &AdminOptions::new())
        .await
        .expect("asked");
    assert_eq!(results, [Ok(name.to_owned())]);
}

async fn produce(producer: &FutureProducer, topic: &str, values: impl Iterator<Item = String>) {
    let mut sent = Vec::new();
    for value in values {
        let record = FutureRecord::to(topic).key(&value).payload(&value);
        sent.push(
            producer
                .send_result(record)
                .map_err(|(error, _)| error)
                .expect("queued"),
        );
    }
    for delivery in sent {
        delivery.await.expect("kept").expect("delivered");
    }
}

/// Values from the beginning of the topic, until there are `count` and nothing more for a while.
async fn consume(cluster: &DevCluster, topic: &str, isolation: &str, count: usize) -> Vec<String> {
    let settings = [
        ("group.id", "reader"),
        ("auto.offset.reset", "earliest"),
        ("isolation.level", isolation),
        ("enable.auto.commit", "false"),
    ];
    let consumer: StreamConsumer = client(cluster, &settings);
    consumer.subscribe(&[topic]).expect("subscribed");
    let mut values = Vec::new();
    loop {
        let patience = if values.len() < count {
            PATIENCE
        } else {
            Duration::from_millis(300)
        };
        match tokio::time::timeout(patience, consumer.recv()).await {
            Ok(message) => {
                let message = message.expect("message");
                values.push(
                    String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned(),
                );
            }
            Err(_) => return values,
        }
    }
}

fn numbers(range: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    range.map(|n| format!("{n:06}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_compression_arrives_whole_and_in_order() {
    let cluster = start(Options::new()).await;
    for compression in ["none", "gzip", "lz4"] {
        let topic = format!("t-{compression}");
        create(&cluster, &topic, 1).await;
        let producer: FutureProducer = client(
            &cluster,
            &[
                ("compression.type", compression),
                ("enable.idempotence", "true"),
                ("linger.ms", "5"),
            ],
        );
        produce(&producer, &topic, numbers(0..5_000)).await;
        let values = consume(&cluster, &topic, "read_uncommitted", 5_000).await;
        assert!(
            values
                .iter()
                .eq(numbers(0..5_000).collect::<Vec<_>>().iter()),
            "{compression}"
        );
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_members_share_a_topic_and_one_takes_over() {
    let cluster = start(Options::new()).await;
    create(&cluster, "shared", 4).await;
    let producer: FutureProducer = client(&cluster, &[]);
    produce(&producer, "shared", numbers(0..2_000)).await;
    let settings = [
        ("group.id", "pair"),
        ("auto.offset.reset", "earliest"),
        ("session.timeout.ms", "6000"),
        ("heartbeat.interval.ms", "200"),
    ];
    let member = || -> BaseConsumer {
        let consumer: BaseConsumer = client(&cluster, &settings);
        consumer.subscribe(&["shared"]).expect("subscribed");
        consumer
    };
    let (first, second) = (member(), member());
    let counts = tokio::task::spawn_blocking(move || {
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        let poll = |consumer: &BaseConsumer, seen: &mut BTreeMap<String, u32>| {
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) {
                *seen
                    .entry(
                        String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned(),
                    )
                    .or_default() += 1;
            }
        };
        let end = Instant::now() + PATIENCE;
        let owned = |c: &BaseConsumer| c.assignment().map_or(0, |a| a.count());
        while (owned(&first), owned(&second)) != (2, 2) {
            assert!(
                Instant::now() < end,
                "balanced: {} {}",
                owned(&first),
                owned(&second)
            );
            poll(&first, &mut seen);
            poll(&second, &mut seen);
        }
        while seen.len() < 2_000 {
            assert!(Instant::now() < end, "{} seen", seen.len());
            poll(&first, &mut seen);
            poll(&second, &mut seen);
        }
        drop(second);
        while owned(&first) != 4 {
            assert!(Instant::now() < end, "taken over");
            poll(&first, &mut seen);
        }
        seen
    });
    assert_eq!(counts.await.expect("consumed").len(), 2_000);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_commit_abort_and_carry_offsets() {
    let cluster = start(Options::new()).await;
    create(&cluster, "in", 1).await;
    create(&cluster, "out", 2).await;
    let plain: FutureProducer = client(&cluster, &[]);
    produce(&plain, "in", numbers(0..10)).await;
    let producer: FutureProducer = client(&cluster, &[("transactional.id", "tx")]);
    let consumer: StreamConsumer = client(
        &cluster,
        &[
            ("group.id", "copier"),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "false"),
        ],
    );
    consumer.subscribe(&["in"]).expect("subscribed");
    for _ in 0..10 {
        tokio::time::timeout(PATIENCE, consumer.recv())
            .await
            .expect("in time")
            .expect("message");
    }
    producer.init_transactions(PATIENCE).expect("initialised");
    for (range, commit) in [
        (0..50, false),
        (50..100, true),
        (100..150, false),
        (150..200, true),
    ] {
        producer.begin_transaction().expect("begun");
        produce(&producer, "out", numbers(range.clone())).await;
        let mut offsets = TopicPartitionList::new();
        offsets
            .add_partition_offset("in", 0, Offset::Offset(i64::from(range.start / 50) + 1))
            .expect("offset");
        let metadata = consumer.group_metadata().expect("member");
        producer
            .send_offsets_to_transaction(&offsets, &metadata, PATIENCE)
            .expect("offsets sent");
        if commit {
            producer.commit_transaction(PATIENCE).expect("committed");
        } else {
            producer.abort_transaction(PATIENCE).expect("aborted");
        }
        let committed = consumer.committed(PATIENCE).expect("asked");
        let expected = match range.start {
            0 => Offset::Invalid,
            50 | 100 => Offset::Offset(2),
            _ => Offset::Offset(4),
        };
        assert_eq!(
            committed.find_partition("in", 0).map(|p| p.offset()),
            Some(expected)
        );
    }
    let committed: BTreeSet<String> = consume(&cluster, "out", "read_committed", 100)
        .await
        .into_iter()
        .collect();
    assert_eq!(
        committed,
        numbers(50..100).chain(numbers(150..200)).collect()
    );
    assert_eq!(
        consume(&cluster, "out", "read_uncommitted", 200)
            .await
            .len(),
        200
    );
    let fencing: FutureProducer = client(&cluster, &[("transactional.id", "tx")]);
    fencing.init_transactions(PATIENCE).expect("initialised");
    producer.begin_transaction().expect("begun locally");
    let fenced = producer
        .send(FutureRecord::to("out").key("k").payload("v"), PATIENCE)
        .await;
    assert!(fenced.is_err() || producer.commit_transaction(PATIENCE).is_err());
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn administration() {
    let cluster = start(Options::new()).await;
    let admin: AdminClient<DefaultClientContext> = client(&cluster, &[]);
    let options = AdminOptions::new();
    create(&cluster, "t", 2).await;
    let again = NewTopic::new("t", 2, TopicReplication::Fixed(1));
    assert!(
        admin
            .create_topics(&[again], &options)
            .await
            .expect("asked")[0]
            .is_err()
    );
    admin
        .create_partitions(&[NewPartitions::new("t", 5)], &options)
        .await
        .expect("asked")[0]
        .as_ref()
        .expect("grown");
    let metadata = admin
        .inner()
        .fetch_metadata(Some("t"), PATIENCE)
        .expect("metadata");
    assert_eq!(
        (
            metadata.brokers().len(),
            metadata.topics()[0].partitions().len()
        ),
        (3, 5)
    );
    let alter = AlterConfig::new(ResourceSpecifier::Topic("t")).set("retention.ms", "12345");
    admin
        .alter_configs(&[alter], &options)
        .await
        .expect("asked")[0]
        .as_ref()
        .expect("altered");
    let described = admin
        .describe_configs(
            &[ResourceSpecifier::Topic("t"), ResourceSpecifier::Broker(2)],
            &options,
        )
        .await
        .expect("asked");
    let topic = described[0].as_ref().expect("described");
    assert_eq!(
        topic.get("retention.ms").and_then(|e| e.value.as_deref()),
        Some("12345")
    );
    let broker = described[1].as_ref().expect("described");
    assert_eq!(
        broker.get("node.id").and_then(|e| e.value.as_deref()),
        Some("2")
    );
    admin.delete_topics(&["t"], &options).await.expect("asked")[0]
        .as_ref()
        .expect("deleted");
    assert!(admin.delete_topics(&["t"], &options).await.expect("asked")[0].is_err());
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_or_doubled_while_brokers_misbehave() {
    let cluster = start(Options::new()).await;
    create(&cluster, "t", 3).await;
    let faults = cluster.faults();
    let settings = [
        ("enable.idempotence", "true"),
        ("retry.backoff.ms", "20"),
        ("reconnect.backoff.ms", "20"),
        ("linger.ms", "1"),
    ];
    let producer: FutureProducer = client(&cluster, &settings);
    for (round, fault) in [
        Fault::CloseAfter,
        Fault::Error(6),
        Fault::Close,
        Fault::Delay(Duration::from_millis(30)),
    ]
    .into_iter()
    .enumerate()
    {
        let id = faults.inject(Rule::new(fault).api(0).times(3));
        let first = round as u32 * 500;
        produce(&producer, "t", numbers(first..first + 500)).await;
        assert!(faults.hits(id) > 0);
        faults
            .move_leader("t", round as i32 % 3, 1 + (round as i32 + 1) % 3)
            .expect("moved");
        faults.clear();
    }
    faults.stop_broker(1).await.expect("stopped");
    produce(&producer, "t", numbers(2_000..2_500)).await;
    faults.start_broker(1, Some(0)).await.expect("started");
    produce(&producer, "t", numbers(2_500..3_000)).await;
    let values = consume(&cluster, "t", "read_uncommitted", 3_000).await;
    assert_eq!(values.len(), 3_000);
    assert_eq!(
        values.into_iter().collect::<BTreeSet<_>>(),
        numbers(0..3_000).collect()
    );
    cluster.shutdown().await;
}
