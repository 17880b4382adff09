//! Topics, partitions, replicas.

use serde_json::{Value, json};
use testkit::Result;

use crate::prepare::{NO_TOPIC_ID, ORDERS, SPREAD, topic};
use crate::side::Run;

pub(crate) fn create(run: &mut Run<'_>) -> Result<()> {
    let name = run.name("made");
    let of = |name: &str, partitions: i32, replicas: i16, configs: Value| {
        json!({
            "Name": name,
            "NumPartitions": partitions,
            "ReplicationFactor": replicas,
            "Configs": configs,
        })
    };
    let request = |topics: &[Value], validate: bool| json!({ "Topics": topics, "timeoutMs": 30_000, "validateOnly": validate });
    let compacted = json!([{ "Name": "cleanup.policy", "Value": "compact" }]);
    let good = of(&name, 2, 3, compacted);
    run.ask(
        1,
        "validate only",
        request(std::slice::from_ref(&good), true),
    )?;
    run.ask(2, "made", request(std::slice::from_ref(&good), false))?;
    run.ask(3, "exists", request(&[good], false))?;
    let wrong = json!([{ "Name": "cleanup.policy", "Value": "sometimes" }]);
    let many = [
        of("no/name", 1, 1, json!([])),
        of(&run.name("wrong"), 1, 1, wrong),
        of(&run.name("replicas"), 1, 9, json!([])),
        of(&run.name("partitions"), 0, 1, json!([])),
        of(&run.name("defaults"), -1, -1, json!([])),
    ];
    run.ask(1, "good and bad", request(&many, false))?;
    let assigned = json!({
        "Name": run.name("assigned"),
        "NumPartitions": -1,
        "ReplicationFactor": -1,
        "Assignments": [{ "PartitionIndex": 0, "BrokerIds": [3, 1] }],
    });
    run.ask(1, "assigned", request(&[assigned], false))?;
    run.ask(1, "nothing", request(&[], false))?;
    Ok(())
}

pub(crate) fn delete(run: &mut Run<'_>) -> Result<()> {
    let name = run.name("doomed");
    let id = topic(run, &name, &[&[1]])?;
    let request = |name: &str, id: &str| {
        let name = if id.is_empty() {
            json!(name)
        } else {
            Value::Null
        };
        json!({
            "Topics": [{ "Name": name, "TopicId": id }],
            "TopicNames": [name],
            "TimeoutMs": 30_000,
        })
    };
    run.ask(1, "unknown", request(&run.name("nowhere"), ""))?;
    run.ask(2, "known", request(&name, ""))?;
    if run.version >= 6 {
        run.ask(1, "unknown id", request("", NO_TOPIC_ID))?;
        run.ask(1, "id of a deleted topic", request("", &id))?;
        let name = run.name("doomed-by-id");
        let id = topic(run, &name, &[&[1]])?;
        run.ask(3, "known id", request("", &id))?;
    }
    Ok(())
}

pub(crate) fn create_partitions(run: &mut Run<'_>) -> Result<()> {
    let name = run.name("growing");
    topic(run, &name, &[&[1]])?;
    let request = |name: &str, count: i32, assignments: Value, validate: bool| {
        json!({
            "Topics": [{ "Name": name, "Count": count, "Assignments": assignments }],
            "TimeoutMs": 30_000,
            "ValidateOnly": validate,
        })
    };
    run.ask(1, "validate only", request(&name, 3, Value::Null, true))?;
    run.ask(2, "two", request(&name, 2, Value::Null, false))?;
    run.ask(3, "fewer", request(&name, 1, Value::Null, false))?;
    let assigned = json!([{ "BrokerIds": [2] }]);
    run.ask(1, "assigned", request(&name, 3, assigned, false))?;
    let wrong = json!([{ "BrokerIds": [99] }]);
    run.ask(1, "unknown broker", request(&name, 4, wrong, false))?;
    run.ask(
        1,
        "unknown topic",
        request("diff-s-nowhere", 2, Value::Null, false),
    )?;
    Ok(())
}

pub(crate) fn elect_leaders(run: &mut Run<'_>) -> Result<()> {
    let name = run.name("elected");
    topic(run, &name, SPREAD)?;
    let request = |kind: i8, topic: &str, partitions: &[i32]| {
        json!({
            "ElectionType": kind,
            "TopicPartitions": [{ "Topic": topic, "Partitions": partitions }],
            "TimeoutMs": 30_000,
        })
    };
    run.ask(1, "preferred", request(0, &name, &[0, 1]))?;
    run.ask(2, "unclean", request(1, &name, &[0]))?;
    run.ask(3, "no such partition", request(0, &name, &[9]))?;
    run.ask(1, "no such topic", request(0, "diff-s-nowhere", &[0]))?;
    run.ask(1, "bad type", request(9, &name, &[0]))?;
    Ok(())
}

pub(crate) fn reassign(run: &mut Run<'_>) -> Result<()> {
    let name = run.name("moving");
    topic(run, &name, &[&[1]])?;
    let request = |topic: &str, replicas: Value| {
        json!({
            "TimeoutMs": 30_000,
            "Topics": [{
                "Name": topic,
                "Partitions": [{ "PartitionIndex": 0, "Replicas": replicas }],
            }],
        })
    };
    run.ask(1, "nothing to cancel", request(&name, Value::Null))?;
    run.ask(2, "move", request(&name, json!([2])))?;
    run.ask(3, "unknown broker", request(&name, json!([99])))?;
    run.ask(1, "no replica", request(&name, json!([])))?;
    run.ask(1, "no such topic", request("diff-s-nowhere", json!([2])))?;
    let mut more = request(&name, json!([2, 3]));
    more["AllowReplicationFactorChange"] = false.into();
    run.ask(1, "more replicas", more)?;
    Ok(())
}

pub(crate) fn list_reassignments(run: &mut Run<'_>) -> Result<()> {
    let some = |name: &str| json!({ "Topics": [{ "Name": name, "PartitionIndexes": [0] }] });
    run.ask(1, "all", json!({}))?;
    run.ask(2, "some", some(ORDERS))?;
    run.ask(3, "no such topic", some("diff-s-nowhere"))?;
    Ok(())
}
