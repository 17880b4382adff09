//! What the gateway knows about a backing cluster: its brokers, and what they can do together.

mod mismatch;
mod refresh;
mod versions;
mod view;

pub(crate) use refresh::ask_versions;
pub(crate) use versions::{BrokerVersions, Offered};
pub use view::StartError;
pub(crate) use view::{Broker, ClusterView, Opened, Target};
