//! Which metrics and labels an expression names. Whether it is well-formed otherwise is promtool's business.

use std::collections::BTreeSet;

/// What an expression names.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Query {
    pub(super) selectors: Vec<Selector>,
    /// Labels that are grouped or matched by.
    pub(super) grouped: BTreeSet<String>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Selector {
    pub(super) name: String,
    pub(super) labels: Vec<String>,
}

const GROUPINGS: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];
const OPERATORS: [&str; 5] = ["and", "or", "unless", "offset", "bool"];
const AGGREGATIONS: [&str; 8] = [
    "sum", "min", "max", "avg", "count", "topk", "bottomk", "quantile",
];

impl Query {
    pub(super) fn parse(expr: &str) -> Query {
        let mut query = Query::default();
        let mut rest = expr;
        while let Some(c) = rest.chars().next() {
            if c == '"' || c == '\'' {
                rest = after_text(rest);
            } else if c == '[' {
                rest = rest.split_once(']').expect("an end of the range").1;
            } else if c.is_ascii_digit() {
                rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
            } else if is_name(c) {
                let (name, behind) = split_name(rest);
                rest = query.named(name, behind);
            } else {
                assert!(c != '{', "a selector without a name in {expr}");
                rest = &rest[c.len_utf8()..];
            }
        }
        query
    }

    /// Takes a name; gives what is behind all that belongs to it.
    fn named<'a>(&mut self, name: &str, behind: &'a str) -> &'a str {
        let behind = behind.trim_start();
        if GROUPINGS.contains(&name) {
            let labels = behind.strip_prefix('(').expect("labels in parentheses");
            let (labels, behind) = labels.split_once(')').expect("an end of the labels");
            let labels = labels.split(',').map(str::trim).filter(|l| !l.is_empty());
            self.grouped.extend(labels.map(str::to_owned));
            return behind;
        }
        let is_function = behind.starts_with('(');
        if is_function || OPERATORS.contains(&name) || AGGREGATIONS.contains(&name) {
            return behind;
        }
        let mut labels = Vec::new();
        let mut behind = behind;
        if let Some(mut inside) = behind.strip_prefix('{') {
            loop {
                inside = inside.trim_start_matches([',', ' ']);
                if let Some(end) = inside.strip_prefix('}') {
                    behind = end;
                    break;
                }
                let (label, operator) = split_name(inside);
                assert!(!label.is_empty(), "a label in {inside}");
                labels.push(label.to_owned());
                inside = after_text(operator.trim_start_matches(['=', '!', '~', ' ']));
            }
        }
        self.selectors.push(Selector {
            name: name.to_owned(),
            labels,
        });
        behind
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

fn split_name(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c| !is_name(c)).unwrap_or(text.len()))
}

/// What is behind the quoted text that this begins with.
fn after_text(text: &str) -> &str {
    let quote = text.chars().next().expect("a quote");
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return &text[at + 1..],
            _ => {}
        }
    }
    panic!("an end of {text}")
}

#[test]
fn names_of_an_expression() {
    let query = Query::parse(
        r#"histogram_quantile(0.99, sum by (job, le) (rate(a_bucket{x="}\"b",y!~'c|d'}[5m]))) > 5 * avg_over_time(i:b:r5m[1h] offset 10m)
        and on (instance) group_left () time() - c < 14 * 86400 unless d"#,
    );
    let names: Vec<_> = query.selectors.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["a_bucket", "i:b:r5m", "c", "d"]);
    assert_eq!(query.selectors[0].labels, ["x", "y"]);
    let grouped: Vec<_> = query.grouped.iter().map(String::as_str).collect();
    assert_eq!(grouped, ["instance", "job", "le"]);
}
