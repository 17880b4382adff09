//! What all resources have in common: `kind`, `apiVersion`, `metadata`, `spec`, and the answer of an upsert.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use state::Upsert;

use super::body::{Faults, Members, shown};
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

/// The parts of a resource in a request.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) metadata: Members,
    pub(crate) spec: Members,
    /// What was wrong so far.
    pub(crate) faults: Faults,
}

impl Sent {
    /// Reads the body of a PUT for resources of this kind.
    pub(crate) fn read(body: &[u8], kind: &str) -> Result<Self, ApiError> {
        let mut members = Members::of_body(body)?;
        let mut faults = Faults::default();
        if let Some(sent) = members.text("kind", &mut faults)
            && !sent.eq_ignore_ascii_case(kind)
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
            metadata: members.object("metadata", "metadata.", &mut faults),
            spec: members.object("spec", "spec.", &mut faults),
            faults,
        })
    }
}

/// What a PUT would do, from what is stored under the name and what is to be.
pub(crate) fn would_be<T: PartialEq>(stored: Option<&T>, wanted: &T) -> Upsert {
    match stored {
        None => Upsert::Created,
        Some(stored) if stored == wanted => Upsert::NotChanged,
        Some(_) => Upsert::Updated,
    }
}

/// The answer of a PUT: 200 whatever happened.
pub(crate) fn upserted(result: Upsert, resource: &impl Serialize) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer<'a, R> {
        resource: &'a R,
        upsert_result: &'static str,
    }
    let answer = Answer {
        resource,
        upsert_result: match result {
            Upsert::Created => "Created",
            Upsert::Updated => "Updated",
            Upsert::NotChanged => "NotChanged",
        },
    };
    json(StatusCode::OK, &answer)
}
