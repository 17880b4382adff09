//! What the follower, the writer and readers share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::committed::Committed;
use crate::kafka::{Offsets, Place};
use crate::mirror::{Held, Mirror};
use crate::snapshot::Snapshot;
use crate::topic::StoreTopic;

/// What is known about one state topic that no longer can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breakage {
    pub(crate) topic: StoreTopic,
    pub(crate) reason: String,
}

/// The state of the store in this process.
pub(crate) struct Shared {
    snapshot: ArcSwap<Snapshot>,
    live: Mutex<Live>,
    /// Counts changes of the snapshot.
    pub(crate) changes: watch::Sender<u64>,
    /// Counts steps of the reader, whether they changed anything or not.
    progress: watch::Sender<u64>,
}

struct Live {
    mirror: Mirror,
    /// Where reading goes on.
    next: Offsets,
    /// Where partitions ended when they were last read.
    ends: Offsets,
    /// When a partition was last read successfully.
    read: BTreeMap<Place, Instant>,
    /// What was found, in that order; each topic once.
    broken: Vec<Breakage>,
    /// A record of this node's own whose fate is not yet known, and whether it was seen.
    awaited: Option<(Place, i64, bool)>,
    /// Differences that full refreshes have found so far.
    differences: u64,
}

impl Shared {
    pub(crate) fn new(mirror: Mirror, next: Offsets) -> Self {
        let now = Instant::now();
        Shared {
            snapshot: ArcSwap::new(mirror.snapshot()),
            live: Mutex::new(Live {
                read: next.keys().map(|place| (*place, now)).collect(),
                mirror,
                next,
                ends: Offsets::new(),
                broken: Vec::new(),
                awaited: None,
                differences: 0,
            }),
            changes: watch::Sender::new(0),
            progress: watch::Sender::new(0),
        }
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    pub(crate) fn size(&self, topic: StoreTopic) -> usize {
        self.live().mirror.size(topic)
    }

    pub(crate) fn held(&self, topic: StoreTopic, key: &str) -> Option<Held> {
        self.live().mirror.held(topic, key)
    }

    /// The first breakage: it tells the cause.
    pub(crate) fn broken(&self) -> Option<Breakage> {
        self.live().broken.first().cloned()
    }

    pub(crate) fn is_broken(&self, topic: StoreTopic) -> bool {
        let live = self.live();
        live.broken.iter().any(|breakage| breakage.topic == topic)
    }

    pub(crate) fn set_broken(&self, breakage: Breakage) {
        self.live().broken.push(breakage);
        self.progress.send_modify(|n| *n += 1);
    }

    /// How long ago the partition that was read least recently was read.
    pub(crate) fn age(&self) -> Duration {
        let live = self.live();
        let oldest = live.read.values().min();
        oldest.map_or(Duration::ZERO, Instant::elapsed)
    }

    /// Records of a topic that were there when it was last read and have not been taken in, and how long ago that was.
    pub(crate) fn lag(&self, topic: StoreTopic) -> (i64, Duration) {
        let live = self.live();
        let ends = live.ends.iter().filter(|((of, _), _)| *of == topic);
        let lag = ends.map(|(place, end)| (end - live.next.get(place).unwrap_or(&0)).max(0));
        let read = live.read.iter().filter(|((of, _), _)| *of == topic);
        let oldest = read.map(|(_, at)| at.elapsed()).max();
        (lag.sum(), oldest.unwrap_or_default())
    }

    /// Notes where a partition ends.
    pub(crate) fn saw_end(&self, place: Place, end: i64) {
        self.live().ends.insert(place, end);
    }

    pub(crate) fn differences(&self) -> u64 {
        self.live().differences
    }

    /// Where reading goes on; a partition not seen before is read from its beginning.
    pub(crate) fn next(&self, place: Place) -> i64 {
        let mut live = self.live();
        live.read.entry(place).or_insert_with(Instant::now);
        *live.next.entry(place).or_insert(0)
    }

    pub(crate) fn positions(&self) -> Offsets {
        self.live().next.clone()
    }

    /// Takes in what was read of one partition; the outer result is `read`'s. Readers see all of it at once.
    pub(crate) fn apply<E>(
        &self,
        place: Place,
        read: impl FnOnce(i64, &mut dyn FnMut(Committed<'_>)) -> Result<i64, E>,
    ) -> Result<(), E> {
        let mut live = self.live();
        let Live {
            mirror,
            next,
            awaited,
            ..
        } = &mut *live;
        let next = next.entry(place).or_insert(0);
        let mut changed = false;
        let outcome = read(*next, &mut |record| {
            changed = true;
            if let Some((at, offset, seen)) = awaited
                && (*at, *offset) == (place, record.offset)
            {
                *seen = true;
            }
            mirror.apply(place, record);
        });
        if changed {
            self.snapshot.store(mirror.snapshot());
        }
        let outcome = outcome.map(|reached| *next = (*next).max(reached));
        if outcome.is_ok() {
            live.read.insert(place, Instant::now());
        }
        drop(live);
        if changed {
            self.changes.send_modify(|n| *n += 1);
        }
        self.progress.send_modify(|n| *n += 1);
        outcome
    }

    /// Puts a mirror read anew, up to the same offsets, in the place of the old one. Returns in how many keys they differ.
    pub(crate) fn replace(&self, mirror: Mirror) -> usize {
        let mut live = self.live();
        let differences = live.mirror.differences(&mirror);
        live.mirror = mirror;
        live.differences += differences as u64;
        if differences > 0 {
            self.snapshot.store(live.mirror.snapshot());
            drop(live);
            self.changes.send_modify(|n| *n += 1);
        }
        differences
    }

    /// Watches for a record of this node's own.
    pub(crate) fn await_record(&self, place: Place, offset: i64) {
        self.live().awaited = Some((place, offset, false));
    }

    /// Ends the watch; whether the record was seen committed.
    pub(crate) fn was_seen(&self) -> bool {
        matches!(self.live().awaited.take(), Some((_, _, true)))
    }

    /// Waits until everything before `ends` has been taken in. False: not by the deadline, or never, because a topic is
    /// broken.
    pub(crate) async fn reached(&self, ends: &Offsets, deadline: Instant) -> bool {
        let mut progress = self.progress.subscribe();
        loop {
            {
                let live = self.live();
                let behind =
                    |(place, end): (&Place, &i64)| live.next.get(place).unwrap_or(&0) < end;
                if !ends.iter().any(behind) {
                    return true;
                }
                if !live.broken.is_empty() {
                    return false;
                }
            }
            if !matches!(timeout_at(deadline, progress.changed()).await, Ok(Ok(()))) {
                return false;
            }
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(|e| e.into_inner())
    }
}
