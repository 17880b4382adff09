//! What becomes of each API key in a virtual cluster. A test sees to it that every key of the schema table has a
//! rule, and that no field of the mapped ones is overlooked.

use wire::api::ApiKey;

/// What becomes of requests of one API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Names are mapped on the way up and on the way down.
    Mapped,
    /// Answered by the gateway or refused before it comes here: never forwarded.
    Never,
}

/// The rule of a key; `None` for one that has none, which is refused.
pub(crate) fn rule(api: ApiKey) -> Option<Rule> {
    Some(match api {
        ApiKey::PRODUCE
        | ApiKey::FETCH
        | ApiKey::LIST_OFFSETS
        | ApiKey::METADATA
        | ApiKey::OFFSET_COMMIT
        | ApiKey::OFFSET_FETCH
        | ApiKey::FIND_COORDINATOR
        | ApiKey::JOIN_GROUP
        | ApiKey::HEARTBEAT
        | ApiKey::LEAVE_GROUP
        | ApiKey::SYNC_GROUP
        | ApiKey::DESCRIBE_GROUPS
        | ApiKey::LIST_GROUPS
        | ApiKey::CREATE_TOPICS
        | ApiKey::DELETE_TOPICS
        | ApiKey::DELETE_RECORDS
        | ApiKey::INIT_PRODUCER_ID
        | ApiKey::OFFSET_FOR_LEADER_EPOCH
        | ApiKey::ADD_PARTITIONS_TO_TXN
        | ApiKey::ADD_OFFSETS_TO_TXN
        | ApiKey::END_TXN
        | ApiKey::TXN_OFFSET_COMMIT
        | ApiKey::DESCRIBE_CONFIGS
        | ApiKey::ALTER_CONFIGS
        | ApiKey::INCREMENTAL_ALTER_CONFIGS
        | ApiKey::CREATE_PARTITIONS
        | ApiKey::DELETE_GROUPS
        | ApiKey::OFFSET_DELETE
        | ApiKey::DESCRIBE_CLUSTER
        | ApiKey::DESCRIBE_PRODUCERS
        | ApiKey::DESCRIBE_TRANSACTIONS
        | ApiKey::LIST_TRANSACTIONS
        | ApiKey::CONSUMER_GROUP_HEARTBEAT
        | ApiKey::CONSUMER_GROUP_DESCRIBE
        | ApiKey::LIST_CONFIG_RESOURCES
        | ApiKey::DESCRIBE_TOPIC_PARTITIONS
        | ApiKey::SHARE_GROUP_HEARTBEAT
        | ApiKey::SHARE_GROUP_DESCRIBE
        | ApiKey::SHARE_FETCH
        | ApiKey::SHARE_ACKNOWLEDGE
        | ApiKey::STREAMS_GROUP_HEARTBEAT
        | ApiKey::STREAMS_GROUP_DESCRIBE
        | ApiKey::DESCRIBE_SHARE_GROUP_OFFSETS
        | ApiKey::ALTER_SHARE_GROUP_OFFSETS
        | ApiKey::DELETE_SHARE_GROUP_OFFSETS => Rule::Mapped,
        // About the gateway or the physical cluster.
        ApiKey::API_VERSIONS
        | ApiKey::SASL_HANDSHAKE
        | ApiKey::SASL_AUTHENTICATE
        | ApiKey::DESCRIBE_ACLS
        | ApiKey::CREATE_ACLS
        | ApiKey::DELETE_ACLS
        | ApiKey::CREATE_DELEGATION_TOKEN
        | ApiKey::RENEW_DELEGATION_TOKEN
        | ApiKey::EXPIRE_DELEGATION_TOKEN
        | ApiKey::DESCRIBE_DELEGATION_TOKEN
        | ApiKey::ALTER_REPLICA_LOG_DIRS
        | ApiKey::DESCRIBE_LOG_DIRS
        | ApiKey::ELECT_LEADERS
        | ApiKey::ALTER_PARTITION_REASSIGNMENTS
        | ApiKey::LIST_PARTITION_REASSIGNMENTS
        | ApiKey::DESCRIBE_CLIENT_QUOTAS
        | ApiKey::ALTER_CLIENT_QUOTAS
        | ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS
        | ApiKey::ALTER_USER_SCRAM_CREDENTIALS
        | ApiKey::DESCRIBE_QUORUM
        | ApiKey::UPDATE_FEATURES
        | ApiKey::UNREGISTER_BROKER
        | ApiKey::ADD_RAFT_VOTER
        | ApiKey::REMOVE_RAFT_VOTER
        | ApiKey::GET_TELEMETRY_SUBSCRIPTIONS
        | ApiKey::PUSH_TELEMETRY => Rule::Never,
        // Between brokers and controllers.
        ApiKey::WRITE_TXN_MARKERS
        | ApiKey::VOTE
        | ApiKey::BEGIN_QUORUM_EPOCH
        | ApiKey::END_QUORUM_EPOCH
        | ApiKey::ALTER_PARTITION
        | ApiKey::ENVELOPE
        | ApiKey::FETCH_SNAPSHOT
        | ApiKey::BROKER_REGISTRATION
        | ApiKey::BROKER_HEARTBEAT
        | ApiKey::CONTROLLER_REGISTRATION
        | ApiKey::ALLOCATE_PRODUCER_IDS
        | ApiKey::ASSIGN_REPLICAS_TO_DIRS
        | ApiKey::UPDATE_RAFT_VOTER
        | ApiKey::INITIALIZE_SHARE_GROUP_STATE
        | ApiKey::READ_SHARE_GROUP_STATE
        | ApiKey::WRITE_SHARE_GROUP_STATE
        | ApiKey::DELETE_SHARE_GROUP_STATE
        | ApiKey::READ_SHARE_GROUP_STATE_SUMMARY => Rule::Never,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use wire::api::{ApiKey, Direction};
    use wire::schema::{Entity, FieldSpec, FieldType};

    use super::{Rule, rule};

    #[test]
    fn every_key_of_the_table_has_a_rule() {
        for api in ApiKey::all() {
            assert!(rule(api).is_some(), "{api} has no rule");
        }
        assert_eq!(rule(ApiKey(999)), None);
    }

    /// Texts, bytes and ids without a meaning, of which somebody has thought that they are the client's own or nobody's.
    const HARMLESS: &[&str] = &[
        "Assignor", // of a member
        "AssignorName",
        "ClientId",
        "CommittedMetadata",
        "ConfigurationKeys",
        "Documentation",
        "GroupInstanceId",
        "GroupState",
        "GroupType",
        "InstanceId",
        "Key",    // of a tag of a streams client
        "Leader", // a member
        "MemberId",
        "Metadata", // of a committed offset
        "Name",     // of a configuration, of a protocol
        "ProcessId",
        "ProtocolName",
        "ProtocolData",
        "RackId",
        "ReplicaDirectoryId", // of a replica, which no client is
        "Reason",
        "ServerAssignor",
        "StateFilters",
        "StatesFilter",
        "SubtopologyId",
        "TransactionState",
        "TypesFilter",
        "UnknownStateFilters",
        "Value", // of a configuration
        "Group",
        "CopartitionGroups",
    ];

    /// What is mapped, removed, or meant for the client.
    const KNOWN: &[Entity] = &[
        Entity::TopicName,
        Entity::TopicId,
        Entity::TopicPattern,
        Entity::GroupId,
        Entity::TransactionalId,
        Entity::TransactionalIdPattern,
        Entity::CoordinatorKey,
        Entity::ResourceName,
        Entity::GroupProtocolType,
        Entity::GroupSubscription,
        Entity::GroupAssignment,
        Entity::Host,
        Entity::Rack,
        Entity::ApplicationHost,
        Entity::ClientHost,
        Entity::ClusterId,
        Entity::ErrorMessage,
        Entity::Records,
    ];

    #[test]
    fn no_field_of_a_mapped_key_is_overlooked() {
        let mut strange = Vec::new();
        for api in ApiKey::all().filter(|api| rule(*api) == Some(Rule::Mapped)) {
            let spec = api.spec().unwrap();
            for dir in [Direction::Request, Direction::Response] {
                look(&mut strange, api, spec.message(dir).fields);
            }
        }
        assert!(strange.is_empty(), "no rule for: {}", strange.join(", "));
    }

    fn look(strange: &mut Vec<String>, api: ApiKey, fields: &[FieldSpec]) {
        for spec in fields {
            match spec.ty {
                FieldType::Struct(inner) => look(strange, api, inner),
                FieldType::String | FieldType::Bytes | FieldType::Uuid | FieldType::Records => {
                    let harmless = spec.entity == Entity::None && HARMLESS.contains(&spec.name);
                    if !harmless && !KNOWN.contains(&spec.entity) {
                        strange.push(format!("{api} {} ({:?})", spec.name, spec.entity));
                    }
                }
                _ => {}
            }
        }
    }
}
