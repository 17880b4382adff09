//! YAML to trees and back.
//!
//! Plain scalars mean what the core schema of YAML 1.2 says: `yes` is a text, `1.0` a number. What older or newer
//! readers might take for something else than a text is quoted when it is written.

mod read;
mod scalar;
mod write;

pub(crate) use read::read;
pub(crate) use write::write;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::client::value::{Value, arbitrary};
    use crate::client::variables::escaped;

    proptest! {
        #[test]
        fn there_and_back(value in arbitrary::value()) {
            let text = write(&value);
            let documents = read(&escaped(&text), &|_| None).map_err(|error| TestCaseError::fail(format!("{error:?}\n{text}")))?;
            let expected: &[Value] = match &value {
                Value::Null => &[], // An empty document is none.
                value => std::slice::from_ref(value),
            };
            let found: Vec<Value> = documents.into_iter().map(|document| document.value).collect();
            prop_assert_eq!(found, expected, "{}", text);
        }

        #[test]
        fn json_is_yaml(value in arbitrary::value().prop_map(|value| Value::List(vec![value]))) {
            let text = value.to_pretty_json();
            let documents = read(&escaped(&text), &|_| None).map_err(|error| TestCaseError::fail(format!("{error:?}\n{text}")))?;
            prop_assert_eq!(&documents[0].value, &value, "{}", text);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-a:?#&*!|>'\"%@${}\\[\\], \\n\\t<]{0,40}") {
            let _ = read(&text, &|_| None);
        }
    }
}
