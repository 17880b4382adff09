//! Modes, listeners, ports and what is inferred from Kafka.

mod common;

use common::{loaded, problem, problems, warnings};
use sluicegate_config::{NetworkMode, PortPlan, Routing, SecurityMode, SecurityProtocol};

/// 32 bytes.
const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

/// A listener that this version serves.
const LISTENER: [(&str, &str); 4] = [
    ("GATEWAY_SECURITY_MODE", "GATEWAY_MANAGED"),
    ("GATEWAY_LISTENER_EXT_SECURITY_PROTOCOL", "PLAINTEXT"),
    ("GATEWAY_LISTENER_EXT_ROUTING", "PORT"),
    ("GATEWAY_LISTENER_EXT_PORTS", "29092-29093:9092-9093"),
];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut pairs: Vec<_> = LISTENER.to_vec();
    pairs.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    pairs.extend(more);
    pairs
}

#[test]
fn modes() {
    let mode = |pairs: &[(&str, &str)]| loaded(pairs).config.network.mode;
    assert_eq!(mode(&[]), NetworkMode::ZeroConfig);
    assert_eq!(
        mode(&[
            ("GATEWAY_MIN_BROKERID", "1"),
            ("GATEWAY_SECURITY_MODE", "GATEWAY_MANAGED")
        ]),
        NetworkMode::ZeroConfig
    );
    for (name, value) in [
        ("GATEWAY_BIND_HOST", "127.0.0.1"),
        ("GATEWAY_ADVERTISED_HOST", "h"),
        ("GATEWAY_PORT_START", "1"),
        ("GATEWAY_PORT_COUNT", "1"),
        ("GATEWAY_ADVERTISED_SNI_PORT", "1"),
        ("GATEWAY_ROUTING_MECHANISM", "port"),
        ("GATEWAY_SECURITY_PROTOCOL", "PLAINTEXT"),
        ("GATEWAY_ADVERTISED_HOST_PREFIX", "b"),
        ("GATEWAY_SNI_HOST_SEPARATOR", "."),
        ("GATEWAY_SSL_CLIENT_AUTH", "NONE"),
    ] {
        assert_eq!(mode(&[(name, value)]), NetworkMode::Legacy, "{name}");
        assert_eq!(
            mode(&with(&[(name, value)])),
            NetworkMode::Listener,
            "{name}"
        );
    }
    // Injected by Kubernetes, hence no listener variable.
    assert_eq!(
        mode(&[("GATEWAY_LISTENER_PORT_9092_TCP", "tcp://1.2.3.4:9092")]),
        NetworkMode::ZeroConfig
    );
}

#[test]
fn zero_config_gives_one_listener() {
    let config = loaded(&[]).config;
    let [listener] = config.network.listeners.as_slice() else {
        panic!("one listener")
    };
    assert_eq!(listener.name, "DEFAULT");
    assert_eq!(
        listener.ports,
        PortPlan::FromStart {
            start: 6969,
            count: None
        }
    );
    assert_eq!(
        (listener.protocol, listener.routing),
        (SecurityProtocol::Plaintext, Routing::Port)
    );
    assert_eq!(
        (
            listener.bind_address.as_str(),
            listener.advertised_host.as_str()
        ),
        ("0.0.0.0", "gateway.example")
    );
}

#[test]
fn legacy_variables_become_one_listener_and_are_deprecated() {
    let pairs = [
        ("GATEWAY_ADVERTISED_HOST", "h"),
        ("GATEWAY_PORT_START", "7000"),
        ("GATEWAY_PORT_COUNT", "5"),
        ("GATEWAY_BIND_HOST", "::1"),
    ];
    let listener = &loaded(&pairs).config.network.listeners[0];
    assert_eq!(
        listener.ports,
        PortPlan::FromStart {
            start: 7000,
            count: Some(5)
        }
    );
    assert_eq!(
        (
            listener.bind_address.as_str(),
            listener.advertised_host.as_str()
        ),
        ("::1", "h")
    );
    assert!(warnings(&pairs)[0].contains("deprecated, use the GATEWAY_LISTENER_* variables"));
    let line = problem(&[("GATEWAY_PORT_START", "65530"), ("GATEWAY_PORT_COUNT", "7")]);
    assert!(
        line.contains("GATEWAY_PORT_COUNT=7, GATEWAY_PORT_START=65530: expected at most 6,"),
        "{line}"
    );
    loaded(&[("GATEWAY_PORT_START", "65530"), ("GATEWAY_PORT_COUNT", "6")]);
}

#[test]
fn server_names_need_tls_in_the_older_variables_too() {
    let named = |more: &[(&'static str, &'static str)]| {
        let mut pairs = vec![
            ("GATEWAY_ROUTING_MECHANISM", "host"),
            ("GATEWAY_ADVERTISED_HOST", "gw.example.com"),
            ("GATEWAY_PORT_COUNT", "9"),
        ];
        pairs.extend(more);
        pairs
    };
    for protocol in ["PLAINTEXT", "SASL_PLAINTEXT"] {
        let line = problem(&named(&[
            ("GATEWAY_SECURITY_PROTOCOL", protocol),
            ("GATEWAY_USER_POOL_SECRET_KEY", KEY),
        ]));
        let start = format!(
            "GATEWAY_ROUTING_MECHANISM=host, GATEWAY_SECURITY_PROTOCOL={protocol}: expected port, or SSL"
        );
        assert!(line.contains(&start), "{line}");
    }
    // Inferred from the protocol towards Kafka.
    let line = problem(&named(&[]));
    assert!(
        line.contains(
            "GATEWAY_ROUTING_MECHANISM=host, GATEWAY_SECURITY_PROTOCOL (not set): expected"
        ) && line.contains("it is PLAINTEXT"),
        "{line}"
    );
    let tls = [
        ("GATEWAY_SECURITY_PROTOCOL", "SSL"),
        ("GATEWAY_SSL_KEY_STORE_PATH", "/keys.p12"),
    ];
    let listener = &loaded(&named(&tls)).config.network.listeners[0];
    assert_eq!(listener.routing, Routing::Sni);
    // There is one port, whatever the number says.
    assert_eq!(listener.ports_variable, "GATEWAY_PORT_START");
}

#[test]
fn listeners() {
    let pairs = with(&[
        ("GATEWAY_LISTENER_int_SECURITY_PROTOCOL", "plaintext"),
        ("GATEWAY_LISTENER_int_ROUTING", "port"),
        ("GATEWAY_LISTENER_int_PORTS", "7000"),
        ("GATEWAY_LISTENER_NAMES", "ext, INT"),
        ("GATEWAY_LISTENER_EXT_ADVERTISED_HOST", "broker.example.com"),
    ]);
    let network = loaded(&pairs).config.network;
    let names: Vec<_> = network
        .listeners
        .iter()
        .map(|listener| listener.name.as_str())
        .collect();
    assert_eq!(names, ["EXT", "INT"]);
    assert_eq!(network.listeners[0].advertised_host, "broker.example.com");
    let lines = warnings(&pairs);
    assert!(
        lines[0].contains("GATEWAY_LISTENER_INT_ADVERTISED_HOST is not set"),
        "{lines:#?}"
    );
}

#[test]
fn wrong_listener_names_are_refused() {
    for (name, part) in [
        ("GATEWAY_LISTENER_EXT_PROTS", "Did you mean PORTS?"),
        ("GATEWAY_LISTENER_MY_EXT_PORTS", "cannot contain '_'"),
        ("GATEWAY_LISTENER_1A_PORTS", "starts with a letter"),
        ("GATEWAY_LISTENER_EXT", "one of SECURITY_PROTOCOL"),
        ("GATEWAY_LISTENER__PORTS", "starts with a letter"),
        ("GATEWAY_LISTENER_A.B_PORTS", "letters and digits only"),
    ] {
        let line = problem(&with(&[(name, "1")]));
        assert!(
            line.starts_with(&format!("Invalid configuration: {name}: expected"))
                && line.contains(part),
            "{line}"
        );
    }
    let lines = problems(&with(&[("GATEWAY_LISTENER_NAMES", "INT")]));
    assert!(
        lines[0].contains("a block GATEWAY_LISTENER_INT_*") && lines[1].contains("(EXT is not)"),
        "{lines:#?}"
    );
}

#[test]
fn a_variable_of_a_listener_has_one_spelling() {
    let line = problem(&with(&[("GATEWAY_LISTENER_ext_PORTS", "9094")]));
    assert!(
        line.starts_with(
            "Invalid configuration: GATEWAY_LISTENER_ext_PORTS=9094: expected one spelling"
        ) && line.contains("GATEWAY_LISTENER_EXT_PORTS sets the same"),
        "{line}"
    );
}

#[test]
fn a_listener_must_be_complete() {
    let lines = problems(&[("GATEWAY_LISTENER_A_BIND_ADDRESS", "::")]);
    for name in [
        "GATEWAY_SECURITY_MODE",
        "GATEWAY_LISTENER_A_SECURITY_PROTOCOL",
        "GATEWAY_LISTENER_A_ROUTING",
        "GATEWAY_LISTENER_A_PORTS",
    ] {
        let start = format!("Invalid configuration: {name} (not set): expected");
        assert!(
            lines.iter().any(|line| line.starts_with(&start)),
            "{name}: {lines:#?}"
        );
    }
}

#[test]
fn ports_must_not_collide() {
    let line = problem(&with(&[("GATEWAY_LISTENER_EXT_PORTS", "1:8888")]));
    assert!(
        line.contains("GATEWAY_HTTP_PORT=8888, GATEWAY_LISTENER_EXT_PORTS=1:8888: expected"),
        "{line}"
    );
    let second = [
        ("GATEWAY_LISTENER_INT_SECURITY_PROTOCOL", "PLAINTEXT"),
        ("GATEWAY_LISTENER_INT_ROUTING", "port"),
        ("GATEWAY_LISTENER_INT_PORTS", "9093"),
    ];
    let line = problem(&with(&second));
    assert!(
        line.contains(
            "GATEWAY_LISTENER_EXT_PORTS=29092-29093:9092-9093, GATEWAY_LISTENER_INT_PORTS=9093"
        ),
        "{line}"
    );
    let line = problem(&[("GATEWAY_PORT_START", "8880"), ("GATEWAY_PORT_COUNT", "9")]);
    assert!(
        line.contains(
            "GATEWAY_HTTP_PORT=8888, GATEWAY_PORT_START=8880, GATEWAY_PORT_COUNT=9: expected"
        ),
        "{line}"
    );
    let line = problem(&[("GATEWAY_PORT_START", "8888")]);
    assert!(
        line.contains("GATEWAY_HTTP_PORT=8888, GATEWAY_PORT_START=8888: expected"),
        "{line}"
    );
}

#[test]
fn legacy_variables_are_ignored_beside_listeners() {
    let lines = warnings(&with(&[
        ("GATEWAY_PORT_START", "1"),
        ("GATEWAY_ADVERTISED_HOST", "h"),
        ("GATEWAY_LISTENER_EXT_ADVERTISED_HOST", "x"),
    ]));
    assert!(
        lines[0].contains(
            "ignored because GATEWAY_LISTENER_* is set: GATEWAY_ADVERTISED_HOST, GATEWAY_PORT_START"
        ),
        "{lines:#?}"
    );
}

#[test]
fn a_host_that_nobody_can_reach() {
    assert!(
        problem(&[("GATEWAY_ADVERTISED_HOST", "0.0.0.0")])
            .contains("GATEWAY_ADVERTISED_HOST=0.0.0.0")
    );
    let lines = warnings(&with(&[(
        "GATEWAY_LISTENER_EXT_ADVERTISED_HOST",
        "127.0.0.1",
    )]));
    assert!(
        lines[0].contains("only works on this machine"),
        "{lines:#?}"
    );
}

#[test]
fn an_address_may_name_its_interface_where_it_is_this_machines() {
    let listener = &loaded(&[("GATEWAY_BIND_HOST", "fe80::1%eth0")])
        .config
        .network
        .listeners[0];
    assert_eq!(listener.bind_address, "fe80::1%eth0");
    let pairs = with(&[("GATEWAY_LISTENER_EXT_BIND_ADDRESS", "fe80::1%3")]);
    let listener = &loaded(&pairs).config.network.listeners[0];
    assert_eq!(listener.bind_address, "fe80::1%3");
    assert_eq!(listener.bind_variable, "GATEWAY_LISTENER_EXT_BIND_ADDRESS");
    for wrong in ["10.0.0.1%eth0", "fe80::1%", "host%eth0", "fe80::1%a b"] {
        let line = problem(&[("GATEWAY_BIND_HOST", wrong)]);
        assert!(line.contains("a host name or an IP address"), "{line}");
    }
    // Clients have interfaces of their own.
    let line = problem(&[("GATEWAY_ADVERTISED_HOST", "fe80::1%eth0")]);
    assert!(
        line.contains("GATEWAY_ADVERTISED_HOST=fe80::1%eth0")
            && line.contains("on this machine only"),
        "{line}"
    );
}

#[test]
fn mode_and_protocol_are_inferred_from_kafka() {
    let sasl = [
        ("KAFKA_SASL_MECHANISM", "PLAIN"),
        (
            "KAFKA_SASL_JAAS_CONFIG",
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=u password=p;",
        ),
    ];
    for (kafka, mode, protocol) in [
        (
            "SASL_PLAINTEXT",
            SecurityMode::KafkaManaged,
            SecurityProtocol::SaslPlaintext,
        ),
        (
            "SASL_SSL",
            SecurityMode::KafkaManaged,
            SecurityProtocol::SaslSsl,
        ),
        ("SSL", SecurityMode::GatewayManaged, SecurityProtocol::Ssl),
    ] {
        let mut pairs = vec![sasl[0], sasl[1], ("KAFKA_SECURITY_PROTOCOL", kafka)];
        if protocol.is_tls() {
            // What is inferred needs a certificate like what is given.
            let line = problem(&pairs);
            assert!(
                line.contains("GATEWAY_SSL_KEY_STORE_PATH (not set)"),
                "{line}"
            );
            pairs.push(("GATEWAY_SSL_KEY_STORE_PATH", "/keys.p12"));
        }
        let security = loaded(&pairs).config;
        assert_eq!(security.security.mode, mode, "{kafka}");
        assert_eq!(security.network.listeners[0].protocol, protocol, "{kafka}");
        pairs.push(("GATEWAY_SECURITY_PROTOCOL", "PLAINTEXT"));
        let config = loaded(&pairs).config;
        assert_eq!(config.security.mode, SecurityMode::GatewayManaged);
    }
}

#[test]
fn a_virtual_cluster_cannot_be_mandatory_where_there_is_none() {
    let line = problem(&[
        ("GATEWAY_FEATURE_FLAGS_MANDATORY_VCLUSTER", "true"),
        ("GATEWAY_SECURITY_MODE", "KAFKA_MANAGED"),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
        ("KAFKA_SASL_MECHANISM", "PLAIN"),
        (
            "KAFKA_SASL_JAAS_CONFIG",
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"p\";",
        ),
        ("GATEWAY_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
    ]);
    assert!(line.contains("GATEWAY_MANAGED"), "{line}");
}

#[test]
fn a_virtual_cluster_cannot_be_mandatory_for_anonymous_clients_only() {
    let mandatory = ("GATEWAY_FEATURE_FLAGS_MANDATORY_VCLUSTER", "true");
    let line = problem(&with(&[mandatory]));
    assert!(
        line.contains(
            "GATEWAY_FEATURE_FLAGS_MANDATORY_VCLUSTER=true, GATEWAY_LISTENER_EXT_SECURITY_PROTOCOL=PLAINTEXT: expected false"
        ),
        "{line}"
    );
    assert!(problem(&[mandatory]).contains("GATEWAY_SECURITY_PROTOCOL=PLAINTEXT: expected false"));
    let line = problem(&[
        mandatory,
        ("GATEWAY_SECURITY_PROTOCOL", "SSL"),
        ("GATEWAY_SSL_KEY_STORE_PATH", "/keys.p12"),
    ]);
    assert!(
        line.contains("every client of these listeners is anonymous"),
        "{line}"
    );
    // Beside one who can come in, others are told.
    let lines = warnings(&with(&[
        mandatory,
        ("GATEWAY_LISTENER_EXT_ADVERTISED_HOST", "gw"),
        ("GATEWAY_LISTENER_SEC_ADVERTISED_HOST", "gw"),
        ("GATEWAY_LISTENER_SEC_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
        ("GATEWAY_LISTENER_SEC_ROUTING", "port"),
        ("GATEWAY_LISTENER_SEC_PORTS", "7000"),
        ("GATEWAY_USER_POOL_SECRET_KEY", KEY),
    ]));
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("listener EXT:")
                && line.contains("refuses all of its clients")),
        "{lines:#?}"
    );
}

#[test]
fn state_is_kept_unless_nobody_is_anybody_and_the_operator_says_so() {
    let without = ("GATEWAY_STORE_WITHOUT_AUTHENTICATION", "false");
    assert!(loaded(&[]).config.keeps_state());
    assert!(!loaded(&[without]).config.keeps_state());
    let sasl = [
        without,
        ("GATEWAY_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
        ("GATEWAY_USER_POOL_SECRET_KEY", KEY),
    ];
    assert!(loaded(&sasl).config.keeps_state());
}

#[test]
fn what_security_needs_is_asked_for() {
    for (pairs, part) in [
        (
            with(&[("GATEWAY_LISTENER_EXT_SECURITY_PROTOCOL", "SSL")]),
            "GATEWAY_SSL_KEY_STORE_PATH (not set), GATEWAY_LISTENER_EXT_SECURITY_PROTOCOL=SSL",
        ),
        (
            with(&[
                ("GATEWAY_LISTENER_EXT_SECURITY_PROTOCOL", "SSL"),
                ("GATEWAY_LISTENER_EXT_SSL_CLIENT_AUTH", "REQUIRE"),
                ("GATEWAY_SSL_KEY_STORE_PATH", "/keys.p12"),
            ]),
            "GATEWAY_SSL_TRUST_STORE_PATH (not set), GATEWAY_LISTENER_EXT_SSL_CLIENT_AUTH=REQUIRE",
        ),
        (
            vec![("GATEWAY_SECURITY_PROTOCOL", "SASL_PLAINTEXT")],
            "GATEWAY_USER_POOL_SECRET_KEY (not set), GATEWAY_SECURITY_PROTOCOL=SASL_PLAINTEXT",
        ),
    ] {
        let line = problem(&pairs);
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn the_default_of_super_users_is_named_where_it_is_dangerous() {
    let loaded = loaded(&with(&[
        ("GATEWAY_LISTENER_EXT_SECURITY_PROTOCOL", "SSL"),
        ("GATEWAY_LISTENER_EXT_SSL_CLIENT_AUTH", "REQUIRE"),
        ("GATEWAY_SSL_KEY_STORE_PATH", "/keys.p12"),
        ("GATEWAY_SSL_TRUST_STORE_PATH", "/trust.p12"),
    ]));
    assert!(
        loaded
            .notices
            .iter()
            .any(|notice| notice.text.contains("GATEWAY_SUPER_USERS is not set"))
    );
}

#[test]
fn delegated_and_kafka_managed_combinations() {
    let lines = problems(&[
        ("GATEWAY_SECURITY_PROTOCOL", "DELEGATED_SASL_SSL"),
        ("GATEWAY_SECURITY_MODE", "GATEWAY_MANAGED"),
    ]);
    assert!(
        lines[0].contains(
            "GATEWAY_SECURITY_PROTOCOL=DELEGATED_SASL_SSL, GATEWAY_SECURITY_MODE=GATEWAY_MANAGED"
        ),
        "{lines:#?}"
    );
    let lines = problems(&with(&[("GATEWAY_SECURITY_MODE", "KAFKA_MANAGED")]));
    assert!(lines.iter().any(|line| line.contains(
        "GATEWAY_LISTENER_EXT_SECURITY_PROTOCOL=PLAINTEXT, GATEWAY_SECURITY_MODE=KAFKA_MANAGED"
    )));
    assert!(lines.iter().any(|line| {
        line.contains("KAFKA_SECURITY_PROTOCOL=PLAINTEXT, GATEWAY_SECURITY_MODE=KAFKA_MANAGED")
    }));
    let lines = problems(&[("GATEWAY_SECURITY_MODE", "KAFKA_MANAGED")]);
    assert!(lines[0].contains("GATEWAY_SECURITY_PROTOCOL (not set), GATEWAY_SECURITY_MODE=KAFKA_MANAGED, KAFKA_SECURITY_PROTOCOL=PLAINTEXT"));
}

#[test]
fn sni_listeners_are_checked() {
    let sni = |more: &[(&'static str, &'static str)]| {
        let mut pairs = with(&[
            ("GATEWAY_LISTENER_EXT_ROUTING", "SNI"),
            ("GATEWAY_LISTENER_EXT_PORTS", "9092"),
        ]);
        pairs.extend(more);
        problems(&pairs).join("\n")
    };
    assert!(sni(&[]).contains("GATEWAY_LISTENER_EXT_ADVERTISED_HOST_PATTERN (not set)"));
    assert!(sni(&[]).contains("expected SSL or SASL_SSL with routing sni"));
    for pattern in [
        "broker.example.com",
        "a{{nodeId}}b{{nodeId}}",
        "a b{{nodeId}}",
    ] {
        assert!(
            sni(&[("GATEWAY_LISTENER_EXT_ADVERTISED_HOST_PATTERN", pattern)])
                .contains("{{nodeId}} exactly once"),
            "{pattern}"
        );
    }
    let good = sni(&[(
        "GATEWAY_LISTENER_EXT_ADVERTISED_HOST_PATTERN",
        "broker-{{nodeId}}-{{clusterId}}.example.com",
    )]);
    assert!(!good.contains("PATTERN"), "{good}");
}
