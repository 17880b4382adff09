//! Every API in every version of the schema table: what is denied never reaches Kafka, and comes back with the right error in a body
//! that clients can read.

mod acl_apis;
mod cost;
mod descriptions;
mod samples;
mod special;

use auth::acl::{AclView, Binding, Operation, PatternType, ResourceType};
use bytes::Bytes;
use kafka_protocol::messages::{ApiKey as TypedKey, ResponseKind};
use wire::api::{ApiKey, Direction};
use wire::testing::{Rng, mutate, random_body};
use wire::walk::validate;

use crate::rules::{Rule, rule};
use crate::{Error, Ruling, judge, topic_ids};
use samples::{BAD, GOOD, Ids, Sample, alice, all_codes, codes_of, grant, mentions, usual};
use wire::tree::{self as message, Record};

const T: i16 = 29;
const G: i16 = 30;
const C: i16 = 31;
const X: i16 = 53;

/// APIs in which a denied part fails with this code while the rest is done.
fn parts(api: ApiKey, version: i16) -> Option<i16> {
    Some(match api {
        ApiKey::PRODUCE
        | ApiKey::FETCH
        | ApiKey::LIST_OFFSETS
        | ApiKey::METADATA
        | ApiKey::OFFSET_COMMIT
        | ApiKey::CREATE_TOPICS
        | ApiKey::DELETE_TOPICS
        | ApiKey::DELETE_RECORDS
        | ApiKey::OFFSET_FOR_LEADER_EPOCH
        | ApiKey::TXN_OFFSET_COMMIT
        | ApiKey::DESCRIBE_CONFIGS
        | ApiKey::ALTER_CONFIGS
        | ApiKey::INCREMENTAL_ALTER_CONFIGS
        | ApiKey::CREATE_PARTITIONS
        | ApiKey::OFFSET_DELETE
        | ApiKey::DESCRIBE_PRODUCERS
        | ApiKey::DESCRIBE_TOPIC_PARTITIONS
        | ApiKey::SHARE_FETCH
        | ApiKey::SHARE_ACKNOWLEDGE
        | ApiKey::ALTER_SHARE_GROUP_OFFSETS
        | ApiKey::DELETE_SHARE_GROUP_OFFSETS => T,
        ApiKey::OFFSET_FETCH if version < 8 => T,
        ApiKey::OFFSET_FETCH
        | ApiKey::DESCRIBE_GROUPS
        | ApiKey::DELETE_GROUPS
        | ApiKey::CONSUMER_GROUP_DESCRIBE
        | ApiKey::SHARE_GROUP_DESCRIBE
        | ApiKey::STREAMS_GROUP_DESCRIBE
        | ApiKey::DESCRIBE_SHARE_GROUP_OFFSETS => G,
        ApiKey::FIND_COORDINATOR if version >= 4 => G,
        ApiKey::DESCRIBE_TRANSACTIONS => X,
        _ => return None,
    })
}

/// APIs that fail as a whole with this code if the name at top level is denied.
fn whole(api: ApiKey, version: i16) -> Option<i16> {
    Some(match api {
        ApiKey::JOIN_GROUP
        | ApiKey::HEARTBEAT
        | ApiKey::LEAVE_GROUP
        | ApiKey::SYNC_GROUP
        | ApiKey::OFFSET_COMMIT
        | ApiKey::OFFSET_DELETE
        | ApiKey::CONSUMER_GROUP_HEARTBEAT
        | ApiKey::SHARE_GROUP_HEARTBEAT
        | ApiKey::STREAMS_GROUP_HEARTBEAT
        | ApiKey::SHARE_FETCH
        | ApiKey::SHARE_ACKNOWLEDGE
        | ApiKey::ALTER_SHARE_GROUP_OFFSETS
        | ApiKey::DELETE_SHARE_GROUP_OFFSETS => G,
        ApiKey::OFFSET_FETCH if version < 8 => G,
        ApiKey::FIND_COORDINATOR if version < 4 => G,
        ApiKey::INIT_PRODUCER_ID
        | ApiKey::ADD_OFFSETS_TO_TXN
        | ApiKey::END_TXN
        | ApiKey::TXN_OFFSET_COMMIT => X,
        ApiKey::ADD_PARTITIONS_TO_TXN if version < 4 => X,
        _ => return None,
    })
}

/// APIs that need an operation on the cluster.
fn on_cluster(api: ApiKey) -> bool {
    matches!(rule(api), Some(Rule::Cluster(..)))
        || [
            ApiKey::DESCRIBE_ACLS,
            ApiKey::CREATE_ACLS,
            ApiKey::DELETE_ACLS,
            ApiKey::WRITE_TXN_MARKERS,
        ]
        .contains(&api)
}

fn every_version(mut check: impl FnMut(ApiKey, i16)) {
    for api in ApiKey::all() {
        let spec = api.spec().unwrap();
        (spec.min_version..=spec.max_version).for_each(|version| check(api, version));
    }
}

fn request<'n>(api: ApiKey, version: i16, names: &'n [&'n str], by_id: bool) -> Sample<'n> {
    Sample {
        api,
        version,
        dir: Direction::Request,
        names,
        by_id,
    }
}

/// Kafka's answer, about these names.
fn answer<'n>(api: ApiKey, version: i16, names: &'n [&'n str], by_id: bool) -> Sample<'n> {
    Sample {
        dir: Direction::Response,
        ..request(api, version, names, by_id)
    }
}

/// Reads an answer and has the typed decoder read it too, if it knows the version.
fn read(api: ApiKey, version: i16, body: &[u8]) -> Record<'static> {
    let what = format!("{api} v{version}");
    assert_eq!(
        validate(api, version, Direction::Response, body),
        Ok(()),
        "{what}"
    );
    if let Ok(key) = TypedKey::try_from(api.0)
        && (key.valid_versions().min..=key.valid_versions().max).contains(&version)
    {
        let mut rest = Bytes::copy_from_slice(body);
        match ResponseKind::decode(key, &mut rest, version) {
            Ok(_) => assert!(rest.is_empty(), "{what}"),
            Err(error) => assert!(
                error.to_string().contains("not supported"),
                "{what}: {error:#}"
            ),
        }
    }
    let leaked: &'static [u8] = Box::leak(body.to_vec().into_boxed_slice());
    message::decode(api, version, Direction::Response, leaked).unwrap()
}

fn ruling(api: ApiKey, version: i16, body: &[u8], access: &AclView) -> Ruling {
    judge(api, version, body, access, &Ids)
        .unwrap_or_else(|error| panic!("{api} v{version}: {error}"))
}

/// What the client reads in the end, and what Kafka got.
fn outcome(
    api: ApiKey,
    version: i16,
    body: &[u8],
    access: &AclView,
    kafka: &Sample<'_>,
) -> (Record<'static>, Option<Vec<u8>>) {
    let what = format!("{api} v{version}");
    match ruling(api, version, body, access) {
        Ruling::Answer(answer) => (read(api, version, &answer), None),
        Ruling::Rewrite { body: sent, answer } => {
            let sent = sent.map_or(body.to_vec(), |sent| sent.to_vec());
            assert_eq!(
                validate(api, version, Direction::Request, &sent),
                Ok(()),
                "{what}"
            );
            let merged = answer.apply_with(version, &kafka.body(), &Ids).unwrap();
            (read(api, version, &merged), Some(sent))
        }
        Ruling::Convert {
            version: other,
            body: sent,
            answer,
        } => {
            assert_eq!(
                validate(api, other, Direction::Request, &sent),
                Ok(()),
                "{what}"
            );
            let kafka = Sample {
                version: other,
                ..*kafka
            };
            let merged = answer.apply_with(version, &kafka.body(), &Ids).unwrap();
            (read(api, version, &merged), Some(sent.to_vec()))
        }
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn every_api_is_tested_here() {
    every_version(|api, version| {
        let tested = parts(api, version).is_some()
            || whole(api, version).is_some()
            || on_cluster(api)
            || matches!(rule(api), Some(Rule::Closed | Rule::Open | Rule::Refused(_)))
            // In the module `special`.
            || [ApiKey::LIST_GROUPS, ApiKey::LIST_TRANSACTIONS, ApiKey::DESCRIBE_CLUSTER, ApiKey::ADD_PARTITIONS_TO_TXN].contains(&api);
        assert!(tested, "{api} v{version}");
    });
}

#[test]
fn a_denied_part_fails_alone() {
    every_version(|api, version| {
        let Some(code) = parts(api, version) else {
            return;
        };
        for by_id in [false, true] {
            let what = format!("{api} v{version} by id: {by_id}");
            let body = request(api, version, &[GOOD, BAD], by_id).body();
            let kafka = answer(api, version, &[GOOD], by_id);
            let (told, sent) = outcome(api, version, &body, &usual(), &kafka);
            let sent = sent.unwrap_or_else(|| panic!("{what}: Kafka was not asked"));
            assert!(!mentions(&sent, BAD), "{what}: {sent:?}");
            assert!(mentions(&sent, GOOD), "{what}");
            let bad = codes_of(&told, BAD);
            assert!(!bad.is_empty(), "{what}: {told:?}");
            assert!(
                bad.iter().all(|told| [code, T].contains(told)) && bad.contains(&code),
                "{what}: {bad:?}"
            );
            // Groups hold denied topics too.
            if code == T && !codes_of(&told, GOOD).is_empty() && whole(api, version).is_none() {
                assert!(
                    codes_of(&told, GOOD).iter().all(|code| *code == 0),
                    "{what}"
                );
            }
        }
    });
}

#[test]
fn what_is_denied_altogether_is_answered_here() {
    every_version(|api, version| {
        let Some(code) = parts(api, version) else {
            return;
        };
        // These tell of the cluster besides the topics, keep a session, or are told of the group first.
        let asks_anyway = [
            ApiKey::METADATA,
            ApiKey::OFFSET_DELETE,
            ApiKey::ALTER_SHARE_GROUP_OFFSETS,
            ApiKey::DELETE_SHARE_GROUP_OFFSETS,
            ApiKey::SHARE_FETCH,
            ApiKey::SHARE_ACKNOWLEDGE,
        ]
        .contains(&api);
        for by_id in [false, true] {
            let what = format!("{api} v{version} by id: {by_id}");
            let mut tree = request(api, version, &[BAD], by_id).tree();
            // The group and the transactional id around the topics are fine.
            if code == T {
                tree.set("GroupId", wire::tree::Node::text(GOOD));
                tree.set("TransactionalId", wire::tree::Node::text(GOOD));
            }
            let body = message::encode(api, version, Direction::Request, &tree);
            let kafka = answer(api, version, &[], by_id);
            let (told, sent) = outcome(api, version, &body, &usual(), &kafka);
            assert_eq!(sent.is_some(), asks_anyway, "{what}");
            if let Some(sent) = sent {
                assert!(!mentions(&sent, BAD), "{what}");
            }
            let bad = codes_of(&told, BAD);
            assert!(
                !bad.is_empty() && bad.iter().all(|told| *told == code),
                "{what}: {bad:?}"
            );
        }
    });
}

#[test]
fn a_denied_whole_fails_whole() {
    every_version(|api, version| {
        let Some(code) = whole(api, version) else {
            return;
        };
        let what = format!("{api} v{version}");
        let body = request(api, version, &[BAD, GOOD], false).body();
        let Ruling::Answer(told) = ruling(api, version, &body, &usual()) else {
            panic!("{what}: not answered here");
        };
        let codes = all_codes(&read(api, version, &told));
        assert!(
            !codes.is_empty() && codes.iter().all(|told| *told == code),
            "{what}: {codes:?}"
        );
    });
}

#[test]
fn what_needs_the_cluster_fails_without() {
    every_version(|api, version| {
        if !on_cluster(api) {
            return;
        }
        let what = format!("{api} v{version}");
        let body = request(api, version, &[GOOD, BAD], false).body();
        let Ruling::Answer(told) = ruling(api, version, &body, &usual()) else {
            panic!("{what}: not answered here");
        };
        let codes = all_codes(&read(api, version, &told));
        // DescribeLogDirs cannot tell before version 3.
        let silent = api == ApiKey::DESCRIBE_LOG_DIRS && version < 3;
        assert!(codes.iter().all(|told| *told == C), "{what}: {codes:?}");
        assert_eq!(codes.is_empty(), silent, "{what}");

        let cluster = alice([grant(
            Operation::All,
            ResourceType::Cluster,
            auth::acl::CLUSTER_NAME,
        )]);
        let ruling = ruling(api, version, &body, &cluster);
        assert!(
            matches!(
                ruling,
                Ruling::Forward | Ruling::Answer(_) | Ruling::Acls(_)
            ),
            "{what}: {ruling:?}"
        );
    });
}

#[test]
fn what_is_allowed_passes_untouched() {
    let looked_at = [
        ApiKey::LIST_TRANSACTIONS,
        ApiKey::LIST_GROUPS,
        ApiKey::DESCRIBE_TOPIC_PARTITIONS,
        ApiKey::CONSUMER_GROUP_DESCRIBE,
        ApiKey::SHARE_GROUP_DESCRIBE,
        ApiKey::STREAMS_GROUP_DESCRIBE,
        ApiKey::DESCRIBE_TRANSACTIONS,
    ];
    every_version(|api, version| {
        if !matches!(rule(api), Some(Rule::Allowed(_) | Rule::Always(_))) || on_cluster(api) {
            return;
        }
        for by_id in [false, true] {
            let what = format!("{api} v{version} by id: {by_id}");
            let body = request(api, version, &[GOOD], by_id).body();
            let mut access = usual();
            if api == ApiKey::ADD_PARTITIONS_TO_TXN && version >= 4 {
                let types = [ResourceType::Topic, ResourceType::TransactionalId];
                let cluster = grant(
                    Operation::ClusterAction,
                    ResourceType::Cluster,
                    auth::acl::CLUSTER_NAME,
                );
                access = alice(
                    types
                        .map(|of| grant(Operation::All, of, GOOD))
                        .into_iter()
                        .chain([cluster]),
                );
            }
            match ruling(api, version, &body, &access) {
                Ruling::Forward => assert!(!looked_at.contains(&api), "{what}"),
                Ruling::Rewrite {
                    body: None,
                    answer: work,
                } if looked_at.contains(&api) => {
                    let kafka = answer(api, version, &[GOOD], by_id);
                    let told = read(api, version, &work.apply(version, &kafka.body()).unwrap());
                    assert!(all_codes(&told).iter().all(|code| *code == 0), "{what}");
                }
                other => panic!("{what}: {other:?}"),
            }
        }
    });
}

#[test]
fn super_users_and_everybody_without_lists_pass() {
    let everything = [
        AclView::disabled(),
        AclView::super_user(&Default::default(), "vc"),
    ];
    every_version(|api, version| {
        let body = request(api, version, &[GOOD, BAD], false).body();
        for access in &everything {
            let ruling = ruling(api, version, &body, access);
            let passes = matches!(ruling, Ruling::Forward | Ruling::Rewrite { body: None, .. });
            let acls = [
                ApiKey::DESCRIBE_ACLS,
                ApiKey::CREATE_ACLS,
                ApiKey::DELETE_ACLS,
            ]
            .contains(&api);
            match rule(api) {
                Some(Rule::Closed) => assert!(matches!(ruling, Ruling::Close), "{api}"),
                Some(Rule::Refused(_)) => assert!(matches!(ruling, Ruling::Answer(_)), "{api}"),
                _ => assert!(passes || acls, "{api} v{version}: {ruling:?}"),
            }
        }
    });
}

#[test]
fn unknown_keys_and_versions_are_closed_or_errors() {
    assert!(matches!(
        judge(ApiKey(999), 0, &[], &usual(), &()),
        Ok(Ruling::Close)
    ));
    assert!(matches!(
        judge(ApiKey(-1), 0, &[], &AclView::disabled(), &()),
        Ok(Ruling::Close)
    ));
    assert!(matches!(
        judge(ApiKey::PRODUCE, 99, &[], &usual(), &()),
        Err(Error::Body(_))
    ));
}

#[test]
fn no_bytes_cause_a_panic() {
    let types = [
        ResourceType::Topic,
        ResourceType::Group,
        ResourceType::TransactionalId,
        ResourceType::Cluster,
    ];
    let prefixed = |of| Binding {
        pattern_type: PatternType::Prefixed,
        ..grant(
            Operation::All,
            of,
            if of == ResourceType::Cluster {
                "kafka"
            } else {
                "a"
            },
        )
    };
    every_version(|api, version| {
        let mut rng = Rng::new((api.0 as u64) << 16 | version as u64);
        for round in 0..30 {
            let mut body = random_body(api, version, Direction::Request, &mut rng);
            if round % 3 != 0 {
                mutate(&mut body, &mut rng);
            }
            let _ = topic_ids(api, version, &body);
            let _ = crate::disabled(api, version, &body);
            let _ = crate::in_session(api, version, &body);
            // Random names often begin with it.
            let access = if round % 2 == 0 {
                usual()
            } else {
                alice(types.map(prefixed))
            };
            let Ok(ruling) = judge(api, version, &body, &access, &Ids) else {
                continue;
            };
            match ruling {
                Ruling::Rewrite { answer, .. } | Ruling::Convert { answer, .. } => {
                    let mut told = random_body(api, version, Direction::Response, &mut rng);
                    if let Ok(merged) = answer.apply_with(version, &told, &Ids) {
                        assert_eq!(
                            validate(api, version, Direction::Response, &merged),
                            Ok(()),
                            "{api} v{version}"
                        );
                    }
                    mutate(&mut told, &mut rng);
                    let _ = answer.topic_ids(version, &told);
                    let _ = answer.apply(version, &told);
                }
                Ruling::Answer(told) => assert_eq!(
                    validate(api, version, Direction::Response, &told),
                    Ok(()),
                    "{api} v{version}"
                ),
                Ruling::Acls(request) => drop(request.answer(Ok(()))),
                _ => {}
            }
        }
    });
}
