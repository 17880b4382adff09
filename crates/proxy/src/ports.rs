//! Port routing: which port stands for which broker, and which address a client is given for it.
//!
//! `slot = node id - GATEWAY_MIN_BROKERID`; slot `i` is the `i`-th port of the listener. The
//! mapping is fixed for the life of the process, so that every node of a gateway cluster hands out the same ports. A broker without a
//! slot is not shown to clients, and keeps nobody from the others: clusters grow, and a gateway that starts later has to serve as one
//! that ran already.

/// Spare slots after the highest broker id, for brokers that join later.
pub const SPARE: u32 = 2;

/// One port of a listener: what is told to clients, and what is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Port in the addresses handed to clients.
    pub advertised: u16,
    /// Port bound on this machine.
    pub local: u16,
}

/// Slots for all ids from `min` to `max` and [`SPARE`] more.
fn block(min: i32, max: i32) -> u64 {
    let ids = i64::from(max) - i64::from(min) + 1;
    u64::try_from(ids).unwrap_or(0) + u64::from(SPARE)
}

/// The ports of one listener and the host that clients are told.
#[derive(Clone, Debug)]
pub struct PortMap {
    host: String,
    min: i32,
    slots: Vec<Slot>,
}

impl PortMap {
    /// A map over explicit slots.
    pub fn new(host: impl Into<String>, min: i32, slots: Vec<Slot>) -> Self {
        PortMap {
            host: host.into(),
            min,
            slots,
        }
    }

    /// Slots `start, start+1, ..`, none beyond `last`: `count` of them, or as many as the broker ids up to `max` need.
    pub fn from_start(
        host: impl Into<String>,
        min: i32,
        (start, last): (u16, u16),
        count: Option<u16>,
        max: i32,
    ) -> Self {
        let count = count.map_or_else(|| block(min, max), u64::from);
        let slots = (start..=last)
            .take(usize::try_from(count).unwrap_or(usize::MAX))
            .map(|port| Slot {
                advertised: port,
                local: port,
            })
            .collect();
        PortMap::new(host, min, slots)
    }

    /// Whether every broker up to id `highest` has a slot, and [`SPARE`] more are left.
    pub fn has_spare(&self, highest: i32) -> bool {
        self.slots.len() as u64 >= block(self.min, highest)
    }

    /// All slots, in order.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The node id that slot `index` stands for, whether or not such a broker exists.
    pub fn node_of_slot(&self, index: usize) -> Option<i32> {
        i32::try_from(index)
            .ok()
            .and_then(|i| self.min.checked_add(i))
    }

    /// The address that clients are given for broker `node`; `None` if it has no slot.
    pub fn address(&self, node: i32) -> Option<(&str, u16)> {
        let index = usize::try_from(node.checked_sub(self.min)?).ok()?;
        self.slots
            .get(index)
            .map(|slot| (self.host.as_str(), slot.advertised))
    }

    /// Host in the addresses handed to clients.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Ports that broker `node` would need; below 1 if its id is below the minimum.
    pub fn size_needed(&self, node: i32) -> i64 {
        i64::from(node) - i64::from(self.min) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(map: &PortMap, ids: &[i32]) -> Vec<u16> {
        ids.iter()
            .map(|id| map.address(*id).map_or(0, |(_, port)| port))
            .collect()
    }

    fn counted(min: i32, start: u16, max: i32) -> PortMap {
        PortMap::from_start("gw", min, (start, u16::MAX), None, max)
    }

    #[test]
    fn worked_example_of_three_brokers() {
        let map = counted(1, 6969, 3);
        assert_eq!(map.slots().len(), 5);
        assert_eq!(ports(&map, &[1, 2, 3]), [6969, 6970, 6971]);
        assert!(map.has_spare(3) && !map.has_spare(4));
    }

    #[test]
    fn minimum_left_at_zero_shifts_by_one() {
        let map = counted(0, 6969, 3);
        assert_eq!(map.slots().len(), 6);
        assert_eq!(ports(&map, &[1, 2, 3]), [6970, 6971, 6972]);
        assert_eq!(map.node_of_slot(0), Some(0));
    }

    #[test]
    fn sparse_ids_need_every_slot_between() {
        let map = counted(100, 6969, 300);
        assert_eq!(map.slots().len(), 203);
        assert_eq!(map.address(302), Some(("gw", 7171)));
        assert_eq!(map.address(400), None);
        assert_eq!(map.size_needed(400), 301);
    }

    #[test]
    fn an_id_below_the_minimum_has_no_port() {
        let map = PortMap::from_start("gw", 2, (6969, u16::MAX), Some(5), 3);
        assert_eq!(map.address(1), None);
        assert_eq!(map.address(i32::MIN), None);
        assert_eq!(counted(9, 6969, 3).address(3), None);
    }

    #[test]
    fn a_count_is_taken_as_it_is() {
        let map = PortMap::from_start("gw", 1, (6969, u16::MAX), Some(4), 3);
        assert_eq!(map.slots().len(), 4);
        assert!(!map.has_spare(3));
    }

    #[test]
    fn counted_ports_stay_where_there_is_room() {
        assert_eq!(counted(0, 65_530, 10).slots().len(), 6);
        assert_eq!(counted(0, 65_530, i32::MAX).slots().len(), 6);
        let map = PortMap::from_start("gw", 1, (8880, 8887), None, 20);
        assert_eq!(map.address(8), Some(("gw", 8887)));
        assert_eq!(map.address(9), None);
    }

    #[test]
    fn advertised_and_local_ports_may_differ() {
        let slots = vec![
            Slot {
                advertised: 29_092,
                local: 9092,
            },
            Slot {
                advertised: 29_100,
                local: 9100,
            },
        ];
        let map = PortMap::new("gw", 0, slots);
        assert_eq!(map.address(1), Some(("gw", 29_100)));
    }
}
