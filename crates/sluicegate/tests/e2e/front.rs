//! Where clients of these tests connect.

use std::time::Duration;
use testkit::{Gateway, GatewayOptions, KafkaCluster, Listener, Result};

/// How long one client may take, the machine being busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// A gateway of the test's own in front of a cluster, or the cluster itself.
pub(crate) struct Front<'a> {
    cluster: &'a KafkaCluster,
    gateway: Option<Gateway>,
}

impl<'a> Front<'a> {
    /// Starts the gateway, unless `SLUICEGATE_TEST_DIRECT` is set.
    pub(crate) fn of(cluster: &'a KafkaCluster) -> Result<Front<'a>> {
        let gateway = if std::env::var_os("SLUICEGATE_TEST_DIRECT").is_some() {
            None
        } else {
            let upstream = cluster.bootstrap(Listener::Relayed);
            let options = GatewayOptions::new(env!("CARGO_BIN_EXE_sluicegate"), &upstream);
            Some(options.start()?)
        };
        Ok(Front { cluster, gateway })
    }

    /// The address clients are given.
    pub(crate) fn bootstrap(&self) -> String {
        match &self.gateway {
            Some(gateway) => gateway.bootstrap(),
            None => self.cluster.bootstrap(Listener::Plaintext),
        }
    }

    /// Checks that no client has gone around the gateway. To be called last.
    pub(crate) fn finish(self) -> Result<()> {
        self.cluster.assert_only_gateway_connects()
    }
}
