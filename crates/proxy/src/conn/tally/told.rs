//! What answers tell, partition by partition.

use std::sync::Arc;

use telemetry::metrics::Topic;
use wire::api::{ApiKey, Direction};
use wire::error_code::{
    INVALID_TOPIC_EXCEPTION, NONE, TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_ID,
    UNKNOWN_TOPIC_OR_PARTITION,
};
use wire::plan::{Interest, Plan, Plans};
use wire::schema::{Entity, FieldSpec};
use wire::tap::{Listener, Told};
use wire::walk::Value;

use super::asked::{Asked, Key, Part};
use super::{Fact, Tally};

/// The id is that of another topic than the name (KIP-516).
const INCONSISTENT_TOPIC_ID: i16 = 103;

static PLANS: Plans = Plans::new(Interest::of(&[
    Entity::TopicName,
    Entity::TopicId,
    Entity::Partition,
    Entity::GroupId,
    Entity::Records,
    Entity::Offset,
    Entity::ErrorCode,
]));

pub(super) fn plan(api: ApiKey, version: i16) -> Option<&'static Plan> {
    match api {
        ApiKey::PRODUCE
        | ApiKey::FETCH
        | ApiKey::SHARE_FETCH
        | ApiKey::LIST_OFFSETS
        | ApiKey::OFFSET_COMMIT
        | ApiKey::TXN_OFFSET_COMMIT
        | ApiKey::OFFSET_FETCH
        | ApiKey::OFFSET_DELETE
        | ApiKey::DELETE_TOPICS
        | ApiKey::DELETE_GROUPS => PLANS.get(api, version, Direction::Response),
        _ => None,
    }
}

/// Where the reading of an answer stands.
#[derive(Default)]
pub(super) struct Reading {
    topic: Vec<u8>,
    id: Option<[u8; 16]>,
    /// The topic at hand, once it had to be known.
    known: Option<Arc<Topic>>,
    group: Vec<u8>,
    row: Option<Row>,
    /// The last error outside of a partition.
    error: i16,
}

/// What one partition of an answer says.
#[derive(Clone, Copy, Default)]
struct Row {
    partition: i32,
    error: Option<i16>,
    offset: Option<i64>,
    bytes: u64,
}

/// Hears an answer.
pub(super) struct Hearing<'h> {
    pub(super) tally: &'h std::rc::Rc<Tally>,
    pub(super) api: ApiKey,
    pub(super) asked: Option<&'h mut Asked>,
    pub(super) reading: &'h mut Reading,
}

impl Listener for Hearing<'_> {
    fn field(&mut self, spec: &'static FieldSpec, told: Told<'_>) {
        let reading = &mut *self.reading;
        match (spec.entity, told) {
            (Entity::TopicName, Told::Text(name)) => {
                reading.topic.clear();
                reading.topic.extend_from_slice(name.unwrap_or_default());
                (reading.id, reading.known) = (None, None);
            }
            // Where there are both, the name says it.
            (Entity::TopicId, Told::Fixed(Value::Uuid(id)))
                if self.api != ApiKey::DELETE_TOPICS || reading.topic.is_empty() =>
            {
                (reading.id, reading.known) = (Some(id), None);
            }
            (Entity::GroupId, Told::Text(name)) => {
                reading.group.clear();
                reading.group.extend_from_slice(name.unwrap_or_default());
            }
            (Entity::Partition, Told::Fixed(Value::Int(partition))) => {
                reading.row = Some(Row {
                    partition: i32::try_from(partition).unwrap_or(-1),
                    ..Row::default()
                });
            }
            (Entity::ErrorCode, Told::Fixed(Value::Int(code))) => {
                let code = i16::try_from(code).unwrap_or(i16::MAX);
                match &mut reading.row {
                    Some(row) => row.error = row.error.or(Some(code)),
                    None => reading.error = code,
                }
            }
            (Entity::Offset, Told::Fixed(Value::Int(offset))) => {
                if let Some(row) = &mut reading.row {
                    row.offset = Some(offset).filter(|offset| *offset >= 0);
                }
            }
            (Entity::Records, Told::Records { len, .. }) => {
                if let Some(row) = &mut reading.row {
                    row.bytes = len;
                }
            }
            _ => {}
        }
    }

    fn leave(&mut self, _spec: &'static FieldSpec) {
        match self.reading.row.take() {
            Some(row) => self.partition(&row),
            None => self.whole(),
        }
    }
}

impl Hearing<'_> {
    fn partition(&mut self, row: &Row) {
        let error = row.error.unwrap_or(NONE);
        let is_fine = error == NONE;
        match self.api {
            ApiKey::PRODUCE => {
                let refused = [
                    UNKNOWN_TOPIC_OR_PARTITION,
                    INVALID_TOPIC_EXCEPTION,
                    TOPIC_AUTHORIZATION_FAILED,
                    UNKNOWN_TOPIC_ID,
                    INCONSISTENT_TOPIC_ID,
                ];
                if refused.contains(&error) {
                    return;
                }
                // What a broker refuses for another reason was sent to it, too.
                let Some(part) = self.asked_part(row.partition) else {
                    return;
                };
                self.tell(Fact::Produced(part.bytes));
                if let Some(base) = row.offset.filter(|_| is_fine && part.value > 0) {
                    self.tell(Fact::End(row.partition, base.saturating_add(part.value)));
                }
            }
            ApiKey::FETCH | ApiKey::SHARE_FETCH if is_fine => {
                self.tell(Fact::Fetched(row.bytes));
                if let Some(end) = row.offset {
                    self.tell(Fact::End(row.partition, end));
                }
            }
            ApiKey::LIST_OFFSETS if is_fine => {
                let part = self.asked_part(row.partition);
                let sees = |asked: &&mut Asked| part.is_some_and(|part| asked.sees_the_end(&part));
                if let Some(end) = row.offset
                    && self.asked.as_ref().is_some_and(sees)
                {
                    self.tell(Fact::End(row.partition, end));
                }
            }
            ApiKey::OFFSET_COMMIT if is_fine => {
                if let Some(part) = self.asked_part(row.partition) {
                    self.tell_commit(row.partition, part.value);
                }
            }
            ApiKey::OFFSET_FETCH if is_fine => {
                if let Some(offset) = row.offset {
                    self.tell_commit(row.partition, offset);
                }
            }
            ApiKey::TXN_OFFSET_COMMIT if is_fine => {
                if let Some(group) = self.asked.as_ref().and_then(|asked| asked.group()) {
                    self.tally.group_known(group);
                }
            }
            ApiKey::OFFSET_DELETE if is_fine => {
                let group = self.asked.as_ref().and_then(|asked| asked.group());
                if let (Some(group), Ok(topic)) = (group, std::str::from_utf8(&self.reading.topic))
                {
                    self.tally.commit_deleted(group, topic, row.partition);
                }
            }
            _ => {}
        }
    }

    /// A topic, a group, or a result without partitions has ended.
    fn whole(&mut self) {
        let reading = &mut *self.reading;
        let error = std::mem::take(&mut reading.error);
        let text = |bytes| std::str::from_utf8(bytes).ok().filter(|t| !t.is_empty());
        match self.api {
            ApiKey::DELETE_TOPICS => {
                if let Some(topic) = text(&reading.topic).filter(|_| error == NONE) {
                    self.tally.topic_deleted(topic);
                }
                reading.topic.clear();
            }
            ApiKey::DELETE_GROUPS => {
                if let Some(group) = text(&reading.group).filter(|_| error == NONE) {
                    self.tally.group_deleted(group);
                }
            }
            _ => {}
        }
    }

    fn asked_part(&mut self, partition: i32) -> Option<Part> {
        let key = match self.reading.id {
            Some(id) => Key::Id(id),
            None => Key::Name(&self.reading.topic),
        };
        self.asked.as_mut()?.part(key, partition)
    }

    fn tell_commit(&mut self, partition: i32, offset: i64) {
        let group = match &self.asked {
            Some(asked) => asked.group(),
            None => std::str::from_utf8(&self.reading.group).ok(),
        };
        // The empty group is that of clients without one.
        let Some(group) = group.filter(|group| !group.is_empty()) else {
            return;
        };
        let fact = Fact::Committed(group.into(), partition, offset);
        self.tell(fact);
    }

    /// A fact about the topic at hand, which the answer has shown to exist.
    fn tell(&mut self, fact: Fact) {
        let reading = &mut *self.reading;
        if reading.known.is_none() {
            reading.known = match reading.id {
                Some(id) => self.tally.by_id(id),
                None => self.tally.by_name(&reading.topic),
            };
        }
        match (&reading.known, reading.id) {
            (Some(topic), _) => self.tally.apply(topic, fact),
            (None, Some(id)) => self.tally.wait_for(id, fact),
            (None, None) => {}
        }
    }
}
