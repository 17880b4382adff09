//! Where Linux tells about a process: `/proc` (proc(5)).

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cgroup;

/// The unit of CPU times, which Linux fixes for programs (`USER_HZ`).
const TICKS_PER_SECOND: u64 = 100;

/// Files that are read here are small.
const MAX_BYTES: u64 = 1 << 20;

/// The files of a system.
#[derive(Debug)]
pub(super) struct Source {
    root: PathBuf,
}

/// Part of `/proc/self/status`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Status {
    pub(super) threads: u64,
    /// Bytes.
    pub(super) resident: u64,
    /// Bytes.
    pub(super) virtual_size: u64,
}

/// Sums over the memory map, bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) resident: u64,
    pub(super) proportional: u64,
    pub(super) swap: u64,
    pub(super) swap_proportional: u64,
}

impl Default for Source {
    fn default() -> Self {
        Self::at(Path::new("/"))
    }
}

impl Source {
    pub(super) fn at(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// Whether this system tells anything.
    pub(super) fn is_there(&self) -> bool {
        self.status().is_some()
    }

    pub(super) fn status(&self) -> Option<Status> {
        let text = read(&self.root, "proc/self/status")?;
        let threads = field(&text, "Threads:")?.trim().parse().ok()?;
        Some(Status {
            threads,
            resident: kilobytes(&text, "VmRSS:")?,
            virtual_size: kilobytes(&text, "VmSize:")?,
        })
    }

    /// CPUs that the process may run on.
    pub(super) fn cpus(&self) -> Option<f64> {
        let text = read(&self.root, "proc/self/status")?;
        let mask = field(&text, "Cpus_allowed:")?.trim();
        let digits = mask.chars().filter_map(|digit| digit.to_digit(16));
        let count: u32 = digits.map(u32::count_ones).sum();
        (count > 0).then_some(f64::from(count))
    }

    pub(super) fn cpu_quota(&self) -> Option<f64> {
        cgroup::cpu_quota(&self.root)
    }

    /// CPU time of the control group.
    pub(super) fn group_cpu(&self) -> Option<Duration> {
        cgroup::cpu_used(&self.root)
    }

    /// CPU time of the process, all threads, those that have ended included.
    pub(super) fn process_cpu(&self) -> Option<Duration> {
        let text = read(&self.root, "proc/self/stat")?;
        // The name, in brackets, may hold anything. After it: state, and ten numbers before the times.
        let (_, rest) = text.rsplit_once(')')?;
        let mut numbers = rest.split_ascii_whitespace().skip(11);
        let user: u64 = numbers.next()?.parse().ok()?;
        let system: u64 = numbers.next()?.parse().ok()?;
        Some(ticks(user + system))
    }

    /// CPU time of the whole machine, idle time and time stolen by other machines excluded.
    pub(super) fn machine_cpu(&self) -> Option<Duration> {
        let text = read(&self.root, "proc/stat")?;
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let numbers = line.split_ascii_whitespace().map(str::parse);
        let numbers: Vec<u64> = numbers.collect::<Result<_, _>>().ok()?;
        // user, nice, system, idle, iowait, irq, softirq; what follows is stolen, or counted before.
        let busy = [0, 1, 2, 5, 6]
            .iter()
            .filter_map(|place| numbers.get(*place));
        Some(ticks(busy.sum()))
    }

    /// Load average of the last minute.
    pub(super) fn load(&self) -> Option<f64> {
        let text = read(&self.root, "proc/loadavg")?;
        text.split_ascii_whitespace().next()?.parse().ok()
    }

    /// Open file descriptors, without the one that it takes to look.
    pub(super) fn open_files(&self) -> Option<u64> {
        let folder = self.root.join("proc/self/fd");
        let looks = u64::from(self.root == Path::new("/"));
        let count = fs::read_dir(folder).ok()?.count() as u64;
        Some(count.saturating_sub(looks))
    }

    /// Soft limit of open file descriptors.
    pub(super) fn max_files(&self) -> Option<u64> {
        let text = read(&self.root, "proc/self/limits")?;
        let soft = field(&text, "Max open files")?;
        soft.split_ascii_whitespace().next()?.parse().ok()
    }

    pub(super) fn memory(&self) -> Option<Memory> {
        let text = read(&self.root, "proc/self/smaps_rollup")?;
        Some(Memory {
            resident: kilobytes(&text, "Rss:")?,
            proportional: kilobytes(&text, "Pss:")?,
            swap: kilobytes(&text, "Swap:")?,
            swap_proportional: kilobytes(&text, "SwapPss:")?,
        })
    }
}

/// The text of a file; `None` if there is none.
pub(super) fn read(folder: &Path, file: &str) -> Option<String> {
    let mut text = String::new();
    let file = fs::File::open(folder.join(file)).ok()?;
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name))
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let number = field(text, name)?.trim().strip_suffix("kB")?;
    let kilobytes: u64 = number.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

fn ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000 / TICKS_PER_SECOND))
}
