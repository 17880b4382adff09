//! Rows 5 to 8: what a worker does with its time when it is idle, saturated, or waits for a slow broker.
//!
//! `SLUICEGATE_TEST_WAIT_SECONDS` is how long each phase takes: 2 if unset; from 35 on,
//! time is compared with a clock and the shares of the last 30 seconds are looked at, too.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use testkit::Result;
use testkit::raw::RawClient;
use testkit::relay::{Mode, Way};

use crate::scrape::Scrape;
use crate::world::{Front, METADATA, UNKNOWN_VERSION, world};

const SECONDS: &str = "gateway_upstream_io_wait_seconds_total";
const WAITS: &str = "gateway_upstream_io_wait_rate_seconds_count";
const SHARE: &str = "gateway_upstream_io_wait_rate";
const CPU: &str = "gateway_thread_cpu_wait_seconds_total";
const BUSY: &str = "tokio_busy_seconds_total";

/// Longer than the window of [`SHARE`].
const WHOLE_WINDOW: u64 = 35;

/// What the one worker did between two scrapes.
struct Phase {
    /// Of its time it waited.
    share: f64,
    waits_per_second: f64,
    mean_wait: f64,
    last: Scrape,
}

/// Watches the worker while `work` goes on.
fn phase(name: &str, front: &Front, seconds: u64, work: impl Fn() -> Result<()>) -> Result<Phase> {
    let (before, began) = (front.scrape()?, Instant::now());
    while began.elapsed() < Duration::from_secs(seconds) {
        work()?;
    }
    let (last, elapsed) = (front.scrape()?, began.elapsed().as_secs_f64());
    let grown = |name: &str, labels: &[&str]| last.sum(name, labels) - before.sum(name, labels);
    let (waited, waits) = (grown(SECONDS, &[]), grown(WAITS, &[]));
    let time = waited + grown(BUSY, &["runtime=\"worker-0\""]);
    let phase = Phase {
        share: waited / time,
        waits_per_second: waits / time,
        mean_wait: waited / waits,
        last,
    };
    println!(
        "{name}: {time:.2} of {elapsed:.2} s known, waits {:.3} of it, {:.0} a second, {:.4} s each; share of 30 s {:.3}",
        phase.share,
        phase.waits_per_second,
        phase.mean_wait,
        phase.last.get(SHARE)
    );
    let missing = (time / elapsed - 1.0).abs();
    assert!(
        seconds < WHOLE_WINDOW || missing < 0.05,
        "{name}: {missing}"
    );
    Ok(phase)
}

/// Sends requests that the gateway answers itself, many at once, and drops the answers.
fn saturate(address: &str, stop: &AtomicBool) -> Result<()> {
    const AT_ONCE: usize = 200;
    let mut client = RawClient::connect(address)?;
    let answer = client.call(UNKNOWN_VERSION)?.len() + 8;
    let frames = UNKNOWN_VERSION.frame(7).repeat(AT_ONCE);
    let mut answers = vec![0; answer * AT_ONCE];
    while !stop.load(Ordering::Relaxed) {
        let mut stream = client.stream();
        let done = stream
            .write_all(&frames)
            .and_then(|()| stream.read_exact(&mut answers));
        done.map_err(testkit::Error::io("saturate the gateway"))?;
    }
    Ok(())
}

#[test]
fn waits_tell_an_idle_worker_from_a_saturated_one_and_not_a_slow_broker() -> Result<()> {
    const DELAY: Duration = Duration::from_millis(500);
    const PACE: Duration = Duration::from_millis(10);
    let seconds = std::env::var("SLUICEGATE_TEST_WAIT_SECONDS");
    let seconds = seconds.map_or(2, |text| text.parse().expect("a number of seconds"));
    let is_whole = seconds >= WHOLE_WINDOW;
    let world = world()?;
    let front = world.front(&[])?;
    let rest = || {
        thread::sleep(PACE);
        Ok(())
    };
    let idle = phase("idle", &front, seconds, rest)?;
    assert!(idle.share > 0.95, "{}", idle.share);
    assert!(idle.waits_per_second > 0.0);
    assert!(!is_whole || idle.last.get(SHARE) > 0.95);

    let stop = AtomicBool::new(false);
    let address = front.gateway.address(0);
    let saturated = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| saturate(&address, &stop)))
            .collect();
        let phase = phase("saturated", &front, seconds, rest);
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().expect("no panic")?;
        }
        phase
    })?;
    assert!(saturated.share < 0.2, "{}", saturated.share);
    assert!(!is_whole || saturated.last.get(SHARE) < 0.2);

    // Requests keep coming, whenever the answers come.
    let mut client = front.connect()?;
    client.call(METADATA)?;
    let mut answers = client.stream().try_clone().expect("a second handle");
    let reader = thread::spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
    let client = std::cell::RefCell::new(client);
    let ask = || {
        thread::sleep(PACE);
        client.borrow_mut().send(METADATA).map(drop)
    };
    let fast = phase("a fast broker", &front, seconds, ask)?;
    world.relay(|relay| relay.set(Way::Down, Mode::Delay(DELAY)));
    let slow = phase("a slow broker", &front, seconds, ask);
    world.relay(|relay| relay.set(Way::Down, Mode::Pass));
    let slow = slow?;
    // Others want the processors, too: what the worker waits for them is not what it waits for the network.
    let hogs_stop = AtomicBool::new(false);
    let hogs = 4 * thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let before = front.scrape()?.get(CPU);
    let crowded = thread::scope(|scope| {
        for _ in 0..hogs {
            scope.spawn(|| {
                while !hogs_stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let crowded = phase("a crowded machine", &front, seconds.min(2), ask);
        hogs_stop.store(true, Ordering::Relaxed);
        crowded
    });
    let queued = crowded?.last.get(CPU) - before;
    println!("waited {queued:.3} s for a processor");
    assert!(queued > 0.0);
    let _ = client.borrow().stream().shutdown(std::net::Shutdown::Both);
    let _ = reader.join().expect("no panic");
    for (name, phase) in [("fast", &fast), ("slow", &slow)] {
        // Ten milliseconds each, or less.
        assert!(phase.waits_per_second > 30.0, "{name}");
        let far_less = DELAY.as_secs_f64() / 10.0;
        assert!(phase.mean_wait < far_less, "{name}: {}", phase.mean_wait);
    }
    Ok(())
}
