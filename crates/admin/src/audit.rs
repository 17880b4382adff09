//! Who called what, without what must stay secret.

use std::time::Instant;

use axum::http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use telemetry::targets::{AUDIT, HTTP};
use telemetry::{FloodGate, FloodLimits, Suppressed, address_source};

use crate::access::Peer;

/// Bytes of a header or path that are logged.
const MAX_TEXT: usize = 512;
/// Bytes of a body that are logged.
const MAX_BODY: usize = 8 << 10;
/// Records of failed logins, by address and name.
static FAILURES: FloodGate = FloodGate::new(FloodLimits {
    per_event: 20,
    total: 100,
    per_source: 64,
    events: 4096,
});
/// Parts of member names whose values are never shown.
const SECRET_NAMES: &[&str] = &[
    "password",
    "secret",
    "token",
    "jaas",
    "credential",
    "authorization",
    "apikey",
    "privatekey",
];

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    /// The clients of the API tell their name and version here.
    client: String,
}

impl Call {
    pub(crate) fn new(method: &Method, path: &str, headers: &HeaderMap) -> Self {
        let client = headers.get("x-cdk-client").map(|value| value.as_bytes());
        Self {
            method: method.clone(),
            path: cut(path, MAX_TEXT),
            client: cut(
                &String::from_utf8_lossy(client.unwrap_or_default()),
                MAX_TEXT,
            ),
        }
    }
}

/// Records a call of the API that was answered. `body` is the request's, empty for none.
pub(crate) fn answered(call: &Call, peer: Peer, user: &str, status: StatusCode, body: &[u8]) {
    let body = if tracing::enabled!(target: AUDIT, tracing::Level::INFO) {
        masked(body)
    } else {
        String::new()
    };
    tracing::info!(target: AUDIT, r#type = "REST_API", user, method = %call.method, path = call.path,
        status = status.as_u16(), client = call.client, remote = %peer.0, body, "API call");
}

/// Records a wrong password. `user` is the attempted name.
pub(crate) fn login_failed(call: &Call, peer: Peer, user: &str) {
    let address = address_source(peer.0.ip());
    let Some(suppressed) = FAILURES.admit(&address, user, Instant::now()) else {
        return;
    };
    let suppressed = (suppressed > 0).then_some(suppressed);
    tracing::warn!(target: AUDIT, r#type = "REST_API", user, method = %call.method, path = call.path,
        status = StatusCode::UNAUTHORIZED.as_u16(), client = call.client, remote = %peer.0, suppressed, "login failed");
}

/// Tells how many failed logins were not recorded one by one, of those that no later record tells of. To be called about every second;
/// `all`: whatever is left, as the process ends.
pub fn tell_suppressed(all: bool) {
    let now = Instant::now();
    let told = match all {
        true => FAILURES.rest(now),
        false => FAILURES.overdue(now),
    };
    for Suppressed {
        source,
        event,
        count,
    } in told
    {
        tracing::warn!(target: AUDIT, r#type = "REST_API", user = event, address = source, suppressed = count, "more logins failed");
    }
}

/// Logs a call that no user made.
pub(crate) fn operation(call: &Call, peer: Peer, status: StatusCode) {
    tracing::debug!(target: HTTP, method = %call.method, path = call.path, status = status.as_u16(),
        client = call.client, remote = %peer.0, "answered");
}

/// A JSON body without secrets; nothing of one that is not JSON, as it cannot be told what is secret there.
fn masked(body: &[u8]) -> String {
    if body.is_empty() {
        return String::new();
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(mut value) => {
            mask(&mut value);
            cut(&value.to_string(), MAX_BODY)
        }
        Err(_) => "<not JSON>".to_owned(),
    }
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                if is_secret(name) && !value.is_null() {
                    *value = Value::String(config::MASK.to_owned());
                } else {
                    mask(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

/// Whether what a member of this name holds is never shown: passwords, tokens, keys.
pub fn is_secret(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| c.is_alphanumeric()).collect();
    let plain = plain.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| plain.contains(part))
}

fn cut(text: &str, limit: usize) -> String {
    match text
        .char_indices()
        .map(|(at, _)| at)
        .find(|at| *at >= limit)
    {
        Some(at) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_at_any_depth() {
        let body = br#"{"a":[{"sasl.jaas.config":"x1","b":{"basic_auth_password":{"deep":"x2"}}}],"apiKey":"x3","client-secret":5,
            "token":null,"name":"shown"}"#;
        let shown = masked(body);
        assert!(shown.contains("shown") && !shown.contains('5'), "{shown}");
        assert!(
            !["x1", "x2", "x3"]
                .iter()
                .any(|secret| shown.contains(secret)),
            "{shown}"
        );
        assert_eq!(masked(b"password=x"), "<not JSON>");
        assert_eq!(masked(b""), "");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("aäb", 2), "aä…");
        assert_eq!(cut("aä", 3), "aä");
        let long = masked(format!("\"{}\"", "ä".repeat(MAX_BODY)).as_bytes());
        assert!(long.len() < MAX_BODY + 8);
    }
}
