//! What cannot go as it is where topics have several names: no topic is created, deleted or given partitions through an alias, nor configured
//! from within a virtual cluster; and of two names of one topic in a request the second waits for its turn.

use std::collections::HashMap;

use wire::api::{ApiKey, Direction};
use wire::error_code::{
    FETCH_SESSION_ID_NOT_FOUND, NOT_LEADER_OR_FOLLOWER, POLICY_VIOLATION, TOPIC_ALREADY_EXISTS,
    TOPIC_AUTHORIZATION_FAILED, TOPIC_DELETION_DISABLED,
};
use wire::records::with_producer_ids;
use wire::reply::topic_error;
use wire::schema::Entity;
use wire::tree::{self, Node, Record, TreeError};

use crate::answer::Told;
use crate::ids::{AliasIds, TopicId, substitute_producer};
use crate::request::{Asked, Context, Mapped, TOPIC};
use crate::special::{Finish, take_out as take};
use crate::tenant::Physical;

/// Partitions in one page, whatever a client wants; brokers have this limit by default.
const MAX_PAGE: usize = 2000;

/// Takes out of a request what may not be done through an alias, and what has to wait for its turn. `Some`: that becomes of it.
pub(crate) fn take_out(
    asked: &mut Asked,
    root: &mut Record<'_>,
    told: &mut Told,
    context: &Context<'_>,
) -> Result<Option<Mapped>, TreeError> {
    let tenant = context.tenant;
    let ids = AliasIds::new(tenant, context.topics);
    let is_alias = |topic: &Record<'_>| -> Result<bool, TreeError> {
        let by_id = match topic.meaning(Entity::TopicId) {
            Node::Uuid(id) => ids.find(id).is_some(),
            _ => false,
        };
        let name = topic.meaning(Entity::TopicName).as_text()?;
        Ok(by_id || name.is_some_and(|name| tenant.is_alias(name)))
    };
    let refused = |code: i16| move |alias: bool| alias.then_some(code);
    match asked.api {
        ApiKey::CREATE_TOPICS => {
            let code = |topic: &Record<'_>| is_alias(topic).map(refused(TOPIC_ALREADY_EXISTS));
            take(asked, root, told, ("Topics", "Topics"), code)
        }
        ApiKey::DELETE_TOPICS => {
            let array = if asked.version >= 6 {
                "Topics"
            } else {
                "TopicNames"
            };
            let code = |topic: &Record<'_>| is_alias(topic).map(refused(TOPIC_DELETION_DISABLED));
            take(asked, root, told, (array, "Responses"), code)
        }
        ApiKey::CREATE_PARTITIONS => {
            let code = |topic: &Record<'_>| is_alias(topic).map(refused(POLICY_VIOLATION));
            take(asked, root, told, ("Topics", "Results"), code)
        }
        ApiKey::ALTER_CONFIGS | ApiKey::INCREMENTAL_ALTER_CONFIGS
            if !tenant.is_passthrough() && !context.configures_aliases =>
        {
            let code = |resource: &Record<'_>| {
                let name = resource.get("ResourceName").as_text()?;
                let alias = resource.int("ResourceType") == TOPIC
                    && name.is_some_and(|name| tenant.is_alias(name));
                Ok(alias.then_some(TOPIC_AUTHORIZATION_FAILED))
            };
            take(asked, root, told, ("Resources", "Responses"), code)
        }
        ApiKey::PRODUCE => {
            asked.changed |= substitute_producers(root, context, &ids)?;
            if root.int("Acks") == 0 {
                return Ok(None);
            }
            let finish =
                |partition: &mut Record<'static>| partition.set("BaseOffset", Node::Int(-1));
            let arrays = ("TopicData", "Responses");
            take_turns(
                asked,
                root,
                told,
                context,
                &ids,
                arrays,
                NOT_LEADER_OR_FOLLOWER,
                finish,
            )
        }
        ApiKey::LIST_OFFSETS => {
            let finish = |partition: &mut Record<'static>| partition.set("Offset", Node::Int(-1));
            let arrays = ("Topics", "Topics");
            take_turns(
                asked,
                root,
                told,
                context,
                &ids,
                arrays,
                NOT_LEADER_OR_FOLLOWER,
                finish,
            )
        }
        ApiKey::FETCH => {
            let mut named = false;
            for topic in root.records("Topics") {
                named |= is_alias(topic)?;
            }
            if !named {
                return Ok(None);
            }
            if let Some(answer) = leave_session(asked, root) {
                return Ok(Some(answer));
            }
            let finish = |partition: &mut Record<'static>| {
                partition.set("HighWatermark", Node::Int(-1));
                partition.set("Records", Node::text(""));
            };
            take_turns(
                asked,
                root,
                told,
                context,
                &ids,
                ("Topics", "Responses"),
                0,
                finish,
            )
        }
        ApiKey::DESCRIBE_TOPIC_PARTITIONS => page(asked, root, told, context),
        _ => Ok(None),
    }
}

/// A producer counts its batches for each topic it knows. One that writes to a topic by two names would be two to itself and one to the
/// broker, which finds gaps, or takes a batch for another one and drops it. So behind an alias it is another producer: ids of the upper
/// half, which brokers do not give out. The id depends on nothing but names, so a batch that is sent again over another node is still
/// recognised. Transactions cannot be helped: the coordinator knows their producers.
fn substitute_producers(
    root: &mut Record<'_>,
    context: &Context<'_>,
    ids: &AliasIds,
) -> Result<bool, TreeError> {
    let mut changed = false;
    let mut topics = Ok(());
    root.edit_list("TopicData", |list| {
        for topic in list.iter_mut().filter_map(Node::as_record_mut) {
            let alias = match alias_of(topic, context, ids) {
                Ok(Some(alias)) => alias,
                Ok(None) => continue,
                Err(error) => {
                    topics = Err(error);
                    return;
                }
            };
            topic.edit_list("PartitionData", |partitions| {
                for partition in partitions.iter_mut().filter_map(Node::as_record_mut) {
                    let new = |id| substitute_producer(context.tenant.name(), &alias, id);
                    let records = with_producer_ids(partition.get("Records").as_bytes(), new);
                    if let Some(records) = records {
                        partition.set("Records", Node::Text(records.into()));
                        changed = true;
                    }
                }
            });
        }
    });
    topics.map(|()| changed)
}

/// The alias that a topic of a request is.
fn alias_of(
    topic: &Record<'_>,
    context: &Context<'_>,
    ids: &AliasIds,
) -> Result<Option<String>, TreeError> {
    if let Node::Uuid(id) = topic.meaning(Entity::TopicId)
        && let Some((alias, _)) = ids.find(id)
    {
        return Ok(Some(alias.to_string()));
    }
    let name = topic.meaning(Entity::TopicName).as_text()?;
    let alias = name.filter(|name| context.tenant.is_alias(name));
    Ok(alias.map(str::to_owned))
}

/// Two names of one topic would be one to a broker's fetch session. So there is none: the client goes on with full requests.
fn leave_session(asked: &mut Asked, root: &mut Record<'_>) -> Option<Mapped> {
    const SESSIONLESS: i64 = -1;
    if asked.version < 7 {
        return None;
    }
    if root.int("SessionId") != 0 && root.int("SessionEpoch") > 0 {
        let gone =
            wire::build::error_response(asked.api, asked.version, FETCH_SESSION_ID_NOT_FOUND);
        return Some(gone.map_or(Mapped::Close, Mapped::Answer));
    }
    root.set("SessionId", Node::Int(0));
    root.set("SessionEpoch", Node::Int(SESSIONLESS));
    root.set("ForgottenTopicsData", Node::Absent);
    asked.changed = true;
    None
}

/// Of several names of one topic only one goes in a request of these; the others are answered, so that the client asks again.
#[expect(clippy::too_many_arguments, reason = "one call, three times")]
fn take_turns(
    asked: &mut Asked,
    root: &mut Record<'_>,
    told: &mut Told,
    context: &Context<'_>,
    ids: &AliasIds,
    (requested, answered): (&'static str, &'static str),
    code: i16,
    finish: fn(&mut Record<'static>),
) -> Result<Option<Mapped>, TreeError> {
    let mut names: HashMap<Vec<u8>, Vec<Vec<u8>>> = HashMap::new();
    for topic in root.records(requested) {
        let (physical, logical) = identify(topic, context, ids)?;
        let names = names.entry(physical).or_default();
        if !names.contains(&logical) {
            names.push(logical);
        }
    }
    if names.values().all(|names| names.len() < 2) {
        return Ok(None);
    }
    // Counted only here, so that requests in between do not make one of them lose every time.
    let turn = context.turn.get();
    context.turn.set(turn.wrapping_add(1));
    let element = tree::element(tree::message(asked.api, Direction::Response), answered);
    let mut waiting = Vec::new();
    root.edit_list(requested, |list| {
        let mut kept = Vec::with_capacity(list.len());
        for node in list.drain(..) {
            let Some(topic) = node.as_record() else {
                continue;
            };
            let (physical, logical) = identify(topic, context, ids)?;
            let names = names.get(&physical).map(Vec::as_slice).unwrap_or_default();
            match names.get(turn % names.len().max(1)) {
                Some(next) if *next != logical => {
                    waiting.push(Node::Record(topic_error(element, topic, code, finish)));
                }
                _ => kept.push(node),
            }
        }
        *list = kept;
        Ok::<_, TreeError>(())
    })?;
    asked.changed = true;
    told.instead.push((answered, waiting));
    Ok(None)
}

/// What a topic is to Kafka, and to the client.
fn identify(
    topic: &Record<'_>,
    context: &Context<'_>,
    ids: &AliasIds,
) -> Result<(Vec<u8>, Vec<u8>), TreeError> {
    let id = match topic.meaning(Entity::TopicId) {
        Node::Uuid(id) if *id != TopicId::default() => Some(*id),
        _ => None,
    };
    Ok(match (id, topic.meaning(Entity::TopicName).as_text()?) {
        (Some(id), _) => {
            let target = ids.find(&id).map_or(id, |(_, target)| target);
            (target.to_vec(), id.to_vec())
        }
        (None, name) => {
            let name = name.unwrap_or_default();
            let physical: Physical = context.tenant.topic(name);
            (physical.into_bytes(), name.as_bytes().to_vec())
        }
    })
}

/// Brokers give pages in the order of physical names, clients want them in the order of theirs. So a page is as many topics as fit and are
/// in the same order on both sides, and the gateway says where the next one begins.
fn page(
    asked: &mut Asked,
    root: &mut Record<'_>,
    told: &mut Told,
    context: &Context<'_>,
) -> Result<Option<Mapped>, TreeError> {
    let Some(all) = context.topics.all() else {
        return Ok(Some(Mapped::ListTopics));
    };
    let partitions: HashMap<&str, usize> =
        all.iter().map(|(name, count)| (&**name, *count)).collect();
    let count = |name: &str| partitions.get(context.tenant.topic(name).as_str()).copied();
    let cursor = root.get("Cursor").as_record();
    let from = match cursor {
        Some(cursor) => cursor
            .get("TopicName")
            .as_text()?
            .unwrap_or_default()
            .to_owned(),
        None => String::new(),
    };
    let mut names = Vec::new();
    for topic in root.records("Topics") {
        names.push(topic.get("Name").as_text()?.unwrap_or_default().to_owned());
    }
    if names.is_empty() {
        // Access control has not made a list of them: the client sees all there is.
        let visible = all
            .iter()
            .flat_map(|(name, _)| context.tenant.logical_topics(name));
        names.extend(visible.map(str::to_owned));
    }
    names.retain(|name| **name >= *from);
    names.sort_unstable();
    names.dedup();
    let limit = usize::try_from(root.int("ResponsePartitionLimit")).unwrap_or(MAX_PAGE);
    let limit = limit.clamp(1, MAX_PAGE);
    let mut left = limit;
    let mut fitting = 0;
    let mut before: Option<Physical> = None;
    for name in &names {
        let physical = context.tenant.topic(name);
        if before.is_some_and(|before| before.as_str() >= physical.as_str()) {
            break;
        }
        before = Some(physical);
        // One that does not exist is told of all the same.
        let needed = count(name).unwrap_or(0);
        if needed > left {
            break;
        }
        left -= needed;
        fitting += 1;
    }
    if fitting > 0 && fitting < names.len() {
        told.finish = Finish::NextPage(names[fitting].clone());
    }
    // One that is larger than a page is asked for alone, and the broker says how far it came.
    names.truncate(fitting.max(1));
    let element = tree::element(tree::message(asked.api, Direction::Request), "Topics");
    let topics = names.iter().map(|name| {
        let mut topic = Record::new(element);
        topic.set("Name", Node::text(name));
        Node::Record(topic)
    });
    root.set("Topics", Node::List(topics.collect()));
    root.set("ResponsePartitionLimit", Node::Int(limit as i64));
    if names.first() != Some(&from) {
        root.set("Cursor", Node::Null);
    }
    asked.changed = true;
    if root.list("Topics").is_empty() {
        let answer = wire::build::default_body(asked.api, asked.version, Direction::Response);
        return Ok(Some(answer.map_or(Mapped::Close, Mapped::Answer)));
    }
    Ok(None)
}
