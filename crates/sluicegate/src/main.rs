//! The `sluicegate` process: command line and wiring. What it wires together lives in the other crates.

mod cli;
mod client;
mod dev;
mod health;
mod identity;
mod logging;
mod physical;
mod resources;
mod run;
mod tenants;

use std::process::ExitCode;

use cli::Command;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::parse().command {
        Command::Run(args) if args.check_config => cli::check(args.env.env_file.as_deref()),
        Command::Run(args) => run::run(
            &args.env.source(),
            run::Greeting {
                configuration: true,
                ready: |_: &config::Config| {},
            },
        ),
        Command::Check(env) => cli::check(env.env_file.as_deref()),
        Command::Dev(args) => dev::run(&args),
        Command::Apply(args) => client::apply(&args),
        Command::Get(args) => client::get(&args),
        Command::Delete(args) => client::delete(&args),
        Command::Token(args) => client::token(&args),
        Command::Diff(args) => client::diff(&args),
        Command::Template(args) => client::template(&args),
        Command::Explain(args) => client::explain(&args),
        Command::Completion(args) => cli::completion(&args),
        Command::Man(args) => cli::man(&args),
        Command::Version => cli::version(),
    }
}
