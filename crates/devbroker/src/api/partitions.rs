//! What asks about single partitions: ListOffsets, OffsetForLeaderEpoch, DeleteRecords.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse, ListOffsetsRequest, ListOffsetsResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};

use super::{Answer, Request, code};
use crate::benchmark;
use crate::log::PartitionLog;
use crate::topics::PartitionState;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const READ_COMMITTED: i8 = 1;

pub(super) fn list_offsets(request: &Request<'_>) -> Answer {
    let asked: ListOffsetsRequest = request.decode()?;
    let committed_only = asked.isolation_level == READ_COMMITTED;
    let topics = asked.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let found = on_leader(
                request,
                &topic.name,
                partition.partition_index,
                partition.current_leader_epoch,
                |state| {
                    let found = if request.cluster.prepared_for(&topic.name).is_some() {
                        Ok(Some((
                            if partition.timestamp == EARLIEST {
                                0
                            } else {
                                benchmark::END
                            },
                            -1,
                        )))
                    } else {
                        look_up(&state.log, partition, committed_only)
                    };
                    found.map(|f| (f, state.leader_epoch))
                },
            );
            let response = ListOffsetsPartitionResponse::default()
                .with_partition_index(partition.partition_index);
            match found {
                Ok((found, epoch)) => {
                    let (offset, timestamp) = found.unwrap_or((-1, -1));
                    let response = response.with_offset(offset).with_timestamp(timestamp);
                    if request.version >= 4 && offset >= 0 {
                        response.with_leader_epoch(epoch)
                    } else {
                        response
                    }
                }
                Err(error) => response
                    .with_error_code(error.code())
                    .with_offset(-1)
                    .with_timestamp(-1),
            }
        });
        ListOffsetsTopicResponse::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name.clone())
    });
    request.answer(
        &ListOffsetsResponse::default()
            .with_topics(topics.collect())
            .with_throttle_time_ms(request.throttle_ms),
    )
}

/// (offset, timestamp); None if no record fits.
fn look_up(
    log: &PartitionLog,
    asked: &ListOffsetsPartition,
    committed_only: bool,
) -> Result<Option<(i64, i64)>, ResponseError> {
    let bound = if committed_only {
        log.last_stable()
    } else {
        log.end()
    };
    match asked.timestamp {
        LATEST => Ok(Some((bound, -1))),
        EARLIEST | EARLIEST_LOCAL => Ok(Some((log.start(), -1))),
        MAX_TIMESTAMP => Ok(log.max_timestamp()),
        LATEST_TIERED => Ok(None),
        timestamp if timestamp >= 0 => Ok(log.offset_for_timestamp(timestamp, bound)),
        _ => Err(ResponseError::UnsupportedVersion),
    }
}

pub(super) fn offset_for_leader_epoch(request: &Request<'_>) -> Answer {
    let asked: OffsetForLeaderEpochRequest = request.decode()?;
    let topics = asked.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let end = on_leader(
                request,
                &topic.topic,
                partition.partition,
                partition.current_leader_epoch,
                |state| {
                    Ok(state
                        .log
                        .end_of_epoch(partition.leader_epoch, state.leader_epoch))
                },
            );
            let response = EpochEndOffset::default()
                .with_partition(partition.partition)
                .with_error_code(code(end));
            let (epoch, offset) = end.unwrap_or((-1, -1));
            response.with_leader_epoch(epoch).with_end_offset(offset)
        });
        OffsetForLeaderTopicResult::default()
            .with_partitions(partitions.collect())
            .with_topic(topic.topic.clone())
    });
    let response = OffsetForLeaderEpochResponse::default().with_topics(topics.collect());
    request.answer(&response.with_throttle_time_ms(request.throttle_ms))
}

pub(super) fn delete_records(request: &Request<'_>) -> Answer {
    const TO_THE_END: i64 = -1;
    let asked: DeleteRecordsRequest = request.decode()?;
    let topics = asked.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let start = on_leader(
                request,
                &topic.name,
                partition.partition_index,
                -1,
                |state| {
                    let offset = if partition.offset == TO_THE_END {
                        state.log.end()
                    } else {
                        partition.offset
                    };
                    if !(0..=state.log.end()).contains(&offset) {
                        return Err(ResponseError::OffsetOutOfRange);
                    }
                    Ok(state.log.delete_before(offset))
                },
            );
            DeleteRecordsPartitionResult::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code(start))
                .with_low_watermark(start.unwrap_or(-1))
        });
        DeleteRecordsTopicResult::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name.clone())
    });
    request.answer(
        &DeleteRecordsResponse::default()
            .with_topics(topics.collect())
            .with_throttle_time_ms(request.throttle_ms),
    )
}

/// Runs `work` on a partition that this broker leads in the epoch the client believes in.
fn on_leader<T>(
    request: &Request<'_>,
    topic: &str,
    partition: i32,
    epoch: i32,
    work: impl FnOnce(&mut PartitionState) -> Result<T, ResponseError>,
) -> Result<T, ResponseError> {
    request.gate()?;
    let partition = request
        .cluster
        .topics
        .partition(topic, partition)
        .ok_or(ResponseError::UnknownTopicOrPartition)?;
    let mut state = partition.state();
    state.check_leader(request.node, epoch)?;
    work(&mut state)
}
