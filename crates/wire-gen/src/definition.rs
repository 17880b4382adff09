//! Reading the JSON definitions.

use std::collections::BTreeMap;
use std::io::Read;
use std::{fs, io};

use serde::Deserialize;
use serde_json::Value;
use zip::ZipArchive;

const FOLDER: &str = "common/message/";
const VERSION_FILE: &str = "kafka/kafka-version.properties";

/// Everything the table is made from.
pub(crate) struct Source {
    /// Version of the jar.
    pub version: String,
    /// By API key.
    pub apis: BTreeMap<i16, Api>,
}

/// Both messages of one API key; `None` while only the other one was seen.
#[derive(Default)]
pub(crate) struct Api {
    pub request: Option<Message>,
    pub response: Option<Message>,
}

/// One definition with its common structs put in place.
pub(crate) struct Message {
    pub name: String,
    pub versions: Option<Range>,
    pub flexible: Option<Range>,
    pub listeners: Vec<String>,
    pub latest_unstable: bool,
    pub fields: Vec<Field>,
}

/// One field; `fields` is filled for structs.
pub(crate) struct Field {
    pub name: String,
    pub ty: String,
    pub array: bool,
    pub versions: Range,
    pub nullable: Option<Range>,
    pub tagged: Option<(u32, Range)>,
    pub default: Default,
    pub entity: Option<String>,
    pub fields: Option<Vec<Field>>,
}

/// A declared default, reduced to what differs from zero and empty.
#[derive(PartialEq)]
pub(crate) enum Default {
    Zero,
    Null,
    Int(i64),
}

/// Inclusive versions; the end is open when `last` is `None`.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Range {
    pub first: i16,
    pub last: Option<i16>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{path}: {error}")]
    File { path: String, error: io::Error },
    #[error("{jar}: {error}")]
    Jar {
        jar: String,
        error: zip::result::ZipError,
    },
    #[error("{jar} holds no {what}")]
    Missing { jar: String, what: &'static str },
    #[error("{file}: {error}")]
    Json {
        file: String,
        error: serde_json::Error,
    },
    #[error("{place}: {problem}")]
    Definition { place: String, problem: String },
    #[error("override {0} matches no field")]
    UnusedOverride(String),
}

pub(crate) fn read_jar(jar: &str) -> Result<Source, Error> {
    let file = fs::File::open(jar).map_err(|error| Error::File {
        path: jar.to_owned(),
        error,
    })?;
    let zip_error = |error| Error::Jar {
        jar: jar.to_owned(),
        error,
    };
    let mut archive = ZipArchive::new(file).map_err(zip_error)?;
    let mut source = Source {
        version: String::new(),
        apis: BTreeMap::new(),
    };
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(zip_error)?;
        let name = entry.name().map_err(zip_error)?.into_owned();
        if name != VERSION_FILE && !(name.starts_with(FOLDER) && name.ends_with(".json")) {
            continue;
        }
        let mut text = String::new();
        entry
            .read_to_string(&mut text)
            .map_err(|error| Error::File {
                path: name.clone(),
                error,
            })?;
        if name == VERSION_FILE {
            let version = text.lines().find_map(|line| line.strip_prefix("version="));
            source.version = version.unwrap_or_default().trim().to_owned();
        } else {
            add_definition(&name, &text, &mut source.apis)?;
        }
    }
    if source.apis.is_empty() {
        return Err(Error::Missing {
            jar: jar.to_owned(),
            what: "message definitions",
        });
    }
    if source.version.is_empty() {
        return Err(Error::Missing {
            jar: jar.to_owned(),
            what: "version",
        });
    }
    Ok(source)
}

fn add_definition(file: &str, text: &str, apis: &mut BTreeMap<i16, Api>) -> Result<(), Error> {
    let raw: RawMessage =
        serde_json::from_str(&strip_comments(text)).map_err(|error| Error::Json {
            file: file.to_owned(),
            error,
        })?;
    let (Some(key), true) = (
        raw.api_key,
        matches!(raw.kind.as_str(), "request" | "response"),
    ) else {
        return Ok(());
    };
    let structs: BTreeMap<&str, &[RawField]> = raw
        .common_structs
        .iter()
        .map(|common| (common.name.as_str(), common.fields.as_slice()))
        .collect();
    let message = Message {
        versions: parse_range(&raw.valid_versions, &raw.name)?,
        flexible: parse_range(
            raw.flexible_versions.as_deref().unwrap_or("none"),
            &raw.name,
        )?,
        listeners: raw.listeners,
        latest_unstable: raw.latest_version_unstable,
        fields: fields(&raw.fields, &structs, &raw.name)?,
        name: raw.name,
    };
    let api = apis.entry(key).or_default();
    match raw.kind.as_str() {
        "request" => api.request = Some(message),
        _ => api.response = Some(message),
    }
    Ok(())
}

fn fields(
    raw: &[RawField],
    structs: &BTreeMap<&str, &[RawField]>,
    place: &str,
) -> Result<Vec<Field>, Error> {
    raw.iter()
        .map(|field| one_field(field, structs, &format!("{place}.{}", field.name)))
        .collect()
}

fn one_field(
    raw: &RawField,
    structs: &BTreeMap<&str, &[RawField]>,
    place: &str,
) -> Result<Field, Error> {
    let problem = |problem: &str| Error::Definition {
        place: place.to_owned(),
        problem: problem.to_owned(),
    };
    let (ty, array) = match raw.ty.strip_prefix("[]") {
        Some(element) => (element, true),
        None => (raw.ty.as_str(), false),
    };
    let inner = if raw.fields.is_empty() {
        structs.get(ty).copied()
    } else {
        Some(raw.fields.as_slice())
    };
    if ty.starts_with(char::is_uppercase) != inner.is_some() {
        return Err(problem("struct type and fields do not go together"));
    }
    if raw.flexible_versions.is_some() {
        return Err(problem(
            "a field with flexible versions of its own is not supported outside headers",
        ));
    }
    let tagged = match (raw.tag, raw.tagged_versions.as_deref()) {
        (Some(tag), Some(versions)) => parse_range(versions, place)?.map(|range| (tag, range)),
        (None, None) => None,
        _ => return Err(problem("tag and taggedVersions do not go together")),
    };
    Ok(Field {
        name: raw.name.clone(),
        ty: ty.to_owned(),
        array,
        versions: parse_range(&raw.versions, place)?.ok_or_else(|| problem("no versions"))?,
        nullable: parse_range(raw.nullable_versions.as_deref().unwrap_or("none"), place)?,
        tagged,
        default: parse_default(raw.default.as_ref())
            .ok_or_else(|| problem("default not understood"))?,
        entity: raw.entity_type.clone(),
        fields: inner
            .map(|inner| fields(inner, structs, place))
            .transpose()?,
    })
}

fn parse_range(text: &str, place: &str) -> Result<Option<Range>, Error> {
    let bad = || Error::Definition {
        place: place.to_owned(),
        problem: format!("bad version range {text:?}"),
    };
    if text == "none" {
        return Ok(None);
    }
    let number = |part: &str| part.parse::<i16>().map_err(|_| bad());
    let range = if let Some(first) = text.strip_suffix('+') {
        Range {
            first: number(first)?,
            last: None,
        }
    } else if let Some((first, last)) = text.split_once('-') {
        Range {
            first: number(first)?,
            last: Some(number(last)?),
        }
    } else {
        Range {
            first: number(text)?,
            last: Some(number(text)?),
        }
    };
    Ok(Some(range))
}

fn parse_default(value: Option<&Value>) -> Option<Default> {
    let number = match value {
        None => return Some(Default::Zero),
        Some(Value::Number(number)) => number.as_i64()?,
        Some(Value::Bool(value)) => i64::from(*value),
        Some(Value::String(text)) => match text.as_str() {
            "" | "false" => 0,
            "true" => 1,
            "null" => return Some(Default::Null),
            text => match text.strip_prefix("0x") {
                Some(hex) => i64::from_str_radix(hex, 16).ok()?,
                None => text.parse().ok()?,
            },
        },
        Some(_) => return None,
    };
    Some(if number == 0 {
        Default::Zero
    } else {
        Default::Int(number)
    })
}

/// Removes `//` comments, which the definitions use and JSON does not know; leaves `//` inside strings.
fn strip_comments(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for line in text.lines() {
        let mut in_string = false;
        let mut previous = '\0';
        let mut end = line.len();
        for (at, c) in line.char_indices() {
            match c {
                '"' if previous != '\\' => in_string = !in_string,
                '/' if previous == '/' && !in_string => {
                    end = at - 1;
                    break;
                }
                _ => {}
            }
            previous = c;
        }
        clean.push_str(&line[..end]);
        clean.push('\n');
    }
    clean
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawMessage {
    api_key: Option<i16>,
    #[serde(rename = "type")]
    kind: String,
    name: String,
    valid_versions: String,
    flexible_versions: Option<String>,
    #[serde(default)]
    listeners: Vec<String>,
    #[serde(default)]
    latest_version_unstable: bool,
    #[serde(default)]
    fields: Vec<RawField>,
    #[serde(default)]
    common_structs: Vec<RawStruct>,
}

#[derive(Deserialize)]
struct RawStruct {
    name: String,
    fields: Vec<RawField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawField {
    name: String,
    #[serde(rename = "type")]
    ty: String,
    versions: String,
    nullable_versions: Option<String>,
    tagged_versions: Option<String>,
    flexible_versions: Option<String>,
    tag: Option<u32>,
    default: Option<Value>,
    entity_type: Option<String>,
    #[serde(default)]
    fields: Vec<RawField>,
}

#[cfg(test)]
mod tests {
    use super::{Default, parse_default, parse_range, strip_comments};

    #[test]
    fn comments_go_and_strings_stay() {
        let text = "// head\n{ \"about\": \"see http://x // y\", // tail\n \"a\\\"//b\": 1 }\n";
        assert_eq!(
            strip_comments(text),
            "\n{ \"about\": \"see http://x // y\", \n \"a\\\"//b\": 1 }\n"
        );
    }

    #[test]
    fn ranges() {
        let parsed = |text| {
            parse_range(text, "test")
                .unwrap()
                .map(|range| (range.first, range.last))
        };
        assert_eq!(parsed("none"), None);
        assert_eq!(parsed("3"), Some((3, Some(3))));
        assert_eq!(parsed("0-12"), Some((0, Some(12))));
        assert_eq!(parsed("4+"), Some((4, None)));
        assert!(parse_range("x-", "test").is_err());
    }

    #[test]
    fn defaults() {
        let parsed =
            |json: &str| parse_default(Some(&serde_json::from_str(json).unwrap())).unwrap();
        assert!(parsed("\"-1\"") == Default::Int(-1));
        assert!(parsed("\"0x7fffffff\"") == Default::Int(0x7fff_ffff));
        assert!(parsed("\"null\"") == Default::Null);
        assert!(parsed("\"false\"") == Default::Zero);
        assert!(parsed("16") == Default::Int(16));
    }
}
