//! How clients of virtual clusters connect: where to begin, and settings with placeholders for each way of logging in. Both are told with a
//! virtual cluster and never taken.

use config::{ClientAuth, Config, Listener, PortPlan, SecurityProtocol};
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};

/// What stands for the name of the physical cluster in patterns of host names.
const CLUSTER_ID: &str = "{{clusterId}}";
const MAIN: &str = "main";

/// Where clients of virtual clusters connect, and with which settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`.
    pub bootstrap_servers: String,
    /// Kafka client settings for each way of authenticating, with placeholders in double braces.
    pub client_properties: Vec<(&'static str, Properties)>,
}

/// Settings of a Kafka client.
pub type Properties = Vec<(&'static str, String)>;

impl Endpoint {
    /// The first listener that authenticates in the gateway; empty if there is none.
    pub fn of(config: &Config) -> Self {
        let authenticates = |listener: &&Listener| {
            listener.protocol.is_sasl()
                || (listener.protocol.is_tls() && listener.client_auth != ClientAuth::None)
        };
        let Some(listener) = config.network.listeners.iter().find(authenticates) else {
            return Self::default();
        };
        let host = match &listener.sni {
            Some(names) => names.bootstrap_host_pattern.replace(CLUSTER_ID, MAIN),
            None => listener.advertised_host.clone(),
        };
        let port = match &listener.ports {
            PortPlan::Explicit(pairs) => pairs.first().map_or(0, |pair| pair.advertised),
            PortPlan::FromStart { start, .. } => *start,
        };
        Self {
            bootstrap_servers: match host.contains(':') {
                true => format!("[{host}]:{port}"),
                false => format!("{host}:{port}"),
            },
            client_properties: properties(listener, config.security.oauth.is_some()),
        }
    }
}

fn properties(listener: &Listener, oauth: bool) -> Vec<(&'static str, Properties)> {
    let protocol = listener.protocol;
    let sasl = |mechanism: &str, jaas: &str| {
        vec![
            ("security.protocol", protocol.to_string()),
            ("sasl.mechanism", mechanism.to_owned()),
            ("sasl.jaas.config", jaas.to_owned()),
        ]
    };
    let mut all = Vec::new();
    if protocol.is_sasl() {
        all.push(("PLAIN", sasl("PLAIN", PLAIN_JAAS)));
    }
    if protocol.is_sasl() && oauth {
        let mut properties = sasl("OAUTHBEARER", OAUTH_JAAS);
        properties.push((
            "sasl.login.callback.handler.class",
            OAUTH_HANDLER.to_owned(),
        ));
        properties.push((
            "sasl.oauthbearer.token.endpoint.url",
            "{{tokenEndpointUrl}}".to_owned(),
        ));
        all.push(("OAUTHBEARER", properties));
    }
    if protocol == SecurityProtocol::Ssl && listener.client_auth != ClientAuth::None {
        let properties = [
            ("security.protocol", "SSL"),
            ("ssl.keystore.location", "{{keystoreLocation}}"),
            ("ssl.keystore.password", "{{keystorePassword}}"),
            ("ssl.key.password", "{{keyPassword}}"),
            ("ssl.truststore.location", "{{truststoreLocation}}"),
            ("ssl.truststore.password", "{{truststorePassword}}"),
        ];
        let owned = properties.map(|(name, value)| (name, value.to_owned()));
        all.push(("MTLS", owned.to_vec()));
    }
    all
}

const PLAIN_JAAS: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required username='{{username}}' password='{{password}}';";
const OAUTH_JAAS: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId='{{clientId}}' clientSecret='{{clientSecret}}';";
const OAUTH_HANDLER: &str =
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler";

/// As members of `spec`.
impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Flat<'a>(&'a Properties);
        impl Serialize for Flat<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
            }
        }
        struct All<'a>(&'a [(&'static str, Properties)]);
        impl Serialize for All<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut map = serializer.serialize_map(Some(self.0.len()))?;
                for (mechanism, properties) in self.0 {
                    map.serialize_entry(mechanism, &Flat(properties))?;
                }
                map.end()
            }
        }
        let mut members = serializer.serialize_struct("Endpoint", 2)?;
        members.serialize_field("bootstrapServers", &self.bootstrap_servers)?;
        members.serialize_field("clientProperties", &All(&self.client_properties))?;
        members.end()
    }
}

#[cfg(test)]
mod tests {
    use config::Source;

    use super::*;

    fn endpoint(settings: &[(&str, &str)]) -> Endpoint {
        let all = [("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")];
        let source = Source::from_pairs(all.iter().chain(settings).copied());
        Endpoint::of(&config::load(&source).expect("a configuration").config)
    }

    const SASL: &[(&str, &str)] = &[
        ("GATEWAY_ADVERTISED_HOST", "gw.example.test"),
        ("GATEWAY_PORT_START", "7000"),
        ("GATEWAY_SECURITY_MODE", "GATEWAY_MANAGED"),
        ("GATEWAY_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
        (
            "GATEWAY_USER_POOL_SECRET_KEY",
            "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        ),
    ];

    #[test]
    fn the_listener_that_authenticates() {
        assert_eq!(endpoint(&[]), Endpoint::default());
        let found = endpoint(SASL);
        assert_eq!(found.bootstrap_servers, "gw.example.test:7000");
        assert_eq!(
            serde_json::to_string(&found).expect("JSON"),
            concat!(
                r#"{"bootstrapServers":"gw.example.test:7000","clientProperties":{"PLAIN":{"#,
                r#""security.protocol":"SASL_PLAINTEXT","sasl.mechanism":"PLAIN","sasl.jaas.config":"#,
                r#""org.apache.kafka.common.security.plain.PlainLoginModule required username='{{username}}' "#,
                r#"password='{{password}}';"}}}"#
            )
        );
        let oauth = [
            SASL,
            &[("GATEWAY_OAUTH_JWKS_URL", "https://127.0.0.1:1/unreachable")],
        ]
        .concat();
        let mechanisms: Vec<&str> = endpoint(&oauth)
            .client_properties
            .iter()
            .map(|(mechanism, _)| *mechanism)
            .collect();
        assert_eq!(mechanisms, ["PLAIN", "OAUTHBEARER"]);
    }
}
