//! The topics that hold resources.

use std::fmt;

/// A compacted topic of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoreTopic {
    /// Service accounts.
    UserMappings,
    /// ACL bindings.
    Acls,
    /// Virtual clusters.
    Vclusters,
    /// Alias topics.
    TopicMappings,
    /// Groups of service accounts.
    Groups,
    /// Interceptors.
    InterceptorConfigs,
}

impl StoreTopic {
    /// Every topic, in the order in which they are created and read.
    pub const ALL: [StoreTopic; 6] = [
        StoreTopic::UserMappings,
        StoreTopic::Acls,
        StoreTopic::Vclusters,
        StoreTopic::TopicMappings,
        StoreTopic::Groups,
        StoreTopic::InterceptorConfigs,
    ];

    /// End of the default name, and the `type` label of `gateway_kcache_size`.
    pub fn suffix(self) -> &'static str {
        match self {
            StoreTopic::UserMappings => "usermappings",
            StoreTopic::Acls => "acls",
            StoreTopic::Vclusters => "vclusters",
            StoreTopic::TopicMappings => "topicmappings",
            StoreTopic::Groups => "groups",
            StoreTopic::InterceptorConfigs => "interceptor_configs",
        }
    }

    /// The environment variable that names the topic.
    pub fn variable(self) -> &'static str {
        match self {
            StoreTopic::UserMappings => "GATEWAY_USER_MAPPINGS_TOPIC",
            StoreTopic::Acls => "GATEWAY_ACLS_TOPIC",
            StoreTopic::Vclusters => "GATEWAY_VCLUSTERS_TOPIC",
            StoreTopic::TopicMappings => "GATEWAY_TOPIC_MAPPINGS_TOPIC",
            StoreTopic::Groups => "GATEWAY_GROUPS_TOPIC",
            StoreTopic::InterceptorConfigs => "GATEWAY_INTERCEPTOR_CONFIGS_TOPIC",
        }
    }

    /// `_conduktor_<cluster id>_<suffix>`.
    pub fn default_name(self, cluster_id: &str) -> String {
        format!("_conduktor_{cluster_id}_{}", self.suffix())
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for StoreTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.suffix())
    }
}

#[cfg(test)]
mod tests {
    use super::StoreTopic;

    #[test]
    fn indexes_are_positions() {
        for (position, topic) in StoreTopic::ALL.into_iter().enumerate() {
            assert_eq!(topic.index(), position);
        }
        assert_eq!(
            StoreTopic::Acls.default_name("gateway"),
            "_conduktor_gateway_acls"
        );
    }
}
