//! From a validated frame to a typed request, and from a typed response to the pieces of a frame.
//!
//! Nothing is decoded that `wire` has not walked: the typed decoders believe every length.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion};
use wire::api::{ApiKey, Direction};
use wire::header::HeaderError;
use wire::walk::{self, WalkError};

/// Pieces smaller than this are copied together, so that many tiny batches do not become many tiny writes.
const COPY_BELOW: usize = 4_096;

/// Why a connection ends. The client has broken the protocol, or the answer cannot be put into the version it asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("header: {0}")]
    Header(#[from] HeaderError),
    #[error("body: {0}")]
    Body(#[from] WalkError),
    #[error("body: {0}")]
    Text(String),
    #[error("API key {0} version {1} is not served")]
    NotServed(i16, i16),
    #[error("response: {0}")]
    Response(String),
    #[error("failed Produce with acks=0")]
    FailedWithoutAcks,
}

/// Checks and decodes a request body.
///
/// Bytes after its end are let pass, as Kafka does: librdkafka 2.16 asks for all topics in Metadata version 13 with three too many.
pub(crate) fn decode<T: Decodable>(api: i16, version: i16, body: &Bytes) -> Result<T, Refusal> {
    match walk::validate(ApiKey(api), version, Direction::Request, body) {
        Ok(()) | Err(WalkError::TrailingBytes { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    T::decode(&mut body.clone(), version).map_err(|error| Refusal::Text(error.to_string()))
}

/// A response frame without its length prefix.
pub(crate) fn encode<T: Encodable + HeaderVersion>(
    correlation_id: i32,
    version: i16,
    response: &T,
) -> Result<Frame, Refusal> {
    let refuse = |error: &dyn std::fmt::Display| Refusal::Response(error.to_string());
    let size = response.compute_size(version).map_err(|e| refuse(&e))?;
    let mut out = BytesMut::with_capacity(size + 8);
    out.put_i32(correlation_id);
    if T::header_version(version) > 0 {
        out.put_u8(0);
    }
    response.encode(&mut out, version).map_err(|e| refuse(&e))?;
    let mut frame = Frame::default();
    frame.put(out.freeze());
    Ok(frame)
}

/// Bytes of a response in pieces: what was written, and record batches that stay where they are.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    done: Vec<Bytes>,
    open: BytesMut,
    len: usize,
}

impl Frame {
    /// Small things are written here.
    pub(crate) fn open(&mut self) -> &mut BytesMut {
        &mut self.open
    }

    /// Adds bytes, sharing them if they are many.
    pub(crate) fn put(&mut self, bytes: Bytes) {
        if bytes.len() < COPY_BELOW {
            self.open.put_slice(&bytes);
        } else {
            self.close();
            self.len += bytes.len();
            self.done.push(bytes);
        }
    }

    /// The finished pieces, the length prefix in front.
    pub(crate) fn finish(mut self) -> Vec<Bytes> {
        self.close();
        let prefix = Bytes::copy_from_slice(&(self.len as i32).to_be_bytes());
        self.done.insert(0, prefix);
        self.done
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            self.len += self.open.len();
            self.done.push(self.open.split().freeze());
        }
    }
}
