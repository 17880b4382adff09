//! Tokens without a signature, for brokers set up for development with Kafka's unsecured OAUTHBEARER validator.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::token::{Token, TokenError};

/// What the tokens say, after the `unsecuredLogin*` options of Kafka's OAuthBearerLoginModule.
#[derive(Debug, PartialEq)]
pub struct UnsecuredLogin {
    claims: Map<String, Value>,
    lifetime: Duration,
}

impl UnsecuredLogin {
    /// Reads the JAAS options; others than `unsecuredLogin*` are passed over.
    ///
    /// | option | meaning |
    /// | --- | --- |
    /// | `unsecuredLoginStringClaim_<name>` | a claim that is text |
    /// | `unsecuredLoginNumberClaim_<name>` | a claim that is a number |
    /// | `unsecuredLoginListClaim_<name>` | a claim that is a list of texts; the first character of the value separates the items |
    /// | `unsecuredLoginPrincipalClaimName` | name of the claim that must be there, default `sub` |
    /// | `unsecuredLoginLifetimeSeconds` | default 3600 |
    ///
    /// # Errors
    /// What is wrong, naming the option.
    pub fn from_options<'a>(
        options: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, String> {
        let mut claims = Map::new();
        let mut principal_claim = "sub";
        let mut lifetime = Duration::from_secs(3600);
        for (option, value) in options {
            if let Some(name) = option.strip_prefix("unsecuredLoginStringClaim_") {
                claims.insert(name.to_owned(), value.into());
            } else if let Some(name) = option.strip_prefix("unsecuredLoginNumberClaim_") {
                let number: f64 = value.parse().map_err(|_| not_a_number(option))?;
                claims.insert(name.to_owned(), number.into());
            } else if let Some(name) = option.strip_prefix("unsecuredLoginListClaim_") {
                claims.insert(name.to_owned(), list(value));
            } else if option == "unsecuredLoginPrincipalClaimName" {
                principal_claim = value;
            } else if option == "unsecuredLoginLifetimeSeconds" {
                let seconds: u32 = value.parse().map_err(|_| not_a_number(option))?;
                lifetime = Duration::from_secs(seconds.into());
            }
        }
        match claims.get(principal_claim) {
            Some(Value::String(name)) if !name.is_empty() => Ok(Self { claims, lifetime }),
            _ => Err(format!(
                "unsecuredLoginStringClaim_{principal_claim} is missing"
            )),
        }
    }

    /// Makes a token that starts at `now`.
    ///
    /// # Errors
    /// [`TokenError::Expired`] for a lifetime of zero.
    pub fn token(&self, now: SystemTime) -> Result<Token, TokenError> {
        let seconds = |time: SystemTime| {
            time.duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs()
        };
        let mut claims = self.claims.clone();
        claims.insert("iat".to_owned(), seconds(now).into());
        claims.insert("exp".to_owned(), seconds(now + self.lifetime).into());
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let payload = URL_SAFE_NO_PAD.encode(Value::Object(claims).to_string());
        Token::parse(&format!("{header}.{payload}."), None)
    }
}

fn list(value: &str) -> Value {
    let mut characters = value.chars();
    match characters.next() {
        Some(separator) => characters.as_str().split(separator).collect(),
        None => Value::Array(Vec::new()),
    }
}

fn not_a_number(option: &str) -> String {
    format!("{option} is not a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_the_token_that_the_options_describe() {
        let login = UnsecuredLogin::from_options([
            ("unsecuredLoginStringClaim_sub", "thePrincipalName"),
            ("unsecuredLoginListClaim_scope", "|read|write"),
            ("unsecuredLoginNumberClaim_level", "3"),
            ("unsecuredLoginLifetimeSeconds", "60"),
            ("refreshToken", "ignored"),
        ])
        .unwrap();
        let now = SystemTime::now();
        let token = login.token(now).unwrap();
        let parts: Vec<&str> = token.expose().split('.').collect();
        let [header, payload, ""] = parts[..] else {
            panic!("{parts:?}")
        };
        assert_eq!(
            URL_SAFE_NO_PAD.decode(header).unwrap(),
            br#"{"alg":"none"}"#
        );
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        assert_eq!(claims["sub"], "thePrincipalName");
        assert_eq!(claims["scope"], serde_json::json!(["read", "write"]));
        assert_eq!(claims["level"], 3.0);
        let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert_eq!(life, 60);
    }

    #[test]
    fn the_principal_must_be_named() {
        let error = UnsecuredLogin::from_options([]).unwrap_err();
        assert!(error.contains("unsecuredLoginStringClaim_sub"), "{error}");
        UnsecuredLogin::from_options([("unsecuredLoginNumberClaim_x", "y")]).unwrap_err();
    }
}
