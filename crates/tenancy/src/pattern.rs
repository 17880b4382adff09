//! Regular expressions of clients, which are never given to brokers: those would match them with everybody's names.

use regex::{Regex, RegexBuilder};

/// Bytes that a compiled expression may take.
const MAX_COMPILED: usize = 1 << 18;

/// Bytes of an expression.
const MAX_LEN: usize = 4096;

/// Compiles an expression in RE2's syntax that has to match a whole name. `None`: it is none, or a monstrous one. Matching takes time in
/// proportion to the name, whatever the expression.
pub(crate) fn compile(text: &str) -> Option<Regex> {
    if text.len() > MAX_LEN {
        return None;
    }
    // Checked alone first: it must not close the brackets around it.
    let build = |text: &str| {
        RegexBuilder::new(text)
            .size_limit(MAX_COMPILED)
            .build()
            .ok()
    };
    build(text)?;
    build(&format!("^(?:{text})$"))
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn whole_names_match() {
        let matches = |pattern: &str, name: &str| compile(pattern).unwrap().is_match(name);
        assert!(matches("o.*s", "orders") && !matches("rder", "orders"));
        assert!(matches("^o.*s$", "orders") && matches("(?i)ORD.*", "orders"));
        assert!(matches("a|orders", "orders") && !matches("^order|b$", "orders"));
        for broken in [
            "(",
            "a)|(b",
            "[",
            "(?<!a)b",
            "\\1",
            "((a{1000}){1000}){1000}",
        ] {
            assert!(compile(broken).is_none(), "{broken}");
        }
    }
}
