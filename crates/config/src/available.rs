//! Settings that ask for what cannot be, and under which running would be unsafe or misleading.

use crate::catalogue::gateway;
use crate::model::{Config, SecurityMode};
use crate::settings::{Findings, Settings};

/// Refuses them.
pub(crate) fn refuse(config: &Config, fixed: &Settings, findings: &mut Findings) {
    // There would be nobody who could connect.
    if config.security.mandatory_vcluster && config.security.mode == SecurityMode::KafkaManaged {
        let problem = fixed.problem(&gateway::MANDATORY_VCLUSTER, "false");
        findings
            .problem(problem.hint("Virtual clusters need GATEWAY_SECURITY_MODE=GATEWAY_MANAGED."));
    }
}
