//! What a test may ask of a cluster.

use crate::Release;
use std::path::PathBuf;

/// Brokers, versions and settings of a [`KafkaCluster`](super::KafkaCluster).
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    pub(super) release: Release,
    pub(super) node_ids: Vec<i32>,
    pub(super) racks: bool,
    pub(super) users: Vec<(String, String)>,
    pub(super) properties: Vec<(String, String)>,
    pub(super) java_options: Vec<String>,
    pub(super) classes: Vec<PathBuf>,
}

impl ClusterOptions {
    /// Three combined brokers and controllers with ids 1, 2, 3.
    pub fn new(release: Release) -> ClusterOptions {
        ClusterOptions {
            release,
            node_ids: vec![1, 2, 3],
            racks: false,
            users: USERS
                .map(|(name, password)| (name.to_owned(), password.to_owned()))
                .to_vec(),
            properties: Vec::new(),
            java_options: Vec::new(),
            classes: Vec::new(),
        }
    }

    /// Node ids to start with; also sets the number of brokers.
    pub fn node_ids(mut self, ids: &[i32]) -> ClusterOptions {
        self.node_ids = ids.to_vec();
        self
    }

    /// Puts every broker into a rack of its own, `rack-<node id>`.
    pub fn racks(mut self) -> ClusterOptions {
        self.racks = true;
        self
    }

    /// A further user for SASL PLAIN and SCRAM.
    pub fn user(mut self, name: &str, password: &str) -> ClusterOptions {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// A broker property; overrides what the kit sets.
    pub fn property(mut self, key: &str, value: &str) -> ClusterOptions {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    /// An option of the brokers' Java virtual machines, such as a `-D` property.
    pub fn java_option(mut self, option: &str) -> ClusterOptions {
        self.java_options.push(option.to_owned());
        self
    }

    /// A folder of classes for the brokers, such as that of [`programs::policies`](crate::programs::policies).
    pub fn classes(mut self, dir: PathBuf) -> ClusterOptions {
        self.classes.push(dir);
        self
    }

    /// Checks SASL OAUTHBEARER tokens against a key set instead of accepting unsigned ones.
    pub fn jwks(self, file: &std::path::Path, issuer: &str, audience: &str) -> ClusterOptions {
        let url = format!("file://{}", file.display());
        let mut options = self
            .java_option(&format!(
                "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={url}"
            ))
            .java_option(&format!(
                "-Dorg.apache.kafka.sasl.oauthbearer.allowed.files={}",
                file.display()
            ))
            .property("sasl.oauthbearer.jwks.endpoint.url", &url)
            .property("sasl.oauthbearer.expected.issuer", issuer)
            .property("sasl.oauthbearer.expected.audience", audience);
        for listener in ["sasl_plaintext", "sasl_ssl"] {
            options = options.property(
                &format!("listener.name.{listener}.oauthbearer.sasl.server.callback.handler.class"),
                "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler",
            );
        }
        options
    }
}

/// Users that every cluster knows, with their passwords.
pub const USERS: [(&str, &str); 2] = [("admin", "admin-secret"), ("alice", "alice-secret")];

/// The brokers' listeners for clients. Every cluster has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Listener {
    /// No TLS, no SASL.
    Plaintext,
    /// TLS; no client certificate asked.
    Ssl,
    /// TLS with a client certificate.
    MutualTls,
    /// SASL (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER) without TLS.
    SaslPlaintext,
    /// The same over TLS.
    SaslSsl,
    /// No TLS, no SASL; every connection passes through a [`Relay`](crate::Relay) of the test process, and the brokers
    /// advertise the relays' addresses.
    Relayed,
}

impl Listener {
    /// All of them.
    pub const ALL: [Listener; 6] = [
        Listener::Plaintext,
        Listener::Ssl,
        Listener::MutualTls,
        Listener::SaslPlaintext,
        Listener::SaslSsl,
        Listener::Relayed,
    ];

    /// Name in the brokers' configuration.
    pub(super) fn name(self) -> &'static str {
        match self {
            Listener::Plaintext => "PLAINTEXT",
            Listener::Ssl => "SSL",
            Listener::MutualTls => "MTLS",
            Listener::SaslPlaintext => "SASL_PLAINTEXT",
            Listener::SaslSsl => "SASL_SSL",
            Listener::Relayed => "RELAYED",
        }
    }

    /// The security protocol a client uses.
    pub fn security_protocol(self) -> &'static str {
        match self {
            Listener::Plaintext | Listener::Relayed => "PLAINTEXT",
            Listener::Ssl | Listener::MutualTls => "SSL",
            Listener::SaslPlaintext => "SASL_PLAINTEXT",
            Listener::SaslSsl => "SASL_SSL",
        }
    }
}
