//! Series read inside the process, for those who show or send them in another form than text.

use std::sync::Arc;

use super::Metrics;
use super::family::{Declaration, Exposed};
use super::instrument::Facet;

/// Series copied in one go.
const PAGE: usize = 128;

/// One value of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// What follows the name in the text forms: `_sum`, `_count`, `_bucket` or nothing.
    pub suffix: &'static str,
    /// The upper bound of a bucket, as the text forms write it.
    pub bound: Option<&'static str>,
    /// The value, as scrapers read it.
    pub value: f64,
}

/// One series, as one facet of its family shows it.
#[derive(Clone, Copy, Debug)]
pub struct Series<'a> {
    /// The family.
    pub family: &'static Declaration,
    /// What is shown of it.
    pub facet: Facet,
    /// Values of the family's labels, in their order.
    pub labels: &'a [Arc<str>],
    /// The values, in the order of the text forms.
    pub samples: &'a [Sample],
}

impl Series<'_> {
    /// The value of a label; empty if the family has no such label.
    pub fn label(&self, name: &str) -> &str {
        let place = self.family.labels.iter().position(|label| *label == name);
        let value = place.and_then(|place| self.labels.get(place));
        value.map_or("", |value| value)
    }

    /// The value of the first sample with this suffix; 0 if there is none.
    pub fn value(&self, suffix: &str) -> f64 {
        let found = self.samples.iter().find(|sample| sample.suffix == suffix);
        found.map_or(0.0, |sample| sample.value)
    }
}

impl Metrics {
    /// Gives every series of the families that are wanted, in the order of a scrape and with the values that a scrape would show now.
    /// No lock is held while `each` is called.
    pub fn read(&self, wanted: impl Fn(&Declaration) -> bool, mut each: impl FnMut(Series<'_>)) {
        self.collect();
        for family in self.catalogue.families() {
            let declaration = family.declaration();
            if wanted(declaration) {
                for place in 0..declaration.facets.len() {
                    read_facet(family, place, &mut each);
                }
            }
        }
    }
}

fn read_facet(family: &dyn Exposed, place: usize, each: &mut impl FnMut(Series<'_>)) {
    let declaration = family.declaration();
    let Some(facet) = declaration.facets.get(place).copied() else {
        return;
    };
    let mut after: Option<Vec<Arc<str>>> = None;
    let mut samples = Vec::new();
    loop {
        let page = family.page(place, after.as_deref(), PAGE, &mut |labels, give| {
            samples.clear();
            give(&mut |suffix, bound, value| {
                // As text, because that is what instruments give; it reads back as the same number.
                let value = value.to_string().parse().unwrap_or(f64::NAN);
                samples.push(Sample {
                    suffix,
                    bound,
                    value,
                });
                Ok(())
            })?;
            each(Series {
                family: declaration,
                facet,
                labels,
                samples: &samples,
            });
            Ok(())
        });
        // Neither side fails.
        match page {
            Ok(Some(last)) => after = Some(last),
            Ok(None) | Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Format, MetricsSettings};

    #[test]
    fn what_is_read_is_what_a_scrape_shows() {
        let metrics = Metrics::new(&MetricsSettings::default());
        for i in 0..300 {
            metrics.authorization_denied("TOPIC", &i.to_string());
        }
        metrics.build_info("0.1.0", "abc", "1.95.0");
        // Whoever looks first gives the counts of series theirs.
        metrics.read(|_| true, |_| {});
        let mut lines = Vec::new();
        metrics.read(
            |_| true,
            |series| {
                for sample in series.samples {
                    let name = series.family.name;
                    let pairs = series.family.labels.iter().zip(series.labels);
                    let pairs = pairs.map(|(label, value)| format!("{label}=\"{value}\""));
                    let bound = sample.bound.map(|bound| format!("le=\"{bound}\""));
                    let pairs: Vec<_> = pairs.chain(bound).collect();
                    let labels = match pairs.is_empty() {
                        true => String::new(),
                        false => format!("{{{}}}", pairs.join(",")),
                    };
                    let suffix = format!("{}{}", series.facet.suffix, sample.suffix);
                    lines.push((format!("{name}{suffix}{labels}"), sample.value));
                }
            },
        );
        let text: String = metrics.encode(Format::Text).collect();
        let scraped: Vec<(String, f64)> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
            .collect();
        assert_eq!(lines, scraped);
        assert!(lines.len() > 500);
    }

    #[test]
    fn unwanted_families_are_left_out() {
        let metrics = Metrics::new(&MetricsSettings::default());
        let mut seen = Vec::new();
        metrics.read(
            |family| family.name == "gateway_bytes_exchanged_total",
            |series| seen.push((series.label("direction").to_owned(), series.value(""))),
        );
        assert_eq!(
            seen,
            [("downstream".to_owned(), 0.0), ("upstream".into(), 0.0)]
        );
    }
}
