//! The resources of the gateway, kept in compacted topics of the backing cluster and mirrored in memory.
//!
//! ```text
//! decide ─▶ transaction ─▶ Kafka ─▶ follower ─▶ mirror ─▶ snapshot ─▶ readers
//! ```
//!
//! * **Readers** take a [`Snapshot`]: immutable, complete, never half of a change.
//! * **Changes** go through [`Store::write`], which lets one node of the gateway cluster write at a time and returns when
//!   the change is in this node's snapshot. [`Store::refresh`] waits for what other nodes have written.
//! * **The content is a function of the log**: the last committed record of each key decides, on every node and after
//!   every restart. Records that this release cannot read (unknown kinds, newer versions, nonsense) stay in Kafka and
//!   are left out of the snapshot.
//! * **Trouble**: while Kafka is away the snapshot stays and changes are refused. A topic that was deleted or cut off
//!   under a running gateway never empties the snapshot: its resources stay in force, changes are refused until a
//!   restart, and [`Store::status`] and the log say so.
//!
//! Records have as key the JSON array `[kind, name parts...]` and as value a JSON object with a schema version `v`; null
//! deletes. [`Resource`] tells what a further kind needs. How Kafka is reached is up to a [`Transport`].

mod account;
mod acl;
mod alias_topic;
mod committed;
mod error;
mod fetch;
mod fields;
mod follow;
mod group;
mod interceptor;
mod kafka;
mod load;
mod mirror;
mod prepare;
mod produce;
mod record;
mod resolve;
mod resource;
mod shared;
mod snapshot;
mod store;
mod topic;
mod transport;
mod virtual_cluster;
mod write;

pub use account::{AccountKind, ServiceAccount};
pub use acl::{AclBinding, AclOperation, AclPattern, AclPermission, AclResource};
pub use alias_topic::AliasTopic;
pub use error::{Conflict, OpenError, StoreError, WriteError};
pub use group::GatewayGroup;
pub use interceptor::{Interceptor, Scope};
pub use resource::Resource;
pub use snapshot::{Snapshot, Table};
pub use store::{Options, Status, Store, Upsert};
pub use topic::StoreTopic;
pub use transport::{Answering, Call, Encode, Node, Reply, Transport, TransportError, ask};
pub use virtual_cluster::{AclMode, DeclaredAcl, RetiredPrefix, VirtualCluster};
pub use write::Changes;
