//! The push of all metrics to an OTLP collector, for sites without a scraper.
//!
//! It runs beside the admin port on the admin thread: a collector that is slow or gone delays nobody. What it gets are the sums since the
//! start of the process, so that a push that fails loses nothing but points in time.

mod request;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use auth::http::{Answer, Endpoint, Limits};
use auth::tls::client::{ClientTls, Trust};
use auth::tls::material;
use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use bytes::Bytes;
use config::Otlp;
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message as _;
use rustls::ClientConfig;
use telemetry::metrics::Metrics;
use telemetry::targets::HTTP;
use tokio::time::MissedTickBehavior;

use request::Requests;

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 64 << 10;
/// Pause between two warnings.
const WARNING_PAUSE: Duration = Duration::from_secs(600);
/// How an export ends.
const OUTCOMES: [&str; 3] = ["sent", "partial", "failed"];

/// Pushes metrics; see [`Exporter::run`].
pub struct Exporter {
    metrics: Metrics,
    requests: Requests,
    endpoint: Endpoint,
    headers: HeaderMap,
    limits: Limits,
    interval: Duration,
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

impl Exporter {
    /// Checks everything that can be checked without asking the collector.
    ///
    /// # Errors
    /// What is wrong with the URL, the headers or the file of certificates; no secret.
    pub fn new(settings: &Otlp, metrics: Metrics) -> io::Result<Self> {
        let wrong = |variable: &str, what: String| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{variable}: {what}"))
        };
        let tls = || client_tls(settings.certificate.as_deref());
        let endpoint = Endpoint::new(&settings.endpoint, tls)
            .map_err(|error| wrong("OTEL_EXPORTER_OTLP_ENDPOINT", error))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.headers {
            let header = HeaderName::try_from(name.as_str()).ok();
            let value = HeaderValue::from_str(value.expose()).ok();
            let Some((header, mut value)) = header.zip(value) else {
                let what = format!("the header '{name}' cannot be sent");
                return Err(wrong("OTEL_EXPORTER_OTLP_HEADERS", what));
            };
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        let exports = &metrics.catalogue().otlp_exports;
        OUTCOMES
            .iter()
            .for_each(|outcome| drop(exports.with([outcome])));
        Ok(Self {
            requests: Requests::new(&settings.attributes),
            metrics,
            endpoint,
            headers,
            limits: Limits {
                connect: settings.timeout,
                answer: settings.timeout,
                max_bytes: MAX_ANSWER,
            },
            interval: settings.interval,
        })
    }

    /// Pushes at every interval, for ever.
    pub async fn run(self) {
        let first = tokio::time::Instant::now() + self.interval;
        let mut ticks = tokio::time::interval_at(first, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut warned: Option<Instant> = None;
        loop {
            ticks.tick().await;
            let (outcome, problem) = match self.push().await {
                Ok(None) => ("sent", None),
                Ok(Some(refused)) => ("partial", Some(refused)),
                Err(problem) => ("failed", Some(problem)),
            };
            self.metrics.catalogue().otlp_exports.with([outcome]).inc();
            let Some(problem) = problem else {
                if warned.take().is_some() {
                    tracing::info!(target: HTTP, collector = self.endpoint.name(), "metrics are pushed again");
                }
                continue;
            };
            if warned.is_none_or(|last| last.elapsed() >= WARNING_PAUSE) {
                warned = Some(Instant::now());
                tracing::warn!(target: HTTP, collector = self.endpoint.name(), problem, "metrics are not pushed");
            }
        }
    }

    /// Sends everything once; tells what the collector has refused, if anything.
    async fn push(&self) -> Result<Option<String>, String> {
        let mut refused = None;
        for body in self.requests.of(&self.metrics) {
            let mut request = self
                .endpoint
                .request(Method::POST, self.endpoint.path())
                .header(CONTENT_TYPE, "application/x-protobuf")
                .header(
                    USER_AGENT,
                    concat!("sluicegate/", env!("CARGO_PKG_VERSION")),
                )
                .body(Full::new(Bytes::from(body)))
                .map_err(|error| error.to_string())?;
            request.headers_mut().extend(self.headers.clone());
            let answer = self.endpoint.send(request, self.limits).await;
            refused = accepted(&answer.map_err(|error| error.to_string())?)?.or(refused);
        }
        Ok(refused)
    }
}

/// Judges an answer.
fn accepted(answer: &Answer) -> Result<Option<String>, String> {
    if !(200..300).contains(&answer.status) {
        return Err(format!("it answers with status {}", answer.status));
    }
    // An empty answer is one without complaints; one that cannot be read says nothing either.
    let answer = ExportMetricsServiceResponse::decode(answer.body.as_slice()).unwrap_or_default();
    let partial = answer
        .partial_success
        .filter(|p| p.rejected_data_points > 0);
    Ok(partial.map(|partial| format!("it has refused {} points", partial.rejected_data_points)))
}

fn client_tls(certificates: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let trust = match certificates {
        None => Trust::System,
        Some(file) => {
            let bytes = material::read_file(file).map_err(|error| error.to_string())?;
            let trusted = material::trusted(&bytes, None);
            Trust::Certificates(trusted.map_err(|error| format!("{}: {error}", file.display()))?)
        }
    };
    let tls = ClientTls {
        trust,
        identity: None,
        verify_hostname: true,
        versions: rustls::ALL_VERSIONS,
        cipher_suites: &[],
    };
    let (config, _) = tls.build().map_err(|error| error.to_string())?;
    Ok(Arc::new(config))
}
