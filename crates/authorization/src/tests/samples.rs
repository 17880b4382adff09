//! Requests and answers made from the schema table, with chosen names wherever something is named.

use std::sync::Arc;

use auth::acl::{AclView, Acls, Binding, Operation, PatternType, Permission, ResourceType};
use wire::api::{ApiKey, Direction};
use wire::schema::{Entity, FieldSpec, FieldType};

use crate::TopicNames;
use wire::tree::{self as message, Node, Record};

/// What alice may do everything with.
pub(super) const GOOD: &str = "good-one";
/// What she may do nothing with.
pub(super) const BAD: &str = "bad-one";

/// The ids of both.
pub(super) struct Ids;

impl TopicNames for Ids {
    fn name(&self, id: &[u8; 16]) -> Option<Arc<str>> {
        [GOOD, BAD]
            .into_iter()
            .find(|name| id_of(name) == *id)
            .map(Arc::from)
    }

    fn all(&self) -> Option<Vec<Arc<str>>> {
        Some(vec![GOOD.into(), BAD.into()])
    }
}

pub(super) fn id_of(name: &str) -> [u8; 16] {
    [if name == GOOD { 7 } else { 9 }; 16]
}

/// One binding for alice.
pub(super) fn grant(operation: Operation, resource_type: ResourceType, name: &str) -> Binding {
    Binding {
        resource_type,
        pattern_type: PatternType::Literal,
        resource_name: name.into(),
        principal: "User:alice".into(),
        host: "*".into(),
        operation,
        permission: Permission::Allow,
    }
}

pub(super) fn alice(bindings: impl IntoIterator<Item = Binding>) -> AclView {
    let acls = Acls::from_iter(bindings.into_iter().map(|binding| ("vc".into(), binding)));
    AclView::checked(&acls, "vc", "alice", "192.0.2.1")
}

/// Everything on topics, groups and transactional ids of the good name; nothing on the cluster.
pub(super) fn usual() -> AclView {
    let types = [
        ResourceType::Topic,
        ResourceType::Group,
        ResourceType::TransactionalId,
    ];
    alice(types.map(|resource_type| grant(Operation::All, resource_type, GOOD)))
}

/// A message in which each array has one element for each name, and whatever stands outside of an array has the first. Topics are given
/// by id where the version has ids, if `by_id` or if it has no names.
pub(super) struct Sample<'n> {
    pub(super) api: ApiKey,
    pub(super) version: i16,
    pub(super) dir: Direction,
    pub(super) names: &'n [&'n str],
    pub(super) by_id: bool,
}

impl Sample<'_> {
    pub(super) fn tree(&self) -> Record<'static> {
        self.record(
            message::message(self.api, self.dir),
            self.names.first().copied().unwrap_or(GOOD),
        )
    }

    pub(super) fn body(&self) -> Vec<u8> {
        message::encode(self.api, self.version, self.dir, &self.tree())
    }

    fn record(&self, fields: &'static [FieldSpec], name: &str) -> Record<'static> {
        let mut record = Record::new(fields);
        let has_id = fields
            .iter()
            .any(|spec| spec.entity == Entity::TopicId && spec.versions.contains(self.version));
        let has_name = fields.iter().any(|spec| {
            spec.entity == Entity::TopicName && !spec.array && spec.versions.contains(self.version)
        });
        let by_id = has_id && (self.by_id || !has_name);
        for spec in fields
            .iter()
            .filter(|spec| spec.versions.contains(self.version))
        {
            let value = match (spec.entity, spec.ty) {
                // To forget a topic takes no right, and needs to reach the session.
                _ if self.api == ApiKey::SHARE_FETCH && spec.name == "ForgottenTopicsData" => {
                    Node::Absent
                }
                (_, FieldType::Struct(inner)) if spec.array => {
                    let each = self
                        .names
                        .iter()
                        .map(|name| Node::Record(self.record(inner, name)));
                    Node::List(each.collect())
                }
                (_, FieldType::Struct(inner)) if !spec.nullable.contains(self.version) => {
                    Node::Record(self.record(inner, name))
                }
                (Entity::TopicName, _)
                    if by_id && !spec.array && spec.nullable.contains(self.version) =>
                {
                    Node::Null
                }
                (
                    Entity::TopicName
                    | Entity::GroupId
                    | Entity::TransactionalId
                    | Entity::CoordinatorKey
                    | Entity::ResourceName,
                    _,
                ) => match spec.array {
                    true => Node::List(self.names.iter().map(|name| Node::text(name)).collect()),
                    false => Node::text(name),
                },
                (Entity::TopicId, _) if by_id => Node::Uuid(id_of(name)),
                (Entity::ResourceType, _) if !spec.array => {
                    Node::Int(ResourceType::Topic.code().into())
                }
                (Entity::ReplicaId, _) => Node::Int(-1),
                (Entity::Acks, _) => Node::Int(1),
                (Entity::Records, _) => Node::text("records"),
                _ if spec.array && spec.name.starts_with("Partition") => Node::Ints(vec![0, 1]),
                _ => Node::Absent,
            };
            record.set(spec.name, value);
        }
        record
    }
}

/// Whether the bytes mention the name or the id of it.
pub(super) fn mentions(body: &[u8], name: &str) -> bool {
    let found = |part: &[u8]| body.windows(part.len()).any(|window| window == part);
    found(name.as_bytes()) || found(&id_of(name))
}

/// Error codes of everything that has the name, in it and below.
pub(super) fn codes_of(record: &Record<'_>, name: &str) -> Vec<i16> {
    let mut codes = Vec::new();
    collect(record, name, false, &mut codes);
    codes
}

/// All error codes of a message.
pub(super) fn all_codes(record: &Record<'_>) -> Vec<i16> {
    let mut codes = Vec::new();
    collect(record, "", true, &mut codes);
    codes
}

fn collect(record: &Record<'_>, name: &str, mut inside: bool, codes: &mut Vec<i16>) {
    for spec in record.fields() {
        inside |= match record.get(spec.name) {
            Node::Text(text) => **text == *name.as_bytes() && spec.entity != Entity::None,
            Node::Uuid(id) => *id == id_of(name) && spec.entity == Entity::TopicId,
            _ => false,
        };
    }
    for spec in record.fields() {
        match record.get(spec.name) {
            Node::Int(code) if inside && spec.entity == Entity::ErrorCode => {
                codes.push(*code as i16)
            }
            Node::List(list) => {
                for element in list.iter().filter_map(Node::as_record) {
                    collect(element, name, inside, codes);
                }
            }
            Node::Record(inner) => collect(inner, name, inside, codes),
            _ => {}
        }
    }
}
