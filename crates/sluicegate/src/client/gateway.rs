//! The admin API of a running gateway.

use std::time::Duration;

use auth::http::{Endpoint, Limits};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Method;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use super::failure::{Failure, Refusal};
use super::kind::Kind;
use super::resource::Resource;
use super::settings::Settings;
use super::tls;
use super::value::Value;

/// For connecting, and again for the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer that is read, bytes: room for a list of several hundred thousand resources.
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Most resources that are checked in one call; a gateway takes no more.
const MAX_TOGETHER: usize = 1000;

/// Largest call of that kind, bytes; a gateway takes no larger one.
const MAX_TOGETHER_BYTES: usize = 5 << 20;

/// What the API is under, below the URL of a gateway.
const API: &str = "/gateway/v2";

/// Everything but what URLs leave as it is (RFC 3986, 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A gateway that is asked one thing after the other.
pub(crate) struct Gateway {
    runtime: Runtime,
    endpoint: Endpoint,
    /// Path of the API, without a slash at the end.
    base: String,
    authorization: HeaderValue,
    limits: Limits,
}

impl Gateway {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// Which setting cannot be used, and why.
    pub(crate) fn new(settings: &Settings) -> Result<Self, String> {
        let Settings {
            url,
            user,
            password,
            ..
        } = settings;
        let tls = || {
            tls::config(
                settings.ca_file.as_deref(),
                settings.cert_file.as_deref(),
                settings.insecure,
            )
        };
        let endpoint =
            Endpoint::new(url, tls).map_err(|error| format!("the URL '{url}': {error}"))?;
        if endpoint.path().contains('?') {
            return Err(format!("the URL '{url}': must not contain a query"));
        }
        let credentials = Zeroizing::new(format!("{user}:{}", password.expose()));
        let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(credentials.as_bytes())));
        let mut authorization = HeaderValue::from_str(&basic)
            .map_err(|_| "the user and password cannot be sent".to_owned())?;
        authorization.set_sensitive(true);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start: {error}"))?;
        Ok(Self {
            runtime,
            base: base(endpoint.path()),
            endpoint,
            authorization,
            limits: Limits {
                connect: CONNECT_TIMEOUT,
                answer: settings.timeout,
                max_bytes: MAX_ANSWER_BYTES,
            },
        })
    }

    /// Creates or replaces, or says what that would do.
    pub(crate) fn apply(&self, resource: &Resource, dry_run: bool) -> Result<Upserted, Failure> {
        let dry_mode: &[_] = if dry_run { &[("dryMode", "true")] } else { &[] };
        let path = self.path(&[resource.kind.path()], dry_mode);
        let answer = self.call(Method::PUT, &path, Some(&resource.value))?;
        Upserted::of(json(&answer)?)
    }

    /// What creating or replacing them one after the other would do. `None` if this gateway cannot say that of so many.
    pub(crate) fn dry_run(
        &self,
        resources: &[Resource],
    ) -> Result<Option<Vec<Result<Upserted, Failure>>>, Failure> {
        if resources.len() > MAX_TOGETHER {
            return Ok(None);
        }
        let values = resources.iter().map(|resource| resource.value.clone());
        let body = Value::Map(vec![(
            "resources".to_owned(),
            Value::List(values.collect()),
        )]);
        if body.to_json().len() > MAX_TOGETHER_BYTES {
            return Ok(None);
        }
        let answer = match self.call(Method::POST, &self.path(&["dry-run"], &[]), Some(&body)) {
            // Older gateways, and those of others.
            Err(Failure::Refused(refusal)) if matches!(refusal.status, 404 | 405 | 413) => {
                return Ok(None);
            }
            answer => json(&answer?)?,
        };
        let Some(Value::List(results)) = answer.take("results") else {
            return Err(Failure::NotUnderstood("it has no 'results'".to_owned()));
        };
        if results.len() != resources.len() {
            return Err(Failure::NotUnderstood(
                "it has another number of results".to_owned(),
            ));
        }
        Ok(Some(results.into_iter().map(Upserted::of).collect()))
    }

    /// Deletes the stored resource that this one would replace.
    pub(crate) fn delete(&self, resource: &Resource) -> Result<(), Failure> {
        let Resource { kind, name, value } = resource;
        let metadata = value.get("metadata");
        let (segments, body): (&[&str], _) = match kind {
            Kind::VirtualCluster | Kind::GatewayGroup => (&[kind.path(), name], None),
            Kind::Interceptor => {
                // Absent and null members of a scope are not the same.
                let scope = metadata.and_then(|metadata| metadata.get("scope"));
                (&[kind.path(), name], scope.cloned())
            }
            Kind::AliasTopic | Kind::ConcentrationRule | Kind::GatewayServiceAccount => {
                let vcluster = metadata.and_then(|metadata| metadata.get("vCluster"));
                let mut members = vec![("name".to_owned(), Value::Text(name.clone()))];
                members.extend(vcluster.map(|value| ("vCluster".to_owned(), value.clone())));
                (&[kind.path()], Some(Value::Map(members)))
            }
        };
        let path = self.path(segments, &[]);
        self.call(Method::DELETE, &path, body.as_ref()).map(|_| ())
    }

    /// All of a kind that fit the filters, query parameters of the API.
    pub(crate) fn list(&self, kind: Kind, filters: &[(&str, &str)]) -> Result<Vec<Value>, Failure> {
        let answer = self.call(Method::GET, &self.path(&[kind.path()], filters), None)?;
        match json(&answer)? {
            Value::List(resources) => Ok(resources),
            _ => Err(Failure::NotUnderstood("it is no list".to_owned())),
        }
    }

    /// The one of that name, of a kind whose name says enough.
    pub(crate) fn named(&self, kind: Kind, name: &str) -> Result<Value, Failure> {
        json(&self.call(Method::GET, &self.path(&[kind.path(), name], &[]), None)?)
    }

    /// A token for a local service account.
    pub(crate) fn token(
        &self,
        username: &str,
        vcluster: Option<&str>,
        lifetime: Duration,
    ) -> Result<String, Failure> {
        let mut members = vec![
            ("username".to_owned(), Value::Text(username.to_owned())),
            (
                "lifeTimeSeconds".to_owned(),
                Value::Number(lifetime.as_secs().to_string()),
            ),
        ];
        members.extend(vcluster.map(|name| ("vCluster".to_owned(), Value::Text(name.to_owned()))));
        let path = self.path(&["token"], &[]);
        let answer = self.call(Method::POST, &path, Some(&Value::Map(members)))?;
        text_member(&json(&answer)?, "token")
    }

    fn path(&self, segments: &[&str], query: &[(&str, &str)]) -> String {
        let mut path = self.base.clone();
        for segment in segments {
            path.push('/');
            path.extend(utf8_percent_encode(segment, ENCODED));
        }
        for (index, (name, value)) in query.iter().enumerate() {
            path.push(if index == 0 { '?' } else { '&' });
            path.push_str(name);
            path.push('=');
            path.extend(utf8_percent_encode(value, ENCODED));
        }
        path
    }

    /// The body of an answer that is a success.
    fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let mut request = self
            .endpoint
            .request(method, path)
            .header(AUTHORIZATION, &self.authorization)
            .header(
                "X-CDK-CLIENT",
                concat!("sluicegate/", env!("CARGO_PKG_VERSION")),
            );
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(Value::to_json).unwrap_or_default();
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::NotSent(error.to_string()))?;
        let answer = self
            .runtime
            .block_on(self.endpoint.send(request, self.limits));
        let answer = answer.map_err(|error| Failure::NoAnswer {
            gateway: self.endpoint.name(),
            error,
        })?;
        match answer.status {
            200..=299 => Ok(answer.body),
            status => Err(Failure::Refused(Refusal::of(status, &answer.body))),
        }
    }
}

/// What a resource came to.
#[derive(Debug)]
pub(crate) struct Upserted {
    /// `Created`, `Updated` or `NotChanged`.
    pub(crate) result: String,
    /// The resource as the gateway has it now.
    pub(crate) resource: Option<Value>,
}

impl Upserted {
    /// Out of an answer, or out of one of several, which may be a refusal.
    fn of(answer: Value) -> Result<Self, Failure> {
        if let (Some(Value::Number(status)), Some(error)) =
            (answer.get("status"), answer.get("error"))
        {
            let status = status.parse().unwrap_or_default();
            let refusal = Refusal::of(status, error.to_json().as_bytes());
            return Err(Failure::Refused(refusal));
        }
        let result = text_member(&answer, "upsertResult")?;
        let resource = answer.take("resource");
        Ok(Self { result, resource })
    }
}

/// Path of the API under the path of a URL, which may name it already.
fn base(path: &str) -> String {
    let path = path.trim_end_matches('/');
    let above = path.strip_suffix(API).unwrap_or(path);
    format!("{}{API}", above.trim_end_matches('/'))
}

fn json(answer: &[u8]) -> Result<Value, Failure> {
    let text = std::str::from_utf8(answer);
    let text = text.map_err(|error| Failure::NotUnderstood(error.to_string()))?;
    Value::from_json(text).map_err(|error| Failure::NotUnderstood(error.to_string()))
}

fn text_member(answer: &Value, name: &str) -> Result<String, Failure> {
    match answer.get(name).and_then(Value::text) {
        Some(text) => Ok(text.to_owned()),
        None => Err(Failure::NotUnderstood(format!("it has no '{name}'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_name_the_api() {
        for (path, expected) in [
            ("/", "/gateway/v2"),
            ("", "/gateway/v2"),
            ("/gateway/v2", "/gateway/v2"),
            ("/gateway/v2/", "/gateway/v2"),
            ("/proxy", "/proxy/gateway/v2"),
            ("/proxy/gateway/v2//", "/proxy/gateway/v2"),
            ("/gateway/v2/gateway/v2", "/gateway/v2/gateway/v2"),
            ("/my-gateway/v2", "/my-gateway/v2/gateway/v2"),
        ] {
            assert_eq!(base(path), expected, "{path}");
        }
    }
}
