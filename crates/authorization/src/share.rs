//! Share groups (KIP-932): records and offsets.

use auth::acl::{Operation, ResourceType};
use wire::api::ApiKey;

use crate::groups::denied_group;
use crate::names::Needs;
use crate::refusal::{explain, refuse_decoded};
use crate::request::{Request, by_group, refuse_many_twins, take_denied, with_text};
use crate::ruling::{AnswerWork, Error, Ruling, weight};
use wire::tree::{self as message, Node, Record};

/// ShareFetch, ShareAcknowledge: READ on the group, READ on each topic.
///
/// What is left goes to Kafka even if it is nothing: the request also opens, keeps or ends the share session.
pub(crate) fn judge(request: &Request<'_>) -> Result<Ruling, Error> {
    let needs = Needs {
        topics: Some(Operation::Read),
        group: Some(Operation::Read),
        ..Needs::default()
    };
    if request.all_permitted(needs)? {
        return Ok(Ruling::Forward);
    }
    let mut root = request.decode()?;
    if let Some(ruling) = denied_group(request, &root)? {
        return Ok(ruling);
    }
    let element = request.element("Responses");
    let denied =
        request.take_denied_topics(&mut root, "Topics", Operation::Read, |topic, code| {
            let mut told = request.topic_denial(element, topic, code, finish);
            fail_acknowledgements(&mut told, topic, code);
            told
        })?;
    Ok(request.forwarded(&root, "Responses", denied))
}

fn finish(partition: &mut Record<'static>) {
    partition.set("Records", Node::text(""));
}

/// What a ShareFetch acknowledges on the way fails like the rest of its partition.
fn fail_acknowledgements(told: &mut Record<'static>, topic: &Record<'_>, code: i16) {
    let acknowledges = topic
        .records("Partitions")
        .map(|partition| !partition.list("AcknowledgementBatches").is_empty());
    let acknowledges: Vec<bool> = acknowledges.collect();
    told.edit_list("Partitions", |partitions| {
        for (partition, acknowledges) in partitions
            .iter_mut()
            .filter_map(Node::as_record_mut)
            .zip(acknowledges)
        {
            if acknowledges {
                partition.set("AcknowledgeErrorCode", Node::Int(code.into()));
            }
        }
    });
}

/// DescribeShareGroupOffsets: DESCRIBE on each group, DESCRIBE on each topic; where all topics are asked for, the denied ones are left
/// out.
pub(crate) fn describe_offsets(request: &Request<'_>) -> Result<Ruling, Error> {
    let mut root = request.decode()?;
    let element = request.element("Groups");
    let topics = message::element(element, "Topics");
    let refused = take_denied(&mut root, "Groups", |group| {
        let Some(group) = group.as_record() else {
            return Ok(None);
        };
        let id = group.get("GroupId").as_text()?.unwrap_or_default();
        let allowed = request
            .access
            .allowed(Operation::Describe, ResourceType::Group, id);
        let code = request.denial(ResourceType::Group, id);
        Ok((!allowed).then(|| with_text(request.echo(element, group, code), code)))
    })?;
    let mut list = Vec::new();
    root.edit_list("Groups", |groups| std::mem::swap(groups, &mut list));
    let mut denied: Vec<(Vec<u8>, Vec<Node<'static>>)> = Vec::new();
    let mut all = false;
    for group in list.iter_mut().filter_map(Node::as_record_mut) {
        if !matches!(group.get("Topics"), Node::List(_)) {
            all = true;
            continue;
        }
        let told =
            request.take_denied_topics(group, "Topics", Operation::Describe, |topic, code| {
                request.topic_denial(topics, topic, code, no_start)
            })?;
        if !told.is_empty() {
            denied.push((group.get("GroupId").as_bytes().to_vec(), told));
        }
    }
    root.set("Groups", Node::List(list));
    let changed = !refused.is_empty() || !denied.is_empty();
    if root.list("Groups").is_empty() || !(changed || all) {
        return Ok(request.partly(&root, "Groups", "Groups", refused));
    }
    let body = changed.then(|| request.encode(&root));
    let view = request.access.clone();
    let named = root
        .records("Groups")
        .map(|group| group.get("GroupId").as_bytes());
    refuse_many_twins(named)?;
    let topics = denied
        .iter()
        .map(|(group, told)| group.len() + weight(told));
    let remembered = weight(&refused) + topics.sum::<usize>();
    let denied = by_group(denied);
    let answer = AnswerWork::new(request.api, move |answer, _| {
        answer.edit_list("Groups", |groups| {
            for group in groups.iter_mut().filter_map(Node::as_record_mut) {
                let told = denied.get(group.get("GroupId").as_bytes());
                let told = told.filter(|_| group.int("ErrorCode") == 0);
                group.edit_list("Topics", |topics| {
                    topics.retain(|topic| {
                        let name = topic
                            .as_record()
                            .and_then(|topic| topic.get("TopicName").as_text().ok().flatten());
                        name.is_some_and(|name| {
                            view.permits(Operation::Describe, ResourceType::Topic, name)
                        })
                    });
                    topics.extend(told.into_iter().flatten().flatten().cloned());
                });
            }
            groups.extend(refused.iter().cloned());
        });
    });
    let answer = answer.remembering(remembered);
    Ok(Ruling::Rewrite { body, answer })
}

fn no_start(partition: &mut Record<'static>) {
    explain(partition);
    partition.set("StartOffset", Node::Int(-1));
}

/// AlterShareGroupOffsets: READ on the group. DeleteShareGroupOffsets: DELETE on the group. Both: READ on each topic.
pub(crate) fn change_offsets(request: &Request<'_>) -> Result<Ruling, Error> {
    let mut root = request.decode()?;
    let group = match request.api {
        ApiKey::DELETE_SHARE_GROUP_OFFSETS => Operation::Delete,
        _ => Operation::Read,
    };
    let id = root.get("GroupId").as_text()?.unwrap_or_default();
    if !request.access.allowed(group, ResourceType::Group, id) {
        return refuse_decoded(request, &root, request.denial(ResourceType::Group, id));
    }
    let element = request.element("Responses");
    let denied =
        request.take_denied_topics(&mut root, "Topics", Operation::Read, |topic, code| {
            with_text(request.topic_denial(element, topic, code, explain), code)
        })?;
    Ok(request.forwarded(&root, "Responses", denied))
}
