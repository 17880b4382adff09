//! One run of a case along one of the two ways.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use testkit::raw::{RawClient, Request};
use testkit::{Error, Result, wait};
use wire::api::{ApiKey, Direction};

use crate::message;
use crate::normal::{self, Names};
use crate::way::{Side, error_codes, is_close};

/// How long conditions may take, the machine being busy.
const LIMIT: Duration = Duration::from_secs(60);

/// Client id of every request.
const CLIENT_ID: &str = "differential";

/// One run of a case: one API in one version along one side.
pub(crate) struct Run<'s> {
    /// The API under test.
    pub(crate) api: ApiKey,
    /// The version under test.
    pub(crate) version: i16,
    pub(crate) side: &'s Side,
    prefix: String,
    clients: BTreeMap<i32, RawClient>,
    aliases: Vec<(String, String)>,
    transcript: Vec<String>,
}

impl<'s> Run<'s> {
    /// A run whose names are the side's own.
    pub(crate) fn new(side: &'s Side, api: ApiKey, version: i16) -> Run<'s> {
        Run {
            api,
            version,
            side,
            prefix: format!("diff-{}-", side.letter),
            clients: BTreeMap::new(),
            aliases: Vec::new(),
            transcript: Vec::new(),
        }
    }

    /// A run that makes nothing of its own.
    pub(crate) fn reading(side: &'s Side, api: ApiKey, version: i16) -> Run<'s> {
        Run {
            prefix: "diff-s-".to_owned(),
            ..Run::new(side, api, version)
        }
    }

    /// A name that no other run uses, of the same length on both sides. As the name of a group or transactional id
    /// all names of both sides' runs have the same coordinator.
    pub(crate) fn name(&self, label: &str) -> String {
        let wanted = i32::from(self.api.0 + self.version) % COORDINATOR_PARTITIONS;
        let suffix = self.suffix();
        let mut letters = (b'a'..=b'z').flat_map(|one| (b'a'..=b'z').map(move |two| [one, two]));
        let name = letters.find_map(|[one, two]| {
            let (one, two) = (char::from(one), char::from(two));
            let name = format!("{}{label}{suffix}{one}{two}", self.prefix);
            (coordinator_partition(&name) == wanted).then_some(name)
        });
        name.expect("one of 676 names falls on a given partition of six")
    }

    /// A name that all runs of this side use.
    pub(crate) fn fixture(&self, label: &str) -> String {
        format!("{}{label}", self.prefix)
    }

    fn suffix(&self) -> String {
        format!("-k{}-v{}-", self.api.0, self.version)
    }

    /// Whether this run goes through the gateway.
    pub(crate) fn is_gateway(&self) -> bool {
        self.side.is_gateway()
    }

    /// Sends a request of the API and version under test to a broker, adds the answer to the transcript and gives it
    /// as it is; `Null` if the connection was closed instead.
    ///
    /// # Errors
    /// No answer, or one that the table cannot read.
    pub(crate) fn ask(&mut self, node: i32, what: &str, body: Value) -> Result<Value> {
        let (api, version) = (self.api, self.version);
        let answer = self
            .settled(node, api, version, &body)
            .map_err(|error| Error::Answer(format!("to \"{what}\": {error}")))?;
        self.note(what, &answer);
        Ok(answer)
    }

    /// Adds an answer of the API and version under test to the transcript.
    pub(crate) fn note(&mut self, what: &str, answer: &Value) {
        self.note_of(self.api, self.version, what, answer);
    }

    /// Adds an answer of another API to the transcript: an effect of what is under test.
    pub(crate) fn note_of(&mut self, api: ApiKey, version: i16, what: &str, answer: &Value) {
        let names = Names {
            side: self.side,
            own_prefix: &self.prefix,
            own_suffix: &self.suffix(),
            aliases: &self.aliases,
        };
        let lines = match answer {
            Value::Null => vec!["closed".to_owned()],
            answer => normal::flatten(&normal::normalise(api, version, answer, &names)),
        };
        let said = |line| format!("{what}: {line}");
        self.transcript.extend(lines.into_iter().map(said));
    }

    /// Adds a line of the case's own to the transcript.
    pub(crate) fn note_text(&mut self, text: String) {
        self.transcript.push(text);
    }

    /// Sends any request; the answer is not part of what is compared.
    ///
    /// # Errors
    /// No answer, or one that the table cannot read.
    pub(crate) fn step(
        &mut self,
        node: i32,
        api: ApiKey,
        version: i16,
        body: Value,
    ) -> Result<Value> {
        let answer = self.settled(node, api, version, &body)?;
        if answer.is_null() {
            return Err(Error::Violated(format!(
                "{:?} closed the connection after {api} v{version}, a preparation",
                self.side
            )));
        }
        Ok(answer)
    }

    /// [`Run::step`] that must not give an error.
    ///
    /// # Errors
    /// As [`Run::step`], and an answer with an error code.
    pub(crate) fn must(
        &mut self,
        node: i32,
        api: ApiKey,
        version: i16,
        body: Value,
    ) -> Result<Value> {
        let answer = self.step(node, api, version, body)?;
        match error_codes(api, &answer)
            .into_iter()
            .find(|code| *code != 0)
        {
            None => Ok(answer),
            Some(code) => Err(Error::Violated(format!(
                "{api} v{version} as a preparation gave error {code}: {answer}"
            ))),
        }
    }

    /// Sends a request and waits for no answer.
    ///
    /// # Errors
    /// No connection.
    pub(crate) fn send_only(&mut self, node: i32, body: &Value) -> Result<()> {
        let (api, version) = (self.api, self.version);
        let body = message::encode(api, version, Direction::Request, body);
        self.client(node)?
            .send(request(api, version, &body))
            .map(drop)
    }

    /// From now on an id reads as `<label>` in the transcript.
    pub(crate) fn alias(&mut self, id: &str, label: &str) {
        let label = format!("<{label}>");
        if !self.aliases.iter().any(|(raw, _)| raw == id) {
            self.aliases.push((id.to_owned(), label));
        }
    }

    /// Polls until `probe` gives a value.
    ///
    /// # Errors
    /// That of the probe, at once, or the time is up.
    pub(crate) fn until<T>(
        &mut self,
        what: &str,
        mut probe: impl FnMut(&mut Self) -> Result<Option<T>>,
    ) -> Result<T> {
        wait::until(what, LIMIT, || match probe(self) {
            Ok(value) => Ok(value.map(Ok)),
            Err(error) => Ok(Some(Err(error))),
        })?
    }

    /// What was said.
    pub(crate) fn transcript(self) -> Vec<String> {
        self.transcript
    }

    /// Repeats while a coordinator says that it is not done yet with something earlier.
    fn settled(&mut self, node: i32, api: ApiKey, version: i16, body: &Value) -> Result<Value> {
        const LOADING: i64 = 14;
        const CONCURRENT_TRANSACTIONS: i64 = 51;
        let body = message::encode(api, version, Direction::Request, body);
        self.until("a coordinator to be ready", |run| {
            let answer = run.exchange(node, api, version, &body)?;
            let busy = error_codes(api, &answer)
                .into_iter()
                .any(|code| code == LOADING || code == CONCURRENT_TRANSACTIONS);
            Ok((!busy).then_some(answer))
        })
    }

    fn exchange(&mut self, node: i32, api: ApiKey, version: i16, body: &[u8]) -> Result<Value> {
        let answer = match self.client(node)?.call(request(api, version, body)) {
            Ok(answer) => answer,
            Err(Error::Io { source, .. }) if is_close(&source) => {
                self.clients.remove(&node);
                return Ok(Value::Null);
            }
            Err(error) => return Err(error),
        };
        let header = usize::from(wire::header::response_header_version(api, version) > 0);
        let broken = |error| {
            Error::Answer(format!(
                "{api} v{version} from {:?}: {error}: {}",
                self.side,
                message::hex(&answer)
            ))
        };
        match answer.split_at_checked(header) {
            Some(([] | [0], answer)) => {
                message::decode(api, version, Direction::Response, answer).map_err(broken)
            }
            _ => Err(broken("tagged fields in the header".to_owned())),
        }
    }

    fn client(&mut self, node: i32) -> Result<&mut RawClient> {
        let door = &self.side.doors[&node];
        match self.clients.entry(node) {
            std::collections::btree_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            std::collections::btree_map::Entry::Vacant(entry) => {
                Ok(entry.insert(RawClient::connect(door)?))
            }
        }
    }
}

/// Partitions of the topics in which the test's cluster keeps groups and transactions.
const COORDINATOR_PARTITIONS: i32 = 6;

/// The partition that holds a group or a transactional id: Java's hash of the name.
fn coordinator_partition(name: &str) -> i32 {
    let hash = name.bytes().fold(0_i32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(i32::from(byte))
    });
    hash.wrapping_abs() % COORDINATOR_PARTITIONS
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
