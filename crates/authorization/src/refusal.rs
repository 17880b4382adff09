//! Answers that refuse a whole request: an error code at top level where the answer has one, else one in each of its parts.

use std::collections::BTreeSet;

use wire::api::ApiKey;
use wire::schema::Entity;

use crate::request::{Request, error_record, with_text};
use crate::ruling::{Error, Ruling};
use wire::tree::{Node, Record};

/// Refuses the whole request in the shape of its API.
pub(crate) fn refuse(request: &Request<'_>, code: i16) -> Result<Ruling, Error> {
    let root = request.decode()?;
    refuse_decoded(request, &root, code)
}

/// As [`refuse`], for a request that is a tree already.
pub(crate) fn refuse_decoded(
    request: &Request<'_>,
    root: &Record<'_>,
    code: i16,
) -> Result<Ruling, Error> {
    let mut answer = with_text(error_record(request.answer().fields(), code), code);
    match request.api {
        ApiKey::PRODUCE if root.int("Acks") == 0 => return Ok(Ruling::Close),
        ApiKey::PRODUCE => {
            let element = request.element("Responses");
            let each = root.records("TopicData").map(|topic| {
                let mut denial = request.topic_denial(element, topic, code, crate::produce::finish);
                denial.edit_list("PartitionResponses", |partitions| {
                    for partition in partitions.iter_mut().filter_map(Node::as_record_mut) {
                        partition.set("ErrorMessage", Node::text(crate::request::text(code)));
                    }
                });
                Node::Record(denial)
            });
            answer.set("Responses", Node::List(each.collect()));
        }
        ApiKey::FETCH if request.version < 7 => {
            mirror(
                request,
                root,
                &mut answer,
                "Topics",
                "Responses",
                code,
                crate::fetch::finish,
            );
        }
        ApiKey::LIST_OFFSETS
        | ApiKey::OFFSET_FOR_LEADER_EPOCH
        | ApiKey::OFFSET_COMMIT
        | ApiKey::TXN_OFFSET_COMMIT => mirror(
            request,
            root,
            &mut answer,
            "Topics",
            "Topics",
            code,
            nothing,
        ),
        ApiKey::ADD_PARTITIONS_TO_TXN if request.version < 4 => {
            mirror(
                request,
                root,
                &mut answer,
                "V3AndBelowTopics",
                "ResultsByTopicV3AndBelow",
                code,
                nothing,
            );
        }
        ApiKey::ALTER_REPLICA_LOG_DIRS => {
            for dir in root.records("Dirs") {
                mirror(
                    request,
                    dir,
                    &mut answer,
                    "Topics",
                    "Results",
                    code,
                    nothing,
                );
            }
        }
        ApiKey::ELECT_LEADERS => {
            mirror(
                request,
                root,
                &mut answer,
                "TopicPartitions",
                "ReplicaElectionResults",
                code,
                explain,
            );
        }
        ApiKey::ALTER_PARTITION_REASSIGNMENTS => {
            mirror(
                request,
                root,
                &mut answer,
                "Topics",
                "Responses",
                code,
                explain,
            );
        }
        ApiKey::WRITE_TXN_MARKERS => markers(request, root, &mut answer, code),
        ApiKey::CREATE_ACLS => each(request, root, &mut answer, "Creations", "Results", code),
        ApiKey::DELETE_ACLS => each(request, root, &mut answer, "Filters", "FilterResults", code),
        ApiKey::ALTER_CLIENT_QUOTAS => {
            each(request, root, &mut answer, "Entries", "Entries", code);
            answer.edit_list("Entries", |told| {
                for (told, asked) in told
                    .iter_mut()
                    .filter_map(Node::as_record_mut)
                    .zip(root.records("Entries"))
                {
                    told.set("Entity", entities(request, asked));
                }
            });
        }
        ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS => {
            each(request, root, &mut answer, "Users", "Results", code);
        }
        ApiKey::LIST_PARTITION_REASSIGNMENTS => {
            mirror(
                request,
                root,
                &mut answer,
                "Topics",
                "Topics",
                code,
                nothing,
            );
        }
        ApiKey::ALTER_USER_SCRAM_CREDENTIALS => users(request, root, &mut answer, code),
        ApiKey::DESCRIBE_CLIENT_QUOTAS => answer.set("Entries", Node::Null),
        ApiKey::INIT_PRODUCER_ID => answer.set("ProducerEpoch", Node::Int(-1)),
        ApiKey::JOIN_GROUP if request.version >= 7 => answer.set("ProtocolName", Node::Null),
        _ => {}
    }
    Ok(request.answered(&answer))
}

/// Nothing to add to a partition.
pub(crate) fn nothing(_partition: &mut Record<'static>) {}

/// Adds the text of the error code.
pub(crate) fn explain(partition: &mut Record<'static>) {
    let code = partition.meaning(Entity::ErrorCode).as_int() as i16;
    let fields = partition.fields();
    if let Some(spec) = fields
        .iter()
        .find(|spec| spec.entity == Entity::ErrorMessage)
    {
        partition.set(spec.name, Node::text(crate::request::text(code)));
    }
}

/// The error for every partition of every topic.
fn mirror(
    request: &Request<'_>,
    asked: &Record<'_>,
    answer: &mut Record<'static>,
    requested: &str,
    answered: &str,
    code: i16,
    finish: fn(&mut Record<'static>),
) {
    let element = request.element(answered);
    answer.edit_list(answered, |list| {
        let told = asked
            .records(requested)
            .map(|topic| request.topic_denial(element, topic, code, finish));
        list.extend(told.map(Node::Record));
    });
}

/// The error for every element, by position.
fn each(
    request: &Request<'_>,
    root: &Record<'_>,
    answer: &mut Record<'static>,
    requested: &str,
    answered: &str,
    code: i16,
) {
    let element = request.element(answered);
    let one = with_text(error_record(element, code), code);
    let count = root.list(requested).len();
    answer.set(answered, Node::List(vec![Node::Record(one); count]));
}

fn markers(request: &Request<'_>, root: &Record<'_>, answer: &mut Record<'static>, code: i16) {
    let element = request.element("Markers");
    let topics = wire::tree::element(element, "Topics");
    let told = root.records("Markers").map(|marker| {
        let mut told = request.echo(element, marker, code);
        let denied = marker
            .records("Topics")
            .map(|topic| request.topic_denial(topics, topic, code, nothing));
        told.set("Topics", Node::List(denied.map(Node::Record).collect()));
        Node::Record(told)
    });
    answer.set("Markers", Node::List(told.collect()));
}

fn entities(request: &Request<'_>, entry: &Record<'_>) -> Node<'static> {
    let element = wire::tree::element(request.element("Entries"), "Entity");
    let told = entry.records("Entity").map(|entity| {
        let mut told = Record::new(element);
        told.set("EntityType", entity.get("EntityType").to_owned());
        told.set("EntityName", entity.get("EntityName").to_owned());
        Node::Record(told)
    });
    Node::List(told.collect())
}

fn users(request: &Request<'_>, root: &Record<'_>, answer: &mut Record<'static>, code: i16) {
    let element = request.element("Results");
    let names = root.records("Deletions").chain(root.records("Upsertions"));
    let names: BTreeSet<&[u8]> = names.map(|user| user.get("Name").as_bytes()).collect();
    let told = names.into_iter().map(|name| {
        let mut told = with_text(error_record(element, code), code);
        told.set("User", Node::Text(name.to_vec().into()));
        Node::Record(told)
    });
    answer.set("Results", Node::List(told.collect()));
}
