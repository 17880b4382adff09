//! Bearer tokens: where they come from and how they are kept fresh.
//!
//! Tokens of a token endpoint are fetched once and shared by all connections of a cluster. One task per
//! [`TokenProvider`] fetches the next token before the current one ends, by the rules of Kafka's
//! `sasl.login.refresh.*` settings. It is started by the first use, lives on the runtime of that use, and is started
//! again by the next use should that runtime end.

use std::future::Future;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::random_fraction;
use super::unsecured::UnsecuredLogin;

/// Longest token that is accepted, bytes.
pub const MAX_TOKEN_BYTES: usize = 64 << 10;

/// How long a token is used when neither it nor the endpoint says.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);

/// A bearer token; it leaves only through [`Token::expose`].
#[derive(Clone)]
pub struct Token {
    value: Zeroizing<String>,
    issued: Option<SystemTime>,
    expires: Option<SystemTime>,
}

/// Why there is no token. No message contains a secret.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TokenError {
    /// The token file cannot be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The text is not a token: RFC 6750 allows letters, digits and `-._~+/=`.
    #[error(
        "what should be a token is empty, too long, or contains characters no token may contain"
    )]
    NotAToken,
    /// The token's life is over.
    #[error("the token has expired")]
    Expired,
    /// The endpoint cannot be reached, or the connection failed.
    #[error("cannot reach the token endpoint {endpoint}: {reason}")]
    Connection {
        /// Host and port.
        endpoint: String,
        /// What failed.
        reason: String,
    },
    /// The endpoint took too long.
    #[error("the token endpoint {endpoint} did not answer within {after:?}")]
    Timeout {
        /// Host and port.
        endpoint: String,
        /// The limit that was exceeded.
        after: Duration,
    },
    /// The endpoint refuses.
    #[error("the token endpoint answered with status {status}{}", with_separator(.reason))]
    Refused {
        /// HTTP status.
        status: u16,
        /// Error code and description of the answer, shortened; may be empty.
        reason: String,
    },
    /// The endpoint's answer holds no token.
    #[error("the token endpoint's answer is not usable: {0}")]
    BadAnswer(&'static str),
}

impl TokenError {
    /// Whether the same request may succeed a little later.
    pub fn is_retriable(&self) -> bool {
        match self {
            TokenError::Connection { .. } | TokenError::Timeout { .. } => true,
            TokenError::Refused { status, .. } => {
                matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
            }
            _ => false,
        }
    }
}

/// When to fetch the next token (`sasl.login.refresh.*`).
#[derive(Clone, Debug)]
pub struct RefreshSchedule {
    /// Share of the token's life to wait, 0.5 to 1.0.
    pub window_factor: f64,
    /// Share of the token's life to add at most, at random, 0.0 to 0.25.
    pub window_jitter: f64,
    /// Shortest wait between two tokens.
    pub min_period: Duration,
    /// Time to keep between the refresh and the end of the token.
    pub buffer: Duration,
    /// First wait after a failure that may pass.
    pub retry_backoff: Duration,
    /// Time within which a fetch is tried again.
    pub retry_backoff_max: Duration,
}

/// Something that a token can be fetched from.
pub trait TokenSource: Send + Sync + 'static {
    /// Fetches a token, once.
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send + '_>>;
}

/// Gives the token for each exchange.
pub struct TokenProvider {
    kind: Kind,
    extensions: Vec<(String, String)>,
}

enum Kind {
    File(PathBuf),
    Unsecured(UnsecuredLogin),
    Refreshed(Arc<Refreshed>),
}

impl TokenProvider {
    /// A file that holds the token, read for every exchange.
    pub fn file(path: PathBuf, extensions: Vec<(String, String)>) -> Self {
        Self {
            kind: Kind::File(path),
            extensions,
        }
    }

    /// Tokens without a signature, made here, for development.
    pub fn unsecured(login: UnsecuredLogin, extensions: Vec<(String, String)>) -> Self {
        Self {
            kind: Kind::Unsecured(login),
            extensions,
        }
    }

    /// Tokens fetched from `source`, shared, and refreshed ahead of their end.
    pub fn refreshed(
        source: impl TokenSource,
        schedule: RefreshSchedule,
        extensions: Vec<(String, String)>,
    ) -> Self {
        let refreshed = Refreshed {
            source: Box::new(source),
            schedule,
            state: watch::Sender::new(State::Nothing),
            running: AtomicBool::new(false),
        };
        Self {
            kind: Kind::Refreshed(Arc::new(refreshed)),
            extensions,
        }
    }

    /// SASL extensions to send with the token.
    pub fn extensions(&self) -> &[(String, String)] {
        &self.extensions
    }

    /// A token that has not expired.
    ///
    /// # Errors
    /// Any [`TokenError`]; while an endpoint is down, the latest one without waiting for another attempt.
    pub async fn token(&self) -> Result<Token, TokenError> {
        match &self.kind {
            Kind::File(path) => read_file(path),
            Kind::Unsecured(login) => login.token(SystemTime::now()),
            Kind::Refreshed(refreshed) => refreshed.token().await,
        }
    }
}

impl Token {
    /// Takes a token as text. Its end is its `exp` claim if it is a JWT with one, else `lifetime` from now, else unknown.
    ///
    /// # Errors
    /// [`TokenError::NotAToken`], [`TokenError::Expired`].
    pub fn parse(text: &str, lifetime: Option<Duration>) -> Result<Token, TokenError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if text.is_empty() || text.len() > MAX_TOKEN_BYTES || !text.bytes().all(allowed) {
            return Err(TokenError::NotAToken);
        }
        let now = SystemTime::now();
        let claims = claims(text);
        let time = |name: &str| {
            let seconds = claims.as_ref()?.get(name)?.as_f64()?;
            UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
        };
        let from_now = || now.checked_add(lifetime?);
        let expires = time("exp").or_else(from_now);
        if expires.is_some_and(|at| at <= now) {
            return Err(TokenError::Expired);
        }
        Ok(Token {
            value: Zeroizing::new(text.to_owned()),
            issued: time("iat"),
            expires,
        })
    }

    /// The token, for the message that carries it.
    pub fn expose(&self) -> &str {
        &self.value
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl RefreshSchedule {
    /// How long after `now` to fetch the token that follows `token`. `random` is 0.0 to 1.0.
    fn delay(&self, token: &Token, now: SystemTime, random: f64) -> Duration {
        let expires = token.expires.unwrap_or(now + DEFAULT_LIFETIME);
        let remaining = expires.duration_since(now).unwrap_or_default();
        let issued = token.issued.filter(|issued| *issued < now).unwrap_or(now);
        let lifetime = expires.duration_since(issued).unwrap_or_default();
        let share = (self.window_factor + self.window_jitter * random).clamp(0.0, 1.0);
        let age = now.duration_since(issued).unwrap_or_default();
        let proposed = lifetime.mul_f64(share).saturating_sub(age);
        let delay = if self.min_period.saturating_add(self.buffer) > remaining {
            proposed.min(remaining)
        } else {
            proposed.clamp(self.min_period, remaining - self.buffer)
        };
        delay.max(Duration::from_secs(1))
    }
}

struct Refreshed {
    source: Box<dyn TokenSource>,
    schedule: RefreshSchedule,
    state: watch::Sender<State>,
    running: AtomicBool,
}

enum State {
    Nothing,
    Token { token: Token, usable_until: Instant },
    Failed(TokenError),
}

impl Refreshed {
    async fn token(self: &Arc<Self>) -> Result<Token, TokenError> {
        let mut states = self.state.subscribe();
        loop {
            match &*states.borrow_and_update() {
                State::Token {
                    token,
                    usable_until,
                } if Instant::now() < *usable_until => {
                    let token = token.clone();
                    self.ensure_running();
                    return Ok(token);
                }
                State::Failed(error) => {
                    let error = error.clone();
                    if self.running.load(Ordering::Acquire) {
                        return Err(error);
                    }
                }
                _ => {}
            }
            self.ensure_running();
            if states.changed().await.is_err() {
                return Err(TokenError::BadAnswer("the refresh has ended"));
            }
        }
    }

    fn ensure_running(self: &Arc<Self>) {
        if !self.running.swap(true, Ordering::AcqRel) {
            let guard = RunningGuard(Arc::downgrade(self));
            tokio::spawn(refresh(Arc::downgrade(self), guard));
        }
    }

    async fn fetch_with_retries(&self) -> Result<Token, TokenError> {
        let give_up = Instant::now() + self.schedule.retry_backoff_max;
        let mut backoff = self.schedule.retry_backoff;
        loop {
            match self.source.fetch().await {
                Err(error) if error.is_retriable() && Instant::now() + backoff < give_up => {
                    tracing::debug!(%error, ?backoff, "fetching a token failed, trying again");
                    tokio::time::sleep(backoff).await;
                    backoff = backoff.saturating_mul(2).max(Duration::from_millis(1));
                }
                result => return result,
            }
        }
    }

    /// Publishes an outcome and says when to fetch again.
    fn publish(&self, outcome: Result<Token, TokenError>) -> Duration {
        match outcome {
            Ok(token) => {
                let now = SystemTime::now();
                let delay = self.schedule.delay(&token, now, random_fraction());
                let usable = match token.expires {
                    Some(at) => at.duration_since(now).unwrap_or_default(),
                    None => DEFAULT_LIFETIME,
                };
                tracing::debug!(?usable, ?delay, "fetched a token");
                self.state.send_replace(State::Token {
                    token,
                    usable_until: far_from_now(usable),
                });
                delay
            }
            Err(error) => {
                tracing::warn!(%error, "no token for OAUTHBEARER");
                self.state.send_modify(|state| {
                    let usable = matches!(state, State::Token { usable_until, .. } if Instant::now() < *usable_until);
                    if !usable {
                        *state = State::Failed(error);
                    }
                });
                self.schedule.retry_backoff_max.max(Duration::from_secs(1))
            }
        }
    }
}

/// Runs until the provider is dropped.
async fn refresh(refreshed: Weak<Refreshed>, _guard: RunningGuard) {
    while let Some(current) = refreshed.upgrade() {
        let outcome = current.fetch_with_retries().await;
        let delay = current.publish(outcome);
        drop(current);
        tokio::time::sleep_until(far_from_now(delay)).await;
    }
}

/// Lets the next use start another task when this one is dropped together with its runtime.
struct RunningGuard(Weak<Refreshed>);

impl Drop for RunningGuard {
    fn drop(&mut self) {
        if let Some(refreshed) = self.0.upgrade() {
            refreshed.running.store(false, Ordering::Release);
            refreshed.state.send_modify(|_| {});
        }
    }
}

/// `delay` from now; a token said to live for ages must not overflow the clock.
fn far_from_now(delay: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
    Instant::now() + delay.min(YEAR)
}

fn read_file(path: &Path) -> Result<Token, TokenError> {
    let failed = |error: std::io::Error| TokenError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_TOKEN_BYTES as u64 + 2)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Token::parse(text.trim(), None)
}

/// The claims of a JWT, unverified: they only tell us when to fetch the next one.
fn claims(token: &str) -> Option<serde_json::Map<String, serde_json::Value>> {
    let mut parts = token.split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    let json = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    serde_json::from_slice(&json).ok()
}

fn with_separator(reason: &str) -> String {
    match reason {
        "" => String::new(),
        reason => format!(": {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn schedule() -> RefreshSchedule {
        RefreshSchedule {
            window_factor: 0.8,
            window_jitter: 0.05,
            min_period: Duration::from_secs(60),
            buffer: Duration::from_secs(300),
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(10),
        }
    }

    /// Tokens `t1`, `t2`, ... that live for `lifetime`; none while `down`.
    struct Counting {
        lifetime: Duration,
        fetched: Arc<AtomicUsize>,
        down: Arc<AtomicBool>,
    }

    impl Counting {
        fn new(lifetime: Duration) -> (Self, Arc<AtomicUsize>, Arc<AtomicBool>) {
            let (fetched, down) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
            let source = Self {
                lifetime,
                fetched: fetched.clone(),
                down: down.clone(),
            };
            (source, fetched, down)
        }
    }

    impl TokenSource for Counting {
        fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Token, TokenError>> + Send + '_>> {
            Box::pin(async {
                if self.down.load(Ordering::SeqCst) {
                    return Err(TokenError::Timeout {
                        endpoint: "idp:443".to_owned(),
                        after: Duration::ZERO,
                    });
                }
                let number = self.fetched.fetch_add(1, Ordering::SeqCst) + 1;
                Token::parse(&format!("t{number}"), Some(self.lifetime))
            })
        }
    }

    async fn text(provider: &TokenProvider) -> String {
        provider.token().await.unwrap().expose().to_owned()
    }

    const HOUR: Duration = Duration::from_secs(3600);

    fn delay_of(lifetime: u64, random: f64) -> u64 {
        let now = SystemTime::now();
        let token = Token {
            value: Zeroizing::new("x".to_owned()),
            issued: Some(now),
            expires: Some(now + Duration::from_secs(lifetime)),
        };
        schedule().delay(&token, now, random).as_secs()
    }

    #[test]
    fn refreshes_within_the_window_of_the_settings() {
        assert_eq!(delay_of(3600, 0.0), 2880);
        assert_eq!(delay_of(3600, 1.0), 3060);
        // The buffer before the end.
        assert_eq!(delay_of(600, 0.0), 300);
        // Too short for shortest wait and buffer together: both are ignored.
        assert_eq!(delay_of(300, 0.0), 240);
        // The shortest wait.
        assert_eq!(delay_of(361, 0.0), 61);
        assert_eq!(delay_of(0, 0.0), 1);
    }

    #[test]
    fn the_age_of_a_token_counts() {
        let now = SystemTime::now();
        let token = Token {
            value: Zeroizing::new("x".to_owned()),
            issued: Some(now - HOUR),
            expires: Some(now + HOUR),
        };
        let delay = schedule().delay(&token, now, 0.0);
        assert_eq!(delay.as_secs(), 2160);
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_token_is_fetched_before_the_current_one_ends() {
        let (source, fetched, _) = Counting::new(HOUR);
        let provider = TokenProvider::refreshed(source, schedule(), Vec::new());
        assert_eq!(text(&provider).await, "t1");
        tokio::time::sleep(Duration::from_secs(2800)).await;
        assert_eq!(text(&provider).await, "t1");
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(fetched.load(Ordering::SeqCst), 2);
        assert_eq!(text(&provider).await, "t2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_used_to_its_end_while_the_endpoint_is_down() {
        let (source, _, down) = Counting::new(HOUR);
        let provider = TokenProvider::refreshed(source, schedule(), Vec::new());
        assert_eq!(text(&provider).await, "t1");
        down.store(true, Ordering::SeqCst);
        tokio::time::sleep(HOUR - Duration::from_secs(10)).await;
        assert_eq!(text(&provider).await, "t1");
        tokio::time::sleep(Duration::from_secs(60)).await;
        let error = provider.token().await.unwrap_err();
        assert!(matches!(error, TokenError::Timeout { .. }));
        down.store(false, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!(text(&provider).await, "t2");
    }

    #[tokio::test(start_paused = true)]
    async fn the_task_ends_with_its_provider() {
        let (source, fetched, _) = Counting::new(HOUR);
        let provider = TokenProvider::refreshed(source, schedule(), Vec::new());
        text(&provider).await;
        drop(provider);
        tokio::time::sleep(HOUR * 5).await;
        assert_eq!(fetched.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn another_runtime_takes_over_when_the_first_one_ends() {
        let (source, fetched, _) = Counting::new(Duration::from_secs(1));
        let mut quick = schedule();
        quick.window_factor = 1.0;
        let provider = TokenProvider::refreshed(source, quick, Vec::new());
        let runtime = || {
            tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap()
        };
        assert_eq!(runtime().block_on(text(&provider)), "t1");
        runtime().block_on(async {
            text(&provider).await;
            tokio::time::sleep(Duration::from_secs(10)).await;
            text(&provider).await;
        });
        assert!(fetched.load(Ordering::SeqCst) > 1);
    }

    #[tokio::test]
    async fn a_token_file_is_read_every_time() {
        let path = std::env::temp_dir().join(format!("sluicegate-token-{}", std::process::id()));
        std::fs::write(&path, "first.token.x\n").unwrap();
        let provider = TokenProvider::file(path.clone(), Vec::new());
        assert_eq!(text(&provider).await, "first.token.x");
        std::fs::write(&path, "second.token.x").unwrap();
        assert_eq!(text(&provider).await, "second.token.x");
        std::fs::write(&path, "").unwrap();
        assert_eq!(provider.token().await.unwrap_err(), TokenError::NotAToken);
        std::fs::remove_file(&path).unwrap();
        let error = provider.token().await.unwrap_err();
        assert!(matches!(error, TokenError::File { .. }));
    }

    #[test]
    fn claims_of_a_jwt_tell_its_life() {
        let jwt = |claims: &str| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims));
        let token = Token::parse(&jwt(r#"{"iat":1000.5,"exp":4102444800}"#), Some(HOUR)).unwrap();
        let seconds = |seconds| Some(UNIX_EPOCH + Duration::from_secs_f64(seconds));
        assert_eq!(token.issued, seconds(1000.5));
        assert_eq!(token.expires, seconds(4_102_444_800.0));
        for odd in [
            "[]",
            "{",
            r#"{"exp":"x"}"#,
            r#"{"exp":-1}"#,
            r#"{"exp":1e300}"#,
            r#"{"exp":null}"#,
        ] {
            let token = Token::parse(&jwt(odd), None).unwrap();
            assert_eq!(token.expires, None, "{odd}");
        }
    }

    #[test]
    fn debug_output_hides_the_token() {
        let token = Token::parse("very.secret.token", None).unwrap();
        assert!(!format!("{token:?}").contains("secret"));
    }
}
