//! All paths of the port.

mod health;
mod metrics;
mod status;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use crate::Services;
use crate::access::{Access, Peer};
use crate::api::{self, Resources};
use crate::audit::{self, Call};
use crate::error::ApiError;

/// Health, metrics and the status page, then the API. HEAD is answered like GET. With it comes what has to run beside it and never ends.
pub(crate) fn router(
    services: Services,
    resources: Arc<OnceLock<Arc<dyn Resources>>>,
) -> (Router, impl Future<Output = ()> + Send + 'static) {
    let access = Access::new(services.users);
    let (status, keeping) = status::router(
        access.clone(),
        services.metrics.clone(),
        services.health.clone(),
        services.build.clone(),
    );
    api::show_inventory(
        &services.metrics,
        &services.api.deployment,
        Arc::clone(&resources),
    );
    let metrics = metrics::router(
        services.metrics,
        services.secured_metrics.then(|| access.clone()),
        services.health.clone(),
    );
    let router = health::router(services.health, services.build)
        .merge(metrics)
        .merge(status)
        .route("/admin", any(legacy))
        .route("/admin/{*rest}", any(legacy))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(no_such_path)
        .layer(middleware::from_fn(logged))
        .merge(api::router(access, services.api, resources));
    (router, keeping)
}

/// 404 for any method.
pub(crate) async fn no_such_path(request: Request) -> ApiError {
    ApiError::no_such_path(request.uri().path())
}

/// The paths of the first version of the API, with what took their place.
const LEGACY: &[(&str, &str)] = &[
    ("concentration-rules", "/gateway/v2/concentration-rule"),
    (
        "/username/",
        "/gateway/v2/service-account and /gateway/v2/token",
    ),
    (
        "userMappings",
        "/gateway/v2/service-account and /gateway/v2/group",
    ),
    ("interceptors/v1/resolve", "/gateway/v2/interceptor/resolve"),
    ("interceptors", "/gateway/v2/interceptor"),
    ("plugins", "/gateway/v2/plugin"),
    ("alias", "/gateway/v2/alias-topic"),
    ("topics", "/gateway/v2/concentrated-topic"),
    ("vclusters", "/gateway/v2/virtual-cluster"),
];

/// 404 that tells where to go instead.
async fn legacy(request: Request) -> ApiError {
    let path = request.uri().path();
    let known = LEGACY.iter().find(|(part, _)| path.contains(part));
    ApiError::moved(path, known.map_or("/gateway/v2", |(_, instead)| instead))
}

/// 405.
pub(crate) async fn method_not_allowed(request: Request) -> ApiError {
    ApiError::method_not_allowed(request.method().as_str(), request.uri().path())
}

async fn logged(request: Request, next: Next) -> Response {
    let call = Call::new(request.method(), request.uri().path(), request.headers());
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return ApiError::internal("The caller's address is not known.").into_response();
    };
    let response = next.run(request).await;
    audit::operation(&call, peer, response.status());
    response
}

/// Collapses repeated slashes and drops one at the end: base URLs are often configured with one.
pub(crate) fn normalised(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let collapsed = !path.contains("//");
    if collapsed && (path == "/" || !path.ends_with('/')) {
        return None;
    }
    let mut plain = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !plain.ends_with('/') {
            plain.push(c);
        }
    }
    if plain.len() > 1 && plain.ends_with('/') {
        plain.pop();
    }
    if let Some(query) = uri.query() {
        plain.push('?');
        plain.push_str(query);
    }
    plain.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes() {
        for (given, expected) in [
            ("/", None),
            ("/health", None),
            ("/health/", Some("/health")),
            ("//health", Some("/health")),
            ("///", Some("/")),
            ("/a//b//?x=//y/", Some("/a/b?x=//y/")),
            ("/a%2f/b", None),
        ] {
            let given: Uri = given.parse().expect("URI");
            let plain = normalised(&given).map(|uri| uri.to_string());
            assert_eq!(plain.as_deref(), expected, "{given}");
        }
    }
}
