//! What the API asks of the store.

use std::pin::Pin;
use std::sync::Arc;

use axum::http::StatusCode;
use state::{Changes, Snapshot, StoreError, WriteError};

use super::physical::PhysicalCluster;
use crate::error::ApiError;

/// The stored resources. A change that was answered with `Ok` is seen by the next read, and in force.
pub trait Resources: Send + Sync + 'static {
    /// All of them, as they are now.
    fn snapshot(&self) -> Arc<Snapshot>;

    /// Makes a change that no other can come between, of this node or another ([`state::Store::write`]).
    fn write(&self, decide: Decide) -> Change;

    /// The Kafka cluster behind the gateway.
    fn physical(&self) -> Arc<dyn PhysicalCluster>;
}

/// Says what to write, from what is stored. May be called several times.
pub type Decide = Box<dyn FnMut(&Snapshot, &mut Changes) -> Result<Outcome, ApiError> + Send>;

/// A change under way.
pub type Change = Pin<Box<dyn Future<Output = Result<Outcome, WriteError<ApiError>>> + Send>>;

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there before.
    Created,
    /// It was there and is different now.
    Updated,
    /// It was there like this.
    NotChanged,
    /// It is not there any more.
    Deleted,
}

impl Outcome {
    /// As answers call it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Outcome::Created => "Created",
            Outcome::Updated => "Updated",
            Outcome::NotChanged => "NotChanged",
            Outcome::Deleted => "Deleted",
        }
    }
}

impl From<WriteError<ApiError>> for ApiError {
    fn from(error: WriteError<ApiError>) -> Self {
        match error {
            WriteError::Refused(refusal) => refusal,
            WriteError::Store(error) => error.into(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::TooLarge { .. } => {
                ApiError::invalid(format!("The resource cannot be stored: {error}."))
            }
            StoreError::Newer { .. } => {
                let msg = format!("The change contradicts what is stored: {error}.");
                ApiError::new(StatusCode::CONFLICT, "Already in use", msg)
            }
            StoreError::Unavailable { .. } | StoreError::Broken { .. } => {
                ApiError::without_kafka(format!("The change was not made: {error}."))
            }
            StoreError::Unsure { .. } => ApiError::internal(format!("The change failed: {error}.")),
        }
    }
}
