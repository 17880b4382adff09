//! OAUTHBEARER (RFC 7628, KIP-255) with SASL extensions (KIP-342).

use serde::Deserialize;

use super::token::Token;
use super::{SaslError, Step};

/// Name of the mechanism.
pub const MECHANISM: &str = "OAUTHBEARER";

/// Separates the parts of the message; alone, it is the answer to the broker's error.
const KVSEP: &str = "\u{1}";

pub(super) struct OAuthBearerExchange(State);

enum State {
    Start { message: Vec<u8> },
    Sent,
    Rejected { reason: String },
    Over,
}

impl OAuthBearerExchange {
    pub(super) fn new(token: &Token, extensions: &[(String, String)]) -> Self {
        let mut message = format!("n,,{KVSEP}auth=Bearer {}", token.expose()).into_bytes();
        for (name, value) in extensions {
            message.extend_from_slice(format!("{KVSEP}{name}={value}").as_bytes());
        }
        message.extend_from_slice([KVSEP, KVSEP].concat().as_bytes());
        Self(State::Start { message })
    }

    pub(super) fn step(&mut self, challenge: &[u8]) -> Result<Step, SaslError> {
        match std::mem::replace(&mut self.0, State::Over) {
            State::Start { message } if challenge.is_empty() => {
                self.0 = State::Sent;
                Ok(Step::Send(message))
            }
            State::Sent if challenge.is_empty() => Ok(Step::Done),
            State::Sent => {
                self.0 = State::Rejected {
                    reason: rejection(challenge),
                };
                Ok(Step::Send(KVSEP.as_bytes().to_vec()))
            }
            State::Rejected { reason } => Err(SaslError::TokenRejected { reason }),
            State::Start { .. } | State::Over => Err(SaslError::UnexpectedChallenge {
                mechanism: MECHANISM,
            }),
        }
    }
}

/// Checks that an extension can be sent (RFC 7628 section 3.1).
///
/// # Errors
/// What is wrong, without the value.
pub fn check_extension(name: &str, value: &str) -> Result<(), &'static str> {
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err("the name of an extension must be made of the letters A to Z, a to z");
    }
    if name == "auth" {
        return Err("an extension cannot be called auth");
    }
    let printable = |byte: u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7E);
    if value.is_empty() || !value.bytes().all(printable) {
        return Err("the value of an extension must be printable ASCII and not empty");
    }
    Ok(())
}

/// The broker's reason out of its error object (RFC 7628 section 3.2.2), fit for a log line.
fn rejection(challenge: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Rejection {
        status: String,
        scope: Option<String>,
    }
    match serde_json::from_slice(challenge) {
        Ok(Rejection {
            status,
            scope: None,
        }) => printable(&status),
        Ok(Rejection {
            status,
            scope: Some(scope),
        }) => printable(&format!("{status}, scope needed: {scope}")),
        Err(_) => "no readable reason given".to_owned(),
    }
}

/// Text from outside for a log line: one line of bounded length.
pub(super) fn printable(text: &str) -> String {
    let shown = text.chars().filter(|c| !c.is_control());
    shown.take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(exchange: &mut OAuthBearerExchange, challenge: &[u8]) -> Vec<u8> {
        match exchange.step(challenge).unwrap() {
            Step::Send(bytes) => bytes,
            Step::Done => panic!("done too early"),
        }
    }

    fn exchange(extensions: &[(String, String)]) -> OAuthBearerExchange {
        OAuthBearerExchange::new(&Token::parse("a.b~c", None).unwrap(), extensions)
    }

    #[test]
    fn sends_token_and_extensions() {
        let extensions = [
            ("logicalCluster".to_owned(), "lkc-1".to_owned()),
            ("identityPoolId".to_owned(), "pool 2".to_owned()),
        ];
        let mut exchange = exchange(&extensions);
        assert_eq!(
            sent(&mut exchange, b""),
            b"n,,\x01auth=Bearer a.b~c\x01logicalCluster=lkc-1\x01identityPoolId=pool 2\x01\x01"
        );
        assert_eq!(exchange.step(b"").unwrap(), Step::Done);
        assert!(exchange.step(b"").is_err());
    }

    #[test]
    fn acknowledges_an_error_and_reports_it() {
        let cases: [(&[u8], &str); 4] = [
            (br#"{"status":"invalid_token"}"#, "invalid_token"),
            (
                br#"{"status":"insufficient_scope","scope":"kafka","openid-configuration":"https://x"}"#,
                "insufficient_scope, scope needed: kafka",
            ),
            (br#"{"status":"a\nb"}"#, "ab"),
            (b"\xFF\xFE", "no readable reason given"),
        ];
        for (answer, expected) in cases {
            let mut exchange = exchange(&[]);
            sent(&mut exchange, b"");
            assert_eq!(sent(&mut exchange, answer), b"\x01");
            match exchange.step(b"") {
                Err(SaslError::TokenRejected { reason }) => assert_eq!(reason, expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn changed_error_objects_never_panic() {
        let object = br#"{"status":"insufficient_scope","scope":"kafka"}"#;
        for position in 0..object.len() {
            for value in [0, b'"', b'{', b'\\', 0x80, 0xFF] {
                let mut object = object.to_vec();
                object[position] = value;
                assert!(rejection(&object).len() < 1000);
                assert!(rejection(&object[..position]).len() < 1000);
            }
        }
        assert!(rejection("[".repeat(100_000).as_bytes()).len() < 1000);
    }

    #[test]
    fn extensions_cannot_smuggle_other_parts() {
        assert!(check_extension("logicalCluster", "lkc-1").is_ok());
        for (name, value) in [
            ("auth", "x"),
            ("a=b", "x"),
            ("", "x"),
            ("a", ""),
            ("a", "x\u{1}auth=Bearer y"),
            ("a", "\u{e9}"),
        ] {
            assert!(check_extension(name, value).is_err(), "{name}={value}");
        }
    }
}
