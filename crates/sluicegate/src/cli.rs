//! The command line, and what `check` does.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::error::{ContextKind, ContextValue};
use clap::{Args, Parser, Subcommand};
use config::{Loaded, NoticeLevel, Report, Source};

use crate::client::{
    ApplyArgs, DeleteArgs, DiffArgs, ExplainArgs, GetArgs, Kind, TemplateArgs, TokenArgs,
};
use crate::identity::Identities;
use crate::{logging, run};

/// A Kafka gateway: routes, authenticates, isolates and shows what happens.
#[derive(Debug, Parser)]
#[command(
    name = "sluicegate",
    version = VERSION.as_str(),
    after_help = "Set CDK_GATEWAY_BASE_URL, CDK_GATEWAY_USER and CDK_GATEWAY_PASSWORD for the commands that ask a running gateway.",
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
    #[command(after_help = examples(&[
        "sluicegate apply -f team.yaml",
        "sluicegate apply -f resources/ --dry-run --print-diff",
        "sluicegate template AliasTopic | sluicegate apply -f -",
    ]))]
    Apply(ApplyArgs),
    /// Show what applying YAML would change: 0 if nothing, 1 if something, 2 if that cannot be said
    #[command(after_help = examples(&["sluicegate diff -f team.yaml"]))]
    Diff(DiffArgs),
    /// Print resources of a running gateway
    #[command(after_help = examples(&[
        "sluicegate get all",
        "sluicegate get accounts --vcluster billing -o table",
        "sluicegate get Interceptor cap-partitions --username alice",
    ]))]
    Get(GetArgs),
    /// Delete resources of a running gateway
    #[command(after_help = examples(&[
        "sluicegate delete alias orders --vcluster billing",
        "sluicegate delete Interceptor cap-partitions --username alice",
        "sluicegate delete -f team.yaml --dry-run",
    ]))]
    Delete(DeleteArgs),
    /// Print a token, the password of a local service account
    #[command(
        after_help = "Example:\n  sluicegate token --vcluster billing --username alice --lifetime 90d"
    )]
    Token(TokenArgs),
    /// Print a resource of a kind to begin with; asks no gateway
    #[command(after_help = examples(&["sluicegate template VirtualCluster > billing.yaml"]))]
    Template(TemplateArgs),
    /// Print the members of a kind and what they mean; asks no gateway
    #[command(after_help = examples(&["sluicegate explain vc"]))]
    Explain(ExplainArgs),
    /// Print a script that completes commands in a shell
    #[command(
        after_help = "Examples:\n  source <(sluicegate completion bash)\n  sluicegate completion zsh > \"${fpath[1]}/_sluicegate\"\n  \
        sluicegate completion fish > ~/.config/fish/completions/sluicegate.fish"
    )]
    Completion(CompletionArgs),
    /// Print the manual page, or write those of all commands into a directory
    #[command(
        after_help = "Examples:\n  sluicegate man | man -l -\n  sluicegate man /usr/local/share/man/man1"
    )]
    Man(ManArgs),
    /// Print version, build time and commit
    Version,
}

/// What `--version` prints after the name.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let build = admin::BuildInfo::of_this_build(env!("CARGO_PKG_VERSION"));
    format!(
        "{} (commit {}, built {})",
        build.product_version, build.commit, build.time
    )
});

#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    /// Which shell
    shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// An existing directory
    directory: Option<PathBuf>,
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

/// Reads the command line, or ends the process: with help, or with what is wrong.
pub(crate) fn parse() -> Cli {
    Cli::try_parse().unwrap_or_else(|error| without_delete(error).exit())
}

/// Prints name, version, build time and commit.
pub(crate) fn version() -> ExitCode {
    println!("sluicegate {}", VERSION.as_str());
    ExitCode::SUCCESS
}

/// Prints a completion script.
pub(crate) fn completion(args: &CompletionArgs) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "sluicegate", &mut script);
    written(std::io::Write::write_all(
        &mut std::io::stdout().lock(),
        &script,
    ))
}

/// Prints the manual page, or writes all of them.
pub(crate) fn man(args: &ManArgs) -> ExitCode {
    written(match &args.directory {
        None => clap_mangen::Man::new(command()).render(&mut std::io::stdout().lock()),
        Some(directory) => clap_mangen::generate_to(command(), directory),
    })
}

fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// 0, also if nobody reads it any more; 1 with a message if it cannot be written.
fn written(outcome: std::io::Result<()>) -> ExitCode {
    match outcome {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// The error without the hint that `delete` was meant: whoever takes hints without reading them must not lose anything.
fn without_delete(mut error: clap::Error) -> clap::Error {
    let kind = ContextKind::SuggestedSubcommand;
    let left = match error.remove(kind) {
        Some(ContextValue::Strings(mut names)) => {
            names.retain(|name| name != "delete");
            (!names.is_empty()).then_some(ContextValue::Strings(names))
        }
        Some(ContextValue::String(name)) if name == "delete" => None,
        other => other,
    };
    if let Some(left) = left {
        error.insert(kind, left);
    }
    error
}

/// The kinds and examples, after the options.
fn examples(lines: &[&str]) -> String {
    let examples: String = lines.iter().map(|line| format!("\n  {line}")).collect();
    format!("{}\n\nExamples:{examples}", Kind::table())
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
    fn a_typo_never_suggests_to_delete() {
        for typo in ["delte", "deleet", "deletee", "dlete", "delate", "Delete"] {
            let error = Cli::try_parse_from(["sluicegate", typo, "x"]).unwrap_err();
            let error = without_delete(error).to_string();
            assert!(
                error.contains(typo) && !error.contains("'delete'"),
                "{error}"
            );
        }
        let error = Cli::try_parse_from(["sluicegate", "aply"]).unwrap_err();
        assert!(without_delete(error).to_string().contains("'apply'"));
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
            "apply -f a --dry-run --print-diff",
            "diff -f a -f b",
            "get vclusters -o name",
            "get GatewayInterceptor x",
            "delete alias x --dry-run --ignore-not-found",
            "delete -f a --dry-run",
            "template sa -o json",
            "explain Interceptors",
            "completion zsh",
            "man",
            "man dir",
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
            "diff",
            "template",
            "template all",
            "explain Topic",
            "completion",
            "completion tcsh",
            "get all -o xyz",
            "token --username u",
            "token --lifetime 1h",
            "token --username u --lifetime soon",
        ] {
            let words = std::iter::once("sluicegate").chain(line.split_terminator(' '));
            assert!(Cli::try_parse_from(words).is_err(), "{line}");
        }
    }
}
