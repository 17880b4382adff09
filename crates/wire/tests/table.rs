//! Questions to the table that a new Kafka release must not answer differently without being noticed.

use std::collections::BTreeSet;

use sluicegate_wire::api::{ApiKey, ApiSpec, Direction};
use sluicegate_wire::plan::{Interest, Plan};
use sluicegate_wire::schema::{ENTITIES, Entity, FieldSpec, FieldType};

/// Calls `check` with the path of every field.
fn for_every_field(mut check: impl FnMut(&ApiSpec, Direction, &str, &'static FieldSpec)) {
    fn inner(
        fields: &'static [FieldSpec],
        path: &str,
        check: &mut impl FnMut(&str, &'static FieldSpec),
    ) {
        for spec in fields {
            let path = format!("{path}.{}", spec.name);
            check(&path, spec);
            if let FieldType::Struct(fields) = spec.ty {
                inner(fields, &path, check);
            }
        }
    }
    for api in ApiKey::all() {
        let spec = api.spec().expect("listed keys are known");
        for (dir, name) in [
            (Direction::Request, "Request"),
            (Direction::Response, "Response"),
        ] {
            let root = format!("{}{name}", spec.name);
            inner(spec.message(dir).fields, &root, &mut |path, field| {
                check(spec, dir, path, field)
            });
        }
    }
}

fn unmarked(suspect: impl Fn(&str, &FieldSpec) -> bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for_every_field(|_, _, path, field| {
        let is_struct = matches!(field.ty, FieldType::Struct(_));
        if !is_struct && field.entity == Entity::None && suspect(path, field) {
            found.insert(path.to_owned());
        }
    });
    found
}

fn set(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[test]
fn every_address_is_marked() {
    let found = unmarked(|_, field| {
        let name = field.name.to_lowercase();
        name.contains("host")
            || name.contains("port")
            || name.contains("endpoint")
            || name.contains("address")
    });
    // A type code, epochs, an envelope's copy of a client address between brokers, flags.
    let reviewed = [
        "DescribeClusterRequest.EndpointType",
        "DescribeClusterResponse.EndpointType",
        "EnvelopeRequest.ClientHostAddress",
        "StreamsGroupHeartbeatRequest.EndpointInformationEpoch",
        "StreamsGroupHeartbeatResponse.EndpointInformationEpoch",
    ];
    let found: BTreeSet<_> = found
        .into_iter()
        .filter(|path| !path.contains("Supported"))
        .collect();
    assert_eq!(found, set(&reviewed));
}

#[test]
fn every_name_of_a_tenant_is_marked() {
    let found = unmarked(|path, field| {
        let named = |part: &str| field.name.to_lowercase().contains(part);
        let texts = matches!(
            field.ty,
            FieldType::String | FieldType::Uuid | FieldType::Bytes
        );
        // `Name` and `Key` alone say nothing, their parent does.
        let parent = path.rsplit('.').nth(1).unwrap_or_default().to_lowercase();
        let in_topics = matches!(field.name, "Name" | "Key" | "Id")
            && ["topic", "group", "transaction"]
                .iter()
                .any(|part| parent.contains(part));
        texts
            && (named("topic")
                || named("group")
                || named("transactional")
                || named("regex")
                || named("pattern")
                || in_topics)
    });
    // States, types, member ids, configs of topics: none of them is a name a tenant must not see.
    let reviewed = [
        "ConsumerGroupDescribeResponse.Groups.GroupState",
        "DescribeGroupsResponse.Groups.GroupState",
        "DescribeGroupsResponse.Groups.Members.GroupInstanceId",
        "HeartbeatRequest.GroupInstanceId",
        "JoinGroupRequest.GroupInstanceId",
        "JoinGroupResponse.Members.GroupInstanceId",
        "LeaveGroupRequest.Members.GroupInstanceId",
        "LeaveGroupResponse.Members.GroupInstanceId",
        "ListGroupsResponse.Groups.GroupState",
        "ListGroupsResponse.Groups.GroupType",
        "OffsetCommitRequest.GroupInstanceId",
        "ShareGroupDescribeResponse.Groups.GroupState",
        "StreamsGroupDescribeResponse.Groups.GroupState",
        "StreamsGroupDescribeResponse.Groups.Topology.Subtopologies.RepartitionSourceTopics.TopicConfigs.Key",
        "StreamsGroupDescribeResponse.Groups.Topology.Subtopologies.StateChangelogTopics.TopicConfigs.Key",
        "StreamsGroupHeartbeatRequest.Topology.Subtopologies.RepartitionSourceTopics.TopicConfigs.Key",
        "StreamsGroupHeartbeatRequest.Topology.Subtopologies.StateChangelogTopics.TopicConfigs.Key",
        "SyncGroupRequest.GroupInstanceId",
        "TxnOffsetCommitRequest.GroupInstanceId",
    ];
    assert_eq!(found, set(&reviewed));
}

/// What is bytes or free text to the protocol and has no entity was looked at one by one.
#[test]
fn unmarked_bytes_are_reviewed() {
    let found = unmarked(|_, field| matches!(field.ty, FieldType::Bytes | FieldType::Records));
    let reviewed = [
        "EnvelopeRequest.ClientHostAddress",
        "EnvelopeRequest.RequestData",
        "EnvelopeRequest.RequestPrincipal",
        "EnvelopeResponse.ResponseData",
    ];
    assert_eq!(found, set(&reviewed));
}

#[test]
fn addresses_for_clients_stand_in_these_responses_only() {
    let mut found = BTreeSet::new();
    for_every_field(|api, dir, _, field| {
        if matches!(field.entity, Entity::Host | Entity::Port | Entity::NodeId) {
            assert_eq!(dir, Direction::Response);
            found.insert(api.name);
        }
    });
    let known = [
        "DescribeCluster",
        "Fetch",
        "FindCoordinator",
        "Metadata",
        "Produce",
        "ShareAcknowledge",
        "ShareFetch",
    ];
    assert_eq!(found, BTreeSet::from(known));
}

#[test]
fn every_entity_is_used() {
    let mut used = Vec::new();
    for_every_field(|_, _, _, field| used.push(field.entity));
    for entity in ENTITIES {
        assert!(used.contains(&entity), "{entity:?}");
    }
}

#[test]
fn every_array_element_takes_bytes() {
    // The walker bounds counts by the bytes that remain; elements of no bytes would go unbounded.
    fn smallest(fields: &[FieldSpec], version: i16, flexible: bool) -> usize {
        fields
            .iter()
            .filter(|field| {
                field.versions.contains(version) && !(flexible && field.tagged.contains(version))
            })
            .map(|field| field.ty.fixed_size().filter(|_| !field.array).unwrap_or(1))
            .sum::<usize>()
            + usize::from(flexible)
    }
    for_every_field(|api, dir, path, field| {
        let FieldType::Struct(fields) = field.ty else {
            return;
        };
        for version in api.min_version..=api.max_version {
            if field.array && field.versions.contains(version) {
                assert!(
                    smallest(fields, version, api.is_flexible(dir, version)) > 0,
                    "{path} v{version}"
                );
            }
        }
    });
}

#[test]
fn streaming_reaches_the_end_of_bulk_messages() {
    let addresses = Interest::of(&[Entity::NodeId, Entity::Host, Entity::Port]);
    for (api, version, dir) in [
        (ApiKey::FETCH, 18, Direction::Response),
        (ApiKey::FETCH, 4, Direction::Response),
        (ApiKey::PRODUCE, 13, Direction::Request),
    ] {
        let plan = Plan::compile(api, version, dir, addresses).unwrap();
        assert!(plan.streams(), "{api} v{version}");
    }
}
