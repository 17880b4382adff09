//! Starts that have to wait, and starts that are refused.

use std::io::{Read, Write};
use std::net::TcpListener;

use testkit::http::Request;
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
            log.contains(&format!("(set by {variable})")) && log.contains(&port.to_string()),
            "{log}"
        );
    }
}

#[test]
fn an_address_that_is_not_here_is_named_with_its_variable() {
    let brokers = Brokers::new(1);
    // Kept for documentation, so that no machine has it (RFC 5737).
    let (status, log) =
        refused(options(&brokers.bootstrap()).env("GATEWAY_BIND_HOST", "192.0.2.1"));
    assert_eq!(status, 1, "{log}");
    assert!(
        log.contains("cannot bind 192.0.2.1:") && log.contains("(set by GATEWAY_BIND_HOST)"),
        "{log}"
    );
}

#[test]
fn brokers_without_a_port_keep_nobody_from_the_others() {
    let brokers = Brokers::new(3);
    for (variable, value, has_port, advice) in [
        (
            "GATEWAY_PORT_COUNT",
            "2",
            [1, 2],
            "GATEWAY_PORT_COUNT has to give at least 3 ports, better 5",
        ),
        (
            "GATEWAY_MIN_BROKERID",
            "2",
            [2, 3],
            "GATEWAY_MIN_BROKERID has to be 1 or less",
        ),
    ] {
        let gateway = options(&brokers.bootstrap())
            .env(variable, value)
            .start()
            .expect("it serves");
        let answer = call(&mut connect(&gateway.bootstrap()), &metadata(1));
        assert_eq!(brokers_of(&answer), has_port);
        assert!(gateway.log().contains(advice), "{}", gateway.log());
        assert_eq!(without_port(&gateway), 1);
    }
}

#[test]
fn a_broker_that_joins_beyond_the_ports_is_noticed_without_a_client() {
    let brokers = Brokers::new(3);
    brokers.stop(3);
    let gateway = options(&brokers.bootstrap())
        .env("GATEWAY_PORT_COUNT", "2")
        .start()
        .expect("it serves");
    assert_eq!(without_port(&gateway), 0);
    brokers.restart(3, None);
    eventually("the broker to be noticed", || without_port(&gateway) == 1);
    eventually("it to be said", || {
        gateway.log().contains("a broker has no port")
    });
}

#[test]
fn ports_of_which_no_broker_has_one_are_refused() {
    let brokers = Brokers::new(3);
    let (status, log) = refused(options(&brokers.bootstrap()).env("GATEWAY_MIN_BROKERID", "7"));
    assert_eq!(status, 78, "{log}");
    assert!(
        log.contains("GATEWAY_MIN_BROKERID: no broker has a port") && log.contains("has 1 to 3"),
        "{log}"
    );
}

#[test]
fn ports_that_are_counted_leave_the_admin_port_alone() {
    let brokers = Brokers::new(3);
    let first = ports::range(3);
    let counted = GatewayOptions::new(env!("CARGO_BIN_EXE_sluicegate"), &brokers.bootstrap())
        .env("GATEWAY_PORT_START", &first.to_string())
        // Empty is as good as not set.
        .env("GATEWAY_PORT_COUNT", "")
        .env("GATEWAY_HTTP_PORT", &(first + 2).to_string());
    let gateway = counted.start().expect("it serves");
    let answer = call(&mut connect(&gateway.bootstrap()), &metadata(1));
    assert_eq!(brokers_of(&answer), [1, 2]);
    let advice = "GATEWAY_PORT_START leaves room for 2 ports, and it needs 3";
    assert!(gateway.log().contains(advice), "{}", gateway.log());
}

#[test]
fn an_address_may_name_its_interface() {
    let Some(address) = link_local() else {
        println!("Nothing is tried: no interface has a link-local address.");
        return;
    };
    let brokers = Brokers::new(1);
    let gateway = options(&brokers.bootstrap())
        .env("GATEWAY_BIND_HOST", &address)
        .port_count(1)
        .start()
        .expect("it serves");
    let port = gateway.address(0).replace("127.0.0.1:", "");
    call(&mut connect(&format!("{address}:{port}")), &metadata(1));
    // As the way to Kafka.
    let behind = options(&format!("[{address}]:{port}"))
        .start()
        .expect("it serves");
    assert!(behind.log().contains("ready"));
}

#[test]
fn brokers_for_trying_out_take_other_ports_without_an_older_variable() {
    let first = ports::range(3);
    let dev = GatewayOptions::new(env!("CARGO_BIN_EXE_sluicegate"), "unused")
        .without("KAFKA_BOOTSTRAP_SERVERS")
        .without("GATEWAY_MIN_BROKERID")
        .without("GATEWAY_BIND_HOST")
        .without("GATEWAY_ADVERTISED_HOST")
        .args(&["dev", "--brokers", "1"])
        .env("GATEWAY_PORT_START", "")
        .env("GATEWAY_PORT_COUNT", "")
        .env(
            "GATEWAY_LISTENER_DEV_PORTS",
            &format!("{first}-{}", first + 2),
        );
    let gateway = dev.start().expect("it serves");
    let address = format!("127.0.0.1:{first}");
    let answer = call(&mut connect(&address), &metadata(1));
    assert_eq!(brokers_of(&answer), [1]);
    assert!(!gateway.log().contains("deprecated"), "{}", gateway.log());
}

/// A link-local IPv6 address of this machine with its interface, which it has no meaning without.
fn link_local() -> Option<String> {
    let table = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let address = u128::from_str_radix(words.first()?, 16).ok()?;
        let address = std::net::Ipv6Addr::from(address);
        let is_one = address.segments()[0] == 0xfe80;
        is_one.then(|| Some(format!("{address}%{}", words.last()?)))?
    })
}

/// The brokers of a Metadata answer, version 7.
fn brokers_of(answer: &[u8]) -> Vec<i32> {
    let mut rest = &answer[4..];
    let int = |rest: &mut &[u8]| {
        let (head, tail) = rest.split_at(4);
        *rest = tail;
        i32::from_be_bytes(head.try_into().expect("four bytes"))
    };
    let count = int(&mut rest);
    (0..count)
        .map(|_| {
            let id = int(&mut rest);
            for skipped in 0..2 {
                let length = i16::from_be_bytes([rest[0], rest[1]]).max(0) as usize;
                rest = &rest[2 + length..];
                if skipped == 0 {
                    int(&mut rest);
                }
            }
            id
        })
        .collect()
}

/// `gateway_brokers_without_port` of the only listener.
fn without_port(gateway: &Gateway) -> u32 {
    let scrape = Request::new("GET", "/metrics").basic("admin", "conduktor");
    let (status, text) = scrape.send(gateway.http_port()).expect("an answer");
    assert_eq!(status, 200, "{text}");
    let line = "gateway_brokers_without_port{listener=\"DEFAULT\"} ";
    let value = text.lines().find_map(|l| l.strip_prefix(line));
    value.expect("it is shown").parse().expect("a number")
}

/// Listens, and answers the bytes of each read with what `answer` makes of them; closes when it gives nothing.
fn listener(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut asked = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut asked) {
                let Some(answer) = answer(&asked[..count]) else {
                    break;
                };
                if stream.write_all(&answer).is_err() {
                    break;
                }
            }
        }
    });
    address
}

/// A broker that knows these API keys, up to version 0, offers these mechanisms, and closes at anything else.
fn broker(keys: &'static [i16], mechanisms: &'static [&'static str]) -> String {
    listener(move |asked| {
        let number = |at: usize| i16::from_be_bytes([asked[at], asked[at + 1]]);
        let mut answer = asked[8..12].to_vec();
        match (number(4), number(6)) {
            (18, version) => {
                let error = if version == 0 { 0_i16 } else { 35 };
                answer.extend(error.to_be_bytes());
                answer.extend((keys.len() as i32).to_be_bytes());
                for key in keys {
                    answer.extend([key.to_be_bytes(), [0; 2], [0, 9]].concat());
                }
            }
            (17, _) => {
                let error = if mechanisms.is_empty() { 34_i16 } else { 33 };
                answer.extend(error.to_be_bytes());
                answer.extend((mechanisms.len() as i32).to_be_bytes());
                for mechanism in mechanisms {
                    text(&mut answer, mechanism);
                }
            }
            _ => return None,
        }
        Some([&(answer.len() as i32).to_be_bytes()[..], &answer].concat())
    })
}

#[test]
fn protocols_that_do_not_fit_are_recognised_and_not_tried_again() {
    const LOGIN: &[(&str, &str)] = &[
        ("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
        ("KAFKA_SASL_MECHANISM", "PLAIN"),
        (
            "KAFKA_SASL_JAAS_CONFIG",
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"u\" password=\"p\";",
        ),
    ];
    let tls = || listener(|_| Some(vec![0x15, 3, 3, 0, 2, 2, 40]));
    let plain = Brokers::new(1);
    for (address, settings, variable, reason) in [
        (tls(), &[][..], "KAFKA_SECURITY_PROTOCOL", "it speaks TLS"),
        (tls(), LOGIN, "KAFKA_SECURITY_PROTOCOL", "it speaks TLS"),
        (
            listener(|_| Some(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())),
            &[],
            "KAFKA_SECURITY_PROTOCOL",
            "it speaks HTTP",
        ),
        (
            plain.bootstrap(),
            &[("KAFKA_SECURITY_PROTOCOL", "SSL")],
            "KAFKA_SECURITY_PROTOCOL",
            "it speaks no TLS",
        ),
        (
            broker(&[3, 17, 18, 36], &["SCRAM-SHA-256", "OAUTHBEARER"]),
            &[],
            "KAFKA_SECURITY_PROTOCOL",
            "it wants a login, and the gateway has none: the listener is SASL_PLAINTEXT or SASL_SSL; it offers SCRAM-SHA-256, OAUTHBEARER",
        ),
        (
            broker(&[3, 17, 18, 36], &[]),
            LOGIN,
            "KAFKA_SECURITY_PROTOCOL",
            "the broker asks for no login",
        ),
        (
            broker(&[18, 52], &[]),
            &[],
            "KAFKA_BOOTSTRAP_SERVERS",
            "it is a KRaft controller",
        ),
    ] {
        let mut options = options(&address)
            .env("GATEWAY_SECURITY_PROTOCOL", "PLAINTEXT")
            .env("GATEWAY_STARTUP_KAFKA_TIMEOUT_MS", "20000");
        for (name, value) in settings {
            options = options.env(name, value);
        }
        let (status, log) = refused(options);
        assert_eq!(status, 1, "{reason}: {log}");
        let told = log.lines().any(|line| {
            line.contains("ERROR")
                && [variable, reason, &address]
                    .iter()
                    .all(|part| line.contains(part))
        });
        assert!(told, "{reason}, {address}: {log}");
        assert!(!log.contains("does not answer yet"), "{log}");
    }
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
