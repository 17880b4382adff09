//! InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse, InitProducerIdRequest,
    InitProducerIdResponse, ProducerId,
};

use super::{Answer, Request, code};
use crate::sync::lock;
use crate::transactions::{Identity, Transaction};

pub(super) fn init_producer_id(request: &Request<'_>) -> Answer {
    let asked: InitProducerIdRequest = request.decode()?;
    let given = match &asked.transactional_id {
        None => request.gate().map(|()| fresh(request)),
        Some(id) => request.coordinates(id).and_then(|()| {
            let expected = Identity {
                producer_id: asked.producer_id.0,
                epoch: asked.producer_epoch,
            };
            let expected = (expected.producer_id >= 0).then_some(expected);
            let effects = request.cluster.effects();
            request
                .cluster
                .transactions
                .init(id, asked.transaction_timeout_ms, expected, effects)
        }),
    };
    let given = given.map_err(|error| fenced_for(error, request.version >= 4));
    let response = InitProducerIdResponse::default()
        .with_throttle_time_ms(request.throttle_ms)
        .with_error_code(code(given));
    let who = given.unwrap_or(Identity {
        producer_id: -1,
        epoch: -1,
    });
    request.answer(
        &response
            .with_producer_id(ProducerId(who.producer_id))
            .with_producer_epoch(who.epoch),
    )
}

fn fresh(request: &Request<'_>) -> Identity {
    Identity {
        producer_id: request.cluster.transactions.fresh_producer_id(),
        epoch: 0,
    }
}

pub(super) fn add_partitions(request: &Request<'_>) -> Answer {
    let asked: AddPartitionsToTxnRequest = request.decode()?;
    let who = Identity {
        producer_id: asked.v3_and_below_producer_id.0,
        epoch: asked.v3_and_below_producer_epoch,
    };
    let exists =
        |topic: &str, partition| request.cluster.topics.partition(topic, partition).is_some();
    let all = || {
        asked
            .v3_and_below_topics
            .iter()
            .flat_map(|t| t.partitions.iter().map(move |p| (t.name.as_str(), *p)))
    };
    let all_exist = all().all(|(topic, partition)| exists(topic, partition));
    let added = in_transaction(
        request,
        &asked.v3_and_below_transactional_id,
        who,
        |transaction| {
            if all_exist {
                all().for_each(|(topic, partition)| transaction.add_partition(topic, partition));
            }
            Ok(())
        },
    );
    let added = added.map_err(|error| fenced_for(error, request.version >= 2));
    let results = asked.v3_and_below_topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|p| {
            let outcome = match added {
                Err(error) => error.code(),
                Ok(()) if all_exist => 0,
                Ok(()) if exists(&topic.name, *p) => ResponseError::OperationNotAttempted.code(),
                Ok(()) => ResponseError::UnknownTopicOrPartition.code(),
            };
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*p)
                .with_partition_error_code(outcome)
        });
        AddPartitionsToTxnTopicResult::default()
            .with_results_by_partition(partitions.collect())
            .with_name(topic.name.clone())
    });
    let response =
        AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results.collect());
    request.answer(&response.with_throttle_time_ms(request.throttle_ms))
}

pub(super) fn add_offsets(request: &Request<'_>) -> Answer {
    let asked: AddOffsetsToTxnRequest = request.decode()?;
    let who = Identity {
        producer_id: asked.producer_id.0,
        epoch: asked.producer_epoch,
    };
    let added = in_transaction(request, &asked.transactional_id, who, |transaction| {
        transaction.add_group(&asked.group_id);
        Ok(())
    });
    let added = added.map_err(|error| fenced_for(error, request.version >= 2));
    request.answer(
        &AddOffsetsToTxnResponse::default()
            .with_error_code(code(added))
            .with_throttle_time_ms(request.throttle_ms),
    )
}

pub(super) fn end(request: &Request<'_>) -> Answer {
    let asked: EndTxnRequest = request.decode()?;
    let who = Identity {
        producer_id: asked.producer_id.0,
        epoch: asked.producer_epoch,
    };
    let ended = in_transaction(request, &asked.transactional_id, who, |transaction| {
        transaction.end(asked.committed, request.cluster.effects())
    });
    let ended = ended.map_err(|error| fenced_for(error, request.version >= 2));
    request.answer(
        &EndTxnResponse::default()
            .with_error_code(code(ended))
            .with_throttle_time_ms(request.throttle_ms),
    )
}

/// Runs `work` on the transaction of an id if `who` is its current producer.
fn in_transaction(
    request: &Request<'_>,
    id: &str,
    who: Identity,
    work: impl FnOnce(&mut Transaction) -> Result<(), ResponseError>,
) -> Result<(), ResponseError> {
    request.coordinates(id)?;
    let entry = request
        .cluster
        .transactions
        .get(id)
        .ok_or(ResponseError::InvalidProducerIdMapping)?;
    let mut transaction = lock(&entry);
    transaction.check(who)?;
    work(&mut transaction)
}

/// Versions before KIP-588 know fencing only as an invalid epoch.
fn fenced_for(error: ResponseError, knows_fencing: bool) -> ResponseError {
    match error {
        ResponseError::ProducerFenced if !knows_fencing => ResponseError::InvalidProducerEpoch,
        other => other,
    }
}
