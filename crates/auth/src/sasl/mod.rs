//! SASL mechanisms, client side.
//!
//! A [`SaslLogin`] is made once per cluster and knows the credentials. Each connection, and each re-authentication
//! on it (KIP-368), runs one [`SaslExchange`].

pub mod oauthbearer;
pub mod plain;
pub mod scram;
pub mod token;
pub mod token_endpoint;
pub mod unsecured;

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use self::oauthbearer::OAuthBearerExchange;
use self::plain::{PlainCredentials, PlainExchange};
use self::scram::{ScramCredentials, ScramError, ScramExchange};
use self::token::{TokenError, TokenProvider};

/// Time between a re-authentication and the end of the session, if the session is long enough.
const LEAST_MARGIN: Duration = Duration::from_secs(10);

/// Credentials for one mechanism. Cloning shares them, and what is cached with them.
#[derive(Clone)]
pub struct SaslLogin(Arc<Credentials>);

enum Credentials {
    Plain(PlainCredentials),
    Scram(Arc<ScramCredentials>),
    OAuthBearer(TokenProvider),
}

/// One run of a mechanism.
pub struct SaslExchange(Exchange);

enum Exchange {
    Plain(PlainExchange),
    Scram(ScramExchange),
    OAuthBearer(OAuthBearerExchange),
}

/// What to do next in an exchange.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these bytes in a SaslAuthenticate request and give the answer's bytes to the next step.
    Send(Vec<u8>),
    /// Both sides are authenticated.
    Done,
}

/// Why an exchange failed. No message contains a secret.
#[derive(Debug, Error)]
pub enum SaslError {
    /// The broker's messages do not follow the mechanism, or the broker could not prove that it knows the password.
    #[error(transparent)]
    Scram(#[from] ScramError),
    /// No token could be had.
    #[error("no token for OAUTHBEARER: {0}")]
    Token(#[from] TokenError),
    /// The broker does not accept the token.
    #[error("the broker rejected the token: {reason}")]
    TokenRejected {
        /// What the broker says, shortened.
        reason: String,
    },
    /// The broker went on after the end of the exchange, or sent a challenge where the mechanism has none.
    #[error("unexpected {mechanism} message from the broker")]
    UnexpectedChallenge {
        /// The mechanism.
        mechanism: &'static str,
    },
}

impl SaslLogin {
    /// PLAIN (RFC 4616).
    pub fn plain(credentials: PlainCredentials) -> Self {
        Self(Arc::new(Credentials::Plain(credentials)))
    }

    /// SCRAM (RFC 5802, RFC 7677).
    pub fn scram(credentials: ScramCredentials) -> Self {
        Self(Arc::new(Credentials::Scram(Arc::new(credentials))))
    }

    /// OAUTHBEARER (RFC 7628).
    pub fn oauthbearer(tokens: TokenProvider) -> Self {
        Self(Arc::new(Credentials::OAuthBearer(tokens)))
    }

    /// Name of the mechanism for SaslHandshake.
    pub fn mechanism(&self) -> &'static str {
        match &*self.0 {
            Credentials::Plain(_) => plain::MECHANISM,
            Credentials::Scram(credentials) => credentials.hash().mechanism(),
            Credentials::OAuthBearer(_) => oauthbearer::MECHANISM,
        }
    }

    /// Starts an exchange. OAUTHBEARER obtains a token first, if it has none that is still good; needs a Tokio runtime then.
    ///
    /// # Errors
    /// [`SaslError::Token`]. Worth a retry with back-off: an identity provider may be down.
    pub async fn begin(&self) -> Result<SaslExchange, SaslError> {
        Ok(SaslExchange(match &*self.0 {
            Credentials::Plain(credentials) => Exchange::Plain(PlainExchange::new(credentials)),
            Credentials::Scram(credentials) => {
                Exchange::Scram(ScramExchange::new(credentials.clone())?)
            }
            Credentials::OAuthBearer(tokens) => {
                let token = tokens.token().await?;
                Exchange::OAuthBearer(OAuthBearerExchange::new(&token, tokens.extensions()))
            }
        }))
    }

    /// When to authenticate again on a connection whose session lasts `session_lifetime`
    /// (`session_lifetime_ms` of the SaslAuthenticate answer; zero there means never, and is not given here).
    ///
    /// A random moment between 85 and 95 % of the lifetime, as Kafka's clients take it (KIP-368), so that connections opened
    /// together do not all come back together. Earlier, if the broker would have less than 10 s (or half of the
    /// lifetime) left for what was sent before.
    pub fn reauthentication_delay(session_lifetime: Duration) -> Duration {
        let proposed = session_lifetime.mul_f64(0.85 + 0.10 * random_fraction());
        let margin = (session_lifetime / 2).min(LEAST_MARGIN);
        proposed.min(session_lifetime - margin)
    }
}

impl std::fmt::Debug for SaslLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SaslLogin({})", self.mechanism())
    }
}

impl SaslExchange {
    /// Takes the broker's bytes and gives ours. The first call takes an empty slice and gives the initial response;
    /// after the last [`Step::Send`] the broker's final bytes are given too, and [`Step::Done`] is the success.
    ///
    /// A SCRAM step may compute for up to half a second if the broker asks for the most iterations allowed;
    /// the result is kept for further connections.
    ///
    /// # Errors
    /// Any [`SaslError`]; the exchange and its connection are of no further use then.
    pub fn step(&mut self, challenge: &[u8]) -> Result<Step, SaslError> {
        match &mut self.0 {
            Exchange::Plain(exchange) => exchange.step(challenge),
            Exchange::Scram(exchange) => Ok(exchange.step(challenge)?),
            Exchange::OAuthBearer(exchange) => exchange.step(challenge),
        }
    }
}

impl std::fmt::Debug for SaslExchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match &self.0 {
            Exchange::Plain(_) => "SaslExchange(PLAIN)",
            Exchange::Scram(_) => "SaslExchange(SCRAM)",
            Exchange::OAuthBearer(_) => "SaslExchange(OAUTHBEARER)",
        })
    }
}

/// A random number in 0.0 .. 1.0; 0.5 should the system have no randomness left.
fn random_fraction() -> f64 {
    let mut bytes = [0; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_ne_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reauthentication_falls_between_85_and_95_percent() {
        for _ in 0..1000 {
            let delay = SaslLogin::reauthentication_delay(Duration::from_secs(1000));
            assert!((850..=950).contains(&delay.as_secs()), "{delay:?}");
        }
    }

    #[test]
    fn short_sessions_are_renewed_with_time_to_spare() {
        for _ in 0..100 {
            let delay = |seconds| SaslLogin::reauthentication_delay(Duration::from_secs(seconds));
            assert_eq!(delay(4), Duration::from_secs(2));
            assert_eq!(delay(60), Duration::from_secs(50));
        }
    }
}
