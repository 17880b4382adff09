//! The dashboard: whole in the terms of Grafana's schema, and every query about metrics that exist.

use std::collections::BTreeSet;

use serde_json::Value;

use super::rules::known;
use super::{items, read, text};

const COLUMNS: u64 = 24;
const PANELS: [&str; 4] = ["row", "stat", "timeseries", "table"];

fn dashboard() -> Value {
    serde_json::from_str(&read("grafana/sluicegate.json")).expect("JSON")
}

fn number(value: &Value, member: &str) -> u64 {
    let found = value[member].as_u64();
    found.unwrap_or_else(|| panic!("{member} is a number in {value}"))
}

/// Left, top, right, bottom.
fn place(panel: &Value) -> [u64; 4] {
    let place = &panel["gridPos"];
    let [x, y, w, h] = ["x", "y", "w", "h"].map(|member| number(place, member));
    assert!(w > 0 && h > 0 && x + w <= COLUMNS, "{place}");
    [x, y, x + w, y + h]
}

#[test]
fn every_query_asks_for_what_there_is() {
    let known = known();
    let dashboard = dashboard();
    let mut queries = 0;
    for panel in items(&dashboard["panels"]) {
        let title = text(panel, "title");
        for target in items(&panel["targets"]) {
            let expr = text(target, "expr");
            let had = known.check(expr, title);
            for part in text(target, "legendFormat").split("{{").skip(1) {
                let label = part.split_once("}}").expect("an end of the label").0;
                assert!(had.contains(label), "{title}: {label}");
            }
            // Each node can be looked at alone.
            assert!(
                expr.contains("instance=~\"$instance\"") || expr.starts_with("count("),
                "{title}: {expr}"
            );
            queries += 1;
        }
    }
    assert!(queries > 50, "{queries}");
    for annotation in items(&dashboard["annotations"]["list"]) {
        known.check(text(annotation, "expr"), "annotation");
    }
    let variables = items(&dashboard["templating"]["list"]);
    let names: Vec<_> = variables
        .iter()
        .map(|variable| text(variable, "name"))
        .collect();
    assert_eq!(names, ["datasource", "instance", "vcluster"]);
    for variable in &variables[1..] {
        let query = text(&variable["query"], "query");
        let inside = query
            .strip_prefix("label_values(")
            .and_then(|q| q.strip_suffix(')'));
        let (metric, label) = inside
            .and_then(|q| q.rsplit_once(", "))
            .expect("label_values");
        assert!(known.check(metric, query).contains(label), "{query}");
    }
}

#[test]
fn panels_are_whole_and_do_not_overlap() {
    let dashboard = dashboard();
    for member in ["uid", "title", "description", "refresh"] {
        assert!(!text(&dashboard, member).is_empty());
    }
    // What Grafana 10 writes; newer ones migrate it.
    assert_eq!(number(&dashboard, "schemaVersion"), 39);
    let panels = items(&dashboard["panels"]);
    let mut ids = BTreeSet::new();
    for panel in panels {
        let title = text(panel, "title");
        assert!(ids.insert(number(panel, "id")), "{title}: its id is taken");
        let kind = text(panel, "type");
        assert!(PANELS.contains(&kind), "{title}: {kind}");
        if kind == "row" {
            assert!(
                panel["targets"].is_null() && items(&panel["panels"]).is_empty(),
                "{title}"
            );
            continue;
        }
        let targets = items(&panel["targets"]);
        assert!(!targets.is_empty(), "{title} asks nothing");
        let mut refs = BTreeSet::new();
        for target in targets {
            assert!(refs.insert(text(target, "refId")), "{title}");
            assert_eq!(target["datasource"], panel["datasource"], "{title}");
        }
        assert_eq!(
            text(&panel["datasource"], "uid"),
            "${datasource}",
            "{title}"
        );
        assert!(
            !text(&panel["fieldConfig"]["defaults"], "noValue").is_empty(),
            "{title}"
        );
        assert!(panel["options"].is_object(), "{title}");
    }
    for (i, panel) in panels.iter().enumerate() {
        let a = place(panel);
        for other in &panels[i + 1..] {
            let b = place(other);
            let apart = a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1];
            assert!(apart, "{} lies on {}", panel["title"], other["title"]);
        }
    }
}
