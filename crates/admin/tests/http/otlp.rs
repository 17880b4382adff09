//! The push of metrics, seen by a collector.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use config::{Otlp, Secret};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, NumberDataPoint};
use prost::Message as _;
use sluicegate_admin::Exporter;
use telemetry::metrics::Format;

use crate::common::{READER, Running, credentials, serve, services};

/// A collector that answers one request after the other.
struct Collector(TcpListener);

struct Push {
    head: String,
    request: ExportMetricsServiceRequest,
}

impl Collector {
    fn new() -> Collector {
        Collector(TcpListener::bind("127.0.0.1:0").expect("bound"))
    }

    fn settings(&self) -> Otlp {
        let address = self.0.local_addr().expect("address");
        Otlp {
            endpoint: format!("http://{address}/v1/metrics"),
            headers: vec![("authorization".to_owned(), Secret::new("Bearer s3cret"))],
            timeout: Duration::from_secs(30),
            interval: Duration::from_millis(20),
            certificate: None,
            attributes: vec![("service.name".to_owned(), "edge".to_owned())],
        }
    }

    /// Takes the next request.
    fn next(&self) -> (Push, TcpStream) {
        let (stream, _) = self.0.accept().expect("a connection");
        let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).expect("a line") > 0, "{head}");
        }
        let lower = head.to_ascii_lowercase();
        let length = lower
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length
            .and_then(|length| length.parse().ok())
            .expect("a length");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let request = ExportMetricsServiceRequest::decode(body.as_slice()).expect("protobuf");
        (
            Push {
                head: lower,
                request,
            },
            stream,
        )
    }

    fn answer(mut stream: TcpStream, status: u16, body: &[u8]) {
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        // The gateway may have gone.
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(body);
    }
}

fn start(settings: &Otlp) -> (Running, telemetry::metrics::Metrics) {
    let mut services = services();
    let metrics = services.metrics.clone();
    services.exporter = Some(Exporter::new(settings, metrics.clone()).expect("settings"));
    (serve(services), metrics)
}

fn outcome(server: &Running, name: &str) -> f64 {
    let answer = server.ask("GET", "/metrics", &credentials(READER));
    let line = format!("gateway_otlp_exports_total{{outcome=\"{name}\"}} ");
    let value = answer
        .body
        .lines()
        .find_map(|l| l.strip_prefix(&line)?.parse().ok());
    value.unwrap_or_else(|| panic!("{line} in {}", answer.body))
}

fn series(name: &str, attributes: &[KeyValue], bound: Option<&str>) -> String {
    let pairs = attributes.iter().map(|pair| {
        let value = pair.value.as_ref().and_then(|value| value.value.as_ref());
        let Some(Value::StringValue(value)) = value else {
            panic!("a text in {pair:?}")
        };
        format!("{}=\"{value}\"", pair.key)
    });
    let bound = bound.map(|bound| format!("le=\"{bound}\""));
    let pairs: Vec<_> = pairs.chain(bound).collect();
    match pairs.is_empty() {
        true => name.to_owned(),
        false => format!("{name}{{{}}}", pairs.join(",")),
    }
}

fn number(point: &NumberDataPoint) -> f64 {
    match point.value {
        Some(Number::AsDouble(value)) => value,
        Some(Number::AsInt(value)) => value as f64,
        None => panic!("a value in {point:?}"),
    }
}

/// The pushed values as a scrape would name them, and the types.
fn pushed(
    request: &ExportMetricsServiceRequest,
) -> (BTreeMap<String, f64>, BTreeMap<String, &'static str>) {
    let (mut values, mut types) = (BTreeMap::new(), BTreeMap::new());
    let mut put = |series: String, value: f64| {
        assert!(
            values.insert(series.clone(), value).is_none(),
            "{series} is there twice"
        );
    };
    let resources = request.resource_metrics.iter();
    for metric in resources
        .flat_map(|resource| &resource.scope_metrics)
        .flat_map(|scope| &scope.metrics)
    {
        let name = metric.name.as_str();
        let cumulative = AggregationTemporality::Cumulative as i32;
        let kind = match metric.data.as_ref().expect("data") {
            Data::Gauge(gauge) => {
                for point in &gauge.data_points {
                    put(series(name, &point.attributes, None), number(point));
                }
                "gauge"
            }
            Data::Sum(sum) => {
                assert!(
                    sum.is_monotonic && sum.aggregation_temporality == cumulative,
                    "{name}"
                );
                for point in &sum.data_points {
                    assert!(
                        point.start_time_unix_nano > 0
                            && point.time_unix_nano > point.start_time_unix_nano
                    );
                    put(series(name, &point.attributes, None), number(point));
                }
                "counter"
            }
            Data::Summary(summary) => {
                for point in &summary.data_points {
                    put(
                        series(&format!("{name}_count"), &point.attributes, None),
                        point.count as f64,
                    );
                    put(
                        series(&format!("{name}_sum"), &point.attributes, None),
                        point.sum,
                    );
                }
                "summary"
            }
            Data::Histogram(histogram) => {
                assert_eq!(histogram.aggregation_temporality, cumulative, "{name}");
                for point in &histogram.data_points {
                    assert_eq!(
                        point.bucket_counts.len(),
                        point.explicit_bounds.len() + 1,
                        "{name}"
                    );
                    let bounds = point.explicit_bounds.iter().copied().chain([f64::INFINITY]);
                    let mut below = 0;
                    for (bound, count) in bounds.zip(&point.bucket_counts) {
                        below += count;
                        let bound = bound.to_string();
                        put(
                            series(&format!("{name}_bucket"), &point.attributes, Some(&bound)),
                            below as f64,
                        );
                    }
                    put(
                        series(&format!("{name}_count"), &point.attributes, None),
                        point.count as f64,
                    );
                    put(
                        series(&format!("{name}_sum"), &point.attributes, None),
                        point.sum.expect("a sum"),
                    );
                }
                "histogram"
            }
            other => panic!("{name}: {other:?}"),
        };
        types.insert(name.to_owned(), kind);
    }
    (values, types)
}

/// A scrape in the same terms; bounds as numbers.
fn scraped(text: &str) -> (BTreeMap<String, f64>, BTreeMap<String, String>) {
    let (mut values, mut types) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            let (name, kind) = head.split_once(' ').expect("a type");
            types.insert(name.to_owned(), kind.to_owned());
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let series = match series.split_once("le=\"") {
                Some((before, bound)) => {
                    let bound: f64 = bound.trim_end_matches("\"}").parse().expect("a bound");
                    format!("{before}le=\"{bound}\"}}")
                }
                None => series.to_owned(),
            };
            values.insert(series, value.parse().expect("a number"));
        }
    }
    (values, types)
}

#[test]
fn what_is_pushed_is_what_a_scrape_shows() {
    let collector = Collector::new();
    let (server, metrics) = start(&collector.settings());
    metrics.authorization_denied("TOPIC", "READ");
    let took = Duration::from_micros(2300);
    metrics
        .catalogue()
        .latency
        .with([])
        .observe(telemetry::metrics::Moment::now(), took);
    // While it waits for the answer to the first push nothing changes.
    let (_, first) = collector.next();
    Collector::answer(first, 200, b"");
    let (push, waiting) = collector.next();
    let text: String = metrics.encode(Format::Text).collect();
    let (mut found, types) = pushed(&push.request);
    let (mut expected, expected_types) = scraped(&text);
    for values in [&mut found, &mut expected] {
        // What the comparison itself changes.
        values.retain(|series, _| !series.starts_with("gateway_metrics_scrape_seconds"));
    }
    assert_eq!(found, expected);
    let types: BTreeMap<_, _> = types
        .into_iter()
        .map(|(name, kind)| (name, kind.to_owned()))
        .collect();
    // Families without series are told by scrapes only.
    assert!(
        types
            .iter()
            .all(|(name, kind)| expected_types.get(name) == Some(kind)),
        "{types:?}"
    );
    assert!(found.len() > 200 && found["gateway_license_remaining_days"].is_infinite());
    assert!(
        push.head.starts_with("post /v1/metrics http/1.1"),
        "{}",
        push.head
    );
    for header in [
        "content-type: application/x-protobuf",
        "authorization: bearer s3cret",
    ] {
        assert!(push.head.contains(header), "{}", push.head);
    }
    let resource = push.request.resource_metrics[0]
        .resource
        .as_ref()
        .expect("a resource");
    let resource = series("", &resource.attributes, None);
    assert!(
        resource.contains("service.name=\"edge\"") && resource.contains("service.version="),
        "{resource}"
    );
    Collector::answer(waiting, 200, b"");
    drop(collector.next());
    assert!(outcome(&server, "sent") >= 2.0);
    server.handle.shutdown();
}

#[test]
fn many_series_are_pushed_in_several_requests() {
    let collector = Collector::new();
    let (server, metrics) = start(&collector.settings());
    for i in 0..9000 {
        metrics.authorization_denied("TOPIC", &i.to_string());
    }
    let mut requests = Vec::new();
    let denied = |request: &ExportMetricsServiceRequest| {
        let (values, _) = pushed(request);
        let values = values.into_iter();
        values
            .filter(|(series, _)| series.starts_with("gateway_authorization_denied_total"))
            .count()
    };
    // The first push may have begun before all of them were there; a later one has them all.
    while requests.iter().rev().take(3).map(denied).sum::<usize>() < 9000 {
        let (push, stream) = collector.next();
        Collector::answer(stream, 200, b"");
        requests.push(push.request);
    }
    assert!(
        requests
            .iter()
            .all(|request| request.encoded_len() < 4 << 20)
    );
    server.handle.shutdown();
}

#[test]
fn a_collector_that_is_gone_or_refuses_costs_a_count() {
    let collector = Collector::new();
    let (server, _) = start(&collector.settings());
    let (_, stream) = collector.next();
    Collector::answer(stream, 503, b"later");
    let (_, stream) = collector.next();
    let partial = ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess {
            rejected_data_points: 3,
            error_message: "no".to_owned(),
        }),
    };
    Collector::answer(stream, 200, &partial.encode_to_vec());
    let (_, stream) = collector.next();
    assert_eq!(outcome(&server, "failed"), 1.0);
    assert_eq!(outcome(&server, "partial"), 1.0);
    assert_eq!(outcome(&server, "sent"), 0.0);
    // It hangs up, and is gone.
    drop(stream);
    drop(collector);
    while outcome(&server, "failed") < 3.0 {
        assert_eq!(server.ask("GET", "/health/live", "").code, 200);
    }
    server.handle.shutdown();
}

#[test]
fn what_cannot_be_sent_is_refused_at_the_start() {
    let collector = Collector::new();
    let metrics = services().metrics;
    for change in [
        |otlp: &mut Otlp| otlp.endpoint = "file:/x".to_owned(),
        |otlp: &mut Otlp| otlp.endpoint = "http://u:s3cret@c/".to_owned(),
        |otlp: &mut Otlp| otlp.headers = vec![("a b".to_owned(), Secret::new("s3cret"))],
        |otlp: &mut Otlp| otlp.headers = vec![("a".to_owned(), Secret::new("s3cret\n"))],
        |otlp: &mut Otlp| {
            otlp.endpoint = "https://c/".to_owned();
            otlp.certificate = Some("/no/such/file".into());
        },
    ] {
        let mut settings = collector.settings();
        change(&mut settings);
        let error = Exporter::new(&settings, metrics.clone())
            .expect_err("it is refused")
            .to_string();
        assert!(
            error.starts_with("OTEL_") && !error.contains("s3cret"),
            "{error}"
        );
    }
}
