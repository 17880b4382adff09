//! The cluster: what all brokers share, and the handle that starts and ends it.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::benchmark::Prepared;
use crate::broker::{Broker, Endpoint};
use crate::configs::Overrides;
use crate::faults::{Faults, Rules};
use crate::groups::Groups;
use crate::maintenance;
use crate::memory::Budget;
use crate::options::Options;
use crate::sync::lock;
use crate::topics::Topics;
use crate::transactions::{Effects, Transactions};

/// Bytes of large request frames that may be in memory at once, in the cluster.
const FRAME_BYTES_IN_FLIGHT: usize = 256 << 20;

/// A running cluster. Dropping it ends it without waiting for its connections; [`DevCluster::shutdown`] waits.
#[derive(Debug)]
pub struct DevCluster {
    cluster: Arc<Cluster>,
    maintenance: JoinHandle<()>,
}

/// What all brokers share.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) options: Options,
    pub(crate) brokers: Vec<Arc<Broker>>,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) transactions: Transactions,
    pub(crate) budget: Arc<Budget>,
    pub(crate) rules: Rules,
    pub(crate) prepared: Option<Prepared>,
    /// One permit per KiB of large frames.
    pub(crate) frame_memory: Semaphore,
    /// Altered broker configurations by node id; "" is the default of all.
    pub(crate) broker_overrides: Mutex<BTreeMap<String, Overrides>>,
    /// Held while room is made, so that two producers do not both throw half of everything away.
    pub(crate) making_room: Mutex<()>,
}

impl DevCluster {
    /// Starts all brokers on the current tokio runtime. Fails if a port cannot be listened on.
    pub async fn start(options: Options) -> io::Result<DevCluster> {
        let cluster = Arc::new(Cluster::new(options));
        let maintenance = tokio::spawn(maintenance::run(cluster.clone()));
        let started = DevCluster {
            cluster,
            maintenance,
        };
        for broker in &started.cluster.brokers {
            broker.open(&started.cluster, None).await?;
        }
        Ok(started)
    }

    /// `host:port,...` of all brokers as metadata shows them, for `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        let endpoints = self.cluster.brokers.iter().map(|b| b.endpoint());
        endpoints
            .map(|e| format!("{}:{}", e.host, e.port))
            .collect::<Vec<_>>()
            .join(",")
    }

    /// The addresses the brokers listen on (or last did), in node id order.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.cluster.brokers.iter().map(|b| b.address()).collect()
    }

    /// What these brokers do not do, one sentence each, for printing to users.
    pub fn limits(&self) -> &'static [&'static str] {
        crate::LIMITS
    }

    /// The handle that makes brokers misbehave.
    pub fn faults(&self) -> Faults {
        Faults::new(self.cluster.clone())
    }

    /// Bytes that records, groups and offsets take now; at most a little over the configured bound.
    pub fn memory_used(&self) -> u64 {
        self.cluster.budget.used()
    }

    /// Closes all listeners and connections, and returns when they are closed.
    pub async fn shutdown(self) {
        for broker in &self.cluster.brokers {
            broker.close().await;
        }
    }
}

impl Drop for DevCluster {
    fn drop(&mut self) {
        self.maintenance.abort();
        for broker in &self.cluster.brokers {
            broker.abort();
        }
    }
}

impl Cluster {
    pub(crate) fn new(options: Options) -> Self {
        let budget = Budget::new(options.memory_limit);
        Cluster {
            brokers: (0..usize::from(options.brokers))
                .map(|i| Arc::new(Broker::new(i, &options)))
                .collect(),
            topics: Topics::new(budget.clone()),
            groups: Groups::new(budget.clone()),
            transactions: Transactions::new(),
            budget,
            rules: Rules::default(),
            prepared: options.benchmark.map(Prepared::new),
            frame_memory: Semaphore::new(FRAME_BYTES_IN_FLIGHT / 1024),
            broker_overrides: Mutex::default(),
            making_room: Mutex::default(),
            options,
        }
    }

    pub(crate) fn broker(&self, node_id: i32) -> Option<&Arc<Broker>> {
        self.brokers.iter().find(|b| b.node_id == node_id)
    }

    /// Node ids of the brokers that are up, ascending.
    pub(crate) fn live(&self) -> Vec<i32> {
        self.brokers
            .iter()
            .filter(|b| b.is_up())
            .map(|b| b.node_id)
            .collect()
    }

    /// Endpoints of the brokers that are up.
    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        self.brokers
            .iter()
            .filter(|b| b.is_up())
            .map(|b| b.endpoint())
            .collect()
    }

    pub(crate) fn endpoint(&self, node_id: i32) -> Option<Endpoint> {
        self.broker(node_id)
            .filter(|b| b.is_up())
            .map(|b| b.endpoint())
    }

    /// The broker that answers for the controller; -1 if none is up.
    pub(crate) fn controller(&self) -> i32 {
        self.live().first().copied().unwrap_or(-1)
    }

    /// The broker that coordinates a group or a transactional id: chosen by hash, the next one if that is down.
    pub(crate) fn coordinator(&self, key: &str) -> Option<i32> {
        let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
        let first = (hash % self.brokers.len() as u64) as usize;
        let turn = self
            .brokers
            .iter()
            .cycle()
            .skip(first)
            .take(self.brokers.len());
        turn.filter(|b| b.is_up()).map(|b| b.node_id).next()
    }

    /// What benchmark mode hands out for a topic; None for those that are stored.
    pub(crate) fn prepared_for(&self, topic: &str) -> Option<&Prepared> {
        self.prepared.as_ref().filter(|_| !topic.starts_with('_'))
    }

    pub(crate) fn effects(&self) -> Effects<'_> {
        Effects {
            topics: &self.topics,
            groups: &self.groups,
        }
    }

    /// The broker leaves metadata; partitions it led get another replica as leader, or none.
    pub(crate) fn mark_down(&self, node_id: i32) {
        if let Some(broker) = self.broker(node_id) {
            broker.set_up(false);
        }
        let live = self.live();
        self.each_partition(|state| {
            if state.leader == node_id {
                let next = state
                    .replicas
                    .iter()
                    .copied()
                    .find(|r| live.contains(r))
                    .unwrap_or(-1);
                state.elect(next);
            }
        });
    }

    /// The broker is back in metadata; it leads those of its partitions that had no leader.
    pub(crate) fn mark_up(&self, node_id: i32) {
        if let Some(broker) = self.broker(node_id) {
            broker.set_up(true);
        }
        self.each_partition(|state| {
            if state.leader < 0 && state.replicas.contains(&node_id) {
                state.elect(node_id);
            }
        });
    }

    fn each_partition(&self, mut change: impl FnMut(&mut crate::topics::PartitionState)) {
        for topic in self.topics.all() {
            for partition in topic.partitions() {
                change(&mut partition.state());
            }
        }
    }

    /// Altered configurations of one broker, the cluster-wide ones underneath.
    pub(crate) fn broker_config(&self, name: &str) -> (Overrides, Overrides) {
        let all = lock(&self.broker_overrides);
        (
            all.get(name).cloned().unwrap_or_default(),
            all.get("").cloned().unwrap_or_default(),
        )
    }
}
