//! Names of topics by their ids (KIP-516) and the list of all: what access control and virtual clusters need to know of the topics of Kafka.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use authorization::TopicNames;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::StrBytes;
use state::{Node, TransportError, ask};
use tenancy::Tenant;
use tokio::sync::{Mutex, Semaphore};
use uuid::Uuid;

use crate::upstream::client::Client;

/// The first version of Metadata that can be asked by id, and the highest that the typed codec knows.
const METADATA: (i16, i16) = (12, 12);

/// Topics are created and deleted; an id is never used twice. Beyond this many names everything is asked anew.
const MAX_KNOWN: usize = 200_000;

/// An id that nobody knew is not asked for again within this time.
const UNKNOWN_FOR: Duration = Duration::from_millis(250);

/// Ids that are looked at in one request; those beyond are unknown.
const MAX_ASKED: usize = 10_000;

/// Questions about ids at the same time.
const MAX_QUESTIONS: usize = 8;

/// Unknown ids that are remembered as such.
const MAX_UNKNOWN: usize = 10_000;

/// How old the ids of the targets of aliases may be: a topic that is created anew has another one.
const TARGETS_FOR: Duration = Duration::from_secs(2);

/// How old a list of all topics may be where a bit of delay does no harm.
const LISTING_FOR: Duration = Duration::from_secs(1);

type Names = HashMap<[u8; 16], Arc<str>>;
type Ids = HashMap<Arc<str>, (Option<[u8; 16]>, Instant)>;

/// All topics, with their partitions.
pub(crate) type Listing = Arc<Vec<(Arc<str>, usize)>>;

/// Names of topics by id, asked of the cluster when needed.
pub(crate) struct Topics {
    client: Client,
    known: ArcSwap<Names>,
    /// Ids that the cluster did not know, and when.
    unknown: std::sync::Mutex<HashMap<[u8; 16], Instant>>,
    /// Bounds the questions about ids that are under way, so that those who make them up do not keep the cluster busy.
    questions: Semaphore,
    /// Ids of the targets of aliases, and when they were asked for.
    targets: ArcSwap<Ids>,
    asking: Mutex<()>,
    /// Held while the cluster is asked; since when it holds.
    listing: Mutex<Option<(Instant, Listing)>>,
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
            targets: ArcSwap::default(),
            asking: Mutex::default(),
            listing: Mutex::default(),
        }
    }

    /// What is known without asking.
    pub(crate) fn at_hand(&self) -> Known {
        self.known(self.known.load_full(), None)
    }

    /// The names of `ids`, as far as the cluster knows them.
    pub(crate) async fn names(&self, ids: &[[u8; 16]]) -> Result<Known, TransportError> {
        let known = self.known.load_full();
        if ids.iter().all(|id| known.contains_key(id)) {
            return Ok(self.known(known, None));
        }
        let _question = self.questions.acquire().await;
        let known = self.known.load_full(); // somebody else may have asked meanwhile
        let wanted: Vec<[u8; 16]> = {
            let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
            unknown.retain(|_, since| since.elapsed() < UNKNOWN_FOR);
            let is_new = |id: &&[u8; 16]| !known.contains_key(*id) && !unknown.contains_key(*id);
            ids.iter().take(MAX_ASKED).filter(is_new).copied().collect()
        };
        let names = match wanted.is_empty() {
            true => known,
            false => {
                let topics = wanted
                    .iter()
                    .map(|id| {
                        MetadataRequestTopic::default()
                            .with_name(None)
                            .with_topic_id(Uuid::from_bytes(*id))
                    })
                    .collect();
                let answer = self.ask(Some(topics)).await?;
                let names = self.learn(&answer);
                let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
                if unknown.len() < MAX_UNKNOWN {
                    let missing = wanted.into_iter().filter(|id| !names.contains_key(id));
                    unknown.extend(missing.map(|id| (id, Instant::now())));
                }
                names
            }
        };
        Ok(self.known(names, None))
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
        let names: Names = wanted.iter().filter_map(id).collect();
        // Ids stay what they were while Kafka is away; but without any nothing could be told apart.
        match looked_up {
            Err(error) if names.is_empty() => Err(error),
            _ => Ok(Known {
                others: Some(Arc::from("")),
                ..self.known(Arc::new(names), None)
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
        if let Some((asked, listing)) = &*listing
            && *asked >= since
        {
            return Ok(listing.clone());
        }
        let asked = Instant::now();
        let answer = self.ask(None).await?;
        self.learn(&answer);
        let all = answer
            .topics
            .iter()
            .filter_map(|topic| Some((topic.name.as_ref()?, topic.partitions.len())))
            .map(|(name, partitions)| (Arc::from(name.as_str()), partitions))
            .collect();
        let all = Arc::new(all);
        *listing = Some((asked, Arc::clone(&all)));
        Ok(all)
    }

    fn known(&self, names: Arc<Names>, all: Option<Listing>) -> Known {
        Known {
            names,
            targets: self.targets.load_full(),
            all,
            others: None,
        }
    }

    /// The names of all topics of now, and of their ids.
    pub(crate) async fn all(&self) -> Result<Known, TransportError> {
        let all = self.listed(Instant::now()).await?;
        Ok(self.known(self.known.load_full(), Some(all)))
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

    fn learn(&self, answer: &MetadataResponse) -> Arc<Names> {
        let found = answer.topics.iter().filter_map(|topic| {
            let name = topic.name.as_ref().filter(|name| !name.is_empty())?;
            (!topic.topic_id.is_nil())
                .then(|| (topic.topic_id.into_bytes(), Arc::from(name.as_str())))
        });
        let found: Vec<([u8; 16], Arc<str>)> = found.collect();
        if found.is_empty() {
            return self.known.load_full();
        }
        self.known.rcu(|known| {
            let mut names = match known.len() + found.len() > MAX_KNOWN {
                true => Names::new(),
                false => Names::clone(known),
            };
            names.extend(found.iter().cloned());
            names
        });
        self.known.load_full()
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
        self.all.as_ref().map(|all| all.as_slice())
    }
}

/// What is known at one moment, by the names that a client knows.
pub(crate) struct Seen<'k> {
    known: &'k Known,
    /// `None`: the names of Kafka.
    tenant: Option<&'k Tenant>,
}

impl<'k> Seen<'k> {
    pub(crate) fn of(known: &'k Known, tenant: Option<&'k Tenant>) -> Seen<'k> {
        Seen { known, tenant }
    }
}

impl TopicNames for Seen<'_> {
    fn name(&self, id: &[u8; 16]) -> Option<Arc<str>> {
        let name = self.known.names.get(id).or(self.known.others.as_ref());
        match self.tenant {
            None => name.cloned(),
            Some(tenant) => tenant.topic_of_id(id, self.known),
        }
    }

    fn all(&self) -> Option<Vec<Arc<str>>> {
        let all = self.known.all.as_ref()?.iter().map(|(name, _)| name);
        Some(match self.tenant {
            None => all.cloned().collect(),
            Some(tenant) => all
                .flat_map(|name| tenant.logical_topics(name).map(Arc::from))
                .collect(),
        })
    }
}
