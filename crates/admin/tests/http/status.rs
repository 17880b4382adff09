//! The status page and its summary.

use std::process::Command;

use telemetry::metrics::{Answered, Api, Metrics, Moment, Origin};

use crate::common::{ADMIN, READER, Running, WRONG, credentials, serve, services};

const STATUS: &str = "/gateway/v2/status";
const HISTORY: &str = "/gateway/v2/status/history";

/// A port with some traffic behind it, one name of which is hostile.
fn start() -> Running {
    let services = services();
    fill(&services.metrics);
    serve(services)
}

const HOSTILE: &str = "</script><img src=x onerror=alert(1)>";

fn fill(metrics: &Metrics) {
    let produce = Api {
        key: 0,
        name: "Produce",
    };
    let millis = std::time::Duration::from_millis;
    for (vcluster, connections) in [("billing", 3), (HOSTILE, 2)] {
        let client = metrics.clients().get(vcluster, "app");
        (0..connections).for_each(|_| client.connections.inc());
        client.accepted(produce);
        client.owed(produce);
        client.answered(
            produce,
            &Answered {
                at: Moment::now(),
                took: millis(5),
                upstream: millis(4),
                queued: millis(0),
                throttle_ms: 0,
                error: Some((29, Origin::Authorization)),
            },
        );
    }
    let catalogue = metrics.catalogue();
    catalogue.bytes.with(["upstream"]).add(1000);
    catalogue.bytes.with(["downstream"]).add(250);
    catalogue.brokers.with([]).set(3.0);
    let orders = metrics.topics().topic("billing", "orders");
    orders.upstream.add(700);
    orders.downstream.add(20);
    metrics.topics().topic("billing", "idle");
    for (request, took) in [("fetch", 500), ("group", 3000), ("other", 4)] {
        let times = catalogue.upstream_request.with(["1", request]);
        times.observe(Moment::now(), millis(took));
    }
}

#[test]
fn credentials_are_asked_for_and_any_user_may_look() {
    let server = start();
    for path in ["/", STATUS, HISTORY] {
        let answer = server.ask("GET", path, "");
        assert!(
            answer.head.contains("www-authenticate: basic realm="),
            "{}",
            answer.head
        );
        answer.error(401, "Not authenticated");
        server
            .ask("GET", path, &credentials(WRONG))
            .error(401, "Not authenticated");
        for user in [ADMIN, READER] {
            let answer = server.ask("GET", path, &credentials(user));
            assert_eq!(answer.code, 200, "{path}");
            assert!(
                answer.head.contains("cache-control: no-store"),
                "{}",
                answer.head
            );
            assert!(
                answer.head.contains("x-content-type-options: nosniff"),
                "{}",
                answer.head
            );
            assert_eq!(server.ask("HEAD", path, &credentials(user)).body, "");
        }
    }
    let post = server.send("POST", "/", &credentials(ADMIN), "x");
    post.error(405, "Method not allowed");
    server.handle.shutdown();
}

#[test]
fn the_page_may_load_and_run_nothing_but_itself() {
    let server = start();
    let answer = server.ask("GET", "/", &credentials(READER));
    assert!(
        answer
            .head
            .contains("content-type: text/html; charset=utf-8"),
        "{}",
        answer.head
    );
    let policy = answer
        .head
        .lines()
        .find_map(|line| line.strip_prefix("content-security-policy: "));
    let policy = policy.expect("a policy");
    let parts: Vec<_> = policy.split(';').map(str::trim).collect();
    for part in [
        "default-src 'none'",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ] {
        assert!(parts.contains(&part), "{part} in {policy}");
    }
    for part in ["script-src 'sha256-", "style-src 'sha256-"] {
        assert!(parts.iter().any(|p| p.starts_with(part) && !p.contains(' ')
            || p.matches(' ').count() == 1 && p.starts_with(part)));
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains('*'),
        "{policy}"
    );
    assert!(
        answer.head.contains("x-frame-options: deny"),
        "{}",
        answer.head
    );
    assert!(
        answer.head.contains("referrer-policy: no-referrer"),
        "{}",
        answer.head
    );
    server.handle.shutdown();
}

#[test]
fn the_summary_tells_what_the_metrics_tell() {
    let server = start();
    let status = server.ask("GET", STATUS, &credentials(READER)).json();
    // It is there before the stored resources are.
    assert_eq!(status["ready"], false);
    assert_eq!(status["live"], true);
    assert_eq!(status["checks"][0]["id"], "config");
    assert_eq!(status["build"]["productVersion"], "0.1.0");
    assert_eq!(status["traffic"]["requests"], 2.0);
    assert_eq!(status["traffic"]["inFlight"], 2.0);
    assert_eq!(status["traffic"]["bytesFromClients"], 1000.0);
    assert_eq!(status["traffic"]["bytesToClients"], 250.0);
    assert_eq!(status["brokers"], 3.0);
    let latency = &status["latency"];
    let bounds = latency["bounds"].as_array().expect("bounds").len();
    assert_eq!(
        latency["gateway"]["below"]
            .as_array()
            .expect("buckets")
            .len(),
        bounds + 1
    );
    for (times, count, seconds) in [
        ("gateway", 2.0, 0.002),
        ("kafka", 1.0, 0.004),
        ("fetches", 1.0, 0.5),
    ] {
        assert_eq!(latency[times]["count"], count, "{times}");
        assert_eq!(latency[times]["seconds"], seconds, "{times}");
        assert_eq!(latency[times]["below"][bounds], count, "{times}");
    }
    assert_eq!(status["errors"]["authorization"], 2.0);
    let most = &status["errors"]["most"][0];
    assert_eq!(most["code"], "29");
    assert_eq!(most["name"], "TOPIC_AUTHORIZATION_FAILED");
    // The process is younger than a minute.
    assert_eq!(
        (&most["count"], &most["recent"]),
        (&2.0.into(), &2.0.into())
    );
    let topics = &status["topics"];
    assert_eq!(topics.as_array().map(Vec::len), Some(1), "{topics}");
    assert_eq!(topics[0]["topic"], "orders");
    assert_eq!(topics[0]["bytesFromClients"], 700.0);
    assert_eq!(topics[0]["bytesToClients"], 20.0);
    let users = status["users"].as_array().expect("a list");
    assert_eq!(users.len(), 2);
    assert!(
        users
            .iter()
            .all(|user| user["user"] == "app" && user["requests"] == 1.0)
    );
    let vclusters = &status["connections"]["vclusters"];
    assert_eq!(vclusters[0]["name"], "billing");
    assert_eq!(vclusters[0]["connections"], 3.0);
    assert_eq!(vclusters[1]["name"], HOSTILE);
    assert!(status["lag"].is_null(), "nobody knows of any consumer");
    server.handle.shutdown();
}

#[test]
fn the_summary_is_small_however_many_series_there_are() {
    let services = services();
    for i in 0..500 {
        let client = services
            .metrics
            .clients()
            .get(&format!("vcluster-{i}"), &format!("user-{i}"));
        client.connections.inc();
        for key in 0..10 {
            let api = Api {
                key,
                name: "Produce",
            };
            client.accepted(api);
        }
    }
    let catalogue = services.metrics.catalogue();
    for api in 0..40 {
        for code in 0..100 {
            let errors =
                catalogue
                    .errors
                    .with([&format!("API_{api}"), &code.to_string(), "broker"]);
            errors.inc();
        }
    }
    let server = serve(services);
    let answer = server.ask("GET", STATUS, &credentials(READER));
    assert!(answer.body.len() < 8000, "{}", answer.body.len());
    let status = answer.json();
    assert_eq!(status["traffic"]["requests"], 5000.0);
    assert_eq!(status["errors"]["broker"], 4000.0);
    let named = status["connections"]["vclusters"]
        .as_array()
        .expect("a list")
        .len();
    assert_eq!(status["connections"]["others"], (500 - named) as f64);
    // A second look within a second is the same one.
    let again = server.ask("GET", STATUS, &credentials(READER)).json();
    assert!(again["time"].as_f64() >= status["time"].as_f64());
    server.handle.shutdown();
}

#[test]
fn charts_have_a_history_without_anybody_looking() {
    let server = start();
    let mut points = server.ask("GET", HISTORY, &credentials(READER)).json();
    let limit = std::time::Instant::now() + std::time::Duration::from_secs(30);
    // One at the start, and one more each five seconds.
    while points.as_array().map_or(0, Vec::len) < 2 && std::time::Instant::now() < limit {
        std::thread::sleep(std::time::Duration::from_millis(100));
        points = server.ask("GET", HISTORY, &credentials(READER)).json();
    }
    let points = points.as_array().expect("a list");
    assert!(points.len() >= 2, "{points:?}");
    let last = &points[points.len() - 1];
    assert!(last["time"].as_f64() > points[0]["time"].as_f64());
    assert_eq!(last["bytes"][0], 1000.0);
    assert_eq!(last["kafka"][0], 1.0);
    assert!(last["lag"].is_null());
    server.handle.shutdown();
}

/// The page in a real browser, after its script has shown the first answer.
#[test]
fn a_browser_shows_the_page_and_finds_nothing_wrong() {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let is_there = |name: &&&str| Command::new(name).arg("--version").output().is_ok();
    let Some(browser) = names.iter().find(is_there) else {
        println!("no Chromium is installed: the status page was not looked at in a browser");
        return;
    };
    let server = start();
    server.make_ready();
    let folder = std::env::temp_dir().join(format!("sluicegate-status-{}", std::process::id()));
    let (user, password) = READER.split_once(':').expect("a pair");
    let output = Command::new(browser)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--enable-logging=stderr",
            "--virtual-time-budget=3000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", folder.display()))
        .arg(format!("http://{user}:{password}@{}/", server.address))
        .output()
        .expect("it runs");
    let _ = std::fs::remove_dir_all(&folder);
    let shown = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    for part in [
        "data-state=\"good\">Ready<",
        "<td>billing</td><td>3</td>",
        "<td data-name=\"error\">TOPIC_AUTHORIZATION_FAILED</td><td data-name=\"code\">29</td><td data-name=\"request\">PRODUCE</td>",
        "shutting down <strong class=\"up\">✓ no<",
        "<td data-name=\"user\">app</td><td data-name=\"virtual cluster\">billing</td>",
        "<dd id=\"lag-records\">no data</dd>",
        "upstream <strong class=\"up\">",
        "<dd id=\"brokers\">3</dd>",
        // Names are text, whatever they look like.
        "<td>&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;</td>",
    ] {
        assert!(shown.contains(part), "{part} in {shown}\n{log}");
    }
    assert!(!shown.contains("<img"), "{shown}");
    let complaints: Vec<_> = log
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    server.handle.shutdown();
}
