//! What can go wrong while a test sets up its world.

use std::path::PathBuf;
use std::time::Duration;

/// Result of testkit calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a testkit call failed; `Display` is one sentence a developer can act on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program the kit needs is not installed or too old.
    #[error("{program} is needed to run Kafka tests: {problem}")]
    Missing {
        /// Name of the program.
        program: &'static str,
        /// What was found instead.
        problem: String,
    },
    /// A call to the operating system failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file fetched from Maven Central is not the pinned one.
    #[error("{} has SHA-256 {found}, pinned is {pinned}", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Digest of what is there, hexadecimal.
        found: String,
        /// Digest it should have, hexadecimal.
        pinned: &'static str,
    },
    /// A program ended with an error.
    #[error("{program} ended with status {status}:\n{output}")]
    Exit {
        /// What ran.
        program: String,
        /// Exit status; 128 + n after signal n.
        status: i32,
        /// The end of its output.
        output: String,
    },
    /// A condition did not become true.
    #[error("waited {} s for {what}{last}", after.as_secs())]
    Timeout {
        /// The condition.
        what: String,
        /// How long.
        after: Duration,
        /// What was seen last, empty or beginning with ": ".
        last: String,
    },
    /// A peer answered something that is not the Kafka protocol or not the expected answer.
    #[error("unexpected answer: {0}")]
    Answer(String),
    /// The librdkafka client failed.
    #[error("librdkafka: {0}")]
    Client(#[from] rdkafka::error::KafkaError),
    /// Something that must hold was seen not to hold.
    #[error("{0}")]
    Violated(String),
}

impl Error {
    /// Attaches what was being done to an I/O error; for `map_err`.
    pub fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Io { doing, source }
    }
}
