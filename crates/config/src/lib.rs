//! Every setting of the gateway: where it comes from, its default, what a wrong value does.
//!
//! ```
//! let source = config::Source::from_pairs([("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")]);
//! match config::load(&source) {
//!     Ok(loaded) => assert_eq!(loaded.config.http.port, 8888),
//!     Err(report) => eprintln!("{report}"), // exit status 78
//! }
//! ```
//!
//! The crate is plain data and parsing: no sockets, no threads, no logging. What should be logged comes back as [`Notice`]s.

pub mod jaas;
mod model;
mod ports;
#[allow(dead_code)]
mod report;
mod secret;
mod source;
mod upstream;
mod words;

pub use jaas::Jaas;
pub use model::*;
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

/// Validates `source` and computes the effective configuration.
///
/// # Errors
/// All problems found, collected. The process should print them and exit with [`EXIT_CODE`].
pub fn load(_source: &Source) -> Result<Loaded, Report> {
    Err(Report::default())
}
