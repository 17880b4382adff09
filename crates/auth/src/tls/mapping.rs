//! `GATEWAY_SSL_PRINCIPAL_MAPPING_RULES`: from the subject of a client certificate to a name, with the syntax of Kafka's
//! `ssl.principal.mapping.rules`.
//!
//! ```text
//! rules = rule *( "," rule )
//! rule  = "DEFAULT" / "RULE:" pattern "/" replacement "/" [ "L" / "U" ]
//! ```
//!
//! A backslash takes the meaning from the slash after it. Blanks around rules and empty rules are ignored.

use fancy_regex::{Captures, Regex, RegexBuilder};
use thiserror::Error;

/// The rules of one gateway, in order.
#[derive(Clone, Debug)]
pub struct MappingRules {
    rules: Vec<Rule>,
}

/// Why rules cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MappingError {
    /// Neither `DEFAULT` nor a complete `RULE:`.
    #[error(
        "`{0}` is not a rule: DEFAULT or RULE:pattern/replacement/ is expected, then L, U or nothing"
    )]
    NotARule(String),
    /// Not a regular expression, or a too large one.
    #[error("the pattern `{pattern}` cannot be used: {reason}")]
    BadPattern {
        /// As written in the rule.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A `$` without a group, or a backslash at the end.
    #[error(
        "the replacement `{0}` cannot be used: `$` needs a group number or a {{name}} of the pattern, `\\` a character after it"
    )]
    BadReplacement(String),
}

impl MappingRules {
    /// Reads rules.
    ///
    /// # Errors
    /// The first [`MappingError`].
    pub fn parse(text: &str) -> Result<MappingRules, MappingError> {
        let mut rules = Vec::new();
        let mut rest = text.trim_matches(is_blank);
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix(',') {
                rest = after.trim_start_matches(is_blank);
                continue;
            }
            let (rule, after) = Rule::parse(rest)?;
            let after = after.trim_start_matches(is_blank);
            if !after.is_empty() && !after.starts_with(',') {
                return Err(MappingError::NotARule(shown(rest)));
            }
            rules.push(rule);
            rest = after;
        }
        Ok(MappingRules { rules })
    }

    /// The name that the first fitting rule gives; `None` if no rule fits. Also `None` if a pattern takes more work than is
    /// allowed: the rules after it may be meant for others only.
    pub fn apply(&self, subject: &str) -> Option<String> {
        for rule in &self.rules {
            match rule.apply(subject) {
                Ok(None) => {}
                Ok(name) => return name,
                Err(error) => {
                    tracing::warn!(%error, "a principal mapping rule could not be tried on a certificate");
                    return None;
                }
            }
        }
        None
    }
}

/// Steps that one pattern may go back on one subject.
const BACKTRACK_LIMIT: usize = 200_000;
/// Bytes that one compiled pattern may need.
const SIZE_LIMIT: usize = 4 << 20;

#[derive(Clone, Debug)]
enum Rule {
    Default,
    Pattern(Box<PatternRule>),
}

#[derive(Clone, Debug)]
struct PatternRule {
    whole: Regex,
    anywhere: Regex,
    replacement: Vec<Piece>,
    case: Case,
}

#[derive(Clone, Copy, Debug)]
enum Case {
    Kept,
    Lower,
    Upper,
}

/// A part of a replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Group(usize),
    Name(String),
}

impl Rule {
    /// The rule at the begin of `text`, and what follows it.
    fn parse(text: &str) -> Result<(Rule, &str), MappingError> {
        if let Some(rest) = text.strip_prefix("DEFAULT") {
            return Ok((Rule::Default, rest));
        }
        let parts = text.strip_prefix("RULE:").and_then(|rest| {
            let (pattern, rest) = until_slash(rest)?;
            let (replacement, rest) = until_slash(rest)?;
            Some((pattern, replacement, rest))
        });
        let (pattern, replacement, rest) =
            parts.ok_or_else(|| MappingError::NotARule(shown(text)))?;
        let flagged = |flag| rest.strip_prefix(flag);
        let (case, rest) = match (flagged('L'), flagged('U')) {
            (Some(rest), _) => (Case::Lower, rest),
            (_, Some(rest)) => (Case::Upper, rest),
            (None, None) => (Case::Kept, rest),
        };
        let rule = PatternRule::new(pattern, replacement, case)?;
        Ok((Rule::Pattern(Box::new(rule)), rest))
    }

    fn apply(&self, subject: &str) -> Result<Option<String>, Box<fancy_regex::Error>> {
        match self {
            Rule::Default => Ok(Some(subject.to_owned())),
            Rule::Pattern(rule) => rule.apply(subject),
        }
    }
}

impl PatternRule {
    fn new(pattern: &str, replacement: &str, case: Case) -> Result<PatternRule, MappingError> {
        let translated = translated(pattern);
        // On its own first: a stray parenthesis must not fit one of those put around it.
        let anywhere = compiled(pattern, &translated)?;
        let whole = compiled(pattern, &format!("\\A(?:{translated})\\z"))?;
        let replacement = pieces(replacement, &anywhere)
            .ok_or_else(|| MappingError::BadReplacement(replacement.to_owned()))?;
        Ok(PatternRule {
            whole,
            anywhere,
            replacement,
            case,
        })
    }

    /// Kafka asks whether the pattern fits the whole subject, but then replaces every place where it fits. The two differ
    /// for a pattern like `.*`, which also fits the nothing at the end; names must come out as they do in Kafka.
    fn apply(&self, subject: &str) -> Result<Option<String>, Box<fancy_regex::Error>> {
        if !self.whole.is_match(subject)? {
            return Ok(None);
        }
        let mut name = String::new();
        let mut copied = 0;
        let mut from = 0;
        while from <= subject.len() {
            let Some(captures) = self.anywhere.captures_from_pos(subject, from)? else {
                break;
            };
            let Some(found) = captures.get(0) else {
                break;
            };
            name.push_str(subject.get(copied..found.start()).unwrap_or_default());
            self.replace(&captures, &mut name);
            copied = found.end();
            from = if found.end() > found.start() {
                found.end()
            } else {
                next_char(subject, found.end())
            };
        }
        name.push_str(subject.get(copied..).unwrap_or_default());
        Ok(Some(match self.case {
            Case::Kept => name,
            Case::Lower => name.to_lowercase(),
            Case::Upper => name.to_uppercase(),
        }))
    }

    fn replace(&self, captures: &Captures<'_, str>, name: &mut String) {
        for piece in &self.replacement {
            let text = match piece {
                Piece::Text(text) => Some(text.as_str()),
                Piece::Group(number) => captures.get(*number).map(|group| group.as_str()),
                Piece::Name(group) => captures.name(group).map(|group| group.as_str()),
            };
            name.push_str(text.unwrap_or_default());
        }
    }
}

fn compiled(written: &str, pattern: &str) -> Result<Regex, MappingError> {
    RegexBuilder::new(pattern)
        .backtrack_limit(BACKTRACK_LIMIT)
        .delegate_size_limit(SIZE_LIMIT)
        .build()
        .map_err(|error| MappingError::BadPattern {
            pattern: shown(written),
            reason: error.to_string(),
        })
}

/// Splits at the first slash that no backslash precedes; the slash belongs to neither side.
fn until_slash(text: &str) -> Option<(&str, &str)> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '/' => return Some((text.get(..at)?, text.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

/// Puts the escapes that Java's engine reads in another way into words that mean the same to ours: classes of ASCII
/// characters only, quotation, and punctuation that is never special behind a backslash.
fn translated(pattern: &str) -> String {
    let mut translated = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('\\') {
        translated.push_str(before);
        let mut following = after.chars();
        let escaped = following.next();
        rest = following.as_str();
        match escaped {
            Some('d') => translated.push_str("[0-9]"),
            Some('D') => translated.push_str("[^0-9]"),
            Some('w') => translated.push_str("[A-Za-z0-9_]"),
            Some('W') => translated.push_str("[^A-Za-z0-9_]"),
            Some('s') => translated.push_str("[ \\t\\n\\x0B\\f\\r]"),
            Some('S') => translated.push_str("[^ \\t\\n\\x0B\\f\\r]"),
            Some('h') => translated.push_str(
                "[ \\t\\xA0\\u{1680}\\u{180e}\\u{2000}-\\u{200a}\\u{202f}\\u{205f}\\u{3000}]",
            ),
            Some('Q') => {
                let (quoted, after) = rest.split_once("\\E").unwrap_or((rest, ""));
                translated.push_str(&fancy_regex::escape(quoted));
                rest = after;
            }
            Some(
                plain @ ('/' | '<' | '>' | '"' | '\'' | '=' | ',' | ';' | '@' | '%' | '!' | ':'
                | '_' | '`'),
            ) => {
                translated.push(plain);
            }
            Some(other) => translated.extend(['\\', other]),
            None => translated.push('\\'),
        }
    }
    translated.push_str(rest);
    translated
}

/// Reads a replacement; `None` if it cannot be one.
fn pieces(replacement: &str, pattern: &Regex) -> Option<Vec<Piece>> {
    let groups = pattern.captures_len().saturating_sub(1);
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = replacement.chars();
    while let Some(c) = rest.next() {
        let group = match c {
            '\\' => {
                text.push(rest.next()?);
                continue;
            }
            '$' => {
                // Samples written for compose files double the dollar.
                if rest.as_str().starts_with('$') {
                    rest.next();
                }
                group(&mut rest, groups, pattern)?
            }
            _ => {
                text.push(c);
                continue;
            }
        };
        match group {
            Piece::Text(literal) => text.push_str(&literal),
            group => {
                if !text.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut text)));
                }
                pieces.push(group);
            }
        }
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Some(pieces)
}

/// What follows a dollar: as many digits as make the number of a group, or a name in braces.
fn group(rest: &mut std::str::Chars<'_>, groups: usize, pattern: &Regex) -> Option<Piece> {
    match rest.next()? {
        '{' => {
            let (name, after) = rest.as_str().split_once('}')?;
            let known = pattern.capture_names().flatten().any(|known| known == name);
            let piece = known.then(|| Piece::Name(name.to_owned()));
            *rest = after.chars();
            piece
        }
        digit => {
            let mut number = digit_value(digit)?;
            if number > groups {
                return Some(Piece::Text(format!("${digit}")));
            }
            while let Some(longer) = rest
                .clone()
                .next()
                .and_then(digit_value)
                .and_then(|digit| number.checked_mul(10)?.checked_add(digit))
                .filter(|longer| *longer <= groups)
            {
                number = longer;
                rest.next();
            }
            Some(Piece::Group(number))
        }
    }
}

fn digit_value(c: char) -> Option<usize> {
    c.to_digit(10).and_then(|digit| usize::try_from(digit).ok())
}

fn next_char(text: &str, at: usize) -> usize {
    let len = text.get(at..).and_then(|rest| rest.chars().next());
    at + len.map_or(1, char::len_utf8)
}

/// What Java calls white space in patterns.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0B' | '\x0C' | '\r')
}

/// Enough of a text to find it again.
fn shown(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail in its helpers too")]

    use super::*;

    const SUBJECT: &str = "CN=app,OU=Team A,O=Example,C=DE";

    fn name(rules: &str, subject: &str) -> Option<String> {
        MappingRules::parse(rules).unwrap().apply(subject)
    }

    #[test]
    fn names_are_those_that_kafka_finds() {
        let mut cases = 0;
        for line in include_str!("testdata/mapping.tsv").lines().skip(1) {
            let [rules, subject, verdict, expected] = *line.split('\t').collect::<Vec<_>>() else {
                panic!("{line}");
            };
            let found = MappingRules::parse(&rules.replace('⏎', "\n"));
            match verdict {
                "NAME" => assert_eq!(
                    found.unwrap().apply(subject).as_deref(),
                    Some(expected),
                    "{line}"
                ),
                "NONE" => assert_eq!(found.unwrap().apply(subject), None, "{line}"),
                _ => assert!(found.is_err(), "{line}"),
            }
            cases += 1;
        }
        assert!(cases > 80, "{cases}");
    }

    #[test]
    fn a_doubled_dollar_counts_once() {
        assert_eq!(name("RULE:^CN=(.*?),.*$$/$$1/U", SUBJECT).unwrap(), "APP");
        assert_eq!(name("RULE:^CN=(.*)$/\\$$1/", "CN=a").unwrap(), "$a");
    }

    #[test]
    fn an_impossible_group_is_text_also_where_kafka_gives_up_on_the_first_certificate() {
        assert_eq!(name("RULE:^.*$/$1/", SUBJECT).unwrap(), "$1");
        assert_eq!(name("RULE:(a)/$3$2$1/", "a").unwrap(), "$3$2a");
        assert_eq!(name("RULE:(a)/$01$2$3/", "a").unwrap(), "a$2$3");
    }

    #[test]
    fn replacements_that_can_never_work_are_refused() {
        for replacement in ["$", "$x", "${x}", "${", "a$ b"] {
            let rules = format!("RULE:^(.*)$/{replacement}/");
            assert_eq!(
                MappingRules::parse(&rules).unwrap_err(),
                MappingError::BadReplacement(replacement.to_owned()),
                "{rules}"
            );
        }
    }

    #[test]
    fn text_outside_of_rules_is_refused_on_every_line() {
        for rules in ["foo\nDEFAULT", "DEFAULT\nDEFAULT", "RULE:a/b/\nRULE:a/b/"] {
            assert!(
                matches!(MappingRules::parse(rules), Err(MappingError::NotARule(_))),
                "{rules}"
            );
        }
    }

    #[test]
    fn a_pattern_that_takes_too_much_work_gives_no_name_not_even_the_default() {
        let rules = MappingRules::parse("RULE:^CN=((a|aa)+)\\1x$/$1/,DEFAULT").unwrap();
        assert_eq!(rules.apply(&format!("CN={}", "a".repeat(200))), None);
        assert_eq!(rules.apply("CN=b").unwrap(), "CN=b");
    }

    #[test]
    fn a_pattern_that_needs_too_much_memory_is_refused() {
        let found = MappingRules::parse("RULE:(?:\\p{L}{1000}){1000}/x/");
        assert!(
            matches!(found, Err(MappingError::BadPattern { .. })),
            "{found:?}"
        );
    }
}
