//! The push of metrics by OTLP: the variables of OpenTelemetry.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::catalogue::{Setting, gateway};
use crate::secret::Secret;
use crate::settings::{Findings, Settings};

/// Where metrics are pushed, and how.
#[derive(Clone, Debug)]
pub struct Otlp {
    /// The whole URL.
    pub endpoint: String,
    /// Sent with each request.
    pub headers: Vec<(String, Secret)>,
    /// For the answer.
    pub timeout: Duration,
    /// Between two pushes.
    pub interval: Duration,
    /// Certificates to trust with `https`; `None` is those of the system.
    pub certificate: Option<PathBuf>,
    /// What says whose metrics they are: `service.name`, `service.instance.id` and what the operator adds.
    pub attributes: Vec<(String, String)>,
}

const PROTOCOL: &str = "http/protobuf";
const PATH: &str = "v1/metrics";

/// Reads them; `None` unless there is an endpoint.
pub(crate) fn otlp(fixed: &Settings, host_name: &str, findings: &mut Findings) -> Option<Otlp> {
    let exporters = fixed.text_or_default(&gateway::OTLP_EXPORTER);
    let mut exporters = exporters.split(',').map(str::trim);
    let is_off = fixed.flag(&gateway::OTLP_DISABLED) == Some(true)
        || !exporters.any(|exporter| exporter.eq_ignore_ascii_case("otlp"));
    let endpoint = endpoint(fixed).filter(|_| !is_off)?;
    let protocol = chosen(
        fixed,
        &gateway::OTLP_METRICS_PROTOCOL,
        &gateway::OTLP_PROTOCOL,
    );
    if fixed.text_or_default(protocol) != PROTOCOL {
        findings.problem(fixed.problem(protocol, PROTOCOL));
    }
    let timeout = chosen(
        fixed,
        &gateway::OTLP_METRICS_TIMEOUT,
        &gateway::OTLP_TIMEOUT,
    );
    let certificate = chosen(
        fixed,
        &gateway::OTLP_METRICS_CERTIFICATE,
        &gateway::OTLP_CERTIFICATE,
    );
    let headers = chosen(
        fixed,
        &gateway::OTLP_METRICS_HEADERS,
        &gateway::OTLP_HEADERS,
    );
    let headers = pairs(fixed, headers, findings);
    let mut attributes = pairs(fixed, &gateway::OTLP_RESOURCE, findings);
    let port = fixed.text_or_default(&gateway::HTTP_PORT);
    let own = [
        (
            "service.name",
            fixed.text_or_default(&gateway::OTLP_SERVICE_NAME),
        ),
        ("service.instance.id", format!("{host_name}:{port}")),
    ];
    // The variable of its own wins for the name, the list for the rest.
    if fixed.text(&gateway::OTLP_SERVICE_NAME).is_some() {
        attributes.retain(|(name, _)| name != "service.name");
    }
    for (name, value) in own {
        if attributes.iter().all(|(known, _)| known != name) {
            attributes.push((name.to_owned(), value));
        }
    }
    Some(Otlp {
        endpoint,
        headers: headers
            .into_iter()
            .map(|(name, value)| (name, Secret::new(value)))
            .collect(),
        timeout: fixed.millis(timeout),
        interval: fixed.millis(&gateway::OTLP_INTERVAL),
        certificate: fixed.path(certificate),
        attributes,
    })
}

fn endpoint(fixed: &Settings) -> Option<String> {
    if let Some(whole) = fixed.text(&gateway::OTLP_METRICS_ENDPOINT) {
        return Some(whole.trim().to_owned());
    }
    let base = fixed.text(&gateway::OTLP_ENDPOINT)?.trim();
    Some(format!("{}/{PATH}", base.trim_end_matches('/')))
}

/// The setting for metrics if it is set, else the one for everything.
fn chosen<'a>(fixed: &Settings, of_metrics: &'a Setting, of_all: &'a Setting) -> &'a Setting {
    match fixed.text(of_metrics) {
        Some(_) => of_metrics,
        None => of_all,
    }
}

/// A list `name=value,name=value`.
fn pairs(fixed: &Settings, setting: &Setting, findings: &mut Findings) -> Vec<(String, String)> {
    let mut read = Vec::new();
    let items = fixed.text(setting).unwrap_or_default().split(',');
    for item in items.map(str::trim).filter(|item| !item.is_empty()) {
        let pair = item.split_once('=').and_then(|(name, value)| {
            let name = name.trim();
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic());
            is_name.then(|| (name.to_owned(), value.into_owned()))
        });
        match pair {
            Some(pair) => read.push(pair),
            None => {
                findings.problem(fixed.problem(setting, "name=value,name=value"));
                break;
            }
        }
    }
    read
}

#[cfg(test)]
mod tests {
    use crate::{Config, Source, effective_yaml, load};

    fn loaded(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let all = [("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")];
        let all = all.iter().chain(pairs).copied();
        let loaded = load(&Source::from_pairs(all)).map_err(|report| report.to_string())?;
        Ok(loaded.config)
    }

    #[test]
    fn nothing_is_pushed_without_an_endpoint_or_when_switched_off() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        for pairs in [
            &[][..],
            &[("OTEL_METRIC_EXPORT_INTERVAL", "1000")],
            &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            &[base, ("OTEL_SDK_DISABLED", "true")],
            &[base, ("OTEL_METRICS_EXPORTER", "none")],
            &[base, ("OTEL_METRICS_EXPORTER", "prometheus")],
        ] {
            assert!(
                loaded(pairs).expect("it is fine").otlp.is_none(),
                "{pairs:?}"
            );
        }
    }

    #[test]
    fn what_is_for_metrics_wins() {
        let otlp = loaded(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/")]);
        let otlp = otlp.expect("it is fine").otlp.expect("it is on");
        assert_eq!(otlp.endpoint, "http://c:4318/v1/metrics");
        assert_eq!((otlp.timeout.as_secs(), otlp.interval.as_secs()), (10, 60));
        let own = [
            ("service.name", "sluicegate"),
            ("service.instance.id", "gateway.example:8888"),
        ];
        assert_eq!(
            otlp.attributes,
            own.map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
        let config = loaded(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://m/own"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "ignored=1"),
            (
                "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
                "authorization=Bearer%20abc, x = y=z",
            ),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/protobuf"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1500"),
            ("OTEL_METRICS_EXPORTER", "prometheus, OTLP"),
            ("OTEL_SERVICE_NAME", "edge"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=no,service.instance.id=a%2Cb,zone=1",
            ),
        ]);
        let config = config.expect("it is fine");
        let otlp = config.otlp.as_ref().expect("it is on");
        assert_eq!(otlp.endpoint, "https://m/own");
        let headers: Vec<_> = otlp
            .headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.expose()))
            .collect();
        assert_eq!(headers, [("authorization", "Bearer abc"), ("x", "y=z")]);
        assert_eq!(otlp.interval.as_millis(), 1500);
        let expected = [
            ("service.instance.id", "a,b"),
            ("zone", "1"),
            ("service.name", "edge"),
        ];
        assert_eq!(
            otlp.attributes,
            expected.map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
        let shown = effective_yaml(&config);
        assert!(
            shown.contains("https://m/own") && !shown.contains("abc"),
            "{shown}"
        );
    }

    #[test]
    fn what_cannot_be_is_refused_without_showing_secrets() {
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        for (name, value, shown) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret", "name=value"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=s3cret", "name=value"),
            ("OTEL_RESOURCE_ATTRIBUTES", "=x", "name=value"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "0", "a whole number from 1"),
        ] {
            let report = loaded(&[base, (name, value)]).expect_err("it is refused");
            assert!(report.contains(name) && report.contains(shown), "{report}");
            assert!(!report.contains("s3cret"), "{report}");
        }
    }
}
