//! What would change, as `diff -u` shows it.

use super::value::Value;
use super::yaml;

/// Lines around a change that are shown.
const CONTEXT: usize = 3;

/// Most pairs of lines that are compared. What has more, after what is the same at both ends, is shown as replaced.
const MAX_PAIRS: usize = 4_000_000;

/// The difference between a resource as it is stored, if it is, and as it would be. Secrets are masked: that one changes can
/// be seen, not from what to what. Empty if nothing changes.
pub(crate) fn diff(label: &str, before: Option<&Value>, after: Option<&Value>) -> String {
    let (mut before, mut after) = (before.cloned(), after.cloned());
    mask(before.as_mut(), after.as_mut());
    let text = |value: &Option<Value>| value.as_ref().map(yaml::write).unwrap_or_default();
    let (old, new) = (text(&before), text(&after));
    let old: Vec<&str> = old.lines().collect();
    let new: Vec<&str> = new.lines().collect();
    let lines = compared(&old, &new);
    if lines.iter().all(|line| line.sign == ' ') {
        return String::new();
    }
    let name = |value: &Option<Value>, what: &str| match value {
        Some(_) => format!("{label} ({what})"),
        None => "/dev/null".to_owned(),
    };
    let mut out = format!(
        "--- {}\n+++ {}\n",
        name(&before, "stored"),
        name(&after, "new")
    );
    for hunk in hunks(&lines) {
        out.push_str(&header(&lines, hunk.clone()));
        for line in &lines[hunk] {
            out.push(line.sign);
            out.push_str(line.text);
            out.push('\n');
        }
    }
    out
}

struct Line<'a> {
    /// ' ', '-' or '+'.
    sign: char,
    text: &'a str,
}

/// The lines of both, those that both have once.
fn compared<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let same =
        |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| pairs.take_while(|(a, b)| a == b).count();
    let head = same(&mut old.iter().zip(new));
    let tail = same(&mut old[head..].iter().rev().zip(new[head..].iter().rev()));
    let (middle_old, tail_old) = old[head..].split_at(old.len() - head - tail);
    let middle_new = &new[head..new.len() - tail];
    let line = |sign| move |text: &&'a str| Line { sign, text };
    let mut lines: Vec<Line<'a>> = old[..head].iter().map(line(' ')).collect();
    lines.extend(between(middle_old, middle_new));
    lines.extend(tail_old.iter().map(line(' ')));
    lines
}

/// By the longest common subsequence.
fn between<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let line = |sign| move |text: &&'a str| Line { sign, text };
    let pairs = (old.len() + 1).saturating_mul(new.len() + 1);
    if pairs > MAX_PAIRS {
        return old
            .iter()
            .map(line('-'))
            .chain(new.iter().map(line('+')))
            .collect();
    }
    // Length of the longest common subsequence of what begins at each pair.
    let width = new.len() + 1;
    let mut lengths = vec![0_u32; pairs];
    let at = |i: usize, j: usize| i * width + j;
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            lengths[at(i, j)] = match a == b {
                true => lengths[at(i + 1, j + 1)] + 1,
                false => lengths[at(i + 1, j)].max(lengths[at(i, j + 1)]),
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::with_capacity(old.len() + new.len());
    loop {
        let (sign, text) = match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => (' ', a),
            (Some(a), Some(_)) if lengths[at(i + 1, j)] >= lengths[at(i, j + 1)] => ('-', a),
            (_, Some(b)) => ('+', b),
            (Some(a), None) => ('-', a),
            (None, None) => return lines,
        };
        i += usize::from(sign != '+');
        j += usize::from(sign != '-');
        lines.push(Line { sign, text });
    }
}

/// Ranges of lines with a change and some lines around it.
fn hunks(lines: &[Line<'_>]) -> Vec<std::ops::Range<usize>> {
    let mut hunks: Vec<std::ops::Range<usize>> = Vec::new();
    for (at, _) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.sign != ' ')
    {
        let start = at.saturating_sub(CONTEXT);
        let end = (at + 1 + CONTEXT).min(lines.len());
        match hunks.last_mut() {
            Some(last) if last.end >= start => last.end = end,
            _ => hunks.push(start..end),
        }
    }
    hunks
}

/// `@@ -line,count +line,count @@`.
fn header(lines: &[Line<'_>], hunk: std::ops::Range<usize>) -> String {
    let count =
        |lines: &[Line<'_>], other: char| lines.iter().filter(|line| line.sign != other).count();
    let range = |other: char| {
        let before = count(&lines[..hunk.start], other);
        match count(&lines[hunk.clone()], other) {
            0 => format!("{before},0"),
            1 => format!("{}", before + 1),
            lines => format!("{},{lines}", before + 1),
        }
    };
    format!("@@ -{} +{} @@\n", range('+'), range('-'))
}

/// Replaces what members hold whose names are those of secrets.
fn mask(before: Option<&mut Value>, after: Option<&mut Value>) {
    match (before, after) {
        (Some(Value::Map(before)), Some(Value::Map(after))) => {
            for (name, old) in before.iter_mut() {
                let new = after.iter_mut().find(|(other, _)| other == name);
                let new = new.map(|(_, value)| value);
                match admin::is_secret(name) {
                    true => masked(Some(old), new),
                    false => mask(Some(old), new),
                }
            }
            for (name, new) in after.iter_mut() {
                if before.iter().any(|(other, _)| other == name) {
                    continue;
                }
                match admin::is_secret(name) {
                    true => masked(None, Some(new)),
                    false => mask(None, Some(new)),
                }
            }
        }
        (Some(Value::List(before)), Some(Value::List(after))) => {
            let mut after = after.iter_mut();
            for old in before {
                mask(Some(old), after.next());
            }
            after.for_each(|new| mask(None, Some(new)));
        }
        (before, after) => {
            for value in [before, after].into_iter().flatten() {
                match value {
                    Value::Map(members) => {
                        for (name, value) in members {
                            match admin::is_secret(name) {
                                true => masked(None, Some(value)),
                                false => mask(None, Some(value)),
                            }
                        }
                    }
                    Value::List(items) => items.iter_mut().for_each(|item| mask(None, Some(item))),
                    _ => {}
                }
            }
        }
    }
}

/// A secret before and after. References to variables are none.
fn masked(before: Option<&mut Value>, after: Option<&mut Value>) {
    let differ = before.is_some() && before.as_deref() != after.as_deref();
    let hide = |value: &mut Value, more: &str| {
        let shown = match value {
            Value::Null => true,
            Value::Text(text) => is_reference(text),
            _ => false,
        };
        if !shown {
            *value = Value::Text(format!("{}{more}", config::MASK));
        }
    };
    if let Some(before) = before {
        hide(before, "");
    }
    if let Some(after) = after {
        hide(after, if differ { " (changed)" } else { "" });
    }
}

/// Whether a text is `${NAME}` and nothing else: it says where a secret is, and is none.
fn is_reference(text: &str) -> bool {
    let name = text
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'));
    let belongs = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    name.is_some_and(|name| !name.is_empty() && name.bytes().all(belongs))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(json: &str) -> Value {
        Value::from_json(json).unwrap()
    }

    #[test]
    fn unified() {
        let before =
            value(r#"{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":10,"k":11}"#);
        let after =
            value(r#"{"a":1,"b":"two","c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"k":11,"l":12}"#);
        assert_eq!(
            diff("K/n", Some(&before), Some(&after)),
            "\
--- K/n (stored)
+++ K/n (new)
@@ -1,5 +1,5 @@
 a: 1
-b: 2
+b: two
 c: 3
 d: 4
 e: 5
@@ -7,5 +7,5 @@
 g: 7
 h: 8
 i: 9
-j: 10
 k: 11
+l: 12
"
        );
        assert_eq!(diff("K/n", Some(&before), Some(&before)), "");
        assert_eq!(
            diff("K/n", None, Some(&value(r#"{"a":1}"#))),
            "--- /dev/null\n+++ K/n (new)\n@@ -0,0 +1 @@\n+a: 1\n"
        );
        assert_eq!(
            diff("K/n", Some(&value(r#"{"a":1,"b":[2]}"#)), None),
            "--- K/n (stored)\n+++ /dev/null\n@@ -1,3 +0,0 @@\n-a: 1\n-b:\n-  - 2\n"
        );
    }

    #[test]
    fn secrets_are_masked() {
        let before = value(
            r#"{"config":{"password":"hunter2","secret":"${A}hunter4${B}","token":"${T:-hunter5}","secretId":"${ID}","list":[{"token":"t1"}],"same":{"apiKey":"k"}}}"#,
        );
        let after = value(
            r#"{"config":{"password":"hunter3","secretId":"${ID}","list":[{"token":"t1"},{"token":"t2"}],"same":{"apiKey":"k"},"new":{"clientSecret":["s"]}}}"#,
        );
        for (before, after) in [
            (Some(&before), Some(&after)),
            (None, Some(&after)),
            (Some(&before), None),
        ] {
            let shown = diff("K/n", before, after);
            for secret in ["hunter", "t1", "t2", ": k", "- s"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
        let shown = diff("K/n", Some(&before), Some(&after));
        assert!(
            shown.contains(&format!("-  password: \"{}\"", config::MASK))
                || shown.contains("(changed)"),
            "{shown}"
        );
        assert!(diff("K/n", None, Some(&after)).contains("${ID}"));
    }

    #[test]
    fn large_ones_are_bounded() {
        let many = |what: &str| {
            let items = (0..5000).map(|n| Value::Text(format!("{what}{n}")));
            Value::List(items.collect())
        };
        let shown = diff("K/n", Some(&many("a")), Some(&many("b")));
        assert!(shown.starts_with("--- K/n (stored)\n+++ K/n (new)\n@@ -1,5000 +1,5000 @@\n-"));
    }

    proptest! {
        #[test]
        fn both_sides_are_complete(old in "[abc\n]{0,30}", new in "[abc\n]{0,30}") {
            let old: Vec<&str> = old.lines().collect();
            let new: Vec<&str> = new.lines().collect();
            let lines = compared(&old, &new);
            let without = |sign| lines.iter().filter(|line| line.sign != sign).map(|line| line.text).collect::<Vec<_>>();
            prop_assert_eq!(without('+'), old);
            prop_assert_eq!(without('-'), new);
        }
    }
}
