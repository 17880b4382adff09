//! Settings that cannot work: exit status 78, one line per problem naming the variable, no secret.

use testkit::cert::STORE_PASSWORD;
use testkit::{Listener, Result};

use crate::world::{PASSWORD, WRONG, World, assert_no_secrets, plain, variable, world};

/// `run` and `check` must both refuse, with one line for each of `properties`, in whatever order.
fn mistaken(
    world: &World,
    listener: Listener,
    settings: &[(&str, &str)],
    properties: &[&str],
) -> Result<()> {
    for command in ["run", "check"] {
        let mut gateway = world
            .gateway(listener, settings)
            .args(&[command])
            .launch()?;
        let status = gateway.wait_exit()?;
        let log = gateway.log();
        assert_eq!(status, 78, "{command} {settings:?}: {log}");
        let problems: Vec<&str> = log
            .lines()
            .filter(|line| line.starts_with("Invalid configuration: "))
            .collect();
        assert_eq!(problems.len(), properties.len(), "{properties:?}: {log}");
        for property in properties {
            let variable = variable(property);
            let named = |line: &&str| line.contains(&format!(" {variable}"));
            assert!(problems.iter().any(named), "{variable}: {log}");
        }
        assert_no_secrets(world, &log)?;
    }
    Ok(())
}

const TRUST: &str = "ssl.truststore.location";
const TRUST_PASSWORD: &str = "ssl.truststore.password";
const KEYS: &str = "ssl.keystore.location";
const KEYS_PASSWORD: &str = "ssl.keystore.password";
const MECHANISM: &str = "sasl.mechanism";
const JAAS: &str = "sasl.jaas.config";

#[test]
fn stores() -> Result<()> {
    let world = world()?;
    let path = |path: &std::path::Path| path.display().to_string();
    let trust_pem = path(&world.stores.pem.trust);
    let trust = (TRUST, trust_pem.as_str());
    let tls = |settings: &[(&str, &str)], properties: &[&str]| {
        mistaken(world, Listener::MutualTls, settings, properties)
    };
    tls(&[(TRUST, "/nowhere/trust.jks")], &[TRUST])?;
    tls(&[trust, (KEYS, "/nowhere/key.jks")], &[KEYS])?;
    // A JKS store opens without a password, but not the key in it.
    for (trust, keys, missing) in [
        (
            &world.stores.trust_jks,
            &world.stores.key_jks,
            "ssl.key.password",
        ),
        (
            &world.stores.trust_p12,
            &world.stores.key_p12,
            KEYS_PASSWORD,
        ),
    ] {
        let (trust, keys) = (path(trust), path(keys));
        tls(
            &[
                (TRUST, &trust),
                (TRUST_PASSWORD, WRONG),
                (KEYS, &keys),
                (KEYS_PASSWORD, WRONG),
            ],
            &[TRUST_PASSWORD, KEYS_PASSWORD],
        )?;
        tls(
            &[
                (TRUST, &trust),
                (TRUST_PASSWORD, STORE_PASSWORD),
                (KEYS, &keys),
            ],
            &[missing],
        )?;
        // Certificates only.
        tls(
            &[
                (TRUST, &trust),
                (TRUST_PASSWORD, STORE_PASSWORD),
                (KEYS, &trust),
                (KEYS_PASSWORD, STORE_PASSWORD),
            ],
            &[KEYS],
        )?;
    }
    // A file that is no store.
    let token = path(&world.token_file);
    tls(&[(TRUST, &token), (KEYS, &token)], &[TRUST, KEYS])?;
    // A key without its certificate.
    let (key, _) = crate::world::key_and_chain(&world.stores.pem.key)?;
    tls(
        &[trust, ("ssl.keystore.key", &key)],
        &["ssl.keystore.certificate.chain"],
    )?;
    // Text that is not PEM.
    let certificates = "ssl.truststore.certificates";
    tls(&[(certificates, WRONG)], &[certificates])
}

#[test]
fn logins() -> Result<()> {
    let world = world()?;
    let sasl = |settings: &[(&str, &str)], properties: &[&str]| {
        mistaken(world, Listener::SaslPlaintext, settings, properties)
    };
    let right = plain(PASSWORD);
    for text in [
        right.trim_end_matches(';').to_owned(),
        right.replace(" required", ""),
        right.replace("username", "user"),
        right.replace('"', "\u{201c}"),
        right.replace("PlainLoginModule", "OtherLoginModule"),
        format!("{right} {right}"),
        String::new(),
    ] {
        sasl(&[(MECHANISM, "PLAIN"), (JAAS, &text)], &[JAAS])?;
    }
    sasl(&[(MECHANISM, "SCRAM-SHA-512"), (JAAS, &right)], &[JAAS])?;
    sasl(&[(MECHANISM, "GSSAPI"), (JAAS, &right)], &[MECHANISM])?;
    sasl(&[(MECHANISM, "CRAM-MD5"), (JAAS, &right)], &[MECHANISM])?;
    sasl(&[(JAAS, &right)], &[MECHANISM])?;
    sasl(&[], &[MECHANISM, JAAS])?;
    let url = "sasl.oauthbearer.token.endpoint.url";
    let oauth = (MECHANISM, "OAUTHBEARER");
    let credentials = crate::world::client_credentials(crate::world::CLIENT_SECRET);
    sasl(&[oauth, (JAAS, &credentials)], &[url])?;
    sasl(&[oauth, (JAAS, &credentials), (url, "ftp://host/")], &[url])?;
    let nobody = crate::world::bearer("unsecuredLoginLifetimeSeconds=\"60\"");
    sasl(&[oauth, (JAAS, &nobody)], &[JAAS])
}

#[test]
fn several_at_once() -> Result<()> {
    let world = world()?;
    let unclosed = plain(PASSWORD).trim_end_matches(';').to_owned();
    mistaken(
        world,
        Listener::SaslSsl,
        &[
            ("ssl.enabled.protocols", "SSLv3"),
            (TRUST, "/nowhere/trust.jks"),
            (TRUST_PASSWORD, WRONG),
            (MECHANISM, "PLAIN"),
            (JAAS, &unclosed),
            ("request.timeout.ms", "soon"),
        ],
        &["ssl.enabled.protocols", TRUST, JAAS, "request.timeout.ms"],
    )
}
