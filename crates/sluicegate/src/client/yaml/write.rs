//! Trees to YAML, for people to read and edit.

use super::scalar::resolve;
use crate::client::value::{Value, printable, quoted};

/// Readers need not look further than this for the end of a key (YAML 1.2, 7.4.2).
const MAX_SIMPLE_KEY: usize = 1000;

/// One document, in block style, ending with a line break.
pub(crate) fn write(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::List(items) if !items.is_empty() => list(&mut out, items, 0),
        Value::Map(members) if !members.is_empty() => map(&mut out, members, 0),
        value => {
            out.push_str(&inline(value));
            out.push('\n');
        }
    }
    out
}

/// The first item begins where `out` ends, the others at column `indent`.
fn list(out: &mut String, items: &[Value], indent: usize) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            spaces(out, indent);
        }
        out.push_str("- ");
        match item {
            Value::List(items) if !items.is_empty() => list(out, items, indent + 2),
            Value::Map(members) if !members.is_empty() => map(out, members, indent + 2),
            item => leaf(out, item, indent + 2),
        }
    }
}

/// The first member begins where `out` ends, the others at column `indent`.
fn map(out: &mut String, members: &[(String, Value)], indent: usize) {
    for (index, (name, value)) in members.iter().enumerate() {
        if index > 0 {
            spaces(out, indent);
        }
        let name = one_line(name);
        if name.len() > MAX_SIMPLE_KEY {
            out.push_str("? ");
            out.push_str(&name);
            out.push('\n');
            spaces(out, indent);
        } else {
            out.push_str(&name);
        }
        out.push(':');
        match value {
            Value::List(items) if !items.is_empty() => {
                out.push('\n');
                spaces(out, indent + 2);
                list(out, items, indent + 2);
            }
            Value::Map(members) if !members.is_empty() => {
                out.push('\n');
                spaces(out, indent + 2);
                map(out, members, indent + 2);
            }
            value => {
                out.push(' ');
                leaf(out, value, indent + 2);
            }
        }
    }
}

/// What fits on a line, or a block of text whose lines begin at column `indent`.
fn leaf(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Text(text) if fits_a_block(text) => {
            let (header, text) = match text.strip_suffix('\n') {
                Some(text) => ("|", text),
                None => ("|-", text.as_str()),
            };
            out.push_str(header);
            for line in text.split('\n') {
                out.push('\n');
                if !line.is_empty() {
                    spaces(out, indent);
                    out.push_str(line);
                }
            }
        }
        value => out.push_str(&inline(value)),
    }
    out.push('\n');
}

/// Text of several lines that a literal block gives back without indentation or chomping playing a part in it.
fn fits_a_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    text.contains('\n')
        && !body.is_empty()
        && !body.starts_with(['\n', ' ', '\t'])
        && !body.ends_with('\n')
        && text.chars().all(|c| printable(c) || c == '\n')
        && body
            .split('\n')
            .all(|line| line.is_empty() || !line.trim_matches(' ').is_empty())
}

/// A value without a block of its own, on one line.
fn inline(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.clone(),
        Value::Text(text) => one_line(text),
        Value::List(_) => "[]".to_owned(),
        Value::Map(_) => "{}".to_owned(),
    }
}

fn one_line(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    quoted(text)
}

/// Whether every reader of YAML takes the text, without quotes, for this text. Rather too strict than too lax.
fn is_plain(text: &str) -> bool {
    // Booleans of YAML 1.1.
    const WORDS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
    let Some(first) = text.chars().next() else {
        return false;
    };
    (first.is_ascii_alphabetic() || matches!(first, '_' | '/' | '^' | '$' | '('))
        && !text.ends_with([' ', ':'])
        && !text.contains(": ")
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_./-+@=$()^*;:' ".contains(c))
        && !WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
        && !matches!(
            resolve(&text.to_ascii_lowercase()),
            Ok(Value::Null | Value::Bool(_))
        )
}

fn spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_as_people_write_it() {
        let json = r#"{"kind":"Interceptor","metadata":{"name":"a","scope":{"vCluster":null}},
            "spec":{"priority":5,"config":{"topic":"orders-.*","min":5.0,"big":123456789012345678901,
            "schema":"{\n  \"type\": \"record\"\n}\n","list":[{"a":1,"b":[[2],[]]},"yes"],"none":{}}}}"#;
        let yaml = "\
kind: Interceptor
metadata:
  name: a
  scope:
    vCluster: null
spec:
  priority: 5
  config:
    topic: orders-.*
    min: 5.0
    big: 123456789012345678901
    schema: |
      {
        \"type\": \"record\"
      }
    list:
      - a: 1
        b:
          - - 2
          - []
      - \"yes\"
    none: {}
";
        assert_eq!(write(&Value::from_json(json).unwrap()), yaml);
    }

    #[test]
    fn what_could_be_something_else_is_quoted() {
        for text in [
            "",
            "yes",
            "Off",
            "y",
            "N",
            "null",
            "NULL",
            "nUll",
            "~",
            "true",
            "FALSE",
            "1",
            "1.0",
            "0x1f",
            "1e3",
            ".inf",
            "2001-12-14",
            "1_000",
            "1:30",
            "007",
            "- a",
            "#",
            "a #b",
            "a: b",
            "a:",
            "a ",
            " a",
            "*",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "[a",
            "{a",
            "a\tb",
            "-",
            "---",
            "<<",
            "=",
            "é",
        ] {
            assert_eq!(one_line(text), quoted(text));
        }
        for text in [
            "orders",
            "User:alice",
            "a b",
            "/etc/x",
            "shared.orders.v2",
            "nope",
            "it's",
        ] {
            assert_eq!(one_line(text), text);
        }
    }

    #[test]
    fn long_keys() {
        let value = Value::Map(vec![
            (
                "k".repeat(3000),
                Value::Map(vec![("a".to_owned(), Value::Null)]),
            ),
            ("l".repeat(3000), Value::Bool(true)),
        ]);
        assert_eq!(
            super::super::read(&write(&value), &|_| None).unwrap()[0].value,
            value
        );
    }
}
