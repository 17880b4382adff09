//! The gateway as a process.

use crate::dirs::Scratch;
use crate::process::{Process, Signal, Spec, tail};
use crate::{Error, Result, http, ports, wait};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long the gateway may take to get ready or to end, the machine being busy.
const LIMIT: Duration = Duration::from_secs(120);

/// What to start: the binary, its arguments and environment.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    binary: PathBuf,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    port_count: u16,
}

impl GatewayOptions {
    /// `sluicegate run` on loopback in front of `bootstrap`, with five free ports from node id 1 on. Where it authenticates no clients it
    /// keeps nothing in Kafka either, so that tests see their own topics and connections only.
    /// Tests of the package that has the binary give `env!("CARGO_BIN_EXE_sluicegate")`.
    pub fn new(binary: impl Into<PathBuf>, bootstrap: &str) -> GatewayOptions {
        let options = GatewayOptions {
            binary: binary.into(),
            args: vec!["run".to_owned()],
            env: BTreeMap::new(),
            port_count: 5,
        };
        options
            .env("KAFKA_BOOTSTRAP_SERVERS", bootstrap)
            .env("GATEWAY_MIN_BROKERID", "1")
            .env("GATEWAY_BIND_HOST", "127.0.0.1")
            .env("GATEWAY_ADVERTISED_HOST", "127.0.0.1")
            .env("GATEWAY_STORE_WITHOUT_AUTHENTICATION", "false")
            .env("RUST_BACKTRACE", "1")
    }

    /// Arguments instead of `run`.
    pub fn args(mut self, args: &[&str]) -> GatewayOptions {
        self.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        self
    }

    /// An environment variable; a later value wins.
    pub fn env(mut self, key: &str, value: &str) -> GatewayOptions {
        self.env.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Takes a default variable away.
    pub fn without(mut self, key: &str) -> GatewayOptions {
        self.env.remove(key);
        self
    }

    /// Number of consecutive ports for clients.
    pub fn port_count(mut self, count: u16) -> GatewayOptions {
        self.port_count = count;
        self
    }

    /// Starts the gateway and waits until `/health/ready` answers 200.
    ///
    /// # Errors
    /// It ended or did not get ready; the error has the end of its log.
    pub fn start(self) -> Result<Gateway> {
        let mut gateway = self.launch()?;
        gateway.wait_ready()?;
        Ok(gateway)
    }

    /// Starts the gateway and waits for nothing: for tests of refused starts.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn launch(mut self) -> Result<Gateway> {
        let count = self.port_count;
        let first_port = self.port("GATEWAY_PORT_START", || ports::range(count));
        let http_port = self.port("GATEWAY_HTTP_PORT", ports::free);
        self.env
            .entry("GATEWAY_PORT_COUNT".to_owned())
            .or_insert_with(|| count.to_string());
        let scratch = Scratch::new("gateway")?;
        let mut spec = Spec::new("the gateway", &self.binary, scratch.join("gateway.log"))
            .args(&self.args)
            .without_env("GATEWAY_")
            .without_env("KAFKA_");
        for (key, value) in &self.env {
            spec = spec.env(key, value);
        }
        let process = spec.start()?;
        launched_list().push(process.pid());
        Ok(Gateway {
            process,
            first_port,
            http_port,
            _scratch: scratch,
        })
    }

    /// The port a variable names, or else a free one, which the variable names from then on.
    fn port(&mut self, key: &str, free: impl FnOnce() -> u16) -> u16 {
        if let Some(port) = self.env.get(key).and_then(|value| value.parse().ok()) {
            return port;
        }
        let port = free();
        self.env
            .entry(key.to_owned())
            .or_insert_with(|| port.to_string());
        port
    }
}

/// Process ids of all gateways this process has started.
pub fn launched() -> Vec<u32> {
    launched_list().clone()
}

fn launched_list() -> MutexGuard<'static, Vec<u32>> {
    static LAUNCHED: Mutex<Vec<u32>> = Mutex::new(Vec::new());
    LAUNCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running (or ended) gateway. Dropping it kills it.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    first_port: u16,
    http_port: u16,
    _scratch: Scratch,
}

impl Gateway {
    /// Bootstrap address for clients: the first port.
    pub fn bootstrap(&self) -> String {
        self.address(0)
    }

    /// Address of the n-th port, from 0.
    pub fn address(&self, slot: u16) -> String {
        format!("127.0.0.1:{}", self.first_port + slot)
    }

    /// Port of the HTTP side.
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// Status and body of `GET path` on the HTTP side.
    ///
    /// # Errors
    /// No answer.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        http::get(self.http_port, path)
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process: memory, open files, signals, exit status.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Resident memory now, bytes; 0 if it has ended.
    pub fn resident_bytes(&self) -> u64 {
        self.process.resident_bytes().unwrap_or(0)
    }

    /// Highest resident memory so far, bytes; 0 if it has ended.
    pub fn peak_resident_bytes(&self) -> u64 {
        self.process.peak_resident_bytes().unwrap_or(0)
    }

    /// Everything it has printed.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Waits until `/health/ready` answers 200.
    ///
    /// # Errors
    /// It ended or did not get ready; the error has the end of its log.
    pub fn wait_ready(&mut self) -> Result<()> {
        let port = self.http_port;
        let process = &mut self.process;
        let ready = wait::until("the gateway to be ready", LIMIT, || {
            if let Some(status) = process.exit_status() {
                return Ok(Some(Err(status)));
            }
            let (status, _) = http::get(port, "/health/ready")?;
            Ok((status == 200).then_some(Ok(())))
        });
        let status = match ready {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(status)) => status,
            Err(Error::Timeout { what, after, last }) => {
                return Err(Error::Timeout {
                    what,
                    after,
                    last: format!("{last}\n{}", tail(&self.log(), 30)),
                });
            }
            Err(error) => return Err(error),
        };
        Err(Error::Exit {
            program: "the gateway".to_owned(),
            status,
            output: tail(&self.log(), 30),
        })
    }

    /// Sends SIGTERM and waits for the end; gives the exit status.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub fn stop(&mut self) -> Result<i32> {
        self.process.signal(Signal::Term);
        self.wait_exit()
    }

    /// Waits for the end; gives the exit status.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub fn wait_exit(&mut self) -> Result<i32> {
        self.process.wait(LIMIT)
    }

    /// Kills it (SIGKILL).
    pub fn kill(&mut self) {
        self.process.kill();
    }
}
