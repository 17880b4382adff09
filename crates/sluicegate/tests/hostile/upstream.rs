//! Brokers that are slow, broken or wrong.

use std::io::Write;
use std::time::Duration;

use devbroker::{Fault, Rule};
use wire::api::ApiKey;

use crate::frames::*;
use crate::neighbour::Neighbour;
use crate::scripted::{Asked, Scripted};
use crate::world::{Brokers, cpu_seconds, eventually, files_return_to, gateway, open_files};

/// Faults strike this API only; the neighbour and the gateway itself do not use it.
const STRUCK: ApiKey = ApiKey::LIST_GROUPS;

#[test]
fn a_fault_of_the_broker_ends_the_connection_that_it_strikes_only() {
    let brokers = Brokers::new(1);
    let mut gateway = gateway(&brokers.bootstrap());
    let neighbour = Neighbour::move_in(&gateway.bootstrap());
    let files = open_files(&mut gateway);
    for fault in [
        Fault::Close,
        Fault::CloseAfter,
        Fault::Truncate(0),
        Fault::Truncate(3),
        Fault::Truncate(9),
        Fault::WrongCorrelationId,
    ] {
        let what = format!("{fault:?}");
        let id = brokers.faults().inject(Rule::new(fault).api(STRUCK.0));
        for _ in 0..3 {
            let mut client = connect(&gateway.bootstrap());
            call(&mut client, &metadata(1));
            client.send_bytes(&list_groups(2)).expect("it is taken");
            // What has come of an answer may go on; it never becomes a whole one.
            assert!(client.receive().is_err(), "{what}");
        }
        brokers.faults().remove(id);
        neighbour.assert_well();
    }
    files_return_to(&mut gateway, files);
}

#[test]
fn garbage_where_an_address_could_hide_is_not_passed_on() {
    let brokers = Brokers::new(1);
    let gateway = gateway(&brokers.bootstrap());
    let mut client = connect(&gateway.bootstrap());
    brokers
        .faults()
        .inject(Rule::new(Fault::Garbage).api(ApiKey::FIND_COORDINATOR.0));
    client
        .send_bytes(&find_coordinator("group", 1))
        .expect("it is taken");
    assert!(client.receive().is_err(), "garbage was passed on");
    call(&mut connect(&gateway.bootstrap()), &metadata(2));
}

#[test]
fn a_slow_broker_is_waited_for_without_effort() {
    let brokers = Brokers::new(1);
    let mut gateway = gateway(&brokers.bootstrap());
    let never = brokers
        .faults()
        .inject(Rule::new(Fault::NeverAnswer).api(STRUCK.0));
    let mut waiting: Vec<_> = (0..50).map(|_| connect(&gateway.bootstrap())).collect();
    for client in &mut waiting {
        client.send_bytes(&list_groups(1)).expect("it is taken");
    }
    eventually("all requests to arrive", || {
        brokers.faults().hits(never) == 50
    });
    let seconds = cpu_seconds(&mut gateway, || {
        std::thread::sleep(Duration::from_secs(2));
    });
    assert!(seconds < 0.5, "{seconds} s of CPU while nothing happens");
    for client in waiting.iter_mut().take(3) {
        assert_silent(client, "no answer, no error of the gateway's making");
    }
    brokers.faults().remove(never);
    let delay = Rule::new(Fault::Delay(Duration::from_millis(700))).api(STRUCK.0);
    brokers.faults().inject(delay);
    let mut client = connect(&gateway.bootstrap());
    call(&mut client, &list_groups(2));
}

#[test]
fn answers_that_are_no_answers_end_the_connection() {
    type Wrong = fn(&Asked) -> Vec<u8>;
    let cases: [(&str, Wrong); 7] = [
        ("negative length", |_| vec![0xff; 40]),
        ("zero length", |_| vec![0; 40]),
        ("a length of 3", |a| {
            [&3_i32.to_be_bytes()[..], &a.correlation_id.to_be_bytes()].concat()
        }),
        ("noise", |_| (0..=255).collect()),
        ("an answer twice", |a| {
            [a.plain(&[0; 6]), a.plain(&[0; 6])].concat()
        }),
        ("2 GiB and the end", |a| {
            let head = [
                0x7fff_ffff_i32.to_be_bytes(),
                a.correlation_id.to_be_bytes(),
            ];
            head.concat()
        }),
        ("half a length", |_| vec![0, 0]),
    ];
    for (what, wrong) in cases {
        let closes = matches!(
            what,
            "2 GiB and the end" | "half a length" | "a length of 3"
        );
        let broker = Scripted::start(move |asked, stream| {
            if asked.correlation_id == 0 {
                return stream.write_all(&asked.plain(&[0; 6])).is_ok();
            }
            let _ = stream.write_all(&wrong(asked));
            !closes // where the gateway cannot know that nothing follows
        });
        let mut gateway = gateway(&broker.bootstrap());
        let files = open_files(&mut gateway);
        // Code that runs for the first time is read from the disk.
        call(&mut connect(&gateway.bootstrap()), &list_groups(0));
        files_return_to(&mut gateway, files);
        let before = gateway.resident_bytes();
        for _ in 0..5 {
            let mut client = connect(&gateway.bootstrap());
            client.send_bytes(&list_groups(1)).expect("it is taken");
            let whole = client.receive().is_ok();
            assert_eq!(whole, what == "an answer twice", "{what}");
            if whole {
                assert_closed(&mut client, what);
            }
        }
        eventually("all legs to be closed", || broker.client_connections() == 0);
        files_return_to(&mut gateway, files);
        let grown = gateway.peak_resident_bytes() - before;
        assert!(grown < 4 << 20, "{what}: memory grew by {grown}");
    }
}

/// A client that stops reading stops the reading of its broker, not of others.
#[test]
fn back_pressure_reaches_the_broker() {
    const PIECE: usize = 1 << 20;
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let broker = Scripted::start({
        let sent = sent.clone();
        move |asked, stream| {
            if asked.api != ApiKey::FETCH.0 {
                return stream.write_all(&asked.plain(&[0; 6])).is_ok();
            }
            let size = 200 * PIECE as i32 + 4;
            let head = [size.to_be_bytes(), asked.correlation_id.to_be_bytes()].concat();
            let _ = stream.write_all(&head);
            (0..200).all(|_| {
                let written = stream.write_all(&[1; PIECE]).is_ok();
                sent.fetch_add(PIECE, std::sync::atomic::Ordering::Relaxed);
                written
            })
        }
    });
    let mut gateway = gateway(&broker.bootstrap());
    let mut client = connect(&gateway.bootstrap());
    client
        .send_bytes(&Fetch::new("any").frame(1))
        .expect("it is taken");
    let mut last = 0;
    eventually("the broker to be stopped", || {
        std::thread::sleep(Duration::from_millis(300));
        let now = sent.load(std::sync::atomic::Ordering::Relaxed);
        std::mem::replace(&mut last, now) == now && now > 0
    });
    assert!(last < 100 * PIECE, "{last} bytes were read for nobody");
    call(&mut connect(&gateway.bootstrap()), &list_groups(1));
    let seconds = cpu_seconds(&mut gateway, || {
        std::thread::sleep(Duration::from_secs(2));
    });
    assert!(seconds < 0.5, "{seconds} s of CPU while nothing moves");
    // The client can go on at any time.
    let answer = client.receive().expect("the whole answer comes");
    assert_eq!(answer.len(), 200 * PIECE + 4);
}
