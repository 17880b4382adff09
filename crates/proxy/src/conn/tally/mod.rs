//! Bytes by topic, ends of logs and offsets of groups, read along from what a connection sends and gets.
//!
//! Names and offsets are those that the client uses: requests are read as they come from it, answers as they go to it. A topic gets series
//! only after an answer about it that is no error of the topic, whatever clients ask for. Where messages have ids of topics, the names are looked up
//! beside the path: what is told about an id waits for its name, and nothing else does.

mod asked;
mod told;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::rc::Rc;
use std::sync::Arc;

use config::SecurityMode;
use telemetry::metrics::{Topic, Topics};
use tenancy::PASSTHROUGH;
use wire::api::ApiKey;
use wire::header::response_header_version;
use wire::tap::Tap;

pub(crate) use asked::Asked;
use asked::Key;
use told::{Hearing, Reading};

use super::requests::PREFIX;
use crate::topics::{Known, Questions};
use crate::worker::Shared;

/// What requests in flight of one connection hold together, in partitions; of a request beyond nothing is told.
const MAX_HELD: usize = 50_000;

/// What is kept for the next requests.
const MAX_SPARE: usize = 8;
const MAX_SPARE_SIZE: usize = 64;

/// Topics that a connection remembers.
const MAX_TOPICS: usize = 10_000;

/// Ids whose names are not known yet, and what waits for each of them.
const MAX_WAITING: usize = 1000;
const MAX_FACTS: usize = 1000;

/// The facts of a request whose answer is owed.
pub(crate) type Owed = Rc<RefCell<Asked>>;

/// What one connection counts.
pub(crate) struct Tally {
    topics: Arc<Topics>,
    shared: Arc<Shared>,
    vcluster: Arc<str>,
    names: RefCell<Met<Box<[u8]>>>,
    ids: RefCell<Met<[u8; 16]>>,
    waiting: RefCell<HashMap<[u8; 16], Waiting>>,
    is_looking: Cell<bool>,
    /// What it may ask Kafka about topic ids.
    questions: Questions,
    spare: RefCell<Vec<Owed>>,
    held: Cell<usize>,
}

/// Topics that a connection has met, by what its messages call them.
#[derive(Default)]
struct Met<K> {
    topics: HashMap<K, Arc<Topic>>,
    /// Those that have been forgotten elsewhere are dropped when there are so many: topics may come and go for as long as
    /// the connection lasts.
    tidy_at: usize,
}

/// Something about a topic.
enum Fact {
    Produced(u64),
    Fetched(u64),
    End(i32, i64),
    Committed(Box<str>, i32, i64),
}

/// What is known about a topic whose name is not.
#[derive(Default)]
struct Waiting {
    produced: u64,
    fetched: u64,
    ends: BTreeMap<i32, i64>,
    commits: BTreeMap<(Box<str>, i32), i64>,
}

impl Tally {
    /// `None`: there is nothing to count.
    pub(super) fn new(shared: &Arc<Shared>, vcluster: &Arc<str>) -> Option<Rc<Tally>> {
        let topics = shared.access.metrics.topics();
        let settings = topics.settings();
        (settings.bytes || settings.offsets).then(|| {
            Rc::new(Tally {
                topics: Arc::clone(topics),
                shared: Arc::clone(shared),
                vcluster: Arc::clone(vcluster),
                names: RefCell::default(),
                ids: RefCell::default(),
                waiting: RefCell::default(),
                is_looking: Cell::new(false),
                questions: Questions::default(),
                spare: RefCell::default(),
                held: Cell::new(0),
            })
        })
    }

    /// Reads a request along, the body being `len` bytes. `None`: there is nothing in it.
    pub(super) fn request(&self, api: ApiKey, version: i16, len: usize) -> Option<RequestTap> {
        if !self.concerns(api) || self.held.get() >= MAX_HELD {
            return None;
        }
        let plan = Asked::plan(api, version)?;
        let asked = self.spare.borrow_mut().pop().unwrap_or_default();
        Some(RequestTap {
            tap: Tap::new(plan, len as u64),
            asked,
            is_broken: false,
        })
    }

    /// Reads a whole request.
    pub(super) fn whole_request(&self, api: ApiKey, version: i16, body: &[u8]) -> Option<Owed> {
        let mut tap = self.request(api, version, body.len())?;
        tap.feed(body);
        self.requested(tap)
    }

    /// A request has been read to its end.
    pub(super) fn requested(&self, tap: RequestTap) -> Option<Owed> {
        let RequestTap {
            asked, is_broken, ..
        } = tap;
        if is_broken {
            return None; // the broker will say so
        }
        self.held.set(self.held.get() + asked.borrow().size());
        Some(asked)
    }

    /// There will be no answer, as none was asked for: bytes count if the topic is known already.
    pub(super) fn unanswered(&self, asked: Owed) {
        for (key, parts) in asked.borrow().parts() {
            let topic = match key {
                Key::Id(id) => self.by_id(id).and_then(|topic| self.known(topic.name())),
                Key::Name(name) => std::str::from_utf8(name)
                    .ok()
                    .and_then(|name| self.known(name)),
            };
            if let Some(topic) = topic {
                topic
                    .upstream
                    .add(parts.iter().map(|part| part.bytes).sum());
            }
        }
        self.done(asked);
    }

    /// The facts of a request are not needed any more.
    pub(super) fn done(&self, asked: Owed) {
        let size = asked.borrow().size();
        self.held.set(self.held.get().saturating_sub(size));
        let mut spare = self.spare.borrow_mut();
        if Rc::strong_count(&asked) == 1 && size <= MAX_SPARE_SIZE && spare.len() < MAX_SPARE {
            asked.borrow_mut().clear();
            spare.push(asked);
        }
    }

    /// Reads an answer along, the frame being `len` bytes with its prefix.
    pub(super) fn answer(
        self: &Rc<Self>,
        api: ApiKey,
        version: i16,
        len: usize,
        asked: Option<Owed>,
    ) -> Option<AnswerTap> {
        let plan = told::plan(api, version).filter(|_| self.concerns(api));
        let is_missing = asked.is_none() && Asked::plan(api, version).is_some();
        let Some(plan) = plan.filter(|_| !is_missing) else {
            if let Some(asked) = asked {
                self.done(asked);
            }
            return None;
        };
        // No broker sends tagged fields in the header: then they are one byte.
        let header = PREFIX + 4 + usize::from(response_header_version(api, version) >= 1);
        Some(AnswerTap {
            tally: Rc::clone(self),
            api,
            skip: header,
            tap: Tap::new(plan, len.saturating_sub(header) as u64),
            asked,
            reading: Reading::default(),
            is_broken: false,
        })
    }

    /// Reads a whole answer, prefix included.
    pub(super) fn whole_answer(
        self: &Rc<Self>,
        api: ApiKey,
        version: i16,
        frame: &[u8],
        asked: Option<Owed>,
    ) {
        if let Some(mut tap) = self.answer(api, version, frame.len(), asked) {
            tap.feed(frame);
        }
    }

    fn concerns(&self, api: ApiKey) -> bool {
        let has_bytes = matches!(
            api,
            ApiKey::PRODUCE | ApiKey::FETCH | ApiKey::SHARE_FETCH | ApiKey::DELETE_TOPICS
        );
        has_bytes || self.topics.settings().offsets
    }

    /// A topic that an answer has confirmed.
    fn by_name(&self, name: &[u8]) -> Option<Arc<Topic>> {
        if let Some(known) = self.names.borrow().get(name, &self.topics) {
            return Some(known);
        }
        let text = std::str::from_utf8(name).ok().filter(|t| !t.is_empty())?;
        let topic = self.topics.topic(&self.vcluster, text);
        let mut names = self.names.borrow_mut();
        names.insert(name.into(), &topic, &self.topics);
        Some(topic)
    }

    /// The same by id; `None`: its name is not known, or not yet.
    fn by_id(&self, id: [u8; 16]) -> Option<Arc<Topic>> {
        if let Some(known) = self.ids.borrow().get(&id, &self.topics) {
            return Some(known);
        }
        let name = self.name_of(&id, &self.shared.topics.at_hand())?;
        let topic = self.by_name(name.as_bytes())?;
        let mut ids = self.ids.borrow_mut();
        ids.insert(id, &topic, &self.topics);
        Some(topic)
    }

    /// What the client calls the topic of an id.
    fn name_of(&self, id: &[u8; 16], known: &Known) -> Option<Arc<str>> {
        let security = &self.shared.access;
        if security.mode == SecurityMode::GatewayManaged {
            let tenants = security.tenants.load();
            match tenants.get(&self.vcluster) {
                Some(tenant) => return tenant.topic_of_id(id, known),
                None if *self.vcluster != *PASSTHROUGH => return None,
                None => {}
            }
        }
        tenancy::Topics::name(known, id)
    }

    fn known(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.used(&self.vcluster, name)
    }

    fn apply(&self, topic: &Topic, fact: Fact) {
        match fact {
            Fact::Produced(bytes) => topic.upstream.add(bytes),
            Fact::Fetched(bytes) => topic.downstream.add(bytes),
            Fact::End(partition, offset) => topic.end(partition, offset),
            Fact::Committed(group, partition, offset) => {
                let topic = topic.name();
                self.topics
                    .committed(&self.vcluster, &group, topic, partition, offset);
            }
        }
    }

    /// Keeps a fact until the name is known.
    fn wait_for(self: &Rc<Self>, id: [u8; 16], fact: Fact) {
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= MAX_WAITING && !waiting.contains_key(&id) {
            return;
        }
        let of_topic = waiting.entry(id).or_default();
        match fact {
            Fact::Produced(bytes) => of_topic.produced += bytes,
            Fact::Fetched(bytes) => of_topic.fetched += bytes,
            Fact::End(partition, offset) if of_topic.ends.len() < MAX_FACTS => {
                let end = of_topic.ends.entry(partition).or_default();
                *end = offset.max(*end);
            }
            Fact::Committed(group, partition, offset) if of_topic.commits.len() < MAX_FACTS => {
                of_topic.commits.insert((group, partition), offset);
            }
            Fact::End(..) | Fact::Committed(..) => {} // the poll will tell
        }
        if !self.is_looking.replace(true) {
            tokio::task::spawn_local(Rc::clone(self).look_up());
        }
    }

    /// Asks for the names that are waited for.
    async fn look_up(self: Rc<Self>) {
        loop {
            let ids: Vec<_> = self.waiting.borrow().keys().copied().collect();
            if ids.is_empty() {
                break;
            }
            let known = self.shared.topics.names(&ids, &self.questions).await.ok();
            for id in ids {
                let Some(waiting) = self.waiting.borrow_mut().remove(&id) else {
                    continue;
                };
                let name = known.as_ref().and_then(|known| self.name_of(&id, known));
                // Deleted meanwhile, or nobody can be asked.
                let Some(topic) = name.and_then(|name| self.by_name(name.as_bytes())) else {
                    continue;
                };
                let facts = [
                    Fact::Produced(waiting.produced),
                    Fact::Fetched(waiting.fetched),
                ];
                let ends = waiting.ends.into_iter();
                let ends = ends.map(|(partition, end)| Fact::End(partition, end));
                let commits = waiting.commits.into_iter();
                let commits =
                    commits.map(|((group, partition), to)| Fact::Committed(group, partition, to));
                for fact in facts.into_iter().chain(ends).chain(commits) {
                    self.apply(&topic, fact);
                }
            }
        }
        self.is_looking.set(false);
    }

    fn group_known(&self, group: &str) {
        self.topics.group_known(&self.vcluster, group);
    }

    fn commit_deleted(&self, group: &str, topic: &str, partition: i32) {
        self.topics
            .commit_deleted(&self.vcluster, group, topic, partition);
    }

    fn topic_deleted(&self, topic: &str) {
        self.topics.topic_deleted(&self.vcluster, topic);
    }

    fn group_deleted(&self, group: &str) {
        self.topics.group_deleted(&self.vcluster, group);
    }
}

impl<K: Eq + Hash> Met<K> {
    fn get<Q: Eq + Hash + ?Sized>(&self, key: &Q, all: &Topics) -> Option<Arc<Topic>>
    where
        K: std::borrow::Borrow<Q>,
    {
        let known = self.topics.get(key)?;
        (!all.is_stale(known)).then(|| Arc::clone(known))
    }

    fn insert(&mut self, key: K, topic: &Arc<Topic>, all: &Topics) {
        if self.topics.len() >= self.tidy_at {
            self.topics.retain(|_, topic| !all.is_stale(topic));
            if self.topics.len() >= MAX_TOPICS {
                self.topics.clear();
            }
            self.tidy_at = (2 * self.topics.len()).clamp(64, MAX_TOPICS);
        }
        self.topics.insert(key, Arc::clone(topic));
    }
}

/// A request on its way.
pub(crate) struct RequestTap {
    tap: Tap<'static>,
    asked: Owed,
    is_broken: bool,
}

impl RequestTap {
    /// The next bytes of the body.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if !self.is_broken {
            let mut asked = self.asked.borrow_mut();
            if self.tap.feed(bytes, &mut *asked).is_err() {
                asked.give_up();
                self.is_broken = true;
            }
        }
    }

    /// The facts, which grow while the body comes.
    pub(super) fn asked(&self) -> Owed {
        Rc::clone(&self.asked)
    }
}

/// An answer on its way.
pub(crate) struct AnswerTap {
    tally: Rc<Tally>,
    api: ApiKey,
    /// Bytes before the body.
    skip: usize,
    tap: Tap<'static>,
    asked: Option<Owed>,
    reading: Reading,
    is_broken: bool,
}

impl AnswerTap {
    /// The next bytes of the frame.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        let body = bytes.get(skipped..).unwrap_or_default();
        if self.is_broken || body.is_empty() {
            return;
        }
        let mut asked = self.asked.as_ref().map(|asked| asked.borrow_mut());
        let mut hearing = Hearing {
            tally: &self.tally,
            api: self.api,
            asked: asked.as_deref_mut(),
            reading: &mut self.reading,
        };
        self.is_broken = self.tap.feed(body, &mut hearing).is_err();
    }
}

impl Drop for AnswerTap {
    fn drop(&mut self) {
        if let Some(asked) = self.asked.take() {
            self.tally.done(asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use telemetry::metrics::{Metrics, MetricsSettings};

    use super::*;

    #[test]
    fn topics_that_are_gone_are_dropped() {
        let metrics = Metrics::new(&MetricsSettings::default());
        let all = metrics.topics();
        let mut met = Met::<Box<[u8]>>::default();
        let stays = all.topic("v", "stays");
        met.insert((*b"stays").into(), &stays, all);
        for n in 0..5000 {
            let name = format!("goes-{n}");
            let topic = all.topic("v", &name);
            met.insert(name.as_bytes().into(), &topic, all);
            assert!(met.get(name.as_bytes(), all).is_some());
            all.topic_deleted("v", &name);
            assert!(met.get(name.as_bytes(), all).is_none());
            assert!(met.topics.len() <= 64, "{}", met.topics.len());
        }
        assert!(Arc::ptr_eq(&met.get(&b"stays"[..], all).unwrap(), &stays));
    }

    #[test]
    fn a_connection_remembers_a_bounded_number_of_topics() {
        let metrics = Metrics::new(&MetricsSettings::default());
        let all = metrics.topics();
        let topic = all.topic("v", "t");
        let mut met = Met::<[u8; 16]>::default();
        for n in 0..3 * MAX_TOPICS as u128 {
            met.insert(n.to_be_bytes(), &topic, all);
            assert!(met.topics.len() <= MAX_TOPICS);
            assert!(met.get(&n.to_be_bytes(), all).is_some());
        }
    }
}
