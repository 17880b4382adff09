//! Answers on their way to clients: the one place where physical names become a client's.
//!
//! What has no name in the virtual cluster is left out. Where an answer is about what the request named, it is told in the request's words:
//! with two aliases of one topic nobody else could know which of them is meant.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use wire::api::{ApiKey, Direction};
use wire::plan::{Interest, Plans};
use wire::schema::{Entity, FieldSpec};
use wire::tree::{self, Node, Record, TreeError};

use crate::blob::{self, Blob};
use crate::ids::{TopicId, Topics};
use crate::pattern::Expression;
use crate::request::{BROKER, BROKER_LOGGER, GROUP, Surroundings, TOPIC};
use crate::special::Finish;
use crate::tenant::{Physical, Tenant};
use crate::words::{self, Words};

/// What changes in an answer. What else decides over it stands beside such a field, or around it.
const INTEREST: Interest = NAMES.and(IDS);

const NAMES: Interest = Interest::of(&[
    Entity::TopicName,
    Entity::TopicPattern,
    Entity::GroupId,
    Entity::TransactionalId,
    Entity::CoordinatorKey,
    Entity::ResourceName,
    Entity::GroupSubscription,
    Entity::GroupAssignment,
    Entity::ClientHost,
    Entity::ClusterId,
    Entity::ErrorMessage,
    Entity::IsInternal,
]);

const IDS: Interest = Interest::of(&[Entity::TopicId]);

/// What is known of a request when its answer comes.
pub(crate) struct Told {
    api: ApiKey,
    tenant: Arc<Tenant>,
    /// What the client calls topics, in the order of the request, each once.
    names: HashMap<Physical, Vec<String>>,
    /// The same by id: what the client's id is, and the name.
    ids: HashMap<TopicId, Vec<(TopicId, String)>>,
    /// Elements for an array at top level, made in the place of what was taken out of the request.
    pub(crate) instead: Vec<(&'static str, Vec<Node<'static>>)>,
    pub(crate) finish: Finish,
    /// Whether bytes of groups hold topics, if the request says so.
    pub(crate) consumer: Option<bool>,
}

impl Told {
    pub(crate) fn new(api: ApiKey, tenant: &Arc<Tenant>) -> Told {
        Told {
            api,
            tenant: tenant.clone(),
            names: HashMap::new(),
            ids: HashMap::new(),
            instead: Vec::new(),
            finish: Finish::Nothing,
            consumer: None,
        }
    }

    pub(crate) fn learn(
        &mut self,
        physical: Physical,
        name: &str,
        ids: Option<(TopicId, TopicId)>,
    ) {
        let names = self.names.entry(physical).or_default();
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
        if let Some((id, logical)) = ids {
            let ids = self.ids.entry(id).or_default();
            if !ids.iter().any(|(known, _)| *known == logical) {
                ids.push((logical, name.to_owned()));
            }
        }
    }

    /// `None`: the answer needs no work.
    pub(crate) fn into_back(self, version: i16) -> Option<Back> {
        let needed = !matches!(self.finish, Finish::Nothing)
            || !self.instead.is_empty()
            || is_interesting(self.api, version, &self.tenant);
        needed.then_some(Back {
            version,
            told: self,
        })
    }
}

/// Whether answers of this kind hold anything that has another name for clients.
fn is_interesting(api: ApiKey, version: i16, tenant: &Tenant) -> bool {
    static BY_NAME: Plans = Plans::new(NAMES);
    static BY_ID: Plans = Plans::new(IDS);
    let has = |plans: &'static Plans| {
        let plan = plans.get(api, version, Direction::Response);
        plan.is_some_and(wire::plan::Plan::is_interested)
    };
    has(&BY_NAME) || (tenant.has_aliases() && has(&BY_ID))
}

/// Makes a client's answer of Kafka's.
pub struct Back {
    /// Of Kafka's answer.
    version: i16,
    told: Told,
}

/// Names in an answer of which those go to the client that match.
pub struct ToMatch {
    /// The expression of the request.
    pub expression: Arc<Expression>,
    /// The names, as the client knows them.
    pub names: Vec<String>,
}

impl std::fmt::Debug for Back {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Back")
            .field("api", &self.told.api)
            .finish_non_exhaustive()
    }
}

impl Back {
    /// For an answer to a request that went as it came: takes out what the client must not see, if answers of this kind can hold any.
    pub fn unasked(api: ApiKey, version: i16, tenant: &Arc<Tenant>) -> Option<Back> {
        Told::new(api, tenant).into_back(version)
    }

    /// Memory that it takes until the answer comes, bytes, about.
    pub fn weight(&self) -> usize {
        const ENTRY: usize = 64; // of a map, with its vector
        let told = &self.told;
        let names = told.names.iter().map(|(physical, names)| {
            let names = names.iter().map(|name| name.len() + size_of::<String>());
            ENTRY + physical.as_str().len() + names.sum::<usize>()
        });
        let ids = told.ids.values().map(|names| {
            let names = names.iter().map(|(id, name)| name.len() + size_of_val(id));
            ENTRY + names.sum::<usize>()
        });
        let instead = told.instead.iter().flat_map(|(_, elements)| elements);
        names.sum::<usize>() + ids.sum::<usize>() + instead.map(Node::weight).sum::<usize>()
    }

    /// Whether the answer repeats what a policy of the brokers has said, which may hold the name of any topic: a client hears it only if
    /// [`Back::apply`] is told all topics.
    ///
    /// # Errors
    /// The answer is not understood.
    pub fn quotes_policy(&self, body: &[u8]) -> Result<bool, TreeError> {
        let told = &self.told;
        if told.tenant.is_passthrough() || !words::asks_policy(told.api) {
            return Ok(false);
        }
        Ok(words::quotes_policy(told.api, self.version, body)?)
    }

    /// What has to be matched before [`Back::apply`], which takes time; [`Back::choose`] is told what came of it.
    ///
    /// # Errors
    /// The answer is not understood.
    pub fn to_match(&self, body: &[u8]) -> Result<Option<ToMatch>, TreeError> {
        let Finish::Transactions(expression, _) = &self.told.finish else {
            return Ok(None);
        };
        let root = tree::decode(self.told.api, self.version, Direction::Response, body)?;
        let mut names = Vec::new();
        for transaction in root.records("TransactionStates") {
            let id = transaction.get("TransactionalId").as_text()?;
            let own = id.and_then(|id| self.told.tenant.logical(id));
            names.extend(own.map(str::to_owned));
        }
        Ok(Some(ToMatch {
            expression: Arc::clone(expression),
            names,
        }))
    }

    /// What of [`Back::to_match`] matches.
    pub fn choose(&self, matching: Vec<String>) {
        if let Finish::Transactions(_, chosen) = &self.told.finish {
            let _ = chosen.set(HashSet::from_iter(matching));
        }
    }

    /// The body of the answer in the client's `version`, out of Kafka's. `topics` matter if [`Back::quotes_policy`].
    ///
    /// # Errors
    /// The answer is not understood.
    pub fn apply(
        &self,
        version: i16,
        body: &[u8],
        topics: &dyn Topics,
    ) -> Result<Vec<u8>, TreeError> {
        let told = &self.told;
        let dir = Direction::Response;
        let stays = version == self.version && matches!(told.finish, Finish::Nothing);
        let mut root = match stays {
            true => tree::decode_around(told.api, self.version, dir, body, INTEREST)?,
            false => tree::decode(told.api, self.version, dir, body)?,
        };
        let around = Surroundings {
            consumer: told.consumer,
            ..Surroundings::default()
        };
        Down {
            told,
            version: self.version,
            topics,
        }
        .record(&mut root, around)?;
        for (array, elements) in &told.instead {
            root.edit_list(array, |list| list.extend(elements.iter().cloned()));
        }
        told.finish.apply(&mut root);
        Ok(tree::encode(told.api, version, dir, &root))
    }
}

struct Down<'b> {
    told: &'b Told,
    version: i16,
    topics: &'b dyn Topics,
}

/// A topic as the client knows it.
type Known = (Option<String>, Option<TopicId>);

impl Down<'_> {
    fn record(&self, record: &mut Record<'_>, around: Surroundings) -> Result<(), TreeError> {
        let tenant = &self.told.tenant;
        let around = around.within(record);
        let code = record.meaning(Entity::ErrorCode).as_int();
        if !tenant.is_passthrough() {
            record.drop_unknown();
        }
        for (spec, value) in record.each_mut() {
            match value {
                Node::List(list) => self.list(spec, list, around)?,
                Node::Record(inner) => match self.element(inner, around)? {
                    true => {}
                    false => *value = Node::Null,
                },
                value => self.value(spec, value, around, code)?,
            }
        }
        Ok(())
    }

    fn list<'a>(
        &self,
        spec: &'static FieldSpec,
        list: &mut Vec<Node<'a>>,
        around: Surroundings,
    ) -> Result<(), TreeError> {
        if matches!(list.first(), Some(Node::Record(_))) {
            return self.records(list, around);
        }
        let mut kept = Vec::with_capacity(list.len());
        for node in list.drain(..) {
            let names: Vec<String> = match (spec.entity, node.as_text()) {
                (Entity::TopicName, Ok(Some(name))) => self.topics(name),
                (Entity::GroupId | Entity::TransactionalId, Ok(Some(name))) => {
                    let name = self.told.tenant.logical(name);
                    name.into_iter().map(str::to_owned).collect()
                }
                (Entity::TopicPattern, _) if !self.told.tenant.is_passthrough() => continue,
                _ => {
                    kept.push(node);
                    continue;
                }
            };
            kept.extend(names.iter().map(|name| Node::text(name)));
        }
        *list = kept;
        Ok(())
    }

    /// An array of structs: each becomes as many as the client has names for it.
    fn records<'a>(&self, list: &mut Vec<Node<'a>>, around: Surroundings) -> Result<(), TreeError> {
        // How often each topic occurs: where a request named one topic by several names, brokers may have answered once or several times.
        let mut counts: HashMap<(Vec<u8>, TopicId), (usize, usize)> = HashMap::new();
        if self.told.tenant.has_aliases() {
            for record in list.iter().filter_map(Node::as_record) {
                counts.entry(topic_key(record)).or_default().0 += 1;
            }
        }
        let mut kept = Vec::with_capacity(list.len());
        for node in list.drain(..) {
            let Node::Record(mut record) = node else {
                kept.push(node);
                continue;
            };
            let around = around.within(&record);
            let Some(known) = self.known(&record, around)? else {
                // No topic.
                if self.element(&mut record, around)? {
                    kept.push(Node::Record(record));
                }
                continue;
            };
            let (of, seen) = counts
                .get_mut(&topic_key(&record))
                .map_or((1, 0), |(of, seen)| {
                    *seen += 1;
                    (*of, *seen - 1)
                });
            let chosen: &[Known] = match known.len() {
                many if many > 1 && of > 1 => known.get(seen..=seen).unwrap_or_default(),
                _ => &known,
            };
            let Some((last, more)) = chosen.split_last() else {
                continue;
            };
            self.record(&mut record, around)?;
            for known in more {
                let mut copy = record.clone();
                rename(&mut copy, known);
                kept.push(Node::Record(copy));
            }
            rename(&mut record, last);
            kept.push(Node::Record(record));
        }
        *list = kept;
        Ok(())
    }

    /// What the client calls the topic that a struct is about; `None` if it is about none.
    fn known(
        &self,
        record: &Record<'_>,
        around: Surroundings,
    ) -> Result<Option<Vec<Known>>, TreeError> {
        let tenant = &self.told.tenant;
        let name = match record.meaning(Entity::TopicName) {
            Node::List(_) => &Node::Absent,
            name => name,
        };
        let id = match record.meaning(Entity::TopicId) {
            Node::Uuid(id) if *id != [0; 16] => Some(*id),
            _ => None,
        };
        let resource = record.meaning(Entity::ResourceName);
        let name = match resource {
            Node::Text(_) if around.resource_type == TOPIC => resource,
            _ => name,
        };
        let own = |logical: &str, id: TopicId| match tenant.is_alias(logical) {
            true => tenant.alias_id(logical, id),
            false => id,
        };
        Ok(match (name.as_text()?, id) {
            // A name without text is one that was not found by its id.
            (Some(name), id) if !name.is_empty() => {
                let named = |logical: String| {
                    let id = id.map(|id| own(&logical, id));
                    (Some(logical), id)
                };
                Some(self.topics(name).into_iter().map(named).collect())
            }
            (_, Some(id)) => Some(match self.told.ids.get(&id) {
                Some(ids) => ids.iter().map(|(id, _)| (None, Some(*id))).collect(),
                None => vec![(None, Some(id))],
            }),
            (_, None) => None,
        })
    }

    /// A struct that is about no topic; false: it is not to be seen.
    fn element(&self, record: &mut Record<'_>, around: Surroundings) -> Result<bool, TreeError> {
        let tenant = &self.told.tenant;
        let around = around.within(record);
        for entity in [
            Entity::GroupId,
            Entity::TransactionalId,
            Entity::CoordinatorKey,
        ] {
            if let Some(name) = record.meaning(entity).as_text()?
                && tenant.logical(name).is_none()
            {
                return Ok(false);
            }
        }
        if let Some(name) = record.meaning(Entity::ResourceName).as_text()?
            && !tenant.is_passthrough()
        {
            let seen = match around.resource_type {
                GROUP => tenant.logical(name).is_some(),
                TOPIC | BROKER | BROKER_LOGGER => true,
                _ => false,
            };
            if !seen {
                return Ok(false);
            }
        }
        // A place in a list, and the like.
        if let Some(name) = record.meaning(Entity::TopicName).as_text()?
            && self.topics(name).is_empty()
        {
            return Ok(false);
        }
        self.record(record, around)?;
        Ok(true)
    }

    /// What the client calls a topic.
    fn topics(&self, physical: &str) -> Vec<String> {
        match self.told.names.get(&Physical::from_kafka(physical)) {
            Some(names) => names.clone(),
            None => self
                .told
                .tenant
                .logical_topics(physical)
                .map(str::to_owned)
                .collect(),
        }
    }

    fn value(
        &self,
        spec: &'static FieldSpec,
        value: &mut Node<'_>,
        around: Surroundings,
        code: i64,
    ) -> Result<(), TreeError> {
        let tenant = &self.told.tenant;
        let nullable = spec.nullable.contains(self.version);
        let empty = || if nullable { Node::Null } else { Node::text("") };
        let is_there = matches!(value, Node::Text(_));
        let new = match spec.entity {
            Entity::TopicName if is_there => {
                let names = self.topics(value.as_text()?.unwrap_or_default());
                names.first().map_or_else(empty, |name| Node::text(name))
            }
            Entity::GroupId | Entity::TransactionalId | Entity::CoordinatorKey if is_there => {
                let name = value.as_text()?.unwrap_or_default();
                tenant.logical(name).map_or_else(empty, Node::text)
            }
            Entity::ResourceName if is_there && matches!(around.resource_type, TOPIC | GROUP) => {
                let name = value.as_text()?.unwrap_or_default();
                match around.resource_type {
                    TOPIC => {
                        let names = self.topics(name);
                        names.first().map_or_else(empty, |name| Node::text(name))
                    }
                    _ => tenant.logical(name).map_or_else(empty, Node::text),
                }
            }
            Entity::GroupSubscription | Entity::GroupAssignment
                if is_there && around.consumer != Some(false) =>
            {
                let blob = match spec.entity {
                    Entity::GroupSubscription => Blob::Subscription,
                    _ => Blob::Assignment,
                };
                match blob::down(blob, value.as_bytes(), tenant) {
                    Some(bytes) => Node::Text(bytes.into()),
                    None => return Ok(()),
                }
            }
            Entity::ErrorMessage if is_there => {
                let words = Words {
                    tenant,
                    names: &self.told.names,
                    topics: self.topics,
                };
                match words.told(value.as_text().ok().flatten().unwrap_or_default(), code) {
                    Some(text) => Node::text(&text),
                    None => empty(),
                }
            }
            Entity::ClusterId if is_there => {
                Node::text(&tenant.cluster_id(value.as_text()?.unwrap_or_default()))
            }
            Entity::ClientHost if is_there && !tenant.is_passthrough() => empty(),
            // Those who subscribed by one are shown with names; the others have an empty one.
            Entity::TopicPattern if is_there && !tenant.is_passthrough() => Node::text(""),
            Entity::IsInternal if !tenant.is_passthrough() => Node::Int(0),
            _ => return Ok(()),
        };
        *value = new;
        Ok(())
    }
}

/// What tells topics of an array apart.
fn topic_key(record: &Record<'_>) -> (Vec<u8>, TopicId) {
    let id = match record.meaning(Entity::TopicId) {
        Node::Uuid(id) => *id,
        _ => TopicId::default(),
    };
    (record.meaning(Entity::TopicName).as_bytes().to_vec(), id)
}

/// Sets the names by which the client knows the topic of a struct.
fn rename(record: &mut Record<'_>, (name, id): &Known) {
    let mut named = false;
    let mut identified = false;
    for (spec, value) in record.each_mut() {
        match (spec.entity, &mut *value) {
            (Entity::TopicName | Entity::ResourceName, Node::Text(_)) if !named => {
                named = true;
                if let Some(name) = name {
                    *value = Node::text(name);
                }
            }
            (Entity::TopicId, Node::Uuid(old)) if !identified => {
                identified = true;
                if let Some(id) = id {
                    *old = *id;
                }
            }
            _ => {}
        }
    }
}
