//! Renewing the session of a private leg (KIP-368): the login conversation between two client requests.
//!
//! A broker that limits sessions closes a connection when it reads a request after the end of the session; only the
//! beginning of a new login may come late. It reads a request when it has answered the one before it.

use std::future;

use telemetry::targets::UPSTREAM;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use wire::api::ApiKey;

use super::{Connection, Failure, Pending, Source};
use crate::upstream::sasl::{Answer, Dialogue, Question, Turn};
use crate::worker::complain;

/// Correlation ids of the conversation; they never reach a client.
const CORRELATION_ID: i32 = -1;

impl Connection {
    /// Waits until the session of the private leg is due for renewal.
    pub(super) async fn session_due(&self) {
        match self.reauthenticate_at.get() {
            Some(at) => sleep_until(at).await,
            None => future::pending().await,
        }
    }

    /// Whether [`Connection::care_for_session`] comes before the next request.
    pub(super) fn session_needs_care(&self) -> bool {
        self.reauthenticate_at
            .get()
            .is_some_and(|at| self.held.get() || at <= Instant::now())
    }

    /// Makes sure that the broker reads the next request within the session. A request behind one that waits in the
    /// broker (for records, for group members) might be read too late; here it waits no longer than there.
    pub(super) async fn care_for_session(&self) -> Result<(), Failure> {
        if self.held.take() {
            self.in_flight.settled().await;
        }
        match self.reauthenticate_at.get() {
            Some(at) if at <= Instant::now() => self.renew_session().await,
            _ => Ok(()),
        }
    }

    /// Logs in again. Called between two requests of the client, which wait meanwhile; answers to earlier requests go
    /// on arriving, in order, before those of the conversation.
    pub(super) async fn renew_session(&self) -> Result<(), Failure> {
        let renewed = self.log_in_again().await;
        if let Err(failure @ Failure::Reauthentication(_)) = &renewed {
            complain(self.peer.ip(), "re-authentication", |suppressed| {
                tracing::warn!(target: UPSTREAM, target = ?self.target, error = %failure, suppressed, "connection closed");
            });
        }
        renewed
    }

    async fn log_in_again(&self) -> Result<(), Failure> {
        let Some(login) = self.worker.shared.view.dialer.auth().sasl() else {
            return Ok(());
        };
        let failed = |e: &dyn std::fmt::Display| Failure::Reauthentication(e.to_string());
        let mut dialogue = Dialogue::begin(login).await.map_err(|e| failed(&e))?;
        let mut question = dialogue.handshake();
        loop {
            let answer = self.ask(&question).await?;
            match dialogue.answer(answer).map_err(|e| failed(&e))? {
                Turn::Ask(next) => question = next,
                Turn::Done(life) => {
                    self.reauthenticate_at.set(life.map(|l| Instant::now() + l));
                    return Ok(());
                }
            }
        }
    }

    async fn ask(&self, question: &Question) -> Result<Answer, Failure> {
        let failed = |e: &dyn std::fmt::Display| Failure::Reauthentication(e.to_string());
        let leg = self.leg.borrow().clone();
        let Some(leg) = leg else {
            return Err(failed(&"no leg"));
        };
        let client_id = self.worker.shared.view.dialer.client_id();
        let frame = question
            .encode(CORRELATION_ID, client_id)
            .map_err(|e| failed(&e))?;
        let (reply, answer) = oneshot::channel();
        self.in_flight.push(Pending {
            api: ApiKey::SASL_AUTHENTICATE,
            version: 0,
            correlation_id: CORRELATION_ID,
            source: Source::Own(reply),
            work: None,
            asked: None,
            judged: self.judged.get(),
            begins: None,
        });
        leg.socket
            .write_all(&frame)
            .await
            .map_err(Failure::Broker)?;
        let frame = answer.await.map_err(|e| failed(&e))?;
        question
            .parse(CORRELATION_ID, frame)
            .map_err(|e| failed(&e))
    }
}
