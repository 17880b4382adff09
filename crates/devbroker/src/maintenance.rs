//! What happens by the clock or for want of memory: sessions, transactions, retention, compaction, making room.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cluster::Cluster;
use crate::compact::compact;
use crate::configs::TopicSettings;
use crate::memory::Charge;
use crate::sync::{lock, now_ms};
use crate::topics::{Partition, PartitionState};

/// How often sessions and transactions are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Every so many ticks, logs are looked at.
const LOG_TICKS: u32 = 20;
/// A compacted log smaller than this is left alone; above, it is compacted when it has doubled.
const COMPACT_FROM: u64 = 256 * 1024;

/// Runs until the task is aborted.
pub(crate) async fn run(cluster: Arc<Cluster>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for count in 0u32.. {
        ticks.tick().await;
        let now = Instant::now();
        cluster.groups.tick(now);
        cluster.transactions.expire(now, cluster.effects());
        if count % LOG_TICKS == 0 {
            keep_logs(&cluster);
        }
    }
}

/// Pays for `bytes`, throwing away the oldest records of topics that may lose them if need be. None: what is left may not be thrown away.
pub(crate) fn charge(cluster: &Cluster, bytes: usize) -> Option<Charge> {
    if let Some(charge) = cluster.budget.charge(bytes) {
        return Some(charge);
    }
    let _one_at_a_time = lock(&cluster.making_room);
    // Whoever held the lock before may have made room for us as well.
    if let Some(charge) = cluster.budget.charge(bytes) {
        return Some(charge);
    }
    make_room(cluster, bytes as u64);
    cluster.budget.charge(bytes)
}

fn keep_logs(cluster: &Cluster) {
    let now = now_ms();
    for topic in cluster.topics.all() {
        let settings = topic.settings();
        for partition in topic.partitions() {
            let mut state = partition.state();
            if settings.delete {
                retain(&mut state, &settings, now);
            }
            let size = state.log.bytes();
            if settings.compact && size >= COMPACT_FROM && size >= 2 * state.log.clean_bytes {
                compact(&mut state.log, now, settings.delete_retention_ms);
            }
        }
    }
}

fn retain(state: &mut PartitionState, settings: &TopicSettings, now: i64) {
    let over = |state: &PartitionState| {
        let too_many = settings.retention_bytes.is_some_and(|limit| {
            let oldest = state
                .log
                .batches
                .front()
                .map_or(0, |b| b.bytes.len() as u64);
            state.log.bytes() - oldest >= limit
        });
        let too_old = settings.retention_ms.is_some_and(|limit| {
            let oldest = state
                .log
                .batches
                .front()
                .map_or(now, |b| b.header.max_timestamp.max(0));
            now.saturating_sub(oldest) > limit
        });
        !state.log.batches.is_empty() && (too_many || too_old)
    };
    while over(state) {
        state.log.drop_oldest();
    }
}

/// Oldest records first, until a tenth of the memory is free; then compaction of what may not be dropped.
fn make_room(cluster: &Cluster, needed: u64) {
    let limit = cluster.budget.limit();
    let goal = (limit / 10 * 9).min(limit.saturating_sub(needed));
    let mut compacted = Vec::new();
    let mut droppable: Vec<Arc<Partition>> = Vec::new();
    for topic in cluster.topics.all() {
        let settings = topic.settings();
        if settings.delete {
            droppable.extend(topic.partitions());
        } else if settings.compact {
            compacted.extend(
                topic
                    .partitions()
                    .into_iter()
                    .map(|p| (p, settings.delete_retention_ms)),
            );
        }
    }
    let mut oldest: BinaryHeap<Reverse<(i64, usize)>> = BinaryHeap::new();
    oldest.extend(
        droppable
            .iter()
            .enumerate()
            .filter_map(|(i, p)| Some(Reverse((oldest_of(p)?, i)))),
    );
    while cluster.budget.used() > goal {
        let Some(Reverse((_, index))) = oldest.pop() else {
            break;
        };
        droppable[index].state().log.drop_oldest();
        oldest.extend(oldest_of(&droppable[index]).map(|at| Reverse((at, index))));
    }
    if cluster.budget.used() > goal {
        let now = now_ms();
        for (partition, delete_retention_ms) in compacted {
            let mut state = partition.state();
            if state.log.bytes() > state.log.clean_bytes {
                compact(&mut state.log, now, delete_retention_ms);
            }
        }
    }
}

fn oldest_of(partition: &Partition) -> Option<i64> {
    partition.state().log.batches.front().map(|b| b.appended_ms)
}
