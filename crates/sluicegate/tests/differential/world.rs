//! The cluster, the gateway in front of it, and how a case is compared along both ways.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError, RwLock};

use serde_json::{Value, json};
use testkit::{Error, Gateway, GatewayOptions, KafkaCluster, Listener, Release, Result};
use wire::api::ApiKey;

use crate::prepare;
use crate::side::Run;
use crate::way::{Side, compare};

/// Shorter than the brokers' own host name, so that rewritten answers change their length.
const ADVERTISED_HOST: &str = "gw.test";

/// How often a reading case is asked again because the cluster changed meanwhile.
const READINGS: usize = 50;

/// A case: asks along one way. It must do the same on every call, apart from names.
pub(crate) type Script = fn(&mut Run<'_>) -> Result<()>;

/// Everything that the tests of this binary share.
pub(crate) struct World {
    pub(crate) direct: Side,
    pub(crate) gateway: Side,
    direct_versions: BTreeMap<i16, (i16, i16)>,
    gateway_versions: BTreeMap<i16, (i16, i16)>,
    /// Taken for writing while the cluster must not change.
    quiet: RwLock<()>,
    /// Kept running.
    _process: Mutex<Gateway>,
    cluster: KafkaCluster,
}

impl World {
    /// Starts all, once.
    pub(crate) fn get() -> &'static World {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(|| match World::start() {
            Ok(world) => world,
            Err(error) => panic!("{error}"),
        })
    }

    fn start() -> Result<World> {
        let cluster = KafkaCluster::start(Release::V4_3)?;
        let upstream = cluster.bootstrap(Listener::Relayed);
        let process = GatewayOptions::new(env!("CARGO_BIN_EXE_sluicegate"), &upstream)
            .env("GATEWAY_ADVERTISED_HOST", ADVERTISED_HOST)
            // As brokers have it.
            .env("GATEWAY_AUTO_CREATE_TOPICS_ENABLED", "true")
            .start()?;
        let doors = cluster.addresses(Listener::Plaintext);
        let direct = Side {
            letter: 'a',
            addresses: doors
                .iter()
                .map(|(id, address)| Ok((*id, split(address)?)))
                .collect::<Result<_>>()?,
            doors,
        };
        let gateway = gateway_side(&process, ADVERTISED_HOST)?;
        let mut run = Run::new(&direct, ApiKey::API_VERSIONS, 0);
        prepare::fixtures(&mut run)?;
        prepare::side_fixtures(&mut run)?;
        prepare::side_fixtures(&mut Run::new(&gateway, ApiKey::API_VERSIONS, 0))?;
        Ok(World {
            direct_versions: versions(&direct)?,
            gateway_versions: versions(&gateway)?,
            direct,
            gateway,
            quiet: RwLock::new(()),
            _process: Mutex::new(process),
            cluster,
        })
    }

    /// The brokers behind the gateway.
    pub(crate) fn cluster(&self) -> &KafkaCluster {
        &self.cluster
    }

    /// Versions that the gateway offers.
    pub(crate) fn offered(&self, api: ApiKey) -> Option<(i16, i16)> {
        self.gateway_versions.get(&api.0).copied()
    }

    /// Versions that both the brokers and the gateway offer.
    pub(crate) fn common(&self, api: ApiKey) -> Vec<i16> {
        let (Some(direct), Some(gateway)) = (self.direct_versions.get(&api.0), self.offered(api))
        else {
            return Vec::new();
        };
        let spec = api.spec().expect("a known API");
        (direct.0.max(gateway.0).max(spec.min_version)..=direct.1.min(gateway.1)).collect()
    }

    /// Connections that the gateway has opened to brokers so far.
    pub(crate) fn upstream_connections(&self) -> u64 {
        let nodes = self.cluster.node_ids().into_iter();
        nodes
            .map(|node| self.cluster.with_relay(node, |relay| relay.accepted()))
            .sum()
    }

    /// Calls `act` while no case runs.
    pub(crate) fn alone<T>(&self, act: impl FnOnce() -> T) -> T {
        let _alone = self.quiet.write().unwrap_or_else(PoisonError::into_inner);
        act()
    }

    /// Runs a case that changes things, along both ways at once, each with names of its own.
    pub(crate) fn compare_changes(
        &self,
        api: ApiKey,
        version: i16,
        script: Script,
    ) -> Result<(), String> {
        let _shared = self.quiet.read().unwrap_or_else(PoisonError::into_inner);
        let (direct, gateway) = std::thread::scope(|scope| {
            let direct = scope.spawn(|| transcript(Run::new(&self.direct, api, version), script));
            let gateway = transcript(Run::new(&self.gateway, api, version), script);
            (direct.join(), gateway)
        });
        let direct = direct.map_err(|_| "the direct run panicked".to_owned())?;
        compare(&direct?, &gateway?)
    }

    /// Runs a case that only reads: direct, through the gateway, and direct again. If both direct runs differ, the
    /// cluster has changed in between, and all is asked again.
    pub(crate) fn compare_readings(
        &self,
        api: ApiKey,
        version: i16,
        script: Script,
    ) -> Result<(), String> {
        let _alone = self.quiet.write().unwrap_or_else(PoisonError::into_inner);
        let read = |side| transcript(Run::reading(side, api, version), script);
        let mut direct = read(&self.direct)?;
        let mut change = String::new();
        for _ in 0..READINGS {
            let gateway = read(&self.gateway)?;
            let again = read(&self.direct)?;
            match compare(&direct, &again) {
                Ok(()) => return compare(&direct, &gateway),
                Err(difference) => change = difference,
            }
            direct = again;
        }
        Err(format!("the brokers never say the same twice:\n{change}"))
    }
}

/// The way through a gateway that advertises `host`.
pub(crate) fn gateway_side(process: &Gateway, host: &str) -> Result<Side> {
    let doors: BTreeMap<i32, String> = (1..)
        .zip((0..3).map(|slot| process.address(slot)))
        .collect();
    let addresses = doors
        .iter()
        .map(|(id, address)| Ok((*id, (host.to_owned(), split(address)?.1))));
    Ok(Side {
        letter: 'b',
        addresses: addresses.collect::<Result<_>>()?,
        doors,
    })
}

fn transcript(mut run: Run<'_>, script: Script) -> Result<Vec<String>, String> {
    match script(&mut run) {
        Ok(()) => Ok(run.transcript()),
        Err(error) => Err(format!("    from {:?}: {error}", run.side)),
    }
}

fn versions(side: &Side) -> Result<BTreeMap<i16, (i16, i16)>> {
    let body = json!({ "ClientSoftwareName": "test", "ClientSoftwareVersion": "1" });
    let answer = Run::new(side, ApiKey::API_VERSIONS, 3).must(1, ApiKey::API_VERSIONS, 3, body)?;
    let number = |value: &Value| value.as_i64().and_then(|value| i16::try_from(value).ok());
    let range = |api: &Value| {
        let range = (number(&api["MinVersion"])?, number(&api["MaxVersion"])?);
        Some((number(&api["ApiKey"])?, range))
    };
    let keys = answer["ApiKeys"].as_array().map(Vec::as_slice);
    Ok(keys.unwrap_or_default().iter().filter_map(range).collect())
}

fn split(address: &str) -> Result<(String, u16)> {
    let broken = || Error::Answer(format!("{address} is no address"));
    let (host, port) = address.rsplit_once(':').ok_or_else(broken)?;
    Ok((host.to_owned(), port.parse().map_err(|_| broken())?))
}
