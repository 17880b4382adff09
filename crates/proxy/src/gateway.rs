//! Start and end of the data plane.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use telemetry::metrics::{Counter, Level, Metrics, Parking};
use telemetry::targets::NETWORK;

use auth::UpstreamAuth;
use auth::tls::server::{ReloadingConfig, ServerMaterial};
use config::{Cluster, Config, Listener, PortPlan, SecurityMode, SecurityProtocol, TokenEndpoint};
use thiserror::Error;
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::Observer;
use crate::access::Security;
use crate::addressing::Addressing;
use crate::aside::Aside;
use crate::buffer::Budget;
use crate::cluster::{Broker, ClusterView, StartError};
use crate::conn::{Accepted, Admission, Admitted, Intake, Leave, NoPlace, Pace};
use crate::drain::{self, Drain};
use crate::offsets;
use crate::ports::{PortMap, SPARE, Slot};
use crate::sni::NameMap;
use crate::topics::Topics;
use crate::upstream::Dialer;
use crate::upstream::client::Client;
use crate::worker::{Shared, WorkerHandle};

/// Connections the kernel holds before they are accepted.
const BACKLOG: u32 = 1024;

/// After this without an answer no broker counts as there.
const SILENCE: Duration = Duration::from_secs(60);

/// Pause after an accept that failed for want of something (file descriptors, memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a newcomer waits for the place of somebody who was told to leave.
const ROOM_PATIENCE: Duration = Duration::from_secs(1);

/// Why the data plane could not start.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// The backing cluster could not be used.
    #[error("{variable}: {error}")]
    Cluster {
        /// The variable to look at.
        variable: String,
        /// What happened.
        error: StartError,
    },
    /// No broker has a port of a listener: it could serve nobody. A matter of configuration (exit status 78).
    #[error(
        "Invalid configuration: {variable}: no broker has a port of listener {listener}, whose {ports} ports belong to broker ids from \
         {min} on; the cluster has {lowest} to {highest}"
    )]
    NoPort {
        /// What to change.
        variable: String,
        /// The listener.
        listener: String,
        /// How many ports it has.
        ports: usize,
        /// `GATEWAY_MIN_BROKERID`.
        min: i32,
        /// The lowest broker id seen.
        lowest: i32,
        /// The highest broker id seen.
        highest: i32,
    },
    /// A port could not be bound.
    #[error("cannot bind {address} of listener {listener}: {error} (set by {variable})")]
    Bind {
        /// The listener.
        listener: String,
        /// The address that was tried.
        address: String,
        /// What sets it.
        variable: String,
        /// What the system said.
        error: io::Error,
    },
    /// A certificate cannot be used.
    #[error("listener {listener}: {problems}")]
    Tls {
        /// The listener.
        listener: String,
        /// Which settings are the problem, and why.
        problems: String,
    },
    /// A worker could not be started.
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
}

impl GatewayError {
    /// Whether the operator has to change the configuration.
    pub fn is_configuration(&self) -> bool {
        matches!(self, GatewayError::NoPort { .. } | GatewayError::Tls { .. })
    }
}

/// One listener at work.
pub(crate) struct ListenerState {
    pub(crate) name: String,
    pub(crate) protocol: SecurityProtocol,
    pub(crate) addressing: Addressing,
    pub(crate) tls: Option<Arc<ReloadingConfig>>,
    ports_variable: String,
    /// How many ports there can be, where they are counted at start.
    counted_within: Option<u32>,
    reported: Mutex<HashSet<i32>>,
    /// `GATEWAY_MAX_CONNECTION_CREATION_RATE`.
    pace: Option<Mutex<Pace>>,
}

impl ListenerState {
    /// A broker without a port of its own was seen: said once, loudly.
    pub(crate) fn unroutable(&self, node: i32) {
        let mut reported = self.reported.lock().unwrap_or_else(|e| e.into_inner());
        if let Addressing::Ports(ports) = &self.addressing
            && reported.len() < 1024
            && reported.insert(node)
        {
            tracing::error!(
                target: NETWORK,
                broker = node,
                listener = self.name,
                "a broker has no port: clients cannot reach it; {}",
                self.remedy(ports.size_needed(node), node),
            );
        }
    }

    /// What gives a port to broker `node`, which needs `size` ports.
    fn remedy(&self, size: i64, node: i32) -> String {
        let variable = &self.ports_variable;
        match self.counted_within {
            _ if size < 1 => format!("GATEWAY_MIN_BROKERID has to be {node} or less"),
            None => format!(
                "{variable} has to give at least {size} ports, better {} (they are fixed at start)",
                size + i64::from(SPARE)
            ),
            Some(room) if size <= i64::from(room) => {
                "ports are counted at start: start the gateway again".to_owned()
            }
            Some(room) => format!("{variable} leaves room for {room} ports, and it needs {size}"),
        }
    }

    /// How many of `nodes` have no port.
    fn unroutable_of<'n>(&self, nodes: impl Iterator<Item = &'n i32>) -> usize {
        nodes
            .filter(|node| self.addressing.address(**node).is_none())
            .count()
    }
}

/// The running data plane. Lives on the thread that started it, inside a `LocalSet`.
pub struct Gateway {
    shared: Arc<Shared>,
    admission: Arc<Admission>,
    tasks: Vec<JoinHandle<()>>,
    /// A worker ends, and its connections with it, when nobody can hand it a connection any more.
    _workers: Arc<Vec<WorkerHandle>>,
    refresher: JoinHandle<()>,
    shutdown: config::Shutdown,
}

/// The backing cluster answers; clients are not served yet.
pub struct Connected {
    view: Arc<ClusterView>,
    lowest: i32,
    highest: i32,
    refresher: JoinHandle<()>,
    observer: Arc<dyn Observer>,
    client: Client,
}

impl Connected {
    /// Connects to the backing cluster. Must be called inside a `LocalSet`.
    ///
    /// # Errors
    /// The cluster cannot be used.
    pub async fn connect(
        config: &Config,
        auth: UpstreamAuth,
        observer: Arc<dyn Observer>,
        metrics: &Metrics,
    ) -> Result<Connected, GatewayError> {
        let cluster = &config.upstream.main;
        let client_id = cluster
            .client_id
            .clone()
            .unwrap_or_else(|| format!("gateway-{}-{}", config.cluster_id, std::process::id()));
        let client = Client::new(cluster, auth.clone(), client_id.clone(), metrics);
        let dialer = Dialer::new(cluster, auth, client_id, metrics);
        let view = Arc::new(ClusterView::new(
            cluster,
            dialer,
            config.network.rack.clone(),
            config.security.mode == SecurityMode::GatewayManaged,
        ));
        let (lowest, highest) =
            view.start(config.startup_kafka_timeout)
                .await
                .map_err(|error| GatewayError::Cluster {
                    variable: suspected_variable(cluster, error.property()),
                    error,
                })?;
        observer.cluster_answered();
        let seen = observer.clone();
        let answered = show_brokers(&view, metrics);
        let refresher = tokio::task::spawn_local(view.clone().keep_fresh(move || {
            seen.cluster_answered();
            *answered.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }));
        Ok(Connected {
            view,
            lowest,
            highest,
            refresher,
            observer,
            client,
        })
    }

    /// A client of the backing cluster with the gateway's own credentials.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Binds all ports and serves. `tls` is the material of listeners with TLS; whether it is there was checked with the
    /// configuration. Must be called inside the same `LocalSet`.
    ///
    /// # Errors
    /// No broker has a port, a certificate cannot be used, or a port cannot be bound.
    pub async fn serve(
        self,
        config: &Config,
        security: Arc<Security>,
        tls: Option<&Arc<ServerMaterial>>,
    ) -> Result<Gateway, GatewayError> {
        let Connected {
            view,
            lowest,
            highest,
            refresher,
            observer,
            client,
        } = self;
        let cluster = &config.upstream.main;
        let (mut bound, mut listeners) = (Vec::new(), Vec::new());
        for listener in &config.network.listeners {
            let addressing = addressing(listener, config, highest);
            let state = Arc::new(listener_state(listener, config, addressing, tls)?);
            check_ports(&state, &view, config, (lowest, highest))?;
            if let Some(material) = tls.filter(|_| state.tls.is_some()) {
                let nodes = view
                    .snapshot
                    .load()
                    .brokers
                    .keys()
                    .copied()
                    .collect::<Vec<_>>();
                warn_of_missing_names(&state, material, nodes);
            }
            bound.extend(bind(listener, &state).await?);
            listeners.push(state);
        }

        let doors = Doors::new(&security.metrics);
        let parking = Arc::new(Parking::default());
        let seen = parking.clone();
        let collect = move |catalogue: &_| seen.collect(catalogue);
        security.metrics.before_scrapes(collect);
        let shared = Arc::new(Shared {
            view: view.clone(),
            limits: config.limits,
            budget: Budget::new(config.limits.max_buffered_bytes),
            intake: Arc::new(Intake::new(config.limits.max_buffered_bytes)),
            pool: config.pool,
            pool_idle: cluster.connections_max_idle,
            places: Arc::default(),
            drain: watch::Sender::new(Drain::Not),
            observer: observer.clone(),
            access: security,
            topics: Topics::new(client.clone()),
            aside: Aside::start(config.workers).map_err(GatewayError::Worker)?,
        });
        let mut tasks = follow_offsets(config, &shared, client);
        tasks.push(follow_ports(&view, listeners, &shared.access.metrics));
        let workers = (0..config.workers.max(1))
            .map(|index| WorkerHandle::start(index, shared.clone(), &parking))
            .collect::<Result<Vec<_>, _>>()?;
        let workers = Arc::new(workers);
        let admission = Arc::new(Admission::new(
            config.limits.max_connections,
            config.limits.max_connections_per_ip,
            config.limits.max_buffered_bytes,
        ));
        tasks.extend(bound.into_iter().map(|port| {
            let (workers, admission) = (workers.clone(), admission.clone());
            tokio::task::spawn_local(accept(port, workers, admission, doors.clone()))
        }));
        observer.listeners_bound();
        Ok(Gateway {
            shared,
            admission,
            tasks,
            _workers: workers,
            refresher,
            shutdown: config.shutdown,
        })
    }
}

impl Gateway {
    /// Client connections now.
    pub fn connections(&self) -> u32 {
        self.admission.total()
    }

    /// Stops accepting, lets requests in flight finish and closes the connections broker by broker. Returns how many
    /// connections had to be cut because their answers did not come in time.
    pub async fn shut_down(self) -> usize {
        for task in &self.tasks {
            task.abort();
        }
        let cut = drain::drain(
            &self.shared.places,
            &self.shared.drain,
            self.shutdown.drain_timeout,
            self.shutdown.delay_between_brokers,
        )
        .await;
        self.refresher.abort();
        cut
    }
}

/// How the operator sets `property`: certificates can be given as files or as text, and tokens be made of the JAAS text.
fn suspected_variable(cluster: &Cluster, property: &str) -> String {
    let tls = cluster.security.tls.as_ref();
    let sasl = cluster.security.sasl.as_ref();
    let unsecured = sasl
        .and_then(|sasl| sasl.oauth.as_ref())
        .is_some_and(|oauth| matches!(oauth.token_endpoint, TokenEndpoint::Unsecured(_)));
    cluster.variable_for(match property {
        "sasl.oauthbearer.token.endpoint.url" if unsecured => "sasl.jaas.config",
        "ssl.truststore.location" if tls.is_some_and(|tls| tls.truststore_pem.is_some()) => {
            "ssl.truststore.certificates"
        }
        "ssl.keystore.location" if tls.is_some_and(|tls| tls.keystore_chain_pem.is_some()) => {
            "ssl.keystore.certificate.chain"
        }
        other => other,
    })
}

fn addressing(listener: &Listener, config: &Config, highest: i32) -> Addressing {
    let min = config.network.min_broker_id;
    let host = listener.advertised_host.clone();
    if let Some(names) = &listener.sni {
        let port = match &listener.ports {
            PortPlan::Explicit(pairs) => pairs.first().map_or(0, |pair| pair.advertised),
            PortPlan::FromStart { start, .. } => *start,
        };
        let bootstrap = [names.bootstrap_host_pattern.as_str(), host.as_str()];
        let map = NameMap::new(&names.advertised_host_pattern, bootstrap, port);
        tracing::info!(
            target: NETWORK,
            listener = listener.name,
            protocol = %listener.protocol,
            routing = %listener.routing,
            bind = listener.bind_address,
            bootstrap = map.bootstrap().join(" "),
            broker_names = names.advertised_host_pattern,
            port,
            "listener"
        );
        return Addressing::Names(map);
    }
    let ports = match &listener.ports {
        PortPlan::Explicit(pairs) => PortMap::new(
            host,
            min,
            pairs
                .iter()
                .map(|pair| Slot {
                    advertised: pair.advertised,
                    local: pair.local,
                })
                .collect(),
        ),
        PortPlan::FromStart { start, count } => {
            let last = last_port(*start, *count, config.http.port);
            PortMap::from_start(host, min, (*start, last), *count, highest)
        }
    };
    let map: Vec<String> = ports
        .slots()
        .iter()
        .enumerate()
        .filter_map(|(i, slot)| Some(format!("{}->{}", slot.advertised, ports.node_of_slot(i)?)))
        .collect();
    tracing::info!(
        target: NETWORK,
        listener = listener.name,
        protocol = %listener.protocol,
        routing = %listener.routing,
        bind = listener.bind_address,
        advertised_host = listener.advertised_host,
        ports = map.join(" "),
        "listener"
    );
    Addressing::Ports(ports)
}

/// The last port that a listener can have: ports that are counted make room for the admin port.
fn last_port(start: u16, count: Option<u16>, http: u16) -> u16 {
    match count {
        None if http > start => http - 1,
        _ => u16::MAX,
    }
}

/// Brokers without a port are named, and nobody is kept from the others; but there has to be one.
fn check_ports(
    state: &ListenerState,
    view: &ClusterView,
    config: &Config,
    (lowest, highest): (i32, i32),
) -> Result<(), GatewayError> {
    let Addressing::Ports(ports) = &state.addressing else {
        return Ok(());
    };
    let snapshot = view.snapshot.load();
    let mut known = snapshot.brokers.keys().chain(&snapshot.absent);
    if !known.any(|node| ports.address(*node).is_some()) {
        let min = config.network.min_broker_id;
        return Err(GatewayError::NoPort {
            variable: match highest < min {
                true => "GATEWAY_MIN_BROKERID".to_owned(),
                false => state.ports_variable.clone(),
            },
            listener: state.name.clone(),
            ports: ports.slots().len(),
            min,
            lowest,
            highest,
        });
    }
    if state.unroutable_of(snapshot.brokers.keys()) == 0 && !ports.has_spare(highest) {
        tracing::warn!(
            target: NETWORK,
            listener = state.name,
            "fewer than two spare ports: brokers that join later may not be reachable; {}",
            match state.counted_within {
                Some(room) => format!("{} leaves room for {room} ports", state.ports_variable),
                None => state.remedy(ports.size_needed(highest), highest),
            }
        );
    }
    Ok(())
}

fn listener_state(
    listener: &Listener,
    config: &Config,
    addressing: Addressing,
    tls: Option<&Arc<ServerMaterial>>,
) -> Result<ListenerState, GatewayError> {
    let tls = match tls.filter(|_| listener.protocol.is_tls()) {
        Some(material) => Some(material.server_config(listener.client_auth).map_err(
            |problems| {
                GatewayError::Tls {
                    listener: listener.name.clone(),
                    problems: problems
                        .iter()
                        .map(|p| format!("{}: {}", p.property, p.reason))
                        .collect::<Vec<_>>()
                        .join("; "),
                }
            },
        )?),
        None => None,
    };
    Ok(ListenerState {
        name: listener.name.clone(),
        protocol: listener.protocol,
        addressing,
        tls,
        ports_variable: listener.ports_variable.clone(),
        counted_within: match listener.ports {
            PortPlan::FromStart { start, count: None } => {
                Some(u32::from(last_port(start, None, config.http.port) - start) + 1)
            }
            _ => None,
        },
        reported: Mutex::default(),
        pace: config
            .limits
            .max_connection_creation_rate
            .map(|rate| Mutex::new(Pace::new(rate))),
    })
}

/// Clients that verify host names cannot connect by a name that the certificate lacks.
fn warn_of_missing_names(state: &ListenerState, material: &ServerMaterial, nodes: Vec<i32>) {
    let missing = material.missing_names(&state.addressing.server_names(nodes.into_iter()));
    if !missing.is_empty() {
        tracing::warn!(
            target: NETWORK,
            listener = state.name,
            missing = missing.join(" "),
            "the certificate does not cover all names that clients are given"
        );
    }
}

/// Keeps what is shown of topics and groups up to date.
fn follow_offsets(config: &Config, shared: &Arc<Shared>, client: Client) -> Vec<JoinHandle<()>> {
    let topics = shared.access.metrics.topics();
    let mut tasks = Vec::new();
    if topics.settings().bytes || topics.settings().offsets {
        let keeping = offsets::keep_time(topics.clone());
        tasks.push(tokio::task::spawn_local(keeping));
    }
    if let Some(period) = config.topic_metrics.poll
        && topics.settings().offsets
    {
        let asking = offsets::keep_asking(client, shared.access.clone(), period);
        tasks.push(tokio::task::spawn_local(asking));
    }
    tasks
}

/// Names brokers that have no port, now and when they join, and shows how many there are.
fn follow_ports(
    view: &Arc<ClusterView>,
    listeners: Vec<Arc<ListenerState>>,
    metrics: &Metrics,
) -> JoinHandle<()> {
    let (seen, shown) = (view.clone(), listeners.clone());
    metrics.before_scrapes(move |catalogue| {
        let snapshot = seen.snapshot.load();
        for listener in &shown {
            let gauge = catalogue.brokers_without_port.with([&listener.name]);
            gauge.set(listener.unroutable_of(snapshot.brokers.keys()) as f64);
        }
    });
    let mut changes = view.changes.subscribe();
    let view = view.clone();
    tokio::task::spawn_local(async move {
        loop {
            let nodes: Vec<i32> = view.snapshot.load().brokers.keys().copied().collect();
            for listener in &listeners {
                let lost = |node: &&i32| listener.addressing.address(**node).is_none();
                nodes
                    .iter()
                    .filter(lost)
                    .for_each(|node| listener.unroutable(*node));
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    })
}

/// Shows who is in the cluster. Gives what has to be told when a broker has answered.
fn show_brokers(view: &Arc<ClusterView>, metrics: &Metrics) -> Arc<Mutex<Instant>> {
    let answered = Arc::new(Mutex::new(Instant::now()));
    let (view, seen) = (view.clone(), answered.clone());
    metrics.before_scrapes(move |catalogue| {
        let last = *seen.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = view.snapshot.load();
        let brokers = match last.elapsed() < SILENCE {
            true => snapshot.brokers.len(),
            false => 0,
        };
        let has_legs = |broker: &&Arc<Broker>| broker.legs.load(Ordering::Relaxed) > 0;
        let in_use = snapshot.brokers.values().filter(has_legs).count();
        catalogue.brokers.with([]).set(brokers as f64);
        catalogue.brokers_in_use.with([]).set(in_use as f64);
    });
    answered
}

/// Counts clients that come in.
#[derive(Clone)]
struct Doors {
    sockets: Level,
    connects: Counter,
    refused: Counter,
    lost: Counter,
}

impl Doors {
    fn new(metrics: &Metrics) -> Doors {
        let catalogue = metrics.catalogue();
        Doors {
            sockets: catalogue.client_sockets.with([]),
            connects: catalogue.client_connects.with([]),
            refused: catalogue.client_closes.with(["limit"]),
            lost: catalogue.client_closes.with(["client"]),
        }
    }
}

/// A bound port and what it stands for.
struct BoundPort {
    socket: TcpListener,
    listener: Arc<ListenerState>,
    node: Option<i32>,
}

async fn bind(
    listener: &Listener,
    state: &Arc<ListenerState>,
) -> Result<Vec<BoundPort>, GatewayError> {
    let mut bound = Vec::new();
    let places: Vec<(u16, Option<i32>)> = match &state.addressing {
        Addressing::Ports(ports) => ports
            .slots()
            .iter()
            .enumerate()
            .map(|(index, slot)| (slot.local, ports.node_of_slot(index)))
            .collect(),
        Addressing::Names(_) => match &listener.ports {
            PortPlan::Explicit(pairs) => pairs.iter().map(|pair| (pair.local, None)).collect(),
            PortPlan::FromStart { start, .. } => vec![(*start, None)],
        },
    };
    for (port, node) in places {
        let failed = |error: io::Error| GatewayError::Bind {
            listener: listener.name.clone(),
            address: format!("{}:{port}", listener.bind_address),
            variable: bind_variable(listener, &error),
            error,
        };
        let unresolved = |error| GatewayError::Bind {
            listener: listener.name.clone(),
            address: listener.bind_address.clone(),
            variable: listener.bind_variable.clone(),
            error,
        };
        let addresses: Vec<SocketAddr> = lookup_host((listener.bind_address.as_str(), port))
            .await
            .map_err(unresolved)?
            .collect();
        for address in addresses {
            bound.push(BoundPort {
                socket: listen(address).map_err(failed)?,
                listener: state.clone(),
                node,
            });
        }
    }
    Ok(bound)
}

/// The variable to look at after the system has refused to bind: the one of the port, unless the address is not one of this machine.
fn bind_variable(listener: &Listener, error: &io::Error) -> String {
    match (error.kind(), &listener.ports) {
        (io::ErrorKind::AddrNotAvailable, _) => listener.bind_variable.clone(),
        (_, PortPlan::FromStart { .. }) => "GATEWAY_PORT_START".to_owned(),
        (_, PortPlan::Explicit(_)) => listener.ports_variable.clone(),
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(
    port: BoundPort,
    workers: Arc<Vec<WorkerHandle>>,
    admission: Arc<Admission>,
    doors: Doors,
) {
    loop {
        let (stream, peer) = match port.socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if !is_about_one_client(&error) {
                    tracing::warn!(target: NETWORK, %error, "cannot accept");
                    sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
        };
        doors.connects.inc();
        let open = doors.sockets.hold();
        if let Some(pace) = &port.listener.pace {
            let delay = pace
                .lock()
                .unwrap_or_else(|e| e.into_inner())
                .delay(std::time::Instant::now());
            if !delay.is_zero() {
                sleep(delay).await;
            }
        }
        let Some((admitted, leave)) = place(&admission, peer.ip()).await else {
            doors.refused.inc();
            tracing::debug!(target: NETWORK, %peer, "refused: too many connections");
            continue; // dropped, as a broker does
        };
        let Some(worker) = workers.iter().min_by_key(|w| w.load()) else {
            return;
        };
        match prepare(stream) {
            Ok(stream) => {
                let accepted = Accepted {
                    stream,
                    peer,
                    listener: port.listener.clone(),
                    node: port.node,
                    admitted,
                    leave,
                    open,
                };
                if worker.serve(accepted).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                doors.lost.inc();
                tracing::debug!(target: NETWORK, %peer, %error, "lost before it was served");
            }
        }
    }
}

/// Takes a place; `None`: there is none.
async fn place(admission: &Arc<Admission>, ip: IpAddr) -> Option<(Admitted, Leave)> {
    let deadline = Instant::now() + ROOM_PATIENCE;
    loop {
        let now = Instant::now();
        match admission.admit(ip, now) {
            Ok(place) => return Some(place),
            Err(NoPlace::Soon) if now < deadline => admission.room().await,
            Err(_) => return None,
        }
    }
}

fn prepare(stream: TcpStream) -> io::Result<std::net::TcpStream> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(&stream).set_keepalive(true)?;
    stream.into_std()
}

fn is_about_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
