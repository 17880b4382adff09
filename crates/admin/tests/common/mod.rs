//! A running admin port and a plain HTTP client.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth::server::GatewayTokens;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use config::{AdminUser, Secret};
use sluicegate_admin::{
    AdminServer, Api, BuildInfo, Capabilities, Change, ChangeError, Handle, HealthState, Resources,
    Services, Users,
};
use state::{ServiceAccount, Upsert};

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

/// Services with two users, tokens, and both kinds of accounts.
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
        capabilities: Capabilities {
            local: Ok(()),
            external: Ok(()),
        },
        tokens: Some(GatewayTokens::new(&key).expect("key")),
    };
    services
}

/// Serves on a free port.
pub(crate) fn serve(services: Services) -> Running {
    let server = AdminServer::bind("127.0.0.1:0".parse().expect("address")).expect("bound");
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

/// Accounts in memory.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) accounts: Mutex<Accounts>,
    /// How many changes were asked for.
    pub(crate) changes: Mutex<usize>,
    /// What the next changes end with.
    pub(crate) failure: Mutex<Option<ChangeError>>,
}

type Accounts = BTreeMap<(String, String), Arc<ServiceAccount>>;

impl Store {
    fn change<T: Send + 'static>(&self, make: impl FnOnce(&mut Accounts) -> T) -> Change<T> {
        *self.changes.lock().expect("lock") += 1;
        let failure = self.failure.lock().expect("lock").clone();
        let outcome = match failure {
            Some(failure) => Err(failure),
            None => Ok(make(&mut self.accounts.lock().expect("lock"))),
        };
        Box::pin(async move {
            tokio::task::yield_now().await;
            outcome
        })
    }
}

impl Resources for Store {
    fn accounts(&self) -> Vec<Arc<ServiceAccount>> {
        let accounts = self.accounts.lock().expect("lock");
        accounts.values().rev().cloned().collect()
    }

    fn put_account(&self, account: ServiceAccount) -> Change<Upsert> {
        let key = (account.vcluster.clone(), account.name.clone());
        self.change(|accounts| {
            let account = Arc::new(account);
            match accounts.insert(key, account.clone()) {
                None => Upsert::Created,
                Some(before) if before == account => Upsert::NotChanged,
                Some(_) => Upsert::Updated,
            }
        })
    }

    fn delete_account(&self, vcluster: &str, name: &str) -> Change<bool> {
        let key = (vcluster.to_owned(), name.to_owned());
        self.change(move |accounts| accounts.remove(&key).is_some())
    }
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
