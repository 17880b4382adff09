//! FindCoordinator.

use auth::acl::{CLUSTER_NAME, Operation, ResourceType};
use wire::error_code::INVALID_REQUEST;

use crate::request::{Request, error_record, take_denied, with_text};
use crate::ruling::{Error, Ruling};
use wire::tree::{Node, Record};

/// DESCRIBE on the group or the transactional id; what brokers may do for the coordinator of a share group's state.
pub(crate) fn judge(request: &Request<'_>) -> Result<Ruling, Error> {
    let mut root = request.decode()?;
    let (operation, resource_type) = match root.int("KeyType") {
        0 => (Operation::Describe, ResourceType::Group),
        1 => (Operation::Describe, ResourceType::TransactionalId),
        2 => (Operation::ClusterAction, ResourceType::Cluster),
        _ => return Ok(every_key(request, &root, INVALID_REQUEST)),
    };
    let allowed = |key: &Node<'_>| -> Result<bool, Error> {
        let name = match resource_type {
            ResourceType::Cluster => CLUSTER_NAME,
            _ => key.as_text()?.unwrap_or_default(),
        };
        Ok(request.access.allowed(operation, resource_type, name))
    };
    let code = |key: &Node<'_>| -> Result<i16, Error> {
        Ok(request.denial(resource_type, key.as_text()?.unwrap_or_default()))
    };
    if request.version < 4 {
        let fine = allowed(root.get("Key"))?;
        return Ok(if fine {
            Ruling::Forward
        } else {
            every_key(request, &root, code(root.get("Key"))?)
        });
    }
    let denied = take_denied(&mut root, "CoordinatorKeys", |key| {
        let code = code(key)?;
        Ok((!allowed(key)?).then(|| denial(request, key, code)))
    })?;
    Ok(request.partly(&root, "CoordinatorKeys", "Coordinators", denied))
}

fn every_key(request: &Request<'_>, root: &Record<'_>, code: i16) -> Ruling {
    if request.version < 4 {
        let mut answer = with_text(error_record(request.answer().fields(), code), code);
        answer.set("NodeId", Node::Int(-1));
        answer.set("Port", Node::Int(-1));
        return request.answered(&answer);
    }
    let denied = root
        .list("CoordinatorKeys")
        .iter()
        .map(|key| Node::Record(denial(request, key, code)));
    let mut answer = request.answer();
    answer.set("Coordinators", Node::List(denied.collect()));
    request.answered(&answer)
}

fn denial(request: &Request<'_>, key: &Node<'_>, code: i16) -> Record<'static> {
    let mut told = with_text(error_record(request.element("Coordinators"), code), code);
    told.set("Key", key.to_owned());
    told.set("NodeId", Node::Int(-1));
    told.set("Port", Node::Int(-1));
    told
}
