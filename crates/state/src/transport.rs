//! The way to the brokers, as the store needs it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Message, Request};
use thiserror::Error;
use wire::api::{ApiKey, Direction};

/// Sends requests to brokers. Keeps connections, authenticates, negotiates versions; knows nothing of topics.
pub trait Transport: Send + Sync {
    /// Sends one request and waits for its answer, for a bounded time. Dropping the future gives the request up; the
    /// broker may have carried it out all the same.
    fn call(&self, to: Node, call: Call) -> Answering<'_>;
}

/// The future of [`Transport::call`].
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Reply, TransportError>> + Send + 'a>>;

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Node {
    /// Any of the bootstrap servers.
    Bootstrap,
    /// The broker that Kafka said is there.
    At {
        /// Host name or address.
        host: Arc<str>,
        /// Port.
        port: u16,
    },
}

/// One request.
pub struct Call {
    /// The API.
    pub api: ApiKey,
    /// The lowest version the caller can speak.
    pub min_version: i16,
    /// The highest.
    pub max_version: i16,
    /// Makes the body (no header) in the version agreed upon.
    pub encode: Encode,
}

/// See [`Call::encode`]; an error is a text for the log.
pub type Encode = Box<dyn FnOnce(i16) -> Result<Bytes, String> + Send>;

/// The answer to a [`Call`].
#[derive(Clone, Debug)]
pub struct Reply {
    /// The version it has.
    pub version: i16,
    /// The body (no header), not yet checked.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Debug, Error)]
pub enum TransportError {
    /// Not connected, not authenticated, cut off, or too late. The request may have been carried out.
    #[error("{reason}")]
    Unreachable {
        /// What happened.
        reason: String,
    },
    /// The broker and the caller have no version of the API in common.
    #[error("the broker has no usable version of {api}")]
    Unsupported {
        /// The API.
        api: ApiKey,
    },
    /// The request cannot be encoded or the answer not be decoded.
    #[error("{reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
}

impl TransportError {
    /// An [`TransportError::Unreachable`] with this reason.
    pub fn unreachable(reason: impl fmt::Display) -> Self {
        TransportError::Unreachable {
            reason: reason.to_string(),
        }
    }

    /// A [`TransportError::Malformed`] with this reason.
    pub fn malformed(reason: impl fmt::Display) -> Self {
        TransportError::Malformed {
            reason: reason.to_string(),
        }
    }
}

/// Asks in the highest version of `versions` (lowest and highest) that the broker and the typed codec know, too; `request` is made for the
/// version agreed upon. The answer is walked before it is decoded, because typed decoders trust the lengths they read.
///
/// # Errors
///
/// What [`Transport::call`] says, and [`TransportError::malformed`] for a request that cannot be encoded and for an answer that is none.
pub async fn ask<R>(
    transport: &dyn Transport,
    to: Node,
    versions: (i16, i16),
    request: impl FnOnce(i16) -> R + Send + 'static,
) -> Result<R::Response, TransportError>
where
    R: Request,
{
    let api = ApiKey(R::KEY);
    let (min_version, max_version) = versions;
    let typed = R::VERSIONS.min.max(<R::Response as Message>::VERSIONS.min);
    let call = Call {
        api,
        min_version: min_version.max(typed),
        max_version,
        encode: Box::new(move |version| {
            let mut body = BytesMut::new();
            request(version)
                .encode(&mut body, version)
                .map_err(|e| format!("cannot encode {api}: {e}"))?;
            Ok(body.freeze())
        }),
    };
    let Reply { version, mut body } = transport.call(to, call).await?;
    wire::walk::validate(api, version, Direction::Response, &body)
        .map_err(TransportError::malformed)?;
    R::Response::decode(&mut body, version).map_err(TransportError::malformed)
}
