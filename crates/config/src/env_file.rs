//! Files with lines `KEY=value`, as shells source them, without expansion or substitution.
//!
//! A value in single quotes is taken as it is; in double quotes `\"`, `\\`, `\$` and `` \` `` lose their backslash. Quoted values
//! may span lines, which PEM text needs. Any other value runs to the end of the line, inner quotes, blanks and `#` included.

/// A line that is none of: blank, comment, assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Counted from 1.
    pub(crate) line: usize,
    /// What should stand there.
    pub(crate) expected: &'static str,
}

/// An assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// Counted from 1; where the value begins.
    pub(crate) line: usize,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// The assignments in order, or every malformed line.
pub(crate) fn parse(text: &str) -> Result<Vec<Assignment>, Vec<Malformed>> {
    let mut assignments = Vec::new();
    let mut malformed = Vec::new();
    let mut lines = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .lines()
        .enumerate();
    while let Some((index, line)) = lines.next() {
        let mut more = || lines.next().map(|(_, line)| line);
        match assignment(line, &mut more) {
            Ok(Some((key, value))) => assignments.push(Assignment {
                line: index + 1,
                key,
                value,
            }),
            Ok(None) => {}
            Err(expected) => malformed.push(Malformed {
                line: index + 1,
                expected,
            }),
        }
    }
    if malformed.is_empty() {
        Ok(assignments)
    } else {
        Err(malformed)
    }
}

fn assignment<'a>(
    line: &'a str,
    more: &mut dyn FnMut() -> Option<&'a str>,
) -> Result<Option<(String, String)>, &'static str> {
    let line = line.trim_start();
    if line.trim_end().is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with([' ', '\t']) => rest.trim_start(),
        _ => line,
    };
    let (key, value) = line
        .split_once('=')
        .ok_or("KEY=value, a comment or a blank line")?;
    if !is_name(key) {
        return Err("a name of letters, digits and '_' directly before '='");
    }
    let value = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => quoted(&value[quote.len_utf8()..], quote, more)?,
        _ => value.trim().to_owned(),
    };
    Ok(Some((key.to_owned(), value)))
}

fn is_name(key: &str) -> bool {
    !key.starts_with(|c: char| c.is_ascii_digit())
        && !key.is_empty()
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// What follows an opening quote, up to the closing one.
fn quoted<'a>(
    first: &'a str,
    quote: char,
    more: &mut dyn FnMut() -> Option<&'a str>,
) -> Result<String, &'static str> {
    let mut value = String::new();
    let mut line = first;
    loop {
        let mut chars = line.chars();
        while let Some(c) = chars.next() {
            if c == quote {
                let rest = chars.as_str().trim();
                let done = rest.is_empty() || rest.starts_with('#');
                return if done {
                    Ok(value)
                } else {
                    Err("nothing but a comment after the closing quote")
                };
            }
            match (quote, c, chars.clone().next()) {
                ('"', '\\', Some(next @ ('"' | '\\' | '$' | '`'))) => {
                    chars.next();
                    value.push(next);
                }
                _ => value.push(c),
            }
        }
        line = more().ok_or("a closing quote for the value that starts here")?;
        value.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> String {
        let mut assignments = parse(text).expect("well-formed");
        assert_eq!(assignments.len(), 1, "{text}");
        assignments.remove(0).value
    }

    #[test]
    fn values() {
        for (text, expected) in [
            ("A=b", "b"),
            ("export A=b", "b"),
            ("\u{feff}  export\tA=b  \r\n", "b"),
            ("A=", ""),
            ("A='it is \\ $x'", "it is \\ $x"),
            (r#"A="say \"hi\" \\ \$x \n""#, r#"say "hi" \ $x \n"#),
            ("A=\"b\" # comment", "b"),
            ("A=b # kept", "b # kept"),
            ("A='one\ntwo'", "one\ntwo"),
            ("# comment\n\n A=b=c", "b=c"),
        ] {
            assert_eq!(one(text), expected, "{text}");
        }
    }

    #[test]
    fn an_unquoted_jaas_text_is_one_value() {
        let jaas = r#"org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="p";"#;
        assert_eq!(one(&format!("KAFKA_SASL_JAAS_CONFIG={jaas}")), jaas);
    }

    #[test]
    fn every_malformed_line_is_named() {
        let malformed =
            parse("A=b\nnonsense\nB C=d\n1A=b\nD=\"x\" y\nE='open\nA=b").expect_err("malformed");
        assert_eq!(
            malformed.iter().map(|m| m.line).collect::<Vec<_>>(),
            [2, 3, 4, 5, 6]
        );
    }
}
