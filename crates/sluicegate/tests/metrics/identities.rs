//! Rows 10, 20 and 22, and what is counted by virtual cluster and user.

use testkit::raw::RawClient;
use testkit::{Error, Result};

use crate::world::{BROKER, Front, METADATA, world};

/// Stores a resource.
pub(crate) fn put(front: &Front, kind: &str, path: &str, metadata: &str, spec: &str) -> Result<()> {
    let body = format!(
        r#"{{"kind":"{kind}","apiVersion":"gateway/v2","metadata":{metadata},"spec":{spec}}}"#
    );
    front
        .call("PUT", &format!("/gateway/v2/{path}"), &body)
        .map(drop)
}

pub(crate) fn account(front: &Front, vcluster: &str, name: &str) -> Result<()> {
    let metadata = format!(r#"{{"vCluster":"{vcluster}","name":"{name}"}}"#);
    put(
        front,
        "GatewayServiceAccount",
        "service-account",
        &metadata,
        r#"{"type":"LOCAL"}"#,
    )
}

pub(crate) fn token(front: &Front, vcluster: &str, name: &str) -> Result<String> {
    let body = format!(r#"{{"vCluster":"{vcluster}","username":"{name}","lifeTimeSeconds":3600}}"#);
    let answer = front.call("POST", "/gateway/v2/token", &body)?;
    let answer: serde_json::Value =
        serde_json::from_str(&answer).map_err(|e| Error::Answer(e.to_string()))?;
    let token = answer["token"].as_str();
    token
        .map(str::to_owned)
        .ok_or_else(|| Error::Answer(answer.to_string()))
}

/// Logs in with PLAIN at the port of [`BROKER`]; whether the gateway agrees.
fn login(front: &Front, user: &str, password: &str) -> Result<(RawClient, bool)> {
    login_to(front, BROKER, user, password)
}

/// Logs in with PLAIN at the port of a broker; whether the gateway agrees.
pub(crate) fn login_to(
    front: &Front,
    broker: i32,
    user: &str,
    password: &str,
) -> Result<(RawClient, bool)> {
    let mut client = front.connect_to(broker)?;
    let request = |api, version, body| testkit::raw::Request {
        api,
        version,
        body,
        ..METADATA
    };
    client.call(request(17, 1, b"\x00\x05PLAIN"))?;
    let message = format!("\0{user}\0{password}");
    let mut body = (message.len() as u32).to_be_bytes().to_vec();
    body.extend(message.as_bytes());
    let answer = client.call(request(36, 0, &body))?;
    Ok((client, answer.starts_with(&[0, 0])))
}

#[test]
fn failed_logins_are_counted_by_names_that_exist() -> Result<()> {
    const FAILED: &str = "gateway_failed_authentications_total";
    let world = world()?;
    let front = &world.secured;
    account(front, "passthrough", "known")?;
    let token = token(front, "passthrough", "known")?;
    let before = front.scrape()?;
    for _ in 0..2 {
        assert!(!login(front, "known", "wrong")?.1);
    }
    for i in 0..3 {
        assert!(!login(front, &format!("made-up-{i}"), "wrong")?.1);
    }
    assert!(login(front, "known", &token)?.1);
    let after = front.eventually("five failures", |scrape| {
        scrape.sum(FAILED, &[]) - before.sum(FAILED, &[]) == 5.0
    })?;
    let grown = |series: &str| after.get(series) - before.get(series);
    assert_eq!(
        grown("gateway_failed_authentications_total{username=\"known\"}"),
        2.0
    );
    assert_eq!(
        grown("gateway_failed_authentications_total{username=\"<unknown>\"}"),
        3.0
    );
    let detail = "gateway_failed_authentications_detail_total";
    let by_reason =
        after.sum(detail, &["mechanism=\"PLAIN\""]) - before.sum(detail, &["mechanism=\"PLAIN\""]);
    assert_eq!(by_reason, 5.0);
    Ok(())
}

#[test]
fn stored_entries() -> Result<()> {
    const ACCOUNTS: &str = "gateway_kcache_size{type=\"usermappings\"}";
    const COUNTED: &str = "gateway_lived_event_service_accounts_total";
    const LAG: &str = "gateway_state_store_lag{type=\"usermappings\"}";
    let world = world()?;
    let front = &world.secured;
    let before = front.scrape()?;
    for name in ["size-1", "size-2", "size-3"] {
        account(front, "passthrough", name)?;
    }
    front.eventually("three more", |scrape| {
        scrape.get(ACCOUNTS) - before.get(ACCOUNTS) == 3.0
            && scrape.get(COUNTED) == scrape.get(ACCOUNTS)
            && scrape.has(LAG)
            && scrape.get(LAG) == 0.0
    })?;
    let body = r#"{"vCluster":"passthrough","name":"size-2"}"#;
    front.call("DELETE", "/gateway/v2/service-account", body)?;
    front.eventually("one less", |scrape| {
        scrape.get(ACCOUNTS) - before.get(ACCOUNTS) == 2.0
            && scrape.get(COUNTED) == scrape.get(ACCOUNTS)
    })?;
    let connections = "gateway_lived_event_connection_info{gatewaySecurityProtocol=\"SASL_PLAINTEXT\",gatewaySaslMechanism=\"PLAIN\",kafkaSecurityProtocol=\"PLAINTEXT\",kafkaSaslMechanism=\"<none>\"}";
    let scrape = front.scrape()?;
    assert_eq!(scrape.get(connections), 1.0, "{scrape:#?}");
    assert_eq!(
        scrape.sum("gateway_lived_event_info", &["deploymentMethod=\"<none>\""]),
        1.0
    );
    // Interceptors are not run, and no topic shares another.
    for none in ["unique_topics_covered", "topics_concentrated_total"] {
        let series = format!("gateway_lived_event_{none}");
        assert!(scrape.has(&series) && scrape.get(&series) == 0.0, "{none}");
    }
    Ok(())
}

#[test]
fn a_virtual_cluster_is_counted_apart() -> Result<()> {
    const CONNECTIONS: &str = "gateway_active_connections_vcluster{vcluster=\"sales-\"}";
    let world = world()?;
    let front = &world.secured;
    put(
        front,
        "VirtualCluster",
        "virtual-cluster",
        r#"{"name":"sales-"}"#,
        "{}",
    )?;
    account(front, "sales-", "app")?;
    let born = "gateway_thread_request_rebuild_total{api_key=\"PRODUCE\",vcluster=\"sales-\"}";
    front.eventually("its series", |scrape| scrape.has(born))?;
    let token = token(front, "sales-", "app")?;
    let before = front.scrape()?;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let (mut client, welcome) = login(front, "app", &token)?;
        assert!(welcome);
        client.call(METADATA)?;
        clients.push(client);
    }
    let of_user = "gateway_current_inflight_apiKeys_total{apiKeys=\"Metadata\",vcluster=\"sales-\",username=\"app\"}";
    let during = front.eventually("three users", |scrape| {
        scrape.get(CONNECTIONS) == 3.0 && scrape.get(of_user) == 3.0
    })?;
    let bytes = |direction| {
        let series = format!(
            "gateway_bytes_exchanged_vcluster_total{{direction=\"{direction}\",vcluster=\"sales-\"}}"
        );
        during.get(&series) - before.get(&series)
    };
    assert!(bytes("upstream") > 0.0 && bytes("downstream") > 0.0);
    drop(clients);
    front.eventually("nobody", |scrape| scrape.get(CONNECTIONS) == 0.0)?;
    Ok(())
}
