//! Every setting of the gateway: where it comes from, its default, what a wrong value does.
//!
//! ```
//! use sluicegate_config as config;
//!
//! let source = config::Source::from_pairs([("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")]);
//! match config::load(&source) {
//!     Ok(loaded) => assert_eq!(loaded.config.http.port, 8888),
//!     Err(report) => eprintln!("{report}"), // exit status 78
//! }
//! ```
//!
//! The crate is plain data and parsing: no sockets, no threads, no logging. What should be logged comes back as [`Notice`]s.

mod available;
pub mod catalogue;
mod clusters;
mod dump;
mod env_file;
pub mod jaas;
mod kafka;
mod load;
mod machine;
mod model;
mod names;
mod network;
mod otlp;
mod ports;
mod report;
mod secret;
mod security;
mod settings;
mod source;
mod upstream;
mod words;
mod yaml;

pub use dump::effective_yaml;
pub use jaas::Jaas;
pub use load::load;
pub use model::*;
pub use otlp::Otlp;
pub use ports::{PortPair, PortPlan};
pub use report::{EXIT_CODE, Notice, NoticeLevel, Problem, Report};
pub use secret::{MASK, Secret};
pub use source::Source;
pub use upstream::*;

/// A configuration that may be run with.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The effective configuration.
    pub config: Config,
    /// Lines to log once logging is set up.
    pub notices: Vec<Notice>,
}
