//! Fetching a token with the client-credentials grant (RFC 6749 section 4.4) over HTTP or HTTPS.
//!
//! As Kafka's clients do, id and secret go into the `Authorization` header as they are, and the connection trusts the
//! system's roots (or those of `SSL_CERT_FILE`), not the trust store of the brokers. Redirects are not followed: they
//! would carry the secret to another place.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Method;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use rustls::ClientConfig;
use zeroize::Zeroizing;

use super::oauthbearer::printable;
use super::token::{MAX_TOKEN_BYTES, Token, TokenError, TokenSource};
use crate::http::{Endpoint, HttpError, Limits};

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
    endpoint: Endpoint,
    authorization: HeaderValue,
    form: Bytes,
    limits: Limits,
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
        let endpoint = Endpoint::new(settings.url, tls)?;
        let pair = Zeroizing::new(format!("{}:{}", settings.client_id, settings.client_secret));
        let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        let mut authorization =
            HeaderValue::from_str(&basic).map_err(|_| "is not usable".to_owned())?;
        authorization.set_sensitive(true);
        let mut form = "grant_type=client_credentials".to_owned();
        if let Some(scope) = settings.scope {
            form.push_str("&scope=");
            form.push_str(&form_encoded(scope));
        }
        Ok(Self {
            endpoint,
            authorization,
            form: Bytes::from(form),
            limits: Limits {
                connect: settings.connect_timeout,
                answer: settings.read_timeout,
                max_bytes: MAX_ANSWER_BYTES,
            },
        })
    }

    async fn request(&self) -> Result<Token, TokenError> {
        let request = self
            .endpoint
            .request(Method::POST, self.endpoint.path())
            .header(AUTHORIZATION, &self.authorization)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(self.form.clone()))
            .map_err(|error| self.failed(HttpError::Failed(error.to_string())))?;
        let answer = self
            .endpoint
            .send(request, self.limits)
            .await
            .map_err(|error| self.failed(error))?;
        match answer.status {
            200..300 => token_of(&answer.body),
            status => Err(TokenError::Refused {
                status,
                reason: refusal(&answer.body),
            }),
        }
    }

    fn failed(&self, error: HttpError) -> TokenError {
        let endpoint = self.endpoint.name();
        match error {
            HttpError::Failed(reason) => TokenError::Connection { endpoint, reason },
            HttpError::TooSlow(after) => TokenError::Timeout { endpoint, after },
        }
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
