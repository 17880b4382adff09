//! What one connection may do.

use std::fmt;
use std::sync::Arc;

use super::index::{Grants, Masks, PrincipalAcls, TypeAcls, canonical_host};
use super::{Acls, CLUSTER_NAME, EVERYBODY, Operation, ResourceType, VclusterAcls};

/// Told of every denial that [`AclView::allowed`] makes: for the log and the metrics.
pub trait Observer: Send + Sync {
    /// Somebody asked for something and did not get it.
    fn denied(&self, operation: Operation, resource_type: ResourceType, name: &str);
}

/// What one connection may do, by one snapshot of the access control lists. Cheap to clone; a new snapshot needs a new view.
#[derive(Clone)]
pub struct AclView {
    acls: Option<Arc<VclusterAcls>>,
    rules: Rules,
    observer: Option<Arc<dyn Observer>>,
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
        }
    }

    /// Everything is allowed, whatever the bindings of the virtual cluster say.
    pub fn super_user(acls: &Acls, vcluster: &str) -> AclView {
        AclView {
            acls: acls.vcluster(vcluster).cloned(),
            rules: Rules::SuperUser,
            observer: None,
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
        }
    }

    /// Has every denial told to `observer`.
    pub fn observed_by(mut self, observer: Arc<dyn Observer>) -> AclView {
        self.observer = Some(observer);
        self
    }

    /// Whether access control lists are on.
    pub fn enabled(&self) -> bool {
        !matches!(self.rules, Rules::Disabled)
    }

    /// Whether nothing is ever denied: no lists, or a super user.
    pub fn unlimited(&self) -> bool {
        !matches!(self.rules, Rules::Checked { .. })
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
        let Rules::Checked { own, host } = &self.rules else {
            return true;
        };
        masks(own, resource_type, name, host).decide(operation)
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
        let supported = resource_type.operations().iter();
        match &self.rules {
            Rules::Checked { own, host } => {
                let masks = masks(own, resource_type, name, host);
                supported
                    .filter(|operation| masks.decide(**operation))
                    .fold(0, |bits, operation| bits | operation.bit())
            }
            _ => supported.fold(0, |bits, operation| bits | operation.bit()),
        }
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
