//! The resources in Kafka: opened before clients are served, turned into what the data plane reads, changed by the admin
//! port and by clients.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use admin::{
    ApiError, Asked, Change, Decide, NOTHING_KEPT, PhysicalCluster, PhysicalName, Resources,
};
use arc_swap::ArcSwap;
use auth::accounts::{Account, AccountKind, Accounts};
use auth::acl::{Acls, Binding, Operation, PatternType, Permission, ResourceType};
use authorization::AclChange;
use config::Config;
use proxy::{AclWrite, AclWriter, Client};
use state::{
    AclBinding, AclOperation, AclPattern, AclPermission, AclResource, Options, Snapshot, Store,
    StoreTopic, WriteError,
};
use telemetry::metrics::Metrics;
use telemetry::targets::STATE;
use tenancy::Tenants;
use tokio::sync::watch;

use crate::physical::Physical;
use crate::tenants::tenants_of;

/// Connections are told of revocations this far apart at least: all of them look then.
const BETWEEN_REVOCATIONS: Duration = Duration::from_millis(500);

/// Opens the store and reads it to the end.
///
/// # Errors
/// The topics cannot be used; the process should end.
pub(crate) async fn open(config: &Config, client: Client) -> Result<Opened, state::OpenError> {
    let topics = &config.state;
    let node = format!("{}-{}", config.cluster_id, std::process::id());
    let mut options = Options::new(&config.cluster_id, node);
    options.topics = [
        (StoreTopic::UserMappings, topics.accounts.clone()),
        (StoreTopic::Acls, topics.acls.clone()),
        (StoreTopic::Vclusters, topics.vclusters.clone()),
        (StoreTopic::TopicMappings, topics.topic_mappings.clone()),
        (StoreTopic::Groups, topics.groups.clone()),
        (
            StoreTopic::InterceptorConfigs,
            topics.interceptor_configs.clone(),
        ),
    ]
    .into();
    options.replication_factor = topics.replication_factor;
    options.ttl = topics.refresh_interval;
    options.start_limit = config.startup_kafka_timeout;
    let physical = Physical::new(client.clone());
    let store = Store::open(Arc::new(client), options).await?;
    Ok(Opened { store, physical })
}

/// The store, and the cluster that it is kept in.
pub(crate) struct Opened {
    store: Store,
    physical: Arc<Physical>,
}

/// The store, and what the data plane reads of it. Whoever changes the store through this finds the change in force when it
/// is done.
#[derive(Clone)]
pub(crate) struct InForce {
    store: Store,
    physical: Arc<Physical>,
    accounts: Arc<ArcSwap<Accounts>>,
    acls: Arc<ArcSwap<Acls>>,
    tenants: Arc<ArcSwap<Tenants>>,
    /// What is in force.
    last: Arc<Mutex<Arc<Snapshot>>>,
    /// Counts changes by which somebody may have lost the right to be there.
    revoked: watch::Sender<u64>,
    metrics: Metrics,
}

impl InForce {
    /// What is in the store now is in force when this returns.
    pub(crate) fn new(
        Opened { store, physical }: Opened,
        accounts: Arc<ArcSwap<Accounts>>,
        acls: Arc<ArcSwap<Acls>>,
        tenants: Arc<ArcSwap<Tenants>>,
        metrics: Metrics,
    ) -> InForce {
        let last = store.snapshot();
        let sized = store.clone();
        metrics.before_scrapes(move |catalogue| {
            for (topic, entries) in sized.sizes() {
                let gauge = catalogue.store_entries.with([topic.suffix()]);
                gauge.set(entries as f64);
            }
            for (topic, lag, age) in sized.lags() {
                let labels = [topic.suffix()];
                catalogue.store_lag.with(labels).set(lag as f64);
                catalogue.store_age.with(labels).set(age.as_secs_f64());
                let broken = u8::from(sized.is_broken(topic));
                catalogue.store_broken.with(labels).set(broken.into());
            }
        });
        show_vclusters(&metrics, &last);
        tenants.store(Arc::new(tenants_of(&last)));
        accounts.store(Arc::new(accounts_of(&last)));
        acls.store(Arc::new(acls_of(&last)));
        InForce {
            store,
            physical,
            accounts,
            acls,
            tenants,
            last: Arc::new(Mutex::new(last)),
            revoked: watch::Sender::default(),
            metrics,
        }
    }

    /// Puts into force what others have changed; never ends.
    pub(crate) async fn follow(self) {
        let mut changes = self.store.changes();
        // One may have come before there was a receiver.
        self.catch_up();
        while changes.changed().await.is_ok() {
            self.catch_up();
        }
    }

    /// Has connections look whether their client may still be there; never ends. A change of many accounts is many changes, and all
    /// connections look at each time, so they are told of some together. Who sends a request is judged by what is in force anyway.
    pub(crate) async fn tell_of_revocations(self, connections: watch::Sender<u64>) {
        let mut revoked = self.revoked.subscribe();
        while revoked.changed().await.is_ok() {
            connections.send_modify(|count| *count += 1);
            tokio::time::sleep(BETWEEN_REVOCATIONS).await;
        }
    }

    fn catch_up(&self) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.store.snapshot();
        // Connections look at what has changed only. Virtual clusters come first: accounts name them.
        if now.virtual_clusters != last.virtual_clusters
            || now.retired != last.retired
            || now.aliases != last.aliases
        {
            let before = self.tenants.load();
            self.tenants
                .store(Arc::new(tenants_of(&now).keeping(&before)));
            show_vclusters(&self.metrics, &now);
        }
        if now.accounts != last.accounts || now.virtual_clusters != last.virtual_clusters {
            let accounts = accounts_of(&now);
            let revokes = accounts.revokes(&self.accounts.load());
            self.accounts.store(Arc::new(accounts));
            if revokes {
                self.revoked.send_modify(|count| *count += 1);
            }
        }
        if now.acls != last.acls || now.virtual_clusters != last.virtual_clusters {
            let before = self.acls.load();
            self.acls.store(Arc::new(acls_of(&now).keeping(&before)));
        }
        *last = now;
    }
}

impl Resources for InForce {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.store.snapshot()
    }

    fn write(&self, decide: Decide) -> Change {
        let state = self.clone();
        Box::pin(async move {
            let outcome = state.store.write(decide).await;
            outcome.inspect(|_| state.catch_up())
        })
    }

    fn physical(&self) -> Arc<dyn PhysicalCluster> {
        self.physical.clone()
    }
}

/// Their metrics are there before anybody uses them.
fn show_vclusters(metrics: &Metrics, snapshot: &Snapshot) {
    for vcluster in snapshot.virtual_clusters.iter() {
        metrics.vcluster_known(&vcluster.name);
    }
}

fn accounts_of(snapshot: &Snapshot) -> Accounts {
    let vclusters = snapshot.virtual_clusters.iter();
    let accounts: Accounts = snapshot
        .accounts
        .iter()
        .map(|account| Account {
            vcluster: account.vcluster.as_str().into(),
            name: account.name.as_str().into(),
            kind: match &account.kind {
                state::AccountKind::Local => AccountKind::Local,
                state::AccountKind::External { external_names } => AccountKind::External {
                    external_names: external_names.clone(),
                },
            },
            incarnation: account.incarnation.as_deref().map(Into::into),
        })
        .collect();
    accounts.with_vclusters(vclusters.map(|vcluster| vcluster.name.as_str()))
}

/// Bindings that clients have made, and those that virtual clusters declare.
fn acls_of(snapshot: &Snapshot) -> Acls {
    let declared = snapshot
        .virtual_clusters
        .iter()
        .flat_map(|vcluster| vcluster.bindings());
    let stored = snapshot
        .acls
        .iter()
        .map(|binding| AclBinding::clone(binding));
    stored
        .chain(declared)
        .filter_map(|stored| {
            let binding = binding_of(&stored);
            if binding.is_none() {
                tracing::warn!(target: STATE, ?stored, "an access control list entry has no meaning here");
            }
            Some((Arc::from(stored.vcluster.as_str()), binding?))
        })
        .collect()
}

/// Both sides use Kafka's numbers.
fn binding_of(stored: &AclBinding) -> Option<Binding> {
    Some(Binding {
        resource_type: ResourceType::from_code(stored.resource_type.code())?,
        pattern_type: PatternType::from_code(stored.pattern_type.code())?,
        resource_name: stored.resource_name.as_str().into(),
        principal: stored.principal.as_str().into(),
        host: stored.host.as_str().into(),
        operation: Operation::from_code(stored.operation.code())?,
        permission: Permission::from_code(stored.permission.code())?,
    })
}

fn stored_of(vcluster: &str, binding: &Binding) -> Option<AclBinding> {
    Some(AclBinding {
        vcluster: vcluster.to_owned(),
        resource_type: AclResource::from_code(binding.resource_type.code())?,
        pattern_type: AclPattern::from_code(binding.pattern_type.code())?,
        resource_name: binding.resource_name.to_string(),
        principal: binding.principal.to_string(),
        host: binding.host.to_string(),
        operation: AclOperation::from_code(binding.operation.code())?,
        permission: AclPermission::from_code(binding.permission.code())?,
    })
}

impl AclWriter for InForce {
    fn write(&self, vcluster: &str, change: AclChange) -> AclWrite {
        let (state, vcluster) = (self.clone(), vcluster.to_owned());
        Box::pin(async move {
            let store = &state.store;
            let (AclChange::Add(bindings) | AclChange::Remove(bindings)) = &change;
            let stored: Option<Vec<AclBinding>> = bindings
                .iter()
                .map(|binding| stored_of(&vcluster, binding))
                .collect();
            let stored = stored.ok_or("a binding cannot be kept")?;
            let written = match change {
                AclChange::Add(_) => store.acls_add(stored).await.map(|_| ()),
                AclChange::Remove(_) => {
                    let removed = store.acls_remove(move |binding| stored.contains(binding));
                    removed.await.map(|_| ())
                }
            };
            written.map_err(|error| error.to_string())?;
            state.catch_up();
            Ok(())
        })
    }
}

/// Where nothing is kept there is nothing to change.
pub(crate) struct NoChanges;

impl AclWriter for NoChanges {
    fn write(&self, _vcluster: &str, _change: AclChange) -> AclWrite {
        Box::pin(async { Err("nothing is kept in Kafka".to_owned()) })
    }
}

/// Where nobody can be anybody the operator may do without what is kept in Kafka.
#[derive(Debug)]
pub(crate) struct Empty;

impl Resources for Empty {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::default()
    }

    fn write(&self, mut decide: Decide) -> Change {
        // What is not there can be told all the same.
        let outcome = decide(&Snapshot::default(), &mut state::Changes::default());
        let refusal = outcome
            .err()
            .unwrap_or_else(|| ApiError::unavailable(NOTHING_KEPT));
        Box::pin(async { Err(WriteError::Refused(refusal)) })
    }

    fn physical(&self) -> Arc<dyn PhysicalCluster> {
        Arc::new(Empty)
    }
}

impl PhysicalCluster for Empty {
    fn existing_topics(&self, _names: BTreeSet<String>) -> Asked<BTreeSet<String>> {
        Box::pin(async { Err(NOTHING_KEPT.to_owned()) })
    }

    fn names_with(&self, _prefix: String) -> Asked<Vec<PhysicalName>> {
        Box::pin(async { Err(NOTHING_KEPT.to_owned()) })
    }
}
