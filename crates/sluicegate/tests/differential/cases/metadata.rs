//! Metadata, DescribeTopicPartitions.

use serde_json::{Value, json};
use testkit::Result;

use crate::prepare::{NO_TOPIC_ID, ORDERS, ensure, topic_id};
use crate::side::Run;

pub(crate) fn metadata(run: &mut Run<'_>) -> Result<()> {
    let id = topic_id(run, ORDERS)?;
    let request = |topics: Value| {
        json!({
            "Topics": topics,
            "AllowAutoTopicCreation": false,
            "IncludeClusterAuthorizedOperations": true,
            "IncludeTopicAuthorizedOperations": true,
        })
    };
    for node in 1..=3 {
        let answer = run.ask(node, "all", request(Value::Null))?;
        let brokers = answer["Brokers"].as_array().map(Vec::len);
        ensure(brokers == Some(3), || format!("three brokers: {answer}"))?;
    }
    run.ask(1, "none", request(json!([])))?;
    run.ask(1, "by name", request(json!([{ "Name": ORDERS }])))?;
    let unknown = json!([{ "Name": "diff-s-nowhere" }, { "Name": ORDERS }]);
    run.ask(2, "unknown", request(unknown.clone()))?;
    run.ask(2, "bad name", request(json!([{ "Name": "no/name" }])))?;
    let mut create = request(unknown);
    create["AllowAutoTopicCreation"] = true.into();
    run.ask(3, "create", create)?;
    if run.version >= 10 {
        // Brokers take ids without names from version 12 on, and refuse them before.
        let by_id = json!([{ "Name": null, "TopicId": id }]);
        run.ask(1, "by id", request(by_id))?;
        let by_id = json!([{ "Name": null, "TopicId": NO_TOPIC_ID }]);
        run.ask(1, "by unknown id", request(by_id))?;
    }
    Ok(())
}

pub(crate) fn describe_topic_partitions(run: &mut Run<'_>) -> Result<()> {
    let names = |names: &[&str]| -> Vec<Value> {
        names.iter().map(|name| json!({ "Name": name })).collect()
    };
    topic_id(run, ORDERS)?;
    run.ask(1, "all", json!({}))?;
    let some = names(&["diff-s-nowhere", ORDERS]);
    run.ask(2, "some", json!({ "Topics": some }))?;
    let limited = json!({ "Topics": names(&[ORDERS]), "ResponsePartitionLimit": 2 });
    let answer = run.ask(3, "a page", limited)?;
    let cursor = answer["NextCursor"].clone();
    ensure(!cursor.is_null(), || format!("no next page: {answer}"))?;
    let next = json!({ "Topics": names(&[ORDERS]), "Cursor": cursor });
    run.ask(3, "next page", next)?;
    let negative = json!({ "TopicName": ORDERS, "PartitionIndex": -1 });
    run.ask(1, "bad cursor", json!({ "Cursor": negative }))?;
    Ok(())
}
