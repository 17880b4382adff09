//! The store on Kafka.

mod common;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use state::{Options, Status, Store, StoreError, WriteError};
use testkit::{ClusterOptions, KafkaCluster, Listener, Release};

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, future)
}

fn keeps_its_promises(release: Release) {
    let options = ClusterOptions::new(release).node_ids(&[1]);
    let cluster = KafkaCluster::start_with(options).expect("a cluster");
    run(common::scenarios::all(
        &cluster.bootstrap(Listener::Plaintext),
    ));
}

#[test]
fn the_store_keeps_its_promises() {
    keeps_its_promises(Release::V4_3);
}

#[test]
fn the_store_keeps_its_promises_on_the_oldest_line() {
    if Release::cluster_lines().contains(&Release::V3_9) {
        keeps_its_promises(Release::V3_9);
    }
}

/// Every broker goes and comes back while accounts are written: what was acknowledged is there.
#[test]
fn brokers_come_and_go() {
    let cluster = KafkaCluster::start(Release::V4_3).expect("a cluster");
    let bootstrap = cluster.bootstrap(Listener::Plaintext);
    let done = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let restarting = scope.spawn({
            let done = done.clone();
            let cluster = &cluster;
            move || {
                let restarted = cluster
                    .node_ids()
                    .into_iter()
                    .try_for_each(|id| cluster.restart(id));
                done.store(true, Ordering::SeqCst);
                restarted
            }
        });
        run(async {
            let options = || Options {
                replication_factor: 3,
                ..common::options("rolling")
            };
            let store = Store::open(common::client(&bootstrap), options())
                .await
                .expect("the store opens");
            let mut acknowledged = Vec::new();
            let mut n = 0;
            while !done.load(Ordering::SeqCst) || n < 50 {
                let name = format!("user-{n}");
                n += 1;
                match store.put_account(common::local("v", &name)).await {
                    Ok(_) => {
                        assert!(store.snapshot().account("v", &name).is_some());
                        acknowledged.push(name);
                    }
                    Err(WriteError::Store(
                        StoreError::Unavailable { .. } | StoreError::Unsure { .. },
                    )) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            let fresh = Store::open(common::client(&bootstrap), options())
                .await
                .expect("the store opens again");
            assert!(store.refresh(common::LIMIT).await);
            assert_eq!(store.status(), Status::Current);
            assert_eq!(*store.snapshot(), *fresh.snapshot());
            assert!(acknowledged.len() >= 50, "{}", acknowledged.len());
            for name in acknowledged {
                assert!(fresh.snapshot().account("v", &name).is_some(), "{name}");
            }
        });
        restarting.join().expect("no panic").expect("restarted");
    });
}
