//! What a gateway has made nothing of: members of a resource that are not in its answer.

use config::catalogue::nearest;

use super::kind::Kind;
use super::resource::PASSTHROUGH;
use super::value::Value;

/// Most members that are named.
const MAX_NAMED: usize = 20;

/// Sentences about members of `sent` that are not in `stored`, the resource as the gateway has it now. `members` are the
/// names of the members that the kind has.
pub(crate) fn ignored(kind: Kind, sent: &Value, stored: &Value, members: &[String]) -> Vec<String> {
    // An answer without a kind is no resource.
    if stored.get("kind").is_none() {
        return Vec::new();
    }
    let mut paths = Vec::new();
    compare(&mut paths, String::new(), sent, &[stored]);
    paths
        .retain(|Ignored { path, value }| !is_written_differently(kind, path, value, sent, stored));
    let more = paths.len().saturating_sub(MAX_NAMED);
    let mut sentences: Vec<String> = paths
        .iter()
        .take(MAX_NAMED)
        .map(|Ignored { path, .. }| {
            let name = path.rsplit('.').next().unwrap_or_default();
            match near(name, members) {
                Some(near) => {
                    format!("the gateway ignored '{path}'; did you mean '{near}'?")
                }
                None => format!("the gateway ignored '{path}'"),
            }
        })
        .collect();
    if more > 0 {
        sentences.push(format!("the gateway ignored {more} more members"));
    }
    sentences
}

struct Ignored<'a> {
    path: String,
    value: &'a Value,
}

/// Adds members of a map that none of `stored` has. What is in lists may come back in another order, and some of it once only.
fn compare<'a>(paths: &mut Vec<Ignored<'a>>, path: String, sent: &'a Value, stored: &[&Value]) {
    match sent {
        Value::Map(members) if stored.iter().any(|s| matches!(s, Value::Map(_))) => {
            for (name, value) in members {
                if is_nothing(value) {
                    continue;
                }
                let path = match path.as_str() {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                let found: Vec<&Value> = stored.iter().filter_map(|s| s.get(name)).collect();
                if found.is_empty() {
                    if paths.iter().all(|known| known.path != path) {
                        paths.push(Ignored { path, value });
                    }
                } else {
                    compare(paths, path, value, &found);
                }
            }
        }
        Value::List(items) if path != "spec.config" => {
            let stored = stored.iter().filter_map(|s| match s {
                Value::List(items) => Some(items),
                _ => None,
            });
            let stored: Vec<&Value> = stored.flatten().collect();
            for item in items.iter().filter(|_| !stored.is_empty()) {
                compare(paths, format!("{path}[]"), item, &stored);
            }
        }
        _ => {}
    }
}

/// What is the same as leaving the member out.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Map(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether answers leave it out, or call it something else, although it was understood.
fn is_written_differently(
    kind: Kind,
    path: &str,
    value: &Value,
    sent: &Value,
    stored: &Value,
) -> bool {
    let text = value.text();
    match path {
        "metadata.vCluster" | "metadata.scope.vCluster" => {
            text == Some(PASSTHROUGH) && kind != Kind::VirtualCluster && kind != Kind::GatewayGroup
        }
        "spec.members[].vCluster" => text == Some(PASSTHROUGH),
        "spec.physicalCluster" => kind == Kind::AliasTopic && text == Some("main"),
        // An older name.
        "spec.aclBindings" => {
            kind == Kind::VirtualCluster
                && stored.at(&["spec", "acls"]).is_some()
                && sent.at(&["spec", "acls"]).is_none()
        }
        "spec.aclMode" => {
            kind == Kind::VirtualCluster && matches!(text, Some("DISABLED" | "ALLOW_ALL"))
        }
        _ => false,
    }
}

/// The member that was meant, if it has another name.
fn near<'a>(name: &str, members: &'a [String]) -> Option<&'a str> {
    let name = name.trim_end_matches("[]");
    if members.iter().any(|known| known == name) {
        return None;
    }
    let same = members
        .iter()
        .find(|known| known.eq_ignore_ascii_case(name));
    same.map(String::as_str)
        .or_else(|| nearest(name, members.iter().map(String::as_str)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn finds(kind: Kind, sent: &str, stored: &str, expected: &[&str]) {
        let value = |text: &str| {
            let text = format!(r#"{{"kind":"K","apiVersion":"gateway/v2",{text}}}"#);
            Value::from_json(&text).unwrap()
        };
        let members = ["superUsers", "acls", "vCluster", "name"].map(str::to_owned);
        let found = ignored(kind, &value(sent), &value(stored), &members);
        let expected: Vec<String> = expected
            .iter()
            .map(|rest| format!("the gateway ignored {rest}"))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn members_that_are_not_there() {
        finds(
            Kind::VirtualCluster,
            r#""labels":{"a":1},"metadata":{"name":"v","extra":{"deep":[1]}},"spec":{"superusers":["a"],"prefix":"p","aclEnabled":"true"}"#,
            r#""metadata":{"name":"v"},"spec":{"aclEnabled":true,"type":"Standard"}"#,
            &[
                "'labels'",
                "'metadata.extra'",
                "'spec.superusers'; did you mean 'superUsers'?",
                "'spec.prefix'",
            ],
        );
        // Whatever order they come in, and named once.
        finds(
            Kind::VirtualCluster,
            r#""spec":{"acls":[{"name":"a","why":1},{"name":"b","why":2,"how":{"x":1}},{"name":"a"}]}"#,
            r#""spec":{"acls":[{"name":"b","how":{}},{"name":"a"}]}"#,
            &["'spec.acls[].why'", "'spec.acls[].how.x'"],
        );
    }

    #[test]
    fn what_is_understood_without_being_answered() {
        finds(
            Kind::AliasTopic,
            r#""metadata":{"name":"a","vCluster":"passthrough"},"spec":{"physicalName":"p","physicalCluster":"main","none":null,"empty":[]}"#,
            r#""metadata":{"name":"a"},"spec":{"physicalName":"p"}"#,
            &[],
        );
        finds(
            Kind::VirtualCluster,
            r#""spec":{"aclBindings":[{"name":"a"}],"aclMode":"DISABLED"}"#,
            r#""spec":{"acls":[{"name":"a"}]}"#,
            &[],
        );
        finds(
            Kind::GatewayServiceAccount,
            r#""metadata":{"vCluster":"other"},"spec":{"type":"local","externalNames":["x"]}"#,
            r#""metadata":{"name":"a"},"spec":{"type":"LOCAL"}"#,
            &["'metadata.vCluster'", "'spec.externalNames'"],
        );
        finds(
            Kind::GatewayGroup,
            r#""spec":{"members":[{"name":"a","vCluster":"passthrough"}]}"#,
            r#""spec":{"members":[{"name":"a"}]}"#,
            &[],
        );
    }

    #[test]
    fn answers_that_are_no_resource() {
        let sent = Value::from_json(r#"{"spec":{"a":1}}"#).unwrap();
        let stored = Value::from_json("{}").unwrap();
        assert!(ignored(Kind::AliasTopic, &sent, &stored, &[]).is_empty());
    }

    #[test]
    fn not_more_than_can_be_read() {
        let many: Vec<String> = (0..100).map(|n| format!(r#""m{n}":1"#)).collect();
        let sent = Value::from_json(&format!("{{{}}}", many.join(","))).unwrap();
        let stored = Value::from_json(r#"{"kind":"K"}"#).unwrap();
        let found = ignored(Kind::AliasTopic, &sent, &stored, &[]);
        assert_eq!(found.len(), MAX_NAMED + 1);
        assert_eq!(found[MAX_NAMED], "the gateway ignored 80 more members");
    }
}
