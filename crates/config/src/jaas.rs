//! `sasl.jaas.config`.

use crate::secret::Secret;

/// The one entry of a JAAS text, typed by its login module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Jaas {
    /// `org.apache.kafka.common.security.plain.PlainLoginModule`.
    Plain {
        /// User name.
        username: String,
        /// Password.
        password: Secret,
    },
    /// `org.apache.kafka.common.security.scram.ScramLoginModule`.
    Scram {
        /// User name, or the id of a delegation token.
        username: String,
        /// Password, or the HMAC of a delegation token.
        password: Secret,
        /// Whether the pair is a delegation token (KIP-48).
        token_auth: bool,
    },
    /// `org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule`.
    OAuthBearer {
        /// `clientId`.
        client_id: Option<String>,
        /// `clientSecret`.
        client_secret: Option<Secret>,
        /// `scope`.
        scope: Option<String>,
        /// `extension_<name>`, without the prefix, in order of name.
        extensions: Vec<(String, String)>,
    },
}
