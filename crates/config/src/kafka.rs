//! From the properties of a cluster to how the gateway speaks with it.

use std::fs::File;
use std::path::PathBuf;

use crate::catalogue::{
    PROPERTIES, Setting, Status, gateway, is_host, kafka as property, list, nearest, whole_number,
};
use crate::clusters::{Given, MAIN};
use crate::jaas::Jaas;
use crate::model::{SecurityProtocol, Store};
use crate::report::Problem;
use crate::settings::{Findings, Settings};
use crate::upstream::{
    Cluster, HostPort, OAuthClient, Role, SaslMechanism, TlsVersion, TokenEndpoint, UpstreamSasl,
    UpstreamSecurity, UpstreamTls,
};

/// Class names that need no warning: what they do is built in.
const KNOWN_HANDLERS: &[&str] = &[
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler",
    "org.apache.kafka.common.security.oauthbearer.secured.OAuthBearerLoginCallbackHandler",
    "software.amazon.msk.auth.iam.IAMClientCallbackHandler",
];

/// Properties of Kafka's clients without an effect here whose names are close to those of others: nobody has misspelt them.
const KNOWN_NEIGHBOURS: &[&str] = &[
    "metadata.max.idle.ms",
    "retry.backoff.max.ms",
    "sasl.oauthbearer.jwks.endpoint.url",
    "sasl.server.callback.handler.class",
];

/// Credentials and whatever else belongs to `AWS_MSK_IAM`.
const AWS: &str = "aws.";

/// Checks all properties and computes the effective values.
pub(crate) fn cluster(given: &Given, findings: &mut Findings) -> Cluster {
    let reader = Reader {
        given,
        properties: &given.properties,
    };
    for setting in PROPERTIES {
        given.properties.check(setting, findings);
    }
    reader.tell_ignored(findings);
    let p = reader.properties;
    let role = p
        .word(&property::GATEWAY_ROLES, Role::parse)
        .unwrap_or(Role::Upstream);
    if given.id == MAIN && role == Role::Failover {
        findings.problem(p.problem(
            &property::GATEWAY_ROLES,
            "upstream, because main cannot be a failover cluster",
        ));
    }
    let buffer = |setting| p.number::<u32>(setting);
    Cluster {
        id: given.id.clone(),
        role,
        bootstrap_servers: reader.bootstrap_servers(findings),
        security: reader.security(findings),
        client_id: p.text(&property::CLIENT_ID).map(String::from),
        request_timeout: p.millis(&property::REQUEST_TIMEOUT),
        connection_setup_timeout: p.millis(&property::SETUP_TIMEOUT),
        connection_setup_timeout_max: p.millis(&property::SETUP_TIMEOUT_MAX),
        reconnect_backoff: p.millis(&property::RECONNECT_BACKOFF),
        reconnect_backoff_max: p.millis(&property::RECONNECT_BACKOFF_MAX),
        retry_backoff: p.millis(&property::RETRY_BACKOFF),
        metadata_max_age: p.millis(&property::METADATA_MAX_AGE),
        connections_max_idle: p.millis(&property::CONNECTIONS_MAX_IDLE),
        send_buffer: buffer(&property::SEND_BUFFER),
        receive_buffer: buffer(&property::RECEIVE_BUFFER),
        origins: p
            .names()
            .map(|(name, variable)| (name.to_owned(), variable.to_owned()))
            .collect(),
        prefix: given.prefix.clone(),
    }
}

struct Reader<'a> {
    given: &'a Given,
    properties: &'a Settings,
}

impl Reader<'_> {
    /// The variable to name in a message.
    fn variable(&self, setting: &Setting) -> String {
        match self.properties.variable(setting) {
            Some(variable) => variable.to_owned(),
            None => format!(
                "{}{}",
                self.given.prefix,
                setting.name.to_ascii_uppercase().replace('.', "_")
            ),
        }
    }

    /// `property` as it is written where `variable` is: in the environment or in the cluster file.
    fn spelt_like(&self, variable: &str, property: &str) -> String {
        match variable.starts_with("KAFKA_") {
            true => format!(
                "{}{}",
                self.given.prefix,
                property.to_ascii_uppercase().replace('.', "_")
            ),
            false => property.to_owned(),
        }
    }

    fn unset(&self, setting: &Setting, expected: impl Into<String>) -> Problem {
        Problem::unset(self.variable(setting), expected)
    }

    fn tell_ignored(&self, findings: &mut Findings) {
        let known = || PROPERTIES.iter().map(|setting| setting.name);
        let mut ignored = Vec::new();
        for (name, variable) in self.properties.names() {
            let setting = PROPERTIES.iter().find(|setting| setting.name == name);
            let status = setting.map(|setting| setting.status);
            if name.starts_with(AWS) || matches!(status, Some(Status::NotYet { .. })) {
                findings.warn(format!(
                    "{variable}: recognised, but this version does not act on it yet"
                ));
            } else if status.is_some() {
            } else if KNOWN_NEIGHBOURS.contains(&name) {
                ignored.push(variable);
            } else if let Some(near) = nearest(name, known()) {
                findings.misspelt(variable, self.spelt_like(variable, near));
            } else {
                ignored.push(variable);
            }
        }
        if !ignored.is_empty() {
            findings.info(format!(
                "cluster {}: no effect here: {}",
                self.given.id,
                ignored.join(", ")
            ));
        }
        for setting in [
            &property::SASL_LOGIN_CALLBACK_HANDLER_CLASS,
            &property::SASL_CLIENT_CALLBACK_HANDLER_CLASS,
        ] {
            if self
                .properties
                .text(setting)
                .is_some_and(|class| !KNOWN_HANDLERS.contains(&class.trim()))
            {
                findings.warn(format!(
                    "{}: the class is not known here and is not used",
                    self.variable(setting)
                ));
            }
        }
    }

    fn bootstrap_servers(&self, findings: &mut Findings) -> Vec<HostPort> {
        const EXPECTED: &str = "host:port, several separated by commas";
        let setting = &property::BOOTSTRAP_SERVERS;
        let Some(text) = self.properties.text(setting) else {
            findings.problem(self.unset(setting, EXPECTED));
            return Vec::new();
        };
        let items = list(text, ',');
        let servers: Vec<_> = items.iter().map_while(|item| host_port(item)).collect();
        if servers.len() < items.len() || servers.is_empty() {
            // The text may hold a login, as URLs of other systems do.
            let place = format!("{EXPECTED} (server {} is not)", servers.len() + 1);
            findings.problem(Problem::named(self.variable(setting), place));
            return Vec::new();
        }
        servers
    }

    fn security(&self, findings: &mut Findings) -> UpstreamSecurity {
        let protocol = self
            .properties
            .word(&property::SECURITY_PROTOCOL, SecurityProtocol::parse);
        let protocol = protocol.unwrap_or(SecurityProtocol::Plaintext);
        UpstreamSecurity {
            protocol,
            tls: protocol.is_tls().then(|| self.tls(findings)),
            sasl: if protocol.is_sasl() {
                self.sasl(protocol, findings)
            } else {
                None
            },
        }
    }

    fn tls(&self, findings: &mut Findings) -> UpstreamTls {
        let p = self.properties;
        let verify_hostname = !p.is_empty_text(&property::ENDPOINT_IDENTIFICATION_ALGORITHM);
        if !verify_hostname {
            findings.warn(format!(
                "{} is empty: the host names of brokers are not checked against their certificates",
                self.variable(&property::ENDPOINT_IDENTIFICATION_ALGORITHM)
            ));
        }
        self.check_one_of(
            &property::TRUSTSTORE_LOCATION,
            &property::TRUSTSTORE_CERTIFICATES,
            findings,
        );
        self.check_one_of(
            &property::KEYSTORE_LOCATION,
            &property::KEYSTORE_KEY,
            findings,
        );
        let pair = (
            &property::KEYSTORE_KEY,
            &property::KEYSTORE_CERTIFICATE_CHAIN,
        );
        for (one, other) in [pair, (pair.1, pair.0)] {
            if p.text(one).is_some() && p.text(other).is_none() {
                let problem = self.unset(
                    other,
                    "PEM text, because key and certificate chain go together",
                );
                findings.problem(problem);
            }
        }
        UpstreamTls {
            truststore: self.store(
                &property::TRUSTSTORE_LOCATION,
                &property::TRUSTSTORE_PASSWORD,
                &property::TRUSTSTORE_TYPE,
                findings,
            ),
            truststore_pem: p.text(&property::TRUSTSTORE_CERTIFICATES).map(String::from),
            keystore: self.store(
                &property::KEYSTORE_LOCATION,
                &property::KEYSTORE_PASSWORD,
                &property::KEYSTORE_TYPE,
                findings,
            ),
            keystore_key_pem: p.secret(&property::KEYSTORE_KEY),
            keystore_chain_pem: p
                .text(&property::KEYSTORE_CERTIFICATE_CHAIN)
                .map(String::from),
            key_password: p.secret(&property::KEY_PASSWORD),
            verify_hostname,
            protocols: self.tls_versions(findings),
            cipher_suites: p.items(&property::CIPHER_SUITES, ','),
        }
    }

    fn check_one_of(&self, file: &Setting, pem: &Setting, findings: &mut Findings) {
        if self.properties.text(file).is_some() && self.properties.text(pem).is_some() {
            let problem = self
                .properties
                .problem(file, format!("either this or {}", self.variable(pem)));
            findings.problem(problem);
        }
    }

    fn store(
        &self,
        path: &Setting,
        password: &Setting,
        kind: &Setting,
        findings: &mut Findings,
    ) -> Option<Store> {
        let file = self.properties.path(path)?;
        if let Err(error) = readable(&file) {
            findings.problem(
                self.properties
                    .problem(path, format!("a readable file ({error})")),
            );
        }
        let declared = self
            .properties
            .text(kind)
            .and_then(|word| property::store_kind(word.trim()));
        Some(Store {
            path: file,
            password: self.properties.secret(password),
            kind: declared,
        })
    }

    fn tls_versions(&self, findings: &mut Findings) -> Vec<TlsVersion> {
        let setting = &property::ENABLED_PROTOCOLS;
        let expected = format!("some of {}", TlsVersion::WORDS.join(", "));
        let names = self.properties.items(setting, ',');
        let enabled: Option<Vec<_>> = names.iter().map(|name| TlsVersion::parse(name)).collect();
        let newest = self.properties.text_or_default(&property::SSL_PROTOCOL);
        let newest = if newest.eq_ignore_ascii_case("TLS") {
            Some(TlsVersion::V1_3)
        } else {
            TlsVersion::parse(&newest)
        };
        if newest.is_none() {
            let expected = format!("TLS or one of {}", TlsVersion::WORDS.join(", "));
            findings.problem(self.properties.problem(&property::SSL_PROTOCOL, expected));
        }
        let Some(mut versions) = enabled.filter(|versions| !versions.is_empty()) else {
            findings.problem(self.properties.problem(setting, expected));
            return vec![TlsVersion::V1_2, TlsVersion::V1_3];
        };
        if newest == Some(TlsVersion::V1_2) {
            versions.retain(|version| *version == TlsVersion::V1_2);
        }
        if versions.is_empty() {
            let problem = self
                .properties
                .problem(setting, "a version not above the newest one");
            findings.problem(problem.with(
                self.variable(&property::SSL_PROTOCOL),
                TlsVersion::V1_2.as_str(),
            ));
        }
        versions
    }

    fn sasl(&self, protocol: SecurityProtocol, findings: &mut Findings) -> Option<UpstreamSasl> {
        let mechanism = self.mechanism(protocol, findings);
        let jaas = mechanism.and_then(|mechanism| self.jaas(mechanism, findings));
        if mechanism.is_none() && self.properties.text(&property::SASL_JAAS_CONFIG).is_none() {
            findings.problem(self.unset(
                &property::SASL_JAAS_CONFIG,
                "a login module with its options",
            ));
        }
        let (mechanism, jaas) = (mechanism?, jaas?);
        let oauth = match &jaas {
            Jaas::OAuthBearer {
                client_id,
                client_secret,
                scope,
                extensions,
                unsecured,
            } => Some(self.oauth(
                OAuthClient {
                    token_endpoint: TokenEndpoint::Unsecured(unsecured.clone()),
                    client_id: client_id.clone(),
                    client_secret: client_secret.clone(),
                    scope: scope.clone(),
                    extensions: extensions.clone(),
                    connect_timeout: None,
                    read_timeout: None,
                    retry_backoff: self.properties.millis(&property::LOGIN_RETRY_BACKOFF),
                    retry_backoff_max: self.properties.millis(&property::LOGIN_RETRY_BACKOFF_MAX),
                    refresh_window_factor:
                        self.properties.decimal(&property::REFRESH_WINDOW_FACTOR),
                    refresh_window_jitter:
                        self.properties.decimal(&property::REFRESH_WINDOW_JITTER),
                    refresh_min_period: self.properties.seconds(&property::REFRESH_MIN_PERIOD),
                    refresh_buffer: self.properties.seconds(&property::REFRESH_BUFFER),
                    sub_claim_name: self.properties.text_or_default(&property::SUB_CLAIM_NAME),
                    scope_claim_name: self.properties.text_or_default(&property::SCOPE_CLAIM_NAME),
                },
                findings,
            )?),
            Jaas::Plain { .. } | Jaas::Scram { .. } => None,
        };
        Some(UpstreamSasl {
            mechanism,
            jaas,
            oauth,
        })
    }

    fn mechanism(
        &self,
        protocol: SecurityProtocol,
        findings: &mut Findings,
    ) -> Option<SaslMechanism> {
        let setting = &property::SASL_MECHANISM;
        let expected = format!("one of {}", SaslMechanism::WORDS.join(", "));
        let Some(text) = self.properties.text(setting).map(str::trim) else {
            findings.problem(
                self.unset(setting, expected)
                    .with(
                        self.variable(&property::SECURITY_PROTOCOL),
                        protocol.as_str(),
                    )
                    .hint("GSSAPI, Kafka's default, is not available in this version."),
            );
            return None;
        };
        let mechanism = SaslMechanism::parse(text);
        if mechanism.is_none() && setting.kind.check(text).is_ok() {
            let hint = format!(
                "{} is not available in this version.",
                text.to_ascii_uppercase()
            );
            findings.problem(self.properties.problem(setting, expected).hint(hint));
        }
        mechanism
    }

    fn jaas(&self, mechanism: SaslMechanism, findings: &mut Findings) -> Option<Jaas> {
        let setting = &property::SASL_JAAS_CONFIG;
        let Some(text) = self.properties.text(setting) else {
            findings.problem(self.unset(
                setting,
                format!("a login module for {mechanism} with its options"),
            ));
            return None;
        };
        match Jaas::parse(text, mechanism) {
            Ok(jaas) => Some(jaas),
            Err(error) => {
                findings.problem(self.properties.problem(setting, error.to_string()));
                None
            }
        }
    }

    /// Completes `client`, which knows the options for unsecured tokens only, with the token endpoint and its time limits.
    fn oauth(&self, mut client: OAuthClient, findings: &mut Findings) -> Option<OAuthClient> {
        let setting = &property::TOKEN_ENDPOINT_URL;
        let Some(url) = self.properties.text(setting).map(str::trim) else {
            if matches!(&client.token_endpoint, TokenEndpoint::Unsecured(options) if !options.is_empty())
            {
                findings.warn(format!(
                    "{}: tokens without a signature are for development only",
                    self.variable(&property::SASL_JAAS_CONFIG)
                ));
                return Some(client);
            }
            findings.problem(self.unset(setting, "the URL of a token endpoint, or a file: URL"));
            return None;
        };
        if setting.kind.check(url).is_err() {
            return None;
        }
        client.token_endpoint = endpoint(url);
        if matches!(client.token_endpoint, TokenEndpoint::Url(_)) {
            for (option, present) in [
                ("clientId", client.client_id.is_some()),
                ("clientSecret", client.client_secret.is_some()),
            ] {
                if !present {
                    let problem = self
                        .properties
                        .problem(&property::SASL_JAAS_CONFIG, format!("the option {option}"));
                    findings.problem(problem.with(self.variable(setting), url));
                }
            }
        }
        let given = |setting| {
            self.properties
                .text(setting)
                .map(|_| self.properties.millis(setting))
        };
        client.connect_timeout = given(&property::LOGIN_CONNECT_TIMEOUT);
        client.read_timeout = given(&property::LOGIN_READ_TIMEOUT);
        Some(client)
    }
}

/// `file:/x`, `file:///x` and `file://localhost/x` name the same file.
fn endpoint(url: &str) -> TokenEndpoint {
    match url
        .get(..5)
        .filter(|scheme| scheme.eq_ignore_ascii_case("file:"))
        .and_then(|_| url.get(5..))
    {
        Some(rest) => {
            let path = rest
                .strip_prefix("//localhost")
                .or_else(|| rest.strip_prefix("//"))
                .unwrap_or(rest);
            TokenEndpoint::File(PathBuf::from(path))
        }
        None => TokenEndpoint::Url(url.to_owned()),
    }
}

/// `[PROTOCOL://]host:port` with an IPv6 address in brackets.
fn host_port(item: &str) -> Option<HostPort> {
    let address = item.split_once("://").map_or(item, |(_, address)| address);
    let (host, port) = address.rsplit_once(':')?;
    let (host, port) = (host.trim(), whole_number(port)?);
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let port = u16::try_from(port).ok().filter(|port| *port > 0)?;
    is_host(host).then(|| HostPort {
        host: host.to_owned(),
        port,
    })
}

fn readable(path: &std::path::Path) -> std::io::Result<()> {
    if File::open(path)?.metadata()?.is_dir() {
        return Err(std::io::Error::other("it is a directory"));
    }
    Ok(())
}

/// A warning for clusters that this version knows but does not use.
pub(crate) fn tell_unused(others: &[Cluster], findings: &mut Findings) {
    for cluster in others {
        findings.warn(format!(
            "cluster {} ({} or {}): recognised, but this version does not connect to it yet",
            cluster.id,
            cluster.variable_for(property::BOOTSTRAP_SERVERS.name),
            gateway::CLUSTER_SELECTOR.name,
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (item, host, port) in [
            ("localhost:9092", "localhost", 9092),
            (
                "SASL_SSL://kafka-1.example.com:9093",
                "kafka-1.example.com",
                9093,
            ),
            ("[::1]:1", "::1", 1),
            ("kafka_1: 9092", "kafka_1", 9092),
        ] {
            assert_eq!(
                host_port(item),
                Some(HostPort {
                    host: host.into(),
                    port
                }),
                "{item}"
            );
        }
        for item in [
            "localhost",
            "localhost:",
            ":9092",
            "localhost:0",
            "localhost:65536",
            "local host:1",
            "a:b:1",
        ] {
            assert_eq!(host_port(item), None, "{item}");
        }
        assert_eq!(
            HostPort {
                host: "::1".into(),
                port: 1
            }
            .to_string(),
            "[::1]:1"
        );
    }

    #[test]
    fn token_endpoints() {
        for url in ["file:/t", "file:///t", "FILE://localhost/t"] {
            assert_eq!(endpoint(url), TokenEndpoint::File("/t".into()), "{url}");
        }
        assert_eq!(
            endpoint("https://idp/t"),
            TokenEndpoint::Url("https://idp/t".into())
        );
    }
}
