//! One rule of an access control list.

use super::{CLUSTER_NAME, Operation, PatternType, Permission, ResourceType};

/// One rule: who may, or may not, do what with which resources from where.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Binding {
    /// Kind of the resources.
    pub resource_type: ResourceType,
    /// How `resource_name` is compared.
    pub pattern_type: PatternType,
    /// Name, prefix, or `*` in a literal pattern. The name that clients use, not a physical one.
    pub resource_name: Box<str>,
    /// `User:<account name>`, or `User:*` for everybody.
    pub principal: Box<str>,
    /// IP address of a client, or `*`.
    pub host: Box<str>,
    /// The operation.
    pub operation: Operation,
    /// Whether it is granted or forbidden.
    pub permission: Permission,
}

impl Binding {
    /// Checks what Kafka checks before it stores a binding.
    pub fn validate(&self) -> Result<(), InvalidBinding> {
        if self.resource_name.is_empty() {
            return Err(InvalidBinding::EmptyName);
        }
        if self.resource_type == ResourceType::Cluster && &*self.resource_name != CLUSTER_NAME {
            return Err(InvalidBinding::ClusterName(self.resource_name.to_string()));
        }
        let fits = self.operation == Operation::All
            || self.resource_type.operations().contains(&self.operation);
        if !fits {
            return Err(InvalidBinding::Operation {
                operation: self.operation,
                resource_type: self.resource_type,
            });
        }
        match self.principal.split_once(':') {
            Some(("User", name)) if !name.is_empty() => Ok(()),
            _ => Err(InvalidBinding::Principal(self.principal.to_string())),
        }
    }
}

/// Why a binding is refused. The text is for the client.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidBinding {
    /// A resource needs a name.
    #[error("The resource name must not be empty")]
    EmptyName,
    /// The cluster has one name.
    #[error("The cluster resource is named {CLUSTER_NAME}, not {0}")]
    ClusterName(String),
    /// The operation means nothing for the type.
    #[error("Operation {operation} does not apply to resources of type {resource_type}")]
    Operation {
        /// Asked for.
        operation: Operation,
        /// Asked for.
        resource_type: ResourceType,
    },
    /// Not of the form `User:<name>`.
    #[error("Principal {0} is not of the form User:<name>")]
    Principal(String),
}
