//! Fetching a token with the client-credentials grant (RFC 6749 section 4.4) over HTTP or HTTPS.
//!
//! As Kafka's clients do, id and secret go into the `Authorization` header as they are, and the connection trusts the
//! system's roots (or those of `SSL_CERT_FILE`), not the trust store of the brokers. Redirects are not followed: they
//! would carry the secret to another place.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::oauthbearer::printable;
use super::token::{MAX_TOKEN_BYTES, Token, TokenError, TokenSource};
use crate::tls::client::server_name;

/// Time for connecting and the TLS handshake, and for the answer, unless the settings say otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer that is read, bytes.
const MAX_ANSWER_BYTES: usize = MAX_TOKEN_BYTES + (8 << 10);

/// The settings of a token endpoint.
#[derive(Clone)]
pub struct EndpointSettings<'a> {
    /// `http://` or `https://`.
    pub url: &'a str,
    /// OAuth client id.
    pub client_id: &'a str,
    /// OAuth client secret.
    pub client_secret: &'a str,
    /// Scope to ask for.
    pub scope: Option<&'a str>,
    /// Limit for connecting and the TLS handshake.
    pub connect_timeout: Duration,
    /// Limit for the answer.
    pub read_timeout: Duration,
}

/// A token endpoint with the credentials for it.
pub struct TokenEndpoint {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    path: String,
    host_header: HeaderValue,
    authorization: HeaderValue,
    form: Bytes,
    connect_timeout: Duration,
    read_timeout: Duration,
}

impl TokenEndpoint {
    /// `tls` makes the TLS configuration; it is asked for `https` URLs only.
    ///
    /// # Errors
    /// What is wrong with the URL or the TLS configuration; no secret.
    pub fn new(
        settings: &EndpointSettings<'_>,
        tls: impl FnOnce() -> Result<Arc<ClientConfig>, String>,
    ) -> Result<Self, String> {
        let uri: Uri = settings
            .url
            .parse()
            .map_err(|_| "is not a URL".to_owned())?;
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
        let pair = Zeroizing::new(format!("{}:{}", settings.client_id, settings.client_secret));
        let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        let header = |text: &str| HeaderValue::from_str(text).map_err(|_| "is not usable");
        let mut authorization = header(&basic)?;
        authorization.set_sensitive(true);
        let mut form = "grant_type=client_credentials".to_owned();
        if let Some(scope) = settings.scope {
            form.push_str("&scope=");
            form.push_str(&form_encoded(scope));
        }
        Ok(Self {
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(default_port),
            tls,
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
            host_header: header(authority.as_str())?,
            authorization,
            form: Bytes::from(form),
            connect_timeout: settings.connect_timeout,
            read_timeout: settings.read_timeout,
        })
    }

    /// One request, one answer, one connection: this happens once in the life of a token.
    async fn request(&self) -> Result<Token, TokenError> {
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        let stream = self.within(self.connect_timeout, connect).await?;
        let (status, body) = match &self.tls {
            None => self.exchange(stream).await?,
            Some((connector, name)) => {
                let handshake = connector.connect(name.clone(), stream);
                let stream = self.within(self.connect_timeout, handshake).await?;
                self.exchange(stream).await?
            }
        };
        match status {
            200..300 => token_of(&body),
            _ => Err(TokenError::Refused {
                status,
                reason: refusal(&body),
            }),
        }
    }

    async fn exchange(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> Result<(u16, Zeroizing<Vec<u8>>), TokenError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(HOST, &self.host_header)
            .header(AUTHORIZATION, &self.authorization)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(self.form.clone()))
            .map_err(|error| self.failed(error))?;
        let talk = async {
            let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
                .max_buf_size(MAX_ANSWER_BYTES)
                .handshake(TokioIo::new(stream))
                .await
                .map_err(|error| self.failed(error))?;
            let mut answer = pin!(async {
                let response = sender
                    .send_request(request)
                    .await
                    .map_err(|error| self.failed(error))?;
                let status = response.status().as_u16();
                let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
                    .collect()
                    .await
                    .map_err(|error| self.failed(error))?;
                Ok((status, Zeroizing::new(body.to_bytes().to_vec())))
            });
            // The connection has to be driven for the answer to arrive, and may end just before the answer is taken.
            tokio::select! {
                biased;
                answer = &mut answer => answer,
                _ = connection => answer.await,
            }
        };
        match timeout(self.read_timeout, talk).await {
            Ok(result) => result,
            Err(_) => Err(self.too_slow(self.read_timeout)),
        }
    }

    async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = std::io::Result<T>>,
    ) -> Result<T, TokenError> {
        match timeout(limit, work).await {
            Ok(result) => result.map_err(|error| self.failed(error)),
            Err(_) => Err(self.too_slow(limit)),
        }
    }

    fn failed(&self, error: impl std::fmt::Display) -> TokenError {
        TokenError::Connection {
            endpoint: self.name(),
            reason: error.to_string(),
        }
    }

    fn too_slow(&self, after: Duration) -> TokenError {
        TokenError::Timeout {
            endpoint: self.name(),
            after,
        }
    }

    fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

impl TokenSource for TokenEndpoint {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send + '_>> {
        Box::pin(self.request())
    }
}

/// `access_token` and, where the token does not tell itself, `expires_in` (RFC 6749 section 5.1).
fn token_of(body: &[u8]) -> Result<Token, TokenError> {
    let answer: serde_json::Value =
        serde_json::from_slice(body).map_err(|_| TokenError::BadAnswer("the body is not JSON"))?;
    let token = answer
        .get("access_token")
        .and_then(|token| token.as_str())
        .ok_or(TokenError::BadAnswer("there is no access_token"))?;
    // Some providers write the number as text.
    let expires_in = answer
        .get("expires_in")
        .and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
    Token::parse(token.trim(), expires_in.map(Duration::from_secs))
}

/// `error` and `error_description` (RFC 6749 section 5.2), empty if there is none.
fn refusal(body: &[u8]) -> String {
    let Ok(answer) = serde_json::from_slice::<serde_json::Value>(body) else {
        return String::new();
    };
    let text = |name: &str| answer.get(name).and_then(|value| value.as_str());
    match (text("error"), text("error_description")) {
        (Some(error), Some(description)) => printable(&format!("{error}, {description}")),
        (Some(error), None) => printable(error),
        _ => String::new(),
    }
}

/// `application/x-www-form-urlencoded`.
fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => {
                encoded.push(char::from(byte));
            }
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
