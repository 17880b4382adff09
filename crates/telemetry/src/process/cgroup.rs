//! What the control group of the process allows and has used, version 2 and 1.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::source::read;

const MOUNT: &str = "sys/fs/cgroup";

/// Names of the version 1 hierarchy that counts CPU time, as mounted.
const CPU: [&str; 3] = ["cpu,cpuacct", "cpuacct,cpu", "cpu"];

/// The smallest quota of CPU time from the group of the process upwards, in CPUs; `None`: there is none.
pub(super) fn cpu_quota(root: &Path) -> Option<f64> {
    let groups = read(root, "proc/self/cgroup")?;
    let quotas = v2_folders(root, &groups)
        .into_iter()
        .filter_map(|folder| {
            let text = read(&folder, "cpu.max")?;
            let (quota, period) = text.trim().split_once(' ')?;
            share(quota, period)
        })
        .chain(v1_folders(root, &groups).into_iter().filter_map(|folder| {
            let quota = read(&folder, "cpu.cfs_quota_us")?;
            let period = read(&folder, "cpu.cfs_period_us")?;
            share(quota.trim(), period.trim())
        }));
    quotas.min_by(f64::total_cmp)
}

/// The CPU time of the group of the process.
pub(super) fn cpu_used(root: &Path) -> Option<Duration> {
    let groups = read(root, "proc/self/cgroup")?;
    let v2 = v2_folders(root, &groups).into_iter().find_map(|folder| {
        let text = read(&folder, "cpu.stat")?;
        let used = text
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "))?;
        used.trim().parse().ok().map(Duration::from_micros)
    });
    v2.or_else(|| {
        let folders = v1_folders(root, &groups);
        folders.into_iter().find_map(|folder| {
            let nanos = read(&folder, "cpuacct.usage")?;
            nanos.trim().parse().ok().map(Duration::from_nanos)
        })
    })
}

fn share(quota: &str, period: &str) -> Option<f64> {
    let quota: f64 = quota.parse().ok()?;
    let period: f64 = period.parse().ok()?;
    let share = quota / period;
    (share.is_finite() && share > 0.0).then_some(share)
}

/// The group, the one around it, and so on up to the mount. Inside a container the path may be that of the host, so that only the
/// mount itself is there.
fn v2_folders(root: &Path, groups: &str) -> Vec<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"));
    path.map_or_else(Vec::new, |path| upwards(&root.join(MOUNT), path))
}

fn v1_folders(root: &Path, groups: &str) -> Vec<PathBuf> {
    let path = groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers
            .split(',')
            .any(|name| name == "cpu")
            .then_some(path)
    });
    let Some(path) = path else {
        return Vec::new();
    };
    let mounts = CPU.map(|name| root.join(MOUNT).join(name));
    let mount = mounts.into_iter().find(|mount| mount.is_dir());
    mount.map_or_else(Vec::new, |mount| upwards(&mount, path))
}

fn upwards(mount: &Path, path: &str) -> Vec<PathBuf> {
    let inner = mount.join(path.trim_start_matches('/'));
    let within = inner
        .ancestors()
        .take_while(|folder| folder.starts_with(mount));
    within.map(Path::to_path_buf).collect()
}
