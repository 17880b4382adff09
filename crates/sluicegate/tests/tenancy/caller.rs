//! Somebody who sends requests of any kind and version.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use serde_json::{Value, json};
use testkit::raw::{RawClient, Request};
use testkit::{Error, Result, wait};
use wire::api::{ApiKey, Direction};

use crate::message;
use crate::way::{error_codes, is_close};
use crate::world::LIMIT;

const CLIENT_ID: &str = "tenancy";

/// Connections to each broker, or to what the gateway shows for it, opened when needed.
pub(crate) struct Caller {
    doors: BTreeMap<i32, String>,
    login: Option<(String, String)>,
    open: BTreeMap<i32, RawClient>,
}

impl Caller {
    /// `login`: user and password.
    pub(crate) fn new(doors: BTreeMap<i32, String>, login: Option<(String, String)>) -> Caller {
        Caller {
            doors,
            login,
            open: BTreeMap::new(),
        }
    }

    /// Somebody with the same credentials and connections of their own.
    pub(crate) fn again(&self) -> Caller {
        Caller::new(self.doors.clone(), self.login.clone())
    }

    /// Node ids of all brokers.
    pub(crate) fn nodes(&self) -> Vec<i32> {
        self.doors.keys().copied().collect()
    }

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
        let bytes = message::encode(api, version, Direction::Request, body);
        wait::until("a coordinator to be ready", LIMIT, || {
            let answer = match self.exchange(node, api, version, &bytes) {
                Ok(answer) => answer,
                Err(error) => return Ok(Some(Err(error))),
            };
            let codes = error_codes(api, &answer);
            let busy = codes.contains(&LOADING) || codes.contains(&CONCURRENT_TRANSACTIONS);
            Ok((!busy).then_some(Ok(answer)))
        })?
    }

    /// [`Caller::ask`] that must not give an error.
    pub(crate) fn must(
        &mut self,
        node: i32,
        api: ApiKey,
        version: i16,
        body: &Value,
    ) -> Result<Value> {
        let answer = self.ask(node, api, version, body)?;
        let failed = answer.is_null() || error_codes(api, &answer).iter().any(|code| *code != 0);
        match failed {
            false => Ok(answer),
            true => Err(Error::Violated(format!(
                "{api} v{version} as a preparation: {body} gave {answer}"
            ))),
        }
    }

    /// Sends a request and waits for no answer.
    pub(crate) fn send_only(
        &mut self,
        node: i32,
        api: ApiKey,
        version: i16,
        body: &Value,
    ) -> Result<()> {
        let body = message::encode(api, version, Direction::Request, body);
        self.client(node)?
            .send(request(api, version, &body))
            .map(drop)
    }

    /// The next answer to a request that was [sent only](Caller::send_only).
    pub(crate) fn receive(&mut self, node: i32, api: ApiKey, version: i16) -> Result<Value> {
        const CORRELATION_ID: usize = 4;
        let frame = self.client(node)?.receive()?;
        parsed(
            api,
            version,
            frame.get(CORRELATION_ID..).unwrap_or_default(),
        )
    }

    fn exchange(&mut self, node: i32, api: ApiKey, version: i16, body: &[u8]) -> Result<Value> {
        match call(self.client(node)?, api, version, body) {
            Err(Error::Io { source, .. }) if is_close(&source) => {
                self.open.remove(&node);
                Ok(Value::Null)
            }
            answer => answer,
        }
    }

    /// The connection to a broker, logged in.
    ///
    /// # Errors
    /// The credentials are refused.
    pub(crate) fn client(&mut self, node: i32) -> Result<&mut RawClient> {
        match self.open.entry(node) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let door = self.doors.get(&node);
                let door = door.ok_or_else(|| Error::Answer(format!("no broker {node}")))?;
                let mut client = RawClient::connect(door)?;
                if let Some((user, password)) = &self.login {
                    log_in(&mut client, user, password)?;
                }
                Ok(entry.insert(client))
            }
        }
    }
}

fn call(client: &mut RawClient, api: ApiKey, version: i16, body: &[u8]) -> Result<Value> {
    parsed(api, version, &client.call(request(api, version, body))?)
}

/// An answer, without its correlation id.
fn parsed(api: ApiKey, version: i16, answer: &[u8]) -> Result<Value> {
    let header = usize::from(wire::header::response_header_version(api, version) > 0);
    let broken = |error| {
        let bytes = message::hex(answer);
        Error::Answer(format!("{api} v{version}: {error}: {bytes}"))
    };
    match answer.split_at_checked(header) {
        Some(([] | [0], body)) => {
            message::decode(api, version, Direction::Response, body).map_err(broken)
        }
        _ => Err(broken("tagged fields in the header".to_owned())),
    }
}

fn request(api: ApiKey, version: i16, body: &[u8]) -> Request<'_> {
    Request {
        api: api.0,
        version,
        flexible: wire::header::request_header_version(api, version) >= 2,
        client_id: CLIENT_ID,
        body,
    }
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
