//! Log targets of the gateway's own code, and the variables that steer their levels.
//!
//! A level set for a target covers every target that begins with it. Code outside these targets (module paths such as
//! `sluicegate_proxy::…`) counts as [`GATEWAY`].

/// All code of the gateway.
pub const GATEWAY: &str = "sluicegate";
/// Reading the configuration and starting; steered with [`GATEWAY`].
pub const CONFIG: &str = "sluicegate::config";
/// Connections, routing, authentication.
pub const NETWORK: &str = "sluicegate::network";
/// Decisions of access control.
pub const AUTHORIZATION: &str = "sluicegate::authorization";
/// Services and interceptors.
pub const SERVICE: &str = "sluicegate::service";
/// Rewriting of requests and responses.
pub const REBUILD: &str = "sluicegate::rebuild";
/// Inside the workers.
pub const THREAD: &str = "sluicegate::thread";
/// Forwarding to brokers.
pub const UPSTREAM: &str = "sluicegate::upstream";
/// The gateway's own Kafka client.
pub const KAFKA: &str = "sluicegate::kafka";
/// The state store.
pub const STATE: &str = "sluicegate::state";
/// The admin port.
pub const HTTP: &str = "sluicegate::http";
/// Sockets and TLS.
pub const SOCKET: &str = "sluicegate::socket";
/// Who did what: calls of the admin API, authentications. Steered with [`GATEWAY`].
pub const AUDIT: &str = "sluicegate::audit";
/// Metrics.
pub const METRICS: &str = "sluicegate::metrics";

/// The targets whose level a `LOG4J2_*_LEVEL` variable sets; `None` for other names and for the root level.
pub fn of_variable(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "LOG4J2_IO_CONDUKTOR_LEVEL" => &[GATEWAY],
        "LOG4J2_IO_CONDUKTOR_PROXY_NETWORK_LEVEL" => &[NETWORK],
        "LOG4J2_IO_CONDUKTOR_PROXY_AUTHORIZATION_LEVEL" => &[AUTHORIZATION],
        "LOG4J2_IO_CONDUKTOR_PROXY_SERVICE_LEVEL" => &[SERVICE],
        "LOG4J2_IO_CONDUKTOR_PROXY_REBUILDER_COMPONENTS_LEVEL" => &[REBUILD],
        "LOG4J2_IO_CONDUKTOR_PROXY_THREAD_LEVEL" => &[THREAD],
        "LOG4J2_IO_CONDUKTOR_UPSTREAM_THREAD_LEVEL" => &[UPSTREAM],
        "LOG4J2_ORG_APACHE_KAFKA_LEVEL" => &[KAFKA],
        "LOG4J2_IO_KCACHE_LEVEL" => &[STATE],
        "LOG4J2_IO_VERTX_LEVEL" => &[HTTP],
        "LOG4J2_IO_NETTY_LEVEL" => &[SOCKET, "rustls", "tokio_rustls", "hyper", "mio"],
        "LOG4J2_IO_MICROMETER_LEVEL" => &[METRICS],
        _ => return None,
    })
}
