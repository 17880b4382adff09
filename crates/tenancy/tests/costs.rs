//! What mapping costs grows with the number of elements and not with its square, whatever array of whatever message they are in. To be run
//! on a machine that does nothing else.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sluicegate_tenancy::{
    AliasDefinition, Back, Context, Definition, Mapped, Tenant, Tenants, map,
};
use wire::api::{ApiKey, Direction};
use wire::testing::crowded_bodies;

const FEW: usize = 400;

/// So many times more.
const TIMES: usize = 16;

fn tenants() -> Tenants {
    let define = |name: &str| Definition {
        name: name.to_owned(),
        ..Definition::default()
    };
    let alias = AliasDefinition {
        vcluster: "aliased".to_owned(),
        name: "n1".to_owned(),
        target: "raw".to_owned(),
    };
    Tenants::new(vec![define("plain"), define("aliased")], [], [alias])
}

/// The time that `work` takes at best.
fn least(mut work: impl FnMut()) -> Duration {
    let took = (0..3).map(|_| {
        let begun = Instant::now();
        work();
        begun.elapsed()
    });
    took.min().unwrap_or_default()
}

/// Quadratic work takes 256 times as long, work that grows with the number 16 times.
#[track_caller]
fn assert_linear(what: &str, few: Duration, many: Duration) {
    // Next to nothing may grow as it likes.
    let few = few.max(Duration::from_micros(300));
    assert!(
        many < few * (TIMES as u32) * 5,
        "{what}: {few:?} for {FEW} elements, {many:?} for {TIMES} times as many"
    );
    let each = many.as_nanos() / (FEW * TIMES) as u128;
    println!("{each:8} ns for each element: {what}");
}

fn mapped(tenant: &Arc<Tenant>, api: ApiKey, version: i16, body: &[u8]) -> Option<Mapped> {
    let context = Context {
        tenant,
        topics: &(),
        turn: &Default::default(),
        configures_aliases: false,
        auto_creation: false,
        subscribed: &[],
        expression: None,
    };
    map(api, version, body, &context).ok()
}

#[test]
#[ignore = "measures time"]
fn requests() {
    let tenants = tenants();
    for api in ApiKey::all() {
        let version = api.spec().expect("it is in the table").max_version;
        for name in ["plain", "aliased"] {
            let tenant = tenants.get(name).expect("it is defined");
            let cost = |count| -> Vec<(String, Duration)> {
                let bodies = crowded_bodies(api, version, Direction::Request, count);
                let one = |(path, body): (String, Vec<u8>)| {
                    let took = least(|| {
                        black_box(mapped(tenant, api, version, &body));
                    });
                    (path, took)
                };
                bodies.into_iter().map(one).collect()
            };
            for ((path, few), (_, many)) in cost(FEW).into_iter().zip(cost(FEW * TIMES)) {
                assert_linear(&format!("{api} v{version}{path}, {name}"), few, many);
            }
        }
    }
}

#[test]
#[ignore = "measures time"]
fn answers() {
    let tenants = tenants();
    for api in ApiKey::all() {
        let version = api.spec().expect("it is in the table").max_version;
        for name in ["plain", "aliased"] {
            let tenant = tenants.get(name).expect("it is defined");
            let Some(back) = Back::unasked(api, version, tenant) else {
                continue;
            };
            let cost = |count| -> Vec<(String, Duration)> {
                let bodies = crowded_bodies(api, version, Direction::Response, count);
                let one = |(path, body): (String, Vec<u8>)| {
                    let took = least(|| {
                        let _ = black_box(back.apply(version, &body, &()));
                    });
                    (path, took)
                };
                bodies.into_iter().map(one).collect()
            };
            for ((path, few), (_, many)) in cost(FEW).into_iter().zip(cost(FEW * TIMES)) {
                assert_linear(&format!("answer {api} v{version}{path}, {name}"), few, many);
            }
        }
    }
}
