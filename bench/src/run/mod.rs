//! The conductor: starts everything, measures in interleaved rounds, writes the report.

mod flame;
mod memory;
pub(crate) mod profile;
mod report;
mod table;
mod targets;
mod workload;
pub(crate) mod world;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::load::Outcome;
use crate::{Result, cpu};
use memory::Crowds;
use table::Figures;
use workload::Workload;
use world::{Kind, Relay, Tools, Upstream};

/// Of the rate that the slowest plain relay reaches.
const LATENCY_LOAD: f64 = 0.3;

/// How to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The gateway, built with optimisation.
    #[arg(long)]
    gateway: PathBuf,
    /// The gateway, built with the feature `sluicegate-telemetry/uncounted`.
    #[arg(long)]
    uncounted: Option<PathBuf>,
    /// Two minutes instead of an hour: fewer workloads, two short rounds.
    #[arg(long)]
    quick: bool,
    /// Brokers of the Apache Kafka that confirms the figures; 0 leaves it out.
    #[arg(long)]
    kafka: Option<i32>,
    /// Rounds.
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of each measurement.
    #[arg(long)]
    seconds: Option<f64>,
    /// Where the report is written.
    #[arg(long)]
    out: PathBuf,
}

/// Everything that was measured.
pub(crate) struct Measured {
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) quick: bool,
    pub(crate) took: Duration,
    pub(crate) load_before: f64,
    pub(crate) conditions: Vec<String>,
    pub(crate) versions: Vec<(String, String)>,
    /// Closed loop, the broker that costs next to nothing.
    pub(crate) saturation: Figures,
    /// Open loop, the same rate for all.
    pub(crate) latency: Figures,
    /// Closed loop, TLS.
    pub(crate) tls: Figures,
    /// Closed loop, `devbroker`: with and without virtual cluster.
    pub(crate) tenancy: Figures,
    /// Open loop, without and with a scrape each second.
    pub(crate) scraped: Figures,
    /// Closed loop, Apache Kafka.
    pub(crate) kafka: Figures,
    pub(crate) crowds: Crowds,
}

/// A step of the plan, with its relays and workloads.
struct Stage<'s> {
    tools: &'s Tools,
    rounds: usize,
    seconds: f64,
}

/// Measures and writes the report.
pub(crate) fn run(args: &Args) -> Result<()> {
    let began = Instant::now();
    let load_before = cpu::load_average();
    let tools = Tools::find(args.gateway.clone(), args.uncounted.clone())?;
    let mut conditions = vec![tools.pins.describe()];
    conditions.extend(tools.missing());
    for condition in &conditions {
        eprintln!("{condition}");
    }
    let rounds = args.rounds.unwrap_or(if args.quick { 2 } else { 5 });
    let seconds = args.seconds.unwrap_or(if args.quick { 1.5 } else { 4.0 });
    let stage = Stage {
        tools: &tools,
        rounds,
        seconds,
    };
    let (saturation, latency, scraped) = plain(&stage, args.quick)?;
    let measured = Measured {
        rounds,
        seconds,
        quick: args.quick,
        load_before,
        conditions,
        versions: tools.versions(),
        saturation,
        latency,
        scraped,
        tls: tls(&stage, args.quick)?,
        tenancy: tenancy(&stage, args.quick)?,
        crowds: memory::measure(&tools, args.quick)?,
        kafka: match args.kafka.unwrap_or(if args.quick { 0 } else { 1 }) {
            0 => Figures::default(),
            brokers => kafka(&stage, brokers)?,
        },
        took: began.elapsed(),
    };
    let text = report::write(&measured)?;
    if let Some(folder) = args.out.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(&args.out, &text)?;
    println!("{text}");
    eprintln!("written to {}", args.out.display());
    Ok(())
}

fn relays(stage: &Stage<'_>, upstream: &Upstream, kinds: &[Kind]) -> Result<Vec<Relay>> {
    let started = kinds.iter().map(|kind| stage.tools.relay(*kind, upstream));
    started.filter_map(Result::transpose).collect()
}

impl Stage<'_> {
    /// All relays in turn, again and again, so that a change of the machine's mood hits all of them.
    fn saturate(&self, relays: &[Relay], workloads: &[Workload]) -> Result<Figures> {
        let mut figures = Figures::default();
        for round in 1..=self.rounds {
            for workload in workloads {
                for relay in relays {
                    let outcome = workload.run(self.tools, relay, self.seconds, None)?;
                    self.tell(round, workload, relay, &outcome);
                    figures.add(&workload.name, relay.kind.name(), outcome);
                }
            }
        }
        Ok(figures)
    }

    fn tell(&self, round: usize, workload: &Workload, relay: &Relay, outcome: &Outcome) {
        eprintln!(
            "round {round}/{}: {}: {}: {:.0} MB/s, {:.3} mcore per MB/s, p50 {:.0} us, p99 {:.0} us",
            self.rounds,
            workload.name,
            relay.kind.name(),
            outcome.megabytes_per_second(),
            outcome.millicores_per_megabyte(),
            outcome.latency.p50,
            outcome.latency.p99,
        );
    }

    /// The same rate for all relays.
    fn at_rate(
        &self,
        relays: &[Relay],
        workload: &Workload,
        rate: f64,
        into: &mut Figures,
    ) -> Result<()> {
        for round in 1..=self.rounds {
            for relay in relays {
                match workload.run(self.tools, relay, self.seconds, Some(rate)) {
                    Ok(outcome) => {
                        self.tell(round, workload, relay, &outcome);
                        into.add(&workload.name, relay.kind.name(), outcome);
                    }
                    // Only that relay is left out: too slow for a rate that others keep.
                    Err(error) => eprintln!("{error}"),
                }
            }
        }
        Ok(())
    }
}

/// Plaintext relays in front of the memory broker: saturation, latency, cost of scrapes.
fn plain(stage: &Stage<'_>, quick: bool) -> Result<(Figures, Figures, Figures)> {
    let upstream = stage.tools.memory_broker(false)?;
    let kinds = [
        Kind::Direct,
        Kind::Gateway,
        Kind::HaproxyPackaged,
        Kind::HaproxyTuned,
        Kind::Nginx,
        Kind::Uncounted,
    ];
    let relays = relays(stage, &upstream, &kinds)?;
    let mut saturation = stage.saturate(&relays, &main_workloads())?;
    if !quick {
        saturation.extend(stage.saturate(&relays, &further_workloads())?);
    }
    // What only concerns the gateway.
    let own: Vec<&Relay> = relays.iter().filter(|r| r.kind == Kind::Gateway).collect();
    if quick {
        for workload in [Workload::produce().old(), Workload::consume().old()] {
            for relay in &own {
                for _ in 0..stage.rounds {
                    let outcome = workload.run(stage.tools, relay, stage.seconds, None)?;
                    saturation.add(&workload.name, relay.kind.name(), outcome);
                }
            }
        }
    }
    let mut latency = Figures::default();
    let mut scraped = Figures::default();
    let compared = if quick {
        &relays[..relays.len().min(3)]
    } else {
        &relays[..]
    };
    for workload in [Workload::produce(), Workload::consume()] {
        let Some(slowest) = saturation.lowest_rate(&workload.name) else {
            continue;
        };
        let workload = workload.small_fetches();
        let rate = LATENCY_LOAD * slowest * 1e6 / workload.bytes_per_request();
        stage.at_rate(compared, &workload, rate, &mut latency)?;
        if let Some(gateway) = own.first() {
            scrape_rounds(stage, gateway, &workload, rate, &mut scraped)?;
        }
        if quick {
            break;
        }
    }
    Ok((saturation, latency, scraped))
}

fn main_workloads() -> Vec<Workload> {
    vec![Workload::produce(), Workload::consume()]
}

fn further_workloads() -> Vec<Workload> {
    let (produce, consume) = (Workload::produce, Workload::consume);
    let sizes = [(100, "100 B"), (10_240, "10 KiB"), (102_400, "100 KiB")];
    let mut all = vec![Workload::both(), produce().old(), consume().old()];
    for (bytes, name) in sizes {
        all.push(produce().records(bytes, name));
        all.push(consume().records(bytes, name));
    }
    for topics in [10, 100] {
        all.push(produce().topics(topics));
        all.push(consume().topics(topics));
    }
    all.extend([produce().acks(0), produce().acks(1)]);
    all
}

/// The same load without and with somebody who scrapes each second.
fn scrape_rounds(
    stage: &Stage<'_>,
    gateway: &Relay,
    workload: &Workload,
    rate: f64,
    into: &mut Figures,
) -> Result<()> {
    let Some(port) = gateway.http_port() else {
        return Ok(());
    };
    for _ in 0..stage.rounds {
        let quiet = workload.run(stage.tools, gateway, stage.seconds, Some(rate))?;
        into.add(&workload.name, "not scraped", quiet);
        let ended = Arc::new(AtomicBool::new(false));
        let scraper = std::thread::spawn({
            let ended = ended.clone();
            move || {
                while !ended.load(Ordering::Relaxed) {
                    let _ = testkit::http::get(port, "/metrics");
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
        });
        let scraped = workload.run(stage.tools, gateway, stage.seconds, Some(rate));
        ended.store(true, Ordering::Relaxed);
        let _ = scraper.join();
        into.add(&workload.name, "scraped each second", scraped?);
    }
    Ok(())
}

/// TLS towards clients, and on both sides.
fn tls(stage: &Stage<'_>, quick: bool) -> Result<Figures> {
    let plain = stage.tools.memory_broker(false)?;
    let secured = stage.tools.memory_broker(true)?;
    let mut relays = relays(stage, &plain, &[Kind::GatewayTls, Kind::NginxTls])?;
    if !quick {
        let both = [Kind::GatewayTlsBoth, Kind::NginxTlsBoth];
        relays.extend(self::relays(stage, &secured, &both)?);
    }
    stage.saturate(&relays, &main_workloads())
}

/// A virtual cluster next to the same gateway without one.
fn tenancy(stage: &Stage<'_>, quick: bool) -> Result<Figures> {
    let upstream = stage.tools.dev_broker()?;
    let relays = relays(stage, &upstream, &[Kind::Gateway, Kind::Virtual])?;
    let mut workloads = main_workloads();
    if !quick {
        workloads.extend([
            Workload::produce().old(),
            Workload::consume().old(),
            Workload::produce().topics(100),
            Workload::consume().topics(100),
        ]);
    }
    for workload in &workloads {
        for relay in &relays {
            workload.prepare(stage.tools, relay, upstream.replicas)?;
        }
    }
    stage.saturate(&relays, &workloads)
}

/// The main workloads with Apache Kafka.
fn kafka(stage: &Stage<'_>, brokers: i32) -> Result<Figures> {
    let upstream = stage.tools.kafka(brokers)?;
    let kinds = [
        Kind::Direct,
        Kind::Gateway,
        Kind::HaproxyPackaged,
        Kind::HaproxyTuned,
        Kind::Virtual,
    ];
    let relays = relays(stage, &upstream, &kinds)?;
    let workloads = main_workloads();
    for workload in &workloads {
        let firsthand = relays
            .iter()
            .filter(|relay| [Kind::Direct, Kind::Virtual].contains(&relay.kind));
        for relay in firsthand {
            workload.prepare(stage.tools, relay, upstream.replicas)?;
        }
    }
    stage.saturate(&relays, &workloads)
}
