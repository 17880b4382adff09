//! What a kind of resource looks like: `template` and `explain`, from the description of the management API that is built in.
//! No gateway is asked.

use super::kind::Kind;
use super::value::Value;

/// How deep members are told.
const MAX_DEPTH: usize = 16;

/// Columns of the text on the right.
const WIDTH: usize = 72;

/// The description of the API.
pub(crate) struct Description(Value);

impl Description {
    /// The one of this version.
    ///
    /// # Errors
    /// It cannot be read, which is a defect.
    pub(crate) fn built_in() -> Result<Self, String> {
        let text = admin::description().ok_or("the description of the API is missing")?;
        let value = Value::from_json(&text);
        Ok(Self(value.map_err(|error| {
            format!("the description of the API cannot be read: {error}")
        })?))
    }

    /// A resource to begin with.
    ///
    /// # Errors
    /// There is none, which is a defect.
    pub(crate) fn template(&self, kind: Kind) -> Result<Value, String> {
        let path = format!("/gateway/v2/{}", kind.path());
        let body = [
            "paths",
            &path,
            "put",
            "requestBody",
            "content",
            "application/json",
            "example",
        ];
        let example = self.0.at(&body);
        let example = example.ok_or_else(|| format!("{} has no example", kind.name()))?;
        Ok(in_order(example, self.schema(kind)))
    }

    /// All members of a kind, what they hold and mean.
    ///
    /// # Errors
    /// It is not described, which is a defect.
    pub(crate) fn explain(&self, kind: Kind) -> Result<String, String> {
        let schema = self
            .schema(kind)
            .ok_or_else(|| format!("{} is not described", kind.name()))?;
        let mut lines = Vec::new();
        self.members(&mut lines, schema, 0);
        let width = |column: fn(&Told) -> &str| {
            let widths = lines.iter().map(|line| column(line).chars().count());
            widths.max().unwrap_or(0)
        };
        let (names, types) = (width(|line| &line.name), width(|line| &line.holds));
        let mut out = format!("{}: {}\n\n", kind.name(), text(schema, "description"));
        for Told { name, holds, means } in &lines {
            let left = format!("{name:names$}  {holds:types$}  ");
            let indent = left.chars().count();
            for (index, line) in wrapped(means).enumerate() {
                match index {
                    0 => out.push_str(&left),
                    _ => out.extend(std::iter::repeat_n(' ', indent)),
                }
                out.push_str(&line);
                out.push('\n');
            }
        }
        Ok(out)
    }

    /// Names of all members that a kind has, wherever in it.
    pub(crate) fn names(&self, kind: Kind) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(schema) = self.schema(kind) {
            self.members(&mut lines, schema, 0);
        }
        let names = lines.iter().map(|line| line.name.trim_start());
        names
            .map(|name| name.trim_end_matches("[]").to_owned())
            .collect()
    }

    fn schema(&self, kind: Kind) -> Option<&Value> {
        self.0.at(&["components", "schemas", kind.name()])
    }

    /// Adds the members of an object, with those of their own below them.
    fn members(&self, lines: &mut Vec<Told>, schema: &Value, depth: usize) {
        let Some(Value::Map(members)) = schema.get("properties") else {
            return;
        };
        if depth >= MAX_DEPTH {
            return;
        }
        let required = |name: &str| match schema.get("required") {
            Some(Value::List(names)) => names.iter().any(|known| known.text() == Some(name)),
            _ => false,
        };
        for (name, of) in ordered(members) {
            let items = of.get("items");
            let mut holds = type_of(items.unwrap_or(of));
            if items.is_some() {
                holds = format!("list of {holds}s");
            }
            if required(name) {
                holds.push_str(", needed");
            }
            let list = if items.is_some() { "[]" } else { "" };
            lines.push(Told {
                name: format!("{:1$}{name}{list}", "", depth * 2),
                holds,
                means: meaning(of),
            });
            self.members(lines, items.unwrap_or(of), depth + 1);
        }
    }
}

/// One member.
struct Told {
    /// Indented.
    name: String,
    holds: String,
    means: String,
}

fn text<'a>(schema: &'a Value, name: &str) -> &'a str {
    schema.get(name).and_then(Value::text).unwrap_or_default()
}

fn type_of(schema: &Value) -> String {
    let word = |word: &str| match word {
        "string" => "text".to_owned(),
        "boolean" => "true or false".to_owned(),
        "integer" => "whole number".to_owned(),
        other => other.to_owned(),
    };
    match schema.get("type") {
        Some(Value::Text(name)) => word(name),
        Some(Value::List(names)) => {
            let names = names.iter().filter_map(Value::text).map(word);
            names.collect::<Vec<_>>().join(" or ")
        }
        _ => "value".to_owned(),
    }
}

/// What the member means, with what it can hold.
fn meaning(schema: &Value) -> String {
    let mut means = text(schema, "description").to_owned();
    let of = schema.get("items").unwrap_or(schema);
    if let Some(Value::List(words)) = of.get("enum") {
        let words = words.iter().filter_map(Value::text).collect::<Vec<_>>();
        match words.as_slice() {
            [only] => means.push_str(&format!(" Always {only}.")),
            words => means.push_str(&format!(" One of {}.", words.join(", "))),
        }
    }
    if let Some(pattern) = of.get("pattern").and_then(Value::text) {
        means.push_str(&format!(" Must match {pattern}."));
    }
    if let Some(default) = schema.get("default") {
        means.push_str(&format!(" {} if left out.", default.to_json()));
    }
    if schema.get("readOnly") == Some(&Value::Bool(true)) {
        means.push_str(" Read only.");
    }
    means
}

/// Members of a resource in the order in which people write them, others as they come.
fn ordered(members: &[(String, Value)]) -> Vec<(&str, &Value)> {
    const FIRST: [&str; 8] = [
        "kind",
        "apiVersion",
        "metadata",
        "spec",
        "name",
        "vCluster",
        "scope",
        "pluginClass",
    ];
    let rank = |name: &str| FIRST.iter().position(|first| *first == name);
    let mut members: Vec<(&str, &Value)> = members
        .iter()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    members.sort_by_key(|(name, _)| rank(name).unwrap_or(FIRST.len()));
    members
}

/// The same value with its members in order.
fn in_order(value: &Value, schema: Option<&Value>) -> Value {
    match value {
        Value::Map(members) => {
            let of = |name: &str| schema.and_then(|schema| schema.at(&["properties", name]));
            let members = ordered(members).into_iter();
            let members = members.map(|(name, value)| (name.to_owned(), in_order(value, of(name))));
            Value::Map(members.collect())
        }
        Value::List(items) => {
            let of = schema.and_then(|schema| schema.get("items"));
            Value::List(items.iter().map(|item| in_order(item, of)).collect())
        }
        value => value.clone(),
    }
}

/// Lines of words, at least one.
fn wrapped(text: &str) -> impl Iterator<Item = String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let Some(line) = lines.last_mut() else {
            continue;
        };
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= WIDTH {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::yaml;

    #[test]
    fn every_kind_has_a_template_that_can_be_read() {
        let description = Description::built_in().unwrap();
        for kind in Kind::ALL {
            let template = description.template(kind).unwrap();
            assert_eq!(
                template.get("kind").and_then(Value::text),
                Some(kind.name())
            );
            let text = yaml::write(&template);
            assert!(
                text.starts_with(&format!(
                    "kind: {}\napiVersion: gateway/v2\nmetadata:\n  name: ",
                    kind.name()
                )),
                "{text}"
            );
            let read = yaml::read(&text, &|_| None).unwrap();
            assert_eq!(read[0].value, template);
        }
    }

    #[test]
    fn every_member_is_explained() {
        let description = Description::built_in().unwrap();
        for kind in Kind::ALL {
            let text = description.explain(kind).unwrap();
            for member in ["kind", "apiVersion", "metadata", "  name", "spec"] {
                assert!(text.contains(&format!("\n{member} ")), "{member}: {text}");
            }
        }
        let text = description.explain(Kind::VirtualCluster).unwrap();
        assert!(
            text.starts_with("VirtualCluster: A logical Kafka cluster"),
            "{text}"
        );
        for part in [
            "\n  acls[] ",
            "\n    resourcePattern ",
            "\n      patternType ",
            "KAFKA_API, REST_API",
            "false if left out.",
            "text, needed",
            "Read only.",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let names = description.names(Kind::VirtualCluster);
        for name in ["superUsers", "acls", "patternType", "aclEnabled"] {
            assert!(names.iter().any(|known| known == name), "{name}");
        }
    }
}
