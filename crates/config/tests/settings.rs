//! Every setting, unset, right and wrong.

mod common;

use common::{SERVERS, TempFile, loaded, problem, problems, try_load, warnings};
use sluicegate_config::catalogue::{self, Kind, LISTENER_SETTINGS, PROPERTIES, Setting, Status};
use sluicegate_config::{Source, effective_yaml};

/// Never to be seen in any output.
const HUSH: &str = "hush-hush-value";

/// A value of the right type.
fn right(kind: Kind) -> Option<String> {
    Some(match kind {
        Kind::Bool => "False".into(),
        Kind::Int { min, max } => format!(" {} ", min.max(1).min(max)),
        Kind::Decimal { max, .. } => (f64::from(max) / 1000.0).to_string(),
        Kind::Word(words) => words.first()?.to_ascii_lowercase(),
        Kind::Level => "WARN".into(),
        Kind::Ports => "9092-9094".into(),
        Kind::Url => "https://example.com/x".into(),
        Kind::Text | Kind::Token | Kind::List(_) | Kind::Host | Kind::Topic => "abc".into(),
        Kind::Pattern => "a.*|b[0-9]{2}".into(),
        Kind::Secret | Kind::Path | Kind::Yaml => return None,
    })
}

/// Values of a wrong type or out of range.
fn wrong(kind: Kind) -> Vec<String> {
    match kind {
        Kind::Bool => vec!["yes".into(), "1".into()],
        Kind::Int { min, max } => {
            let mut values = vec![
                "many".into(),
                "1.5".into(),
                "+1".into(),
                "99999999999999999999".into(),
            ];
            values.extend(min.checked_sub(1).map(|below| below.to_string()));
            values.extend(max.checked_add(1).map(|above| above.to_string()));
            values
        }
        Kind::Decimal { max, .. } => vec![
            "x".into(),
            "1e1".into(),
            "-0.1".into(),
            (f64::from(max) / 1000.0 + 0.1).to_string(),
        ],
        Kind::Word(_) | Kind::Level => vec!["nonsense".into()],
        Kind::Ports => vec!["x".into(), "2-1".into()],
        Kind::Url => vec!["example.com".into(), "ftp://x".into(), "file:".into()],
        Kind::Token => vec!["a b".into(), "a/b".into()],
        Kind::Host => vec!["a b".into(), "-a".into(), "a..b".into()],
        Kind::Pattern => vec!["(a".into(), "*".into(), "a{99999}{99999}".into()],
        Kind::Topic => vec!["..".into(), "a/b".into(), "a".repeat(250)],
        Kind::Text | Kind::List(_) | Kind::Secret | Kind::Path | Kind::Yaml => vec![],
    }
}

/// The variables of the whole catalogue with one name each.
fn variables() -> impl Iterator<Item = (String, &'static Setting)> {
    let fixed = catalogue::all().filter(|setting| !matches!(setting.status, Status::Removed(_)));
    let kafka = PROPERTIES.iter().map(|setting| {
        (
            format!("KAFKA_{}", setting.name.to_uppercase().replace('.', "_")),
            setting,
        )
    });
    let listener = LISTENER_SETTINGS
        .iter()
        .map(|setting| (format!("GATEWAY_LISTENER_A_{}", setting.name), setting));
    fixed
        .map(|setting| (setting.name.to_owned(), setting))
        .chain(kafka)
        .chain(listener)
}

#[test]
fn a_wrong_value_names_its_variable() {
    for (variable, setting) in variables() {
        for value in wrong(setting.kind) {
            let lines = problems(&[(&variable, &value)]);
            let start = format!(
                "Invalid configuration: {variable}={}",
                &value[..value.len().min(100)]
            );
            assert!(
                lines.iter().any(|line| line.starts_with(&start)),
                "{start}: {lines:#?}"
            );
        }
    }
}

#[test]
fn a_right_value_is_no_problem_of_its_type() {
    for (variable, setting) in variables() {
        let Some(value) = right(setting.kind) else {
            continue;
        };
        let Err(report) = try_load(&[(&variable, &value)]) else {
            continue;
        };
        let unfit = format!("{variable}={value}: expected {}.", setting.kind.expected());
        assert!(!report.to_string().contains(&unfit), "{report}");
    }
}

#[test]
fn an_empty_value_is_unset() {
    let pairs: Vec<_> = variables()
        .map(|(name, _)| name)
        .filter(|name| name != SERVERS.0)
        .collect();
    let pairs: Vec<_> = pairs.iter().map(|name| (name.as_str(), "")).collect();
    let (given, none) = (loaded(&pairs), loaded(&[]));
    assert_eq!(effective_yaml(&given.config), effective_yaml(&none.config));
}

#[test]
fn no_secret_is_ever_shown() {
    let secrets: Vec<_> = variables()
        .filter(|(_, setting)| setting.kind.is_secret())
        .map(|(name, _)| name)
        .collect();
    assert!(secrets.len() > 15);
    let users = format!("[{{username: a, password: {HUSH}}}]");
    for variable in &secrets {
        let value = if variable == "GATEWAY_ADMIN_API_USERS" {
            users.as_str()
        } else {
            HUSH
        };
        let jaas = format!(
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=u password={HUSH};"
        );
        for protocol in ["PLAINTEXT", "SASL_SSL", "SSL"] {
            let pairs = [
                ("KAFKA_SECURITY_PROTOCOL", protocol),
                ("GATEWAY_SECURITY_PROTOCOL", "PLAINTEXT"),
                ("KAFKA_SASL_MECHANISM", "PLAIN"),
                ("KAFKA_SASL_JAAS_CONFIG", jaas.as_str()),
                (variable.as_str(), value),
            ];
            match try_load(&pairs) {
                Ok(loaded) => {
                    let notices: String = loaded
                        .notices
                        .iter()
                        .map(|notice| notice.text.as_str())
                        .collect();
                    let shown = format!(
                        "{}{:?}{notices}",
                        effective_yaml(&loaded.config),
                        loaded.config
                    );
                    assert!(!shown.contains(HUSH), "{variable}: {shown}");
                }
                Err(report) => assert!(
                    !format!("{report}{report:?}").contains(HUSH),
                    "{variable}: {report}"
                ),
            }
        }
    }
}

#[test]
fn defaults() {
    let config = loaded(&[]).config;
    assert_eq!(config.cluster_id, "gateway");
    assert_eq!(config.group_id, "conduktor_gateway");
    assert_eq!(config.workers, 4);
    assert_eq!(config.http.port, 8888);
    assert_eq!(config.limits.max_request_bytes, 104_857_600);
    assert_eq!(config.limits.max_buffered_bytes, 1 << 30);
    // Half of the open files, a reserve aside.
    assert_eq!(config.limits.max_connections, 523_776);
    assert_eq!(config.limits.connections_max_idle.as_secs(), 600);
    assert_eq!(config.shutdown.drain_timeout.as_secs(), 10);
    assert_eq!(config.startup_kafka_timeout.as_secs(), 300);
    assert_eq!(config.upstream.main.metadata_max_age.as_secs(), 300);
    assert_eq!(config.upstream.main.send_buffer, None);
    assert!(!config.security.acl_enabled);
    let warned: Vec<String> = loaded(&[])
        .notices
        .into_iter()
        .filter(|notice| notice.level == sluicegate_config::NoticeLevel::Warn)
        .map(|notice| notice.text)
        .collect();
    assert_eq!(
        warned,
        [
            "GATEWAY_ADMIN_API_USERS is not set: the admin port has one user with a well-known password"
        ]
    );
}

#[test]
fn the_larger_thread_count_is_used() {
    let workers = |pairs| loaded(pairs).config.workers;
    assert_eq!(
        workers(&[
            ("GATEWAY_UPSTREAM_THREAD", "2"),
            ("GATEWAY_DOWNSTREAM_THREAD", "7")
        ]),
        7
    );
    assert_eq!(workers(&[("GATEWAY_UPSTREAM_THREAD", "1")]), 1);
}

#[test]
fn levels_in_any_case_with_synonyms() {
    use sluicegate_config::LogLevel;
    let logging = loaded(&[
        ("LOG4J2_ROOT_LEVEL", "Fatal"),
        ("LOG4J2_IO_NETTY_LEVEL", "ALL"),
    ])
    .config
    .logging;
    assert_eq!(logging.root, LogLevel::Error);
    assert!(
        logging
            .levels
            .contains(&("LOG4J2_IO_NETTY_LEVEL", LogLevel::Trace))
    );
    assert!(
        logging
            .levels
            .contains(&("LOG4J2_ORG_APACHE_KAFKA_LEVEL", LogLevel::Warn))
    );
}

#[test]
fn admin_users() {
    for (text, part) in [
        ("nonsense", "(line 1, column"),
        ("[{username: a}]", "a password in every item (item 1)"),
        ("[{password: x}]", "a user name in every item"),
        (
            "[{username: a, password: x}, {username: a, password: y}]",
            "every user name once (item 2)",
        ),
        ("[{username: a, password: x, role: y}]", "(line 1, column"),
    ] {
        let line = problem(&[("GATEWAY_ADMIN_API_USERS", text)]);
        assert!(
            line.starts_with("Invalid configuration: GATEWAY_ADMIN_API_USERS: expected")
                && line.contains(part),
            "{line}"
        );
    }
    let config = loaded(&[(
        "GATEWAY_ADMIN_API_USERS",
        r#"[{"username":"a","password":"x","admin":true}]"#,
    )])
    .config;
    assert!(config.http.users[0].admin);
    assert_eq!(config.security.super_users, ["a"]);
}

#[test]
fn super_users() {
    for (text, expected) in [
        ("a,b", &["a", "b"][..]),
        ("a; b ,c;", &["a", "b", "c"]),
        ("User:a,User:b", &["User:a", "User:b"]),
        ("CN=a,OU=b;c,d", &["CN=a,OU=b", "c", "d"]),
    ] {
        let security = loaded(&[("GATEWAY_SUPER_USERS", text)]).config.security;
        assert_eq!(security.super_users, expected, "{text}");
    }
}

#[test]
fn what_this_version_does_not_act_on_is_told() {
    let lines = warnings(&[
        ("GATEWAY_ENCRYPTION_KEYS_TOPIC", "k"),
        ("GATEWAY_AUDIT_LOG_TOPIC", "t"),
    ]);
    assert_eq!(
        lines,
        [
            "GATEWAY_AUDIT_LOG_TOPIC: recognised, but this version does not act on it yet",
            "GATEWAY_ENCRYPTION_KEYS_TOPIC: recognised, but this version does not act on it yet"
        ]
    );
}

#[test]
fn the_security_provider() {
    assert!(
        problem(&[("GATEWAY_SECURITY_PROVIDER", "bouncy_castle_fips")]).contains("FIPS provider")
    );
    assert_eq!(
        warnings(&[("GATEWAY_SECURITY_PROVIDER", "CONSCRYPT")]).len(),
        1
    );
    assert!(warnings(&[("GATEWAY_SECURITY_PROVIDER", "DEFAULT")]).is_empty());
}

#[test]
fn the_env_file_wins() {
    let file = TempFile::new("export GATEWAY_HTTP_PORT=9999\nKAFKA_BOOTSTRAP_SERVERS='other:1'\n");
    let given = loaded(&[
        ("GATEWAY_ENV_FILE", file.path()),
        ("GATEWAY_HTTP_PORT", "1"),
    ]);
    assert_eq!(given.config.http.port, 9999);
    assert_eq!(
        given.config.upstream.main.bootstrap_servers[0].host,
        "other"
    );
    assert!(
        given
            .notices
            .iter()
            .any(|notice| notice.text.contains(file.path()))
    );
}

#[test]
fn what_is_set_twice_in_a_file_is_told() {
    let file =
        TempFile::new("GATEWAY_HTTP_PORT=9001\n\nKAFKA_CLIENT_ID='a\nb'\nGATEWAY_HTTP_PORT=9002\n");
    let pairs = [("GATEWAY_ENV_FILE", file.path())];
    assert_eq!(loaded(&pairs).config.http.port, 9002);
    assert_eq!(
        warnings(&pairs),
        [format!(
            "GATEWAY_HTTP_PORT is set twice in env file {}: line 5 wins over line 1",
            file.path()
        )]
    );
    let file = TempFile::new("gatewayClusterId: a\ngatewayClusterId: b\n");
    assert!(problem(&[("GATEWAY_CONFIG_FILE", file.path())]).contains("line 2"));
}

#[test]
fn env_file_problems() {
    let file = TempFile::new("GATEWAY_HTTP_PORT=1\nnonsense\n\nMORE NONSENSE=2\n");
    let lines = problems(&[("GATEWAY_ENV_FILE", file.path())]);
    assert!(
        lines[0].contains(&format!("GATEWAY_ENV_FILE={}:2: expected", file.path())),
        "{lines:#?}"
    );
    assert!(
        lines[1].contains(&format!("{}:4", file.path())),
        "{lines:#?}"
    );
    assert!(warnings(&[("GATEWAY_ENV_FILE", "/does/not/exist")])[0].contains("/does/not/exist"));
    let file = TempFile::new([b'A', b'=', 0xff]);
    assert!(problem(&[("GATEWAY_ENV_FILE", file.path())]).contains("UTF-8"));
}

#[test]
fn an_env_file_of_the_command_line_must_be_readable() {
    let source = Source::from_env_and_file("/does/not/exist".as_ref()).or_set(SERVERS.0, SERVERS.1);
    let report = sluicegate_config::load(&source)
        .expect_err("refused")
        .to_string();
    assert!(
        report.contains("--env-file=/does/not/exist: expected a readable file"),
        "{report}"
    );
}

#[test]
fn the_configuration_file_lies_below_the_environment() {
    let file = TempFile::new(
        "gatewayClusterId: from-${WHERE|file}\nhostPortConfiguration:\n  portStart: 7000\n  minBrokerId: 3\nauthenticationConfig:\n  securityProtocol: PLAINTEXT\n",
    );
    let config = loaded(&[
        ("GATEWAY_CONFIG_FILE", file.path()),
        ("GATEWAY_MIN_BROKERID", "5"),
    ])
    .config;
    assert_eq!(config.cluster_id, "from-file");
    assert_eq!(config.network.min_broker_id, 5);
    assert_eq!(config.network.listeners[0].ports.to_string(), "7000-");
}

#[test]
fn configuration_file_problems() {
    let file = TempFile::new(
        "hostPortConfiguration:\n  portStrat: 1\nrouting: [a]\ngatewayClusterId: ${NOWHERE}\n",
    );
    let lines = problems(&[("GATEWAY_CONFIG_FILE", file.path())]);
    assert!(lines[0].contains("(line 3"), "{lines:#?}");
    let file = TempFile::new(
        "hostPortConfiguration:\n  portStrat: 1\nrouting: {a: b}\ngatewayClusterId: ${NOWHERE}\n",
    );
    let lines = problems(&[("GATEWAY_CONFIG_FILE", file.path())]);
    assert!(
        lines[0].contains("Did you mean hostPortConfiguration.portStart?"),
        "{lines:#?}"
    );
    assert!(lines[1].contains("(found routing)"), "{lines:#?}");
    assert!(lines[2].contains("NOWHERE (not set)"), "{lines:#?}");
    assert!(problem(&[("GATEWAY_CONFIG_FILE", "/does/not/exist")]).contains("readable file"));
}

#[test]
fn the_effective_configuration_is_yaml_that_can_be_read_back() {
    let text = effective_yaml(&loaded(&[("GATEWAY_RACK_ID", "a\"b\\c\n# d")]).config);
    assert!(text.contains("rack: \"a\\\"b\\\\c\\u000a# d\""), "{text}");
    assert!(
        text.contains("listeners:\n  - name: \"DEFAULT\"\n    securityProtocol: PLAINTEXT\n"),
        "{text}"
    );
    assert!(text.contains("password: \"********\""), "{text}");
}

#[test]
fn the_effective_configuration_says_which_metrics_there_are() {
    let shown = |settings| {
        let text = effective_yaml(&loaded(settings).config);
        let from = text.find("\nmetrics:\n").expect("metrics");
        text[from..].to_owned()
    };
    let text = shown(&[]);
    for line in [
        "users: true",
        "maxUsers: 1000",
        "maxVclusters: 500",
        "lifecycle: false",
        "topics: true",
        "maxTopics: 5000",
        "offsets: true",
        "maxOffsetSeries: 20000",
        "offsetPartitions: true",
        "offsetPollMs: 30000",
        "topicDeny: \"__(consumer_offsets|transaction_state|share_group_state|cluster_metadata)\"",
    ] {
        assert!(text.contains(&format!("\n  {line}\n")), "{line} in {text}");
    }
    for absent in ["lifecycleApiKeys", "topicAllow", "groupAllow", "groupDeny"] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
    let text = shown(&[
        ("GATEWAY_METRICS_MAX_TOPICS", "7"),
        ("GATEWAY_METRICS_OFFSET_POLL_MS", "0"),
        ("GATEWAY_METRICS_TOPIC_ALLOW", "orders.*|\"x\""),
        ("GATEWAY_METRICS_GROUP_ALLOW", "a"),
        ("GATEWAY_METRICS_GROUP_DENY", "b"),
        ("GATEWAY_FEATURE_FLAGS_LIFECYCLE_METRICS", "true"),
        ("GATEWAY_LIFECYCLE_METRICS_API_KEYS", "Produce,Fetch"),
    ]);
    for line in [
        "maxTopics: 7",
        "offsetPollMs: 0",
        "topicAllow: \"orders.*|\\\"x\\\"\"",
        "groupAllow: \"a\"",
        "groupDeny: \"b\"",
        "lifecycleApiKeys: [\"Produce\", \"Fetch\"]",
    ] {
        assert!(text.contains(&format!("\n  {line}\n")), "{line} in {text}");
    }
}

#[test]
fn more_connections_than_there_are_open_files_for_give_a_warning() {
    let given = |value| warnings(&[("GATEWAY_MAX_CONNECTIONS", value)]);
    let about = |lines: Vec<String>| {
        let about = |line: &String| line.starts_with("GATEWAY_MAX_CONNECTIONS: there may be");
        lines.iter().filter(|line| about(line)).count()
    };
    assert_eq!(about(given("523776")), 0);
    assert_eq!(about(given("523777")), 1);
}
