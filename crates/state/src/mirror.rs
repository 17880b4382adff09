//! The content of the topics in memory: records in, snapshots out.

use std::collections::BTreeMap;
use std::sync::Arc;

use telemetry::targets::STATE;

use crate::committed::Committed;
use crate::kafka::Place;
use crate::record::{self, Key, MAX_KEY};
use crate::resource::{self, Read};
use crate::snapshot::Snapshot;
use crate::topic::StoreTopic;

/// Keys held that are not ours to read, per topic. Further ones are only counted.
const MAX_FOREIGN: usize = 10_000;

/// Ignored records that are logged one by one; then every time their number has doubled.
const LOGGED: u64 = 16;

/// What a topic holds under one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The partition it lives in; changes to it go there too, so that their order is that of a log.
    pub(crate) partition: i32,
    /// Nobody here can read it: an unknown kind, a newer version, or nonsense.
    pub(crate) foreign: bool,
}

/// A function of the records, in their order: the last record of each key decides.
#[derive(Clone, Default)]
pub(crate) struct Mirror {
    snapshot: Snapshot,
    index: [BTreeMap<Box<[u8]>, Held>; StoreTopic::ALL.len()],
    foreign: [usize; StoreTopic::ALL.len()],
    ignored: u64,
}

impl Mirror {
    /// The resources now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        Arc::new(self.snapshot.clone())
    }

    /// Keys of a topic.
    pub(crate) fn size(&self, topic: StoreTopic) -> usize {
        self.index[topic.index()].len()
    }

    /// What is held under a key.
    pub(crate) fn held(&self, topic: StoreTopic, key: &str) -> Option<Held> {
        self.index[topic.index()].get(key.as_bytes()).copied()
    }

    /// In how many keys or resources two mirrors differ.
    pub(crate) fn differences(&self, other: &Mirror) -> usize {
        let keys: usize = self
            .index
            .iter()
            .zip(&other.index)
            .map(|(mine, theirs)| {
                let one = mine.iter().filter(|(k, v)| theirs.get(*k) != Some(v));
                let gone = theirs.keys().filter(|k| !mine.contains_key(*k));
                one.count() + gone.count()
            })
            .sum();
        // Equal keys with other content.
        keys.max(usize::from(self.snapshot != other.snapshot))
    }

    /// Takes in one record.
    pub(crate) fn apply(&mut self, place: Place, record: Committed<'_>) {
        let (topic, partition) = place;
        let Some(key) = record.key else {
            return self.ignore(place, record.offset, b"", "it has no key");
        };
        if key.len() > MAX_KEY {
            return self.ignore(place, record.offset, key, "its key is too long");
        }
        if let Some(held) = self.index[topic.index()].get(key)
            && held.partition != partition
            && (record.value.is_none() || held.partition < partition)
        {
            return self.ignore(
                place,
                record.offset,
                key,
                "its key lives in another partition",
            );
        }
        let Some(value) = record.value else {
            return self.forget(topic, key);
        };
        let held = |foreign| Held { partition, foreign };
        match self.put(topic, key, value) {
            Ok(()) => self.hold(topic, key, held(false)),
            Err(reason) => {
                self.forget(topic, key);
                if self.foreign[topic.index()] < MAX_FOREIGN {
                    self.hold(topic, key, held(true));
                }
                self.ignore(place, record.offset, key, &reason);
            }
        }
    }

    /// Puts the resource of a record into its table.
    fn put(&mut self, topic: StoreTopic, key: &[u8], value: &[u8]) -> Result<(), String> {
        let Key { text, kind, name } = Key::parse(key)?;
        let kind = resource::find(topic, &kind).ok_or("its kind is unknown here")?;
        let (version, fields) = record::parse_value(value)?;
        if version > kind.version {
            return Err(format!(
                "version {version} is newer than {}, the last one known here",
                kind.version
            ));
        }
        let read = Read {
            version,
            name,
            fields,
        };
        (kind.put)(&mut self.snapshot, &text, read)
    }

    fn hold(&mut self, topic: StoreTopic, key: &[u8], held: Held) {
        let before = self.index[topic.index()].insert(key.into(), held);
        let foreign = &mut self.foreign[topic.index()];
        *foreign -= usize::from(before.is_some_and(|b| b.foreign));
        *foreign += usize::from(held.foreign);
    }

    fn forget(&mut self, topic: StoreTopic, key: &[u8]) {
        let Some(held) = self.index[topic.index()].remove(key) else {
            return;
        };
        if held.foreign {
            self.foreign[topic.index()] -= 1;
        } else if let Ok(Key { text, kind, .. }) = Key::parse(key)
            && let Some(kind) = resource::find(topic, &kind)
        {
            (kind.remove)(&mut self.snapshot, &text);
        }
    }

    fn ignore(&mut self, (topic, partition): Place, offset: i64, key: &[u8], reason: &str) {
        self.ignored += 1;
        if self.ignored <= LOGGED || self.ignored.is_power_of_two() {
            let shown: String = String::from_utf8_lossy(&key[..key.len().min(200)])
                .chars()
                .take(100)
                .collect();
            tracing::warn!(
                target: STATE,
                %topic,
                partition,
                offset,
                key = ?shown,
                ignored = self.ignored,
                "a record is kept in Kafka and ignored here: {reason}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: StoreTopic = StoreTopic::UserMappings;

    fn apply(mirror: &mut Mirror, partition: i32, key: &str, value: Option<&str>) {
        let record = Committed {
            offset: 0,
            key: Some(key.as_bytes()),
            value: value.map(str::as_bytes),
        };
        mirror.apply((TOPIC, partition), record);
    }

    const KEY: &str = r#"["service-account","v","a"]"#;
    const LOCAL: &str = r#"{"v":1,"type":"LOCAL"}"#;

    #[test]
    fn the_last_record_decides() {
        let mut mirror = Mirror::default();
        apply(&mut mirror, 0, KEY, Some(LOCAL));
        let before = mirror.snapshot();
        assert_eq!(
            mirror.held(TOPIC, KEY),
            Some(Held {
                partition: 0,
                foreign: false
            })
        );
        apply(&mut mirror, 0, KEY, Some(r#"{"v":2,"type":"LOCAL"}"#));
        assert_eq!(
            mirror.held(TOPIC, KEY),
            Some(Held {
                partition: 0,
                foreign: true
            })
        );
        assert_eq!(
            (mirror.size(TOPIC), mirror.snapshot().accounts.len()),
            (1, 0)
        );
        apply(&mut mirror, 0, KEY, Some(LOCAL));
        assert_eq!(
            (mirror.foreign[0], mirror.snapshot().accounts.len()),
            (0, 1)
        );
        apply(&mut mirror, 0, KEY, None);
        assert_eq!(
            (mirror.size(TOPIC), mirror.snapshot().accounts.len()),
            (0, 0)
        );
        assert_eq!(before.accounts.len(), 1, "snapshots do not change");
    }

    #[test]
    fn a_key_lives_in_one_partition() {
        let mut mirror = Mirror::default();
        apply(&mut mirror, 2, KEY, Some(LOCAL));
        apply(&mut mirror, 0, KEY, None);
        apply(&mut mirror, 3, KEY, Some(LOCAL));
        assert_eq!(mirror.held(TOPIC, KEY).map(|h| h.partition), Some(2));
        apply(&mut mirror, 1, KEY, Some(LOCAL));
        apply(&mut mirror, 2, KEY, None);
        assert_eq!(mirror.held(TOPIC, KEY).map(|h| h.partition), Some(1));
        assert_eq!(mirror.ignored, 3);
    }

    #[test]
    fn foreign_keys_are_bounded() {
        let mut mirror = Mirror::default();
        for n in 0..MAX_FOREIGN + 10 {
            apply(&mut mirror, 0, &n.to_string(), Some(""));
        }
        assert_eq!(mirror.size(TOPIC), MAX_FOREIGN);
        apply(&mut mirror, 0, "1", None);
        apply(&mut mirror, 0, "another", Some(""));
        assert_eq!(mirror.size(TOPIC), MAX_FOREIGN);
        mirror.apply(
            (TOPIC, 0),
            Committed {
                offset: 1,
                key: None,
                value: None,
            },
        );
        assert_eq!(mirror.size(TOPIC), MAX_FOREIGN);
    }

    #[test]
    fn differences_are_counted() {
        let (mut one, mut two) = (Mirror::default(), Mirror::default());
        apply(&mut one, 0, KEY, Some(LOCAL));
        assert_eq!((one.differences(&two), two.differences(&one)), (1, 1));
        apply(
            &mut two,
            0,
            KEY,
            Some(r#"{"v":1,"type":"LOCAL","metadata":{"a":1}}"#),
        );
        assert_eq!(one.differences(&two), 1);
        apply(&mut two, 0, KEY, Some(LOCAL));
        assert_eq!(one.differences(&two), 0);
    }
}
