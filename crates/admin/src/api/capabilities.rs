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

#[cfg(test)]
mod tests {
    use config::{Config, OAuthServer, SecurityProtocol, Source};

    use super::*;

    /// One listener for each protocol and way of asking for certificates.
    fn config(
        mode: SecurityMode,
        oauth: bool,
        listeners: &[(SecurityProtocol, ClientAuth)],
    ) -> Config {
        let source = Source::from_pairs([("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")]);
        let mut config = config::load(&source).expect("a configuration").config;
        let first = config.network.listeners.remove(0);
        let of = |(protocol, client_auth): &(SecurityProtocol, ClientAuth)| Listener {
            protocol: *protocol,
            client_auth: *client_auth,
            ..first.clone()
        };
        config.network.listeners = listeners.iter().map(of).collect();
        config.security.mode = mode;
        config.security.oauth = oauth.then(|| OAuthServer {
            jwks_url: "https://127.0.0.1:1/unreachable".into(),
            expected_issuer: None,
            expected_audiences: Vec::new(),
            jwks_refresh: std::time::Duration::from_secs(60),
            jwks_retry: std::time::Duration::from_secs(1),
            jwks_max_retry: std::time::Duration::from_secs(1),
            scope_claim_name: "scope".into(),
            sub_claim_name: "sub".into(),
        });
        config
    }

    #[test]
    fn the_table() {
        use ClientAuth::{None, Optional, Require};
        use SecurityMode::{GatewayManaged, KafkaManaged};
        use SecurityProtocol::{Plaintext, SaslPlaintext, SaslSsl, Ssl};
        for (mode, oauth, listeners, local, external) in [
            (
                GatewayManaged,
                false,
                &[(Plaintext, None)][..],
                false,
                false,
            ),
            (GatewayManaged, true, &[(Plaintext, None)], false, false),
            (GatewayManaged, true, &[(Ssl, None)], false, false),
            (GatewayManaged, false, &[(Ssl, Optional)], false, true),
            (GatewayManaged, false, &[(Ssl, Require)], false, true),
            (GatewayManaged, false, &[(SaslPlaintext, None)], true, false),
            (GatewayManaged, true, &[(SaslPlaintext, None)], true, true),
            (GatewayManaged, false, &[(SaslSsl, None)], true, false),
            (GatewayManaged, false, &[(SaslSsl, Optional)], true, true),
            (
                GatewayManaged,
                false,
                &[(Plaintext, None), (SaslSsl, None), (Ssl, Require)],
                true,
                true,
            ),
            (KafkaManaged, false, &[(SaslPlaintext, None)], false, true),
            (KafkaManaged, true, &[(SaslSsl, None)], false, true),
        ] {
            let config = config(mode, oauth, listeners);
            let capabilities = Capabilities::of(&config.security, &config.network.listeners);
            let found = (capabilities.local.is_ok(), capabilities.external.is_ok());
            assert_eq!(found, (local, external), "{mode:?} {oauth} {listeners:?}");
        }
    }
}
