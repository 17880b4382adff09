//! What is counted while a load runs, and what comes out.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::Versions;

/// Longest latency that is told apart, nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// A histogram of nanoseconds with two significant digits.
#[derive(Debug)]
struct Latency(Option<Histogram<u64>>);

impl Default for Latency {
    fn default() -> Self {
        // Never None: the bounds are valid ones.
        Latency(Histogram::new_with_bounds(1_000, LONGEST, 2).ok())
    }
}

/// Counters of all connections. They count only while measuring.
#[derive(Debug, Default)]
pub(super) struct Stats {
    measuring: AtomicBool,
    written: AtomicU64,
    read: AtomicU64,
    requests: AtomicU64,
    latency: Mutex<Latency>,
}

impl Stats {
    pub(super) fn open(&self) {
        self.measuring.store(true, Ordering::Relaxed);
    }

    pub(super) fn close(&self) {
        self.measuring.store(false, Ordering::Relaxed);
    }

    fn add(&self, counter: &AtomicU64, count: usize) {
        if self.measuring.load(Ordering::Relaxed) {
            counter.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn wrote(&self, bytes: usize) {
        self.add(&self.written, bytes);
    }

    pub(super) fn read(&self, bytes: usize) {
        self.add(&self.read, bytes);
    }

    pub(super) fn completed(&self) {
        self.add(&self.requests, 1);
    }

    /// A request meant for `intended` has been answered now.
    pub(super) fn took(&self, intended: Instant) {
        if self.measuring.load(Ordering::Relaxed) {
            let nanos = u64::try_from(intended.elapsed().as_nanos()).unwrap_or(LONGEST);
            let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(latency) = &mut latency.0 {
                latency.saturating_record(nanos);
            }
        }
    }

    pub(super) fn outcome(
        &self,
        seconds: f64,
        cpu_seconds: f64,
        versions: Versions,
        suite: Option<String>,
    ) -> Outcome {
        let latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let nanos = |quantile| {
            latency
                .0
                .as_ref()
                .map_or(0, |l| l.value_at_quantile(quantile))
        };
        let at = |quantile| nanos(quantile) as f64 / 1_000.0;
        let bytes = self.written.load(Ordering::Relaxed) + self.read.load(Ordering::Relaxed);
        Outcome {
            seconds,
            cpu_seconds,
            requests: self.requests.load(Ordering::Relaxed),
            bytes,
            latency: Quantiles {
                p50: at(0.5),
                p99: at(0.99),
                p999: at(0.999),
            },
            produce: versions.produce,
            fetch: versions.fetch,
            suite,
        }
    }
}

/// Latency, microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    /// Median.
    pub(crate) p50: f64,
    /// 99th percentile.
    pub(crate) p99: f64,
    /// 99.9th percentile.
    pub(crate) p999: f64,
}

/// What one run measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Length of the measurement.
    pub(crate) seconds: f64,
    /// CPU time of the watched processes in it.
    pub(crate) cpu_seconds: f64,
    /// Answered requests.
    pub(crate) requests: u64,
    /// Bytes of requests and answers, frames included.
    pub(crate) bytes: u64,
    /// From the moment a request was meant for until its answer was read.
    pub(crate) latency: Quantiles,
    /// Version of Produce that was used.
    pub(crate) produce: i16,
    /// Version of Fetch that was used.
    pub(crate) fetch: i16,
    /// TLS cipher suite.
    pub(crate) suite: Option<String>,
}

impl Outcome {
    /// MB (10^6 bytes) per second.
    pub(crate) fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.seconds
    }

    /// Thousandths of a CPU for 1 MB/s.
    pub(crate) fn millicores_per_megabyte(&self) -> f64 {
        self.cpu_seconds * 1e9 / (self.bytes as f64).max(1.0)
    }

    /// CPU seconds for a GiB.
    pub(crate) fn cpu_seconds_per_gib(&self) -> f64 {
        self.cpu_seconds * f64::from(1 << 30) / (self.bytes as f64).max(1.0)
    }

    /// Requests per second.
    pub(crate) fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}
