//! Where Kafka checks credentials and is away: clients are told nothing about their passwords, and come back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use testkit::driver::{Client, Task};
use testkit::{Door, Listener, Login, Result, wait};

use crate::front::{Route, relaying};
use crate::world::{ALICE, World, client, world};

/// For tests that use or shut the relays in front of [`Listener::Relayed`].
pub(crate) fn relays() -> MutexGuard<'static, ()> {
    static RELAYS: Mutex<()> = Mutex::new(());
    RELAYS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn an_outage_is_not_a_wrong_password() -> Result<()> {
    let world = world()?;
    let _relays = relays();
    let front = relaying(world, Listener::Relayed)
        .listener("SASL", "SASL_PLAINTEXT", Route::Port, None)
        .start()?;
    let topic = world.topic("outage")?;
    let mut clients = Vec::new();
    for mechanism in ["PLAIN", "SCRAM-SHA-512"] {
        let login = Login::Password {
            mechanism,
            user: ALICE.0.to_owned(),
            password: ALICE.1.to_owned(),
        };
        let access = front.access("SASL").login(login);
        for kind in Client::ALL {
            clients.push((
                format!("{mechanism}, {kind:?}"),
                client(kind)?,
                access.clone(),
            ));
        }
    }

    let _open = Shut::new(world);
    let mut tried = Vec::new();
    for (name, driver, access) in &clients {
        let access = access.clone().patience(Duration::from_secs(3));
        tried.push((name, driver.give(Task::Authenticate, &topic, &access)?));
    }
    for (name, task) in tried {
        let report = task.wait()?;
        assert!(!report.ok && !report.is_refused(), "{name}: {report:?}");
    }
    let failed = front
        .metrics()?
        .since(&Default::default(), "gateway_failed_");
    assert!(failed.is_empty(), "{failed:?}");

    // These try until the brokers are back.
    let mut waiting = Vec::new();
    for (name, driver, access) in &clients {
        waiting.push((name, driver.give(Task::RoundTrip, &topic, access)?));
    }
    let before = accepted(world);
    wait::until_true("clients to try", Duration::from_secs(20), || {
        accepted(world) > before + 3
    })?;
    drop(_open);
    for (name, task) in waiting {
        let report = task.wait()?;
        assert!(report.ok, "{name}: {report:?}");
    }
    world.assert_no_secrets(&front.stop()?, &[])
}

/// Connections that came to the relays so far.
fn accepted(world: &World) -> u64 {
    let ids = world.cluster.node_ids().into_iter();
    ids.map(|id| world.cluster.with_relay(id, testkit::Relay::accepted))
        .sum()
}

/// All relays are shut and their connections cut, until this is dropped.
struct Shut<'a>(&'a World);

impl Shut<'_> {
    fn new(world: &World) -> Shut<'_> {
        for id in world.cluster.node_ids() {
            world.cluster.with_relay(id, |relay| {
                relay.set_door(Door::Closed);
                relay.cut();
            });
        }
        Shut(world)
    }
}

impl Drop for Shut<'_> {
    fn drop(&mut self) {
        for id in self.0.cluster.node_ids() {
            self.0
                .cluster
                .with_relay(id, |relay| relay.set_door(Door::Open));
        }
    }
}
