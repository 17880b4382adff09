//! Asks Kafka for the offsets that no client tells of: of topics that are written to behind the gateway, and of commits in transactions.
//!
//! Only topics and groups that clients have used are asked for, page by page, one request after the other, over the gateway's own connections. What
//! cannot be had is left for the next time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::SecurityMode;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    BrokerId, FindCoordinatorRequest, ListOffsetsRequest, MetadataRequest, OffsetFetchRequest,
};
use kafka_protocol::protocol::StrBytes;
use state::{Node, TransportError, ask};
use telemetry::metrics::{Committed, Topic, Topics};
use telemetry::targets::METRICS;
use tenancy::{PASSTHROUGH, Tenant};
use tokio::time::{MissedTickBehavior, interval};
use wire::error_code::{NONE, UNKNOWN_TOPIC_OR_PARTITION};

use crate::access::Security;
use crate::upstream::client::Client;

/// How often lag is worked out.
const TICK: Duration = Duration::from_secs(2);

/// Topics, partitions, and groups asked for in one request.
const TOPICS: usize = 500;
const PARTITIONS: usize = 2000;
const GROUPS: usize = 50;

/// Versions used: those that Kafka 3.0 and later have in common, without topic ids.
const METADATA: (i16, i16) = (4, 12);
const LIST_OFFSETS: (i16, i16) = (1, 7);
const FIND_COORDINATOR: (i16, i16) = (4, 6);
const OFFSET_FETCH: (i16, i16) = (8, 9);

/// In place of a time: the end of the log.
const LATEST: i64 = -1;

/// Works out lag every few seconds. Never returns.
pub(crate) async fn keep_time(topics: Arc<Topics>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        topics.tick(Instant::now());
    }
}

/// Asks every `period`. Never returns.
pub(crate) async fn keep_asking(client: Client, security: Arc<Security>, period: Duration) {
    let poller = Poller { client, security };
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await; // at once: nobody has been there yet
    loop {
        ticks.tick().await;
        poller.poll().await;
    }
}

struct Poller {
    client: Client,
    security: Arc<Security>,
}

/// Whose names are whose.
enum Naming {
    Same,
    Of(Arc<Tenant>),
    /// The virtual cluster was deleted.
    Gone,
}

/// Topics by the names they have in Kafka.
type ByName = BTreeMap<String, Vec<Arc<Topic>>>;

/// Partitions by topic, by the broker that leads them.
type ByLeader = BTreeMap<BrokerId, BTreeMap<String, Vec<i32>>>;

impl Poller {
    async fn poll(&self) {
        let poll = self.topics().begin_poll();
        if let Err(error) = self.ends(poll).await {
            tracing::debug!(target: METRICS, %error, "the ends of topics were not asked for");
        }
        if let Err(error) = self.commits(poll).await {
            tracing::debug!(target: METRICS, %error, "the offsets of groups were not asked for");
        }
    }

    fn topics(&self) -> &Topics {
        self.security.metrics.topics()
    }

    fn naming(&self, vcluster: &str) -> Naming {
        if self.security.mode != SecurityMode::GatewayManaged {
            return Naming::Same;
        }
        match self.security.tenants.load().get(vcluster) {
            Some(tenant) => Naming::Of(tenant.clone()),
            None if vcluster == PASSTHROUGH => Naming::Same,
            None => Naming::Gone,
        }
    }

    async fn ends(&self, poll: u64) -> Result<(), TransportError> {
        let mut wanted = ByName::new();
        for topic in self.topics().polled_topics() {
            let name = match self.naming(topic.vcluster()) {
                Naming::Same => topic.name().to_string(),
                Naming::Of(tenant) => tenant.topic(topic.name()).as_str().to_owned(),
                Naming::Gone => {
                    self.forget(&topic);
                    continue;
                }
            };
            wanted.entry(name).or_default().push(topic);
        }
        let names: Vec<&String> = wanted.keys().collect();
        for names in names.chunks(TOPICS) {
            let topics = names.iter().map(|name| {
                let name = StrBytes::from_string((*name).clone());
                MetadataRequestTopic::default().with_name(Some(name.into()))
            });
            let request = MetadataRequest::default()
                .with_topics(Some(topics.collect()))
                .with_allow_auto_topic_creation(false);
            let answer = ask(&self.client, Node::Bootstrap, METADATA, |_| request).await?;
            let mut leaders = ByLeader::new();
            for topic in &answer.topics {
                let Some(name) = topic.name.as_ref().map(|name| name.as_str()) else {
                    continue;
                };
                if topic.error_code == UNKNOWN_TOPIC_OR_PARTITION {
                    wanted
                        .get(name)
                        .into_iter()
                        .flatten()
                        .for_each(|topic| self.forget(topic));
                }
                for partition in &topic.partitions {
                    let of_leader = leaders.entry(partition.leader_id).or_default();
                    let of_topic: &mut Vec<i32> = of_leader.entry(name.to_owned()).or_default();
                    of_topic.push(partition.partition_index);
                }
            }
            for broker in &answer.brokers {
                let Some(partitions) = leaders.remove(&broker.node_id) else {
                    continue;
                };
                let node = node(&broker.host, broker.port)?;
                if let Err(error) = self.ends_of(&node, partitions, &wanted, poll).await {
                    tracing::debug!(target: METRICS, broker = *broker.node_id, %error, "a broker did not tell where its partitions end");
                }
            }
        }
        Ok(())
    }

    /// Asks one broker for the ends of the partitions that it leads.
    async fn ends_of(
        &self,
        node: &Node,
        partitions: BTreeMap<String, Vec<i32>>,
        wanted: &ByName,
        poll: u64,
    ) -> Result<(), TransportError> {
        let all = partitions.into_iter().flat_map(|(name, partitions)| {
            let name = StrBytes::from_string(name);
            partitions.into_iter().map(move |p| (name.clone(), p))
        });
        let all: Vec<(StrBytes, i32)> = all.collect();
        for page in all.chunks(PARTITIONS) {
            let mut topics: Vec<ListOffsetsTopic> = Vec::new();
            for (name, partition) in page {
                if topics.last().is_none_or(|last| last.name.0 != *name) {
                    topics.push(ListOffsetsTopic::default().with_name(name.clone().into()));
                }
                let partition = ListOffsetsPartition::default()
                    .with_partition_index(*partition)
                    .with_timestamp(LATEST);
                if let Some(last) = topics.last_mut() {
                    last.partitions.push(partition);
                }
            }
            let request = ListOffsetsRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_topics(topics);
            let answer = ask(&self.client, node.clone(), LIST_OFFSETS, |_| request).await?;
            for topic in &answer.topics {
                let known = wanted.get(topic.name.as_str());
                for partition in &topic.partitions {
                    // The leader may have changed, and rights may be missing: next time.
                    if partition.error_code == NONE && partition.offset >= 0 {
                        for topic in known.into_iter().flatten() {
                            topic.polled_end(partition.partition_index, partition.offset, poll);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn commits(&self, poll: u64) -> Result<(), TransportError> {
        // By the names they have in Kafka: a prefix never makes two groups one.
        let mut wanted: HashMap<String, (Arc<str>, Arc<str>)> = HashMap::new();
        for (vcluster, group) in self.topics().polled_groups() {
            let name = match self.naming(&vcluster) {
                Naming::Same => group.to_string(),
                Naming::Of(tenant) => tenant.physical(&group).as_str().to_owned(),
                Naming::Gone => {
                    self.topics().group_deleted(&vcluster, &group);
                    continue;
                }
            };
            wanted.insert(name, (vcluster, group));
        }
        let names: Vec<&String> = wanted.keys().collect();
        let mut coordinators: HashMap<Node, Vec<String>> = HashMap::new();
        for names in names.chunks(TOPICS) {
            let keys = names
                .iter()
                .map(|name| StrBytes::from_string((*name).clone()));
            let request = FindCoordinatorRequest::default().with_coordinator_keys(keys.collect());
            let answer = ask(&self.client, Node::Bootstrap, FIND_COORDINATOR, |_| request).await?;
            for found in &answer.coordinators {
                if found.error_code == NONE {
                    let node = node(&found.host, found.port)?;
                    let groups = coordinators.entry(node).or_default();
                    groups.push(found.key.to_string());
                }
            }
        }
        for (node, groups) in coordinators {
            for groups in groups.chunks(GROUPS) {
                if let Err(error) = self.commits_of(&node, groups, &wanted, poll).await {
                    tracing::debug!(target: METRICS, %error, "a coordinator did not tell offsets");
                    break;
                }
            }
        }
        Ok(())
    }

    /// Asks one coordinator for what groups have committed.
    async fn commits_of(
        &self,
        node: &Node,
        groups: &[String],
        wanted: &HashMap<String, (Arc<str>, Arc<str>)>,
        poll: u64,
    ) -> Result<(), TransportError> {
        let groups = groups.iter().map(|name| {
            OffsetFetchRequestGroup::default()
                .with_group_id(StrBytes::from_string(name.clone()).into())
                .with_topics(None)
        });
        let request = OffsetFetchRequest::default().with_groups(groups.collect());
        let answer = ask(&self.client, node.clone(), OFFSET_FETCH, |_| request).await?;
        for group in &answer.groups {
            let Some((vcluster, name)) = wanted.get(group.group_id.as_str()) else {
                continue;
            };
            let mut partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
            let failed = partitions.any(|partition| partition.error_code != NONE);
            if failed || group.error_code != NONE {
                continue;
            }
            let mut found = Vec::new();
            for topic in &group.topics {
                let names = self.names_of(vcluster, topic.name.as_str());
                for partition in &topic.partitions {
                    let committed = |topic: &String| (topic.clone(), partition);
                    found.extend(names.iter().map(committed));
                }
            }
            let found = found.iter().map(|(topic, partition)| Committed {
                topic,
                partition: partition.partition_index,
                offset: partition.committed_offset,
            });
            let found: Vec<_> = found.filter(|found| found.offset >= 0).collect();
            self.topics().polled_commits(vcluster, name, &found, poll);
        }
        Ok(())
    }

    /// What clients of a virtual cluster call a topic: all the names that they have used, else the first.
    fn names_of(&self, vcluster: &str, physical: &str) -> Vec<String> {
        let all: Vec<String> = match self.naming(vcluster) {
            Naming::Same => vec![physical.to_owned()],
            Naming::Of(tenant) => tenant.logical_topics(physical).map(str::to_owned).collect(),
            Naming::Gone => Vec::new(),
        };
        let used: HashSet<&String> = all
            .iter()
            .filter(|name| self.topics().known(vcluster, name).is_some())
            .collect();
        match used.is_empty() {
            true => all.into_iter().take(1).collect(),
            false => used.into_iter().cloned().collect(),
        }
    }

    fn forget(&self, topic: &Topic) {
        self.topics().topic_deleted(topic.vcluster(), topic.name());
    }
}

fn node(host: &StrBytes, port: i32) -> Result<Node, TransportError> {
    Ok(Node::At {
        host: host.as_str().into(),
        port: u16::try_from(port).map_err(TransportError::malformed)?,
    })
}
