//! Topics, groups and transactions of each, made with Kafka directly.
//!
//! For each of the two words of an owner: a topic of two partitions with records, one group of each protocol, and an open
//! transaction. What is in them (records, offsets, clients, members) says whose they are.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::{Error, Result, wait};
use wire::api::ApiKey;
use wire::testing::Rng;

use crate::line::{Client, LIMIT};
use crate::message::{hex, unhex};
use crate::names::{CLASSIC, CONSUMER, MEMBER, Owner, SHARE, SIMPLE, STREAMS, TOPIC, TRANSACTION};
use crate::records::{Producer, batch, batch_of};
use crate::search::error_codes;

/// Leader of the topics that exist beforehand.
pub(crate) const LEADER: i32 = 1;

/// Longer than any test.
const HALF_AN_HOUR: i64 = 1_800_000;

/// What Kafka gave to the things of one owner.
#[derive(Default)]
pub(crate) struct Facts {
    /// Topic ids by name in Kafka.
    pub(crate) ids: BTreeMap<String, [u8; 16]>,
    /// Producers by transactional id in Kafka.
    pub(crate) producers: BTreeMap<String, Producer>,
    /// Numbers that say whose they are, and what they are.
    pub(crate) numbers: Vec<(i64, String)>,
}

/// The brokers that coordinate; one each, there being one partition.
#[derive(Clone, Copy)]
pub(crate) struct Coordinators {
    pub(crate) groups: i32,
    pub(crate) transactions: i32,
}

impl Coordinators {
    /// Finds them, and waits until they serve.
    pub(crate) fn find(direct: &mut Client) -> Result<Coordinators> {
        let mut find = |kind: i8, api, version, probe: &Value| -> Result<i32> {
            let key = json!({ "KeyType": kind, "CoordinatorKeys": ["any"] });
            let answer = direct.must(LEADER, ApiKey::FIND_COORDINATOR, 4, &key)?;
            let node = answer["Coordinators"][0]["NodeId"].as_i64().unwrap_or(1) as i32;
            direct.ask(node, api, version, probe)?;
            Ok(node)
        };
        Ok(Coordinators {
            groups: find(
                0,
                ApiKey::OFFSET_FETCH,
                7,
                &json!({ "GroupId": "any", "Topics": [] }),
            )?,
            transactions: find(
                1,
                ApiKey::DESCRIBE_TRANSACTIONS,
                0,
                &json!({ "TransactionalIds": [] }),
            )?,
        })
    }
}

/// How much one owner gets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Topics, a group of offsets, a transaction.
    Plain,
    /// Groups with members, too.
    Groups,
}

/// Makes what an owner has.
pub(crate) fn make(
    direct: &mut Client,
    owner: &Owner,
    extent: Extent,
    coordinators: Coordinators,
    rng: &mut Rng,
) -> Result<Facts> {
    let mut facts = Facts::default();
    for word in owner.words() {
        let mut maker = Maker {
            direct,
            owner,
            word,
            coordinators,
            facts: &mut facts,
        };
        maker.topic_with_records(rng)?;
        maker.committed(rng)?;
        maker.transaction()?;
        if extent == Extent::Groups {
            maker.classic()?;
            maker.heartbeats()?;
        }
    }
    Ok(facts)
}

/// Makes a topic of two partitions that all brokers know, gives its id.
pub(crate) fn topic(direct: &mut Client, name: &str) -> Result<[u8; 16]> {
    let body = json!({
        "Topics": [{
            "Name": name,
            "NumPartitions": -1,
            "ReplicationFactor": -1,
            "Assignments": (0..2).map(|index| json!({
                "PartitionIndex": index, "BrokerIds": [LEADER],
            })).collect::<Vec<_>>(),
            "Configs": [
                { "Name": "min.insync.replicas", "Value": "1" },
                // Records are as old as they say.
                { "Name": "retention.ms", "Value": "-1" },
            ],
        }],
        "timeoutMs": 30_000,
    });
    direct.must(LEADER, ApiKey::CREATE_TOPICS, 7, &body)?;
    let named = json!({ "Topics": [{ "Name": name }], "AllowAutoTopicCreation": false });
    let mut id = [0; 16];
    for node in 1..=3 {
        let answer = direct.must(node, ApiKey::METADATA, 12, &named)?;
        id = uuid(&answer["Topics"][0]["TopicId"]);
    }
    Ok(id)
}

/// A topic id of an answer.
pub(crate) fn uuid(value: &Value) -> [u8; 16] {
    let bytes = unhex(value.as_str().unwrap_or_default());
    bytes.try_into().unwrap_or_default()
}

/// Appends a batch.
pub(crate) fn produce(
    direct: &mut Client,
    topic: &str,
    partition: i32,
    transaction: Option<&str>,
    batch: &[u8],
) -> Result<()> {
    let body = json!({
        "TransactionalId": transaction,
        "Acks": -1,
        "TimeoutMs": 30_000,
        "TopicData": [{
            "Name": topic,
            "PartitionData": [{ "Index": partition, "Records": hex(batch) }],
        }],
    });
    direct.must(LEADER, ApiKey::PRODUCE, 9, &body).map(drop)
}

/// Subscription of the consumer protocol, version 0.
pub(crate) fn subscription(topic: &str) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 1];
    bytes.extend((topic.len() as u16).to_be_bytes());
    bytes.extend(topic.bytes());
    bytes.extend((-1_i32).to_be_bytes());
    bytes
}

/// Assignment of partition 0, version 0 of the consumer protocol.
pub(crate) fn assignment(topic: &str) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 1];
    bytes.extend((topic.len() as u16).to_be_bytes());
    bytes.extend(topic.bytes());
    bytes.extend([0, 0, 0, 1, 0, 0, 0, 0]);
    bytes.extend((-1_i32).to_be_bytes());
    bytes
}

/// Makes the things of one word of an owner.
struct Maker<'m> {
    direct: &'m mut Client,
    owner: &'m Owner,
    word: &'m str,
    coordinators: Coordinators,
    facts: &'m mut Facts,
}

impl Maker<'_> {
    fn named(&self, kind: &str) -> String {
        self.owner.physical(self.word, kind)
    }

    fn is_attacker(&self) -> bool {
        self.owner.label == "the attacker"
    }

    /// A number that nothing else has.
    fn number(&mut self, what: &str, rng: &mut Rng) -> i64 {
        let number = 1 << 52 | (rng.number() >> 13) as i64;
        let label = self.owner.label;
        self.facts
            .numbers
            .push((number, format!("{what} of {label}")));
        number
    }

    fn topic_with_records(&mut self, rng: &mut Rng) -> Result<()> {
        /// So many that the end of the log says whose it is.
        const FULL: usize = 100;
        const MANY: u8 = 200;
        let name = self.named(TOPIC);
        let id = topic(self.direct, &name)?;
        self.facts.ids.insert(name.clone(), id);
        let value = format!("a record of {}", self.owner.secret);
        let mut records = batch(2, &value);
        let time = 1_600_000_000_000 + (rng.number() % 100_000_000_000) as i64;
        let label = self.owner.label;
        self.facts
            .numbers
            .push((time, format!("time of a record of {label}")));
        stamp(&mut records, time);
        produce(self.direct, &name, 0, None, &records)?;
        produce(self.direct, &name, 1, None, &records)?;
        if self.is_attacker() {
            return Ok(());
        }
        let many = batch(MANY, "x");
        let batches = FULL + rng.below(FULL);
        for _ in 0..batches {
            produce(self.direct, &name, 1, None, &many)?;
        }
        let end = batches * usize::from(MANY) + 2;
        self.facts
            .numbers
            .push((end as i64, format!("end of a log of {label}")));
        Ok(())
    }

    fn committed(&mut self, rng: &mut Rng) -> Result<()> {
        let offset = self.number("a committed offset", rng);
        let body = json!({
            "GroupId": self.named(SIMPLE),
            "Topics": [{
                "Name": self.named(TOPIC),
                "Partitions": [{
                    "PartitionIndex": 0,
                    "CommittedOffset": offset,
                    "CommittedMetadata": format!("noted by {}", self.owner.secret),
                }],
            }],
        });
        let node = self.coordinators.groups;
        self.direct
            .must(node, ApiKey::OFFSET_COMMIT, 8, &body)
            .map(drop)
    }

    /// A transaction with one record that stays open.
    fn transaction(&mut self) -> Result<()> {
        let (id, topic) = (self.named(TRANSACTION), self.named(TOPIC));
        let node = self.coordinators.transactions;
        let body = json!({ "TransactionalId": id, "TransactionTimeoutMs": HALF_AN_HOUR });
        let answer = self.direct.must(node, ApiKey::INIT_PRODUCER_ID, 4, &body)?;
        let producer = Producer {
            id: answer["ProducerId"].as_i64().unwrap_or(-1),
            epoch: answer["ProducerEpoch"].as_i64().unwrap_or(-1),
        };
        let body = json!({
            "V3AndBelowTransactionalId": id,
            "V3AndBelowProducerId": producer.id,
            "V3AndBelowProducerEpoch": producer.epoch,
            "V3AndBelowTopics": [{ "Name": topic, "Partitions": [0] }],
        });
        self.direct
            .must(node, ApiKey::ADD_PARTITIONS_TO_TXN, 3, &body)?;
        let value = format!("not committed by {}", self.owner.secret);
        let records = batch_of(producer, 0, true, 1, &value);
        produce(self.direct, &topic, 0, Some(&id), &records)?;
        self.facts.producers.insert(id, producer);
        Ok(())
    }

    /// A classic group with a static member that has partition 0.
    fn classic(&mut self) -> Result<()> {
        let (group, topic) = (self.named(CLASSIC), self.named(TOPIC));
        let node = self.coordinators.groups;
        let instance = format!("{}-{MEMBER}", self.word);
        // Nobody of the attacker's waits for one that never comes back.
        let patience = if self.is_attacker() { 200 } else { 30_000 };
        let body = json!({
            "GroupId": group,
            "SessionTimeoutMs": HALF_AN_HOUR,
            "RebalanceTimeoutMs": patience,
            "GroupInstanceId": instance,
            "ProtocolType": "consumer",
            "Protocols": [{ "Name": "range", "Metadata": hex(&subscription(&topic)) }],
        });
        let answer = self.direct.must(node, ApiKey::JOIN_GROUP, 5, &body)?;
        let body = json!({
            "GroupId": group,
            "GenerationId": answer["GenerationId"],
            "MemberId": answer["MemberId"],
            "GroupInstanceId": instance,
            "Assignments": [{
                "MemberId": answer["MemberId"], "Assignment": hex(&assignment(&topic)),
            }],
        });
        self.direct
            .must(node, ApiKey::SYNC_GROUP, 3, &body)
            .map(drop)
    }

    /// Groups of the newer protocols with a member that has everything.
    fn heartbeats(&mut self) -> Result<()> {
        let topics = json!([self.named(TOPIC)]);
        let consumer = json!({
            "RebalanceTimeoutMs": 30_000, "SubscribedTopicNames": topics, "TopicPartitions": [],
        });
        let share = json!({ "SubscribedTopicNames": topics });
        let streams = json!({
            "RebalanceTimeoutMs": 30_000,
            "Topology": {
                "Epoch": 0,
                "Subtopologies": [{ "SubtopologyId": "0", "SourceTopics": topics }],
            },
            "ActiveTasks": [],
            "StandbyTasks": [],
            "WarmupTasks": [],
            "ProcessId": "process",
        });
        for (kind, api, version, first) in [
            (CONSUMER, ApiKey::CONSUMER_GROUP_HEARTBEAT, 1, consumer),
            (SHARE, ApiKey::SHARE_GROUP_HEARTBEAT, 1, share),
            (STREAMS, ApiKey::STREAMS_GROUP_HEARTBEAT, 0, streams),
        ] {
            self.join(kind, api, version, first)?;
        }
        Ok(())
    }

    fn join(&mut self, kind: &str, api: ApiKey, version: i16, first: Value) -> Result<()> {
        let node = self.coordinators.groups;
        let (group, member) = (self.named(kind), format!("{}-{MEMBER}", self.word));
        let beat = |epoch: &Value, mut body: Value| {
            body["GroupId"] = group.as_str().into();
            body["MemberId"] = member.as_str().into();
            body["MemberEpoch"] = epoch.clone();
            body
        };
        let mut body = beat(&json!(0), first);
        let assigned = wait::until("an assignment", LIMIT, || {
            let answer = self.direct.must(node, api, version, &body)?;
            body = beat(&answer["MemberEpoch"], json!({}));
            let given = match kind {
                STREAMS => &answer["ActiveTasks"],
                _ => &answer["Assignment"]["TopicPartitions"],
            };
            let is_given = given.as_array().is_some_and(|list| !list.is_empty());
            Ok(is_given.then_some(answer))
        })?;
        let owned = match kind {
            STREAMS => json!({
                "ActiveTasks": assigned["ActiveTasks"], "StandbyTasks": [], "WarmupTasks": [],
            }),
            CONSUMER => json!({ "TopicPartitions": assigned["Assignment"]["TopicPartitions"] }),
            _ => json!({}),
        };
        let answer = self
            .direct
            .ask(node, api, version, &beat(&assigned["MemberEpoch"], owned))?;
        match error_codes(api, &answer).iter().all(|code| *code == 0) {
            true => Ok(()),
            false => Err(Error::Violated(format!("a member of {group}: {answer}"))),
        }
    }
}

/// Gives the records of a batch another time.
fn stamp(batch: &mut [u8], time: i64) {
    batch[27..35].copy_from_slice(&time.to_be_bytes());
    batch[35..43].copy_from_slice(&time.to_be_bytes());
    let sum = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&sum.to_be_bytes());
}
