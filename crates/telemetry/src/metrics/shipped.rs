//! What is shipped for operators in `deploy/monitoring` asks for metrics and labels that exist, is tested, and leads to documentation.

mod dashboard;
mod promql;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use super::catalogue::DECLARATIONS;
use super::instrument::Kind;
use promql::Query;

/// Labels that scrapers add.
const SCRAPED: [&str; 2] = ["job", "instance"];

/// What can be asked for: names as in a scrape, with their labels.
struct Known(BTreeMap<String, BTreeSet<String>>);

impl Known {
    /// The catalogue, and what the scraper makes.
    fn metrics() -> Known {
        let mut known = Known(BTreeMap::new());
        known.add("up", &[]);
        for declaration in DECLARATIONS {
            for facet in declaration.facets {
                let name = format!("{}{}", declaration.name, facet.suffix);
                known.add_kind(&name, facet.kind, declaration.labels);
            }
        }
        known
    }

    fn add_kind(&mut self, name: &str, kind: Kind, labels: &[&str]) {
        if matches!(kind, Kind::Counter | Kind::Gauge) {
            return self.add(name, labels);
        }
        self.add(&format!("{name}_sum"), labels);
        self.add(&format!("{name}_count"), labels);
        if kind == Kind::Histogram {
            let labels: Vec<_> = labels.iter().copied().chain(["le"]).collect();
            self.add(&format!("{name}_bucket"), &labels);
        }
    }

    fn add(&mut self, name: &str, labels: &[&str]) {
        let labels = labels
            .iter()
            .chain(&SCRAPED)
            .map(|label| (*label).to_owned());
        self.0.insert(name.to_owned(), labels.collect());
    }

    /// Checks one expression; `at` says where it stands. Gives the labels that its metrics have.
    fn check(&self, expr: &str, at: &str) -> BTreeSet<String> {
        let query = Query::parse(expr);
        assert!(
            !query.selectors.is_empty(),
            "{at}: nothing is asked in {expr}"
        );
        let mut had = BTreeSet::new();
        for selector in &query.selectors {
            let name = &selector.name;
            let labels = self.0.get(name);
            let labels =
                labels.unwrap_or_else(|| panic!("{at}: there is no metric {name}: {expr}"));
            for label in &selector.labels {
                assert!(
                    labels.contains(label),
                    "{at}: {name} has no label {label}: {expr}"
                );
            }
            had.extend(labels.iter().cloned());
        }
        for label in &query.grouped {
            assert!(
                had.contains(label),
                "{at}: nothing has a label {label}: {expr}"
            );
        }
        had
    }
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../deploy/monitoring"
    ))
}

fn read(path: &str) -> String {
    let path = folder().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn yaml(path: &str) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    let found = value[member].as_str();
    found.unwrap_or_else(|| panic!("{member} is a text in {value}"))
}

#[test]
fn promtool_agrees() {
    if Command::new("promtool").arg("--version").output().is_err() {
        println!("promtool is not installed: deploy/monitoring/check was not run");
        return;
    }
    let output = Command::new(folder().join("check")).output();
    let output = output.expect("it can be run");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}
