//! Which accounts the security settings allow (`admin-api.md` 5.6).

use config::{ClientAuth, ClientSecurity, Listener, SecurityMode};

/// Which kinds of service accounts can be used, and why others cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// LOCAL accounts: the reason against them, if there is one.
    pub local: Result<(), &'static str>,
    /// EXTERNAL accounts: the reason against them, if there is one.
    pub external: Result<(), &'static str>,
}

impl Capabilities {
    /// What these settings allow. A kind is available if any listener can make use of it.
    pub fn of(security: &ClientSecurity, listeners: &[Listener]) -> Self {
        if security.mode == SecurityMode::KafkaManaged {
            return Self {
                local: Err(
                    "Kafka checks the credentials of clients (GATEWAY_SECURITY_MODE is KAFKA_MANAGED)",
                ),
                external: Ok(()),
            };
        }
        let sasl = listeners.iter().any(|listener| listener.protocol.is_sasl());
        let certificates = listeners
            .iter()
            .any(|listener| listener.protocol.is_tls() && listener.client_auth != ClientAuth::None);
        Self {
            local: match sasl {
                true => Ok(()),
                false => Err("no listener authenticates clients by SASL"),
            },
            external: match certificates || (sasl && security.oauth.is_some()) {
                true => Ok(()),
                false => Err(
                    "no listener asks for client certificates, and there is no SASL listener with OAUTHBEARER \
                              (GATEWAY_OAUTH_JWKS_URL)",
                ),
            },
        }
    }
}

impl Default for Capabilities {
    /// Those of a gateway without authentication.
    fn default() -> Self {
        let reason = "clients are not authenticated";
        Self {
            local: Err(reason),
            external: Err(reason),
        }
    }
}
