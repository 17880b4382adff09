//! Metrics: one catalogue, cheap handles, and the two text forms that scrapers read.
//!
//! ```
//! use sluicegate_telemetry::metrics::{Format, Metrics, MetricsSettings};
//!
//! let metrics = Metrics::new(&MetricsSettings::default());
//! metrics.authentication_failed("billing", "PLAIN", "wrong-credentials");
//! let text: String = metrics.encode(Format::Text).collect();
//! assert!(text.contains("gateway_failed_authentications_total{username=\"billing\"} 1\n"));
//! ```
//!
//! Every metric is declared once, in [`catalogue`]. A family hands out instruments by label values ([`Family::with`]); looking one up
//! costs a lock and a comparison of texts, so paths that are walked per request keep the instrument. A thread that counts often takes a
//! handle of its own ([`Counter::own`] and the like): nobody else writes where it writes, and a scrape adds up.
//! A scrape copies a page of series at a time and never holds a lock while it writes.

mod catalogue;
mod client;
mod document;
mod family;
mod instrument;
mod lifecycle;
mod parking;
mod reading;
#[cfg(test)]
mod shipped;
mod text;
mod topics;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

pub use catalogue::{Catalogue, DECLARATIONS};
pub use client::{Answered, Api, ClientMetrics, Clients, Origin};
pub use document::{MARKER, markdown};
pub use family::{Declaration, Domain, Family};
pub use instrument::{
    Addable, BOUNDS, Bounds, Counter, Endless, Facet, Gauge, Held, Histogram, Instrument, Kind,
    Level, Moment, Offset, Own, OwnCounter, OwnHistogram, OwnLevel, OwnTimer, RATE_WINDOW, Rate,
    Samples, SecondsCounter, Stages, Standard, Timer,
};
pub use lifecycle::{Lifecycle, LifecycleSettings, Steps};
pub use parking::{Parking, WorkerParking};
pub use reading::{Sample, Series};
pub use text::{Encoding, Format};
pub use topics::{Committed, Names, Topic, TopicSettings, Topics};

/// Label value of names that no account has.
pub const UNKNOWN: &str = "<unknown>";
/// Label value where no name was offered.
pub const NONE: &str = "<none>";
/// Label value that takes in what does not fit under a cap.
pub const OTHER: &str = "<other>";
/// Label value of clients that need not authenticate.
pub const ANONYMOUS: &str = "anonymous";

/// Label value of the virtual cluster of those who are in none.
pub const PASSTHROUGH: &str = "passthrough";

/// The way of bytes: towards Kafka, and from Kafka.
pub const DIRECTIONS: [&str; 2] = [UPSTREAM, DOWNSTREAM];
/// Towards Kafka.
pub const UPSTREAM: &str = "upstream";
/// From Kafka.
pub const DOWNSTREAM: &str = "downstream";

/// The phases of connecting to a broker.
pub const HANDSHAKE_PHASES: [&str; 3] = ["tcp", "tls", "sasl"];
/// Why a broker could not be connected to.
pub const CONNECT_FAILURES: [&str; 5] = ["resolve", "tcp", "tls", "sasl", "timeout"];
/// Why connections of clients end.
pub const CLOSE_REASONS: [&str; 10] = [
    "client",
    "broker",
    "idle",
    "stalled",
    "shutdown",
    "returned",
    "limit",
    "authentication",
    "tls",
    "protocol",
];

/// Mechanisms with series of their own. Clients choose the name that they ask for, so that other names share one series.
const MECHANISMS: &[&str] = &[
    "PLAIN",
    "SCRAM-SHA-256",
    "SCRAM-SHA-512",
    "OAUTHBEARER",
    "AWS_MSK_IAM",
    "SSL",
];

/// Seconds between two looks for series that have been idle for long.
const SWEEP_EVERY: u64 = 30;

/// Which series there may be, and how many.
#[derive(Clone, Debug)]
pub struct MetricsSettings {
    /// `GATEWAY_METRICS_USER_ENABLED`: whether users have series of their own; else all are counted under [`OTHER`].
    pub users: bool,
    /// `GATEWAY_METRICS_MAX_USERS`: user names with series of their own; more are counted under [`OTHER`].
    pub max_users: usize,
    /// `GATEWAY_METRICS_MAX_VCLUSTERS`: virtual clusters with series of their own; more are counted under [`OTHER`].
    pub max_vclusters: usize,
    /// Timers of the stages of requests; `None`: nothing is measured.
    pub lifecycle: Option<LifecycleSettings>,
    /// Series of topics and groups.
    pub topics: TopicSettings,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self {
            users: true,
            max_users: 1000,
            max_vclusters: 500,
            lifecycle: None,
            topics: TopicSettings::default(),
        }
    }
}

/// All metrics of the process; a cheap handle.
#[derive(Clone)]
pub struct Metrics {
    catalogue: Arc<Catalogue>,
    lifecycle: Option<Arc<LifecycleSettings>>,
    swept: Arc<Mutex<Moment>>,
    topics: Arc<Topics>,
    collectors: Arc<Mutex<Vec<Collector>>>,
}

/// Sets gauges before a scrape.
type Collector = Arc<dyn Fn(&Catalogue) + Send + Sync>;

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Every family of the catalogue, born at zero where its labels are known.
    pub fn new(settings: &MetricsSettings) -> Self {
        let catalogue = Arc::new(Catalogue::new(settings));
        Self {
            topics: Arc::new(Topics::new(&catalogue, &settings.topics)),
            catalogue,
            lifecycle: settings.lifecycle.clone().map(Arc::new),
            swept: Arc::new(Mutex::new(Moment::now())),
            collectors: Arc::default(),
        }
    }

    /// Has `collect` called before each scrape, to set what is known by looking only. It must not wait, nor take a lock that requests
    /// wait for.
    pub fn before_scrapes(&self, collect: impl Fn(&Catalogue) + Send + Sync + 'static) {
        let mut collectors = self
            .collectors
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        collectors.push(Arc::new(collect));
    }

    /// What is counted for the connections of users, for one thread.
    pub fn clients(&self) -> Clients {
        Clients::new(&self.catalogue)
    }

    /// The timers of the stages of requests, for one thread; `None`: they are off.
    pub fn lifecycle(&self) -> Option<Lifecycle> {
        let settings = self.lifecycle.as_ref()?;
        Some(Lifecycle::new(&self.catalogue, settings))
    }

    /// The series of topics and groups.
    pub fn topics(&self) -> &Arc<Topics> {
        &self.topics
    }

    /// Gives a virtual cluster its series before anybody uses it.
    pub fn vcluster_known(&self, name: &str) {
        self.catalogue.bear_vcluster(name);
    }

    /// Gives all failed authentications their series, `reasons` being all there are.
    pub fn failures_known(&self, reasons: &[&str]) {
        for mechanism in MECHANISMS.iter().chain([&OTHER]) {
            for reason in reasons {
                self.catalogue
                    .failed_authentications_detail
                    .with([mechanism, reason]);
            }
        }
    }

    /// The families, for paths that keep instruments.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The scrape as text, in chunks of a few KiB that are made while they are read.
    pub fn encode(&self, format: Format) -> Encoding {
        self.collect();
        Encoding::new(Arc::clone(&self.catalogue), format)
    }

    /// Sets what is known by looking only.
    fn collect(&self) {
        let collectors = self
            .collectors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for collect in collectors {
            collect(&self.catalogue);
        }
        let now = Moment::now();
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(*swept) >= SWEEP_EVERY {
            *swept = now;
            self.catalogue.sweep(now);
        }
        drop(swept);
        self.catalogue.count_series();
    }

    /// Counts a failed authentication of a Kafka client. `username` is the attempted name if an account, super user or external
    /// name matches it, else [`UNKNOWN`], or [`NONE`] if no name was offered; `mechanism` is the SASL mechanism or `SSL`, unknown ones are
    /// counted as [`OTHER`]; `reason` is one of a fixed set.
    pub fn authentication_failed(&self, username: &str, mechanism: &str, reason: &str) {
        let mechanism = match MECHANISMS.contains(&mechanism) {
            true => mechanism,
            false => OTHER,
        };
        self.catalogue.failed_authentications.with([username]).inc();
        self.catalogue
            .failed_authentications_detail
            .with([mechanism, reason])
            .inc();
    }

    /// Counts a request, or part of one, that was denied, by the type of the resource and the operation, in Kafka's spelling.
    pub fn authorization_denied(&self, resource_type: &str, operation: &str) {
        self.catalogue
            .authorization_denied
            .with([resource_type, operation])
            .inc();
    }

    /// Counts a connection that was closed because its session had expired (KIP-368).
    pub fn expired_connections_killed(&self) {
        self.catalogue.expired_connections_killed.with([]).inc();
    }

    /// Tells when the certificate of a use (`client`, `admin`, `upstream`) expires.
    pub fn certificate_expiry(&self, used_for: &str, not_after: SystemTime) {
        let seconds = match not_after.duration_since(UNIX_EPOCH) {
            Ok(after) => after.as_secs_f64(),
            Err(before) => -before.duration().as_secs_f64(),
        };
        self.catalogue
            .certificate_expiry
            .with([used_for])
            .set(seconds);
        // Born at zero: failures are watched from now on.
        self.catalogue.certificate_reload_failures.with([used_for]);
    }

    /// Counts a reload of a certificate that failed; the one before stays in use.
    pub fn certificate_reload_failed(&self, used_for: &str) {
        self.catalogue
            .certificate_reload_failures
            .with([used_for])
            .inc();
    }

    /// Shows what was built.
    pub fn build_info(&self, version: &str, commit: &str, rustc: &str) {
        self.catalogue
            .build_info
            .with([version, commit, rustc])
            .set(1.0);
    }
}
