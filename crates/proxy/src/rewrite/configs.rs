//! Broker configurations without broker addresses.
//!
//! DescribeConfigs of a broker shows its `listeners` and what else says where it can be reached past the gateway. Those
//! values are shown the way Kafka shows passwords: as sensitive ones, without a value.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::DescribeConfigsResponse;
use kafka_protocol::protocol::{Decodable, Encodable};
use wire::api::{ApiKey, Direction};
use wire::walk::{self, WalkError};

/// Type of a broker in the requests about configurations.
const BROKER: i8 = 4;

/// Settings that hold addresses of brokers or controllers.
const ADDRESSES: &[&str] = &[
    "listeners",
    "advertised.listeners",
    "controller.quorum.voters",
    "controller.quorum.bootstrap.servers",
    "host.name",
    "advertised.host.name",
    "port",
    "advertised.port",
    "zookeeper.connect",
];

/// The answer without addresses; `None`: there are none in it.
pub(super) fn mask(version: i16, body: &[u8]) -> Result<Option<Vec<u8>>, WalkError> {
    walk::validate(ApiKey::DESCRIBE_CONFIGS, version, Direction::Response, body)?;
    let unknown = || WalkError::UnknownMessage {
        api: ApiKey::DESCRIBE_CONFIGS,
        version,
    };
    let mut answer = DescribeConfigsResponse::decode(&mut Bytes::copy_from_slice(body), version)
        .map_err(|_| unknown())?;
    let mut masked = false;
    let brokers = answer
        .results
        .iter_mut()
        .filter(|result| result.resource_type == BROKER);
    for config in brokers.flat_map(|result| &mut result.configs) {
        if !ADDRESSES.contains(&config.name.as_str()) {
            continue;
        }
        masked |= config.value.is_some() || !config.synonyms.is_empty();
        config.value = None;
        config.is_sensitive = true;
        // A synonym is the same setting, or another one with the same meaning, at another level.
        for synonym in &mut config.synonyms {
            synonym.value = None;
        }
    }
    if !masked {
        return Ok(None);
    }
    let mut new = BytesMut::new();
    answer.encode(&mut new, version).map_err(|_| unknown())?;
    Ok(Some(new.to_vec()))
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::describe_configs_response::{
        DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
    };
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn config(name: &'static str, value: &'static str) -> DescribeConfigsResourceResult {
        let value = Some(StrBytes::from_static_str(value));
        DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(value.clone())
            .with_synonyms(vec![DescribeConfigsSynonym::default().with_value(value)])
    }

    fn answer(resource_type: i8, version: i16) -> Vec<u8> {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource_type)
            .with_configs(vec![
                config("listeners", "PLAINTEXT://broker:9092"),
                config("log.dirs", "/data"),
            ]);
        let mut body = BytesMut::new();
        DescribeConfigsResponse::default()
            .with_results(vec![result])
            .encode(&mut body, version)
            .unwrap();
        body.to_vec()
    }

    #[test]
    fn addresses_of_brokers_are_not_shown() {
        for version in 1..=4 {
            let masked = mask(version, &answer(BROKER, version)).unwrap().unwrap();
            assert!(!masked.windows(9).any(|window| window == b"PLAINTEXT"));
            let seen = DescribeConfigsResponse::decode(&mut Bytes::from(masked), version).unwrap();
            let configs = &seen.results[0].configs;
            assert!(configs[0].is_sensitive && configs[0].value.is_none());
            assert_eq!(configs[1].value.as_deref(), Some("/data"));
        }
    }

    #[test]
    fn other_resources_are_left_alone() {
        const TOPIC: i8 = 2;
        assert_eq!(mask(4, &answer(TOPIC, 4)), Ok(None));
        assert!(mask(4, &[0xff; 8]).is_err());
    }
}
