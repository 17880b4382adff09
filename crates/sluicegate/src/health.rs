//! What the admin port is told about the data plane.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use admin::{
    AdminServer, Api, BuildInfo, Capabilities, DEFAULT_UPSTREAM_GRACE, Deployment, Endpoint,
    Exporter, HealthState, Heartbeat, Plugins, Resources, Services, Users,
};
use config::Config;
use telemetry::metrics::Metrics;

use crate::identity::Identities;

/// The admin port at work, and the facts behind its health answers.
pub(crate) struct Health {
    state: HealthState,
    facts: Arc<Facts>,
    /// Dropping it closes the port.
    server: admin::Handle,
}

struct Facts {
    state: HealthState,
    workers: Vec<Heartbeat>,
}

impl Health {
    /// Binds the admin port and answers from now on: alive, not ready yet.
    pub(crate) fn start(
        config: &Config,
        identities: &Identities,
        metrics: &Metrics,
    ) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, config.http.port));
        let server = AdminServer::bind(address).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot bind the admin port {address}: {error} (set by GATEWAY_HTTP_PORT)"),
            )
        })?;
        let state = HealthState::new(DEFAULT_UPSTREAM_GRACE);
        state.config_ready();
        let build = BuildInfo::of_this_build(env!("CARGO_PKG_VERSION"));
        let exporter = config.otlp.as_ref();
        let exporter = exporter.map(|otlp| Exporter::new(otlp, metrics.clone()));
        let server = server.serve(Services {
            metrics: metrics.clone(),
            exporter: exporter.transpose()?,
            secured_metrics: config.http.secured_metrics,
            users: Users::new(&config.http.users)?,
            tls: identities.admin_config(config)?,
            api: Api {
                capabilities: Capabilities::of(config),
                tokens: identities.authenticator.tokens().cloned(),
                plugins: Plugins::default(),
                endpoint: Endpoint::of(config),
                deployment: Deployment::of(config, identities.authenticator.mechanisms()),
                internal_names: internal_names(config),
                strict_vclusters: config.security.strict_vclusters,
            },
            ..Services::new(state.clone(), build)
        })?;
        let workers = (0..config.workers).map(|_| state.worker()).collect();
        Ok(Health {
            facts: Arc::new(Facts {
                state: state.clone(),
                workers,
            }),
            state,
            server,
        })
    }

    /// Whom the data plane tells.
    pub(crate) fn observer(&self) -> Arc<dyn proxy::Observer> {
        self.facts.clone()
    }

    /// The resources have been read: the API works from now on.
    pub(crate) fn resources_ready(&self, resources: Arc<dyn Resources>) {
        self.server.resources_ready(resources);
        self.state.state_ready();
    }

    /// There are resources to be read before clients can be served.
    pub(crate) fn await_state(&self) {
        self.state.await_state();
    }

    /// Shutdown has begun.
    pub(crate) fn draining(&self) {
        self.state.draining();
    }
}

/// What the gateway itself uses in Kafka.
pub(crate) fn internal_names(config: &Config) -> BTreeSet<String> {
    let id = &config.cluster_id;
    let own = [config.group_id.clone(), format!("_conduktor_{id}_store")];
    let topics = config.state.names().map(str::to_owned);
    own.into_iter().chain(topics).collect()
}

impl proxy::Observer for Facts {
    fn cluster_answered(&self) {
        self.state.upstream_seen();
    }

    fn worker_alive(&self, index: usize) {
        if let Some(worker) = self.workers.get(index) {
            worker.beat();
        }
    }

    fn listeners_bound(&self) {
        self.state.listeners_ready();
    }
}
