//! Gateways with listeners of every kind, their accounts, tokens and counters.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use testkit::http::Request;
use testkit::{Access, Error, Gateway, GatewayOptions, Listener, Login, Result, ports, shared};

use crate::world::{GATEWAY, World};

/// Who may use the admin API.
pub(crate) const ADMIN: (&str, &str) = ("root", "r00t-of-the-tests");

/// Signs the tokens of accounts: 32 bytes, base64.
pub(crate) const SIGNING_KEY: &str = "c2lnbmluZy1rZXktb2YtdGhlLXRlc3RzLTMyYnl0ZXM=";
pub(crate) const SIGNING_KEY_BYTES: &[u8] = b"signing-key-of-the-tests-32bytes";

/// How connections find their broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Port,
    Sni,
}

/// A gateway to be.
pub(crate) struct FrontOptions {
    options: GatewayOptions,
    bootstraps: BTreeMap<String, String>,
}

/// A gateway in front of [`Listener::Plaintext`] that checks credentials itself. Everything is logged, so that a secret
/// in any line is found.
pub(crate) fn managed(world: &World) -> FrontOptions {
    front(world, "GATEWAY_MANAGED", Listener::Plaintext)
        .env("GATEWAY_USER_POOL_SECRET_KEY", SIGNING_KEY)
        .env("GATEWAY_OAUTH_JWKS_URL", world.issuer.key_set_url())
        .env("GATEWAY_OAUTH_EXPECTED_ISSUER", "https://issuer.test")
        .env("GATEWAY_OAUTH_EXPECTED_AUDIENCES", "[other, kafka]")
        .env("GATEWAY_ACL_ENABLED", "false")
}

/// A gateway that leaves credentials to the brokers.
pub(crate) fn relaying(world: &World, listener: Listener) -> FrontOptions {
    let (user, password) = GATEWAY;
    let jaas = format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"{user}\" password=\"{password}\";"
    );
    let protocol = match listener {
        Listener::SaslSsl => "SASL_SSL",
        _ => "SASL_PLAINTEXT",
    };
    front(world, "KAFKA_MANAGED", listener)
        .env("KAFKA_SECURITY_PROTOCOL", protocol)
        .env("KAFKA_SASL_MECHANISM", "PLAIN")
        .env("KAFKA_SASL_JAAS_CONFIG", &jaas)
}

fn front(world: &World, mode: &str, listener: Listener) -> FrontOptions {
    let server = &world.server;
    FrontOptions {
        options: GatewayOptions::new(
            env!("CARGO_BIN_EXE_sluicegate"),
            &world.cluster.bootstrap(listener),
        ),
        bootstraps: BTreeMap::new(),
    }
    .env("GATEWAY_CLUSTER_ID", &shared::unique("front"))
    .env("GATEWAY_SECURITY_MODE", mode)
    .env(
        "GATEWAY_ADMIN_API_USERS",
        &json!([{"username": ADMIN.0, "password": ADMIN.1, "admin": true}]).to_string(),
    )
    .env(
        "GATEWAY_SSL_KEY_STORE_PATH",
        &server.key.display().to_string(),
    )
    .env(
        "GATEWAY_SSL_TRUST_STORE_PATH",
        &server.trust.display().to_string(),
    )
    .env("LOG4J2_ROOT_LEVEL", "trace")
    .env("LOG4J2_ORG_APACHE_KAFKA_LEVEL", "debug")
    .env("LOG4J2_IO_CONDUKTOR_PROXY_NETWORK_LEVEL", "trace")
    .env("LOG4J2_IO_NETTY_LEVEL", "debug")
    .env("LOG4J2_IO_VERTX_LEVEL", "trace")
    .env("LOG4J2_IO_KCACHE_LEVEL", "debug")
}

impl FrontOptions {
    pub(crate) fn env(mut self, key: &str, value: &str) -> FrontOptions {
        self.options = self.options.env(key, value);
        self
    }

    pub(crate) fn without(mut self, key: &str) -> FrontOptions {
        self.options = self.options.without(key);
        self
    }

    /// A listener with its own name, letters and digits; `client_auth` only for TLS.
    pub(crate) fn listener(
        mut self,
        name: &str,
        protocol: &str,
        route: Route,
        client_auth: Option<&str>,
    ) -> FrontOptions {
        let (routing, count, host) = match route {
            Route::Port => ("port", 3, "127.0.0.1"),
            Route::Sni => ("sni", 1, "bootstrap.gateway.test"),
        };
        let first = ports::range(count);
        let ports = format!("{first}-{}", first + count - 1);
        let mut set = |key: &str, value: &str| {
            let key = format!("GATEWAY_LISTENER_{name}_{key}");
            self.options = self.options.clone().env(&key, value);
        };
        set("SECURITY_PROTOCOL", protocol);
        set("ROUTING", routing);
        set("PORTS", &ports);
        set("BIND_ADDRESS", "127.0.0.1");
        set("ADVERTISED_HOST", host);
        if route == Route::Sni {
            set("ADVERTISED_HOST_PATTERN", "broker-{{nodeId}}.gateway.test");
            set("BOOTSTRAP_HOST_PATTERN", "bootstrap.gateway.test");
        }
        if let Some(client_auth) = client_auth {
            set("SSL_CLIENT_AUTH", client_auth);
        }
        self.bootstraps
            .insert(name.to_owned(), format!("{host}:{first}"));
        self
    }

    /// The one listener of the older variables, with names made of prefix, cluster id and node id. It is called `DEFAULT`.
    pub(crate) fn older(mut self, protocol: &str, client_auth: Option<&str>) -> FrontOptions {
        let host = "older.gateway.test";
        let port = ports::free();
        self.bootstraps
            .insert("DEFAULT".to_owned(), format!("{host}:{port}"));
        let older = self
            .env("GATEWAY_ROUTING_MECHANISM", "host")
            .env("GATEWAY_SECURITY_PROTOCOL", protocol)
            .env("GATEWAY_ADVERTISED_HOST", host)
            .env("GATEWAY_PORT_START", &port.to_string())
            .env("GATEWAY_PORT_COUNT", "1");
        match client_auth {
            Some(client_auth) => older.env("GATEWAY_SSL_CLIENT_AUTH", client_auth),
            None => older,
        }
    }

    pub(crate) fn start(self) -> Result<Front> {
        Ok(Front {
            gateway: self.options.start()?,
            bootstraps: self.bootstraps,
        })
    }
}

/// A running gateway.
pub(crate) struct Front {
    pub(crate) gateway: Gateway,
    bootstraps: BTreeMap<String, String>,
}

impl Front {
    /// Where clients of a listener begin.
    pub(crate) fn bootstrap(&self, listener: &str) -> &str {
        &self.bootstraps[listener]
    }

    /// A client of a listener, without encryption and credentials so far.
    pub(crate) fn access(&self, listener: &str) -> Access {
        Access::new(self.bootstrap(listener))
    }

    /// Calls the admin API as its user; expects `status`.
    pub(crate) fn admin(
        &self,
        method: &'static str,
        path: &str,
        body: &Value,
        status: u16,
    ) -> Result<String> {
        let request = Request::new(method, path).basic(ADMIN.0, ADMIN.1);
        let (answered, text) = request.json(body).send(self.gateway.http_port())?;
        if answered == status {
            return Ok(text);
        }
        Err(Error::Answer(format!(
            "{answered} to {method} {path}: {text}"
        )))
    }

    /// Makes a LOCAL account.
    pub(crate) fn local_account(&self, name: &str) -> Result<()> {
        self.account(name, json!({"type": "LOCAL"}))
    }

    /// Makes an EXTERNAL account.
    pub(crate) fn external_account(&self, name: &str, external_name: &str) -> Result<()> {
        self.account(
            name,
            json!({"type": "EXTERNAL", "externalNames": [external_name]}),
        )
    }

    fn account(&self, name: &str, spec: Value) -> Result<()> {
        let resource = json!({
            "apiVersion": "gateway/v2", "kind": "GatewayServiceAccount",
            "metadata": {"name": name}, "spec": spec,
        });
        self.admin("PUT", "/gateway/v2/service-account", &resource, 200)
            .map(drop)
    }

    pub(crate) fn delete_account(&self, name: &str) -> Result<()> {
        let body = json!({"name": name});
        self.admin("DELETE", "/gateway/v2/service-account", &body, 204)
            .map(drop)
    }

    /// A token of a LOCAL account.
    pub(crate) fn token(&self, name: &str, seconds: u64) -> Result<String> {
        let body = json!({"username": name, "lifeTimeSeconds": seconds});
        let answer = self.admin("POST", "/gateway/v2/token", &body, 200)?;
        let answer: Value =
            serde_json::from_str(&answer).map_err(|error| Error::Answer(error.to_string()))?;
        answer["token"]
            .as_str()
            .map(str::to_owned)
            .ok_or_else(|| Error::Answer("no token".to_owned()))
    }

    /// The login of a LOCAL account that is made for it.
    pub(crate) fn login(&self, name: &str) -> Result<Login> {
        self.local_account(name)?;
        Ok(Login::plain(name, &self.token(name, 3600)?))
    }

    /// All counters and gauges of now.
    pub(crate) fn metrics(&self) -> Result<Metrics> {
        Metrics::parse(&self.admin_text("/metrics")?)
    }

    pub(crate) fn admin_text(&self, path: &str) -> Result<String> {
        let request = Request::new("GET", path).basic(ADMIN.0, ADMIN.1);
        let (status, text) = request.send(self.gateway.http_port())?;
        match status {
            200 => Ok(text),
            _ => Err(Error::Answer(format!("{status} to GET {path}: {text}"))),
        }
    }

    /// Open sockets and files of the gateway.
    pub(crate) fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.gateway.pid())).map_or(0, Iterator::count)
    }

    /// Stops it in order and gives all it has printed.
    pub(crate) fn stop(mut self) -> Result<String> {
        assert_eq!(self.gateway.stop()?, 0);
        Ok(self.gateway.log())
    }
}

/// A scrape: values by name and labels as they stand in the text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    fn parse(text: &str) -> Result<Metrics> {
        let mut values = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line
                .rsplit_once(' ')
                .and_then(|(series, value)| Some((series, value.parse().ok()?)))
                .ok_or_else(|| Error::Answer(format!("not a metric: {line}")))?;
            values.insert(series.to_owned(), value);
        }
        Ok(Metrics(values))
    }

    pub(crate) fn get(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or(0.0)
    }

    /// The series whose names begin with `family` and that changed since `before`, with how much.
    pub(crate) fn since(&self, before: &Metrics, family: &str) -> BTreeMap<String, f64> {
        self.0
            .iter()
            .filter(|(series, _)| series.starts_with(family))
            .map(|(series, value)| (series.clone(), value - before.get(series)))
            .filter(|(_, change)| *change != 0.0)
            .collect()
    }
}
