//! Interceptors, seen by plain TCP clients.

mod common;

use std::thread;

use common::{Answer, PLUGIN, Running, resource, serve_with_store, upserted};
use serde_json::{Value, json};

fn body(name: &str, scope: Option<Value>, config: &str) -> String {
    let scope = scope.map_or(String::new(), |scope| format!(r#","scope":{scope}"#));
    format!(
        r#"{{"kind":"Interceptor","apiVersion":"gateway/v2","metadata":{{"name":"{name}"{scope}}},
        "spec":{{"pluginClass":"{PLUGIN}","priority":10,"config":{config}}}}}"#
    )
}

fn put(server: &Running, name: &str, scope: Option<Value>) -> Answer {
    server.call("PUT", "interceptor", &body(name, scope, "{}"))
}

/// A virtual cluster `v`, and groups `g` and `h`.
fn prepared() -> Running {
    let (server, _) = serve_with_store();
    let named = |kind: &str, name: &str| resource(kind, &json!({ "name": name }), &json!({}));
    let vcluster = server.call("PUT", "virtual-cluster", &named("VirtualCluster", "v"));
    assert_eq!(upserted(&vcluster), "Created");
    for group in ["g", "h"] {
        let answer = server.call("PUT", "group", &named("GatewayGroup", group));
        assert_eq!(upserted(&answer), "Created");
    }
    server
}

#[test]
fn scopes() {
    let server = prepared();
    let all_null = json!({"vCluster": null, "group": null, "username": null});
    let passthrough = json!({"vCluster": "passthrough"});
    for (sent, shown) in [
        (None, passthrough.clone()),
        (Some(Value::Null), passthrough.clone()),
        (Some(json!({})), passthrough.clone()),
        (Some(json!({"vCluster": ""})), passthrough.clone()),
        (Some(json!({"group": null})), passthrough),
        (Some(json!({"vCluster": null})), all_null.clone()),
        (Some(all_null.clone()), all_null),
        (Some(json!({"vCluster": "v"})), json!({"vCluster": "v"})),
        (
            Some(json!({"username": "u"})),
            json!({"vCluster": "passthrough", "username": "u"}),
        ),
        (
            Some(json!({"vCluster": null, "group": null, "username": "u"})),
            json!({"vCluster": "passthrough", "username": "u"}),
        ),
        (
            Some(json!({"vCluster": "v", "group": "g"})),
            json!({"vCluster": "v", "group": "g"}),
        ),
    ] {
        let answer = put(&server, "i", sent.clone());
        assert_eq!(upserted(&answer), "Created", "{sent:?}");
        let resource = &answer.json()["resource"];
        assert_eq!(resource["metadata"]["scope"], shown, "{sent:?}");
        let again = server.call("PUT", "interceptor", &resource.to_string());
        assert_eq!(upserted(&again), "NotChanged", "{sent:?}");
        let scope = sent.map_or(String::new(), |sent| sent.to_string());
        let gone = server.call("DELETE", "interceptor/i", &scope);
        assert_eq!(gone.code, 204, "{scope}: {gone:?}");
    }
    assert_eq!(server.call("GET", "interceptor", "").body, "[]");

    for bodies in [["", r#"{"vCluster":"passthrough"}"#], ["{}", "null"]] {
        for body in bodies {
            put(&server, "i", None);
            assert_eq!(server.call("DELETE", "interceptor/i", body).code, 204);
        }
    }
    put(&server, "i", Some(json!({"username": "u"})));
    put(&server, "i", Some(json!({"vCluster": null})));
    let answer = server.call("DELETE", "interceptor/i", r#"{"vCluster":"v","group":"g"}"#);
    let msg = answer.error(404, "Interceptor not found");
    assert_eq!(
        msg,
        "There is no Interceptor 'i' of group 'g' in virtual cluster 'v'."
    );
    assert_eq!(
        answer.json()["cause"],
        "There is no Interceptor 'i' of group 'g' in virtual cluster 'v'. There is Interceptor 'i' of all virtual clusters, \
         Interceptor 'i' of user 'u' in virtual cluster 'passthrough'."
    );
    let answer = server.call("DELETE", "interceptor/j", "");
    let msg = answer.error(404, "Interceptor not found");
    assert_eq!(
        msg,
        "There is no Interceptor 'j' of virtual cluster 'passthrough'."
    );
    assert_eq!(answer.json()["cause"], Value::Null);
    server
        .call("DELETE", "interceptor/i", "[]")
        .error(400, "Invalid request");
    server
        .call("DELETE", "interceptor/i", r#"{"group":"g","username":"u"}"#)
        .error(400, "Invalid request");
    server
        .call("GET", "interceptor/i", "")
        .error(405, "Method not allowed");
    server.handle.shutdown();
}

#[test]
fn the_name_that_terraform_uses() {
    let (server, _) = serve_with_store();
    let sent = body("i", None, "{}").replace("\"Interceptor\"", "\"GatewayInterceptor\"");
    let answer = server.call("PUT", "interceptor", &sent);
    assert_eq!(answer.json()["resource"]["kind"], "Interceptor");
    server.handle.shutdown();
}

#[test]
fn configurations_come_back_as_they_were_sent() {
    let (server, _) = serve_with_store();
    for (i, config) in [
        "{}",
        r#"{"z":{"b":[3,1,2],"a":null},"big":123456789012345678901234567890,"five":5,"dot":5.0,"exp":1e5,"d":0.1000}"#,
        r#"{"ü":"\u00e4 ☃","password":"s3cret","ref":"${NAME}"}"#,
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("i{i}");
        let answer = server.call("PUT", "interceptor", &body(&name, None, config));
        assert!(answer.body.contains(&format!("\"config\":{config}")), "{}", answer.body);
        let list = server.call("GET", &format!("interceptor?name={name}"), "");
        assert!(list.body.contains(&format!("\"config\":{config}")), "{}", list.body);
    }
    let turned = r#"{"a":[1,2], "b":{"y":2,"x":1}}"#;
    let sent = r#"{"b":{"x":1,"y":2},"a":[1,2]}"#;
    server.call("PUT", "interceptor", &body("o", None, sent));
    let answer = server.call("PUT", "interceptor", &body("o", None, turned));
    assert_eq!(upserted(&answer), "NotChanged");
    assert!(answer.body.contains(sent), "{}", answer.body);
    let other = server.call(
        "PUT",
        "interceptor",
        &body("o", None, r#"{"a":[2,1],"b":{"x":1,"y":2}}"#),
    );
    assert_eq!(upserted(&other), "Updated");
    server.handle.shutdown();
}

#[test]
fn refusals() {
    let server = prepared();
    let good: Value = serde_json::from_str(&body("i", None, "{}")).expect("JSON");
    let with = |pointer: &str, value: Value| {
        let mut changed = good.clone();
        *changed.pointer_mut(pointer).expect("a member") = value;
        server.call("PUT", "interceptor", &changed.to_string())
    };
    for (pointer, value) in [
        ("/metadata/name", json!("a/b")),
        ("/metadata/name", json!("")),
        ("/metadata/name", json!("a\nb")),
        ("/spec/priority", json!(-1)),
        ("/spec/priority", json!(1.5)),
        ("/spec/priority", json!(1_u64 << 31)),
        ("/spec/priority", Value::Null),
        ("/spec/config", Value::Null),
        ("/spec/config", json!([])),
        ("/spec/config", json!("{}")),
        ("/spec/pluginClass", Value::Null),
        ("/metadata", json!({"name": "i", "scope": []})),
        ("/metadata", json!({"name": "i", "scope": {"vCluster": 1}})),
        (
            "/metadata",
            json!({"name": "i", "scope": {"group": "g", "username": "u"}}),
        ),
    ] {
        with(pointer, value).error(400, "Invalid request");
    }
    let msg = with("/spec/priority", json!(-1)).error(400, "Invalid request");
    let about = "Interceptor 'i' of virtual cluster 'passthrough': 'spec.priority' must be";
    assert!(msg.starts_with(about), "{msg}");
    let msg = with("/spec/pluginClass", json!("org.example.Other")).error(400, "Unknown plugin");
    assert!(msg.contains("there is no 'org.example.Other'"), "{msg}");
    assert!(
        msg.starts_with("Interceptor 'i' of virtual cluster 'passthrough': "),
        "{msg}"
    );
    let msg = with("/spec/pluginClass", json!("org.example.Anythign")).error(400, "Unknown plugin");
    assert!(msg.contains(&format!("Did you mean '{PLUGIN}'?")), "{msg}");
    let known = "io.conduktor.gateway.interceptor.safeguard.FetchPolicyPlugin";
    let msg = with("/spec/pluginClass", json!(known)).error(400, "Unknown plugin");
    assert!(
        msg.contains("the name")
            && msg.contains("is right, but this version")
            && msg.contains(PLUGIN),
        "{msg}"
    );
    let msg = with("/spec/config", json!({"bad": 1})).error(400, "Invalid plugin configuration");
    assert!(msg.contains("'spec.config.bad' is not known"), "{msg}");
    let scoped = |scope: Value| with("/metadata", json!({"name": "i", "scope": scope}));
    scoped(json!({"vCluster": "w"})).error(404, "Virtual cluster not found");
    let answer = scoped(json!({"group": "x"}));
    answer.error(404, "Group not found");
    let cause = answer.json()["cause"].to_string();
    assert!(
        cause.contains(
            "of Interceptor 'i' of group 'x' in virtual cluster 'passthrough' refers to it"
        ),
        "{cause}"
    );
    assert_eq!(upserted(&scoped(json!({"username": "nobody"}))), "Created");
    assert_eq!(upserted(&with("/spec/priority", json!(0))), "Created");
    assert_eq!(
        upserted(&scoped(json!({"vCluster": "v", "group": "g"}))),
        "Created"
    );
    let msg = server
        .call("DELETE", "group/g", "")
        .error(409, "Still referenced");
    assert!(
        msg.contains("Interceptor 'i' of group 'g' in virtual cluster 'v'"),
        "{msg}"
    );
    server.handle.shutdown();
}

#[test]
fn filters_and_resolve() {
    let server = prepared();
    for (name, scope) in [
        ("a", json!({"vCluster": null})),
        ("a", json!({"vCluster": "v"})),
        ("a", json!({"vCluster": "v", "group": "g"})),
        ("a", json!({"vCluster": "v", "group": "h"})),
        ("b", json!({"vCluster": "v", "username": "u"})),
        ("b", json!({"username": "u"})),
    ] {
        assert_eq!(upserted(&put(&server, name, Some(scope))), "Created");
    }
    for (query, count) in [
        ("", 6),
        ("?global=true", 1),
        ("?global=false", 6),
        ("?global=false&vcluster=v", 4),
        ("?vcluster=v&name=b", 1),
        ("?vcluster=passthrough", 1),
        ("?group=g", 1),
        ("?username=u", 2),
        ("?username=u&vcluster=v&name=b&global=false", 1),
        ("?vcluster=unknown", 0),
    ] {
        let list = server
            .call("GET", &format!("interceptor{query}"), "")
            .json();
        assert_eq!(list.as_array().map(Vec::len), Some(count), "{query}");
    }
    let resolved = |asked: Value| {
        let answer = server.call("POST", "interceptor/resolve", &asked.to_string());
        assert_eq!(answer.code, 200, "{answer:?}");
        let list = answer.json();
        let told = list.as_array().expect("a list").iter().map(|i| {
            let scope = &i["metadata"]["scope"];
            let aim = [&scope["group"], &scope["username"]];
            let aim = aim.into_iter().find_map(Value::as_str).unwrap_or_default();
            format!(
                "{}{aim}",
                i["metadata"]["name"].as_str().unwrap_or_default()
            )
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(resolved(json!({"vCluster": "v"})), ["a"]);
    assert_eq!(
        resolved(json!({"vCluster": "v", "groups": ["h", "g"], "username": "u"})),
        ["ag", "ah", "bu"]
    );
    assert_eq!(
        resolved(json!({"username": "u", "groups": null})),
        ["a", "bu"]
    );
    assert_eq!(resolved(json!({})), ["a"]);
    let reader = common::credentials(common::READER);
    let answer = server.send("POST", "/gateway/v2/interceptor/resolve", &reader, "{}");
    assert_eq!(answer.code, 200, "{answer:?}");
    server.handle.shutdown();
}

#[test]
fn one_name_in_many_scopes_at_once() {
    let server = prepared();
    thread::scope(|scope| {
        let server = &server;
        let writes: Vec<_> = (0..20)
            .map(|i| {
                let aim = json!({"username": format!("user-{i}")});
                scope.spawn(move || upserted(&put(server, "same", Some(aim))))
            })
            .collect();
        for write in writes {
            assert_eq!(write.join().expect("an answer"), "Created");
        }
    });
    let list = server.call("GET", "interceptor?name=same", "").json();
    assert_eq!(list.as_array().map(Vec::len), Some(20));
    server.handle.shutdown();
}
