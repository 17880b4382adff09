//! Texts of errors: brokers print physical names into some, and policies of theirs may print any name there is.

use std::collections::{HashMap, HashSet};

use wire::api::{ApiKey, Direction};
use wire::error_code::{
    INVALID_CONFIG, INVALID_PARTITIONS, INVALID_REPLICATION_FACTOR, INVALID_REQUEST,
    POLICY_VIOLATION,
};
use wire::plan::{Interest, Plans};
use wire::schema::Entity;
use wire::walk::{Field, Value, Visitor, WalkError};

use crate::ids::Topics;
use crate::tenant::{Physical, Tenant};

/// Errors whose texts tell more than the code does.
const TELLING: [i16; 5] = [
    INVALID_PARTITIONS,
    INVALID_REPLICATION_FACTOR,
    INVALID_CONFIG,
    INVALID_REQUEST,
    POLICY_VIOLATION,
];

/// With more names than this nobody reads the texts.
const MAX_NAMES: usize = 100;

/// Whether brokers ask a policy about requests of this kind.
pub(crate) fn asks_policy(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::CREATE_TOPICS
            | ApiKey::CREATE_PARTITIONS
            | ApiKey::ALTER_CONFIGS
            | ApiKey::INCREMENTAL_ALTER_CONFIGS
    )
}

/// Whether some part of an answer is refused by a policy.
pub(crate) fn quotes_policy(api: ApiKey, version: i16, body: &[u8]) -> Result<bool, WalkError> {
    static CODES: Plans = Plans::new(Interest::of(&[Entity::ErrorCode]));
    let plan = CODES
        .get(api, version, Direction::Response)
        .ok_or(WalkError::UnknownMessage { api, version })?;
    let mut refused = Refused(false);
    plan.visit(body, &mut refused)?;
    Ok(refused.0)
}

struct Refused(bool);

impl Visitor for Refused {
    fn field(&mut self, field: &Field<'_>) {
        self.0 |= matches!(field.value, Value::Int(code) if code == i64::from(POLICY_VIOLATION));
    }
}

/// What is known where a text is to be told.
pub(crate) struct Words<'a> {
    pub(crate) tenant: &'a Tenant,
    /// Names of the request.
    pub(crate) names: &'a HashMap<Physical, Vec<String>>,
    pub(crate) topics: &'a dyn Topics,
}

impl Words<'_> {
    /// What a client may read of a text. `None`: nothing but what the code says.
    pub(crate) fn told(&self, text: &str, code: i64) -> Option<String> {
        let tenant = self.tenant;
        let is_telling = TELLING
            .into_iter()
            .any(|telling| i64::from(telling) == code);
        if !tenant.is_passthrough() && (!is_telling || self.names.len() > MAX_NAMES) {
            return None;
        }
        let mut named: Vec<(&str, &str)> = self
            .names
            .iter()
            .filter_map(|(physical, names)| Some((physical.as_str(), names.first()?.as_str())))
            .filter(|(physical, name)| physical != name)
            .collect();
        if tenant.is_passthrough() && named.is_empty() {
            return Some(text.to_owned());
        }
        if !is_telling || named.len() > MAX_NAMES {
            return None;
        }
        if code == i64::from(POLICY_VIOLATION) && self.names_others(text) {
            return None;
        }
        named.sort_by_key(|(physical, _)| std::cmp::Reverse(physical.len()));
        let mut said = text.to_owned();
        for (physical, name) in &named {
            said = said.replace(physical, name);
        }
        let glued = !tenant.is_passthrough() && said.contains(&**tenant.name());
        let names_target = named
            .iter()
            .any(|(physical, name)| !name.contains(physical) && said.contains(physical));
        (!glued && !names_target).then_some(said)
    }

    /// Whether a text holds a name that has none in the virtual cluster: of a topic that is there, or of anything of another virtual cluster.
    /// Brokers themselves print names of the request only; policies are somebody's code.
    fn names_others(&self, text: &str) -> bool {
        let tenant = self.tenant;
        if tenant.is_passthrough() {
            return false;
        }
        let Some(all) = self.topics.all() else {
            return true;
        };
        let words: HashSet<&str> = text
            .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
            .flat_map(|word| {
                let bare = word.trim_matches('.');
                // A partition is often printed like this.
                let of_partition = bare
                    .trim_end_matches(|c: char| c.is_ascii_digit())
                    .trim_end_matches('-');
                [word, bare, of_partition]
            })
            .filter(|word| !word.is_empty())
            .collect();
        let is_own = |name: &str| tenant.logical_topics(name).next().is_some();
        words.iter().any(|word| tenant.is_of_another(word))
            || all
                .iter()
                .any(|(name, _)| words.contains(&**name) && !is_own(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::TopicId;
    use crate::tenant::{AliasDefinition, Definition, Tenants};
    use std::sync::Arc;

    struct All(Option<Vec<(Arc<str>, usize)>>);

    impl Topics for All {
        fn name(&self, _id: &TopicId) -> Option<Arc<str>> {
            None
        }

        fn id(&self, _name: &str) -> Option<TopicId> {
            None
        }

        fn all(&self) -> Option<&[(Arc<str>, usize)]> {
            self.0.as_deref()
        }
    }

    fn told(text: &str, code: i16, topics: &All) -> Option<String> {
        let define = |name: &str| Definition {
            name: name.to_owned(),
            ..Definition::default()
        };
        let alias = AliasDefinition {
            vcluster: "red-".to_owned(),
            name: "shared".to_owned(),
            target: "raw".to_owned(),
        };
        let tenants = Tenants::new(
            vec![define("red-"), define("blue-")],
            ["gone-".to_owned()],
            [alias],
        );
        let names = HashMap::from([
            (
                Physical::from_kafka("red-orders"),
                vec!["orders".to_owned()],
            ),
            (Physical::from_kafka("raw"), vec!["shared".to_owned()]),
        ]);
        let words = Words {
            tenant: tenants.get("red-").unwrap(),
            names: &names,
            topics,
        };
        words.told(text, i64::from(code))
    }

    #[test]
    fn what_policies_say_is_told_without_names_of_others() {
        let all = ["red-orders", "raw", "blue-x", "orders", "common", "state.1"];
        let all = All(Some(all.map(|name| (name.into(), 1)).to_vec()));
        let policy = |text: &str| told(text, POLICY_VIOLATION, &all);
        assert_eq!(
            policy("no: red-orders, or raw").as_deref(),
            Some("no: orders, or shared")
        );
        assert_eq!(
            policy("too few replicas").as_deref(),
            Some("too few replicas")
        );
        for text in [
            "red-orders after red-others",
            "red-orders and common",
            "there is a (common)",
            "there is common.",
            "common-0 is full",
            "see state.1.",
            "blue-x",
            "blue-nowhere",
            "gone-for-good",
            "[red-orders, orders]",
        ] {
            assert_eq!(policy(text), None, "{text}");
        }
        // Without a list of all topics nobody can say.
        assert_eq!(told("too few", POLICY_VIOLATION, &All(None)), None);
        // Of Kafka itself.
        let of_kafka = told("red-orders is wrong", INVALID_CONFIG, &All(None));
        assert_eq!(of_kafka.as_deref(), Some("orders is wrong"));
        assert_eq!(told("red-orders exists", 36, &all), None);
    }
}
