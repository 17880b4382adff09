//! What the gateway costs, next to plain relays: one program that is load generator, broker and conductor.
//!
//! See `docs/performance.md`; `bench/run` is the way to start it.

mod broker;
mod counts;
mod cpu;
mod crowd;
mod dev_broker;
mod frames;
mod load;
mod net;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Anything that ends a measurement.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;
/// What can fail.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Parser)]
#[command(about, version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A broker that answers from memory.
    Broker(broker::Args),
    /// Sends requests and measures.
    Load(load::Args),
    /// `devbroker` in benchmark mode.
    DevBroker(dev_broker::Args),
    /// Opens many connections.
    Crowd(crowd::Args),
    /// Counts instructions per request.
    Counts(counts::Args),
    /// Samples where CPU time goes.
    Profile(run::profile::Args),
    /// Measures everything and writes a report.
    Run(run::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Broker(args) => broker::run(&args),
        Command::Load(args) => load::run(args),
        Command::DevBroker(args) => dev_broker::run(&args),
        Command::Crowd(args) => crowd::run(args),
        Command::Counts(args) => counts::run(&args),
        Command::Profile(args) => run::profile::run(&args),
        Command::Run(args) => run::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sluicegate-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
