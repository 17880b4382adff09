//! One transaction of the store: requests to the coordinator and to leaders (KIP-98).

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, EndTxnRequest, InitProducerIdRequest, ProduceRequest, ProducerId,
    TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, Record, RecordBatchEncoder, RecordEncodeOptions,
    TimestampType,
};
use tokio::time::{Instant, sleep, timeout_at};
use wire::error_code::{
    COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, LEADER_NOT_AVAILABLE, NONE,
    NOT_COORDINATOR, NOT_LEADER_OR_FOLLOWER, REQUEST_TIMED_OUT, UNKNOWN_SERVER_ERROR,
    UNKNOWN_TOPIC_OR_PARTITION,
};

use crate::kafka::{Failure, Kafka, Place};
use crate::record::Draft;

/// Highest versions used: those of before KIP-890, which every broker speaks whatever its transaction version is.
const INIT_PRODUCER_ID: i16 = 4;
const ADD_PARTITIONS: i16 = 3;
const PRODUCE: i16 = 9;
const END_TXN: i16 = 3;

/// The coordinator aborts a transaction left behind after this.
const TRANSACTION_TIMEOUT_MS: i32 = 15_000;
const PRODUCE_TIMEOUT_MS: i32 = 10_000;
const ALL_IN_SYNC: i16 = -1;

const PAUSE: Duration = Duration::from_millis(20);

const OUT_OF_ORDER_SEQUENCE: i16 = 45;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const INVALID_TXN_STATE: i16 = 48;
const INVALID_PRODUCER_ID_MAPPING: i16 = 49;
const CONCURRENT_TRANSACTIONS: i16 = 51;
const UNKNOWN_PRODUCER_ID: i16 = 59;
const PRODUCER_FENCED: i16 = 90;
const NOT_ENOUGH_REPLICAS: i16 = 19;
const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i16 = 20;

/// Why a step was not done.
#[derive(Debug)]
pub(crate) enum StepError {
    /// Another writer has taken over, or the coordinator has ended the transaction.
    Lost,
    /// It cannot be done, or not by the deadline.
    Failed(Failure),
}

/// The right to write, until another writer takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    id: i64,
    epoch: i16,
}

/// Takes the transactional id over: ends what another writer has open, and fences it.
pub(crate) async fn take_over(kafka: &Kafka, deadline: Instant) -> Result<Producer, StepError> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(transactional_id(kafka)))
        .with_transaction_timeout_ms(TRANSACTION_TIMEOUT_MS)
        .with_producer_id(ProducerId(-1))
        .with_producer_epoch(-1);
    until(kafka, deadline, || async {
        let request = request.clone();
        let coordinator = kafka.coordinator().await?;
        let answer = kafka
            .ask::<InitProducerIdRequest>(&coordinator, INIT_PRODUCER_ID, move |_| request)
            .await?;
        checked("InitProducerId", answer.error_code)?;
        Ok(Producer {
            id: answer.producer_id.0,
            epoch: answer.producer_epoch,
        })
    })
    .await
}

/// Begins a transaction over these partitions.
pub(crate) async fn begin(
    kafka: &Kafka,
    producer: Producer,
    places: impl Iterator<Item = Place>,
    deadline: Instant,
) -> Result<(), StepError> {
    let topics = places
        .map(|(topic, partition)| {
            AddPartitionsToTxnTopic::default()
                .with_name(kafka.topic_name(topic))
                .with_partitions(vec![partition])
        })
        .collect();
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(transactional_id(kafka))
        .with_v3_and_below_producer_id(ProducerId(producer.id))
        .with_v3_and_below_producer_epoch(producer.epoch)
        .with_v3_and_below_topics(topics);
    until(kafka, deadline, || async {
        let request = request.clone();
        let coordinator = kafka.coordinator().await?;
        let answer = kafka
            .ask::<AddPartitionsToTxnRequest>(&coordinator, ADD_PARTITIONS, move |_| request)
            .await?;
        for topic in &answer.results_by_topic_v3_and_below {
            for partition in &topic.results_by_partition {
                checked("AddPartitionsToTxn", partition.partition_error_code)?;
            }
        }
        Ok(())
    })
    .await
}

/// Commits or aborts.
pub(crate) async fn end(
    kafka: &Kafka,
    producer: Producer,
    commit: bool,
    deadline: Instant,
) -> Result<(), StepError> {
    let request = EndTxnRequest::default()
        .with_transactional_id(transactional_id(kafka))
        .with_producer_id(ProducerId(producer.id))
        .with_producer_epoch(producer.epoch)
        .with_committed(commit);
    until(kafka, deadline, || async {
        let request = request.clone();
        let coordinator = kafka.coordinator().await?;
        let answer = kafka
            .ask::<EndTxnRequest>(&coordinator, END_TXN, move |_| request)
            .await?;
        checked("EndTxn", answer.error_code)
    })
    .await
}

/// Records for one partition, with what brokers need to know them again.
pub(crate) struct Batch<'a> {
    pub(crate) place: Place,
    /// Number of the first record since the producer's epoch began.
    pub(crate) sequence: i32,
    pub(crate) drafts: &'a [Draft],
    pub(crate) node: &'a str,
    pub(crate) now_ms: i64,
}

/// Writes one batch. Returns the offset of its last record.
pub(crate) async fn produce(
    kafka: &Kafka,
    producer: Producer,
    batch: Batch<'_>,
    deadline: Instant,
) -> Result<i64, StepError> {
    let (topic, partition) = batch.place;
    let records = encode(producer, &batch).map_err(StepError::Failed)?;
    let request = ProduceRequest::default()
        .with_transactional_id(Some(transactional_id(kafka)))
        .with_acks(ALL_IN_SYNC)
        .with_timeout_ms(PRODUCE_TIMEOUT_MS)
        .with_topic_data(vec![
            TopicProduceData::default()
                .with_name(kafka.topic_name(topic))
                .with_partition_data(vec![
                    PartitionProduceData::default()
                        .with_index(partition)
                        .with_records(Some(records)),
                ]),
        ]);
    let first = until(kafka, deadline, || async {
        let request = request.clone();
        let leader = kafka.leader(batch.place)?;
        let answer = kafka
            .ask::<ProduceRequest>(&leader, PRODUCE, move |_| request)
            .await?;
        let result = answer
            .responses
            .first()
            .and_then(|t| t.partition_responses.first())
            .ok_or_else(|| Failure::Missing(kafka.name(topic).to_owned()))?;
        if result.error_code != NONE {
            return Err(Failure::Code {
                asked: "Produce",
                code: result.error_code,
                message: result.error_message.as_ref().map(ToString::to_string),
            });
        }
        Ok(result.base_offset)
    })
    .await?;
    let more = batch.drafts.len().saturating_sub(1);
    Ok(first.saturating_add(i64::try_from(more).unwrap_or(0)))
}

fn encode(producer: Producer, batch: &Batch<'_>) -> Result<Bytes, Failure> {
    let mut headers = IndexMap::new();
    let text = |text: String| Some(Bytes::from(text));
    headers.insert(
        StrBytes::from_static_str("gw-node"),
        text(batch.node.to_owned()),
    );
    headers.insert(
        StrBytes::from_static_str("gw-time"),
        text(batch.now_ms.to_string()),
    );
    let records: Vec<Record> = (0_i32..)
        .zip(batch.drafts)
        .map(|(index, draft)| Record {
            transactional: true,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            timestamp_type: TimestampType::Creation,
            offset: i64::from(index),
            sequence: batch.sequence.saturating_add(index),
            timestamp: batch.now_ms,
            key: text(draft.key.clone()),
            value: draft.value.clone().map(Bytes::from),
            headers: headers.clone(),
        })
        .collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    RecordBatchEncoder::encode(&mut bytes, &records, &options)
        .map_err(|e| Failure::Transport(crate::transport::TransportError::malformed(e)))?;
    Ok(bytes.freeze())
}

/// Repeats a step until it is done, the deadline is over, or a repetition is of no use. Every step may be repeated: the
/// coordinator's are idempotent, and leaders know batches again by their sequence.
async fn until<T, F>(
    kafka: &Kafka,
    deadline: Instant,
    mut step: impl FnMut() -> F,
) -> Result<T, StepError>
where
    F: Future<Output = Result<T, Failure>>,
{
    loop {
        let failure = match timeout_at(deadline, step()).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(failure)) => failure,
            Err(_) => return Err(StepError::Failed(Failure::TimedOut)),
        };
        match next_move(&failure) {
            Move::Again => {}
            Move::FindCoordinator => kafka.forget_coordinator(),
            Move::FindLeader => {
                kafka.forget_coordinator();
                // A failure of this shows in the next attempt.
                let _ = timeout_at(deadline, kafka.refresh()).await;
            }
            Move::Lost => return Err(StepError::Lost),
            Move::GiveUp => return Err(StepError::Failed(failure)),
        }
        if Instant::now() + PAUSE >= deadline {
            return Err(StepError::Failed(failure));
        }
        sleep(PAUSE).await;
    }
}

enum Move {
    Again,
    FindCoordinator,
    FindLeader,
    Lost,
    GiveUp,
}

fn next_move(failure: &Failure) -> Move {
    let Failure::Code { code, .. } = failure else {
        return Move::FindLeader;
    };
    match *code {
        // The coordinator answers UNKNOWN_SERVER_ERROR to who ends a transaction just as it is being fenced.
        CONCURRENT_TRANSACTIONS
        | UNKNOWN_SERVER_ERROR
        | REQUEST_TIMED_OUT
        | NOT_ENOUGH_REPLICAS
        | NOT_ENOUGH_REPLICAS_AFTER_APPEND => Move::Again,
        NOT_COORDINATOR | COORDINATOR_NOT_AVAILABLE | COORDINATOR_LOAD_IN_PROGRESS => {
            Move::FindCoordinator
        }
        NOT_LEADER_OR_FOLLOWER | LEADER_NOT_AVAILABLE | UNKNOWN_TOPIC_OR_PARTITION => {
            Move::FindLeader
        }
        PRODUCER_FENCED
        | INVALID_PRODUCER_EPOCH
        | INVALID_PRODUCER_ID_MAPPING
        | INVALID_TXN_STATE
        | OUT_OF_ORDER_SEQUENCE
        | UNKNOWN_PRODUCER_ID => Move::Lost,
        _ => Move::GiveUp,
    }
}

fn checked(asked: &'static str, code: i16) -> Result<(), Failure> {
    match code {
        NONE => Ok(()),
        code => Err(Failure::code(asked, code)),
    }
}

fn transactional_id(kafka: &Kafka) -> TransactionalId {
    TransactionalId(StrBytes::from_string(kafka.transactional_id.clone()))
}
