//! A client that writes, and what it believes to be stored.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use testkit::{Error, Result};
use wire::testing::Rng;

use crate::front::Api;
use crate::resource::{Key, Kind};

/// State of a resource: its digest, `None` if there is no such resource.
type State = Option<String>;

/// What is known about a resource.
#[derive(Clone, Debug)]
enum Belief {
    Sure(State),
    /// A request was not answered: the state before it, and the one that it asked for.
    Either(State, State),
}

/// A client with resources that nobody else writes.
pub(crate) struct Writer {
    /// What names of its resources begin with.
    prefix: String,
    beliefs: BTreeMap<Key, Belief>,
    /// Virtual clusters that have been there at some time.
    seen: Vec<String>,
    rng: Rng,
    number: usize,
}

impl Writer {
    /// One of several.
    pub(crate) fn new(at: usize, seed: u64) -> Writer {
        Writer {
            prefix: format!("w{at}_"),
            beliefs: BTreeMap::new(),
            seen: Vec::new(),
            rng: Rng::new(seed.wrapping_add(at as u64 + 1)),
            number: 0,
        }
    }

    /// Writes until nobody answers. Counts answers in `answered`.
    pub(crate) fn write(&mut self, api: Api, answered: &AtomicUsize) {
        loop {
            let key = self.any_key();
            let before = match self.beliefs.get(&key) {
                None => None,
                Some(Belief::Sure(state)) => state.clone(),
                // Not written again before somebody has looked at it.
                Some(Belief::Either(..)) => continue,
            };
            self.number += 1;
            let (method, path, body, after) = match self.rng.one_in(3) {
                true => {
                    let (path, body) = key.deletion();
                    ("DELETE", path, body, None)
                }
                false => {
                    let members = [self.account(0), self.account(1)];
                    let spec = key.kind.spec(self.number, &self.home(), &members);
                    let digest = key.kind.digest(&spec);
                    let path = key.kind.path().to_owned();
                    ("PUT", path, key.resource(&spec), Some(digest))
                }
            };
            let belief = match api.call(method, &path, &body) {
                Ok((200 | 204, _)) => Belief::Sure(after),
                // Refused: something it needs is not there, or something else needs it.
                Ok((404 | 409, _)) => Belief::Sure(before),
                Ok(_) | Err(_) => Belief::Either(before, after),
            };
            let goes_on = matches!(belief, Belief::Sure(_));
            let is_there = matches!(&belief, Belief::Sure(Some(_)));
            if key.kind == Kind::VirtualCluster && is_there && !self.seen.contains(&key.name) {
                self.seen.push(key.name.clone());
            }
            if goes_on {
                answered.fetch_add(1, Ordering::Relaxed);
            }
            self.beliefs.insert(key, belief);
            if !goes_on {
                return;
            }
        }
    }

    /// Compares what is stored with what is believed; from now on that is sure.
    ///
    /// # Errors
    /// Something is stored that must not be, or is not that must be.
    pub(crate) fn verify(&mut self, api: Api, stored: &BTreeMap<Key, String>) -> Result<()> {
        let mut problems = Vec::new();
        let mine = stored.keys().filter(|key| key.begins_with(&self.prefix));
        for key in mine.filter(|key| !self.beliefs.contains_key(key)) {
            problems.push(format!("{key:?} is stored and was never written"));
        }
        for (key, belief) in &mut self.beliefs {
            let state = stored.get(key).cloned();
            let is_right = match &*belief {
                Belief::Sure(believed) => state == *believed,
                Belief::Either(before, after) => state == *before || state == *after,
            };
            if !is_right {
                problems.push(format!("{key:?} is {state:?}, which should be {belief:?}"));
            }
            if key.kind == Kind::VirtualCluster && state.is_some() && !self.seen.contains(&key.name)
            {
                self.seen.push(key.name.clone());
            }
            *belief = Belief::Sure(state);
        }
        for name in &self.seen {
            if !is_taken(api, name)? {
                problems.push(format!("the names of {name}, which was there, are free"));
            }
        }
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::Violated(problems.join("\n"))),
        }
    }

    /// The virtual cluster that accounts and aliases are in.
    fn home(&self) -> String {
        format!("{}home", self.prefix)
    }

    fn account(&self, at: usize) -> String {
        format!("{}account-{at}", self.prefix)
    }

    fn any_key(&mut self) -> Key {
        const EACH: usize = 4;
        let at = self.rng.below(EACH);
        let (prefix, home) = (&self.prefix, self.home());
        match self.rng.below(5) {
            0 => Key::new(Kind::VirtualCluster, "", home),
            1 => Key::new(Kind::VirtualCluster, "", format!("{prefix}vc_{at}")),
            2 => Key::new(Kind::Alias, &home, format!("{prefix}alias-{at}")),
            3 => Key::new(Kind::Account, &home, self.account(at)),
            _ => Key::new(Kind::Group, "", format!("{prefix}group-{at}")),
        }
    }
}

/// Whether names that begin with that of a virtual cluster are its own, be it there or deleted: then one whose name is the
/// same to brokers cannot be made.
pub(crate) fn is_taken(api: Api, name: &str) -> Result<bool> {
    let twin = Key::new(Kind::VirtualCluster, "", name.replace('_', "."));
    let resource = twin.resource(&serde_json::json!({}));
    match api.call("PUT", "virtual-cluster?dryMode=true", &resource)? {
        (200, _) => Ok(false),
        (409, _) => Ok(true),
        (status, answer) => Err(unexpected(status, &answer)),
    }
}

fn unexpected(status: u16, answer: &Value) -> Error {
    Error::Answer(format!("{status}: {answer}"))
}
