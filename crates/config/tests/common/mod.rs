//! Helpers for the tests of this crate.

#![allow(dead_code, reason = "every test file uses some of these")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use sluicegate_config::{Loaded, NoticeLevel, Report, Source, load};

pub(crate) const SERVERS: (&str, &str) = ("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092");

/// Loads `pairs`, with a bootstrap address unless they give one.
pub(crate) fn try_load(pairs: &[(&str, &str)]) -> Result<Loaded, Report> {
    let first = (!pairs.iter().any(|(name, _)| *name == SERVERS.0)).then_some(SERVERS);
    load(&Source::from_pairs(
        first.into_iter().chain(pairs.iter().copied()),
    ))
}

pub(crate) fn loaded(pairs: &[(&str, &str)]) -> Loaded {
    try_load(pairs).unwrap_or_else(|report| panic!("{pairs:?}: {report}"))
}

/// The problems as lines.
pub(crate) fn problems(pairs: &[(&str, &str)]) -> Vec<String> {
    match try_load(pairs) {
        Ok(_) => panic!("accepted: {pairs:?}"),
        Err(report) => report.to_string().lines().map(String::from).collect(),
    }
}

/// The only problem.
pub(crate) fn problem(pairs: &[(&str, &str)]) -> String {
    let mut lines = problems(pairs);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.remove(0)
}

pub(crate) fn warnings(pairs: &[(&str, &str)]) -> Vec<String> {
    let notices = loaded(pairs).notices;
    notices
        .into_iter()
        // Of the defaults, which most tests leave alone.
        .filter(|notice| {
            !notice
                .text
                .starts_with("GATEWAY_ADMIN_API_USERS is not set")
        })
        .filter(|notice| notice.level == NoticeLevel::Warn)
        .map(|notice| notice.text)
        .collect()
}

/// A file that is gone when the test ends.
pub(crate) struct TempFile(PathBuf);

impl TempFile {
    pub(crate) fn new(content: impl AsRef<[u8]>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "sluicegate-config-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, content).expect("temporary file");
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8 path")
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
