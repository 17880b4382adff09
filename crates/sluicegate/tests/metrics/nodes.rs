//! Row 19: brokers that stop and start.

use testkit::Result;

use crate::world::{Front, World, world};

const NODES: &str = "gateway_upstream_io_nodes";

fn shows(front: &Front, count: usize) -> Result<()> {
    let what = format!("{count} brokers");
    front.eventually(&what, |scrape| scrape.get(NODES) == count as f64)?;
    Ok(())
}

/// Everybody is there again, whatever came before.
fn heal(world: &World, outcome: Result<()>) -> Result<()> {
    world.cluster.heal()?;
    outcome
}

#[test]
fn a_broker_that_stops_is_not_counted_until_it_is_back() -> Result<()> {
    let world = world()?;
    let front = &world.open;
    shows(front, 3)?;
    let stopped = world.cluster.stop(3).and_then(|()| shows(front, 2));
    heal(&world, stopped)?;
    shows(front, 3)
}

/// Takes over a minute: for so long the last answer is believed; see `docs/proofs.md`.
#[test]
#[ignore = "takes over a minute"]
fn without_any_broker_none_is_counted() -> Result<()> {
    let world = world()?;
    let front = &world.open;
    shows(front, 3)?;
    let ids = world.cluster.node_ids();
    // The last ones have nobody left to hand over to.
    ids.iter().for_each(|id| world.cluster.kill(*id));
    let lost = std::time::Instant::now();
    let gone = front.eventually("none", |scrape| scrape.get(NODES) == 0.0);
    let gone = gone.or_else(|_| front.eventually("none", |scrape| scrape.get(NODES) == 0.0));
    println!("none after {:?}", lost.elapsed());
    heal(&world, gone.map(drop))?;
    shows(front, 3)
}
