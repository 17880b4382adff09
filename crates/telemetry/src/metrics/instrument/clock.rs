//! Slots of time that are shared by who records and who reads, without a lock.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Seconds are counted from here.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A second in the life of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// The current second.
    pub fn now() -> Moment {
        Moment::of(Instant::now())
    }

    /// The second that `instant` is in.
    pub fn of(instant: Instant) -> Moment {
        // From one on: slots of second 0 are those never used.
        Moment(instant.saturating_duration_since(*START).as_secs() + 1)
    }

    /// Seconds from `earlier` to this.
    pub(in crate::metrics) fn since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    #[cfg(test)]
    pub(in crate::metrics) fn at_second(second: u64) -> Moment {
        Moment(second)
    }
}

/// Sums of single seconds.
#[derive(Debug, Default)]
pub(super) struct Ring([AtomicU64; SLOTS]);

const SLOTS: usize = 32;

/// A slot holds its second in the upper half and the sum in the lower.
const HALF: u32 = 32;

impl Ring {
    pub(super) fn add(&self, Moment(second): Moment, amount: u32) {
        let Some(slot) = self.0.get(second as usize % SLOTS) else {
            return;
        };
        let _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            match held >> HALF {
                seen if seen == second => {
                    let sum = (held as u32).saturating_add(amount);
                    Some(second << HALF | u64::from(sum))
                }
                newer if newer > second => None,
                _ => Some(second << HALF | u64::from(amount)),
            }
        });
    }

    /// The sum over the last `window` seconds, the current one included.
    pub(super) fn sum(&self, Moment(now): Moment, window: u64) -> u64 {
        let slots = self.0.iter().map(|slot| slot.load(Ordering::Relaxed));
        slots
            .filter(|held| {
                let second = held >> HALF;
                second > 0 && second <= now && second + window > now
            })
            .map(|held| held & u64::from(u32::MAX))
            .sum()
    }
}

/// The greatest value of the last two to three minutes.
#[derive(Debug, Default)]
pub(super) struct Peak([AtomicU64; 3]);

/// A slot holds its minute in the upper bits and the value in these lower ones; 2^40 nanoseconds are 18 minutes.
const VALUE: u32 = 40;
const GREATEST: u64 = (1 << VALUE) - 1;

impl Peak {
    pub(super) fn record(&self, Moment(second): Moment, value: u64) {
        let minute = second / 60 + 1;
        let held = minute << VALUE | value.min(GREATEST);
        if let Some(slot) = self.0.get(minute as usize % 3)
            && slot.load(Ordering::Relaxed) < held
        {
            slot.fetch_max(held, Ordering::Relaxed);
        }
    }

    /// Takes in what `other` has recorded.
    pub(super) fn absorb(&self, other: &Peak) {
        for (slot, other) in self.0.iter().zip(&other.0) {
            slot.fetch_max(other.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self, Moment(now): Moment) -> u64 {
        let minute = now / 60 + 1;
        let slots = self.0.iter().map(|slot| slot.load(Ordering::Relaxed));
        slots
            .filter(|held| held >> VALUE <= minute && (held >> VALUE) + 3 > minute)
            .filter(|held| held >> VALUE > 0)
            .map(|held| held & GREATEST)
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_forgotten_after_three_minutes() {
        let peak = Peak::default();
        peak.record(Moment(600), 7);
        peak.record(Moment(601), 5);
        assert_eq!(peak.get(Moment(601)), 7);
        peak.record(Moment(660), 3);
        assert_eq!(peak.get(Moment(719)), 7);
        assert_eq!(peak.get(Moment(780)), 3);
        assert_eq!(peak.get(Moment(840)), 0);
        peak.record(Moment(840), 1);
        assert_eq!(peak.get(Moment(840)), 1);
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let peak = Peak::default();
        peak.record(Moment(1), u64::MAX);
        assert_eq!(peak.get(Moment(1)), GREATEST);
    }
}
