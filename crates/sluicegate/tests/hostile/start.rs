//! Starts that have to wait, and starts that are refused.

use std::net::TcpListener;

use testkit::{Gateway, GatewayOptions, ports};

use devbroker::Options;

use crate::frames::*;
use crate::world::{Brokers, eventually, options};

#[test]
fn a_cluster_that_is_not_there_yet_is_waited_for() {
    let port = ports::free();
    let mut gateway = options(&format!("127.0.0.1:{port}"))
        .launch()
        .expect("it starts");
    eventually("the admin port to answer", || {
        gateway
            .get("/health/live")
            .is_ok_and(|(status, _)| status == 200)
    });
    assert_eq!(gateway.get("/health/ready").expect("an answer").0, 503);
    eventually("an attempt to be made", || {
        gateway
            .log()
            .contains("the backing cluster does not answer yet")
    });
    let _brokers = Brokers::start(Options::new().brokers(1).ports([port]));
    gateway.wait_ready().expect("it gets ready");
    call(&mut connect(&gateway.bootstrap()), &metadata(1));
}

/// Waits for the end; gives exit status and log.
fn refused(options: GatewayOptions) -> (i32, String) {
    let mut gateway: Gateway = options.launch().expect("it starts");
    let status = gateway.wait_exit().expect("it ends by itself");
    (status, gateway.log())
}

#[test]
fn a_cluster_that_never_comes_ends_the_start() {
    let (status, log) = refused(
        options(&format!("127.0.0.1:{}", ports::free()))
            .env("GATEWAY_STARTUP_KAFKA_TIMEOUT_MS", "500"),
    );
    assert_eq!(status, 1, "{log}");
    assert!(log.contains("KAFKA_BOOTSTRAP_SERVERS"), "{log}");
}

#[test]
fn all_mistakes_of_a_configuration_are_told_at_once() {
    let (status, log) = refused(
        options("not an address")
            .env("GATEWAY_MAX_CONNECTIONS", "none")
            .env("GATEWAY_CONNECTIONS_MAX_IDLE_MS", "-1")
            .env("KAFKA_SECURITY_PROTOCOL", "MAGIC"),
    );
    assert_eq!(status, 78, "{log}");
    for variable in [
        "KAFKA_BOOTSTRAP_SERVERS",
        "GATEWAY_MAX_CONNECTIONS",
        "GATEWAY_CONNECTIONS_MAX_IDLE_MS",
        "KAFKA_SECURITY_PROTOCOL",
    ] {
        assert!(log.contains(variable), "{variable}: {log}");
    }
}

#[test]
fn a_port_in_use_is_named_with_its_variable() {
    let brokers = Brokers::new(1);
    for variable in ["GATEWAY_PORT_START", "GATEWAY_HTTP_PORT"] {
        let port = ports::free();
        let _taken = TcpListener::bind(("0.0.0.0", port)).expect("it is free");
        let (status, log) = refused(
            options(&brokers.bootstrap())
                .port_count(1)
                .env(variable, &port.to_string()),
        );
        assert_eq!(status, 1, "{log}");
        assert!(
            log.contains(variable) && log.contains(&port.to_string()),
            "{log}"
        );
    }
}

#[test]
fn too_few_ports_and_ids_below_the_minimum_are_refused() {
    let brokers = Brokers::new(3);
    let (status, log) = refused(options(&brokers.bootstrap()).port_count(2));
    assert_eq!(status, 78, "{log}");
    assert!(
        log.contains("GATEWAY_PORT_COUNT") && log.contains("at least 3"),
        "{log}"
    );
    let (status, log) = refused(options(&brokers.bootstrap()).env("GATEWAY_MIN_BROKERID", "2"));
    assert_eq!(status, 78, "{log}");
    assert!(log.contains("GATEWAY_MIN_BROKERID"), "{log}");
}

#[test]
fn a_start_that_waits_can_be_ended() {
    let mut gateway = options(&format!("127.0.0.1:{}", ports::free()))
        .launch()
        .expect("it starts");
    eventually("an attempt to be made", || {
        gateway.log().contains("does not answer yet")
    });
    assert_eq!(gateway.stop().expect("it ends"), 0);
}
