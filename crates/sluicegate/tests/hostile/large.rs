//! Frames that are larger than what the gateway holds of a connection.

use std::io::{Read, Write};
use std::net::TcpStream;

use wire::api::{ApiKey, Direction};
use wire::plan::{Interest, Plan};
use wire::schema::Entity;
use wire::walk::{Field, Value, Visitor};

use crate::frames::*;
use crate::scripted::{Asked, NODE, Scripted};
use crate::world::{Brokers, gateway, options};

const MIB: usize = 1 << 20;

#[test]
fn a_fetch_answer_of_100_mb_streams() {
    const SIZE: usize = 100_000_000;
    const SMALL: i32 = 7;
    let broker = Scripted::start(|asked, stream| {
        let body = match asked.correlation_id {
            SMALL => 1000,
            _ => SIZE,
        };
        let size = (4 + body) as i32;
        stream.write_all(&size.to_be_bytes()).is_ok()
            && stream
                .write_all(&asked.correlation_id.to_be_bytes())
                .is_ok()
            && (0..body / 1000).all(|n| stream.write_all(&[n as u8; 1000]).is_ok())
    });
    let gateway = gateway(&broker.bootstrap());
    let mut client = connect(&gateway.bootstrap());
    // Code that runs for the first time is read from the disk.
    call(&mut client, &Fetch::new("large").frame(SMALL));
    let before = gateway.resident_bytes();
    for id in 0..2 {
        let fetched = call(&mut client, &Fetch::new("large").frame(id));
        assert_eq!(fetched.len(), SIZE);
        let intact = fetched
            .chunks(1000)
            .enumerate()
            .all(|(n, chunk)| chunk == [n as u8; 1000]);
        assert!(intact);
    }
    let grown = gateway.peak_resident_bytes() - before;
    println!("100 MB fetch: memory grew by {} KiB", grown / 1024);
    assert!(grown < 4 * MIB as u64, "memory grew by {grown} bytes");
}

#[test]
fn requests_up_to_the_limit_pass() {
    let brokers = Brokers::new(1);
    let limit = MIB;
    let gateway = options(&brokers.bootstrap())
        .env("GATEWAY_SOCKET_REQUEST_MAX_BYTES", &limit.to_string())
        .start()
        .expect("the gateway starts");
    let mut client = connect(&gateway.bootstrap());
    call(&mut client, &metadata_of("limit", 0));
    let of_size = |size: usize| {
        // Lengths have variable lengths.
        let mut value = size;
        loop {
            let frame = produce("limit", -1, &vec![b'x'; value], 1);
            match frame.len().checked_sub(4 + size) {
                Some(0) => return frame,
                Some(more) => value -= more,
                None => value += 1,
            }
        }
    };
    let answer = call(&mut client, &of_size(limit));
    assert_eq!(answer[4 + 2 + 5 + 4 + 4..][..2], [0, 0]);
    push(&mut client, &of_size(limit + 1));
    assert_closed(&mut client, "one byte too many");
}

/// A compact string.
fn compact(body: &mut Vec<u8>, text: &str) {
    varint(body, text.len() as u64 + 1);
    body.extend(text.as_bytes());
}

/// `NodeEndpoints`: this broker and one that the gateway has no port for, or only the first.
fn endpoints(host: &str, nodes: &[i32]) -> Vec<u8> {
    let mut list = Vec::new();
    varint(&mut list, nodes.len() as u64 + 1);
    for node in nodes {
        list.extend(node.to_be_bytes());
        compact(&mut list, host);
        list.extend(9092_i32.to_be_bytes());
        list.extend([0, 0]); // no rack, no tagged fields
    }
    list
}

/// One topic with one partition that has `size` bytes of records and a new leader.
fn topics(direction_specific: &[u8], records: usize) -> Vec<u8> {
    let mut body = vec![2];
    body.extend([9; 16]);
    body.extend([2, 0, 0, 0, 0]); // one partition, number 0
    body.extend(direction_specific);
    varint(&mut body, records as u64 + 1);
    body.extend(vec![0xab; records]);
    body
}

fn fetch_answer(version: i16, host: &str, nodes: &[i32], records: usize) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0]; // throttle time, error, session
    let mut partition = vec![0, 6]; // error
    partition.extend([0; 24]); // offsets
    partition.push(0); // no aborted transactions
    partition.extend((-1_i32).to_be_bytes());
    body.extend(topics(&partition, records));
    body.extend([1, 1, 9]); // CurrentLeader
    body.extend(NODE.to_be_bytes());
    body.extend(8_i32.to_be_bytes());
    body.extend([0, 0]); // end of the leader, of the topic
    let list = endpoints(host, nodes);
    body.extend([1, 0]);
    varint(&mut body, list.len() as u64);
    body.extend(list);
    valid(ApiKey::FETCH, version, body)
}

fn share_fetch_answer(version: i16, host: &str, nodes: &[i32], records: usize) -> Vec<u8> {
    let mut body = vec![0; 4]; // throttle time
    body.extend([0, 0, 0]); // error, no message
    body.extend(0_i32.to_be_bytes()); // lock timeout
    let mut partition = vec![0, 6, 0, 0, 0, 0]; // errors and messages
    partition.extend(NODE.to_be_bytes());
    partition.extend(8_i32.to_be_bytes());
    partition.push(0); // end of the leader
    body.extend(topics(&partition, records));
    body.extend([1, 0, 0]); // nothing acquired, end of partition and topic
    body.extend(endpoints(host, nodes));
    body.push(0);
    valid(ApiKey::SHARE_FETCH, version, body)
}

/// What is sent has to be a message, else the test tests nothing.
fn valid(api: ApiKey, version: i16, body: Vec<u8>) -> Vec<u8> {
    wire::walk::validate(api, version, Direction::Response, &body).expect("made as it should be");
    body
}

#[derive(Default)]
struct Seen(Vec<(i64, String, i64)>);

impl Visitor for Seen {
    fn field(&mut self, field: &Field<'_>) {
        match (field.entity, field.value) {
            (Entity::NodeId, Value::Int(id)) => self.0.push((id, String::new(), 0)),
            (Entity::Host, Value::Text(Some(host))) => {
                if let Some(last) = self.0.last_mut() {
                    last.1 = String::from_utf8_lossy(host).into_owned();
                }
            }
            (Entity::Port, Value::Int(port)) => {
                if let Some(last) = self.0.last_mut() {
                    last.2 = port;
                }
            }
            _ => {}
        }
    }
}

type Make = fn(i16, &str, &[i32], usize) -> Vec<u8>;

/// Addresses in answers of any size become the gateway's or vanish; the rest stays as it is.
fn addresses_are_hidden(api: ApiKey, version: i16, make: Make) {
    let long = "a-broker-with-quite-a-long-name.kafka.internal";
    let cases = [
        (long, vec![NODE], true),
        ("b", vec![NODE], false),             // ours is longer
        ("127.0.0.1", vec![NODE], true),      // as long as ours
        ("12.0.0.10", vec![NODE, 77], false), // 77 has no port
        (long, vec![], true),
    ];
    for records in [10, 200_000, 262_000, 300_000, 5 * MIB] {
        for (host, nodes, kept) in &cases {
            let (host, kept) = (*host, *kept || records < 100_000);
            let body = make(version, host, nodes, records);
            let broker = Scripted::start(move |asked: &Asked, stream: &mut TcpStream| {
                stream.write_all(&asked.flexible(&body)).is_ok()
            });
            let gateway = gateway(&broker.bootstrap());
            let mut client = connect(&gateway.bootstrap());
            for id in 0..2 {
                let answer = call(&mut client, &default_frame(api, version, id));
                assert_eq!(answer[0], 0, "tagged fields of the header");
                let interest = Interest::of(&[Entity::NodeId, Entity::Host, Entity::Port]);
                let plan = Plan::compile(api, version, Direction::Response, interest)
                    .expect("it is known");
                let mut seen = Seen::default();
                let what = format!("{} v{version}, {host}, {records}", api.name());
                plan.visit(&answer[1..], &mut seen).expect(&what);
                let port: i64 = gateway.bootstrap()["127.0.0.1:".len()..]
                    .parse()
                    .expect("a port");
                let ours = (i64::from(NODE), "127.0.0.1".to_owned(), port);
                match seen.0.as_slice() {
                    [] => assert!(!kept || nodes.is_empty(), "{what}: vanished"),
                    [only] => assert_eq!(*only, ours, "{what}"),
                    more => panic!("{what}: {more:?}"),
                }
                let records_stay = answer.windows(64).any(|part| part == [0xab; 64]);
                assert!(records < 64 || records_stay, "{what}");
            }
        }
    }
}

#[test]
fn addresses_at_the_end_of_fetch_answers_are_hidden() {
    for version in [16, 17, 18] {
        addresses_are_hidden(ApiKey::FETCH, version, fetch_answer);
    }
}

#[test]
fn addresses_at_the_end_of_share_fetch_answers_are_hidden() {
    addresses_are_hidden(ApiKey::SHARE_FETCH, 1, share_fetch_answer);
}

#[test]
fn a_metadata_answer_beyond_the_budget_ends_its_connection_only() {
    const BUDGET: usize = 2 * MIB;
    let broker = Scripted::start(|asked, stream| {
        // The client names the size it wants in place of a topic count.
        let size = asked.body[..4]
            .iter()
            .fold(0, |n, b| n << 8 | usize::from(*b));
        let mut answer = asked.plain(&vec![0; size]);
        answer[8..].fill(0);
        if size < 64 {
            return stream.write_all(&answer).is_ok();
        }
        // brokers, controller, then one topic whose name is null-padded: only its size matters here
        let _ = stream.write_all(&answer);
        let _ = stream.read(&mut [0]);
        false
    });
    let gateway = options(&broker.bootstrap())
        .env("GATEWAY_MAX_BUFFERED_BYTES", &BUDGET.to_string())
        .start()
        .expect("the gateway starts");
    let before = gateway.resident_bytes();
    let ask = |size: i32| {
        frame(
            ApiKey::METADATA,
            7,
            1,
            &[&size.to_be_bytes()[..], &[0]].concat(),
        )
    };
    let mut other = connect(&gateway.bootstrap());
    let small = |other: &mut _| assert_eq!(call(other, &ask(18)).len(), 18);
    small(&mut other);
    for _ in 0..20 {
        let mut client = connect(&gateway.bootstrap());
        client.send_bytes(&ask(BUDGET as i32)).expect("it is taken");
        assert_closed(&mut client, "an answer beyond the budget");
    }
    small(&mut other);
    let grown = gateway.peak_resident_bytes() - before;
    assert!(grown < 8 * MIB as u64, "memory grew by {grown} bytes");
}
