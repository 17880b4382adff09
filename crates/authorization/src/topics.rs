//! APIs that are about partitions of topics and nothing else.

use auth::acl::Operation;
use wire::api::ApiKey;
use wire::error_code::CLUSTER_AUTHORIZATION_FAILED;

use crate::names::{self, Needs};
use crate::refusal::{explain, nothing, refuse};
use crate::request::Request;
use crate::ruling::{Error, Ruling};
use wire::tree::{Node, Record};

/// ListOffsets and OffsetForLeaderEpoch: as [`judge`]; who calls itself a replica is refused.
pub(crate) fn judge_replica(request: &Request<'_>) -> Result<Ruling, Error> {
    if names::is_replica(request.api, request.version, request.body)? {
        return refuse(request, CLUSTER_AUTHORIZATION_FAILED);
    }
    if request.access.unlimited() {
        return Ok(Ruling::Forward);
    }
    judge(request)
}

/// One operation on each topic.
pub(crate) fn judge(request: &Request<'_>) -> Result<Ruling, Error> {
    let (operation, finish): (Operation, fn(&mut Record<'static>)) = match request.api {
        ApiKey::DELETE_RECORDS => (Operation::Delete, no_watermark),
        ApiKey::DESCRIBE_PRODUCERS => (Operation::Read, explain),
        _ => (Operation::Describe, nothing),
    };
    let needs = Needs {
        topics: Some(operation),
        ..Needs::default()
    };
    if request.all_permitted(needs)? || is_for_replicas(request) {
        return Ok(Ruling::Forward);
    }
    let mut root = request.decode()?;
    let element = request.element("Topics");
    let denied = request.take_denied_topics(&mut root, "Topics", operation, |topic, code| {
        request.topic_denial(element, topic, code, finish)
    })?;
    Ok(request.partly(&root, "Topics", "Topics", denied))
}

/// OffsetForLeaderEpoch began as an API between brokers, and what brokers may do still opens it.
fn is_for_replicas(request: &Request<'_>) -> bool {
    let cluster = auth::acl::ResourceType::Cluster;
    request.api == ApiKey::OFFSET_FOR_LEADER_EPOCH
        && !request.access.is_confined()
        && request
            .access
            .permits(Operation::ClusterAction, cluster, auth::acl::CLUSTER_NAME)
}

fn no_watermark(partition: &mut Record<'static>) {
    partition.set("LowWatermark", Node::Int(-1));
}
