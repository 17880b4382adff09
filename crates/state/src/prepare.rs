//! The topics at start: created if missing, checked if there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResult;
use kafka_protocol::messages::{CreateTopicsRequest, DescribeConfigsRequest};
use kafka_protocol::protocol::StrBytes;
use telemetry::targets::STATE;
use tokio::time::{Instant, sleep};
use wire::error_code::{NONE, NOT_CONTROLLER, REQUEST_TIMED_OUT, TOPIC_ALREADY_EXISTS};

use crate::error::OpenError;
use crate::kafka::{Failure, Kafka, TopicView};
use crate::topic::StoreTopic;

/// Highest versions used. A replication factor of -1 needs CreateTopics 4 (KIP-464).
const CREATE_TOPICS: i16 = 5;
const DESCRIBE_CONFIGS: i16 = 4;

const CREATE_TIMEOUT_MS: i32 = 10_000;
const PAUSE: Duration = Duration::from_millis(100);
const TOPIC_RESOURCE: i8 = 2;
const POLICY: &str = "cleanup.policy";
const COMPRESSION: &str = "compression.type";

/// Below this a warning is due.
const SAFE_REPLICAS: usize = 3;

/// Makes sure that every topic is there, has leaders, and keeps what is written to it.
pub(crate) async fn prepare(
    kafka: &Kafka,
    replication_factor: i16,
    deadline: Instant,
) -> Result<(), OpenError> {
    let mut created = BTreeSet::new();
    let seen = loop {
        let mut last = "a state topic has no leader yet".to_owned();
        match kafka.refresh().await {
            Ok(seen) => {
                let missing: Vec<StoreTopic> = StoreTopic::ALL
                    .into_iter()
                    .filter(|topic| !seen.contains_key(topic))
                    .collect();
                if missing.is_empty() && seen.values().all(has_leaders) {
                    break seen;
                }
                let wanted: Vec<StoreTopic> = missing
                    .into_iter()
                    .filter(|topic| !created.contains(topic))
                    .collect();
                match create(kafka, &wanted, replication_factor).await {
                    Ok(results) => {
                        for (topic, result) in results {
                            match result {
                                Ok(()) => {
                                    created.insert(topic);
                                }
                                Err(failure) if is_passing(&failure) => last = failure.to_string(),
                                Err(failure) => {
                                    return Err(OpenError::CannotCreate {
                                        topic,
                                        name: kafka.name(topic).to_owned(),
                                        reason: failure.to_string(),
                                    });
                                }
                            }
                        }
                    }
                    Err(failure) => last = failure.to_string(),
                }
            }
            Err(Failure::Hidden(topic)) => {
                return Err(OpenError::NotAllowed {
                    topic,
                    name: kafka.name(topic).to_owned(),
                });
            }
            Err(failure) => last = failure.to_string(),
        }
        if Instant::now() + PAUSE >= deadline {
            return Err(OpenError::Unavailable { reason: last });
        }
        sleep(PAUSE).await;
    };
    warn_of_few_replicas(kafka, &seen);
    check_settings(kafka, deadline).await
}

fn has_leaders(topic: &TopicView) -> bool {
    !topic.leaders.is_empty() && topic.leaders.values().all(|leader| *leader >= 0)
}

/// Creates all of `topics` with one request; what became of each.
async fn create(
    kafka: &Kafka,
    topics: &[StoreTopic],
    replication_factor: i16,
) -> Result<Vec<(StoreTopic, Result<(), Failure>)>, Failure> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let config = |name: &'static str, value: &'static str| {
        CreatableTopicConfig::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(StrBytes::from_static_str(value)))
    };
    let wanted = |topic: &StoreTopic| {
        CreatableTopic::default()
            .with_name(kafka.topic_name(*topic))
            .with_num_partitions(1)
            .with_replication_factor(replication_factor)
            .with_configs(vec![
                config(POLICY, "compact"),
                // Records are read in place; a broker-wide codec would get in the way.
                config(COMPRESSION, "uncompressed"),
            ])
    };
    let request = CreateTopicsRequest::default()
        .with_topics(topics.iter().map(wanted).collect())
        .with_timeout_ms(CREATE_TIMEOUT_MS);
    let answer = kafka.ask_any(CREATE_TOPICS, &request).await?;
    let result = |result: CreatableTopicResult| {
        let topic = kafka.topic_called(&result.name)?;
        let outcome = match result.error_code {
            // Another node may have been quicker.
            TOPIC_ALREADY_EXISTS => Ok(()),
            NONE => {
                tracing::info!(target: STATE, name = kafka.name(topic), "state topic created");
                Ok(())
            }
            code => Err(Failure::Code {
                asked: "CreateTopics",
                code,
                message: result.error_message.map(|m| m.to_string()),
            }),
        };
        Some((topic, outcome))
    };
    Ok(answer.topics.into_iter().filter_map(result).collect())
}

/// Whether another try may help.
fn is_passing(failure: &Failure) -> bool {
    match failure {
        Failure::Code { code, .. } => [NOT_CONTROLLER, REQUEST_TIMED_OUT].contains(code),
        _ => true,
    }
}

fn warn_of_few_replicas(kafka: &Kafka, seen: &BTreeMap<StoreTopic, TopicView>) {
    for (topic, view) in seen {
        if view.replicas < SAFE_REPLICAS {
            tracing::warn!(
                target: STATE,
                name = kafka.name(*topic),
                replicas = view.replicas,
                "{}: a state topic has fewer than {SAFE_REPLICAS} replicas and may be lost with a broker",
                topic.variable()
            );
        }
    }
}

async fn check_settings(kafka: &Kafka, deadline: Instant) -> Result<(), OpenError> {
    let keys = [POLICY, COMPRESSION].map(StrBytes::from_static_str);
    let resources = StoreTopic::ALL
        .iter()
        .map(|topic| {
            DescribeConfigsResource::default()
                .with_resource_type(TOPIC_RESOURCE)
                .with_resource_name(StrBytes::from_string(kafka.name(*topic).to_owned()))
                .with_configuration_keys(Some(keys.to_vec()))
        })
        .collect();
    let request = DescribeConfigsRequest::default().with_resources(resources);
    let answer = loop {
        match kafka.ask_any(DESCRIBE_CONFIGS, &request).await {
            Ok(answer) => break answer,
            Err(failure) if Instant::now() + PAUSE >= deadline => {
                return Err(OpenError::Unavailable {
                    reason: failure.to_string(),
                });
            }
            Err(_) => sleep(PAUSE).await,
        }
    };
    for result in &answer.results {
        let Some(topic) = kafka.topic_called(&result.resource_name) else {
            continue;
        };
        if result.error_code != NONE {
            tracing::warn!(
                target: STATE,
                name = kafka.name(topic),
                code = result.error_code,
                "{}: the settings of a state topic cannot be read; it has to have {POLICY}=compact",
                topic.variable()
            );
            continue;
        }
        check(kafka, topic, result)?;
    }
    Ok(())
}

fn check(
    kafka: &Kafka,
    topic: StoreTopic,
    described: &DescribeConfigsResult,
) -> Result<(), OpenError> {
    let rules: [(&'static str, &[&str], &'static str); 2] = [
        (POLICY, &["compact"], "compact"),
        (
            COMPRESSION,
            &["producer", "uncompressed"],
            "uncompressed or producer",
        ),
    ];
    for (property, allowed, needed) in rules {
        let found = described
            .configs
            .iter()
            .find(|c| c.name.as_str() == property)
            .and_then(|c| c.value.as_ref());
        if let Some(found) = found
            && !allowed.contains(&found.as_str())
        {
            return Err(OpenError::WrongSetting {
                topic,
                name: kafka.name(topic).to_owned(),
                property,
                found: found.to_string(),
                needed,
            });
        }
    }
    Ok(())
}
