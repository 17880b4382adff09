//! What the gateway's own account may see of groups, with Kafka's authorizer.

use serde_json::json;
use testkit::raw::RawClient;
use testkit::rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use testkit::rdkafka::{Offset, TopicPartitionList};
use testkit::{ClusterOptions, Error, KafkaCluster, Listener, Release, Result, librdkafka, wait};
use wire::api::ApiKey;

use crate::topics::call;
use crate::world::{Front, LIMIT, world};

const USER: &str = "lean-gateway";
const PASSWORD: &str = "lean-gateway-pass-1";
const WARNING: &str = "may not describe all groups";

#[test]
fn missing_rights_are_told_once_and_lag_is_shown_when_they_are_given() -> Result<()> {
    let _alone = world()?;
    let cluster = ClusterOptions::new(Release::V4_3)
        .node_ids(&[1])
        .property(
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        )
        // Brokers, controllers and this test come without credentials.
        .property("super.users", "User:ANONYMOUS")
        .user(USER, PASSWORD);
    let cluster = KafkaCluster::start_with(cluster)?;
    let direct = cluster.bootstrap(Listener::Plaintext);
    librdkafka::create_topic(&direct, "orders", 1)?;
    librdkafka::produce(&direct, &[], "orders", (0..9).map(|n| n.to_string()))?;
    let consumer: BaseConsumer =
        librdkafka::config(&direct, &[("group.id", "stopped")]).create()?;
    let mut done = TopicPartitionList::new();
    done.add_partition_offset("orders", 0, Offset::Offset(2))?;
    wait::until_true("a commit", LIMIT, || {
        consumer.commit(&done, CommitMode::Sync).is_ok()
    })?;

    // What the gateway needs for its own topics: all (2) on topics (2) and transactional ids (5).
    grant(&cluster, &[(2, "*", 2), (5, "*", 2)])?;
    let jaas = format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{USER}\" password=\"{PASSWORD}\";"
    );
    let settings = [
        ("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
        ("KAFKA_SASL_MECHANISM", "PLAIN"),
        ("KAFKA_SASL_JAAS_CONFIG", jaas.as_str()),
        ("GATEWAY_METRICS_OFFSET_POLL_MS", "200"),
    ];
    let front = Front::start(&cluster.bootstrap(Listener::SaslPlaintext), &settings)?;
    wait::until_true("a warning", LIMIT, || front.gateway.log().contains(WARNING))?;
    let lag = "gateway_consumer_lag{vcluster=\"passthrough\",group=\"stopped\",topic=\"orders\"}";
    assert!(!front.scrape()?.has(lag));

    // Describe (8) on the cluster (4) and on all groups (3).
    grant(&cluster, &[(4, "kafka-cluster", 8), (3, "*", 8)])?;
    let scrape = front.eventually("lag", |scrape| scrape.has(lag))?;
    assert_eq!(scrape.get(lag), 7.0);
    assert_eq!(front.gateway.log().matches(WARNING).count(), 1);
    Ok(())
}

/// Allows (3) the gateway's account operations on resources with these very names (3).
fn grant(cluster: &KafkaCluster, rights: &[(i8, &str, i8)]) -> Result<()> {
    let creation = |(resource, name, operation): &(i8, &str, i8)| {
        json!({
            "ResourceType": resource, "ResourceName": name, "ResourcePatternType": 3,
            "Principal": format!("User:{USER}"), "Host": "*", "Operation": operation, "PermissionType": 3,
        })
    };
    let creations: Vec<_> = rights.iter().map(creation).collect();
    let addresses = cluster.addresses(Listener::Plaintext);
    let address = addresses.get(&1);
    let address = address.ok_or_else(|| Error::Answer("no broker".to_owned()))?;
    let mut client = RawClient::connect(address)?;
    let message = json!({ "Creations": creations });
    let answer = call(&mut client, ApiKey::CREATE_ACLS, 3, &message)?;
    let results = answer["Results"].as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!(results.len(), rights.len(), "{answer}");
    assert!(results.iter().all(|r| r["ErrorCode"] == 0), "{answer}");
    Ok(())
}
