//! The data plane: listeners, connections, the request and response path, upstream connections, the cluster view.
//!
//! ```text
//! client ── listener ── requests ──▶ upstream leg ── broker
//! client ◀─ responses (in order) ◀── upstream leg ── broker
//! ```
//!
//! * A **listener** has one port per broker (port routing, [`ports`]). The port decides which broker a connection is
//!   for; any port serves as bootstrap.
//! * A **connection** lives on one worker thread and has, by default, one upstream leg of its own. Frames stream through
//!   it; only what must change is held as a whole. [`GatewayError`] lists what can go wrong at start.
//! * Every **answer with a broker address** in it is rewritten to the listener's addresses, whatever the message: the
//!   schema table knows the fields.
//! * The **cluster view** follows the brokers: who is there, where, and which API versions all of them speak.
//!
//! Limits and their variables are in the configuration reference; memory per connection is bounded whatever the size
//! of a frame (one window of 256 KiB per direction while bytes are moving, none while idle).

mod access;
mod addressing;
mod allowance;
mod aside;
mod buffer;
mod cluster;
mod conn;
mod drain;
mod fair;
mod gateway;
mod join;
mod offsets;
mod peek;
pub mod ports;
mod rewrite;
pub mod sni;
mod socket;
mod topics;
mod upstream;
mod verdict;
mod worker;

pub use access::{AclWrite, AclWriter, Security, tell_suppressed};
pub use cluster::StartError;
pub use gateway::{Connected, Gateway, GatewayError};
pub use upstream::client::Client;

/// Told about the facts that health rests on. Called from several threads, must not block.
pub trait Observer: Send + Sync {
    /// A broker of the backing cluster has just answered.
    fn cluster_answered(&self);
    /// Worker `index` is alive; called about once a second.
    fn worker_alive(&self, index: usize);
    /// All client ports are bound.
    fn listeners_bound(&self);
}

/// The names of all requests, as `ListOffsets`.
pub fn api_names() -> Vec<&'static str> {
    wire::api::ApiKey::all()
        .map(wire::api::ApiKey::name)
        .collect()
}
