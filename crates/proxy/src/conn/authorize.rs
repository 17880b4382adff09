//! Access control on the way of a request and of its answer.
//!
//! Where access control lists are in force a request is seen as a whole before any of it goes to a broker, so that what
//! is denied can be taken out. The exception is a large Produce request to a single topic, which is what large ones are:
//! the head tells everything, and the records stream. Other requests beyond the window are held with memory from the
//! budget of the process.

use std::sync::Arc;

use auth::acl::{AclView, Operation, ResourceType};
use authorization::{AclChange, AclRequest, AnswerWork, Error, Ruling, TopicNames as _};
use bytes::{BufMut, Bytes, BytesMut};
use config::SecurityMode;
use telemetry::targets::AUTHORIZATION;
use tokio::sync::OwnedSemaphorePermit;
use wire::api::ApiKey;
use wire::error_code::REQUEST_TIMED_OUT;
use wire::varint;

use super::requests::{Head, PREFIX};
use super::{Connection, Failure, local};
use crate::buffer::{WINDOW, Window};
use crate::peek;
use crate::topics::Known;

/// Memory that the tree of a request or answer needs for each byte of it, at most.
pub(super) const TREE: usize = 3;

/// What access control makes of a request.
pub(super) enum Judged {
    /// More bytes are needed.
    More,
    /// The bytes go on as they are.
    AsIs,
    /// This frame goes instead, length prefix included.
    Instead {
        frame: Bytes,
        /// Version of the frame and of its answer.
        version: i16,
        work: Option<AnswerWork>,
        /// Memory that the frame takes, until it has been sent.
        permit: Option<OwnedSemaphorePermit>,
    },
    /// This is answered, and no broker is asked.
    Answer(Bytes),
}

impl Connection {
    /// Whether requests of `api` have to be judged.
    pub(super) fn is_guarded(&self, api: ApiKey) -> bool {
        let security = &self.worker.shared.access;
        if security.mode != SecurityMode::GatewayManaged {
            return false;
        }
        let view = self.access.view(security);
        view.enabled()
            || (view.guards_topics() && authorization::changes_topics(api))
            || matches!(
                api,
                ApiKey::DESCRIBE_ACLS | ApiKey::CREATE_ACLS | ApiKey::DELETE_ACLS
            )
    }

    /// Judges the request at the beginning of the window. Takes it out of the window unless it goes on as it is.
    pub(super) async fn judge(&self, window: &mut Window, head: &Head) -> Result<Judged, Failure> {
        let view = self.access.view(&self.worker.shared.access);
        let head_len = PREFIX + head.header_len;
        if head.frame_len <= WINDOW {
            let Some(frame) = window.bytes().get(..head.frame_len) else {
                return Ok(Judged::More);
            };
            let body = frame.get(head_len..).ok_or_else(|| head.cut_short())?;
            let judged = self.rule(&view, head, frame, body).await?;
            if !matches!(judged, Judged::AsIs) {
                window.consume(head.frame_len);
            }
            return Ok(judged);
        }
        let body = window.bytes().get(head_len..).unwrap_or_default();
        if head.api == ApiKey::PRODUCE && self.may_stream(&view, head.version, body).await? {
            return Ok(Judged::AsIs);
        }
        let (frame, permit) = self.hold(window, head).await?;
        let body = frame.get(head_len..).ok_or_else(|| head.cut_short())?;
        let permit = Some(permit);
        Ok(match self.rule(&view, head, &frame, body).await? {
            Judged::AsIs => Judged::Instead {
                frame,
                version: head.version,
                work: None,
                permit,
            },
            Judged::Instead {
                frame,
                version,
                work,
                ..
            } => Judged::Instead {
                frame,
                version,
                work,
                permit,
            },
            other => other,
        })
    }

    /// Reads a frame that is larger than the window, with memory from the budget of the process.
    async fn hold(
        &self,
        window: &mut Window,
        head: &Head,
    ) -> Result<(Bytes, OwnedSemaphorePermit), Failure> {
        let permit = self
            .worker
            .shared
            .budget
            .take(head.frame_len.saturating_mul(TREE))
            .await
            .ok_or(Failure::Budget(head.frame_len))?;
        let have = window.len().min(head.frame_len);
        let mut frame = Vec::with_capacity(head.frame_len);
        frame.extend_from_slice(&window.bytes()[..have]);
        window.consume(have);
        window.release();
        while frame.len() < head.frame_len {
            let filled = frame.len();
            frame.resize(head.frame_len.min(filled + WINDOW), 0);
            let n = self
                .client
                .read(&mut frame[filled..])
                .await
                .map_err(Failure::Client)?;
            if n == 0 {
                return Err(Failure::Left);
            }
            frame.truncate(filled + n);
            self.touch();
        }
        Ok((frame.into(), permit))
    }

    async fn rule(
        &self,
        view: &AclView,
        head: &Head,
        frame: &[u8],
        body: &[u8],
    ) -> Result<Judged, Failure> {
        let (api, version) = (head.api, head.version);
        let broken = |error| head.unjudged(error);
        if let Some(answer) = self.ended_session(head, body)? {
            return Ok(Judged::Answer(answer));
        }
        let ids = authorization::topic_ids(api, version, body).map_err(broken)?;
        let mut topics = match ids.is_empty() {
            true => Known::nothing(),
            false => self.topics().names(&ids).await.map_err(no_names)?,
        };
        let mut ruling = authorization::judge(api, version, body, view, &topics).map_err(broken)?;
        if let Ruling::ListTopics = ruling {
            topics = self.topics().all().await.map_err(no_names)?;
            ruling = authorization::judge(api, version, body, view, &topics).map_err(broken)?;
        }
        Ok(match ruling {
            Ruling::Forward => Judged::AsIs,
            Ruling::Rewrite { body, answer } => Judged::Instead {
                frame: match body {
                    Some(body) => head.with_body(frame, version, &body)?,
                    None => Bytes::copy_from_slice(frame),
                },
                version,
                work: Some(answer),
                permit: None,
            },
            Ruling::Convert {
                version,
                body,
                answer,
            } => Judged::Instead {
                frame: head.with_body(frame, version, &body)?,
                version,
                work: Some(answer),
                permit: None,
            },
            Ruling::Answer(body) => Judged::Answer(head.answer(&body)),
            Ruling::Acls(request) => Judged::Answer(head.answer(&self.change_acls(request).await)),
            Ruling::ListTopics | Ruling::Close => {
                return Err(Failure::NotAuthorized {
                    api: api.name(),
                    version,
                });
            }
        })
    }

    /// The topics of a session were checked when they came into it. After a change of the lists, and on a connection that
    /// has not begun it, the client has to name them again.
    fn ended_session(&self, head: &Head, body: &[u8]) -> Result<Option<Bytes>, Failure> {
        let (api, version) = (head.api, head.version);
        if !matches!(api, ApiKey::FETCH | ApiKey::SHARE_FETCH) {
            return Ok(None);
        }
        let now = self.access.round(&self.worker.shared.access);
        let in_session =
            authorization::in_session(api, version, body).map_err(|e| head.unjudged(e))?;
        // A session id is a number that can be guessed.
        let is_foreign = in_session.is_some_and(|id| id != 0 && id != self.fetch_session.get());
        if in_session.is_some() && (is_foreign || self.session_round.get() != now) {
            let gone = authorization::session_gone(api, version);
            return Ok(gone.map(|body| head.answer(&body)));
        }
        self.session_round.set(now);
        Ok(None)
    }

    async fn change_acls(&self, request: AclRequest) -> Bytes {
        let security = &self.worker.shared.access;
        let vcluster = &self.access.identity().vcluster;
        let change = request.change();
        let is_empty = match &change {
            AclChange::Add(bindings) | AclChange::Remove(bindings) => bindings.is_empty(),
        };
        if is_empty {
            return request.answer(Ok(()));
        }
        match security.acl_writer.write(vcluster, change).await {
            Ok(()) => request.answer(Ok(())),
            Err(error) => {
                tracing::warn!(target: AUTHORIZATION, peer = %self.peer, error, "access control lists were not changed");
                // Clients try again after this one; and it may have been written all the same.
                let text = "The access control lists cannot be written now";
                request.answer(Err((REQUEST_TIMED_OUT, text)))
            }
        }
    }

    fn topics(&self) -> &crate::topics::Topics {
        &self.worker.shared.topics
    }

    /// The names that work on an answer needs.
    pub(super) async fn names_for(
        &self,
        work: &AnswerWork,
        version: i16,
        body: &[u8],
    ) -> Result<Known, Failure> {
        let ids = work
            .topic_ids(version, body)
            .map_err(|error| Failure::Judgement(error.to_string()))?;
        match ids.is_empty() {
            true => Ok(Known::nothing()),
            false => self.topics().names(&ids).await.map_err(no_names),
        }
    }
}

impl Connection {
    /// Whether a large Produce request goes to one topic only, and may.
    async fn may_stream(&self, view: &AclView, version: i16, body: &[u8]) -> Result<bool, Failure> {
        let Some(head) = produce_head(version, body).filter(|head| head.topics == 1) else {
            return Ok(false);
        };
        let topic = match head.topic {
            TopicRef::Name(name) => Some(Arc::from(name)),
            TopicRef::Id(id) => self
                .topics()
                .names(&[id])
                .await
                .map_err(no_names)?
                .name(&id),
        };
        let topic = topic.is_some_and(|topic: Arc<str>| {
            view.permits(Operation::Write, ResourceType::Topic, &topic)
        });
        let transaction = head
            .transactional_id
            .is_none_or(|id| view.permits(Operation::Write, ResourceType::TransactionalId, id));
        Ok(topic && transaction)
    }
}

fn no_names(error: state::TransportError) -> Failure {
    Failure::Judgement(format!("topic names: {error}"))
}

struct ProduceHead<'a> {
    transactional_id: Option<&'a str>,
    topics: u32,
    topic: TopicRef<'a>,
}

#[derive(Debug, PartialEq)]
enum TopicRef<'a> {
    Name(&'a str),
    Id([u8; 16]),
}

/// Reads what comes before the first records. `None`: not enough bytes, or no such version.
fn produce_head(version: i16, mut body: &[u8]) -> Option<ProduceHead<'_>> {
    const ACKS_AND_TIMEOUT: usize = 2 + 4;
    const LAST_WITH_NAMES: i16 = 12;
    if version < 3 {
        return None;
    }
    let compact = version >= 9;
    let transactional_id = text(&mut body, compact)?;
    body = body.get(ACKS_AND_TIMEOUT..)?;
    let topics = match compact {
        true => varint::take(&mut body)?.checked_sub(1)?,
        false => {
            let (count, rest) = body.split_first_chunk()?;
            body = rest;
            u32::from_be_bytes(*count)
        }
    };
    Some(ProduceHead {
        transactional_id,
        topics,
        topic: match version {
            ..=LAST_WITH_NAMES => TopicRef::Name(text(&mut body, compact)??),
            _ => TopicRef::Id(*body.first_chunk()?),
        },
    })
}

/// A nullable string; the outer `None`: not enough bytes, or no text.
fn text<'a>(body: &mut &'a [u8], compact: bool) -> Option<Option<&'a str>> {
    match peek::text(body, compact)? {
        None => Some(None),
        Some(text) => std::str::from_utf8(text).ok().map(Some),
    }
}

impl Head {
    /// The request with another body and perhaps another version; client id and correlation id stay.
    fn with_body(&self, frame: &[u8], version: i16, body: &[u8]) -> Result<Bytes, Failure> {
        const VERSION: std::ops::Range<usize> = 6..8;
        let header = frame
            .get(..PREFIX + self.header_len)
            .ok_or_else(|| self.cut_short())?;
        let flexible = |version| wire::header::request_header_version(self.api, version) >= 2;
        let mut whole = BytesMut::with_capacity(header.len() + 1 + body.len());
        match (flexible(self.version), flexible(version)) {
            (false, true) => {
                whole.put_slice(header);
                whole.put_u8(0); // no tagged fields
            }
            (true, false) => return Err(self.cut_short()), // never asked for: versions are only raised
            _ => whole.put_slice(header),
        }
        whole[VERSION].copy_from_slice(&version.to_be_bytes());
        whole.put_slice(body);
        let size = u32::try_from(whole.len() - PREFIX).unwrap_or(u32::MAX);
        whole[..PREFIX].copy_from_slice(&size.to_be_bytes());
        Ok(whole.freeze())
    }

    fn answer(&self, body: &[u8]) -> Bytes {
        local::frame(self.api, self.version, self.correlation_id, body)
    }

    fn unjudged(&self, error: Error) -> Failure {
        match error {
            Error::Body(error) => self.malformed(error),
            other => Failure::Judgement(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_produce_request() {
        let old = [
            0xff, 0xff, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 2, b'a', b'b', 0, 0,
        ];
        let head = produce_head(7, &old).unwrap();
        assert_eq!((head.topics, head.topic), (1, TopicRef::Name("ab")));
        assert_eq!(head.transactional_id, None);
        let compact = [3, b't', b'x', 0, 1, 0, 0, 0, 9, 3, 3, b'a', b'b', 2];
        let head = produce_head(9, &compact).unwrap();
        assert_eq!((head.topics, head.topic), (2, TopicRef::Name("ab")));
        assert_eq!(head.transactional_id, Some("tx"));
        for cut in 0..13 {
            assert!(produce_head(9, &compact[..cut]).is_none());
        }
        let by_id = [&[0, 0, 1, 0, 0, 0, 9, 2][..], &[7; 16]].concat();
        assert_eq!(
            produce_head(13, &by_id).unwrap().topic,
            TopicRef::Id([7; 16])
        );
        assert!(produce_head(13, &by_id[..20]).is_none());
        assert!(produce_head(2, &old).is_none());
    }
}
