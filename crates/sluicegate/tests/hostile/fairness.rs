//! A client that keeps the gateway busy with what it asks, next to one that asks little, on one worker.
//!
//! `SLUICEGATE_TEST_ATTACK` is a factor for the attacks: 1 if unset; the full proof takes 10.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use wire::api::ApiKey;

use crate::frames::*;
use crate::world::{Brokers, options};

fn factor() -> usize {
    let factor = std::env::var("SLUICEGATE_TEST_ATTACK");
    factor.map_or(1, |text| text.parse().expect("a factor"))
}

/// DeleteGroups of so many groups without a name, a byte each.
fn delete_groups(names: usize, correlation_id: i32) -> Vec<u8> {
    let mut body = Vec::new();
    varint(&mut body, names as u64 + 1);
    body.resize(body.len() + names, 1);
    body.push(0); // no tagged fields
    frame(ApiKey::DELETE_GROUPS, 2, correlation_id, &body)
}

/// Sends `count` frames at once and takes the answers.
fn attack(address: &str, frames: &[u8], count: usize) {
    let client = connect(address);
    client
        .set_timeout(Duration::from_secs(300))
        .expect("an option");
    thread::scope(|scope| {
        let (mut up, mut down) = (client.stream(), client.stream());
        scope.spawn(move || up.write_all(frames).expect("they are taken"));
        for _ in 0..count {
            let mut len = [0; 4];
            down.read_exact(&mut len).expect("there is an answer");
            let mut answer = vec![0; u32::from_be_bytes(len) as usize];
            down.read_exact(&mut answer).expect("it is whole");
        }
    });
}

/// How long each of the calls takes that are made until `is_over`.
fn calls(address: &str, mut is_over: impl FnMut(usize) -> bool) -> Vec<Duration> {
    let mut client = connect(address);
    client
        .set_timeout(Duration::from_secs(300))
        .expect("an option");
    let mut took = Vec::new();
    while !is_over(took.len()) {
        let begun = Instant::now();
        call(&mut client, &metadata_of("none-of-mine", took.len() as i32));
        took.push(begun.elapsed());
        thread::sleep(Duration::from_millis(1));
    }
    took.sort();
    took
}

fn p99(sorted: &[Duration]) -> Duration {
    let at = sorted.len() * 99 / 100;
    sorted.get(at).copied().unwrap_or_default()
}

#[test]
fn requests_for_very_many_things_hold_up_nobody_else() {
    let brokers = Brokers::new(1);
    let gateway = options(&brokers.bootstrap())
        .env("GATEWAY_SECURITY_MODE", "GATEWAY_MANAGED")
        .env("GATEWAY_ACL_ENABLED", "true")
        .start()
        .expect("the gateway starts");
    let address = gateway.bootstrap();
    // Each of the first is too much at once; of the others it is their number.
    for (names, count) in [(1_000, 300), (200_000, 3)] {
        let count = count * factor();
        let frames: Vec<u8> = (0..count as i32)
            .flat_map(|id| delete_groups(names, id))
            .collect();
        let before = calls(&address, |count| count >= 100);
        let begun = Instant::now();
        let during = thread::scope(|scope| {
            let attacks = [(); 2].map(|()| scope.spawn(|| attack(&address, &frames, count)));
            calls(&address, |_| {
                attacks.iter().all(|attack| attack.is_finished())
            })
        });
        let took = begun.elapsed();
        println!(
            "2 x {count} requests of {names} names in {:.1} s: p99 of others {:?} before, {:?} during them ({} calls)",
            took.as_secs_f64(),
            p99(&before),
            p99(&during),
            during.len(),
        );
        // Without turns it is a call or two for all of them.
        assert!(during.len() > 20, "{} calls", during.len());
        let longest = during.last().copied().unwrap_or_default();
        assert!(longest * 4 < took, "one call took {longest:?} of {took:?}");
    }
}
