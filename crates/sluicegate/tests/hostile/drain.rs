//! The end: what is in flight is answered, nothing new is begun, and it does not take for ever.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use devbroker::{Fault, Rule};
use testkit::process::Signal;

use crate::frames::*;
use crate::world::{Brokers, eventually, gateway, options};

#[test]
fn what_is_in_flight_is_answered_and_nothing_new_is_accepted() {
    let brokers = Brokers::new(1);
    let mut gateway = gateway(&brokers.bootstrap());
    let mut polling = connect(&gateway.bootstrap());
    call(&mut polling, &metadata_of("drained", 1));
    let poll = Fetch {
        max_wait_ms: 3000,
        ..Fetch::new("drained")
    };
    polling.send_bytes(&poll.frame(2)).expect("it is taken");
    let mut idle = connect(&gateway.bootstrap());
    call(&mut idle, &metadata(1));
    let mut half = connect(&gateway.bootstrap());
    half.send_bytes(&metadata(1)[..9]).expect("it is taken");
    call(&mut idle, &metadata(2)); // the half frame has arrived too

    let (address, port) = (gateway.bootstrap(), gateway.http_port());
    gateway.process().signal(Signal::Term);
    assert_closed(&mut idle, "nothing is owed");
    assert_closed(&mut half, "nothing was begun");
    eventually("the port to be closed", || {
        TcpStream::connect(&address).is_err()
    });
    let ready = testkit::http::get(port, "/health/ready").expect("an answer");
    assert_eq!(ready.0, 503);
    // A request behind the one in flight is not begun.
    push(&mut polling, &metadata(3));
    assert_eq!(answer(&mut polling).0, 2);
    assert_closed(&mut polling, "its answer was the last");
    assert_eq!(gateway.wait_exit().expect("it ends"), 0);
}

#[test]
fn answers_that_do_not_come_are_waited_for_no_longer_than_the_drain_timeout() {
    let brokers = Brokers::new(1);
    let mut gateway = options(&brokers.bootstrap())
        .env("GATEWAY_SHUTDOWN_DRAIN_TIMEOUT_MS", "500")
        .start()
        .expect("the gateway starts");
    let rule = Rule::new(Fault::NeverAnswer).api(wire::api::ApiKey::LIST_GROUPS.0);
    let never = brokers.faults().inject(rule);
    let mut waiting = connect(&gateway.bootstrap());
    waiting.send_bytes(&list_groups(1)).expect("it is taken");
    eventually("the request to arrive", || {
        brokers.faults().hits(never) == 1
    });
    assert_eq!(gateway.stop().expect("it ends"), 0);
    assert!(gateway.log().contains("connections cut"));
    assert_closed(&mut waiting, "the process has ended");
}

#[test]
fn a_second_signal_ends_at_once() {
    let brokers = Brokers::new(1);
    let mut gateway = options(&brokers.bootstrap())
        .env("GATEWAY_SHUTDOWN_DRAIN_TIMEOUT_MS", "3600000")
        .start()
        .expect("the gateway starts");
    let rule = Rule::new(Fault::NeverAnswer).api(wire::api::ApiKey::LIST_GROUPS.0);
    let never = brokers.faults().inject(rule);
    let mut waiting = connect(&gateway.bootstrap());
    waiting.send_bytes(&list_groups(1)).expect("it is taken");
    eventually("the request to arrive", || {
        brokers.faults().hits(never) == 1
    });
    gateway.process().signal(Signal::Term);
    eventually("the drain to begin", || {
        gateway.log().contains("no new connections")
    });
    assert!(gateway.process().is_running());
    gateway.process().signal(Signal::Int);
    assert_eq!(gateway.wait_exit().expect("it ends"), 0);
    assert!(gateway.log().contains("second signal"));
}

#[test]
fn brokers_are_drained_one_after_another() {
    const DELAY: Duration = Duration::from_millis(700);
    let brokers = Brokers::new(3);
    let mut gateway = options(&brokers.bootstrap())
        .env(
            "GATEWAY_SHUTDOWN_DELAY_BETWEEN_BROKERS_MS",
            &DELAY.as_millis().to_string(),
        )
        .start()
        .expect("the gateway starts");
    let mut clients: Vec<_> = (0..3)
        .map(|slot| {
            let mut client = connect(&gateway.address(slot));
            call(&mut client, &list_groups(1));
            client
        })
        .collect();
    gateway.process().signal(Signal::Term);
    let closed: Vec<Instant> = clients
        .iter_mut()
        .map(|client| {
            assert_closed(client, "drained");
            Instant::now()
        })
        .collect();
    for pair in closed.windows(2) {
        // Never earlier; that it is seen late is the machine's business.
        assert!(pair[1] - pair[0] >= DELAY / 2);
    }
    assert_eq!(gateway.wait_exit().expect("it ends"), 0);
}
