//! Regular expressions of clients, which are never given to brokers: those would match them with everybody's names.
//!
//! What an expression may cost is bounded twice. Compiling it makes an automaton of bounded size. Matching makes the states of a
//! deterministic one as names need them, and those may take so much memory and no more: whoever needs more is refused, where an engine
//! that goes on without them would take time in proportion to the names times the expression.

use regex_automata::hybrid::dfa::{Config, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::{Anchored, Input, MatchKind};
use thiserror::Error;

/// Bytes that a compiled expression may take.
const MAX_COMPILED: usize = 1 << 18;

/// Bytes that the states may take which names need. To fill them takes some 30 ms at worst; an alternation of 120 names fills a third.
const MAX_STATES: usize = 1 << 20;

/// Bytes of an expression.
const MAX_LEN: usize = 4096;

/// Sets of characters in an expression. One of Unicode's takes up to half a millisecond to look up, and does not count against the bytes.
const MAX_SETS: usize = 100;

/// An expression in RE2's syntax that has to match a whole name.
#[derive(Debug)]
pub struct Expression {
    dfa: DFA,
}

/// An expression is none, or takes too much to match.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the regular expression cannot be used")]
pub struct Unusable;

impl Expression {
    /// Compiles an expression. Takes up to some 50 ms, whatever the text.
    ///
    /// # Errors
    /// It is none, or a monstrous one.
    pub fn compile(text: &str) -> Result<Expression, Unusable> {
        if text.len() > MAX_LEN || sets(text) > MAX_SETS {
            return Err(Unusable);
        }
        let limits = thompson::Config::new()
            .nfa_size_limit(Some(MAX_COMPILED))
            .which_captures(WhichCaptures::None);
        let config = Config::new()
            // All ways to match, the longest of which is the one that may be all of the name.
            .match_kind(MatchKind::All)
            .unicode_word_boundary(true)
            .cache_capacity(MAX_STATES)
            .minimum_cache_clear_count(Some(0));
        let builder = &mut DFA::builder();
        let dfa = builder.configure(config).thompson(limits).build(text);
        dfa.map(|dfa| Expression { dfa }).map_err(|_| Unusable)
    }

    /// The names that match as a whole. Takes time in proportion to the names, and some 30 ms more at worst.
    ///
    /// # Errors
    /// To tell takes more than it may.
    pub fn matching(&self, mut names: Vec<String>) -> Result<Vec<String>, Unusable> {
        let mut cache = self.dfa.create_cache();
        let mut outcome = Ok(());
        names.retain(|name| {
            let input = Input::new(name.as_str()).anchored(Anchored::Yes);
            let end = match outcome {
                Ok(()) => self.dfa.try_search_fwd(&mut cache, &input),
                Err(_) => return false,
            };
            match end {
                Ok(end) => end.is_some_and(|end| end.offset() == name.len()),
                Err(_) => {
                    outcome = Err(Unusable);
                    false
                }
            }
        });
        outcome.map(|()| names)
    }
}

/// How many sets of characters an expression has at most: in brackets, by name, or of a character that has other cases.
fn sets(text: &str) -> usize {
    let mut before = ' ';
    let begins = |letter: char| {
        let escaped = std::mem::replace(&mut before, letter) == '\\';
        if escaped && letter == '\\' {
            before = ' ';
        }
        match letter {
            '[' => !escaped,
            'p' | 'P' | 'w' | 'W' | 'd' | 'D' | 's' | 'S' | 'b' | 'B' | 'x' | 'u' | 'U' => escaped,
            _ => !letter.is_ascii(),
        }
    };
    text.chars().map(begins).filter(|begins| *begins).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        let expression = Expression::compile(pattern).unwrap();
        !expression
            .matching(vec![name.to_owned()])
            .unwrap()
            .is_empty()
    }

    #[test]
    fn whole_names_match() {
        assert!(matches("o.*s", "orders") && !matches("rder", "orders"));
        assert!(matches("^o.*s$", "orders") && matches("(?i)ORD.*", "orders"));
        assert!(matches("a|orders", "orders") && !matches("^order|b$", "orders"));
        assert!(matches("or|orders", "orders") && matches("o.*?", "orders"));
        assert!(matches(r"\w+\b", "orders") && matches(r"\p{L}+", "ünïcode"));
        assert!(matches("", "") && !matches("", "orders"));
        for broken in [
            "(",
            "a)|(b",
            "[",
            "(?<!a)b",
            "\\1",
            "((a{1000}){1000}){1000}",
        ] {
            assert!(Expression::compile(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn usual_expressions_of_any_size_are_matched() {
        let name = |number: usize| {
            let of = ["orders", "users", "shop"][number % 3];
            let place = ["eu", "us"][number % 2];
            format!("{of}.{place}.events-{number}-dlq")
        };
        let names: Vec<String> = (0..3000).map(name).collect();
        let some: Vec<&str> = names.iter().step_by(25).map(String::as_str).collect();
        for (pattern, matched) in [
            ("orders[.].*", 1000),
            (".*orders.*|.*shop.*|.*us.*|.*-9.*|.*dlq", 3000),
            (r"(?i)\w+\.\w+[.]EVENTS-\d+-\w+", 3000),
            (r"[a-zA-Z0-9._-]{1,249}", 3000),
            (&some.join("|"), some.len()),
        ] {
            let expression = Expression::compile(pattern).unwrap();
            let found = expression.matching(names.clone()).unwrap().len();
            assert_eq!(found, matched, "{pattern}");
        }
    }

    #[test]
    fn what_takes_too_much_is_refused() {
        let mut state = 1_u64;
        let mut letter = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            if state >> 63 == 0 { 'a' } else { 'b' }
        };
        let names: Vec<String> = (0..100)
            .map(|_| (0..240).map(|_| letter()).collect())
            .collect();
        for count in [1, 4, 10, 200] {
            let pattern = vec!["[ab]*a[ab]{120}"; count].join("|");
            let expression = Expression::compile(&pattern);
            let found = expression.and_then(|expression| expression.matching(names.clone()));
            assert_eq!(found, Err(Unusable), "{count}");
        }
        for sets in [
            r"\pL".repeat(1000),
            "[^a]".repeat(1000),
            "[[^a]]".repeat(500),
        ] {
            assert!(Expression::compile(&format!("(?i){sets}")).is_err());
        }
    }
}
