//! The cluster, configurations, quotas, credentials, the lists themselves.

use serde_json::{Value, json};
use wire::api::ApiKey;

use super::{Asking, Question, all_names, question};
use crate::principals::{HIDDEN, LITERAL, binding, code};

pub(crate) fn describe_cluster(_asking: &Asking<'_>) -> Vec<Question> {
    let body = |operations: bool| json!({ "IncludeClusterAuthorizedOperations": operations });
    vec![
        question(1, "with operations", body(true)),
        question(2, "without", body(false)),
    ]
}

pub(crate) fn describe_quorum(_asking: &Asking<'_>) -> Vec<Question> {
    let body = json!({ "Topics": [{
        "TopicName": "__cluster_metadata",
        "Partitions": [{ "PartitionIndex": 9 }],
    }] });
    vec![question(1, "no such partition", body)]
}

pub(crate) fn update_features(_asking: &Asking<'_>) -> Vec<Question> {
    let body = json!({
        "timeoutMs": 10_000,
        "FeatureUpdates": [{ "Feature": "happiness.version", "MaxVersionLevel": 1 }],
    });
    vec![question(1, "unknown", body)]
}

pub(crate) fn unregister_broker(_asking: &Asking<'_>) -> Vec<Question> {
    vec![question(1, "unknown", json!({ "BrokerId": 99 }))]
}

pub(crate) fn raft_voter(_asking: &Asking<'_>) -> Vec<Question> {
    let body = json!({
        "VoterId": 9,
        "VoterDirectoryId": "00112233445566778899aabbccddeeff",
    });
    vec![question(1, "unknown", body)]
}

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
const UNKNOWN: i8 = 99;

/// Everything that has a configuration, with a key and a value of it.
fn resources() -> Vec<(i8, &'static str, &'static str, &'static str)> {
    let mut resources = Vec::new();
    for name in all_names() {
        resources.push((TOPIC, name, "retention.ms", "3600000"));
        resources.push((GROUP, name, "consumer.session.timeout.ms", "50000"));
    }
    resources.push((CLIENT_METRICS, "diff-s-metrics", "interval.ms", "60000"));
    resources
}

pub(crate) fn describe_configs(_asking: &Asking<'_>) -> Vec<Question> {
    let resource = |(kind, name, key): (i8, &str, &str)| json!({ "ResourceType": kind, "ResourceName": name, "ConfigurationKeys": [key] });
    let body = |resources: Vec<Value>| json!({ "Resources": resources, "IncludeSynonyms": true, "IncludeDocumentation": true });
    let all = resources().into_iter();
    let all = all.map(|(kind, name, key, _)| resource((kind, name, key)));
    vec![
        question(1, "all", body(all.collect())),
        question(
            1,
            "broker",
            body(vec![
                resource((BROKER, "1", "num.io.threads")),
                resource((TOPIC, LITERAL, "retention.ms")),
            ]),
        ),
        question(
            1,
            "logger",
            body(vec![resource((BROKER_LOGGER, "1", "kafka.server.acl"))]),
        ),
        question(1, "unknown", body(vec![resource((UNKNOWN, "1", "key"))])),
    ]
}

pub(crate) fn alter_configs(asking: &Asking<'_>) -> Vec<Question> {
    let resource = |kind: i8, name: &str, key: &str, value: &str| {
        json!({
            "ResourceType": kind,
            "ResourceName": name,
            "Configs": [{ "Name": key, "Value": value }],
        })
    };
    let body = |resources: Vec<Value>| json!({ "Resources": resources, "ValidateOnly": true });
    let all = resources().into_iter();
    let all = all.map(|(kind, name, key, value)| resource(kind, name, key, value));
    let broker = resource(BROKER, "1", "num.io.threads", "4");
    let unknown = resource(UNKNOWN, "1", "key", "value");
    let topic = resource(TOPIC, HIDDEN, "retention.ms", "3600000");
    let mut questions = vec![
        question(1, "all", body(all.collect())),
        question(1, "broker", body(vec![broker.clone()])),
        question(1, "broker and topic", body(vec![broker, topic.clone()])),
        question(1, "unknown", body(vec![unknown])),
    ];
    if asking.api == ApiKey::INCREMENTAL_ALTER_CONFIGS {
        // To AlterConfigs brokers do not answer then.
        questions.push(question(2, "twice", body(vec![topic.clone(), topic])));
    }
    questions
}

pub(crate) fn list_resources(_asking: &Asking<'_>) -> Vec<Question> {
    vec![question(1, "all", json!({ "ResourceTypes": [] }))]
}

pub(crate) fn describe_quotas(_asking: &Asking<'_>) -> Vec<Question> {
    vec![question(1, "all", json!({ "Components": [] }))]
}

pub(crate) fn alter_quotas(_asking: &Asking<'_>) -> Vec<Question> {
    let body = json!({
        "Entries": [{
            "Entity": [{ "EntityType": "user", "EntityName": "somebody" }],
            "Ops": [{ "Key": "producer_byte_rate", "Value": 1000.0, "Remove": false }],
        }],
        "ValidateOnly": true,
    });
    vec![question(1, "one", body)]
}

pub(crate) fn describe_scram(_asking: &Asking<'_>) -> Vec<Question> {
    let users = json!([{ "Name": "none" }, { "Name": "nobody" }]);
    vec![question(1, "two", json!({ "Users": users }))]
}

pub(crate) fn alter_scram(_asking: &Asking<'_>) -> Vec<Question> {
    let body = json!({ "Deletions": [{ "Name": "nobody", "Mechanism": 1 }] });
    vec![question(1, "nobody", body)]
}

pub(crate) fn describe_acls(_asking: &Asking<'_>) -> Vec<Question> {
    let body = json!({
        "ResourceTypeFilter": code::TOPIC,
        "ResourceNameFilter": LITERAL,
        "PatternTypeFilter": 2,
        "PrincipalFilter": "User:part",
        "HostFilter": null,
        "Operation": 1,
        "PermissionType": 1,
    });
    vec![question(1, "matching", body)]
}

pub(crate) fn create_acls(_asking: &Asking<'_>) -> Vec<Question> {
    let there = binding(
        code::TOPIC,
        code::LITERAL,
        LITERAL,
        "User:part",
        "*",
        code::READ,
        code::ALLOW,
    );
    vec![question(1, "there", json!({ "Creations": [there] }))]
}

pub(crate) fn delete_acls(_asking: &Asking<'_>) -> Vec<Question> {
    let nobody = json!({
        "ResourceTypeFilter": code::TOPIC,
        "ResourceNameFilter": LITERAL,
        "PatternTypeFilter": code::LITERAL,
        "PrincipalFilter": "User:nobody",
        "HostFilter": null,
        "Operation": 1,
        "PermissionType": 1,
    });
    vec![question(1, "of nobody", json!({ "Filters": [nobody] }))]
}
