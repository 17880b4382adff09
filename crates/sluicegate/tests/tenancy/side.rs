//! One run of a case of the comparison, along one of the two ways.

use serde_json::Value;
use testkit::{Error, Result, wait};
use wire::api::ApiKey;

use crate::caller::Caller;
use crate::differences;
use crate::normal::{self, Names};
use crate::way::{Side, error_codes};
use crate::world::LIMIT;

/// One run of a case: one API in one version along one side.
pub(crate) struct Run<'s> {
    /// The API under test.
    pub(crate) api: ApiKey,
    /// The version under test.
    pub(crate) version: i16,
    pub(crate) side: &'s Side,
    prefix: String,
    caller: Caller,
    aliases: Vec<(String, String)>,
    transcript: Vec<String>,
}

impl<'s> Run<'s> {
    /// A run whose names are the side's own.
    pub(crate) fn new(side: &'s Side, caller: &Caller, api: ApiKey, version: i16) -> Run<'s> {
        Run {
            api,
            version,
            side,
            prefix: format!("diff-{}-", side.letter),
            caller: caller.again(),
            aliases: Vec::new(),
            transcript: Vec::new(),
        }
    }

    /// A run that makes nothing of its own.
    pub(crate) fn reading(side: &'s Side, caller: &Caller, api: ApiKey, version: i16) -> Run<'s> {
        Run {
            prefix: "diff-s-".to_owned(),
            ..Run::new(side, caller, api, version)
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
            (java_hash(&name).wrapping_abs() % COORDINATOR_PARTITIONS == wanted).then_some(name)
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

    /// Whether this run is in the virtual cluster.
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
        let answer = self.caller.ask(node, api, version, &body);
        let answer = answer.map_err(|error| Error::Answer(format!("to \"{what}\": {error}")))?;
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
            answer => {
                let even = differences::even_out(api, version, what, self.is_gateway(), answer);
                normal::flatten(&normal::normalise(api, version, &even, &names))
            }
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
        let answer = self.caller.ask(node, api, version, &body)?;
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
        let codes = error_codes(api, &answer);
        match codes.into_iter().find(|code| *code != 0) {
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
        self.caller.send_only(node, self.api, self.version, body)
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
}

/// Partitions of the topics in which the test's cluster keeps groups and transactions.
const COORDINATOR_PARTITIONS: i32 = 6;

/// Java's hash of a text: says which partition holds a group or a transactional id.
pub(crate) fn java_hash(name: &str) -> i32 {
    name.bytes().fold(0_i32, |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(i32::from(byte))
    })
}
