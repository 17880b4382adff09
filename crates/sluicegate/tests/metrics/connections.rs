//! Rows 1 to 10, 17 to 19 and 21: connections of clients and to brokers, and the waits of workers.

use std::net::TcpStream;

use testkit::Result;

use crate::world::{METADATA, world};

#[test]
fn sockets_of_clients() -> Result<()> {
    const SOCKETS: &str = "gateway_upstream_connections_downstream";
    let world = world()?;
    let front = &world.secured;
    let before = front.scrape()?;
    let address = front.gateway.address(0);
    let connect = || TcpStream::connect(&address).expect("the port is open");
    let idle: Vec<TcpStream> = (0..5).map(|_| connect()).collect();
    let during = front.eventually("five sockets", |scrape| {
        scrape.get(SOCKETS) - before.get(SOCKETS) == 5.0
    })?;
    let authenticated =
        |scrape: &crate::scrape::Scrape| scrape.sum("gateway_active_connections_vcluster", &[]);
    assert_eq!(
        authenticated(&during),
        authenticated(&before),
        "nobody has authenticated"
    );
    drop(idle);
    let after = front.eventually("no sockets", |scrape| {
        scrape.get(SOCKETS) == before.get(SOCKETS)
    })?;
    let grown = |series: &str| after.get(series) - before.get(series);
    assert_eq!(grown("gateway_client_connect_total"), 5.0);
    assert_eq!(grown("gateway_client_close_total{reason=\"client\"}"), 5.0);
    Ok(())
}

#[test]
fn connections_to_brokers() -> Result<()> {
    const NOW: &str = "gateway_upstream_connections_upstream_connected";
    const IN_USE: &str = "gateway_brokered_active_connections";
    const BROKERS: &str = "gateway_backend_brokered_active_connections";
    const OPENED: &str = "gateway_upstream_connection_creation_total";
    const CLOSED: &str = "gateway_upstream_connection_close_total";
    let world = world()?;
    let front = &world.open;
    let before = front.eventually("clients of other tests to be gone", |scrape| {
        scrape.get(IN_USE) == 0.0 && scrape.get(BROKERS) == 0.0
    })?;
    assert_eq!(before.get(OPENED) - before.get(CLOSED), before.get(NOW));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = front.connect()?;
        client.call(METADATA)?;
        clients.push(client);
    }
    let during = front.eventually("four connections", |scrape| scrape.get(IN_USE) == 4.0)?;
    assert_eq!(during.get(BROKERS), 1.0, "all to one broker");
    assert!(during.get(OPENED) - before.get(OPENED) >= 4.0);
    assert_eq!(during.get(OPENED) - during.get(CLOSED), during.get(NOW));
    assert!(during.get("gateway_upstream_connection_creation_rate") > 0.0);
    let tcp = "gateway_upstream_handshake_seconds_count{phase=\"tcp\"}";
    assert_eq!(during.get(tcp), during.get(OPENED));

    world.relay(|relay| relay.cut());
    let after = front.eventually("all to be closed", |scrape| scrape.get(IN_USE) == 0.0)?;
    assert!(after.get(CLOSED) - during.get(CLOSED) >= 4.0);
    for (timer, counter) in [("close", CLOSED), ("creation", OPENED)] {
        let timer = format!("gateway_upstream_connection_{timer}_rate_seconds_count");
        assert_eq!(after.get(&timer), after.get(counter));
    }
    assert_eq!(after.get(OPENED) - after.get(CLOSED), after.get(NOW));
    let lost = "gateway_client_close_total{reason=\"broker\"}";
    front.eventually("their clients to be gone", |scrape| {
        scrape.get(lost) - before.get(lost) == 4.0 && scrape.get(BROKERS) == 0.0
    })?;
    Ok(())
}

#[test]
fn every_connection_that_a_broker_sees_is_counted() -> Result<()> {
    let world = world()?;
    let accepted = |world: &crate::world::World| -> u64 {
        let ids = world.cluster.node_ids();
        ids.iter()
            .map(|id| world.cluster.with_relay(*id, |relay| relay.accepted()))
            .sum()
    };
    let opened = || -> Result<f64> {
        let mut sum = 0.0;
        for front in [&world.open, &world.secured] {
            sum += front
                .scrape()?
                .get("gateway_upstream_connection_creation_total");
        }
        Ok(sum)
    };
    let mut client = world.open.connect()?;
    client.call(METADATA)?;
    // All there are come from these two gateways, from the first one on.
    testkit::wait::until_true("both to agree", crate::world::LIMIT, || {
        opened().is_ok_and(|opened| opened == accepted(&world) as f64)
    })
}

#[test]
fn brokers_of_the_cluster() -> Result<()> {
    let world = world()?;
    let nodes = "gateway_upstream_io_nodes";
    world
        .open
        .eventually("three brokers", |scrape| scrape.get(nodes) == 3.0)?;
    Ok(())
}

#[test]
fn waits_of_workers() -> Result<()> {
    let world = world()?;
    let front = &world.open;
    let before = front.scrape()?;
    let waits = "gateway_upstream_select_total";
    let after = front.eventually("a worker to wait", |scrape| {
        scrape.get(waits) > before.get(waits)
    })?;
    for timer in ["select", "io_wait"] {
        let count = after.get(&format!("gateway_upstream_{timer}_rate_seconds_count"));
        assert!((count - after.get(waits)).abs() <= 1.0, "{timer}: {count}");
    }
    let seconds = "gateway_upstream_io_wait_seconds_total";
    assert!(after.get(seconds) > before.get(seconds));
    assert_eq!(
        after.get(seconds),
        after.get("gateway_upstream_io_wait_total")
    );
    let share = after.get("gateway_upstream_io_wait_rate");
    assert!(share > 0.0 && share <= 1.0, "{share}");
    Ok(())
}
