//! What the API asks of the store.

use std::pin::Pin;
use std::sync::Arc;

use axum::http::StatusCode;
use state::{Conflict, ServiceAccount, StoreError, Upsert, WriteError};

use crate::error::ApiError;

/// A change under way.
pub type Change<T> = Pin<Box<dyn Future<Output = Result<T, ChangeError>> + Send>>;

/// The stored resources. A change that was answered with `Ok` is seen by the next read.
pub trait Resources: Send + Sync + 'static {
    /// All service accounts, in any order.
    fn accounts(&self) -> Vec<Arc<ServiceAccount>>;

    /// Stores an account in place of the one with the same virtual cluster and name.
    fn put_account(&self, account: ServiceAccount) -> Change<Upsert>;

    /// Removes an account; tells whether there was one.
    fn delete_account(&self, vcluster: &str, name: &str) -> Change<bool>;
}

impl Resources for state::Store {
    fn accounts(&self) -> Vec<Arc<ServiceAccount>> {
        self.snapshot().accounts.iter().cloned().collect()
    }

    fn put_account(&self, account: ServiceAccount) -> Change<Upsert> {
        let store = self.clone();
        Box::pin(async move { Ok(state::Store::put_account(&store, account).await?) })
    }

    fn delete_account(&self, vcluster: &str, name: &str) -> Change<bool> {
        let (store, vcluster, name) = (self.clone(), vcluster.to_owned(), name.to_owned());
        Box::pin(async move { Ok(state::Store::delete_account(&store, &vcluster, &name).await?) })
    }
}

/// Why a change was not made, or is not known to have been made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// It contradicts what is stored.
    #[error("{0}")]
    Conflict(String),
    /// It does not fit into the store.
    #[error("{0}")]
    TooLarge(String),
    /// It could not be made durable.
    #[error("{0}")]
    Failed(String),
}

impl From<StoreError> for ChangeError {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            StoreError::TooLarge { .. } => Self::TooLarge(text),
            StoreError::Newer { .. } => Self::Conflict(text),
            StoreError::Unavailable { .. }
            | StoreError::Unsure { .. }
            | StoreError::Broken { .. } => Self::Failed(text),
        }
    }
}

impl From<WriteError<Conflict>> for ChangeError {
    fn from(error: WriteError<Conflict>) -> Self {
        match error {
            WriteError::Refused(conflict) => Self::Conflict(conflict.to_string()),
            WriteError::Store(error) => error.into(),
        }
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Conflict(why) => {
                let msg = format!("The change contradicts what is stored: {why}.");
                ApiError::new(StatusCode::CONFLICT, "Already in use", msg)
            }
            ChangeError::TooLarge(why) => {
                ApiError::invalid(format!("The resource cannot be stored: {why}."))
            }
            ChangeError::Failed(why) => ApiError::internal(format!("The change failed: {why}.")),
        }
    }
}
