//! Brokers, a gateway in front of them, virtual clusters, accounts, and what everybody has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, OnceLock};

use serde_json::{Value, json};
use testkit::http::Request as HttpRequest;
use testkit::{
    ClusterOptions, Error, Gateway, GatewayOptions, KafkaCluster, Listener, Release, Result,
};
use wire::api::ApiKey;
use wire::testing::Rng;

use crate::fixtures::{self, Coordinators, Extent, Facts};
use crate::line::{Client, Door};
use crate::names::{ALIAS, Names, Owner, TARGET};
use crate::pools::Pools;
use crate::search::Markers;
use crate::sessions::Sessions;

/// Ordinary user of the attacker's virtual cluster, and its super user.
pub(crate) const USERS: [&str; 2] = ["ann", "root-a"];
/// Super user of the victim's.
const ROOT: &str = "root-b";

/// What clients reach the gateway by, which is not what they reach brokers by.
const ADVERTISED_HOST: &str = "gw.test";
const ADMIN: (&str, &str) = ("admin-user", "admin-pass-1");
const SIGNING_KEY: &str = "c2lnbmluZy1rZXktb2YtdGhlLXRlc3RzLTMyYnl0ZXM=";

/// Everything that the tests of this binary share.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) names: Names,
    pub(crate) coordinators: Coordinators,
    pub(crate) pools: Pools,
    pub(crate) markers: Markers,
    pub(crate) sessions: Mutex<Sessions>,
    direct: Door,
    doors: BTreeMap<&'static str, Door>,
    /// Kept running.
    _gateway: Mutex<Gateway>,
    _cluster: KafkaCluster,
}

impl World {
    /// Starts all, once.
    pub(crate) fn get() -> &'static World {
        static WORLD: OnceLock<Result<World, String>> = OnceLock::new();
        let world = WORLD.get_or_init(|| World::start().map_err(|error| error.to_string()));
        match world {
            Ok(world) => world,
            Err(error) => panic!("{error}"),
        }
    }

    fn start() -> Result<World> {
        let seed = seed();
        println!("SLUICEGATE_TEST_SEED={seed}");
        let mut rng = Rng::new(seed);
        let names = Names::new(&mut rng);
        let cluster = KafkaCluster::start_with(brokers())?;
        let gateway = GatewayOptions::new(
            env!("CARGO_BIN_EXE_sluicegate"),
            &cluster.bootstrap(Listener::Plaintext),
        )
        .env("GATEWAY_CLUSTER_ID", &names.gateway)
        .env("GATEWAY_ADVERTISED_HOST", ADVERTISED_HOST)
        .env("GATEWAY_SECURITY_MODE", "GATEWAY_MANAGED")
        .env("GATEWAY_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
        .env("GATEWAY_USER_POOL_SECRET_KEY", SIGNING_KEY)
        .env("GATEWAY_AUTO_CREATE_TOPICS_ENABLED", "true")
        .env("GATEWAY_ADMIN_API_USERS", &admins())
        .start()?;
        let direct = Door {
            addresses: cluster.addresses(Listener::Plaintext),
            login: None,
            client_id: "nobody".to_owned(),
        };
        let admin = Admin(gateway.http_port());
        admin.make_virtual_clusters(&names)?;
        let passwords = admin.make_accounts(&names)?;
        let ports: BTreeMap<i32, String> = (1..)
            .zip((0..3).map(|slot| gateway.address(slot)))
            .collect();
        let doors = passwords.into_iter().map(|(user, password)| {
            let door = Door {
                addresses: ports.clone(),
                login: Some((user.to_owned(), password)),
                client_id: "leak".to_owned(),
            };
            (user, door)
        });
        let doors: BTreeMap<&str, Door> = doors.collect();

        let mut client = Client::new(direct.clone());
        let coordinators = Coordinators::find(&mut client)?;
        let target = names.outside.physical(&names.outside.secret, TARGET);
        let target_id = fixtures::topic(&mut client, &target)?;
        admin.make_alias(&names.attacker, ALIAS, &target)?;
        let facts = furnish(&direct, &names, coordinators, &mut rng)?;
        let sessions = Sessions::open(&direct, &doors[ROOT], &names)?;
        let listed = topics(&mut client)?;

        let gateway_topics: Vec<String> = listed
            .keys()
            .filter(|name| name.contains(&names.gateway))
            .cloned()
            .collect();
        let mut pools = Pools::new(&names, &gateway_topics, cluster.cluster_id());
        let folder = cluster.dir().display().to_string();
        pools.folders.push(format!("{folder}/data-1"));
        pools.foreign.sessions = sessions.ids();
        let mut markers = Markers::default();
        for (owner, facts) in names.others().into_iter().zip(&facts[1..]) {
            mark(&mut markers, &mut pools, owner, facts);
        }
        pools.own.ids = facts[0].ids.values().copied().collect();
        for name in listed.keys().filter(|name| name.starts_with("__")) {
            pools.foreign.ids.push(listed[name]);
            markers.known_id(listed[name], format!("id of {name}"));
        }
        for name in &gateway_topics {
            markers.bytes(&listed[name], format!("id of {name}"));
        }
        markers.bytes(&target_id, "id of what an alias stands for");
        pools.foreign.ids.extend([[0; 16], [1; 16], [0x42; 16]]);
        for address in direct.addresses.values() {
            markers.text(address, "address of a broker");
        }
        markers.prefix(&names.attacker.prefix, pools.spoken());
        let addresses = ports.values().filter_map(|address| {
            let port = address.rsplit_once(':')?.1.parse().ok()?;
            Some((ADVERTISED_HOST.to_owned(), port))
        });
        let addresses: BTreeSet<(String, i64)> = addresses.collect();
        let cluster_id = format!("{}@{}", names.attacker.prefix, cluster.cluster_id());
        markers.cluster(cluster_id, addresses);
        Ok(World {
            seed,
            names,
            coordinators,
            pools,
            markers,
            sessions: Mutex::new(sessions),
            direct,
            doors,
            _gateway: Mutex::new(gateway),
            _cluster: cluster,
        })
    }

    /// A client that speaks to Kafka.
    pub(crate) fn direct(&self) -> Client {
        Client::new(self.direct.clone())
    }

    /// A client of a user of the attacker's virtual cluster.
    pub(crate) fn client(&self, user: &str) -> Client {
        Client::new(self.doors[user].clone())
    }

    /// A client of the victim's super user.
    pub(crate) fn victim(&self) -> Client {
        self.client(ROOT)
    }
}

/// All topics and their ids.
pub(crate) fn topics(direct: &mut Client) -> Result<BTreeMap<String, [u8; 16]>> {
    let all = json!({ "Topics": null, "AllowAutoTopicCreation": false });
    let answer = direct.must(1, ApiKey::METADATA, 12, &all)?;
    let topics = answer["Topics"].as_array().into_iter().flatten();
    Ok(topics
        .filter_map(|topic| {
            let name = topic["Name"].as_str()?.to_owned();
            Some((name, fixtures::uuid(&topic["TopicId"])))
        })
        .collect())
}

/// What the attacker gets to know of an owner, and what not.
fn mark(markers: &mut Markers, pools: &mut Pools, owner: &Owner, facts: &Facts) {
    let label = owner.label;
    markers.text(&owner.secret, format!("a word of {label}"));
    for (name, id) in &facts.ids {
        match name.contains(&owner.known) {
            true => {
                pools.foreign.ids.push(*id);
                markers.known_id(*id, format!("id of a known topic of {label}"));
            }
            false => markers.bytes(id, format!("id of a topic of {label}")),
        }
    }
    for (name, producer) in &facts.producers {
        match name.contains(&owner.known) {
            true => pools.foreign.producers.push((producer.id, producer.epoch)),
            false => markers.producer(producer.id, format!("a producer of {label}")),
        }
    }
    for (number, what) in &facts.numbers {
        markers.number(*number, what);
    }
}

/// Makes what everybody has, the attacker's first; all at once.
fn furnish(
    direct: &Door,
    names: &Names,
    coordinators: Coordinators,
    rng: &mut Rng,
) -> Result<Vec<Facts>> {
    let owners = [(&names.attacker, Extent::Groups)]
        .into_iter()
        .chain(names.others().map(|owner| match owner.prefix.is_empty() {
            true => (owner, Extent::Plain),
            false => (owner, Extent::Groups),
        }));
    std::thread::scope(|scope| {
        let makers: Vec<_> = owners
            .map(|(owner, extent)| {
                let mut rng = Rng::new(rng.number());
                let mut door = direct.clone();
                door.client_id = format!("client-of-{}", owner.secret);
                scope.spawn(move || {
                    let mut client = Client::new(door);
                    fixtures::make(&mut client, owner, extent, coordinators, &mut rng)
                })
            })
            .collect();
        let join = |maker: std::thread::ScopedJoinHandle<'_, Result<Facts>>| {
            let panicked = || Error::Violated("a maker of fixtures panicked".to_owned());
            maker.join().map_err(|_| panicked())?
        };
        makers.into_iter().map(join).collect()
    })
}

/// The HTTP side of the gateway.
struct Admin(u16);

impl Admin {
    fn call(&self, method: &'static str, path: &str, body: &Value) -> Result<Value> {
        let request = HttpRequest::new(method, &format!("/gateway/v2/{path}"))
            .basic(ADMIN.0, ADMIN.1)
            .json(body);
        match request.send_patiently(self.0)? {
            (200, text) => {
                serde_json::from_str(&text).map_err(|error| Error::Answer(error.to_string()))
            }
            (204, _) => Ok(Value::Null),
            (status, text) => Err(Error::Answer(format!(
                "{status} to {method} {path} {body}: {text}"
            ))),
        }
    }

    fn put(&self, path: &str, kind: &str, metadata: Value, spec: Value) -> Result<()> {
        let resource = json!({
            "apiVersion": "gateway/v2", "kind": kind, "metadata": metadata, "spec": spec,
        });
        self.call("PUT", path, &resource).map(drop)
    }

    fn make_virtual_clusters(&self, names: &Names) -> Result<()> {
        let make = |owner: &Owner, spec: Value| {
            let metadata = json!({ "name": owner.prefix });
            self.put("virtual-cluster", "VirtualCluster", metadata, spec)
        };
        let kafka_api = |user: &str| json!({ "aclEnabled": true, "superUsers": [user] });
        let declared = json!({
            "aclEnabled": true,
            "aclMode": "REST_API",
            "acls": [{
                "resourcePattern": {
                    "resourceType": "TOPIC", "name": names.longer.secret, "patternType": "LITERAL",
                },
                "principal": format!("User:{}", names.longer.secret),
                "host": "*",
                "operation": "READ",
                "permissionType": "ALLOW",
            }],
        });
        make(&names.attacker, kafka_api(USERS[1]))?;
        make(&names.victim, kafka_api(ROOT))?;
        make(&names.longer, declared)?;
        make(&names.retired, json!({}))?;
        let path = format!("virtual-cluster/{}", names.retired.prefix);
        self.call("DELETE", &path, &Value::Null).map(drop)
    }

    /// Accounts of all; gives passwords of those who log in.
    fn make_accounts(&self, names: &Names) -> Result<BTreeMap<&'static str, String>> {
        for owner in [&names.victim, &names.longer, &names.outside] {
            for word in owner.words() {
                self.make_account(&owner.prefix, word)?;
            }
        }
        let mut passwords = BTreeMap::new();
        for (owner, user) in [
            (&names.attacker, USERS[0]),
            (&names.attacker, USERS[1]),
            (&names.victim, ROOT),
        ] {
            self.make_account(&owner.prefix, user)?;
            let wanted = json!({
                "vCluster": owner.prefix, "username": user, "lifeTimeSeconds": 36_000,
            });
            let answer = self.call("POST", "token", &wanted)?;
            let token = answer["token"].as_str().unwrap_or_default();
            passwords.insert(user, token.to_owned());
        }
        Ok(passwords)
    }

    fn make_account(&self, vcluster: &str, name: &str) -> Result<()> {
        let metadata = json!({ "name": name, "vCluster": vcluster });
        let spec = json!({ "type": "LOCAL" });
        self.put("service-account", "GatewayServiceAccount", metadata, spec)
    }

    fn make_alias(&self, owner: &Owner, name: &str, target: &str) -> Result<()> {
        let metadata = json!({ "name": name, "vCluster": owner.prefix });
        let spec = json!({ "physicalName": target });
        self.put("alias-topic", "AliasTopic", metadata, spec)
    }
}

fn admins() -> String {
    json!([{ "username": ADMIN.0, "password": ADMIN.1, "admin": true }]).to_string()
}

fn brokers() -> ClusterOptions {
    const HALF_AN_HOUR: &str = "1800000";
    let mut options = ClusterOptions::new(Release::V4_3)
        .property("auto.create.topics.enable", "true")
        .property("transaction.max.timeout.ms", HALF_AN_HOUR)
        // Members that nobody hears of again soon make room for others.
        .property("group.min.session.timeout.ms", "50")
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
    options
}

/// From the environment, else from the clock.
fn seed() -> u64 {
    let given = std::env::var("SLUICEGATE_TEST_SEED").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |elapsed| elapsed.as_nanos() as u64)
    })
}
