//! OffsetCommit, OffsetFetch, OffsetDelete.

use auth::acl::{AclView, Operation, ResourceType};
use wire::api::ApiKey;
use wire::schema::Entity;

use crate::TopicNames;
use crate::names::Needs;
use crate::refusal::{nothing, refuse_decoded};
use crate::request::{Request, by_group, error_record, refuse_many_twins};
use crate::ruling::{AnswerWork, Error, Ruling, weight};
use wire::tree::{self as message, Node, Record};

/// READ on the group, READ on each topic.
pub(crate) fn commit(request: &Request<'_>) -> Result<Ruling, Error> {
    group_and_topics(request, Operation::Read)
}

/// DELETE on the group, READ on each topic.
pub(crate) fn delete(request: &Request<'_>) -> Result<Ruling, Error> {
    group_and_topics(request, Operation::Delete)
}

fn group_and_topics(request: &Request<'_>, group: Operation) -> Result<Ruling, Error> {
    let needs = Needs {
        topics: Some(Operation::Read),
        group: Some(group),
        ..Needs::default()
    };
    if request.all_permitted(needs)? {
        return Ok(Ruling::Forward);
    }
    let mut root = request.decode()?;
    let id = root.get("GroupId").as_text()?.unwrap_or_default();
    if !request.access.allowed(group, ResourceType::Group, id) {
        return refuse_decoded(request, &root, request.denial(ResourceType::Group, id));
    }
    let element = request.element("Topics");
    let denied =
        request.take_denied_topics(&mut root, "Topics", Operation::Read, |topic, code| {
            request.topic_denial(element, topic, code, nothing)
        })?;
    Ok(match request.api {
        // The coordinator tells of a group that is in use or not there before it looks at topics.
        ApiKey::OFFSET_DELETE => request.forwarded(&root, "Topics", denied),
        _ => request.partly(&root, "Topics", "Topics", denied),
    })
}

/// DESCRIBE on the group, DESCRIBE on each topic; where all topics are asked for, the denied ones are left out.
pub(crate) fn fetch(request: &Request<'_>) -> Result<Ruling, Error> {
    let mut root = request.decode()?;
    if request.version < 8 {
        return fetch_one(request, root);
    }
    // What each group's answer gets: denied topics, or the whole of it.
    let mut groups = Vec::new();
    let element = request.element("Groups");
    let topics = message::element(element, "Topics");
    let refused = crate::request::take_denied(&mut root, "Groups", |group| {
        let Some(group) = group.as_record() else {
            return Ok(None);
        };
        let id = group.get("GroupId").as_text()?.unwrap_or_default();
        let allowed = request
            .access
            .allowed(Operation::Describe, ResourceType::Group, id);
        let code = request.denial(ResourceType::Group, id);
        Ok((!allowed).then(|| request.echo(element, group, code)))
    })?;
    let mut changed = !refused.is_empty();
    let mut list = Vec::new();
    root.edit_list("Groups", |groups| std::mem::swap(groups, &mut list));
    for group in list.iter_mut().filter_map(Node::as_record_mut) {
        let all = !matches!(group.get("Topics"), Node::List(_));
        let denied = if all {
            Vec::new()
        } else {
            request.take_denied_topics(group, "Topics", Operation::Describe, |topic, code| {
                request.topic_denial(topics, topic, code, finish)
            })?
        };
        changed |= !denied.is_empty();
        let id = group.get("GroupId").as_bytes().to_vec();
        groups.push((id, Part { all, denied }));
    }
    root.set("Groups", Node::List(list));
    let all = groups.iter().any(|(_, part)| part.all);
    if !changed && !all {
        return Ok(Ruling::Forward);
    }
    if groups.is_empty() {
        let mut answer = request.answer();
        answer.set("Groups", Node::List(refused));
        return Ok(request.answered(&answer));
    }
    let view = request.access.clone();
    refuse_many_twins(groups.iter().map(|(group, _)| &**group))?;
    let parts = groups
        .iter()
        .map(|(group, part)| group.len() + part.weight());
    let remembered = weight(&refused) + parts.sum::<usize>();
    let groups = by_group(groups);
    let answer = AnswerWork::new(request.api, move |answer, topics| {
        answer.edit_list("Groups", |list| {
            for group in list.iter_mut().filter_map(Node::as_record_mut) {
                // A group may be asked for more than once; all of its parts say the same of a topic.
                let parts = groups.get(group.get("GroupId").as_bytes());
                for part in parts.into_iter().flatten() {
                    merge(&view, group, part, topics);
                }
            }
            list.extend(refused.iter().cloned());
        });
    });
    let answer = answer.remembering(remembered);
    let answer = if all && request.version >= 10 {
        answer.needing_names()
    } else {
        answer
    };
    Ok(Ruling::Rewrite {
        body: changed.then(|| request.encode(&root)),
        answer,
    })
}

/// What one group's answer gets.
struct Part {
    all: bool,
    denied: Vec<Node<'static>>,
}

impl Part {
    fn weight(&self) -> usize {
        size_of::<Part>() + weight(&self.denied)
    }
}

fn merge(view: &AclView, group: &mut Record<'_>, part: &Part, topics: &dyn TopicNames) {
    if group.int("ErrorCode") != 0 {
        return;
    }
    group.edit_list("Topics", |list| {
        if part.all {
            list.retain(|topic| is_visible(view, topic, topics));
        }
        list.extend(part.denied.iter().cloned());
    });
}

fn is_visible(view: &AclView, topic: &Node<'_>, topics: &dyn TopicNames) -> bool {
    let describes = |name: &str| view.permits(Operation::Describe, ResourceType::Topic, name);
    let Some(topic) = topic.as_record() else {
        return false;
    };
    match (
        topic.meaning(Entity::TopicName).as_text(),
        topic.meaning(Entity::TopicId),
    ) {
        (Ok(Some(name)), _) => describes(name),
        (Ok(None), Node::Uuid(id)) => topics.name(id).is_some_and(|name| describes(&name)),
        _ => false,
    }
}

/// Before version 8: one group, named at top level.
fn fetch_one(request: &Request<'_>, mut root: Record<'_>) -> Result<Ruling, Error> {
    let id = root.get("GroupId").as_text()?.unwrap_or_default();
    let element = request.element("Topics");
    if !request
        .access
        .allowed(Operation::Describe, ResourceType::Group, id)
    {
        let code = request.denial(ResourceType::Group, id);
        let mut answer = error_record(request.answer().fields(), code);
        if request.version < 2 {
            let told = root
                .records("Topics")
                .map(|topic| request.topic_denial(element, topic, code, finish));
            answer.set("Topics", Node::List(told.map(Node::Record).collect()));
        }
        return Ok(request.answered(&answer));
    }
    let part = Part {
        all: !matches!(root.get("Topics"), Node::List(_)),
        denied: Vec::new(),
    };
    if part.all {
        let view = request.access.clone();
        return Ok(Ruling::Rewrite {
            body: None,
            answer: AnswerWork::new(request.api, move |answer, topics| {
                merge(&view, answer, &part, topics)
            }),
        });
    }
    let denied =
        request.take_denied_topics(&mut root, "Topics", Operation::Describe, |topic, code| {
            request.topic_denial(element, topic, code, finish)
        })?;
    if denied.is_empty() || root.list("Topics").is_empty() {
        return Ok(request.partly(&root, "Topics", "Topics", denied));
    }
    let part = Part { denied, ..part };
    let remembered = part.weight();
    let view = request.access.clone();
    Ok(Ruling::Rewrite {
        body: Some(request.encode(&root)),
        answer: AnswerWork::new(request.api, move |answer, topics| {
            merge(&view, answer, &part, topics)
        })
        .remembering(remembered),
    })
}

/// No offset, no metadata.
fn finish(partition: &mut Record<'static>) {
    partition.set("CommittedOffset", Node::Int(-1));
    partition.set("Metadata", Node::text(""));
}
