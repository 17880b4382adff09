//! DescribeCluster.

use auth::acl::{AclView, CLUSTER_NAME, Operation, ResourceType};

use crate::request::Request;
use crate::ruling::{AnswerWork, Error, Ruling};
use wire::tree::Node;

/// Open to all; the bit field is ours, and 0 without DESCRIBE on the cluster.
pub(crate) fn describe(request: &Request<'_>) -> Result<Ruling, Error> {
    if request.access.is_open()
        || request.access.defers()
        || request.decode()?.int("IncludeClusterAuthorizedOperations") == 0
    {
        return Ok(Ruling::Forward);
    }
    let operations = cluster_operations(request.access);
    Ok(Ruling::Rewrite {
        body: None,
        answer: AnswerWork::new(request.api, move |answer, _| {
            if answer.int("ErrorCode") == 0 {
                answer.set("ClusterAuthorizedOperations", Node::Int(operations.into()));
            }
        }),
    })
}

/// What may be done with the cluster, as a bit field.
pub(crate) fn cluster_operations(view: &AclView) -> i32 {
    if view.permits(Operation::Describe, ResourceType::Cluster, CLUSTER_NAME) {
        view.operations(ResourceType::Cluster, CLUSTER_NAME)
    } else {
        0
    }
}
