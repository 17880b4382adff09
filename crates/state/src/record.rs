//! Resources as records: the key a JSON array, the value a JSON object with `v`, the version of its form.

use serde_json::{Map, Value};

use crate::resource::Resource;
use crate::topic::StoreTopic;

/// Longest key, bytes. Longer ones are not ours.
pub(crate) const MAX_KEY: usize = 16 * 1024;

/// Largest value, bytes: with key and headers it fits into `max.message.bytes` of a topic with default settings.
pub(crate) const MAX_VALUE: usize = 960 * 1024;

/// The key of a resource as text. Equal names give equal texts, so the text can be looked up.
pub(crate) fn key_text<S: AsRef<str>>(kind: &str, name: &[S]) -> String {
    let parts = std::iter::once(kind)
        .chain(name.iter().map(AsRef::as_ref))
        .map(|part| Value::String(part.to_owned()))
        .collect();
    Value::Array(parts).to_string()
}

/// A record to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) topic: StoreTopic,
    pub(crate) key: String,
    /// `None` deletes.
    pub(crate) value: Option<String>,
}

impl Draft {
    pub(crate) fn put<R: Resource>(resource: &R) -> Self {
        let mut fields = resource.fields();
        fields.insert("v".to_owned(), R::VERSION.into());
        Draft {
            topic: R::TOPIC,
            key: key_text(R::KIND, &resource.name()),
            value: Some(Value::Object(fields).to_string()),
        }
    }

    pub(crate) fn delete<R: Resource>(name: &[String]) -> Self {
        Draft {
            topic: R::TOPIC,
            key: key_text(R::KIND, name),
            value: None,
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, String::len)
    }
}

/// A key that has our form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) kind: String,
    pub(crate) name: Vec<String>,
}

impl Key {
    /// Reads a key. Only the form that [`key_text`] gives is taken, so that one resource has one key.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        if bytes.len() > MAX_KEY {
            return Err("the key is too long");
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "the key is not text")?;
        let mut parts: Vec<String> =
            serde_json::from_str(text).map_err(|_| "the key is not a JSON array of texts")?;
        if parts.is_empty() {
            return Err("the key names no kind");
        }
        let name = parts.split_off(1);
        let kind = parts.pop().unwrap_or_default();
        if key_text(&kind, &name) != text {
            return Err("the key is not in its canonical form");
        }
        Ok(Key {
            text: text.to_owned(),
            kind,
            name,
        })
    }
}

/// Reads a value: its version and its other fields.
pub(crate) fn parse_value(bytes: &[u8]) -> Result<(u64, Map<String, Value>), &'static str> {
    if bytes.len() > MAX_VALUE {
        return Err("the value is too large");
    }
    let mut fields: Map<String, Value> =
        serde_json::from_slice(bytes).map_err(|_| "the value is not a JSON object")?;
    let version = fields
        .remove("v")
        .and_then(|v| v.as_u64())
        .ok_or("the value has no version")?;
    Ok((version, fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back() {
        let text = key_text("acl", &["a\"b", "", "ü\u{0}"]);
        let key = Key::parse(text.as_bytes()).unwrap();
        assert_eq!(key.kind, "acl");
        assert_eq!(key.name, ["a\"b", "", "ü\u{0}"]);
        assert_eq!(key.text, text);
    }

    #[test]
    fn strange_keys_are_refused() {
        for key in [
            &b""[..],
            b"[]",
            b"[1]",
            b"{}",
            b"[\"a\" ]",
            b"[\"\\u0061\"]",
            b"\xff",
            b"[[\"a\"]]",
            b"[\"a\"",
            b"[\"a\"]x",
        ] {
            assert!(Key::parse(key).is_err(), "{key:?}");
        }
        assert!(Key::parse(&vec![b'['; MAX_KEY]).is_err());
        assert!(Key::parse(&vec![b'['; MAX_KEY + 1]).is_err());
    }

    #[test]
    fn strange_values_are_refused() {
        for value in [
            &b""[..],
            b"1",
            b"[]",
            b"{}",
            b"{\"v\":\"1\"}",
            b"{\"v\":-1}",
            b"\xff{",
        ] {
            assert!(parse_value(value).is_err(), "{value:?}");
        }
        assert!(parse_value(&vec![b'['; MAX_VALUE]).is_err());
        assert_eq!(parse_value(b"{\"v\":7,\"x\":1}").unwrap().0, 7);
    }
}
