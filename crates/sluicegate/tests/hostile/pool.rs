//! Upstream connections that clients share (`ROUND_ROBIN`).

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use testkit::Gateway;

use crate::frames::*;
use crate::scripted::Scripted;
use crate::world::{Brokers, LIMIT, eventually, options};

const LEGS: usize = 2;

fn pooled(bootstrap: &str) -> Gateway {
    options(bootstrap)
        .env("GATEWAY_UPSTREAM_CONNECTION_POOL_TYPE", "ROUND_ROBIN")
        .env("GATEWAY_UPSTREAM_NUM_CONNECTION", &LEGS.to_string())
        .start()
        .expect("the gateway starts")
}

/// A broker that answers Produce v7 with one partition without error, and other requests with zeros.
fn obliging() -> Scripted {
    Scripted::start(|asked, stream| stream.write_all(&asked.plain(&[0; 12])).is_ok())
}

#[test]
fn many_producers_share_few_connections_and_get_their_own_ids_back() {
    let broker = obliging();
    let gateway = pooled(&broker.bootstrap());
    let mut clients: Vec<_> = (0..50).map(|_| connect(&gateway.bootstrap())).collect();
    for round in 0..5 {
        for (n, client) in clients.iter_mut().enumerate() {
            for id in [n as i32, -1, i32::MIN + round] {
                let request = produce("shared", 1, b"value", id);
                client.send_bytes(&request).expect("it is taken");
            }
        }
        for (n, client) in clients.iter_mut().enumerate() {
            for id in [n as i32, -1, i32::MIN + round] {
                assert_eq!(answer(client).0, id);
            }
        }
    }
    assert_eq!(broker.client_connections(), LEGS);
}

#[test]
fn long_polls_do_not_delay_producers() {
    let brokers = Brokers::new(1);
    let gateway = pooled(&brokers.bootstrap());
    let mut producer = connect(&gateway.bootstrap());
    call(&mut producer, &metadata_of("polled", 1));
    call(&mut producer, &metadata_of("other", 1));
    let mut consumers: Vec<_> = (0..20).map(|_| connect(&gateway.bootstrap())).collect();
    for consumer in &mut consumers {
        let poll = Fetch {
            max_wait_ms: 60_000,
            ..Fetch::new("polled")
        };
        call(consumer, &metadata(1));
        consumer.send_bytes(&poll.frame(2)).expect("it is taken");
    }
    // Would be held up for a minute each.
    for id in 0..20 {
        call(&mut producer, &produce("other", 1, b"value", id));
    }
    call(&mut producer, &produce("polled", 1, b"value", 99));
    for consumer in &mut consumers {
        assert_eq!(answer(consumer).0, 2);
    }
}

/// A private request that is collected but not sent must not be waited for.
#[test]
fn a_client_that_stops_sharing_with_requests_in_flight_goes_on() {
    let brokers = Brokers::new(1);
    let gateway = pooled(&brokers.bootstrap());
    let mut client = connect(&gateway.bootstrap());
    call(&mut client, &metadata_of("leaving", 1));
    for (round, leaving) in [
        produce("leaving", 0, b"value", 3),
        produce_of(Some("id"), "leaving", -1, b"value", 3),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = connect(&gateway.bootstrap());
        let poll = Fetch {
            offset: 1000,
            max_wait_ms: 50,
            ..Fetch::new("leaving")
        };
        let all = [
            metadata(1),
            poll.frame(2),
            leaving,
            metadata(4),
            api_versions(5),
        ];
        client.send_bytes(&all.concat()).expect("they are taken");
        let expected: &[i32] = if round == 0 {
            &[1, 2, 4, 5]
        } else {
            &[1, 2, 3, 4, 5]
        };
        for id in expected {
            assert_eq!(answer(&mut client).0, *id, "round {round}");
        }
    }
}

#[test]
fn a_transactional_client_gets_a_connection_of_its_own() {
    let broker = obliging();
    let gateway = pooled(&broker.bootstrap());
    let mut sharing: Vec<_> = (0..4).map(|_| connect(&gateway.bootstrap())).collect();
    for client in &mut sharing {
        call(client, &list_groups(1));
    }
    assert_eq!(broker.client_connections(), LEGS);
    let mut transactional = connect(&gateway.bootstrap());
    call(&mut transactional, &list_groups(1));
    let mut init = Vec::new();
    text(&mut init, "transaction");
    init.extend(1000_i32.to_be_bytes());
    let init = frame(wire::api::ApiKey::INIT_PRODUCER_ID, 1, 2, &init);
    call(&mut transactional, &init);
    assert_eq!(broker.client_connections(), LEGS + 1);
    // Not only this request: the client stays on it.
    call(&mut transactional, &list_groups(3));
    assert_eq!(broker.client_connections(), LEGS + 1);
    drop(transactional);
    eventually("the private connection to end", || {
        broker.client_connections() == LEGS
    });
}

#[test]
fn a_lost_connection_ends_the_clients_that_wait_for_it_only() {
    let stuck = Arc::new(AtomicUsize::new(usize::MAX));
    let broker = Scripted::start({
        let stuck = stuck.clone();
        move |asked, stream| {
            if asked.api == 0 {
                stuck.store(asked.connection, Ordering::Relaxed);
                return false; // takes the connection down
            }
            stream.write_all(&asked.plain(&[0; 12])).is_ok()
        }
    });
    let gateway = pooled(&broker.bootstrap());
    let mut clients: Vec<_> = (0..2 * LEGS)
        .map(|_| connect(&gateway.bootstrap()))
        .collect();
    for client in &mut clients {
        call(client, &list_groups(1));
    }
    let request = produce("any", 1, b"value", 2);
    clients[0].send_bytes(&request).expect("it is taken");
    assert_closed(&mut clients[0], "its connection is lost");
    for client in &mut clients[1..] {
        call(client, &list_groups(3));
    }
    assert_ne!(stuck.load(Ordering::Relaxed), usize::MAX);
}

/// Answers that wait for a client which does not read are in memory as a whole.
#[test]
fn a_client_that_reads_nothing_has_few_shared_requests_in_flight() {
    const ANSWER: usize = 200 * 1024;
    let asked_for = Arc::new(AtomicUsize::new(0));
    let broker = Scripted::start({
        let asked_for = asked_for.clone();
        move |asked, stream| {
            asked_for.fetch_add(1, Ordering::Relaxed);
            stream.write_all(&asked.plain(&vec![0; ANSWER])).is_ok()
        }
    });
    let gateway = pooled(&broker.bootstrap());
    let before = gateway.resident_bytes();
    let mut clients: Vec<_> = (0..4).map(|_| connect(&gateway.bootstrap())).collect();
    for client in &mut clients {
        for id in 0..95 {
            client.send_bytes(&list_groups(id)).expect("it is taken");
        }
    }
    let mut last = 0;
    eventually("the requests to stop", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = asked_for.load(Ordering::Relaxed);
        std::mem::replace(&mut last, now) == now && now > 0
    });
    let grown = gateway.peak_resident_bytes() - before;
    // 16 answers each, windows, and as much again for the allocator.
    assert!(grown < 4 * 2 * 17 * ANSWER as u64, "memory grew by {grown}");
    for id in 0..95 {
        assert_eq!(answer(&mut clients[0]).0, id);
    }
}

/// A connection whose answer tells of a throttle is muted by the broker.
#[test]
fn a_throttled_client_does_not_stall_those_who_share_with_it() {
    const THROTTLED: i32 = 666;
    const BEHIND: i32 = 777;
    /// FindCoordinator v1 answers: throttle time, an error without a text, no node.
    const NOWHERE: [u8; 18] = [
        0, 0, 0xea, 0x60, 0, 15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff,
    ];
    let seen = Arc::new(AtomicUsize::new(0));
    let over = Arc::new(AtomicUsize::new(0));
    let muted = Arc::new(AtomicUsize::new(usize::MAX));
    let broker = Scripted::start({
        let (seen, over) = (seen.clone(), over.clone());
        move |asked, stream| {
            if asked.api == 10 {
                seen.store(1, Ordering::Relaxed);
                // Until the next request is there.
                let next = stream.peek(&mut [0]);
                muted.store(asked.connection, Ordering::Relaxed);
                return next.is_ok() && stream.write_all(&asked.plain(&NOWHERE)).is_ok();
            }
            while muted.load(Ordering::Relaxed) == asked.connection
                && over.load(Ordering::Relaxed) == 0
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            stream.write_all(&asked.plain(&[0; 12])).is_ok()
        }
    });
    let gateway = pooled(&broker.bootstrap());
    let mut clients: Vec<_> = (0..4 * LEGS)
        .map(|_| connect(&gateway.bootstrap()))
        .collect();
    for client in &mut clients {
        call(client, &list_groups(1));
    }
    assert_eq!(broker.client_connections(), LEGS);
    let mut body = Vec::new();
    text(&mut body, "group");
    body.push(0);
    let throttled = frame(wire::api::ApiKey::FIND_COORDINATOR, 1, THROTTLED, &body);
    clients[0].send_bytes(&throttled).expect("it is taken");
    eventually("it to be with the broker", || {
        seen.load(Ordering::Relaxed) == 1
    });
    let mut behind = clients.remove(LEGS); // on the same connection
    behind
        .send_bytes(&list_groups(BEHIND))
        .expect("it is taken");
    assert_eq!(answer(&mut clients[0]).0, THROTTLED);
    behind
        .send_bytes(&list_groups(BEHIND + 1))
        .expect("it is taken");
    // None of them waits for the end of the throttle, not even the throttled one: it has been told.
    for client in &mut clients {
        call(client, &list_groups(2));
    }
    // The muted one, one in its place, the other, and that of the throttled client.
    assert_eq!(broker.client_connections(), LEGS + 2);
    over.store(1, Ordering::Relaxed);
    for id in [BEHIND, BEHIND + 1] {
        assert_eq!(answer(&mut behind).0, id);
    }
    eventually("the muted connection to end", || {
        broker.client_connections() == LEGS + 1
    });
}

/// A broker answers such a request when other brokers have done something, and all that is behind it on its connection waits.
#[test]
fn who_waits_for_replicas_holds_up_nobody() {
    use wire::api::ApiKey;
    const WAITS: i32 = 13;
    let over = Arc::new(AtomicUsize::new(0));
    let broker = Scripted::start({
        let over = over.clone();
        move |asked, stream| {
            while asked.correlation_id == WAITS && over.load(Ordering::Relaxed) == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
            stream.write_all(&asked.plain(&[0; 12])).is_ok()
        }
    });
    let gateway = pooled(&broker.bootstrap());
    let waiting = [
        produce("any", -1, b"value", WAITS),
        default_frame(ApiKey::OFFSET_COMMIT, 2, WAITS),
        default_frame(ApiKey::HEARTBEAT, 0, WAITS),
        default_frame(ApiKey::INIT_PRODUCER_ID, 0, WAITS),
    ];
    let mut waiting: Vec<_> = waiting
        .into_iter()
        .map(|request| {
            let mut client = connect(&gateway.bootstrap());
            client.send_bytes(&request).expect("it is taken");
            client
        })
        .collect();
    eventually("all to be with the broker", || {
        broker.client_connections() == waiting.len()
    });
    let mut others: Vec<_> = (0..4 * LEGS)
        .map(|_| connect(&gateway.bootstrap()))
        .collect();
    for client in &mut others {
        call(client, &list_groups(1));
        call(client, &produce("any", 1, b"value", 2));
    }
    assert_eq!(broker.client_connections(), waiting.len() + LEGS);
    over.store(1, Ordering::Relaxed);
    for client in &mut waiting {
        assert_eq!(answer(client).0, WAITS);
    }
}

#[test]
fn a_substitute_is_not_shared() {
    let brokers = Brokers::new(3);
    let gateway = pooled(&brokers.bootstrap());
    brokers.hang_up(2);
    let mut client = connect(&gateway.address(1));
    call(&mut client, &metadata(1));
    client.send_bytes(&list_groups(2)).expect("it is taken");
    assert_closed(&mut client, "another broker would answer");
    let mut client = connect(&gateway.address(1));
    call(&mut client, &metadata(1));
    brokers.restart(2, None);
    assert_closed(&mut client, "its broker is back");
    call(&mut connect(&gateway.address(1)), &list_groups(2));
}

/// What a killed client leaves behind on a shared connection reaches nobody else.
#[test]
fn answers_for_clients_that_left_are_dropped() {
    let broker = obliging();
    let gateway = pooled(&broker.bootstrap());
    for round in 0..20 {
        let mut leaving = connect(&gateway.bootstrap());
        for id in 0..10 {
            leaving
                .send_bytes(&list_groups(500 + id))
                .expect("it is taken");
        }
        drop(leaving);
        let mut staying = connect(&gateway.bootstrap());
        staying.set_timeout(LIMIT).expect("the socket takes it");
        call(&mut staying, &list_groups(round));
    }
    assert!(broker.client_connections() <= LEGS);
}
