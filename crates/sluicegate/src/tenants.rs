//! What the data plane reads of stored virtual clusters and aliases.

use state::{AclMode, Snapshot};
use tenancy::{AliasDefinition, Definition, Rights, Tenants};

/// The virtual clusters of a snapshot.
pub(crate) fn tenants_of(snapshot: &Snapshot) -> Tenants {
    let definitions = snapshot.virtual_clusters.iter().map(|stored| Definition {
        name: stored.name.clone(),
        rights: Rights {
            acl_enabled: stored.acl_enabled,
            declared: stored.acl_mode == Some(AclMode::RestApi),
            super_users: stored.super_users.clone(),
        },
    });
    let retired = snapshot.retired.iter().map(|prefix| prefix.name.clone());
    let aliases = snapshot.aliases.iter().map(|stored| AliasDefinition {
        vcluster: stored.vcluster.clone(),
        name: stored.name.clone(),
        target: stored.physical_name.clone(),
    });
    Tenants::new(definitions.collect(), retired, aliases)
}
