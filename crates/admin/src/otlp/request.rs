//! The registry in the terms of OTLP: names and labels as in a scrape, sums since the start of the process.

use std::mem;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use telemetry::metrics::{Kind, Metrics, Series};

/// Points in one request: about half a MiB, while collectors take several.
const MAX_POINTS: usize = 4000;

const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

/// Makes requests.
pub(super) struct Requests {
    resource: Resource,
    started: u64,
}

impl Requests {
    pub(super) fn new(attributes: &[(String, String)]) -> Self {
        let attributes = attributes.iter().map(|(name, value)| pair(name, value));
        let version = pair("service.version", env!("CARGO_PKG_VERSION"));
        Self {
            resource: Resource {
                attributes: attributes.chain([version]).collect(),
                ..Resource::default()
            },
            started: nanos(SystemTime::now()),
        }
    }

    /// The bodies of the requests that tell everything as it is now.
    pub(super) fn of(&self, metrics: &Metrics) -> Vec<Vec<u8>> {
        let mut writing = Writing {
            requests: self,
            now: nanos(SystemTime::now()),
            bodies: Vec::new(),
            metrics: Vec::new(),
            points: 0,
        };
        metrics.read(|_| true, |series| writing.add(series));
        writing.flush();
        writing.bodies
    }
}

/// Requests that are being made.
struct Writing<'a> {
    requests: &'a Requests,
    now: u64,
    bodies: Vec<Vec<u8>>,
    metrics: Vec<Metric>,
    points: usize,
}

impl Writing<'_> {
    fn add(&mut self, series: Series<'_>) {
        if self.points >= MAX_POINTS {
            self.flush();
        }
        self.points += 1;
        let name = format!("{}{}", series.family.name, series.facet.suffix);
        // Series of a family come one after the other.
        if self.metrics.last().is_none_or(|last| last.name != name) {
            self.metrics.push(Metric {
                name,
                description: series.family.help.to_owned(),
                data: Some(empty(series.facet.kind)),
                ..Metric::default()
            });
        }
        let (started, now) = (self.requests.started, self.now);
        let data = self
            .metrics
            .last_mut()
            .and_then(|metric| metric.data.as_mut());
        match data {
            Some(Data::Gauge(gauge)) => gauge.data_points.push(number(series, 0, now)),
            Some(Data::Sum(sum)) => sum.data_points.push(number(series, started, now)),
            Some(Data::Summary(summary)) => summary.data_points.push(SummaryDataPoint {
                attributes: attributes(series),
                start_time_unix_nano: started,
                time_unix_nano: now,
                count: series.value("_count") as u64,
                sum: series.value("_sum"),
                ..SummaryDataPoint::default()
            }),
            Some(Data::Histogram(histogram)) => {
                histogram.data_points.push(buckets(series, started, now));
            }
            _ => {}
        }
    }

    fn flush(&mut self) {
        self.points = 0;
        let metrics = mem::take(&mut self.metrics);
        if metrics.is_empty() {
            return;
        }
        let scope = InstrumentationScope {
            name: "sluicegate".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.requests.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope),
                    metrics,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        };
        self.bodies.push(request.encode_to_vec());
    }
}

fn empty(kind: Kind) -> Data {
    match kind {
        Kind::Gauge => Data::Gauge(Gauge::default()),
        Kind::Counter => Data::Sum(Sum {
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
            ..Sum::default()
        }),
        Kind::Summary => Data::Summary(Summary::default()),
        Kind::Histogram => Data::Histogram(Histogram {
            aggregation_temporality: CUMULATIVE,
            ..Histogram::default()
        }),
    }
}

fn number(series: Series<'_>, started: u64, now: u64) -> NumberDataPoint {
    NumberDataPoint {
        attributes: attributes(series),
        start_time_unix_nano: started,
        time_unix_nano: now,
        value: Some(Number::AsDouble(series.value(""))),
        ..NumberDataPoint::default()
    }
}

/// Scrapes add the buckets up; here each counts for itself, and the last has no bound.
fn buckets(series: Series<'_>, started: u64, now: u64) -> HistogramDataPoint {
    let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0);
    for sample in series.samples {
        let Some(bound) = sample.bound else { continue };
        let total = sample.value as u64;
        counts.push(total.saturating_sub(below));
        below = total;
        if let Ok(bound) = bound.parse::<f64>()
            && bound.is_finite()
        {
            bounds.push(bound);
        }
    }
    HistogramDataPoint {
        attributes: attributes(series),
        start_time_unix_nano: started,
        time_unix_nano: now,
        count: below,
        sum: Some(series.value("_sum")),
        bucket_counts: counts,
        explicit_bounds: bounds,
        ..HistogramDataPoint::default()
    }
}

fn attributes(series: Series<'_>) -> Vec<KeyValue> {
    let pairs = series.family.labels.iter().zip(series.labels);
    pairs
        .map(|(name, value): (&&str, &Arc<str>)| pair(name, value))
        .collect()
}

fn pair(name: &str, value: &str) -> KeyValue {
    KeyValue {
        key: name.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value.to_owned())),
        }),
        ..KeyValue::default()
    }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
