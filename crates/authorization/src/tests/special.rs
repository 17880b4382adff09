//! What single APIs have of their own.

use std::sync::{Arc, Mutex};

use auth::acl::{AclView, Binding, CLUSTER_NAME, Observer, Operation, ResourceType};
use wire::api::{ApiKey, Direction};

use super::samples::{
    BAD, GOOD, Ids, Sample, alice, all_codes, codes_of, grant, id_of, mentions, usual,
};
use super::{C, G, T, X, answer, outcome, read, request, ruling};
use crate::{InSession, Ruling, in_session, judge, session_gone, without_session};
use wire::tree::{self as message, Node, Record};

pub(super) const ANY_VERSION: i16 = i16::MAX;

pub(super) fn versions(api: ApiKey, from: i16, to: i16) -> std::ops::RangeInclusive<i16> {
    let spec = api.spec().unwrap();
    spec.min_version.max(from)..=spec.max_version.min(to)
}

pub(super) fn encoded(api: ApiKey, version: i16, dir: Direction, tree: &Record<'_>) -> Vec<u8> {
    message::encode(api, version, dir, tree)
}

/// A request of these names with some fields set.
pub(super) fn with<const N: usize>(
    api: ApiKey,
    version: i16,
    names: &[&str],
    fields: [(&str, Node<'static>); N],
) -> Vec<u8> {
    let mut tree = request(api, version, names, false).tree();
    fields
        .into_iter()
        .for_each(|(name, value)| tree.set(name, value));
    encoded(api, version, Direction::Request, &tree)
}

pub(super) fn told(api: ApiKey, version: i16, ruling: Ruling) -> Record<'static> {
    match ruling {
        Ruling::Answer(body) => read(api, version, &body),
        other => panic!("{api} v{version}: {other:?}"),
    }
}

pub(super) fn named<'r>(
    record: &'r Record<'static>,
    array: &str,
    name: &str,
) -> Option<&'r Record<'static>> {
    record.records(array).find(|element| {
        element
            .fields()
            .iter()
            .any(|spec| element.get(spec.name).as_bytes() == name.as_bytes())
    })
}

pub(super) fn also(more: impl IntoIterator<Item = Binding>) -> AclView {
    let types = [
        ResourceType::Topic,
        ResourceType::Group,
        ResourceType::TransactionalId,
    ];
    alice(
        types
            .map(|of| grant(Operation::All, of, GOOD))
            .into_iter()
            .chain(more),
    )
}

#[test]
fn lists_leave_out_what_is_not_to_be_seen() {
    for api in [ApiKey::LIST_GROUPS, ApiKey::LIST_TRANSACTIONS] {
        for version in versions(api, 0, ANY_VERSION) {
            let body = request(api, version, &[], false).body();
            let kafka = answer(api, version, &[GOOD, BAD], false);
            let (told, _) = outcome(api, version, &body, &usual(), &kafka);
            assert!(
                !codes_of(&told, BAD).contains(&0) && !format!("{told:?}").contains("bad-one"),
                "{api} v{version}"
            );
            let array = if api == ApiKey::LIST_GROUPS {
                "Groups"
            } else {
                "TransactionStates"
            };
            assert!(
                named(&told, array, GOOD).is_some() && told.list(array).len() == 1,
                "{api} v{version}"
            );
        }
    }
    let sees_all = also([grant(
        Operation::Describe,
        ResourceType::Cluster,
        CLUSTER_NAME,
    )]);
    let body = request(ApiKey::LIST_GROUPS, 5, &[], false).body();
    assert!(matches!(
        ruling(ApiKey::LIST_GROUPS, 5, &body, &sees_all),
        Ruling::Forward
    ));
}

#[test]
fn transactional_records_need_the_id() {
    let api = ApiKey::PRODUCE;
    let mut batch = vec![0; 61];
    batch[16] = 2;
    for version in versions(api, 3, ANY_VERSION) {
        for (attributes, whole) in [(0x10, true), (0, false)] {
            batch[22] = attributes;
            let mut tree = request(api, version, &[GOOD], false).tree();
            tree.set("TransactionalId", Node::text(BAD));
            tree.edit_list("TopicData", |topics| {
                topics[0]
                    .as_record_mut()
                    .unwrap()
                    .edit_list("PartitionData", |partitions| {
                        partitions[0]
                            .as_record_mut()
                            .unwrap()
                            .set("Records", Node::Text(batch.clone().into()));
                    });
            });
            let body = encoded(api, version, Direction::Request, &tree);
            let ruling = ruling(api, version, &body, &usual());
            if whole {
                assert_eq!(
                    codes_of(&told(api, version, ruling), GOOD),
                    [X],
                    "v{version}"
                );
            } else {
                assert!(matches!(ruling, Ruling::Forward), "v{version}");
            }
        }
        let silent = with(
            api,
            version,
            &[GOOD, BAD],
            [("Acks", Node::Int(0)), ("TransactionalId", Node::Null)],
        );
        assert!(
            matches!(ruling(api, version, &silent, &usual()), Ruling::Close),
            "v{version}"
        );
    }
}

#[test]
fn fetches_with_something_denied_have_no_session() {
    let api = ApiKey::FETCH;
    for version in versions(api, 7, ANY_VERSION) {
        let body = with(
            api,
            version,
            &[GOOD, BAD],
            [("SessionId", Node::Int(5)), ("SessionEpoch", Node::Int(0))],
        );
        let Ruling::Rewrite {
            body: Some(sent), ..
        } = ruling(api, version, &body, &usual())
        else {
            panic!()
        };
        let root = message::decode(api, version, Direction::Request, &sent).unwrap();
        assert_eq!(
            (root.int("SessionId"), root.int("SessionEpoch")),
            (0, -1),
            "v{version}"
        );
        assert!(!mentions(&sent, BAD), "v{version}");

        let body = with(
            api,
            version,
            &[GOOD, BAD],
            [("SessionId", Node::Int(5)), ("SessionEpoch", Node::Int(3))],
        );
        assert!(
            in_session(api, version, &body).unwrap() == InSession::Goes(5)
                && in_session(api, version, &sent).unwrap() == InSession::Not
        );
        for epoch in [-1, 0] {
            let ending = with(
                api,
                version,
                &[GOOD],
                [
                    ("SessionId", Node::Int(5)),
                    ("SessionEpoch", Node::Int(epoch)),
                ],
            );
            assert_eq!(
                in_session(api, version, &ending).unwrap(),
                InSession::Ends(5)
            );
            let without = without_session(version, &ending).unwrap();
            let begins = [InSession::Not, InSession::Begins][usize::from(epoch == 0)];
            assert_eq!(in_session(api, version, &without).unwrap(), begins);
        }
        let answer = told(api, version, ruling(api, version, &body, &usual()));
        assert_eq!(
            (answer.int("ErrorCode"), answer.list("Responses").len()),
            (70, 0),
            "v{version}"
        );
        assert_eq!(
            read(api, version, &session_gone(api, version).unwrap()).int("ErrorCode"),
            70
        );
    }
    assert_eq!(session_gone(api, 6), None);
    let api = ApiKey::SHARE_FETCH;
    for version in versions(api, 0, ANY_VERSION) {
        for (epoch, inside) in [(-1, false), (0, false), (1, true)] {
            let body = with(
                api,
                version,
                &[GOOD],
                [("ShareSessionEpoch", Node::Int(epoch))],
            );
            let in_session = in_session(api, version, &body).unwrap();
            assert_eq!(in_session == InSession::Goes(0), inside);
        }
        assert_eq!(
            read(api, version, &session_gone(api, version).unwrap()).int("ErrorCode"),
            122
        );
    }
}

#[test]
fn replicas_are_refused_whoever_they_are() {
    for api in [
        ApiKey::FETCH,
        ApiKey::LIST_OFFSETS,
        ApiKey::OFFSET_FOR_LEADER_EPOCH,
    ] {
        for version in versions(api, 0, ANY_VERSION) {
            let mut tree = request(api, version, &[GOOD], false).tree();
            if api == ApiKey::OFFSET_FOR_LEADER_EPOCH && version < 3 {
                continue;
            }
            if api == ApiKey::FETCH && version >= 15 {
                let mut state = Record::new(message::element(tree.fields(), "ReplicaState"));
                state.set("ReplicaId", Node::Int(1));
                tree.set("ReplicaState", Node::Record(state));
            } else {
                tree.set("ReplicaId", Node::Int(1));
            }
            let body = encoded(api, version, Direction::Request, &tree);
            for access in [usual(), AclView::disabled()] {
                let codes = all_codes(&told(api, version, ruling(api, version, &body, &access)));
                assert!(
                    !codes.is_empty() && codes.iter().all(|code| *code == C),
                    "{api} v{version}"
                );
            }
        }
    }
}

#[test]
fn ids_that_nobody_knows_never_reach_kafka() {
    for (api, from) in [
        (ApiKey::PRODUCE, 13),
        (ApiKey::FETCH, 13),
        (ApiKey::OFFSET_COMMIT, 10),
        (ApiKey::DELETE_TOPICS, 6),
    ] {
        for version in versions(api, from, ANY_VERSION) {
            let body = request(api, version, &[GOOD], true).body();
            let told = told(
                api,
                version,
                judge(api, version, &body, &usual(), &()).unwrap(),
            );
            assert!(
                codes_of(&told, GOOD).iter().all(|code| *code == 100),
                "{api} v{version}"
            );
            assert!(
                matches!(
                    judge(api, version, &body, &usual(), &Ids),
                    Ok(Ruling::Forward)
                ),
                "{api} v{version}"
            );
        }
    }
}

#[test]
fn committed_offsets_of_all_topics_are_filtered() {
    let api = ApiKey::OFFSET_FETCH;
    for version in versions(api, 2, ANY_VERSION) {
        let mut tree = request(api, version, &[GOOD], false).tree();
        tree.set("Topics", Node::Null);
        tree.edit_list("Groups", |groups| {
            groups
                .iter_mut()
                .filter_map(Node::as_record_mut)
                .for_each(|group| group.set("Topics", Node::Null));
        });
        let body = encoded(api, version, Direction::Request, &tree);
        let Ruling::Rewrite {
            body: None,
            answer: work,
        } = ruling(api, version, &body, &usual())
        else {
            panic!("v{version}")
        };
        let mut kafka = answer(api, version, &[GOOD, BAD], false).tree();
        kafka.edit_list("Groups", |groups| groups.truncate(1));
        let kafka = encoded(api, version, Direction::Response, &kafka);
        let ids = work.topic_ids(version, &kafka).unwrap();
        assert_eq!(ids.len(), if version >= 10 { 2 } else { 0 });
        let told = read(
            api,
            version,
            &work.apply_with(version, &kafka, &Ids).unwrap(),
        );
        let holder = told.records("Groups").next().unwrap_or(&told);
        assert_eq!(holder.list("Topics").len(), 1, "v{version}");
        assert!(!mentions(
            &encoded(api, version, Direction::Response, &told),
            BAD
        ));
    }
}

#[test]
fn one_denied_topic_stops_the_others_from_joining_the_transaction() {
    let api = ApiKey::ADD_PARTITIONS_TO_TXN;
    for version in versions(api, 0, 3) {
        let body = request(api, version, &[GOOD, BAD], false).body();
        let told = told(api, version, ruling(api, version, &body, &usual()));
        assert!(codes_of(&told, BAD).iter().all(|code| *code == T));
        assert!(codes_of(&told, GOOD).iter().all(|code| *code == 55));
    }
    for version in versions(api, 4, ANY_VERSION) {
        let body = request(api, version, &[GOOD, BAD], false).body();
        assert_eq!(
            told(api, version, ruling(api, version, &body, &usual())).int("ErrorCode"),
            i64::from(C)
        );
        let broker = also([grant(
            Operation::ClusterAction,
            ResourceType::Cluster,
            CLUSTER_NAME,
        )]);
        let told = told(api, version, ruling(api, version, &body, &broker));
        let bad = named(&told, "ResultsByTransaction", BAD).unwrap();
        assert!(all_codes(bad).iter().all(|code| *code == X));
        let good = named(&told, "ResultsByTransaction", GOOD).unwrap();
        assert!(all_codes(good).contains(&T) && all_codes(good).contains(&55));
    }
}

#[test]
fn idempotent_producers_need_some_topic() {
    let api = ApiKey::INIT_PRODUCER_ID;
    for version in versions(api, 0, ANY_VERSION) {
        let body = with(api, version, &[GOOD], [("TransactionalId", Node::Null)]);
        assert!(matches!(
            ruling(api, version, &body, &usual()),
            Ruling::Forward
        ));
        let cluster = alice([grant(
            Operation::IdempotentWrite,
            ResourceType::Cluster,
            CLUSTER_NAME,
        )]);
        assert!(matches!(
            ruling(api, version, &body, &cluster),
            Ruling::Forward
        ));
        let reader = alice([grant(Operation::Read, ResourceType::Topic, GOOD)]);
        let told = told(api, version, ruling(api, version, &body, &reader));
        assert_eq!(
            (
                told.int("ErrorCode"),
                told.int("ProducerId"),
                told.int("ProducerEpoch")
            ),
            (i64::from(C), -1, -1)
        );
    }
}

#[test]
fn topics_can_be_created_with_a_right_on_the_cluster() {
    let api = ApiKey::CREATE_TOPICS;
    let creates = alice([
        grant(Operation::Create, ResourceType::Cluster, CLUSTER_NAME),
        grant(Operation::DescribeConfigs, ResourceType::Topic, GOOD),
    ]);
    for version in versions(api, 0, ANY_VERSION) {
        let body = request(api, version, &[GOOD, BAD], false).body();
        match ruling(api, version, &body, &creates) {
            Ruling::Forward => assert!(version < 5),
            Ruling::Rewrite {
                body: None,
                answer: work,
            } => {
                let kafka = answer(api, version, &[GOOD, BAD], false).body();
                let told = read(api, version, &work.apply(version, &kafka).unwrap());
                let config_error = |name| {
                    named(&told, "Topics", name)
                        .unwrap()
                        .int("TopicConfigErrorCode")
                };
                assert_eq!(
                    (config_error(GOOD), config_error(BAD)),
                    (0, i64::from(T)),
                    "v{version}"
                );
                assert!(
                    named(&told, "Topics", BAD)
                        .unwrap()
                        .list("Configs")
                        .is_empty()
                );
                assert!(
                    !named(&told, "Topics", GOOD)
                        .unwrap()
                        .list("Configs")
                        .is_empty()
                );
            }
            other => panic!("v{version}: {other:?}"),
        }
    }
}

#[test]
fn deletion_by_id_tells_the_name_to_who_may_see_it() {
    let api = ApiKey::DELETE_TOPICS;
    let body = request(api, 6, &[BAD], true).body();
    let name = |access: &AclView| {
        let told = told(api, 6, ruling(api, 6, &body, access));
        let topic = told.records("Responses").next().unwrap();
        assert_eq!(
            (topic.int("ErrorCode"), topic.get("TopicId")),
            (i64::from(T), &Node::Uuid(id_of(BAD)))
        );
        topic.get("Name").to_owned()
    };
    assert_eq!(name(&usual()), Node::Null);
    assert_eq!(
        name(&also([grant(
            Operation::Describe,
            ResourceType::Topic,
            BAD
        )])),
        Node::text(BAD)
    );
}

#[test]
fn coordinators_by_type_of_key() {
    let api = ApiKey::FIND_COORDINATOR;
    for version in versions(api, 1, ANY_VERSION) {
        for (kind, code) in [(0, G), (1, X), (2, C), (9, 42)] {
            let body = with(api, version, &[BAD], [("KeyType", Node::Int(kind))]);
            let told = told(api, version, ruling(api, version, &body, &usual()));
            assert_eq!(all_codes(&told), [code], "v{version}");
        }
    }
}

#[test]
fn configs_by_type_of_resource() {
    for api in [
        ApiKey::DESCRIBE_CONFIGS,
        ApiKey::ALTER_CONFIGS,
        ApiKey::INCREMENTAL_ALTER_CONFIGS,
    ] {
        for version in versions(api, 0, ANY_VERSION) {
            for (kind, code) in [(2, T), (4, C), (8, C), (16, C), (32, G), (99, 42)] {
                let mut tree = request(api, version, &[BAD], false).tree();
                tree.edit_list("Resources", |list| {
                    list[0]
                        .as_record_mut()
                        .unwrap()
                        .set("ResourceType", Node::Int(kind));
                });
                let body = encoded(api, version, Direction::Request, &tree);
                assert_eq!(
                    all_codes(&told(api, version, ruling(api, version, &body, &usual()))),
                    [code],
                    "{api} v{version}"
                );
            }
        }
    }
}

#[test]
fn expressions_are_not_forwarded() {
    let api = ApiKey::CONSUMER_GROUP_HEARTBEAT;
    let fields = || {
        [
            ("SubscribedTopicRegex", Node::text(".*")),
            ("SubscribedTopicNames", Node::Null),
        ]
    };
    let body = with(api, 1, &[GOOD], fields());
    assert_eq!(
        told(api, 1, ruling(api, 1, &body, &usual())).int("ErrorCode"),
        128
    );
    assert!(matches!(
        ruling(api, 1, &body, &AclView::disabled()),
        Ruling::Forward
    ));
    let denied = with(
        api,
        1,
        &[GOOD],
        [(
            "SubscribedTopicNames",
            Node::List(vec![Node::text(GOOD), Node::text(BAD)]),
        )],
    );
    assert_eq!(
        told(api, 1, ruling(api, 1, &denied, &usual())).int("ErrorCode"),
        i64::from(T)
    );
}

#[test]
fn delegation_tokens_are_off_and_brokers_stay_among_themselves() {
    for key in 38..=41 {
        let api = ApiKey(key);
        for version in versions(api, 0, ANY_VERSION) {
            let body = request(api, version, &[GOOD], false).body();
            assert_eq!(
                told(
                    api,
                    version,
                    ruling(api, version, &body, &AclView::disabled())
                )
                .int("ErrorCode"),
                61
            );
        }
    }
    assert!(matches!(
        ruling(ApiKey::VOTE, 0, &[], &AclView::disabled()),
        Ruling::Close
    ));
}

#[test]
fn hidden_topics_are_nobodys_even_without_lists() {
    let access = AclView::disabled().hiding(Arc::new([BAD.to_owned()].into()));
    let apis = [
        ApiKey::PRODUCE,
        ApiKey::DELETE_TOPICS,
        ApiKey::DELETE_RECORDS,
        ApiKey::CREATE_PARTITIONS,
        ApiKey::ALTER_CONFIGS,
        ApiKey::INCREMENTAL_ALTER_CONFIGS,
        ApiKey::DESCRIBE_CONFIGS,
        ApiKey::LIST_OFFSETS,
    ];
    for api in apis {
        for version in versions(api, 0, ANY_VERSION) {
            for by_id in [false, true] {
                let body = request(api, version, &[GOOD, BAD], by_id).body();
                let kafka = answer(api, version, &[GOOD], by_id);
                let (told, sent) = outcome(api, version, &body, &access, &kafka);
                assert!(!mentions(&sent.unwrap(), BAD), "{api} v{version}");
                assert!(
                    codes_of(&told, BAD).iter().all(|code| *code == T),
                    "{api} v{version}"
                );
            }
        }
    }
    let body = request(ApiKey::FETCH, 12, &[GOOD, BAD], false).body();
    assert!(matches!(
        ruling(ApiKey::FETCH, 12, &body, &access),
        Ruling::Rewrite { .. }
    ));
}

#[test]
fn every_denial_is_observed_once() {
    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);
    impl Observer for Seen {
        fn denied(&self, operation: Operation, resource_type: ResourceType, name: &str) {
            self.0
                .lock()
                .unwrap()
                .push(format!("{operation} {resource_type} {name}"));
        }
    }
    let seen = Arc::new(Seen::default());
    let access = usual().observed_by(seen.clone());
    let body = request(ApiKey::FETCH, 12, &[GOOD, BAD], false).body();
    assert!(matches!(
        ruling(ApiKey::FETCH, 12, &body, &access),
        Ruling::Rewrite { .. }
    ));
    let body = Sample {
        names: &[BAD],
        ..request(ApiKey::HEARTBEAT, 0, &[BAD], false)
    }
    .body();
    assert!(matches!(
        ruling(ApiKey::HEARTBEAT, 0, &body, &access),
        Ruling::Answer(_)
    ));
    assert_eq!(
        *seen.0.lock().unwrap(),
        ["READ TOPIC bad-one", "READ GROUP bad-one"]
    );
}

#[test]
fn what_is_remembered_of_denials_is_told() {
    let names: Vec<String> = (0..100).map(|n| format!("{BAD}{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).chain([GOOD]).collect();
    let (api, version) = (ApiKey::FIND_COORDINATOR, 4);
    let body = request(api, version, &names, false).body();
    let Ruling::Rewrite { answer, .. } = ruling(api, version, &body, &usual()) else {
        panic!("some are denied")
    };
    assert!(answer.weight() > 100 * 200, "{}", answer.weight());
}

#[test]
fn a_group_is_not_named_again_and_again() {
    for (api, version) in [
        (ApiKey::OFFSET_FETCH, 8),
        (ApiKey::DESCRIBE_SHARE_GROUP_OFFSETS, 0),
    ] {
        let ruling = |times: usize| {
            let mut tree = request(api, version, &[GOOD, BAD], false).tree();
            tree.edit_list("Groups", |groups| {
                let group = groups.swap_remove(0);
                *groups = vec![group; times];
            });
            let body = encoded(api, version, Direction::Request, &tree);
            judge(api, version, &body, &usual(), &Ids)
        };
        assert!(matches!(ruling(8).unwrap(), Ruling::Rewrite { .. }));
        assert!(matches!(ruling(9), Err(crate::Error::TooLarge)));
    }
}
