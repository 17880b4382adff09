//! Whether the process lives and whether it may be sent clients.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A worker that has not shown a sign of life for this long is stuck.
pub const HEARTBEAT_LIMIT: Duration = Duration::from_secs(10);

/// How long brokers may be silent before the process counts as not ready, unless set otherwise.
pub const DEFAULT_UPSTREAM_GRACE: Duration = Duration::from_secs(30);

/// The facts behind the health endpoints; a cheap handle, updated from anywhere.
///
/// Live is "would a restart help?" and depends on the workers' heartbeats only, never on Kafka. Ready is all of: `config`,
/// `listeners`, `upstream`, `state`, `draining`. `state` is up unless a store is awaited ([`HealthState::await_state`]).
#[derive(Clone, Debug)]
pub struct HealthState {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    grace: Duration,
    config: AtomicBool,
    listeners: AtomicBool,
    state: AtomicBool,
    draining: AtomicBool,
    /// Milliseconds since `started`, plus one; 0 is never.
    upstream_seen: AtomicU64,
    workers: Mutex<Vec<Arc<Pulse>>>,
    #[cfg(test)]
    advanced: AtomicU64,
}

/// The last sign of life of one worker.
#[derive(Debug)]
struct Pulse {
    /// Milliseconds since the state's start.
    last: AtomicU64,
}

/// One condition of readiness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    pub(crate) id: &'static str,
    pub(crate) up: bool,
}

impl HealthState {
    /// Alive and not ready. `upstream_grace` is how long after the last answer of a broker the upstream still counts as up.
    pub fn new(upstream_grace: Duration) -> Self {
        Self {
            inner: Arc::new(Inner {
                started: Instant::now(),
                grace: upstream_grace,
                config: AtomicBool::new(false),
                listeners: AtomicBool::new(false),
                state: AtomicBool::new(true),
                draining: AtomicBool::new(false),
                upstream_seen: AtomicU64::new(0),
                workers: Mutex::new(Vec::new()),
                #[cfg(test)]
                advanced: AtomicU64::new(0),
            }),
        }
    }

    /// The configuration was read and applied.
    pub fn config_ready(&self) {
        self.inner.config.store(true, Ordering::Relaxed);
    }

    /// Every client port is bound.
    pub fn listeners_ready(&self) {
        self.inner.listeners.store(true, Ordering::Relaxed);
    }

    /// A broker has just answered a Metadata request. To stay ready, call this at least three times per grace period while
    /// brokers answer.
    pub fn upstream_seen(&self) {
        self.inner
            .upstream_seen
            .store(self.now() + 1, Ordering::Relaxed);
    }

    /// There are stored resources, and they have not been read yet.
    pub fn await_state(&self) {
        self.inner.state.store(false, Ordering::Relaxed);
    }

    /// The stored resources were read to their end.
    pub fn state_ready(&self) {
        self.inner.state.store(true, Ordering::Relaxed);
    }

    /// The process is about to end: not ready from now on.
    pub fn draining(&self) {
        self.inner.draining.store(true, Ordering::Relaxed);
    }

    /// Registers a worker, which then calls [`Heartbeat::beat`] every second or so from a task on its own runtime.
    pub fn worker(&self) -> Heartbeat {
        let pulse = Arc::new(Pulse {
            last: AtomicU64::new(self.now()),
        });
        self.workers().push(Arc::clone(&pulse));
        Heartbeat {
            health: self.clone(),
            pulse,
        }
    }

    /// Whether every worker has shown a sign of life within [`HEARTBEAT_LIMIT`].
    pub fn is_live(&self) -> bool {
        let now = self.now();
        let limit = millis(HEARTBEAT_LIMIT);
        self.workers()
            .iter()
            .all(|pulse| now.saturating_sub(pulse.last.load(Ordering::Relaxed)) <= limit)
    }

    /// Whether clients may be sent here.
    pub fn is_ready(&self) -> bool {
        self.conditions().iter().all(|condition| condition.up)
    }

    /// The conditions of readiness, in the order in which they are shown.
    pub(crate) fn conditions(&self) -> [Condition; 5] {
        let flag = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        let seen = self.inner.upstream_seen.load(Ordering::Relaxed);
        let upstream = seen > 0 && self.now().saturating_sub(seen - 1) <= millis(self.inner.grace);
        [
            Condition {
                id: "config",
                up: flag(&self.inner.config),
            },
            Condition {
                id: "listeners",
                up: flag(&self.inner.listeners),
            },
            Condition {
                id: "upstream",
                up: upstream,
            },
            Condition {
                id: "state",
                up: flag(&self.inner.state),
            },
            Condition {
                id: "draining",
                up: !flag(&self.inner.draining),
            },
        ]
    }

    fn workers(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Pulse>>> {
        self.inner
            .workers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the start.
    fn now(&self) -> u64 {
        let now = millis(self.inner.started.elapsed());
        #[cfg(test)]
        let now = now + self.inner.advanced.load(Ordering::Relaxed);
        now
    }

    #[cfg(test)]
    pub(crate) fn advance(&self, time: Duration) {
        self.inner
            .advanced
            .fetch_add(millis(time), Ordering::Relaxed);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The heartbeat of one worker. One that is dropped without [`Heartbeat::retire`], as by a panic, counts as stuck.
#[derive(Debug)]
pub struct Heartbeat {
    health: HealthState,
    pulse: Arc<Pulse>,
}

impl Heartbeat {
    /// Shows a sign of life.
    pub fn beat(&self) {
        self.pulse.last.store(self.health.now(), Ordering::Relaxed);
    }

    /// Ends the worker in order.
    pub fn retire(self) {
        self.health
            .workers()
            .retain(|pulse| !Arc::ptr_eq(pulse, &self.pulse));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> HealthState {
        let health = HealthState::new(DEFAULT_UPSTREAM_GRACE);
        health.config_ready();
        health.listeners_ready();
        health.upstream_seen();
        health
    }

    fn down(health: &HealthState) -> Vec<&'static str> {
        health
            .conditions()
            .iter()
            .filter(|condition| !condition.up)
            .map(|condition| condition.id)
            .collect()
    }

    #[test]
    fn starts_alive_and_not_ready() {
        let health = HealthState::new(DEFAULT_UPSTREAM_GRACE);
        assert!(health.is_live() && !health.is_ready());
        assert_eq!(down(&health), ["config", "listeners", "upstream"]);
    }

    #[test]
    fn silence_of_brokers_counts_after_the_grace_period() {
        let health = ready();
        assert!(health.is_ready());
        health.advance(DEFAULT_UPSTREAM_GRACE - Duration::from_secs(1));
        assert!(health.is_ready());
        health.advance(Duration::from_secs(2));
        assert_eq!(down(&health), ["upstream"]);
        assert!(health.is_live(), "Kafka never makes the process restart");
        health.upstream_seen();
        assert!(health.is_ready());
    }

    #[test]
    fn a_store_counts_once_it_is_awaited() {
        let health = ready();
        health.await_state();
        assert_eq!(down(&health), ["state"]);
        health.state_ready();
        assert!(health.is_ready());
    }

    #[test]
    fn draining_is_at_once_and_for_good() {
        let health = ready();
        health.draining();
        health.upstream_seen();
        assert_eq!(down(&health), ["draining"]);
    }

    #[test]
    fn a_stuck_worker_is_not_alive() {
        let health = ready();
        let (first, second) = (health.worker(), health.worker());
        health.advance(HEARTBEAT_LIMIT + Duration::from_secs(1));
        first.beat();
        assert!(!health.is_live());
        second.beat();
        assert!(health.is_live());
        second.retire();
        drop(first);
        assert!(health.is_live());
        health.advance(HEARTBEAT_LIMIT + Duration::from_secs(1));
        assert!(!health.is_live(), "a worker that vanished is stuck");
    }
}
