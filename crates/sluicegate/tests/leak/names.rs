//! Who is who, and how things of each are called.
//!
//! Everybody's names are made of two words. One of them the attacker knows and sends; it may come back. The other one
//! the attacker never sends, so that wherever it is seen, it has leaked.

use wire::testing::Rng;

/// Somebody with topics, groups and transactional ids in Kafka.
#[derive(Clone, Debug)]
pub(crate) struct Owner {
    /// Who it is, for people.
    pub(crate) label: &'static str,
    /// What its names begin with in Kafka: the name of the virtual cluster. Empty for nobody's.
    pub(crate) prefix: String,
    /// The word that the attacker has heard of.
    pub(crate) known: String,
    /// The word that the attacker has not.
    pub(crate) secret: String,
}

impl Owner {
    fn new(label: &'static str, prefix: String, rng: &mut Rng) -> Owner {
        Owner {
            label,
            prefix,
            known: format!("kn{}", letters(rng, 6)),
            secret: format!("sc{}", letters(rng, 8)),
        }
    }

    /// Its two words.
    pub(crate) fn words(&self) -> [&str; 2] {
        [&self.known, &self.secret]
    }

    /// A name of its own in Kafka.
    pub(crate) fn physical(&self, word: &str, kind: &str) -> String {
        format!("{}{word}-{kind}", self.prefix)
    }
}

/// Everybody.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    /// The virtual cluster of those who ask.
    pub(crate) attacker: Owner,
    /// Another one.
    pub(crate) victim: Owner,
    /// One whose name begins with that of the attacker.
    pub(crate) longer: Owner,
    /// The same, deleted.
    pub(crate) retired: Owner,
    /// Not in any virtual cluster.
    pub(crate) outside: Owner,
    /// Id of the gateway's cluster: part of the names of its topics.
    pub(crate) gateway: String,
}

impl Names {
    pub(crate) fn new(rng: &mut Rng) -> Names {
        let attacker = format!("va{}", letters(rng, 5));
        let longer = format!("{attacker}x{}", letters(rng, 2));
        let retired = format!("{attacker}y{}", letters(rng, 2));
        let victim = format!("vb{}", letters(rng, 5));
        Names {
            attacker: Owner::new("the attacker", attacker, rng),
            victim: Owner::new("another virtual cluster", victim, rng),
            longer: Owner::new("a virtual cluster with a longer name", longer, rng),
            retired: Owner::new("a deleted virtual cluster", retired, rng),
            outside: Owner::new("nobody", String::new(), rng),
            gateway: format!("gw{}", letters(rng, 6)),
        }
    }

    /// Everybody but the attacker.
    pub(crate) fn others(&self) -> [&Owner; 4] {
        [&self.victim, &self.longer, &self.retired, &self.outside]
    }

    /// Whether a name in Kafka is the attacker's.
    pub(crate) fn is_attackers(&self, physical: &str) -> bool {
        physical.starts_with(&self.attacker.prefix)
            && !physical.starts_with(&self.longer.prefix)
            && !physical.starts_with(&self.retired.prefix)
    }
}

/// Topic of everybody, see [`fixtures`](crate::fixtures).
pub(crate) const TOPIC: &str = "orders";
/// Group with committed offsets and nobody in it.
pub(crate) const SIMPLE: &str = "simple";
/// Groups of each protocol with a member.
pub(crate) const CLASSIC: &str = "classic";
pub(crate) const CONSUMER: &str = "consumer";
pub(crate) const SHARE: &str = "share";
pub(crate) const STREAMS: &str = "streams";
/// Transactional id with an open transaction.
pub(crate) const TRANSACTION: &str = "payment";
/// Member of the groups.
pub(crate) const MEMBER: &str = "member";
/// Topic of nobody for which the attacker has an alias.
pub(crate) const TARGET: &str = "target";
/// That alias.
pub(crate) const ALIAS: &str = "alias";

/// All groups of one word.
pub(crate) const GROUPS: [&str; 5] = [SIMPLE, CLASSIC, CONSUMER, SHARE, STREAMS];

/// Letters that make no word by chance.
pub(crate) fn letters(rng: &mut Rng, count: usize) -> String {
    const ALPHABET: &[u8] = b"bcdfghjkmnpqrstvwxz23456789";
    (0..count)
        .map(|_| char::from(ALPHABET[rng.below(ALPHABET.len())]))
        .collect()
}
