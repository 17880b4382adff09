//! One request, one answer, one connection: enough of an HTTP client to ask an identity provider or an admin port.
//!
//! The answer is bounded in size and time. Nothing is followed or tried again here.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{HOST, HeaderValue, LOCATION};
use hyper::http::request::Builder;
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use crate::tls::client::server_name;

/// Smallest buffer that the HTTP parser works with, bytes.
const MIN_BUFFER_BYTES: usize = 8 << 10;

/// Where to send requests: one URL.
pub struct Endpoint {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    path: String,
    host_header: HeaderValue,
}

/// Bounds of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For connecting, and again for the TLS handshake.
    pub connect: Duration,
    /// For the answer.
    pub answer: Duration,
    /// Largest body that is read.
    pub max_bytes: usize,
}

/// What came back.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Location`, if it is text.
    pub location: Option<String>,
    /// The body, whatever the status.
    pub body: Zeroizing<Vec<u8>>,
}

/// Why nothing came back. Holds nothing of the request.
#[derive(Debug, Error)]
pub enum HttpError {
    /// Connecting, the TLS handshake or the exchange failed.
    #[error("{0}")]
    Failed(String),
    /// One of the [`Limits`] of time ran out.
    #[error("no answer within {0:?}")]
    TooSlow(Duration),
}

impl Endpoint {
    /// `tls` makes the TLS configuration; it is asked for `https` URLs only.
    ///
    /// # Errors
    /// What is wrong with the URL or the TLS configuration.
    pub fn new(
        url: &str,
        tls: impl FnOnce() -> Result<Arc<ClientConfig>, String>,
    ) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| "is not a URL".to_owned())?;
        let authority = uri.authority().ok_or("names no host")?;
        if authority.as_str().contains('@') {
            return Err("must not contain credentials".to_owned());
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let (tls, default_port) = match uri.scheme_str() {
            Some("https") => {
                let name = server_name(host).map_err(|_| "names no valid host".to_owned())?;
                (Some((TlsConnector::from(tls()?), name)), 443)
            }
            Some("http") => (None, 80),
            _ => return Err("must begin with https:// or http://".to_owned()),
        };
        Ok(Self {
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(default_port),
            tls,
            path: path_of(&uri),
            host_header: HeaderValue::from_str(authority.as_str())
                .map_err(|_| "is not usable".to_owned())?,
        })
    }

    /// The same place with the path of `location`, if `location` does not leave host, port and scheme.
    pub(crate) fn redirected(&self, location: &str) -> Option<String> {
        let uri: Uri = location.parse().ok()?;
        if let Some(authority) = uri.authority() {
            let (scheme, default_port) = match self.tls {
                Some(_) => ("https", 443),
                None => ("http", 80),
            };
            let host = authority
                .host()
                .trim_start_matches('[')
                .trim_end_matches(']');
            let same = uri.scheme_str() == Some(scheme)
                && host.eq_ignore_ascii_case(&self.host)
                && authority.port_u16().unwrap_or(default_port) == self.port
                && !authority.as_str().contains('@');
            return same.then(|| path_of(&uri));
        }
        let absolute_path = location.starts_with('/') && !location.starts_with("//");
        absolute_path.then(|| path_of(&uri))
    }

    /// The path and query of the URL.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A request to `path` of this place.
    pub fn request(&self, method: Method, path: &str) -> Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host_header)
    }

    /// Sends a request made by [`Endpoint::request`].
    ///
    /// # Errors
    /// No whole answer came within `limits`; the request may have been carried out all the same.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        limits: Limits,
    ) -> Result<Answer, HttpError> {
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        let stream = within(limits.connect, connect).await?;
        match &self.tls {
            None => exchange(stream, request, limits).await,
            Some((connector, name)) => {
                let handshake = connector.connect(name.clone(), stream);
                let stream = within(limits.connect, handshake).await?;
                exchange(stream, request, limits).await
            }
        }
    }

    /// Host and port.
    pub fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
    limits: Limits,
) -> Result<Answer, HttpError> {
    let talk = async {
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .max_buf_size(limits.max_bytes.max(MIN_BUFFER_BYTES))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(failed)?;
        let mut answer = pin!(async {
            let response = sender.send_request(request).await.map_err(failed)?;
            let status = response.status().as_u16();
            let location = response.headers().get(LOCATION);
            let location = location.and_then(|value| value.to_str().ok().map(String::from));
            let body = Limited::new(response.into_body(), limits.max_bytes)
                .collect()
                .await
                .map_err(failed)?;
            Ok(Answer {
                status,
                location,
                body: Zeroizing::new(body.to_bytes().to_vec()),
            })
        });
        // The connection has to be driven for the answer to arrive, and may end just before the answer is taken.
        tokio::select! {
            biased;
            answer = &mut answer => answer,
            _ = connection => answer.await,
        }
    };
    match timeout(limits.answer, talk).await {
        Ok(result) => result,
        Err(_) => Err(HttpError::TooSlow(limits.answer)),
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = std::io::Result<T>>,
) -> Result<T, HttpError> {
    match timeout(limit, work).await {
        Ok(result) => result.map_err(failed),
        Err(_) => Err(HttpError::TooSlow(limit)),
    }
}

fn failed(error: impl std::fmt::Display) -> HttpError {
    HttpError::Failed(error.to_string())
}

fn path_of(uri: &Uri) -> String {
    uri.path_and_query()
        .map_or("/", |path| path.as_str())
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_must_stay_where_it_is() {
        let endpoint = Endpoint::new("http://idp.example:8080/keys", || {
            Err("not asked for".to_owned())
        })
        .unwrap();
        for (location, path) in [
            ("/other?x=1", Some("/other?x=1")),
            ("http://idp.example:8080/other", Some("/other")),
            ("http://IDP.example:8080", Some("/")),
            ("https://idp.example:8080/other", None),
            ("http://idp.example/other", None),
            ("http://elsewhere:8080/other", None),
            ("http://u@idp.example:8080/other", None),
            ("//elsewhere/other", None),
            ("other", None),
            ("", None),
        ] {
            assert_eq!(endpoint.redirected(location).as_deref(), path, "{location}");
        }
    }
}
