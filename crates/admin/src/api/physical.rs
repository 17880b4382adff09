//! What the API asks of the Kafka cluster behind the gateway.

use std::collections::BTreeSet;
use std::fmt;
use std::pin::Pin;

use crate::error::ApiError;

/// The Kafka cluster behind the gateway: names as they are there.
pub trait PhysicalCluster: Send + Sync + 'static {
    /// Which of these topics exist. None is created by asking.
    fn existing_topics(&self, names: BTreeSet<String>) -> Asked<BTreeSet<String>>;

    /// Topics, groups and transactional ids whose names begin with `prefix`, where `.` and `_` are the same.
    fn names_with(&self, prefix: String) -> Asked<Vec<PhysicalName>>;
}

/// A question under way; an error is a text for people.
pub type Asked<T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send>>;

/// The name of something in the Kafka cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PhysicalName {
    /// What it is the name of.
    pub of: NameOf,
    /// The name.
    pub name: String,
}

/// What has a name in a Kafka cluster that a virtual cluster puts its prefix to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NameOf {
    /// A topic.
    Topic,
    /// A group of any kind.
    Group,
    /// A transactional id.
    TransactionalId,
}

impl fmt::Display for PhysicalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.of {
            NameOf::Topic => "topic",
            NameOf::Group => "group",
            NameOf::TransactionalId => "transactional id",
        };
        write!(f, "{of} '{}'", self.name)
    }
}

/// The cluster could not be asked, so nothing is known and nothing is changed.
pub(super) fn unanswered(reason: &str) -> ApiError {
    ApiError::without_kafka(format!("The Kafka cluster could not be asked: {reason}."))
}
