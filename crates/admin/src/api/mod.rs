//! The management API under `/gateway/v2`.

mod body;
mod capabilities;
mod envelope;
mod query;
mod resources;
mod service_account;
mod token;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use auth::server::GatewayTokens;
use axum::Router;
use axum::body::Body;
use axum::body::HttpBody;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::Mutex;

pub use capabilities::Capabilities;
pub use resources::{Change, ChangeError, Resources};

use crate::access::{Access, Peer, User};
use crate::audit::{self, Call};
use crate::error::ApiError;

/// Bytes of a request's body.
const MAX_BODY: usize = 5 << 20;
/// For a whole body to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What the API works on. The stored resources may come later: until then it answers 503.
#[derive(Clone, Debug, Default)]
pub struct Api {
    /// Which service accounts the security settings allow.
    pub capabilities: Capabilities,
    /// Makes tokens; `None` without a signing key.
    pub tokens: Option<GatewayTokens>,
}

/// What the handlers share.
pub(crate) struct ApiState {
    access: Access,
    api: Api,
    resources: Arc<OnceLock<Arc<dyn Resources>>>,
    /// Held while references are checked and what depends on them is written.
    writing: Arc<Mutex<()>>,
}

/// The paths of the API. Unknown ones below `/gateway` also ask for credentials.
pub(crate) fn router(
    access: Access,
    api: Api,
    resources: Arc<OnceLock<Arc<dyn Resources>>>,
) -> Router {
    let state = Arc::new(ApiState {
        access,
        api,
        resources,
        writing: Arc::default(),
    });
    let accounts = get(service_account::list)
        .put(service_account::put)
        .delete(service_account::delete);
    Router::new()
        .route("/gateway/v2/service-account", accounts)
        .route("/gateway/v2/token", post(token::issue))
        .route("/gateway/v2/tokens", post(token::issue))
        .route("/gateway", any(crate::routes::no_such_path))
        .route("/gateway/{*rest}", any(crate::routes::no_such_path))
        .method_not_allowed_fallback(crate::routes::method_not_allowed)
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::clone(&state), guard))
        .with_state(state)
}

impl ApiState {
    fn resources(&self) -> Result<&Arc<dyn Resources>, ApiError> {
        self.resources.get().ok_or_else(ApiError::not_ready)
    }
}

/// What holds for every call, in this order: credentials, role, readiness, the body's size; and the audit record.
async fn guard(State(state): State<Arc<ApiState>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let call = Call::new(&parts.method, parts.uri.path(), &parts.headers);
    let Some(peer) = parts.extensions.get::<Peer>().copied() else {
        return ApiError::internal("The caller's address is not known.").into_response();
    };
    let user = match state.access.authenticate(&parts.headers, peer, &call).await {
        Ok(user) => user,
        Err(error) => {
            let response = error.into_response();
            audit::operation(&call, peer, response.status());
            return response;
        }
    };
    let (response, body) = match admitted(&state, &user, &parts.method, body).await {
        Ok(body) => {
            let request = Request::from_parts(parts, Body::from(body.clone()));
            (next.run(request).await, body)
        }
        Err(error) => (error.into_response(), Bytes::new()),
    };
    audit::answered(&call, peer, &user.name, response.status(), &body);
    response
}

/// The body of a call that the user may make now; empty for reads.
async fn admitted(
    state: &ApiState,
    user: &User,
    method: &Method,
    body: Body,
) -> Result<Bytes, ApiError> {
    let reads = method == Method::GET || method == Method::HEAD;
    if !reads && !user.admin {
        return Err(ApiError::not_allowed(&user.name));
    }
    state.resources()?;
    if reads {
        return Ok(Bytes::new());
    }
    // Told by the length in the header, before any of it has come.
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(ApiError::too_large(MAX_BODY));
    }
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect());
    match collected.await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::too_large(MAX_BODY)),
        Ok(Err(_)) => Err(ApiError::invalid("The body ended early.")),
        Err(_) => Err(ApiError::invalid("The body did not arrive in time.")),
    }
}
