//! Shared upstream connections (pool `ROUND_ROBIN`).
//!
//! A worker keeps up to `GATEWAY_UPSTREAM_NUM_CONNECTION` legs per broker. Only whole, validated, short requests travel
//! on them, with correlation ids of the leg's own; see [`crate::verdict::is_shared`] for which those are.
//!
//! A broker that throttles a client mutes the connection on which it has told so. Such a leg is retired: it takes no
//! new request, those it has are answered, and another leg is opened in its place. A client that is still owed
//! answers of the old leg waits for them before it uses the new one, so that its requests keep their order.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use telemetry::metrics::Held;
use telemetry::targets::UPSTREAM;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};
use wire::api::{ApiKey, Direction};
use wire::plan::{Interest, Plans};
use wire::schema::Entity;
use wire::walk::{Field, Value, Visitor};

use super::measure::Dials;
use super::{DialError, Leg};
use crate::buffer::WINDOW;
use crate::cluster::{ClusterView, Opened, Target};
use crate::conn::InFlight;
use crate::fair::{Account, Claim};
use crate::socket::Socket;

/// Requests waiting for one leg; then senders wait.
const QUEUE: usize = 16;

/// Requests on their way on one leg. The broker handles one at a time; more keep it from waiting for the network.
const ON_THE_WAY: usize = 16;

/// How long an answer waits for memory that its client's tenant has used up; all behind it on the leg wait, too.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

const PREFIX: usize = 4;

static THROTTLE: Plans = Plans::new(Interest::of(&[Entity::ThrottleTime]));

/// What came back for a shared request.
pub(crate) struct SharedAnswer {
    /// The whole frame, with the client's correlation id.
    pub(crate) frame: Vec<u8>,
    /// The broker throttles this client.
    pub(crate) throttled: bool,
    /// How long the broker took.
    pub(crate) upstream: Duration,
    /// How long the request waited behind others before that.
    pub(crate) queued: Duration,
    /// Memory that the frame takes.
    pub(crate) claim: Option<Claim>,
}

/// What became of a request.
pub(crate) enum Sent {
    /// It is on its way; the receiver is dropped when the leg is lost.
    Shared(oneshot::Receiver<SharedAnswer>),
    /// It was not sent: only another broker than the one meant could be reached. A leg to it is not for sharing, it has
    /// to end when the right broker is back.
    Substitute(Opened),
}

struct SharedRequest {
    /// When it was handed over.
    asked: std::time::Instant,
    frame: Bytes,
    api: ApiKey,
    version: i16,
    reply: oneshot::Sender<SharedAnswer>,
    memory: Account,
}

/// Who sends a request over a shared leg.
pub(crate) struct Sharer<'a> {
    pub(crate) view: &'a Arc<ClusterView>,
    pub(crate) target: Target,
    pub(crate) pin: &'a Pin,
    pub(crate) in_flight: &'a InFlight,
    /// Pays for answers.
    pub(crate) memory: &'a Account,
}

/// The shared legs of one worker.
pub(crate) struct Pools {
    per_broker: usize,
    idle_timeout: Duration,
    brokers: RefCell<HashMap<Key, Rc<Ring>>>,
}

/// Where legs lead: ports without a live broker have a ring of their own.
type Key = Option<i32>;

enum Found {
    Leg(Place),
    Substitute(Opened),
}

/// The way to a leg.
#[derive(Clone)]
struct Place {
    sender: mpsc::Sender<SharedRequest>,
    retired: Rc<Retired>,
}

/// Whether a leg takes no more requests.
#[derive(Default)]
struct Retired {
    is_set: Cell<bool>,
    told: Notify,
}

impl Retired {
    fn set(&self) {
        self.is_set.set(true);
        self.told.notify_waiters();
    }

    async fn comes(&self) {
        while !self.is_set.get() {
            self.told.notified().await;
        }
    }
}

struct Ring {
    legs: RefCell<Vec<Option<Place>>>,
    uses: Vec<Rc<Use>>,
    next: Cell<usize>,
}

/// The place of one client connection in a ring: it stays on one leg, so that its requests keep their order.
#[derive(Default)]
pub(crate) struct Pin {
    index: Cell<Option<usize>>,
    used: RefCell<Option<Rc<Use>>>,
    /// The leg that the last request went to.
    last: RefCell<Option<Rc<Retired>>>,
}

impl Pin {
    pub(crate) fn new() -> Self {
        Pin::default()
    }

    fn set(&self, index: usize, ring: &Ring) {
        self.index.set(Some(index));
        let used = ring.uses.get(index).cloned();
        if let Some(used) = &used {
            used.change(0, 1);
        }
        *self.used.borrow_mut() = used;
    }

    /// Whether requests are from now on sent over another leg than the last one.
    fn has_moved_to(&self, leg: &Rc<Retired>) -> bool {
        let last = self.last.borrow_mut().replace(leg.clone());
        last.is_some_and(|last| !Rc::ptr_eq(&last, leg))
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if let Some(used) = self.used.take() {
            used.change(0, -1);
        }
    }
}

/// Whether a place in a ring has a leg, and clients that use it.
struct Use {
    dials: Arc<Dials>,
    legs: Cell<isize>,
    clients: Cell<isize>,
    held: RefCell<Option<Held>>,
}

impl Use {
    fn change(&self, legs: isize, clients: isize) {
        self.legs.set(self.legs.get() + legs);
        self.clients.set(self.clients.get() + clients);
        let mut held = self.held.borrow_mut();
        if self.legs.get() == 0 || self.clients.get() == 0 {
            *held = None;
        } else if held.is_none() {
            *held = Some(self.dials.brokered());
        }
    }
}

/// A leg in a place of a ring, for as long as it is driven.
struct Driven(Rc<Use>);

impl Driven {
    fn new(used: &Rc<Use>) -> Driven {
        used.change(1, 0);
        Driven(used.clone())
    }
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.change(-1, 0);
    }
}

impl Pools {
    pub(crate) fn new(per_broker: u16, idle_timeout: Duration) -> Self {
        Pools {
            per_broker: usize::from(per_broker.max(1)),
            idle_timeout,
            brokers: RefCell::default(),
        }
    }

    /// Sends a whole request frame.
    pub(crate) async fn send(
        &self,
        sharer: &Sharer<'_>,
        frame: Bytes,
        api: ApiKey,
        version: i16,
    ) -> Result<Sent, DialError> {
        let (reply, answer) = oneshot::channel();
        let request = SharedRequest {
            asked: std::time::Instant::now(),
            frame,
            api,
            version,
            reply,
            memory: sharer.memory.clone(),
        };
        loop {
            let place = match self.leg(sharer).await? {
                Found::Leg(place) => place,
                Found::Substitute(opened) => return Ok(Sent::Substitute(opened)),
            };
            if sharer.pin.has_moved_to(&place.retired) {
                sharer.in_flight.settled().await;
            }
            // A leg that ends (idle, lost or retired) before it takes the request has sent nothing: try another.
            let room = tokio::select! {
                biased;
                () = place.retired.comes() => continue,
                room = place.sender.reserve() => room,
            };
            if let Ok(room) = room {
                room.send(request);
                return Ok(Sent::Shared(answer));
            }
        }
    }

    async fn leg(&self, sharer: &Sharer<'_>) -> Result<Found, DialError> {
        let Sharer {
            view, target, pin, ..
        } = *sharer;
        let ring = self.ring(target, view);
        let index = match pin.index.get() {
            Some(index) => index,
            None => {
                let index = ring.next.get();
                ring.next.set((index + 1) % self.per_broker);
                pin.set(index, &ring);
                index
            }
        };
        if let Some(open) = ring.open_leg(index) {
            return Ok(Found::Leg(open));
        }
        let opened = view.open(target).await?;
        if let Some(open) = ring.open_leg(index) {
            return Ok(Found::Leg(open)); // somebody else was faster
        }
        if opened.substitute {
            return Ok(Found::Substitute(opened));
        }
        let (sender, requests) = mpsc::channel(QUEUE);
        let place = Place {
            sender,
            retired: Rc::default(),
        };
        if let Some(slot) = ring.legs.borrow_mut().get_mut(index) {
            *slot = Some(place.clone());
        }
        let driven = ring.uses.get(index).map(Driven::new);
        let drive = drive(
            opened.leg,
            view.clone(),
            requests,
            self.idle_timeout,
            place.retired.clone(),
        );
        tokio::task::spawn_local(async move {
            drive.await;
            drop(driven);
        });
        Ok(Found::Leg(place))
    }

    fn ring(&self, target: Target, view: &ClusterView) -> Rc<Ring> {
        let key = match target {
            Target::Broker(id) => Some(id),
            Target::Bootstrap => None,
        };
        self.brokers
            .borrow_mut()
            .entry(key)
            .or_insert_with(|| {
                Rc::new(Ring {
                    legs: RefCell::new(vec![None; self.per_broker]),
                    uses: (0..self.per_broker)
                        .map(|_| {
                            Rc::new(Use {
                                dials: view.dialer.dials().clone(),
                                legs: Cell::new(0),
                                clients: Cell::new(0),
                                held: RefCell::default(),
                            })
                        })
                        .collect(),
                    next: Cell::new(0),
                })
            })
            .clone()
    }
}

impl Ring {
    fn open_leg(&self, index: usize) -> Option<Place> {
        self.legs
            .borrow()
            .get(index)
            .cloned()
            .flatten()
            .filter(|place| !place.sender.is_closed() && !place.retired.is_set.get())
    }
}

/// A request whose answer is awaited on the leg.
struct Awaited {
    api: ApiKey,
    version: i16,
    leg_id: i32,
    client_id: [u8; 4],
    sent: std::time::Instant,
    queued: Duration,
    reply: oneshot::Sender<SharedAnswer>,
    memory: Account,
}

/// Runs one shared leg until it is lost or idle. When its session is due for renewal, the next request waits until
/// nothing is awaited any more and the gateway has logged in again.
async fn drive(
    mut leg: Leg,
    view: Arc<ClusterView>,
    mut requests: mpsc::Receiver<SharedRequest>,
    idle_timeout: Duration,
    retired: Rc<Retired>,
) {
    let line = Line::default();
    let mut next = None;
    loop {
        let pause = tokio::select! {
            pause = line.write(&leg, &mut requests, next.take(), idle_timeout) => pause,
            () = line.read(&leg, &retired) => return,
        };
        match pause {
            Pause::Ended => return,
            Pause::Renew(request) => match view.dialer.log_in_again(&leg).await {
                Ok(reauthenticate_at) => {
                    leg.reauthenticate_at = reauthenticate_at;
                    next = Some(request);
                }
                Err(error) => {
                    tracing::warn!(target: UPSTREAM, %error, "re-authentication of a shared connection failed");
                    return;
                }
            },
        }
    }
    // Everybody who waits sees the channel close: the connections pinned to this leg end.
}

/// What the two halves of a shared leg share.
#[derive(Default)]
struct Line {
    awaited: RefCell<VecDeque<Awaited>>,
    next_id: Cell<i32>,
    /// Requests have been waiting since there was no room for one.
    crowded: Cell<bool>,
    room: Notify,
    arrived: Notify,
}

/// Why the writing half stopped.
enum Pause {
    /// The leg is lost or idle.
    Ended,
    /// The session has to be renewed before this request; nothing is awaited.
    Renew(SharedRequest),
}

impl Line {
    async fn write(
        &self,
        leg: &Leg,
        requests: &mut mpsc::Receiver<SharedRequest>,
        mut held: Option<SharedRequest>,
        idle_timeout: Duration,
    ) -> Pause {
        loop {
            let request = match held.take() {
                Some(request) => Some(request),
                None => tokio::select! {
                    biased;
                    request = requests.recv() => request,
                    () = self.idle(idle_timeout) => None,
                },
            };
            let Some(request) = request else {
                self.room_for(1).await; // a retired leg has answers to give
                return Pause::Ended;
            };
            if leg.reauthenticate_at.is_some_and(|at| at <= Instant::now()) {
                self.crowded.set(true);
                self.room_for(1).await;
                return Pause::Renew(request);
            }
            self.room_for(ON_THE_WAY).await;
            if !self.send(&leg.socket, request).await {
                return Pause::Ended;
            }
            if self.crowded.get() {
                self.crowded.set(!requests.is_empty());
            }
        }
    }

    async fn idle(&self, timeout: Duration) {
        loop {
            sleep(timeout).await;
            if self.awaited.borrow().is_empty() {
                return;
            }
        }
    }

    /// Waits until fewer than `limit` answers are awaited.
    async fn room_for(&self, limit: usize) {
        while self.awaited.borrow().len() >= limit {
            self.crowded.set(true);
            self.room.notified().await;
        }
    }

    /// Writes a request under an id of the leg's own. `false`: the leg is lost.
    async fn send(&self, socket: &Socket, request: SharedRequest) -> bool {
        let leg_id = self.next_id.get();
        self.next_id.set(leg_id.wrapping_add(1) & i32::MAX);
        let mut frame = BytesMut::from(&request.frame[..]);
        let Some(correlation) = frame.get_mut(PREFIX + 4..PREFIX + 8) else {
            return true;
        };
        let mut client_id = [0; 4];
        client_id.copy_from_slice(correlation);
        correlation.copy_from_slice(&leg_id.to_be_bytes());
        let sent = std::time::Instant::now();
        let queued = match self.crowded.get() {
            true => sent.saturating_duration_since(request.asked),
            false => Duration::ZERO,
        };
        self.awaited.borrow_mut().push_back(Awaited {
            api: request.api,
            version: request.version,
            leg_id,
            client_id,
            sent,
            queued,
            reply: request.reply,
            memory: request.memory,
        });
        self.arrived.notify_one();
        socket.write_all(&frame).await.is_ok()
    }

    /// Gives out answers until the leg is lost.
    async fn read(&self, leg: &Leg, retired: &Retired) {
        let socket = &leg.socket;
        loop {
            while self.awaited.borrow().is_empty() {
                // A read, because readiness alone is also shown for what has been read already.
                let mut unasked = [0; 1];
                tokio::select! {
                    biased;
                    () = self.arrived.notified() => {}
                    _ = socket.read(&mut unasked) => return,
                }
            }
            let head = {
                let awaited = self.awaited.borrow();
                let head = awaited.front();
                head.map(|head| (head.memory.clone(), head.reply.is_closed()))
            };
            let Some((memory, is_gone)) = head else {
                return;
            };
            // Nobody behind an answer waits for memory for it that its client does not want any more.
            let patience = if is_gone { Duration::ZERO } else { ROOM_WITHIN };
            let Some(read) = read_answer(socket, &memory, patience).await else {
                return;
            };
            let Some(head) = self.awaited.borrow_mut().pop_front() else {
                return;
            };
            self.room.notify_one();
            let now = std::time::Instant::now();
            let upstream = now.saturating_duration_since(head.sent);
            if let Some(times) = &leg.times {
                times.answered(head.api, now, upstream);
            }
            let Read::Answer(frame, claim) = read else {
                continue; // its client's connection ends
            };
            let Some((reply, answer)) = head.finish(frame, claim, upstream) else {
                return;
            };
            if answer.throttled {
                retired.set();
            }
            let _ = reply.send(answer); // the client may have gone
        }
    }
}

impl Awaited {
    /// Puts the client's correlation id back. `None`: the answer is not for this request.
    fn finish(
        self,
        mut frame: Vec<u8>,
        claim: Option<Claim>,
        upstream: Duration,
    ) -> Option<(oneshot::Sender<SharedAnswer>, SharedAnswer)> {
        let correlation = frame.get_mut(PREFIX..PREFIX + 4)?;
        if *correlation != self.leg_id.to_be_bytes() {
            return None;
        }
        correlation.copy_from_slice(&self.client_id);
        let throttled = is_throttled(self.api, self.version, frame.get(PREFIX..)?);
        let queued = self.queued;
        Some((
            self.reply,
            SharedAnswer {
                frame,
                throttled,
                upstream,
                queued,
                claim,
            },
        ))
    }
}

fn is_throttled(api: ApiKey, version: i16, frame: &[u8]) -> bool {
    struct Throttle(bool);
    impl Visitor for Throttle {
        fn field(&mut self, field: &Field<'_>) {
            self.0 |= matches!(field.value, Value::Int(ms) if ms > 0);
        }
    }
    let mut throttle = Throttle(false);
    let body = wire::header::response_header_len(api, version, frame)
        .ok()
        .and_then(|header| frame.get(header..));
    if let (Some(body), Some(plan)) = (body, THROTTLE.get(api, version, Direction::Response)) {
        let _ = plan.visit(body, &mut throttle); // a malformed answer is found where it is rewritten
    }
    throttle.0
}

/// What was read.
enum Read {
    Answer(Vec<u8>, Option<Claim>),
    /// There was no memory for it.
    Skipped,
}

/// Reads one answer, with memory of `memory` if it is larger than a window, which is waited for as long as `patience`. `None`: the leg is lost.
async fn read_answer(socket: &Socket, memory: &Account, patience: Duration) -> Option<Read> {
    let mut prefix = [0; PREFIX];
    socket.read_exact(&mut prefix).await.ok()?;
    let size = usize::try_from(i32::from_be_bytes(prefix)).ok()?;
    let claim = match size > WINDOW {
        false => None,
        true => {
            let mut claim = memory.claim(size.saturating_mul(2));
            let has_room = match &mut claim {
                Some(claim) => timeout(patience, claim.take_all()).await.is_ok(),
                None => false,
            };
            if !has_room {
                drop(claim);
                return skip(socket, size).await;
            }
            claim
        }
    };
    let mut frame = Vec::with_capacity(PREFIX + size.min(WINDOW));
    frame.extend_from_slice(&prefix);
    while frame.len() < PREFIX + size {
        let filled = frame.len();
        let step = (PREFIX + size - filled).min(WINDOW);
        frame.resize(filled + step, 0);
        socket.read_exact(&mut frame[filled..]).await.ok()?;
    }
    (size >= 4).then_some(Read::Answer(frame, claim))
}

async fn skip(socket: &Socket, mut size: usize) -> Option<Read> {
    let mut into = vec![0; WINDOW.min(size)];
    while size > 0 {
        let step = size.min(into.len());
        socket.read_exact(&mut into[..step]).await.ok()?;
        size -= step;
    }
    Some(Read::Skipped)
}
