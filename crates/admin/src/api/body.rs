//! JSON bodies, read so that everything wrong with one is told at once.

use serde_json::{Map, Value};

use crate::error::ApiError;

/// The built-in virtual cluster, meant where none is named.
pub(crate) const PASSTHROUGH: &str = auth::accounts::PASSTHROUGH;

/// Members of an object. `null` is the same as absent; unknown members are ignored.
#[derive(Debug)]
pub(crate) struct Members {
    /// How messages call a member of it: `spec.` for those of `spec`.
    prefix: &'static str,
    members: Map<String, Value>,
}

/// What is wrong with a body, one line each.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<String>);

impl Members {
    /// The members of the object that a body is, whatever its media type says.
    pub(crate) fn of_body(body: &[u8]) -> Result<Self, ApiError> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(ApiError::invalid("The request needs a JSON body."));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self {
                prefix: "",
                members,
            }),
            Ok(_) => Err(ApiError::invalid("The body must be a JSON object.")),
            // The parser's message holds a place and what was expected there, nothing of the text.
            Err(error) => Err(ApiError::invalid(format!(
                "The body is not valid JSON: {error}."
            ))),
        }
    }

    /// The object under this name; an empty one and a fault if there is none.
    pub(crate) fn object(&mut self, name: &str, prefix: &'static str, faults: &mut Faults) -> Self {
        let members = match self.take(name) {
            Some(Value::Object(members)) => members,
            found => {
                faults.add(match found {
                    Some(_) => format!("'{}{name}' must be an object.", self.prefix),
                    None => format!("'{}{name}' is missing.", self.prefix),
                });
                return Self {
                    prefix,
                    members: Map::new(),
                };
            }
        };
        Self { prefix, members }
    }

    /// A text that has to be there.
    pub(crate) fn text(&mut self, name: &str, faults: &mut Faults) -> Option<String> {
        let is_missing = self.members.get(name).is_none_or(Value::is_null);
        if is_missing {
            faults.add(format!("'{}{name}' is missing.", self.prefix));
        }
        self.optional_text(name, faults)
    }

    /// A text that may be absent.
    pub(crate) fn optional_text(&mut self, name: &str, faults: &mut Faults) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            _ => {
                faults.add(format!("'{}{name}' must be a text.", self.prefix));
                None
            }
        }
    }

    /// A list of texts that may be absent.
    pub(crate) fn texts(&mut self, name: &str, faults: &mut Faults) -> Vec<String> {
        let text = |item| match item {
            Value::String(text) => Some(text),
            _ => None,
        };
        let texts = match self.take(name) {
            None => Some(Vec::new()),
            Some(Value::Array(items)) => items.into_iter().map(text).collect(),
            Some(_) => None,
        };
        texts.unwrap_or_else(|| {
            faults.add(format!("'{}{name}' must be a list of texts.", self.prefix));
            Vec::new()
        })
    }

    /// A whole number within bounds that has to be there.
    pub(crate) fn integer(
        &mut self,
        name: &str,
        bounds: std::ops::RangeInclusive<i64>,
        faults: &mut Faults,
    ) -> Option<i64> {
        let Some(value) = self.take(name) else {
            faults.add(format!("'{}{name}' is missing.", self.prefix));
            return None;
        };
        let number = value.as_i64().filter(|number| bounds.contains(number));
        if number.is_none() {
            let (start, end) = bounds.into_inner();
            faults.add(format!(
                "'{}{name}' must be a whole number from {start} to {end}.",
                self.prefix
            ));
        }
        number
    }

    /// The virtual cluster under this name: absent and empty mean [`PASSTHROUGH`].
    pub(crate) fn vcluster(&mut self, name: &str, faults: &mut Faults) -> String {
        let given = self.optional_text(name, faults);
        given
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| PASSTHROUGH.to_owned())
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name).filter(|value| !value.is_null())
    }
}

impl Faults {
    pub(crate) fn add(&mut self, fault: String) {
        self.0.push(fault);
    }

    /// All of them as one error, if there are any.
    pub(crate) fn into_result(self) -> Result<(), ApiError> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(ApiError::invalid(self.0.join("\n"))),
        }
    }
}

/// A value out of a body that may be shown in a message: short and without control characters.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
