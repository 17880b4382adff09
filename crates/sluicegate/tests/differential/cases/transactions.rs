//! Transactions and producers.

use serde_json::{Value, json};
use testkit::Result;
use wire::api::ApiKey;

use crate::message::hex;
use crate::prepare::{Kind, SINGLES, coordinator, ensure, init_producer, other, produce, topic};
use crate::records::{Producer, batch_of};
use crate::side::Run;

pub(crate) fn init_producer_id(run: &mut Run<'_>) -> Result<()> {
    let id = run.name("starting");
    let node = coordinator(run, Kind::Transaction, &id)?;
    let request = |id: Value, timeout: i32, producer: i64, epoch: i16| {
        json!({
            "TransactionalId": id,
            "TransactionTimeoutMs": timeout,
            "ProducerId": producer,
            "ProducerEpoch": epoch,
        })
    };
    run.ask(1, "idempotent", request(Value::Null, 60_000, -1, -1))?;
    run.ask(node, "transactional", request(json!(id), 60_000, -1, -1))?;
    run.ask(node, "again", request(json!(id), 60_000, -1, -1))?;
    run.ask(node, "endless", request(json!(id), i32::MAX, -1, -1))?;
    run.ask(node, "no name", request(json!(""), 60_000, -1, -1))?;
    let elsewhere = request(json!(id), 60_000, -1, -1);
    run.ask(other(node), "wrong coordinator", elsewhere)?;
    if run.version >= 3 {
        run.ask(
            node,
            "another producer",
            request(json!(id), 60_000, 1 << 40, 3),
        )?;
        run.ask(
            node,
            "half a producer",
            request(json!(id), 60_000, 1 << 40, -1),
        )?;
    }
    Ok(())
}

/// A transactional producer with a topic of its own.
struct Setting {
    id: String,
    topic: String,
    node: i32,
    producer: Producer,
}

impl Setting {
    fn new(run: &mut Run<'_>) -> Result<Setting> {
        let id = run.name("writing");
        let name = run.name("written");
        topic(run, &name, SINGLES)?;
        let node = coordinator(run, Kind::Transaction, &id)?;
        let producer = init_producer(run, node, &id)?;
        Ok(Setting {
            id,
            topic: name,
            node,
            producer,
        })
    }

    /// Fields that most requests of a transaction have, with an epoch that is off by `more`.
    fn fields(&self, more: i64) -> Value {
        json!({
            "TransactionalId": self.id,
            "ProducerId": self.producer.id,
            "ProducerEpoch": self.producer.epoch + more,
        })
    }

    fn partitions(&self, topic: &str, partitions: &[i32], more: i64) -> Value {
        json!({
            "V3AndBelowTransactionalId": self.id,
            "V3AndBelowProducerId": self.producer.id,
            "V3AndBelowProducerEpoch": self.producer.epoch + more,
            "V3AndBelowTopics": [{ "Name": topic, "Partitions": partitions }],
        })
    }

    fn offsets(&self, group: &str) -> Value {
        with(self.fields(0), "GroupId", json!(group))
    }

    fn ending(&self, commit: bool, more: i64) -> Value {
        with(self.fields(more), "Committed", json!(commit))
    }

    /// Adds partition 0 and writes two records.
    fn write(&self, run: &mut Run<'_>) -> Result<()> {
        let body = self.partitions(&self.topic, &[0], 0);
        run.must(self.node, ApiKey::ADD_PARTITIONS_TO_TXN, 3, body)?;
        let batch = batch_of(self.producer, 0, true, 2, "in a transaction");
        let body = json!({
            "TransactionalId": self.id,
            "Acks": -1,
            "TimeoutMs": 30_000,
            "TopicData": [{
                "Name": self.topic,
                "PartitionData": [{ "Index": 0, "Records": hex(&batch) }],
            }],
        });
        run.must(1, ApiKey::PRODUCE, 9, body).map(drop)
    }

    fn end(&self, run: &mut Run<'_>, commit: bool) -> Result<()> {
        let body = self.ending(commit, 0);
        run.must(self.node, ApiKey::END_TXN, 4, body).map(drop)
    }
}

pub(crate) fn add_partitions(run: &mut Run<'_>) -> Result<()> {
    let it = Setting::new(run)?;
    run.ask(it.node, "two", it.partitions(&it.topic, &[0, 1], 0))?;
    run.ask(it.node, "again", it.partitions(&it.topic, &[0], 0))?;
    run.ask(
        it.node,
        "no such partition",
        it.partitions(&it.topic, &[2, 9], 0),
    )?;
    run.ask(
        it.node,
        "no such topic",
        it.partitions("diff-s-nowhere", &[0], 0),
    )?;
    run.ask(it.node, "later epoch", it.partitions(&it.topic, &[0], 1))?;
    let elsewhere = it.partitions(&it.topic, &[0], 0);
    run.ask(other(it.node), "wrong coordinator", elsewhere)?;
    it.end(run, false)
}

pub(crate) fn add_offsets(run: &mut Run<'_>) -> Result<()> {
    let it = Setting::new(run)?;
    let group = run.name("copying");
    run.ask(it.node, "group", it.offsets(&group))?;
    run.ask(it.node, "again", it.offsets(&group))?;
    run.ask(it.node, "no group", it.offsets(""))?;
    run.ask(other(it.node), "wrong coordinator", it.offsets(&group))?;
    let later = with(it.fields(1), "GroupId", json!(group));
    run.ask(it.node, "later epoch", later)?;
    it.end(run, false)
}

pub(crate) fn end(run: &mut Run<'_>) -> Result<()> {
    let it = Setting::new(run)?;
    run.ask(it.node, "later epoch", it.ending(true, 1))?;
    run.ask(other(it.node), "wrong coordinator", it.ending(true, 0))?;
    it.write(run)?;
    run.ask(it.node, "commit", it.ending(true, 0))?;
    run.ask(it.node, "again", it.ending(true, 0))?;
    let aborting = init_producer(run, it.node, &it.id)?;
    let it = Setting {
        producer: aborting,
        ..it
    };
    it.write(run)?;
    run.ask(it.node, "abort", it.ending(false, 0))?;
    read_committed(run, &it.topic)
}

/// Waits for both markers and notes what a reader of committed records sees.
fn read_committed(run: &mut Run<'_>, topic: &str) -> Result<()> {
    let body = json!({
        "MaxWaitMs": 0,
        "IsolationLevel": 1,
        "Topics": [{
            "Topic": topic,
            "Partitions": [{ "Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1 << 20 }],
        }],
    });
    let answer = run.until("both transactions to end", |run| {
        let answer = run.must(1, ApiKey::FETCH, 12, body.clone())?;
        let stable = &answer["Responses"][0]["Partitions"][0]["LastStableOffset"];
        Ok((*stable == 6).then_some(answer))
    })?;
    run.note_of(ApiKey::FETCH, 12, "committed records", &answer);
    Ok(())
}

pub(crate) fn offset_commit(run: &mut Run<'_>) -> Result<()> {
    let it = Setting::new(run)?;
    let group = run.name("copying");
    let node = coordinator(run, Kind::Group, &group)?;
    let request = |group: &str, topic: &str, member: &str, more: i64| {
        let mut body = with(it.fields(more), "GroupId", json!(group));
        body["MemberId"] = member.into();
        body["GenerationId"] = if member.is_empty() { -1 } else { 3 }.into();
        body["Topics"] = json!([{
            "Name": topic,
            "Partitions": [
                { "PartitionIndex": 0, "CommittedOffset": 8, "CommittedMetadata": "a note" },
            ],
        }]);
        body
    };
    if run.version < 5 {
        // From version 5 on committing adds the group to the transaction (KIP-890).
        run.must(it.node, ApiKey::ADD_OFFSETS_TO_TXN, 3, it.offsets(&group))?;
    }
    run.ask(node, "committed", request(&group, &it.topic, "", 0))?;
    run.ask(
        node,
        "no such topic",
        request(&group, "diff-s-nowhere", "", 0),
    )?;
    run.ask(
        node,
        "unknown member",
        request(&group, &it.topic, "nobody", 0),
    )?;
    run.ask(node, "later epoch", request(&group, &it.topic, "", 1))?;
    run.ask(
        other(node),
        "wrong coordinator",
        request(&group, &it.topic, "", 0),
    )?;
    if run.version < 5 {
        it.end(run, true)?;
    } else {
        run.must(it.node, ApiKey::END_TXN, 5, it.ending(true, 0))?;
    }
    Ok(())
}

pub(crate) fn describe_producers(run: &mut Run<'_>) -> Result<()> {
    let name = run.name("owned");
    topic(run, &name, SINGLES)?;
    let body = json!({ "TransactionalId": null, "TransactionTimeoutMs": 60_000 });
    let answer = run.must(1, ApiKey::INIT_PRODUCER_ID, 4, body)?;
    let producer = Producer {
        id: answer["ProducerId"].as_i64().unwrap_or(-1),
        epoch: answer["ProducerEpoch"].as_i64().unwrap_or(-1),
    };
    produce(run, 1, &name, 0, &batch_of(producer, 0, false, 2, "first"))?;
    produce(run, 1, &name, 0, &batch_of(producer, 2, false, 2, "second"))?;
    let request = |topic: &str, partitions: &[i32]| json!({ "Topics": [{ "Name": topic, "PartitionIndexes": partitions }] });
    let answer = run.ask(1, "one producer", request(&name, &[0]))?;
    let last = &answer["Topics"][0]["Partitions"][0]["ActiveProducers"][0]["LastSequence"];
    ensure(*last == 3, || format!("no producer: {answer}"))?;
    run.ask(2, "none", request(&name, &[1]))?;
    run.ask(2, "wrong leader", request(&name, &[0, 9]))?;
    run.ask(1, "no such topic", request("diff-s-nowhere", &[0]))?;
    Ok(())
}

pub(crate) fn describe(run: &mut Run<'_>) -> Result<()> {
    let it = Setting::new(run)?;
    let request = |ids: &[&str]| json!({ "TransactionalIds": ids });
    run.ask(it.node, "empty", request(&[&it.id]))?;
    it.write(run)?;
    run.ask(it.node, "ongoing", request(&[&it.id]))?;
    run.ask(it.node, "no name", request(&[""]))?;
    run.ask(other(it.node), "wrong coordinator", request(&[&it.id]))?;
    it.end(run, true)
}

pub(crate) fn list(run: &mut Run<'_>) -> Result<()> {
    for node in 1..=3 {
        run.ask(node, "all", json!({}))?;
        let empty = json!({ "StateFilters": ["Empty", "Happy"], "ProducerIdFilters": [] });
        run.ask(node, "empty", empty)?;
        run.ask(node, "old", json!({ "DurationFilter": 3_600_000 }))?;
        let pattern = json!({ "TransactionalIdPattern": "diff-s-.*" });
        run.ask(node, "by pattern", pattern)?;
    }
    run.ask(
        1,
        "no producer",
        json!({ "ProducerIdFilters": [1_i64 << 40] }),
    )?;
    run.ask(1, "bad pattern", json!({ "TransactionalIdPattern": "(" }))?;
    Ok(())
}

/// An object with one more field.
fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}
