//! The transaction coordinator: producer ids, epochs, what a transaction touches, and its end (KIP-98, KIP-360).
//!
//! All brokers share one coordinator state, so a transaction ends in one step: markers into every partition, pending offsets into every
//! group, while the transaction's lock is held. That lock is also held while transactional batches are appended, so that no batch can
//! slip in behind the marker that ends its transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::Instant;

use crate::groups::Groups;
use crate::sync::{lock, now_ms};
use crate::topics::Topics;

/// Transactional ids remembered; those without an open transaction go first.
const MAX_TRANSACTIONAL_IDS: usize = 10_000;
/// Longest transactional id taken, in bytes.
const MAX_ID_BYTES: usize = 4_096;
/// Longest timeout a producer may ask for (`transaction.max.timeout.ms`).
const MAX_TIMEOUT_MS: i32 = 900_000;

/// All transactional ids, and the counter of producer ids.
#[derive(Debug)]
pub(crate) struct Transactions {
    known: Mutex<HashMap<String, Arc<Mutex<Transaction>>>>,
    next_producer_id: AtomicI64,
}

/// One transactional id.
#[derive(Debug)]
pub(crate) struct Transaction {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) timeout_ms: i32,
    pub(crate) state: State,
    pub(crate) started_ms: i64,
    deadline: Option<Instant>,
    /// What the producer had when it last asked for the next epoch.
    bumped_from: Option<Identity>,
    pub(crate) partitions: BTreeMap<String, BTreeSet<i32>>,
    groups: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    Ongoing,
    CompleteCommit,
    CompleteAbort,
}

impl State {
    /// Kafka's name of the state.
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Ongoing => "Ongoing",
            State::CompleteCommit => "CompleteCommit",
            State::CompleteAbort => "CompleteAbort",
        }
    }
}

/// Who asks: producer id and epoch as the request gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
}

impl Transactions {
    pub(crate) fn new() -> Self {
        Transactions {
            known: Mutex::default(),
            next_producer_id: AtomicI64::new(1_000),
        }
    }

    /// A producer id for an idempotent producer without transactions.
    pub(crate) fn fresh_producer_id(&self) -> i64 {
        self.next_producer_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Mutex<Transaction>>> {
        lock(&self.known).get(id).cloned()
    }

    /// All transactional ids in order.
    pub(crate) fn all(&self) -> Vec<(String, Arc<Mutex<Transaction>>)> {
        let mut all: Vec<_> = lock(&self.known)
            .iter()
            .map(|(id, t)| (id.clone(), t.clone()))
            .collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// InitProducerId: aborts what is open and fences earlier producers of this id. `expected` is what the producer last had, if anything.
    pub(crate) fn init(
        &self,
        id: &str,
        timeout_ms: i32,
        expected: Option<Identity>,
        effects: Effects<'_>,
    ) -> Result<Identity, ResponseError> {
        if id.is_empty() || id.len() > MAX_ID_BYTES {
            return Err(ResponseError::InvalidRequest);
        }
        if !(1..=MAX_TIMEOUT_MS).contains(&timeout_ms) {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        let entry = self.entry(id)?;
        let mut transaction = lock(&entry);
        if let Some(expected) = expected
            && transaction.epoch >= 0
        {
            if transaction.bumped_from == Some(expected) && transaction.state == State::Empty {
                // The answer to the same request was lost.
                return Ok(transaction.identity());
            }
            if expected != transaction.identity() {
                return Err(ResponseError::ProducerFenced);
            }
        }
        transaction.bumped_from = expected;
        transaction.bump(self);
        if transaction.state == State::Ongoing {
            transaction.finish(false, effects);
        }
        transaction.state = State::Empty;
        transaction.timeout_ms = timeout_ms;
        Ok(transaction.identity())
    }

    /// Aborts transactions that are open for longer than their producers allowed, and fences those producers.
    pub(crate) fn expire(&self, now: Instant, effects: Effects<'_>) {
        for (_, entry) in self.all() {
            let mut transaction = lock(&entry);
            if transaction.deadline.is_some_and(|deadline| deadline <= now) {
                transaction.bump(self);
                transaction.finish(false, effects);
            }
        }
    }

    fn entry(&self, id: &str) -> Result<Arc<Mutex<Transaction>>, ResponseError> {
        let mut known = lock(&self.known);
        if let Some(entry) = known.get(id) {
            return Ok(entry.clone());
        }
        if known.len() >= MAX_TRANSACTIONAL_IDS {
            let idle = known
                .iter()
                .find(|(_, t)| Arc::strong_count(t) == 1 && lock(t).state != State::Ongoing);
            let idle = idle
                .map(|(id, _)| id.clone())
                .ok_or(ResponseError::PolicyViolation)?;
            known.remove(&idle);
        }
        let entry = Arc::new(Mutex::new(Transaction {
            producer_id: self.fresh_producer_id(),
            epoch: -1,
            timeout_ms: 0,
            state: State::Empty,
            started_ms: -1,
            deadline: None,
            bumped_from: None,
            partitions: BTreeMap::new(),
            groups: BTreeSet::new(),
        }));
        known.insert(id.to_owned(), entry.clone());
        Ok(entry)
    }
}

/// Where a transaction's end shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effects<'a> {
    pub(crate) topics: &'a Topics,
    pub(crate) groups: &'a Groups,
}

impl Transaction {
    pub(crate) fn identity(&self) -> Identity {
        Identity {
            producer_id: self.producer_id,
            epoch: self.epoch,
        }
    }

    /// An error unless `who` is the current producer of this transactional id.
    pub(crate) fn check(&self, who: Identity) -> Result<(), ResponseError> {
        if who.producer_id != self.producer_id {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        if who.epoch == self.epoch {
            Ok(())
        } else {
            Err(ResponseError::ProducerFenced)
        }
    }

    pub(crate) fn has_partition(&self, topic: &str, partition: i32) -> bool {
        self.state == State::Ongoing
            && self
                .partitions
                .get(topic)
                .is_some_and(|p| p.contains(&partition))
    }

    pub(crate) fn has_group(&self, group: &str) -> bool {
        self.state == State::Ongoing && self.groups.contains(group)
    }

    pub(crate) fn add_partition(&mut self, topic: &str, partition: i32) {
        self.begin();
        self.partitions
            .entry(topic.to_owned())
            .or_default()
            .insert(partition);
    }

    pub(crate) fn add_group(&mut self, group: &str) {
        self.begin();
        self.groups.insert(group.to_owned());
    }

    /// EndTxn. Ending twice the same way is fine: the first answer may have been lost.
    pub(crate) fn end(
        &mut self,
        committed: bool,
        effects: Effects<'_>,
    ) -> Result<(), ResponseError> {
        match (self.state, committed) {
            (State::Ongoing, _) => {
                self.finish(committed, effects);
                Ok(())
            }
            (State::CompleteCommit, true) | (State::CompleteAbort, false) => Ok(()),
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    fn begin(&mut self) {
        if self.state != State::Ongoing {
            self.state = State::Ongoing;
            self.started_ms = now_ms();
            self.deadline =
                Some(Instant::now() + Duration::from_millis(self.timeout_ms.max(1) as u64));
        }
    }

    /// The next epoch; a new producer id when epochs run out. Markers of an open transaction keep the id that wrote it.
    fn bump(&mut self, ids: &Transactions) {
        if self.epoch < i16::MAX - 1 {
            self.epoch += 1;
        } else if self.state != State::Ongoing {
            self.producer_id = ids.fresh_producer_id();
            self.epoch = 0;
        }
    }

    fn finish(&mut self, committed: bool, effects: Effects<'_>) {
        let now = now_ms();
        for (topic, partitions) in std::mem::take(&mut self.partitions) {
            for partition in partitions
                .into_iter()
                .filter_map(|p| effects.topics.partition(&topic, p))
            {
                let mut state = partition.state();
                let epoch = state.leader_epoch;
                state
                    .log
                    .append_marker((self.producer_id, self.epoch), committed, epoch, now);
            }
        }
        for group in std::mem::take(&mut self.groups) {
            effects
                .groups
                .end_transaction(&group, self.producer_id, committed);
        }
        self.deadline = None;
        self.state = if committed {
            State::CompleteCommit
        } else {
            State::CompleteAbort
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configs::Overrides;
    use crate::memory::Budget;
    use crate::topics::Layout;

    #[test]
    fn epochs_fence_and_ends_write_markers() {
        let budget = Budget::new(1 << 20);
        let (topics, groups) = (Topics::new(budget.clone()), Groups::new(budget));
        let one = Layout::Spread {
            partitions: 1,
            replication_factor: 1,
        };
        topics
            .create("t", &one, Overrides::new(), &[1], false)
            .expect("created");
        let effects = Effects {
            topics: &topics,
            groups: &groups,
        };
        let transactions = Transactions::new();
        let first = transactions
            .init("tx", 1_000, None, effects)
            .expect("initialised");
        let entry = transactions.get("tx").expect("known");
        assert_eq!(
            lock(&entry).end(true, effects),
            Err(ResponseError::InvalidTxnState)
        );
        lock(&entry).add_partition("t", 0);
        let second = transactions
            .init("tx", 1_000, None, effects)
            .expect("initialised");
        assert_eq!(
            second,
            Identity {
                epoch: first.epoch + 1,
                ..first
            }
        );
        let end = || topics.partition("t", 0).expect("exists").state().log.end();
        assert_eq!(end(), 1, "the open transaction was aborted");
        assert_eq!(
            lock(&entry).check(first),
            Err(ResponseError::ProducerFenced)
        );
        assert_eq!(
            transactions.init("tx", 1_000, Some(first), effects),
            Err(ResponseError::ProducerFenced)
        );
        let third = transactions.init("tx", 1_000, Some(second), effects);
        assert_eq!(
            third,
            Ok(Identity {
                epoch: second.epoch + 1,
                ..second
            })
        );
        assert_eq!(
            transactions.init("tx", 1_000, Some(second), effects),
            third,
            "asked again"
        );
        lock(&entry).add_partition("t", 0);
        assert_eq!(lock(&entry).end(true, effects), Ok(()));
        assert_eq!(lock(&entry).end(true, effects), Ok(()));
        assert_eq!(
            lock(&entry).end(false, effects),
            Err(ResponseError::InvalidTxnState)
        );
        assert_eq!(end(), 2);
    }

    #[test]
    fn a_transaction_left_open_is_aborted_and_its_producer_fenced() {
        let budget = Budget::new(1 << 20);
        let (topics, groups) = (Topics::new(budget.clone()), Groups::new(budget));
        let effects = Effects {
            topics: &topics,
            groups: &groups,
        };
        let transactions = Transactions::new();
        let who = transactions
            .init("tx", 50, None, effects)
            .expect("initialised");
        let entry = transactions.get("tx").expect("known");
        lock(&entry).add_group("g");
        transactions.expire(Instant::now(), effects);
        assert_eq!(lock(&entry).state, State::Ongoing);
        transactions.expire(Instant::now() + Duration::from_millis(60), effects);
        assert_eq!(lock(&entry).state, State::CompleteAbort);
        assert_eq!(lock(&entry).check(who), Err(ResponseError::ProducerFenced));
    }
}
