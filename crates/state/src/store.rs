//! The public face: open, read, change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use telemetry::targets::STATE;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::account::ServiceAccount;
use crate::acl::AclBinding;
use crate::error::{Conflict, OpenError, StoreError, WriteError};
use crate::follow::{Follower, STALE_AFTER};
use crate::kafka::Kafka;
use crate::load::{LoadError, Loaded, load};
use crate::prepare::prepare;
use crate::resource::Resource;
use crate::shared::Shared;
use crate::snapshot::Snapshot;
use crate::topic::StoreTopic;
use crate::transport::Transport;
use crate::write::{Changes, Writer};

/// How the store is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// `GATEWAY_CLUSTER_ID`. Writers with the same id fence each other, over all nodes.
    pub cluster_id: String,
    /// Name of this node, put into a header of every record for diagnosis.
    pub node: String,
    /// Names of the topics; [`StoreTopic::default_name`] for those left out.
    pub topics: BTreeMap<StoreTopic, String>,
    /// `GATEWAY_TOPIC_STORE_KCACHE_REPLICATION_FACTOR`: of topics that are created; -1: the brokers' default.
    pub replication_factor: i16,
    /// `GATEWAY_STORE_TTL_MS`: how often everything is read anew.
    pub ttl: Duration,
    /// How long to try to read the topics at start.
    pub start_limit: Duration,
    /// How long a change may take.
    pub write_limit: Duration,
}

impl Options {
    /// The defaults of the configuration reference.
    pub fn new(cluster_id: impl Into<String>, node: impl Into<String>) -> Options {
        Options {
            cluster_id: cluster_id.into(),
            node: node.into(),
            topics: BTreeMap::new(),
            replication_factor: -1,
            ttl: Duration::from_secs(7 * 24 * 3600),
            start_limit: Duration::from_secs(30),
            write_limit: Duration::from_secs(10),
        }
    }
}

/// How much what is in memory can be trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is what Kafka has, but for the last moment.
    Current,
    /// Kafka has not been read for this long. Other nodes' changes may be missing.
    Stale(Duration),
    /// A topic was deleted or cut off; what was read before stays in force, and nothing is written.
    Broken {
        /// Which topic.
        topic: StoreTopic,
        /// What was found.
        reason: String,
    },
}

/// What became of a resource that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upsert {
    /// It was not there before.
    Created,
    /// It was there and is different now.
    Updated,
    /// It was there like this.
    NotChanged,
}

/// The resources of a gateway cluster. A handle: clones share everything; when the last is gone, following ends.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    writer: Arc<Writer>,
}

impl Store {
    /// Creates topics that are missing, checks them, reads them to their ends, and follows them from then on in a task
    /// of the current runtime.
    ///
    /// # Errors
    /// See [`OpenError`]; the process should end.
    pub async fn open(transport: Arc<dyn Transport>, options: Options) -> Result<Store, OpenError> {
        let begun = Instant::now();
        let deadline = begun + options.start_limit;
        let names = StoreTopic::ALL
            .into_iter()
            .map(|topic| {
                let set = options.topics.get(&topic).cloned();
                let name = set.unwrap_or_else(|| topic.default_name(&options.cluster_id));
                (topic, name)
            })
            .collect();
        let transactional_id = format!("_conduktor_{}_store", options.cluster_id);
        let kafka = Arc::new(Kafka::new(transport, names, transactional_id));
        prepare(&kafka, options.replication_factor, deadline).await?;
        let Loaded {
            mirror,
            starts,
            next,
        } = load(&kafka, None, deadline)
            .await
            .map_err(|error| unreadable(&kafka, error))?;
        let shared = Arc::new(Shared::new(mirror, next));
        tokio::spawn(Follower::new(kafka.clone(), &shared, starts, options.ttl).run());
        let store = Store {
            writer: Arc::new(Writer {
                kafka,
                shared: shared.clone(),
                node: options.node.into(),
                limit: options.write_limit,
                turn: Arc::new(Mutex::new(())),
            }),
            shared,
        };
        for (topic, size) in store.sizes() {
            tracing::info!(target: STATE, %topic, size, "state topic read");
        }
        tracing::info!(target: STATE, elapsed = ?begun.elapsed(), "state is ready");
        Ok(store)
    }

    /// The resources now. A request should use one snapshot from start to end.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot()
    }

    /// Counts changes of the snapshot; the new one is there when the count changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// How much the snapshot can be trusted.
    pub fn status(&self) -> Status {
        if let Some(breakage) = self.shared.broken() {
            return Status::Broken {
                topic: breakage.topic,
                reason: breakage.reason,
            };
        }
        match self.shared.age() {
            age if age > STALE_AFTER => Status::Stale(age),
            _ => Status::Current,
        }
    }

    /// Whether this topic was deleted or cut off (`gateway_state_store_broken`); see [`Status::Broken`].
    pub fn is_broken(&self, topic: StoreTopic) -> bool {
        self.shared.is_broken(topic)
    }

    /// How long ago Kafka was last read, whatever the status; below a second while all is well.
    pub fn age(&self) -> Duration {
        self.shared.age()
    }

    /// Key-value pairs per topic, those included that this release cannot read (`gateway_kcache_size`).
    pub fn sizes(&self) -> Vec<(StoreTopic, usize)> {
        StoreTopic::ALL
            .into_iter()
            .map(|topic| (topic, self.shared.size(topic)))
            .collect()
    }

    /// By topic: records that are there and have not been taken in (`gateway_state_store_lag`), and how long ago it was last read
    /// (`gateway_state_store_last_update_seconds`).
    pub fn lags(&self) -> Vec<(StoreTopic, i64, Duration)> {
        let lag = |topic| {
            let (lag, age) = self.shared.lag(topic);
            (topic, lag, age)
        };
        StoreTopic::ALL.into_iter().map(lag).collect()
    }

    /// Differences that full refreshes have found since the start; there should be none.
    pub fn refresh_differences(&self) -> u64 {
        self.shared.differences()
    }

    /// Waits until everything is in the snapshot that any node had written before the call. False: it took longer than
    /// `limit`, or Kafka is not reached; the snapshot may lack something.
    pub async fn refresh(&self, limit: Duration) -> bool {
        let barrier = self.writer.barrier(Instant::now() + limit);
        barrier.await.is_ok() && self.shared.broken().is_none()
    }

    /// Makes a change that no other node's change can come between. `decide` sees all that any node has written before
    /// and says what to write, all of it or nothing; it may be called several times. When this returns `Ok`, the change
    /// is in [`Store::snapshot`]. Dropping the future leaves nothing half done; the change may be made all the same.
    ///
    /// # Errors
    /// [`WriteError::Refused`] with what `decide` said, else [`WriteError::Store`].
    pub async fn write<T, E>(
        &self,
        decide: impl FnMut(&Snapshot, &mut Changes) -> Result<T, E>,
    ) -> Result<T, WriteError<E>> {
        self.writer.write(decide).await
    }

    /// Creates or changes an account.
    ///
    /// # Errors
    /// [`Conflict::ExternalName`] if another account, of any virtual cluster, has one of its external names.
    pub async fn put_account(
        &self,
        account: ServiceAccount,
    ) -> Result<Upsert, WriteError<Conflict>> {
        self.write(|snapshot, changes| {
            for external_name in account.external_names() {
                let owner = snapshot.accounts.iter().find(|other| {
                    other.name() != account.name() && other.external_names().contains(external_name)
                });
                if let Some(owner) = owner {
                    return Err(Conflict::ExternalName {
                        external_name: external_name.clone(),
                        vcluster: owner.vcluster.clone(),
                        name: owner.name.clone(),
                    });
                }
            }
            let now = snapshot.account(&account.vcluster, &account.name);
            let upsert = compare(now.map(Arc::as_ref), &account);
            if upsert != Upsert::NotChanged {
                changes.put(&account);
            }
            Ok(upsert)
        })
        .await
    }

    /// Deletes an account. False: there was none.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn delete_account(&self, vcluster: &str, name: &str) -> Result<bool, StoreError> {
        self.change(|snapshot, changes| {
            let account = snapshot.account(vcluster, name);
            if let Some(account) = account {
                changes.delete(account.as_ref());
            }
            account.is_some()
        })
        .await
    }

    /// Adds bindings; returns how many of them were not there before.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn acls_add(&self, bindings: Vec<AclBinding>) -> Result<usize, StoreError> {
        let wanted: BTreeSet<AclBinding> = bindings.into_iter().collect();
        self.change(|snapshot, changes| {
            let there: BTreeSet<&AclBinding> = snapshot.acls.iter().map(Arc::as_ref).collect();
            let new = wanted.iter().filter(|binding| !there.contains(binding));
            new.map(|binding| changes.put(binding)).count()
        })
        .await
    }

    /// Removes the bindings that `matches` accepts; returns them.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn acls_remove(
        &self,
        matches: impl Fn(&AclBinding) -> bool,
    ) -> Result<Vec<Arc<AclBinding>>, StoreError> {
        self.change(|snapshot, changes| {
            let gone: Vec<_> = snapshot
                .acls
                .iter()
                .filter(|b| matches(b))
                .cloned()
                .collect();
            gone.iter()
                .for_each(|binding| changes.delete(binding.as_ref()));
            gone
        })
        .await
    }

    /// Puts `bindings` in the place of all bindings of a virtual cluster. Bindings of other virtual clusters among them
    /// are left out.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn acls_replace(
        &self,
        vcluster: &str,
        bindings: Vec<AclBinding>,
    ) -> Result<Upsert, StoreError> {
        let wanted: BTreeSet<AclBinding> = bindings
            .into_iter()
            .filter(|binding| binding.vcluster == vcluster)
            .collect();
        self.change(|snapshot, changes| {
            let there: BTreeSet<&AclBinding> = snapshot
                .acls
                .iter()
                .map(Arc::as_ref)
                .filter(|binding| binding.vcluster == vcluster)
                .collect();
            let mut changed = false;
            for gone in there.iter().filter(|binding| !wanted.contains(**binding)) {
                changes.delete(*gone);
                changed = true;
            }
            for new in wanted.iter().filter(|binding| !there.contains(binding)) {
                changes.put(new);
                changed = true;
            }
            match (changed, there.is_empty()) {
                (false, _) => Upsert::NotChanged,
                (true, true) => Upsert::Created,
                (true, false) => Upsert::Updated,
            }
        })
        .await
    }

    /// [`Store::write`] of something that always can be done.
    async fn change<T>(
        &self,
        mut decide: impl FnMut(&Snapshot, &mut Changes) -> T,
    ) -> Result<T, StoreError> {
        let decided = |snapshot: &Snapshot, changes: &mut Changes| {
            Ok::<T, std::convert::Infallible>(decide(snapshot, changes))
        };
        match self.write(decided).await {
            Ok(value) => Ok(value),
            Err(WriteError::Store(error)) => Err(error),
            Err(WriteError::Refused(never)) => match never {},
        }
    }
}

fn compare<R: Resource>(now: Option<&R>, wanted: &R) -> Upsert {
    match now {
        None => Upsert::Created,
        Some(now) if now == wanted => Upsert::NotChanged,
        Some(_) => Upsert::Updated,
    }
}

fn unreadable(kafka: &Kafka, error: LoadError) -> OpenError {
    match error {
        LoadError::Failure(failure) => OpenError::Unavailable {
            reason: failure.to_string(),
        },
        LoadError::Unreadable { place, error } => OpenError::Unreadable {
            topic: place.0,
            name: kafka.name(place.0).to_owned(),
            reason: error.to_string(),
        },
    }
}
