//! Runs of the program.

use std::io::Write;
use std::process::{Command, Stdio};

use testkit::{Error, Result};

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A run to be, against one gateway.
pub(crate) struct Program {
    url: String,
    user: String,
    password: String,
}

impl Program {
    pub(crate) fn new(url: &str, user: &str, password: &str) -> Program {
        Program {
            url: url.to_owned(),
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    /// Settings by the environment, nothing on standard input.
    pub(crate) fn run(&self, args: &[&str]) -> Result<Run> {
        self.run_with(args, "")
    }

    /// Settings by the environment.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> Result<Run> {
        self.run_in(args, &[], input)
    }

    /// Settings by the environment, which has these variables as well.
    pub(crate) fn run_in(
        &self,
        args: &[&str],
        variables: &[(&str, &str)],
        input: &str,
    ) -> Result<Run> {
        let environment = [
            ("CDK_GATEWAY_BASE_URL", self.url.as_str()),
            ("CDK_GATEWAY_USER", &self.user),
            ("CDK_GATEWAY_PASSWORD", &self.password),
        ];
        run(args, &[&environment, variables].concat(), input)
    }

    /// What a run prints that ends well and has nothing to complain of.
    pub(crate) fn output(&self, args: &[&str], input: &str) -> Result<String> {
        let run = self.run_with(args, input)?;
        if run.status == 0 && run.err.is_empty() {
            return Ok(run.out);
        }
        Err(Error::Violated(format!("{args:?}: {run:?}")))
    }
}

/// Runs the program with only these variables of its own.
pub(crate) fn run(args: &[&str], environment: &[(&str, &str)], input: &str) -> Result<Run> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
    for name in ["BASE_URL", "USER", "PASSWORD"] {
        command.env_remove(format!("CDK_GATEWAY_{name}"));
    }
    let mut child = command
        .args(args)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::io("start the program"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // It need not read what it has no use for.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child
        .wait_with_output()
        .map_err(Error::io("wait for the program"))?;
    Ok(Run {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}
