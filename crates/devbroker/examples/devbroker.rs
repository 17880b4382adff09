//! Runs brokers until it is interrupted: `devbroker [--benchmark] [port of broker 1] [port of broker 2] ...` (default: three free ports).
//!
//! Says on standard error why connections end.

use devbroker::{Benchmark, DevCluster, Options};

fn main() -> std::io::Result<()> {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_writer(std::io::stderr)
        .init();
    let mut ports = Vec::new();
    let mut options = Options::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--benchmark" => options = options.benchmark(Benchmark::default()),
            port => ports.push(
                port.parse()
                    .map_err(|_| std::io::Error::other(format!("not a port: {port}")))?,
            ),
        }
    }
    if !ports.is_empty() {
        options = options.brokers(ports.len() as u16).ports(ports);
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let cluster = DevCluster::start(options).await?;
            println!("bootstrap.servers={}", cluster.bootstrap());
            for limit in cluster.limits() {
                println!("- {limit}");
            }
            tokio::signal::ctrl_c().await?;
            cluster.shutdown().await;
            Ok(())
        })
}
