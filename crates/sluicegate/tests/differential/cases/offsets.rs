//! ListOffsets, OffsetForLeaderEpoch, DeleteRecords.

use serde_json::{Value, json};
use testkit::Result;

use crate::prepare::{ORDERS, SINGLES, produce, topic};
use crate::records::{TIMESTAMP, batch};
use crate::side::Run;

pub(crate) fn list_offsets(run: &mut Run<'_>) -> Result<()> {
    let request = |topic: &str, partition: i32, timestamp: i64, epoch: i32, isolation: i8| {
        json!({
            "ReplicaId": -1,
            "IsolationLevel": isolation,
            "Topics": [{
                "Name": topic,
                "Partitions": [{
                    "PartitionIndex": partition,
                    "CurrentLeaderEpoch": epoch,
                    "Timestamp": timestamp,
                }],
            }],
            "TimeoutMs": 30_000,
        })
    };
    for timestamp in [-1, -2, -3, -4, -5, -6, -7, 0, TIMESTAMP, TIMESTAMP + 1] {
        let what = format!("at {timestamp}");
        run.ask(1, &what, request(ORDERS, 0, timestamp, -1, 0))?;
    }
    run.ask(1, "committed", request(ORDERS, 0, -1, -1, 1))?;
    run.ask(1, "epoch ahead", request(ORDERS, 0, -1, 99, 0))?;
    run.ask(2, "wrong leader", request(ORDERS, 0, -1, -1, 0))?;
    run.ask(1, "no such partition", request(ORDERS, 9, -1, -1, 0))?;
    run.ask(1, "no such topic", request("diff-s-nowhere", 0, -1, -1, 0))?;
    run.ask(1, "nothing", json!({ "ReplicaId": -1 }))?;
    Ok(())
}

pub(crate) fn offset_for_leader_epoch(run: &mut Run<'_>) -> Result<()> {
    let request = |topic: &str, partition: i32, current: i32, epoch: i32| {
        json!({
            "ReplicaId": -1,
            "Topics": [{
                "Topic": topic,
                "Partitions": [{
                    "Partition": partition,
                    "CurrentLeaderEpoch": current,
                    "LeaderEpoch": epoch,
                }],
            }],
        })
    };
    run.ask(1, "first epoch", request(ORDERS, 0, -1, 0))?;
    run.ask(1, "later epoch", request(ORDERS, 0, -1, 5))?;
    run.ask(1, "epoch ahead", request(ORDERS, 0, 99, 0))?;
    run.ask(2, "wrong leader", request(ORDERS, 0, -1, 0))?;
    run.ask(1, "no such topic", request("diff-s-nowhere", 0, -1, 0))?;
    Ok(())
}

pub(crate) fn delete_records(run: &mut Run<'_>) -> Result<()> {
    let name = run.name("shrinking");
    topic(run, &name, SINGLES)?;
    produce(run, 1, &name, 0, &batch(5, "some"))?;
    let request = |topic: &str, partition: i32, offset: i64| -> Value {
        json!({
            "Topics": [{
                "Name": topic,
                "Partitions": [{ "PartitionIndex": partition, "Offset": offset }],
            }],
            "TimeoutMs": 30_000,
        })
    };
    run.ask(1, "to the middle", request(&name, 0, 2))?;
    run.ask(1, "again", request(&name, 0, 1))?;
    run.ask(1, "to the end", request(&name, 0, -1))?;
    run.ask(1, "beyond the end", request(&name, 0, 99))?;
    run.ask(2, "wrong leader", request(&name, 0, 5))?;
    run.ask(1, "no such topic", request("diff-s-nowhere", 0, 5))?;
    Ok(())
}
