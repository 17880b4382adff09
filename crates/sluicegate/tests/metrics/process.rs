//! What is said about the process and its runtimes, against what the system says.

use std::fs;

use testkit::Result;

use crate::world::{METADATA, world};

/// A line of `/proc/<pid>/status` that is a number.
fn status(pid: u32, name: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_ascii_whitespace().next());
    number.and_then(|n| n.parse().ok()).expect("a number")
}

/// The threads that do not write a scrape.
fn lasting_threads(pid: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    // One that has ended since has no name.
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim_end() != "scrape").count()
}

#[test]
fn the_process_as_the_system_sees_it() -> Result<()> {
    let mut world = world()?;
    let pid = world.open.gateway.pid();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
    let files = limits
        .lines()
        .find_map(|l| l.strip_prefix("Max open files"));
    let files = files.and_then(|l| l.split_ascii_whitespace().next());
    let files: f64 = files.and_then(|n| n.parse().ok()).expect("a number");
    let held: Vec<_> = (0..40)
        .map(|_| world.open.connect())
        .collect::<Result<_>>()?;
    world
        .open
        .eventually("all of them to be accepted", |scrape| {
            scrape.get("gateway_upstream_connections_downstream") >= 40.0
        })?;
    let open = world.open.gateway.process().open_files().expect("it runs") as f64;
    assert!(open >= 40.0);
    let front = &world.open;
    // Connections to brokers and of scrapers come and go.
    let scrape = front.eventually("the open files", |scrape| {
        (scrape.get("process_open_fds") - open).abs() <= 8.0
    })?;
    drop(held);
    let threads = lasting_threads(pid) as f64;
    // It is counted now and then, and a scrape may be written just then.
    front.eventually("the threads", |scrape| {
        scrape.get("process_threads") == threads
    })?;
    for (series, expected) in [
        ("process_max_fds", files),
        ("process_files_max_files", files),
    ] {
        assert_eq!(scrape.get(series), expected, "{series}");
    }
    for (bytes, line) in [
        ("process_resident_memory_bytes", "VmRSS:"),
        ("process_memory_rss_bytes", "VmRSS:"),
        ("process_virtual_memory_bytes", "VmSize:"),
        ("process_memory_vss_bytes", "VmSize:"),
    ] {
        let (said, seen) = (scrape.get(bytes), status(pid, line) * 1024.0);
        assert!((said - seen).abs() < seen / 2.0, "{bytes}: {said} {seen}");
    }
    let pss = scrape.get("process_memory_pss_bytes");
    assert!(
        pss > 0.0 && pss <= scrape.get("process_memory_rss_bytes"),
        "{pss}"
    );
    for present in [
        "process_memory_swap_bytes",
        "process_memory_swappss_bytes",
        "system_load_average_1m",
    ] {
        assert!(scrape.has(present), "{present}");
    }
    for share in ["process_cpu_usage", "system_cpu_usage"] {
        assert!(
            scrape.has(share) && (0.0..=1.0).contains(&scrape.get(share)),
            "{share}"
        );
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let count = scrape.get("system_cpu_count");
    assert!(
        count >= cpus as f64 && count < cpus as f64 + 1.0,
        "{count} {cpus}"
    );
    Ok(())
}

#[test]
fn time_goes_on_and_is_spent_waiting_or_working() -> Result<()> {
    const UPTIME: &str = "process_uptime_seconds";
    const WAITED: &str = "gateway_upstream_io_wait_seconds_total";
    let world = world()?;
    let front = &world.open;
    let mut client = front.connect()?;
    let before = front.scrape()?;
    client.call(METADATA)?;
    let after = front.eventually("two seconds", |scrape| {
        scrape.get(UPTIME) - before.get(UPTIME) >= 2.0
    })?;
    let grown = |name: &str| after.sum(name, &[]) - before.sum(name, &[]);
    let workers = after.sum("tokio_workers", &[]);
    assert!(workers >= 1.0);
    let (waited, worked) = (grown(WAITED), grown("tokio_busy_seconds_total"));
    let elapsed = grown(UPTIME) * workers;
    assert!(
        (waited + worked - elapsed).abs() < elapsed * 0.05,
        "waited {waited}, worked {worked} of {elapsed}"
    );
    // A scrape looks at the two one after the other, and workers go on meanwhile: what that makes loses weight with every wait.
    front.eventually("as many waits as tokio has parked", |scrape| {
        let grown = |name: &str| scrape.sum(name, &[]) - before.sum(name, &[]);
        let parks = grown("tokio_park_total");
        let waits = grown("gateway_upstream_select_total");
        waits > 0.0 && (parks - waits).abs() <= 1.0 + waits * 0.05
    })?;
    let start = "process_start_time_seconds";
    assert_eq!(after.get(start), before.get(start));
    let cpu = "process_cpu_seconds_total";
    assert!(after.get(cpu) > 0.0 && after.get(cpu) >= before.get(cpu));
    Ok(())
}
