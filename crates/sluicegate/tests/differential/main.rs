//! The same request sent to a broker and through the gateway gives the same answer.
//!
//! For every API key of the protocol table there is a case, or a reason why clients are not offered it
//! ([`cases::coverage`]); a key without either fails. A case runs in every version that both the brokers and the gateway
//! offer, once along each way, and what was answered is compared field by field. [`normal`] says what may differ.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`world`] | the cluster, the gateway, and how a case is compared |
//! | [`side`] | one run of a case along one way, and its transcript |
//! | [`way`] | the two ways, how what was said along them is compared |
//! | [`records`] | record batches |
//! | [`message`] | any message as JSON |
//! | [`normal`] | what may differ |
//! | [`prepare`] | topics, records, groups that cases need |
//! | [`cases`] | the cases |
//! | [`endpoints`] | hints of leaders that do not fit |
//! | [`half_close`] | clients that close their side early |
//! | [`refused`] | what is not offered is not forwarded either |

mod cases;
mod endpoints;
mod half_close;
#[path = "../shared/message.rs"]
mod message;
#[path = "../shared/normal.rs"]
mod normal;
mod prepare;
#[path = "../shared/records.rs"]
mod records;
mod refused;
mod side;
#[path = "../shared/versions.rs"]
mod versions;
#[path = "../shared/way.rs"]
mod way;
mod world;

use cases::{Area, Coverage, coverage};
use wire::api::ApiKey;
use world::World;

#[test]
fn every_api_key_of_the_table_has_a_case_or_a_reason() {
    let missing: Vec<String> = ApiKey::all()
        .filter(|api| coverage(*api).is_none())
        .map(|api| api.to_string())
        .collect();
    assert!(
        missing.is_empty(),
        "neither a case nor a reason why it is not offered in tests/differential/cases/mod.rs: {}",
        missing.join(", ")
    );
}

#[test]
fn records_are_the_same() {
    compare_all(Area::Records);
}

#[test]
fn groups_are_the_same() {
    compare_all(Area::Groups);
}

#[test]
fn transactions_are_the_same() {
    compare_all(Area::Transactions);
}

#[test]
fn administration_is_the_same() {
    compare_all(Area::Administration);
}

/// Runs all cases of an area in the common versions that are compared and reports every difference.
fn compare_all(area: Area) {
    let world = World::get();
    let mut failures = Vec::new();
    for api in ApiKey::all() {
        let case = match coverage(api) {
            Some(Coverage::Case(case)) if case.area == area => case,
            _ => continue,
        };
        let versions = world.common(api);
        if versions.is_empty() {
            failures.push(format!(
                "{api}: there is a case, but brokers and gateway offer no common version"
            ));
        }
        for version in versions::compared(versions) {
            let compared = if case.reads {
                world.compare_readings(api, version, case.script)
            } else {
                world.compare_changes(api, version, case.script)
            };
            if let Err(difference) = compared {
                failures.push(format!("{api} v{version}:\n{difference}"));
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} differences between direct and through the gateway:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
