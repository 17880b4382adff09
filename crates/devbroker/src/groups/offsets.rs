//! Committed offsets of one group, and those that transactions have sent but not yet ended.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kafka_protocol::ResponseError;

use crate::memory::{Budget, Charge};

/// Longest metadata text taken with an offset (`offset.metadata.max.bytes`).
const MAX_METADATA_BYTES: usize = 4_096;
const FIXED_COST: usize = 128;

type Place = (String, i32);

#[derive(Debug)]
pub(crate) struct Offsets {
    committed: BTreeMap<Place, Committed>,
    pending: HashMap<i64, BTreeMap<Place, Committed>>,
    budget: Arc<Budget>,
}

/// One committed offset.
#[derive(Debug)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: String,
    _charge: Charge,
}

impl Offsets {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Offsets {
            committed: BTreeMap::new(),
            pending: HashMap::new(),
            budget,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.pending.is_empty()
    }

    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&Committed> {
        self.committed.get(&(topic.to_owned(), partition))
    }

    /// All committed offsets, ordered by topic and partition.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, i32, &Committed)> {
        self.committed
            .iter()
            .map(|((topic, partition), c)| (topic.as_str(), *partition, c))
    }

    /// Whether an open transaction has sent an offset for this partition (KIP-447).
    pub(crate) fn is_unstable(&self, topic: &str, partition: i32) -> bool {
        let place = (topic.to_owned(), partition);
        self.pending.values().any(|p| p.contains_key(&place))
    }

    /// Commits at once, or with the transaction of `producer_id`.
    pub(crate) fn commit(
        &mut self,
        producer_id: Option<i64>,
        place: (&str, i32),
        offset: i64,
        leader_epoch: i32,
        metadata: &str,
    ) -> Result<(), ResponseError> {
        if metadata.len() > MAX_METADATA_BYTES {
            return Err(ResponseError::OffsetMetadataTooLarge);
        }
        let charge = self
            .budget
            .charge(FIXED_COST + place.0.len() + metadata.len());
        let committed = Committed {
            offset,
            leader_epoch,
            metadata: metadata.to_owned(),
            _charge: charge.ok_or(ResponseError::KafkaStorageError)?,
        };
        let map = match producer_id {
            Some(id) => self.pending.entry(id).or_default(),
            None => &mut self.committed,
        };
        map.insert((place.0.to_owned(), place.1), committed);
        Ok(())
    }

    pub(crate) fn delete(&mut self, topic: &str, partition: i32) {
        self.committed.remove(&(topic.to_owned(), partition));
    }

    pub(super) fn end_transaction(&mut self, producer_id: i64, committed: bool) {
        let pending = self.pending.remove(&producer_id).unwrap_or_default();
        if committed {
            self.committed.extend(pending);
        }
    }

    pub(super) fn forget_topic(&mut self, topic: &str) {
        self.committed.retain(|(name, _), _| name != topic);
        for pending in self.pending.values_mut() {
            pending.retain(|(name, _), _| name != topic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactional_offsets_show_only_after_commit() {
        let budget = Budget::new(10_000);
        let mut offsets = Offsets::new(budget.clone());
        offsets
            .commit(None, ("t", 0), 5, 1, "m")
            .expect("committed");
        offsets
            .commit(Some(7), ("t", 0), 9, 1, "")
            .expect("pending");
        assert!(offsets.is_unstable("t", 0) && !offsets.is_unstable("t", 1));
        assert_eq!(offsets.get("t", 0).map(|c| c.offset), Some(5));
        offsets.end_transaction(7, true);
        assert_eq!(offsets.get("t", 0).map(|c| c.offset), Some(9));
        offsets
            .commit(Some(7), ("t", 0), 11, 1, "")
            .expect("pending");
        offsets.end_transaction(7, false);
        assert_eq!(offsets.get("t", 0).map(|c| c.offset), Some(9));
        offsets.forget_topic("t");
        assert!(offsets.is_empty());
        assert_eq!(budget.used(), 0);
        let long = "x".repeat(MAX_METADATA_BYTES + 1);
        assert_eq!(
            offsets.commit(None, ("t", 0), 1, 0, &long),
            Err(ResponseError::OffsetMetadataTooLarge)
        );
    }
}
