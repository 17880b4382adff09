//! The admin API as tests use it.

use serde_json::{Value, json};
use testkit::http::Request;
use testkit::{Error, Result};

/// The admin API of one gateway.
pub(crate) struct Api {
    port: u16,
}

impl Api {
    pub(crate) const CREDENTIALS: (&str, &str) = ("admin-user", "admin-pass-1");

    pub(crate) fn at(port: u16) -> Api {
        Api { port }
    }

    /// Status and body of any call; a body that is no JSON as text.
    pub(crate) fn call(
        &self,
        method: &'static str,
        path: &str,
        body: &Value,
    ) -> Result<(u16, Value)> {
        parsed(request(method, path, body).send(self.port)?)
    }

    /// The same, again while the gateway says that it cannot now.
    fn call_patiently(
        &self,
        method: &'static str,
        path: &str,
        body: &Value,
    ) -> Result<(u16, Value)> {
        parsed(request(method, path, body).send_patiently(self.port)?)
    }

    /// A call that succeeds.
    pub(crate) fn must(&self, method: &'static str, path: &str, body: &Value) -> Result<Value> {
        match self.call_patiently(method, path, body)? {
            (200 | 204, answer) => Ok(answer),
            (status, answer) => Err(Error::Answer(format!(
                "{status} to {method} {path} {body}: {answer}"
            ))),
        }
    }

    /// Stores a resource; gives the status and the answer.
    pub(crate) fn put(&self, kind: &str, metadata: Value, spec: Value) -> Result<(u16, Value)> {
        let (path, body) = resource(kind, metadata, spec);
        self.call_patiently("PUT", &path, &body)
    }

    /// [`Api::put`] that takes no for an answer if the gateway cannot now.
    pub(crate) fn put_now(&self, kind: &str, metadata: Value, spec: Value) -> Result<(u16, Value)> {
        let (path, body) = resource(kind, metadata, spec);
        self.call("PUT", &path, &body)
    }

    pub(crate) fn virtual_cluster(&self, name: &str, spec: Value) -> Result<Value> {
        let (path, body) = resource("VirtualCluster", json!({ "name": name }), spec);
        self.must("PUT", &path, &body)
    }

    /// A LOCAL account.
    pub(crate) fn account(&self, vcluster: &str, name: &str) -> Result<()> {
        let metadata = json!({ "vCluster": vcluster, "name": name });
        let spec = json!({ "type": "LOCAL" });
        let (path, body) = resource("GatewayServiceAccount", metadata, spec);
        self.must("PUT", &path, &body).map(drop)
    }

    /// An account of somebody whom others know by a name of theirs.
    pub(crate) fn external_account(
        &self,
        vcluster: &str,
        name: &str,
        external: &str,
    ) -> Result<()> {
        let metadata = json!({ "vCluster": vcluster, "name": name });
        let spec = json!({ "type": "EXTERNAL", "externalNames": [external] });
        let (path, body) = resource("GatewayServiceAccount", metadata, spec);
        self.must("PUT", &path, &body).map(drop)
    }

    pub(crate) fn delete_account(&self, vcluster: &str, name: &str) -> Result<()> {
        let body = json!({ "vCluster": vcluster, "name": name });
        self.must("DELETE", "/gateway/v2/service-account", &body)
            .map(drop)
    }

    /// A password of a LOCAL account.
    pub(crate) fn token(&self, vcluster: &str, user: &str, seconds: u64) -> Result<String> {
        let body = json!({ "vCluster": vcluster, "username": user, "lifeTimeSeconds": seconds });
        let answer = self.must("POST", "/gateway/v2/token", &body)?;
        let token = answer["token"].as_str();
        token
            .map(str::to_owned)
            .ok_or_else(|| Error::Answer(format!("no token: {answer}")))
    }

    /// Makes an alias of a physical topic; gives the status and the answer.
    pub(crate) fn put_alias(
        &self,
        vcluster: &str,
        name: &str,
        physical: &str,
    ) -> Result<(u16, Value)> {
        let metadata = json!({ "vCluster": vcluster, "name": name });
        self.put("AliasTopic", metadata, json!({ "physicalName": physical }))
    }

    /// [`Api::put_alias`] that succeeds.
    pub(crate) fn alias(&self, vcluster: &str, name: &str, physical: &str) -> Result<()> {
        match self.put_alias(vcluster, name, physical)? {
            (200, _) => Ok(()),
            (status, answer) => Err(Error::Answer(format!("{status} to an alias: {answer}"))),
        }
    }
}

fn request(method: &'static str, path: &str, body: &Value) -> Request {
    let (user, password) = Api::CREDENTIALS;
    let request = Request::new(method, path).basic(user, password);
    match body {
        Value::Null => request,
        body => request.json(body),
    }
}

fn parsed((status, text): (u16, String)) -> Result<(u16, Value)> {
    let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
    Ok((status, body))
}

/// Path and body of a resource to be stored.
pub(crate) fn resource(kind: &str, metadata: Value, spec: Value) -> (String, Value) {
    let path = match kind {
        "VirtualCluster" => "virtual-cluster",
        "AliasTopic" => "alias-topic",
        "GatewayServiceAccount" => "service-account",
        "GatewayGroup" => "group",
        other => other,
    };
    let body = json!({
        "kind": kind,
        "apiVersion": "gateway/v2",
        "metadata": metadata,
        "spec": spec,
    });
    (format!("/gateway/v2/{path}"), body)
}
