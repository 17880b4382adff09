//! Topic ids (KIP-516). A plain topic keeps its own. An alias has one of its own, so that clients, which keep a map from ids to names, can
//! tell it from its target.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};

use crate::tenant::Tenant;

/// A topic id.
pub type TopicId = [u8; 16];

/// What is known of the topics of Kafka.
pub trait Topics {
    /// The name of a topic; `None` if nobody knows the id.
    fn name(&self, id: &TopicId) -> Option<Arc<str>>;

    /// The id of a topic; `None` if it is not known.
    fn id(&self, name: &str) -> Option<TopicId>;

    /// The topics of Kafka with their partitions. `None`: not at hand.
    fn all(&self) -> Option<&[(Arc<str>, usize)]>;
}

/// Where no topic ids play a part.
impl Topics for () {
    fn name(&self, _id: &TopicId) -> Option<Arc<str>> {
        None
    }

    fn id(&self, _name: &str) -> Option<TopicId> {
        None
    }

    fn all(&self) -> Option<&[(Arc<str>, usize)]> {
        None
    }
}

/// The ids of the aliases of a virtual cluster, both ways.
#[derive(Debug, Default)]
pub struct AliasIds {
    aliases: HashMap<TopicId, (Arc<str>, TopicId)>,
}

impl AliasIds {
    pub(crate) fn new(tenant: &Tenant, topics: &dyn Topics) -> AliasIds {
        let pairs = tenant.aliases().filter_map(|(alias, target)| {
            let target = topics.id(target.as_str())?;
            Some((tenant.alias_id(alias, target), (alias.clone(), target)))
        });
        AliasIds {
            aliases: pairs.collect(),
        }
    }

    /// The alias of this id, and the id of its target.
    pub(crate) fn find(&self, id: &TopicId) -> Option<(&Arc<str>, TopicId)> {
        self.aliases.get(id).map(|(alias, target)| (alias, *target))
    }
}

impl Tenant {
    /// The name by which a client knows the topic of an id: of one of its own, or of an alias. `None` if it is none of these.
    pub fn topic_of_id(&self, id: &TopicId, topics: &dyn Topics) -> Option<Arc<str>> {
        self.topic_of_id_with(id, topics, &OnceCell::new())
    }

    /// The same for many ids, with `topics` of one moment: `aliases` is filled once if it is needed.
    pub fn topic_of_id_with(
        &self,
        id: &TopicId,
        topics: &dyn Topics,
        aliases: &OnceCell<AliasIds>,
    ) -> Option<Arc<str>> {
        let Some(name) = topics.name(id) else {
            let ids = aliases.get_or_init(|| AliasIds::new(self, topics));
            return ids.find(id).map(|(alias, _)| alias.clone());
        };
        let own = self.logical(&name).filter(|own| !self.is_alias(own));
        own.map(Arc::from)
    }
}

/// The id of an alias: the same on every node and after every restart, another one when its target is created anew.
pub(crate) fn of_alias(vcluster: &str, alias: &str, target: TopicId) -> TopicId {
    (0..=u8::MAX)
        .map(|round| alias_id(vcluster, alias, target, round))
        .find(is_usable)
        .unwrap_or(target)
}

/// The id under which an idempotent producer writes behind an alias. Brokers give ids from 0 on.
pub(crate) fn substitute_producer(vcluster: &str, alias: &str, producer: i64) -> i64 {
    const UPPER_HALF: i64 = 1 << 62;
    let id = hash(&[
        b"producer",
        vcluster.as_bytes(),
        alias.as_bytes(),
        &producer.to_be_bytes(),
    ]);
    let mut low = [0; 8];
    low.copy_from_slice(&id[..8]);
    UPPER_HALF | (i64::from_be_bytes(low) & (UPPER_HALF - 1))
}

fn alias_id(vcluster: &str, alias: &str, target: TopicId, round: u8) -> TopicId {
    let mut id = hash(&[
        b"alias",
        vcluster.as_bytes(),
        alias.as_bytes(),
        &target,
        &[round],
    ]);
    id[6] = id[6] & 0x0f | 0x40; // version 4
    id[8] = id[8] & 0x3f | 0x80; // variant
    id
}

fn hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut hash = [0; 16];
    hash.copy_from_slice(&context.finish().as_ref()[..16]);
    hash
}

/// Kafka gives no topic an id whose text begins with a dash: command lines take it for an option.
fn is_usable(id: &TopicId) -> bool {
    const DASH: u8 = 62; // in the alphabet of base64url
    id[0] >> 2 != DASH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_aliases_are_their_own() {
        let one = of_alias("A", "orders", [7; 16]);
        assert_eq!(one, of_alias("A", "orders", [7; 16]));
        for other in [
            of_alias("B", "orders", [7; 16]),
            of_alias("A", "orders2", [7; 16]),
            of_alias("A", "orders", [8; 16]),
            of_alias("Aor", "ders", [7; 16]),
        ] {
            assert_ne!(one, other);
        }
        for n in 0..1000_u32 {
            let id = of_alias("A", &n.to_string(), [7; 16]);
            assert!(is_usable(&id) && id[6] >> 4 == 4 && id[8] >> 6 == 2);
        }
    }
}
