//! The response half: gives the answers in the order of the requests.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use config::SecurityMode;
use telemetry::metrics::Origin;
use tenancy::{Back, ToMatch};
use tokio::time::Instant;
use wire::api::{ApiKey, Direction};
use wire::build::error_response;
use wire::error_code::INVALID_REGULAR_EXPRESSION;
use wire::stream::{Step, StreamWalker};

use super::authorize::TREE;
use super::tally::{AnswerTap, Owed};
use super::{Connection, End, Failure, Pending, ShareSession, Source, Work, inspect, local};
use crate::aside::LONG;
use crate::buffer::{Outbox, WINDOW, Window};
use crate::fair::Claim;
use crate::rewrite::{self, Tail};
use crate::topics::{Known, Seen};
use crate::upstream::Leg;
use crate::verdict::Treatment;

const PREFIX: usize = 4;

/// Smallest answer: a correlation id.
const MIN_ANSWER: usize = 4;

/// Bytes collected before a write although more could be had.
const ENOUGH: usize = WINDOW;

/// The response half's own state.
#[derive(Default)]
struct Giving {
    /// What has been read of the private leg.
    window: Window,
    out: Outbox,
    /// Answers that are complete in `out` and not written yet.
    complete: usize,
    /// Budget held by what is in `out`.
    claims: Vec<Claim>,
    /// Reads the answer at hand along.
    tap: Option<AnswerTap>,
    /// The round of the client's rights in which the request was judged whose answer is at hand.
    judged: u64,
    /// The share session that this request was to begin.
    begins: Option<Box<ShareSession>>,
}

impl Giving {
    /// Lets the first `n` bytes of the window through.
    fn forward(&mut self, n: usize) {
        self.read_along(n);
        let span = self.window.consume(n);
        self.out.forward(span);
    }

    fn read_along(&mut self, n: usize) {
        if let Some(tap) = &mut self.tap {
            tap.feed(self.window.bytes().get(..n).unwrap_or_default());
        }
    }
}

/// The beginning of an answer frame.
struct AnswerHead {
    /// Bytes after the length prefix.
    size: usize,
}

impl Connection {
    /// Runs until the broker closes, the client stops taking answers, or something is wrong.
    pub(super) async fn responses(&self) -> Result<End, Failure> {
        let mut giving = Giving::default();
        loop {
            let Some(pending) = self.in_flight.pop() else {
                self.flush(&mut giving).await?;
                giving.window.release();
                if !self.in_flight.has_next()
                    && let Some(end) = self.wait(&mut giving).await?
                {
                    return Ok(end);
                }
                continue;
            };
            let Pending {
                api,
                version,
                correlation_id,
                source,
                work,
                asked,
                judged,
                begins,
            } = pending;
            giving.judged = judged;
            giving.begins = begins;
            let mut delivered = true;
            match source {
                Source::Local(frame, claim) => {
                    giving.claims.extend(claim);
                    let seen = inspect::look(api, version, frame.get(PREFIX..).unwrap_or_default());
                    self.in_flight.timings.seen(seen, seen.own_origin());
                    giving.out.push(frame);
                }
                Source::Private(treatment) => {
                    delivered = match &work {
                        None => {
                            let delivered = self
                                .private(
                                    &mut giving,
                                    treatment,
                                    api,
                                    version,
                                    correlation_id,
                                    asked,
                                )
                                .await?;
                            giving.tap = None;
                            delivered
                        }
                        Some(work) => {
                            let frame = self
                                .worked(&mut giving, treatment, api, version, correlation_id, work)
                                .await?;
                            let frame = match frame {
                                Some(_) if self.is_outdated(api, judged)? => {
                                    Some(asked_anew(api, work.version, correlation_id)?)
                                }
                                frame => frame,
                            };
                            self.give(&mut giving, api, work.version, frame, asked)
                        }
                    };
                }
                Source::Shared(treatment, answer) => {
                    self.flush(&mut giving).await?; // it may take a while
                    let answer = answer.await.map_err(|_| Failure::SharedLost)?;
                    let mut frame = answer.frame;
                    giving.claims.extend(answer.claim);
                    let timings = &self.in_flight.timings;
                    timings.took(answer.upstream, answer.queued);
                    timings.counts.downstream.add(frame.len() as u64);
                    self.inspect(api, version, &frame);
                    if treatment != Treatment::Pass {
                        let header = header_len(api, version, &frame[PREFIX..])?;
                        frame = self.rewrite(frame, PREFIX + header, api, version).await?;
                    }
                    if answer.throttled {
                        // The broker mutes the connection of a throttled client: it may not hold up others.
                        self.throttled.set(true);
                    }
                    let frame: Bytes = frame.into();
                    let frame = match &work {
                        None => frame,
                        Some(work) => self.work_on(work, api, version, frame).await?,
                    };
                    let version = work.as_ref().map_or(version, |work| work.version);
                    self.give(&mut giving, api, version, Some(frame), asked);
                    self.in_flight.timings.worked();
                }
                Source::Own(reply) => {
                    let frame = self.small(&mut giving, correlation_id).await?;
                    if let Some(frame) = frame {
                        let _ = reply.send(frame);
                    } else {
                        delivered = false;
                    }
                }
            }
            if !delivered {
                self.flush(&mut giving).await?;
                return Ok(End::BrokerClosed);
            }
            giving.complete += 1;
            self.in_flight.timings.complete();
            if self.is_busy() {
                tokio::task::yield_now().await;
            }
            if giving.out.len() >= ENOUGH {
                self.flush(&mut giving).await?;
            }
        }
    }

    /// Waits for something to do while nothing is owed. `Some`: the broker has closed.
    async fn wait(&self, giving: &mut Giving) -> Result<Option<End>, Failure> {
        if !giving.window.is_empty() {
            return Err(Failure::Unasked);
        }
        let leg = self.leg.borrow().clone();
        let Some(leg) = leg else {
            tokio::select! {
                () = self.in_flight.arrival() => {}
                () = self.opened.raised() => {}
            }
            return Ok(None);
        };
        tokio::select! {
            biased;
            () = self.in_flight.arrival() => Ok(None),
            read = giving.window.fill(&leg.socket) => match read {
                Ok(0) => Ok(Some(End::BrokerClosed)),
                Ok(_) if self.in_flight.has_next() => Ok(None),
                Ok(_) => Err(Failure::Unasked),
                Err(error) => Err(Failure::Broker(error)),
            },
        }
    }

    async fn flush(&self, giving: &mut Giving) -> Result<(), Failure> {
        if !giving.out.is_empty() {
            // As long as nothing has to be waited for, nobody needs to know since when.
            let waits = || self.writing.get().is_some();
            // Answers of a shared leg take memory while this waits, too.
            let held = &self.memory.answers;
            let may_hold = held.holds_any() || self.worker.pools.is_some();
            let bytes = giving.out.len();
            let moving = OnceCell::new();
            let stalls = async { moving.get_or_init(|| held.progress(bytes)).stalls().await };
            let progress = |n| {
                self.touch();
                if let Some(moving) = moving.get() {
                    moving.moved(n);
                }
                if waits() {
                    self.writing.set(Some(self.active.get()));
                }
            };
            let mut writing = pin!(giving.out.flush(&giving.window, &self.client, progress));
            let written = poll_fn(|context| {
                let polled = writing.as_mut().poll(context);
                if polled.is_pending() && !waits() {
                    self.writing.set(Some(Instant::now()));
                }
                polled
            });
            let written = match may_hold {
                false => written.await,
                true => tokio::select! {
                    biased;
                    written = written => written,
                    () = stalls => return Err(Failure::Hoarding),
                },
            };
            written.map_err(Failure::Client)?;
            self.writing.set(None);
        }
        giving.claims.clear();
        self.in_flight.done(std::mem::take(&mut giving.complete));
        Ok(())
    }

    /// Reads more of the private leg. `false`: it has ended.
    async fn fill(&self, giving: &mut Giving, leg: &Leg) -> Result<bool, Failure> {
        self.flush(giving).await?;
        match giving.window.fill(&leg.socket).await {
            Ok(n) => Ok(n > 0),
            // A reset is how a killed broker closes.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(Failure::Broker(error)),
        }
    }

    /// Reads until the window holds `count` bytes of the private leg. `false`: it ended before.
    async fn have(&self, giving: &mut Giving, leg: &Leg, count: usize) -> Result<bool, Failure> {
        while giving.window.len() < count {
            if !self.fill(giving, leg).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads the head of the next answer and checks whom it belongs to. `None`: the leg has ended.
    async fn answer_head(
        &self,
        giving: &mut Giving,
        leg: &Leg,
        correlation_id: i32,
    ) -> Result<Option<AnswerHead>, Failure> {
        if !self.have(giving, leg, PREFIX + MIN_ANSWER).await? {
            return Ok(None);
        }
        let bytes = giving.window.bytes();
        let declared = bytes.first_chunk().map_or(-1, |b| i32::from_be_bytes(*b));
        let got = bytes[PREFIX..]
            .first_chunk()
            .map_or(-1, |b| i32::from_be_bytes(*b));
        if got != correlation_id {
            return Err(Failure::Correlation {
                expected: correlation_id,
                got,
            });
        }
        match usize::try_from(declared) {
            Ok(size) if size >= MIN_ANSWER => Ok(Some(AnswerHead { size })),
            _ => Err(Failure::Answer {
                api: "",
                version: 0,
                reason: format!("a length of {declared}"),
            }),
        }
    }

    /// Gives an answer that was made as a whole, if there is one; whether there is.
    fn give(
        &self,
        giving: &mut Giving,
        api: ApiKey,
        version: i16,
        frame: Option<Bytes>,
        asked: Option<Owed>,
    ) -> bool {
        let Some(frame) = frame else { return false };
        if let Some(tally) = &self.tally {
            tally.whole_answer(api, version, &frame, asked);
        }
        giving.out.push(frame);
        true
    }

    /// One answer of the private leg. `false`: the leg ended before it.
    async fn private(
        &self,
        giving: &mut Giving,
        treatment: Treatment,
        api: ApiKey,
        version: i16,
        correlation_id: i32,
        asked: Option<Owed>,
    ) -> Result<bool, Failure> {
        let leg = self.leg.borrow().clone();
        let Some(leg) = leg else {
            return Err(Failure::Unasked);
        };
        let Some(head) = self.answer_head(giving, &leg, correlation_id).await? else {
            return Ok(false);
        };
        let frame_len = PREFIX + head.size;
        if self.is_guarded(api) {
            self.note_session(giving, &leg, frame_len, api, version)
                .await?;
        }
        if frame_len <= inspect::MAX && !self.have(giving, &leg, frame_len).await? {
            return Ok(false);
        }
        let seen = (frame_len <= inspect::MAX).then(|| {
            let frame = giving.window.bytes().get(PREFIX..frame_len);
            inspect::look(api, version, frame.unwrap_or_default())
        });
        if api == ApiKey::PRODUCE
            && seen.is_none_or(|seen| seen.error.is_some())
            && let Some(work) = self.telling(version)?
        {
            let frame = self
                .worked(giving, treatment, api, version, correlation_id, &work)
                .await?;
            return Ok(self.give(giving, api, version, frame, asked));
        }
        let tally = self.tally.as_ref();
        giving.tap = tally.and_then(|tally| tally.answer(api, version, frame_len, asked));
        if let Some(seen) = seen {
            self.in_flight.timings.seen(seen, Origin::Broker);
            self.arrived(&leg, api);
        } else {
            let beginning = PREFIX + inspect::BEGINNING;
            if !self.have(giving, &leg, beginning).await? {
                return Ok(false);
            }
            self.inspect_throttle(api, version, &giving.window.bytes()[..beginning]);
        }
        let treatment = match seen {
            Some(seen) if seen.has_no_address => Treatment::Pass,
            _ => treatment,
        };
        let delivered = match treatment {
            _ if self.is_outdated(api, giving.judged)? => {
                let instead = asked_anew(api, version, correlation_id)?;
                self.put_in_place(giving, &leg, frame_len, instead).await?
            }
            Treatment::Pass => self.pass(giving, &leg, frame_len).await?,
            Treatment::Addresses | Treatment::Tail if frame_len <= WINDOW => {
                self.in_window(giving, &leg, frame_len, api, version)
                    .await?
            }
            Treatment::Addresses => {
                self.in_budget(giving, &leg, frame_len, api, version)
                    .await?
            }
            Treatment::Tail => self.tail(giving, &leg, frame_len, api, version).await?,
        };
        if frame_len > inspect::MAX {
            self.arrived(&leg, api);
        } else if treatment != Treatment::Pass {
            self.in_flight.timings.worked();
        }
        Ok(delivered)
    }

    /// Work for an answer with errors to a Produce request that went as it came into a virtual cluster: brokers print names into the texts.
    fn telling(&self, version: i16) -> Result<Option<Arc<Work>>, Failure> {
        let security = &self.worker.shared.access;
        if security.mode != SecurityMode::GatewayManaged {
            return Ok(None);
        }
        let (_, tenant) = self.access.seen(security).ok_or(Failure::AccountGone)?;
        let Some(tenant) = tenant.filter(|tenant| !tenant.is_passthrough()) else {
            return Ok(None);
        };
        let back = Back::unasked(ApiKey::PRODUCE, version, &tenant);
        let work = |back| Work {
            back: Some(Box::new(back)),
            between: version,
            rights: None,
            version,
            tenant: Some(tenant),
            _permit: None,
        };
        Ok(back.map(work).map(Arc::new))
    }

    /// Remembers the session that an answer to a Fetch or ShareFetch request tells of.
    async fn note_session(
        &self,
        giving: &mut Giving,
        leg: &Leg,
        frame_len: usize,
        api: ApiKey,
        version: i16,
    ) -> Result<(), Failure> {
        const THROTTLE_TIME: usize = 4;
        const ERROR_CODE: usize = 2;
        const ID: usize = 4;
        let is_share = api == ApiKey::SHARE_FETCH && giving.begins.is_some();
        if !(is_share || api == ApiKey::FETCH && version >= 7) {
            return Ok(());
        }
        let flexible = wire::header::response_header_version(api, version) >= 1;
        let at = PREFIX + MIN_ANSWER + usize::from(flexible) + THROTTLE_TIME;
        let end = at + ERROR_CODE + if is_share { 0 } else { ID };
        if frame_len < end || !self.have(giving, leg, end).await? {
            return Ok(()); // whoever reads on finds out
        }
        let told = giving.window.bytes().get(at..end).unwrap_or_default();
        if is_share {
            if told == [0; ERROR_CODE] {
                self.share_session.set(giving.begins.as_deref().copied());
            }
            return Ok(());
        }
        let id = told[ERROR_CODE..].first_chunk();
        let id = id.map_or(0, |id| i32::from_be_bytes(*id));
        // One whose topics were judged by other lists is not gone on with.
        if id != 0 && giving.judged == self.session_round.get() {
            self.fetch_session.set(id);
        }
        Ok(())
    }

    /// The whole answer at hand has been read from the private leg.
    fn arrived(&self, leg: &Leg, api: ApiKey) {
        if let Some((at, took)) = self.in_flight.timings.arrived()
            && let Some(times) = &leg.times
        {
            times.answered(api, at, took);
        }
    }

    /// Looks for errors in an answer of the broker, unless it is large, and whether it throttles.
    fn inspect(&self, api: ApiKey, version: i16, frame: &[u8]) {
        if frame.len() > inspect::MAX {
            return self.inspect_throttle(api, version, frame);
        }
        let seen = inspect::look(api, version, frame.get(PREFIX..).unwrap_or_default());
        self.in_flight.timings.seen(seen, Origin::Broker);
    }

    /// Whether an answer of the broker throttles, as far as it is there.
    fn inspect_throttle(&self, api: ApiKey, version: i16, frame: &[u8]) {
        let seen = inspect::throttle(api, version, frame.get(PREFIX..).unwrap_or_default());
        self.in_flight.timings.seen(seen, Origin::Broker);
    }

    /// One answer of the private leg that has to be looked at as a whole. `None`: the leg ended before it.
    async fn worked(
        &self,
        giving: &mut Giving,
        treatment: Treatment,
        api: ApiKey,
        version: i16,
        correlation_id: i32,
        work: &Arc<Work>,
    ) -> Result<Option<Bytes>, Failure> {
        let leg = self.leg.borrow().clone();
        let Some(leg) = leg else {
            return Err(Failure::Unasked);
        };
        let Some(head) = self.answer_head(giving, &leg, correlation_id).await? else {
            return Ok(None);
        };
        let frame_len = PREFIX + head.size;
        self.note_session(giving, &leg, frame_len, api, version)
            .await?;
        let Some(mut frame) = self.whole(giving, &leg, frame_len, TREE).await? else {
            return Ok(None);
        };
        self.arrived(&leg, api);
        self.inspect(api, version, &frame);
        if treatment != Treatment::Pass {
            let body = PREFIX + header_len(api, version, &frame[PREFIX..])?;
            frame = self.rewrite(frame, body, api, version).await?;
        }
        let frame = self.work_on(work, api, version, frame.into()).await?;
        if frame.len() <= inspect::MAX {
            // What the broker has not said the gateway has.
            let seen = inspect::look(api, work.version, frame.get(PREFIX..).unwrap_or_default());
            self.in_flight.timings.seen(seen, seen.own_origin());
        }
        self.in_flight.timings.worked();
        Ok(Some(frame))
    }

    /// Makes the client's answer of Kafka's.
    async fn work_on(
        &self,
        work: &Arc<Work>,
        api: ApiKey,
        version: i16,
        frame: Bytes,
    ) -> Result<Bytes, Failure> {
        let rest = &frame[PREFIX..];
        let correlation_id = rest.first_chunk().map_or(-1, |b| i32::from_be_bytes(*b));
        let mut body = frame.clone();
        body.advance((PREFIX + header_len(api, version, rest)?).min(frame.len()));
        let is_long = self.is_long(api, version, Direction::Response, &body, LONG);
        let is_long = is_long.unwrap_or(true);
        let renamed = match &work.back {
            None => None,
            Some(back) => {
                let broken = |e| malformed(api, version, &e);
                let known = match back.quotes_policy(&body).map_err(broken)? {
                    // Without them the client does not hear what the policy has said.
                    true => self.topics().all().await.ok(),
                    false => None,
                };
                let known = known.unwrap_or_else(Known::nothing);
                let between = work.between;
                let renamed = match self.has_matched(back, &body).await? {
                    false => {
                        let refused = error_response(api, between, INVALID_REGULAR_EXPRESSION);
                        Some(Ok(refused.ok_or_else(|| unknown(api, version))?))
                    }
                    true if !is_long => Some(back.apply(between, &body, &known)),
                    true => {
                        let (work, body) = (Arc::clone(work), body.clone());
                        let apply = move || {
                            let back = work.back.as_ref();
                            back.map(|back| back.apply(between, &body, &known))
                        };
                        self.aside(apply).await?
                    }
                };
                renamed.transpose().map_err(broken)?.map(Bytes::from)
            }
        };
        let body = renamed.unwrap_or(body);
        self.in_flight.timings.remade();
        let Some(rights) = &work.rights else {
            return Ok(local::frame(api, work.version, correlation_id, &body));
        };
        let names = self.names_for(rights, work.between, &body).await?;
        let applied = match is_long {
            false => {
                let names = Seen::of(&names, work.tenant.as_deref());
                Some(rights.apply_with(work.version, &body, &names))
            }
            true => {
                let work = Arc::clone(work);
                let apply = move || {
                    let names = Seen::of(&names, work.tenant.as_deref());
                    let rights = work.rights.as_ref();
                    rights.map(|rights| rights.apply_with(work.version, &body, &names))
                };
                self.aside(apply).await?
            }
        };
        let applied = applied.transpose();
        let body = applied.map_err(|e| malformed(api, version, &e))?;
        Ok(local::frame(
            api,
            work.version,
            correlation_id,
            &body.unwrap_or_default(),
        ))
    }

    /// Matches the names in an answer with the client's expression, if there is one; false: that takes too much.
    async fn has_matched(&self, back: &Back, body: &[u8]) -> Result<bool, Failure> {
        let wanted = back.to_match(body);
        let wanted = wanted.map_err(|error| Failure::Judgement(error.to_string()))?;
        let Some(ToMatch { expression, names }) = wanted else {
            return Ok(true);
        };
        let work = move || expression.matching(names);
        let matching = self.aside(work).await?;
        Ok(matching.map(|names| back.choose(names)).is_ok())
    }

    /// Lets the next `left` bytes through.
    async fn pass(&self, giving: &mut Giving, leg: &Leg, mut left: usize) -> Result<bool, Failure> {
        while left > 0 {
            if giving.window.is_empty() && !self.fill(giving, leg).await? {
                return Ok(false);
            }
            let now = giving.window.len().min(left);
            giving.forward(now);
            left -= now;
        }
        Ok(true)
    }

    /// Gives `instead` in the place of the answer at hand, which nobody sees.
    async fn put_in_place(
        &self,
        giving: &mut Giving,
        leg: &Leg,
        frame_len: usize,
        instead: Bytes,
    ) -> Result<bool, Failure> {
        giving.tap = None;
        let mut left = frame_len;
        while left > 0 {
            if giving.window.is_empty() && !self.fill(giving, leg).await? {
                return Ok(false);
            }
            let now = giving.window.len().min(left);
            giving.window.consume(now);
            left -= now;
        }
        giving.out.push(instead);
        Ok(true)
    }

    /// Rewrites a frame that fits the window.
    async fn in_window(
        &self,
        giving: &mut Giving,
        leg: &Leg,
        frame_len: usize,
        api: ApiKey,
        version: i16,
    ) -> Result<bool, Failure> {
        if !self.have(giving, leg, frame_len).await? {
            return Ok(false);
        }
        if frame_len > inspect::MAX {
            self.inspect(api, version, &giving.window.bytes()[..frame_len]);
        }
        giving.read_along(frame_len);
        let frame = &mut giving.window.bytes_mut()[..frame_len];
        let body = PREFIX + header_len(api, version, &frame[PREFIX..])?;
        match self.rewritten(&mut frame[body..], api, version)? {
            None => {
                let span = giving.window.consume(frame_len);
                giving.out.forward(span);
            }
            Some(new_body) => {
                let frame = reframe(&frame[PREFIX..body], &new_body);
                giving.window.consume(frame_len);
                giving.out.push(frame);
            }
        }
        Ok(true)
    }

    /// Rewrites a frame that is larger than the window, with memory from the budget of the process.
    async fn in_budget(
        &self,
        giving: &mut Giving,
        leg: &Leg,
        frame_len: usize,
        api: ApiKey,
        version: i16,
    ) -> Result<bool, Failure> {
        // The frame, and once more for what is made of it.
        let Some(frame) = self.whole(giving, leg, frame_len, 2).await? else {
            return Ok(false);
        };
        self.inspect(api, version, &frame);
        if let Some(tap) = &mut giving.tap {
            tap.feed(&frame);
        }
        let body = PREFIX + header_len(api, version, &frame[PREFIX..])?;
        let frame = self.rewrite(frame, body, api, version).await?;
        giving.out.push(frame.into());
        Ok(true)
    }

    /// A whole frame, for which `times` its size of memory is taken from the budget if it is larger than the window.
    /// `None`: the leg ended before it.
    async fn whole(
        &self,
        giving: &mut Giving,
        leg: &Leg,
        frame_len: usize,
        times: usize,
    ) -> Result<Option<Vec<u8>>, Failure> {
        if frame_len <= WINDOW {
            if !self.have(giving, leg, frame_len).await? {
                return Ok(None);
            }
            let frame = giving.window.bytes()[..frame_len].to_vec();
            giving.window.consume(frame_len);
            return Ok(Some(frame));
        }
        self.flush(giving).await?;
        let claim = self.memory.answers.claim(frame_len.saturating_mul(times));
        let mut claim = claim.ok_or(Failure::Budget(frame_len))?;
        claim.take_all().await;
        giving.claims.push(claim);
        let have = giving.window.len().min(frame_len);
        let mut frame = Vec::with_capacity(frame_len);
        frame.extend_from_slice(&giving.window.bytes()[..have]);
        giving.window.consume(have);
        giving.window.release();
        while frame.len() < frame_len {
            let filled = frame.len();
            frame.resize(frame_len.min(filled + WINDOW), 0);
            let n = match leg.socket.read(&mut frame[filled..]).await {
                Ok(0) => return Ok(None),
                Ok(n) => n,
                Err(error) => return Err(Failure::Broker(error)),
            };
            frame.truncate(filled + n);
        }
        Ok(Some(frame))
    }

    /// Streams a frame and rewrites its end, whose length may not change any more: the length prefix has gone out.
    async fn tail(
        &self,
        giving: &mut Giving,
        leg: &Leg,
        frame_len: usize,
        api: ApiKey,
        version: i16,
    ) -> Result<bool, Failure> {
        if !self.have(giving, leg, rewrite::MAX_ANSWER_HEADER).await? {
            return Ok(false);
        }
        let header = header_len(api, version, &giving.window.bytes()[PREFIX..])?;
        let mut left = frame_len;
        giving.forward(PREFIX + header);
        left -= PREFIX + header;
        let plan = rewrite::addresses(api, version).ok_or_else(|| unknown(api, version))?;
        let mut walker = StreamWalker::new(plan, left as u64);
        let stop = loop {
            let seen = giving.window.len().min(left);
            let step = walker
                .next(&giving.window.bytes()[..seen])
                .map_err(|e| malformed(api, version, &e))?;
            match step {
                Step::Skip(n) => {
                    giving.forward(n.min(seen));
                    left -= n.min(seen);
                }
                Step::NeedMore if seen == left => {
                    return Err(malformed(api, version, &"it ends too early"));
                }
                Step::NeedMore => {
                    if !self.fill(giving, leg).await? {
                        return Ok(false);
                    }
                }
                Step::Stop(stop) => break stop,
                Step::End => return Ok(true),
            }
        };
        if left > rewrite::MAX_TAIL {
            return Err(malformed(api, version, &"too many broker addresses"));
        }
        if !self.have(giving, leg, left).await? {
            return Ok(false);
        }
        let tail = Tail {
            plan,
            stop,
            api,
            version,
        };
        giving.read_along(left);
        let end = &mut giving.window.bytes_mut()[..left];
        match tail
            .rewrite(end, &self.addresses())
            .map_err(|e| malformed(api, version, &e))?
        {
            None => {
                let span = giving.window.consume(left);
                giving.out.forward(span);
            }
            Some(bytes) => {
                giving.window.consume(left);
                giving.out.push(bytes.into());
            }
        }
        Ok(true)
    }

    /// One small answer as a whole, without its length prefix. `None`: the leg has ended.
    async fn small(
        &self,
        giving: &mut Giving,
        correlation_id: i32,
    ) -> Result<Option<Bytes>, Failure> {
        let leg: Option<Rc<Leg>> = self.leg.borrow().clone();
        let Some(leg) = leg else {
            return Err(Failure::Unasked);
        };
        let Some(head) = self.answer_head(giving, &leg, correlation_id).await? else {
            return Ok(None);
        };
        let frame_len = PREFIX + head.size;
        if frame_len > WINDOW {
            return Err(Failure::Budget(frame_len));
        }
        if !self.have(giving, &leg, frame_len).await? {
            return Ok(None);
        }
        let frame = Bytes::copy_from_slice(&giving.window.bytes()[PREFIX..frame_len]);
        giving.window.consume(frame_len);
        Ok(Some(frame))
    }

    fn addresses(&self) -> rewrite::Context<'_> {
        rewrite::Context {
            addressing: &self.listener.addressing,
            listener: &self.listener,
            view: &self.worker.shared.view,
        }
    }

    /// The new body, or `None` if nothing had to change its length (small changes are made in place).
    fn rewritten(
        &self,
        body: &mut [u8],
        api: ApiKey,
        version: i16,
    ) -> Result<Option<Vec<u8>>, Failure> {
        /// An address and what is around it take more.
        const BYTES_PER_ELEMENT: usize = 32;
        self.busy
            .set(self.busy.get() + body.len() / BYTES_PER_ELEMENT);
        rewrite::rewrite(api, version, body, &self.addresses())
            .map_err(|e| malformed(api, version, &e))
    }

    /// Rewrites a whole frame in place or replaces it; a large one where it holds up nobody else.
    async fn rewrite(
        &self,
        mut frame: Vec<u8>,
        body: usize,
        api: ApiKey,
        version: i16,
    ) -> Result<Vec<u8>, Failure> {
        let new_body = if frame.len() <= WINDOW {
            self.rewritten(&mut frame[body..], api, version)?
        } else {
            let (listener, view) = (self.listener.clone(), self.worker.shared.view.clone());
            let work = move || {
                let addresses = rewrite::Context {
                    addressing: &listener.addressing,
                    listener: &listener,
                    view: &view,
                };
                let new_body = rewrite::rewrite(api, version, &mut frame[body..], &addresses);
                (frame, new_body)
            };
            let new_body;
            (frame, new_body) = self.aside(work).await?;
            new_body.map_err(|e| malformed(api, version, &e))?
        };
        if let Some(new_body) = new_body {
            frame.truncate(body);
            frame.extend_from_slice(&new_body);
            let size = u32::try_from(frame.len() - PREFIX).unwrap_or(u32::MAX);
            frame[..PREFIX].copy_from_slice(&size.to_be_bytes());
        }
        Ok(frame)
    }
}

/// An answer to a request for records that has none, and after which the client asks for them anew.
fn asked_anew(api: ApiKey, version: i16, correlation_id: i32) -> Result<Bytes, Failure> {
    let body = authorization::session_gone(api, version)
        // Fetch before sessions: no topics, no records.
        .or_else(|| wire::build::default_body(api, version, Direction::Response).map(Bytes::from))
        .ok_or_else(|| unknown(api, version))?;
    Ok(local::frame(api, version, correlation_id, &body))
}

fn header_len(api: ApiKey, version: i16, bytes: &[u8]) -> Result<usize, Failure> {
    wire::header::response_header_len(api, version, bytes).map_err(|e| malformed(api, version, &e))
}

fn reframe(header: &[u8], body: &[u8]) -> Bytes {
    let size = header.len() + body.len();
    let mut frame = Vec::with_capacity(PREFIX + size);
    frame.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend_from_slice(header);
    frame.extend_from_slice(body);
    frame.into()
}

fn malformed(api: ApiKey, version: i16, reason: &dyn std::fmt::Display) -> Failure {
    Failure::Answer {
        api: api.name(),
        version,
        reason: reason.to_string(),
    }
}

fn unknown(api: ApiKey, version: i16) -> Failure {
    malformed(api, version, &"not in the table")
}
