//! FindCoordinator, one key (versions to 3) or many.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Answer, Request, text};
use crate::broker::Endpoint;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(super) fn find_coordinator(request: &Request<'_>) -> Answer {
    let asked: FindCoordinatorRequest = request.decode()?;
    let response = FindCoordinatorResponse::default().with_throttle_time_ms(request.throttle_ms);
    if request.version >= 4 {
        let coordinators = asked.coordinator_keys.iter().map(|key| {
            let coordinator = Coordinator::default().with_key(key.clone());
            match find(request, asked.key_type, key) {
                Ok(e) => coordinator
                    .with_node_id(BrokerId(e.node_id))
                    .with_host(text(e.host))
                    .with_port(e.port),
                Err(error) => coordinator
                    .with_node_id(BrokerId(-1))
                    .with_port(-1)
                    .with_error_code(error.code()),
            }
        });
        return request.answer(&response.with_coordinators(coordinators.collect()));
    }
    request.answer(&match find(request, asked.key_type, &asked.key) {
        Ok(e) => response
            .with_node_id(BrokerId(e.node_id))
            .with_host(text(e.host))
            .with_port(e.port),
        Err(error) => response
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(error.code()),
    })
}

fn find(request: &Request<'_>, key_type: i8, key: &StrBytes) -> Result<Endpoint, ResponseError> {
    request.gate()?;
    if key_type != GROUP && key_type != TRANSACTION {
        return Err(ResponseError::InvalidRequest);
    }
    let node = request
        .cluster
        .coordinator(key)
        .ok_or(ResponseError::CoordinatorNotAvailable)?;
    request
        .cluster
        .endpoint(node)
        .ok_or(ResponseError::CoordinatorNotAvailable)
}
