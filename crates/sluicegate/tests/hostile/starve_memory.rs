//! One tenant takes all the memory for whole frames that it can get, and another one goes on. Clients without a name are told apart
//! by their addresses, so the innocent one has another address.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use testkit::Gateway;
use testkit::raw::RawClient;
use wire::api::{ApiKey, Direction};

use crate::frames::*;
use crate::scripted::Scripted;
use crate::world::{Brokers, LIMIT, eventually, options};

const MIB: usize = 1 << 20;

/// What the innocent tenant gets done while the attack goes on.
const ROUNDS: usize = 20;

/// A gateway with shares for requests and answers of 16 and 32 MiB.
fn gateway(bootstrap: &str, env: &[(&str, &str)]) -> Gateway {
    let options = options(bootstrap).env("GATEWAY_MAX_BUFFERED_BYTES", &(64 * MIB).to_string());
    let options = env
        .iter()
        .fold(options, |options, (key, value)| options.env(key, value));
    options.start().expect("the gateway starts")
}

fn attack_factor() -> usize {
    let factor = std::env::var("SLUICEGATE_TEST_ATTACK").ok();
    factor.and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

fn attacker(gateway: &Gateway) -> RawClient {
    client(gateway, [127, 0, 0, 1])
}

fn innocent(gateway: &Gateway) -> RawClient {
    client(gateway, [127, 0, 0, 2])
}

fn client(gateway: &Gateway, local: [u8; 4]) -> RawClient {
    let address = gateway.bootstrap().parse().expect("an address");
    let local = IpAddr::V4(Ipv4Addr::from(local));
    let client = RawClient::connect_from(local, address).expect("the port accepts");
    client.set_timeout(LIMIT).expect("the socket takes it");
    client
}

/// Metadata v7 for so many topics, each with a name of 249 bytes.
fn metadata_of_many(topics: usize, correlation_id: i32) -> Vec<u8> {
    let mut body = (topics as i32).to_be_bytes().to_vec();
    for n in 0..topics {
        text(&mut body, &format!("{n:0>249}"));
    }
    body.push(0);
    frame(ApiKey::METADATA, 7, correlation_id, &body)
}

/// What the slowest and the median of some calls took.
fn timed(rounds: usize, mut call: impl FnMut()) -> (Duration, Duration) {
    let mut took: Vec<_> = (0..rounds)
        .map(|_| {
            let begun = Instant::now();
            call();
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    (took[rounds - 1], took[rounds / 2])
}

/// The slowest call may have become slower, the machine being busy, but has not waited for an attacker to be cut off.
#[track_caller]
fn assert_alike(before: (Duration, Duration), during: (Duration, Duration)) {
    let bound = 100 * before.0.max(Duration::from_millis(100));
    assert!(during.0 < bound, "{before:?} before, {during:?} during");
}

/// Requests that are judged as a whole, because clients may not create topics by asking for them, and never complete.
#[test]
fn promised_requests_take_nothing_from_others() {
    let brokers = Brokers::new(1);
    let judging = [("GATEWAY_AUTO_CREATE_TOPICS_ENABLED", "false")];
    let promised = {
        let mut frame = metadata_of_many(1, 1);
        frame[..4].copy_from_slice(&(4 * MIB as i32).to_be_bytes());
        frame
    };
    // 850 KiB with all that is made of it: within what the reserve has for one tenant.
    let request = metadata_of_many(1_150, 7);
    assert!(request.len() > 256 * 1024);
    for sent in [150, 300 * 1024, MIB] {
        let gateway = gateway(&brokers.bootstrap(), &judging);
        let mut client = innocent(&gateway);
        let before = timed(ROUNDS, || drop(call(&mut client, &request)));
        let mut bytes = promised.clone();
        bytes.resize(sent, b'x');
        let attackers: Vec<_> = (0..30 * attack_factor())
            .map(|_| {
                let mut attacker = attacker(&gateway);
                // Bytes beyond the window are taken only while there is memory.
                let socket = attacker.stream();
                socket.set_nonblocking(true).expect("the socket takes it");
                push(&mut attacker, &bytes);
                attacker
            })
            .collect();
        let during = timed(ROUNDS, || drop(call(&mut client, &request)));
        println!(
            "{} requests of 4 MiB of which {sent} bytes come: {ROUNDS} of 280 KB took {before:?} before and {during:?} during (slowest, median)",
            attackers.len()
        );
        assert_alike(before, during);
        drop(attackers);
    }
}

/// A valid answer to Metadata v7 of at least so many bytes.
fn metadata_answer(bytes: usize) -> Vec<u8> {
    const NAME: usize = 32_000;
    let mut body = [0; 4 + 4 + 2 + 4].to_vec(); // throttle time, no broker, an empty cluster id, controller
    let topics = bytes.div_ceil(NAME);
    body.extend((topics as i32).to_be_bytes());
    for _ in 0..topics {
        body.extend([0, 3]);
        text(&mut body, &"t".repeat(NAME));
        body.extend([0; 1 + 4]);
    }
    wire::walk::validate(ApiKey::METADATA, 7, Direction::Response, &body).expect("a message");
    body
}

/// Metadata v7, for a broker that is told the size of its answer in place of a topic count.
fn metadata_of_size(bytes: usize, correlation_id: i32) -> Vec<u8> {
    let body = [&(bytes as i32).to_be_bytes()[..], &[0]].concat();
    frame(ApiKey::METADATA, 7, correlation_id, &body)
}

/// Answers that are made as a whole, and clients that do not take them, or a byte at a time.
#[test]
fn answers_that_nobody_takes_make_room_for_others() {
    const LARGE: usize = 6 * MIB; // 12 MiB with what is made of it: two of them fit
    let broker = Scripted::start(|asked, stream| {
        let size = asked
            .body
            .first_chunk()
            .map_or(0, |n| i32::from_be_bytes(*n));
        let answer = metadata_answer(usize::try_from(size).unwrap_or(0));
        stream.write_all(&asked.plain(&answer)).is_ok()
    });
    // Whoever takes nothing for a while is not noticed by that alone.
    let patient = [("KAFKA_REQUEST_TIMEOUT_MS", "600000")];
    let gateway = gateway(&broker.bootstrap(), &patient);
    let mut client = innocent(&gateway);
    let small = metadata_of_size(400 * 1024, 1);
    let before = timed(ROUNDS, || drop(call(&mut client, &small)));
    let count = 4 * attack_factor();
    let mut attackers: Vec<_> = (0..count).map(|_| attacker(&gateway)).collect();
    for attacker in &mut attackers {
        push(attacker, &metadata_of_size(LARGE, 2));
    }
    eventually("all to have asked", || {
        broker.client_connections() == count + 1
    });
    let over = Arc::new(AtomicBool::new(false));
    let trickling = std::thread::spawn({
        let (attacker, over) = (attackers.remove(0), over.clone());
        move || {
            while !over.load(Ordering::Relaxed) {
                let mut byte = [0; 1];
                let _ = attacker.stream().read(&mut byte);
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    });
    let during = timed(ROUNDS, || drop(call(&mut client, &small)));
    assert_alike(before, during);
    let begun = Instant::now();
    call(&mut client, &metadata_of_size(LARGE, 3));
    println!(
        "{count} answers of 6 MiB that are not taken: {ROUNDS} of 400 KiB took {before:?} before and {during:?} during (slowest, median), one of 6 MiB {:?}",
        begun.elapsed()
    );
    // The last ones may keep what they have, as nobody waits for it.
    eventually("those who take nothing to be gone", || {
        broker.client_connections() < count
    });
    over.store(true, Ordering::Relaxed);
    trickling.join().expect("it ends");
}

/// What a client does not take holds no memory when the gateway begins to wait for it, and then answers over shared connections
/// come behind it, which do.
#[test]
fn answers_behind_one_that_nobody_takes_make_room_for_others() {
    const BEHIND: usize = 4;
    let of_size = |bytes: usize, id| metadata_of(&bytes.to_string(), id);
    let is_stuck = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let broker = Scripted::start({
        let (is_stuck, answered) = (is_stuck.clone(), answered.clone());
        move |asked, stream| match ApiKey(asked.api) {
            ApiKey::FETCH => {
                let patience = Some(Duration::from_secs(1));
                stream
                    .set_write_timeout(patience)
                    .expect("the socket takes it");
                let mut endless = asked.plain(&[0; MIB]);
                endless[..4].copy_from_slice(&i32::MAX.to_be_bytes());
                while stream.write_all(&endless).is_ok() {
                    endless.fill(0);
                }
                is_stuck.store(true, Ordering::Relaxed);
                true
            }
            ApiKey::METADATA => {
                eventually("the gateway to wait", || is_stuck.load(Ordering::Relaxed));
                // One topic, whose name is the size.
                let name = asked.body.get(6..asked.body.len() - 1);
                let size = name.and_then(|name| str::from_utf8(name).ok()?.parse().ok());
                let answer = metadata_answer(size.unwrap_or(0));
                let is_taken = stream.write_all(&asked.plain(&answer)).is_ok();
                answered.fetch_add(1, Ordering::Relaxed);
                is_taken
            }
            _ => stream.write_all(&asked.plain(&[0; 16])).is_ok(),
        }
    });
    let sharing = [
        ("KAFKA_REQUEST_TIMEOUT_MS", "600000"),
        ("GATEWAY_UPSTREAM_CONNECTION_POOL_TYPE", "ROUND_ROBIN"),
        ("GATEWAY_UPSTREAM_NUM_CONNECTION", "1"),
    ];
    let gateway = gateway(&broker.bootstrap(), &sharing);
    let mut attacker = attacker(&gateway);
    let mut requests = Fetch::new("endless").frame(1);
    for id in 0..BEHIND {
        requests.extend(of_size(3 * MIB, id as i32)); // 6 MiB each with what is made of it, of 28
    }
    push(&mut attacker, &requests);
    eventually("the gateway to hold the answers behind", || {
        answered.load(Ordering::Relaxed) == BEHIND
    });
    let over = Arc::new(AtomicBool::new(false));
    let trickling = std::thread::spawn({
        let over = over.clone();
        move || {
            while !over.load(Ordering::Relaxed) {
                let _ = attacker.stream().read(&mut [0; 1]);
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    });
    // It has a connection of its own, where answers wait for memory.
    let mut client = innocent(&gateway);
    let mut init = Vec::new();
    text(&mut init, "transaction");
    init.extend(1000_i32.to_be_bytes());
    call(&mut client, &frame(ApiKey::INIT_PRODUCER_ID, 1, 1, &init));
    call(&mut client, &of_size(6 * MIB, 2));
    over.store(true, Ordering::Relaxed);
    trickling.join().expect("it ends");
}
