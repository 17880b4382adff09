//! Worker threads: each with a single-threaded runtime and connections of its own, which never move.

use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use telemetry::metrics::{
    Clients, DOWNSTREAM, Level, Lifecycle, Metrics, OwnCounter, Parking, UPSTREAM, WorkerParking,
};
use telemetry::{FloodGate, FloodLimits, address_source};

use config::{Limits, Pool, PoolKind};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use crate::access::Security;
use crate::aside::Aside;
use crate::buffer::Budget;
use crate::cluster::ClusterView;
use crate::conn::{self, Accepted, Intake};
use crate::drain::{Drain, Places};
use crate::socket::Traffic;
use crate::topics::Topics;
use crate::upstream::pool::Pools;
use crate::{Observer, gateway::GatewayError};

/// Accepted connections waiting for a worker; then accepting waits.
const QUEUE: usize = 256;

/// How often a worker shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Complaints about clients, by address and reason.
pub(crate) static COMPLAINTS: FloodGate = FloodGate::new(FloodLimits {
    per_event: 5,
    total: 50,
    per_source: 8,
    events: 4096,
});

/// Heartbeats after which a worker looks at what it has waited for.
const LOOK_EVERY: u32 = 3;

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) view: Arc<ClusterView>,
    pub(crate) limits: Limits,
    pub(crate) budget: Budget,
    pub(crate) intake: Arc<Intake>,
    pub(crate) pool: Pool,
    pub(crate) pool_idle: Duration,
    pub(crate) places: Arc<Places>,
    pub(crate) drain: watch::Sender<Drain>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) access: Arc<Security>,
    pub(crate) topics: Topics,
    pub(crate) aside: Aside,
}

/// What the connections of one worker share.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pools: Option<Pools>,
    /// Counts the bytes of clients.
    pub(crate) traffic: Traffic,
    /// What is counted for clients.
    pub(crate) clients: Clients,
    /// The stages of requests, if they are measured.
    pub(crate) lifecycle: Option<Rc<Lifecycle>>,
    /// Requests of authenticated clients that were read.
    pub(crate) received: OwnCounter,
    /// Requests that cannot be begun yet.
    pub(crate) waiting: Level,
}

/// Logs a complaint about a client, unless there were many for that reason from its address. `log` is told how many were not logged before
/// it, if any.
pub(crate) fn complain(about: IpAddr, reason: &'static str, log: impl FnOnce(Option<u64>)) {
    if let Some(suppressed) = COMPLAINTS.admit(&address_source(about), reason, Instant::now()) {
        log((suppressed > 0).then_some(suppressed));
    }
}

/// The way to one worker.
pub(crate) struct WorkerHandle {
    queue: mpsc::Sender<Accepted>,
    connections: Arc<AtomicUsize>,
}

impl WorkerHandle {
    /// Starts a worker thread. It ends when the process does.
    pub(crate) fn start(
        index: usize,
        shared: Arc<Shared>,
        parking: &Parking,
    ) -> Result<Self, GatewayError> {
        let (queue, accepted) = mpsc::channel(QUEUE);
        let connections = Arc::new(AtomicUsize::new(0));
        let parked = parking.worker(shared.access.metrics.catalogue());
        let (unparked, waits) = (parked.clone(), parked.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || parked.park())
            .on_thread_unpark(move || unparked.unpark())
            .build()
            .map_err(GatewayError::Worker)?;
        show_runtime(index, &runtime, &shared.access.metrics);
        let counter = connections.clone();
        std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(move || {
                let set = LocalSet::new();
                // A task of its own: what is handed to `block_on` is polled whenever any task has been.
                set.block_on(&runtime, async move {
                    let _ = tokio::task::spawn_local(run(index, shared, accepted, counter, waits))
                        .await;
                });
            })
            .map_err(GatewayError::Worker)?;
        Ok(WorkerHandle { queue, connections })
    }

    pub(crate) fn load(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Hands over a connection; waits while the worker has many to begin with.
    pub(crate) async fn serve(&self, accepted: Accepted) -> io::Result<()> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        self.queue
            .send(accepted)
            .await
            .map_err(|_| io::Error::other("the worker has ended"))
    }
}

/// Shows what the runtime of a worker says of itself. It does not know of tasks: those of workers are in sets of their own.
fn show_runtime(index: usize, runtime: &tokio::runtime::Runtime, metrics: &Metrics) {
    let (name, seen) = (format!("worker-{index}"), runtime.metrics());
    metrics.before_scrapes(move |catalogue| {
        let label = [name.as_str()];
        catalogue
            .tokio_workers
            .with(label)
            .set(seen.num_workers() as f64);
        let workers = 0..seen.num_workers();
        let busy: Duration = workers
            .clone()
            .map(|worker| seen.worker_total_busy_duration(worker))
            .sum();
        let parks = workers.map(|worker| seen.worker_park_count(worker)).sum();
        let nanos = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX);
        catalogue.tokio_busy.with(label).raise_to(nanos);
        catalogue.tokio_parks.with(label).raise_to(parks);
    });
}

async fn run(
    index: usize,
    shared: Arc<Shared>,
    mut accepted: mpsc::Receiver<Accepted>,
    connections: Arc<AtomicUsize>,
    waits: Arc<WorkerParking>,
) {
    let pools = (shared.pool.kind == PoolKind::RoundRobin)
        .then(|| Pools::new(shared.pool.connections, shared.pool_idle));
    let catalogue = shared.access.metrics.catalogue();
    let traffic = Traffic {
        read: catalogue.bytes.with([UPSTREAM]).own(),
        written: catalogue.bytes.with([DOWNSTREAM]).own(),
    };
    let clients = shared.access.metrics.clients();
    let lifecycle = shared.access.metrics.lifecycle().map(Rc::new);
    let received = catalogue.received.with([]).own();
    let waiting = catalogue
        .waiting
        .with([&format!("upstream-{index}"), &index.to_string()]);
    let worker = Rc::new(Worker {
        shared,
        pools,
        traffic,
        clients,
        lifecycle,
        received,
        waiting,
    });
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    let mut beats = 0_u32;
    loop {
        tokio::select! {
            next = accepted.recv() => {
                let Some(next) = next else { return };
                let worker = worker.clone();
                let connections = connections.clone();
                tokio::task::spawn_local(async move {
                    conn::serve(worker, next).await;
                    connections.fetch_sub(1, Ordering::Relaxed);
                });
            }
            _ = heartbeat.tick() => {
                worker.shared.observer.worker_alive(index);
                beats = beats.wrapping_add(1);
                if beats.is_multiple_of(LOOK_EVERY) {
                    waits.look();
                }
            }
        }
    }
}
