//! Brokers that are away, come back, move, and join.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use testkit::http::Request as HttpRequest;
use testkit::{Gateway, raw};

use crate::frames::*;
use crate::scripted::Scripted;
use crate::world::{Brokers, eventually, files_return_to, gateway, open_files, options};

/// Port of broker `id`.
fn slot(id: u16) -> u16 {
    id - 1
}

#[test]
fn the_port_of_a_dead_broker_still_leads_into_the_cluster() {
    let brokers = Brokers::new(3);
    let gateway = gateway(&brokers.bootstrap());
    for noticed in [false, true] {
        if noticed {
            brokers.stop(2);
            eventually("the gateway to notice", || {
                raw::metadata(&gateway.bootstrap()).is_ok_and(|view| view.brokers.len() == 2)
            });
        } else {
            brokers.hang_up(2);
        }
        let mut client = connect(&gateway.address(slot(2)));
        call(&mut client, &metadata(1));
        // What only broker 2 knows is not asked of another one.
        client.send_bytes(&list_groups(2)).expect("it is taken");
        assert_closed(&mut client, "ListGroups of a dead broker");
        // A port that never had a broker leads anywhere.
        call(&mut connect(&gateway.address(slot(5))), &list_groups(3));
        brokers.restart(2, None);
        eventually("broker 2 to serve again", || {
            let mut client = connect(&gateway.address(slot(2)));
            push(&mut client, &list_groups(4));
            client.receive().is_ok()
        });
    }
}

#[test]
fn a_substitute_ends_when_its_broker_is_back() {
    let brokers = Brokers::new(3);
    let users = r#"[{"username":"admin","password":"secret","admin":true}]"#;
    let mut gateway = options(&brokers.bootstrap())
        .env("GATEWAY_ADMIN_API_USERS", users)
        .start()
        .expect("the gateway starts");
    let closed = |gateway: &Gateway, reason: &str| {
        let request = HttpRequest::new("GET", "/metrics").basic("admin", "secret");
        let (_, text) = request.send(gateway.http_port()).expect("a scrape");
        let series = format!("gateway_client_close_total{{reason=\"{reason}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.and_then(|count| count.parse::<f64>().ok())
            .expect("it is born at zero")
    };
    let files = open_files(&mut gateway);
    for port in [None, Some(0)] {
        brokers.stop(2);
        let mut substituted = connect(&gateway.address(slot(2)));
        call(&mut substituted, &metadata(1));
        let mut other = connect(&gateway.address(slot(3)));
        call(&mut other, &metadata(1));
        assert_silent(&mut substituted, "its broker is still away");
        brokers.restart(2, port);
        assert_closed(&mut substituted, "its broker is back");
        call(&mut other, &metadata(2));
        // The reconnected client is at the right broker, wherever that listens now.
        call(&mut connect(&gateway.address(slot(2))), &list_groups(2));
    }
    // The gateway keeps a connection of its own to one of them.
    files_return_to(&mut gateway, files + 2);
    // Nothing was shut down.
    assert_eq!(closed(&gateway, "returned"), 2.0);
    assert_eq!(closed(&gateway, "shutdown"), 0.0);
}

#[test]
fn a_broker_that_dies_takes_its_clients_along_and_no_others() {
    let brokers = Brokers::new(3);
    let gateway = gateway(&brokers.bootstrap());
    let mut clients: Vec<_> = (1..=3)
        .map(|id| {
            let mut client = connect(&gateway.address(slot(id)));
            call(&mut client, &list_groups(1));
            client
        })
        .collect();
    brokers.hang_up(2);
    assert_closed(&mut clients[1], "its broker is dead");
    for id in [0, 2] {
        call(&mut clients[id], &list_groups(2));
    }
}

#[test]
fn all_brokers_away_closes_connections_and_comes_back() {
    let brokers = Brokers::new(2);
    let gateway = gateway(&brokers.bootstrap());
    for id in 1..=2 {
        brokers.hang_up(id);
    }
    let mut client = connect(&gateway.bootstrap());
    push(&mut client, &metadata(1));
    assert_closed(&mut client, "no broker can be reached");
    assert_eq!(gateway.get("/health/live").expect("an answer").0, 200);
    for id in 1..=2 {
        brokers.restart(id, None);
    }
    eventually("the cluster to be served again", || {
        raw::metadata(&gateway.bootstrap()).is_ok_and(|view| view.brokers.len() == 2)
    });
}

/// Brokers of a scripted Metadata v7 answer: the scripted one, and one with this id.
fn metadata_with(second: i32) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(2_i32.to_be_bytes());
    for id in [1, second] {
        body.extend(id.to_be_bytes());
        text(&mut body, "kafka.internal");
        body.extend(9092_i32.to_be_bytes());
        body.extend([0xff, 0xff]);
    }
    text(&mut body, "cluster");
    body.extend(second.to_be_bytes()); // controller
    body.extend(1_i32.to_be_bytes()); // one topic
    body.extend([0, 0]);
    text(&mut body, "topic");
    body.push(0);
    body.extend(2_i32.to_be_bytes());
    for (partition, leader) in [(0_i32, 1_i32), (1, second)] {
        body.extend([0, 0]);
        body.extend(partition.to_be_bytes());
        body.extend(leader.to_be_bytes());
        body.extend(0_i32.to_be_bytes()); // leader epoch
        for _ in 0..2 {
            body.extend(1_i32.to_be_bytes());
            body.extend(leader.to_be_bytes());
        }
        body.extend(0_i32.to_be_bytes()); // offline
    }
    body
}

#[test]
fn a_broker_within_the_range_is_shown_and_one_beyond_it_is_not() {
    let second = Arc::new(AtomicI32::new(4));
    let broker = Scripted::start({
        let second = second.clone();
        move |asked, stream| {
            let second = second.load(Ordering::Relaxed);
            let body = match asked.api {
                3 => metadata_with(second),
                _ => {
                    let mut body = vec![0, 0];
                    body.extend(second.to_be_bytes());
                    text(&mut body, "kafka.internal");
                    body.extend(9092_i32.to_be_bytes());
                    body
                }
            };
            stream.write_all(&asked.plain(&body)).is_ok()
        }
    });
    let gateway = gateway(&broker.bootstrap());
    let mut client = connect(&gateway.bootstrap());
    let within = call(&mut client, &metadata(1));
    assert_eq!(within[4..8], 2_i32.to_be_bytes(), "both brokers");
    let named = |answer: &[u8], name: &str| {
        answer
            .windows(name.len())
            .any(|part| part == name.as_bytes())
    };
    assert!(!named(&within, "kafka.internal"));

    second.store(77, Ordering::Relaxed); // the ports are those of 1 to 5
    let beyond = call(&mut client, &metadata(2));
    assert_eq!(beyond[4..8], 1_i32.to_be_bytes(), "one broker");
    assert!(!named(&beyond, "kafka.internal"));
    // throttle time, the broker, the cluster id
    let controller = 4 + 4 + (4 + 2 + "127.0.0.1".len() + 4 + 2) + 2 + "cluster".len();
    assert_eq!(beyond[controller..][..4], 1_i32.to_be_bytes());
    let partitions = controller + 4 + 4 + 2 + 2 + "topic".len() + 1 + 4;
    let partition_len = 2 + 4 + 4 + 4 + 8 + 8 + 4;
    let (first, last) = beyond[partitions..].split_at(partition_len);
    assert_eq!(first[..2], [0, 0]);
    assert_eq!(last[..2], [0, 72], "LISTENER_NOT_FOUND");
    assert_eq!(last[6..10], (-1_i32).to_be_bytes(), "no leader");

    let coordinator = call(&mut client, &find_coordinator("group", 3));
    assert_eq!(coordinator[..2], [0, 15], "COORDINATOR_NOT_AVAILABLE");
    assert!(!named(&coordinator, "kafka.internal"));
    let log = || gateway.log().matches("a broker has no port").count();
    eventually("the log to say so", || log() > 0);
    call(&mut client, &metadata(4));
    assert_eq!(log(), 1, "once per broker");
}

/// Metadata v1 to v5 knows no LISTENER_NOT_FOUND.
#[test]
fn old_clients_are_told_that_the_leader_is_not_available() {
    let broker = Scripted::start(|asked, stream| {
        let mut body = Vec::new(); // v1: brokers, controller, topics
        body.extend(2_i32.to_be_bytes());
        for id in [1_i32, 77] {
            body.extend(id.to_be_bytes());
            text(&mut body, "kafka.internal");
            body.extend(9092_i32.to_be_bytes());
            body.extend([0xff, 0xff]);
        }
        body.extend(1_i32.to_be_bytes());
        body.extend(1_i32.to_be_bytes());
        body.extend([0, 0]);
        text(&mut body, "topic");
        body.push(0);
        body.extend(1_i32.to_be_bytes());
        body.extend([0, 0, 0, 0, 0, 0]);
        body.extend(77_i32.to_be_bytes());
        body.extend([0; 8]); // no replicas
        stream.write_all(&asked.plain(&body)).is_ok()
    });
    let gateway = options(&broker.bootstrap())
        .start()
        .expect("the gateway starts");
    let request = frame(wire::api::ApiKey::METADATA, 1, 1, &[0xff; 4]);
    let answer = call(&mut connect(&gateway.bootstrap()), &request);
    let partition = &answer[answer.len() - 18..];
    assert_eq!(partition[..2], [0, 5], "LEADER_NOT_AVAILABLE");
    assert_eq!(partition[6..10], (-1_i32).to_be_bytes());
}
