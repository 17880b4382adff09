//! Whether two JSON texts say the same.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// Whether two texts are the same JSON value: the order of members and white space do not matter. Numbers are the same
/// if they are written alike, so that none is taken for another that has more digits than a float.
pub(crate) fn is_same(one: &str, other: &str) -> bool {
    one == other
        || match (raw(one), raw(other)) {
            (Some(one), Some(other)) => is_same_value(one, other),
            _ => false,
        }
}

fn is_same_value(one: &RawValue, other: &RawValue) -> bool {
    let (one, other) = (one.get(), other.get());
    match (one.as_bytes().first(), other.as_bytes().first()) {
        (Some(b'{'), Some(b'{')) => {
            let members = |text| serde_json::from_str::<BTreeMap<String, &RawValue>>(text).ok();
            let (Some(ours), Some(theirs)) = (members(one), members(other)) else {
                return false;
            };
            ours.len() == theirs.len()
                && ours.iter().all(|(name, value)| {
                    theirs
                        .get(name)
                        .is_some_and(|theirs| is_same_value(value, theirs))
                })
        }
        (Some(b'['), Some(b'[')) => {
            let items = |text| serde_json::from_str::<Vec<&RawValue>>(text).ok();
            let (Some(ours), Some(theirs)) = (items(one), items(other)) else {
                return false;
            };
            ours.len() == theirs.len()
                && ours
                    .iter()
                    .zip(&theirs)
                    .all(|(ours, theirs)| is_same_value(ours, theirs))
        }
        (Some(b'"'), Some(b'"')) => {
            let text = |text| serde_json::from_str::<String>(text).ok();
            text(one) == text(other)
        }
        _ => one == other,
    }
}

fn raw(text: &str) -> Option<&RawValue> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::is_same;

    #[test]
    fn values() {
        for (one, other, same) in [
            (r#"{"a":1,"b":[1,2]}"#, r#" { "b" : [1, 2], "a":1 } "#, true),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#, false),
            ("[1,2]", "[2,1]", false),
            ("[1]", "[1,1]", false),
            ("5", "5.0", false),
            (
                "123456789012345678901234567890",
                "123456789012345678901234567891",
                false,
            ),
            (r#""\u0061""#, r#""a""#, true),
            (r#"{"\u0061":{"x":[]}}"#, r#"{"a":{"x":[]}}"#, true),
            ("{}", "[]", false),
            ("null", "null", true),
            ("true", "false", false),
            ("{", "{}", false),
        ] {
            assert_eq!(is_same(one, other), same, "{one} {other}");
        }
    }
}
