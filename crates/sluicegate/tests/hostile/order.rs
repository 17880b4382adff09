//! Answers come in the order of their requests, whoever gives them.

use wire::api::ApiKey;

use crate::frames::*;
use crate::scripted::Scripted;
use crate::world::{Brokers, gateway, options};

#[test]
fn answers_of_the_gateway_queue_between_those_of_the_broker() {
    let brokers = Brokers::new(1);
    let gateway = gateway(&brokers.bootstrap());
    let mut client = connect(&gateway.bootstrap());
    call(&mut client, &metadata_of("order", 0));
    // Ids are the client's business: negative, twice the same, the one the gateway uses itself.
    let ids = [7, 7, -1, i32::MIN, i32::MAX, 0, -1, 3, 3, 3];
    let slow = Fetch {
        offset: 1,
        max_wait_ms: 300,
        ..Fetch::new("order")
    };
    let frames = [
        metadata(ids[0]),
        api_versions(ids[1]),
        slow.frame(ids[2]),
        api_versions(ids[3]),
        produce("order", -1, b"one", ids[4]),
        default_frame(ApiKey::SASL_AUTHENTICATE, 1, ids[5]),
        frame(ApiKey::API_VERSIONS, 99, ids[6], &[]),
        list_groups(ids[7]),
        api_versions(ids[8]),
        metadata(ids[9]),
    ];
    client.send_bytes(&frames.concat()).expect("they are taken");
    let lengths: Vec<usize> = ids
        .iter()
        .map(|id| {
            let (got, rest) = answer(&mut client);
            assert_eq!(got, *id);
            rest.len()
        })
        .collect();
    // Equal ids are told apart by what they answer.
    assert!(lengths[1] > 100 && lengths[3] == lengths[1] && lengths[8] == lengths[1]);
    assert_eq!(lengths[6], 12, "the error of an unknown version");
}

#[test]
fn requests_without_an_answer_leave_no_gap() {
    let brokers = Brokers::new(1);
    let gateway = gateway(&brokers.bootstrap());
    let mut client = connect(&gateway.bootstrap());
    call(&mut client, &metadata_of("silent", 0));
    let mut frames = Vec::new();
    for id in 0..50 {
        frames.extend(produce("silent", 0, b"unanswered", 1000 + id));
        frames.extend(match id % 2 {
            0 => metadata(id),
            _ => api_versions(id),
        });
    }
    client.send_bytes(&frames).expect("they are taken");
    for id in 0..50 {
        assert_eq!(answer(&mut client).0, id);
    }
    let fetched = call(&mut client, &Fetch::new("silent").frame(1));
    let count = fetched
        .windows(10)
        .filter(|part| part == b"unanswered")
        .count();
    assert_eq!(count, 50);
}

/// Behind an `acks=0` request the close of the connection is the only way for a broker to report an error.
#[test]
fn a_broker_that_closes_after_a_request_without_an_answer_is_noticed() {
    let broker = Scripted::start(|_, _| false);
    let gateway = gateway(&broker.bootstrap());
    let mut client = connect(&gateway.bootstrap());
    let request = produce("any", 0, b"lost", 1);
    client.send_bytes(&request).expect("it is taken");
    assert_closed(&mut client, "the broker has closed");
}

#[test]
fn requests_in_flight_are_limited() {
    const LIMIT: usize = 5;
    let broker = Scripted::start({
        let seen = std::sync::atomic::AtomicUsize::new(0);
        move |asked, stream| {
            // The sixth request is not sent before the first has its answer.
            let count = seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
            if count < LIMIT {
                return true;
            }
            stream.set_nonblocking(true).expect("a socket can");
            std::thread::sleep(std::time::Duration::from_millis(200));
            let more = stream.peek(&mut [0]);
            stream.set_nonblocking(false).expect("a socket can");
            let waits = more.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);
            asked.correlation_id == LIMIT as i32 - 1 && waits && {
                let answers = (0..LIMIT).flat_map(|id| {
                    let mut answer = asked.plain(&[0; 6]);
                    answer[4..8].copy_from_slice(&(id as i32).to_be_bytes());
                    answer
                });
                let answers: Vec<u8> = answers.collect();
                std::io::Write::write_all(stream, &answers).is_ok()
            }
        }
    });
    let gateway = options(&broker.bootstrap())
        .env(
            "GATEWAY_MAX_IN_FLIGHT_REQUESTS_PER_CONNECTION",
            &LIMIT.to_string(),
        )
        .start()
        .expect("the gateway starts");
    let mut client = connect(&gateway.bootstrap());
    for id in 0..2 * LIMIT as i32 {
        client.send_bytes(&list_groups(id)).expect("it is taken");
    }
    for id in 0..LIMIT as i32 {
        assert_eq!(answer(&mut client).0, id);
    }
}
