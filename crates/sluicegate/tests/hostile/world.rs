//! In-memory brokers with a gateway in front of them.

use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::time::Duration;

use devbroker::{DevCluster, Faults, Options};
use testkit::{Gateway, GatewayOptions, wait};
use tokio::runtime::Handle;

/// How long a condition may take to come true, the machine being busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// In-memory brokers on a thread of this process.
pub(crate) struct Brokers {
    cluster: DevCluster,
}

impl Brokers {
    pub(crate) fn start(options: Options) -> Brokers {
        let cluster = runtime()
            .block_on(DevCluster::start(options))
            .expect("loopback ports are free");
        Brokers { cluster }
    }

    pub(crate) fn new(count: u16) -> Brokers {
        Brokers::start(Options::new().brokers(count).max_connections(4096))
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.cluster.bootstrap()
    }

    pub(crate) fn faults(&self) -> Faults {
        self.cluster.faults()
    }

    /// Closes the listener and the connections of a broker; metadata goes on listing it.
    pub(crate) fn hang_up(&self, broker: i32) {
        runtime()
            .block_on(self.faults().stop_listening(broker))
            .expect("the broker exists");
    }

    /// Stops a broker in a way that the cluster notices.
    pub(crate) fn stop(&self, broker: i32) {
        runtime()
            .block_on(self.faults().stop_broker(broker))
            .expect("the broker exists");
    }

    /// Brings a broker back, on its last port or on another.
    pub(crate) fn restart(&self, broker: i32, port: Option<u16>) {
        runtime()
            .block_on(self.faults().start_broker(broker, port))
            .expect("the port is free");
    }
}

/// The runtime on which all in-memory brokers of this process live.
fn runtime() -> &'static Handle {
    static RUNTIME: OnceLock<Handle> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let (sender, handle) = channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime needs nothing");
            let _ = sender.send(runtime.handle().clone());
            runtime.block_on(std::future::pending::<()>());
        });
        handle.recv().expect("the thread lives on")
    })
}

/// A gateway with one worker, so that every client has every other one as a neighbour.
pub(crate) fn options(bootstrap: &str) -> GatewayOptions {
    GatewayOptions::new(env!("CARGO_BIN_EXE_sluicegate"), bootstrap)
        .env("GATEWAY_UPSTREAM_THREAD", "1")
        .env("GATEWAY_DOWNSTREAM_THREAD", "1")
        // Tests begin with a topic that is just used.
        .env("GATEWAY_AUTO_CREATE_TOPICS_ENABLED", "true")
}

pub(crate) fn gateway(bootstrap: &str) -> Gateway {
    options(bootstrap).start().expect("the gateway starts")
}

/// Waits for a condition.
pub(crate) fn eventually(what: &str, probe: impl FnMut() -> bool) {
    if let Err(error) = wait::until_true(what, LIMIT, probe) {
        panic!("{error}");
    }
}

/// Waits until the gateway has no more files open than `count`.
pub(crate) fn files_return_to(gateway: &mut Gateway, count: usize) {
    let process = gateway.process();
    eventually("closed connections to be gone", || {
        process.open_files().is_some_and(|now| now <= count)
    });
}

pub(crate) fn open_files(gateway: &mut Gateway) -> usize {
    gateway.process().open_files().expect("the gateway runs")
}

/// CPU time that the gateway takes while `work` runs, seconds.
pub(crate) fn cpu_seconds(gateway: &mut Gateway, work: impl FnOnce()) -> f64 {
    let ticks = |gateway: &mut Gateway| gateway.process().cpu_ticks().unwrap_or(0);
    let before = ticks(gateway);
    work();
    (ticks(gateway) - before) as f64 / 100.0
}
