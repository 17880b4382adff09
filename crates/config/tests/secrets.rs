//! No message and no listing shows what may be a secret, whatever variable it was given to.

mod common;

use sluicegate_config::catalogue::{self, Kind, LISTENER_SETTINGS, PROPERTIES};
use sluicegate_config::{Source, effective_yaml, load};

const PLANTED: &str = "s3cr3t-plant";

/// Values that hold a secret and nothing but.
const SECRETS: &[&str] = &[
    "s3cr3t-plant",
    "  s3cr3t-plant",
    "{x: s3cr3t-plant",
    "s3cr3t-plant:s3cr3t-plant",
    "a,s3cr3t-plant;b",
];

/// Values that hold one where URLs hold them, well-formed and not.
const URLS: &[&str] = &[
    "https://user:s3cr3t-plant@host/path",
    "https://user:a/s3cr3t-plant?b#c@host/path",
    "https://host/path?token=s3cr3t-plant",
    "https://host/path#s3cr3t-plant",
    "https:///path?token=s3cr3t-plant",
    "https://host /path?token=s3cr3t-plant",
    "ftp://user:s3cr3t-plant@host:1/?x=s3cr3t-plant",
    "//user:s3cr3t-plant@host?key=s3cr3t-plant",
    "file://user:s3cr3t-plant@host/?key=s3cr3t-plant",
    "https://a:s3cr3t-plant@b,https://c:s3cr3t-plant@d",
    "org.example.LoginModule required username=u password=s3cr3t-plant;",
    "-----BEGIN PRIVATE KEY-----\ns3cr3t-plant\n-----END PRIVATE KEY-----",
];

/// What has to be set besides for each to be looked at.
const SURROUNDINGS: &[&[(&str, &str)]] = &[
    &[],
    &[
        ("GATEWAY_SECURITY_PROTOCOL", "SASL_SSL"),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("KAFKA_SASL_MECHANISM", "OAUTHBEARER"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
    ],
    &[
        ("GATEWAY_LISTENER_NAMES", "A"),
        ("GATEWAY_LISTENER_A_SECURITY_PROTOCOL", "SASL_SSL"),
        ("GATEWAY_LISTENER_A_ROUTING", "sni"),
        ("GATEWAY_LISTENER_A_PORTS", "9092"),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("KAFKA_SASL_MECHANISM", "PLAIN"),
    ],
];

/// Everything that is said of a configuration with this variable.
fn said(variable: &str, value: &str) -> String {
    let mut said = String::new();
    for surroundings in SURROUNDINGS {
        let all = [("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092")];
        let all = all.iter().chain(*surroundings).copied();
        let all = all.filter(|(name, _)| *name != variable);
        let source = Source::from_pairs(all.chain([(variable, value)]));
        match load(&source) {
            Ok(loaded) => {
                said.push_str(&effective_yaml(&loaded.config));
                for notice in &loaded.notices {
                    said.push_str(&notice.text);
                }
            }
            Err(report) => said.push_str(&report.to_string()),
        }
    }
    said
}

#[track_caller]
fn assert_hidden(variable: &str, values: &[&str]) {
    for value in values {
        let said = said(variable, value);
        assert!(!said.contains(PLANTED), "{variable}={value}: {said}");
    }
}

fn every() -> impl Iterator<Item = (String, Kind)> {
    let fixed = catalogue::all().map(|setting| (setting.name.to_owned(), setting.kind));
    let listeners = LISTENER_SETTINGS
        .iter()
        .map(|setting| (format!("GATEWAY_LISTENER_A_{}", setting.name), setting.kind));
    let kafka = PROPERTIES.iter().flat_map(|setting| {
        let name = setting.name.to_ascii_uppercase().replace('.', "_");
        ["KAFKA_", "KAFKA_OTHER_"].map(|prefix| (format!("{prefix}{name}"), setting.kind))
    });
    fixed.chain(listeners).chain(kafka)
}

#[test]
fn credentials_in_urls_are_shown_of_no_setting() {
    // All shapes for all settings would take half a minute; each gets two of them.
    for (index, (variable, _)) in every().enumerate() {
        for step in [0, 5] {
            let url = URLS[(index + step) % URLS.len()];
            assert_hidden(&variable, &[url]);
        }
    }
}

#[test]
fn values_of_secret_settings_are_never_shown() {
    let secret = every().filter(|(_, kind)| kind.is_secret());
    let mut count = 0;
    for (variable, _) in secret {
        assert_hidden(&variable, SECRETS);
        count += 1;
    }
    assert!(count > 10, "{count}");
}

#[test]
fn values_of_unknown_variables_are_never_shown() {
    for variable in [
        "GATEWAY_PASSWORT",
        "GATEWAY_LISTENER_X_PASSWORD",
        "GATEWAY_LISTENER_A_PASSWORD",
        "GATEWAY_LISTENER_A_PORT",
        "GATEWAY_LISTENER_1_PORTS",
        "GATEWAY_LISTENER_A",
        "GATEWAY_LISTENER__PORTS",
        "GATEWAY_ADMIN_API_USER_1_PASSWORD",
        "GATEWAY_X_BACKING_TOPIC",
        "KAFKA_PASSWORD",
        "KAFKA_A_B_BOOTSTRAP_SERVERS",
        "KAFKA__BOOTSTRAP_SERVERS",
        "KAFKA_BOOTSTRAP_SERVERS",
        "KAFKA_BOOTSTRAP_SERVER",
        "LOG4J2_PASSWORD",
    ] {
        assert_hidden(variable, SECRETS);
        assert_hidden(variable, URLS);
    }
}
