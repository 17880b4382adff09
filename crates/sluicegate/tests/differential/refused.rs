//! What clients are not offered is not forwarded either: keys with a reason, and versions beyond the offered range.

use serde_json::json;
use testkit::raw::{RawClient, Request};
use testkit::{Error, Result};
use wire::api::{ApiKey, Direction};

use crate::cases::{Coverage, coverage};
use crate::message;
use crate::side::Run;
use crate::way::is_close;
use crate::world::World;

const UNSUPPORTED_VERSION: i64 = 35;

#[test]
fn what_is_not_offered_is_refused() -> Result<()> {
    let world = World::get();
    let mut failures = Vec::new();
    let mut requests = Vec::new();
    for api in ApiKey::all() {
        let Some(Coverage::Refused(reason)) = coverage(api) else {
            continue;
        };
        if world.offered(api).is_some() {
            failures.push(format!("{api} is offered, although: {reason}"));
        }
        let spec = api.spec().expect("a key of the table");
        requests.extend((spec.min_version..=spec.max_version).map(|version| (api, version)));
    }
    failures.extend(not_refused(world, &requests)?);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

/// Consumers in these versions are told that they are too old, partition by partition; of nothing there is nothing to tell. What they are told
/// is looked at with the hostile clients.
const TOLD: [(ApiKey, i16); 3] = [
    (ApiKey::FETCH, 3),
    (ApiKey::LIST_OFFSETS, 0),
    (ApiKey::OFFSET_FETCH, 0),
];

#[test]
fn versions_beyond_the_offered_range_are_refused() -> Result<()> {
    let world = World::get();
    let mut requests = Vec::new();
    // ApiVersions answers to any version (KIP-511).
    for api in ApiKey::all().filter(|api| *api != ApiKey::API_VERSIONS) {
        let Some((lowest, highest)) = world.offered(api) else {
            continue;
        };
        let spec = api.spec().expect("an offered key is in the table");
        // Produce is listed from version 0 on for old librdkafka (KAFKA-18659), and served from the table's first.
        let lowest = lowest.max(spec.min_version);
        let beyond = [lowest - 1, highest + 1, i16::MAX];
        requests.extend(
            beyond
                .into_iter()
                .filter(|version| *version >= 0)
                .map(|version| (api, version))
                .filter(|request| !TOLD.contains(request)),
        );
    }
    let failures = not_refused(world, &requests)?;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

#[test]
fn an_unknown_version_of_api_versions_gets_the_known_ones() -> Result<()> {
    let world = World::get();
    let ask = |door: &str, version: i16| {
        let mut client = RawClient::connect(door)?;
        client.call(Request {
            api: ApiKey::API_VERSIONS.0,
            version,
            flexible: true,
            client_id: "differential",
            body: &[1, 1, 0],
        })
    };
    let highest = ApiKey::API_VERSIONS
        .spec()
        .map_or(0, |spec| spec.max_version);
    for version in [highest + 1, i16::MAX] {
        let direct = ask(&world.direct.doors[&1], version)?;
        let gateway = ask(&world.gateway.doors[&1], version)?;
        assert_eq!(direct, gateway, "ApiVersions v{version}");
    }
    Ok(())
}

/// A client that says that it is a replica would read past the high watermark with the gateway's rights.
#[test]
fn requests_of_replicas_are_refused() -> Result<()> {
    const CLUSTER_AUTHORIZATION_FAILED: i64 = 31;
    let world = World::get();
    let apis = [
        (ApiKey::FETCH, 4),
        (ApiKey::LIST_OFFSETS, 1),
        // Before version 3 it does not say who asks.
        (ApiKey::OFFSET_FOR_LEADER_EPOCH, 3),
    ];
    for (api, first) in apis {
        for version in world.common(api) {
            if version < first {
                continue;
            }
            let replica = match api {
                ApiKey::FETCH if version >= 15 => json!({ "ReplicaState": { "ReplicaId": 2 } }),
                _ => json!({ "ReplicaId": 2 }),
            };
            let answer = Run::new(&world.gateway, api, version).ask(1, "replica", replica)?;
            let refused = answer.is_null() || answer["ErrorCode"] == CLUSTER_AUTHORIZATION_FAILED;
            assert!(refused, "{api} v{version}: {answer}");
        }
    }
    Ok(())
}

/// Sends each request on a connection of its own and describes every one that is neither refused with error 35 nor
/// ends its connection. No request may open a way to a broker.
fn not_refused(world: &World, requests: &[(ApiKey, i16)]) -> Result<Vec<String>> {
    world.alone(|| {
        let before = world.upstream_connections();
        let mut failures = Vec::new();
        for (api, version) in requests {
            if let Err(answer) = refusal(world, *api, *version)? {
                failures.push(format!("{api} v{version} is not refused: {answer}"));
            }
        }
        let opened = world.upstream_connections() - before;
        // A forwarded request needs a connection of its own; a few are the gateway's.
        if opened >= requests.len() as u64 / 2 {
            failures.push(format!(
                "{opened} connections to brokers for {} requests",
                requests.len()
            ));
        }
        Ok(failures)
    })
}

fn refusal(world: &World, api: ApiKey, version: i16) -> Result<Result<(), String>> {
    let spec = api.spec().expect("a key of the table");
    let nearest = version.clamp(spec.min_version, spec.max_version);
    let body = wire::build::default_body(api, nearest, Direction::Request).unwrap_or_default();
    let mut client = RawClient::connect(&world.gateway.doors[&1])?;
    let answer = client.call(Request {
        api: api.0,
        version,
        flexible: wire::header::request_header_version(api, nearest) >= 2,
        client_id: "differential",
        body: &body,
    });
    let answer = match answer {
        Err(Error::Io { source, .. }) if is_close(&source) => return Ok(Ok(())),
        answer => answer?,
    };
    let header = usize::from(wire::header::response_header_version(api, nearest) > 0);
    let body = answer.get(header..).unwrap_or_default();
    let decoded = message::decode(api, nearest, Direction::Response, body);
    Ok(match decoded {
        Ok(answer) if answer["ErrorCode"] == UNSUPPORTED_VERSION => Ok(()),
        Ok(answer) => Err(answer.to_string()),
        Err(error) => Err(format!("{error} in {}", message::hex(&answer))),
    })
}
