//! What defaults need to know about the machine.

use std::fs;
use std::path::Path;

/// Facts about the machine that some defaults come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Its host name.
    pub(crate) host_name: String,
    /// CPUs this process may use, at least 1.
    pub(crate) cpus: usize,
    /// Memory this process may use, in bytes: the smallest control-group limit, else the machine's memory.
    pub(crate) memory: u64,
    /// Files that this process may have open, once it has raised its soft limit to the hard one.
    pub(crate) open_files: u64,
}

/// Assumed when the system does not tell, or sets no limit.
const UNKNOWN_OPEN_FILES: u64 = 1 << 20;

/// Open files that client connections leave alone, at most: the admin port, the gateway's own connections, listening sockets.
const MAX_RESERVE: u64 = 1024;

/// A client connection has a connection to a broker of its own.
const FILES_PER_CONNECTION: u64 = 2;

/// Assumed when the system does not tell.
const UNKNOWN_MEMORY: u64 = 1 << 30;

impl Machine {
    /// This machine.
    pub(crate) fn detect() -> Self {
        Self {
            host_name: host_name(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            memory: memory(),
            open_files: fs::read_to_string("/proc/self/limits")
                .ok()
                .and_then(|text| open_files(&text))
                .unwrap_or(UNKNOWN_OPEN_FILES),
        }
    }

    /// Client connections that there are open files for, at least 1.
    pub(crate) fn connections(&self) -> u32 {
        let reserve = (self.open_files / 4).min(MAX_RESERVE);
        let connections = (self.open_files - reserve) / FILES_PER_CONNECTION;
        i32::try_from(connections)
            .unwrap_or(i32::MAX)
            .max(1)
            .unsigned_abs()
    }
}

fn host_name() -> String {
    let from_kernel = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = from_kernel.trim();
    if !name.is_empty() {
        return name.to_owned();
    }
    std::env::var("HOSTNAME")
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "localhost".into())
}

fn memory() -> u64 {
    let total = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total_memory(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = group_limits(&groups, |path| fs::read_to_string(path).ok());
    total
        .into_iter()
        .chain(limit)
        .min()
        .unwrap_or(UNKNOWN_MEMORY)
}

/// The hard limit: the last but one column. `None`: there is none.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}

/// The smallest limit of the control groups this process is in, both versions, every level up to the root.
fn group_limits(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let mut smallest: Option<u64> = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            names if names.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        for group in Path::new(path).ancestors() {
            let relative = group.strip_prefix("/").unwrap_or(group);
            let limit = read(&Path::new(root).join(relative).join(file))
                .and_then(|text| text.trim().parse().ok());
            smallest = smallest.into_iter().chain(limit).min();
        }
    }
    smallest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_the_machine() {
        assert_eq!(
            total_memory("MemTotal:       24576000 kB\nMemFree: 1 kB\n"),
            Some(24_576_000 * 1024)
        );
        assert_eq!(total_memory("nothing"), None);
    }

    #[test]
    fn the_smallest_group_limit_counts() {
        let read = |path: &Path| match path.to_str()? {
            "/sys/fs/cgroup/a/b/memory.max" => Some("max\n".to_owned()),
            "/sys/fs/cgroup/a/memory.max" => Some("2000\n".to_owned()),
            "/sys/fs/cgroup/memory.max" => Some("3000\n".to_owned()),
            "/sys/fs/cgroup/memory/c/memory.limit_in_bytes" => Some("1000\n".to_owned()),
            _ => None,
        };
        assert_eq!(group_limits("0::/a/b\n", read), Some(2000));
        assert_eq!(group_limits("4:memory:/c\n1:cpu:/c\n", read), Some(1000));
        assert_eq!(group_limits("garbage", read), None);
    }

    #[test]
    fn the_hard_limit_of_open_files_counts() {
        let limits = |hard: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units     \n\
                 Max processes             95000                95000                processes \n\
                 Max open files            1024                 {hard}               files     \n"
            )
        };
        assert_eq!(open_files(&limits("524288")), Some(524_288));
        assert_eq!(open_files(&limits("unlimited")), None);
        assert_eq!(open_files("nothing"), None);
    }

    #[test]
    fn connections_leave_files_alone() {
        let connections = |open_files| {
            Machine {
                open_files,
                ..Machine::detect()
            }
            .connections()
        };
        assert_eq!(connections(1024), 384);
        assert_eq!(connections(20_000), 9488);
        assert_eq!(connections(1 << 20), 523_776);
        assert_eq!(connections(1), 1);
        assert_eq!(connections(u64::MAX), i32::MAX.unsigned_abs());
    }

    #[test]
    fn this_machine_has_something() {
        let machine = Machine::detect();
        assert!(!machine.host_name.is_empty() && machine.cpus > 0 && machine.memory > 0);
        assert!(machine.open_files > 0);
    }
}
