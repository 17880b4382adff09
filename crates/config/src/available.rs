//! Settings that ask for what cannot be, and under which running would be unsafe or misleading.

use crate::catalogue::gateway;
use crate::model::{Config, Listener, SecurityMode};
use crate::security::protocol_variable;
use crate::settings::{Findings, Settings};

/// Refuses them.
pub(crate) fn refuse(config: &Config, fixed: &Settings, findings: &mut Findings) {
    if config.security.mandatory_vcluster {
        mandatory_vcluster(config, fixed, findings);
    }
}

/// There has to be somebody who can connect: anonymous clients belong to no virtual cluster.
fn mandatory_vcluster(config: &Config, fixed: &Settings, findings: &mut Findings) {
    let setting = &gateway::MANDATORY_VCLUSTER;
    if config.security.mode == SecurityMode::KafkaManaged {
        let problem = fixed.problem(setting, "false");
        findings
            .problem(problem.hint("Virtual clusters need GATEWAY_SECURITY_MODE=GATEWAY_MANAGED."));
        return;
    }
    let anonymous: Vec<&Listener> = config
        .network
        .listeners
        .iter()
        .filter(|listener| !listener.authenticates())
        .collect();
    if anonymous.len() == config.network.listeners.len() {
        let expected = "false, because every client of these listeners is anonymous";
        let mut problem = fixed.problem(setting, expected);
        for listener in anonymous {
            let variable = protocol_variable(&config.network, listener);
            problem = problem.with(variable, listener.protocol.as_str());
        }
        findings.problem(
            problem.hint("Clients come into a virtual cluster by SASL or by a client certificate."),
        );
        return;
    }
    for listener in anonymous {
        findings.warn(format!(
            "listener {}: {}=true refuses all of its clients, because they are anonymous",
            listener.name, setting.name
        ));
    }
}
