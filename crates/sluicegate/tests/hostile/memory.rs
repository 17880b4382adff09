//! Memory per connection: the figures of `docs/limits.md`.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use testkit::Gateway;
use testkit::raw::RawClient;

use crate::frames::*;
use crate::neighbour::Neighbour;
use crate::scripted::Scripted;
use crate::world::{Brokers, eventually, files_return_to, gateway, open_files};

const KIB: u64 = 1024;
/// What the gateway holds of a connection in each direction at most.
const WINDOW: u64 = 256 * KIB;

/// Waits until the gateway's memory is what it will be, and gives it.
fn settled(gateway: &Gateway) -> u64 {
    let mut last = 0;
    eventually("memory to settle", || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let now = gateway.resident_bytes();
        std::mem::replace(&mut last, now).abs_diff(now) < 64 * KIB
    });
    last
}

#[test]
fn a_hundred_stalled_consumers_hold_a_window_each() {
    const CONSUMERS: usize = 100;
    const ANSWER: usize = 50_000_000;
    let sent = Arc::new(AtomicUsize::new(0));
    let broker = Scripted::start({
        let sent = sent.clone();
        move |asked, stream| {
            if asked.api != 1 {
                return stream.write_all(&asked.plain(&[0; 6])).is_ok();
            }
            let size = (4 + ANSWER) as i32;
            let head = [size.to_be_bytes(), asked.correlation_id.to_be_bytes()].concat();
            stream.write_all(&head).is_ok()
                && (0..ANSWER / 10_000).all(|_| {
                    let written = stream.write_all(&[3; 10_000]).is_ok();
                    sent.fetch_add(10_000, Ordering::Relaxed);
                    written
                })
        }
    });
    let mut gateway = gateway(&broker.bootstrap());
    let files = open_files(&mut gateway);
    let before = settled(&gateway);
    let mut consumers: Vec<RawClient> = Vec::new();
    for id in 0..CONSUMERS {
        let mut client = connect(&gateway.bootstrap());
        let request = Fetch::new("stalled").frame(id as i32);
        client.send_bytes(&request).expect("it is taken");
        consumers.push(client);
    }
    eventually("all legs to be open", || {
        broker.client_connections() == CONSUMERS
    });
    let mut flowing = 0;
    eventually("the brokers to be stopped by back-pressure", || {
        std::thread::sleep(std::time::Duration::from_millis(300));
        let now = sent.load(Ordering::Relaxed);
        std::mem::replace(&mut flowing, now) == now && now > 0
    });
    // What has left the broker lies in sockets and one window, not in the gateway's memory.
    assert!(
        flowing < CONSUMERS * ANSWER / 2,
        "{flowing} bytes were read"
    );
    let peak = gateway.peak_resident_bytes();
    println!(
        "100 stalled consumers: {} KiB before, {} KiB at most, {} KiB each",
        before / KIB,
        peak / KIB,
        (peak - before) / KIB / CONSUMERS as u64
    );
    let bound = before + CONSUMERS as u64 * 2 * WINDOW;
    assert!(peak < bound, "{peak} bytes, {bound} are allowed");

    // Somebody else is served, and one of them goes on reading.
    call(&mut connect(&gateway.bootstrap()), &list_groups(1));
    let mut reader = consumers.pop().expect("there are some");
    assert_eq!(answer(&mut reader).1.len(), ANSWER);
    drop((consumers, reader));
    files_return_to(&mut gateway, files);
}

#[test]
fn a_thousand_idle_or_half_finished_connections_cost_little() {
    const CLIENTS: usize = 1000;
    let brokers = Brokers::new(1);
    let measure = |what: &str, bound: u64, begin: &dyn Fn(&mut RawClient)| {
        let mut gateway = gateway(&brokers.bootstrap());
        let neighbour = Neighbour::move_in(&gateway.bootstrap());
        let files = open_files(&mut gateway);
        let before = settled(&gateway);
        let clients: Vec<RawClient> = (0..CLIENTS)
            .map(|_| {
                let mut client = connect(&gateway.bootstrap());
                begin(&mut client);
                client
            })
            .collect();
        eventually("all to be accepted", || {
            open_files(&mut gateway) >= files + CLIENTS
        });
        neighbour.assert_well();
        let each = settled(&gateway).saturating_sub(before) / CLIENTS as u64;
        println!("1,000 connections, {what}: {each} bytes each");
        assert!(each < bound, "{what}: {each} bytes each");
        drop(clients);
        files_return_to(&mut gateway, files);
    };
    measure("silent", 16 * KIB, &|_| {});
    measure("half a frame", 16 * KIB, &|client| {
        client.send_bytes(&metadata(1)[..11]).expect("it is taken");
    });
    measure("idle with a leg", 32 * KIB, &|client| {
        call(client, &metadata(1));
    });
    // The costliest: a header that goes on and on and is never complete.
    let endless = {
        let mut frame = frame(wire::api::ApiKey::API_VERSIONS, 3, 1, &[0; 200_000]);
        frame.truncate(12_000);
        frame
    };
    measure("12,000 bytes of a frame", 32 * KIB, &|client| {
        client.send_bytes(&endless).expect("it is taken");
    });
}
