//! Requests to state to responses, one file per group of API keys.

mod admin;
mod configs;
mod describe;
mod fetch;
mod fetch_response;
mod find_coordinator;
mod groups;
mod metadata;
mod offsets;
mod partitions;
mod produce;
mod topics;
mod transactions;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

use crate::cluster::Cluster;
use crate::codec::{self, Frame, Refusal};

/// API key of ApiVersions.
pub(crate) const API_VERSIONS: i16 = 18;

/// (API key, lowest version, highest version) of everything served. Transactions stay at the versions before KIP-890, as no finalized feature
/// `transaction.version` is shown.
const SERVED: &[(i16, i16, i16)] = &[
    (0, 3, 13),
    (1, 4, 18),
    (2, 1, 10),
    (3, 0, 13),
    (8, 2, 9),
    (9, 1, 9),
    (10, 0, 6),
    (11, 0, 9),
    (12, 0, 4),
    (13, 0, 5),
    (14, 0, 5),
    (15, 0, 6),
    (16, 0, 5),
    (API_VERSIONS, 0, 4),
    (19, 2, 7),
    (20, 1, 6),
    (21, 0, 2),
    (22, 0, 5),
    (23, 2, 4),
    (24, 0, 3),
    (25, 0, 4),
    (26, 0, 4),
    (28, 0, 4),
    (32, 1, 4),
    (33, 0, 2),
    (35, 1, 4),
    (37, 0, 3),
    (42, 0, 2),
    (44, 0, 1),
    (46, 0, 0),
    (47, 0, 0),
    (60, 0, 2),
    (61, 0, 0),
    (65, 0, 0),
    (66, 0, 2),
    (75, 0, 0),
];

/// librdkafka up to 2.8 compresses only for brokers that show Produce from version 0 on; Kafka 4 shows it for their sake and serves it no more.
const PRODUCE_SHOWN_FROM: i16 = 0;

/// One request with what its handler needs to know.
pub(crate) struct Request<'c> {
    pub(crate) cluster: &'c Arc<Cluster>,
    /// Node id of the broker that was asked.
    pub(crate) node: i32,
    pub(crate) peer: IpAddr,
    pub(crate) api: i16,
    pub(crate) version: i16,
    pub(crate) correlation_id: i32,
    pub(crate) client_id: String,
    /// The error that a fault puts into the answer.
    pub(crate) forced: Option<i16>,
    pub(crate) throttle_ms: i32,
    pub(crate) body: Bytes,
}

type Answer = Result<Option<Frame>, Refusal>;

impl Request<'_> {
    fn decode<T: Decodable>(&self) -> Result<T, Refusal> {
        codec::decode(self.api, self.version, &self.body)
    }

    fn answer<T: Encodable + HeaderVersion>(&self, response: &T) -> Answer {
        codec::encode(self.correlation_id, self.version, response).map(Some)
    }

    /// Stands before everything a handler does for one item of a request, so that forced errors show everywhere.
    fn gate(&self) -> Result<(), ResponseError> {
        match self.forced.and_then(ResponseError::try_from_code) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// `gate`, and whether this broker coordinates the group or transactional id.
    fn coordinates(&self, key: &str) -> Result<(), ResponseError> {
        self.gate()?;
        match self.cluster.coordinator(key) {
            Some(node) if node == self.node => Ok(()),
            _ => Err(ResponseError::NotCoordinator),
        }
    }
}

/// Carries a request out. None: no answer is due (Produce with acks=0). A refusal ends the connection.
pub(crate) async fn handle(request: &Request<'_>) -> Answer {
    let served = SERVED.iter().find(|(api, ..)| *api == request.api);
    let visible = served
        .and_then(|&(api, min, max)| request.cluster.rules.versions(request.node, api, min, max));
    if !visible.is_some_and(|(min, max)| (min..=max).contains(&request.version)) {
        if request.api == API_VERSIONS {
            return unsupported_api_versions(request.cluster, request.node, request.correlation_id)
                .map(Some);
        }
        return Err(Refusal::NotServed(request.api, request.version));
    }
    match request.api {
        0 => produce::produce(request),
        1 => fetch::fetch(request).await,
        2 => partitions::list_offsets(request),
        3 => metadata::metadata(request),
        8 => offsets::commit(request),
        9 => offsets::fetch(request),
        10 => find_coordinator::find_coordinator(request),
        11 => groups::join(request).await,
        12 => groups::heartbeat(request),
        13 => groups::leave(request),
        14 => groups::sync(request).await,
        15 => groups::describe(request),
        16 => groups::list(request),
        API_VERSIONS => api_versions(request),
        19 => topics::create(request),
        20 => topics::delete(request),
        21 => partitions::delete_records(request),
        22 => transactions::init_producer_id(request),
        23 => partitions::offset_for_leader_epoch(request),
        24 => transactions::add_partitions(request),
        25 => transactions::add_offsets(request),
        26 => transactions::end(request),
        28 => offsets::transactional_commit(request),
        32 => configs::describe(request),
        33 => configs::alter(request),
        35 => admin::describe_log_dirs(request),
        37 => topics::create_partitions(request),
        42 => groups::delete(request),
        44 => configs::incremental_alter(request),
        46 => admin::list_partition_reassignments(request),
        47 => offsets::delete(request),
        60 => admin::describe_cluster(request),
        61 => describe::producers(request),
        65 => describe::transactions(request),
        66 => describe::list_transactions(request),
        75 => metadata::describe_topic_partitions(request),
        api => Err(Refusal::NotServed(api, request.version)),
    }
}

/// The answer to ApiVersions in a version not known here: version 0 with the error and the versions (KIP-511).
pub(crate) fn unsupported_api_versions(
    cluster: &Cluster,
    node: i32,
    correlation_id: i32,
) -> Result<Frame, Refusal> {
    let response = ApiVersionsResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_api_keys(visible_versions(cluster, node));
    codec::encode(correlation_id, 0, &response)
}

fn api_versions(request: &Request<'_>) -> Answer {
    request.decode::<kafka_protocol::messages::ApiVersionsRequest>()?;
    request.answer(
        &ApiVersionsResponse::default()
            .with_error_code(code(request.gate()))
            .with_api_keys(visible_versions(request.cluster, request.node))
            .with_throttle_time_ms(request.throttle_ms),
    )
}

fn visible_versions(cluster: &Cluster, node: i32) -> Vec<ApiVersion> {
    let shown = |&(api, min, max): &(i16, i16, i16)| {
        let (low, high) = cluster.rules.versions(node, api, min, max)?;
        let low = if api == 0 && low == min {
            PRODUCE_SHOWN_FROM
        } else {
            low
        };
        Some(
            ApiVersion::default()
                .with_api_key(api)
                .with_min_version(low)
                .with_max_version(high),
        )
    };
    SERVED.iter().filter_map(shown).collect()
}

/// The error code of a result; 0 if it is fine.
fn code<T>(result: Result<T, ResponseError>) -> i16 {
    result.err().map_or(0, |error| error.code())
}

/// Protocol text from ours.
fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::api::ApiKey;

    #[test]
    fn everything_served_is_known_to_both_codecs() {
        for &(api, min, max) in SERVED {
            let spec = ApiKey(api).spec().expect("in the table");
            assert!(
                spec.has_version(min) && spec.has_version(max),
                "{}",
                spec.name
            );
            let typed = kafka_protocol::messages::ApiKey::try_from(api)
                .expect("typed")
                .valid_versions();
            assert!(typed.min <= min && max <= typed.max, "{}", spec.name);
        }
        assert!(SERVED.is_sorted_by_key(|(api, ..)| *api));
    }
}
