//! `devbroker` in benchmark mode, as a process: an upstream that can keep the gateway's state.

use devbroker::{Benchmark, DevCluster, Options};

use crate::Result;

/// More than any measurement opens.
const CONNECTIONS: usize = 50_000;

/// How to run it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Port on loopback.
    #[arg(long)]
    port: u16,
}

/// Serves until the process is killed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let options = Options::new()
        .brokers(1)
        .ports([args.port])
        .max_connections(CONNECTIONS)
        .benchmark(Benchmark {
            record_bytes: 1024,
            records: 16,
        });
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?
        .block_on(async {
            let _cluster = DevCluster::start(options).await?;
            println!("ready");
            std::future::pending::<()>().await;
            Ok(())
        })
}
