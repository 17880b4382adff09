//! Several resources checked together, each as if those before it had been stored. Nothing is stored.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use state::{
    AliasTopic, Changes, GatewayGroup, Interceptor, ServiceAccount, Snapshot, VirtualCluster,
};

use super::body::shown;
use super::concentration;
use super::kind::{Kind, tried};
use super::physical::PhysicalCluster;
use super::{Api, ApiState};
use crate::error::{ApiError, json};

/// Resources of one call.
const MAX_RESOURCES: usize = 1000;

/// `POST /gateway/v2/dry-run`: what a PUT of each would answer, after PUTs of those before it that were not refused.
pub(super) async fn all(
    State(state): State<Arc<ApiState>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    #[derive(Deserialize)]
    struct Sent {
        resources: Vec<Box<RawValue>>,
    }
    #[derive(Serialize)]
    struct Answer {
        results: Vec<Box<RawValue>>,
    }
    let sent: Sent = serde_json::from_slice(&body).map_err(|error| {
        ApiError::invalid(format!(
            "The body must be an object with a list 'resources': {error}."
        ))
    })?;
    if sent.resources.len() > MAX_RESOURCES {
        return Err(ApiError::invalid(format!(
            "'resources' has more than {MAX_RESOURCES} of them."
        )));
    }
    let resources = state.resources()?;
    let physical = resources.physical();
    let mut snapshot = resources.snapshot();
    let mut results = Vec::with_capacity(sent.resources.len());
    for resource in &sent.resources {
        let tried = one(&state.api, &snapshot, &*physical, resource.get()).await;
        results.push(match tried {
            Ok((answer, changes)) => {
                if let Some(changes) = changes {
                    snapshot = Arc::new(changes.applied_to(&snapshot));
                }
                answer
            }
            Err(error) => refusal(&error)?,
        });
        // Each of them copies a table; others have their turn in between.
        tokio::task::yield_now().await;
    }
    Ok(json(StatusCode::OK, &Answer { results }))
}

async fn one(
    api: &Arc<Api>,
    snapshot: &Snapshot,
    physical: &dyn PhysicalCluster,
    resource: &str,
) -> Result<(Box<RawValue>, Option<Changes>), ApiError> {
    #[derive(Deserialize)]
    struct Head {
        kind: String,
    }
    let body = resource.as_bytes();
    let Head { kind } = serde_json::from_str(resource)
        .map_err(|_| ApiError::invalid("A resource must be an object with a text 'kind'."))?;
    let is = |name: &str, also: &[&str]| {
        kind.eq_ignore_ascii_case(name) || also.iter().any(|name| kind.eq_ignore_ascii_case(name))
    };
    match () {
        () if is(VirtualCluster::NAME, VirtualCluster::ALSO) => {
            tried::<VirtualCluster>(api, snapshot, physical, body).await
        }
        () if is(AliasTopic::NAME, AliasTopic::ALSO) => {
            tried::<AliasTopic>(api, snapshot, physical, body).await
        }
        () if is(ServiceAccount::NAME, ServiceAccount::ALSO) => {
            tried::<ServiceAccount>(api, snapshot, physical, body).await
        }
        () if is(GatewayGroup::NAME, GatewayGroup::ALSO) => {
            tried::<GatewayGroup>(api, snapshot, physical, body).await
        }
        () if is(Interceptor::NAME, Interceptor::ALSO) => {
            tried::<Interceptor>(api, snapshot, physical, body).await
        }
        () if is(concentration::RULE, &[]) => Err(concentration::refusal(body)),
        () => Err(ApiError::invalid(format!(
            "There is no kind '{}'.",
            shown(&kind)
        ))),
    }
}

fn refusal(error: &ApiError) -> Result<Box<RawValue>, ApiError> {
    #[derive(Serialize)]
    struct Refusal<E> {
        status: u16,
        error: E,
    }
    let refusal = Refusal {
        status: error.status().as_u16(),
        error: error.body(),
    };
    to_raw_value(&refusal).map_err(|error| ApiError::internal(format!("No answer: {error}.")))
}
