//! Whether the process lives and whether it may be sent clients.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::thread::{Activity, Thread};

/// A worker that has not shown a sign of life for this long is looked at.
pub const HEARTBEAT_LIMIT: Duration = Duration::from_secs(10);

/// A worker that is looked at, and does not work for this long, is stuck.
const BLOCKED: Duration = Duration::from_secs(30);

/// A worker that works and shows no sign of life for this long will never come to an end.
const ENDLESS: Duration = Duration::from_secs(300);

/// How long brokers may be silent before the process counts as not ready, unless set otherwise.
pub const DEFAULT_UPSTREAM_GRACE: Duration = Duration::from_secs(30);

/// The facts behind the health endpoints; a cheap handle, updated from anywhere.
///
/// Live is "would a restart help?" and depends on the workers only, never on Kafka: none of them has vanished, waits for something
/// that does not come, or has been busy with one thing for minutes. One that has much to do is not stuck. Ready is all of: `config`,
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
#[derive(Debug, Default)]
struct Pulse {
    /// Milliseconds since the state's start, plus one; 0 is never.
    last: AtomicU64,
    /// The thread that shows them, if the system tells.
    thread: OnceLock<Option<Thread>>,
    watch: Mutex<Option<Watch>>,
}

/// What was seen of a worker since its last sign of life. Times are milliseconds since the state's start.
#[derive(Debug)]
struct Watch {
    last: u64,
    began: u64,
    /// When it was last seen to work.
    worked: u64,
    cpu: u64,
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

    /// Registers a worker, which then calls [`Heartbeat::beat`] every second or so from a task on its own runtime. It counts from the
    /// first call on.
    pub fn worker(&self) -> Heartbeat {
        let pulse = Arc::<Pulse>::default();
        self.workers().push(Arc::clone(&pulse));
        Heartbeat {
            health: self.clone(),
            pulse,
        }
    }

    /// Whether no worker is stuck.
    pub fn is_live(&self) -> bool {
        let now = self.now();
        !self.workers().iter().any(|pulse| pulse.is_stuck(now))
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

    /// Whether any worker runs or could.
    #[cfg(test)]
    fn is_anybody_runnable(&self) -> bool {
        self.workers().iter().any(|pulse| {
            let thread = pulse.thread.get().and_then(Option::as_ref);
            let activity = thread.and_then(|thread| thread.activity().ok());
            activity.is_none_or(|activity| activity.is_runnable)
        })
    }

    #[cfg(test)]
    pub(crate) fn advance(&self, time: Duration) {
        self.inner
            .advanced
            .fetch_add(millis(time), Ordering::Relaxed);
    }
}

impl Pulse {
    fn is_stuck(&self, now: u64) -> bool {
        let Some(last) = self.last.load(Ordering::Relaxed).checked_sub(1) else {
            return false;
        };
        let silent = now.saturating_sub(last);
        if silent <= millis(HEARTBEAT_LIMIT) {
            return false;
        }
        let thread = self.thread.get().and_then(Option::as_ref);
        let activity = match thread.map(Thread::activity) {
            Some(Ok(activity)) => activity,
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => return true,
            // Nothing can be seen of it.
            _ => Activity::default(),
        };
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = match &mut *watch {
            Some(watch) if watch.last == last => watch,
            other => other.insert(Watch {
                last,
                began: now,
                worked: now,
                cpu: activity.cpu,
            }),
        };
        if activity.is_runnable || activity.cpu != watch.cpu {
            watch.worked = now;
            watch.cpu = activity.cpu;
        }
        // What was never looked at before may just have been stopped together with the whole process.
        let is_known = now.saturating_sub(watch.began) >= millis(BLOCKED);
        let is_blocked = now.saturating_sub(watch.worked) >= millis(BLOCKED);
        is_blocked || (is_known && silent >= millis(ENDLESS))
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
    /// Shows a sign of life. Always called on the same thread.
    pub fn beat(&self) {
        self.pulse.thread.get_or_init(Thread::current);
        self.pulse
            .last
            .store(self.health.now() + 1, Ordering::Relaxed);
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
    use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
    use std::thread::JoinHandle;

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
    fn a_worker_counts_from_its_first_sign_of_life_on() {
        let health = ready();
        let _waiting_for_kafka = health.worker();
        health.advance(ENDLESS * 2);
        assert!(health.is_live());
    }

    /// A worker on a thread of its own, which shows one sign of life and then does `work` until it is let go.
    fn worker(
        health: &HealthState,
        work: impl FnOnce(&Receiver<()>) + Send + 'static,
    ) -> (Sender<()>, JoinHandle<()>) {
        let heartbeat = health.worker();
        let (release, released) = channel();
        let (begun, has_begun) = channel();
        let thread = std::thread::spawn(move || {
            heartbeat.beat();
            let _ = begun.send(());
            work(&released);
            heartbeat.beat();
            let _ = released.recv();
        });
        has_begun.recv().expect("it lives");
        (release, thread)
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_busy_worker_is_alive_until_there_is_no_hope() {
        let health = ready();
        let (release, thread) = worker(&health, |released| {
            while released.try_recv() == Err(TryRecvError::Empty) {
                std::hint::spin_loop();
            }
        });
        for _ in 0..9 {
            health.advance(Duration::from_secs(31));
            assert!(health.is_live());
        }
        health.advance(Duration::from_secs(31));
        assert!(
            !health.is_live(),
            "busy with one thing for more than five minutes"
        );
        drop(release);
        thread.join().expect("no panic");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_worker_that_waits_for_ever_is_stuck() {
        let health = ready();
        let (release, thread) = worker(&health, |released| {
            let _ = released.recv();
        });
        health.advance(HEARTBEAT_LIMIT);
        assert!(health.is_live());
        health.advance(Duration::from_secs(600));
        while health.is_anybody_runnable() {
            std::thread::yield_now();
        }
        assert!(health.is_live(), "it is looked at for the first time");
        health.advance(BLOCKED - Duration::from_secs(1));
        assert!(health.is_live(), "the whole process may have been stopped");
        health.advance(Duration::from_secs(1));
        assert!(!health.is_live());
        release.send(()).expect("it lives");
        while !health.is_live() {
            std::thread::yield_now();
        }
        drop(release);
        thread.join().expect("no panic");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_worker_that_has_vanished_is_stuck() {
        let health = ready();
        let (release, thread) = worker(&health, |_| {});
        drop(release);
        thread.join().expect("no panic");
        assert!(health.is_live());
        health.advance(HEARTBEAT_LIMIT + Duration::from_secs(1));
        assert!(!health.is_live());
    }

    #[test]
    fn a_worker_that_has_retired_does_not_count() {
        let health = ready();
        let heartbeat = health.worker();
        heartbeat.beat();
        health.advance(ENDLESS);
        heartbeat.retire();
        assert!(health.is_live());
    }
}
