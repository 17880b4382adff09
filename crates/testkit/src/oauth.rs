//! An OAuth issuer for SASL OAUTHBEARER tests: signed tokens, a key set, a token endpoint.

use crate::http::Server;
use crate::{Error, Result};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Signs tokens with ES256 keys, the newest one first of all.
#[derive(Debug)]
pub struct OAuthIssuer {
    issuer: String,
    audience: String,
    /// Published keys, the signing one last.
    keys: Vec<Key>,
    /// Published, and does not sign yet.
    announced: Option<Key>,
}

#[derive(Debug)]
struct Key {
    id: String,
    pair: EcdsaKeyPair,
}

impl OAuthIssuer {
    /// An issuer with a fresh key.
    ///
    /// # Errors
    /// Key generation failed.
    pub fn new(issuer: &str, audience: &str) -> Result<OAuthIssuer> {
        Ok(OAuthIssuer {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            keys: vec![Key::new(KEY_ID.to_owned())?],
            announced: None,
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

    /// Publishes a further key with an id of its own, for the next [`OAuthIssuer::rotate`].
    ///
    /// # Errors
    /// Key generation failed.
    pub fn announce(&mut self) -> Result<()> {
        self.announced = Some(Key::new(format!("{KEY_ID}-{}", unique()))?);
        Ok(())
    }

    /// Signs with the announced key from now on; without one, with a key that nobody has seen yet.
    ///
    /// # Errors
    /// Key generation failed.
    pub fn rotate(&mut self) -> Result<()> {
        if self.announced.is_none() {
            self.announce()?;
        }
        self.keys.extend(self.announced.take());
        Ok(())
    }

    /// Takes all keys but the signing one out of the key set: tokens that they signed are worth nothing.
    pub fn withdraw_old_keys(&mut self) {
        self.keys.drain(..self.keys.len() - 1);
    }

    /// The key set as JSON (RFC 7517).
    pub fn key_set(&self) -> String {
        let keys: Vec<Value> = self
            .keys
            .iter()
            .chain(&self.announced)
            .map(Key::public)
            .collect();
        json!({ "keys": keys }).to_string()
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
        let key = self.keys.last().expect("an issuer has a key");
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": key.id});
        let text = unsigned(&header, claims);
        let signature = key
            .pair
            .sign(&SystemRandom::new(), text.as_bytes())
            .map_err(|_| Error::Answer("signing failed".to_owned()))?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// A token that takes the public key for an HMAC key (RFC 8725, 2.1): nobody may accept it.
    pub fn sign_with_public_key(&self, claims: &Value) -> String {
        let key = self.keys.last().expect("an issuer has a key");
        let header = json!({"alg": "HS256", "typ": "JWT", "kid": key.id});
        hmac_token(key.pair.public_key().as_ref(), &header, claims)
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

/// An issuer behind HTTP: `GET /jwks` gives the key set, `GET /token/<subject>/<seconds>` a token as plain text.
#[derive(Debug)]
pub struct LiveIssuer {
    issuer: Arc<Mutex<OAuthIssuer>>,
    down: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    key_set_url: String,
    token_url: String,
}

impl LiveIssuer {
    /// Serves an issuer until the test process ends.
    ///
    /// # Errors
    /// No port could be bound.
    pub fn start(issuer: OAuthIssuer) -> Result<LiveIssuer> {
        let issuer = Arc::new(Mutex::new(issuer));
        let down = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(AtomicU64::new(0));
        let (served, is_down, count) = (Arc::clone(&issuer), Arc::clone(&down), Arc::clone(&asked));
        let server = Server::start(move |request| {
            if is_down.load(Ordering::SeqCst) {
                return (503, "{}".to_owned());
            }
            let issuer = served.lock().unwrap_or_else(PoisonError::into_inner);
            if request.target == "GET /jwks" {
                count.fetch_add(1, Ordering::SeqCst);
                return (200, issuer.key_set());
            }
            let wanted = request
                .target
                .strip_prefix("GET /token/")
                .and_then(|rest| rest.split_once('/'))
                .and_then(|(subject, life)| Some((subject, life.parse().ok()?)));
            match wanted.map(|(subject, life)| issuer.token(subject, Duration::from_secs(life))) {
                Some(Ok(token)) => (200, token),
                _ => (404, "{}".to_owned()),
            }
        })?;
        let (key_set_url, token_url) = (server.url("/jwks"), server.url("/token"));
        // Its requests are not looked at, so they must not pile up.
        std::thread::spawn(move || server.forget_requests());
        Ok(LiveIssuer {
            issuer,
            down,
            asked,
            key_set_url,
            token_url,
        })
    }

    /// Where the key set is.
    pub fn key_set_url(&self) -> &str {
        &self.key_set_url
    }

    /// Where tokens for `subject` are that live for `life`.
    pub fn token_url(&self, subject: &str, life: Duration) -> String {
        format!("{}/{subject}/{}", self.token_url, life.as_secs())
    }

    /// Uses or changes the issuer.
    pub fn with<T>(&self, act: impl FnOnce(&mut OAuthIssuer) -> T) -> T {
        act(&mut self.issuer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How often the key set was given.
    pub fn key_set_requests(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// While down, every request is answered with status 503.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }
}

impl Key {
    fn new(id: String) -> Result<Key> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| Error::Answer("no ES256 key".to_owned()))?;
        Ok(Key { id, pair })
    }

    fn public(&self) -> Value {
        // Uncompressed point: 0x04, x, y.
        let point = self.pair.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        })
    }
}

/// A JWT with an HMAC-SHA-256 signature, whatever the header says.
pub fn hmac_token(key: &[u8], header: &Value, claims: &Value) -> String {
    let text = unsigned(header, claims);
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// What a JWT says, whoever signed it.
///
/// # Errors
/// It is not one.
pub fn claims_of(token: &str) -> Result<Value> {
    let broken = |error: String| Error::Answer(format!("not a JWT: {error}"));
    let claims = token.split('.').nth(1).unwrap_or_default();
    let claims = URL_SAFE_NO_PAD.decode(claims);
    let claims = claims.map_err(|error| broken(error.to_string()))?;
    serde_json::from_slice(&claims).map_err(|error| broken(error.to_string()))
}

fn unsigned(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    )
}

fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

const KEY_ID: &str = "test-key";
