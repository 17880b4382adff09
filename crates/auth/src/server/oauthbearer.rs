//! OAUTHBEARER (RFC 7628), server side: the client's message, and the rules for the token in it.

use std::time::Duration;

use config::OAuthServer;
use serde_json::Value;

use super::failure::{FailureReason, TokenDefect};
use super::jwk::Algorithm;
use super::jwks::KeySet;
use super::jwt::{self, Claims, Jws};

/// How far the clocks of the identity provider and of this machine may differ.
const LEEWAY: Duration = Duration::from_secs(30);

/// Longest subject that is accepted, bytes.
const MAX_SUBJECT_BYTES: usize = 1024;

/// Names the virtual cluster of a client without an account.
const VCLUSTER_CLAIM: &str = "gateway.vcluster";

const SEPARATOR: char = '\x01';

/// The client's message, taken apart. Holds the token, hence no `Debug`.
pub(super) struct ClientMessage<'a> {
    /// Decoded; `None` if there is none.
    pub(super) authorization_id: Option<String>,
    pub(super) token: &'a str,
    /// Name and value.
    pub(super) extensions: Vec<(&'a str, &'a str)>,
}

/// What a verified token says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) subject: String,
    /// The claim `gateway.vcluster`.
    pub(super) vcluster: Option<String>,
    /// End of its life, since 1970.
    pub(super) expires: Duration,
}

impl<'a> ClientMessage<'a> {
    /// Takes the message apart as strictly as Kafka does. Anything twice is refused: two readers might take different ones.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8")?;
        let rest = text.strip_prefix("n,").ok_or("not a GS2 header")?;
        let (authorization_id, rest) = rest.split_once(',').ok_or("not a GS2 header")?;
        let authorization_id = match authorization_id {
            "" => None,
            some => {
                let name = some.strip_prefix("a=").and_then(sasl_name);
                Some(name.ok_or("not an authorization id")?)
            }
        };
        let pairs = rest
            .strip_prefix(SEPARATOR)
            .and_then(|rest| rest.strip_suffix(SEPARATOR))
            .ok_or("not framed by separators")?;
        let pairs = pairs
            .strip_suffix(SEPARATOR)
            .ok_or("not framed by separators")?;
        let mut token = None;
        let mut extensions: Vec<(&str, &str)> = Vec::new();
        for pair in pairs.split(SEPARATOR) {
            let (name, value) = pair.split_once('=').ok_or("not name and value")?;
            let printable = |byte: u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7E);
            if name.is_empty()
                || !name.bytes().all(|byte| byte.is_ascii_alphabetic())
                || value.is_empty()
                || !value.bytes().all(printable)
            {
                return Err("not name and value");
            }
            if name == "auth" {
                if token.replace(bearer(value)?).is_some() {
                    return Err("two tokens");
                }
            } else if extensions.len() == MAX_EXTENSIONS {
                return Err("too many extensions");
            } else if extensions.iter().any(|(known, _)| *known == name) {
                return Err("an extension twice");
            } else {
                extensions.push((name, value));
            }
        }
        Ok(Self {
            authorization_id,
            token: token.ok_or("no token")?,
            extensions,
        })
    }
}

/// Most extensions in one message.
const MAX_EXTENSIONS: usize = 64;

/// A `saslname` (RFC 5801) decoded; `None` if it is not one.
pub(super) fn sasl_name(text: &str) -> Option<String> {
    let mut name = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, code)) = rest.split_once('=') {
        name.push_str(plain);
        let (decoded, after) = match (code.strip_prefix("2C"), code.strip_prefix("3D")) {
            (Some(after), _) => (',', after),
            (_, Some(after)) => ('=', after),
            _ => return None,
        };
        name.push(decoded);
        rest = after;
    }
    name.push_str(rest);
    let usable = !name.is_empty() && !text.contains([',', '\0']);
    usable.then_some(name)
}

/// The token of `Bearer <token>`.
fn bearer(value: &str) -> Result<&str, &'static str> {
    let (scheme, token) = value.split_once(' ').ok_or("not a bearer token")?;
    let token = token.trim_start_matches(' ');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || !token.bytes().all(allowed) {
        return Err("not a bearer token");
    }
    Ok(token)
}

/// Checks signature, life, issuer, audience and subject of a token. `now` is since 1970.
pub(super) async fn verify(
    token: &str,
    keys: &KeySet,
    expected: &OAuthServer,
    now: Duration,
) -> Result<Verified, FailureReason> {
    let invalid = FailureReason::InvalidOAuthToken;
    let jws = Jws::parse(token).map_err(invalid)?;
    let algorithm = Algorithm::from_name(&jws.algorithm).ok_or(invalid(TokenDefect::Algorithm))?;
    let key = keys.find(jws.key_id.as_deref(), algorithm).await?;
    key.verify(&jws, algorithm).map_err(invalid)?;
    let claims = jws.claims().map_err(invalid)?;
    check(&claims, expected, now).map_err(invalid)
}

/// The rules for the claims of a token whose signature is good.
fn check(claims: &Claims, expected: &OAuthServer, now: Duration) -> Result<Verified, TokenDefect> {
    let expires = jwt::time(claims, "exp").ok_or(TokenDefect::Claim("exp"))?;
    let issued = jwt::time(claims, "iat").ok_or(TokenDefect::Claim("iat"))?;
    if expires < issued {
        return Err(TokenDefect::Claim("exp"));
    }
    if expires.saturating_add(LEEWAY) <= now {
        return Err(TokenDefect::Expired);
    }
    if claims.contains_key("nbf") {
        let not_before = jwt::time(claims, "nbf").ok_or(TokenDefect::Claim("nbf"))?;
        if not_before > now.saturating_add(LEEWAY) {
            return Err(TokenDefect::NotYetValid);
        }
    }
    if let Some(issuer) = &expected.expected_issuer
        && jwt::text(claims, "iss") != Some(issuer)
    {
        return Err(TokenDefect::Issuer);
    }
    if !expected.expected_audiences.is_empty() {
        let wanted = |audience: &str| {
            expected
                .expected_audiences
                .iter()
                .any(|one| one == audience)
        };
        let audience = claims.get("aud").and_then(texts);
        if !audience.is_some_and(|given| given.into_iter().any(wanted)) {
            return Err(TokenDefect::Audience);
        }
    }
    let scope = claims.get(&expected.scope_claim_name);
    if scope.is_some_and(|scope| texts(scope).is_none()) {
        return Err(TokenDefect::Claim("scope"));
    }
    let subject = jwt::text(claims, &expected.sub_claim_name)
        .filter(|subject| !subject.trim().is_empty() && subject.len() <= MAX_SUBJECT_BYTES)
        .ok_or(TokenDefect::Claim("sub"))?;
    let vcluster = match claims.get(VCLUSTER_CLAIM) {
        None => None,
        Some(Value::String(name)) => Some(name.clone()),
        Some(_) => return Err(TokenDefect::Claim(VCLUSTER_CLAIM)),
    };
    Ok(Verified {
        subject: subject.to_owned(),
        vcluster,
        expires,
    })
}

/// Text, or a list of texts.
fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// The subject of a token that somebody else verifies.
pub(super) fn unverified_subject(token: &str, claim: &str) -> Option<String> {
    let claims = Jws::parse(token).ok()?.claims().ok()?;
    let subject = jwt::text(&claims, claim)?;
    let usable = !subject.trim().is_empty() && subject.len() <= MAX_SUBJECT_BYTES;
    usable.then(|| subject.to_owned())
}
