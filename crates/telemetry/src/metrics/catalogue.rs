//! Every metric of the gateway: field, instrument, name, labels, help. The only place that knows a metric's name.

use super::family::{Declaration, Domain, Domains, Exposed, Family};
use super::instrument::{
    Counter, Endless, Facet, Gauge, Histogram, Instrument, Kind, Level, Moment, Offset, Rate,
    SecondsCounter, Stages, Timer,
};
use super::{
    CLOSE_REASONS, CONNECT_FAILURES, DIRECTIONS, HANDSHAKE_PHASES, MetricsSettings, NONE,
    PASSTHROUGH, UNKNOWN,
};

metrics! {
    // Connections to brokers.
    upstream_closes: Timer, 0 = "gateway_upstream_connection_close_rate_seconds", [],
        "Connections to brokers that ended, whoever ended them: how many, and how long it took to release them";
    upstream_close_rate: Rate, 0 = "gateway_upstream_connection_close_rate", [],
        "Connections to brokers that ended, per second, over the last 30 seconds";
    upstream_close: Counter, 0 = "gateway_upstream_connection_close_total", [],
        "Connections to brokers that ended, whoever ended them; the same events as in gateway_upstream_connection_close_rate_seconds";
    upstream_creations: Timer, 0 = "gateway_upstream_connection_creation_rate_seconds", [],
        "Connections to brokers that were established: how many, and how long TCP took; TLS and logins are in gateway_upstream_handshake_seconds";
    upstream_creation_rate: Rate, 0 = "gateway_upstream_connection_creation_rate", [],
        "Connections to brokers that were established, per second, over the last 30 seconds; far more than clients connect means churn";
    upstream_creation: Counter, 0 = "gateway_upstream_connection_creation_total", [],
        "Connections to brokers that were established; less those that ended they are gateway_upstream_connections_upstream_connected";
    upstream_selects: Timer, 0 = "gateway_upstream_select_rate_seconds", [],
        "Waits of the workers: a worker had nothing to do and blocked until the network or a timer woke it. Low when idle and when saturated";
    upstream_select_rate: Rate, 0 = "gateway_upstream_select_rate", [],
        "Waits of the workers per second, over the last 30 seconds";
    upstream_select: Counter, 0 = "gateway_upstream_select_total", [],
        "Waits of the workers; each worker has an event loop of its own, so that a wait is one blocking call";
    upstream_io_waits: Timer, 0 = "gateway_upstream_io_wait_rate_seconds", [],
        "The same waits as in gateway_upstream_select_rate_seconds, each until the worker ran again. Long waits mean that the gateway is idle, not that Kafka is slow; \
         for that look at gateway_upstream_request_seconds";
    upstream_io_wait_share: Gauge, 0 = "gateway_upstream_io_wait_rate", [],
        "Share of the workers' time that they waited for the network or a timer, over the last 30 seconds: 1 is idle, near 0 is saturated, \
         be it that they work all the time or that they do not get a processor";
    upstream_io_wait: SecondsCounter, 0 = "gateway_upstream_io_wait_total", [],
        "Seconds that workers have waited for the network or a timer, over all workers, waits that have not ended included; \
         without the time in which they waited for a processor, if the kernel tells it";
    upstream_io_wait_seconds: SecondsCounter, 0 = "gateway_upstream_io_wait_seconds_total", [],
        "The same as gateway_upstream_io_wait_total, named for its unit";
    cpu_wait: SecondsCounter, 0 = "gateway_thread_cpu_wait_seconds_total", [],
        "Seconds that workers had something to do and no processor to do it on, over all workers: the machine, or its share of it, is \
         too small or too busy; 0 where the kernel does not tell (/proc/<pid>/task/<tid>/schedstat)";
    upstream_handshake: Histogram, 1 = "gateway_upstream_handshake_seconds", ["phase"],
        "How long the phases of connecting to brokers took when they succeeded: tcp, tls, sasl";
    upstream_connect_failures: Counter, 1 = "gateway_upstream_connect_failures_total", ["reason"],
        "Attempts to connect to a broker that failed, by the phase in which they did; timeout: it took too long altogether";
    upstream_connected: Level, 0 = "gateway_upstream_connections_upstream_connected", [],
        "Connections to brokers now, those of the gateway itself included";
    brokered: Level, 0 = "gateway_brokered_active_connections", [],
        "Connections to brokers now that carry requests of clients; without a pool one for each client that has sent a request";
    brokers_in_use: Gauge, 0 = "gateway_backend_brokered_active_connections", [],
        "Brokers that at least one connection with requests of clients leads to";
    brokers: Gauge, 0 = "gateway_upstream_io_nodes", [],
        "Brokers in the cluster by the last answer of one; 0 if none has answered for a minute";
    brokers_without_port: Gauge, 1 = "gateway_brokers_without_port", ["listener"],
        "Brokers that clients of a listener cannot reach, because it has no port for their ids";

    // Connections of clients.
    client_sockets: Level, 0 = "gateway_upstream_connections_downstream", [],
        "Connections of clients now, authenticated or not";
    client_connections: Level, 1 = "gateway_active_connections_vcluster", ["vcluster" in Vclusters],
        "Connections of clients now that have authenticated, or need not, by virtual cluster";
    client_connects: Counter, 0 = "gateway_client_connect_total", [],
        "Connections of clients that were accepted";
    client_closes: Counter, 1 = "gateway_client_close_total", ["reason"],
        "Connections of clients that ended, by who ended them or why: client, broker (a connection to Kafka was lost or not to be had), idle, \
         stalled (the client took no answers), shutdown, returned (the broker that the client had meant is back, and another one had \
         served it in its place), limit (too many connections), authentication (it failed or was lost), tls \
         (no handshake), protocol (what was sent could not be understood or is not served)";

    // Bytes.
    bytes: Counter, 1 = "gateway_bytes_exchanged_total", ["direction"],
        "Bytes exchanged with clients, after decryption: upstream from clients, downstream to clients; all of Kafka's protocol, logins included";
    bytes_vcluster: Counter, 2 = "gateway_bytes_exchanged_vcluster_total", ["direction", "vcluster" in Vclusters],
        "Bytes exchanged with brokers on behalf of clients, by virtual cluster: upstream to brokers, downstream from brokers";

    // Requests.
    latency: Histogram, 0 = "gateway_latency_request_response_seconds", [],
        "From the last byte of a request to the complete answer, whoever answers. Fetches that wait for records, and members that wait \
         for their group, are included and dominate the upper quantiles; see gateway_overhead_seconds for what the gateway takes";
    latency_api: Timer, 2 = "gateway_apiKeys_latency_request_response_seconds", ["apiKeys", "vcluster" in Vclusters],
        "The same times as in gateway_latency_request_response_seconds, by request and virtual cluster";
    overhead: Histogram, 1 = "gateway_overhead_seconds", ["api_key"],
        "What the gateway takes itself: from the last byte of a request to the complete answer, less the time in which it was with the broker, \
         and less that of gateway_queue_wait_seconds";
    queue_wait: Histogram, 1 = "gateway_queue_wait_seconds", ["api_key"],
        "Requests that could not go to Kafka at once, and how long they waited: until fewer of their connection were in flight, \
         until a connection to the broker was there, or until it took what was sent. Long waits mean that Kafka is slow or away, \
         or that a client sends more at once than may be in flight; requests that did not wait do not count";
    upstream_request: Histogram, 2 = "gateway_upstream_request_seconds", ["broker", "request"],
        "How long brokers took: from the last byte of a request sent to the last byte of its answer read. Brokers hold some requests, which \
         are therefore apart: fetch until there are records, group (JoinGroup, SyncGroup) until all members are there";
    received: Counter, 0 = "gateway_thread_request_received_total", [],
        "Requests read from authenticated clients, those included whose header could not be understood; less \
         gateway_thread_request_rebuild_total that is how many were malformed";
    requests: Counter, 2 = "gateway_thread_request_rebuild_total", ["api_key", "vcluster" in Vclusters],
        "Requests of authenticated clients, whatever became of them";
    requests_user: Counter, 3 = "gateway_current_inflight_apiKeys_total",
        ["apiKeys", "vcluster" in Vclusters, "username" in Users],
        "The same requests as in gateway_thread_request_rebuild_total, by user; in spite of its name it only grows";
    in_flight: Level, 3 = "gateway_current_inflight_apiKeys", ["apiKeys", "vcluster" in Vclusters, "username" in Users],
        "Requests now that are not answered yet";
    waiting: Level, 2 = "gateway_thread_tasks", ["name", "threadId"],
        "Requests that are there and cannot be begun yet, by worker: too many of their connection are in flight, or the shared connection \
         to the broker takes no more; those behind them that have been read are included. Waiting for Kafka's answer does not count";
    throttle: Timer, 2 = "gateway_apiKeys_throttle_ms_seconds", ["apiKeys", "vcluster" in Vclusters],
        "Answers that throttle the client, and for how long, in seconds in spite of the ms in the name";

    // Stages of requests, measured if GATEWAY_FEATURE_FLAGS_LIFECYCLE_METRICS is on.
    stage_preprocess: Histogram<Stages>, 1 = "gateway_request_preprocess_duration_seconds", ["api_key"],
        "From the last byte of a request until its header is parsed and it has its turn";
    stage_authorization: Histogram<Stages>, 1 = "gateway_request_authorization_duration_seconds", ["api_key"],
        "Until it is decided whether the request is allowed; of requests that the gateway answers itself, until the answer is made";
    stage_rebuilder: Histogram<Stages>, 1 = "gateway_request_rebuilder_duration_seconds", ["api_key"],
        "Until what goes to the broker is made";
    stage_upstream_queue: Histogram<Stages>, 1 = "gateway_request_upstreamqueue_duration_seconds", ["api_key"],
        "Until the connection to the broker has taken the last byte; opening it is included in the rebuilder's time";
    stage_upstream_wait: Histogram<Stages>, 1 = "gateway_request_upstreamwait_duration_seconds", ["api_key"],
        "Until the last byte of the answer is read; fetches that wait for records are included";
    stage_response_rebuilder: Histogram<Stages>, 1 = "gateway_response_rebuilder_duration_seconds", ["api_key"],
        "Until the answer has the names and addresses that the client knows";
    stage_response_authorization: Histogram<Stages>, 1 = "gateway_response_authorization_duration_seconds", ["api_key"],
        "Until what the client may not see is out of the answer";
    stage_send: Histogram<Stages>, 1 = "gateway_response_send_duration_seconds", ["api_key"],
        "Until the connection to the client has taken the last byte, waiting for answers before it included";
    stage_total: Histogram<Stages>, 1 = "gateway_request_total_duration_seconds", ["api_key"],
        "All stages together";

    // Topics and groups.
    bytes_topic: Counter, 3 = "gateway_bytes_exchanged_topic_total", ["direction", "topic", "vcluster" in Vclusters],
        "Bytes of record batches by topic, as clients call it: upstream produced, once the broker has answered, downstream fetched; \
         without the frames around them. <other> is what is over the cap, or not to be shown";
    log_end: Offset, 3 = "gateway_topic_log_end_offset", ["vcluster", "topic", "partition"],
        "Where partitions end (the high watermark), as seen in answers to clients and asked for every GATEWAY_METRICS_OFFSET_POLL_MS";
    committed: Offset, 4 = "gateway_topic_current_offset", ["vcluster", "group", "topic", "partition"],
        "What groups have committed last, as seen in requests and answers of clients and asked for every GATEWAY_METRICS_OFFSET_POLL_MS";
    lag: Offset, 3 = "gateway_consumer_lag", ["vcluster", "group", "topic"],
        "Records between what a group has committed and the end of the partition, of the partition with most of them";
    lag_seconds: Gauge, 3 = "gateway_consumer_lag_seconds", ["vcluster", "group", "topic"],
        "For how long the oldest record that a group has not committed has been there, of the partition where that is longest; estimated \
         from when the gateway saw the log grow, and absent if that was before it began to look";

    // Errors.
    errors_user: Counter, 3 = "gateway_error_per_apiKeys_total", ["apiKeys", "vcluster" in Vclusters, "username" in Users],
        "Answers with an error of Kafka's protocol anywhere in them, and requests that got no answer because the gateway or the broker \
         failed; answers of more than 64 KiB are not looked into";
    errors: Counter, 3 = "gateway_errors_total", ["api_key", "error_code", "origin"],
        "The same errors by the first code in the answer, <none> for no answer, and by who said so: broker, gateway, authorization";
    failed_authentications: Counter, 1 = "gateway_failed_authentications_total", ["username" in Users],
        "Failed attempts of Kafka clients to authenticate, one per attempt, by the offered name if such an account exists; \
         <unknown> if none does, <none> if no name was offered (refused certificates)";
    failed_authentications_detail: Counter, 2 = "gateway_failed_authentications_detail_total", ["mechanism", "reason"],
        "The same attempts as in gateway_failed_authentications_total by SASL mechanism (SSL for client certificates, <other> for what is \
         not offered) and reason";
    expired_connections_killed: Counter, 0 = "gateway_expired_connections_killed_total", [],
        "Client connections closed because they were used after their session had expired without re-authentication";
    authorization_denied: Counter, 2 = "gateway_authorization_denied_total", ["resource_type", "operation"],
        "Denials by the access control of the gateway, one per resource and request";

    // State and process.
    store_entries: Gauge, 1 = "gateway_kcache_size", ["type"],
        "Entries that the gateway keeps in Kafka, by kind, as this node sees them";
    store_lag: Gauge, 1 = "gateway_state_store_lag", ["type"],
        "Records in the gateway's own topics that were there when it last read them and that it has not taken in; 0 but for moments";
    store_age: Gauge, 1 = "gateway_state_store_last_update_seconds", ["type"],
        "Seconds since the gateway last read its own topics; below 1 while all is well, changed or not";
    store_broken: Gauge, 1 = "gateway_state_store_broken", ["type"],
        "1 if one of the gateway's own topics was deleted or cut off while the gateway ran: what was read before stays in force, and \
         nothing can be changed; else 0";
    certificate_expiry: Gauge, 1 = "gateway_certificate_expiry_seconds", ["use"],
        "When the certificate chain in use expires (the earliest of its certificates), in seconds since 1970; \
         subtract time() for the time that is left";
    certificate_reload_failures: Counter, 1 = "gateway_certificate_reload_failures_total", ["use"],
        "Changed key or trust stores that could not be used; the one before stays in use";
    ready: Gauge, 1 = "gateway_ready", ["check"],
        "Conditions of readiness, as in /health/ready: 1 is up; the node serves clients while all are 1";
    license: Endless, 0 = "gateway_license_remaining_days", [],
        "Always +Inf: there is no licence that could run out. Dashboards made for other gateways ask for it";
    build_info: Gauge, 3 = "gateway_build_info", ["version", "commit", "rustc"],
        "Always 1; the labels tell what is running";
    otlp_exports: Counter, 1 = "gateway_otlp_exports_total", ["outcome"],
        "Pushes of all metrics to an OTLP collector: sent, partial (it has refused some), failed. Absent unless one is set";
    // What is configured.
    lived_types: Gauge, 0 = "gateway_lived_event_interceptors_types_total", [],
        "Plugins that interceptors are configured of";
    lived_instances: Gauge, 0 = "gateway_lived_event_interceptors_instances_total", [],
        "Interceptors that are configured";
    lived_class_instances: Gauge, 1 = "gateway_lived_event_interceptor_instance_count", ["className"],
        "Interceptors that are configured, by plugin";
    lived_class_topics: Gauge, 1 = "gateway_lived_event_interceptor_topics_covered", ["className"],
        "Topics that interceptors act on, by plugin; 0, as this version keeps interceptors and does not run them";
    lived_topics_covered: Gauge, 0 = "gateway_lived_event_unique_topics_covered", [],
        "Topics that any interceptor acts on; 0, as this version keeps interceptors and does not run them";
    lived_accounts: Gauge, 0 = "gateway_lived_event_service_accounts_total", [],
        "Service accounts";
    lived_groups: Gauge, 0 = "gateway_lived_event_groups_total", [],
        "Groups of users";
    lived_vclusters: Gauge, 0 = "gateway_lived_event_vclusters_total", [],
        "Virtual clusters, the passthrough one not counted";
    lived_aliases: Gauge, 0 = "gateway_lived_event_topics_alias_total", [],
        "Aliases of topics";
    lived_concentrated: Gauge, 0 = "gateway_lived_event_topics_concentrated_total", [],
        "Topics that share a topic of Kafka with others; 0, as this version has none";
    lived_info: Gauge, 4 = "gateway_lived_event_info", ["gatewayVersion", "gatewayCommit", "os", "deploymentMethod"],
        "Always 1; the labels tell what is running, and by DEPLOYED_BY how it was deployed";
    lived_connections: Gauge, 4 = "gateway_lived_event_connection_info",
        ["gatewaySecurityProtocol", "gatewaySaslMechanism", "kafkaSecurityProtocol", "kafkaSaslMechanism"],
        "Always 1; the labels tell how clients and the gateway connect";

    // Runtimes of the workers.
    tokio_workers: Gauge, 1 = "tokio_workers", ["runtime"],
        "Threads of the runtime";
    tokio_busy: SecondsCounter, 1 = "tokio_busy_seconds_total", ["runtime"],
        "Seconds that the threads of the runtime have worked";
    tokio_parks: Counter, 1 = "tokio_park_total", ["runtime"],
        "Times that a thread of the runtime had nothing to do and waited";

    // The process and the machine.
    process_uptime: Gauge, 0 = "process_uptime_seconds", [],
        "Seconds since the start of the process";
    process_start: Gauge, 0 = "process_start_time_seconds", [],
        "Start of the process, in seconds since 1970";
    process_cpu: SecondsCounter, 0 = "process_cpu_seconds_total", [],
        "CPU time of the process in seconds, user and system";
    process_cpu_usage: Gauge, 0 = "process_cpu_usage", [],
        "Share of the CPU time available to the process that it has used, over the last 10 seconds: 1 is all of it";
    system_cpu_usage: Gauge, 0 = "system_cpu_usage", [],
        "Share of the CPU time that all processes have used, over the last 10 seconds: of the machine, or of the control group if that has a quota";
    system_cpu_count: Gauge, 0 = "system_cpu_count", [],
        "CPUs available to the process: a quota of its control group, rounded up, or those that it may run on";
    system_load: Gauge, 0 = "system_load_average_1m", [],
        "Load average of the machine over the last minute";
    process_threads: Gauge, 0 = "process_threads", [],
        "Threads of the process";
    process_files_open: Gauge, 0 = "process_files_open_files", [],
        "Open file descriptors";
    process_files_max: Gauge, 0 = "process_files_max_files", [],
        "Soft limit of open file descriptors";
    process_open_fds: Gauge, 0 = "process_open_fds", [],
        "The same as process_files_open_files";
    process_max_fds: Gauge, 0 = "process_max_fds", [],
        "The same as process_files_max_files";
    process_resident: Gauge, 0 = "process_resident_memory_bytes", [],
        "Resident memory in bytes";
    process_virtual: Gauge, 0 = "process_virtual_memory_bytes", [],
        "Virtual memory in bytes";
    process_rss: Gauge, 0 = "process_memory_rss_bytes", [],
        "Resident memory in bytes by the map of the memory, which is read every 15 seconds";
    process_vss: Gauge, 0 = "process_memory_vss_bytes", [],
        "The same as process_virtual_memory_bytes";
    process_pss: Gauge, 0 = "process_memory_pss_bytes", [],
        "Resident memory in bytes, pages shared with other processes counted in proportion";
    process_swap: Gauge, 0 = "process_memory_swap_bytes", [],
        "Memory swapped out, in bytes";
    process_swap_pss: Gauge, 0 = "process_memory_swappss_bytes", [],
        "Memory swapped out, in bytes, pages shared with other processes counted in proportion";
    scrape_seconds: Timer, 0 = "gateway_metrics_scrape_seconds", [],
        "How long it took to write a scrape, the pace of the scraper included";
    series: Gauge, 1 = "gateway_metrics_series", ["family"],
        "Series of each metric, a timer with all its lines being one";
}

impl Catalogue {
    /// Ends series that have been idle for long.
    pub(super) fn sweep(&self, now: Moment) {
        for family in self.families() {
            family.sweep(now);
        }
        self.domains.release();
    }

    /// Sets how many series there are.
    pub(super) fn count_series(&self) {
        for family in self.families() {
            let series = self.series.with([family.declaration().name]);
            series.set(family.len() as f64);
        }
    }

    /// The series that exist from the start.
    fn bear(&self) {
        for username in [UNKNOWN, NONE] {
            self.failed_authentications.with([username]);
        }
        self.expired_connections_killed.with([]);
        for timer in [
            &self.upstream_closes,
            &self.upstream_creations,
            &self.scrape_seconds,
        ] {
            timer.with([]);
        }
        // Two views of the same observations.
        self.upstream_io_waits
            .share([], &self.upstream_selects.with([]));
        self.upstream_io_wait_seconds
            .share([], &self.upstream_io_wait.with([]));
        for rate in [
            &self.upstream_close_rate,
            &self.upstream_creation_rate,
            &self.upstream_select_rate,
        ] {
            rate.with([]);
        }
        for counter in [
            &self.upstream_close,
            &self.upstream_creation,
            &self.upstream_select,
            &self.client_connects,
            &self.received,
        ] {
            counter.with([]);
        }
        for level in [
            &self.upstream_connected,
            &self.brokered,
            &self.client_sockets,
        ] {
            level.with([]);
        }
        for gauge in [
            &self.upstream_io_wait_share,
            &self.brokers_in_use,
            &self.brokers,
        ] {
            gauge.with([]);
        }
        for phase in HANDSHAKE_PHASES {
            self.upstream_handshake.with([phase]);
        }
        for reason in CONNECT_FAILURES {
            self.upstream_connect_failures.with([reason]);
        }
        for reason in CLOSE_REASONS {
            self.client_closes.with([reason]);
        }
        for direction in DIRECTIONS {
            self.bytes.with([direction]);
        }
        self.latency.with([]);
        self.license.with([]);
        self.bear_vcluster(PASSTHROUGH);
    }

    /// The series that a virtual cluster has before anybody uses it.
    pub(super) fn bear_vcluster(&self, vcluster: &str) {
        self.client_connections.with([vcluster]);
        for direction in DIRECTIONS {
            self.bytes_vcluster.with([direction, vcluster]);
        }
        for (camel, snake) in [
            ("Produce", "PRODUCE"),
            ("Fetch", "FETCH"),
            ("Metadata", "METADATA"),
        ] {
            self.requests.with([snake, vcluster]);
            self.latency_api.with([camel, vcluster]);
            self.overhead.with([snake]);
            self.queue_wait.with([snake]);
            if camel != "Metadata" {
                self.throttle.with([camel, vcluster]);
            }
        }
    }
}

/// Makes the struct of families, their declarations and the walk over all of them from one list. `label in Domain` puts the
/// values of a label under the cap of a [`Domain`].
macro_rules! metrics {
    ($($field:ident: $instrument:ty, $count:literal = $name:literal, [$($label:literal $(in $domain:ident)?),*], $help:literal;)+) => {
        /// What the catalogue declares, in the order of the exposition.
        pub const DECLARATIONS: &[Declaration] = &[
            $(metrics!(@declare $instrument, $name, [$($label $(in $domain)?),*], $help),)+
            FOLDED,
        ];

        /// The families, by what they count.
        #[derive(Debug)]
        pub struct Catalogue {
            $(#[doc = $help] pub $field: Family<$instrument, $count>,)+
            folded: Family<Counter, 1>,
            domains: Domains,
        }

        impl Catalogue {
            pub(super) fn new(settings: &MetricsSettings) -> Self {
                let domains = Domains::new(settings);
                let folded = Family::new(&FOLDED, &domains, Counter::default());
                $(let $field = {
                    const DECLARED: Declaration = metrics!(@declare $instrument, $name, [$($label $(in $domain)?),*], $help);
                    Family::new(&DECLARED, &domains, folded.with([$name]))
                };)+
                let catalogue = Self { $($field,)+ folded, domains };
                catalogue.bear();
                catalogue
            }

            /// The families, in the order of [`DECLARATIONS`].
            pub(super) fn families(&self) -> Vec<&dyn Exposed> {
                vec![$(&self.$field,)+ &self.folded]
            }
        }
    };
    (@declare $instrument:ty, $name:literal, [$($label:literal $(in $domain:ident)?),*], $help:literal) => {
        Declaration {
            name: $name,
            facets: <$instrument as Instrument>::FACETS,
            labels: &[$($label),*],
            domains: &[$(metrics!(@domain $($domain)?)),*],
            help: $help,
        }
    };
    (@domain) => { None };
    (@domain $domain:ident) => { Some(Domain::$domain) };
}
use metrics;

const FOLDED: Declaration = Declaration {
    name: "gateway_metrics_series_folded_total",
    facets: &[Facet {
        suffix: "",
        kind: Kind::Counter,
    }],
    labels: &["family"],
    domains: &[None],
    help: "Look-ups of series that did not fit under a cap: counters went to <other>, gauges were dropped",
};
