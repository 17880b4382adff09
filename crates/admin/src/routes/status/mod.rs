//! The status page at `/`, and the summary that it shows: `GET /gateway/v2/status`, and `/history` for its charts.

mod history;
mod page;
mod summary;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use telemetry::metrics::Metrics;
use tokio::time::{MissedTickBehavior, interval};

use crate::access::{Access, Peer};
use crate::audit::Call;
use crate::build_info::BuildInfo;
use crate::error::ApiError;
use crate::health::HealthState;
use history::{History, PERIOD, Point};
use page::Page;

/// Where the summary is.
pub(crate) const STATUS: &str = "/gateway/v2/status";

/// Where the last minutes are.
pub(crate) const HISTORY: &str = "/gateway/v2/status/history";

/// A summary is made this often at most, however many look at it.
const KEPT: Duration = Duration::from_secs(1);

/// What the handlers read.
struct Shown {
    access: Access,
    page: Page,
    facts: Facts,
    last: Mutex<Option<(Instant, Bytes)>>,
    history: Mutex<History>,
}

/// What a summary is made of.
pub(super) struct Facts {
    pub(super) metrics: Metrics,
    pub(super) health: HealthState,
    pub(super) build: BuildInfo,
    pub(super) started: Instant,
}

/// The paths, for users of the admin port, and what keeps the last minutes, which never ends. They work before the resources have been read.
pub(super) fn router(
    access: Access,
    metrics: Metrics,
    health: HealthState,
    build: BuildInfo,
) -> (Router, impl Future<Output = ()> + Send + 'static) {
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
        history: Mutex::default(),
    });
    let keeping = Arc::clone(&shown);
    let router = Router::new()
        .route("/", get(page))
        .route(STATUS, get(status))
        .route(HISTORY, get(last_minutes))
        .route_layer(middleware::from_fn_with_state(Arc::clone(&shown), guard))
        .with_state(shown);
    (router, async move { keeping.keep().await })
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

async fn last_minutes(State(shown): State<Arc<Shown>>) -> Json<Vec<Point>> {
    Json(shown.history().points())
}

impl Shown {
    async fn keep(&self) {
        let mut ticks = interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let (point, totals) = summary::sample(&self.facts);
            self.history().add(Instant::now(), point, totals);
        }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn summary(&self) -> Option<Bytes> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, summary)) = &*last
            && made.elapsed() < KEPT
        {
            return Some(summary.clone());
        }
        let summary = summary::Status::of(&self.facts, &self.history());
        let summary = serde_json::to_vec(&summary).ok()?;
        let summary = Bytes::from(summary);
        *last = Some((Instant::now(), summary.clone()));
        Some(summary)
    }
}
