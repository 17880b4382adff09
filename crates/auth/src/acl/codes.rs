//! The vocabulary of access control lists with the codes of the protocol.

use std::fmt;

/// Declares an enum together with its codes and the names that Kafka's tools and the HTTP API use.
macro_rules! coded {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $code:literal $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        #[repr(i8)]
        pub enum $name {
            $($(#[$variant_doc])* $variant = $code,)+
        }

        impl $name {
            /// All of them, by code.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];

            /// By code; `None` for the codes of `UNKNOWN`, `ANY` and whatever else is not a value of a binding.
            pub fn from_code(code: i8) -> Option<$name> {
                match code {
                    $($code => Some($name::$variant),)+
                    _ => None,
                }
            }

            /// Code in the protocol.
            pub const fn code(self) -> i8 {
                self as i8
            }

            /// By name, e.g. `DESCRIBE_CONFIGS`; case does not matter.
            pub fn from_name(name: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|value| value.as_str().eq_ignore_ascii_case(name))
            }

            /// Name in upper case, e.g. `DESCRIBE_CONFIGS`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

coded! {
    /// What somebody may do with a resource.
    Operation {
        /// Every operation.
        All = 2 "ALL",
        /// Fetch from a topic, be a member of a group.
        Read = 3 "READ",
        /// Produce to a topic, use a transactional id.
        Write = 4 "WRITE",
        /// Create topics.
        Create = 5 "CREATE",
        /// Delete topics, records, groups.
        Delete = 6 "DELETE",
        /// Change a topic, or the cluster and its access control lists.
        Alter = 7 "ALTER",
        /// See that a resource exists.
        Describe = 8 "DESCRIBE",
        /// What brokers do among themselves.
        ClusterAction = 9 "CLUSTER_ACTION",
        /// Read configurations.
        DescribeConfigs = 10 "DESCRIBE_CONFIGS",
        /// Change configurations.
        AlterConfigs = 11 "ALTER_CONFIGS",
        /// Use an idempotent producer.
        IdempotentWrite = 12 "IDEMPOTENT_WRITE",
        /// Create delegation tokens for a user.
        CreateTokens = 13 "CREATE_TOKENS",
        /// Describe delegation tokens of a user.
        DescribeTokens = 14 "DESCRIBE_TOKENS",
        /// Take part in two-phase commits (KIP-939).
        TwoPhaseCommit = 15 "TWO_PHASE_COMMIT",
    }
}

coded! {
    /// Kind of a resource.
    ResourceType {
        /// A topic.
        Topic = 2 "TOPIC",
        /// A group: classic, consumer, share or streams.
        Group = 3 "GROUP",
        /// The cluster; its one name is [`super::CLUSTER_NAME`].
        Cluster = 4 "CLUSTER",
        /// A transactional id.
        TransactionalId = 5 "TRANSACTIONAL_ID",
        /// A delegation token.
        DelegationToken = 6 "DELEGATION_TOKEN",
        /// A user.
        User = 7 "USER",
    }
}

coded! {
    /// How the name of a binding is compared with the name of a resource.
    PatternType {
        /// Equal, or anything if the name is `*`.
        Literal = 3 "LITERAL",
        /// The resource's name begins with it.
        Prefixed = 4 "PREFIXED",
    }
}

coded! {
    /// What a binding does. A fitting denial is stronger than any number of fitting grants.
    Permission {
        /// Forbids.
        Deny = 2 "DENY",
        /// Grants.
        Allow = 3 "ALLOW",
    }
}

impl Operation {
    /// The bit of this operation in an authorised-operations field (KIP-430).
    pub const fn bit(self) -> i32 {
        1 << self.code()
    }
}

impl ResourceType {
    /// The operations that mean something for this type, without [`Operation::All`].
    pub const fn operations(self) -> &'static [Operation] {
        use Operation::*;
        match self {
            ResourceType::Topic => &[
                Read,
                Write,
                Create,
                Delete,
                Alter,
                Describe,
                DescribeConfigs,
                AlterConfigs,
            ],
            ResourceType::Group => &[Read, Delete, Describe, DescribeConfigs, AlterConfigs],
            ResourceType::Cluster => &[
                Create,
                Alter,
                Describe,
                ClusterAction,
                DescribeConfigs,
                AlterConfigs,
                IdempotentWrite,
            ],
            ResourceType::TransactionalId => &[Write, Describe, TwoPhaseCommit],
            ResourceType::DelegationToken => &[Describe],
            ResourceType::User => &[CreateTokens, DescribeTokens],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Operation, Permission, ResourceType};

    #[test]
    fn codes_and_names_lead_back() {
        for operation in Operation::ALL {
            assert_eq!(Operation::from_code(operation.code()), Some(*operation));
            assert_eq!(Operation::from_name(operation.as_str()), Some(*operation));
        }
        assert_eq!(Operation::from_code(0), None);
        assert_eq!(Operation::from_code(1), None);
        assert_eq!(Operation::from_code(16), None);
        assert_eq!(ResourceType::from_code(1), None);
        assert_eq!(Permission::from_code(1), None);
        assert_eq!(
            ResourceType::from_name("transactional_id"),
            Some(ResourceType::TransactionalId)
        );
    }
}
