//! Consumer groups of KIP-848, streams groups of KIP-1071.

use serde_json::{Value, json};
use testkit::Result;
use wire::api::ApiKey;

use crate::prepare::{Kind, coordinator, other, topic_id};
use crate::side::Run;

/// Member ids are drawn by clients.
const MEMBER: &str = "QWxsIHlvdXIgbWVtYmVycw";

/// A group of one member that this run talks about.
struct Group {
    id: String,
    topic: String,
    node: i32,
}

impl Group {
    fn new(run: &mut Run<'_>, label: &str) -> Result<Group> {
        let id = run.name(label);
        let topic = run.fixture("orders");
        topic_id(run, &topic)?;
        let node = coordinator(run, Kind::Group, &id)?;
        Ok(Group { id, topic, node })
    }

    /// The first heartbeat of a consumer (epoch 0), or its last (-1).
    fn consumer(&self, member: &str, epoch: i64) -> Value {
        json!({
            "GroupId": self.id,
            "MemberId": member,
            "MemberEpoch": epoch,
            "RebalanceTimeoutMs": 30_000,
            "SubscribedTopicNames": [self.topic],
            "TopicPartitions": [],
        })
    }

    /// A heartbeat that says nothing new.
    fn beat(&self, epoch: i64) -> Value {
        json!({ "GroupId": self.id, "MemberId": MEMBER, "MemberEpoch": epoch })
    }

    /// Joins and goes on until something is assigned; gives the answer that says so.
    fn assigned(
        &self,
        run: &mut Run<'_>,
        api: ApiKey,
        version: i16,
        first: Value,
    ) -> Result<Value> {
        let mut body = first;
        run.until("an assignment", |run| {
            let answer = run.must(self.node, api, version, body.clone())?;
            let given = ["Assignment", "ActiveTasks"]
                .into_iter()
                .any(|name| match &answer[name] {
                    Value::Object(assignment) => assignment
                        .values()
                        .any(|list| list.as_array().is_some_and(|list| !list.is_empty())),
                    Value::Array(tasks) => !tasks.is_empty(),
                    _ => false,
                });
            body = self.beat(answer["MemberEpoch"].as_i64().unwrap_or(0));
            Ok(given.then_some(answer))
        })
    }

    /// Leaves without noting it.
    fn leave(&self, run: &mut Run<'_>, api: ApiKey, version: i16) -> Result<()> {
        run.must(self.node, api, version, self.beat(-1)).map(drop)
    }
}

pub(crate) fn consumer_heartbeat(run: &mut Run<'_>) -> Result<()> {
    let group = Group::new(run, "consuming")?;
    let (api, version) = (run.api, run.version);
    run.ask(group.node, "unknown member", group.consumer("nobody", 5))?;
    let elsewhere = group.consumer(MEMBER, 0);
    run.ask(other(group.node), "wrong coordinator", elsewhere)?;
    let mut nothing = group.consumer(MEMBER, 0);
    nothing["SubscribedTopicNames"] = json!(null);
    run.ask(group.node, "no subscription", nothing)?;
    let mut assignor = group.consumer(MEMBER, 0);
    assignor["ServerAssignor"] = "happy".into();
    run.ask(group.node, "unknown assignor", assignor)?;
    let mut regex = group.consumer(MEMBER, 0);
    regex["SubscribedTopicRegex"] = "(".into();
    run.ask(group.node, "bad expression", regex)?;
    run.ask(group.node, "no group", json!({ "MemberId": MEMBER }))?;
    let first = group.consumer(MEMBER, 0);
    let answer = group.assigned(run, api, version, first)?;
    run.note("assigned", &answer);
    let epoch = answer["MemberEpoch"].as_i64().unwrap_or(0);
    run.ask(group.node, "steady", group.beat(epoch))?;
    run.ask(group.node, "epoch ahead", group.beat(epoch + 5))?;
    run.ask(group.node, "leaves", group.beat(-1))?;
    run.ask(group.node, "gone", group.beat(epoch))?;
    Ok(())
}

pub(crate) fn consumer_describe(run: &mut Run<'_>) -> Result<()> {
    let nobody = run.name("nobody");
    const BEAT: (ApiKey, i16) = (ApiKey::CONSUMER_GROUP_HEARTBEAT, 1);
    let group = Group::new(run, "described")?;
    let first = group.consumer(MEMBER, 0);
    let answer = group.assigned(run, BEAT.0, BEAT.1, first)?;
    // The assignment is acknowledged, so that it is no longer in flux.
    let mut owning = group.beat(answer["MemberEpoch"].as_i64().unwrap_or(0));
    owning["TopicPartitions"] = answer["Assignment"]["TopicPartitions"].clone();
    run.must(group.node, BEAT.0, BEAT.1, owning)?;
    let request = |ids: &[&str]| json!({ "GroupIds": ids, "IncludeAuthorizedOperations": true });
    run.ask(group.node, "with a member", request(&[&group.id]))?;
    run.ask(group.node, "two", request(&[&group.id, &nobody]))?;
    run.ask(
        other(group.node),
        "wrong coordinator",
        request(&[&group.id]),
    )?;
    group.leave(run, BEAT.0, BEAT.1)?;
    run.ask(group.node, "empty", request(&[&group.id]))?;
    Ok(())
}

impl Group {
    /// The first heartbeat of a streams member that reads the topic.
    fn streams(&self, source: &str) -> Value {
        json!({
            "GroupId": self.id,
            "MemberId": MEMBER,
            "MemberEpoch": 0,
            "RebalanceTimeoutMs": 30_000,
            "Topology": {
                "Epoch": 0,
                "Subtopologies": [{ "SubtopologyId": "0", "SourceTopics": [source] }],
            },
            "ActiveTasks": [],
            "StandbyTasks": [],
            "WarmupTasks": [],
            "ProcessId": "process",
            "UserEndpoint": { "Host": "application.test", "Port": 4711 },
            "ClientTags": [{ "Key": "zone", "Value": "a" }],
        })
    }
}

pub(crate) fn streams_heartbeat(run: &mut Run<'_>) -> Result<()> {
    let group = Group::new(run, "streaming")?;
    let (api, version) = (run.api, run.version);
    let first = group.streams(&group.topic);
    run.ask(other(group.node), "wrong coordinator", first.clone())?;
    run.ask(group.node, "unknown member", group.beat(5))?;
    let answer = group.assigned(run, api, version, first)?;
    run.note("assigned", &answer);
    let epoch = answer["MemberEpoch"].as_i64().unwrap_or(0);
    let mut owning = group.beat(epoch);
    owning["ActiveTasks"] = answer["ActiveTasks"].clone();
    owning["StandbyTasks"] = json!([]);
    owning["WarmupTasks"] = json!([]);
    run.ask(group.node, "running", owning)?;
    run.ask(group.node, "leaves", group.beat(-1))?;
    let missing = Group::new(run, "missing")?;
    let nowhere = run.name("nowhere");
    run.ask(missing.node, "missing source", missing.streams(&nowhere))?;
    Ok(())
}

pub(crate) fn streams_describe(run: &mut Run<'_>) -> Result<()> {
    let nobody = run.name("nobody");
    const BEAT: (ApiKey, i16) = (ApiKey::STREAMS_GROUP_HEARTBEAT, 0);
    let group = Group::new(run, "described")?;
    let first = group.streams(&group.topic);
    group.assigned(run, BEAT.0, BEAT.1, first)?;
    let request = |ids: &[&str]| json!({ "GroupIds": ids, "IncludeAuthorizedOperations": true });
    run.ask(group.node, "with a member", request(&[&group.id]))?;
    run.ask(group.node, "unknown", request(&[&nobody]))?;
    run.ask(
        other(group.node),
        "wrong coordinator",
        request(&[&group.id]),
    )?;
    group.leave(run, BEAT.0, BEAT.1)?;
    run.ask(group.node, "empty", request(&[&group.id]))?;
    Ok(())
}
