//! Fetch.

use serde_json::{Value, json};
use testkit::Result;

use crate::prepare::{LARGE, NO_TOPIC_ID, ORDERS, SINGLE, ensure, topic_id};
use crate::side::Run;

pub(crate) fn fetch(run: &mut Run<'_>) -> Result<()> {
    let id = topic_id(run, ORDERS)?;
    let whole = |offset: i64, more: Value| orders(&id, &[partition(0, offset, more)]);
    let plain = |topics: &[Value]| request(topics, json!({}));

    run.ask(1, "from the beginning", plain(&[whole(0, json!({}))]))?;
    run.ask(1, "from the middle", plain(&[whole(4, json!({}))]))?;
    let committed = json!({ "IsolationLevel": 1, "RackId": "rack-2" });
    run.ask(1, "committed", request(&[whole(0, json!({}))], committed))?;
    let small = json!({ "MaxBytes": 1, "MinBytes": 1 });
    run.ask(1, "one byte", request(&[whole(3, json!({}))], small))?;
    run.ask(1, "out of range", plain(&[whole(10_000, json!({}))]))?;
    let ahead = json!({ "CurrentLeaderEpoch": 99 });
    run.ask(1, "epoch ahead", plain(&[whole(0, ahead)]))?;
    let diverging = json!({ "LastFetchedEpoch": 0 });
    run.ask(1, "with last epoch", plain(&[whole(2, diverging)]))?;
    let pieces = [0, 1, 9].map(|index| partition(index, 0, json!({})));
    let unknown = json!({
        "Topic": "diff-s-nowhere",
        "TopicId": NO_TOPIC_ID,
        "Partitions": [partition(0, 0, json!({}))],
    });
    run.ask(
        1,
        "good and bad",
        plain(&[orders(&id, &pieces), unknown.clone()]),
    )?;
    run.ask(1, "unknown topic", plain(&[unknown]))?;
    run.ask(1, "nothing", plain(&[]))?;
    if run.version >= 7 {
        session(run, &id)?;
    }
    let single = lost(run)?;
    let answer = run.ask(2, "no replica", plain(std::slice::from_ref(&single)))?;
    if run.version >= 16 {
        hinted(&answer)?;
        // An answer whose end comes long after its length.
        let large = topic_id(run, LARGE)?;
        let both = [of_topic(LARGE, &large), single];
        let answer = run.ask(2, "large, no replica", plain(&both))?;
        hinted(&answer)?;
    }
    Ok(())
}

/// A partition that only broker 1 has.
pub(crate) fn lost(run: &mut Run<'_>) -> Result<Value> {
    let id = topic_id(run, SINGLE)?;
    Ok(of_topic(SINGLE, &id))
}

/// All of partition 0.
pub(crate) fn of_topic(name: &str, id: &str) -> Value {
    json!({ "Topic": name, "TopicId": id, "Partitions": [partition(0, 0, json!({}))] })
}

fn hinted(answer: &Value) -> Result<()> {
    let hint = &answer["NodeEndpoints"][0]["NodeId"];
    ensure(*hint == 1, || "no hint of the leader".to_owned())
}

/// Incremental fetch sessions (KIP-227).
fn session(run: &mut Run<'_>, id: &str) -> Result<()> {
    let piece = |index: i32, offset: i64| partition(index, offset, json!({}));
    let both = [orders(id, &[piece(0, 3), piece(1, 0)])];
    let first = request(&both, json!({ "SessionId": 0, "SessionEpoch": 0 }));
    let answer = run.ask(1, "new session", first)?;
    let session = answer["SessionId"].clone();
    ensure(session != 0, || format!("no session: {answer}"))?;
    let next = |epoch: i32, topics: &[Value], forgotten: Value| {
        let more = json!({
            "SessionId": session,
            "SessionEpoch": epoch,
            "ForgottenTopicsData": forgotten,
        });
        request(topics, more)
    };
    run.ask(1, "nothing new", next(1, &[], json!([])))?;
    let moved = [orders(id, &[piece(0, 0)])];
    run.ask(1, "moved back", next(2, &moved, json!([])))?;
    let forgotten = json!([{ "Topic": ORDERS, "TopicId": id, "Partitions": [0] }]);
    run.ask(1, "forgotten", next(3, &[], forgotten))?;
    run.ask(1, "wrong epoch", next(9, &[], json!([])))?;
    run.ask(1, "closed", next(-1, &[], json!([])))?;
    run.ask(1, "gone", next(4, &[], json!([])))?;
    let none = json!({ "SessionId": 0, "SessionEpoch": -1 });
    run.ask(1, "without session", request(&both, none))?;
    Ok(())
}

fn orders(id: &str, partitions: &[Value]) -> Value {
    json!({ "Topic": ORDERS, "TopicId": id, "Partitions": partitions })
}

fn partition(index: i32, offset: i64, more: Value) -> Value {
    let basics = json!({
        "Partition": index,
        "FetchOffset": offset,
        "PartitionMaxBytes": 1 << 20,
    });
    merged(basics, more)
}

/// A request that waits for nothing.
pub(crate) fn request(topics: &[Value], more: Value) -> Value {
    merged(json!({ "MaxWaitMs": 0, "Topics": topics }), more)
}

/// The fields of both objects.
fn merged(mut basics: Value, more: Value) -> Value {
    if let (Some(basics), Value::Object(more)) = (basics.as_object_mut(), more) {
        basics.extend(more);
    }
    basics
}
