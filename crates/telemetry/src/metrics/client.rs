//! What is counted for the requests of one user by one thread, with all label values resolved: nothing is looked up per request, and no
//! other thread writes to the same place.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use super::catalogue::Catalogue;
use super::instrument::{Level, Moment, OwnCounter, OwnHistogram, OwnLevel, OwnTimer};
use super::{DOWNSTREAM, NONE, OTHER, UPSTREAM};

/// API keys with a place of their own; those beyond share the last one.
pub(super) const KEYS: usize = 128;

/// Error codes of Kafka's protocol with series of their own.
const CODES: std::ops::RangeInclusive<i16> = -1..=199;

/// The instruments of the connections of one user in one virtual cluster, on one thread.
#[derive(Debug)]
pub struct ClientMetrics {
    catalogue: Arc<Catalogue>,
    vcluster: Box<str>,
    username: Box<str>,
    /// Connections now.
    pub connections: Level,
    /// Bytes to brokers.
    pub upstream: OwnCounter,
    /// Bytes from brokers.
    pub downstream: OwnCounter,
    latency: OwnHistogram,
    apis: Box<[OnceCell<Box<PerApi>>]>,
}

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    /// Kafka's number.
    pub key: i16,
    /// Its name, as `ListOffsets`.
    pub name: &'static str,
}

/// How a request was answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// When.
    pub at: Moment,
    /// From its last byte to the complete answer.
    pub took: Duration,
    /// The part of it that the broker took.
    pub upstream: Duration,
    /// How long it waited for its turn, or for a connection to take it.
    pub queued: Duration,
    /// For how long the answer throttles the client, ms.
    pub throttle_ms: u32,
    /// The first error in the answer, and who said so.
    pub error: Option<(i16, Origin)>,
}

/// Who says that something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Kafka.
    Broker,
    /// The gateway.
    Gateway,
    /// Its access control.
    Authorization,
}

impl Origin {
    fn as_str(self) -> &'static str {
        match self {
            Origin::Broker => "broker",
            Origin::Gateway => "gateway",
            Origin::Authorization => "authorization",
        }
    }
}

/// The instruments of one kind of request.
#[derive(Debug)]
struct PerApi {
    requests: OwnCounter,
    requests_user: OwnCounter,
    in_flight: OwnLevel,
    latency: OwnTimer,
    overhead: OwnHistogram,
    queue_wait: OnceCell<OwnHistogram>,
    throttle: OnceCell<OwnTimer>,
    errors_user: OnceCell<OwnCounter>,
}

impl ClientMetrics {
    fn new(catalogue: &Arc<Catalogue>, vcluster: &str, username: &str) -> Self {
        catalogue.bear_vcluster(vcluster);
        Self {
            vcluster: vcluster.into(),
            username: username.into(),
            connections: catalogue.client_connections.with([vcluster]),
            upstream: catalogue.bytes_vcluster.with([UPSTREAM, vcluster]).own(),
            downstream: catalogue.bytes_vcluster.with([DOWNSTREAM, vcluster]).own(),
            latency: catalogue.latency.with([]).own(),
            apis: (0..KEYS).map(|_| OnceCell::new()).collect(),
            catalogue: Arc::clone(catalogue),
        }
    }

    /// A request of an authenticated client was accepted.
    pub fn accepted(&self, api: Api) {
        if let Some(instruments) = self.api(api) {
            instruments.requests.inc();
            instruments.requests_user.inc();
        }
    }

    /// An answer is owed from now on.
    pub fn owed(&self, api: Api) {
        if let Some(instruments) = self.api(api) {
            instruments.in_flight.inc();
        }
    }

    /// The answer has been given, or never will be.
    pub fn settled(&self, api: Api) {
        if let Some(instruments) = self.api(api) {
            instruments.in_flight.dec();
        }
    }

    /// The answer is with the client.
    pub fn answered(&self, api: Api, answered: &Answered) {
        let Some(instruments) = self.api(api) else {
            return;
        };
        let Answered {
            at,
            took,
            upstream,
            queued,
            ..
        } = *answered;
        self.latency.observe(at, took);
        instruments.latency.observe(at, took);
        let overhead = took.saturating_sub(upstream).saturating_sub(queued);
        instruments.overhead.observe(at, overhead);
        if !queued.is_zero() {
            let queue_wait = instruments.queue_wait.get_or_init(|| {
                let family = &self.catalogue.queue_wait;
                family.with([&snake(api.name)]).own()
            });
            queue_wait.observe(at, queued);
        }
        if answered.throttle_ms > 0 {
            let throttle = instruments.throttle.get_or_init(|| {
                let family = &self.catalogue.throttle;
                family.with([api.name, &self.vcluster]).own()
            });
            throttle.observe(at, Duration::from_millis(answered.throttle_ms.into()));
        }
        if let Some((code, origin)) = answered.error {
            let said = code.to_string();
            let code = if CODES.contains(&code) { &said } else { OTHER };
            self.failed(api, instruments, code, origin);
        }
    }

    /// There will be no answer.
    pub fn unanswered(&self, api: Api, origin: Origin) {
        if let Some(instruments) = self.api(api) {
            self.failed(api, instruments, NONE, origin);
        }
    }

    fn failed(&self, api: Api, instruments: &PerApi, code: &str, origin: Origin) {
        let errors = instruments.errors_user.get_or_init(|| {
            let family = &self.catalogue.errors_user;
            family
                .with([api.name, &self.vcluster, &self.username])
                .own()
        });
        errors.inc();
        let labels = [&*snake(api.name), code, origin.as_str()];
        self.catalogue.errors.with(labels).inc();
    }

    fn api(&self, api: Api) -> Option<&PerApi> {
        let place = usize::try_from(api.key).map_or(KEYS - 1, |key| key.min(KEYS - 1));
        let slot = self.apis.get(place)?;
        Some(slot.get_or_init(|| Box::new(self.make(api.name))))
    }

    fn make(&self, name: &str) -> PerApi {
        let (catalogue, vcluster, username) = (&self.catalogue, &self.vcluster, &self.username);
        let snake = snake(name);
        PerApi {
            requests: catalogue.requests.with([&snake, vcluster]).own(),
            requests_user: catalogue
                .requests_user
                .with([name, vcluster, username])
                .own(),
            in_flight: catalogue.in_flight.with([name, vcluster, username]).own(),
            latency: catalogue.latency_api.with([name, vcluster]).own(),
            overhead: catalogue.overhead.with([&snake]).own(),
            queue_wait: OnceCell::new(),
            throttle: OnceCell::new(),
            errors_user: OnceCell::new(),
        }
    }
}

/// Those who are connected to one thread now. Connections of the same user share what they count to.
#[derive(Debug)]
pub struct Clients {
    catalogue: Arc<Catalogue>,
    known: RefCell<Known>,
}

#[derive(Debug, Default)]
struct Known {
    by_name: HashMap<(Box<str>, Box<str>), Weak<ClientMetrics>>,
    /// Those who have gone are forgotten when there are so many.
    tidy_at: usize,
}

impl Clients {
    pub(super) fn new(catalogue: &Arc<Catalogue>) -> Self {
        Self {
            catalogue: Arc::clone(catalogue),
            known: RefCell::default(),
        }
    }

    /// What is counted for the connections of one user.
    pub fn get(&self, vcluster: &str, username: &str) -> Rc<ClientMetrics> {
        let key = (Box::from(vcluster), Box::from(username));
        let mut known = self.known.borrow_mut();
        if let Some(client) = known.by_name.get(&key).and_then(Weak::upgrade) {
            return client;
        }
        let client = Rc::new(ClientMetrics::new(&self.catalogue, vcluster, username));
        if known.by_name.len() >= known.tidy_at {
            known.by_name.retain(|_, client| client.strong_count() > 0);
            known.tidy_at = 64.max(2 * known.by_name.len());
        }
        known.by_name.insert(key, Rc::downgrade(&client));
        client
    }
}

/// `LIST_OFFSETS` of `ListOffsets`.
pub(super) fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_uppercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{ANONYMOUS, Format, Metrics, MetricsSettings, PASSTHROUGH};

    const LIST_OFFSETS: Api = Api {
        key: 2,
        name: "ListOffsets",
    };

    fn scrape(metrics: &Metrics) -> String {
        metrics.encode(Format::Text).collect()
    }

    fn has(text: &str, line: &str) {
        assert!(text.lines().any(|l| l == line), "{line} in {text}");
    }

    fn answer(error: Option<(i16, Origin)>) -> Answered {
        Answered {
            at: Moment::now(),
            took: Duration::from_millis(5),
            upstream: Duration::from_millis(4),
            queued: Duration::ZERO,
            throttle_ms: 0,
            error,
        }
    }

    #[test]
    fn names_in_upper_snake_case() {
        for (camel, expected) in [
            ("Produce", "PRODUCE"),
            ("ListOffsets", "LIST_OFFSETS"),
            ("Unknown", "UNKNOWN"),
            ("AddPartitionsToTxn", "ADD_PARTITIONS_TO_TXN"),
        ] {
            assert_eq!(snake(camel), expected);
        }
    }

    #[test]
    fn a_request_is_counted_on_its_way() {
        let metrics = Metrics::new(&MetricsSettings::default());
        let client = metrics.clients().get("billing", "app");
        client.accepted(LIST_OFFSETS);
        client.owed(LIST_OFFSETS);
        let labels = "apiKeys=\"ListOffsets\",vcluster=\"billing\",username=\"app\"";
        let text = scrape(&metrics);
        has(
            &text,
            &format!("gateway_current_inflight_apiKeys{{{labels}}} 1"),
        );
        has(
            &text,
            &format!("gateway_current_inflight_apiKeys_total{{{labels}}} 1"),
        );
        client.settled(LIST_OFFSETS);
        client.answered(LIST_OFFSETS, &answer(Some((3, Origin::Broker))));
        client.answered(LIST_OFFSETS, &answer(None));
        let text = scrape(&metrics);
        for line in [
            &format!("gateway_current_inflight_apiKeys{{{labels}}} 0"),
            &format!("gateway_error_per_apiKeys_total{{{labels}}} 1"),
            "gateway_errors_total{api_key=\"LIST_OFFSETS\",error_code=\"3\",origin=\"broker\"} 1",
            "gateway_thread_request_rebuild_total{api_key=\"LIST_OFFSETS\",vcluster=\"billing\"} 1",
            "gateway_latency_request_response_seconds_count 2",
            "gateway_latency_request_response_seconds_bucket{le=\"0.002\"} 0",
            "gateway_latency_request_response_seconds_bucket{le=\"0.005\"} 2",
            "gateway_apiKeys_latency_request_response_seconds_sum{apiKeys=\"ListOffsets\",vcluster=\"billing\"} 0.01",
            "gateway_overhead_seconds_bucket{api_key=\"LIST_OFFSETS\",le=\"0.001\"} 2",
            "gateway_overhead_seconds_max{api_key=\"LIST_OFFSETS\"} 0.001",
        ] {
            has(&text, line);
        }
    }

    #[test]
    fn codes_that_kafka_does_not_have_share_a_series() {
        let metrics = Metrics::new(&MetricsSettings::default());
        let client = metrics.clients().get(PASSTHROUGH, ANONYMOUS);
        for code in 200..300 {
            client.answered(LIST_OFFSETS, &answer(Some((code, Origin::Broker))));
        }
        let line = "gateway_errors_total{api_key=\"LIST_OFFSETS\",error_code=\"<other>\",origin=\"broker\"} 100";
        has(&scrape(&metrics), line);
    }

    #[test]
    fn keys_without_a_place_are_counted() {
        let metrics = Metrics::new(&MetricsSettings::default());
        let client = metrics.clients().get(PASSTHROUGH, ANONYMOUS);
        for key in [-1, 1000, i16::MAX] {
            client.accepted(Api {
                key,
                name: "Unknown",
            });
        }
        let line =
            "gateway_thread_request_rebuild_total{api_key=\"UNKNOWN\",vcluster=\"passthrough\"} 3";
        has(&scrape(&metrics), line);
    }

    #[test]
    fn users_beyond_the_cap_keep_the_sums_exact() {
        let metrics = Metrics::new(&MetricsSettings {
            max_users: 3,
            max_vclusters: 2,
            ..MetricsSettings::default()
        });
        for i in 0..10 {
            let client = metrics.clients().get(&format!("v{i}"), &format!("u{i}"));
            client.accepted(LIST_OFFSETS);
            client.owed(LIST_OFFSETS);
        }
        let text = scrape(&metrics);
        let sum = |name: &str| -> u64 {
            let lines = text.lines().filter(|line| line.starts_with(name));
            let values = lines.filter_map(|line| line.rsplit_once(' '));
            values
                .filter_map(|(_, value)| value.parse::<u64>().ok())
                .sum()
        };
        assert_eq!(sum("gateway_current_inflight_apiKeys_total{"), 10);
        assert_eq!(sum("gateway_thread_request_rebuild_total{"), 10);
        assert_eq!(
            sum("gateway_current_inflight_apiKeys{"),
            2,
            "gauges are dropped"
        );
        assert!(
            !text.contains("\"v7\"") && !text.contains("\"u7\""),
            "{text}"
        );
    }

    #[test]
    fn connections_of_a_user_share_and_those_who_left_are_forgotten() {
        let metrics = Metrics::new(&MetricsSettings::default());
        let clients = metrics.clients();
        let (a, b) = (clients.get("v", "u"), clients.get("v", "u"));
        assert!(Rc::ptr_eq(&a, &b));
        for i in 0..1000 {
            clients.get("v", &i.to_string());
        }
        let known = clients.known.borrow();
        assert!(known.by_name.len() <= 128, "{}", known.by_name.len());
    }
}
