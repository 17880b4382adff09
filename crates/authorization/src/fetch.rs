//! Fetch.

use auth::acl::Operation;
use wire::error_code::{CLUSTER_AUTHORIZATION_FAILED, FETCH_SESSION_ID_NOT_FOUND};

use crate::names::{self, Needs};
use crate::refusal::refuse;
use crate::request::{Request, error_record};
use crate::ruling::{AnswerWork, Error, Ruling};
use wire::tree::{Node, Record};

/// Epoch of a request outside of any session.
const SESSIONLESS: i64 = -1;

/// READ on each topic. Who calls itself a replica is refused: it would read past the high watermark with the gateway's rights.
///
/// A fetch with something denied goes to Kafka outside of any session, so that the client keeps sending full requests; within a session
/// the answer makes it open a new one.
pub(crate) fn judge(request: &Request<'_>) -> Result<Ruling, Error> {
    let needs = Needs {
        topics: Some(Operation::Read),
        ..Needs::default()
    };
    let unlimited = request.access.unlimited();
    if !unlimited && request.all_permitted(needs)? {
        return Ok(Ruling::Forward);
    }
    if names::is_replica(request.api, request.version, request.body)? {
        return refuse(request, CLUSTER_AUTHORIZATION_FAILED);
    }
    if unlimited {
        return Ok(Ruling::Forward);
    }
    let mut root = request.decode()?;
    let element = request.element("Responses");
    let denied =
        request.take_denied_topics(&mut root, "Topics", Operation::Read, |topic, code| {
            request.topic_denial(element, topic, code, finish)
        })?;
    if denied.is_empty() {
        // Something is forgotten that may not be read any more.
        return Ok(Ruling::Forward);
    }
    let (session, epoch) = (root.int("SessionId"), root.int("SessionEpoch"));
    if request.version >= 7 && session != 0 && epoch > 0 {
        return Ok(request.answered(&error_record(
            request.answer().fields(),
            FETCH_SESSION_ID_NOT_FOUND,
        )));
    }
    if root.list("Topics").is_empty() {
        let mut answer = request.answer();
        answer.set("Responses", Node::List(denied));
        return Ok(request.answered(&answer));
    }
    root.set("SessionId", Node::Int(0));
    root.set("SessionEpoch", Node::Int(SESSIONLESS));
    root.set("ForgottenTopicsData", Node::Absent);
    Ok(Ruling::Rewrite {
        body: Some(request.encode(&root)),
        answer: AnswerWork::append(request.api, "Responses", denied),
    })
}

/// What a partition's answer holds besides the error.
pub(crate) fn finish(partition: &mut Record<'static>) {
    partition.set("HighWatermark", Node::Int(-1));
    partition.set("Records", Node::text(""));
}
