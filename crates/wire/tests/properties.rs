//! Properties that hold for every message of the table.

use sluicegate_wire::api::{ApiKey, Direction};
use sluicegate_wire::plan::{Interest, Plan};
use sluicegate_wire::rewrite::{Edits, Rewrite, Segments};
use sluicegate_wire::schema::{ENTITIES, Entity, FieldSpec};
use sluicegate_wire::stream::{Step, StreamWalker};
use sluicegate_wire::testing::{Rng, mutate, random_body};
use sluicegate_wire::walk::{Field, Value, Visitor, WalkError, validate};

const ROUNDS: u64 = 8;

/// Calls `check` for every message of the table with its own random numbers.
fn for_every_message(rounds: u64, mut check: impl FnMut(ApiKey, i16, Direction, &mut Rng)) {
    for api in ApiKey::all() {
        let spec = api.spec().expect("listed keys are known");
        for version in spec.min_version..=spec.max_version {
            for dir in [Direction::Request, Direction::Response] {
                for round in 0..rounds {
                    let seed =
                        (api.0 as u64) << 32 | (version as u64) << 16 | (dir as u64) << 8 | round;
                    check(api, version, dir, &mut Rng::new(seed));
                }
            }
        }
    }
}

/// Feeds `body` in pieces of random size, as a socket would, and gives the verdict. After a stop the rest is visited.
fn stream(plan: &Plan, body: &[u8], rng: &mut Rng) -> Result<(), WalkError> {
    let mut walker = StreamWalker::new(plan, body.len() as u64);
    let (mut at, mut filled) = (0, 0);
    loop {
        match walker.next(&body[at..filled])? {
            Step::Skip(count) => {
                assert!(count > 0 && at + count <= filled);
                at += count;
            }
            Step::NeedMore => {
                assert!(filled - at < 16, "16 bytes must be enough");
                assert!(filled < body.len(), "asks for more than there is");
                filled = body.len().min(filled + 1 + rng.below(9));
            }
            Step::Stop(stop) => {
                assert_eq!(stop.offset, at as u64);
                return plan.visit_tail(stop, &body[at..], &mut Nothing);
            }
            Step::End => {
                assert_eq!(at, body.len());
                return Ok(());
            }
        }
        assert_eq!(walker.position(), at as u64);
    }
}

struct Nothing;

impl Visitor for Nothing {}

impl Rewrite for Nothing {
    fn field(&mut self, _field: &Field<'_>, _edits: &mut Edits<'_>) {}
}

/// Writes every field again as it is, which must not change a byte unless a varint was longer than necessary.
struct Same;

impl Rewrite for Same {
    fn field(&mut self, field: &Field<'_>, edits: &mut Edits<'_>) {
        match field.value {
            Value::Text(value) => edits.set_text(value),
            Value::Bytes(value) | Value::Records(value) => edits.set_bytes(value),
            Value::Uuid(value) => edits.set_uuid(field.pos, value),
            Value::Int(value) => edits.set_int(field.pos, field.len as u8, value),
            Value::Bool(_) | Value::F64(_) => {}
        }
    }
}

/// Makes text longer and drops elements at random.
struct Wild<'r>(&'r mut Rng);

impl Rewrite for Wild<'_> {
    fn field(&mut self, field: &Field<'_>, edits: &mut Edits<'_>) {
        if let Value::Text(Some(value)) = field.value {
            match self.0.below(4) {
                0 => edits.set_text(Some(&[b"a-tenant.", value].concat())),
                1 => edits.set_text(Some(&[])),
                2 if field.spec.array => edits.drop_element(),
                _ => {}
            }
        }
    }

    fn leave(&mut self, spec: &'static FieldSpec, _pos: usize, edits: &mut Edits<'_>) {
        if spec.array && self.0.one_in(3) {
            edits.drop_element();
        }
    }
}

#[test]
fn generated_bodies_are_valid_and_survive_rewriting() {
    let mut out = Segments::new();
    for_every_message(ROUNDS, |api, version, dir, rng| {
        let mut body = random_body(api, version, dir, rng);
        let what = format!("{api} v{version} {dir:?}");
        assert_eq!(validate(api, version, dir, &body), Ok(()), "{what}");
        let plan = Plan::compile(api, version, dir, Interest::ALL).unwrap();
        assert_eq!(plan.visit(&body, &mut Nothing), Ok(()), "{what}");

        let before = body.clone();
        plan.rewrite(&mut body, &mut Nothing, &mut out).unwrap();
        assert!(out.is_identity(), "{what}");
        assert_eq!(out.len(), before.len());
        assert_eq!(out.to_vec(&body), before, "{what}");

        plan.rewrite(&mut body, &mut Same, &mut out).unwrap();
        assert_eq!(body, before, "{what}");
        let same = out.to_vec(&body);
        assert_eq!(validate(api, version, dir, &same), Ok(()), "{what}");
        assert!(same.len() <= before.len());
    });
}

#[test]
fn wild_rewrites_give_valid_bodies() {
    let mut out = Segments::new();
    for_every_message(ROUNDS, |api, version, dir, rng| {
        let mut body = random_body(api, version, dir, rng);
        let plan = Plan::compile(api, version, dir, Interest::ALL).unwrap();
        plan.rewrite(&mut body, &mut Wild(rng), &mut out).unwrap();
        let result = out.to_vec(&body);
        assert_eq!(result.len(), out.len());
        assert_eq!(
            validate(api, version, dir, &result),
            Ok(()),
            "{api} v{version} {dir:?}"
        );
    });
}

#[test]
fn streaming_agrees_with_validation() {
    for_every_message(ROUNDS, |api, version, dir, rng| {
        let mut body = random_body(api, version, dir, rng);
        let what = format!("{api} v{version} {dir:?}");
        let none = Plan::compile(api, version, dir, Interest::NONE).unwrap();
        let some = random_interest(rng);
        let some = Plan::compile(api, version, dir, some).unwrap();
        assert_eq!(stream(&none, &body, rng), Ok(()), "{what}");
        assert_eq!(stream(&some, &body, rng), Ok(()), "{what}");
        for _ in 0..4 {
            mutate(&mut body, rng);
            let verdict = validate(api, version, dir, &body);
            assert_eq!(
                stream(&none, &body, rng).is_ok(),
                verdict.is_ok(),
                "{what} {body:?} {verdict:?}"
            );
            assert_eq!(
                stream(&some, &body, rng).is_ok(),
                verdict.is_ok(),
                "{what} {body:?} {verdict:?}"
            );
            let visited = some.visit(&body, &mut Nothing);
            assert_eq!(visited.is_ok(), verdict.is_ok(), "{what} {body:?}");
        }
    });
}

#[test]
fn cut_bodies_are_refused() {
    for_every_message(1, |api, version, dir, rng| {
        let body = random_body(api, version, dir, rng);
        let longer = [body.as_slice(), &[0]].concat();
        assert!(
            validate(api, version, dir, &longer).is_err(),
            "{api} v{version} {dir:?}"
        );
        for len in (0..body.len()).step_by(1 + body.len() / 50) {
            assert!(
                validate(api, version, dir, &body[..len]).is_err(),
                "{api} v{version} {dir:?} {len}"
            );
        }
    });
}

#[test]
fn visits_report_the_interest_and_nothing_else() {
    struct Only(Interest);
    impl Visitor for Only {
        fn field(&mut self, field: &Field<'_>) {
            assert!(self.0.contains(field.entity), "{:?}", field.spec);
            assert_eq!(field.entity, field.spec.entity);
        }
    }
    for_every_message(2, |api, version, dir, rng| {
        let body = random_body(api, version, dir, rng);
        let interest = random_interest(rng);
        let plan = Plan::compile(api, version, dir, interest).unwrap();
        plan.visit(&body, &mut Only(interest)).unwrap();
    });
}

fn random_interest(rng: &mut Rng) -> Interest {
    let chosen: Vec<Entity> = ENTITIES.into_iter().filter(|_| rng.one_in(6)).collect();
    Interest::of(&chosen)
}
