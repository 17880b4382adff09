//! Every way to be let in, by port and by server name, with every client: produce and consume.

use testkit::driver::Client;
use testkit::{Access, Listener, Login, Result};

use crate::front::{Front, Route, managed, relaying};
use crate::world::{ALICE, World, all_succeed, world};

type Cells = Vec<(String, Access)>;

#[test]
fn checked_by_the_gateway() -> Result<()> {
    let world = world()?;
    let mut options = managed(world)
        .listener("OPEN", "PLAINTEXT", Route::Port, None)
        .listener("SASL", "SASL_PLAINTEXT", Route::Port, None);
    for (name, route) in [("PORT", Route::Port), ("SNI", Route::Sni)] {
        for client_auth in ["NONE", "OPTIONAL", "REQUIRE"] {
            let name = format!("{name}{client_auth}");
            options = options.listener(&name, "SSL", route, Some(client_auth));
        }
        options = options.listener(&format!("{name}SASL"), "SASL_SSL", route, None);
    }
    let front = options.start()?;
    let token = front.login("billing")?;
    let mut cells = Cells::new();
    cells.push(("anonymous".to_owned(), front.access("OPEN")));
    logins(world, &mut cells, &token, "", &front.access("SASL"))?;
    for route in ["PORT", "SNI"] {
        let tls = |listener: &str| {
            front
                .access(&format!("{route}{listener}"))
                .tls(&world.carol)
        };
        certificates(world, &mut cells, route, tls);
        logins(world, &mut cells, &token, route, &tls("SASL"))?;
    }
    let (_, port) = front
        .bootstrap("SNINONE")
        .rsplit_once(':')
        .unwrap_or_default();
    let elsewhere = Access::new(&format!("elsewhere.gateway.test:{port}"));
    cells.push(("a name of nobody".to_owned(), elsewhere.tls(&world.carol)));
    all_succeed(&Client::ALL, &world.topic("matrix")?, &cells)?;
    finish(world, front, &[&token])
}

#[test]
fn checked_by_the_gateway_with_older_names() -> Result<()> {
    let world = world()?;
    let topic = world.topic("matrix")?;
    for client_auth in ["NONE", "OPTIONAL", "REQUIRE"] {
        let front = managed(world)
            .without("GATEWAY_USER_POOL_SECRET_KEY")
            .older("SSL", Some(client_auth))
            .start()?;
        let mut cells = Cells::new();
        let access = front.access("DEFAULT").tls(&world.carol);
        certificates(world, &mut cells, "older", |_| access.clone());
        let own = format!("older {client_auth} ");
        cells.retain(|(name, _)| name.starts_with(&own));
        all_succeed(&Client::ALL, &topic, &cells)?;
        finish(world, front, &[])?;
    }
    let front = managed(world).older("SASL_SSL", None).start()?;
    let token = front.login("billing")?;
    let mut cells = Cells::new();
    let access = front.access("DEFAULT").tls(&world.carol);
    logins(world, &mut cells, &token, "older", &access)?;
    all_succeed(&Client::ALL, &topic, &cells)?;
    finish(world, front, &[&token])
}

#[test]
fn checked_by_kafka() -> Result<()> {
    let world = world()?;
    let front = relaying(world, Listener::SaslPlaintext)
        .listener("SASL", "SASL_PLAINTEXT", Route::Port, None)
        .listener("PORT", "SASL_SSL", Route::Port, None)
        .listener("SNI", "SASL_SSL", Route::Sni, None)
        .start()?;
    let mut cells = Cells::new();
    relayed(world, &mut cells, "", &front.access("SASL"))?;
    for route in ["PORT", "SNI"] {
        relayed(
            world,
            &mut cells,
            route,
            &front.access(route).tls(&world.carol),
        )?;
    }
    all_succeed(&Client::ALL, &world.topic("matrix")?, &cells)?;
    finish(world, front, &[])
}

#[test]
fn checked_by_kafka_with_older_names() -> Result<()> {
    let world = world()?;
    let front = relaying(world, Listener::SaslSsl)
        .env(
            "KAFKA_SSL_TRUSTSTORE_LOCATION",
            &world.server.trust.display().to_string(),
        )
        .older("SASL_SSL", None)
        .start()?;
    let mut cells = Cells::new();
    let access = front.access("DEFAULT").tls(&world.carol);
    relayed(world, &mut cells, "older", &access)?;
    all_succeed(&Client::ALL, &world.topic("matrix")?, &cells)?;
    finish(world, front, &[])
}

/// The cells of `SSL`; `tls` gives a client of the listener for a kind of client authentication.
fn certificates(world: &World, cells: &mut Cells, route: &str, tls: impl Fn(&str) -> Access) {
    for (client_auth, has_certificate) in [
        ("NONE", false),
        ("OPTIONAL", false),
        ("OPTIONAL", true),
        ("REQUIRE", true),
    ] {
        let access = tls(client_auth);
        cells.push(match has_certificate {
            true => (
                format!("{route} {client_auth} with a certificate"),
                access.certificate(&world.carol),
            ),
            false => (
                format!("{route} {client_auth} without a certificate"),
                access,
            ),
        });
    }
}

/// The mechanisms that the gateway offers.
fn logins(
    world: &World,
    cells: &mut Cells,
    token: &Login,
    route: &str,
    access: &Access,
) -> Result<()> {
    cells.push((
        format!("{route} PLAIN"),
        access.clone().login(token.clone()),
    ));
    let bearer = Login::Token(world.token("analytics")?);
    cells.push((format!("{route} OAUTHBEARER"), access.clone().login(bearer)));
    Ok(())
}

/// The mechanisms that the brokers offer.
fn relayed(world: &World, cells: &mut Cells, route: &str, access: &Access) -> Result<()> {
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let login = Login::Password {
            mechanism,
            user: ALICE.0.to_owned(),
            password: ALICE.1.to_owned(),
        };
        cells.push((format!("{route} {mechanism}"), access.clone().login(login)));
    }
    let bearer = Login::Token(world.token(ALICE.0)?);
    cells.push((format!("{route} OAUTHBEARER"), access.clone().login(bearer)));
    Ok(())
}

/// Nobody was refused, and nothing that was secret is in the output.
fn finish(world: &World, front: Front, logins: &[&Login]) -> Result<()> {
    let failed = front
        .metrics()?
        .since(&crate::front::Metrics::default(), "gateway_failed_");
    assert!(failed.is_empty(), "{failed:#?}");
    let tokens: Vec<&str> = logins
        .iter()
        .filter_map(|login| match login {
            Login::Password { password, .. } => Some(password.as_str()),
            Login::Token(_) | Login::TokenUrl(_) => None,
        })
        .collect();
    world.assert_no_secrets(&front.stop()?, &tokens)
}
