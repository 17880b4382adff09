//! `Interceptor`: a configured plugin and whose traffic it applies to. Its name and its scope together are what it goes by, so that one of a
//! narrower scope stands in for another of the same name.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use state::{GatewayGroup, Interceptor, Resource, Scope, Snapshot};

use super::body::{Faults, Given, Members, PASSTHROUGH, shown};
use super::envelope::{NameRule, Sent, Shown};
use super::kind::{self, Kind, Situation, called, known_vcluster};
use super::physical::PhysicalCluster;
use super::query::Query;
use super::{Api, ApiState};
use crate::error::{ApiError, json};

/// `GET`: all interceptors that match the filters. Unknown names match nothing.
pub(super) async fn list(
    State(state): State<Arc<ApiState>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = Query::parse(query.as_deref());
    // False asks for nothing: it comes together with other filters.
    let global = query.flag("global")?;
    let name = query.filter("name");
    let [vcluster, group, username] =
        ["vcluster", "group", "username"].map(|parameter| query.filter(parameter));
    kind::list::<Interceptor>(&state, false, |interceptor| {
        let scope = &interceptor.scope;
        let fits = |filter: Option<&str>, part: &Option<String>| {
            filter.is_none_or(|filter| part.as_deref() == Some(filter))
        };
        (!global || scope.is_global())
            && name.is_none_or(|name| name == interceptor.name)
            && fits(vcluster, &scope.vcluster)
            && fits(group, &scope.group)
            && fits(username, &scope.username)
    })
}

/// `DELETE`: by name, with the scope as body.
pub(super) async fn delete(
    State(state): State<Arc<ApiState>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let mut members = Members::of_optional_body(&body)?;
    let mut faults = Faults::default();
    let Scope {
        vcluster,
        group,
        username,
    } = scope(&mut members, &mut faults);
    faults.into_result()?;
    let scope = [vcluster, group, username].map(Option::unwrap_or_default);
    let name = [name].into_iter().chain(scope).collect();
    kind::delete::<Interceptor>(&state, name).await
}

/// `POST /gateway/v2/interceptor/resolve`: those that apply to somebody, in the order in which they run.
pub(super) async fn resolve(
    State(state): State<Arc<ApiState>>,
    body: Bytes,
) -> Result<Response, ApiError> {
    let mut members = Members::of_body(&body)?;
    let mut faults = Faults::default();
    let vcluster = members.vcluster("vCluster", &mut faults);
    let groups = members.texts("groups", &mut faults);
    let username = members.filled_text("username", &mut faults);
    faults.into_result()?;
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let snapshot = state.resources()?.snapshot();
    let found = snapshot.interceptors_for(&vcluster, &groups, username.as_deref());
    let shown: Vec<_> = found.iter().map(|i| i.show(&state.api, false)).collect();
    Ok(json(StatusCode::OK, &shown))
}

impl Kind for Interceptor {
    const NAME: &'static str = "Interceptor";
    /// The Terraform provider calls it so.
    const ALSO: &'static [&'static str] = &["GatewayInterceptor"];
    const NOT_FOUND: &'static str = "Interceptor not found";
    const NAME_RULE: NameRule = NameRule::Free;

    type Facts = ();

    /// With its scope, as the same name may be there for others.
    fn called(name: &[&str]) -> String {
        let part = |at: usize| name.get(at).copied().unwrap_or_default();
        let [own, vcluster, group, username] = [0, 1, 2, 3].map(part).map(shown);
        let whose = match [vcluster.as_str(), &group, &username] {
            ["", "", ""] => "all virtual clusters".to_owned(),
            [_, "", ""] => format!("virtual cluster '{vcluster}'"),
            [_, _, ""] => format!("group '{group}' in virtual cluster '{vcluster}'"),
            _ => format!("user '{username}' in virtual cluster '{vcluster}'"),
        };
        format!("{} '{own}' of {whose}", Self::NAME)
    }

    fn of(sent: &mut Sent) -> Self {
        let name = sent.name(Self::NAME_RULE);
        let Sent {
            metadata,
            spec,
            faults,
        } = sent;
        let scope = scope(&mut metadata.optional_object("scope", faults), faults);
        let comment = spec.optional_text("comment", faults);
        let plugin_class = spec.text("pluginClass", faults).unwrap_or_default();
        let priority = spec.integer("priority", 0..=i64::from(i32::MAX), faults);
        let config = spec.json_object("config", faults);
        Interceptor {
            name,
            scope,
            comment,
            plugin_class,
            priority: i32::try_from(priority.unwrap_or_default()).unwrap_or(i32::MAX),
            config: config.map_or_else(String::new, |config| config.get().to_owned()),
        }
    }

    fn refused(&self, error: ApiError) -> ApiError {
        match self.name.as_str() {
            "" => error,
            _ => error.at(&with_scope(self)),
        }
    }

    fn is_same(&self, stored: &Self) -> bool {
        let without = |interceptor: &Self| Interceptor {
            config: String::new(),
            ..interceptor.clone()
        };
        without(self) == without(stored) && super::json::is_same(&self.config, &stored.config)
    }

    fn check_settings(&self, api: &Api) -> Result<(), ApiError> {
        let config: Map<String, Value> = serde_json::from_str(&self.config).unwrap_or_default();
        api.plugins
            .check(&self.plugin_class, &config)
            .map_err(|error| self.refused(error))?;
        api.check_stored()
    }

    async fn ask(&self, _: &Snapshot, _: &dyn PhysicalCluster) -> Result<(), ApiError> {
        Ok(())
    }

    fn check(&self, _stored: Option<&Self>, at: &Situation<'_, ()>) -> Result<(), ApiError> {
        let who = format!("of {} refers to it.", with_scope(self));
        if let Some(vcluster) = &self.scope.vcluster {
            let cause = format!("metadata.scope.vCluster {who}");
            known_vcluster(at.snapshot, vcluster, cause)?;
        }
        if let Some(group) = &self.scope.group
            && at.snapshot.groups.get(&[group]).is_none()
        {
            let msg = format!("There is no {}.", called::<GatewayGroup>(&[group]));
            let cause = format!("{msg} metadata.scope.group {who}");
            let error = ApiError::new(StatusCode::NOT_FOUND, GatewayGroup::NOT_FOUND, msg);
            return Err(error.because(cause));
        }
        Ok(())
    }

    fn show<'a>(&'a self, _api: &'a Api, _defaults: bool) -> impl Serialize + 'a {
        #[derive(Serialize)]
        struct Metadata<'a> {
            name: &'a str,
            scope: ShownScope<'a>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Spec<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            comment: Option<&'a str>,
            plugin_class: &'a str,
            priority: i32,
            config: Box<RawValue>,
        }
        let spec = Spec {
            comment: self.comment.as_deref(),
            plugin_class: &self.plugin_class,
            priority: self.priority,
            // What is stored was JSON when it came.
            config: RawValue::from_string(self.config.clone()).unwrap_or_default(),
        };
        let metadata = Metadata {
            name: &self.name,
            scope: ShownScope::of(&self.scope),
        };
        Shown::new(Self::NAME, metadata, spec)
    }
}

/// It as messages call it, with its scope.
fn with_scope(interceptor: &Interceptor) -> String {
    let name = interceptor.name();
    called::<Interceptor>(&name.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A scope in full: a global one says so, since sent back it would mean something else without.
#[derive(Serialize)]
#[serde(untagged)]
enum ShownScope<'a> {
    #[serde(rename_all = "camelCase")]
    Global {
        v_cluster: (),
        group: (),
        username: (),
    },
    #[serde(rename_all = "camelCase")]
    Aimed {
        v_cluster: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        username: Option<&'a str>,
    },
}

impl<'a> ShownScope<'a> {
    fn of(scope: &'a Scope) -> Self {
        match scope.is_global() {
            true => ShownScope::Global {
                v_cluster: (),
                group: (),
                username: (),
            },
            false => ShownScope::Aimed {
                v_cluster: scope.vcluster.as_deref(),
                group: scope.group.as_deref(),
                username: scope.username.as_deref(),
            },
        }
    }
}

/// Reads a scope. `vCluster` that is `null` means everybody, but only without a group and a user; absent it means the
/// built-in virtual cluster.
fn scope(members: &mut Members, faults: &mut Faults) -> Scope {
    let vcluster = members.given("vCluster", faults);
    let group = members.filled_text("group", faults);
    let username = members.filled_text("username", faults);
    let is_aimed = group.is_some() || username.is_some();
    if group.is_some() && username.is_some() {
        faults.add(format!(
            "'{}' and '{}' cannot be given together.",
            members.path("group"),
            members.path("username")
        ));
    }
    let vcluster = match vcluster {
        Given::Text(vcluster) => Some(vcluster),
        Given::Null if !is_aimed => None,
        Given::Null | Given::Absent => Some(PASSTHROUGH.to_owned()),
    };
    Scope {
        vcluster,
        group,
        username,
    }
}
