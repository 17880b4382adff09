//! The admin port, seen by plain TCP clients: health, versions, the status page, hostile requests; and what it pushes.

#[path = "../common/mod.rs"]
mod common;
mod otlp;
mod status;

use std::io::{Read, Write};
use std::net::TcpStream;

use common::Running;

fn start() -> Running {
    common::serve(common::services())
}

#[test]
fn health_has_the_exact_shape() {
    let server = start();
    let answer = server.ask("GET", "/health", "");
    assert_eq!(answer.code, 200);
    assert!(
        answer.head.contains("content-type: application/json"),
        "{}",
        answer.head
    );
    assert_eq!(
        answer.body,
        concat!(
            r#"{"status":"UP","checks":[{"id":"buildInfo","status":"UP","data":{"version":"3.15.0","#,
            r#""time":"2026-01-31T12:00:00+0000","commit":"0123456789abcdef0123456789abcdef01234567","#,
            r#""product":"Sluicegate","productVersion":"0.1.0"}},{"id":"live","status":"UP"}],"outcome":"UP"}"#
        )
    );
    server.handle.shutdown();
}

#[test]
fn live_and_versions() {
    let server = start();
    let answer = server.ask("GET", "/health/live", "");
    assert_eq!(
        (answer.code, answer.body.as_str()),
        (
            200,
            r#"{"status":"UP","checks":[{"id":"live","status":"UP"}],"outcome":"UP"}"#
        )
    );
    let answer = server.ask("GET", "/versions", "accept: text/html\r\n");
    assert_eq!(
        (answer.code, answer.body.as_str()),
        (200, r#"{"gateway":"3.15.0"}"#)
    );
    server.handle.shutdown();
}

#[test]
fn ready_as_text() {
    let server = start();
    for accept in [
        "",
        "accept: */*\r\n",
        "accept: text/plain\r\n",
        "accept: application/json;q=0\r\n",
    ] {
        let answer = server.ask("GET", "/health/ready", accept);
        assert_eq!(
            (answer.code, answer.body.as_str()),
            (503, "NOTREADY"),
            "{accept}"
        );
        assert!(
            answer.head.contains("content-type: text/plain"),
            "{}",
            answer.head
        );
    }
    server.make_ready();
    let answer = server.ask("GET", "/health/ready", "");
    assert_eq!((answer.code, answer.body.as_str()), (200, "READY"));
    server.health.draining();
    assert_eq!(server.ask("GET", "/health/ready", "").code, 503);
    assert_eq!(server.ask("GET", "/health/live", "").code, 200);
    server.handle.shutdown();
}

#[test]
fn ready_as_json() {
    let server = start();
    server.health.config_ready();
    let answer = server.ask(
        "GET",
        "/health/ready",
        "accept: text/html, Application/JSON; q=0.5\r\n",
    );
    assert_eq!(answer.code, 503);
    assert_eq!(
        answer.body,
        concat!(
            r#"{"status":"DOWN","checks":[{"id":"config","status":"UP"},{"id":"listeners","status":"DOWN"},"#,
            r#"{"id":"upstream","status":"DOWN"},{"id":"state","status":"UP"},{"id":"draining","status":"UP"}],"outcome":"DOWN"}"#
        )
    );
    server.make_ready();
    assert_eq!(
        server
            .ask("GET", "/health/ready", "accept: application/json\r\n")
            .code,
        200
    );
    server.handle.shutdown();
}

#[test]
fn credentials_do_not_matter() {
    let server = start();
    for path in ["/health", "/health/live", "/versions"] {
        assert_eq!(
            server
                .ask("GET", path, "authorization: Basic d3Jvbmc6d3Jvbmc=\r\n")
                .code,
            200
        );
    }
    server.handle.shutdown();
}

#[test]
fn methods_and_paths() {
    let server = start();
    for path in ["/health", "/health/live", "/versions"] {
        let answer = server.ask("HEAD", path, "");
        assert_eq!((answer.code, answer.body.as_str()), (200, ""));
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            assert_eq!(
                server.ask(method, path, "content-length: 0\r\n").code,
                405,
                "{method} {path}"
            );
        }
    }
    assert_eq!(server.ask("HEAD", "/health/ready", "").code, 503);
    for path in [
        "/health/other",
        "/health/live/x",
        "/metric",
        "/healthy",
        "/%00",
        "/health%2flive",
    ] {
        server.ask("GET", path, "").error(404, "No such path");
    }
    server
        .ask("DELETE", "/health", "")
        .error(405, "Method not allowed");
    for path in ["//health", "/health/", "///health//live/"] {
        assert_eq!(server.ask("GET", path, "").code, 200, "{path}");
    }
    server.handle.shutdown();
}

#[test]
fn hostile_requests_harm_nobody() {
    let server = start();
    let long = "a".repeat(1 << 20);
    let many = "x: y\r\n".repeat(1000);
    let requests = [
        "\0\0\0\u{7f}garbage\r\n\r\n".to_owned(),
        format!("GET /{long} HTTP/1.1\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\nx: {long}\r\n\r\n"),
        format!("GET /health HTTP/1.1\r\n{many}\r\n"),
        "GET /health HTTP/9.9\r\n\r\n".to_owned(),
        "GET /health HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\u{2}".to_owned() + &long,
    ];
    for request in &requests {
        let answer = server.raw(request.as_bytes());
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer:?}"
        );
    }
    // A body that never comes does not hold the answer up.
    let mut endless = server.connect();
    endless
        .write_all(b"POST /health HTTP/1.1\r\nhost: x\r\ncontent-length: 999999999999\r\n\r\n")
        .expect("written");
    let mut start_of_answer = [0; 12];
    endless.read_exact(&mut start_of_answer).expect("an answer");
    assert_eq!(&start_of_answer, b"HTTP/1.1 405");
    assert_eq!(server.ask("GET", "/health/live", "").code, 200);
    server.handle.shutdown();
}

#[test]
fn silent_connections_do_not_lock_probes_out() {
    let server = start();
    let silent: Vec<_> = (0..200).map(|_| server.connect()).collect();
    assert_eq!(server.ask("GET", "/health/live", "").code, 200);
    let mut kept = server.connect();
    for _ in 0..100 {
        kept.write_all(b"GET /versions HTTP/1.1\r\nhost: x\r\n\r\n")
            .expect("written");
    }
    let mut answers = Vec::new();
    while answers
        .windows(18)
        .filter(|part| part == br#"{"gateway":"3.15.0"#)
        .count()
        < 100
    {
        let mut buffer = [0; 4096];
        let read = kept.read(&mut buffer).expect("more answers");
        assert!(read > 0, "closed early");
        answers.extend_from_slice(&buffer[..read]);
    }
    drop(silent);
    server.handle.shutdown();
}

#[test]
fn shutdown_frees_the_port() {
    // Where no other test can get the port that is free then.
    let server = common::serve_at("127.0.0.9:0", common::services());
    let address = server.address;
    assert_eq!(server.ask("GET", "/versions", "").code, 200);
    server.handle.shutdown();
    assert!(TcpStream::connect(address).is_err());
}
