//! One broker: its ports, its files, its process.

use super::options::{ClusterOptions, Listener};
use crate::cert::PemFiles;
use crate::process::{Process, Signal, Spec, tail};
use crate::relay::Relay;
use crate::{Error, Result, ports};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What all brokers of a cluster have in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) options: ClusterOptions,
    pub(super) dir: PathBuf,
    pub(super) server_files: PemFiles,
    /// `id@host:port` of every controller, comma separated.
    pub(super) voters: String,
}

impl Common {
    /// For brokers and what reads their settings.
    pub(super) fn java_options(&self) -> Result<Vec<String>> {
        let classes: Vec<&Path> = self.options.classes.iter().map(|dir| &**dir).collect();
        self.options.release.java_options_with(&classes)
    }
}

/// A broker that runs or could run.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: i32,
    controller_port: Option<u16>,
    internal_port: u16,
    client_ports: BTreeMap<Listener, u16>,
    pub(super) relay: Relay,
    process: Option<Process>,
    pub(super) frozen: bool,
}

impl Node {
    /// A broker with fresh ports; `controller_port` makes it a controller too.
    pub(super) fn new(id: i32, controller_port: Option<u16>) -> Result<Node> {
        let client_ports = fresh_ports();
        Ok(Node {
            id,
            controller_port,
            internal_port: ports::free(),
            relay: Relay::watching(local(client_ports[&Listener::Relayed]))?,
            client_ports,
            process: None,
            frozen: false,
        })
    }

    /// Address for clients.
    pub(super) fn address(&self, listener: Listener) -> String {
        match listener {
            Listener::Relayed => self.relay.address().to_string(),
            other => local(self.client_ports[&other]),
        }
    }

    /// Address between brokers.
    pub(super) fn internal_address(&self) -> String {
        local(self.internal_port)
    }

    pub(super) fn data_dir(&self, common: &Common) -> PathBuf {
        common.dir.join(format!("data-{}", self.id))
    }

    pub(super) fn properties_path(&self, common: &Common) -> PathBuf {
        common.dir.join(format!("server-{}.properties", self.id))
    }

    pub(super) fn log_path(&self, common: &Common) -> PathBuf {
        common.dir.join(format!("broker-{}.log", self.id))
    }

    /// Takes new ports on all listeners for clients; for a stopped broker.
    pub(super) fn change_ports(&mut self) {
        self.client_ports = fresh_ports();
        self.relay
            .set_target(local(self.client_ports[&Listener::Relayed]));
    }

    /// Writes the configuration for the ports of now.
    pub(super) fn write_properties(&self, common: &Common) -> Result<()> {
        let path = self.properties_path(common);
        fs::write(&path, self.properties(common))
            .map_err(Error::io(format!("write {}", path.display())))
    }

    pub(super) fn start(&mut self, common: &Common) -> Result<()> {
        self.write_properties(common)?;
        let logging = write_logging(&common.dir)?;
        let process = Spec::new(format!("broker {}", self.id), "java", self.log_path(common))
            .args(common.java_options()?)
            .args(&common.options.java_options)
            .args(logging)
            .args(["kafka.Kafka"])
            .args([self.properties_path(common)])
            .start()?;
        self.process = Some(process);
        self.frozen = false;
        Ok(())
    }

    pub(super) fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(Process::is_running)
    }

    pub(super) fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// An error with the end of the log if the broker has ended by itself.
    pub(super) fn check_alive(&mut self, common: &Common) -> Result<()> {
        let Some(status) = self.process.as_mut().and_then(Process::exit_status) else {
            return Ok(());
        };
        let log = fs::read_to_string(self.log_path(common)).unwrap_or_default();
        Err(Error::Exit {
            program: format!("broker {}", self.id),
            status,
            output: tail(&log, 30),
        })
    }

    pub(super) fn signal(&mut self, signal: Signal) {
        if let Some(process) = self.process.as_mut() {
            process.signal(signal);
        }
    }

    /// Waits for the end after SIGTERM; kills it if it does not come.
    pub(super) fn finish(&mut self, limit: Duration) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.wait(limit).map(drop),
            None => Ok(()),
        }
    }

    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    fn properties(&self, common: &Common) -> String {
        let options = &common.options;
        let files = &common.server_files;
        let mut text = String::new();
        let mut set = |key: &str, value: &str| {
            let _ = writeln!(text, "{key}={value}");
        };
        let role = match self.controller_port {
            Some(_) => "broker,controller",
            None => "broker",
        };
        set("process.roles", role);
        set("node.id", &self.id.to_string());
        set("controller.quorum.voters", &common.voters);
        let mut bound = vec![format!("INTERNAL://{}", self.internal_address())];
        let mut advertised = bound.clone();
        let mut protocols = vec![
            "INTERNAL:PLAINTEXT".to_owned(),
            "CONTROLLER:PLAINTEXT".to_owned(),
        ];
        for (listener, port) in &self.client_ports {
            let name = listener.name();
            bound.push(format!("{name}://{}", local(*port)));
            advertised.push(format!("{name}://{}", self.address(*listener)));
            protocols.push(format!("{name}:{}", listener.security_protocol()));
        }
        if let Some(port) = self.controller_port {
            bound.push(format!("CONTROLLER://{}", local(port)));
        }
        set("listeners", &bound.join(","));
        set("advertised.listeners", &advertised.join(","));
        set("listener.security.protocol.map", &protocols.join(","));
        set("inter.broker.listener.name", "INTERNAL");
        set("controller.listener.names", "CONTROLLER");
        set("log.dirs", &self.data_dir(common).display().to_string());
        if options.racks {
            set("broker.rack", &format!("rack-{}", self.id));
        }

        let brokers = options.node_ids.len();
        let replicas = brokers.min(3).to_string();
        let in_sync = brokers.min(2).to_string();
        set("default.replication.factor", &replicas);
        set("min.insync.replicas", &in_sync);
        for topic in [
            "offsets.topic",
            "transaction.state.log",
            "share.coordinator.state.topic",
        ] {
            set(&format!("{topic}.replication.factor"), &replicas);
            set(&format!("{topic}.num.partitions"), "6");
        }
        set("transaction.state.log.min.isr", &in_sync);
        set("share.coordinator.state.topic.min.isr", &in_sync);
        for (key, value) in SMALL_BROKER {
            set(key, value);
        }

        set("ssl.keystore.type", "PEM");
        set("ssl.keystore.location", &files.key.display().to_string());
        set("ssl.truststore.type", "PEM");
        set(
            "ssl.truststore.location",
            &files.trust.display().to_string(),
        );
        set("listener.name.mtls.ssl.client.auth", "required");

        let users: String = options
            .users
            .iter()
            .map(|(name, password)| format!(" user_{name}=\"{password}\""))
            .collect();
        let security = "org.apache.kafka.common.security";
        for listener in ["sasl_plaintext", "sasl_ssl"] {
            let mut sasl = |key: &str, value: &str| {
                set(&format!("listener.name.{listener}.{key}"), value);
            };
            sasl(
                "sasl.enabled.mechanisms",
                "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
            );
            sasl(
                "plain.sasl.jaas.config",
                &format!("{security}.plain.PlainLoginModule required{users};"),
            );
            for scram in ["scram-sha-256", "scram-sha-512"] {
                sasl(
                    &format!("{scram}.sasl.jaas.config"),
                    &format!("{security}.scram.ScramLoginModule required;"),
                );
            }
            sasl(
                "oauthbearer.sasl.jaas.config",
                &format!(
                    "{security}.oauthbearer.OAuthBearerLoginModule required \
                     unsecuredLoginStringClaim_sub=\"broker\";"
                ),
            );
        }
        for (key, value) in &options.properties {
            set(key, value);
        }
        text
    }
}

/// Settings for three brokers on a small machine, and for tests that do not want to wait.
const SMALL_BROKER: [(&str, &str); 8] = [
    ("auto.create.topics.enable", "false"),
    ("num.partitions", "3"),
    ("num.network.threads", "2"),
    ("num.io.threads", "4"),
    ("num.recovery.threads.per.data.dir", "2"),
    ("log.cleaner.dedupe.buffer.size", "8388608"),
    ("group.initial.rebalance.delay.ms", "0"),
    ("share.coordinator.threads", "1"),
];

fn fresh_ports() -> BTreeMap<Listener, u16> {
    Listener::ALL
        .into_iter()
        .map(|listener| (listener, ports::free()))
        .collect()
}

fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// Logging set-ups for both logging libraries Kafka used; gives the options that name them.
fn write_logging(dir: &Path) -> Result<[String; 2]> {
    let old = dir.join("log4j.properties");
    let new = dir.join("log4j2.properties");
    for (path, text) in [(&old, LOG4J), (&new, LOG4J2)] {
        fs::write(path, text).map_err(Error::io(format!("write {}", path.display())))?;
    }
    Ok([
        format!("-Dlog4j.configuration=file:{}", old.display()),
        format!("-Dlog4j2.configurationFile={}", new.display()),
    ])
}

const LOG4J: &str = "\
log4j.rootLogger=INFO, console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%d %p %c{1} %m%n
";

const LOG4J2: &str = "\
status=warn
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=info
rootLogger.appenderRef.console.ref=console
";
