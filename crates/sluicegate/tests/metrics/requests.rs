//! Rows 11 to 16, 26 and 27, the overhead and the origin of errors: what becomes of requests.

use std::time::Duration;

use testkit::Result;
use testkit::relay::{Mode, Way};

use crate::scrape::Scrape;
use crate::world::{Front, HEARTBEAT, METADATA, UNKNOWN_VERSION, world};

const REQUESTS: &str = "gateway_thread_request_rebuild_total";
const REQUESTS_BY_USER: &str = "gateway_current_inflight_apiKeys_total";
const IN_FLIGHT: &str = "gateway_current_inflight_apiKeys";
const LATENCY: &str = "gateway_latency_request_response_seconds";
const LATENCY_BY_API: &str = "gateway_apiKeys_latency_request_response_seconds";
const OVERHEAD: &str = "gateway_overhead_seconds";
const UPSTREAM: &str = "gateway_upstream_request_seconds";
const ERRORS_BY_USER: &str = "gateway_error_per_apiKeys_total";
const ERRORS: &str = "gateway_errors_total";

/// Waits until `count` answers more than `before` are counted and nothing is in flight.
fn at_rest(front: &Front, before: &Scrape, count: usize) -> Result<Scrape> {
    let answers = format!("{LATENCY}_count");
    front.eventually("all answers to be counted", |scrape| {
        scrape.get(&answers) - before.get(&answers) == count as f64
            && scrape.sum(IN_FLIGHT, &[]) == 0.0
    })
}

/// What holds of every scrape at rest.
pub(crate) fn assert_invariants(scrape: &Scrape) {
    let count = scrape.get(&format!("{LATENCY}_count"));
    assert_eq!(scrape.sum(&format!("{LATENCY_BY_API}_count"), &[]), count);
    assert_eq!(
        scrape.get(&format!("{LATENCY}_bucket{{le=\"+Inf\"}}")),
        count
    );
    let sums =
        scrape.sum(&format!("{LATENCY_BY_API}_sum"), &[]) - scrape.get(&format!("{LATENCY}_sum"));
    assert!(sums.abs() < 1e-6, "{sums}");
    assert_eq!(scrape.sum(&format!("{OVERHEAD}_count"), &[]), count);
    assert_eq!(scrape.sum(REQUESTS, &[]), scrape.sum(REQUESTS_BY_USER, &[]));
    assert_eq!(scrape.sum(ERRORS, &[]), scrape.sum(ERRORS_BY_USER, &[]));
    let get = |series| scrape.get(series);
    let opened = get("gateway_upstream_connection_creation_total");
    let closed = get("gateway_upstream_connection_close_total");
    let now = get("gateway_upstream_connections_upstream_connected");
    assert_eq!(opened - closed, now);
    assert!(get("gateway_brokered_active_connections") <= now);
    assert!(get("gateway_backend_brokered_active_connections") <= get("gateway_upstream_io_nodes"));
    let authenticated = scrape.sum("gateway_active_connections_vcluster", &[]);
    assert!(authenticated <= get("gateway_upstream_connections_downstream"));
}

#[test]
fn requests_and_answers_are_counted() -> Result<()> {
    let world = world()?;
    let front = &world.open;
    let before = front.scrape()?;
    let mut client = front.connect()?;
    for _ in 0..7 {
        client.call(METADATA)?;
    }
    let after = at_rest(front, &before, 7)?;
    let grown = |name: &str, labels: &[&str]| after.sum(name, labels) - before.sum(name, labels);
    let in_passthrough = "vcluster=\"passthrough\"";
    assert_eq!(
        grown(REQUESTS, &["api_key=\"METADATA\"", in_passthrough]),
        7.0
    );
    assert_eq!(grown(REQUESTS, &[]), 7.0);
    let labels = [
        "apiKeys=\"Metadata\"",
        in_passthrough,
        "username=\"anonymous\"",
    ];
    assert_eq!(grown(REQUESTS_BY_USER, &labels), 7.0);
    assert_eq!(
        grown(
            &format!("{LATENCY_BY_API}_count"),
            &["apiKeys=\"Metadata\""]
        ),
        7.0
    );
    assert_eq!(
        grown(&format!("{OVERHEAD}_count"), &["api_key=\"METADATA\""]),
        7.0
    );
    assert_eq!(
        grown(
            &format!("{UPSTREAM}_count"),
            &["broker=\"1\"", "request=\"other\""]
        ),
        7.0
    );
    assert_eq!(grown(ERRORS_BY_USER, &[]), 0.0, "nothing failed");
    assert_invariants(&after);
    Ok(())
}

#[test]
fn bytes_of_both_legs() -> Result<()> {
    const CLIENTS: &str = "gateway_bytes_exchanged_total";
    const BROKERS: &str = "gateway_bytes_exchanged_vcluster_total";
    let world = world()?;
    let front = &world.open;
    let before = front.scrape()?;
    let mut client = front.connect()?;
    let (mut sent, mut received) = (0, 0);
    for _ in 0..5 {
        sent += HEARTBEAT.frame(0).len();
        // Length and correlation id come before what is given.
        received += 8 + client.call(HEARTBEAT)?.len();
    }
    let after = at_rest(front, &before, 5)?;
    for family in [CLIENTS, BROKERS] {
        let grown = |direction| after.sum(family, &[direction]) - before.sum(family, &[direction]);
        assert_eq!(grown("direction=\"upstream\""), sent as f64, "{family}");
        assert_eq!(
            grown("direction=\"downstream\""),
            received as f64,
            "{family}"
        );
    }
    // What the gateway answers itself is on the leg of clients only.
    client.call(UNKNOWN_VERSION)?;
    let last = at_rest(front, &after, 1)?;
    assert_eq!(last.sum(BROKERS, &[]), after.sum(BROKERS, &[]));
    assert!(last.sum(CLIENTS, &[]) > after.sum(CLIENTS, &[]));
    assert_invariants(&last);
    Ok(())
}

#[test]
fn a_slow_broker_is_told_from_a_slow_gateway() -> Result<()> {
    const DELAY: f64 = 0.5;
    let world = world()?;
    let front = &world.open;
    let mut client = front.connect()?;
    client.call(METADATA)?;
    let before = front.eventually("the first answer", |scrape| {
        scrape.sum(IN_FLIGHT, &[]) == 0.0
    })?;
    world.relay(|relay| relay.set(Way::Down, Mode::Delay(Duration::from_secs_f64(DELAY))));
    let outcome = client.call(METADATA);
    world.relay(|relay| relay.set(Way::Down, Mode::Pass));
    outcome?;
    let after = at_rest(front, &before, 1)?;
    let grown = |name: &str, labels: &[&str]| after.sum(name, labels) - before.sum(name, labels);
    let total = grown(&format!("{LATENCY}_sum"), &[]);
    let upstream = grown(&format!("{UPSTREAM}_sum"), &["broker=\"1\""]);
    let overhead = grown(&format!("{OVERHEAD}_sum"), &["api_key=\"METADATA\""]);
    assert!(total >= DELAY && upstream >= DELAY, "{total} {upstream}");
    assert!(
        (total - upstream - overhead).abs() < 1e-6,
        "{total} {upstream} {overhead}"
    );
    assert!(overhead < upstream, "{overhead}");
    assert!(after.get(&format!("{LATENCY}_max")) >= DELAY);
    assert!(after.get(&format!("{UPSTREAM}_max{{broker=\"1\",request=\"other\"}}")) >= DELAY);
    Ok(())
}

/// More than may be in flight, while nothing comes from Kafka.
#[test]
fn waiting_for_a_turn_behind_a_slow_broker_is_no_overhead() -> Result<()> {
    const QUEUE: &str = "gateway_queue_wait_seconds";
    const TASKS: &str = "gateway_thread_tasks";
    const AT_ONCE: u16 = 300;
    let world = world()?;
    let pool = ("GATEWAY_UPSTREAM_CONNECTION_POOL_TYPE", "ROUND_ROBIN");
    for (settings, in_flight) in [(&[][..], 100), (&[pool], 16)] {
        let front = world.front(settings)?;
        let mut client = front.connect()?;
        client.call(METADATA)?;
        let before = front.eventually("the first answer", |scrape| {
            scrape.sum(IN_FLIGHT, &[]) == 0.0
        })?;
        world.relay(|relay| relay.set(Way::Down, Mode::Stall));
        let mut stalled = || -> Result<()> {
            let frames = (0..AT_ONCE).map(|id| METADATA.frame(id.into()));
            client.send_bytes(&frames.collect::<Vec<_>>().concat())?;
            front.eventually("all to be read", |scrape| {
                scrape.sum(IN_FLIGHT, &[]) == f64::from(in_flight)
                    && scrape.sum(TASKS, &[]) == f64::from(AT_ONCE - in_flight)
            })?;
            // So that waiting is more than what anything else takes.
            std::thread::sleep(Duration::from_millis(1000));
            Ok(())
        };
        let outcome = stalled();
        world.relay(|relay| relay.set(Way::Down, Mode::Pass));
        outcome?;
        for _ in 0..AT_ONCE {
            client.receive()?;
        }
        let after = at_rest(&front, &before, AT_ONCE.into())?;
        let grown = |name: &str| after.sum(name, &[]) - before.sum(name, &[]);
        assert_eq!(grown(TASKS), 0.0);
        let waited = f64::from(AT_ONCE - in_flight);
        let queued = grown(&format!("{QUEUE}_count"));
        assert!(queued >= waited, "{queued} waited of {waited}");
        let seconds = grown(&format!("{QUEUE}_sum"));
        assert!(seconds >= waited, "{seconds} s");
        let overhead = grown(&format!("{OVERHEAD}_sum"));
        println!("waited {seconds:.3} s, overhead {overhead:.3} s, {AT_ONCE} requests");
        assert!(overhead < seconds / 4.0, "{overhead} of {seconds}");
        assert_invariants(&after);
    }
    Ok(())
}

#[test]
fn requests_in_flight() -> Result<()> {
    let world = world()?;
    let front = &world.open;
    let mut client = front.connect()?;
    client.call(METADATA)?;
    let before = front.eventually("the first answer", |scrape| {
        scrape.sum(IN_FLIGHT, &[]) == 0.0
    })?;
    world.relay(|relay| relay.set(Way::Down, Mode::Stall));
    let mut stalled = || -> Result<()> {
        for _ in 0..3 {
            client.send(METADATA)?;
        }
        front.eventually("three in flight", |scrape| {
            scrape.sum(IN_FLIGHT, &[]) == 3.0
        })?;
        Ok(())
    };
    let outcome = stalled();
    world.relay(|relay| relay.set(Way::Down, Mode::Pass));
    outcome?;
    for _ in 0..3 {
        client.receive()?;
    }
    let after = at_rest(front, &before, 3)?;
    assert_eq!(after.sum("gateway_thread_tasks", &[]), 0.0);
    assert_invariants(&after);
    Ok(())
}

#[test]
fn errors_by_who_said_so() -> Result<()> {
    let world = world()?;
    let front = &world.open;
    let before = front.scrape()?;
    let mut client = front.connect()?;
    for _ in 0..4 {
        client.call(HEARTBEAT)?;
    }
    for _ in 0..2 {
        client.call(UNKNOWN_VERSION)?;
    }
    let after = at_rest(front, &before, 6)?;
    let grown = |name: &str, labels: &[&str]| after.sum(name, labels) - before.sum(name, labels);
    assert_eq!(
        grown(ERRORS, &["api_key=\"HEARTBEAT\"", "origin=\"broker\""]),
        4.0
    );
    let unsupported = [
        "api_key=\"API_VERSIONS\"",
        "error_code=\"35\"",
        "origin=\"gateway\"",
    ];
    assert_eq!(grown(ERRORS, &unsupported), 2.0);
    assert_eq!(
        grown(
            ERRORS_BY_USER,
            &["apiKeys=\"Heartbeat\"", "username=\"anonymous\""]
        ),
        4.0
    );
    assert_eq!(grown(ERRORS_BY_USER, &[]), 6.0);
    assert_invariants(&after);
    Ok(())
}

#[test]
fn answers_that_a_lost_broker_owes_are_errors() -> Result<()> {
    let world = world()?;
    let front = &world.open;
    let mut client = front.connect()?;
    client.call(METADATA)?;
    let before = front.eventually("the first answer", |scrape| {
        scrape.sum(IN_FLIGHT, &[]) == 0.0
    })?;
    world.relay(|relay| relay.set(Way::Down, Mode::Stall));
    let sent = client.send(METADATA);
    let waiting = front.eventually("one in flight", |scrape| scrape.sum(IN_FLIGHT, &[]) == 1.0);
    world.relay(|relay| {
        relay.cut();
        relay.set(Way::Down, Mode::Pass);
    });
    sent?;
    waiting?;
    assert!(client.is_closed_by_peer());
    let labels = [
        "api_key=\"METADATA\"",
        "error_code=\"<none>\"",
        "origin=\"broker\"",
    ];
    let after = front.eventually("the error", |scrape| {
        scrape.sum(ERRORS, &labels) - before.sum(ERRORS, &labels) == 1.0
    })?;
    assert_eq!(after.sum(IN_FLIGHT, &[]), 0.0);
    assert_invariants(&after);
    Ok(())
}

#[test]
fn requests_that_cannot_be_understood() -> Result<()> {
    const RECEIVED: &str = "gateway_thread_request_received_total";
    let world = world()?;
    let front = &world.open;
    let before = front.scrape()?;
    let mut client = front.connect()?;
    client.call(METADATA)?;
    let after = at_rest(front, &before, 1)?;
    assert_eq!(after.get(RECEIVED) - before.get(RECEIVED), 1.0);
    for _ in 0..3 {
        let mut client = front.connect()?;
        // A request of an API that there is not.
        client.send_bytes(&[0, 0, 0, 10, 99, 99, 0, 0, 0, 0, 0, 1, 255, 255])?;
        assert!(client.is_closed_by_peer());
    }
    let last = front.eventually("three more to be read", |scrape| {
        scrape.get(RECEIVED) - after.get(RECEIVED) == 3.0
    })?;
    assert_eq!(last.sum(REQUESTS, &[]), after.sum(REQUESTS, &[]));
    Ok(())
}

#[test]
fn requests_that_cannot_be_begun() -> Result<()> {
    /// What may be in flight on a connection, and one more.
    const SENT: usize = 101;
    const WAITING: &str = "gateway_thread_tasks";
    let world = world()?;
    let front = &world.open;
    let mut client = front.connect()?;
    client.call(METADATA)?;
    let before = front.eventually("the first answer", |scrape| {
        scrape.sum(IN_FLIGHT, &[]) == 0.0
    })?;
    assert_eq!(
        before.sum(WAITING, &[]),
        0.0,
        "idle connections do not count"
    );
    world.relay(|relay| relay.set(Way::Down, Mode::Stall));
    let mut stalled = || -> Result<()> {
        for _ in 0..SENT {
            client.send(METADATA)?;
        }
        front.eventually("one to wait", |scrape| {
            scrape.sum(WAITING, &[]) == 1.0 && scrape.sum(IN_FLIGHT, &[]) == (SENT - 1) as f64
        })?;
        Ok(())
    };
    let outcome = stalled();
    world.relay(|relay| relay.set(Way::Down, Mode::Pass));
    outcome?;
    for _ in 0..SENT {
        client.receive()?;
    }
    let after = at_rest(front, &before, SENT)?;
    assert_eq!(after.sum(WAITING, &[]), 0.0);
    Ok(())
}

/// AlterClientQuotas v0: sets the share of the request threads that client id `throttled` may use, or takes the quota away.
fn quota(remove: bool) -> Vec<u8> {
    let text = |text: &str| {
        let mut bytes = (text.len() as u16).to_be_bytes().to_vec();
        bytes.extend(text.as_bytes());
        bytes
    };
    let mut body = vec![0, 0, 0, 1, 0, 0, 0, 1];
    body.extend(text("client-id"));
    body.extend(text("throttled"));
    body.extend([0, 0, 0, 1]);
    body.extend(text("request_percentage"));
    body.extend(0.001_f64.to_be_bytes());
    body.extend([u8::from(remove), 0]);
    body
}

#[test]
fn throttled_answers() -> Result<()> {
    const THROTTLE: &str = "gateway_apiKeys_throttle_ms_seconds";
    const MOST: usize = 1000;
    let world = world()?;
    let front = &world.open;
    let set = |remove| -> Result<()> {
        let body = quota(remove);
        let request = testkit::raw::Request {
            api: 49,
            version: 0,
            body: &body,
            ..METADATA
        };
        let answer = front.connect()?.call(request)?;
        // Throttle time, how many entries, and the error of the first.
        assert_eq!(
            answer.get(4..10),
            Some(&[0, 0, 0, 1, 0, 0][..]),
            "{answer:?}"
        );
        Ok(())
    };
    set(false)?;
    let before = front.scrape()?;
    let mut client = front.connect()?;
    let request = testkit::raw::Request {
        version: 3,
        client_id: "throttled",
        ..METADATA
    };
    let (mut told, mut count) = (0, 0);
    for _ in 0..MOST {
        let answer = client.call(request)?;
        let ms = answer.first_chunk().map_or(0, |b| u32::from_be_bytes(*b));
        told += ms;
        count += usize::from(ms > 0);
        if count == 2 {
            break;
        }
    }
    set(true)?;
    assert!(count > 0, "the broker throttles");
    let labels = ["apiKeys=\"Metadata\"", "vcluster=\"passthrough\""];
    let after = front.eventually("throttled answers to be counted", |scrape| {
        let name = format!("{THROTTLE}_count");
        scrape.sum(&name, &labels) - before.sum(&name, &labels) == count as f64
    })?;
    let sum = format!("{THROTTLE}_sum");
    let grown = after.sum(&sum, &labels) - before.sum(&sum, &labels);
    assert!(
        (grown - f64::from(told) / 1000.0).abs() < 1e-6,
        "{grown} {told}"
    );
    Ok(())
}
