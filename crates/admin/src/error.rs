//! Errors as JSON.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Why a call was refused: a status, a short stable title, a sentence for a person, perhaps more detail.
///
/// `cause`, where there is one, makes sense alone: one of the public clients shows nothing else then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{title}: {msg}")]
pub struct ApiError {
    status: StatusCode,
    title: &'static str,
    msg: String,
    cause: Option<String>,
}

impl ApiError {
    /// 400 for what these security settings do not allow.
    pub fn unavailable(msg: impl Into<String>) -> Self {
        Self::unavailable_under(StatusCode::BAD_REQUEST, msg)
    }

    pub(crate) fn new(status: StatusCode, title: &'static str, msg: impl Into<String>) -> Self {
        Self {
            status,
            title,
            msg: msg.into(),
            cause: None,
        }
    }

    pub(crate) fn because(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The same, with what it is about before the sentence.
    pub(crate) fn at(mut self, what: &str) -> Self {
        self.msg = format!("{what}: {}", self.msg);
        self
    }

    /// The status of an answer with it.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The body of an answer with it.
    pub(crate) fn body(&self) -> impl Serialize + '_ {
        #[derive(Serialize)]
        struct Body<'a> {
            title: &'a str,
            msg: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            cause: Option<&'a str>,
        }
        Body {
            title: self.title,
            msg: &self.msg,
            cause: self.cause.as_deref(),
        }
    }

    pub(crate) fn invalid(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Invalid request", msg)
    }

    pub(crate) fn not_authenticated() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "Not authenticated",
            "The given credentials are not valid.",
        )
    }

    /// Nothing was checked.
    pub(crate) fn too_many_attempts() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "Too many attempts",
            "There were wrong credentials from this address, and too many attempts are waiting. Try again later.",
        )
    }

    pub(crate) fn not_allowed(user: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Not allowed",
            format!("User '{user}' may only read."),
        )
    }

    pub(crate) fn unavailable_under(status: StatusCode, msg: impl Into<String>) -> Self {
        let title = "Not available with this security configuration";
        Self::new(status, title, msg)
    }

    pub(crate) fn no_such_path(path: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "No such path",
            format!("There is nothing at '{path}'."),
        )
    }

    pub(crate) fn moved(path: &str, instead: &str) -> Self {
        let msg = format!("'{path}' belongs to an older API; use {instead}.");
        Self::new(StatusCode::NOT_FOUND, "No such path", msg)
    }

    pub(crate) fn method_not_allowed(method: &str, path: &str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "Method not allowed",
            format!("'{path}' does not take {method}."),
        )
    }

    pub(crate) fn too_large(limit: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "Request too large",
            format!("The body has more than {limit} bytes."),
        )
    }

    pub(crate) fn not_ready() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "Not ready",
            "The stored configuration has not been read yet.",
        )
    }

    /// Nothing was done, for want of Kafka or of what was kept in it; worth another try, once that is mended.
    pub(crate) fn without_kafka(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "Not ready", msg)
    }

    pub(crate) fn internal(msg: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal error", msg)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &self.body());
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Basic realm=\"gateway\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// An answer in JSON.
pub(crate) fn json(code: StatusCode, value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (code, [(CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
