//! Bodies made from the table alone: defaults and error responses.

use crate::api::{ApiKey, Direction};
use crate::plan::Prefix;
use crate::schema::{DefaultValue, Entity, FieldSpec, FieldType};
use crate::varint;

/// The body of a response in which every field has its default and the top-level error code is set. `None` if the table does not know the
/// message, or if it has no error code at top level.
pub fn error_response(api: ApiKey, version: i16, error_code: i16) -> Option<Vec<u8>> {
    let spec = api.spec().filter(|spec| spec.has_version(version))?;
    let carries = |field: &&FieldSpec| {
        field.entity == Entity::ErrorCode && !field.array && field.versions.contains(version)
    };
    spec.response.fields.iter().find(carries)?;
    let flexible = spec.is_flexible(Direction::Response, version);
    let mut builder = Builder {
        version,
        flexible,
        error_code: Some(error_code),
        body: Vec::new(),
    };
    builder.fields(spec.response.fields);
    Some(builder.body)
}

/// The shortest sensible body: arrays empty, strings empty, everything that may be null is null, numbers at their default, tagged fields
/// left out. `None` if the table does not know the message.
pub fn default_body(api: ApiKey, version: i16, dir: Direction) -> Option<Vec<u8>> {
    let spec = api.spec().filter(|spec| spec.has_version(version))?;
    let flexible = spec.is_flexible(dir, version);
    let mut builder = Builder {
        version,
        flexible,
        error_code: None,
        body: Vec::new(),
    };
    builder.fields(spec.message(dir).fields);
    Some(builder.body)
}

struct Builder {
    version: i16,
    flexible: bool,
    /// To be set in the first top-level error code.
    error_code: Option<i16>,
    body: Vec<u8>,
}

impl Builder {
    fn fields(&mut self, fields: &[FieldSpec]) {
        let version = self.version;
        for spec in fields.iter().filter(|spec| spec.versions.contains(version)) {
            if !(self.flexible && spec.tagged.contains(version)) {
                self.field(spec);
            }
        }
        if self.flexible {
            varint::put(0, &mut self.body);
        }
    }

    fn field(&mut self, spec: &FieldSpec) {
        let empty = (!spec.nullable.contains(self.version)).then_some(0);
        let prefix = match spec.ty {
            _ if self.flexible => Prefix::Compact,
            FieldType::String if !spec.array => Prefix::Int16,
            _ => Prefix::Int32,
        };
        match spec.ty {
            _ if spec.array => prefix.encode(empty, &mut self.body),
            FieldType::String | FieldType::Bytes | FieldType::Records => {
                prefix.encode(empty, &mut self.body)
            }
            FieldType::Struct(_) if empty.is_none() => self.body.push(0xff),
            FieldType::Struct(inner) => {
                let outer = self.error_code.take();
                self.fields(inner);
                self.error_code = outer;
            }
            _ => self.number(spec),
        }
    }

    fn number(&mut self, spec: &FieldSpec) {
        let size = spec.ty.fixed_size().unwrap_or(0);
        let value = match (self.error_code, spec.default) {
            (Some(code), _) if spec.entity == Entity::ErrorCode => i64::from(code),
            (_, DefaultValue::Int(value)) => value,
            (_, DefaultValue::Zero | DefaultValue::Null) => 0,
        };
        let wide = [[0; 8], value.to_be_bytes()].concat();
        self.body.extend_from_slice(&wide[16 - size..]);
    }
}

#[cfg(test)]
mod tests {
    use super::{default_body, error_response};
    use crate::api::{ApiKey, Direction};
    use crate::walk::validate;

    #[test]
    fn defaults_of_every_message_are_valid() {
        for api in ApiKey::all() {
            let spec = api.spec().unwrap();
            for version in spec.min_version..=spec.max_version {
                for dir in [Direction::Request, Direction::Response] {
                    let body = default_body(api, version, dir).unwrap();
                    assert_eq!(
                        validate(api, version, dir, &body),
                        Ok(()),
                        "{api} v{version} {dir:?}"
                    );
                }
                if let Some(body) = error_response(api, version, 35) {
                    assert_eq!(
                        validate(api, version, Direction::Response, &body),
                        Ok(()),
                        "{api} v{version}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_error_code_is_set() {
        assert_eq!(
            error_response(ApiKey::HEARTBEAT, 4, 25).unwrap(),
            [0, 0, 0, 0, 0, 25, 0]
        );
        assert_eq!(
            error_response(ApiKey::API_VERSIONS, 0, 35).unwrap(),
            [0, 35, 0, 0, 0, 0]
        );
        assert_eq!(error_response(ApiKey::METADATA, 12, 35), None);
        assert!(error_response(ApiKey::METADATA, 13, 35).is_some());
        assert_eq!(error_response(ApiKey(999), 0, 35), None);
    }

    #[test]
    fn declared_defaults_are_used() {
        let body = default_body(ApiKey::LIST_OFFSETS, 1, Direction::Request).unwrap();
        assert_eq!(body, [0, 0, 0, 0, 0, 0, 0, 0]);
        let body = default_body(ApiKey::FETCH, 4, Direction::Request).unwrap();
        assert_eq!(body[..4], (-1_i32).to_be_bytes());
        assert_eq!(body[12..16], 0x7fff_ffff_i32.to_be_bytes());
    }
}
