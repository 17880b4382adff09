//! What is recorded of calls. A file of its own, as the subscriber is the process's.

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use common::{ADMIN, READER, credentials, serve_with_store};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("lock").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn captured() -> &'static Captured {
    static CAPTURED: OnceLock<Captured> = OnceLock::new();
    CAPTURED.get_or_init(|| {
        let captured = Captured::default();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(captured.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("the first subscriber");
        captured
    })
}

#[test]
fn calls_and_failed_logins_without_secrets() {
    let captured = captured();
    let (server, _) = serve_with_store();
    server.ask(
        "GET",
        "/gateway/v2/service-account",
        &(credentials(READER) + "x-cdk-client: CLI/1.0\r\n"),
    );
    let body = r#"{"kind":"GatewayServiceAccount","apiVersion":"v2","metadata":{"name":"alice"},"spec":{"type":"LOCAL","password":"SECRET-1"}}"#;
    server.call("PUT", "service-account?dryMode=false", body);
    let token = server.call(
        "POST",
        "token",
        r#"{"username":"alice","lifeTimeSeconds":60,"token":"SECRET-2"}"#,
    );
    let token = token.json()["token"].as_str().expect("a token").to_owned();
    server.call("PUT", "service-account", "SECRET-3 is no JSON");
    server.ask(
        "GET",
        "/gateway/v2/service-account",
        &credentials("intruder:SECRET-4"),
    );
    server.ask("GET", "/metrics", &credentials("admin:SECRET-5"));
    server.ask(
        "DELETE",
        "/gateway/v2/service-account",
        &credentials(READER),
    );
    server.handle.shutdown();

    let text = String::from_utf8(captured.0.lock().expect("lock").clone()).expect("UTF-8");
    for secret in [
        "SECRET",
        "s3cr:et",
        "looks",
        token.as_str(),
        &credentials(ADMIN)[21..],
    ] {
        assert!(!text.contains(secret.trim()), "{text}");
    }
    let records: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|record: &serde_json::Value| record["target"] == "sluicegate::audit")
        .collect();
    let seen: Vec<_> = records
        .iter()
        .map(|record| {
            assert_eq!(record["type"], "REST_API");
            assert!(
                record["remote"]
                    .as_str()
                    .is_some_and(|remote| remote.starts_with("127.0.0.1:"))
            );
            let text = |name: &str| record[name].as_str().unwrap_or_default().to_owned();
            (
                text("user"),
                text("method"),
                text("path"),
                record["status"].as_u64().unwrap_or_default(),
            )
        })
        .collect();
    let expected = [
        ("reader", "GET", "/gateway/v2/service-account", 200),
        ("admin", "PUT", "/gateway/v2/service-account", 200),
        ("admin", "POST", "/gateway/v2/token", 200),
        ("admin", "PUT", "/gateway/v2/service-account", 400),
        ("intruder", "GET", "/gateway/v2/service-account", 401),
        ("admin", "GET", "/metrics", 401),
        ("reader", "DELETE", "/gateway/v2/service-account", 403),
    ];
    let expected = expected.map(|(user, method, path, status)| {
        (user.to_owned(), method.to_owned(), path.to_owned(), status)
    });
    assert_eq!(seen, expected);
    assert_eq!(records[0]["client"], "CLI/1.0");
    assert!(
        records[1]["body"]
            .as_str()
            .is_some_and(|body| body.contains("alice") && body.contains("********"))
    );
}
