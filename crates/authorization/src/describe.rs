//! Descriptions of groups and of topics, with the operations that are allowed on them.

use std::sync::Arc;

use auth::acl::{AclView, Operation, ResourceType};
use wire::api::{ApiKey, Direction};
use wire::error_code::{TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_OR_PARTITION};
use wire::schema::{Entity, FieldType};

use crate::request::{Request, error_record, take_denied};
use crate::ruling::{AnswerWork, Error, Ruling, weight};
use wire::tree::{self as message, Node, Record};

/// DescribeGroups, ConsumerGroupDescribe, ShareGroupDescribe, StreamsGroupDescribe: DESCRIBE on each group. For the newer ones a group
/// that works on a topic without DESCRIBE is not shown.
pub(crate) fn groups(request: &Request<'_>) -> Result<Ruling, Error> {
    if request.access.is_open() {
        return Ok(Ruling::Forward);
    }
    let mut root = request.decode()?;
    let requested = if request.api == ApiKey::DESCRIBE_GROUPS {
        "Groups"
    } else {
        "GroupIds"
    };
    let element = request.element("Groups");
    let denied = take_denied(&mut root, requested, |id| {
        let name = id.as_text()?.unwrap_or_default();
        let allowed = request
            .access
            .allowed(Operation::Describe, ResourceType::Group, name);
        Ok((!allowed).then(|| {
            let mut told = error_record(element, request.denial(ResourceType::Group, name));
            told.set("GroupId", id.to_owned());
            told
        }))
    })?;
    let asks_operations = root.int("IncludeAuthorizedOperations") != 0;
    let operations = asks_operations && !request.access.defers();
    let shows_topics = request.api != ApiKey::DESCRIBE_GROUPS && request.access.is_checked();
    if root.list(requested).is_empty() || !(operations || shows_topics) {
        return Ok(request.partly(&root, requested, "Groups", denied));
    }
    let body = (!denied.is_empty()).then(|| request.encode(&root));
    let view = request.access.clone();
    let remembered = weight(&denied);
    let answer = AnswerWork::new(request.api, move |answer, _| {
        answer.edit_list("Groups", |groups| {
            for group in groups.iter_mut().filter_map(Node::as_record_mut) {
                if group.int("ErrorCode") == 0 {
                    describe_group(&view, group, operations, shows_topics);
                }
            }
            groups.extend(denied.iter().cloned());
        });
    });
    let answer = answer.remembering(remembered);
    Ok(Ruling::Rewrite { body, answer })
}

fn describe_group(view: &AclView, group: &mut Record<'_>, operations: bool, shows_topics: bool) {
    if shows_topics && !works_on_visible_topics(view, group) {
        let mut hidden = error_record(group.fields(), TOPIC_AUTHORIZATION_FAILED);
        hidden.set("GroupId", group.get("GroupId").to_owned());
        hidden.set(
            "ErrorMessage",
            Node::text("The group works on topics that the client may not describe"),
        );
        *group = hidden;
        return;
    }
    if operations && let Ok(Some(id)) = group.get("GroupId").as_text() {
        let bits = view.operations(ResourceType::Group, id);
        group.set("AuthorizedOperations", Node::Int(bits.into()));
    }
}

/// Assigned topics of the members, topics of the topology; not what is merely subscribed to, as in Kafka.
fn works_on_visible_topics(view: &AclView, group: &Record<'_>) -> bool {
    let assigned = group
        .records("Members")
        .flat_map(|member| [member.get("Assignment"), member.get("TargetAssignment")])
        .all(|assignment| all_visible(view, assignment));
    assigned && all_visible(view, group.get("Topology"))
}

/// Whether every topic named anywhere below may be described.
fn all_visible(view: &AclView, node: &Node<'_>) -> bool {
    let Node::Record(record) = node else {
        return true;
    };
    record.fields().iter().all(|spec| {
        let visible = |name: &Node<'_>| match name.as_text() {
            Ok(Some(name)) => view.permits(Operation::Describe, ResourceType::Topic, name),
            Ok(None) => true,
            Err(_) => false,
        };
        match (spec.entity, spec.ty, record.get(spec.name)) {
            (Entity::TopicName, _, Node::List(names)) => names.iter().all(visible),
            (Entity::TopicName, _, name) => visible(name),
            (_, FieldType::Struct(_), Node::List(list)) => {
                list.iter().all(|node| all_visible(view, node))
            }
            (_, FieldType::Struct(_), node) => all_visible(view, node),
            _ => true,
        }
    })
}

/// DescribeTopicPartitions: DESCRIBE on each topic; where all are asked for, the denied ones are left out. The answer always has the
/// allowed operations.
///
/// A page of a request for all topics could be full of topics of others, and would say where the next page begins by the name of one. So
/// it is made a request for some.
pub(crate) fn topic_partitions(request: &Request<'_>) -> Result<Ruling, Error> {
    if request.access.is_open() {
        return Ok(Ruling::Forward);
    }
    let mut root = request.decode()?;
    let cursor = root
        .get("Cursor")
        .as_record()
        .map(|cursor| cursor.get("TopicName").as_text());
    let from = cursor
        .transpose()?
        .flatten()
        .map(str::to_owned)
        .unwrap_or_default();
    // Where Kafka decides, only it knows whose topics to list.
    let lists = !request.access.unlimited() && !request.access.defers();
    let listed = root.list("Topics").is_empty() && lists;
    if listed {
        let Some(names) = request.topics.all() else {
            return Ok(Ruling::ListTopics);
        };
        name_page(request, &mut root, names, &from);
    }
    let element = request.element("Topics");
    let mut denied =
        request.take_denied_topics(&mut root, "Topics", Operation::Describe, |topic, code| {
            request.echo(element, topic, code)
        })?;
    let changed = listed || !denied.is_empty();
    if changed {
        let behind = |topic: &Node<'_>| {
            topic
                .as_record()
                .is_some_and(|topic| topic.get("Name").as_bytes() >= from.as_bytes())
        };
        denied.retain(behind);
        let keeps_cursor = root.edit_list("Topics", |topics| {
            topics.retain(behind);
            let mut names = topics
                .iter()
                .filter_map(Node::as_record)
                .map(|topic| topic.get("Name").as_bytes());
            names.any(|name| name == from.as_bytes())
        });
        if root.list("Topics").is_empty() {
            // To a broker, no topics would mean all.
            let mut answer = request.answer();
            answer.set("Topics", Node::List(denied));
            return Ok(request.answered(&answer));
        }
        if !keeps_cursor {
            // Brokers refuse a cursor at a topic that the request does not name.
            root.set("Cursor", Node::Null);
        }
    }
    let body = changed.then(|| request.encode(&root));
    let view = request.access.clone();
    let remembered = weight(&denied);
    let answer = AnswerWork::new(request.api, move |answer, _| {
        answer.edit_list("Topics", |topics| {
            topics.retain_mut(|topic| {
                let Some(topic) = topic.as_record_mut() else {
                    return false;
                };
                // A topic of our list can be gone by now; nobody asked for it.
                let gone =
                    listed && topic.int("ErrorCode") == i64::from(UNKNOWN_TOPIC_OR_PARTITION);
                !gone && describe_topic(&view, topic)
            });
            topics.extend(denied.iter().cloned());
        });
    });
    let answer = answer.remembering(remembered);
    Ok(Ruling::Rewrite { body, answer })
}

/// Sets the allowed operations; false if the topic is not to be seen.
fn describe_topic(view: &AclView, topic: &mut Record<'_>) -> bool {
    let Ok(Some(name)) = topic.get("Name").as_text() else {
        return false;
    };
    let visible = view.permits(Operation::Describe, ResourceType::Topic, name);
    if !view.defers() {
        let bits = view.operations(ResourceType::Topic, name);
        topic.set("TopicAuthorizedOperations", Node::Int(bits.into()));
    }
    visible
}

/// Puts the names of the next page into the request: those the client may see, from its cursor on.
fn name_page(request: &Request<'_>, root: &mut Record<'_>, mut names: Vec<Arc<str>>, from: &str) {
    names.retain(|name| **name >= *from && request.permits_topic(Operation::Describe, name));
    names.sort_unstable();
    names.dedup();
    // One more topic than partitions fit: the page ends before the list does, and the answer says where the next begins.
    let limit = usize::try_from(root.int("ResponsePartitionLimit")).unwrap_or(0);
    names.truncate(limit.saturating_add(1));
    let element = message::element(message::message(request.api, Direction::Request), "Topics");
    let topics = names.iter().map(|name| {
        let mut topic = Record::new(element);
        topic.set("Name", Node::text(name));
        Node::Record(topic)
    });
    root.set("Topics", Node::List(topics.collect()));
}
