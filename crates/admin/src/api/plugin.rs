//! The plugins that interceptors configure, with what is told of each.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};

use super::ApiState;
use super::plugin_names::why_unknown;
use crate::error::{ApiError, json};

/// A plugin that is built in.
pub trait Plugin: Send + Sync + 'static {
    /// What it is.
    fn about(&self) -> PluginInfo;

    /// Checks a configuration. Asks nobody: what a configuration names may be out of reach now.
    ///
    /// # Errors
    /// The path of the member that is wrong, and what is.
    fn check(&self, config: &Map<String, Value>) -> Result<(), PluginFault>;
}

/// What a plugin is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginInfo {
    /// The value of `pluginClass`.
    pub id: String,
    /// A few words.
    pub title: String,
    /// A sentence or two.
    pub description: String,
    /// Markdown: what it does, and the members of its configuration.
    pub readme: String,
}

/// What is wrong with a plugin's configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'spec.config.{path}' {reason}")]
pub struct PluginFault {
    /// The member, from the configuration's root: `topic.min`.
    pub path: String,
    /// What is wrong with it: `must not be negative`.
    pub reason: String,
}

/// All plugins, by their ids.
#[derive(Clone, Default)]
pub struct Plugins(Arc<[Arc<dyn Plugin>]>);

impl Plugins {
    /// These plugins.
    pub fn new(plugins: impl IntoIterator<Item = Arc<dyn Plugin>>) -> Self {
        Self(plugins.into_iter().collect())
    }

    /// Checks that there is a plugin, and its configuration.
    pub(crate) fn check(&self, id: &str, config: &Map<String, Value>) -> Result<(), ApiError> {
        let refused = |title, msg: String| ApiError::new(StatusCode::BAD_REQUEST, title, msg);
        let plugin = self.0.iter().find(|plugin| plugin.about().id == id);
        let Some(plugin) = plugin else {
            let built_in: Vec<String> = self.0.iter().map(|plugin| plugin.about().id).collect();
            return Err(refused("Unknown plugin", why_unknown(id, &built_in)));
        };
        plugin
            .check(config)
            .map_err(|fault| refused("Invalid plugin configuration", format!("{fault}.")))
    }
}

impl fmt::Debug for Plugins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids = self.0.iter().map(|plugin| plugin.about().id);
        f.debug_list().entries(ids).finish()
    }
}

/// `GET /gateway/v2/plugin`.
pub(super) async fn list(State(state): State<Arc<ApiState>>) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Shown {
        plugin: String,
        plugin_id: String,
        readme: String,
        title: String,
        description: String,
        license: &'static str,
        version: &'static str,
    }
    let shown = |plugin: &Arc<dyn Plugin>| {
        let about = plugin.about();
        Shown {
            plugin: about.id.clone(),
            plugin_id: about.id,
            readme: about.readme,
            title: about.title,
            description: about.description,
            license: env!("CARGO_PKG_LICENSE"),
            version: env!("CARGO_PKG_VERSION"),
        }
    };
    let plugins: Vec<Shown> = state.api.plugins.0.iter().map(shown).collect();
    Ok(json(StatusCode::OK, &plugins))
}
