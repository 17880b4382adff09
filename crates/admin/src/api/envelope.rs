//! What all resources have in common: `kind`, `apiVersion`, `metadata`, `spec`, and the answer of an upsert.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

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

/// What a PUT did, or would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Upsert {
    Created,
    Updated,
    NotChanged,
}

impl Upsert {
    /// From what is stored under the name and what is to be.
    pub(crate) fn of<T: PartialEq>(stored: Option<&T>, wanted: &T) -> Self {
        match stored {
            None => Self::Created,
            Some(stored) if stored == wanted => Self::NotChanged,
            Some(_) => Self::Updated,
        }
    }

    /// The answer: 200 whatever happened.
    pub(crate) fn answer(self, resource: &impl Serialize) -> Response {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer<'a, R> {
            resource: &'a R,
            upsert_result: Upsert,
        }
        let answer = Answer {
            resource,
            upsert_result: self,
        };
        json(StatusCode::OK, &answer)
    }
}
