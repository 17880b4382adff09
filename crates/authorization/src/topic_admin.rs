//! CreateTopics, DeleteTopics, CreatePartitions.

use std::collections::{HashMap, HashSet};

use auth::acl::{CLUSTER_NAME, Operation, ResourceType};
use wire::error_code::{INVALID_REQUEST, TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_ID};

use crate::request::{Request, error_record, refuse_twins, take_denied, with_text};
use crate::ruling::{AnswerWork, Error, Ruling, weight};
use wire::tree::{Node, Record};

/// CREATE on the cluster or on each topic. What the answer says of a topic's configuration needs DESCRIBE_CONFIGS on it.
pub(crate) fn create(request: &Request<'_>) -> Result<Ruling, Error> {
    let mut root = request.decode()?;
    let names: Vec<Vec<u8>> = root
        .records("Topics")
        .map(|topic| topic.get("Name").as_bytes().to_vec())
        .collect();
    let cluster = permits_cluster(request, Operation::Create);
    let denied = if cluster && !request.access.is_narrowed() {
        Vec::new()
    } else {
        named_once(request, &mut root, Operation::Create, cluster, "Topics")?
    };
    let view = request.access.clone();
    let hidden: HashSet<Vec<u8>> = match request.version {
        ..5 => HashSet::new(),
        _ => names
            .into_iter()
            .filter(|name| {
                let name = std::str::from_utf8(name);
                !name.is_ok_and(|name| {
                    view.permits(Operation::DescribeConfigs, ResourceType::Topic, name)
                })
            })
            .collect(),
    };
    if hidden.is_empty() || root.list("Topics").is_empty() {
        return Ok(request.partly(&root, "Topics", "Topics", denied));
    }
    let body = (!denied.is_empty()).then(|| request.encode(&root));
    let names = hidden.iter().map(|name| name.len() + size_of::<Vec<u8>>());
    let remembered = weight(&denied) + names.sum::<usize>();
    let answer = AnswerWork::new(request.api, move |answer, _| {
        answer.edit_list("Topics", |topics| {
            for topic in topics.iter_mut().filter_map(Node::as_record_mut) {
                if topic.int("ErrorCode") == 0 && hidden.contains(topic.get("Name").as_bytes()) {
                    hide_configs(topic);
                }
            }
            topics.extend(denied.iter().cloned());
        });
    });
    let answer = answer.remembering(remembered);
    Ok(Ruling::Rewrite { body, answer })
}

/// ALTER on each topic.
pub(crate) fn create_partitions(request: &Request<'_>) -> Result<Ruling, Error> {
    let mut root = request.decode()?;
    let denied = named_once(request, &mut root, Operation::Alter, false, "Results")?;
    Ok(request.partly(&root, "Topics", "Results", denied))
}

/// DELETE on each topic. What is denied by id has a name in the answer only for who may describe it. As in Kafka, ALL on the cluster
/// opens every topic.
pub(crate) fn delete(request: &Request<'_>) -> Result<Ruling, Error> {
    let mut root = request.decode()?;
    let cluster = permits_cluster(request, Operation::Delete);
    let element = request.element("Responses");
    let array = if request.version < 6 {
        "TopicNames"
    } else {
        "Topics"
    };
    let mut denied = take_denied(&mut root, array, |topic| {
        let (name, id) = match topic {
            Node::Record(topic) => (
                topic.get("Name").to_owned(),
                topic.get("TopicId").to_owned(),
            ),
            name => (name.to_owned(), Node::Absent),
        };
        let Node::Uuid(uuid) = id.clone() else {
            return denied_by_name(request, element, name, cluster);
        };
        if uuid == [0; 16] {
            return denied_by_name(request, element, name, cluster);
        }
        let Some(known) = request.topics.name(&uuid) else {
            let mut told = with_text(error_record(element, UNKNOWN_TOPIC_ID), UNKNOWN_TOPIC_ID);
            told.set("Name", Node::Null);
            told.set("TopicId", id);
            return Ok(Some(told));
        };
        if deletable(request, &known, cluster) {
            return Ok(None);
        }
        let mut told = with_text(
            error_record(element, TOPIC_AUTHORIZATION_FAILED),
            TOPIC_AUTHORIZATION_FAILED,
        );
        let visible = request.permits_topic(Operation::Describe, &known);
        told.set(
            "Name",
            if visible {
                Node::text(&known)
            } else {
                Node::Null
            },
        );
        told.set("TopicId", id);
        Ok(Some(told))
    })?;
    let name = |topic: &Record<'_>| match topic.get("Name") {
        Node::Text(name) => Some(name.to_vec()),
        _ => None,
    };
    refuse_twins(&mut denied, name);
    let mut told = HashSet::new();
    denied.retain(|topic| {
        let name = topic.as_record().and_then(name);
        name.is_none_or(|name| told.insert(name))
    });
    Ok(request.partly(&root, array, "Responses", denied))
}

fn denied_by_name(
    request: &Request<'_>,
    element: &'static [wire::schema::FieldSpec],
    name: Node<'static>,
    cluster: bool,
) -> Result<Option<Record<'static>>, Error> {
    // Neither name nor id: the broker has a word for that.
    let Some(text) = name.as_text()? else {
        return Ok(None);
    };
    if deletable(request, text, cluster) {
        return Ok(None);
    }
    let code = request.denial(ResourceType::Topic, text);
    let mut told = with_text(error_record(element, code), code);
    told.set("Name", name);
    Ok(Some(told))
}

/// With a right on the cluster every topic there is for the client.
fn deletable(request: &Request<'_>, name: &str, cluster: bool) -> bool {
    let exists = request.access.contains(ResourceType::Topic, name);
    (cluster && exists) || request.allows_topic(Operation::Delete, name)
}

/// Takes denied topics out, each told of once: a name that stands there twice is an invalid request of its own.
fn named_once(
    request: &Request<'_>,
    root: &mut Record<'_>,
    operation: Operation,
    cluster: bool,
    answered: &str,
) -> Result<Vec<Node<'static>>, Error> {
    let element = request.element(answered);
    let mut counts: HashMap<Vec<u8>, usize> = HashMap::new();
    for topic in root.records("Topics") {
        *counts
            .entry(topic.get("Name").as_bytes().to_vec())
            .or_default() += 1;
    }
    let access = request.access;
    let mut denied = take_denied(root, "Topics", |topic| {
        let Some(topic) = topic.as_record() else {
            return Ok(None);
        };
        let name = topic.get("Name").as_text()?.unwrap_or_default();
        let by_cluster = cluster && access.contains(ResourceType::Topic, name);
        if by_cluster || request.allows_topic(operation, name) {
            return Ok(None);
        }
        let twice = counts.get(name.as_bytes()).is_some_and(|count| *count > 1);
        let code = if twice {
            INVALID_REQUEST
        } else {
            request.denial(ResourceType::Topic, name)
        };
        Ok(Some(request.echo(element, topic, code)))
    })?;
    let mut told = HashSet::new();
    denied.retain(|topic| {
        topic
            .as_record()
            .is_some_and(|topic| told.insert(topic.get("Name").as_bytes().to_vec()))
    });
    Ok(denied)
}

fn hide_configs(topic: &mut Record<'_>) {
    topic.set("NumPartitions", Node::Int(-1));
    topic.set("ReplicationFactor", Node::Int(-1));
    topic.set("Configs", Node::List(Vec::new()));
    topic.set(
        "TopicConfigErrorCode",
        Node::Int(TOPIC_AUTHORIZATION_FAILED.into()),
    );
}

fn permits_cluster(request: &Request<'_>, operation: Operation) -> bool {
    request
        .access
        .permits(operation, ResourceType::Cluster, CLUSTER_NAME)
}
