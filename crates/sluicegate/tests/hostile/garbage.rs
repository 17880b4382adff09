//! Clients that send what they should not.

use testkit::raw::RawClient;
use wire::api::{ApiKey, Direction};

use crate::frames::*;
use crate::neighbour::Neighbour;
use crate::world::{Brokers, eventually, files_return_to, gateway, open_files};

const MIB: u64 = 1 << 20;

/// Bytes after which the connection has to be closed, and what they are.
fn closed_for() -> Vec<(&'static str, Vec<u8>)> {
    let mut noise = Vec::new();
    let mut seed = 0x2545_f491_u32;
    for _ in 0..200_000 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.push((seed >> 24) as u8);
    }
    let cut = |mut frame: Vec<u8>, by: i32| {
        let length = frame.len() as i32 - 4 - by;
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame.truncate(frame.len() - by as usize);
        frame
    };
    vec![
        ("noise", noise),
        ("2 GiB", vec![0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 7]),
        ("negative length", vec![0xff, 0xff, 0xff, 0xff, 0, 3, 0, 7]),
        ("most negative length", vec![0x80, 0, 0, 0, 0, 3, 0, 7]),
        ("zero length", vec![0, 0, 0, 0]),
        ("a length of 7", vec![0, 0, 0, 7, 0, 3, 0, 7, 0, 0, 0]),
        (
            "HTTP",
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        ),
        ("TLS", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
        (
            "unknown API",
            vec![0, 0, 0, 10, 3, 0xe7, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        ),
        (
            "negative API",
            vec![0, 0, 0, 10, 0xff, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff],
        ),
        (
            "version too high",
            vec![0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff],
        ),
        (
            "version too low",
            vec![0, 0, 0, 10, 0, 3, 0xff, 0xff, 0, 0, 0, 1, 0xff, 0xff],
        ),
        (
            "client id of length -2",
            vec![0, 0, 0, 10, 0, 3, 0, 7, 0, 0, 0, 1, 0xff, 0xfe],
        ),
        (
            "client id beyond the frame",
            vec![0, 0, 0, 10, 0, 3, 0, 7, 0, 0, 0, 1, 0, 9],
        ),
        (
            "broken ApiVersions v3",
            frame(ApiKey::API_VERSIONS, 3, 1, &[0xff; 5]),
        ),
        ("cut fetch", cut(default_frame(ApiKey::FETCH, 17, 1), 5)),
        (
            "WriteTxnMarkers",
            default_frame(ApiKey::WRITE_TXN_MARKERS, 1, 1),
        ),
        (
            "ListOffsets of a replica",
            frame(ApiKey::LIST_OFFSETS, 1, 1, &[0; 8]),
        ),
    ]
}

#[test]
fn what_is_not_for_clients_ends_the_connection_and_nothing_else() {
    let brokers = Brokers::new(1);
    let mut gateway = gateway(&brokers.bootstrap());
    let neighbour = Neighbour::move_in(&gateway.bootstrap());
    let files = open_files(&mut gateway);
    let memory = gateway.resident_bytes();
    for _ in 0..5 {
        for (what, bytes) in closed_for() {
            let mut client = connect(&gateway.bootstrap());
            push(&mut client, &bytes);
            assert_closed(&mut client, what);
        }
    }
    neighbour.assert_well();
    files_return_to(&mut gateway, files);
    let grown = gateway.peak_resident_bytes().saturating_sub(memory);
    assert!(grown < 16 * MIB, "memory grew by {grown} bytes");
    let complaints = gateway.log().matches("connection closed").count();
    assert!(complaints < 40, "{complaints} complaints in the log");
}

#[test]
fn what_is_sent_to_the_wrong_port_gets_a_hint_in_the_log() {
    let brokers = Brokers::new(1);
    let gateway = gateway(&brokers.bootstrap());
    for (what, bytes) in closed_for() {
        if what == "TLS" || what == "HTTP" {
            let mut client = connect(&gateway.bootstrap());
            push(&mut client, &bytes);
            assert_closed(&mut client, what);
        }
    }
    for header in [
        &b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n",
    ] {
        let mut client = connect(&gateway.bootstrap());
        push(&mut client, header);
        assert_closed(&mut client, "PROXY protocol");
    }
    for hint in [
        "the PROXY protocol, which is not spoken here",
        "a TLS handshake on a PLAINTEXT listener",
        "an HTTP request on a Kafka port",
    ] {
        eventually(hint, || gateway.log().contains(hint));
    }
}

#[test]
fn what_is_refused_is_answered_where_an_answer_can_say_so() {
    let brokers = Brokers::new(1);
    let gateway = gateway(&brokers.bootstrap());
    let mut client = connect(&gateway.bootstrap());
    let error = |answer: &[u8], at: usize| i16::from_be_bytes([answer[at], answer[at + 1]]);

    let mut hello = Vec::new();
    text(&mut hello, "PLAIN");
    let answer = call(&mut client, &frame(ApiKey::SASL_HANDSHAKE, 1, 1, &hello));
    assert_eq!(error(&answer, 0), 34);
    let authenticate = default_frame(ApiKey::SASL_AUTHENTICATE, 1, 2);
    assert_eq!(error(&call(&mut client, &authenticate), 0), 34);

    let follower = Fetch {
        replica: 2,
        ..Fetch::new("any")
    };
    assert_eq!(error(&call(&mut client, &follower.frame(3)), 4), 31);

    // ApiVersions of the future: answered in version 0.
    let answer = call(&mut client, &frame(ApiKey::API_VERSIONS, 99, 4, &[0; 20]));
    assert_eq!(answer, [0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);

    // A controller's API that brokers do not serve.
    let answer = call(&mut client, &default_frame(ApiKey::VOTE, 0, 5));
    assert_eq!(error(&answer, 1), 35, "{answer:?}");

    // The same connection still serves.
    call(&mut client, &metadata(6));
}

/// Fetch v16 with the given topics and, in its tagged fields, a replica state.
fn fetch_of_replica(topics: usize, replica: i32, correlation_id: i32) -> Vec<u8> {
    let mut body = wire::build::default_body(ApiKey::FETCH, 16, Direction::Request)
        .expect("the table knows it");
    let behind = body.split_off(21); // topics, forgotten topics, rack, tagged fields
    varint(&mut body, topics as u64 + 1);
    for _ in 0..topics {
        body.extend([7; 16]);
        body.extend([1, 0]);
    }
    body.extend(&behind[1..behind.len() - 1]);
    body.extend([1, 1, 13]);
    body.extend(replica.to_be_bytes());
    body.extend(1_i64.to_be_bytes());
    body.push(0);
    frame(ApiKey::FETCH, 16, correlation_id, &body)
}

/// Consumers that take a closed connection for an outage would wait for ever, and their application would see no records.
#[test]
fn consumers_in_versions_that_kafka_4_has_dropped_are_told_so() {
    const UNSUPPORTED_VERSION: [u8; 2] = [0, 35];
    let brokers = Brokers::new(1);
    let gateway = gateway(&brokers.bootstrap());
    let topics = |before: usize, behind: usize| {
        let mut body = vec![0; before];
        body.extend(1_i32.to_be_bytes());
        text(&mut body, "any");
        body.extend([0, 0, 0, 1, 0, 0, 0, 3]);
        body.extend(vec![0; behind]);
        body
    };
    let fetch = ApiKey::FETCH;
    // Where the error code is in the answer.
    let told = [
        (fetch, 0, topics(12, 12), 4 + 5 + 8),
        (fetch, 1, topics(12, 12), 4 + 4 + 5 + 8),
        (fetch, 2, topics(12, 12), 4 + 4 + 5 + 8),
        (fetch, 3, topics(16, 12), 4 + 4 + 5 + 8),
        (ApiKey::LIST_OFFSETS, 0, topics(4, 12), 4 + 5 + 8),
        (ApiKey::OFFSET_FETCH, 0, topics(2, 0), 4 + 5 + 8 + 10),
    ];
    let mut client = connect(&gateway.bootstrap());
    let offered = call(&mut client, &api_versions(1));
    for (api, version, body, at) in &told {
        let mut ranges = offered[6..].chunks(6);
        let listed = ranges.find(|listed| listed[..2] == api.0.to_be_bytes());
        let listed = listed.expect("it is listed");
        let lowest = i16::from_be_bytes([listed[2], listed[3]]);
        assert!(lowest > *version, "{api} v{lowest} is offered");

        let mut client = connect(&gateway.bootstrap());
        let answer = call(&mut client, &frame(*api, *version, 2, body));
        let code = answer.get(*at..at + 2);
        assert_eq!(
            code,
            Some(&UNSUPPORTED_VERSION[..]),
            "{api} v{version}: {answer:?}"
        );
        assert_closed(&mut client, "nothing else would come");

        let mut client = connect(&gateway.bootstrap());
        push(&mut client, &frame(*api, *version, 3, &[0x7f; 9]));
        assert_closed(&mut client, "malformed");
    }
    // As a broker does.
    for (api, version) in [(ApiKey::PRODUCE, 2), (ApiKey::OFFSET_COMMIT, 1)] {
        let mut client = connect(&gateway.bootstrap());
        push(&mut client, &frame(api, version, 4, &[0; 20]));
        assert_closed(&mut client, "no consumer");
    }
    eventually("a word in the log", || {
        gateway.log().contains("older than Kafka 4 serves")
    });
}

#[test]
fn a_replica_in_the_tagged_fields_of_a_fetch_is_refused() {
    let brokers = Brokers::new(1);
    let gateway = gateway(&brokers.bootstrap());
    let mut client = connect(&gateway.bootstrap());
    let answer = call(&mut client, &fetch_of_replica(2, 5, 1));
    // tagged fields of the header, throttle time, error
    assert_eq!(answer[5..7], [0, 31]);
    let answer = call(&mut client, &fetch_of_replica(2, -1, 2));
    assert_ne!(answer[5..7], [0, 31]);

    // Larger than a window: passes while it streams, its end tells.
    let topics = 400_000 / 18;
    let answer = call(&mut client, &fetch_of_replica(topics, -1, 3));
    assert_ne!(answer[5..7], [0, 31]);
    push(&mut client, &fetch_of_replica(topics, 5, 4));
    assert_closed(&mut client, "a large fetch of a replica");
}

#[test]
fn half_frames_and_silence_are_waited_for_at_little_cost() {
    let brokers = Brokers::new(1);
    let mut gateway = gateway(&brokers.bootstrap());
    let neighbour = Neighbour::move_in(&gateway.bootstrap());
    let files = open_files(&mut gateway);
    let whole = metadata(1);
    let mut waiting: Vec<RawClient> = Vec::new();
    for cut in 0..whole.len() {
        let mut client = connect(&gateway.bootstrap());
        client.send_bytes(&whole[..cut]).expect("it is taken");
        waiting.push(client);
    }
    neighbour.assert_well();
    // Each can still be completed.
    for (cut, client) in waiting.iter_mut().enumerate() {
        client.send_bytes(&whole[cut..]).expect("it is taken");
        assert_eq!(answer(client).0, 1, "cut at {cut}");
    }
    drop(waiting);
    files_return_to(&mut gateway, files);
}

#[test]
fn a_thousand_requests_are_answered_in_order_however_late_they_are_read() {
    const REQUESTS: i32 = 1000;
    let brokers = Brokers::new(1);
    let mut gateway = gateway(&brokers.bootstrap());
    let neighbour = Neighbour::move_in(&gateway.bootstrap());
    let memory = gateway.resident_bytes();
    let mut client = connect(&gateway.bootstrap());
    let mut requests = Vec::new();
    for id in 0..REQUESTS {
        requests.extend(match id % 3 {
            0 => api_versions(id),
            _ => metadata_of(&format!("topic-{}", id % 10), id),
        });
    }
    let stream = client.stream().try_clone().expect("a socket can be cloned");
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut &stream, &requests));
    neighbour.assert_well();
    for id in 0..REQUESTS {
        assert_eq!(answer(&mut client).0, id);
    }
    writer.join().expect("no panic").expect("all is taken");
    let grown = gateway.peak_resident_bytes().saturating_sub(memory);
    assert!(grown < 16 * MIB, "memory grew by {grown} bytes");
    assert!(gateway.process().is_running());
}
