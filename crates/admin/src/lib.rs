//! The admin port. For now it answers health checks.
//!
//! ```no_run
//! use std::time::Duration;
//! use sluicegate_admin::{AdminServer, BuildInfo, HealthState};
//!
//! let server = AdminServer::bind("0.0.0.0:8888".parse().expect("address"))?;
//! let health = HealthState::new(Duration::from_secs(30));
//! let handle = server.start(health.clone(), BuildInfo::of_this_build("0.1.0"))?;
//! health.config_ready();
//! handle.shutdown();
//! # std::io::Result::Ok(())
//! ```
//!
//! The server has its own thread and runtime, so that probes are answered while the data plane is saturated.

mod build_info;
mod health;
mod routes;
mod server;

pub use build_info::BuildInfo;
pub use health::{DEFAULT_UPSTREAM_GRACE, HEARTBEAT_LIMIT, HealthState, Heartbeat};
pub use server::{AdminServer, Handle};
