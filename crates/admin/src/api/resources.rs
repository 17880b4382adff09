//! What the API asks of the store.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use state::ServiceAccount;

use crate::error::ApiError;

/// A change under way.
pub type Change = Pin<Box<dyn Future<Output = Result<(), ChangeError>> + Send>>;

/// The stored resources. A change that was answered with `Ok` is seen by the next read.
pub trait Resources: Debug + Send + Sync + 'static {
    /// All service accounts, in any order.
    fn accounts(&self) -> Vec<Arc<ServiceAccount>>;

    /// Stores an account in place of the one with the same virtual cluster and name.
    fn put_account(&self, account: ServiceAccount) -> Change;

    /// Removes an account; nothing happens if there is none.
    fn delete_account(&self, vcluster: &str, name: &str) -> Change;
}

/// Why a change was not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// It contradicts what is stored: another node was faster.
    #[error("{0}")]
    Conflict(String),
    /// It does not fit into the store.
    #[error("{0}")]
    TooLarge(String),
    /// It could not be made durable.
    #[error("{0}")]
    Failed(String),
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Conflict(why) => ApiError::new(
                axum::http::StatusCode::CONFLICT,
                "Already in use",
                format!("The change contradicts what is stored: {why}."),
            ),
            ChangeError::TooLarge(why) => {
                ApiError::invalid(format!("The resource cannot be stored: {why}."))
            }
            ChangeError::Failed(why) => {
                ApiError::internal(format!("The change was not stored: {why}."))
            }
        }
    }
}
