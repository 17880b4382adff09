//! YAML to trees. The events of the parser are used, since only they have numbers as they were written.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};
use thiserror::Error;

use super::scalar::resolve;
use crate::client::value::{MAX_DEPTH, Value};
use crate::client::variables::{Lookup, Marked};

/// How many values a text may have, those behind aliases counted each time.
const MAX_VALUES: usize = 2_000_000;

/// One document of a text.
#[derive(Debug)]
pub(crate) struct Document {
    /// Line it begins at, from 1.
    pub(crate) line: usize,
    pub(crate) value: Value,
    /// Where its items begin, if it is a list.
    pub(crate) items: Vec<usize>,
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

/// Reads all documents, with values of variables in the place of references to them; empty ones are left out.
///
/// # Errors
/// The first place where the text is not YAML, or has what has no form in JSON. Or else every reference to a variable that
/// `lookup` does not know.
pub(crate) fn read(text: &str, lookup: Lookup<'_>) -> Result<Vec<Document>, Vec<YamlError>> {
    let marked = Marked::new(text).map_err(|what| {
        vec![YamlError {
            line: 1,
            column: 1,
            what,
        }]
    })?;
    let mut reader = Reader {
        parser: Parser::new_from_str(&marked.text),
        marked: &marked,
        lookup,
        unresolved: Vec::new(),
        anchors: HashMap::new(),
        items: None,
        values_left: MAX_VALUES,
    };
    let documents = reader.documents().map_err(|error| vec![error])?;
    match reader.unresolved.is_empty() {
        true => Ok(documents),
        false => Err(reader.unresolved),
    }
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    marked: &'a Marked,
    lookup: Lookup<'a>,
    /// References that stand for nothing.
    unresolved: Vec<YamlError>,
    anchors: HashMap<usize, Node>,
    /// Lines of the items of the list that a document is, while it is read.
    items: Option<Vec<usize>>,
    values_left: usize,
}

/// A value and how many values it is made of.
#[derive(Clone)]
struct Node {
    value: Value,
    size: usize,
}

impl<'a> Reader<'a> {
    fn documents(&mut self) -> Result<Vec<Document>, YamlError> {
        let mut documents = Vec::new();
        while let Some((event, span)) = self.next()? {
            // What is around documents has no content.
            if matches!(
                event,
                Event::StreamStart
                    | Event::StreamEnd
                    | Event::DocumentStart(..)
                    | Event::DocumentEnd
            ) {
                self.anchors.clear();
                continue;
            }
            let line = span.start.line();
            self.items = Some(Vec::new());
            let Node { value, .. } = self.node(event, span, MAX_DEPTH)?;
            let items = self.items.take().unwrap_or_default();
            if value != Value::Null {
                documents.push(Document { line, value, items });
            }
        }
        Ok(documents)
    }

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
                let (text, from_variable) = self.filled(&text, &span);
                let value = scalar(&text, style, tag.as_deref()).map_err(|what| match from_variable {
                    false => YamlError::at(&span, &what),
                    true => wrong("what a variable stands for here cannot be read as a value; in quotes it is a text"),
                })?;
                (Node { value, size: 1 }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                no_other_tag(tag.as_deref(), "seq").map_err(wrong)?;
                let items = self.items.take().filter(|_| depth + 1 == MAX_DEPTH);
                (self.list(depth, items)?, anchor)
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

    /// `lines` is for the places of its items, if they are wanted.
    fn list(&mut self, depth: usize, mut lines: Option<Vec<usize>>) -> Result<Node, YamlError> {
        let mut items = Vec::new();
        let mut size = 1;
        loop {
            let (event, span) = self.more()?;
            if matches!(event, Event::SequenceEnd) {
                let value = Value::List(items);
                self.items = lines;
                return Ok(Node { value, size });
            }
            if let Some(lines) = &mut lines {
                lines.push(span.start.line());
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
            let (name, from_variable) = match event {
                Event::MappingEnd => {
                    let value = Value::Map(members);
                    return Ok(Node { value, size });
                }
                Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<" => {
                    return Err(YamlError::at(&span, "merge keys (<<) are not supported"));
                }
                Event::Scalar(text, _, _, None) => self.filled(&text, &span),
                _ => return Err(YamlError::at(&span, "a key must be a plain text")),
            };
            if !names.insert(name.clone()) {
                let what = match from_variable {
                    false => format!("the key '{name}' is there twice"),
                    true => "this key is there twice".to_owned(),
                };
                return Err(YamlError::at(&span, &what));
            }
            let (event, span) = self.more()?;
            let node = self.node(event, span, depth)?;
            size += node.size;
            members.push((name, node.value));
        }
    }

    /// A scalar with what its references stand for, and whether it had any.
    fn filled(&mut self, text: &str, span: &Span) -> (String, bool) {
        let filled = self.marked.fill(text, self.lookup);
        let problems = filled.problems.iter();
        self.unresolved
            .extend(problems.map(|what| YamlError::at(span, what)));
        (filled.text, filled.from_variable)
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

    fn environment(name: &str) -> Option<String> {
        match name {
            "NUMBER" => Some("7".to_owned()),
            "TEXT" => Some("a: [b] # \"c\"\nd: e".to_owned()),
            "ZEROS" => Some("007".to_owned()),
            _ => None,
        }
    }

    #[track_caller]
    fn json_of(text: &str) -> Vec<(usize, String)> {
        let documents = read(text, &environment).unwrap();
        documents
            .into_iter()
            .map(|document| (document.line, document.value.to_json()))
            .collect()
    }

    #[track_caller]
    fn refusal(text: &str) -> String {
        let problems = read(text, &environment).unwrap_err();
        let problems = problems.iter().map(YamlError::to_string);
        problems.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn variables_are_values() {
        let text = "a: ${NUMBER}\nb: \"${NUMBER}\"\nc: ${TEXT}\nd: '${TEXT}'\ne: {f: ${TEXT}, g: x-${NUMBER}}\n# ${UNSET}\n${NUMBER}: $${UNSET}\nh: |\n  ${NUMBER}\n  y\ni: ${UNSET:-}\nj: ${UNSET:-[1]}\n";
        let value = r#""a: [b] # \"c\"\nd: e""#;
        assert_eq!(
            json_of(text)[0].1,
            format!(
                r#"{{"a":7,"b":"7","c":{value},"d":{value},"e":{{"f":{value},"g":"x-7"}},"7":"${{UNSET}}","h":"7\ny\n","i":null,"j":"[1]"}}"#
            )
        );
    }

    #[test]
    fn variables_that_stand_for_nothing() {
        let found = refusal("a: ${X}\nb: [1, \"y ${Y}\"] # ${Z}\nc: x${ \n");
        let lines: Vec<&str> = found.lines().collect();
        assert_eq!(lines.len(), 3, "{found}");
        assert!(
            lines[0].starts_with("line 1, column 4: the environment variable X is not set"),
            "{found}"
        );
        assert!(
            lines[1].starts_with("line 2, column 8: the environment variable Y"),
            "{found}"
        );
        assert!(lines[2].starts_with("line 3, column 4: '${'"), "{found}");
    }

    #[test]
    fn what_a_variable_holds_is_not_shown() {
        let found = refusal("a: ${ZEROS}\n");
        assert!(
            found.starts_with("line 1, column 4: what a variable stands for"),
            "{found}"
        );
        assert!(!found.contains("007"), "{found}");
        let found = refusal("${ZEROS}: 1\n\"007\": 2\n${ZEROS}: 3\n");
        assert!(found.contains("there twice"), "{found}");
        assert!(!refusal("${TEXT}: 1\n${TEXT}: 2\n").contains("[b]"));
    }

    #[test]
    fn items_of_a_list_have_lines() {
        let documents = read("- a\n- [b,\n  c]\n\n- d\n---\nx: [1, 2]\n", &environment).unwrap();
        assert_eq!(documents[0].items, [1, 2, 5]);
        assert!(documents[1].items.is_empty());
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
