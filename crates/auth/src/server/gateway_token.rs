//! The gateway's own tokens: JWTs that a LOCAL account uses as its password.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config::Secret;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use serde::Serialize;
use thiserror::Error;
use zeroize::Zeroizing;

use super::failure::TokenDefect;
use super::jwt::{self, Jws};

/// Fewest bytes of a signing key.
const MIN_KEY_BYTES: usize = 32;

/// The claim that says which one of several accounts of one name the token is for.
const INCARNATION: &str = "incarnation";

/// Makes and checks tokens with one key.
#[derive(Clone)]
pub struct GatewayTokens {
    signing: EncodingKey,
    verifying: DecodingKey,
}

/// Why a signing key is not usable. Holds nothing of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SigningKeyError {
    /// It is not standard base64.
    #[error("is not base64")]
    NotBase64,
    /// It is too short.
    #[error("holds fewer than {MIN_KEY_BYTES} bytes")]
    TooShort,
}

/// What a genuine token says. Its life may be over: the caller compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayClaims {
    /// Name of the account.
    pub username: String,
    /// Virtual cluster of the account.
    pub vcluster: String,
    /// [`Account::incarnation`](crate::accounts::Account::incarnation) of the account.
    pub incarnation: Option<String>,
    /// End of its life, since 1970.
    pub expires: Duration,
}

#[derive(Serialize)]
struct IssuedClaims<'a> {
    username: &'a str,
    vcluster: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    incarnation: Option<&'a str>,
    exp: u64,
}

impl GatewayTokens {
    /// `key` is the value of `GATEWAY_USER_POOL_SECRET_KEY`: base64 of at least 32 bytes.
    ///
    /// # Errors
    /// [`SigningKeyError`].
    pub fn new(key: &Secret) -> Result<Self, SigningKeyError> {
        let bytes = STANDARD
            .decode(key.expose().trim())
            .map_err(|_| SigningKeyError::NotBase64)?;
        let bytes = Zeroizing::new(bytes);
        if bytes.len() < MIN_KEY_BYTES {
            return Err(SigningKeyError::TooShort);
        }
        Ok(Self {
            signing: EncodingKey::from_secret(&bytes),
            verifying: DecodingKey::from_secret(&bytes),
        })
    }

    /// A token for this incarnation of the account `username` in `vcluster`, signed with HS256. Whether there is such an account is
    /// the caller's matter.
    pub fn issue(
        &self,
        username: &str,
        vcluster: &str,
        incarnation: Option<&str>,
        lifetime: Duration,
    ) -> String {
        let expires = since_1970(SystemTime::now()).saturating_add(lifetime);
        let mut header = Header::new(Algorithm::HS256);
        header.typ = None;
        let claims = IssuedClaims {
            username,
            vcluster,
            incarnation,
            exp: expires.as_secs(),
        };
        jsonwebtoken::encode(&header, &claims, &self.signing)
            .expect("texts and a number always make JSON, and any message has an HMAC")
    }

    /// Checks algorithm and signature (in constant time), then reads the claims.
    ///
    /// # Errors
    /// What is wrong with the token; never [`TokenDefect::Expired`].
    pub fn verify(&self, token: &str) -> Result<GatewayClaims, TokenDefect> {
        let jws = Jws::parse(token)?;
        let algorithm = match &*jws.algorithm {
            "HS256" => Algorithm::HS256,
            "HS384" => Algorithm::HS384,
            "HS512" => Algorithm::HS512,
            _ => return Err(TokenDefect::Algorithm),
        };
        let signed = jws.signed.as_bytes();
        match jsonwebtoken::crypto::verify(jws.signature, signed, &self.verifying, algorithm) {
            Ok(true) => {}
            _ => return Err(TokenDefect::Signature),
        }
        let claims = jws.claims()?;
        let text = |name| jwt::text(&claims, name).ok_or(TokenDefect::Claim(name));
        Ok(GatewayClaims {
            username: text("username")?.to_owned(),
            vcluster: text("vcluster")?.to_owned(),
            incarnation: match claims.get(INCARNATION) {
                Some(_) => Some(text(INCARNATION)?.to_owned()),
                None => None,
            },
            expires: jwt::time(&claims, "exp").ok_or(TokenDefect::Claim("exp"))?,
        })
    }
}

impl std::fmt::Debug for GatewayTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GatewayTokens")
    }
}

/// A clock before 1970 counts as 1970.
pub(super) fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;

    const KEY: [u8; 64] = [7; 64];

    fn tokens() -> GatewayTokens {
        GatewayTokens::new(&Secret::new(STANDARD.encode(KEY))).unwrap()
    }

    fn signed(algorithm: Algorithm, key: &[u8], claims: &Value) -> String {
        let key = EncodingKey::from_secret(key);
        jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
    }

    fn claims() -> Value {
        json!({"username": "alice", "vcluster": "blue", "exp": 100})
    }

    #[test]
    fn issued_tokens_hold_what_is_needed_and_nothing_else() {
        for incarnation in [None, Some("1f")] {
            issued(incarnation);
        }
    }

    fn issued(incarnation: Option<&str>) {
        let life = Duration::from_secs(60);
        let token = tokens().issue("alice", "passthrough", incarnation, life);
        let parts: Vec<Value> = token
            .split('.')
            .take(2)
            .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
            .collect();
        assert_eq!(parts[0], json!({"alg": "HS256"}));
        let exp = parts[1]["exp"].as_u64().unwrap();
        let mut claims = json!({"username": "alice", "vcluster": "passthrough", "exp": exp});
        if let Some(incarnation) = incarnation {
            claims["incarnation"] = incarnation.into();
        }
        assert_eq!(parts[1], claims);
        let found = tokens().verify(&token).unwrap();
        assert_eq!(found.expires, Duration::from_secs(exp));
        assert_eq!(found.incarnation.as_deref(), incarnation);
    }

    #[test]
    fn three_algorithms_are_accepted() {
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let token = signed(algorithm, &KEY, &claims());
            let found = tokens().verify(&token).unwrap();
            assert_eq!(
                found,
                GatewayClaims {
                    username: "alice".to_owned(),
                    vcluster: "blue".to_owned(),
                    incarnation: None,
                    expires: Duration::from_secs(100)
                }
            );
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let encoded = |json: &str| URL_SAFE_NO_PAD.encode(json);
        let good = signed(Algorithm::HS256, &KEY, &claims());
        let (header_and_claims, signature) = good.rsplit_once('.').unwrap();
        let header = header_and_claims.split_once('.').unwrap().0;
        let altered = encoded(r#"{"username":"alice","vcluster":"green","exp":100}"#);
        let none = encoded(r#"{"alg":"none"}"#);
        let rs = encoded(r#"{"alg":"RS256"}"#);
        let es = encoded(r#"{"alg":"hs256"}"#);
        let body = encoded(&claims().to_string());
        for (token, defect) in [
            (String::new(), TokenDefect::Malformed),
            (header_and_claims.to_owned(), TokenDefect::Malformed),
            (format!("{none}.{body}."), TokenDefect::Algorithm),
            (format!("{none}.{body}.{signature}"), TokenDefect::Algorithm),
            (format!("{rs}.{body}.{signature}"), TokenDefect::Algorithm),
            (format!("{es}.{body}.{signature}"), TokenDefect::Algorithm),
            (
                format!("{header}.{altered}.{signature}"),
                TokenDefect::Signature,
            ),
            (format!("{header_and_claims}."), TokenDefect::Signature),
            (format!("{header_and_claims}.*"), TokenDefect::Signature),
            (
                signed(Algorithm::HS256, &[8; 64], &claims()),
                TokenDefect::Signature,
            ),
            (
                signed(Algorithm::HS256, &KEY, &json!({"username": "a", "exp": 1})),
                TokenDefect::Claim("vcluster"),
            ),
            (
                signed(
                    Algorithm::HS256,
                    &KEY,
                    &json!({"username": 7, "vcluster": "b", "exp": 1}),
                ),
                TokenDefect::Claim("username"),
            ),
            (
                signed(
                    Algorithm::HS256,
                    &KEY,
                    &json!({"username": "a", "vcluster": "b"}),
                ),
                TokenDefect::Claim("exp"),
            ),
            (
                signed(
                    Algorithm::HS256,
                    &KEY,
                    &json!({"username": "a", "vcluster": "b", "exp": 1, "incarnation": null}),
                ),
                TokenDefect::Claim("incarnation"),
            ),
            (
                signed(Algorithm::HS256, &KEY, &json!([1])),
                TokenDefect::Malformed,
            ),
        ] {
            assert_eq!(tokens().verify(&token), Err(defect), "{token}");
        }
    }

    #[test]
    fn a_weak_key_is_refused_and_no_key_is_shown() {
        let made = |key: &str| GatewayTokens::new(&Secret::new(key)).map(|_| ());
        assert_eq!(made("?"), Err(SigningKeyError::NotBase64));
        assert_eq!(made("c2hvcnQ="), Err(SigningKeyError::TooShort));
        assert_eq!(format!("{:?}", tokens()), "GatewayTokens");
    }
}
