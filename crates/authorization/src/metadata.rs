//! Metadata.

use auth::acl::{AclView, Operation, ResourceType};
use std::collections::HashSet;

use wire::error_code::{
    INVALID_TOPIC_EXCEPTION, TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_ID,
    UNKNOWN_TOPIC_OR_PARTITION,
};
use wire::schema::FieldSpec;

use crate::cluster::cluster_operations;
use crate::request::{Request, error_record};
use crate::ruling::{AnswerWork, Error, Ruling, weight};
use wire::tree::{self as message, Node, Record};

/// First version in which a client says whether topics may be created; before it, the broker creates by its own default.
const SAYS_AUTO_CREATION: i16 = 4;

/// DESCRIBE on each topic; denied ones fail by name if they were asked for by name, and are left out if all were asked for. A topic that
/// does not exist is created only for who has CREATE on the cluster or on it.
pub(crate) fn judge(request: &Request<'_>) -> Result<Ruling, Error> {
    let access = request.access;
    let says_nothing = access.is_open() || (access.unlimited() && request.version < 8);
    if says_nothing && access.auto_creation() {
        return Ok(Ruling::Forward);
    }
    let mut root = request.decode()?;
    let all = match root.get("Topics") {
        Node::List(topics) => topics.is_empty() && request.version == 0,
        _ => true,
    };
    let element = request.element("Topics");
    let denied =
        request.take_denied_topics(&mut root, "Topics", Operation::Describe, |topic, code| {
            denial(request, element, topic, code)
        })?;
    if all {
        root.set("Topics", Node::Null);
    }
    let uncreatable = uncreatable(request, &root)?;
    // Kafka says itself what may be done, where it decides.
    let flag = |name: &str| root.int(name) != 0 && !access.defers();
    let topic_operations = flag("IncludeTopicAuthorizedOperations");
    let cluster_operations =
        flag("IncludeClusterAuthorizedOperations").then(|| cluster_operations(request.access));
    let untouched = denied.is_empty() && uncreatable.is_empty();
    let hides = all && (access.is_checked() || access.hides_topics());
    let works = !untouched || hides || topic_operations || cluster_operations.is_some();
    let forbids = !access.auto_creation() && !all && wants_creation(request, &root);
    if !works && !forbids {
        return Ok(Ruling::Forward);
    }

    let view = request.access.clone();
    let creating = !uncreatable.is_empty() || forbids;
    let names = uncreatable
        .iter()
        .map(|name| name.len() + size_of_val(name));
    let remembered = weight(&denied) + names.sum::<usize>();
    let answer = if !works {
        AnswerWork::nothing(request.api)
    } else {
        AnswerWork::new(request.api, move |answer, _| {
            answer.edit_list("Topics", |topics| {
                if hides {
                    topics.retain(|topic| is_visible(&view, topic));
                }
                for topic in topics.iter_mut().filter_map(Node::as_record_mut) {
                    finish(&view, topic, &uncreatable, topic_operations);
                }
                topics.extend(denied.iter().cloned());
            });
            if let Some(operations) = cluster_operations {
                answer.set("ClusterAuthorizedOperations", Node::Int(operations.into()));
            }
        })
        .remembering(remembered)
    };
    if creating {
        root.set("AllowAutoTopicCreation", Node::Int(0));
    }
    let none_left = !all && root.list("Topics").is_empty();
    if request.version < SAYS_AUTO_CREATION && (creating || (none_left && request.version == 0)) {
        root.set("AllowAutoTopicCreation", Node::Int((!creating).into()));
        return Ok(Ruling::Convert {
            version: SAYS_AUTO_CREATION,
            body: message::encode(
                request.api,
                SAYS_AUTO_CREATION,
                wire::api::Direction::Request,
                &root,
            )
            .into(),
            answer: answer.asked_in(SAYS_AUTO_CREATION),
        });
    }
    let body = (!untouched || creating).then(|| request.encode(&root));
    Ok(Ruling::Rewrite { body, answer })
}

/// Whether topics would be created that do not exist.
fn wants_creation(request: &Request<'_>, root: &Record<'_>) -> bool {
    request.version < SAYS_AUTO_CREATION || root.int("AllowAutoTopicCreation") != 0
}

/// A topic asked for by name keeps its name and loses its id; one asked for by id the other way round.
fn denial(
    request: &Request<'_>,
    element: &'static [FieldSpec],
    topic: &Record<'_>,
    code: i16,
) -> Record<'static> {
    let mut told = error_record(element, code);
    match topic.get("TopicId") {
        Node::Uuid(id) if *id != [0; 16] => {
            told.set("TopicId", Node::Uuid(*id));
            let nullable = request.version >= 12;
            told.set("Name", if nullable { Node::Null } else { Node::text("") });
        }
        _ => told.set("Name", topic.get("Name").to_owned()),
    }
    told
}

/// Named topics that must not come into being by this request.
fn uncreatable(request: &Request<'_>, root: &Record<'_>) -> Result<HashSet<String>, Error> {
    let mut names = HashSet::new();
    let wanted = request.access.auto_creation() && wants_creation(request, root);
    let cluster = request.access.permits(
        Operation::Create,
        ResourceType::Cluster,
        auth::acl::CLUSTER_NAME,
    );
    if !wanted || cluster {
        return Ok(names);
    }
    for topic in root.records("Topics") {
        if let Some(name) = topic.get("Name").as_text()?
            && !name.is_empty()
            && !request.permits_topic(Operation::Create, name)
        {
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}

fn is_visible(view: &AclView, topic: &Node<'_>) -> bool {
    let name = topic
        .as_record()
        .and_then(|topic| topic.get("Name").as_text().ok().flatten());
    name.is_some_and(|name| view.permits(Operation::Describe, ResourceType::Topic, name))
}

fn finish(view: &AclView, topic: &mut Record<'_>, uncreatable: &HashSet<String>, operations: bool) {
    let code = topic.int("ErrorCode") as i16;
    let Ok(Some(name)) = topic.get("Name").as_text() else {
        return;
    };
    let is_missing = matches!(code, UNKNOWN_TOPIC_OR_PARTITION | INVALID_TOPIC_EXCEPTION);
    if is_missing && uncreatable.contains(name) {
        topic.set("ErrorCode", Node::Int(TOPIC_AUTHORIZATION_FAILED.into()));
        topic.set("TopicAuthorizedOperations", Node::Absent);
    } else if operations && code != UNKNOWN_TOPIC_ID {
        let bits = view.operations(ResourceType::Topic, name);
        topic.set("TopicAuthorizedOperations", Node::Int(bits.into()));
    }
}
