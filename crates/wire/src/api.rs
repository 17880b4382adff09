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

#[cfg(test)]
mod tests {
    use super::ApiKey;

    #[test]
    fn known_and_unknown_keys() {
        assert_eq!(
            ApiKey::PRODUCE
                .spec()
                .map(|spec| (spec.key, spec.min_version, spec.name)),
            Some((0, 3, "Produce"))
        );
        assert_eq!(ApiKey::API_VERSIONS.name(), "ApiVersions");
        assert_eq!(ApiKey(4).name(), "LeaderAndIsr");
        assert!(ApiKey(4).spec().is_none());
        assert_eq!(ApiKey(-1).name(), "Unknown");
        assert_eq!(ApiKey(999).name(), "Unknown");
        assert!(ApiKey::all().is_sorted());
        assert!(ApiKey::all().count() > 85);
        let spec = ApiKey::INIT_PRODUCER_ID.spec().unwrap();
        assert!(spec.latest_unstable && spec.max_stable_version() == spec.max_version - 1);
    }
}
