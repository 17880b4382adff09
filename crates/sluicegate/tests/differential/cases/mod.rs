//! The cases, one function for each API key, and the keys that need none.

mod cluster;
mod configs;
pub(crate) mod fetch;
mod groups;
mod metadata;
mod modern_groups;
mod offsets;
mod produce;
mod security;
mod share_groups;
mod topics;
mod transactions;

use wire::api::ApiKey;

use crate::world::Script;

/// What is done about an API key.
#[derive(Clone, Copy)]
pub(crate) enum Coverage {
    /// It is compared.
    Case(Case),
    /// It is not offered, for this reason; [`crate::refused`] checks that.
    Refused(&'static str),
}

/// How an API key is compared.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) area: Area,
    /// It changes nothing and may look at the whole cluster; see [`crate::world::World::compare_readings`].
    pub(crate) reads: bool,
    pub(crate) script: Script,
}

/// Cases that one test runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Area {
    Records,
    Groups,
    Transactions,
    Administration,
}

/// What is done about `api`; `None` fails the test.
pub(crate) fn coverage(api: ApiKey) -> Option<Coverage> {
    use Area::{Administration, Groups, Records, Transactions};
    let reads = |area, script| case(area, true, script);
    let changes = |area, script| case(area, false, script);
    Some(match api {
        ApiKey::PRODUCE => changes(Records, produce::produce),
        ApiKey::FETCH => reads(Records, fetch::fetch),
        ApiKey::LIST_OFFSETS => reads(Records, offsets::list_offsets),
        ApiKey::OFFSET_FOR_LEADER_EPOCH => reads(Records, offsets::offset_for_leader_epoch),
        ApiKey::DELETE_RECORDS => changes(Records, offsets::delete_records),
        ApiKey::METADATA => reads(Records, metadata::metadata),
        ApiKey::DESCRIBE_TOPIC_PARTITIONS => reads(Records, metadata::describe_topic_partitions),

        ApiKey::OFFSET_COMMIT => changes(Groups, groups::offset_commit),
        ApiKey::OFFSET_FETCH => changes(Groups, groups::offset_fetch),
        ApiKey::OFFSET_DELETE => changes(Groups, groups::offset_delete),
        ApiKey::FIND_COORDINATOR => reads(Groups, groups::find_coordinator),
        ApiKey::JOIN_GROUP => changes(Groups, groups::join_group),
        ApiKey::SYNC_GROUP => changes(Groups, groups::sync_group),
        ApiKey::HEARTBEAT => changes(Groups, groups::heartbeat),
        ApiKey::LEAVE_GROUP => changes(Groups, groups::leave_group),
        ApiKey::DESCRIBE_GROUPS => changes(Groups, groups::describe_groups),
        ApiKey::LIST_GROUPS => reads(Groups, groups::list_groups),
        ApiKey::DELETE_GROUPS => changes(Groups, groups::delete_groups),
        ApiKey::CONSUMER_GROUP_HEARTBEAT => changes(Groups, modern_groups::consumer_heartbeat),
        ApiKey::CONSUMER_GROUP_DESCRIBE => changes(Groups, modern_groups::consumer_describe),
        ApiKey::STREAMS_GROUP_HEARTBEAT => changes(Groups, modern_groups::streams_heartbeat),
        ApiKey::STREAMS_GROUP_DESCRIBE => changes(Groups, modern_groups::streams_describe),
        ApiKey::SHARE_GROUP_HEARTBEAT => changes(Groups, share_groups::heartbeat),
        ApiKey::SHARE_GROUP_DESCRIBE => changes(Groups, share_groups::describe),
        ApiKey::SHARE_FETCH => changes(Groups, share_groups::fetch),
        ApiKey::SHARE_ACKNOWLEDGE => changes(Groups, share_groups::acknowledge),
        ApiKey::DESCRIBE_SHARE_GROUP_OFFSETS => changes(Groups, share_groups::describe_offsets),
        ApiKey::ALTER_SHARE_GROUP_OFFSETS => changes(Groups, share_groups::alter_offsets),
        ApiKey::DELETE_SHARE_GROUP_OFFSETS => changes(Groups, share_groups::delete_offsets),

        ApiKey::INIT_PRODUCER_ID => changes(Transactions, transactions::init_producer_id),
        ApiKey::ADD_PARTITIONS_TO_TXN => changes(Transactions, transactions::add_partitions),
        ApiKey::ADD_OFFSETS_TO_TXN => changes(Transactions, transactions::add_offsets),
        ApiKey::END_TXN => changes(Transactions, transactions::end),
        ApiKey::TXN_OFFSET_COMMIT => changes(Transactions, transactions::offset_commit),
        ApiKey::DESCRIBE_PRODUCERS => changes(Transactions, transactions::describe_producers),
        ApiKey::DESCRIBE_TRANSACTIONS => changes(Transactions, transactions::describe),
        ApiKey::LIST_TRANSACTIONS => reads(Transactions, transactions::list),

        ApiKey::API_VERSIONS => reads(Administration, cluster::api_versions),
        ApiKey::DESCRIBE_CLUSTER => reads(Administration, cluster::describe_cluster),
        ApiKey::DESCRIBE_QUORUM => reads(Administration, cluster::describe_quorum),
        ApiKey::UPDATE_FEATURES => changes(Administration, cluster::update_features),
        ApiKey::UNREGISTER_BROKER => changes(Administration, cluster::unregister_broker),
        ApiKey::ADD_RAFT_VOTER => changes(Administration, cluster::add_raft_voter),
        ApiKey::REMOVE_RAFT_VOTER => changes(Administration, cluster::remove_raft_voter),
        ApiKey::DESCRIBE_LOG_DIRS => reads(Administration, cluster::describe_log_dirs),
        ApiKey::ALTER_REPLICA_LOG_DIRS => changes(Administration, cluster::alter_log_dirs),
        ApiKey::CREATE_TOPICS => changes(Administration, topics::create),
        ApiKey::DELETE_TOPICS => changes(Administration, topics::delete),
        ApiKey::CREATE_PARTITIONS => changes(Administration, topics::create_partitions),
        ApiKey::ELECT_LEADERS => changes(Administration, topics::elect_leaders),
        ApiKey::ALTER_PARTITION_REASSIGNMENTS => changes(Administration, topics::reassign),
        ApiKey::LIST_PARTITION_REASSIGNMENTS => reads(Administration, topics::list_reassignments),
        ApiKey::DESCRIBE_CONFIGS => reads(Administration, configs::describe),
        ApiKey::ALTER_CONFIGS => changes(Administration, configs::alter),
        ApiKey::INCREMENTAL_ALTER_CONFIGS => changes(Administration, configs::incremental_alter),
        ApiKey::LIST_CONFIG_RESOURCES => reads(Administration, configs::list_resources),
        ApiKey::DESCRIBE_CLIENT_QUOTAS => changes(Administration, configs::describe_quotas),
        ApiKey::ALTER_CLIENT_QUOTAS => changes(Administration, configs::alter_quotas),
        ApiKey::DESCRIBE_ACLS => reads(Administration, security::describe_acls),
        ApiKey::CREATE_ACLS => changes(Administration, security::create_acls),
        ApiKey::DELETE_ACLS => changes(Administration, security::delete_acls),
        ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS => {
            changes(Administration, security::describe_scram)
        }
        ApiKey::ALTER_USER_SCRAM_CREDENTIALS => changes(Administration, security::alter_scram),
        ApiKey::SASL_HANDSHAKE => reads(Administration, security::sasl_handshake),
        ApiKey::SASL_AUTHENTICATE => reads(Administration, security::sasl_authenticate),

        ApiKey::CREATE_DELEGATION_TOKEN
        | ApiKey::RENEW_DELEGATION_TOKEN
        | ApiKey::EXPIRE_DELEGATION_TOKEN
        | ApiKey::DESCRIBE_DELEGATION_TOKEN => {
            Coverage::Refused("a token would be one of the gateway's own principal")
        }
        ApiKey::GET_TELEMETRY_SUBSCRIPTIONS | ApiKey::PUSH_TELEMETRY => {
            Coverage::Refused("client metrics would go to the operators of the brokers")
        }
        ApiKey::WRITE_TXN_MARKERS
        | ApiKey::INITIALIZE_SHARE_GROUP_STATE
        | ApiKey::READ_SHARE_GROUP_STATE
        | ApiKey::WRITE_SHARE_GROUP_STATE
        | ApiKey::DELETE_SHARE_GROUP_STATE
        | ApiKey::READ_SHARE_GROUP_STATE_SUMMARY => Coverage::Refused("between brokers"),
        ApiKey::VOTE
        | ApiKey::BEGIN_QUORUM_EPOCH
        | ApiKey::END_QUORUM_EPOCH
        | ApiKey::ALTER_PARTITION
        | ApiKey::ENVELOPE
        | ApiKey::FETCH_SNAPSHOT
        | ApiKey::BROKER_REGISTRATION
        | ApiKey::BROKER_HEARTBEAT
        | ApiKey::ALLOCATE_PRODUCER_IDS
        | ApiKey::CONTROLLER_REGISTRATION
        | ApiKey::ASSIGN_REPLICAS_TO_DIRS
        | ApiKey::UPDATE_RAFT_VOTER => Coverage::Refused("only controllers serve it"),
        _ => return None,
    })
}

fn case(area: Area, reads: bool, script: Script) -> Coverage {
    Coverage::Case(Case {
        area,
        reads,
        script,
    })
}
