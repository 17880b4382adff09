//! A bound on how many records of one kind are written per second.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(1);

/// Lets so many events per second through and counts the others. Whoever can cause the events (failed logins, say) can
/// then fill neither the log nor the disk.
#[derive(Debug)]
pub struct FloodGate {
    limit: u32,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
struct Window {
    begun: Option<Instant>,
    admitted: u32,
    suppressed: u64,
}

impl FloodGate {
    /// Lets `limit` events per second through.
    pub const fn new(limit: u32) -> Self {
        Self {
            limit,
            window: Mutex::new(Window {
                begun: None,
                admitted: 0,
                suppressed: 0,
            }),
        }
    }

    /// Whether to record an event that happens at `now`: `Some` with the number of events that were suppressed since the last one
    /// that was recorded, to be told with it; `None` to suppress this one.
    pub fn admit(&self, now: Instant) -> Option<u64> {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |begun: Instant| now.saturating_duration_since(begun) >= WINDOW;
        if window.begun.is_none_or(is_over) {
            window.begun = Some(now);
            window.admitted = 0;
        }
        if window.admitted >= self.limit {
            window.suppressed = window.suppressed.saturating_add(1);
            return None;
        }
        window.admitted += 1;
        Some(std::mem::take(&mut window.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_per_second_and_the_rest_is_told_later() {
        let gate = FloodGate::new(3);
        let start = Instant::now();
        let at = |millis| gate.admit(start + Duration::from_millis(millis));
        assert_eq!(
            [at(0), at(1), at(500), at(600), at(999)],
            [Some(0), Some(0), Some(0), None, None]
        );
        assert_eq!([at(1000), at(1001)], [Some(2), Some(0)]);
        // A clock that is read out of order does no harm.
        assert_eq!([at(0), at(1002), at(2000)], [Some(0), None, Some(1)]);
    }
}
