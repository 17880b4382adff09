//! `VirtualCluster`: a logical cluster, whose name is the prefix of its physical names. Who makes its bindings never changes: clients over the
//! Kafka protocol, which add up, or whoever declares it, who replaces all at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use state::{
    AclMode, AliasTopic, Changes, DeclaredAcl, Interceptor, RetiredPrefix, ServiceAccount,
    Snapshot, VirtualCluster,
};
use telemetry::targets::HTTP;
use tenancy::{NameFault, Prefixes, check_name};

use super::body::{Faults, Members, PASSTHROUGH, shown};
use super::envelope::{NameRule, Sent, Shown};
use super::kind::{self, Kind, Situation, called, naming};
use super::physical::{PhysicalCluster, PhysicalName, unanswered};
use super::{Api, ApiState, declared_acl};
use crate::error::ApiError;

/// Names in the way that are told.
const NAMED: usize = 10;

/// `GET`: all virtual clusters that are not built in.
pub(super) async fn list(State(state): State<Arc<ApiState>>) -> Result<Response, ApiError> {
    available(&state.api)?;
    kind::list::<VirtualCluster>(&state, false, |_| true)
}

/// `GET` of one.
pub(super) async fn get(
    State(state): State<Arc<ApiState>>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    available(&state.api)?;
    kind::get::<VirtualCluster>(&state, false, &[&name])
}

/// `PUT`.
pub(super) async fn put(
    state: State<Arc<ApiState>>,
    query: RawQuery,
    body: Bytes,
) -> Result<Response, ApiError> {
    kind::put::<VirtualCluster>(state, query, body).await
}

/// `DELETE`: by name.
pub(super) async fn delete(
    State(state): State<Arc<ApiState>>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    if name == PASSTHROUGH {
        return Err(reserved(&name, NameFault::Passthrough));
    }
    available(&state.api)?;
    kind::delete::<VirtualCluster>(&state, vec![name]).await
}

impl Kind for VirtualCluster {
    const NAME: &'static str = "VirtualCluster";
    const NOT_FOUND: &'static str = "Virtual cluster not found";
    const NAME_RULE: NameRule = NameRule::Topic;
    const RESERVES: bool = true;

    /// Names in the Kafka cluster that begin like those of the virtual cluster.
    type Facts = Vec<PhysicalName>;

    fn of(sent: &mut Sent) -> Self {
        let name = sent.name(Self::NAME_RULE);
        let Sent { spec, faults, .. } = sent;
        let partner = partner(spec, faults);
        let acl_enabled = spec.flag("aclEnabled", faults);
        let acl_mode = mode(spec, acl_enabled, faults);
        let super_users: BTreeSet<String> = spec.texts("superUsers", faults).into_iter().collect();
        if super_users.contains("") {
            faults.add("'spec.superUsers' must not hold an empty name.".to_owned());
        }
        // Older pages call it so.
        let list = match spec.has("acls") {
            true => "acls",
            false => "aclBindings",
        };
        let has_acls = spec.has(list);
        let mut acls: Vec<DeclaredAcl> = Vec::new();
        let mut seen = BTreeSet::new();
        for entry in spec.objects(list, faults) {
            if let Some(acl) = declared_acl::read(entry, faults)
                && seen.insert(acl.clone())
            {
                acls.push(acl);
            }
        }
        let vcluster = VirtualCluster {
            name,
            partner,
            acl_enabled,
            acl_mode,
            super_users,
            acls,
        };
        check_mode(&vcluster, has_acls, faults);
        vcluster
    }

    fn is_same(&self, stored: &Self) -> bool {
        let set = |vcluster: &Self| vcluster.acls.iter().cloned().collect::<BTreeSet<_>>();
        let without = |vcluster: &Self| VirtualCluster {
            acls: Vec::new(),
            ..vcluster.clone()
        };
        without(self) == without(stored) && set(self) == set(stored)
    }

    fn check_settings(&self, api: &Api) -> Result<(), ApiError> {
        let internal = api.internal_names.iter().map(String::as_str);
        check_name(&self.name, internal).map_err(|fault| reserved(&self.name, fault))?;
        available(api)?;
        if self.partner {
            return Err(ApiError::invalid(format!(
                "{} cannot be a Partner: that is not available until several physical clusters can be configured.",
                called::<Self>(&[&self.name])
            )));
        }
        Ok(())
    }

    async fn ask(
        &self,
        _snapshot: &Snapshot,
        physical: &dyn PhysicalCluster,
    ) -> Result<Self::Facts, ApiError> {
        let names = physical.names_with(self.name.clone()).await;
        names.map_err(|reason| unanswered(&reason))
    }

    fn check(
        &self,
        stored: Option<&Self>,
        at: &Situation<'_, Self::Facts>,
    ) -> Result<(), ApiError> {
        match stored {
            Some(stored) => check_replacement(self, stored),
            None => check_prefix(self, at),
        }
    }

    /// Somebody with a shorter name could make something now that begins like this one's.
    fn reserve(&self, snapshot: &Snapshot, changes: &mut Changes) -> bool {
        let name = self.name.clone();
        let is_retired = |retired: &Arc<RetiredPrefix>| !retired.reserved;
        if snapshot.retired.get(&[&name]).is_some_and(is_retired)
            || settled(snapshot, &name)
                .collect::<Prefixes>()
                .owner(&name)
                .is_none()
        {
            return false;
        }
        let reserved = true;
        changes.put(&RetiredPrefix { name, reserved });
        true
    }

    fn release(&self, snapshot: &Snapshot, changes: &mut Changes) {
        let reserved = snapshot.retired.get(&[&self.name]);
        if let Some(reserved) = reserved.filter(|retired| retired.reserved) {
            changes.delete(reserved.as_ref());
        }
    }

    fn on_create(&self, snapshot: &Snapshot, changes: &mut Changes) {
        if let Some(retired) = snapshot.retired.get(&[&self.name]) {
            changes.delete(retired.as_ref());
        }
    }

    fn on_delete(&self, snapshot: &Snapshot, changes: &mut Changes) {
        let name = self.name.clone();
        let reserved = false;
        changes.put(&RetiredPrefix { name, reserved });
        let bindings = snapshot.acls.iter();
        bindings
            .filter(|binding| binding.vcluster == self.name)
            .for_each(|binding| changes.delete(binding.as_ref()));
    }

    fn referrers(&self, snapshot: &Snapshot) -> Vec<String> {
        let name = self.name.as_str();
        let mut referrers = naming(snapshot, |alias: &AliasTopic| alias.vcluster == name);
        referrers.extend(naming(snapshot, |interceptor: &Interceptor| {
            interceptor.scope.vcluster.as_deref() == Some(name)
        }));
        referrers.extend(naming(snapshot, |account: &ServiceAccount| {
            account.vcluster == name
        }));
        referrers
    }

    fn show<'a>(&'a self, api: &'a Api, _defaults: bool) -> impl Serialize + 'a {
        #[derive(Serialize)]
        struct Metadata<'a> {
            name: &'a str,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Spec<'a, A: Serialize> {
            acl_enabled: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            acl_mode: Option<&'static str>,
            #[serde(skip_serializing_if = "BTreeSet::is_empty")]
            super_users: &'a BTreeSet<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            acls: Option<Vec<A>>,
            r#type: &'static str,
            #[serde(flatten)]
            endpoint: &'a super::Endpoint,
        }
        let is_declared = self.acl_mode == Some(AclMode::RestApi);
        let spec = Spec {
            acl_enabled: self.acl_enabled,
            acl_mode: self.acl_mode.map(AclMode::as_str),
            super_users: &self.super_users,
            acls: is_declared.then(|| self.acls.iter().map(declared_acl::show).collect()),
            r#type: type_name(self.partner),
            endpoint: &api.endpoint,
        };
        Shown::new(Self::NAME, Metadata { name: &self.name }, spec)
    }
}

/// One mode adds up what the other replaces, so they cannot be exchanged.
fn check_replacement(wanted: &VirtualCluster, stored: &VirtualCluster) -> Result<(), ApiError> {
    let effective = |vcluster: &VirtualCluster| vcluster.acl_mode.unwrap_or(AclMode::KafkaApi);
    if effective(wanted) == effective(stored) {
        return Ok(());
    }
    let msg = format!(
        "spec.aclMode of {} is {} and cannot be changed.",
        called::<VirtualCluster>(&[&wanted.name]),
        effective(stored).as_str()
    );
    Err(ApiError::new(StatusCode::CONFLICT, "Immutable field", msg))
}

/// Its name is the beginning of names in Kafka, and nothing that belongs to somebody may become its own.
fn check_prefix(
    wanted: &VirtualCluster,
    at: &Situation<'_, Vec<PhysicalName>>,
) -> Result<(), ApiError> {
    let name = wanted.name.as_str();
    let this = called::<VirtualCluster>(&[name]);
    let refused = |reason: String| {
        let msg = format!("{this} cannot be made: {reason}.");
        Err(ApiError::new(StatusCode::CONFLICT, "Already in use", msg))
    };
    let before: Prefixes = settled(at.snapshot, name).collect();
    match before.same(name) {
        Some(same) if **same != *name => {
            return refused(format!(
                "its name differs only in '.' and '_' from '{same}', which is taken"
            ));
        }
        _ => {}
    }
    if at.api.strict_vclusters
        && let Some(other) = before.overlapping(name).first()
    {
        return refused(format!(
            "of its name and '{other}' one is the beginning of the other (GATEWAY_VIRTUAL_CLUSTERS_STRICT)"
        ));
    }
    let after: Prefixes = settled(at.snapshot, name).chain([name]).collect();
    let is_new = |physical: &&PhysicalName| {
        after.owns(name, &physical.name) && !before.owns(name, &physical.name)
    };
    let (taken, free): (Vec<&PhysicalName>, Vec<&PhysicalName>) = at
        .facts
        .iter()
        .filter(is_new)
        .partition(|physical| before.owner(&physical.name).is_some());
    if !taken.is_empty() {
        let owners: BTreeSet<&str> = taken
            .iter()
            .filter_map(|physical| before.owner(&physical.name))
            .map(|owner| &**owner)
            .collect();
        return refused(format!(
            "it would take over what belongs to {}: {}",
            owners.into_iter().collect::<Vec<_>>().join(", "),
            some(&taken)
        ));
    }
    if !free.is_empty() {
        tracing::warn!(
            target: HTTP,
            vcluster = name,
            count = free.len(),
            names = some(&free),
            "what is in Kafka already will belong to a new virtual cluster"
        );
    }
    Ok(())
}

fn available(api: &Api) -> Result<(), ApiError> {
    api.capabilities.vclusters.map_err(|reason| {
        let msg = format!("Virtual clusters cannot be used here: {reason}.");
        ApiError::unavailable_under(StatusCode::BAD_REQUEST, msg)
    })
}

fn reserved(name: &str, fault: NameFault) -> ApiError {
    let msg = format!("'{}' cannot name a virtual cluster: {fault}.", shown(name));
    let title = match fault {
        NameFault::Invalid => return ApiError::invalid(msg),
        NameFault::Passthrough | NameFault::Internal => "Reserved name",
    };
    ApiError::new(StatusCode::BAD_REQUEST, title, msg)
}

/// All prefixes before one of this name is made: what is reserved for it counts for nothing.
fn settled<'a>(snapshot: &'a Snapshot, name: &'a str) -> impl Iterator<Item = &'a str> {
    let vclusters = snapshot.virtual_clusters.iter().map(|v| v.name.as_str());
    let retired = snapshot.retired.iter();
    let retired = retired.filter(move |r| !(r.reserved && r.name == name));
    vclusters.chain(retired.map(|r| r.name.as_str()))
}

fn some(names: &[&PhysicalName]) -> String {
    let mut told: Vec<String> = names.iter().take(NAMED).map(|n| n.to_string()).collect();
    if names.len() > NAMED {
        told.push(format!("{} more", names.len() - NAMED));
    }
    told.join(", ")
}

fn partner(spec: &mut Members, faults: &mut Faults) -> bool {
    match spec.filled_text("type", faults).as_deref() {
        None => false,
        Some(text) if text.eq_ignore_ascii_case(type_name(false)) => false,
        Some(text) if text.eq_ignore_ascii_case(type_name(true)) => true,
        Some(text) => {
            faults.add(format!(
                "'spec.type' must be {} or {}, not '{}'.",
                type_name(false),
                type_name(true),
                shown(text)
            ));
            false
        }
    }
}

fn type_name(partner: bool) -> &'static str {
    match partner {
        false => "Standard",
        true => "Partner",
    }
}

/// `aclMode`. Published examples name the absence of a mode, too.
fn mode(spec: &mut Members, acl_enabled: bool, faults: &mut Faults) -> Option<AclMode> {
    let text = spec.filled_text("aclMode", faults)?;
    let mode = AclMode::from_name(&text);
    let is_none = ["DISABLED", "ALLOW_ALL"].contains(&text.as_str());
    match mode {
        None if is_none && acl_enabled => {
            faults.add(format!(
                "'spec.aclMode' {text} contradicts 'spec.aclEnabled'."
            ));
        }
        None if !is_none => faults.add(format!(
            "'spec.aclMode' must be {} or {}, not '{}'.",
            AclMode::KafkaApi.as_str(),
            AclMode::RestApi.as_str(),
            shown(&text)
        )),
        _ => {}
    }
    mode
}

/// Who may make bindings, and what has to be there for it.
fn check_mode(vcluster: &VirtualCluster, has_acls: bool, faults: &mut Faults) {
    let mut fault = |text: &str| faults.add(text.to_owned());
    let enabled = vcluster.acl_enabled;
    match vcluster.acl_mode {
        None | Some(AclMode::KafkaApi) => {
            if !vcluster.acls.is_empty() {
                fault("'spec.acls' can only be given with 'spec.aclMode' REST_API.");
            }
            let nobody = vcluster.super_users.is_empty();
            if enabled && nobody && vcluster.acl_mode.is_some() {
                fault(
                    "'spec.superUsers' is missing: with 'spec.aclMode' KAFKA_API nobody else could permit anything.",
                );
            }
        }
        Some(AclMode::RestApi) => {
            if !vcluster.super_users.is_empty() {
                fault("'spec.superUsers' cannot be given with 'spec.aclMode' REST_API.");
            }
            if enabled && !has_acls {
                fault("'spec.acls' is missing; with 'spec.aclMode' REST_API it may be empty.");
            }
        }
    }
    if vcluster.partner && !enabled {
        fault("'spec.aclEnabled' must be true with 'spec.type' Partner.");
    }
}
