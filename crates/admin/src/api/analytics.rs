//! What is configured, in numbers: `GET /gateway/v2/analytics/lived` and the metrics `gateway_lived_event_*`. Nothing
//! leaves the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use config::Config;
use serde::Serialize;
use state::Snapshot;
use telemetry::metrics::{Catalogue, Gauge, Metrics, NONE};

use super::{ApiState, Resources};
use crate::build_info::BuildInfo;
use crate::error::{ApiError, json};

/// How the gateway was deployed, and how it is connected with.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// `DEPLOYED_BY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_method: Option<String>,
    /// Security protocols of the listeners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_security_protocol: Option<String>,
    /// SASL mechanisms that clients are offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_sasl_mechanism: Option<String>,
    /// `security.protocol` towards the backing cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka_security_protocol: Option<String>,
    /// `sasl.mechanism` towards the backing cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka_sasl_mechanism: Option<String>,
}

impl Deployment {
    /// As configured; `mechanisms` are those that clients are offered.
    pub fn of(config: &Config, mechanisms: &[&str]) -> Self {
        let protocols = config.network.listeners.iter();
        let protocols: BTreeSet<_> = protocols.map(|l| l.protocol.to_string()).collect();
        let protocols: Vec<_> = protocols.into_iter().collect();
        let upstream = &config.upstream.main.security;
        let sasl = upstream.sasl.as_ref();
        Self {
            deployment_method: config.deployed_by.clone(),
            gateway_security_protocol: Some(protocols.join(",")),
            gateway_sasl_mechanism: Some(mechanisms.join(",")).filter(|names| !names.is_empty()),
            kafka_security_protocol: Some(upstream.protocol.to_string()),
            kafka_sasl_mechanism: sasl.map(|sasl| sasl.mechanism.to_string()),
        }
    }
}

/// Interceptors by the class of their plugin.
fn classes(snapshot: &Snapshot) -> BTreeMap<String, usize> {
    let mut classes: BTreeMap<String, usize> = BTreeMap::new();
    for interceptor in snapshot.interceptors.iter() {
        *classes.entry(interceptor.plugin_class.clone()).or_default() += 1;
    }
    classes
}

/// The counters now.
pub(super) async fn lived(State(state): State<Arc<ApiState>>) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct OfClass {
        class_name: String,
        instance_count: usize,
        topics_covered: usize,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Lived<'a> {
        interceptors: Vec<OfClass>,
        total_interceptor_types: usize,
        total_interceptor_instances: usize,
        unique_topics_covered: usize,
        total_gateway_service_accounts: usize,
        total_gateway_groups: usize,
        total_alias_topics: usize,
        total_concentrated_topics: usize,
        total_virtual_clusters: usize,
        os: &'static str,
        gateway_version: &'static str,
        gateway_commit: &'static str,
        #[serde(flatten)]
        deployment: &'a Deployment,
    }
    let snapshot = state.resources()?.snapshot();
    let classes = classes(&snapshot);
    let lived = Lived {
        total_interceptor_types: classes.len(),
        interceptors: classes
            .into_iter()
            .map(|(class_name, instance_count)| OfClass {
                class_name,
                instance_count,
                topics_covered: 0,
            })
            .collect(),
        total_interceptor_instances: snapshot.interceptors.len(),
        unique_topics_covered: 0,
        total_gateway_service_accounts: snapshot.accounts.len(),
        total_gateway_groups: snapshot.groups.len(),
        total_alias_topics: snapshot.aliases.len(),
        total_concentrated_topics: 0,
        total_virtual_clusters: snapshot.virtual_clusters.len(),
        os: std::env::consts::OS,
        gateway_version: env!("CARGO_PKG_VERSION"),
        gateway_commit: BuildInfo::COMMIT,
        deployment: &state.api.deployment,
    };
    Ok(json(StatusCode::OK, &lived))
}

/// Shows the counters as metrics from now on, those of resources once they have been read.
pub(crate) fn show(
    metrics: &Metrics,
    deployment: &Deployment,
    resources: Arc<OnceLock<Arc<dyn Resources>>>,
) {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| NONE.to_owned());
    let catalogue = metrics.catalogue();
    let method = or_none(&deployment.deployment_method);
    let (version, commit) = (env!("CARGO_PKG_VERSION"), BuildInfo::COMMIT);
    let info = [version, commit, std::env::consts::OS, &method];
    catalogue.lived_info.with(info).set(1.0);
    let connections = [
        &deployment.gateway_security_protocol,
        &deployment.gateway_sasl_mechanism,
        &deployment.kafka_security_protocol,
        &deployment.kafka_sasl_mechanism,
    ];
    let connections = connections.map(or_none);
    let connections = connections.each_ref().map(String::as_str);
    catalogue.lived_connections.with(connections).set(1.0);
    metrics.before_scrapes(move |catalogue| {
        if let Some(resources) = resources.get() {
            count(catalogue, &resources.snapshot());
        }
    });
}

fn count(catalogue: &Catalogue, snapshot: &Snapshot) {
    let classes = classes(snapshot);
    for (family, count) in [
        (&catalogue.lived_types, classes.len()),
        (&catalogue.lived_instances, snapshot.interceptors.len()),
        (&catalogue.lived_accounts, snapshot.accounts.len()),
        (&catalogue.lived_groups, snapshot.groups.len()),
        (&catalogue.lived_vclusters, snapshot.virtual_clusters.len()),
        (&catalogue.lived_aliases, snapshot.aliases.len()),
        (&catalogue.lived_topics_covered, 0),
        (&catalogue.lived_concentrated, 0),
    ] {
        family.with([]).set(count as f64);
    }
    let covered = classes
        .keys()
        .map(|class| ([class.clone()], Gauge::default()));
    catalogue.lived_class_topics.replace(covered);
    let of_class = classes.into_iter().map(|(class, count)| {
        let gauge = Gauge::default();
        gauge.set(count as f64);
        ([class], gauge)
    });
    catalogue.lived_class_instances.replace(of_class);
}
