//! How long workers had nothing to do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::catalogue::Catalogue;
use super::instrument::{Counter, Moment, RATE_WINDOW, Rate, Timer};

/// The waits of all workers.
#[derive(Debug, Default)]
pub struct Parking {
    workers: Mutex<Vec<Arc<WorkerParking>>>,
    /// Microseconds waited, over all workers.
    micros: Rate,
}

/// The waits of one worker; for the hooks of its runtime.
#[derive(Debug)]
pub struct WorkerParking {
    started: Instant,
    /// Nanoseconds since `started`, plus one; 0 while the worker works.
    since: AtomicU64,
    /// Nanoseconds waited, without a wait that has not ended.
    total: AtomicU64,
    waits: Timer,
    count: Counter,
    rate: Rate,
    micros: Rate,
}

impl Parking {
    /// One more worker.
    pub fn worker(&self, catalogue: &Catalogue) -> Arc<WorkerParking> {
        let worker = Arc::new(WorkerParking {
            started: Instant::now(),
            since: AtomicU64::new(0),
            total: AtomicU64::new(0),
            waits: catalogue.upstream_selects.with([]),
            count: catalogue.upstream_select.with([]),
            rate: catalogue.upstream_select_rate.with([]),
            micros: self.micros.clone(),
        });
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.push(Arc::clone(&worker));
        worker
    }

    /// Sets what is known by looking only.
    pub fn collect(&self, catalogue: &Catalogue) {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let nanos = workers.iter().map(|worker| worker.nanos()).sum();
        catalogue.upstream_io_wait.with([]).raise_to(nanos);
        // Workers wake at least once a second, so that waits that have not ended matter little here.
        let waited = self.micros.per_second(Moment::now()) / 1e6;
        let lived = workers.iter().map(|worker| worker.started.elapsed());
        let window = Duration::from_secs(RATE_WINDOW);
        let time: f64 = lived.map(|lived| lived.min(window).as_secs_f64()).sum();
        let share = waited * RATE_WINDOW as f64 / time.max(f64::MIN_POSITIVE);
        catalogue
            .upstream_io_wait_share
            .with([])
            .set(share.min(1.0));
    }
}

impl WorkerParking {
    /// The worker is about to wait.
    pub fn park(&self) {
        self.since
            .store(self.nanos_at(Instant::now()) + 1, Ordering::Release);
    }

    /// The worker goes on.
    pub fn unpark(&self) {
        let since = self.since.load(Ordering::Relaxed);
        if since == 0 {
            return;
        }
        let now = Instant::now();
        let waited = self.nanos_at(now).saturating_sub(since - 1);
        self.total.fetch_add(waited, Ordering::Relaxed);
        self.since.store(0, Ordering::Release);
        let at = Moment::of(now);
        self.waits.observe(at, Duration::from_nanos(waited));
        self.count.inc();
        self.rate.add(at, 1);
        self.micros
            .add(at, u32::try_from(waited / 1000).unwrap_or(u32::MAX));
    }

    fn nanos(&self) -> u64 {
        let since = self.since.load(Ordering::Acquire);
        let open = match since {
            0 => 0,
            since => self.nanos_at(Instant::now()).saturating_sub(since - 1),
        };
        self.total.load(Ordering::Relaxed) + open
    }

    /// Nanoseconds from `started` to `instant`.
    fn nanos_at(&self, instant: Instant) -> u64 {
        let lived = instant.saturating_duration_since(self.started);
        u64::try_from(lived.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Format, Metrics, MetricsSettings};

    #[test]
    fn waits_that_have_not_ended_are_counted() {
        let metrics = Metrics::new(&MetricsSettings::default());
        let parking = Arc::new(Parking::default());
        let worker = parking.worker(metrics.catalogue());
        let seen = Arc::clone(&parking);
        metrics.before_scrapes(move |catalogue| seen.collect(catalogue));
        worker.unpark();
        worker.park();
        let value = |name: &str| -> f64 {
            let text: String = metrics.encode(Format::Text).collect();
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")));
            let value = line
                .and_then(|line| line.rsplit_once(' '))
                .expect("a line")
                .1;
            value.parse().expect("a number")
        };
        let first = value("gateway_upstream_io_wait_seconds_total");
        assert!(first > 0.0);
        assert!(value("gateway_upstream_io_wait_total") > first);
        assert_eq!(value("gateway_upstream_select_total"), 0.0);
        worker.unpark();
        for name in [
            "gateway_upstream_select_total",
            "gateway_upstream_select_rate_seconds_count",
            "gateway_upstream_io_wait_rate_seconds_count",
        ] {
            assert_eq!(value(name), 1.0, "{name}");
        }
        let share = value("gateway_upstream_io_wait_rate");
        assert!((0.0..=1.0).contains(&share), "{share}");
    }
}
