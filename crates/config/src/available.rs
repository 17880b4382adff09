//! What this version cannot do, and must not pretend to. Each refusal goes when its feature arrives.

use crate::catalogue::gateway;
use crate::model::{Config, Routing, SecurityMode, SecurityProtocol};
use crate::report::Problem;
use crate::security::protocol_variable;
use crate::settings::{Findings, Settings};

/// Refuses settings under which running without the feature would be unsafe or misleading.
pub(crate) fn refuse(config: &Config, fixed: &Settings, findings: &mut Findings) {
    let inferred_hint = "The value was inferred from the protocol towards Kafka; set GATEWAY_SECURITY_PROTOCOL=PLAINTEXT.";
    let given = fixed.text(&gateway::LEGACY_SECURITY_PROTOCOL).is_some();
    let listener_mode = config.network.mode == crate::model::NetworkMode::Listener;
    if config.security.mode == SecurityMode::KafkaManaged {
        let problem = Problem::value(
            gateway::SECURITY_MODE.name,
            config.security.mode.as_str(),
            "GATEWAY_MANAGED",
        );
        findings.problem(match config.security.inferred && !given {
            true => problem.hint(format!(
                "This version does not relay client credentials yet. {inferred_hint}"
            )),
            false => problem.hint("This version does not relay client credentials yet."),
        });
    }
    for listener in &config.network.listeners {
        if listener.protocol != SecurityProtocol::Plaintext {
            let problem = Problem::value(
                protocol_variable(&config.network, listener),
                listener.protocol.as_str(),
                "PLAINTEXT",
            );
            let why = format!(
                "This version does not serve {} to clients yet.",
                listener.protocol
            );
            findings.problem(match listener_mode || given {
                true => problem.hint(why),
                false => problem.hint(format!("{why} {inferred_hint}")),
            });
        }
        if listener.routing == Routing::Sni {
            let variable = match listener_mode {
                true => format!("GATEWAY_LISTENER_{}_ROUTING", listener.name),
                false => gateway::ROUTING_MECHANISM.name.to_owned(),
            };
            let problem = Problem::value(variable, Routing::Sni.as_str(), Routing::Port.as_str());
            findings.problem(problem.hint("This version does not route by server name yet."));
        }
    }
    if fixed.text(&gateway::ACL_ENABLED).is_some() && config.security.acl_enabled {
        let problem = fixed.problem(&gateway::ACL_ENABLED, "false");
        findings.problem(problem.hint("This version does not check access yet."));
    }
    if config.security.mandatory_vcluster {
        let problem = fixed.problem(&gateway::MANDATORY_VCLUSTER, "false");
        findings.problem(problem.hint("This version has no virtual clusters yet."));
    }
    if config.http.tls.is_some() {
        let problem = Problem::named(gateway::HTTPS_KEY_STORE_PATH.name, "no value");
        findings.problem(problem.hint("This version serves the admin port without HTTPS only."));
    }
}
