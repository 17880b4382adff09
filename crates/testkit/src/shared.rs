//! Clusters that all tests of one binary share, started when first asked for.

use crate::{Error, KafkaCluster, Release, Result};
use std::ops::Deref;
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The shared three-broker cluster of a release, for tests that leave brokers alone. Use topics, groups and
/// transactional ids of your own ([`unique`]).
///
/// # Errors
/// The cluster could not be started; every later call gives the same error.
pub fn cluster(release: Release) -> Result<Shared> {
    let lock = slot(release)?;
    Ok(Shared(lock.read().unwrap_or_else(PoisonError::into_inner)))
}

/// The shared cluster with nobody else using it, for tests that stop or freeze brokers. Dropping it heals the
/// cluster.
///
/// # Errors
/// As [`cluster`].
pub fn exclusive(release: Release) -> Result<Exclusive> {
    let lock = slot(release)?;
    Ok(Exclusive(
        lock.write().unwrap_or_else(PoisonError::into_inner),
    ))
}

/// A name that no other test uses, for topics and groups.
pub fn unique(label: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{label}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Shared use of a cluster.
#[derive(Debug)]
pub struct Shared(RwLockReadGuard<'static, KafkaCluster>);

/// Exclusive use of a cluster.
#[derive(Debug)]
pub struct Exclusive(RwLockWriteGuard<'static, KafkaCluster>);

impl Deref for Shared {
    type Target = KafkaCluster;

    fn deref(&self) -> &KafkaCluster {
        &self.0
    }
}

impl Deref for Exclusive {
    type Target = KafkaCluster;

    fn deref(&self) -> &KafkaCluster {
        &self.0
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        let healed = self.0.heal();
        if !std::thread::panicking() {
            healed.expect("the shared cluster recovers after an exclusive test");
        }
    }
}

/// A static is never dropped; the brokers end with the process all the same (see
/// [`process`](crate::process)).
fn slot(release: Release) -> Result<&'static RwLock<KafkaCluster>> {
    type Slot = OnceLock<Result<RwLock<KafkaCluster>, String>>;
    static SLOTS: [Slot; 3] = [const { OnceLock::new() }; 3];
    SLOTS[release as usize]
        .get_or_init(|| {
            KafkaCluster::start(release)
                .map(RwLock::new)
                .map_err(|error| error.to_string())
        })
        .as_ref()
        .map_err(|error| Error::Violated(error.clone()))
}
