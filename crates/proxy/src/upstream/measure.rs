//! What is counted about connections to brokers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use telemetry::metrics::{Counter, Held, Histogram, Level, Metrics, Moment, Rate, Timer};
use wire::api::ApiKey;

use super::DialError;

/// The instruments of all connections to brokers.
pub(crate) struct Dials {
    metrics: Metrics,
    connected: Level,
    brokered: Level,
    opened: Counter,
    opening: Timer,
    open_rate: Rate,
    closed: Counter,
    closing: Timer,
    close_rate: Rate,
    tcp: Histogram,
    tls: Histogram,
    sasl: Histogram,
}

/// A phase of connecting.
#[derive(Clone, Copy)]
pub(crate) enum Phase {
    Tls,
    Sasl,
}

impl Dials {
    pub(crate) fn new(metrics: &Metrics) -> Arc<Dials> {
        let catalogue = metrics.catalogue();
        let handshake = |phase| catalogue.upstream_handshake.with([phase]);
        Arc::new(Dials {
            connected: catalogue.upstream_connected.with([]),
            brokered: catalogue.brokered.with([]),
            opened: catalogue.upstream_creation.with([]),
            opening: catalogue.upstream_creations.with([]),
            open_rate: catalogue.upstream_creation_rate.with([]),
            closed: catalogue.upstream_close.with([]),
            closing: catalogue.upstream_closes.with([]),
            close_rate: catalogue.upstream_close_rate.with([]),
            tcp: handshake("tcp"),
            tls: handshake("tls"),
            sasl: handshake("sasl"),
            metrics: metrics.clone(),
        })
    }

    /// TCP is established since `began`; counted until the guard is dropped.
    pub(crate) fn established(self: &Arc<Self>, began: Instant) -> Established {
        let (now, at) = moment();
        let took = now.saturating_duration_since(began);
        self.opened.inc();
        self.opening.observe(at, took);
        self.open_rate.add(at, 1);
        self.tcp.observe(at, took);
        Established {
            dials: self.clone(),
            _connected: self.connected.hold(),
            ending: None,
        }
    }

    /// A phase that began then has ended well.
    pub(crate) fn passed(&self, phase: Phase, began: Instant) {
        let (now, at) = moment();
        let histogram = match phase {
            Phase::Tls => &self.tls,
            Phase::Sasl => &self.sasl,
        };
        histogram.observe(at, now.saturating_duration_since(began));
    }

    pub(crate) fn failed(&self, error: &DialError) {
        let reason = match error {
            DialError::Resolve { .. } => "resolve",
            DialError::Connect { .. } => "tcp",
            DialError::Tls { .. } => "tls",
            DialError::Login { .. } => "sasl",
            DialError::TimedOut { .. } => "timeout",
        };
        let family = &self.metrics.catalogue().upstream_connect_failures;
        family.with([reason]).inc();
    }

    /// How long broker `id` takes.
    pub(crate) fn broker(&self, id: i32) -> BrokerTimes {
        let family = &self.metrics.catalogue().upstream_request;
        let id = id.to_string();
        BrokerTimes {
            fetch: family.with([&id, "fetch"]),
            group: family.with([&id, "group"]),
            other: family.with([&id, "other"]),
        }
    }

    /// One more connection that carries requests of clients.
    pub(crate) fn brokered(&self) -> Held {
        self.brokered.hold()
    }
}

/// An established connection.
pub(crate) struct Established {
    dials: Arc<Dials>,
    _connected: Held,
    ending: Option<Instant>,
}

impl Established {
    /// The connection is about to be released.
    pub(crate) fn ending(&mut self) {
        self.ending = Some(Instant::now());
    }
}

impl Drop for Established {
    fn drop(&mut self) {
        let (now, at) = moment();
        let took = self.ending.map_or(Duration::ZERO, |since| now - since);
        self.dials.closed.inc();
        self.dials.closing.observe(at, took);
        self.dials.close_rate.add(at, 1);
    }
}

/// How long one broker takes over requests of clients.
#[derive(Clone)]
pub(crate) struct BrokerTimes {
    fetch: Histogram,
    group: Histogram,
    other: Histogram,
}

impl BrokerTimes {
    pub(crate) fn answered(&self, api: ApiKey, at: Instant, took: Duration) {
        let histogram = match api {
            ApiKey::FETCH | ApiKey::SHARE_FETCH => &self.fetch,
            ApiKey::JOIN_GROUP | ApiKey::SYNC_GROUP => &self.group,
            _ => &self.other,
        };
        histogram.observe(Moment::of(at), took);
    }
}

fn moment() -> (Instant, Moment) {
    let now = Instant::now();
    (now, Moment::of(now))
}
