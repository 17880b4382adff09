//! What this version cannot do, and must not pretend to. Each refusal goes when its feature arrives.

use crate::catalogue::gateway;
use crate::model::Config;
use crate::settings::{Findings, Settings};

/// Refuses settings under which running without the feature would be unsafe or misleading.
pub(crate) fn refuse(config: &Config, fixed: &Settings, findings: &mut Findings) {
    if config.security.mandatory_vcluster {
        let problem = fixed.problem(&gateway::MANDATORY_VCLUSTER, "false");
        findings.problem(problem.hint("This version has no virtual clusters yet."));
    }
}
