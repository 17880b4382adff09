//! What a principal may do with each part of a request, and what is answered where it may not.
//!
//! Pure functions over the bodies of requests and answers: no I/O, no state. [`judge`] says what becomes of a request by the rule of its
//! API key, which needs what Kafka's own table of operations says; [`Ruling`] says what that can be. A key without a rule is refused.
//!
//! The common case costs one walk over the body and no allocation: everything is allowed, and the request goes through untouched. Only if
//! something is denied, or the answer holds what only the gateway knows, is the body made into a tree, changed and written anew. The tree
//! follows the schema table, so that a rule holds for every version the table knows.
//!
//! ```
//! use auth::acl::{AclView, Acls};
//! use sluicegate_authorization::{Ruling, judge};
//! use wire::api::ApiKey;
//!
//! // Heartbeat version 0 of group "g", generation 7, member "m".
//! let body = [0, 1, b'g', 0, 0, 0, 7, 0, 1, b'm'];
//! let nobody = AclView::checked(&Acls::default(), "passthrough", "alice", "192.0.2.7");
//! let ruling = judge(ApiKey::HEARTBEAT, 0, &body, &nobody, &()).unwrap();
//! assert!(matches!(ruling, Ruling::Answer(body) if *body == [0, 30]));
//! ```

mod acls;
mod cluster;
mod configs;
mod coordinator;
mod describe;
mod fetch;
mod groups;
mod metadata;
mod names;
mod offsets;
mod produce;
mod refusal;
mod request;
mod rules;
mod ruling;
mod session;
mod share;
#[cfg(test)]
mod tests;
mod topic_admin;
mod topics;
mod transactions;

use auth::acl::AclView;
use bytes::Bytes;
use wire::api::{ApiKey, Direction};

pub use acls::{AclChange, AclRequest};
pub use ruling::{AnswerWork, Error, Ruling, TopicNames};
pub use session::{
    InSession, ShareMember, in_session, session_gone, share_member, without_session,
};

use request::Request;
use rules::Rule;

/// Says what becomes of a request. `body` is what follows the request header; `topics` must know the ids that [`topic_ids`] lists, as far
/// as anybody does.
pub fn judge(
    api: ApiKey,
    version: i16,
    body: &[u8],
    access: &AclView,
    topics: &dyn TopicNames,
) -> Result<Ruling, Error> {
    let request = Request {
        api,
        version,
        body,
        access,
        topics,
    };
    match rules::rule(api) {
        None | Some(Rule::Closed) => Ok(Ruling::Close),
        Some(Rule::Open) if access.is_confined() => Ok(Ruling::Close),
        Some(Rule::Open) => Ok(Ruling::Forward),
        Some(Rule::Refused(code)) => refusal::refuse(&request, code),
        Some(Rule::Allowed(_)) if access.unlimited() => Ok(Ruling::Forward),
        Some(Rule::Allowed(judge) | Rule::Always(judge)) => judge(&request),
        // About the physical cluster: none of a virtual cluster's business.
        Some(Rule::Cluster(_, code))
            if access.is_confined() && api != ApiKey::LIST_CONFIG_RESOURCES =>
        {
            refusal::refuse(&request, code)
        }
        Some(Rule::Cluster(operation, _)) if access.allowed_cluster(operation) => {
            Ok(Ruling::Forward)
        }
        Some(Rule::Cluster(_, code)) => refusal::refuse(&request, code),
    }
}

/// Ids in a request that [`judge`] needs the names of; each once. Empty without a look at the body for nearly every request.
pub fn topic_ids(api: ApiKey, version: i16, body: &[u8]) -> Result<Vec<[u8; 16]>, Error> {
    let by_id = match api {
        ApiKey::PRODUCE | ApiKey::FETCH => version >= 13,
        ApiKey::METADATA | ApiKey::OFFSET_COMMIT | ApiKey::OFFSET_FETCH => version >= 10,
        ApiKey::DELETE_TOPICS => version >= 6,
        ApiKey::SHARE_FETCH | ApiKey::SHARE_ACKNOWLEDGE => true,
        _ => false,
    };
    if by_id {
        names::ids(api, version, Direction::Request, body)
    } else {
        Ok(Vec::new())
    }
}

/// The answer to DescribeAcls, CreateAcls and DeleteAcls where there are no access control lists (`SECURITY_DISABLED`); `None` for any
/// other API.
pub fn disabled(api: ApiKey, version: i16, body: &[u8]) -> Result<Option<Bytes>, Error> {
    acls::disabled(api, version, body)
}
