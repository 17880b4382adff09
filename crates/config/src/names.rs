//! Which setting a name means: fixed variables, listener blocks, Kafka properties, and names nobody knows.

use crate::catalogue::{self, Setting, Status, gateway, nearest};
use crate::settings::{Findings, Settings};
use crate::source::{Source, is_ours};

/// The merged values, sorted by what they are for. Empty values are gone, except among the Kafka properties.
pub(crate) struct Sorted {
    /// Variables with a fixed name.
    pub(crate) fixed: Settings,
    /// `GATEWAY_LISTENER_*` other than `GATEWAY_LISTENER_NAMES`.
    pub(crate) listeners: Vec<Named>,
    /// `KAFKA_*`.
    pub(crate) kafka: Vec<Named>,
}

/// A variable with its value.
pub(crate) struct Named {
    pub(crate) variable: String,
    pub(crate) value: String,
}

const LISTENER: &str = "GATEWAY_LISTENER_";

/// Sorts every name of `source`; unknown ones in the gateway's name spaces give a warning with a hint.
pub(crate) fn sort(source: &Source, findings: &mut Findings) -> Sorted {
    let mut sorted = Sorted {
        fixed: Settings::default(),
        listeners: Vec::new(),
        kafka: Vec::new(),
    };
    for (name, value) in &source.values {
        if is_ours(name) && is_service_link(name, value) {
            findings.debug(format!(
                "{name}: injected by Kubernetes for a service, ignored"
            ));
        } else if name.starts_with("KAFKA_") {
            sorted.kafka.push(Named {
                variable: name.clone(),
                value: value.clone(),
            });
        } else if value.is_empty() {
        } else if let Some(setting) = catalogue::find(name) {
            sorted.fixed.set(name, name.as_str(), value.as_str());
            sorted.fixed.check(setting, findings);
            tell(setting, value, findings);
        } else if name.starts_with(LISTENER) {
            sorted.listeners.push(Named {
                variable: name.clone(),
                value: value.clone(),
            });
        } else if is_ours(name) {
            unknown(name, findings);
        }
    }
    sorted
}

/// What the operator should know about a setting that is set but not acted on.
fn tell(setting: &Setting, value: &str, findings: &mut Findings) {
    let name = setting.name;
    match setting.status {
        Status::NotYet { harmless } => {
            if harmless.is_none_or(|harmless| !harmless.eq_ignore_ascii_case(value.trim())) {
                findings.warn(format!(
                    "{name}: recognised, but this version does not act on it yet"
                ));
            }
        }
        Status::Removed(instead) => {
            findings.warn(format!("{name} is no longer read: use {instead}"))
        }
        Status::Ignored(why) => findings.debug(format!("{name} has no effect: {why}")),
        Status::InEffect | Status::Deprecated(_) => {}
    }
}

fn unknown(name: &str, findings: &mut Findings) {
    if name.starts_with("GATEWAY_AUDIT_LOG_KAFKA_") {
        return findings.warn(format!(
            "{name}: recognised, but this version does not act on it yet"
        ));
    }
    if is_admin_user_part(name) {
        return findings.debug(format!("{name} has no effect: for other programs"));
    }
    if let Some(store) = name
        .strip_suffix("_BACKING_TOPIC")
        .filter(|name| name.starts_with("GATEWAY_"))
    {
        let successor = format!("{store}_TOPIC");
        return match nearest(&successor, catalogue::all().map(|setting| setting.name)) {
            Some(known) => findings.warn(format!("{name} is no longer read: use {known}")),
            None => findings.warn(format!("{name} is no longer read")),
        };
    }
    match nearest(name, catalogue::all().map(|setting| setting.name)) {
        Some(known) => findings.misspelt(name, known),
        None => findings.warn(format!("{name} is not a known setting and is ignored")),
    }
}

/// `GATEWAY_ADMIN_API_USER_<n>_USERNAME`, `_PASSWORD`, `_ADMIN`.
fn is_admin_user_part(name: &str) -> bool {
    let Some((number, part)) = name
        .strip_prefix("GATEWAY_ADMIN_API_USER_")
        .and_then(|rest| rest.split_once('_'))
    else {
        return false;
    };
    !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
        && matches!(part, "USERNAME" | "PASSWORD" | "ADMIN")
}

/// `<SVC>_SERVICE_HOST`, `<SVC>_SERVICE_PORT[_*]`, `<SVC>_PORT=tcp://…`, `<SVC>_PORT_<n>_TCP[_*]`.
fn is_service_link(name: &str, value: &str) -> bool {
    let protocols = ["TCP", "UDP", "SCTP"];
    if name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
    {
        return true;
    }
    let lower = value.to_ascii_lowercase();
    let is_address = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| lower.starts_with(scheme));
    if name.ends_with("_PORT") && is_address {
        return true;
    }
    name.match_indices("_PORT_").any(|(at, part)| {
        let rest = name.get(at + part.len()..).unwrap_or_default();
        let mut parts = rest.splitn(3, '_');
        parts
            .next()
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
            && parts
                .next()
                .is_some_and(|protocol| protocols.contains(&protocol))
    })
}

/// The older network variables that are set; they stand for legacy mode.
pub(crate) fn legacy_names(fixed: &Settings) -> Vec<&'static str> {
    [
        gateway::BIND_HOST,
        gateway::ADVERTISED_HOST,
        gateway::PORT_START,
        gateway::PORT_COUNT,
        gateway::ADVERTISED_SNI_PORT,
        gateway::ROUTING_MECHANISM,
        gateway::LEGACY_SECURITY_PROTOCOL,
        gateway::ADVERTISED_HOST_PREFIX,
        gateway::SNI_HOST_SEPARATOR,
        gateway::SSL_CLIENT_AUTH,
    ]
    .iter()
    .filter(|setting| fixed.text(setting).is_some())
    .map(|setting| setting.name)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notices(pairs: &[(&str, &str)]) -> Vec<String> {
        let mut findings = Findings::default();
        sort(&Source::from_pairs(pairs.iter().copied()), &mut findings);
        findings
            .notices
            .into_iter()
            .map(|notice| format!("{:?} {}", notice.level, notice.text))
            .collect()
    }

    #[test]
    fn service_links_are_ignored() {
        for (name, value) in [
            ("GATEWAY_SERVICE_HOST", "10.0.0.1"),
            ("GATEWAY_SERVICE_PORT", "80"),
            ("GATEWAY_SERVICE_PORT_HTTP", "80"),
            ("GATEWAY_PORT", "tcp://10.0.0.1:80"),
            ("GATEWAY_HTTP_PORT", "tcp://10.0.0.1:80"),
            ("GATEWAY_PORT_80_TCP", "tcp://10.0.0.1:80"),
            ("GATEWAY_PORT_80_TCP_ADDR", "10.0.0.1"),
            ("GATEWAY_LISTENER_PORT_9092_UDP_PROTO", "udp"),
            ("GATEWAY_LISTENER_SERVICE_HOST", "10.0.0.1"),
            ("KAFKA_PORT_9092_TCP_PORT", "9092"),
        ] {
            let lines = notices(&[(name, value)]);
            assert_eq!(
                lines,
                [format!(
                    "Debug {name}: injected by Kubernetes for a service, ignored"
                )]
            );
        }
        assert!(!is_service_link("GATEWAY_PORT_START", "6969"));
        assert!(!is_service_link("GATEWAY_HTTP_PORT", "8888"));
        assert!(!is_service_link("GATEWAY_PORT_COUNT", "3"));
    }

    #[test]
    fn unknown_and_removed_names() {
        for (name, part) in [
            (
                "GATEWAY_PORT_STRAT",
                "Warn GATEWAY_PORT_STRAT is not a known setting and is ignored; did you mean GATEWAY_PORT_START?",
            ),
            (
                "GATEWAY_QWERTY_ASDFGH",
                "Warn GATEWAY_QWERTY_ASDFGH is not a known setting and is ignored",
            ),
            (
                "GATEWAY_MODE",
                "Warn GATEWAY_MODE is no longer read: use GATEWAY_SECURITY_MODE",
            ),
            ("GATEWAY_START_PORT", "use GATEWAY_PORT_START"),
            ("GATEWAY_FEATURE_FLAGS_MULTI_TENANCY", "no longer read"),
            ("GATEWAY_LICENSE_BACKING_TOPIC", "use GATEWAY_LICENSE_TOPIC"),
            ("GATEWAY_CONSUMER_SUBSCRIPTIONS_TOPIC", "no longer read"),
            ("GATEWAY_ADVERTISED_LISTENER", "use GATEWAY_ADVERTISED_HOST"),
            ("GATEWAY_AUDIT_LOG_KAFKA_ACKS", "does not act on it yet"),
            ("GATEWAY_ADMIN_API_USER_1_PASSWORD", "Debug"),
            ("LOG4J2_ROOT_LEVLE", "did you mean LOG4J2_ROOT_LEVEL?"),
        ] {
            let lines = notices(&[(name, "1")]);
            assert!(lines.len() == 1 && lines[0].contains(part), "{lines:?}");
        }
        assert!(notices(&[("HOME", "/"), ("VAULT_TOKEN", "x"), ("GATEWAY_QWERTY", "")]).is_empty());
    }

    #[test]
    fn a_harmless_value_needs_no_warning() {
        assert!(notices(&[("GATEWAY_FEATURE_FLAGS_AUDIT", "FALSE")]).is_empty());
        assert_eq!(notices(&[("GATEWAY_FEATURE_FLAGS_AUDIT", "true")]).len(), 1);
    }
}
