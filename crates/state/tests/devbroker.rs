//! The store on in-memory brokers.

mod common;

use devbroker::{DevCluster, Options};

#[test]
fn the_store_keeps_its_promises() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let cluster = DevCluster::start(Options::new().brokers(1))
            .await
            .expect("brokers");
        common::scenarios::all(&cluster.bootstrap()).await;
        cluster.shutdown().await;
    });
}
