//! The status page at `/`, and the summary that it shows: `GET /gateway/v2/status`.

mod page;
mod summary;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use telemetry::metrics::Metrics;

use crate::access::{Access, Peer};
use crate::audit::Call;
use crate::build_info::BuildInfo;
use crate::error::ApiError;
use crate::health::HealthState;
use page::Page;

/// Where the summary is.
pub(crate) const STATUS: &str = "/gateway/v2/status";

/// A summary is made this often at most, however many look at it.
const KEPT: Duration = Duration::from_secs(1);

/// What the handlers read.
struct Shown {
    access: Access,
    page: Page,
    facts: Facts,
    last: Mutex<Option<(Instant, Bytes)>>,
}

/// What a summary is made of.
pub(super) struct Facts {
    pub(super) metrics: Metrics,
    pub(super) health: HealthState,
    pub(super) build: BuildInfo,
    pub(super) started: Instant,
}

/// The paths, for users of the admin port. They work before the resources have been read.
pub(super) fn router(
    access: Access,
    metrics: Metrics,
    health: HealthState,
    build: BuildInfo,
) -> Router {
    let shown = Arc::new(Shown {
        access,
        page: Page::new(),
        facts: Facts {
            metrics,
            health,
            build,
            started: Instant::now(),
        },
        last: Mutex::default(),
    });
    Router::new()
        .route("/", get(page))
        .route(STATUS, get(status))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&shown), guard))
        .with_state(shown)
}

async fn guard(
    State(shown): State<Arc<Shown>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let call = Call::new(request.method(), request.uri().path(), request.headers());
    let peer = request.extensions().get::<Peer>().copied();
    let peer = peer.ok_or_else(|| ApiError::internal("The caller's address is not known."))?;
    let headers = request.headers();
    shown.access.authenticate(headers, peer, &call).await?;
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    Ok(response)
}

async fn page(State(shown): State<Arc<Shown>>) -> Response {
    shown.page.answer()
}

async fn status(State(shown): State<Arc<Shown>>) -> Result<Response, ApiError> {
    let summary = shown.summary();
    let summary = summary.ok_or_else(|| ApiError::internal("There is no summary."))?;
    Ok(([(CONTENT_TYPE, "application/json")], summary).into_response())
}

impl Shown {
    fn summary(&self) -> Option<Bytes> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, summary)) = &*last
            && made.elapsed() < KEPT
        {
            return Some(summary.clone());
        }
        let summary = serde_json::to_vec(&summary::Status::of(&self.facts)).ok()?;
        let summary = Bytes::from(summary);
        *last = Some((Instant::now(), summary.clone()));
        Some(summary)
    }
}
