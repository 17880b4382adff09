//! The table of metrics in `docs/monitor.md`.

use std::fmt::Write;

use super::catalogue::DECLARATIONS;
use super::instrument::Kind;

/// The lines in the page that the table stands between.
pub const MARKER: [&str; 2] = [
    "<!-- metrics: made by `cargo run -p sluicegate-telemetry --example write-metrics-docs` -->",
    "<!-- end of metrics -->",
];

/// `page` with the table of this catalogue in place of the one in it; `None` if it has no place for one.
pub fn markdown(page: &str) -> Option<String> {
    let [begin, end] = MARKER;
    let (before, rest) = page.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n\n{}\n{end}{after}", table()))
}

fn table() -> String {
    let mut table = String::from("| metric | type | labels | what |\n| --- | --- | --- | --- |\n");
    for declaration in DECLARATIONS {
        let kind = match declaration.kind() {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Summary => "summary",
            Kind::Histogram => "histogram",
        };
        let labels = declaration.labels.iter().map(|label| format!("`{label}`"));
        let labels = labels.collect::<Vec<_>>().join(", ");
        let labels = if labels.is_empty() { "–" } else { &labels };
        let mut help = String::new();
        for c in declaration.help.chars() {
            match c {
                '<' => help.push_str("&lt;"),
                '>' => help.push_str("&gt;"),
                '|' => help.push_str("\\|"),
                c => help.push(c),
            }
        }
        // Writing to a string does not fail.
        let _ = writeln!(
            table,
            "| `{}` | {kind} | {labels} | {help} |",
            declaration.name
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_that_of_the_catalogue() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/monitor.md");
        let page = std::fs::read_to_string(path).expect("the page is there");
        assert!(
            markdown(&page).as_ref() == Some(&page),
            "docs/monitor.md is old: run `cargo run -p sluicegate-telemetry --example write-metrics-docs`"
        );
    }
}
