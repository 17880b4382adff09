//! `GatewayGroup`: a set of service accounts of any virtual clusters, at which interceptors are aimed. Members have to exist.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use state::{GatewayGroup, Interceptor, ServiceAccount, Snapshot};

use super::envelope::{NameRule, Sent, Shown, shown_vcluster};
use super::kind::{self, Kind, Situation, called, naming};
use super::physical::PhysicalCluster;
use super::query::Query;
use super::{Api, ApiState};
use crate::error::ApiError;

/// `GET`: all groups.
pub(super) async fn list(
    State(state): State<Arc<ApiState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let defaults = Query::parse(query.as_deref()).flag("showDefaults")?;
    kind::list::<GatewayGroup>(&state, defaults, |_| true)
}

/// `GET` of one.
pub(super) async fn get(
    State(state): State<Arc<ApiState>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let defaults = Query::parse(query.as_deref()).flag("showDefaults")?;
    kind::get::<GatewayGroup>(&state, defaults, &[&name])
}

/// `DELETE`: by name.
pub(super) async fn delete(
    State(state): State<Arc<ApiState>>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    kind::delete::<GatewayGroup>(&state, vec![name]).await
}

impl Kind for GatewayGroup {
    const NAME: &'static str = "GatewayGroup";
    const NOT_FOUND: &'static str = "Group not found";
    const NAME_RULE: NameRule = NameRule::Group;

    type Facts = ();

    fn of(sent: &mut Sent) -> Self {
        let name = sent.name(Self::NAME_RULE);
        let Sent { spec, faults, .. } = sent;
        let mut members = BTreeSet::new();
        for mut member in spec.objects("members", faults) {
            let vcluster = member.vcluster("vCluster", faults);
            if let Some(name) = member.text("name", faults) {
                members.insert((vcluster, name));
            }
        }
        let external_groups: BTreeSet<String> =
            spec.texts("externalGroups", faults).into_iter().collect();
        if external_groups.contains("") {
            faults.add("'spec.externalGroups' must not hold an empty name.".to_owned());
        }
        GatewayGroup {
            name,
            members,
            external_groups,
        }
    }

    fn check_settings(&self, api: &Api) -> Result<(), ApiError> {
        api.check_stored()
    }

    async fn ask(&self, _: &Snapshot, _: &dyn PhysicalCluster) -> Result<(), ApiError> {
        Ok(())
    }

    fn check(&self, _stored: Option<&Self>, at: &Situation<'_, ()>) -> Result<(), ApiError> {
        let unknown = self
            .members
            .iter()
            .find(|(vcluster, name)| at.snapshot.account(vcluster, name).is_none());
        let Some((vcluster, name)) = unknown else {
            return Ok(());
        };
        let msg = format!(
            "There is no {}.",
            called::<ServiceAccount>(&[vcluster, name])
        );
        let cause = format!(
            "{msg} spec.members of {} '{}' refers to it.",
            Self::NAME,
            self.name
        );
        let error = ApiError::new(StatusCode::NOT_FOUND, ServiceAccount::NOT_FOUND, msg);
        Err(error.because(cause))
    }

    fn referrers(&self, snapshot: &Snapshot) -> Vec<String> {
        naming(snapshot, |interceptor: &Interceptor| {
            interceptor.scope.group.as_ref() == Some(&self.name)
        })
    }

    fn show<'a>(&'a self, _api: &'a Api, defaults: bool) -> impl Serialize + 'a {
        #[derive(Serialize)]
        struct Metadata<'a> {
            name: &'a str,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Member<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            v_cluster: Option<&'a str>,
            name: &'a str,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Spec<'a> {
            members: Vec<Member<'a>>,
            external_groups: &'a BTreeSet<String>,
        }
        let members = self.members.iter().map(|(vcluster, name)| Member {
            v_cluster: shown_vcluster(vcluster, defaults),
            name,
        });
        let spec = Spec {
            members: members.collect(),
            external_groups: &self.external_groups,
        };
        Shown::new(Self::NAME, Metadata { name: &self.name }, spec)
    }
}
