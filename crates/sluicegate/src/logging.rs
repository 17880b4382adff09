//! From the configuration to logs.

use config::{Config, LogLayout, LogLevel, Logging, Notice, NoticeLevel, Problem};
use telemetry::{Layout, LogError, LogGuard, LogSettings, TimeFormat, targets};
use tracing::level_filters::LevelFilter;

const TIME_FORMAT: &str = "LOG4J2_TIME_FORMAT";

/// Sets logging up for the whole process; keep the guard until the end.
pub(crate) fn start(logging: &Logging) -> Result<LogGuard, LogError> {
    telemetry::init(&settings(logging))
}

/// Logs what was noticed while the configuration was read.
pub(crate) fn log_notices(notices: &[Notice]) {
    for notice in notices {
        let text = notice.text.as_str();
        match notice.level {
            NoticeLevel::Warn => tracing::warn!(target: targets::CONFIG, "{text}"),
            NoticeLevel::Info => tracing::info!(target: targets::CONFIG, "{text}"),
            NoticeLevel::Debug => tracing::debug!(target: targets::CONFIG, "{text}"),
        }
    }
}

/// Logs the effective configuration, secrets masked.
pub(crate) fn log_configuration(config: &Config) {
    tracing::info!(target: targets::CONFIG, "Computed configuration :");
    for line in config::effective_yaml(config).lines() {
        tracing::info!(target: targets::CONFIG, "{line}");
    }
}

/// What is wrong with the time format, in the shape of all configuration problems.
pub(crate) fn time_format_problem(logging: &Logging) -> Option<Problem> {
    let error = TimeFormat::parse(&logging.time_format).err()?;
    Some(Problem::value(
        TIME_FORMAT,
        &logging.time_format,
        error.to_string(),
    ))
}

fn settings(logging: &Logging) -> LogSettings {
    let levels = logging.levels.iter().flat_map(|(variable, level)| {
        let names = targets::of_variable(variable).unwrap_or_default();
        names
            .iter()
            .map(|target| ((*target).to_owned(), filter(*level)))
    });
    LogSettings {
        layout: match logging.layout {
            LogLayout::Pattern => Layout::Pattern,
            LogLayout::Json => Layout::Json,
        },
        time_format: logging.time_format.clone(),
        root: filter(logging.root),
        levels: levels.collect(),
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logging(pairs: &[(&str, &str)]) -> Logging {
        let pairs = pairs
            .iter()
            .copied()
            .chain([("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")]);
        config::load(&config::Source::from_pairs(pairs))
            .expect("valid")
            .config
            .logging
    }

    #[test]
    fn every_level_variable_steers_a_target() {
        let logging = logging(&[]);
        assert!(!logging.levels.is_empty());
        for (variable, _) in &logging.levels {
            assert!(targets::of_variable(variable).is_some(), "{variable}");
        }
    }

    #[test]
    fn levels_reach_their_targets() {
        let settings = settings(&logging(&[
            ("LOG4J2_IO_VERTX_LEVEL", "ALL"),
            ("LOG4J2_ROOT_LEVEL", "fatal"),
        ]));
        assert_eq!(settings.root, LevelFilter::ERROR);
        assert!(
            settings
                .levels
                .contains(&(targets::HTTP.to_owned(), LevelFilter::TRACE))
        );
    }

    #[test]
    fn a_wrong_time_format_names_its_variable() {
        assert_eq!(time_format_problem(&logging(&[])), None);
        let problem =
            time_format_problem(&logging(&[("LOG4J2_TIME_FORMAT", "EEE")])).expect("a problem");
        assert!(
            problem
                .to_string()
                .starts_with("Invalid configuration: LOG4J2_TIME_FORMAT=EEE: expected"),
            "{problem}"
        );
    }
}
