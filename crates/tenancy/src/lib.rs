//! Virtual clusters: several logical Kafka clusters on one physical cluster.
//!
//! Pure functions over names and bodies: no I/O. [`Tenants`] is the picture of one moment; a request is mapped with one of it, and its answer
//! with the same. There is one place where a client's names become physical, [`map`], and one where physical names become a client's,
//! [`Back`]. Both follow the entities of the schema table over a tree of the message, so that every version is served by the same few lines;
//! what has no name in the virtual cluster does not come out at the other end.
//!
//! ```
//! use std::sync::Arc;
//! use sluicegate_tenancy::{Context, Definition, Mapped, Tenants, map};
//! use wire::api::ApiKey;
//!
//! let team = Definition { name: "team".to_owned(), ..Definition::default() };
//! let tenants = Tenants::new(vec![team], [], []);
//! let context = Context {
//!     tenant: tenants.get("team").unwrap(),
//!     topics: &(),
//!     turn: &Default::default(),
//!     configures_aliases: false,
//!     auto_creation: false,
//!     subscribed: &[],
//!     expression: None,
//! };
//! // Heartbeat version 0 of group "g", generation 7, member "m".
//! let body = [0, 1, b'g', 0, 0, 0, 7, 0, 1, b'm'];
//! let Mapped::Forward { body: Some(body), .. } = map(ApiKey::HEARTBEAT, 0, &body, &context).unwrap() else {
//!     panic!("it has a name");
//! };
//! assert_eq!(&*body, b"\0\x05teamg\0\0\0\x07\0\x01m");
//! ```

mod aliases;
mod answer;
mod blob;
mod ids;
mod name;
mod pattern;
mod prefix;
mod request;
mod rules;
mod special;
mod subscription;
mod tenant;
mod words;

pub use answer::{Back, ToMatch};
pub use ids::{AliasIds, TopicId, Topics};
pub use name::{NameFault, check_name};
pub use pattern::{Expression, Unusable};
pub use prefix::Prefixes;
pub use request::{Context, Mapped, map, topic_ids};
pub use special::transactional_id_pattern;
pub use subscription::{Found, Heartbeat, Stamp, Subscriptions, Wanted};
pub use tenant::{AliasDefinition, Definition, PASSTHROUGH, Physical, Rights, Tenant, Tenants};
