//! Before the first request is served: TLS, the server name, and who the client is.
//!
//! Nothing here reads ahead: a frame is read when the one before it has been dealt with, so that the connection proper
//! begins with an empty window. All of it has to be done within `GATEWAY_UNAUTHENTICATED_TIMEOUT_MS`, and no frame may
//! be larger than `GATEWAY_SASL_SERVER_MAX_RECEIVE_SIZE`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use auth::accounts::Identity;
use auth::server::{AuthFailure, FailureReason};
use bytes::Bytes;
use config::SecurityMode;
use telemetry::targets::NETWORK;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsStream};
use wire::api::ApiKey;
use wire::header::{HeaderError, RequestHeader};

use super::intake::{Allowance, FREE, Metered};
use super::relay;
use super::sasl::{Conversation, Turn};
use super::{Failure, local};
use crate::addressing::Addressing;
use crate::cluster::{Offered, Opened, Target};
use crate::gateway::ListenerState;
use crate::peek;
use crate::sni::Named;
use crate::socket::Socket;
use crate::worker::{Worker, complain};

/// What stands for the mechanism where a client certificate is the credential.
pub(super) const TLS: &str = "SSL";

/// A client that may go on.
pub(super) struct Introduced {
    pub(super) client: Socket,
    pub(super) target: Target,
    /// The node id that the client's port or server name stands for.
    pub(super) node: Option<i32>,
    pub(super) session: Session,
}

/// Who the client is, and what came of finding out.
pub(super) struct Session {
    pub(super) identity: Identity,
    /// The SASL mechanism; re-authentication has to use it again.
    pub(super) mechanism: Option<&'static str>,
    /// After this the client has to authenticate again (KIP-368).
    pub(super) ends: Option<Instant>,
    /// The leg over which the client's credentials were relayed; it is the client's own from now on.
    pub(super) leg: Option<Opened>,
    /// What the client was told that it may use.
    pub(super) told: Option<Arc<Offered>>,
}

impl Session {
    pub(super) fn of(identity: Identity) -> Session {
        Session {
            identity,
            mechanism: None,
            ends: None,
            leg: None,
            told: None,
        }
    }
}

/// A request during authentication.
pub(super) struct Asked {
    pub(super) api: ApiKey,
    pub(super) version: i16,
    pub(super) correlation_id: i32,
    /// The frame without its length prefix.
    pub(super) frame: Bytes,
    header_len: usize,
}

impl Asked {
    /// A request out of the stream of an authenticated client.
    pub(super) fn new(
        api: ApiKey,
        version: i16,
        correlation_id: i32,
        frame: Bytes,
        header_len: usize,
    ) -> Asked {
        Asked {
            api,
            version,
            correlation_id,
            frame,
            header_len,
        }
    }

    /// Whether the table has this version.
    pub(super) fn has_version(&self) -> bool {
        self.api
            .spec()
            .is_some_and(|spec| spec.has_version(self.version))
    }

    /// The body without a copy.
    pub(super) fn shared_body(&self) -> Bytes {
        self.frame.slice(self.header_len.min(self.frame.len())..)
    }

    pub(super) fn body(&self) -> &[u8] {
        self.frame.get(self.header_len..).unwrap_or_default()
    }
}

/// Everything before the first request.
pub(super) async fn introduce(
    worker: &Worker,
    listener: &ListenerState,
    stream: TcpStream,
    port_node: Option<i32>,
    peer: SocketAddr,
) -> Result<Introduced, Failure> {
    let intake = &worker.shared.intake;
    let (client, name, subject) = match &listener.tls {
        None => (Socket::plain(stream), None, None),
        Some(tls) => {
            let stream = Metered::new(stream, intake.allowance(peer.ip()));
            let accepting = TlsAcceptor::from(tls.current()).accept(stream);
            let accepted = accepting.into_fallible().await;
            let mut stream =
                accepted.map_err(|(error, stream)| refused_handshake(error, stream.first()))?;
            stream.get_mut().0.settle();
            let (_, connection) = stream.get_ref();
            let name = connection.server_name().map(str::to_owned);
            let subject = connection
                .peer_certificates()
                .and_then(<[_]>::first)
                .map(auth::tls::subject_name)
                .transpose()
                .map_err(|error| Failure::Subject(error.to_string()))?;
            (Socket::tls(TlsStream::Server(stream)), name, Some(subject))
        }
    };
    client.count(worker.traffic.clone());
    let node = match &listener.addressing {
        Addressing::Ports(_) => port_node,
        Addressing::Names(names) => match name.as_deref().map(|name| names.find(name)) {
            None => {
                tracing::debug!(target: NETWORK, %peer, "no server name: any broker serves");
                None
            }
            Some(Named::Bootstrap) => None,
            Some(Named::Broker(node)) => {
                worker.shared.view.look_for(node).await;
                Some(node)
            }
            Some(Named::Unknown) => {
                complain(peer.ip(), "server name", |suppressed| {
                    tracing::warn!(target: NETWORK, %peer, listener = listener.name, server_name = name, suppressed, "unknown server name: any broker serves");
                });
                None
            }
        },
    };
    // A port or name that never had a broker leads anywhere.
    let target = match node {
        Some(id) if worker.shared.view.knows(id) => Target::Broker(id),
        _ => Target::Bootstrap,
    };
    let access = &worker.shared.access;
    let allowance = intake.allowance(peer.ip());
    let session = match subject.flatten() {
        _ if listener.protocol.is_sasl() => match access.mode {
            SecurityMode::GatewayManaged => {
                gateway_managed(worker, listener, &client, allowance).await
            }
            SecurityMode::KafkaManaged => {
                relay::authenticate(worker, listener, target, &client, allowance).await
            }
        },
        // There is no answer at this point that could carry a reason.
        Some(subject) => of_identity(access.authenticator.certificate(&subject)),
        None => of_identity(access.authenticator.anonymous()),
    };
    let session = match session {
        Ok(session) => session,
        Err(failure) => {
            client.close().await;
            return Err(failure);
        }
    };
    Ok(Introduced {
        client,
        target,
        node,
        session,
    })
}

fn of_identity(identity: Result<Identity, AuthFailure>) -> Result<Session, Failure> {
    identity
        .map(Session::of)
        .map_err(|failure| Failure::Authentication {
            mechanism: TLS,
            failure,
        })
}

/// A failed handshake is an authentication failure only if it was about the client's certificate. `first` is what came first.
fn refused_handshake(error: io::Error, first: &[u8]) -> Failure {
    use rustls::Error;
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    let is_plaintext = matches!(tls, Some(Error::InvalidMessage(_)));
    if is_plaintext {
        return Failure::Hint(
            peek::foreign_protocol(first).unwrap_or(
                "no TLS on a TLS listener: the client's security.protocol does not match",
            ),
        );
    }
    let reason = match tls {
        Some(Error::NoCertificatesPresented) => FailureReason::CertificateMissing,
        Some(Error::InvalidCertificate(_)) => FailureReason::CertificateRejected,
        Some(Error::PeerIncompatible(reason)) => {
            return Failure::NothingInCommon(format!("{reason:?}"));
        }
        _ => return Failure::Handshake(error),
    };
    Failure::Authentication {
        mechanism: TLS,
        failure: AuthFailure::new(reason, None),
    }
}

/// SASL with the gateway as the server.
async fn gateway_managed(
    worker: &Worker,
    listener: &ListenerState,
    client: &Socket,
    mut allowance: Allowance,
) -> Result<Session, Failure> {
    let shared = &worker.shared;
    let mut told = None;
    let mut conversation = Conversation::default();
    loop {
        if conversation.is_raw() {
            let token = read_token(client, shared.limits.sasl_max_receive, &mut allowance).await?;
            match conversation.raw(&token).await {
                Turn::Answer(answer) => write(client, &answer).await?,
                Turn::Done { answer, session } => {
                    write(client, &answer).await?;
                    return Ok(Session { told, ..*session });
                }
                Turn::Failed {
                    mechanism, failure, ..
                } => {
                    sleep(shared.limits.failed_authentication_delay).await;
                    return Err(Failure::Authentication { mechanism, failure });
                }
                Turn::Refused(_) => return Err(Failure::SaslState),
            }
            continue;
        }
        let max = shared.limits.sasl_max_receive;
        let asked = read_request(client, max, told.is_none(), &mut allowance).await?;
        if asked.api == ApiKey::API_VERSIONS && !conversation.has_begun() {
            let answer = api_versions(worker, &asked, &mut told)?;
            write(client, &answer).await?;
            continue;
        }
        match conversation
            .turn(&shared.access.authenticator, &asked)
            .await?
        {
            Turn::Answer(answer) => write(client, &answer).await?,
            Turn::Done { answer, session } => {
                write(client, &answer).await?;
                return Ok(Session { told, ..*session });
            }
            Turn::Failed {
                answer,
                mechanism,
                failure,
            } => {
                sleep(shared.limits.failed_authentication_delay).await;
                write(client, &answer).await?;
                return Err(Failure::Authentication { mechanism, failure });
            }
            Turn::Refused(answer) => {
                if let Some(answer) = answer {
                    write(client, &answer).await?;
                }
                tracing::debug!(target: NETWORK, listener = listener.name, api = asked.api.name(), "not in order of a SASL exchange");
                return Err(Failure::SaslState);
            }
        }
    }
}

/// Answers ApiVersions during authentication.
pub(super) fn api_versions(
    worker: &Worker,
    asked: &Asked,
    told: &mut Option<Arc<Offered>>,
) -> Result<Bytes, Failure> {
    let offered = worker.shared.view.offered();
    let answer = local::api_versions(&offered, asked.version, asked.correlation_id, asked.body())
        .map_err(|error| Failure::Request {
        api: asked.api.name(),
        version: asked.version,
        error,
    })?;
    *told = Some(offered);
    Ok(answer)
}

/// Reads one request; `first`: it may turn out to be another protocol.
pub(super) async fn read_request(
    client: &Socket,
    max: usize,
    first: bool,
    allowance: &mut Allowance,
) -> Result<Asked, Failure> {
    let mut prefix = [0; 4];
    read(client, &mut prefix).await?;
    let declared = i32::from_be_bytes(prefix);
    let size = usize::try_from(declared)
        .ok()
        .filter(|size| (MIN_REQUEST..=max).contains(size));
    let Some(size) = size else {
        return Err(match peek::foreign_protocol(&prefix) {
            Some(hint) if first => Failure::Hint(hint),
            _ => Failure::RequestSize {
                size: declared.into(),
                max,
            },
        });
    };
    let frame = read_paid(client, size, allowance).await?;
    let (api, version, correlation_id, header_len) = match RequestHeader::parse(&frame) {
        Ok(header) => (
            header.api,
            header.version,
            header.correlation_id,
            header.len,
        ),
        Err(HeaderError::UnsupportedVersion {
            api: ApiKey::API_VERSIONS,
            version,
            correlation_id: Some(correlation_id),
        }) => (ApiKey::API_VERSIONS, version, correlation_id, MIN_REQUEST),
        Err(error) => return Err(Failure::Header(error)),
    };
    Ok(Asked {
        api,
        version,
        correlation_id,
        frame,
        header_len,
    })
}

/// Reads one token of SaslHandshake v0 style: a length and the bytes, no header.
pub(super) async fn read_token(
    client: &Socket,
    max: usize,
    allowance: &mut Allowance,
) -> Result<Bytes, Failure> {
    let size = token_size(client, max).await?;
    read_paid(client, size, allowance).await
}

/// The same from a broker, which owes the gateway nothing.
pub(super) async fn read_broker_token(broker: &Socket, max: usize) -> Result<Bytes, Failure> {
    let size = token_size(broker, max).await?;
    let mut token = Vec::new();
    while token.len() < size {
        let next = size.min(token.len() + STEP);
        grow(broker, &mut token, next).await?;
    }
    Ok(token.into())
}

async fn token_size(socket: &Socket, max: usize) -> Result<usize, Failure> {
    let mut prefix = [0; 4];
    read(socket, &mut prefix).await?;
    let declared = i32::from_be_bytes(prefix);
    usize::try_from(declared)
        .ok()
        .filter(|size| *size <= max)
        .ok_or(Failure::RequestSize {
            size: declared.into(),
            max,
        })
}

/// Smallest request: API key, version, correlation id, null client id.
const MIN_REQUEST: usize = 10;

/// A length alone allocates nothing: the buffer grows as bytes arrive.
const STEP: usize = 16 * 1024;

/// What is more than the free bytes has to arrive within this: others wait for the room.
const MAX_PAID: Duration = Duration::from_secs(10);

/// Reads a frame of a client. What the one before has cost is given back.
async fn read_paid(
    client: &Socket,
    size: usize,
    allowance: &mut Allowance,
) -> Result<Bytes, Failure> {
    allowance.release();
    let mut frame = Vec::new();
    grow(client, &mut frame, size.min(FREE)).await?;
    let paid = async {
        while frame.len() < size {
            client.ready().await.map_err(Failure::Client)?;
            let next = size.min(frame.len() + STEP);
            if !allowance.hold(next).await {
                return Err(Failure::Intake(next));
            }
            grow(client, &mut frame, next).await?;
        }
        Ok(())
    };
    timeout(MAX_PAID, paid)
        .await
        .unwrap_or(Err(Failure::Slow(size)))?;
    Ok(frame.into())
}

/// Reads until `frame` has `len` bytes.
async fn grow(client: &Socket, frame: &mut Vec<u8>, len: usize) -> Result<(), Failure> {
    let filled = frame.len();
    frame.reserve_exact(len.saturating_sub(filled));
    frame.resize(len, 0);
    read(client, &mut frame[filled..]).await
}

async fn read(socket: &Socket, buffer: &mut [u8]) -> Result<(), Failure> {
    match socket.read_exact(buffer).await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Failure::Left),
        other => other.map_err(Failure::Client),
    }
}

pub(super) async fn write(client: &Socket, frame: &[u8]) -> Result<(), Failure> {
    client.write_all(frame).await.map_err(Failure::Client)
}

#[cfg(test)]
mod tests {
    use rustls::{Error, InvalidMessage, PeerIncompatible};

    use super::*;

    fn refused(error: Error, first: &[u8]) -> Failure {
        refused_handshake(io::Error::new(io::ErrorKind::InvalidData, error), first)
    }

    #[test]
    fn a_handshake_without_a_common_suite_is_worth_a_line() {
        let nothing = Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon);
        let failure = refused(nothing, &[0x16, 3, 1, 0]);
        assert!(failure.is_clients_fault() && failure.kind() == "tls");
        assert!(failure.to_string().contains("NoCipherSuitesInCommon"));
    }

    #[test]
    fn what_is_no_handshake_is_named_if_it_is_known() {
        let other = || Error::InvalidMessage(InvalidMessage::InvalidContentType);
        for (first, hint) in [
            (&b"PROX"[..], "PROXY"),
            (b"GET ", "HTTP"),
            (&[0, 0, 0, 20], "security.protocol"),
        ] {
            assert!(refused(other(), first).to_string().contains(hint), "{hint}");
        }
    }
}
