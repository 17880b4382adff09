//! What connections cost: memory of idle and stalled ones, and how fast they are taken.

use std::time::Duration;

use testkit::process::Process;

use super::world::{self, Kind, Relay, Tools, Upstream};
use crate::{Result, cpu};

/// How long it may take to open all connections.
const LIMIT: Duration = Duration::from_secs(300);
/// Connections of the largest crowd, if there are descriptors for them.
const MANY: usize = 10_000;
/// After the last change, before memory is read.
const SETTLE: Duration = Duration::from_secs(2);
const KIB: f64 = 1024.0;

/// What connections cost.
#[derive(Debug, Default)]
pub(crate) struct Crowds {
    pub(crate) rows: Vec<Crowd>,
    /// Peer and connections per second.
    pub(crate) taken: Vec<(&'static str, f64)>,
}

/// Resident memory with a number of connections.
#[derive(Debug)]
pub(crate) struct Crowd {
    pub(crate) peer: &'static str,
    pub(crate) conduct: &'static str,
    pub(crate) connections: usize,
    pub(crate) before: u64,
    pub(crate) with: u64,
}

impl Crowd {
    /// KiB for each connection.
    pub(crate) fn kib_each(&self) -> f64 {
        self.with.saturating_sub(self.before) as f64 / KIB / self.connections.max(1) as f64
    }
}

/// Measures fresh processes, one after the other.
pub(crate) fn measure(tools: &Tools, quick: bool) -> Result<Crowds> {
    let upstream = tools.memory_broker(false)?;
    let mut crowds = Crowds::default();
    let most = world::connections().min(MANY);
    let counts: &[usize] = if quick { &[1_000] } else { &[1_000, most] };
    let mut kinds = vec![Kind::Gateway, Kind::GatewayTls];
    if !quick {
        kinds.extend([Kind::HaproxyPackaged, Kind::Nginx, Kind::NginxTls]);
    }
    for kind in kinds {
        for count in counts {
            hold(tools, &upstream, kind, "idle", *count, &mut crowds)?;
        }
    }
    let stalled = if quick { 50 } else { 500 };
    for kind in [Kind::Gateway, Kind::GatewayTls] {
        hold(tools, &upstream, kind, "stalled", stalled, &mut crowds)?;
    }
    for kind in [
        Kind::Gateway,
        Kind::HaproxyPackaged,
        Kind::GatewayTls,
        Kind::NginxTls,
    ] {
        if let Some(relay) = tools.relay(kind, &upstream)? {
            let seconds = if quick { "1" } else { "4" };
            let mut process = crowd(tools, &relay, &["--conduct", "churn", "--seconds", seconds])?;
            let rate = process.next_line(LIMIT).and_then(|line| line.parse().ok());
            let rate: f64 = rate.ok_or_else(|| process.log())?;
            process.kill();
            eprintln!("{}: {rate:.0} connections per second", kind.name());
            crowds.taken.push((kind.name(), rate));
        }
    }
    Ok(crowds)
}

fn hold(
    tools: &Tools,
    upstream: &Upstream,
    kind: Kind,
    conduct: &'static str,
    connections: usize,
    crowds: &mut Crowds,
) -> Result<()> {
    let Some(relay) = tools.relay(kind, upstream)? else {
        return Ok(());
    };
    std::thread::sleep(SETTLE);
    let before = cpu::resident(&relay.pids);
    let count = connections.to_string();
    let mut process = crowd(tools, &relay, &["--conduct", conduct, "--count", &count])?;
    if process.next_line(LIMIT).as_deref() != Some("open") {
        // A limit of open files, for instance; the other figures are worth having.
        let error = process.log();
        eprintln!(
            "{}: {connections} {conduct} connections: {error}",
            kind.name()
        );
        process.kill();
        return Ok(());
    }
    std::thread::sleep(SETTLE);
    let row = Crowd {
        peer: kind.name(),
        conduct,
        connections,
        before,
        with: cpu::resident(&relay.pids),
    };
    eprintln!(
        "{}: {connections} {conduct} connections: {:.1} KiB each",
        row.peer,
        row.kib_each()
    );
    crowds.rows.push(row);
    process.kill();
    Ok(())
}

fn crowd(tools: &Tools, relay: &Relay, args: &[&str]) -> Result<Process> {
    let address = relay.first_address().ok_or("a relay without address")?;
    let mut command = vec![
        "crowd".to_owned(),
        "--address".to_owned(),
        address.to_owned(),
    ];
    command.extend(args.iter().map(|arg| (*arg).to_owned()));
    if relay.tls {
        command.extend(["--tls".to_owned(), tools.trust().display().to_string()]);
    }
    tools.start_load("crowd", &command)
}
