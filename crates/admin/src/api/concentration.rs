//! `ConcentrationRule` and `ConcentratedTopic`: there are none, and none can be made.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;

use super::ApiState;
use super::body::{Faults, Members, shown};
use super::envelope::{NameRule, Sent};
use super::kind::known_vcluster;
use super::query::Query;
use crate::error::{ApiError, json};

/// `kind` of a rule.
pub(super) const RULE: &str = "ConcentrationRule";

/// `GET` of rules and of topics: none; 404 for a virtual cluster that does not exist.
pub(super) async fn list(
    State(state): State<Arc<ApiState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::parse(query.as_deref());
    query.flag("showDefaults")?;
    let snapshot = state.resources()?.snapshot();
    if let Some(vcluster) = query.filter("vcluster") {
        known_vcluster(&snapshot, vcluster, "Parameter 'vcluster' refers to it.")?;
    }
    let none: [(); 0] = [];
    Ok(json(StatusCode::OK, &none))
}

/// `PUT` of a rule.
pub(super) async fn put(RawQuery(query): RawQuery, body: Bytes) -> Result<Response, ApiError> {
    Query::parse(query.as_deref()).flag("dryMode")?;
    Err(refusal(&body))
}

/// Why a rule cannot be stored.
pub(super) fn refusal(body: &[u8]) -> ApiError {
    let read = || {
        let mut sent = Sent::read(body, RULE, &[])?;
        let name = sent.name(NameRule::Topic);
        sent.vcluster();
        sent.faults.into_result()?;
        Ok(name)
    };
    match read() {
        Ok(name) => ApiError::invalid(format!(
            "{RULE} '{name}' cannot be stored: concentrated topics are not available yet."
        )),
        Err(error) => error,
    }
}

/// `DELETE` of a rule.
pub(super) async fn delete(body: Bytes) -> Result<Response, ApiError> {
    let mut members = Members::of_body(&body)?;
    let mut faults = Faults::default();
    let name = members.text("name", &mut faults).unwrap_or_default();
    let vcluster = members.vcluster("vCluster", &mut faults);
    faults.into_result()?;
    Err(ApiError::new(
        StatusCode::NOT_FOUND,
        "Concentration rule not found",
        format!(
            "There is no {RULE} '{}' in virtual cluster '{}'.",
            shown(&name),
            shown(&vcluster)
        ),
    ))
}
