//! `AliasTopic`: a name in a virtual cluster that stands for a topic of the Kafka cluster. The topic has to exist when the alias is stored,
//! and may go later; aliases do not stand for aliases.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use state::{AliasTopic, Snapshot};

use super::body::{PASSTHROUGH, shown};
use super::envelope::{NameRule, NamedInVcluster, Sent, Shown};
use super::kind::{self, Kind, Situation, called, known_vcluster};
use super::physical::{PhysicalCluster, unanswered};
use super::query::Query;
use super::{Api, ApiState};
use crate::error::ApiError;

/// The Kafka cluster that everybody uses.
const MAIN: &str = "main";

/// `GET`: all aliases that match the filters; 404 for a virtual cluster that does not exist.
pub(super) async fn list(
    State(state): State<Arc<ApiState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::parse(query.as_deref());
    let defaults = query.flag("showDefaults")?;
    let (vcluster, name) = (query.filter("vcluster"), query.filter("name"));
    if let Some(vcluster) = vcluster {
        let snapshot = state.resources()?.snapshot();
        known_vcluster(&snapshot, vcluster, "Parameter 'vcluster' refers to it.")?;
    }
    kind::list::<AliasTopic>(&state, defaults, |alias| {
        vcluster.is_none_or(|vcluster| vcluster == alias.vcluster)
            && name.is_none_or(|name| name == alias.name)
    })
}

impl Kind for AliasTopic {
    const NAME: &'static str = "AliasTopic";
    const NOT_FOUND: &'static str = "Alias topic not found";
    const NAME_RULE: NameRule = NameRule::Topic;

    /// Which exist of the target and the topic that has the alias' name already.
    type Facts = BTreeSet<String>;

    fn of(sent: &mut Sent) -> Self {
        let name = sent.name(Self::NAME_RULE);
        let vcluster = sent.vcluster();
        let Sent { spec, faults, .. } = sent;
        let physical_name = spec.text("physicalName", faults);
        if let Some(name) = physical_name.as_deref()
            && !NameRule::Topic.fits(name)
        {
            faults.add(format!(
                "'spec.physicalName' must be {}, not '{}'.",
                NameRule::Topic,
                shown(name)
            ));
        }
        AliasTopic {
            vcluster,
            name,
            physical_name: physical_name.unwrap_or_default(),
            physical_cluster: spec
                .filled_text("physicalCluster", faults)
                .filter(|cluster| cluster != MAIN),
        }
    }

    fn check_settings(&self, api: &Api) -> Result<(), ApiError> {
        let target = &self.physical_name;
        let is_kafkas_own = self.vcluster != PASSTHROUGH && target.starts_with("__");
        if is_kafkas_own || api.internal_names.contains(target) {
            return Err(ApiError::invalid(format!(
                "'spec.physicalName' must not be a topic of Kafka or the gateway itself, as '{target}' is."
            )));
        }
        api.capabilities.aliases.map_err(|reason| {
            let msg = format!("Alias topics cannot be used here: {reason}.");
            ApiError::unavailable_under(StatusCode::BAD_REQUEST, msg)
        })?;
        api.check_stored()
    }

    async fn ask(
        &self,
        _snapshot: &Snapshot,
        physical: &dyn PhysicalCluster,
    ) -> Result<Self::Facts, ApiError> {
        let names = [self.physical_name.clone(), plain_name(self)];
        let answer = physical.existing_topics(names.into()).await;
        answer.map_err(|reason| unanswered(&reason))
    }

    fn check(
        &self,
        stored: Option<&Self>,
        at: &Situation<'_, Self::Facts>,
    ) -> Result<(), ApiError> {
        let this = called::<Self>(&[&self.vcluster, &self.name]);
        let cause = format!(
            "metadata.vCluster of {} '{}' refers to it.",
            Self::NAME,
            self.name
        );
        known_vcluster(at.snapshot, &self.vcluster, cause)?;
        if !at.facts.contains(&self.physical_name) {
            let msg = format!("There is no topic '{}' in Kafka.", self.physical_name);
            let cause = format!("{msg} spec.physicalName of {this} refers to it.");
            let error = ApiError::new(StatusCode::NOT_FOUND, "Physical topic not found", msg);
            return Err(error.because(cause));
        }
        if let Some(cluster) = &self.physical_cluster {
            let msg = format!(
                "spec.physicalCluster of {this} can only be '{MAIN}', not '{}'.",
                shown(cluster)
            );
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "Incompatible topic",
                msg,
            ));
        }
        if stored.is_none() && at.facts.contains(&plain_name(self)) {
            let msg = format!("{this} cannot be made: there is a topic of that name already.");
            return Err(ApiError::new(StatusCode::CONFLICT, "Already in use", msg));
        }
        Ok(())
    }

    fn show<'a>(&'a self, _api: &'a Api, defaults: bool) -> impl Serialize + 'a {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Spec<'a> {
            physical_name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            physical_cluster: Option<&'a str>,
        }
        let main = defaults.then_some(MAIN);
        let spec = Spec {
            physical_name: &self.physical_name,
            physical_cluster: self.physical_cluster.as_deref().or(main),
        };
        let metadata = NamedInVcluster::new(&self.vcluster, &self.name, defaults);
        Shown::new(Self::NAME, metadata, spec)
    }
}

/// The physical name of a plain topic with the alias' name.
fn plain_name(alias: &AliasTopic) -> String {
    match alias.vcluster.as_str() {
        PASSTHROUGH => alias.name.clone(),
        vcluster => format!("{vcluster}{}", alias.name),
    }
}
