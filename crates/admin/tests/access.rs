//! Credentials, roles, limits and metrics, seen by plain TCP clients.

mod common;

use std::io::{Read, Write};
use std::thread;

use common::{ADMIN, Answer, READER, WRONG, credentials, serve, serve_with_store, services};

const PATHS: &[&str] = &[
    "/gateway/v2/service-account",
    "/gateway/v2/token",
    "/gateway/v2/nothing",
    "/gateway/v2",
    "/gateway",
    "//gateway/v2//service-account/",
];

fn refused(answer: &Answer) {
    let msg = answer.error(401, "Not authenticated");
    assert_eq!(msg, "The given credentials are not valid.");
    assert!(
        answer
            .head
            .contains("www-authenticate: basic realm=\"gateway\""),
        "{}",
        answer.head
    );
}

#[test]
fn every_path_of_the_api_asks_for_credentials() {
    let (server, _) = serve_with_store();
    let malformed = [
        "authorization: Bearer abc\r\n",
        "authorization: Basic\r\n",
        "authorization: Basic !!!\r\n",
        "authorization: Basic YWRtaW4=\r\n",
        "authorization: \u{ff}\r\n",
        "authorization: Basic \r\n",
    ];
    for path in PATHS {
        for method in ["GET", "PUT", "POST", "DELETE", "PATCH"] {
            refused(&server.ask(method, path, ""));
        }
        refused(&server.ask("GET", path, &credentials(WRONG)));
    }
    for pair in [
        "nobody:x",
        "admin:",
        ":",
        "admin:s3cr",
        "Admin:s3cr:et",
        "reader:s3cr:et",
    ] {
        refused(&server.ask("GET", PATHS[0], &credentials(pair)));
    }
    for header in malformed {
        refused(&server.ask("GET", PATHS[0], header));
    }
    assert_eq!(server.ask("GET", PATHS[0], &credentials(ADMIN)).code, 200);
    let lower = credentials(ADMIN).replace("Basic", "bAsIc");
    assert_eq!(server.ask("GET", PATHS[0], &lower).code, 200);
    server.handle.shutdown();
}

#[test]
fn readers_only_read() {
    let (server, store) = serve_with_store();
    let reader = credentials(READER);
    assert_eq!(server.ask("GET", PATHS[0], &reader).body, "[]");
    assert_eq!(server.ask("HEAD", PATHS[0], &reader).code, 200);
    for (method, path) in [
        ("PUT", "/gateway/v2/service-account"),
        ("PUT", "/gateway/v2/service-account?dryMode=true"),
        ("DELETE", "/gateway/v2/service-account"),
        ("POST", "/gateway/v2/token"),
        ("POST", "/gateway/v2/tokens"),
    ] {
        let msg = server
            .send(method, path, &reader, "not even JSON")
            .error(403, "Not allowed");
        assert!(msg.contains("reader"), "{msg}");
    }
    assert_eq!(*store.changes.lock().expect("lock"), 0);
    server.handle.shutdown();
}

#[test]
fn paths_and_methods_after_credentials() {
    let (server, _) = serve_with_store();
    for path in ["nothing", "service-account/x", "token/x", ""] {
        for method in ["GET", "PUT", "DELETE"] {
            server.call(method, path, "").error(404, "No such path");
        }
    }
    server
        .call("POST", "service-account", "{}")
        .error(405, "Method not allowed");
    server
        .call("GET", "token", "")
        .error(405, "Method not allowed");
    let allowed = server.call("POST", "service-account", "{}");
    assert!(
        allowed.head.contains("\nallow: get,head,put,delete\r\n"),
        "{}",
        allowed.head
    );
    let slashes = server.ask(
        "GET",
        "//gateway//v2/service-account/?name=x",
        &credentials(ADMIN),
    );
    assert_eq!((slashes.code, slashes.body.as_str()), (200, "[]"));
    server.handle.shutdown();
}

#[test]
fn the_api_waits_for_the_store_and_the_operations_do_not() {
    let server = serve(services());
    for (method, path, body) in [
        ("GET", "service-account", ""),
        ("PUT", "service-account", "{"),
        ("GET", "nothing", ""),
        ("POST", "token", "{}"),
    ] {
        server.call(method, path, body).error(503, "Not ready");
    }
    refused(&server.ask("GET", PATHS[0], &credentials(WRONG)));
    server
        .ask("PUT", PATHS[0], &credentials(READER))
        .error(403, "Not allowed");
    assert_eq!(server.ask("GET", "/health", "").code, 200);
    assert_eq!(
        server.ask("GET", "/metrics", &credentials(READER)).code,
        200
    );
    server
        .handle
        .resources_ready(std::sync::Arc::new(common::Store::default()));
    assert_eq!(server.call("GET", "service-account", "").code, 200);
    server.handle.shutdown();
}

#[test]
fn without_users_everything_but_health_is_closed() {
    let server = serve(sluicegate_admin::Services {
        users: sluicegate_admin::Users::none(),
        ..services()
    });
    refused(&server.ask("GET", PATHS[0], &credentials(ADMIN)));
    refused(&server.ask("GET", "/metrics", &credentials(":")));
    assert_eq!(server.ask("GET", "/versions", "").code, 200);
    server.handle.shutdown();
}

#[test]
fn metrics_ask_for_credentials_unless_set_otherwise() {
    let server = serve(services());
    refused(&server.ask("GET", "/metrics", ""));
    refused(&server.ask("GET", "/metrics", &credentials(WRONG)));
    for pair in [ADMIN, READER] {
        assert_eq!(server.ask("GET", "/metrics", &credentials(pair)).code, 200);
    }
    server
        .ask("PUT", "/metrics", &credentials(ADMIN))
        .error(405, "Method not allowed");
    server.handle.shutdown();

    let open = serve(sluicegate_admin::Services {
        secured_metrics: false,
        ..services()
    });
    assert_eq!(open.ask("GET", "/metrics", "").code, 200);
    assert_eq!(open.ask("GET", "/metrics", &credentials(WRONG)).code, 200);
    refused(&open.ask("GET", PATHS[0], ""));
    open.handle.shutdown();
}

#[test]
fn metrics_in_both_forms() {
    let services = services();
    let metrics = services.metrics.clone();
    metrics.expired_connections_killed();
    let server = serve(services);
    let admin = credentials(ADMIN);
    let text = server.ask("GET", "/metrics", &admin);
    assert!(
        text.head
            .contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{}",
        text.head
    );
    assert!(
        text.body
            .contains("\ngateway_expired_connections_killed_total 1\n"),
        "{}",
        text.body
    );
    assert!(
        text.body
            .contains("\ngateway_build_info{version=\"0.1.0\",commit=\"0123456789"),
        "{}",
        text.body
    );
    assert!(!text.body.contains("# EOF"));
    let open = server.ask(
        "GET",
        "/metrics",
        &format!("{admin}accept: application/openmetrics-text;version=1.0.0\r\n"),
    );
    assert!(
        open.head.contains(
            "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"
        ),
        "{}",
        open.head
    );
    assert!(
        open.body
            .contains("# TYPE gateway_expired_connections_killed counter\n")
    );
    assert!(open.body.contains("# EOF\n"));
    server.handle.shutdown();
}

#[test]
fn guessing_blocks_nobody() {
    let (server, _) = serve_with_store();
    // Who is known at an address does not wait for those who guess at other names.
    assert_eq!(server.ask("GET", PATHS[0], &credentials(ADMIN)).code, 200);
    thread::scope(|scope| {
        let guesses: Vec<_> = (0..50)
            .map(|i| {
                let server = &server;
                scope.spawn(move || {
                    server.ask("GET", PATHS[0], &credentials(&format!("admin{i}:x")))
                })
            })
            .collect();
        assert_eq!(server.ask("GET", "/health/live", "").code, 200);
        assert_eq!(server.ask("GET", PATHS[0], &credentials(ADMIN)).code, 200);
        for guess in guesses {
            let answer = guess.join().expect("an answer");
            match answer.code {
                429 => {
                    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
                    drop(answer.error(429, "Too many attempts"));
                }
                _ => refused(&answer),
            }
        }
    });
    server.handle.shutdown();
}

#[test]
fn bodies_have_a_limit() {
    let (server, _) = serve_with_store();
    let head = format!(
        "PUT /gateway/v2/service-account HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}",
        credentials(ADMIN)
    );
    // Told too large before a byte of it is sent, and while it comes in chunks of unknown number.
    let declared = server.raw(format!("{head}content-length: 5242881\r\n\r\n").as_bytes());
    Answer::parse(&declared).error(413, "Request too large");
    let mut stream = server.connect();
    stream
        .write_all(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes())
        .expect("written");
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(1 << 20));
    for _ in 0..6 {
        // The server may refuse before everything is written.
        let _ = stream.write_all(chunk.as_bytes());
    }
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 413");
    // Within the limit.
    let padded = format!("{{{}}}", " ".repeat((5 << 20) - 2));
    server
        .call("PUT", "service-account", &padded)
        .error(400, "Invalid request");
    // A body that nobody may send is not read.
    let refused_early = server.raw(
        b"PUT /gateway/v2/service-account HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5000000000\r\n\r\n",
    );
    refused(&Answer::parse(&refused_early));
    server.handle.shutdown();
}
