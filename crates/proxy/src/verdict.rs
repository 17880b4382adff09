//! What happens to a request, decided from its API key and version alone.

use wire::api::ApiKey;

use crate::cluster::Offered;
use crate::peek::Peek;

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send it to the broker; its answer gets this treatment.
    Forward(Treatment),
    /// The gateway answers ApiVersions itself.
    ApiVersions,
    /// SASL on a listener without SASL; never forwarded, it would re-authenticate the gateway's own session.
    Sasl,
    /// Not offered to clients.
    Refuse,
}

/// What to do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// The bytes pass through.
    Pass,
    /// It carries broker addresses and is small: held as a whole and rewritten.
    Addresses,
    /// It may be large and ends with broker addresses: streams, only its end is looked at (KIP-951).
    Tail,
}

/// Decides about a request of `api` in `version`.
pub(crate) fn judge(offered: &Offered, api: ApiKey, version: i16) -> Verdict {
    match api {
        ApiKey::API_VERSIONS => Verdict::ApiVersions,
        ApiKey::SASL_HANDSHAKE | ApiKey::SASL_AUTHENTICATE => Verdict::Sasl,
        _ if offered.allows(api, version) => Verdict::Forward(treatment(api, version)),
        _ => Verdict::Refuse,
    }
}

fn treatment(api: ApiKey, version: i16) -> Treatment {
    match api {
        ApiKey::METADATA
        | ApiKey::FIND_COORDINATOR
        | ApiKey::DESCRIBE_CLUSTER
        | ApiKey::SHARE_ACKNOWLEDGE
        | ApiKey::DESCRIBE_CONFIGS => Treatment::Addresses,
        ApiKey::PRODUCE if version >= 10 => Treatment::Addresses,
        ApiKey::DESCRIBE_QUORUM if version >= 2 => Treatment::Addresses,
        ApiKey::FETCH if version >= 16 => Treatment::Tail,
        ApiKey::SHARE_FETCH => Treatment::Tail,
        _ => Treatment::Pass,
    }
}

/// Whether the answer depends on the broker that was asked, and would be plausible but wrong from another one.
pub(crate) fn is_broker_bound(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::LIST_GROUPS
            | ApiKey::LIST_TRANSACTIONS
            | ApiKey::DESCRIBE_LOG_DIRS
            | ApiKey::ALTER_REPLICA_LOG_DIRS
            | ApiKey::DESCRIBE_PRODUCERS
    )
}

/// Whether a request may share an upstream connection with other clients. A broker handles the requests of a connection
/// one by one, so that all behind one that waits wait, too: for replicas (Produce with `acks=-1`, and whatever the
/// coordinator of a group answers only when what it has written before is replicated), for a point in time, or for another
/// broker. What changes topics and rights, and what hangs on the state of a connection, is not shared either.
pub(crate) fn is_shared(api: ApiKey, peeked: &Peek) -> bool {
    match api {
        ApiKey::PRODUCE => {
            peeked.expects_answer && !peeked.is_transactional && !peeked.needs_replicas
        }
        _ => matches!(
            api,
            ApiKey::LIST_OFFSETS
                | ApiKey::METADATA
                | ApiKey::FIND_COORDINATOR
                | ApiKey::DESCRIBE_GROUPS
                | ApiKey::LIST_GROUPS
                | ApiKey::OFFSET_FOR_LEADER_EPOCH
                | ApiKey::DESCRIBE_CONFIGS
                | ApiKey::DESCRIBE_CLUSTER
                | ApiKey::DESCRIBE_TOPIC_PARTITIONS
                | ApiKey::CONSUMER_GROUP_DESCRIBE
        ),
    }
}

/// Whether the broker answers without waiting for anything but replicas: such a request does not keep those
/// behind it waiting until the session has ended.
pub(crate) fn is_answered_at_once(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::PRODUCE
            | ApiKey::LIST_OFFSETS
            | ApiKey::METADATA
            | ApiKey::OFFSET_COMMIT
            | ApiKey::OFFSET_FETCH
            | ApiKey::FIND_COORDINATOR
            | ApiKey::HEARTBEAT
            | ApiKey::LEAVE_GROUP
            | ApiKey::DESCRIBE_GROUPS
            | ApiKey::LIST_GROUPS
            | ApiKey::INIT_PRODUCER_ID
            | ApiKey::OFFSET_FOR_LEADER_EPOCH
            | ApiKey::DESCRIBE_CONFIGS
            | ApiKey::DESCRIBE_CLUSTER
            | ApiKey::DESCRIBE_TOPIC_PARTITIONS
            | ApiKey::CONSUMER_GROUP_HEARTBEAT
            | ApiKey::CONSUMER_GROUP_DESCRIBE
    )
}

#[cfg(test)]
mod tests {
    use wire::api::Direction;
    use wire::plan::{Interest, Plan};
    use wire::schema::Entity;

    use super::*;

    /// The table is the authority: an answer with an address in it must not pass through untouched.
    #[test]
    fn every_answer_with_addresses_is_treated() {
        let addresses = Interest::of(&[
            Entity::Host,
            Entity::Port,
            Entity::InternalHost,
            Entity::InternalPort,
        ]);
        for api in ApiKey::all() {
            let spec = api.spec().unwrap();
            if !spec.listeners.broker {
                continue; // never offered
            }
            for version in spec.min_version..=spec.max_version {
                let plan = Plan::compile(api, version, Direction::Response, addresses).unwrap();
                // Configuration values are addresses by their names only.
                let by_name = api == ApiKey::DESCRIBE_CONFIGS;
                assert_eq!(
                    plan.is_interested() || by_name,
                    treatment(api, version) != Treatment::Pass,
                    "{} v{version}",
                    api.name()
                );
            }
        }
    }
}
