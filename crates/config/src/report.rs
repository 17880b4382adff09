//! What is wrong with a configuration, and what is worth a log line.

use std::fmt;

use crate::settings::without_credentials;

/// Exit status of a process that refused its configuration (`EX_CONFIG` of sysexits).
pub const EXIT_CODE: u8 = 78;

/// Longest value echoed in a message, in characters.
const MAX_ECHO: usize = 200;

/// Every problem of one configuration, collected. `Display` prints one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    problems: Vec<Problem>,
}

impl Report {
    /// The problems, in the order in which they were found.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Adds a problem. Problems found only after Kafka answered take the same shape.
    pub fn push(&mut self, problem: Problem) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Adds a hint to the problems that the setting `name` is missing.
    pub(crate) fn hint_at_unset(&mut self, name: &str, hint: &str) {
        for problem in &mut self.problems {
            let is_about = |named: &Named| named.name == name && named.shown == Shown::Unset;
            if problem.settings.first().is_some_and(is_about) {
                let hints = problem.hint.iter().map(String::as_str).chain([hint]);
                problem.hint = Some(hints.collect::<Vec<_>>().join(" "));
            }
        }
    }

    /// The exit status that goes with a report, [`EXIT_CODE`].
    pub fn exit_code(&self) -> u8 {
        EXIT_CODE
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Report {}

/// One thing that keeps the process from starting:
/// `Invalid configuration: <VARIABLE>=<value>: expected <what>. <hint>`, or `...: <what happened>. <hint>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    settings: Vec<Named>,
    what: String,
    hint: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    name: String,
    shown: Shown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Shown {
    Value(String),
    Nothing,
    Unset,
}

impl Problem {
    /// A value that is not what the setting takes.
    pub fn value(name: impl Into<String>, value: &str, expected: impl Into<String>) -> Self {
        Self::new(name, Shown::Value(printable(value)), expected)
    }

    /// A problem with a value that must not be shown, or with the setting as such.
    pub fn named(name: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::new(name, Shown::Nothing, expected)
    }

    /// A value that looks well and turned out to be of no use: `what` happened when it was used.
    pub fn unusable(name: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            ..Self::new(name, Shown::Nothing, "")
        }
    }

    /// A setting that is needed and missing.
    pub fn unset(name: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::new(name, Shown::Unset, expected)
    }

    /// Names a further setting involved, with its value.
    pub fn with(mut self, name: impl Into<String>, value: &str) -> Self {
        self.settings.push(Named {
            name: name.into(),
            shown: Shown::Value(printable(value)),
        });
        self
    }

    /// Names a further setting involved that is not set.
    pub fn with_unset(mut self, name: impl Into<String>) -> Self {
        self.settings.push(Named {
            name: name.into(),
            shown: Shown::Unset,
        });
        self
    }

    /// Adds how to put it right: a sentence with its full stop.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn new(name: impl Into<String>, shown: Shown, expected: impl Into<String>) -> Self {
        Self {
            settings: vec![Named {
                name: name.into(),
                shown,
            }],
            what: format!("expected {}", expected.into()),
            hint: None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Invalid configuration: ")?;
        for (i, setting) in self.settings.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            f.write_str(&setting.name)?;
            match &setting.shown {
                Shown::Value(value) => write!(f, "={value}")?,
                Shown::Unset => f.write_str(" (not set)")?,
                Shown::Nothing => {}
            }
        }
        write!(f, ": {}.", self.what)?;
        match &self.hint {
            Some(hint) => write!(f, " {hint}"),
            None => Ok(()),
        }
    }
}

/// How loud a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeLevel {
    /// Something an operator should change or know.
    Warn,
    /// What was found.
    Info,
    /// Detail.
    Debug,
}

/// A line to log once logging is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// How loud.
    pub level: NoticeLevel,
    /// One line, safe to print.
    pub text: String,
}

impl Notice {
    pub(crate) fn warn(text: impl Into<String>) -> Self {
        Self {
            level: NoticeLevel::Warn,
            text: text.into(),
        }
    }

    pub(crate) fn info(text: impl Into<String>) -> Self {
        Self {
            level: NoticeLevel::Info,
            text: text.into(),
        }
    }

    pub(crate) fn debug(text: impl Into<String>) -> Self {
        Self {
            level: NoticeLevel::Debug,
            text: text.into(),
        }
    }
}

/// A value from outside as one printable, bounded piece of a line, without what may be a credential.
pub(crate) fn printable(value: &str) -> String {
    let value = without_credentials(value);
    let mut out = String::new();
    for (i, c) in value.chars().enumerate() {
        if i == MAX_ECHO {
            out.push('…');
            break;
        }
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_problem() {
        let mut report = Report::default();
        report.push(
            Problem::value("GATEWAY_A", "x\ny", "a number")
                .with("GATEWAY_B", "2")
                .with_unset("GATEWAY_C")
                .hint("Set it."),
        );
        report.push(Problem::named("GATEWAY_SECRET", "base64"));
        report.push(Problem::unusable("GATEWAY_FILE", "the password is wrong"));
        assert_eq!(
            report.to_string(),
            "Invalid configuration: GATEWAY_A=x\\ny, GATEWAY_B=2, GATEWAY_C (not set): expected a number. Set it.\n\
             Invalid configuration: GATEWAY_SECRET: expected base64.\n\
             Invalid configuration: GATEWAY_FILE: the password is wrong."
        );
        assert_eq!(report.exit_code(), 78);
    }

    #[test]
    fn echoed_values_are_bounded() {
        assert_eq!(printable(&"a".repeat(1000)).chars().count(), MAX_ECHO + 1);
    }
}
