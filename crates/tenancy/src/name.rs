//! Which names a virtual cluster may have: it is the beginning of all its physical names, so it must be one that topics can begin with, and
//! must not take in those of Kafka or of the gateway.

/// Why a virtual cluster cannot have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// It could not be the beginning of the name of a topic.
    #[error(
        "it must consist of 1 to 200 letters, digits, '.', '_' and '-', and not be '.' or '..'"
    )]
    Invalid,
    /// It is the built-in one.
    #[error("it is the name of the virtual cluster of everybody who has no other one")]
    Passthrough,
    /// Names of Kafka or of the gateway itself would be among its own.
    #[error("topics or groups of Kafka or of the gateway itself would be among its own")]
    Internal,
}

/// Leaves room for the names of topics, which have 249 characters with it.
const MAX_LEN: usize = 200;

/// Checks the name of a virtual cluster. `internal` are the topics, groups and transactional ids of the gateway.
///
/// # Errors
/// What is wrong with it.
pub fn check_name<'a>(
    name: &str,
    internal: impl IntoIterator<Item = &'a str>,
) -> Result<(), NameFault> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if name.is_empty()
        || name.len() > MAX_LEN
        || !name.bytes().all(fits)
        || matches!(name, "." | "..")
    {
        return Err(NameFault::Invalid);
    }
    if name == "passthrough" {
        return Err(NameFault::Passthrough);
    }
    // Kafka's own names begin with two of them, the gateway's with one, and '.' is as good as '_' to brokers.
    if name.starts_with(['_', '.']) {
        return Err(NameFault::Internal);
    }
    let fold = |name: &str| name.replace('.', "_");
    let folded = fold(name);
    match internal
        .into_iter()
        .any(|own| fold(own).starts_with(&folded))
    {
        true => Err(NameFault::Internal),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{NameFault, check_name};

    #[test]
    fn names() {
        let own = ["_conduktor_gateway_acls", "conduktor_gateway"];
        let check = |name: &str| check_name(name, own);
        for name in ["a", "mon-app-A", "a.b", "vc_1", "conduktor_gateways", "0"] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for name in ["", "a b", "ä", ".", "..", "a/b", &"x".repeat(201)] {
            assert_eq!(check(name), Err(NameFault::Invalid), "{name}");
        }
        assert_eq!(check("passthrough"), Err(NameFault::Passthrough));
        for name in [
            "_",
            "_x",
            "__consumer",
            ".x",
            "conduktor",
            "c",
            "conduktor.gateway",
        ] {
            assert_eq!(check(name), Err(NameFault::Internal), "{name}");
        }
    }
}
