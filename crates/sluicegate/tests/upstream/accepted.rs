//! Settings that lead to a working gateway.

use testkit::cert::STORE_PASSWORD;
use testkit::{Gateway, Listener, Result};

use crate::world::{
    CLIENT_SECRET, PASSWORD, assert_no_secrets, bearer, client_credentials, file_url,
    key_and_chain, plain, round_trip, scram, text, world,
};

/// Starts a gateway, lets clients work through it, stops it, searches its output for secrets.
fn works(listener: Listener, settings: &[(&str, &str)]) -> Result<()> {
    let world = world()?;
    let options = world.gateway(listener, settings);
    let mut gateway = options.env("GATEWAY_SECURED_METRICS", "false").start()?;
    round_trip(&gateway)?;
    assert_counted(&gateway, listener, settings)?;
    assert_eq!(gateway.stop()?, 0);
    assert_no_secrets(world, &gateway.log())
}

/// What the metrics say about connections to brokers: the phases that there are, and when our certificate ends.
fn assert_counted(gateway: &Gateway, listener: Listener, settings: &[(&str, &str)]) -> Result<()> {
    let (_, scrape) = gateway.get("/metrics")?;
    let value = |series: &str| -> Option<f64> {
        let value = scrape.lines().find_map(|line| line.strip_prefix(series));
        value.and_then(|value| value.trim().parse().ok())
    };
    let phase = |phase: &str| {
        let series = format!("gateway_upstream_handshake_seconds_count{{phase=\"{phase}\"}}");
        value(&series).unwrap_or_default()
    };
    assert!(phase("tcp") > 0.0, "{scrape}");
    let protocol = listener.security_protocol();
    assert_eq!(phase("tls") > 0.0, protocol.ends_with("SSL"), "{protocol}");
    assert_eq!(
        phase("sasl") > 0.0,
        protocol.starts_with("SASL"),
        "{protocol}"
    );
    let has_key = settings
        .iter()
        .any(|(name, _)| name.starts_with("ssl.keystore"));
    let expiry = value("gateway_certificate_expiry_seconds{use=\"upstream\"}");
    assert_eq!(expiry.is_some(), has_key);
    assert!(expiry.is_none_or(|at| at > 1_600_000_000.0), "{expiry:?}");
    Ok(())
}

#[test]
fn plaintext() -> Result<()> {
    works(Listener::Plaintext, &[])
}

#[test]
fn trust_stores_of_all_kinds() -> Result<()> {
    let stores = &world()?.stores;
    let pem = stores.pem.trust.display().to_string();
    works(
        Listener::Ssl,
        &[
            ("ssl.truststore.type", "PEM"),
            ("ssl.truststore.location", &pem),
        ],
    )?;
    let certificates = text(&stores.pem.trust)?;
    works(
        Listener::Ssl,
        &[("ssl.truststore.certificates", &certificates)],
    )?;
    for (kind, path) in [("JKS", &stores.trust_jks), ("PKCS12", &stores.trust_p12)] {
        let path = path.display().to_string();
        works(
            Listener::Ssl,
            &[
                ("ssl.truststore.type", kind),
                ("ssl.truststore.location", &path),
                ("ssl.truststore.password", STORE_PASSWORD),
            ],
        )?;
    }
    Ok(())
}

#[test]
fn key_stores_of_all_kinds() -> Result<()> {
    let stores = &world()?.stores;
    let trust = stores.pem.trust.display().to_string();
    let trust = ("ssl.truststore.location", trust.as_str());
    let pem = stores.pem.key.display().to_string();
    works(
        Listener::MutualTls,
        &[trust, ("ssl.keystore.location", &pem)],
    )?;
    let (key, chain) = key_and_chain(&stores.pem.key)?;
    works(
        Listener::MutualTls,
        &[
            trust,
            ("ssl.keystore.key", &key),
            ("ssl.keystore.certificate.chain", &chain),
        ],
    )?;
    for (kind, path) in [("JKS", &stores.key_jks), ("PKCS12", &stores.key_p12)] {
        let path = path.display().to_string();
        works(
            Listener::MutualTls,
            &[
                trust,
                ("ssl.keystore.type", kind),
                ("ssl.keystore.location", &path),
                ("ssl.keystore.password", STORE_PASSWORD),
            ],
        )?;
    }
    Ok(())
}

#[test]
fn passwords_by_every_mechanism() -> Result<()> {
    let trust = world()?.stores.pem.trust.display().to_string();
    for listener in [Listener::SaslPlaintext, Listener::SaslSsl] {
        for (mechanism, jaas) in [
            ("PLAIN", plain(PASSWORD)),
            ("SCRAM-SHA-256", scram(PASSWORD)),
            ("SCRAM-SHA-512", scram(PASSWORD)),
        ] {
            let mut settings = vec![
                ("sasl.mechanism", mechanism),
                ("sasl.jaas.config", jaas.as_str()),
            ];
            if listener == Listener::SaslSsl {
                settings.push(("ssl.truststore.location", &trust));
            }
            works(listener, &settings)?;
        }
    }
    Ok(())
}

#[test]
fn bearer_tokens_of_all_sources() -> Result<()> {
    let world = world()?;
    let mechanism = ("sasl.mechanism", "OAUTHBEARER");
    works(
        Listener::SaslPlaintext,
        &[
            mechanism,
            ("sasl.jaas.config", &client_credentials(CLIENT_SECRET)),
            (
                "sasl.oauthbearer.token.endpoint.url",
                &world.token_endpoint()?,
            ),
        ],
    )?;
    works(
        Listener::SaslPlaintext,
        &[
            mechanism,
            ("sasl.jaas.config", &bearer("")),
            (
                "sasl.oauthbearer.token.endpoint.url",
                &file_url(&world.token_file),
            ),
        ],
    )?;
    works(
        Listener::SaslSsl,
        &[
            mechanism,
            (
                "sasl.jaas.config",
                &bearer("unsecuredLoginStringClaim_sub=\"gateway\""),
            ),
            (
                "ssl.truststore.location",
                &world.stores.pem.trust.display().to_string(),
            ),
        ],
    )
}

#[test]
fn another_name_when_names_are_not_checked() -> Result<()> {
    let world = world()?;
    let trust = world.stores.pem.trust.display().to_string();
    let mut gateway = world
        .gateway(
            Listener::Ssl,
            &[
                ("ssl.truststore.location", &trust),
                ("ssl.endpoint.identification.algorithm", ""),
                ("bootstrap.servers", &crate::refused::misnamed(world)),
            ],
        )
        .start()?;
    round_trip(&gateway)?;
    assert_eq!(gateway.stop()?, 0);
    let log = gateway.log();
    assert!(
        log.lines().any(|line| line.contains("WARN")
            && line.contains("KAFKA_SSL_ENDPOINT_IDENTIFICATION_ALGORITHM")),
        "{log}"
    );
    Ok(())
}
