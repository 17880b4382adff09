//! Any message of any version as JSON, by the protocol table.
//!
//! Objects have the field names of the definitions; uuids, bytes and records are hexadecimal text. This reader and
//! writer are the test's own, so that a mistake in the gateway's walker cannot hide here.

use serde_json::{Map, Value};
use wire::api::{ApiKey, Direction};
use wire::schema::{DefaultValue, FieldSpec, FieldType};

/// Key under which [`decode`] puts tagged fields that the table does not know: an object of tag numbers.
pub(crate) const UNKNOWN_TAGS: &str = "?tags";

/// Writes a body. Fields that are left out get their default; fields of other versions are ignored, so that one
/// object serves all versions. Null in a field that must not be null becomes empty.
///
/// # Panics
/// If the table does not know the message, or an object has a key that no version has: a mistake in a case.
pub(crate) fn encode(api: ApiKey, version: i16, dir: Direction, body: &Value) -> Vec<u8> {
    let spec = api.spec().expect("a known API");
    assert!(spec.has_version(version), "{api} has no version {version}");
    let mut writer = Writer {
        version,
        flexible: spec.is_flexible(dir, version),
        out: Vec::new(),
    };
    writer.fields(spec.message(dir).fields, body);
    writer.out
}

/// Reads a body to its last byte; the error says where it is broken.
pub(crate) fn decode(
    api: ApiKey,
    version: i16,
    dir: Direction,
    body: &[u8],
) -> Result<Value, String> {
    let spec = api.spec().ok_or("unknown API")?;
    let mut reader = Reader {
        version,
        flexible: spec.is_flexible(dir, version),
        rest: body,
    };
    let value = reader.fields(spec.message(dir).fields)?;
    if !reader.rest.is_empty() {
        return Err(format!("{} bytes after the message", reader.rest.len()));
    }
    Ok(value)
}

/// Bytes as hexadecimal text.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    let digits = |byte: &u8| [digit(byte >> 4), digit(byte & 15)];
    bytes.iter().flat_map(digits).collect()
}

/// The bytes of hexadecimal text.
///
/// # Panics
/// If it is not hexadecimal.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digit = |digit: &u8| {
        let value = char::from(*digit).to_digit(16);
        value.expect("hexadecimal text") as u8
    };
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| pair.iter().fold(0, |byte, part| byte << 4 | digit(part)))
        .collect()
}

struct Writer {
    version: i16,
    flexible: bool,
    out: Vec<u8>,
}

impl Writer {
    fn fields(&mut self, fields: &[FieldSpec], value: &Value) {
        let empty = Map::new();
        let object = value.as_object().unwrap_or(&empty);
        for key in object.keys() {
            assert!(
                fields.iter().any(|spec| spec.name == key),
                "no version has a field {key}"
            );
        }
        let mut tagged = Vec::new();
        let version = self.version;
        for spec in fields.iter().filter(|spec| spec.versions.contains(version)) {
            let value = object.get(spec.name);
            if !(self.flexible && spec.tagged.contains(version)) {
                self.field(spec, value);
            } else if value.is_some() {
                tagged.push((spec, value));
            }
        }
        if !self.flexible {
            return;
        }
        tagged.sort_by_key(|(spec, _)| spec.tag);
        self.varint(tagged.len());
        for (spec, value) in tagged {
            let outer = std::mem::take(&mut self.out);
            self.field(spec, value);
            let inner = std::mem::replace(&mut self.out, outer);
            self.varint(spec.tag as usize);
            self.varint(inner.len());
            self.out.extend(inner);
        }
    }

    fn field(&mut self, spec: &FieldSpec, value: Option<&Value>) {
        let nullable = spec.nullable.contains(self.version);
        let null = match value {
            Some(value) => value.is_null(),
            None => spec.default == DefaultValue::Null,
        };
        if !spec.array {
            return self.value(spec, value, nullable, null);
        }
        let elements: &[Value] = match value {
            Some(Value::Array(elements)) => elements,
            None | Some(Value::Null) => &[],
            Some(other) => panic!("{} is an array, not {other}", spec.name),
        };
        self.prefix(4, (!(null && nullable)).then_some(elements.len()));
        for element in elements {
            self.value(spec, Some(element), false, false);
        }
    }

    fn value(&mut self, spec: &FieldSpec, value: Option<&Value>, nullable: bool, null: bool) {
        let text = || {
            let value = value.unwrap_or(&Value::Null);
            value.as_str().map_or_else(
                || {
                    assert!(value.is_null(), "{} is text, not {value}", spec.name);
                    String::new()
                },
                str::to_owned,
            )
        };
        match spec.ty {
            FieldType::Struct(inner) => {
                if nullable {
                    self.out.push(if null { 0xff } else { 1 });
                }
                if !(nullable && null) {
                    self.fields(inner, value.unwrap_or(&Value::Null));
                }
            }
            FieldType::String | FieldType::Bytes | FieldType::Records => {
                let content = match spec.ty {
                    FieldType::String => text().into_bytes(),
                    _ => unhex(&text()),
                };
                let width = if matches!(spec.ty, FieldType::String) {
                    2
                } else {
                    4
                };
                self.prefix(width, (!(nullable && null)).then_some(content.len()));
                self.out.extend(content);
            }
            FieldType::Uuid => {
                let mut id = unhex(&text());
                id.resize(16, 0);
                self.out.extend(id);
            }
            FieldType::Float64 => {
                let number = value.and_then(Value::as_f64).unwrap_or_default();
                self.out.extend(number.to_be_bytes());
            }
            ty => {
                let number = match (value, spec.default) {
                    (None | Some(Value::Null), DefaultValue::Int(number)) => number,
                    (None | Some(Value::Null), _) => 0,
                    (Some(Value::Bool(yes)), _) => i64::from(*yes),
                    (Some(value), _) => value
                        .as_i64()
                        .unwrap_or_else(|| panic!("{} is a number, not {value}", spec.name)),
                };
                let size = ty.fixed_size().expect("a number");
                self.out.extend(&number.to_be_bytes()[8 - size..]);
            }
        }
    }

    fn prefix(&mut self, width: usize, length: Option<usize>) {
        if self.flexible {
            self.varint(length.map_or(0, |length| length + 1));
        } else {
            let length = length.map_or(-1, |length| length as i64);
            self.out.extend(&length.to_be_bytes()[8 - width..]);
        }
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}

struct Reader<'a> {
    version: i16,
    flexible: bool,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn fields(&mut self, fields: &[FieldSpec]) -> Result<Value, String> {
        let mut object = Map::new();
        let known = || {
            fields
                .iter()
                .filter(|spec| spec.versions.contains(self.version))
        };
        let (tagged, plain): (Vec<_>, Vec<_>) =
            known().partition(|spec| self.flexible && spec.tagged.contains(self.version));
        for spec in plain {
            object.insert(spec.name.to_owned(), self.field(spec)?);
        }
        if !self.flexible {
            return Ok(Value::Object(object));
        }
        let mut unknown = Map::new();
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = self.varint()?;
            let content = self.take(size)?;
            let outer = std::mem::replace(&mut self.rest, content);
            match tagged.iter().find(|spec| spec.tag as usize == tag) {
                Some(spec) => {
                    object.insert(spec.name.to_owned(), self.field(spec)?);
                    if !self.rest.is_empty() {
                        return Err(format!("tagged field {} is too long", spec.name));
                    }
                }
                None => {
                    unknown.insert(tag.to_string(), Value::String(hex(content)));
                }
            }
            self.rest = outer;
        }
        if !unknown.is_empty() {
            object.insert(UNKNOWN_TAGS.to_owned(), Value::Object(unknown));
        }
        Ok(Value::Object(object))
    }

    fn field(&mut self, spec: &FieldSpec) -> Result<Value, String> {
        let named = |error: String| format!("{}: {error}", spec.name);
        let nullable = spec.nullable.contains(self.version);
        if !spec.array {
            return self.value(spec, nullable).map_err(named);
        }
        let Some(count) = self.prefix(4).map_err(named)? else {
            return Ok(Value::Null);
        };
        (0..count)
            .map(|_| self.value(spec, false))
            .collect::<Result<Vec<_>, _>>()
            .map(Value::Array)
            .map_err(named)
    }

    fn value(&mut self, spec: &FieldSpec, nullable: bool) -> Result<Value, String> {
        Ok(match spec.ty {
            FieldType::Struct(inner) => {
                if nullable && self.take(1)? == [0xff] {
                    return Ok(Value::Null);
                }
                self.fields(inner)?
            }
            FieldType::String | FieldType::Bytes | FieldType::Records => {
                let is_text = matches!(spec.ty, FieldType::String);
                let Some(length) = self.prefix(if is_text { 2 } else { 4 })? else {
                    return Ok(Value::Null);
                };
                let content = self.take(length)?;
                Value::String(if is_text {
                    String::from_utf8(content.to_vec()).map_err(|error| error.to_string())?
                } else {
                    hex(content)
                })
            }
            FieldType::Uuid => Value::String(hex(self.take(16)?)),
            FieldType::Bool => Value::Bool(self.take(1)? != [0]),
            FieldType::Float64 => {
                let bytes = self.take(8)?.try_into().unwrap_or_default();
                f64::from_be_bytes(bytes).into()
            }
            FieldType::Uint16 | FieldType::Uint32 => {
                let size = spec.ty.fixed_size().unwrap_or(0);
                self.int(size)?.rem_euclid(1 << (8 * size)).into()
            }
            ty => self.int(ty.fixed_size().unwrap_or(0))?.into(),
        })
    }

    fn prefix(&mut self, width: usize) -> Result<Option<usize>, String> {
        if self.flexible {
            return Ok(self.varint()?.checked_sub(1));
        }
        Ok(usize::try_from(self.int(width)?).ok())
    }

    fn int(&mut self, size: usize) -> Result<i64, String> {
        let bytes = self.take(size)?;
        let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
        let start = if negative { -1 } else { 0 };
        Ok(bytes
            .iter()
            .fold(start, |sum, byte| sum << 8 | i64::from(*byte)))
    }

    fn varint(&mut self) -> Result<usize, String> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("bad varint".to_owned())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (head, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or("the message is cut off")?;
        self.rest = rest;
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use wire::testing::{Rng, random_body};

    use super::*;

    #[test]
    fn every_message_reads_as_it_was_written() {
        let mut rng = Rng::new(7);
        for api in ApiKey::all() {
            let spec = api.spec().unwrap();
            for version in spec.min_version..=spec.max_version {
                for dir in [Direction::Request, Direction::Response] {
                    let body = random_body(api, version, dir, &mut rng);
                    let mut message = decode(api, version, dir, &body).unwrap();
                    drop_unknown_tags(&mut message);
                    let body = encode(api, version, dir, &message);
                    wire::walk::validate(api, version, dir, &body).unwrap();
                    let again = decode(api, version, dir, &body).unwrap();
                    assert_eq!(again, message, "{api} v{version} {dir:?}");
                }
            }
        }
    }

    fn drop_unknown_tags(value: &mut Value) {
        match value {
            Value::Object(object) => {
                object.remove(UNKNOWN_TAGS);
                object.values_mut().for_each(drop_unknown_tags);
            }
            Value::Array(elements) => elements.iter_mut().for_each(drop_unknown_tags),
            _ => {}
        }
    }
}
