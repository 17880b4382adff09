//! Arguments of the commands that speak to a running gateway.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use config::Secret;

use super::kind::Kind;

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    pub(crate) files: Files,
    /// Let the gateway check everything, but store nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Show what changes, secrets masked
    #[arg(long)]
    pub(crate) print_diff: bool,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    pub(crate) files: Files,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct Files {
    /// YAML file, directory of YAML files, or - for standard input; may be repeated
    #[arg(short = 'f', long = "file", value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    /// A kind, or all
    #[arg(value_parser = targets(), ignore_case = true, hide_possible_values = true)]
    pub(crate) kind: Target,
    /// Only what has this name
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Kind of what to delete
    #[arg(
        value_parser = kinds(),
        ignore_case = true,
        hide_possible_values = true,
        required_unless_present = "files",
        requires = "name"
    )]
    pub(crate) kind: Option<Kind>,
    /// Its name
    pub(crate) name: Option<String>,
    /// Delete what these files hold: YAML files, directories of them, or - for standard input
    #[arg(
        short = 'f',
        long = "file",
        value_name = "FILE",
        conflicts_with_all = ["kind", "vcluster", "group", "username", "global"]
    )]
    pub(crate) files: Vec<PathBuf>,
    /// Say what would be deleted, and what stands in the way, but delete nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Take what is not there for deleted
    #[arg(long)]
    pub(crate) ignore_not_found: bool,
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    /// Local service account that the token is for
    #[arg(long)]
    pub(crate) username: String,
    /// Virtual cluster of the account [default: passthrough]
    #[arg(long)]
    pub(crate) vcluster: Option<String>,
    /// How long the token is good for, such as 30m, 12h or 90d; without a unit it is seconds
    #[arg(long, value_parser = duration)]
    pub(crate) lifetime: Duration,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

#[derive(Debug, Args)]
pub(crate) struct TemplateArgs {
    /// A kind
    #[arg(value_parser = kinds(), ignore_case = true, hide_possible_values = true)]
    pub(crate) kind: Kind,
    /// How to print it
    #[arg(short, long, value_enum, default_value_t = Notation::Yaml)]
    pub(crate) output: Notation,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// A kind
    #[arg(value_parser = kinds(), ignore_case = true, hide_possible_values = true)]
    pub(crate) kind: Kind,
}

/// Which of those with a name, or of a list.
#[derive(Debug, Default, Args)]
pub(crate) struct Selection {
    /// Virtual cluster that it is in
    #[arg(long)]
    pub(crate) vcluster: Option<String>,
    /// Interceptors: those for this group
    #[arg(long)]
    pub(crate) group: Option<String>,
    /// Interceptors: those for this user
    #[arg(long)]
    pub(crate) username: Option<String>,
    /// Interceptors: those for everybody in all virtual clusters
    #[arg(long, conflicts_with_all = ["vcluster", "group", "username"])]
    pub(crate) global: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Connection {
    /// Admin port of the gateway [default: CDK_GATEWAY_BASE_URL, or else http://localhost:8888]
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// User of the admin port [default: CDK_GATEWAY_USER]
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Its password; others on this machine may see it here, better set CDK_GATEWAY_PASSWORD or use --password-file
    #[arg(long, value_parser = secret)]
    pub(crate) password: Option<Secret>,
    /// File whose first line is the password, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "password")]
    pub(crate) password_file: Option<PathBuf>,
    /// Certificates of the authorities to trust, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Accept any certificate of the gateway: whoever is in between can read the password
    #[arg(long, conflicts_with = "ca_file")]
    pub(crate) insecure: bool,
    /// Own certificate with its private key, for an admin port that asks for one
    #[arg(long, value_name = "FILE")]
    pub(crate) cert_file: Option<PathBuf>,
    /// How long each answer may take
    #[arg(long, value_parser = duration, default_value = "60s")]
    pub(crate) timeout: Duration,
}

/// What `get` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    All,
    Kind(Kind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// As apply takes it
    Yaml,
    /// An object for one resource that was named, else a list
    Json,
    /// The most important members, one line each
    Table,
    /// Kind/name, one line each
    Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Notation {
    Yaml,
    Json,
}

impl Selection {
    /// Refuses what has no meaning for this kind.
    pub(crate) fn check(&self, target: Target) -> Result<(), String> {
        let of_interceptors = self.group.is_some() || self.username.is_some() || self.global;
        match target {
            Target::All if self.vcluster.is_some() || of_interceptors => {
                Err("'get all' shows everything; ask for one kind to narrow it down".to_owned())
            }
            Target::Kind(kind) if kind.is_global() && self.vcluster.is_some() => {
                Err(format!("a {} is in no virtual cluster", kind.name()))
            }
            Target::Kind(kind) if kind != Kind::Interceptor && of_interceptors => {
                Err("--group, --username and --global are for interceptors only".to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn kinds() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new(Kind::ALL.map(possible)).try_map(|word| known(&word))
}

fn targets() -> impl TypedValueParser<Value = Target> {
    let all = PossibleValue::new("all");
    let values = Kind::ALL.map(possible).into_iter().chain([all]);
    PossibleValuesParser::new(values).try_map(|word| match word.eq_ignore_ascii_case("all") {
        true => Ok(Target::All),
        false => known(&word).map(Target::Kind),
    })
}

/// What completions offer and errors list; short names work, too.
fn possible(kind: Kind) -> PossibleValue {
    let also = [kind.plural(), kind.path()];
    let name = PossibleValue::new(kind.name()).aliases(also.into_iter().chain(kind.short()));
    match kind {
        Kind::Interceptor => name.alias("GatewayInterceptor"),
        _ => name,
    }
}

fn known(word: &str) -> Result<Kind, String> {
    Kind::meant(word).ok_or_else(|| format!("kinds are {}", Kind::names()))
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// A whole number with `s`, `m`, `h` or `d`, or without for seconds; at least one second.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit: u64 = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        _ => return Err("units are s, m, h and d, as in 90s or 12h".to_owned()),
    };
    let number: u64 = digits
        .parse()
        .map_err(|_| "must be a whole number and a unit, as in 90s or 12h".to_owned())?;
    match number.checked_mul(unit) {
        Some(0) => Err("must be at least one second".to_owned()),
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err("is too long".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("1", 1),
            ("90s", 90),
            ("30m", 1800),
            ("1h", 3600),
            ("2d", 172_800),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in [
            "",
            "h",
            "0",
            "0h",
            "-1h",
            "1.5h",
            "1w",
            "1h30m",
            "1 h",
            "999999999999999999d",
            "1é",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn selections_that_mean_nothing() {
        let vcluster = || Selection {
            vcluster: Some("v".to_owned()),
            ..Selection::default()
        };
        let global = || Selection {
            global: true,
            ..Selection::default()
        };
        assert!(vcluster().check(Target::Kind(Kind::AliasTopic)).is_ok());
        assert!(global().check(Target::Kind(Kind::Interceptor)).is_ok());
        assert!(Selection::default().check(Target::All).is_ok());
        assert!(vcluster().check(Target::Kind(Kind::GatewayGroup)).is_err());
        assert!(vcluster().check(Target::All).is_err());
        assert!(global().check(Target::Kind(Kind::AliasTopic)).is_err());
    }
}
