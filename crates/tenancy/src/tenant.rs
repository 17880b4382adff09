//! Virtual clusters at one moment: which names they have, and what those are called in Kafka.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use crate::Prefixes;
use crate::ids::{TopicId, of_alias};

/// The virtual cluster of everybody who has no other one.
pub const PASSTHROUGH: &str = "passthrough";

/// Topics of Kafka itself. No virtual cluster has topics of these names.
pub(crate) const INTERNAL_TOPICS: [&str; 4] = [
    "__consumer_offsets",
    "__transaction_state",
    "__share_group_state",
    "__cluster_metadata",
];

/// The name of a topic, group or transaction as Kafka has it. What clients say and see are plain texts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Physical(String);

impl Physical {
    /// A name that came from Kafka.
    pub fn from_kafka(name: impl Into<String>) -> Physical {
        Physical(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

/// Who is asked for rights in a virtual cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Whether access control lists are in force.
    pub acl_enabled: bool,
    /// The lists are declared with the virtual cluster: clients cannot change them.
    pub declared: bool,
    /// Names of those whom no list applies to.
    pub super_users: BTreeSet<String>,
}

/// A virtual cluster as it is stored.
#[derive(Clone, Debug, Default)]
pub struct Definition {
    /// Its name, which is its prefix.
    pub name: String,
    /// Who may do what.
    pub rights: Rights,
}

/// An alias topic as it is stored.
#[derive(Clone, Debug)]
pub struct AliasDefinition {
    /// The virtual cluster in which it can be seen, [`PASSTHROUGH`] included.
    pub vcluster: String,
    /// The name it has there.
    pub name: String,
    /// The topic it stands for.
    pub target: String,
}

/// All virtual clusters at one moment. It does not change; a newer one replaces it.
#[derive(Debug, Default)]
pub struct Tenants {
    tenants: HashMap<Arc<str>, Arc<Tenant>>,
    prefixes: Prefixes,
}

impl Tenants {
    /// `retired` are names of deleted virtual clusters, whose resources nobody sees.
    pub fn new(
        definitions: Vec<Definition>,
        retired: impl IntoIterator<Item = String>,
        aliases: impl IntoIterator<Item = AliasDefinition>,
    ) -> Tenants {
        let names = definitions.iter().map(|definition| definition.name.clone());
        let prefixes: Prefixes = names.chain(retired).collect();
        let mut by_vcluster: HashMap<String, BTreeMap<Arc<str>, Arc<str>>> = HashMap::new();
        for alias in aliases {
            let of = by_vcluster.entry(alias.vcluster).or_default();
            of.insert(alias.name.into(), alias.target.into());
        }
        let passthrough = Definition {
            name: PASSTHROUGH.to_owned(),
            ..Definition::default()
        };
        let tenants = definitions.into_iter().chain([passthrough]);
        let tenants = tenants.map(|definition| {
            let aliases = by_vcluster.remove(&definition.name).unwrap_or_default();
            let tenant = Tenant::new(definition, prefixes.clone(), aliases);
            (tenant.name.clone(), Arc::new(tenant))
        });
        Tenants {
            tenants: tenants.collect(),
            prefixes,
        }
    }

    /// The same, but what is as it was before stays the very same: who compares pointers sees what has changed.
    #[must_use]
    pub fn keeping(mut self, before: &Tenants) -> Tenants {
        for (name, tenant) in &mut self.tenants {
            if let Some(old) = before.tenants.get(name).filter(|old| old.is_like(tenant)) {
                *tenant = old.clone();
            }
        }
        self
    }

    /// The virtual cluster of this name.
    pub fn get(&self, name: &str) -> Option<&Arc<Tenant>> {
        self.tenants.get(name)
    }

    /// The virtual cluster that a group of Kafka belongs to, and what it is called there. What is in none belongs to [`PASSTHROUGH`]; `None`: it is
    /// of a virtual cluster that was deleted, or has a name that nobody can say.
    pub fn whose<'n>(&self, physical: &'n str) -> Option<(&Arc<Tenant>, &'n str)> {
        let owner = self.prefixes.owner(physical);
        let tenant = self.get(owner.map_or(PASSTHROUGH, |owner| owner))?;
        Some((tenant, tenant.logical(physical)?))
    }
}

#[derive(Debug)]
struct Alias {
    target: Arc<str>,
    /// The id of the target that was seen first, and the alias's own then: worked out once.
    ids: OnceLock<(TopicId, TopicId)>,
}

/// One virtual cluster.
#[derive(Debug)]
pub struct Tenant {
    name: Arc<str>,
    /// Empty for [`PASSTHROUGH`].
    prefix: Arc<str>,
    prefixes: Prefixes,
    rights: Rights,
    aliases: BTreeMap<Arc<str>, Alias>,
    /// Target to its aliases, in order.
    targets: HashMap<Arc<str>, Vec<Arc<str>>>,
}

impl Tenant {
    fn new(
        definition: Definition,
        prefixes: Prefixes,
        aliases: BTreeMap<Arc<str>, Arc<str>>,
    ) -> Tenant {
        let name: Arc<str> = definition.name.into();
        let prefix = match &*name {
            PASSTHROUGH => "".into(),
            _ => name.clone(),
        };
        let mut targets: HashMap<Arc<str>, Vec<Arc<str>>> = HashMap::new();
        for (alias, target) in &aliases {
            targets
                .entry(target.clone())
                .or_default()
                .push(alias.clone());
        }
        let aliases = aliases.into_iter().map(|(alias, target)| {
            let ids = OnceLock::new();
            (alias, Alias { target, ids })
        });
        Tenant {
            name,
            prefix,
            prefixes,
            rights: definition.rights,
            aliases: aliases.collect(),
            targets,
        }
    }

    /// Whether names and rights are the same in both. Of other virtual clusters only those matter whose names begin with its own.
    fn is_like(&self, other: &Tenant) -> bool {
        let targets = |tenant: &Tenant| -> Vec<(Arc<str>, Arc<str>)> {
            let aliases = tenant.aliases.iter();
            aliases
                .map(|(name, alias)| (name.clone(), alias.target.clone()))
                .collect()
        };
        self.name == other.name
            && self.rights == other.rights
            && targets(self) == targets(other)
            && (self.is_passthrough()
                || self
                    .prefixes
                    .longer(&self.prefix)
                    .eq(other.prefixes.longer(&other.prefix)))
    }

    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Who may do what in it.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Whether names are the same on both sides, but for aliases.
    pub fn is_passthrough(&self) -> bool {
        self.prefix.is_empty()
    }

    /// Whether there is anything to map.
    pub fn maps(&self) -> bool {
        !self.is_passthrough() || self.has_aliases()
    }

    /// Whether any topic has another name than its own.
    pub fn has_aliases(&self) -> bool {
        !self.aliases.is_empty()
    }

    /// Whether the topic is an alias.
    pub fn is_alias(&self, logical: &str) -> bool {
        self.aliases.contains_key(logical)
    }

    /// Aliases with what they stand for.
    pub fn aliases(&self) -> impl Iterator<Item = (&Arc<str>, Physical)> {
        let aliases = self.aliases.iter();
        aliases.map(|(name, alias)| (name, Physical(alias.target.to_string())))
    }

    /// Whether a topic may have this name here: it is an alias, or its physical name belongs to nobody else.
    pub fn has_topic(&self, logical: &str) -> bool {
        self.is_alias(logical) || (self.has_name(logical) && self.is_topic_name(logical))
    }

    /// With a prefix these two would be names like any other.
    fn is_topic_name(&self, logical: &str) -> bool {
        self.is_passthrough() || !matches!(logical, "." | "..")
    }

    /// Whether a group or a transaction may have this name here. The empty group is none: with the prefix it would become one.
    pub fn has_name(&self, logical: &str) -> bool {
        self.is_passthrough()
            || (!logical.is_empty() && self.prefixes.owns(&self.prefix, &self.prefixed(logical)))
    }

    /// The topic id of an alias whose target has this one.
    pub(crate) fn alias_id(&self, name: &str, target: TopicId) -> TopicId {
        let Some(alias) = self.aliases.get(name) else {
            return target;
        };
        let known = alias
            .ids
            .get_or_init(|| (target, of_alias(&self.name, name, target)));
        match *known {
            (seen, id) if seen == target => id,
            _ => of_alias(&self.name, name, target),
        }
    }

    /// What a topic is called in Kafka.
    pub fn topic(&self, logical: &str) -> Physical {
        match self.aliases.get(logical) {
            Some(alias) => Physical(alias.target.to_string()),
            None => self.physical(logical),
        }
    }

    /// What a group or a transaction is called in Kafka.
    pub fn physical(&self, logical: &str) -> Physical {
        Physical(self.prefixed(logical))
    }

    /// What a group or a transaction of Kafka is called here; `None` if it is not of this virtual cluster.
    pub fn logical<'n>(&self, physical: &'n str) -> Option<&'n str> {
        if self.is_passthrough() {
            return Some(physical);
        }
        let logical = physical.strip_prefix(&*self.prefix)?;
        (!logical.is_empty() && self.prefixes.owns(&self.prefix, physical)).then_some(logical)
    }

    /// Whether a name of Kafka is that of something of another virtual cluster, as far as this one knows of others.
    pub(crate) fn is_of_another(&self, physical: &str) -> bool {
        let owner = self.prefixes.owner(physical);
        owner.is_some_and(|owner| *owner != self.prefix)
    }

    /// All names that a topic of Kafka has here: its own first, then aliases in order. None if it cannot be seen.
    pub fn logical_topics<'n>(&'n self, physical: &'n str) -> impl Iterator<Item = &'n str> {
        // An alias of this name hides the topic.
        let own = self.logical(physical);
        let own = own.filter(|own| !self.is_alias(own) && self.is_topic_name(own));
        let aliases = self.targets.get(physical);
        own.into_iter()
            .chain(aliases.into_iter().flatten().map(|alias| &**alias))
    }

    /// All names of all topics that have an alias.
    pub(crate) fn names_of_aliased(&self) -> impl Iterator<Item = &str> {
        let targets = self.targets.keys();
        targets.flat_map(|target| self.logical_topics(target))
    }

    /// The cluster id that clients see.
    pub fn cluster_id<'n>(&self, physical: &'n str) -> Cow<'n, str> {
        // Where there is none to tell there is none of the virtual cluster, either.
        match self.is_passthrough() || physical.is_empty() {
            true => Cow::Borrowed(physical),
            false => Cow::Owned(format!("{}@{physical}", self.name)),
        }
    }

    fn prefixed(&self, logical: &str) -> String {
        [&*self.prefix, logical].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenants() -> Tenants {
        let define = |name: &str| Definition {
            name: name.to_owned(),
            ..Definition::default()
        };
        let alias = |vcluster: &str, name: &str, target: &str| AliasDefinition {
            vcluster: vcluster.to_owned(),
            name: name.to_owned(),
            target: target.to_owned(),
        };
        Tenants::new(
            vec![define("A"), define("AB")],
            ["AC".to_owned()],
            [
                alias("A", "shared", "raw"),
                alias("A", "also", "raw"),
                alias("A", "orders", "other"),
                alias("passthrough", "alias", "raw"),
            ],
        )
    }

    #[test]
    fn names_have_a_prefix_and_an_owner() {
        let tenants = tenants();
        let a = tenants.get("A").unwrap();
        assert_eq!(a.topic("x").as_str(), "Ax");
        assert_eq!(a.physical("g").as_str(), "Ag");
        assert!(a.has_topic("x") && a.has_name("x"));
        assert!(!a.has_topic(".") && !a.has_topic("..") && a.has_topic("..."));
        assert_eq!(a.logical_topics("A.").count(), 0);
        for foreign in ["Bx", "B", "Cx", ""] {
            assert!(!a.has_topic(foreign) && !a.has_name(foreign), "{foreign}");
        }
        assert_eq!(a.logical("Ax"), Some("x"));
        for foreign in ["A", "ABx", "ACx", "x", ""] {
            assert_eq!(a.logical(foreign), None, "{foreign}");
        }
        assert_eq!(tenants.get("AB").unwrap().logical("ABx"), Some("x"));
        assert_eq!(a.cluster_id("id"), "A@id");
        assert!(tenants.get("AC").is_none());
    }

    #[test]
    fn groups_belong_to_one_virtual_cluster() {
        let tenants = tenants();
        let whose = |name| {
            let (tenant, logical) = tenants.whose(name)?;
            Some((tenant.name().to_string(), logical))
        };
        for (physical, vcluster, logical) in [
            ("Areaders", "A", "readers"),
            ("ABreaders", "AB", "readers"),
            ("readers", PASSTHROUGH, "readers"),
        ] {
            assert_eq!(whose(physical), Some((vcluster.to_owned(), logical)));
        }
        // Of one that was deleted, and the prefix alone.
        assert_eq!((whose("ACreaders"), whose("A")), (None, None));
        // A virtual cluster that came later takes what is its own, although that of all others stays as it was.
        let define = |name: &str| Definition {
            name: name.to_owned(),
            ..Definition::default()
        };
        let later = Tenants::new(vec![define("r")], [], []).keeping(&Tenants::new(vec![], [], []));
        assert_eq!(&**later.whose("readers").unwrap().0.name(), "r");
    }

    #[test]
    fn what_has_not_changed_is_kept() {
        let define = |names: &[&str], super_user: &str| {
            let define = |name: &&str| Definition {
                name: (*name).to_owned(),
                rights: Rights {
                    super_users: [super_user.to_owned()].into(),
                    ..Rights::default()
                },
            };
            Tenants::new(names.iter().map(define).collect(), [], [])
        };
        let is_kept = |old: &Tenants, new: &Tenants, name: &str| {
            Arc::ptr_eq(old.get(name).unwrap(), new.get(name).unwrap())
        };
        let old = define(&["A", "B"], "x");
        let new = define(&["A", "B", "BC"], "x").keeping(&old);
        assert!(is_kept(&old, &new, "A") && !is_kept(&old, &new, "B"));
        assert!(!new.get("B").unwrap().has_topic("C"));
        let other = define(&["A", "B"], "y").keeping(&old);
        assert!(!is_kept(&old, &other, "A") && is_kept(&old, &other, PASSTHROUGH));
    }

    #[test]
    fn aliases_come_first_and_hide() {
        let tenants = tenants();
        let a = tenants.get("A").unwrap();
        assert_eq!(a.topic("shared").as_str(), "raw");
        assert!(a.has_topic("shared") && a.is_alias("shared"));
        assert_eq!(
            a.logical_topics("raw").collect::<Vec<_>>(),
            ["also", "shared"]
        );
        assert_eq!(a.logical_topics("other").collect::<Vec<_>>(), ["orders"]);
        assert_eq!(a.logical_topics("Aorders").count(), 0);
        assert_eq!(a.logical_topics("Ax").collect::<Vec<_>>(), ["x"]);
        let all = tenants.get("passthrough").unwrap();
        assert_eq!(
            all.logical_topics("raw").collect::<Vec<_>>(),
            ["raw", "alias"]
        );
        assert_eq!(all.logical("ABx"), Some("ABx"));
        assert!(all.maps() && !tenants.get("AB").unwrap().has_aliases());
    }
}
