//! Why an authentication failed: in full for our own records, in four fixed texts for the client.

use thiserror::Error;

use crate::accounts::Accounts;

/// The OAUTHBEARER error object (RFC 7628 section 3.2.2).
pub const INVALID_TOKEN: &str = r#"{"status":"invalid_token"}"#;

/// Longest attempted name that is kept, bytes.
const MAX_KEPT_NAME_BYTES: usize = 1024;

/// A failed authentication.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct AuthFailure {
    /// The exact cause. Not for the client: it tells which accounts exist.
    pub reason: FailureReason,
    /// The name that was tried, shortened if it is very long; `None` when none was offered.
    pub username: Option<String>,
}

/// The causes that are told apart. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FailureReason {
    /// SaslHandshake asked for a mechanism that is not offered.
    #[error("the mechanism is not offered")]
    MechanismNotOffered,
    /// A message does not follow the mechanism.
    #[error("malformed message: {0}")]
    Malformed(&'static str),
    /// An empty user name.
    #[error("the user name is missing")]
    MissingUsername,
    /// An empty password.
    #[error("the password is missing")]
    MissingPassword,
    /// The authorization id is neither empty nor the authenticated name.
    #[error("the authorization id is not the authenticated name")]
    ForeignAuthorizationId,
    /// The password is no token of this gateway.
    #[error("wrong credentials: {0}")]
    WrongCredentials(TokenDefect),
    /// The token is valid, but of another user.
    #[error("the token belongs to '{claimed}'")]
    TokenOfAnotherUser {
        /// Claim `username`.
        claimed: String,
    },
    /// The token was valid once.
    #[error("the token of '{username}' in '{vcluster}' expired at {expired_at}")]
    TokenExpired {
        /// Claim `username`.
        username: String,
        /// Claim `vcluster`.
        vcluster: String,
        /// Claim `exp`, seconds since 1970.
        expired_at: u64,
    },
    /// The token is valid, but there is no LOCAL account for it.
    #[error("no LOCAL service account of that name in '{vcluster}'")]
    NoLocalAccount {
        /// Claim `vcluster`.
        vcluster: String,
    },
    /// The token is valid, but was made for an account of the same name that there was before.
    #[error("the token is for an account of that name in '{vcluster}' that is no more")]
    TokenOfDeletedAccount {
        /// Claim `vcluster`.
        vcluster: String,
    },
    /// The token of the identity provider was rejected.
    #[error("invalid OAuth token: {0}")]
    InvalidOAuthToken(TokenDefect),
    /// The identity provider's keys were never loaded: not the client's fault.
    #[error("the keys of the identity provider are not loaded")]
    KeysNotLoaded,
    /// The token names a virtual cluster that does not exist.
    #[error("claim gateway.vcluster names the unknown virtual cluster '{vcluster}'")]
    UnknownVcluster {
        /// The claim, shortened.
        vcluster: String,
    },
    /// The identity has no virtual cluster, and one is mandatory.
    #[error("a virtual cluster is mandatory")]
    VclusterMandatory,
    /// A client certificate is needed and was not given.
    #[error("no client certificate")]
    CertificateMissing,
    /// The client certificate is expired, of an unknown issuer or otherwise not acceptable.
    #[error("client certificate not accepted")]
    CertificateRejected,
    /// No mapping rule fits the subject of the certificate.
    #[error("no mapping rule fits the subject of the client certificate")]
    CertificateNotMapped,
    /// Kafka rejected the relayed credentials.
    #[error("Kafka rejected the credentials")]
    RejectedByKafka,
    /// A relayed exchange does not tell who the client is.
    #[error("the identity cannot be read from the exchange: {0}")]
    IdentityNotFound(&'static str),
    /// Re-authentication with another mechanism.
    #[error("re-authentication with another mechanism")]
    MechanismChanged,
    /// Re-authentication as somebody else, or in another virtual cluster.
    #[error("re-authentication as another principal")]
    PrincipalChanged,
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TokenDefect {
    /// It is not a signed JWT in compact form, or too long.
    #[error("not a signed JWT")]
    Malformed,
    /// Its algorithm is not accepted, or does not fit the key.
    #[error("algorithm not accepted")]
    Algorithm,
    /// No key has its key id.
    #[error("unknown key")]
    UnknownKey,
    /// The signature does not fit.
    #[error("wrong signature")]
    Signature,
    /// A claim is missing or has another type than it must have.
    #[error("claim {0} is missing or malformed")]
    Claim(&'static str),
    /// Its life is over.
    #[error("expired")]
    Expired,
    /// Its life has not begun.
    #[error("not valid yet")]
    NotYetValid,
    /// Another issuer.
    #[error("issuer not expected")]
    Issuer,
    /// None of the expected audiences.
    #[error("audience not expected")]
    Audience,
}

impl AuthFailure {
    /// `username` is what was attempted, if anything.
    pub fn new(reason: FailureReason, username: Option<&str>) -> Self {
        Self {
            reason,
            username: username.filter(|name| !name.is_empty()).map(shortened),
        }
    }

    /// The text for the client.
    pub fn client_message(&self) -> &'static str {
        self.reason.client_message()
    }

    /// The attempted name as a label of a metric: the name if an account, an external name or a super user has it,
    /// `<unknown>` if not, `<none>` if none was offered. Clients choose names, so others would make labels without end.
    pub fn counted_name<'a>(&'a self, accounts: &Accounts, super_users: &[String]) -> &'a str {
        match self.username.as_deref() {
            None => "<none>",
            Some(name)
                if accounts.knows_name(name) || super_users.iter().any(|user| user == name) =>
            {
                name
            }
            Some(_) => "<unknown>",
        }
    }
}

impl FailureReason {
    /// A short stable label for metrics and audit.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::MechanismNotOffered => "mechanism_not_offered",
            Self::Malformed(_) => "malformed",
            Self::MissingUsername => "missing_username",
            Self::MissingPassword => "missing_password",
            Self::ForeignAuthorizationId => "foreign_authorization_id",
            Self::WrongCredentials(_) => "wrong_credentials",
            Self::TokenOfAnotherUser { .. } => "token_of_another_user",
            Self::TokenExpired { .. } => "token_expired",
            Self::NoLocalAccount { .. } => "no_local_account",
            Self::TokenOfDeletedAccount { .. } => "token_of_deleted_account",
            Self::InvalidOAuthToken(_) => "invalid_oauth_token",
            Self::KeysNotLoaded => "keys_not_loaded",
            Self::UnknownVcluster { .. } => "unknown_vcluster",
            Self::VclusterMandatory => "vcluster_mandatory",
            Self::CertificateMissing => "certificate_missing",
            Self::CertificateRejected => "certificate_rejected",
            Self::CertificateNotMapped => "certificate_not_mapped",
            Self::RejectedByKafka => "rejected_by_kafka",
            Self::IdentityNotFound(_) => "identity_not_found",
            Self::MechanismChanged => "mechanism_changed",
            Self::PrincipalChanged => "principal_changed",
        }
    }

    /// Every label of [`FailureReason::as_str`], for metrics that exist before the first failure.
    pub const LABELS: [&'static str; 21] = [
        "mechanism_not_offered",
        "malformed",
        "missing_username",
        "missing_password",
        "foreign_authorization_id",
        "wrong_credentials",
        "token_of_another_user",
        "token_expired",
        "no_local_account",
        "token_of_deleted_account",
        "invalid_oauth_token",
        "keys_not_loaded",
        "unknown_vcluster",
        "vcluster_mandatory",
        "certificate_missing",
        "certificate_rejected",
        "certificate_not_mapped",
        "rejected_by_kafka",
        "identity_not_found",
        "mechanism_changed",
        "principal_changed",
    ];

    fn client_message(&self) -> &'static str {
        match self {
            Self::MissingUsername => "Authentication failed: missing user name",
            Self::MissingPassword => "Authentication failed: missing password",
            Self::TokenExpired { .. } => "Authentication failed: token expired",
            Self::InvalidOAuthToken(_) | Self::KeysNotLoaded => INVALID_TOKEN,
            _ => "Authentication failed: invalid credentials",
        }
    }
}

/// At most [`MAX_KEPT_NAME_BYTES`] of a name that somebody else chose.
pub(super) fn shortened(name: &str) -> String {
    let end = name.floor_char_boundary(MAX_KEPT_NAME_BYTES);
    name.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::{Account, AccountKind};

    #[test]
    fn only_known_names_become_labels() {
        let accounts = Accounts::from_iter([Account {
            vcluster: "blue".into(),
            name: "bob".into(),
            kind: AccountKind::External {
                external_names: vec!["CN=bob".to_owned()],
            },
            incarnation: None,
        }]);
        let supers = ["root".to_owned()];
        for (name, label) in [
            (Some("bob"), "bob"),
            (Some("CN=bob"), "CN=bob"),
            (Some("root"), "root"),
            (Some("mallory"), "<unknown>"),
            (Some(""), "<none>"),
            (None, "<none>"),
        ] {
            let failure = AuthFailure::new(FailureReason::MissingPassword, name);
            assert_eq!(failure.counted_name(&accounts, &supers), label, "{name:?}");
        }
    }

    #[test]
    fn clients_see_fixed_texts_that_tell_nothing_about_accounts() {
        let text = String::new;
        let invalid = "Authentication failed: invalid credentials";
        for (reason, message) in [
            (
                FailureReason::WrongCredentials(TokenDefect::Signature),
                invalid,
            ),
            (
                FailureReason::TokenOfAnotherUser { claimed: text() },
                invalid,
            ),
            (FailureReason::NoLocalAccount { vcluster: text() }, invalid),
            (
                FailureReason::TokenOfDeletedAccount { vcluster: text() },
                invalid,
            ),
            (FailureReason::UnknownVcluster { vcluster: text() }, invalid),
            (FailureReason::VclusterMandatory, invalid),
            (
                FailureReason::InvalidOAuthToken(TokenDefect::Expired),
                INVALID_TOKEN,
            ),
            (FailureReason::KeysNotLoaded, INVALID_TOKEN),
        ] {
            let failure = AuthFailure::new(reason, Some("bob"));
            assert_eq!(failure.client_message(), message, "{failure}");
            assert!(FailureReason::LABELS.contains(&failure.reason.as_str()));
        }
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let failure = AuthFailure::new(FailureReason::MissingPassword, Some(&"é".repeat(5000)));
        assert_eq!(failure.username.map(|name| name.len()), Some(1024));
        let odd = format!("x{}", "é".repeat(5000));
        let failure = AuthFailure::new(FailureReason::MissingPassword, Some(&odd));
        assert_eq!(failure.username.map(|name| name.len()), Some(1023));
    }
}
