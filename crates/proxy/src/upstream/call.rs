//! The gateway's own requests: typed messages over a leg, one at a time.
//!
//! An answer is walked before it is decoded typed, because typed decoders trust the lengths they read.

use std::io;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};
use thiserror::Error;
use tokio::time::timeout;
use wire::api::{ApiKey, Direction};

use super::dial::Leg;
use crate::socket::Socket;

/// Upper bound of answers that are known to be small (SASL, ApiVersions), bytes.
pub(crate) const MAX_SMALL_ANSWER: usize = 512 * 1024;

/// Upper bound of answers to the gateway's own calls, bytes.
const MAX_ANSWER: usize = 64 * 1024 * 1024;

/// Why a call failed.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("an answer of {0} bytes is out of bounds")]
    Size(i64),
    /// The other side speaks another protocol for certain.
    #[error("{0}")]
    Foreign(&'static str),
    #[error("the answer does not belong to the request")]
    Correlation,
    #[error("the answer is malformed: {0}")]
    Malformed(String),
    #[error("cannot encode the request: {0}")]
    Encode(String),
}

/// A leg that answers the gateway's own calls.
pub(crate) struct OwnConnection {
    leg: Leg,
    client_id: String,
    request_timeout: Duration,
    next_correlation_id: i32,
}

impl OwnConnection {
    pub(crate) fn new(leg: Leg, client_id: &str, request_timeout: Duration) -> Self {
        OwnConnection {
            leg,
            client_id: client_id.to_owned(),
            request_timeout,
            next_correlation_id: 0,
        }
    }

    /// Whether the session needs to be renewed; own connections are simply replaced then.
    pub(crate) fn is_stale(&self) -> bool {
        self.leg
            .reauthenticate_at
            .is_some_and(|at| at <= tokio::time::Instant::now())
    }

    /// Sends `request` and waits for its answer.
    pub(crate) async fn call<R: Request>(
        &mut self,
        request: &R,
        version: i16,
    ) -> Result<R::Response, CallError> {
        let id = self.next_id();
        let frame = encode_request(request, version, id, &self.client_id)?;
        let answer = self.exchange(&frame).await?;
        decode_response::<R>(answer, version, id)
    }

    /// Sends a request whose body is encoded already. Returns the body of the answer, which nobody has checked.
    pub(crate) async fn call_encoded(
        &mut self,
        api: ApiKey,
        version: i16,
        body: &[u8],
    ) -> Result<Bytes, CallError> {
        let id = self.next_id();
        let frame = frame(api, version, id, &self.client_id, body)?;
        let answer = self.exchange(&frame).await?;
        response_body(answer, api, version, id)
    }

    fn next_id(&mut self) -> i32 {
        let id = self.next_correlation_id;
        self.next_correlation_id = id.wrapping_add(1) & i32::MAX;
        id
    }

    async fn exchange(&self, frame: &[u8]) -> Result<Bytes, CallError> {
        let exchange = async {
            self.leg.socket.write_all(frame).await?;
            read_frame(&self.leg.socket, MAX_ANSWER).await
        };
        timeout(self.request_timeout, exchange)
            .await
            .map_err(|_| CallError::TimedOut(self.request_timeout))?
    }
}

/// A whole request frame, length prefix included.
pub(crate) fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &str,
) -> Result<Bytes, CallError> {
    let mut body = BytesMut::new();
    request
        .encode(&mut body, version)
        .map_err(|e| CallError::Encode(e.to_string()))?;
    frame(ApiKey(R::KEY), version, correlation_id, client_id, &body)
}

/// Puts length prefix and header before a body.
fn frame(
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: &str,
    body: &[u8],
) -> Result<Bytes, CallError> {
    let header = RequestHeader::default()
        .with_request_api_key(api.0)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(Some(StrBytes::from_string(client_id.to_owned())));
    let mut head = BytesMut::new();
    header
        .encode(
            &mut head,
            wire::header::request_header_version(api, version),
        )
        .map_err(|e| CallError::Encode(e.to_string()))?;
    let len = head.len() + body.len();
    let mut frame = BytesMut::with_capacity(4 + len);
    frame.put_u32(u32::try_from(len).map_err(|e| CallError::Encode(e.to_string()))?);
    frame.put(head);
    frame.put(body);
    Ok(frame.freeze())
}

/// Reads one frame; returns it without its length prefix.
pub(crate) async fn read_frame(socket: &Socket, limit: usize) -> Result<Bytes, CallError> {
    let mut prefix = [0; 4];
    socket.read_exact(&mut prefix).await?;
    let declared = i32::from_be_bytes(prefix);
    let size = usize::try_from(declared)
        .ok()
        .filter(|size| *size >= 4 && *size <= limit)
        .ok_or_else(|| match foreign_protocol(prefix) {
            Some(what) => CallError::Foreign(what),
            None => CallError::Size(declared.into()),
        })?;
    // Grown as bytes arrive: a length alone allocates nothing.
    let mut frame = Vec::new();
    while frame.len() < size {
        let step = (size - frame.len()).min(64 * 1024);
        let filled = frame.len();
        frame.resize(filled + step, 0);
        socket.read_exact(&mut frame[filled..]).await?;
    }
    Ok(frame.into())
}

/// Recognises what is not Kafka by what would be the length of an answer of a gigabyte.
fn foreign_protocol(prefix: [u8; 4]) -> Option<&'static str> {
    match &prefix {
        // An alert or a handshake message.
        [0x15 | 0x16, 0x03, ..] => {
            Some("it speaks TLS, and the gateway does not: the listener is SSL or SASL_SSL")
        }
        b"HTTP" => Some("it speaks HTTP, so it is no broker"),
        _ => None,
    }
}

/// Decodes the answer to request `R`, after the walker has accepted it.
pub(crate) fn decode_response<R: Request>(
    frame: Bytes,
    version: i16,
    correlation_id: i32,
) -> Result<R::Response, CallError> {
    let api = ApiKey(R::KEY);
    let mut body = response_body(frame, api, version, correlation_id)?;
    wire::walk::validate(api, version, Direction::Response, &body).map_err(malformed)?;
    R::Response::decode(&mut body, version).map_err(malformed)
}

/// What follows the header of an answer.
fn response_body(
    mut frame: Bytes,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
) -> Result<Bytes, CallError> {
    let header_len = wire::header::response_header_len(api, version, &frame).map_err(malformed)?;
    let header = ResponseHeader::decode(
        &mut frame.slice(..header_len),
        wire::header::response_header_version(api, version),
    )
    .map_err(malformed)?;
    if header.correlation_id != correlation_id {
        return Err(CallError::Correlation);
    }
    frame.advance(header_len);
    Ok(frame)
}

fn malformed(error: impl std::fmt::Display) -> CallError {
    CallError::Malformed(error.to_string())
}
