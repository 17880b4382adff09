//! Entries of `spec.acls` of a virtual cluster: Kafka's bindings, less what has no meaning in one. They are told again exactly as they were
//! sent, because clients compare.

use std::net::IpAddr;

use auth::acl::{CLUSTER_NAME, Operation, ResourceType};
use serde::Serialize;
use state::{AclOperation, AclPattern, AclPermission, AclResource, DeclaredAcl};

use super::body::{Faults, Members, shown};

/// What can be stored; Kafka has more types, which mean nothing in a virtual cluster.
pub(crate) const RESOURCES: &[AclResource] = &[
    AclResource::Topic,
    AclResource::Group,
    AclResource::Cluster,
    AclResource::TransactionalId,
];

/// What can be stored; what brokers do among themselves cannot.
pub(crate) const OPERATIONS: &[AclOperation] = &[
    AclOperation::All,
    AclOperation::Read,
    AclOperation::Write,
    AclOperation::Create,
    AclOperation::Delete,
    AclOperation::Alter,
    AclOperation::Describe,
    AclOperation::DescribeConfigs,
    AclOperation::AlterConfigs,
    AclOperation::IdempotentWrite,
];

/// Reads one entry; `None` with faults if it is not valid.
pub(crate) fn read(mut entry: Members, faults: &mut Faults) -> Option<DeclaredAcl> {
    let mut pattern = entry.object("resourcePattern", faults);
    let resource_type = word(
        &mut pattern,
        "resourceType",
        RESOURCES,
        |r| r.as_str(),
        faults,
    );
    let name = filled(&mut pattern, "name", faults);
    let pattern_type = word(
        &mut pattern,
        "patternType",
        AclPattern::ALL,
        |p| p.as_str(),
        faults,
    );
    let principal = filled(&mut entry, "principal", faults);
    let host = filled(&mut entry, "host", faults);
    let operation = word(&mut entry, "operation", OPERATIONS, |o| o.as_str(), faults);
    let permission = word(
        &mut entry,
        "permissionType",
        AclPermission::ALL,
        |p| p.as_str(),
        faults,
    );
    let acl = DeclaredAcl {
        resource_type: resource_type?,
        pattern_type: pattern_type?,
        resource_name: name?,
        principal: principal?,
        host: host?,
        operation: operation?,
        permission: permission?,
    };
    let fault = fault(&acl, &entry, &pattern);
    let is_valid = fault.is_none();
    fault.into_iter().for_each(|fault| faults.add(fault));
    is_valid.then_some(acl)
}

/// As answers have it.
pub(crate) fn show(acl: &DeclaredAcl) -> impl Serialize + '_ {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Shown<'a> {
        resource_pattern: Pattern<'a>,
        principal: &'a str,
        host: &'a str,
        operation: &'static str,
        permission_type: &'static str,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Pattern<'a> {
        resource_type: &'static str,
        name: &'a str,
        pattern_type: &'static str,
    }
    Shown {
        resource_pattern: Pattern {
            resource_type: acl.resource_type.as_str(),
            name: &acl.resource_name,
            pattern_type: acl.pattern_type.as_str(),
        },
        principal: &acl.principal,
        host: &acl.host,
        operation: acl.operation.as_str(),
        permission_type: acl.permission.as_str(),
    }
}

/// What does not fit together.
fn fault(acl: &DeclaredAcl, entry: &Members, pattern: &Members) -> Option<String> {
    if acl.resource_type == AclResource::Cluster && acl.resource_name != CLUSTER_NAME {
        return Some(format!(
            "'{}' of a CLUSTER must be '{CLUSTER_NAME}', not '{}'.",
            pattern.path("name"),
            shown(&acl.resource_name)
        ));
    }
    let resource = ResourceType::from_code(acl.resource_type.code());
    let operation = Operation::from_code(acl.operation.code());
    let applies = acl.operation == AclOperation::All
        || resource
            .zip(operation)
            .is_some_and(|(resource, operation)| resource.operations().contains(&operation));
    if !applies {
        return Some(format!(
            "'{}' {} does not apply to a {}.",
            entry.path("operation"),
            acl.operation,
            acl.resource_type
        ));
    }
    if acl.principal == "User:" {
        return Some(format!("'{}' names no user.", entry.path("principal")));
    }
    if acl.host != "*" && acl.host.parse::<IpAddr>().is_err() {
        return Some(format!(
            "'{}' must be '*' or an IP address, not '{}'.",
            entry.path("host"),
            shown(&acl.host)
        ));
    }
    None
}

/// One of some words, exactly as Kafka writes them.
fn word<T: Copy>(
    members: &mut Members,
    name: &str,
    known: &[T],
    as_str: impl Fn(T) -> &'static str,
    faults: &mut Faults,
) -> Option<T> {
    let text = members.text(name, faults)?;
    let found = known.iter().copied().find(|word| as_str(*word) == text);
    if found.is_none() {
        let words: Vec<&str> = known.iter().map(|word| as_str(*word)).collect();
        faults.add(format!(
            "'{}' must be one of {}, not '{}'.",
            members.path(name),
            words.join(", "),
            shown(&text)
        ));
    }
    found
}

fn filled(members: &mut Members, name: &str, faults: &mut Faults) -> Option<String> {
    let text = members.text(name, faults)?;
    if text.is_empty() {
        faults.add(format!("'{}' must not be empty.", members.path(name)));
        return None;
    }
    Some(text)
}
