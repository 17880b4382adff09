//! An OAuth issuer for SASL OAUTHBEARER tests: signed tokens, a key set, a token endpoint.

use crate::http::Server;
use crate::{Error, Result};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Signs tokens with one ES256 key.
#[derive(Debug)]
pub struct OAuthIssuer {
    issuer: String,
    audience: String,
    key: EcdsaKeyPair,
}

impl OAuthIssuer {
    /// An issuer with a fresh key.
    ///
    /// # Errors
    /// Key generation failed.
    pub fn new(issuer: &str, audience: &str) -> Result<OAuthIssuer> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| Error::Answer("no ES256 key".to_owned()))?;
        Ok(OAuthIssuer {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            key,
        })
    }

    /// The `iss` claim.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The `aud` claim.
    pub fn audience(&self) -> &str {
        &self.audience
    }

    /// The key set as JSON (RFC 7517).
    pub fn key_set(&self) -> String {
        // Uncompressed point: 0x04, x, y.
        let point = self.key.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]})
        .to_string()
    }

    /// Writes the key set to `jwks.json` in `dir`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_key_set(&self, dir: &Path) -> Result<PathBuf> {
        let path = dir.join("jwks.json");
        std::fs::write(&path, self.key_set())
            .map_err(Error::io(format!("write {}", path.display())))?;
        Ok(path)
    }

    /// A token for `subject`, valid from now for `lifetime`.
    ///
    /// # Errors
    /// Signing failed.
    pub fn token(&self, subject: &str, lifetime: Duration) -> Result<String> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        self.sign(&json!({
            "iss": self.issuer, "aud": self.audience, "sub": subject, "scope": "kafka",
            "iat": now, "nbf": now, "exp": now + lifetime.as_secs(),
        }))
    }

    /// A token with any claims.
    ///
    /// # Errors
    /// Signing failed.
    pub fn sign(&self, claims: &Value) -> Result<String> {
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": KEY_ID});
        let text = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = self
            .key
            .sign(&SystemRandom::new(), text.as_bytes())
            .map_err(|_| Error::Answer("signing failed".to_owned()))?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Serves the key set at `GET /jwks` and, for the client credentials grant (RFC 6749, 4.4), tokens
    /// for `subject` at `POST /token`.
    ///
    /// # Errors
    /// No port could be bound.
    pub fn serve(self, subject: &str, lifetime: Duration) -> Result<Server> {
        let subject = subject.to_owned();
        Server::start(move |request| match request.target.as_str() {
            "GET /jwks" => (200, self.key_set()),
            "POST /token" => match self.token(&subject, lifetime) {
                Ok(token) => (
                    200,
                    json!({
                        "access_token": token, "token_type": "Bearer",
                        "expires_in": lifetime.as_secs(),
                    })
                    .to_string(),
                ),
                Err(error) => (500, json!({"error": error.to_string()}).to_string()),
            },
            _ => (404, "{}".to_owned()),
        })
    }
}

const KEY_ID: &str = "test-key";
