//! An identity provider that changes its keys, or is down, while clients work.

use std::time::Duration;

use testkit::driver::{Client, Task};
use testkit::oauth::{LiveIssuer, OAuthIssuer};
use testkit::{Login, Release, Result, wait};

use crate::front::{FrontOptions, Route, managed};
use crate::world::{AUDIENCE, World, client, world};

/// Life of a token, and so of a session.
/// Clients renew at nine tenths of it; what is left has to do on a busy machine, too.
const LIFE: Duration = Duration::from_secs(10);
const REFRESH: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(30);

fn provider() -> Result<LiveIssuer> {
    LiveIssuer::start(OAuthIssuer::new("https://issuer.test", AUDIENCE)?)
}

fn front(world: &World, provider: &LiveIssuer, refresh: Duration) -> FrontOptions {
    managed(world)
        .listener("SASL", "SASL_PLAINTEXT", Route::Port, None)
        .env("GATEWAY_OAUTH_JWKS_URL", provider.key_set_url())
        .env(
            "GATEWAY_OAUTH_JWKS_REFRESH",
            &refresh.as_millis().to_string(),
        )
        .env("GATEWAY_OAUTH_JWKS_MAX_RETRY", "500")
}

/// Two fetches later the gateway has seen the key set of now.
fn wait_for_fetches(provider: &LiveIssuer) -> Result<()> {
    let before = provider.key_set_requests();
    wait::until_true("the gateway to fetch the key set", LIMIT, || {
        provider.key_set_requests() >= before + 2
    })
}

#[test]
fn keys_change_under_load() -> Result<()> {
    let world = world()?;
    let provider = provider()?;
    let front = front(world, &provider, REFRESH).start()?;
    let topic = world.topic("rotation")?;
    let login = Login::TokenUrl(provider.token_url("analytics", LIFE));
    let access = front.access("SASL").login(login);
    let mut load = Vec::new();
    for kind in [
        Client::Java(Release::V3_9),
        Client::Java(Release::V4_3),
        Client::Librdkafka,
    ] {
        load.push((kind, "steady", client(kind)?.steady(&topic, &access)?));
    }
    for kind in [Client::Java(Release::V2_1), Client::Librdkafka] {
        load.push((kind, "churn", client(kind)?.churn(&topic, &access)?));
    }
    // At first the new key signs at once: a token with it makes the gateway look for it, which it does once a minute at most.
    // Later the provider announces keys before it uses them.
    for announced in [false, true] {
        if announced {
            provider.with(OAuthIssuer::announce)?;
            wait_for_fetches(&provider)?;
        }
        provider.with(OAuthIssuer::rotate)?;
        // Tokens of the old key are gone from the clients when its life is over.
        std::thread::sleep(LIFE);
        provider.with(OAuthIssuer::withdraw_old_keys);
        wait_for_fetches(&provider)?;
    }
    for (kind, how, load) in load {
        let report = load.stop()?;
        assert!(report.text.is_empty(), "{kind:?}, {how}: {}", report.text);
        assert!(report.count > 1, "{kind:?}, {how}: {report:?}");
    }
    let failed = front
        .metrics()?
        .since(&Default::default(), "gateway_failed_");
    assert!(failed.is_empty(), "{failed:?}");
    world.assert_no_secrets(&front.stop()?, &[])
}

/// Without a refresh in sight, a token with a key that is not known yet makes the gateway ask.
#[test]
fn a_key_that_is_new_is_asked_for() -> Result<()> {
    let world = world()?;
    let provider = provider()?;
    let front = front(world, &provider, crate::world::HOUR).start()?;
    let topic = world.topic("rotation")?;
    let login = |provider: &LiveIssuer| -> Result<Login> {
        let token = provider.with(|issuer| issuer.token("analytics", crate::world::HOUR))?;
        Ok(Login::Token(token))
    };
    let first = front.access("SASL").login(login(&provider)?);
    let driver = client(Client::Java(Release::V4_3))?;
    let report = driver.run(Task::Authenticate, &topic, &first)?;
    assert!(report.ok, "{report:?}");
    provider.with(OAuthIssuer::rotate)?;
    let second = front.access("SASL").login(login(&provider)?);
    for access in [&second, &first] {
        let report = driver.run(Task::Authenticate, &topic, access)?;
        assert!(report.ok, "{report:?}");
    }
    Ok(())
}

/// A provider that is down at the start keeps nobody from starting; its clients get in once it is back.
#[test]
fn a_provider_that_is_down() -> Result<()> {
    let world = world()?;
    let provider = provider()?;
    provider.set_down(true);
    let front = front(world, &provider, REFRESH).start()?;
    let topic = world.topic("rotation")?;
    let token = provider.with(|issuer| issuer.token("analytics", crate::world::HOUR))?;
    let access = front.access("SASL").login(Login::Token(token.clone()));
    let before = front.metrics()?;
    let mut given = Vec::new();
    for kind in Client::ALL {
        given.push((
            kind,
            client(kind)?.give(Task::Authenticate, &topic, &access)?,
        ));
    }
    for (kind, task) in given {
        let report = task.wait()?;
        assert!(report.is_refused(), "{kind:?}: {report:?}");
    }
    let counted = front
        .metrics()?
        .since(&before, "gateway_failed_authentications_detail");
    let expected = "reason=\"keys_not_loaded\"";
    assert!(
        !counted.is_empty() && counted.keys().all(|series| series.contains(expected)),
        "{counted:?}"
    );
    provider.set_down(false);
    wait_for_fetches(&provider)?;
    provider.set_down(true); // what was fetched stays in use
    for kind in Client::ALL {
        let report = client(kind)?.run(Task::RoundTrip, &topic, &access)?;
        assert!(report.ok, "{kind:?}: {report:?}");
    }
    let log = front.stop()?;
    assert!(log.contains("ERROR"), "our fault, so an error:\n{log}");
    world.assert_no_secrets(&log, &[&token])
}
