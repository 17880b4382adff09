//! Committed offsets: OffsetCommit, TxnOffsetCommit, OffsetFetch, OffsetDelete.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    GroupId, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    OffsetFetchRequest, OffsetFetchResponse, TopicName, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
};
use tokio::time::Instant;

use super::groups::speaker;
use super::{Answer, Request, code, text};
use crate::groups::{Group, GroupState, Speaker};
use crate::sync::lock;
use crate::transactions::Identity;

/// Offset of a partition without a committed one.
const NONE: i64 = -1;

pub(super) fn commit(request: &Request<'_>) -> Answer {
    let asked: OffsetCommitRequest = request.decode()?;
    let who = speaker(
        &asked.member_id,
        asked.group_instance_id.as_ref(),
        asked.generation_id_or_member_epoch,
    );
    let mut group = Committing::start(request, &asked.group_id, who, None);
    let topics = asked.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| {
            let done = group.commit(
                request,
                (&topic.name, p.partition_index),
                (p.committed_offset, p.committed_leader_epoch),
                p.committed_metadata.as_deref(),
            );
            OffsetCommitResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_error_code(code(done))
        });
        OffsetCommitResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name.clone())
    });
    request.answer(
        &OffsetCommitResponse::default()
            .with_topics(topics.collect())
            .with_throttle_time_ms(request.throttle_ms),
    )
}

pub(super) fn transactional_commit(request: &Request<'_>) -> Answer {
    let asked: TxnOffsetCommitRequest = request.decode()?;
    let producer = Identity {
        producer_id: asked.producer_id.0,
        epoch: asked.producer_epoch,
    };
    let who = speaker(
        &asked.member_id,
        asked.group_instance_id.as_ref(),
        asked.generation_id,
    );
    // Held to the end, so that the transaction cannot be ended between the check and the commit.
    let entry = request.cluster.transactions.get(&asked.transactional_id);
    let transaction = entry.as_ref().map(|entry| lock(entry));
    let allowed = match &transaction {
        None => Err(ResponseError::InvalidProducerIdMapping),
        Some(transaction) => transaction.check(producer).and_then(|()| {
            if transaction.has_group(&asked.group_id) {
                Ok(())
            } else {
                Err(ResponseError::InvalidTxnState)
            }
        }),
    };
    let mut group = match allowed {
        Ok(()) => Committing::start(request, &asked.group_id, who, Some(producer.producer_id)),
        Err(error) => Committing {
            group: Err(error),
            producer_id: None,
        },
    };
    let topics = asked.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| {
            let done = group.commit(
                request,
                (&topic.name, p.partition_index),
                (p.committed_offset, p.committed_leader_epoch),
                p.committed_metadata.as_deref(),
            );
            TxnOffsetCommitResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_error_code(code(done))
        });
        TxnOffsetCommitResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name.clone())
    });
    request.answer(
        &TxnOffsetCommitResponse::default()
            .with_topics(topics.collect())
            .with_throttle_time_ms(request.throttle_ms),
    )
}

/// One commit request: the group, or why nothing can be committed.
struct Committing {
    group: Result<std::sync::Arc<std::sync::Mutex<Group>>, ResponseError>,
    producer_id: Option<i64>,
}

impl Committing {
    fn start(
        request: &Request<'_>,
        group_id: &str,
        who: Speaker<'_>,
        producer_id: Option<i64>,
    ) -> Self {
        let group = request.coordinates(group_id).and_then(|()| {
            let free = who.generation < 0 && who.member_id.is_empty();
            let groups = &request.cluster.groups;
            let unknown = ResponseError::IllegalGeneration;
            let group = if free {
                groups.entry(group_id)?
            } else {
                groups.get(group_id).ok_or(unknown)?
            };
            lock(&group).check_commit(who, Instant::now())?;
            Ok(group)
        });
        Committing { group, producer_id }
    }

    fn commit(
        &mut self,
        request: &Request<'_>,
        place: (&TopicName, i32),
        (offset, leader_epoch): (i64, i32),
        metadata: Option<&str>,
    ) -> Result<(), ResponseError> {
        let group = self.group.as_ref().map_err(|error| *error)?;
        let exists = request.cluster.topics.partition(place.0, place.1);
        exists.ok_or(ResponseError::UnknownTopicOrPartition)?;
        let place = (place.0.as_str(), place.1);
        lock(group).offsets.commit(
            self.producer_id,
            place,
            offset,
            leader_epoch,
            metadata.unwrap_or(""),
        )
    }
}

/// A committed offset as any version of OffsetFetch gives it.
struct Found {
    topic: String,
    partition: i32,
    offset: i64,
    leader_epoch: i32,
    metadata: String,
    error: i16,
}

pub(super) fn fetch(request: &Request<'_>) -> Answer {
    let asked: OffsetFetchRequest = request.decode()?;
    let response = OffsetFetchResponse::default().with_throttle_time_ms(request.throttle_ms);
    if request.version >= 8 {
        let groups = asked.groups.iter().map(|g| {
            let wanted = g.topics.as_ref().map(|t| {
                t.iter()
                    .map(|t| (&t.name, t.partition_indexes.as_slice()))
                    .collect()
            });
            fetched_group(
                &g.group_id,
                look_up(request, &g.group_id, wanted, asked.require_stable),
            )
        });
        return request.answer(&response.with_groups(groups.collect()));
    }
    let wanted = asked.topics.as_ref().map(|t| {
        t.iter()
            .map(|t| (&t.name, t.partition_indexes.as_slice()))
            .collect()
    });
    let (found, error) = match look_up(request, &asked.group_id, wanted, asked.require_stable) {
        Ok(found) => (found, 0),
        Err(error) => (Vec::new(), error.code()),
    };
    let mut topics: Vec<OffsetFetchResponseTopic> = Vec::new();
    for f in found {
        let partition = OffsetFetchResponsePartition::default()
            .with_partition_index(f.partition)
            .with_committed_offset(f.offset);
        let partition = partition
            .with_metadata(Some(text(f.metadata)))
            .with_error_code(f.error);
        let partition = partition.with_committed_leader_epoch(f.leader_epoch);
        match topics.last_mut().filter(|t| *t.name == *f.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(
                OffsetFetchResponseTopic::default()
                    .with_name(TopicName(text(f.topic)))
                    .with_partitions(vec![partition]),
            ),
        }
    }
    request.answer(&response.with_topics(topics).with_error_code(error))
}

fn fetched_group(
    id: &GroupId,
    found: Result<Vec<Found>, ResponseError>,
) -> OffsetFetchResponseGroup {
    let group = OffsetFetchResponseGroup::default().with_group_id(id.clone());
    let found = match found {
        Ok(found) => found,
        Err(error) => return group.with_error_code(error.code()),
    };
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for f in found {
        let partition = OffsetFetchResponsePartitions::default()
            .with_partition_index(f.partition)
            .with_committed_offset(f.offset);
        let partition = partition
            .with_metadata(Some(text(f.metadata)))
            .with_error_code(f.error);
        let partition = partition.with_committed_leader_epoch(f.leader_epoch);
        match topics.last_mut().filter(|t| *t.name == *f.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(
                OffsetFetchResponseTopics::default()
                    .with_name(TopicName(text(f.topic)))
                    .with_partitions(vec![partition]),
            ),
        }
    }
    group.with_topics(topics)
}

/// What a group has committed for the partitions asked for, in their order; for all if None.
fn look_up(
    request: &Request<'_>,
    group_id: &str,
    wanted: Option<Vec<(&TopicName, &[i32])>>,
    require_stable: bool,
) -> Result<Vec<Found>, ResponseError> {
    request.coordinates(group_id)?;
    let group = request.cluster.groups.get(group_id);
    let group = group.as_ref().map(|g| lock(g));
    let none = |topic: &str, partition| Found {
        topic: topic.to_owned(),
        partition,
        offset: NONE,
        leader_epoch: -1,
        metadata: String::new(),
        error: 0,
    };
    let find = |topic: &str, partition: i32| {
        let offsets = group.as_ref().map(|g| &g.offsets);
        if require_stable && offsets.is_some_and(|o| o.is_unstable(topic, partition)) {
            return Found {
                error: ResponseError::UnstableOffsetCommit.code(),
                ..none(topic, partition)
            };
        }
        match offsets.and_then(|o| o.get(topic, partition)) {
            None => none(topic, partition),
            Some(c) => Found {
                offset: c.offset,
                leader_epoch: c.leader_epoch,
                metadata: c.metadata.clone(),
                ..none(topic, partition)
            },
        }
    };
    Ok(match wanted {
        Some(topics) => topics
            .into_iter()
            .flat_map(|(t, ps)| ps.iter().map(move |p| (t, *p)))
            .map(|(t, p)| find(t, p))
            .collect(),
        None => group
            .iter()
            .flat_map(|g| g.offsets.all())
            .map(|(topic, partition, _)| find(topic, partition))
            .collect(),
    })
}

pub(super) fn delete(request: &Request<'_>) -> Answer {
    let asked: OffsetDeleteRequest = request.decode()?;
    let response = OffsetDeleteResponse::default().with_throttle_time_ms(request.throttle_ms);
    let group = request.coordinates(&asked.group_id);
    let group = group.and_then(|()| {
        request
            .cluster
            .groups
            .get(&asked.group_id)
            .ok_or(ResponseError::GroupIdNotFound)
    });
    let group = match group {
        Ok(group) => group,
        Err(error) => return request.answer(&response.with_error_code(error.code())),
    };
    let mut group = lock(&group);
    if group.state != GroupState::Empty && group.protocol_type != "consumer" {
        return request.answer(&response.with_error_code(ResponseError::NonEmptyGroup.code()));
    }
    let topics = asked.topics.iter().map(|topic| {
        let in_use = group.is_subscribed(&topic.name);
        let partitions = topic.partitions.iter().map(|p| {
            let done =
                OffsetDeleteResponsePartition::default().with_partition_index(p.partition_index);
            if in_use {
                return done.with_error_code(ResponseError::GroupSubscribedToTopic.code());
            }
            group.offsets.delete(&topic.name, p.partition_index);
            done
        });
        OffsetDeleteResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name.clone())
    });
    let topics = topics.collect();
    request.answer(&response.with_topics(topics))
}
