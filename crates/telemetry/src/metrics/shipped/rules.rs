//! Recording rules, alerts and their unit tests.

use std::collections::BTreeSet;

use serde_json::Value;

use super::promql::Query;
use super::{Known, items, text, yaml};

const SEVERITIES: [&str; 3] = ["critical", "warning", "info"];

/// What scrapes make, and what recording rules make of it.
pub(super) fn known() -> Known {
    let mut known = Known::metrics();
    for rule in rules("rules/recording.yml") {
        let name = text(&rule, "record");
        known.check(text(&rule, "expr"), name);
        // All of them are grouped; quantiles use up the bounds.
        let grouped = Query::parse(text(&rule, "expr")).grouped;
        let labels: Vec<_> = grouped.iter().map(String::as_str).collect();
        let labels: Vec<_> = labels.into_iter().filter(|label| *label != "le").collect();
        known.add(name, &labels);
    }
    known
}

fn rules(path: &str) -> Vec<Value> {
    let file = yaml(path);
    let groups = items(&file["groups"]).iter();
    let rules: Vec<_> = groups
        .flat_map(|group| items(&group["rules"]))
        .cloned()
        .collect();
    assert!(!rules.is_empty(), "{path}");
    rules
}

/// The anchors that a web view of the page has.
fn anchors() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/monitor.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let anchors = headings.map(|line| {
        let heading = line.trim_start_matches('#').trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().replace(' ', "-")
    });
    anchors.collect()
}

#[test]
fn alerts_ask_for_what_there_is_and_lead_to_documentation() {
    let known = known();
    let anchors = anchors();
    let mut names = BTreeSet::new();
    for rule in rules("rules/alerts.yml") {
        let name = text(&rule, "alert");
        assert!(names.insert(name.to_owned()), "{name} is there twice");
        let had = known.check(text(&rule, "expr"), name);
        let severity = text(&rule["labels"], "severity");
        assert!(SEVERITIES.contains(&severity), "{name}: {severity}");
        let annotations = &rule["annotations"];
        for member in ["summary", "description"] {
            for part in text(annotations, member).split("{{ $labels.").skip(1) {
                let label = part.split_once(" }}").expect("an end of the label").0;
                assert!(had.contains(label), "{name}: {label}");
            }
        }
        let (page, anchor) = text(annotations, "runbook_url")
            .split_once('#')
            .expect("an anchor");
        assert!(page.ends_with("/docs/monitor.md"), "{name}: {page}");
        assert!(
            anchors.contains(anchor),
            "{name}: docs/monitor.md has no section #{anchor}"
        );
    }
}

#[test]
fn every_rule_has_unit_tests() {
    let mut recorded = BTreeSet::new();
    let (mut fires, mut is_quiet) = (BTreeSet::new(), BTreeSet::new());
    let known = known();
    for file in ["tests/recording_test.yml", "tests/alerts_test.yml"] {
        for test in items(&yaml(file)["tests"]) {
            for series in items(&test["input_series"]) {
                known.check(text(series, "series"), file);
            }
            for asked in items(&test["promql_expr_test"]) {
                assert!(!items(&asked["exp_samples"]).is_empty(), "{asked}");
                let query = Query::parse(text(asked, "expr"));
                recorded.extend(query.selectors.into_iter().map(|selector| selector.name));
            }
            for asked in items(&test["alert_rule_test"]) {
                let name = text(asked, "alertname").to_owned();
                match items(&asked["exp_alerts"]).is_empty() {
                    true => is_quiet.insert(name),
                    false => fires.insert(name),
                };
            }
        }
    }
    for rule in rules("rules/recording.yml") {
        assert!(
            recorded.contains(text(&rule, "record")),
            "no test of {rule}"
        );
    }
    for rule in rules("rules/alerts.yml") {
        let name = text(&rule, "alert");
        assert!(fires.contains(name), "no test in which {name} fires");
        assert!(
            is_quiet.contains(name),
            "no test in which {name} does not fire"
        );
    }
}
