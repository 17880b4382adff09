//! Produce.

use auth::acl::{Operation, ResourceType};

use crate::names::Needs;
use crate::refusal::refuse_decoded;
use crate::request::Request;
use crate::ruling::{Error, Ruling};
use wire::tree::{Node, Record};

/// WRITE on each topic, and on the transactional id if the records belong to a transaction.
pub(crate) fn judge(request: &Request<'_>) -> Result<Ruling, Error> {
    let needs = Needs {
        topics: Some(Operation::Write),
        transaction: Some(Operation::Write),
        ..Needs::default()
    };
    if request.all_permitted(needs)? {
        return Ok(Ruling::Forward);
    }
    let mut root = request.decode()?;
    // Without an id the broker refuses transactional records itself.
    if let Some(id) = root.get("TransactionalId").as_text()?
        && is_transactional(&root)
        && !request
            .access
            .allowed(Operation::Write, ResourceType::TransactionalId, id)
    {
        let code = request.denial(ResourceType::TransactionalId, id);
        return refuse_decoded(request, &root, code);
    }
    let element = request.element("Responses");
    let denied =
        request.take_denied_topics(&mut root, "TopicData", Operation::Write, |topic, code| {
            request.topic_denial(element, topic, code, finish)
        })?;
    if !denied.is_empty() && root.int("Acks") == 0 {
        // Nobody waits for an answer: as in Kafka, the end of the connection is what tells the producer.
        return Ok(Ruling::Close);
    }
    Ok(request.partly(&root, "TopicData", "Responses", denied))
}

/// What a partition's answer holds besides the error.
pub(crate) fn finish(partition: &mut Record<'static>) {
    partition.set("BaseOffset", Node::Int(-1));
}

/// Whether the first batch of some partition belongs to a transaction; the broker takes no more than one batch for each partition.
fn is_transactional(root: &Record<'_>) -> bool {
    const MAGIC: usize = 16;
    const ATTRIBUTES_LOW: usize = 22;
    const TRANSACTIONAL: u8 = 0x10;
    let mut partitions = root
        .records("TopicData")
        .flat_map(|topic| topic.records("PartitionData"));
    partitions.any(|partition| {
        let records = partition.get("Records").as_bytes();
        records.get(MAGIC).is_some_and(|magic| *magic >= 2)
            && records
                .get(ATTRIBUTES_LOW)
                .is_some_and(|attributes| attributes & TRANSACTIONAL != 0)
    })
}
