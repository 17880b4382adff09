//! Who authenticates clients: the matrix and the inference of modes and protocols.

use crate::catalogue::{Kind, gateway, list};
use crate::model::{
    ClientAuth, ClientSecurity, ClientTls, Listener, Network, NetworkMode, OAuthServer,
    SecurityMode, SecurityProtocol, Store, StoreKind,
};
use crate::report::Problem;
use crate::settings::{Findings, Settings};

/// What protocol and mode come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inferred {
    /// Of the one listener outside listener mode; meaningless in listener mode.
    pub(crate) protocol: SecurityProtocol,
    pub(crate) mode: SecurityMode,
    /// Whether protocol or mode were not given.
    pub(crate) inferred: bool,
}

/// Applies the inference table; in listener mode nothing is inferred.
pub(crate) fn infer(
    fixed: &Settings,
    network: NetworkMode,
    kafka: SecurityProtocol,
    kafka_variable: &str,
    findings: &mut Findings,
) -> Inferred {
    let given_mode = fixed.word(&gateway::SECURITY_MODE, SecurityMode::parse);
    let plain = SecurityProtocol::Plaintext;
    if network == NetworkMode::Listener {
        if fixed.text(&gateway::SECURITY_MODE).is_none() {
            let expected = gateway::SECURITY_MODE.kind.expected();
            findings.problem(
                Problem::unset(gateway::SECURITY_MODE.name, expected)
                    .hint("Nothing is inferred when GATEWAY_LISTENER_* is set."),
            );
        }
        let mode = given_mode.unwrap_or(SecurityMode::GatewayManaged);
        return Inferred {
            protocol: plain,
            mode,
            inferred: false,
        };
    }
    let given = fixed
        .text(&gateway::LEGACY_SECURITY_PROTOCOL)
        .map(str::trim);
    if let Some(delegated) = given.and_then(delegated) {
        if given_mode == Some(SecurityMode::GatewayManaged) {
            findings.problem(
                fixed
                    .problem(
                        &gateway::LEGACY_SECURITY_PROTOCOL,
                        "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
                    )
                    .with(
                        gateway::SECURITY_MODE.name,
                        SecurityMode::GatewayManaged.as_str(),
                    ),
            );
        } else {
            findings.warn(format!(
                "{}: the DELEGATED values are deprecated, use {delegated} and {}={}",
                gateway::LEGACY_SECURITY_PROTOCOL.name,
                gateway::SECURITY_MODE.name,
                SecurityMode::KafkaManaged,
            ));
        }
        return Inferred {
            protocol: delegated,
            mode: SecurityMode::KafkaManaged,
            inferred: given_mode.is_none(),
        };
    }
    let given_protocol = given.and_then(SecurityProtocol::parse);
    let sasl_mode = if kafka.is_sasl() {
        SecurityMode::KafkaManaged
    } else {
        SecurityMode::GatewayManaged
    };
    match (given_protocol, given_mode) {
        (Some(protocol), Some(mode)) => Inferred {
            protocol,
            mode,
            inferred: false,
        },
        (Some(protocol), None) => Inferred {
            protocol,
            mode: SecurityMode::GatewayManaged,
            inferred: true,
        },
        (None, None) => Inferred {
            protocol: kafka,
            mode: sasl_mode,
            inferred: true,
        },
        (None, Some(mode)) if mode == sasl_mode => Inferred {
            protocol: kafka,
            mode,
            inferred: true,
        },
        (None, Some(mode)) => {
            findings.problem(
                Problem::unset(
                    gateway::LEGACY_SECURITY_PROTOCOL.name,
                    Kind::PROTOCOL.expected(),
                )
                .with(gateway::SECURITY_MODE.name, mode.as_str())
                .with(kafka_variable, kafka.as_str())
                .hint("It cannot be inferred from these two."),
            );
            Inferred {
                protocol: plain,
                mode,
                inferred: true,
            }
        }
    }
}

fn delegated(word: &str) -> Option<SecurityProtocol> {
    if word.eq_ignore_ascii_case("DELEGATED_SASL_PLAINTEXT") {
        Some(SecurityProtocol::SaslPlaintext)
    } else if word.eq_ignore_ascii_case("DELEGATED_SASL_SSL") {
        Some(SecurityProtocol::SaslSsl)
    } else {
        None
    }
}

/// Checks mode against protocols, and computes what depends on both.
pub(crate) fn client_security(
    fixed: &Settings,
    network: &Network,
    inferred: Inferred,
    kafka: (SecurityProtocol, &str),
    admin_names: Vec<String>,
    findings: &mut Findings,
) -> ClientSecurity {
    if inferred.mode == SecurityMode::KafkaManaged {
        check_kafka_managed(network, kafka, findings);
    }
    let tls = client_tls(fixed);
    check_tls(network, &tls, findings);
    let oauth = oauth(fixed, inferred.mode, findings);
    check_token_key(fixed, network, inferred.mode, findings);
    let super_users = super_users(fixed);
    warn_of_super_users(
        &super_users,
        network,
        inferred.mode,
        oauth.is_some(),
        findings,
    );
    ClientSecurity {
        mode: inferred.mode,
        inferred: inferred.inferred,
        acl_enabled: acl_enabled(fixed, network, inferred.mode, findings),
        super_users: if super_users.is_empty() {
            admin_names
        } else {
            super_users
        },
        mandatory_vcluster: fixed.flag(&gateway::MANDATORY_VCLUSTER).unwrap_or(false),
        strict_vclusters: fixed.flag(&gateway::VCLUSTERS_STRICT).unwrap_or(false),
        auto_create_topics: fixed.flag(&gateway::AUTO_CREATE_TOPICS).unwrap_or(false),
        max_reauth: Some(fixed.millis(&gateway::MAX_REAUTH)).filter(|limit| !limit.is_zero()),
        token_signing_key: fixed.secret(&gateway::USER_POOL_SECRET_KEY),
        tls,
        oauth,
        use_pool_id: fixed.flag(&gateway::OAUTH_USE_CC_POOL_ID).unwrap_or(false),
    }
}

/// Kafka separates super users by ';', because names of certificates hold ','. Where an item is no such name, ',' separates too.
fn super_users(fixed: &Settings) -> Vec<String> {
    let items = fixed.items(&gateway::SUPER_USERS, ';');
    let split = |item: &String| match item.contains('=') {
        true => vec![item.clone()],
        false => list(item, ','),
    };
    items.iter().flat_map(split).collect()
}

/// TLS needs a certificate, and client certificates something to be checked against.
fn check_tls(network: &Network, tls: &ClientTls, findings: &mut Findings) {
    let served = |listener: &&Listener| listener.protocol.is_tls();
    if let Some(listener) = network.listeners.iter().find(served)
        && tls.key_store.is_none()
    {
        let problem = Problem::unset(
            gateway::SSL_KEY_STORE_PATH.name,
            "a file with a certificate chain and its private key",
        );
        findings.problem(problem.with(
            protocol_variable(network, listener),
            listener.protocol.as_str(),
        ));
    }
    let asks = |listener: &&Listener| listener.client_auth != ClientAuth::None;
    if let Some(listener) = network.listeners.iter().find(asks)
        && tls.trust_store.is_none()
    {
        let variable = match network.mode {
            NetworkMode::Listener => format!("GATEWAY_LISTENER_{}_SSL_CLIENT_AUTH", listener.name),
            NetworkMode::Legacy | NetworkMode::ZeroConfig => {
                gateway::SSL_CLIENT_AUTH.name.to_owned()
            }
        };
        let problem = Problem::unset(
            gateway::SSL_TRUST_STORE_PATH.name,
            "a file with the certificates that client certificates are checked against",
        );
        findings.problem(problem.with(variable, listener.client_auth.as_str()));
    }
}

/// There is no built-in signing key: whoever knew it could be anybody.
fn check_token_key(
    fixed: &Settings,
    network: &Network,
    mode: SecurityMode,
    findings: &mut Findings,
) {
    let listener = network.listeners.iter().find(|l| l.protocol.is_sasl());
    if let (SecurityMode::GatewayManaged, Some(listener), None) =
        (mode, listener, fixed.text(&gateway::USER_POOL_SECRET_KEY))
    {
        let problem = Problem::unset(
            gateway::USER_POOL_SECRET_KEY.name,
            "base64 of at least 32 random bytes, as `openssl rand -base64 32` gives",
        );
        findings.problem(problem.with(
            protocol_variable(network, listener),
            listener.protocol.as_str(),
        ));
    }
}

fn warn_of_super_users(
    given: &[String],
    network: &Network,
    mode: SecurityMode,
    has_oauth: bool,
    findings: &mut Findings,
) {
    let name = gateway::SUPER_USERS.name;
    if mode == SecurityMode::KafkaManaged {
        if !given.is_empty() {
            findings.warn(format!("{name}: no effect, because Kafka checks access"));
        }
        return;
    }
    let asks = network
        .listeners
        .iter()
        .any(|listener| listener.client_auth != ClientAuth::None);
    if given.is_empty() && (asks || has_oauth) {
        findings.warn(format!(
            "{name} is not set: everybody whom the identity provider calls by the name of an admin user is a super user"
        ));
    }
}

fn check_kafka_managed(
    network: &Network,
    (kafka, kafka_variable): (SecurityProtocol, &str),
    findings: &mut Findings,
) {
    let mode = (
        gateway::SECURITY_MODE.name,
        SecurityMode::KafkaManaged.as_str(),
    );
    for listener in network
        .listeners
        .iter()
        .filter(|listener| !listener.protocol.is_sasl())
    {
        let expected = "SASL_PLAINTEXT or SASL_SSL, because credentials are relayed";
        let problem = Problem::value(
            protocol_variable(network, listener),
            listener.protocol.as_str(),
            expected,
        );
        findings.problem(problem.with(mode.0, mode.1));
    }
    if !kafka.is_sasl() {
        let expected = "SASL_PLAINTEXT or SASL_SSL, because credentials are relayed to Kafka";
        findings
            .problem(Problem::value(kafka_variable, kafka.as_str(), expected).with(mode.0, mode.1));
    }
}

/// The variable that decides the protocol of a listener.
pub(crate) fn protocol_variable(network: &Network, listener: &Listener) -> String {
    match network.mode {
        NetworkMode::Listener => format!("GATEWAY_LISTENER_{}_SECURITY_PROTOCOL", listener.name),
        NetworkMode::Legacy | NetworkMode::ZeroConfig => {
            gateway::LEGACY_SECURITY_PROTOCOL.name.to_owned()
        }
    }
}

fn acl_enabled(
    fixed: &Settings,
    network: &Network,
    mode: SecurityMode,
    findings: &mut Findings,
) -> bool {
    let can_authenticate = network.listeners.iter().any(|listener| {
        listener.protocol.is_sasl()
            || (listener.protocol.is_tls() && listener.client_auth != ClientAuth::None)
    });
    let given = match fixed.text(&gateway::ACL_ENABLED) {
        Some(_) => fixed.flag(&gateway::ACL_ENABLED),
        None => None,
    };
    match (given, mode) {
        (Some(true), SecurityMode::KafkaManaged) => {
            let problem = fixed.problem(
                &gateway::ACL_ENABLED,
                "false, because Kafka checks access itself",
            );
            findings.problem(problem.with(gateway::SECURITY_MODE.name, mode.as_str()));
            true
        }
        (Some(true), SecurityMode::GatewayManaged) if !can_authenticate => {
            let expected = "false, because every client of these listeners is anonymous";
            if network.mode == NetworkMode::Listener {
                let mut problem = fixed.problem(&gateway::ACL_ENABLED, expected);
                for listener in &network.listeners {
                    problem = problem.with(
                        protocol_variable(network, listener),
                        listener.protocol.as_str(),
                    );
                }
                findings.problem(problem);
            } else {
                findings.warn(format!(
                    "{}=true: every client is anonymous",
                    gateway::ACL_ENABLED.name
                ));
            }
            true
        }
        (Some(given), _) => given,
        (None, SecurityMode::KafkaManaged) => false,
        (None, SecurityMode::GatewayManaged) if network.mode == NetworkMode::ZeroConfig => false,
        (None, SecurityMode::GatewayManaged) => {
            if !can_authenticate {
                findings.warn("no listener can authenticate clients: access control is off");
            }
            can_authenticate
        }
    }
}

fn client_tls(fixed: &Settings) -> ClientTls {
    let store = |path, password, kind| {
        Some(Store {
            path: fixed.path(path)?,
            password: fixed.secret(password),
            kind: fixed.word(kind, crate::catalogue::kafka::store_kind),
        })
    };
    ClientTls {
        key_store: store(
            &gateway::SSL_KEY_STORE_PATH,
            &gateway::SSL_KEY_STORE_PASSWORD,
            &gateway::SSL_KEY_TYPE,
        ),
        key_password: fixed.secret(&gateway::SSL_KEY_PASSWORD),
        trust_store: store(
            &gateway::SSL_TRUST_STORE_PATH,
            &gateway::SSL_TRUST_STORE_PASSWORD,
            &gateway::SSL_TRUST_STORE_TYPE,
        ),
        reload_interval: fixed.seconds(&gateway::SSL_UPDATE_INTERVAL) * 60,
        principal_mapping_rules: fixed.text_or_default(&gateway::PRINCIPAL_MAPPING_RULES),
    }
}

fn oauth(fixed: &Settings, mode: SecurityMode, findings: &mut Findings) -> Option<OAuthServer> {
    let (retry, max_retry) = (
        fixed.millis(&gateway::OAUTH_JWKS_RETRY),
        fixed.millis(&gateway::OAUTH_JWKS_MAX_RETRY),
    );
    if max_retry < retry {
        findings.problem(
            fixed
                .problem(&gateway::OAUTH_JWKS_MAX_RETRY, "at least the first pause")
                .with(
                    gateway::OAUTH_JWKS_RETRY.name,
                    &retry.as_millis().to_string(),
                ),
        );
    }
    let Some(url) = fixed.text(&gateway::OAUTH_JWKS_URL) else {
        let without: Vec<_> = [
            gateway::OAUTH_EXPECTED_ISSUER,
            gateway::OAUTH_EXPECTED_AUDIENCES,
            gateway::OAUTH_SCOPE_CLAIM,
            gateway::OAUTH_SUB_CLAIM,
        ]
        .iter()
        .filter(|setting| fixed.text(setting).is_some())
        .map(|setting| setting.name)
        .collect();
        if mode == SecurityMode::GatewayManaged && !without.is_empty() {
            findings.warn(format!(
                "{}: no effect without {}",
                without.join(", "),
                gateway::OAUTH_JWKS_URL.name
            ));
        }
        return None;
    };
    let trim: &[char] = &['[', ']', '"', '\''];
    Some(OAuthServer {
        jwks_url: url.trim().to_owned(),
        expected_issuer: fixed
            .text(&gateway::OAUTH_EXPECTED_ISSUER)
            .map(String::from),
        expected_audiences: fixed
            .items(&gateway::OAUTH_EXPECTED_AUDIENCES, ',')
            .iter()
            .map(|item| item.trim_matches(trim).trim().to_owned())
            .filter(|item| !item.is_empty())
            .collect(),
        jwks_refresh: fixed.millis(&gateway::OAUTH_JWKS_REFRESH),
        jwks_retry: retry,
        jwks_max_retry: max_retry,
        scope_claim_name: fixed.text_or_default(&gateway::OAUTH_SCOPE_CLAIM),
        sub_claim_name: fixed.text_or_default(&gateway::OAUTH_SUB_CLAIM),
    })
}

/// Reads the client-authentication words of the admin port, which belong to two families.
pub(crate) fn https_client_auth(word: &str) -> Option<ClientAuth> {
    if word.eq_ignore_ascii_case("REQUEST") {
        Some(ClientAuth::Optional)
    } else if word.eq_ignore_ascii_case("REQUIRED") {
        Some(ClientAuth::Require)
    } else {
        ClientAuth::parse(word)
    }
}

/// Reads a store of the admin port, whose format is always found from its content.
pub(crate) fn https_store(
    fixed: &Settings,
    path: &crate::catalogue::Setting,
    password: &crate::catalogue::Setting,
) -> Option<Store> {
    Some(Store {
        path: fixed.path(path)?,
        password: fixed.secret(password),
        kind: None::<StoreKind>,
    })
}
