//! Share groups (KIP-932).

use serde_json::{Value, json};
use testkit::Result;
use wire::api::ApiKey;

use crate::prepare::{Kind, NO_TOPIC_ID, coordinator, ensure, other, produce, topic};
use crate::records::batch;
use crate::side::Run;

/// Member ids are uuids drawn by clients.
const MEMBER: &str = "QWxsIHlvdXIgbWVtYmVycw";

const HEARTBEAT: (ApiKey, i16) = (ApiKey::SHARE_GROUP_HEARTBEAT, 1);

/// A share group that reads a topic of its own from the beginning. Broker 1 leads the topic.
struct Group {
    id: String,
    topic: String,
    topic_id: String,
    node: i32,
}

impl Group {
    fn new(run: &mut Run<'_>, label: &str) -> Result<Group> {
        let id = run.name(label);
        let name = run.name("queue");
        let topic_id = topic(run, &name, &[&[1, 2, 3]])?;
        produce(run, 1, &name, 0, &batch(4, "work"))?;
        let earliest = json!({ "Resources": [{
            "ResourceType": 32,
            "ResourceName": id,
            "Configs": [{ "Name": "share.auto.offset.reset", "Value": "earliest" }],
        }] });
        run.must(1, ApiKey::INCREMENTAL_ALTER_CONFIGS, 1, earliest)?;
        // Brokers learn of it from the metadata log.
        let described = json!({ "Resources": [{
            "ResourceType": 32,
            "ResourceName": id,
            "ConfigurationKeys": ["share.auto.offset.reset"],
        }] });
        for node in 1..=3 {
            run.until("a group's configuration to be known", |run| {
                let answer = run.must(node, ApiKey::DESCRIBE_CONFIGS, 4, described.clone())?;
                let value = &answer["Results"][0]["Configs"][0]["Value"];
                Ok((*value == "earliest").then_some(()))
            })?;
        }
        let node = coordinator(run, Kind::Group, &id)?;
        Ok(Group {
            id,
            topic: name,
            topic_id,
            node,
        })
    }

    fn beat(&self, member: &str, epoch: i64) -> Value {
        let topics = if epoch == 0 {
            json!([self.topic])
        } else {
            Value::Null
        };
        json!({
            "GroupId": self.id,
            "MemberId": member,
            "MemberEpoch": epoch,
            "SubscribedTopicNames": topics,
        })
    }

    /// Joins and goes on until something is assigned; gives the answer that says so.
    fn assigned(&self, run: &mut Run<'_>) -> Result<Value> {
        let mut body = self.beat(MEMBER, 0);
        run.until("an assignment", |run| {
            let answer = run.must(self.node, HEARTBEAT.0, HEARTBEAT.1, body.clone())?;
            let topics = answer["Assignment"]["TopicPartitions"].as_array();
            let given = topics.is_some_and(|topics| !topics.is_empty());
            body = self.beat(MEMBER, answer["MemberEpoch"].as_i64().unwrap_or(0));
            Ok(given.then_some(answer))
        })
    }

    fn leave(&self, run: &mut Run<'_>) -> Result<()> {
        let body = self.beat(MEMBER, -1);
        run.must(self.node, HEARTBEAT.0, HEARTBEAT.1, body)
            .map(drop)
    }

    /// A ShareFetch or ShareAcknowledge request in a session of the member.
    fn session(&self, epoch: i32, topic_id: &str, acknowledged: Value) -> Value {
        let mut body = self.bare_session(epoch);
        body["Topics"] = json!([{
            "TopicId": topic_id,
            "Partitions": [{
                "PartitionIndex": 0,
                "AcknowledgementBatches": acknowledged,
            }],
        }]);
        body
    }

    fn bare_session(&self, epoch: i32) -> Value {
        json!({ "GroupId": self.id, "MemberId": MEMBER, "ShareSessionEpoch": epoch })
    }
}

/// Adds the limits of a fetch.
fn fetching(mut body: Value) -> Value {
    for (name, value) in [
        ("MaxWaitMs", 200),
        ("MinBytes", 1),
        ("MaxBytes", 1 << 20),
        ("MaxRecords", 100),
        ("BatchSize", 100),
    ] {
        body[name] = value.into();
    }
    body
}

pub(crate) fn heartbeat(run: &mut Run<'_>) -> Result<()> {
    let group = Group::new(run, "sharing")?;
    run.ask(group.node, "unknown member", group.beat("nobody", 5))?;
    run.ask(
        other(group.node),
        "wrong coordinator",
        group.beat(MEMBER, 0),
    )?;
    run.ask(group.node, "no member id", group.beat("", 0))?;
    let answer = group.assigned(run)?;
    run.note("assigned", &answer);
    let epoch = answer["MemberEpoch"].as_i64().unwrap_or(0);
    run.ask(group.node, "steady", group.beat(MEMBER, epoch))?;
    run.ask(group.node, "epoch ahead", group.beat(MEMBER, epoch + 5))?;
    run.ask(group.node, "leaves", group.beat(MEMBER, -1))?;
    Ok(())
}

pub(crate) fn describe(run: &mut Run<'_>) -> Result<()> {
    let nobody = run.name("nobody");
    let group = Group::new(run, "described")?;
    group.assigned(run)?;
    let request = |ids: &[&str]| json!({ "GroupIds": ids, "IncludeAuthorizedOperations": true });
    run.ask(group.node, "with a member", request(&[&group.id]))?;
    run.ask(group.node, "unknown", request(&[&nobody]))?;
    run.ask(
        other(group.node),
        "wrong coordinator",
        request(&[&group.id]),
    )?;
    group.leave(run)?;
    run.ask(group.node, "empty", request(&[&group.id]))?;
    Ok(())
}

pub(crate) fn fetch(run: &mut Run<'_>) -> Result<()> {
    let group = Group::new(run, "fetching")?;
    group.assigned(run)?;
    let own = |epoch: i32, done: Value| fetching(group.session(epoch, &group.topic_id, done));
    let (answer, next) = acquired(run, &group, run.api, run.version)?;
    run.note("acquired", &answer);
    let done = json!([{ "FirstOffset": 0, "LastOffset": 1, "AcknowledgeTypes": [1] }]);
    run.ask(1, "acknowledges", own(next, done))?;
    let wrong = json!([{ "FirstOffset": 50, "LastOffset": 51, "AcknowledgeTypes": [1] }]);
    run.ask(1, "acknowledges what it has not", own(next + 1, wrong))?;
    run.ask(1, "wrong epoch", own(next + 9, json!([])))?;
    let unknown = fetching(group.session(next + 2, NO_TOPIC_ID, json!([])));
    run.ask(1, "unknown topic", unknown)?;
    let answer = run.ask(2, "wrong leader", own(0, json!([])))?;
    hinted(&answer)?;
    run.ask(1, "ends", fetching(group.bare_session(-1)))?;
    group.leave(run)
}

pub(crate) fn acknowledge(run: &mut Run<'_>) -> Result<()> {
    let group = Group::new(run, "acknowledging")?;
    group.assigned(run)?;
    let (_, next) = acquired(run, &group, ApiKey::SHARE_FETCH, 1)?;
    let own = |epoch: i32, done: Value| group.session(epoch, &group.topic_id, done);
    let done = |first: i32, last: i32, kinds: &[i8]| json!([{ "FirstOffset": first, "LastOffset": last, "AcknowledgeTypes": kinds }]);
    run.ask(1, "accepts", own(next, done(0, 1, &[1])))?;
    run.ask(1, "again", own(next + 1, done(0, 1, &[1])))?;
    run.ask(1, "releases, rejects", own(next + 2, done(2, 3, &[2, 3])))?;
    run.ask(1, "wrong epoch", own(next + 9, json!([])))?;
    run.ask(1, "new session", own(0, json!([])))?;
    let unknown = group.session(next + 3, NO_TOPIC_ID, done(0, 0, &[1]));
    run.ask(1, "unknown topic", unknown)?;
    // Broker 2 does not hint at the leader here: it looks in its own share partitions first.
    let first = fetching(group.session(0, &group.topic_id, json!([])));
    run.step(2, ApiKey::SHARE_FETCH, 1, first)?;
    run.ask(2, "wrong leader", own(1, done(0, 0, &[1])))?;
    run.ask(1, "ends", group.bare_session(-1))?;
    group.leave(run)
}

/// Fetches until all four records are acquired; gives that answer and the next session epoch.
fn acquired(run: &mut Run<'_>, group: &Group, api: ApiKey, version: i16) -> Result<(Value, i32)> {
    let mut epoch = 0;
    let answer = run.until("records to be acquired", |run| {
        let body = fetching(group.session(epoch, &group.topic_id, json!([])));
        let answer = run.must(1, api, version, body)?;
        epoch += 1;
        let records = answer["Responses"][0]["Partitions"][0]["AcquiredRecords"].as_array();
        let any = records.is_some_and(|records| !records.is_empty());
        Ok(any.then_some(answer))
    })?;
    Ok((answer, epoch))
}

fn hinted(answer: &Value) -> Result<()> {
    let leader = &answer["NodeEndpoints"][0]["NodeId"];
    ensure(*leader == 1, || format!("no hint of the leader: {answer}"))
}

pub(crate) fn describe_offsets(run: &mut Run<'_>) -> Result<()> {
    let nobody = run.name("nobody");
    let group = Group::new(run, "described")?;
    started(run, &group)?;
    let request =
        |id: &str, topics: Value| json!({ "Groups": [{ "GroupId": id, "Topics": topics }] });
    let some = |name: &str| json!([{ "TopicName": name, "Partitions": [0] }]);
    run.ask(group.node, "some", request(&group.id, some(&group.topic)))?;
    run.ask(group.node, "all", request(&group.id, Value::Null))?;
    run.ask(
        group.node,
        "no such topic",
        request(&group.id, some("diff-s-nowhere")),
    )?;
    run.ask(group.node, "no such group", request(&nobody, Value::Null))?;
    run.ask(
        other(group.node),
        "wrong coordinator",
        request(&group.id, Value::Null),
    )?;
    Ok(())
}

pub(crate) fn alter_offsets(run: &mut Run<'_>) -> Result<()> {
    let nobody = run.name("nobody");
    let group = Group::new(run, "altered")?;
    group.assigned(run)?;
    let request = |id: &str, name: &str, offset: i64| {
        json!({
            "GroupId": id,
            "Topics": [{
                "TopicName": name,
                "Partitions": [{ "PartitionIndex": 0, "StartOffset": offset }],
            }],
        })
    };
    run.ask(group.node, "in use", request(&group.id, &group.topic, 2))?;
    started(run, &group)?;
    run.ask(
        group.node,
        "to the middle",
        request(&group.id, &group.topic, 2),
    )?;
    run.ask(
        group.node,
        "no such topic",
        request(&group.id, "diff-s-nowhere", 2),
    )?;
    run.ask(
        group.node,
        "no such group",
        request(&nobody, &group.topic, 2),
    )?;
    run.ask(
        other(group.node),
        "wrong coordinator",
        request(&group.id, &group.topic, 2),
    )?;
    Ok(())
}

pub(crate) fn delete_offsets(run: &mut Run<'_>) -> Result<()> {
    let nobody = run.name("nobody");
    let group = Group::new(run, "forgotten")?;
    group.assigned(run)?;
    let request =
        |id: &str, name: &str| json!({ "GroupId": id, "Topics": [{ "TopicName": name }] });
    run.ask(group.node, "in use", request(&group.id, &group.topic))?;
    started(run, &group)?;
    run.ask(
        group.node,
        "no such topic",
        request(&group.id, "diff-s-nowhere"),
    )?;
    run.ask(group.node, "known", request(&group.id, &group.topic))?;
    run.ask(group.node, "no such group", request(&nobody, &group.topic))?;
    run.ask(
        other(group.node),
        "wrong coordinator",
        request(&group.id, &group.topic),
    )?;
    Ok(())
}

/// Accepts all records and leaves, so that the group has offsets and no member.
fn started(run: &mut Run<'_>, group: &Group) -> Result<()> {
    group.assigned(run)?;
    let (_, next) = acquired(run, group, ApiKey::SHARE_FETCH, 1)?;
    let done = json!([{ "FirstOffset": 0, "LastOffset": 3, "AcknowledgeTypes": [1] }]);
    let body = group.session(next, &group.topic_id, done);
    run.must(1, ApiKey::SHARE_ACKNOWLEDGE, 1, body)?;
    run.must(1, ApiKey::SHARE_ACKNOWLEDGE, 1, group.bare_session(-1))?;
    group.leave(run)
}
