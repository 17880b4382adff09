//! The APIs that show and change access control lists.

use auth::acl::{AclView, CLUSTER_NAME, Operation, PatternType, ResourceType};
use wire::api::{ApiKey, Direction};

use super::samples::{BAD, GOOD, alice, all_codes, grant};
use super::{read, request, ruling};
use crate::{AclChange, Ruling, disabled};
use wire::tree::{self as message, Node, Record};

use super::special::{ANY_VERSION, encoded, named, told, versions, with};

fn creation(
    resource_type: i64,
    pattern: i64,
    name: &str,
    principal: &str,
    operation: i64,
    permission: i64,
) -> Node<'static> {
    let fields = message::element(
        message::message(ApiKey::CREATE_ACLS, Direction::Request),
        "Creations",
    );
    let mut creation = Record::new(fields);
    for (field, value) in [
        ("ResourceType", resource_type),
        ("ResourcePatternType", pattern),
        ("Operation", operation),
        ("PermissionType", permission),
    ] {
        creation.set(field, Node::Int(value));
    }
    for (field, value) in [
        ("ResourceName", name),
        ("Principal", principal),
        ("Host", "*"),
    ] {
        creation.set(field, Node::text(value));
    }
    Node::Record(creation)
}

#[test]
fn bindings_are_created_in_order_and_refused_one_by_one() {
    let api = ApiKey::CREATE_ACLS;
    let manager = alice([grant(Operation::Alter, ResourceType::Cluster, CLUSTER_NAME)]);
    for version in versions(api, 0, ANY_VERSION) {
        let creations = vec![
            creation(2, 4, "orders-", "User:bob", 3, 3),
            creation(2, 3, "", "User:bob", 3, 3),
            creation(4, 3, "another", "User:bob", 7, 3),
            creation(2, 2, "orders-", "User:bob", 3, 3),
            creation(2, 3, "orders-", "Group:bob", 3, 3),
            creation(2, 3, "orders-", "User:bob", 9, 3),
            creation(1, 3, "orders-", "User:bob", 3, 3),
            creation(2, 3, "orders-", "User:bob", 3, 1),
        ];
        let count = creations.len();
        let body = with(api, version, &[], [("Creations", Node::List(creations))]);
        let Ruling::Acls(request) = ruling(api, version, &body, &manager) else {
            panic!()
        };
        let AclChange::Add(bindings) = request.change() else {
            panic!()
        };
        assert_eq!(bindings.len(), 1);
        assert_eq!(
            (bindings[0].pattern_type, &*bindings[0].resource_name),
            (PatternType::Prefixed, "orders-")
        );
        let codes = |body: &[u8]| all_codes(&read(api, version, body));
        assert_eq!(
            codes(&request.answer(Ok(()))),
            [vec![0], vec![42; count - 1]].concat()
        );
        assert_eq!(
            codes(&request.answer(Err((7, "timed out")))),
            [vec![7], vec![42; count - 1]].concat()
        );
    }
}

#[test]
fn bindings_are_described_and_deleted_by_filter() {
    let bindings = [
        grant(Operation::All, ResourceType::Cluster, CLUSTER_NAME),
        grant(Operation::Read, ResourceType::Topic, GOOD),
        grant(Operation::Write, ResourceType::Topic, GOOD),
        grant(Operation::Read, ResourceType::Group, GOOD),
    ];
    let manager = alice(bindings.clone());
    let topics = |filter: &mut Record<'static>| {
        for (field, code) in [
            ("ResourceTypeFilter", 2),
            ("PatternTypeFilter", 2),
            ("Operation", 1),
            ("PermissionType", 1),
        ] {
            filter.set(field, Node::Int(code));
        }
        filter.set("ResourceNameFilter", Node::text(GOOD));
        filter.set("PrincipalFilter", Node::Null);
        filter.set("HostFilter", Node::Null);
    };
    for version in versions(ApiKey::DESCRIBE_ACLS, 0, ANY_VERSION) {
        let api = ApiKey::DESCRIBE_ACLS;
        let mut tree = Record::new(message::message(api, Direction::Request));
        topics(&mut tree);
        let body = encoded(api, version, Direction::Request, &tree);
        let answer = told(api, version, ruling(api, version, &body, &manager));
        assert_eq!(answer.list("Resources").len(), 1);
        assert_eq!(
            named(&answer, "Resources", GOOD)
                .unwrap()
                .list("Acls")
                .len(),
            2
        );
        tree.set("Operation", Node::Int(0));
        let body = encoded(api, version, Direction::Request, &tree);
        assert_eq!(
            told(api, version, ruling(api, version, &body, &manager)).int("ErrorCode"),
            42
        );
    }
    for version in versions(ApiKey::DELETE_ACLS, 0, ANY_VERSION) {
        let api = ApiKey::DELETE_ACLS;
        let mut filter = Record::new(message::element(
            message::message(api, Direction::Request),
            "Filters",
        ));
        topics(&mut filter);
        let mut wrong = filter.clone();
        wrong.set("PatternTypeFilter", Node::Int(0));
        let filters = Node::List([filter.clone(), wrong, filter].map(Node::Record).to_vec());
        let body = with(api, version, &[], [("Filters", filters)]);
        let Ruling::Acls(request) = ruling(api, version, &body, &manager) else {
            panic!()
        };
        assert_eq!(request.change(), AclChange::Remove(bindings[1..3].to_vec()));
        let done = read(api, version, &request.answer(Ok(())));
        let matched: Vec<usize> = done
            .records("FilterResults")
            .map(|result| result.list("MatchingAcls").len())
            .collect();
        assert_eq!(matched, [2, 0, 2]);
        let failed = read(api, version, &request.answer(Err((7, "timed out"))));
        assert_eq!(all_codes(&failed), [7, 42, 7]);
    }
}

#[test]
fn acl_apis_without_lists_are_disabled() {
    for api in [
        ApiKey::DESCRIBE_ACLS,
        ApiKey::CREATE_ACLS,
        ApiKey::DELETE_ACLS,
    ] {
        for version in versions(api, 0, ANY_VERSION) {
            let body = request(api, version, &[GOOD, BAD], false).body();
            let answer = disabled(api, version, &body).unwrap().unwrap();
            let codes = all_codes(&read(api, version, &answer));
            assert!(
                !codes.is_empty() && codes.iter().all(|code| *code == 54),
                "{api} v{version}"
            );
            assert_eq!(
                told(
                    api,
                    version,
                    ruling(api, version, &body, &AclView::disabled())
                ),
                read(api, version, &answer)
            );
        }
    }
    assert_eq!(disabled(ApiKey::HEARTBEAT, 0, &[]).unwrap(), None);
}

#[test]
fn no_request_changes_more_than_a_controller_would() {
    const POLICY: i16 = 44;
    let few = creation(2, 3, "orders", "User:bob", 3, 3);
    let manager = alice([grant(Operation::Alter, ResourceType::Cluster, CLUSTER_NAME)]);
    let (api, version) = (ApiKey::CREATE_ACLS, 3);
    let creations = Node::List(vec![few; 10_001]);
    let body = with(api, version, &[], [("Creations", creations)]);
    let answer = told(api, version, ruling(api, version, &body, &manager));
    assert_eq!(all_codes(&answer), [POLICY; 10_001]);

    let many = (0..10_001)
        .map(|n| grant(Operation::Read, ResourceType::Topic, &format!("t{n}")))
        .chain([grant(Operation::Alter, ResourceType::Cluster, CLUSTER_NAME)]);
    let manager = alice(many);
    let (api, version) = (ApiKey::DELETE_ACLS, 3);
    let filter = |name: Node<'static>| {
        let fields = message::message(api, Direction::Request);
        let mut filter = Record::new(message::element(fields, "Filters"));
        filter.set("ResourceTypeFilter", Node::Int(2));
        filter.set("PatternTypeFilter", Node::Int(1));
        filter.set("ResourceNameFilter", name);
        filter.set("PrincipalFilter", Node::Null);
        filter.set("HostFilter", Node::Null);
        filter.set("Operation", Node::Int(1));
        filter.set("PermissionType", Node::Int(1));
        Node::Record(filter)
    };
    let delete = |filters: Vec<Node<'static>>| {
        let body = with(api, version, &[], [("Filters", Node::List(filters))]);
        ruling(api, version, &body, &manager)
    };
    let all = delete(vec![filter(Node::Null)]);
    assert_eq!(all_codes(&told(api, version, all)), [POLICY]);
    let expensive = delete(vec![filter(Node::text("none")); 1000]);
    assert_eq!(all_codes(&told(api, version, expensive)), [POLICY; 1000]);
    let Ruling::Acls(request) = delete(vec![filter(Node::text("t7"))]) else {
        panic!("one is not too many")
    };
    assert!(matches!(request.change(), AclChange::Remove(bindings) if bindings.len() == 1));
}
