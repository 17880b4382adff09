//! Writes the table of metrics in `docs/monitor.md` from the catalogue.

use std::io::{Error, ErrorKind};

fn main() -> std::io::Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/monitor.md");
    let page = std::fs::read_to_string(path)?;
    let page = sluicegate_telemetry::metrics::markdown(&page).ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidData,
            "the page has no place for the table",
        )
    })?;
    std::fs::write(path, page)
}
