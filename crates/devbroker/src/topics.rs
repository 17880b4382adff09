//! Topics by name and id, their partitions and who leads them.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Arc, Mutex, RwLock};

use kafka_protocol::ResponseError;
use uuid::Uuid;

use crate::configs::{Overrides, TopicSettings};
use crate::log::PartitionLog;
use crate::memory::Budget;
use crate::sync::{lock, read, write};

/// Partitions in the whole cluster.
pub(crate) const MAX_PARTITIONS: usize = 20_000;
/// What a partition costs before its first record.
const PARTITION_COST: usize = 1_024;

/// All topics of a cluster.
#[derive(Debug)]
pub(crate) struct Topics {
    map: RwLock<Map>,
    budget: Arc<Budget>,
}

#[derive(Debug, Default)]
struct Map {
    by_name: BTreeMap<String, Arc<Topic>>,
    by_id: HashMap<Uuid, Arc<Topic>>,
    partitions: usize,
    /// Which broker leads the first partition of the next topic.
    turn: usize,
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    partitions: RwLock<Vec<Arc<Partition>>>,
    config: RwLock<Config>,
}

#[derive(Debug)]
struct Config {
    overrides: Overrides,
    settings: Arc<TopicSettings>,
}

#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) index: i32,
    state: Mutex<PartitionState>,
}

/// What one lock guards: who leads, and the log.
#[derive(Debug)]
pub(crate) struct PartitionState {
    /// -1 while no replica is up.
    pub(crate) leader: i32,
    pub(crate) leader_epoch: i32,
    pub(crate) replicas: Vec<i32>,
    pub(crate) log: PartitionLog,
    /// Set when the topic is deleted: whoever still holds the partition must not use it.
    pub(crate) gone: bool,
}

/// How a new topic's partitions are laid out.
#[derive(Clone, Debug)]
pub(crate) enum Layout {
    /// Round robin over the brokers.
    Spread {
        partitions: i32,
        replication_factor: i16,
    },
    /// Replicas per partition, the preferred leader first.
    Assigned(Vec<Vec<i32>>),
}

impl Topics {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Topics {
            map: RwLock::default(),
            budget,
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<Arc<Topic>> {
        read(&self.map).by_name.get(name).cloned()
    }

    pub(crate) fn get_by_id(&self, id: Uuid) -> Option<Arc<Topic>> {
        read(&self.map).by_id.get(&id).cloned()
    }

    /// All topics in the order of their names.
    pub(crate) fn all(&self) -> Vec<Arc<Topic>> {
        read(&self.map).by_name.values().cloned().collect()
    }

    pub(crate) fn partition(&self, name: &str, index: i32) -> Option<Arc<Partition>> {
        self.get(name)?.partition(index)
    }

    /// Creates a topic; `live` are the brokers that are up. A dry run only checks.
    pub(crate) fn create(
        &self,
        name: &str,
        layout: &Layout,
        overrides: Overrides,
        live: &[i32],
        dry_run: bool,
    ) -> Result<Arc<Topic>, ResponseError> {
        check_name(name)?;
        let mut map = write(&self.map);
        if map.by_name.contains_key(name) {
            return Err(ResponseError::TopicAlreadyExists);
        }
        let replicas = map.lay_out(layout, live)?;
        let topic = Arc::new(Topic {
            name: name.to_owned(),
            id: topic_id(),
            partitions: RwLock::default(),
            config: RwLock::new(Config {
                settings: Arc::new(TopicSettings::new(&overrides)),
                overrides,
            }),
        });
        let count = replicas.len();
        topic.extend(replicas, live, &self.budget)?;
        if !dry_run {
            map.partitions += count;
            map.turn = map.turn.wrapping_add(1);
            map.by_name.insert(topic.name.clone(), topic.clone());
            map.by_id.insert(topic.id, topic.clone());
        }
        Ok(topic)
    }

    /// Adds partitions until there are as many as the layout says.
    pub(crate) fn grow(
        &self,
        topic: &Topic,
        total: i32,
        assigned: Option<Vec<Vec<i32>>>,
        live: &[i32],
        dry_run: bool,
    ) -> Result<(), ResponseError> {
        let mut map = write(&self.map);
        let now = topic.partition_count();
        let added = usize::try_from(total)
            .ok()
            .and_then(|n| n.checked_sub(now))
            .filter(|n| *n > 0);
        let added = added.ok_or(ResponseError::InvalidPartitions)?;
        let layout = match assigned {
            Some(replicas) if replicas.len() == added => Layout::Assigned(replicas),
            Some(_) => return Err(ResponseError::InvalidReplicaAssignment),
            None => {
                let factor = topic.partition(0).map_or(1, |p| p.state().replicas.len());
                Layout::Spread {
                    partitions: added as i32,
                    replication_factor: factor as i16,
                }
            }
        };
        let replicas = map.lay_out(&layout, live)?;
        if !dry_run {
            topic.extend(replicas, live, &self.budget)?;
            map.partitions += added;
        }
        Ok(())
    }

    pub(crate) fn delete(&self, topic: &Arc<Topic>) -> Result<(), ResponseError> {
        let mut map = write(&self.map);
        map.by_id
            .remove(&topic.id)
            .ok_or(ResponseError::UnknownTopicOrPartition)?;
        map.by_name.remove(&topic.name);
        let partitions = topic.partitions();
        map.partitions -= partitions.len();
        drop(map);
        for partition in partitions {
            let mut state = partition.state();
            state.gone = true;
            state.log.wake();
        }
        Ok(())
    }
}

impl Map {
    fn lay_out(&self, layout: &Layout, live: &[i32]) -> Result<Vec<Vec<i32>>, ResponseError> {
        let replicas = match layout {
            Layout::Spread {
                partitions,
                replication_factor,
            } => {
                let count = usize::try_from(*partitions)
                    .ok()
                    .filter(|n| *n > 0)
                    .ok_or(ResponseError::InvalidPartitions)?;
                let factor = usize::try_from(*replication_factor)
                    .ok()
                    .filter(|f| (1..=live.len()).contains(f));
                let factor = factor.ok_or(ResponseError::InvalidReplicationFactor)?;
                if count > MAX_PARTITIONS {
                    return Err(ResponseError::PolicyViolation);
                }
                let broker = |n: usize| live[self.turn.wrapping_add(n) % live.len()];
                (0..count)
                    .map(|p| (0..factor).map(|r| broker(p + r)).collect())
                    .collect()
            }
            Layout::Assigned(replicas) => {
                let known = |r: &Vec<i32>| {
                    !r.is_empty() && r.iter().all(|b| live.contains(b)) && !has_twins(r)
                };
                if replicas.is_empty() || !replicas.iter().all(known) {
                    return Err(ResponseError::InvalidReplicaAssignment);
                }
                replicas.clone()
            }
        };
        if self.partitions + replicas.len() > MAX_PARTITIONS {
            return Err(ResponseError::PolicyViolation);
        }
        Ok(replicas)
    }
}

fn has_twins(brokers: &[i32]) -> bool {
    brokers
        .iter()
        .enumerate()
        .any(|(i, b)| brokers[..i].contains(b))
}

impl Topic {
    pub(crate) fn partition(&self, index: i32) -> Option<Arc<Partition>> {
        read(&self.partitions)
            .get(usize::try_from(index).ok()?)
            .cloned()
    }

    pub(crate) fn partitions(&self) -> Vec<Arc<Partition>> {
        read(&self.partitions).clone()
    }

    pub(crate) fn partition_count(&self) -> usize {
        read(&self.partitions).len()
    }

    pub(crate) fn settings(&self) -> Arc<TopicSettings> {
        read(&self.config).settings.clone()
    }

    pub(crate) fn overrides(&self) -> Overrides {
        read(&self.config).overrides.clone()
    }

    pub(crate) fn set_overrides(&self, overrides: Overrides) {
        let settings = Arc::new(TopicSettings::new(&overrides));
        *write(&self.config) = Config {
            overrides,
            settings,
        };
    }

    fn extend(
        &self,
        replicas: Vec<Vec<i32>>,
        live: &[i32],
        budget: &Arc<Budget>,
    ) -> Result<(), ResponseError> {
        let mut partitions = write(&self.partitions);
        let first = partitions.len();
        let mut added = Vec::with_capacity(replicas.len());
        for (i, replicas) in replicas.into_iter().enumerate() {
            let charge = budget.charge(PARTITION_COST + 4 * replicas.len());
            let mut log = PartitionLog::new(charge.ok_or(ResponseError::PolicyViolation)?);
            log.begin_epoch(0);
            let leader = replicas
                .iter()
                .copied()
                .find(|r| live.contains(r))
                .unwrap_or(-1);
            let state = PartitionState {
                leader,
                leader_epoch: 0,
                replicas,
                log,
                gone: false,
            };
            added.push(Arc::new(Partition {
                index: (first + i) as i32,
                state: Mutex::new(state),
            }));
        }
        partitions.extend(added);
        Ok(())
    }
}

impl Partition {
    pub(crate) fn state(&self) -> std::sync::MutexGuard<'_, PartitionState> {
        lock(&self.state)
    }
}

impl PartitionState {
    /// An error unless `node` leads this partition, in the epoch the client believes in (-1: any).
    pub(crate) fn check_leader(&self, node: i32, epoch: i32) -> Result<(), ResponseError> {
        if self.gone {
            return Err(ResponseError::UnknownTopicOrPartition);
        }
        if self.leader != node {
            return Err(ResponseError::NotLeaderOrFollower);
        }
        match epoch {
            e if e < 0 || e == self.leader_epoch => Ok(()),
            e if e < self.leader_epoch => Err(ResponseError::FencedLeaderEpoch),
            _ => Err(ResponseError::UnknownLeaderEpoch),
        }
    }

    /// Makes `leader` (-1: nobody) lead from a new epoch on.
    pub(crate) fn elect(&mut self, leader: i32) {
        self.leader = leader;
        self.leader_epoch += 1;
        let epoch = self.leader_epoch;
        self.log.begin_epoch(epoch);
        self.log.wake();
    }
}

/// Kafka's rule for topic names.
pub(crate) fn check_name(name: &str) -> Result<(), ResponseError> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let length = (1..=249).contains(&name.len());
    if length && name != "." && name != ".." && name.chars().all(legal) {
        Ok(())
    } else {
        Err(ResponseError::InvalidTopicException)
    }
}

/// A random 64-bit number; the standard library seeds each `RandomState` differently.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// A random id whose text form does not begin with a dash, as command line tools would take it for an option.
fn topic_id() -> Uuid {
    loop {
        let id = uuid::Builder::from_random_bytes(
            (u128::from(random()) << 64 | u128::from(random())).to_be_bytes(),
        );
        let id = id.into_uuid();
        if id.as_bytes()[0] >> 2 != 62 {
            return id;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(check_name("a.b_c-9").is_ok());
        for bad in ["", ".", "..", "a b", "a/b", "é", &"x".repeat(250)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn leaders_are_spread_and_assignments_checked() {
        let topics = Topics::new(Budget::new(1 << 20));
        let spread = Layout::Spread {
            partitions: 6,
            replication_factor: 2,
        };
        let topic = topics
            .create("t", &spread, Overrides::new(), &[1, 2, 3], false)
            .expect("created");
        let leaders: Vec<i32> = topic
            .partitions()
            .iter()
            .map(|p| p.state().leader)
            .collect();
        assert_eq!(leaders, [1, 2, 3, 1, 2, 3]);
        assert_eq!(
            topics
                .create("t", &spread, Overrides::new(), &[1, 2, 3], false)
                .err(),
            Some(ResponseError::TopicAlreadyExists)
        );
        let four = Layout::Spread {
            partitions: 1,
            replication_factor: 4,
        };
        assert_eq!(
            topics
                .create("u", &four, Overrides::new(), &[1, 2, 3], false)
                .err(),
            Some(ResponseError::InvalidReplicationFactor)
        );
        for bad in [vec![], vec![vec![1, 1]], vec![vec![9]]] {
            let made = topics.create(
                "u",
                &Layout::Assigned(bad),
                Overrides::new(),
                &[1, 2, 3],
                false,
            );
            assert_eq!(made.err(), Some(ResponseError::InvalidReplicaAssignment));
        }
        topics
            .grow(&topic, 8, None, &[1, 2, 3], false)
            .expect("grown");
        assert_eq!(topic.partition_count(), 8);
        topics.delete(&topic).expect("deleted");
        assert!(topics.get("t").is_none() && topics.get_by_id(topic.id).is_none());
    }

    #[test]
    fn a_new_leader_fences_the_old_epoch() {
        let topics = Topics::new(Budget::new(1 << 20));
        let spread = Layout::Spread {
            partitions: 1,
            replication_factor: 1,
        };
        let topic = topics
            .create("t", &spread, Overrides::new(), &[1, 2], false)
            .expect("created");
        let partition = topic.partition(0).expect("exists");
        let mut state = partition.state();
        state.elect(2);
        assert_eq!(
            state.check_leader(1, 0),
            Err(ResponseError::NotLeaderOrFollower)
        );
        assert_eq!(
            state.check_leader(2, 0),
            Err(ResponseError::FencedLeaderEpoch)
        );
        assert_eq!(
            state.check_leader(2, 2),
            Err(ResponseError::UnknownLeaderEpoch)
        );
        assert_eq!(state.check_leader(2, 1), Ok(()));
    }
}
