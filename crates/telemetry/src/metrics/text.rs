//! The text forms: Prometheus 0.0.4 and OpenMetrics 1.0.0.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use super::catalogue::{Catalogue, DECLARATIONS};
use super::family::Exposed;
use super::instrument::{Kind, Moment};

/// Series written in one go.
const PAGE: usize = 128;

/// A text form of a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics text 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The value of the header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The form that a header `Accept` prefers; [`Format::Text`] unless OpenMetrics is named and weighs more.
    pub fn accepted(accept: &str) -> Self {
        let weight_of = |names: &[&str]| {
            let ranges = accept.split(',').filter_map(|range| {
                let mut parts = range.split(';').map(str::trim);
                let media = parts.next()?;
                let level = names
                    .iter()
                    .position(|name| media.eq_ignore_ascii_case(name))?;
                let weight = parts.find_map(|part| part.strip_prefix("q="));
                let weight = weight.map_or(Some(1.0), |weight| weight.parse::<f32>().ok());
                Some((level, weight.unwrap_or(0.0)))
            });
            // The most exact range counts, as RFC 9110 has it; the best of several equally exact ones.
            ranges
                .min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)))
                .map(|(_, weight)| weight)
        };
        let open_metrics = weight_of(&["application/openmetrics-text"]).unwrap_or(0.0);
        let text = weight_of(&["text/plain", "text/*", "*/*"]).unwrap_or(0.0);
        match open_metrics > 0.0 && open_metrics >= text {
            true => Self::OpenMetrics,
            false => Self::Text,
        }
    }
}

/// A scrape, in chunks.
#[derive(Debug)]
pub struct Encoding {
    catalogue: Arc<Catalogue>,
    format: Format,
    /// The family at hand, what it shows at hand, and the last written series.
    family: usize,
    facet: usize,
    after: Option<Vec<Arc<str>>>,
    began: Instant,
    ended: bool,
}

impl Encoding {
    pub(super) fn new(catalogue: Arc<Catalogue>, format: Format) -> Self {
        Self {
            catalogue,
            format,
            family: 0,
            facet: 0,
            after: None,
            began: Instant::now(),
            ended: false,
        }
    }

    fn chunk(&mut self, out: &mut String) -> fmt::Result {
        let families = self.catalogue.families();
        while out.len() < PAGE * 64 {
            let Some(family) = families.get(self.family) else {
                self.ended = true;
                let took = self.began.elapsed();
                let scrapes = self.catalogue.scrape_seconds.with([]);
                scrapes.observe(Moment::now(), took);
                if self.format == Format::OpenMetrics {
                    out.push_str("# EOF\n");
                }
                return Ok(());
            };
            let declaration = family.declaration();
            let Some(facet) = declaration.facets.get(self.facet) else {
                self.family += 1;
                self.facet = 0;
                continue;
            };
            let name = format!("{}{}", declaration.name, facet.suffix);
            if self.after.is_none() {
                let exposed = ExposedAs::of(&name, facet.kind, self.format);
                exposed.head(declaration.help, self.facet > 0, self.format, out)?;
            }
            self.after = write_page(*family, &name, self.facet, self.after.as_deref(), out)?;
            if self.after.is_none() {
                self.facet += 1;
            }
        }
        Ok(())
    }
}

impl Iterator for Encoding {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if self.ended {
            return None;
        }
        let mut out = String::new();
        if self.chunk(&mut out).is_err() {
            self.ended = true;
        }
        Some(out).filter(|out| !out.is_empty())
    }
}

/// How a form calls a family.
struct ExposedAs<'a> {
    family: &'a str,
    kind: &'static str,
}

impl<'a> ExposedAs<'a> {
    /// OpenMetrics calls the family of a counter by its name without `_total`; a family that would then share its name with another,
    /// or a gauge named like a counter, has no type there.
    fn of(name: &'a str, kind: Kind, format: Format) -> Self {
        let bare = name.strip_suffix("_total");
        let (family, kind) = match (format, kind, bare) {
            (_, Kind::Summary, _) => (name, "summary"),
            (_, Kind::Histogram, _) => (name, "histogram"),
            (Format::Text, Kind::Counter, _) => (name, "counter"),
            (Format::OpenMetrics, Kind::Counter, Some(bare)) if !is_declared(bare) => {
                (bare, "counter")
            }
            (Format::OpenMetrics, Kind::Counter, _)
            | (Format::OpenMetrics, Kind::Gauge, Some(_)) => (name, "unknown"),
            (_, Kind::Gauge, _) => (name, "gauge"),
        };
        Self { family, kind }
    }

    fn head(&self, help: &str, is_peak: bool, format: Format, out: &mut String) -> fmt::Result {
        write!(out, "# HELP {} ", self.family)?;
        if is_peak {
            out.push_str("Greatest of the last two to three minutes. ");
        }
        escape(out, help, format == Format::OpenMetrics);
        writeln!(out, "\n# TYPE {} {}", self.family, self.kind)
    }
}

fn is_declared(name: &str) -> bool {
    DECLARATIONS
        .iter()
        .any(|declaration| declaration.name == name)
}

fn write_page(
    family: &dyn Exposed,
    name: &str,
    facet: usize,
    after: Option<&[Arc<str>]>,
    out: &mut String,
) -> Result<Option<Vec<Arc<str>>>, fmt::Error> {
    let labels = family.declaration().labels;
    family.page(facet, after, PAGE, &mut |values, give| {
        give(&mut |suffix, bound, value| {
            out.push_str(name);
            out.push_str(suffix);
            let bound = bound.map(|bound| ("le", bound));
            let pairs = labels.iter().zip(values);
            // A label without a value is none.
            let pairs = pairs.filter(|(_, value)| !value.is_empty());
            let pairs = pairs.map(|(label, value)| (*label, &**value)).chain(bound);
            let mut before = '{';
            for (label, value) in pairs {
                out.push(before);
                out.push_str(label);
                out.push_str("=\"");
                escape(out, value, true);
                out.push('"');
                before = ',';
            }
            out.push_str(if before == '{' { " " } else { "} " });
            writeln!(out, "{value}")
        })
    })
}

fn escape(out: &mut String, text: &str, quotes: bool) {
    let is_special = |byte: u8| matches!(byte, b'\\' | b'\n') || (quotes && byte == b'"');
    // Nearly all names are written as they are.
    if !text.bytes().any(is_special) {
        out.push_str(text);
        return;
    }
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::metrics::{Metrics, MetricsSettings};

    fn filled() -> Metrics {
        let metrics = Metrics::new(&MetricsSettings::default());
        metrics.authentication_failed("CN=\"a\\b\"\n", "PLAIN", "wrong-credentials");
        metrics.authorization_denied("TOPIC", "READ");
        metrics.certificate_expiry("client", UNIX_EPOCH + Duration::from_millis(1500));
        metrics.certificate_reload_failed("admin");
        metrics.expired_connections_killed();
        metrics.build_info("0.1.0", "abc", "1.95.0");
        metrics
    }

    #[test]
    fn text_0_0_4() {
        let text: String = filled().encode(Format::Text).collect();
        for line in [
            "# TYPE gateway_failed_authentications_total counter",
            "gateway_failed_authentications_total{username=\"<none>\"} 0",
            "gateway_failed_authentications_total{username=\"CN=\\\"a\\\\b\\\"\\n\"} 1",
            "gateway_failed_authentications_detail_total{mechanism=\"PLAIN\",reason=\"wrong-credentials\"} 1",
            "gateway_expired_connections_killed_total 1",
            "gateway_authorization_denied_total{resource_type=\"TOPIC\",operation=\"READ\"} 1",
            "gateway_certificate_expiry_seconds{use=\"client\"} 1.5",
            "gateway_certificate_reload_failures_total{use=\"admin\"} 1",
            "gateway_certificate_reload_failures_total{use=\"client\"} 0",
            "gateway_build_info{version=\"0.1.0\",commit=\"abc\",rustc=\"1.95.0\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
        assert!(!text.contains("EOF") && text.ends_with('\n'));
    }

    #[test]
    fn open_metrics() {
        let text: String = filled().encode(Format::OpenMetrics).collect();
        for line in [
            "# TYPE gateway_expired_connections_killed counter",
            "gateway_expired_connections_killed_total 1",
            "# TYPE gateway_build_info gauge",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
        assert!(text.ends_with("\n# EOF\n") && text.matches("# EOF").count() == 1);
    }

    #[test]
    fn one_help_and_type_and_no_series_twice() {
        for format in [Format::Text, Format::OpenMetrics] {
            let text: String = filled().encode(format).collect();
            let mut seen = HashSet::new();
            for line in text.lines().filter(|line| *line != "# EOF") {
                let key = match line.strip_prefix("# ") {
                    Some(head) => head.splitn(3, ' ').take(2).collect::<Vec<_>>().join(" "),
                    None => line.rsplit_once(' ').expect("a value").0.to_owned(),
                };
                assert!(seen.insert(key), "{line}");
            }
            for kind in ["HELP", "TYPE"] {
                let count = text.matches(&format!("# {kind} ")).count();
                let facets = DECLARATIONS.iter().map(|declared| declared.facets.len());
                assert_eq!(count, facets.sum::<usize>());
            }
        }
    }

    #[test]
    fn long_scrapes_come_in_chunks() {
        let metrics = Metrics::new(&MetricsSettings::default());
        for i in 0..2000 {
            metrics.authorization_denied("TOPIC", &i.to_string());
        }
        let chunks: Vec<_> = metrics.encode(Format::Text).collect();
        assert!(chunks.len() > 5 && chunks.iter().all(|chunk| chunk.len() < 64 << 10));
        let lines = chunks.concat();
        assert_eq!(
            lines
                .matches("\ngateway_authorization_denied_total{")
                .count(),
            2000
        );
    }

    #[test]
    fn declarations_are_in_order() {
        let metrics = Metrics::new(&MetricsSettings::default());
        let families = metrics.catalogue().families();
        let declared: Vec<_> = families
            .iter()
            .map(|family| *family.declaration())
            .collect();
        assert_eq!(declared, DECLARATIONS);
        for declaration in DECLARATIONS {
            assert_eq!(declaration.labels.len(), declaration.domains.len());
            // Dashboards ask for these gauges by names of counters.
            let is_inventory = declaration.name.starts_with("gateway_lived_event_");
            assert!(
                is_inventory
                    || (declaration.kind() == Kind::Counter)
                        == declaration.name.ends_with("_total"),
                "{}",
                declaration.name
            );
            for taken in [
                "job",
                "instance",
                "pod",
                "namespace",
                "cluster",
                "container",
            ] {
                assert!(!declaration.labels.contains(&taken), "{}", declaration.name);
            }
        }
    }

    #[test]
    fn the_preferred_form() {
        use Format::{OpenMetrics, Text};
        for (accept, expected) in [
            ("", Text),
            ("*/*", Text),
            ("text/plain", Text),
            ("application/json", Text),
            ("application/openmetrics-text", OpenMetrics),
            ("application/openmetrics-text;q=0", Text),
            ("application/openmetrics-text;q=x", Text),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.2",
                OpenMetrics,
            ),
            (
                "application/openmetrics-text;version=1.0.0;q=0.3, text/plain;version=0.0.4;q=0.6,*/*;q=0.2",
                Text,
            ),
            ("Application/OpenMetrics-Text;q=0.5, */*;q=0.1", OpenMetrics),
        ] {
            assert_eq!(Format::accepted(accept), expected, "{accept}");
        }
    }
}
