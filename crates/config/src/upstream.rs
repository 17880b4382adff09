//! The backing clusters: what `KAFKA_*` and the cluster file come to.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::jaas::Jaas;
use crate::model::{SecurityProtocol, Store};
use crate::secret::Secret;
use crate::words::word_enum;

/// All backing clusters.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The cluster that every gateway has; its id is `main`.
    pub main: Cluster,
    /// Further clusters, sorted by id.
    pub others: Vec<Cluster>,
}

word_enum! {
    /// What a further cluster is for.
    pub enum Role {
        /// Serves its own topics.
        Upstream = "upstream",
        /// Takes the place of another cluster.
        Failover = "failover",
    }
}

/// One backing cluster and how the gateway speaks with it.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// `main`, or lower case when it comes from the environment.
    pub id: String,
    /// What it is for.
    pub role: Role,
    /// At least one; names are resolved when they are used.
    pub bootstrap_servers: Vec<HostPort>,
    /// Encryption and authentication.
    pub security: UpstreamSecurity,
    /// `client.id` of the gateway's own connections; `None` is `gateway-<cluster>-<node>`.
    pub client_id: Option<String>,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`: for the first attempt.
    pub connection_setup_timeout: Duration,
    /// `socket.connection.setup.timeout.max.ms`: attempts back off up to this.
    pub connection_setup_timeout_max: Duration,
    /// `reconnect.backoff.ms`.
    pub reconnect_backoff: Duration,
    /// `reconnect.backoff.max.ms`.
    pub reconnect_backoff_max: Duration,
    /// `retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `metadata.max.age.ms`: the broker list is refreshed at least this often.
    pub metadata_max_age: Duration,
    /// `connections.max.idle.ms`, for the gateway's own and shared connections.
    pub connections_max_idle: Duration,
    /// `send.buffer.bytes`; `None` leaves it to the system.
    pub send_buffer: Option<u32>,
    /// `receive.buffer.bytes`; `None` leaves it to the system.
    pub receive_buffer: Option<u32>,
    /// Where each given property came from.
    pub(crate) origins: BTreeMap<String, String>,
    /// `KAFKA_` or `KAFKA_<ID>_`, for properties that were not given.
    pub(crate) prefix: String,
}

impl Cluster {
    /// The name under which an operator sets `property` (`ssl.truststore.location`): the variable as it was given, or the
    /// one to set. For a property out of the cluster file: its place in that file.
    pub fn variable_for(&self, property: &str) -> String {
        match self.origins.get(property) {
            Some(origin) => origin.clone(),
            None => format!(
                "{}{}",
                self.prefix,
                property.to_ascii_uppercase().replace('.', "_")
            ),
        }
    }
}

/// A name or address with a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Host name or IP address, without brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Encryption and authentication towards one cluster.
#[derive(Clone, Debug)]
pub struct UpstreamSecurity {
    /// `security.protocol`.
    pub protocol: SecurityProtocol,
    /// `Some` exactly when the protocol encrypts.
    pub tls: Option<UpstreamTls>,
    /// `Some` exactly when the protocol authenticates by SASL.
    pub sasl: Option<UpstreamSasl>,
}

/// `ssl.*` towards one cluster.
#[derive(Clone, Debug)]
pub struct UpstreamTls {
    /// Certificates to trust, as a file. System roots when neither this nor `truststore_pem` is given.
    pub truststore: Option<Store>,
    /// `ssl.truststore.certificates`: PEM text.
    pub truststore_pem: Option<String>,
    /// Certificate chain and key for mutual TLS, as a file.
    pub keystore: Option<Store>,
    /// `ssl.keystore.key`: PEM text.
    pub keystore_key_pem: Option<Secret>,
    /// `ssl.keystore.certificate.chain`: PEM text.
    pub keystore_chain_pem: Option<String>,
    /// `ssl.key.password`.
    pub key_password: Option<Secret>,
    /// `false` only when `ssl.endpoint.identification.algorithm` is empty.
    pub verify_hostname: bool,
    /// Protocol versions to offer, at least one.
    pub protocols: Vec<TlsVersion>,
    /// `ssl.cipher.suites` as given; empty leaves the choice to the library.
    pub cipher_suites: Vec<String>,
}

word_enum! {
    /// Offered TLS versions.
    pub enum TlsVersion {
        /// TLS 1.2.
        V1_2 = "TLSv1.2",
        /// TLS 1.3.
        V1_3 = "TLSv1.3",
    }
}

word_enum! {
    /// How the gateway authenticates towards a cluster.
    pub enum SaslMechanism {
        /// RFC 4616.
        Plain = "PLAIN",
        /// RFC 7677.
        ScramSha256 = "SCRAM-SHA-256",
        /// RFC 7677 with SHA-512.
        ScramSha512 = "SCRAM-SHA-512",
        /// RFC 7628, KIP-255 and KIP-768.
        OAuthBearer = "OAUTHBEARER",
    }
}

/// `sasl.*` towards one cluster.
#[derive(Clone, Debug)]
pub struct UpstreamSasl {
    /// `sasl.mechanism`.
    pub mechanism: SaslMechanism,
    /// `sasl.jaas.config`; the variant fits the mechanism.
    pub jaas: Jaas,
    /// `Some` exactly for [`SaslMechanism::OAuthBearer`].
    pub oauth: Option<OAuthClient>,
}

/// Where a bearer token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenEndpoint {
    /// An `http` or `https` URL, asked with the client-credentials grant.
    Url(String),
    /// A file that holds the token, read again for every login.
    File(PathBuf),
    /// None: tokens without a signature are made of these `unsecuredLogin...` options of the JAAS text, for
    /// development (KIP-255).
    Unsecured(Vec<(String, String)>),
}

/// How tokens are fetched and kept fresh (KIP-768).
#[derive(Clone, Debug, PartialEq)]
pub struct OAuthClient {
    /// `sasl.oauthbearer.token.endpoint.url`.
    pub token_endpoint: TokenEndpoint,
    /// JAAS `clientId`; `Some` for [`TokenEndpoint::Url`].
    pub client_id: Option<String>,
    /// JAAS `clientSecret`; `Some` for [`TokenEndpoint::Url`].
    pub client_secret: Option<Secret>,
    /// JAAS `scope`.
    pub scope: Option<String>,
    /// JAAS `extension_<name>`: sent to the broker with the token (KIP-342).
    pub extensions: Vec<(String, String)>,
    /// `sasl.login.connect.timeout.ms`; `None` leaves it to the implementation.
    pub connect_timeout: Option<Duration>,
    /// `sasl.login.read.timeout.ms`; `None` leaves it to the implementation.
    pub read_timeout: Option<Duration>,
    /// `sasl.login.retry.backoff.ms`.
    pub retry_backoff: Duration,
    /// `sasl.login.retry.backoff.max.ms`.
    pub retry_backoff_max: Duration,
    /// `sasl.login.refresh.window.factor`: 0.5 to 1.0 of the token's life.
    pub refresh_window_factor: f64,
    /// `sasl.login.refresh.window.jitter`: 0.0 to 0.25.
    pub refresh_window_jitter: f64,
    /// `sasl.login.refresh.min.period.seconds`.
    pub refresh_min_period: Duration,
    /// `sasl.login.refresh.buffer.seconds`.
    pub refresh_buffer: Duration,
    /// `sasl.oauthbearer.sub.claim.name`.
    pub sub_claim_name: String,
    /// `sasl.oauthbearer.scope.claim.name`.
    pub scope_claim_name: String,
}
