//! One request under judgement, and what the rules have in common.

use std::collections::HashMap;
use std::hash::Hash;

use bytes::Bytes;

use auth::acl::{AclView, Operation, ResourceType};
use wire::api::{ApiKey, Direction};
use wire::error_code::{
    CLUSTER_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED, INVALID_GROUP_ID, INVALID_REQUEST,
    INVALID_TOPIC_EXCEPTION, TOPIC_AUTHORIZATION_FAILED, TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    UNKNOWN_TOPIC_ID,
};
use wire::reply;
pub(crate) use wire::reply::error_record;
use wire::schema::{Entity, FieldSpec};

use crate::names::{self, Needs};
use crate::ruling::{AnswerWork, Error, Ruling, TopicNames};
use wire::tree::{self as message, Node, Record};

/// One request under judgement.
pub(crate) struct Request<'a> {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) body: &'a [u8],
    pub(crate) access: &'a AclView,
    pub(crate) topics: &'a dyn TopicNames,
}

impl<'a> Request<'a> {
    pub(crate) fn decode(&self) -> Result<Record<'a>, Error> {
        message::decode(self.api, self.version, Direction::Request, self.body)
    }

    pub(crate) fn encode(&self, root: &Record<'_>) -> Bytes {
        message::encode(self.api, self.version, Direction::Request, root).into()
    }

    /// An answer with everything at its default.
    pub(crate) fn answer(&self) -> Record<'static> {
        Record::new(message::message(self.api, Direction::Response))
    }

    pub(crate) fn answered(&self, answer: &Record<'_>) -> Ruling {
        Ruling::Answer(message::encode(self.api, self.version, Direction::Response, answer).into())
    }

    /// The struct in an array at the top level of the answer.
    pub(crate) fn element(&self, array: &str) -> &'static [FieldSpec] {
        message::element(message::message(self.api, Direction::Response), array)
    }

    /// Whether everything named is permitted, by the quick look.
    pub(crate) fn all_permitted(&self, needs: Needs) -> Result<bool, Error> {
        names::all_permitted(
            self.api,
            self.version,
            self.body,
            needs,
            self.access,
            self.topics,
        )
    }

    pub(crate) fn permits_topic(&self, operation: Operation, name: &str) -> bool {
        self.access.permits(operation, ResourceType::Topic, name)
    }

    pub(crate) fn allows_topic(&self, operation: Operation, name: &str) -> bool {
        self.access.allowed(operation, ResourceType::Topic, name)
    }

    /// What to say of a topic that a request names or gives the id of: 0 if the operation is allowed. A topic that nobody knows the name
    /// of is no topic, and never reaches Kafka: it could mean something there by then.
    pub(crate) fn topic_error(
        &self,
        operation: Operation,
        topic: &Record<'_>,
    ) -> Result<i16, Error> {
        let mut name = topic.meaning(Entity::TopicName).as_text()?;
        let by_id = match topic.meaning(Entity::TopicId) {
            Node::Uuid(id) if *id != [0; 16] => match self.topics.name(id) {
                Some(by_id) => {
                    // With an id clients leave the name at its default, which is not always null.
                    name = name.filter(|name| !name.is_empty());
                    Some(by_id)
                }
                None => return Ok(UNKNOWN_TOPIC_ID),
            },
            _ if name.is_none() => return Ok(UNKNOWN_TOPIC_ID),
            _ => None,
        };
        // Who gives both must be allowed both, whichever the broker prefers.
        let allowed = by_id.is_none_or(|name| self.allows_topic(operation, &name))
            && name.is_none_or(|name| self.allows_topic(operation, name));
        Ok(if allowed {
            0
        } else {
            self.denial(ResourceType::Topic, name.unwrap_or("?"))
        })
    }

    /// What to say of something that is denied. Of names that there cannot be in a virtual cluster, which has no empty ones and none that
    /// would be another's, it is said that they are not valid; elsewhere brokers find that out, where it is allowed to look.
    pub(crate) fn denial(&self, resource_type: ResourceType, name: &str) -> i16 {
        let no_name = self.access.is_confined() && !self.access.contains(resource_type, name);
        match resource_type {
            ResourceType::Topic if no_name => INVALID_TOPIC_EXCEPTION,
            ResourceType::Topic => TOPIC_AUTHORIZATION_FAILED,
            ResourceType::Group if no_name => INVALID_GROUP_ID,
            ResourceType::Group => GROUP_AUTHORIZATION_FAILED,
            ResourceType::TransactionalId if no_name && name.is_empty() => INVALID_REQUEST,
            ResourceType::TransactionalId => TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            _ => CLUSTER_AUTHORIZATION_FAILED,
        }
    }

    /// Takes the topics out of an array of a request that the operation is not allowed on, and makes of each what the answer says of it.
    pub(crate) fn take_denied_topics<'r>(
        &self,
        holder: &mut Record<'r>,
        array: &str,
        operation: Operation,
        mut say: impl FnMut(&Record<'r>, i16) -> Record<'static>,
    ) -> Result<Vec<Node<'static>>, Error> {
        take_denied(holder, array, |topic| {
            let Some(topic) = topic.as_record() else {
                return Ok(None);
            };
            let code = self.topic_error(operation, topic)?;
            Ok((code != 0).then(|| say(topic, code)))
        })
    }

    /// The ruling on a request that consists of one array, after its denied elements are taken out.
    pub(crate) fn partly(
        &self,
        root: &Record<'_>,
        requested: &str,
        answered: &'static str,
        denied: Vec<Node<'static>>,
    ) -> Ruling {
        if denied.is_empty() {
            return Ruling::Forward;
        }
        if root.list(requested).is_empty() {
            let mut answer = self.answer();
            answer.set(answered, Node::List(denied));
            return self.answered(&answer);
        }
        self.forwarded(root, answered, denied)
    }

    /// As [`Request::partly`] where the broker has to be asked even if nothing is left: it may have something to say of the whole.
    pub(crate) fn forwarded(
        &self,
        root: &Record<'_>,
        answered: &'static str,
        denied: Vec<Node<'static>>,
    ) -> Ruling {
        if denied.is_empty() {
            return Ruling::Forward;
        }
        Ruling::Rewrite {
            body: Some(self.encode(root)),
            answer: AnswerWork::append(self.api, answered, denied),
        }
    }

    /// What an answer says of a topic of the request with all the partitions it asks for. `finish` sets what of a partition is neither
    /// named in the request nor a default.
    pub(crate) fn topic_denial(
        &self,
        element: &'static [FieldSpec],
        topic: &Record<'_>,
        code: i16,
        finish: fn(&mut Record<'static>),
    ) -> Record<'static> {
        reply::topic_error(element, topic, code, finish)
    }

    /// An element of an answer with the names of the request's and an error code.
    pub(crate) fn echo(
        &self,
        element: &'static [FieldSpec],
        asked: &Record<'_>,
        code: i16,
    ) -> Record<'static> {
        reply::echo(element, asked, code)
    }
}

/// Takes the elements out of an array that `judge` says something of.
pub(crate) fn take_denied<'a>(
    holder: &mut Record<'a>,
    array: &str,
    mut judge: impl FnMut(&Node<'a>) -> Result<Option<Record<'static>>, Error>,
) -> Result<Vec<Node<'static>>, Error> {
    holder.edit_list(array, |list| {
        let mut denied = Vec::new();
        let mut kept = Vec::with_capacity(list.len());
        for node in list.drain(..) {
            match judge(&node)? {
                Some(said) => denied.push(Node::Record(said)),
                None => kept.push(node),
            }
        }
        *list = kept;
        Ok(denied)
    })
}

/// What is said of each group, by its id.
pub(crate) fn by_group<T>(parts: Vec<(Vec<u8>, T)>) -> HashMap<Vec<u8>, Vec<T>> {
    let mut groups: HashMap<Vec<u8>, Vec<T>> = HashMap::new();
    for (group, part) in parts {
        groups.entry(group).or_default().push(part);
    }
    groups
}

/// Every answer about a group that a request names more than once says all of it: so this must not be often.
pub(crate) fn refuse_many_twins<'g>(groups: impl Iterator<Item = &'g [u8]>) -> Result<(), Error> {
    const MAX: usize = 8;
    let mut counts: HashMap<&[u8], usize> = HashMap::new();
    for group in groups {
        let count = counts.entry(group).or_default();
        *count += 1;
        if *count > MAX {
            return Err(Error::TooLarge);
        }
    }
    Ok(())
}

/// Makes what is denied more than once an invalid request, as which it would fail for anybody. `key` is what must not repeat.
pub(crate) fn refuse_twins<K: Eq + Hash>(
    denied: &mut [Node<'static>],
    key: impl Fn(&Record<'_>) -> Option<K>,
) {
    let mut counts: HashMap<K, usize> = HashMap::new();
    for key in denied.iter().filter_map(Node::as_record).filter_map(&key) {
        *counts.entry(key).or_default() += 1;
    }
    for told in denied.iter_mut().filter_map(Node::as_record_mut) {
        let count = key(told).and_then(|key| counts.get(&key));
        if count.is_some_and(|count| *count > 1) {
            told.set("ErrorCode", Node::Int(INVALID_REQUEST.into()));
            told.set("ErrorMessage", Node::text(text(INVALID_REQUEST)));
        }
    }
}

/// Sets the error text next to the error code to Kafka's own for the code.
pub(crate) fn with_text(mut record: Record<'static>, code: i16) -> Record<'static> {
    let field = record
        .fields()
        .iter()
        .find(|spec| spec.entity == Entity::ErrorMessage && !spec.array);
    if let Some(spec) = field {
        record.set(spec.name, Node::text(text(code)));
    }
    record
}

/// Short text of an error code as clients know it.
pub(crate) fn text(code: i16) -> &'static str {
    use wire::error_code::*;
    match code {
        TOPIC_AUTHORIZATION_FAILED => "Topic authorization failed.",
        GROUP_AUTHORIZATION_FAILED => "Group authorization failed.",
        CLUSTER_AUTHORIZATION_FAILED => "Cluster authorization failed.",
        TRANSACTIONAL_ID_AUTHORIZATION_FAILED => "Transactional Id authorization failed.",
        SECURITY_DISABLED => "Access control lists are not enabled.",
        DELEGATION_TOKEN_AUTH_DISABLED => "Delegation tokens are not enabled.",
        UNKNOWN_TOPIC_ID => "Unknown topic id.",
        INVALID_REQUEST => "The request is not valid.",
        POLICY_VIOLATION => "More access control entries than are taken, at once or altogether.",
        _ => "The request is refused.",
    }
}
