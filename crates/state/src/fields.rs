//! Reading the members of a record's value.

use serde_json::{Map, Value};

/// A text that may be absent.
pub(crate) fn optional_text(
    fields: &mut Map<String, Value>,
    name: &str,
) -> Result<Option<String>, String> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} is not a text")),
    }
}

/// A text that has to be there.
pub(crate) fn text(fields: &mut Map<String, Value>, name: &str) -> Result<String, String> {
    optional_text(fields, name)?.ok_or_else(|| format!("{name} is missing"))
}

/// False if it is absent.
pub(crate) fn flag(fields: &mut Map<String, Value>, name: &str) -> Result<bool, String> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(flag),
        Some(_) => Err(format!("{name} is neither true nor false")),
    }
}

/// Empty if it is absent.
pub(crate) fn list(fields: &mut Map<String, Value>, name: &str) -> Result<Vec<Value>, String> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => Ok(items),
        Some(_) => Err(format!("{name} is not a list")),
    }
}

/// A list of texts, empty if it is absent.
pub(crate) fn texts(fields: &mut Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    texts_of(Value::Array(list(fields, name)?))
        .ok_or_else(|| format!("{name} is not a list of texts"))
}

/// The texts in a list of texts.
pub(crate) fn texts_of(value: Value) -> Option<Vec<String>> {
    let Value::Array(items) = value else {
        return None;
    };
    items
        .into_iter()
        .map(|item| match item {
            Value::String(text) => Some(text),
            _ => None,
        })
        .collect()
}
