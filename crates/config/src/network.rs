//! Network mode and listeners.

use std::collections::BTreeMap;

use crate::catalogue::{LISTENER_SETTINGS, Setting, gateway, is_host, listener, nearest};
use crate::model::{
    ClientAuth, Listener, Network, NetworkMode, Routing, SecurityProtocol, SniNames,
};
use crate::names::{Sorted, legacy_names};
use crate::ports::{self, PortPlan};
use crate::report::Problem;
use crate::security::Inferred;
use crate::settings::{Findings, Settings};

const PREFIX: &str = "GATEWAY_LISTENER_";
const NODE_ID: &str = "{{nodeId}}";
const CLUSTER_ID: &str = "{{clusterId}}";

/// How the listeners are declared.
pub(crate) fn mode(sorted: &Sorted) -> NetworkMode {
    if !sorted.listeners.is_empty() || sorted.fixed.text(&gateway::LISTENER_NAMES).is_some() {
        NetworkMode::Listener
    } else if !legacy_names(&sorted.fixed).is_empty() {
        NetworkMode::Legacy
    } else {
        NetworkMode::ZeroConfig
    }
}

/// All listeners. `inferred` gives the protocol outside listener mode.
pub(crate) fn network(
    sorted: &Sorted,
    mode: NetworkMode,
    inferred: &Inferred,
    host_name: &str,
    findings: &mut Findings,
) -> Network {
    let fixed = &sorted.fixed;
    let legacy = legacy_names(fixed);
    let listeners = match mode {
        NetworkMode::Listener => {
            let ignored: Vec<_> = legacy
                .into_iter()
                .filter(|name| *name != gateway::SSL_CLIENT_AUTH.name)
                .collect();
            if !ignored.is_empty() {
                findings.warn(format!(
                    "ignored because GATEWAY_LISTENER_* is set: {}",
                    ignored.join(", ")
                ));
            }
            blocks(sorted, host_name, findings)
        }
        NetworkMode::Legacy => {
            findings.warn(format!(
                "{}: deprecated, use the GATEWAY_LISTENER_* variables",
                legacy.join(", ")
            ));
            vec![default_listener(fixed, inferred, host_name, findings)]
        }
        NetworkMode::ZeroConfig => vec![default_listener(fixed, inferred, host_name, findings)],
    };
    let network = Network {
        mode,
        listeners,
        min_broker_id: fixed.number(&gateway::MIN_BROKERID).unwrap_or(0),
        internal_load_balancing: fixed
            .flag(&gateway::INTERNAL_LOAD_BALANCING)
            .unwrap_or(true),
        rack: fixed.text(&gateway::RACK_ID).map(String::from),
    };
    check_hosts(&network, findings);
    check_ports(&network, fixed, findings);
    network
}

// === listener mode ===

fn blocks(sorted: &Sorted, host_name: &str, findings: &mut Findings) -> Vec<Listener> {
    let mut blocks: BTreeMap<String, Settings> = BTreeMap::new();
    for given in &sorted.listeners {
        let rest = given.variable.strip_prefix(PREFIX).unwrap_or_default();
        let (name, suffix) = rest.split_once('_').unwrap_or((rest, ""));
        if !is_name(name) {
            findings.problem(
                Problem::named(&given.variable, format!("{PREFIX}<NAME>_<SETTING>")).hint(
                    "A listener's name starts with a letter and holds letters and digits only.",
                ),
            );
            continue;
        }
        let Some(setting) = LISTENER_SETTINGS
            .iter()
            .find(|setting| setting.name == suffix)
        else {
            findings.problem(unknown_setting(&given.variable, suffix));
            continue;
        };
        let block = blocks.entry(name.to_ascii_uppercase()).or_default();
        if let Some(other) = block.variable(setting) {
            // Names of listeners know no case; which of the two would win is nobody's choice.
            findings.problem(
                Problem::value(
                    &given.variable,
                    &given.value,
                    "one spelling of each variable",
                )
                .hint(format!("{other} sets the same.")),
            );
            continue;
        }
        block.set(setting.name, given.variable.as_str(), given.value.as_str());
        block.check(setting, findings);
    }
    check_names(sorted, &blocks, findings);
    let default_auth = sorted
        .fixed
        .word(&gateway::SSL_CLIENT_AUTH, ClientAuth::parse)
        .unwrap_or(ClientAuth::None);
    blocks
        .iter()
        .filter_map(|(name, block)| block_listener(name, block, default_auth, host_name, findings))
        .collect()
}

/// The value is not shown: it may be a secret, whatever the name was meant to be.
fn unknown_setting(variable: &str, suffix: &str) -> Problem {
    let known = LISTENER_SETTINGS.iter().map(|setting| setting.name);
    let expected = format!(
        "one of {} after the listener's name",
        known.clone().collect::<Vec<_>>().join(", ")
    );
    let problem = Problem::named(variable, expected);
    match nearest(suffix, known.clone()) {
        Some(near) => problem.hint(format!("Did you mean {near}?")),
        None if known
            .into_iter()
            .any(|known| suffix.ends_with(&format!("_{known}"))) =>
        {
            problem.hint("A listener's name cannot contain '_'.")
        }
        None => problem,
    }
}

fn check_names(sorted: &Sorted, blocks: &BTreeMap<String, Settings>, findings: &mut Findings) {
    let Some(given) = sorted.fixed.text(&gateway::LISTENER_NAMES) else {
        return;
    };
    let listed: Vec<String> = sorted
        .fixed
        .items(&gateway::LISTENER_NAMES, ',')
        .iter()
        .map(|name| name.to_ascii_uppercase())
        .collect();
    let problem = |expected: String| Problem::value(gateway::LISTENER_NAMES.name, given, expected);
    for name in &listed {
        if !blocks.contains_key(name) {
            findings.problem(problem(format!(
                "a block {PREFIX}{name}_* for each listed name"
            )));
        }
    }
    for name in blocks.keys() {
        if !listed.contains(name) {
            findings.problem(problem(format!(
                "every listener with a block to be listed ({name} is not)"
            )));
        }
    }
}

fn block_listener(
    name: &str,
    block: &Settings,
    default_auth: ClientAuth,
    host_name: &str,
    findings: &mut Findings,
) -> Option<Listener> {
    let variable = |setting: &Setting| match block.variable(setting) {
        Some(variable) => variable.to_owned(),
        None => format!("{PREFIX}{name}_{}", setting.name),
    };
    for setting in [
        listener::SECURITY_PROTOCOL,
        listener::ROUTING,
        listener::PORTS,
    ] {
        if block.text(&setting).is_none() {
            findings.problem(Problem::unset(variable(&setting), setting.kind.expected()));
        }
    }
    let protocol = block.word(&listener::SECURITY_PROTOCOL, SecurityProtocol::parse);
    let routing = block.word(&listener::ROUTING, parse_routing);
    let pairs = block
        .text(&listener::PORTS)
        .and_then(|spec| ports::parse(spec).ok());
    let advertised_host = block.text(&listener::ADVERTISED_HOST).map_or_else(
        || {
            findings.warn(format!(
                "{} is not set: clients are told {host_name}",
                variable(&listener::ADVERTISED_HOST)
            ));
            host_name.to_owned()
        },
        |host| host.trim().to_owned(),
    );
    let sni = if routing == Some(Routing::Sni) {
        sni_names(block, &variable, findings)
    } else {
        None
    };
    let (protocol, routing, pairs) = (protocol?, routing?, pairs?);
    let ports_variable = variable(&listener::PORTS);
    if routing == Routing::Sni {
        if !protocol.is_tls() {
            findings.problem(
                Problem::value(
                    variable(&listener::ROUTING),
                    "sni",
                    "SSL or SASL_SSL with routing sni",
                )
                .with(variable(&listener::SECURITY_PROTOCOL), protocol.as_str()),
            );
        }
        if pairs.len() != 1 {
            findings.problem(block.problem(&listener::PORTS, "exactly one port with routing sni"));
        }
    }
    let given_auth = block.word(&listener::SSL_CLIENT_AUTH, ClientAuth::parse);
    let client_auth = match (protocol.is_tls(), block.text(&listener::SSL_CLIENT_AUTH)) {
        (true, Some(_)) => given_auth.unwrap_or(default_auth),
        (true, None) => default_auth,
        (false, Some(_)) if given_auth != Some(ClientAuth::None) => {
            findings.problem(
                block
                    .problem(&listener::SSL_CLIENT_AUTH, "NONE without TLS")
                    .with(variable(&listener::SECURITY_PROTOCOL), protocol.as_str()),
            );
            ClientAuth::None
        }
        (false, _) => ClientAuth::None,
    };
    Some(Listener {
        name: name.to_owned(),
        protocol,
        routing,
        bind_address: block.text_or_default(&listener::BIND_ADDRESS),
        bind_variable: variable(&listener::BIND_ADDRESS),
        advertised_host,
        ports: PortPlan::Explicit(pairs),
        sni,
        client_auth,
        ports_variable,
    })
}

fn sni_names(
    block: &Settings,
    variable: &dyn Fn(&Setting) -> String,
    findings: &mut Findings,
) -> Option<SniNames> {
    let expected = "a host name with {{nodeId}} exactly once";
    let Some(pattern) = block.text(&listener::ADVERTISED_HOST_PATTERN) else {
        findings.problem(
            Problem::unset(variable(&listener::ADVERTISED_HOST_PATTERN), expected)
                .hint("Routing sni needs it."),
        );
        return None;
    };
    if pattern.matches(NODE_ID).count() != 1 || !is_pattern(pattern) {
        findings.problem(block.problem(&listener::ADVERTISED_HOST_PATTERN, expected));
        return None;
    }
    let bootstrap = block.text(&listener::BOOTSTRAP_HOST_PATTERN);
    if bootstrap.is_some_and(|bootstrap| bootstrap.contains(NODE_ID) || !is_pattern(bootstrap)) {
        findings.problem(block.problem(
            &listener::BOOTSTRAP_HOST_PATTERN,
            "a host name without {{nodeId}}",
        ));
        return None;
    }
    Some(SniNames {
        advertised_host_pattern: pattern.to_owned(),
        bootstrap_host_pattern: bootstrap.map_or_else(|| derived_bootstrap(pattern), String::from),
    })
}

/// Whether a pattern gives a host name for the longest node id and a short cluster id.
fn is_pattern(pattern: &str) -> bool {
    is_host(
        &pattern
            .replace(NODE_ID, "2147483647")
            .replace(CLUSTER_ID, "main"),
    )
}

/// The whole label that holds the node id becomes `bootstrap`.
fn derived_bootstrap(pattern: &str) -> String {
    let label = |label: &str| {
        if label.contains(NODE_ID) {
            "bootstrap".to_owned()
        } else {
            label.to_owned()
        }
    };
    pattern.split('.').map(label).collect::<Vec<_>>().join(".")
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn parse_routing(word: &str) -> Option<Routing> {
    if word.eq_ignore_ascii_case("host") {
        Some(Routing::Sni)
    } else {
        Routing::parse(word)
    }
}

// === legacy and zero-config mode ===

fn default_listener(
    fixed: &Settings,
    inferred: &Inferred,
    host_name: &str,
    findings: &mut Findings,
) -> Listener {
    let routing = fixed
        .word(&gateway::ROUTING_MECHANISM, parse_routing)
        .unwrap_or(Routing::Port);
    let given_host = fixed
        .text(&gateway::ADVERTISED_HOST)
        .map(|host| host.trim().to_owned());
    let start: u16 = fixed.number(&gateway::PORT_START).unwrap_or(6969);
    let count: Option<u16> = fixed.number(&gateway::PORT_COUNT);
    let advertised_host = given_host.clone().unwrap_or_else(|| host_name.to_owned());
    let (ports, sni) = match routing {
        Routing::Port => (PortPlan::FromStart { start, count }, None),
        Routing::Sni => {
            if given_host.is_none() {
                let problem = Problem::unset(
                    gateway::ADVERTISED_HOST.name,
                    gateway::ADVERTISED_HOST.kind.expected(),
                );
                findings.problem(problem.hint("Routing by server name needs it."));
            }
            check_legacy_tls(fixed, inferred, findings);
            let advertised = fixed.number(&gateway::ADVERTISED_SNI_PORT).unwrap_or(start);
            let pair = ports::PortPair {
                advertised,
                local: start,
            };
            (
                PortPlan::Explicit(vec![pair]),
                Some(legacy_sni(fixed, &advertised_host, findings)),
            )
        }
    };
    let room = u16::MAX - start + 1;
    if routing == Routing::Port && count.is_some_and(|count| count > room) {
        let expected = format!("at most {room}, because the last port there is is 65535");
        findings.problem(
            fixed
                .problem(&gateway::PORT_COUNT, expected)
                .with(gateway::PORT_START.name, &start.to_string()),
        );
    }
    let client_auth = match fixed.word(&gateway::SSL_CLIENT_AUTH, ClientAuth::parse) {
        Some(auth) if inferred.protocol.is_tls() => auth,
        _ => ClientAuth::None,
    };
    Listener {
        name: "DEFAULT".into(),
        protocol: inferred.protocol,
        routing,
        bind_address: fixed.text_or_default(&gateway::BIND_HOST),
        bind_variable: gateway::BIND_HOST.name.into(),
        advertised_host,
        ports,
        sni,
        client_auth,
        ports_variable: match (routing, count) {
            (Routing::Port, Some(_)) => gateway::PORT_COUNT.name.into(),
            _ => gateway::PORT_START.name.into(),
        },
    }
}

/// A connection without TLS names no server, and all names lead to the same port: it would reach any broker but the one it wants.
fn check_legacy_tls(fixed: &Settings, inferred: &Inferred, findings: &mut Findings) {
    if inferred.protocol.is_tls() {
        return;
    }
    let name = gateway::LEGACY_SECURITY_PROTOCOL.name;
    let problem = fixed.problem(
        &gateway::ROUTING_MECHANISM,
        "port, or SSL or SASL_SSL with routing by server name",
    );
    findings.problem(match fixed.text(&gateway::LEGACY_SECURITY_PROTOCOL) {
        Some(given) => problem.with(name, given),
        None => problem.with_unset(name).hint(format!(
            "By the protocol towards Kafka it is {}.",
            inferred.protocol
        )),
    });
}

fn legacy_sni(fixed: &Settings, host: &str, findings: &mut Findings) -> SniNames {
    let prefix = fixed.text_or_default(&gateway::ADVERTISED_HOST_PREFIX);
    let separator = fixed.text_or_default(&gateway::SNI_HOST_SEPARATOR);
    let is_name_part = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !is_name_part(&prefix) || prefix.starts_with('-') {
        findings.problem(fixed.problem(
            &gateway::ADVERTISED_HOST_PREFIX,
            "letters, digits and '-', not first",
        ));
    }
    let fits = separator
        .bytes()
        .all(|b| b.is_ascii_alphabetic() || matches!(b, b'-' | b'.' | b'_'));
    if separator.is_empty() || !fits {
        findings.problem(fixed.problem(
            &gateway::SNI_HOST_SEPARATOR,
            "letters, '-', '.' or '_', no digit",
        ));
    }
    SniNames {
        advertised_host_pattern: format!("{prefix}{CLUSTER_ID}{NODE_ID}{separator}{host}"),
        bootstrap_host_pattern: host.to_owned(),
    }
}

// === across listeners ===

fn check_hosts(network: &Network, findings: &mut Findings) {
    for listener in &network.listeners {
        let host = listener.advertised_host.as_str();
        let address = host.parse::<std::net::IpAddr>().ok();
        let loop_back =
            host.eq_ignore_ascii_case("localhost") || address.is_some_and(|ip| ip.is_loopback());
        if network.mode == NetworkMode::Listener && loop_back {
            findings.warn(format!(
                "listener {}: clients are told {host}, which only works on this machine",
                listener.name
            ));
        }
        let scoped = host.contains('%');
        if scoped || address.is_some_and(|ip| ip.is_unspecified()) {
            let variable = match network.mode {
                NetworkMode::Listener => format!(
                    "{PREFIX}{}_{}",
                    listener.name,
                    listener::ADVERTISED_HOST.name
                ),
                NetworkMode::Legacy | NetworkMode::ZeroConfig => {
                    gateway::ADVERTISED_HOST.name.to_owned()
                }
            };
            let problem = Problem::value(
                variable,
                host,
                "a name or address that clients can connect to",
            );
            findings.problem(match scoped {
                true => problem.hint("What follows '%' has a meaning on this machine only."),
                false => problem,
            });
        }
    }
}

fn check_ports(network: &Network, fixed: &Settings, findings: &mut Findings) {
    let http: u16 = fixed.number(&gateway::HTTP_PORT).unwrap_or(8888);
    for (i, listener) in network.listeners.iter().enumerate() {
        if listener.ports.has_local(http) {
            let problem = Problem::value(
                gateway::HTTP_PORT.name,
                &http.to_string(),
                "a port outside the listener's local ports",
            );
            findings.problem(match &listener.ports {
                PortPlan::FromStart { start, count } => {
                    let problem = problem.with(gateway::PORT_START.name, &start.to_string());
                    match count {
                        Some(count) => problem.with(gateway::PORT_COUNT.name, &count.to_string()),
                        None => problem,
                    }
                }
                ports => problem.with(&listener.ports_variable, &ports.to_string()),
            });
        }
        for other in network.listeners.iter().skip(i + 1) {
            let PortPlan::Explicit(pairs) = &listener.ports else {
                continue;
            };
            if let Some(shared) = pairs.iter().find(|pair| other.ports.has_local(pair.local)) {
                findings.problem(
                    Problem::value(
                        &listener.ports_variable,
                        &listener.ports.to_string(),
                        format!(
                            "local ports that no other listener has (found {} twice)",
                            shared.local
                        ),
                    )
                    .with(&other.ports_variable, &other.ports.to_string()),
                );
            }
        }
    }
}
