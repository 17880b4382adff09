//! Why a call did not do what was asked.

use std::fmt;

use auth::http::HttpError;
use serde::Deserialize;

/// Longest part of an answer that is shown when it is not the JSON of this API.
const MAX_SHOWN: usize = 200;

/// Why a call did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The request cannot be made.
    NotSent(String),
    /// No answer, so that nobody knows whether the call was carried out.
    NoAnswer { gateway: String, error: HttpError },
    /// The gateway refused.
    Refused(Refusal),
    /// It answered with success, but not with what this call answers.
    NotUnderstood(String),
}

/// An answer that is an error.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// HTTP status.
    pub(crate) status: u16,
    /// Stable text, one per kind of error; empty if the answer has none.
    pub(crate) title: String,
    /// A sentence for a person.
    msg: String,
    /// More detail.
    cause: Option<String>,
}

impl Failure {
    /// Whether every other call would fail in the same way.
    pub(crate) fn is_of_all_calls(&self) -> bool {
        match self {
            Failure::NoAnswer { .. } => true,
            Failure::Refused(refusal) => matches!(refusal.status, 401 | 403 | 503),
            Failure::NotSent(_) | Failure::NotUnderstood(_) => false,
        }
    }

    /// Whether the gateway says that there is no such resource.
    pub(crate) fn is_not_found(&self) -> bool {
        match self {
            // A wrong URL is another thing.
            Failure::Refused(Refusal { status, title, .. }) => {
                *status == 404 && title.ends_with(" not found")
            }
            _ => false,
        }
    }
}

impl Refusal {
    /// A refusal that the gateway would give.
    pub(crate) fn expected(status: u16, title: &str, msg: String) -> Self {
        Self {
            status,
            title: title.to_owned(),
            msg,
            cause: None,
        }
    }

    /// Reads an answer with an error status.
    pub(crate) fn of(status: u16, body: &[u8]) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Body {
            title: String,
            msg: Option<String>,
            cause: Option<String>,
        }
        let text = String::from_utf8_lossy(body);
        let body = serde_json::from_str::<Body>(&text).unwrap_or_else(|_| Body {
            msg: Some(text.trim().chars().take(MAX_SHOWN).collect()),
            ..Body::default()
        });
        let msg = body.msg.filter(|msg| !msg.is_empty());
        Self {
            status,
            msg: msg.unwrap_or_else(|| match body.title.as_str() {
                "" => format!("the gateway answered with HTTP status {status} and no explanation"),
                title => title.to_owned(),
            }),
            title: body.title,
            cause: body.cause.filter(|cause| !cause.is_empty()),
        }
    }
}

impl fmt::Display for Failure {
    /// One line, or several with those after the first indented.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NotSent(why) => f.write_str(why),
            Failure::NoAnswer { gateway, error } => write!(f, "no answer from {gateway}: {error}"),
            Failure::Refused(Refusal { msg, cause, .. }) => {
                // A cause often is the sentence and more.
                let sentence = match cause {
                    Some(cause) if cause.contains(msg.as_str()) => "",
                    _ => msg,
                };
                let lines = sentence
                    .lines()
                    .chain(cause.iter().flat_map(|cause| cause.lines()));
                for (index, line) in lines.enumerate() {
                    if index > 0 {
                        f.write_str("\n    ")?;
                    }
                    f.write_str(&harmless(line))?;
                }
                Ok(())
            }
            Failure::NotUnderstood(what) => {
                write!(f, "the answer is not that of a gateway: {}", harmless(what))
            }
        }
    }
}

/// The text without characters that a terminal would act on.
pub(crate) fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn shows(status: u16, body: &str, expected: &str) {
        let failure = Failure::Refused(Refusal::of(status, body.as_bytes()));
        assert_eq!(failure.to_string(), expected);
    }

    #[test]
    fn sentence_then_cause() {
        shows(
            404,
            r#"{"title":"Virtual cluster not found","msg":"There is no virtual cluster 'biling'.","cause":"metadata.vCluster of AliasTopic 'orders' refers to it."}"#,
            "There is no virtual cluster 'biling'.\n    metadata.vCluster of AliasTopic 'orders' refers to it.",
        );
        shows(
            404,
            r#"{"title":"t","msg":"There is no topic 'a'.","cause":"There is no topic 'a'. Alias 'b' refers to it."}"#,
            "There is no topic 'a'. Alias 'b' refers to it.",
        );
        shows(400, r#"{"title":"t","msg":"a\nb"}"#, "a\n    b");
        shows(400, r#"{"title":"t","msg":"m","cause":null}"#, "m");
    }

    #[test]
    fn less_than_that() {
        shows(409, r#"{"title":"Already in use"}"#, "Already in use");
        shows(
            404,
            "",
            "the gateway answered with HTTP status 404 and no explanation",
        );
        shows(
            502,
            "{}",
            "the gateway answered with HTTP status 502 and no explanation",
        );
        shows(502, " Bad gateway\u{1b}[31m ", "Bad gateway\u{fffd}[31m");
        shows(502, &"x".repeat(5000), &"x".repeat(MAX_SHOWN));
    }
}
