//! The request half: reads the client, decides per frame, writes upstream.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use config::SecurityMode;
use telemetry::targets::NETWORK;
use tokio::time::{sleep, timeout};
use wire::api::ApiKey;
use wire::error_code;
use wire::header::{HeaderError, RequestHeader};

use super::authorize::{Judged, Made};
use super::replica::{self, Progress};
use super::session::Asked;
use super::tally::RequestTap;
use super::{Connection, End, Failure, Pending, Source, bygone, local};
use crate::buffer::{Outbox, WINDOW, Window};
use crate::fair::Claim;
use crate::peek::{self, Peek};
use crate::upstream::pool::{Sent, Sharer};
use crate::verdict::{self, Treatment, Verdict};
use crate::worker::complain;

/// Length prefix of a frame, bytes.
pub(super) const PREFIX: usize = 4;

/// Smallest request: API key, version, correlation id, null client id.
const MIN_REQUEST: usize = 10;

/// Header and what has to be seen of the body lie within this: client id and transactional id have 16-bit lengths.
const MAX_HEAD: usize = 160 * 1024;

/// Requests in flight over a shared leg per client connection.
const SHARED_IN_FLIGHT: usize = 16;

/// What is kept of a request until its answer has been given need not be accounted for up to this many bytes.
const FORGETTABLE: usize = 16 * 1024;

/// What a request counts for among elements, whatever is in it: others have their turn after some dozens.
const FRAME: usize = 16;

/// How long answers are waited for after the broker stopped taking requests.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Where the request half stands within the stream of frames.
#[derive(Default)]
struct Position {
    /// Bytes of the current frame that are still to come, and whether they go upstream.
    body_left: u64,
    discard: bool,
    /// An answer to the current frame is owed.
    is_owed: bool,
    /// The current body is looked at on its way.
    checked: Option<Checked>,
    /// The current body streams because the rights of this round allow it.
    allowed: Option<u64>,
    /// Reads the current body along; and whether an answer is owed.
    tap: Option<(RequestTap, bool)>,
    /// The frame at the beginning of the window has been counted.
    counted: bool,
    /// A first frame has been recognised as Kafka's protocol.
    recognised: bool,
}

struct Checked {
    check: replica::Check,
    head: Head,
}

/// The head of a frame, copied out of the window.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) api: ApiKey,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    pub(super) header_len: usize,
    /// Whole frame, length prefix included.
    pub(super) frame_len: usize,
}

enum Taken {
    /// One frame, or a part of one, was dealt with.
    Some,
    /// More bytes are needed.
    More,
    /// No new frame is begun.
    Stopping(End),
}

impl Connection {
    /// Runs until the client leaves, a limit is broken, or the connection has been drained.
    pub(super) async fn requests(&self) -> Result<End, Failure> {
        let mut window = Window::default();
        let mut out = Outbox::default();
        let mut position = Position::default();
        loop {
            let taken = loop {
                let before = window.len();
                let taken = self.take(&mut window, &mut out, &mut position).await;
                if matches!(taken, Err(Failure::Left)) {
                    return Ok(self.owing_to_the_departed(0).await);
                }
                let taken = taken?;
                position.counted &= window.len() == before;
                match taken {
                    Taken::Some => self.busy.set(self.busy.get() + FRAME),
                    other => break other,
                }
                if self.is_busy() {
                    tokio::task::yield_now().await;
                }
            };
            if !self.send(&mut out, &window).await {
                // Answers that the broker had already given are still on their way; then the response half ends.
                sleep(LAST_ANSWERS).await;
                return Ok(End::BrokerClosed);
            }
            if let Taken::Stopping(end) = taken {
                self.in_flight.settled().await;
                return Ok(end);
            }
            window.release();
            tokio::select! {
                biased;
                () = self.stop.raised() => {}
                read = window.fill(&self.client) => {
                    if is_end(&read) {
                        // Of an answer to a request that did not come to its end there is none.
                        let lacking = usize::from(position.body_left > 0 && position.is_owed);
                        return Ok(self.owing_to_the_departed(lacking).await);
                    }
                    read.map_err(Failure::Client)?;
                    self.touch();
                    self.in_flight.timings.read(self.active.get().into_std());
                }
                // While the client sends, whoever forwards its requests sees to it.
                () = self.session_due(), if position.body_left == 0 => self.renew_session().await?,
            }
        }
    }

    /// The client has closed its side. What it has asked before is answered, but for the last `lacking`, as it is by brokers; whether it
    /// is there at all shows when it is written to. No longer than others who take nothing.
    async fn owing_to_the_departed(&self, lacking: usize) -> End {
        let settled = self.in_flight.fewer_than(1 + lacking);
        let _ = timeout(self.max_stall(), settled).await;
        End::ClientClosed
    }

    /// Writes to the private leg. `false`: the broker does not take it any more.
    async fn send(&self, out: &mut Outbox, window: &Window) -> bool {
        if out.is_empty() {
            return true;
        }
        let leg = self.leg.borrow().clone();
        match leg {
            Some(leg) => {
                let timings = &self.in_flight.timings;
                leg.socket.stalled(); // what was written before is of no interest
                let is_sent = out.flush(window, &leg.socket, |_| {}).await.is_ok();
                if let Some(since) = leg.socket.stalled() {
                    timings.waited_since(since);
                }
                if is_sent {
                    timings.sent();
                }
                is_sent
            }
            None => false,
        }
    }

    async fn take(
        &self,
        window: &mut Window,
        out: &mut Outbox,
        position: &mut Position,
    ) -> Result<Taken, Failure> {
        if position.body_left > 0 {
            if position.allowed.is_some_and(|round| round != self.round()) {
                return Err(Failure::RightsChanged);
            }
            let taken = match position.checked.is_some() {
                true => pass_checked(window, out, position)?,
                false => pass_body(window, out, position),
            };
            if position.body_left == 0 {
                self.read_along(position);
                self.in_flight.timings.body_is_complete();
            }
            return Ok(taken);
        }
        if let Some(end) = self.stopping.get() {
            return Ok(Taken::Stopping(end));
        }
        if self.in_flight.is_full() {
            if !self.send(out, window).await {
                return Ok(Taken::More);
            }
            let _waiting = self.worker.waiting.hold_many(behind(window.bytes()));
            self.in_flight
                .timings
                .queued(pin!(self.in_flight.room()))
                .await;
        }
        let head = match self.head(window.bytes(), position) {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(Taken::More),
            Err(failure) => {
                self.worker.received.inc();
                return Err(failure);
            }
        };
        if !position.counted {
            position.counted = true;
            self.worker.received.inc();
            self.in_flight.timings.accepted(head.api);
        }
        self.check_session(head.api)?;
        let view = &self.worker.shared.view;
        let verdict = verdict::judge(&view.snapshot.load().offered, head.api, head.version);
        match verdict {
            _ if self.conversation.borrow().has_begun()
                && head.api != ApiKey::SASL_AUTHENTICATE =>
            {
                self.refuse(window, position, &head, error_code::ILLEGAL_SASL_STATE)?;
                self.stop_soon(End::Unauthenticated);
                Ok(Taken::Some)
            }
            Verdict::Forward(treatment) => {
                self.forward(window, out, position, &head, treatment).await
            }
            Verdict::ApiVersions => {
                // Small by nature; the walker bounds what is in it.
                let Some(body) = whole_body(window, &head)? else {
                    return Ok(Taken::More);
                };
                let offered = view.offered();
                let answer = local::api_versions(&offered, head.version, head.correlation_id, body)
                    .map_err(|error| head.malformed(error))?;
                *self.told.borrow_mut() = Some(offered);
                self.answer(&head, answer)?;
                window.consume(head.frame_len);
                Ok(Taken::Some)
            }
            Verdict::Sasl if self.mechanism.is_some() => {
                let Some(_) = whole_body(window, &head)? else {
                    return Ok(Taken::More);
                };
                let asked = Asked::new(
                    head.api,
                    head.version,
                    head.correlation_id,
                    Bytes::copy_from_slice(&window.bytes()[PREFIX..head.frame_len]),
                    head.header_len,
                );
                match self.worker.shared.access.mode {
                    SecurityMode::GatewayManaged => {
                        window.consume(head.frame_len);
                        self.authenticate_again(&asked).await?;
                        Ok(Taken::Some)
                    }
                    SecurityMode::KafkaManaged => match self.relay_again(&asked).await? {
                        false => {
                            window.consume(head.frame_len);
                            Ok(Taken::Some)
                        }
                        true => {
                            self.forward(window, out, position, &head, Treatment::Pass)
                                .await
                        }
                    },
                }
            }
            Verdict::Sasl => {
                self.refuse(window, position, &head, error_code::ILLEGAL_SASL_STATE)?;
                Ok(Taken::Some)
            }
            Verdict::Refuse => {
                let was_offered = self
                    .told
                    .borrow()
                    .as_ref()
                    .is_some_and(|told| told.allows(head.api, head.version));
                if was_offered {
                    // The brokers have changed since. A client that reconnects learns what holds now.
                    return Err(head.not_offered());
                }
                if bygone::is_answered(head.api, head.version) {
                    self.tell_of_age(window, &head)?;
                    return Ok(Taken::Some);
                }
                self.refuse(window, position, &head, error_code::UNSUPPORTED_VERSION)?;
                Ok(Taken::Some)
            }
        }
    }

    /// It speaks Kafka's protocol, so that it need not make room for others.
    fn recognise(&self, position: &mut Position) {
        if !std::mem::replace(&mut position.recognised, true) {
            self.place.is_known();
        }
    }

    /// Answers a request in a version that Kafka 4 has dropped. The frame is whole.
    fn tell_of_age(&self, window: &mut Window, head: &Head) -> Result<(), Failure> {
        let (api, version) = (head.api, head.version);
        let frame = &window.bytes()[PREFIX..head.frame_len];
        let body = bygone::answer(api, version, frame).ok_or_else(|| head.not_offered())?;
        complain(self.peer.ip(), "dropped version", |suppressed| {
            tracing::warn!(target: NETWORK, peer = %self.peer, api = api.name(), version, suppressed, "a client is older than Kafka 4 serves, or pinned to an old version");
        });
        window.consume(head.frame_len);
        self.answer(head, local::frame(api, version, head.correlation_id, &body))?;
        self.stop_soon(End::TooOld); // it would only ask again
        Ok(())
    }

    /// Reads the head of the next frame; `None`: more bytes are needed.
    fn head(&self, bytes: &[u8], position: &mut Position) -> Result<Option<Head>, Failure> {
        let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let declared = i32::from_be_bytes(*prefix);
        let max = self.worker.shared.limits.max_request_bytes;
        let size = usize::try_from(declared)
            .ok()
            .filter(|size| (MIN_REQUEST..=max).contains(size));
        let Some(size) = size else {
            if !position.recognised
                && let Some(hint) = peek::foreign_protocol(bytes)
            {
                return Err(Failure::Hint(hint));
            }
            return Err(Failure::RequestSize {
                size: declared.into(),
                max,
            });
        };
        let available = &rest[..rest.len().min(size)];
        match RequestHeader::parse(available) {
            Ok(header) => {
                self.recognise(position);
                Ok(Some(Head {
                    api: header.api,
                    version: header.version,
                    correlation_id: header.correlation_id,
                    header_len: header.len,
                    frame_len: PREFIX + size,
                }))
            }
            Err(HeaderError::Incomplete)
                if available.len() < size && available.len() < MAX_HEAD =>
            {
                Ok(None)
            }
            // How a client finds out which version of ApiVersions it may use (KIP-511).
            Err(HeaderError::UnsupportedVersion {
                api: ApiKey::API_VERSIONS,
                version,
                correlation_id: Some(correlation_id),
            }) => {
                self.recognise(position);
                Ok(Some(Head {
                    api: ApiKey::API_VERSIONS,
                    version,
                    correlation_id,
                    header_len: MIN_REQUEST,
                    frame_len: PREFIX + size,
                }))
            }
            Err(HeaderError::UnsupportedVersion {
                api,
                version,
                correlation_id: Some(correlation_id),
            }) if bygone::is_answered(api, version) && size <= WINDOW - PREFIX => {
                self.recognise(position);
                // Seen as a whole.
                Ok((available.len() == size).then_some(Head {
                    api,
                    version,
                    correlation_id,
                    header_len: MIN_REQUEST,
                    frame_len: PREFIX + size,
                }))
            }
            Err(error) => Err(Failure::Header(error)),
        }
    }

    async fn forward(
        &self,
        window: &mut Window,
        out: &mut Outbox,
        position: &mut Position,
        head: &Head,
        treatment: Treatment,
    ) -> Result<Taken, Failure> {
        let seen = &window.bytes()[..window.len().min(head.frame_len)];
        let body = seen.get(PREFIX + head.header_len..).unwrap_or_default();
        let peeked = match peek::peek(head.api, head.version, body) {
            Some(peeked) => peeked,
            None if seen.len() < head.frame_len && seen.len() < MAX_HEAD => return Ok(Taken::More),
            None => return Err(head.cut_short()),
        };
        let mut check = None;
        let mut is_replica = peeked.is_follower;
        if replica::is_told_at_end(head.api, head.version) {
            if head.frame_len > WINDOW {
                let len = head.frame_len - PREFIX - head.header_len;
                check = Some(replica::Check::new(head.api, head.version, len));
            } else if seen.len() < head.frame_len {
                return Ok(Taken::More);
            } else {
                is_replica = replica::claims(head.api, head.version, body)
                    .map_err(|error| head.malformed(error))?;
            }
        }
        let check = check.transpose().map_err(|error| head.malformed(error))?;
        if is_replica {
            self.refuse(
                window,
                position,
                head,
                error_code::CLUSTER_AUTHORIZATION_FAILED,
            )?;
            return Ok(Taken::Some);
        }
        // Before anything that is waited for: what changes from now on has this request judged again.
        self.judged.set(self.round());
        let is_guarded = self.is_guarded(head.api);
        if is_guarded {
            // What is judged may have to leave the window, which the requests before it are still in.
            if !self.send(out, window).await {
                return Ok(Taken::More);
            }
            match self.judge(window, head).await? {
                Judged::More => return Ok(Taken::More),
                Judged::AsIs => {}
                Judged::Answer(frame) => {
                    self.answer(head, frame)?;
                    return Ok(Taken::Some);
                }
                Judged::Instead {
                    frame,
                    version,
                    work,
                    permit,
                    asked,
                } => {
                    let asked = match &self.tally {
                        Some(tally) if !peeked.expects_answer => {
                            asked.into_iter().for_each(|asked| tally.unanswered(asked));
                            None
                        }
                        _ => asked,
                    };
                    if head.frame_len > WINDOW {
                        // It was read besides the window.
                        self.in_flight.timings.read(std::time::Instant::now());
                    }
                    let pending = |source| Pending {
                        api: head.api,
                        version,
                        correlation_id: head.correlation_id,
                        source,
                        work,
                        asked,
                        judged: self.judged.get(),
                        begins: self.begins.take(),
                    };
                    let forwarded =
                        self.forward_instead(out, window, frame, treatment, &peeked, pending);
                    let Some(permit) = permit else {
                        return forwarded.await;
                    };
                    // The broker takes it in its time, or not at all while answers are not taken.
                    return tokio::select! {
                        biased;
                        taken = forwarded => taken,
                        () = permit.overstays() => Err(Failure::Slow(head.frame_len)),
                    };
                }
            }
        }
        self.in_flight.timings.decided();
        if self.worker.pools.is_some()
            && !self.private_for_good.get()
            && let Some(taken) = self
                .try_share(window, out, position, head, treatment, &peeked)
                .await?
        {
            return Ok(taken);
        }
        if self.leg.borrow().is_none() {
            // Once in the life of a connection, and large.
            let opening = Box::pin(self.private_leg());
            self.in_flight.timings.queued(opening).await?;
        }
        if self.substitute.get() && verdict::is_broker_bound(head.api) {
            return Err(Failure::BrokerDown {
                api: head.api.name(),
            });
        }
        if self.session_needs_care() {
            if !self.send(out, window).await {
                return Ok(Taken::More);
            }
            self.care_for_session().await?;
            return Ok(Taken::Some); // the shutdown may have begun meanwhile
        }
        if self.rights_have_changed() {
            return Ok(Taken::Some); // to be judged anew
        }
        let body = PREFIX + head.header_len;
        let tally = self.tally.as_ref();
        let mut tap = tally.and_then(|t| t.request(head.api, head.version, head.frame_len - body));
        if peeked.expects_answer {
            self.held.set(!verdict::is_answered_at_once(head.api));
            self.in_flight.push(Pending {
                api: head.api,
                version: head.version,
                correlation_id: head.correlation_id,
                source: Source::Private(treatment),
                work: None,
                asked: tap.as_ref().map(RequestTap::asked),
                judged: self.judged.get(),
                begins: self.begins.take(),
            });
        } else {
            self.in_flight.timings.unanswered(head.api);
        }
        let now = match check {
            Some(_) => body,
            None => window.len().min(head.frame_len),
        };
        if let Some(tap) = &mut tap {
            tap.feed(window.bytes().get(body..now).unwrap_or_default());
        }
        if peeked.expects_answer && now < head.frame_len {
            self.in_flight.timings.body_follows();
        }
        out.forward(window.consume(now));
        position.body_left = (head.frame_len - now) as u64;
        position.discard = false;
        position.is_owed = peeked.expects_answer;
        position.allowed = is_guarded.then(|| self.judged.get());
        position.checked = check.map(|check| Checked { check, head: *head });
        position.tap = tap.map(|tap| (tap, peeked.expects_answer));
        if position.body_left == 0 {
            self.read_along(position);
        }
        Ok(Taken::Some)
    }

    /// The current body has been seen to its end.
    fn read_along(&self, position: &mut Position) {
        if let Some((tap, is_answered)) = position.tap.take()
            && let Some(tally) = &self.tally
            && let Some(asked) = tally.requested(tap)
            && !is_answered
        {
            tally.unanswered(asked);
        }
    }

    /// Forwards a frame that was made of the client's. It has left the window, and `out` is empty.
    async fn forward_instead(
        &self,
        out: &mut Outbox,
        window: &Window,
        frame: Made,
        treatment: Treatment,
        peeked: &Peek,
        pending: impl FnOnce(Source) -> Pending,
    ) -> Result<Taken, Failure> {
        let (api, version) = frame_identity(frame.beginning());
        // What the client has asked is not at hand any more to be judged anew.
        let still_allowed = || match self.rights_have_changed() {
            false => Ok(()),
            true => Err(Failure::RightsChanged),
        };
        if let Some(pools) = self
            .worker
            .pools
            .as_ref()
            .filter(|_| !self.private_for_good.get())
        {
            let shares =
                verdict::is_shared(api, peeked) && frame.len() <= WINDOW && !self.throttled.get();
            if shares {
                // This one has left the window.
                self.wait_for_shared(1 + behind(window.bytes())).await;
                still_allowed()?;
                let sent_bytes = frame.len();
                self.in_flight.timings.rebuilt();
                let sharer = self.sharer();
                let sending = pools.send(&sharer, frame.joined(), api, version);
                let sent = self.in_flight.timings.queued(pin!(sending)).await?;
                match sent {
                    Sent::Shared(answer) => {
                        self.in_flight
                            .timings
                            .counts
                            .upstream
                            .add(sent_bytes as u64);
                        self.in_flight
                            .push(pending(Source::Shared(treatment, answer)));
                        return Ok(Taken::Some);
                    }
                    Sent::Substitute(opened) => {
                        if self.leg.borrow().is_none() {
                            self.adopt(opened);
                        }
                    }
                }
            }
            self.in_flight
                .timings
                .queued(pin!(self.in_flight.settled()))
                .await;
            self.private_for_good.set(true);
        }
        if self.leg.borrow().is_none() {
            // Once in the life of a connection, and large.
            let opening = Box::pin(self.private_leg());
            self.in_flight.timings.queued(opening).await?;
        }
        if self.substitute.get() && verdict::is_broker_bound(api) {
            return Err(Failure::BrokerDown { api: api.name() });
        }
        if self.session_needs_care() {
            self.care_for_session().await?;
        }
        still_allowed()?;
        if peeked.expects_answer {
            self.held.set(!verdict::is_answered_at_once(api));
            self.in_flight.push(pending(Source::Private(treatment)));
        } else {
            self.in_flight.timings.unanswered(api);
        }
        frame.push_to(out);
        match self.send(out, window).await {
            true => Ok(Taken::Some),
            false => Ok(Taken::More),
        }
    }

    /// Sends the request over a shared leg if it may go there. `None`: it needs the private leg.
    async fn try_share(
        &self,
        window: &mut Window,
        out: &mut Outbox,
        position: &mut Position,
        head: &Head,
        treatment: Treatment,
        peeked: &Peek,
    ) -> Result<Option<Taken>, Failure> {
        let Some(pools) = &self.worker.pools else {
            return Ok(None);
        };
        // The answers waited for below may be those to requests for the private leg.
        if !self.send(out, window).await {
            return Ok(Some(Taken::More));
        }
        let leaves = peeked.is_transactional
            || !peeked.expects_answer
            || peeked.needs_replicas
            || head.frame_len > WINDOW
            || self.throttled.get();
        if leaves {
            // Requests of one client keep their order: what is on its way over the shared leg arrives first.
            self.in_flight
                .timings
                .queued(pin!(self.in_flight.settled()))
                .await;
            self.private_for_good.set(true);
            return Ok(None);
        }
        if !verdict::is_shared(head.api, peeked) {
            return Ok(None);
        }
        // Only whole, well-formed frames go where others could suffer from them.
        let Some(body) = whole_body(window, head)? else {
            return Ok(Some(Taken::More));
        };
        peek::check(head.api, head.version, body).map_err(|error| head.malformed(error))?;
        let asked = self.asked(head, body);
        // Answers of a shared leg are in memory as a whole until the client takes them.
        self.wait_for_shared(behind(window.bytes())).await;
        if self.rights_have_changed() {
            return Ok(Some(Taken::Some)); // to be judged anew
        }
        let frame = Bytes::copy_from_slice(&window.bytes()[..head.frame_len]);
        self.in_flight.timings.rebuilt();
        let sharer = self.sharer();
        let sending = pools.send(&sharer, frame, head.api, head.version);
        let sent = self.in_flight.timings.queued(pin!(sending)).await?;
        let answer = match sent {
            Sent::Shared(answer) => answer,
            Sent::Substitute(opened) => {
                self.in_flight
                    .timings
                    .queued(pin!(self.in_flight.settled()))
                    .await;
                self.private_for_good.set(true);
                if self.leg.borrow().is_none() {
                    self.adopt(opened);
                }
                return Ok(None);
            }
        };
        window.consume(head.frame_len);
        position.body_left = 0;
        let counts = &self.in_flight.timings.counts;
        counts.upstream.add(head.frame_len as u64);
        self.in_flight.push(Pending {
            api: head.api,
            version: head.version,
            correlation_id: head.correlation_id,
            source: Source::Shared(treatment, answer),
            work: None,
            asked,
            judged: self.judged.get(),
            begins: None,
        });
        Ok(Some(Taken::Some))
    }

    fn sharer(&self) -> Sharer<'_> {
        Sharer {
            view: &self.worker.shared.view,
            target: self.target,
            pin: &self.pin,
            in_flight: &self.in_flight,
            memory: &self.memory.answers,
        }
    }

    /// Waits until one more request may go over the shared leg; `waiting` do.
    async fn wait_for_shared(&self, waiting: u32) {
        if self.in_flight.outstanding() >= SHARED_IN_FLIGHT {
            let _waiting = self.worker.waiting.hold_many(waiting);
            let room = pin!(self.in_flight.fewer_than(SHARED_IN_FLIGHT));
            self.in_flight.timings.queued(room).await;
        }
    }

    /// Answers with `error` where an answer of this API can carry one, else ends the connection.
    fn refuse(
        &self,
        window: &mut Window,
        position: &mut Position,
        head: &Head,
        error: i16,
    ) -> Result<(), Failure> {
        let frame = local::error(head.api, head.version, head.correlation_id, error)
            .ok_or_else(|| head.not_offered())?;
        self.answer(head, frame)?;
        let now = window.len().min(head.frame_len);
        window.consume(now);
        position.body_left = (head.frame_len - now) as u64;
        position.discard = true;
        position.is_owed = false; // it has been given
        Ok(())
    }

    fn answer(&self, head: &Head, frame: Bytes) -> Result<(), Failure> {
        let claim = self.remember(frame.len())?;
        self.in_flight.push(Pending {
            api: head.api,
            version: head.version,
            correlation_id: head.correlation_id,
            source: Source::Local(frame, claim),
            work: None,
            asked: None,
            judged: self.judged.get(),
            begins: None,
        });
        Ok(())
    }

    /// Takes memory for what is kept until an answer has been given.
    pub(super) fn remember(&self, bytes: usize) -> Result<Option<Claim>, Failure> {
        if bytes <= FORGETTABLE {
            return Ok(None);
        }
        let claim = self.memory.remembered.take(bytes);
        claim.map(Some).ok_or(Failure::Remembered(bytes))
    }
}

/// Requests that have been read as a whole and come at the beginning of `bytes`.
fn behind(mut bytes: &[u8]) -> u32 {
    /// More are not told apart: whoever waits is counted again for each that goes.
    const MOST: u32 = 1000;
    let mut count = 0;
    while count < MOST
        && let Some((size, rest)) = bytes.split_first_chunk::<PREFIX>()
        && let Ok(size) = usize::try_from(i32::from_be_bytes(*size))
        && let Some(rest) = rest.get(size..)
    {
        count += 1;
        bytes = rest;
    }
    count
}

/// Whether the client sends no more. Not all say so in TLS before they close.
fn is_end(read: &io::Result<usize>) -> bool {
    match read {
        Ok(count) => *count == 0,
        Err(error) => error.kind() == io::ErrorKind::UnexpectedEof,
    }
}

fn pass_body(window: &mut Window, out: &mut Outbox, position: &mut Position) -> Taken {
    let now =
        usize::try_from(position.body_left).map_or(window.len(), |left| left.min(window.len()));
    if now == 0 {
        return Taken::More;
    }
    if let Some((tap, _)) = &mut position.tap {
        tap.feed(window.bytes().get(..now).unwrap_or_default());
    }
    let span = window.consume(now);
    if !position.discard {
        out.forward(span);
    }
    position.body_left -= now as u64;
    Taken::Some
}

/// Like [`pass_body`] for a body that is looked at on its way.
fn pass_checked(
    window: &mut Window,
    out: &mut Outbox,
    position: &mut Position,
) -> Result<Taken, Failure> {
    let Some(Checked { check, head }) = &mut position.checked else {
        return Ok(Taken::Some);
    };
    let left = usize::try_from(position.body_left).unwrap_or(usize::MAX);
    let input = &window.bytes()[..window.len().min(left)];
    match check
        .next(input, left)
        .map_err(|error| head.malformed(error))?
    {
        Progress::Pass(now) => {
            out.forward(window.consume(now));
            position.body_left -= now as u64;
        }
        Progress::More => return Ok(Taken::More),
        Progress::Harmless => position.checked = None,
        Progress::Replica => {
            return Err(Failure::Replica {
                api: head.api.name(),
                version: head.version,
            });
        }
    }
    Ok(Taken::Some)
}

/// API key and version of a frame.
fn frame_identity(frame: &[u8]) -> (ApiKey, i16) {
    let number = |at: usize| match frame.get(at..at + 2) {
        Some([high, low]) => i16::from_be_bytes([*high, *low]),
        _ => -1,
    };
    (ApiKey(number(PREFIX)), number(PREFIX + 2))
}

/// The body of a frame that has to be seen as a whole; `None`: more bytes are needed.
fn whole_body<'w>(window: &'w Window, head: &Head) -> Result<Option<&'w [u8]>, Failure> {
    if head.frame_len > WINDOW {
        return Err(Failure::RequestSize {
            size: head.frame_len as i64,
            max: WINDOW,
        });
    }
    let Some(frame) = window.bytes().get(..head.frame_len) else {
        return Ok(None);
    };
    frame
        .get(PREFIX + head.header_len..)
        .map(Some)
        .ok_or_else(|| head.cut_short())
}

impl Head {
    pub(super) fn malformed(&self, error: wire::walk::WalkError) -> Failure {
        Failure::Request {
            api: self.api.name(),
            version: self.version,
            error,
        }
    }

    pub(super) fn cut_short(&self) -> Failure {
        Failure::RequestSize {
            size: self.frame_len as i64,
            max: MAX_HEAD,
        }
    }

    fn not_offered(&self) -> Failure {
        Failure::NotOffered {
            api: self.api.name(),
            version: self.version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::behind;

    #[test]
    fn whole_requests_are_counted() {
        let frame = [0, 0, 0, 3, 1, 2, 3];
        let three = frame.repeat(3);
        assert_eq!(behind(&three), 3);
        assert_eq!(behind(&three[..20]), 2);
        assert_eq!(behind(&[0, 0]), 0);
        assert_eq!(behind(&[0xff; 40]), 0);
        assert_eq!(behind(&frame.repeat(5000)), 1000);
    }
}
