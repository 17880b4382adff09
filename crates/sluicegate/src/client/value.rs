//! A tree as JSON and YAML have it, with numbers as they were written and members in the order they came.
//!
//! A number stays text on its whole way, so that `5` does not turn into `5.0` and no digit is lost.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use thiserror::Error;

/// How deep a tree may be. The admin API takes no deeper one.
pub(crate) const MAX_DEPTH: usize = 100;

/// A tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// A number as JSON writes it.
    Number(String),
    Text(String),
    List(Vec<Value>),
    /// Members in order; names are unique when it comes from YAML.
    Map(Vec<(String, Value)>),
}

/// Why a text is not a tree.
#[derive(Debug, Error)]
pub(crate) enum JsonError {
    #[error("{0}")]
    Malformed(#[from] serde_json::Error),
    #[error("is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

impl Value {
    /// Reads JSON.
    pub(crate) fn from_json(text: &str) -> Result<Value, JsonError> {
        of_raw(serde_json::from_str(text)?, MAX_DEPTH)
    }

    /// JSON on one line.
    pub(crate) fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out, None);
        out
    }

    /// JSON over several lines, without a line break at the end.
    pub(crate) fn to_pretty_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out, Some(0));
        out
    }

    /// The member of that name, if this is a map that has it.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Map(members) => members
                .iter()
                .find(|(member, _)| member == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The member of that name by itself.
    pub(crate) fn take(self, name: &str) -> Option<Value> {
        match self {
            Value::Map(members) => {
                let member = members.into_iter().find(|(member, _)| member == name);
                member.map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The member at the end of a path of names.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(self, |value, name| value.get(name))
    }

    /// The text, if this is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// `indent` is the column of this value, or none for a single line.
    fn write_json(&self, out: &mut String, indent: Option<usize>) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) => out.push_str(number),
            Value::Text(text) => out.push_str(&quoted(text)),
            Value::List(items) => {
                enclosed(out, indent, ('[', ']'), items, |item, out, indent| {
                    item.write_json(out, indent);
                });
            }
            Value::Map(members) => {
                let colon = if indent.is_some() { ": " } else { ":" };
                enclosed(
                    out,
                    indent,
                    ('{', '}'),
                    members,
                    |(name, value), out, indent| {
                        out.push_str(&quoted(name));
                        out.push_str(colon);
                        value.write_json(out, indent);
                    },
                );
            }
        }
    }
}

/// The text in double quotes, with escapes that JSON and YAML have in common.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if printable(c) => out.push(c),
            c => out.push_str(&format!("\\u{:04x}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

/// Whether YAML, which is stricter than JSON, lets the character stand for itself on a line. What it does not is below
/// U+10000.
pub(crate) fn printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn enclosed<T>(
    out: &mut String,
    indent: Option<usize>,
    (open, close): (char, char),
    items: &[T],
    mut write: impl FnMut(&T, &mut String, Option<usize>),
) {
    let inner = indent.map(|indent| indent + 2);
    let line = |out: &mut String, indent: Option<usize>| {
        if let Some(indent) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
        }
    };
    out.push(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        line(out, inner);
        write(item, out, inner);
    }
    if !items.is_empty() {
        line(out, indent);
    }
    out.push(close);
}

fn of_raw(raw: &RawValue, depth: usize) -> Result<Value, JsonError> {
    let depth = depth.checked_sub(1).ok_or(JsonError::TooDeep)?;
    let text = raw.get();
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let Members(members) = serde_json::from_str(text)?;
            let members = members
                .into_iter()
                .map(|(name, raw)| Ok((name, of_raw(raw, depth)?)));
            Value::Map(members.collect::<Result<_, JsonError>>()?)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            let items = items.into_iter().map(|raw| of_raw(raw, depth));
            Value::List(items.collect::<Result<_, _>>()?)
        }
        Some(b'"') => Value::Text(serde_json::from_str(text)?),
        Some(b't' | b'f') => Value::Bool(serde_json::from_str(text)?),
        Some(b'n') => Value::Null,
        _ => Value::Number(text.to_owned()),
    })
}

/// Members of an object in their order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> serde::Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// Trees for property tests.
#[cfg(test)]
pub(crate) mod arbitrary {
    use proptest::prelude::*;

    use super::Value;

    /// Texts that look like something else, or that have characters with a meaning.
    const TRICKY: &[&str] = &[
        "",
        " ",
        "yes",
        "No",
        "on",
        "y",
        "null",
        "~",
        "True",
        "1.0",
        "0x1f",
        "0o17",
        "007",
        "1e3",
        ".inf",
        "-.INF",
        ".nan",
        "1_000",
        "2001-12-14",
        "1:30",
        "- a",
        "-",
        "---",
        "...",
        "a: b",
        "a #b",
        "#a",
        "a:",
        "!!str a",
        "&a",
        "*a",
        "<<",
        "=",
        "%TAG",
        "@a",
        "`a",
        "|",
        ">",
        "[",
        "{}",
        "'",
        "\"",
        "\\",
        "a\nb",
        "a\nb\n",
        "a\n\n",
        "\n",
        "\na",
        " a\nb",
        "a\n b\n",
        "a\n \nb",
        "a\tb",
        "\ta",
        "a ",
        "a\r\nb",
        "\u{0}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\u{fffe}",
        "😀",
        "é",
        "a\n---\nb",
        "a\n\tb\n",
    ];

    pub(crate) fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            number().prop_map(Value::Number),
            text().prop_map(Value::Text),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
                prop::collection::btree_map(text(), inner, 0..5)
                    .prop_map(|members| Value::Map(members.into_iter().collect())),
            ]
        })
    }

    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?",
        ]
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            prop::sample::select(TRICKY).prop_map(String::from),
            "[a-z0-9.:#_ -]{0,12}",
            "[ \\t\\na:#-]{0,12}",
            ".{0,12}",
            prop::collection::vec(any::<char>(), 0..8).prop_map(String::from_iter),
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn json_there_and_back(value in arbitrary::value()) {
            prop_assert_eq!(&Value::from_json(&value.to_json()).unwrap(), &value);
            prop_assert_eq!(&Value::from_json(&value.to_pretty_json()).unwrap(), &value);
        }
    }

    #[test]
    fn numbers_and_order_stay() {
        let text = r#"{"z":[5,5.0,1E+2,123456789012345678901234567890],"a":{"b":-0.10,"Ω":"\n"},"e":{},"l":[]}"#;
        let value = Value::from_json(text).unwrap();
        assert_eq!(value.to_json(), text);
        let pretty = "{\n  \"z\": [\n    5\n  ],\n  \"e\": {},\n  \"l\": []\n}";
        assert_eq!(Value::from_json(pretty).unwrap().to_pretty_json(), pretty);
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Value::from_json(&nested(MAX_DEPTH)).is_ok());
        assert!(matches!(
            Value::from_json(&nested(MAX_DEPTH + 1)),
            Err(JsonError::TooDeep)
        ));
        assert!(Value::from_json(&nested(100_000)).is_err());
    }
}
