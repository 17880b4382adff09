//! Settings that no waiting makes right: what is at the other end is not what they say.
//!
//! A broker closes a connection that speaks another protocol than its listener, and gives no reason; so does one that is about to
//! stop. To tell these apart, the question is asked again in the way that it would have to be.

use std::io;
use std::time::Duration;

use kafka_protocol::messages::{ApiVersionsRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use tokio::time::timeout;
use wire::api::ApiKey;
use wire::error_code::UNSUPPORTED_SASL_MECHANISM;

use super::refresh::RefreshError;
use super::versions::BrokerVersions;
use super::view::ClusterView;
use crate::upstream::call::{self, CallError};
use crate::upstream::{DialError, Login};

/// Bounds one question.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is at the other end.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Mismatch {
    #[error("it speaks no TLS, and the gateway does: the listener is PLAINTEXT or SASL_PLAINTEXT")]
    NoTls,
    #[error(
        "it wants a login, and the gateway has none: the listener is SASL_PLAINTEXT or SASL_SSL; it offers {0}"
    )]
    WantsLogin(String),
    #[error("it is a KRaft controller, and clients need brokers")]
    Controller,
}

impl Mismatch {
    /// Kafka's name of the setting to look at.
    pub(super) fn suspect(&self) -> &'static str {
        match self {
            Mismatch::NoTls | Mismatch::WantsLogin(_) => "security.protocol",
            Mismatch::Controller => "bootstrap.servers",
        }
    }

    /// What speaks these versions, and not Metadata. Controllers vote, and say so to everybody.
    pub(super) fn of_versions(versions: &BrokerVersions) -> Option<Mismatch> {
        versions
            .best(ApiKey::VOTE, i16::MAX)
            .map(|_| Mismatch::Controller)
    }
}

/// Finds out what is behind a connection that was closed.
pub(super) async fn recognise(view: &ClusterView, error: RefreshError) -> RefreshError {
    let (host, port, what) = match &error {
        RefreshError::Dial(DialError::Tls { host, port, error }) if is_closed(error) => {
            (host, *port, without_tls(view, host, *port).await)
        }
        RefreshError::Call {
            host,
            port,
            error: CallError::Io(error),
        } if is_closed(error) && view.dialer.auth().sasl().is_none() => {
            (host, *port, wants_login(view, host, *port).await)
        }
        _ => return error,
    };
    match what {
        Some(what) => RefreshError::Mismatch {
            host: host.clone(),
            port,
            what,
        },
        None => error,
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}

/// Whether the broker answers ApiVersions without TLS, which listeners with logins do, too.
async fn without_tls(view: &ClusterView, host: &str, port: u16) -> Option<Mismatch> {
    let ask = async {
        let socket = view.dialer.without_tls(host, port).await.ok()?;
        let request = ApiVersionsRequest::default();
        let frame = call::encode_request(&request, 0, 1, view.dialer.client_id()).ok()?;
        socket.write_all(&frame).await.ok()?;
        let answer = call::read_frame(&socket, call::MAX_SMALL_ANSWER)
            .await
            .ok()?;
        call::decode_response::<ApiVersionsRequest>(answer, 0, 1).ok()
    };
    let answer = timeout(PATIENCE, ask).await.ok().flatten();
    answer.map(|_| Mismatch::NoTls)
}

/// Whether the broker offers mechanisms for a login.
async fn wants_login(view: &ClusterView, host: &str, port: u16) -> Option<Mismatch> {
    let ask = async {
        let leg = view
            .dialer
            .dial(host, port, Login::Relayed, None)
            .await
            .ok()?;
        let mechanism = StrBytes::from_static_str("PLAIN");
        let request = SaslHandshakeRequest::default().with_mechanism(mechanism);
        let frame = call::encode_request(&request, 1, 1, view.dialer.client_id()).ok()?;
        leg.socket.write_all(&frame).await.ok()?;
        let answer = call::read_frame(&leg.socket, call::MAX_SMALL_ANSWER)
            .await
            .ok()?;
        call::decode_response::<SaslHandshakeRequest>(answer, 1, 1).ok()
    };
    let answer = timeout(PATIENCE, ask).await.ok().flatten()?;
    let offers = matches!(answer.error_code, 0 | UNSUPPORTED_SASL_MECHANISM);
    (offers && !answer.mechanisms.is_empty()).then(|| {
        let names: Vec<_> = answer.mechanisms.iter().map(|name| name.as_str()).collect();
        Mismatch::WantsLogin(names.join(", "))
    })
}
