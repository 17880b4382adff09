//! One member of a classic group.

use std::time::Duration;

use bytes::{Buf, Bytes};
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::memory::Charge;

/// What JoinGroup asks, in owned form: nothing of it may keep the request's frame in memory.
#[derive(Debug)]
pub(crate) struct JoinRequest {
    pub(crate) member_id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// From version 4 on a new member is first told its id (KIP-394).
    pub(crate) id_required_first: bool,
    /// From version 9 on a leader that comes back can be told not to assign (KIP-814).
    pub(crate) can_skip_assignment: bool,
}

/// JoinGroup's answer.
#[derive(Clone, Debug)]
pub(crate) struct JoinAnswer {
    pub(crate) error: Option<ResponseError>,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: String,
    pub(crate) skip_assignment: bool,
    pub(crate) member_id: String,
    /// (member id, instance id, subscription); for the leader only.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

impl JoinAnswer {
    pub(crate) fn failed(error: ResponseError, member_id: &str) -> Self {
        JoinAnswer {
            error: Some(error),
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: String::new(),
            skip_assignment: false,
            member_id: member_id.to_owned(),
            members: Vec::new(),
        }
    }
}

/// SyncGroup's answer.
#[derive(Clone, Debug)]
pub(crate) struct SyncAnswer {
    pub(crate) protocol_type: String,
    pub(crate) protocol: Option<String>,
    pub(crate) assignment: Bytes,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) instance_id: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) assignment: Bytes,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) last_seen: Instant,
    pub(super) join: Option<oneshot::Sender<JoinAnswer>>,
    pub(super) sync: Option<oneshot::Sender<Result<SyncAnswer, ResponseError>>>,
    pub(super) charge: Charge,
}

impl Member {
    pub(super) fn new(id: &str, request: JoinRequest, charge: Charge, now: Instant) -> Self {
        let millis = |ms: i32| Duration::from_millis(ms.max(0) as u64);
        Member {
            id: id.to_owned(),
            instance_id: request.instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            assignment: Bytes::new(),
            session_timeout: millis(request.session_timeout_ms),
            rebalance_timeout: millis(request.rebalance_timeout_ms),
            protocols: request.protocols,
            last_seen: now,
            join: None,
            sync: None,
            charge,
        }
    }

    /// The subscription for an assignor; empty if the member does not know it.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| name == protocol)
            .map_or_else(Bytes::new, |(_, m)| m.clone())
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// Whether a connection still waits for the answer to this member's JoinGroup.
    pub(super) fn has_joined(&self) -> bool {
        self.join.as_ref().is_some_and(|join| !join.is_closed())
    }

    /// Whether a connection waits for anything; such a member is alive whatever the clock says.
    pub(super) fn is_waiting(&self) -> bool {
        self.has_joined() || self.sync.as_ref().is_some_and(|sync| !sync.is_closed())
    }

    pub(super) fn answer_join(&mut self, answer: JoinAnswer) {
        if let Some(join) = self.join.take() {
            // The receiver is gone when the client has hung up; its session will time out.
            let _ = join.send(answer);
        }
    }

    pub(super) fn answer_sync(&mut self, answer: Result<SyncAnswer, ResponseError>) {
        if let Some(sync) = self.sync.take() {
            // As above.
            let _ = sync.send(answer);
        }
    }
}

impl JoinRequest {
    /// What a member made from this will cost.
    pub(super) fn cost(&self) -> usize {
        const FIXED: usize = 512;
        let protocols: usize = self
            .protocols
            .iter()
            .map(|(name, metadata)| name.len() + metadata.len() + 64)
            .sum();
        FIXED + protocols + self.client_id.len() + self.instance_id.as_ref().map_or(0, String::len)
    }
}

/// Whether a consumer subscription (`ConsumerProtocolSubscription`) names the topic; None if it cannot be read.
pub(super) fn subscribes(subscription: &Bytes, topic: &str) -> Option<bool> {
    let mut rest = subscription.clone();
    if rest.remaining() < 6 {
        return None;
    }
    rest.advance(2);
    let count = rest.get_i32();
    for _ in 0..count {
        if rest.remaining() < 2 {
            return None;
        }
        let length = usize::try_from(rest.get_i16()).ok()?;
        if rest.remaining() < length {
            return None;
        }
        if rest.split_to(length) == topic.as_bytes() {
            return Some(true);
        }
    }
    Some(false)
}
