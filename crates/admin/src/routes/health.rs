//! `/health`, `/health/live`, `/health/ready`, `/versions`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use crate::build_info::BuildInfo;
use crate::error::json;
use crate::health::HealthState;

/// What the handlers read.
struct Facts {
    health: HealthState,
    build: BuildInfo,
}

/// The paths, open to all.
pub(super) fn router(health: HealthState, build: BuildInfo) -> Router {
    Router::new()
        .route("/health", get(health_report))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/versions", get(versions))
        .with_state(Arc::new(Facts { health, build }))
}

async fn health_report(State(facts): State<Arc<Facts>>) -> Response {
    let build = Check {
        id: "buildInfo",
        status: Status::Up,
        data: Some(&facts.build),
    };
    report(vec![build, live_check(&facts)])
}

async fn live(State(facts): State<Arc<Facts>>) -> Response {
    report(vec![live_check(&facts)])
}

async fn ready(State(facts): State<Arc<Facts>>, headers: HeaderMap) -> Response {
    let conditions = facts.health.conditions();
    if wants_json(&headers) {
        let check = |condition: &crate::health::Condition| Check {
            id: condition.id,
            status: Status::of(condition.up),
            data: None,
        };
        return report(conditions.iter().map(check).collect());
    }
    let (code, text) = match conditions.iter().all(|condition| condition.up) {
        true => (StatusCode::OK, "READY"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "NOTREADY"),
    };
    (code, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

async fn versions(State(facts): State<Arc<Facts>>) -> Response {
    #[derive(Serialize)]
    struct Versions<'a> {
        gateway: &'a str,
    }
    json(
        StatusCode::OK,
        &Versions {
            gateway: &facts.build.version,
        },
    )
}

/// JSON is given to those who name it and do not rule it out.
fn wants_json(headers: &HeaderMap) -> bool {
    let names = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    names.flat_map(|value| value.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_json = parts
            .next()
            .is_some_and(|media| media.eq_ignore_ascii_case("application/json"));
        let ruled_out = parts.any(|part| {
            part.strip_prefix("q=")
                .is_some_and(|q| q.parse() == Ok(0.0_f32))
        });
        is_json && !ruled_out
    })
}

fn live_check(facts: &Facts) -> Check<'_> {
    Check {
        id: "live",
        status: Status::of(facts.health.is_live()),
        data: None,
    }
}

#[derive(Serialize)]
struct Report<'a> {
    status: Status,
    checks: Vec<Check<'a>>,
    outcome: Status,
}

#[derive(Serialize)]
struct Check<'a> {
    id: &'static str,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a BuildInfo>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
enum Status {
    Up,
    Down,
}

impl Status {
    fn of(up: bool) -> Self {
        if up { Self::Up } else { Self::Down }
    }
}

fn report(checks: Vec<Check<'_>>) -> Response {
    let status = Status::of(checks.iter().all(|check| check.status == Status::Up));
    let code = if status == Status::Up {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    json(
        code,
        &Report {
            status,
            checks,
            outcome: status,
        },
    )
}
