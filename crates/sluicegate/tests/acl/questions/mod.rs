//! What is asked, for each API key: requests that name what is allowed next to what is denied.
//!
//! A question leaves everything as it was, or does the same each time, so that it can be asked along both ways and by
//! everybody: it validates only, or is about members, producers and offsets that do not exist. That access is checked
//! before all that is part of what is compared.

mod admin;
mod groups;
mod topics;
mod transactions;

use serde_json::{Value, json};
use wire::api::ApiKey;

use crate::fixtures::State;
use crate::principals::{GONE, NAMES, PREFIXED_GONE};

/// What is done about an API key.
pub(crate) enum Coverage {
    /// It is compared.
    Asked(fn(&Asking<'_>) -> Vec<Question>),
    /// It is not, for this reason.
    Not(#[expect(dead_code, reason = "for the reader")] &'static str),
}

/// Who asks in which version.
pub(crate) struct Asking<'a> {
    pub(crate) api: ApiKey,
    pub(crate) version: i16,
    pub(crate) principal: &'a str,
    pub(crate) state: &'a State,
}

/// One request.
pub(crate) struct Question {
    pub(crate) node: i32,
    pub(crate) what: String,
    pub(crate) body: Value,
}

pub(crate) fn question(node: i32, what: impl Into<String>, body: Value) -> Question {
    Question {
        node,
        what: what.into(),
        body,
    }
}

/// Ids that no topic has.
const NO_TOPIC_IDS: [&str; 2] = [
    "42424242424242424242424242424242",
    "43434343434343434343434343434343",
];

impl Asking<'_> {
    /// Topics, each with these fields besides its name and id.
    fn topics(&self, name_field: &str, names: &[&str], fields: Value) -> Vec<Value> {
        let topic = |name: &&str| {
            let mut topic = fields.clone();
            topic[name_field] = json!(name);
            topic
        };
        names.iter().map(topic).collect()
    }

    /// [`Asking::topics`] where the API knows ids too.
    fn topics_with_ids(&self, name_field: &str, names: &[&str], fields: Value) -> Vec<Value> {
        let mut topics = self.topics(name_field, names, fields);
        for (topic, name) in topics.iter_mut().zip(names) {
            topic["TopicId"] = self.id(name);
        }
        topics
    }

    fn id(&self, name: &str) -> Value {
        let [gone, prefixed_gone] = NO_TOPIC_IDS;
        match self.state.ids.get(name) {
            Some(id) => id.as_str().into(),
            None if name == PREFIXED_GONE => prefixed_gone.into(),
            None => gone.into(),
        }
    }
}

/// [`NAMES`] and names that are nowhere.
fn all_names() -> Vec<&'static str> {
    NAMES.into_iter().chain([PREFIXED_GONE, GONE]).collect()
}

/// What is done about `api`; `None` fails the test.
pub(crate) fn coverage(api: ApiKey) -> Option<Coverage> {
    use Coverage::{Asked, Not};
    Some(match api {
        ApiKey::PRODUCE => Asked(topics::produce),
        ApiKey::FETCH => Asked(topics::fetch),
        ApiKey::LIST_OFFSETS => Asked(topics::list_offsets),
        ApiKey::METADATA => Asked(topics::metadata),
        ApiKey::OFFSET_FOR_LEADER_EPOCH => Asked(topics::leader_epoch),
        ApiKey::DELETE_RECORDS => Asked(topics::delete_records),
        ApiKey::DESCRIBE_PRODUCERS => Asked(topics::describe_producers),
        ApiKey::DESCRIBE_TOPIC_PARTITIONS => Asked(topics::describe_partitions),
        ApiKey::CREATE_TOPICS => Asked(topics::create),
        ApiKey::DELETE_TOPICS => Asked(topics::delete),
        ApiKey::CREATE_PARTITIONS => Asked(topics::create_partitions),
        ApiKey::ELECT_LEADERS => Asked(topics::elect_leaders),
        ApiKey::ALTER_PARTITION_REASSIGNMENTS => Asked(topics::reassign),
        ApiKey::LIST_PARTITION_REASSIGNMENTS => Asked(topics::list_reassignments),
        ApiKey::DESCRIBE_LOG_DIRS => Asked(topics::describe_log_dirs),
        ApiKey::ALTER_REPLICA_LOG_DIRS => Asked(topics::alter_log_dirs),

        ApiKey::OFFSET_COMMIT => Asked(groups::offset_commit),
        ApiKey::OFFSET_FETCH => Asked(groups::offset_fetch),
        ApiKey::OFFSET_DELETE => Asked(groups::offset_delete),
        ApiKey::FIND_COORDINATOR => Asked(groups::find_coordinator),
        ApiKey::JOIN_GROUP => Asked(groups::join),
        ApiKey::SYNC_GROUP => Asked(groups::sync),
        ApiKey::HEARTBEAT => Asked(groups::heartbeat),
        ApiKey::LEAVE_GROUP => Asked(groups::leave),
        ApiKey::LIST_GROUPS => Asked(groups::list),
        ApiKey::DELETE_GROUPS => Asked(groups::delete),
        ApiKey::DESCRIBE_GROUPS => Asked(groups::describe_classic),
        ApiKey::CONSUMER_GROUP_DESCRIBE
        | ApiKey::SHARE_GROUP_DESCRIBE
        | ApiKey::STREAMS_GROUP_DESCRIBE => Asked(groups::describe),
        ApiKey::CONSUMER_GROUP_HEARTBEAT => Asked(groups::consumer_heartbeat),
        ApiKey::SHARE_GROUP_HEARTBEAT => Asked(groups::share_heartbeat),
        ApiKey::STREAMS_GROUP_HEARTBEAT => Asked(groups::streams_heartbeat),
        ApiKey::SHARE_FETCH => Asked(groups::share_fetch),
        ApiKey::SHARE_ACKNOWLEDGE => Asked(groups::share_acknowledge),
        ApiKey::DESCRIBE_SHARE_GROUP_OFFSETS => Asked(groups::describe_share_offsets),
        ApiKey::ALTER_SHARE_GROUP_OFFSETS => Asked(groups::alter_share_offsets),
        ApiKey::DELETE_SHARE_GROUP_OFFSETS => Asked(groups::delete_share_offsets),

        ApiKey::INIT_PRODUCER_ID => Asked(transactions::init_producer_id),
        ApiKey::ADD_PARTITIONS_TO_TXN => Asked(transactions::add_partitions),
        ApiKey::ADD_OFFSETS_TO_TXN => Asked(transactions::add_offsets),
        ApiKey::END_TXN => Asked(transactions::end),
        ApiKey::TXN_OFFSET_COMMIT => Asked(transactions::offset_commit),
        ApiKey::DESCRIBE_TRANSACTIONS => Asked(transactions::describe),
        ApiKey::LIST_TRANSACTIONS => Asked(transactions::list),

        ApiKey::DESCRIBE_CLUSTER => Asked(admin::describe_cluster),
        ApiKey::DESCRIBE_QUORUM => Asked(admin::describe_quorum),
        ApiKey::UPDATE_FEATURES => Asked(admin::update_features),
        ApiKey::UNREGISTER_BROKER => Asked(admin::unregister_broker),
        ApiKey::ADD_RAFT_VOTER | ApiKey::REMOVE_RAFT_VOTER => Asked(admin::raft_voter),
        ApiKey::DESCRIBE_CONFIGS => Asked(admin::describe_configs),
        ApiKey::ALTER_CONFIGS | ApiKey::INCREMENTAL_ALTER_CONFIGS => Asked(admin::alter_configs),
        ApiKey::LIST_CONFIG_RESOURCES => Asked(admin::list_resources),
        ApiKey::DESCRIBE_CLIENT_QUOTAS => Asked(admin::describe_quotas),
        ApiKey::ALTER_CLIENT_QUOTAS => Asked(admin::alter_quotas),
        ApiKey::DESCRIBE_USER_SCRAM_CREDENTIALS => Asked(admin::describe_scram),
        ApiKey::ALTER_USER_SCRAM_CREDENTIALS => Asked(admin::alter_scram),
        ApiKey::DESCRIBE_ACLS => Asked(admin::describe_acls),
        ApiKey::CREATE_ACLS => Asked(admin::create_acls),
        ApiKey::DELETE_ACLS => Asked(admin::delete_acls),

        ApiKey::API_VERSIONS | ApiKey::SASL_HANDSHAKE | ApiKey::SASL_AUTHENTICATE => {
            Not("asked before anybody is known; tests/differential and tests/security have it")
        }
        ApiKey::CREATE_DELEGATION_TOKEN
        | ApiKey::RENEW_DELEGATION_TOKEN
        | ApiKey::EXPIRE_DELEGATION_TOKEN
        | ApiKey::DESCRIBE_DELEGATION_TOKEN => {
            Not("not offered: a token would be one of the gateway's own principal")
        }
        ApiKey::GET_TELEMETRY_SUBSCRIPTIONS | ApiKey::PUSH_TELEMETRY => {
            Not("not offered: client metrics would go to the operators of the brokers")
        }
        ApiKey::WRITE_TXN_MARKERS
        | ApiKey::INITIALIZE_SHARE_GROUP_STATE
        | ApiKey::READ_SHARE_GROUP_STATE
        | ApiKey::WRITE_SHARE_GROUP_STATE
        | ApiKey::DELETE_SHARE_GROUP_STATE
        | ApiKey::READ_SHARE_GROUP_STATE_SUMMARY => Not("not offered: between brokers"),
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
        | ApiKey::UPDATE_RAFT_VOTER => Not("only controllers serve it"),
        _ => return None,
    })
}
