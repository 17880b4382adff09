//! Port routing: which port stands for which broker, and which address a client is given for it.
//!
//! `slot = node id - GATEWAY_MIN_BROKERID`; slot `i` is the `i`-th port of the listener (network specification 3). The
//! mapping is fixed for the life of the process, so that every node of a gateway cluster hands out the same ports.

use thiserror::Error;

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

/// The brokers of the cluster do not fit the ports of a listener.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RangeError {
    /// A live broker has an id below `GATEWAY_MIN_BROKERID`.
    #[error(
        "broker id {id} is below GATEWAY_MIN_BROKERID={min}: set GATEWAY_MIN_BROKERID to {id} or less"
    )]
    BelowMinimum {
        /// The lowest broker id seen.
        id: i32,
        /// The configured minimum.
        min: i32,
    },
    /// More slots are needed than the listener has ports.
    #[error(
        "{have} ports, but broker ids {min} to {max} need at least {need} (advised: {advised}, twice the brokers or two spare)"
    )]
    TooFewPorts {
        /// Ports configured.
        have: usize,
        /// Ports needed for every broker id in range.
        need: u32,
        /// Ports needed with two spare ones.
        advised: u32,
        /// `GATEWAY_MIN_BROKERID`.
        min: i32,
        /// The highest broker id seen.
        max: i32,
    },
    /// The computed range leaves the port space.
    #[error(
        "ports {start} to {end} leave the port range: lower GATEWAY_PORT_START or raise GATEWAY_MIN_BROKERID"
    )]
    PortSpace {
        /// First port.
        start: u16,
        /// Last port that would be needed.
        end: u64,
    },
}

/// Slots that one cluster needs: all ids in range plus [`SPARE`].
pub fn block(min: i32, max: i32) -> Result<u32, RangeError> {
    needed(min, max).map(|n| n.saturating_add(SPARE))
}

fn needed(min: i32, max: i32) -> Result<u32, RangeError> {
    u32::try_from(i64::from(max) - i64::from(min) + 1)
        .ok()
        .filter(|n| *n > 0)
        .ok_or(RangeError::BelowMinimum { id: max, min })
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

    /// Slots `start, start+1, ..`: `count` of them, or as many as the broker ids up to `max` need.
    pub fn from_start(
        host: impl Into<String>,
        min: i32,
        start: u16,
        count: Option<u32>,
        max: i32,
    ) -> Result<Self, RangeError> {
        let count = match count {
            Some(count) => count,
            None => block(min, max)?,
        };
        let end = u64::from(start) + u64::from(count) - 1;
        if end > u64::from(u16::MAX) {
            return Err(RangeError::PortSpace { start, end });
        }
        let slots = (0..count)
            .filter_map(|i| u16::try_from(u32::from(start) + i).ok())
            .map(|port| Slot {
                advertised: port,
                local: port,
            })
            .collect();
        Ok(PortMap::new(host, min, slots))
    }

    /// Checks that broker ids `lowest..=highest` fit. `Ok(false)`: they do, with fewer than two spare ports.
    pub fn check(&self, lowest: i32, highest: i32) -> Result<bool, RangeError> {
        if lowest < self.min {
            return Err(RangeError::BelowMinimum {
                id: lowest,
                min: self.min,
            });
        }
        let need = needed(self.min, highest)?;
        if (need as usize) > self.slots.len() {
            return Err(RangeError::TooFewPorts {
                have: self.slots.len(),
                need,
                advised: need.saturating_add(SPARE),
                min: self.min,
                max: highest,
            });
        }
        Ok(self.slots.len() >= need as usize + SPARE as usize)
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

    /// Ports that broker `node` would need.
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

    #[test]
    fn worked_example_of_three_brokers() {
        let map = PortMap::from_start("gw", 1, 6969, None, 3).unwrap();
        assert_eq!(map.slots().len(), 5);
        assert_eq!(ports(&map, &[1, 2, 3]), [6969, 6970, 6971]);
        assert_eq!(map.check(1, 3), Ok(true));
    }

    #[test]
    fn minimum_left_at_zero_shifts_by_one() {
        let map = PortMap::from_start("gw", 0, 6969, None, 3).unwrap();
        assert_eq!(map.slots().len(), 6);
        assert_eq!(ports(&map, &[1, 2, 3]), [6970, 6971, 6972]);
        assert_eq!(map.node_of_slot(0), Some(0));
    }

    #[test]
    fn sparse_ids_need_every_slot_between() {
        let map = PortMap::from_start("gw", 100, 6969, None, 300).unwrap();
        assert_eq!(map.slots().len(), 203);
        assert!(matches!(
            map.check(100, 400),
            Err(RangeError::TooFewPorts {
                need: 301,
                have: 203,
                ..
            })
        ));
        assert_eq!(map.address(400), None);
    }

    #[test]
    fn id_below_the_minimum_is_refused() {
        let map = PortMap::from_start("gw", 2, 6969, Some(5), 3).unwrap();
        assert_eq!(
            map.check(1, 3),
            Err(RangeError::BelowMinimum { id: 1, min: 2 })
        );
        assert_eq!(map.address(1), None);
        assert_eq!(map.address(i32::MIN), None);
    }

    #[test]
    fn too_few_spares_are_reported_but_allowed() {
        let map = PortMap::from_start("gw", 1, 6969, Some(4), 3).unwrap();
        assert_eq!(map.check(1, 3), Ok(false));
    }

    #[test]
    fn range_must_stay_inside_the_port_space() {
        assert!(matches!(
            PortMap::from_start("gw", 0, 65_530, None, 10),
            Err(RangeError::PortSpace { .. })
        ));
        assert!(PortMap::from_start("gw", 0, 65_530, Some(6), 3).is_ok());
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
