//! PLAIN (RFC 4616).

use zeroize::Zeroizing;

use super::{SaslError, Step};

/// Name of the mechanism.
pub const MECHANISM: &str = "PLAIN";

/// User name and password.
pub struct PlainCredentials {
    username: String,
    password: Zeroizing<String>,
}

impl PlainCredentials {
    /// A NUL in either cannot be sent: the message uses it as separator. The caller refuses such values.
    pub fn new(username: &str, password: &str) -> Self {
        Self {
            username: username.to_owned(),
            password: Zeroizing::new(password.to_owned()),
        }
    }
}

pub(super) struct PlainExchange {
    message: Option<Vec<u8>>,
}

impl PlainExchange {
    pub(super) fn new(credentials: &PlainCredentials) -> Self {
        let PlainCredentials { username, password } = credentials;
        let message = [b"\0", username.as_bytes(), b"\0", password.as_bytes()].concat();
        Self {
            message: Some(message),
        }
    }

    pub(super) fn step(&mut self, challenge: &[u8]) -> Result<Step, SaslError> {
        if !challenge.is_empty() {
            return Err(SaslError::UnexpectedChallenge {
                mechanism: MECHANISM,
            });
        }
        Ok(self.message.take().map_or(Step::Done, Step::Send))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_one_message_and_is_done() {
        let mut exchange = PlainExchange::new(&PlainCredentials::new("tim", "tanstaaf\u{2074}"));
        let message = "\0tim\0tanstaaf\u{2074}".as_bytes().to_vec();
        assert_eq!(exchange.step(b"").unwrap(), Step::Send(message));
        assert_eq!(exchange.step(b"").unwrap(), Step::Done);
    }

    #[test]
    fn a_challenge_is_an_error() {
        let mut exchange = PlainExchange::new(&PlainCredentials::new("u", "p"));
        exchange.step(b"").unwrap();
        assert!(exchange.step(b"more").is_err());
    }
}
