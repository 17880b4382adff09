//! Agreement with the typed decoder of the `kafka-protocol` crate, a second reading of the same definitions (Kafka 4.1 level), for every
//! message and version both know.

use std::collections::BTreeSet;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey as TypedKey, RequestKind, ResponseKind};
use sluicegate_wire::api::{ApiKey, Direction};
use sluicegate_wire::build::default_body;
use sluicegate_wire::testing::{Rng, random_body};
use sluicegate_wire::walk::validate;

const ROUNDS: u64 = 12;

enum Typed {
    Request(RequestKind),
    Response(ResponseKind),
}

impl Typed {
    fn decode(
        key: TypedKey,
        version: i16,
        dir: Direction,
        bytes: &mut Bytes,
    ) -> Result<Typed, String> {
        let typed = match dir {
            Direction::Request => RequestKind::decode(key, bytes, version).map(Typed::Request),
            Direction::Response => ResponseKind::decode(key, bytes, version).map(Typed::Response),
        };
        typed.map_err(|error| format!("{error:#}"))
    }

    fn encode(&self, version: i16) -> Result<Vec<u8>, String> {
        let mut bytes = BytesMut::new();
        let encoded = match self {
            Typed::Request(request) => request.encode(&mut bytes, version),
            Typed::Response(response) => response.encode(&mut bytes, version),
        };
        encoded.map_err(|error| format!("{error:#}"))?;
        Ok(bytes.to_vec())
    }
}

/// Calls `check` for every message both sides know.
fn for_every_shared_message(mut check: impl FnMut(ApiKey, TypedKey, i16, Direction)) {
    for api in ApiKey::all() {
        let Ok(key) = TypedKey::try_from(api.0) else {
            continue;
        };
        let (spec, known) = (
            api.spec().expect("listed keys are known"),
            key.valid_versions(),
        );
        for version in spec.min_version.max(known.min)..=spec.max_version.min(known.max) {
            for dir in [Direction::Request, Direction::Response] {
                check(api, key, version, dir);
            }
        }
    }
}

#[test]
fn typed_decoder_consumes_what_the_walker_accepts() {
    let mut messages = 0;
    let mut refused = BTreeSet::new();
    for_every_shared_message(|api, key, version, dir| {
        messages += 1;
        let mut rng = Rng::new((api.0 as u64) << 24 | (version as u64) << 8 | dir as u64);
        let default = default_body(api, version, dir).unwrap();
        let bodies = (0..ROUNDS)
            .map(|_| random_body(api, version, dir, &mut rng))
            .chain([default]);
        for body in bodies.collect::<Vec<_>>() {
            let what = format!("{api} v{version} {dir:?}");
            validate(api, version, dir, &body).expect(&what);
            let mut rest = Bytes::from(body.clone());
            let typed = match Typed::decode(key, version, dir, &mut rest) {
                Ok(typed) => typed,
                Err(error) => {
                    assert!(
                        error.ends_with("specified version not supported by this message type"),
                        "{what}: {error}"
                    );
                    refused.insert(what);
                    continue;
                }
            };
            assert_eq!(rest.len(), 0, "{what} {body:?}");
            let encoded = typed.encode(version).expect(&what);
            assert_eq!(
                validate(api, version, dir, &encoded),
                Ok(()),
                "{what} {encoded:?}"
            );
        }
    });
    assert!(messages > 500, "{messages}");
    // Versions that were unstable in Kafka 4.1: the crate lists them and has no decoder for them.
    let unstable = [
        "InitProducerId(22) v6 Request",
        "OffsetCommit(8) v10 Request",
        "OffsetFetch(9) v10 Request",
    ];
    assert_eq!(refused, BTreeSet::from(unstable.map(str::to_owned)));
}
