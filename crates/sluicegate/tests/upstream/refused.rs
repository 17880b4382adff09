//! Starts that end because gateway and brokers do not accept each other: exit status 1, one ERROR that names the variable
//! to look at and gives the reason, no secret.

use testkit::{Listener, Result};

use crate::world::{
    PASSWORD, WRONG, World, assert_no_secrets, bearer, client_credentials, file_url, login, plain,
    scram, variable, world,
};

/// Brokers of [`Listener::Ssl`] under an address that is not in their certificate: on Linux, 0.0.0.0 leads to
/// this machine.
pub(crate) fn misnamed(world: &World) -> String {
    world
        .cluster
        .bootstrap(Listener::Ssl)
        .replace("127.0.0.1", "0.0.0.0")
}

/// A gateway that must not start; `property` is to blame and `reason` is in the same line.
fn refused(
    listener: Listener,
    settings: &[(&str, &str)],
    property: &str,
    reason: &str,
) -> Result<()> {
    let world = world()?;
    let mut gateway = world
        .gateway(listener, settings)
        .env("GATEWAY_STARTUP_KAFKA_TIMEOUT_MS", "10000")
        .launch()?;
    let status = gateway.wait_exit()?;
    let log = gateway.log();
    assert_eq!(status, 1, "{log}");
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(
        matches!(errors[..], [line] if line.contains(&variable(property)) && line.contains(reason)),
        "{property}, {reason}: {errors:#?} in\n{log}"
    );
    assert_no_secrets(world, &log)
}

#[test]
fn certificates_of_brokers() -> Result<()> {
    let world = world()?;
    let strange = world.strange.pem.trust.display().to_string();
    let store = "ssl.truststore.location";
    refused(Listener::Ssl, &[(store, &strange)], store, "UnknownIssuer")?;
    let text = crate::world::text(&world.strange.pem.trust)?;
    let certificates = "ssl.truststore.certificates";
    refused(
        Listener::Ssl,
        &[(certificates, &text)],
        certificates,
        "UnknownIssuer",
    )?;
    // The roots of the system.
    refused(Listener::Ssl, &[], store, "UnknownIssuer")?;
    let trust = world.stores.pem.trust.display().to_string();
    refused(
        Listener::Ssl,
        &[(store, &trust), ("bootstrap.servers", &misnamed(world))],
        "ssl.endpoint.identification.algorithm",
        "0.0.0.0",
    )
}

#[test]
fn certificates_of_the_gateway() -> Result<()> {
    let world = world()?;
    let trust = world.stores.pem.trust.display().to_string();
    let trust = ("ssl.truststore.location", trust.as_str());
    let strange = world.strange.pem.key.display().to_string();
    let store = "ssl.keystore.location";
    refused(Listener::MutualTls, &[trust], store, "")?;
    refused(Listener::MutualTls, &[trust, (store, &strange)], store, "")
}

/// Each listener of Kafka with the protocol of another one.
#[test]
fn protocols_of_other_listeners() -> Result<()> {
    let world = world()?;
    let trust = world.stores.pem.trust.display().to_string();
    let trust = ("ssl.truststore.location", trust.as_str());
    let (mechanism, right) = (("sasl.mechanism", "PLAIN"), plain(PASSWORD));
    let jaas = ("sasl.jaas.config", right.as_str());
    let protocol = "security.protocol";
    let check =
        |listener, settings: &[(&str, &str)], reason| refused(listener, settings, protocol, reason);
    let plaintext = (protocol, "PLAINTEXT");
    check(Listener::Ssl, &[plaintext], "it speaks TLS")?;
    check(Listener::SaslSsl, &[plaintext], "it speaks TLS")?;
    check(Listener::SaslPlaintext, &[plaintext], "it wants a login")?;
    let ssl = (protocol, "SSL");
    check(Listener::SaslSsl, &[ssl, trust], "it wants a login")?;
    check(Listener::Plaintext, &[ssl, trust], "it speaks no TLS")?;
    check(Listener::SaslPlaintext, &[ssl, trust], "it speaks no TLS")?;
    let sasl = (protocol, "SASL_PLAINTEXT");
    let login = [sasl, mechanism, jaas];
    check(Listener::Plaintext, &login, "asks for no login")?;
    check(Listener::SaslSsl, &login, "it speaks TLS")?;
    let sasl_ssl = [(protocol, "SASL_SSL"), mechanism, jaas, trust];
    check(Listener::Ssl, &sasl_ssl, "asks for no login")?;
    check(Listener::SaslPlaintext, &sasl_ssl, "it speaks no TLS")
}

#[test]
fn passwords_and_users() -> Result<()> {
    let jaas = "sasl.jaas.config";
    for (mechanism, wrong_password, nobody) in [
        (
            "PLAIN",
            plain(WRONG),
            login("plain.PlainLoginModule", "nobody", PASSWORD),
        ),
        (
            "SCRAM-SHA-256",
            scram(WRONG),
            login("scram.ScramLoginModule", "nobody", PASSWORD),
        ),
        (
            "SCRAM-SHA-512",
            scram(WRONG),
            login("scram.ScramLoginModule", "nobody", PASSWORD),
        ),
    ] {
        for text in [&wrong_password, &nobody] {
            refused(
                Listener::SaslPlaintext,
                &[("sasl.mechanism", mechanism), (jaas, text)],
                jaas,
                "Authentication failed",
            )?;
        }
    }
    Ok(())
}

#[test]
fn a_mechanism_that_the_broker_lacks() -> Result<()> {
    refused(
        Listener::Relayed,
        &[
            ("sasl.mechanism", "SCRAM-SHA-256"),
            ("sasl.jaas.config", &scram(PASSWORD)),
        ],
        "sasl.mechanism",
        "SCRAM-SHA-512",
    )
}

#[test]
fn tokens() -> Result<()> {
    let world = world()?;
    let mechanism = ("sasl.mechanism", "OAUTHBEARER");
    let url = "sasl.oauthbearer.token.endpoint.url";
    let jaas = "sasl.jaas.config";
    // The identity provider does not know the secret.
    refused(
        Listener::SaslPlaintext,
        &[
            mechanism,
            (jaas, &client_credentials(WRONG)),
            (url, &world.token_endpoint()?),
        ],
        jaas,
        "invalid_client",
    )?;
    // The broker does not know the signer.
    refused(
        Listener::SaslPlaintext,
        &[
            mechanism,
            (jaas, &bearer("")),
            (url, &file_url(&world.strange_token_file)),
        ],
        url,
        "invalid_token",
    )?;
    // A file that is missing.
    refused(
        Listener::SaslPlaintext,
        &[
            mechanism,
            (jaas, &bearer("")),
            (url, "file:///nowhere/token"),
        ],
        url,
        "/nowhere/token",
    )?;
    // Nobody at home: tried again until the time for the start is up.
    refused(
        Listener::SaslPlaintext,
        &[
            mechanism,
            (jaas, &client_credentials(WRONG)),
            (url, "http://127.0.0.1:1/token"),
        ],
        url,
        "127.0.0.1:1",
    )
}
