//! Requests whose answers are still owed to the client, in the order in which they have to be given.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::Arc;

use authorization::AnswerWork;
use bytes::Bytes;
use tenancy::{Back, Tenant};
use tokio::sync::oneshot;
use wire::api::ApiKey;

use super::signal::{Bell, holds};
use super::tally::Owed;
use super::timing::{Timings, Way};
use crate::fair::Claim;
use crate::upstream::pool::SharedAnswer;
use crate::verdict::Treatment;

/// One owed answer.
pub(crate) struct Pending {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) source: Source,
    /// What is done to the answer before the client sees it.
    pub(crate) work: Option<Arc<Work>>,
    /// What metrics have to know of the request.
    pub(crate) asked: Option<Owed>,
    /// The round of the client's rights that the request was judged in.
    pub(crate) judged: u64,
    /// The share session that is begun if the answer says so.
    pub(crate) begins: Option<Box<ShareSession>>,
}

/// A share session (KIP-932): a hash of group and member, which can be long, and the round of the client's rights in which it was begun.
pub(crate) type ShareSession = (u128, u64);

/// What is done to an answer.
pub(crate) struct Work {
    /// Gives it the names that the client knows.
    pub(crate) back: Option<Box<Back>>,
    /// The version that it has then.
    pub(crate) between: i16,
    /// What access control does to it.
    pub(crate) rights: Option<AnswerWork>,
    /// The version that the client asked in, and is answered in.
    pub(crate) version: i16,
    /// The virtual cluster as it was when the client asked.
    pub(crate) tenant: Option<Arc<Tenant>>,
    /// The memory that all this takes from the budget.
    pub(crate) _permit: Option<Claim>,
}

/// Where the answer comes from.
pub(crate) enum Source {
    /// The next frame of the private leg.
    Private(Treatment),
    /// A shared leg.
    Shared(Treatment, oneshot::Receiver<SharedAnswer>),
    /// The gateway itself: a whole frame, with the memory that it takes from the budget.
    Local(Bytes, Option<Claim>),
    /// The next frame of the private leg, which is for the gateway and not for the client.
    Own(oneshot::Sender<Bytes>),
}

/// The queue between the request half and the response half of a connection.
pub(crate) struct InFlight {
    queue: RefCell<VecDeque<Pending>>,
    outstanding: Cell<usize>,
    limit: usize,
    departed: Bell,
    pub(super) timings: Timings,
}

impl InFlight {
    pub(super) fn new(limit: usize, timings: Timings) -> Self {
        InFlight {
            queue: RefCell::default(),
            outstanding: Cell::new(0),
            limit,
            departed: Bell::default(),
            timings,
        }
    }

    pub(crate) fn push(&self, pending: Pending) {
        let way = match pending.source {
            Source::Private(_) => Way::Private,
            Source::Shared(..) => Way::Shared,
            Source::Local(..) => Way::Local,
            Source::Own(_) => Way::Apart,
        };
        self.timings.owed(pending.api, way);
        self.queue.borrow_mut().push_back(pending);
        self.outstanding.set(self.outstanding.get() + 1);
    }

    /// The next answer to give. It stays outstanding until [`InFlight::done`].
    pub(crate) fn pop(&self) -> Option<Pending> {
        self.queue.borrow_mut().pop_front()
    }

    pub(crate) fn has_next(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    /// `count` answers have been written.
    pub(crate) fn done(&self, count: usize) {
        if count > 0 {
            self.timings.written(count);
            self.outstanding
                .set(self.outstanding.get().saturating_sub(count));
            self.departed.ring();
        }
    }

    /// Requests not yet answered completely.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.get()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.outstanding.get() >= self.limit
    }

    /// Waits for a request to be pushed, for the response half, which is polled after the request half.
    pub(crate) async fn arrival(&self) {
        holds(|| self.has_next()).await;
    }

    /// Waits until one more request may be accepted.
    pub(crate) async fn room(&self) {
        self.fewer_than(self.limit).await;
    }

    /// Waits until nothing is owed any more.
    pub(crate) async fn settled(&self) {
        self.fewer_than(1).await;
    }

    /// Waits until fewer than `limit` answers are owed.
    pub(crate) async fn fewer_than(&self, limit: usize) {
        let fewer = || self.outstanding.get() < limit;
        self.departed.until(fewer).await;
    }
}
