//! What judging costs grows with the number of elements and not with its square, whatever array of whatever request they are in. To be run
//! on a machine that does nothing else.

use std::hint::black_box;
use std::time::{Duration, Instant};

use auth::acl::AclView;
use wire::api::{ApiKey, Direction};
use wire::testing::crowded_bodies;

use super::samples::{Ids, alice};
use crate::{AnswerWork, Ruling, judge};

const FEW: usize = 400;

/// So many times more.
const TIMES: usize = 16;

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

#[test]
#[ignore = "measures time"]
fn judging_grows_with_the_number_of_elements() {
    for api in ApiKey::all() {
        let spec = api.spec().unwrap();
        for version in [spec.min_version, spec.max_version] {
            for (view, name) in [(alice([]), "nothing allowed"), (AclView::disabled(), "all")] {
                let cost = |count| -> Vec<(String, Duration)> {
                    let bodies = crowded_bodies(api, version, Direction::Request, count);
                    let one = |(path, body): (String, Vec<u8>)| {
                        let took = least(|| {
                            let _ = black_box(judge(api, version, &body, &view, &Ids));
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
}

/// What is done to the answer to a request for one of everything.
fn work(api: ApiKey, version: i16) -> Vec<AnswerWork> {
    let bodies = crowded_bodies(api, version, Direction::Request, 1).into_iter();
    let bodies = bodies.map(|(_, body)| body);
    let works = bodies.filter_map(|body| match judge(api, version, &body, &alice([]), &Ids) {
        Ok(Ruling::Rewrite { answer, .. }) => Some(answer),
        _ => None,
    });
    works.collect()
}

#[test]
#[ignore = "measures time"]
fn work_on_answers_grows_with_the_number_of_elements() {
    for api in ApiKey::all() {
        let version = api.spec().unwrap().max_version;
        for work in work(api, version) {
            let cost = |count| -> Vec<(String, Duration)> {
                let bodies = crowded_bodies(api, version, Direction::Response, count);
                let one = |(path, body): (String, Vec<u8>)| {
                    let took = least(|| {
                        let _ = black_box(work.apply_with(version, &body, &Ids));
                    });
                    (path, took)
                };
                bodies.into_iter().map(one).collect()
            };
            for ((path, few), (_, many)) in cost(FEW).into_iter().zip(cost(FEW * TIMES)) {
                assert_linear(&format!("answer {api} v{version}{path}"), few, many);
            }
        }
    }
}
