//! Classic groups: JoinGroup, SyncGroup, Heartbeat, LeaveGroup, DescribeGroups, ListGroups, DeleteGroups.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    GroupId, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, SyncGroupRequest,
    SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::{Answer, Request, code, text};
use crate::groups::{
    GroupState, JoinAnswer, JoinRequest, Joining, Speaker, SyncAnswer, SyncRequest, Syncing,
};
use crate::sync::lock;

/// Everything that may be done to a group, as the bits of ACL operations.
const GROUP_OPERATIONS: i32 = 0b1_0100_1000;
const CLASSIC: &str = "classic";
/// State of a group that is not there.
const DEAD: &str = "Dead";

pub(super) async fn join(request: &Request<'_>) -> Answer {
    let asked: JoinGroupRequest = request.decode()?;
    let answer = match request
        .coordinates(&asked.group_id)
        .and_then(|()| start_join(request, &asked))
    {
        Ok(Joining::Now(answer)) => answer,
        Ok(Joining::Later(receiver)) => receiver.await.unwrap_or_else(|_| {
            JoinAnswer::failed(ResponseError::UnknownMemberId, &asked.member_id)
        }),
        Err(error) => JoinAnswer::failed(error, &asked.member_id),
    };
    let members = answer.members.into_iter().map(|(id, instance, metadata)| {
        let member = JoinGroupResponseMember::default()
            .with_member_id(text(id))
            .with_metadata(metadata);
        member.with_group_instance_id(instance.filter(|_| request.version >= 5).map(text))
    });
    // A null protocol name came with version 7.
    let protocol = answer.protocol.or((request.version < 7).then(String::new));
    request.answer(
        &JoinGroupResponse::default()
            .with_throttle_time_ms(request.throttle_ms)
            .with_error_code(answer.error.map_or(0, |e| e.code()))
            .with_generation_id(answer.generation)
            .with_protocol_type(answer.protocol_type.map(text))
            .with_protocol_name(protocol.map(text))
            .with_leader(text(answer.leader))
            .with_skip_assignment(answer.skip_assignment)
            .with_member_id(text(answer.member_id))
            .with_members(members.collect()),
    )
}

fn start_join(request: &Request<'_>, asked: &JoinGroupRequest) -> Result<Joining, ResponseError> {
    if asked.group_id.is_empty() {
        return Err(ResponseError::InvalidGroupId);
    }
    let rebalance = if request.version >= 1 {
        asked.rebalance_timeout_ms
    } else {
        asked.session_timeout_ms
    };
    let join = JoinRequest {
        member_id: asked.member_id.to_string(),
        instance_id: asked.group_instance_id.as_ref().map(ToString::to_string),
        client_id: request.client_id.clone(),
        client_host: format!("/{}", request.peer),
        session_timeout_ms: asked.session_timeout_ms,
        rebalance_timeout_ms: rebalance,
        protocol_type: asked.protocol_type.to_string(),
        protocols: asked
            .protocols
            .iter()
            .map(|p| (p.name.to_string(), owned(&p.metadata)))
            .collect(),
        id_required_first: request.version >= 4,
        can_skip_assignment: request.version >= 9,
    };
    let group = request.cluster.groups.entry(&asked.group_id)?;
    Ok(lock(&group).join(join, Instant::now()))
}

pub(super) async fn sync(request: &Request<'_>) -> Answer {
    let asked: SyncGroupRequest = request.decode()?;
    let answer = match request
        .coordinates(&asked.group_id)
        .and_then(|()| start_sync(request, &asked))
    {
        Ok(Syncing::Now(answer)) => answer,
        Ok(Syncing::Later(receiver)) => receiver
            .await
            .unwrap_or(Err(ResponseError::RebalanceInProgress)),
        Err(error) => Err(error),
    };
    let response = SyncGroupResponse::default().with_throttle_time_ms(request.throttle_ms);
    request.answer(&match answer {
        Ok(SyncAnswer {
            protocol_type,
            protocol,
            assignment,
        }) => {
            let response = response
                .with_protocol_type(Some(text(protocol_type)))
                .with_protocol_name(protocol.map(text));
            response.with_assignment(assignment)
        }
        Err(error) => response.with_error_code(error.code()),
    })
}

fn start_sync(request: &Request<'_>, asked: &SyncGroupRequest) -> Result<Syncing, ResponseError> {
    let group = request
        .cluster
        .groups
        .get(&asked.group_id)
        .ok_or(ResponseError::UnknownMemberId)?;
    let assignments = asked
        .assignments
        .iter()
        .map(|a| (a.member_id.to_string(), owned(&a.assignment)));
    let sync = SyncRequest {
        who: speaker(
            &asked.member_id,
            asked.group_instance_id.as_ref(),
            asked.generation_id,
        ),
        protocol_type: asked.protocol_type.as_deref(),
        protocol: asked.protocol_name.as_deref(),
        assignments: assignments.collect(),
    };
    Ok(lock(&group).sync(sync, Instant::now()))
}

pub(super) fn heartbeat(request: &Request<'_>) -> Answer {
    let asked: HeartbeatRequest = request.decode()?;
    let alive = request.coordinates(&asked.group_id).and_then(|()| {
        let group = request
            .cluster
            .groups
            .get(&asked.group_id)
            .ok_or(ResponseError::UnknownMemberId)?;
        let who = speaker(
            &asked.member_id,
            asked.group_instance_id.as_ref(),
            asked.generation_id,
        );
        lock(&group).heartbeat(who, Instant::now())
    });
    request.answer(
        &HeartbeatResponse::default()
            .with_error_code(code(alive))
            .with_throttle_time_ms(request.throttle_ms),
    )
}

pub(super) fn leave(request: &Request<'_>) -> Answer {
    let asked: LeaveGroupRequest = request.decode()?;
    let coordinates = request.coordinates(&asked.group_id);
    let leave = |member: &StrBytes, instance: Option<&StrBytes>| {
        let group = request
            .cluster
            .groups
            .get(&asked.group_id)
            .ok_or(ResponseError::UnknownMemberId)?;
        lock(&group).leave(member, instance.map(|i| &**i), Instant::now())
    };
    let response = LeaveGroupResponse::default().with_throttle_time_ms(request.throttle_ms);
    if request.version < 3 {
        let left = coordinates.and_then(|()| leave(&asked.member_id, None));
        return request.answer(&response.with_error_code(code(left)));
    }
    if coordinates.is_err() {
        return request.answer(&response.with_error_code(code(coordinates)));
    }
    let members = asked.members.iter().map(|m| {
        let left = leave(&m.member_id, m.group_instance_id.as_ref());
        let member = MemberResponse::default().with_group_instance_id(m.group_instance_id.clone());
        let id = left
            .as_ref()
            .map_or_else(|_| m.member_id.clone(), |id| text(id.clone()));
        member.with_member_id(id).with_error_code(code(left))
    });
    request.answer(&response.with_members(members.collect()))
}

pub(super) fn describe(request: &Request<'_>) -> Answer {
    let asked: DescribeGroupsRequest = request.decode()?;
    let groups = asked.groups.iter().map(|id| {
        let mut described = describe_one(request, id);
        if asked.include_authorized_operations {
            described.authorized_operations = GROUP_OPERATIONS;
        }
        described
    });
    request.answer(
        &DescribeGroupsResponse::default()
            .with_groups(groups.collect())
            .with_throttle_time_ms(request.throttle_ms),
    )
}

fn describe_one(request: &Request<'_>, id: &GroupId) -> DescribedGroup {
    let described = DescribedGroup::default().with_group_id(id.clone());
    if let Err(error) = request.coordinates(id) {
        return described.with_error_code(error.code());
    }
    let Some(group) = request.cluster.groups.get(id) else {
        let described = described.with_group_state(StrBytes::from_static_str(DEAD));
        if request.version < 6 {
            return described;
        }
        let message = format!("Group {} not found.", &***id);
        return described
            .with_error_code(ResponseError::GroupIdNotFound.code())
            .with_error_message(Some(text(message)));
    };
    let group = lock(&group);
    let stable = group.state == GroupState::Stable;
    let members = group.members().map(|(member, metadata)| {
        DescribedGroupMember::default()
            .with_member_id(text(member.id.clone()))
            .with_group_instance_id(member.instance_id.clone().map(text))
            .with_client_id(text(member.client_id.clone()))
            .with_client_host(text(member.client_host.clone()))
            .with_member_metadata(if stable { metadata } else { Bytes::new() })
            .with_member_assignment(if stable {
                member.assignment.clone()
            } else {
                Bytes::new()
            })
    });
    described
        .with_group_state(StrBytes::from_static_str(group.state.name()))
        .with_protocol_type(text(group.protocol_type.clone()))
        .with_protocol_data(text(
            group
                .protocol
                .clone()
                .filter(|_| stable)
                .unwrap_or_default(),
        ))
        .with_members(members.collect())
}

pub(super) fn list(request: &Request<'_>) -> Answer {
    let asked: ListGroupsRequest = request.decode()?;
    let response = ListGroupsResponse::default().with_throttle_time_ms(request.throttle_ms);
    if let Err(error) = request.gate() {
        return request.answer(&response.with_error_code(error.code()));
    }
    let wanted = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|f| f.eq_ignore_ascii_case(value))
    };
    let mut groups = Vec::new();
    for group in request.cluster.groups.all() {
        let group = lock(&group);
        let here = request.cluster.coordinator(&group.id) == Some(request.node);
        if here
            && wanted(&asked.states_filter, group.state.name())
            && wanted(&asked.types_filter, CLASSIC)
        {
            groups.push(
                ListedGroup::default()
                    .with_group_id(GroupId(text(group.id.clone())))
                    .with_protocol_type(text(group.protocol_type.clone()))
                    .with_group_state(StrBytes::from_static_str(group.state.name()))
                    .with_group_type(StrBytes::from_static_str(CLASSIC)),
            );
        }
    }
    request.answer(&response.with_groups(groups))
}

pub(super) fn delete(request: &Request<'_>) -> Answer {
    let asked: DeleteGroupsRequest = request.decode()?;
    let results = asked.groups_names.iter().map(|id| {
        let deleted = request
            .coordinates(id)
            .and_then(|()| request.cluster.groups.delete(id));
        DeletableGroupResult::default()
            .with_group_id(id.clone())
            .with_error_code(code(deleted))
    });
    request.answer(
        &DeleteGroupsResponse::default()
            .with_results(results.collect())
            .with_throttle_time_ms(request.throttle_ms),
    )
}

pub(super) fn speaker<'a>(
    member_id: &'a StrBytes,
    instance_id: Option<&'a StrBytes>,
    generation: i32,
) -> Speaker<'a> {
    Speaker {
        member_id,
        instance_id: instance_id.map(|i| &**i),
        generation,
    }
}

/// A copy that does not keep the request's frame in memory.
fn owned(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
