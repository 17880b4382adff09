//! `GET /gateway/v2/analytics/lived`: counters of what is configured (`admin-api.md` 6.4). Nothing leaves the machine.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::ApiState;
use crate::error::{ApiError, json};

/// The counters now.
pub(super) async fn lived(State(state): State<Arc<ApiState>>) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct OfClass {
        class_name: String,
        instance_count: usize,
        topics_covered: usize,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Lived {
        interceptors: Vec<OfClass>,
        total_interceptor_types: usize,
        total_interceptor_instances: usize,
        unique_topics_covered: usize,
        total_gateway_service_accounts: usize,
        total_gateway_groups: usize,
        total_alias_topics: usize,
        total_concentrated_topics: usize,
        total_virtual_clusters: usize,
        os: &'static str,
        gateway_version: &'static str,
    }
    let snapshot = state.resources()?.snapshot();
    let mut classes: BTreeMap<String, usize> = BTreeMap::new();
    for interceptor in snapshot.interceptors.iter() {
        *classes.entry(interceptor.plugin_class.clone()).or_default() += 1;
    }
    let lived = Lived {
        total_interceptor_types: classes.len(),
        interceptors: classes
            .into_iter()
            .map(|(class_name, instance_count)| OfClass {
                class_name,
                instance_count,
                topics_covered: 0,
            })
            .collect(),
        total_interceptor_instances: snapshot.interceptors.len(),
        unique_topics_covered: 0,
        total_gateway_service_accounts: snapshot.accounts.len(),
        total_gateway_groups: snapshot.groups.len(),
        total_alias_topics: snapshot.aliases.len(),
        total_concentrated_topics: 0,
        total_virtual_clusters: snapshot.virtual_clusters.len(),
        os: std::env::consts::OS,
        gateway_version: env!("CARGO_PKG_VERSION"),
    };
    Ok(json(StatusCode::OK, &lived))
}
