//! Connections, to Kafka and through the gateway.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{ErrorKind, Read};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::raw::{RawClient, Request};
use testkit::{Error, Result, wait};
use wire::api::{ApiKey, Direction};
use wire::header;

use crate::message;
use crate::search::error_codes;

/// How long conditions may take, the machine being busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A way to the brokers for one user.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    /// Where to connect for a broker, by node id.
    pub(crate) addresses: BTreeMap<i32, String>,
    /// User and password.
    pub(crate) login: Option<(String, String)>,
    /// What clients call themselves.
    pub(crate) client_id: String,
}

/// What comes back.
#[derive(Debug)]
pub(crate) enum Heard {
    /// An answer, from the byte after the correlation id on.
    Answer(Vec<u8>),
    /// No answer was due.
    Nothing,
    /// The end of the connection, and what came before.
    Closed(Vec<u8>),
    /// Nothing in time, or a part of an answer.
    Silence(Vec<u8>),
}

/// A connection that keeps every byte it hears.
pub(crate) struct Line {
    client: RawClient,
    heard: Vec<u8>,
    next_id: i32,
}

impl Line {
    /// Connects and logs in.
    pub(crate) fn open(door: &Door, node: i32) -> Result<Line> {
        let client = RawClient::connect(&door.addresses[&node])?;
        let mut line = Line {
            client,
            heard: Vec::new(),
            next_id: 1,
        };
        if let Some((user, password)) = &door.login {
            let secret = message::hex(format!("\0{user}\0{password}").as_bytes());
            for (api, body) in [
                (ApiKey::SASL_HANDSHAKE, json!({ "Mechanism": "PLAIN" })),
                (ApiKey::SASL_AUTHENTICATE, json!({ "AuthBytes": secret })),
            ] {
                let answer = line.call(door, api, 1, &body)?;
                if answer["ErrorCode"] != 0 {
                    return Err(Error::Violated(format!("{api} of {user}: {answer}")));
                }
            }
        }
        Ok(line)
    }

    /// Changes how long an answer is waited for.
    pub(crate) fn patience(&self, limit: Duration) -> Result<()> {
        self.client.set_timeout(limit)
    }

    /// Sends a request and waits for its answer, if one is due.
    pub(crate) fn exchange(&mut self, request: Request<'_>, is_due: bool) -> Result<Heard> {
        let id = self.next_id;
        self.next_id += 1;
        if self.client.send_bytes(&request.frame(id)).is_ok() && !is_due {
            return Ok(Heard::Nothing);
        }
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(frame) = self.take_frame() {
                return match frame.split_first_chunk::<4>() {
                    Some((head, rest)) if i32::from_be_bytes(*head) == id => {
                        Ok(Heard::Answer(rest.to_vec()))
                    }
                    _ => Err(Error::Violated(format!(
                        "the answer to API {} v{} does not begin with its correlation id {id}",
                        request.api, request.version
                    ))),
                };
            }
            let mut stream = self.client.stream();
            match stream.read(&mut chunk) {
                Ok(0) => return Ok(Heard::Closed(std::mem::take(&mut self.heard))),
                Ok(count) => self.heard.extend(&chunk[..count]),
                Err(error) => {
                    let heard = std::mem::take(&mut self.heard);
                    return Ok(match error.kind() {
                        ErrorKind::WouldBlock | ErrorKind::TimedOut => Heard::Silence(heard),
                        _ => Heard::Closed(heard),
                    });
                }
            }
        }
    }

    /// A request as JSON, and its answer; an error if there is none.
    fn call(&mut self, door: &Door, api: ApiKey, version: i16, body: &Value) -> Result<Value> {
        let bytes = message::encode(api, version, Direction::Request, body);
        let request = request(api, version, &door.client_id, &bytes);
        match self.exchange(request, true)? {
            Heard::Answer(answer) => read(api, version, &answer),
            other => Err(Error::Answer(format!("{api} v{version}: {other:?}"))),
        }
    }

    fn take_frame(&mut self) -> Option<Vec<u8>> {
        let (length, rest) = self.heard.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let frame = rest.get(..length)?.to_vec();
        self.heard.drain(..4 + length);
        Some(frame)
    }
}

/// A request of a version that the table has.
pub(crate) fn request<'a>(
    api: ApiKey,
    version: i16,
    client_id: &'a str,
    body: &'a [u8],
) -> Request<'a> {
    Request {
        api: api.0,
        version,
        flexible: header::request_header_version(api, version) >= 2,
        client_id,
        body,
    }
}

/// Reads an answer, from the byte after the correlation id on.
pub(crate) fn read(api: ApiKey, version: i16, answer: &[u8]) -> Result<Value> {
    let header = usize::from(header::response_header_version(api, version) > 0);
    let body = answer.get(header..).unwrap_or_default();
    let read = |version| message::decode(api, version, Direction::Response, body);
    let value = match read(version) {
        // What a broker says to a version of ApiVersions that it does not know.
        Err(_) if api == ApiKey::API_VERSIONS => read(0),
        other => other,
    };
    value.map_err(|error| {
        let bytes = message::hex(answer);
        Error::Answer(format!("{api} v{version}: {error}: {bytes}"))
    })
}

/// Connections of one user to every broker, opened when needed.
pub(crate) struct Client {
    door: Arc<Door>,
    open: BTreeMap<i32, Line>,
}

impl Client {
    pub(crate) fn new(door: Door) -> Client {
        Client {
            door: Arc::new(door),
            open: BTreeMap::new(),
        }
    }

    /// The connection to a broker.
    pub(crate) fn line(&mut self, node: i32) -> Result<&mut Line> {
        match self.open.entry(node) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(Line::open(&self.door, node)?)),
        }
    }

    /// Ends the connection to a broker.
    pub(crate) fn hang_up(&mut self, node: i32) {
        self.open.remove(&node);
    }

    /// Asks a broker once.
    pub(crate) fn once(
        &mut self,
        node: i32,
        api: ApiKey,
        version: i16,
        body: &Value,
    ) -> Result<Value> {
        let door = self.door.clone();
        let answer = self.line(node)?.call(&door, api, version, body);
        if answer.is_err() {
            self.hang_up(node);
        }
        answer
    }

    /// Asks a broker; asks again while a coordinator or a new partition is not ready.
    pub(crate) fn ask(
        &mut self,
        node: i32,
        api: ApiKey,
        version: i16,
        body: &Value,
    ) -> Result<Value> {
        /// Unknown topic, no leader, not leader, loading, not available, not coordinator, concurrent transactions, unknown id.
        const NOT_READY: [i64; 8] = [3, 5, 6, 14, 15, 16, 51, 100];
        wait::until(&format!("an answer to {api}"), LIMIT, || {
            let answer = match self.once(node, api, version, body) {
                Ok(answer) => answer,
                Err(error) => return Ok(Some(Err(error))),
            };
            let codes = error_codes(api, &answer);
            let is_ready = codes.iter().all(|code| !NOT_READY.contains(code));
            Ok(is_ready.then_some(Ok(answer)))
        })?
    }

    /// [`Client::ask`] that must not give an error.
    pub(crate) fn must(
        &mut self,
        node: i32,
        api: ApiKey,
        version: i16,
        body: &Value,
    ) -> Result<Value> {
        let answer = self.ask(node, api, version, body)?;
        match error_codes(api, &answer).iter().all(|code| *code == 0) {
            true => Ok(answer),
            false => Err(Error::Violated(format!("{api} v{version}: {answer}"))),
        }
    }
}
