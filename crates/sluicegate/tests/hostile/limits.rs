//! How many connections there may be, how fast they may come, and how long they may be silent.

use std::time::{Duration, Instant};

use crate::frames::*;
use crate::scripted::Scripted;
use crate::world::{Brokers, files_return_to, open_files, options};

fn limited(brokers: &Brokers, variable: &str, value: &str) -> testkit::Gateway {
    options(&brokers.bootstrap())
        .env(variable, value)
        .start()
        .expect("the gateway starts")
}

#[test]
fn connections_beyond_the_limit_are_closed_and_places_are_given_back() {
    let brokers = Brokers::new(1);
    for variable in ["GATEWAY_MAX_CONNECTIONS", "GATEWAY_MAX_CONNECTIONS_PER_IP"] {
        let mut gateway = limited(&brokers, variable, "3");
        let files = open_files(&mut gateway);
        let mut served: Vec<_> = (0..3).map(|_| connect(&gateway.bootstrap())).collect();
        for client in &mut served {
            call(client, &metadata(1));
        }
        assert_closed(&mut connect(&gateway.bootstrap()), variable);
        for client in &mut served {
            call(client, &metadata(2));
        }
        drop(served);
        files_return_to(&mut gateway, files);
        call(&mut connect(&gateway.bootstrap()), &metadata(3));
    }
}

#[test]
fn a_creation_rate_delays_and_refuses_nobody() {
    let brokers = Brokers::new(1);
    let gateway = limited(&brokers, "GATEWAY_MAX_CONNECTION_CREATION_RATE", "10");
    let begin = Instant::now();
    let mut clients: Vec<_> = (0..25).map(|_| connect(&gateway.bootstrap())).collect();
    for client in &mut clients {
        call(client, &api_versions(1));
    }
    // A burst of one second's worth, then ten a second: never faster.
    assert!(begin.elapsed() >= Duration::from_millis(1000));
}

#[test]
fn the_idle_are_closed_and_those_who_wait_are_not() {
    let brokers = Brokers::new(1);
    let gateway = limited(&brokers, "GATEWAY_CONNECTIONS_MAX_IDLE_MS", "1000");
    let mut waiting = connect(&gateway.bootstrap());
    call(&mut waiting, &metadata_of("idle", 1));
    let poll = Fetch {
        max_wait_ms: 4000,
        ..Fetch::new("idle")
    };
    waiting.send_bytes(&poll.frame(2)).expect("it is taken");
    let mut silent = connect(&gateway.bootstrap());
    let mut after_one = connect(&gateway.bootstrap());
    call(&mut after_one, &metadata(1));
    let mut half = connect(&gateway.bootstrap());
    half.send_bytes(&metadata(1)[..9]).expect("it is taken");
    for (client, what) in [
        (&mut silent, "silent"),
        (&mut after_one, "silent after a request"),
        (&mut half, "half a frame"),
    ] {
        assert_closed(client, what);
    }
    assert_eq!(answer(&mut waiting).0, 2);
    assert_closed(&mut waiting, "idle after its answer");
}

#[test]
fn who_takes_nothing_of_an_answer_is_closed_after_the_request_timeout() {
    let broker = Scripted::start(|asked, stream| {
        let answer = asked.plain(&vec![7; 64 << 20]);
        std::io::Write::write_all(stream, &answer).is_ok()
    });
    let mut gateway = options(&broker.bootstrap())
        .env("KAFKA_REQUEST_TIMEOUT_MS", "1500")
        .start()
        .expect("the gateway starts");
    let files = open_files(&mut gateway);
    let mut stalled = connect(&gateway.bootstrap());
    stalled
        .send_bytes(&Fetch::new("any").frame(1))
        .expect("it is taken");
    files_return_to(&mut gateway, files + 2);
    crate::world::eventually("the leg to be closed", || broker.client_connections() == 0);
    files_return_to(&mut gateway, files);
}
