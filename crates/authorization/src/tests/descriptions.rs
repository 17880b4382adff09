//! What clients are told of the cluster, its topics and its groups.

use auth::acl::{AclView, Acls, CLUSTER_NAME, Operation, ResourceType};
use wire::api::{ApiKey, Direction};

use super::samples::{BAD, GOOD, alice, all_codes, grant, id_of, mentions, usual};
use super::{T, answer, outcome, read, request, ruling};
use crate::{Ruling, judge, topic_ids};
use wire::tree::{self as message, Node, Record};

use super::special::{ANY_VERSION, also, encoded, named, told, versions, with};

#[test]
fn metadata_of_all_topics_leaves_out_the_denied_ones() {
    let api = ApiKey::METADATA;
    for version in versions(api, 0, ANY_VERSION) {
        let topics = if version == 0 {
            Node::List(Vec::new())
        } else {
            Node::Null
        };
        let body = with(api, version, &[], [("Topics", topics)]);
        let kafka = answer(api, version, &[GOOD, BAD], false);
        let (told, sent) = outcome(api, version, &body, &usual(), &kafka);
        assert_eq!(sent.unwrap(), body, "v{version}");
        assert!(
            named(&told, "Topics", GOOD).is_some() && told.list("Topics").len() == 1,
            "v{version}"
        );
    }
}

#[test]
fn metadata_hides_ids_and_names_from_each_other() {
    let api = ApiKey::METADATA;
    for version in versions(api, 12, ANY_VERSION) {
        let by_id = request(api, version, &[GOOD, BAD], true).body();
        assert_eq!(
            topic_ids(api, version, &by_id).unwrap(),
            [id_of(GOOD), id_of(BAD)]
        );
        let (told, _) = outcome(
            api,
            version,
            &by_id,
            &usual(),
            &answer(api, version, &[GOOD], true),
        );
        let bad = told
            .records("Topics")
            .find(|topic| topic.int("ErrorCode") == i64::from(T))
            .unwrap();
        assert_eq!(
            (bad.get("Name"), bad.get("TopicId")),
            (&Node::Null, &Node::Uuid(id_of(BAD)))
        );

        let by_name = request(api, version, &[GOOD, BAD], false).body();
        let (told, _) = outcome(
            api,
            version,
            &by_name,
            &usual(),
            &answer(api, version, &[GOOD], false),
        );
        assert_eq!(
            named(&told, "Topics", BAD).unwrap().get("TopicId"),
            &Node::Uuid([0; 16])
        );

        let (told, _) = match judge(api, version, &by_id, &usual(), &()).unwrap() {
            Ruling::Rewrite { answer: work, .. } => {
                let kafka = answer(api, version, &[], true).body();
                (
                    read(api, version, &work.apply(version, &kafka).unwrap()),
                    (),
                )
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(
            all_codes(&told).iter().filter(|code| **code == 100).count(),
            2
        );
    }
}

#[test]
fn metadata_creates_nothing_for_who_may_not() {
    let api = ApiKey::METADATA;
    let describes = alice([grant(Operation::Describe, ResourceType::Topic, GOOD)]);
    for version in versions(api, 0, ANY_VERSION) {
        let body = with(
            api,
            version,
            &[GOOD],
            [("AllowAutoTopicCreation", Node::Int(1))],
        );
        let asked = if version < 4 { 4 } else { version };
        let (sent, work) = match ruling(api, version, &body, &describes) {
            Ruling::Convert {
                version: 4,
                body,
                answer,
            } if version < 4 => (body, answer),
            Ruling::Rewrite {
                body: Some(body),
                answer,
            } if version >= 4 => (body, answer),
            other => panic!("v{version}: {other:?}"),
        };
        let sent = message::decode(api, asked, Direction::Request, &sent).unwrap();
        assert_eq!(sent.int("AllowAutoTopicCreation"), 0, "v{version}");
        let mut kafka = answer(api, asked, &[GOOD], false).tree();
        kafka.edit_list("Topics", |topics| {
            topics[0]
                .as_record_mut()
                .unwrap()
                .set("ErrorCode", Node::Int(3))
        });
        let told = work
            .apply(version, &encoded(api, asked, Direction::Response, &kafka))
            .unwrap();
        assert_eq!(
            named(&read(api, version, &told), "Topics", GOOD)
                .unwrap()
                .int("ErrorCode"),
            i64::from(T)
        );

        let creates = alice([
            grant(Operation::Describe, ResourceType::Topic, GOOD),
            grant(Operation::Create, ResourceType::Cluster, CLUSTER_NAME),
        ]);
        assert!(
            matches!(ruling(api, version, &body, &creates), Ruling::Forward),
            "v{version}"
        );
        if version >= 4 {
            let body = with(
                api,
                version,
                &[GOOD],
                [("AllowAutoTopicCreation", Node::Int(0))],
            );
            assert!(
                matches!(ruling(api, version, &body, &describes), Ruling::Forward),
                "v{version}"
            );
        }
    }
    // In version 0 an empty list would ask for everything.
    let body = request(api, 0, &[BAD], false).body();
    let Ruling::Convert {
        version: 4, body, ..
    } = ruling(api, 0, &body, &usual())
    else {
        panic!()
    };
    assert_eq!(
        message::decode(api, 4, Direction::Request, &body)
            .unwrap()
            .get("Topics"),
        &Node::List(Vec::new())
    );
}

#[test]
fn bit_fields_are_ours() {
    let one = Node::Int(1);
    let reads = alice([
        grant(Operation::Read, ResourceType::Topic, GOOD),
        grant(Operation::Read, ResourceType::Group, GOOD),
    ]);
    let expected = i64::from(Operation::Read.bit() | Operation::Describe.bit());
    let (topics, cluster) = (
        "IncludeTopicAuthorizedOperations",
        "IncludeClusterAuthorizedOperations",
    );
    for version in versions(ApiKey::METADATA, 8, ANY_VERSION) {
        let fields = [
            (topics, one.clone()),
            (cluster, one.clone()),
            ("AllowAutoTopicCreation", Node::Int(0)),
        ];
        let body = with(ApiKey::METADATA, version, &[GOOD, BAD], fields);
        let kafka = answer(ApiKey::METADATA, version, &[GOOD], false);
        let (told, _) = outcome(ApiKey::METADATA, version, &body, &reads, &kafka);
        assert_eq!(
            named(&told, "Topics", GOOD)
                .unwrap()
                .int("TopicAuthorizedOperations"),
            expected
        );
        assert_eq!(
            named(&told, "Topics", BAD)
                .unwrap()
                .int("TopicAuthorizedOperations"),
            i64::from(i32::MIN)
        );
        if version <= 10 {
            assert_eq!(told.get("ClusterAuthorizedOperations"), &Node::Int(0));
        }
    }
    for api in [
        ApiKey::DESCRIBE_GROUPS,
        ApiKey::CONSUMER_GROUP_DESCRIBE,
        ApiKey::SHARE_GROUP_DESCRIBE,
        ApiKey::STREAMS_GROUP_DESCRIBE,
    ] {
        for version in versions(
            api,
            if api == ApiKey::DESCRIBE_GROUPS { 3 } else { 0 },
            ANY_VERSION,
        ) {
            let body = with(
                api,
                version,
                &[GOOD],
                [("IncludeAuthorizedOperations", one.clone())],
            );
            let (told, _) = outcome(
                api,
                version,
                &body,
                &reads,
                &answer(api, version, &[GOOD], false),
            );
            assert_eq!(
                named(&told, "Groups", GOOD)
                    .unwrap()
                    .int("AuthorizedOperations"),
                expected,
                "{api} v{version}"
            );
        }
    }
    let describes = also([grant(
        Operation::Describe,
        ResourceType::Cluster,
        CLUSTER_NAME,
    )]);
    for version in versions(ApiKey::DESCRIBE_CLUSTER, 0, ANY_VERSION) {
        let api = ApiKey::DESCRIBE_CLUSTER;
        let body = with(api, version, &[], [(cluster, one.clone())]);
        let kafka = answer(api, version, &[], false);
        let bits = |access: &AclView| {
            outcome(api, version, &body, access, &kafka)
                .0
                .int("ClusterAuthorizedOperations")
        };
        assert_eq!(
            (bits(&usual()), bits(&describes)),
            (0, i64::from(Operation::Describe.bit()))
        );
        let every = bits(&AclView::super_user(&Acls::default(), "vc"));
        assert_eq!(
            every,
            i64::from(AclView::disabled().operations(ResourceType::Cluster, CLUSTER_NAME))
        );
    }
}

#[test]
fn a_group_that_works_on_a_hidden_topic_is_hidden() {
    for api in [
        ApiKey::CONSUMER_GROUP_DESCRIBE,
        ApiKey::SHARE_GROUP_DESCRIBE,
        ApiKey::STREAMS_GROUP_DESCRIBE,
    ] {
        for version in versions(api, 0, ANY_VERSION) {
            let body = request(api, version, &[GOOD], false).body();
            let mut kafka = answer(api, version, &[GOOD, BAD], false).tree();
            if api == ApiKey::STREAMS_GROUP_DESCRIBE {
                let topology =
                    message::element(message::element(kafka.fields(), "Groups"), "Topology");
                let mut topology = Record::new(topology);
                let mut part = Record::new(message::element(topology.fields(), "Subtopologies"));
                part.set("SourceTopics", Node::List(vec![Node::text(BAD)]));
                topology.set("Subtopologies", Node::List(vec![Node::Record(part)]));
                kafka.edit_list("Groups", |groups| {
                    groups[0]
                        .as_record_mut()
                        .unwrap()
                        .set("Topology", Node::Record(topology));
                });
            }
            kafka.edit_list("Groups", |groups| groups.truncate(1));
            let kafka = encoded(api, version, Direction::Response, &kafka);
            let Ruling::Rewrite { answer: work, .. } = ruling(api, version, &body, &usual()) else {
                panic!()
            };
            let told = read(api, version, &work.apply(version, &kafka).unwrap());
            let group = named(&told, "Groups", GOOD).unwrap();
            assert_eq!(
                (group.int("ErrorCode"), group.list("Members").len()),
                (i64::from(T), 0),
                "{api} v{version}"
            );
            assert!(!mentions(
                &encoded(api, version, Direction::Response, &told),
                BAD
            ));
        }
    }
}

#[test]
fn all_topics_become_the_visible_ones() {
    let api = ApiKey::DESCRIBE_TOPIC_PARTITIONS;
    let body = request(api, 0, &[], false).body();
    assert!(matches!(
        judge(api, 0, &body, &usual(), &()),
        Ok(Ruling::ListTopics)
    ));
    let Ruling::Rewrite {
        body: Some(sent), ..
    } = ruling(api, 0, &body, &usual())
    else {
        panic!()
    };
    assert!(mentions(&sent, GOOD) && !mentions(&sent, BAD));
    let nobody = told(api, 0, ruling(api, 0, &body, &alice([])));
    assert!(nobody.list("Topics").is_empty());

    let cursor = |name: &str| {
        let mut tree = request(api, 0, &[], false).tree();
        let mut cursor = Record::new(message::element(tree.fields(), "Cursor"));
        cursor.set("TopicName", Node::text(name));
        tree.set("Cursor", Node::Record(cursor));
        encoded(api, 0, Direction::Request, &tree)
    };
    let keeps_cursor = |name: &str| match ruling(api, 0, &cursor(name), &usual()) {
        Ruling::Rewrite {
            body: Some(sent), ..
        } => {
            let sent = message::decode(api, 0, Direction::Request, &sent).unwrap();
            *sent.get("Cursor") != Node::Null
        }
        other => panic!("{other:?}"),
    };
    assert!(keeps_cursor(GOOD) && !keeps_cursor("aaa"));
    assert!(matches!(
        ruling(api, 0, &cursor("zzz"), &usual()),
        Ruling::Answer(_)
    ));
}
