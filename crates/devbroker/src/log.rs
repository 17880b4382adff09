//! One partition's log: stored batches in offset order, its ends, and who waits for more.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::Notify;

use crate::batch::{self, BatchHeader, HEADER_LEN, Records};
use crate::memory::Charge;
use crate::producers::{Producers, Verdict};

/// What a stored batch costs beyond its bytes.
pub(crate) const BATCH_OVERHEAD: usize = 128;

/// The log of one partition. The high watermark is always the end: there is one copy of everything.
#[derive(Debug)]
pub(crate) struct PartitionLog {
    pub(crate) batches: VecDeque<Stored>,
    pub(crate) producers: Producers,
    pub(crate) aborted: Vec<Aborted>,
    start: i64,
    end: i64,
    bytes: u64,
    /// (leader epoch, offset at which it began), ascending.
    epochs: Vec<(i32, i64)>,
    charge: Charge,
    waiters: Vec<Weak<Notify>>,
    /// Bytes after the last compaction; the next one waits until the log has doubled.
    pub(crate) clean_bytes: u64,
}

/// A batch as it is handed to consumers.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) header: BatchHeader,
    pub(crate) bytes: Bytes,
    pub(crate) appended_ms: i64,
    /// When a compaction pass first kept something of it that may go later (a tombstone, a marker).
    pub(crate) cleaned_ms: Option<i64>,
}

/// An aborted transaction, for consumers that read committed records only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Aborted {
    pub(crate) producer_id: i64,
    pub(crate) first_offset: i64,
    /// Offset of the abort marker.
    pub(crate) last_offset: i64,
}

/// Where an append went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// -1 unless the broker stamped the batch.
    pub(crate) append_time: i64,
}

impl Stored {
    pub(crate) fn cost(&self) -> usize {
        self.bytes.len() + BATCH_OVERHEAD
    }

    fn first_from(&self, timestamp: i64) -> (i64, i64) {
        self.timestamps()
            .find(|(_, at)| *at >= timestamp)
            .unwrap_or(self.first())
    }

    /// (offset, timestamp) of each record; of the batch's first offset only if its records cannot be read.
    fn timestamps(&self) -> impl Iterator<Item = (i64, i64)> {
        let header = self.header;
        let readable = !header.is_compressed() && !header.is_log_append_time();
        let records = readable
            .then(|| Records::new(&self.bytes[HEADER_LEN..]))
            .into_iter()
            .flatten()
            .flatten();
        records.map(move |r| {
            (
                header.base_offset + r.offset_delta,
                header.base_timestamp.wrapping_add(r.timestamp_delta),
            )
        })
    }

    fn first(&self) -> (i64, i64) {
        (self.header.base_offset, self.header.max_timestamp)
    }
}

impl PartitionLog {
    /// An empty log; `charge` pays for its existence and later for its records.
    pub(crate) fn new(charge: Charge) -> Self {
        PartitionLog {
            batches: VecDeque::new(),
            producers: Producers::default(),
            aborted: Vec::new(),
            start: 0,
            end: 0,
            bytes: 0,
            epochs: Vec::new(),
            charge,
            waiters: Vec::new(),
            clean_bytes: 0,
        }
    }

    /// First offset that can be read.
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    /// Offset of the next record.
    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// Bytes of stored batches.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// First offset that readers of committed records must wait for.
    pub(crate) fn last_stable(&self) -> i64 {
        self.producers.first_open().unwrap_or(self.end)
    }

    /// Appends a checked batch. `charge` pays for it and is kept; it is given back when the batch turns out to be a duplicate.
    pub(crate) fn append(
        &mut self,
        records: &[u8],
        header: BatchHeader,
        leader_epoch: i32,
        append_time: Option<i64>,
        now: i64,
        charge: Charge,
    ) -> Result<Appended, ResponseError> {
        let append_time_ms = append_time.unwrap_or(-1);
        if let Verdict::Duplicate(base_offset) = self.producers.judge(&header)? {
            return Ok(Appended {
                base_offset,
                append_time: append_time_ms,
            });
        }
        let base_offset = self.end;
        self.producers.appended(&header, base_offset, now);
        self.charge.absorb(charge);
        self.store(
            batch::stored_copy(records, base_offset, leader_epoch, append_time),
            leader_epoch,
            now,
        )?;
        Ok(Appended {
            base_offset,
            append_time: append_time_ms,
        })
    }

    /// Ends a producer's transaction with a marker. Markers are never refused: without them readers would wait for ever.
    pub(crate) fn append_marker(
        &mut self,
        producer: (i64, i16),
        committed: bool,
        leader_epoch: i32,
        now: i64,
    ) {
        let offset = self.end;
        let started = self.producers.end_transaction(producer.0, producer.1, now);
        if let (Some(first_offset), false) = (started, committed) {
            self.aborted.push(Aborted {
                producer_id: producer.0,
                first_offset,
                last_offset: offset,
            });
        }
        let marker = batch::transaction_marker(offset, leader_epoch, producer, committed, now);
        self.charge.grow(marker.len() + BATCH_OVERHEAD);
        let stored = self.store(marker, leader_epoch, now);
        debug_assert!(stored.is_ok(), "a marker of our own making parses");
    }

    /// Index of the first batch that holds `offset` or a later one.
    pub(crate) fn position(&self, offset: i64) -> usize {
        self.batches
            .partition_point(|b| b.header.last_offset() < offset)
    }

    /// Aborted transactions that touch [`from`, `to`).
    pub(crate) fn aborted_between(&self, from: i64, to: i64) -> Vec<Aborted> {
        self.aborted
            .iter()
            .filter(|a| a.last_offset >= from && a.first_offset < to)
            .copied()
            .collect()
    }

    /// (offset, timestamp) of the first record at or after `timestamp`; None if there is none.
    pub(crate) fn offset_for_timestamp(&self, timestamp: i64, bound: i64) -> Option<(i64, i64)> {
        let batch = self
            .batches
            .iter()
            .find(|b| b.header.max_timestamp >= timestamp && !b.header.is_control())?;
        let (offset, at) = batch.first_from(timestamp);
        (offset < bound).then_some((offset.max(self.start), at))
    }

    /// (offset, timestamp) of the record with the largest timestamp.
    pub(crate) fn max_timestamp(&self) -> Option<(i64, i64)> {
        let data = self.batches.iter().filter(|b| !b.header.is_control());
        let newest = data.rev().max_by_key(|b| b.header.max_timestamp)?;
        let exact = newest
            .timestamps()
            .find(|(_, at)| *at == newest.header.max_timestamp);
        Some(exact.unwrap_or((newest.header.last_offset(), newest.header.max_timestamp)))
    }

    /// (epoch, end offset) for OffsetForLeaderEpoch (KIP-279): the largest epoch not above the one asked for, and where it ended.
    pub(crate) fn end_of_epoch(&self, epoch: i32, current: i32) -> (i32, i64) {
        if epoch == current {
            return (epoch, self.end);
        }
        let after = self.epochs.partition_point(|(e, _)| *e <= epoch);
        match (
            after.checked_sub(1).and_then(|i| self.epochs.get(i)),
            self.epochs.get(after),
        ) {
            (Some((known, _)), Some((_, next))) => (*known, *next),
            (Some((known, _)), None) if epoch < current => (*known, self.end),
            _ => (-1, -1),
        }
    }

    /// Drops everything before `offset`; returns the new start.
    pub(crate) fn delete_before(&mut self, offset: i64) -> i64 {
        while self
            .batches
            .front()
            .is_some_and(|b| b.header.last_offset() < offset)
        {
            self.drop_front();
        }
        self.move_start(offset);
        self.start
    }

    /// Drops the oldest batch; returns its cost, None if there is none.
    pub(crate) fn drop_oldest(&mut self) -> Option<usize> {
        let (cost, next) = self
            .batches
            .front()
            .map(|b| (b.cost(), b.header.last_offset() + 1))?;
        self.drop_front();
        self.move_start(next);
        Some(cost)
    }

    /// Puts compacted batches in the place of the first `replaced` ones.
    pub(crate) fn replace_front(&mut self, replaced: usize, kept: Vec<Stored>) {
        let old: usize = self.batches.drain(..replaced).map(|b| b.cost()).sum();
        let new: usize = kept.iter().map(Stored::cost).sum();
        self.bytes -= (old - replaced * BATCH_OVERHEAD) as u64;
        self.bytes += (new - kept.len() * BATCH_OVERHEAD) as u64;
        for stored in kept.into_iter().rev() {
            self.batches.push_front(stored);
        }
        self.charge.release(old.saturating_sub(new));
    }

    /// Remembers where a leader epoch begins.
    pub(crate) fn begin_epoch(&mut self, epoch: i32) {
        const REMEMBERED_EPOCHS: usize = 1_000;
        if self.epochs.last().is_none_or(|(last, _)| *last < epoch) {
            if self.epochs.len() == REMEMBERED_EPOCHS {
                self.epochs.remove(0);
            }
            self.epochs.push((epoch, self.end));
        }
    }

    /// Wakes `waiter` once at the next change of the log, until it is dropped.
    pub(crate) fn watch(&mut self, waiter: &Arc<Notify>) {
        self.waiters.retain(|w| w.strong_count() > 0);
        self.waiters.push(Arc::downgrade(waiter));
    }

    /// Wakes everyone who waits here.
    pub(crate) fn wake(&mut self) {
        for waiter in self.waiters.drain(..) {
            if let Some(waiter) = waiter.upgrade() {
                waiter.notify_one();
            }
        }
    }

    fn store(&mut self, bytes: Bytes, leader_epoch: i32, now: i64) -> Result<(), ResponseError> {
        let header = BatchHeader::parse(&bytes)?;
        self.begin_epoch(leader_epoch);
        self.end = header.last_offset() + 1;
        self.bytes += bytes.len() as u64;
        self.batches.push_back(Stored {
            header,
            bytes,
            appended_ms: now,
            cleaned_ms: None,
        });
        self.wake();
        Ok(())
    }

    fn drop_front(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.bytes -= batch.bytes.len() as u64;
            self.charge.release(batch.cost());
        }
    }

    fn move_start(&mut self, offset: i64) {
        self.start = self.start.max(offset.min(self.end));
        let start = self.start;
        self.aborted.retain(|a| a.last_offset >= start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Budget;

    fn append(log: &mut PartitionLog, count: usize, at: i64, budget: &Arc<Budget>) -> i64 {
        let records = batch::prepared(count, 10, at);
        let header = BatchHeader::parse(&records).expect("valid");
        let charge = budget.charge(records.len() + BATCH_OVERHEAD).expect("room");
        log.append(&records, header, 0, None, at, charge)
            .expect("appended")
            .base_offset
    }

    #[test]
    fn offsets_run_on_and_deleting_gives_memory_back() {
        let budget = Budget::new(1 << 20);
        let mut log = PartitionLog::new(budget.charge(0).expect("room"));
        assert_eq!(append(&mut log, 3, 10, &budget), 0);
        assert_eq!(append(&mut log, 2, 20, &budget), 3);
        assert_eq!((log.start(), log.end()), (0, 5));
        assert_eq!(log.position(4), 1);
        assert_eq!(log.offset_for_timestamp(11, log.end()), Some((3, 20)));
        assert_eq!(log.max_timestamp(), Some((3, 20)));
        assert_eq!(log.delete_before(4), 4);
        assert_eq!(log.batches.len(), 1);
        log.drop_oldest();
        assert_eq!(
            (log.start(), log.end(), log.bytes(), budget.used()),
            (5, 5, 0, 0)
        );
    }

    #[test]
    fn an_aborted_transaction_holds_the_stable_offset_back_until_its_marker() {
        let budget = Budget::new(1 << 20);
        let mut log = PartitionLog::new(budget.charge(0).expect("room"));
        let records = batch::prepared(1, 1, 0);
        let mut header = BatchHeader::parse(&records).expect("valid");
        (
            header.attributes,
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        ) = (0x10, 4, 0, 0);
        log.append(
            &records,
            header,
            0,
            None,
            0,
            budget.charge(300).expect("room"),
        )
        .expect("appended");
        append(&mut log, 1, 1, &budget);
        assert_eq!((log.last_stable(), log.end()), (0, 2));
        log.append_marker((4, 0), false, 0, 2);
        assert_eq!((log.last_stable(), log.end()), (3, 3));
        assert_eq!(
            log.aborted_between(0, 3),
            vec![Aborted {
                producer_id: 4,
                first_offset: 0,
                last_offset: 2
            }]
        );
        assert!(log.aborted_between(3, 4).is_empty());
    }

    #[test]
    fn epochs_end_where_the_next_begins() {
        let budget = Budget::new(1 << 20);
        let mut log = PartitionLog::new(budget.charge(0).expect("room"));
        log.begin_epoch(0);
        append(&mut log, 5, 0, &budget);
        log.begin_epoch(3);
        append(&mut log, 1, 0, &budget);
        assert_eq!(log.end_of_epoch(0, 3), (0, 5));
        assert_eq!(log.end_of_epoch(2, 3), (0, 5));
        assert_eq!(log.end_of_epoch(3, 3), (3, 6));
        assert_eq!(log.end_of_epoch(4, 3), (-1, -1));
    }
}
