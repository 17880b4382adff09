//! The effective configuration: plain data, every default and inference applied.

use std::path::PathBuf;
use std::time::Duration;

use regex::Regex;

use crate::upstream::Upstream;
use crate::words::word_enum;
use crate::{ports::PortPlan, secret::Secret};

/// Everything the process needs to know before it talks to anyone.
#[derive(Clone, Debug)]
pub struct Config {
    /// `GATEWAY_CLUSTER_ID`: the identity shared by the nodes of one gateway cluster.
    pub cluster_id: String,
    /// `GATEWAY_GROUP_ID`: the Kafka group by which nodes find each other.
    pub group_id: String,
    /// Listeners and how clients reach them.
    pub network: Network,
    /// Who authenticates clients and what applies to them.
    pub security: ClientSecurity,
    /// The backing clusters.
    pub upstream: Upstream,
    /// How upstream connections are shared.
    pub pool: Pool,
    /// Data-plane worker threads, at least 1.
    pub workers: usize,
    /// Bounds on what clients may use.
    pub limits: Limits,
    /// The admin port.
    pub http: Http,
    /// The resources kept in Kafka.
    pub state: StateTopics,
    /// Which metrics there are.
    pub metrics: MetricsLimits,
    /// `DEPLOYED_BY`: how the gateway was deployed.
    pub deployed_by: Option<String>,
    /// Series of topics and groups.
    pub topic_metrics: TopicMetrics,
    /// Where metrics are pushed; `None`: nowhere.
    pub otlp: Option<crate::Otlp>,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// `GATEWAY_STARTUP_KAFKA_TIMEOUT_MS`: how long to try to reach the backing cluster at start.
    pub startup_kafka_timeout: Duration,
    /// Logs.
    pub logging: Logging,
}

/// Which metrics there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsLimits {
    /// `GATEWAY_METRICS_USER_ENABLED`: whether users have series of their own.
    pub users: bool,
    /// `GATEWAY_METRICS_MAX_USERS`: user names with series of their own.
    pub max_users: usize,
    /// `GATEWAY_METRICS_MAX_VCLUSTERS`: virtual clusters with series of their own.
    pub max_vclusters: usize,
    /// `GATEWAY_LIFECYCLE_METRICS_API_KEYS`: the requests whose stages are timed, none meaning all; `None`: off.
    pub lifecycle: Option<Vec<String>>,
}

impl Config {
    /// Whether resources are kept in topics of the cluster. They are wherever the admin port takes any; only where no client can be
    /// anybody the operator may do without.
    pub fn keeps_state(&self) -> bool {
        self.state.without_authentication || !self.can_do_without_state()
    }

    /// Whether no client can be anybody, so that there is no use for accounts and access control lists.
    pub fn can_do_without_state(&self) -> bool {
        !self.security.acl_enabled && !self.network.listeners.iter().any(Listener::authenticates)
    }
}

/// Series of topics and groups.
#[derive(Clone, Debug)]
pub struct TopicMetrics {
    /// `GATEWAY_METRICS_TOPIC_ENABLED`: bytes by topic.
    pub bytes: bool,
    /// `GATEWAY_METRICS_OFFSETS_ENABLED`: offsets and lag.
    pub offsets: bool,
    /// `GATEWAY_METRICS_MAX_TOPICS`: topics whose bytes have series of their own.
    pub max_topics: usize,
    /// `GATEWAY_METRICS_MAX_OFFSET_SERIES`: series of ends, and of committed offsets.
    pub max_offset_series: usize,
    /// `GATEWAY_METRICS_OFFSET_PARTITIONS`: whether offsets are shown by partition.
    pub partitions: bool,
    /// `GATEWAY_METRICS_TOPIC_ALLOW`, `GATEWAY_METRICS_TOPIC_DENY`.
    pub topics: NameFilter,
    /// `GATEWAY_METRICS_GROUP_ALLOW`, `GATEWAY_METRICS_GROUP_DENY`.
    pub groups: NameFilter,
    /// `GATEWAY_METRICS_OFFSET_POLL_MS`; `None`: never.
    pub poll: Option<Duration>,
}

/// Patterns that whole names have to match.
#[derive(Clone, Debug, Default)]
pub struct NameFilter {
    /// `None`: all.
    pub allow: Option<Regex>,
    /// `None`: none.
    pub deny: Option<Regex>,
}

/// Where clients connect.
#[derive(Clone, Debug)]
pub struct Network {
    /// How the listeners were declared.
    pub mode: NetworkMode,
    /// At least one; legacy and zero-config give one named `DEFAULT`.
    pub listeners: Vec<Listener>,
    /// `GATEWAY_MIN_BROKERID`: the node id served by the first port.
    pub min_broker_id: i32,
    /// `GATEWAY_FEATURE_FLAGS_INTERNAL_LOAD_BALANCING`.
    pub internal_load_balancing: bool,
    /// `GATEWAY_RACK_ID`.
    pub rack: Option<String>,
}

word_enum! {
    /// How the listeners were declared, detected once from the environment.
    pub enum NetworkMode {
        /// Any `GATEWAY_LISTENER_*` is set.
        Listener = "listener",
        /// No listener variable, but one of the older network variables.
        Legacy = "legacy",
        /// Neither: for development.
        ZeroConfig = "zero-config",
    }
}

word_enum! {
    /// The four Kafka security protocols.
    pub enum SecurityProtocol {
        /// No encryption, no authentication.
        Plaintext = "PLAINTEXT",
        /// TLS, possibly with client certificates.
        Ssl = "SSL",
        /// SASL authentication without encryption.
        SaslPlaintext = "SASL_PLAINTEXT",
        /// SASL over TLS.
        SaslSsl = "SASL_SSL",
    }
}

impl SecurityProtocol {
    /// Whether connections are encrypted.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    /// Whether connections authenticate by SASL.
    pub fn is_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

word_enum! {
    /// How a connection finds its broker.
    pub enum Routing {
        /// By the port it arrived on.
        Port = "port",
        /// By the server name of the TLS handshake.
        Sni = "sni",
    }
}

word_enum! {
    /// Whether a TLS listener asks for a client certificate.
    pub enum ClientAuth {
        /// Never asked for.
        None = "NONE",
        /// Asked for, not needed.
        Optional = "OPTIONAL",
        /// Needed.
        Require = "REQUIRE",
    }
}

/// One listener: a set of local ports that share protocol and routing.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Upper case; `DEFAULT` outside listener mode.
    pub name: String,
    /// The protocol spoken with clients.
    pub protocol: SecurityProtocol,
    /// How a connection finds its broker.
    pub routing: Routing,
    /// IP address or host name to bind.
    pub bind_address: String,
    /// The host name handed to clients.
    pub advertised_host: String,
    /// Advertised and local ports.
    pub ports: PortPlan,
    /// The SNI side; `Some` exactly when `routing` is [`Routing::Sni`].
    pub sni: Option<SniNames>,
    /// Client certificates; [`ClientAuth::None`] without TLS.
    pub client_auth: ClientAuth,
    /// The variable that decides `bind_address`, for messages.
    pub bind_variable: String,
    /// The variable that decides `ports`, for messages; outside listener mode the one for their number.
    pub ports_variable: String,
}

impl Listener {
    /// Whether a client of this listener can be somebody.
    pub fn authenticates(&self) -> bool {
        self.protocol.is_sasl() || self.client_auth != ClientAuth::None
    }
}

/// Host names of a listener with SNI routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SniNames {
    /// Holds `{{nodeId}}` exactly once, perhaps `{{clusterId}}`.
    pub advertised_host_pattern: String,
    /// The name that reaches any broker.
    pub bootstrap_host_pattern: String,
}

word_enum! {
    /// Who checks the credentials of clients.
    pub enum SecurityMode {
        /// The gateway does.
        GatewayManaged = "GATEWAY_MANAGED",
        /// The backing cluster does; the gateway relays.
        KafkaManaged = "KAFKA_MANAGED",
    }
}

/// What applies to all listeners.
#[derive(Clone, Debug)]
pub struct ClientSecurity {
    /// Who checks credentials.
    pub mode: SecurityMode,
    /// Whether mode or protocol were inferred rather than given.
    pub inferred: bool,
    /// Effective `GATEWAY_ACL_ENABLED`.
    pub acl_enabled: bool,
    /// `GATEWAY_SUPER_USERS`, defaulting to the admin user names.
    pub super_users: Vec<String>,
    /// `GATEWAY_FEATURE_FLAGS_MANDATORY_VCLUSTER`.
    pub mandatory_vcluster: bool,
    /// `GATEWAY_VIRTUAL_CLUSTERS_STRICT`: of two names of virtual clusters none may be the beginning of the other.
    pub strict_vclusters: bool,
    /// `GATEWAY_AUTO_CREATE_TOPICS_ENABLED`.
    pub auto_create_topics: bool,
    /// `GATEWAY_AUTHENTICATION_CONNECTION_MAX_REAUTH_MS`; `None` when 0.
    pub max_reauth: Option<Duration>,
    /// `GATEWAY_USER_POOL_SECRET_KEY`, base64 of at least 32 bytes.
    pub token_signing_key: Option<Secret>,
    /// Key and trust stores towards clients.
    pub tls: ClientTls,
    /// `GATEWAY_OAUTH_*`; `None` without a key set URL.
    pub oauth: Option<OAuthServer>,
    /// `GATEWAY_OAUTH_USE_CC_POOL_ID`: with `KAFKA_MANAGED`, the identity pool of a relayed OAUTHBEARER exchange is the
    /// principal.
    pub use_pool_id: bool,
}

/// `GATEWAY_SSL_*`: TLS towards clients.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// Certificate chain and private key.
    pub key_store: Option<Store>,
    /// Password of the key in the store; the store's own when unset.
    pub key_password: Option<Secret>,
    /// Certificates that client certificates are checked against.
    pub trust_store: Option<Store>,
    /// How often the files are looked at again.
    pub reload_interval: Duration,
    /// `GATEWAY_SSL_PRINCIPAL_MAPPING_RULES`, unparsed.
    pub principal_mapping_rules: String,
}

/// `GATEWAY_OAUTH_*`: OAUTHBEARER checked by the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthServer {
    /// `http(s)` or `file` URL of the key set.
    pub jwks_url: String,
    /// Unchecked when `None`.
    pub expected_issuer: Option<String>,
    /// Unchecked when empty.
    pub expected_audiences: Vec<String>,
    /// How often the key set is fetched again.
    pub jwks_refresh: Duration,
    /// First pause after a failed fetch.
    pub jwks_retry: Duration,
    /// Longest pause after failed fetches.
    pub jwks_max_retry: Duration,
    /// The claim that holds the scope.
    pub scope_claim_name: String,
    /// The claim that holds the principal's name.
    pub sub_claim_name: String,
}

/// A file holding keys or certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Where it lies.
    pub path: PathBuf,
    /// Its password.
    pub password: Option<Secret>,
    /// The declared format. The content decides: Java writes PKCS#12 into files called `.jks`.
    pub kind: Option<StoreKind>,
}

word_enum! {
    /// The declared format of a store.
    pub enum StoreKind {
        /// Java key store.
        Jks = "JKS",
        /// PKCS#12.
        Pkcs12 = "PKCS12",
        /// PEM text.
        Pem = "PEM",
    }
}

word_enum! {
    /// How upstream connections are shared between clients.
    pub enum PoolKind {
        /// One private upstream connection per client connection.
        None = "NONE",
        /// A fixed number of shared connections per broker and worker.
        RoundRobin = "ROUND_ROBIN",
    }
}

/// How upstream connections are shared between clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// `GATEWAY_UPSTREAM_CONNECTION_POOL_TYPE`.
    pub kind: PoolKind,
    /// `GATEWAY_UPSTREAM_NUM_CONNECTION`: per broker and worker, 1 to 1000; only for [`PoolKind::RoundRobin`].
    pub connections: u16,
}

/// Bounds on what clients may use. All sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `GATEWAY_SOCKET_REQUEST_MAX_BYTES`: the largest request frame.
    pub max_request_bytes: usize,
    /// `GATEWAY_MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION`, at least 1.
    pub max_in_flight_per_connection: usize,
    /// `GATEWAY_MAX_CONNECTIONS`; by default as many as there are open files for.
    pub max_connections: u32,
    /// `GATEWAY_MAX_CONNECTIONS_PER_IP`; `None` is unlimited.
    pub max_connections_per_ip: Option<u32>,
    /// `GATEWAY_MAX_CONNECTION_CREATION_RATE`: per second and listener; `None` is unlimited.
    pub max_connection_creation_rate: Option<u32>,
    /// `GATEWAY_CONNECTIONS_MAX_IDLE_MS`: a silent client is closed after this.
    pub connections_max_idle: Duration,
    /// `GATEWAY_MAX_BUFFERED_BYTES`: for the whole process; by default a quarter of the memory limit.
    pub max_buffered_bytes: u64,
    /// `GATEWAY_UNAUTHENTICATED_TIMEOUT_MS`: TLS handshake and SASL must be done within this.
    pub unauthenticated_timeout: Duration,
    /// `GATEWAY_SASL_SERVER_MAX_RECEIVE_SIZE`: the largest frame before authentication.
    pub sasl_max_receive: usize,
    /// `GATEWAY_CONNECTION_FAILED_AUTHENTICATION_DELAY_MS`: pause before a failed authentication is answered.
    pub failed_authentication_delay: Duration,
}

/// The compacted topics that hold the gateway's resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateTopics {
    /// `GATEWAY_USER_MAPPINGS_TOPIC`: service accounts.
    pub accounts: String,
    /// `GATEWAY_ACLS_TOPIC`: access control lists.
    pub acls: String,
    /// `GATEWAY_VCLUSTERS_TOPIC`: virtual clusters.
    pub vclusters: String,
    /// `GATEWAY_TOPIC_MAPPINGS_TOPIC`: alias topics.
    pub topic_mappings: String,
    /// `GATEWAY_GROUPS_TOPIC`: groups of service accounts.
    pub groups: String,
    /// `GATEWAY_INTERCEPTOR_CONFIGS_TOPIC`: interceptors.
    pub interceptor_configs: String,
    /// `GATEWAY_TOPIC_STORE_KCACHE_REPLICATION_FACTOR`; -1 is the brokers' default.
    pub replication_factor: i16,
    /// `GATEWAY_STORE_TTL_MS`: everything is read again after this.
    pub refresh_interval: Duration,
    /// `GATEWAY_STORE_WITHOUT_AUTHENTICATION`: whether anything is kept where no client is authenticated.
    pub without_authentication: bool,
}

impl StateTopics {
    /// The names of all of them.
    pub fn names(&self) -> [&str; 6] {
        let StateTopics {
            accounts,
            acls,
            vclusters,
            topic_mappings,
            groups,
            interceptor_configs,
            replication_factor: _,
            refresh_interval: _,
            without_authentication: _,
        } = self;
        [
            accounts,
            acls,
            vclusters,
            topic_mappings,
            groups,
            interceptor_configs,
        ]
    }
}

/// The admin port.
#[derive(Clone, Debug)]
pub struct Http {
    /// `GATEWAY_HTTP_PORT`.
    pub port: u16,
    /// `GATEWAY_SECURED_METRICS`: whether `/metrics` asks for credentials.
    pub secured_metrics: bool,
    /// `GATEWAY_ADMIN_API_USERS`.
    pub users: Vec<AdminUser>,
    /// HTTPS; `None` is plain HTTP.
    pub tls: Option<HttpsTls>,
}

/// One user of the admin API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminUser {
    /// Not empty, unique.
    pub username: String,
    /// Not empty.
    pub password: Secret,
    /// Read and write; otherwise read only.
    pub admin: bool,
}

/// `GATEWAY_HTTPS_*`.
#[derive(Clone, Debug)]
pub struct HttpsTls {
    /// Certificate chain and private key.
    pub key_store: Store,
    /// Whether callers need a certificate.
    pub client_auth: ClientAuth,
    /// What caller certificates are checked against.
    pub trust_store: Option<Store>,
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// `GATEWAY_SHUTDOWN_DELAY_BETWEEN_BROKERS_MS`: pause after each broker's clients were closed.
    pub delay_between_brokers: Duration,
    /// `GATEWAY_SHUTDOWN_DRAIN_TIMEOUT_MS`: how long answers in flight are waited for.
    pub drain_timeout: Duration,
}

word_enum! {
    /// The form of a log line.
    pub enum LogLayout {
        /// Text for people.
        Pattern = "pattern",
        /// One JSON object a line.
        Json = "json",
    }
}

word_enum! {
    /// From silent to everything.
    pub enum LogLevel {
        /// Nothing.
        Off = "off",
        /// Failures.
        Error = "error",
        /// Things to look at.
        Warn = "warn",
        /// Milestones.
        Info = "info",
        /// Decisions.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

/// Logs, to standard output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// `LOG4J2_APPENDER_LAYOUT`.
    pub layout: LogLayout,
    /// `LOG4J2_TIME_FORMAT`, in Java's pattern letters.
    pub time_format: String,
    /// `LOG4J2_ROOT_LEVEL`.
    pub root: LogLevel,
    /// Every other `LOG4J2_*_LEVEL` variable with its level, in the order of the catalogue.
    pub levels: Vec<(&'static str, LogLevel)>,
}
