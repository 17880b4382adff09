//! The public keys of an identity provider (RFC 7517), kept fresh.
//!
//! One task fetches the set at the start, then every period; sooner after a failure, and sooner when a token names a key
//! that the set does not hold. The last good set stays in use while the provider is down.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Method;
use hyper::header::ACCEPT;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use super::failure::{FailureReason, TokenDefect};
use super::jwk::{self, Algorithm, PublicKey};
use crate::http::{Endpoint, HttpError, Limits};
use crate::upstream::system_tls;

/// Largest key set that is read, bytes.
const MAX_BYTES: usize = 1 << 20;

/// Most redirects that are followed, all of them on the same host.
const MAX_REDIRECTS: usize = 3;

/// Bounds of one request.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(10),
    answer: Duration::from_secs(10),
    max_bytes: MAX_BYTES,
};

/// Least time between two fetches that tokens with unknown keys cause: clients choose key ids.
const FORCED_PERIOD: Duration = Duration::from_secs(60);

/// How long a token waits for a fetch that may bring its key.
const PATIENCE: Duration = Duration::from_secs(5);

/// When to fetch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    /// After a success.
    pub(super) refresh: Duration,
    /// After the first failure; doubles with each further one.
    pub(super) retry: Duration,
    /// Never longer than this after a failure.
    pub(super) max_retry: Duration,
}

/// The keys, and where they come from.
pub(super) struct KeySet {
    source: Source,
    schedule: Schedule,
    state: watch::Sender<State>,
    force: Notify,
    forced: Mutex<Option<Forced>>,
}

enum Source {
    File(PathBuf),
    Http(Box<Endpoint>),
}

#[derive(Default)]
struct State {
    /// The last good set.
    keys: Option<Vec<Arc<PublicKey>>>,
    /// Fetches begun and ended.
    begun: u64,
    ended: u64,
}

/// The last fetch that a token caused.
struct Forced {
    at: Instant,
    /// It is over when as many fetches have ended.
    ends: u64,
}

/// Why a fetch brought no keys. Names neither path nor query of the URL, which may hold secrets.
#[derive(Debug, Error)]
enum FetchError {
    #[error("cannot read {path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("{endpoint}: {error}")]
    Http { endpoint: String, error: HttpError },
    #[error("{endpoint}: status {status}")]
    Status { endpoint: String, status: u16 },
    #[error("{endpoint}: redirects to another host, or too often")]
    Redirect { endpoint: String },
    #[error("larger than {MAX_BYTES} bytes")]
    TooLarge,
    #[error("not a JSON Web Key Set")]
    NotAKeySet,
    #[error("the set holds no key that tokens could be checked with")]
    NoUsableKey,
}

impl KeySet {
    /// `url` is `http://`, `https://` or `file:`. Fetches nothing yet.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub(super) fn new(url: &str, schedule: Schedule) -> Result<Self, String> {
        let source = match url.get(..5) {
            Some(scheme) if scheme.eq_ignore_ascii_case("file:") => Source::File(file_path(url)?),
            _ => Source::Http(Box::new(Endpoint::new(url, system_tls)?)),
        };
        Ok(Self {
            source,
            schedule,
            state: watch::Sender::default(),
            force: Notify::new(),
            forced: Mutex::new(None),
        })
    }

    /// Keeps the set fresh, for ever.
    pub(super) async fn run(&self) {
        let mut pause = self.schedule.retry;
        let mut complaints = Complaints::default();
        loop {
            let wait = match self.refresh().await {
                Ok(()) => {
                    if complaints.end() {
                        tracing::info!("the keys of the identity provider are loaded again");
                    }
                    pause = self.schedule.retry;
                    self.schedule.refresh
                }
                Err(error) => {
                    if let Some(failures) = complaints.due(error.to_string(), Instant::now()) {
                        tracing::error!(%error, failures, retry_in = ?pause, "cannot load the keys of the identity provider");
                    }
                    let wait = pause;
                    pause = pause.saturating_mul(2).min(self.schedule.max_retry);
                    // A retry pause of 0 must not become a busy loop.
                    pause = pause.max(Duration::from_millis(1));
                    wait
                }
            };
            // Either a pause or a token with an unknown key is a reason to go on.
            let _ = tokio::time::timeout(wait, self.force.notified()).await;
        }
    }

    /// The key for a token that names `id` and `algorithm`. Waits for a fetch if that may help.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<PublicKey>, FailureReason> {
        let Some(ends) = self.expected_fetch(id, algorithm)? else {
            return self.look_up(id, algorithm);
        };
        let deadline = Instant::now() + PATIENCE;
        let mut states = self.state.subscribe();
        // Too late or in time: what counts is which keys are there now.
        let _ = timeout_at(deadline, states.wait_for(|state| state.ended >= ends)).await;
        self.look_up(id, algorithm)
    }

    /// The number of fetches that must have ended before it is worth looking; `None` to look at once.
    fn expected_fetch(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Option<u64>, FailureReason> {
        let (begun, ended) = {
            let state = self.state.borrow();
            (state.begun, state.ended)
        };
        match self.look_up(id, algorithm) {
            Err(FailureReason::KeysNotLoaded) if ended == 0 => Ok(Some(1)),
            Err(FailureReason::InvalidOAuthToken(TokenDefect::UnknownKey)) if id.is_some() => {
                let mut forced = self.forced.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                match &*forced {
                    Some(last) if now.duration_since(last.at) < FORCED_PERIOD => {
                        Ok((ended < last.ends).then_some(last.ends))
                    }
                    _ => {
                        let ends = begun + 1;
                        *forced = Some(Forced { at: now, ends });
                        self.force.notify_one();
                        Ok(Some(ends))
                    }
                }
            }
            Err(reason) => Err(reason),
            Ok(_) => Ok(None),
        }
    }

    fn look_up(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<PublicKey>, FailureReason> {
        let state = self.state.borrow();
        let keys = state.keys.as_ref().ok_or(FailureReason::KeysNotLoaded)?;
        jwk::choose(keys, id, algorithm).map_err(FailureReason::InvalidOAuthToken)
    }

    /// Fetches the set once. On failure the old one stays.
    async fn refresh(&self) -> Result<(), FetchError> {
        self.state.send_modify(|state| state.begun += 1);
        let keys = self.fetch().await;
        let mut outcome = Ok(());
        self.state.send_modify(|state| {
            state.ended += 1;
            match keys {
                Ok(keys) => state.keys = Some(keys),
                Err(error) => outcome = Err(error),
            }
        });
        outcome
    }

    async fn fetch(&self) -> Result<Vec<Arc<PublicKey>>, FetchError> {
        match &self.source {
            Source::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
                let bytes = read.map_err(|_| FetchError::NotAKeySet)??;
                parse(&bytes)
            }
            Source::Http(endpoint) => parse(&download(endpoint).await?),
        }
    }
}

/// When a failure that goes on is worth another line in the log.
#[derive(Default)]
struct Complaints {
    /// What was said last, when, and how long to be silent about it.
    said: Option<(String, Instant, Duration)>,
    failures: u64,
}

impl Complaints {
    /// The same failure is said again after this, then after twice as long, and so on.
    const FIRST_SILENCE: Duration = Duration::from_secs(300);
    const MAX_SILENCE: Duration = Duration::from_secs(3600);

    /// The number of failures so far, if they have to be spoken of now.
    fn due(&mut self, error: String, now: Instant) -> Option<u64> {
        self.failures += 1;
        let silence = match &self.said {
            Some((said, at, silence)) if *said == error => {
                if now.saturating_duration_since(*at) < *silence {
                    return None;
                }
                (*silence * 2).min(Self::MAX_SILENCE)
            }
            _ => Self::FIRST_SILENCE,
        };
        self.said = Some((error, now, silence));
        Some(self.failures)
    }

    /// It works. Whether there was anything to complain about.
    fn end(&mut self) -> bool {
        std::mem::take(self).failures > 0
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<Arc<PublicKey>>, FetchError> {
    let keys = jwk::parse_set(bytes).ok_or(FetchError::NotAKeySet)?;
    if keys.is_empty() {
        return Err(FetchError::NoUsableKey);
    }
    Ok(keys.into_iter().map(Arc::new).collect())
}

async fn download(endpoint: &Endpoint) -> Result<Vec<u8>, FetchError> {
    let failed = |error| FetchError::Http {
        endpoint: endpoint.name(),
        error,
    };
    let mut path = endpoint.path().to_owned();
    for _ in 0..=MAX_REDIRECTS {
        let request = endpoint
            .request(Method::GET, &path)
            .header(ACCEPT, "application/json")
            .body(Full::<Bytes>::default())
            .map_err(|error| failed(HttpError::Failed(error.to_string())))?;
        let answer = endpoint.send(request, LIMITS).await.map_err(failed)?;
        match answer.status {
            200 => return Ok(answer.body.to_vec()),
            301 | 302 | 303 | 307 | 308 => {
                let location = answer.location.as_deref();
                path = location
                    .and_then(|location| endpoint.redirected(location))
                    .ok_or_else(|| FetchError::Redirect {
                        endpoint: endpoint.name(),
                    })?;
            }
            status => {
                return Err(FetchError::Status {
                    endpoint: endpoint.name(),
                    status,
                });
            }
        }
    }
    Err(FetchError::Redirect {
        endpoint: endpoint.name(),
    })
}

fn read_file(path: &Path) -> Result<Vec<u8>, FetchError> {
    let failed = |error: std::io::Error| FetchError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if bytes.len() > MAX_BYTES {
        return Err(FetchError::TooLarge);
    }
    Ok(bytes)
}

/// The path of `file:/path`, `file:///path` or `file://localhost/path`.
fn file_path(url: &str) -> Result<PathBuf, String> {
    let rest = url.get(5..).unwrap_or_default();
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
        None => rest,
    };
    if !path.starts_with('/') {
        return Err("must name an absolute path".to_owned());
    }
    percent_decoded(path)
        .map(PathBuf::from)
        .ok_or_else(|| "is not a URL".to_owned())
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_that_goes_on_is_said_rarely() {
        let mut complaints = Complaints::default();
        let start = Instant::now();
        let mut said = Vec::new();
        // Every ten seconds for a day.
        for second in (0..24 * 3600).step_by(10) {
            let now = start + Duration::from_secs(second);
            if complaints.due("refused".to_owned(), now).is_some() {
                said.push(second);
            }
        }
        assert_eq!(said[..4], [0, 300, 900, 2100]);
        assert!(said.len() < 32, "{said:?}");
        let now = start + Duration::from_secs(24 * 3600);
        assert_eq!(complaints.due("another one".to_owned(), now), Some(8641));
        assert!(complaints.end() && !complaints.end());
        assert_eq!(complaints.due("another one".to_owned(), now), Some(1));
    }
}
