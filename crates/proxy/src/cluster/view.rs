//! The brokers of one cluster, and how a connection gets to one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use telemetry::targets::UPSTREAM;

use arc_swap::ArcSwap;
use config::{Cluster, HostPort};
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::refresh;
use super::versions::{BrokerVersions, Offered};
use crate::upstream::measure::BrokerTimes;
use crate::upstream::{DialError, Dialer, Leg, Login};

/// A connection that needs news waits at most this long for them.
const REFRESH_PATIENCE: Duration = Duration::from_secs(2);

/// What a client connection is bound to by the port it came in on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// This broker.
    Broker(i32),
    /// Any broker: the port has no live broker behind it.
    Bootstrap,
}

/// The cluster could not be used at start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Nobody answered within `GATEWAY_STARTUP_KAFKA_TIMEOUT_MS`.
    #[error("no broker of {servers} answered within {after:?}; the last attempt said: {last}")]
    Unreachable {
        /// Kafka's name of the setting to look at.
        property: &'static str,
        /// The bootstrap servers.
        servers: String,
        /// How long was tried.
        after: Duration,
        /// The last failure.
        last: String,
    },
    /// The cluster answered, and refused.
    #[error("the cluster and the gateway do not accept each other: {reason}")]
    Refused {
        /// Kafka's name of the setting to look at.
        property: &'static str,
        /// What was refused.
        reason: String,
    },
}

impl StartError {
    /// Kafka's name of the setting to look at.
    pub fn property(&self) -> &'static str {
        match self {
            StartError::Unreachable { property, .. } | StartError::Refused { property, .. } => {
                property
            }
        }
    }
}

/// One broker. Lives as long as its address stays the same.
pub(crate) struct Broker {
    pub(crate) id: i32,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) rack: Option<String>,
    pub(crate) versions: ArcSwap<Option<BrokerVersions>>,
    /// Open legs to it.
    pub(crate) legs: Arc<AtomicUsize>,
    times: BrokerTimes,
    /// Set by a failed dial, cleared by a successful one.
    failed: std::sync::Mutex<Option<Instant>>,
}

impl Broker {
    pub(crate) fn new(
        id: i32,
        host: String,
        port: u16,
        rack: Option<String>,
        times: BrokerTimes,
    ) -> Self {
        Broker {
            id,
            host,
            port,
            rack,
            versions: ArcSwap::from_pointee(None),
            legs: Arc::default(),
            times,
            failed: std::sync::Mutex::new(None),
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failure().is_some()
    }

    fn failure(&self) -> Option<Instant> {
        *self.failed.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Returns whether it had failed before.
    pub(crate) fn set_failed(&self, failed: bool) -> bool {
        let mut since = self.failed.lock().unwrap_or_else(|e| e.into_inner());
        std::mem::replace(&mut *since, failed.then(Instant::now)).is_some()
    }
}

/// One consistent picture of the cluster.
pub(crate) struct Snapshot {
    /// Live brokers by id.
    pub(crate) brokers: BTreeMap<i32, Arc<Broker>>,
    /// Ids of brokers that were seen, or hold replicas, and are not listed now: they may come back.
    pub(crate) absent: BTreeSet<i32>,
    pub(crate) offered: Arc<Offered>,
}

impl Snapshot {
    /// Whether the cluster has, or had, a broker with this id.
    pub(crate) fn knows(&self, id: i32) -> bool {
        self.brokers.contains_key(&id) || self.absent.contains(&id)
    }
}

/// The view, its refresher, and the way to the brokers.
pub(crate) struct ClusterView {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) dialer: Dialer,
    pub(crate) bootstrap: Vec<HostPort>,
    pub(crate) settings: Settings,
    rack: Option<String>,
    /// Access control lists are the gateway's own.
    pub(crate) own_acls: bool,
    /// Wakes the refresher.
    pub(crate) wanted: Notify,
    /// Counts finished rounds of the refresher.
    pub(crate) rounds: watch::Sender<u64>,
    /// Counts changes of the picture: brokers came, went, moved or recovered.
    pub(crate) changes: watch::Sender<u64>,
}

/// Timings of the refresher and of dialling.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) request_timeout: Duration,
    pub(crate) metadata_max_age: Duration,
    /// A broker that just failed is not dialled again for this long.
    pub(crate) reconnect_backoff: Duration,
    pub(crate) retry_backoff: Duration,
}

/// A leg, and what it stands for.
pub(crate) struct Opened {
    pub(crate) leg: Leg,
    /// Another broker than the one the client meant answers.
    pub(crate) substitute: bool,
}

impl ClusterView {
    pub(crate) fn new(
        cluster: &Cluster,
        dialer: Dialer,
        rack: Option<String>,
        own_acls: bool,
    ) -> Self {
        ClusterView {
            snapshot: ArcSwap::from_pointee(Snapshot {
                brokers: BTreeMap::new(),
                absent: BTreeSet::new(),
                offered: Arc::new(Offered::intersection(std::iter::empty(), own_acls)),
            }),
            dialer,
            bootstrap: cluster.bootstrap_servers.clone(),
            settings: Settings {
                request_timeout: cluster.request_timeout,
                metadata_max_age: cluster.metadata_max_age,
                reconnect_backoff: cluster.reconnect_backoff_max,
                retry_backoff: cluster.retry_backoff,
            },
            rack,
            own_acls,
            wanted: Notify::new(),
            rounds: watch::Sender::new(0),
            changes: watch::Sender::new(0),
        }
    }

    /// Reads the cluster for the first time. Returns the lowest and the highest broker id that live brokers or
    /// replicas have.
    pub(crate) async fn start(&self, patience: Duration) -> Result<(i32, i32), StartError> {
        refresh::first(self, patience).await
    }

    /// Keeps the picture fresh, for ever. `seen` is called after each answer of a broker.
    pub(crate) async fn keep_fresh(self: Arc<Self>, seen: impl Fn()) {
        refresh::run(&self, seen).await;
    }

    pub(crate) fn offered(&self) -> Arc<Offered> {
        self.snapshot.load().offered.clone()
    }

    /// Whether broker `id` is listed and not known to be unreachable.
    pub(crate) fn is_up(&self, id: i32) -> bool {
        self.snapshot
            .load()
            .brokers
            .get(&id)
            .is_some_and(|b| !b.has_failed())
    }

    /// Asks the refresher for a round soon (it runs at most one a second).
    pub(crate) fn want_refresh(&self) {
        self.wanted.notify_one();
    }

    /// Whether broker `id` is known to be at `host`.
    pub(crate) fn knows_host(&self, id: i32, host: &[u8]) -> bool {
        self.snapshot
            .load()
            .brokers
            .get(&id)
            .is_some_and(|b| b.host.as_bytes() == host)
    }

    /// Whether broker `id` is known to listen on `port`.
    pub(crate) fn knows_port(&self, id: i32, port: i64) -> bool {
        self.snapshot
            .load()
            .brokers
            .get(&id)
            .is_some_and(|b| i64::from(b.port) == port)
    }

    /// Whether the cluster has, or had, a broker with this id.
    pub(crate) fn knows(&self, id: i32) -> bool {
        self.snapshot.load().knows(id)
    }

    /// Asks the cluster for broker `id` if it is not known yet.
    pub(crate) async fn look_for(&self, id: i32) {
        if !self.knows(id) {
            self.refreshed().await;
        }
    }

    /// Like [`ClusterView::open`] for a leg on which the client itself authenticates.
    pub(crate) async fn open_unauthenticated(&self, target: Target) -> Result<Opened, DialError> {
        self.open_for(target, Login::Relayed).await
    }

    /// Opens a leg for `target`: the broker itself; after a failure once more with fresh
    /// metadata; else any live broker as a substitute. An error means that no broker could be reached.
    pub(crate) async fn open(&self, target: Target) -> Result<Opened, DialError> {
        self.open_for(target, Login::Own).await
    }

    async fn open_for(&self, target: Target, login: Login) -> Result<Opened, DialError> {
        let mut last = None;
        if let Target::Broker(id) = target {
            for attempt in 0..2 {
                if attempt == 1 {
                    self.refreshed().await;
                }
                let broker = self.snapshot.load().brokers.get(&id).cloned();
                let Some(broker) = broker else { continue };
                if self.recently_failed(&broker) {
                    continue;
                }
                match self.dial(&broker, login).await {
                    Ok(leg) => {
                        return Ok(Opened {
                            leg,
                            substitute: false,
                        });
                    }
                    Err(error) if error.is_security() => return Err(error),
                    Err(error) => last = Some(error),
                }
            }
        }
        for broker in self.substitutes(target) {
            match self.dial(&broker, login).await {
                Ok(leg) => {
                    return Ok(Opened {
                        leg,
                        substitute: matches!(target, Target::Broker(_)),
                    });
                }
                Err(error) => last = Some(error),
            }
        }
        self.want_refresh();
        Err(last.unwrap_or(DialError::Connect {
            host: "any broker".to_owned(),
            port: 0,
            error: std::io::ErrorKind::NotConnected.into(),
        }))
    }

    async fn dial(&self, broker: &Broker, login: Login) -> Result<Leg, DialError> {
        let mut result = self
            .dialer
            .dial(&broker.host, broker.port, login, Some(&broker.legs))
            .await;
        if let Ok(leg) = &mut result {
            leg.times = Some(broker.times.clone());
        }
        match &result {
            // Connections that a substitute serves have to hear of it.
            Ok(_) if broker.set_failed(false) => self.changes.send_modify(|n| *n += 1),
            Ok(_) => {}
            Err(error) => {
                broker.set_failed(true);
                tracing::debug!(target: UPSTREAM, broker = broker.id, %error, "broker not reached");
            }
        }
        result
    }

    fn recently_failed(&self, broker: &Broker) -> bool {
        broker
            .failure()
            .is_some_and(|at| at.elapsed() < self.settings.reconnect_backoff)
    }

    /// Brokers to try when the target itself is not to be had: own rack first, then the least used.
    fn substitutes(&self, target: Target) -> Vec<Arc<Broker>> {
        let snapshot = self.snapshot.load();
        let mut brokers: Vec<_> = snapshot
            .brokers
            .values()
            .filter(|b| Target::Broker(b.id) != target)
            .cloned()
            .collect();
        brokers.sort_by_cached_key(|b| {
            (
                b.has_failed(),
                self.rack.is_some() && b.rack != self.rack,
                b.legs.load(Ordering::Relaxed),
            )
        });
        brokers
    }

    async fn refreshed(&self) {
        let mut rounds = self.rounds.subscribe();
        rounds.mark_unchanged();
        self.want_refresh();
        // A round that fails counts too: then the substitutes are tried.
        let _ = timeout(REFRESH_PATIENCE, rounds.changed()).await;
    }
}
