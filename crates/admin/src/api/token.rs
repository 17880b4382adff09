//! `POST /gateway/v2/token`: a password for a local service account, for as many seconds as it says.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use state::{AccountKind, ServiceAccount};

use super::ApiState;
use super::body::{Faults, Members, shown};
use super::kind::{known_vcluster, not_found};
use crate::error::{ApiError, json};

/// Gives out a token. It is not stored anywhere, and no record holds it.
pub(super) async fn issue(
    State(state): State<Arc<ApiState>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let mut members = Members::of_body(&body)?;
    let mut faults = Faults::default();
    let username = members.text("username", &mut faults);
    if username.as_deref() == Some("") {
        faults.add("'username' must not be empty.".to_owned());
    }
    let vcluster = members.vcluster("vCluster", &mut faults);
    let seconds = members.integer("lifeTimeSeconds", 1..=i64::from(i32::MAX), &mut faults);
    faults.into_result()?;
    let username = username.unwrap_or_default();
    let lifetime = Duration::from_secs(seconds.unwrap_or_default().unsigned_abs());

    let unavailable = |reason| {
        let msg = format!("Tokens cannot be used here: {reason}.");
        ApiError::unavailable_under(StatusCode::CONFLICT, msg)
    };
    state.api.capabilities.local.map_err(unavailable)?;
    let no_key = || unavailable("there is no key to sign them with (GATEWAY_USER_POOL_SECRET_KEY)");
    let tokens = state.api.tokens.as_ref().ok_or_else(no_key)?;
    let snapshot = state.resources()?.snapshot();
    known_vcluster(
        &snapshot,
        &vcluster,
        format!("A token for '{}' was asked for in it.", shown(&username)),
    )?;
    let account = snapshot
        .account(&vcluster, &username)
        .ok_or_else(|| not_found::<ServiceAccount>(&[&vcluster, &username]))?;
    if account.kind != AccountKind::Local {
        let msg = format!(
            "Service account '{username}' is EXTERNAL: only LOCAL ones log in with tokens of the gateway."
        );
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "Not a local account",
            msg,
        ));
    }

    #[derive(Serialize)]
    struct Answer {
        token: String,
    }
    let incarnation = account.incarnation.as_deref();
    let token = tokens.issue(&username, &vcluster, incarnation, lifetime);
    let mut response = json(StatusCode::OK, &Answer { token }).into_response();
    let never = axum::http::HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, never);
    Ok(response)
}
