//! Classic groups and committed offsets.

use serde_json::json;
use testkit::Result;

use crate::message::hex;
use crate::prepare::{
    GROUP, Kind, Member, NO_TOPIC_ID, TRANSACTIONAL, assignment, commit, coordinator, join,
    join_and_sync, join_request, leave, other, text, topic_id,
};
use crate::side::Run;

pub(crate) fn offset_commit(run: &mut Run<'_>) -> Result<()> {
    let group = run.name("committing");
    let topic = run.fixture("orders");
    let id = topic_id(run, &topic)?;
    let node = coordinator(run, Kind::Group, &group)?;
    let request = |group: &str, member: &str, generation: i64, name: &str, id: &str| {
        json!({
            "GroupId": group,
            "GenerationIdOrMemberEpoch": generation,
            "MemberId": member,
            "Topics": [{
                "Name": name,
                "TopicId": id,
                "Partitions": [
                    { "PartitionIndex": 0, "CommittedOffset": 5, "CommittedMetadata": "a note" },
                    { "PartitionIndex": 9, "CommittedOffset": 1, "CommittedMetadata": null },
                ],
            }],
        })
    };
    run.ask(
        node,
        "without members",
        request(&group, "", -1, &topic, &id),
    )?;
    run.ask(
        node,
        "unknown member",
        request(&group, "nobody", 3, &topic, &id),
    )?;
    run.ask(
        node,
        "unknown topic",
        request(&group, "", -1, "diff-s-nowhere", NO_TOPIC_ID),
    )?;
    run.ask(
        other(node),
        "wrong coordinator",
        request(&group, "", -1, &topic, &id),
    )?;
    run.ask(node, "no group", request("", "", -1, &topic, &id))?;
    let member = join_and_sync(run, "busy", &topic)?;
    let (at, busy, generation) = (member.coordinator, member.group.clone(), member.generation);
    run.ask(
        at,
        "member",
        request(&busy, &member.id, generation, &topic, &id),
    )?;
    run.ask(
        at,
        "old generation",
        request(&busy, &member.id, generation - 1, &topic, &id),
    )?;
    leave(run, &member)
}

pub(crate) fn offset_fetch(run: &mut Run<'_>) -> Result<()> {
    let nobody = run.name("nobody");
    let group = run.name("fetching");
    let topic = run.fixture("orders");
    let id = topic_id(run, &topic)?;
    let node = coordinator(run, Kind::Group, &group)?;
    commit(run, node, &group, &topic, 7)?;
    let request = |group: &str, name: &str, id: &str| {
        let topics = json!([{ "Name": name, "PartitionIndexes": [0, 1, 9] }]);
        let by_id = json!([{ "Name": name, "TopicId": id, "PartitionIndexes": [0, 1, 9] }]);
        json!({
            "GroupId": group,
            "Topics": topics,
            "Groups": [{ "GroupId": group, "Topics": by_id }],
            "RequireStable": true,
        })
    };
    run.ask(node, "some", request(&group, &topic, &id))?;
    run.ask(
        node,
        "unknown topic",
        request(&group, "diff-s-nowhere", NO_TOPIC_ID),
    )?;
    run.ask(node, "unknown group", request(&nobody, &topic, &id))?;
    run.ask(
        other(node),
        "wrong coordinator",
        request(&group, &topic, &id),
    )?;
    let all = json!({
        "GroupId": group,
        "Topics": null,
        "Groups": [{ "GroupId": group, "Topics": null }],
    });
    run.ask(node, "all", all)?;
    if run.version >= 8 {
        let many = json!({ "Groups": [
            { "GroupId": group, "Topics": null },
            { "GroupId": group, "Topics": [], "MemberId": "nobody", "MemberEpoch": 3 },
        ] });
        run.ask(node, "many", many)?;
    }
    Ok(())
}

pub(crate) fn offset_delete(run: &mut Run<'_>) -> Result<()> {
    let nobody = run.name("nobody");
    let group = run.name("forgetting");
    let topic = run.fixture("orders");
    let node = coordinator(run, Kind::Group, &group)?;
    commit(run, node, &group, &topic, 7)?;
    let request = |group: &str, topic: &str| {
        let partitions = json!([{ "PartitionIndex": 0 }, { "PartitionIndex": 1 }]);
        json!({ "GroupId": group, "Topics": [{ "Name": topic, "Partitions": partitions }] })
    };
    run.ask(node, "unknown topic", request(&group, "diff-s-nowhere"))?;
    run.ask(node, "known", request(&group, &topic))?;
    run.ask(node, "unknown group", request(&nobody, &topic))?;
    run.ask(other(node), "wrong coordinator", request(&group, &topic))?;
    let member = join_and_sync(run, "subscribed", &topic)?;
    let subscribed = request(&member.group, &topic);
    run.ask(member.coordinator, "subscribed", subscribed)?;
    leave(run, &member)
}

pub(crate) fn find_coordinator(run: &mut Run<'_>) -> Result<()> {
    for node in 1..=3 {
        for (kind, key) in [(0, GROUP), (1, TRANSACTIONAL)] {
            let body = json!({ "Key": key, "KeyType": kind, "CoordinatorKeys": [key] });
            run.ask(node, key, body)?;
        }
    }
    let keys = json!({ "Key": "", "CoordinatorKeys": ["diff-s-a", "diff-s-b", ""] });
    run.ask(1, "several", keys)?;
    run.ask(1, "none", json!({ "CoordinatorKeys": [] }))?;
    let share = format!("{GROUP}:{}:0", "QkJCQkJCQkJCQkJCQkJCQg");
    for (kind, key) in [(2, share.as_str()), (2, "no-key"), (9, GROUP)] {
        let body = json!({ "Key": key, "KeyType": kind, "CoordinatorKeys": [key] });
        run.ask(1, &format!("type {kind} {key}"), body)?;
    }
    Ok(())
}

pub(crate) fn join_group(run: &mut Run<'_>) -> Result<()> {
    let group = run.name("joining");
    let topic = run.fixture("orders");
    let node = coordinator(run, Kind::Group, &group)?;
    let (api, version) = (run.api, run.version);
    let answer = run.step(node, api, version, join_request(&group, "", &topic))?;
    let id = text(&answer["MemberId"]);
    run.alias(&id, "member");
    run.note("first", &answer);
    let answer = run.ask(node, "with id", join_request(&group, &id, &topic))?;
    let member = Member {
        coordinator: node,
        group: group.clone(),
        id,
        generation: answer["GenerationId"].as_i64().unwrap_or(-1),
    };
    run.ask(
        node,
        "unknown member",
        join_request(&group, "nobody", &topic),
    )?;
    run.ask(
        other(node),
        "wrong coordinator",
        join_request(&group, "", &topic),
    )?;
    let mut impatient = join_request(&group, "", &topic);
    impatient["SessionTimeoutMs"] = 1.into();
    run.ask(node, "session of 1 ms", impatient)?;
    let mut stranger = join_request(&group, "", &topic);
    stranger["ProtocolType"] = "connect".into();
    run.ask(node, "another protocol", stranger)?;
    run.ask(node, "no group", join_request("", "", &topic))?;
    leave(run, &member)
}

pub(crate) fn sync_group(run: &mut Run<'_>) -> Result<()> {
    let topic = run.fixture("orders");
    let member = join(run, "syncing", &topic)?;
    let node = member.coordinator;
    let request = |id: &str, generation: i64, kind: &str| {
        json!({
            "GroupId": member.group,
            "GenerationId": generation,
            "MemberId": id,
            "ProtocolType": kind,
            "ProtocolName": "range",
            "Assignments": [{ "MemberId": member.id, "Assignment": hex(&assignment(&topic)) }],
        })
    };
    let (id, generation) = (member.id.as_str(), member.generation);
    run.ask(
        node,
        "old generation",
        request(id, generation - 1, "consumer"),
    )?;
    run.ask(
        node,
        "unknown member",
        request("nobody", generation, "consumer"),
    )?;
    run.ask(node, "another protocol", request(id, generation, "connect"))?;
    run.ask(node, "leader", request(id, generation, "consumer"))?;
    run.ask(node, "again", request(id, generation, "consumer"))?;
    run.ask(
        other(node),
        "wrong coordinator",
        request(id, generation, "consumer"),
    )?;
    leave(run, &member)
}

pub(crate) fn heartbeat(run: &mut Run<'_>) -> Result<()> {
    let topic = run.fixture("orders");
    let member = join_and_sync(run, "beating", &topic)?;
    let node = member.coordinator;
    let request = |id: &str, generation: i64| json!({ "GroupId": member.group, "GenerationId": generation, "MemberId": id });
    let (id, generation) = (member.id.as_str(), member.generation);
    run.ask(node, "member", request(id, generation))?;
    run.ask(node, "old generation", request(id, generation - 1))?;
    run.ask(node, "unknown member", request("nobody", generation))?;
    run.ask(other(node), "wrong coordinator", request(id, generation))?;
    leave(run, &member)
}

pub(crate) fn leave_group(run: &mut Run<'_>) -> Result<()> {
    let nobody = run.name("nobody");
    let topic = run.fixture("orders");
    let member = join_and_sync(run, "leaving", &topic)?;
    let node = member.coordinator;
    let request = |group: &str, id: &str| {
        json!({
            "GroupId": group,
            "MemberId": id,
            "Members": [{ "MemberId": id, "Reason": "enough" }],
        })
    };
    run.ask(node, "unknown member", request(&member.group, "nobody"))?;
    run.ask(node, "unknown group", request(&nobody, "nobody"))?;
    run.ask(
        other(node),
        "wrong coordinator",
        request(&member.group, &member.id),
    )?;
    run.ask(node, "member", request(&member.group, &member.id))?;
    run.ask(node, "again", request(&member.group, &member.id))?;
    Ok(())
}

pub(crate) fn describe_groups(run: &mut Run<'_>) -> Result<()> {
    let nobody = run.name("nobody");
    let topic = run.fixture("orders");
    let member = join_and_sync(run, "described", &topic)?;
    let node = member.coordinator;
    let request =
        |groups: &[&str]| json!({ "Groups": groups, "IncludeAuthorizedOperations": true });
    run.ask(node, "with a member", request(&[&member.group]))?;
    run.ask(node, "two", request(&[&member.group, &nobody]))?;
    run.ask(other(node), "wrong coordinator", request(&[&member.group]))?;
    leave(run, &member)?;
    run.ask(node, "empty", request(&[&member.group]))?;
    Ok(())
}

pub(crate) fn list_groups(run: &mut Run<'_>) -> Result<()> {
    for node in 1..=3 {
        run.ask(node, "all", json!({}))?;
        let empty = json!({ "StatesFilter": ["Empty"], "TypesFilter": ["classic"] });
        run.ask(node, "empty", empty)?;
    }
    run.ask(1, "bad state", json!({ "StatesFilter": ["Happy"] }))?;
    run.ask(1, "bad type", json!({ "TypesFilter": ["happy"] }))?;
    Ok(())
}

pub(crate) fn delete_groups(run: &mut Run<'_>) -> Result<()> {
    let nobody = run.name("nobody");
    let group = run.name("deleted");
    let topic = run.fixture("orders");
    let node = coordinator(run, Kind::Group, &group)?;
    commit(run, node, &group, &topic, 7)?;
    let request = |groups: &[&str]| json!({ "GroupsNames": groups });
    run.ask(other(node), "wrong coordinator", request(&[&group]))?;
    run.ask(node, "known and not", request(&[&group, &nobody]))?;
    let member = join_and_sync(run, "kept", &topic)?;
    run.ask(member.coordinator, "in use", request(&[&member.group]))?;
    leave(run, &member)?;
    Ok(())
}
