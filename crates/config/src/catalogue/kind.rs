//! What a setting accepts.

use std::net::{IpAddr, Ipv6Addr};

use regex::{Regex, RegexBuilder};

use crate::model::SecurityProtocol;

/// The type of a setting, with its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number within bounds.
    Int {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// A decimal number within bounds, given in thousandths.
    Decimal {
        /// Smallest value in thousandths.
        min: u32,
        /// Largest value in thousandths.
        max: u32,
    },
    /// One of several words, in any case.
    Word(&'static [&'static str]),
    /// Free text.
    Text,
    /// Letters, digits, `.`, `_` and `-`.
    Token,
    /// Items between separators.
    List(char),
    /// Never shown.
    Secret,
    /// A file.
    Path,
    /// `http`, `https` or `file` URL.
    Url,
    /// A host name or IP address.
    Host,
    /// Advertised and local ports.
    Ports,
    /// A Kafka topic name.
    Topic,
    /// A log level.
    Level,
    /// A regular expression that the whole of a name has to match.
    Pattern,
    /// YAML flow text that may hold secrets.
    Yaml,
}

/// Accepted log levels; `fatal` counts as `error`, `all` as `trace`.
pub(crate) const LEVELS: &[&str] = &[
    "off", "fatal", "error", "warn", "info", "debug", "trace", "all",
];

impl Kind {
    /// The whole range of ports.
    pub const PORT: Self = Self::Int {
        min: 1,
        max: 65_535,
    };
    /// A whole number from 0.
    pub const COUNT: Self = Self::Int {
        min: 0,
        max: i64::MAX,
    };
    /// A whole number from 1 that fits 32 bits.
    pub const POSITIVE: Self = Self::Int {
        min: 1,
        max: i32::MAX as i64,
    };
    /// The four security protocols.
    pub const PROTOCOL: Self = Self::Word(SecurityProtocol::WORDS);

    /// Checks a value that is not empty.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn check(self, value: &str) -> Result<(), String> {
        let value = value.trim();
        let good = match self {
            Self::Bool => value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"),
            Self::Int { min, max } => whole_number(value).is_some_and(|n| (min..=max).contains(&n)),
            Self::Decimal { min, max } => decimal(value)
                .is_some_and(|n| n >= f64::from(min) / 1000.0 && n <= f64::from(max) / 1000.0),
            Self::Word(words) => words.iter().any(|word| word.eq_ignore_ascii_case(value)),
            Self::Level => LEVELS.iter().any(|word| word.eq_ignore_ascii_case(value)),
            Self::Token => is_token(value),
            Self::Url => is_url(value),
            Self::Host => is_host(value),
            Self::Topic => is_topic(value),
            Self::Ports => return crate::ports::parse(value).map(|_| ()),
            Self::Path => !value.contains(['\0', '\n']) && !value.contains("-----BEGIN"),
            Self::Pattern => pattern(value).is_some(),
            Self::Text | Self::List(_) | Self::Secret | Self::Yaml => true,
        };
        if good { Ok(()) } else { Err(self.expected()) }
    }

    /// Whether a value may be echoed.
    pub fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::Yaml)
    }

    /// What to write instead, as in "expected ...".
    pub fn expected(self) -> String {
        match self {
            Self::Bool => "true or false".into(),
            Self::Int { min, max: i64::MAX } => format!("a whole number from {min}"),
            Self::Int { min, max } => format!("a whole number from {min} to {max}"),
            Self::Decimal { min, max } => {
                format!(
                    "a number from {} to {}",
                    f64::from(min) / 1000.0,
                    f64::from(max) / 1000.0
                )
            }
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Level => format!("one of {}", LEVELS.join(", ")),
            Self::Text => "text".into(),
            Self::Token => "letters, digits, '.', '_' and '-'".into(),
            Self::List(separator) => format!("a list separated by '{separator}'"),
            Self::Secret => "a secret".into(),
            Self::Path => "the path of a file".into(),
            Self::Url => "an http, https or file URL".into(),
            Self::Host => "a host name or an IP address".into(),
            Self::Ports => "ports as in 9092-9094 or 29092-29094:9092-9094,29100:9100".into(),
            Self::Topic => "a Kafka topic name: up to 249 letters, digits, '.', '_' and '-'".into(),
            Self::Yaml => "YAML flow text".into(),
            Self::Pattern => "a regular expression (of Rust's regex crate: without back references and look-around)".into(),
        }
    }

    /// The type as the documentation names it.
    pub(super) fn label(self) -> String {
        match self {
            Self::Bool => "bool".into(),
            Self::Int {
                min: i64::MIN,
                max: i64::MAX,
            } => "int".into(),
            Self::Int { min, max } if max == i64::MAX || max == i64::from(i32::MAX) => {
                format!("int ≥ {min}")
            }
            Self::Int { min, max } => format!("int {min}–{max}"),
            Self::Decimal { min, max } => format!(
                "number {}–{}",
                f64::from(min) / 1000.0,
                f64::from(max) / 1000.0
            ),
            Self::Word(words) => words
                .iter()
                .map(|word| format!("`{word}`"))
                .collect::<Vec<_>>()
                .join(", "),
            Self::Text => "text".into(),
            Self::Token => "text `[A-Za-z0-9._-]+`".into(),
            Self::List(separator) => format!("list `{separator}`"),
            Self::Secret => "secret".into(),
            Self::Path => "path".into(),
            Self::Url => "URL".into(),
            Self::Host => "host".into(),
            Self::Ports => "port specification".into(),
            Self::Topic => "topic".into(),
            Self::Level => "level".into(),
            Self::Yaml => "YAML".into(),
            Self::Pattern => "regular expression".into(),
        }
    }
}

/// A pattern that the whole of a name has to match.
pub(crate) fn pattern(text: &str) -> Option<Regex> {
    const MAX_BYTES: usize = 1 << 20;
    let whole = format!("^(?:{})$", text.trim());
    RegexBuilder::new(&whole).size_limit(MAX_BYTES).build().ok()
}

/// Decimal digits with an optional leading `-`; blanks around are trimmed.
pub(crate) fn whole_number(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Digits with an optional fraction; no exponent, no words.
pub(crate) fn decimal(text: &str) -> Option<f64> {
    let text = text.trim();
    if !text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    text.parse().ok()
}

/// Items trimmed, empty ones dropped.
pub(crate) fn list(text: &str, separator: char) -> Vec<String> {
    text.split(separator)
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(String::from)
        .collect()
}

pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// An IP address, or labels of at most 63 and 253 bytes in all. `_` is let through: container networks use it.
pub(crate) fn is_host(text: &str) -> bool {
    if text.parse::<IpAddr>().is_ok() || is_scoped(text) {
        return true;
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    !name.is_empty() && name.len() <= 253 && name.split('.').all(is_label)
}

/// An IPv6 address with the interface that it belongs to (RFC 4007), as in `fe80::1%eth0`.
fn is_scoped(text: &str) -> bool {
    text.split_once('%')
        .is_some_and(|(address, scope)| address.parse::<Ipv6Addr>().is_ok() && is_token(scope))
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn is_url(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let blank = text.chars().any(|c| c.is_whitespace() || c.is_control());
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => {
            rest.strip_prefix("//")
                .is_some_and(|host| !host.is_empty() && !host.starts_with('/'))
                && !blank
        }
        "file" => !rest.trim_start_matches('/').is_empty(),
        _ => false,
    }
}

fn is_topic(text: &str) -> bool {
    is_token(text) && text.len() <= 249 && text != "." && text != ".."
}
