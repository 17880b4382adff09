//! What single API keys need besides the names in them.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use wire::api::{ApiKey, Direction};
use wire::error_code::{
    INVALID_REGULAR_EXPRESSION, INVALID_REQUEST, INVALID_TOPIC_EXCEPTION, MISMATCHED_ENDPOINT_TYPE,
};
use wire::reply::{echo, error_record};
use wire::schema::{Entity, FieldSpec};
use wire::tree::{self, Node, Record, TreeError};

use crate::answer::Told;
use crate::pattern::Expression;
use crate::request::{Asked, Context, Mapped};
use crate::tenant::INTERNAL_TOPICS;

/// First version in which a client says whether topics may be created; before it, brokers create by their own default.
const SAYS_AUTO_CREATION: i16 = 4;

/// What is left to do when all names in an answer are mapped.
pub(crate) enum Finish {
    Nothing,
    /// ListTransactions: those whose ids match the expression, which somebody else finds out.
    Transactions(Arc<Expression>, OnceLock<HashSet<String>>),
    /// DescribeCluster: the brokers that serve.
    Brokers,
    /// ListConfigResources: what a virtual cluster has.
    ConfigResources,
    /// DescribeTopicPartitions: the next page begins here.
    NextPage(String),
}

impl Finish {
    pub(crate) fn apply(&self, root: &mut Record<'_>) {
        match self {
            Finish::Nothing => {}
            Finish::Transactions(_, matching) => retain(root, "TransactionStates", |transaction| {
                let id = transaction.get("TransactionalId").as_text();
                let matching = matching.get();
                let id = id.ok().flatten();
                id.is_some_and(|id| matching.is_some_and(|ids| ids.contains(id)))
            }),
            Finish::Brokers => retain(root, "Brokers", |broker| broker.int("IsFenced") == 0),
            Finish::ConfigResources => {
                const CLIENT_METRICS: i64 = 16;
                // Before there was a type, they all were of this one.
                let shown = |resource: &Record<'_>| {
                    let kind = resource.get("ResourceType");
                    !matches!(kind, Node::Int(CLIENT_METRICS) | Node::Absent)
                };
                retain(root, "ConfigResources", shown);
            }
            // A broker whose pages are smaller says itself where it stopped.
            Finish::NextPage(_) if root.get("NextCursor").as_record().is_some() => {}
            Finish::NextPage(topic) => {
                let cursor = tree::element(root.fields(), "NextCursor");
                let mut next = Record::new(cursor);
                next.set("TopicName", Node::text(topic));
                next.set("PartitionIndex", Node::Int(0));
                root.set("NextCursor", Node::Record(next));
            }
        }
    }
}

fn retain(root: &mut Record<'_>, array: &str, keep: impl Fn(&Record<'_>) -> bool) {
    root.edit_list(array, |list| {
        list.retain(|node| node.as_record().is_some_and(&keep))
    });
}

/// The regular expression in a ListTransactions request; `None` in other requests, and if it has none.
///
/// # Errors
/// The body is not understood.
pub fn transactional_id_pattern(
    api: ApiKey,
    version: i16,
    body: &[u8],
) -> Result<Option<String>, TreeError> {
    if api != ApiKey::LIST_TRANSACTIONS {
        return Ok(None);
    }
    let root = tree::decode(api, version, Direction::Request, body)?;
    let text = root.get("TransactionalIdPattern");
    let text = match text {
        Node::Text(_) => text.as_text()?.filter(|text| !text.is_empty()),
        _ => None,
    };
    Ok(text.map(str::to_owned))
}

/// Changes a request where more than its names has to change. `Some`: that becomes of it.
pub(crate) fn prepare(
    asked: &mut Asked,
    root: &mut Record<'_>,
    told: &mut Told,
    context: &Context<'_>,
) -> Result<Option<Mapped>, TreeError> {
    let tenant = context.tenant;
    match asked.api {
        ApiKey::METADATA => metadata(asked, root, context)?,
        ApiKey::JOIN_GROUP | ApiKey::SYNC_GROUP => {
            let protocol = root.get("ProtocolType").as_bytes();
            told.consumer = (!protocol.is_empty()).then_some(protocol == b"consumer");
        }
        _ if tenant.is_passthrough() => {}
        // Clients know the cluster by another id.
        ApiKey::FETCH if *root.get("ClusterId") != Node::Absent => {
            root.set("ClusterId", Node::Absent);
            asked.changed = true;
        }
        ApiKey::FIND_COORDINATOR if root.int("KeyType") > 1 => {
            return Ok(Some(Mapped::Answer(no_coordinator(asked, root))));
        }
        ApiKey::CREATE_TOPICS => return create_topics(asked, root, told),
        ApiKey::DESCRIBE_CLUSTER => {
            const CONTROLLERS: i64 = 2;
            if root.int("EndpointType") == CONTROLLERS {
                let answer =
                    wire::build::error_response(asked.api, asked.version, MISMATCHED_ENDPOINT_TYPE);
                return Ok(Some(answer.map_or(Mapped::Close, Mapped::Answer)));
            }
            told.finish = Finish::Brokers;
        }
        ApiKey::LIST_CONFIG_RESOURCES => told.finish = Finish::ConfigResources,
        ApiKey::LIST_TRANSACTIONS => {
            if root.get("TransactionalIdPattern").as_bytes().is_empty() {
                return Ok(None);
            }
            let Some(expression) = context.expression else {
                let answer = wire::build::error_response(
                    asked.api,
                    asked.version,
                    INVALID_REGULAR_EXPRESSION,
                );
                return Ok(Some(answer.map_or(Mapped::Close, Mapped::Answer)));
            };
            root.set("TransactionalIdPattern", Node::Null);
            asked.changed = true;
            told.finish = Finish::Transactions(Arc::clone(expression), OnceLock::new());
        }
        _ => {}
    }
    Ok(None)
}

/// Topics are created by asking for them only where that is on, and never behind an alias.
fn metadata(
    asked: &mut Asked,
    root: &mut Record<'_>,
    context: &Context<'_>,
) -> Result<(), TreeError> {
    let all = match root.get("Topics") {
        Node::List(topics) => topics.is_empty() && asked.version == 0,
        _ => true,
    };
    let mut may_create = context.auto_creation;
    for topic in root.records("Topics") {
        let name = topic.get("Name").as_text()?.unwrap_or_default();
        may_create &= !context.tenant.is_alias(name);
    }
    if asked.version < SAYS_AUTO_CREATION {
        asked.upstream = SAYS_AUTO_CREATION;
        root.set("AllowAutoTopicCreation", Node::Int(may_create.into()));
        if all {
            root.set("Topics", Node::Null);
        }
        asked.changed = true;
    } else if !may_create && root.int("AllowAutoTopicCreation") != 0 {
        root.set("AllowAutoTopicCreation", Node::Int(0));
        asked.changed = true;
    }
    Ok(())
}

fn no_coordinator(asked: &Asked, root: &Record<'_>) -> Vec<u8> {
    let fields = tree::message(asked.api, Direction::Response);
    let mut answer = error_record(fields, INVALID_REQUEST);
    answer.set("NodeId", Node::Int(-1));
    answer.set("Port", Node::Int(-1));
    let element = tree::element(fields, "Coordinators");
    let each = root.list("CoordinatorKeys").iter().map(|key| {
        let mut told = error_record(element, INVALID_REQUEST);
        told.set("Key", key.to_owned());
        told.set("NodeId", Node::Int(-1));
        told.set("Port", Node::Int(-1));
        Node::Record(told)
    });
    answer.set("Coordinators", Node::List(each.collect()));
    tree::encode(asked.api, asked.version, Direction::Response, &answer)
}

/// Nobody has topics with the names of Kafka's own.
fn create_topics(
    asked: &mut Asked,
    root: &mut Record<'_>,
    told: &mut Told,
) -> Result<Option<Mapped>, TreeError> {
    let refuse = |topic: &Record<'_>| {
        let internal = topic
            .get("Name")
            .as_text()?
            .is_some_and(|name| INTERNAL_TOPICS.contains(&name));
        Ok(internal.then_some(INVALID_TOPIC_EXCEPTION))
    };
    take_out(asked, root, told, ("Topics", "Topics"), refuse)
}

/// Takes elements out of an array of the request that there is an error code for, and has them in the answer. `Some`: nothing is left.
pub(crate) fn take_out(
    asked: &mut Asked,
    root: &mut Record<'_>,
    told: &mut Told,
    (requested, answered): (&'static str, &'static str),
    code: impl Fn(&Record<'_>) -> Result<Option<i16>, TreeError>,
) -> Result<Option<Mapped>, TreeError> {
    let fields = tree::message(asked.api, Direction::Response);
    let element = tree::element(fields, answered);
    let mut refused = Vec::new();
    root.edit_list(requested, |list| {
        let mut kept = Vec::with_capacity(list.len());
        for node in list.drain(..) {
            let code = match (&node, node.as_record()) {
                (_, Some(record)) => code(record)?,
                // A bare name: as if it were in a struct.
                (name, None) => code(&named(element, name))?,
            };
            match (code, node.as_record()) {
                (None, _) => kept.push(node),
                (Some(code), Some(record)) => {
                    refused.push(Node::Record(echo(element, record, code)))
                }
                (Some(code), None) => {
                    refused.push(Node::Record(echo(element, &named(element, &node), code)));
                }
            }
        }
        *list = kept;
        Ok::<_, TreeError>(())
    })?;
    if refused.is_empty() {
        return Ok(None);
    }
    asked.changed = true;
    if root.list(requested).is_empty() {
        let mut answer = Record::new(fields);
        answer.set(answered, Node::List(refused));
        let body = tree::encode(asked.api, asked.version, Direction::Response, &answer);
        return Ok(Some(Mapped::Answer(body)));
    }
    told.instead.push((answered, refused));
    Ok(None)
}

fn named(fields: &'static [FieldSpec], name: &Node<'_>) -> Record<'static> {
    let mut record = Record::new(fields);
    if let Some(spec) = fields.iter().find(|spec| spec.entity == Entity::TopicName) {
        record.set(spec.name, name.to_owned());
    }
    record
}
