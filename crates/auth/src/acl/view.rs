//! What one connection may do.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::index::{Grants, Masks, PrincipalAcls, TypeAcls, canonical_host};
use super::{Acls, CLUSTER_NAME, EVERYBODY, Operation, ResourceType, VclusterAcls};

/// Told of every denial that [`AclView::allowed`] makes: for the log and the metrics.
pub trait Observer: Send + Sync {
    /// Somebody asked for something and did not get it.
    fn denied(&self, operation: Operation, resource_type: ResourceType, name: &str);
}

/// The names that there are for a connection: what is beyond is denied whatever the lists say, and to super users as well.
pub trait Namespace: Send + Sync {
    /// Whether a resource may have this name.
    fn contains(&self, resource_type: ResourceType, name: &str) -> bool;
}

/// What one connection may do, by one snapshot of the access control lists. Cheap to clone; a new snapshot needs a new view.
#[derive(Clone)]
pub struct AclView {
    acls: Option<Arc<VclusterAcls>>,
    rules: Rules,
    observer: Option<Arc<dyn Observer>>,
    hidden: Option<Arc<HashSet<String>>>,
    namespace: Option<Arc<dyn Namespace>>,
    declared: bool,
    auto_creation: bool,
    defers: bool,
}

#[derive(Clone)]
enum Rules {
    /// Access control lists are off.
    Disabled,
    SuperUser,
    Checked {
        /// Bindings of the principal itself, then those for everybody.
        own: [Option<Arc<PrincipalAcls>>; 2],
        host: Arc<str>,
    },
}

impl AclView {
    /// Everything is allowed and there are no access control lists.
    pub fn disabled() -> AclView {
        AclView {
            acls: None,
            rules: Rules::Disabled,
            observer: None,
            hidden: None,
            namespace: None,
            declared: false,
            auto_creation: true,
            defers: false,
        }
    }

    /// Everything is allowed, whatever the bindings of the virtual cluster say.
    pub fn super_user(acls: &Acls, vcluster: &str) -> AclView {
        AclView {
            acls: acls.vcluster(vcluster).cloned(),
            rules: Rules::SuperUser,
            observer: None,
            hidden: None,
            namespace: None,
            declared: false,
            auto_creation: true,
            defers: false,
        }
    }

    /// By the bindings of `vcluster` for `User:<account>` at the IP address `host`.
    pub fn checked(acls: &Acls, vcluster: &str, account: &str, host: &str) -> AclView {
        let acls = acls.vcluster(vcluster).cloned();
        let of = |principal: &str| {
            acls.as_ref()
                .and_then(|acls| acls.principal(principal))
                .cloned()
        };
        let principal = format!("User:{account}");
        // An account of the name `*` is not everybody's stand-in; its own bindings are those for everybody anyway.
        let own = [
            of(&principal).filter(|_| principal != EVERYBODY),
            of(EVERYBODY),
        ];
        AclView {
            rules: Rules::Checked {
                own,
                host: canonical_host(host).into(),
            },
            acls,
            observer: None,
            hidden: None,
            namespace: None,
            declared: false,
            auto_creation: true,
            defers: false,
        }
    }

    /// Has every denial told to `observer`.
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> AclView {
        self.observer = Some(observer);
        self
    }

    /// Hides names (of the gateway's own topics, groups and transactions) from everybody, lists or no lists, super users included.
    pub fn hiding(mut self, names: Arc<HashSet<String>>) -> AclView {
        self.hidden = Some(names).filter(|names| !names.is_empty());
        self
    }

    /// Whether some topics are hidden.
    pub fn hides_topics(&self) -> bool {
        self.hidden.is_some()
    }

    /// Whether there are names that nobody has a right on, whatever the lists say.
    pub fn is_narrowed(&self) -> bool {
        self.hidden.is_some() || self.namespace.is_some()
    }

    /// Confines everything to a virtual cluster: no names but its own, nothing of the physical cluster.
    pub fn within(mut self, namespace: Arc<dyn Namespace>) -> AclView {
        self.namespace = Some(namespace);
        self
    }

    /// Whether this is a virtual cluster's.
    pub fn is_confined(&self) -> bool {
        self.namespace.is_some()
    }

    /// The lists are declared elsewhere: clients may look at them and not change them.
    pub fn declared(mut self, declared: bool) -> AclView {
        self.declared = declared;
        self
    }

    /// Whether clients may look at the lists and not change them.
    pub fn is_declared(&self) -> bool {
        self.declared
    }

    /// Whether topics come into being by being asked for (`GATEWAY_AUTO_CREATE_TOPICS_ENABLED`).
    pub fn creating(mut self, auto_creation: bool) -> AclView {
        self.auto_creation = auto_creation;
        self
    }

    /// Whether topics come into being by being asked for.
    pub fn auto_creation(&self) -> bool {
        self.auto_creation
    }

    /// Kafka decides what the client may do, and says so in its answers; here names are hidden only.
    pub fn deferring(mut self, defers: bool) -> AclView {
        self.defers = defers;
        self
    }

    /// Whether Kafka decides what the client may do.
    pub fn defers(&self) -> bool {
        self.defers
    }

    /// Whether access control lists are on.
    pub fn enabled(&self) -> bool {
        !matches!(self.rules, Rules::Disabled)
    }

    /// Whether the lists give the same rights as those of another view of the same client, as far as can be told quickly.
    pub fn grants_like(&self, other: &AclView) -> bool {
        match (&self.rules, &other.rules) {
            (Rules::Disabled, Rules::Disabled) | (Rules::SuperUser, Rules::SuperUser) => true,
            (
                Rules::Checked { own, host },
                Rules::Checked {
                    own: others,
                    host: from,
                },
            ) => own == others && host == from,
            _ => false,
        }
    }

    /// Whether nothing is ever denied: no lists, or a super user; and all names are open.
    pub fn unlimited(&self) -> bool {
        !self.is_checked() && !self.is_narrowed()
    }

    /// Whether the lists decide.
    pub fn is_checked(&self) -> bool {
        matches!(self.rules, Rules::Checked { .. })
    }

    /// Whether nobody has to look at anything: no lists, and all names are open.
    pub fn is_open(&self) -> bool {
        !self.enabled() && !self.is_narrowed()
    }

    /// The bindings of the virtual cluster; `None` if it has none.
    pub fn acls(&self) -> Option<&VclusterAcls> {
        self.acls.as_deref()
    }

    /// Whether the operation on the resource of this name is allowed. Tells the observer if not.
    pub fn allowed(&self, operation: Operation, resource_type: ResourceType, name: &str) -> bool {
        let allowed = self.permits(operation, resource_type, name);
        if let (false, Some(observer)) = (allowed, &self.observer) {
            observer.denied(operation, resource_type, name);
        }
        allowed
    }

    /// Like [`AclView::allowed`] without telling anybody: for what is left out in silence and for alternatives.
    pub fn permits(&self, operation: Operation, resource_type: ResourceType, name: &str) -> bool {
        if !self.contains(resource_type, name) {
            return false;
        }
        let Rules::Checked { own, host } = &self.rules else {
            return true;
        };
        masks(own, resource_type, name, host).decide(operation)
    }

    /// Whether there can be a resource of this name for the connection at all.
    pub fn contains(&self, resource_type: ResourceType, name: &str) -> bool {
        let (namespace, hidden) = (self.namespace.as_ref(), self.hidden.as_ref());
        let is_hidden = || hidden.is_some_and(|hidden| hidden.contains(name));
        resource_type == ResourceType::Cluster
            || (namespace.is_none_or(|namespace| namespace.contains(resource_type, name))
                && !is_hidden())
    }

    /// Whether the operation on the cluster is allowed. Tells the observer if not.
    pub fn allowed_cluster(&self, operation: Operation) -> bool {
        self.allowed(operation, ResourceType::Cluster, CLUSTER_NAME)
    }

    /// Whether there can be a topic on which the operation is allowed (KIP-679): some granted pattern that no denied one covers.
    pub fn allowed_any_topic(&self, operation: Operation) -> bool {
        let Rules::Checked { own, host } = &self.rules else {
            return true;
        };
        let topics: Vec<&TypeAcls> = own
            .iter()
            .flatten()
            .map(|acls| acls.of(ResourceType::Topic))
            .collect();
        let denies = |grants: &Grants| Masks::names(grants.from(host).deny, operation);
        let allows = |grants: &Grants| Masks::names(grants.from(host).allow, operation);
        if topics.iter().any(|acls| denies(&acls.wildcard)) {
            return false;
        }
        if topics.iter().any(|acls| allows(&acls.wildcard)) {
            return true;
        }
        let covered = |name: &str| {
            topics
                .iter()
                .any(|acls| acls.prefixes_of(name).any(|prefix| denies(&prefix.grants)))
        };
        let denied = |name: &str| {
            topics
                .iter()
                .any(|acls| acls.literals.get(name).is_some_and(denies))
                || covered(name)
        };
        topics.iter().any(|acls| {
            acls.literals
                .iter()
                .any(|(name, grants)| allows(grants) && !denied(name))
                || acls
                    .prefixes
                    .iter()
                    .any(|prefix| allows(&prefix.grants) && !covered(&prefix.prefix))
        })
    }

    /// The allowed ones of the operations that mean something for the type, as a bit field (KIP-430).
    pub fn operations(&self, resource_type: ResourceType, name: &str) -> i32 {
        if !self.contains(resource_type, name) {
            return 0;
        }
        let masks = match &self.rules {
            Rules::Checked { own, host } => Some(masks(own, resource_type, name, host)),
            Rules::Disabled | Rules::SuperUser => None,
        };
        let allowed = |operation: &&Operation| masks.is_none_or(|masks| masks.decide(**operation));
        let supported = resource_type.operations().iter();
        supported
            .filter(allowed)
            .fold(0, |bits, operation| bits | operation.bit())
    }
}

impl fmt::Debug for AclView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = match self.rules {
            Rules::Disabled => "disabled",
            Rules::SuperUser => "super user",
            Rules::Checked { .. } => "checked",
        };
        f.debug_struct("AclView")
            .field("rules", &rules)
            .finish_non_exhaustive()
    }
}

fn masks(
    own: &[Option<Arc<PrincipalAcls>>; 2],
    resource_type: ResourceType,
    name: &str,
    host: &str,
) -> Masks {
    own.iter()
        .flatten()
        .fold(Masks::default(), |mut masks, acls| {
            masks.join(acls.of(resource_type).matching(name, host));
            masks
        })
}

#[cfg(test)]
mod tests {
    use super::super::{
        Acls, Binding, EVERYBODY, Operation, PatternType, Permission, ResourceType,
    };
    use super::AclView;
    use Operation::{All, Alter, AlterConfigs, Delete, Describe, DescribeConfigs, Read, Write};
    use PatternType::{Literal, Prefixed};
    use Permission::{Allow, Deny};

    const TOPIC: ResourceType = ResourceType::Topic;

    fn on_topic(
        permission: Permission,
        operation: Operation,
        pattern_type: PatternType,
        name: &str,
    ) -> Binding {
        Binding {
            resource_type: TOPIC,
            pattern_type,
            resource_name: name.into(),
            principal: "User:alice".into(),
            host: "*".into(),
            operation,
            permission,
        }
    }

    fn alice(bindings: impl IntoIterator<Item = Binding>) -> AclView {
        let acls = Acls::from_iter(bindings.into_iter().map(|binding| ("vc".into(), binding)));
        AclView::checked(&acls, "vc", "alice", "192.0.2.1")
    }

    #[test]
    fn nothing_is_allowed_that_is_not_granted() {
        assert!(!alice([]).allowed(Read, TOPIC, "orders"));
        let view = alice([on_topic(Allow, Read, Literal, "orders")]);
        assert!(view.allowed(Read, TOPIC, "orders"));
        assert!(!view.allowed(Read, TOPIC, "orders-2"));
        assert!(!view.allowed(Read, ResourceType::Group, "orders"));
        assert!(!view.allowed(Write, TOPIC, "orders"));
    }

    #[test]
    fn grants_imply_that_one_may_look() {
        for operation in [Read, Write, Delete, Alter] {
            let view = alice([on_topic(Allow, operation, Literal, "t")]);
            assert!(view.allowed(Describe, TOPIC, "t"));
            assert!(!view.allowed(DescribeConfigs, TOPIC, "t"));
        }
        let view = alice([on_topic(Allow, AlterConfigs, Literal, "t")]);
        assert!(view.allowed(DescribeConfigs, TOPIC, "t") && !view.allowed(Describe, TOPIC, "t"));
        let view = alice([on_topic(Allow, All, Literal, "t")]);
        assert!(
            TOPIC
                .operations()
                .iter()
                .all(|operation| view.allowed(*operation, TOPIC, "t"))
        );
    }

    #[test]
    fn denials_win_and_imply_nothing() {
        let all = on_topic(Allow, All, Literal, "*");
        let view = alice([all.clone(), on_topic(Deny, Read, Literal, "t")]);
        assert!(!view.allowed(Read, TOPIC, "t") && view.allowed(Describe, TOPIC, "t"));
        assert!(view.allowed(Read, TOPIC, "u"));
        let view = alice([all.clone(), on_topic(Deny, Describe, Prefixed, "t")]);
        assert!(view.allowed(Read, TOPIC, "t") && !view.allowed(Describe, TOPIC, "t1"));
        let view = alice([all, on_topic(Deny, All, Literal, "*")]);
        assert!(!view.allowed(Read, TOPIC, "t"));
    }

    #[test]
    fn everybody_and_hosts() {
        let for_all = Binding {
            principal: EVERYBODY.into(),
            ..on_topic(Allow, Read, Prefixed, "public-")
        };
        let here = Binding {
            host: "192.0.2.1".into(),
            ..on_topic(Deny, Read, Literal, "public-2")
        };
        let elsewhere = Binding {
            host: "192.0.2.9".into(),
            ..on_topic(Deny, Read, Literal, "public-3")
        };
        let view = alice([for_all, here, elsewhere]);
        assert!(view.allowed(Read, TOPIC, "public-1"));
        assert!(!view.allowed(Read, TOPIC, "public-2"));
        assert!(view.allowed(Read, TOPIC, "public-3"));
    }

    #[test]
    fn addresses_have_one_spelling() {
        let binding = Binding {
            host: "0:0:0:0:0:0:0:1".into(),
            ..on_topic(Allow, Read, Literal, "t")
        };
        let acls = Acls::from_iter([("vc".into(), binding)]);
        assert!(AclView::checked(&acls, "vc", "alice", "::1").allowed(Read, TOPIC, "t"));
        assert!(!AclView::checked(&acls, "vc", "alice", "::2").allowed(Read, TOPIC, "t"));
    }

    #[test]
    fn virtual_clusters_know_nothing_of_each_other() {
        let binding = on_topic(Allow, Read, Literal, "t");
        let acls = Acls::from_iter([("one".into(), binding.clone())]);
        assert!(AclView::checked(&acls, "one", "alice", "h").allowed(Read, TOPIC, "t"));
        assert!(!AclView::checked(&acls, "two", "alice", "h").allowed(Read, TOPIC, "t"));
        assert!(!AclView::checked(&acls, "one", "bob", "h").allowed(Read, TOPIC, "t"));
        let acls = acls.replaced("two", [binding]).replaced("one", []);
        assert!(!AclView::checked(&acls, "one", "alice", "h").allowed(Read, TOPIC, "t"));
        assert!(AclView::checked(&acls, "two", "alice", "h").allowed(Read, TOPIC, "t"));
        assert_eq!(acls.vclusters().count(), 1);
    }

    #[test]
    fn super_users_and_no_lists() {
        let acls = Acls::from_iter([("vc".into(), on_topic(Deny, All, Literal, "*"))]);
        for view in [AclView::super_user(&acls, "vc"), AclView::disabled()] {
            assert!(
                view.allowed(Write, TOPIC, "t")
                    && view.allowed_any_topic(Write)
                    && view.unlimited()
            );
            let bits = TOPIC
                .operations()
                .iter()
                .fold(0, |bits, operation| bits | operation.bit());
            assert_eq!(view.operations(TOPIC, "t"), bits);
        }
    }

    #[test]
    fn hidden_topics_are_nobodys() {
        let hidden = std::sync::Arc::new(std::collections::HashSet::from(["own".to_owned()]));
        for view in [
            AclView::disabled(),
            AclView::super_user(&Acls::default(), "vc"),
            alice([on_topic(Allow, All, Literal, "*")]),
        ] {
            assert!(!view.is_narrowed() && view.allowed(Delete, TOPIC, "own"));
            let view = view.hiding(hidden.clone());
            assert!(view.is_narrowed() && !view.unlimited() && !view.is_open());
            for operation in [Describe, Read, Write, Delete, Alter, DescribeConfigs] {
                assert!(!view.allowed(operation, TOPIC, "own"));
                assert!(view.permits(operation, TOPIC, "other"));
            }
            assert_eq!(view.operations(TOPIC, "own"), 0);
        }
        let view = AclView::disabled().hiding(hidden);
        assert!(!view.allowed(Delete, ResourceType::Group, "own"));
        assert!(view.allowed(Delete, ResourceType::Group, "other"));
    }

    #[test]
    fn bit_fields_hold_what_is_supported_and_allowed() {
        let view = alice([
            on_topic(Allow, Write, Literal, "t"),
            on_topic(Deny, Describe, Literal, "*"),
        ]);
        assert_eq!(view.operations(TOPIC, "t"), Write.bit());
        assert_eq!(view.operations(TOPIC, "u"), 0);
        let all = alice([on_topic(Allow, All, Literal, "t")]);
        assert_eq!(all.operations(TOPIC, "t"), 0b1101_1111_1000);
    }

    #[test]
    fn some_topic_is_found_unless_denials_cover_every_grant() {
        let any = |bindings: &[Binding]| alice(bindings.to_vec()).allowed_any_topic(Write);
        let literal = on_topic(Allow, Write, Literal, "orders");
        let prefix = on_topic(Allow, Write, Prefixed, "orders");
        let wildcard = on_topic(Allow, Write, Literal, "*");
        for grant in [&literal, &prefix, &wildcard] {
            assert!(any(std::slice::from_ref(grant)));
            assert!(!any(&[grant.clone(), on_topic(Deny, Write, Literal, "*")]));
            assert!(!any(&[grant.clone(), on_topic(Deny, All, Literal, "*")]));
            assert!(any(&[
                grant.clone(),
                on_topic(Deny, Write, Prefixed, "orders-")
            ]));
            assert!(any(&[grant.clone(), on_topic(Deny, Read, Literal, "*")]));
        }
        for covered in [&literal, &prefix] {
            assert!(!any(&[
                covered.clone(),
                on_topic(Deny, Write, Prefixed, "ord")
            ]));
            assert!(!any(&[
                covered.clone(),
                on_topic(Deny, Write, Prefixed, "orders")
            ]));
        }
        assert!(any(&[wildcard, on_topic(Deny, Write, Prefixed, "ord")]));
        assert!(!any(&[
            literal.clone(),
            on_topic(Deny, Write, Literal, "orders")
        ]));
        // A literal denial leaves the other topics of a prefix.
        assert!(any(&[prefix, on_topic(Deny, Write, Literal, "orders")]));
        assert!(!any(&[on_topic(Allow, Read, Literal, "*")]));
        let everybody_denied = Binding {
            principal: EVERYBODY.into(),
            ..on_topic(Deny, Write, Prefixed, "o")
        };
        assert!(!any(&[literal, everybody_denied]));
    }

    /// Kafka's rules, one binding after the other.
    fn plainly(bindings: &[Binding], operation: Operation, name: &str, host: &str) -> bool {
        let fits = |binding: &&Binding| {
            let named = match binding.pattern_type {
                Literal => *binding.resource_name == *name || &*binding.resource_name == "*",
                Prefixed => name.starts_with(&*binding.resource_name),
            };
            let principal = ["User:alice", EVERYBODY].contains(&&*binding.principal);
            named
                && principal
                && (&*binding.host == "*" || *binding.host == *host)
                && binding.resource_type == TOPIC
        };
        let implies = |granted: Operation| match operation {
            _ if granted == operation || granted == All => true,
            Describe => [Read, Write, Delete, Alter].contains(&granted),
            DescribeConfigs => granted == AlterConfigs,
            _ => false,
        };
        let denied = |binding: &Binding| {
            binding.permission == Deny
                && (binding.operation == operation || binding.operation == All)
        };
        let mut fitting = bindings.iter().filter(fits);
        !fitting.clone().any(denied)
            && fitting.any(|binding| binding.permission == Allow && implies(binding.operation))
    }

    #[test]
    fn the_index_decides_as_the_rules_do() {
        let mut state = 7_u64;
        let mut pick = move |count: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % count
        };
        const NAMES: [&str; 12] = [
            "a", "aa", "aab", "ab", "ab-", "ab-c", "b", "ba", "*", "é", "éa", "a*",
        ];
        const HOSTS: [&str; 3] = ["*", "192.0.2.1", "192.0.2.2"];
        const PRINCIPALS: [&str; 3] = ["User:alice", EVERYBODY, "User:bob"];
        for _ in 0..400 {
            let bindings: Vec<Binding> = (0..pick(12))
                .map(|_| Binding {
                    resource_type: if pick(8) == 0 {
                        ResourceType::Group
                    } else {
                        TOPIC
                    },
                    pattern_type: PatternType::ALL[pick(2)],
                    resource_name: NAMES[pick(NAMES.len())].into(),
                    principal: PRINCIPALS[pick(3)].into(),
                    host: HOSTS[pick(3)].into(),
                    operation: Operation::ALL[pick(10)],
                    permission: if pick(3) == 0 { Deny } else { Allow },
                })
                .collect();
            let view = alice(bindings.clone());
            for name in NAMES {
                for operation in TOPIC.operations() {
                    let expected = plainly(&bindings, *operation, name, "192.0.2.1");
                    assert_eq!(
                        view.allowed(*operation, TOPIC, name),
                        expected,
                        "{operation} {name} {bindings:#?}"
                    );
                    assert_eq!(
                        view.operations(TOPIC, name) & operation.bit() != 0,
                        expected
                    );
                }
            }
        }
    }
}
