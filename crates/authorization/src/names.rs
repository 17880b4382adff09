//! A look at the names in a request without making a tree of it: the path of nearly every request.

use auth::acl::{AclView, Operation, ResourceType};
use wire::api::{ApiKey, Direction};
use wire::plan::{Interest, Plans};
use wire::schema::Entity;
use wire::walk::{Field, Value, Visitor, WalkError};

use crate::{Error, TopicNames};

/// What each resource in the request is needed for; `None`: not asked.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Needs {
    pub(crate) topics: Option<Operation>,
    pub(crate) group: Option<Operation>,
    pub(crate) transaction: Option<Operation>,
}

/// Whether everything the request names may be used so, and nobody calls itself a replica. Validates the whole body. Tells no observer: a
/// request that fails here is looked at once more.
pub(crate) fn all_permitted(
    api: ApiKey,
    version: i16,
    body: &[u8],
    needs: Needs,
    access: &AclView,
    topics: &dyn TopicNames,
) -> Result<bool, Error> {
    static NAMES: Plans = Plans::new(Interest::of(&[
        Entity::TopicName,
        Entity::TopicId,
        Entity::GroupId,
        Entity::TransactionalId,
        Entity::ReplicaId,
    ]));
    let plan = NAMES
        .get(api, version, Direction::Request)
        .ok_or(WalkError::UnknownMessage { api, version })?;
    let mut check = Check {
        needs,
        access,
        topics,
        permitted: true,
        not_text: false,
    };
    plan.visit(body, &mut check)?;
    if check.not_text {
        return Err(Error::NotText);
    }
    Ok(check.permitted)
}

/// Topic ids of a message, each once, without the zero id.
pub(crate) fn ids(
    api: ApiKey,
    version: i16,
    dir: Direction,
    body: &[u8],
) -> Result<Vec<[u8; 16]>, Error> {
    static IDS: Plans = Plans::new(Interest::of(&[Entity::TopicId]));
    let plan = IDS
        .get(api, version, dir)
        .ok_or(WalkError::UnknownMessage { api, version })?;
    let mut ids = Ids(Vec::new());
    plan.visit(body, &mut ids)?;
    ids.0.sort_unstable();
    ids.0.dedup();
    Ok(ids.0)
}

/// The first integer of each meaning in a request. Of these meanings: session id, session epoch.
pub(crate) fn integers<const N: usize>(
    api: ApiKey,
    version: i16,
    meanings: [Entity; N],
    body: &[u8],
) -> Result<[Option<i64>; N], Error> {
    static INTEGERS: Plans = Plans::new(Interest::of(&[Entity::SessionId, Entity::SessionEpoch]));
    struct First<const N: usize>([Entity; N], [Option<i64>; N]);
    impl<const N: usize> Visitor for First<N> {
        fn field(&mut self, field: &Field<'_>) {
            let wanted = self.0.iter().position(|entity| *entity == field.entity);
            if let (Value::Int(value), Some(at)) = (field.value, wanted) {
                self.1[at].get_or_insert(value);
            }
        }
    }
    let plan = INTEGERS
        .get(api, version, Direction::Request)
        .ok_or(WalkError::UnknownMessage { api, version })?;
    let mut first = First(meanings, [None; N]);
    plan.visit(body, &mut first)?;
    Ok(first.1)
}

/// Whether the request comes from somebody who calls itself a replica. More than one tag can say so; any one counts.
pub(crate) fn is_replica(api: ApiKey, version: i16, body: &[u8]) -> Result<bool, Error> {
    static REPLICAS: Plans = Plans::new(Interest::of(&[Entity::ReplicaId]));
    struct Replica(bool);
    impl Visitor for Replica {
        fn field(&mut self, field: &Field<'_>) {
            self.0 |= matches!(field.value, Value::Int(id) if id >= 0);
        }
    }
    let plan = REPLICAS
        .get(api, version, Direction::Request)
        .ok_or(WalkError::UnknownMessage { api, version })?;
    let mut replica = Replica(false);
    plan.visit(body, &mut replica)?;
    Ok(replica.0)
}

struct Check<'a> {
    needs: Needs,
    access: &'a AclView,
    topics: &'a dyn TopicNames,
    permitted: bool,
    not_text: bool,
}

impl Visitor for Check<'_> {
    #[inline]
    fn field(&mut self, field: &Field<'_>) {
        let (need, resource_type) = match field.entity {
            Entity::ReplicaId => {
                self.permitted &= !matches!(field.value, Value::Int(id) if id >= 0);
                return;
            }
            Entity::TopicName | Entity::TopicId => (self.needs.topics, ResourceType::Topic),
            Entity::GroupId => (self.needs.group, ResourceType::Group),
            _ => (self.needs.transaction, ResourceType::TransactionalId),
        };
        let Some(operation) = need.filter(|_| self.permitted) else {
            return;
        };
        match field.value {
            Value::Text(Some(name)) => match std::str::from_utf8(name) {
                Ok(name) => self.permitted = self.access.permits(operation, resource_type, name),
                Err(_) => self.not_text = true,
            },
            Value::Uuid(id) if id != [0; 16] => {
                let name = self.topics.name(&id);
                self.permitted =
                    name.is_some_and(|name| self.access.permits(operation, resource_type, &name));
            }
            Value::Uuid(_) => self.permitted = false,
            Value::Text(None) if field.entity == Entity::GroupId => self.permitted = false,
            _ => {}
        }
    }
}

struct Ids(Vec<[u8; 16]>);

impl Visitor for Ids {
    fn field(&mut self, field: &Field<'_>) {
        if let Value::Uuid(id) = field.value
            && id != [0; 16]
        {
            self.0.push(id);
        }
    }
}
