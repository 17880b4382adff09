//! Members of groups, lists of groups, their deletion.

use auth::acl::{CLUSTER_NAME, Operation, ResourceType};
use wire::error_code::{INVALID_REGULAR_EXPRESSION, TOPIC_AUTHORIZATION_FAILED};

use crate::names::Needs;
use crate::refusal::refuse_decoded;
use crate::request::{Request, error_record, take_denied};
use crate::ruling::{AnswerWork, Error, Ruling};
use wire::tree::{Node, Record};

/// The topology of a streams group is not valid.
const STREAMS_INVALID_TOPOLOGY: i16 = 130;

/// JoinGroup, Heartbeat, LeaveGroup, SyncGroup: READ on the group.
pub(crate) fn member(request: &Request<'_>) -> Result<Ruling, Error> {
    let needs = Needs {
        group: Some(Operation::Read),
        ..Needs::default()
    };
    if request.all_permitted(needs)? {
        return Ok(Ruling::Forward);
    }
    let root = request.decode()?;
    Ok(denied_group(request, &root)?.unwrap_or(Ruling::Forward))
}

/// ConsumerGroupHeartbeat, ShareGroupHeartbeat: READ on the group, DESCRIBE on each subscribed topic.
///
/// A regular expression is refused: the broker would resolve it with the gateway's rights.
pub(crate) fn heartbeat(request: &Request<'_>) -> Result<Ruling, Error> {
    let root = request.decode()?;
    if let Some(ruling) = denied_group(request, &root)? {
        return Ok(ruling);
    }
    for name in root.list("SubscribedTopicNames") {
        if !request.allows_topic(Operation::Describe, name.as_text()?.unwrap_or_default()) {
            return refuse_decoded(request, &root, TOPIC_AUTHORIZATION_FAILED);
        }
    }
    if !root.get("SubscribedTopicRegex").as_bytes().is_empty() {
        return Ok(refuse_subscription(
            request,
            INVALID_REGULAR_EXPRESSION,
            "Subscriptions by regular expression are not available with access control lists; subscribe to topics by name",
        ));
    }
    Ok(Ruling::Forward)
}

/// READ on the group, DESCRIBE on each topic of the topology. The broker creates the internal ones of them with the gateway's rights, so
/// they need CREATE, on the cluster or on the topic.
pub(crate) fn streams_heartbeat(request: &Request<'_>) -> Result<Ruling, Error> {
    let root = request.decode()?;
    if let Some(ruling) = denied_group(request, &root)? {
        return Ok(ruling);
    }
    let topology = root.get("Topology").as_record();
    let create_any = request
        .access
        .permits(Operation::Create, ResourceType::Cluster, CLUSTER_NAME);
    for part in topology
        .into_iter()
        .flat_map(|topology| topology.records("Subtopologies"))
    {
        let named = part
            .list("SourceTopics")
            .iter()
            .chain(part.list("RepartitionSinkTopics"));
        let internal = part
            .records("StateChangelogTopics")
            .chain(part.records("RepartitionSourceTopics"));
        let internal = internal.map(|topic| topic.get("Name"));
        for (name, created) in named
            .map(|name| (name, false))
            .chain(internal.map(|name| (name, true)))
        {
            let name = name.as_text()?.unwrap_or_default();
            let fine = request.allows_topic(Operation::Describe, name)
                && (!created || create_any || request.allows_topic(Operation::Create, name));
            if !fine {
                return refuse_decoded(request, &root, TOPIC_AUTHORIZATION_FAILED);
            }
        }
        if !part.list("SourceTopicRegex").is_empty() {
            return Ok(refuse_subscription(
                request,
                STREAMS_INVALID_TOPOLOGY,
                "Sources by regular expression are not available with access control lists; name the topics",
            ));
        }
    }
    Ok(Ruling::Forward)
}

/// ListGroups: all with DESCRIBE on the cluster, else those with DESCRIBE on the group.
pub(crate) fn list(request: &Request<'_>) -> Result<Ruling, Error> {
    if request
        .access
        .permits(Operation::Describe, ResourceType::Cluster, CLUSTER_NAME)
    {
        return Ok(Ruling::Forward);
    }
    let view = request.access.clone();
    let answer = AnswerWork::new(request.api, move |answer, _| {
        answer.edit_list("Groups", |groups| {
            groups.retain(|group| {
                let id = group
                    .as_record()
                    .and_then(|group| group.get("GroupId").as_text().ok().flatten());
                id.is_some_and(|id| view.permits(Operation::Describe, ResourceType::Group, id))
            });
        });
    });
    Ok(Ruling::Rewrite { body: None, answer })
}

/// DeleteGroups: DELETE on each group.
pub(crate) fn delete(request: &Request<'_>) -> Result<Ruling, Error> {
    let mut root = request.decode()?;
    let element = request.element("Results");
    let denied = take_denied(&mut root, "GroupsNames", |name| {
        let id = name.as_text()?.unwrap_or_default();
        let allowed = request
            .access
            .allowed(Operation::Delete, ResourceType::Group, id);
        Ok((!allowed).then(|| {
            let mut told = error_record(element, request.denial(ResourceType::Group, id));
            told.set("GroupId", name.to_owned());
            told
        }))
    })?;
    Ok(request.partly(&root, "GroupsNames", "Results", denied))
}

/// The refusal, unless READ on the group is allowed.
pub(crate) fn denied_group(
    request: &Request<'_>,
    root: &Record<'_>,
) -> Result<Option<Ruling>, Error> {
    let id = root.get("GroupId").as_text()?.unwrap_or_default();
    if request
        .access
        .allowed(Operation::Read, ResourceType::Group, id)
    {
        return Ok(None);
    }
    refuse_decoded(request, root, request.denial(ResourceType::Group, id)).map(Some)
}

fn refuse_subscription(request: &Request<'_>, code: i16, why: &str) -> Ruling {
    let mut answer = error_record(request.answer().fields(), code);
    answer.set("ErrorMessage", Node::text(why));
    request.answered(&answer)
}
