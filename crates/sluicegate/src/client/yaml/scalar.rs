//! What a scalar means, by the core schema of YAML 1.2 (10.3.2).

use crate::client::value::Value;

/// What a plain scalar means, or why that cannot be said.
pub(super) fn resolve(text: &str) -> Result<Value, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let (sign, unsigned) = match text.as_bytes().first() {
        Some(b'-') => ("-", &text[1..]),
        Some(b'+') => ("", &text[1..]),
        _ => ("", text),
    };
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Err(format!("'{text}' has no form in JSON"));
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        let digits = text.strip_prefix(prefix).unwrap_or_default();
        if !digits.is_empty() && digits.bytes().all(|b| char::from(b).is_digit(radix)) {
            return match u128::from_str_radix(digits, radix) {
                Ok(number) => Ok(Value::Number(number.to_string())),
                Err(_) => Err(format!(
                    "'{text}' is too large; write it as a decimal number"
                )),
            };
        }
    }
    match number(unsigned) {
        None => Ok(Value::Text(text.to_owned())),
        Some(Number {
            leading_zero: true, ..
        }) => Err(format!(
            "'{text}' is octal to some and decimal to others; quote it, or write it without the leading zero"
        )),
        Some(Number { json, .. }) => Ok(Value::Number(format!("{sign}{json}"))),
    }
}

struct Number {
    json: String,
    leading_zero: bool,
}

/// `[0-9]+`, or `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, in the form of JSON.
fn number(text: &str) -> Option<Number> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let has_digits = match fraction {
        Some(fraction) => !(whole.is_empty() && fraction.is_empty()),
        None => !whole.is_empty(),
    };
    if !has_digits || !digits(whole) || !digits(fraction.unwrap_or_default()) {
        return None;
    }
    let mut power = exponent.chars();
    if power.next().is_some() {
        let power = power.as_str();
        let power = power.strip_prefix(['-', '+']).unwrap_or(power);
        if power.is_empty() || !digits(power) {
            return None;
        }
    }
    let mut json = if whole.is_empty() { "0" } else { whole }.to_owned();
    if let Some(fraction) = fraction {
        json.push('.');
        json.push_str(if fraction.is_empty() { "0" } else { fraction });
    }
    json.push_str(exponent);
    Some(Number {
        leading_zero: whole.len() > 1 && whole.starts_with('0'),
        json,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (text, json) in [
            ("0", "0"),
            ("-0", "-0"),
            ("+5", "5"),
            ("5.0", "5.0"),
            ("5.", "5.0"),
            ("-.5", "-0.5"),
            ("1e3", "1e3"),
            (".5E+07", "0.5E+07"),
            ("0x1F", "31"),
            ("0o17", "15"),
            (
                "123456789012345678901234567890.10",
                "123456789012345678901234567890.10",
            ),
        ] {
            assert_eq!(resolve(text), Ok(Value::Number(json.to_owned())), "{text}");
            let _: f64 = serde_json::from_str(json).unwrap();
        }
    }

    #[test]
    fn texts() {
        for text in [
            "yes",
            "No",
            "on",
            "y",
            "nUll",
            "tRUE",
            "-",
            "+",
            ".",
            "-.",
            "e3",
            "1e",
            "1e+",
            "1.2.3",
            "10.0.0.1",
            "1_000",
            "0x",
            "0xg",
            "0o8",
            "-0x1",
            "1:30",
            "2001-12-14",
            "+.nan",
            "1,5",
        ] {
            assert_eq!(resolve(text), Ok(Value::Text(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn refused() {
        for text in [".inf", "-.INF", "+.Inf", ".nan", "007", "-00.5"] {
            assert!(resolve(text).is_err(), "{text}");
        }
        assert!(resolve(&format!("0x{}", "f".repeat(33))).is_err());
    }
}
