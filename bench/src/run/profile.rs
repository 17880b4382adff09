//! Where CPU time goes: samples of `perf` for each workload, as one table and as flame graphs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::flame::{Frame, Stacks};
use super::workload::Workload;
use super::world::{Kind, Relay, Tools};
use super::{Stage, main_workloads, relays};
use crate::Result;

/// Samples per second of CPU time; no divisor of what timers tick at.
const FREQUENCY: &str = "997";
/// Bytes of the stack that are kept of a sample: release builds have no frame pointers.
const STACK: u32 = 16 * 1024;
/// Parts of user code that are named in the table.
const NAMED: usize = 6;

/// How to profile.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The gateway, built with optimisation.
    #[arg(long)]
    gateway: PathBuf,
    /// Where flame graphs go.
    #[arg(long)]
    folder: PathBuf,
    /// Seconds of each profile.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

/// Samples everything; writes flame graphs, and prints a table.
pub(crate) fn run(args: &Args) -> Result<()> {
    if Command::new("perf").arg("--version").output().is_err() {
        return Err("`perf` is missing (Debian: apt-get install linux-perf).".into());
    }
    let tools = Tools::find(args.gateway.clone(), None)?;
    eprintln!("{}", tools.pins.describe());
    fs::create_dir_all(&args.folder)?;
    let stage = Stage {
        tools: &tools,
        rounds: 1,
        seconds: args.seconds,
    };
    let mut rows = Vec::new();
    let mut sample = |relays: Vec<Relay>, workloads: &[Workload]| -> Result<()> {
        for relay in &relays {
            for workload in workloads {
                rows.push(row(&stage, relay, workload, &args.folder)?);
            }
        }
        Ok(())
    };
    let mut plain = main_workloads();
    plain.extend([Workload::both(), Workload::produce().topics(10)]);
    let upstream = tools.memory_broker(false)?;
    let kinds = [Kind::Gateway, Kind::HaproxyPackaged, Kind::HaproxyTuned];
    sample(relays(&stage, &upstream, &kinds)?, &plain)?;
    let kinds = [Kind::GatewayTls, Kind::NginxTls];
    sample(relays(&stage, &upstream, &kinds)?, &main_workloads())?;
    let upstream = tools.dev_broker()?;
    let virtual_cluster = relays(&stage, &upstream, &[Kind::Virtual])?;
    let workloads = [Workload::produce(), Workload::produce().old()];
    for relay in &virtual_cluster {
        for workload in &workloads {
            workload.prepare(&tools, relay, upstream.replicas)?;
        }
    }
    sample(virtual_cluster, &workloads)?;
    println!(
        "| workload | peer | kernel, % of all | of that copying, % of all | user code, % of all | of that, % of all |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    rows.iter().for_each(|row| println!("{row}"));
    eprintln!("flame graphs are in {}", args.folder.display());
    Ok(())
}

/// Samples a relay under a workload.
fn row(stage: &Stage<'_>, relay: &Relay, workload: &Workload, folder: &Path) -> Result<String> {
    let title = format!("{}: {}", workload.name, relay.kind.name());
    eprintln!("{title}");
    let data = folder.join("perf.data");
    let pids: Vec<String> = relay.pids.iter().map(u32::to_string).collect();
    let record = [
        "perf",
        "record",
        "--quiet",
        "--event=cpu-clock",
        &format!("--freq={FREQUENCY}"),
        &format!("--call-graph=dwarf,{STACK}"),
        &format!("--output={}", data.display()),
        &format!("--pid={}", pids.join(",")),
        "--",
        "sleep",
        &stage.seconds.to_string(),
    ];
    let record: Vec<String> = record.iter().map(|part| (*part).to_owned()).collect();
    let pins = &stage.tools.pins;
    let command = pins.command(&pins.load, &record);
    let (program, args) = command.split_first().ok_or("an empty command")?;
    let recording = Command::new(program)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    // Has to outlast the recording.
    let done = workload.run(stage.tools, relay, stage.seconds + 2.0, None);
    let recorded = recording.wait_with_output()?;
    done?;
    if !recorded.status.success() {
        let said = String::from_utf8_lossy(&recorded.stderr);
        return Err(format!("perf cannot record: {}", said.trim()).into());
    }
    let script = Command::new("perf")
        .args(["script", "--no-inline", "--fields=ip,sym", "--input"])
        .arg(&data)
        .output()?;
    if !script.status.success() {
        let said = String::from_utf8_lossy(&script.stderr);
        return Err(format!("perf cannot read what it has recorded: {}", said.trim()).into());
    }
    fs::remove_file(&data)?;
    let stacks = Stacks::parse(&String::from_utf8_lossy(&script.stdout));
    if stacks.is_empty() {
        return Err(format!("perf has seen nothing of {title}").into());
    }
    let name: String = title
        .chars()
        .map(|c| if c.is_alphanumeric() { c } else { '-' })
        .collect();
    let name = name.replace("--", "-").to_lowercase();
    fs::write(folder.join(format!("{name}.svg")), stacks.svg(&title))?;
    Ok(describe(workload, relay, &stacks))
}

fn describe(workload: &Workload, relay: &Relay, stacks: &Stacks) -> String {
    let (mut kernel, mut copying, mut user) = (0, 0, 0);
    let mut parts: BTreeMap<String, u64> = BTreeMap::new();
    for (leaf, count) in stacks.leaves() {
        match leaf.is_kernel {
            true => {
                kernel += count;
                let copies = ["rep_movs", "copy_", "_copy", "memcpy"];
                let is_copy = copies.iter().any(|name| leaf.name.starts_with(name));
                copying += if is_copy { count } else { 0 };
            }
            false => {
                user += count;
                *parts.entry(part(leaf)).or_default() += count;
            }
        }
    }
    let percent = |count: u64| 100.0 * count as f64 / (kernel + user).max(1) as f64;
    let mut parts: Vec<(String, u64)> = parts.into_iter().collect();
    parts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let parts: Vec<String> = parts
        .iter()
        .take(NAMED)
        .filter(|(_, count)| percent(*count) >= 0.5)
        .map(|(name, count)| format!("{name} {:.0}", percent(*count)))
        .collect();
    format!(
        "| {} | {} | {:.0} | {:.0} | {:.0} | {} |",
        workload.name,
        relay.kind.name(),
        percent(kernel),
        percent(copying),
        percent(user),
        parts.join(", ")
    )
}

/// The crate or library that a function is of.
fn part(frame: &Frame) -> String {
    let name = frame.name.trim_start_matches(['<', '&', '(', '*']);
    let libraries = [
        ("mi_", "allocator"),
        ("malloc", "allocator"),
        ("aws_lc", "cryptography"),
        ("aes", "cryptography"),
        ("gcm", "cryptography"),
        ("clock_gettime", "clocks"),
        ("vdso", "clocks"),
    ];
    let plain = name.trim_start_matches('_');
    let library = libraries.iter().find(|(start, _)| plain.starts_with(start));
    match (name.split_once("::"), library) {
        (Some(("std", _)), _) if name.contains("::time::") => "clocks".to_owned(),
        // `T as krate::Trait`
        (Some((krate, _)), _) => krate.rsplit(' ').next().unwrap_or(krate).to_owned(),
        (None, Some((_, library))) => (*library).to_owned(),
        (None, None) => "C libraries".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_parts() {
        for (name, expected) in [
            ("sluicegate_wire::walk::walk", "sluicegate_wire"),
            (
                "<core::future::poll_fn::PollFn<F> as core::future::future::Future>::poll",
                "core",
            ),
            ("<&mut tokio::net::TcpStream as X>::y", "tokio"),
            ("<&mut dyn tokio::A as B>::c", "tokio"),
            ("<T as core::convert::Into<U>>::into", "core"),
            ("_mi_page_malloc", "allocator"),
            (
                "<std::sys::pal::unix::time::Timespec>::sub_timespec",
                "clocks",
            ),
            ("aws_lc_0_47_0_aes_gcm_enc", "cryptography"),
            ("_aesni_ctr32_ghash_6x", "cryptography"),
            ("__vdso_clock_gettime", "clocks"),
            ("__send", "C libraries"),
        ] {
            let frame = Frame {
                name: name.to_owned(),
                is_kernel: false,
            };
            assert_eq!(part(&frame), expected, "{name}");
        }
    }
}
