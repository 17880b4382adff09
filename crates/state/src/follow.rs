//! The task that keeps the mirror up to date: one long poll per leader.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use telemetry::targets::STATE;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use uuid::Uuid;
use wire::error_code::{NONE, OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION};

use crate::committed;
use crate::fetch::{Read, fetch};
use crate::kafka::{Failure, Kafka, Offsets, Place, TopicView};
use crate::load::{LoadError, Loaded, load};
use crate::shared::{Breakage, Shared};
use crate::topic::StoreTopic;

/// A fetch without news ends after this; so a partition read less recently than a few of these is stale.
const LONG_POLL: Duration = Duration::from_millis(500);

/// Metadata is read anew after this while all is well: partitions may be added.
const METADATA_AGE: Duration = Duration::from_secs(60);

/// Between two looks at the metadata while something is wrong.
const METADATA_GAP: Duration = Duration::from_millis(500);

/// A leader that failed is left alone for this long.
const LEADER_PAUSE: Duration = Duration::from_millis(250);

/// How often trouble is repeated in the log.
const REMINDER: Duration = Duration::from_secs(60);

/// So many times in a row Kafka has to say that a topic is gone or cut off: a broker that has just started may be wrong.
const CONVINCED: u32 = 4;

/// Without news for so long the mirror is called stale.
pub(crate) const STALE_AFTER: Duration = Duration::from_secs(5);

/// A full refresh is given up after this.
const REFRESH_LIMIT: Duration = Duration::from_secs(300);

/// Everything the task holds.
pub(crate) struct Follower {
    kafka: Arc<Kafka>,
    /// The task ends when nobody else holds the state.
    shared: Weak<Shared>,
    ids: BTreeMap<StoreTopic, Uuid>,
    starts: Offsets,
    ttl: Duration,
    /// Reasons to call a topic broken, and how often in a row each was seen.
    suspicions: BTreeMap<StoreTopic, u32>,
    broken: BTreeSet<StoreTopic>,
    busy: BTreeSet<i32>,
    paused: BTreeMap<i32, Instant>,
    metadata_at: Instant,
    asking_metadata: bool,
    tasks: JoinSet<Done>,
}

enum Done {
    Fetched(i32, Result<Vec<Read>, Failure>),
    Metadata(Result<BTreeMap<StoreTopic, TopicView>, Failure>),
}

impl Follower {
    pub(crate) fn new(
        kafka: Arc<Kafka>,
        shared: &Arc<Shared>,
        starts: Offsets,
        ttl: Duration,
    ) -> Self {
        let id_of = |topic: StoreTopic| Some((topic, kafka.topic(topic)?.id));
        Follower {
            ids: StoreTopic::ALL.into_iter().filter_map(id_of).collect(),
            kafka,
            shared: Arc::downgrade(shared),
            starts,
            ttl,
            suspicions: BTreeMap::new(),
            broken: BTreeSet::new(),
            busy: BTreeSet::new(),
            paused: BTreeMap::new(),
            metadata_at: Instant::now() + METADATA_AGE,
            asking_metadata: false,
            tasks: JoinSet::new(),
        }
    }

    /// Follows until the store is dropped.
    pub(crate) async fn run(mut self) {
        let mut reminder = Instant::now() + REMINDER;
        let mut refresh_at = Instant::now() + self.ttl;
        loop {
            let Some(shared) = self.shared.upgrade() else {
                return;
            };
            self.start_tasks(&shared);
            drop(shared);
            let resume = self.paused.values().min().copied();
            let wake = resume.map_or(self.metadata_at, |at| at.min(self.metadata_at));
            let wake = if self.asking_metadata {
                resume.unwrap_or(reminder)
            } else {
                wake
            };
            tokio::select! {
                Some(done) = self.tasks.join_next() => {
                    let (Ok(done), Some(shared)) = (done, self.shared.upgrade()) else { continue };
                    match done {
                        Done::Fetched(leader, outcome) => self.fetched(&shared, leader, outcome),
                        Done::Metadata(outcome) => self.described(&shared, outcome),
                    }
                }
                () = sleep_until(wake) => {}
                () = sleep_until(reminder) => {
                    reminder += REMINDER;
                    if let Some(shared) = self.shared.upgrade() {
                        self.remind(&shared);
                    }
                }
                () = sleep_until(refresh_at) => {
                    refresh_at = Instant::now() + self.ttl;
                    if let Some(shared) = self.shared.upgrade() {
                        self.refresh(&shared).await;
                    }
                }
            }
        }
    }

    /// Starts a fetch at every leader that has none, and a look at the metadata when it is time.
    fn start_tasks(&mut self, shared: &Shared) {
        let now = Instant::now();
        self.paused.retain(|_, until| *until > now);
        for (leader, places) in self.kafka.places_by_leader() {
            let Some(node) = self.kafka.broker(leader) else {
                self.want_metadata(METADATA_GAP);
                continue;
            };
            if self.busy.contains(&leader) || self.paused.contains_key(&leader) {
                continue;
            }
            let wanted: Vec<(Place, i64)> = places
                .into_iter()
                .filter(|(topic, _)| !self.broken.contains(topic))
                .map(|place| (place, shared.next(place)))
                .collect();
            if wanted.is_empty() {
                continue;
            }
            self.busy.insert(leader);
            let kafka = self.kafka.clone();
            self.tasks.spawn(async move {
                let outcome = fetch(&kafka, &node, &wanted, LONG_POLL).await;
                Done::Fetched(leader, outcome)
            });
        }
        if self.metadata_at <= now && !self.asking_metadata {
            self.asking_metadata = true;
            let kafka = self.kafka.clone();
            self.tasks
                .spawn(async move { Done::Metadata(kafka.refresh().await) });
        }
    }

    fn want_metadata(&mut self, soon: Duration) {
        self.metadata_at = self.metadata_at.min(Instant::now() + soon);
    }

    fn fetched(&mut self, shared: &Shared, leader: i32, outcome: Result<Vec<Read>, Failure>) {
        self.busy.remove(&leader);
        let reads = match outcome {
            Ok(reads) => reads,
            Err(error) => {
                tracing::debug!(target: STATE, leader, %error, "fetch failed");
                return self.pause(leader);
            }
        };
        for read in reads {
            if self.broken.contains(&read.place.0) {
                continue;
            }
            match read.error {
                NONE => self.take(shared, leader, &read),
                OFFSET_OUT_OF_RANGE => {
                    self.suspect(
                        shared,
                        read.place.0,
                        "records that were read are not there any more",
                    );
                    self.pause(leader);
                }
                code => {
                    tracing::debug!(target: STATE, leader, code, "fetch refused");
                    if [UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID].contains(&code) {
                        // Metadata tells whether the topic is gone or the broker behind.
                        self.want_metadata(Duration::ZERO);
                    }
                    self.pause(leader);
                }
            }
        }
    }

    fn take(&mut self, shared: &Shared, leader: i32, read: &Read) {
        let known = *self
            .starts
            .entry(read.place)
            .or_insert(read.log_start.max(0));
        if read.log_start > known {
            return self.declare_broken(shared, read.place.0, "its first records were deleted");
        }
        let applied = shared.apply(read.place, |from, each| {
            committed::read(&read.records, &read.aborted, from, i64::MAX, each)
        });
        match applied {
            Ok(()) => {
                shared.saw_end(read.place, read.end);
                self.suspicions.remove(&read.place.0);
            }
            Err(error) if error.is_lasting() => {
                self.declare_broken(shared, read.place.0, &error.to_string());
            }
            Err(error) => {
                tracing::warn!(target: STATE, topic = %read.place.0, %error, "records cannot be read; they are fetched again");
                self.pause(leader);
            }
        }
    }

    fn pause(&mut self, leader: i32) {
        self.paused.insert(leader, Instant::now() + LEADER_PAUSE);
        self.want_metadata(METADATA_GAP);
    }

    fn described(
        &mut self,
        shared: &Shared,
        outcome: Result<BTreeMap<StoreTopic, TopicView>, Failure>,
    ) {
        self.asking_metadata = false;
        self.metadata_at = Instant::now() + METADATA_AGE;
        let seen = match outcome {
            Ok(seen) => seen,
            Err(error) => {
                tracing::debug!(target: STATE, %error, "no metadata");
                return self.want_metadata(METADATA_GAP);
            }
        };
        for topic in StoreTopic::ALL {
            let id = self.ids.get(&topic).copied().unwrap_or_default();
            match seen.get(&topic) {
                None => {
                    self.suspect(shared, topic, "it was deleted");
                    self.want_metadata(METADATA_GAP);
                }
                Some(now) if now.id != id && !now.id.is_nil() && !id.is_nil() => {
                    self.declare_broken(shared, topic, "it was deleted and made anew");
                }
                Some(_) => {}
            }
        }
        if self.kafka.places_by_leader().contains_key(&-1) {
            self.want_metadata(METADATA_GAP);
        }
    }

    fn suspect(&mut self, shared: &Shared, topic: StoreTopic, reason: &str) {
        let times = self.suspicions.entry(topic).or_default();
        *times += 1;
        if *times >= CONVINCED {
            self.declare_broken(shared, topic, reason);
        }
    }

    fn declare_broken(&mut self, shared: &Shared, topic: StoreTopic, reason: &str) {
        if self.broken.insert(topic) {
            let breakage = Breakage {
                topic,
                reason: reason.to_owned(),
            };
            self.report(&breakage);
            shared.set_broken(breakage);
        }
    }

    fn report(&self, breakage: &Breakage) {
        tracing::error!(
            target: STATE,
            name = self.kafka.name(breakage.topic),
            "a state topic is broken: {}. What was read before stays in force and nothing is written until the topic is \
             mended and the gateway restarted",
            breakage.reason
        );
    }

    fn remind(&self, shared: &Shared) {
        if let Some(breakage) = shared.broken() {
            self.report(&breakage);
        }
        let age = shared.age();
        if age > STALE_AFTER && self.broken.is_empty() {
            tracing::warn!(target: STATE, ?age, "the state topics cannot be read; what was read last stays in force");
        }
    }

    /// Reads everything once more and puts it in the place of what there is. Following stands still meanwhile, so that
    /// both end at the same offsets.
    async fn refresh(&mut self, shared: &Arc<Shared>) {
        if !self.broken.is_empty() {
            return;
        }
        let until = shared.positions();
        let outcome = load(&self.kafka, Some(until), Instant::now() + REFRESH_LIMIT).await;
        let Loaded { mirror, starts, .. } = match outcome {
            Ok(loaded) => loaded,
            Err(LoadError::Unreadable { place, error }) if error.is_lasting() => {
                return self.declare_broken(shared, place.0, &error.to_string());
            }
            Err(error) => {
                tracing::warn!(target: STATE, %error, "the full refresh failed; the next one is due in {:?}", self.ttl);
                return;
            }
        };
        let cut = |(place, start): (&Place, &i64)| {
            (self.starts.get(place).is_some_and(|known| start > known)).then_some(place.0)
        };
        if let Some(topic) = starts.iter().find_map(cut) {
            return self.declare_broken(shared, topic, "its first records were deleted");
        }
        let differences = shared.replace(mirror);
        if differences > 0 {
            tracing::error!(target: STATE, differences, "the full refresh found differences, which should not be");
        } else {
            tracing::info!(target: STATE, "the full refresh found no difference");
        }
    }
}
