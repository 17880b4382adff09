//! What all tests share: brokers behind relays, and gateways in front of them.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use testkit::http::Request as HttpRequest;
use testkit::raw::{RawClient, Request};
use testkit::relay::Relay;
use testkit::{
    ClusterOptions, Error, Gateway, GatewayOptions, KafkaCluster, Listener, Release, Result, wait,
};

use crate::scrape::Scrape;

/// How long conditions may take, the machine being busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// User and password of the admin port.
pub(crate) const ADMIN: (&str, &str) = ("admin-user", "admin-pass-1");

/// Broker that raw clients talk to: that of the first port.
pub(crate) const BROKER: i32 = 1;

/// What makes clients authenticate.
const SECURED: [(&str, &str); 3] = [
    ("GATEWAY_SECURITY_MODE", "GATEWAY_MANAGED"),
    ("GATEWAY_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
    (
        "GATEWAY_USER_POOL_SECRET_KEY",
        "c2lnbmluZy1rZXktb2YtdGhlLXRlc3RzLTMyYnl0ZXM=",
    ),
];

pub(crate) struct World {
    pub(crate) cluster: KafkaCluster,
    /// Clients are anonymous. The stages of requests are timed.
    pub(crate) open: Front,
    /// Clients authenticate.
    pub(crate) secured: Front,
}

/// The world, for one test at a time.
pub(crate) fn world() -> Result<MutexGuard<'static, World>> {
    static WORLD: OnceLock<Result<Mutex<World>, String>> = OnceLock::new();
    let world = WORLD.get_or_init(|| World::start().map(Mutex::new).map_err(|e| e.to_string()));
    match world {
        Ok(world) => Ok(world.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(error) => Err(Error::Violated(error.clone())),
    }
}

fn options(cluster: &KafkaCluster) -> GatewayOptions {
    options_for(&cluster.bootstrap(Listener::Relayed))
}

fn options_for(bootstrap: &str) -> GatewayOptions {
    let admins = format!(
        r#"[{{"username":"{}","password":"{}","admin":true}}]"#,
        ADMIN.0, ADMIN.1
    );
    GatewayOptions::new(env!("CARGO_BIN_EXE_sluicegate"), bootstrap)
        .env("GATEWAY_UPSTREAM_THREAD", "1")
        .env("GATEWAY_DOWNSTREAM_THREAD", "1")
        .env("GATEWAY_ADMIN_API_USERS", &admins)
}

fn with(options: GatewayOptions, settings: &[(&str, &str)]) -> GatewayOptions {
    let with = |options: GatewayOptions, (key, value): &(&str, &str)| options.env(key, value);
    settings.iter().fold(options, with)
}

impl World {
    fn start() -> Result<World> {
        let mut brokers = ClusterOptions::new(Release::V4_3);
        // Brokers remember each name that they were ever asked about.
        if let Ok(heap) = std::env::var("SLUICEGATE_TEST_BROKER_HEAP") {
            brokers = brokers.java_option(&format!("-Xmx{heap}"));
        }
        let cluster = KafkaCluster::start_with(brokers)?;
        let open = options(&cluster).env("GATEWAY_FEATURE_FLAGS_LIFECYCLE_METRICS", "true");
        let secured = with(options(&cluster), &SECURED);
        Ok(World {
            open: Front {
                gateway: open.start()?,
            },
            secured: Front {
                gateway: secured.start()?,
            },
            cluster,
        })
    }

    /// One more gateway for anonymous clients, with settings of its own.
    pub(crate) fn front(&self, settings: &[(&str, &str)]) -> Result<Front> {
        let gateway = with(options(&self.cluster), settings).start()?;
        Ok(Front { gateway })
    }

    /// One more gateway whose clients authenticate, with settings of its own.
    pub(crate) fn secured_front(&self, settings: &[(&str, &str)]) -> Result<Front> {
        let options = with(options(&self.cluster), &SECURED);
        let gateway = with(options, settings).start()?;
        Ok(Front { gateway })
    }

    /// Kafka, without a gateway.
    pub(crate) fn kafka(&self) -> String {
        self.cluster.bootstrap(Listener::Plaintext)
    }

    /// Acts on the relay in front of [`BROKER`].
    pub(crate) fn relay<T>(&self, act: impl FnOnce(&Relay) -> T) -> T {
        self.cluster.with_relay(BROKER, act)
    }
}

/// A gateway.
pub(crate) struct Front {
    pub(crate) gateway: Gateway,
}

impl Front {
    /// A gateway for anonymous clients before another cluster.
    pub(crate) fn start(bootstrap: &str, settings: &[(&str, &str)]) -> Result<Front> {
        let gateway = with(options_for(bootstrap), settings).start()?;
        Ok(Front { gateway })
    }

    pub(crate) fn text(&self, accept: &str) -> Result<String> {
        let request = HttpRequest::new("GET", "/metrics").basic(ADMIN.0, ADMIN.1);
        let (status, text) = request
            .header("accept", accept)
            .send(self.gateway.http_port())?;
        match status {
            200 => Ok(text),
            _ => Err(Error::Answer(format!("{status} to GET /metrics: {text}"))),
        }
    }

    pub(crate) fn scrape(&self) -> Result<Scrape> {
        Scrape::parse(&self.text("text/plain")?)
    }

    /// A call of the API that succeeds; gives the answer.
    pub(crate) fn call(&self, method: &'static str, path: &str, body: &str) -> Result<String> {
        let request = HttpRequest::new(method, path).basic(ADMIN.0, ADMIN.1);
        let body = serde_json::from_str(body).map_err(|e| Error::Answer(e.to_string()))?;
        let port = self.gateway.http_port();
        let (status, text) = request.json(&body).send_patiently(port)?;
        match status {
            200 | 204 => Ok(text),
            _ => Err(Error::Answer(format!(
                "{status} to {method} {path}: {text}"
            ))),
        }
    }

    /// Scrapes until `holds`: what a client has seen may not have been counted yet.
    pub(crate) fn eventually(&self, what: &str, holds: impl Fn(&Scrape) -> bool) -> Result<Scrape> {
        let mut last = self.scrape()?;
        let outcome = wait::until_true(what, LIMIT, || {
            if let Ok(scrape) = self.scrape() {
                last = scrape;
            }
            holds(&last)
        });
        match outcome {
            Ok(()) => Ok(last),
            Err(error) => Err(Error::Violated(format!("{error}: {last:#?}"))),
        }
    }

    /// A connection to the port of [`BROKER`].
    pub(crate) fn connect(&self) -> Result<RawClient> {
        self.connect_to(BROKER)
    }

    /// A connection to the port of a broker.
    pub(crate) fn connect_to(&self, broker: i32) -> Result<RawClient> {
        let slot = u16::try_from(broker - BROKER).map_err(|e| Error::Answer(e.to_string()))?;
        RawClient::connect(&self.gateway.address(slot))
    }
}

/// Metadata v1 of no topic.
pub(crate) const METADATA: Request<'static> = Request {
    api: 3,
    version: 1,
    flexible: false,
    client_id: "metrics",
    body: &[0, 0, 0, 0],
};

/// A heartbeat v0 of somebody who is in no group: always an error.
pub(crate) const HEARTBEAT: Request<'static> = Request {
    api: 12,
    version: 0,
    flexible: false,
    client_id: "metrics",
    body: &[0, 1, b'g', 0, 0, 0, 1, 0, 1, b'm'],
};

/// ApiVersions in a version that there is not.
pub(crate) const UNKNOWN_VERSION: Request<'static> = Request {
    api: 18,
    version: 99,
    flexible: true,
    client_id: "metrics",
    body: &[1, 1, 0],
};
