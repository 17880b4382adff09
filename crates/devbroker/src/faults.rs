//! Misbehaviour on command.
//!
//! A [`Rule`] says what goes wrong, where and how often; the other methods of [`Faults`] change the cluster itself: leaders, listeners,
//! brokers, advertised versions.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::cluster::Cluster;
use crate::sync::lock;

/// What goes wrong with a request that a [`Rule`] matches.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The request is carried out, its answer waits this long. Delays of several rules add up.
    Delay(Duration),
    /// The request is not carried out, and nothing more is ever sent on its connection, which stays open.
    NeverAnswer,
    /// The connection is closed before the request is carried out.
    Close,
    /// The request is carried out, but its connection is closed instead of an answer.
    CloseAfter,
    /// The request is not carried out; the answer carries this error code wherever it can carry one.
    Error(i16),
    /// The request is carried out; only the first so many bytes of the answer (the length prefix counts) are sent before the connection is closed.
    Truncate(usize),
    /// The request is carried out; the answer has the right length and correlation id, but every byte after them is 0xff.
    Garbage,
    /// The request is carried out; the answer's correlation id is one too high.
    WrongCorrelationId,
    /// The answer asks the client to wait this many milliseconds (`throttle_time_ms`).
    Throttle(i32),
}

/// A fault with where and how often it strikes.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    broker: Option<i32>,
    api: Option<i16>,
    skip: u32,
    times: Option<u32>,
}

/// Names an injected rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultId(u64);

/// Why the cluster could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum FaultError {
    /// There is no broker with this node id.
    #[error("no broker {0}")]
    NoBroker(i32),
    /// There is no such partition.
    #[error("no partition {1} of topic {0}")]
    NoPartition(String, i32),
    /// The broker could not listen.
    #[error("cannot listen: {0}")]
    Listen(#[from] io::Error),
}

/// The handle that makes brokers misbehave; clones act on the same cluster.
#[derive(Clone, Debug)]
pub struct Faults {
    cluster: Arc<Cluster>,
}

impl Rule {
    /// A rule for every request to every broker, for ever.
    pub fn new(fault: Fault) -> Self {
        Rule {
            fault,
            broker: None,
            api: None,
            skip: 0,
            times: None,
        }
    }

    /// Only on the broker with this node id.
    pub fn broker(mut self, node_id: i32) -> Self {
        self.broker = Some(node_id);
        self
    }

    /// Only for requests of this API key.
    pub fn api(mut self, key: i16) -> Self {
        self.api = Some(key);
        self
    }

    /// Lets the first `requests` that match pass.
    pub fn skip(mut self, requests: u32) -> Self {
        self.skip = requests;
        self
    }

    /// Strikes so many times only.
    pub fn times(mut self, requests: u32) -> Self {
        self.times = Some(requests);
        self
    }
}

impl Faults {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Faults { cluster }
    }

    /// Adds a rule; it holds from the next request on.
    pub fn inject(&self, rule: Rule) -> FaultId {
        self.cluster.rules.inject(rule)
    }

    /// Takes a rule back. Answers it already holds back stay held back.
    pub fn remove(&self, id: FaultId) {
        self.cluster.rules.remove(id);
    }

    /// Takes all rules and version clamps back.
    pub fn clear(&self) {
        self.cluster.rules.clear();
    }

    /// How often a rule has struck; 0 for one that was removed.
    pub fn hits(&self, id: FaultId) -> u64 {
        self.cluster.rules.hits(id)
    }

    /// ApiVersions of `broker` (None: all) shows only versions `min..=max` of an API, and others are refused. `min > max` hides the API.
    pub fn clamp_versions(&self, broker: Option<i32>, api: i16, min: i16, max: i16) {
        self.cluster.rules.clamp(broker, api, min, max);
    }

    /// Makes `broker` lead a partition, from a new leader epoch on. It need not be a replica before.
    pub fn move_leader(&self, topic: &str, partition: i32, broker: i32) -> Result<(), FaultError> {
        self.cluster
            .broker(broker)
            .ok_or(FaultError::NoBroker(broker))?;
        let missing = || FaultError::NoPartition(topic.to_owned(), partition);
        let partition = self
            .cluster
            .topics
            .partition(topic, partition)
            .ok_or_else(missing)?;
        let mut state = partition.state();
        if !state.replicas.contains(&broker) {
            state.replicas.push(broker);
        }
        state.elect(broker);
        Ok(())
    }

    /// Closes a broker's listener and connections; the cluster does not notice, metadata still shows the broker.
    pub async fn stop_listening(&self, broker: i32) -> Result<(), FaultError> {
        self.cluster
            .broker(broker)
            .ok_or(FaultError::NoBroker(broker))?
            .close()
            .await;
        Ok(())
    }

    /// Stops a broker as a crash would that the cluster has noticed: it leaves metadata, other replicas lead its partitions, other brokers
    /// coordinate its groups.
    pub async fn stop_broker(&self, broker: i32) -> Result<(), FaultError> {
        self.stop_listening(broker).await?;
        self.cluster.mark_down(broker);
        Ok(())
    }

    /// Brings a broker back on its last port or on another one (0: a free one); returns the port. Its partitions' leaders stay where they are.
    pub async fn start_broker(&self, broker: i32, port: Option<u16>) -> Result<u16, FaultError> {
        let found = self
            .cluster
            .broker(broker)
            .ok_or(FaultError::NoBroker(broker))?;
        let port = found.open(&self.cluster, port).await?;
        self.cluster.mark_up(broker);
        Ok(port)
    }
}

/// What the rules say about one request.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) delay: Duration,
    pub(crate) error: Option<i16>,
    pub(crate) throttle_ms: i32,
    pub(crate) conduct: Conduct,
}

/// How the answer leaves, if it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Conduct {
    #[default]
    Answer,
    NeverAnswer,
    Close,
    CloseAfter,
    Truncate(usize),
    Garbage,
    WrongCorrelationId,
}

/// The rules of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// So that a cluster without faults pays one load per request.
    any: AtomicBool,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    active: Vec<Active>,
    clamps: HashMap<(Option<i32>, i16), (i16, i16)>,
}

#[derive(Debug)]
struct Active {
    id: FaultId,
    rule: Rule,
    seen: u64,
    hits: u64,
}

impl Rules {
    /// What befalls a request; counts it.
    pub(crate) fn effects(&self, node: i32, api: i16) -> Effects {
        let mut effects = Effects::default();
        if !self.any.load(Ordering::Acquire) {
            return effects;
        }
        for active in &mut lock(&self.inner).active {
            if active.strikes(node, api) {
                effects.add(&active.rule.fault);
            }
        }
        effects
    }

    /// The versions of an API left by clamps; None if it is hidden.
    pub(crate) fn versions(&self, node: i32, api: i16, min: i16, max: i16) -> Option<(i16, i16)> {
        if !self.any.load(Ordering::Acquire) {
            return Some((min, max));
        }
        let inner = lock(&self.inner);
        let clamp = inner
            .clamps
            .get(&(Some(node), api))
            .or_else(|| inner.clamps.get(&(None, api)));
        let (low, high) = clamp.copied().unwrap_or((min, max));
        let (min, max) = (min.max(low), max.min(high));
        (min <= max).then_some((min, max))
    }

    fn inject(&self, rule: Rule) -> FaultId {
        let mut inner = lock(&self.inner);
        inner.next += 1;
        let id = FaultId(inner.next);
        inner.active.push(Active {
            id,
            rule,
            seen: 0,
            hits: 0,
        });
        self.any.store(true, Ordering::Release);
        id
    }

    fn remove(&self, id: FaultId) {
        let mut inner = lock(&self.inner);
        inner.active.retain(|a| a.id != id);
        self.any.store(
            !inner.active.is_empty() || !inner.clamps.is_empty(),
            Ordering::Release,
        );
    }

    fn clear(&self) {
        let mut inner = lock(&self.inner);
        inner.active.clear();
        inner.clamps.clear();
        self.any.store(false, Ordering::Release);
    }

    fn hits(&self, id: FaultId) -> u64 {
        lock(&self.inner)
            .active
            .iter()
            .find(|a| a.id == id)
            .map_or(0, |a| a.hits)
    }

    fn clamp(&self, broker: Option<i32>, api: i16, min: i16, max: i16) {
        lock(&self.inner).clamps.insert((broker, api), (min, max));
        self.any.store(true, Ordering::Release);
    }
}

impl Active {
    fn strikes(&mut self, node: i32, api: i16) -> bool {
        let rule = &self.rule;
        if rule.broker.is_some_and(|b| b != node) || rule.api.is_some_and(|a| a != api) {
            return false;
        }
        self.seen += 1;
        let due =
            self.seen > u64::from(rule.skip) && rule.times.is_none_or(|t| self.hits < u64::from(t));
        self.hits += u64::from(due);
        due
    }
}

impl Effects {
    fn add(&mut self, fault: &Fault) {
        match fault {
            Fault::Delay(delay) => self.delay += *delay,
            Fault::Error(code) => self.error = Some(*code),
            Fault::Throttle(ms) => self.throttle_ms = *ms,
            Fault::NeverAnswer => self.conduct = Conduct::NeverAnswer,
            Fault::Close => self.conduct = Conduct::Close,
            Fault::CloseAfter => self.conduct = Conduct::CloseAfter,
            Fault::Truncate(bytes) => self.conduct = Conduct::Truncate(*bytes),
            Fault::Garbage => self.conduct = Conduct::Garbage,
            Fault::WrongCorrelationId => self.conduct = Conduct::WrongCorrelationId,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_match_skip_count_and_end() {
        let rules = Rules::default();
        let id = rules.inject(Rule::new(Fault::Close).broker(2).api(1).skip(1).times(2));
        let conduct = |node, api| rules.effects(node, api).conduct;
        assert_eq!(conduct(1, 1), Conduct::Answer);
        assert_eq!(conduct(2, 0), Conduct::Answer);
        let seen: Vec<Conduct> = (0..4).map(|_| conduct(2, 1)).collect();
        assert_eq!(
            seen,
            [
                Conduct::Answer,
                Conduct::Close,
                Conduct::Close,
                Conduct::Answer
            ]
        );
        assert_eq!(rules.hits(id), 2);
        rules.remove(id);
        assert!(!rules.any.load(Ordering::Relaxed));
    }

    #[test]
    fn clamps_narrow_and_hide() {
        let rules = Rules::default();
        rules.clamp(None, 1, 0, 12);
        rules.clamp(Some(3), 1, 1, 0);
        assert_eq!(rules.versions(1, 1, 4, 18), Some((4, 12)));
        assert_eq!(rules.versions(3, 1, 4, 18), None);
        assert_eq!(rules.versions(1, 0, 3, 13), Some((3, 13)));
    }
}
