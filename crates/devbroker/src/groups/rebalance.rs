//! The state machine of a classic group: joining, rebalancing, assigning, leaving, expiring.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{
    Group, GroupState, INITIAL_DELAY, JoinAnswer, JoinRequest, Member, Speaker, SyncAnswer,
};
use super::{MAX_SESSION_MS, MIN_SESSION_MS};
use crate::topics::random;

/// Members in a group, those only told their id included.
const MAX_MEMBERS: usize = 1_000;

/// JoinGroup is answered at once or when the rebalance ends.
#[derive(Debug)]
pub(crate) enum Joining {
    Now(JoinAnswer),
    Later(oneshot::Receiver<JoinAnswer>),
}

/// SyncGroup is answered at once or when the leader has assigned.
#[derive(Debug)]
pub(crate) enum Syncing {
    Now(Result<SyncAnswer, ResponseError>),
    Later(oneshot::Receiver<Result<SyncAnswer, ResponseError>>),
}

/// What SyncGroup asks.
#[derive(Debug)]
pub(crate) struct SyncRequest<'a> {
    pub(crate) who: Speaker<'a>,
    pub(crate) protocol_type: Option<&'a str>,
    pub(crate) protocol: Option<&'a str>,
    /// (member id, assignment), owned; from the leader only.
    pub(crate) assignments: Vec<(String, Bytes)>,
}

impl Group {
    /// JoinGroup.
    pub(crate) fn join(&mut self, request: JoinRequest, now: Instant) -> Joining {
        let member_id = request.member_id.clone();
        match self.try_join(request, now) {
            Ok(joining) => joining,
            Err((error, id)) => Joining::Now(JoinAnswer::failed(
                error,
                id.as_deref().unwrap_or(&member_id),
            )),
        }
    }

    /// SyncGroup.
    pub(crate) fn sync(&mut self, request: SyncRequest<'_>, now: Instant) -> Syncing {
        match self.try_sync(request, now) {
            Ok(syncing) => syncing,
            Err(error) => Syncing::Now(Err(error)),
        }
    }

    /// LeaveGroup of one member, by member id or, for static members, by instance id alone. Returns the id of the member that left.
    pub(crate) fn leave(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        now: Instant,
    ) -> Result<String, ResponseError> {
        let member_id = match instance_id {
            Some(instance) if member_id.is_empty() => self
                .statics
                .get(instance)
                .cloned()
                .ok_or(ResponseError::UnknownMemberId)?,
            _ => {
                self.check_instance(member_id, instance_id)?;
                member_id.to_owned()
            }
        };
        if self.pending.remove(&member_id).is_some() {
            self.try_complete(now);
            return Ok(member_id);
        }
        if !self.members.contains_key(&member_id) {
            return Err(ResponseError::UnknownMemberId);
        }
        self.remove(&member_id);
        self.member_gone(now);
        Ok(member_id)
    }

    /// Ends what time has run out for.
    pub(crate) fn tick(&mut self, now: Instant) {
        let waiting_ids = self.pending.len();
        self.pending.retain(|_, deadline| *deadline > now);
        let late = |m: &&Member| !m.is_waiting() && m.last_seen + m.session_timeout <= now;
        let expired: Vec<String> = self
            .members
            .values()
            .filter(late)
            .map(|m| m.id.clone())
            .collect();
        for id in &expired {
            self.remove(id);
        }
        if !expired.is_empty() {
            self.member_gone(now);
        }
        let passed = self.deadline.is_some_and(|deadline| deadline <= now);
        match self.state {
            GroupState::PreparingRebalance if passed => self.complete(now),
            GroupState::PreparingRebalance => self.try_complete(now),
            GroupState::CompletingRebalance if passed => {
                let silent = |m: &&Member| m.sync.is_none();
                let silent: Vec<String> = self
                    .members
                    .values()
                    .filter(silent)
                    .map(|m| m.id.clone())
                    .collect();
                for id in &silent {
                    self.remove(id);
                }
                self.prepare(now, None);
            }
            _ if waiting_ids != self.pending.len() => self.try_complete(now),
            _ => {}
        }
    }

    fn try_join(
        &mut self,
        request: JoinRequest,
        now: Instant,
    ) -> Result<Joining, (ResponseError, Option<String>)> {
        let plain = |error| (error, None);
        self.check_join(&request).map_err(plain)?;
        if request.member_id.is_empty() {
            return self.join_unknown(request, now);
        }
        let id = request.member_id.clone();
        if self.pending.remove(&id).is_some() {
            return self.add(id, request, now).map_err(plain);
        }
        self.check_instance(&id, request.instance_id.as_deref())
            .map_err(plain)?;
        let member = self
            .members
            .get(&id)
            .ok_or((ResponseError::UnknownMemberId, None))?;
        let unchanged = member.protocols == request.protocols;
        let leads = self.leader.as_deref() == Some(id.as_str());
        match self.state {
            GroupState::Empty => Err(plain(ResponseError::UnknownMemberId)),
            GroupState::CompletingRebalance if unchanged => {
                self.touch(&id, now);
                Ok(Joining::Now(self.join_answer(&id)))
            }
            GroupState::Stable if unchanged && !leads => {
                self.touch(&id, now);
                Ok(Joining::Now(self.join_answer(&id)))
            }
            _ => self.add(id, request, now).map_err(plain),
        }
    }

    fn check_join(&self, request: &JoinRequest) -> Result<(), ResponseError> {
        if self.id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        if !(MIN_SESSION_MS..=MAX_SESSION_MS).contains(&request.session_timeout_ms) {
            return Err(ResponseError::InvalidSessionTimeout);
        }
        if request.protocol_type.is_empty() || request.protocols.is_empty() {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        let itself = |m: &&Member| {
            let returning = m.instance_id.is_some() && m.instance_id == request.instance_id;
            m.id == request.member_id || returning
        };
        let others = || self.members.values().filter(|m| !itself(m));
        if others().next().is_none() {
            return Ok(());
        }
        let common = request
            .protocols
            .iter()
            .any(|(name, _)| others().all(|m| m.supports(name)));
        if self.protocol_type == request.protocol_type && common {
            Ok(())
        } else {
            Err(ResponseError::InconsistentGroupProtocol)
        }
    }

    fn join_unknown(
        &mut self,
        request: JoinRequest,
        now: Instant,
    ) -> Result<Joining, (ResponseError, Option<String>)> {
        if self.members.len() + self.pending.len() >= MAX_MEMBERS {
            return Err((ResponseError::GroupMaxSizeReached, None));
        }
        let prefix = request.instance_id.as_deref().unwrap_or(&request.client_id);
        let prefix: String = prefix.chars().take(128).collect();
        let id = format!("{prefix}-{:016x}{:016x}", random(), random());
        let plain = |error| (error, None);
        if let Some(instance) = &request.instance_id {
            return match self.statics.get(instance).cloned() {
                Some(old) => self.replace_static(&old, id, request, now).map_err(plain),
                None => self.add(id, request, now).map_err(plain),
            };
        }
        if request.id_required_first {
            let patience =
                std::time::Duration::from_millis(request.session_timeout_ms.max(0) as u64);
            self.pending.insert(id.clone(), now + patience);
            return Err((ResponseError::MemberIdRequired, Some(id)));
        }
        self.add(id, request, now).map_err(plain)
    }

    /// A static member that comes back takes its old place under a new id; if it wants what it wanted before, nobody else notices.
    fn replace_static(
        &mut self,
        old: &str,
        id: String,
        request: JoinRequest,
        now: Instant,
    ) -> Result<Joining, ResponseError> {
        let Some(mut before) = self.members.remove(old) else {
            return Err(ResponseError::UnknownMemberId);
        };
        before.answer_join(JoinAnswer::failed(ResponseError::FencedInstanceId, old));
        before.answer_sync(Err(ResponseError::FencedInstanceId));
        let led = self.leader.as_deref() == Some(old);
        if led {
            self.leader = Some(id.clone());
        }
        let protocol = self.protocol.clone().unwrap_or_default();
        let wanted = request
            .protocols
            .iter()
            .find(|(name, _)| *name == protocol)
            .map(|(_, metadata)| metadata.clone());
        let quiet = self.state == GroupState::Stable && wanted == Some(before.metadata(&protocol));
        if !quiet {
            return self.add(id, request, now);
        }
        let can_skip = request.can_skip_assignment;
        let charge = self
            .budget
            .charge(request.cost())
            .ok_or(ResponseError::CoordinatorNotAvailable)?;
        let mut member = Member::new(&id, request, charge, now);
        member.assignment = before.assignment.clone();
        self.remember(member);
        let mut answer = self.join_answer(&id);
        if led && can_skip {
            answer.skip_assignment = true;
        } else if led {
            answer.leader = old.to_owned();
            answer.members.clear();
        }
        Ok(Joining::Now(answer))
    }

    fn add(
        &mut self,
        id: String,
        request: JoinRequest,
        now: Instant,
    ) -> Result<Joining, ResponseError> {
        let charge = self
            .budget
            .charge(request.cost())
            .ok_or(ResponseError::CoordinatorNotAvailable)?;
        if self.members.is_empty() {
            self.protocol_type.clone_from(&request.protocol_type);
        }
        let first = self.state == GroupState::Empty;
        let mut member = Member::new(&id, request, charge, now);
        let (sender, receiver) = oneshot::channel();
        member.join = Some(sender);
        if let Some(before) = self.members.get_mut(&id) {
            before.answer_join(JoinAnswer::failed(ResponseError::RebalanceInProgress, &id));
            member.assignment = before.assignment.clone();
        }
        self.remember(member);
        if self.state != GroupState::PreparingRebalance {
            self.prepare(now, first.then(|| now + INITIAL_DELAY));
        }
        self.try_complete(now);
        Ok(Joining::Later(receiver))
    }

    fn remember(&mut self, member: Member) {
        if let Some(instance) = &member.instance_id {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        self.members.insert(member.id.clone(), member);
    }

    fn remove(&mut self, id: &str) {
        if let Some(mut member) = self.members.remove(id) {
            member.answer_join(JoinAnswer::failed(ResponseError::UnknownMemberId, id));
            member.answer_sync(Err(ResponseError::UnknownMemberId));
            if let Some(instance) = &member.instance_id
                && self
                    .statics
                    .get(instance)
                    .is_some_and(|current| current == id)
            {
                self.statics.remove(instance);
            }
        }
        if self.leader.as_deref() == Some(id) {
            self.leader = None;
        }
    }

    fn member_gone(&mut self, now: Instant) {
        match self.state {
            GroupState::Stable | GroupState::CompletingRebalance => self.prepare(now, None),
            GroupState::PreparingRebalance => self.try_complete(now),
            GroupState::Empty => {}
        }
    }

    /// Begins a rebalance: everyone must join again before the slowest member's rebalance timeout.
    fn prepare(&mut self, now: Instant, not_before: Option<Instant>) {
        for member in self.members.values_mut() {
            member.answer_sync(Err(ResponseError::RebalanceInProgress));
        }
        self.state = GroupState::PreparingRebalance;
        let patience = self
            .members
            .values()
            .map(|m| m.rebalance_timeout)
            .max()
            .unwrap_or_default();
        self.deadline = Some(now + patience);
        self.not_before = not_before;
        self.try_complete(now);
    }

    fn try_complete(&mut self, now: Instant) {
        let ready = self.pending.is_empty() && self.members.values().all(Member::has_joined);
        let early = self.not_before.is_some_and(|t| now < t);
        if self.state == GroupState::PreparingRebalance && ready && !early {
            self.complete(now);
        }
    }

    /// Ends the joining phase with those who are there.
    fn complete(&mut self, now: Instant) {
        let absent = |m: &&Member| !m.has_joined() && m.instance_id.is_none();
        let absent: Vec<String> = self
            .members
            .values()
            .filter(absent)
            .map(|m| m.id.clone())
            .collect();
        for id in &absent {
            self.remove(id);
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.not_before = None;
        if self.members.is_empty() {
            self.state = GroupState::Empty;
            (self.deadline, self.protocol, self.leader) = (None, None, None);
            return;
        }
        self.protocol = self.choose_protocol();
        if self
            .leader
            .as_ref()
            .is_none_or(|l| !self.members.get(l).is_some_and(Member::has_joined))
        {
            let present = self
                .members
                .values()
                .find(|m| m.has_joined())
                .or(self.members.values().next());
            self.leader = present.map(|m| m.id.clone());
        }
        self.state = GroupState::CompletingRebalance;
        let patience = self
            .members
            .values()
            .map(|m| m.rebalance_timeout)
            .max()
            .unwrap_or_default();
        self.deadline = Some(now + patience);
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.join_answer(&id);
            if let Some(member) = self.members.get_mut(&id) {
                member.last_seen = now;
                member.answer_join(answer);
            }
        }
    }

    /// The protocol that most members prefer among those all support.
    fn choose_protocol(&self) -> Option<String> {
        let first = self.members.values().next()?;
        let common = |name: &str| self.members.values().all(|m| m.supports(name));
        let candidates: Vec<&String> = first
            .protocols
            .iter()
            .map(|(name, _)| name)
            .filter(|n| common(n))
            .collect();
        let votes = |candidate: &String| {
            let favourite = |m: &&Member| {
                m.protocols
                    .iter()
                    .map(|(n, _)| n)
                    .find(|n| candidates.contains(n))
                    == Some(candidate)
            };
            self.members.values().filter(favourite).count()
        };
        candidates
            .iter()
            .rev()
            .max_by_key(|c| votes(c))
            .map(|c| (*c).clone())
    }

    fn join_answer(&self, id: &str) -> JoinAnswer {
        let leads = self.leader.as_deref() == Some(id);
        let members = self
            .members()
            .map(|(m, metadata)| (m.id.clone(), m.instance_id.clone(), metadata));
        JoinAnswer {
            error: None,
            generation: self.generation,
            protocol_type: Some(self.protocol_type.clone()),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: id.to_owned(),
            members: if leads { members.collect() } else { Vec::new() },
        }
    }

    fn try_sync(
        &mut self,
        request: SyncRequest<'_>,
        now: Instant,
    ) -> Result<Syncing, ResponseError> {
        let id = request.who.member_id;
        self.check_member(request.who)?;
        let named = |given: Option<&str>, ours: &str| given.is_none_or(|g| g == ours);
        if !named(request.protocol_type, &self.protocol_type)
            || !named(request.protocol, self.protocol.as_deref().unwrap_or(""))
        {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        self.touch(id, now);
        match self.state {
            GroupState::Empty => Err(ResponseError::UnknownMemberId),
            GroupState::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            GroupState::Stable => Ok(Syncing::Now(self.sync_answer(id))),
            GroupState::CompletingRebalance => {
                let leads = self.leader.as_deref() == Some(id);
                let (sender, receiver) = oneshot::channel();
                if let Some(member) = self.members.get_mut(id) {
                    member.answer_sync(Err(ResponseError::RebalanceInProgress));
                    member.sync = Some(sender);
                }
                if leads {
                    self.assign(request.assignments, now)?;
                }
                Ok(Syncing::Later(receiver))
            }
        }
    }

    fn assign(
        &mut self,
        assignments: Vec<(String, Bytes)>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let cost: usize = assignments.iter().map(|(_, a)| a.len()).sum();
        let paid = self
            .budget
            .charge(cost)
            .ok_or(ResponseError::CoordinatorNotAvailable)?;
        drop(paid);
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
        }
        for (id, assignment) in assignments {
            if let Some(member) = self.members.get_mut(&id) {
                member.charge.grow(assignment.len());
                member.assignment = assignment;
            }
        }
        self.state = GroupState::Stable;
        self.deadline = None;
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.sync_answer(&id);
            if let Some(member) = self.members.get_mut(&id) {
                if member.sync.is_some() {
                    member.last_seen = now;
                }
                member.answer_sync(answer);
            }
        }
        Ok(())
    }

    fn sync_answer(&self, id: &str) -> Result<SyncAnswer, ResponseError> {
        let member = self.members.get(id).ok_or(ResponseError::UnknownMemberId)?;
        Ok(SyncAnswer {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: member.assignment.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::memory::Budget;

    fn group() -> Group {
        Group::new("g", Budget::new(1 << 20))
    }

    fn request(member_id: &str, instance_id: Option<&str>, protocols: &[&str]) -> JoinRequest {
        JoinRequest {
            member_id: member_id.to_owned(),
            instance_id: instance_id.map(str::to_owned),
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 5_000,
            protocol_type: "consumer".to_owned(),
            protocols: protocols
                .iter()
                .map(|p| ((*p).to_owned(), Bytes::from_static(b"m")))
                .collect(),
            id_required_first: false,
            can_skip_assignment: true,
        }
    }

    fn later(joining: Joining) -> oneshot::Receiver<JoinAnswer> {
        match joining {
            Joining::Later(receiver) => receiver,
            Joining::Now(answer) => panic!("answered at once: {answer:?}"),
        }
    }

    fn now(joining: Joining) -> JoinAnswer {
        match joining {
            Joining::Now(answer) => answer,
            Joining::Later(_) => panic!("not answered at once"),
        }
    }

    /// Syncs as `member_id`; the leader gives everyone the bytes of their own id.
    fn sync(group: &mut Group, answer: &JoinAnswer, at: Instant) -> Syncing {
        let assign = answer
            .members
            .iter()
            .map(|(id, ..)| (id.clone(), Bytes::from(id.clone())));
        let who = Speaker {
            member_id: &answer.member_id,
            instance_id: None,
            generation: answer.generation,
        };
        let request = SyncRequest {
            who,
            protocol_type: None,
            protocol: None,
            assignments: assign.collect(),
        };
        group.sync(request, at)
    }

    #[test]
    fn two_members_agree_on_a_protocol_and_get_their_assignments() {
        let (mut group, start) = (group(), Instant::now());
        let mut first = later(group.join(request("", None, &["a", "b"]), start));
        let mut second = later(group.join(request("", None, &["b"]), start));
        assert!(first.try_recv().is_err(), "waits for others");
        group.tick(start + INITIAL_DELAY);
        let (first, second) = (
            first.try_recv().expect("joined"),
            second.try_recv().expect("joined"),
        );
        assert_eq!(
            (first.generation, first.protocol.as_deref()),
            (1, Some("b"))
        );
        let (leader, follower) = if first.members.is_empty() {
            (second, first)
        } else {
            (first, second)
        };
        let Syncing::Later(mut waiting) = sync(&mut group, &follower, start) else {
            panic!("waits for the leader")
        };
        let Syncing::Later(mut own) = sync(&mut group, &leader, start) else {
            panic!("answered through the channel")
        };
        assert_eq!(
            waiting.try_recv().expect("sent").expect("fine").assignment,
            follower.member_id
        );
        assert_eq!(
            own.try_recv().expect("sent").expect("fine").assignment,
            leader.member_id
        );
        assert_eq!(group.state, GroupState::Stable);
        let stranger = now(group.join(request("", None, &["other"]), start));
        assert_eq!(
            stranger.error,
            Some(ResponseError::InconsistentGroupProtocol)
        );
        group.leave(&follower.member_id, None, start).expect("left");
        let who = Speaker {
            member_id: &leader.member_id,
            instance_id: None,
            generation: 1,
        };
        assert_eq!(
            group.heartbeat(who, start),
            Err(ResponseError::RebalanceInProgress)
        );
    }

    #[test]
    fn members_that_do_not_come_back_are_left_behind() {
        let (mut group, start) = (group(), Instant::now());
        let mut first = later(group.join(request("", None, &["a"]), start));
        group.tick(start + INITIAL_DELAY);
        let first = first.try_recv().expect("joined");
        sync(&mut group, &first, start);
        let mut second = later(group.join(request("", None, &["a"]), start));
        group.tick(start + Duration::from_secs(4));
        assert!(second.try_recv().is_err(), "the first may still come back");
        group.tick(start + Duration::from_secs(6));
        let second = second.try_recv().expect("joined");
        assert_eq!((second.members.len(), second.generation), (1, 2));
        group.tick(start + Duration::from_secs(60));
        group.tick(start + Duration::from_secs(120));
        assert_eq!(group.state, GroupState::Empty);
    }

    #[test]
    fn a_static_member_comes_back_without_a_rebalance_and_fences_its_old_self() {
        let (mut group, start) = (group(), Instant::now());
        let mut joined = later(group.join(request("", Some("i"), &["a"]), start));
        group.tick(start + INITIAL_DELAY);
        let old = joined.try_recv().expect("joined");
        sync(&mut group, &old, start);
        let back = now(group.join(request("", Some("i"), &["a"]), start));
        assert_eq!(
            (back.error, back.generation, back.skip_assignment),
            (None, 1, true)
        );
        assert_ne!(back.member_id, old.member_id);
        let Syncing::Now(Ok(answer)) = sync(&mut group, &back, start) else {
            panic!("still assigned")
        };
        assert_eq!(answer.assignment, old.member_id);
        let who = Speaker {
            member_id: &old.member_id,
            instance_id: Some("i"),
            generation: 1,
        };
        assert_eq!(
            group.heartbeat(who, start),
            Err(ResponseError::FencedInstanceId)
        );
        let changed = later(group.join(request("", Some("i"), &["b"]), start));
        drop(changed);
        assert_eq!(
            group.leave("", Some("nobody"), start),
            Err(ResponseError::UnknownMemberId)
        );
        group.leave("", Some("i"), start).expect("left");
        assert_eq!(group.state, GroupState::Empty);
    }

    #[test]
    fn a_member_told_its_id_is_waited_for_until_its_time_is_up() {
        let (mut group, start) = (group(), Instant::now());
        let told = now(group.join(
            JoinRequest {
                id_required_first: true,
                ..request("", None, &["a"])
            },
            start,
        ));
        assert_eq!(told.error, Some(ResponseError::MemberIdRequired));
        let mut other = later(group.join(request("", None, &["a"]), start));
        group.tick(start + Duration::from_secs(1));
        assert!(other.try_recv().is_err());
        let mut joined = later(group.join(request(&told.member_id, None, &["a"]), start));
        group.tick(start + Duration::from_secs(1));
        assert!(other.try_recv().is_ok() && joined.try_recv().is_ok());
        let unknown = now(group.join(request("nobody", None, &["a"]), start));
        assert_eq!(unknown.error, Some(ResponseError::UnknownMemberId));
    }
}
