//! What the settings allow: a kind of resource is taken if some listener can make use of it, else refused with the reason.

use config::{ClientAuth, Config, SecurityMode};

const KAFKA_MANAGED: &str =
    "Kafka checks the credentials of clients (GATEWAY_SECURITY_MODE is KAFKA_MANAGED)";

/// Why no resource is taken where the operator does without them.
pub const NOTHING_KEPT: &str = "clients are not authenticated, and nothing is kept for them (GATEWAY_STORE_WITHOUT_AUTHENTICATION=false)";

/// Which kinds of resources can be used, and why others cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// LOCAL accounts: the reason against them, if there is one.
    pub local: Result<(), &'static str>,
    /// EXTERNAL accounts: the reason against them, if there is one.
    pub external: Result<(), &'static str>,
    /// Virtual clusters: the reason against them, if there is one.
    pub vclusters: Result<(), &'static str>,
    /// Alias topics: the reason against them, if there is one.
    pub aliases: Result<(), &'static str>,
    /// Resources of any kind: the reason why nothing is kept, if there is one.
    pub kept: Result<(), &'static str>,
}

impl Capabilities {
    /// What these settings allow. A kind is available if any listener can make use of it.
    pub fn of(config: &Config) -> Self {
        let (security, listeners) = (&config.security, &config.network.listeners);
        let kept = match config.keeps_state() {
            true => Ok(()),
            false => Err(NOTHING_KEPT),
        };
        if security.mode == SecurityMode::KafkaManaged {
            return Self {
                local: Err(KAFKA_MANAGED),
                external: Ok(()),
                vclusters: Err(KAFKA_MANAGED),
                aliases: Err(KAFKA_MANAGED),
                kept,
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
            vclusters: match sasl || certificates {
                true => Ok(()),
                false => Err("no listener authenticates clients"),
            },
            aliases: Ok(()),
            kept,
        }
    }

    /// Everything.
    pub fn all() -> Self {
        Self {
            local: Ok(()),
            external: Ok(()),
            vclusters: Ok(()),
            aliases: Ok(()),
            kept: Ok(()),
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
            vclusters: Err(reason),
            aliases: Err(reason),
            kept: Err(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use config::{Listener, OAuthServer, SecurityProtocol, Source};

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
        // Accounts, LOCAL and EXTERNAL; virtual clusters; aliases.
        for (mode, oauth, listeners, expected) in [
            (
                GatewayManaged,
                false,
                &[(Plaintext, None)][..],
                [false, false, false, true],
            ),
            (
                GatewayManaged,
                true,
                &[(Plaintext, None)],
                [false, false, false, true],
            ),
            (
                GatewayManaged,
                true,
                &[(Ssl, None)],
                [false, false, false, true],
            ),
            (
                GatewayManaged,
                false,
                &[(Ssl, Optional)],
                [false, true, true, true],
            ),
            (
                GatewayManaged,
                false,
                &[(Ssl, Require)],
                [false, true, true, true],
            ),
            (
                GatewayManaged,
                false,
                &[(SaslPlaintext, None)],
                [true, false, true, true],
            ),
            (
                GatewayManaged,
                true,
                &[(SaslPlaintext, None)],
                [true, true, true, true],
            ),
            (
                GatewayManaged,
                false,
                &[(SaslSsl, None)],
                [true, false, true, true],
            ),
            (
                GatewayManaged,
                false,
                &[(SaslSsl, Optional)],
                [true, true, true, true],
            ),
            (
                GatewayManaged,
                false,
                &[(Plaintext, None), (SaslSsl, None), (Ssl, Require)],
                [true, true, true, true],
            ),
            (
                KafkaManaged,
                false,
                &[(SaslPlaintext, None)],
                [false, true, false, false],
            ),
            (
                KafkaManaged,
                true,
                &[(SaslSsl, None)],
                [false, true, false, false],
            ),
        ] {
            let capabilities = Capabilities::of(&config(mode, oauth, listeners));
            let found = [
                capabilities.local,
                capabilities.external,
                capabilities.vclusters,
                capabilities.aliases,
            ]
            .map(|capability| capability.is_ok());
            assert_eq!(found, expected, "{mode:?} {oauth} {listeners:?}");
        }
    }
}
