//! A way to the brokers, and what every test that compares two of them needs.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use wire::api::ApiKey;
use wire::schema::{Entity, FieldSpec, FieldType};

/// A way to the brokers.
pub(crate) struct Side {
    /// `a`: direct, `b`: through the gateway.
    pub(crate) letter: char,
    /// Where to connect for a broker, by node id.
    pub(crate) doors: BTreeMap<i32, String>,
    /// Host and port that answers give for a broker, by node id.
    pub(crate) addresses: BTreeMap<i32, (String, u16)>,
}

impl Side {
    pub(crate) fn is_gateway(&self) -> bool {
        self.letter == 'b'
    }

    /// What answers of this side have to say about a node.
    pub(crate) fn advertised(&self, id: i64) -> Option<(String, i64)> {
        let (host, port) = self.addresses.get(&i32::try_from(id).ok()?)?;
        Some((host.clone(), i64::from(*port)))
    }
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_gateway() {
            "the gateway"
        } else {
            "a broker"
        })
    }
}

/// All error codes of an answer.
pub(crate) fn error_codes(api: ApiKey, answer: &Value) -> Vec<i64> {
    fn collect(fields: &[FieldSpec], value: &Value, codes: &mut Vec<i64>) {
        for spec in fields {
            let value = &value[spec.name];
            let elements = match value {
                Value::Array(elements) => elements.as_slice(),
                Value::Null => &[],
                value => std::slice::from_ref(value),
            };
            match spec.ty {
                FieldType::Struct(inner) => {
                    elements
                        .iter()
                        .for_each(|value| collect(inner, value, codes));
                }
                _ if spec.entity == Entity::ErrorCode => {
                    codes.extend(elements.iter().filter_map(Value::as_i64));
                }
                _ => {}
            }
        }
    }
    let mut codes = Vec::new();
    let spec = api.spec().expect("a known API");
    collect(spec.response.fields, answer, &mut codes);
    codes
}

/// Compares what two runs said; the error is fit to be read.
pub(crate) fn compare(direct: &[String], gateway: &[String]) -> Result<(), String> {
    const SHOWN: usize = 12;
    if direct == gateway {
        return Ok(());
    }
    let only = |these: &[String], those: &[String], label: &str| {
        let lines: Vec<String> = these
            .iter()
            .filter(|line| !those.contains(line))
            .take(SHOWN)
            .map(|line| format!("    {label}: {line}"))
            .collect();
        lines.join("\n")
    };
    Err(format!(
        "{}\n{}",
        only(direct, gateway, "only direct     "),
        only(gateway, direct, "only via gateway")
    ))
}

/// Whether the peer closed the connection.
pub(crate) fn is_close(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(
        error.kind(),
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe
    )
}
