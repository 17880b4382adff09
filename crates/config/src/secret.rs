//! A value that must never be shown.

use std::fmt;

/// What is printed in place of every secret.
pub const MASK: &str = "********";

/// A password, key or token. Its content leaves only through [`Secret::expose`]; `Debug` prints [`MASK`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value taken from a setting.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The content, for the one place that has to use it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}
