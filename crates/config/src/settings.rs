//! The merged values, seen through the catalogue.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;

use crate::catalogue::{Setting, decimal, list, pattern, whole_number};
use crate::report::{Notice, Problem, Report};
use crate::secret::{MASK, Secret};

/// Set values by the name of their setting, with the variable each came from; and what was found while reading them.
///
/// Values are checked once, by [`Settings::check`]; readers then fall back to the default for a value that is wrong, because the
/// report already names it.
#[derive(Default)]
pub(crate) struct Settings {
    values: BTreeMap<String, Value>,
}

struct Value {
    variable: String,
    text: String,
}

/// Problems and notices, as they are found.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) report: Report,
    pub(crate) notices: Vec<Notice>,
    /// Variables that nobody knows, each with the known one that it is close to.
    pub(crate) misspelt: Vec<(String, String)>,
}

impl Findings {
    pub(crate) fn problem(&mut self, problem: Problem) {
        self.report.push(problem);
    }

    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        self.notices.push(Notice::warn(text));
    }

    /// Warns of a name that was probably meant to be another one.
    pub(crate) fn misspelt(&mut self, name: &str, known: impl Into<String>) {
        let known = known.into();
        self.warn(format!(
            "{name} is not a known setting and is ignored; did you mean {known}?"
        ));
        self.misspelt.push((name.to_owned(), known));
    }

    /// Where a setting is missing, names the variable that was probably meant for it: warnings are not seen beside a report.
    pub(crate) fn hint_at_misspelt(&mut self) {
        for (name, known) in &self.misspelt {
            self.report.hint_at_unset(
                known,
                &format!("{name} is set, which is not a known setting."),
            );
        }
    }

    pub(crate) fn info(&mut self, text: impl Into<String>) {
        self.notices.push(Notice::info(text));
    }

    pub(crate) fn debug(&mut self, text: impl Into<String>) {
        self.notices.push(Notice::debug(text));
    }
}

impl Settings {
    /// Sets `name`, as given by `variable`; a later call wins.
    pub(crate) fn set(&mut self, name: &str, variable: impl Into<String>, text: impl Into<String>) {
        self.values.insert(
            name.to_owned(),
            Value {
                variable: variable.into(),
                text: text.into(),
            },
        );
    }

    /// Checks the value of `setting`, if it is set, against its type and range.
    pub(crate) fn check(&self, setting: &Setting, findings: &mut Findings) {
        let Some(value) = self
            .values
            .get(setting.name)
            .filter(|value| !value.text.is_empty())
        else {
            return;
        };
        if let Err(expected) = setting.kind.check(&value.text) {
            findings.problem(self.problem(setting, expected));
        }
    }

    /// The raw value; an empty one is `None`.
    pub(crate) fn text(&self, setting: &Setting) -> Option<&str> {
        self.values
            .get(setting.name)
            .map(|value| value.text.as_str())
            .filter(|text| !text.is_empty())
    }

    /// Whether the setting is given as an empty text, which matters for one property.
    pub(crate) fn is_empty_text(&self, setting: &Setting) -> bool {
        self.values
            .get(setting.name)
            .is_some_and(|value| value.text.is_empty())
    }

    /// The value or its default.
    pub(crate) fn text_or_default(&self, setting: &Setting) -> String {
        self.text(setting)
            .unwrap_or(setting.default_text())
            .trim()
            .to_owned()
    }

    /// The value if it is set and right, else the default; `None` without a fixed default.
    pub(crate) fn int(&self, setting: &Setting) -> Option<i64> {
        let given = self
            .text(setting)
            .filter(|text| setting.kind.check(text).is_ok());
        given
            .and_then(whole_number)
            .or_else(|| whole_number(setting.default_text()))
    }

    /// As [`Settings::int`], as any integer that the setting's range fits.
    pub(crate) fn number<T: TryFrom<i64>>(&self, setting: &Setting) -> Option<T> {
        self.int(setting).and_then(|n| T::try_from(n).ok())
    }

    /// A time in milliseconds; 0 without a default.
    pub(crate) fn millis(&self, setting: &Setting) -> Duration {
        Duration::from_millis(self.number(setting).unwrap_or(0))
    }

    /// A time in seconds; 0 without a default.
    pub(crate) fn seconds(&self, setting: &Setting) -> Duration {
        Duration::from_secs(self.number(setting).unwrap_or(0))
    }

    /// A decimal number; 0 without a default.
    pub(crate) fn decimal(&self, setting: &Setting) -> f64 {
        let given = self
            .text(setting)
            .filter(|text| setting.kind.check(text).is_ok());
        given
            .and_then(decimal)
            .or_else(|| decimal(setting.default_text()))
            .unwrap_or(0.0)
    }

    /// `None` when it is not set, or wrong, and has no default.
    pub(crate) fn flag(&self, setting: &Setting) -> Option<bool> {
        let read = |text: &str| match text.trim() {
            word if word.eq_ignore_ascii_case("true") => Some(true),
            word if word.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        };
        self.text(setting)
            .and_then(read)
            .or_else(|| read(setting.default_text()))
    }

    /// One word, read by `parse`, falling back to the default.
    pub(crate) fn word<T>(
        &self,
        setting: &Setting,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        self.text(setting)
            .and_then(|text| parse(text.trim()))
            .or_else(|| parse(setting.default_text()))
    }

    /// The items of a list, or of its default.
    pub(crate) fn items(&self, setting: &Setting, separator: char) -> Vec<String> {
        list(
            self.text(setting).unwrap_or(setting.default_text()),
            separator,
        )
    }

    /// A pattern, or its default.
    pub(crate) fn pattern(&self, setting: &Setting) -> Option<Regex> {
        let given = self.text(setting).and_then(pattern);
        given.or_else(|| pattern(Some(setting.default_text()).filter(|text| !text.is_empty())?))
    }

    /// A secret, exactly as given.
    pub(crate) fn secret(&self, setting: &Setting) -> Option<Secret> {
        self.text(setting).map(Secret::new)
    }

    /// A path, exactly as given.
    pub(crate) fn path(&self, setting: &Setting) -> Option<PathBuf> {
        self.text(setting).map(PathBuf::from)
    }

    /// The variable a setting was given by.
    pub(crate) fn variable(&self, setting: &Setting) -> Option<&str> {
        self.values
            .get(setting.name)
            .map(|value| value.variable.as_str())
    }

    /// Names that are set.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values
            .iter()
            .map(|(name, value)| (name.as_str(), value.variable.as_str()))
    }

    /// A problem with the value of a setting; a secret's value is left out.
    pub(crate) fn problem(&self, setting: &Setting, expected: impl Into<String>) -> Problem {
        match self.values.get(setting.name) {
            None => Problem::unset(setting.name, expected),
            Some(value) if setting.kind.is_secret() => Problem::named(&value.variable, expected),
            Some(value) => Problem::value(&value.variable, &value.text, expected),
        }
    }
}

/// A value for a message or a listing. Of what looks like a URL, whatever may be `user:password@`, query or fragment is left out; of
/// what speaks of passwords, or is a PEM text in place of a file name, nothing is shown.
pub(crate) fn without_credentials(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    if [
        "password=",
        "password =",
        "password:",
        "secret=",
        "-----begin",
    ]
    .iter()
    .any(|sign| lower.contains(sign))
    {
        return MASK.to_owned();
    }
    let Some((scheme, rest)) = text.split_once("//") else {
        return text.to_owned();
    };
    // A password may hold any character, if the URL was not written by the rules.
    let (before, rest) = match rest.rfind('@') {
        Some(at) => (MASK, rest.get(at..).unwrap_or_default()),
        None => ("", rest),
    };
    let end = rest.find(['?', '#']);
    let (rest, after) = match end {
        Some(at) => (rest.get(..=at).unwrap_or_default(), MASK),
        None => (rest, ""),
    };
    format!("{scheme}//{before}{rest}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_a_url_are_not_shown() {
        for (given, shown) in [
            ("https://host/x", "https://host/x"),
            ("https://u:p@host/x", "https://********@host/x"),
            ("https://u:p/q?r#s@host/x", "https://********@host/x"),
            ("https://host/x?key=1&b", "https://host/x?********"),
            ("https://u@host/x#f", "https://********@host/x#********"),
            ("//u:p@host", "//********@host"),
            ("plain@text", "plain@text"),
            ("LoginModule required Password=x;", "********"),
            ("-----BEGIN PRIVATE KEY-----", "********"),
        ] {
            assert_eq!(without_credentials(given), shown);
        }
    }
}
