//! Series of topics and groups: bytes, where logs end, how far groups have come.
//!
//! ```
//! use sluicegate_telemetry::metrics::{Format, Metrics, MetricsSettings};
//!
//! let metrics = Metrics::new(&MetricsSettings::default());
//! let topics = metrics.topics();
//! // A broker has answered about this topic without an error.
//! let orders = topics.topic("passthrough", "orders");
//! orders.upstream.add(4096);
//! orders.end(0, 12);
//! topics.committed("passthrough", "billing", "orders", 0, 10);
//! let text: String = metrics.encode(Format::Text).collect();
//! assert!(text.contains("gateway_topic_log_end_offset{vcluster=\"passthrough\",topic=\"orders\",partition=\"0\"} 12\n"));
//! ```
//!
//! Names come from clients, so that nothing is told here that Kafka has not confirmed, and every family has a cap. What requests
//! do most is an addition to an instrument that they keep. Where a log ends is looked up by an index and set without a lock; only commits
//! take the lock of a shard. Scrapes read the families and take none of these. [`Topics::tick`] works out, beside both, what follows from the rest.

mod groups;
mod history;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use regex::Regex;

use super::catalogue::Catalogue;
use super::instrument::{Counter, Offset};
use super::{DOWNSTREAM, OTHER, UPSTREAM};
pub use groups::Committed;
use groups::Groups;
use history::History;
use table::Table;

/// Series that nothing has happened to for so long are forgotten.
const IDLE: Duration = Duration::from_secs(24 * 3600);

/// How often idle series are looked for.
const SWEEP: Duration = Duration::from_secs(60);

const SHARDS: usize = 16;

/// What series of topics and groups there are.
#[derive(Clone, Debug)]
pub struct TopicSettings {
    /// `GATEWAY_METRICS_TOPIC_ENABLED`: count bytes.
    pub bytes: bool,
    /// `GATEWAY_METRICS_OFFSETS_ENABLED`: show offsets and lag.
    pub offsets: bool,
    /// `GATEWAY_METRICS_MAX_TOPICS`: topics whose bytes have series of their own.
    pub max_topics: usize,
    /// `GATEWAY_METRICS_MAX_OFFSET_SERIES`: series of ends, and of committed offsets.
    pub max_offset_series: usize,
    /// `GATEWAY_METRICS_OFFSET_PARTITIONS`: whether offsets are shown by partition, or as sums over a topic.
    pub partitions: bool,
    /// Which topics.
    pub topics: Names,
    /// Which groups.
    pub groups: Names,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            bytes: true,
            offsets: true,
            max_topics: 5000,
            max_offset_series: 20_000,
            partitions: true,
            topics: Names::default(),
            groups: Names::default(),
        }
    }
}

/// Which names have series of their own.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Only these, and these always, whatever the cap. `None`: all, as far as they fit.
    pub allow: Option<Regex>,
    /// Not these.
    pub deny: Option<Regex>,
}

impl Names {
    fn admit(&self, name: &str) -> bool {
        let matches = |pattern: &Regex| pattern.is_match(name);
        self.allow.as_ref().is_none_or(matches) && !self.deny.as_ref().is_some_and(matches)
    }

    /// How many there may be: those that were asked for by name have a place in any case.
    fn cap(&self, cap: usize) -> usize {
        match self.allow {
            Some(_) => usize::MAX,
            None => cap,
        }
    }
}

/// All topics and groups that have series.
#[derive(Debug)]
pub struct Topics {
    catalogue: Arc<Catalogue>,
    settings: TopicSettings,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    groups: [Mutex<Groups>; SHARDS],
    shared: Arc<Shared>,
    started: Instant,
    swept: Mutex<Duration>,
}

/// Virtual cluster, name.
type Shard = HashMap<Arc<str>, HashMap<Arc<str>, Arc<Topic>>>;

/// What single topics need to know of all.
#[derive(Debug, Default)]
struct Shared {
    /// Topics whose bytes have series, series of ends and of committed offsets, and groups.
    topics: AtomicUsize,
    ends: AtomicUsize,
    commits: AtomicUsize,
    groups: AtomicUsize,
    /// Counts polls; see [`Topics::begin_poll`].
    poll: AtomicU64,
    /// Counts when places became free.
    freed: AtomicU64,
}

impl Shared {
    /// Takes one of `cap` places.
    fn take(places: &AtomicUsize, cap: usize) -> bool {
        let taken = places.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            (taken < cap).then_some(taken + 1)
        });
        taken.is_ok()
    }

    fn give_back(&self, places: &AtomicUsize, count: usize) {
        places.fetch_sub(count, Ordering::Relaxed);
        self.freed.fetch_add(1, Ordering::Relaxed);
    }
}

/// One topic of a virtual cluster.
#[derive(Debug)]
pub struct Topic {
    vcluster: Arc<str>,
    name: Arc<str>,
    /// Bytes of records sent to Kafka.
    pub upstream: Counter,
    /// Bytes of records received from Kafka.
    pub downstream: Counter,
    /// Whether the bytes are counted under the topic's own name.
    is_own: bool,
    /// Whether clients use it. What is only known from groups takes no place among those whose bytes are counted.
    is_used: bool,
    ends: Option<Arc<Ends>>,
    /// It has been forgotten: its instruments are not shown any more.
    gone: AtomicBool,
    /// [`Shared::freed`] when it was made.
    made: u64,
    /// What was counted when something last happened, and when that was seen.
    idle: Mutex<(u64, Duration)>,
}

/// Where the logs of a topic end.
#[derive(Debug)]
struct Ends {
    table: Table<End>,
    /// The sum over the partitions, where they are not told apart.
    sum: Option<Offset>,
    cap: usize,
    catalogue: Arc<Catalogue>,
    shared: Arc<Shared>,
}

/// Where one log ends.
#[derive(Debug, Default)]
struct End {
    offset: Offset,
    /// The poll that was under way when the offset was last seen.
    poll: AtomicU64,
    /// For [`Topics::tick`] only.
    history: Mutex<History>,
}

impl Topics {
    pub(super) fn new(catalogue: &Arc<Catalogue>, settings: &TopicSettings) -> Self {
        Self {
            catalogue: Arc::clone(catalogue),
            settings: settings.clone(),
            hasher: RandomState::new(),
            shards: Default::default(),
            groups: Default::default(),
            shared: Arc::default(),
            started: Instant::now(),
            swept: Mutex::default(),
        }
    }

    /// What there is.
    pub fn settings(&self) -> &TopicSettings {
        &self.settings
    }

    /// A topic that Kafka has confirmed. Keep it, and ask again when it [is stale](Topics::is_stale).
    pub fn topic(&self, vcluster: &str, name: &str) -> Arc<Topic> {
        self.topic_of(vcluster, name, true)
    }

    /// A topic that a group has committed an offset of.
    fn read_topic(&self, vcluster: &str, name: &str) {
        self.topic_of(vcluster, name, false);
    }

    fn topic_of(&self, vcluster: &str, name: &str, is_used: bool) -> Arc<Topic> {
        let mut shard = self.shard(vcluster, name);
        let known = shard.get(vcluster).and_then(|topics| topics.get(name));
        if let Some(known) = known
            && (known.is_used || !is_used)
        {
            return Arc::clone(known);
        }
        let ends = known.map(|known| {
            known.gone.store(true, Ordering::Relaxed);
            known.ends.clone()
        });
        let topic = Arc::new(self.make(vcluster, name, is_used, ends));
        if topic.is_own || topic.ends.is_some() {
            let topics = shard.entry(Arc::clone(&topic.vcluster)).or_default();
            topics.insert(Arc::clone(&topic.name), Arc::clone(&topic));
        }
        topic
    }

    /// A topic, if it is known.
    pub fn known(&self, vcluster: &str, name: &str) -> Option<Arc<Topic>> {
        let shard = self.shard(vcluster, name);
        let known = shard.get(vcluster).and_then(|topics| topics.get(name));
        known.map(Arc::clone)
    }

    /// A topic that a client uses, if it is known.
    pub fn used(&self, vcluster: &str, name: &str) -> Option<Arc<Topic>> {
        let known = self.known(vcluster, name)?;
        Some(match known.is_used {
            true => known,
            false => self.topic(vcluster, name),
        })
    }

    /// Whether the topic was forgotten, or may get a place that there was none for.
    pub fn is_stale(&self, topic: &Topic) -> bool {
        topic.gone.load(Ordering::Relaxed)
            || (!topic.is_own && topic.made != self.shared.freed.load(Ordering::Relaxed))
    }

    /// The topic has been deleted.
    pub fn topic_deleted(&self, vcluster: &str, name: &str) {
        let gone = {
            let mut shard = self.shard(vcluster, name);
            shard
                .get_mut(vcluster)
                .and_then(|topics| topics.remove(name))
        };
        if let Some(topic) = gone {
            self.forget(&topic);
        }
        for groups in &self.groups {
            lock(groups).topic_deleted(self, vcluster, name);
        }
    }

    /// Topics whose ends are shown, for a poll.
    pub fn polled_topics(&self) -> Vec<Arc<Topic>> {
        let mut all = self.all_topics();
        all.retain(|topic| topic.ends.is_some());
        all
    }

    /// A poll begins: what data tells from now on is newer than what the poll finds. Gives its number.
    pub fn begin_poll(&self) -> u64 {
        self.shared.poll.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Works out sums and lag, and forgets what was idle for a day. To be called every few seconds.
    pub fn tick(&self, now: Instant) {
        let now = now.saturating_duration_since(self.started);
        let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        for topic in self.all_topics() {
            topic.tick(millis);
        }
        let sweep = {
            let mut swept = lock(&self.swept);
            let due = now >= *swept + SWEEP;
            if due {
                *swept = now;
            }
            due
        };
        for groups in &self.groups {
            // The shards of topics are locked within: never the other way round.
            let mut groups = lock(groups);
            groups.tick(self, millis);
            if sweep {
                groups.sweep(self, now);
            }
        }
        if sweep {
            self.sweep(now);
        }
    }

    fn sweep(&self, now: Duration) {
        for topic in self.all_topics() {
            if topic.is_idle(now) {
                let gone = {
                    let mut shard = self.shard(&topic.vcluster, &topic.name);
                    let topics = shard.get_mut(&topic.vcluster);
                    topics.and_then(|topics| topics.remove(&topic.name))
                };
                if let Some(topic) = gone {
                    self.forget(&topic);
                }
            }
        }
        for shard in &self.shards {
            lock(shard).retain(|_, topics| !topics.is_empty());
        }
    }

    fn all_topics(&self) -> Vec<Arc<Topic>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            all.extend(shard.values().flat_map(HashMap::values).cloned());
        }
        all
    }

    /// `ends` are those that are known already.
    fn make(
        &self,
        vcluster: &str,
        name: &str,
        is_used: bool,
        ends: Option<Option<Arc<Ends>>>,
    ) -> Topic {
        let TopicSettings {
            bytes,
            offsets,
            max_topics,
            max_offset_series,
            ..
        } = self.settings;
        let names = &self.settings.topics;
        let is_shown = names.admit(name);
        let made = self.shared.freed.load(Ordering::Relaxed);
        let bytes = bytes && is_used;
        let is_own = bytes && is_shown && Shared::take(&self.shared.topics, names.cap(max_topics));
        let family = &self.catalogue.bytes_topic;
        let count = |direction| match bytes {
            false => Counter::default(),
            true => family.with([direction, if is_own { name } else { OTHER }, vcluster]),
        };
        let (upstream, downstream) = (count(UPSTREAM), count(DOWNSTREAM));
        if bytes && is_shown && !is_own {
            family.folded();
        }
        let (vcluster, name): (Arc<str>, Arc<str>) = (vcluster.into(), name.into());
        let new = || {
            let cap = names.cap(max_offset_series);
            let ends = (offsets && is_shown).then(|| self.ends(&vcluster, &name, cap));
            ends.flatten().map(Arc::new)
        };
        let ends = ends.unwrap_or_else(new);
        Topic {
            vcluster,
            name,
            upstream,
            downstream,
            is_own,
            is_used,
            ends,
            gone: AtomicBool::new(false),
            made,
            idle: Mutex::new((0, self.started.elapsed())),
        }
    }

    /// `None`: there is no place.
    fn ends(&self, vcluster: &Arc<str>, name: &Arc<str>, cap: usize) -> Option<Ends> {
        let family = &self.catalogue.log_end;
        let sum = match self.settings.partitions {
            true if self.shared.ends.load(Ordering::Relaxed) >= cap => {
                family.folded();
                return None;
            }
            true => None,
            false if !Shared::take(&self.shared.ends, cap) => {
                family.folded();
                return None;
            }
            false => Some(Offset::default()),
        };
        if let Some(sum) = &sum {
            family.attach([vcluster.clone(), name.clone(), "".into()], sum);
        }
        Some(Ends {
            table: Table::default(),
            sum,
            cap,
            catalogue: Arc::clone(&self.catalogue),
            shared: Arc::clone(&self.shared),
        })
    }

    /// Takes a topic that has left its shard out of the families.
    fn forget(&self, topic: &Topic) {
        topic.gone.store(true, Ordering::Relaxed);
        if topic.is_own {
            for direction in [UPSTREAM, DOWNSTREAM] {
                let labels = [direction, &topic.name, &topic.vcluster];
                self.catalogue.bytes_topic.remove(labels);
            }
            self.shared.give_back(&self.shared.topics, 1);
        }
        let Some(ends) = &topic.ends else {
            return;
        };
        let labels = |partition: &str| {
            let family = &self.catalogue.log_end;
            family.remove([&topic.vcluster, &topic.name, partition]);
        };
        match ends.sum {
            Some(_) => {
                labels("");
                self.shared.give_back(&self.shared.ends, 1);
            }
            None => {
                let mut count = 0;
                for (partition, _) in ends.table.iter() {
                    labels(&partition.to_string());
                    count += 1;
                }
                self.shared.give_back(&self.shared.ends, count);
            }
        }
    }

    fn shard(&self, vcluster: &str, name: &str) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.place(vcluster, name)])
    }

    fn place(&self, vcluster: &str, name: &str) -> usize {
        self.hasher.hash_one((vcluster, name)) as usize % SHARDS
    }
}

impl Topic {
    /// Its virtual cluster.
    pub fn vcluster(&self) -> &Arc<str> {
        &self.vcluster
    }

    /// Its name there.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// A partition was seen to end at `offset`, or behind it.
    pub fn end(&self, partition: i32, offset: i64) {
        if let Some(end) = self.partition(partition) {
            end.offset.raise_to(offset);
            let ends = self.ends.as_ref();
            let poll = ends.map_or(0, |ends| ends.shared.poll.load(Ordering::Relaxed));
            end.poll.store(poll, Ordering::Relaxed);
        }
    }

    /// The poll of that number has found that a partition ends at `offset`. Less than before is believed only if nothing was seen since
    /// the poll began: a topic that was created anew begins at 0.
    pub fn polled_end(&self, partition: i32, offset: i64, poll: u64) {
        if let Some(end) = self.partition(partition) {
            match end.poll.load(Ordering::Relaxed) < poll {
                true => end.offset.set(offset),
                false => end.offset.raise_to(offset),
            }
        }
    }

    fn partition(&self, partition: i32) -> Option<&End> {
        let ends = self.ends.as_ref()?;
        let place = usize::try_from(partition).ok()?;
        let mut took = false;
        let made = ends.table.get_or_make(place, || {
            took = ends.sum.is_none();
            match took && !Shared::take(&ends.shared.ends, ends.cap) {
                true => None,
                false => Some(End::default()),
            }
        });
        let family = &ends.catalogue.log_end;
        let Some((end, is_new)) = made else {
            if took {
                family.folded();
            }
            return None;
        };
        match (took, is_new) {
            (true, true) => {
                let partition: Arc<str> = partition.to_string().into();
                let labels = [self.vcluster.clone(), self.name.clone(), partition];
                family.attach(labels, &end.offset);
            }
            (true, false) => ends.shared.give_back(&ends.shared.ends, 1),
            _ => {}
        }
        Some(end)
    }

    /// Where a partition ends, and for how many milliseconds the record at `committed` has been there, as far as that is known.
    fn lag(&self, partition: i32, committed: i64, now: u64) -> Option<(i64, Option<u64>)> {
        let ends = self.ends.as_ref()?;
        let end = ends.table.get(usize::try_from(partition).ok()?)?;
        let offset = end.offset.get()?;
        let age = match offset > committed {
            true => lock(&end.history).age(now, committed),
            false => Some(0),
        };
        Some(((offset - committed).max(0), age))
    }

    fn tick(&self, now: u64) {
        let Some(ends) = &self.ends else { return };
        let mut sum = 0;
        for (_, end) in ends.table.iter() {
            if let Some(offset) = end.offset.get() {
                sum += offset;
                lock(&end.history).note(now, offset);
            }
        }
        if let Some(shown) = &ends.sum {
            shown.set(sum);
        }
    }

    /// Something has happened to it.
    fn touch(&self, now: Duration) {
        lock(&self.idle).1 = now;
    }

    fn is_idle(&self, now: Duration) -> bool {
        let ends = self.ends.iter().flat_map(|ends| ends.table.iter());
        let ends = ends.filter_map(|(_, end)| end.offset.get());
        // Counters of others, where the topic has none of its own, would keep it for ever.
        let bytes = match self.is_own {
            true => self.upstream.get().wrapping_add(self.downstream.get()),
            false => 0,
        };
        let seen = ends.fold(bytes, |sum, end| sum.wrapping_add(end as u64));
        let mut idle = lock(&self.idle);
        if idle.0 != seen {
            *idle = (seen, now);
        }
        now >= idle.1 + IDLE
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
