//! Parts of answers made out of parts of requests: the same names, an error code.

use crate::schema::{Entity, FieldSpec, FieldType};
use crate::tree::{Node, Record};

/// A struct of an answer with its own error code set, if it has one.
pub fn error_record(fields: &'static [FieldSpec], code: i16) -> Record<'static> {
    let mut record = Record::new(fields);
    let field = fields
        .iter()
        .find(|spec| spec.entity == Entity::ErrorCode && !spec.array);
    if let Some(spec) = field {
        record.set(spec.name, Node::Int(code.into()));
    }
    record
}

/// An element of an answer with the names of the request's and an error code.
pub fn echo(element: &'static [FieldSpec], asked: &Record<'_>, code: i16) -> Record<'static> {
    const SAME: [Entity; 7] = [
        Entity::TopicName,
        Entity::TopicId,
        Entity::GroupId,
        Entity::TransactionalId,
        Entity::ResourceName,
        Entity::ResourceType,
        Entity::ProducerId,
    ];
    let mut told = error_record(element, code);
    for spec in element.iter().filter(|spec| SAME.contains(&spec.entity)) {
        told.set(spec.name, asked.meaning(spec.entity).to_owned());
    }
    told
}

/// What an answer says of a topic of the request with all the partitions it asks for. `finish` sets what of a partition is neither named in
/// the request nor a default.
pub fn topic_error(
    element: &'static [FieldSpec],
    topic: &Record<'_>,
    code: i16,
    finish: fn(&mut Record<'static>),
) -> Record<'static> {
    let mut told = echo(element, topic, code);
    for spec in element.iter().filter(|spec| spec.array) {
        let FieldType::Struct(partition) = spec.ty else {
            continue;
        };
        let Some(index) = partition.iter().find(|spec| is_partition(spec)) else {
            continue;
        };
        let each = partitions(topic).into_iter().map(|value| {
            let mut told = error_record(partition, code);
            told.set(index.name, Node::Int(value));
            finish(&mut told);
            Node::Record(told)
        });
        told.set(spec.name, Node::List(each.collect()));
    }
    told
}

/// Partitions that a topic of a request asks for.
pub fn partitions(topic: &Record<'_>) -> Vec<i64> {
    for spec in topic.fields() {
        match topic.get(spec.name) {
            Node::Ints(partitions) if spec.name.starts_with("Partition") => {
                return partitions.clone();
            }
            Node::List(list)
                if list
                    .iter()
                    .filter_map(Node::as_record)
                    .any(|record| record.fields().iter().any(is_partition)) =>
            {
                let index = |record: &Record<'_>| {
                    let index = record.fields().iter().find(|spec| is_partition(spec));
                    index.map(|spec| record.int(spec.name))
                };
                return list
                    .iter()
                    .filter_map(Node::as_record)
                    .filter_map(index)
                    .collect();
            }
            _ => {}
        }
    }
    Vec::new()
}

/// ElectLeaders alone calls it by another name, without an entity.
fn is_partition(spec: &FieldSpec) -> bool {
    !spec.array && (spec.entity == Entity::Partition || spec.name == "PartitionId")
}
