//! The management API under `/gateway/v2`.

mod alias_topic;
mod analytics;
mod body;
mod capabilities;
mod concentration;
mod declared_acl;
mod description;
mod dry_run;
mod endpoint;
mod envelope;
mod group;
mod interceptor;
mod json;
mod kind;
mod physical;
mod plugin;
mod plugin_names;
mod query;
mod resources;
mod service_account;
mod token;
mod virtual_cluster;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use auth::server::GatewayTokens;
use axum::Router;
use axum::body::Body;
use axum::body::HttpBody;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::Method;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get, post};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use state::{AliasTopic, GatewayGroup, Interceptor, ServiceAccount};

pub use analytics::Deployment;
pub(crate) use analytics::show as show_inventory;
pub use capabilities::{Capabilities, NOTHING_KEPT};
pub use description::description;
pub use endpoint::{Endpoint, Properties};
pub use physical::{Asked, NameOf, PhysicalCluster, PhysicalName};
pub use plugin::{Plugin, PluginFault, PluginInfo, Plugins};
pub use resources::{Change, Decide, Outcome, Resources};

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
    /// What the security settings allow.
    pub capabilities: Capabilities,
    /// Makes tokens; `None` without a signing key.
    pub tokens: Option<GatewayTokens>,
    /// What interceptors can be made of.
    pub plugins: Plugins,
    /// Where clients of virtual clusters connect.
    pub endpoint: Endpoint,
    /// What the inventory tells.
    pub deployment: Deployment,
    /// Topics, groups and transactional ids of the gateway itself.
    pub internal_names: BTreeSet<String>,
    /// `GATEWAY_VIRTUAL_CLUSTERS_STRICT`: of two names of virtual clusters none may be the beginning of the other.
    pub strict_vclusters: bool,
}

impl Api {
    /// Refuses a resource where nothing is kept.
    fn check_stored(&self) -> Result<(), ApiError> {
        self.capabilities.kept.map_err(|reason| {
            let msg = format!("Resources cannot be stored here: {reason}.");
            ApiError::unavailable_under(StatusCode::BAD_REQUEST, msg)
        })
    }
}

/// What the handlers share.
pub(crate) struct ApiState {
    access: Access,
    api: Arc<Api>,
    description: Option<Bytes>,
    resources: Arc<OnceLock<Arc<dyn Resources>>>,
}

/// It only asks, though it is a POST.
const RESOLVE: &str = "/gateway/v2/interceptor/resolve";

/// The paths of the API. Unknown ones below `/gateway` also ask for credentials.
pub(crate) fn router(
    access: Access,
    api: Api,
    resources: Arc<OnceLock<Arc<dyn Resources>>>,
) -> Router {
    let state = Arc::new(ApiState {
        access,
        api: Arc::new(api),
        description: description::document(),
        resources,
    });
    let vclusters = get(virtual_cluster::list).put(virtual_cluster::put);
    let vcluster = get(virtual_cluster::get).delete(virtual_cluster::delete);
    let aliases = get(alias_topic::list)
        .put(kind::put::<AliasTopic>)
        .delete(kind::delete_named::<AliasTopic>);
    let rules = get(concentration::list)
        .put(concentration::put)
        .delete(concentration::delete);
    let accounts = get(service_account::list)
        .put(kind::put::<ServiceAccount>)
        .delete(kind::delete_named::<ServiceAccount>);
    let groups = get(group::list).put(kind::put::<GatewayGroup>);
    let interceptors = get(interceptor::list).put(kind::put::<Interceptor>);
    Router::new()
        .route("/gateway/v2/virtual-cluster", vclusters)
        .route("/gateway/v2/virtual-cluster/{name}", vcluster)
        .route("/gateway/v2/alias-topic", aliases)
        .route("/gateway/v2/concentrated-topic", get(concentration::list))
        .route("/gateway/v2/concentration-rule", rules)
        .route("/gateway/v2/service-account", accounts)
        .route("/gateway/v2/group", groups)
        .route(
            "/gateway/v2/group/{name}",
            get(group::get).delete(group::delete),
        )
        .route("/gateway/v2/interceptor", interceptors)
        .route(RESOLVE, post(interceptor::resolve))
        .route(
            "/gateway/v2/interceptor/{name}",
            delete(interceptor::delete),
        )
        .route("/gateway/v2/dry-run", post(dry_run::all))
        .route("/gateway/v2/plugin", get(plugin::list))
        .route("/gateway/v2/docs", get(docs))
        .route("/gateway/v2/analytics/lived", get(analytics::lived))
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

/// `GET /gateway/v2/docs`.
async fn docs(State(state): State<Arc<ApiState>>) -> Result<Response, ApiError> {
    let document = state.description.clone();
    let document = document.ok_or_else(|| ApiError::internal("There is no description."))?;
    Ok(description::answer(document))
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
    let (response, body) = match admitted(&state, &user, &parts, body).await {
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
    head: &Parts,
    body: Body,
) -> Result<Bytes, ApiError> {
    let method = &head.method;
    let has_no_body = method == Method::GET || method == Method::HEAD;
    let reads = has_no_body || (method == Method::POST && head.uri.path() == RESOLVE);
    if !reads && !user.admin {
        return Err(ApiError::not_allowed(&user.name));
    }
    state.resources()?;
    if has_no_body {
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
