//! The store on Kafka.

mod common;

use testkit::{ClusterOptions, KafkaCluster, Listener, Release};

fn on(release: Release) {
    let options = ClusterOptions::new(release).node_ids(&[1]);
    let cluster = KafkaCluster::start_with(options).expect("a cluster");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let bootstrap = cluster.bootstrap(Listener::Plaintext);
    tokio::task::LocalSet::new().block_on(&runtime, common::scenarios::all(&bootstrap));
}

#[test]
fn the_store_keeps_its_promises() {
    on(Release::V4_3);
}
