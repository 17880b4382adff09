//! The clock of an open loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::Result;

/// The system wakes a thread that much late; the rest is waited for with the CPU.
const SLACK: Duration = Duration::from_micros(80);

/// A thread that says to connections in turn when to send.
pub(super) struct Pace {
    ended: Arc<AtomicBool>,
    dropped: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Pace {
    /// Asks for `rate` requests per second, of one connection after the other.
    pub(super) fn start(rate: f64, lines: Vec<mpsc::Sender<Instant>>) -> Result<Pace> {
        let ended = Arc::new(AtomicBool::new(false));
        let dropped = Arc::new(AtomicU64::new(0));
        let interval = Duration::from_secs_f64(1.0 / rate.max(0.1));
        let thread = std::thread::Builder::new().name("pace".to_owned()).spawn({
            let (ended, dropped) = (ended.clone(), dropped.clone());
            move || {
                let mut due = Instant::now();
                for line in lines.iter().cycle() {
                    wait_until(due);
                    if ended.load(Ordering::Relaxed) {
                        return;
                    }
                    if line.try_send(due).is_err() {
                        dropped.fetch_add(1, Ordering::Relaxed);
                    }
                    due += interval;
                }
            }
        })?;
        Ok(Pace {
            ended,
            dropped,
            thread,
        })
    }

    /// Ends it; gives how many requests found the queue of their connection full.
    pub(super) fn stop(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
        self.dropped.load(Ordering::Relaxed)
    }
}

fn wait_until(due: Instant) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        match left.checked_sub(SLACK) {
            Some(sleep) if !sleep.is_zero() => std::thread::sleep(sleep),
            _ => std::hint::spin_loop(),
        }
    }
}
