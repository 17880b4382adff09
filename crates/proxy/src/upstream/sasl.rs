//! Logging in at a broker: SaslHandshake v1, then SaslAuthenticate v1 (KIP-43, KIP-152, KIP-368).

use std::time::Duration;

use auth::{SaslError, SaslExchange, SaslLogin, Step};
use bytes::Bytes;
use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;
use thiserror::Error;
use tokio::time::Instant;
use wire::error_code::ILLEGAL_SASL_STATE;

use super::call::{self, CallError};
use crate::socket::Socket;

const HANDSHAKE_VERSION: i16 = 1;
const AUTHENTICATE_VERSION: i16 = 1;

/// More rounds than any mechanism has.
const MAX_ROUNDS: usize = 8;

/// Why a login failed. Never carries credentials.
#[derive(Debug, Error)]
pub(crate) enum LoginError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the broker does not offer {mechanism}; it offers {offered}")]
    Mechanism {
        mechanism: &'static str,
        offered: String,
    },
    #[error("the broker asks for no login: its listener is PLAINTEXT or SSL")]
    NotAsked,
    #[error("the broker rejected the credentials (error {code}): {message}")]
    Rejected { code: i16, message: String },
    #[error(transparent)]
    Exchange(#[from] SaslError),
    #[error("the exchange did not end")]
    Endless,
}

impl LoginError {
    /// Whether the same login will fail again.
    pub(crate) fn is_rejection(&self) -> bool {
        match self {
            LoginError::Exchange(SaslError::Token(error)) => !error.is_retriable(),
            LoginError::Mechanism { .. }
            | LoginError::NotAsked
            | LoginError::Call(CallError::Foreign(_))
            | LoginError::Rejected { .. }
            | LoginError::Exchange(_) => true,
            LoginError::Call(_) | LoginError::Endless => false,
        }
    }
}

/// Authenticates a fresh socket. Returns when to do it again, if the broker limits the session.
pub(crate) async fn login(
    socket: &Socket,
    login: &SaslLogin,
    client_id: &str,
) -> Result<Option<Instant>, LoginError> {
    let mut dialogue = Dialogue::begin(login).await?;
    let mut correlation_id = 0;
    let mut next = dialogue.handshake();
    loop {
        let frame = next.encode(correlation_id, client_id)?;
        socket.write_all(&frame).await.map_err(CallError::Io)?;
        let answer = call::read_frame(socket, call::MAX_SMALL_ANSWER).await?;
        match dialogue.answer(next.parse(correlation_id, answer)?)? {
            Turn::Ask(question) => next = question,
            Turn::Done(session) => return Ok(session.map(|life| Instant::now() + life)),
        }
        correlation_id += 1;
    }
}

/// The login conversation without its transport, so that a busy leg can hold it between client requests.
pub(crate) struct Dialogue {
    mechanism: &'static str,
    exchange: SaslExchange,
    rounds: usize,
}

/// What to send next.
pub(crate) enum Question {
    Handshake(SaslHandshakeRequest),
    Authenticate(SaslAuthenticateRequest),
}

/// What came back.
pub(crate) enum Answer {
    Handshake(SaslHandshakeResponse),
    Authenticate(SaslAuthenticateResponse),
}

/// How the conversation goes on.
pub(crate) enum Turn {
    Ask(Question),
    /// Logged in; authenticate again after this time.
    Done(Option<Duration>),
}

impl Dialogue {
    /// Prepares an exchange (fetches a token if the mechanism needs one).
    pub(crate) async fn begin(login: &SaslLogin) -> Result<Self, LoginError> {
        Ok(Dialogue {
            mechanism: login.mechanism(),
            exchange: login.begin().await?,
            rounds: 0,
        })
    }

    /// The first question.
    pub(crate) fn handshake(&self) -> Question {
        Question::Handshake(
            SaslHandshakeRequest::default()
                .with_mechanism(StrBytes::from_static_str(self.mechanism)),
        )
    }

    /// Takes the broker's answer.
    pub(crate) fn answer(&mut self, answer: Answer) -> Result<Turn, LoginError> {
        match answer {
            // What a listener without logins answers.
            Answer::Handshake(response)
                if response.error_code == ILLEGAL_SASL_STATE && response.mechanisms.is_empty() =>
            {
                Err(LoginError::NotAsked)
            }
            Answer::Handshake(response) if response.error_code != 0 => Err(LoginError::Mechanism {
                mechanism: self.mechanism,
                offered: response
                    .mechanisms
                    .iter()
                    .map(|m| m.to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
            Answer::Handshake(_) => self.step(&[], None),
            Answer::Authenticate(response) if response.error_code != 0 => {
                Err(self.rejected(response))
            }
            Answer::Authenticate(response) => {
                let life = u64::try_from(response.session_lifetime_ms)
                    .ok()
                    .filter(|ms| *ms > 0)
                    .map(|ms| SaslLogin::reauthentication_delay(Duration::from_millis(ms)));
                self.step(&response.auth_bytes, life)
            }
        }
    }

    /// OAUTHBEARER brokers say why in a challenge of their own before the error, and only there.
    fn rejected(&mut self, response: SaslAuthenticateResponse) -> LoginError {
        if let Err(reason @ SaslError::TokenRejected { .. }) = self.exchange.step(&[]) {
            return reason.into();
        }
        LoginError::Rejected {
            code: response.error_code,
            message: response
                .error_message
                .map(|m| m.to_string())
                .unwrap_or_default(),
        }
    }

    fn step(&mut self, challenge: &[u8], life: Option<Duration>) -> Result<Turn, LoginError> {
        self.rounds += 1;
        if self.rounds > MAX_ROUNDS {
            return Err(LoginError::Endless);
        }
        Ok(match self.exchange.step(challenge)? {
            Step::Send(bytes) => Turn::Ask(Question::Authenticate(
                SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(bytes)),
            )),
            Step::Done => Turn::Done(life),
        })
    }
}

impl Question {
    /// The whole frame, length prefix included.
    pub(crate) fn encode(&self, correlation_id: i32, client_id: &str) -> Result<Bytes, CallError> {
        match self {
            Question::Handshake(request) => {
                call::encode_request(request, HANDSHAKE_VERSION, correlation_id, client_id)
            }
            Question::Authenticate(request) => {
                call::encode_request(request, AUTHENTICATE_VERSION, correlation_id, client_id)
            }
        }
    }

    /// Reads the answer to this question; `frame` is without its length prefix.
    pub(crate) fn parse(&self, correlation_id: i32, frame: Bytes) -> Result<Answer, CallError> {
        Ok(match self {
            Question::Handshake(_) => {
                Answer::Handshake(call::decode_response::<SaslHandshakeRequest>(
                    frame,
                    HANDSHAKE_VERSION,
                    correlation_id,
                )?)
            }
            Question::Authenticate(_) => {
                Answer::Authenticate(call::decode_response::<SaslAuthenticateRequest>(
                    frame,
                    AUTHENTICATE_VERSION,
                    correlation_id,
                )?)
            }
        })
    }
}
