//! The admin port: health, metrics, and the management API under `/gateway/v2`.
//!
//! ```no_run
//! use std::time::Duration;
//! use sluicegate_admin::{AdminServer, BuildInfo, HealthState, Services};
//!
//! let server = AdminServer::bind("0.0.0.0:8888".parse().expect("address"))?;
//! let health = HealthState::new(Duration::from_secs(30));
//! let services = Services::new(health.clone(), BuildInfo::of_this_build("0.1.0"));
//! let handle = server.serve(services)?;
//! health.config_ready();
//! handle.shutdown();
//! # std::io::Result::Ok(())
//! ```
//!
//! The server has its own thread and runtime, so that probes are answered while the data plane is saturated. Calls of the API and
//! failed logins are recorded under the log target `sluicegate::audit`.

mod access;
mod api;
mod audit;
mod build_info;
mod error;
mod guests;
mod health;
mod otlp;
mod routes;
mod server;
mod services;
mod thread;

pub use access::Users;
pub use api::{
    Api, Asked, Capabilities, Change, Decide, Deployment, Endpoint, NOTHING_KEPT, NameOf, Outcome,
    PhysicalCluster, PhysicalName, Plugin, PluginFault, PluginInfo, Plugins, Properties, Resources,
    description,
};
pub use audit::{is_secret, tell_suppressed};
pub use build_info::BuildInfo;
pub use error::ApiError;
pub use health::{DEFAULT_UPSTREAM_GRACE, HEARTBEAT_LIMIT, HealthState, Heartbeat};
pub use otlp::Exporter;
pub use server::{AdminServer, Handle};
pub use services::Services;
