//! Produce.

use serde_json::{Value, json};
use testkit::Result;
use wire::api::ApiKey;

use crate::message::hex;
use crate::prepare::{NO_TOPIC_ID, ensure, topic_id};
use crate::records::batch;
use crate::side::Run;

pub(crate) fn produce(run: &mut Run<'_>) -> Result<()> {
    let name = run.fixture("orders");
    let id = topic_id(run, &name)?;
    let orders = |partition: i32, batch: &[u8]| {
        json!({
            "Name": name,
            "TopicId": id,
            "PartitionData": [{ "Index": partition, "Records": hex(batch) }],
        })
    };
    let all = batch(2, "all");
    run.ask(1, "acks=all", request(-1, &[orders(0, &all)]))?;
    run.ask(2, "acks=1", request(1, &[orders(1, &batch(1, "one"))]))?;

    let before = end(run, &name)?;
    run.send_only(3, &request(0, &[orders(2, &batch(1, "none"))]))?;
    run.until("a record without acknowledgement", |run| {
        Ok((end(run, &name)? == before + 1).then_some(()))
    })?;
    run.ask(3, "after acks=0", request(-1, &[orders(2, &all)]))?;

    let unknown = json!({
        "Name": run.name("nowhere"),
        "TopicId": NO_TOPIC_ID,
        "PartitionData": [{ "Index": 0, "Records": hex(&all) }],
    });
    run.ask(1, "two topics", request(-1, &[orders(0, &all), unknown]))?;
    let answer = run.ask(2, "wrong leader", request(-1, &[orders(0, &all)]))?;
    if run.version >= 10 {
        let hinted = &answer["NodeEndpoints"][0]["NodeId"];
        ensure(*hinted == 1, || format!("no hint of the leader: {answer}"))?;
    }
    run.ask(1, "no such partition", request(-1, &[orders(9, &all)]))?;
    let mut corrupt = batch(1, "corrupt");
    if let Some(last) = corrupt.last_mut() {
        *last ^= 1;
    }
    run.ask(1, "corrupt", request(-1, &[orders(0, &corrupt)]))?;
    run.ask(1, "acks=7", request(7, &[orders(0, &all)]))?;
    let large = [all.as_slice(); 2].concat();
    run.ask(1, "two batches in one", request(-1, &[orders(0, &large)]))?;
    run.ask(1, "nothing", request(-1, &[]))?;
    Ok(())
}

fn request(acks: i16, topics: &[Value]) -> Value {
    json!({ "Acks": acks, "TimeoutMs": 30_000, "TopicData": topics })
}

/// Offset after the last record of partition 2.
fn end(run: &mut Run<'_>, topic: &str) -> Result<i64> {
    let body = json!({
        "ReplicaId": -1,
        "Topics": [{ "Name": topic, "Partitions": [{ "PartitionIndex": 2, "Timestamp": -1 }] }],
    });
    let answer = run.must(3, ApiKey::LIST_OFFSETS, 4, body)?;
    let offset = &answer["Topics"][0]["Partitions"][0]["Offset"];
    Ok(offset.as_i64().unwrap_or(-1))
}
