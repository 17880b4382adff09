//! From `KAFKA_*` and the cluster file to properties by cluster.

use std::collections::BTreeMap;
use std::fs;

use crate::catalogue::{gateway, kafka};
use crate::names::{Named, Sorted};
use crate::report::{Problem, printable};
use crate::settings::{Findings, Settings};
use crate::source::Source;
use crate::yaml::{self, ClusterFile, Selector};

pub(crate) const MAIN: &str = "main";

/// The properties given for one cluster, by property name.
pub(crate) struct Given {
    /// As shown: lower case when it comes from the environment.
    pub(crate) id: String,
    pub(crate) properties: Settings,
    /// `KAFKA_` or `KAFKA_<ID>_`.
    pub(crate) prefix: String,
}

/// `main` first, the others sorted by id.
pub(crate) fn clusters(sorted: &Sorted, source: &Source, findings: &mut Findings) -> Vec<Given> {
    let mut found: BTreeMap<String, Given> = BTreeMap::new();
    found.insert(
        MAIN.into(),
        Given {
            id: MAIN.into(),
            properties: Settings::default(),
            prefix: "KAFKA_".into(),
        },
    );
    from_environment(&sorted.kafka, &mut found, findings);
    if let Some(text) = sorted.fixed.text(&gateway::CLUSTER_SELECTOR) {
        from_file(text, source, &mut found, findings);
    }
    let main = found.remove(MAIN);
    main.into_iter().chain(found.into_values()).collect()
}

/// Takes the shorter, older spelling first, so that `KAFKA_MAIN_X` wins over `KAFKA_X`.
fn from_environment(given: &[Named], found: &mut BTreeMap<String, Given>, findings: &mut Findings) {
    for id in ids(given, findings) {
        let prefix = format!("KAFKA_{}_", id.to_ascii_uppercase());
        found.entry(id.clone()).or_insert(Given {
            id,
            properties: Settings::default(),
            prefix,
        });
    }
    let (mut plain, mut with_id) = (Vec::new(), Vec::new());
    for named in given {
        let rest = rest(&named.variable);
        let id = found
            .keys()
            .filter(|id| strip_id(&rest, id).is_some())
            .max_by_key(|id| id.len())
            .cloned();
        match id {
            Some(id) => with_id.push((id, named)),
            None => plain.push((MAIN.to_owned(), named)),
        }
    }
    let plain_count = plain.len();
    for (i, (id, named)) in plain.into_iter().chain(with_id).enumerate() {
        let Some(cluster) = found.get_mut(&id) else {
            continue;
        };
        let rest = rest(&named.variable);
        let name = if i < plain_count {
            rest.as_str()
        } else {
            strip_id(&rest, &id).unwrap_or(&rest)
        };
        let property = name.to_ascii_lowercase().replace('_', ".");
        if named.value.is_empty() && property != kafka::ENDPOINT_IDENTIFICATION_ALGORITHM.name {
            continue;
        }
        let earlier = cluster
            .properties
            .names()
            .find(|(known, _)| *known == property)
            .map(|(_, variable)| variable);
        if let Some(earlier) = earlier {
            findings.warn(format!("{} wins over {earlier}", named.variable));
        }
        cluster
            .properties
            .set(&property, named.variable.as_str(), named.value.as_str());
    }
}

/// Ids in lower case, from names that end in `_BOOTSTRAP_SERVERS`.
fn ids(given: &[Named], findings: &mut Findings) -> Vec<String> {
    let mut ids = Vec::new();
    for named in given.iter().filter(|named| !named.value.is_empty()) {
        let rest = rest(&named.variable);
        let Some(id) = rest.strip_suffix("_BOOTSTRAP_SERVERS") else {
            continue;
        };
        if is_id(id) {
            ids.push(id.to_ascii_lowercase());
        } else {
            findings.problem(Problem::named(
                &named.variable,
                "KAFKA_<ID>_BOOTSTRAP_SERVERS with an id of up to 50 letters, digits and '-'",
            ));
        }
    }
    ids
}

/// What follows `KAFKA_`, in upper case.
fn rest(variable: &str) -> String {
    variable
        .strip_prefix("KAFKA_")
        .unwrap_or(variable)
        .to_ascii_uppercase()
}

/// What follows `<ID>_`, if `rest` begins with it.
fn strip_id<'a>(rest: &'a str, id: &str) -> Option<&'a str> {
    rest.strip_prefix(id.to_ascii_uppercase().as_str())?
        .strip_prefix('_')
        .filter(|name| !name.is_empty())
}

fn is_id(id: &str) -> bool {
    (1..=50).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn from_file(
    selector: &str,
    source: &Source,
    found: &mut BTreeMap<String, Given>,
    findings: &mut Findings,
) {
    const NAME: &str = gateway::CLUSTER_SELECTOR.name;
    let path = match yaml::parse::<Selector>(selector) {
        Ok(selector) => selector.file.path,
        Err(place) => {
            return findings.problem(Problem::named(
                NAME,
                format!("file: {{ path: <file> }} ({place})"),
            ));
        }
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            return findings.problem(Problem::value(
                NAME,
                &path,
                format!("a readable file ({error})"),
            ));
        }
    };
    let file: ClusterFile = match yaml::parse(&text) {
        Ok(file) => file,
        Err(place) => {
            let expected = "config: with properties by cluster id, see docs/configuration.md";
            return findings.problem(Problem::value(NAME, &path, format!("{expected} ({place})")));
        }
    };
    findings.info(format!("cluster file {} read", printable(&path)));
    let mut seen: Vec<String> = Vec::new();
    for (id, properties) in file.config {
        let key = id.to_ascii_lowercase();
        if !is_id(&id) {
            findings.problem(Problem::value(
                NAME,
                &path,
                format!(
                    "cluster ids of up to 50 letters, digits and '-' (found {})",
                    printable(&id)
                ),
            ));
            continue;
        }
        if seen.contains(&key) {
            findings.problem(Problem::value(
                NAME,
                &path,
                format!("every cluster id once, ignoring case (found {id} twice)"),
            ));
            continue;
        }
        seen.push(key.clone());
        let prefix = format!("KAFKA_{}_", id.to_ascii_uppercase());
        let cluster = found.entry(key.clone()).or_insert(Given {
            id: id.clone(),
            properties: Settings::default(),
            prefix,
        });
        if key != MAIN {
            cluster.id = id.clone();
        }
        for (property, value) in properties.unwrap_or_default() {
            let origin = format!("{}:config.{id}.{}", printable(&path), printable(&property));
            match yaml::expand(&value.unwrap_or_default(), |name| {
                source.get(name).map(String::from)
            }) {
                Ok(value) => cluster.properties.set(&property, origin, value),
                Err(name) => {
                    findings.problem(Problem::named(
                        origin,
                        format!("a value for ${{{}}}", printable(&name)),
                    ));
                }
            }
        }
    }
}
