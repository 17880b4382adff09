//! Resources where no client is authenticated.

use serde_json::{Value, json};
use testkit::http::Request;
use testkit::{Gateway, ports};
use wire::api::ApiKey;

use crate::frames::*;
use crate::world::{Brokers, options};

const ORDERS: &str = "orders";
const ALIAS: &str = "bestellungen";
const STORE: &str = "_conduktor_gateway_topicmappings";

#[test]
fn what_the_admin_port_takes_is_kept_and_in_force() {
    let brokers = Brokers::new(1);
    let open = options(&brokers.bootstrap())
        .env("GATEWAY_STORE_WITHOUT_AUTHENTICATION", "")
        .env("GATEWAY_PORT_START", &ports::range(5).to_string())
        .env("GATEWAY_HTTP_PORT", &ports::free().to_string());
    let mut gateway = open.clone().start().expect("it serves");
    let mut client = connect(&gateway.bootstrap());
    call(&mut client, &metadata_of(ORDERS, 1));
    assert_eq!(put(&gateway, "group", group()), 200);
    assert_eq!(put(&gateway, "alias-topic", alias()), 200);
    assert!(topics(&gateway).contains(ALIAS));
    assert_eq!(gateway.stop().expect("it ends"), 0);

    let gateway = open.start().expect("it serves");
    assert!(topics(&gateway).contains(ALIAS));
    // Whoever could write there could do without the admin port's password.
    assert!(!topics(&gateway).contains("_conduktor"));
    let mut client = connect(&gateway.bootstrap());
    let refused = call(&mut client, &produce(STORE, -1, b"{}", 2));
    // One topic, its name, one partition, its index, then the code of an error.
    let at = 4 + 2 + STORE.len() + 4 + 4;
    assert_ne!(refused[at..at + 2], [0, 0], "{refused:?}");
}

#[test]
fn nothing_is_taken_where_the_operator_does_without() {
    let brokers = Brokers::new(1);
    let gateway = options(&brokers.bootstrap())
        .env("GATEWAY_STORE_WITHOUT_AUTHENTICATION", "false")
        .start()
        .expect("it serves");
    call(&mut connect(&gateway.bootstrap()), &metadata_of(ORDERS, 1));
    assert_eq!(put(&gateway, "group", group()), 400);
    assert_eq!(put(&gateway, "alias-topic", alias()), 400);
    assert!(!topics(&gateway).contains("_conduktor"));
}

fn group() -> Value {
    json!({
        "apiVersion": "gateway/v2", "kind": "GatewayGroup",
        "metadata": { "name": "team" }, "spec": { "members": [], "externalGroups": [] },
    })
}

fn alias() -> Value {
    json!({
        "apiVersion": "gateway/v2", "kind": "AliasTopic",
        "metadata": { "name": ALIAS }, "spec": { "physicalName": ORDERS },
    })
}

fn put(gateway: &Gateway, kind: &str, resource: Value) -> u16 {
    let request = Request::new("PUT", &format!("/gateway/v2/{kind}"))
        .basic("admin", "conduktor")
        .json(&resource);
    request.send(gateway.http_port()).expect("an answer").0
}

/// A Metadata answer about all topics, as text.
fn topics(gateway: &Gateway) -> String {
    let mut client = connect(&gateway.bootstrap());
    let all = frame(ApiKey::METADATA, 7, 3, &[0xff, 0xff, 0xff, 0xff, 0]);
    String::from_utf8_lossy(&call(&mut client, &all)).into_owned()
}
