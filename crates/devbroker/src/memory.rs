//! One bound for everything clients can make the cluster keep.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes in use against a limit, shared by logs, groups and offsets.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Budget {
            limit,
            used: AtomicU64::new(0),
        })
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes `bytes` until the returned charge is dropped; None if the limit would be passed.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        let bytes = bytes as u64;
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|total| *total <= self.limit)
            })
            .ok()
            .map(|_| Charge {
                budget: self.clone(),
                bytes,
            })
    }
}

/// A part of the budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Charge {
    /// Adds another charge of the same budget to this one.
    pub(crate) fn absorb(&mut self, mut other: Charge) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Takes `bytes` more, past the limit if need be: for what must not be refused and is small.
    pub(crate) fn grow(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        self.budget.used.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Gives back `bytes` of it (at most all).
    pub(crate) fn release(&mut self, bytes: usize) {
        let bytes = (bytes as u64).min(self.bytes);
        self.bytes -= bytes;
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_given_back_once() {
        let budget = Budget::new(100);
        let mut first = budget.charge(60).expect("fits");
        assert!(budget.charge(50).is_none());
        first.absorb(budget.charge(40).expect("fits exactly"));
        assert_eq!(budget.used(), 100);
        first.release(30);
        assert_eq!(budget.used(), 70);
        first.grow(100);
        assert_eq!(budget.used(), 170);
        drop(first);
        assert_eq!(budget.used(), 0);
    }
}
