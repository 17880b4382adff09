//! Which address a client is given for a broker: a port of the listener, or a server name.

use std::borrow::Cow;

use crate::ports::PortMap;
use crate::sni::NameMap;

/// The addresses of one listener.
pub(crate) enum Addressing {
    /// One port per broker.
    Ports(PortMap),
    /// One server name per broker, on one port.
    Names(NameMap),
}

impl Addressing {
    /// The address that clients are given for broker `node`; `None` if it has none.
    pub(crate) fn address(&self, node: i32) -> Option<(Cow<'_, str>, u16)> {
        match self {
            Addressing::Ports(map) => map
                .address(node)
                .map(|(host, port)| (Cow::Borrowed(host), port)),
            Addressing::Names(map) => (node >= 0).then(|| (Cow::Owned(map.name(node)), map.port())),
        }
    }

    /// Every name that a certificate has to carry so that clients can reach `nodes` by it.
    pub(crate) fn server_names(&self, nodes: impl Iterator<Item = i32>) -> Vec<String> {
        match self {
            Addressing::Ports(map) => vec![map.host().to_owned()],
            Addressing::Names(map) => map
                .bootstrap()
                .iter()
                .cloned()
                .chain(nodes.map(|node| map.name(node)))
                .collect(),
        }
    }
}
