//! Alias topics, groups, what is not available yet, and what holds for all kinds.

mod common;

use std::sync::Arc;
use std::thread;

use common::{Answer, Running, Store, resource, serve, serve_with_store, services, upserted};
use serde_json::{Value, json};
use sluicegate_admin::{Api, Capabilities, NameOf, Services};

const UNAVAILABLE: &str = "Not available with this security configuration";

fn put(server: &Running, path: &str, kind: &str, metadata: Value, spec: Value) -> Answer {
    server.call("PUT", path, &resource(kind, &metadata, &spec))
}

fn alias(server: &Running, vcluster: Option<&str>, name: &str, target: &str) -> Answer {
    let metadata = json!({"name": name, "vCluster": vcluster});
    let spec = json!({"physicalName": target});
    put(server, "alias-topic", "AliasTopic", metadata, spec)
}

fn make_vcluster(server: &Running, name: &str) {
    let answer = put(
        server,
        "virtual-cluster",
        "VirtualCluster",
        json!({"name": name}),
        json!({}),
    );
    assert_eq!(upserted(&answer), "Created");
}

fn account(server: &Running, vcluster: &str, name: &str) -> Answer {
    let metadata = json!({"name": name, "vCluster": vcluster});
    let spec = json!({"type": "LOCAL"});
    put(
        server,
        "service-account",
        "GatewayServiceAccount",
        metadata,
        spec,
    )
}

#[test]
fn alias_topics() {
    let (server, store) = serve_with_store();
    for topic in ["shared.orders", "shared.v2", "billingtaken", "taken", "__x"] {
        store.kafka.add(NameOf::Topic, topic);
    }
    make_vcluster(&server, "billing");
    let answer = alias(&server, Some("billing"), "orders", "shared.orders");
    assert_eq!(
        answer.body,
        concat!(
            r#"{"resource":{"kind":"AliasTopic","apiVersion":"gateway/v2","metadata":{"name":"orders","vCluster":"billing"},"#,
            r#""spec":{"physicalName":"shared.orders"}},"upsertResult":"Created"}"#
        )
    );
    // A topic of that name that is made later does not stand against what is there.
    store.kafka.add(NameOf::Topic, "billingorders");
    let again = server.call("PUT", "alias-topic", &answer.json()["resource"].to_string());
    assert_eq!(upserted(&again), "NotChanged");
    let changed = alias(&server, Some("billing"), "orders", "shared.v2");
    assert_eq!(upserted(&changed), "Updated");
    assert_eq!(
        upserted(&alias(&server, None, "orders", "shared.v2")),
        "Created"
    );

    let missing = alias(&server, Some("billing"), "x", "gone");
    missing.error(404, "Physical topic not found");
    alias(&server, Some("nobody"), "x", "shared.v2").error(404, "Virtual cluster not found");
    alias(&server, Some("billing"), "taken", "shared.v2").error(409, "Already in use");
    alias(&server, None, "taken", "shared.v2").error(409, "Already in use");
    alias(&server, Some("billing"), "x", "_conduktor_gateway_acls").error(400, "Invalid request");
    alias(&server, Some("billing"), "x", "__x").error(400, "Invalid request");
    assert_eq!(
        upserted(&alias(&server, None, "internal", "__x")),
        "Created"
    );
    for name in ["", "a b", ".", &"x".repeat(250)] {
        alias(&server, None, name, "shared.v2").error(400, "Invalid request");
        alias(&server, None, "x", name).error(400, "Invalid request");
    }
    let on = |cluster: Value| {
        let spec = json!({"physicalName": "shared.v2", "physicalCluster": cluster});
        put(
            &server,
            "alias-topic",
            "AliasTopic",
            json!({"name": "main"}),
            spec,
        )
    };
    assert_eq!(upserted(&on(json!("main"))), "Created");
    assert_eq!(upserted(&on(Value::Null)), "NotChanged");
    on(json!("other")).error(409, "Incompatible topic");

    for (query, count) in [
        ("", 4),
        ("?vcluster=billing", 1),
        ("?name=orders", 2),
        ("?vcluster=passthrough&name=orders", 1),
    ] {
        let list = server
            .call("GET", &format!("alias-topic{query}"), "")
            .json();
        assert_eq!(list.as_array().map(Vec::len), Some(count), "{query}");
    }
    let shown = server
        .call("GET", "alias-topic?name=main&showDefaults=true", "")
        .json();
    assert_eq!(shown[0]["metadata"]["vCluster"], "passthrough");
    assert_eq!(shown[0]["spec"]["physicalCluster"], "main");
    server
        .call("GET", "alias-topic?vcluster=nobody", "")
        .error(404, "Virtual cluster not found");

    let gone = |body: &str| server.call("DELETE", "alias-topic", body);
    assert_eq!(gone(r#"{"name":"orders"}"#).code, 204);
    gone(r#"{"name":"orders"}"#).error(404, "Alias topic not found");
    assert_eq!(gone(r#"{"name":"orders","vCluster":"billing"}"#).code, 204);
    gone("{}").error(400, "Invalid request");
    server.handle.shutdown();
}

#[test]
fn groups() {
    let (server, _) = serve_with_store();
    make_vcluster(&server, "billing");
    account(&server, "billing", "invoicer");
    account(&server, "passthrough", "alice");
    let group = |spec: Value| put(&server, "group", "GatewayGroup", json!({"name": "g"}), spec);
    let answer = group(json!({}));
    assert_eq!(
        answer.json()["resource"]["spec"],
        json!({"members": [], "externalGroups": []})
    );
    let members = json!([{"name": "alice"}, {"vCluster": "billing", "name": "invoicer"}, {"vCluster": "passthrough", "name": "alice"}]);
    let answer = group(json!({"members": members, "externalGroups": ["y", "x", "y"]}));
    assert_eq!(upserted(&answer), "Updated");
    assert_eq!(
        answer.json()["resource"]["spec"],
        json!({"members": [{"vCluster": "billing", "name": "invoicer"}, {"name": "alice"}], "externalGroups": ["x", "y"]})
    );
    let read = server.call("GET", "group/g", "");
    assert_eq!(read.json(), answer.json()["resource"]);
    assert_eq!(
        upserted(&server.call("PUT", "group", &read.body)),
        "NotChanged"
    );
    let full = server.call("GET", "group/g?showDefaults=true", "").json();
    assert_eq!(full["spec"]["members"][1]["vCluster"], "passthrough");

    let delete = |body: &str| server.call("DELETE", "service-account", body);
    let msg = delete(r#"{"name":"invoicer","vCluster":"billing"}"#).error(409, "Still referenced");
    assert!(msg.contains("GatewayGroup 'g'"), "{msg}");
    group(json!({"members": [{"name": "nobody"}]})).error(404, "Service account not found");
    for spec in [
        json!({"members": [{}]}),
        json!({"members": ["a"]}),
        json!({"externalGroups": [""]}),
    ] {
        group(spec).error(400, "Invalid request");
    }
    put(
        &server,
        "group",
        "GatewayGroup",
        json!({"name": "a.b"}),
        json!({}),
    )
    .error(400, "Invalid request");
    assert_eq!(server.call("DELETE", "group/g", "").code, 204);
    server
        .call("DELETE", "group/g", "")
        .error(404, "Group not found");
    assert_eq!(
        delete(r#"{"name":"invoicer","vCluster":"billing"}"#).code,
        204
    );
    server.handle.shutdown();
}

#[test]
fn accounts_of_virtual_clusters() {
    let (server, _) = serve_with_store();
    account(&server, "billing", "alice").error(404, "Virtual cluster not found");
    make_vcluster(&server, "billing");
    for vcluster in ["billing", "passthrough"] {
        assert_eq!(upserted(&account(&server, vcluster, "alice")), "Created");
        let body = json!({"vCluster": vcluster, "username": "alice", "lifeTimeSeconds": 60});
        assert_eq!(server.call("POST", "token", &body.to_string()).code, 200);
    }
    assert_eq!(
        server
            .call("GET", "service-account?vcluster=nobody", "")
            .body,
        "[]"
    );
    let list = server
        .call("GET", "service-account?vcluster=billing", "")
        .json();
    assert_eq!(
        list[0]["metadata"],
        json!({"name": "alice", "vCluster": "billing"})
    );
    server.handle.shutdown();
}

#[test]
fn what_is_not_available_yet() {
    let (server, _) = serve_with_store();
    let spec = json!({"pattern": "x.*", "physicalTopics": {"delete": "shared"}});
    let rule = put(
        &server,
        "concentration-rule",
        "ConcentrationRule",
        json!({"name": "r"}),
        spec,
    );
    let msg = rule.error(400, "Invalid request");
    assert!(msg.contains("not available yet"), "{msg}");
    for path in ["concentration-rule", "concentrated-topic"] {
        assert_eq!(server.call("GET", path, "").body, "[]");
        assert_eq!(
            server
                .call("GET", &format!("{path}?vcluster=passthrough"), "")
                .body,
            "[]"
        );
        server
            .call("GET", &format!("{path}?vcluster=nobody"), "")
            .error(404, "Virtual cluster not found");
    }
    server
        .call("DELETE", "concentration-rule", r#"{"name":"r"}"#)
        .error(404, "Concentration rule not found");
    server
        .call("PUT", "concentrated-topic", "{}")
        .error(405, "Method not allowed");
    let plugins = server.call("GET", "plugin", "").json();
    assert_eq!(plugins[0]["pluginId"], common::PLUGIN);
    make_vcluster(&server, "v");
    let counters = server.call("GET", "analytics/lived", "").json();
    assert_eq!(counters["totalVirtualClusters"], 1);
    assert_eq!(counters["os"], std::env::consts::OS);
    let commit = counters["gatewayCommit"].as_str();
    assert!(commit.is_some_and(|commit| commit.len() == 40));
    assert!(counters.get("deploymentMethod").is_none(), "not told");
    server.handle.shutdown();
}

#[test]
fn availability() {
    let with = |capabilities| {
        let services = services();
        let server = serve(Services {
            api: Api {
                capabilities,
                ..services.api.clone()
            },
            ..services
        });
        let store = Store::default();
        store.kafka.add(NameOf::Topic, "t");
        server.handle.resources_ready(Arc::new(store));
        server
    };
    let group = |server: &Running| {
        put(
            server,
            "group",
            "GatewayGroup",
            json!({"name": "g"}),
            json!({}),
        )
    };
    let server = with(Capabilities {
        aliases: Err("REASON"),
        ..Capabilities::all()
    });
    let msg = alias(&server, None, "a", "t").error(400, UNAVAILABLE);
    assert!(msg.contains("REASON"), "{msg}");
    assert_eq!(server.call("GET", "alias-topic", "").body, "[]");
    assert_eq!(upserted(&group(&server)), "Created");
    server.handle.shutdown();
    let server = with(Capabilities {
        kept: Err("REASON"),
        ..Capabilities::all()
    });
    alias(&server, None, "a", "t").error(400, UNAVAILABLE);
    group(&server).error(400, UNAVAILABLE);
    server.handle.shutdown();
}

#[test]
fn old_paths_name_the_new_ones() {
    let (server, _) = serve_with_store();
    for (path, instead) in [
        ("/admin/vclusters/v1", "/gateway/v2/virtual-cluster"),
        (
            "/admin/vclusters/v1/vcluster/x/username/y",
            "/gateway/v2/token",
        ),
        (
            "/admin/interceptors/v1/vcluster/x/interceptor/y",
            "/gateway/v2/interceptor",
        ),
        ("/admin/plugins/v1", "/gateway/v2/plugin"),
        ("/admin/anything", "/gateway/v2"),
    ] {
        let msg = server.ask("GET", path, "").error(404, "No such path");
        assert!(msg.contains(instead), "{path}: {msg}");
    }
    server.handle.shutdown();
}

#[test]
fn all_kinds_ask_for_credentials() {
    let (server, _) = serve_with_store();
    let reader = common::credentials(common::READER);
    for path in [
        "virtual-cluster",
        "alias-topic",
        "concentration-rule",
        "service-account",
        "group",
        "interceptor",
    ] {
        let path = format!("/gateway/v2/{path}");
        server.ask("GET", &path, "").error(401, "Not authenticated");
        assert_eq!(server.ask("GET", &path, &reader).code, 200, "{path}");
        server
            .send("PUT", &format!("{path}?dryMode=true"), &reader, "{}")
            .error(403, "Not allowed");
        let body = common::credentials(common::ADMIN);
        server
            .send("PUT", &path, &body, "{")
            .error(400, "Invalid request");
    }
    for path in ["docs", "plugin", "concentrated-topic", "analytics/lived"] {
        let path = format!("/gateway/v2/{path}");
        server.ask("GET", &path, "").error(401, "Not authenticated");
        assert_eq!(server.ask("GET", &path, &reader).code, 200, "{path}");
    }
    server.handle.shutdown();
}

#[test]
fn writes_of_all_kinds_at_once() {
    let (server, _) = serve_with_store();
    thread::scope(|scope| {
        let server = &server;
        let writes: Vec<_> = (0..50)
            .map(|i| {
                scope.spawn(move || {
                    let name = format!("team-{i}-");
                    make_vcluster(server, &name);
                    assert_eq!(upserted(&account(server, &name, "alice")), "Created");
                    let metadata = json!({"name": format!("group-{i}")});
                    let spec = json!({"members": [{"name": "alice", "vCluster": name}]});
                    put(server, "group", "GatewayGroup", metadata, spec)
                })
            })
            .collect();
        for write in writes {
            assert_eq!(upserted(&write.join().expect("an answer")), "Created");
        }
    });
    for path in ["virtual-cluster", "service-account", "group"] {
        let list = server.call("GET", path, "").json();
        assert_eq!(list.as_array().map(Vec::len), Some(50), "{path}");
    }
    server.handle.shutdown();
}

#[test]
fn several_are_checked_as_if_those_before_were_stored() {
    let (server, store) = serve_with_store();
    store.kafka.add(NameOf::Topic, "shared");
    let of = |kind: &str, metadata: Value, spec: Value| json!({"kind": kind, "apiVersion": "gateway/v2", "metadata": metadata, "spec": spec});
    let account = |vcluster: &str| {
        let metadata = json!({"name": "alice", "vCluster": vcluster});
        of("GatewayServiceAccount", metadata, json!({"type": "LOCAL"}))
    };
    let alias = |topic: &str| {
        let metadata = json!({"name": "a", "vCluster": "new"});
        of("AliasTopic", metadata, json!({ "physicalName": topic }))
    };
    let member = json!({"name": "alice", "vCluster": "new"});
    let resources = [
        alias("shared"),
        of("VirtualCluster", json!({"name": "new"}), json!({})),
        alias("shared"),
        alias("missing"),
        account("new"),
        account("new"),
        account("other"),
        of(
            "gatewaygroup",
            json!({"name": "g"}),
            json!({"members": [member]}),
        ),
        of("ConcentrationRule", json!({"name": "r"}), json!({})),
        of("Topic", json!({"name": "t"}), json!({})),
        json!(5),
    ];
    let body = json!({ "resources": resources }).to_string();
    for _ in 0..2 {
        let answer = server.call("POST", "dry-run", &body);
        assert_eq!(answer.code, 200, "{answer:?}");
        let answer = answer.json();
        let results: Vec<String> = answer["results"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|result| match result["upsertResult"].as_str() {
                Some(result) => result.to_owned(),
                None => format!("{} {}", result["status"], result["error"]["title"]),
            })
            .collect();
        let missing = "404 \"Virtual cluster not found\"";
        let invalid = "400 \"Invalid request\"";
        assert_eq!(
            results,
            [
                missing,
                "Created",
                "Created",
                "404 \"Physical topic not found\"",
                "Created",
                "NotChanged",
                missing,
                "Created",
                invalid,
                invalid,
                invalid,
            ],
            "{answer}"
        );
        assert_eq!(
            answer["results"][7]["resource"]["spec"]["members"][0],
            member
        );
    }
    assert_eq!(server.call("GET", "virtual-cluster", "").body, "[]");
    assert_eq!(server.call("GET", "group", "").body, "[]");

    for body in ["", "[]", "{}", r#"{"resources":{}}"#] {
        let answer = server.call("POST", "dry-run", body);
        answer.error(400, "Invalid request");
    }
    let many = json!({"resources": vec![0; 1001]}).to_string();
    server
        .call("POST", "dry-run", &many)
        .error(400, "Invalid request");
    let reader = common::credentials(common::READER);
    let answer = server.send("POST", "/gateway/v2/dry-run", &reader, &body);
    answer.error(403, "Not allowed");
    server.handle.shutdown();
}
