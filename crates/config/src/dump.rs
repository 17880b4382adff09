//! The effective configuration as YAML, secrets masked.

use std::fmt::{Display, Write};

use crate::model::{Config, Listener, Store};
use crate::secret::MASK;
use crate::settings::without_credentials;
use crate::upstream::{Cluster, TokenEndpoint, UpstreamSasl, UpstreamTls};

/// Everything the process runs with, inferred values included, as YAML text with secrets as [`MASK`].
pub fn effective_yaml(config: &Config) -> String {
    let mut y = Yaml::default();
    y.text("gatewayClusterId", &config.cluster_id);
    y.text("gatewayGroupId", &config.group_id);
    y.map("network", |y| {
        y.plain("mode", config.network.mode);
        y.plain(
            "internalLoadBalancing",
            config.network.internal_load_balancing,
        );
        y.optional("rack", config.network.rack.as_deref());
    });
    y.map("hostPortConfiguration", |y| {
        y.plain("minBrokerId", config.network.min_broker_id)
    });
    y.list("listeners", &config.network.listeners, listener);
    y.map("authenticationConfig", |y| security(y, config));
    y.list(
        "clusters",
        std::iter::once(&config.upstream.main).chain(&config.upstream.others),
        cluster,
    );
    y.map("upstreamConnectionPool", |y| {
        y.plain("type", config.pool.kind);
        y.plain("connections", config.pool.connections);
    });
    y.plain("workers", config.workers);
    y.map("limits", |y| limits(y, config));
    y.map("http", |y| http(y, config));
    y.map("metrics", |y| metrics(y, config));
    if let Some(otlp) = &config.otlp {
        y.map("otlp", |y| {
            y.text("endpoint", &otlp.endpoint);
            y.secret("headers", !otlp.headers.is_empty());
            y.millis("timeoutMs", otlp.timeout);
            y.millis("intervalMs", otlp.interval);
            let certificate = otlp
                .certificate
                .as_ref()
                .map(|path| path.display().to_string());
            y.optional("certificate", certificate.as_deref());
            let attributes = otlp
                .attributes
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            y.texts("attributes", &attributes.collect::<Vec<_>>());
        });
    }
    y.map("shutdown", |y| {
        y.millis(
            "delayBetweenBrokersMs",
            config.shutdown.delay_between_brokers,
        );
        y.millis("drainTimeoutMs", config.shutdown.drain_timeout);
    });
    y.millis("startupKafkaTimeoutMs", config.startup_kafka_timeout);
    y.map("logging", |y| {
        y.plain("layout", config.logging.layout);
        y.text("timeFormat", &config.logging.time_format);
        y.plain("root", config.logging.root);
        y.map("levels", |y| {
            config
                .logging
                .levels
                .iter()
                .for_each(|(name, level)| y.plain(name, level))
        });
    });
    y.out
}

fn listener(y: &mut Yaml, listener: &Listener) {
    y.text("name", &listener.name);
    y.plain("securityProtocol", listener.protocol);
    y.plain("routing", listener.routing);
    y.text("bindAddress", &listener.bind_address);
    y.text("advertisedHost", &listener.advertised_host);
    y.text("ports", &listener.ports.to_string());
    if let Some(sni) = &listener.sni {
        y.text("advertisedHostPattern", &sni.advertised_host_pattern);
        y.text("bootstrapHostPattern", &sni.bootstrap_host_pattern);
    }
    y.plain("sslClientAuth", listener.client_auth);
}

fn security(y: &mut Yaml, config: &Config) {
    let security = &config.security;
    y.plain("securityMode", security.mode);
    y.plain("inferred", security.inferred);
    y.plain("aclEnabled", security.acl_enabled);
    y.texts("superUsers", &security.super_users);
    y.plain("mandatoryVcluster", security.mandatory_vcluster);
    y.plain("strictVirtualClusters", security.strict_vclusters);
    y.plain("autoCreateTopics", security.auto_create_topics);
    y.millis(
        "connectionMaxReauthMs",
        security.max_reauth.unwrap_or_default(),
    );
    y.secret("userPoolSecretKey", security.token_signing_key.is_some());
    y.map("sslConfig", |y| {
        y.plain(
            "updateContextIntervalMinutes",
            security.tls.reload_interval.as_secs() / 60,
        );
        if let Some(key_store) = &security.tls.key_store {
            y.map("keyStore", |y| {
                store(y, "keyStore", key_store);
                y.secret("keyPassword", security.tls.key_password.is_some());
            });
        }
        if let Some(trust_store) = &security.tls.trust_store {
            y.map("trustStore", |y| store(y, "trustStore", trust_store));
        }
        y.text(
            "principalMappingRules",
            &security.tls.principal_mapping_rules,
        );
    });
    if let Some(oauth) = &security.oauth {
        y.map("oauth", |y| {
            y.text("jwksUrl", &oauth.jwks_url);
            y.optional("expectedIssuer", oauth.expected_issuer.as_deref());
            y.texts("expectedAudiences", &oauth.expected_audiences);
            y.millis("jwksRefreshMs", oauth.jwks_refresh);
            y.millis("jwksRetryMs", oauth.jwks_retry);
            y.millis("jwksMaxRetryMs", oauth.jwks_max_retry);
            y.text("scopeClaimName", &oauth.scope_claim_name);
            y.text("subClaimName", &oauth.sub_claim_name);
        });
    }
}

fn cluster(y: &mut Yaml, cluster: &Cluster) {
    let servers: Vec<_> = cluster
        .bootstrap_servers
        .iter()
        .map(ToString::to_string)
        .collect();
    y.text("id", &cluster.id);
    y.plain("gateway.roles", cluster.role);
    y.text("bootstrap.servers", &servers.join(","));
    y.plain("security.protocol", cluster.security.protocol);
    if let Some(tls) = &cluster.security.tls {
        upstream_tls(y, tls);
    }
    if let Some(sasl) = &cluster.security.sasl {
        upstream_sasl(y, sasl);
    }
    y.optional("client.id", cluster.client_id.as_deref());
    y.millis("request.timeout.ms", cluster.request_timeout);
    y.millis(
        "socket.connection.setup.timeout.ms",
        cluster.connection_setup_timeout,
    );
    y.millis(
        "socket.connection.setup.timeout.max.ms",
        cluster.connection_setup_timeout_max,
    );
    y.millis("reconnect.backoff.ms", cluster.reconnect_backoff);
    y.millis("reconnect.backoff.max.ms", cluster.reconnect_backoff_max);
    y.millis("retry.backoff.ms", cluster.retry_backoff);
    y.millis("metadata.max.age.ms", cluster.metadata_max_age);
    y.millis("connections.max.idle.ms", cluster.connections_max_idle);
    y.plain(
        "send.buffer.bytes",
        cluster.send_buffer.map_or(-1, i64::from),
    );
    y.plain(
        "receive.buffer.bytes",
        cluster.receive_buffer.map_or(-1, i64::from),
    );
}

fn upstream_tls(y: &mut Yaml, tls: &UpstreamTls) {
    match &tls.truststore {
        Some(truststore) => upstream_store(y, "ssl.truststore", truststore),
        None if tls.truststore_pem.is_some() => y.text("ssl.truststore.certificates", "PEM text"),
        None => y.text("ssl.truststore.certificates", "roots of the system"),
    }
    if let Some(keystore) = &tls.keystore {
        upstream_store(y, "ssl.keystore", keystore);
    }
    y.secret("ssl.keystore.key", tls.keystore_key_pem.is_some());
    if tls.keystore_chain_pem.is_some() {
        y.text("ssl.keystore.certificate.chain", "PEM text");
    }
    y.secret("ssl.key.password", tls.key_password.is_some());
    y.text(
        "ssl.endpoint.identification.algorithm",
        if tls.verify_hostname { "https" } else { "" },
    );
    y.text(
        "ssl.enabled.protocols",
        &tls.protocols
            .iter()
            .map(|version| version.as_str())
            .collect::<Vec<_>>()
            .join(","),
    );
    y.texts("ssl.cipher.suites", &tls.cipher_suites);
}

fn upstream_sasl(y: &mut Yaml, sasl: &UpstreamSasl) {
    y.plain("sasl.mechanism", sasl.mechanism);
    y.secret("sasl.jaas.config", true);
    let Some(oauth) = &sasl.oauth else { return };
    match &oauth.token_endpoint {
        TokenEndpoint::Url(url) => {
            y.text("sasl.oauthbearer.token.endpoint.url", url);
        }
        TokenEndpoint::File(path) => {
            y.text(
                "sasl.oauthbearer.token.endpoint.url",
                &format!("file:{}", path.display()),
            );
        }
        TokenEndpoint::Unsecured(_) => {
            y.text(
                "sasl.oauthbearer.token.endpoint.url",
                "none: tokens without a signature",
            );
        }
    }
    y.text("sasl.oauthbearer.sub.claim.name", &oauth.sub_claim_name);
    y.text("sasl.oauthbearer.scope.claim.name", &oauth.scope_claim_name);
    for (name, limit) in [
        ("sasl.login.connect.timeout.ms", oauth.connect_timeout),
        ("sasl.login.read.timeout.ms", oauth.read_timeout),
    ] {
        if let Some(limit) = limit {
            y.millis(name, limit);
        }
    }
    y.millis("sasl.login.retry.backoff.ms", oauth.retry_backoff);
    y.millis("sasl.login.retry.backoff.max.ms", oauth.retry_backoff_max);
    y.plain(
        "sasl.login.refresh.window.factor",
        oauth.refresh_window_factor,
    );
    y.plain(
        "sasl.login.refresh.window.jitter",
        oauth.refresh_window_jitter,
    );
    y.plain(
        "sasl.login.refresh.min.period.seconds",
        oauth.refresh_min_period.as_secs(),
    );
    y.plain(
        "sasl.login.refresh.buffer.seconds",
        oauth.refresh_buffer.as_secs(),
    );
}

fn limits(y: &mut Yaml, config: &Config) {
    let limits = &config.limits;
    let unlimited = |limit: Option<u32>| {
        limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string())
    };
    y.plain("socketRequestMaxBytes", limits.max_request_bytes);
    y.plain(
        "maxInFlightRequestsPerConnection",
        limits.max_in_flight_per_connection,
    );
    y.plain("maxConnections", limits.max_connections);
    y.plain(
        "maxConnectionsPerIp",
        unlimited(limits.max_connections_per_ip),
    );
    y.plain(
        "maxConnectionCreationRate",
        unlimited(limits.max_connection_creation_rate),
    );
    y.millis("connectionsMaxIdleMs", limits.connections_max_idle);
    y.plain("maxBufferedBytes", limits.max_buffered_bytes);
    y.millis("unauthenticatedTimeoutMs", limits.unauthenticated_timeout);
    y.plain("saslServerMaxReceiveSize", limits.sasl_max_receive);
    y.millis(
        "connectionFailedAuthenticationDelayMs",
        limits.failed_authentication_delay,
    );
}

fn http(y: &mut Yaml, config: &Config) {
    y.plain("port", config.http.port);
    y.plain("securedMetrics", config.http.secured_metrics);
    y.list("users", &config.http.users, |y, user| {
        y.text("username", &user.username);
        y.secret("password", true);
        y.plain("admin", user.admin);
    });
    if let Some(tls) = &config.http.tls {
        y.map("keyStore", |y| store(y, "keyStore", &tls.key_store));
        y.plain("clientAuth", tls.client_auth);
        if let Some(trust_store) = &tls.trust_store {
            y.map("trustStore", |y| store(y, "trustStore", trust_store));
        }
    }
}

fn metrics(y: &mut Yaml, config: &Config) {
    let (limits, topics) = (&config.metrics, &config.topic_metrics);
    y.plain("users", limits.users);
    y.plain("maxUsers", limits.max_users);
    y.plain("maxVclusters", limits.max_vclusters);
    y.plain("lifecycle", limits.lifecycle.is_some());
    if let Some(requests) = &limits.lifecycle {
        y.texts("lifecycleApiKeys", requests);
    }
    y.plain("topics", topics.bytes);
    y.plain("maxTopics", topics.max_topics);
    y.plain("offsets", topics.offsets);
    y.plain("maxOffsetSeries", topics.max_offset_series);
    y.plain("offsetPartitions", topics.partitions);
    y.millis("offsetPollMs", topics.poll.unwrap_or_default());
    for (name, pattern) in [
        ("topicAllow", &topics.topics.allow),
        ("topicDeny", &topics.topics.deny),
        ("groupAllow", &topics.groups.allow),
        ("groupDeny", &topics.groups.deny),
    ] {
        // As it was given: whole names have to match.
        let given = pattern.as_ref().map(|pattern| {
            let whole = pattern.as_str();
            let inner = whole
                .strip_prefix("^(?:")
                .and_then(|p| p.strip_suffix(")$"));
            inner.unwrap_or(whole)
        });
        y.optional(name, given);
    }
}

fn store(y: &mut Yaml, name: &str, store: &Store) {
    y.text(&format!("{name}Path"), &store.path.display().to_string());
    y.secret(&format!("{name}Password"), store.password.is_some());
    if let Some(kind) = store.kind {
        y.plain(&format!("{name}Type"), kind);
    }
}

fn upstream_store(y: &mut Yaml, name: &str, store: &Store) {
    y.text(
        &format!("{name}.location"),
        &store.path.display().to_string(),
    );
    y.secret(&format!("{name}.password"), store.password.is_some());
    if let Some(kind) = store.kind {
        y.plain(&format!("{name}.type"), kind);
    }
}

/// Writes block-style YAML; keys are plain words.
#[derive(Default)]
struct Yaml {
    out: String,
    indent: usize,
    /// The next entry opens a list item.
    item: bool,
}

impl Yaml {
    fn plain(&mut self, key: &str, value: impl Display) {
        let value = value.to_string();
        self.entry(key, &value);
    }

    fn millis(&mut self, key: &str, value: std::time::Duration) {
        self.plain(key, value.as_millis());
    }

    fn text(&mut self, key: &str, value: &str) {
        let value = quoted(&without_credentials(value));
        self.entry(key, &value);
    }

    fn optional(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn secret(&mut self, key: &str, present: bool) {
        if present {
            self.entry(key, &quoted(MASK));
        }
    }

    fn texts(&mut self, key: &str, values: &[String]) {
        let shown = values.iter().map(|value| without_credentials(value));
        let values: Vec<_> = shown.map(|value| quoted(&value)).collect();
        self.entry(key, &format!("[{}]", values.join(", ")));
    }

    fn map(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.entry(key, "");
        self.indent += 1;
        fill(self);
        self.indent -= 1;
    }

    fn list<'a, T: 'a>(
        &mut self,
        key: &str,
        items: impl IntoIterator<Item = &'a T>,
        fill: impl Fn(&mut Self, &'a T),
    ) {
        self.entry(key, "");
        for item in items {
            self.indent += 2;
            self.item = true;
            fill(self, item);
            self.indent -= 2;
        }
    }

    fn entry(&mut self, key: &str, value: &str) {
        let dash = std::mem::take(&mut self.item);
        let depth = if dash { self.indent - 1 } else { self.indent };
        let gap = if value.is_empty() { "" } else { " " };
        let _ = writeln!(
            self.out,
            "{}{}{key}:{gap}{value}",
            "  ".repeat(depth),
            if dash { "- " } else { "" }
        );
    }
}

/// Double-quoted, with everything unprintable escaped.
fn quoted(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
