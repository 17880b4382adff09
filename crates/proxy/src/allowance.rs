//! How often something may be done.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many at once, and so many more in a second.
pub(crate) struct Allowance {
    interval: Duration,
    /// How much of it can be saved.
    saved: Duration,
    /// When the next one would be due if nothing were saved.
    next: Mutex<Option<Instant>>,
}

impl Allowance {
    pub(crate) fn new(burst: u32, per_second: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Allowance {
            interval,
            saved: interval * burst.saturating_sub(1),
            next: Mutex::default(),
        }
    }

    /// Takes one; false: there is none left at `now`.
    pub(crate) fn take(&self, now: Instant) -> bool {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(self.saved).unwrap_or(now);
        let due = next.map_or(earliest, |next| next.max(earliest));
        let is_left = due <= now;
        if is_left {
            *next = Some(due + self.interval);
        }
        is_left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let start = Instant::now() + Duration::from_secs(10);
        let allowance = Allowance::new(4, 2);
        let taken = |at: Duration| (0..10).filter(|_| allowance.take(start + at)).count();
        assert_eq!(taken(Duration::ZERO), 4);
        assert_eq!(taken(Duration::from_millis(499)), 0);
        assert_eq!(taken(Duration::from_millis(500)), 1);
        assert_eq!(taken(Duration::from_millis(1500)), 2);
        assert_eq!(taken(Duration::from_secs(60)), 4, "no more is saved");
    }
}
