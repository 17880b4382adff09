//! What all tests share: the cluster, key material, tokens, and gateways in front.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use testkit::cert::{Authority, STORE_PASSWORD, Stores};
use testkit::dirs::Scratch;
use testkit::http::Server;
use testkit::oauth::OAuthIssuer;
use testkit::{
    ClusterOptions, Error, Gateway, GatewayOptions, KafkaCluster, Listener, Release, Result,
    librdkafka, shared,
};

/// How long a session lasts on [`Listener::Relayed`].
pub(crate) const SESSION: Duration = Duration::from_secs(4);

pub(crate) const USER: &str = "gateway";
pub(crate) const PASSWORD: &str = "gateway-pass-1";
pub(crate) const CLIENT_SECRET: &str = "endpoint-pass-1";

/// `gateway:endpoint-pass-1` in base64.
const BASIC: &str = "Z2F0ZXdheTplbmRwb2ludC1wYXNzLTE=";

pub(crate) struct World {
    pub(crate) cluster: KafkaCluster,
    /// A client's identity and the brokers' authority, in files.
    pub(crate) stores: Stores,
    /// The same of another authority, which the brokers do not know.
    pub(crate) strange: Stores,
    /// `POST /token` gives tokens to who knows [`CLIENT_SECRET`].
    tokens: Mutex<Server>,
    /// A token that the brokers accept.
    pub(crate) token_file: PathBuf,
    /// A token that somebody else signed.
    pub(crate) strange_token_file: PathBuf,
    _scratch: Scratch,
}

/// The world, made when first asked for.
pub(crate) fn world() -> Result<&'static World> {
    static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
    WORLD
        .get_or_init(|| World::new().map_err(|error| error.to_string()))
        .as_ref()
        .map_err(|error| Error::Violated(error.clone()))
}

impl World {
    fn new() -> Result<World> {
        let scratch = Scratch::new("upstream")?;
        let dir = scratch.path();
        let issuer = OAuthIssuer::new("https://issuer.test", "kafka")?;
        let key_set = issuer.write_key_set(dir)?;
        let token_file = dir.join("token");
        write(&token_file, &issuer.token(USER, HOUR)?)?;
        let stranger = OAuthIssuer::new(issuer.issuer(), issuer.audience())?;
        let strange_token_file = dir.join("strange-token");
        write(&strange_token_file, &stranger.token(USER, HOUR)?)?;

        let mut options = ClusterOptions::new(Release::V4_3)
            .user(USER, PASSWORD)
            .jwks(&key_set, issuer.issuer(), issuer.audience());
        for (key, value) in broker_properties() {
            options = options.property(&key, &value);
        }
        let cluster = KafkaCluster::start_with(options)?;
        let authority = cluster.authority();
        let stores = authority.write_stores(&authority.issue_client(USER)?, dir, "client")?;
        let elsewhere = Authority::new("Elsewhere")?;
        let strange = elsewhere.write_stores(&elsewhere.issue_client(USER)?, dir, "strange")?;
        Ok(World {
            cluster,
            stores,
            strange,
            tokens: Mutex::new(token_endpoint(issuer)?),
            token_file,
            strange_token_file,
            _scratch: scratch,
        })
    }

    pub(crate) fn token_endpoint(&self) -> Result<String> {
        let tokens = self.tokens.lock().expect("no test panics holding it");
        Ok(tokens.url("/token"))
    }

    /// A gateway in front of `listener`, with Kafka properties for its own connections. Everything is logged, so
    /// that a secret in any line is found.
    pub(crate) fn gateway(&self, listener: Listener, settings: &[(&str, &str)]) -> GatewayOptions {
        let mut options = GatewayOptions::new(
            env!("CARGO_BIN_EXE_sluicegate"),
            &self.cluster.bootstrap(listener),
        )
        .env("GATEWAY_SECURITY_PROTOCOL", "PLAINTEXT")
        .env("LOG4J2_ROOT_LEVEL", "trace")
        .env("LOG4J2_ORG_APACHE_KAFKA_LEVEL", "debug")
        .env("LOG4J2_IO_CONDUKTOR_UPSTREAM_THREAD_LEVEL", "debug")
        .env("KAFKA_SECURITY_PROTOCOL", protocol(listener));
        for (property, value) in settings {
            options = options.env(&variable(property), value);
        }
        options
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// The security protocol of a listener here.
fn protocol(listener: Listener) -> &'static str {
    match listener {
        Listener::Relayed => "SASL_PLAINTEXT",
        other => other.security_protocol(),
    }
}

/// The environment variable of a Kafka property.
pub(crate) fn variable(property: &str) -> String {
    format!("KAFKA_{}", property.to_uppercase().replace('.', "_"))
}

/// Makes [`Listener::Relayed`] ask for SASL and limit sessions; lets [`Listener::SaslSsl`] take tokens without a
/// signature.
fn broker_properties() -> Vec<(String, String)> {
    let security = "org.apache.kafka.common.security";
    let mut properties = vec![
        (
            "listener.security.protocol.map".to_owned(),
            "INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,MTLS:SSL,\
             SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,RELAYED:SASL_PLAINTEXT"
                .to_owned(),
        ),
        (
            "listener.name.sasl_ssl.oauthbearer.sasl.server.callback.handler.class".to_owned(),
            format!(
                "{security}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
            ),
        ),
        (
            "listener.name.relayed.sasl.enabled.mechanisms".to_owned(),
            "PLAIN,SCRAM-SHA-512,OAUTHBEARER".to_owned(),
        ),
    ];
    let mut relayed = |mechanism: &str, key: &str, value: String| {
        properties.push((format!("listener.name.relayed.{mechanism}.{key}"), value));
    };
    for (mechanism, module) in [
        (
            "plain",
            format!("plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\""),
        ),
        (
            "scram-sha-512",
            "scram.ScramLoginModule required".to_owned(),
        ),
        (
            "oauthbearer",
            "oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"broker\""
                .to_owned(),
        ),
    ] {
        relayed(
            mechanism,
            "sasl.jaas.config",
            format!("{security}.{module};"),
        );
        relayed(
            mechanism,
            "connections.max.reauth.ms",
            SESSION.as_millis().to_string(),
        );
    }
    relayed(
        "oauthbearer",
        "sasl.server.callback.handler.class",
        format!("{security}.oauthbearer.OAuthBearerValidatorCallbackHandler"),
    );
    properties
}

fn token_endpoint(issuer: OAuthIssuer) -> Result<Server> {
    Server::start(move |request| {
        let known = request
            .headers
            .iter()
            .any(|line| line.ends_with(&format!("Basic {BASIC}")));
        match (known, issuer.token(USER, HOUR)) {
            (true, Ok(token)) => (
                200,
                format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600}}"#),
            ),
            _ => (401, r#"{"error":"invalid_client"}"#.to_owned()),
        }
    })
}

pub(crate) fn plain(password: &str) -> String {
    login("plain.PlainLoginModule", USER, password)
}

pub(crate) fn scram(password: &str) -> String {
    login("scram.ScramLoginModule", USER, password)
}

pub(crate) fn login(module: &str, user: &str, password: &str) -> String {
    format!(
        "org.apache.kafka.common.security.{module} required username=\"{user}\" password=\"{password}\";"
    )
}

pub(crate) fn bearer(options: &str) -> String {
    format!(
        "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required {options};"
    )
}

pub(crate) fn client_credentials(secret: &str) -> String {
    bearer(&format!("clientId=\"{USER}\" clientSecret=\"{secret}\""))
}

pub(crate) fn file_url(path: &Path) -> String {
    format!("file://{}", path.display())
}

pub(crate) fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|source| Error::Io {
        doing: format!("read {}", path.display()),
        source,
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|source| Error::Io {
        doing: format!("write {}", path.display()),
        source,
    })
}

/// A PEM key store as key and chain: the first block is the key.
pub(crate) fn key_and_chain(path: &Path) -> Result<(String, String)> {
    let pem = text(path)?;
    let border = pem.find("-----BEGIN CERTIFICATE").unwrap_or(pem.len());
    let (key, chain) = pem.split_at(border);
    Ok((key.to_owned(), chain.to_owned()))
}

/// Produces and consumes through the gateway, from all brokers.
pub(crate) fn round_trip(gateway: &Gateway) -> Result<()> {
    let topic = shared::unique("upstream");
    librdkafka::create_topic(&gateway.bootstrap(), &topic, 3)?;
    let values: Vec<String> = (0..30).map(|n| format!("value {n:02}")).collect();
    librdkafka::produce(&gateway.bootstrap(), &[], &topic, values.clone())?;
    let mut seen = librdkafka::consume(&gateway.bootstrap(), &[], &topic, &topic, values.len())?;
    seen.sort();
    assert_eq!(seen, values);
    Ok(())
}

/// Panics if the output holds a secret of any test.
pub(crate) fn assert_no_secrets(world: &World, output: &str) -> Result<()> {
    let tokens = [text(&world.token_file)?, text(&world.strange_token_file)?];
    let (key, _) = key_and_chain(&world.stores.pem.key)?;
    let key_line = key.lines().nth(1).unwrap_or_default();
    assert!(key_line.len() > 40, "a line of the key");
    for secret in [
        PASSWORD,
        CLIENT_SECRET,
        STORE_PASSWORD,
        WRONG,
        BASIC,
        key_line,
    ] {
        assert!(!output.contains(secret), "{secret:?} in:\n{output}");
    }
    for token in tokens {
        // Header and claims tell nothing that needs hiding; the signature makes it a credential.
        let signature = token.rsplit('.').next().unwrap_or_default();
        assert!(!output.contains(signature), "a token in:\n{output}");
    }
    Ok(())
}

/// Stands for every password that is not the right one.
pub(crate) const WRONG: &str = "wr0ng-hunter2";
