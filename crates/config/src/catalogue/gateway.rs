//! The variables with a fixed name, section by section.

use super::{Kind, Section, Setting, settings};
use crate::model::{ClientAuth, LogLayout, PoolKind, SecurityMode};

const LONG_MS: Kind = Kind::Int {
    min: 0,
    max: i64::MAX,
};
const POSITIVE_MS: Kind = Kind::Int {
    min: 1,
    max: i64::MAX,
};
const BYTES: Kind = Kind::POSITIVE;
const STORE: Kind = Kind::Word(&["jks", "pkcs12", "p12", "pem"]);
const HTTPS_CLIENT_AUTH: Kind = Kind::Word(&["NONE", "REQUEST", "REQUIRED", "OPTIONAL", "REQUIRE"]);
const REPLICATION: Kind = Kind::Int {
    min: -1,
    max: i16::MAX as i64,
};
const DEPRECATED_NETWORK: &str = "the `GATEWAY_LISTENER_*` variables";

/// Every variable, in the order of the documentation.
pub const SECTIONS: &[Section] = &[
    Section {
        title: "Files",
        intro: "",
        settings: FILES,
    },
    Section {
        title: "Identity and load balancing",
        intro: "",
        settings: IDENTITY,
    },
    Section {
        title: "Listeners",
        intro: "One block per listener, see [listener blocks](#listener-blocks). In listener mode nothing is inferred: \
                `GATEWAY_SECURITY_MODE` is needed.",
        settings: LISTENERS,
    },
    Section {
        title: "Older network variables",
        intro: "They give one listener named `DEFAULT`, and are ignored as soon as any `GATEWAY_LISTENER_*` is set.",
        settings: LEGACY,
    },
    Section {
        title: "Upstream connections",
        intro: "",
        settings: UPSTREAM,
    },
    Section {
        title: "Admin port",
        intro: "",
        settings: HTTP,
    },
    Section {
        title: "Client security",
        intro: "",
        settings: SECURITY,
    },
    Section {
        title: "TLS towards clients",
        intro: "These stores concern clients only; TLS towards Kafka is set by `KAFKA_SSL_*`.",
        settings: CLIENT_TLS,
    },
    Section {
        title: "OAUTHBEARER checked by the gateway",
        intro: "",
        settings: OAUTH,
    },
    Section {
        title: "Principals from Confluent Cloud",
        intro: "",
        settings: RESOLVER,
    },
    Section {
        title: "Backing clusters",
        intro: "",
        settings: BACKING,
    },
    Section {
        title: "Limits, idle time, shutdown",
        intro: "",
        settings: LIMITS,
    },
    Section {
        title: "Internal state",
        intro: "Topic names default to `_conduktor_<cluster id>_<suffix>`, as users of the settings above may be used to. Their content is this program's own: it reads what it has written itself.",
        settings: STATE,
    },
    Section {
        title: "Audit log and data quality",
        intro: "",
        settings: AUDIT,
    },
    Section {
        title: "Metrics",
        intro: "",
        settings: METRICS,
    },
    Section {
        title: "Metrics pushed by OTLP",
        intro: "The variables of OpenTelemetry, with their usual meaning. Nothing is pushed unless an endpoint is set.",
        settings: OTLP,
    },
    Section {
        title: "Logging",
        intro: "Each level variable steers the log targets named beside it. Levels: `off`, `fatal` (same as `error`), \
                `error`, `warn`, `info`, `debug`, `trace`, `all` (same as `trace`), in any case.",
        settings: LOGGING,
    },
    Section {
        title: "Other",
        intro: "",
        settings: OTHER,
    },
    Section {
        title: "Removed",
        intro: "A warning when set, otherwise ignored.",
        settings: REMOVED,
    },
];

settings! { FILES:
    ENV_FILE = Setting::new("GATEWAY_ENV_FILE", Kind::Path,
        "File with lines `KEY=value` that win over the process environment. Unreadable: a warning. A malformed line: refused. \
         The command line's `--env-file` takes its place.");
    CONFIG_FILE = Setting::new("GATEWAY_CONFIG_FILE", Kind::Path,
        "YAML file with the paths that stand beside some variables here. The environment wins. Unknown paths are refused.");
}

settings! { IDENTITY:
    CLUSTER_ID = Setting::new("GATEWAY_CLUSTER_ID", Kind::Token,
        "Identity shared by the nodes of one gateway cluster; part of all internal names.").default("gateway").path("gatewayClusterId");
    GROUP_ID = Setting::new("GATEWAY_GROUP_ID", Kind::Text,
        "Kafka group by which the nodes find each other.").computed("`conduktor_` and the cluster id").not_yet();
    INTERNAL_LOAD_BALANCING = Setting::new("GATEWAY_FEATURE_FLAGS_INTERNAL_LOAD_BALANCING", Kind::Bool,
        "Nodes name each other to clients in order to spread connections.").default("true").not_yet_unless("false");
    RACK_ID = Setting::new("GATEWAY_RACK_ID", Kind::Text, "Rack of this node, as `broker.rack`: when another broker has to stand in, one of this rack is preferred.");
}

settings! { LISTENERS:
    LISTENER_NAMES = Setting::new("GATEWAY_LISTENER_NAMES", Kind::List(','),
        "If set, each listed name must have a block, and each block must be listed.").computed("every name found");
}

settings! { LEGACY:
    ADVERTISED_HOST = Setting::new("GATEWAY_ADVERTISED_HOST", Kind::Host,
        "Host name handed to clients.").computed("host name of the machine").deprecated(DEPRECATED_NETWORK)
        .path("hostPortConfiguration.advertisedHost");
    ROUTING_MECHANISM = Setting::new("GATEWAY_ROUTING_MECHANISM", Kind::Word(&["port", "host", "sni"]),
        "How a connection finds its broker; `host` and `sni` mean the server name of TLS, and need `SSL` or `SASL_SSL`.")
        .default("port").deprecated(DEPRECATED_NETWORK).path("routing");
    PORT_START = Setting::new("GATEWAY_PORT_START", Kind::PORT, "First port.").default("6969").deprecated(DEPRECATED_NETWORK)
        .path("hostPortConfiguration.portStart");
    PORT_COUNT = Setting::new("GATEWAY_PORT_COUNT", Kind::Int { min: 1, max: 65_535 },
        "Number of ports; the last one is at most 65535.")
        .computed("(highest broker id − `GATEWAY_MIN_BROKERID`) + 3, at start").deprecated(DEPRECATED_NETWORK)
        .path("hostPortConfiguration.portCount");
    BIND_HOST = Setting::new("GATEWAY_BIND_HOST", Kind::Host, "Address to bind.").default("0.0.0.0").deprecated(DEPRECATED_NETWORK)
        .path("hostPortConfiguration.bindHost");
    ADVERTISED_SNI_PORT = Setting::new("GATEWAY_ADVERTISED_SNI_PORT", Kind::PORT,
        "Advertised port with SNI routing.").computed("`GATEWAY_PORT_START`").path("hostPortConfiguration.advertisedSniPort");
    ADVERTISED_HOST_PREFIX = Setting::new("GATEWAY_ADVERTISED_HOST_PREFIX", Kind::Text,
        "First part of broker names with SNI routing; characters of a DNS label.").default("broker")
        .path("hostPortConfiguration.hostPrefix");
    SNI_HOST_SEPARATOR = Setting::new("GATEWAY_SNI_HOST_SEPARATOR", Kind::Text,
        "Between the parts of broker names with SNI routing; not a digit.").default("-")
        .path("hostPortConfiguration.sniHostSeparator");
    LEGACY_SECURITY_PROTOCOL = Setting::new("GATEWAY_SECURITY_PROTOCOL",
        Kind::Word(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL", "DELEGATED_SASL_PLAINTEXT", "DELEGATED_SASL_SSL"]),
        "Protocol spoken with clients.")
        .computed("inferred from the protocol towards Kafka").deprecated(DEPRECATED_NETWORK).path("authenticationConfig.securityProtocol");
    MIN_BROKERID = Setting::new("GATEWAY_MIN_BROKERID", Kind::Int { min: 0, max: i32::MAX as i64 },
        "Node id served by the first port, in every mode. Brokers with a lower id have no port: an error is logged, and clients do not see them. Refused at start if no broker has a port.").default("0")
        .path("hostPortConfiguration.minBrokerId");
}

settings! { UPSTREAM:
    POOL_TYPE = Setting::new("GATEWAY_UPSTREAM_CONNECTION_POOL_TYPE", Kind::Word(PoolKind::WORDS),
        "`NONE`: one upstream connection per client connection. `ROUND_ROBIN`: a fixed number is shared. Always `NONE` with `KAFKA_MANAGED`.")
        .default("NONE");
    NUM_CONNECTION = Setting::new("GATEWAY_UPSTREAM_NUM_CONNECTION", Kind::Int { min: 1, max: 1000 },
        "Shared connections per broker and worker; only with `ROUND_ROBIN`.").default("10");
    UPSTREAM_THREAD = Setting::new("GATEWAY_UPSTREAM_THREAD", Kind::Int { min: 1, max: 1024 },
        "Worker threads; the larger of the two numbers counts.").computed("number of CPUs");
    DOWNSTREAM_THREAD = Setting::new("GATEWAY_DOWNSTREAM_THREAD", Kind::Int { min: 1, max: 1024 },
        "Worker threads; the larger of the two numbers counts.").computed("number of CPUs");
}

settings! { HTTP:
    HTTP_PORT = Setting::new("GATEWAY_HTTP_PORT", Kind::PORT,
        "Port of health checks and the admin API. Must not lie among the local ports of a listener.").default("8888");
    SECURED_METRICS = Setting::new("GATEWAY_SECURED_METRICS", Kind::Bool,
        "`false` opens `/metrics` to everyone.").default("true");
    ADMIN_API_USERS = Setting::new("GATEWAY_ADMIN_API_USERS", Kind::Yaml,
        "List of `{username, password, admin}`. `admin: true` may write, otherwise read only.")
        .computed("one user `admin` with a well-known password");
    HTTPS_KEY_STORE_PATH = Setting::new("GATEWAY_HTTPS_KEY_STORE_PATH", Kind::Path,
        "Switches HTTPS on.");
    HTTPS_KEY_STORE_PASSWORD = Setting::new("GATEWAY_HTTPS_KEY_STORE_PASSWORD", Kind::Secret, "Its password.");
    HTTPS_CLIENT_AUTH_MODE = Setting::new("GATEWAY_HTTPS_CLIENT_AUTH", HTTPS_CLIENT_AUTH,
        "Whether callers need a certificate.").default("NONE");
    HTTPS_TRUST_STORE_PATH = Setting::new("GATEWAY_HTTPS_TRUST_STORE_PATH", Kind::Path, "What caller certificates are checked against.");
    HTTPS_TRUST_STORE_PASSWORD = Setting::new("GATEWAY_HTTPS_TRUST_STORE_PASSWORD", Kind::Secret, "Its password.");
}

settings! { SECURITY:
    SECURITY_MODE = Setting::new("GATEWAY_SECURITY_MODE", Kind::Word(SecurityMode::WORDS),
        "Who checks credentials. Needed in listener mode.")
        .computed("listener mode: none; else inferred").path("authenticationConfig.securityMode");
    ACL_ENABLED = Setting::new("GATEWAY_ACL_ENABLED", Kind::Bool,
        "Access control on the passthrough virtual cluster.")
        .computed("`true` when a listener can authenticate and the mode is `GATEWAY_MANAGED`, except in zero-config mode");
    SUPER_USERS = Setting::new("GATEWAY_SUPER_USERS", Kind::List(';'),
        "Users that no access control applies to. `,` separates them as well, except in an item with `=`, which is the name of a certificate.").computed("user names of `GATEWAY_ADMIN_API_USERS`");
    ACL_STORE_ENABLED = Setting::new("GATEWAY_ACL_STORE_ENABLED", Kind::Bool,
        "Was a switch for access control lists of virtual clusters.").removed("access control lists of the virtual cluster resource");
    MANDATORY_VCLUSTER = Setting::new("GATEWAY_FEATURE_FLAGS_MANDATORY_VCLUSTER", Kind::Bool,
        "Rejects clients that belong to no named virtual cluster.").default("false");
    VCLUSTERS_STRICT = Setting::new("GATEWAY_VIRTUAL_CLUSTERS_STRICT", Kind::Bool,
        "Refuses a new virtual cluster if its name is the beginning of another's, or the other way round. For tenants that do not trust each other.").default("false");
    AUTO_CREATE_TOPICS = Setting::new("GATEWAY_AUTO_CREATE_TOPICS_ENABLED", Kind::Bool,
        "Honours topic creation asked for by metadata requests.").default("false");
    MAX_REAUTH = Setting::new("GATEWAY_AUTHENTICATION_CONNECTION_MAX_REAUTH_MS", LONG_MS,
        "Clients must authenticate again after this; 0 is never.").default("0");
    USER_POOL_SECRET_KEY = Setting::new("GATEWAY_USER_POOL_SECRET_KEY", Kind::Secret,
        "Signing key of local accounts: base64 of at least 32 bytes.");
    SERVICE_ACCOUNT_REQUIRED = Setting::new("GATEWAY_USER_POOL_SERVICE_ACCOUNT_REQUIRED", Kind::Bool,
        "Always `true`.").removed("nothing: service accounts are always required");
    SECURITY_PROVIDER = Setting::new("GATEWAY_SECURITY_PROVIDER",
        Kind::Word(&["DEFAULT", "BOUNCY_CASTLE", "BOUNCY_CASTLE_FIPS", "CONSCRYPT"]),
        "Only `DEFAULT` has a meaning. `BOUNCY_CASTLE_FIPS` is refused, because running without FIPS would be wrong; the others give a warning.")
        .default("DEFAULT");
}

settings! { CLIENT_TLS:
    SSL_KEY_STORE_PATH = Setting::new("GATEWAY_SSL_KEY_STORE_PATH", Kind::Path, "Certificate chain and private key.")
        .path("authenticationConfig.sslConfig.keyStore.keyStorePath");
    SSL_KEY_STORE_PASSWORD = Setting::new("GATEWAY_SSL_KEY_STORE_PASSWORD", Kind::Secret, "Its password.")
        .path("authenticationConfig.sslConfig.keyStore.keyStorePassword");
    SSL_KEY_PASSWORD = Setting::new("GATEWAY_SSL_KEY_PASSWORD", Kind::Secret, "Password of the key in the store.")
        .computed("the store's password").path("authenticationConfig.sslConfig.keyStore.keyPassword");
    SSL_KEY_TYPE = Setting::new("GATEWAY_SSL_KEY_TYPE", STORE, "Declared format; the content decides.").default("jks")
        .path("authenticationConfig.sslConfig.keyStore.keyStoreType");
    SSL_UPDATE_INTERVAL = Setting::new("GATEWAY_SSL_UPDATE_CONTEXT_INTERVAL_MINUTES", Kind::POSITIVE,
        "How often the files are looked at again.").default("5").path("authenticationConfig.sslConfig.updateContextIntervalMinutes");
    SSL_TRUST_STORE_PATH = Setting::new("GATEWAY_SSL_TRUST_STORE_PATH", Kind::Path, "What client certificates are checked against.")
        .path("authenticationConfig.sslConfig.trustStore.trustStorePath");
    SSL_TRUST_STORE_PASSWORD = Setting::new("GATEWAY_SSL_TRUST_STORE_PASSWORD", Kind::Secret, "Its password.")
        .path("authenticationConfig.sslConfig.trustStore.trustStorePassword");
    SSL_TRUST_STORE_TYPE = Setting::new("GATEWAY_SSL_TRUST_STORE_TYPE", STORE, "Declared format; the content decides.").default("jks")
        .path("authenticationConfig.sslConfig.trustStore.trustStoreType");
    SSL_CLIENT_AUTH = Setting::new("GATEWAY_SSL_CLIENT_AUTH", Kind::Word(ClientAuth::WORDS),
        "Whether clients are asked for a certificate; in listener mode the default of each block.").default("NONE");
    PRINCIPAL_MAPPING_RULES = Setting::new("GATEWAY_SSL_PRINCIPAL_MAPPING_RULES", Kind::Text,
        "From a certificate's subject to a principal's name.").default("DEFAULT");
}

settings! { OAUTH:
    OAUTH_JWKS_URL = Setting::new("GATEWAY_OAUTH_JWKS_URL", Kind::Url, "Key set that tokens are checked against; unset switches the mechanism off.");
    OAUTH_EXPECTED_ISSUER = Setting::new("GATEWAY_OAUTH_EXPECTED_ISSUER", Kind::Text, "Issuer that tokens must name.");
    OAUTH_EXPECTED_AUDIENCES = Setting::new("GATEWAY_OAUTH_EXPECTED_AUDIENCES", Kind::List(','),
        "Audiences of which tokens must name one; surrounding brackets are dropped.");
    OAUTH_JWKS_REFRESH = Setting::new("GATEWAY_OAUTH_JWKS_REFRESH", POSITIVE_MS, "How often the key set is fetched again, in ms.").default("3600000");
    OAUTH_JWKS_RETRY = Setting::new("GATEWAY_OAUTH_JWKS_RETRY", LONG_MS, "First pause after a failed fetch, in ms.").default("100");
    OAUTH_JWKS_MAX_RETRY = Setting::new("GATEWAY_OAUTH_JWKS_MAX_RETRY", LONG_MS,
        "Longest pause after failed fetches, in ms; not below `GATEWAY_OAUTH_JWKS_RETRY`.").default("10000");
    OAUTH_SCOPE_CLAIM = Setting::new("GATEWAY_OAUTH_SCOPE_CLAIM_NAME", Kind::Text, "Claim that holds the scope.").default("scope");
    OAUTH_SUB_CLAIM = Setting::new("GATEWAY_OAUTH_SUB_CLAIM_NAME", Kind::Text, "Claim that holds the principal's name.").default("sub");
    OAUTH_USE_CC_POOL_ID = Setting::new("GATEWAY_OAUTH_USE_CC_POOL_ID", Kind::Bool,
        "With Confluent Cloud: the identity pool is the principal.").default("false");
}

settings! { RESOLVER:
    PRINCIPAL_RESOLVER = Setting::new("GATEWAY_PRINCIPAL_RESOLVER", Kind::Word(&["CONFLUENT", "CONFLUENT_CLOUD"]),
        "Finds the owner of an API key; with `KAFKA_MANAGED`.").not_yet().path("authenticationConfig.principalResolver");
    CONFLUENT_API_KEY = Setting::new("GATEWAY_CONFLUENT_CLOUD_API_KEY", Kind::Secret, "Credentials for that.").not_yet()
        .path("authenticationConfig.confluentCloud.apiKey");
    CONFLUENT_API_SECRET = Setting::new("GATEWAY_CONFLUENT_CLOUD_API_SECRET", Kind::Secret, "Credentials for that.").not_yet()
        .path("authenticationConfig.confluentCloud.apiSecret");
    CONFLUENT_CACHE_SIZE = Setting::new("GATEWAY_CONFLUENT_CLOUD_CACHE_SIZE", Kind::POSITIVE, "Remembered owners.").default("1000").not_yet()
        .path("authenticationConfig.confluentCloud.cacheSize");
    CONFLUENT_CACHE_EXPIRY = Setting::new("GATEWAY_CONFLUENT_CLOUD_CACHE_EXPIRY_MS", POSITIVE_MS, "How long they are remembered.").default("86400000").not_yet()
        .path("authenticationConfig.confluentCloud.cacheExpiryMs");
}

settings! { BACKING:
    CLUSTER_SELECTOR = Setting::new("GATEWAY_BACKEND_KAFKA_SELECTOR", Kind::Yaml,
        "`file: { path: <file> }` names the [cluster file](#cluster-file). Clusters besides `main` are checked, but this version does not connect to them.");
}

settings! { LIMITS:
    CONNECTIONS_MAX_IDLE = Setting::new("GATEWAY_CONNECTIONS_MAX_IDLE_MS", POSITIVE_MS, "A silent client is closed after this.").default("600000");
    MAX_CONNECTIONS = Setting::new("GATEWAY_MAX_CONNECTIONS", Kind::POSITIVE, "Client connections of this process; each may have one to a broker, too.").computed("half of the open files that the system allows (the hard limit, `ulimit -Hn`), a reserve of a quarter, at most 1024, aside");
    MAX_CONNECTIONS_PER_IP = Setting::new("GATEWAY_MAX_CONNECTIONS_PER_IP", Kind::POSITIVE, "Client connections from one address.").computed("unlimited");
    MAX_CONNECTION_CREATION_RATE = Setting::new("GATEWAY_MAX_CONNECTION_CREATION_RATE", Kind::POSITIVE, "New connections per second and listener.").computed("unlimited");
    SOCKET_REQUEST_MAX_BYTES = Setting::new("GATEWAY_SOCKET_REQUEST_MAX_BYTES", BYTES, "The largest request.").default("104857600");
    SASL_MAX_RECEIVE = Setting::new("GATEWAY_SASL_SERVER_MAX_RECEIVE_SIZE", BYTES, "The largest request before authentication.").default("524288");
    FAILED_AUTHENTICATION_DELAY = Setting::new("GATEWAY_CONNECTION_FAILED_AUTHENTICATION_DELAY_MS", LONG_MS, "Pause before a failed authentication is answered.").default("100");
    UNAUTHENTICATED_TIMEOUT = Setting::new("GATEWAY_UNAUTHENTICATED_TIMEOUT_MS", POSITIVE_MS, "TLS handshake and SASL must be done within this.").default("30000");
    MAX_IN_FLIGHT = Setting::new("GATEWAY_MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION", Kind::Int { min: 1, max: 65_535 },
        "Requests without an answer; then the client's socket is not read.").default("100");
    MAX_BUFFERED_BYTES = Setting::new("GATEWAY_MAX_BUFFERED_BYTES", Kind::Int { min: 1_048_576, max: i64::MAX },
        "Bytes held for all clients; then sockets are not read.").computed("a quarter of the memory limit");
    SHUTDOWN_DELAY = Setting::new("GATEWAY_SHUTDOWN_DELAY_BETWEEN_BROKERS_MS", LONG_MS,
        "Pause after the connections of each broker were closed; at least 1000 suits librdkafka.").default("0");
    SHUTDOWN_DRAIN_TIMEOUT = Setting::new("GATEWAY_SHUTDOWN_DRAIN_TIMEOUT_MS", LONG_MS, "How long answers in flight are waited for.").default("10000");
    STARTUP_KAFKA_TIMEOUT = Setting::new("GATEWAY_STARTUP_KAFKA_TIMEOUT_MS", POSITIVE_MS, "How long to try to reach the backing cluster at start.").default("300000");
}

settings! { STATE:
    STORE_TTL = Setting::new("GATEWAY_STORE_TTL_MS", POSITIVE_MS, "Full refresh of the state.").default("604800000");
    STORE_REPLICATION_FACTOR = Setting::new("GATEWAY_TOPIC_STORE_KCACHE_REPLICATION_FACTOR", REPLICATION, "Replicas of state topics; -1 is the brokers' default.").default("-1");
    STORE_WITHOUT_AUTHENTICATION = Setting::new("GATEWAY_STORE_WITHOUT_AUTHENTICATION", Kind::Bool,
        "Whether resources are kept, and state topics created, also where no listener authenticates clients and there are no access control lists. \
         `false` is for clusters in which the gateway may not create topics: the admin API then refuses resources.").default("true");
    LICENSE_TOPIC = Setting::new("GATEWAY_LICENSE_TOPIC", Kind::Topic, "Reserved.").computed("…`_license`").ignored("no licence is needed");
    TOPIC_MAPPINGS_TOPIC = Setting::new("GATEWAY_TOPIC_MAPPINGS_TOPIC", Kind::Topic, "Aliases and concentrated topics.").computed("…`_topicmappings`");
    USER_MAPPINGS_TOPIC = Setting::new("GATEWAY_USER_MAPPINGS_TOPIC", Kind::Topic, "Service accounts.").computed("…`_usermappings`");
    CONSUMER_OFFSETS_TOPIC = Setting::new("GATEWAY_CONSUMER_OFFSETS_TOPIC", Kind::Topic, "Offsets on concentrated topics.").computed("…`_consumer_offsets`").not_yet();
    INTERCEPTOR_CONFIGS_TOPIC = Setting::new("GATEWAY_INTERCEPTOR_CONFIGS_TOPIC", Kind::Topic, "Interceptors.").computed("…`_interceptor_configs`");
    ENCRYPTION_CONFIGS_TOPIC = Setting::new("GATEWAY_ENCRYPTION_CONFIGS_TOPIC", Kind::Topic, "Encryption settings.").computed("…`_encryption_configs`").not_yet();
    ACLS_TOPIC = Setting::new("GATEWAY_ACLS_TOPIC", Kind::Topic, "Access control lists.").computed("…`_acls`");
    AUDIT_LOG_TOPIC = Setting::new("GATEWAY_AUDIT_LOG_TOPIC", Kind::Topic, "Audit log.").computed("…`_auditlogs`").not_yet();
    VCLUSTERS_TOPIC = Setting::new("GATEWAY_VCLUSTERS_TOPIC", Kind::Topic, "Virtual clusters.").computed("…`_vclusters`");
    GROUPS_TOPIC = Setting::new("GATEWAY_GROUPS_TOPIC", Kind::Topic, "Groups of service accounts.").computed("…`_groups`");
    ENCRYPTION_KEYS_TOPIC = Setting::new("GATEWAY_ENCRYPTION_KEYS_TOPIC", Kind::Topic, "Wrapped keys.").computed("…`_encryption_keys`").not_yet();
    DATA_QUALITY_TOPIC = Setting::new("GATEWAY_DATA_QUALITY_TOPIC", Kind::Topic, "Violations of data quality rules.").computed("…`_data_quality_violation`").not_yet();
}

settings! { AUDIT:
    FEATURE_AUDIT = Setting::new("GATEWAY_FEATURE_FLAGS_AUDIT", Kind::Bool, "Whether the audit log is written.").default("true").not_yet_unless("false");
    AUDIT_EVENT_TYPES = Setting::new("GATEWAY_AUDIT_LOG_EVENT_TYPES", Kind::List(','),
        "`ALL`, or some of `AUTHENTICATION`, `CONNECTION`, `REST_API`, `SAFEGUARD`.").default("ALL").not_yet();
    AUDIT_SPEC_VERSION = Setting::new("GATEWAY_AUDIT_LOG_CONFIG_SPEC_VERSION", Kind::Text, "Version of the event format.").default("0.1.0").not_yet();
    AUDIT_BACKING_TOPIC = Setting::new("GATEWAY_AUDIT_LOG_SERVICE_BACKING_TOPIC", Kind::Topic, "Older name.").removed("GATEWAY_AUDIT_LOG_TOPIC");
    AUDIT_REPLICATION_FACTOR = Setting::new("GATEWAY_AUDIT_LOG_REPLICATION_FACTOR_OF_TOPIC", REPLICATION, "Replicas of its topic.").default("-1").not_yet();
    AUDIT_PARTITIONS = Setting::new("GATEWAY_AUDIT_LOG_NUM_PARTITIONS_OF_TOPIC", Kind::Int { min: -1, max: i32::MAX as i64 }, "Partitions of its topic.").default("-1").not_yet();
    DQ_REPLICATION_FACTOR = Setting::new("GATEWAY_DATA_QUALITY_TOPIC_REPLICATION_FACTOR", REPLICATION, "Replicas of the violations topic.").computed("the brokers' default").not_yet();
    DQ_PARTITIONS = Setting::new("GATEWAY_DATA_QUALITY_TOPIC_PARTITIONS", Kind::Int { min: -1, max: i32::MAX as i64 }, "Partitions of it.").computed("the brokers' default").not_yet();
    DQ_RETENTION = Setting::new("GATEWAY_DATA_QUALITY_TOPIC_RETENTION_HOUR", Kind::POSITIVE, "Hours that violations are kept.").default("168").not_yet();
}

settings! { METRICS:
    LIFECYCLE_METRICS = Setting::new("GATEWAY_FEATURE_FLAGS_LIFECYCLE_METRICS", Kind::Bool, "Timers of the stages that each request passes.").default("false");
    LIFECYCLE_API_KEYS = Setting::new("GATEWAY_LIFECYCLE_METRICS_API_KEYS", Kind::List(','), "Which requests they cover, as `Produce` or `PRODUCE`; all if empty.");
    LIFECYCLE_INTERCEPTORS = Setting::new("GATEWAY_LIFECYCLE_METRICS_INTERCEPTORS", Kind::Text, "Whether they cover interceptors.").not_yet();
    METRICS_MAX_TOPICS = Setting::new("GATEWAY_METRICS_MAX_TOPICS", Kind::COUNT,
        "Topics with series of their own in `gateway_bytes_exchanged_topic_total`; more are counted under `<other>`.").default("5000");
    METRICS_MAX_OFFSET_SERIES = Setting::new("GATEWAY_METRICS_MAX_OFFSET_SERIES", Kind::COUNT,
        "Series of ends of partitions, and as many of committed offsets; more are dropped.").default("20000");
    METRICS_OFFSET_PARTITIONS = Setting::new("GATEWAY_METRICS_OFFSET_PARTITIONS", Kind::Bool,
        "`false` shows the offsets of a topic as one sum, without the label `partition`.").default("true");
    METRICS_TOPIC_ALLOW = Setting::new("GATEWAY_METRICS_TOPIC_ALLOW", Kind::Pattern,
        "Topics to show, by the names that clients use; those only, and whatever the caps.").computed("all, within the caps");
    METRICS_TOPIC_DENY = Setting::new("GATEWAY_METRICS_TOPIC_DENY", Kind::Pattern,
        "Topics not to show; their bytes are counted under `<other>`.").default("__(consumer_offsets|transaction_state|share_group_state|cluster_metadata)");
    METRICS_GROUP_ALLOW = Setting::new("GATEWAY_METRICS_GROUP_ALLOW", Kind::Pattern,
        "Groups to show; those only, and whatever the caps.").computed("all, within the caps");
    METRICS_GROUP_DENY = Setting::new("GATEWAY_METRICS_GROUP_DENY", Kind::Pattern, "Groups not to show.");
    METRICS_MAX_USERS = Setting::new("GATEWAY_METRICS_MAX_USERS", Kind::COUNT, "Users with series of their own; more are counted under `<other>`.").default("1000");
    METRICS_MAX_VCLUSTERS = Setting::new("GATEWAY_METRICS_MAX_VCLUSTERS", Kind::COUNT, "Virtual clusters with series of their own; more are counted under `<other>`.").default("500");
    METRICS_OFFSET_POLL = Setting::new("GATEWAY_METRICS_OFFSET_POLL_MS", Kind::COUNT,
        "How often Kafka is asked for its groups and their offsets, and for the ends of topics that clients or groups have used; `0`: never, and only what clients do is shown.").default("30000");
    METRICS_TOPIC_ENABLED = Setting::new("GATEWAY_METRICS_TOPIC_ENABLED", Kind::Bool, "Bytes by topic.").default("true");
    METRICS_OFFSETS_ENABLED = Setting::new("GATEWAY_METRICS_OFFSETS_ENABLED", Kind::Bool, "Offsets and lag.").default("true");
    METRICS_USER_ENABLED = Setting::new("GATEWAY_METRICS_USER_ENABLED", Kind::Bool, "Series per user. Without, all are counted under `<other>`.").default("true");
}

settings! { OTLP:
    OTLP_ENDPOINT = Setting::new("OTEL_EXPORTER_OTLP_ENDPOINT", Kind::Url, "A collector, to which `/v1/metrics` is added. Switches the push of metrics on.");
    OTLP_METRICS_ENDPOINT = Setting::new("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", Kind::Url,
        "Where metrics are sent, as it stands here; wins over `OTEL_EXPORTER_OTLP_ENDPOINT`.");
    OTLP_HEADERS = Setting::new("OTEL_EXPORTER_OTLP_HEADERS", Kind::Secret,
        "Headers of each request: `name=value,name=value`, values percent-encoded.");
    OTLP_METRICS_HEADERS = Setting::new("OTEL_EXPORTER_OTLP_METRICS_HEADERS", Kind::Secret, "The same for metrics; wins.");
    OTLP_PROTOCOL = Setting::new("OTEL_EXPORTER_OTLP_PROTOCOL", Kind::Text,
        "Only `http/protobuf` is spoken; with an endpoint, anything else is refused.").default("http/protobuf");
    OTLP_METRICS_PROTOCOL = Setting::new("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", Kind::Text, "The same for metrics; wins.")
        .computed("`OTEL_EXPORTER_OTLP_PROTOCOL`");
    OTLP_TIMEOUT = Setting::new("OTEL_EXPORTER_OTLP_TIMEOUT", POSITIVE_MS, "For the answer to a request, in ms.").default("10000");
    OTLP_METRICS_TIMEOUT = Setting::new("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", POSITIVE_MS, "The same for metrics; wins.")
        .computed("`OTEL_EXPORTER_OTLP_TIMEOUT`");
    OTLP_CERTIFICATE = Setting::new("OTEL_EXPORTER_OTLP_CERTIFICATE", Kind::Path, "Whom to trust with `https`: a file with certificates.")
        .computed("the roots of the system");
    OTLP_METRICS_CERTIFICATE = Setting::new("OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", Kind::Path, "The same for metrics; wins.")
        .computed("`OTEL_EXPORTER_OTLP_CERTIFICATE`");
    OTLP_COMPRESSION = Setting::new("OTEL_EXPORTER_OTLP_COMPRESSION", Kind::Word(&["none", "gzip"]), "Bodies are sent as they are.")
        .default("none").not_yet_unless("none");
    OTLP_INTERVAL = Setting::new("OTEL_METRIC_EXPORT_INTERVAL", POSITIVE_MS, "Between two pushes, in ms.").default("60000");
    OTLP_EXPORTER = Setting::new("OTEL_METRICS_EXPORTER", Kind::List(','),
        "A list without `otlp` switches the push off in spite of an endpoint; other exporters are not known here.").default("otlp");
    OTLP_DISABLED = Setting::new("OTEL_SDK_DISABLED", Kind::Bool, "`true` switches the push off in spite of an endpoint.").default("false");
    OTLP_SERVICE_NAME = Setting::new("OTEL_SERVICE_NAME", Kind::Text, "Attribute `service.name` of what is pushed.").default("sluicegate");
    OTLP_RESOURCE = Setting::new("OTEL_RESOURCE_ATTRIBUTES", Kind::Text,
        "More attributes: `name=value,name=value`, values percent-encoded. `service.instance.id` is host name and admin port unless it is given.");
}

settings! { pub(crate) LOGGING:
    LOG_LAYOUT = Setting::new("LOG4J2_APPENDER_LAYOUT", Kind::Word(LogLayout::WORDS), "Text or one JSON object a line, to standard output.").default("pattern");
    LOG_TIME_FORMAT = Setting::new("LOG4J2_TIME_FORMAT", Kind::Text,
        "Time stamp, in UTC: `yyyy`, `MM`, `dd`, `HH`, `mm`, `ss`, `SSS` (up to `SSSSSSSSS`), `Z` (`+0000`), `X`, `XXX`, text in `'quotes'`.")
        .default("yyyy-MM-dd'T'HH:mm:ss.SSSZ");
    LOG_ROOT = Setting::new("LOG4J2_ROOT_LEVEL", Kind::Level, "Everything that no other variable steers.").default("info");
    LOG_GATEWAY = Setting::new("LOG4J2_IO_CONDUKTOR_LEVEL", Kind::Level, "`sluicegate`: all code of the gateway.").default("info");
    LOG_NETWORK = Setting::new("LOG4J2_IO_CONDUKTOR_PROXY_NETWORK_LEVEL", Kind::Level, "`sluicegate::network`: connections, routing, authentication.").default("info");
    LOG_AUTHORIZATION = Setting::new("LOG4J2_IO_CONDUKTOR_PROXY_AUTHORIZATION_LEVEL", Kind::Level, "`sluicegate::authorization`: decisions of access control.").default("info");
    LOG_SERVICE = Setting::new("LOG4J2_IO_CONDUKTOR_PROXY_SERVICE_LEVEL", Kind::Level, "`sluicegate::service`: services and interceptors.").default("info");
    LOG_REBUILD = Setting::new("LOG4J2_IO_CONDUKTOR_PROXY_REBUILDER_COMPONENTS_LEVEL", Kind::Level, "`sluicegate::rebuild`: rewriting; response payloads at `debug`.").default("info");
    LOG_THREAD = Setting::new("LOG4J2_IO_CONDUKTOR_PROXY_THREAD_LEVEL", Kind::Level, "`sluicegate::thread`: inside the workers.").default("warn");
    LOG_UPSTREAM = Setting::new("LOG4J2_IO_CONDUKTOR_UPSTREAM_THREAD_LEVEL", Kind::Level, "`sluicegate::upstream`: forwarding; requests sent at `trace`.").default("info");
    LOG_KAFKA = Setting::new("LOG4J2_ORG_APACHE_KAFKA_LEVEL", Kind::Level, "`sluicegate::kafka`: the gateway's own Kafka client.").default("warn");
    LOG_STATE = Setting::new("LOG4J2_IO_KCACHE_LEVEL", Kind::Level, "`sluicegate::state`: the state store.").default("warn");
    LOG_HTTP = Setting::new("LOG4J2_IO_VERTX_LEVEL", Kind::Level, "`sluicegate::http`: the admin port.").default("warn");
    LOG_SOCKET = Setting::new("LOG4J2_IO_NETTY_LEVEL", Kind::Level, "`sluicegate::socket`, `rustls`, `hyper`: sockets and TLS.").default("error");
    LOG_METRICS = Setting::new("LOG4J2_IO_MICROMETER_LEVEL", Kind::Level, "`sluicegate::metrics`: metrics.").default("error");
    LOG_CONFIGURATION_FILE = Setting::new("LOG4J2_CONFIGURATION_FILE", Kind::Path, "Log4j2 files are not read.").removed("the `LOG4J2_*_LEVEL` variables");
}

settings! { OTHER:
    INTERCEPTOR_CONFIG_LOCATION = Setting::new("GATEWAY_INTERCEPTOR_CONFIG_LOCATION", Kind::Path, "File with a JSON array of interceptors loaded at start.").not_yet();
    LICENSE_KEY = Setting::new("GATEWAY_LICENSE_KEY", Kind::Secret, "Accepted and not needed.").ignored("no licence is needed");
    FEATURE_ANALYTICS = Setting::new("GATEWAY_FEATURE_FLAGS_ANALYTICS", Kind::Bool, "No data is ever sent.").ignored("no data is ever sent");
    ADMIN_USERNAME = Setting::new("GATEWAY_ADMIN_USERNAME", Kind::Text, "For other programs in the same deployment.").ignored("for other programs");
    ADMIN_PASSWORD = Setting::new("GATEWAY_ADMIN_PASSWORD", Kind::Secret, "For other programs in the same deployment.").ignored("for other programs");
    DEPLOYED_BY = Setting::new("DEPLOYED_BY", Kind::Text, "Label `deploymentMethod` of `gateway_lived_event_info`.");
    JAVA_TOOL_OPTIONS = Setting::new("JAVA_TOOL_OPTIONS", Kind::Text,
        "Of a Java deployment; the trust store named there is meant for token endpoints.").not_yet();
    CDK_LISTENING_PORT = Setting::new("CDK_LISTENING_PORT", Kind::Text, "For the health check of a container image.").ignored("for other programs");
}

settings! { REMOVED:
    MODE = Setting::new("GATEWAY_MODE", Kind::Text, "").removed("GATEWAY_SECURITY_MODE");
    START_PORT = Setting::new("GATEWAY_START_PORT", Kind::Text, "").removed("GATEWAY_PORT_START");
    MULTI_TENANCY = Setting::new("GATEWAY_FEATURE_FLAGS_MULTI_TENANCY", Kind::Text, "").removed("virtual clusters, which are always available");
    CONSUMER_SUBSCRIPTIONS_TOPIC = Setting::new("GATEWAY_CONSUMER_SUBSCRIPTIONS_TOPIC", Kind::Text, "").removed("GATEWAY_CONSUMER_OFFSETS_TOPIC");
    ADVERTISED_LISTENER = Setting::new("GATEWAY_ADVERTISED_LISTENER", Kind::Text, "").removed("GATEWAY_ADVERTISED_HOST");
}
