//! Authentication of clients.
//!
//! An [`Authenticator`] is made once from the settings. Each SASL exchange of a client, and each re-authentication on its
//! connection (KIP-368), runs one [`ServerExchange`]; what it proves is an [`Identity`]. Exchanges that Kafka decides about are
//! watched by a [`RelayedExchange`] instead.

mod failure;
mod gateway_token;
mod jwk;
mod jwks;
mod jwt;
mod oauthbearer;
mod plain;
mod relayed;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use config::{ClientSecurity, OAuthServer, SecurityMode};

pub use self::failure::{AuthFailure, FailureReason, INVALID_TOKEN, TokenDefect};
pub use self::gateway_token::{GatewayClaims, GatewayTokens, SigningKeyError};
pub use self::relayed::{RELAYED_MECHANISMS, RelayedExchange, RelayedOptions};

use self::failure::shortened;
use self::gateway_token::since_1970;
use self::jwks::{KeySet, Schedule};
use self::oauthbearer::ClientMessage;
use crate::Problem;
use crate::accounts::{ANONYMOUS, Accounts, Identity, IdentityKind, PASSTHROUGH};
use crate::tls::mapping::MappingRules;

/// Mechanism names.
const PLAIN: &str = "PLAIN";
const OAUTHBEARER: &str = "OAUTHBEARER";

/// Longest session, a hundred years: later moments do not fit every clock.
const MAX_SESSION: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Shortest session: 0 would mean a session without end.
const MIN_SESSION: Duration = Duration::from_millis(1);

/// Says who clients are. Cloning is cheap and shares everything.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    accounts: Arc<ArcSwap<Accounts>>,
    mechanisms: Vec<&'static str>,
    tokens: Option<GatewayTokens>,
    oauth: Option<OAuth>,
    mapping: MappingRules,
    mandatory_vcluster: bool,
    max_reauth: Option<Duration>,
}

struct OAuth {
    expected: OAuthServer,
    keys: KeySet,
}

/// One run of a mechanism.
pub struct ServerExchange {
    authenticator: Authenticator,
    state: State,
}

enum State {
    Plain,
    OAuthBearer,
    /// The client was told that its token is invalid, and confirms it before the exchange fails.
    Rejected(AuthFailure),
    Over,
}

/// What to do next in an exchange.
#[derive(Debug, PartialEq, Eq)]
pub enum ServerStep {
    /// Answer with these bytes and no error; the client goes on.
    Challenge(Vec<u8>),
    /// The client is authenticated.
    Done {
        /// Bytes of the answer.
        bytes: Vec<u8>,
        /// Who it is.
        identity: Identity,
        /// Life of the session (KIP-368), at least 1 ms; `None` is without end.
        session: Option<Duration>,
    },
    /// Answer SASL_AUTHENTICATION_FAILED with [`AuthFailure::client_message`] after the failure delay, and close.
    Failed(AuthFailure),
}

impl Authenticator {
    /// Prepares what the settings ask for. Fetches nothing: see [`Authenticator::run`].
    ///
    /// # Errors
    /// All problems found; [`Problem::property`] is the name of the variable.
    pub fn new(
        security: &ClientSecurity,
        accounts: Arc<ArcSwap<Accounts>>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut problem = |property, reason: String| problems.push(Problem { property, reason });
        let managed = security.mode == SecurityMode::GatewayManaged;
        let tokens = security
            .token_signing_key
            .as_ref()
            .filter(|_| managed)
            .and_then(|key| {
                GatewayTokens::new(key)
                    .map_err(|error| problem("GATEWAY_USER_POOL_SECRET_KEY", error.to_string()))
                    .ok()
            });
        let oauth = security
            .oauth
            .as_ref()
            .filter(|_| managed)
            .and_then(|expected| {
                let schedule = Schedule {
                    refresh: expected.jwks_refresh,
                    retry: expected.jwks_retry,
                    max_retry: expected.jwks_max_retry,
                };
                KeySet::new(&expected.jwks_url, schedule)
                    .map_err(|reason| problem("GATEWAY_OAUTH_JWKS_URL", reason))
                    .ok()
                    .map(|keys| OAuth {
                        expected: expected.clone(),
                        keys,
                    })
            });
        let mapping = MappingRules::parse(&security.tls.principal_mapping_rules)
            .map_err(|error| problem("GATEWAY_SSL_PRINCIPAL_MAPPING_RULES", error.to_string()));
        let Ok(mapping) = mapping else {
            return Err(problems);
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let mechanisms = [
            tokens.as_ref().map(|_| PLAIN),
            oauth.as_ref().map(|_| OAUTHBEARER),
        ];
        Ok(Self(Arc::new(Inner {
            accounts,
            mechanisms: mechanisms.into_iter().flatten().collect(),
            tokens,
            oauth,
            mapping,
            mandatory_vcluster: security.mandatory_vcluster,
            max_reauth: security.max_reauth.filter(|max| !max.is_zero()),
        })))
    }

    /// The mechanisms offered to clients; none in `KAFKA_MANAGED`.
    pub fn mechanisms(&self) -> &[&'static str] {
        &self.0.mechanisms
    }

    /// What signs and checks the gateway's own tokens; `None` without a signing key.
    pub fn tokens(&self) -> Option<&GatewayTokens> {
        self.0.tokens.as_ref()
    }

    /// Starts an exchange; `None` if the mechanism is not offered.
    pub fn begin(&self, mechanism: &str) -> Option<ServerExchange> {
        let offered = self.0.mechanisms.iter().find(|name| **name == mechanism)?;
        Some(ServerExchange {
            authenticator: self.clone(),
            state: match *offered {
                PLAIN => State::Plain,
                _ => State::OAuthBearer,
            },
        })
    }

    /// The identity of a client certificate with this subject, which is RFC 2253 text.
    ///
    /// # Errors
    /// No rule fits the subject, or a virtual cluster is mandatory and there is none.
    pub fn certificate(&self, subject: &str) -> Result<Identity, AuthFailure> {
        let name = self
            .0
            .mapping
            .apply(subject)
            .ok_or_else(|| AuthFailure::new(FailureReason::CertificateNotMapped, None))?;
        self.external(&name, None, IdentityKind::Certificate)
    }

    /// The identity of a client that does not authenticate.
    ///
    /// # Errors
    /// A virtual cluster is mandatory.
    pub fn anonymous(&self) -> Result<Identity, AuthFailure> {
        self.admitted(Identity {
            vcluster: PASSTHROUGH.into(),
            name: ANONYMOUS.into(),
            authenticated_name: ANONYMOUS.into(),
            kind: IdentityKind::Anonymous,
            has_account: false,
            incarnation: None,
        })
    }

    /// The identity of a client that Kafka accepted; `name` is [`RelayedExchange::name`].
    ///
    /// # Errors
    /// A virtual cluster is mandatory and there is none.
    pub fn relayed(&self, name: &str) -> Result<Identity, AuthFailure> {
        self.external(name, None, IdentityKind::Relayed)
    }

    /// Keeps the keys of the identity provider fresh. Never returns; without an identity provider it does nothing.
    pub async fn run(&self) {
        match &self.0.oauth {
            Some(oauth) => oauth.keys.run().await,
            None => std::future::pending().await,
        }
    }

    /// Account look-up for names that somebody else vouches for. An account's virtual cluster wins over the claimed one.
    fn external(
        &self,
        name: &str,
        claimed: Option<&str>,
        kind: IdentityKind,
    ) -> Result<Identity, AuthFailure> {
        let accounts = self.0.accounts.load();
        let account = accounts.by_external_name(name);
        let vcluster = match (account, claimed) {
            (Some(account), _) => account.vcluster.clone(),
            (None, Some(claimed)) if !accounts.knows_vcluster(claimed) => {
                let vcluster = shortened(claimed);
                let reason = FailureReason::UnknownVcluster { vcluster };
                return Err(AuthFailure::new(reason, Some(name)));
            }
            (None, claimed) => claimed.unwrap_or(PASSTHROUGH).into(),
        };
        self.admitted(Identity {
            vcluster,
            has_account: account.is_some(),
            name: account.map_or_else(|| name.into(), |account| account.name.clone()),
            incarnation: account.and_then(|account| account.incarnation.clone()),
            authenticated_name: name.into(),
            kind,
        })
    }

    fn admitted(&self, identity: Identity) -> Result<Identity, AuthFailure> {
        if self.0.mandatory_vcluster && &*identity.vcluster == PASSTHROUGH {
            let name = match identity.kind {
                IdentityKind::Anonymous => None,
                _ => Some(&*identity.authenticated_name),
            };
            return Err(AuthFailure::new(FailureReason::VclusterMandatory, name));
        }
        Ok(identity)
    }

    fn plain(&self, bytes: &[u8], now: Duration) -> Result<ServerStep, AuthFailure> {
        let Some(tokens) = &self.0.tokens else {
            return Err(AuthFailure::new(FailureReason::MechanismNotOffered, None));
        };
        let accounts = self.0.accounts.load();
        let (identity, expires) = plain::authenticate(bytes, tokens, &accounts, now)?;
        let identity = self.admitted(identity)?;
        let session = self
            .0
            .max_reauth
            .map(|max| session(expires.saturating_sub(now).min(max)));
        Ok(ServerStep::Done {
            bytes: Vec::new(),
            identity,
            session,
        })
    }

    async fn oauthbearer(&self, bytes: &[u8], now: Duration) -> Result<ServerStep, AuthFailure> {
        let Some(oauth) = &self.0.oauth else {
            return Err(AuthFailure::new(FailureReason::MechanismNotOffered, None));
        };
        let message = ClientMessage::parse(bytes)
            .map_err(|what| AuthFailure::new(FailureReason::Malformed(what), None))?;
        let token = oauthbearer::verify(message.token, &oauth.keys, &oauth.expected, now)
            .await
            .map_err(|reason| AuthFailure::new(reason, None))?;
        if let Some(id) = message.authorization_id
            && id != token.subject
        {
            let reason = FailureReason::ForeignAuthorizationId;
            return Err(AuthFailure::new(reason, Some(&token.subject)));
        }
        let claimed = token.vcluster.as_deref();
        let identity = self.external(&token.subject, claimed, IdentityKind::OAuth)?;
        let left = token.expires.saturating_sub(now);
        let left = self.0.max_reauth.map_or(left, |max| left.min(max));
        Ok(ServerStep::Done {
            bytes: Vec::new(),
            identity,
            session: Some(session(left)),
        })
    }
}

impl std::fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Authenticator({})", self.0.mechanisms.join(", "))
    }
}

impl ServerExchange {
    /// Takes a message of the client. After [`ServerStep::Done`] or [`ServerStep::Failed`] every further one fails.
    ///
    /// A token with a key that is not known yet may wait some seconds for the key set. The caller bounds the size of
    /// messages and the time of the whole exchange.
    pub async fn step(&mut self, bytes: &[u8]) -> ServerStep {
        self.step_at(bytes, since_1970(SystemTime::now())).await
    }

    async fn step_at(&mut self, bytes: &[u8], now: Duration) -> ServerStep {
        let outcome = match std::mem::replace(&mut self.state, State::Over) {
            State::Plain => self.authenticator.plain(bytes, now),
            State::OAuthBearer => match self.authenticator.oauthbearer(bytes, now).await {
                Err(failure) if failure.client_message() == INVALID_TOKEN => {
                    self.state = State::Rejected(failure);
                    Ok(ServerStep::Challenge(INVALID_TOKEN.into()))
                }
                outcome => outcome,
            },
            State::Rejected(failure) => Err(failure),
            State::Over => {
                let reason = FailureReason::Malformed("the exchange is over");
                Err(AuthFailure::new(reason, None))
            }
        };
        outcome.unwrap_or_else(ServerStep::Failed)
    }
}

impl std::fmt::Debug for ServerExchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.state {
            State::Plain => "ServerExchange(PLAIN)",
            State::OAuthBearer => "ServerExchange(OAUTHBEARER)",
            State::Rejected(_) => "ServerExchange(rejected)",
            State::Over => "ServerExchange(over)",
        })
    }
}

/// The life of a session in whole milliseconds, as the answer tells it.
fn session(left: Duration) -> Duration {
    let left = left.clamp(MIN_SESSION, MAX_SESSION);
    Duration::from_secs(left.as_secs()) + Duration::from_millis(u64::from(left.subsec_millis()))
}
