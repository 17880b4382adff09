//! Produce.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceRequest, ProduceResponse};

use super::{Answer, Request, text};
use crate::batch::{self, BatchHeader, Rules};
use crate::codec::Refusal;
use crate::log::{Appended, BATCH_OVERHEAD};
use crate::maintenance;
use crate::sync::{lock, now_ms};
use crate::topics::{Partition, Topic};
use crate::transactions::Identity;

/// First version that names topics by id (KIP-516).
const TOPIC_IDS_FROM: i16 = 13;
/// First version that tells the new leader (KIP-951).
const LEADERS_FROM: i16 = 10;
const ZSTD_FROM: i16 = 7;

pub(super) fn produce(request: &Request<'_>) -> Answer {
    let asked: ProduceRequest = request.decode()?;
    let mut leaders = BTreeSet::new();
    let mut failed = false;
    let mut responses = Vec::with_capacity(asked.topic_data.len());
    for topic in &asked.topic_data {
        let found = find_topic(request, topic);
        let mut partitions = Vec::with_capacity(topic.partition_data.len());
        for data in &topic.partition_data {
            let outcome = found
                .clone()
                .and_then(|t| append(request, &asked, &t, data));
            failed |= outcome.is_err();
            partitions.push(partition_response(
                request,
                data.index,
                outcome,
                found.as_ref().ok(),
                &mut leaders,
            ));
        }
        let response = TopicProduceResponse::default().with_partition_responses(partitions);
        responses.push(
            response
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id),
        );
    }
    if asked.acks == 0 {
        // Without an answer, closing the connection is the only way to tell.
        return if failed {
            Err(Refusal::FailedWithoutAcks)
        } else {
            Ok(None)
        };
    }
    let endpoints = leaders
        .into_iter()
        .filter_map(|node| request.cluster.endpoint(node));
    let endpoints = endpoints.map(|e| {
        let endpoint = NodeEndpoint::default()
            .with_node_id(BrokerId(e.node_id))
            .with_host(text(e.host));
        endpoint.with_port(e.port).with_rack(e.rack.map(text))
    });
    request.answer(
        &ProduceResponse::default()
            .with_responses(responses)
            .with_throttle_time_ms(request.throttle_ms)
            .with_node_endpoints(endpoints.collect()),
    )
}

fn find_topic(
    request: &Request<'_>,
    topic: &TopicProduceData,
) -> Result<Arc<Topic>, ResponseError> {
    request.gate()?;
    if request.version >= TOPIC_IDS_FROM {
        return request
            .cluster
            .topics
            .get_by_id(topic.topic_id)
            .ok_or(ResponseError::UnknownTopicId);
    }
    request
        .cluster
        .topics
        .get(&topic.name)
        .ok_or(ResponseError::UnknownTopicOrPartition)
}

fn append(
    request: &Request<'_>,
    asked: &ProduceRequest,
    topic: &Topic,
    data: &PartitionProduceData,
) -> Result<(Appended, i64), ResponseError> {
    if !(-1..=1).contains(&asked.acks) {
        return Err(ResponseError::InvalidRequiredAcks);
    }
    let partition = topic
        .partition(data.index)
        .ok_or(ResponseError::UnknownTopicOrPartition)?;
    let records = data.records.as_deref().unwrap_or_default();
    if request.cluster.prepared_for(&topic.name).is_some() {
        partition.state().check_leader(request.node, -1)?;
        return Ok((
            Appended {
                base_offset: 0,
                append_time: -1,
            },
            0,
        ));
    }
    let settings = topic.settings();
    let rules = Rules {
        max_bytes: settings.max_message_bytes,
        keys_required: settings.compact,
        zstd_allowed: request.version >= ZSTD_FROM,
    };
    // Before the check of the records: a client with old metadata should learn the leader, whatever it sends.
    partition.state().check_leader(request.node, -1)?;
    let header = batch::check(records, rules)?;
    let stamp = settings.log_append_time.then(now_ms);
    if !header.is_transactional() {
        return store(request, &partition, records, header, stamp);
    }
    let id = asked
        .transactional_id
        .as_ref()
        .ok_or(ResponseError::InvalidRequest)?;
    let entry = request
        .cluster
        .transactions
        .get(id)
        .ok_or(ResponseError::InvalidProducerIdMapping)?;
    let transaction = lock(&entry);
    let who = Identity {
        producer_id: header.producer_id,
        epoch: header.producer_epoch,
    };
    transaction.check(who).map_err(|error| match error {
        ResponseError::ProducerFenced => ResponseError::InvalidProducerEpoch,
        other => other,
    })?;
    if !transaction.has_partition(&topic.name, data.index) {
        return Err(ResponseError::InvalidTxnState);
    }
    store(request, &partition, records, header, stamp)
}

/// Appends, and says where and what the log's first offset is.
fn store(
    request: &Request<'_>,
    partition: &Partition,
    records: &[u8],
    header: BatchHeader,
    stamp: Option<i64>,
) -> Result<(Appended, i64), ResponseError> {
    let charge = maintenance::charge(request.cluster, records.len() + BATCH_OVERHEAD);
    let charge = charge.ok_or(ResponseError::KafkaStorageError)?;
    let mut state = partition.state();
    state.check_leader(request.node, -1)?;
    let epoch = state.leader_epoch;
    let appended = state
        .log
        .append(records, header, epoch, stamp, now_ms(), charge)?;
    Ok((appended, state.log.start()))
}

fn partition_response(
    request: &Request<'_>,
    index: i32,
    outcome: Result<(Appended, i64), ResponseError>,
    topic: Option<&Arc<Topic>>,
    leaders: &mut BTreeSet<i32>,
) -> PartitionProduceResponse {
    let response = PartitionProduceResponse::default().with_index(index);
    let error = match outcome {
        Ok((appended, start)) => {
            let response = response
                .with_base_offset(appended.base_offset)
                .with_log_append_time_ms(appended.append_time);
            return response.with_log_start_offset(start);
        }
        Err(error) => error,
    };
    let mut response = response
        .with_error_code(error.code())
        .with_base_offset(-1)
        .with_log_append_time_ms(-1);
    response.log_start_offset = -1;
    let partition = topic.and_then(|t| t.partition(index));
    if let (ResponseError::NotLeaderOrFollower, true, Some(partition)) =
        (error, request.version >= LEADERS_FROM, partition)
    {
        let state = partition.state();
        leaders.insert(state.leader);
        let leader = LeaderIdAndEpoch::default().with_leader_id(BrokerId(state.leader));
        response.current_leader = leader.with_leader_epoch(state.leader_epoch);
    }
    if let (ResponseError::KafkaStorageError, true) = (error, request.version >= 8) {
        response.error_message = Some(text(
            "the memory bound is reached, and what is stored may not be dropped",
        ));
    }
    response
}
