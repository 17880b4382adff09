//! The ports of a listener.

/// A port as clients see it and the port bound here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortPair {
    /// Told to clients.
    pub advertised: u16,
    /// Bound.
    pub local: u16,
}

/// The ports of a listener, slot by slot: slot 0 belongs to node id `GATEWAY_MIN_BROKERID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortPlan {
    /// As listed.
    Explicit(Vec<PortPair>),
    /// Consecutive ports. `count: None` is computed from the brokers seen at start: `(highest id - GATEWAY_MIN_BROKERID) + 3`.
    FromStart {
        /// First port, both advertised and local.
        start: u16,
        /// At least 1; `start + count - 1` is at most 65535.
        count: Option<u16>,
    },
}
