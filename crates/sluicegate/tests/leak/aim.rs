//! Requests: random bodies in which names, ids and handles are replaced by those of somebody.

use std::borrow::Cow;

use wire::api::{ApiKey, Direction};
use wire::schema::{Entity, FieldSpec, FieldType};
use wire::testing::{Rng, random_body};
use wire::tree::{self, Node, Record};

use crate::fixtures::{assignment, subscription};
use crate::pools::{Pools, Targets};
use crate::records::{Producer, batch_of};

/// A request, and what it was meant for.
pub(crate) struct Shot {
    pub(crate) body: Vec<u8>,
    /// Whether brokers answer it.
    pub(crate) is_due: bool,
    /// The group of the attacker's own that it speaks of, if it speaks of one.
    pub(crate) group: String,
}

/// What answers have given: handles that are good for something.
#[derive(Default)]
pub(crate) struct Learned {
    /// Group, member, generation or epoch.
    pub(crate) members: Vec<(String, String, i64)>,
    /// Id and epoch.
    pub(crate) producers: Vec<(i64, i64)>,
    pub(crate) sessions: Vec<i64>,
}

impl Learned {
    /// Newer ones replace older ones.
    pub(crate) fn keep<T>(list: &mut Vec<T>, item: T) {
        const KEPT: usize = 12;
        if list.len() == KEPT {
            list.remove(0);
        }
        list.push(item);
    }
}

/// Makes a request of a version that the table has.
pub(crate) fn shot(
    api: ApiKey,
    version: i16,
    pools: &Pools,
    learned: &Learned,
    rng: &mut Rng,
) -> Shot {
    let random = random_body(api, version, Direction::Request, rng);
    let mut root = tree::decode(api, version, Direction::Request, &random)
        .unwrap_or_else(|error| panic!("{api} v{version}: {error}"));
    let mut aim = Aim::new(api, pools, learned, rng);
    if aim.is_friendly {
        aim.tidy(&mut root);
    }
    aim.record(&mut root);
    let group = aim.group.clone();
    let is_due = api != ApiKey::PRODUCE || root.meaning(Entity::Acks).as_int() != 0;
    Shot {
        body: tree::encode(api, version, Direction::Request, &root),
        is_due,
        group,
    }
}

/// How one request chooses.
struct Aim<'a> {
    api: ApiKey,
    pools: &'a Pools,
    rng: &'a mut Rng,
    /// Whether it is meant to succeed: it uses what is the attacker's own, and uses it consistently.
    is_friendly: bool,
    group: String,
    member: String,
    epoch: i64,
    transaction: String,
    producer: (i64, i64),
    sessions: &'a [i64],
    /// The type of the resource whose name comes next.
    resource: i64,
}

impl<'a> Aim<'a> {
    fn new(api: ApiKey, pools: &'a Pools, learned: &'a Learned, rng: &'a mut Rng) -> Aim<'a> {
        let is_friendly = rng.one_in(2);
        let own = &pools.own;
        let mut aim = Aim {
            api,
            pools,
            is_friendly,
            group: pick(&own.groups, rng),
            member: pick(&own.members, rng),
            epoch: [-1, 0, 1][rng.below(3)],
            transaction: pick(&own.transactions, rng),
            producer: (-1, -1),
            sessions: &learned.sessions,
            resource: 0,
            rng,
        };
        if let Some((group, member, epoch)) = aim.any(&learned.members, 3) {
            (aim.group, aim.member, aim.epoch) = (group, member, epoch);
        }
        if let Some(producer) = aim.any(&learned.producers, 3) {
            aim.producer = producer;
        }
        aim
    }

    /// An element, but in one of `n` cases.
    fn any<T: Clone>(&mut self, list: &[T], n: usize) -> Option<T> {
        match list.is_empty() || self.rng.one_in(n) {
            true => None,
            false => list.get(self.rng.below(list.len())).cloned(),
        }
    }

    /// Takes out what a random request fails by.
    fn tidy(&mut self, root: &mut Record<'_>) {
        match self.api {
            ApiKey::CREATE_TOPICS => root.edit_list("Topics", |topics| {
                for topic in topics.iter_mut().filter_map(Node::as_record_mut) {
                    topic.set("Assignments", Node::List(Vec::new()));
                    topic.set("ReplicationFactor", Node::Int(1));
                    topic.set("Configs", Node::List(Vec::new()));
                }
            }),
            ApiKey::CREATE_PARTITIONS => root.edit_list("Topics", |topics| {
                for topic in topics.iter_mut().filter_map(Node::as_record_mut) {
                    topic.set("Assignments", Node::Null);
                }
            }),
            ApiKey::LIST_GROUPS => {
                root.set("StatesFilter", Node::List(Vec::new()));
                root.set("TypesFilter", Node::List(Vec::new()));
            }
            ApiKey::LIST_TRANSACTIONS => {
                root.set("StateFilters", Node::List(Vec::new()));
                root.set("ProducerIdFilters", Node::Ints(Vec::new()));
                root.set("DurationFilter", Node::Int(-1));
            }
            ApiKey::DESCRIBE_CLUSTER => root.set("EndpointType", Node::Int(1)),
            ApiKey::FETCH => root.set("ForgottenTopicsData", Node::List(Vec::new())),
            ApiKey::OFFSET_FETCH => root.set("RequireStable", Node::Int(0)),
            _ => {}
        }
    }

    fn record(&mut self, record: &mut Record<'_>) {
        for spec in record.fields() {
            if let Some(node) = record.get_mut(spec.name) {
                self.node(spec, node);
            }
        }
    }

    fn node(&mut self, spec: &FieldSpec, node: &mut Node<'_>) {
        match node {
            Node::Record(inner) => self.record(inner),
            Node::List(list) => list.iter_mut().for_each(|node| self.node(spec, node)),
            Node::Ints(values) => {
                values.truncate(6);
                for value in values {
                    *value = self.number(spec, *value);
                }
            }
            Node::Int(value) => {
                *value = self.number(spec, *value);
                if spec.entity == Entity::ResourceType {
                    self.resource = *value;
                }
            }
            Node::Text(text) => {
                if let Some(new) = self.text(spec) {
                    *text = Cow::Owned(new);
                }
            }
            Node::Uuid(id) if spec.entity == Entity::TopicId => *id = self.topic_id(),
            // Kafka never answers a partition without records.
            Node::Null if spec.entity == Entity::Records => {
                *node = Node::Text(Cow::Owned(self.records()));
            }
            Node::Absent | Node::Null | Node::Double(_) | Node::Uuid(_) | Node::Raw(_) => {}
        }
    }

    /// Somebody's: the attacker's own, if the request is friendly.
    fn targets(&mut self) -> &'a Targets {
        let is_own = if self.is_friendly {
            !self.rng.one_in(12)
        } else {
            self.rng.one_in(3)
        };
        match is_own {
            true => &self.pools.own,
            false => &self.pools.foreign,
        }
    }

    fn topic(&mut self) -> String {
        pick(&self.targets().topics, self.rng)
    }

    fn topic_id(&mut self) -> [u8; 16] {
        let ids = &self.targets().ids;
        ids.get(self.rng.below(ids.len()))
            .copied()
            .unwrap_or_default()
    }

    fn group(&mut self) -> String {
        match self.is_friendly {
            true => self.group.clone(),
            false => pick(&self.targets().groups, self.rng),
        }
    }

    fn transaction(&mut self) -> String {
        match self.is_friendly {
            true => self.transaction.clone(),
            false => pick(&self.targets().transactions, self.rng),
        }
    }

    fn member(&mut self) -> String {
        match self.is_friendly {
            true => self.member.clone(),
            false => pick(&self.targets().members, self.rng),
        }
    }

    fn principal(&mut self) -> String {
        /// Changing the lists of those who ask would end the test.
        const CHANGES: [ApiKey; 2] = [ApiKey::CREATE_ACLS, ApiKey::DELETE_ACLS];
        match CHANGES.contains(&self.api) {
            true => pick(&self.pools.foreign.principals, self.rng),
            false => pick(&self.targets().principals, self.rng),
        }
    }

    /// A new text; `None` keeps the random one.
    fn text(&mut self, spec: &FieldSpec) -> Option<Vec<u8>> {
        let text = match spec.entity {
            Entity::TopicName => self.topic(),
            Entity::GroupId => self.group(),
            Entity::TransactionalId => self.transaction(),
            Entity::TopicPattern | Entity::TransactionalIdPattern => {
                pick(&self.targets().patterns, self.rng)
            }
            Entity::CoordinatorKey => match self.rng.below(3) {
                0 => self.transaction(),
                1 => self.group(),
                _ => pick(&self.targets().groups, self.rng),
            },
            Entity::GroupProtocolType => self.one_of(&["consumer", "consumer", "connect", ""]),
            Entity::GroupSubscription => return self.blob(subscription),
            Entity::GroupAssignment => return self.blob(assignment),
            Entity::ResourceName => self.resource_name(),
            Entity::Principal => self.principal(),
            Entity::AclHost => self.one_of(&["*", "127.0.0.1"]),
            Entity::ClusterId => pick(&self.pools.clusters, self.rng),
            Entity::LogDir => pick(&self.pools.folders, self.rng),
            Entity::Records => return Some(self.records()),
            _ => return self.text_by_name(spec.name).map(String::into_bytes),
        };
        Some(text.into_bytes())
    }

    fn text_by_name(&mut self, name: &str) -> Option<String> {
        Some(match name {
            "MemberId" => self.member(),
            "GroupInstanceId" | "InstanceId" => match self.rng.below(3) {
                0 => self.member(),
                _ => return None,
            },
            "ProtocolName" => self.one_of(&["range", "sticky"]),
            "ServerAssignor" => self.one_of(&["uniform", "range", "simple"]),
            "ConfigurationKeys" | "Name" => match self.api {
                ApiKey::JOIN_GROUP => self.one_of(&["range", "sticky"]),
                _ => self.one_of(&[
                    "retention.ms",
                    "cleanup.policy",
                    "max.message.bytes",
                    "compression.type",
                    "no.such.setting",
                    "consumer.session.timeout.ms",
                    "log.dirs",
                    "advertised.listeners",
                ]),
            },
            "Value" => self.one_of(&["1", "compact", "604800000", "", "gzip", "60000", "1048588"]),
            "StatesFilter" => self.one_of(&["Stable", "Empty", "no state"]),
            "StateFilters" => self.one_of(&["Ongoing", "Empty", "no state"]),
            "TypesFilter" => self.one_of(&["classic", "consumer", "share", "no type"]),
            "EntityType" => self.one_of(&["user", "client-id", "ip"]),
            "Feature" => self.one_of(&["metadata.version", "group.version", "share.version"]),
            _ => return None,
        })
    }

    fn resource_name(&mut self) -> String {
        const CONFIGS: [ApiKey; 3] = [
            ApiKey::DESCRIBE_CONFIGS,
            ApiKey::ALTER_CONFIGS,
            ApiKey::INCREMENTAL_ALTER_CONFIGS,
        ];
        let is_config = CONFIGS.contains(&self.api);
        match self.resource {
            2 => self.topic(),
            3 | 32 => self.group(),
            5 => self.transaction(),
            4 | 8 if is_config => self.one_of(&["1", "2", "3", "", "77"]),
            4 => self.one_of(&["kafka-cluster", "*"]),
            _ => match self.rng.below(3) {
                0 => self.topic(),
                1 => self.principal(),
                _ => "*".to_owned(),
            },
        }
    }

    /// What consumers say to each other; now and then not quite.
    fn blob(&mut self, make: impl Fn(&str) -> Vec<u8>) -> Option<Vec<u8>> {
        if self.rng.one_in(6) {
            return None;
        }
        let topic = self.topic();
        let mut bytes = make(&topic);
        if self.rng.one_in(8) {
            wire::testing::mutate(&mut bytes, self.rng);
        }
        Some(bytes)
    }

    fn records(&mut self) -> Vec<u8> {
        let (id, epoch) = self.producer();
        let is_transactional = id >= 0 && self.rng.one_in(2);
        let sequence = if id < 0 { -1 } else { self.rng.below(3) as i32 };
        batch_of(Producer { id, epoch }, sequence, is_transactional, 1, "x")
    }

    fn producer(&mut self) -> (i64, i64) {
        if self.is_friendly {
            return self.producer;
        }
        let producers = &self.pools.foreign.producers;
        match producers.get(self.rng.below(producers.len() + 1)) {
            Some(producer) => *producer,
            None => self.producer,
        }
    }

    /// A new number. Waits are short, and nothing is made in large numbers.
    fn number(&mut self, spec: &FieldSpec, random: i64) -> i64 {
        match spec.entity {
            Entity::Partition => self.mostly(&[0, 0, 1], &[-1, 2, 9, random]),
            Entity::BrokerId | Entity::NodeId => match self.api {
                // One that is there would be lost to all tests.
                ApiKey::UNREGISTER_BROKER => 77,
                _ => self.mostly(&[1, 2, 3], &[-1, 77]),
            },
            Entity::ReplicaId => self.mostly(&[-1], &[-2, 1, 2, random]),
            Entity::SessionId => {
                let learned = self.sessions.last().copied().unwrap_or(0);
                let foreign = &self.pools.foreign.sessions;
                let other = foreign.get(self.rng.below(foreign.len())).copied();
                self.mostly(&[0, learned], &[other.unwrap_or(1), random])
            }
            Entity::SessionEpoch => self.mostly(&[-1, 0, 1], &[2, 3, random]),
            Entity::ProducerId => self.producer().0,
            Entity::Acks => self.mostly(&[-1, 1], &[-1, 1, 0]),
            Entity::ResourceType => {
                self.mostly(&[2, 3, 32], &[1, 2, 3, 4, 5, 6, 7, 8, 16, 32, random])
            }
            Entity::PatternType => self.mostly(&[3, 4], &[0, 1, 2, 3, 4]),
            Entity::CoordinatorType => self.mostly(&[0, 1], &[2, random]),
            _ if matches!(spec.ty, FieldType::Bool) => random,
            _ => self.number_by_name(spec.name, random),
        }
    }

    fn number_by_name(&mut self, name: &str, random: i64) -> i64 {
        let small = self.rng.below(150) as i64;
        match name {
            "SessionTimeoutMs" => self.mostly(&[100, 400], &[0, 3000]),
            "RebalanceTimeoutMs" => 100 + small,
            "TransactionTimeoutMs" => 2000 + 10 * small,
            "MaxWaitMs" => small / 3,
            "TimeoutMs" | "timeoutMs" => 2000 + small,
            "MinBytes" => self.rng.below(2) as i64,
            "MaxBytes" | "PartitionMaxBytes" => self.mostly(&[1 << 20], &[0, 1, random]),
            "MaxRecords" | "BatchSize" => 1 + small,
            "Timestamp" => self.mostly(&[-1, -2, -3], &[0, -4, -5, random]),
            "FetchOffset" | "CommittedOffset" | "StartOffset" | "FirstOffset" | "LastOffset"
            | "Offset" => self.mostly(&[0, 0, 1, 2], &[-1, random]),
            "NumPartitions" => self.mostly(&[1, 2], &[-1, 3]),
            "Count" => 1 + self.rng.below(4) as i64,
            "Partitions" | "PartitionIndexes" | "Partition" => self.mostly(&[0, 1], &[2, random]),
            "ReplicationFactor" => self.mostly(&[1], &[-1, 3, 4]),
            "GenerationId" | "GenerationIdOrMemberEpoch" | "MemberEpoch" => {
                let epoch = self.epoch;
                self.mostly(&[epoch, epoch, epoch, 0], &[-1, 0, 1, -2, random])
            }
            "ProducerEpoch" | "V3AndBelowProducerEpoch" => self.producer().1,
            "CurrentLeaderEpoch" | "LeaderEpoch" => self.mostly(&[-1, 0], &[1, random]),
            "Operation" => self.mostly(&[1, 2, 3, 4], &[0, 5, 8, 10, 12, 15, random]),
            "PermissionType" => self.mostly(&[1, 2, 3], &[0, random]),
            "IsolationLevel" | "ShareAcquireMode" => self.rng.below(2) as i64,
            "EndpointType" => self.mostly(&[1, 2], &[0, random]),
            "ConfigOperation" => self.rng.below(4) as i64,
            "ResponsePartitionLimit" => self.mostly(&[1, 2, 2000], &[0, random]),
            "VoterId" => 77,
            "LogStartOffset" => -1,
            "DurationFilter" => self.mostly(&[-1], &[0, random]),
            _ => random,
        }
    }

    /// One of the first, or in one of eight cases (if the request is not friendly, of three) one of the second.
    fn mostly(&mut self, usual: &[i64], odd: &[i64]) -> i64 {
        let list = match self.rng.one_in(if self.is_friendly { 8 } else { 3 }) {
            true => odd,
            false => usual,
        };
        list[self.rng.below(list.len())]
    }

    fn one_of(&mut self, texts: &[&str]) -> String {
        texts[self.rng.below(texts.len())].to_owned()
    }
}

fn pick(texts: &[String], rng: &mut Rng) -> String {
    texts
        .get(rng.below(texts.len()))
        .cloned()
        .unwrap_or_default()
}
