//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs for topics and brokers.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse as FullResponse;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};

use super::{Answer, Request, text};
use crate::cluster::Cluster;
use crate::configs::{self, Definition, Operation, Overrides};
use crate::sync::lock;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Where a value comes from, as the protocol numbers it.
pub(super) const TOPIC_OVERRIDE: i8 = 1;
const BROKER_OVERRIDE: i8 = 2;
const CLUSTER_OVERRIDE: i8 = 3;
const STATIC: i8 = 4;
pub(super) const DEFAULT: i8 = 5;

type Failure = (ResponseError, String);

pub(super) fn describe(request: &Request<'_>) -> Answer {
    let asked: DescribeConfigsRequest = request.decode()?;
    let results = asked.resources.iter().map(|resource| {
        let result = DescribeConfigsResult::default().with_resource_type(resource.resource_type);
        let result = result.with_resource_name(resource.resource_name.clone());
        match described(request, resource, asked.include_synonyms) {
            Ok(configs) => result.with_configs(configs),
            Err((error, message)) => result
                .with_error_code(error.code())
                .with_error_message(Some(text(message))),
        }
    });
    request.answer(
        &DescribeConfigsResponse::default()
            .with_results(results.collect())
            .with_throttle_time_ms(request.throttle_ms),
    )
}

fn described(
    request: &Request<'_>,
    resource: &DescribeConfigsResource,
    synonyms: bool,
) -> Result<Vec<DescribeConfigsResourceResult>, Failure> {
    gate(request)?;
    let values = Values::of(
        request.cluster,
        resource.resource_type,
        &resource.resource_name,
    )?;
    // An empty list means all, as a missing one does.
    let keys = resource
        .configuration_keys
        .as_ref()
        .filter(|keys| !keys.is_empty());
    let wanted = |d: &&Definition| keys.is_none_or(|keys| keys.iter().any(|k| **k == *d.name));
    let rows = values.table.iter().filter(wanted).map(|definition| {
        let (value, source) = values.get(definition);
        let row = DescribeConfigsResourceResult::default()
            .with_name(text(definition.name))
            .with_value(Some(text(value.clone())));
        let row = row
            .with_read_only(definition.read_only)
            .with_config_source(source)
            .with_config_type(definition.kind as i8);
        if !synonyms {
            return row;
        }
        let synonym = |value: String, source| {
            DescribeConfigsSynonym::default()
                .with_name(text(definition.name))
                .with_value(Some(text(value)))
                .with_source(source)
        };
        let mut all = vec![synonym(value, source)];
        if source < STATIC {
            all.push(synonym(definition.default.to_owned(), DEFAULT));
        }
        row.with_synonyms(all)
    });
    Ok(rows.collect())
}

pub(super) fn alter(request: &Request<'_>) -> Answer {
    let asked: AlterConfigsRequest = request.decode()?;
    let responses = asked.resources.iter().map(|resource| {
        let sets = resource
            .configs
            .iter()
            .map(|c| (&*c.name, Operation::Set, c.value.as_deref()));
        let changed = gate(request).and_then(|()| {
            let changes = Changes {
                replace: true,
                dry_run: asked.validate_only,
                list: sets.collect(),
            };
            changes.apply(
                request.cluster,
                resource.resource_type,
                &resource.resource_name,
            )
        });
        let (error, message) = outcome(changed);
        let response = FullResponse::default()
            .with_error_code(error)
            .with_error_message(message.map(text));
        response
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
    });
    request.answer(
        &AlterConfigsResponse::default()
            .with_responses(responses.collect())
            .with_throttle_time_ms(request.throttle_ms),
    )
}

pub(super) fn incremental_alter(request: &Request<'_>) -> Answer {
    let asked: IncrementalAlterConfigsRequest = request.decode()?;
    let responses = asked.resources.iter().map(|resource| {
        let changed = gate(request).and_then(|()| {
            let mut list = Vec::with_capacity(resource.configs.len());
            for config in &resource.configs {
                let unknown = || {
                    (
                        ResponseError::InvalidRequest,
                        format!("Unknown operation {}", config.config_operation),
                    )
                };
                let operation =
                    Operation::from_code(config.config_operation).ok_or_else(unknown)?;
                list.push((&*config.name, operation, config.value.as_deref()));
            }
            let changes = Changes {
                replace: false,
                dry_run: asked.validate_only,
                list,
            };
            changes.apply(
                request.cluster,
                resource.resource_type,
                &resource.resource_name,
            )
        });
        let (error, message) = outcome(changed);
        let response = AlterConfigsResourceResponse::default()
            .with_error_code(error)
            .with_error_message(message.map(text));
        response
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
    });
    let response = IncrementalAlterConfigsResponse::default().with_responses(responses.collect());
    request.answer(&response.with_throttle_time_ms(request.throttle_ms))
}

fn gate(request: &Request<'_>) -> Result<(), Failure> {
    request.gate().map_err(|error| (error, error.to_string()))
}

fn outcome(result: Result<(), Failure>) -> (i16, Option<String>) {
    match result {
        Ok(()) => (0, None),
        Err((error, message)) => (error.code(), Some(message)),
    }
}

/// Changes to one resource; all or none are made.
struct Changes<'a> {
    /// AlterConfigs: what is not named goes back to its default.
    replace: bool,
    dry_run: bool,
    list: Vec<(&'a str, Operation, Option<&'a str>)>,
}

impl Changes<'_> {
    fn apply(&self, cluster: &Cluster, kind: i8, name: &str) -> Result<(), Failure> {
        let values = Values::of(cluster, kind, name)?;
        let mut overrides = if self.replace {
            Overrides::new()
        } else {
            values.own
        };
        for (key, operation, value) in &self.list {
            configs::apply(values.table, &mut overrides, key, *operation, *value)?;
        }
        if self.dry_run {
            return Ok(());
        }
        match kind {
            TOPIC => {
                let topic = cluster.topics.get(name).ok_or_else(no_topic)?;
                topic.set_overrides(overrides);
            }
            _ => {
                lock(&cluster.broker_overrides).insert(name.to_owned(), overrides);
            }
        }
        Ok(())
    }
}

fn no_topic() -> Failure {
    (
        ResponseError::UnknownTopicOrPartition,
        "This topic does not exist.".to_owned(),
    )
}

/// The configurations of one resource.
struct Values {
    table: &'static [Definition],
    own: Overrides,
    own_source: i8,
    /// Cluster-wide values, for brokers.
    shared: Overrides,
    /// What the cluster's options say, for brokers.
    fixed: Overrides,
}

impl Values {
    fn of(cluster: &Cluster, kind: i8, name: &str) -> Result<Self, Failure> {
        match kind {
            TOPIC => {
                let topic = cluster.topics.get(name).ok_or_else(no_topic)?;
                let own = topic.overrides();
                Ok(Values {
                    table: configs::TOPIC,
                    own,
                    own_source: TOPIC_OVERRIDE,
                    shared: Overrides::new(),
                    fixed: Overrides::new(),
                })
            }
            BROKER if name.is_empty() => {
                let (own, _) = cluster.broker_config(name);
                let (shared, fixed) = (Overrides::new(), Overrides::new());
                Ok(Values {
                    table: configs::BROKER,
                    own,
                    own_source: CLUSTER_OVERRIDE,
                    shared,
                    fixed,
                })
            }
            BROKER => {
                let broker = name.parse().ok().and_then(|id| cluster.broker(id));
                let broker = broker.ok_or_else(|| {
                    (
                        ResponseError::InvalidRequest,
                        "There is no such broker.".to_owned(),
                    )
                })?;
                let (own, shared) = cluster.broker_config(name);
                let fixed = fixed_values(cluster, broker.node_id);
                Ok(Values {
                    table: configs::BROKER,
                    own,
                    own_source: BROKER_OVERRIDE,
                    shared,
                    fixed,
                })
            }
            other => Err((
                ResponseError::InvalidRequest,
                format!("Resource type {other} is not served."),
            )),
        }
    }

    fn get(&self, definition: &Definition) -> (String, i8) {
        let sources = [
            (&self.own, self.own_source),
            (&self.shared, CLUSTER_OVERRIDE),
            (&self.fixed, STATIC),
        ];
        let found = sources
            .into_iter()
            .find_map(|(map, source)| Some((map.get(definition.name)?.clone(), source)));
        found.unwrap_or_else(|| (definition.default.to_owned(), DEFAULT))
    }
}

fn fixed_values(cluster: &Cluster, node_id: i32) -> Overrides {
    let options = &cluster.options;
    let listener = cluster
        .broker(node_id)
        .map(|b| b.endpoint())
        .map(|e| format!("PLAINTEXT://{}:{}", e.host, e.port));
    [
        ("advertised.listeners", listener.unwrap_or_default()),
        (
            "auto.create.topics.enable",
            options.auto_create_topics.to_string(),
        ),
        ("broker.id", node_id.to_string()),
        (
            "default.replication.factor",
            options.replication_factor().to_string(),
        ),
        ("fetch.max.bytes", options.max_fetch_bytes.to_string()),
        ("max.connections", options.max_connections.to_string()),
        ("node.id", node_id.to_string()),
        ("num.partitions", options.default_partitions.to_string()),
        (
            "socket.request.max.bytes",
            options.max_frame_bytes.to_string(),
        ),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
