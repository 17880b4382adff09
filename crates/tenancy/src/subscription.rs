//! What members of groups of the new protocol have subscribed to (KIP-848).
//!
//! A broker would match a regular expression with the names of all topics there are. So the gateway matches it with those the client may
//! see, and sends names. Heartbeats say only what has changed; what was said before is remembered here, for one connection: clients say all
//! of it again on a new one.
//!
//! Clients choose what is remembered, so it is little: of names a number each, and the names themselves only beside an expression.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use bytes::Bytes;
use wire::api::{ApiKey, Direction};
use wire::error_code::{
    COORDINATOR_LOAD_IN_PROGRESS, INVALID_REGULAR_EXPRESSION, INVALID_REQUEST, UNKNOWN_MEMBER_ID,
};
use wire::tree::{self, Node, Record, TreeError};

use crate::pattern::Unusable;
use crate::tenant::Tenant;

/// Members on one connection; consumers have one each. Beyond this many all are forgotten, and have to say again what they subscribe to.
const MAX_MEMBERS: usize = 32;

/// Names in one subscription, and those that are remembered of what matches an expression.
const MAX_NAMES: usize = 10_000;

/// Bytes that are remembered of all members on one connection. The names of one subscription fit three times.
const MAX_BYTES: usize = 256 * 1024;

/// Why a member has to join again.
const FORGOTTEN: &str = "The subscription is not remembered";

/// What the members that send heartbeats over one connection have subscribed to.
#[derive(Debug, Default)]
pub struct Subscriptions {
    /// By the hash of group and member, with a key of this connection's own.
    members: HashMap<u64, Member>,
    hashes: RandomState,
    has_forgotten: bool,
}

#[derive(Debug, Default)]
struct Member {
    /// Hashes of the names that it has said, in order.
    names: Vec<u64>,
    /// The names, if there is an expression beside them.
    kept: Vec<String>,
    pattern: Option<Box<str>>,
    /// Hashes of what matched when it was last sent, in order.
    matched: Vec<u64>,
    /// Of all names that were last sent.
    sent: u64,
    /// What the expression was last matched with.
    at: Option<Stamp>,
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
    /// To be looked at again when an expression has been matched.
    Match(Wanted),
}

/// An expression to be matched with the names that the client may see.
#[derive(Debug)]
pub struct Wanted {
    /// The expression.
    pub expression: String,
    /// What it was matched with before, if nothing else is new in the heartbeat: with the same again the heartbeat says what it means.
    pub matched: Option<Stamp>,
}

/// Tells apart what expressions are matched with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Of the names of all topics.
    pub topics: u64,
    /// Of what the client may see.
    pub rights: u64,
}

/// What an expression has matched.
#[derive(Debug)]
pub struct Found {
    /// Of the names that the client may see.
    pub names: Result<Vec<String>, Unusable>,
    /// What it was matched with.
    pub at: Stamp,
}

impl Subscriptions {
    /// Whether heartbeats of this kind subscribe.
    pub fn concerns(api: ApiKey) -> bool {
        matches!(
            api,
            ApiKey::CONSUMER_GROUP_HEARTBEAT | ApiKey::SHARE_GROUP_HEARTBEAT
        )
    }

    /// Puts names in the place of an expression. `may_use`: whether the client may be a member of a group; nothing is kept of one who may not,
    /// and is told so by others. `found`: what the expression matches that was asked for before.
    ///
    /// # Errors
    /// The body is not understood.
    pub fn note(
        &mut self,
        api: ApiKey,
        version: i16,
        body: &[u8],
        may_use: &dyn Fn(&str) -> bool,
        found: Option<Found>,
    ) -> Result<Heartbeat, TreeError> {
        let mut root = tree::decode(api, version, Direction::Request, body)?;
        if !may_use(root.get("GroupId").as_text()?.unwrap_or_default()) {
            return Ok(Heartbeat::AsIs);
        }
        let key = self.key(&root)?;
        if root.int("MemberEpoch") < 0 {
            self.members.remove(&key);
            return Ok(Heartbeat::AsIs);
        }
        let refuse = |code, text| Ok(Heartbeat::Answer(refusal(api, version, code, text)));
        let said = match root.get("SubscribedTopicRegex") {
            Node::Text(_) => root.get("SubscribedTopicRegex").as_text()?,
            _ => None,
        };
        let names = match root.get("SubscribedTopicNames") {
            Node::List(names) => Some(texts(names)?),
            _ => None,
        };
        let known = self.members.get(&key);
        let before = known.and_then(|member| member.pattern.as_deref());
        let pattern = said.or(before).filter(|text| !text.is_empty());
        if said.is_none() && names.is_none() && pattern.is_none() {
            return match known.is_none() && self.has_forgotten {
                true => refuse(UNKNOWN_MEMBER_ID, FORGOTTEN),
                false => Ok(Heartbeat::AsIs),
            };
        }
        if names.as_ref().is_some_and(|names| names.len() > MAX_NAMES) {
            return refuse(INVALID_REQUEST, "The subscription names too many topics");
        }
        let lacks_names = |member: &Member| before.is_none() && !member.names.is_empty();
        if pattern.is_some() && names.is_none() && known.is_some_and(lacks_names) {
            // They go with the expression, and only their hashes are here. Whoever joins again says all of it.
            self.members.remove(&key);
            return refuse(UNKNOWN_MEMBER_ID, FORGOTTEN);
        }
        let Some(pattern) = pattern.map(Box::<str>::from) else {
            return Ok(self.note_names((api, version), key, root, names));
        };
        let Some(found) = found else {
            let is_new = said.is_some() || names.is_some();
            return Ok(Heartbeat::Match(Wanted {
                matched: known.and_then(|member| member.at).filter(|_| !is_new),
                expression: pattern.into(),
            }));
        };
        let Ok(mut matched) = found.names else {
            let text = "The regular expression of the subscription cannot be used";
            return refuse(INVALID_REGULAR_EXPRESSION, text);
        };
        matched.sort_unstable();
        matched.dedup();
        let says_pattern = said.is_some();
        let says_names = names.is_some();
        let hashes = self.hashes.clone();
        let hashed = |names: &[String]| sorted(names.iter().map(|name| hashes.hash_one(name)));
        let member = self.member(key);
        if let Some(names) = names {
            member.names = hashed(&names);
            member.kept = names;
        }
        member.pattern = Some(pattern);
        member.at = Some(found.at);
        let mut all = member.kept.clone();
        all.extend(matched.iter().cloned());
        all.sort_unstable();
        all.dedup();
        member.matched = match all.len() > MAX_NAMES {
            true => Vec::new(),
            false => hashed(&matched),
        };
        let sent = hashes.hash_one(&all);
        let moved = std::mem::replace(&mut member.sent, sent) != sent;
        if !self.fits(key) {
            let text = "The subscription names too many topics beside its regular expression";
            return refuse(INVALID_REQUEST, text);
        }
        if !(says_pattern || moved || says_names) {
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

    /// Notes what a member subscribes to that has no expression, or none any more.
    fn note_names(
        &mut self,
        (api, version): (ApiKey, i16),
        key: u64,
        mut root: Record<'_>,
        names: Option<Vec<String>>,
    ) -> Heartbeat {
        let hashes = self.hashes.clone();
        let member = self.member(key);
        let kept = std::mem::take(&mut member.kept);
        let before = std::mem::take(member);
        member.names = match &names {
            Some(names) => sorted(names.iter().map(|name| hashes.hash_one(name))),
            None => before.names,
        };
        self.fits(key);
        if before.pattern.is_none() {
            return Heartbeat::AsIs;
        }
        let names = names.unwrap_or(kept);
        root.set("SubscribedTopicRegex", Node::Absent);
        root.set(
            "SubscribedTopicNames",
            Node::List(names.iter().map(|name| Node::text(name)).collect()),
        );
        Heartbeat::Instead(tree::encode(api, version, Direction::Request, &root).into())
    }

    /// What the member that sends this has subscribed to, as far as it is known, of topics that have several names.
    ///
    /// # Errors
    /// The body is not understood.
    pub fn of(
        &self,
        api: ApiKey,
        version: i16,
        body: &[u8],
        tenant: &Tenant,
    ) -> Result<Vec<String>, TreeError> {
        let root = tree::decode(api, version, Direction::Request, body)?;
        let Some(member) = self.members.get(&self.key(&root)?) else {
            return Ok(Vec::new());
        };
        let has = |name: &&str| {
            let hash = self.hashes.hash_one(name);
            let has = |hashes: &[u64]| hashes.binary_search(&hash).is_ok();
            has(&member.names) || has(&member.matched)
        };
        let names = tenant.names_of_aliased().filter(has);
        Ok(names.map(str::to_owned).collect())
    }

    /// Memory that it takes, bytes, about.
    pub fn weight(&self) -> usize {
        self.members.values().map(Member::weight).sum()
    }

    /// Forgets all members: there is no memory for them. Gives the body of the answer to the heartbeat at hand, after which a client sends it
    /// again, a bit later and as a whole.
    pub fn forget(&mut self, api: ApiKey, version: i16) -> Vec<u8> {
        self.members = HashMap::new();
        self.has_forgotten = true;
        let text = "There is no memory for the subscription now";
        refusal(api, version, COORDINATOR_LOAD_IN_PROGRESS, text)
    }

    fn member(&mut self, key: u64) -> &mut Member {
        if self.members.len() >= MAX_MEMBERS && !self.members.contains_key(&key) {
            self.members.clear();
            self.has_forgotten = true;
        }
        self.members.entry(key).or_default()
    }

    /// Whether there is room for what a member has subscribed to. Others are forgotten for it.
    fn fits(&mut self, key: u64) -> bool {
        if self.weight() <= MAX_BYTES {
            return true;
        }
        self.has_forgotten = true;
        self.members.retain(|of, _| *of == key);
        let fits = self.weight() <= MAX_BYTES;
        if !fits {
            self.members.clear();
        }
        fits
    }

    fn key(&self, root: &Record<'_>) -> Result<u64, TreeError> {
        let text = |field: &str| Ok::<_, TreeError>(root.get(field).as_text()?.unwrap_or_default());
        Ok(self.hashes.hash_one((text("GroupId")?, text("MemberId")?)))
    }
}

impl Member {
    fn weight(&self) -> usize {
        let kept = self.kept.iter().map(|name| size_of_val(name) + name.len());
        let hashes = self.names.len() + self.matched.len();
        size_of::<(u64, Member)>()
            + kept.sum::<usize>()
            + self.pattern.as_ref().map_or(0, |pattern| pattern.len())
            + hashes * size_of::<u64>()
    }
}

fn sorted(hashes: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut hashes: Vec<u64> = hashes.collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes.shrink_to_fit();
    hashes
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
    use crate::pattern::Expression;
    use crate::{AliasDefinition, Definition, Tenants};

    const API: ApiKey = ApiKey::CONSUMER_GROUP_HEARTBEAT;

    fn heartbeat(epoch: i64, names: Option<&[&str]>, pattern: Option<&str>) -> Vec<u8> {
        of_member("m", epoch, names, pattern)
    }

    fn of_member(
        member: &str,
        epoch: i64,
        names: Option<&[&str]>,
        pattern: Option<&str>,
    ) -> Vec<u8> {
        let mut root = Record::new(tree::message(API, Direction::Request));
        root.set("GroupId", Node::text("g"));
        root.set("MemberId", Node::text(member));
        root.set("MemberEpoch", Node::Int(epoch));
        let names = names.map(|names| names.iter().map(|name| Node::text(name)).collect());
        root.set("SubscribedTopicNames", names.map_or(Node::Null, Node::List));
        root.set(
            "SubscribedTopicRegex",
            pattern.map_or(Node::Null, Node::text),
        );
        tree::encode(API, 1, Direction::Request, &root)
    }

    /// Notes a heartbeat as a connection does, with these topics to be seen.
    fn note(subscriptions: &mut Subscriptions, body: &[u8], visible: &[&str]) -> Heartbeat {
        let at = Stamp {
            topics: RandomState::hash_one(&subscriptions.hashes, visible),
            rights: 0,
        };
        match subscriptions.note(API, 1, body, &|_| true, None).unwrap() {
            Heartbeat::Match(wanted) if wanted.matched == Some(at) => Heartbeat::AsIs,
            Heartbeat::Match(wanted) => {
                let visible = visible.iter().map(|name| (*name).to_owned()).collect();
                let expression = Expression::compile(&wanted.expression);
                let names = expression.and_then(|expression| expression.matching(visible));
                let found = Some(Found { names, at });
                subscriptions.note(API, 1, body, &|_| true, found).unwrap()
            }
            noted => noted,
        }
    }

    fn names(heartbeat: Heartbeat) -> Vec<String> {
        let Heartbeat::Instead(body) = heartbeat else {
            panic!("{heartbeat:?}");
        };
        let root = tree::decode(API, 1, Direction::Request, &body).unwrap();
        assert_eq!(*root.get("SubscribedTopicRegex"), Node::Null);
        texts(root.list("SubscribedTopicNames")).unwrap()
    }

    fn code(heartbeat: Heartbeat) -> i64 {
        let Heartbeat::Answer(body) = heartbeat else {
            panic!("{heartbeat:?}");
        };
        let root = tree::decode(API, 1, Direction::Response, &body).unwrap();
        root.int("ErrorCode")
    }

    /// A virtual cluster where some of the topics have aliases.
    fn tenant() -> std::sync::Arc<Tenant> {
        let define = Definition {
            name: "A".to_owned(),
            ..Definition::default()
        };
        let alias = |name: &str, target: &str| AliasDefinition {
            vcluster: "A".to_owned(),
            name: name.to_owned(),
            target: target.to_owned(),
        };
        let aliases = [alias("orchid", "raw"), alias("other", "Aorders")];
        let tenants = Tenants::new(vec![define], [], aliases);
        tenants.get("A").unwrap().clone()
    }

    #[test]
    fn an_expression_becomes_names_and_is_remembered() {
        let mut subscriptions = Subscriptions::default();
        let subscriptions = &mut subscriptions;
        let first = heartbeat(0, Some(&[]), Some("or.*"));
        let visible = ["orders", "other"];
        assert_eq!(names(note(subscriptions, &first, &visible)), ["orders"]);
        let next = heartbeat(1, None, None);
        let noted = note(subscriptions, &next, &visible);
        assert!(matches!(noted, Heartbeat::AsIs));
        // Another topic that does not match.
        let noted = note(subscriptions, &next, &["orders", "other", "x"]);
        assert!(matches!(noted, Heartbeat::AsIs));
        let visible = ["orders", "other", "orchid"];
        let noted = names(note(subscriptions, &next, &visible));
        assert_eq!(noted, ["orchid", "orders"]);
        let mut aliased = subscriptions.of(API, 1, &next, &tenant()).unwrap();
        aliased.sort_unstable();
        assert_eq!(aliased, ["orchid", "orders"]);
        let both = heartbeat(1, Some(&["x"]), None);
        let noted = names(note(subscriptions, &both, &visible));
        assert_eq!(noted, ["orchid", "orders", "x"]);
        let ended = heartbeat(1, None, Some(""));
        assert_eq!(names(note(subscriptions, &ended, &visible)), ["x"]);
        let left = heartbeat(-1, None, None);
        let noted = note(subscriptions, &left, &visible);
        assert!(matches!(noted, Heartbeat::AsIs));
        assert!(subscriptions.members.is_empty());
    }

    #[test]
    fn what_is_unchanged_is_not_matched_again() {
        let mut subscriptions = Subscriptions::default();
        note(&mut subscriptions, &heartbeat(0, None, Some("a")), &["a"]);
        let mut wanted = |body: &[u8]| match subscriptions.note(API, 1, body, &|_| true, None) {
            Ok(Heartbeat::Match(wanted)) => wanted.matched,
            other => panic!("{other:?}"),
        };
        assert!(wanted(&heartbeat(1, None, None)).is_some());
        assert_eq!(wanted(&heartbeat(1, Some(&["b"]), None)), None);
        assert_eq!(wanted(&heartbeat(0, None, Some("a"))), None);
    }

    #[test]
    fn names_alone_need_no_match() {
        let mut subscriptions = Subscriptions::default();
        let first = heartbeat(0, Some(&["other", "x"]), None);
        let noted = note(&mut subscriptions, &first, &[]);
        assert!(matches!(noted, Heartbeat::AsIs));
        let next = heartbeat(1, None, None);
        let aliased = subscriptions.of(API, 1, &next, &tenant()).unwrap();
        assert_eq!(aliased, ["other"]);
        let broken = note(&mut subscriptions, &heartbeat(0, None, Some("(")), &[]);
        assert_eq!(
            code(broken),
            i64::from(UNKNOWN_MEMBER_ID),
            "the names first"
        );
        let broken = heartbeat(0, Some(&["x"]), Some("("));
        let broken = note(&mut subscriptions, &broken, &[]);
        assert_eq!(code(broken), i64::from(INVALID_REGULAR_EXPRESSION));
    }

    #[test]
    fn who_is_forgotten_joins_again() {
        let mut subscriptions = Subscriptions::default();
        let mut note = |member: usize, epoch, pattern: Option<&str>| {
            let body = of_member(&member.to_string(), epoch, None, pattern);
            note(&mut subscriptions, &body, &["orders"])
        };
        for member in 0..=MAX_MEMBERS {
            let noted = note(member, 0, Some("or.*"));
            assert!(matches!(noted, Heartbeat::Instead(_)));
        }
        assert!(matches!(note(MAX_MEMBERS, 1, None), Heartbeat::AsIs));
        assert_eq!(code(note(0, 1, None)), i64::from(UNKNOWN_MEMBER_ID));
        assert!(matches!(note(0, 0, Some("or.*")), Heartbeat::Instead(_)));
    }

    #[test]
    fn a_connection_remembers_a_bounded_number_of_bytes() {
        let mut subscriptions = Subscriptions::default();
        let long: Vec<String> = (0..MAX_NAMES).map(|n| format!("{n:0240}")).collect();
        let long: Vec<&str> = long.iter().map(String::as_str).collect();
        for member in 0..8 {
            let body = of_member(&format!("{member:030000}"), 0, Some(&long), None);
            let noted = note(&mut subscriptions, &body, &[]);
            assert!(matches!(noted, Heartbeat::AsIs), "{noted:?}");
            let weight = subscriptions.weight();
            assert!((8 * MAX_NAMES..=MAX_BYTES).contains(&weight), "{weight}");
        }
        let both = heartbeat(0, Some(&long), Some("or.*"));
        let refused = note(&mut subscriptions, &both, &["orders"]);
        assert_eq!(code(refused), i64::from(INVALID_REQUEST));
        assert_eq!(subscriptions.weight(), 0);
        let some = heartbeat(0, Some(&long[..500]), Some("or.*"));
        let noted = names(note(&mut subscriptions, &some, &["orders"]));
        assert_eq!(noted.len(), 501);
        let denied = subscriptions.note(API, 1, &some, &|group| group != "g", None);
        assert!(matches!(denied, Ok(Heartbeat::AsIs)));
        let busy = Heartbeat::Answer(subscriptions.forget(API, 1));
        assert_eq!(code(busy), i64::from(COORDINATOR_LOAD_IN_PROGRESS));
        let next = note(&mut subscriptions, &heartbeat(1, None, None), &[]);
        assert_eq!(code(next), i64::from(UNKNOWN_MEMBER_ID));
    }
}
