//! References to environment variables in files: `${NAME}`, `${NAME:-what to take if it is unset or empty}`, and `$${` for the text `${`.
//!
//! A reference stands for one value or a part of one. It is taken out before the text is read as YAML and put back into the
//! scalar it was in, so no variable can add members, and what it holds needs no quotes. Each leaves as many characters as it
//! had, so places in messages stay right. References in comments are nobody's.

/// Where values come from: the environment.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Most references in one text: there is a character for each.
const MAX_REFERENCES: usize = 0xfffe;

/// The first character of what stands for a reference, of private use (plane 15).
const FIRST: u32 = 0xf_0000;

/// The others, of private use as well.
const FILLER: char = '\u{e000}';

/// A text whose references are taken out, and what they are.
#[derive(Debug)]
pub(crate) struct Marked {
    pub(crate) text: String,
    references: Vec<Reference>,
}

#[derive(Debug, PartialEq, Eq)]
enum Reference {
    Variable {
        name: String,
        default: Option<String>,
    },
    /// What stands for itself.
    Literal(String),
    /// Begins like a reference and is none.
    Malformed,
}

/// A scalar with what its references stand for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) text: String,
    /// Whether it holds what came from a variable, so that it must not be shown.
    pub(crate) from_variable: bool,
    /// What is wrong with its references.
    pub(crate) problems: Vec<String>,
}

impl Marked {
    /// Takes out the references.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn new(text: &str) -> Result<Marked, String> {
        let mut marked = Marked {
            text: String::with_capacity(text.len()),
            references: Vec::new(),
        };
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let found = match c {
                '$' => reference(rest),
                c if c == FILLER || index(c).is_some() => {
                    Some((Reference::Literal(c.to_string()), c.len_utf8()))
                }
                _ => None,
            };
            let Some((reference, length)) = found else {
                marked.text.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            };
            let (replaced, after) = rest.split_at(length);
            marked.put(reference, replaced.chars().count())?;
            rest = after;
        }
        Ok(marked)
    }

    /// Puts values back into a part of the text.
    pub(crate) fn fill(&self, part: &str, lookup: Lookup<'_>) -> Filled {
        let mut filled = Filled {
            text: String::with_capacity(part.len()),
            from_variable: false,
            problems: Vec::new(),
        };
        for c in part.chars().filter(|c| *c != FILLER) {
            match index(c).and_then(|at| self.references.get(at)) {
                None => filled.text.push(c),
                Some(Reference::Literal(text)) => filled.text.push_str(text),
                Some(Reference::Malformed) => filled.problems.push(
                    "'${' begins no reference to an environment variable: it must be ${NAME} or ${NAME:-default}, and $${ for the text"
                        .to_owned(),
                ),
                Some(Reference::Variable { name, default }) => {
                    let value = lookup(name);
                    let value = match default {
                        Some(default) => value.filter(|value| !value.is_empty()).or_else(|| Some(default.clone())),
                        None => value,
                    };
                    match value {
                        Some(value) => {
                            filled.text.push_str(&value);
                            filled.from_variable = true;
                        }
                        None => filled.problems.push(format!(
                            "the environment variable {name} is not set; ${{{name}:-…}} gives a default, $${{{name}}} is the text itself"
                        )),
                    }
                }
            }
        }
        filled
    }

    /// What stands for a reference of this many characters.
    fn put(&mut self, reference: Reference, length: usize) -> Result<(), String> {
        let at = self.references.len();
        let first = u32::try_from(at)
            .ok()
            .filter(|_| at < MAX_REFERENCES)
            .and_then(|at| char::from_u32(FIRST + at))
            .ok_or_else(|| format!("more than {MAX_REFERENCES} references to variables"))?;
        self.text.push(first);
        self.text
            .extend(std::iter::repeat_n(FILLER, length.saturating_sub(1)));
        self.references.push(reference);
        Ok(())
    }
}

/// The text with its own `${` written in such a way that reading gives it back.
pub(crate) fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

/// Whether a value has `${NAME}` left in it.
pub(crate) fn has_reference(text: &str) -> bool {
    text.match_indices("${").any(|(at, _)| {
        matches!(
            reference(&text[at..]),
            Some((Reference::Variable { .. }, _))
        )
    })
}

fn index(c: char) -> Option<usize> {
    let at = usize::try_from(u32::from(c).checked_sub(FIRST)?).ok()?;
    (at < MAX_REFERENCES).then_some(at)
}

/// The reference that the text begins with, and its length in bytes. The text begins with a dollar sign.
fn reference(text: &str) -> Option<(Reference, usize)> {
    let dollars = text.len() - text.trim_start_matches('$').len();
    let inside = text[dollars..].strip_prefix('{')?;
    // What can be a reference or a text that looks like one, up to the brace.
    let end = inside.find(['}', '$', '\n', '\r', '"', '\'', '\\']);
    let closed = end.filter(|end| inside[*end..].starts_with('}'));
    if dollars > 1 {
        let length = dollars + 1 + closed.map_or(0, |end| end + 1);
        return Some((Reference::Literal(text[1..length].to_owned()), length));
    }
    // A default may have quotes in it.
    let closed = inside.find(['}', '\n', '\r']);
    let Some(end) = closed.filter(|end| inside[*end..].starts_with('}')) else {
        return Some((Reference::Malformed, 2));
    };
    let (name, default) = match inside[..end].split_once(":-") {
        Some((name, default)) => (name, Some(default.to_owned())),
        None => (&inside[..end], None),
    };
    let length = 2 + end + 1;
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = !name.is_empty()
        && name.chars().all(word)
        && !name.starts_with(|c: char| c.is_ascii_digit());
    Some(match is_name {
        true => {
            let name = name.to_owned();
            (Reference::Variable { name, default }, length)
        }
        false => (Reference::Malformed, 2),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "A" => Some("one".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${A}".to_owned()),
            _ => None,
        }
    }

    fn filled(text: &str) -> Filled {
        let marked = Marked::new(text).unwrap();
        assert_eq!(marked.text.chars().count(), text.chars().count(), "{text}");
        marked.fill(&marked.text, &environment)
    }

    #[test]
    fn values() {
        for (text, expected) in [
            ("${A}", "one"),
            ("x-${A}-${A}$", "x-one-one$"),
            ("$A $ {A} $", "$A $ {A} $"),
            ("${EMPTY}", ""),
            ("${EMPTY:-d}", "d"),
            ("${UNSET:-d}", "d"),
            ("${UNSET:-}", ""),
            ("${UNSET:-a: 'b' #c:-d}", "a: 'b' #c:-d"),
            ("${A:-d}", "one"),
            ("$${A}", "${A}"),
            ("$$${A}", "$${A}"),
            ("$${", "${"),
            ("$${a b}", "${a b}"),
            // Once only.
            ("${NESTED}", "${A}"),
            ("\u{e000}\u{f0000}${A}", "\u{e000}\u{f0000}one"),
        ] {
            let filled = filled(text);
            assert_eq!(
                (filled.text.as_str(), filled.problems.len()),
                (expected, 0),
                "{text}"
            );
        }
        assert!(filled("a${UNSET:-d}").from_variable);
        assert!(!filled("a$${A}").from_variable);
    }

    #[test]
    fn what_cannot_be() {
        let problem = &filled("a ${UNSET} b").problems[0];
        assert!(problem.contains("UNSET is not set"), "{problem}");
        for text in [
            "${", "${}", "${a b}", "${1}", "${a.b}", "${:-d}", "${A", "${A\n}",
        ] {
            assert_eq!(filled(text).problems.len(), 1, "{text}");
        }
        assert_eq!(filled("${UNSET}${OTHER}${A}").problems.len(), 2);
        assert!(Marked::new(&"${A}".repeat(MAX_REFERENCES + 1)).is_err());
        assert!(Marked::new(&"${A}".repeat(MAX_REFERENCES)).is_ok());
    }

    #[test]
    fn what_is_left() {
        assert!(has_reference("a${B}"));
        assert!(has_reference("a${B:-c}"));
        assert!(!has_reference("a$B ${ ${} $"));
    }

    proptest! {
        #[test]
        fn escaped_texts_come_back(text in "[-a${}:\\u{e000}\\u{f0000}]{0,20}") {
            let filled = filled(&escaped(&text));
            prop_assert_eq!(filled.text, text);
            prop_assert!(filled.problems.is_empty());
        }
    }
}
