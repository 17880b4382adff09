//! Kafka client properties with a meaning here: `KAFKA_<PROPERTY>` and `KAFKA_<ID>_<PROPERTY>`.

use super::{Kind, Setting, settings};
use crate::model::StoreKind;
use crate::upstream::Role;

const MS: Kind = Kind::Int {
    min: 0,
    max: i64::MAX,
};
const POSITIVE_MS: Kind = Kind::Int {
    min: 1,
    max: i32::MAX as i64,
};
const BUFFER: Kind = Kind::Int {
    min: -1,
    max: i32::MAX as i64,
};
const STORE: Kind = Kind::Word(&["JKS", "PKCS12", "P12", "PEM"]);

/// `sasl.mechanism`: the last two are recognised in order to be refused with a clear sentence.
pub(crate) const MECHANISMS: &[&str] = &[
    "PLAIN",
    "SCRAM-SHA-256",
    "SCRAM-SHA-512",
    "OAUTHBEARER",
    "AWS_MSK_IAM",
    "GSSAPI",
];

settings! {
    /// Kafka client properties, by property name.
    pub PROPERTIES:
    BOOTSTRAP_SERVERS = Setting::new("bootstrap.servers", Kind::List(','),
        "`[PROTOCOL://]host:port`, separated by commas. Needed for `main`.").required();
    CLIENT_DNS_LOOKUP = Setting::new("client.dns.lookup",
        Kind::Word(&["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"]),
        "All addresses of a name are tried, whichever is given.").default("use_all_dns_ips");
    SECURITY_PROTOCOL = Setting::new("security.protocol", Kind::PROTOCOL,
        "Encryption and authentication towards the cluster.").default("PLAINTEXT");
    SASL_MECHANISM = Setting::new("sasl.mechanism", Kind::Word(MECHANISMS),
        "Needed for a SASL protocol, because `AWS_MSK_IAM` and `GSSAPI` are not available in this version.").default("GSSAPI");
    SASL_JAAS_CONFIG = Setting::new("sasl.jaas.config", Kind::Secret,
        "Login module, flag and options; needed for a SASL protocol.");
    SASL_LOGIN_CALLBACK_HANDLER_CLASS = Setting::new("sasl.login.callback.handler.class", Kind::Text,
        "Only the class names of the OAuth login handlers are recognised; others give a warning.");
    SASL_CLIENT_CALLBACK_HANDLER_CLASS = Setting::new("sasl.client.callback.handler.class", Kind::Text,
        "Only the class names of the MSK IAM handlers are recognised; others give a warning.");
    TOKEN_ENDPOINT_URL = Setting::new("sasl.oauthbearer.token.endpoint.url", Kind::Url,
        "Token endpoint for the client-credentials grant; a `file:` URL reads the token from that file. Needed for `OAUTHBEARER`.");
    SCOPE_CLAIM_NAME = Setting::new("sasl.oauthbearer.scope.claim.name", Kind::Text,
        "Claim of the token that holds its scope.").default("scope");
    SUB_CLAIM_NAME = Setting::new("sasl.oauthbearer.sub.claim.name", Kind::Text,
        "Claim of the token that holds the principal's name.").default("sub");
    LOGIN_CONNECT_TIMEOUT = Setting::new("sasl.login.connect.timeout.ms", POSITIVE_MS,
        "Connecting to the token endpoint.");
    LOGIN_READ_TIMEOUT = Setting::new("sasl.login.read.timeout.ms", POSITIVE_MS,
        "Waiting for the token endpoint's answer.");
    LOGIN_RETRY_BACKOFF = Setting::new("sasl.login.retry.backoff.ms", MS,
        "First pause after a failed token request.").default("100");
    LOGIN_RETRY_BACKOFF_MAX = Setting::new("sasl.login.retry.backoff.max.ms", MS,
        "Longest pause after failed token requests.").default("10000");
    REFRESH_WINDOW_FACTOR = Setting::new("sasl.login.refresh.window.factor", Kind::Decimal { min: 500, max: 1000 },
        "Part of a token's life after which the next one is fetched.").default("0.8");
    REFRESH_WINDOW_JITTER = Setting::new("sasl.login.refresh.window.jitter", Kind::Decimal { min: 0, max: 250 },
        "Random part added to that.").default("0.05");
    REFRESH_MIN_PERIOD = Setting::new("sasl.login.refresh.min.period.seconds", Kind::Int { min: 0, max: 900 },
        "Shortest time between two token requests.").default("60");
    REFRESH_BUFFER = Setting::new("sasl.login.refresh.buffer.seconds", Kind::Int { min: 0, max: 3600 },
        "Time to keep before a token's end.").default("300");
    AWS_ACCESS_KEY_ID = Setting::new("aws.access.key.id", Kind::Secret, "Credentials for `AWS_MSK_IAM`.").not_yet();
    AWS_SECRET_ACCESS_KEY = Setting::new("aws.secret.access.key", Kind::Secret, "Credentials for `AWS_MSK_IAM`.").not_yet();
    TRUSTSTORE_LOCATION = Setting::new("ssl.truststore.location", Kind::Path,
        "Certificates to trust. The system's roots when neither this nor `ssl.truststore.certificates` is set.");
    TRUSTSTORE_PASSWORD = Setting::new("ssl.truststore.password", Kind::Secret, "Its password.");
    TRUSTSTORE_TYPE = Setting::new("ssl.truststore.type", STORE, "Its declared format; the content decides.").default("JKS");
    TRUSTSTORE_CERTIFICATES = Setting::new("ssl.truststore.certificates", Kind::Text, "Certificates to trust, as PEM text.");
    KEYSTORE_LOCATION = Setting::new("ssl.keystore.location", Kind::Path,
        "Certificate chain and key for mutual TLS; a PEM file holds both.");
    KEYSTORE_PASSWORD = Setting::new("ssl.keystore.password", Kind::Secret, "Its password.");
    KEYSTORE_TYPE = Setting::new("ssl.keystore.type", STORE, "Its declared format; the content decides.").default("JKS");
    KEY_PASSWORD = Setting::new("ssl.key.password", Kind::Secret, "Password of the key inside the store or PEM text.");
    KEYSTORE_KEY = Setting::new("ssl.keystore.key", Kind::Secret, "Private key, as PEM text.");
    KEYSTORE_CERTIFICATE_CHAIN = Setting::new("ssl.keystore.certificate.chain", Kind::Text, "Certificate chain, as PEM text.");
    ENDPOINT_IDENTIFICATION_ALGORITHM = Setting::new("ssl.endpoint.identification.algorithm", Kind::Word(&["https"]),
        "Empty switches the check of host names off, with a warning.").default("https");
    ENABLED_PROTOCOLS = Setting::new("ssl.enabled.protocols", Kind::List(','),
        "TLS versions to offer: `TLSv1.2`, `TLSv1.3`. Older ones are refused.").default("TLSv1.2,TLSv1.3");
    SSL_PROTOCOL = Setting::new("ssl.protocol", Kind::Text,
        "Newest TLS version: `TLSv1.2` or `TLSv1.3`; `TLS` leaves it open. Others are refused.").default("TLSv1.3");
    CIPHER_SUITES = Setting::new("ssl.cipher.suites", Kind::List(','), "Cipher suites to offer.").computed("the library's choice");
    REQUEST_TIMEOUT = Setting::new("request.timeout.ms", POSITIVE_MS, "Answer to one of the gateway's own requests.").default("30000");
    SETUP_TIMEOUT = Setting::new("socket.connection.setup.timeout.ms", POSITIVE_MS, "First attempt to connect.").default("10000");
    SETUP_TIMEOUT_MAX = Setting::new("socket.connection.setup.timeout.max.ms", POSITIVE_MS, "Longest attempt to connect.").default("30000");
    RECONNECT_BACKOFF = Setting::new("reconnect.backoff.ms", MS, "First pause before connecting again.").default("50");
    RECONNECT_BACKOFF_MAX = Setting::new("reconnect.backoff.max.ms", MS, "Longest pause before connecting again.").default("1000");
    RETRY_BACKOFF = Setting::new("retry.backoff.ms", MS, "Pause before the gateway repeats a request of its own.").default("100");
    METADATA_MAX_AGE = Setting::new("metadata.max.age.ms", POSITIVE_MS, "The list of brokers is refreshed at least this often.").default("300000");
    CONNECTIONS_MAX_IDLE = Setting::new("connections.max.idle.ms", POSITIVE_MS,
        "The gateway's own and shared connections are closed after this silence.").default("540000");
    CLIENT_ID = Setting::new("client.id", Kind::Text,
        "Client id of the gateway's own connections; client traffic keeps the client's.").computed("`gateway-<cluster>-<node>`");
    SEND_BUFFER = Setting::new("send.buffer.bytes", BUFFER, "Socket send buffer; -1 leaves it to the system.").default("-1");
    RECEIVE_BUFFER = Setting::new("receive.buffer.bytes", BUFFER, "Socket receive buffer; -1 leaves it to the system.").default("-1");
    GATEWAY_ROLES = Setting::new("gateway.roles", Kind::Word(Role::WORDS),
        "What a further cluster is for; `main` cannot be `failover`.").default("upstream");
}

/// Names of a declared store format.
pub(crate) fn store_kind(word: &str) -> Option<StoreKind> {
    if word.eq_ignore_ascii_case("P12") {
        Some(StoreKind::Pkcs12)
    } else {
        StoreKind::parse(word)
    }
}
