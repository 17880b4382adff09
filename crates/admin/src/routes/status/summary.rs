//! What the gateway does, in a few numbers: sums over series, and the greatest of what there may be many of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use telemetry::metrics::{BOUNDS, Series};

use super::Facts;
use super::history::{History, Point, Totals};
use crate::build_info::BuildInfo;

/// Virtual clusters, errors and lagging groups that are named.
const NAMED: usize = 15;

/// Topics and users that are named.
const BUSIEST: usize = 8;

/// The answer. Numbers that only grow count from the start of the process; who looks twice knows the rate.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status<'a> {
    /// Seconds since 1970.
    time: f64,
    uptime_seconds: f64,
    build: &'a BuildInfo,
    live: bool,
    ready: bool,
    checks: Vec<Check>,
    /// What `recent` numbers, topics and users are about: the last so many seconds.
    recent_seconds: f64,
    topics: Vec<OfTopic>,
    users: Vec<OfUser>,
    #[serde(flatten)]
    counted: Counted,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OfTopic {
    topic: String,
    vcluster: String,
    bytes_from_clients: f64,
    bytes_to_clients: f64,
}

#[derive(Debug, Serialize)]
struct OfUser {
    user: String,
    vcluster: String,
    requests: f64,
}

#[derive(Debug, Serialize)]
struct Check {
    id: &'static str,
    up: bool,
}

/// What is read from the metrics.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    traffic: Traffic,
    latency: Latency,
    connections: Connections,
    /// Brokers in the cluster.
    brokers: f64,
    errors: Errors,
    /// `None`: it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<Lag>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Traffic {
    requests: f64,
    in_flight: f64,
    waiting: f64,
    bytes_from_clients: f64,
    bytes_to_clients: f64,
}

#[derive(Debug, Serialize)]
struct Latency {
    /// Upper bounds of the buckets, seconds; one more bucket is above all of them.
    bounds: Vec<f64>,
    gateway: Times,
    kafka: Times,
    fetches: Times,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            bounds: BOUNDS
                .iter()
                .map(|(nanos, _)| *nanos as f64 / 1e9)
                .collect(),
            gateway: Times::default(),
            kafka: Times::default(),
            fetches: Times::default(),
        }
    }
}

#[derive(Debug, Default, Serialize)]
struct Times {
    count: f64,
    seconds: f64,
    /// How many are below each bound, and how many there are.
    below: Vec<f64>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Connections {
    clients: f64,
    to_brokers: f64,
    opened: f64,
    closed: f64,
    vclusters: Vec<OfVcluster>,
    /// Connections of virtual clusters that are not named.
    others: f64,
}

#[derive(Debug, Serialize)]
struct OfVcluster {
    name: String,
    connections: f64,
}

#[derive(Debug, Default, Serialize)]
struct Errors {
    broker: f64,
    gateway: f64,
    authorization: f64,
    /// Failed logins.
    authentication: f64,
    most: Vec<OfKind>,
}

#[derive(Debug, Serialize)]
struct OfKind {
    request: String,
    code: String,
    /// Kafka's name of the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    origin: String,
    count: f64,
    recent: f64,
}

#[derive(Debug, Default, Serialize)]
struct Lag {
    /// The greatest.
    records: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
    groups: Vec<OfGroup>,
}

#[derive(Debug, Serialize)]
struct OfGroup {
    vcluster: String,
    group: String,
    topic: String,
    records: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds: Option<f64>,
}

const FAMILIES: &[&str] = &[
    "gateway_thread_request_rebuild_total",
    "gateway_current_inflight_apiKeys",
    "gateway_thread_tasks",
    "gateway_bytes_exchanged_total",
    "gateway_overhead_seconds",
    "gateway_upstream_request_seconds",
    "gateway_upstream_connections_downstream",
    "gateway_upstream_connections_upstream_connected",
    "gateway_client_connect_total",
    "gateway_client_close_total",
    "gateway_active_connections_vcluster",
    "gateway_upstream_io_nodes",
    "gateway_errors_total",
    "gateway_failed_authentications_total",
    BYTES,
    REQUESTS,
    LAG,
    LAG_SECONDS,
];
const BYTES: &str = "gateway_bytes_exchanged_topic_total";
const REQUESTS: &str = "gateway_current_inflight_apiKeys_total";
const LAG: &str = "gateway_consumer_lag";
const LAG_SECONDS: &str = "gateway_consumer_lag_seconds";

impl<'a> Status<'a> {
    pub(super) fn of(facts: &'a Facts, history: &History) -> Status<'a> {
        let conditions = facts.health.conditions();
        let (mut counted, totals) = Summing::of(facts);
        let (recent_seconds, recent) = history.recent(totals, facts.started);
        counted.errors.most = most(&recent);
        Status {
            time: now(),
            recent_seconds,
            topics: topics(&recent),
            users: users(&recent),
            uptime_seconds: facts.started.elapsed().as_secs_f64(),
            build: &facts.build,
            live: facts.health.is_live(),
            ready: conditions.iter().all(|condition| condition.up),
            checks: conditions
                .iter()
                .map(|condition| Check {
                    id: condition.id,
                    up: condition.up,
                })
                .collect(),
            counted,
        }
    }
}

/// What is kept of this moment.
pub(super) fn sample(facts: &Facts) -> (Point, Totals) {
    let (counted, totals) = Summing::of(facts);
    let times = |times: &Times| [times.count, times.seconds];
    let point = Point {
        time: now(),
        bytes: [
            counted.traffic.bytes_from_clients,
            counted.traffic.bytes_to_clients,
        ],
        gateway: times(&counted.latency.gateway),
        kafka: times(&counted.latency.kafka),
        connections: [counted.connections.clients, counted.connections.to_brokers],
        errors: [counted.errors.gateway, counted.errors.broker],
        lag: counted.lag.map(|lag| lag.records),
    };
    (point, totals)
}

/// Seconds since 1970.
fn now() -> f64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0.0, |since| since.as_secs_f64())
}

/// The errors that were most frequent lately, then those that were since the start.
fn most(recent: &Totals<(f64, f64)>) -> Vec<OfKind> {
    let mut all: Vec<_> = recent.errors.iter().collect();
    all.sort_by(|(_, a), (_, b)| b.1.total_cmp(&a.1).then(b.0.total_cmp(&a.0)));
    let all = all.into_iter().filter(|(_, (count, _))| *count > 0.0);
    let of_kind =
        |([request, code, origin], (count, recent)): (&[Arc<str>; 3], &(f64, f64))| OfKind {
            request: request.to_string(),
            name: code.parse().ok().and_then(wire::error_code::name),
            code: code.to_string(),
            origin: origin.to_string(),
            count: *count,
            recent: *recent,
        };
    all.take(NAMED).map(of_kind).collect()
}

/// The topics with most bytes lately.
fn topics(recent: &Totals<(f64, f64)>) -> Vec<OfTopic> {
    let sum = |bytes: &[(f64, f64); 2]| bytes[0].1 + bytes[1].1;
    let mut all: Vec<_> = recent.topics.iter().collect();
    all.sort_by(|(_, a), (_, b)| sum(b).total_cmp(&sum(a)));
    let all = all.into_iter().filter(|(_, bytes)| sum(bytes) > 0.0);
    let of_topic = |([topic, vcluster], bytes): (&[Arc<str>; 2], &[(f64, f64); 2])| OfTopic {
        topic: topic.to_string(),
        vcluster: vcluster.to_string(),
        bytes_from_clients: bytes[0].1,
        bytes_to_clients: bytes[1].1,
    };
    all.take(BUSIEST).map(of_topic).collect()
}

/// The users with most requests lately.
fn users(recent: &Totals<(f64, f64)>) -> Vec<OfUser> {
    let mut all: Vec<_> = recent.users.iter().collect();
    all.sort_by(|(_, a), (_, b)| b.1.total_cmp(&a.1));
    let all = all.into_iter().filter(|(_, (_, recent))| *recent > 0.0);
    let of_user = |([user, vcluster], (_, recent)): (&[Arc<str>; 2], &(f64, f64))| OfUser {
        user: user.to_string(),
        vcluster: vcluster.to_string(),
        requests: *recent,
    };
    all.take(BUSIEST).map(of_user).collect()
}

/// Sums that are being made.
#[derive(Default)]
struct Summing {
    counted: Counted,
    totals: Totals,
    /// By virtual cluster, group and topic, as several partitions may have series of their own.
    lag: BTreeMap<[String; 3], (f64, Option<f64>)>,
}

impl Summing {
    fn of(facts: &Facts) -> (Counted, Totals) {
        let mut summing = Summing::default();
        facts.metrics.read(
            |family| FAMILIES.contains(&family.name),
            |series| summing.add(series),
        );
        summing.done()
    }

    fn add(&mut self, series: Series<'_>) {
        if !series.facet.suffix.is_empty() {
            return;
        }
        let Counted {
            traffic,
            latency,
            connections,
            brokers,
            errors,
            ..
        } = &mut self.counted;
        let value = series.value("");
        match series.family.name {
            "gateway_thread_request_rebuild_total" => traffic.requests += value,
            "gateway_current_inflight_apiKeys" => traffic.in_flight += value,
            "gateway_thread_tasks" => traffic.waiting += value,
            "gateway_bytes_exchanged_total" => match series.label("direction") {
                "upstream" => traffic.bytes_from_clients += value,
                _ => traffic.bytes_to_clients += value,
            },
            "gateway_overhead_seconds" => latency.gateway.add(series),
            "gateway_upstream_request_seconds" => match series.label("request") {
                "fetch" => latency.fetches.add(series),
                "other" => latency.kafka.add(series),
                _ => {}
            },
            "gateway_upstream_connections_downstream" => connections.clients += value,
            "gateway_upstream_connections_upstream_connected" => connections.to_brokers += value,
            "gateway_client_connect_total" => connections.opened += value,
            "gateway_client_close_total" => connections.closed += value,
            "gateway_active_connections_vcluster" => connections.vclusters.push(OfVcluster {
                name: series.label("vcluster").to_owned(),
                connections: value,
            }),
            "gateway_upstream_io_nodes" => *brokers += value,
            "gateway_errors_total" => {
                errors.add(series);
                let kind = labels(series, ["api_key", "error_code", "origin"]);
                *self.totals.errors.entry(kind).or_default() += value;
            }
            BYTES => {
                let topic = labels(series, ["topic", "vcluster"]);
                let bytes = self.totals.topics.entry(topic).or_default();
                bytes[usize::from(series.label("direction") != "upstream")] += value;
            }
            REQUESTS => {
                let user = labels(series, ["username", "vcluster"]);
                *self.totals.users.entry(user).or_default() += value;
            }
            "gateway_failed_authentications_total" => errors.authentication += value,
            LAG => {
                let (records, _) = self.lag.entry(whose(series)).or_default();
                *records = records.max(value);
            }
            LAG_SECONDS => {
                let (_, seconds) = self.lag.entry(whose(series)).or_default();
                *seconds = Some(seconds.unwrap_or(0.0).max(value));
            }
            _ => {}
        }
    }

    fn done(self) -> (Counted, Totals) {
        let mut counted = self.counted;
        let connections = &mut counted.connections;
        let by_size = |a: &OfVcluster, b: &OfVcluster| b.connections.total_cmp(&a.connections);
        connections.vclusters.sort_by(by_size);
        let others = connections
            .vclusters
            .split_off(NAMED.min(connections.vclusters.len()));
        // Not `sum`, which makes -0 of nothing.
        connections.others = others
            .iter()
            .fold(0.0, |sum, other| sum + other.connections);
        counted.lag = lag(self.lag);
        (counted, self.totals)
    }
}

/// The greatest lags; nothing where none is known.
fn lag(of: BTreeMap<[String; 3], (f64, Option<f64>)>) -> Option<Lag> {
    let groups = of
        .into_iter()
        .map(|([vcluster, group, topic], (records, seconds))| OfGroup {
            vcluster,
            group,
            topic,
            records,
            seconds,
        });
    let mut groups: Vec<_> = groups.collect();
    groups.sort_by(|a, b| b.records.total_cmp(&a.records));
    let seconds = groups.iter().filter_map(|group| group.seconds);
    let seconds = seconds.max_by(f64::total_cmp);
    let records = groups.first()?.records;
    groups.truncate(NAMED);
    Some(Lag {
        records,
        seconds,
        groups,
    })
}

/// Values of labels, shared with the series.
fn labels<const N: usize>(series: Series<'_>, names: [&str; N]) -> [Arc<str>; N] {
    names.map(|name| {
        let place = series.family.labels.iter().position(|label| *label == name);
        let value = place.and_then(|place| series.labels.get(place));
        value.cloned().unwrap_or_default()
    })
}

fn whose(series: Series<'_>) -> [String; 3] {
    ["vcluster", "group", "topic"].map(|label| series.label(label).to_owned())
}

impl Times {
    fn add(&mut self, series: Series<'_>) {
        self.count += series.value("_count");
        self.seconds += series.value("_sum");
        let buckets = series
            .samples
            .iter()
            .filter(|sample| sample.bound.is_some());
        self.below.resize(BOUNDS.len() + 1, 0.0);
        for (below, bucket) in self.below.iter_mut().zip(buckets) {
            *below += bucket.value;
        }
    }
}

impl Errors {
    fn add(&mut self, series: Series<'_>) {
        let count = series.value("");
        let origin = series.label("origin");
        match origin {
            "broker" => self.broker += count,
            "authorization" => self.authorization += count,
            _ => self.gateway += count,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use telemetry::metrics::{Declaration, Facet, Kind, Sample};

    use super::*;

    const FACET: Facet = Facet {
        suffix: "",
        kind: Kind::Gauge,
    };

    const fn family(name: &'static str) -> Declaration {
        Declaration {
            name,
            facets: &[FACET],
            labels: &["group", "topic", "vcluster"],
            domains: &[None, None, None],
            help: "",
        }
    }

    fn add(summing: &mut Summing, family: &'static Declaration, group: &str, value: f64) {
        summing.add(Series {
            family,
            facet: FACET,
            labels: &[group, "orders", "billing"].map(Arc::from),
            samples: &[Sample {
                suffix: "",
                bound: None,
                value,
            }],
        });
    }

    #[test]
    fn groups_that_are_furthest_behind_come_first() {
        const RECORDS: &Declaration = &family(LAG);
        const SECONDS: &Declaration = &family(LAG_SECONDS);
        let mut summing = Summing::default();
        for i in 0..100 {
            add(&mut summing, RECORDS, &format!("g{i}"), f64::from(i));
        }
        add(&mut summing, SECONDS, "g99", 7.5);
        add(&mut summing, SECONDS, "g0", 12.0);
        // Another partition of the same topic.
        add(&mut summing, RECORDS, "g5", 200.0);
        let lag = summing.done().0.lag.expect("it is known");
        assert_eq!((lag.records, lag.seconds), (200.0, Some(12.0)));
        let shown = |group: &OfGroup| (group.group.clone(), group.records, group.seconds);
        let groups: Vec<_> = lag.groups.iter().map(shown).collect();
        assert_eq!(groups.len(), NAMED);
        assert_eq!(groups[0], ("g5".to_owned(), 200.0, None));
        assert_eq!(groups[1], ("g99".to_owned(), 99.0, Some(7.5)));
        assert_eq!(lag.groups[0].vcluster, "billing");
        assert_eq!(lag.groups[0].topic, "orders");
    }

    #[test]
    fn nothing_known_of_consumers_is_no_lag() {
        let (counted, _) = Summing::default().done();
        assert!(counted.lag.is_none());
        let shown = serde_json::to_string(&counted).expect("JSON");
        assert!(!shown.contains("lag") && !shown.contains("-0"), "{shown}");
    }
}
