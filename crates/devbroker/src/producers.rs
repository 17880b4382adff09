//! What a partition remembers about producers: sequence numbers for idempotence (KIP-98) and where each one's open transaction begins.

use std::collections::{BTreeSet, HashMap, VecDeque};

use kafka_protocol::ResponseError;

use crate::batch::BatchHeader;

/// Batches a duplicate is recognised among; clients keep at most five in flight.
const REMEMBERED_BATCHES: usize = 5;
/// Producers remembered per partition; the one idle longest is forgotten first.
const MAX_PRODUCERS: usize = 1_000;

/// All producers of one partition.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    known: HashMap<i64, Producer>,
    /// (first offset, producer id) of open transactions.
    open: BTreeSet<(i64, i64)>,
}

#[derive(Debug)]
pub(crate) struct Producer {
    pub(crate) epoch: i16,
    pub(crate) last_timestamp: i64,
    pub(crate) transaction_start: Option<i64>,
    batches: VecDeque<Remembered>,
}

#[derive(Clone, Copy, Debug)]
struct Remembered {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
}

/// What to do with a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Append,
    /// Already in the log, at this offset.
    Duplicate(i64),
}

impl Producers {
    /// Judges a batch before it is appended. Batches without a producer id are always appended.
    pub(crate) fn judge(&self, batch: &BatchHeader) -> Result<Verdict, ResponseError> {
        let Some(producer) = self.known.get(&batch.producer_id) else {
            return Ok(Verdict::Append);
        };
        if batch.producer_epoch < producer.epoch {
            return Err(ResponseError::InvalidProducerEpoch);
        }
        let last = producer.batches.back().map(|b| b.last_sequence);
        if batch.producer_epoch > producer.epoch || last.is_none() {
            let fresh = batch.base_sequence == 0
                || (last.is_none() && batch.producer_epoch == producer.epoch);
            return if fresh {
                Ok(Verdict::Append)
            } else {
                Err(ResponseError::OutOfOrderSequenceNumber)
            };
        }
        let (first, end) = (batch.base_sequence, last_sequence(batch));
        let same = |b: &&Remembered| b.first_sequence == first && b.last_sequence == end;
        if let Some(seen) = producer.batches.iter().find(same) {
            return Ok(Verdict::Duplicate(seen.base_offset));
        }
        match last {
            Some(last) if next_sequence(last) == first => Ok(Verdict::Append),
            _ => Err(ResponseError::OutOfOrderSequenceNumber),
        }
    }

    /// Records a batch that was appended at `base_offset`.
    pub(crate) fn appended(&mut self, batch: &BatchHeader, base_offset: i64, now: i64) {
        if batch.producer_id < 0 {
            return;
        }
        self.make_room(batch.producer_id);
        let producer = self.entry(batch.producer_id, batch.producer_epoch, now);
        if producer.batches.len() == REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Remembered {
            first_sequence: batch.base_sequence,
            last_sequence: last_sequence(batch),
            base_offset,
        });
        if batch.is_transactional() && producer.transaction_start.is_none() {
            producer.transaction_start = Some(base_offset);
            self.open.insert((base_offset, batch.producer_id));
        }
    }

    /// Ends the producer's transaction, and fences epochs below `epoch`. Returns its first offset if it had written here.
    pub(crate) fn end_transaction(
        &mut self,
        producer_id: i64,
        epoch: i16,
        now: i64,
    ) -> Option<i64> {
        let producer = self.entry(producer_id, epoch, now);
        let start = producer.transaction_start.take()?;
        self.open.remove(&(start, producer_id));
        Some(start)
    }

    /// First offset of the oldest open transaction.
    pub(crate) fn first_open(&self) -> Option<i64> {
        self.open.first().map(|(offset, _)| *offset)
    }

    /// Producers with their id and last sequence number, for DescribeProducers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.known.iter().map(|(id, producer)| (*id, producer))
    }

    fn entry(&mut self, id: i64, epoch: i16, now: i64) -> &mut Producer {
        let producer = self.known.entry(id).or_insert_with(|| Producer {
            epoch,
            last_timestamp: now,
            transaction_start: None,
            batches: VecDeque::new(),
        });
        if epoch > producer.epoch {
            producer.epoch = epoch;
            producer.batches.clear();
        }
        producer.last_timestamp = now;
        producer
    }

    fn make_room(&mut self, arriving: i64) {
        if self.known.len() < MAX_PRODUCERS || self.known.contains_key(&arriving) {
            return;
        }
        let idle = self
            .known
            .iter()
            .filter(|(_, p)| p.transaction_start.is_none());
        if let Some(id) = idle
            .min_by_key(|(_, p)| p.last_timestamp)
            .map(|(id, _)| *id)
        {
            self.known.remove(&id);
        }
    }
}

impl Producer {
    pub(crate) fn last_sequence(&self) -> i32 {
        self.batches.back().map_or(-1, |b| b.last_sequence)
    }
}

/// Sequence numbers wrap from the largest int32 to 0.
fn last_sequence(batch: &BatchHeader) -> i32 {
    let last = i64::from(batch.base_sequence) + i64::from(batch.count) - 1;
    (last & i64::from(i32::MAX)) as i32
}

fn next_sequence(last: i32) -> i32 {
    last.checked_add(1).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(epoch: i16, first: i32, count: i32) -> BatchHeader {
        BatchHeader {
            base_offset: 0,
            size: 100,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: 0,
            max_timestamp: 0,
            producer_id: 9,
            producer_epoch: epoch,
            base_sequence: first,
            count,
        }
    }

    #[test]
    fn sequences_duplicates_gaps_and_epochs() {
        let mut producers = Producers::default();
        for (first, offset) in [(0, 100), (10, 110)] {
            assert_eq!(producers.judge(&batch(0, first, 10)), Ok(Verdict::Append));
            producers.appended(&batch(0, first, 10), offset, 1);
        }
        assert_eq!(
            producers.judge(&batch(0, 0, 10)),
            Ok(Verdict::Duplicate(100))
        );
        assert_eq!(
            producers.judge(&batch(0, 30, 1)),
            Err(ResponseError::OutOfOrderSequenceNumber)
        );
        assert_eq!(
            producers.judge(&batch(1, 20, 1)),
            Err(ResponseError::OutOfOrderSequenceNumber)
        );
        assert_eq!(producers.judge(&batch(1, 0, 1)), Ok(Verdict::Append));
        producers.appended(&batch(1, 0, 1), 120, 2);
        assert_eq!(
            producers.judge(&batch(0, 20, 1)),
            Err(ResponseError::InvalidProducerEpoch)
        );
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let mut producers = Producers::default();
        producers.appended(&batch(0, i32::MAX - 1, 2), 0, 1);
        assert_eq!(producers.judge(&batch(0, 0, 1)), Ok(Verdict::Append));
        producers.appended(&batch(0, 0, 1), 2, 1);
        assert_eq!(producers.judge(&batch(0, 1, 1)), Ok(Verdict::Append));
        assert_eq!(last_sequence(&batch(0, i32::MAX, 2)), 0);
    }

    #[test]
    fn memory_of_producers_is_bounded_and_open_transactions_stay() {
        let mut producers = Producers::default();
        let mut open = batch(0, 0, 1);
        open.attributes = 0x10;
        producers.appended(&open, 5, 0);
        for id in 0..2 * MAX_PRODUCERS as i64 {
            producers.appended(
                &BatchHeader {
                    producer_id: 100 + id,
                    ..batch(0, 0, 1)
                },
                id,
                id,
            );
        }
        assert!(producers.known.len() <= MAX_PRODUCERS);
        assert_eq!(producers.first_open(), Some(5));
        assert_eq!(producers.end_transaction(9, 0, 1), Some(5));
        assert_eq!(producers.first_open(), None);
    }
}
