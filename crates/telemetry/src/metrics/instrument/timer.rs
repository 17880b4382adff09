//! How long something took: sums, bounds, and the maximum of the last minutes.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::clock::Peak;
use super::own::{self, Addable, Cells, Own};
use super::{Facet, Instrument, Kind, Moment, Samples, UNCOUNTED};

const MAX: Facet = Facet {
    suffix: "_max",
    kind: Kind::Gauge,
};

/// Counts and adds up durations.
#[derive(Clone, Debug, Default)]
pub struct Timer(Arc<Cells<Sums>>);

/// Observes for a [`Timer`], for one thread.
pub type OwnTimer = Own<Sums>;

/// What a [`Timer`] has seen.
#[derive(Debug, Default)]
pub struct Sums {
    count: AtomicU64,
    nanos: AtomicU64,
    peak: Peak,
}

impl Timer {
    /// Adds one duration, which ended `at`.
    pub fn observe(&self, at: Moment, took: Duration) {
        if UNCOUNTED {
            return;
        }
        let nanos = nanos(took);
        let sums = self.0.common();
        sums.count.fetch_add(1, Ordering::Relaxed);
        sums.nanos.fetch_add(nanos, Ordering::Relaxed);
        sums.peak.record(at, nanos);
    }

    /// A handle for one thread that observes often.
    pub fn own(&self) -> OwnTimer {
        self.0.lease()
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.sum_of(|sums| &sums.count)
    }

    /// Their sum, nanoseconds.
    pub fn nanos(&self) -> u64 {
        self.sum_of(|sums| &sums.nanos)
    }

    fn sum_of(&self, part: impl Fn(&Sums) -> &AtomicU64) -> u64 {
        let mut sum = 0_u64;
        self.0
            .for_each(|sums| sum = sum.wrapping_add(part(sums).load(Ordering::Relaxed)));
        sum
    }
}

impl OwnTimer {
    /// Adds one duration, which ended `at`.
    pub fn observe(&self, at: Moment, took: Duration) {
        if UNCOUNTED {
            return;
        }
        let nanos = nanos(took);
        let sums = self.cell();
        own::add(&sums.count, 1);
        own::add(&sums.nanos, nanos);
        sums.peak.record(at, nanos);
    }
}

impl Addable for Sums {
    fn absorb(&self, other: &Self) {
        self.count.absorb(&other.count);
        self.nanos.absorb(&other.nanos);
        self.peak.absorb(&other.peak);
    }
}

impl Instrument for Timer {
    const FACETS: &'static [Facet] = &[Facet::bare(Kind::Summary), MAX];

    fn samples(&self, facet: usize, samples: Samples<'_>) -> fmt::Result {
        if facet > 0 {
            let (now, mut peak) = (Moment::now(), 0);
            self.0.for_each(|sums| peak = peak.max(sums.peak.get(now)));
            return samples("", None, &seconds(peak));
        }
        samples("_sum", None, &seconds(self.nanos()))?;
        samples("_count", None, &self.count())
    }
}

/// The upper bounds of the buckets: nanoseconds, and how scrapes write them in seconds.
pub const BOUNDS: [(u64, &str); 18] = [
    (20_000, "0.00002"),
    (50_000, "0.00005"),
    (100_000, "0.0001"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_000_000, "0.002"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (20_000_000, "0.02"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (200_000_000, "0.2"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1.0"),
    (2_000_000_000, "2.0"),
    (5_000_000_000, "5.0"),
    (10_000_000_000, "10.0"),
    (30_000_000_000, "30.0"),
];

/// Which bounds a [`Histogram`] has.
pub trait Bounds: Clone + fmt::Debug + Default + Send + Sync + 'static {
    /// As [`BOUNDS`], and not more.
    const BOUNDS: &'static [(u64, &'static str)];
}

/// [`BOUNDS`].
#[derive(Clone, Debug, Default)]
pub struct Standard;

impl Bounds for Standard {
    const BOUNDS: &'static [(u64, &'static str)] = &BOUNDS;
}

/// The bounds of the stages of requests, which dashboards name.
#[derive(Clone, Debug, Default)]
pub struct Stages;

impl Bounds for Stages {
    const BOUNDS: &'static [(u64, &'static str)] = &[
        (50_000, "0.00005"),
        (100_000, "0.0001"),
        (500_000, "0.0005"),
        (1_000_000, "0.001"),
        (10_000_000, "0.01"),
        (50_000_000, "0.05"),
        (100_000_000, "0.1"),
        (500_000_000, "0.5"),
        (1_000_000_000, "1.0"),
        (5_000_000_000, "5.0"),
        (30_000_000_000, "30.0"),
    ];
}

/// Like [`Timer`], with the number of durations below each of its bounds.
#[derive(Clone, Debug, Default)]
pub struct Histogram<B = Standard>(Arc<Cells<Buckets<B>>>);

/// Observes for a [`Histogram`], for one thread.
pub type OwnHistogram<B = Standard> = Own<Buckets<B>>;

/// What a [`Histogram`] has seen.
#[derive(Debug, Default)]
pub struct Buckets<B> {
    /// By bound, not cumulative; the one behind the last bound is for what is above all of them.
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
    peak: Peak,
    bounds: PhantomData<B>,
}

impl<B: Bounds> Histogram<B> {
    /// Adds one duration, which ended `at`.
    pub fn observe(&self, at: Moment, took: Duration) {
        if UNCOUNTED {
            return;
        }
        let nanos = nanos(took);
        let buckets = self.0.common();
        if let Some(count) = buckets.count_of(nanos) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        buckets.nanos.fetch_add(nanos, Ordering::Relaxed);
        buckets.peak.record(at, nanos);
    }

    /// A handle for one thread that observes often.
    pub fn own(&self) -> OwnHistogram<B> {
        self.0.lease()
    }

    /// How many.
    pub fn count(&self) -> u64 {
        let total = self.total();
        let counts = total.counts.iter();
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// All cells together.
    fn total(&self) -> Buckets<B> {
        let total = Buckets::default();
        self.0.for_each(|buckets| total.absorb(buckets));
        total
    }
}

impl<B: Bounds> OwnHistogram<B> {
    /// Adds one duration, which ended `at`.
    pub fn observe(&self, at: Moment, took: Duration) {
        if UNCOUNTED {
            return;
        }
        let nanos = nanos(took);
        let buckets = self.cell();
        if let Some(count) = buckets.count_of(nanos) {
            own::add(count, 1);
        }
        own::add(&buckets.nanos, nanos);
        buckets.peak.record(at, nanos);
    }
}

impl<B: Bounds> Buckets<B> {
    fn count_of(&self, nanos: u64) -> Option<&AtomicU64> {
        let bucket = B::BOUNDS.partition_point(|(bound, _)| *bound < nanos);
        self.counts.get(bucket)
    }
}

impl<B: Bounds> Addable for Buckets<B> {
    fn absorb(&self, other: &Self) {
        for (count, other) in self.counts.iter().zip(&other.counts) {
            count.absorb(other);
        }
        self.nanos.absorb(&other.nanos);
        self.peak.absorb(&other.peak);
    }
}

impl<B: Bounds> Instrument for Histogram<B> {
    const FACETS: &'static [Facet] = &[Facet::bare(Kind::Histogram), MAX];

    fn samples(&self, facet: usize, samples: Samples<'_>) -> fmt::Result {
        if facet > 0 {
            let (now, mut peak) = (Moment::now(), 0);
            self.0
                .for_each(|buckets| peak = peak.max(buckets.peak.get(now)));
            return samples("", None, &seconds(peak));
        }
        // The count is the last bucket: both are of one moment, however busy the gateway is.
        let all = self.total();
        let mut total = 0;
        let names = B::BOUNDS.iter().map(|(_, name)| *name).chain(["+Inf"]);
        for (count, name) in all.counts.iter().zip(names) {
            total += count.load(Ordering::Relaxed);
            samples("_bucket", Some(name), &total)?;
        }
        samples("_sum", None, &seconds(all.nanos.load(Ordering::Relaxed)))?;
        samples("_count", None, &total)
    }
}

pub(super) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(instrument: &impl Instrument, facet: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let written = instrument.samples(facet, &mut |suffix, bound, value| {
            lines.push(format!("{suffix} {} {value}", bound.unwrap_or("-")));
            Ok(())
        });
        assert_eq!(written, Ok(()));
        lines
    }

    #[test]
    fn bounds_ascend_and_are_what_they_say() {
        assert!(Stages::BOUNDS.len() <= BOUNDS.len());
        for bounds in [Standard::BOUNDS, Stages::BOUNDS] {
            for pair in bounds.windows(2) {
                assert!(pair[0].0 < pair[1].0);
            }
            for (nanos, name) in bounds {
                let said: f64 = name.parse().expect("a number");
                assert_eq!((said * 1e9).round() as u64, *nanos, "{name}");
            }
        }
    }

    #[test]
    fn a_histogram_is_cumulative() {
        let histogram = Histogram::<Standard>::default();
        for micros in [1, 20, 21, 100, 150_000, 60_000_000] {
            histogram.observe(Moment::now(), Duration::from_micros(micros));
        }
        let lines = shown(&histogram, 0);
        for line in [
            "_bucket 0.00002 2",
            "_bucket 0.00005 3",
            "_bucket 0.0001 4",
            "_bucket 0.1 4",
            "_bucket 0.2 5",
            "_bucket 30.0 5",
            "_bucket +Inf 6",
            "_count - 6",
            "_sum - 60.150142",
        ] {
            assert!(lines.iter().any(|l| l == line), "{line}: {lines:?}");
        }
        assert_eq!(shown(&histogram, 1), [" - 60"]);
        assert_eq!(histogram.count(), 6);
    }

    #[test]
    fn a_timer_keeps_nanoseconds() {
        let timer = Timer::default();
        timer.observe(Moment::now(), Duration::from_nanos(1_000_000_001));
        timer.observe(Moment::now(), Duration::from_nanos(2));
        assert_eq!(shown(&timer, 0), ["_sum - 1.000000003", "_count - 2"]);
        assert_eq!(shown(&timer, 1), [" - 1.000000001"]);
    }
}
