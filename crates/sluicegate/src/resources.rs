//! The resources in Kafka: opened before clients are served, turned into what the data plane reads, changed by the admin
//! port and by clients.

use std::fmt;
use std::sync::Arc;

use admin::{Change, ChangeError, Resources};
use arc_swap::ArcSwap;
use auth::accounts::{Account, AccountKind, Accounts};
use auth::acl::{Acls, Binding, Operation, PatternType, Permission, ResourceType};
use config::Config;
use proxy::Client;
use state::{
    AclBinding, Options, ServiceAccount, Snapshot, Store, StoreError, StoreTopic, WriteError,
};
use telemetry::targets::STATE;

/// Opens the store and reads it to the end.
///
/// # Errors
/// The topics cannot be used; the process should end.
pub(crate) async fn open(config: &Config, client: Client) -> Result<Store, state::OpenError> {
    let topics = &config.state;
    let node = format!("{}-{}", config.cluster_id, std::process::id());
    let mut options = Options::new(&config.cluster_id, node);
    options.topics = [
        (StoreTopic::UserMappings, topics.accounts.clone()),
        (StoreTopic::Acls, topics.acls.clone()),
    ]
    .into();
    options.replication_factor = topics.replication_factor;
    options.ttl = topics.refresh_interval;
    options.start_limit = config.startup_kafka_timeout;
    Store::open(Arc::new(client), options).await
}

/// Keeps what the data plane reads in step with the store. What is there now is in force when this returns; the future
/// never ends.
pub(crate) fn follow(
    store: &Store,
    accounts: Arc<ArcSwap<Accounts>>,
    acls: Arc<ArcSwap<Acls>>,
) -> impl Future<Output = ()> + use<> {
    let mut changes = store.changes();
    changes.mark_unchanged();
    let store = store.clone();
    let mut last = store.snapshot();
    accounts.store(Arc::new(accounts_of(&last)));
    acls.store(Arc::new(acls_of(&last)));
    async move {
        while changes.changed().await.is_ok() {
            let now = store.snapshot();
            // Connections look at what has changed only.
            if now.accounts != last.accounts {
                accounts.store(Arc::new(accounts_of(&now)));
            }
            if now.acls != last.acls {
                acls.store(Arc::new(acls_of(&now)));
            }
            last = now;
        }
    }
}

fn accounts_of(snapshot: &Snapshot) -> Accounts {
    snapshot
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
        })
        .collect()
}

fn acls_of(snapshot: &Snapshot) -> Acls {
    snapshot
        .acls
        .iter()
        .filter_map(|stored| {
            let binding = binding_of(stored);
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

/// The store as the admin port sees it.
pub(crate) struct Managed(pub(crate) Store);

impl fmt::Debug for Managed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Managed").finish_non_exhaustive()
    }
}

impl Resources for Managed {
    fn accounts(&self) -> Vec<Arc<ServiceAccount>> {
        self.0.snapshot().accounts.iter().cloned().collect()
    }

    fn put_account(&self, account: ServiceAccount) -> Change {
        let store = self.0.clone();
        Box::pin(async move {
            match store.put_account(account).await {
                Ok(_) => Ok(()),
                Err(WriteError::Refused(conflict)) => {
                    Err(ChangeError::Conflict(conflict.to_string()))
                }
                Err(WriteError::Store(error)) => Err(not_stored(error)),
            }
        })
    }

    fn delete_account(&self, vcluster: &str, name: &str) -> Change {
        let (store, vcluster, name) = (self.0.clone(), vcluster.to_owned(), name.to_owned());
        Box::pin(async move {
            let deleted = store.delete_account(&vcluster, &name).await;
            deleted.map(|_| ()).map_err(not_stored)
        })
    }
}

/// Where nobody can be anybody there are no accounts, and nothing is kept in Kafka.
#[derive(Debug)]
pub(crate) struct Empty;

impl Resources for Empty {
    fn accounts(&self) -> Vec<Arc<ServiceAccount>> {
        Vec::new()
    }

    fn put_account(&self, _account: ServiceAccount) -> Change {
        Box::pin(async { Err(ChangeError::Failed("no listener authenticates".to_owned())) })
    }

    fn delete_account(&self, _vcluster: &str, _name: &str) -> Change {
        Box::pin(async { Ok(()) })
    }
}

fn not_stored(error: StoreError) -> ChangeError {
    match error {
        StoreError::TooLarge { .. } => ChangeError::TooLarge(error.to_string()),
        _ => ChangeError::Failed(error.to_string()),
    }
}
