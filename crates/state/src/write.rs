//! Changes, one after the other over all nodes.
//!
//! Every change takes the transactional id over, which fences whoever had it; then reads up to the end, decides, writes
//! and commits. A writer that was fenced meanwhile has written nothing, and begins anew.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use telemetry::targets::STATE;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, sleep, timeout_at};
use wire::records::BatchHeader;

use crate::error::{StoreError, WriteError};
use crate::kafka::{End, Failure, Kafka, Offsets, Place};
use crate::produce::{self, Batch, Producer, StepError};
use crate::record::{self, Draft, Key, MAX_KEY, MAX_VALUE};
use crate::resource::{self, Resource};
use crate::shared::Shared;
use crate::snapshot::Snapshot;

/// Records of a batch take about this much, bytes; a record that is larger has a batch of its own.
const BATCH: usize = 256 * 1024;

/// What a record takes besides key, value and node name, at most.
const OVERHEAD: usize = BatchHeader::LEN + 128;

/// What [`Store::write`](crate::Store::write) shall write, in this order, all of it or nothing.
#[derive(Debug, Default)]
pub struct Changes(Vec<Draft>);

impl Changes {
    /// Creates the resource, or puts it in the place of the one with the same name.
    pub fn put<R: Resource>(&mut self, resource: &R) {
        self.0.push(Draft::put(resource));
    }

    /// Deletes the resource that has the name of this one.
    pub fn delete<R: Resource>(&mut self, resource: &R) {
        self.0.push(Draft::delete::<R>(&resource.name()));
    }

    /// What `snapshot` becomes by these changes: for a store that is kept elsewhere than in Kafka.
    pub fn applied_to(&self, snapshot: &Snapshot) -> Snapshot {
        let mut snapshot = snapshot.clone();
        for draft in &self.0 {
            let Ok(key) = Key::parse(draft.key.as_bytes()) else {
                continue;
            };
            let Some(kind) = resource::find(draft.topic, &key.kind) else {
                continue;
            };
            match draft
                .value
                .as_ref()
                .map(|v| record::parse_value(v.as_bytes()))
            {
                None => (kind.remove)(&mut snapshot, &key.text),
                Some(Ok((version, fields))) => {
                    let read = resource::Read {
                        version,
                        name: key.name,
                        fields,
                    };
                    // What was made from a resource can be read as one.
                    let _ = (kind.put)(&mut snapshot, &key.text, read);
                }
                Some(Err(_)) => {}
            }
        }
        snapshot
    }
}

/// The one writer of this process.
pub(crate) struct Writer {
    pub(crate) kafka: Arc<Kafka>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) node: Arc<str>,
    pub(crate) limit: Duration,
    pub(crate) turn: Arc<Mutex<()>>,
}

/// The right to write in this process. Whoever has a share of it may: a change, and the transaction it has started.
type Turn = Arc<OwnedMutexGuard<()>>;

/// How one attempt ended.
enum Attempt<T> {
    Done(T),
    /// Another node was quicker.
    Lost,
}

impl Writer {
    pub(crate) async fn write<T, E>(
        &self,
        mut decide: impl FnMut(&Snapshot, &mut Changes) -> Result<T, E>,
    ) -> Result<T, WriteError<E>> {
        let deadline = Instant::now() + self.limit;
        let turn = self.turn.clone().lock_owned();
        let Ok(turn) = timeout_at(deadline, turn).await else {
            return Err(unavailable("other changes take too long").into());
        };
        let turn = Arc::new(turn);
        let mut pause = Duration::from_millis(5);
        // What an attempt that was lost in the act of committing would have given.
        let mut in_doubt = None;
        loop {
            let attempt = self.attempt(&mut decide, &mut in_doubt, &turn, deadline);
            match attempt.await? {
                Attempt::Done(value) => return Ok(value),
                Attempt::Lost => {}
            }
            let jittered = jitter(pause);
            if Instant::now() + jittered >= deadline {
                let reason = "other nodes of the gateway write all the time";
                return Err(match in_doubt {
                    Some(_) => unsure(reason).into(),
                    None => unavailable(reason).into(),
                });
            }
            tracing::debug!(target: STATE, ?jittered, "another node writes too");
            sleep(jittered).await;
            pause = (pause * 2).min(Duration::from_millis(320));
        }
    }

    async fn attempt<T, E>(
        &self,
        decide: &mut impl FnMut(&Snapshot, &mut Changes) -> Result<T, E>,
        in_doubt: &mut Option<T>,
        turn: &Turn,
        deadline: Instant,
    ) -> Result<Attempt<T>, WriteError<E>> {
        self.check_whole()?;
        let doubtful = in_doubt.is_some();
        let failed = |reason: String| {
            if doubtful {
                unsure(reason)
            } else {
                unavailable(reason)
            }
        };
        let producer = match produce::take_over(&self.kafka, deadline).await {
            Ok(producer) => producer,
            Err(StepError::Lost) => return Ok(Attempt::Lost),
            Err(StepError::Failed(failure)) => return Err(failed(failure.to_string()).into()),
        };
        let read = self.barrier(deadline).await;
        self.check_whole()?;
        read.map_err(|failure| failed(failure.to_string()))?;
        if let Some(value) = in_doubt.take()
            && self.shared.was_seen()
        {
            return Ok(Attempt::Done(value));
        }

        let mut changes = Changes::default();
        let value = decide(&self.shared.snapshot(), &mut changes).map_err(WriteError::Refused)?;
        if changes.0.is_empty() {
            return Ok(Attempt::Done(value));
        }
        let work = self.place(changes.0)?;
        match self.transaction(producer, work, turn, deadline).await? {
            Outcome::Applied => Ok(Attempt::Done(value)),
            Outcome::Lost => Ok(Attempt::Lost),
            Outcome::InDoubt => {
                *in_doubt = Some(value);
                Ok(Attempt::Lost)
            }
        }
    }

    fn check_whole(&self) -> Result<(), StoreError> {
        match self.shared.broken() {
            None => Ok(()),
            Some(breakage) => Err(StoreError::Broken {
                name: self.kafka.name(breakage.topic).to_owned(),
                reason: breakage.reason,
            }),
        }
    }

    /// Waits until everything that is committed now has been read.
    pub(crate) async fn barrier(&self, deadline: Instant) -> Result<(), Failure> {
        loop {
            let failure = match timeout_at(deadline, self.kafka.offsets(End::Committed)).await {
                Ok(Ok(ends)) if self.shared.reached(&ends, deadline).await => return Ok(()),
                Ok(Ok(_)) | Err(_) => return Err(Failure::TimedOut),
                Ok(Err(failure)) => failure,
            };
            let pause = Duration::from_millis(50);
            if Instant::now() + pause >= deadline || self.shared.broken().is_some() {
                return Err(failure);
            }
            sleep(pause).await;
            // A failure of this shows in the next attempt.
            let _ = timeout_at(deadline, self.kafka.refresh()).await;
        }
    }

    /// Decides where each record goes: where its key is, else into the first partition.
    fn place(&self, drafts: Vec<Draft>) -> Result<BTreeMap<Place, Vec<Draft>>, StoreError> {
        let mut placed: BTreeMap<Place, Vec<Draft>> = BTreeMap::new();
        for draft in drafts {
            let value = draft.value.as_ref().map_or(0, String::len);
            for (size, limit) in [(draft.key.len(), MAX_KEY), (value, MAX_VALUE)] {
                if size > limit {
                    return Err(StoreError::TooLarge { size, limit });
                }
            }
            let held = self.shared.held(draft.topic, &draft.key);
            if held.is_some_and(|held| held.foreign) {
                return Err(StoreError::Newer { key: draft.key });
            }
            let partition = held.map_or(0, |held| held.partition);
            placed
                .entry((draft.topic, partition))
                .or_default()
                .push(draft);
        }
        Ok(placed)
    }

    /// Runs a transaction to its end even if nobody waits for it any more, so that none is left open.
    async fn transaction(
        &self,
        producer: Producer,
        work: BTreeMap<Place, Vec<Draft>>,
        turn: &Turn,
        deadline: Instant,
    ) -> Result<Outcome, StoreError> {
        let transaction = Transaction {
            kafka: self.kafka.clone(),
            shared: self.shared.clone(),
            node: self.node.clone(),
            producer,
            deadline,
        };
        let turn = turn.clone();
        let run = tokio::spawn(async move {
            let outcome = transaction.run(&work).await;
            drop(turn);
            outcome
        });
        run.await
            .unwrap_or_else(|error| Err(unsure(error.to_string())))
    }
}

enum Outcome {
    /// Committed, and in force here.
    Applied,
    /// Not committed.
    Lost,
    /// Committed or not: somebody else took over while the answer was awaited.
    InDoubt,
}

struct Transaction {
    kafka: Arc<Kafka>,
    shared: Arc<Shared>,
    node: Arc<str>,
    producer: Producer,
    deadline: Instant,
}

impl Transaction {
    async fn run(&self, work: &BTreeMap<Place, Vec<Draft>>) -> Result<Outcome, StoreError> {
        let last = match self.send(work).await {
            Ok(last) => last,
            Err(StepError::Lost) => return Ok(Outcome::Lost),
            Err(StepError::Failed(failure)) => {
                // Otherwise readers would wait for the coordinator's timeout.
                let soon = Instant::now() + Duration::from_secs(2);
                let _ = produce::end(&self.kafka, self.producer, false, soon).await;
                return Err(unavailable(failure.to_string()));
            }
        };
        if let Some((place, offset)) = last.first_key_value() {
            self.shared.await_record(*place, *offset);
        }
        match produce::end(&self.kafka, self.producer, true, self.deadline).await {
            Ok(()) => {}
            Err(StepError::Lost) => return Ok(Outcome::InDoubt),
            Err(StepError::Failed(failure)) => return Err(unsure(failure.to_string())),
        }
        let ends = last
            .into_iter()
            .map(|(place, last)| (place, last + 1))
            .collect();
        if self.shared.reached(&ends, self.deadline).await {
            Ok(Outcome::Applied)
        } else {
            Err(unsure("it is written, but was not yet read back"))
        }
    }

    /// Writes everything, without an end. Returns the offset of the last record in each partition.
    async fn send(&self, work: &BTreeMap<Place, Vec<Draft>>) -> Result<Offsets, StepError> {
        let places = work.keys().copied();
        produce::begin(&self.kafka, self.producer, places, self.deadline).await?;
        let mut last = Offsets::new();
        for (place, drafts) in work {
            let mut sequence = 0;
            for drafts in batches(drafts) {
                let batch = Batch {
                    place: *place,
                    sequence,
                    drafts,
                    node: &self.node,
                    now_ms: now_ms(),
                };
                let offset =
                    produce::produce(&self.kafka, self.producer, batch, self.deadline).await?;
                last.insert(*place, offset);
                sequence = sequence.saturating_add(i32::try_from(drafts.len()).unwrap_or(i32::MAX));
            }
        }
        Ok(last)
    }
}

/// Cuts records into batches of bounded size.
fn batches(drafts: &[Draft]) -> impl Iterator<Item = &[Draft]> {
    let mut rest = drafts;
    std::iter::from_fn(move || {
        let mut size = 0;
        let fitting = rest
            .iter()
            .take_while(|draft| {
                size += draft.size() + OVERHEAD;
                size <= BATCH
            })
            .count();
        let (batch, others) = rest.split_at(fitting.max(1).min(rest.len()));
        rest = others;
        (!batch.is_empty()).then_some(batch)
    })
}

fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable {
        reason: reason.into(),
    }
}

fn unsure(reason: impl Into<String>) -> StoreError {
    StoreError::Unsure {
        reason: reason.into(),
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// Between a half and the whole.
fn jitter(pause: Duration) -> Duration {
    // Every `RandomState` hashes differently.
    let share = RandomState::new().hash_one(()) % 512;
    pause.mul_f64(0.5 + share as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::StoreTopic;

    #[test]
    fn batches_are_bounded_and_complete() {
        let draft = |size: usize| Draft {
            topic: StoreTopic::Acls,
            key: String::new(),
            value: Some("x".repeat(size)),
        };
        let drafts: Vec<Draft> = [BATCH / 2, BATCH / 2, 10, BATCH * 2, 10, 10]
            .map(draft)
            .into();
        let sizes: Vec<usize> = batches(&drafts).map(<[Draft]>::len).collect();
        assert_eq!(sizes, [1, 2, 1, 2]);
        assert_eq!(batches(&[]).count(), 0);
    }

    #[test]
    fn jitter_stays_in_bounds() {
        let pause = Duration::from_millis(100);
        for _ in 0..1_000 {
            assert!((pause / 2..=pause).contains(&jitter(pause)));
        }
    }
}
