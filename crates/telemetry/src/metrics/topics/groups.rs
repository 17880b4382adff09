//! How far groups have come, and how much is before them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::{IDLE, Shared, Topics, lock};
use crate::metrics::instrument::{Gauge, Offset};

/// Groups by virtual cluster and name.
#[derive(Debug, Default)]
pub(super) struct Groups(HashMap<Arc<str>, HashMap<Arc<str>, Group>>);

#[derive(Debug, Default)]
struct Group {
    topics: HashMap<Arc<str>, Progress>,
    /// When something last happened.
    last: Duration,
}

/// How far a group has come with one topic.
#[derive(Debug, Default)]
struct Progress {
    commits: BTreeMap<i32, Commit>,
    /// The sum over the partitions, where they are not told apart.
    sum: Option<Offset>,
    lag: Option<Offset>,
    age: Option<Gauge>,
    /// When an offset last changed.
    last: Duration,
}

#[derive(Debug)]
struct Commit {
    offset: Offset,
    /// The poll that was under way when it was committed.
    poll: u64,
}

/// A committed offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// The next record that the group will read.
    pub offset: i64,
}

impl Topics {
    /// A group has committed an offset, or Kafka has told that it had.
    pub fn committed(&self, vcluster: &str, group: &str, topic: &str, partition: i32, offset: i64) {
        let poll = self.shared.poll.load(Ordering::Relaxed);
        let committed = Committed {
            topic,
            partition,
            offset,
        };
        self.note(vcluster, group, &committed, poll, false);
    }

    /// A group is there; what it has committed the next poll tells.
    pub fn group_known(&self, vcluster: &str, group: &str) {
        if self.shows_group(group) {
            let now = self.started.elapsed();
            self.group(&mut self.groups_of(vcluster, group), vcluster, group, now);
        }
    }

    /// Whether a group of this name is shown, if there is a place.
    pub fn shows_group(&self, group: &str) -> bool {
        self.settings.offsets && self.settings.groups.admit(group)
    }

    /// How many groups there can be.
    pub fn max_groups(&self) -> usize {
        self.settings.groups.cap(self.settings.max_offset_series)
    }

    /// There are more groups than [`Topics::max_groups`].
    pub fn groups_left_out(&self) {
        self.catalogue.committed.folded();
    }

    /// Kafka still has the group, at `now`. What it has committed stays, however long ago that was, and so do the topics.
    pub fn group_is_there(&self, vcluster: &str, group: &str, now: Instant) {
        let now = now.saturating_duration_since(self.started);
        let mut groups = self.groups_of(vcluster, group);
        let Some(group_of) = groups.get_mut(vcluster, group) else {
            return;
        };
        group_of.last = now;
        for (topic, progress) in &mut group_of.topics {
            progress.last = now;
            if let Some(topic) = self.known(vcluster, topic) {
                topic.touch(now);
            }
        }
    }

    /// The groups that there are, with their virtual clusters, for a poll.
    pub fn polled_groups(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let mut all = Vec::new();
        for groups in &self.groups {
            for (vcluster, groups) in &lock(groups).0 {
                let groups = groups.keys();
                all.extend(groups.map(|group| (vcluster.clone(), group.clone())));
            }
        }
        all
    }

    /// The poll of that number has found these offsets, and no others, of a group.
    pub fn polled_commits(&self, vcluster: &str, group: &str, found: &[Committed<'_>], poll: u64) {
        for committed in found {
            self.note(vcluster, group, committed, poll, true);
        }
        let mut groups = self.groups_of(vcluster, group);
        let Some(group_of) = groups.get_mut(vcluster, group) else {
            return;
        };
        let had_some = !group_of.topics.is_empty();
        for (topic, progress) in &mut group_of.topics {
            let mut of_topic: Vec<i32> = found
                .iter()
                .filter(|committed| *committed.topic == **topic)
                .map(|committed| committed.partition)
                .collect();
            of_topic.sort_unstable();
            let gone: Vec<i32> = progress
                .commits
                .iter()
                .filter(|(partition, commit)| {
                    commit.poll < poll && of_topic.binary_search(partition).is_err()
                })
                .map(|(partition, _)| *partition)
                .collect();
            for partition in gone {
                self.remove(vcluster, group, topic, progress, partition);
            }
        }
        group_of
            .topics
            .retain(|_, progress| !progress.commits.is_empty());
        // It was deleted, or its offsets have expired: its place is for others.
        if had_some && group_of.topics.is_empty() {
            groups.remove(vcluster, group);
            self.shared.give_back(&self.shared.groups, 1);
        }
    }

    /// The group has been deleted.
    pub fn group_deleted(&self, vcluster: &str, group: &str) {
        let mut groups = self.groups_of(vcluster, group);
        let Some(gone) = groups.remove(vcluster, group) else {
            return;
        };
        self.shared.give_back(&self.shared.groups, 1);
        for (topic, mut progress) in gone.topics {
            self.remove_all(vcluster, group, &topic, &mut progress);
        }
    }

    /// A group has no committed offset any more.
    pub fn commit_deleted(&self, vcluster: &str, group: &str, topic: &str, partition: i32) {
        let mut groups = self.groups_of(vcluster, group);
        if let Some(group_of) = groups.get_mut(vcluster, group)
            && let Some(progress) = group_of.topics.get_mut(topic)
        {
            self.remove(vcluster, group, topic, progress, partition);
            if progress.commits.is_empty() {
                group_of.topics.remove(topic);
            }
        }
    }

    fn note(
        &self,
        vcluster: &str,
        group: &str,
        committed: &Committed<'_>,
        poll: u64,
        polled: bool,
    ) {
        let settings = &self.settings;
        let Committed {
            topic,
            partition,
            offset,
        } = *committed;
        let is_shown = settings.groups.admit(group) && settings.topics.admit(topic);
        if !settings.offsets || offset < 0 || !is_shown {
            return;
        }
        let now = self.started.elapsed();
        let mut groups = self.groups_of(vcluster, group);
        let Some(group_of) = self.group(&mut groups, vcluster, group, now) else {
            self.catalogue.committed.folded();
            return;
        };
        if let Some(progress) = group_of.topics.get_mut(topic)
            && let Some(commit) = progress.commits.get_mut(&partition)
        {
            if !polled || commit.poll < poll {
                if !polled || commit.offset.get() != Some(offset) {
                    (progress.last, group_of.last) = (now, now);
                }
                commit.poll = poll;
                commit.offset.set(offset);
            }
            return;
        }
        let family = &self.catalogue.committed;
        let is_new_topic = !group_of.topics.contains_key(topic);
        let places = settings.groups.cap(settings.max_offset_series);
        let needs_place = settings.partitions || is_new_topic;
        if needs_place && !Shared::take(&self.shared.commits, places) {
            family.folded();
            return;
        }
        // So that its ends are asked for, too.
        self.read_topic(vcluster, topic);
        let labels = |partition: &str| {
            let texts = [vcluster, group, topic, partition];
            texts.map(Arc::<str>::from)
        };
        let progress = group_of.topics.entry(topic.into()).or_default();
        let commit = Commit {
            offset: Offset::default(),
            poll,
        };
        commit.offset.set(offset);
        if settings.partitions {
            family.attach(labels(&partition.to_string()), &commit.offset);
        } else {
            let sum = progress.sum.get_or_insert_default();
            sum.set(sum.get().unwrap_or(0) + offset);
            family.attach(labels(""), sum);
        }
        progress.commits.insert(partition, commit);
        (progress.last, group_of.last) = (now, now);
    }

    /// `None`: there is no place for one more.
    fn group<'g>(
        &self,
        groups: &'g mut Groups,
        vcluster: &str,
        group: &str,
        now: Duration,
    ) -> Option<&'g mut Group> {
        if groups.get_mut(vcluster, group).is_none() {
            if !Shared::take(&self.shared.groups, self.max_groups()) {
                return None;
            }
            let all = groups.0.entry(vcluster.into()).or_default();
            all.entry(group.into()).or_default().last = now;
        }
        groups.get_mut(vcluster, group)
    }

    fn remove(
        &self,
        vcluster: &str,
        group: &str,
        topic: &str,
        progress: &mut Progress,
        partition: i32,
    ) {
        if progress.commits.remove(&partition).is_none() {
            return;
        }
        if self.settings.partitions {
            let family = &self.catalogue.committed;
            family.remove([vcluster, group, topic, &partition.to_string()]);
            self.shared.give_back(&self.shared.commits, 1);
        }
        if progress.commits.is_empty() {
            self.remove_all(vcluster, group, topic, progress);
        }
    }

    fn remove_all(&self, vcluster: &str, group: &str, topic: &str, progress: &mut Progress) {
        for partition in progress.commits.keys() {
            let partition = partition.to_string();
            let labels = [vcluster, group, topic, &partition];
            if self.settings.partitions && self.catalogue.committed.remove(labels) {
                self.shared.give_back(&self.shared.commits, 1);
            }
        }
        progress.commits.clear();
        if progress.sum.take().is_some() {
            self.catalogue
                .committed
                .remove([vcluster, group, topic, ""]);
            self.shared.give_back(&self.shared.commits, 1);
        }
        if progress.lag.take().is_some() {
            self.catalogue.lag.remove([vcluster, group, topic]);
        }
        if progress.age.take().is_some() {
            self.catalogue.lag_seconds.remove([vcluster, group, topic]);
        }
    }

    fn groups_of(&self, vcluster: &str, group: &str) -> MutexGuard<'_, Groups> {
        lock(&self.groups[self.place(vcluster, group)])
    }
}

impl Groups {
    fn get_mut(&mut self, vcluster: &str, group: &str) -> Option<&mut Group> {
        self.0.get_mut(vcluster)?.get_mut(group)
    }

    fn remove(&mut self, vcluster: &str, group: &str) -> Option<Group> {
        self.0.get_mut(vcluster)?.remove(group)
    }

    pub(super) fn topic_deleted(&mut self, topics: &Topics, vcluster: &str, topic: &str) {
        let groups = self.0.get_mut(vcluster).into_iter().flatten();
        for (name, group) in groups {
            if let Some(mut progress) = group.topics.remove(topic) {
                topics.remove_all(vcluster, name, topic, &mut progress);
            }
        }
    }

    /// Sets sums and lag.
    pub(super) fn tick(&mut self, topics: &Topics, now: u64) {
        for (vcluster, groups) in &mut self.0 {
            for (group, group_of) in groups {
                for (topic, progress) in &mut group_of.topics {
                    progress.tick(topics, [vcluster, group, topic], now);
                }
            }
        }
    }

    /// Forgets what was idle for a day.
    pub(super) fn sweep(&mut self, topics: &Topics, now: Duration) {
        for (vcluster, groups) in &mut self.0 {
            groups.retain(|name, group| {
                group.topics.retain(|topic, progress| {
                    let is_idle = now >= progress.last + IDLE;
                    if is_idle {
                        topics.remove_all(vcluster, name, topic, progress);
                    }
                    !is_idle
                });
                let stays = !group.topics.is_empty() || now < group.last + IDLE;
                if !stays {
                    topics.shared.give_back(&topics.shared.groups, 1);
                }
                stays
            });
        }
        self.0.retain(|_, groups| !groups.is_empty());
    }
}

impl Progress {
    fn tick(&mut self, topics: &Topics, labels: [&Arc<str>; 3], now: u64) {
        if let Some(sum) = &self.sum {
            let offsets = self.commits.values().filter_map(|c| c.offset.get());
            sum.set(offsets.sum());
        }
        let [vcluster, _, topic] = labels;
        let topic = topics.known(vcluster, topic);
        let lags = self.commits.iter().filter_map(|(partition, commit)| {
            let topic = topic.as_ref()?;
            topic.lag(*partition, commit.offset.get()?, now)
        });
        // The greatest lag, and the greatest age unless one of those that lag is not known.
        let most = lags.reduce(|(lag, age), (other, of_other)| {
            let age = age.zip(of_other).map(|(age, other)| age.max(other));
            (lag.max(other), age)
        });
        let values = labels.map(|label| &**label);
        let catalogue = &topics.catalogue;
        match most {
            Some((lag, _)) => {
                let shown = self.lag.get_or_insert_with(|| {
                    let shown = Offset::default();
                    catalogue.lag.attach(labels.map(Arc::clone), &shown);
                    shown
                });
                shown.set(lag);
            }
            None => {
                if self.lag.take().is_some() {
                    catalogue.lag.remove(values);
                }
            }
        }
        match most.and_then(|(_, age)| age) {
            Some(age) => {
                let shown = self.age.get_or_insert_with(|| {
                    let shown = Gauge::default();
                    let family = &catalogue.lag_seconds;
                    family.attach(labels.map(Arc::clone), &shown);
                    shown
                });
                shown.set(age as f64 / 1000.0);
            }
            None => {
                if self.age.take().is_some() {
                    catalogue.lag_seconds.remove(values);
                }
            }
        }
    }
}
