//! What requests are aimed at: names, ids and handles of the attacker's own, and of everybody else.

use crate::names::{ALIAS, GROUPS, MEMBER, Names, Owner, TOPIC, TRANSACTION};

/// Names in the words of the attacker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Targets {
    pub(crate) topics: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) transactions: Vec<String>,
    /// Regular expressions.
    pub(crate) patterns: Vec<String>,
    pub(crate) members: Vec<String>,
    pub(crate) principals: Vec<String>,
    /// Ids of topics.
    pub(crate) ids: Vec<[u8; 16]>,
    /// Ids of producers and their epochs.
    pub(crate) producers: Vec<(i64, i64)>,
    /// Fetch sessions.
    pub(crate) sessions: Vec<i64>,
}

/// Both.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pools {
    pub(crate) own: Targets,
    pub(crate) foreign: Targets,
    /// Cluster ids, right and wrong.
    pub(crate) clusters: Vec<String>,
    /// Folders of brokers.
    pub(crate) folders: Vec<String>,
}

impl Pools {
    /// All names; ids and handles are added when they are known. `gateway_topics` are those of the gateway.
    pub(crate) fn new(names: &Names, gateway_topics: &[String], cluster_id: &str) -> Pools {
        let prefix = names.attacker.prefix.as_str();
        let mut own = Targets::default();
        own.add_both("", &names.attacker);
        own.topics.push(ALIAS.to_owned());
        own.patterns = owned(&[".*", "^[a-z0-9]+-orders$", "(?i)SC.*|kn.+"]);
        own.members.push(String::new());
        own.principals = owned(&["User:ann", "User:root-a", "User:*"]);

        let mut foreign = Targets::default();
        foreign.add_odd(prefix);
        foreign.topics.extend_from_slice(gateway_topics);
        foreign.patterns.extend(gateway_topics.iter().cloned());
        // What the attacker's own are called in Kafka, as far as guessed.
        foreign.add(prefix, &names.attacker.known);
        let mut clusters = vec![
            cluster_id.to_owned(),
            format!("{prefix}@{cluster_id}"),
            "another".to_owned(),
        ];
        for owner in names.others() {
            clusters.push(format!("{}@{cluster_id}", owner.prefix));
            foreign.add("", &owner.known);
            foreign.add(&owner.prefix, &owner.known);
            // What becomes the name of the other one with the attacker's prefix before it.
            if let Some(rest) = owner.prefix.strip_prefix(prefix) {
                foreign.add(rest, &owner.known);
                foreign.add(rest, "");
            }
            foreign.members.push(format!("{}-{MEMBER}", owner.known));
            foreign.principals.push(format!("User:{}", owner.known));
        }
        Pools {
            own,
            foreign,
            clusters,
            folders: owned(&["/", "/tmp"]),
        }
    }

    /// Every text that is sent.
    pub(crate) fn spoken(&self) -> impl Iterator<Item = &str> {
        [&self.own, &self.foreign]
            .into_iter()
            .flat_map(Targets::texts)
            .chain([&self.clusters, &self.folders])
            .flatten()
            .map(String::as_str)
    }
}

impl Targets {
    fn texts(&self) -> [&Vec<String>; 6] {
        [
            &self.topics,
            &self.groups,
            &self.transactions,
            &self.patterns,
            &self.members,
            &self.principals,
        ]
    }

    fn add_both(&mut self, prefix: &str, owner: &Owner) {
        for word in owner.words() {
            self.add(prefix, word);
            self.members.push(format!("{word}-{MEMBER}"));
        }
    }

    /// Names of one word, and patterns for them.
    fn add(&mut self, prefix: &str, word: &str) {
        let name = |kind: &str| format!("{prefix}{word}-{kind}");
        self.topics.push(name(TOPIC));
        self.groups.extend(GROUPS.map(name));
        self.transactions.push(name(TRANSACTION));
        self.patterns.push(format!("{prefix}{word}.*"));
        self.patterns.push(format!("^(x|{prefix}).*$"));
        self.patterns
            .push(format!("(?i){}.+", name("").to_uppercase()));
    }

    /// Names that are nobody's, or not allowed, or Kafka's own.
    fn add_odd(&mut self, prefix: &str) {
        let long = |count: usize| "l".repeat(count);
        let odd = [
            String::new(),
            ".".to_owned(),
            "..".to_owned(),
            "*".to_owned(),
            "/".to_owned(),
            "../x".to_owned(),
            "with space".to_owned(),
            "umlaut-ö".to_owned(),
            "zero\0byte".to_owned(),
            "new.name".to_owned(),
            "new_name".to_owned(),
            long(249 - prefix.len()),
            long(250 - prefix.len()),
            long(249),
            long(5000),
            "__consumer_offsets".to_owned(),
            "__transaction_state".to_owned(),
            "__share_group_state".to_owned(),
            "__cluster_metadata".to_owned(),
        ];
        self.patterns.extend(owned(&[
            "",
            ".",
            ".*",
            "^.*$",
            ".+",
            "[",
            "(",
            "(?i).*ORDERS",
            "__.*",
            "_.*|v.*",
            "(a+)+$",
            "\\Q",
            "[^v].*",
            "(?s).{0,9}.*",
        ]));
        self.topics.extend_from_slice(&odd);
        self.groups.extend_from_slice(&odd);
        self.transactions.extend_from_slice(&odd);
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
