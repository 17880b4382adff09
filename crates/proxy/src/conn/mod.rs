//! One client connection, from accept to close.
//!
//! ```text
//! client ── requests ──▶ private leg (or a shared one) ──▶ broker
//!               │ what is owed, in order (InFlight)
//! client ◀─ responses ◀─ private leg (or a shared one, or the gateway itself)
//! ```
//!
//! Both halves run in one task on one worker. The request half reads the client, decides per frame ([`crate::verdict`])
//! and writes upstream; the response half gives the answers in request order. Bodies stream: a connection holds one
//! window per direction, whatever the frame size, and a half whose writer does not get on stops reading.

mod authorize;
mod bygone;
mod inflight;
mod inspect;
mod intake;
mod limits;
mod local;
mod memory;
mod reauth;
mod relay;
mod renewal;
mod replica;
mod requests;
mod responses;
mod sasl;
mod session;
mod signal;
mod tally;
mod timing;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::hash::RandomState;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use telemetry::targets::{NETWORK, UPSTREAM};

use auth::accounts::IdentityKind;
use auth::server::AuthFailure;
use telemetry::metrics::{ANONYMOUS, Held, Origin};
use tenancy::Subscriptions;
use thiserror::Error;
use tokio::time::{Instant, sleep_until, timeout_at};
use wire::walk::WalkError;

use crate::access::Access;
use crate::aside::LONG;
use crate::cluster::{Offered, Opened, Target};
use crate::drain::Drain;
use crate::fair::Claim;
use crate::gateway::ListenerState;
use crate::socket::{Socket, Traffic};
use crate::topics::Questions;
use crate::upstream::pool::Pin;
use crate::upstream::{DialError, Leg};
use crate::worker::{Worker, complain};

use memory::Memory;
use relay::Relayed;
use sasl::Conversation;
use session::{Introduced, Session};
use signal::{Apart, Flag};
use tally::Tally;
use timing::Timings;

pub(crate) use inflight::{InFlight, Pending, ShareSession, Source, Work};
pub(crate) use intake::{Intake, Metered};
pub(crate) use limits::{Admission, Admitted, Leave, NoPlace, Pace};

/// A connection to be served.
pub(crate) struct Accepted {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) listener: Arc<ListenerState>,
    /// The node id that the port stands for.
    pub(crate) node: Option<i32>,
    /// Gives the place back when the connection ends.
    pub(crate) admitted: Admitted,
    /// Tells a stranger to make room.
    pub(crate) leave: Leave,
    /// Counts the socket.
    pub(crate) open: Held,
}

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    ClientClosed,
    BrokerClosed,
    Idle,
    Stalled,
    Drained,
    /// The broker that the client meant is back.
    Returned,
    /// A new login on the connection failed.
    Unauthenticated,
    /// It had not said who it is, and made room for another one.
    GaveWay,
    /// It speaks a version that Kafka has dropped.
    TooOld,
}

/// Why a connection had to be ended.
#[derive(Debug, Error)]
enum Failure {
    #[error("client: {0}")]
    Client(io::Error),
    #[error("broker: {0}")]
    Broker(io::Error),
    #[error(transparent)]
    Unreachable(#[from] DialError),
    #[error("{0}")]
    Hint(&'static str),
    #[error("request frame of {size} bytes, allowed are up to {max}")]
    RequestSize { size: i64, max: usize },
    #[error("malformed request header: {0}")]
    Header(wire::header::HeaderError),
    #[error("malformed {api} v{version} request: {error}")]
    Request {
        api: &'static str,
        version: i16,
        error: WalkError,
    },
    #[error("{api} v{version} is not offered")]
    NotOffered { api: &'static str, version: i16 },
    #[error("{api} v{version} claims to come from a replica")]
    Replica { api: &'static str, version: i16 },
    #[error("{api} was meant for a broker that is down")]
    BrokerDown { api: &'static str },
    #[error("malformed {api} v{version} answer: {reason}")]
    Answer {
        api: &'static str,
        version: i16,
        reason: String,
    },
    #[error("answer for correlation id {got}, expected {expected}")]
    Correlation { expected: i32, got: i32 },
    #[error("answer without a request")]
    Unasked,
    #[error("a frame of {0} bytes does not fit its share of GATEWAY_MAX_BUFFERED_BYTES")]
    Budget(usize),
    #[error(
        "{0} bytes to be kept until a request is answered do not fit their share of GATEWAY_MAX_BUFFERED_BYTES now"
    )]
    Remembered(usize),
    #[error("a request of {0} bytes that has to be seen as a whole was not through in time")]
    Slow(usize),
    #[error("answers that others need the memory of were not taken in time")]
    Hoarding,
    #[error("shared upstream connection lost")]
    SharedLost,
    #[error("re-authentication failed: {0}")]
    Reauthentication(String),
    #[error(
        "{0} bytes before authentication do not fit the budget of clients that are not authenticated now"
    )]
    Intake(usize),
    #[error("the client left before it was authenticated")]
    Left,
    #[error("TLS handshake: {0}")]
    Handshake(io::Error),
    #[error(
        "TLS handshake: the client and the gateway have no protocol version, cipher suite or key exchange in common ({0})"
    )]
    NothingInCommon(String),
    #[error("the subject of the client's certificate cannot be read: {0}")]
    Subject(String),
    #[error("authentication by {mechanism} failed: {failure}")]
    Authentication {
        mechanism: &'static str,
        failure: AuthFailure,
    },
    #[error("not authenticated within the time allowed")]
    Unauthenticated,
    #[error("a request out of the order of a SASL exchange, or a mechanism that is not offered")]
    SaslState,
    #[error("relayed login: {0}")]
    Relay(String),
    #[error("{api} v{version} is not allowed, and no answer can say so")]
    NotAuthorized { api: &'static str, version: i16 },
    #[error("access control: {0}")]
    Judgement(String),
    #[error("the session has ended")]
    SessionOver,
    #[error("the account of the client was removed or has moved")]
    AccountGone,
    #[error("the rights of the client have changed while a request was on its way")]
    RightsChanged,
}

impl Failure {
    /// What it counts as, one of [`telemetry::metrics::CLOSE_REASONS`].
    fn kind(&self) -> &'static str {
        match self {
            Failure::Client(_) | Failure::Left => "client",
            Failure::Broker(_)
            | Failure::Unreachable(_)
            | Failure::BrokerDown { .. }
            | Failure::Answer { .. }
            | Failure::Correlation { .. }
            | Failure::Unasked
            | Failure::SharedLost
            | Failure::Reauthentication(_)
            | Failure::Relay(_) => "broker",
            Failure::Hoarding => "stalled",
            Failure::Handshake(_) | Failure::NothingInCommon(_) => "tls",
            Failure::Budget(_) | Failure::Remembered(_) | Failure::Slow(_) | Failure::Intake(_) => {
                "limit"
            }
            Failure::Subject(_)
            | Failure::Authentication { .. }
            | Failure::Unauthenticated
            | Failure::SessionOver
            | Failure::AccountGone
            | Failure::RightsChanged => "authentication",
            Failure::Hint(_)
            | Failure::RequestSize { .. }
            | Failure::Header(_)
            | Failure::Request { .. }
            | Failure::NotOffered { .. }
            | Failure::Replica { .. }
            | Failure::SaslState
            | Failure::NotAuthorized { .. }
            | Failure::Judgement(_) => "protocol",
        }
    }

    /// The client is to blame: worth a warning (rate limited), others are the normal life of a network.
    fn is_clients_fault(&self) -> bool {
        matches!(
            self,
            Failure::Hint(_)
                | Failure::RequestSize { .. }
                | Failure::Header(_)
                | Failure::Request { .. }
                | Failure::NotOffered { .. }
                | Failure::Replica { .. }
                | Failure::SaslState
                | Failure::NothingInCommon(_)
                | Failure::Subject(_)
        )
    }
}

/// State shared by the two halves.
pub(crate) struct Connection {
    worker: Rc<Worker>,
    listener: Arc<ListenerState>,
    peer: SocketAddr,
    place: Rc<Admitted>,
    /// Tells it to make room, until its client is known.
    leave: Cell<Option<Leave>>,
    target: Target,
    /// The node id that the client's port or server name stands for, whether or not there was such a broker when it connected.
    node: Option<i32>,
    client: Socket,
    /// Who the client is, and what it may do.
    access: Access,
    /// The round of the client's rights in which the request at hand is judged.
    judged: Cell<u64>,
    /// The round of the access control lists in which the client's fetch session was checked.
    session_round: Cell<u64>,
    /// The fetch session that a broker has opened for this connection; 0: none (KIP-227).
    fetch_session: Cell<i32>,
    /// The share session that was begun over this connection.
    share_session: Cell<Option<ShareSession>>,
    /// The one that the request at hand is to begin.
    begins: Cell<Option<Box<ShareSession>>>,
    hashes: RandomState,
    /// What members of groups have subscribed to over this connection.
    subscriptions: RefCell<Subscriptions>,
    /// The memory that they take.
    subscriptions_permit: RefCell<Option<Claim>>,
    /// What it may ask Kafka about topic ids.
    questions: Questions,
    /// Counts requests of which some have to take turns.
    turn: Cell<usize>,
    /// Elements that were worked on since the other connections of the worker had their turn, about.
    busy: Cell<usize>,
    /// The SASL mechanism it has used.
    mechanism: Option<&'static str>,
    /// After this it has to authenticate again.
    session_ends: Cell<Option<Instant>>,
    /// A re-authentication that is under way, with the gateway or with the broker.
    conversation: RefCell<Conversation>,
    relayed: RefCell<Option<Relayed>>,
    leg: RefCell<Option<Rc<Leg>>>,
    /// The private leg was opened; the response half watches it even if no answer is owed (`acks=0`).
    opened: Flag,
    /// When the session of the private leg has to be renewed.
    reauthenticate_at: Cell<Option<Instant>>,
    /// The private leg leads to another broker than the client meant.
    substitute: Cell<bool>,
    /// This client does not share any more (pool `ROUND_ROBIN`).
    private_for_good: Cell<bool>,
    /// The broker throttles this client: it stops sharing before its next request.
    throttled: Cell<bool>,
    /// Takes memory for frames that are held as a whole.
    memory: Memory,
    /// The shared leg of this client.
    pin: Pin,
    /// What the client was last told that it may use.
    told: RefCell<Option<Arc<Offered>>>,
    in_flight: InFlight,
    /// Counts what is in topics; `None`: nobody wants to know.
    tally: Option<Rc<Tally>>,
    /// Last time that bytes came from the client or went to it.
    active: Cell<Instant>,
    /// Bytes for the client are waiting in a write; when it last took some.
    writing: Cell<Option<Instant>>,
    /// No new request is begun, for this reason; those in flight are finished.
    stopping: Cell<Option<End>>,
    stop: Flag,
    /// The broker may take its time over a request that went to the private leg.
    held: Cell<bool>,
}

/// Serves one connection until it ends.
pub(crate) async fn serve(worker: Rc<Worker>, accepted: Accepted) {
    let Accepted {
        stream,
        peer,
        listener,
        node,
        admitted,
        leave,
        open,
    } = accepted;
    let place = Rc::new(admitted);
    let outcome = match tokio::net::TcpStream::from_std(stream) {
        Ok(stream) => meet(&worker, &listener, stream, node, peer, &place, leave).await,
        Err(error) => Err(Failure::Client(error)),
    };
    report(&worker, &listener, peer, &outcome);
    drop((place, open));
}

/// Finds out who the client is, and serves it.
async fn meet(
    worker: &Rc<Worker>,
    listener: &Arc<ListenerState>,
    stream: tokio::net::TcpStream,
    node: Option<i32>,
    peer: SocketAddr,
    admitted: &Rc<Admitted>,
    mut leave: Leave,
) -> Result<End, Failure> {
    let mut drain = worker.shared.drain.subscribe();
    let deadline = Instant::now() + worker.shared.limits.unauthenticated_timeout;
    let introduced = tokio::select! {
        introduced = timeout_at(deadline, session::introduce(worker, listener, stream, node, peer)) => {
            introduced.unwrap_or(Err(Failure::Unauthenticated))?
        }
        _ = drain.wait_for(|drain| *drain != Drain::Not) => return Ok(End::Drained),
        _ = &mut leave => return Ok(End::GaveWay),
    };
    let Introduced {
        client,
        target,
        node,
        session,
    } = introduced;
    let Session {
        identity,
        mechanism,
        ends,
        leg,
        told,
    } = session;
    let shared = &worker.shared;
    if identity.kind != IdentityKind::Anonymous {
        if !admitted.is_known() {
            // Its place has gone to another one in the moment of its login.
            client.close().await;
            return Ok(End::GaveWay);
        }
        let mechanism = mechanism.unwrap_or(session::TLS);
        shared
            .access
            .succeeded(&identity, mechanism, listener, peer);
    }
    let place = shared.places.enter(target);
    let counted_name = match identity.kind {
        IdentityKind::Anonymous => ANONYMOUS,
        _ => &identity.name,
    };
    let memory = Memory::new(&shared.budget, &identity, peer.ip());
    let counts = worker.clients.get(&identity.vcluster, counted_name);
    let _connected = counts.connections.hold();
    let connection = Connection {
        tally: Tally::new(shared, &identity.vcluster),
        in_flight: InFlight::new(
            shared.limits.max_in_flight_per_connection,
            Timings::new(counts.clone(), worker.lifecycle.clone()),
        ),
        worker: worker.clone(),
        listener: listener.clone(),
        peer,
        place: admitted.clone(),
        leave: Cell::new((identity.kind == IdentityKind::Anonymous).then_some(leave)),
        target,
        node,
        client,
        access: Access::new(&shared.access, identity, peer.ip()),
        judged: Cell::new(0),
        session_round: Cell::new(0),
        share_session: Cell::default(),
        begins: Cell::default(),
        hashes: RandomState::new(),
        fetch_session: Cell::new(0),
        subscriptions: RefCell::default(),
        subscriptions_permit: RefCell::default(),
        questions: Questions::default(),
        turn: Cell::new(0),
        busy: Cell::new(0),
        mechanism,
        session_ends: Cell::new(ends),
        conversation: RefCell::default(),
        relayed: RefCell::default(),
        leg: RefCell::new(None),
        opened: Flag::default(),
        reauthenticate_at: Cell::new(None),
        substitute: Cell::new(false),
        private_for_good: Cell::new(leg.is_some()),
        throttled: Cell::new(false),
        memory,
        pin: Pin::new(),
        told: RefCell::new(told),
        active: Cell::new(Instant::now()),
        writing: Cell::new(None),
        stopping: Cell::new(None),
        stop: Flag::default(),
        held: Cell::new(false),
    };
    if let Some(opened) = leg {
        connection.adopt(opened);
    }
    tracing::debug!(target: NETWORK, %peer, ?target, listener = listener.name, principal = %connection.access.identity().name, "connected");
    let outcome = connection.run().await;
    if let Some(origin) = fault(&outcome) {
        connection.in_flight.timings.fail(origin);
    }
    drop(place);
    connection.client.close().await;
    outcome
}

/// Resolves when a stranger has to make room; never, once its client is known.
async fn told(leave: &mut Option<Leave>) {
    let told = match leave {
        Some(leave) => leave.await,
        None => pending().await,
    };
    *leave = None;
    if told.is_err() {
        pending().await
    }
}

/// Whose fault it is that answers are not given; `None`: the client's.
fn fault(outcome: &Result<End, Failure>) -> Option<Origin> {
    match outcome {
        Ok(End::BrokerClosed) => Some(Origin::Broker),
        Ok(_) => None,
        Err(failure) => match failure.kind() {
            "broker" => Some(Origin::Broker),
            "client" | "stalled" => None,
            _ => Some(Origin::Gateway),
        },
    }
}

/// Says how a connection ended, and counts what has to be counted.
fn report(
    worker: &Worker,
    listener: &ListenerState,
    peer: SocketAddr,
    outcome: &Result<End, Failure>,
) {
    let reason = match outcome {
        Ok(End::ClientClosed) => "client",
        Ok(End::BrokerClosed) => "broker",
        Ok(End::Idle) => "idle",
        Ok(End::Stalled) => "stalled",
        Ok(End::Drained) => "shutdown",
        Ok(End::Returned) => "returned",
        Ok(End::Unauthenticated) => "authentication",
        Ok(End::GaveWay) => "limit",
        Ok(End::TooOld) => "protocol",
        Err(failure) => failure.kind(),
    };
    let catalogue = worker.shared.access.metrics.catalogue();
    catalogue.client_closes.with([reason]).inc();
    match outcome {
        Ok(End::GaveWay) => {
            complain(peer.ip(), reason, |suppressed| {
                tracing::warn!(target: NETWORK, %peer, suppressed, "connection closed: the client had not said who it is, and others needed the place");
            });
        }
        Ok(end) => {
            tracing::debug!(target: NETWORK, %peer, ?end, "disconnected");
        }
        Err(Failure::Authentication { mechanism, failure }) => {
            worker
                .shared
                .access
                .failed(failure, mechanism, listener, peer);
        }
        Err(failure) if failure.is_clients_fault() => {
            complain(peer.ip(), failure.kind(), |suppressed| {
                tracing::warn!(target: NETWORK, %peer, error = %failure, suppressed, "connection closed");
            });
        }
        Err(failure) => {
            if matches!(failure, Failure::SessionOver) {
                worker.shared.access.metrics.expired_connections_killed();
            }
            tracing::debug!(target: NETWORK, %peer, error = %failure, "connection closed");
        }
    }
}

impl Connection {
    async fn run(&self) -> Result<End, Failure> {
        // In this order: what each of them tells the ones after it is seen in the same turn.
        let mut parts = pin!(async {
            tokio::select! {
                biased;
                end = Apart::new(self.oversee()) => end,
                end = self.requests() => end,
                end = self.responses() => end,
            }
        });
        poll_fn(|context| {
            self.busy.set(0); // the others of the worker have had their turn
            parts.as_mut().poll(context)
        })
        .await
    }

    /// Watches the clock, the cluster, the client's account and the shutdown.
    async fn oversee(&self) -> Result<End, Failure> {
        let max_idle = self.worker.shared.limits.connections_max_idle;
        let max_stall = self.max_stall();
        let mut drain = self.worker.shared.drain.subscribe();
        let mut changes = self.worker.shared.view.changes.subscribe();
        let mut revocations = self.worker.shared.access.revocations.subscribe();
        self.check_account()?;
        let mut leave = self.leave.take();
        self.reconsider(); // what changed since the connection was accepted
        loop {
            if drain.borrow_and_update().concerns(self.target) {
                self.stop_soon(End::Drained);
            }
            let now = Instant::now();
            // A write may begin at any time.
            let look_at = (self.active.get() + max_idle).min(now + max_stall);
            tokio::select! {
                () = sleep_until(look_at) => {
                    let now = Instant::now();
                    if self.writing.get().is_some_and(|since| now >= since + max_stall) {
                        return Ok(End::Stalled);
                    }
                    if now >= self.active.get() + max_idle {
                        if self.in_flight.outstanding() == 0 {
                            return Ok(End::Idle);
                        }
                        self.active.set(now); // waiting for a broker is not being idle
                    }
                }
                _ = drain.changed() => {}
                () = told(&mut leave) => return Ok(End::GaveWay),
                _ = changes.changed() => self.reconsider(),
                _ = revocations.changed() => self.check_account()?,
            }
        }
    }

    /// How long a client may take nothing of an answer: what is in memory for it is missed by others.
    fn max_stall(&self) -> Duration {
        let shared = &self.worker.shared;
        let request_timeout = shared.view.settings.request_timeout;
        let max_idle = shared.limits.connections_max_idle;
        request_timeout.max(Duration::from_secs(1)).min(max_idle)
    }

    /// The broker that the client's port stands for is back, and another one serves this connection: end it, so that the
    /// client reconnects properly. Otherwise it would be told for ever that this broker does not lead its partitions.
    fn reconsider(&self) {
        let misled = self.target == Target::Bootstrap || self.substitute.get();
        if misled
            && self
                .node
                .is_some_and(|id| self.worker.shared.view.is_up(id))
        {
            self.stop_soon(End::Returned);
        }
    }

    fn stop_soon(&self, end: End) {
        // The first reason holds.
        let end = self.stopping.get().unwrap_or(end);
        self.stopping.set(Some(end));
        self.stop.raise();
    }

    /// Whether so much has been done for this connection in a row that the others of the worker go first.
    fn is_busy(&self) -> bool {
        self.busy.get() >= LONG
    }

    fn touch(&self) {
        self.active.set(Instant::now());
    }

    /// The private leg, opened at the first need.
    async fn private_leg(&self) -> Result<Rc<Leg>, Failure> {
        if let Some(leg) = &*self.leg.borrow() {
            return Ok(leg.clone());
        }
        let opened = self.worker.shared.view.open(self.target).await?;
        Ok(self.adopt(opened))
    }

    /// Makes a fresh leg the private one.
    fn adopt(&self, opened: Opened) -> Rc<Leg> {
        self.substitute.set(opened.substitute);
        self.reauthenticate_at.set(opened.leg.reauthenticate_at);
        if opened.substitute {
            tracing::debug!(target: UPSTREAM, target = ?self.target, "served by a substitute");
            self.reconsider();
        }
        let mut leg = opened.leg;
        leg.carries_requests(self.worker.shared.view.dialer.dials().brokered());
        let counts = &self.in_flight.timings.counts;
        leg.socket.count(Traffic {
            read: counts.downstream.clone(),
            written: counts.upstream.clone(),
        });
        let leg = Rc::new(leg);
        *self.leg.borrow_mut() = Some(leg.clone());
        self.opened.raise();
        leg
    }
}
