//! The ACL APIs say and do the same on both sides, and the tool that people use for them works.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{JavaTool, Release, Result, Tool, wait};
use wire::api::ApiKey;

use crate::principals::{OPERATIONS, ROOT, binding, code};
use crate::world::{Clients, LIMIT, World, any_binding, count};

const UNKNOWN: i8 = 0;
const ANY: i8 = 1;
const MATCH: i8 = 2;
/// A type of the lists that the gateway has nothing of.
const DELEGATION_TOKEN: i8 = 6;
const USERS: i8 = 7;

#[test]
fn bindings_are_made_found_and_deleted_alike() -> Result<()> {
    let world = World::get()?;
    let mut both = [&world.direct, &world.changing].map(|way| way.clients(ROOT));
    let mut failures = Vec::new();
    let mut differ = |what: String, [direct, gateway]: [Said; 2]| {
        if direct != gateway && !may_differ(&direct, &gateway) {
            failures.push(format!(
                "{what}:\n    direct  {direct:?}\n    gateway {gateway:?}"
            ));
        }
    };
    for version in 1..=3 {
        let topic = format!("managed-{version}");
        let mut made = creations(&topic);
        if version == 3 {
            made.extend(fitting_and_not(&topic));
        }
        for creation in made {
            let asked = json!({ "Creations": [creation] });
            let said = ask_both(&mut both, ApiKey::CREATE_ACLS, version, &asked)?;
            if means_nothing(&creation) && said == [Said::Made, Said::Error(INVALID_REQUEST)] {
                both[0].must(1, ApiKey::DELETE_ACLS, 3, &only(&creation))?;
                continue;
            }
            differ(format!("CreateAcls v{version} {creation}"), said);
        }
        for filter in filters(&topic) {
            let said = settled(&mut both, version, &filter)?;
            differ(format!("DescribeAcls v{version} {filter}"), said);
        }
        for filter in filters(&topic) {
            let asked = json!({ "Filters": [filter] });
            let said = ask_both(&mut both, ApiKey::DELETE_ACLS, version, &asked)?;
            differ(format!("DeleteAcls v{version} {filter}"), said);
        }
        let mut left = any_binding();
        left["ResourceNameFilter"] = topic.into();
        let [direct, gateway] = settled(&mut both, version, &left)?;
        assert_eq!(direct, Said::bindings([]), "v{version}");
        assert_eq!(gateway, Said::bindings([]), "v{version}");
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

#[test]
fn the_tool_for_lists_works() -> Result<()> {
    const TOOL_LIMIT: Duration = Duration::from_secs(120);
    let world = World::get()?;
    let way = &world.changing;
    let settings = way.java_settings(ROOT);
    let run = |args: &[&str]| {
        let settings = settings
            .each_ref()
            .map(|(key, value)| (*key, value.as_str()));
        JavaTool::new(Tool::Acls, Release::V4_3, &way.side.doors[&1])
            .configs(&settings)
            .args(args)
            .run(TOOL_LIMIT)
    };
    let what = [
        "--allow-principal",
        "User:somebody",
        "--topic",
        "tool-topic",
    ];
    let add = ["--add", "--consumer", "--group", "tool-group"];
    run(&[&add[..], &what].concat())?;
    let listed = run(&["--list", "--principal", "User:somebody"])?.join("\n");
    for expected in [
        "tool-topic",
        "tool-group",
        "operation=READ",
        "operation=DESCRIBE",
    ] {
        assert!(listed.contains(expected), "{expected} in:\n{listed}");
    }
    let remove = ["--remove", "--force", "--consumer", "--group", "tool-group"];
    run(&[&remove[..], &what].concat())?;
    let mut filter = any_binding();
    filter["PrincipalFilter"] = "User:somebody".into();
    let left = way
        .clients(ROOT)
        .must(1, ApiKey::DESCRIBE_ACLS, 3, &filter)?;
    assert_eq!(count(&left), 0, "{left}");
    Ok(())
}

const USER: &str = "User:managed";

/// Bindings of all kinds, good and bad ones.
fn creations(topic: &str) -> Vec<Value> {
    use code::{ALLOW, CLUSTER, DENY, DESCRIBE, GROUP, LITERAL, PREFIXED, READ, TOPIC};
    let any = "*";
    let mut all = vec![binding(
        TOPIC,
        PREFIXED,
        &topic[..4],
        USER,
        any,
        code::ALL,
        ALLOW,
    )];
    for pattern in [LITERAL, PREFIXED] {
        let ids = code::TRANSACTIONAL_ID;
        all.push(binding(TOPIC, pattern, topic, USER, any, READ, ALLOW));
        all.push(binding(
            GROUP,
            pattern,
            topic,
            USER,
            "192.0.2.1",
            READ,
            DENY,
        ));
        all.push(binding(
            ids,
            pattern,
            topic,
            "User:*",
            any,
            code::WRITE,
            ALLOW,
        ));
    }
    for pattern in [UNKNOWN, ANY, MATCH, 99] {
        all.push(binding(TOPIC, pattern, topic, USER, any, READ, ALLOW));
    }
    for permission in [UNKNOWN, ANY, 99] {
        all.push(binding(TOPIC, LITERAL, topic, USER, any, READ, permission));
    }
    for who in [
        "managed",
        "User:",
        "Group:managed",
        ":managed",
        "",
        "User:a:b",
    ] {
        all.push(binding(TOPIC, LITERAL, topic, who, any, READ, ALLOW));
    }
    for host in ["", "localhost", "::1", "300.1.2.3"] {
        all.push(binding(TOPIC, LITERAL, topic, USER, host, READ, ALLOW));
    }
    for name in ["", "no/name", "managed *"] {
        all.push(binding(TOPIC, LITERAL, name, USER, any, READ, ALLOW));
        all.push(binding(CLUSTER, LITERAL, name, USER, any, DESCRIBE, ALLOW));
    }
    let cluster = "kafka-cluster";
    all.push(binding(
        CLUSTER, PREFIXED, cluster, USER, any, DESCRIBE, ALLOW,
    ));
    all
}

/// Each type with each operation, whether they fit or not.
fn fitting_and_not(topic: &str) -> Vec<Value> {
    let types = [
        UNKNOWN,
        ANY,
        code::TOPIC,
        code::GROUP,
        code::CLUSTER,
        code::TRANSACTIONAL_ID,
        DELEGATION_TOKEN,
        USERS,
        99,
    ];
    let each = |resource_type: i8| {
        let name = match resource_type {
            code::CLUSTER => "kafka-cluster",
            _ => topic,
        };
        let (literal, who) = (code::LITERAL, "User:managed-operations");
        let allow = code::ALLOW;
        (0..=16)
            .map(move |operation| binding(resource_type, literal, name, who, "*", operation, allow))
            .collect::<Vec<_>>()
    };
    types.into_iter().flat_map(each).collect()
}

/// Filters that select what [`creations`] made in several ways, the last of them the rest; and bad ones.
fn filters(topic: &str) -> Vec<Value> {
    let filter = |changes: Value| {
        let mut filter = any_binding();
        filter["PrincipalFilter"] = "User:managed".into();
        for (key, value) in changes.as_object().into_iter().flatten() {
            filter[key] = value.clone();
        }
        filter
    };
    vec![
        filter(json!({ "ResourceTypeFilter": UNKNOWN })),
        filter(json!({ "PatternTypeFilter": UNKNOWN })),
        filter(json!({ "Operation": UNKNOWN })),
        filter(json!({ "PermissionType": UNKNOWN })),
        filter(json!({ "ResourceTypeFilter": 99 })),
        filter(json!({ "ResourceNameFilter": "" })),
        filter(json!({ "PrincipalFilter": "managed" })),
        filter(json!({ "HostFilter": "192.0.2.1", "PatternTypeFilter": code::PREFIXED })),
        filter(json!({ "ResourceTypeFilter": code::CLUSTER })),
        filter(
            json!({ "ResourceNameFilter": topic, "PatternTypeFilter": MATCH, "ResourceTypeFilter": code::TOPIC }),
        ),
        filter(json!({ "ResourceNameFilter": topic, "PatternTypeFilter": code::LITERAL })),
        filter(json!({ "Operation": code::READ })),
        filter(
            json!({ "PrincipalFilter": "User:managed-operations", "Operation": code::DESCRIBE }),
        ),
        filter(json!({ "PrincipalFilter": "User:managed-operations" })),
        filter(json!({ "PrincipalFilter": "User:*", "ResourceNameFilter": topic })),
        filter(json!({ "PrincipalFilter": null, "ResourceNameFilter": topic })),
        filter(json!({})),
    ]
}

const INVALID_REQUEST: i64 = 42;

/// Whether a binding could never have an effect: nobody can be such a principal, or nothing asks for the operation on the type.
/// Brokers keep those; the gateway refuses them, as the tool does, so that a slip does not stay unseen.
fn means_nothing(creation: &Value) -> bool {
    const CREATE_TOKENS: i8 = 13;
    const DESCRIBE_TOKENS: i8 = 14;
    let number = |field: &str| {
        creation[field]
            .as_i64()
            .and_then(|code| i8::try_from(code).ok())
    };
    let (resource_type, operation) = (number("ResourceType"), number("Operation"));
    let known = OPERATIONS
        .iter()
        .find(|(code, _)| Some(*code) == resource_type);
    let operations = match (known, resource_type) {
        (Some((_, operations)), _) => operations,
        (None, Some(DELEGATION_TOKEN)) => [code::DESCRIBE].as_slice(),
        (None, Some(USERS)) => &[CREATE_TOKENS, DESCRIBE_TOKENS],
        (None, _) => &[],
    };
    let fits = operation
        .is_some_and(|operation| operation == code::ALL || operations.contains(&operation));
    let principal = creation["Principal"].as_str().unwrap_or_default();
    let somebody = principal
        .strip_prefix("User:")
        .is_some_and(|name| !name.is_empty());
    !fits || !somebody
}

/// A request to delete one binding.
fn only(creation: &Value) -> Value {
    json!({ "Filters": [{
        "ResourceTypeFilter": creation["ResourceType"],
        "ResourceNameFilter": creation["ResourceName"],
        "PatternTypeFilter": creation["ResourcePatternType"],
        "PrincipalFilter": creation["Principal"],
        "HostFilter": creation["Host"],
        "Operation": creation["Operation"],
        "PermissionType": creation["PermissionType"],
    }] })
}

/// What a side says to a request with one binding or filter.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Closed,
    Error(i64),
    Made,
    /// Found or deleted.
    Bindings(BTreeSet<String>),
}

impl Said {
    fn bindings(bindings: impl IntoIterator<Item = String>) -> Said {
        Said::Bindings(bindings.into_iter().collect())
    }

    fn of(answer: &Value) -> Said {
        if answer.is_null() {
            return Said::Closed;
        }
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let result = ["Results", "FilterResults"]
            .iter()
            .find_map(|name| answer[name].get(0))
            .unwrap_or(answer);
        match result["ErrorCode"].as_i64() {
            Some(0) => {}
            Some(code) => return Said::Error(code),
            None => return Said::Error(i64::MIN),
        }
        if answer["Results"].is_array() {
            return Said::Made;
        }
        let deleted = list(&result["MatchingAcls"]).into_iter();
        let found = list(&result["Resources"]).into_iter().flat_map(|resource| {
            list(&resource["Acls"]).into_iter().map(move |acl| {
                let mut resource = resource.clone();
                resource["Acls"] = acl;
                resource
            })
        });
        Said::bindings(deleted.chain(found).map(|binding| binding.to_string()))
    }
}

/// To a code that makes no sense brokers do not answer, or with a fault of their own, or they find nothing. The gateway
/// tells that the request is not valid.
fn may_differ(direct: &Said, gateway: &Said) -> bool {
    const UNKNOWN_SERVER_ERROR: i64 = -1;
    let senseless = [
        Said::Closed,
        Said::Error(UNKNOWN_SERVER_ERROR),
        Said::bindings([]),
    ];
    senseless.contains(direct) && *gateway == Said::Error(INVALID_REQUEST)
}

fn ask_both(
    both: &mut [Clients<'_>; 2],
    api: ApiKey,
    version: i16,
    asked: &Value,
) -> Result<[Said; 2]> {
    let [direct, gateway] = both
        .each_mut()
        .map(|clients| clients.ask(1, api, version, asked));
    Ok([Said::of(&direct?), Said::of(&gateway?)])
}

/// What both describe, the brokers as soon as the one that is asked knows what the controller has decided.
fn settled(both: &mut [Clients<'_>; 2], version: i16, filter: &Value) -> Result<[Said; 2]> {
    let mut same = 0;
    let mut before = None;
    wait::until("the same answers again and again", LIMIT, || {
        let now = ask_both(both, ApiKey::DESCRIBE_ACLS, version, filter)?;
        let [direct, gateway] = &now;
        same = if before.as_ref() == Some(&now) {
            same + 1
        } else {
            0
        };
        before = Some(now.clone());
        Ok((direct == gateway || same > 3).then_some(now))
    })
}
