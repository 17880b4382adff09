//! How many connections there may be.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Counts connections in total and per client address.
pub(crate) struct Admission {
    max: Option<u32>,
    max_per_ip: Option<u32>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    total: u32,
    per_ip: HashMap<IpAddr, u32>,
}

/// A place taken; given back when dropped.
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    ip: IpAddr,
}

impl Admission {
    pub(crate) fn new(max: Option<u32>, max_per_ip: Option<u32>) -> Self {
        Admission {
            max,
            max_per_ip,
            counts: Mutex::default(),
        }
    }

    /// Takes a place for a client at `ip`; `None`: a limit is reached.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr) -> Option<Admitted> {
        let mut counts = self.counts.lock().unwrap_or_else(|e| e.into_inner());
        let same_ip = counts.per_ip.get(&ip).copied().unwrap_or(0);
        if self.max.is_some_and(|max| counts.total >= max)
            || self.max_per_ip.is_some_and(|max| same_ip >= max)
        {
            return None;
        }
        counts.total += 1;
        counts.per_ip.insert(ip, same_ip + 1);
        Some(Admitted {
            admission: self.clone(),
            ip,
        })
    }

    /// Connections now.
    pub(crate) fn total(&self) -> u32 {
        self.counts.lock().unwrap_or_else(|e| e.into_inner()).total
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self
            .admission
            .counts
            .lock()
            .unwrap_or_else(|e| e.into_inner());
        counts.total -= 1;
        if let Some(n) = counts.per_ip.get_mut(&self.ip) {
            *n -= 1;
            if *n == 0 {
                counts.per_ip.remove(&self.ip);
            }
        }
    }
}

/// Spaces out what may happen at most `per_second` times a second, with a burst of one second's worth.
pub(crate) struct Pace {
    interval: Duration,
    next: Instant,
}

impl Pace {
    pub(crate) fn new(per_second: u32) -> Self {
        Pace {
            interval: Duration::from_secs(1) / per_second.max(1),
            next: Instant::now(),
        }
    }

    /// How long to wait before the next one.
    pub(crate) fn delay(&mut self, now: Instant) -> Duration {
        let burst = Duration::from_secs(1);
        let earliest = now.checked_sub(burst).unwrap_or(now);
        let due = self.next.max(earliest);
        self.next = due + self.interval;
        due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let admission = Arc::new(Admission::new(Some(3), Some(2)));
        let [a, b]: [IpAddr; 2] = [[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
        let first = admission.admit(a).unwrap();
        let _second = admission.admit(a).unwrap();
        assert!(admission.admit(a).is_none(), "two per address");
        let _third = admission.admit(b).unwrap();
        assert!(admission.admit(b).is_none(), "three in total");
        drop(first);
        assert_eq!(admission.total(), 2);
        assert!(admission.admit(a).is_some());
    }

    #[test]
    fn pace_allows_a_burst_and_then_spaces_out() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut pace = Pace::new(2);
        let delays: Vec<_> = (0..5).map(|_| pace.delay(start)).collect();
        assert_eq!(delays[..3], [Duration::ZERO; 3]);
        assert_eq!(delays[3], Duration::from_millis(500));
        assert_eq!(delays[4], Duration::from_secs(1));
    }
}
