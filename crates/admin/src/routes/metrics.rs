//! `/metrics`.

use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::body::Frame;
use telemetry::metrics::{Encoding, Format, Metrics};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::access::{Access, Peer};
use crate::audit::Call;
use crate::error::ApiError;
use crate::health::HealthState;

/// Scrapes that are written at the same time.
const SCRAPES: usize = 2;

/// How long further ones wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the handler reads.
struct Scraped {
    metrics: Metrics,
    /// `None`: open to all.
    access: Option<Access>,
    places: Arc<Semaphore>,
}

/// The path, open to all without `access`.
pub(super) fn router(metrics: Metrics, access: Option<Access>, health: HealthState) -> Router {
    metrics.before_scrapes(move |catalogue| {
        for condition in health.conditions() {
            let up = if condition.up { 1.0 } else { 0.0 };
            catalogue.ready.with([condition.id]).set(up);
        }
    });
    let places = Arc::new(Semaphore::new(SCRAPES));
    Router::new()
        .route("/metrics", get(scrape))
        .with_state(Arc::new(Scraped {
            metrics,
            access,
            places,
        }))
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
    let place = tokio::time::timeout(PATIENCE, scraped.places.clone().acquire_owned()).await;
    let Ok(Ok(place)) = place else {
        return Err(ApiError::unavailable("Other scrapes are being written."));
    };
    let format = Format::accepted(&list(request.headers(), ACCEPT));
    let zips = takes_gzip(&list(request.headers(), ACCEPT_ENCODING));
    let chunks = Chunks {
        encoding: scraped.metrics.encode(format),
        gzip: zips.then(|| GzEncoder::new(Vec::new(), Compression::fast())),
        _place: place,
    };
    let mut response = Body::new(chunks).into_response();
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static(format.content_type()),
    );
    headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    if zips {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// All values of a header that is a list.
fn list(headers: &HeaderMap, name: HeaderName) -> String {
    let values = headers.get_all(name).iter();
    let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

/// Whether `Accept-Encoding` names gzip, or anything, with a weight that is not 0.
fn takes_gzip(accepted: &str) -> bool {
    let weight_of = |wanted: &str| {
        accepted.split(',').find_map(|coding| {
            let mut parts = coding.split(';').map(str::trim);
            if !parts.next()?.eq_ignore_ascii_case(wanted) {
                return None;
            }
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            Some(weight.map_or(1.0, |weight| weight.parse::<f32>().unwrap_or(0.0)))
        })
    };
    weight_of("gzip").or_else(|| weight_of("*")).unwrap_or(0.0) > 0.0
}

/// A scrape as a body; each chunk is made when the one before has gone out.
struct Chunks {
    encoding: Encoding,
    gzip: Option<GzEncoder<Vec<u8>>>,
    _place: OwnedSemaphorePermit,
}

impl Chunks {
    /// What comes next; nothing at the end.
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        for chunk in self.encoding.by_ref() {
            let Some(gzip) = &mut self.gzip else {
                return Ok(Some(chunk.into_bytes()));
            };
            gzip.write_all(chunk.as_bytes())?;
            let zipped = std::mem::take(gzip.get_mut());
            if !zipped.is_empty() {
                return Ok(Some(zipped));
            }
        }
        self.gzip.take().map(GzEncoder::finish).transpose()
    }
}

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let chunk = self.next().transpose();
        Poll::Ready(chunk.map(|chunk| chunk.map(|chunk| Frame::data(Bytes::from(chunk)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_zipped_is_the_scrape() {
        use std::io::Read;

        let metrics = Metrics::new(&telemetry::metrics::MetricsSettings::default());
        for i in 0..2000 {
            metrics.authorization_denied("TOPIC", &i.to_string());
        }
        let place = || {
            let places = Arc::new(Semaphore::new(1));
            places.try_acquire_owned().expect("it is free")
        };
        let read = |gzip| {
            let mut chunks = Chunks {
                encoding: metrics.encode(Format::Text),
                gzip,
                _place: place(),
            };
            let mut all = Vec::new();
            while let Some(chunk) = chunks.next().expect("memory takes all") {
                all.extend(chunk);
            }
            all
        };
        let zipped = read(Some(GzEncoder::new(Vec::new(), Compression::fast())));
        let mut text = String::new();
        let mut reader = flate2::read::GzDecoder::new(zipped.as_slice());
        reader.read_to_string(&mut text).expect("it is gzip");
        let denied = |text: &str| {
            text.matches("\ngateway_authorization_denied_total{")
                .count()
        };
        assert_eq!(denied(&text), 2000);
        assert!(zipped.len() * 4 < text.len());
        assert_eq!(denied(&String::from_utf8_lossy(&read(None))), 2000);
    }

    #[test]
    fn gzip_is_sent_to_those_who_take_it() {
        for (accepted, expected) in [
            ("", false),
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip;q=x", false),
            ("*", true),
            ("*;q=1, gzip;q=0", false),
            ("identity", false),
        ] {
            assert_eq!(takes_gzip(accepted), expected, "{accepted}");
        }
    }
}
