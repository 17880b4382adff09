//! Which gateway, and as whom: from arguments and the environment.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::Secret;

use super::args::Connection;
use super::resource::is_stdin;

const DEFAULT_URL: &str = "http://localhost:8888";

/// Longest password that is read from a file, bytes.
const MAX_PASSWORD_BYTES: u64 = 64 << 10;

/// Everything a connection needs.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) password: Secret,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) cert_file: Option<PathBuf>,
    pub(crate) insecure: bool,
    pub(crate) timeout: Duration,
}

impl Settings {
    /// Arguments win over the environment.
    ///
    /// # Errors
    /// What is missing or cannot be read.
    pub(crate) fn of(
        connection: &Connection,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let or_set = |argument: &Option<String>, name: &str| {
            let value = argument.clone().or_else(|| environment(name));
            value.filter(|value| !value.is_empty())
        };
        let user = or_set(&connection.user, "CDK_GATEWAY_USER")
            .ok_or("no user given: use --user, or set CDK_GATEWAY_USER")?;
        if user.contains(':') {
            return Err("the user must not contain a colon".to_owned());
        }
        let given = connection.password.clone().or_else(|| {
            let file = connection.password_file.is_some();
            let variable = (!file).then(|| environment("CDK_GATEWAY_PASSWORD"));
            let set = variable.flatten().filter(|value| !value.is_empty());
            set.map(Secret::new)
        });
        let password = match (given, &connection.password_file) {
            (Some(password), _) => password,
            (None, Some(file)) => password_in(file).map_err(|error| {
                format!("cannot read the password from {}: {error}", file.display())
            })?,
            (None, None) => {
                return Err(
                    "no password given: set CDK_GATEWAY_PASSWORD, or use --password-file"
                        .to_owned(),
                );
            }
        };
        Ok(Self {
            url: or_set(&connection.url, "CDK_GATEWAY_BASE_URL")
                .unwrap_or_else(|| DEFAULT_URL.to_owned()),
            user,
            password,
            ca_file: connection.ca_file.clone(),
            cert_file: connection.cert_file.clone(),
            insecure: connection.insecure,
            timeout: connection.timeout,
        })
    }
}

fn password_in(file: &Path) -> std::io::Result<Secret> {
    if is_stdin(file) {
        first_line(std::io::stdin().lock())
    } else {
        first_line(std::fs::File::open(file)?)
    }
}

fn first_line(source: impl Read) -> std::io::Result<Secret> {
    let mut line = String::new();
    BufReader::new(source.take(MAX_PASSWORD_BYTES)).read_line(&mut line)?;
    match line.trim_end_matches(['\r', '\n']) {
        "" => Err(std::io::Error::other("the first line is empty")),
        password => Ok(Secret::new(password)),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        connection: Connection,
    }

    fn settings(line: &[&str], environment: &[(&str, &str)]) -> Result<Settings, String> {
        let words = std::iter::once(&"x").chain(line);
        Settings::of(&Line::parse_from(words).connection, |name| {
            let variable = environment.iter().find(|(known, _)| *known == name);
            variable.map(|(_, value)| (*value).to_owned())
        })
    }

    const ENVIRONMENT: [(&str, &str); 3] = [
        ("CDK_GATEWAY_BASE_URL", "http://env:1"),
        ("CDK_GATEWAY_USER", "env-user"),
        ("CDK_GATEWAY_PASSWORD", "env-password"),
    ];

    #[test]
    fn arguments_win() {
        let of_env = settings(&[], &ENVIRONMENT).unwrap();
        assert_eq!(of_env.url, "http://env:1");
        assert_eq!(of_env.user, "env-user");
        assert_eq!(of_env.password.expose(), "env-password");
        let line = ["--url", "http://arg:1", "--user", "u", "--password", "p"];
        let of_line = settings(&line, &ENVIRONMENT).unwrap();
        assert_eq!(of_line.url, "http://arg:1");
        assert_eq!(of_line.user, "u");
        assert_eq!(of_line.password.expose(), "p");
        assert!(!format!("{of_line:?}").contains("\"p\""));
    }

    #[test]
    fn what_is_missing_is_named() {
        let line = ["--user", "u", "--password", "p"];
        assert_eq!(settings(&line, &[]).unwrap().url, DEFAULT_URL);
        let missing = settings(&["--password", "p"], &[]).unwrap_err();
        assert!(missing.contains("CDK_GATEWAY_USER"), "{missing}");
        let missing = settings(&["--user", "u"], &[]).unwrap_err();
        assert!(missing.contains("CDK_GATEWAY_PASSWORD"), "{missing}");
        assert!(settings(&["--user", "a:b", "--password", "p"], &[]).is_err());
        let empty = [("CDK_GATEWAY_USER", ""), ("CDK_GATEWAY_PASSWORD", "p")];
        assert!(settings(&[], &empty).is_err());
        let empty = [("CDK_GATEWAY_USER", "u"), ("CDK_GATEWAY_PASSWORD", "")];
        assert!(settings(&[], &empty).is_err());
    }

    #[test]
    fn a_password_file_wins_over_the_environment() {
        let error = settings(&["--password-file", "/nowhere/p"], &ENVIRONMENT).unwrap_err();
        assert!(error.contains("/nowhere/p"), "{error}");
    }

    #[test]
    fn the_first_line_is_the_password() {
        for text in ["secret", "secret\n", "secret\r\n", "secret\nmore"] {
            assert_eq!(first_line(text.as_bytes()).unwrap().expose(), "secret");
        }
        assert!(first_line(&b"\nx"[..]).is_err());
    }
}
