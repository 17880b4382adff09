//! What the system says about processes: CPU time, memory; and which CPUs they may use.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

/// Ticks of `/proc/<pid>/stat` per second; a constant of the kernel's interface.
const TICKS: f64 = 100.0;

/// User and system time of the processes together, seconds. Those that have ended count nothing.
pub(crate) fn seconds(pids: &[u32]) -> f64 {
    pids.iter().filter_map(|pid| ticks(*pid)).sum::<u64>() as f64 / TICKS
}

fn ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // Behind the name, which may hold blanks, utime and stime are the fields 12 and 13.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Resident memory of the processes together, bytes. What they share counts for each of them.
pub(crate) fn resident(pids: &[u32]) -> u64 {
    pids.iter()
        .filter_map(|pid| status(*pid, "VmRSS:"))
        .sum::<u64>()
        * 1024
}

fn status(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The process and its children.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let mut all = vec![pid];
    all.extend(
        children
            .split_whitespace()
            .filter_map(|child| child.parse::<u32>().ok()),
    );
    all
}

/// CPUs by purpose.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    /// For the process under test.
    pub(crate) relay: Vec<usize>,
    /// For the load generator.
    pub(crate) load: Vec<usize>,
    /// For the brokers.
    pub(crate) broker: Vec<usize>,
    taskset: bool,
}

impl Pins {
    /// Shares the CPUs of this process out.
    pub(crate) fn plan() -> Pins {
        let cpus = allowed();
        let taskset = Command::new("taskset").arg("-V").output().is_ok();
        let (relay, load, broker) = match cpus.len() {
            0 | 1 => (cpus.clone(), cpus.clone(), cpus),
            2 => (vec![cpus[0]], vec![cpus[1]], vec![cpus[1]]),
            count => {
                // The process under test shall be the narrowest place.
                let relay = (count / 4).max(1);
                let load = (count - relay).div_ceil(2);
                (
                    cpus[..relay].to_vec(),
                    cpus[relay..relay + load].to_vec(),
                    cpus[relay + load..].to_vec(),
                )
            }
        };
        Pins {
            relay,
            load,
            broker,
            taskset,
        }
    }

    /// A command line that stays on `cpus`.
    pub(crate) fn command(&self, cpus: &[usize], command: &[String]) -> Vec<String> {
        let mut line = Vec::new();
        if self.taskset && !cpus.is_empty() {
            line.extend(["taskset".to_owned(), "-c".to_owned(), list(cpus)]);
        }
        line.extend_from_slice(command);
        line
    }

    /// Moves a running process, with all its threads, to the CPUs of brokers.
    pub(crate) fn move_to_brokers(&self, pid: u32) {
        if self.taskset && !self.broker.is_empty() {
            let cpus = list(&self.broker);
            let _ = Command::new("taskset")
                .args(["-a", "-p", "-c", &cpus, &pid.to_string()])
                .output();
        }
    }

    /// What was done, for the report.
    pub(crate) fn describe(&self) -> String {
        if !self.taskset {
            return "Processes were not pinned to CPUs: `taskset` is not there.".to_owned();
        }
        let shared = if self.load == self.broker {
            " Load generator and brokers share theirs, because there are no more: their cost limits the rates, but not the CPU time of the process under test."
        } else {
            ""
        };
        format!(
            "Pinned with taskset: process under test on CPU {}, load generator on {}, brokers on {}.{shared}",
            list(&self.relay),
            list(&self.load),
            list(&self.broker),
        )
    }
}

/// As taskset reads it.
fn list(cpus: &[usize]) -> String {
    let names: Vec<String> = cpus.iter().map(usize::to_string).collect();
    names.join(",")
}

/// The CPUs this process may use.
fn allowed() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let ranges = list.unwrap_or("0").trim().split(',');
    ranges
        .filter_map(|range| {
            let (from, to) = range.split_once('-').unwrap_or((range, range));
            Some(from.parse::<usize>().ok()?..=to.parse().ok()?)
        })
        .flatten()
        .collect()
}

/// File descriptors that a process may have.
pub(crate) fn descriptors() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(1024)
}

/// Model and number of CPUs, memory, kernel.
pub(crate) fn hardware() -> BTreeMap<&'static str, String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown", |(_, model)| model.trim());
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib >> 20);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    BTreeMap::from([
        ("CPU", format!("{} x {model}", allowed().len())),
        ("memory", format!("{memory} GiB")),
        ("kernel", kernel.trim().to_owned()),
    ])
}

/// The load of the machine over the last minute.
pub(crate) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .next()
        .and_then(|load| load.parse().ok())
        .unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_process_can_be_read() {
        let own = [std::process::id()];
        assert!(resident(&own) > 0);
        assert!(ticks(own[0]).is_some());
        assert_eq!(family(own[0])[0], own[0]);
        assert!(!allowed().is_empty());
    }
}
