//! JSON bodies, read so that everything wrong with one is told at once.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::ApiError;

/// The built-in virtual cluster, meant where none is named.
pub(crate) const PASSTHROUGH: &str = auth::accounts::PASSTHROUGH;

/// Members of an object. `null` is the same as absent; unknown members are ignored.
#[derive(Debug, Default)]
pub(crate) struct Members {
    /// How messages call a member of it: `spec.` for those of `spec`.
    prefix: String,
    /// As they were written, so that nothing of a number is lost.
    members: BTreeMap<String, Box<RawValue>>,
}

/// A member for which `null` says something else than its absence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    Absent,
    Null,
    Text(String),
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
            Ok(members) => Ok(Self {
                prefix: String::new(),
                members,
            }),
            Err(error) if error.is_data() => {
                Err(ApiError::invalid("The body must be a JSON object."))
            }
            // The parser's message holds a place and what was expected there, nothing of the text.
            Err(error) => Err(ApiError::invalid(format!(
                "The body is not valid JSON: {error}."
            ))),
        }
    }

    /// The same of a body that may be missing or `null`, which is then an object without members.
    pub(crate) fn of_optional_body(body: &[u8]) -> Result<Self, ApiError> {
        match body.trim_ascii() {
            b"" | b"null" => Ok(Self::default()),
            body => Self::of_body(body),
        }
    }

    /// The object under this name; an empty one and a fault if there is none.
    pub(crate) fn object(&mut self, name: &str, faults: &mut Faults) -> Self {
        if !self.has(name) {
            self.missing(name, faults);
        }
        self.optional_object(name, faults)
    }

    /// The object under this name; an empty one if there is none.
    pub(crate) fn optional_object(&mut self, name: &str, faults: &mut Faults) -> Self {
        let prefix = format!("{}{name}.", self.prefix);
        let members = match self.take_raw(name) {
            None => BTreeMap::new(),
            Some(raw) => serde_json::from_str(raw.get()).unwrap_or_else(|_| {
                faults.add(format!("'{}{name}' must be an object.", self.prefix));
                BTreeMap::new()
            }),
        };
        Self { prefix, members }
    }

    /// The objects of a list under this name; none if it is absent.
    pub(crate) fn objects(&mut self, name: &str, faults: &mut Faults) -> Vec<Self> {
        let items: Option<Vec<BTreeMap<String, Box<RawValue>>>> = match self.take_raw(name) {
            None => Some(Vec::new()),
            Some(raw) => serde_json::from_str(raw.get()).ok(),
        };
        let Some(items) = items else {
            faults.add(format!(
                "'{}{name}' must be a list of objects.",
                self.prefix
            ));
            return Vec::new();
        };
        let prefixed = items.into_iter().enumerate().map(|(i, members)| Self {
            prefix: format!("{}{name}[{i}].", self.prefix),
            members,
        });
        prefixed.collect()
    }

    /// The text of the JSON object under this name, which has to be there.
    pub(crate) fn json_object(&mut self, name: &str, faults: &mut Faults) -> Option<Box<RawValue>> {
        if !self.has(name) {
            self.missing(name, faults);
            return None;
        }
        let raw = self.take_raw(name)?;
        match serde_json::from_str(raw.get()) {
            Ok(Value::Object(_)) => Some(raw),
            Ok(_) => {
                faults.add(format!("'{}{name}' must be an object.", self.prefix));
                None
            }
            Err(error) => {
                faults.add(format!("'{}{name}' cannot be read: {error}.", self.prefix));
                None
            }
        }
    }

    /// A text that has to be there.
    pub(crate) fn text(&mut self, name: &str, faults: &mut Faults) -> Option<String> {
        if !self.has(name) {
            self.missing(name, faults);
        }
        self.optional_text(name, faults)
    }

    /// A text that may be absent.
    pub(crate) fn optional_text(&mut self, name: &str, faults: &mut Faults) -> Option<String> {
        match self.take(name, faults)? {
            Value::String(text) => Some(text),
            _ => {
                faults.add(format!("'{}{name}' must be a text.", self.prefix));
                None
            }
        }
    }

    /// A text that may be absent or empty, which is the same.
    pub(crate) fn filled_text(&mut self, name: &str, faults: &mut Faults) -> Option<String> {
        self.optional_text(name, faults)
            .filter(|text| !text.is_empty())
    }

    /// A text, `null`, or nothing. An empty text is nothing.
    pub(crate) fn given(&mut self, name: &str, faults: &mut Faults) -> Given {
        if self.members.get(name).is_some_and(|raw| is_null(raw)) {
            return Given::Null;
        }
        match self.filled_text(name, faults) {
            Some(text) => Given::Text(text),
            None => Given::Absent,
        }
    }

    /// A list of texts that may be absent.
    pub(crate) fn texts(&mut self, name: &str, faults: &mut Faults) -> Vec<String> {
        let text = |item| match item {
            Value::String(text) => Some(text),
            _ => None,
        };
        let texts = match self.take(name, faults) {
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
        if !self.has(name) {
            self.missing(name, faults);
            return None;
        }
        let value = self.take(name, faults)?;
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

    /// `true` or `false`, also as a text; false if it is absent.
    pub(crate) fn flag(&mut self, name: &str, faults: &mut Faults) -> bool {
        match self.take(name, faults) {
            None => false,
            Some(Value::Bool(flag)) => flag,
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => true,
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => false,
            Some(_) => {
                faults.add(format!("'{}{name}' must be true or false.", self.prefix));
                false
            }
        }
    }

    /// The virtual cluster under this name: absent and empty mean [`PASSTHROUGH`].
    pub(crate) fn vcluster(&mut self, name: &str, faults: &mut Faults) -> String {
        self.filled_text(name, faults)
            .unwrap_or_else(|| PASSTHROUGH.to_owned())
    }

    /// Whether there is such a member, and not `null`.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|raw| !is_null(raw))
    }

    /// How messages call a member.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn missing(&self, name: &str, faults: &mut Faults) {
        faults.add(format!("'{}{name}' is missing.", self.prefix));
    }

    fn take(&mut self, name: &str, faults: &mut Faults) -> Option<Value> {
        let raw = self.take_raw(name)?;
        match serde_json::from_str(raw.get()) {
            Ok(value) => Some(value),
            Err(error) => {
                faults.add(format!("'{}{name}' cannot be read: {error}.", self.prefix));
                None
            }
        }
    }

    fn take_raw(&mut self, name: &str) -> Option<Box<RawValue>> {
        self.members.remove(name).filter(|raw| !is_null(raw))
    }
}

fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
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
