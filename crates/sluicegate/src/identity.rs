//! What tells clients apart: key material, the authenticator, accounts and access control lists, and what keeps them fresh.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use auth::accounts::Accounts;
use auth::acl::Acls;
use auth::server::{Authenticator, RelayedOptions};
use auth::tls::server::{Reload, ReloadingConfig, ServerMaterial, StoreNames};
use auth::{Problem, UpstreamAuth};
use config::{Config, Report};
use proxy::{AclWriter, Security};
use telemetry::metrics::Metrics;
use telemetry::targets::CONFIG;
use tenancy::Tenants;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What the key material towards Kafka is called in metrics and logs.
const UPSTREAM: &str = "upstream";

/// A certificate that ends sooner than this is worth a warning.
const EXPIRY_WARNING: Duration = Duration::from_secs(30 * 24 * 3600);

/// Everything that is known about identities before the backing cluster is asked.
pub(crate) struct Identities {
    pub(crate) authenticator: Authenticator,
    pub(crate) accounts: Arc<ArcSwap<Accounts>>,
    pub(crate) acls: Arc<ArcSwap<Acls>>,
    pub(crate) tenants: Arc<ArcSwap<Tenants>>,
    /// See [`Security::revocations`].
    pub(crate) revocations: watch::Sender<u64>,
    /// Of the listeners; `None` without TLS.
    pub(crate) client_tls: Option<Arc<ServerMaterial>>,
    /// Of the admin port; `None` without HTTPS.
    pub(crate) admin_tls: Option<Arc<ServerMaterial>>,
}

impl Identities {
    /// Reads key material and prepares the mechanisms.
    ///
    /// # Errors
    /// All problems found, by the variable that the operator set.
    pub(crate) fn new(config: &Config) -> Result<Identities, Report> {
        let mut problems: Vec<Problem> = Vec::new();
        let accounts: Arc<ArcSwap<Accounts>> = Arc::default();
        let authenticator = Authenticator::new(&config.security, accounts.clone())
            .map_err(|found| problems.extend(found));
        let uses_tls = config
            .network
            .listeners
            .iter()
            .any(|listener| listener.protocol.is_tls());
        let tls = &config.security.tls;
        let client_tls = tls
            .key_store
            .as_ref()
            .filter(|_| uses_tls)
            .and_then(|keys| {
                let loaded = ServerMaterial::load(
                    StoreNames::CLIENT,
                    keys,
                    tls.key_password.as_ref(),
                    tls.trust_store.as_ref(),
                );
                loaded.map_err(|found| problems.extend(found)).ok()
            });
        let admin_tls = config.http.tls.as_ref().and_then(|tls| {
            let loaded = ServerMaterial::load(
                StoreNames::ADMIN,
                &tls.key_store,
                None,
                tls.trust_store.as_ref(),
            );
            loaded.map_err(|found| problems.extend(found)).ok()
        });
        match authenticator {
            Ok(authenticator) if problems.is_empty() => Ok(Identities {
                authenticator,
                accounts,
                acls: Arc::default(),
                tenants: Arc::new(ArcSwap::from_pointee(Tenants::new(Vec::new(), [], []))),
                revocations: watch::Sender::default(),
                client_tls,
                admin_tls,
            }),
            _ => Err(report(problems)),
        }
    }

    /// What the data plane needs.
    pub(crate) fn security(
        &self,
        config: &Config,
        metrics: &Metrics,
        acl_writer: Arc<dyn AclWriter>,
    ) -> Arc<Security> {
        Arc::new(Security {
            mode: config.security.mode,
            authenticator: self.authenticator.clone(),
            accounts: self.accounts.clone(),
            acls: self.acls.clone(),
            tenants: self.tenants.clone(),
            revocations: self.revocations.clone(),
            auto_creation: config.security.auto_create_topics,
            acl_enabled: config.security.acl_enabled,
            super_users: config
                .security
                .super_users
                .iter()
                .map(|user| user.strip_prefix("User:").unwrap_or(user).to_owned())
                .collect(),
            own_names: Arc::new(own_names(config)),
            acl_writer,
            relayed: RelayedOptions::from(&config.security),
            metrics: metrics.clone(),
        })
    }

    /// HTTPS for the admin port.
    ///
    /// # Errors
    /// Client certificates are asked for and there is nothing to check them against.
    pub(crate) fn admin_config(&self, config: &Config) -> io::Result<Option<Arc<ReloadingConfig>>> {
        let (Some(material), Some(tls)) = (&self.admin_tls, &config.http.tls) else {
            return Ok(None);
        };
        match material.server_config(tls.client_auth) {
            Ok(config) => Ok(Some(config)),
            Err(problems) => Err(io::Error::other(report(problems).to_string())),
        }
    }

    /// Looks at the files of certificates again every `interval`, and at once on SIGHUP. Never returns.
    pub(crate) fn keep_certificates_fresh(
        &self,
        interval: Duration,
        metrics: Metrics,
        upstream: UpstreamAuth,
    ) -> impl Future<Output = ()> + use<> {
        let materials: Vec<Arc<ServerMaterial>> = [&self.client_tls, &self.admin_tls]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        async move {
            for material in &materials {
                tell(material, &metrics);
            }
            tell_upstream(&upstream, &metrics);
            let mut hangup = signal(SignalKind::hangup()).ok();
            loop {
                let asked = async {
                    match &mut hangup {
                        Some(hangup) => hangup.recv().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = tokio::time::sleep(interval) => {}
                    _ = asked => tracing::info!(target: CONFIG, "SIGHUP: looking at the certificates"),
                }
                for material in &materials {
                    let reading = material.clone();
                    if reload(material.label(), move || reading.reload(), &metrics).await {
                        tell(material, &metrics);
                    }
                }
                let reading = upstream.clone();
                if reload(UPSTREAM, move || reading.reload(), &metrics).await {
                    tell_upstream(&upstream, &metrics);
                }
            }
        }
    }
}

/// Whether what `read` found replaces what was in use.
async fn reload(
    store: &'static str,
    read: impl FnOnce() -> Reload + Send + 'static,
    metrics: &Metrics,
) -> bool {
    match tokio::task::spawn_blocking(read).await {
        Ok(Reload::Unchanged) => {}
        Ok(Reload::Replaced) => {
            tracing::info!(target: CONFIG, store, "certificates replaced: new connections use them");
            return true;
        }
        Ok(Reload::Failed(problems)) => {
            metrics.certificate_reload_failed(store);
            for problem in problems {
                tracing::error!(target: CONFIG, store, "{}: {}; the certificates of before stay in use", problem.property, problem.reason);
            }
        }
        Err(error) => {
            tracing::error!(target: CONFIG, store, %error, "cannot look at the certificates")
        }
    }
    false
}

/// What is worth knowing about the material in use.
fn tell(material: &ServerMaterial, metrics: &Metrics) {
    let store = material.label();
    let not_after = material.not_after();
    for warning in material.warnings() {
        tracing::warn!(target: CONFIG, "{}: {}", warning.property, warning.reason);
    }
    tell_expiry(store, not_after, metrics);
}

/// The same of the client certificate that the gateway shows to Kafka, if it does.
fn tell_upstream(upstream: &UpstreamAuth, metrics: &Metrics) {
    if let Some(not_after) = upstream.not_after() {
        tell_expiry(UPSTREAM, not_after, metrics);
    }
}

fn tell_expiry(store: &str, not_after: SystemTime, metrics: &Metrics) {
    metrics.certificate_expiry(store, not_after);
    if not_after < SystemTime::now() + EXPIRY_WARNING {
        let left = not_after
            .duration_since(SystemTime::now())
            .unwrap_or_default();
        tracing::warn!(target: CONFIG, store, days_left = left.as_secs() / 86_400, "a certificate is about to expire");
    }
}

/// Whatever the gateway keeps in Kafka, and keeps it by.
fn own_names(config: &Config) -> HashSet<String> {
    match config.keeps_state() {
        false => HashSet::new(),
        true => crate::health::internal_names(config).into_iter().collect(),
    }
}

fn report(problems: Vec<Problem>) -> Report {
    let mut report = Report::default();
    for problem in problems {
        report.push(config::Problem::unusable(problem.property, problem.reason));
    }
    report
}
