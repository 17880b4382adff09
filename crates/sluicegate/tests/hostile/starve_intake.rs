//! Strangers who take what others need: memory, connections, open files, places at the admin port, turns at passwords.
//!
//! Attackers come from another address of the loopback network than the innocent, who log in, produce, and probe meanwhile.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::raw::RawClient;
use testkit::{Gateway, GatewayOptions, http};
use tokio::net::TcpSocket;
use wire::api::ApiKey;

use crate::frames::*;
use crate::world::{eventually, open_files};

/// A factor for the size of the attacks.
const ATTACK: &str = "SLUICEGATE_TEST_ATTACK";
const USER: &str = "innocent";
const ADMIN: (&str, &str) = ("admin", "s3cret");
const KIB: u64 = 1024;
/// 32 bytes, base64.
const SIGNING_KEY: &str = "c2lnbmluZy1rZXktb2YtdGhlLXRlc3RzLTMyYnl0ZXM=";

fn factor() -> usize {
    std::env::var(ATTACK)
        .ok()
        .and_then(|factor| factor.parse().ok())
        .unwrap_or(1)
}

/// A gateway whose clients log in with tokens.
fn guarded(options: GatewayOptions) -> GatewayOptions {
    let (user, password) = ADMIN;
    options
        .without("KAFKA_BOOTSTRAP_SERVERS")
        .without("GATEWAY_MIN_BROKERID")
        .port_count(1)
        .env("GATEWAY_SECURITY_MODE", "GATEWAY_MANAGED")
        .env("GATEWAY_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
        .env("GATEWAY_USER_POOL_SECRET_KEY", SIGNING_KEY)
        .env("GATEWAY_ACL_ENABLED", "false")
        .env("GATEWAY_UPSTREAM_THREAD", "1")
        .env("GATEWAY_DOWNSTREAM_THREAD", "1")
        .env(
            "GATEWAY_ADMIN_API_USERS",
            &format!("[{{username: {user}, password: '{password}', admin: true}}]"),
        )
}

fn program() -> GatewayOptions {
    GatewayOptions::new(env!("CARGO_BIN_EXE_sluicegate"), "unused").args(&["dev", "--brokers", "1"])
}

/// A client with an account, and probes.
struct Innocent {
    bootstrap: String,
    http_port: u16,
    token: String,
}

impl Innocent {
    fn of(gateway: &Gateway) -> Innocent {
        let account = json!({
            "apiVersion": "gateway/v2", "kind": "GatewayServiceAccount",
            "metadata": {"name": USER}, "spec": {"type": "LOCAL"},
        });
        admin(gateway, "PUT", "/gateway/v2/service-account", &account);
        let asked = json!({"username": USER, "lifeTimeSeconds": 3600});
        let answer = admin(gateway, "POST", "/gateway/v2/token", &asked);
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let token = answer["token"].as_str().expect("a token").to_owned();
        Innocent {
            bootstrap: gateway.bootstrap(),
            http_port: gateway.http_port(),
            token,
        }
    }

    /// Logs in on a new connection and produces; the health endpoints answer.
    #[track_caller]
    fn assert_served(&self) {
        let mut client = connect(&self.bootstrap);
        let mut body = Vec::new();
        text(&mut body, "PLAIN");
        let answer = call(&mut client, &frame(ApiKey::SASL_HANDSHAKE, 1, 1, &body));
        assert_eq!(answer[..2], [0, 0], "handshake");
        let token = format!("\0{USER}\0{}", self.token);
        let mut body = (token.len() as i32).to_be_bytes().to_vec();
        body.extend(token.as_bytes());
        let answer = call(&mut client, &frame(ApiKey::SASL_AUTHENTICATE, 1, 2, &body));
        assert_eq!(answer[..2], [0, 0], "login");
        let topic = "innocent";
        eventually("the topic to have a leader", || {
            let answer = call(&mut client, &metadata_of(topic, 3));
            let named = answer
                .windows(topic.len())
                .any(|part| part == topic.as_bytes());
            assert!(named, "metadata");
            let produced = call(&mut client, &produce(topic, -1, b"value", 4));
            produced[4 + 2 + topic.len() + 4 + 4..][..2] == [0, 0]
        });
        for path in ["/health/live", "/health/ready"] {
            let (status, body) = http::get(self.http_port, path).expect("an answer");
            assert_eq!(status, 200, "{path}: {body}");
        }
    }
}

fn admin(gateway: &Gateway, method: &'static str, path: &str, body: &Value) -> String {
    let request = http::Request::new(method, path)
        .basic(ADMIN.0, ADMIN.1)
        .json(body);
    let (status, answer) = request
        .send_patiently(gateway.http_port())
        .expect("an answer");
    assert_eq!(status, 200, "{method} {path}: {answer}");
    answer
}

/// A connection from an address of its own.
fn stranger(address: &str) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime needs nothing");
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().expect("a socket");
        let from: SocketAddr = "127.0.0.66:0".parse().expect("an address");
        socket.bind(from).expect("a loopback address");
        let to = address.parse().expect("an address");
        socket.connect(to).await.expect("the port accepts")
    });
    stream.into_std().expect("it is only registered")
}

/// Whether the other side has closed.
fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket");
    match (&*stream).read(&mut [0; 1]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

#[test]
fn frames_before_a_login_come_from_a_budget() {
    const FRAME: usize = 512 << 10;
    let clients = 100 * factor();
    let options = guarded(program()).env("GATEWAY_MAX_BUFFERED_BYTES", "33554432");
    let mut gateway = options.start().expect("the gateway starts");
    let before = {
        let innocent = Innocent::of(&gateway);
        innocent.assert_served();
        gateway.resident_bytes()
    };
    let files = open_files(&mut gateway);
    let mut frame = frame(ApiKey::SASL_HANDSHAKE, 1, 1, &vec![b'x'; FRAME - 64]);
    frame.truncate(FRAME - 128);
    // As much of it as the sockets take.
    let strangers: Vec<_> = (0..clients)
        .map(|_| {
            let stream = stranger(&gateway.bootstrap());
            stream.set_nonblocking(true).expect("a socket");
            let _ = (&stream).write(&frame);
            stream
        })
        .collect();
    eventually("the gateway to have met some", || {
        open_files(&mut gateway) > files + 3
    });
    let innocent = Innocent::of(&gateway);
    let peak = |gateway: &Gateway| (gateway.peak_resident_bytes() - before) / KIB;
    innocent.assert_served();
    // What does not fit is closed after a while; what fits is not complete in time.
    eventually("all of them to be closed", || {
        strangers.iter().all(is_closed)
    });
    innocent.assert_served();
    let peak = peak(&gateway);
    println!("{clients} strangers with frames of 512 KiB: {peak} KiB more at most");
    // Their part of the budget is 1 MiB; 8 KiB of each are free.
    assert!(peak < 32 * KIB + 24 * clients as u64, "{peak} KiB");
}

#[test]
fn silent_connections_do_not_stop_logins() {
    let silent = 300 * factor();
    let files = 256 * factor();
    // As with a soft limit that is lower than the hard one.
    let limited = format!(
        "ulimit -Sn 128; ulimit -Hn {files}; exec '{}' dev --brokers 1",
        env!("CARGO_BIN_EXE_sluicegate")
    );
    let options = GatewayOptions::new("sh", "unused").args(&["-c", &limited]);
    let mut gateway = guarded(options)
        // Nobody is helped by others having to leave.
        .env("GATEWAY_UNAUTHENTICATED_TIMEOUT_MS", "600000")
        .start()
        .expect("the gateway starts");
    let strangers: Vec<_> = (0..silent)
        .map(|_| stranger(&gateway.bootstrap()))
        .collect();
    let innocent = Innocent::of(&gateway);
    innocent.assert_served();
    let closed = strangers.iter().filter(|stream| is_closed(stream)).count();
    println!("{silent} silent connections, {files} open files: {closed} had to make room");
    assert!(
        closed > 0 && closed < silent,
        "{closed} of {silent} are closed"
    );
    assert!(open_files(&mut gateway) < files);
    innocent.assert_served();
    drop(strangers);
}

#[test]
fn idle_connections_to_the_admin_port_do_not_stop_probes() {
    let idle = 300 * factor();
    let gateway = guarded(program()).start().expect("the gateway starts");
    let innocent = Innocent::of(&gateway);
    let address = format!("127.0.0.1:{}", gateway.http_port());
    // From the same address as the probes.
    let connections: Vec<_> = (0..idle)
        .map(|_| TcpStream::connect(&address).expect("the port accepts"))
        .collect();
    innocent.assert_served();
    let open = connections
        .iter()
        .filter(|stream| !is_closed(stream))
        .count();
    println!(
        "{idle} idle connections to the admin port: {open} are open while probes are answered"
    );
    assert!(
        open > 64,
        "the probes have waited for {} others",
        idle - open
    );
}

#[test]
fn guesses_take_turns_and_logins_of_others_do_not() {
    let guesses = 60 * factor();
    let gateway = guarded(program()).start().expect("the gateway starts");
    let port = gateway.http_port();
    let ask = |user: &str, password: &str| {
        let request = http::Request::new("GET", "/gateway/v2/service-account");
        request
            .basic(user, password)
            .send(port)
            .expect("an answer")
            .0
    };
    assert_eq!(ask(ADMIN.0, ADMIN.1), 200);
    assert_eq!(ask(ADMIN.0, "guess"), 401);
    let address = format!("127.0.0.1:{port}");
    let mut statuses = Vec::new();
    for _ in 0..guesses / 60 {
        let mut guessing: Vec<RawHttp> = (0..60).map(|_| RawHttp::guess(&address)).collect();
        assert_eq!(ask(ADMIN.0, ADMIN.1), 200, "who is known waits for nobody");
        statuses.extend(guessing.iter_mut().map(RawHttp::status));
    }
    let count = |wanted| statuses.iter().filter(|status| **status == wanted).count();
    println!(
        "{guesses} guesses at once: {} checked, {} refused",
        count(401),
        count(429)
    );
    assert_eq!(count(401) + count(429), guesses);
    assert!(count(429) > guesses / 3, "{statuses:?}");
    let (_, audit) = (ask("nobody", "guess"), gateway.log());
    assert!(!audit.contains("guess\""), "{audit}");
}

/// A request that was sent and not answered yet.
struct RawHttp(TcpStream);

impl RawHttp {
    fn guess(address: &str) -> RawHttp {
        // admin2:guess
        let request = "GET /gateway/v2/service-account HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
                       authorization: Basic YWRtaW4yOmd1ZXNz\r\n\r\n";
        let mut stream = TcpStream::connect(address).expect("the port accepts");
        let limit = Some(Duration::from_secs(60));
        stream.set_read_timeout(limit).expect("a socket");
        stream.write_all(request.as_bytes()).expect("it is taken");
        RawHttp(stream)
    }

    fn status(&mut self) -> u16 {
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).expect("a status");
        status.parse().expect("a number")
    }
}

/// A token beyond the free bytes still gets in, one at a time or many.
#[test]
fn long_tokens_are_read_as_a_whole() {
    let gateway = guarded(program()).start().expect("the gateway starts");
    let long = frame(ApiKey::SASL_HANDSHAKE, 1, 7, &{
        let mut body = Vec::new();
        text(&mut body, &"m".repeat(30_000));
        body
    });
    let mut clients: Vec<RawClient> = (0..20)
        .map(|_| {
            let mut client = connect(&gateway.bootstrap());
            client.send_bytes(&long).expect("it is taken");
            client
        })
        .collect();
    for client in &mut clients {
        let (id, answer) = answer(client);
        assert_eq!(
            (id, &answer[..2]),
            (7, &[0, 33][..]),
            "an unknown mechanism"
        );
    }
}
