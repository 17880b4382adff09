//! The resources at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::account::ServiceAccount;
use crate::acl::AclBinding;
use crate::alias_topic::AliasTopic;
use crate::group::GatewayGroup;
use crate::interceptor::Interceptor;
use crate::record;
use crate::resource::Resource;
use crate::virtual_cluster::{RetiredPrefix, VirtualCluster};

/// Every resource at one moment. Immutable for its readers; a clone shares everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Service accounts, by (virtual cluster, name).
    pub accounts: Table<ServiceAccount>,
    /// ACL bindings.
    pub acls: Table<AclBinding>,
    /// Virtual clusters, by name.
    pub virtual_clusters: Table<VirtualCluster>,
    /// Names of deleted virtual clusters.
    pub retired: Table<RetiredPrefix>,
    /// Alias topics, by (virtual cluster, name).
    pub aliases: Table<AliasTopic>,
    /// Groups of service accounts, by name.
    pub groups: Table<GatewayGroup>,
    /// Interceptors, by name and scope.
    pub interceptors: Table<Interceptor>,
}

/// The resources of one kind by name. A clone shares the content until one of the two is changed.
#[derive(Debug)]
pub struct Table<R>(Arc<BTreeMap<Arc<str>, Arc<R>>>);

impl Snapshot {
    /// The account `name` of `vcluster`.
    pub fn account(&self, vcluster: &str, name: &str) -> Option<&Arc<ServiceAccount>> {
        self.accounts.get(&[vcluster, name])
    }

    /// The virtual cluster of this name; none for `passthrough`, which is built in.
    pub fn virtual_cluster(&self, name: &str) -> Option<&Arc<VirtualCluster>> {
        self.virtual_clusters.get(&[name])
    }

    /// The account that another authority knows as `name`.
    pub fn account_with_external_name(&self, name: &str) -> Option<&Arc<ServiceAccount>> {
        self.accounts
            .iter()
            .find(|account| account.external_names().iter().any(|n| n == name))
    }
}

impl<R: Resource> Table<R> {
    /// The resource whose [`Resource::name`] has these parts.
    pub fn get(&self, name: &[&str]) -> Option<&Arc<R>> {
        self.0.get(record::key_text(R::KIND, name).as_str())
    }
}

impl<R> Table<R> {
    /// All resources, in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<R>> {
        self.0.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn insert(&mut self, key: &str, resource: R) {
        Arc::make_mut(&mut self.0).insert(key.into(), Arc::new(resource));
    }

    pub(crate) fn remove(&mut self, key: &str) {
        if self.0.contains_key(key) {
            Arc::make_mut(&mut self.0).remove(key);
        }
    }
}

impl<R> Clone for Table<R> {
    fn clone(&self) -> Self {
        Table(self.0.clone())
    }
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Table(Arc::default())
    }
}

impl<R: PartialEq> PartialEq for Table<R> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}
