//! Bindings arranged for look-up.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Binding, Filter, Operation, PatternType, Permission, ResourceType, WILDCARD};

/// The bindings of all virtual clusters: an immutable snapshot, cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Acls {
    vclusters: Arc<HashMap<Arc<str>, Arc<VclusterAcls>>>,
}

impl Acls {
    /// The same, but what is as it was before stays the very same: who compares pointers sees what has changed.
    #[must_use]
    pub fn keeping(self, before: &Acls) -> Acls {
        let kept = self.vclusters.iter().map(|(name, acls)| {
            let old = before.vclusters.get(name);
            let old = old.filter(|old| old.bindings == acls.bindings);
            (name.clone(), old.unwrap_or(acls).clone())
        });
        Acls {
            vclusters: Arc::new(kept.collect()),
        }
    }

    /// The bindings of one virtual cluster; `None` if it has none.
    pub fn vcluster(&self, name: &str) -> Option<&Arc<VclusterAcls>> {
        self.vclusters.get(name)
    }

    /// A snapshot in which one virtual cluster has these bindings and no others. Only that one is indexed anew.
    pub fn replaced(&self, vcluster: &str, bindings: impl IntoIterator<Item = Binding>) -> Acls {
        let mut vclusters = HashMap::clone(&self.vclusters);
        let acls = VclusterAcls::from_iter(bindings);
        if acls.bindings.is_empty() {
            vclusters.remove(vcluster);
        } else {
            vclusters.insert(vcluster.into(), Arc::new(acls));
        }
        Acls {
            vclusters: Arc::new(vclusters),
        }
    }

    /// Names of the virtual clusters that have bindings, in no order.
    pub fn vclusters(&self) -> impl Iterator<Item = &Arc<str>> {
        self.vclusters.keys()
    }
}

impl FromIterator<(Arc<str>, Binding)> for Acls {
    fn from_iter<I: IntoIterator<Item = (Arc<str>, Binding)>>(bindings: I) -> Acls {
        let mut sorted: HashMap<Arc<str>, Vec<Binding>> = HashMap::new();
        for (vcluster, binding) in bindings {
            sorted.entry(vcluster).or_default().push(binding);
        }
        let index = |(vcluster, bindings)| {
            (
                vcluster,
                Arc::new(VclusterAcls::from_iter::<Vec<_>>(bindings)),
            )
        };
        Acls {
            vclusters: Arc::new(sorted.into_iter().map(index).collect()),
        }
    }
}

/// The bindings of one virtual cluster, each once, in order, and indexed by principal.
#[derive(Debug, Default)]
pub struct VclusterAcls {
    bindings: Vec<Binding>,
    principals: HashMap<Box<str>, Arc<PrincipalAcls>>,
}

impl VclusterAcls {
    /// All bindings, sorted.
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// The bindings a filter selects, sorted.
    pub fn select<'a>(&'a self, filter: &'a Filter) -> impl Iterator<Item = &'a Binding> {
        self.bindings
            .iter()
            .filter(|binding| filter.matches(binding))
    }

    pub(super) fn principal(&self, principal: &str) -> Option<&Arc<PrincipalAcls>> {
        self.principals.get(principal)
    }
}

impl FromIterator<Binding> for VclusterAcls {
    fn from_iter<I: IntoIterator<Item = Binding>>(bindings: I) -> VclusterAcls {
        let mut bindings: Vec<Binding> = bindings.into_iter().collect();
        bindings.sort_unstable();
        bindings.dedup();
        let mut principals: HashMap<Box<str>, PrincipalAcls> = HashMap::new();
        for binding in &bindings {
            principals
                .entry(binding.principal.clone())
                .or_default()
                .add(binding);
        }
        let close = |(name, mut acls): (Box<str>, PrincipalAcls)| {
            acls.close();
            (name, Arc::new(acls))
        };
        VclusterAcls {
            principals: principals.into_iter().map(close).collect(),
            bindings,
        }
    }
}

/// What is granted and forbidden, as bit fields over [`Operation::bit`] (without implied operations).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Masks {
    pub(super) allow: i32,
    pub(super) deny: i32,
}

impl Masks {
    pub(super) fn join(&mut self, other: Masks) {
        self.allow |= other.allow;
        self.deny |= other.deny;
    }

    fn add(&mut self, operation: Operation, permission: Permission) {
        match permission {
            Permission::Allow => self.allow |= operation.bit(),
            Permission::Deny => self.deny |= operation.bit(),
        }
    }

    /// Kafka's decision: a denial of the operation or of all wins, then a grant, of one that implies it too.
    pub(super) fn decide(self, operation: Operation) -> bool {
        let named = Operation::All.bit() | operation.bit();
        self.deny & named == 0 && self.allow & (named | implied_by(operation)) != 0
    }

    /// As [`Masks::decide`], without implication: for questions over a whole resource type.
    pub(super) fn names(mask: i32, operation: Operation) -> bool {
        mask & (Operation::All.bit() | operation.bit()) != 0
    }
}

/// The operations a grant of which grants `operation` as well.
const fn implied_by(operation: Operation) -> i32 {
    match operation {
        Operation::Describe => {
            Operation::Read.bit()
                | Operation::Write.bit()
                | Operation::Delete.bit()
                | Operation::Alter.bit()
        }
        Operation::DescribeConfigs => Operation::AlterConfigs.bit(),
        _ => 0,
    }
}

/// Grants and denials of one pattern, by host.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Grants {
    everywhere: Masks,
    hosts: Vec<(Box<str>, Masks)>,
}

impl Grants {
    /// What holds for a client at `host`, in the form of [`canonical_host`].
    pub(super) fn from(&self, host: &str) -> Masks {
        let mut masks = self.everywhere;
        if let Ok(at) = self.hosts.binary_search_by(|(name, _)| (**name).cmp(host)) {
            masks.join(self.hosts[at].1);
        }
        masks
    }

    fn add(&mut self, binding: &Binding) {
        let masks = if &*binding.host == WILDCARD {
            &mut self.everywhere
        } else {
            let host = canonical_host(&binding.host);
            let at = match self
                .hosts
                .binary_search_by(|(name, _)| (**name).cmp(&*host))
            {
                Ok(at) => at,
                Err(at) => {
                    self.hosts.insert(at, (host.into(), Masks::default()));
                    at
                }
            };
            &mut self.hosts[at].1
        };
        masks.add(binding.operation, binding.permission);
    }
}

/// The bindings of one principal.
#[derive(Debug, Default, PartialEq)]
pub(super) struct PrincipalAcls {
    types: [TypeAcls; ResourceType::ALL.len()],
}

impl PrincipalAcls {
    pub(super) fn of(&self, resource_type: ResourceType) -> &TypeAcls {
        &self.types[slot(resource_type)]
    }

    fn add(&mut self, binding: &Binding) {
        let acls = &mut self.types[slot(binding.resource_type)];
        let name = &binding.resource_name;
        match binding.pattern_type {
            PatternType::Literal if &**name == WILDCARD => acls.wildcard.add(binding),
            PatternType::Literal => acls.literals.entry(name.clone()).or_default().add(binding),
            // Bindings come sorted, so a prefix seen before was the last one, but for the operations and hosts behind it.
            PatternType::Prefixed => match acls.prefixes.last_mut() {
                Some(last) if last.prefix == *name => last.grants.add(binding),
                _ => {
                    let mut grants = Grants::default();
                    grants.add(binding);
                    acls.prefixes.push(PrefixAcls {
                        prefix: name.clone(),
                        parent: None,
                        grants,
                    });
                }
            },
        }
    }

    fn close(&mut self) {
        self.types.iter_mut().for_each(TypeAcls::link_prefixes);
    }
}

const fn slot(resource_type: ResourceType) -> usize {
    match resource_type {
        ResourceType::Topic => 0,
        ResourceType::Group => 1,
        ResourceType::Cluster => 2,
        ResourceType::TransactionalId => 3,
        ResourceType::DelegationToken => 4,
        ResourceType::User => 5,
    }
}

/// The bindings of one principal for one resource type.
#[derive(Debug, Default, PartialEq)]
pub(super) struct TypeAcls {
    pub(super) wildcard: Grants,
    pub(super) literals: HashMap<Box<str>, Grants>,
    /// Sorted by prefix.
    pub(super) prefixes: Vec<PrefixAcls>,
}

#[derive(Debug, PartialEq)]
pub(super) struct PrefixAcls {
    pub(super) prefix: Box<str>,
    /// The longest other prefix that this one begins with.
    parent: Option<usize>,
    pub(super) grants: Grants,
}

impl TypeAcls {
    /// Everything that fits a resource of this name.
    pub(super) fn matching(&self, name: &str, host: &str) -> Masks {
        let mut masks = self.wildcard.from(host);
        if let Some(grants) = self.literals.get(name) {
            masks.join(grants.from(host));
        }
        for prefix in self.prefixes_of(name) {
            masks.join(prefix.grants.from(host));
        }
        masks
    }

    /// The prefixes that `name` begins with, longest first.
    ///
    /// Whatever stands in order between a prefix of the name and the name begins with that prefix too. So the prefixes wanted are
    /// ancestors of the last entry that is not greater than the name, and once one of them fits, all of its ancestors do.
    pub(super) fn prefixes_of(&self, name: &str) -> impl Iterator<Item = &PrefixAcls> {
        let last = self
            .prefixes
            .partition_point(|entry| *entry.prefix <= *name)
            .checked_sub(1);
        let ancestors = std::iter::successors(last.and_then(|at| self.prefixes.get(at)), |entry| {
            entry.parent.and_then(|at| self.prefixes.get(at))
        });
        ancestors.skip_while(move |entry| !name.starts_with(&*entry.prefix))
    }

    fn link_prefixes(&mut self) {
        let mut open: Vec<usize> = Vec::new();
        for at in 0..self.prefixes.len() {
            while open.last().is_some_and(|&outer| {
                !self.prefixes[at]
                    .prefix
                    .starts_with(&*self.prefixes[outer].prefix)
            }) {
                open.pop();
            }
            self.prefixes[at].parent = open.last().copied();
            open.push(at);
        }
    }
}

/// One spelling for each address: Java writes IPv6 addresses in full, others shorten them.
pub(super) fn canonical_host(host: &str) -> Cow<'_, str> {
    match host.parse::<IpAddr>() {
        Ok(address) => Cow::Owned(address.to_canonical().to_string()),
        Err(_) => Cow::Borrowed(host),
    }
}
