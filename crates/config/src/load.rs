//! From a source to the effective configuration.

use crate::catalogue::gateway;
use crate::clusters::clusters;
use crate::kafka;
use crate::machine::Machine;
use crate::model::{
    AdminUser, ClientAuth, Config, Http, HttpsTls, Limits, LogLayout, LogLevel, Logging,
    MetricsLimits, NameFilter, NetworkMode, Pool, PoolKind, SecurityMode, Shutdown, StateTopics,
    TopicMetrics,
};
use crate::names::sort;
use crate::report::{Problem, Report};
use crate::secret::Secret;
use crate::settings::{Findings, Settings};
use crate::source::Source;
use crate::upstream::Upstream;
use crate::{Loaded, available, network, otlp, security, yaml};

/// Termination grace time that deployments commonly give, in milliseconds.
const USUAL_GRACE_MS: u64 = 30_000;

/// Validates `source` and computes the effective configuration.
///
/// # Errors
/// All problems found, collected. The process should print them and exit with [`EXIT_CODE`](crate::EXIT_CODE).
pub fn load(source: &Source) -> Result<Loaded, Report> {
    let mut findings = Findings {
        report: Report::default(),
        notices: source.notices.clone(),
        misspelt: Vec::new(),
    };
    for problem in &source.problems {
        findings.problem(problem.clone());
    }
    let sorted = sort(source, &mut findings);
    let fixed = &sorted.fixed;

    let mut given = clusters(&sorted, source, &mut findings).into_iter();
    let main = given
        .next()
        .map(|given| kafka::cluster(&given, &mut findings));
    let others: Vec<_> = given
        .map(|given| kafka::cluster(&given, &mut findings))
        .collect();
    let Some(main) = main else {
        return Err(findings.report);
    };
    kafka::tell_unused(&others, &mut findings);

    let mode = network::mode(&sorted);
    let kafka_protocol = (
        main.security.protocol,
        main.variable_for("security.protocol"),
    );
    let inferred = security::infer(
        fixed,
        mode,
        kafka_protocol.0,
        &kafka_protocol.1,
        &mut findings,
    );
    let network = network::network(
        &sorted,
        mode,
        &inferred,
        &source.machine.host_name,
        &mut findings,
    );
    let users = users(fixed, &mut findings);
    let names = users.iter().map(|user| user.username.clone()).collect();
    let kafka_protocol = (kafka_protocol.0, kafka_protocol.1.as_str());
    let security = security::client_security(
        fixed,
        &network,
        inferred,
        kafka_protocol,
        names,
        &mut findings,
    );
    security_provider(fixed, &mut findings);

    let cluster_id = fixed.text_or_default(&gateway::CLUSTER_ID);
    let config = Config {
        group_id: fixed
            .text(&gateway::GROUP_ID)
            .map_or_else(|| format!("conduktor_{cluster_id}"), String::from),
        pool: pool(fixed, security.mode, &mut findings),
        workers: workers(fixed, source.machine.cpus),
        limits: limits(fixed, &source.machine, &mut findings),
        http: http(fixed, users, &mut findings),
        state: state_topics(fixed, &cluster_id),
        metrics: metrics(fixed),
        deployed_by: fixed.text(&gateway::DEPLOYED_BY).map(str::to_owned),
        topic_metrics: topic_metrics(fixed),
        otlp: otlp::otlp(fixed, &source.machine.host_name, &mut findings),
        shutdown: Shutdown {
            delay_between_brokers: fixed.millis(&gateway::SHUTDOWN_DELAY),
            drain_timeout: fixed.millis(&gateway::SHUTDOWN_DRAIN_TIMEOUT),
        },
        startup_kafka_timeout: fixed.millis(&gateway::STARTUP_KAFKA_TIMEOUT),
        logging: logging(fixed),
        cluster_id,
        network,
        security,
        upstream: Upstream { main, others },
    };
    tell(&config, &mut findings);
    available::refuse(&config, fixed, &mut findings);
    if findings.report.is_empty() {
        Ok(Loaded {
            config,
            notices: findings.notices,
        })
    } else {
        findings.hint_at_misspelt();
        Err(findings.report)
    }
}

fn metrics(fixed: &Settings) -> MetricsLimits {
    MetricsLimits {
        users: fixed.flag(&gateway::METRICS_USER_ENABLED).unwrap_or(true),
        max_users: fixed.number(&gateway::METRICS_MAX_USERS).unwrap_or(1000),
        max_vclusters: fixed.number(&gateway::METRICS_MAX_VCLUSTERS).unwrap_or(500),
        lifecycle: fixed
            .flag(&gateway::LIFECYCLE_METRICS)
            .unwrap_or(false)
            .then(|| fixed.items(&gateway::LIFECYCLE_API_KEYS, ',')),
    }
}

fn topic_metrics(fixed: &Settings) -> TopicMetrics {
    let filter = |allow, deny| NameFilter {
        allow: fixed.pattern(allow),
        deny: fixed.pattern(deny),
    };
    let flag = |setting| fixed.flag(setting).unwrap_or(true);
    let poll = fixed.millis(&gateway::METRICS_OFFSET_POLL);
    TopicMetrics {
        bytes: flag(&gateway::METRICS_TOPIC_ENABLED),
        offsets: flag(&gateway::METRICS_OFFSETS_ENABLED),
        max_topics: fixed.number(&gateway::METRICS_MAX_TOPICS).unwrap_or(5000),
        max_offset_series: fixed
            .number(&gateway::METRICS_MAX_OFFSET_SERIES)
            .unwrap_or(20_000),
        partitions: flag(&gateway::METRICS_OFFSET_PARTITIONS),
        topics: filter(&gateway::METRICS_TOPIC_ALLOW, &gateway::METRICS_TOPIC_DENY),
        groups: filter(&gateway::METRICS_GROUP_ALLOW, &gateway::METRICS_GROUP_DENY),
        poll: Some(poll).filter(|poll| !poll.is_zero()),
    }
}

fn state_topics(fixed: &Settings, cluster_id: &str) -> StateTopics {
    let topic = |setting: &crate::catalogue::Setting, suffix: &str| match fixed.text(setting) {
        Some(name) => name.trim().to_owned(),
        None => format!("_conduktor_{cluster_id}_{suffix}"),
    };
    StateTopics {
        accounts: topic(&gateway::USER_MAPPINGS_TOPIC, "usermappings"),
        acls: topic(&gateway::ACLS_TOPIC, "acls"),
        vclusters: topic(&gateway::VCLUSTERS_TOPIC, "vclusters"),
        topic_mappings: topic(&gateway::TOPIC_MAPPINGS_TOPIC, "topicmappings"),
        groups: topic(&gateway::GROUPS_TOPIC, "groups"),
        interceptor_configs: topic(&gateway::INTERCEPTOR_CONFIGS_TOPIC, "interceptor_configs"),
        replication_factor: fixed
            .number(&gateway::STORE_REPLICATION_FACTOR)
            .unwrap_or(-1),
        refresh_interval: fixed.millis(&gateway::STORE_TTL),
        without_authentication: fixed
            .flag(&gateway::STORE_WITHOUT_AUTHENTICATION)
            .unwrap_or(true),
    }
}

fn tell(config: &Config, findings: &mut Findings) {
    findings.info(format!("network mode: {}", config.network.mode));
    if config.network.mode == NetworkMode::Legacy {
        findings.info(format!(
            "security mode: {}, access control: {}",
            config.security.mode,
            if config.security.acl_enabled {
                "on"
            } else {
                "off"
            }
        ));
    }
    if config.shutdown.drain_timeout.as_millis() > u128::from(USUAL_GRACE_MS) {
        findings.warn(format!(
            "{} is longer than the 30 s that deployments commonly give a process to end",
            gateway::SHUTDOWN_DRAIN_TIMEOUT.name
        ));
    }
}

fn pool(fixed: &Settings, mode: SecurityMode, findings: &mut Findings) -> Pool {
    let mut kind = fixed
        .word(&gateway::POOL_TYPE, PoolKind::parse)
        .unwrap_or(PoolKind::None);
    if mode == SecurityMode::KafkaManaged && kind != PoolKind::None {
        findings.warn(format!(
            "{}: NONE is used, because every client has its own credentials",
            gateway::POOL_TYPE.name
        ));
        kind = PoolKind::None;
    }
    Pool {
        kind,
        connections: fixed.number(&gateway::NUM_CONNECTION).unwrap_or(10),
    }
}

fn workers(fixed: &Settings, cpus: usize) -> usize {
    let given = [&gateway::UPSTREAM_THREAD, &gateway::DOWNSTREAM_THREAD];
    given
        .iter()
        .filter_map(|setting| fixed.number::<usize>(setting))
        .max()
        .unwrap_or(cpus)
        .max(1)
}

fn limits(fixed: &Settings, machine: &Machine, findings: &mut Findings) -> Limits {
    let affordable = machine.connections();
    let max_connections = fixed.number(&gateway::MAX_CONNECTIONS);
    if max_connections.is_some_and(|max| max > affordable) {
        findings.warn(format!(
            "{}: there may be {} open files, enough for {affordable} connections with a connection to a broker each; raise the hard limit (ulimit -Hn)",
            gateway::MAX_CONNECTIONS.name,
            machine.open_files,
        ));
    }
    Limits {
        max_request_bytes: fixed
            .number(&gateway::SOCKET_REQUEST_MAX_BYTES)
            .unwrap_or(104_857_600),
        max_in_flight_per_connection: fixed.number(&gateway::MAX_IN_FLIGHT).unwrap_or(100),
        max_connections: max_connections.unwrap_or(affordable),
        max_connections_per_ip: fixed.number(&gateway::MAX_CONNECTIONS_PER_IP),
        max_connection_creation_rate: fixed.number(&gateway::MAX_CONNECTION_CREATION_RATE),
        connections_max_idle: fixed.millis(&gateway::CONNECTIONS_MAX_IDLE),
        max_buffered_bytes: fixed
            .number(&gateway::MAX_BUFFERED_BYTES)
            .unwrap_or(machine.memory / 4),
        unauthenticated_timeout: fixed.millis(&gateway::UNAUTHENTICATED_TIMEOUT),
        sasl_max_receive: fixed.number(&gateway::SASL_MAX_RECEIVE).unwrap_or(524_288),
        failed_authentication_delay: fixed.millis(&gateway::FAILED_AUTHENTICATION_DELAY),
    }
}

fn users(fixed: &Settings, findings: &mut Findings) -> Vec<AdminUser> {
    let setting = &gateway::ADMIN_API_USERS;
    let Some(text) = fixed.text(setting) else {
        findings.warn(format!(
            "{} is not set: the admin port has one user with a well-known password",
            setting.name
        ));
        return vec![AdminUser {
            username: "admin".into(),
            password: Secret::new("conduktor"),
            admin: true,
        }];
    };
    let given = match yaml::parse::<Vec<yaml::User>>(text) {
        Ok(given) => given,
        Err(place) => {
            let expected = format!("a list of {{username, password, admin}} ({place})");
            findings.problem(fixed.problem(setting, expected));
            return Vec::new();
        }
    };
    let mut users: Vec<AdminUser> = Vec::new();
    for (i, user) in given.into_iter().enumerate() {
        let mut wrong = |expected: &str| {
            findings.problem(fixed.problem(setting, format!("{expected} (item {})", i + 1)))
        };
        if user.username.is_empty() {
            wrong("a user name in every item");
        } else if users.iter().any(|known| known.username == user.username) {
            wrong("every user name once");
        } else if user.password.is_empty() {
            wrong("a password in every item");
        }
        users.push(AdminUser {
            username: user.username,
            password: Secret::new(user.password),
            admin: user.admin,
        });
    }
    users
}

fn http(fixed: &Settings, users: Vec<AdminUser>, findings: &mut Findings) -> Http {
    let client_auth = fixed
        .word(
            &gateway::HTTPS_CLIENT_AUTH_MODE,
            security::https_client_auth,
        )
        .unwrap_or(ClientAuth::None);
    let key_store = security::https_store(
        fixed,
        &gateway::HTTPS_KEY_STORE_PATH,
        &gateway::HTTPS_KEY_STORE_PASSWORD,
    );
    let trust_store = security::https_store(
        fixed,
        &gateway::HTTPS_TRUST_STORE_PATH,
        &gateway::HTTPS_TRUST_STORE_PASSWORD,
    );
    if key_store.is_some() && client_auth != ClientAuth::None && trust_store.is_none() {
        let problem = Problem::unset(
            gateway::HTTPS_TRUST_STORE_PATH.name,
            "a file with certificates",
        );
        findings.problem(problem.with(gateway::HTTPS_CLIENT_AUTH_MODE.name, client_auth.as_str()));
    }
    Http {
        port: fixed.number(&gateway::HTTP_PORT).unwrap_or(8888),
        secured_metrics: fixed.flag(&gateway::SECURED_METRICS).unwrap_or(true),
        users,
        tls: key_store.map(|key_store| HttpsTls {
            key_store,
            client_auth,
            trust_store,
        }),
    }
}

fn security_provider(fixed: &Settings, findings: &mut Findings) {
    let setting = &gateway::SECURITY_PROVIDER;
    let Some(word) = fixed
        .text(setting)
        .map(|word| word.trim().to_ascii_uppercase())
    else {
        return;
    };
    match word.as_str() {
        "BOUNCY_CASTLE_FIPS" => findings.problem(
            fixed
                .problem(setting, "DEFAULT")
                .hint("This program was not built with a FIPS provider."),
        ),
        "BOUNCY_CASTLE" | "CONSCRYPT" => {
            findings.warn(format!("{}: {word} has no meaning here", setting.name))
        }
        _ => {}
    }
}

fn logging(fixed: &Settings) -> Logging {
    let level = |setting| fixed.word(setting, log_level).unwrap_or(LogLevel::Info);
    Logging {
        layout: fixed
            .word(&gateway::LOG_LAYOUT, LogLayout::parse)
            .unwrap_or(LogLayout::Pattern),
        time_format: fixed
            .text(&gateway::LOG_TIME_FORMAT)
            .unwrap_or(gateway::LOG_TIME_FORMAT.default_text())
            .to_owned(),
        root: level(&gateway::LOG_ROOT),
        levels: gateway::LOGGING
            .iter()
            .filter(|setting| {
                setting.name.ends_with("_LEVEL") && setting.name != gateway::LOG_ROOT.name
            })
            .map(|setting| (setting.name, level(setting)))
            .collect(),
    }
}

fn log_level(word: &str) -> Option<LogLevel> {
    match word.to_ascii_lowercase().as_str() {
        "fatal" => Some(LogLevel::Error),
        "all" => Some(LogLevel::Trace),
        _ => LogLevel::parse(word),
    }
}
