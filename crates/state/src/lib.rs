//! The resources of the gateway, kept in compacted topics of the backing cluster and mirrored in memory.

mod account;
mod acl;
mod error;
mod record;
mod resource;
mod snapshot;
mod topic;

pub use account::{AccountKind, ServiceAccount};
pub use acl::{AclBinding, AclOperation, AclPattern, AclPermission, AclResource};
pub use error::{Conflict, OpenError, StoreError, WriteError};
pub use resource::Resource;
pub use snapshot::{Snapshot, Table};
pub use topic::StoreTopic;
