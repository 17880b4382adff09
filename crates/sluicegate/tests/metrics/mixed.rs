//! What holds of all numbers at rest, after clients of many kinds and faults between gateway and broker.
//!
//! `SLUICEGATE_TEST_MIXED_SECONDS` is how long they go on; 8 if unset, the full proof takes 300.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testkit::raw::RawClient;
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
    let through = front.gateway.bootstrap();
    let doors: Vec<String> = (0..3).map(|slot| front.gateway.address(slot)).collect();
    let end = AtomicBool::new(false);
    let goes_on = || !end.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let clients = [
            scope.spawn(|| produce(&through, &topic, &goes_on)),
            scope.spawn(|| consume(&through, &topic, &goes_on)),
            scope.spawn(|| consume(&through, &topic, &goes_on)),
            scope.spawn(|| come_and_go(&doors, &goes_on)),
        ];
        let disturbed = disturb(&world, &front, Duration::from_secs(seconds));
        end.store(true, Ordering::Relaxed);
        disturbed?;
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

fn produce(through: &str, topic: &str, goes_on: &(impl Fn() -> bool + Sync)) -> Result<()> {
    let settings = [("linger.ms", "5"), ("compression.type", "lz4")];
    let producer: ThreadedProducer<DefaultProducerContext> =
        librdkafka::config(through, &settings).create()?;
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

fn consume(through: &str, topic: &str, goes_on: &(impl Fn() -> bool + Sync)) -> Result<()> {
    let settings = [
        ("group.id", topic),
        ("auto.offset.reset", "earliest"),
        ("auto.commit.interval.ms", "500"),
    ];
    let consumer: BaseConsumer = librdkafka::config(through, &settings).create()?;
    consumer.subscribe(&[topic])?;
    while goes_on() {
        let _ = consumer.poll(Duration::from_millis(100));
    }
    Ok(())
}

/// Connections that ask, make errors, send nonsense, leave before the answer, or say nothing.
fn come_and_go(doors: &[String], goes_on: &(impl Fn() -> bool + Sync)) -> Result<()> {
    for (round, door) in doors.iter().cycle().enumerate() {
        if !goes_on() {
            break;
        }
        let mut client = RawClient::connect(door)?;
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

/// Slows, stops and cuts what is between the gateway and one of the brokers. No counter goes back meanwhile.
fn disturb(world: &World, front: &Front, time: Duration) -> Result<()> {
    let until = Instant::now() + time;
    let mut last = front.scrape()?;
    let ways = [Way::Up, Way::Down];
    for way in ways.into_iter().cycle() {
        for mode in [
            Mode::Delay(Duration::from_millis(50)),
            Mode::Stall,
            Mode::Pass,
        ] {
            world.relay(|relay| {
                if mode == Mode::Pass {
                    relay.cut();
                }
                relay.set(way, mode);
            });
            thread::sleep(Duration::from_millis(600));
            let next = front.scrape()?;
            assert_counters_only_grow(&last, &next);
            last = next;
        }
        if Instant::now() >= until {
            break;
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
