//! The few YAML texts of the configuration. Errors tell where, never what stands there: the texts hold passwords.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, MapAccess, Visitor};

/// One item of `GATEWAY_ADMIN_API_USERS`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    #[serde(default)]
    pub(crate) username: String,
    #[serde(default)]
    pub(crate) password: String,
    #[serde(default)]
    pub(crate) admin: bool,
}

/// `GATEWAY_BACKEND_KAFKA_SELECTOR`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Selector {
    pub(crate) file: SelectorFile,
}

/// The only kind of selector.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SelectorFile {
    pub(crate) path: String,
}

/// The cluster file: properties by cluster id.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClusterFile {
    pub(crate) config: BTreeMap<String, Option<BTreeMap<String, Option<String>>>>,
}

/// Maps and scalars of the gateway configuration file.
pub(crate) enum Tree {
    Scalar(String),
    Null,
    Map(Vec<(String, Tree)>),
}

/// Reads `text`.
///
/// # Errors
/// Where the text departs from what is expected, as in "line 1, column 5".
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_saphyr::from_str(text).map_err(|error| match error.location() {
        Some(location) => format!("line {}, column {}", location.line(), location.column()),
        None => "an unknown place".to_owned(),
    })
}

/// Replaces `${NAME}` and `${NAME|default}`.
///
/// # Errors
/// A name without value and default.
pub(crate) fn expand(
    text: &str,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((reference, tail)) = after.split_once('}') else {
            out.push_str("${");
            rest = after;
            continue;
        };
        let (name, default) = match reference.split_once('|') {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        match lookup(name).or_else(|| default.map(String::from)) {
            Some(value) => out.push_str(&value),
            None => return Err(name.to_owned()),
        }
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("maps and scalars")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry::<String, Tree>()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users() {
        let users: Vec<User> = parse("[{username: a, password: 0123}, {\"username\":\"b\",\"password\":\"x\",\"admin\":true}]").expect("yaml");
        assert_eq!(users.len(), 2);
        assert_eq!(users[0].password, "0123");
        assert!(!users[0].admin && users[1].admin);
    }

    #[test]
    fn errors_do_not_show_the_text() {
        let error = parse::<Vec<User>>("[{username: a, password: hunter2, amdin: true}]")
            .err()
            .expect("unknown key");
        assert!(error.starts_with("line 1, column"), "{error}");
    }

    #[test]
    fn a_blank_before_the_colon() {
        let selector: Selector = parse("file : { path: /x/y.yaml }").expect("yaml");
        assert_eq!(selector.file.path, "/x/y.yaml");
    }

    #[test]
    fn cluster_file_values_keep_their_text() {
        let file: ClusterFile = parse("config:\n  main:\n    request.timeout.ms: 030\n    ssl.endpoint.identification.algorithm: ''\n    x: true\n  empty:\n").expect("yaml");
        let main = file.config["main"].as_ref().expect("properties");
        assert_eq!(main["request.timeout.ms"].as_deref(), Some("030"));
        assert_eq!(
            main["ssl.endpoint.identification.algorithm"].as_deref(),
            Some("")
        );
        assert!(file.config["empty"].is_none());
    }

    #[test]
    fn references() {
        let lookup = |name: &str| (name == "A").then(|| "1".to_owned());
        assert_eq!(expand("x${A}y${B|d}$", lookup), Ok("x1yd$".into()));
        assert_eq!(expand("${B}", lookup), Err("B".into()));
        assert_eq!(expand("${open", lookup), Ok("${open".into()));
        assert_eq!(expand("${B|}", lookup), Ok(String::new()));
    }
}
