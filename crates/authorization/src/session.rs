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
pub fn in_session(api: ApiKey, version: i16, body: &[u8]) -> Result<Option<i32>, Error> {
    if !matches!(api, ApiKey::FETCH | ApiKey::SHARE_FETCH) {
        return Ok(None);
    }
    let [session, epoch] = names::integers(
        api,
        version,
        [Entity::SessionId, Entity::SessionEpoch],
        body,
    )?;
    // A share session has no id but the member's.
    let in_session = session != Some(0) && epoch.is_some_and(|epoch| epoch > 0);
    Ok(in_session.then(|| session.and_then(|id| i32::try_from(id).ok()).unwrap_or(0)))
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
