//! Service accounts and their tokens, seen by plain TCP clients.

mod common;

use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{
    ADMIN, Answer, Running, SIGNING_KEY, credentials, serve, serve_with_store, services, upserted,
};
use serde_json::{Value, json};
use sluicegate_admin::{Api, Capabilities, Services};
use state::StoreError;

fn account(name: &str, spec: &Value) -> String {
    json!({"kind": "GatewayServiceAccount", "apiVersion": "gateway/v2", "metadata": {"name": name}, "spec": spec}).to_string()
}

fn local(name: &str) -> String {
    account(name, &json!({"type": "LOCAL"}))
}

fn external(name: &str, external_name: &str) -> String {
    account(
        name,
        &json!({"type": "EXTERNAL", "externalNames": [external_name]}),
    )
}

fn put(server: &Running, body: &str) -> Answer {
    server.call("PUT", "service-account", body)
}

#[test]
fn created_changed_listed_deleted() {
    let (server, _) = serve_with_store();
    let answer = put(&server, &local("alice"));
    assert_eq!(
        answer.body,
        concat!(
            r#"{"resource":{"kind":"GatewayServiceAccount","apiVersion":"gateway/v2","metadata":{"name":"alice"},"#,
            r#""spec":{"type":"LOCAL"}},"upsertResult":"Created"}"#
        )
    );
    assert_eq!(upserted(&put(&server, &local("alice"))), "NotChanged");
    assert_eq!(
        upserted(&put(&server, &external("alice", "CN=alice"))),
        "Updated"
    );
    assert_eq!(
        upserted(&put(&server, &external("alice", "CN=other"))),
        "Updated"
    );
    assert_eq!(
        upserted(&put(&server, &external("alice", "CN=other"))),
        "NotChanged"
    );
    let list = server.call("GET", "service-account", "");
    assert_eq!(
        list.body,
        concat!(
            r#"[{"kind":"GatewayServiceAccount","apiVersion":"gateway/v2","metadata":{"name":"alice"},"#,
            r#""spec":{"type":"EXTERNAL","externalNames":["CN=other"]}}]"#
        )
    );
    // What was read may be sent back.
    let read = list.json()[0].to_string();
    assert_eq!(upserted(&put(&server, &read)), "NotChanged");
    assert_eq!(upserted(&put(&server, &local("alice"))), "Updated");

    let gone = server.call(
        "DELETE",
        "service-account",
        r#"{"name":"alice","vCluster":"passthrough"}"#,
    );
    assert_eq!((gone.code, gone.body.as_str()), (204, ""));
    let msg = server
        .call("DELETE", "service-account", r#"{"name":"alice"}"#)
        .error(404, "Service account not found");
    assert!(
        msg.contains("'alice'") && msg.contains("'passthrough'"),
        "{msg}"
    );
    assert_eq!(server.call("GET", "service-account", "").body, "[]");
    server.handle.shutdown();
}

#[test]
fn bodies_of_any_media_type() {
    let (server, _) = serve_with_store();
    let admin = credentials(ADMIN);
    for (i, media) in [
        "",
        "content-type: application/json\r\n",
        "content-type: text/plain\r\n",
        "content-type: x\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        let answer = server.send(
            "PUT",
            "/gateway/v2/service-account",
            &format!("{admin}{media}"),
            &local(&format!("account-{i}")),
        );
        assert_eq!(upserted(&answer), "Created");
    }
    server.handle.shutdown();
}

#[test]
fn spellings() {
    let (server, _) = serve_with_store();
    for (i, kind) in ["LOCAL", "local", "Local"].into_iter().enumerate() {
        for names in [Value::Null, json!([]), json!(["ignored"])] {
            let answer = put(
                &server,
                &account(
                    &format!("acc{i}"),
                    &json!({"type": kind, "externalNames": names}),
                ),
            );
            assert_eq!(
                answer.json()["resource"]["spec"],
                json!({"type": "LOCAL"}),
                "{kind} {names}"
            );
        }
    }
    let body = r#"{"kind":"gatewayserviceaccount","apiVersion":"v2","unknown":1,"spec":{"type":"External","externalNames":["x"],"u":{}},
        "metadata":{"labels":{"a":"b"},"name":"acc3","vCluster":null}}"#;
    let answer = put(&server, body);
    assert_eq!(
        answer.json()["resource"],
        json!({"kind": "GatewayServiceAccount", "apiVersion": "gateway/v2", "metadata": {"name": "acc3"},
            "spec": {"type": "EXTERNAL", "externalNames": ["x"]}})
    );
    let empty = body.replace("null", "\"\"");
    assert_eq!(upserted(&put(&server, &empty)), "NotChanged");
    server.handle.shutdown();
}

#[test]
fn invalid_bodies() {
    let (server, store) = serve_with_store();
    for body in ["", " \n", "{", "[]", "null", "\"x\"", "{}x", "\u{0}"] {
        put(&server, body).error(400, "Invalid request");
        server
            .call("DELETE", "service-account", body)
            .error(400, "Invalid request");
        server
            .call("POST", "token", body)
            .error(400, "Invalid request");
    }
    let deep = "[".repeat(100_000);
    put(&server, &deep).error(400, "Invalid request");
    let msg = put(&server, "{}").error(400, "Invalid request");
    for member in ["'kind'", "'apiVersion'", "'metadata'", "'spec'"] {
        assert!(msg.contains(member), "{msg}");
    }
    let all_wrong = r#"{"kind":"VirtualCluster","apiVersion":"v1","metadata":{"name":"a b","vCluster":5},"spec":{"type":"OTHER"}}"#;
    let msg = put(&server, all_wrong).error(400, "Invalid request");
    assert_eq!(msg.lines().count(), 5, "{msg}");
    for name in ["", "ab", "a.bc", "äää", &"a".repeat(65), "abc\n"] {
        let msg = put(&server, &local(name)).error(400, "Invalid request");
        assert!(msg.contains("metadata.name"), "{msg}");
    }
    for spec in [
        json!({}),
        json!({"type": null}),
        json!({"type": 1}),
        json!({"type": "EXTERNAL"}),
        json!({"type": "EXTERNAL", "externalNames": null}),
        json!({"type": "EXTERNAL", "externalNames": []}),
        json!({"type": "EXTERNAL", "externalNames": [""]}),
        json!({"type": "EXTERNAL", "externalNames": ["a", "b"]}),
        json!({"type": "EXTERNAL", "externalNames": "a"}),
        json!({"type": "EXTERNAL", "externalNames": [1]}),
        json!([]),
    ] {
        put(&server, &account("alice", &spec)).error(400, "Invalid request");
    }
    server
        .call("PUT", "service-account?dryMode=maybe", &local("alice"))
        .error(400, "Invalid request");
    for body in [
        r#"{"vCluster":"passthrough"}"#,
        r#"{"name":null}"#,
        r#"{"name":1}"#,
    ] {
        server
            .call("DELETE", "service-account", body)
            .error(400, "Invalid request");
    }
    assert_eq!(*store.changes.lock().expect("lock"), 0);
    server.handle.shutdown();
}

#[test]
fn references_and_contradictions() {
    let (server, _) = serve_with_store();
    let body = local("alice").replace(
        "\"name\":\"alice\"",
        "\"name\":\"alice\",\"vCluster\":\"billing\"",
    );
    let answer = put(&server, &body);
    let msg = answer.error(404, "Virtual cluster not found");
    assert!(msg.contains("'billing'"), "{msg}");
    assert!(
        answer.json()["cause"]
            .as_str()
            .is_some_and(|cause| cause.contains("alice"))
    );

    assert_eq!(
        upserted(&put(&server, &external("alice", "CN=me"))),
        "Created"
    );
    let msg = put(&server, &external("bobby", "CN=me")).error(409, "Already in use");
    assert!(msg.contains("'alice'") && msg.contains("CN=me"), "{msg}");
    assert_eq!(
        upserted(&put(&server, &external("bobby", "CN=you"))),
        "Created"
    );
    put(&server, &external("alice", "CN=you")).error(409, "Already in use");
    assert_eq!(
        upserted(&put(&server, &external("alice", "CN=us"))),
        "Updated"
    );
    assert_eq!(
        upserted(&put(&server, &external("bobby", "CN=me"))),
        "Updated"
    );
    server.handle.shutdown();
}

#[test]
fn dry_mode_checks_everything_and_stores_nothing() {
    let (server, store) = serve_with_store();
    let dry = |body: &str| server.call("PUT", "service-account?dryMode=TRUE", body);
    assert_eq!(upserted(&dry(&local("alice"))), "Created");
    assert_eq!(upserted(&dry(&local("alice"))), "Created");
    assert_eq!(server.call("GET", "service-account", "").body, "[]");
    put(&server, &external("alice", "CN=me"));
    assert_eq!(upserted(&dry(&local("alice"))), "Updated");
    assert_eq!(upserted(&dry(&external("alice", "CN=me"))), "NotChanged");
    dry(&external("bobby", "CN=me")).error(409, "Already in use");
    dry("{}").error(400, "Invalid request");
    assert_eq!(*store.changes.lock().expect("lock"), 1);
    let real = server.call("PUT", "service-account?dryMode=False", &local("alice"));
    assert_eq!(upserted(&real), "Updated");
    assert_eq!(*store.changes.lock().expect("lock"), 2);
    server.handle.shutdown();
}

#[test]
fn filters_and_defaults() {
    let (server, _) = serve_with_store();
    for body in [local("zoe"), external("adam", "CN=adam"), local("mia")] {
        put(&server, &body);
    }
    for (query, expected) in [
        ("", vec!["adam", "mia", "zoe"]),
        ("?name=", vec!["adam", "mia", "zoe"]),
        ("?unknown=x&name=mia", vec!["mia"]),
        ("?name=Mia", vec![]),
        ("?type=local", vec!["mia", "zoe"]),
        ("?type=External&vcluster=passthrough", vec!["adam"]),
        ("?type=LOCAL&name=adam", vec![]),
        ("?vcluster=billing", vec![]),
        ("?name=%6dia", vec!["mia"]),
    ] {
        let list = server
            .call("GET", &format!("service-account{query}"), "")
            .json();
        let names: Vec<_> = list
            .as_array()
            .expect("a list")
            .iter()
            .map(|a| a["metadata"]["name"].clone())
            .collect();
        assert_eq!(names, expected, "{query}");
    }
    server
        .call("GET", "service-account?type=other", "")
        .error(400, "Invalid request");
    server
        .call("GET", "service-account?showDefaults=1", "")
        .error(400, "Invalid request");
    let shown = server
        .call("GET", "service-account?name=mia&showDefaults=True", "")
        .json();
    assert_eq!(
        shown[0]["metadata"],
        json!({"name": "mia", "vCluster": "passthrough"})
    );
    server.handle.shutdown();
}

#[test]
fn availability() {
    let with = |local, external| {
        let services = services();
        let server = serve(Services {
            api: Api {
                capabilities: Capabilities {
                    local,
                    external,
                    ..Capabilities::all()
                },
                ..services.api.clone()
            },
            ..services
        });
        server
            .handle
            .resources_ready(std::sync::Arc::new(common::Store::default()));
        server
    };
    let server = with(Err("REASON-L"), Ok(()));
    let title = "Not available with this security configuration";
    let msg = put(&server, &local("alice")).error(400, title);
    assert!(msg.contains("REASON-L"), "{msg}");
    put(&server, "{}").error(400, "Invalid request");
    assert_eq!(upserted(&put(&server, &external("alice", "x"))), "Created");
    let token = server.call(
        "POST",
        "token",
        r#"{"username":"alice","lifeTimeSeconds":1}"#,
    );
    token.error(409, title);
    server.handle.shutdown();
    let server = with(Ok(()), Err("REASON-E"));
    let msg = put(&server, &external("alice", "x")).error(400, title);
    assert!(msg.contains("REASON-E"), "{msg}");
    assert_eq!(upserted(&put(&server, &local("alice"))), "Created");
    server.handle.shutdown();
}

#[test]
fn what_the_store_refuses() {
    let (server, store) = serve_with_store();
    for (failure, code, title) in [
        (
            StoreError::Unavailable {
                reason: "Kafka is away".into(),
            },
            503,
            "Not ready",
        ),
        (
            StoreError::Newer { key: "[]".into() },
            409,
            "Already in use",
        ),
        (
            StoreError::TooLarge { size: 2, limit: 1 },
            400,
            "Invalid request",
        ),
    ] {
        *store.failure.lock().expect("lock") = Some(failure.clone());
        let msg = put(&server, &local("alice")).error(code, title);
        assert!(msg.contains(&failure.to_string()), "{msg}");
    }
    *store.failure.lock().expect("lock") = None;
    assert_eq!(server.call("GET", "service-account", "").body, "[]");
    assert_eq!(upserted(&put(&server, &local("alice"))), "Created");
    server.handle.shutdown();
}

#[test]
fn parallel_writes_all_land() {
    let (server, _) = serve_with_store();
    thread::scope(|scope| {
        let server = &server;
        let writes: Vec<_> = (0..50)
            .map(|i| scope.spawn(move || upserted(&put(server, &local(&format!("account-{i}"))))))
            .collect();
        for write in writes {
            assert_eq!(write.join().expect("an answer"), "Created");
        }
        let same: Vec<_> = (0..20)
            .map(|i| {
                scope.spawn(move || put(server, &external(&format!("external-{i}"), "CN=one")).code)
            })
            .collect();
        let codes: Vec<_> = same
            .into_iter()
            .map(|write| write.join().expect("an answer"))
            .collect();
        assert_eq!(
            codes.iter().filter(|code| **code == 200).count(),
            1,
            "{codes:?}"
        );
        assert_eq!(
            codes.iter().filter(|code| **code == 409).count(),
            19,
            "{codes:?}"
        );
    });
    let list = server.call("GET", "service-account", "").json();
    assert_eq!(list.as_array().map(Vec::len), Some(51));
    server.handle.shutdown();
}

#[test]
fn tokens() {
    let (server, _) = serve_with_store();
    put(&server, &local("alice"));
    put(&server, &external("bobby", "CN=bobby"));
    // The Terraform provider sends more members than are asked for.
    for path in ["token", "tokens"] {
        let answer = server.call(
            "POST",
            path,
            r#"{"username":"alice","vCluster":"passthrough","lifeTimeSeconds":3600,"token":""}"#,
        );
        assert_eq!(answer.code, 200, "{answer:?}");
        assert!(
            answer.head.contains("cache-control: no-store"),
            "{}",
            answer.head
        );
        let token = answer.json()["token"].as_str().expect("a token").to_owned();
        let (signed, signature) = token.rsplit_once('.').expect("a JWT");
        let (header, claims) = signed.split_once('.').expect("a JWT");
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64url");
        assert_eq!(decoded(header), br#"{"alg":"HS256"}"#);
        let claims: Value = serde_json::from_slice(&decoded(claims)).expect("JSON");
        assert_eq!(
            (claims["username"].as_str(), claims["vcluster"].as_str()),
            (Some("alice"), Some("passthrough"))
        );
        assert!(claims["exp"].is_u64());
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &SIGNING_KEY);
        aws_lc_rs::hmac::verify(&key, signed.as_bytes(), &decoded(signature))
            .expect("our signature");
    }
    let ask = |body: &str| server.call("POST", "token", body);
    assert_eq!(
        ask(r#"{"username":"alice","lifeTimeSeconds":2147483647}"#).code,
        200
    );
    assert_eq!(
        ask(r#"{"username":"alice","lifeTimeSeconds":1,"vCluster":""}"#).code,
        200
    );
    for life in ["0", "-1", "2147483648", "1.5", "\"60\"", "null", "1e400"] {
        ask(&format!(
            r#"{{"username":"alice","lifeTimeSeconds":{life}}}"#
        ))
        .error(400, "Invalid request");
    }
    ask(r#"{"lifeTimeSeconds":60}"#).error(400, "Invalid request");
    ask(r#"{"username":"","lifeTimeSeconds":60}"#).error(400, "Invalid request");
    ask(r#"{"username":"carol","lifeTimeSeconds":60}"#).error(404, "Service account not found");
    ask(r#"{"username":"alice","lifeTimeSeconds":60,"vCluster":"billing"}"#)
        .error(404, "Virtual cluster not found");
    ask(r#"{"username":"bobby","lifeTimeSeconds":60}"#).error(409, "Not a local account");
    server.handle.shutdown();
}

#[test]
fn no_token_without_a_key() {
    let services = services();
    let server = serve(Services {
        api: Api {
            tokens: None,
            ..services.api.clone()
        },
        ..services
    });
    server
        .handle
        .resources_ready(std::sync::Arc::new(common::Store::default()));
    put(&server, &local("alice"));
    let msg = server
        .call(
            "POST",
            "token",
            r#"{"username":"alice","lifeTimeSeconds":60}"#,
        )
        .error(409, "Not available with this security configuration");
    assert!(msg.contains("GATEWAY_USER_POOL_SECRET_KEY"), "{msg}");
    server.handle.shutdown();
}
