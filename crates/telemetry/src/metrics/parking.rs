//! How long workers had nothing to do.
//!
//! A worker that has something to do may have to wait for a processor first. To a clock that looks like waiting for the network, and a gateway
//! that is short of CPU would seem idle. So what has been waited is held against what the kernel says of the thread: time that is
//! neither spent on a processor nor in the queue for one. The kernel is asked every few seconds, not at every wait.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::catalogue::Catalogue;
use super::instrument::{Counter, Moment, RATE_WINDOW, Rate, Timer};

/// The waits of all workers.
#[derive(Debug, Default)]
pub struct Parking {
    workers: Mutex<Vec<Arc<WorkerParking>>>,
    /// Microseconds waited, over all workers.
    micros: Rate,
}

/// The waits of one worker; for the hooks of its runtime.
#[derive(Debug)]
pub struct WorkerParking {
    started: Instant,
    /// Nanoseconds since `started`, plus one; 0 while the worker works.
    since: AtomicU64,
    /// Nanoseconds between the hooks, without a wait that has not ended.
    total: AtomicU64,
    /// Where the kernel tells of the thread; `None`: nowhere.
    stat: OnceLock<Option<File>>,
    seen: Mutex<Seen>,
    waits: Timer,
    count: Counter,
    rate: Rate,
    micros: Rate,
}

/// What was known when the kernel was asked last, nanoseconds.
#[derive(Debug, Default)]
struct Seen {
    at: u64,
    parked: u64,
    /// On a processor, and in the queue for one; `None`: the kernel does not tell.
    ran: Option<Ran>,
    /// What was waited until then, without the queue.
    waited: u64,
    /// What was spent in the queue.
    queued: u64,
}

/// What the kernel says of a thread, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ran {
    on_cpu: u64,
    queued: u64,
}

impl Parking {
    /// One more worker.
    pub fn worker(&self, catalogue: &Catalogue) -> Arc<WorkerParking> {
        let worker = Arc::new(WorkerParking {
            started: Instant::now(),
            since: AtomicU64::new(0),
            total: AtomicU64::new(0),
            stat: OnceLock::new(),
            seen: Mutex::default(),
            waits: catalogue.upstream_selects.with([]),
            count: catalogue.upstream_select.with([]),
            rate: catalogue.upstream_select_rate.with([]),
            micros: self.micros.clone(),
        });
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        workers.push(Arc::clone(&worker));
        worker
    }

    /// Sets what is known by looking only.
    pub fn collect(&self, catalogue: &Catalogue) {
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut nanos, mut queued) = (0, 0);
        for worker in workers.iter() {
            worker.look();
            let seen = worker.seen.lock().unwrap_or_else(PoisonError::into_inner);
            nanos += seen.waited;
            queued += seen.queued;
        }
        catalogue.upstream_io_wait.with([]).raise_to(nanos);
        catalogue.cpu_wait.with([]).raise_to(queued);
        let waited = self.micros.per_second(Moment::now()) / 1e6;
        let lived = workers.iter().map(|worker| worker.started.elapsed());
        let window = Duration::from_secs(RATE_WINDOW);
        let time: f64 = lived.map(|lived| lived.min(window).as_secs_f64()).sum();
        let share = waited * RATE_WINDOW as f64 / time.max(f64::MIN_POSITIVE);
        catalogue
            .upstream_io_wait_share
            .with([])
            .set(share.min(1.0));
    }
}

impl WorkerParking {
    /// The worker is about to wait. Called on its thread.
    pub fn park(&self) {
        self.stat.get_or_init(stat_of_this_thread);
        self.since
            .store(self.nanos_at(Instant::now()) + 1, Ordering::Release);
    }

    /// The worker goes on.
    pub fn unpark(&self) {
        let since = self.since.load(Ordering::Relaxed);
        if since == 0 {
            return;
        }
        let now = Instant::now();
        let waited = self.nanos_at(now).saturating_sub(since - 1);
        self.total.fetch_add(waited, Ordering::Relaxed);
        self.since.store(0, Ordering::Release);
        let at = Moment::of(now);
        self.waits.observe(at, Duration::from_nanos(waited));
        self.count.inc();
        self.rate.add(at, 1);
    }

    /// Asks the kernel how much of the waiting was for a processor. To be called every few seconds, by anybody.
    pub fn look(&self) {
        let stat = self.stat.get().and_then(Option::as_ref);
        let ran = stat.and_then(|stat| {
            let mut text = [0; 64];
            let len = stat.read_at(&mut text, 0).ok()?;
            parse(text.get(..len)?)
        });
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = seen.advance(self.nanos_at(Instant::now()), self.parked(), ran);
        let micros = u32::try_from(waited / 1000).unwrap_or(u32::MAX);
        self.micros.add(Moment::now(), micros);
    }

    /// Nanoseconds between the hooks until now.
    fn parked(&self) -> u64 {
        let since = self.since.load(Ordering::Acquire);
        let open = match since {
            0 => 0,
            since => self.nanos_at(Instant::now()).saturating_sub(since - 1),
        };
        self.total.load(Ordering::Relaxed) + open
    }

    /// Nanoseconds from `started` to `instant`.
    fn nanos_at(&self, instant: Instant) -> u64 {
        let lived = instant.saturating_duration_since(self.started);
        u64::try_from(lived.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Seen {
    /// What of the time since the last look was waited for the network or a timer.
    fn advance(&mut self, at: u64, parked: u64, ran: Option<Ran>) -> u64 {
        let elapsed = at.saturating_sub(self.at);
        let mut waited = parked.saturating_sub(self.parked).min(elapsed);
        if let (Some(before), Some(now)) = (self.ran, ran) {
            let queued = now.queued.saturating_sub(before.queued);
            let on_cpu = now.on_cpu.saturating_sub(before.on_cpu);
            // Whoever is neither on a processor nor in the queue for one waits for something else.
            let blocked = elapsed.saturating_sub(on_cpu).saturating_sub(queued);
            waited = waited.min(blocked);
            self.queued += queued;
        }
        self.at = self.at.max(at);
        self.parked = self.parked.max(parked);
        self.ran = ran;
        self.waited += waited;
        waited
    }
}

/// Where the kernel tells of the thread that asks: a file that is made anew whenever it is read.
fn stat_of_this_thread() -> Option<File> {
    File::open("/proc/thread-self/schedstat").ok()
}

/// Of `/proc/<pid>/task/<tid>/schedstat`: time on a processor, time in the queue for one, number of turns.
fn parse(stat: &[u8]) -> Option<Ran> {
    let mut numbers = stat.split(u8::is_ascii_whitespace);
    let mut next = || std::str::from_utf8(numbers.next()?).ok()?.parse().ok();
    Some(Ran {
        on_cpu: next()?,
        queued: next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Format, Metrics, MetricsSettings};

    #[test]
    fn waits_that_have_not_ended_are_counted() {
        let metrics = Metrics::new(&MetricsSettings::default());
        let parking = Arc::new(Parking::default());
        let worker = parking.worker(metrics.catalogue());
        // This thread does not wait; the kernel would say so.
        worker.stat.set(None).expect("it has not parked yet");
        let seen = Arc::clone(&parking);
        metrics.before_scrapes(move |catalogue| seen.collect(catalogue));
        worker.unpark();
        worker.park();
        let value = |name: &str| -> f64 {
            let text: String = metrics.encode(Format::Text).collect();
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")));
            let value = line
                .and_then(|line| line.rsplit_once(' '))
                .expect("a line")
                .1;
            value.parse().expect("a number")
        };
        let first = value("gateway_upstream_io_wait_seconds_total");
        assert!(first > 0.0);
        assert!(value("gateway_upstream_io_wait_total") > first);
        assert_eq!(value("gateway_upstream_select_total"), 0.0);
        worker.unpark();
        for name in [
            "gateway_upstream_select_total",
            "gateway_upstream_select_rate_seconds_count",
            "gateway_upstream_io_wait_rate_seconds_count",
        ] {
            assert_eq!(value(name), 1.0, "{name}");
        }
        let share = value("gateway_upstream_io_wait_rate");
        assert!((0.0..=1.0).contains(&share), "{share}");
    }

    #[test]
    fn the_queue_for_a_processor_is_not_waiting() {
        let ran = |on_cpu, queued| Some(Ran { on_cpu, queued });
        let mut seen = Seen {
            ran: ran(0, 0),
            ..Seen::default()
        };
        // Idle: a bit of work, no queue.
        assert_eq!(seen.advance(1000, 950, ran(40, 10)), 950);
        // Busy, on a machine that is busy with others: half of what seems to be waiting is the queue.
        assert_eq!(seen.advance(2000, 1350, ran(440, 410)), 200);
        assert_eq!((seen.waited, seen.queued), (1150, 410));
        // The kernel does not tell: what seems so.
        assert_eq!(seen.advance(3000, 1850, None), 500);
        assert_eq!(seen.advance(4000, 2350, ran(9000, 9000)), 500);
        assert_eq!(seen.advance(5000, 2350, ran(10_000, 9000)), 0);
        // Two who look at once.
        assert_eq!(seen.advance(4900, 2340, ran(10_000, 9000)), 0);
        assert_eq!(seen.waited, 2150);
    }

    #[test]
    fn what_the_kernel_says_is_understood() {
        let said = parse(b"123456 789 42\n");
        let expected = Ran {
            on_cpu: 123_456,
            queued: 789,
        };
        assert_eq!(said, Some(expected));
        assert_eq!(parse(b"0\n"), None);
    }
}
