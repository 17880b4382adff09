//! Clients that close their side of a connection as soon as they have asked everything.

use std::io::Write;
use std::net::Shutdown;
use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::frames::*;
use crate::scripted::Scripted;
use crate::world::{Brokers, eventually, files_return_to, gateway, open_files, options};

#[test]
fn what_was_asked_before_the_end_is_answered() {
    let brokers = Brokers::new(1);
    let gateway = gateway(&brokers.bootstrap());
    call(&mut connect(&gateway.bootstrap()), &metadata_of("half", 0));
    let poll = Fetch {
        offset: 1,
        max_wait_ms: 300,
        ..Fetch::new("half")
    };
    // The last one is at the end of a window, in the middle of a request, at its beginning.
    let ends = [
        vec![],
        metadata(99)[..9].to_vec(),
        produce("half", -1, b"cut", 99)[..70].to_vec(),
    ];
    for round in 0..3 {
        for end in &ends {
            let mut client = connect(&gateway.bootstrap());
            let frames = [
                metadata(1),
                produce("half", -1, &vec![7; 300_000], 2),
                api_versions(3),
                poll.frame(4),
                list_groups(5),
                end.clone(),
            ];
            push(&mut client, &frames.concat());
            client
                .stream()
                .shutdown(Shutdown::Write)
                .expect("an option");
            for id in 1..=5 {
                assert_eq!(answer(&mut client).0, id, "round {round}");
            }
            assert_closed(&mut client, "all is answered");
        }
    }
}

#[test]
fn nobody_waits_for_an_answer_that_does_not_come() {
    let broker = Scripted::start(|_, _| true);
    let mut gateway = options(&broker.bootstrap())
        .env("KAFKA_REQUEST_TIMEOUT_MS", "1000")
        .start()
        .expect("the gateway starts");
    let files = open_files(&mut gateway);
    let mut client = connect(&gateway.bootstrap());
    push(&mut client, &Fetch::new("any").frame(1));
    eventually("the request to be with the broker", || {
        broker.client_connections() == 1
    });
    client
        .stream()
        .shutdown(Shutdown::Write)
        .expect("an option");
    assert_closed(&mut client, "no answer came");
    eventually("the leg to be closed", || broker.client_connections() == 0);
    files_return_to(&mut gateway, files);
}

#[test]
fn who_has_left_altogether_is_noticed_by_the_answer() {
    let (asked, requests) = channel();
    let (go, gone) = channel::<()>();
    let state = Mutex::new((asked, gone));
    let broker = Scripted::start(move |request, stream| {
        let state = state.lock().expect("no panic");
        state.0.send(()).expect("the test waits");
        let _ = state.1.recv();
        // More than a socket takes from somebody who is not there.
        stream.write_all(&request.plain(&vec![0; 8 << 20])).is_ok()
    });
    let mut gateway = gateway(&broker.bootstrap());
    let files = open_files(&mut gateway);
    let mut client = connect(&gateway.bootstrap());
    push(&mut client, &Fetch::new("any").frame(1));
    requests.recv().expect("the broker was asked");
    drop(client);
    go.send(()).expect("the broker waits");
    eventually("the leg to be closed", || broker.client_connections() == 0);
    files_return_to(&mut gateway, files);
}
