//! The programs of a measurement: brokers, the gateway in several set-ups, other relays.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use testkit::cert::{Authority, PemFiles};
use testkit::dirs::Scratch;
use testkit::http::Request;
use testkit::process::{Process, Signal, Spec, tail};
use testkit::{ClusterOptions, Gateway, GatewayOptions, KafkaCluster, Listener, Release, ports};

use crate::Result;
use crate::cpu::{self, Pins};

/// How long a program may take to be ready.
const LIMIT: Duration = Duration::from_secs(60);
/// How long a relay may take to end before it is killed.
const END: Duration = Duration::from_secs(5);
/// The virtual cluster, which is the prefix of its topics' names.
const VIRTUAL: &str = "tenant";
/// The account in it.
const USER: &str = "bench";
const ADMIN: (&str, &str) = ("bench-admin", "bench-admin-password");
/// Base64 of 32 bytes that only sign passwords on this machine.
const SIGNING_KEY: &str = "c2lnbmluZy1rZXktb2YtYmVuY2htYXJrcy0zMmJ5dGU=";
/// Connections that relays are told to expect, if they may have as many descriptors.
const CONNECTIONS: usize = 25_000;
/// Descriptors that relays need besides.
const SPARE_DESCRIPTORS: usize = 200;
/// Modules of nginx as Debian packages them.
const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

/// What is there to measure with.
pub(crate) struct Tools {
    /// This program.
    own: PathBuf,
    gateway: PathBuf,
    /// The gateway without updates of metrics.
    uncounted: Option<PathBuf>,
    haproxy: Option<PathBuf>,
    nginx: Option<PathBuf>,
    pub(crate) pins: Pins,
    scratch: Scratch,
    server: PemFiles,
}

impl Tools {
    /// Looks for the programs.
    pub(crate) fn find(gateway: PathBuf, uncounted: Option<PathBuf>) -> Result<Tools> {
        let scratch = Scratch::new("bench")?;
        let authority = Authority::new("bench")?;
        let server = authority.issue_server(&["localhost", "127.0.0.1"])?;
        let server = authority.write_pem(&server, scratch.path(), "server")?;
        Ok(Tools {
            own: std::env::current_exe()?,
            gateway,
            uncounted,
            haproxy: program("haproxy"),
            nginx: program("nginx").filter(|_| Path::new(NGINX_STREAM).exists()),
            pins: Pins::plan(),
            scratch,
            server,
        })
    }

    /// What is missing, one sentence each.
    pub(crate) fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.haproxy.is_none() {
            missing.push("HAProxy is left out: `haproxy` is neither in PATH nor in /usr/sbin (Debian: apt-get install haproxy).".to_owned());
        }
        if self.nginx.is_none() {
            missing.push(format!("nginx is left out: `nginx` is neither in PATH nor in /usr/sbin, or {NGINX_STREAM} is missing (Debian: apt-get install nginx-light libnginx-mod-stream)."));
        }
        if self.uncounted.is_none() {
            missing.push(
                "The comparison with a build without metrics is left out: no such build was given."
                    .to_owned(),
            );
        }
        missing
    }

    /// Versions of everything.
    pub(crate) fn versions(&self) -> Vec<(String, String)> {
        let mut versions = vec![(
            "sluicegate".to_owned(),
            first_line(&self.gateway, &["version"]),
        )];
        if let Some(haproxy) = &self.haproxy {
            versions.push(("HAProxy".to_owned(), first_line(haproxy, &["-v"])));
        }
        if let Some(nginx) = &self.nginx {
            versions.push(("nginx".to_owned(), first_line(nginx, &["-v"])));
        }
        versions
    }

    /// Certificates that clients trust.
    pub(crate) fn trust(&self) -> &Path {
        &self.server.trust
    }

    /// This program with arguments, on the CPUs of the load generator.
    pub(crate) fn load_command(&self, args: &[String]) -> Vec<String> {
        let mut command = vec![self.own.display().to_string()];
        command.extend_from_slice(args);
        self.pins.command(&self.pins.load, &command)
    }

    /// [`Tools::load_command`], running.
    pub(crate) fn start_load(&self, name: &str, args: &[String]) -> Result<Process> {
        self.start(name, &self.load_command(args))
    }

    fn start(&self, name: &str, command: &[String]) -> Result<Process> {
        let log = self.scratch.join(format!("{name}.log"));
        let (program, args) = command.split_first().ok_or("an empty command")?;
        Ok(Spec::new(name, program, log)
            .args(args)
            .start_with_lines()?)
    }

    fn start_broker(&self, name: &str, args: &[&str]) -> Result<Upstream> {
        let port = ports::free();
        let mut command = vec![self.own.display().to_string()];
        command.extend(args.iter().map(|arg| (*arg).to_owned()));
        command.extend(["--port".to_owned(), port.to_string()]);
        let command = self.pins.command(&self.pins.broker, &command);
        let process = self.start(name, &command)?;
        if process.next_line(LIMIT).as_deref() != Some("ready") {
            return Err(format!("{name} did not start: {}", process.log()).into());
        }
        Ok(Upstream {
            addresses: BTreeMap::from([(1, format!("127.0.0.1:{port}"))]),
            tls: false,
            replicas: 1,
            _process: Some(process),
            _cluster: None,
        })
    }

    /// The broker that costs next to nothing.
    pub(crate) fn memory_broker(&self, tls: bool) -> Result<Upstream> {
        let threads = self.pins.broker.len().to_string();
        let key = self.server.key.display().to_string();
        let mut args = vec!["broker", "--threads", &threads];
        if tls {
            args.extend(["--tls", &key]);
        }
        let name = if tls { "tls-broker" } else { "broker" };
        Ok(Upstream {
            tls,
            ..self.start_broker(name, &args)?
        })
    }

    /// `devbroker` in benchmark mode, which can keep the gateway's state.
    pub(crate) fn dev_broker(&self) -> Result<Upstream> {
        self.start_broker("devbroker", &["dev-broker"])
    }

    /// Apache Kafka.
    pub(crate) fn kafka(&self, brokers: i32) -> Result<Upstream> {
        let ids: Vec<i32> = (1..=brokers).collect();
        let options = ClusterOptions::new(Release::V4_3)
            .node_ids(&ids)
            .property("log.retention.check.interval.ms", "1000")
            .property("log.initial.task.delay.ms", "1000");
        let cluster = KafkaCluster::start_with(options)?;
        for pid in cluster.pids().into_values() {
            self.pins.move_to_brokers(pid);
        }
        Ok(Upstream {
            addresses: cluster.addresses(Listener::Plaintext),
            tls: false,
            replicas: i16::try_from(brokers)?,
            _process: None,
            _cluster: Some(cluster),
        })
    }

    /// Puts a relay in front of brokers. None if its program is missing.
    pub(crate) fn relay(&self, kind: Kind, upstream: &Upstream) -> Result<Option<Relay>> {
        match kind {
            Kind::Direct => Ok(Some(Relay {
                kind,
                pids: Vec::new(),
                addresses: upstream.addresses.clone(),
                tls: upstream.tls,
                password: None,
                process: None,
                gateway: None,
            })),
            Kind::HaproxyPackaged | Kind::HaproxyTuned => {
                let Some(program) = &self.haproxy else {
                    return Ok(None);
                };
                self.haproxy(kind, program, upstream).map(Some)
            }
            Kind::Nginx | Kind::NginxTls | Kind::NginxTlsBoth => {
                let Some(program) = &self.nginx else {
                    return Ok(None);
                };
                self.nginx(kind, program, upstream).map(Some)
            }
            Kind::Uncounted => {
                let Some(program) = self.uncounted.clone() else {
                    return Ok(None);
                };
                self.gateway(kind, &program, upstream).map(Some)
            }
            Kind::Gateway | Kind::GatewayTls | Kind::GatewayTlsBoth | Kind::Virtual => {
                self.gateway(kind, &self.gateway, upstream).map(Some)
            }
        }
    }

    fn haproxy(&self, kind: Kind, program: &Path, upstream: &Upstream) -> Result<Relay> {
        let (first, addresses) = doors(upstream);
        let threads = self.pins.relay.len().max(1);
        let mut config = format!(
            "global\n  nbthread {threads}\n  maxconn {}\n",
            connections()
        );
        if kind == Kind::HaproxyTuned {
            config.push_str("  tune.bufsize 65536\n");
        }
        config.push_str(
            "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 1h\n  timeout server 1h\n",
        );
        for (slot, address) in (0..).zip(upstream.addresses.values()) {
            let port = first + slot;
            config.push_str(&format!(
                "listen broker{slot}\n  bind 127.0.0.1:{port}\n  server broker {address}\n"
            ));
        }
        let name = format!("{kind:?}-{first}");
        let file = self.scratch.join(format!("{name}.cfg"));
        fs::write(&file, config)?;
        let command = [
            program.display().to_string(),
            "-db".to_owned(),
            "-f".to_owned(),
            file.display().to_string(),
        ];
        self.foreign(kind, &name, &command, addresses)
    }

    fn nginx(&self, kind: Kind, program: &Path, upstream: &Upstream) -> Result<Relay> {
        let (first, addresses) = doors(upstream);
        let name = format!("{kind:?}-{first}");
        let dir = self.scratch.join(&name);
        fs::create_dir_all(&dir)?;
        let workers = self.pins.relay.len().max(1);
        let key = self.server.key.display();
        let mut servers = String::new();
        for (slot, address) in (0..).zip(upstream.addresses.values()) {
            let port = first + slot;
            let ssl = match kind {
                Kind::Nginx => String::new(),
                _ => format!(
                    " ssl; ssl_certificate {key}; ssl_certificate_key {key}; ssl_protocols TLSv1.3"
                ),
            };
            let upstream_ssl = if upstream.tls {
                " proxy_ssl on; proxy_ssl_protocols TLSv1.3;"
            } else {
                ""
            };
            servers.push_str(&format!(
                "  server {{ listen 127.0.0.1:{port}{ssl}; proxy_pass {address};{upstream_ssl} }}\n"
            ));
        }
        let config = format!(
            "load_module {NGINX_STREAM};\ndaemon off;\nworker_processes {workers};\npid {dir}/pid;\nerror_log stderr;\nevents {{ worker_connections {}; }}\nstream {{\n{servers}}}\n",
            2 * connections(),
            dir = dir.display(),
        );
        let file = dir.join("nginx.conf");
        fs::write(&file, config)?;
        let command = [
            program.display().to_string(),
            "-p".to_owned(),
            dir.display().to_string(),
            "-e".to_owned(),
            "stderr".to_owned(),
            "-c".to_owned(),
            file.display().to_string(),
        ];
        self.foreign(kind, &name, &command, addresses)
    }

    fn foreign(
        &self,
        kind: Kind,
        name: &str,
        command: &[String],
        addresses: BTreeMap<i32, String>,
    ) -> Result<Relay> {
        let command = self.pins.command(&self.pins.relay, command);
        let mut relay = Relay {
            kind,
            pids: Vec::new(),
            addresses,
            tls: kind.tls_to_clients(),
            password: None,
            process: None,
            gateway: None,
        };
        let process = relay.process.insert(self.start(name, &command)?);
        for address in relay.addresses.values() {
            let ready = testkit::wait::until_true(name, LIMIT, || {
                !process.is_running() || std::net::TcpStream::connect(address).is_ok()
            });
            if ready.is_err() || !process.is_running() {
                return Err(format!("{name} did not start: {}", tail(&process.log(), 5)).into());
            }
        }
        relay.pids = cpu::family(process.pid());
        Ok(relay)
    }

    fn gateway(&self, kind: Kind, program: &Path, upstream: &Upstream) -> Result<Relay> {
        let bootstrap: Vec<&str> = upstream.addresses.values().map(String::as_str).collect();
        let run = self.pins.command(
            &self.pins.relay,
            &[program.display().to_string(), "run".to_owned()],
        );
        let (program, args) = run.split_first().ok_or("an empty command")?;
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let threads = self.pins.relay.len().max(1).to_string();
        let mut options = GatewayOptions::new(program, &bootstrap.join(","))
            .args(&args)
            .env("GATEWAY_UPSTREAM_THREAD", &threads)
            .env("GATEWAY_DOWNSTREAM_THREAD", &threads)
            .env("GATEWAY_SECURED_METRICS", "false");
        if kind.tls_to_clients() {
            options = options.env("GATEWAY_SECURITY_PROTOCOL", "SSL").env(
                "GATEWAY_SSL_KEY_STORE_PATH",
                &self.server.key.display().to_string(),
            );
        }
        if upstream.tls {
            options = options.env("KAFKA_SECURITY_PROTOCOL", "SSL").env(
                "KAFKA_SSL_TRUSTSTORE_LOCATION",
                &self.server.trust.display().to_string(),
            );
        }
        if kind == Kind::Virtual {
            options = with_accounts(options);
        }
        let gateway = options.start()?;
        let addresses = (0..)
            .zip(upstream.addresses.keys())
            .map(|(slot, id)| (*id, gateway.address(slot)))
            .collect();
        let password = match kind {
            Kind::Virtual => Some(make_virtual_cluster(gateway.http_port(), VIRTUAL, USER)?),
            _ => None,
        };
        Ok(Relay {
            kind,
            pids: vec![gateway.pid()],
            addresses,
            tls: kind.tls_to_clients(),
            password,
            process: None,
            gateway: Some(gateway),
        })
    }
}

/// Clients log in with accounts of the gateway.
pub(crate) fn with_accounts(options: GatewayOptions) -> GatewayOptions {
    let (user, password) = ADMIN;
    let admins = json!([{ "username": user, "password": password, "admin": true }]);
    options
        .env("GATEWAY_SECURITY_MODE", "GATEWAY_MANAGED")
        .env("GATEWAY_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
        .env("GATEWAY_USER_POOL_SECRET_KEY", SIGNING_KEY)
        .env("GATEWAY_ADMIN_API_USERS", &admins.to_string())
}

/// Makes a virtual cluster (unless it is `passthrough`) with an account; gives the account's password.
pub(crate) fn make_virtual_cluster(port: u16, name: &str, user: &str) -> Result<String> {
    let call = |method, path: &str, body: &serde_json::Value| -> Result<String> {
        let request = Request::new(method, path)
            .basic(ADMIN.0, ADMIN.1)
            .json(body);
        match request.send(port)? {
            (200, answer) => Ok(answer),
            (status, answer) => Err(format!("{status} to {method} {path}: {answer}").into()),
        }
    };
    let resource = |kind: &str, metadata: serde_json::Value, spec: serde_json::Value| json!({ "kind": kind, "apiVersion": "gateway/v2", "metadata": metadata, "spec": spec });
    if name != "passthrough" {
        let cluster = resource("VirtualCluster", json!({ "name": name }), json!({}));
        call("PUT", "/gateway/v2/virtual-cluster", &cluster)?;
    }
    let account = resource(
        "GatewayServiceAccount",
        json!({ "vCluster": name, "name": user }),
        json!({ "type": "LOCAL" }),
    );
    call("PUT", "/gateway/v2/service-account", &account)?;
    let wanted = json!({ "vCluster": name, "username": user, "lifeTimeSeconds": 86_400 });
    let answer = call("POST", "/gateway/v2/token", &wanted)?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    let token = answer["token"].as_str().ok_or("no token")?;
    Ok(token.to_owned())
}

/// Ports of a relay, one for each broker: the first of them, and all addresses.
fn doors(upstream: &Upstream) -> (u16, BTreeMap<i32, String>) {
    let first = ports::range(upstream.addresses.len() as u16);
    let ids = upstream.addresses.keys();
    let doors = (first..).zip(ids);
    (
        first,
        doors
            .map(|(port, id)| (*id, format!("127.0.0.1:{port}")))
            .collect(),
    )
}

/// Connections that a relay can hold: each takes two descriptors.
pub(crate) fn connections() -> usize {
    (cpu::descriptors().saturating_sub(SPARE_DESCRIPTORS) / 2).min(CONNECTIONS)
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// The first line a program prints.
fn first_line(program: &Path, args: &[&str]) -> String {
    let Ok(output) = std::process::Command::new(program).args(args).output() else {
        return "unknown".to_owned();
    };
    // nginx says it on standard error.
    let printed = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&printed);
    text.lines().next().unwrap_or("unknown").trim().to_owned()
}

/// Brokers.
pub(crate) struct Upstream {
    pub(crate) addresses: BTreeMap<i32, String>,
    tls: bool,
    pub(crate) replicas: i16,
    _process: Option<Process>,
    _cluster: Option<KafkaCluster>,
}

/// What stands between clients and brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Direct,
    Gateway,
    HaproxyPackaged,
    HaproxyTuned,
    Nginx,
    Virtual,
    Uncounted,
    GatewayTls,
    NginxTls,
    GatewayTlsBoth,
    NginxTlsBoth,
}

impl Kind {
    /// Name in the report.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Gateway => "gateway",
            Kind::HaproxyPackaged => "HAProxy",
            Kind::HaproxyTuned => "HAProxy, 64 KiB buffers",
            Kind::Nginx => "nginx stream",
            Kind::Virtual => "gateway, virtual cluster",
            Kind::Uncounted => "gateway, metrics not updated",
            Kind::GatewayTls => "gateway, TLS to clients",
            Kind::NginxTls => "nginx stream, TLS to clients",
            Kind::GatewayTlsBoth => "gateway, TLS on both sides",
            Kind::NginxTlsBoth => "nginx stream, TLS on both sides",
        }
    }

    fn tls_to_clients(self) -> bool {
        matches!(
            self,
            Kind::GatewayTls | Kind::NginxTls | Kind::GatewayTlsBoth | Kind::NginxTlsBoth
        )
    }
}

/// A running relay.
pub(crate) struct Relay {
    pub(crate) kind: Kind,
    /// Its processes.
    pub(crate) pids: Vec<u32>,
    /// Where each broker is reached.
    addresses: BTreeMap<i32, String>,
    pub(crate) tls: bool,
    password: Option<String>,
    process: Option<Process>,
    gateway: Option<Gateway>,
}

impl Drop for Relay {
    /// nginx ends its workers if it is asked to end, and not if it is killed.
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            process.signal(Signal::Term);
            let _ = process.wait(END); // who does not listen is killed
        }
    }
}

impl Relay {
    /// Where each broker is reached, as the load generator reads it.
    pub(crate) fn addresses(&self) -> String {
        let pairs = self.addresses.iter();
        let pairs: Vec<String> = pairs.map(|(id, at)| format!("{id}={at}")).collect();
        pairs.join(",")
    }

    /// Where the first broker is reached.
    pub(crate) fn first_address(&self) -> Option<&str> {
        self.addresses.values().next().map(String::as_str)
    }

    /// User and password, if clients have to log in.
    pub(crate) fn login(&self) -> Option<(&str, &str)> {
        self.password.as_deref().map(|password| (USER, password))
    }

    /// Port of the metrics.
    pub(crate) fn http_port(&self) -> Option<u16> {
        self.gateway.as_ref().map(Gateway::http_port)
    }
}
