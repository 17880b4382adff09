//! Every method of Java's admin client in a virtual cluster, and what is the operator's.

use std::collections::BTreeMap;

use serde_json::json;
use testkit::driver::Task;
use testkit::{Listener, Result};
use wire::api::ApiKey;

use crate::ask::{self, code};
use crate::caller::Caller;
use crate::way::error_codes;
use crate::world::{Tenant, World, java};

/// What does not succeed in a virtual cluster without access control, and the exception that says so.
const REFUSED: &[(&str, &str)] = &[
    ("createTopics-exists", "TopicExistsException"),
    ("describeTopics-none", "UnknownTopicOrPartitionException"),
    ("deleteTopics-none", "UnknownTopicOrPartitionException"),
    ("describeConfigs-broker", "ClusterAuthorizationException"),
    (
        "incrementalAlterConfigs-bad",
        "InvalidConfigurationException",
    ),
    (
        "incrementalAlterConfigs-broker",
        "ClusterAuthorizationException",
    ),
    ("alterReplicaLogDirs", "ClusterAuthorizationException"),
    ("describeLogDirs", "ClusterAuthorizationException"),
    ("electLeaders", "ClusterAuthorizationException"),
    (
        "alterPartitionReassignments",
        "ClusterAuthorizationException",
    ),
    (
        "listPartitionReassignments",
        "ClusterAuthorizationException",
    ),
    ("abortTransaction", "UnsupportedVersionException"),
    ("clientInstanceId", "IllegalStateException"),
    ("describeAcls", "SecurityDisabledException"),
    ("createAcls", "SecurityDisabledException"),
    ("deleteAcls", "SecurityDisabledException"),
    ("createDelegationToken", "UnsupportedVersionException"),
    ("renewDelegationToken", "UnsupportedVersionException"),
    ("expireDelegationToken", "UnsupportedVersionException"),
    ("describeDelegationToken", "UnsupportedVersionException"),
    (
        "describeUserScramCredentials",
        "ClusterAuthorizationException",
    ),
    ("alterUserScramCredentials", "ClusterAuthorizationException"),
    ("describeClientQuotas", "ClusterAuthorizationException"),
    ("alterClientQuotas", "ClusterAuthorizationException"),
    ("updateFeatures", "ClusterAuthorizationException"),
    ("describeMetadataQuorum", "ClusterAuthorizationException"),
    ("unregisterBroker", "ClusterAuthorizationException"),
    ("addRaftVoter", "ClusterAuthorizationException"),
    ("removeRaftVoter", "ClusterAuthorizationException"),
    // There are no static members, no share group, and no streams group yet.
    ("removeMembersFromConsumerGroup", "IllegalArgumentException"),
    ("describeShareGroups", "GroupIdNotFoundException"),
    ("describeStreamsGroups", "GroupIdNotFoundException"),
];

#[test]
fn the_admin_client_sees_its_own() -> Result<()> {
    let world = World::get()?;
    let (own, other) = (world.tenant("sweeping")?, world.tenant("marked")?);
    for tenant in [&own, &other] {
        let mut root = tenant.root()?;
        ask::topic(&mut root, "orders", 1)?;
        ask::commit(&mut root, "readers", "orders", 0)?;
        ask::init_producer(&mut root, "writer")?;
    }
    let access = own
        .access()?
        .java(&[("group.id", "readers"), ("transactional.id", "writer")]);
    let report = java()?.run(Task::Sweep, "orders", &access)?;
    assert!(report.ok, "{}", report.text);
    no_word_of_others(world, &own, &other, &report.text);
    let expected: BTreeMap<&str, &str> = REFUSED.iter().copied().collect();
    let mut wrong = Vec::new();
    for line in report.text.lines() {
        let name = line.split(' ').next().unwrap_or_default();
        let fits = match (line.split_once(" ! "), expected.get(name)) {
            (Some((_, said)), Some(exception)) => said.starts_with(&format!("{exception}:")),
            (None, None) => !line.ends_with(" ?"),
            _ => false,
        };
        if !fits {
            wrong.push(line);
        }
    }
    assert!(
        wrong.is_empty(),
        "not as expected:\n{}\nof:\n{}",
        wrong.join("\n"),
        report.text
    );
    Ok(())
}

/// Neither the names of another virtual cluster, nor one's own prefix but in the cluster id, nor addresses of brokers.
fn no_word_of_others(world: &World, own: &Tenant<'_>, other: &Tenant<'_>, text: &str) {
    let mut ports = Vec::new();
    for listener in Listener::ALL {
        let addresses = world.cluster.addresses(listener).into_values();
        ports.extend(addresses.filter_map(|address| Some(address.rsplit_once(':')?.1.to_owned())));
    }
    for line in text.lines() {
        let without_id = line.replace(&format!("{}@", own.name), "");
        assert!(!line.contains(&other.name), "{line}");
        assert!(!without_id.contains(&own.name), "{line}");
        assert!(!line.contains("_conduktor"), "{line}");
        assert!(!line.contains("__consumer_offsets"), "{line}");
        for port in &ports {
            assert!(!line.contains(&format!(":{port}")), "{line}");
        }
    }
}

/// Instead of an error code: a key that is not in the list of keys, so that sending it may end the connection.
const NOT_OFFERED: i64 = -1;

/// What the answer may be if there is one: the key is not supported, or there are no delegation tokens.
const UNOFFERED: [i64; 2] = [35, 61];

/// As a super user, too.
#[test]
fn what_is_the_operators_is_refused() -> Result<()> {
    let world = World::get()?;
    let tenant = world.guarded("operating")?;
    let mut root = tenant.root()?;
    ask::topic(&mut root, "orders", 1)?;
    let before = operators_view(&mut world.brokers())?;
    for (api, body, expected) in operators_requests() {
        let spec = api.spec().expect("a known API");
        let mut answers = 0;
        for version in spec.min_version..=spec.max_stable_version() {
            let answer = root.again().ask(1, api, version, &body)?;
            // Keys that nobody is offered may end the connection.
            let codes = error_codes(api, &answer);
            answers += 1;
            if codes.is_empty() && !answer.is_null() {
                // An old version that can only say what became of what was named: nothing.
                assert!(holds_nothing(&answer), "{api} v{version}: {answer}");
                continue;
            }
            assert!(
                codes.contains(&expected)
                    || expected == NOT_OFFERED
                        && (answer.is_null() || codes.iter().any(|code| UNOFFERED.contains(code))),
                "{api} v{version}: {answer}"
            );
        }
        assert!(answers > 0, "{api}");
    }
    assert_eq!(operators_view(&mut world.brokers())?, before);
    Ok(())
}

fn holds_nothing(answer: &serde_json::Value) -> bool {
    let fields = answer.as_object().into_iter().flatten();
    fields
        .filter_map(|(_, value)| value.as_array())
        .all(Vec::is_empty)
}

fn operators_requests() -> Vec<(ApiKey, serde_json::Value, i64)> {
    const REFUSED: i64 = code::CLUSTER_AUTHORIZATION_FAILED;
    let entity = json!([{ "EntityType": "user", "EntityName": "somebody" }]);
    vec![
        (
            ApiKey::ELECT_LEADERS,
            json!({ "TopicPartitions": null, "TimeoutMs": 1000 }),
            REFUSED,
        ),
        (
            ApiKey::ALTER_PARTITION_REASSIGNMENTS,
            json!({ "Topics": [{
                "Name": "orders",
                "Partitions": [{ "PartitionIndex": 0, "Replicas": [2] }],
            }] }),
            REFUSED,
        ),
        (
            ApiKey::LIST_PARTITION_REASSIGNMENTS,
            json!({ "Topics": null }),
            REFUSED,
        ),
        (
            ApiKey::ALTER_REPLICA_LOG_DIRS,
            json!({ "Dirs": [{ "Path": "/tmp", "Topics": [{ "Name": "orders", "Partitions": [0] }] }] }),
            REFUSED,
        ),
        (
            ApiKey::DESCRIBE_LOG_DIRS,
            json!({ "Topics": null }),
            REFUSED,
        ),
        (
            ApiKey::DESCRIBE_CONFIGS,
            json!({ "Resources": [{ "ResourceType": 4, "ResourceName": "1" }] }),
            REFUSED,
        ),
        (
            ApiKey::UPDATE_FEATURES,
            json!({ "FeatureUpdates": [{ "Feature": "group.version", "MaxVersionLevel": 1 }] }),
            REFUSED,
        ),
        (ApiKey::UNREGISTER_BROKER, json!({ "BrokerId": 3 }), REFUSED),
        (
            ApiKey::DESCRIBE_QUORUM,
            json!({ "Topics": [{
            "TopicName": "__cluster_metadata",
            "Partitions": [{ "PartitionIndex": 0 }],
        }] }),
            REFUSED,
        ),
        (
            ApiKey::DESCRIBE_CLIENT_QUOTAS,
            json!({ "Components": [] }),
            REFUSED,
        ),
        (
            ApiKey::ALTER_CLIENT_QUOTAS,
            json!({ "Entries": [{
                "Entity": entity,
                "Ops": [{ "Key": "consumer_byte_rate", "Value": 1.0 }],
            }] }),
            REFUSED,
        ),
        (
            ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS,
            json!({ "Users": null }),
            REFUSED,
        ),
        (
            ApiKey::ALTER_USER_SCRAM_CREDENTIALS,
            json!({ "Deletions": [{ "Name": "alice", "Mechanism": 1 }] }),
            REFUSED,
        ),
        (ApiKey::ADD_RAFT_VOTER, json!({ "VoterId": 9 }), REFUSED),
        (ApiKey::REMOVE_RAFT_VOTER, json!({ "VoterId": 9 }), REFUSED),
        (
            ApiKey::CREATE_DELEGATION_TOKEN,
            json!({ "MaxLifetimeMs": 1000 }),
            NOT_OFFERED,
        ),
        (
            ApiKey::RENEW_DELEGATION_TOKEN,
            json!({ "Hmac": "01" }),
            NOT_OFFERED,
        ),
        (
            ApiKey::EXPIRE_DELEGATION_TOKEN,
            json!({ "Hmac": "01" }),
            NOT_OFFERED,
        ),
        (
            ApiKey::DESCRIBE_DELEGATION_TOKEN,
            json!({ "Owners": null }),
            NOT_OFFERED,
        ),
        (
            ApiKey::WRITE_TXN_MARKERS,
            json!({ "Markers": [{
            "ProducerId": 1,
            "ProducerEpoch": 1,
            "TransactionResult": false,
            "CoordinatorEpoch": 1,
        }] }),
            NOT_OFFERED,
        ),
    ]
}

/// What the operator would see changed.
fn operators_view(brokers: &mut Caller) -> Result<Vec<String>> {
    let mut said = Vec::new();
    for (api, version, body) in [
        (
            ApiKey::DESCRIBE_CLIENT_QUOTAS,
            1,
            json!({ "Components": [] }),
        ),
        (
            ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS,
            0,
            json!({ "Users": null }),
        ),
        (ApiKey::DESCRIBE_CLUSTER, 1, json!({})),
        (
            ApiKey::LIST_PARTITION_REASSIGNMENTS,
            0,
            json!({ "Topics": null }),
        ),
    ] {
        let mut answer = brokers.must(1, api, version, &body)?;
        for list in ["Brokers", "Results", "Entries"] {
            if let Some(elements) = answer[list].as_array_mut() {
                elements.sort_by_cached_key(ToString::to_string);
            }
        }
        answer["ControllerId"] = 0.into();
        said.push(answer.to_string());
    }
    Ok(said)
}
