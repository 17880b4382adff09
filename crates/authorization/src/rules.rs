//! Which rule an API key falls under, after Kafka's own table of operations. A test sees to it that every key of the schema table has one.

use auth::acl::Operation;
use wire::api::ApiKey;
use wire::error_code::{CLUSTER_AUTHORIZATION_FAILED, DELEGATION_TOKEN_AUTH_DISABLED};

use crate::request::Request;
use crate::ruling::{Error, Ruling};
use crate::{
    acls, cluster, configs, coordinator, describe, fetch, groups, metadata, offsets, produce,
    share, topic_admin, topics, transactions,
};

/// What a key's requests are judged by.
#[derive(Clone, Copy)]
pub(crate) enum Rule {
    /// Between brokers, or answered by the gateway before any ruling: never forwarded.
    Closed,
    /// Nothing to check.
    Open,
    /// Refused to everybody.
    Refused(i16),
    /// Forwarded if the operation on the cluster is allowed, else refused with the code.
    Cluster(Operation, i16),
    /// Looked into, unless everything is allowed anyway.
    Allowed(Judge),
    /// Looked into even if everything is allowed.
    Always(Judge),
}

type Judge = fn(&Request<'_>) -> Result<Ruling, Error>;

/// The rule of a key; `None` for one that has none, which is then refused like [`Rule::Closed`].
pub(crate) fn rule(api: ApiKey) -> Option<Rule> {
    use Operation::{Alter, AlterConfigs, Describe, DescribeConfigs};
    use Rule::{Allowed, Always, Closed, Open, Refused};
    let cluster = |operation| Rule::Cluster(operation, CLUSTER_AUTHORIZATION_FAILED);
    Some(match api {
        ApiKey::PRODUCE => Allowed(produce::judge),
        ApiKey::FETCH => Always(fetch::judge),
        ApiKey::LIST_OFFSETS | ApiKey::OFFSET_FOR_LEADER_EPOCH => Always(topics::judge_replica),
        ApiKey::METADATA => Always(metadata::judge),
        ApiKey::OFFSET_COMMIT => Allowed(offsets::commit),
        ApiKey::OFFSET_FETCH => Allowed(offsets::fetch),
        ApiKey::OFFSET_DELETE => Allowed(offsets::delete),
        ApiKey::FIND_COORDINATOR => Allowed(coordinator::judge),
        ApiKey::JOIN_GROUP | ApiKey::HEARTBEAT | ApiKey::LEAVE_GROUP | ApiKey::SYNC_GROUP => {
            Allowed(groups::member)
        }
        ApiKey::CONSUMER_GROUP_HEARTBEAT | ApiKey::SHARE_GROUP_HEARTBEAT => {
            Allowed(groups::heartbeat)
        }
        ApiKey::STREAMS_GROUP_HEARTBEAT => Allowed(groups::streams_heartbeat),
        ApiKey::LIST_GROUPS => Allowed(groups::list),
        ApiKey::DELETE_GROUPS => Allowed(groups::delete),
        ApiKey::DESCRIBE_GROUPS
        | ApiKey::CONSUMER_GROUP_DESCRIBE
        | ApiKey::SHARE_GROUP_DESCRIBE
        | ApiKey::STREAMS_GROUP_DESCRIBE => Always(describe::groups),
        ApiKey::DESCRIBE_TOPIC_PARTITIONS => Always(describe::topic_partitions),
        ApiKey::CREATE_TOPICS => Allowed(topic_admin::create),
        ApiKey::DELETE_TOPICS => Allowed(topic_admin::delete),
        ApiKey::CREATE_PARTITIONS => Allowed(topic_admin::create_partitions),
        ApiKey::DELETE_RECORDS | ApiKey::DESCRIBE_PRODUCERS => Allowed(topics::judge),
        ApiKey::INIT_PRODUCER_ID => Allowed(transactions::init_producer_id),
        ApiKey::ADD_PARTITIONS_TO_TXN => Allowed(transactions::add_partitions),
        ApiKey::ADD_OFFSETS_TO_TXN | ApiKey::END_TXN => Allowed(transactions::whole),
        ApiKey::TXN_OFFSET_COMMIT => Allowed(transactions::offset_commit),
        ApiKey::WRITE_TXN_MARKERS => Allowed(transactions::markers),
        ApiKey::DESCRIBE_TRANSACTIONS => Allowed(transactions::describe),
        ApiKey::LIST_TRANSACTIONS => Allowed(transactions::list),
        ApiKey::DESCRIBE_ACLS | ApiKey::CREATE_ACLS | ApiKey::DELETE_ACLS => Always(acls::judge),
        ApiKey::DESCRIBE_CONFIGS | ApiKey::ALTER_CONFIGS | ApiKey::INCREMENTAL_ALTER_CONFIGS => {
            Allowed(configs::judge)
        }
        ApiKey::DESCRIBE_CLUSTER => Always(cluster::describe),
        ApiKey::SHARE_FETCH | ApiKey::SHARE_ACKNOWLEDGE => Allowed(share::judge),
        ApiKey::DESCRIBE_SHARE_GROUP_OFFSETS => Allowed(share::describe_offsets),
        ApiKey::ALTER_SHARE_GROUP_OFFSETS | ApiKey::DELETE_SHARE_GROUP_OFFSETS => {
            Allowed(share::change_offsets)
        }
        ApiKey::ALTER_REPLICA_LOG_DIRS
        | ApiKey::ELECT_LEADERS
        | ApiKey::ALTER_PARTITION_REASSIGNMENTS
        | ApiKey::ALTER_USER_SCRAM_CREDENTIALS
        | ApiKey::UPDATE_FEATURES
        | ApiKey::UNREGISTER_BROKER
        | ApiKey::ADD_RAFT_VOTER
        | ApiKey::REMOVE_RAFT_VOTER => cluster(Alter),
        ApiKey::DESCRIBE_LOG_DIRS
        | ApiKey::LIST_PARTITION_REASSIGNMENTS
        | ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS
        | ApiKey::DESCRIBE_QUORUM => cluster(Describe),
        ApiKey::DESCRIBE_CLIENT_QUOTAS | ApiKey::LIST_CONFIG_RESOURCES => cluster(DescribeConfigs),
        ApiKey::ALTER_CLIENT_QUOTAS => cluster(AlterConfigs),
        ApiKey::GET_TELEMETRY_SUBSCRIPTIONS | ApiKey::PUSH_TELEMETRY => Open,
        ApiKey::CREATE_DELEGATION_TOKEN
        | ApiKey::RENEW_DELEGATION_TOKEN
        | ApiKey::EXPIRE_DELEGATION_TOKEN
        | ApiKey::DESCRIBE_DELEGATION_TOKEN => Refused(DELEGATION_TOKEN_AUTH_DISABLED),
        ApiKey::API_VERSIONS
        | ApiKey::SASL_HANDSHAKE
        | ApiKey::SASL_AUTHENTICATE
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
        | ApiKey::READ_SHARE_GROUP_STATE_SUMMARY => Closed,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use wire::api::ApiKey;

    use super::rule;

    #[test]
    fn every_key_of_the_table_has_a_rule() {
        for api in ApiKey::all() {
            assert!(rule(api).is_some(), "{api} has no rule");
        }
    }

    #[test]
    fn any_other_key_has_none() {
        let known: Vec<i16> = ApiKey::all().map(|api| api.0).collect();
        for key in (i16::MIN..=i16::MAX).filter(|key| !known.contains(key)) {
            assert!(rule(ApiKey(key)).is_none(), "{key}");
        }
    }
}
