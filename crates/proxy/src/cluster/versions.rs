//! Which API versions clients are offered: what the table describes, what every live broker speaks, and what a client
//! has any business with.

use std::collections::BTreeMap;
use telemetry::targets::KAFKA;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ApiVersionsResponse;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::protocol::Encodable;
use wire::api::ApiKey;

/// Keys above this do not exist in the table.
const KEYS: usize = 128;

/// Versions of ApiVersions that can be asked for.
const ANSWERS: i16 = 4;

/// APIs between brokers and controllers: never offered, never forwarded.
const INTERNAL: &[ApiKey] = &[
    ApiKey::WRITE_TXN_MARKERS,
    ApiKey::INITIALIZE_SHARE_GROUP_STATE,
    ApiKey::READ_SHARE_GROUP_STATE,
    ApiKey::WRITE_SHARE_GROUP_STATE,
    ApiKey::DELETE_SHARE_GROUP_STATE,
    ApiKey::READ_SHARE_GROUP_STATE_SUMMARY,
];

/// A delegation token asked for through the gateway would be one of the gateway's own principal.
const BORROWS_IDENTITY: &[ApiKey] = &[
    ApiKey::CREATE_DELEGATION_TOKEN,
    ApiKey::RENEW_DELEGATION_TOKEN,
    ApiKey::EXPIRE_DELEGATION_TOKEN,
    ApiKey::DESCRIBE_DELEGATION_TOKEN,
];

/// Requests about access control lists.
const ACLS: &[ApiKey] = &[
    ApiKey::DESCRIBE_ACLS,
    ApiKey::CREATE_ACLS,
    ApiKey::DELETE_ACLS,
];

/// Client telemetry would report to the backing cluster's operators under the gateway's name.
const TELEMETRY: &[ApiKey] = &[ApiKey::GET_TELEMETRY_SUBSCRIPTIONS, ApiKey::PUSH_TELEMETRY];

/// AddPartitionsToTxn from version 4 on is for brokers (`VerifyOnly`, KIP-890).
const CLIENT_ADD_PARTITIONS_MAX: i16 = 3;

/// What one broker said it can do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BrokerVersions {
    pub(crate) ranges: BTreeMap<i16, (i16, i16)>,
    features: ApiVersionsResponse,
}

impl BrokerVersions {
    pub(crate) fn new(response: ApiVersionsResponse) -> Self {
        BrokerVersions {
            ranges: response
                .api_keys
                .iter()
                .map(|api| (api.api_key, (api.min_version, api.max_version)))
                .collect(),
            features: response
                .with_api_keys(Vec::new())
                .with_throttle_time_ms(0)
                .with_zk_migration_ready(false),
        }
    }

    /// The highest version of `api` that both this broker and we speak, up to `cap`.
    pub(crate) fn best(&self, api: ApiKey, cap: i16) -> Option<i16> {
        let (min, max) = *self.ranges.get(&api.0)?;
        let version = max.min(cap);
        (version >= min).then_some(version)
    }
}

/// What clients are told they may use.
pub(crate) struct Offered {
    ranges: Vec<Option<(i16, i16)>>,
    answers: Vec<Bytes>,
}

impl Offered {
    /// The intersection over all live brokers; features are those of the broker with the newest finalised epoch.
    ///
    /// `own_acls`: requests about access control lists are answered by the gateway, whatever the brokers can do.
    pub(crate) fn intersection<'a>(
        brokers: impl Iterator<Item = &'a BrokerVersions> + Clone,
        own_acls: bool,
    ) -> Self {
        let mut ranges = vec![None; KEYS];
        for api in ApiKey::all() {
            if let Some(slot) = usize::try_from(api.0).ok().and_then(|i| ranges.get_mut(i)) {
                *slot = offered_range(api, brokers.clone(), own_acls);
            }
        }
        let features = brokers
            .max_by_key(|b| b.features.finalized_features_epoch)
            .map(|b| b.features.clone())
            .unwrap_or_default();
        let answers = (0..=ANSWERS)
            .map(|version| answer(&ranges, features.clone(), version))
            .collect();
        Offered { ranges, answers }
    }

    /// The versions of `api` that may be used, inclusive.
    pub(crate) fn range(&self, api: ApiKey) -> Option<(i16, i16)> {
        usize::try_from(api.0)
            .ok()
            .and_then(|i| self.ranges.get(i).copied().flatten())
    }

    /// Whether requests of `api` in `version` may pass.
    pub(crate) fn allows(&self, api: ApiKey, version: i16) -> bool {
        self.range(api)
            .is_some_and(|(min, max)| (min..=max).contains(&version))
    }

    /// The body of the ApiVersions answer in `version`.
    pub(crate) fn answer(&self, version: i16) -> Bytes {
        usize::try_from(version)
            .ok()
            .and_then(|v| self.answers.get(v).cloned())
            .unwrap_or_default()
    }
}

fn offered_range<'a>(
    api: ApiKey,
    brokers: impl Iterator<Item = &'a BrokerVersions>,
    own_acls: bool,
) -> Option<(i16, i16)> {
    let spec = api.spec()?;
    if !spec.listeners.broker
        || INTERNAL.contains(&api)
        || BORROWS_IDENTITY.contains(&api)
        || TELEMETRY.contains(&api)
    {
        return None;
    }
    // The layout of an unstable version may still change.
    let (mut min, mut max) = (spec.min_version, spec.max_stable_version());
    if api == ApiKey::ADD_PARTITIONS_TO_TXN {
        max = max.min(CLIENT_ADD_PARTITIONS_MAX);
    }
    if api == ApiKey::SASL_HANDSHAKE
        || api == ApiKey::SASL_AUTHENTICATE
        || api == ApiKey::API_VERSIONS
        || (own_acls && ACLS.contains(&api))
    {
        return (min <= max).then_some((min, max)); // answered here, whatever the brokers speak
    }
    for broker in brokers {
        let (low, high) = *broker.ranges.get(&api.0)?;
        min = min.max(low);
        max = max.min(high);
    }
    (min <= max).then_some((min, max))
}

fn answer(ranges: &[Option<(i16, i16)>], features: ApiVersionsResponse, version: i16) -> Bytes {
    let apis = ranges
        .iter()
        .enumerate()
        .filter_map(|(key, range)| {
            let (min, max) = (*range)?;
            let key = i16::try_from(key).ok()?;
            // librdkafka before 2.8 compresses only if Produce v0 is listed, so brokers list it although they no
            // longer serve it (KAFKA-18659). So do we; such a request is refused as it is there.
            let min = if ApiKey(key) == ApiKey::PRODUCE {
                0
            } else {
                min
            };
            Some(
                ApiVersion::default()
                    .with_api_key(key)
                    .with_min_version(min)
                    .with_max_version(max),
            )
        })
        .collect();
    let mut response = features.with_error_code(0).with_api_keys(apis);
    if version < 4 {
        // Clients of that time reject a feature range that begins at 0 (KAFKA-17011).
        response.supported_features.retain(|f| f.min_version > 0);
    }
    if version < 3 {
        response.supported_features.clear();
        response.finalized_features.clear();
        response.finalized_features_epoch = -1;
    }
    let mut body = BytesMut::new();
    match response.encode(&mut body, version) {
        Ok(()) => body.freeze(),
        Err(error) => {
            tracing::error!(target: KAFKA, version, %error, "cannot encode ApiVersions");
            Bytes::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broker(ranges: &[(ApiKey, i16, i16)]) -> BrokerVersions {
        BrokerVersions::new(
            ApiVersionsResponse::default().with_api_keys(
                ranges
                    .iter()
                    .map(|(api, min, max)| {
                        ApiVersion::default()
                            .with_api_key(api.0)
                            .with_min_version(*min)
                            .with_max_version(*max)
                    })
                    .collect(),
            ),
        )
    }

    #[test]
    fn the_lowest_common_range_is_offered() {
        let old = broker(&[(ApiKey::FETCH, 0, 13), (ApiKey::METADATA, 0, 9)]);
        let new = broker(&[(ApiKey::FETCH, 4, 99), (ApiKey::METADATA, 0, 13)]);
        let offered = Offered::intersection([&old, &new].into_iter(), false);
        assert_eq!(offered.range(ApiKey::FETCH), Some((4, 13)));
        assert_eq!(offered.range(ApiKey::METADATA), Some((0, 9)));
        assert_eq!(offered.range(ApiKey::PRODUCE), None);
        assert!(offered.allows(ApiKey::FETCH, 13));
        assert!(!offered.allows(ApiKey::FETCH, 14));
    }

    #[test]
    fn internal_apis_are_never_offered() {
        let everything: Vec<_> = (0..KEYS as i16).map(|k| (ApiKey(k), 0, 100)).collect();
        let offered = Offered::intersection([&broker(&everything)].into_iter(), false);
        for api in INTERNAL.iter().chain(BORROWS_IDENTITY).chain(TELEMETRY) {
            assert_eq!(offered.range(*api), None, "{}", api.name());
        }
        assert_eq!(offered.range(ApiKey::VOTE), None);
        assert_eq!(offered.range(ApiKey::ADD_PARTITIONS_TO_TXN), Some((0, 3)));
    }

    #[test]
    fn every_version_has_an_answer() {
        let old = broker(&[(ApiKey::PRODUCE, 0, 12)]);
        let offered = Offered::intersection([&old].into_iter(), true);
        assert!(offered.range(ApiKey::CREATE_ACLS).is_some());
        assert_eq!(offered.range(ApiKey::PRODUCE), Some((3, 12)));
        for version in 0..=ANSWERS {
            let body = offered.answer(version);
            wire::walk::validate(
                ApiKey::API_VERSIONS,
                version,
                wire::api::Direction::Response,
                &body,
            )
            .unwrap();
        }
        assert!(offered.answer(99).is_empty());
    }
}
