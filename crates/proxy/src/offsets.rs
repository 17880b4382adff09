//! Asks Kafka for the offsets that no client tells of: of topics that are written to behind the gateway, of commits in transactions, and of
//! groups that nobody has asked about since the gateway was started.
//!
//! Every broker lists the groups that it coordinates. Each is shown in the virtual cluster that it belongs to and nowhere else; where there are more than
//! have series, virtual clusters take turns. Topics are those that clients have used and that groups have read. All are asked for page by
//! page, one request after the other, over the gateway's own connections. What cannot be had is left for the next time.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use config::SecurityMode;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use kafka_protocol::messages::{
    BrokerId, FindCoordinatorRequest, ListGroupsRequest, ListGroupsResponse, ListOffsetsRequest,
    MetadataRequest, OffsetFetchRequest,
};
use kafka_protocol::protocol::StrBytes;
use state::{Node, TransportError, ask};
use telemetry::metrics::{Committed, Topic, Topics};
use telemetry::targets::{METRICS, UPSTREAM};
use tenancy::{PASSTHROUGH, Tenant};
use tokio::time::{MissedTickBehavior, interval, sleep};
use wire::error_code::{
    CLUSTER_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED, NONE, UNKNOWN_TOPIC_OR_PARTITION,
};

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
/// Those that tell what the asker may do with the cluster.
const RIGHTS: (i16, i16) = (8, 10);
const LIST_GROUPS: (i16, i16) = (0, 5);
const LIST_OFFSETS: (i16, i16) = (1, 7);
const FIND_COORDINATOR: (i16, i16) = (4, 6);
const OFFSET_FETCH: (i16, i16) = (8, 9);

/// In place of a time: the end of the log.
const LATEST: i64 = -1;

/// The bit of Describe among the operations that are allowed, and what stands there if they are not known.
const DESCRIBE: i32 = 1 << 8;
const NOT_KNOWN: i32 = i32::MIN;

/// The type of groups that commit no offsets.
const SHARE: &str = "share";

/// Works out lag every few seconds. Never returns.
pub(crate) async fn keep_time(topics: Arc<Topics>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        topics.tick(Instant::now());
    }
}

/// Asks at once, again soon until some broker has listed its groups, and every `period` from then on. Never returns.
pub(crate) async fn keep_asking(client: Client, security: Arc<Security>, period: Duration) {
    let poller = Poller {
        client,
        security,
        may_list: Cell::new(true),
    };
    let mut pause = TICK.min(period);
    loop {
        if poller.poll().await {
            pause = period;
        }
        sleep(pause).await;
    }
}

struct Poller {
    client: Client,
    security: Arc<Security>,
    /// Nothing is known to the contrary.
    may_list: Cell<bool>,
}

/// A group that a broker has listed.
struct Listed {
    coordinator: Node,
    physical: String,
    logical: Arc<str>,
}

/// Groups by the names they have in Kafka, with all that they are called by clients.
type Wanted = HashMap<String, Vec<Whose>>;

struct Whose {
    vcluster: Arc<str>,
    group: Arc<str>,
    /// It belongs to this virtual cluster, says Kafka.
    is_listed: bool,
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
    /// Whether groups have been listed, as far as that is possible. Topics come last, as groups tell of some.
    async fn poll(&self) -> bool {
        let poll = self.topics().begin_poll();
        let listed = self.listed().await;
        if let Err(error) = &listed {
            tracing::debug!(target: METRICS, %error, "no broker has listed its groups");
        }
        let is_listed = matches!(listed, Ok(_) | Err(TransportError::Unsupported { .. }));
        if let Err(error) = self.commits(listed.unwrap_or_default(), poll).await {
            tracing::debug!(target: METRICS, %error, "the offsets of groups were not asked for");
        }
        if let Err(error) = self.ends(poll).await {
            tracing::debug!(target: METRICS, %error, "the ends of topics were not asked for");
        }
        is_listed
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

    /// The groups that brokers coordinate and that are to be shown, by virtual cluster. An error if no broker tells.
    async fn listed(&self) -> Result<BTreeMap<Arc<str>, Vec<Listed>>, TransportError> {
        let request = MetadataRequest::default()
            .with_topics(Some(Vec::new()))
            .with_allow_auto_topic_creation(false)
            .with_include_cluster_authorized_operations(true);
        let answer = ask(&self.client, Node::Bootstrap, RIGHTS, |_| request).await?;
        let rights = answer.cluster_authorized_operations;
        let mut may_list = rights == NOT_KNOWN || rights & DESCRIBE != 0;
        let mut listed = BTreeMap::new();
        let mut outcome = Err(TransportError::unreachable("there is no broker"));
        for broker in &answer.brokers {
            let node = node(&broker.host, broker.port)?;
            let request = ListGroupsRequest::default();
            match ask(&self.client, node.clone(), LIST_GROUPS, |_| request).await {
                Ok(groups) => {
                    may_list &= groups.error_code != CLUSTER_AUTHORIZATION_FAILED;
                    self.sort_out(&node, &groups, &mut listed);
                    outcome = Ok(());
                }
                Err(error) => {
                    tracing::debug!(target: METRICS, broker = *broker.node_id, %error, "a broker did not list its groups");
                    if outcome.is_err() {
                        outcome = Err(error);
                    }
                }
            }
        }
        self.note_rights(may_list);
        outcome.map(|()| listed)
    }

    /// Finds out whose the groups are that a broker has listed.
    fn sort_out(
        &self,
        coordinator: &Node,
        groups: &ListGroupsResponse,
        listed: &mut BTreeMap<Arc<str>, Vec<Listed>>,
    ) {
        let tenants = self.security.tenants.load();
        let maps = self.security.mode == SecurityMode::GatewayManaged;
        for group in groups.groups.iter().filter(|g| *g.group_type != *SHARE) {
            let physical = group.group_id.as_str();
            let whose = match maps {
                true => tenants
                    .whose(physical)
                    .map(|(tenant, logical)| (&**tenant.name(), logical)),
                false => Some((PASSTHROUGH, physical)),
            };
            let Some((vcluster, logical)) = whose else {
                continue;
            };
            if self.security.own_names.contains(physical) || !self.topics().shows_group(logical) {
                continue;
            }
            listed.entry(vcluster.into()).or_default().push(Listed {
                coordinator: coordinator.clone(),
                physical: physical.to_owned(),
                logical: logical.into(),
            });
        }
    }

    /// Kafka leaves out of its lists what the asker may not describe, and says nothing. So it is said here, once.
    fn note_rights(&self, may_list: bool) {
        if !may_list && self.may_list.replace(false) {
            tracing::warn!(
                target: UPSTREAM,
                "the gateway's account may not describe all groups: lag is shown only of those that it may; Describe on the cluster lists them, Describe on groups and topics tells of their offsets"
            );
        }
    }

    async fn commits(
        &self,
        listed: BTreeMap<Arc<str>, Vec<Listed>>,
        poll: u64,
    ) -> Result<(), TransportError> {
        // By the names they have in Kafka: a prefix never makes two groups one.
        let mut wanted = Wanted::new();
        let mut coordinators: HashMap<Node, Vec<String>> = HashMap::new();
        for (vcluster, listed) in in_turns(listed, self.topics()) {
            let of_node = coordinators.entry(listed.coordinator).or_default();
            of_node.push(listed.physical.clone());
            wanted.entry(listed.physical).or_default().push(Whose {
                vcluster,
                group: listed.logical,
                is_listed: true,
            });
        }
        let mut not_listed = Vec::new();
        for (vcluster, group) in self.topics().polled_groups() {
            let name = match self.naming(&vcluster) {
                Naming::Same => group.to_string(),
                Naming::Of(tenant) => tenant.physical(&group).as_str().to_owned(),
                Naming::Gone => {
                    self.topics().group_deleted(&vcluster, &group);
                    continue;
                }
            };
            let known = wanted.entry(name.clone()).or_default();
            if known.is_empty() {
                not_listed.push(name);
            }
            if known
                .iter()
                .all(|w| w.vcluster != vcluster || w.group != group)
            {
                known.push(Whose {
                    vcluster,
                    group,
                    is_listed: false,
                });
            }
        }
        for names in not_listed.chunks(TOPICS) {
            let keys = names.iter().map(|name| StrBytes::from_string(name.clone()));
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
        wanted: &Wanted,
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
            if group.error_code == GROUP_AUTHORIZATION_FAILED {
                self.note_rights(false);
            }
            let mut partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
            let failed = partitions.any(|partition| partition.error_code != NONE);
            if failed || group.error_code != NONE {
                continue;
            }
            for whose in wanted.get(group.group_id.as_str()).into_iter().flatten() {
                self.note(whose, group, poll);
            }
        }
        Ok(())
    }

    /// Tells what a group has committed.
    fn note(&self, whose: &Whose, group: &OffsetFetchResponseGroup, poll: u64) {
        let Whose {
            vcluster,
            group: name,
            is_listed,
        } = whose;
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
        if *is_listed {
            self.topics().group_is_there(vcluster, name, Instant::now());
        }
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

/// As many as have a place, the first of each virtual cluster, then the second of each, and so on: one with very many leaves places for others.
fn in_turns(listed: BTreeMap<Arc<str>, Vec<Listed>>, topics: &Topics) -> Vec<(Arc<str>, Listed)> {
    let mut all: Vec<(usize, Arc<str>, Listed)> = Vec::new();
    for (vcluster, listed) in listed {
        let turns = listed.into_iter().enumerate();
        all.extend(turns.map(|(turn, listed)| (turn, vcluster.clone(), listed)));
    }
    all.sort_by_key(|(turn, ..)| *turn);
    if all.len() > topics.max_groups() {
        topics.groups_left_out();
        all.truncate(topics.max_groups());
    }
    let all = all.into_iter();
    all.map(|(_, vcluster, listed)| (vcluster, listed))
        .collect()
}

fn node(host: &StrBytes, port: i32) -> Result<Node, TransportError> {
    Ok(Node::At {
        host: host.as_str().into(),
        port: u16::try_from(port).map_err(TransportError::malformed)?,
    })
}

#[cfg(test)]
mod tests {
    use telemetry::metrics::{Metrics, MetricsSettings, TopicSettings};

    use super::*;

    #[test]
    fn a_virtual_cluster_with_very_many_groups_leaves_places_for_others() {
        let settings = MetricsSettings {
            topics: TopicSettings {
                max_offset_series: 6,
                ..TopicSettings::default()
            },
            ..MetricsSettings::default()
        };
        let metrics = Metrics::new(&settings);
        let listed = |vcluster: &str, count: usize| {
            let groups = (0..count).map(|n| Listed {
                coordinator: Node::Bootstrap,
                physical: format!("{vcluster}{n}"),
                logical: n.to_string().into(),
            });
            (Arc::from(vcluster), groups.collect())
        };
        let all = BTreeMap::from([listed("a", 1000), listed("b", 2), listed("c", 1)]);
        let taken = in_turns(all, metrics.topics());
        let names: Vec<_> = taken.iter().map(|(_, of)| of.physical.as_str()).collect();
        assert_eq!(names, ["a0", "b0", "c0", "a1", "b1", "a2"]);
    }
}
