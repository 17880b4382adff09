//! Brokers, controllers, features, disks, versions.

use serde_json::{Value, json};
use testkit::{Error, Result};
use wire::api::ApiKey;

use crate::cases::{Coverage, coverage};
use crate::prepare::{ORDERS, SINGLES, ensure, text, topic};
use crate::side::Run;

/// The gateway answers itself. What a broker answers is cut to what the gateway offers, and then has to be the same.
pub(crate) fn api_versions(run: &mut Run<'_>) -> Result<()> {
    let request =
        |name: &str| json!({ "ClientSoftwareName": name, "ClientSoftwareVersion": "1.0" });
    let (api, version) = (run.api, run.version);
    for node in 1..=3 {
        let mut answer = run.step(node, api, version, request("differential"))?;
        if !run.is_gateway() {
            offer(&mut answer)?;
        }
        run.note(&format!("versions of broker {node}"), &answer);
    }
    let answer = run.step(1, api, version, request("-bad name-"))?;
    let refused = answer["ErrorCode"] != 0;
    ensure(refused == (version >= 3), || format!("bad name: {answer}"))?;
    run.note_text(format!("bad software name: {}", answer["ErrorCode"]));
    Ok(())
}

/// Takes out of a broker's answer what the gateway does not offer.
fn offer(answer: &mut Value) -> Result<()> {
    /// AddPartitionsToTxn from version 4 on is for brokers (KIP-890).
    const CLIENT_ADD_PARTITIONS_MAX: i64 = 3;
    let ranges = answer["ApiKeys"]
        .as_array_mut()
        .ok_or_else(|| Error::Answer("ApiVersions without keys".to_owned()))?;
    let key_of = |range: &Value| {
        let key = range["ApiKey"]
            .as_i64()
            .and_then(|key| i16::try_from(key).ok());
        ApiKey(key.unwrap_or(-1))
    };
    ranges.retain(|range| matches!(coverage(key_of(range)), Some(Coverage::Case(_))));
    for range in ranges {
        let api = key_of(range);
        let spec = api.spec().expect("a covered key is in the table");
        let highest = range["MaxVersion"].as_i64().unwrap_or(-1);
        let highest = highest.min(spec.max_stable_version().into());
        range["MaxVersion"] = match api {
            ApiKey::ADD_PARTITIONS_TO_TXN => highest.min(CLIENT_ADD_PARTITIONS_MAX),
            _ => highest,
        }
        .into();
    }
    Ok(())
}

pub(crate) fn describe_cluster(run: &mut Run<'_>) -> Result<()> {
    for node in 1..=3 {
        run.ask(
            node,
            "brokers",
            json!({ "IncludeClusterAuthorizedOperations": true }),
        )?;
    }
    run.ask(1, "controllers", json!({ "EndpointType": 2 }))?;
    run.ask(1, "bad type", json!({ "EndpointType": 9 }))?;
    run.ask(2, "fenced too", json!({ "IncludeFencedBrokers": true }))?;
    Ok(())
}

pub(crate) fn describe_quorum(run: &mut Run<'_>) -> Result<()> {
    let request = |topic: &str, partition: i32| {
        json!({ "Topics": [{
            "TopicName": topic,
            "Partitions": [{ "PartitionIndex": partition }],
        }] })
    };
    let (api, version) = (run.api, run.version);
    for node in 1..=3 {
        let mut answer = run.step(node, api, version, request("__cluster_metadata", 0))?;
        let partition = &mut answer["Topics"][0]["Partitions"][0];
        ensure(partition["HighWatermark"].as_i64() > Some(0), || {
            format!("no quorum: {partition}")
        })?;
        // The metadata log grows by itself.
        partition["HighWatermark"] = 1.into();
        run.note("metadata", &answer);
    }
    run.ask(1, "no such partition", request("__cluster_metadata", 9))?;
    run.ask(1, "no such topic", request(ORDERS, 0))?;
    Ok(())
}

pub(crate) fn update_features(run: &mut Run<'_>) -> Result<()> {
    let request = |feature: &str, level: i16, validate: bool| {
        json!({
            "timeoutMs": 30_000,
            "FeatureUpdates": [{ "Feature": feature, "MaxVersionLevel": level }],
            "ValidateOnly": validate,
        })
    };
    run.ask(1, "unknown", request("happiness.version", 1, false))?;
    run.ask(2, "too high", request("metadata.version", 999, false))?;
    run.ask(3, "downgrade", request("metadata.version", 1, false))?;
    if run.version >= 1 {
        // Version 0 cannot ask without doing.
        run.ask(1, "validate only", request("group.version", 1, true))?;
    }
    run.ask(1, "nothing", json!({}))?;
    Ok(())
}

pub(crate) fn unregister_broker(run: &mut Run<'_>) -> Result<()> {
    run.ask(1, "unknown", json!({ "BrokerId": 99 }))?;
    run.ask(2, "negative", json!({ "BrokerId": -1 }))?;
    Ok(())
}

pub(crate) fn add_raft_voter(run: &mut Run<'_>) -> Result<()> {
    let request = |cluster: Value| {
        json!({
            "ClusterId": cluster,
            "TimeoutMs": 5_000,
            "VoterId": 9,
            "VoterDirectoryId": "00112233445566778899aabbccddeeff",
            "Listeners": [{ "Name": "CONTROLLER", "Host": "127.0.0.1", "Port": 9 }],
        })
    };
    run.ask(1, "static quorum", request(Value::Null))?;
    run.ask(2, "another cluster", request(json!("another")))?;
    Ok(())
}

pub(crate) fn remove_raft_voter(run: &mut Run<'_>) -> Result<()> {
    let request = |cluster: Value| {
        json!({
            "ClusterId": cluster,
            "VoterId": 9,
            "VoterDirectoryId": "00112233445566778899aabbccddeeff",
        })
    };
    run.ask(1, "static quorum", request(Value::Null))?;
    run.ask(2, "another cluster", request(json!("another")))?;
    Ok(())
}

pub(crate) fn describe_log_dirs(run: &mut Run<'_>) -> Result<()> {
    let some = |name: &str| json!({ "Topics": [{ "Topic": name, "Partitions": [0, 1] }] });
    for node in 1..=3 {
        run.ask(node, "all", json!({ "Topics": null }))?;
        run.ask(node, "some", some(ORDERS))?;
    }
    run.ask(1, "no such topic", some("diff-s-nowhere"))?;
    run.ask(1, "none", json!({}))?;
    Ok(())
}

pub(crate) fn alter_log_dirs(run: &mut Run<'_>) -> Result<()> {
    let name = run.name("staying");
    topic(run, &name, SINGLES)?;
    let some = json!({ "Topics": [{ "Topic": name, "Partitions": [0] }] });
    let answer = run.must(1, ApiKey::DESCRIBE_LOG_DIRS, 1, some)?;
    let path = text(&answer["Results"][0]["LogDir"]);
    let request = |path: &str, topic: &str| json!({ "Dirs": [{ "Path": path, "Topics": [{ "Name": topic, "Partitions": [0] }] }] });
    run.ask(1, "where it is", request(&path, &name))?;
    run.ask(1, "no such path", request("/no/such/path", &name))?;
    run.ask(2, "no such topic", request(&path, "diff-s-nowhere"))?;
    Ok(())
}
