//! Access control and virtual clusters on the way of a request and of its answer.
//!
//! Where access control lists are in force a request is seen as a whole before any of it goes to a broker, so that what
//! is denied can be taken out. The exception is a large Produce request to a single topic, which is what large ones are:
//! the head tells everything, and the records stream. Other requests beyond the window are held with memory from the
//! budget of the process.

use std::cell::Cell;
use std::hash::BuildHasher as _;
use std::pin::Pin;
use std::sync::Arc;

use auth::acl::{AclView, Operation, ResourceType};
use authorization::{
    AclChange, AclRequest, AnswerWork, Error, InSession, Ruling, ShareMember, TopicNames as _,
};
use bytes::{BufMut, Bytes, BytesMut};
use config::SecurityMode;
use telemetry::targets::AUTHORIZATION;
use tenancy::{
    Context, Expression, Found, Heartbeat, Mapped, Physical, Stamp, Subscriptions, Tenant,
};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout_at};
use wire::api::{ApiKey, Direction};
use wire::elements::elements;
use wire::error_code::REQUEST_TIMED_OUT;
use wire::varint;

use super::requests::{Head, PREFIX};
use super::tally::Owed;
use super::{Connection, Failure, Work, local};
use crate::aside::LONG;
use crate::buffer::{Outbox, WINDOW, Window};
use crate::fair::{ALL_OF_IT, Claim};
use crate::peek;
use crate::topics::{Known, Listing, Seen};

/// A frame that is seen as a whole is in memory three times for a while: as it came, as access control makes it, and as it is called in
/// Kafka. Trees are apart: a thread has one at a time, of bounded size.
pub(super) const TREE: usize = 3;

/// A request that is seen as a whole has so many elements at most.
const MAX_ELEMENTS: usize = 1 << 18;

/// The body of a request, or what has been made of it.
#[derive(Clone, Copy)]
struct Part<'b> {
    bytes: &'b [u8],
    /// The frame, if it is not in the window.
    held: Option<&'b Bytes>,
    /// Work on it is done aside.
    is_long: bool,
}

impl Part<'_> {
    /// The same for another thread; what is held is not copied.
    fn owned(&self) -> Bytes {
        let holds = |frame: &&Bytes| frame.as_ptr_range().contains(&self.bytes.as_ptr());
        match self.held.filter(holds) {
            Some(frame) => frame.slice_ref(self.bytes),
            None => Bytes::copy_from_slice(self.bytes),
        }
    }
}

/// What becomes of a request by the session it is in.
enum Session {
    Fine,
    /// To be sent without the session.
    Without(Bytes),
    /// To be answered so that the client begins a new one.
    Gone(Bytes),
}

/// What becomes of a subscription by a regular expression.
enum Named {
    AsIs,
    Instead(Bytes),
    Answer(Vec<u8>),
}

/// What access control and the virtual cluster make of a request.
pub(super) enum Judged {
    /// More bytes are needed.
    More,
    /// The bytes go on as they are.
    AsIs,
    /// This frame goes instead.
    Instead {
        frame: Made,
        /// Version of the frame and of its answer.
        version: i16,
        work: Option<Arc<Work>>,
        /// Memory that the frame takes, until it has been sent.
        permit: Option<Claim>,
        /// What metrics have to know of what the client asked.
        asked: Option<Owed>,
    },
    /// This is answered, and no broker is asked.
    Answer(Bytes),
}

/// A frame that goes to a broker instead of the client's, length prefix included. The body is not copied behind the header: records may be in it.
pub(super) struct Made {
    head: Bytes,
    body: Bytes,
}

impl Made {
    /// A frame that is in one piece already.
    fn whole(frame: Bytes) -> Made {
        Made {
            head: frame,
            body: Bytes::new(),
        }
    }

    /// Bytes with the length prefix.
    pub(super) fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// What the frame begins with; the header is in it.
    pub(super) fn beginning(&self) -> &[u8] {
        &self.head
    }

    /// The frame in one piece.
    pub(super) fn joined(&self) -> Bytes {
        match self.body.is_empty() {
            true => self.head.clone(),
            false => [&self.head[..], &self.body].concat().into(),
        }
    }

    /// Appends it to what is to be written.
    pub(super) fn push_to(self, out: &mut Outbox) {
        out.push(self.head);
        out.push(self.body);
    }
}

impl Connection {
    /// Whether requests of `api` have to be judged.
    pub(super) fn is_guarded(&self, api: ApiKey) -> bool {
        self.access.is_guarded(&self.worker.shared.access, api)
    }

    /// Judges the request at the beginning of the window. Takes it out of the window unless it goes on as it is.
    pub(super) async fn judge(&self, window: &mut Window, head: &Head) -> Result<Judged, Failure> {
        let head_len = PREFIX + head.header_len;
        if head.frame_len <= WINDOW {
            let Some(frame) = window.bytes().get(..head.frame_len) else {
                return Ok(Judged::More);
            };
            let body = frame.get(head_len..).ok_or_else(|| head.cut_short())?;
            let judged = self.rule(head, frame, None, body).await?;
            let judged = self.noting(judged, head, body);
            if !matches!(judged, Judged::AsIs) {
                window.consume(head.frame_len);
            }
            return Ok(judged);
        }
        if window.len() < WINDOW {
            return Ok(Judged::More); // no memory is taken for bytes that are only promised
        }
        let body = window.bytes().get(head_len..).unwrap_or_default();
        if head.api == ApiKey::PRODUCE && self.may_stream(head.version, body).await? {
            return Ok(Judged::AsIs);
        }
        let (frame, permit) = self.hold(window, head).await?;
        let body = frame.get(head_len..).ok_or_else(|| head.cut_short())?;
        let judged = tokio::select! {
            biased;
            judged = self.rule(head, &frame, Some(&frame), body) => judged?,
            () = permit.overstays() => return Err(Failure::Slow(head.frame_len)),
        };
        let permit = Some(permit);
        let judged = match judged {
            Judged::AsIs => Judged::Instead {
                frame: Made::whole(frame.clone()),
                version: head.version,
                work: None,
                permit,
                asked: None,
            },
            Judged::Instead {
                frame,
                version,
                work,
                asked,
                ..
            } => Judged::Instead {
                frame,
                version,
                work,
                permit,
                asked,
            },
            other => other,
        };
        Ok(self.noting(judged, head, body))
    }

    /// Notes what the client has asked, if something else is sent.
    fn noting(&self, mut judged: Judged, head: &Head, body: &[u8]) -> Judged {
        if let Judged::Instead { asked, .. } = &mut judged {
            *asked = self.asked(head, body);
        }
        judged
    }

    /// What metrics have to know of a whole request.
    pub(super) fn asked(&self, head: &Head, body: &[u8]) -> Option<Owed> {
        let tally = self.tally.as_ref()?;
        tally.whole_request(head.api, head.version, body)
    }

    /// Reads a frame that is larger than the window, which is full of it, with memory from the budget of the process: at most twice
    /// what has come, so that who declares much and sends little takes little. It has to be there within [`ALL_OF_IT`],
    /// and has to get on while others wait for memory. Clients give up earlier.
    async fn hold(&self, window: &mut Window, head: &Head) -> Result<(Bytes, Claim), Failure> {
        let too_large = || Failure::Budget(head.frame_len);
        let slow = || Failure::Slow(head.frame_len);
        let account = &self.memory.requests;
        let mut claim = account
            .claim(head.frame_len.saturating_mul(TREE))
            .ok_or_else(too_large)?;
        let deadline = Instant::now() + ALL_OF_IT;
        let mut paid = head.frame_len.min(2 * WINDOW);
        let first = timeout_at(deadline, claim.grow_to(paid * TREE)).await;
        first.map_err(|_| slow())?;
        let have = window.len().min(head.frame_len);
        let mut frame = Vec::with_capacity(paid);
        frame.extend_from_slice(&window.bytes()[..have]);
        window.consume(have);
        window.release();
        let progress = account.progress(head.frame_len);
        while frame.len() < head.frame_len {
            let filled = frame.len();
            if filled == paid {
                paid += paid.min(head.frame_len - paid);
                let more = timeout_at(deadline, claim.grow_to(paid * TREE)).await;
                more.map_err(|_| slow())?;
                frame.reserve_exact(paid - filled);
                progress.restart();
            }
            frame.resize(paid.min(filled + WINDOW), 0);
            let read = tokio::select! {
                biased;
                read = timeout_at(deadline, self.client.read(&mut frame[filled..])) => read,
                () = progress.stalls() => return Err(slow()),
            };
            let n = read.map_err(|_| slow())?.map_err(Failure::Client)?;
            if n == 0 {
                return Err(Failure::Left);
            }
            frame.truncate(filled + n);
            progress.moved(n);
            self.touch();
        }
        Ok((frame.into(), claim))
    }

    /// `held`: the frame again, if it is not in the window.
    async fn rule(
        &self,
        head: &Head,
        frame: &[u8],
        held: Option<&Bytes>,
        body: &[u8],
    ) -> Result<Judged, Failure> {
        let (api, version) = (head.api, head.version);
        let broken = |error| head.unjudged(error);
        let body = peek::message(api, version, body);
        let is_long = self.is_long_request(head, body)?;
        let part = |bytes| Part {
            bytes,
            held,
            is_long,
        };
        // Of one moment, and not of when the request began to come.
        let seen = self.access.seen(&self.worker.shared.access);
        let (view, tenant) = seen.ok_or(Failure::AccountGone)?;
        let view = &view;
        let sessionless = match self.session(view, head, body)? {
            Session::Fine => None,
            Session::Without(body) => Some(body),
            Session::Gone(answer) => return Ok(Judged::Answer(answer)),
        };
        let body = sessionless.as_deref().unwrap_or(body);
        let named = match self.named(view, tenant.as_ref(), head, body).await? {
            Named::AsIs => None,
            Named::Instead(body) => Some(body),
            Named::Answer(body) => return Ok(Judged::Answer(head.answer(&body))),
        };
        let body = named.as_deref().unwrap_or(body);
        let mut topics = self
            .topics_for(tenant.as_deref(), api, version, body)
            .await?;
        let mut ruling = self
            .ruling(view, tenant.as_ref(), head, part(body), &topics)
            .await?;
        if let Ruling::ListTopics = ruling {
            topics = self.topics().all().await.map_err(no_names)?;
            ruling = self
                .ruling(view, tenant.as_ref(), head, part(body), &topics)
                .await?;
        }
        let (between, ruled, rights) = match ruling {
            Ruling::Forward => (version, None, None),
            Ruling::Rewrite { body, answer } => (version, body, Some(answer)),
            Ruling::Convert {
                version,
                body,
                answer,
            } => (version, Some(body), Some(answer)),
            Ruling::Answer(body) => return Ok(Judged::Answer(head.answer(&body))),
            Ruling::Acls(request) => {
                return Ok(Judged::Answer(
                    head.answer(&self.change_acls(request).await),
                ));
            }
            Ruling::ListTopics | Ruling::Close => {
                return Err(Failure::NotAuthorized {
                    api: api.name(),
                    version,
                });
            }
        };
        self.in_flight.timings.decided();
        let rights = rights.filter(|rights| !rights.is_nothing());
        let body = ruled.as_deref().unwrap_or(body);
        let mapped = match &tenant {
            None => Mapped::AsIs,
            Some(tenant) => {
                let body = part(body);
                self.map(tenant, view, head, between, body, topics).await?
            }
        };
        let (upstream, mapped, back) = match mapped {
            Mapped::AsIs => (between, None, None),
            Mapped::Forward {
                version,
                body,
                back,
            } => (version, body, back),
            Mapped::Answer(body) => {
                let body = match rights {
                    Some(rights) => rights.apply(version, &body).map_err(broken)?,
                    None => body,
                };
                return Ok(Judged::Answer(head.answer(&body)));
            }
            Mapped::ListTopics | Mapped::Close => {
                return Err(Failure::NotAuthorized {
                    api: api.name(),
                    version,
                });
            }
        };
        let body = mapped.or(ruled).or(named).or(sessionless);
        if body.is_none() && back.is_none() && rights.is_none() && upstream == version {
            return Ok(Judged::AsIs);
        }
        let weight = back.as_ref().map_or(0, |back| back.weight())
            + rights.as_ref().map_or(0, AnswerWork::weight);
        let permit = self.remember(weight)?;
        let work = (back.is_some() || rights.is_some()).then(|| {
            Arc::new(Work {
                back,
                between,
                rights,
                version,
                tenant: tenant.clone(),
                _permit: permit,
            })
        });
        Ok(Judged::Instead {
            frame: match body {
                Some(body) => head.with_body(frame, upstream, body)?,
                None => Made::whole(Bytes::copy_from_slice(frame)),
            },
            version: upstream,
            work,
            permit: None,
            asked: None,
        })
    }

    /// Whether work on a request holds up others for too long. Counts what is done here.
    fn is_long_request(&self, head: &Head, body: &[u8]) -> Result<bool, Failure> {
        let (api, version) = (head.api, head.version);
        match self.is_long(api, version, Direction::Request, body, MAX_ELEMENTS) {
            Some(is_long) => Ok(is_long),
            None => Err(head.unjudged(Error::TooLarge)),
        }
    }

    /// Whether work on a message holds up others for too long. Counts what is done here. `None`: it has more than `most` elements.
    pub(super) fn is_long(
        &self,
        api: ApiKey,
        version: i16,
        dir: Direction,
        body: &[u8],
        most: usize,
    ) -> Option<bool> {
        /// A message of so few bytes is not worth counting: each element takes one at least.
        const SMALL: usize = LONG / 4;
        let count = match body.len() <= SMALL {
            true => body.len() / 4, // most have fewer
            // Whoever reads it says what is wrong with it.
            false => elements(api, version, dir, body, most).unwrap_or(Some(LONG))?,
        };
        let is_long = count > LONG;
        if !is_long {
            self.busy.set(self.busy.get() + count);
        }
        Some(is_long)
    }

    /// Does long work for this client where it holds up nobody else. Boxed, so that connections without any have no room for it.
    pub(super) fn aside<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = Result<R, Failure>> + '_>> {
        let identity = self.access.identity();
        let who = (&identity.vcluster, &identity.name);
        let done = self.worker.shared.aside.run(who, work);
        Box::pin(async {
            let done = done.await;
            done.ok_or_else(|| Failure::Judgement("long work came to nothing".to_owned()))
        })
    }

    async fn ruling(
        &self,
        view: &AclView,
        tenant: Option<&Arc<Tenant>>,
        head: &Head,
        body: Part<'_>,
        topics: &Known,
    ) -> Result<Ruling, Failure> {
        let (api, version) = (head.api, head.version);
        let ruling = match body.is_long {
            false => {
                let seen = Seen::of(topics, tenant.map(|tenant| &**tenant));
                authorization::judge(api, version, body.bytes, view, &seen)
            }
            true => {
                let (view, tenant) = (view.clone(), tenant.cloned());
                let (topics, body) = (topics.clone(), body.owned());
                let work = move || {
                    let seen = Seen::of(&topics, tenant.as_deref());
                    authorization::judge(api, version, &body, &view, &seen)
                };
                self.aside(work).await?
            }
        };
        ruling.map_err(|error| head.unjudged(error))
    }

    /// What the gateway has to know of topics for a request.
    async fn topics_for(
        &self,
        tenant: Option<&Tenant>,
        api: ApiKey,
        version: i16,
        body: &[u8],
    ) -> Result<Known, Failure> {
        let broken = |error: Error| Failure::Judgement(error.to_string());
        let ids = match tenant {
            None => authorization::topic_ids(api, version, body).map_err(broken)?,
            Some(_) => tenancy::topic_ids(api, version, body).map_err(broken)?,
        };
        self.look_up_targets(tenant).await?;
        match ids.is_empty() && tenant.is_none_or(|tenant| !tenant.has_aliases()) {
            true => Ok(Known::nothing()),
            false => self.names_of(&ids).await,
        }
    }

    /// The names of topics by their ids, as far as they matter here.
    async fn names_of(&self, ids: &[[u8; 16]]) -> Result<Known, Failure> {
        let security = &self.worker.shared.access;
        let known = match security.mode {
            SecurityMode::GatewayManaged => self.topics().names(ids, &self.questions).await,
            // Kafka knows whose the others are, and perhaps does not show them to the gateway.
            SecurityMode::KafkaManaged => self.topics().told_apart(&security.own_names).await,
        };
        known.map_err(no_names)
    }

    async fn look_up_targets(&self, tenant: Option<&Tenant>) -> Result<(), Failure> {
        let Some(tenant) = tenant.filter(|tenant| tenant.has_aliases()) else {
            return Ok(());
        };
        let targets: Vec<_> = tenant.aliases().map(|(_, target)| target).collect();
        let targets: Vec<&str> = targets.iter().map(Physical::as_str).collect();
        // What was known before is good enough while Kafka is away.
        if let Err(error) = self.topics().look_up(&targets).await {
            tracing::debug!(target: AUTHORIZATION, %error, "the targets of aliases were not looked up");
        }
        Ok(())
    }

    /// Puts names in the place of a regular expression that a broker would match with the names of everybody's topics.
    async fn named(
        &self,
        view: &AclView,
        tenant: Option<&Arc<Tenant>>,
        head: &Head,
        body: &[u8],
    ) -> Result<Named, Failure> {
        let sees_all = tenant.is_none() && !view.is_checked();
        if sees_all || !Subscriptions::concerns(head.api) {
            return Ok(Named::AsIs);
        }
        let (api, version) = (head.api, head.version);
        let broken = |error| head.unjudged(error);
        let may_use = |group: &str| view.permits(Operation::Read, ResourceType::Group, group);
        let note = |found| {
            let noted = self
                .subscriptions
                .borrow_mut()
                .note(api, version, body, &may_use, found);
            noted.map_err(broken)
        };
        let noted = match note(None)? {
            Heartbeat::Match(wanted) => {
                let listing = self.topics().listing().await.map_err(no_names)?;
                let at = Stamp {
                    topics: listing.fingerprint,
                    rights: self.access.round(&self.worker.shared.access),
                };
                if wanted.matched == Some(at) {
                    return Ok(Named::AsIs);
                }
                let visible = visible(view, tenant, &listing).await;
                let work = move || Expression::compile(&wanted.expression)?.matching(visible);
                let names = self.aside(work).await?;
                note(Some(Found { names, at }))?
            }
            noted => noted,
        };
        if let Some(refused) = self.pay_for_subscriptions(api, version) {
            return Ok(Named::Answer(refused));
        }
        Ok(match noted {
            Heartbeat::AsIs => Named::AsIs,
            Heartbeat::Instead(body) => Named::Instead(body),
            Heartbeat::Answer(body) => Named::Answer(body),
            // Never with what was found.
            Heartbeat::Match(_) => return Err(Failure::Judgement("no names".to_owned())),
        })
    }

    /// Takes memory from the budget for what is remembered of subscriptions. `Some`: there is none, and nothing is remembered; the answer.
    fn pay_for_subscriptions(&self, api: ApiKey, version: i16) -> Option<Vec<u8>> {
        let mut subscriptions = self.subscriptions.borrow_mut();
        let mut paid = self.subscriptions_permit.borrow_mut();
        match self.remember(subscriptions.weight()) {
            Ok(permit) => {
                *paid = permit;
                None
            }
            Err(_) => {
                *paid = None;
                Some(subscriptions.forget(api, version))
            }
        }
    }

    /// What a ListTransactions request wants to be matched. `None`: nothing, or what cannot be.
    async fn expression(
        &self,
        head: &Head,
        body: &[u8],
    ) -> Result<Option<Arc<Expression>>, Failure> {
        let text = tenancy::transactional_id_pattern(head.api, head.version, body);
        let Some(text) = text.map_err(|error| head.unjudged(error))? else {
            return Ok(None);
        };
        let compiled = self.aside(move || Expression::compile(&text)).await?;
        Ok(compiled.ok().map(Arc::new))
    }

    /// Gives a request the names that Kafka knows.
    async fn map(
        &self,
        tenant: &Arc<Tenant>,
        view: &AclView,
        head: &Head,
        version: i16,
        body: Part<'_>,
        topics: Known,
    ) -> Result<Mapped, Failure> {
        let broken = |error| head.unjudged(error);
        let subscribed = match tenant.has_aliases() && Subscriptions::concerns(head.api) {
            true => {
                let subscriptions = self.subscriptions.borrow();
                let of = subscriptions.of(head.api, version, body.bytes, tenant);
                of.map_err(broken)?
            }
            false => Vec::new(),
        };
        let expression = self.expression(head, body.bytes).await?;
        let map = async |topics: &Known| {
            let configures_aliases = !view.is_checked() && view.enabled();
            let auto_creation = view.auto_creation();
            if !body.is_long {
                let context = Context {
                    tenant,
                    topics,
                    turn: &self.turn,
                    configures_aliases,
                    auto_creation,
                    subscribed: &subscribed,
                    expression: expression.as_ref(),
                };
                return tenancy::map(head.api, version, body.bytes, &context).map_err(broken);
            }
            let (api, turn) = (head.api, self.turn.get());
            let (tenant, topics, body) = (tenant.clone(), topics.clone(), body.owned());
            let (subscribed, expression) = (subscribed.clone(), expression.clone());
            let work = move || {
                let turn = Cell::new(turn);
                let context = Context {
                    tenant: &tenant,
                    topics: &topics,
                    turn: &turn,
                    configures_aliases,
                    auto_creation,
                    subscribed: &subscribed,
                    expression: expression.as_ref(),
                };
                (tenancy::map(api, version, &body, &context), turn.get())
            };
            let (mapped, turn) = self.aside(work).await?;
            self.turn.set(turn);
            mapped.map_err(broken)
        };
        match map(&topics).await? {
            Mapped::ListTopics => map(&self.topics().all().await.map_err(no_names)?).await,
            mapped => Ok(mapped),
        }
    }

    /// The topics of a session were checked when they came into it. After a change of the lists, and on a connection that
    /// has not begun it, the client has to name them again.
    fn session(&self, view: &AclView, head: &Head, body: &[u8]) -> Result<Session, Failure> {
        let (api, version) = (head.api, head.version);
        if !matches!(api, ApiKey::FETCH | ApiKey::SHARE_FETCH) {
            return Ok(Session::Fine);
        }
        let now = self.access.round(&self.worker.shared.access);
        if api == ApiKey::SHARE_FETCH {
            return self.share_session(view, head, body, now);
        }
        let broken = |error| head.unjudged(error);
        // A session id is a number that can be guessed.
        let is_foreign = |id: i32| id != 0 && id != self.fetch_session.get();
        let in_session = authorization::in_session(api, version, body).map_err(broken)?;
        match in_session {
            InSession::Goes(id) if is_foreign(id) || self.session_round.get() != now => {
                let gone = authorization::session_gone(api, version);
                Ok(gone.map_or(Session::Fine, |body| Session::Gone(head.answer(&body))))
            }
            InSession::Ends(id) if is_foreign(id) => {
                let body = authorization::without_session(version, body).map_err(broken)?;
                Ok(Session::Without(body))
            }
            InSession::Begins | InSession::Ends(_) => {
                // The one of before is not gone on with: its topics were judged by other lists.
                self.fetch_session.set(0);
                self.session_round.set(now);
                Ok(Session::Fine)
            }
            InSession::Goes(_) | InSession::Not => Ok(Session::Fine),
        }
    }

    /// Share sessions go by the ids of groups and members, which others can know.
    fn share_session(
        &self,
        view: &AclView,
        head: &Head,
        body: &[u8],
        now: u64,
    ) -> Result<Session, Failure> {
        let (api, version) = (head.api, head.version);
        let broken = |error| head.unjudged(error);
        let key = |member: &ShareMember| {
            let half = |salt: u8| u128::from(self.hashes.hash_one((salt, member)));
            half(0) << 64 | half(1)
        };
        self.begins.set(None);
        match authorization::in_session(api, version, body).map_err(broken)? {
            InSession::Begins => {
                let member = authorization::share_member(version, body).map_err(broken)?;
                // A broker that refuses it goes on with the one of before, whose topics were judged by other lists.
                self.share_session.set(None);
                self.begins.set(Some(Box::new((key(&member), now))));
            }
            InSession::Goes(_) => {
                let member = authorization::share_member(version, body).map_err(broken)?;
                // Who may not use the group is told so first.
                let may = |group: &str| view.permits(Operation::Read, ResourceType::Group, group);
                let may = std::str::from_utf8(member.group()).is_ok_and(may);
                if may && self.share_session.get() != Some((key(&member), now)) {
                    let gone = authorization::session_gone(api, version);
                    return Ok(gone.map_or(Session::Fine, |body| Session::Gone(head.answer(&body))));
                }
            }
            InSession::Ends(_) | InSession::Not => {}
        }
        Ok(Session::Fine)
    }

    async fn change_acls(&self, request: AclRequest) -> Bytes {
        let security = &self.worker.shared.access;
        let vcluster = &self.access.identity().vcluster;
        let change = request.change();
        let is_empty = match &change {
            AclChange::Add(bindings) | AclChange::Remove(bindings) => bindings.is_empty(),
        };
        if is_empty {
            return request.answer(Ok(()));
        }
        match security.acl_writer.write(vcluster, change).await {
            Ok(()) => request.answer(Ok(())),
            Err(error) => {
                tracing::warn!(target: AUTHORIZATION, peer = %self.peer, error, "access control lists were not changed");
                // Clients try again after this one; and it may have been written all the same.
                let text = "The access control lists cannot be written now";
                request.answer(Err((REQUEST_TIMED_OUT, text)))
            }
        }
    }

    pub(super) fn topics(&self) -> &crate::topics::Topics {
        &self.worker.shared.topics
    }

    /// The names that work on an answer needs.
    pub(super) async fn names_for(
        &self,
        work: &AnswerWork,
        version: i16,
        body: &[u8],
    ) -> Result<Known, Failure> {
        let ids = work
            .topic_ids(version, body)
            .map_err(|error| Failure::Judgement(error.to_string()))?;
        match ids.is_empty() {
            true => Ok(Known::nothing()),
            false => self.names_of(&ids).await,
        }
    }
}

impl Connection {
    /// Whether a large Produce request goes to one topic only, and may.
    async fn may_stream(&self, version: i16, body: &[u8]) -> Result<bool, Failure> {
        let Some(head) = produce_head(version, body).filter(|head| head.topics == 1) else {
            return Ok(false);
        };
        let seen = self.access.seen(&self.worker.shared.access);
        let (view, tenant) = seen.ok_or(Failure::AccountGone)?;
        let topic = match head.topic {
            // The name is another one in Kafka, and so is that of a transaction.
            _ if tenant.is_some() && head.transactional_id.is_some() => return Ok(false),
            TopicRef::Name(_) if tenant.is_some() => return Ok(false),
            TopicRef::Id(_) if tenant.as_ref().is_some_and(|tenant| tenant.has_aliases()) => {
                return Ok(false);
            }
            TopicRef::Name(name) => Some(Arc::from(name)),
            TopicRef::Id(id) => {
                let known = self.names_of(&[id]).await?;
                Seen::of(&known, tenant.as_deref()).name(&id)
            }
        };
        let topic = topic.is_some_and(|topic: Arc<str>| {
            view.permits(Operation::Write, ResourceType::Topic, &topic)
        });
        let transaction = head
            .transactional_id
            .is_none_or(|id| view.permits(Operation::Write, ResourceType::TransactionalId, id));
        Ok(topic && transaction)
    }
}

/// The topics that a client may see, by its own names.
async fn visible(view: &AclView, tenant: Option<&Arc<Tenant>>, listing: &Listing) -> Vec<String> {
    const AT_ONCE: usize = 1000;
    let mut visible = Vec::new();
    let may_see = |name: &str| view.permits(Operation::Describe, ResourceType::Topic, name);
    for topics in listing.topics.chunks(AT_ONCE) {
        for (name, _) in topics {
            match tenant {
                None if may_see(name) => visible.push(name.to_string()),
                None => {}
                Some(tenant) => {
                    let names = tenant.logical_topics(name).filter(|name| may_see(name));
                    visible.extend(names.map(str::to_owned));
                }
            }
        }
        // There may be many, and others wait.
        yield_now().await;
    }
    visible
}

fn no_names(error: state::TransportError) -> Failure {
    Failure::Judgement(format!("topic names: {error}"))
}

struct ProduceHead<'a> {
    transactional_id: Option<&'a str>,
    topics: u32,
    topic: TopicRef<'a>,
}

#[derive(Debug, PartialEq)]
enum TopicRef<'a> {
    Name(&'a str),
    Id([u8; 16]),
}

/// Reads what comes before the first records. `None`: not enough bytes, or no such version.
fn produce_head(version: i16, mut body: &[u8]) -> Option<ProduceHead<'_>> {
    const ACKS_AND_TIMEOUT: usize = 2 + 4;
    const LAST_WITH_NAMES: i16 = 12;
    if version < 3 {
        return None;
    }
    let compact = version >= 9;
    let transactional_id = text(&mut body, compact)?;
    body = body.get(ACKS_AND_TIMEOUT..)?;
    let topics = match compact {
        true => varint::take(&mut body)?.checked_sub(1)?,
        false => {
            let (count, rest) = body.split_first_chunk()?;
            body = rest;
            u32::from_be_bytes(*count)
        }
    };
    Some(ProduceHead {
        transactional_id,
        topics,
        topic: match version {
            ..=LAST_WITH_NAMES => TopicRef::Name(text(&mut body, compact)??),
            _ => TopicRef::Id(*body.first_chunk()?),
        },
    })
}

/// A nullable string; the outer `None`: not enough bytes, or no text.
fn text<'a>(body: &mut &'a [u8], compact: bool) -> Option<Option<&'a str>> {
    match peek::text(body, compact)? {
        None => Some(None),
        Some(text) => std::str::from_utf8(text).ok().map(Some),
    }
}

impl Head {
    /// The request with another body and perhaps another version; client id and correlation id stay.
    fn with_body(&self, frame: &[u8], version: i16, body: Bytes) -> Result<Made, Failure> {
        const VERSION: std::ops::Range<usize> = 6..8;
        let header = frame
            .get(..PREFIX + self.header_len)
            .ok_or_else(|| self.cut_short())?;
        let flexible = |version| wire::header::request_header_version(self.api, version) >= 2;
        let mut head = BytesMut::with_capacity(header.len() + 1);
        match (flexible(self.version), flexible(version)) {
            (false, true) => {
                head.put_slice(header);
                head.put_u8(0); // no tagged fields
            }
            (true, false) => return Err(self.cut_short()), // never asked for: versions are only raised
            _ => head.put_slice(header),
        }
        head[VERSION].copy_from_slice(&version.to_be_bytes());
        let size = u32::try_from(head.len() - PREFIX + body.len()).unwrap_or(u32::MAX);
        head[..PREFIX].copy_from_slice(&size.to_be_bytes());
        Ok(Made {
            head: head.freeze(),
            body,
        })
    }

    fn answer(&self, body: &[u8]) -> Bytes {
        local::frame(self.api, self.version, self.correlation_id, body)
    }

    fn unjudged(&self, error: Error) -> Failure {
        match error {
            Error::Body(error) => self.malformed(error),
            other => Failure::Judgement(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_produce_request() {
        let old = [
            0xff, 0xff, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 2, b'a', b'b', 0, 0,
        ];
        let head = produce_head(7, &old).unwrap();
        assert_eq!((head.topics, head.topic), (1, TopicRef::Name("ab")));
        assert_eq!(head.transactional_id, None);
        let compact = [3, b't', b'x', 0, 1, 0, 0, 0, 9, 3, 3, b'a', b'b', 2];
        let head = produce_head(9, &compact).unwrap();
        assert_eq!((head.topics, head.topic), (2, TopicRef::Name("ab")));
        assert_eq!(head.transactional_id, Some("tx"));
        for cut in 0..13 {
            assert!(produce_head(9, &compact[..cut]).is_none());
        }
        let by_id = [&[0, 0, 1, 0, 0, 0, 9, 2][..], &[7; 16]].concat();
        assert_eq!(
            produce_head(13, &by_id).unwrap().topic,
            TopicRef::Id([7; 16])
        );
        assert!(produce_head(13, &by_id[..20]).is_none());
        assert!(produce_head(2, &old).is_none());
    }
}
