//! Hints of a new leader (KIP-951) where the gateway's own addresses do not fit into the broker's answer.

use serde_json::json;
use testkit::{GatewayOptions, Listener, Result};
use wire::api::ApiKey;

use crate::cases::fetch::{lost, of_topic, request};
use crate::prepare::{LARGE, topic_id};
use crate::side::Run;
use crate::world::{World, gateway_side};

const NOT_LEADER_OR_FOLLOWER: i64 = 6;

/// Longer than the brokers' own host name.
const LONG_HOST: &str = "a-name-much-longer-than-that-of-any-broker.gw.test";

/// The length of a large Fetch answer is sent before its end is known. So the list of endpoints is emptied, and the client
/// asks for metadata, as it did before version 16.
#[test]
fn a_large_fetch_names_no_leader_rather_than_a_broker() -> Result<()> {
    let world = World::get();
    let upstream = world.cluster().bootstrap(Listener::Relayed);
    let process = GatewayOptions::new(env!("CARGO_BIN_EXE_sluicegate"), &upstream)
        .env("GATEWAY_ADVERTISED_HOST", LONG_HOST)
        .start()?;
    let side = gateway_side(&process, LONG_HOST)?;
    for version in world.common(ApiKey::FETCH) {
        let mut run = Run::new(&side, ApiKey::FETCH, version);
        let id = topic_id(&mut run, LARGE)?;
        let topics = [of_topic(LARGE, &id), lost(&mut run)?];
        let answer = run.ask(2, "large, no replica", request(&topics, json!({})))?;
        let lost = &answer["Responses"][1]["Partitions"][0];
        assert_eq!(lost["ErrorCode"], NOT_LEADER_OR_FOLLOWER, "v{version}");
        let named = answer["NodeEndpoints"].as_array().map_or(0, Vec::len);
        assert_eq!(named, 0, "v{version}: {}", answer["NodeEndpoints"]);
    }
    Ok(())
}
