//! What all resources have in common: `kind`, `apiVersion`, `metadata`, `spec`, and the answer of an upsert.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::body::{Faults, Members, shown};
use super::resources::Outcome;
use crate::error::{ApiError, json};

const API_VERSION: &str = "gateway/v2";

/// A resource as answers show it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shown<M, S> {
    kind: &'static str,
    api_version: &'static str,
    metadata: M,
    spec: S,
}

impl<M, S> Shown<M, S> {
    pub(crate) fn new(kind: &'static str, metadata: M, spec: S) -> Self {
        Self {
            kind,
            api_version: API_VERSION,
            metadata,
            spec,
        }
    }
}

/// `metadata` of what is identified by a virtual cluster and a name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NamedInVcluster<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    v_cluster: Option<&'a str>,
}

impl<'a> NamedInVcluster<'a> {
    /// With `defaults` the built-in virtual cluster is shown, too.
    pub(crate) fn new(vcluster: &'a str, name: &'a str, defaults: bool) -> Self {
        Self {
            name,
            v_cluster: shown_vcluster(vcluster, defaults),
        }
    }
}

/// A virtual cluster as answers show it: the built-in one only if `defaults` are asked for.
pub(crate) fn shown_vcluster(vcluster: &str, defaults: bool) -> Option<&str> {
    Some(vcluster).filter(|vcluster| defaults || *vcluster != super::body::PASSTHROUGH)
}

/// The parts of a resource in a request.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) metadata: Members,
    pub(crate) spec: Members,
    /// What was wrong so far.
    pub(crate) faults: Faults,
}

impl Sent {
    /// Reads the body of a PUT for resources of this kind, which may go by other names, too.
    pub(crate) fn read(body: &[u8], kind: &str, also: &[&str]) -> Result<Self, ApiError> {
        let mut members = Members::of_body(body)?;
        let mut faults = Faults::default();
        if let Some(sent) = members.text("kind", &mut faults)
            && !sent.eq_ignore_ascii_case(kind)
            && !also.iter().any(|also| sent.eq_ignore_ascii_case(also))
        {
            faults.add(format!(
                "'kind' must be {kind} here, not '{}'.",
                shown(&sent)
            ));
        }
        if let Some(sent) = members.text("apiVersion", &mut faults)
            && ![API_VERSION, "v2"].contains(&sent.as_str())
        {
            faults.add(format!(
                "'apiVersion' must be {API_VERSION}, not '{}'.",
                shown(&sent)
            ));
        }
        Ok(Self {
            metadata: members.object("metadata", &mut faults),
            spec: members.object("spec", &mut faults),
            faults,
        })
    }

    /// `metadata.name`, which has to fit; with a fault if it does not.
    pub(crate) fn name(&mut self, rule: NameRule) -> String {
        let name = self.metadata.text("name", &mut self.faults);
        let is_given = name.is_some();
        let name = name.unwrap_or_default();
        if is_given && !rule.fits(&name) {
            self.faults.add(format!(
                "'metadata.name' must be {rule}, not '{}'.",
                shown(&name)
            ));
        }
        name
    }

    /// `metadata.vCluster`.
    pub(crate) fn vcluster(&mut self) -> String {
        self.metadata.vcluster("vCluster", &mut self.faults)
    }
}

/// What names may look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// As Kafka wants topics to be named.
    Topic,
    /// Of a service account.
    Account,
    /// Of a group.
    Group,
    /// Of an interceptor.
    Free,
}

impl NameRule {
    pub(crate) fn fits(self, name: &str) -> bool {
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        match self {
            NameRule::Topic => {
                (1..=249).contains(&name.len())
                    && name.bytes().all(|b| word(b) || b == b'.')
                    && !matches!(name, "." | "..")
            }
            NameRule::Account => (3..=64).contains(&name.len()) && name.bytes().all(word),
            NameRule::Group => (1..=100).contains(&name.len()) && name.bytes().all(word),
            NameRule::Free => {
                (1..=249).contains(&name.chars().count())
                    && !name.chars().any(|c| c == '/' || c.is_control())
            }
        }
    }

    /// The same as a regular expression, for the description of the API.
    pub(crate) fn pattern(self) -> &'static str {
        match self {
            NameRule::Topic => "^[a-zA-Z0-9._-]{1,249}$",
            NameRule::Account => "^[a-zA-Z0-9_-]{3,64}$",
            NameRule::Group => "^[a-zA-Z0-9_-]{1,100}$",
            NameRule::Free => "^[^/]{1,249}$",
        }
    }
}

impl std::fmt::Display for NameRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            NameRule::Topic => {
                "1 to 249 letters, digits, '.', '_' and '-', and not '.' or '..' alone"
            }
            NameRule::Account => "3 to 64 letters, digits, '_' or '-'",
            NameRule::Group => "1 to 100 letters, digits, '_' or '-'",
            NameRule::Free => "1 to 249 characters without '/' and control characters",
        })
    }
}

/// The answer of a PUT: 200 whatever happened.
pub(crate) fn upserted(outcome: Outcome, resource: &impl Serialize) -> Response {
    json(StatusCode::OK, &Upserted::new(outcome, resource))
}

/// The same as one of several answers.
pub(crate) fn upsert_answer(
    outcome: Outcome,
    resource: &impl Serialize,
) -> serde_json::Result<Box<RawValue>> {
    to_raw_value(&Upserted::new(outcome, resource))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Upserted<'a, R> {
    resource: &'a R,
    upsert_result: &'static str,
}

impl<'a, R> Upserted<'a, R> {
    fn new(outcome: Outcome, resource: &'a R) -> Self {
        Self {
            resource,
            upsert_result: outcome.as_str(),
        }
    }
}
