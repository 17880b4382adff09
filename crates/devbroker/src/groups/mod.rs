//! Classic consumer groups (the JoinGroup / SyncGroup protocol): the registry, and what of a group does not change its members.
//!
//! `member` holds one member, `rebalance` the state machine, `offsets` the committed offsets.

mod member;
mod offsets;
mod rebalance;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::time::Instant;

use crate::memory::Budget;
use crate::sync::lock;

pub(crate) use member::{JoinAnswer, JoinRequest, Member, SyncAnswer};
pub(crate) use offsets::Offsets;
pub(crate) use rebalance::{Joining, SyncRequest, Syncing};

/// Groups in a cluster.
const MAX_GROUPS: usize = 10_000;
/// Shortest session timeout taken (`group.min.session.timeout.ms`); lower than Kafka's, so that trying out a crash is quick.
pub(crate) const MIN_SESSION_MS: i32 = 1_000;
/// Longest session timeout taken (`group.max.session.timeout.ms`).
pub(crate) const MAX_SESSION_MS: i32 = 1_800_000;
/// How long the first member of a group waits for others (`group.initial.rebalance.delay.ms`).
const INITIAL_DELAY: Duration = Duration::from_millis(150);

/// All groups of a cluster.
#[derive(Debug)]
pub(crate) struct Groups {
    known: Mutex<BTreeMap<String, Arc<Mutex<Group>>>>,
    budget: Arc<Budget>,
}

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) state: GroupState,
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    /// The assignor in use; None while the group is empty.
    pub(crate) protocol: Option<String>,
    leader: Option<String>,
    members: BTreeMap<String, Member>,
    /// Group instance id to member id (KIP-345).
    statics: HashMap<String, String>,
    /// Member ids handed out that have not joined yet (KIP-394), with the time by which they must.
    pending: HashMap<String, Instant>,
    /// In `PreparingRebalance`: not to end before / to end at the latest. In `CompletingRebalance`: by when all must have synced.
    not_before: Option<Instant>,
    deadline: Option<Instant>,
    pub(crate) offsets: Offsets,
    budget: Arc<Budget>,
}

/// Kafka's states of a classic group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupState {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl GroupState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
        }
    }
}

/// Who speaks: as Heartbeat, SyncGroup and OffsetCommit name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speaker<'a> {
    pub(crate) member_id: &'a str,
    pub(crate) instance_id: Option<&'a str>,
    pub(crate) generation: i32,
}

impl Groups {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Groups {
            known: Mutex::default(),
            budget,
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Mutex<Group>>> {
        lock(&self.known).get(id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Mutex<Group>>> {
        lock(&self.known).values().cloned().collect()
    }

    /// The group, made if it does not exist.
    pub(crate) fn entry(&self, id: &str) -> Result<Arc<Mutex<Group>>, ResponseError> {
        let mut known = lock(&self.known);
        if let Some(group) = known.get(id) {
            return Ok(group.clone());
        }
        if known.len() >= MAX_GROUPS {
            return Err(ResponseError::PolicyViolation);
        }
        let group = Arc::new(Mutex::new(Group::new(id, self.budget.clone())));
        known.insert(id.to_owned(), group.clone());
        Ok(group)
    }

    /// DeleteGroups: only empty groups can go.
    pub(crate) fn delete(&self, id: &str) -> Result<(), ResponseError> {
        let mut known = lock(&self.known);
        let group = known.get(id).ok_or(ResponseError::GroupIdNotFound)?;
        if lock(group).state != GroupState::Empty {
            return Err(ResponseError::NonEmptyGroup);
        }
        known.remove(id);
        Ok(())
    }

    /// Ends sessions and rebalances whose time has come, and forgets groups that hold nothing.
    pub(crate) fn tick(&self, now: Instant) {
        for group in self.all() {
            lock(&group).tick(now);
        }
        lock(&self.known)
            .retain(|_, group| Arc::strong_count(group) > 1 || !lock(group).is_forgettable());
    }

    /// Applies or drops the offsets that a transaction has sent to `group`.
    pub(crate) fn end_transaction(&self, group: &str, producer_id: i64, committed: bool) {
        if let Some(group) = self.get(group) {
            lock(&group).offsets.end_transaction(producer_id, committed);
        }
    }

    /// A deleted topic's offsets go with it.
    pub(crate) fn forget_topic(&self, topic: &str) {
        for group in self.all() {
            lock(&group).offsets.forget_topic(topic);
        }
    }
}

impl Group {
    fn new(id: &str, budget: Arc<Budget>) -> Self {
        Group {
            id: id.to_owned(),
            state: GroupState::Empty,
            generation: 0,
            protocol_type: String::new(),
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: HashMap::new(),
            pending: HashMap::new(),
            not_before: None,
            deadline: None,
            offsets: Offsets::new(budget.clone()),
            budget,
        }
    }

    /// Members with the subscription that counts: the one for the assignor in use.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&Member, Bytes)> {
        let protocol = self.protocol.as_deref().unwrap_or("");
        self.members
            .values()
            .map(move |m| (m, m.metadata(protocol)))
    }

    /// Heartbeat: keeps the member's session alive.
    pub(crate) fn heartbeat(
        &mut self,
        who: Speaker<'_>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.check_member(who)?;
        self.touch(who.member_id, now);
        match self.state {
            GroupState::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// OffsetCommit and TxnOffsetCommit: a generation below 0 without a member is a consumer that assigns partitions itself.
    pub(crate) fn check_commit(
        &mut self,
        who: Speaker<'_>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        if who.generation < 0 && who.member_id.is_empty() {
            let free = self.state == GroupState::Empty;
            return if free {
                Ok(())
            } else {
                Err(ResponseError::UnknownMemberId)
            };
        }
        self.check_member(who)?;
        self.touch(who.member_id, now);
        match self.state {
            GroupState::CompletingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Whether a member is subscribed to the topic; decides whether its offsets may be deleted (KIP-496). Unreadable subscriptions count.
    pub(crate) fn is_subscribed(&self, topic: &str) -> bool {
        self.state != GroupState::Empty
            && self
                .members()
                .any(|(_, metadata)| member::subscribes(&metadata, topic).unwrap_or(true))
    }

    fn check_member(&self, who: Speaker<'_>) -> Result<(), ResponseError> {
        self.check_instance(who.member_id, who.instance_id)?;
        if !self.members.contains_key(who.member_id) {
            return Err(ResponseError::UnknownMemberId);
        }
        if who.generation == self.generation {
            Ok(())
        } else {
            Err(ResponseError::IllegalGeneration)
        }
    }

    fn check_instance(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ResponseError> {
        let Some(instance) = instance_id else {
            return Ok(());
        };
        match self.statics.get(instance) {
            Some(current) if current == member_id => Ok(()),
            Some(_) => Err(ResponseError::FencedInstanceId),
            None => Err(ResponseError::UnknownMemberId),
        }
    }

    fn touch(&mut self, member_id: &str, now: Instant) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.last_seen = now;
        }
    }

    fn is_forgettable(&self) -> bool {
        self.state == GroupState::Empty && self.pending.is_empty() && self.offsets.is_empty()
    }
}
