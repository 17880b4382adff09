//! DescribeCluster, DescribeLogDirs, ListPartitionReassignments.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeClusterRequest, DescribeClusterResponse, DescribeLogDirsRequest,
    DescribeLogDirsResponse, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    TopicName,
};

use super::{Answer, Request, code, text};
use crate::topics::Topic;

const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
const BROKERS: i8 = 1;
/// Name shown for the directory that is not there.
const MEMORY: &str = "memory";

pub(super) fn describe_cluster(request: &Request<'_>) -> Answer {
    let asked: DescribeClusterRequest = request.decode()?;
    let right_type = request.version == 0 || asked.endpoint_type == BROKERS;
    let checked = request.gate().and(if right_type {
        Ok(())
    } else {
        Err(ResponseError::MismatchedEndpointType)
    });
    let mut response =
        DescribeClusterResponse::default().with_throttle_time_ms(request.throttle_ms);
    if checked.is_err() {
        return request.answer(&response.with_error_code(code(checked)));
    }
    let brokers = request.cluster.endpoints().into_iter().map(|e| {
        let broker = DescribeClusterBroker::default()
            .with_broker_id(BrokerId(e.node_id))
            .with_host(text(e.host));
        broker.with_port(e.port).with_rack(e.rack.map(text))
    });
    if asked.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    request.answer(
        &response
            .with_cluster_id(text(request.cluster.options.cluster_id.clone()))
            .with_controller_id(BrokerId(request.cluster.controller()))
            .with_brokers(brokers.collect()),
    )
}

pub(super) fn describe_log_dirs(request: &Request<'_>) -> Answer {
    let asked: DescribeLogDirsRequest = request.decode()?;
    let gate = request.gate();
    let mut directory = DescribeLogDirsResult::default()
        .with_log_dir(text(MEMORY))
        .with_error_code(code(gate));
    if gate.is_ok() {
        let wanted = |topic: &Topic| {
            asked
                .topics
                .as_ref()
                .is_none_or(|all| all.iter().any(|t| **t.topic == *topic.name))
        };
        let topics = request.cluster.topics.all();
        let topics = topics
            .iter()
            .filter(|t| wanted(t))
            .map(|t| log_topic(request, &asked, t));
        directory.topics = topics.filter(|t| !t.partitions.is_empty()).collect();
        if request.version >= 4 {
            let budget = &request.cluster.budget;
            directory.total_bytes = budget.limit() as i64;
            directory.usable_bytes = budget.limit().saturating_sub(budget.used()) as i64;
        }
    }
    request.answer(
        &DescribeLogDirsResponse::default()
            .with_results(vec![directory])
            .with_throttle_time_ms(request.throttle_ms),
    )
}

fn log_topic(
    request: &Request<'_>,
    asked: &DescribeLogDirsRequest,
    topic: &Topic,
) -> DescribeLogDirsTopic {
    let named = asked
        .topics
        .iter()
        .flatten()
        .find(|t| **t.topic == *topic.name);
    let mut partitions = Vec::new();
    for partition in topic.partitions() {
        let state = partition.state();
        let wanted = named.is_none_or(|t| t.partitions.contains(&partition.index));
        if wanted && state.replicas.contains(&request.node) {
            let row = DescribeLogDirsPartition::default().with_partition_index(partition.index);
            partitions.push(row.with_partition_size(state.log.bytes() as i64));
        }
    }
    DescribeLogDirsTopic::default()
        .with_name(TopicName(text(topic.name.clone())))
        .with_partitions(partitions)
}

/// There never are any; tools that describe topics ask.
pub(super) fn list_partition_reassignments(request: &Request<'_>) -> Answer {
    request.decode::<ListPartitionReassignmentsRequest>()?;
    let response =
        ListPartitionReassignmentsResponse::default().with_error_code(code(request.gate()));
    request.answer(&response.with_throttle_time_ms(request.throttle_ms))
}
