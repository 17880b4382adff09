//! CreateTopics, DeleteTopics, CreatePartitions.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest,
    CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
};

use super::configs::{DEFAULT, TOPIC_OVERRIDE};
use super::{Answer, Request, text};
use crate::configs::{self, Operation, Overrides};
use crate::topics::{Layout, Topic};

type Failure = (ResponseError, Option<String>);

pub(super) fn create(request: &Request<'_>) -> Answer {
    let asked: CreateTopicsRequest = request.decode()?;
    let topics = asked.topics.iter().map(|wanted| {
        let result = CreatableTopicResult::default().with_name(wanted.name.clone());
        let twin = asked
            .topics
            .iter()
            .filter(|t| t.name == wanted.name)
            .count()
            > 1;
        let made = if twin {
            Err((ResponseError::InvalidRequest, None))
        } else {
            create_one(request, wanted, asked.validate_only)
        };
        match made {
            Ok(topic) => created(request, result, &topic),
            Err((error, message)) => {
                let result = result
                    .with_error_code(error.code())
                    .with_error_message(message.map(text));
                result.with_num_partitions(-1).with_replication_factor(-1)
            }
        }
    });
    request.answer(
        &CreateTopicsResponse::default()
            .with_topics(topics.collect())
            .with_throttle_time_ms(request.throttle_ms),
    )
}

fn create_one(
    request: &Request<'_>,
    wanted: &CreatableTopic,
    dry_run: bool,
) -> Result<Arc<Topic>, Failure> {
    request.gate().map_err(|e| (e, None))?;
    let mut overrides = Overrides::new();
    for config in &wanted.configs {
        configs::apply(
            configs::TOPIC,
            &mut overrides,
            &config.name,
            Operation::Set,
            config.value.as_deref(),
        )
        .map_err(|(error, message)| (error, Some(message)))?;
    }
    let options = &request.cluster.options;
    let layout = if wanted.assignments.is_empty() {
        let partitions = if wanted.num_partitions == -1 {
            options.default_partitions
        } else {
            wanted.num_partitions
        };
        let factor = if wanted.replication_factor == -1 {
            options.replication_factor()
        } else {
            wanted.replication_factor
        };
        Layout::Spread {
            partitions,
            replication_factor: factor,
        }
    } else {
        let mut assigned: Vec<(i32, Vec<i32>)> = wanted
            .assignments
            .iter()
            .map(|a| (a.partition_index, ids(&a.broker_ids)))
            .collect();
        assigned.sort();
        let in_order = assigned
            .iter()
            .enumerate()
            .all(|(i, (index, _))| i as i32 == *index);
        if !in_order || wanted.num_partitions != -1 || wanted.replication_factor != -1 {
            return Err((ResponseError::InvalidReplicaAssignment, None));
        }
        Layout::Assigned(assigned.into_iter().map(|(_, brokers)| brokers).collect())
    };
    let live = request.cluster.live();
    request
        .cluster
        .topics
        .create(&wanted.name, &layout, overrides, &live, dry_run)
        .map_err(|error| {
            let message = match error {
                ResponseError::TopicAlreadyExists => {
                    format!("Topic '{}' already exists.", &*wanted.name)
                }
                ResponseError::InvalidReplicationFactor => {
                    format!("There are {} brokers.", live.len())
                }
                other => other.to_string(),
            };
            (error, Some(message))
        })
}

fn created(
    request: &Request<'_>,
    result: CreatableTopicResult,
    topic: &Topic,
) -> CreatableTopicResult {
    if request.version < 5 {
        return result;
    }
    let overrides = topic.overrides();
    let configs = configs::TOPIC.iter().map(|d| {
        let own = overrides.get(d.name);
        CreatableTopicConfigs::default()
            .with_name(text(d.name))
            .with_value(Some(text(own.map_or(d.default, String::as_str))))
            .with_config_source(if own.is_some() {
                TOPIC_OVERRIDE
            } else {
                DEFAULT
            })
    });
    let factor = topic.partition(0).map_or(1, |p| p.state().replicas.len());
    result
        .with_topic_id(topic.id)
        .with_num_partitions(topic.partition_count() as i32)
        .with_replication_factor(factor as i16)
        .with_configs(Some(configs.collect()))
}

pub(super) fn delete(request: &Request<'_>) -> Answer {
    let asked: DeleteTopicsRequest = request.decode()?;
    let by_name = asked
        .topic_names
        .iter()
        .map(|name| DeleteTopicState::default().with_name(Some(name.clone())));
    let wanted: Vec<DeleteTopicState> = if request.version >= 6 {
        asked.topics.clone()
    } else {
        by_name.collect()
    };
    let responses = wanted.into_iter().map(|wanted| {
        let result = DeletableTopicResult::default();
        match delete_one(request, &wanted) {
            Ok(topic) => {
                let result = result.with_name(Some(TopicName(text(topic.name.clone()))));
                if request.version >= 6 {
                    result.with_topic_id(topic.id)
                } else {
                    result
                }
            }
            Err(error) => {
                let result = result.with_name(wanted.name).with_error_code(error.code());
                if request.version >= 6 {
                    result.with_topic_id(wanted.topic_id)
                } else {
                    result
                }
            }
        }
    });
    request.answer(
        &DeleteTopicsResponse::default()
            .with_responses(responses.collect())
            .with_throttle_time_ms(request.throttle_ms),
    )
}

fn delete_one(
    request: &Request<'_>,
    wanted: &DeleteTopicState,
) -> Result<Arc<Topic>, ResponseError> {
    request.gate()?;
    let topics = &request.cluster.topics;
    let topic = match &wanted.name {
        Some(name) => topics
            .get(name)
            .ok_or(ResponseError::UnknownTopicOrPartition)?,
        None => topics
            .get_by_id(wanted.topic_id)
            .ok_or(ResponseError::UnknownTopicId)?,
    };
    topics.delete(&topic)?;
    request.cluster.groups.forget_topic(&topic.name);
    Ok(topic)
}

pub(super) fn create_partitions(request: &Request<'_>) -> Answer {
    let asked: CreatePartitionsRequest = request.decode()?;
    let results = asked.topics.iter().map(|wanted| {
        let result = CreatePartitionsTopicResult::default().with_name(wanted.name.clone());
        match grow(request, wanted, asked.validate_only) {
            Ok(()) => result,
            Err(error) => result
                .with_error_code(error.code())
                .with_error_message(Some(text(error.to_string()))),
        }
    });
    request.answer(
        &CreatePartitionsResponse::default()
            .with_results(results.collect())
            .with_throttle_time_ms(request.throttle_ms),
    )
}

fn grow(
    request: &Request<'_>,
    wanted: &CreatePartitionsTopic,
    dry_run: bool,
) -> Result<(), ResponseError> {
    request.gate()?;
    let topics = &request.cluster.topics;
    let topic = topics
        .get(&wanted.name)
        .ok_or(ResponseError::UnknownTopicOrPartition)?;
    let assigned = wanted
        .assignments
        .as_ref()
        .map(|all| all.iter().map(|a| ids(&a.broker_ids)).collect());
    topics.grow(
        &topic,
        wanted.count,
        assigned,
        &request.cluster.live(),
        dry_run,
    )
}

fn ids(brokers: &[BrokerId]) -> Vec<i32> {
    brokers.iter().map(|b| b.0).collect()
}
