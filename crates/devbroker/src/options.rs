//! What a caller may choose about a cluster.

use std::net::{IpAddr, Ipv4Addr};

/// How a cluster is set up; every value has a default that suits trying out.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) brokers: u16,
    pub(crate) bind: IpAddr,
    pub(crate) ports: Vec<u16>,
    pub(crate) advertised_host: Option<String>,
    pub(crate) advertised_ports: Vec<u16>,
    pub(crate) cluster_id: String,
    pub(crate) racks: Vec<String>,
    pub(crate) auto_create_topics: bool,
    pub(crate) default_partitions: i32,
    pub(crate) default_replication_factor: i16,
    pub(crate) memory_limit: u64,
    pub(crate) max_connections: usize,
    pub(crate) max_frame_bytes: usize,
    pub(crate) max_fetch_bytes: usize,
    pub(crate) benchmark: Option<Benchmark>,
}

/// Benchmark mode: Produce is answered without storing anything, Fetch from one prepared batch, for any offset. Topics whose
/// names begin with an underscore behave as usual: what is measured may keep its state there.
#[derive(Clone, Copy, Debug)]
pub struct Benchmark {
    /// Bytes of each record's value in the prepared batch.
    pub record_bytes: usize,
    /// Records in the prepared batch.
    pub records: usize,
}

impl Default for Benchmark {
    fn default() -> Self {
        Benchmark {
            record_bytes: 1024,
            records: 64,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            brokers: 3,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            ports: Vec::new(),
            advertised_host: None,
            advertised_ports: Vec::new(),
            cluster_id: "devbroker-0000000000000".to_owned(),
            racks: Vec::new(),
            auto_create_topics: true,
            default_partitions: 1,
            default_replication_factor: 1,
            memory_limit: 256 << 20,
            max_connections: 512,
            max_frame_bytes: 100 << 20,
            max_fetch_bytes: 55 << 20,
            benchmark: None,
        }
    }
}

impl Options {
    /// Three brokers on free loopback ports, 256 MiB of records, topics created on first use with one partition.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of brokers, at least 1; their node ids are 1, 2, ...
    pub fn brokers(mut self, brokers: u16) -> Self {
        self.brokers = brokers.max(1);
        self
    }

    /// Address to listen on. Default 127.0.0.1.
    pub fn bind(mut self, address: IpAddr) -> Self {
        self.bind = address;
        self
    }

    /// Ports in node id order; brokers beyond the list, and those with port 0, get a free port.
    pub fn ports(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.ports = ports.into_iter().collect();
        self
    }

    /// Host name to put into metadata instead of the address listened on.
    pub fn advertised_host(mut self, host: impl Into<String>) -> Self {
        self.advertised_host = Some(host.into());
        self
    }

    /// Ports to put into metadata in node id order; brokers beyond the list advertise the port they listen on.
    pub fn advertised_ports(mut self, ports: impl IntoIterator<Item = u16>) -> Self {
        self.advertised_ports = ports.into_iter().collect();
        self
    }

    /// Cluster id in metadata; Kafka's own are 22 characters of URL-safe base64.
    pub fn cluster_id(mut self, id: impl Into<String>) -> Self {
        self.cluster_id = id.into();
        self
    }

    /// Racks in node id order; brokers beyond the list have none.
    pub fn racks<S: Into<String>>(mut self, racks: impl IntoIterator<Item = S>) -> Self {
        self.racks = racks.into_iter().map(Into::into).collect();
        self
    }

    /// Whether Metadata creates the topics it is asked for (`auto.create.topics.enable`). Default true.
    pub fn auto_create_topics(mut self, on: bool) -> Self {
        self.auto_create_topics = on;
        self
    }

    /// Partitions of topics created without a number (`num.partitions`). Default 1.
    pub fn default_partitions(mut self, partitions: i32) -> Self {
        self.default_partitions = partitions.max(1);
        self
    }

    /// Replication factor of topics created without one (`default.replication.factor`). Default 1; at most the number of brokers.
    pub fn default_replication_factor(mut self, factor: i16) -> Self {
        self.default_replication_factor = factor.max(1);
        self
    }

    /// Bytes that records, group state and committed offsets may take in the whole cluster. Default 256 MiB.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// Connections per broker; further ones are closed at once. Default 512.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections.max(1);
        self
    }

    /// Largest request frame (`socket.request.max.bytes`); a larger one closes its connection. Default 100 MiB.
    pub fn max_frame_bytes(mut self, bytes: usize) -> Self {
        self.max_frame_bytes = bytes.clamp(1024, i32::MAX as usize);
        self
    }

    /// Largest Fetch answer (`fetch.max.bytes`), except that one batch is always returned. Default 55 MiB.
    pub fn max_fetch_bytes(mut self, bytes: usize) -> Self {
        self.max_fetch_bytes = bytes;
        self
    }

    /// Answers Produce without storing and Fetch from one prepared batch.
    pub fn benchmark(mut self, benchmark: Benchmark) -> Self {
        self.benchmark = Some(benchmark);
        self
    }

    pub(crate) fn port_of(&self, index: usize) -> u16 {
        self.ports.get(index).copied().unwrap_or(0)
    }

    pub(crate) fn replication_factor(&self) -> i16 {
        self.default_replication_factor.min(self.brokers as i16)
    }
}
