//! Logs of the gateway, through `tracing`, to standard output, and its [`metrics`].
//!
//! ```no_run
//! use sluicegate_telemetry as telemetry;
//!
//! let guard = telemetry::init(&telemetry::LogSettings::default())?;
//! tracing::info!(target: telemetry::targets::NETWORK, peer = "127.0.0.1:1", "connected");
//! drop(guard); // writes what is still queued
//! # Ok::<(), telemetry::LogError>(())
//! ```
//!
//! A log line is one line whatever it contains: control characters in messages and fields are escaped in both layouts. Lines
//! are handed to a writer thread through a bounded queue. When standard output is not read, lines are dropped and counted, and the
//! data plane goes on.

mod flood;
mod format;
pub mod metrics;
pub mod process;
mod sink;
pub mod targets;
mod time_format;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

pub use flood::{FloodGate, FloodLimits, Suppressed, address_source};
pub use format::Layout;
pub use sink::LogGuard;
pub use time_format::{TimeFormat, TimeFormatError};

/// How to log.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The form of a line.
    pub layout: Layout,
    /// Java date pattern, see [`TimeFormat`].
    pub time_format: String,
    /// For targets that nothing in `levels` covers.
    pub root: LevelFilter,
    /// Level by target; a target covers those that begin with it, and the longest one counts.
    pub levels: Vec<(String, LevelFilter)>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            layout: Layout::Pattern,
            time_format: time_format::DEFAULT.to_owned(),
            root: LevelFilter::INFO,
            levels: Vec::new(),
        }
    }
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The time format is not usable.
    #[error(transparent)]
    TimeFormat(#[from] TimeFormatError),
    /// Something else set logging up before.
    #[error("logging is already set up")]
    AlreadySet,
    /// The writer thread did not start.
    #[error("cannot start the log writer: {0}")]
    Writer(#[source] std::io::Error),
}

/// Sets logging up for the whole process. The guard writes what is queued when it is dropped; keep it until the end of `main`.
///
/// # Errors
/// See [`LogError`].
pub fn init(settings: &LogSettings) -> Result<LogGuard, LogError> {
    let format = TimeFormat::parse(&settings.time_format)?;
    let (sink, guard) = sink::start(std::io::stdout()).map_err(LogError::Writer)?;
    let subscriber = subscriber(settings, format, sink);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::AlreadySet)?;
    Ok(guard)
}

fn subscriber<W>(
    settings: &LogSettings,
    time: TimeFormat,
    writer: W,
) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = settings.levels.iter().fold(
        Targets::new().with_default(settings.root),
        |filter, (target, level)| filter.with_target(target.as_str(), *level),
    );
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .fmt_fields(format::SpanFields)
        .event_format(format::Lines {
            layout: settings.layout,
            time,
        })
        .with_writer(writer);
    tracing_subscriber::registry().with(filter).with(lines)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("lock").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Captured {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn logged(settings: &LogSettings, log: impl FnOnce()) -> Vec<String> {
        let captured = Captured::default();
        let time = TimeFormat::parse("'T'").expect("format");
        tracing::subscriber::with_default(subscriber(settings, time, captured.clone()), log);
        let bytes = captured.0.lock().expect("lock").clone();
        String::from_utf8(bytes)
            .expect("UTF-8")
            .lines()
            .map(String::from)
            .collect()
    }

    fn thread() -> String {
        std::thread::current().name().unwrap_or("-").to_owned()
    }

    #[test]
    fn a_pattern_line() {
        let lines = logged(&LogSettings::default(), || {
            tracing::warn!(target: targets::NETWORK, peer = "a b", count = 3, ok = true, "hello {}", "world");
        });
        assert_eq!(
            lines,
            [format!(
                "T WARN  [{}] sluicegate::network - hello world peer=\"a b\" count=3 ok=true",
                thread()
            )]
        );
    }

    #[test]
    fn a_json_line() {
        let settings = LogSettings {
            layout: Layout::Json,
            ..LogSettings::default()
        };
        let lines = logged(&settings, || {
            tracing::info!(target: targets::HTTP, peer = "a\"b", count = -3, ratio = 0.5, bad = f64::NAN, "hi");
        });
        let expected = format!(
            r#"{{"timestamp":"T","level":"INFO","thread":"{}","loggerName":"sluicegate::http","message":"hi","peer":"a\"b","count":-3,"ratio":0.5,"bad":"NaN"}}"#,
            thread()
        );
        assert_eq!(lines, [expected]);
    }

    #[test]
    fn nothing_from_outside_makes_a_second_line() {
        let hostile = "x\r\n2026 INFO forged \u{1b}[2J\u{2028}\u{85}\u{202e}\u{0}";
        for layout in [Layout::Pattern, Layout::Json] {
            let settings = LogSettings {
                layout,
                ..LogSettings::default()
            };
            let lines = logged(&settings, || {
                let span = tracing::info_span!(target: "sluicegate::network", "connection", peer = hostile);
                span.in_scope(|| tracing::error!(client = hostile, debug = ?hostile, "{hostile}"));
            });
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(
                !lines[0]
                    .chars()
                    .any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{202e}')),
                "{lines:?}"
            );
            assert!(lines[0].contains("forged"));
        }
    }

    #[test]
    fn fields_cannot_take_the_place_of_the_fixed_keys() {
        let settings = LogSettings {
            layout: Layout::Json,
            ..LogSettings::default()
        };
        let lines = logged(&settings, || {
            tracing::info!(level = "x", loggerName = "y", "m")
        });
        assert!(
            lines[0].contains(r#""field.level":"x","field.loggerName":"y""#),
            "{lines:?}"
        );
    }

    #[test]
    fn the_longest_target_counts() {
        let settings = LogSettings {
            root: LevelFilter::ERROR,
            levels: vec![
                ("sluicegate".into(), LevelFilter::INFO),
                ("sluicegate::network".into(), LevelFilter::DEBUG),
            ],
            ..LogSettings::default()
        };
        let lines = logged(&settings, || {
            tracing::warn!(target: "elsewhere", "no");
            tracing::debug!(target: "sluicegate::http", "no");
            tracing::info!(target: "sluicegate::http", "yes");
            tracing::debug!(target: "sluicegate::network", "yes");
            tracing::trace!(target: "sluicegate::network", "no");
        });
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| line.ends_with("yes")));
    }

    #[test]
    fn span_fields_stand_at_the_end() {
        let lines = logged(&LogSettings::default(), || {
            tracing::info_span!("connection", peer = "p", id = 7)
                .in_scope(|| tracing::info!(target: "t", "m"));
        });
        assert!(lines[0].ends_with("t - m peer=p id=7"), "{lines:?}");
    }
}
