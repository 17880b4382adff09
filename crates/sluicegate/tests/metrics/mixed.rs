//! What holds of all numbers at rest, after clients of many kinds and faults between gateway and broker.
//!
//! `SLUICEGATE_TEST_MIXED_SECONDS` is how long they go on; 8 if unset, the full proof takes 300.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testkit::rdkafka::consumer::{BaseConsumer, Consumer};
use testkit::rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use testkit::relay::{Mode, Way};
use testkit::{Result, librdkafka, shared};

use crate::requests::assert_invariants;
use crate::scrape::Scrape;
use crate::topics::BYTES;
use crate::world::{Front, HEARTBEAT, LIMIT, METADATA, UNKNOWN_VERSION, World, world};

const BYTES_OF_BROKERS: &str = "gateway_bytes_exchanged_vcluster_total";

#[test]
fn numbers_agree_after_a_mixed_workload_with_faults() -> Result<()> {
    let seconds = std::env::var("SLUICEGATE_TEST_MIXED_SECONDS");
    let seconds = seconds.map_or(8, |text| text.parse().expect("a number of seconds"));
    let world = world()?;
    let front = world.front(&[])?;
    let topic = shared::unique("mixed");
    librdkafka::create_topic(&world.kafka(), &topic, 6)?;
    let end = AtomicBool::new(false);
    let goes_on = || !end.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let clients = [
            scope.spawn(|| produce(&front, &topic, &goes_on)),
            scope.spawn(|| consume(&front, &topic, &goes_on)),
            scope.spawn(|| consume(&front, &topic, &goes_on)),
            scope.spawn(|| come_and_go(&front, &goes_on)),
        ];
        let faults = scope.spawn(|| disturb(&world, &goes_on));
        // What is seen meanwhile is no more than what could be.
        let until = Instant::now() + Duration::from_secs(seconds);
        let mut last: Option<Scrape> = None;
        while Instant::now() < until {
            let scrape = front.scrape()?;
            if let Some(last) = &last {
                assert_counters_only_grow(last, &scrape);
            }
            last = Some(scrape);
            thread::sleep(Duration::from_millis(200));
        }
        end.store(true, Ordering::Relaxed);
        faults.join().expect("faults")?;
        clients
            .into_iter()
            .try_for_each(|client| client.join().expect("a client"))
    })?;

    let after = front.eventually("rest", |scrape| {
        scrape.get("gateway_upstream_connections_downstream") == 0.0
            && scrape.get("gateway_brokered_active_connections") == 0.0
            && scrape.sum("gateway_current_inflight_apiKeys", &[]) == 0.0
    })?;
    assert_invariants(&after);
    assert!(after.get("gateway_backend_brokered_active_connections") == 0.0);
    for direction in ["upstream", "downstream"] {
        let direction = format!("direction=\"{direction}\"");
        let of_topics = after.sum(BYTES, &[&direction]);
        let of_all = after.sum(BYTES_OF_BROKERS, &[&direction]);
        assert!(
            0.0 < of_topics && of_topics <= of_all,
            "{of_topics} {of_all}"
        );
    }
    let connects = after.get("gateway_client_connect_total");
    assert_eq!(after.sum("gateway_client_close_total", &[]), connects);
    assert!(after.sum("gateway_errors_total", &[]) > 0.0, "faults");
    println!(
        "{} requests, {} errors, {connects} connections",
        after.sum("gateway_thread_request_rebuild_total", &[]),
        after.sum("gateway_errors_total", &[]),
    );
    Ok(())
}

fn produce(front: &Front, topic: &str, goes_on: &(impl Fn() -> bool + Sync)) -> Result<()> {
    let settings = [("linger.ms", "5"), ("compression.type", "lz4")];
    let producer: ThreadedProducer<DefaultProducerContext> =
        librdkafka::config(&front.gateway.bootstrap(), &settings).create()?;
    let value = "x".repeat(1000);
    let mut key = 0_u32;
    while goes_on() {
        key += 1;
        let key = key.to_string();
        let record = BaseRecord::to(topic).key(&key).payload(&value);
        if producer.send(record).is_err() || key.ends_with("00") {
            thread::sleep(Duration::from_millis(10));
        }
    }
    // What a fault has swallowed is sent again.
    let _ = producer.flush(LIMIT);
    Ok(())
}

fn consume(front: &Front, topic: &str, goes_on: &(impl Fn() -> bool + Sync)) -> Result<()> {
    let settings = [
        ("group.id", topic),
        ("auto.offset.reset", "earliest"),
        ("auto.commit.interval.ms", "500"),
    ];
    let consumer: BaseConsumer =
        librdkafka::config(&front.gateway.bootstrap(), &settings).create()?;
    consumer.subscribe(&[topic])?;
    while goes_on() {
        let _ = consumer.poll(Duration::from_millis(100));
    }
    Ok(())
}

/// Connections that ask, make errors, send nonsense, leave before the answer, or say nothing.
fn come_and_go(front: &Front, goes_on: &(impl Fn() -> bool + Sync)) -> Result<()> {
    let mut round = 0;
    while goes_on() {
        round += 1;
        let mut client = front.connect_to(1 + round % 3)?;
        client.set_timeout(Duration::from_secs(5))?;
        // Faults break some of these.
        let _ = match round % 6 {
            0 => Ok(()),
            1 => client.call(METADATA).map(drop),
            2 => client.call(HEARTBEAT).map(drop),
            3 => client.call(UNKNOWN_VERSION).map(drop),
            4 => client.send_bytes(&[0, 0, 0, 12, 0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0]),
            _ => client.send(METADATA).map(drop),
        };
    }
    Ok(())
}

/// Slows, stops and cuts what is between the gateway and one of the brokers.
fn disturb(world: &World, goes_on: &impl Fn() -> bool) -> Result<()> {
    let pause = |millis| thread::sleep(Duration::from_millis(millis));
    while goes_on() {
        for way in [Way::Up, Way::Down] {
            world.relay(|relay| relay.set(way, Mode::Delay(Duration::from_millis(50))));
            pause(500);
            world.relay(|relay| relay.set(way, Mode::Stall));
            pause(700);
            world.relay(|relay| {
                relay.cut();
                relay.set(way, Mode::Pass);
            });
            pause(700);
        }
    }
    Ok(())
}

fn assert_counters_only_grow(before: &Scrape, after: &Scrape) {
    for family in [
        "gateway_thread_request_rebuild_total",
        "gateway_current_inflight_apiKeys_total",
        "gateway_error_per_apiKeys_total",
        "gateway_latency_request_response_seconds_count",
        "gateway_bytes_exchanged_total",
        BYTES_OF_BROKERS,
        BYTES,
        "gateway_upstream_connection_creation_total",
    ] {
        let (old, new) = (before.sum(family, &[]), after.sum(family, &[]));
        assert!(old <= new, "{family} went from {old} to {new}");
    }
}
