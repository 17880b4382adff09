//! Everybody asks everything along both ways.

use std::sync::Mutex;

use serde_json::Value;
use testkit::Result;
use wire::api::ApiKey;

use crate::differences;
use crate::normal::{Names, flatten, normalise};
use crate::principals::{MAIN, NONE, singles};
use crate::questions::{Asking, Coverage, Question, coverage};
use crate::versions;
use crate::way::compare;
use crate::world::{Clients, World};

/// How many ask at once.
const ASKERS: usize = 4;

/// What one test asks of these changes what another is told: each new producer counts the epoch of its transactional id up.
const IN_TURN: [ApiKey; 3] = [
    ApiKey::INIT_PRODUCER_ID,
    ApiKey::DESCRIBE_TRANSACTIONS,
    ApiKey::LIST_TRANSACTIONS,
];

/// Held while a version of one of [`IN_TURN`] is compared.
static TURN: Mutex<()> = Mutex::new(());

#[test]
fn every_api_key_of_the_table_has_questions_or_a_reason() {
    let missing: Vec<String> = ApiKey::all()
        .filter(|api| coverage(*api).is_none())
        .map(|api| api.to_string())
        .collect();
    assert!(
        missing.is_empty(),
        "neither questions nor a reason in tests/acl/questions/mod.rs: {}",
        missing.join(", ")
    );
}

/// Principals by lists of all kinds, in the versions that are compared.
#[test]
fn both_sides_decide_alike() -> Result<()> {
    let principals = MAIN.map(str::to_owned);
    compare_all(&principals, |lowest, highest| {
        versions::compared((lowest..=highest).collect())
    })
}

/// Principals with one operation only, and with all but one: what each API needs, neither more nor less.
#[test]
fn each_operation_opens_and_closes_the_same() -> Result<()> {
    let names: Vec<String> = singles().into_iter().map(|single| single.name).collect();
    compare_all(&names, |_, highest| vec![highest])
}

fn compare_all(principals: &[String], versions: fn(i16, i16) -> Vec<i16>) -> Result<()> {
    let world = World::get()?;
    let [direct, gateway] = world.ways().map(|way| way.versions());
    let (direct, gateway) = (direct?, gateway?);
    let askers: Vec<Mutex<[Clients<'_>; 2]>> = principals
        .iter()
        .map(|name| Mutex::new(world.ways().map(|way| way.clients(name))))
        .collect();
    let mut failures = Vec::new();
    for api in ApiKey::all() {
        let ask = match coverage(api) {
            Some(Coverage::Asked(ask)) => ask,
            Some(Coverage::Not(_)) | None => continue,
        };
        let (Some(direct), Some(gateway)) = (direct.get(&api.0), gateway.get(&api.0)) else {
            failures.push(format!("{api}: there are questions, but not both offer it"));
            continue;
        };
        let lowest = api.spec().map_or(0, |spec| spec.min_version);
        let lowest = lowest.max(direct.0).max(gateway.0);
        for version in versions(lowest, direct.1.min(gateway.1)) {
            failures.extend(compare_api(world, api, version, ask, principals, &askers));
        }
    }
    assert!(
        failures.is_empty(),
        "{} differences between the brokers' decisions and the gateway's:\n{}",
        failures.len(),
        failures.join("\n")
    );
    Ok(())
}

/// All principals ask about one version.
fn compare_api(
    world: &World,
    api: ApiKey,
    version: i16,
    ask: fn(&Asking<'_>) -> Vec<Question>,
    principals: &[String],
    askers: &[Mutex<[Clients<'_>; 2]>],
) -> Vec<String> {
    let _turn = IN_TURN
        .contains(&api)
        .then(|| TURN.lock().expect("nobody panicked"));
    let failures = Mutex::new(Vec::new());
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..ASKERS {
            scope.spawn(|| {
                while let Some((principal, asker)) = {
                    let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    principals.get(at).zip(askers.get(at))
                } {
                    let asking = Asking {
                        api,
                        version,
                        principal,
                        state: &world.state,
                    };
                    let mut asker = asker.lock().expect("nobody panicked");
                    for question in ask(&asking) {
                        if let Err(difference) =
                            compare_one(&mut asker, api, version, principal, &question)
                        {
                            failures.lock().expect("nobody panicked").push(format!(
                                "{api} v{version} {principal}, {}:\n{difference}",
                                question.what
                            ));
                        }
                    }
                }
            });
        }
    });
    failures.into_inner().expect("nobody panicked")
}

fn compare_one(
    asker: &mut [Clients<'_>; 2],
    api: ApiKey,
    version: i16,
    principal: &str,
    question: &Question,
) -> Result<(), String> {
    let mut said = Vec::new();
    for clients in asker {
        let answer = clients.ask(question.node, api, version, &question.body);
        let answer = answer.map_err(|error| format!("    {:?}: {error}", clients.way.side))?;
        if principal == NONE {
            tells_no_name(&question.body, &answer)?;
        }
        said.push(lines(clients, api, version, principal, &answer));
    }
    compare(&said[0], &said[1])
}

fn lines(
    clients: &Clients<'_>,
    api: ApiKey,
    version: i16,
    principal: &str,
    answer: &Value,
) -> Vec<String> {
    if answer.is_null() {
        return vec!["closed".to_owned()];
    }
    let names = Names {
        side: &clients.way.side,
        own_prefix: "\0",
        own_suffix: "\0",
        aliases: &[],
    };
    let mut answer = normalise(api, version, answer, &names);
    differences::even_out(api, principal, &mut answer);
    flatten(&answer)
}

/// Who may see next to nothing reads no name of the fixtures that it has not named itself.
fn tells_no_name(asked: &Value, answer: &Value) -> Result<(), String> {
    let asked = asked.to_string();
    for (name, id) in &World::get().map_err(|error| error.to_string())?.state.ids {
        let told = answer.to_string();
        let public = name == crate::principals::PUBLIC;
        for word in [name, id] {
            if !public && told.contains(word.as_str()) && !asked.contains(word.as_str()) {
                return Err(format!("    tells {word}"));
            }
        }
    }
    Ok(())
}
