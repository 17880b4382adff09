//! What all tests share: the cluster, key material, the identity provider, the clients.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use testkit::cert::{Authority, PemFiles, STORE_PASSWORD, Stores};
use testkit::dirs::Scratch;
use testkit::driver::{Client, Driver, Report, Task};
use testkit::oauth::{LiveIssuer, OAuthIssuer};
use testkit::{
    Access, ClusterOptions, Error, KafkaCluster, Listener, Release, Result, driver, librdkafka,
    shared,
};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// How long a session lasts on [`Listener::Relayed`].
pub(crate) const KAFKA_SESSION: Duration = Duration::from_secs(8);

/// The gateway's own account at Kafka, and one of a client.
pub(crate) const GATEWAY: (&str, &str) = ("gateway", "gateway-pass-1");
pub(crate) const ALICE: (&str, &str) = ("alice", "alice-secret");

/// Stands for every password that is not the right one.
pub(crate) const WRONG: &str = "wr0ng-hunter2";

/// Name of the cluster's authority.
const AUTHORITY: &str = "Sluicegate test authority";

pub(crate) const AUDIENCE: &str = "kafka";

pub(crate) struct World {
    pub(crate) cluster: KafkaCluster,
    /// A client's certificate (`CN=carol`) and the authority of everybody.
    pub(crate) carol: Stores,
    /// The same of an authority that nobody knows, and still the authority that clients trust.
    pub(crate) strange: Stores,
    /// Certificate and key of gateways.
    pub(crate) server: PemFiles,
    /// Signs tokens that gateways and brokers accept.
    pub(crate) issuer: LiveIssuer,
    scratch: Scratch,
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
        let scratch = Scratch::new("security")?;
        let dir = scratch.path();
        let issuer = OAuthIssuer::new("https://issuer.test", AUDIENCE)?;
        let key_set = issuer.write_key_set(dir)?;
        let mut options = ClusterOptions::new(Release::V4_3)
            .user(GATEWAY.0, GATEWAY.1)
            .jwks(&key_set, issuer.issuer(), issuer.audience());
        for (key, value) in relayed_listener() {
            options = options.property(&key, &value);
        }
        let cluster = KafkaCluster::start_with(options)?;
        let authority = cluster.authority();
        let carol = authority.write_stores(&authority.issue_client("carol")?, dir, "carol")?;
        // Of the same name as the brokers' authority, or clients would keep the certificate to themselves.
        let elsewhere = Authority::new(AUTHORITY)?;
        let mut strange =
            elsewhere.write_stores(&elsewhere.issue_client("carol")?, dir, "strange")?;
        strange.pem.trust.clone_from(&carol.pem.trust);
        strange.trust_p12.clone_from(&carol.trust_p12);
        let server = authority.issue_server(&SERVER_NAMES)?;
        let server = authority.write_pem(&server, dir, "front")?;
        Ok(World {
            cluster,
            carol,
            strange,
            server,
            issuer: LiveIssuer::start(issuer)?,
            scratch,
        })
    }

    /// A topic of its own with a partition on each broker.
    pub(crate) fn topic(&self, label: &str) -> Result<String> {
        let topic = shared::unique(label);
        librdkafka::create_topic(&self.cluster.bootstrap(Listener::Plaintext), &topic, 3)?;
        Ok(topic)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// A token for `subject` that gateways and brokers accept.
    pub(crate) fn token(&self, subject: &str) -> Result<String> {
        self.issuer.with(|issuer| issuer.token(subject, HOUR))
    }

    /// Panics if the output holds a secret of these tests; `more` are tokens.
    pub(crate) fn assert_no_secrets(&self, output: &str, more: &[&str]) -> Result<()> {
        let key = read(&self.server.key)?;
        let key = key.lines().nth(1).unwrap_or_default().to_owned();
        assert!(key.len() > 40, "a line of the key");
        for secret in [
            GATEWAY.1,
            ALICE.1,
            WRONG,
            STORE_PASSWORD,
            crate::front::ADMIN.1,
            crate::front::SIGNING_KEY,
            &key,
        ] {
            assert!(!output.contains(secret), "{secret:?} in:\n{output}");
        }
        for token in more {
            // Header and claims tell nothing that needs hiding; the signature makes it a credential.
            let signature = token.rsplit('.').next().unwrap_or_default();
            assert!(!output.contains(signature), "a token in:\n{output}");
        }
        Ok(())
    }
}

/// Names in the certificates of gateways.
pub(crate) const SERVER_NAMES: [&str; 3] = ["127.0.0.1", "gateway.test", "*.gateway.test"];

/// The process with clients of a kind.
pub(crate) fn client(client: Client) -> Result<&'static Driver> {
    driver::shared(client, "driver")
}

/// Gives all tasks to all kinds of clients at once; panics with a list of what failed.
pub(crate) fn all_succeed(
    clients: &[Client],
    topic: &str,
    cells: &[(String, Access)],
) -> Result<()> {
    let mut given = Vec::new();
    for kind in clients {
        for (name, access) in cells {
            let task = client(*kind)?.give(Task::RoundTrip, topic, access)?;
            given.push((format!("{name}, {kind:?}"), task));
        }
    }
    let mut failed = Vec::new();
    for (name, task) in given {
        let Report { ok, took, text, .. } = task.wait()?;
        if !ok {
            failed.push(format!("{name}, after {took:?}: {text}"));
        }
    }
    assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
    Ok(())
}

/// Claims of a token of the issuer, to be changed.
pub(crate) fn claims(subject: &str) -> Value {
    let now = now();
    json!({
        "iss": "https://issuer.test", "aud": AUDIENCE, "sub": subject,
        "iat": now, "exp": now + HOUR.as_secs(),
    })
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(Error::io(format!("read {}", path.display())))
}

/// Makes `link` point to `target`, at once for everybody who looks.
pub(crate) fn swap_link(link: &Path, target: &Path) -> Result<()> {
    let fresh: PathBuf = link.with_extension("fresh");
    std::os::unix::fs::symlink(target, &fresh).map_err(Error::io("make a symbolic link"))?;
    std::fs::rename(&fresh, link).map_err(Error::io("rename a symbolic link"))
}

/// Makes [`Listener::Relayed`] ask for SASL and limit sessions.
fn relayed_listener() -> Vec<(String, String)> {
    let security = "org.apache.kafka.common.security";
    let mut properties = vec![
        (
            "listener.security.protocol.map".to_owned(),
            "INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,MTLS:SSL,\
             SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,RELAYED:SASL_PLAINTEXT"
                .to_owned(),
        ),
        (
            "listener.name.relayed.sasl.enabled.mechanisms".to_owned(),
            "PLAIN,SCRAM-SHA-512".to_owned(),
        ),
    ];
    let users: String = [GATEWAY, ALICE]
        .iter()
        .map(|(name, password)| format!(" user_{name}=\"{password}\""))
        .collect();
    for (mechanism, module) in [
        ("plain", format!("plain.PlainLoginModule required{users}")),
        (
            "scram-sha-512",
            "scram.ScramLoginModule required".to_owned(),
        ),
    ] {
        let listener = format!("listener.name.relayed.{mechanism}");
        properties.push((
            format!("{listener}.sasl.jaas.config"),
            format!("{security}.{module};"),
        ));
        properties.push((
            format!("{listener}.connections.max.reauth.ms"),
            KAFKA_SESSION.as_millis().to_string(),
        ));
    }
    properties
}
