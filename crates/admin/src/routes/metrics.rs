//! `/metrics`.
//!
//! A scrape of many series keeps a processor busy for a while. It is written by a thread of its own that gives way to everybody else's: neither
//! clients nor probes of health wait for it.

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
use tokio::sync::{Semaphore, mpsc};

use crate::access::{Access, Peer};
use crate::audit::Call;
use crate::error::ApiError;
use crate::health::HealthState;

/// Scrapes that are written at the same time.
const SCRAPES: usize = 2;

/// How long further ones wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes handed over in one go, about.
const PIECE: usize = 32 << 10;

/// Pieces that are ready and have not been taken.
const AHEAD: usize = 2;

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
    let (pieces, written) = mpsc::channel(AHEAD);
    let metrics = scraped.metrics.clone();
    std::thread::Builder::new()
        .name("scrape".into())
        .spawn(move || {
            give_way();
            write(&metrics, format, zips, &pieces);
            drop(place);
        })
        .map_err(|_| ApiError::unavailable("There is no thread for the scrape."))?;
    let mut response = Body::new(Written(written)).into_response();
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

/// Lets other threads go first, where threads have a priority of their own.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        /// Of 19, the least.
        const NICE: i32 = 10;
        let this = rustix::thread::gettid();
        if let Err(error) = rustix::process::setpriority_process(Some(this), NICE) {
            tracing::debug!(target: telemetry::targets::METRICS, %error, "scrapes have the priority of everything else");
        }
    }
}

/// Writes a scrape until it ends, which an empty piece says, or nobody reads it.
fn write(
    metrics: &Metrics,
    format: Format,
    zips: bool,
    pieces: &mpsc::Sender<io::Result<Vec<u8>>>,
) {
    let mut chunks = Chunks {
        encoding: metrics.encode(format),
        gzip: zips.then(|| GzEncoder::new(Vec::new(), Compression::fast())),
    };
    loop {
        let piece = chunks.piece();
        let goes_on = piece.as_ref().is_ok_and(|piece| !piece.is_empty());
        if pieces.blocking_send(piece).is_err() || !goes_on {
            return;
        }
    }
}

/// A scrape, made while it is read.
struct Chunks {
    encoding: Encoding,
    gzip: Option<GzEncoder<Vec<u8>>>,
}

impl Chunks {
    /// What comes next; empty at the end.
    fn piece(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = Vec::new();
        for chunk in self.encoding.by_ref() {
            match &mut self.gzip {
                None => piece.extend_from_slice(chunk.as_bytes()),
                Some(gzip) => {
                    gzip.write_all(chunk.as_bytes())?;
                    piece.append(gzip.get_mut());
                }
            }
            if piece.len() >= PIECE {
                return Ok(piece);
            }
        }
        if let Some(gzip) = self.gzip.take() {
            piece.append(&mut gzip.finish()?);
        }
        Ok(piece)
    }
}

/// A scrape as a body. One that was not written to its end is an error and not a short scrape.
struct Written(mpsc::Receiver<io::Result<Vec<u8>>>);

impl hyper::body::Body for Written {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|piece| match piece {
            None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            Some(Ok(end)) if end.is_empty() => None,
            Some(piece) => Some(piece.map(|bytes| Frame::data(Bytes::from(bytes)))),
        })
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
        let read = |zips| {
            let (pieces, mut written) = mpsc::channel(AHEAD);
            std::thread::scope(|scope| {
                scope.spawn(|| write(&metrics, Format::Text, zips, &{ pieces }));
                let mut all = Vec::new();
                while let Some(piece) = written.blocking_recv() {
                    all.extend(piece.expect("memory takes all"));
                }
                all
            })
        };
        let zipped = read(true);
        let mut text = String::new();
        let mut reader = flate2::read::GzDecoder::new(zipped.as_slice());
        reader.read_to_string(&mut text).expect("it is gzip");
        let denied = |text: &str| {
            text.matches("\ngateway_authorization_denied_total{")
                .count()
        };
        assert_eq!(denied(&text), 2000);
        assert!(zipped.len() * 4 < text.len());
        assert_eq!(denied(&String::from_utf8_lossy(&read(false))), 2000);
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
