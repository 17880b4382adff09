//! What the process and the machine use, as series. On systems other than Linux only the time of the process is known.
//!
//! A thread of its own looks once a second. What is slow to read is read seldom; scrapes show what was seen last.

mod cgroup;
mod source;

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::metrics::{Catalogue, Family, Gauge, Metrics};
use source::{Memory, Source, Status};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// What shares of CPU time look back on, in looks.
const WINDOW: usize = 10;
/// Looks between two counts of file descriptors, which takes time when there are many.
const FILES_EVERY: u64 = 5;
/// Looks between two sums over the memory map, which holds up whoever wants to change it.
const MEMORY_EVERY: u64 = 15;

/// What was seen last. `None`: it could not be read.
#[derive(Clone, Debug, Default)]
struct Figures {
    cpus: Option<f64>,
    process_share: Option<f64>,
    machine_share: Option<f64>,
    cpu: Option<Duration>,
    load: Option<f64>,
    status: Option<Status>,
    open_files: Option<u64>,
    max_files: Option<u64>,
    memory: Option<Memory>,
}

/// CPU time at one look.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    process: Option<Duration>,
    machine: Option<Duration>,
}

/// Shows the process in `metrics` from now on.
///
/// # Errors
/// Of the system, when the thread cannot be started.
pub fn watch(metrics: &Metrics) -> io::Result<()> {
    let started = (Instant::now(), SystemTime::now());
    let seen: Arc<Mutex<Figures>> = Arc::default();
    let shown = Arc::clone(&seen);
    metrics.before_scrapes(move |catalogue| {
        show_time(catalogue, started);
        let figures = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        show(catalogue, &figures);
    });
    let source = Source::default();
    if !source.is_there() {
        return Ok(());
    }
    let mut watcher = Watcher::new(source);
    let mut look = move || {
        watcher.look(Instant::now());
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = watcher.figures.clone();
    };
    look(); // so that the first scrape has all of it
    std::thread::Builder::new()
        .name("process".into())
        .spawn(move || {
            loop {
                std::thread::sleep(PAUSE);
                look();
            }
        })?;
    Ok(())
}

/// Looks, and remembers what came before.
struct Watcher {
    source: Source,
    looks: VecDeque<Look>,
    count: u64,
    figures: Figures,
}

impl Watcher {
    fn new(source: Source) -> Self {
        Self {
            source,
            looks: VecDeque::new(),
            count: 0,
            figures: Figures::default(),
        }
    }

    fn look(&mut self, at: Instant) {
        let (source, figures) = (&self.source, &mut self.figures);
        let quota = source.cpu_quota();
        let cpus = source.cpus();
        figures.status = source.status();
        figures.load = source.load();
        figures.cpu = source.process_cpu();
        figures.max_files = source.max_files();
        if self.count.is_multiple_of(FILES_EVERY) {
            figures.open_files = source.open_files();
        }
        if self.count.is_multiple_of(MEMORY_EVERY) {
            figures.memory = source.memory();
        }
        self.count += 1;
        let look = Look {
            at,
            process: figures.cpu,
            // Where there is a quota, others on the machine do not matter.
            machine: match quota {
                Some(_) => source.group_cpu(),
                None => source.machine_cpu(),
            },
        };
        self.looks.push_back(look);
        if self.looks.len() > WINDOW + 1 {
            self.looks.pop_front();
        }
        let usable = match (quota, cpus) {
            (Some(quota), Some(cpus)) => Some(quota.min(cpus)),
            (quota, cpus) => quota.or(cpus),
        };
        figures.cpus = usable.map(f64::ceil);
        let first = self.looks.front().copied().unwrap_or(look);
        let share = |now: Option<Duration>, then: Option<Duration>| {
            let available = (at - first.at).as_secs_f64() * usable?;
            let used = now?.saturating_sub(then?).as_secs_f64();
            (available > 0.0).then(|| (used / available).clamp(0.0, 1.0))
        };
        figures.process_share = Some(share(look.process, first.process).unwrap_or(0.0));
        figures.machine_share = Some(share(look.machine, first.machine).unwrap_or(0.0));
    }
}

fn show_time(catalogue: &Catalogue, (instant, time): (Instant, SystemTime)) {
    let uptime = instant.elapsed().as_secs_f64();
    catalogue.process_uptime.with([]).set(uptime);
    let start = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    catalogue.process_start.with([]).set(start.as_secs_f64());
}

fn show(catalogue: &Catalogue, figures: &Figures) {
    let set = |family: &Family<Gauge, 0>, value: Option<f64>| {
        if let Some(value) = value {
            family.with([]).set(value);
        }
    };
    let count = |value: Option<u64>| value.map(|value| value as f64);
    set(&catalogue.process_cpu_usage, figures.process_share);
    set(&catalogue.system_cpu_usage, figures.machine_share);
    set(&catalogue.system_cpu_count, figures.cpus);
    set(&catalogue.system_load, figures.load);
    if let Some(cpu) = figures.cpu {
        let nanos = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        catalogue.process_cpu.with([]).raise_to(nanos);
    }
    if let Some(status) = figures.status {
        set(&catalogue.process_threads, count(Some(status.threads)));
        set(&catalogue.process_resident, count(Some(status.resident)));
        set(&catalogue.process_virtual, count(Some(status.virtual_size)));
        set(&catalogue.process_vss, count(Some(status.virtual_size)));
    }
    for family in [&catalogue.process_files_open, &catalogue.process_open_fds] {
        set(family, count(figures.open_files));
    }
    for family in [&catalogue.process_files_max, &catalogue.process_max_fds] {
        set(family, count(figures.max_files));
    }
    if let Some(memory) = figures.memory {
        set(&catalogue.process_rss, count(Some(memory.resident)));
        set(&catalogue.process_pss, count(Some(memory.proportional)));
        set(&catalogue.process_swap, count(Some(memory.swap)));
        set(
            &catalogue.process_swap_pss,
            count(Some(memory.swap_proportional)),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    #[test]
    fn shares_of_cpu_time() {
        let root = std::env::temp_dir().join(format!("sluicegate-process-{}", std::process::id()));
        let stat = |ticks: u64| {
            write(
                &root,
                "proc/self/stat",
                &format!("1 (a b) c) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 100 0 0 20 0 5 0 1 2 3"),
            );
        };
        let machine = |busy: u64, idle: u64| {
            write(
                &root,
                "proc/stat",
                &format!("cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 0\n"),
            );
        };
        write(
            &root,
            "proc/self/status",
            "Threads:\t7\nVmSize:\t  2048 kB\nVmRSS:\t1024 kB\nCpus_allowed:\tf\n",
        );
        write(&root, "proc/loadavg", "0.50 0.40 0.30 1/100 1234\n");
        write(
            &root,
            "proc/self/limits",
            "Limit   Soft Limit   Hard Limit   Units\nMax open files            1024                 4096                 files\n",
        );
        write(
            &root,
            "proc/self/smaps_rollup",
            "1-2 ---p 0 0 0 [rollup]\nRss:  100 kB\nPss:  90 kB\nSwap:  3 kB\nSwapPss: 2 kB\n",
        );
        write(&root, "proc/self/fd/0", "");
        write(&root, "proc/self/fd/1", "");
        let mut watcher = Watcher::new(Source::at(&root));
        let start = Instant::now();
        stat(0);
        machine(0, 0);
        watcher.look(start);
        assert_eq!(watcher.figures.process_share, Some(0.0));
        // In 2 s the process used 2 s of 8, and the machine 4 s of 8.
        stat(200);
        machine(400, 400);
        watcher.look(start + Duration::from_secs(2));
        let figures = watcher.figures.clone();
        assert_eq!(figures.process_share, Some(0.25));
        assert_eq!(figures.machine_share, Some(0.5));
        assert_eq!(figures.cpus, Some(4.0));
        assert_eq!(figures.cpu, Some(Duration::from_secs(3)));
        assert_eq!(figures.load, Some(0.5));
        assert_eq!(figures.open_files, Some(2));
        assert_eq!(figures.max_files, Some(1024));
        let memory = figures.memory.expect("read");
        assert_eq!((memory.resident, memory.proportional), (102_400, 92_160));
        assert_eq!((memory.swap, memory.swap_proportional), (3072, 2048));
        let status = figures.status.expect("read");
        assert_eq!(
            (status.threads, status.resident, status.virtual_size),
            (7, 1 << 20, 2 << 20)
        );

        // A quota of 1.5 CPUs (cgroup v2): shares are of that, and of what the group used.
        write(&root, "proc/self/cgroup", "0::/a/b\n");
        write(&root, "sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
        write(&root, "sys/fs/cgroup/a/cpu.max", "150000 100000\n");
        write(&root, "sys/fs/cgroup/a/b/cpu.stat", "usage_usec 1000000\n");
        let mut watcher = Watcher::new(Source::at(&root));
        watcher.look(start);
        stat(350);
        write(
            &root,
            "sys/fs/cgroup/a/b/cpu.stat",
            "usage_usec 4000000\nuser_usec 1\n",
        );
        watcher.look(start + Duration::from_secs(2));
        assert_eq!(watcher.figures.process_share, Some(0.5));
        assert_eq!(watcher.figures.machine_share, Some(1.0));
        assert_eq!(watcher.figures.cpus, Some(2.0));

        // The same by cgroup v1.
        write(&root, "proc/self/cgroup", "5:cpu,cpuacct:/a\n1:memory:/x\n");
        write(
            &root,
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us",
            "50000\n",
        );
        write(
            &root,
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us",
            "100000\n",
        );
        write(
            &root,
            "sys/fs/cgroup/cpu,cpuacct/a/cpuacct.usage",
            "5000000000\n",
        );
        let source = Source::at(&root);
        assert_eq!(source.cpu_quota(), Some(0.5));
        assert_eq!(source.group_cpu(), Some(Duration::from_secs(5)));
        write(
            &root,
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us",
            "-1\n",
        );
        assert_eq!(source.cpu_quota(), None);
        fs::remove_dir_all(root).expect("removed");
    }

    #[test]
    fn what_cannot_be_read_is_not_there() {
        let source = Source::at(Path::new("/nonexistent"));
        assert!(!source.is_there());
        let mut watcher = Watcher::new(source);
        watcher.look(Instant::now());
        assert!(watcher.figures.status.is_none() && watcher.figures.memory.is_none());
        assert_eq!(watcher.figures.cpus, None);
    }
}
