//! Who asks, and the access control lists that both sides are given.
//!
//! Topics, groups and transactional ids have the same names, so that one list of bindings says what each name stands for.

use serde_json::{Value, json};

/// May do everything without any list.
pub(crate) const ROOT: &str = "root";
/// May do everything by lists.
pub(crate) const FULL: &str = "full";
/// May do something with most names; see [`part`].
pub(crate) const PART: &str = "part";
/// May describe everything.
pub(crate) const SEER: &str = "seer";
/// Has no list of its own.
pub(crate) const NONE: &str = "none";
/// Allowed everything, and denied everything.
pub(crate) const DENIED: &str = "denied";

/// Asked about in all versions.
pub(crate) const MAIN: [&str; 6] = [ROOT, FULL, PART, SEER, NONE, DENIED];

/// Names that are there: as topics and as groups with committed offsets.
pub(crate) const LITERAL: &str = "diff-s-literal";
pub(crate) const PREFIXED: &str = "diff-s-pre-one";
/// For everybody.
pub(crate) const PUBLIC: &str = "diff-s-public";
/// Allowed and denied.
pub(crate) const BARRED: &str = "diff-s-barred";
/// For clients of this machine.
pub(crate) const LOCAL: &str = "diff-s-local";
/// For clients of another machine.
pub(crate) const REMOTE: &str = "diff-s-remote";
/// Only to be described.
pub(crate) const SEEN: &str = "diff-s-seen";
/// For those who may everything.
pub(crate) const HIDDEN: &str = "diff-s-hidden";
pub(crate) const NAMES: [&str; 8] = [
    LITERAL, PREFIXED, PUBLIC, BARRED, LOCAL, REMOTE, SEEN, HIDDEN,
];

/// Names that are nowhere.
pub(crate) const GONE: &str = "diff-s-gone";
pub(crate) const PREFIXED_GONE: &str = "diff-s-pre-gone";

/// Groups with a member that works on [`LITERAL`] and [`HIDDEN`], a transactional id with a transaction on both.
pub(crate) const BUSY: &str = "diff-s-busy";

/// A topic that nobody may delete but who may on the whole cluster.
pub(crate) const KEPT: &str = "diff-s-kept";

const ANY_HOST: &str = "*";

/// Codes of the protocol.
pub(crate) mod code {
    pub(crate) const TOPIC: i8 = 2;
    pub(crate) const GROUP: i8 = 3;
    pub(crate) const CLUSTER: i8 = 4;
    pub(crate) const TRANSACTIONAL_ID: i8 = 5;

    pub(crate) const ALL: i8 = 2;
    pub(crate) const READ: i8 = 3;
    pub(crate) const WRITE: i8 = 4;
    pub(crate) const CREATE: i8 = 5;
    pub(crate) const DELETE: i8 = 6;
    pub(crate) const ALTER: i8 = 7;
    pub(crate) const DESCRIBE: i8 = 8;
    pub(crate) const CLUSTER_ACTION: i8 = 9;
    pub(crate) const DESCRIBE_CONFIGS: i8 = 10;
    pub(crate) const ALTER_CONFIGS: i8 = 11;
    pub(crate) const IDEMPOTENT_WRITE: i8 = 12;
    pub(crate) const TWO_PHASE_COMMIT: i8 = 15;

    pub(crate) const LITERAL: i8 = 3;
    pub(crate) const PREFIXED: i8 = 4;

    pub(crate) const DENY: i8 = 2;
    pub(crate) const ALLOW: i8 = 3;
}

use code::{
    ALL, ALLOW, ALTER, ALTER_CONFIGS, CLUSTER, CLUSTER_ACTION, CREATE, DELETE, DENY, DESCRIBE,
    DESCRIBE_CONFIGS, GROUP, IDEMPOTENT_WRITE, READ, TOPIC, TRANSACTIONAL_ID, TWO_PHASE_COMMIT,
    WRITE,
};

/// Operations that are of use for a resource type.
pub(crate) const OPERATIONS: [(i8, &[i8]); 4] = [
    (
        TOPIC,
        &[
            READ,
            WRITE,
            CREATE,
            DELETE,
            ALTER,
            DESCRIBE,
            DESCRIBE_CONFIGS,
            ALTER_CONFIGS,
        ],
    ),
    (
        GROUP,
        &[READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS],
    ),
    (
        CLUSTER,
        &[
            CREATE,
            ALTER,
            DESCRIBE,
            CLUSTER_ACTION,
            DESCRIBE_CONFIGS,
            ALTER_CONFIGS,
            IDEMPOTENT_WRITE,
        ],
    ),
    (TRANSACTIONAL_ID, &[WRITE, DESCRIBE, TWO_PHASE_COMMIT]),
];

/// Somebody with one operation only, or with all but one; asked about in the first and in the last version.
#[derive(Clone, Debug)]
pub(crate) struct Single {
    pub(crate) name: String,
    resource_type: i8,
    operation: i8,
    /// All but this one.
    lacks: bool,
}

/// One [`Single`] of both kinds for each operation on each type.
pub(crate) fn singles() -> Vec<Single> {
    let mut singles = Vec::new();
    for (resource_type, operations) in OPERATIONS {
        for operation in operations {
            for (kind, lacks) in [("only", false), ("lacks", true)] {
                singles.push(Single {
                    name: format!("{kind}-{resource_type}-{operation}"),
                    resource_type,
                    operation: *operation,
                    lacks,
                });
            }
        }
    }
    singles
}

/// Whether requests of this principal may find nobody to stop them from deleting whatever is there.
pub(crate) fn may_delete_all(principal: &str) -> bool {
    [ROOT, FULL].contains(&principal) || principal.starts_with("lacks-")
}

/// A binding as CreateAcls has it.
pub(crate) fn binding(
    resource_type: i8,
    pattern_type: i8,
    name: &str,
    principal: &str,
    host: &str,
    operation: i8,
    permission: i8,
) -> Value {
    json!({
        "ResourceType": resource_type,
        "ResourceName": name,
        "ResourcePatternType": pattern_type,
        "Principal": principal,
        "Host": host,
        "Operation": operation,
        "PermissionType": permission,
    })
}

/// All bindings that both sides are given.
pub(crate) fn bindings() -> Vec<Value> {
    let mut all = Vec::new();
    for resource_type in [TOPIC, GROUP, CLUSTER, TRANSACTIONAL_ID] {
        let any = any_name(resource_type);
        all.push(allow(FULL, resource_type, any, ALL));
        all.push(allow(SEER, resource_type, any, DESCRIBE));
        all.push(allow(DENIED, resource_type, any, ALL));
        all.push(deny(DENIED, resource_type, any, ALL));
        if resource_type != CLUSTER {
            part(resource_type, &mut all);
        }
    }
    all.push(deny("*", TOPIC, KEPT, DELETE));
    for single in singles() {
        let Single {
            name,
            resource_type,
            operation,
            lacks,
        } = single;
        if !lacks {
            all.push(allow(
                &name,
                resource_type,
                any_name(resource_type),
                operation,
            ));
            continue;
        }
        for other in [TOPIC, GROUP, CLUSTER, TRANSACTIONAL_ID] {
            all.push(allow(&name, other, any_name(other), ALL));
        }
        all.push(deny(
            &name,
            resource_type,
            any_name(resource_type),
            operation,
        ));
    }
    all
}

/// What [`PART`] and everybody may do with one type.
fn part(resource_type: i8, all: &mut Vec<Value>) {
    let (some, public, barred): (&[i8], i8, i8) = match resource_type {
        TOPIC => (&[READ, WRITE, DESCRIBE_CONFIGS], READ, READ),
        GROUP => (&[READ, ALTER_CONFIGS], READ, READ),
        _ => (&[WRITE], WRITE, WRITE),
    };
    for operation in some {
        all.push(allow(PART, resource_type, LITERAL, *operation));
    }
    let user = format!("User:{PART}");
    let prefix = "diff-s-pre";
    all.push(binding(
        resource_type,
        code::PREFIXED,
        prefix,
        &user,
        ANY_HOST,
        ALL,
        ALLOW,
    ));
    all.push(allow("*", resource_type, PUBLIC, public));
    all.push(allow(PART, resource_type, BARRED, ALL));
    all.push(deny(PART, resource_type, BARRED, barred));
    for (name, host) in [(LOCAL, "127.0.0.1"), (REMOTE, "192.0.2.7")] {
        let literal = code::LITERAL;
        all.push(binding(
            resource_type,
            literal,
            name,
            &user,
            host,
            ALL,
            ALLOW,
        ));
    }
    all.push(allow(PART, resource_type, SEEN, DESCRIBE));
    if resource_type != TOPIC {
        all.push(allow(PART, resource_type, BUSY, DESCRIBE));
    }
}

fn allow(user: &str, resource_type: i8, name: &str, operation: i8) -> Value {
    let user = format!("User:{user}");
    binding(
        resource_type,
        code::LITERAL,
        name,
        &user,
        ANY_HOST,
        operation,
        ALLOW,
    )
}

fn deny(user: &str, resource_type: i8, name: &str, operation: i8) -> Value {
    let user = format!("User:{user}");
    binding(
        resource_type,
        code::LITERAL,
        name,
        &user,
        ANY_HOST,
        operation,
        DENY,
    )
}

fn any_name(resource_type: i8) -> &'static str {
    match resource_type {
        CLUSTER => "kafka-cluster",
        _ => "*",
    }
}
