//! Names of topics by their ids (KIP-516) and the list of all: what access control and virtual clusters need to know of the topics of Kafka.

use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use authorization::TopicNames;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::StrBytes;
use state::{Node, TransportError, ask};
use tenancy::{AliasIds, Tenant};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::sleep_until;
use uuid::Uuid;

use crate::allowance::Allowance;
use crate::upstream::client::Client;

/// The first version of Metadata that can be asked by id, and the highest that the typed codec knows.
const METADATA: (i16, i16) = (12, 12);

/// Names that are known at once. Topics are created and deleted; an id is never used twice. Beyond this many half of them are forgotten.
const MAX_KNOWN: usize = 200_000;

/// Names that are known besides the large picture, which is not copied for each of them.
const MAX_RECENT: usize = 512;

/// An id that nobody knew is not asked for again within this time, or twice it.
const UNKNOWN_FOR: Duration = Duration::from_millis(100);

/// Unknown ids that are remembered as such within that time.
const MAX_UNKNOWN: usize = 4096;

/// Ids in one question. What unknown ids cost Kafka grows with the square of their number. Who needs more waits for the list of all topics,
/// which costs the same whatever was asked for.
const MAX_ASKED: usize = 16;

/// Questions about ids at the same time, and in a second. Who has none left waits for the list of all topics, too.
const MAX_QUESTIONS: usize = 8;
const QUESTIONS_PER_SECOND: u32 = 100;

/// The same of one connection: at once, and in a second.
const OWN_QUESTIONS: (u32, u32) = (16, 4);

/// From one list that was asked for because of ids to the next pass this time, ten times as long as it took, and no more than that.
const LISTING_PACE: (Duration, u32, Duration) =
    (Duration::from_millis(100), 10, Duration::from_secs(5));

/// How old the ids of the targets of aliases may be: a topic that is created anew has another one.
const TARGETS_FOR: Duration = Duration::from_secs(2);

/// How old a list of all topics may be where a bit of delay does no harm.
const LISTING_FOR: Duration = Duration::from_secs(1);

type Ids = HashMap<Arc<str>, (Option<[u8; 16]>, Instant)>;

/// Names of topics by id.
#[derive(Default)]
struct Names {
    all: Arc<HashMap<[u8; 16], Arc<str>>>,
    /// Those that were learned since.
    recent: HashMap<[u8; 16], Arc<str>>,
}

/// All topics of one moment.
#[derive(Clone)]
pub(crate) struct Listing {
    /// When it was asked for.
    asked: Instant,
    /// The same for the same names.
    pub(crate) fingerprint: u64,
    /// With the numbers of their partitions.
    pub(crate) topics: Arc<Vec<(Arc<str>, usize)>>,
}

/// Names of topics by id, asked of the cluster when needed.
pub(crate) struct Topics {
    client: Client,
    known: ArcSwap<Names>,
    unknown: std::sync::Mutex<Unknown>,
    /// Bounds the questions about ids that are under way, and how many there are, so that those who make them up do not keep the cluster busy.
    questions: Semaphore,
    allowance: Allowance,
    /// Ids of the targets of aliases, and when they were asked for.
    targets: ArcSwap<Ids>,
    asking: Mutex<()>,
    /// Held while the cluster is asked.
    listing: Mutex<Option<Listing>>,
    /// Held by who waits for the next list because of ids.
    turn: Mutex<Turn>,
    hashes: RandomState,
}

/// How many questions of its own about topic ids a connection may ask.
pub(crate) struct Questions(Allowance);

impl Default for Questions {
    fn default() -> Self {
        let (burst, per_second) = OWN_QUESTIONS;
        Questions(Allowance::new(burst, per_second))
    }
}

/// Ids that the cluster did not know a moment ago.
#[derive(Default)]
struct Unknown {
    since: Option<Instant>,
    young: HashSet<[u8; 16]>,
    old: HashSet<[u8; 16]>,
}

/// The lists that were asked for because of ids.
#[derive(Default)]
struct Turn {
    /// When the last one was asked for, and what became of it.
    last: Option<(Instant, Result<(), TransportError>)>,
    /// How long the last took that was waited for to its end.
    took: Duration,
    /// When the next may be asked for.
    next: Option<Instant>,
}

/// What is known at one moment.
#[derive(Clone)]
pub(crate) struct Known {
    names: Arc<Names>,
    targets: Arc<Ids>,
    all: Option<Listing>,
    /// What stands for the name of any other topic.
    others: Option<Arc<str>>,
}

impl Topics {
    pub(crate) fn new(client: Client) -> Topics {
        Topics {
            client,
            known: ArcSwap::default(),
            unknown: std::sync::Mutex::default(),
            questions: Semaphore::new(MAX_QUESTIONS),
            allowance: Allowance::new(QUESTIONS_PER_SECOND, QUESTIONS_PER_SECOND),
            targets: ArcSwap::default(),
            asking: Mutex::default(),
            listing: Mutex::default(),
            turn: Mutex::default(),
            hashes: RandomState::new(),
        }
    }

    /// What is known without asking.
    pub(crate) fn at_hand(&self) -> Known {
        self.known(None)
    }

    /// The names of `ids`, as far as the cluster knows them. Whatever the ids are, the cluster is asked a few and small questions: the
    /// connection's own, and one for all who have none left.
    pub(crate) async fn names(
        &self,
        ids: &[[u8; 16]],
        own: &Questions,
    ) -> Result<Known, TransportError> {
        let now = Instant::now();
        let wanted = self.unmet(ids, now);
        if wanted.is_empty() {
            return Ok(self.at_hand());
        }
        let question = match wanted.len() <= MAX_ASKED && own.0.take(now) {
            true => self.questions.try_acquire().ok(),
            false => None,
        };
        match question.filter(|_| self.allowance.take(now)) {
            Some(_question) => self.ask_few(&wanted).await?,
            None => self.list_in_turn(now).await?,
        }
        Ok(self.at_hand())
    }

    /// Those of `ids` that are worth a question.
    fn unmet(&self, ids: &[[u8; 16]], now: Instant) -> Vec<[u8; 16]> {
        let known = self.known.load();
        let unmet = ids.iter().filter(|id| known.get(id).is_none()).copied();
        let mut unmet: Vec<_> = unmet.collect();
        if !unmet.is_empty() {
            let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
            unknown.age(now);
            unmet.retain(|id| !unknown.has(id));
        }
        unmet
    }

    async fn ask_few(&self, wanted: &[[u8; 16]]) -> Result<(), TransportError> {
        let topic = |id: &[u8; 16]| {
            let topic = MetadataRequestTopic::default().with_name(None);
            topic.with_topic_id(Uuid::from_bytes(*id))
        };
        let answer = self.ask(Some(wanted.iter().map(topic).collect())).await?;
        self.learn(&answer);
        let known = self.known.load();
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        let missing = wanted.iter().filter(|id| known.get(id).is_none());
        missing.for_each(|id| unknown.add(*id));
        Ok(())
    }

    /// Learns the ids of all topics of `since` or later, with one question for all who wait for it.
    async fn list_in_turn(&self, since: Instant) -> Result<(), TransportError> {
        let mut turn = self.turn.lock().await;
        if let Some((asked, outcome)) = &turn.last
            && *asked >= since
        {
            return outcome.clone();
        }
        if let Some(next) = turn.next {
            sleep_until(next.into()).await;
        }
        let pacing = Pacing {
            begun: Instant::now(),
            turn: &mut turn,
        };
        let listed = self.listed(pacing.begun).await;
        pacing.turn.took = pacing.begun.elapsed();
        let outcome = listed.map(drop);
        pacing.turn.last = Some((pacing.begun, outcome.clone()));
        outcome
    }

    /// Asks for the ids of topics by their names, if they are not known well enough.
    pub(crate) async fn look_up(&self, names: &[&str]) -> Result<(), TransportError> {
        let missing = || -> Vec<Arc<str>> {
            let targets = self.targets.load();
            let is_old = |name: &&&str| {
                targets
                    .get(**name)
                    .is_none_or(|(_, since)| since.elapsed() > TARGETS_FOR)
            };
            names
                .iter()
                .filter(is_old)
                .map(|name| Arc::from(*name))
                .collect()
        };
        if missing().is_empty() {
            return Ok(());
        }
        let _asking = self.asking.lock().await;
        let missing = missing(); // somebody else may have asked meanwhile
        if missing.is_empty() {
            return Ok(());
        }
        let topic = |name: &Arc<str>| {
            let name = StrBytes::from_string(name.to_string());
            MetadataRequestTopic::default().with_name(Some(name.into()))
        };
        let answer = self.ask(Some(missing.iter().map(topic).collect())).await;
        let mut targets = match self.targets.load_full() {
            all if all.len() > MAX_KNOWN => Ids::new(),
            all => Ids::clone(&all),
        };
        let now = Instant::now();
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // Those who wait need not ask again one after the other: what was known is used for a while longer.
                let known = |name| {
                    let id = targets.get(&name).and_then(|(id, _)| *id);
                    (name, (id, now))
                };
                let old: Vec<_> = missing.into_iter().map(known).collect();
                targets.extend(old);
                self.targets.store(Arc::new(targets));
                return Err(error);
            }
        };
        self.learn(&answer);
        targets.extend(missing.into_iter().map(|name| (name, (None, now))));
        for topic in &answer.topics {
            if let Some(name) = &topic.name
                && !topic.topic_id.is_nil()
            {
                targets.insert(
                    Arc::from(name.as_str()),
                    (Some(topic.topic_id.into_bytes()), now),
                );
            }
        }
        self.targets.store(Arc::new(targets));
        Ok(())
    }

    /// The ids of these topics. All other ids are given a name that is none: for who only has to tell these topics from others.
    pub(crate) async fn told_apart(
        &self,
        names: &HashSet<String>,
    ) -> Result<Known, TransportError> {
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        let looked_up = self.look_up(&wanted).await;
        let targets = self.targets.load_full();
        let id = |name: &&str| Some((targets.get(*name)?.0?, Arc::from(*name)));
        let names: HashMap<_, _> = wanted.iter().filter_map(id).collect();
        // Ids stay what they were while Kafka is away; but without any nothing could be told apart.
        match looked_up {
            Err(error) if names.is_empty() => Err(error),
            _ => Ok(Known {
                names: Arc::new(Names {
                    all: Arc::new(names),
                    recent: HashMap::new(),
                }),
                targets,
                all: None,
                others: Some(Arc::from("")),
            }),
        }
    }

    /// The topics of not long ago.
    pub(crate) async fn listing(&self) -> Result<Listing, TransportError> {
        let since = Instant::now().checked_sub(LISTING_FOR);
        self.listed(since.unwrap_or_else(Instant::now)).await
    }

    /// The topics of `since` or later. Those who wait for an answer share it if it was asked for after they came.
    async fn listed(&self, since: Instant) -> Result<Listing, TransportError> {
        let mut listing = self.listing.lock().await;
        if let Some(listing) = listing.as_ref().filter(|listing| listing.asked >= since) {
            return Ok(listing.clone());
        }
        let asked = Instant::now();
        let answer = self.ask(None).await?;
        self.learn_all(&answer);
        let all = answer
            .topics
            .iter()
            .filter_map(|topic| Some((topic.name.as_ref()?, topic.partitions.len())))
            .map(|(name, partitions)| (Arc::from(name.as_str()), partitions));
        let all: Vec<(Arc<str>, usize)> = all.collect();
        // Brokers list topics in any order.
        let hashes = all.iter().map(|(name, _)| self.hashes.hash_one(name));
        let now = Listing {
            asked,
            fingerprint: hashes.fold(0, u64::wrapping_add),
            topics: Arc::new(all),
        };
        *listing = Some(now.clone());
        Ok(now)
    }

    fn known(&self, all: Option<Listing>) -> Known {
        Known {
            names: self.known.load_full(),
            targets: self.targets.load_full(),
            all,
            others: None,
        }
    }

    /// The names of all topics of now, and of their ids.
    pub(crate) async fn all(&self) -> Result<Known, TransportError> {
        let all = self.listed(Instant::now()).await?;
        Ok(self.known(Some(all)))
    }

    async fn ask(
        &self,
        topics: Option<Vec<MetadataRequestTopic>>,
    ) -> Result<MetadataResponse, TransportError> {
        let request = MetadataRequest::default()
            .with_topics(topics)
            .with_allow_auto_topic_creation(false);
        ask(&self.client, Node::Bootstrap, METADATA, |_| request).await
    }

    fn learn(&self, answer: &MetadataResponse) {
        let known = self.known.load();
        let found = named(answer).filter(|(id, _)| known.get(id).is_none());
        let found: Vec<_> = found.collect();
        if !found.is_empty() {
            self.known.rcu(|known| known.with(&found));
        }
    }

    /// Learns from a list of all topics.
    fn learn_all(&self, answer: &MetadataResponse) {
        let known = self.known.load();
        if named(answer).any(|(id, _)| !known.all.contains_key(&id)) {
            let found: HashMap<_, _> = named(answer).collect();
            self.known.rcu(|known| known.with_all(&found));
        }
    }
}

/// Ids and names in an answer.
fn named(answer: &MetadataResponse) -> impl Iterator<Item = ([u8; 16], Arc<str>)> {
    answer.topics.iter().filter_map(|topic| {
        let name = topic.name.as_ref().filter(|name| !name.is_empty())?;
        (!topic.topic_id.is_nil()).then(|| (topic.topic_id.into_bytes(), Arc::from(name.as_str())))
    })
}

impl Names {
    fn get(&self, id: &[u8; 16]) -> Option<&Arc<str>> {
        self.recent.get(id).or_else(|| self.all.get(id))
    }

    /// With a few more.
    fn with(&self, found: &[([u8; 16], Arc<str>)]) -> Names {
        let mut recent = self.recent.clone();
        recent.extend(found.iter().cloned());
        if recent.len() <= MAX_RECENT {
            let all = Arc::clone(&self.all);
            return Names { all, recent };
        }
        let mut all = HashMap::clone(&self.all);
        if all.len() + recent.len() > MAX_KNOWN {
            let mut keeps = false;
            all.retain(|_, _| {
                keeps = !keeps;
                keeps
            });
        }
        all.extend(recent);
        Names {
            all: Arc::new(all),
            recent: HashMap::new(),
        }
    }

    /// With those of a list of all topics. What is not in it is kept for those who use what was deleted, or is so new that not every broker
    /// has heard of it, as long as it is not the most.
    fn with_all(&self, found: &HashMap<[u8; 16], Arc<str>>) -> Names {
        const SPARE: usize = 1000;
        let mut all = found.clone();
        if self.all.len() <= 2 * found.len() + SPARE {
            for (id, name) in self.all.iter() {
                all.entry(*id).or_insert_with(|| Arc::clone(name));
            }
        }
        Names {
            all: Arc::new(all),
            recent: self.recent.clone(),
        }
    }
}

impl Unknown {
    fn has(&self, id: &[u8; 16]) -> bool {
        self.young.contains(id) || self.old.contains(id)
    }

    fn add(&mut self, id: [u8; 16]) {
        if self.young.len() >= MAX_UNKNOWN {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id);
    }

    /// Forgets what is too old.
    fn age(&mut self, now: Instant) {
        let since = *self.since.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        if age >= UNKNOWN_FOR {
            self.old = std::mem::take(&mut self.young);
            self.since = Some(now);
        }
        if age >= 2 * UNKNOWN_FOR {
            self.old.clear();
        }
    }
}

/// A list that is being asked for because of ids. Those who do not wait for its end have to keep the pace, too.
struct Pacing<'t> {
    begun: Instant,
    turn: &'t mut Turn,
}

impl Drop for Pacing<'_> {
    fn drop(&mut self) {
        let (least, times, most) = LISTING_PACE;
        let took = self.begun.elapsed().max(self.turn.took);
        let pause = took.saturating_mul(times).clamp(least, most);
        self.turn.next = Some(self.begun + pause);
    }
}

impl Known {
    /// For requests without topic ids.
    pub(crate) fn nothing() -> Known {
        Known {
            names: Arc::default(),
            targets: Arc::default(),
            all: None,
            others: None,
        }
    }
}

impl tenancy::Topics for Known {
    fn name(&self, id: &[u8; 16]) -> Option<Arc<str>> {
        self.names.get(id).cloned()
    }

    fn id(&self, name: &str) -> Option<[u8; 16]> {
        self.targets.get(name).and_then(|(id, _)| *id)
    }

    fn all(&self) -> Option<&[(Arc<str>, usize)]> {
        self.all.as_ref().map(|all| all.topics.as_slice())
    }
}

/// What is known at one moment, by the names that a client knows.
pub(crate) struct Seen<'k> {
    known: &'k Known,
    /// `None`: the names of Kafka.
    tenant: Option<&'k Tenant>,
    aliases: OnceCell<AliasIds>,
}

impl<'k> Seen<'k> {
    pub(crate) fn of(known: &'k Known, tenant: Option<&'k Tenant>) -> Seen<'k> {
        Seen {
            known,
            tenant,
            aliases: OnceCell::new(),
        }
    }
}

impl TopicNames for Seen<'_> {
    fn name(&self, id: &[u8; 16]) -> Option<Arc<str>> {
        let name = self.known.names.get(id).or(self.known.others.as_ref());
        match self.tenant {
            None => name.cloned(),
            Some(tenant) => tenant.topic_of_id_with(id, self.known, &self.aliases),
        }
    }

    fn all(&self) -> Option<Vec<Arc<str>>> {
        let all = self.known.all.as_ref()?.topics.iter().map(|(name, _)| name);
        Some(match self.tenant {
            None => all.cloned().collect(),
            Some(tenant) => all
                .flat_map(|name| tenant.logical_topics(name).map(Arc::from))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> [u8; 16] {
        (number as u128).to_be_bytes()
    }

    fn names(numbers: std::ops::Range<usize>) -> Vec<([u8; 16], Arc<str>)> {
        let name = |number: usize| (id(number), Arc::from(number.to_string()));
        numbers.map(name).collect()
    }

    #[test]
    fn a_few_names_do_not_copy_all() {
        let mut known = Names::default().with_all(&names(0..5000).into_iter().collect());
        let all = Arc::clone(&known.all);
        for number in 5000..5000 + MAX_RECENT {
            known = known.with(&names(number..number + 1));
            assert!(Arc::ptr_eq(&all, &known.all));
        }
        known = known.with(&names(9000..9001));
        assert!(known.recent.is_empty(), "now it was worth it");
        for number in [0, 4999, 5000, 5000 + MAX_RECENT - 1, 9000] {
            let name = known.get(&id(number)).map(|name| &**name);
            assert_eq!(name, Some(&*number.to_string()));
        }
        assert!(known.get(&id(9001)).is_none());
    }

    #[test]
    fn names_are_bounded_and_not_all_forgotten_at_once() {
        let mut known = Names::default();
        for first in (0..2 * MAX_KNOWN).step_by(20_000) {
            known = known.with(&names(first..first + 20_000));
            assert!(known.all.len() <= MAX_KNOWN, "{}", known.all.len());
            assert!(known.all.len() >= (first / 2).min(MAX_KNOWN / 2));
        }
        // What was deleted goes when it is the most.
        let now: HashMap<_, _> = names(0..1000).into_iter().collect();
        assert_eq!(known.with_all(&now).all.len(), 1000);
        let some = Names::default().with_all(&names(500..2500).into_iter().collect());
        assert_eq!(some.with_all(&now).all.len(), 2500);
    }

    #[test]
    fn unknown_ids_are_bounded_and_soon_asked_for_again() {
        let mut unknown = Unknown::default();
        let start = Instant::now();
        unknown.age(start);
        for number in 0..10 * MAX_UNKNOWN {
            unknown.add(id(number));
            assert!(unknown.has(&id(number)));
            assert!(unknown.young.len() + unknown.old.len() <= 2 * MAX_UNKNOWN);
        }
        let last = id(10 * MAX_UNKNOWN - 1);
        unknown.age(start + UNKNOWN_FOR);
        assert!(unknown.has(&last));
        unknown.age(start + 2 * UNKNOWN_FOR);
        assert!(!unknown.has(&last));
        unknown.add(last);
        unknown.age(start + 9 * UNKNOWN_FOR);
        assert!(!unknown.has(&last));
    }
}
