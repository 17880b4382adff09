//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.

use auth::acl::{CLUSTER_NAME, Operation, ResourceType};
use wire::api::ApiKey;
use wire::error_code::{CLUSTER_AUTHORIZATION_FAILED, INVALID_REQUEST};

use crate::request::{Request, refuse_twins, take_denied, with_text};
use crate::ruling::{Error, Ruling};

/// Types of resources that have a configuration.
const TOPIC: i64 = 2;
const BROKER: i64 = 4;
const BROKER_LOGGER: i64 = 8;
const CLIENT_METRICS: i64 = 16;
const GROUP: i64 = 32;

/// The operation on the topic or the group; for anything else on the cluster.
pub(crate) fn judge(request: &Request<'_>) -> Result<Ruling, Error> {
    let (operation, answered) = match request.api {
        ApiKey::DESCRIBE_CONFIGS => (Operation::DescribeConfigs, "Results"),
        _ => (Operation::AlterConfigs, "Responses"),
    };
    let mut root = request.decode()?;
    let element = request.element(answered);
    let mut denied = take_denied(&mut root, "Resources", |resource| {
        let Some(resource) = resource.as_record() else {
            return Ok(None);
        };
        let name = resource.get("ResourceName").as_text()?.unwrap_or_default();
        let (resource_type, name, code) = match resource.int("ResourceType") {
            TOPIC => (
                ResourceType::Topic,
                name,
                request.denial(ResourceType::Topic, name),
            ),
            GROUP => (
                ResourceType::Group,
                name,
                request.denial(ResourceType::Group, name),
            ),
            BROKER | BROKER_LOGGER | CLIENT_METRICS => (
                ResourceType::Cluster,
                CLUSTER_NAME,
                CLUSTER_AUTHORIZATION_FAILED,
            ),
            // Nobody knows what it would take.
            _ => {
                return Ok(Some(with_text(
                    request.echo(element, resource, INVALID_REQUEST),
                    INVALID_REQUEST,
                )));
            }
        };
        let physical = resource_type == ResourceType::Cluster && request.access.is_confined();
        let allowed = !physical && request.access.allowed(operation, resource_type, name);
        Ok((!allowed).then(|| with_text(request.echo(element, resource, code), code)))
    })?;
    if request.api == ApiKey::INCREMENTAL_ALTER_CONFIGS {
        refuse_twins(&mut denied, |resource| {
            let name = resource.get("ResourceName").as_bytes().to_vec();
            Some((resource.int("ResourceType"), name))
        });
    }
    Ok(request.partly(&root, "Resources", answered, denied))
}
