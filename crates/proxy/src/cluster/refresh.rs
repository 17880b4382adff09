//! The refresher: asks the cluster who is there and what they can do.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use telemetry::targets::{KAFKA, UPSTREAM};

use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use wire::api::ApiKey;

use super::mismatch::{self, Mismatch};
use super::versions::{BrokerVersions, Offered};
use super::view::{Broker, ClusterView, Snapshot, StartError};
use crate::upstream::call::{CallError, OwnConnection};
use crate::upstream::suspect;
use crate::upstream::{DialError, Login};

/// Between rounds while all is well. Readiness needs to notice a lost cluster within its grace period.
const POLL: Duration = Duration::from_secs(5);
/// Between rounds while the cluster does not answer.
const POLL_FAILING: Duration = Duration::from_secs(1);
/// Two rounds are at least this far apart, whoever asks.
const MIN_GAP: Duration = Duration::from_secs(1);
/// What brokers can do is asked again after this: they may have been upgraded.
const PROBE_AGE: Duration = Duration::from_secs(60);
/// A round may not hang on a frozen broker for longer.
const ROUND_TIMEOUT: Duration = Duration::from_secs(5);
/// A broker that does not say what it can do within this is passed over.
const CONTACT_TIMEOUT: Duration = Duration::from_secs(2);

/// Highest versions of the gateway's own calls; the typed codec knows them.
const API_VERSIONS_CAP: i16 = 4;
const METADATA_CAP: i16 = 12;

#[derive(Debug, thiserror::Error)]
pub(super) enum RefreshError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("{host}:{port}: {error}")]
    Call {
        host: String,
        port: u16,
        error: CallError,
    },
    #[error("{host}:{port}: {what}")]
    Mismatch {
        host: String,
        port: u16,
        what: Mismatch,
    },
    #[error("{host}:{port} lacks {api}")]
    Lacks {
        host: String,
        port: u16,
        api: &'static str,
    },
    #[error("the cluster reported no broker")]
    Nobody,
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
}

impl RefreshError {
    fn is_security(&self) -> bool {
        match self {
            RefreshError::Dial(error) => error.is_security(),
            // In TLS 1.3 the broker judges the client's certificate after the handshake.
            RefreshError::Call { error, .. } => match error {
                CallError::Io(error) => suspect::of_tls(error).is_some(),
                CallError::Foreign(_) => true,
                _ => false,
            },
            RefreshError::Mismatch { .. } => true,
            _ => false,
        }
    }

    /// Kafka's name of the setting to look at.
    fn suspect(&self) -> &'static str {
        match self {
            RefreshError::Dial(error) => suspect::of_dial(error),
            RefreshError::Call {
                error: CallError::Io(error),
                ..
            } => suspect::of_tls(error).unwrap_or("security.protocol"),
            RefreshError::Call { .. } => "security.protocol",
            RefreshError::Mismatch { what, .. } => what.suspect(),
            RefreshError::Lacks { .. } | RefreshError::Nobody | RefreshError::TimedOut(_) => {
                "bootstrap.servers"
            }
        }
    }
}

/// An own connection and what the broker behind it can do.
struct Contact {
    host: String,
    port: u16,
    connection: OwnConnection,
    versions: BrokerVersions,
    metadata_version: i16,
}

/// Reads the cluster for the first time; see [`ClusterView::start`].
pub(super) async fn first(
    view: &ClusterView,
    patience: Duration,
) -> Result<(i32, i32), StartError> {
    let deadline = Instant::now() + patience;
    let mut pause = view.settings.retry_backoff.max(Duration::from_millis(50));
    loop {
        let error = match first_round(view).await {
            Ok(ids) => return Ok(ids),
            Err(error) if error.is_security() => error,
            Err(error) => mismatch::recognise(view, error).await,
        };
        if error.is_security() {
            return Err(StartError::Refused {
                property: error.suspect(),
                reason: error.to_string(),
            });
        }
        if Instant::now() + pause >= deadline {
            return Err(StartError::Unreachable {
                property: error.suspect(),
                servers: view
                    .bootstrap
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(","),
                after: patience,
                last: error.to_string(),
            });
        }
        tracing::warn!(target: KAFKA, %error, retry_in = ?pause, "the backing cluster does not answer yet");
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
}

async fn first_round(view: &ClusterView) -> Result<(i32, i32), RefreshError> {
    let mut contact = contact(view).await?;
    // All topics, once: a broker that is down now still shows among the replicas and gets its port.
    let everything = MetadataRequest::default()
        .with_topics(None)
        .with_allow_auto_topic_creation(false);
    let metadata = contact
        .connection
        .call(&everything, contact.metadata_version)
        .await
        .map_err(|error| contact.failed(error))?;
    let replicas = metadata
        .topics
        .iter()
        .flat_map(|t| &t.partitions)
        .flat_map(|p| p.replica_nodes.iter())
        .map(|b| b.0);
    let ids: Vec<i32> = metadata
        .brokers
        .iter()
        .map(|b| b.node_id.0)
        .chain(replicas)
        .filter(|id| *id >= 0)
        .collect();
    let (Some(low), Some(high)) = (ids.iter().min().copied(), ids.iter().max().copied()) else {
        return Err(RefreshError::Nobody);
    };
    publish(view, metadata, true, &ids).await?;
    Ok((low, high))
}

/// The refresher's loop; see [`ClusterView::keep_fresh`].
pub(super) async fn run(view: &ClusterView, seen: impl Fn()) {
    let mut held: Option<Contact> = None;
    let mut probed = Instant::now();
    let mut failing = false;
    seen();
    loop {
        let started = Instant::now();
        let probe_all = probed.elapsed() >= PROBE_AGE.min(view.settings.metadata_max_age);
        match timeout(ROUND_TIMEOUT, round(view, &mut held, probe_all)).await {
            Ok(Ok(())) => {
                if probe_all {
                    probed = Instant::now();
                }
                if std::mem::take(&mut failing) {
                    tracing::info!(target: UPSTREAM, "the backing cluster answers again");
                }
                seen();
            }
            outcome => {
                held = None;
                let error = match outcome {
                    Ok(Err(error)) => error,
                    _ => RefreshError::TimedOut(ROUND_TIMEOUT),
                };
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(target: KAFKA, %error, "the backing cluster does not answer");
                }
            }
        }
        view.rounds.send_modify(|n| *n += 1);
        let pause = if failing {
            POLL_FAILING
        } else {
            POLL.min(view.settings.metadata_max_age)
        };
        tokio::select! {
            () = sleep_until(started + pause) => {}
            () = view.wanted.notified() => sleep_until(started + MIN_GAP).await,
        }
    }
}

async fn round(
    view: &ClusterView,
    held: &mut Option<Contact>,
    probe_all: bool,
) -> Result<(), RefreshError> {
    if let Some(contact) = held.as_mut().filter(|c| !c.connection.is_stale()) {
        // The broker behind it may just have gone: then another one is asked.
        if let Ok(metadata) = ask_brokers(contact).await {
            return publish(view, metadata, probe_all, &[]).await;
        }
    }
    *held = None;
    let contact = held.insert(contact(view).await?);
    let metadata = ask_brokers(contact).await?;
    publish(view, metadata, probe_all, &[]).await
}

async fn ask_brokers(contact: &mut Contact) -> Result<MetadataResponse, RefreshError> {
    let nothing = MetadataRequest::default()
        .with_topics(Some(Vec::new()))
        .with_allow_auto_topic_creation(false);
    contact
        .connection
        .call(&nothing, contact.metadata_version)
        .await
        .map_err(|error| contact.failed(error))
}

impl Contact {
    fn failed(&self, error: CallError) -> RefreshError {
        RefreshError::Call {
            host: self.host.clone(),
            port: self.port,
            error,
        }
    }
}

/// A connection to any broker that answers: known brokers first, then the bootstrap list.
async fn contact(view: &ClusterView) -> Result<Contact, RefreshError> {
    let known = view
        .snapshot
        .load()
        .brokers
        .values()
        .filter(|b| !b.has_failed())
        .map(|b| (Some(b.clone()), b.host.clone(), b.port))
        .collect::<Vec<_>>();
    let bootstrap = view
        .bootstrap
        .iter()
        .map(|a| (None, a.host.clone(), a.port));
    let mut last = RefreshError::Nobody;
    let mut may_heal = false;
    for (broker, host, port) in known.into_iter().chain(bootstrap) {
        let error = match timeout(CONTACT_TIMEOUT, probe(view, &host, port)).await {
            Ok(Ok(contact)) => return Ok(contact),
            Ok(Err(error)) => error,
            Err(_) => RefreshError::TimedOut(CONTACT_TIMEOUT),
        };
        tracing::debug!(target: KAFKA, host, port, %error, "no contact");
        // Otherwise a frozen broker would use up the time of every round.
        if let Some(broker) = broker {
            broker.set_failed(true);
        }
        may_heal |= !error.is_security();
        // What an operator has to mend tells more than a broker that is down.
        if !last.is_security() {
            last = error;
        }
    }
    match last {
        // One among brokers that are down keeps nobody from waiting for them.
        RefreshError::Mismatch {
            host,
            port,
            what: Mismatch::Controller,
        } if may_heal => Err(RefreshError::Lacks {
            host,
            port,
            api: "Metadata",
        }),
        last => Err(last),
    }
}

async fn probe(view: &ClusterView, host: &str, port: u16) -> Result<Contact, RefreshError> {
    let leg = view.dialer.dial(host, port, Login::Own, None).await?;
    let mut connection = OwnConnection::new(
        leg,
        view.dialer.client_id(),
        view.settings.request_timeout.min(ROUND_TIMEOUT),
    );
    let lacks = |api| RefreshError::Lacks {
        host: host.to_owned(),
        port,
        api,
    };
    let versions = ask_versions(&mut connection)
        .await
        .map_err(|error| RefreshError::Call {
            host: host.to_owned(),
            port,
            error,
        })?
        .ok_or_else(|| lacks("ApiVersions"))?;
    let Some(metadata_version) = versions.best(ApiKey::METADATA, METADATA_CAP) else {
        return Err(match Mismatch::of_versions(&versions) {
            Some(what) => RefreshError::Mismatch {
                host: host.to_owned(),
                port,
                what,
            },
            None => lacks("Metadata"),
        });
    };
    Ok(Contact {
        host: host.to_owned(),
        port,
        connection,
        versions,
        metadata_version,
    })
}

/// What the broker can do; `None` if it does not tell in any version known here.
pub(crate) async fn ask_versions(
    connection: &mut OwnConnection,
) -> Result<Option<BrokerVersions>, CallError> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("sluicegate"))
        .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
    for version in [API_VERSIONS_CAP, 3, 0] {
        let response: ApiVersionsResponse = match connection.call(&request, version).await {
            // A broker that does not know the version answers in version 0.
            Err(CallError::Malformed(_)) if version > 0 => continue,
            other => other?,
        };
        if response.error_code == 0 {
            return Ok(Some(BrokerVersions::new(response)));
        }
    }
    Ok(None)
}

/// Makes the next snapshot out of an answer; `replicas` may name brokers that it does not list. Brokers whose abilities
/// are unknown or old are asked first.
async fn publish(
    view: &ClusterView,
    metadata: MetadataResponse,
    probe_all: bool,
    replicas: &[i32],
) -> Result<(), RefreshError> {
    if metadata.brokers.is_empty() {
        return Err(RefreshError::Nobody);
    }
    let before = view.snapshot.load_full();
    let mut brokers = BTreeMap::new();
    for listed in &metadata.brokers {
        let id = listed.node_id.0;
        let Ok(port) = u16::try_from(listed.port) else {
            continue;
        };
        let host = listed.host.to_string();
        let rack = listed.rack.as_ref().map(ToString::to_string);
        let broker = match before.brokers.get(&id) {
            Some(b) if b.host == host && b.port == port && b.rack == rack => b.clone(),
            _ => {
                let times = view.dialer.dials().broker(id);
                Arc::new(Broker::new(id, host, port, rack, times))
            }
        };
        brokers.insert(id, broker);
    }
    let recovered = probe_brokers(view, &brokers, probe_all).await;
    let known: Vec<_> = brokers.values().map(|b| b.versions.load_full()).collect();
    let offered = Offered::intersection(
        known.iter().filter_map(|v| v.as_ref().as_ref()),
        view.own_acls,
    );
    let changed = recovered
        || before.brokers.len() != brokers.len()
        || before
            .brokers
            .iter()
            .any(|(id, b)| brokers.get(id).is_none_or(|now| !Arc::ptr_eq(b, now)));
    if changed {
        let list: Vec<String> = brokers
            .values()
            .map(|b| format!("{}={}:{}", b.id, b.host, b.port))
            .collect();
        tracing::info!(target: UPSTREAM, cluster_id = metadata.cluster_id.as_ref().map(ToString::to_string), brokers = list.join(" "), "brokers of the backing cluster");
    }
    let absent: BTreeSet<i32> = replicas
        .iter()
        .chain(&before.absent)
        .chain(before.brokers.keys())
        .copied()
        .filter(|id| !brokers.contains_key(id))
        .collect();
    view.snapshot.store(Arc::new(Snapshot {
        brokers,
        absent,
        offered: Arc::new(offered),
    }));
    if changed {
        view.changes.send_modify(|n| *n += 1);
    }
    Ok(())
}

/// Asks brokers what they can do, all at once. Returns whether one that had failed answered again.
async fn probe_brokers(
    view: &ClusterView,
    brokers: &BTreeMap<i32, Arc<Broker>>,
    all: bool,
) -> bool {
    let recovered = Rc::new(std::cell::Cell::new(false));
    let probes = brokers
        .values()
        .filter(|b| all || b.has_failed() || b.versions.load().is_none())
        .map(|broker| {
            let recovered = recovered.clone();
            async move {
                match timeout(CONTACT_TIMEOUT, probe(view, &broker.host, broker.port)).await {
                    Ok(Ok(contact)) => {
                        recovered.set(recovered.get() || broker.has_failed());
                        broker.set_failed(false);
                        broker.versions.store(Arc::new(Some(contact.versions)));
                    }
                    Ok(Err(error)) => {
                        broker.set_failed(true);
                        tracing::debug!(target: KAFKA, broker = broker.id, %error, "probe failed");
                    }
                    Err(_) => {
                        broker.set_failed(true);
                    }
                }
            }
        });
    crate::join::join_all(probes).await;
    recovered.get()
}
