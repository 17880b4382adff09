//! Signed JSON Web Tokens in compact form (RFC 7515, RFC 7519), as far as both kinds of tokens share it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::failure::TokenDefect;
use crate::sasl::token::MAX_TOKEN_BYTES;

/// Claims of a token.
pub(super) type Claims = Map<String, Value>;

/// A token taken apart; nothing of it is verified.
pub(super) struct Jws<'a> {
    /// `alg` of the header.
    pub(super) algorithm: String,
    /// `kid` of the header.
    pub(super) key_id: Option<String>,
    /// What the signature covers.
    pub(super) signed: &'a str,
    /// base64url.
    pub(super) signature: &'a str,
    payload: &'a str,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<IgnoredAny>,
}

impl<'a> Jws<'a> {
    /// Takes a token apart.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenDefect> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenDefect::Malformed);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenDefect::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenDefect::Malformed)?;
        if payload.contains('.') {
            return Err(TokenDefect::Malformed);
        }
        let header: Header = json(header)?;
        // Extensions that must be understood (RFC 7515 section 4.1.11); we understand none.
        if header.crit.is_some() {
            return Err(TokenDefect::Malformed);
        }
        Ok(Self {
            algorithm: header.alg,
            key_id: header.kid,
            signed,
            signature,
            payload,
        })
    }

    /// The claims. Only to be believed after the signature was verified.
    pub(super) fn claims(&self) -> Result<Claims, TokenDefect> {
        json(self.payload)
    }
}

/// A claim that holds text.
pub(super) fn text<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
    claims.get(name)?.as_str()
}

/// A claim that holds a time (NumericDate), since 1970.
pub(super) fn time(claims: &Claims, name: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(claims.get(name)?.as_f64()?).ok()
}

/// The parser of JSON refuses deep nesting, so size is the only bound needed here.
fn json<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, TokenDefect> {
    let bytes = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenDefect::Malformed)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenDefect::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(json: &str) -> String {
        URL_SAFE_NO_PAD.encode(json)
    }

    #[test]
    fn only_compact_signed_tokens_are_taken_apart() {
        let good = format!("{}.{}.sig", encoded(r#"{"alg":"x"}"#), encoded("{}"));
        assert_eq!(Jws::parse(&good).unwrap().signature, "sig");
        let nested = format!(r#"{{"alg":"x","deep":{}1}}"#, "[".repeat(5000));
        for bad in [
            String::new(),
            "..".to_owned(),
            "a.b".to_owned(),
            format!("{good}.more"),
            format!("{}.e30.s", encoded("{}")),
            format!("{}.e30.s", encoded(r#"{"alg":7}"#)),
            format!("{}.e30.s", encoded(r#"{"alg":"a","alg":"b"}"#)),
            format!("{}.e30.s", encoded(r#"{"alg":"a","kid":7}"#)),
            format!("{}.e30.s", encoded(r#"{"alg":"a","crit":["x"]}"#)),
            format!("{}.e30.s", encoded(&nested)),
            format!("{good}{}", "a".repeat(MAX_TOKEN_BYTES)),
        ] {
            assert_eq!(
                Jws::parse(&bad).err(),
                Some(TokenDefect::Malformed),
                "{bad:.80}"
            );
        }
    }

    #[test]
    fn times_may_have_a_fraction_but_must_be_times() {
        let claims: Claims =
            serde_json::from_str(r#"{"a":1.5,"b":2,"c":-1,"d":1e300,"e":"3","f":null}"#).unwrap();
        let millis = |name| time(&claims, name).map(|time| time.as_millis());
        assert_eq!(millis("a"), Some(1500));
        assert_eq!(millis("b"), Some(2000));
        for name in ["c", "d", "e", "f", "g"] {
            assert_eq!(millis(name), None, "{name}");
        }
    }
}
