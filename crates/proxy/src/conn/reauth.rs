//! Renewing the session of a private leg (KIP-368): the login conversation between two client requests.

use tokio::sync::oneshot;
use tokio::time::Instant;
use wire::api::ApiKey;

use super::{Connection, Failure, Pending, Source};
use crate::upstream::sasl::{Answer, Dialogue, Question, Turn};

/// Correlation ids of the conversation; they never reach a client.
const CORRELATION_ID: i32 = -1;

impl Connection {
    /// Logs in again. Called between two requests of the client, which wait meanwhile; answers to earlier requests go
    /// on arriving, in order, before those of the conversation.
    pub(super) async fn renew_session(&self) -> Result<(), Failure> {
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
                    self.rescheduled.notify_one();
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
