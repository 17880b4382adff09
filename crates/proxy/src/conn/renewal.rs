//! Authenticating again on an open connection (KIP-368), and what ends the right to go on.

use bytes::Bytes;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use tokio::time::{Instant, sleep};
use wire::api::ApiKey;

use auth::server::{AuthFailure, FailureReason};

use super::relay::Relayed;
use super::sasl::{self, Turn};
use super::session::{Asked, Session};
use super::{Connection, End, Failure, Pending, Source};

impl Connection {
    /// Whether the client may send a request of `api` now.
    pub(super) fn check_session(&self, api: ApiKey) -> Result<(), Failure> {
        let is_over = self
            .session_ends
            .get()
            .is_some_and(|ends| Instant::now() >= ends);
        // Only the beginning of a new login may come late; what follows belongs to it.
        let renews = api == ApiKey::SASL_HANDSHAKE || self.conversation.borrow().has_begun();
        if is_over && !renews {
            return Err(Failure::SessionOver);
        }
        self.check_account()
    }

    /// Whether the client is still who it was when it came.
    pub(super) fn check_account(&self) -> Result<(), Failure> {
        match self.access.holds(&self.worker.shared.access) {
            true => Ok(()),
            false => Err(Failure::AccountGone),
        }
    }

    /// The round of the client's rights of now.
    pub(super) fn round(&self) -> u64 {
        self.access.round(&self.worker.shared.access)
    }

    /// Whether the rights are others than when the request at hand was judged.
    pub(super) fn rights_have_changed(&self) -> bool {
        self.round() != self.judged.get()
    }

    /// Whether an answer to a request that was judged in the round `judged` must not be given any more: it holds records, and the rights
    /// to them may have gone while it was waited for.
    pub(super) fn is_outdated(&self, api: ApiKey, judged: u64) -> Result<bool, Failure> {
        if !matches!(api, ApiKey::FETCH | ApiKey::SHARE_FETCH) {
            return Ok(false);
        }
        self.check_account()?;
        Ok(self.round() != judged)
    }

    /// One message of a new login with the gateway.
    pub(super) async fn authenticate_again(&self, asked: &Asked) -> Result<(), Failure> {
        let mut conversation = self.conversation.take();
        let authenticator = &self.worker.shared.access.authenticator;
        let turn = conversation.turn(authenticator, asked).await?;
        match turn {
            // Bare tokens cannot be told from requests on an open connection.
            Turn::Answer(_) if conversation.is_raw() => return Err(Failure::SaslState),
            Turn::Answer(answer) => {
                self.say(asked, answer);
                self.conversation.replace(conversation);
            }
            Turn::Done { answer, session } => {
                if let Some(reason) = self.difference(&session) {
                    let name = &session.identity.authenticated_name;
                    return self.reject(asked, reason, Some(name)).await;
                }
                self.session_ends.set(session.ends);
                let mechanism = self.mechanism.unwrap_or_default();
                let (access, identity) = (&self.worker.shared.access, &session.identity);
                access.succeeded(identity, mechanism, &self.listener, self.peer);
                self.say(asked, answer);
            }
            Turn::Failed {
                answer, failure, ..
            } => self.end_with(asked, answer, &failure).await,
            Turn::Refused(answer) => {
                let Some(answer) = answer else {
                    return Err(Failure::SaslState);
                };
                self.say(asked, answer);
                self.stop_soon(End::Unauthenticated);
            }
        }
        Ok(())
    }

    /// One message of a new login with the broker. `true`: it may go there.
    pub(super) async fn relay_again(&self, asked: &Asked) -> Result<bool, Failure> {
        if asked.api == ApiKey::SASL_HANDSHAKE {
            let request: SaslHandshakeRequest = sasl::decode(asked)?;
            let options = &self.worker.shared.access.relayed;
            let begun = Relayed::begin(&request.mechanism, options)
                .filter(|relayed| Some(relayed.mechanism) == self.mechanism)
                .filter(|_| asked.version > 0)
                .ok_or(Failure::SaslState)?;
            self.relayed.replace(Some(begun));
            return Ok(true);
        }
        let request: SaslAuthenticateRequest = sasl::decode(asked)?;
        let Some(mut relayed) = self.relayed.take() else {
            return Err(Failure::SaslState);
        };
        if let Err(failure) = relayed.client(&request.auth_bytes) {
            let answer = sasl::rejection(asked, failure.client_message())?;
            self.end_with(asked, answer, &failure).await;
            return Ok(false);
        }
        if relayed
            .name()
            .is_some_and(|name| name != &*self.access.identity().authenticated_name)
        {
            self.reject(asked, FailureReason::PrincipalChanged, relayed.name())
                .await?;
            return Ok(false);
        }
        self.relayed.replace(Some(relayed));
        Ok(true)
    }

    /// Why `session` may not take the place of the one before.
    fn difference(&self, session: &Session) -> Option<FailureReason> {
        let before = self.access.identity();
        let (now, mechanism) = (&session.identity, session.mechanism);
        if mechanism != self.mechanism {
            Some(FailureReason::MechanismChanged)
        } else if !now.is_same_principal(before) {
            Some(FailureReason::PrincipalChanged)
        } else {
            None
        }
    }

    async fn reject(
        &self,
        asked: &Asked,
        reason: FailureReason,
        name: Option<&str>,
    ) -> Result<(), Failure> {
        let failure = AuthFailure::new(reason, name);
        let answer = sasl::rejection(asked, failure.client_message())?;
        self.end_with(asked, answer, &failure).await;
        Ok(())
    }

    /// Counts a failure, answers after the delay and closes when that has been written.
    async fn end_with(&self, asked: &Asked, answer: Bytes, failure: &AuthFailure) {
        let shared = &self.worker.shared;
        let mechanism = self.mechanism.unwrap_or_default();
        shared
            .access
            .failed(failure, mechanism, &self.listener, self.peer);
        sleep(shared.limits.failed_authentication_delay).await;
        self.say(asked, answer);
        self.stop_soon(End::Unauthenticated);
    }

    fn say(&self, asked: &Asked, frame: Bytes) {
        self.in_flight.push(Pending {
            api: asked.api,
            version: asked.version,
            correlation_id: asked.correlation_id,
            source: Source::Local(frame, None),
            work: None,
            asked: None,
            judged: self.judged.get(),
            begins: None,
        });
    }
}
