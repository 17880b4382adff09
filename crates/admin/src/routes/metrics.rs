//! `/metrics`.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use hyper::body::Frame;
use telemetry::metrics::{Encoding, Format, Metrics};

use crate::access::{Access, Peer};
use crate::audit::Call;
use crate::error::ApiError;

/// What the handler reads.
struct Scraped {
    metrics: Metrics,
    /// `None`: open to all.
    access: Option<Access>,
}

/// The path, open to all without `access`.
pub(super) fn router(metrics: Metrics, access: Option<Access>) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .with_state(Arc::new(Scraped { metrics, access }))
}

async fn scrape(
    State(scraped): State<Arc<Scraped>>,
    request: Request,
) -> Result<Response, ApiError> {
    if let Some(access) = &scraped.access {
        let call = Call::new(request.method(), request.uri().path(), request.headers());
        let peer = request.extensions().get::<Peer>().copied();
        let peer = peer.ok_or_else(|| ApiError::internal("The caller's address is not known."))?;
        access.authenticate(request.headers(), peer, &call).await?;
    }
    let accepted = request.headers().get_all(ACCEPT).iter();
    let accepted: Vec<_> = accepted.filter_map(|value| value.to_str().ok()).collect();
    let format = Format::accepted(&accepted.join(","));
    let mut response = Body::new(Chunks(scraped.metrics.encode(format))).into_response();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(format.content_type()),
    );
    headers.insert(VARY, HeaderValue::from_static("accept"));
    Ok(response)
}

/// A scrape as a body; each chunk is made when the one before has gone out.
struct Chunks(Encoding);

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let chunk = self.0.next();
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(Bytes::from(chunk)))))
    }
}
