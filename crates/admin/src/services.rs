//! What the port serves.

use std::sync::Arc;

use auth::tls::server::ReloadingConfig;
use telemetry::metrics::{Metrics, MetricsSettings};

use crate::access::Users;
use crate::api::Api;
use crate::build_info::BuildInfo;
use crate::health::HealthState;
use crate::otlp::Exporter;

/// What the port serves, and to whom.
#[derive(Debug)]
pub struct Services {
    /// Behind the health endpoints.
    pub health: HealthState,
    /// What this program is.
    pub build: BuildInfo,
    /// Behind `/metrics`.
    pub metrics: Metrics,
    /// Pushes the metrics, as long as the port is served; `None`: nobody does.
    pub exporter: Option<Exporter>,
    /// `GATEWAY_SECURED_METRICS`: whether `/metrics` asks for credentials.
    pub secured_metrics: bool,
    /// Who may call the API.
    pub users: Users,
    /// HTTPS; `None` is plain HTTP. Connections follow the configuration as it is when they begin.
    pub tls: Option<Arc<ReloadingConfig>>,
    /// What the API works on.
    pub api: Api,
}

impl Services {
    /// Health and version over plain HTTP; everything else is closed, as there are no users.
    pub fn new(health: HealthState, build: BuildInfo) -> Self {
        Self {
            health,
            build,
            metrics: Metrics::new(&MetricsSettings::default()),
            exporter: None,
            secured_metrics: true,
            users: Users::none(),
            tls: None,
            api: Api::default(),
        }
    }
}
