//! What the gateway knows about a backing cluster: its brokers, and what they can do together.

mod refresh;
mod versions;
mod view;

pub(crate) use versions::Offered;
pub use view::StartError;
pub(crate) use view::{ClusterView, Opened, Target};
