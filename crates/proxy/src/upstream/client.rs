//! The gateway's own client: single requests to named brokers, over connections that are kept between calls.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use auth::UpstreamAuth;
use bytes::Bytes;
use config::{Cluster, HostPort};
use state::{Answering, Call, Node, Reply, Transport, TransportError};
use telemetry::metrics::Metrics;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use wire::api::ApiKey;

use super::call::OwnConnection;
use super::dial::Dialer;
use crate::cluster::{self, BrokerVersions};

/// Calls that wait for the task of the client; then callers wait.
const QUEUE: usize = 64;

/// Calls at work at the same time.
const MAX_CALLS: usize = 64;

/// Idle connections kept for one broker.
const MAX_IDLE: usize = 4;

/// Longest time a connection is kept without use, however long the configuration allows: brokers close idle ones too,
/// and a connection that both ends believe in is the one that is used again.
const IDLE: Duration = Duration::from_secs(60);

/// Sends requests of the gateway itself to the backing cluster, for any thread.
///
/// A handle: clones share the connections. They live in a task of the thread that called [`Client::new`] and end with
/// it; calls fail from then on. A call that waits long holds nobody up. Dropping the future of a call closes the
/// connection it was sent on.
#[derive(Clone)]
pub struct Client {
    queue: mpsc::Sender<Job>,
}

impl Client {
    /// A client for `cluster`; nothing is connected before the first call. Must be called inside a `LocalSet`.
    ///
    /// `client_id` is what brokers see in their logs and quotas.
    pub fn new(
        cluster: &Cluster,
        auth: UpstreamAuth,
        client_id: String,
        metrics: &Metrics,
    ) -> Client {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let connections = Connections {
            dialer: Dialer::new(cluster, auth, client_id, metrics),
            bootstrap: cluster.bootstrap_servers.clone(),
            request_timeout: cluster.request_timeout,
            max_idle: cluster.connections_max_idle.min(IDLE),
            preferred: RefCell::default(),
            idle: RefCell::default(),
        };
        tokio::task::spawn_local(run(Rc::new(connections), jobs));
        Client { queue }
    }
}

impl Transport for Client {
    fn call(&self, to: Node, call: Call) -> Answering<'_> {
        Box::pin(async move {
            let ended = || TransportError::unreachable("the client has ended");
            let (answer, answered) = oneshot::channel();
            let job = Job { to, call, answer };
            self.queue.send(job).await.map_err(|_| ended())?;
            answered.await.map_err(|_| ended())?
        })
    }
}

struct Job {
    to: Node,
    call: Call,
    answer: oneshot::Sender<Result<Reply, TransportError>>,
}

async fn run(connections: Rc<Connections>, mut jobs: mpsc::Receiver<Job>) {
    let places = Arc::new(Semaphore::new(MAX_CALLS));
    while let Some(job) = jobs.recv().await {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let connections = connections.clone();
        tokio::task::spawn_local(async move {
            let Job {
                to,
                call,
                mut answer,
            } = job;
            tokio::select! {
                biased;
                () = answer.closed() => {}
                result = connections.call(to, call) => drop(answer.send(result)),
            }
            drop(place);
        });
    }
}

type Address = (Arc<str>, u16);

/// The connections, and how to make more.
struct Connections {
    dialer: Dialer,
    bootstrap: Vec<HostPort>,
    request_timeout: Duration,
    max_idle: Duration,
    /// The bootstrap server that answered last.
    preferred: RefCell<usize>,
    idle: RefCell<HashMap<Address, Vec<Connection>>>,
}

struct Connection {
    own: OwnConnection,
    versions: BrokerVersions,
    used: Instant,
}

impl Connections {
    async fn call(&self, to: Node, call: Call) -> Result<Reply, TransportError> {
        let (address, mut connection) = match to {
            Node::At { host, port } => {
                let address = (host, port);
                let connection = self.to(&address).await?;
                (address, connection)
            }
            Node::Bootstrap => self.to_bootstrap().await?,
        };
        let version = connection
            .versions
            .best(call.api, call.max_version)
            .filter(|version| *version >= call.min_version);
        let Some(version) = version else {
            self.keep(address, connection);
            return Err(TransportError::Unsupported { api: call.api });
        };
        let body = (call.encode)(version).map_err(TransportError::malformed)?;
        match exchange(&mut connection, call.api, version, &body).await {
            Ok(body) => {
                self.keep(address, connection);
                Ok(Reply { version, body })
            }
            Err(error) => {
                // What happened to one has most likely happened to all.
                self.idle.borrow_mut().remove(&address);
                Err(error)
            }
        }
    }

    async fn to_bootstrap(&self) -> Result<(Address, Connection), TransportError> {
        let first = *self.preferred.borrow();
        let mut last = TransportError::unreachable("no bootstrap server is known");
        for step in 0..self.bootstrap.len() {
            let index = (first + step) % self.bootstrap.len();
            let Some(server) = self.bootstrap.get(index) else {
                continue;
            };
            let address = (Arc::from(server.host.as_str()), server.port);
            match self.to(&address).await {
                Ok(connection) => {
                    *self.preferred.borrow_mut() = index;
                    return Ok((address, connection));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// A connection that nobody uses: an idle one, else a new one.
    async fn to(&self, address: &Address) -> Result<Connection, TransportError> {
        if let Some(idle) = self.take(address) {
            return Ok(idle);
        }
        let (host, port) = address;
        let leg = self
            .dialer
            .dial(host, *port, super::Login::Own, None)
            .await
            .map_err(TransportError::unreachable)?;
        let mut own = OwnConnection::new(leg, self.dialer.client_id(), self.request_timeout);
        let versions = cluster::ask_versions(&mut own)
            .await
            .map_err(TransportError::unreachable)?
            .ok_or(TransportError::Unsupported {
                api: ApiKey::API_VERSIONS,
            })?;
        Ok(Connection {
            own,
            versions,
            used: Instant::now(),
        })
    }

    /// Sessions are not renewed: a connection whose session ends soon is dropped here and replaced.
    fn take(&self, address: &Address) -> Option<Connection> {
        let mut all = self.idle.borrow_mut();
        all.retain(|_, idle| {
            idle.retain(|c| c.used.elapsed() < self.max_idle && !c.own.is_stale());
            !idle.is_empty()
        });
        all.get_mut(address)?.pop()
    }

    fn keep(&self, address: Address, mut connection: Connection) {
        connection.used = Instant::now();
        let mut all = self.idle.borrow_mut();
        let idle = all.entry(address).or_default();
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
    }
}

async fn exchange(
    connection: &mut Connection,
    api: ApiKey,
    version: i16,
    body: &[u8],
) -> Result<Bytes, TransportError> {
    connection
        .own
        .call_encoded(api, version, body)
        .await
        .map_err(TransportError::unreachable)
}
