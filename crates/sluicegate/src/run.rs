//! Start-up and end of the process: configuration, logs, admin port, data plane, signals.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use auth::UpstreamAuth;
use auth::server::FailureReason;
use config::{Cluster, Config, NameFilter, Report, Source, TopicMetrics};
use proxy::{AclWriter, Connected, Gateway, GatewayError};
use rustix::process::{Resource, getrlimit, setrlimit};
use telemetry::metrics::{LifecycleSettings, Metrics, MetricsSettings, Names, TopicSettings};
use telemetry::targets;
use tokio::signal::unix::{SignalKind, signal};

use crate::health::Health;
use crate::identity::Identities;
use crate::{cli, logging, resources};

/// What is said at the start.
pub(crate) struct Greeting<F> {
    /// Log the effective configuration.
    pub(crate) configuration: bool,
    /// Called once the gateway serves.
    pub(crate) ready: F,
}

/// Runs the gateway until a signal ends it.
pub(crate) fn run(source: &Source, greeting: Greeting<impl FnOnce(&Config)>) -> ExitCode {
    let files = raise_open_files();
    let loaded = match cli::load(source) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let auth = match upstream_auth(&loaded.config.upstream.main) {
        Ok(auth) => auth,
        Err(report) => {
            eprintln!("{report}");
            return ExitCode::from(report.exit_code());
        }
    };
    let identities = match Identities::new(&loaded.config) {
        Ok(identities) => identities,
        Err(report) => {
            eprintln!("{report}");
            return ExitCode::from(report.exit_code());
        }
    };
    let log = match logging::start(&loaded.config.logging) {
        Ok(guard) => guard,
        Err(error) => return fail(&format!("cannot set up logging: {error}")),
    };
    logging::log_notices(&loaded.notices);
    if let Err(error) = files {
        tracing::warn!(target: targets::CONFIG, %error, "the soft limit of open files cannot be raised to the hard one, which the number of connections is derived from");
    }
    if greeting.configuration {
        logging::log_configuration(&loaded.config);
    }
    for warning in auth.warnings() {
        let variable = loaded.config.upstream.main.variable_for(warning.property);
        tracing::warn!(target: targets::CONFIG, "{variable}: {}", warning.reason);
    }
    let code = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => tokio::task::LocalSet::new().block_on(
            &runtime,
            serve(&loaded.config, auth, identities, greeting.ready),
        ),
        Err(error) => fail(&format!("cannot start the runtime: {error}")),
    };
    drop(log); // writes what is still queued
    code
}

/// Every connection takes one or two files, and soft limits are often as low as 1024 for the sake of programs that use `select`.
fn raise_open_files() -> std::io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

async fn serve(
    config: &Config,
    auth: UpstreamAuth,
    identities: Identities,
    ready: impl FnOnce(&Config),
) -> ExitCode {
    let started = std::time::Instant::now();
    let metrics = Metrics::new(&metrics_settings(config));
    metrics.failures_known(&FailureReason::LABELS);
    if let Err(error) = telemetry::process::watch(&metrics) {
        tracing::warn!(target: targets::METRICS, %error, "the process is not watched");
    }
    let health = match Health::start(config, &identities, &metrics) {
        Ok(health) => health,
        Err(error) => {
            tracing::error!(target: targets::HTTP, "{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("cannot listen for signals: {error}")),
    };
    let gateway = tokio::select! {
        gateway = start(config, auth, &identities, &metrics, &health) => gateway,
        () = signals.next() => {
            tracing::info!(target: targets::GATEWAY, "stopped before the start was complete");
            return ExitCode::SUCCESS;
        }
    };
    let gateway = match gateway {
        Ok(gateway) => gateway,
        Err(error) => {
            tracing::error!(target: targets::GATEWAY, "{error}");
            return match error {
                NotStarted::Gateway(error) if error.is_configuration() => {
                    ExitCode::from(config::EXIT_CODE)
                }
                _ => ExitCode::FAILURE,
            };
        }
    };
    tokio::task::spawn_local(tell_suppressed());
    tracing::info!(target: targets::GATEWAY, elapsed = ?started.elapsed(), "ready");
    ready(config);

    signals.next().await;
    health.draining();
    tracing::info!(
        target: targets::GATEWAY,
        connections = gateway.connections(),
        "stopping: no new connections, waiting for answers in flight"
    );
    tokio::select! {
        cut = gateway.shut_down() => {
            if cut > 0 {
                tracing::warn!(target: targets::GATEWAY, connections = cut, "connections cut: their answers did not come in time");
            }
            tracing::info!(target: targets::GATEWAY, "stopped");
        }
        () = signals.next() => {
            tracing::warn!(target: targets::GATEWAY, "stopped at once by a second signal");
        }
    }
    proxy::tell_suppressed(true);
    admin::tell_suppressed(true);
    ExitCode::SUCCESS
}

/// Tells of what was not logged one by one; never ends.
async fn tell_suppressed() {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        second.tick().await;
        proxy::tell_suppressed(false);
        admin::tell_suppressed(false);
    }
}

/// Which metrics there are; warns of requests that are none.
fn metrics_settings(config: &Config) -> MetricsSettings {
    let limits = &config.metrics;
    let lifecycle = limits.lifecycle.clone();
    let lifecycle = lifecycle.map(|api_keys| LifecycleSettings { api_keys });
    for name in lifecycle
        .iter()
        .flat_map(|on| on.unknown(&proxy::api_names()))
    {
        tracing::warn!(target: targets::CONFIG, name, "GATEWAY_LIFECYCLE_METRICS_API_KEYS names a request that Kafka does not have");
    }
    MetricsSettings {
        users: limits.users,
        max_users: limits.max_users,
        max_vclusters: limits.max_vclusters,
        lifecycle,
        topics: topic_settings(&config.topic_metrics),
    }
}

/// What series of topics and groups there are.
fn topic_settings(config: &TopicMetrics) -> TopicSettings {
    let names = |filter: &NameFilter| Names {
        allow: filter.allow.clone(),
        deny: filter.deny.clone(),
    };
    TopicSettings {
        bytes: config.bytes,
        offsets: config.offsets,
        max_topics: config.max_topics,
        max_offset_series: config.max_offset_series,
        partitions: config.partitions,
        topics: names(&config.topics),
        groups: names(&config.groups),
    }
}

/// Why the process ends before it has served anybody.
#[derive(Debug)]
enum NotStarted {
    Gateway(GatewayError),
    State {
        error: state::OpenError,
        /// Whether the operator may do without what is kept.
        dispensable: bool,
    },
}

impl std::fmt::Display for NotStarted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NotStarted::Gateway(error) => error.fmt(f),
            NotStarted::State { error, dispensable } => {
                error.fmt(f)?;
                let refused = matches!(
                    error,
                    state::OpenError::CannotCreate { .. } | state::OpenError::NotAllowed { .. }
                );
                match refused && *dispensable {
                    true => f.write_str(
                        ". Create the topics or grant the rights; or, if no resources shall be kept, set \
                         GATEWAY_STORE_WITHOUT_AUTHENTICATION=false",
                    ),
                    false => Ok(()),
                }
            }
        }
    }
}

/// Brings everything up in the order in which one part needs the other: the cluster, the resources in it, then clients.
async fn start(
    config: &Config,
    auth: UpstreamAuth,
    identities: &Identities,
    metrics: &Metrics,
    health: &Health,
) -> Result<Gateway, NotStarted> {
    let connected = Connected::connect(config, auth.clone(), health.observer(), metrics)
        .await
        .map_err(NotStarted::Gateway)?;
    let acl_writer: Arc<dyn AclWriter> = if config.keeps_state() {
        health.await_state();
        let client = connected.client();
        let store = resources::open(config, client)
            .await
            .map_err(|error| NotStarted::State {
                error,
                dispensable: config.can_do_without_state(),
            })?;
        let (accounts, acls) = (identities.accounts.clone(), identities.acls.clone());
        let tenants = identities.tenants.clone();
        let state = resources::InForce::new(store, accounts, acls, tenants, metrics.clone());
        tokio::task::spawn_local(state.clone().follow());
        let revocations = identities.revocations.clone();
        tokio::task::spawn_local(state.clone().tell_of_revocations(revocations));
        health.resources_ready(Arc::new(state.clone()));
        Arc::new(state)
    } else {
        health.resources_ready(Arc::new(resources::Empty));
        Arc::new(resources::NoChanges)
    };
    let authenticator = identities.authenticator.clone();
    tokio::task::spawn_local(async move { authenticator.run().await });
    tokio::task::spawn_local(identities.keep_certificates_fresh(
        config.security.tls.reload_interval,
        metrics.clone(),
        auth,
    ));
    let security = identities.security(config, metrics, acl_writer);
    connected
        .serve(config, security, identities.client_tls.as_ref())
        .await
        .map_err(NotStarted::Gateway)
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    /// Held so that SIGHUP ends nothing, not even before there is something to reload.
    _hangup: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Loads keys, certificates and credentials; problems name the variable that the operator set.
pub(crate) fn upstream_auth(cluster: &Cluster) -> Result<UpstreamAuth, Report> {
    UpstreamAuth::new(&cluster.security).map_err(|problems| {
        let mut report = Report::default();
        for problem in problems {
            report.push(config::Problem::unusable(
                cluster.variable_for(problem.property),
                problem.reason,
            ));
        }
        report
    })
}

fn fail(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::FAILURE
}
