//! Small in-memory brokers that speak the Kafka protocol: for trying the gateway out on a bare machine, as an upstream that answers from
//! memory in benchmarks, and as an upstream that misbehaves on command in fault tests.
//!
//! ```no_run
//! # async fn run() -> std::io::Result<()> {
//! let cluster = devbroker::DevCluster::start(devbroker::Options::new().brokers(3)).await?;
//! println!("bootstrap.servers={}", cluster.bootstrap());
//! cluster.shutdown().await;
//! # Ok(()) }
//! ```
//!
//! All brokers of a cluster live in one process and share one state; "replicas" are a label in metadata, not copies. Nothing is written
//! to disk. What else it does not do stands in [`LIMITS`], which programs that offer a dev cluster print to their users.
//!
//! | module | what lives there |
//! | --- | --- |
//! | `options`, `faults` | what a caller may configure and break |
//! | `cluster`, `broker` | the shared state; one broker's listener and address |
//! | `connection`, `codec` | frames in and out, bounded; validation before typed decoding |
//! | `topics`, `log`, `batch`, `producers`, `compact`, `memory` | topics, partitions and their records |
//! | `groups`, `transactions`, `configs` | coordinators and configuration |
//! | `api` | one file per group of API keys: requests to state to responses |

mod api;
mod batch;
mod benchmark;
mod broker;
mod cluster;
mod codec;
mod compact;
mod configs;
mod connection;
mod faults;
mod groups;
mod log;
mod maintenance;
mod memory;
mod options;
mod producers;
mod sync;
mod topics;
mod transactions;

pub use cluster::DevCluster;
pub use faults::{Fault, FaultError, FaultId, Faults, Rule};
pub use options::{Benchmark, Options};

/// What these brokers do not do, one sentence each, for printing to users.
pub const LIMITS: &[&str] = &[
    "Records live in memory only: a restart loses everything, and the oldest records go first when the memory bound is reached.",
    "Replicas are a label: all brokers share one copy, so acks=all is as safe as acks=1.",
    "No TLS, no SASL, no ACLs, no quotas on these brokers' own listeners.",
    "No KIP-848 consumer groups, no share groups, no streams groups: classic groups only.",
    "No fetch sessions, no partition reassignment, no tiered storage, no log directories on disk.",
    "Compressed batches are stored as they come: compaction leaves them alone, and look-ups by timestamp answer with their first offset.",
    "Broker configurations can be altered and read back, but only topic configurations take effect.",
];
