//! Fetching from a follower in the reader's own rack (KIP-392).

use serde_json::json;
use testkit::{Result, wait};
use wire::api::ApiKey;

use crate::ask::{self, code};
use crate::lookups::Lookups;
use crate::message::hex;
use crate::world::LIMIT;

/// A client learns where to fetch from the answer to a fetch, and the racks of brokers from metadata. What the configuration of a broker says of
/// them is the operator's.
#[test]
fn readers_fetch_from_the_follower_in_their_rack() -> Result<()> {
    const LEADER: i32 = 1;
    const FOLLOWER: i32 = 2;
    let lookups = Lookups::get()?;
    let mut root = lookups.tenant("racks", json!({}))?.root()?;
    let body = json!({
        "Topics": [{
            "Name": "orders",
            "NumPartitions": -1,
            "ReplicationFactor": -1,
            "Assignments": [{ "PartitionIndex": 0, "BrokerIds": [LEADER, FOLLOWER] }],
        }],
        "timeoutMs": 30_000,
    });
    let answer = root.must(1, ApiKey::CREATE_TOPICS, 7, &body)?;
    let id = answer["Topics"][0]["TopicId"].clone();
    wait::until("the topic to be served", LIMIT, || {
        Ok(ask::end(&mut root, LEADER, "orders", 0)?.map(drop))
    })?;
    ask::produce(&mut root, "orders", 1, "value")?;

    let metadata = root.must(LEADER, ApiKey::METADATA, 12, &ask::named(&["orders"]))?;
    let racks = ask::sorted(ask::texts(&metadata["Brokers"], "Rack"));
    assert_eq!(racks, ["rack-1", "rack-2"]);
    let fetch = |rack: &str| {
        let partition = json!({ "Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1 << 20 });
        json!({
            "MaxWaitMs": 100,
            "SessionId": 0,
            "SessionEpoch": -1,
            "RackId": rack,
            "Topics": [{ "Topic": "orders", "TopicId": id, "Partitions": [partition] }],
        })
    };
    for version in [11, 12, 13, 17] {
        // As soon as the follower has caught up.
        wait::until("the leader to send readers to the follower", LIMIT, || {
            let answer = root.must(LEADER, ApiKey::FETCH, version, &fetch("rack-2"))?;
            let partition = &answer["Responses"][0]["Partitions"][0];
            Ok((partition["PreferredReadReplica"] == FOLLOWER).then_some(()))
        })?;
        wait::until("the follower to give the record", LIMIT, || {
            let answer = root.must(FOLLOWER, ApiKey::FETCH, version, &fetch("rack-2"))?;
            Ok(answer.to_string().contains(&hex(b"value")).then_some(()))
        })?;
        let answer = root.must(LEADER, ApiKey::FETCH, version, &fetch("rack-1"))?;
        assert!(answer.to_string().contains(&hex(b"value")), "{answer}");
    }

    let body = json!({ "Resources": [{
        "ResourceType": 4,
        "ResourceName": "1",
        "ConfigurationKeys": ["broker.rack"],
    }] });
    let answer = root.ask(LEADER, ApiKey::DESCRIBE_CONFIGS, 4, &body)?;
    let codes = ask::ints(&answer["Results"], "ErrorCode");
    assert_eq!(codes, [code::CLUSTER_AUTHORIZATION_FAILED]);
    Ok(())
}
