//! `GatewayServiceAccount` (`admin-api.md` 5.6).

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use state::{AccountKind, ServiceAccount};
use tokio::sync::OwnedMutexGuard;

use super::ApiState;
use super::body::{Faults, Members, PASSTHROUGH, shown};
use super::envelope::{Sent, Shown, upserted, would_be};
use super::query::Query;
use super::resources::Change;
use crate::error::{ApiError, json};

const KIND: &str = "GatewayServiceAccount";
const LOCAL: &str = "LOCAL";
const EXTERNAL: &str = "EXTERNAL";

/// `GET`: all accounts that match the filters, by virtual cluster and name.
pub(super) async fn list(
    State(state): State<Arc<ApiState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::parse(query.as_deref());
    let defaults = query.flag("showDefaults")?;
    let kind = query.filter("type").map(type_of).transpose()?;
    let (vcluster, name) = (query.filter("vcluster"), query.filter("name"));
    let mut accounts = state.resources()?.accounts();
    accounts.retain(|account| {
        vcluster.is_none_or(|vcluster| vcluster == account.vcluster)
            && name.is_none_or(|name| name == account.name)
            && kind.is_none_or(|kind| kind == type_name(&account.kind))
    });
    accounts.sort_by(|a, b| (&a.vcluster, &a.name).cmp(&(&b.vcluster, &b.name)));
    let accounts: Vec<_> = accounts
        .iter()
        .map(|account| show(account, defaults))
        .collect();
    Ok(json(StatusCode::OK, &accounts))
}

/// `PUT`: creates or replaces one.
pub(super) async fn put(
    State(state): State<Arc<ApiState>>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, ApiError> {
    let wanted = read(&body)?;
    let dry = Query::parse(query.as_deref()).flag("dryMode")?;
    available(&state, &wanted)?;
    let guard = Arc::clone(&state.writing).lock_owned().await;
    let resources = state.resources()?;
    let accounts = resources.accounts();
    known_vcluster(
        &wanted.vcluster,
        &format!(
            "metadata.vCluster of {KIND} '{}' refers to it.",
            wanted.name
        ),
    )?;
    free_names(&wanted, &accounts)?;
    let result = if dry {
        let stored = find(&accounts, &wanted.vcluster, &wanted.name);
        would_be(stored.map(Arc::as_ref), &wanted)
    } else {
        finish(resources.put_account(wanted.clone()), guard).await?
    };
    Ok(upserted(result, &show(&wanted, false)))
}

/// `DELETE`: by name and virtual cluster.
pub(super) async fn delete(
    State(state): State<Arc<ApiState>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let mut members = Members::of_body(&body)?;
    let mut faults = Faults::default();
    let name = members.text("name", &mut faults);
    let vcluster = members.vcluster("vCluster", &mut faults);
    faults.into_result()?;
    let name = name.unwrap_or_default();
    let guard = Arc::clone(&state.writing).lock_owned().await;
    let resources = state.resources()?;
    match finish(resources.delete_account(&vcluster, &name), guard).await? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(not_found(&vcluster, &name)),
    }
}

/// Sees a change through even if the caller hangs up, and keeps other writes waiting meanwhile.
async fn finish<T: Send + 'static>(
    change: Change<T>,
    guard: OwnedMutexGuard<()>,
) -> Result<T, ApiError> {
    let running = tokio::spawn(async move {
        let _guard = guard;
        change.await
    });
    match running.await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(ApiError::internal(
            "The change failed unexpectedly; whether it was stored is not known.",
        )),
    }
}

/// The account of this name, if there is one.
pub(super) fn find<'a>(
    accounts: &'a [Arc<ServiceAccount>],
    vcluster: &str,
    name: &str,
) -> Option<&'a Arc<ServiceAccount>> {
    accounts
        .iter()
        .find(|account| account.vcluster == vcluster && account.name == name)
}

pub(super) fn not_found(vcluster: &str, name: &str) -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "Service account not found",
        format!(
            "There is no service account '{}' in virtual cluster '{}'.",
            shown(name),
            shown(vcluster)
        ),
    )
}

/// Refuses a virtual cluster that does not exist. `cause` says who refers to it.
pub(super) fn known_vcluster(vcluster: &str, cause: &str) -> Result<(), ApiError> {
    if vcluster == PASSTHROUGH {
        return Ok(());
    }
    let msg = format!("There is no virtual cluster '{}'.", shown(vcluster));
    let error = ApiError::new(StatusCode::NOT_FOUND, "Virtual cluster not found", &*msg);
    Err(error.because(format!("{msg} {cause}")))
}

fn read(body: &[u8]) -> Result<ServiceAccount, ApiError> {
    let Sent {
        mut metadata,
        mut spec,
        mut faults,
    } = Sent::read(body, KIND)?;
    let name = metadata.text("name", &mut faults);
    if let Some(name) = name.as_deref().filter(|name| !is_account_name(name)) {
        faults.add(format!(
            "'metadata.name' must be 3 to 64 letters, digits, '_' or '-', not '{}'.",
            shown(name)
        ));
    }
    let vcluster = metadata.vcluster("vCluster", &mut faults);
    let kind = match spec.text("type", &mut faults) {
        Some(text) if text.eq_ignore_ascii_case(EXTERNAL) => {
            let external_names = spec.texts("externalNames", &mut faults);
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
    faults.into_result()?;
    Ok(ServiceAccount {
        vcluster,
        name: name.unwrap_or_default(),
        kind,
        metadata: serde_json::Map::new(),
    })
}

fn is_account_name(name: &str) -> bool {
    (3..=64).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn available(state: &ApiState, account: &ServiceAccount) -> Result<(), ApiError> {
    let capabilities = &state.api.capabilities;
    let availability = match account.kind {
        AccountKind::Local => capabilities.local,
        AccountKind::External { .. } => capabilities.external,
    };
    availability.map_err(|reason| {
        let kind = type_name(&account.kind);
        let msg = format!("{kind} service accounts cannot be used here: {reason}.");
        ApiError::unavailable_under(StatusCode::BAD_REQUEST, msg)
    })
}

/// Refuses external names that another account has.
fn free_names(wanted: &ServiceAccount, accounts: &[Arc<ServiceAccount>]) -> Result<(), ApiError> {
    let others = accounts
        .iter()
        .filter(|other| (&other.vcluster, &other.name) != (&wanted.vcluster, &wanted.name));
    for other in others {
        let taken = wanted
            .external_names()
            .iter()
            .find(|name| other.external_names().contains(name));
        if let Some(name) = taken {
            let msg = format!(
                "External name '{}' belongs to service account '{}' of virtual cluster '{}'.",
                shown(name),
                other.name,
                other.vcluster
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

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    v_cluster: Option<&'a str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    external_names: &'a [String],
}

fn show(account: &ServiceAccount, defaults: bool) -> Shown<Metadata<'_>, Spec<'_>> {
    let vcluster = Some(account.vcluster.as_str());
    let metadata = Metadata {
        name: &account.name,
        v_cluster: vcluster.filter(|vcluster| defaults || *vcluster != PASSTHROUGH),
    };
    let spec = Spec {
        r#type: type_name(&account.kind),
        external_names: account.external_names(),
    };
    Shown::new(KIND, metadata, spec)
}
