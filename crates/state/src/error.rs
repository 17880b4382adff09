//! What can go wrong.

use thiserror::Error;

use crate::topic::StoreTopic;

/// The store could not be opened. The process should say so and end.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Kafka did not answer in time.
    #[error("the state topics cannot be read: {reason}")]
    Unavailable {
        /// The last failure.
        reason: String,
    },
    /// A topic is missing and could not be created.
    #[error("{}: topic {name} is missing and cannot be created: {reason}", topic.variable())]
    CannotCreate {
        /// Which topic.
        topic: StoreTopic,
        /// Its name.
        name: String,
        /// What Kafka said.
        reason: String,
    },
    /// Kafka does not let the gateway see a topic, so that nobody knows whether there is something in it.
    #[error(
        "{}: Kafka does not let the gateway see topic {name}; it needs DESCRIBE, READ and WRITE on it, and CREATE if it is missing", topic.variable()
    )]
    NotAllowed {
        /// Which topic.
        topic: StoreTopic,
        /// Its name.
        name: String,
    },
    /// A topic exists with a setting under which it cannot keep state.
    #[error(
        "{}: topic {name} has {property}={found}, it needs {needed}; alter the topic or name another one", topic.variable()
    )]
    WrongSetting {
        /// Which topic.
        topic: StoreTopic,
        /// Its name.
        name: String,
        /// The topic configuration.
        property: &'static str,
        /// Its value now.
        found: String,
        /// The value it has to have.
        needed: &'static str,
    },
    /// A topic holds something that cannot be read past.
    #[error("{}: topic {name} cannot be read: {reason}", topic.variable())]
    Unreadable {
        /// Which topic.
        topic: StoreTopic,
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
}

/// A change was not made, or it is not known whether it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StoreError {
    /// Nothing was written: Kafka is not reached or refuses. Worth another try later.
    #[error("the state cannot be written now: {reason}")]
    Unavailable {
        /// What happened.
        reason: String,
    },
    /// Kafka went away at the moment of the commit: the change is there or not, never in parts. Reading tells, once
    /// Kafka is back.
    #[error("it is not known whether the change was written: {reason}")]
    Unsure {
        /// What happened.
        reason: String,
    },
    /// A state topic was deleted or cut off while the gateway ran. Nothing is written until an operator has mended it.
    #[error("the state topic {name} is broken: {reason}")]
    Broken {
        /// Name of the topic.
        name: String,
        /// What was found.
        reason: String,
    },
    /// The resource, or its name, does not fit into a record.
    #[error("the resource is too large: {size} bytes, at most {limit} fit")]
    TooLarge {
        /// Bytes of the value or key.
        size: usize,
        /// Bytes that fit.
        limit: usize,
    },
    /// A newer release wrote this resource; this one would lose what it does not understand.
    #[error("{key} was written by a newer release and cannot be changed by this one")]
    Newer {
        /// Its key.
        key: String,
    },
}

/// Why [`Store::write`](crate::Store::write) changed nothing, or does not know.
#[derive(Debug, Error)]
pub enum WriteError<E> {
    /// The caller's own check refused the change.
    #[error(transparent)]
    Refused(E),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A change that contradicts what is there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Conflict {
    /// Another account has this external name.
    #[error("external name {external_name} belongs to {name} of {vcluster}")]
    ExternalName {
        /// The name that is taken.
        external_name: String,
        /// Virtual cluster of the account that has it.
        vcluster: String,
        /// Name of the account that has it.
        name: String,
    },
}
