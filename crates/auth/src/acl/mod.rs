//! Access control lists with Kafka's own meaning (KIP-11, KIP-290).
//!
//! | type | what it is |
//! | --- | --- |
//! | [`Binding`] | one rule as a client writes it |
//! | [`Filter`] | a set of rules as DescribeAcls and DeleteAcls name it |
//! | [`Acls`] | the rules of all virtual clusters, indexed; an immutable snapshot |
//! | [`AclView`] | what one connection may do, by one snapshot |
//!
//! ```
//! use sluicegate_auth::acl::{AclView, Acls, Binding, Operation, PatternType, Permission, ResourceType};
//!
//! let rule = Binding {
//!     resource_type: ResourceType::Topic,
//!     pattern_type: PatternType::Prefixed,
//!     resource_name: "orders-".into(),
//!     principal: "User:alice".into(),
//!     host: "*".into(),
//!     operation: Operation::Read,
//!     permission: Permission::Allow,
//! };
//! let acls = Acls::from_iter([("passthrough".into(), rule)]);
//! let alice = AclView::checked(&acls, "passthrough", "alice", "192.0.2.7");
//! assert!(alice.allowed(Operation::Read, ResourceType::Topic, "orders-2026"));
//! assert!(alice.allowed(Operation::Describe, ResourceType::Topic, "orders-2026"));
//! assert!(!alice.allowed(Operation::Write, ResourceType::Topic, "orders-2026"));
//! ```

mod binding;
mod codes;
mod filter;
mod index;
mod view;

pub use binding::{Binding, InvalidBinding};
pub use codes::{Operation, PatternType, Permission, ResourceType};
pub use filter::{Filter, PatternFilter};
pub use index::{Acls, VclusterAcls};
pub use view::{AclView, Namespace, Observer};

/// The one name of a resource of type [`ResourceType::Cluster`].
pub const CLUSTER_NAME: &str = "kafka-cluster";

/// Any resource name in a literal pattern, and any host.
pub const WILDCARD: &str = "*";

/// The principal that stands for everybody.
pub const EVERYBODY: &str = "User:*";
