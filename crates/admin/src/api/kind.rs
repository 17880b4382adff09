//! What can be done with resources of any kind: list, put, delete.

use std::fmt::Display;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use state::{Changes, Resource, Snapshot};
use telemetry::targets::HTTP;

use super::body::{Faults, Members, PASSTHROUGH, shown};
use super::envelope::{NameRule, Sent, upsert_answer, upserted};
use super::physical::PhysicalCluster;
use super::query::Query;
use super::resources::{Decide, Outcome, Resources};
use super::{Api, ApiState};
use crate::error::{ApiError, json};

/// Resources that one message names: those in the way of a deletion, or those of the same name.
const NAMED: usize = 10;

/// A kind of resource as the API offers it.
pub(crate) trait Kind: Resource {
    /// `kind`.
    const NAME: &'static str;
    /// What else `kind` may be in requests.
    const ALSO: &'static [&'static str] = &[];
    /// Title of the error that there is none of a name.
    const NOT_FOUND: &'static str;
    /// What `metadata.name` may look like.
    const NAME_RULE: NameRule;

    /// What has to be known of the Kafka cluster before one is stored.
    type Facts: Clone + Send + 'static;

    /// The resource of this name as messages call it.
    fn called(name: &[&str]) -> String {
        let (own, vcluster) = match name {
            [vcluster, own] => (own, Some(vcluster)),
            [own, ..] => (own, None),
            [] => (&"", None),
        };
        match vcluster {
            Some(vcluster) => format!(
                "{} '{}' in virtual cluster '{}'",
                Self::NAME,
                shown(own),
                shown(vcluster)
            ),
            None => format!("{} '{}'", Self::NAME, shown(own)),
        }
    }

    /// Reads `metadata` and `spec`; what is wrong is added to the faults.
    fn of(sent: &mut Sent) -> Self;

    /// A refusal of it, with what a person needs to find it.
    fn refused(&self, error: ApiError) -> ApiError {
        error
    }

    /// Whether it is the same as what is stored under its name.
    fn is_same(&self, stored: &Self) -> bool {
        self == stored
    }

    /// As it is stored in the place of `stored`, if there is one.
    fn succeeding(&self, _stored: Option<&Self>) -> Self {
        self.clone()
    }

    /// Refuses what could not be used with these settings, whatever is stored.
    fn check_settings(&self, api: &Api) -> Result<(), ApiError>;

    /// Asks for [`Kind::Facts`].
    fn ask(
        &self,
        snapshot: &Snapshot,
        physical: &dyn PhysicalCluster,
    ) -> impl Future<Output = Result<Self::Facts, ApiError>> + Send;

    /// Refuses what refers to something that is not there, or contradicts what is. `stored` is what it replaces.
    fn check(&self, stored: Option<&Self>, at: &Situation<'_, Self::Facts>)
    -> Result<(), ApiError>;

    /// Whether there is ever anything to reserve.
    const RESERVES: bool = false;

    /// Keeps others from taking what one that is to be created will own, while the cluster is asked once more. False: there is nobody who
    /// could.
    fn reserve(&self, _snapshot: &Snapshot, _changes: &mut Changes) -> bool {
        false
    }

    /// Gives up what was reserved, as it is not created.
    fn release(&self, _snapshot: &Snapshot, _changes: &mut Changes) {}

    /// What else changes when it is created.
    fn on_create(&self, _snapshot: &Snapshot, _changes: &mut Changes) {}

    /// What else changes when it is deleted.
    fn on_delete(&self, _snapshot: &Snapshot, _changes: &mut Changes) {}

    /// The resources that refer to it.
    fn referrers(&self, _snapshot: &Snapshot) -> Vec<String> {
        Vec::new()
    }

    /// As answers have it.
    fn show<'a>(&'a self, api: &'a Api, defaults: bool) -> impl Serialize + 'a;
}

/// What a check looks at.
pub(crate) struct Situation<'a, F> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) api: &'a Api,
    pub(crate) facts: &'a F,
}

/// All that `keep` accepts, by name.
pub(super) fn list<K: Kind>(
    state: &ApiState,
    defaults: bool,
    keep: impl Fn(&K) -> bool,
) -> Result<Response, ApiError> {
    let snapshot = state.resources()?.snapshot();
    let mut found: Vec<(Vec<String>, &Arc<K>)> = K::table(&snapshot)
        .iter()
        .filter(|resource| keep(resource))
        .map(|resource| (resource.name(), resource))
        .collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    let shown: Vec<_> = found
        .iter()
        .map(|(_, resource)| resource.show(&state.api, defaults))
        .collect();
    Ok(json(StatusCode::OK, &shown))
}

/// The one with this name.
pub(super) fn get<K: Kind>(
    state: &ApiState,
    defaults: bool,
    name: &[&str],
) -> Result<Response, ApiError> {
    let snapshot = state.resources()?.snapshot();
    match K::table(&snapshot).get(name) {
        Some(resource) => Ok(json(StatusCode::OK, &resource.show(&state.api, defaults))),
        None => Err(not_found::<K>(name)),
    }
}

/// `PUT`: creates or replaces one.
pub(super) async fn put<K: Kind>(
    State(state): State<Arc<ApiState>>,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, ApiError> {
    let mut sent = Sent::read(&body, K::NAME, K::ALSO)?;
    let wanted = K::of(&mut sent);
    sent.faults
        .into_result()
        .map_err(|error| wanted.refused(error))?;
    let dry = Query::parse(query.as_deref()).flag("dryMode")?;
    wanted.check_settings(&state.api)?;
    let resources = state.resources()?;
    let snapshot = resources.snapshot();
    let facts = match stored(&snapshot, &wanted) {
        Some(stored) if wanted.is_same(&stored) => None,
        _ => Some(wanted.ask(&snapshot, &*resources.physical()).await?),
    };
    let outcome = match dry {
        true => dry_run(
            resources.as_ref(),
            upsert(wanted.clone(), state.api.clone(), facts),
        )?,
        // It is seen through even if the caller hangs up.
        false => {
            let make = make(wanted.clone(), state.api.clone(), resources.clone(), facts);
            tokio::spawn(make).await.map_err(|_| unexpected())??
        }
    };
    // What is stored may be written differently from what was sent and be the same.
    let stored = stored(&resources.snapshot(), &wanted)
        .filter(|stored| outcome == Outcome::NotChanged && wanted.is_same(stored));
    let resource = stored.as_deref().unwrap_or(&wanted);
    Ok(upserted(outcome, &resource.show(&state.api, false)))
}

/// `DELETE` with a body: by name and virtual cluster.
pub(super) async fn delete_named<K: Kind>(
    State(state): State<Arc<ApiState>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let mut members = Members::of_body(&body)?;
    let mut faults = Faults::default();
    let name = members.text("name", &mut faults);
    let vcluster = members.vcluster("vCluster", &mut faults);
    faults.into_result()?;
    delete::<K>(&state, vec![vcluster, name.unwrap_or_default()]).await
}

/// What a PUT of this body would come to if `snapshot` were stored: the answer, and what would change, if anything.
pub(super) async fn tried<K: Kind>(
    api: &Arc<Api>,
    snapshot: &Snapshot,
    physical: &dyn PhysicalCluster,
    body: &[u8],
) -> Result<(Box<RawValue>, Option<Changes>), ApiError> {
    let mut sent = Sent::read(body, K::NAME, K::ALSO)?;
    let wanted = K::of(&mut sent);
    sent.faults
        .into_result()
        .map_err(|error| wanted.refused(error))?;
    wanted.check_settings(api)?;
    let before = stored(snapshot, &wanted);
    let same = before.filter(|stored| wanted.is_same(stored));
    let facts = match &same {
        Some(_) => None,
        None => Some(wanted.ask(snapshot, physical).await?),
    };
    let mut changes = Changes::default();
    let outcome = upsert(wanted.clone(), api.clone(), facts)(snapshot, &mut changes)?;
    let resource = same.as_deref().unwrap_or(&wanted);
    let answer = upsert_answer(outcome, &resource.show(api, false));
    let answer = answer.map_err(|error| ApiError::internal(format!("No answer: {error}.")))?;
    Ok((answer, (outcome != Outcome::NotChanged).then_some(changes)))
}

/// Deletes the one with this name.
pub(super) async fn delete<K: Kind>(
    state: &ApiState,
    name: Vec<String>,
) -> Result<Response, ApiError> {
    let decide = move |snapshot: &Snapshot, changes: &mut Changes| {
        let name: Vec<&str> = name.iter().map(String::as_str).collect();
        let stored = K::table(snapshot).get(&name);
        let stored = stored.ok_or_else(|| missing::<K>(snapshot, &name))?;
        let referrers = stored.referrers(snapshot);
        if !referrers.is_empty() {
            return Err(still_referenced(&called::<K>(&name), &referrers));
        }
        changes.delete(stored.as_ref());
        stored.on_delete(snapshot, changes);
        Ok(Outcome::Deleted)
    };
    finish(state.resources()?, Box::new(decide)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// 404 for a resource of this name.
pub(super) fn not_found<K: Kind>(name: &[&str]) -> ApiError {
    let msg = format!("There is no {}.", called::<K>(name));
    ApiError::new(StatusCode::NOT_FOUND, K::NOT_FOUND, msg)
}

/// The same, with those of the same name elsewhere: in other virtual clusters, of other scopes.
fn missing<K: Kind>(snapshot: &Snapshot, name: &[&str]) -> ApiError {
    let error = not_found::<K>(name);
    let others = naming::<K>(snapshot, |other| {
        let other = other.name();
        let other: Vec<&str> = other.iter().map(String::as_str).collect();
        own_name(&other) == own_name(name)
    });
    match others.is_empty() {
        true => error,
        false => {
            let msg = format!("There is no {}.", called::<K>(name));
            error.because(format!("{msg} There is {}.", listed(&others)))
        }
    }
}

/// `metadata.name` within all that identifies a resource.
fn own_name<'a>(name: &[&'a str]) -> &'a str {
    match name {
        [_, own] | [own, ..] => own,
        [] => "",
    }
}

/// Refuses a virtual cluster that does not exist. `cause` says who refers to it.
pub(super) fn known_vcluster(
    snapshot: &Snapshot,
    vcluster: &str,
    cause: impl Display,
) -> Result<(), ApiError> {
    if vcluster == PASSTHROUGH || snapshot.virtual_cluster(vcluster).is_some() {
        return Ok(());
    }
    let msg = format!("There is no virtual cluster '{}'.", shown(vcluster));
    let error = ApiError::new(StatusCode::NOT_FOUND, "Virtual cluster not found", &*msg);
    Err(error.because(format!("{msg} {cause}")))
}

/// A resource as messages call it.
pub(super) fn called<K: Kind>(name: &[&str]) -> String {
    K::called(name)
}

/// Those of a table for which `keep` holds, as messages call them.
pub(super) fn naming<K: Kind>(snapshot: &Snapshot, keep: impl Fn(&K) -> bool) -> Vec<String> {
    let kept = K::table(snapshot).iter().filter(|resource| keep(resource));
    kept.map(|resource| {
        let name = resource.name();
        called::<K>(&name.iter().map(String::as_str).collect::<Vec<_>>())
    })
    .collect()
}

/// Stores it, with a reservation before where it needs one.
async fn make<K: Kind>(
    wanted: K,
    api: Arc<Api>,
    resources: Arc<dyn Resources>,
    facts: Option<K::Facts>,
) -> Result<Outcome, ApiError> {
    let made = async {
        let mut facts = facts;
        if K::RESERVES {
            let decide = reserve(wanted.clone(), api.clone(), facts.clone());
            if resources.write(decide).await? == Outcome::Created {
                let (snapshot, physical) = (resources.snapshot(), resources.physical());
                facts = Some(wanted.ask(&snapshot, &*physical).await?);
            }
        }
        Ok(resources.write(upsert(wanted.clone(), api, facts)).await?)
    };
    let made = made.await;
    if K::RESERVES && made.is_err() {
        let release: Decide = Box::new(move |snapshot, changes| {
            if stored(snapshot, &wanted).is_none() {
                wanted.release(snapshot, changes);
            }
            Ok(Outcome::Deleted)
        });
        if let Err(error) = resources.write(release).await.map_err(ApiError::from) {
            tracing::warn!(target: HTTP, kind = K::NAME, ?error, "a reservation was not given up; it ends when the call is repeated");
        }
    }
    made
}

fn reserve<K: Kind>(wanted: K, api: Arc<Api>, facts: Option<K::Facts>) -> Decide {
    Box::new(move |snapshot, changes| {
        let (None, Some(facts)) = (stored(snapshot, &wanted), &facts) else {
            return Ok(Outcome::NotChanged);
        };
        let situation = Situation {
            snapshot,
            api: &api,
            facts,
        };
        wanted.check(None, &situation)?;
        Ok(match wanted.reserve(snapshot, changes) {
            true => Outcome::Created,
            false => Outcome::NotChanged,
        })
    })
}

fn upsert<K: Kind>(wanted: K, api: Arc<Api>, facts: Option<K::Facts>) -> Decide {
    Box::new(move |snapshot, changes| {
        let stored = stored(snapshot, &wanted);
        if stored.as_ref().is_some_and(|s| wanted.is_same(s)) {
            return Ok(Outcome::NotChanged);
        }
        let Some(facts) = &facts else {
            let msg = "Another change came between; the call can be repeated.";
            return Err(ApiError::new(StatusCode::CONFLICT, "Already in use", msg));
        };
        let situation = Situation {
            snapshot,
            api: &api,
            facts,
        };
        wanted.check(stored.as_deref(), &situation)?;
        changes.put(&wanted.succeeding(stored.as_deref()));
        if stored.is_some() {
            return Ok(Outcome::Updated);
        }
        wanted.on_create(snapshot, changes);
        Ok(Outcome::Created)
    })
}

/// What a change would come to.
fn dry_run(resources: &dyn Resources, mut decide: Decide) -> Result<Outcome, ApiError> {
    decide(&resources.snapshot(), &mut Changes::default())
}

/// Sees a change through even if the caller hangs up.
async fn finish(resources: &Arc<dyn Resources>, decide: Decide) -> Result<Outcome, ApiError> {
    match tokio::spawn(resources.write(decide)).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => Err(unexpected()),
    }
}

fn unexpected() -> ApiError {
    ApiError::internal("The change failed unexpectedly; whether it was stored is not known.")
}

fn stored<K: Kind>(snapshot: &Snapshot, wanted: &K) -> Option<Arc<K>> {
    let name = wanted.name();
    let name: Vec<&str> = name.iter().map(String::as_str).collect();
    K::table(snapshot).get(&name).cloned()
}

fn still_referenced(what: &str, referrers: &[String]) -> ApiError {
    let msg = format!("{what} is still used by {}.", listed(referrers));
    ApiError::new(StatusCode::CONFLICT, "Still referenced", msg)
}

/// The first of them, and how many more there are.
fn listed(resources: &[String]) -> String {
    let named = resources.iter().take(NAMED).cloned().collect::<Vec<_>>();
    match resources.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{}, and {more} more", named.join(", ")),
    }
}
