//! The health endpoints with real brokers.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use testkit::process::Signal;
use testkit::relay::{Door, Mode, Relay, Way};
use testkit::{Gateway, GatewayOptions, Listener, Result, http, wait};

use crate::world::{LIMIT, METADATA, world};

/// Seconds of saturation; the full proof takes 60.
const SATURATION: &str = "SLUICEGATE_TEST_SATURATION";

fn options(bootstrap: &str) -> GatewayOptions {
    GatewayOptions::new(env!("CARGO_BIN_EXE_sluicegate"), bootstrap)
        .env("GATEWAY_SECURED_METRICS", "false")
}

fn status(gateway: &Gateway, path: &str) -> u16 {
    gateway.get(path).map_or(0, |(status, _)| status)
}

/// The value of `gateway_ready` for the check `upstream`.
fn upstream_is_ready(gateway: &Gateway) -> bool {
    let (_, scrape) = gateway.get("/metrics").expect("an answer");
    let line = "gateway_ready{check=\"upstream\"} 1";
    scrape.lines().any(|l| l == line)
}

#[test]
fn before_there_is_a_cluster() -> Result<()> {
    let world = world()?;
    let bootstrap = world.cluster.bootstrap(Listener::Relayed);
    let relay = Relay::new(bootstrap.split(',').next().unwrap_or_default())?;
    relay.set_door(Door::Closed);
    let mut gateway = options(&relay.address().to_string()).launch()?;
    wait::until_true("the admin port to answer", LIMIT, || {
        status(&gateway, "/health/live") == 200
    })?;
    assert_eq!(status(&gateway, "/health"), 200);
    assert_eq!(gateway.get("/health/ready")?, (503, "NOTREADY".to_owned()));
    assert!(!upstream_is_ready(&gateway));
    relay.set_door(Door::Open);
    gateway.wait_ready()?;
    assert_eq!(gateway.get("/health/ready")?, (200, "READY".to_owned()));
    assert!(upstream_is_ready(&gateway));

    // A request that is with the broker when the process is told to end.
    let mut client = testkit::raw::RawClient::connect(&gateway.address(0))?;
    client.call(METADATA)?;
    let series = "gateway_current_inflight_apiKeys{apiKeys=\"Metadata\",vcluster=\"passthrough\",username=\"anonymous\"} 1";
    world.relay(|relay| relay.set(Way::Down, Mode::Stall));
    let sent = client.send(METADATA);
    let in_flight = wait::until_true("the request to be in flight", LIMIT, || {
        let scrape = gateway.get("/metrics");
        scrape.is_ok_and(|(_, scrape)| scrape.lines().any(|line| line == series))
    });
    gateway.process().signal(Signal::Term);
    let (port, began) = (gateway.http_port(), Instant::now());
    let unready = wait::until_true("not to be ready", LIMIT, || {
        http::get(port, "/health/ready").is_ok_and(|(status, _)| status == 503)
    });
    world.relay(|relay| relay.set(Way::Down, Mode::Pass));
    sent?;
    in_flight.and(unready)?;
    client.receive()?;
    assert_eq!(gateway.wait_exit()?, 0);
    // The time that a platform gives a process to end.
    assert!(began.elapsed() < Duration::from_secs(30));
    Ok(())
}

#[test]
fn the_shape_of_the_report() -> Result<()> {
    let world = world()?;
    let (status, body) = world.open.gateway.get("/health")?;
    assert_eq!(status, 200);
    let report: Map<String, Value> = serde_json::from_str(&body).expect("JSON");
    // Order matters: members as they stand in the text.
    let places = [
        "\"status\":\"UP\"",
        "\"checks\":[{\"id\":\"buildInfo\",\"status\":\"UP\",\"data\":{\"version\":\"",
        "\"time\":\"",
        "\"commit\":\"",
        "{\"id\":\"live\",\"status\":\"UP\"}",
        "\"outcome\":\"UP\"",
    ];
    let mut rest = body.as_str();
    for place in places {
        let at = rest.find(place);
        rest = at
            .map(|at| &rest[at..])
            .unwrap_or_else(|| panic!("{place} in {body}"));
    }
    assert_eq!(report.len(), 3, "{body}");
    let checks = report["checks"].as_array().expect("a list");
    assert_eq!(checks.len(), 2);
    assert!(checks[1].get("data").is_none());
    let commit = checks[0]["data"]["commit"].as_str().unwrap_or_default();
    assert_eq!(commit.len(), 40, "{body}");
    assert!(commit.bytes().all(|b| b.is_ascii_hexdigit()));
    let time = checks[0]["data"]["time"].as_str().unwrap_or_default();
    assert!(time.ends_with("+0000"), "{time}");
    Ok(())
}

/// Clients that keep all workers busy, and ten probes a second.
#[test]
fn probes_are_answered_while_the_workers_are_saturated() -> Result<()> {
    let world = world()?;
    let seconds = std::env::var(SATURATION).ok();
    let seconds = seconds.and_then(|text| text.parse().ok());
    let (probes, is_full) = (seconds.unwrap_or(3_usize) * 10, seconds.is_some());
    let front = &world.open;
    let address = front.gateway.address(0);
    let (stop, requests) = (AtomicBool::new(false), AtomicUsize::new(0));
    let slowest = std::thread::scope(|scope| -> Result<Duration> {
        let clients: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    let mut client = testkit::raw::RawClient::connect(&address)?;
                    while !stop.load(Ordering::Relaxed) {
                        for _ in 0..50 {
                            client.send(crate::world::UNKNOWN_VERSION)?;
                        }
                        for _ in 0..50 {
                            client.receive()?;
                        }
                        requests.fetch_add(50, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        let mut slowest = Duration::ZERO;
        let mut probe = || -> Result<()> {
            for _ in 0..probes {
                let began = Instant::now();
                assert_eq!(front.gateway.get("/health/live")?.0, 200);
                slowest = slowest.max(began.elapsed());
                // The pace of the probes, not a wait for something.
                std::thread::sleep(Duration::from_millis(100).saturating_sub(began.elapsed()));
            }
            Ok(())
        };
        let outcome = probe();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("no panic")?;
        }
        outcome.map(|()| slowest)
    })?;
    println!("{probes} probes, the slowest {slowest:?}; {requests:?} requests meanwhile");
    assert!(requests.into_inner() > 0);
    assert!(!is_full || slowest < Duration::from_secs(1), "{slowest:?}");
    Ok(())
}

/// Takes over a minute, as brokers may be silent for half of one before it matters; see `docs/proofs.md`.
#[test]
#[ignore = "takes over a minute"]
fn frozen_brokers() -> Result<()> {
    const GRACE: Duration = Duration::from_secs(30);
    let world = world()?;
    let gateway = options(&world.cluster.bootstrap(Listener::Relayed)).start()?;
    let ids = world.cluster.node_ids();
    let frozen = Instant::now();
    ids.iter().for_each(|id| world.cluster.freeze(*id));
    let lost = wait::until_true("not to be ready", 2 * LIMIT, || {
        assert_eq!(status(&gateway, "/health/live"), 200);
        status(&gateway, "/health/ready") == 503
    });
    let (after, seen) = (frozen.elapsed(), upstream_is_ready(&gateway));
    ids.iter().for_each(|id| world.cluster.thaw(*id));
    let thawed = Instant::now();
    lost?;
    assert!(
        after >= GRACE - Duration::from_secs(6) && !seen,
        "{after:?}"
    );
    wait::until_true("to be ready again", LIMIT, || {
        status(&gateway, "/health/ready") == 200
    })?;
    println!(
        "not ready after {after:?}, ready again after {:?}",
        thawed.elapsed()
    );
    assert!(thawed.elapsed() < Duration::from_secs(5));
    assert!(upstream_is_ready(&gateway));
    world.cluster.wait_ready()?;
    Ok(())
}
