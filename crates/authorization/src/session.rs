//! Sessions of Fetch (KIP-227) and ShareFetch (KIP-932): requests about topics that earlier ones have named.

use bytes::Bytes;
use wire::api::{ApiKey, Direction};
use wire::error_code::FETCH_SESSION_ID_NOT_FOUND;
use wire::schema::Entity;

use crate::names;
use crate::request::error_record;
use crate::ruling::Error;
use wire::tree as message;

/// The broker knows no such share session.
const SHARE_SESSION_NOT_FOUND: i16 = 122;

/// The session of a request that is also about topics that earlier requests have named; share sessions have the id 0, because the
/// member's id tells them apart. These topics were judged when they were named: after a change of the access control lists the proxy has to
/// answer the first such request of each session that began before with [`session_gone`]. So it has to answer a request in a session of
/// another connection, whose topics somebody else may have named.
pub fn in_session(api: ApiKey, version: i16, body: &[u8]) -> Result<InSession, Error> {
    if !matches!(api, ApiKey::FETCH | ApiKey::SHARE_FETCH) {
        return Ok(InSession::Not);
    }
    let [session, epoch] = names::integers(
        api,
        version,
        [Entity::SessionId, Entity::SessionEpoch],
        body,
    )?;
    // Epochs below these mean nothing; brokers look for the session first.
    const FULL: [i64; 2] = [-1, 0];
    let Some(epoch) = epoch else {
        return Ok(InSession::Not);
    };
    // A share session has no id but the member's.
    let id = session.and_then(|id| i32::try_from(id).ok()).unwrap_or(0);
    Ok(match FULL.contains(&epoch) {
        true if id == 0 && epoch == 0 => InSession::Begins,
        true if id == 0 => InSession::Not,
        false if session == Some(0) => InSession::Not,
        true => InSession::Ends(id),
        false => InSession::Goes(id),
    })
}

/// A Fetch request that ends a session and names all of its topics, as one without any: a session of another connection is not this one's
/// to end.
pub fn without_session(version: i16, body: &[u8]) -> Result<Bytes, Error> {
    let mut root = message::decode(ApiKey::FETCH, version, Direction::Request, body)?;
    root.set("SessionId", message::Node::Int(0));
    Ok(message::encode(ApiKey::FETCH, version, Direction::Request, &root).into())
}

/// How a request is related to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InSession {
    /// It is not.
    Not,
    /// It begins one.
    Begins,
    /// It is also about topics that were named before in the session of this id; 0: in the member's share session.
    Goes(i32),
    /// It ends the session of this id, and names all of its topics.
    Ends(i32),
}

/// Whose share session a ShareFetch request is about.
pub fn share_member(version: i16, body: &[u8]) -> Result<ShareMember, Error> {
    let root = message::decode(ApiKey::SHARE_FETCH, version, Direction::Request, body)?;
    let text = |field: &str| root.get(field).as_bytes().to_vec();
    Ok(ShareMember {
        group: text("GroupId"),
        member: text("MemberId"),
    })
}

/// What a share session goes by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShareMember {
    group: Vec<u8>,
    member: Vec<u8>,
}

impl ShareMember {
    /// The group's id, not necessarily text.
    pub fn group(&self) -> &[u8] {
        &self.group
    }
}

/// The answer that makes the client begin a new session with all of its topics. `None` for APIs and versions without sessions.
pub fn session_gone(api: ApiKey, version: i16) -> Option<Bytes> {
    let code = match api {
        ApiKey::FETCH if version >= 7 => FETCH_SESSION_ID_NOT_FOUND,
        ApiKey::SHARE_FETCH => SHARE_SESSION_NOT_FOUND,
        _ => return None,
    };
    api.spec().filter(|spec| spec.has_version(version))?;
    let answer = error_record(message::message(api, Direction::Response), code);
    Some(message::encode(api, version, Direction::Response, &answer).into())
}
