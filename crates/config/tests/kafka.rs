//! Backing clusters: environment and cluster file, security towards them.

mod common;

use common::{TempFile, loaded, problem, problems, warnings};
use sluicegate_config::{
    Jaas, Role, SaslMechanism, SecurityProtocol, TlsVersion, TokenEndpoint, effective_yaml,
};

const PLAINTEXT: (&str, &str) = ("GATEWAY_SECURITY_PROTOCOL", "PLAINTEXT");
const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"p\";";
const OAUTH: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required clientId=i clientSecret=s;";

#[test]
fn bootstrap_servers_are_needed() {
    let line = problem(&[("KAFKA_BOOTSTRAP_SERVERS", "")]);
    assert!(
        line.starts_with(
            "Invalid configuration: KAFKA_BOOTSTRAP_SERVERS (not set): expected host:port"
        ),
        "{line}"
    );
    let line = problem(&[("KAFKA_BOOTSTRAP_SERVERS", "a:1,user:s3cret@b:2")]);
    assert_eq!(
        line,
        "Invalid configuration: KAFKA_BOOTSTRAP_SERVERS: expected host:port, several separated by commas (server 2 is not)."
    );
    assert!(problem(&[("KAFKA_BOOTSTRAP_SERVERS", ",")]).contains("(server 1 is not)"));
}

#[test]
fn several_clusters() {
    let pairs = [
        ("KAFKA_CLIENT_ID", "plain"),
        ("KAFKA_MAIN_CLIENT_ID", "main"),
        ("KAFKA_CLUSTERA_BOOTSTRAP_SERVERS", "a:1"),
        ("KAFKA_clusterA_CLIENT_ID", "a"),
        ("KAFKA_CLUSTER_BOOTSTRAP_SERVERS", "c:1"),
        ("KAFKA_CLUSTER_GATEWAY_ROLES", "failover"),
        ("KAFKA_REQUEST_TIMEOUT_MS", "5"),
    ];
    let upstream = loaded(&pairs).config.upstream;
    assert_eq!(upstream.main.client_id.as_deref(), Some("main"));
    assert_eq!(upstream.main.request_timeout.as_millis(), 5);
    let ids: Vec<_> = upstream
        .others
        .iter()
        .map(|cluster| (cluster.id.as_str(), cluster.role))
        .collect();
    assert_eq!(
        ids,
        [("cluster", Role::Failover), ("clustera", Role::Upstream)]
    );
    assert_eq!(upstream.others[1].client_id.as_deref(), Some("a"));
    assert_eq!(upstream.others[1].request_timeout.as_millis(), 30_000);
    let lines = warnings(&pairs);
    assert!(
        lines
            .iter()
            .any(|line| line == "KAFKA_MAIN_CLIENT_ID wins over KAFKA_CLIENT_ID"),
        "{lines:#?}"
    );
    assert!(
        lines
            .iter()
            .any(|line| line.contains("cluster clustera")
                && line.contains("does not connect to it yet")),
        "{lines:#?}"
    );
}

#[test]
fn variables_are_named_as_they_were_given() {
    let pairs = [
        ("KAFKA_MAIN_CLIENT_ID", "x"),
        ("KAFKA_B_BOOTSTRAP_SERVERS", "a:1"),
    ];
    let upstream = loaded(&pairs).config.upstream;
    assert_eq!(
        upstream.main.variable_for("client.id"),
        "KAFKA_MAIN_CLIENT_ID"
    );
    assert_eq!(
        upstream.main.variable_for("ssl.truststore.location"),
        "KAFKA_SSL_TRUSTSTORE_LOCATION"
    );
    assert_eq!(
        upstream.others[0].variable_for("ssl.key.password"),
        "KAFKA_B_SSL_KEY_PASSWORD"
    );
    let line = problem(&[
        ("KAFKA_B_BOOTSTRAP_SERVERS", "a:1"),
        ("KAFKA_B_REQUEST_TIMEOUT_MS", "x"),
    ]);
    assert!(
        line.starts_with("Invalid configuration: KAFKA_B_REQUEST_TIMEOUT_MS=x: expected"),
        "{line}"
    );
}

#[test]
fn roles_and_ids() {
    assert!(
        problem(&[("KAFKA_GATEWAY_ROLES", "failover")])
            .contains("main cannot be a failover cluster")
    );
    assert!(problem(&[("KAFKA_GATEWAY_ROLES", "other")]).contains("one of upstream, failover"));
    assert!(
        problem(&[("KAFKA_A_B_BOOTSTRAP_SERVERS", "a:1")])
            .contains("KAFKA_A_B_BOOTSTRAP_SERVERS: expected KAFKA_<ID>")
    );
}

#[test]
fn ignored_properties_are_listed_once() {
    let notices = loaded(&[("KAFKA_LINGER_MS", "1"), ("KAFKA_HEAP_OPTS", "-Xmx1g")]).notices;
    assert!(
        notices.iter().any(|notice| notice.text
            == "cluster main: no effect here: KAFKA_HEAP_OPTS, KAFKA_LINGER_MS"),
        "{notices:?}"
    );
}

#[test]
fn misspelt_properties_are_told() {
    let told = |pairs: &[(&str, &str)]| common::warnings(pairs).join("\n");
    assert_eq!(
        told(&[("KAFKA_SSL_TRUSTORE_LOCATION", "/x")]),
        "KAFKA_SSL_TRUSTORE_LOCATION is not a known setting and is ignored; did you mean KAFKA_SSL_TRUSTSTORE_LOCATION?"
    );
    let further = told(&[
        ("KAFKA_B_BOOTSTRAP_SERVERS", "b:1"),
        ("KAFKA_B_REQUEST_TIMEUOT_MS", "1"),
    ]);
    assert!(
        further.contains("KAFKA_B_REQUEST_TIMEUOT_MS is not a known setting")
            && further.contains("did you mean KAFKA_B_REQUEST_TIMEOUT_MS?"),
        "{further}"
    );
    // Properties of Kafka's own are not misspelt.
    for known in [
        "KAFKA_RETRY_BACKOFF_MAX_MS",
        "KAFKA_METADATA_MAX_IDLE_MS",
        "KAFKA_ACKS",
    ] {
        assert_eq!(told(&[(known, "1")]), "", "{known}");
    }
}

#[test]
fn a_missing_setting_is_looked_for_among_misspelt_ones() {
    let line = problem(&[
        ("KAFKA_BOOTSTRAP_SERVERS", ""),
        ("KAFKA_BOOTSTRAP_SERVER", "a:1"),
    ]);
    assert!(
        line.starts_with("Invalid configuration: KAFKA_BOOTSTRAP_SERVERS (not set): expected")
            && line.ends_with("KAFKA_BOOTSTRAP_SERVER is set, which is not a known setting."),
        "{line}"
    );
    let line = problem(&[
        ("GATEWAY_SECURITY_PROTOCOL", "SSL"),
        ("GATEWAY_SSL_KEYSTORE_PATH", "/keys.p12"),
    ]);
    assert!(
        line.ends_with("GATEWAY_SSL_KEYSTORE_PATH is set, which is not a known setting."),
        "{line}"
    );
}

#[test]
fn credentials_of_aws_are_told_to_have_no_effect() {
    for name in ["KAFKA_AWS_ACCESS_KEY_ID", "KAFKA_AWS_SESSION_TOKEN"] {
        assert_eq!(
            common::warnings(&[(name, "secret")]),
            [format!(
                "{name}: recognised, but this version does not act on it yet"
            )]
        );
    }
}

#[test]
fn a_bootstrap_server_may_name_the_interface_of_its_address() {
    let servers = loaded(&[("KAFKA_BOOTSTRAP_SERVERS", "[fe80::1%eth0]:9092")])
        .config
        .upstream
        .main
        .bootstrap_servers;
    assert_eq!(
        (servers[0].host.as_str(), servers[0].port),
        ("fe80::1%eth0", 9092)
    );
    assert_eq!(servers[0].to_string(), "[fe80::1%eth0]:9092");
}

#[test]
fn tls_properties() {
    let store = TempFile::new("x");
    let tls = |more: &[(&'static str, &'static str)]| {
        let mut pairs = vec![
            PLAINTEXT,
            ("KAFKA_SECURITY_PROTOCOL", "ssl"),
            ("KAFKA_SSL_TRUSTSTORE_LOCATION", store.path()),
        ];
        pairs.extend(more);
        let security = loaded(&pairs).config.upstream.main.security;
        assert_eq!(security.protocol, SecurityProtocol::Ssl);
        security.tls.expect("TLS")
    };
    let plain = tls(&[]);
    assert!(plain.verify_hostname && plain.keystore.is_none());
    assert_eq!(plain.protocols, [TlsVersion::V1_2, TlsVersion::V1_3]);
    assert_eq!(
        plain.truststore.expect("store").path.to_str(),
        Some(store.path())
    );
    assert!(!tls(&[("KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM", "")]).verify_hostname);
    assert!(tls(&[("KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM", "HTTPS")]).verify_hostname);
    assert_eq!(
        tls(&[("KAFKA_SSL_ENABLED_PROTOCOLS", "TLSv1.3")]).protocols,
        [TlsVersion::V1_3]
    );
    assert_eq!(
        tls(&[("KAFKA_SSL_PROTOCOL", "TLSv1.2")]).protocols,
        [TlsVersion::V1_2]
    );
    assert_eq!(
        tls(&[("KAFKA_SSL_CIPHER_SUITES", "A, B")]).cipher_suites,
        ["A", "B"]
    );
}

#[test]
fn tls_problems() {
    for (pairs, part) in [
        (
            vec![("KAFKA_SSL_TRUSTSTORE_LOCATION", "/does/not/exist")],
            "KAFKA_SSL_TRUSTSTORE_LOCATION=/does/not/exist: expected a readable file",
        ),
        (
            vec![("KAFKA_SSL_KEYSTORE_LOCATION", "/")],
            "it is a directory",
        ),
        (
            vec![("KAFKA_SSL_ENABLED_PROTOCOLS", "TLSv1.1,TLSv1.2")],
            "KAFKA_SSL_ENABLED_PROTOCOLS=TLSv1.1,TLSv1.2: expected some of",
        ),
        (
            vec![("KAFKA_SSL_PROTOCOL", "SSLv3")],
            "KAFKA_SSL_PROTOCOL=SSLv3",
        ),
        (
            vec![
                ("KAFKA_SSL_PROTOCOL", "TLSv1.2"),
                ("KAFKA_SSL_ENABLED_PROTOCOLS", "TLSv1.3"),
            ],
            "KAFKA_SSL_PROTOCOL=TLSv1.2",
        ),
        (
            vec![("KAFKA_SSL_KEYSTORE_KEY", "pem")],
            "KAFKA_SSL_KEYSTORE_CERTIFICATE_CHAIN (not set)",
        ),
        (
            vec![("KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM", "none")],
            "KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM=none",
        ),
    ] {
        let mut pairs = pairs;
        pairs.extend([PLAINTEXT, ("KAFKA_SECURITY_PROTOCOL", "SSL")]);
        let line = problem(&pairs);
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn sasl_mechanisms() {
    let scram = PLAIN.replace("plain.PlainLoginModule", "scram.ScramLoginModule");
    for (mechanism, jaas, expected) in [
        ("plain", PLAIN, SaslMechanism::Plain),
        ("SCRAM-SHA-256", scram.as_str(), SaslMechanism::ScramSha256),
        ("SCRAM-SHA-512", scram.as_str(), SaslMechanism::ScramSha512),
    ] {
        let pairs = [
            PLAINTEXT,
            ("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
            ("KAFKA_SASL_MECHANISM", mechanism),
            ("KAFKA_SASL_JAAS_CONFIG", jaas),
        ];
        let sasl = loaded(&pairs)
            .config
            .upstream
            .main
            .security
            .sasl
            .expect("SASL");
        assert_eq!(sasl.mechanism, expected);
        assert!(
            matches!(sasl.jaas, Jaas::Plain { .. } | Jaas::Scram { .. }) && sasl.oauth.is_none()
        );
    }
}

#[test]
fn sasl_problems() {
    let sasl = |more: &[(&'static str, &'static str)]| {
        let mut pairs = vec![PLAINTEXT, ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")];
        pairs.extend(more);
        problems(&pairs)
    };
    let lines = sasl(&[]);
    assert!(
        lines[0].contains("KAFKA_SASL_MECHANISM (not set), KAFKA_SECURITY_PROTOCOL=SASL_SSL"),
        "{lines:#?}"
    );
    assert!(
        lines[1].contains("KAFKA_SASL_JAAS_CONFIG (not set)"),
        "{lines:#?}"
    );
    for mechanism in ["GSSAPI", "aws_msk_iam"] {
        let lines = sasl(&[
            ("KAFKA_SASL_MECHANISM", mechanism),
            ("KAFKA_SASL_JAAS_CONFIG", PLAIN),
        ]);
        let hint = format!(
            "{} is not available in this version.",
            mechanism.to_uppercase()
        );
        assert!(lines.len() == 1 && lines[0].ends_with(&hint), "{lines:#?}");
    }
    let lines = sasl(&[
        ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-256"),
        ("KAFKA_SASL_JAAS_CONFIG", PLAIN),
    ]);
    assert!(
        lines[0].starts_with(
            "Invalid configuration: KAFKA_SASL_JAAS_CONFIG: expected the login module"
        ),
        "{lines:#?}"
    );
}

#[test]
fn oauth() {
    let base = [
        PLAINTEXT,
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("KAFKA_SASL_MECHANISM", "OAUTHBEARER"),
    ];
    let url = (
        "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL",
        "https://idp/token",
    );
    let mut pairs = base.to_vec();
    pairs.extend([
        ("KAFKA_SASL_JAAS_CONFIG", OAUTH),
        url,
        ("KAFKA_SASL_LOGIN_CONNECT_TIMEOUT_MS", "7"),
    ]);
    let client = loaded(&pairs)
        .config
        .upstream
        .main
        .security
        .sasl
        .and_then(|sasl| sasl.oauth)
        .expect("OAuth");
    assert_eq!(
        client.token_endpoint,
        TokenEndpoint::Url("https://idp/token".into())
    );
    assert_eq!(
        client.connect_timeout.map(|limit| limit.as_millis()),
        Some(7)
    );
    assert_eq!(
        (client.read_timeout, client.refresh_window_factor),
        (None, 0.8)
    );
    assert_eq!(client.refresh_buffer.as_secs(), 300);

    let bare = OAUTH.replace(" clientId=i clientSecret=s", "");
    let mut pairs = base.to_vec();
    pairs.extend([
        ("KAFKA_SASL_JAAS_CONFIG", bare.as_str()),
        (url.0, "https://u:hunter2@idp/token"),
    ]);
    let lines = problems(&pairs);
    assert!(lines[0].contains("KAFKA_SASL_JAAS_CONFIG, KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL=https://********@idp/token: expected the option clientId"), "{lines:#?}");
    assert!(!lines.join("").contains("hunter2"));
    pairs.pop();
    assert!(problem(&pairs).contains("KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL (not set)"));
    let unsecured = OAUTH.replace(
        "clientId=i clientSecret=s",
        "unsecuredLoginStringClaim_sub=me",
    );
    let mut development = base.to_vec();
    development.push(("KAFKA_SASL_JAAS_CONFIG", unsecured.as_str()));
    let loaded_development = loaded(&development);
    assert!(effective_yaml(&loaded_development.config).contains("tokens without a signature"));
    assert_eq!(
        loaded_development
            .config
            .upstream
            .main
            .security
            .sasl
            .and_then(|sasl| sasl.oauth)
            .expect("OAuth")
            .token_endpoint,
        TokenEndpoint::Unsecured(vec![(
            "unsecuredLoginStringClaim_sub".to_owned(),
            "me".to_owned()
        )])
    );
    pairs.push((url.0, "file:///run/token"));
    assert!(loaded(&pairs).config.upstream.main.security.sasl.is_some());
}

#[test]
fn cluster_files() {
    let file = TempFile::new(
        "config:\n  MAIN:\n    client.id: ${NAME|from-file}\n  clusterA:\n    bootstrap.servers: a:1\n    request.timeout.ms: 9\n  failover:\n    bootstrap.servers: f:1\n    gateway.roles: failover\n",
    );
    let selector = format!("file : {{ path: {} }}", file.path());
    let pairs = [
        ("GATEWAY_BACKEND_KAFKA_SELECTOR", selector.as_str()),
        ("KAFKA_CLIENT_ID", "from-env"),
        ("KAFKA_CLUSTERA_CLIENT_ID", "a"),
        ("KAFKA_CLUSTERA_BOOTSTRAP_SERVERS", "env:1"),
    ];
    let upstream = loaded(&pairs).config.upstream;
    assert_eq!(upstream.main.client_id.as_deref(), Some("from-file"));
    let ids: Vec<_> = upstream
        .others
        .iter()
        .map(|cluster| cluster.id.as_str())
        .collect();
    assert_eq!(ids, ["clusterA", "failover"]);
    assert_eq!(upstream.others[0].bootstrap_servers[0].host, "a");
    assert_eq!(upstream.others[0].client_id.as_deref(), Some("a"));
    assert_eq!(upstream.others[0].request_timeout.as_millis(), 9);
}

#[test]
fn cluster_file_problems() {
    let load = |content: &str| {
        let file = TempFile::new(content);
        let selector = format!("file: {{ path: {} }}", file.path());
        problems(&[("GATEWAY_BACKEND_KAFKA_SELECTOR", &selector)]).join("\n")
    };
    assert!(load("config:\n  a_b:\n    bootstrap.servers: x:1\n").contains("(found a_b)"));
    assert!(
        load("config:\n  a: {bootstrap.servers: 'x:1'}\n  A: {}\n")
            .contains("every cluster id once")
    );
    assert!(
        load("config:\n  a: {request.timeout.ms: x, bootstrap.servers: 'x:1'}\n")
            .contains(":config.a.request.timeout.ms=x: expected")
    );
    assert!(
        load("config:\n  a: {client.id: '${NOPE}', bootstrap.servers: 'x:1'}\n")
            .contains("a value for ${NOPE}")
    );
    assert!(load("config:\n  a: {}\n").contains("KAFKA_A_BOOTSTRAP_SERVERS (not set)"));
    assert!(load("clusters: {}\n").contains("(line 1"));
    for selector in ["nonsense", "file: {path: /x, more: y}", "url: x"] {
        let line = problem(&[("GATEWAY_BACKEND_KAFKA_SELECTOR", selector)]);
        assert!(
            line.starts_with("Invalid configuration: GATEWAY_BACKEND_KAFKA_SELECTOR"),
            "{line}"
        );
    }
    assert!(
        problem(&[(
            "GATEWAY_BACKEND_KAFKA_SELECTOR",
            "file: {path: /does/not/exist}"
        )])
        .contains("readable file")
    );
}
