//! What every kind of resource has in common, and the list of kinds.
//!
//! A new kind is one file with a type that implements [`Resource`], a table in [`Snapshot`] and a line in [`KINDS`].

use serde_json::{Map, Value};

use crate::account::ServiceAccount;
use crate::acl::AclBinding;
use crate::alias_topic::AliasTopic;
use crate::group::GatewayGroup;
use crate::interceptor::Interceptor;
use crate::snapshot::{Snapshot, Table};
use crate::topic::StoreTopic;
use crate::virtual_cluster::{RetiredPrefix, VirtualCluster};

/// A kind of thing the store keeps.
///
/// In Kafka its key is the JSON array `[KIND, name parts...]`, its value a JSON object of [`Resource::fields`] and `v`.
pub trait Resource: Clone + PartialEq + Send + Sync + Sized + 'static {
    /// First element of the key. Never changes.
    const KIND: &'static str;
    /// Where it is kept.
    const TOPIC: StoreTopic;
    /// Schema version of the values written; newer ones are left alone.
    const VERSION: u64;

    /// The rest of the key: what tells resources of this kind apart.
    fn name(&self) -> Vec<String>;

    /// The value, without `v`.
    fn fields(&self) -> Map<String, Value>;

    /// The inverse of [`Resource::name`] and [`Resource::fields`], for every version up to [`Resource::VERSION`].
    ///
    /// # Errors
    /// What is wrong, for the log.
    fn read(version: u64, name: &[String], fields: Map<String, Value>) -> Result<Self, String>;

    /// The table of this kind.
    fn table(snapshot: &Snapshot) -> &Table<Self>;

    /// The same, to be changed.
    fn table_mut(snapshot: &mut Snapshot) -> &mut Table<Self>;
}

/// One kind, its type erased.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) topic: StoreTopic,
    pub(crate) version: u64,
    /// Reads a value and puts the resource into its table under the key.
    pub(crate) put: fn(&mut Snapshot, &str, Read) -> Result<(), String>,
    /// Takes the resource with this key out of its table.
    pub(crate) remove: fn(&mut Snapshot, &str),
}

/// A record's key and value after the common part has been read.
pub(crate) struct Read {
    pub(crate) version: u64,
    pub(crate) name: Vec<String>,
    pub(crate) fields: Map<String, Value>,
}

/// Every kind this release knows.
pub(crate) const KINDS: &[Kind] = &[
    kind::<ServiceAccount>(),
    kind::<AclBinding>(),
    kind::<VirtualCluster>(),
    kind::<RetiredPrefix>(),
    kind::<AliasTopic>(),
    kind::<GatewayGroup>(),
    kind::<Interceptor>(),
];

const fn kind<R: Resource>() -> Kind {
    Kind {
        name: R::KIND,
        topic: R::TOPIC,
        version: R::VERSION,
        put: |snapshot, key, read| {
            let resource = R::read(read.version, &read.name, read.fields)?;
            if resource.name() != read.name {
                return Err("the name is not in its canonical form".to_owned());
            }
            R::table_mut(snapshot).insert(key, resource);
            Ok(())
        },
        remove: |snapshot, key| R::table_mut(snapshot).remove(key),
    }
}

/// The kind of this name on this topic.
pub(crate) fn find(topic: StoreTopic, name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|k| k.topic == topic && k.name == name)
}
