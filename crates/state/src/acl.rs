//! ACL bindings. They are the gateway's and never reach a broker; names in them are those of the virtual cluster.

use std::fmt;

use serde_json::{Map, Value};

use crate::resource::Resource;
use crate::snapshot::{Snapshot, Table};
use crate::topic::StoreTopic;

/// An enum with the names and numbers that Kafka uses.
macro_rules! kafka_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal, $code:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$variant),*];

            /// Kafka's name, upper case.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// The number on the wire.
            pub fn code(self) -> i8 {
                match self { $($name::$variant => $code,)* }
            }

            /// By Kafka's name, any case.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.as_str().eq_ignore_ascii_case(name))
            }

            /// By the number on the wire.
            pub fn from_code(code: i8) -> Option<Self> {
                Self::ALL.iter().copied().find(|v| v.code() == code)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

kafka_enum! {
    /// What a binding is about.
    AclResource {
        /// A topic.
        Topic = "TOPIC", 2;
        /// A group.
        Group = "GROUP", 3;
        /// The (virtual) cluster.
        Cluster = "CLUSTER", 4;
        /// A transactional id.
        TransactionalId = "TRANSACTIONAL_ID", 5;
        /// A delegation token.
        DelegationToken = "DELEGATION_TOKEN", 6;
        /// A user.
        User = "USER", 7;
    }
}

kafka_enum! {
    /// How the resource name is matched.
    AclPattern {
        /// Equal, or `*` for every name.
        Literal = "LITERAL", 3;
        /// Begins with.
        Prefixed = "PREFIXED", 4;
    }
}

kafka_enum! {
    /// What is allowed or denied.
    AclOperation {
        /// Every operation.
        All = "ALL", 2;
        /// Read.
        Read = "READ", 3;
        /// Write.
        Write = "WRITE", 4;
        /// Create.
        Create = "CREATE", 5;
        /// Delete.
        Delete = "DELETE", 6;
        /// Alter.
        Alter = "ALTER", 7;
        /// Describe.
        Describe = "DESCRIBE", 8;
        /// What brokers do among themselves.
        ClusterAction = "CLUSTER_ACTION", 9;
        /// Describe configurations.
        DescribeConfigs = "DESCRIBE_CONFIGS", 10;
        /// Alter configurations.
        AlterConfigs = "ALTER_CONFIGS", 11;
        /// Write with idempotence.
        IdempotentWrite = "IDEMPOTENT_WRITE", 12;
        /// Create delegation tokens.
        CreateTokens = "CREATE_TOKENS", 13;
        /// Describe delegation tokens.
        DescribeTokens = "DESCRIBE_TOKENS", 14;
        /// Take part in two-phase commits (KIP-939).
        TwoPhaseCommit = "TWO_PHASE_COMMIT", 15;
    }
}

kafka_enum! {
    /// Which way a binding decides.
    AclPermission {
        /// Refuse.
        Deny = "DENY", 2;
        /// Permit.
        Allow = "ALLOW", 3;
    }
}

/// One binding inside a virtual cluster. All of it is its name: bindings are added and removed, not changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AclBinding {
    /// The virtual cluster; `passthrough` for none.
    pub vcluster: String,
    /// What it is about.
    pub resource_type: AclResource,
    /// How `resource_name` is matched.
    pub pattern_type: AclPattern,
    /// A logical name, a prefix, or `*`.
    pub resource_name: String,
    /// `User:<name>` or `User:*`.
    pub principal: String,
    /// An address or `*`.
    pub host: String,
    /// What is decided.
    pub operation: AclOperation,
    /// How.
    pub permission: AclPermission,
}

impl Resource for AclBinding {
    const KIND: &'static str = "acl";
    const TOPIC: StoreTopic = StoreTopic::Acls;
    const VERSION: u64 = 1;

    fn name(&self) -> Vec<String> {
        vec![
            self.vcluster.clone(),
            self.resource_type.as_str().to_owned(),
            self.pattern_type.as_str().to_owned(),
            self.resource_name.clone(),
            self.principal.clone(),
            self.host.clone(),
            self.operation.as_str().to_owned(),
            self.permission.as_str().to_owned(),
        ]
    }

    fn fields(&self) -> Map<String, Value> {
        Map::new()
    }

    fn read(_version: u64, name: &[String], _fields: Map<String, Value>) -> Result<Self, String> {
        let [
            vcluster,
            resource_type,
            pattern_type,
            resource_name,
            principal,
            host,
            operation,
            permission,
        ] = name
        else {
            return Err("an ACL binding has eight parts".to_owned());
        };
        Ok(AclBinding {
            vcluster: vcluster.clone(),
            resource_type: AclResource::from_name(resource_type).ok_or("unknown resource type")?,
            pattern_type: AclPattern::from_name(pattern_type).ok_or("unknown pattern type")?,
            resource_name: resource_name.clone(),
            principal: principal.clone(),
            host: host.clone(),
            operation: AclOperation::from_name(operation).ok_or("unknown operation")?,
            permission: AclPermission::from_name(permission).ok_or("unknown permission")?,
        })
    }

    fn table(snapshot: &Snapshot) -> &Table<Self> {
        &snapshot.acls
    }

    fn table_mut(snapshot: &mut Snapshot) -> &mut Table<Self> {
        &mut snapshot.acls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_come_back() {
        for operation in AclOperation::ALL {
            assert_eq!(AclOperation::from_code(operation.code()), Some(*operation));
            assert_eq!(
                AclOperation::from_name(&operation.as_str().to_lowercase()),
                Some(*operation)
            );
        }
        assert_eq!(AclResource::from_code(1), None);
        assert_eq!(AclPermission::from_name("MAYBE"), None);
    }

    #[test]
    fn a_binding_is_its_name() {
        let binding = AclBinding {
            vcluster: "v".to_owned(),
            resource_type: AclResource::TransactionalId,
            pattern_type: AclPattern::Prefixed,
            resource_name: "a\"b".to_owned(),
            principal: "User:x".to_owned(),
            host: "*".to_owned(),
            operation: AclOperation::IdempotentWrite,
            permission: AclPermission::Deny,
        };
        let name = binding.name();
        assert_eq!(AclBinding::read(1, &name, Map::new()), Ok(binding));
        for part in 0..name.len() {
            let mut shorter = name.clone();
            shorter.remove(part);
            assert!(AclBinding::read(1, &shorter, Map::new()).is_err());
        }
    }
}
