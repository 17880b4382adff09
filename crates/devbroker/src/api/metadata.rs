//! Metadata and DescribeTopicPartitions.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, MetadataRequest,
    MetadataResponse, TopicName,
};

use super::{Answer, Request, code, text};
use crate::configs::Overrides;
use crate::topics::{Layout, Partition, Topic};

/// Everything that may be done to a topic, as the bits of ACL operations: nobody is kept from anything here.
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;
const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;
/// What the field holds when it was not asked for.
const NOT_ASKED: i32 = i32::MIN;

pub(super) fn metadata(request: &Request<'_>) -> Answer {
    let asked: MetadataRequest = request.decode()?;
    let cluster = request.cluster;
    let topics: Vec<MetadataResponseTopic> = match &asked.topics {
        Some(topics) if request.version > 0 || !topics.is_empty() => topics
            .iter()
            .map(|t| named_topic(request, &asked, t))
            .collect(),
        _ => cluster
            .topics
            .all()
            .iter()
            .map(|t| topic_response(request, &asked, t))
            .collect(),
    };
    let brokers = cluster.endpoints().into_iter().map(|e| {
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(e.node_id))
            .with_host(text(e.host));
        broker.with_port(e.port).with_rack(e.rack.map(text))
    });
    let mut response = MetadataResponse::default()
        .with_throttle_time_ms(request.throttle_ms)
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(text(cluster.options.cluster_id.clone())))
        .with_controller_id(BrokerId(cluster.controller()))
        .with_topics(topics);
    if asked.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    if request.version >= 13 {
        response.error_code = code(request.gate());
    }
    request.answer(&response)
}

fn named_topic(
    request: &Request<'_>,
    asked: &MetadataRequest,
    wanted: &MetadataRequestTopic,
) -> MetadataResponseTopic {
    let found = request
        .gate()
        .and_then(|()| find_or_create(request, asked, wanted));
    match found {
        Ok(topic) => topic_response(request, asked, &topic),
        Err(error) => {
            let name = wanted
                .name
                .clone()
                .or((request.version < 12).then(TopicName::default));
            let topic = MetadataResponseTopic::default()
                .with_error_code(error.code())
                .with_name(name);
            topic.with_topic_id(wanted.topic_id)
        }
    }
}

fn find_or_create(
    request: &Request<'_>,
    asked: &MetadataRequest,
    wanted: &MetadataRequestTopic,
) -> Result<Arc<Topic>, ResponseError> {
    let topics = &request.cluster.topics;
    // Beside an id clients leave the name at its default, which is not always null.
    let by_id = !wanted.topic_id.is_nil();
    let Some(name) = wanted
        .name
        .as_ref()
        .filter(|name| !(by_id && name.is_empty()))
    else {
        return topics
            .get_by_id(wanted.topic_id)
            .ok_or(ResponseError::UnknownTopicId);
    };
    if let Some(topic) = topics.get(name) {
        return Ok(topic);
    }
    crate::topics::check_name(name)?;
    if !asked.allow_auto_topic_creation || !request.cluster.options.auto_create_topics {
        return Err(ResponseError::UnknownTopicOrPartition);
    }
    let options = &request.cluster.options;
    let layout = Layout::Spread {
        partitions: options.default_partitions,
        replication_factor: options.replication_factor(),
    };
    match topics.create(
        name,
        &layout,
        Overrides::new(),
        &request.cluster.live(),
        false,
    ) {
        Err(ResponseError::TopicAlreadyExists) => topics
            .get(name)
            .ok_or(ResponseError::UnknownTopicOrPartition),
        created => created,
    }
}

fn topic_response(
    request: &Request<'_>,
    asked: &MetadataRequest,
    topic: &Topic,
) -> MetadataResponseTopic {
    let live = request.cluster.live();
    let partitions = topic.partitions();
    let partitions = partitions.iter().map(|p| {
        let view = View::of(p, &live);
        let partition = MetadataResponsePartition::default().with_partition_index(p.index);
        let partition = partition
            .with_leader_id(view.leader)
            .with_leader_epoch(view.leader_epoch)
            .with_error_code(view.error);
        partition
            .with_replica_nodes(view.replicas)
            .with_isr_nodes(view.in_sync)
            .with_offline_replicas(view.offline)
    });
    let mut response = MetadataResponseTopic::default()
        .with_error_code(code(request.gate()))
        .with_name(Some(TopicName(text(topic.name.clone()))))
        .with_topic_id(topic.id)
        .with_partitions(partitions.collect());
    if asked.include_topic_authorized_operations {
        response.topic_authorized_operations = TOPIC_OPERATIONS;
    }
    response
}

/// A partition as metadata shows it.
struct View {
    error: i16,
    leader: BrokerId,
    leader_epoch: i32,
    replicas: Vec<BrokerId>,
    in_sync: Vec<BrokerId>,
    offline: Vec<BrokerId>,
}

impl View {
    fn of(partition: &Partition, live: &[i32]) -> Self {
        let state = partition.state();
        let ids = |keep: &dyn Fn(&i32) -> bool| {
            state
                .replicas
                .iter()
                .filter(|r| keep(r))
                .map(|r| BrokerId(*r))
                .collect()
        };
        View {
            error: if state.leader < 0 {
                ResponseError::LeaderNotAvailable.code()
            } else {
                0
            },
            leader: BrokerId(state.leader),
            leader_epoch: state.leader_epoch,
            replicas: ids(&|_| true),
            in_sync: ids(&|r| live.contains(r)),
            offline: ids(&|r| !live.contains(r)),
        }
    }
}

pub(super) fn describe_topic_partitions(request: &Request<'_>) -> Answer {
    /// Partitions in one answer (`max.request.partition.size.limit`).
    const MAX_PARTITIONS: usize = 2_000;
    let asked: DescribeTopicPartitionsRequest = request.decode()?;
    let mut room = usize::try_from(asked.response_partition_limit)
        .unwrap_or(0)
        .clamp(1, MAX_PARTITIONS);
    let (from_topic, from_partition) = match &asked.cursor {
        Some(cursor) => (cursor.topic_name.to_string(), cursor.partition_index.max(0)),
        None => (String::new(), 0),
    };
    let mut names: Vec<String> = match asked.topics.as_slice() {
        [] => request
            .cluster
            .topics
            .all()
            .iter()
            .map(|t| t.name.clone())
            .collect(),
        topics => topics.iter().map(|t| t.name.to_string()).collect(),
    };
    names.sort();
    names.dedup();
    let mut response =
        DescribeTopicPartitionsResponse::default().with_throttle_time_ms(request.throttle_ms);
    for name in names.into_iter().filter(|n| *n >= from_topic) {
        let first = if name == from_topic {
            from_partition
        } else {
            0
        };
        let (topic, rest) = described_topic(request, &name, first, room);
        room -= topic.partitions.len();
        response.topics.push(topic);
        if let Some(partition) = rest {
            let cursor = Cursor::default()
                .with_topic_name(TopicName(text(name)))
                .with_partition_index(partition);
            response.next_cursor = Some(cursor);
            break;
        }
    }
    request.answer(&response)
}

/// A topic's partitions from `first` on, at most `room`; and the partition to go on with if there are more.
fn described_topic(
    request: &Request<'_>,
    name: &str,
    first: i32,
    room: usize,
) -> (DescribeTopicPartitionsResponseTopic, Option<i32>) {
    let response =
        DescribeTopicPartitionsResponseTopic::default().with_name(Some(TopicName(text(name))));
    let response = response.with_topic_authorized_operations(NOT_ASKED);
    let found = request.gate().and_then(|()| {
        request
            .cluster
            .topics
            .get(name)
            .ok_or(ResponseError::UnknownTopicOrPartition)
    });
    let topic = match found {
        Ok(topic) => topic,
        Err(error) => return (response.with_error_code(error.code()), None),
    };
    let live = request.cluster.live();
    let all = topic.partitions();
    let shown = all.iter().filter(|p| p.index >= first).take(room).map(|p| {
        let view = View::of(p, &live);
        let partition =
            DescribeTopicPartitionsResponsePartition::default().with_partition_index(p.index);
        let partition = partition
            .with_leader_id(view.leader)
            .with_leader_epoch(view.leader_epoch)
            .with_error_code(view.error);
        let partition = partition
            .with_replica_nodes(view.replicas)
            .with_isr_nodes(view.in_sync);
        partition
            .with_offline_replicas(view.offline)
            .with_eligible_leader_replicas(Some(vec![]))
            .with_last_known_elr(Some(vec![]))
    });
    let shown: Vec<_> = shown.collect();
    let next = usize::try_from(first).unwrap_or(0) + shown.len();
    let response = response
        .with_topic_id(topic.id)
        .with_partitions(shown)
        .with_topic_authorized_operations(TOPIC_OPERATIONS);
    (response, (next < all.len()).then_some(next as i32))
}
