//! Who comes into which virtual cluster.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::driver::{Client, Task};
use testkit::oauth::{claims_of, hmac_token};
use testkit::raw::{RawClient, Request};
use testkit::{Access, Error, Login, Result, wait};
use wire::api::{ApiKey, Direction};

use crate::ask;
use crate::caller::Caller;
use crate::message::{decode, encode, hex};
use crate::world::{LIMIT, ROOT, SIGNING_KEY_BYTES, World, client, fresh_name};

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn tokens_open_one_virtual_cluster() -> Result<()> {
    let world = World::get()?;
    let (one, two) = (world.tenant("crimson")?, world.tenant("scarlet")?);
    // The same user in both.
    for tenant in [&one, &two] {
        tenant.account("clerk")?;
        ask::topic(&mut tenant.root()?, &format!("of-{}", tenant.name), 1)?;
    }
    for tenant in [&one, &two] {
        let seen = ask::topics(&mut tenant.caller("clerk")?)?;
        assert_eq!(seen, [format!("of-{}", tenant.name)]);
    }

    one.account("former")?;
    let former = one.token("former")?;
    world.front.api.delete_account(&one.name, "former")?;
    let now = crate::now();
    let claims = |user: &str, vcluster: &str, end: u64| json!({ "username": user, "vcluster": vcluster, "exp": end });
    let signed = |key: &[u8], claims: Value| hmac_token(key, &json!({ "alg": "HS256" }), &claims);
    // Whoever has the key can make tokens, for an account as it is now.
    let mut good = claims("clerk", &one.name, now + 600);
    let unfit = signed(SIGNING_KEY_BYTES, good.clone());
    good["incarnation"] = claims_of(&one.token("clerk")?)?["incarnation"].clone();
    log_in("clerk", &signed(SIGNING_KEY_BYTES, good))?;
    for (what, user, token) in [
        ("another user's", ROOT, one.token("clerk")?),
        ("of an account without incarnation", "clerk", unfit),
        (
            "expired",
            "clerk",
            signed(SIGNING_KEY_BYTES, claims("clerk", &one.name, now - 60)),
        ),
        (
            "another key",
            "clerk",
            signed(&[7; 32], claims("clerk", &one.name, now + 600)),
        ),
        ("deleted account", "former", former),
        (
            "an account of another virtual cluster",
            "former",
            signed(SIGNING_KEY_BYTES, claims("former", &two.name, now + 600)),
        ),
        (
            "unknown virtual cluster",
            "clerk",
            signed(SIGNING_KEY_BYTES, claims("clerk", "nowhere", now + 600)),
        ),
    ] {
        assert!(log_in(user, &token).is_err(), "{what}");
    }
    Ok(())
}

fn log_in(user: &str, password: &str) -> Result<()> {
    let doors = World::get()?.front.doors.clone();
    let login = Some((user.to_owned(), password.to_owned()));
    Caller::new(doors, login).client(1).map(drop)
}

#[test]
fn names_of_a_provider_become_accounts() -> Result<()> {
    let world = World::get()?;
    let (one, two) = (world.tenant("maroon")?, world.tenant("claret")?);
    let mapped = fresh_name("subject");
    world
        .front
        .api
        .external_account(&one.name, "mapped", &mapped)?;
    for tenant in [&one, &two] {
        ask::topic(&mut tenant.root()?, &format!("of-{}", tenant.name), 1)?;
    }
    let outside = fresh_name("of-the-outside");
    ask::topic(&mut world.brokers(), &outside, 1)?;
    // In passthrough nobody may do anything that no list allows.
    let root = ROOT.to_owned();
    for (what, subject, vcluster, topic) in [
        ("an account's", &mapped, None, Some(&one)),
        (
            "an account's, not what the claim says",
            &mapped,
            Some(&two.name),
            Some(&one),
        ),
        (
            "the claim's",
            &fresh_name("stranger"),
            Some(&two.name),
            Some(&two),
        ),
        ("passthrough", &root, None, None),
    ] {
        let token = token(subject, vcluster)?;
        let topic = topic.map_or(outside.clone(), |tenant| format!("of-{}", tenant.name));
        let report = authenticate(&topic, token)?;
        assert!(report.ok, "{what}: {}", report.text);
    }
    let nowhere = "nowhere".to_owned();
    for (what, vcluster, topic) in [
        ("unknown virtual cluster", Some(&nowhere), &outside),
        ("another's topic", Some(&two.name), &outside),
    ] {
        let token = token(&fresh_name("stranger"), vcluster)?;
        assert!(!authenticate(topic, token)?.ok, "{what}");
    }
    Ok(())
}

fn token(subject: &str, vcluster: Option<&String>) -> Result<String> {
    let now = crate::now();
    let mut claims = json!({
        "iss": "https://issuer.test", "aud": "kafka", "sub": subject,
        "iat": now, "exp": now + HOUR.as_secs(),
    });
    if let Some(vcluster) = vcluster {
        claims["gateway.vcluster"] = json!(vcluster);
    }
    World::get()?.issuer.with(|issuer| issuer.sign(&claims))
}

/// Asks for the topic's partitions.
fn authenticate(topic: &str, token: String) -> Result<testkit::driver::Report> {
    let access = Access::new(&World::get()?.front.doors[&1])
        .login(Login::Token(token))
        .patience(Duration::from_secs(3));
    client(Client::Librdkafka)?.run(Task::Authenticate, topic, &access)
}

#[test]
fn connections_end_with_the_account() -> Result<()> {
    let world = World::get()?;
    let tenant = world.tenant("ending")?;
    tenant.account("clerk")?;
    let mut clerk = tenant.caller("clerk")?;
    let mut root = tenant.root()?;
    ask::topic(&mut root, "orders", 1)?;
    for node in 1..=3 {
        clerk.must(node, ApiKey::METADATA, 12, &ask::named(&["orders"]))?;
    }
    let mut again = clerk.again();
    world.front.api.delete_account(&tenant.name, "clerk")?;
    wait::until_true("connections to be closed", LIMIT, || {
        (1..=3).all(|node| is_closed(&mut clerk, node))
    })?;
    assert!(again.client(1).is_err(), "the old token");
    root.must(1, ApiKey::METADATA, 12, &ask::named(&["orders"]))?;
    Ok(())
}

/// Who is not there any more is noticed without a request.
#[test]
fn idle_connections_end_with_the_account_and_with_the_virtual_cluster() -> Result<()> {
    let world = World::get()?;
    let api = &world.front.api;
    let tenant = world.tenant("leaving")?;
    tenant.account("clerk")?;
    let (mut clerk, mut root) = (tenant.caller("clerk")?, tenant.root()?);
    for node in 1..=3 {
        clerk.must(node, ApiKey::API_VERSIONS, 0, &json!({}))?;
        root.must(node, ApiKey::API_VERSIONS, 0, &json!({}))?;
    }
    let former = tenant.token("clerk")?;
    api.delete_account(&tenant.name, "clerk")?;
    for node in 1..=3 {
        assert!(clerk.client(node)?.is_closed_by_peer(), "{node}");
    }
    root.must(1, ApiKey::API_VERSIONS, 0, &json!({}))?;

    // The next one of that name is somebody else.
    tenant.account("clerk")?;
    assert!(
        log_in("clerk", &former).is_err(),
        "a token of the former one"
    );
    log_in("clerk", &tenant.token("clerk")?)?;
    let mut clerk = tenant.caller("clerk")?;
    clerk.must(1, ApiKey::API_VERSIONS, 0, &json!({}))?;

    // Somebody without an account has a virtual cluster all the same.
    let mut stranger = bearer(&token(&fresh_name("stranger"), Some(&tenant.name))?)?;
    api.delete_account(&tenant.name, "clerk")?;
    api.delete_account(&tenant.name, ROOT)?;
    assert!(clerk.client(1)?.is_closed_by_peer(), "the next one");
    assert!(root.client(2)?.is_closed_by_peer(), "the last account");
    let path = format!("/gateway/v2/virtual-cluster/{}", tenant.name);
    api.must("DELETE", &path, &Value::Null)?;
    assert!(stranger.is_closed_by_peer(), "without an account");
    Ok(())
}

/// Turned into the other kind and back, an account is another one.
#[test]
fn a_change_of_kind_and_back_does_not_bring_tokens_back() -> Result<()> {
    let world = World::get()?;
    let api = &world.front.api;
    let tenant = world.tenant("turning")?;
    tenant.account("clerk")?;
    let before = tenant.token("clerk")?;
    tenant.account("clerk")?; // no change
    log_in("clerk", &before)?;
    api.external_account(&tenant.name, "clerk", &fresh_name("clerk"))?;
    tenant.account("clerk")?;
    assert!(log_in("clerk", &before).is_err());
    log_in("clerk", &tenant.token("clerk")?)
}

/// Logged in with a token of the identity provider.
fn bearer(token: &str) -> Result<RawClient> {
    let mut client = RawClient::connect(&World::get()?.front.doors[&1])?;
    let secret = hex(format!("n,,\u{1}auth=Bearer {token}\u{1}\u{1}").as_bytes());
    for (api, body) in [
        (
            ApiKey::SASL_HANDSHAKE,
            json!({ "Mechanism": "OAUTHBEARER" }),
        ),
        (ApiKey::SASL_AUTHENTICATE, json!({ "AuthBytes": secret })),
    ] {
        let body = encode(api, 1, Direction::Request, &body);
        let answer = client.call(Request {
            api: api.0,
            version: 1,
            flexible: false,
            client_id: "tenancy",
            body: &body,
        })?;
        let answer = decode(api, 1, Direction::Response, &answer).map_err(Error::Answer)?;
        assert_eq!(answer["ErrorCode"], 0, "{answer}");
    }
    Ok(client)
}

/// Asks; `Null` says that the connection was closed. Afterwards the caller cannot log in again.
fn is_closed(caller: &mut Caller, node: i32) -> bool {
    let answer = caller.ask(node, ApiKey::METADATA, 12, &ask::named(&["orders"]));
    answer.map_or(true, |answer| answer.is_null())
}

/// Somebody without credentials does not get past the door.
#[test]
fn nobody_comes_in_unknown() -> Result<()> {
    let world = World::get()?;
    let mut client = RawClient::connect(&world.front.doors[&1])?;
    client.send_bytes(&[0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    assert!(client.is_closed_by_peer());
    Ok(())
}
