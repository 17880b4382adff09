//! Timers of the stages of requests.

use std::time::Duration;

use testkit::Result;
use testkit::relay::{Mode, Way};

use crate::scrape::Scrape;
use crate::world::{Front, METADATA, UNKNOWN_VERSION, world};

const TOTAL: &str = "request_total";
const WAIT: &str = "request_upstreamwait";
const STAGES: [&str; 8] = [
    "request_preprocess",
    "request_authorization",
    "request_rebuilder",
    "request_upstreamqueue",
    WAIT,
    "response_rebuilder",
    "response_authorization",
    "response_send",
];

fn series(stage: &str, part: &str, api: &str) -> String {
    format!("gateway_{stage}_duration_seconds_{part}{{api_key=\"{api}\"}}")
}

/// Waits until `count` requests more than `before` have come to their end; gives what has been added to a stage.
fn after(
    front: &Front,
    before: &Scrape,
    api: &'static str,
    count: usize,
) -> Result<impl Fn(&str, &str) -> f64> {
    let totals = series(TOTAL, "count", api);
    let before = before.clone();
    let after = front.eventually("all requests to be timed", |scrape| {
        scrape.get(&totals) - before.get(&totals) == count as f64
    })?;
    Ok(move |stage: &str, part: &str| {
        let series = series(stage, part, api);
        after.get(&series) - before.get(&series)
    })
}

#[test]
fn stages_add_up_to_the_total() -> Result<()> {
    const REQUESTS: usize = 50;
    let world = world()?;
    let front = &world.open;
    let before = front.scrape()?;
    let mut client = front.connect()?;
    for _ in 0..REQUESTS {
        client.call(METADATA)?;
    }
    let grown = after(front, &before, "METADATA", REQUESTS)?;
    let mut sum = 0.0;
    for stage in STAGES {
        assert_eq!(grown(stage, "count"), REQUESTS as f64, "{stage}");
        sum += grown(stage, "sum");
    }
    let total = grown(TOTAL, "sum");
    assert!((sum - total).abs() <= total * 0.02, "{sum} {total}");
    assert!(grown(WAIT, "sum") > 0.0);
    Ok(())
}

#[test]
fn a_slow_broker_moves_the_wait_for_it_only() -> Result<()> {
    const DELAY: f64 = 0.5;
    let world = world()?;
    let front = &world.open;
    let mut client = front.connect()?;
    client.call(METADATA)?;
    let before = front.eventually("the first answer", |scrape| {
        scrape.sum("gateway_current_inflight_apiKeys", &[]) == 0.0
    })?;
    world.relay(|relay| relay.set(Way::Down, Mode::Delay(Duration::from_secs_f64(DELAY))));
    let outcome = client.call(METADATA);
    world.relay(|relay| relay.set(Way::Down, Mode::Pass));
    outcome?;
    let grown = after(front, &before, "METADATA", 1)?;
    let (wait, total) = (grown(WAIT, "sum"), grown(TOTAL, "sum"));
    assert!(wait >= DELAY && total >= wait, "{wait} {total}");
    for stage in STAGES.into_iter().filter(|stage| *stage != WAIT) {
        let moved = grown(stage, "sum");
        assert!(moved < DELAY, "{stage} by {moved}");
    }
    Ok(())
}

#[test]
fn what_the_gateway_answers_itself_has_no_stages_of_brokers() -> Result<()> {
    let world = world()?;
    let front = &world.open;
    let before = front.scrape()?;
    let mut client = front.connect()?;
    for _ in 0..3 {
        client.call(UNKNOWN_VERSION)?;
    }
    let grown = after(front, &before, "API_VERSIONS", 3)?;
    for (stage, count) in [
        ("request_preprocess", 3.0),
        ("request_upstreamqueue", 0.0),
        (WAIT, 0.0),
        ("response_rebuilder", 0.0),
        ("response_send", 3.0),
    ] {
        assert_eq!(grown(stage, "count"), count, "{stage}");
    }
    Ok(())
}

#[test]
fn nothing_is_timed_unless_asked_for() -> Result<()> {
    let world = world()?;
    let scrape = world.secured.scrape()?;
    for stage in STAGES.into_iter().chain([TOTAL]) {
        let series = series(stage, "count", "METADATA");
        assert!(!scrape.has(&series), "{series}");
        assert!(world.open.scrape()?.has(&series), "{series}");
    }
    Ok(())
}
