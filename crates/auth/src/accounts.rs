//! Service accounts and the identities that connections get from them.
//!
//! An account gives a virtual cluster and a name to whoever can prove to own it: a LOCAL account to the holder of a token
//! of this gateway, an EXTERNAL one to whom an identity provider, a certificate or Kafka knows under one of its external names.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The virtual cluster of everybody who has no other one.
pub const PASSTHROUGH: &str = "passthrough";

/// Name of those who did not say who they are.
pub const ANONYMOUS: &str = "ANONYMOUS";

/// A service account; its virtual cluster and name together are unique.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The virtual cluster it belongs to; [`PASSTHROUGH`] for none.
    pub vcluster: Arc<str>,
    /// Its name, unique in its virtual cluster.
    pub name: Arc<str>,
    /// How its owner is recognised.
    pub kind: AccountKind,
    /// Tells it from an account of the same name that there was before, if anything does.
    pub incarnation: Option<Arc<str>>,
}

/// How the owner of an account is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountKind {
    /// By a token of this gateway.
    Local,
    /// By a name that somebody else vouches for.
    External {
        /// Those names, exactly as they are given; unique over all accounts.
        external_names: Vec<String>,
    },
}

/// All accounts at one moment. It does not change; a newer one replaces it.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// By virtual cluster, then by name.
    accounts: HashMap<Arc<str>, HashMap<Arc<str>, Account>>,
    /// External name to virtual cluster and account name.
    external: HashMap<String, (Arc<str>, Arc<str>)>,
    vclusters: HashSet<Arc<str>>,
}

impl Accounts {
    /// Also lists virtual clusters that may have no account.
    #[must_use]
    pub fn with_vclusters<V: Into<Arc<str>>>(mut self, names: impl IntoIterator<Item = V>) -> Self {
        self.vclusters.extend(names.into_iter().map(Into::into));
        self
    }

    /// The account of either kind.
    pub fn get(&self, vcluster: &str, name: &str) -> Option<&Account> {
        self.accounts.get(vcluster)?.get(name)
    }

    /// The LOCAL account of that name in that virtual cluster.
    pub fn local(&self, vcluster: &str, name: &str) -> Option<&Account> {
        self.get(vcluster, name)
            .filter(|account| account.kind == AccountKind::Local)
    }

    /// The EXTERNAL account that lists exactly this name, in any virtual cluster.
    pub fn by_external_name(&self, name: &str) -> Option<&Account> {
        let (vcluster, name) = self.external.get(name)?;
        self.get(vcluster, name)
    }

    /// Whether there is such a virtual cluster: [`PASSTHROUGH`], one that was listed, or one with an account.
    pub fn knows_vcluster(&self, name: &str) -> bool {
        name == PASSTHROUGH || self.vclusters.contains(name) || self.accounts.contains_key(name)
    }

    /// Whether somebody who was let go on by `before` may not be by `self` any more: see [`Identity::still_holds`].
    pub fn revokes(&self, before: &Self) -> bool {
        let mut accounts = before.accounts.values().flat_map(HashMap::values);
        let has_ended = |account: &Account| {
            self.get(&account.vcluster, &account.name)
                .is_none_or(|now| now != account)
        };
        accounts.any(has_ended)
            || (before.external.iter()).any(|(name, owner)| self.external.get(name) != Some(owner))
            || (before.vclusters.iter()).any(|name| !self.vclusters.contains(name))
    }

    /// Whether any account, in any virtual cluster, has this name or this external name.
    pub fn knows_name(&self, name: &str) -> bool {
        self.external.contains_key(name)
            || self.accounts.values().any(|named| named.contains_key(name))
    }
}

impl FromIterator<Account> for Accounts {
    /// Of two accounts with the same virtual cluster and name the later one counts. An external name that two accounts
    /// claim goes to the first one in order of virtual cluster and name, so that all nodes decide alike.
    fn from_iter<I: IntoIterator<Item = Account>>(accounts: I) -> Self {
        let mut all = Self::default();
        for account in accounts {
            all.accounts
                .entry(account.vcluster.clone())
                .or_default()
                .insert(account.name.clone(), account);
        }
        for account in all.accounts.values().flat_map(HashMap::values) {
            let AccountKind::External { external_names } = &account.kind else {
                continue;
            };
            let owner = (account.vcluster.clone(), account.name.clone());
            for name in external_names {
                let entry = all.external.entry(name.clone());
                let known = entry.or_insert_with(|| owner.clone());
                if owner < *known {
                    known.clone_from(&owner);
                }
            }
        }
        all
    }
}

/// Who a connection belongs to, fixed for its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The virtual cluster; [`PASSTHROUGH`] for none.
    pub vcluster: Arc<str>,
    /// Name of the account, else the authenticated name. The principal of ACLs is `User:<name>`.
    pub name: Arc<str>,
    /// What the mechanism proved.
    pub authenticated_name: Arc<str>,
    /// How it was proved.
    pub kind: IdentityKind,
    /// Whether virtual cluster and name are those of an account.
    pub has_account: bool,
    /// [`Account::incarnation`] of that account.
    pub incarnation: Option<Arc<str>>,
}

/// How an identity was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentityKind {
    /// Not at all.
    Anonymous,
    /// By a client certificate.
    Certificate,
    /// By a token of this gateway.
    Token,
    /// By a token of an identity provider.
    OAuth,
    /// By Kafka, to which the exchange was relayed.
    Relayed,
}

impl Identity {
    /// Whether re-authentication may turn `self` into `other`: same virtual cluster, same name.
    pub fn is_same_principal(&self, other: &Identity) -> bool {
        self.vcluster == other.vcluster && self.name == other.name
    }

    /// Whether a connection may go on with this identity: its account still exists, with the same kind, virtual cluster and
    /// name, and is not another one of that name. Without an account: its virtual cluster still exists. An account that appears
    /// later does not change who an open connection belongs to.
    pub fn still_holds(&self, accounts: &Accounts) -> bool {
        match self.kind {
            IdentityKind::Anonymous => true,
            IdentityKind::Token => accounts
                .local(&self.vcluster, &self.name)
                .is_some_and(|account| account.incarnation == self.incarnation),
            IdentityKind::Certificate | IdentityKind::OAuth | IdentityKind::Relayed => {
                if self.has_account {
                    accounts
                        .by_external_name(&self.authenticated_name)
                        .is_some_and(|account| {
                            account.vcluster == self.vcluster
                                && account.name == self.name
                                && account.incarnation == self.incarnation
                        })
                } else {
                    accounts.knows_vcluster(&self.vcluster)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(vcluster: &str, name: &str) -> Account {
        Account {
            vcluster: vcluster.into(),
            name: name.into(),
            kind: AccountKind::Local,
            incarnation: None,
        }
    }

    fn external(vcluster: &str, name: &str, external_name: &str) -> Account {
        Account {
            kind: AccountKind::External {
                external_names: vec![external_name.to_owned()],
            },
            ..local(vcluster, name)
        }
    }

    fn identity(kind: IdentityKind, vcluster: &str, name: &str, authenticated: &str) -> Identity {
        Identity {
            vcluster: vcluster.into(),
            name: name.into(),
            authenticated_name: authenticated.into(),
            kind,
            has_account: name != authenticated || kind == IdentityKind::Token,
            incarnation: None,
        }
    }

    #[test]
    fn accounts_are_found_by_their_own_key_only() {
        let accounts = Accounts::from_iter([
            local(PASSTHROUGH, "alice"),
            local("blue", "alice"),
            external("blue", "bob", "CN=bob"),
        ]);
        assert!(accounts.local("blue", "alice").is_some());
        assert!(accounts.local("green", "alice").is_none());
        assert!(accounts.local("blue", "Alice").is_none());
        assert!(accounts.local("blue", "bob").is_none());
        assert_eq!(&*accounts.by_external_name("CN=bob").unwrap().name, "bob");
        assert!(accounts.by_external_name("cn=bob").is_none());
        assert!(accounts.by_external_name("alice").is_none());
        assert!(accounts.knows_name("bob") && accounts.knows_name("CN=bob"));
        assert!(!accounts.knows_name("carol"));
    }

    #[test]
    fn virtual_clusters_are_known_by_list_or_by_account() {
        let accounts = Accounts::from_iter([local("blue", "alice")]).with_vclusters(["green"]);
        for (name, known) in [
            (PASSTHROUGH, true),
            ("blue", true),
            ("green", true),
            ("red", false),
        ] {
            assert_eq!(accounts.knows_vcluster(name), known, "{name}");
        }
        assert!(Accounts::default().knows_vcluster(PASSTHROUGH));
    }

    #[test]
    fn a_name_claimed_twice_goes_to_the_same_account_in_any_order() {
        let pair = [external("b", "x", "CN=me"), external("a", "y", "CN=me")];
        for pair in [pair.clone(), [pair[1].clone(), pair[0].clone()]] {
            let accounts = Accounts::from_iter(pair);
            assert_eq!(&*accounts.by_external_name("CN=me").unwrap().vcluster, "a");
        }
    }

    #[test]
    fn an_identity_ends_with_its_account() {
        use IdentityKind::{Anonymous, Certificate, OAuth, Relayed, Token};
        let accounts =
            Accounts::from_iter([local("blue", "alice"), external("blue", "bob", "CN=bob")]);
        for (kind, vcluster, name, authenticated, holds) in [
            (Token, "blue", "alice", "alice", true),
            (Token, "green", "alice", "alice", false),
            (Token, "blue", "bob", "bob", false),
            (Certificate, "blue", "bob", "CN=bob", true),
            (OAuth, "green", "bob", "CN=bob", false),
            (Relayed, "blue", "robert", "CN=bob", false),
            (OAuth, "blue", "carol", "CN=carol", false),
            (OAuth, "blue", "carol", "carol", true),
            (OAuth, "red", "carol", "carol", false),
            (Relayed, PASSTHROUGH, "carol", "carol", true),
            (Anonymous, PASSTHROUGH, ANONYMOUS, ANONYMOUS, true),
        ] {
            let identity = identity(kind, vcluster, name, authenticated);
            assert_eq!(identity.still_holds(&accounts), holds, "{identity:?}");
        }
    }

    #[test]
    fn an_identity_is_of_one_incarnation_of_its_account() {
        let incarnated = |account: Account, incarnation: &str| Account {
            incarnation: Some(incarnation.into()),
            ..account
        };
        let before = [local("blue", "alice"), external("blue", "bob", "CN=bob")];
        let first = before.clone().map(|account| incarnated(account, "1"));
        let second = before.clone().map(|account| incarnated(account, "2"));
        let of = |accounts: &[Account; 2]| Accounts::from_iter(accounts.clone());
        for (kind, name, authenticated) in [
            (IdentityKind::Token, "alice", "alice"),
            (IdentityKind::Certificate, "bob", "CN=bob"),
        ] {
            let older = identity(kind, "blue", name, authenticated);
            let newer = Identity {
                incarnation: Some("1".into()),
                ..older.clone()
            };
            let holds = |identity: &Identity| {
                [&before, &first, &second].map(|accounts| identity.still_holds(&of(accounts)))
            };
            assert_eq!(holds(&older), [true, false, false], "{name}");
            assert_eq!(holds(&newer), [false, true, false], "{name}");
        }
        assert!(of(&first).revokes(&of(&before)) && of(&second).revokes(&of(&first)));
    }

    #[test]
    fn what_is_added_revokes_nothing() {
        let alice = || local("blue", "alice");
        let bob = |name: &str| external("blue", "bob", name);
        let small = Accounts::from_iter([alice()]).with_vclusters(["blue"]);
        let large = Accounts::from_iter([alice(), bob("CN=bob")]).with_vclusters(["blue", "red"]);
        assert!(!large.revokes(&small) && !large.revokes(&large.clone()));
        for less in [
            Accounts::from_iter([alice()]).with_vclusters(["blue", "red"]),
            Accounts::from_iter([alice(), bob("CN=bob")]).with_vclusters(["blue"]),
            Accounts::from_iter([alice(), bob("CN=other")]).with_vclusters(["blue", "red"]),
            Accounts::from_iter([external("blue", "alice", "a"), bob("CN=bob")])
                .with_vclusters(["blue", "red"]),
            // Claimed by another one that comes first.
            Accounts::from_iter([alice(), bob("CN=bob"), external("a", "x", "CN=bob")])
                .with_vclusters(["blue", "red"]),
        ] {
            assert!(less.revokes(&large), "{less:?}");
        }
    }
}
