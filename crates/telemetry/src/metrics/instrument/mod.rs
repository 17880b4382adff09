//! What a series holds.

mod clock;
mod own;
mod timer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

pub use clock::Moment;
use clock::Ring;
use own::Cells;
pub use own::{Addable, Own};
pub use timer::{BOUNDS, Bounds, Histogram, OwnHistogram, OwnTimer, Stages, Standard, Timer};

/// The type of a family, as scrapes tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many and how much in total, without quantiles.
    Summary,
    /// The same, and how many below each bound.
    Histogram,
}

/// What a family shows: most show themselves only, timers a maximum besides, which is a family of its own in a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facet {
    /// Follows the name of the family.
    pub suffix: &'static str,
    /// Its type.
    pub kind: Kind,
}

impl Facet {
    const fn bare(kind: Kind) -> Facet {
        Facet { suffix: "", kind }
    }
}

/// Takes the samples of a series: what follows the name, the value of the label `le` if there is one, and the value.
pub type Samples<'a> =
    &'a mut dyn FnMut(&'static str, Option<&'static str>, &dyn fmt::Display) -> fmt::Result;

/// The value of one series. Clones share it.
pub trait Instrument: Clone + Default + fmt::Debug + Send + Sync + 'static {
    /// What families of it show; the first is what the catalogue names.
    const FACETS: &'static [Facet];

    /// Gives the samples of one of [`Instrument::FACETS`].
    ///
    /// # Errors
    /// Of the writer.
    fn samples(&self, facet: usize, samples: Samples<'_>) -> fmt::Result;

    /// What the series shows, if it may end one day: a number that is another one after the series has changed, and 0 as long as it is 0.
    fn value(&self) -> Option<u64> {
        None
    }

    /// Whether somebody besides its family can still change it.
    fn is_held(&self) -> bool {
        true
    }
}

/// Built only to measure what updates cost.
const UNCOUNTED: bool = cfg!(feature = "uncounted");

/// Counts events since the start of the process.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<Cells<AtomicU64>>);

/// Counts in a [`Counter`], for one thread.
pub type OwnCounter = Own<AtomicU64>;

impl Counter {
    /// Counts one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Counts several.
    pub fn add(&self, count: u64) {
        if UNCOUNTED {
            return;
        }
        self.0.common().fetch_add(count, Ordering::Relaxed);
    }

    /// Sets what somebody else has counted, all of it; less than before is ignored.
    pub fn raise_to(&self, count: u64) {
        self.0.common().fetch_max(count, Ordering::Relaxed);
    }

    /// A handle for one thread that counts often.
    pub fn own(&self) -> OwnCounter {
        self.0.lease()
    }

    /// The count.
    pub fn get(&self) -> u64 {
        let mut count = 0_u64;
        self.0
            .for_each(|cell| count = count.wrapping_add(cell.load(Ordering::Relaxed)));
        count
    }
}

impl Instrument for Counter {
    const FACETS: &'static [Facet] = &[Facet::bare(Kind::Counter)];

    fn samples(&self, _facet: usize, samples: Samples<'_>) -> fmt::Result {
        samples("", None, &self.get())
    }

    fn value(&self) -> Option<u64> {
        Some(self.get())
    }

    fn is_held(&self) -> bool {
        Arc::strong_count(&self.0) > 1 || self.0.is_leased()
    }
}

/// Counts time, in nanoseconds, and shows it in seconds.
#[derive(Clone, Debug, Default)]
pub struct SecondsCounter(Arc<AtomicU64>);

impl SecondsCounter {
    /// Sets what has been counted; less than before is ignored.
    pub fn raise_to(&self, nanos: u64) {
        self.0.fetch_max(nanos, Ordering::Relaxed);
    }
}

impl Instrument for SecondsCounter {
    const FACETS: &'static [Facet] = &[Facet::bare(Kind::Counter)];

    fn samples(&self, _facet: usize, samples: Samples<'_>) -> fmt::Result {
        samples("", None, &timer::seconds(self.0.load(Ordering::Relaxed)))
    }
}

/// A value that is set.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicU64>);

impl Gauge {
    /// Sets the value; one that is not finite is ignored.
    pub fn set(&self, value: f64) {
        if value.is_finite() {
            self.0.store(value.to_bits(), Ordering::Relaxed);
        }
    }

    /// The value, 0 before the first [`Gauge::set`].
    pub fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

impl Instrument for Gauge {
    const FACETS: &'static [Facet] = &[Facet::bare(Kind::Gauge)];

    fn samples(&self, _facet: usize, samples: Samples<'_>) -> fmt::Result {
        samples("", None, &self.get())
    }
}

/// How many there are of something now.
#[derive(Clone, Debug, Default)]
pub struct Level(Arc<Cells<AtomicI64>>);

/// Counts in a [`Level`], for one thread.
pub type OwnLevel = Own<AtomicI64>;

impl Level {
    /// One more.
    pub fn inc(&self) {
        self.0.common().fetch_add(1, Ordering::Relaxed);
    }

    /// One less.
    pub fn dec(&self) {
        self.0.common().fetch_sub(1, Ordering::Relaxed);
    }

    /// A handle for one thread that counts often.
    pub fn own(&self) -> OwnLevel {
        self.0.lease()
    }

    /// One more for as long as the guard lives.
    #[must_use]
    pub fn hold(&self) -> Held {
        self.hold_many(1)
    }

    /// So many more for as long as the guard lives.
    #[must_use]
    pub fn hold_many(&self, count: u32) -> Held {
        let count = i64::from(count);
        self.0.common().fetch_add(count, Ordering::Relaxed);
        Held(self.clone(), count)
    }

    /// How many.
    pub fn get(&self) -> i64 {
        let mut level = 0_i64;
        self.0
            .for_each(|cell| level = level.wrapping_add(cell.load(Ordering::Relaxed)));
        level
    }
}

impl Instrument for Level {
    const FACETS: &'static [Facet] = &[Facet::bare(Kind::Gauge)];

    fn samples(&self, _facet: usize, samples: Samples<'_>) -> fmt::Result {
        samples("", None, &self.get())
    }

    fn value(&self) -> Option<u64> {
        Some(self.get().cast_unsigned())
    }

    fn is_held(&self) -> bool {
        Arc::strong_count(&self.0) > 1 || self.0.is_leased()
    }
}

/// An offset of a log; not known before it is set.
#[derive(Clone, Debug)]
pub struct Offset(Arc<AtomicI64>);

impl Offset {
    const UNKNOWN: i64 = -1;

    /// Sets it; negative ones are none.
    pub fn set(&self, offset: i64) {
        if offset >= 0 {
            self.0.store(offset, Ordering::Relaxed);
        }
    }

    /// Sets it unless it is greater.
    pub fn raise_to(&self, offset: i64) {
        self.0.fetch_max(offset, Ordering::Relaxed);
    }

    /// The offset.
    pub fn get(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|offset| *offset >= 0)
    }
}

impl Default for Offset {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(Self::UNKNOWN)))
    }
}

impl Instrument for Offset {
    const FACETS: &'static [Facet] = &[Facet::bare(Kind::Gauge)];

    fn samples(&self, _facet: usize, samples: Samples<'_>) -> fmt::Result {
        match self.get() {
            Some(offset) => samples("", None, &offset),
            None => Ok(()),
        }
    }
}

/// A value without an end.
#[derive(Clone, Debug, Default)]
pub struct Endless;

impl Instrument for Endless {
    const FACETS: &'static [Facet] = &[Facet::bare(Kind::Gauge)];

    fn samples(&self, _facet: usize, samples: Samples<'_>) -> fmt::Result {
        samples("", None, &"+Inf")
    }
}

/// Counted in a [`Level`] until dropped.
#[derive(Debug)]
pub struct Held(Level, i64);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.common().fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// Events per second over the last [`RATE_WINDOW`] seconds, whenever it is looked at.
#[derive(Clone, Debug, Default)]
pub struct Rate(Arc<Ring>);

/// What a [`Rate`] looks back on, seconds.
pub const RATE_WINDOW: u64 = 30;

impl Rate {
    /// Adds `amount`.
    pub fn add(&self, at: Moment, amount: u32) {
        if UNCOUNTED {
            return;
        }
        self.0.add(at, amount);
    }

    /// The average per second.
    pub fn per_second(&self, now: Moment) -> f64 {
        self.0.sum(now, RATE_WINDOW) as f64 / RATE_WINDOW as f64
    }
}

impl Instrument for Rate {
    const FACETS: &'static [Facet] = &[Facet::bare(Kind::Gauge)];

    fn samples(&self, _facet: usize, samples: Samples<'_>) -> fmt::Result {
        samples("", None, &self.per_second(Moment::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_forgets_after_its_window() {
        let rate = Rate::default();
        for second in 100..110 {
            rate.add(Moment::at_second(second), 6);
        }
        assert_eq!(rate.per_second(Moment::at_second(110)), 2.0);
        assert_eq!(rate.per_second(Moment::at_second(134)), 1.0);
        assert_eq!(rate.per_second(Moment::at_second(139)), 0.0);
        rate.add(Moment::at_second(1000), 30);
        assert_eq!(rate.per_second(Moment::at_second(1000)), 1.0);
    }

    #[test]
    fn levels_go_up_and_down() {
        let level = Level::default();
        let held = level.hold();
        level.inc();
        assert_eq!(level.get(), 2);
        drop(held);
        level.dec();
        assert_eq!(level.get(), 0);
    }

    #[test]
    fn time_never_runs_backwards() {
        let seconds = SecondsCounter::default();
        seconds.raise_to(1_500_000_000);
        seconds.raise_to(1_000_000_000);
        let mut shown = String::new();
        let written = seconds.samples(0, &mut |_, _, value| {
            shown = value.to_string();
            Ok(())
        });
        assert_eq!((written, shown.as_str()), (Ok(()), "1.5"));
    }
}
