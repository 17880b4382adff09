//! Kafka, the gateway that is killed, its admin API.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::http::Request as HttpRequest;
use testkit::raw::{RawClient, Request};
use testkit::{ClusterOptions, Error, Gateway, GatewayOptions, KafkaCluster, Listener, Release};
use testkit::{Result, ports, wait};
use wire::api::{ApiKey, Direction};

use crate::message;
use crate::resource::{Key, Kind};

const ADMIN: (&str, &str) = ("admin-user", "admin-pass-1");
/// How long conditions may take, the machine being busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);
const SIGNING_KEY: &str = "c2lnbmluZy1rZXktb2YtdGhlLXRlc3RzLTMyYnl0ZXM=";

/// Topics that aliases stand for.
pub(crate) const TARGETS: [&str; 3] = ["durable-one", "durable-two", "durable-three"];

/// Kafka, and how to start the gateway in front of it.
pub(crate) struct Front {
    cluster: KafkaCluster,
    ports: (u16, u16),
}

impl Front {
    /// One broker with the topics of aliases.
    pub(crate) fn start() -> Result<Front> {
        let options = ClusterOptions::new(Release::V4_3).node_ids(&[1]);
        let cluster = KafkaCluster::start_with(options)?;
        make_topics(&cluster.bootstrap(Listener::Plaintext))?;
        Ok(Front {
            cluster,
            ports: (ports::range(5), ports::free()),
        })
    }

    /// Starts the gateway, on the ports of before.
    pub(crate) fn gateway(&self) -> Result<Gateway> {
        let admins = json!([{ "username": ADMIN.0, "password": ADMIN.1, "admin": true }]);
        GatewayOptions::new(
            env!("CARGO_BIN_EXE_sluicegate"),
            &self.cluster.bootstrap(Listener::Plaintext),
        )
        .env("GATEWAY_PORT_START", &self.ports.0.to_string())
        .env("GATEWAY_HTTP_PORT", &self.ports.1.to_string())
        .env("GATEWAY_CLUSTER_ID", "durable")
        .env("GATEWAY_SECURITY_MODE", "GATEWAY_MANAGED")
        .env("GATEWAY_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
        .env("GATEWAY_USER_POOL_SECRET_KEY", SIGNING_KEY)
        .env("GATEWAY_ADMIN_API_USERS", &admins.to_string())
        .start()
    }

    /// Kafka itself.
    pub(crate) fn bootstrap(&self) -> String {
        self.cluster.bootstrap(Listener::Plaintext)
    }

    /// The admin API.
    pub(crate) fn api(&self) -> Api {
        Api { port: self.ports.1 }
    }
}

/// The admin API, whether or not anybody serves it.
#[derive(Clone, Copy)]
pub(crate) struct Api {
    port: u16,
}

impl Api {
    /// Status and answer; an error if there was none.
    pub(crate) fn call(
        self,
        method: &'static str,
        path: &str,
        body: &Value,
    ) -> Result<(u16, Value)> {
        let request = HttpRequest::new(method, &format!("/gateway/v2/{path}"));
        let request = request.basic(ADMIN.0, ADMIN.1).json(body);
        let (status, text) = request.send(self.port)?;
        // The status is the answer; a text that was cut says no more.
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// Everything that is stored, by digest.
    pub(crate) fn stored(self) -> Result<BTreeMap<Key, String>> {
        let mut stored = BTreeMap::new();
        for kind in Kind::ALL {
            let path = format!("{}?showDefaults=true", kind.path());
            let (status, list) = self.call("GET", &path, &Value::Null)?;
            let Some(list) = list.as_array().filter(|_| status == 200) else {
                return Err(Error::Answer(format!("{status} to GET {path}: {list}")));
            };
            let resources = list.iter().map(|resource| {
                let key = Key::of(kind, &resource["metadata"]);
                (key, kind.digest(&resource["spec"]))
            });
            stored.extend(resources);
        }
        Ok(stored)
    }
}

fn make_topics(address: &str) -> Result<()> {
    const VERSION: i16 = 5;
    let topics =
        TARGETS.map(|name| json!({ "Name": name, "NumPartitions": 1, "ReplicationFactor": 1 }));
    let body = json!({ "Topics": topics, "timeoutMs": 30_000 });
    let api = ApiKey::CREATE_TOPICS;
    // The listener may be the last one to open.
    let mut client = wait::until("a connection to Kafka", LIMIT, || {
        RawClient::connect(address).map(Some)
    })?;
    let answer = client.call(Request {
        api: api.0,
        version: VERSION,
        flexible: true,
        client_id: "durable",
        body: &message::encode(api, VERSION, Direction::Request, &body),
    })?;
    // After the tagged fields of the header.
    let body = answer.get(1..).unwrap_or_default();
    let answer = message::decode(api, VERSION, Direction::Response, body).map_err(Error::Answer)?;
    let topics = answer["Topics"].as_array().into_iter().flatten();
    match topics.into_iter().all(|topic| topic["ErrorCode"] == 0) {
        true => Ok(()),
        false => Err(Error::Violated(format!("topics: {answer}"))),
    }
}
