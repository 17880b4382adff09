//! What operators ask about producers and transactions (KIP-664): DescribeProducers, DescribeTransactions, ListTransactions.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::describe_transactions_response::{
    TopicData, TransactionState as Described,
};
use kafka_protocol::messages::list_transactions_response::TransactionState as Listed;
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest,
    DescribeTransactionsResponse, ListTransactionsRequest, ListTransactionsResponse, ProducerId,
    TopicName, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use super::{Answer, Request, code, text};
use crate::sync::{lock, now_ms};
use crate::transactions::{State, Transaction};

const STATES: [State; 4] = [
    State::Empty,
    State::Ongoing,
    State::CompleteCommit,
    State::CompleteAbort,
];

pub(super) fn producers(request: &Request<'_>) -> Answer {
    let asked: DescribeProducersRequest = request.decode()?;
    let topics = asked.topics.iter().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|index| {
            let found = active_producers(request, &topic.name, *index);
            let response = PartitionResponse::default().with_partition_index(*index);
            match found {
                Ok(producers) => response.with_active_producers(producers),
                Err(error) => response.with_error_code(error.code()),
            }
        });
        TopicResponse::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name.clone())
    });
    request.answer(
        &DescribeProducersResponse::default()
            .with_topics(topics.collect())
            .with_throttle_time_ms(request.throttle_ms),
    )
}

fn active_producers(
    request: &Request<'_>,
    topic: &str,
    index: i32,
) -> Result<Vec<ProducerState>, ResponseError> {
    request.gate()?;
    let partition = request
        .cluster
        .topics
        .partition(topic, index)
        .ok_or(ResponseError::UnknownTopicOrPartition)?;
    let state = partition.state();
    state.check_leader(request.node, -1)?;
    let producers = state.log.producers.iter().map(|(id, producer)| {
        ProducerState::default()
            .with_producer_id(ProducerId(id))
            .with_producer_epoch(i32::from(producer.epoch))
            .with_last_sequence(producer.last_sequence())
            .with_last_timestamp(producer.last_timestamp)
            .with_coordinator_epoch(0)
            .with_current_txn_start_offset(producer.transaction_start.unwrap_or(-1))
    });
    Ok(producers.collect())
}

pub(super) fn transactions(request: &Request<'_>) -> Answer {
    let asked: DescribeTransactionsRequest = request.decode()?;
    let states = asked.transactional_ids.iter().map(|id| {
        let state = Described::default().with_transactional_id(id.clone());
        let found = request.coordinates(id).and_then(|()| {
            request
                .cluster
                .transactions
                .get(id)
                .ok_or(ResponseError::TransactionalIdNotFound)
        });
        match found {
            Ok(entry) => described(state, &lock(&entry)),
            Err(error) => state.with_error_code(error.code()),
        }
    });
    let response =
        DescribeTransactionsResponse::default().with_transaction_states(states.collect());
    request.answer(&response.with_throttle_time_ms(request.throttle_ms))
}

fn described(state: Described, transaction: &Transaction) -> Described {
    let topics = transaction.partitions.iter().map(|(topic, partitions)| {
        TopicData::default()
            .with_topic(TopicName(text(topic.clone())))
            .with_partitions(partitions.iter().copied().collect())
    });
    let started = if transaction.state == State::Ongoing {
        transaction.started_ms
    } else {
        -1
    };
    state
        .with_transaction_state(StrBytes::from_static_str(transaction.state.name()))
        .with_transaction_timeout_ms(transaction.timeout_ms)
        .with_transaction_start_time_ms(started)
        .with_producer_id(ProducerId(transaction.producer_id))
        .with_producer_epoch(transaction.epoch)
        .with_topics(topics.collect())
}

pub(super) fn list_transactions(request: &Request<'_>) -> Answer {
    let asked: ListTransactionsRequest = request.decode()?;
    let known = |name: &&StrBytes| STATES.iter().any(|s| s.name() == &***name);
    let unknown: Vec<StrBytes> = asked
        .state_filters
        .iter()
        .filter(|f| !known(f))
        .cloned()
        .collect();
    let mut response = ListTransactionsResponse::default()
        .with_error_code(code(request.gate()))
        .with_unknown_state_filters(unknown)
        .with_throttle_time_ms(request.throttle_ms);
    if request.forced.is_none() {
        for (id, entry) in request.cluster.transactions.all() {
            let transaction = lock(&entry);
            if request.cluster.coordinator(&id) == Some(request.node)
                && fits(request, &asked, &id, &transaction)
            {
                response.transaction_states.push(
                    Listed::default()
                        .with_transactional_id(TransactionalId(text(id)))
                        .with_producer_id(ProducerId(transaction.producer_id))
                        .with_transaction_state(StrBytes::from_static_str(
                            transaction.state.name(),
                        )),
                );
            }
        }
    }
    request.answer(&response)
}

/// Patterns are taken as prefixes when they end in `.*`, else literally: no regular expressions here.
fn fits(
    request: &Request<'_>,
    asked: &ListTransactionsRequest,
    id: &str,
    transaction: &Transaction,
) -> bool {
    let state = asked.state_filters.is_empty()
        || asked
            .state_filters
            .iter()
            .any(|f| **f == *transaction.state.name());
    let producer = asked.producer_id_filters.is_empty()
        || asked
            .producer_id_filters
            .contains(&ProducerId(transaction.producer_id));
    let running = now_ms() - transaction.started_ms;
    let long_enough = request.version < 1
        || asked.duration_filter < 0
        || (transaction.state == State::Ongoing && running > asked.duration_filter);
    let named = asked
        .transactional_id_pattern
        .as_ref()
        .filter(|p| !p.is_empty())
        .is_none_or(|pattern| match pattern.strip_suffix(".*") {
            Some(prefix) => id.starts_with(prefix),
            None => *id == **pattern,
        });
    state && producer && long_enough && named
}
