//! What clients do in a measurement.

use std::process::Command;

use super::world::{Relay, Tools};
use crate::Result;
use crate::load::{Outcome, PASSWORD};

/// What clients do.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    /// Name in the report.
    pub(crate) name: String,
    pub(crate) producers: usize,
    pub(crate) consumers: usize,
    topics: usize,
    record_bytes: usize,
    pub(crate) batch_bytes: usize,
    pub(crate) fetch_bytes: usize,
    acks: i16,
    /// Versions of a client of the 3.x line.
    old: bool,
}

impl Workload {
    /// Eight producers, acks=all, batches of 16 KiB of records of 1 KiB, one topic, current versions.
    pub(crate) fn produce() -> Workload {
        Workload {
            name: "produce".to_owned(),
            producers: 8,
            consumers: 0,
            topics: 1,
            record_bytes: 1024,
            batch_bytes: 16 * 1024,
            fetch_bytes: 1 << 20,
            acks: -1,
            old: false,
        }
    }

    /// Eight consumers that fetch 1 MiB at a time.
    pub(crate) fn consume() -> Workload {
        Workload {
            name: "consume".to_owned(),
            producers: 0,
            consumers: 8,
            ..Workload::produce()
        }
    }

    /// Four of each.
    pub(crate) fn both() -> Workload {
        Workload {
            name: "both".to_owned(),
            producers: 4,
            consumers: 4,
            ..Workload::produce()
        }
    }

    fn named(self, detail: &str) -> Workload {
        Workload {
            name: format!("{}, {detail}", self.name),
            ..self
        }
    }

    pub(crate) fn records(self, bytes: usize, detail: &str) -> Workload {
        Workload {
            record_bytes: bytes,
            ..self.named(detail)
        }
    }

    pub(crate) fn topics(self, count: usize) -> Workload {
        Workload {
            topics: count,
            ..self.named(&format!("{count} topics"))
        }
    }

    pub(crate) fn acks(self, acks: i16) -> Workload {
        Workload {
            acks,
            ..self.named(&format!("acks={acks}"))
        }
    }

    pub(crate) fn old(self) -> Workload {
        Workload {
            old: true,
            ..self.named("3.x client")
        }
    }

    /// Smaller answers, as a consumer gets that keeps up.
    pub(crate) fn small_fetches(self) -> Workload {
        Workload {
            fetch_bytes: 64 * 1024,
            ..self
        }
    }

    /// Bytes of records that one request moves, all kinds of requests being equally frequent.
    pub(crate) fn bytes_per_request(&self) -> f64 {
        let all = (self.producers * self.batch_bytes.max(self.record_bytes)
            + self.consumers * self.fetch_bytes) as f64;
        all / (self.producers + self.consumers).max(1) as f64
    }

    fn args(&self, tools: &Tools, relay: &Relay) -> Vec<String> {
        let mut args = vec!["load".to_owned()];
        let mut option = |name: &str, value: String| args.extend([format!("--{name}"), value]);
        option("addresses", relay.addresses());
        option("producers", self.producers.to_string());
        option("consumers", self.consumers.to_string());
        option("topics", self.topics.to_string());
        option("record-bytes", self.record_bytes.to_string());
        option("batch-bytes", self.batch_bytes.to_string());
        option("fetch-bytes", self.fetch_bytes.to_string());
        option("acks", self.acks.to_string());
        option("threads", tools.pins.load.len().to_string());
        if self.old {
            option("max-produce", "10".to_owned());
            option("max-fetch", "15".to_owned());
        }
        if relay.tls {
            option("tls", tools.trust().display().to_string());
        }
        if let Some((user, _)) = relay.login() {
            option("user", user.to_owned());
        }
        args
    }

    /// Creates and fills the topics.
    pub(crate) fn prepare(&self, tools: &Tools, relay: &Relay, replicas: i16) -> Result<()> {
        let mut args = self.args(tools, relay);
        args.extend(["--prepare".to_owned()]);
        args.extend(["--replicas".to_owned(), replicas.to_string()]);
        start(tools, relay, &args).map(drop)
    }

    /// Runs once: in a closed loop, or with `rate` requests per second.
    pub(crate) fn run(
        &self,
        tools: &Tools,
        relay: &Relay,
        seconds: f64,
        rate: Option<f64>,
    ) -> Result<Outcome> {
        let mut args = self.args(tools, relay);
        args.extend(["--seconds".to_owned(), seconds.to_string()]);
        args.extend(["--warm-up".to_owned(), (seconds / 4.0).to_string()]);
        if let Some(rate) = rate {
            args.extend(["--rate".to_owned(), rate.to_string()]);
        }
        let watched: Vec<String> = relay.pids.iter().map(u32::to_string).collect();
        if !watched.is_empty() {
            args.extend(["--watch".to_owned(), watched.join(",")]);
        }
        let printed = start(tools, relay, &args)?;
        Ok(serde_json::from_str(&printed)?)
    }
}

/// Runs this program with arguments; gives what it printed.
fn start(tools: &Tools, relay: &Relay, args: &[String]) -> Result<String> {
    let command = tools.load_command(args);
    let (program, args) = command.split_first().ok_or("an empty command")?;
    let mut command = Command::new(program);
    command.args(args);
    if let Some((_, password)) = relay.login() {
        command.env(PASSWORD, password);
    }
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}", relay.kind.name(), said.trim()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
