//! What a large scrape costs: time, and memory while it is written.
//!
//! ```text
//! cargo bench -p sluicegate-telemetry --bench scrape
//! ```

use std::time::{Duration, Instant};

use sluicegate_telemetry::metrics::{Format, Metrics, MetricsSettings};

/// Scrapes of each size; the quickest says what it costs when nobody else wants the processor.
const RUNS: usize = 10;

fn main() {
    for series in [50_000, 200_000] {
        let metrics = filled(series);
        let before = peak_kilobytes();
        let mut times = Vec::new();
        let mut bytes = 0;
        for _ in 0..RUNS {
            let began = Instant::now();
            bytes = metrics
                .encode(Format::Text)
                .map(|chunk| chunk.len())
                .sum::<usize>();
            times.push(began.elapsed());
        }
        times.sort();
        let (least, median) = (times.first(), times.get(RUNS / 2));
        let ms = |time: Option<&Duration>| time.copied().unwrap_or_default().as_secs_f64() * 1e3;
        println!(
            "{series} series, {bytes} bytes: {:.1} ms at best, {:.1} ms median, {} KiB of memory more",
            ms(least),
            ms(median),
            peak_kilobytes() - before
        );
    }
}

/// So many series, spread over families with one to three labels.
fn filled(series: usize) -> Metrics {
    let users = series / 5;
    let metrics = Metrics::new(&MetricsSettings {
        max_users: users,
        ..MetricsSettings::default()
    });
    let catalogue = metrics.catalogue();
    for user in 0..users {
        let user = format!("user-{user}");
        let labels = ["Produce", "billing", user.as_str()];
        catalogue.requests_user.with(labels).inc();
        catalogue.errors_user.with(labels).inc();
        catalogue.in_flight.with(labels).inc();
        catalogue.failed_authentications.with([&user]).inc();
        catalogue.authorization_denied.with(["TOPIC", &user]).inc();
    }
    metrics
}

/// The most memory that the process has had; 0 where that is not told.
fn peak_kilobytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_ascii_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
