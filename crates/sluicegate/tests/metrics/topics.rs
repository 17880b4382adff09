//! Row 25 and the caps of series by topic: bytes of records, as a raw client has sent and got them.

use serde_json::{Value, json};
use testkit::raw::{RawClient, Request};
use testkit::rdkafka::consumer::{BaseConsumer, Consumer};
use testkit::{Error, Result, librdkafka, shared, wait};
use wire::api::{ApiKey, Direction};
use wire::header::{request_header_version, response_header_version};

use crate::message::{decode, encode, hex};
use crate::records::batch;
use crate::scrape::Scrape;
use crate::world::{Front, LIMIT, World, world};

pub(crate) const BYTES: &str = "gateway_bytes_exchanged_topic_total";
pub(crate) const ENDS: &str = "gateway_topic_log_end_offset";
pub(crate) const FOLDED: &str = "gateway_metrics_series_folded_total";
const BROKERS: &str = "gateway_bytes_exchanged_vcluster_total";

pub(crate) const UP: &str = "direction=\"upstream\"";
pub(crate) const DOWN: &str = "direction=\"downstream\"";

/// No polls: what is shown was seen.
pub(crate) const ONLY_SEEN: (&str, &str) = ("GATEWAY_METRICS_OFFSET_POLL_MS", "0");

/// Sends a message and reads the answer.
pub(crate) fn call(
    client: &mut RawClient,
    api: ApiKey,
    version: i16,
    body: &Value,
) -> Result<Value> {
    let id = send(client, api, version, body)?;
    let frame = client.receive()?;
    let header = 4 + usize::from(response_header_version(api, version) >= 1);
    let (head, body) = frame.split_at_checked(header).unwrap_or_default();
    assert!(head.starts_with(&id.to_be_bytes()));
    decode(api, version, Direction::Response, body).map_err(Error::Answer)
}

pub(crate) fn send(client: &mut RawClient, api: ApiKey, version: i16, body: &Value) -> Result<i32> {
    let body = encode(api, version, Direction::Request, body);
    client.send(Request {
        api: api.0,
        version,
        flexible: request_header_version(api, version) >= 2,
        client_id: "topics",
        body: &body,
    })
}

/// A new topic of one partition, and the broker that leads it.
pub(crate) fn topic(world: &World, settings: &[(&str, &str)]) -> Result<(String, i32)> {
    let name = shared::unique("topics");
    librdkafka::create_topic_with(&world.kafka(), &name, 1, settings)?;
    let consumer: BaseConsumer = librdkafka::config(&world.kafka(), &[]).create()?;
    let metadata = consumer.fetch_metadata(Some(&name), LIMIT)?;
    let partitions = metadata
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions());
    let leader = partitions.map(|partition| partition.leader()).next();
    Ok((name, leader.unwrap_or_default()))
}

/// Where a partition ends, says Kafka.
pub(crate) fn end(world: &World, topic: &str, partition: i32) -> Result<f64> {
    let consumer: BaseConsumer = librdkafka::config(&world.kafka(), &[]).create()?;
    let (_, end) = consumer.fetch_watermarks(topic, partition, LIMIT)?;
    Ok(end as f64)
}

pub(crate) fn id(client: &mut RawClient, topic: &str) -> Result<Value> {
    let ask = json!({"Topics": [{"Name": topic}], "AllowAutoTopicCreation": false});
    let answer = call(client, ApiKey::METADATA, 12, &ask)?;
    Ok(answer["Topics"][0]["TopicId"].clone())
}

/// A Produce request; where it takes an id, `id` is it.
pub(crate) fn produce(topic: &str, id: &Value, version: i16, acks: i16, records: &[u8]) -> Value {
    let mut data = json!({"PartitionData": [{"Index": 0, "Records": hex(records)}]});
    match version {
        ..=12 => data["Name"] = json!(topic),
        _ => data["TopicId"] = id.clone(),
    }
    json!({"Acks": acks, "TimeoutMs": 30_000, "TopicData": [data]})
}

/// A Fetch request outside of a session.
pub(crate) fn fetch(topic: &str, id: &Value, version: i16, offset: i64) -> Value {
    const MAX: i32 = 64 << 20;
    let partition = json!({"Partition": 0, "FetchOffset": offset, "PartitionMaxBytes": MAX});
    let mut wanted = json!({"Partitions": [partition]});
    match version {
        ..=12 => wanted["Topic"] = json!(topic),
        _ => wanted["TopicId"] = id.clone(),
    }
    json!({"ReplicaId": -1, "MaxWaitMs": 100, "MinBytes": 1, "MaxBytes": MAX, "SessionEpoch": -1, "Topics": [wanted]})
}

/// Bytes of the records in a Fetch answer.
pub(crate) fn fetched(answer: &Value) -> usize {
    let records = &answer["Responses"][0]["Partitions"][0]["Records"];
    records.as_str().map_or(0, |text| text.len() / 2)
}

pub(crate) fn bytes(scrape: &Scrape, topic: &str, direction: &str) -> f64 {
    scrape.sum(BYTES, &[direction, &format!("topic=\"{topic}\"")])
}

pub(crate) fn assert_part_of_all(scrape: &Scrape) {
    for direction in [UP, DOWN] {
        let (topics, all) = (
            scrape.sum(BYTES, &[direction]),
            scrape.sum(BROKERS, &[direction]),
        );
        assert!(topics <= all, "{direction}: {topics} of {all}");
    }
}

#[test]
fn bytes_of_every_version_are_exact() -> Result<()> {
    let world = world()?;
    let front = world.front(&[ONLY_SEEN])?;
    let (topic, leader) = topic(&world, &[])?;
    let mut client = front.connect_to(leader)?;
    let id = id(&mut client, &topic)?;
    let mut sent = 0;
    let versions = |api: ApiKey| {
        let spec = api.spec().expect("known");
        spec.min_version..=spec.max_version
    };
    for version in versions(ApiKey::PRODUCE) {
        let records = batch(3, &"x".repeat(100 + version.unsigned_abs() as usize));
        let request = produce(&topic, &id, version, -1, &records);
        let answer = call(&mut client, ApiKey::PRODUCE, version, &request)?;
        let partition = &answer["Responses"][0]["PartitionResponses"][0];
        assert_eq!(partition["ErrorCode"], 0, "v{version}: {answer}");
        sent += records.len();
    }
    let produced = front.eventually("what was produced", |scrape| {
        bytes(scrape, &topic, UP) == sent as f64
    })?;
    let shown = format!("{ENDS}{{vcluster=\"passthrough\",topic=\"{topic}\",partition=\"0\"}}");
    assert_eq!(produced.get(&shown), end(&world, &topic, 0)?);
    assert!(produced.get(&shown) >= 33.0);
    let mut received = 0;
    for version in versions(ApiKey::FETCH) {
        let request = fetch(&topic, &id, version, i64::from(version));
        let answer = call(&mut client, ApiKey::FETCH, version, &request)?;
        assert!(fetched(&answer) > 0, "v{version}: {answer}");
        received += fetched(&answer);
    }
    let after = front.eventually("what was fetched", |scrape| {
        bytes(scrape, &topic, DOWN) == received as f64
    })?;
    // A producer that wants no answer: the topic is known.
    let records = batch(1, "unanswered");
    send(
        &mut client,
        ApiKey::PRODUCE,
        9,
        &produce(&topic, &id, 9, 0, &records),
    )?;
    front.eventually("what nobody has confirmed", |scrape| {
        bytes(scrape, &topic, UP) - bytes(&after, &topic, UP) == records.len() as f64
    })?;
    assert_part_of_all(&front.scrape()?);
    Ok(())
}

#[test]
fn frames_that_stream_are_counted_to_the_byte() -> Result<()> {
    const LARGE: [(&str, &str); 1] = [("max.message.bytes", "20000000")];
    let world = world()?;
    let front = world.front(&[ONLY_SEEN])?;
    let (topic, leader) = topic(&world, &LARGE)?;
    let mut client = front.connect_to(leader)?;
    let id = id(&mut client, &topic)?;
    let records = batch(1, &"y".repeat(2 << 20));
    for version in [3, 13] {
        let request = produce(&topic, &id, version, -1, &records);
        let answer = call(&mut client, ApiKey::PRODUCE, version, &request)?;
        let partition = &answer["Responses"][0]["PartitionResponses"][0];
        assert_eq!(partition["ErrorCode"], 0, "v{version}: {answer}");
    }
    let mut received = 0;
    for version in [4, 17] {
        wait::until_true("the records", LIMIT, || {
            let request = fetch(&topic, &id, version, 0);
            let answer = call(&mut client, ApiKey::FETCH, version, &request);
            let got = answer.map_or(0, |answer| fetched(&answer));
            received += got;
            got >= records.len()
        })?;
    }
    let sent = 2 * records.len();
    let scrape = front.eventually("all of it", |scrape| {
        bytes(scrape, &topic, UP) == sent as f64 && bytes(scrape, &topic, DOWN) == received as f64
    })?;
    assert_part_of_all(&scrape);
    Ok(())
}

#[test]
fn topics_over_the_cap_share_a_series() -> Result<()> {
    let world = world()?;
    let front = world.front(&[
        ONLY_SEEN,
        ("GATEWAY_METRICS_MAX_TOPICS", "2"),
        ("GATEWAY_METRICS_MAX_OFFSET_SERIES", "3"),
    ])?;
    let mut sent = 0;
    for round in 0..5 {
        let (topic, leader) = topic(&world, &[])?;
        let records = batch(2, &"z".repeat(50 * (round + 1)));
        let request = produce(&topic, &Value::Null, 9, 1, &records);
        let mut client = front.connect_to(leader)?;
        let answer = call(&mut client, ApiKey::PRODUCE, 9, &request)?;
        assert_eq!(
            answer["Responses"][0]["PartitionResponses"][0]["ErrorCode"],
            0
        );
        sent += records.len();
    }
    let scrape = front.eventually("the sum", |scrape| scrape.sum(BYTES, &[UP]) == sent as f64)?;
    assert_eq!(scrape.count(BYTES, &[UP]), 3);
    assert!(bytes(&scrape, "<other>", UP) > 0.0);
    assert_eq!(scrape.count(ENDS, &[]), 3);
    let folded = |family: &str| scrape.get(&format!("{FOLDED}{{family=\"{family}\"}}"));
    assert!(folded(BYTES) >= 3.0 && folded(ENDS) >= 2.0);
    Ok(())
}

#[test]
fn names_that_there_are_not_make_no_series() -> Result<()> {
    const NAMES: usize = 2000;
    let world = world()?;
    let front = world.front(&[
        ("GATEWAY_METRICS_OFFSET_POLL_MS", "500"),
        // Those that other tests have left in Kafka are real.
        ("GATEWAY_METRICS_GROUP_ALLOW", "hostile-.*"),
    ])?;
    let before = front.scrape()?;
    let mut client = front.connect()?;
    let name = |n: usize| format!("hostile-{}-{n}", shared::unique("name"));
    let names: Vec<String> = (0..NAMES).map(name).collect();
    let records = batch(1, "x");
    let each = |topic: &dyn Fn(&str) -> Value| -> Vec<Value> {
        names.iter().map(|name| topic(name)).collect()
    };
    let to_produce =
        each(&|name| produce(name, &Value::Null, 9, 1, &records)["TopicData"][0].clone());
    let to_fetch = each(&|name| fetch(name, &Value::Null, 4, 0)["Topics"][0].clone());
    let mut request = produce("", &Value::Null, 9, 1, &records);
    for acks in [1_i16, 0] {
        request["Acks"] = json!(acks);
        for some in to_produce.chunks(500) {
            request["TopicData"] = json!(some);
            match acks {
                // Brokers hang up on those who want no answer and would have got an error.
                0 => drop(send(&mut client, ApiKey::PRODUCE, 9, &request)),
                _ => drop(call(&mut client, ApiKey::PRODUCE, 9, &request)?),
            }
        }
    }
    let mut client = front.connect()?;
    let mut request = fetch("", &Value::Null, 4, 0);
    request["Topics"] = json!(to_fetch);
    call(&mut client, ApiKey::FETCH, 4, &request)?;
    for (n, name) in names.iter().enumerate().take(60) {
        let random = format!("{n:032x}");
        call(
            &mut client,
            ApiKey::FETCH,
            13,
            &fetch("", &json!(random), 13, 0),
        )?;
        let partition = json!({"PartitionIndex": 0, "CommittedOffset": 7});
        let commit =
            json!({"GroupId": name, "Topics": [{"Name": name, "Partitions": [partition]}]});
        call(&mut client, ApiKey::OFFSET_COMMIT, 8, &commit)?;
        let wanted = json!([{"Name": name, "PartitionIndexes": [0]}]);
        let asked = json!({"GroupId": name, "Topics": wanted});
        call(&mut client, ApiKey::OFFSET_FETCH, 7, &asked)?;
    }
    let after = front.scrape()?;
    let hostile: Vec<_> = after.series().filter(|s| s.contains("hostile")).collect();
    assert!(hostile.is_empty(), "{hostile:?}");
    for family in [
        BYTES,
        ENDS,
        "gateway_topic_current_offset",
        "gateway_consumer_lag",
    ] {
        assert_eq!(
            after.count(family, &[]),
            before.count(family, &[]),
            "{family}"
        );
    }
    Ok(())
}

#[test]
fn nothing_is_counted_where_it_is_switched_off() -> Result<()> {
    let world = world()?;
    let off = |front: &Front, topic: &str, leader: i32| -> Result<Scrape> {
        let mut client = front.connect_to(leader)?;
        let request = produce(topic, &Value::Null, 9, 1, &batch(1, "x"));
        call(&mut client, ApiKey::PRODUCE, 9, &request)?;
        front.scrape()
    };
    let (topic, leader) = topic(&world, &[])?;
    let quiet = world.front(&[
        ("GATEWAY_METRICS_TOPIC_ENABLED", "false"),
        ("GATEWAY_METRICS_OFFSETS_ENABLED", "false"),
    ])?;
    let scrape = off(&quiet, &topic, leader)?;
    assert_eq!(scrape.count(BYTES, &[]) + scrape.count(ENDS, &[]), 0);
    let denied = world.front(&[ONLY_SEEN, ("GATEWAY_METRICS_TOPIC_DENY", "topics-.*|other")])?;
    off(&denied, &topic, leader)?;
    let scrape = denied.eventually("what is not shown", |scrape| scrape.sum(BYTES, &[UP]) > 0.0)?;
    assert!(bytes(&scrape, "<other>", UP) == scrape.sum(BYTES, &[UP]));
    assert_eq!(scrape.count(ENDS, &[]), 0);
    Ok(())
}
