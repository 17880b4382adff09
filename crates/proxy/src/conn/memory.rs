//! On whose behalf a connection takes memory for frames that are held as a whole.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use auth::accounts::{Identity, IdentityKind, PASSTHROUGH};

use crate::buffer::Budget;
use crate::fair::Account;

/// The accounts of one connection.
pub(super) struct Memory {
    pub(super) requests: Account,
    pub(super) answers: Account,
    pub(super) remembered: Account,
}

impl Memory {
    pub(super) fn new(budget: &Budget, identity: &Identity, ip: IpAddr) -> Memory {
        let tenant = tenant(identity, ip);
        Memory {
            requests: budget.requests.account(&tenant),
            answers: budget.answers.account(&tenant),
            remembered: budget.remembered.account(&tenant),
        }
    }
}

/// Who shares one share: a virtual cluster; outside of them a user; of those without a name an address, or a network of
/// IPv6, within which anybody has as many as they like.
fn tenant(identity: &Identity, ip: IpAddr) -> Arc<str> {
    let name = match identity.kind {
        _ if *identity.vcluster != *PASSTHROUGH => format!("cluster {}", identity.vcluster),
        IdentityKind::Anonymous => match ip.to_canonical() {
            IpAddr::V4(ip) => format!("address {ip}"),
            IpAddr::V6(ip) => {
                let network = Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64);
                format!("network {network}")
            }
        },
        _ => format!("user {}", identity.name),
    };
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(vcluster: &str, name: &str, kind: IdentityKind, ip: &str) -> Arc<str> {
        let identity = Identity {
            vcluster: vcluster.into(),
            name: name.into(),
            authenticated_name: name.into(),
            kind,
            has_account: false,
            incarnation: None,
        };
        tenant(&identity, ip.parse().unwrap())
    }

    #[test]
    fn tenants_are_told_apart() {
        let (token, nobody) = (IdentityKind::Token, IdentityKind::Anonymous);
        let one = of("blue", "alice", token, "10.0.0.1");
        assert_eq!(one, of("blue", "bob", token, "10.0.0.2"));
        assert_ne!(one, of("green", "alice", token, "10.0.0.1"));
        let alice = of(PASSTHROUGH, "alice", token, "10.0.0.1");
        assert_eq!(alice, of(PASSTHROUGH, "alice", token, "10.0.0.2"));
        assert_ne!(alice, of(PASSTHROUGH, "bob", token, "10.0.0.1"));
        assert_ne!(of(PASSTHROUGH, "blue", token, "10.0.0.1"), one);
        let near = of(PASSTHROUGH, "ANONYMOUS", nobody, "2001:db8::1");
        assert_eq!(near, of(PASSTHROUGH, "ANONYMOUS", nobody, "2001:db8::2"));
        assert_ne!(near, of(PASSTHROUGH, "ANONYMOUS", nobody, "2001:db9::1"));
        let four = of(PASSTHROUGH, "ANONYMOUS", nobody, "10.0.0.1");
        assert_eq!(
            four,
            of(PASSTHROUGH, "ANONYMOUS", nobody, "::ffff:10.0.0.1")
        );
        assert_ne!(four, of(PASSTHROUGH, "ANONYMOUS", nobody, "10.0.0.2"));
    }
}
