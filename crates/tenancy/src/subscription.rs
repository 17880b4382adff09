//! What members of groups of the new protocol have subscribed to (KIP-848, `virtualization.md` 2.7).
//!
//! A broker would match a regular expression with the names of all topics there are. So the gateway matches it with those the client may
//! see, and sends names. Heartbeats say only what has changed; what was said before is remembered here, for one connection: clients say all
//! of it again on a new one.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use bytes::Bytes;
use regex::Regex;
use wire::api::{ApiKey, Direction};
use wire::error_code::{INVALID_REGULAR_EXPRESSION, INVALID_REQUEST, UNKNOWN_MEMBER_ID};
use wire::tree::{self, Node, Record, TreeError};

use crate::pattern;

/// Members on one connection; consumers have one each. Beyond this many all are forgotten, and have to say again what they subscribe to.
const MAX_MEMBERS: usize = 32;

/// Names in one subscription, and those that are remembered of what matches an expression.
const MAX_NAMES: usize = 10_000;

/// What the members that send heartbeats over one connection have subscribed to.
#[derive(Debug, Default)]
pub struct Subscriptions {
    members: HashMap<(String, String), Member>,
    has_forgotten: bool,
}

#[derive(Debug, Default)]
struct Member {
    names: Vec<String>,
    pattern: Option<Regex>,
    /// What matched when it was last sent.
    matched: Vec<String>,
    /// Of all names that were last sent.
    sent: u64,
}

/// What becomes of a heartbeat.
#[derive(Debug)]
pub enum Heartbeat {
    /// It says what it means.
    AsIs,
    /// This body instead, of the same version.
    Instead(Bytes),
    /// The body of the answer.
    Answer(Vec<u8>),
    /// To be looked at again with the names that the client may see.
    ListTopics,
}

impl Subscriptions {
    /// Whether heartbeats of this kind subscribe.
    pub fn concerns(api: ApiKey) -> bool {
        matches!(
            api,
            ApiKey::CONSUMER_GROUP_HEARTBEAT | ApiKey::SHARE_GROUP_HEARTBEAT
        )
    }

    /// Puts names in the place of an expression. `visible`: the topics that the client may see, by its own names; `None`: not at hand.
    pub fn note(
        &mut self,
        api: ApiKey,
        version: i16,
        body: &[u8],
        visible: Option<&[String]>,
    ) -> Result<Heartbeat, TreeError> {
        let mut root = tree::decode(api, version, Direction::Request, body)?;
        let key = key(&root)?;
        if root.int("MemberEpoch") < 0 {
            self.members.remove(&key);
            return Ok(Heartbeat::AsIs);
        }
        let said = match root.get("SubscribedTopicRegex") {
            Node::Text(_) => root.get("SubscribedTopicRegex").as_text()?,
            _ => None,
        };
        let names = match root.get("SubscribedTopicNames") {
            Node::List(names) => Some(texts(names)?),
            _ => None,
        };
        let known = self.members.get(&key);
        let needs_match = match said {
            Some(text) => !text.is_empty(),
            None => known.is_some_and(|member| member.pattern.is_some()),
        };
        if needs_match && visible.is_none() {
            return Ok(Heartbeat::ListTopics);
        }
        if said.is_none() && names.is_none() && !needs_match {
            // Whoever is told that it is no member joins again, and says all of it.
            return Ok(match known.is_none() && self.has_forgotten {
                true => {
                    let text = "The subscription is not remembered";
                    Heartbeat::Answer(refusal(api, version, UNKNOWN_MEMBER_ID, text))
                }
                false => Heartbeat::AsIs,
            });
        }
        if names.as_ref().is_some_and(|names| names.len() > MAX_NAMES) {
            let text = "The subscription names too many topics";
            return Ok(Heartbeat::Answer(refusal(
                api,
                version,
                INVALID_REQUEST,
                text,
            )));
        }
        let pattern = match said {
            Some("") => Some(None),
            Some(text) => match pattern::compile(text) {
                Some(pattern) => Some(Some(pattern)),
                None => {
                    let text = "The regular expression of the subscription cannot be used";
                    let code = INVALID_REGULAR_EXPRESSION;
                    return Ok(Heartbeat::Answer(refusal(api, version, code, text)));
                }
            },
            None => None,
        };
        if self.members.len() >= MAX_MEMBERS && !self.members.contains_key(&key) {
            self.members.clear();
            self.has_forgotten = true;
        }
        let member = self.members.entry(key).or_default();
        let says_pattern = pattern.is_some();
        if let Some(pattern) = pattern {
            member.pattern = pattern;
        }
        let says_names = names.is_some();
        if let Some(names) = names {
            member.names = names;
        }
        let mut matched = Vec::new();
        if let Some(pattern) = &member.pattern {
            let visible = visible.unwrap_or_default();
            matched = visible
                .iter()
                .filter(|name| pattern.is_match(name))
                .cloned()
                .collect();
            matched.sort_unstable();
            matched.dedup();
        }
        member.matched = matched;
        let all = member.all();
        let mut hash = DefaultHasher::new();
        all.hash(&mut hash);
        let moved = std::mem::replace(&mut member.sent, hash.finish()) != member.sent;
        if all.len() > MAX_NAMES {
            member.matched = Vec::new();
        }
        let has_pattern = member.pattern.is_some();
        if !(says_pattern || (has_pattern && (moved || says_names))) {
            return Ok(Heartbeat::AsIs);
        }
        root.set("SubscribedTopicRegex", Node::Absent);
        root.set(
            "SubscribedTopicNames",
            Node::List(all.iter().map(|name| Node::text(name)).collect()),
        );
        let body = tree::encode(api, version, Direction::Request, &root);
        Ok(Heartbeat::Instead(body.into()))
    }

    /// What the member that sends this has subscribed to, as far as it is known.
    pub fn of(&self, api: ApiKey, version: i16, body: &[u8]) -> Result<Vec<String>, TreeError> {
        let root = tree::decode(api, version, Direction::Request, body)?;
        let member = self.members.get(&key(&root)?);
        Ok(member.map(Member::all).unwrap_or_default())
    }
}

impl Member {
    fn all(&self) -> Vec<String> {
        let mut all: Vec<String> = self.names.iter().chain(&self.matched).cloned().collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

fn key(root: &Record<'_>) -> Result<(String, String), TreeError> {
    let text =
        |field: &str| Ok::<_, TreeError>(root.get(field).as_text()?.unwrap_or_default().to_owned());
    Ok((text("GroupId")?, text("MemberId")?))
}

fn texts(nodes: &[Node<'_>]) -> Result<Vec<String>, TreeError> {
    nodes
        .iter()
        .map(|node| Ok(node.as_text()?.unwrap_or_default().to_owned()))
        .collect()
}

fn refusal(api: ApiKey, version: i16, code: i16, text: &str) -> Vec<u8> {
    let fields = tree::message(api, Direction::Response);
    let mut answer = wire::reply::error_record(fields, code);
    answer.set("ErrorMessage", Node::text(text));
    tree::encode(api, version, Direction::Response, &answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: ApiKey = ApiKey::CONSUMER_GROUP_HEARTBEAT;

    fn heartbeat(epoch: i64, names: Option<&[&str]>, pattern: Option<&str>) -> Vec<u8> {
        let mut root = Record::new(tree::message(API, Direction::Request));
        root.set("GroupId", Node::text("g"));
        root.set("MemberId", Node::text("m"));
        root.set("MemberEpoch", Node::Int(epoch));
        let names = names.map(|names| names.iter().map(|name| Node::text(name)).collect());
        root.set("SubscribedTopicNames", names.map_or(Node::Null, Node::List));
        root.set(
            "SubscribedTopicRegex",
            pattern.map_or(Node::Null, Node::text),
        );
        tree::encode(API, 1, Direction::Request, &root)
    }

    fn names(heartbeat: Heartbeat) -> Vec<String> {
        let Heartbeat::Instead(body) = heartbeat else {
            panic!("{heartbeat:?}");
        };
        let root = tree::decode(API, 1, Direction::Request, &body).unwrap();
        assert_eq!(*root.get("SubscribedTopicRegex"), Node::Null);
        texts(root.list("SubscribedTopicNames")).unwrap()
    }

    #[test]
    fn an_expression_becomes_names_and_is_remembered() {
        let mut subscriptions = Subscriptions::default();
        let mut visible = vec!["orders".to_owned(), "other".to_owned()];
        let first = heartbeat(0, Some(&[]), Some("or.*"));
        let noted = subscriptions.note(API, 1, &first, None).unwrap();
        assert!(matches!(noted, Heartbeat::ListTopics));
        let noted = subscriptions.note(API, 1, &first, Some(&visible)).unwrap();
        assert_eq!(names(noted), ["orders"]);
        let next = heartbeat(1, None, None);
        assert!(matches!(
            subscriptions.note(API, 1, &next, Some(&visible)).unwrap(),
            Heartbeat::AsIs
        ));
        visible.push("orchid".to_owned());
        let noted = subscriptions.note(API, 1, &next, Some(&visible)).unwrap();
        assert_eq!(names(noted), ["orchid", "orders"]);
        assert_eq!(
            subscriptions.of(API, 1, &next).unwrap(),
            ["orchid", "orders"]
        );
        let both = heartbeat(1, Some(&["x"]), None);
        let noted = subscriptions.note(API, 1, &both, Some(&visible)).unwrap();
        assert_eq!(names(noted), ["orchid", "orders", "x"]);
        let ended = heartbeat(1, None, Some(""));
        assert_eq!(
            names(subscriptions.note(API, 1, &ended, None).unwrap()),
            ["x"]
        );
        let left = heartbeat(-1, None, None);
        assert!(matches!(
            subscriptions.note(API, 1, &left, None).unwrap(),
            Heartbeat::AsIs
        ));
        assert!(subscriptions.of(API, 1, &next).unwrap().is_empty());
    }

    #[test]
    fn names_alone_need_no_list() {
        let mut subscriptions = Subscriptions::default();
        let noted = subscriptions
            .note(API, 1, &heartbeat(0, Some(&["a"]), None), None)
            .unwrap();
        assert!(matches!(noted, Heartbeat::AsIs));
        assert_eq!(
            subscriptions.of(API, 1, &heartbeat(1, None, None)).unwrap(),
            ["a"]
        );
        let noted = subscriptions
            .note(API, 1, &heartbeat(0, None, Some("(")), Some(&[]))
            .unwrap();
        assert!(matches!(noted, Heartbeat::Answer(_)));
    }

    #[test]
    fn who_is_forgotten_joins_again() {
        let mut subscriptions = Subscriptions::default();
        let visible = ["orders".to_owned()];
        let empty = heartbeat(0, None, None);
        let mut note = |member: usize, epoch, pattern: Option<&str>| {
            let mut root = tree::decode(API, 1, Direction::Request, &empty).unwrap();
            root.set("MemberId", Node::text(&member.to_string()));
            root.set("MemberEpoch", Node::Int(epoch));
            root.set(
                "SubscribedTopicRegex",
                pattern.map_or(Node::Null, Node::text),
            );
            let body = tree::encode(API, 1, Direction::Request, &root);
            subscriptions.note(API, 1, &body, Some(&visible)).unwrap()
        };
        for member in 0..=MAX_MEMBERS {
            assert!(matches!(
                note(member, 0, Some("or.*")),
                Heartbeat::Instead(_)
            ));
        }
        assert!(matches!(note(MAX_MEMBERS, 1, None), Heartbeat::AsIs));
        let Heartbeat::Answer(answer) = note(0, 1, None) else {
            panic!("a member that is not remembered goes on");
        };
        let answer = tree::decode(API, 1, Direction::Response, &answer).unwrap();
        assert_eq!(answer.int("ErrorCode"), i64::from(UNKNOWN_MEMBER_ID));
        assert!(matches!(note(0, 0, Some("or.*")), Heartbeat::Instead(_)));
    }
}
