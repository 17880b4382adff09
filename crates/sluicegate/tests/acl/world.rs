//! Brokers with lists of their own, a gateway with the same lists in front of them, and clients of both.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::http::Request as HttpRequest;
use testkit::raw::{RawClient, Request};
use testkit::{
    ClusterOptions, Error, Gateway, GatewayOptions, KafkaCluster, Listener, Release, Result, ports,
    shared, wait,
};
use wire::api::{ApiKey, Direction};

use crate::fixtures;
use crate::message;
use crate::principals::{MAIN, ROOT, bindings, singles};
use crate::way::{Side, error_codes, is_close};

/// How long conditions may take, the machine being busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Somebody at [`World::changing`]; has no lists until a test gives it some.
pub(crate) const READER: &str = "reader";

/// All brokers give this to everybody.
pub(crate) const PASSWORD: &str = "pass-of-the-tests";

const ADMIN: (&str, &str) = ("admin-user", "admin-pass-1");
const SIGNING_KEY: &str = "c2lnbmluZy1rZXktb2YtdGhlLXRlc3RzLTMyYnl0ZXM=";

pub(crate) struct World {
    /// Straight to the brokers, which decide.
    pub(crate) direct: Way,
    /// Through the gateway, which decides.
    pub(crate) gateway: Way,
    /// Through another gateway, for tests that change its lists. Fetch sessions that are open then end, which is no
    /// difference that questions should meet.
    pub(crate) changing: Way,
    /// What the brokers hold.
    pub(crate) state: fixtures::State,
    /// Kept running.
    _processes: Mutex<[Gateway; 2]>,
    cluster: KafkaCluster,
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
        let cluster = KafkaCluster::start_with(brokers())?;
        let process = gateway_options(&cluster).start()?;
        let other = gateway_options(&cluster).start()?;
        let doors = cluster.addresses(Listener::SaslPlaintext);
        let direct = Way {
            side: Side {
                letter: 'a',
                addresses: addresses(&doors)?,
                doors,
            },
            passwords: users().map(|name| (name, PASSWORD.to_owned())).collect(),
        };
        let gateway = Way::through(&process, users())?;
        let mut root = direct.clients(ROOT);
        let state = fixtures::make(&mut root)?;
        load(&mut root)?;
        load(&mut gateway.clients(ROOT))?;
        Ok(World {
            direct,
            gateway,
            state,
            changing: Way::through(&other, [ROOT, READER].map(str::to_owned))?,
            _processes: Mutex::new([process, other]),
            cluster,
        })
    }

    /// Where to begin at the brokers.
    pub(crate) fn bootstrap(&self, listener: Listener) -> String {
        self.cluster.bootstrap(listener)
    }

    pub(crate) fn ways(&self) -> [&Way; 2] {
        [&self.direct, &self.gateway]
    }

    /// A gateway of its own, with lists of its own, that can be started again on the same ports.
    pub(crate) fn another_gateway(&self) -> GatewayOptions {
        gateway_options(&self.cluster)
            .env("GATEWAY_PORT_START", &ports::range(5).to_string())
            .env("GATEWAY_HTTP_PORT", &ports::free().to_string())
    }
}

/// A gateway that leaves logins and rights to the brokers, as a super user of theirs, and the way through it.
pub(crate) fn relaying(world: &World, cluster_id: &str) -> Result<(Gateway, Way)> {
    let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
    let jaas = format!("{module} required username=\"{ROOT}\" password=\"{PASSWORD}\";");
    let process = gateway_options_at(&world.cluster, Listener::SaslPlaintext)
        .env("GATEWAY_CLUSTER_ID", cluster_id)
        .env("GATEWAY_SECURITY_MODE", "KAFKA_MANAGED")
        .env("GATEWAY_AUTO_CREATE_TOPICS_ENABLED", "false")
        .env("KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
        .env("KAFKA_SASL_MECHANISM", "PLAIN")
        .env("KAFKA_SASL_JAAS_CONFIG", &jaas)
        .without("GATEWAY_USER_POOL_SECRET_KEY")
        .without("GATEWAY_ACL_ENABLED")
        .without("GATEWAY_SUPER_USERS")
        .start()?;
    let way = Way {
        side: Side::through(&process)?,
        passwords: world.direct.passwords.clone(),
    };
    Ok((process, way))
}

/// One way to the brokers.
pub(crate) struct Way {
    pub(crate) side: Side,
    passwords: BTreeMap<String, String>,
}

impl Way {
    /// Through a gateway, as users that it is told of first.
    pub(crate) fn through(
        process: &Gateway,
        users: impl IntoIterator<Item = String>,
    ) -> Result<Way> {
        let passwords = users.into_iter().map(|name| {
            let token = account(process.http_port(), &name)?;
            Ok((name, token))
        });
        Ok(Way {
            side: Side::through(process)?,
            passwords: passwords.collect::<Result<_>>()?,
        })
    }

    /// Connections of a user, opened when needed.
    pub(crate) fn clients<'w>(&'w self, user: &str) -> Clients<'w> {
        Clients {
            way: self,
            user: user.to_owned(),
            open: BTreeMap::new(),
        }
    }

    /// The settings of a Java client.
    pub(crate) fn java_settings(&self, user: &str) -> [(&'static str, String); 3] {
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
        let password = &self.passwords[user];
        let jaas = format!("{module} required username=\"{user}\" password=\"{password}\";");
        [
            ("security.protocol", "SASL_PLAINTEXT".to_owned()),
            ("sasl.mechanism", "PLAIN".to_owned()),
            ("sasl.jaas.config", jaas),
        ]
    }

    /// Versions that this way offers, by key.
    pub(crate) fn versions(&self) -> Result<BTreeMap<i16, (i16, i16)>> {
        let body = json!({ "ClientSoftwareName": "test", "ClientSoftwareVersion": "1" });
        let answer = self.clients(ROOT).must(1, ApiKey::API_VERSIONS, 3, &body)?;
        let number = |value: &Value| value.as_i64().and_then(|value| i16::try_from(value).ok());
        let range = |api: &Value| {
            let range = (number(&api["MinVersion"])?, number(&api["MaxVersion"])?);
            Some((number(&api["ApiKey"])?, range))
        };
        let keys = answer["ApiKeys"].as_array().map(Vec::as_slice);
        Ok(keys.unwrap_or_default().iter().filter_map(range).collect())
    }
}

/// Connections of one user along one way.
pub(crate) struct Clients<'w> {
    pub(crate) way: &'w Way,
    user: String,
    open: BTreeMap<i32, RawClient>,
}

impl Clients<'_> {
    /// Asks a broker; `Null` if the connection is closed instead of an answer. Asks again while a coordinator is not done yet
    /// with something earlier.
    pub(crate) fn ask(
        &mut self,
        node: i32,
        api: ApiKey,
        version: i16,
        body: &Value,
    ) -> Result<Value> {
        const LOADING: i64 = 14;
        const CONCURRENT_TRANSACTIONS: i64 = 51;
        /// While a partition asks the coordinator whether it belongs to a transaction.
        const VERIFYING: [i64; 2] = [15, 19];
        let bytes = message::encode(api, version, Direction::Request, body);
        wait::until("a coordinator to be ready", LIMIT, || {
            let answer = match self.exchange(node, api, version, &bytes) {
                Ok(answer) => answer,
                Err(error) => return Ok(Some(Err(error))),
            };
            let busy = error_codes(api, &answer).into_iter().any(|code| {
                code == LOADING || code == CONCURRENT_TRANSACTIONS || VERIFYING.contains(&code)
            });
            Ok((!busy).then_some(Ok(answer)))
        })?
    }

    /// [`Clients::ask`] that must not give an error.
    pub(crate) fn must(
        &mut self,
        node: i32,
        api: ApiKey,
        version: i16,
        body: &Value,
    ) -> Result<Value> {
        let answer = self.ask(node, api, version, body)?;
        let failed =
            answer.is_null() || error_codes(api, &answer).into_iter().any(|code| code != 0);
        match failed {
            false => Ok(answer),
            true => Err(Error::Violated(format!(
                "{api} v{version} as a preparation along {:?}: {answer}",
                self.way.side
            ))),
        }
    }

    fn exchange(&mut self, node: i32, api: ApiKey, version: i16, body: &[u8]) -> Result<Value> {
        let client = match self.open.entry(node) {
            std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::btree_map::Entry::Vacant(entry) => {
                let mut client = RawClient::connect(&self.way.side.doors[&node])?;
                log_in(&mut client, &self.user, &self.way.passwords[&self.user])?;
                entry.insert(client)
            }
        };
        match call(client, api, version, body) {
            Err(Error::Io { source, .. }) if is_close(&source) => {
                self.open.remove(&node);
                Ok(Value::Null)
            }
            answer => answer,
        }
    }
}

fn call(client: &mut RawClient, api: ApiKey, version: i16, body: &[u8]) -> Result<Value> {
    let answer = client.call(Request {
        api: api.0,
        version,
        flexible: wire::header::request_header_version(api, version) >= 2,
        client_id: "acl",
        body,
    })?;
    let header = usize::from(wire::header::response_header_version(api, version) > 0);
    message::decode(
        api,
        version,
        Direction::Response,
        answer.get(header..).unwrap_or_default(),
    )
    .map_err(|error| {
        let bytes = message::hex(&answer);
        Error::Answer(format!("{api} v{version}: {error}: {bytes}"))
    })
}

fn log_in(client: &mut RawClient, user: &str, password: &str) -> Result<()> {
    let secret = message::hex(format!("\0{user}\0{password}").as_bytes());
    for (api, body) in [
        (ApiKey::SASL_HANDSHAKE, json!({ "Mechanism": "PLAIN" })),
        (ApiKey::SASL_AUTHENTICATE, json!({ "AuthBytes": secret })),
    ] {
        let body = message::encode(api, 1, Direction::Request, &body);
        let answer = call(client, api, 1, &body)?;
        if answer["ErrorCode"] != 0 {
            return Err(Error::Violated(format!("{api} of {user}: {answer}")));
        }
    }
    Ok(())
}

/// Gives one side the lists.
fn load(root: &mut Clients<'_>) -> Result<()> {
    let all = bindings();
    root.must(1, ApiKey::CREATE_ACLS, 3, &json!({ "Creations": all }))?;
    let any = any_binding();
    // Brokers learn of them from the metadata log.
    for node in 1..=3 {
        wait::until_true("all bindings to be known", LIMIT, || {
            let answer = root.ask(node, ApiKey::DESCRIBE_ACLS, 3, &any);
            answer.is_ok_and(|answer| count(&answer) >= all.len())
        })?;
    }
    Ok(())
}

/// The filter of DescribeAcls and DeleteAcls that selects all bindings.
pub(crate) fn any_binding() -> Value {
    json!({
        "ResourceTypeFilter": 1,
        "ResourceNameFilter": null,
        "PatternTypeFilter": 1,
        "PrincipalFilter": null,
        "HostFilter": null,
        "Operation": 1,
        "PermissionType": 1,
    })
}

/// Bindings in an answer to DescribeAcls.
pub(crate) fn count(answer: &Value) -> usize {
    let resources = answer["Resources"].as_array().into_iter().flatten();
    resources
        .map(|resource| resource["Acls"].as_array().map_or(0, Vec::len))
        .sum()
}

fn users() -> impl Iterator<Item = String> {
    MAIN.into_iter()
        .map(str::to_owned)
        .chain(singles().into_iter().map(|single| single.name))
}

fn brokers() -> ClusterOptions {
    const HALF_AN_HOUR: &str = "1800000";
    let mut options = ClusterOptions::new(Release::V4_3)
        .property(
            "authorizer.class.name",
            "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        )
        // Brokers, controllers and the gateway come without credentials.
        .property("super.users", &format!("User:ANONYMOUS;User:{ROOT}"))
        .property("auto.create.topics.enable", "true")
        // One broker coordinates all.
        .property("offsets.topic.num.partitions", "1")
        .property("transaction.state.log.num.partitions", "1")
        .property("share.coordinator.state.topic.num.partitions", "1");
    // Nobody sends heartbeats for the members that the fixtures have.
    for kind in ["consumer", "share", "streams"] {
        for key in ["session.timeout.ms", "max.session.timeout.ms"] {
            options = options.property(&format!("group.{kind}.{key}"), HALF_AN_HOUR);
        }
    }
    for name in users() {
        options = options.user(&name, PASSWORD);
    }
    options
}

/// A gateway that the brokers take for a super user.
fn gateway_options(cluster: &KafkaCluster) -> GatewayOptions {
    gateway_options_at(cluster, Listener::Plaintext)
}

fn gateway_options_at(cluster: &KafkaCluster, listener: Listener) -> GatewayOptions {
    let admins = json!([{"username": ADMIN.0, "password": ADMIN.1, "admin": true}]);
    GatewayOptions::new(
        env!("CARGO_BIN_EXE_sluicegate"),
        &cluster.bootstrap(listener),
    )
    .env("GATEWAY_CLUSTER_ID", &shared::unique("acl"))
    .env("GATEWAY_SECURITY_MODE", "GATEWAY_MANAGED")
    .env("GATEWAY_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    .env("GATEWAY_USER_POOL_SECRET_KEY", SIGNING_KEY)
    .env("GATEWAY_ACL_ENABLED", "true")
    // As brokers have it.
    .env("GATEWAY_AUTO_CREATE_TOPICS_ENABLED", "true")
    .env("GATEWAY_SUPER_USERS", ROOT)
    .env("GATEWAY_ADMIN_API_USERS", &admins.to_string())
}

impl Side {
    fn through(process: &Gateway) -> Result<Side> {
        let doors: BTreeMap<i32, String> = (1..)
            .zip((0..3).map(|slot| process.address(slot)))
            .collect();
        Ok(Side {
            letter: 'b',
            addresses: addresses(&doors)?,
            doors,
        })
    }
}

/// Makes an account and gives a token for it.
fn account(http_port: u16, name: &str) -> Result<String> {
    let call = |method: &'static str, path: &str, body: &Value| -> Result<Value> {
        let request = HttpRequest::new(method, path)
            .basic(ADMIN.0, ADMIN.1)
            .json(body);
        match request.send(http_port)? {
            (200, text) => {
                serde_json::from_str(&text).map_err(|error| Error::Answer(error.to_string()))
            }
            (status, text) => Err(Error::Answer(format!("{status} to {path}: {text}"))),
        }
    };
    let resource = json!({
        "apiVersion": "gateway/v2",
        "kind": "GatewayServiceAccount",
        "metadata": { "name": name },
        "spec": { "type": "LOCAL" },
    });
    call("PUT", "/gateway/v2/service-account", &resource)?;
    let wanted = json!({ "username": name, "lifeTimeSeconds": 3600 });
    let answer = call("POST", "/gateway/v2/token", &wanted)?;
    let token = answer["token"].as_str();
    token
        .map(str::to_owned)
        .ok_or_else(|| Error::Answer("no token".to_owned()))
}

fn addresses(doors: &BTreeMap<i32, String>) -> Result<BTreeMap<i32, (String, u16)>> {
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
