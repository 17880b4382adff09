//! Authentication left to Kafka (`KAFKA_MANAGED`): the client's SASL exchange is carried to the broker and back.
//!
//! The exchange happens on the leg that will be the client's own. The gateway reads along to know the client's name, and
//! believes it only after the broker has. A broker that cannot be reached is never told as a wrong password: the
//! connection is closed, and the client tries again.

use auth::server::{
    AuthFailure, FailureReason, RELAYED_MECHANISMS, RelayedExchange, RelayedOptions,
};
use bytes::Bytes;
use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;
use telemetry::metrics::OTHER;
use tokio::time::sleep;
use wire::api::ApiKey;
use wire::error_code::{ILLEGAL_SASL_STATE, UNSUPPORTED_SASL_MECHANISM};

use super::intake::Allowance;
use super::session::{self, Asked, Session};
use super::{Failure, local, sasl};
use crate::cluster::{Opened, Target};
use crate::gateway::ListenerState;
use crate::socket::Socket;
use crate::upstream::call::{self, CallError};
use crate::worker::Worker;

/// One relayed login.
pub(super) struct Relayed {
    pub(super) mechanism: &'static str,
    exchange: RelayedExchange,
    rounds: usize,
}

impl Relayed {
    /// `None`: a mechanism that is not relayed.
    pub(super) fn begin(mechanism: &str, options: &RelayedOptions) -> Option<Relayed> {
        let mechanism = RELAYED_MECHANISMS
            .iter()
            .copied()
            .find(|known| *known == mechanism)?;
        Some(Relayed {
            mechanism,
            exchange: RelayedExchange::begin(mechanism, options)?,
            rounds: 0,
        })
    }

    /// A message of the client on its way to the broker.
    pub(super) fn client(&mut self, token: &[u8]) -> Result<(), AuthFailure> {
        self.rounds += 1;
        self.exchange.client(token)
    }

    /// The broker accepted the last message and said `challenge`: whether that was the end.
    pub(super) fn is_complete(&self, challenge: &[u8]) -> bool {
        match self.mechanism {
            "SCRAM-SHA-256" | "SCRAM-SHA-512" => self.rounds >= 2,
            // A challenge says what is wrong with the token.
            "OAUTHBEARER" => challenge.is_empty(),
            _ => true,
        }
    }

    pub(super) fn name(&self) -> Option<&str> {
        self.exchange.name()
    }
}

/// Relays the login of a fresh connection.
pub(super) async fn authenticate(
    worker: &Worker,
    listener: &ListenerState,
    target: Target,
    client: &Socket,
    mut allowance: Allowance,
) -> Result<Session, Failure> {
    let limits = &worker.shared.limits;
    let mut told = None;
    let asked = loop {
        let max = limits.sasl_max_receive;
        let asked = session::read_request(client, max, told.is_none(), &mut allowance).await?;
        if asked.api != ApiKey::API_VERSIONS {
            break asked;
        }
        let answer = session::api_versions(worker, &asked, &mut told)?;
        session::write(client, &answer).await?;
    };
    if asked.api != ApiKey::SASL_HANDSHAKE || !asked.has_version() {
        return Err(Failure::SaslState);
    }
    let opened = worker.shared.view.open_unauthenticated(target).await?;
    let version = asked.version;
    let mut relayed = handshake(worker, &opened, client, &asked).await?;
    drop(asked); // what it has cost is given back with the next request
    loop {
        let challenge = if version == 0 {
            raw_round(worker, &opened, client, &mut relayed, &mut allowance).await?
        } else {
            round(worker, &opened, client, &mut relayed, &mut allowance).await?
        };
        if relayed.is_complete(&challenge) {
            break;
        }
    }
    let mechanism = relayed.mechanism;
    let identity = relayed
        .name()
        .ok_or_else(|| AuthFailure::new(FailureReason::IdentityNotFound("no name"), None))
        .and_then(|name| worker.shared.access.authenticator.relayed(name))
        .map_err(|failure| Failure::Authentication { mechanism, failure })?;
    tracing::trace!(target: telemetry::targets::NETWORK, listener = listener.name, mechanism, "relayed login");
    Ok(Session {
        mechanism: Some(mechanism),
        told,
        leg: Some(opened),
        ..Session::of(identity)
    })
}

async fn handshake(
    worker: &Worker,
    opened: &Opened,
    client: &Socket,
    asked: &Asked,
) -> Result<Relayed, Failure> {
    let request: SaslHandshakeRequest = sasl::decode(asked)?;
    let frame = exchange(worker, opened, &asked.frame).await?;
    let mut response =
        call::decode_response::<SaslHandshakeRequest>(frame, asked.version, asked.correlation_id)
            .map_err(broken)?;
    cut(&mut response);
    let begun = Relayed::begin(&request.mechanism, &worker.shared.access.relayed);
    if begun.is_none() {
        response.error_code = UNSUPPORTED_SASL_MECHANISM;
    }
    session::write(client, &sasl::encode(asked, &response)?).await?;
    match begun {
        Some(relayed) if response.error_code == 0 => Ok(relayed),
        _ => Err(Failure::Authentication {
            mechanism: OTHER,
            failure: AuthFailure::new(FailureReason::MechanismNotOffered, None),
        }),
    }
}

/// What the broker offers, without what is not relayed.
fn cut(response: &mut SaslHandshakeResponse) {
    response
        .mechanisms
        .retain(|offered: &StrBytes| RELAYED_MECHANISMS.contains(&offered.as_str()));
}

/// One SaslAuthenticate. Gives what the broker said.
async fn round(
    worker: &Worker,
    opened: &Opened,
    client: &Socket,
    relayed: &mut Relayed,
    allowance: &mut Allowance,
) -> Result<Bytes, Failure> {
    let limits = &worker.shared.limits;
    let asked = session::read_request(client, limits.sasl_max_receive, false, allowance).await?;
    if asked.api != ApiKey::SASL_AUTHENTICATE || !asked.has_version() {
        if let Some(answer) = local::error(
            asked.api,
            asked.version,
            asked.correlation_id,
            ILLEGAL_SASL_STATE,
        ) {
            session::write(client, &answer).await?;
        }
        return Err(Failure::SaslState);
    }
    let mechanism = relayed.mechanism;
    let request: SaslAuthenticateRequest = sasl::decode(&asked)?;
    if let Err(failure) = relayed.client(&request.auth_bytes) {
        sleep(limits.failed_authentication_delay).await;
        session::write(client, &sasl::rejection(&asked, failure.client_message())?).await?;
        return Err(Failure::Authentication { mechanism, failure });
    }
    let frame = exchange(worker, opened, &asked.frame).await?;
    let response = call::decode_response::<SaslAuthenticateRequest>(
        frame.clone(),
        asked.version,
        asked.correlation_id,
    )
    .map_err(broken)?;
    session::write(client, &local::prefixed(&frame)).await?;
    let SaslAuthenticateResponse {
        error_code,
        auth_bytes,
        ..
    } = response;
    if error_code != 0 {
        return Err(Failure::Authentication {
            mechanism,
            failure: AuthFailure::new(FailureReason::RejectedByKafka, relayed.name()),
        });
    }
    Ok(auth_bytes)
}

/// One bare token in each direction (SaslHandshake v0).
async fn raw_round(
    worker: &Worker,
    opened: &Opened,
    client: &Socket,
    relayed: &mut Relayed,
    allowance: &mut Allowance,
) -> Result<Bytes, Failure> {
    let limits = &worker.shared.limits;
    let mechanism = relayed.mechanism;
    let token = session::read_token(client, limits.sasl_max_receive, allowance).await?;
    if let Err(failure) = relayed.client(&token) {
        sleep(limits.failed_authentication_delay).await;
        return Err(Failure::Authentication { mechanism, failure });
    }
    let leg = &opened.leg.socket;
    leg.write_all(&local::prefixed(&token))
        .await
        .map_err(Failure::Broker)?;
    // Without a header there is no error code either: a broker that does not agree closes.
    let challenge = session::read_broker_token(leg, call::MAX_SMALL_ANSWER)
        .await
        .map_err(|error| match error {
            Failure::Left => Failure::Authentication {
                mechanism,
                failure: AuthFailure::new(FailureReason::RejectedByKafka, relayed.name()),
            },
            Failure::Client(error) => Failure::Broker(error),
            other => other,
        })?;
    session::write(client, &local::prefixed(&challenge)).await?;
    Ok(challenge)
}

/// Sends a frame to the broker and reads its answer, both without length prefix.
async fn exchange(worker: &Worker, opened: &Opened, frame: &[u8]) -> Result<Bytes, Failure> {
    let patience = worker.shared.view.settings.request_timeout;
    let socket = &opened.leg.socket;
    let answer = async {
        socket.write_all(&local::prefixed(frame)).await?;
        call::read_frame(socket, call::MAX_SMALL_ANSWER).await
    };
    match tokio::time::timeout(patience, answer).await {
        Ok(answer) => answer.map_err(broken),
        Err(_) => Err(broken(CallError::TimedOut(patience))),
    }
}

fn broken(error: CallError) -> Failure {
    match error {
        CallError::Io(error) => Failure::Broker(error),
        other => Failure::Relay(other.to_string()),
    }
}
