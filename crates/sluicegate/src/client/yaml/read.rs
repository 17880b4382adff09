//! YAML to trees. The events of the parser are used, since only they have numbers as they were written.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use thiserror::Error;

use super::scalar::resolve;
use crate::client::value::{MAX_DEPTH, Value};

/// How many values a text may have, those behind aliases counted each time.
const MAX_VALUES: usize = 2_000_000;

/// One document of a text.
#[derive(Debug)]
pub(crate) struct Document {
    /// Line it begins at, from 1.
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// What is wrong with a text, and where.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("line {line}, column {column}: {what}")]
pub(crate) struct YamlError {
    /// From 1.
    line: usize,
    /// From 1.
    column: usize,
    what: String,
}

/// Reads all documents; empty ones are left out.
///
/// # Errors
/// The first place where the text is not YAML, or has what has no form in JSON.
pub(crate) fn read(text: &str) -> Result<Vec<Document>, YamlError> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        values_left: MAX_VALUES,
    };
    let mut documents = Vec::new();
    while let Some((event, span)) = reader.next()? {
        // What is around documents has no content.
        if matches!(
            event,
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd
        ) {
            reader.anchors.clear();
            continue;
        }
        let line = span.start.line();
        let Node { value, .. } = reader.node(event, span, MAX_DEPTH)?;
        if value != Value::Null {
            documents.push(Document { line, value });
        }
    }
    Ok(documents)
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    values_left: usize,
}

/// A value and how many values it is made of.
#[derive(Clone)]
struct Node {
    value: Value,
    size: usize,
}

impl<'a> Reader<'a> {
    /// The next event that is content or the limit of something.
    fn next(&mut self) -> Result<Option<(Event<'a>, Span)>, YamlError> {
        let event = self.parser.next_event().transpose();
        event.map_err(|error| YamlError::of_scan(&error))
    }

    fn more(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        self.next()?.ok_or(YamlError {
            line: 0,
            column: 0,
            what: "the text ends too early".to_owned(),
        })
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, YamlError> {
        let wrong = |what: &str| YamlError::at(&span, what);
        let depth = depth
            .checked_sub(1)
            .ok_or_else(|| wrong(&format!("nested deeper than {MAX_DEPTH} levels")))?;
        self.charge(1, &span)?;
        let (node, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref())
                    .map_err(|what| YamlError::at(&span, &what))?;
                (Node { value, size: 1 }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                no_other_tag(tag.as_deref(), "seq").map_err(wrong)?;
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                no_other_tag(tag.as_deref(), "map").map_err(wrong)?;
                (self.map(depth)?, anchor)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).cloned();
                let node = node.ok_or_else(|| wrong("an alias inside of what it stands for"))?;
                self.charge(node.size, &span)?;
                (node, 0)
            }
            _ => return Err(wrong("a value is missing")),
        };
        if anchor != 0 {
            // Copies are bounded as the values themselves are.
            self.charge(node.size, &span)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Node, YamlError> {
        let mut items = Vec::new();
        let mut size = 1;
        loop {
            let (event, span) = self.more()?;
            if matches!(event, Event::SequenceEnd) {
                let value = Value::List(items);
                return Ok(Node { value, size });
            }
            let node = self.node(event, span, depth)?;
            size += node.size;
            items.push(node.value);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Node, YamlError> {
        let mut members = Vec::new();
        let mut names = HashSet::new();
        let mut size = 1;
        loop {
            let (event, span) = self.more()?;
            let name = match event {
                Event::MappingEnd => {
                    let value = Value::Map(members);
                    return Ok(Node { value, size });
                }
                Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<" => {
                    return Err(YamlError::at(&span, "merge keys (<<) are not supported"));
                }
                Event::Scalar(text, _, _, None) => text.into_owned(),
                _ => return Err(YamlError::at(&span, "a key must be a plain text")),
            };
            if !names.insert(name.clone()) {
                return Err(YamlError::at(
                    &span,
                    &format!("the key '{name}' is there twice"),
                ));
            }
            let (event, span) = self.more()?;
            let node = self.node(event, span, depth)?;
            size += node.size;
            members.push((name, node.value));
        }
    }

    fn charge(&mut self, values: usize, span: &Span) -> Result<(), YamlError> {
        match self.values_left.checked_sub(values) {
            Some(left) => {
                self.values_left = left;
                Ok(())
            }
            None => Err(YamlError::at(
                span,
                &format!("more than {MAX_VALUES} values"),
            )),
        }
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    if tag.and_then(Tag::core_suffix) == Some("str") {
        return Ok(Value::Text(text.to_owned()));
    }
    no_other_tag(tag, "str")?;
    match style {
        ScalarStyle::Plain => resolve(text),
        _ => Ok(Value::Text(text.to_owned())),
    }
}

fn no_other_tag(tag: Option<&Tag>, expected: &str) -> Result<(), &'static str> {
    match tag {
        Some(tag) if tag.core_suffix() != Some(expected) => {
            Err("no other tags than !!str, !!seq and !!map are supported")
        }
        _ => Ok(()),
    }
}

impl YamlError {
    fn at(span: &Span, what: &str) -> Self {
        Self {
            line: span.start.line(),
            column: span.start.col() + 1,
            what: what.to_owned(),
        }
    }

    fn of_scan(error: &ScanError) -> Self {
        Self {
            line: error.marker().line(),
            column: error.marker().col() + 1,
            what: error.info(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn json_of(text: &str) -> Vec<(usize, String)> {
        let documents = read(text).unwrap();
        documents
            .into_iter()
            .map(|document| (document.line, document.value.to_json()))
            .collect()
    }

    #[track_caller]
    fn refusal(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn documents() {
        let text = "# nothing yet\n---\na: 1\n---\n---\n# empty\n---\nb: [yes, no]\n...\n---\n";
        assert_eq!(
            json_of(text),
            [
                (3, r#"{"a":1}"#.to_owned()),
                (8, r#"{"b":["yes","no"]}"#.to_owned())
            ]
        );
        assert!(json_of("").is_empty());
    }

    #[test]
    fn scalars() {
        let text = "a: !!str 5\nb: '5'\nc: 5\nd: 123456789012345678901\ne: |\n  x\n  y\nf: ~\ng:\nh: \"\\u00e9\"\n";
        let json = r#"{"a":"5","b":"5","c":5,"d":123456789012345678901,"e":"x\ny\n","f":null,"g":null,"h":"é"}"#;
        assert_eq!(json_of(text)[0].1, json);
    }

    #[test]
    fn aliases_are_copies() {
        assert_eq!(
            json_of("a: &x {k: 1}\nb: *x\n")[0].1,
            r#"{"a":{"k":1},"b":{"k":1}}"#
        );
    }

    #[test]
    fn refused() {
        assert_eq!(
            refusal("a: 1\nb: 2\na: 3\n"),
            "line 3, column 1: the key 'a' is there twice"
        );
        assert!(refusal("a: [1\nb: 2").starts_with("line 2"));
        assert!(refusal("x: &a {y: 1}\nb:\n  <<: *a\n").contains("merge keys"));
        assert!(refusal("a: &x [*x]\n").contains("inside of what it stands for"));
        assert!(refusal("a: *x\n").starts_with("line 1"));
        assert!(refusal("? [a]\n: b\n").contains("plain text"));
        assert!(refusal("a: !mine b\n").contains("tags"));
        assert!(refusal("a: !!int 5\n").contains("tags"));
        assert!(refusal("a: 007\n").contains("leading zero"));
        assert!(refusal(&"[".repeat(5000)).contains("line 1"));
        assert!(refusal(&"- ".repeat(5000)).contains("line 1"));
    }

    #[test]
    fn aliases_cannot_explode() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..12 {
            let before = n - 1;
            let copies = vec![format!("*a{before}"); 10].join(", ");
            text.push_str(&format!("a{n}: &a{n} [{copies}]\n"));
        }
        assert!(refusal(&text).contains("more than"));
    }
}
