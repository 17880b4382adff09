//! `GatewayServiceAccount`: somebody in one virtual cluster, who logs in with a token of the gateway (`LOCAL`) or is known to another authority
//! under a name that nobody else has (`EXTERNAL`).

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use state::{AccountKind, GatewayGroup, ServiceAccount, Snapshot};

use super::body::shown;
use super::envelope::{NameRule, NamedInVcluster, Sent, Shown};
use super::kind::{Kind, Situation, called, known_vcluster, list as list_kind, naming};
use super::physical::PhysicalCluster;
use super::query::Query;
use super::{Api, ApiState};
use crate::error::ApiError;

const LOCAL: &str = "LOCAL";
const EXTERNAL: &str = "EXTERNAL";

/// `GET`: all accounts that match the filters.
pub(super) async fn list(
    State(state): State<Arc<ApiState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::parse(query.as_deref());
    let defaults = query.flag("showDefaults")?;
    let kind = query.filter("type").map(type_of).transpose()?;
    let (vcluster, name) = (query.filter("vcluster"), query.filter("name"));
    list_kind::<ServiceAccount>(&state, defaults, |account| {
        vcluster.is_none_or(|vcluster| vcluster == account.vcluster)
            && name.is_none_or(|name| name == account.name)
            && kind.is_none_or(|kind| kind == type_name(&account.kind))
    })
}

impl Kind for ServiceAccount {
    const NAME: &'static str = "GatewayServiceAccount";
    const NOT_FOUND: &'static str = "Service account not found";
    const NAME_RULE: NameRule = NameRule::Account;

    type Facts = ();

    fn of(sent: &mut Sent) -> Self {
        let name = sent.name(Self::NAME_RULE);
        let vcluster = sent.vcluster();
        let Sent { spec, faults, .. } = sent;
        let kind = match spec.text("type", faults) {
            Some(text) if text.eq_ignore_ascii_case(EXTERNAL) => {
                let external_names = spec.texts("externalNames", faults);
                if external_names.len() != 1 || external_names.iter().any(String::is_empty) {
                    faults.add(format!(
                        "'spec.externalNames' of an {EXTERNAL} account must hold exactly one name."
                    ));
                }
                AccountKind::External { external_names }
            }
            Some(text) if !text.eq_ignore_ascii_case(LOCAL) => {
                faults.add(format!(
                    "'spec.type' must be {LOCAL} or {EXTERNAL}, not '{}'.",
                    shown(&text)
                ));
                AccountKind::Local
            }
            _ => AccountKind::Local,
        };
        ServiceAccount {
            vcluster,
            name,
            kind,
            incarnation: None,
            metadata: serde_json::Map::new(),
        }
    }

    /// Which of several accounts of one name it is was not sent.
    fn is_same(&self, stored: &Self) -> bool {
        self.kind == stored.kind && self.metadata == stored.metadata
    }

    /// An account that turns into the other kind is a new one to who has logged in to it: what ended with the change does not come
    /// back with the next.
    fn succeeding(&self, stored: Option<&Self>) -> Self {
        let same_kind = |stored: &&Self| type_name(&stored.kind) == type_name(&self.kind);
        let incarnation = match stored.filter(same_kind) {
            Some(stored) => stored.incarnation.clone(),
            None => Some(new_incarnation()),
        };
        ServiceAccount {
            incarnation,
            ..self.clone()
        }
    }

    fn check_settings(&self, api: &Api) -> Result<(), ApiError> {
        let availability = match self.kind {
            AccountKind::Local => api.capabilities.local,
            AccountKind::External { .. } => api.capabilities.external,
        };
        availability.map_err(|reason| {
            let kind = type_name(&self.kind);
            let msg = format!("{kind} service accounts cannot be used here: {reason}.");
            ApiError::unavailable_under(StatusCode::BAD_REQUEST, msg)
        })
    }

    async fn ask(&self, _: &Snapshot, _: &dyn PhysicalCluster) -> Result<(), ApiError> {
        Ok(())
    }

    fn check(&self, _stored: Option<&Self>, at: &Situation<'_, ()>) -> Result<(), ApiError> {
        let cause = format!(
            "metadata.vCluster of {} '{}' refers to it.",
            Self::NAME,
            self.name
        );
        known_vcluster(at.snapshot, &self.vcluster, cause)?;
        free_names(self, at.snapshot)
    }

    fn referrers(&self, snapshot: &Snapshot) -> Vec<String> {
        let member = (self.vcluster.clone(), self.name.clone());
        naming(snapshot, |group: &GatewayGroup| {
            group.members.contains(&member)
        })
    }

    fn show<'a>(&'a self, _api: &'a Api, defaults: bool) -> impl Serialize + 'a {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Spec<'a> {
            r#type: &'static str,
            #[serde(skip_serializing_if = "<[String]>::is_empty")]
            external_names: &'a [String],
        }
        let spec = Spec {
            r#type: type_name(&self.kind),
            external_names: self.external_names(),
        };
        let metadata = NamedInVcluster::new(&self.vcluster, &self.name, defaults);
        Shown::new(Self::NAME, metadata, spec)
    }
}

/// A text that no account has had before. It is no secret.
fn new_incarnation() -> String {
    let mut bytes = [0; 16];
    if aws_lc_rs::rand::fill(&mut bytes).is_err() {
        // Not known to happen. The moment of the change is nearly as good.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        bytes = now.unwrap_or_default().as_nanos().to_be_bytes();
    }
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// Refuses external names that another account has.
fn free_names(wanted: &ServiceAccount, snapshot: &Snapshot) -> Result<(), ApiError> {
    for external_name in wanted.external_names() {
        let others = snapshot
            .accounts
            .iter()
            .filter(|other| (&other.vcluster, &other.name) != (&wanted.vcluster, &wanted.name));
        let mut owners = others.filter(|other| other.external_names().contains(external_name));
        if let Some(owner) = owners.next() {
            let msg = format!(
                "External name '{}' belongs to {}.",
                shown(external_name),
                called::<ServiceAccount>(&[&owner.vcluster, &owner.name])
            );
            return Err(ApiError::new(StatusCode::CONFLICT, "Already in use", msg));
        }
    }
    Ok(())
}

fn type_of(text: &str) -> Result<&'static str, ApiError> {
    let known = [LOCAL, EXTERNAL]
        .into_iter()
        .find(|kind| text.eq_ignore_ascii_case(kind));
    known.ok_or_else(|| {
        ApiError::invalid(format!("Parameter 'type' must be {LOCAL} or {EXTERNAL}."))
    })
}

fn type_name(kind: &AccountKind) -> &'static str {
    match kind {
        AccountKind::Local => LOCAL,
        AccountKind::External { .. } => EXTERNAL,
    }
}
