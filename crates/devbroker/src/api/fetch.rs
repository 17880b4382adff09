//! Fetch: long poll, limits, committed reads. Sessions are not kept: every answer carries session id 0, which tells clients so.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::fetch_response::{FetchedPartition, FetchedTopic, encode};
use super::{Answer, Request};
use crate::benchmark;
use crate::topics::Topic;

/// First version that names topics by id (KIP-516).
const TOPIC_IDS_FROM: i16 = 13;
/// First version that tells the new leader (KIP-951).
const LEADERS_FROM: i16 = 16;
/// Nobody waits longer than this.
const MAX_WAIT: Duration = Duration::from_secs(300);
const READ_COMMITTED: i8 = 1;

pub(super) async fn fetch(request: &Request<'_>) -> Answer {
    let asked: FetchRequest = request.decode()?;
    if let Err(error) = check_session(request, &asked) {
        return Ok(Some(encode(request, error.code(), &[], &[])));
    }
    let wait = Duration::from_millis(u64::try_from(asked.max_wait_ms).unwrap_or(0)).min(MAX_WAIT);
    let deadline = Instant::now() + wait;
    let waiter = Arc::new(Notify::new());
    loop {
        let pass = Pass::run(request, &asked, &waiter);
        let enough = pass.failed || pass.bytes >= usize::try_from(asked.min_bytes).unwrap_or(0);
        if enough || Instant::now() >= deadline {
            let endpoints: Vec<_> = pass
                .leaders
                .iter()
                .filter_map(|n| request.cluster.endpoint(*n))
                .collect();
            return Ok(Some(encode(request, 0, &pass.topics, &endpoints)));
        }
        drop(pass);
        tokio::select! {
            () = waiter.notified() => {}
            () = sleep_until(deadline) => {}
        }
    }
}

fn check_session(request: &Request<'_>, asked: &FetchRequest) -> Result<(), ResponseError> {
    request.gate()?;
    if asked.session_id == 0 && asked.session_epoch <= 0 {
        Ok(())
    } else {
        Err(ResponseError::FetchSessionIdNotFound)
    }
}

/// One look at everything asked for.
struct Pass {
    topics: Vec<FetchedTopic>,
    bytes: usize,
    failed: bool,
    /// Leaders that clients should go to instead.
    leaders: BTreeSet<i32>,
}

impl Pass {
    fn run(request: &Request<'_>, asked: &FetchRequest, waiter: &Arc<Notify>) -> Self {
        let mut pass = Pass {
            topics: Vec::with_capacity(asked.topics.len()),
            bytes: 0,
            failed: false,
            leaders: BTreeSet::new(),
        };
        let total = usize::try_from(asked.max_bytes)
            .unwrap_or(0)
            .min(request.cluster.options.max_fetch_bytes);
        for wanted in &asked.topics {
            let topic = find_topic(request, wanted);
            let mut partitions = Vec::with_capacity(wanted.partitions.len());
            for partition in &wanted.partitions {
                let room = total.saturating_sub(pass.bytes);
                let result = topic.clone().and_then(|t| {
                    pass.read(
                        request,
                        &t,
                        partition,
                        asked.isolation_level == READ_COMMITTED,
                        room,
                        waiter,
                    )
                });
                partitions
                    .push(result.unwrap_or_else(|error| pass.failure(partition.partition, error)));
            }
            pass.topics.push(FetchedTopic {
                name: wanted.topic.0.clone(),
                id: wanted.topic_id,
                partitions,
            });
        }
        pass
    }

    fn read(
        &mut self,
        request: &Request<'_>,
        topic: &Topic,
        wanted: &FetchPartition,
        committed_only: bool,
        room: usize,
        waiter: &Arc<Notify>,
    ) -> Result<FetchedPartition, ResponseError> {
        let partition = topic
            .partition(wanted.partition)
            .ok_or(ResponseError::UnknownTopicOrPartition)?;
        let mut state = partition.state();
        if let Err(error) = state.check_leader(request.node, wanted.current_leader_epoch) {
            let mut failed = self.failure(wanted.partition, error);
            if request.version >= LEADERS_FROM && error != ResponseError::UnknownTopicOrPartition {
                failed.current_leader = Some((state.leader, state.leader_epoch));
                self.leaders.insert(state.leader);
            }
            return Ok(failed);
        }
        let mut limit = usize::try_from(wanted.partition_max_bytes)
            .unwrap_or(0)
            .min(room);
        if let Some(prepared) = request.cluster.prepared_for(&topic.name) {
            let mut fetched =
                FetchedPartition::new(wanted.partition, benchmark::END, benchmark::END, 0);
            if limit > 0 || self.bytes == 0 {
                fetched.records = prepared.fetch(wanted.fetch_offset.max(0), limit);
            }
            self.bytes += fetched.size();
            return Ok(fetched);
        }
        let log = &mut state.log;
        let (start, end, stable) = (log.start(), log.end(), log.last_stable());
        if !(start..=end).contains(&wanted.fetch_offset) {
            return Err(ResponseError::OffsetOutOfRange);
        }
        let mut fetched = FetchedPartition::new(wanted.partition, end, stable, start);
        let bound = if committed_only { stable } else { end };
        let first = log.position(wanted.fetch_offset);
        let mut upper = wanted.fetch_offset;
        for stored in log
            .batches
            .range(first..)
            .take_while(|b| b.header.last_offset() < bound)
        {
            let oldest = self.bytes == 0 && fetched.records.is_empty();
            if stored.bytes.len() > limit && !oldest {
                break;
            }
            limit = limit.saturating_sub(stored.bytes.len());
            upper = stored.header.last_offset() + 1;
            fetched.records.push(stored.bytes.clone());
        }
        if committed_only {
            fetched.aborted = Some(log.aborted_between(wanted.fetch_offset, upper));
        }
        log.watch(waiter);
        self.bytes += fetched.size();
        Ok(fetched)
    }

    fn failure(&mut self, index: i32, error: ResponseError) -> FetchedPartition {
        self.failed = true;
        let mut failed = FetchedPartition::new(index, -1, -1, -1);
        failed.error = error.code();
        failed
    }
}

fn find_topic(request: &Request<'_>, wanted: &FetchTopic) -> Result<Arc<Topic>, ResponseError> {
    if request.version >= TOPIC_IDS_FROM {
        return request
            .cluster
            .topics
            .get_by_id(wanted.topic_id)
            .ok_or(ResponseError::UnknownTopicId);
    }
    request
        .cluster
        .topics
        .get(&wanted.topic)
        .ok_or(ResponseError::UnknownTopicOrPartition)
}
