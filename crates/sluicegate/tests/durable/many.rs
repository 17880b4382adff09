//! A gateway that finds a great many resources when it starts.

use std::time::{Duration, Instant};

use serde_json::json;
use testkit::rdkafka::consumer::{BaseConsumer, Consumer};
use testkit::rdkafka::error::KafkaError;
use testkit::rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use testkit::rdkafka::types::RDKafkaErrorCode;
use testkit::rdkafka::{Message, Offset, TopicPartitionList};
use testkit::{Error, Result, librdkafka, wait};

use crate::front::{Api, Front, LIMIT, TARGETS};
use crate::kills::number;

/// In every key that is copied.
const SEED: &str = "seed";

/// Kind in the API, its topic, and how many of a thousand resources are of it.
const KINDS: [(&str, &str, u64); 4] = [
    ("service-account", "usermappings", 690),
    ("alias-topic", "topicmappings", 200),
    ("group", "groups", 100),
    ("virtual-cluster", "vclusters", 10),
];

/// `SLUICEGATE_TEST_RESOURCES` is their number, 2,000 if unset.
#[test]
fn many_resources_are_soon_read() -> Result<()> {
    let count = number("SLUICEGATE_TEST_RESOURCES").unwrap_or(2_000);
    let front = Front::start()?;
    let gateway = front.gateway()?;
    make_seeds(front.api())?;
    drop(gateway);
    let mut expected = Vec::new();
    for (kind, suffix, share) in KINDS {
        let topic = format!("_conduktor_durable_{suffix}");
        let (key, value) = seed_of(&front.bootstrap(), &topic)?;
        let copies = count * share / 1000;
        copy(&front.bootstrap(), &topic, &key, &value, copies)?;
        expected.push((kind, copies + 1));
    }
    let since = Instant::now();
    let gateway = front.gateway()?;
    let took = since.elapsed();
    let resident = gateway.resident_bytes() >> 20;
    println!("{count} resources: ready after {took:.1?} with {resident} MiB");
    for (kind, expected) in expected {
        let (status, list) = front.api().call("GET", kind, &serde_json::Value::Null)?;
        let found = list.as_array().map_or(0, Vec::len) as u64;
        assert_eq!((status, found), (200, expected), "{kind}");
    }
    Ok(())
}

/// One resource of each kind.
fn make_seeds(api: Api) -> Result<()> {
    let resources = [
        (
            "virtual-cluster",
            "VirtualCluster",
            json!({ "name": SEED }),
            json!({}),
        ),
        (
            "service-account",
            "GatewayServiceAccount",
            json!({ "vCluster": SEED, "name": SEED }),
            json!({ "type": "LOCAL" }),
        ),
        (
            "alias-topic",
            "AliasTopic",
            json!({ "vCluster": SEED, "name": SEED }),
            json!({ "physicalName": TARGETS[0] }),
        ),
        (
            "group",
            "GatewayGroup",
            json!({ "name": SEED }),
            json!({ "members": [{ "vCluster": SEED, "name": SEED }] }),
        ),
    ];
    for (path, kind, metadata, spec) in resources {
        let body = json!({
            "apiVersion": "gateway/v2", "kind": kind, "metadata": metadata, "spec": spec,
        });
        wait::until("a resource to be stored", LIMIT, || {
            match api.call("PUT", path, &body)? {
                (200, _) => Ok(Some(())),
                (status, answer) => Err(Error::Answer(format!("{status} to {kind}: {answer}"))),
            }
        })?;
    }
    Ok(())
}

/// Key and value of the seed as the gateway has stored them.
fn seed_of(bootstrap: &str, topic: &str) -> Result<(String, Vec<u8>)> {
    let failed = |error: KafkaError| Error::Answer(error.to_string());
    let settings = [("group.id", "many"), ("enable.auto.commit", "false")];
    let reader: BaseConsumer = librdkafka::config(bootstrap, &settings)
        .create()
        .map_err(failed)?;
    let mut places = TopicPartitionList::new();
    places
        .add_partition_offset(topic, 0, Offset::Beginning)
        .map_err(failed)?;
    reader.assign(&places).map_err(failed)?;
    wait::until("the seed", LIMIT, || {
        let message = match reader.poll(Duration::from_millis(500)) {
            Some(message) => message.map_err(failed)?,
            None => return Ok(None),
        };
        let key = String::from_utf8_lossy(message.key().unwrap_or_default()).into_owned();
        let value = message.payload().map(<[u8]>::to_vec);
        Ok(value
            .filter(|_| key.contains(SEED))
            .map(|value| (key, value)))
    })
}

/// Stores the same under other names.
fn copy(bootstrap: &str, topic: &str, key: &str, value: &[u8], count: u64) -> Result<()> {
    let failed = |error: KafkaError| Error::Answer(error.to_string());
    let settings = [("enable.idempotence", "true"), ("linger.ms", "20")];
    let writer: BaseProducer = librdkafka::config(bootstrap, &settings)
        .create()
        .map_err(failed)?;
    let (before, after) = key.rsplit_once(SEED).unwrap_or((key, ""));
    for number in 0..count {
        let key = format!("{before}{SEED}-{number:06}{after}");
        let mut record = BaseRecord::to(topic).key(&key).payload(value);
        while let Err((error, refused)) = writer.send(record) {
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => {
                    writer.poll(Duration::from_millis(100));
                }
                _ => return Err(failed(error)),
            }
            record = refused;
        }
    }
    writer.flush(LIMIT).map_err(failed)
}
