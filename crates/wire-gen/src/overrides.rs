//! What the definitions leave unmarked, or mark too coarsely, reviewed by hand.
//!
//! A pattern is `Message.Field.Field` (arrays are not marked), or begins with `*` and matches every path that ends with the rest. A
//! `*` pattern applies only to fields of the types given; a full path must have one of them. Later rules win. A rule that matches
//! nothing is an error, so that a renamed field is noticed when a new Kafka release is read in.

use std::collections::BTreeMap;

use crate::definition::{Api, Error, Field};

/// Entity types of the definitions and the names of `schema::Entity`.
const ENTITY_TYPES: [(&str, &str); 5] = [
    ("topicName", "TopicName"),
    ("groupId", "GroupId"),
    ("transactionalId", "TransactionalId"),
    ("producerId", "ProducerId"),
    ("brokerId", "BrokerId"),
];

type Rule = (&'static str, &'static [&'static str], &'static str);

const STRING: &[&str] = &["string"];
const BYTES: &[&str] = &["bytes"];
const INT8: &[&str] = &["int8"];
const INT16: &[&str] = &["int16"];
const INT32: &[&str] = &["int32"];
const INT64: &[&str] = &["int64"];
const PORT: &[&str] = &["int32", "uint16"];
const UUID: &[&str] = &["uuid"];
const BOOL: &[&str] = &["bool"];
const RECORDS: &[&str] = &["records"];

#[rustfmt::skip]
const RULES: &[Rule] = &[
    // The same everywhere.
    ("*ErrorCode", INT16, "ErrorCode"),
    ("*ErrorMessage", STRING, "ErrorMessage"),
    ("*.ThrottleTimeMs", INT32, "ThrottleTime"),
    ("*AuthorizedOperations", INT32, "AuthorizedOperations"),
    ("*.TopicId", UUID, "TopicId"),
    ("*.ClusterId", STRING, "ClusterId"),
    ("*.Rack", STRING, "Rack"),
    ("*.RackId", STRING, "Rack"),
    ("*.IsInternal", BOOL, "IsInternal"),
    ("*.PartitionIndex", INT32, "Partition"),
    ("*.Records", RECORDS, "Records"),
    ("*.UnalignedRecords", RECORDS, "Records"),
    ("*.ClientHost", STRING, "ClientHost"),

    // Addresses of brokers in answers to clients.
    ("MetadataResponse.Brokers.NodeId", INT32, "NodeId"),
    ("MetadataResponse.Brokers.Host", STRING, "Host"),
    ("MetadataResponse.Brokers.Port", PORT, "Port"),
    ("MetadataResponse.ControllerId", INT32, "ControllerId"),
    ("FindCoordinatorResponse.NodeId", INT32, "NodeId"),
    ("FindCoordinatorResponse.Host", STRING, "Host"),
    ("FindCoordinatorResponse.Port", PORT, "Port"),
    ("FindCoordinatorResponse.Coordinators.NodeId", INT32, "NodeId"),
    ("FindCoordinatorResponse.Coordinators.Host", STRING, "Host"),
    ("FindCoordinatorResponse.Coordinators.Port", PORT, "Port"),
    ("DescribeClusterResponse.Brokers.BrokerId", INT32, "NodeId"),
    ("DescribeClusterResponse.Brokers.Host", STRING, "Host"),
    ("DescribeClusterResponse.Brokers.Port", PORT, "Port"),
    ("DescribeClusterResponse.ControllerId", INT32, "ControllerId"),
    ("ProduceResponse.NodeEndpoints.NodeId", INT32, "NodeId"),
    ("ProduceResponse.NodeEndpoints.Host", STRING, "Host"),
    ("ProduceResponse.NodeEndpoints.Port", PORT, "Port"),
    ("FetchResponse.NodeEndpoints.NodeId", INT32, "NodeId"),
    ("FetchResponse.NodeEndpoints.Host", STRING, "Host"),
    ("FetchResponse.NodeEndpoints.Port", PORT, "Port"),
    ("ShareFetchResponse.NodeEndpoints.NodeId", INT32, "NodeId"),
    ("ShareFetchResponse.NodeEndpoints.Host", STRING, "Host"),
    ("ShareFetchResponse.NodeEndpoints.Port", PORT, "Port"),
    ("ShareAcknowledgeResponse.NodeEndpoints.NodeId", INT32, "NodeId"),
    ("ShareAcknowledgeResponse.NodeEndpoints.Host", STRING, "Host"),
    ("ShareAcknowledgeResponse.NodeEndpoints.Port", PORT, "Port"),

    // Addresses that are not for clients: controllers, brokers among themselves.
    ("*.Listeners.Host", STRING, "InternalHost"),
    ("*.Listeners.Port", PORT, "InternalPort"),
    ("*.LeaderEndpoints.Host", STRING, "InternalHost"),
    ("*.LeaderEndpoints.Port", PORT, "InternalPort"),
    ("BeginQuorumEpochResponse.NodeEndpoints.Host", STRING, "InternalHost"),
    ("BeginQuorumEpochResponse.NodeEndpoints.Port", PORT, "InternalPort"),
    ("EndQuorumEpochResponse.NodeEndpoints.Host", STRING, "InternalHost"),
    ("EndQuorumEpochResponse.NodeEndpoints.Port", PORT, "InternalPort"),
    ("FetchSnapshotResponse.NodeEndpoints.Host", STRING, "InternalHost"),
    ("FetchSnapshotResponse.NodeEndpoints.Port", PORT, "InternalPort"),
    ("VoteResponse.NodeEndpoints.Host", STRING, "InternalHost"),
    ("VoteResponse.NodeEndpoints.Port", PORT, "InternalPort"),
    ("UpdateRaftVoterResponse.CurrentLeader.Host", STRING, "InternalHost"),
    ("UpdateRaftVoterResponse.CurrentLeader.Port", PORT, "InternalPort"),

    // Addresses of streams applications, given by themselves.
    ("*.UserEndpoint.Host", STRING, "ApplicationHost"),
    ("*.UserEndpoint.Port", PORT, "ApplicationPort"),

    // Coordinator look-up.
    ("FindCoordinatorRequest.Key", STRING, "CoordinatorKey"),
    ("FindCoordinatorRequest.CoordinatorKeys", STRING, "CoordinatorKey"),
    ("FindCoordinatorResponse.Coordinators.Key", STRING, "CoordinatorKey"),
    ("FindCoordinatorRequest.KeyType", INT8, "CoordinatorType"),

    // Groups: opaque bytes that hold topic names, patterns, ids the definitions do not mark.
    ("JoinGroupRequest.Protocols.Metadata", BYTES, "GroupSubscription"),
    ("JoinGroupResponse.Members.Metadata", BYTES, "GroupSubscription"),
    ("DescribeGroupsResponse.Groups.Members.MemberMetadata", BYTES, "GroupSubscription"),
    ("SyncGroupRequest.Assignments.Assignment", BYTES, "GroupAssignment"),
    ("SyncGroupResponse.Assignment", BYTES, "GroupAssignment"),
    ("DescribeGroupsResponse.Groups.Members.MemberAssignment", BYTES, "GroupAssignment"),
    ("*.ProtocolType", STRING, "GroupProtocolType"),
    ("*.SubscribedTopicRegex", STRING, "TopicPattern"),
    ("*.SourceTopicRegex", STRING, "TopicPattern"),
    ("*ShareGroupStateRequest.GroupId", STRING, "GroupId"),
    ("ReadShareGroupStateSummaryRequest.GroupId", STRING, "GroupId"),
    ("StreamsGroupHeartbeatResponse.Status.StatusDetail", STRING, "ErrorMessage"),
    ("ListTransactionsRequest.TransactionalIdPattern", STRING, "TransactionalIdPattern"),

    // Configs and ACLs.
    ("*.ResourceName", STRING, "ResourceName"),
    ("*.ResourceNameFilter", STRING, "ResourceName"),
    ("*.ResourceType", INT8, "ResourceType"),
    ("*.ResourceTypeFilter", INT8, "ResourceType"),
    ("ListConfigResourcesRequest.ResourceTypes", INT8, "ResourceType"),
    ("*PatternType", INT8, "PatternType"),
    ("*.PatternTypeFilter", INT8, "PatternType"),
    ("CreateAclsRequest.Creations.Host", STRING, "AclHost"),
    ("DescribeAclsResponse.Resources.Acls.Host", STRING, "AclHost"),
    ("DeleteAclsResponse.FilterResults.MatchingAcls.Host", STRING, "AclHost"),
    ("*.HostFilter", STRING, "AclHost"),

    // Principals, users, quota entities, secrets.
    ("*.Principal", STRING, "Principal"),
    ("*.PrincipalFilter", STRING, "Principal"),
    ("*PrincipalName", STRING, "Principal"),
    ("*.User", STRING, "Principal"),
    ("*.EntityName", STRING, "Principal"),
    ("DescribeClientQuotasRequest.Components.Match", STRING, "Principal"),
    ("DescribeUserScramCredentialsRequest.Users.Name", STRING, "Principal"),
    ("AlterUserScramCredentialsRequest.Deletions.Name", STRING, "Principal"),
    ("AlterUserScramCredentialsRequest.Upsertions.Name", STRING, "Principal"),
    ("AlterUserScramCredentialsRequest.Upsertions.Salt", BYTES, "Credential"),
    ("AlterUserScramCredentialsRequest.Upsertions.SaltedPassword", BYTES, "Credential"),
    ("*.Hmac", BYTES, "Credential"),
    ("*.AuthBytes", BYTES, "Credential"),

    // Who asks, and how.
    ("FetchRequest.ReplicaId", INT32, "ReplicaId"),
    ("FetchRequest.ReplicaState.ReplicaId", INT32, "ReplicaId"),
    ("FetchSnapshotRequest.ReplicaId", INT32, "ReplicaId"),
    ("ListOffsetsRequest.ReplicaId", INT32, "ReplicaId"),
    ("OffsetForLeaderEpochRequest.ReplicaId", INT32, "ReplicaId"),
    ("*.SessionId", INT32, "SessionId"),
    ("*SessionEpoch", INT32, "SessionEpoch"),
    ("ProduceRequest.Acks", INT16, "Acks"),
    ("MetadataRequest.AllowAutoTopicCreation", BOOL, "AllowAutoTopicCreation"),

    // Partitions under another name, beside records or topic names.
    ("ProduceRequest.TopicData.PartitionData.Index", INT32, "Partition"),
    ("ProduceResponse.Responses.PartitionResponses.Index", INT32, "Partition"),
    ("FetchRequest.Topics.Partitions.Partition", INT32, "Partition"),
    ("OffsetForLeaderEpochRequest.Topics.Partitions.Partition", INT32, "Partition"),
    ("OffsetForLeaderEpochResponse.Topics.Partitions.Partition", INT32, "Partition"),

    // Offsets that tell where a log ends, or how far a group has come.
    ("ProduceResponse.Responses.PartitionResponses.BaseOffset", INT64, "Offset"),
    ("FetchResponse.Responses.Partitions.HighWatermark", INT64, "Offset"),
    ("ListOffsetsResponse.Topics.Partitions.Offset", INT64, "Offset"),
    ("OffsetCommitRequest.Topics.Partitions.CommittedOffset", INT64, "Offset"),
    ("OffsetFetchResponse.Topics.Partitions.CommittedOffset", INT64, "Offset"),
    ("OffsetFetchResponse.Groups.Topics.Partitions.CommittedOffset", INT64, "Offset"),
    ("ListOffsetsRequest.Topics.Partitions.Timestamp", INT64, "OffsetQuery"),
    ("ListOffsetsRequest.IsolationLevel", INT8, "IsolationLevel"),

    // What else shows the inside of a broker or a client.
    ("DescribeLogDirsResponse.Results.LogDir", STRING, "LogDir"),
    ("AlterReplicaLogDirsRequest.Dirs.Path", STRING, "LogDir"),
    ("PushTelemetryRequest.Metrics", BYTES, "Telemetry"),
];

/// Sets the entity of every field: first what the definitions say, then the rules.
pub(crate) fn apply(apis: &mut BTreeMap<i16, Api>) -> Result<(), Error> {
    let mut used = vec![false; RULES.len()];
    for api in apis.values_mut() {
        for message in [api.request.as_mut(), api.response.as_mut()]
            .into_iter()
            .flatten()
        {
            if message.versions.is_none() {
                continue;
            }
            let name = message.name.clone();
            apply_to(&mut message.fields, &name, &mut used)?;
        }
    }
    match used.iter().position(|used| !used) {
        Some(unused) => Err(Error::UnusedOverride(RULES[unused].0.to_owned())),
        None => Ok(()),
    }
}

fn apply_to(fields: &mut [Field], parent: &str, used: &mut [bool]) -> Result<(), Error> {
    for field in fields {
        let path = format!("{parent}.{}", field.name);
        let problem = |problem: String| Error::Definition {
            place: path.clone(),
            problem,
        };
        if let Some(entity) = &field.entity {
            let known = ENTITY_TYPES.iter().find(|(name, _)| name == entity);
            let (_, entity) =
                known.ok_or_else(|| problem(format!("unknown entity type {entity}")))?;
            field.entity = Some((*entity).to_owned());
        }
        for ((pattern, types, entity), used) in RULES.iter().zip(used.iter_mut()) {
            let fits = types.contains(&field.ty.as_str());
            let matches = match pattern.strip_prefix('*') {
                Some(end) => fits && path.ends_with(end),
                None if *pattern == path && !fits => {
                    return Err(problem(format!("override does not expect {}", field.ty)));
                }
                None => *pattern == path,
            };
            if matches {
                field.entity = Some((*entity).to_owned());
                *used = true;
            }
        }
        if let Some(inner) = &mut field.fields {
            apply_to(inner, &path, used)?;
        }
    }
    Ok(())
}
