//! The command line, and what `check` does.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use config::{Loaded, NoticeLevel, Report, Source};

use crate::client::{ApplyArgs, DeleteArgs, GetArgs, TokenArgs};
use crate::identity::Identities;
use crate::{logging, run};

/// A Kafka gateway: routes, authenticates, isolates and shows what happens.
#[derive(Debug, Parser)]
#[command(
    name = "sluicegate",
    arg_required_else_help = true,
    subcommand_required = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway, configured by the environment
    Run(RunArgs),
    /// Validate the configuration and print the effective one, secrets masked
    Check(EnvFile),
    /// Run small in-memory brokers with the gateway in front, for trying out
    Dev(DevArgs),
    /// Create or replace resources of a running gateway from YAML
    Apply(ApplyArgs),
    /// Print resources of a running gateway
    Get(GetArgs),
    /// Delete resources of a running gateway
    Delete(DeleteArgs),
    /// Print a token, the password of a local service account
    Token(TokenArgs),
    /// Print version, build time and commit
    Version,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) env: EnvFile,
    /// Only validate the configuration and print the effective one, as `check` does
    #[arg(long)]
    pub(crate) check_config: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    #[command(flatten)]
    pub(crate) env: EnvFile,
    /// Number of in-memory brokers
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) brokers: u8,
}

#[derive(Debug, Args)]
pub(crate) struct EnvFile {
    /// File with lines KEY=value that win over the environment [default: the one named by GATEWAY_ENV_FILE]
    #[arg(long, value_name = "FILE")]
    pub(crate) env_file: Option<PathBuf>,
}

impl EnvFile {
    /// Process environment, env file and configuration file.
    pub(crate) fn source(&self) -> Source {
        source(self.env_file.as_deref())
    }
}

/// Validates the configuration, key material included; prints notices to standard error, the effective configuration to
/// standard output. 0 or 78.
pub(crate) fn check(env_file: Option<&Path>) -> ExitCode {
    let loaded = match load(&source(env_file)) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    if let Err(report) = run::upstream_auth(&loaded.config.upstream.main) {
        eprintln!("{report}");
        return ExitCode::from(report.exit_code());
    }
    if let Err(report) = Identities::new(&loaded.config) {
        eprintln!("{report}");
        return ExitCode::from(report.exit_code());
    }
    for notice in &loaded.notices {
        match notice.level {
            NoticeLevel::Warn => eprintln!("WARN  {}", notice.text),
            NoticeLevel::Info => eprintln!("INFO  {}", notice.text),
            NoticeLevel::Debug => {}
        }
    }
    print!("{}", config::effective_yaml(&loaded.config));
    ExitCode::SUCCESS
}

/// Loads the configuration, or prints every problem to standard error and gives the exit status, 78.
pub(crate) fn load(source: &Source) -> Result<Loaded, ExitCode> {
    let report = match config::load(source) {
        Ok(loaded) => match logging::time_format_problem(&loaded.config.logging) {
            None => return Ok(loaded),
            Some(problem) => {
                let mut report = Report::default();
                report.push(problem);
                report
            }
        },
        Err(report) => report,
    };
    eprintln!("{report}");
    Err(ExitCode::from(report.exit_code()))
}

fn source(env_file: Option<&Path>) -> Source {
    env_file.map_or_else(Source::from_env, Source::from_env_and_file)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands() {
        for line in [
            "run",
            "run --env-file f --check-config",
            "check --env-file f",
            "dev",
            "dev --brokers 1 --env-file f",
            "version",
            "apply -f a.yaml -f dir --dry-run --url http://x --user u --password p",
            "apply -f - --password-file p --ca-file c --cert-file d --timeout 5s",
            "get all -o table",
            "get virtualcluster x -o json --insecure",
            "get Interceptor --global",
            "get Interceptor x --vcluster v --username u",
            "delete AliasTopic x --vcluster v",
            "delete -f a.yaml -f -",
            "delete Interceptor x --global",
            "token --username u --vcluster v --lifetime 1h",
        ] {
            let words = std::iter::once("sluicegate").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
        for line in [
            "",
            "dev --brokers 0",
            "dev --brokers 10",
            "nonsense",
            "check --check-config",
            "apply",
            "apply -f a --insecure --ca-file c",
            "apply -f a --password p --password-file q",
            "apply -f a --timeout 0",
            "get",
            "get Topic",
            "get all -o xml",
            "get Interceptor --global --vcluster v",
            "delete",
            "delete AliasTopic",
            "delete Topic x",
            "delete all x",
            "delete AliasTopic x -f a",
            "delete -f a --vcluster v",
            "token --username u",
            "token --lifetime 1h",
            "token --username u --lifetime soon",
        ] {
            let words = std::iter::once("sluicegate").chain(line.split_terminator(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
