//! Kafka clusters (KRaft) that live as long as a test.

mod node;
mod options;

pub use options::{ClusterOptions, Listener, USERS};

use crate::cert::{Authority, PemFiles};
use crate::dirs::Scratch;
use crate::gateway;
use crate::owner::Owner;
use crate::process::{Signal, Spec, tail};
use crate::raw::{self, ClusterView};
use crate::{Error, Relay, Release, Result, ports, wait};
use node::{Common, Node};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long brokers may take to start or stop. Generous: a machine that also builds or fuzzes makes them ten times slower.
const LIMIT: Duration = Duration::from_secs(300);

/// A running cluster. Dropping it kills the brokers and removes their data.
#[derive(Debug)]
pub struct KafkaCluster {
    nodes: Mutex<BTreeMap<i32, Node>>,
    common: Common,
    authority: Authority,
    client_files: PemFiles,
    cluster_id: String,
    // Last, so that the brokers are gone when the folder goes.
    scratch: Scratch,
}

impl KafkaCluster {
    /// Three brokers of a release with default settings.
    ///
    /// # Errors
    /// As [`KafkaCluster::start_with`].
    pub fn start(release: Release) -> Result<KafkaCluster> {
        KafkaCluster::start_with(ClusterOptions::new(release))
    }

    /// Starts all brokers side by side and waits until each of them knows all others.
    ///
    /// # Errors
    /// Kafka cannot be fetched, or a broker does not come up; the error has the end of its log.
    ///
    /// # Panics
    /// If the release has no brokers.
    pub fn start_with(options: ClusterOptions) -> Result<KafkaCluster> {
        assert!(options.release.has_brokers(), "a release with brokers");
        options.release.class_path()?;
        let scratch = Scratch::new(&format!("kafka-{}", options.release.version()))?;
        let authority = Authority::new("Sluicegate test authority")?;
        let server = authority.issue_server(&["localhost", "127.0.0.1"])?;
        let server_files = authority.write_pem(&server, scratch.path(), "server")?;
        let client = authority.issue_client("test-client")?;
        let client_files = authority.write_pem(&client, scratch.path(), "client")?;

        let mut nodes = BTreeMap::new();
        let mut voters = Vec::new();
        for id in &options.node_ids {
            let port = ports::free();
            voters.push(format!("{id}@127.0.0.1:{port}"));
            nodes.insert(*id, Node::new(*id, Some(port))?);
        }
        let common = Common {
            dir: scratch.path().to_owned(),
            server_files,
            voters: voters.join(","),
            options,
        };
        let cluster_id = unique_id();
        format_storage(&common, &cluster_id, &nodes)?;
        for node in nodes.values_mut() {
            node.start(&common)?;
        }
        let cluster = KafkaCluster {
            nodes: Mutex::new(nodes),
            common,
            authority,
            client_files,
            cluster_id,
            scratch,
        };
        cluster.wait_ready()?;
        Ok(cluster)
    }

    /// The release of the brokers.
    pub fn release(&self) -> Release {
        self.common.options.release
    }

    /// The cluster id.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The authority that issued the brokers' certificates and that they trust.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A client certificate (`CN=test-client`) and the authority, as PEM files. For JKS and PKCS#12 see
    /// [`Authority::write_stores`].
    pub fn client_files(&self) -> &PemFiles {
        &self.client_files
    }

    /// A folder for files of tests; it goes with the cluster.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// Bootstrap servers, `host:port` of every broker, comma separated.
    pub fn bootstrap(&self, listener: Listener) -> String {
        let addresses: Vec<String> = self.addresses(listener).into_values().collect();
        addresses.join(",")
    }

    /// Address of every broker by node id.
    pub fn addresses(&self, listener: Listener) -> BTreeMap<i32, String> {
        let nodes = self.nodes();
        nodes
            .iter()
            .map(|(id, node)| (*id, node.address(listener)))
            .collect()
    }

    /// Node ids of all brokers, running or not.
    pub fn node_ids(&self) -> Vec<i32> {
        self.nodes().keys().copied().collect()
    }

    /// Process ids of the running brokers by node id.
    pub fn pids(&self) -> BTreeMap<i32, u32> {
        let nodes = self.nodes();
        nodes
            .iter()
            .filter_map(|(id, node)| Some((*id, node.process()?.pid())))
            .collect()
    }

    /// Resident memory of all brokers together, bytes.
    pub fn resident_bytes(&self) -> u64 {
        let nodes = self.nodes();
        nodes
            .values()
            .filter_map(|node| node.process()?.resident_bytes())
            .sum()
    }

    /// Calls `act` with the relay in front of a broker's [`Listener::Relayed`] listener.
    ///
    /// # Panics
    /// If there is no such broker.
    pub fn with_relay<T>(&self, id: i32, act: impl FnOnce(&Relay) -> T) -> T {
        act(&self.node(&mut self.nodes(), id).relay)
    }

    /// Stops a broker in order (SIGTERM) and waits for its end.
    ///
    /// # Errors
    /// It did not end in time; it is killed then.
    pub fn stop(&self, id: i32) -> Result<()> {
        let mut nodes = self.nodes();
        let node = self.node(&mut nodes, id);
        node.signal(Signal::Term);
        node.finish(LIMIT)
    }

    /// Kills a broker (SIGKILL).
    pub fn kill(&self, id: i32) {
        self.node(&mut self.nodes(), id).kill();
    }

    /// Starts a stopped broker on its old ports and waits until all running brokers see it.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_broker(&self, id: i32) -> Result<()> {
        self.node(&mut self.nodes(), id).start(&self.common)?;
        self.wait_ready()
    }

    /// Stops a broker in order, starts it again, waits until everything is in sync.
    ///
    /// # Errors
    /// As [`KafkaCluster::stop`] and [`KafkaCluster::start_broker`].
    pub fn restart(&self, id: i32) -> Result<()> {
        self.stop(id)?;
        self.start_broker(id)?;
        self.wait_in_sync()
    }

    /// [`KafkaCluster::restart`], on new ports for clients.
    ///
    /// # Errors
    /// As [`KafkaCluster::restart`].
    pub fn restart_on_new_ports(&self, id: i32) -> Result<()> {
        self.stop(id)?;
        self.node(&mut self.nodes(), id).change_ports();
        self.start_broker(id)?;
        self.wait_in_sync()
    }

    /// Freezes a broker (SIGSTOP): its sockets stay open and nothing answers.
    pub fn freeze(&self, id: i32) {
        let mut nodes = self.nodes();
        let node = self.node(&mut nodes, id);
        node.signal(Signal::Stop);
        node.frozen = true;
    }

    /// Lets a frozen broker go on (SIGCONT).
    pub fn thaw(&self, id: i32) {
        let mut nodes = self.nodes();
        let node = self.node(&mut nodes, id);
        node.signal(Signal::Cont);
        node.frozen = false;
    }

    /// Adds a broker (without controller role) and waits until all others see it.
    ///
    /// # Errors
    /// It does not come up.
    pub fn add_broker(&self, id: i32) -> Result<()> {
        let mut node = Node::new(id, None)?;
        let mut nodes = self.nodes();
        let template = nodes
            .values()
            .next()
            .map(|node| node.data_dir(&self.common));
        if let Some(template) = template {
            copy_storage(&template, &node.data_dir(&self.common), id)?;
        }
        node.start(&self.common)?;
        nodes.insert(id, node);
        drop(nodes);
        self.wait_ready()
    }

    /// Starts and thaws every broker that is not running, opens all relays, waits until everything is in
    /// sync: after a test that disturbed a shared cluster.
    ///
    /// # Errors
    /// A broker does not come up.
    pub fn heal(&self) -> Result<()> {
        for node in self.nodes().values_mut() {
            if node.frozen {
                node.signal(Signal::Cont);
                node.frozen = false;
            }
            if !node.is_running() {
                node.start(&self.common)?;
            }
            node.relay.set_both(crate::Mode::Pass);
            node.relay.set_door(crate::Door::Open);
        }
        self.wait_ready()?;
        self.wait_in_sync()
    }

    /// The cluster as its first running broker sees it.
    ///
    /// # Errors
    /// No broker answers.
    pub fn view(&self) -> Result<ClusterView> {
        let addresses = self.running_addresses();
        let address = addresses
            .first()
            .ok_or_else(|| Error::Violated("no broker runs".to_owned()))?;
        raw::metadata(address)
    }

    /// Waits until every running broker sees all running brokers and a controller.
    ///
    /// # Errors
    /// A broker ended, or the time is up.
    pub fn wait_ready(&self) -> Result<()> {
        let expected = self.running_addresses().len();
        wait::until("all brokers to see each other", LIMIT, || {
            for node in self.nodes().values_mut() {
                node.check_alive(&self.common)?;
            }
            for address in self.running_addresses() {
                let view = raw::metadata(&address)?;
                if view.brokers.len() != expected || view.controller < 0 {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        })
    }

    /// Waits until all replicas of all partitions are in sync on all running brokers.
    ///
    /// # Errors
    /// The time is up.
    pub fn wait_in_sync(&self) -> Result<()> {
        wait::until_true("all replicas to be in sync", LIMIT, || {
            self.view().is_ok_and(|view| {
                view.partitions
                    .iter()
                    .all(|p| p.leader >= 0 && p.in_sync.len() == p.replicas.len())
            })
        })
    }

    /// Checks that nobody but gateways started by this process has ever connected to a
    /// [`Listener::Relayed`] port.
    ///
    /// # Errors
    /// [`Error::Violated`] naming who did.
    pub fn assert_only_gateway_connects(&self) -> Result<()> {
        let gateways = gateway::launched();
        for (id, node) in self.nodes().iter() {
            for (owner, count) in node.relay.owners() {
                let known = matches!(&owner, Owner::Process { pid, .. } if gateways.contains(pid));
                if !known {
                    return Err(Error::Violated(format!(
                        "{count} connections to broker {id} came from {owner:?}, not from a gateway"
                    )));
                }
            }
        }
        Ok(())
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<i32, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node<'a>(&self, nodes: &'a mut BTreeMap<i32, Node>, id: i32) -> &'a mut Node {
        nodes
            .get_mut(&id)
            .unwrap_or_else(|| panic!("the cluster has a broker {id}"))
    }

    fn running_addresses(&self) -> Vec<String> {
        let mut nodes = self.nodes();
        nodes
            .values_mut()
            .filter(|node| !node.frozen)
            .filter_map(|node| node.is_running().then(|| node.internal_address()))
            .collect()
    }
}

/// Formats the first broker's folder with Kafka's tool and copies it for the others: what it holds is
/// equal but for two ids.
fn format_storage(common: &Common, cluster_id: &str, nodes: &BTreeMap<i32, Node>) -> Result<()> {
    let mut all = nodes.values();
    let Some(first) = all.next() else {
        return Ok(());
    };
    first.write_properties(common)?;
    let log = common.dir.join("format.log");
    let mut args = vec![
        "kafka.tools.StorageTool".to_owned(),
        "format".to_owned(),
        "--cluster-id".to_owned(),
        cluster_id.to_owned(),
        "--config".to_owned(),
        first.properties_path(common).display().to_string(),
    ];
    for (name, password) in &common.options.users {
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            args.push("--add-scram".to_owned());
            args.push(format!("{mechanism}=[name={name},password={password}]"));
        }
    }
    let status = Spec::new("kafka-storage", "java", &log)
        .args(common.java_options()?)
        .args(args)
        .start()?
        .wait(LIMIT)?;
    if status != 0 {
        return Err(Error::Exit {
            program: "kafka-storage format".to_owned(),
            status,
            output: tail(&fs::read_to_string(&log).unwrap_or_default(), 20),
        });
    }
    for node in all {
        copy_storage(&first.data_dir(common), &node.data_dir(common), node.id)?;
    }
    Ok(())
}

/// Copies a freshly formatted folder for another node id.
fn copy_storage(from: &Path, to: &Path, node_id: i32) -> Result<()> {
    let meta = fs::read_to_string(from.join("meta.properties"))
        .map_err(Error::io("read meta.properties"))?;
    let meta: String = meta
        .lines()
        .map(|line| match line.split_once('=') {
            Some(("node.id", _)) => format!("node.id={node_id}\n"),
            Some(("directory.id", _)) => format!("directory.id={}\n", unique_id()),
            _ => format!("{line}\n"),
        })
        .collect();
    fs::create_dir_all(to).map_err(Error::io(format!("create {}", to.display())))?;
    fs::write(to.join("meta.properties"), meta).map_err(Error::io("write meta.properties"))?;
    let checkpoint = "bootstrap.checkpoint";
    fs::copy(from.join(checkpoint), to.join(checkpoint))
        .map(drop)
        .map_err(Error::io("copy bootstrap.checkpoint"))
}

/// A random id in Kafka's form: 16 bytes, URL-safe base64 without padding, no leading dash.
fn unique_id() -> String {
    use base64::Engine as _;
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes[0] &= 0x7f;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
