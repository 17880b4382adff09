//! Sessions that end (KIP-368), and accounts that go while their clients are connected.

use std::time::Duration;

use testkit::driver::Client;
use testkit::{Listener, Login, Release, Result, wait};

use crate::front::{Front, Route, managed, relaying};
use crate::raw::{Sasl, bearer, plain, timed};
use crate::world::{ALICE, HOUR, KAFKA_SESSION, claims, client, now, world};

const SESSION: Duration = Duration::from_secs(3);
const EXPIRED: &str = "gateway_expired_connections_killed_total";
const PLAIN: &str = "PLAIN";
const OAUTHBEARER: &str = "OAUTHBEARER";

fn limited(session: Duration) -> Result<Front> {
    managed(world()?)
        .listener("SASL", "SASL_PLAINTEXT", Route::Port, None)
        .env(
            "GATEWAY_AUTHENTICATION_CONNECTION_MAX_REAUTH_MS",
            &session.as_millis().to_string(),
        )
        .start()
}

fn unlimited() -> Result<Front> {
    limited(Duration::ZERO)
}

#[test]
fn how_long_a_session_lasts() -> Result<()> {
    let world = world()?;
    let front = limited(SESSION)?;
    let address = front.bootstrap("SASL");
    front.local_account("billing")?;
    let life = |mechanism: &str, message: &[u8]| -> Result<Duration> {
        let answer = Sasl::connect(address)?.log_in(mechanism, message)?;
        assert_eq!(answer.error, 0, "{answer:?}");
        Ok(answer.lifetime)
    };
    let long = front.token("billing", 3600)?;
    assert_eq!(life(PLAIN, &plain("billing", &long))?, SESSION);
    let short = front.token("billing", 2)?;
    let left = life(PLAIN, &plain("billing", &short))?;
    assert!(left <= Duration::from_secs(2), "{left:?}");
    assert_eq!(life(OAUTHBEARER, &bearer(&world.token("a")?))?, SESSION);

    let front = unlimited()?;
    let address = front.bootstrap("SASL");
    front.local_account("billing")?;
    let life = |mechanism: &str, message: &[u8]| -> Result<Duration> {
        let answer = Sasl::connect(address)?.log_in(mechanism, message)?;
        assert_eq!(answer.error, 0, "{answer:?}");
        Ok(answer.lifetime)
    };
    let token = front.token("billing", 2)?;
    assert_eq!(life(PLAIN, &plain("billing", &token))?, Duration::ZERO);
    let mut claims = claims("a");
    claims["exp"] = (now() + 1800).into();
    let token = world.issuer.with(|issuer| issuer.sign(&claims))?;
    let left = life(OAUTHBEARER, &bearer(&token))?;
    assert!(left <= HOUR / 2 && left > HOUR / 3, "{left:?}");
    Ok(())
}

#[test]
fn an_expired_token_does_not_end_an_unlimited_session() -> Result<()> {
    let front = unlimited()?;
    front.local_account("billing")?;
    let token = front.token("billing", 1)?;
    let mut client = Sasl::connect(front.bootstrap("SASL"))?;
    assert_eq!(client.log_in(PLAIN, &plain("billing", &token))?.error, 0);
    wait::until_true("the token to be refused", Duration::from_secs(10), || {
        let other = Sasl::connect(front.bootstrap("SASL"));
        other
            .and_then(|mut other| other.log_in(PLAIN, &plain("billing", &token)))
            .is_ok_and(|answer| answer.error == 58)
    })?;
    client.ask()
}

#[test]
fn a_session_is_renewed_or_ends() -> Result<()> {
    let front = limited(SESSION)?;
    let address = front.bootstrap("SASL");
    front.local_account("billing")?;
    let login = plain("billing", &front.token("billing", 3600)?);
    let mut renewed = Sasl::connect(address)?;
    let mut idle = Sasl::connect(address)?;
    let mut old = Sasl::connect(address)?;
    let mut bare = Sasl::connect(address)?;
    for client in [&mut renewed, &mut idle] {
        assert_eq!(client.log_in(PLAIN, &login)?.error, 0);
    }
    // Knows SaslAuthenticate v0 only, and cannot renew.
    assert_eq!(old.handshake(1, PLAIN)?.0, 0);
    assert_eq!(old.authenticate(0, &login)?.error, 0);
    // Knows SaslHandshake v0 only.
    assert_eq!(bare.handshake(0, PLAIN)?.0, 0);
    let mut token = Vec::new();
    crate::raw::put_bytes(&mut token, &login);
    bare.0.send_bytes(&token)?;
    assert!(bare.0.receive()?.is_empty());
    for client in [&mut renewed, &mut idle, &mut old, &mut bare] {
        client.ask()?;
    }
    let before = front.metrics()?;
    std::thread::sleep(SESSION * 2 / 3);
    let answer = renewed.log_in(PLAIN, &login)?;
    assert_eq!((answer.error, answer.lifetime), (0, SESSION));
    std::thread::sleep(SESSION * 2 / 3);
    renewed.ask()?;
    for client in [&mut idle, &mut old, &mut bare] {
        assert!(client.is_closed_when_asking());
    }
    let expired = front.metrics()?.since(&before, EXPIRED);
    assert_eq!(expired.values().sum::<f64>(), 3.0, "{expired:?}");
    Ok(())
}

#[test]
fn renewal_by_somebody_else() -> Result<()> {
    let world = world()?;
    let front = limited(HOUR)?;
    let address = front.bootstrap("SASL");
    for name in ["billing", "shipping"] {
        front.local_account(name)?;
    }
    let billing = plain("billing", &front.token("billing", 3600)?);
    let shipping = plain("shipping", &front.token("shipping", 3600)?);
    for (mechanism, message, reason) in [
        (PLAIN, shipping, "principal_changed"),
        (
            PLAIN,
            plain("billing", crate::world::WRONG),
            "wrong_credentials",
        ),
        (
            OAUTHBEARER,
            bearer(&world.token("billing")?),
            "mechanism_changed",
        ),
    ] {
        let mut client = Sasl::connect(address)?;
        assert_eq!(client.log_in(PLAIN, &billing)?.error, 0);
        client.ask()?;
        let before = front.metrics()?;
        // The handshake may be refused already.
        let refused = match client.handshake(1, mechanism)? {
            (0, _) => client.authenticate(1, &message)?.error,
            (error, _) => error,
        };
        assert_eq!(refused, 58, "{reason}");
        assert!(client.is_closed(), "{reason}");
        let counted = front
            .metrics()?
            .since(&before, "gateway_failed_authentications_detail");
        let label = format!("reason=\"{reason}\"");
        assert!(
            counted.len() == 1 && counted.iter().all(|(s, n)| s.contains(&label) && *n == 1.0),
            "{reason}: {counted:?}"
        );
    }
    Ok(())
}

#[test]
fn an_account_that_goes_or_changes_takes_its_connections_along() -> Result<()> {
    let world = world()?;
    let front = unlimited()?;
    let address = front.bootstrap("SASL");
    front.local_account("billing")?;
    front.local_account("shipping")?;
    front.external_account("friend", "subject-of-the-friend")?;
    let mut clients = Vec::new();
    for name in ["billing", "shipping"] {
        let login = plain(name, &front.token(name, 3600)?);
        let mut client = Sasl::connect(address)?;
        assert_eq!(client.log_in(PLAIN, &login)?.error, 0);
        clients.push(client);
    }
    let mut friend = Sasl::connect(address)?;
    let token = world.token("subject-of-the-friend")?;
    assert_eq!(friend.log_in(OAUTHBEARER, &bearer(&token))?.error, 0);
    clients.push(friend);
    for client in &mut clients {
        client.ask()?;
    }
    front.delete_account("billing")?;
    assert!(clients[0].is_closed_when_asking(), "billing");
    clients[1].ask()?;
    front.external_account("friend", "subject-of-another")?;
    assert!(clients[2].is_closed_when_asking(), "friend");
    clients[1].ask()
}

/// Clients that renew their sessions notice nothing; one that cannot is disconnected and comes back.
#[test]
fn clients_outlive_sessions() -> Result<()> {
    let world = world()?;
    let front = limited(SESSION)?;
    let topic = world.topic("sessions")?;
    let access = front.access("SASL").login(front.login("billing")?);
    let mut steady = Vec::new();
    for kind in [
        Client::Java(Release::V3_9),
        Client::Java(Release::V4_3),
        Client::Librdkafka,
    ] {
        steady.push((kind, client(kind)?.steady(&topic, &access)?));
    }
    let old = client(Client::Java(Release::V2_1))?;
    let old = old.steady(
        &topic,
        &access.clone().java(&[("reconnect.backoff.ms", "10")]),
    )?;
    std::thread::sleep(SESSION * 5 / 2);
    for (kind, steady) in steady {
        let report = steady.stop()?;
        assert!(report.text.is_empty(), "{kind:?}: {}", report.text);
        assert!(report.count > 100, "{kind:?}: {report:?}");
    }
    let report = old.stop()?;
    assert!(!report.text.contains("Authentication"), "{}", report.text);
    assert!(report.count > 100, "{report:?}");
    let failed = front
        .metrics()?
        .since(&Default::default(), "gateway_failed_");
    assert!(failed.is_empty(), "{failed:?}");
    Ok(())
}

/// Where Kafka checks credentials it says how long a session lasts, and clients renew it through the gateway. Not librdkafka:
/// brokers end its sessions of a few seconds without the gateway as well.
#[test]
fn sessions_at_kafka() -> Result<()> {
    let world = world()?;
    let _relays = crate::outage::relays();
    let front = relaying(world, Listener::Relayed)
        .listener("SASL", "SASL_PLAINTEXT", Route::Port, None)
        .start()?;
    let (user, password) = ALICE;
    let mut raw = Sasl::connect(front.bootstrap("SASL"))?;
    let answer = raw.log_in(PLAIN, &plain(user, password))?;
    assert_eq!((answer.error, answer.lifetime), (0, KAFKA_SESSION));
    let topic = world.topic("sessions")?;
    let mut steady = Vec::new();
    for mechanism in [PLAIN, "SCRAM-SHA-512"] {
        let login = Login::Password {
            mechanism,
            user: user.to_owned(),
            password: password.to_owned(),
        };
        let access = front.access("SASL").login(login);
        for kind in [Client::Java(Release::V3_9), Client::Java(Release::V4_3)] {
            steady.push((mechanism, kind, client(kind)?.steady(&topic, &access)?));
        }
    }
    std::thread::sleep(KAFKA_SESSION * 3 / 2);
    for (mechanism, kind, steady) in steady {
        let report = steady.stop()?;
        assert!(
            report.text.is_empty(),
            "{mechanism} {kind:?}: {}",
            report.text
        );
        assert!(report.count > 100, "{mechanism} {kind:?}: {report:?}");
    }
    // Renewal as somebody else, which Kafka would refuse as well.
    let mut raw = Sasl::connect(front.bootstrap("SASL"))?;
    assert_eq!(raw.log_in(PLAIN, &plain(user, password))?.error, 0);
    let (gateway, secret) = crate::world::GATEWAY;
    let (refused, _) = timed(|| raw.log_in(PLAIN, &plain(gateway, secret)));
    assert_eq!(refused?.error, 58);
    assert!(raw.is_closed());
    Ok(())
}
