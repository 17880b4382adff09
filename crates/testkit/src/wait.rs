//! Waiting for conditions.

use crate::{Error, Result};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);

/// Polls `probe` until it gives a value, at most for `limit`.
///
/// # Errors
/// [`Error::Timeout`] naming `what` and the last error of the probe.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let last = match probe() {
            Ok(Some(value)) => return Ok(value),
            Ok(None) => String::new(),
            Err(error) => format!(": {error}"),
        };
        if start.elapsed() >= limit {
            return Err(Error::Timeout {
                what: what.to_owned(),
                after: limit,
                last,
            });
        }
        std::thread::sleep(POLL);
    }
}

/// [`until`] for a yes/no condition.
///
/// # Errors
/// As [`until`].
pub fn until_true(what: &str, limit: Duration, mut probe: impl FnMut() -> bool) -> Result<()> {
    until(what, limit, || Ok(probe().then_some(())))
}
