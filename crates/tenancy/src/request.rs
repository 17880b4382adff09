//! Requests on their way to Kafka: the one place where a client's names become physical.
//!
//! A request comes here after access control has judged it on the client's own names. So every name in it may be used; what is left is what
//! it is called in Kafka, and a few things that access control knows nothing of.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use bytes::Bytes;
use wire::api::{ApiKey, Direction};
use wire::error_code::UNKNOWN_TOPIC_ID;
use wire::plan::{Interest, Plans};
use wire::schema::{Entity, FieldSpec};
use wire::tree::{self, Node, Record, TreeError};
use wire::walk::{Field, Value, Visitor, WalkError};

use crate::answer::{Back, Told};
use crate::blob::{self, Blob};
use crate::ids::{AliasIds, TopicId, Topics};
use crate::pattern::Expression;
use crate::rules::{Rule, rule};
use crate::tenant::Tenant;
use crate::{aliases, special};

/// What changes in a Produce request.
const INTEREST: Interest =
    Interest::of(&[Entity::TopicName, Entity::TopicId, Entity::TransactionalId]);

/// What a request is mapped with.
pub struct Context<'a> {
    /// The virtual cluster of the client.
    pub tenant: &'a Arc<Tenant>,
    /// Knows the ids that [`topic_ids`] lists and those of the targets of aliases, as far as anybody does.
    pub topics: &'a dyn Topics,
    /// Counts requests: where two names of one topic cannot go in one request, they take turns.
    pub turn: &'a Cell<usize>,
    /// Whether topics may be configured through their aliases.
    pub configures_aliases: bool,
    /// `GATEWAY_AUTO_CREATE_TOPICS_ENABLED`
    pub auto_creation: bool,
    /// What the member of a group that sends this has subscribed to before, of topics that have several names.
    pub subscribed: &'a [String],
    /// The [`transactional_id_pattern`](crate::transactional_id_pattern) of the request; `None`: it has none, or one that cannot be used.
    pub expression: Option<&'a Arc<Expression>>,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Mapped {
    /// It goes as it is, and so does its answer.
    AsIs,
    /// It goes in this form.
    Forward {
        /// Version of the body and of the answer.
        version: i16,
        /// Instead of the client's; `None`: the client's.
        body: Option<Bytes>,
        /// What is done to the answer.
        back: Option<Box<Back>>,
    },
    /// The body of an answer in the request's version; Kafka is not asked.
    Answer(Vec<u8>),
    /// To be mapped again with [`Topics::all`]. Never the second time.
    ListTopics,
    /// Not for clients of a virtual cluster: the connection is closed.
    Close,
}

/// Ids of topics in a request, each once. Does not look at requests that have none.
pub fn topic_ids(api: ApiKey, version: i16, body: &[u8]) -> Result<Vec<TopicId>, TreeError> {
    static IDS: Plans = Plans::new(Interest::of(&[Entity::TopicId]));
    let plan = IDS
        .get(api, version, Direction::Request)
        .ok_or(WalkError::UnknownMessage { api, version })?;
    let mut ids = Ids(Vec::new());
    if plan.is_interested() {
        plan.visit(body, &mut ids)?;
        ids.0.sort_unstable();
        ids.0.dedup();
    }
    Ok(ids.0)
}

struct Ids(Vec<TopicId>);

impl Visitor for Ids {
    fn field(&mut self, field: &Field<'_>) {
        if let Value::Uuid(id) = field.value
            && id != [0; 16]
        {
            self.0.push(id);
        }
    }
}

/// Gives a request the names that Kafka knows.
///
/// # Errors
/// The body is not understood, though somebody else has understood it before.
pub fn map(
    api: ApiKey,
    version: i16,
    body: &[u8],
    context: &Context<'_>,
) -> Result<Mapped, TreeError> {
    match rule(api) {
        Some(Rule::Mapped) => {}
        // Where names are the brokers' own but for aliases, rights have decided already.
        Some(Rule::Never) if context.tenant.is_passthrough() => return Ok(Mapped::AsIs),
        Some(Rule::Never) | None => return Ok(Mapped::Close),
    }
    if needs_nothing(api, version, body, context.tenant) {
        return Ok(Mapped::AsIs);
    }
    let dir = Direction::Request;
    // Whoever takes aliases out of a request looks at all of it.
    let mut root = match api == ApiKey::PRODUCE && !context.tenant.has_aliases() {
        true => tree::decode_around(api, version, dir, body, INTEREST)?,
        false => tree::decode(api, version, dir, body)?,
    };
    let mut told = Told::new(api, context.tenant);
    let mut asked = Asked {
        api,
        version,
        upstream: version,
        changed: false,
    };
    if let Some(instead) = special::prepare(&mut asked, &mut root, &mut told, context)? {
        return Ok(instead);
    }
    if context.tenant.has_aliases()
        && let Some(instead) = aliases::take_out(&mut asked, &mut root, &mut told, context)?
    {
        return Ok(instead);
    }
    let mut up = Up {
        context,
        ids: AliasIds::new(context.tenant, context.topics),
        told: &mut told,
        changed: &mut asked.changed,
        foreign: false,
        lenient: false,
    };
    up.record(&mut root, Surroundings::default())?;
    for name in context.subscribed {
        up.learn(name, None);
    }
    if up.foreign {
        let refused = wire::build::error_response(api, version, UNKNOWN_TOPIC_ID);
        return Ok(refused.map_or(Mapped::Close, Mapped::Answer));
    }
    let upstream = asked.upstream;
    let body = (asked.changed || upstream != version)
        .then(|| tree::encode(api, upstream, dir, &root).into());
    let back = told.into_back(upstream);
    Ok(match (&body, &back) {
        (None, None) => Mapped::AsIs,
        _ => Mapped::Forward {
            version: upstream,
            body,
            back: back.map(Box::new),
        },
    })
}

/// What is asked of Kafka in the place of what was asked.
pub(crate) struct Asked {
    pub(crate) api: ApiKey,
    /// The version that came.
    pub(crate) version: i16,
    /// The version that goes.
    pub(crate) upstream: i16,
    /// The tree is another one than came.
    pub(crate) changed: bool,
}

/// Large requests that name topics by id only, which are the same in Kafka: not looked at.
fn needs_nothing(api: ApiKey, version: i16, body: &[u8], tenant: &Tenant) -> bool {
    const FIRST_BY_ID: i16 = 13;
    const NO_TRANSACTION: u8 = 0;
    api == ApiKey::PRODUCE
        && version >= FIRST_BY_ID
        && !tenant.has_aliases()
        && body.first() == Some(&NO_TRANSACTION)
}

struct Up<'u, 'c> {
    context: &'u Context<'c>,
    ids: AliasIds,
    told: &'u mut Told,
    changed: &'u mut bool,
    /// There is the id of a topic that the virtual cluster does not have.
    foreign: bool,
    /// Ids that nobody knows do no harm here.
    lenient: bool,
}

/// What fields mean by others around them.
#[derive(Clone, Copy, Default)]
pub(crate) struct Surroundings {
    /// Type of the resource that is named.
    pub(crate) resource_type: i64,
    /// 0 group, 1 transaction.
    pub(crate) coordinator_type: i64,
    /// Whether bytes of groups hold topics; `None`: nobody says.
    pub(crate) consumer: Option<bool>,
}

impl Surroundings {
    pub(crate) fn within(mut self, record: &Record<'_>) -> Surroundings {
        for (spec, value) in record.each() {
            match (spec.entity, value) {
                (Entity::ResourceType, Node::Int(value)) => self.resource_type = *value,
                (Entity::CoordinatorType, Node::Int(value)) => self.coordinator_type = *value,
                (Entity::GroupProtocolType, Node::Text(text)) => {
                    self.consumer = Some(**text == *b"consumer");
                }
                _ => {}
            }
        }
        self
    }
}

/// Types of resources that have a configuration.
pub(crate) const TOPIC: i64 = 2;
pub(crate) const BROKER: i64 = 4;
pub(crate) const BROKER_LOGGER: i64 = 8;
pub(crate) const GROUP: i64 = 32;

impl Up<'_, '_> {
    fn record(&mut self, record: &mut Record<'_>, around: Surroundings) -> Result<(), TreeError> {
        let around = around.within(record);
        if !self.context.tenant.is_passthrough() {
            *self.changed |= record.drop_unknown();
        }
        for (spec, value) in record.each_mut() {
            match value {
                Node::List(list) => {
                    for element in list {
                        self.value(spec, element, around)?;
                    }
                }
                value => self.value(spec, value, around)?,
            }
        }
        Ok(())
    }

    fn value(
        &mut self,
        spec: &'static FieldSpec,
        value: &mut Node<'_>,
        around: Surroundings,
    ) -> Result<(), TreeError> {
        if let Node::Record(record) = value {
            // Whatever a client forgets, it forgets of its own session; what a member owns may have been deleted since.
            let was_lenient = self.lenient;
            self.lenient |= matches!(spec.name, "ForgottenTopicsData" | "TopicPartitions");
            let done = self.record(record, around);
            self.lenient = was_lenient;
            return done;
        }
        if let Node::Uuid(id) = value
            && spec.entity == Entity::TopicId
        {
            self.id(id);
            return Ok(());
        }
        let tenant = self.context.tenant;
        let new = match (spec.entity, &*value) {
            (Entity::GroupSubscription, Node::Text(bytes)) => {
                blob(Blob::Subscription, bytes, tenant, around)
            }
            (Entity::GroupAssignment, Node::Text(bytes)) => {
                blob(Blob::Assignment, bytes, tenant, around)
            }
            (
                entity @ (Entity::TopicName
                | Entity::ResourceName
                | Entity::GroupId
                | Entity::TransactionalId
                | Entity::CoordinatorKey),
                text,
            ) => match text.as_text()? {
                None => None,
                Some(name) => self.name(entity, name, around),
            },
            _ => None,
        };
        if let Some(new) = new {
            *value = Node::Text(Cow::Owned(new));
            *self.changed = true;
        }
        Ok(())
    }

    /// The physical name, if it is another one.
    fn name(&mut self, entity: Entity, name: &str, around: Surroundings) -> Option<Vec<u8>> {
        let tenant = self.context.tenant;
        let is_topic = match entity {
            Entity::TopicName => true,
            Entity::ResourceName if around.resource_type == TOPIC => true,
            Entity::ResourceName if around.resource_type == GROUP => false,
            Entity::GroupId | Entity::TransactionalId | Entity::CoordinatorKey => false,
            _ => return None,
        };
        let physical = match is_topic {
            // No topic: beside an id, or for the broker to say so.
            true if name.is_empty() => return None,
            true => {
                self.learn(name, None);
                tenant.topic(name)
            }
            false => tenant.physical(name),
        };
        (physical.as_str() != name).then(|| physical.into_bytes())
    }

    fn id(&mut self, id: &mut TopicId) {
        if *id == [0; 16] {
            return;
        }
        if let Some((alias, target)) = self.ids.find(id) {
            let alias = alias.clone();
            self.learn(&alias, Some((target, *id)));
            *id = target;
            *self.changed = true;
            return;
        }
        let tenant = self.context.tenant;
        let name = self.context.topics.name(id);
        let own = name.as_deref().and_then(|name| tenant.logical(name));
        match own.filter(|own| !tenant.is_alias(own)) {
            Some(own) => self.learn(own, Some((*id, *id))),
            None if self.lenient && name.is_none() => {}
            None => self.foreign |= !tenant.is_passthrough(),
        }
    }

    /// Remembers what the client calls a topic. `ids`: of the topic in Kafka and for the client.
    fn learn(&mut self, name: &str, ids: Option<(TopicId, TopicId)>) {
        let tenant = self.context.tenant;
        let physical = tenant.topic(name);
        let ids = ids.or_else(|| {
            // The answer may have nothing but the id.
            let target = tenant
                .is_alias(name)
                .then(|| self.context.topics.id(physical.as_str()));
            let target = target.flatten()?;
            Some((target, tenant.alias_id(name, target)))
        });
        self.told.learn(physical, name, ids);
    }
}

fn blob(blob: Blob, bytes: &[u8], tenant: &Tenant, around: Surroundings) -> Option<Vec<u8>> {
    match around.consumer {
        Some(false) => None,
        Some(true) | None => blob::up(blob, bytes, tenant),
    }
}
