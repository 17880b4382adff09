//! What all tests share: the brokers, the gateway in front of them, virtual clusters made on demand.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::driver::{Client, Driver};
use testkit::oauth::{LiveIssuer, OAuthIssuer};
use testkit::{
    Access, ClusterOptions, Error, Gateway, GatewayOptions, KafkaCluster, Listener, Login, Release,
    Result, driver, shared,
};
use wire::api::ApiKey;

use crate::api::Api;
use crate::caller::Caller;
use crate::side::Run;
use crate::way::Side;

/// How long conditions may take, the machine being busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// The virtual cluster that has no prefix.
pub(crate) const PASSTHROUGH: &str = "passthrough";

/// A super user of [`PASSTHROUGH`], and a name that most virtual clusters have.
pub(crate) const ROOT: &str = "root";

/// Names the gateway's state topics and groups.
const GATEWAY_CLUSTER: &str = "gateway";

/// Signs the tokens of accounts: [`SIGNING_KEY_BYTES`], base64.
const SIGNING_KEY: &str = "c2lnbmluZy1rZXktb2YtdGhlLXRlc3RzLTMyYnl0ZXM=";
pub(crate) const SIGNING_KEY_BYTES: &[u8] = b"signing-key-of-the-tests-32bytes";

/// A case of the comparison: asks along one way.
pub(crate) type Script = fn(&mut Run<'_>) -> Result<()>;

pub(crate) struct World {
    pub(crate) cluster: KafkaCluster,
    pub(crate) front: Front,
    /// Signs tokens of an identity provider that the gateway trusts.
    pub(crate) issuer: LiveIssuer,
}

impl World {
    /// Starts all, once.
    pub(crate) fn get() -> Result<&'static World> {
        static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
        WORLD
            .get_or_init(|| World::start().map_err(|error| error.to_string()))
            .as_ref()
            .map_err(|error| Error::Violated(error.clone()))
    }

    fn start() -> Result<World> {
        let cluster = KafkaCluster::start_with(
            ClusterOptions::new(Release::V4_3)
                // Groups that ask for it hear sooner of new members.
                .property("group.consumer.min.heartbeat.interval.ms", "100")
                // What those who were killed have begun ends soon.
                .property(
                    "transaction.abort.timed.out.transaction.cleanup.interval.ms",
                    "1000",
                ),
        )?;
        let issuer = LiveIssuer::start(OAuthIssuer::new("https://issuer.test", "kafka")?)?;
        let front = Front::start(with_issuer(&cluster, &issuer, Listener::Relayed))?;
        front.api.account(PASSTHROUGH, ROOT)?;
        Ok(World {
            cluster,
            front,
            issuer,
        })
    }

    /// Another gateway of this world.
    pub(crate) fn gateway_options(&self, listener: Listener) -> GatewayOptions {
        with_issuer(&self.cluster, &self.issuer, listener)
    }

    /// A new virtual cluster without access control. Its name begins with `label`, letters only, and is no prefix of any
    /// other's.
    pub(crate) fn tenant(&'static self, label: &str) -> Result<Tenant<'static>> {
        self.front.tenant(&fresh_name(label), json!({}))
    }

    /// [`World::tenant`] with access control through Kafka's requests, and [`ROOT`] as super user.
    pub(crate) fn guarded(&'static self, label: &str) -> Result<Tenant<'static>> {
        let spec = json!({ "aclEnabled": true, "aclMode": "KAFKA_API", "superUsers": [ROOT] });
        self.front.tenant(&fresh_name(label), spec)
    }

    /// [`PASSTHROUGH`].
    pub(crate) fn passthrough(&'static self) -> Tenant<'static> {
        Tenant {
            name: PASSTHROUGH.to_owned(),
            front: &self.front,
        }
    }

    /// Straight to the brokers.
    pub(crate) fn brokers(&self) -> Caller {
        Caller::new(self.cluster.addresses(Listener::Plaintext), None)
    }

    /// Straight to the brokers.
    pub(crate) fn broker_bootstrap(&self) -> String {
        self.cluster.bootstrap(Listener::Plaintext)
    }
}

/// A name for a virtual cluster that is no prefix of any other such name.
pub(crate) fn fresh_name(label: &str) -> String {
    // Ends with no digit: else the first would be a prefix of the tenth.
    format!("{}-", shared::unique(label))
}

/// A gateway of this world on brokers of any kind.
pub(crate) fn gateway_options(bootstrap: &str) -> GatewayOptions {
    let (user, password) = Api::CREDENTIALS;
    let admins = json!([{ "username": user, "password": password, "admin": true }]);
    GatewayOptions::new(env!("CARGO_BIN_EXE_sluicegate"), bootstrap)
        .env("GATEWAY_CLUSTER_ID", GATEWAY_CLUSTER)
        .env("GATEWAY_SECURITY_MODE", "GATEWAY_MANAGED")
        .env("GATEWAY_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
        .env("GATEWAY_USER_POOL_SECRET_KEY", SIGNING_KEY)
        .env("GATEWAY_SUPER_USERS", ROOT)
        .env("GATEWAY_ADMIN_API_USERS", &admins.to_string())
}

/// A gateway that trusts an identity provider.
fn with_issuer(cluster: &KafkaCluster, issuer: &LiveIssuer, listener: Listener) -> GatewayOptions {
    gateway_options(&cluster.bootstrap(listener))
        .env("GATEWAY_OAUTH_JWKS_URL", issuer.key_set_url())
        .env("GATEWAY_OAUTH_EXPECTED_ISSUER", "https://issuer.test")
        .env("GATEWAY_OAUTH_EXPECTED_AUDIENCES", "[kafka]")
}

/// A running gateway.
pub(crate) struct Front {
    process: Mutex<Gateway>,
    pub(crate) api: Api,
    /// Where to connect for a broker, by node id.
    pub(crate) doors: BTreeMap<i32, String>,
}

impl Front {
    pub(crate) fn start(options: GatewayOptions) -> Result<Front> {
        let process = options.start()?;
        Ok(Front {
            api: Api::at(process.http_port()),
            doors: (1..)
                .zip((0..3).map(|slot| process.address(slot)))
                .collect(),
            process: Mutex::new(process),
        })
    }

    /// Memory that the gateway takes now.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.process().resident_bytes()
    }

    /// The most that it has taken.
    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        self.process().peak_resident_bytes()
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.process().log()
    }

    /// The value of a series, labels as in the text.
    pub(crate) fn metric(&self, series: &str) -> Result<f64> {
        let scrape = self.api.must("GET", "/metrics", &Value::Null)?;
        let lines = scrape.as_str().unwrap_or_default().lines();
        let value = lines
            .filter_map(|line| line.rsplit_once(' '))
            .find_map(|(of, value)| (of == series).then_some(value));
        value
            .and_then(|value| value.parse().ok())
            .ok_or_else(|| Error::Answer(format!("no {series}")))
    }

    fn process(&self) -> MutexGuard<'_, Gateway> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A virtual cluster of this name, with an account [`ROOT`].
    pub(crate) fn tenant(&self, name: &str, spec: Value) -> Result<Tenant<'_>> {
        self.api.virtual_cluster(name, spec)?;
        self.tenant_as_it_is(name)
    }

    /// A virtual cluster that exists, with an account [`ROOT`].
    pub(crate) fn tenant_as_it_is(&self, name: &str) -> Result<Tenant<'_>> {
        self.api.account(name, ROOT)?;
        Ok(Tenant {
            name: name.to_owned(),
            front: self,
        })
    }
}

/// A virtual cluster as its users see it.
pub(crate) struct Tenant<'w> {
    pub(crate) name: String,
    front: &'w Front,
}

impl<'w> Tenant<'w> {
    /// The same virtual cluster behind another gateway.
    pub(crate) fn at<'f>(&self, front: &'f Front) -> Tenant<'f> {
        Tenant {
            name: self.name.clone(),
            front,
        }
    }

    /// What the brokers call a topic, group or transactional id.
    pub(crate) fn physical(&self, logical: &str) -> String {
        match self.name.as_str() {
            PASSTHROUGH => logical.to_owned(),
            name => format!("{name}{logical}"),
        }
    }

    /// Makes another account.
    pub(crate) fn account(&self, user: &str) -> Result<()> {
        self.front.api.account(&self.name, user)
    }

    /// A password of an account.
    pub(crate) fn token(&self, user: &str) -> Result<String> {
        self.front.api.token(&self.name, user, 3600)
    }

    /// Connections of [`ROOT`].
    pub(crate) fn root(&self) -> Result<Caller> {
        self.caller(ROOT)
    }

    /// Connections of an account.
    pub(crate) fn caller(&self, user: &str) -> Result<Caller> {
        let login = (user.to_owned(), self.token(user)?);
        Ok(Caller::new(self.front.doors.clone(), Some(login)))
    }

    /// Somebody who calls himself like an account.
    pub(crate) fn impostor(&self, user: &str) -> Caller {
        let login = (user.to_owned(), "no token".to_owned());
        Caller::new(self.front.doors.clone(), Some(login))
    }

    /// Where clients begin.
    pub(crate) fn bootstrap(&self) -> String {
        self.front.doors[&1].clone()
    }

    /// A driver's client as [`ROOT`].
    pub(crate) fn access(&self) -> Result<Access> {
        self.access_of(ROOT)
    }

    pub(crate) fn access_of(&self, user: &str) -> Result<Access> {
        let login = Login::plain(user, &self.token(user)?);
        Ok(Access::new(&self.bootstrap()).login(login))
    }

    /// librdkafka's settings for [`ROOT`].
    pub(crate) fn settings(&self) -> Result<Settings> {
        self.settings_of(ROOT)
    }

    pub(crate) fn settings_of(&self, user: &str) -> Result<Settings> {
        let access = self.access_of(user)?.librdkafka_settings();
        Ok(Settings(
            access
                .into_iter()
                .filter(|(key, _)| key != "patience.ms")
                .collect(),
        ))
    }

    /// The way to the brokers that answers of this virtual cluster are compared along.
    pub(crate) fn side(&self) -> Result<Side> {
        Ok(Side {
            letter: 'b',
            addresses: addresses(&self.front.doors)?,
            doors: self.front.doors.clone(),
        })
    }
}

/// Settings of a client of librdkafka.
pub(crate) struct Settings(Vec<(String, String)>);

impl Settings {
    pub(crate) fn with(mut self, key: &str, value: &str) -> Settings {
        self.0.push((key.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn list(&self) -> Vec<(&str, &str)> {
        let pairs = self.0.iter();
        pairs.map(|(key, value)| (&**key, &**value)).collect()
    }
}

/// Host and port of each door.
pub(crate) fn addresses(doors: &BTreeMap<i32, String>) -> Result<BTreeMap<i32, (String, u16)>> {
    let broken = |address: &str| Error::Answer(format!("{address} is no address"));
    doors
        .iter()
        .map(|(id, address)| {
            let (host, port) = address.rsplit_once(':').ok_or_else(|| broken(address))?;
            let port = port.parse().map_err(|_| broken(address))?;
            Ok((*id, (host.to_owned(), port)))
        })
        .collect()
}

/// The process with clients of the current Java release.
pub(crate) fn java() -> Result<&'static Driver> {
    client(Client::Java(Release::V4_3))
}

/// The process with clients of a kind.
pub(crate) fn client(client: Client) -> Result<&'static Driver> {
    driver::shared(client, "driver")
}

/// Versions that somebody is offered, by key.
pub(crate) fn offered(caller: &mut Caller) -> Result<BTreeMap<i16, (i16, i16)>> {
    let body = json!({ "ClientSoftwareName": "test", "ClientSoftwareVersion": "1" });
    let answer = caller.must(1, ApiKey::API_VERSIONS, 3, &body)?;
    let number = |value: &Value| value.as_i64().and_then(|value| i16::try_from(value).ok());
    let range = |api: &Value| {
        let range = (number(&api["MinVersion"])?, number(&api["MaxVersion"])?);
        Some((number(&api["ApiKey"])?, range))
    };
    let keys = answer["ApiKeys"].as_array().map(Vec::as_slice);
    Ok(keys.unwrap_or_default().iter().filter_map(range).collect())
}
