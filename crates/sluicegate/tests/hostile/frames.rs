//! Requests made by hand, and clients that send them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use testkit::raw::{RawClient, Request};
use wire::api::{ApiKey, Direction};

use crate::world::LIMIT;

/// Client id of all requests; the gateway's own requests have another one.
pub(crate) const CLIENT_ID: &str = "hostile";

/// A frame with any correlation id.
pub(crate) fn frame(api: ApiKey, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let request = Request {
        api: api.0,
        version,
        flexible: wire::header::request_header_version(api, version) >= 2,
        client_id: CLIENT_ID,
        body,
    };
    request.frame(correlation_id)
}

/// A frame whose body has defaults only.
pub(crate) fn default_frame(api: ApiKey, version: i16, correlation_id: i32) -> Vec<u8> {
    let body = wire::build::default_body(api, version, Direction::Request)
        .expect("the table knows the message");
    frame(api, version, correlation_id, &body)
}

/// ApiVersions v0: the gateway answers it itself.
pub(crate) fn api_versions(correlation_id: i32) -> Vec<u8> {
    frame(ApiKey::API_VERSIONS, 0, correlation_id, &[])
}

/// Metadata v7 of no topic.
pub(crate) fn metadata(correlation_id: i32) -> Vec<u8> {
    frame(ApiKey::METADATA, 7, correlation_id, &[0, 0, 0, 0, 0])
}

/// Metadata v7 of one topic, which is created.
pub(crate) fn metadata_of(topic: &str, correlation_id: i32) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 1];
    text(&mut body, topic);
    body.push(1);
    frame(ApiKey::METADATA, 7, correlation_id, &body)
}

/// ListGroups v0: only the broker that is asked knows the answer.
pub(crate) fn list_groups(correlation_id: i32) -> Vec<u8> {
    frame(ApiKey::LIST_GROUPS, 0, correlation_id, &[])
}

/// FindCoordinator v0 of a group.
pub(crate) fn find_coordinator(group: &str, correlation_id: i32) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, group);
    frame(ApiKey::FIND_COORDINATOR, 0, correlation_id, &body)
}

/// Produce v7 of one record to partition 0.
pub(crate) fn produce(topic: &str, acks: i16, value: &[u8], correlation_id: i32) -> Vec<u8> {
    produce_of(None, topic, acks, value, correlation_id)
}

/// Produce v7 with a transactional id.
pub(crate) fn produce_of(
    transactional_id: Option<&str>,
    topic: &str,
    acks: i16,
    value: &[u8],
    correlation_id: i32,
) -> Vec<u8> {
    let mut body = Vec::new();
    match transactional_id {
        Some(id) => text(&mut body, id),
        None => body.extend((-1_i16).to_be_bytes()),
    }
    body.extend(acks.to_be_bytes());
    body.extend(30_000_i32.to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    text(&mut body, topic);
    body.extend(1_i32.to_be_bytes());
    body.extend(0_i32.to_be_bytes());
    let batch = batch(value);
    body.extend((batch.len() as i32).to_be_bytes());
    body.extend(batch);
    frame(ApiKey::PRODUCE, 7, correlation_id, &body)
}

/// What a fetch asks for.
#[derive(Clone, Copy)]
pub(crate) struct Fetch<'t> {
    pub(crate) topic: &'t str,
    pub(crate) offset: i64,
    pub(crate) replica: i32,
    pub(crate) max_wait_ms: i32,
    pub(crate) max_bytes: i32,
}

impl<'t> Fetch<'t> {
    pub(crate) fn new(topic: &'t str) -> Self {
        Fetch {
            topic,
            offset: 0,
            replica: -1,
            max_wait_ms: 100,
            max_bytes: 64 << 20,
        }
    }

    /// Fetch v11 of partition 0.
    pub(crate) fn frame(self, correlation_id: i32) -> Vec<u8> {
        let mut body = Vec::new();
        for number in [self.replica, self.max_wait_ms, 1, self.max_bytes] {
            body.extend(number.to_be_bytes());
        }
        body.push(0); // isolation level
        body.extend(0_i32.to_be_bytes()); // session
        body.extend((-1_i32).to_be_bytes());
        body.extend(1_i32.to_be_bytes());
        text(&mut body, self.topic);
        body.extend(1_i32.to_be_bytes());
        body.extend(0_i32.to_be_bytes());
        body.extend((-1_i32).to_be_bytes());
        body.extend(self.offset.to_be_bytes());
        body.extend((-1_i64).to_be_bytes());
        body.extend(self.max_bytes.to_be_bytes());
        body.extend(0_i32.to_be_bytes()); // forgotten topics
        body.extend([0, 0]); // rack
        frame(ApiKey::FETCH, 11, correlation_id, &body)
    }
}

/// A record batch of one record without a key.
pub(crate) fn batch(value: &[u8]) -> Vec<u8> {
    let mut record = vec![0, 0, 0, 1]; // attributes, deltas, null key
    varint(&mut record, value.len() as u64 * 2);
    record.extend(value);
    record.push(0);
    let mut rest = Vec::new(); // what the checksum covers
    rest.extend([0; 2 + 4]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_millis() as i64);
    rest.extend([now.to_be_bytes(), now.to_be_bytes()].concat()); // else retention would take it
    rest.extend([0xff; 8 + 2 + 4]); // no producer
    rest.extend(1_i32.to_be_bytes());
    varint(&mut rest, record.len() as u64 * 2);
    rest.extend(record);
    let mut batch = vec![0; 8];
    batch.extend((rest.len() as i32 + 9).to_be_bytes());
    batch.extend((-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend(crc32c::crc32c(&rest).to_be_bytes());
    batch.extend(rest);
    batch
}

pub(crate) fn text(body: &mut Vec<u8>, text: &str) {
    body.extend((text.len() as i16).to_be_bytes());
    body.extend(text.as_bytes());
}

pub(crate) fn varint(body: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        body.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    body.push(value as u8);
}

/// A client that waits long enough for a busy machine.
pub(crate) fn connect(address: &str) -> RawClient {
    let client = RawClient::connect(address).expect("the port accepts");
    client
        .set_timeout(LIMIT)
        .expect("the socket takes a timeout");
    client
}

/// Sends bytes, although the other side may close before it has taken them all.
pub(crate) fn push(client: &mut RawClient, bytes: &[u8]) {
    let _ = client.send_bytes(bytes);
}

/// The next answer's correlation id and the bytes behind it.
pub(crate) fn answer(client: &mut RawClient) -> (i32, Vec<u8>) {
    let frame = client.receive().expect("an answer comes");
    let (id, rest) = frame.split_first_chunk().expect("an answer has an id");
    (i32::from_be_bytes(*id), rest.to_vec())
}

/// Sends one frame and gives the bytes behind the correlation id of its answer.
pub(crate) fn call(client: &mut RawClient, frame: &[u8]) -> Vec<u8> {
    client.send_bytes(frame).expect("the gateway takes it");
    let (id, rest) = answer(client);
    assert_eq!(id.to_be_bytes(), frame[8..12], "correlation id");
    rest
}

/// Waits for the other side to close.
#[track_caller]
pub(crate) fn assert_closed(client: &mut RawClient, why: &str) {
    assert!(client.is_closed_by_peer(), "not closed: {why}");
}

/// Checks that the other side neither closes nor answers for a moment.
#[track_caller]
pub(crate) fn assert_silent(client: &mut RawClient, why: &str) {
    client
        .set_timeout(Duration::from_millis(300))
        .expect("the socket takes a timeout");
    assert!(!client.is_closed_by_peer(), "closed or answered: {why}");
    client
        .set_timeout(LIMIT)
        .expect("the socket takes a timeout");
}
