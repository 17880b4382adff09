//! Error codes of the protocol that a gateway gives or looks for.

/// The broker failed in a way the protocol has no code for.
pub const UNKNOWN_SERVER_ERROR: i16 = -1;
/// No error.
pub const NONE: i16 = 0;
/// A fetch offset is out of range.
pub const OFFSET_OUT_OF_RANGE: i16 = 1;
/// A record batch fails its checksum or cannot be read.
pub const CORRUPT_MESSAGE: i16 = 2;
/// No such topic or partition.
pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
/// The partition has no leader at the moment.
pub const LEADER_NOT_AVAILABLE: i16 = 5;
/// The broker is not the leader or not a replica.
pub const NOT_LEADER_OR_FOLLOWER: i16 = 6;
/// The request timed out.
pub const REQUEST_TIMED_OUT: i16 = 7;
/// The broker is not available.
pub const BROKER_NOT_AVAILABLE: i16 = 8;
/// The connection ended before a response.
pub const NETWORK_EXCEPTION: i16 = 13;
/// The coordinator is loading.
pub const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
/// The coordinator is not available.
pub const COORDINATOR_NOT_AVAILABLE: i16 = 15;
/// This broker is not the coordinator.
pub const NOT_COORDINATOR: i16 = 16;
/// The topic name is not valid.
pub const INVALID_TOPIC_EXCEPTION: i16 = 17;
/// The group id is not valid.
pub const INVALID_GROUP_ID: i16 = 24;
/// The group has no such member.
pub const UNKNOWN_MEMBER_ID: i16 = 25;
/// Not authorised for the topic.
pub const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
/// Not authorised for the group.
pub const GROUP_AUTHORIZATION_FAILED: i16 = 30;
/// Not authorised for the cluster.
pub const CLUSTER_AUTHORIZATION_FAILED: i16 = 31;
/// The SASL mechanism is not enabled.
pub const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
/// The request does not fit the state of the connection's SASL exchange.
pub const ILLEGAL_SASL_STATE: i16 = 34;
/// The version is not supported.
pub const UNSUPPORTED_VERSION: i16 = 35;
/// A topic of that name exists.
pub const TOPIC_ALREADY_EXISTS: i16 = 36;
/// The number of partitions is not valid.
pub const INVALID_PARTITIONS: i16 = 37;
/// The replication factor is not valid.
pub const INVALID_REPLICATION_FACTOR: i16 = 38;
/// A configuration is not valid.
pub const INVALID_CONFIG: i16 = 40;
/// The broker is not the controller.
pub const NOT_CONTROLLER: i16 = 41;
/// The request is not valid.
pub const INVALID_REQUEST: i16 = 42;
/// A policy refuses the request.
pub const POLICY_VIOLATION: i16 = 44;
/// Not authorised for the transactional id.
pub const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
/// Security features are off.
pub const SECURITY_DISABLED: i16 = 54;
/// SASL authentication failed.
pub const SASL_AUTHENTICATION_FAILED: i16 = 58;
/// Delegation tokens are off.
pub const DELEGATION_TOKEN_AUTH_DISABLED: i16 = 61;
/// No such fetch session.
pub const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
/// Topics are not deleted here.
pub const TOPIC_DELETION_DISABLED: i16 = 73;
/// No such topic id.
pub const UNKNOWN_TOPIC_ID: i16 = 100;
/// Brokers or controllers were asked for on a listener of the other kind.
pub const MISMATCHED_ENDPOINT_TYPE: i16 = 114;
/// The regular expression cannot be used.
pub const INVALID_REGULAR_EXPRESSION: i16 = 128;
