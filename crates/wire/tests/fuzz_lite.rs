//! The bodies of the fuzz targets on a fixed sequence of inputs: a smoke test of what `fuzz/` does at length.

extern crate sluicegate_wire as wire;

#[allow(missing_docs, dead_code, unreachable_pub)]
#[path = "../../../fuzz/src/bodies.rs"]
mod bodies;
#[allow(missing_docs, unreachable_pub)]
#[path = "../../../fuzz/src/seeds.rs"]
mod seeds;
#[allow(missing_docs, unreachable_pub)]
#[path = "../../../fuzz/src/typed.rs"]
mod typed;

use std::path::Path;

use bodies::Unguarded;
use wire::testing::{Rng, mutate};

const INPUTS: usize = 50_000;

/// Every seed once, then changed seeds. Returns how many inputs `body` accepted.
fn run(seeds: &[Vec<u8>], seed: u64, mut body: impl FnMut(&[u8]) -> bool) -> usize {
    let mut rng = Rng::new(seed);
    let mut accepted = seeds.iter().filter(|seed| body(seed)).count();
    for _ in seeds.len()..INPUTS {
        let mut input = seeds[rng.below(seeds.len())].clone();
        mutate(&mut input, &mut rng);
        accepted += usize::from(body(&input));
    }
    accepted
}

fn golden() -> seeds::Seeds {
    seeds::seeds(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden"))
}

#[test]
fn headers() {
    run(&golden().header, 11, |data| {
        bodies::header(data, &Unguarded);
        true
    });
}

#[test]
fn requests() {
    let accepted = run(&golden().request, 12, |data| {
        let accepted = bodies::request(data, &Unguarded);
        accepted.is_some_and(|accepted| {
            typed::decoder_survives(&accepted, &Unguarded);
            true
        })
    });
    assert!(
        accepted > INPUTS / 10,
        "{accepted}: the inputs have become too bad to test anything"
    );
}

#[test]
fn responses() {
    let accepted = run(&golden().response, 13, |data| {
        let accepted = bodies::response(data, &Unguarded);
        accepted.is_some_and(|accepted| {
            typed::decoder_survives(&accepted, &Unguarded);
            true
        })
    });
    assert!(
        accepted > INPUTS / 10,
        "{accepted}: the inputs have become too bad to test anything"
    );
}

#[test]
fn record_sets() {
    let seeds = golden().records;
    assert!(!seeds.is_empty());
    run(&seeds, 14, |data| {
        let batch = bodies::records(data, &Unguarded);
        batch.is_some_and(|batch| {
            typed::records_agree(&batch, &Unguarded);
            true
        })
    });
}
