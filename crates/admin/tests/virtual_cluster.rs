//! Virtual clusters, seen by plain TCP clients.

mod common;

use std::sync::Arc;

use common::{Answer, Running, Store, resource, serve, serve_with_store, services, upserted};
use serde_json::{Value, json};
use sluicegate_admin::{Api, Capabilities, NameOf, PhysicalName, Resources as _, Services};

fn vcluster(name: &str, spec: &Value) -> String {
    resource("VirtualCluster", &json!({"name": name}), spec)
}

fn put(server: &Running, name: &str, spec: &Value) -> Answer {
    server.call("PUT", "virtual-cluster", &vcluster(name, spec))
}

fn acl(topic: &str, principal: &str) -> Value {
    json!({"resourcePattern": {"resourceType": "TOPIC", "name": topic, "patternType": "PREFIXED"},
        "principal": principal, "host": "*", "operation": "WRITE", "permissionType": "ALLOW"})
}

const CREATED: &str = "Created";
const UPDATED: &str = "Updated";
const NOT_CHANGED: &str = "NotChanged";

#[test]
fn created_read_changed_deleted() {
    let (server, _) = serve_with_store();
    let answer = put(&server, "billing", &json!({}));
    assert_eq!(
        answer.body,
        concat!(
            r#"{"resource":{"kind":"VirtualCluster","apiVersion":"gateway/v2","metadata":{"name":"billing"},"#,
            r#""spec":{"aclEnabled":false,"type":"Standard","bootstrapServers":"gw.example.test:6969","#,
            r#""clientProperties":{"PLAIN":{"security.protocol":"SASL_PLAINTEXT"}}}},"upsertResult":"Created"}"#
        )
    );
    let one = server.call("GET", "virtual-cluster/billing", "");
    assert_eq!(one.json(), answer.json()["resource"]);
    assert_eq!(
        server.call("GET", "virtual-cluster", "").json(),
        json!([one.json()])
    );
    // What was read may be sent back, with what the gateway has added.
    let again = server.call("PUT", "virtual-cluster", &one.body);
    assert_eq!(upserted(&again), NOT_CHANGED);
    let changed = put(
        &server,
        "billing",
        &json!({"aclEnabled": "true", "superUsers": ["b", "a", "b"], "prefix": "old"}),
    );
    assert_eq!(upserted(&changed), UPDATED);
    assert_eq!(
        changed.json()["resource"]["spec"]["superUsers"],
        json!(["a", "b"])
    );
    assert!(changed.json()["resource"]["spec"].get("aclMode").is_none());
    let same = json!({"aclEnabled": true, "superUsers": ["a", "b"], "aclMode": null, "acls": [], "type": "standard"});
    assert_eq!(upserted(&put(&server, "billing", &same)), NOT_CHANGED);

    let gone = server.call("DELETE", "virtual-cluster/billing", "");
    assert_eq!((gone.code, gone.body.as_str()), (204, ""));
    for method in ["GET", "DELETE"] {
        server
            .call(method, "virtual-cluster/billing", "")
            .error(404, "Virtual cluster not found");
    }
    server.handle.shutdown();
}

#[test]
fn reserved_names() {
    let (server, store) = serve_with_store();
    for name in [
        "passthrough",
        "_x",
        "__consumer",
        ".x",
        "conduktor",
        "conduktor_gateway",
    ] {
        put(&server, name, &json!({})).error(400, "Reserved name");
    }
    for name in ["", "a b", "a/b", "ä", ".", "..", &"x".repeat(250)] {
        put(&server, name, &json!({})).error(400, "Invalid request");
    }
    server
        .call("DELETE", "virtual-cluster/passthrough", "")
        .error(400, "Reserved name");
    server
        .call("GET", "virtual-cluster/passthrough", "")
        .error(404, "Virtual cluster not found");
    assert_eq!(server.call("GET", "virtual-cluster", "").body, "[]");
    assert_eq!(*store.changes.lock().expect("lock"), 0);
    server.handle.shutdown();
}

#[test]
fn modes() {
    let (server, _) = serve_with_store();
    let acls = json!([acl("a", "User:x")]);
    for (spec, part) in [
        (json!({"acls": acls}), "spec.acls"),
        (json!({"aclMode": "KAFKA_API", "acls": acls}), "spec.acls"),
        (
            json!({"aclEnabled": true, "aclMode": "KAFKA_API"}),
            "spec.superUsers",
        ),
        (
            json!({"aclMode": "REST_API", "superUsers": ["x"]}),
            "spec.superUsers",
        ),
        (
            json!({"aclEnabled": true, "aclMode": "REST_API"}),
            "spec.acls",
        ),
        (
            json!({"aclEnabled": true, "aclMode": "DISABLED"}),
            "spec.aclMode",
        ),
        (json!({"aclMode": "OTHER"}), "spec.aclMode"),
        (json!({"aclEnabled": "maybe"}), "spec.aclEnabled"),
        (json!({"type": "Other"}), "spec.type"),
        (json!({"superUsers": [1]}), "spec.superUsers"),
        (
            json!({"aclEnabled": true, "superUsers": ["x"], "type": "partner"}),
            "not available until",
        ),
    ] {
        let msg = put(&server, "v", &spec).error(400, "Invalid request");
        assert!(msg.contains(part), "{spec}: {msg}");
    }
    for spec in [
        json!({"aclEnabled": true}),
        json!({"aclEnabled": true, "aclMode": "KAFKA_API", "superUsers": ["x"]}),
        json!({"aclMode": "KAFKA_API"}),
        json!({"aclMode": "ALLOW_ALL", "aclEnabled": "false"}),
    ] {
        put(&server, "kafka", &spec);
        assert_ne!(upserted(&put(&server, "kafka", &spec)), CREATED, "{spec}");
    }
    assert_eq!(
        upserted(&put(&server, "rest", &json!({"aclMode": "REST_API"}))),
        CREATED
    );
    for (name, mode) in [("kafka", "REST_API"), ("rest", "KAFKA_API")] {
        put(&server, name, &json!({"aclMode": mode})).error(409, "Immutable field");
    }
    put(&server, "rest", &json!({})).error(409, "Immutable field");
    server.handle.shutdown();
}

#[test]
fn declared_bindings() {
    let (server, store) = serve_with_store();
    let spec = |acls: &Value| json!({"aclEnabled": true, "aclMode": "REST_API", "acls": acls});
    let (one, two) = (acl("a", "User:x"), acl("b", "y"));
    let answer = put(&server, "v", &spec(&json!([two, one, two])));
    assert_eq!(upserted(&answer), CREATED);
    assert_eq!(answer.json()["resource"]["spec"]["acls"], json!([two, one]));
    let turned = put(&server, "v", &spec(&json!([one, two])));
    assert_eq!(upserted(&turned), NOT_CHANGED);
    assert_eq!(turned.json()["resource"]["spec"]["acls"], json!([two, one]));
    let bindings = store.snapshot().virtual_cluster("v").expect("v").bindings();
    assert!(bindings.iter().any(|b| b.principal == "User:y"));
    assert_eq!(
        upserted(&put(
            &server,
            "v",
            &json!({"aclEnabled": true, "aclMode": "REST_API", "aclBindings": [one]})
        )),
        UPDATED
    );
    let empty = put(&server, "v", &spec(&json!([])));
    assert_eq!(empty.json()["resource"]["spec"]["acls"], json!([]));

    for (member, value) in [
        ("/resourcePattern/resourceType", json!("DELEGATION_TOKEN")),
        ("/resourcePattern/resourceType", json!("ANY")),
        ("/resourcePattern/resourceType", json!("topic")),
        ("/resourcePattern/resourceType", json!("CLUSTER")),
        ("/resourcePattern/patternType", json!("MATCH")),
        ("/resourcePattern/name", json!("")),
        ("/principal", json!("User:")),
        ("/principal", Value::Null),
        ("/host", json!("somewhere")),
        ("/operation", json!("CLUSTER_ACTION")),
        ("/operation", json!("IDEMPOTENT_WRITE")),
        ("/permissionType", json!("ANY")),
    ] {
        let mut wrong = one.clone();
        *wrong.pointer_mut(member).expect("a member") = value;
        let msg = put(&server, "v", &spec(&json!([two, wrong]))).error(400, "Invalid request");
        assert!(msg.contains("spec.acls[1]."), "{member}: {msg}");
    }
    server.handle.shutdown();
}

#[test]
fn what_is_in_the_way_of_a_deletion() {
    let (server, store) = serve_with_store();
    store.kafka.add(NameOf::Topic, "shared");
    put(&server, "v", &json!({}));
    let in_v =
        |kind: &str, spec: Value| resource(kind, &json!({"name": "one", "vCluster": "v"}), &spec);
    let interceptor = resource(
        "Interceptor",
        &json!({"name": "one", "scope": {"vCluster": "v"}}),
        &json!({"pluginClass": common::PLUGIN, "priority": 1, "config": {}}),
    );
    for (path, body, delete) in [
        (
            "alias-topic",
            in_v("AliasTopic", json!({"physicalName": "shared"})),
            ("alias-topic", r#"{"name":"one","vCluster":"v"}"#),
        ),
        (
            "service-account",
            in_v("GatewayServiceAccount", json!({"type": "LOCAL"})),
            ("service-account", r#"{"name":"one","vCluster":"v"}"#),
        ),
        (
            "interceptor",
            interceptor,
            ("interceptor/one", r#"{"vCluster":"v"}"#),
        ),
    ] {
        assert_eq!(
            upserted(&server.call("PUT", path, &body)),
            CREATED,
            "{path}"
        );
        let msg = server
            .call("DELETE", "virtual-cluster/v", "")
            .error(409, "Still referenced");
        assert!(msg.contains("'one'"), "{msg}");
        assert_eq!(server.call("DELETE", delete.0, delete.1).code, 204);
    }
    assert_eq!(server.call("DELETE", "virtual-cluster/v", "").code, 204);
    server.handle.shutdown();
}

#[test]
fn overlapping_names() {
    let (server, store) = serve_with_store();
    let make = |name: &str| put(&server, name, &json!({}));
    assert_eq!(upserted(&make("vc1")), CREATED);
    assert_eq!(upserted(&make("vc10")), CREATED);
    // Names that nobody owned become its own.
    store.kafka.add(NameOf::Topic, "vc2-legacy");
    assert_eq!(upserted(&make("vc2")), CREATED);
    for (of, name) in [
        (NameOf::Topic, "vc1A.orders"),
        (NameOf::Group, "vc1Bg"),
        (NameOf::TransactionalId, "vc1Ct"),
    ] {
        store.kafka.add(of, name);
    }
    for name in ["vc1A", "vc1A.", "vc1B", "vc1C"] {
        let msg = make(name).error(409, "Already in use");
        assert!(msg.contains("vc1") && msg.contains('\''), "{msg}");
    }
    let dry = server.call(
        "PUT",
        "virtual-cluster?dryMode=true",
        &vcluster("vc1A", &json!({})),
    );
    dry.error(409, "Already in use");
    assert_eq!(upserted(&make("vc1D")), CREATED);
    make("vc1.D");
    let msg = make("vc1_D").error(409, "Already in use");
    assert!(msg.contains("'vc1.D'"), "{msg}");
    server.handle.shutdown();
}

#[test]
fn a_deleted_one_leaves_its_name_behind() {
    let (server, store) = serve_with_store();
    let make = |name: &str| put(&server, name, &json!({}));
    make("team");
    make("teamA");
    store.kafka.add(NameOf::Topic, "teamAorders");
    assert_eq!(server.call("DELETE", "virtual-cluster/teamA", "").code, 204);
    assert_eq!(store.snapshot().retired.len(), 1);
    make("teamAo").error(409, "Already in use");
    assert_eq!(upserted(&make("teamA")), CREATED);
    assert_eq!(store.snapshot().retired.len(), 0);
    server.handle.shutdown();
}

#[test]
fn nothing_changes_hands_that_is_made_meanwhile() {
    let (server, store) = serve_with_store();
    let make = |name: &str| put(&server, name, &json!({}));
    make("team");
    let later = |name: &str| {
        let (of, name) = (NameOf::Topic, name.to_owned());
        *store.kafka.1.lock().expect("lock") = Some(PhysicalName { of, name });
    };
    later("teamAorders");
    let msg = make("teamA").error(409, "Already in use");
    assert!(msg.contains("belongs to team"), "{msg}");
    let there = |name: &str| store.snapshot().virtual_cluster(name).is_some();
    assert!(!there("teamA"));
    assert_eq!(store.snapshot().retired.len(), 0, "the reservation is over");
    later("teamC");
    assert_eq!(upserted(&make("teamB")), CREATED);
    assert_eq!(store.snapshot().retired.len(), 0);
    // What a gateway that stopped in between has left is in nobody's way.
    let mut changes = state::Changes::default();
    changes.put(&state::RetiredPrefix {
        name: "teamC".to_owned(),
        reserved: true,
    });
    store.apply(&changes);
    make("teamC").error(409, "Already in use");
    assert_eq!(store.snapshot().retired.len(), 0);
    make("teamD");
    // A name that begins like nobody's needs no reservation.
    let before = *store.changes.lock().expect("lock");
    assert_eq!(upserted(&make("other")), CREATED);
    assert_eq!(*store.changes.lock().expect("lock"), before + 2);
    server.handle.shutdown();
}

#[test]
fn strict_names() {
    let services = services();
    let server = serve(Services {
        api: Api {
            strict_vclusters: true,
            ..services.api.clone()
        },
        ..services
    });
    server.handle.resources_ready(Arc::new(Store::default()));
    assert_eq!(upserted(&put(&server, "team", &json!({}))), CREATED);
    assert_eq!(upserted(&put(&server, "other", &json!({}))), CREATED);
    for name in ["teamA", "te"] {
        put(&server, name, &json!({})).error(409, "Already in use");
    }
    server.handle.shutdown();
}

#[test]
fn not_without_authentication() {
    let services = services();
    let server = serve(Services {
        api: Api {
            capabilities: Capabilities {
                vclusters: Err("REASON"),
                ..Capabilities::all()
            },
            ..services.api.clone()
        },
        ..services
    });
    server.handle.resources_ready(Arc::new(Store::default()));
    let body = vcluster("v", &json!({}));
    for (method, path) in [
        ("GET", "virtual-cluster"),
        ("GET", "virtual-cluster/v"),
        ("PUT", "virtual-cluster"),
        ("DELETE", "virtual-cluster/v"),
    ] {
        let answer = server.call(method, path, if method == "PUT" { &body } else { "" });
        let msg = answer.error(400, "Not available with this security configuration");
        assert!(msg.contains("REASON"), "{msg}");
    }
    server.handle.shutdown();
}

#[test]
fn kafka_that_cannot_be_asked() {
    let (server, store) = serve_with_store();
    put(&server, "v", &json!({}));
    *store.kafka.0.lock().expect("lock") = None;
    // What does not change needs no answer.
    assert_eq!(upserted(&put(&server, "v", &json!({}))), NOT_CHANGED);
    put(&server, "w", &json!({})).error(503, "Not ready");
    assert_eq!(
        server
            .call("GET", "virtual-cluster", "")
            .json()
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    server.handle.shutdown();
}
