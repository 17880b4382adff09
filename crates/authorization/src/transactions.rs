//! Producer ids and transactions.

use auth::acl::{CLUSTER_NAME, Operation, ResourceType};
use wire::error_code::CLUSTER_AUTHORIZATION_FAILED;

use crate::names::Needs;
use crate::refusal::{nothing, refuse, refuse_decoded};
use crate::request::{Request, error_record, take_denied};
use crate::ruling::{AnswerWork, Error, Ruling, weight};
use wire::tree::{self as message, Node, Record};

/// A part of a batch was not looked at because another part failed.
const OPERATION_NOT_ATTEMPTED: i16 = 55;

/// InitProducerId: WRITE on the transactional id (and TWO_PHASE_COMMIT if asked for, KIP-939). Without one IDEMPOTENT_WRITE on the
/// cluster, or WRITE on any topic (KIP-679).
pub(crate) fn init_producer_id(request: &Request<'_>) -> Result<Ruling, Error> {
    let root = request.decode()?;
    let access = request.access;
    let Some(id) = root.get("TransactionalId").as_text()? else {
        let cluster = access.permits(
            Operation::IdempotentWrite,
            ResourceType::Cluster,
            CLUSTER_NAME,
        );
        if cluster
            || access.allowed_any_topic(Operation::Write)
            || access.allowed_cluster(Operation::IdempotentWrite)
        {
            return Ok(Ruling::Forward);
        }
        return refuse_decoded(request, &root, CLUSTER_AUTHORIZATION_FAILED);
    };
    let two_phase = root.int("Enable2Pc") != 0;
    let allowed = access.allowed(Operation::Write, ResourceType::TransactionalId, id)
        && (!two_phase
            || access.allowed(Operation::TwoPhaseCommit, ResourceType::TransactionalId, id));
    if allowed {
        return Ok(Ruling::Forward);
    }
    let code = request.denial(ResourceType::TransactionalId, id);
    refuse_decoded(request, &root, code)
}

/// AddOffsetsToTxn, EndTxn: WRITE on the transactional id; READ on the group if there is one.
pub(crate) fn whole(request: &Request<'_>) -> Result<Ruling, Error> {
    let root = request.decode()?;
    Ok(denied_ids(request, &root)?.unwrap_or(Ruling::Forward))
}

/// WRITE on the transactional id, READ on the group, READ on each topic.
pub(crate) fn offset_commit(request: &Request<'_>) -> Result<Ruling, Error> {
    let needs = Needs {
        topics: Some(Operation::Read),
        group: Some(Operation::Read),
        transaction: Some(Operation::Write),
    };
    if request.all_permitted(needs)? {
        return Ok(Ruling::Forward);
    }
    let mut root = request.decode()?;
    if let Some(ruling) = denied_ids(request, &root)? {
        return Ok(ruling);
    }
    let element = request.element("Topics");
    let denied =
        request.take_denied_topics(&mut root, "Topics", Operation::Read, |topic, code| {
            request.topic_denial(element, topic, code, nothing)
        })?;
    Ok(request.partly(&root, "Topics", "Topics", denied))
}

fn denied_ids(request: &Request<'_>, root: &Record<'_>) -> Result<Option<Ruling>, Error> {
    let id = root.get("TransactionalId").as_text()?.unwrap_or_default();
    if !request
        .access
        .allowed(Operation::Write, ResourceType::TransactionalId, id)
    {
        let code = request.denial(ResourceType::TransactionalId, id);
        return refuse_decoded(request, root, code).map(Some);
    }
    if let Some(group) = root.get("GroupId").as_text()?
        && !request
            .access
            .allowed(Operation::Read, ResourceType::Group, group)
    {
        let code = request.denial(ResourceType::Group, group);
        return refuse_decoded(request, root, code).map(Some);
    }
    Ok(None)
}

/// WRITE on the transactional id and on each topic; if one topic is denied nothing is attempted. From version 4 on, which is for
/// brokers, also what brokers may do, and every transaction of the batch on its own.
pub(crate) fn add_partitions(request: &Request<'_>) -> Result<Ruling, Error> {
    let mut root = request.decode()?;
    if request.version < 4 {
        let id = root
            .get("V3AndBelowTransactionalId")
            .as_text()?
            .unwrap_or_default();
        if !request
            .access
            .allowed(Operation::Write, ResourceType::TransactionalId, id)
        {
            let code = request.denial(ResourceType::TransactionalId, id);
            return refuse_decoded(request, &root, code);
        }
        let element = request.element("ResultsByTopicV3AndBelow");
        let Some(told) = denied_topics(request, &root, "V3AndBelowTopics", element)? else {
            return Ok(Ruling::Forward);
        };
        let mut answer = request.answer();
        answer.set("ResultsByTopicV3AndBelow", told);
        return Ok(request.answered(&answer));
    }
    if !request.access.allowed_cluster(Operation::ClusterAction) {
        return refuse_decoded(request, &root, CLUSTER_AUTHORIZATION_FAILED);
    }
    let element = request.element("ResultsByTransaction");
    let topics = message::element(element, "TopicResults");
    let denied = take_denied(&mut root, "Transactions", |transaction| {
        let Some(transaction) = transaction.as_record() else {
            return Ok(None);
        };
        let id = transaction
            .get("TransactionalId")
            .as_text()?
            .unwrap_or_default();
        let results = if request
            .access
            .allowed(Operation::Write, ResourceType::TransactionalId, id)
        {
            denied_topics(request, transaction, "Topics", topics)?
        } else {
            let code = request.denial(ResourceType::TransactionalId, id);
            let told = transaction
                .records("Topics")
                .map(|topic| request.topic_denial(topics, topic, code, nothing));
            Some(Node::List(told.map(Node::Record).collect()))
        };
        Ok(results.map(|results| {
            let mut told = request.echo(element, transaction, 0);
            told.set("TopicResults", results);
            told
        }))
    })?;
    Ok(request.partly(&root, "Transactions", "ResultsByTransaction", denied))
}

/// Results for all topics if one of them is denied.
fn denied_topics(
    request: &Request<'_>,
    holder: &Record<'_>,
    array: &str,
    element: &'static [wire::schema::FieldSpec],
) -> Result<Option<Node<'static>>, Error> {
    let mut codes = Vec::new();
    for topic in holder.records(array) {
        codes.push(request.topic_error(Operation::Write, topic)?);
    }
    if codes.iter().all(|code| *code == 0) {
        return Ok(None);
    }
    let told = holder.records(array).zip(codes).map(|(topic, code)| {
        let code = if code == 0 {
            OPERATION_NOT_ATTEMPTED
        } else {
            code
        };
        Node::Record(request.topic_denial(element, topic, code, nothing))
    });
    Ok(Some(Node::List(told.collect())))
}

/// WriteTxnMarkers: ALTER on the cluster (the admin client aborts transactions so), or what brokers may do.
pub(crate) fn markers(request: &Request<'_>) -> Result<Ruling, Error> {
    let access = request.access;
    let alter = access.permits(Operation::Alter, ResourceType::Cluster, CLUSTER_NAME);
    if alter || access.allowed_cluster(Operation::ClusterAction) {
        return Ok(Ruling::Forward);
    }
    refuse(request, CLUSTER_AUTHORIZATION_FAILED)
}

/// DescribeTransactions: DESCRIBE on each transactional id; topics without DESCRIBE are left out.
pub(crate) fn describe(request: &Request<'_>) -> Result<Ruling, Error> {
    let mut root = request.decode()?;
    let element = request.element("TransactionStates");
    let denied = take_denied(&mut root, "TransactionalIds", |id| {
        let name = id.as_text()?.unwrap_or_default();
        let allowed =
            request
                .access
                .allowed(Operation::Describe, ResourceType::TransactionalId, name);
        Ok((!allowed).then(|| {
            let mut told =
                error_record(element, request.denial(ResourceType::TransactionalId, name));
            told.set("TransactionalId", id.to_owned());
            told
        }))
    })?;
    if root.list("TransactionalIds").is_empty() {
        return Ok(request.partly(&root, "TransactionalIds", "TransactionStates", denied));
    }
    let body = (!denied.is_empty()).then(|| request.encode(&root));
    let view = request.access.clone();
    let remembered = weight(&denied);
    let answer = AnswerWork::new(request.api, move |answer, _| {
        answer.edit_list("TransactionStates", |states| {
            for state in states.iter_mut().filter_map(Node::as_record_mut) {
                state.edit_list("Topics", |topics| {
                    topics.retain(|topic| {
                        let name = topic
                            .as_record()
                            .and_then(|topic| topic.get("Topic").as_text().ok().flatten());
                        name.is_some_and(|name| {
                            view.permits(Operation::Describe, ResourceType::Topic, name)
                        })
                    });
                });
            }
            states.extend(denied.iter().cloned());
        });
    });
    let answer = answer.remembering(remembered);
    Ok(Ruling::Rewrite { body, answer })
}

/// ListTransactions: only ids with DESCRIBE.
pub(crate) fn list(request: &Request<'_>) -> Result<Ruling, Error> {
    let view = request.access.clone();
    let answer = AnswerWork::new(request.api, move |answer, _| {
        answer.edit_list("TransactionStates", |states| {
            states.retain(|state| {
                let id = state
                    .as_record()
                    .and_then(|state| state.get("TransactionalId").as_text().ok().flatten());
                id.is_some_and(|id| {
                    view.permits(Operation::Describe, ResourceType::TransactionalId, id)
                })
            });
        });
    });
    Ok(Ruling::Rewrite { body: None, answer })
}
