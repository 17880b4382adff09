//! API keys.

use std::fmt;

pub use crate::schema::{ApiSpec, Direction, Listeners};

use crate::schema::generated::{APIS, NAMES};

/// An API key as it stands on the wire; not necessarily a known one. The constants are generated from the definitions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ApiKey(pub i16);

impl ApiKey {
    /// The definition; `None` for an unknown key and for one that Kafka 4 removed (e.g. `LeaderAndIsr`).
    #[inline]
    pub fn spec(self) -> Option<&'static ApiSpec> {
        APIS.get(usize::try_from(self.0).ok()?)?.as_ref()
    }

    /// Name without the suffix `Request`, e.g. `Produce`; `Unknown` for an unknown key.
    pub fn name(self) -> &'static str {
        usize::try_from(self.0)
            .ok()
            .and_then(|key| NAMES.get(key))
            .copied()
            .unwrap_or("Unknown")
    }

    /// Keys with valid versions, ascending.
    pub fn all() -> impl Iterator<Item = ApiKey> {
        APIS.iter().flatten().map(|spec| ApiKey(spec.key))
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}
