//! The server's side of SASL on a client connection, first login and re-authentication alike (KIP-43, KIP-152, KIP-368).
//!
//! ```text
//! SaslHandshake v1 ─▶ SaslAuthenticate, as many as the mechanism needs ─▶ done
//! SaslHandshake v0 ─▶ bare tokens, each behind its length               ─▶ done
//! ```

use std::time::Duration;

use auth::server::{AuthFailure, Authenticator, FailureReason, ServerExchange, ServerStep};
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use telemetry::metrics::OTHER;
use tokio::time::Instant;
use wire::api::ApiKey;
use wire::error_code::{
    ILLEGAL_SASL_STATE, SASL_AUTHENTICATION_FAILED, UNSUPPORTED_SASL_MECHANISM,
};

use super::session::{Asked, Session};
use super::{Failure, local};
use crate::peek;

/// Where the conversation stands.
#[derive(Default)]
pub(super) struct Conversation {
    exchange: Option<Exchange>,
}

struct Exchange {
    mechanism: &'static str,
    server: ServerExchange,
    /// The handshake was version 0: tokens have no header.
    raw: bool,
}

/// What comes of one message of the client.
pub(super) enum Turn {
    /// Answer and read on.
    Answer(Bytes),
    /// Answer; the client is who it says.
    Done {
        answer: Bytes,
        session: Box<Session>,
    },
    /// Answer after the delay, count, close.
    Failed {
        answer: Bytes,
        mechanism: &'static str,
        failure: AuthFailure,
    },
    /// Out of order: answer if there is an answer, close.
    Refused(Option<Bytes>),
}

impl Conversation {
    /// A handshake was made.
    pub(super) fn has_begun(&self) -> bool {
        self.exchange.is_some()
    }

    /// The next thing to read is a bare token.
    pub(super) fn is_raw(&self) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.raw)
    }

    /// Takes one request.
    pub(super) async fn turn(
        &mut self,
        authenticator: &Authenticator,
        asked: &Asked,
    ) -> Result<Turn, Failure> {
        let has_version = asked.has_version();
        match (asked.api, &mut self.exchange) {
            (ApiKey::SASL_HANDSHAKE, None) if has_version => self.handshake(authenticator, asked),
            (ApiKey::SASL_AUTHENTICATE, Some(_)) if has_version => self.authenticate(asked).await,
            (_, None) => Ok(Turn::Refused(None)),
            (api, Some(_)) => Ok(Turn::Refused(local::error(
                api,
                asked.version,
                asked.correlation_id,
                ILLEGAL_SASL_STATE,
            ))),
        }
    }

    /// Takes one bare token.
    pub(super) async fn raw(&mut self, token: &[u8]) -> Turn {
        let Some(exchange) = &mut self.exchange else {
            return Turn::Refused(None);
        };
        let mechanism = exchange.mechanism;
        match exchange.server.step(token).await {
            ServerStep::Challenge(bytes) => Turn::Answer(local::prefixed(&bytes)),
            ServerStep::Done {
                bytes,
                identity,
                session,
            } => Turn::Done {
                answer: local::prefixed(&bytes),
                session: Box::new(Session {
                    mechanism: Some(mechanism),
                    ends: session.map(|life| Instant::now() + life),
                    ..Session::of(identity)
                }),
            },
            ServerStep::Failed(failure) => Turn::Failed {
                answer: Bytes::new(),
                mechanism,
                failure,
            },
        }
    }

    fn handshake(&mut self, authenticator: &Authenticator, asked: &Asked) -> Result<Turn, Failure> {
        let request: SaslHandshakeRequest = decode(asked)?;
        let offered = authenticator.mechanisms();
        let mechanism = offered
            .iter()
            .copied()
            .find(|mechanism| *mechanism == request.mechanism.as_str());
        let begun =
            mechanism.and_then(|mechanism| Some((mechanism, authenticator.begin(mechanism)?)));
        let mut response = SaslHandshakeResponse::default().with_mechanisms(
            offered
                .iter()
                .map(|mechanism| StrBytes::from_static_str(mechanism))
                .collect(),
        );
        let Some((mechanism, server)) = begun else {
            response.error_code = UNSUPPORTED_SASL_MECHANISM;
            return Ok(Turn::Failed {
                answer: encode(asked, &response)?,
                mechanism: OTHER,
                failure: AuthFailure::new(FailureReason::MechanismNotOffered, None),
            });
        };
        self.exchange = Some(Exchange {
            mechanism,
            server,
            raw: asked.version == 0,
        });
        Ok(Turn::Answer(encode(asked, &response)?))
    }

    async fn authenticate(&mut self, asked: &Asked) -> Result<Turn, Failure> {
        let request: SaslAuthenticateRequest = decode(asked)?;
        let Some(exchange) = &mut self.exchange else {
            return Ok(Turn::Refused(None));
        };
        let mechanism = exchange.mechanism;
        match exchange.server.step(&request.auth_bytes).await {
            ServerStep::Challenge(bytes) => {
                let response = SaslAuthenticateResponse::default().with_auth_bytes(bytes.into());
                Ok(Turn::Answer(encode(asked, &response)?))
            }
            ServerStep::Done {
                bytes,
                identity,
                session,
            } => {
                self.exchange = None;
                let response = SaslAuthenticateResponse::default()
                    .with_auth_bytes(bytes.into())
                    .with_session_lifetime_ms(session.map_or(0, millis));
                Ok(Turn::Done {
                    answer: encode(asked, &response)?,
                    session: Box::new(Session {
                        mechanism: Some(mechanism),
                        ends: session.map(|life| Instant::now() + life),
                        ..Session::of(identity)
                    }),
                })
            }
            ServerStep::Failed(failure) => {
                self.exchange = None;
                Ok(Turn::Failed {
                    answer: rejection(asked, failure.client_message())?,
                    mechanism,
                    failure,
                })
            }
        }
    }
}

/// The answer to a SaslAuthenticate that failed.
pub(super) fn rejection(asked: &Asked, message: &'static str) -> Result<Bytes, Failure> {
    let response = SaslAuthenticateResponse::default()
        .with_error_code(SASL_AUTHENTICATION_FAILED)
        .with_error_message(Some(StrBytes::from_static_str(message)));
    encode(asked, &response)
}

/// A life of less than a millisecond must not read as "for ever".
fn millis(life: Duration) -> i64 {
    i64::try_from(life.as_millis()).unwrap_or(i64::MAX).max(1)
}

/// Decodes the body of a request, after the walker has accepted it.
pub(super) fn decode<M: Decodable>(asked: &Asked) -> Result<M, Failure> {
    let malformed = |error| Failure::Request {
        api: asked.api.name(),
        version: asked.version,
        error,
    };
    peek::check(asked.api, asked.version, asked.body()).map_err(malformed)?;
    let mut body = asked.shared_body();
    M::decode(&mut body, asked.version).map_err(|_| Failure::NotOffered {
        api: asked.api.name(),
        version: asked.version,
    })
}

/// The whole frame of an answer.
pub(super) fn encode<M: Encodable>(asked: &Asked, message: &M) -> Result<Bytes, Failure> {
    let mut body = BytesMut::new();
    message
        .encode(&mut body, asked.version)
        .map_err(|_| Failure::NotOffered {
            api: asked.api.name(),
            version: asked.version,
        })?;
    Ok(local::frame(
        asked.api,
        asked.version,
        asked.correlation_id,
        &body,
    ))
}
