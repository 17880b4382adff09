//! A running admin port and a plain HTTP client.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth::server::GatewayTokens;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config::{AdminUser, Secret};
use serde_json::{Map, Value, json};
use sluicegate_admin::{
    AdminServer, Api, Asked, BuildInfo, Capabilities, Change, Decide, Deployment, Endpoint, Handle,
    HealthState, NameOf, PhysicalCluster, PhysicalName, Plugin, PluginFault, PluginInfo, Plugins,
    Resources, Services, Users,
};
use state::{Changes, Snapshot, StoreError, WriteError};

/// A running admin port.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) health: HealthState,
    pub(crate) handle: Handle,
}

/// Of an admin, of a reader, and of nobody.
pub(crate) const ADMIN: &str = "admin:s3cr:et";
pub(crate) const READER: &str = "reader:looks";
pub(crate) const WRONG: &str = "admin:wrong";

/// Signs the tokens of the tests.
pub(crate) const SIGNING_KEY: [u8; 32] = [7; 32];

/// A header with credentials.
pub(crate) fn credentials(pair: &str) -> String {
    format!("authorization: Basic {}\r\n", STANDARD.encode(pair))
}

/// Services with two users, tokens, a plugin, and every capability.
pub(crate) fn services() -> Services {
    let build = BuildInfo {
        version: "3.15.0".into(),
        time: "2026-01-31T12:00:00+0000".into(),
        commit: "0123456789abcdef0123456789abcdef01234567".into(),
        product: "Sluicegate".into(),
        product_version: "0.1.0".into(),
    };
    let user = |pair: &str, admin| {
        let (username, password) = pair.split_once(':').expect("a pair");
        AdminUser {
            username: username.into(),
            password: Secret::new(password),
            admin,
        }
    };
    let key = Secret::new(STANDARD.encode(SIGNING_KEY));
    let mut services = Services::new(HealthState::new(Duration::from_secs(3600)), build);
    services.users = Users::new(&[user(ADMIN, true), user(READER, false)]).expect("users");
    services.api = Api {
        capabilities: Capabilities::all(),
        tokens: Some(GatewayTokens::new(&key).expect("key")),
        plugins: Plugins::new([Arc::new(Anything) as Arc<dyn Plugin>]),
        endpoint: Endpoint {
            bootstrap_servers: "gw.example.test:6969".to_owned(),
            client_properties: vec![(
                "PLAIN",
                vec![("security.protocol", "SASL_PLAINTEXT".to_owned())],
            )],
        },
        internal_names: ["_conduktor_gateway_acls", "conduktor_gateway"]
            .map(str::to_owned)
            .into(),
        deployment: Deployment::default(),
        strict_vclusters: false,
    };
    services
}

/// Serves on a free port.
pub(crate) fn serve(services: Services) -> Running {
    serve_at("127.0.0.1:0", services)
}

/// Serves there.
pub(crate) fn serve_at(address: &str, services: Services) -> Running {
    let server = AdminServer::bind(address.parse().expect("address")).expect("bound");
    let address = server.local_addr().expect("address");
    let health = services.health.clone();
    let handle = server.serve(services).expect("started");
    Running {
        address,
        health,
        handle,
    }
}

/// Serves with an empty store that has been read.
pub(crate) fn serve_with_store() -> (Running, Arc<Store>) {
    let running = serve(services());
    let store = Arc::new(Store::default());
    running.handle.resources_ready(store.clone());
    (running, store)
}

/// Resources in memory, and a Kafka cluster that has some names.
#[derive(Default)]
pub(crate) struct Store {
    snapshot: Mutex<Arc<Snapshot>>,
    /// How many changes were asked for.
    pub(crate) changes: Mutex<usize>,
    /// What the next changes end with.
    pub(crate) failure: Mutex<Option<StoreError>>,
    pub(crate) kafka: Arc<Kafka>,
}

/// What is in Kafka; `None`: it cannot be asked.
pub(crate) struct Kafka(
    pub(crate) Mutex<Option<Vec<PhysicalName>>>,
    /// What is made after the next question.
    pub(crate) Mutex<Option<PhysicalName>>,
);

impl Default for Kafka {
    fn default() -> Self {
        Kafka(Mutex::new(Some(Vec::new())), Mutex::default())
    }
}

impl Kafka {
    pub(crate) fn add(&self, of: NameOf, name: &str) {
        let name = name.to_owned();
        let mut names = self.0.lock().expect("lock");
        names
            .get_or_insert_default()
            .push(PhysicalName { of, name });
    }

    fn names(&self, keep: impl Fn(&PhysicalName) -> bool) -> Result<Vec<PhysicalName>, String> {
        let names = self.0.lock().expect("lock").clone();
        let mut names = names.ok_or("no broker answers")?;
        names.retain(keep);
        if let Some(PhysicalName { of, name }) = self.1.lock().expect("lock").take() {
            self.add(of, &name);
        }
        Ok(names)
    }
}

impl PhysicalCluster for Kafka {
    fn existing_topics(&self, wanted: BTreeSet<String>) -> Asked<BTreeSet<String>> {
        let found = self.names(|n| n.of == NameOf::Topic && wanted.contains(&n.name));
        Box::pin(async { Ok(found?.into_iter().map(|found| found.name).collect()) })
    }

    fn names_with(&self, prefix: String) -> Asked<Vec<PhysicalName>> {
        let fold = |name: &str| name.replace('.', "_");
        let found = self.names(|n| fold(&n.name).starts_with(&fold(&prefix)));
        Box::pin(async { found })
    }
}

impl Store {
    /// Changes what is stored, as another node does.
    pub(crate) fn apply(&self, changes: &Changes) {
        let mut snapshot = self.snapshot.lock().expect("lock");
        *snapshot = Arc::new(changes.applied_to(&snapshot));
    }
}

impl Resources for Store {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.lock().expect("lock").clone()
    }

    fn write(&self, mut decide: Decide) -> Change {
        *self.changes.lock().expect("lock") += 1;
        let failure = self.failure.lock().expect("lock").clone();
        let outcome = match failure {
            Some(failure) => Err(WriteError::Store(failure)),
            None => {
                let mut snapshot = self.snapshot.lock().expect("lock");
                let mut changes = Changes::default();
                let outcome = decide(&snapshot, &mut changes);
                if outcome.is_ok() {
                    *snapshot = Arc::new(changes.applied_to(&snapshot));
                }
                outcome.map_err(WriteError::Refused)
            }
        };
        Box::pin(async move {
            tokio::task::yield_now().await;
            outcome
        })
    }

    fn physical(&self) -> Arc<dyn PhysicalCluster> {
        self.kafka.clone()
    }
}

/// A plugin that takes any configuration but one with a member `bad`.
pub(crate) struct Anything;

impl Plugin for Anything {
    fn about(&self) -> PluginInfo {
        PluginInfo {
            id: PLUGIN.to_owned(),
            title: "Anything".to_owned(),
            description: "Takes anything.".to_owned(),
            readme: "# Anything".to_owned(),
        }
    }

    fn check(&self, config: &Map<String, Value>) -> Result<(), PluginFault> {
        match config.contains_key("bad") {
            true => Err(PluginFault {
                path: "bad".to_owned(),
                reason: "is not known".to_owned(),
            }),
            false => Ok(()),
        }
    }
}

pub(crate) const PLUGIN: &str = "org.example.Anything";

/// What became of a PUT.
pub(crate) fn upserted(answer: &Answer) -> String {
    assert_eq!(answer.code, 200, "{answer:?}");
    answer.json()["upsertResult"]
        .as_str()
        .expect("a text")
        .to_owned()
}

/// The body of a PUT.
pub(crate) fn resource(kind: &str, metadata: &Value, spec: &Value) -> String {
    json!({"kind": kind, "apiVersion": "gateway/v2", "metadata": metadata, "spec": spec})
        .to_string()
}

impl Running {
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("connected");
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("timeout");
        stream
    }

    /// Sends bytes and reads until the server closes.
    pub(crate) fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // The server may refuse and close before everything is written.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).expect("UTF-8")
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        self.send(method, path, headers, "")
    }

    /// The same with a body.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length = match body.is_empty() {
            true => String::new(),
            false => format!("content-length: {}\r\n", body.len()),
        };
        let text = self.raw(
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{length}{headers}\r\n{body}")
                .as_bytes(),
        );
        Answer::parse(&text)
    }

    /// Calls the API as the admin, the way the public clients do: JSON as plain text.
    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let headers = credentials(ADMIN) + "content-type: text/plain; charset=utf-8\r\n";
        self.send(method, &format!("/gateway/v2/{path}"), &headers, body)
    }

    pub(crate) fn make_ready(&self) {
        self.health.config_ready();
        self.health.listeners_ready();
        self.health.upstream_seen();
    }
}

#[derive(Debug)]
/// What came back; the head in lower case.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// Reads an answer that came whole.
    pub(crate) fn parse(text: &str) -> Answer {
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("an HTTP answer, not {text:?}"));
        let code = head
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .expect("a status");
        Answer {
            code,
            head: head.to_ascii_lowercase(),
            body: body.to_owned(),
        }
    }
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("JSON, not {:?}", self.body))
    }

    /// Checks status and title of an error, that it is complete, and gives its `msg`.
    pub(crate) fn error(&self, code: u16, title: &str) -> String {
        let error = self.json();
        assert_eq!(
            (self.code, error["title"].as_str()),
            (code, Some(title)),
            "{self:?}"
        );
        assert!(
            self.head.contains("content-type: application/json"),
            "{self:?}"
        );
        let msg = error["msg"].as_str().expect("a msg");
        assert!(!msg.is_empty());
        msg.to_owned()
    }
}
