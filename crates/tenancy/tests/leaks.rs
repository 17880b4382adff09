//! Whatever Kafka answers, no name of another virtual cluster comes out; whatever a client asks, no name of its own goes in as it is.

use std::borrow::Cow;
use std::cell::Cell;
use std::sync::Arc;

use sluicegate_tenancy::{
    AliasDefinition, Context, Definition, Mapped, Tenant, Tenants, TopicId, Topics, map,
};
use wire::api::{ApiKey, Direction};
use wire::schema::{Entity, FieldSpec};
use wire::testing::{Rng, random_body};
use wire::tree::{self, Node, Record};

/// Part of every name that must not be seen.
const MARK: &[u8] = b"SECRET";

/// Names in Kafka: own ones, others', those of nobody, targets of aliases.
const PHYSICAL: [&str; 7] = [
    "Aorders",
    "Ax",
    "ABSECRET",
    "BSECRET",
    "SECRET",
    "raw-SECRET",
    "A",
];

/// What clients say.
const LOGICAL: [&str; 4] = ["orders", "x", "alias", "other"];

struct Known;

impl Topics for Known {
    fn name(&self, _id: &TopicId) -> Option<Arc<str>> {
        Some("Aorders".into())
    }

    fn id(&self, _name: &str) -> Option<TopicId> {
        Some([7; 16])
    }

    fn all(&self) -> Option<&[(Arc<str>, usize)]> {
        Some(&[])
    }
}

/// All topics that there are.
struct All<'a>(&'a [(Arc<str>, usize)]);

impl Topics for All<'_> {
    fn name(&self, _id: &TopicId) -> Option<Arc<str>> {
        None
    }

    fn id(&self, _name: &str) -> Option<TopicId> {
        None
    }

    fn all(&self) -> Option<&[(Arc<str>, usize)]> {
        Some(self.0)
    }
}

fn tenants() -> Tenants {
    let define = |name: &str| Definition {
        name: name.to_owned(),
        ..Definition::default()
    };
    let alias = |name: &str| AliasDefinition {
        vcluster: "A".to_owned(),
        name: name.to_owned(),
        target: "raw-SECRET".to_owned(),
    };
    Tenants::new(
        vec![define("A"), define("AB"), define("B"), define("plain")],
        [],
        [alias("alias"), alias("other")],
    )
}

/// Sets every name of a message to something of our choice.
fn fill(record: &mut Record<'_>, rng: &mut Rng, names: &[&str]) {
    for (spec, value) in record.each_mut() {
        match value {
            Node::List(list) => {
                for node in list {
                    fill_value(spec, node, rng, names);
                }
            }
            value => fill_value(spec, value, rng, names),
        }
    }
}

fn fill_value(spec: &FieldSpec, value: &mut Node<'_>, rng: &mut Rng, names: &[&str]) {
    if let Node::Record(record) = value {
        return fill(record, rng, names);
    }
    if spec.entity == Entity::ResourceType {
        let types = [2, 32, 16];
        *value = Node::Int(types[rng.below(types.len())]);
        return;
    }
    if spec.entity == Entity::ErrorCode && rng.below(2) == 0 {
        // Whatever is refused by a policy comes with words that nobody knows.
        *value = Node::Int(44);
        return;
    }
    if !matches!(value, Node::Text(_)) {
        return;
    }
    let name = names[rng.below(names.len())];
    let text: Cow<'static, [u8]> = match spec.entity {
        Entity::TopicName
        | Entity::GroupId
        | Entity::TransactionalId
        | Entity::CoordinatorKey
        | Entity::ResourceName => name.as_bytes().to_vec().into(),
        Entity::ErrorMessage | Entity::ClientHost | Entity::TopicPattern => {
            b"of SECRET and BSECRET"[..].into()
        }
        Entity::TransactionalIdPattern => b".*"[..].into(),
        Entity::GroupProtocolType => b"consumer"[..].into(),
        Entity::GroupSubscription | Entity::GroupAssignment => subscription(name).into(),
        _ => return,
    };
    *value = Node::Text(text);
}

/// Version 0; as an assignment it is one of no topics, whose user data nobody reads.
fn subscription(name: &str) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 1];
    bytes.extend((name.len() as i16).to_be_bytes());
    bytes.extend(name.as_bytes());
    bytes.extend([0, 0, 0, 0]);
    bytes
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn context<'a>(tenant: &'a Arc<Tenant>, turn: &'a Cell<usize>) -> Context<'a> {
    Context {
        tenant,
        topics: &Known,
        turn,
        configures_aliases: true,
        auto_creation: false,
        subscribed: &[],
        expression: None,
    }
}

#[test]
fn no_foreign_name_comes_out() {
    let tenants = tenants();
    let all = PHYSICAL.map(|name| (Arc::from(name), 1));
    let mut answers = 0;
    for name in ["A", "plain"] {
        let tenant = tenants.get(name).unwrap();
        for api in ApiKey::all() {
            let spec = api.spec().unwrap();
            for version in spec.min_version..=spec.max_version {
                let mut rng = Rng::new((api.0 as u64) << 8 | version as u64);
                for _ in 0..40 {
                    let body = random_body(api, version, Direction::Request, &mut rng);
                    let mut root = tree::decode(api, version, Direction::Request, &body).unwrap();
                    fill(&mut root, &mut rng, &LOGICAL);
                    let body = tree::encode(api, version, Direction::Request, &root);
                    let Mapped::Forward {
                        version: asked,
                        back: Some(back),
                        ..
                    } = map(api, version, &body, &context(tenant, &Cell::new(1))).unwrap()
                    else {
                        continue;
                    };
                    let body = random_body(api, asked, Direction::Response, &mut rng);
                    let mut root = tree::decode(api, asked, Direction::Response, &body).unwrap();
                    fill(&mut root, &mut rng, &PHYSICAL);
                    let body = tree::encode(api, asked, Direction::Response, &root);
                    let answer = back.apply(version, &body, &All(&all)).unwrap();
                    wire::walk::validate(api, version, Direction::Response, &answer).unwrap();
                    assert!(
                        !contains(&answer, MARK),
                        "{api} v{version}: {}",
                        String::from_utf8_lossy(&answer)
                    );
                    answers += usize::from(contains(&body, MARK));
                }
            }
        }
    }
    assert!(
        answers > 2000,
        "only {answers} answers had something to hide"
    );
}

#[test]
fn every_name_gets_its_prefix() {
    let tenants = tenants();
    let tenant = tenants.get("plain").unwrap();
    for api in ApiKey::all() {
        let spec = api.spec().unwrap();
        for version in spec.min_version..=spec.max_version {
            let mut rng = Rng::new((api.0 as u64) << 8 | version as u64);
            for _ in 0..40 {
                let body = random_body(api, version, Direction::Request, &mut rng);
                let mut root = tree::decode(api, version, Direction::Request, &body).unwrap();
                fill(&mut root, &mut rng, &["|logical|"]);
                let body = tree::encode(api, version, Direction::Request, &root);
                let mapped = map(api, version, &body, &context(tenant, &Cell::new(1))).unwrap();
                let (asked, body) = match mapped {
                    Mapped::AsIs => (version, body.into()),
                    Mapped::Forward { version, body, .. } => {
                        (version, body.unwrap_or_else(|| body_of(api, version)))
                    }
                    _ => continue,
                };
                wire::walk::validate(api, asked, Direction::Request, &body).unwrap();
                let text = String::from_utf8_lossy(&body);
                let bare = text.replace("plain|logical|", "");
                let is_physical_kind = api == ApiKey::DESCRIBE_CONFIGS
                    || api == ApiKey::ALTER_CONFIGS
                    || api == ApiKey::INCREMENTAL_ALTER_CONFIGS;
                assert!(
                    is_physical_kind || !bare.contains("|logical|"),
                    "{api} v{version}: {text}"
                );
            }
        }
    }
}

/// A body without names.
fn body_of(api: ApiKey, version: i16) -> bytes::Bytes {
    let body = wire::build::default_body(api, version, Direction::Request);
    body.unwrap_or_default().into()
}
