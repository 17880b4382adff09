//! What of a request has to be known when its answer comes.

use std::ops::Range;

use wire::api::{ApiKey, Direction};
use wire::plan::{Interest, Plan, Plans};
use wire::records::BatchHeader;
use wire::schema::{Entity, FieldSpec};
use wire::tap::{Listener, Told};
use wire::walk::Value;

/// Partitions, and topics, of one request that are told apart; of a request with more nothing is told.
const MAX_PARTS: usize = 10_000;
const MAX_TOPICS: usize = 2000;

/// Names of one request, bytes.
const MAX_TEXT: usize = 256 * 1024;

static PLANS: Plans = Plans::new(Interest::of(&[
    Entity::TopicName,
    Entity::TopicId,
    Entity::Partition,
    Entity::GroupId,
    Entity::Records,
    Entity::Offset,
    Entity::OffsetQuery,
    Entity::IsolationLevel,
]));

/// How a message says which topic it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key<'a> {
    Name(&'a [u8]),
    Id([u8; 16]),
}

/// The facts of one request. Made to be used again: what it has allocated stays.
#[derive(Default)]
pub(crate) struct Asked {
    text: Vec<u8>,
    group: Option<Range<usize>>,
    topics: Vec<Topic>,
    parts: Vec<Part>,
    isolation: i64,
    too_much: bool,
    /// The topic that was found last.
    found: usize,
    /// Whether the partitions of each topic are in order.
    is_sorted: bool,
}

struct Topic {
    name: Range<usize>,
    id: Option<[u8; 16]>,
    /// Where its partitions begin.
    parts: usize,
}

/// One partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) partition: i32,
    /// Produce: how many records; OffsetCommit: the offset; ListOffsets: what was asked for.
    pub(super) value: i64,
    /// Produce: bytes of records.
    pub(super) bytes: u64,
}

impl Asked {
    /// `None`: the answers of this kind say everything.
    pub(super) fn plan(api: ApiKey, version: i16) -> Option<&'static Plan> {
        let is_needed = match api {
            ApiKey::PRODUCE
            | ApiKey::LIST_OFFSETS
            | ApiKey::OFFSET_COMMIT
            | ApiKey::TXN_OFFSET_COMMIT
            | ApiKey::OFFSET_DELETE => true,
            // Later ones are about several groups and name them.
            ApiKey::OFFSET_FETCH => version <= 7,
            _ => false,
        };
        match is_needed {
            true => PLANS.get(api, version, Direction::Request),
            false => None,
        }
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.topics.clear();
        self.parts.clear();
        (self.group, self.isolation) = (None, 0);
        (self.too_much, self.found, self.is_sorted) = (false, 0, false);
    }

    /// It could not be read.
    pub(super) fn give_up(&mut self) {
        self.too_much = true;
    }

    /// How much it holds, in partitions.
    pub(super) fn size(&self) -> usize {
        self.parts.capacity().max(self.topics.capacity()).max(1)
    }

    pub(super) fn group(&self) -> Option<&str> {
        let name = self.text.get(self.group.clone()?)?;
        std::str::from_utf8(name).ok()
    }

    /// Whether the end of the log is asked for as everybody sees it.
    pub(super) fn sees_the_end(&self, part: &Part) -> bool {
        const LATEST: i64 = -1;
        part.value == LATEST && self.isolation == 0
    }

    /// The partitions by topic.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Key<'_>, &[Part])> {
        let of = |index: usize| (self.key(index), self.parts_of(index));
        (0..self.topics.len()).map(of).filter(|_| !self.too_much)
    }

    /// What was asked about a partition.
    pub(super) fn part(&mut self, key: Key<'_>, partition: i32) -> Option<Part> {
        if self.too_much {
            return None;
        }
        if !self.is_sorted {
            self.sort();
        }
        // Answers mostly follow the order of the request.
        let next = (self.found..self.topics.len().min(self.found + 2))
            .find(|index| self.key(*index) == key);
        let index = match next {
            Some(index) => index,
            None => (0..self.topics.len()).find(|index| self.key(*index) == key)?,
        };
        self.found = index;
        let parts = self.parts_of(index);
        let at = parts.binary_search_by_key(&partition, |part| part.partition);
        parts.get(at.ok()?).copied()
    }

    fn sort(&mut self) {
        for index in 0..self.topics.len() {
            let range = self.range(index);
            if let Some(parts) = self.parts.get_mut(range)
                && !parts.is_sorted_by_key(|part| part.partition)
            {
                parts.sort_by_key(|part| part.partition);
            }
        }
        self.is_sorted = true;
    }

    fn key(&self, index: usize) -> Key<'_> {
        match self.topics.get(index) {
            Some(Topic { id: Some(id), .. }) => Key::Id(*id),
            Some(topic) => Key::Name(self.text.get(topic.name.clone()).unwrap_or_default()),
            None => Key::Name(&[]),
        }
    }

    fn range(&self, index: usize) -> Range<usize> {
        let start = |index: usize| self.topics.get(index).map(|topic| topic.parts);
        let end = start(index + 1).unwrap_or(self.parts.len());
        start(index).unwrap_or(end)..end
    }

    fn parts_of(&self, index: usize) -> &[Part] {
        self.parts.get(self.range(index)).unwrap_or_default()
    }

    fn topic(&mut self, name: Range<usize>, id: Option<[u8; 16]>) {
        let parts = self.parts.len();
        self.topics.push(Topic { name, id, parts });
    }

    fn note(&mut self, text: &[u8]) -> Range<usize> {
        let start = self.text.len();
        if start + text.len() > MAX_TEXT {
            self.too_much = true;
            return start..start;
        }
        self.text.extend_from_slice(text);
        start..self.text.len()
    }
}

impl Listener for Asked {
    fn field(&mut self, spec: &'static FieldSpec, told: Told<'_>) {
        self.too_much |= self.topics.len() > MAX_TOPICS || self.parts.len() >= MAX_PARTS;
        if self.too_much {
            return;
        }
        match (spec.entity, told) {
            (Entity::GroupId, Told::Text(Some(name))) => self.group = Some(self.note(name)),
            (Entity::TopicName, Told::Text(Some(name))) => {
                let name = self.note(name);
                self.topic(name, None);
            }
            (Entity::TopicId, Told::Fixed(Value::Uuid(id))) => self.topic(0..0, Some(id)),
            (Entity::IsolationLevel, Told::Fixed(Value::Int(level))) => self.isolation = level,
            (Entity::Partition, Told::Fixed(Value::Int(partition))) => self.parts.push(Part {
                partition: i32::try_from(partition).unwrap_or(-1),
                ..Part::default()
            }),
            (Entity::Offset | Entity::OffsetQuery, Told::Fixed(Value::Int(value))) => {
                if let Some(part) = self.parts.last_mut() {
                    part.value = value;
                }
            }
            (Entity::Records, Told::Records { len, head }) => {
                if let Some(part) = self.parts.last_mut() {
                    part.bytes = len;
                    // Brokers take one batch for each partition only.
                    let batch = BatchHeader::parse(head);
                    let last = batch.map_or(-1, |batch| batch.last_offset_delta);
                    part.value = i64::from(last) + 1;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::tap::Tap;
    use wire::testing::{Rng, random_body};

    use super::*;

    /// Produce version 3 of `topics` topics with two partitions each, the second first, without records.
    fn produce(topics: u32) -> Vec<u8> {
        let mut body = vec![0xff, 0xff, 0, 1, 0, 0, 0, 9];
        body.extend(topics.to_be_bytes());
        for topic in 0..topics {
            let name = format!("t{topic:05}");
            body.extend(6_u16.to_be_bytes());
            body.extend(name.as_bytes());
            body.extend(2_u32.to_be_bytes());
            for partition in [1, 0_u32] {
                body.extend(partition.to_be_bytes());
                body.extend((partition + 5).to_be_bytes());
                body.extend(vec![9; partition as usize + 5]);
            }
        }
        body
    }

    fn read(asked: &mut Asked, body: &[u8], piece: usize) {
        let plan = Asked::plan(ApiKey::PRODUCE, 3).unwrap();
        let mut tap = Tap::new(plan, body.len() as u64);
        for piece in body.chunks(piece) {
            tap.feed(piece, asked).unwrap();
        }
        assert!(tap.is_complete());
    }

    #[test]
    fn partitions_are_found_in_any_order() {
        let mut asked = Asked::default();
        for piece in [1, 7, 1000, 1_000_000] {
            asked.clear();
            read(&mut asked, &produce(100), piece);
            for topic in (0..100).chain((0..100).rev()).chain([50, 3, 3]) {
                let name = format!("t{topic:05}");
                for partition in [0, 1] {
                    let part = asked.part(Key::Name(name.as_bytes()), partition).unwrap();
                    assert_eq!(
                        (part.partition, part.bytes),
                        (partition, partition as u64 + 5)
                    );
                    assert_eq!(part.value, 0, "no batch that can be read");
                }
                assert_eq!(asked.part(Key::Name(name.as_bytes()), 2), None);
            }
            assert_eq!(asked.part(Key::Name(b"other"), 0), None);
            assert_eq!(asked.part(Key::Id([0; 16]), 0), None);
        }
    }

    #[test]
    fn of_too_many_nothing_is_told() {
        let mut asked = Asked::default();
        read(&mut asked, &produce(5000), 4096);
        assert_eq!(asked.part(Key::Name(b"t00001"), 0), None);
        assert_eq!(asked.parts().count(), 0);
        assert!(asked.topics.len() <= MAX_TOPICS + 1 && asked.text.len() <= MAX_TEXT);
        asked.clear();
        read(&mut asked, &produce(3), 4096);
        assert_eq!(asked.parts().count(), 3, "used again");
    }

    #[test]
    fn any_request_can_be_read() {
        let mut rng = Rng::new(3);
        let mut asked = Asked::default();
        for api in ApiKey::all() {
            let spec = api.spec().unwrap();
            for version in spec.min_version..=spec.max_version {
                let Some(plan) = Asked::plan(api, version) else {
                    continue;
                };
                asked.clear();
                let body = random_body(api, version, Direction::Request, &mut rng);
                let mut tap = Tap::new(plan, body.len() as u64);
                for piece in body.chunks(5) {
                    tap.feed(piece, &mut asked).unwrap();
                }
                assert!(tap.is_complete());
                let found: Vec<_> = asked.parts().map(|(_, parts)| parts.len()).collect();
                assert_eq!(found.iter().sum::<usize>(), asked.parts.len());
            }
        }
    }
}
