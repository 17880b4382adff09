//! librdkafka as a client: thin, blocking helpers around the `rdkafka` crate.

use crate::{Error, Result};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::HashSet;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);

/// Settings of a client of `bootstrap`.
pub fn config(bootstrap: &str, settings: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap);
    for (key, value) in settings {
        config.set(*key, *value);
    }
    config
}

/// Creates a topic with three replicas and waits until the leaders are known.
///
/// # Errors
/// The cluster refuses, or takes too long.
pub fn create_topic(bootstrap: &str, topic: &str, partitions: i32) -> Result<()> {
    create_topic_with(bootstrap, topic, partitions, &[])
}

/// [`create_topic`] with settings of the topic.
///
/// # Errors
/// As [`create_topic`].
pub fn create_topic_with(
    bootstrap: &str,
    topic: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<()> {
    let admin: AdminClient<DefaultClientContext> = config(bootstrap, &[]).create()?;
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
    for (key, value) in settings {
        new = new.set(key, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(LIMIT));
    let results = block_on(admin.create_topics(&[new], &options))?;
    for result in results {
        result.map_err(|(topic, code)| Error::Answer(format!("create {topic}: {code}")))?;
    }
    crate::wait::until_true("leaders of the new topic", LIMIT, || {
        admin
            .inner()
            .fetch_metadata(Some(topic), LIMIT)
            .is_ok_and(|metadata| {
                metadata.topics().iter().all(|topic| {
                    topic.partitions().len() == partitions.unsigned_abs() as usize
                        && topic.partitions().iter().all(|p| p.leader() >= 0)
                })
            })
    })
}

/// Produces `values` (key = value) and waits for all acknowledgements.
///
/// # Errors
/// A record is not acknowledged in time.
pub fn produce(
    bootstrap: &str,
    settings: &[(&str, &str)],
    topic: &str,
    values: impl IntoIterator<Item = String>,
) -> Result<()> {
    let producer: BaseProducer = config(bootstrap, &[("acks", "all")])
        .extend_with(settings)
        .create()?;
    for value in values {
        let mut record = BaseRecord::to(topic).key(&value).payload(&value);
        while let Err((error, unsent)) = producer.send(record) {
            use rdkafka::types::RDKafkaErrorCode::QueueFull;
            if error.rdkafka_error_code() != Some(QueueFull) {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(100));
            record = unsent;
        }
    }
    producer.flush(LIMIT)?;
    match producer.in_flight_count() {
        0 => Ok(()),
        left => Err(Error::Answer(format!("{left} records not acknowledged"))),
    }
}

/// Consumes `count` values of a topic in a group, from the beginning.
///
/// # Errors
/// They do not come in time, or the client fails.
pub fn consume(
    bootstrap: &str,
    settings: &[(&str, &str)],
    group: &str,
    topic: &str,
    count: usize,
) -> Result<Vec<String>> {
    let consumer: BaseConsumer = config(
        bootstrap,
        &[("group.id", group), ("auto.offset.reset", "earliest")],
    )
    .extend_with(settings)
    .create()?;
    consumer.subscribe(&[topic])?;
    let start = Instant::now();
    let mut values = Vec::with_capacity(count);
    while values.len() < count {
        if start.elapsed() > LIMIT {
            return Err(Error::Timeout {
                what: format!("{count} records of {topic}"),
                after: LIMIT,
                last: format!(": {} came", values.len()),
            });
        }
        match consumer.poll(Duration::from_millis(200)) {
            None => {}
            Some(Ok(message)) => {
                let value = message.payload().unwrap_or_default();
                values.push(String::from_utf8_lossy(value).into_owned());
            }
            // Brokers that come and go are reported here and healed by the client itself.
            Some(Err(error)) => {
                if let Some((_, text)) = consumer.client().fatal_error() {
                    return Err(Error::Answer(format!("{error}: {text}")));
                }
            }
        }
    }
    Ok(values)
}

/// Reads a whole topic from its beginning to the ends its partitions have now (with
/// `isolation.level=read_committed`, to the last stable offsets), outside any group.
///
/// # Errors
/// The ends are not reached in time, or the client fails.
pub fn read_all(bootstrap: &str, settings: &[(&str, &str)], topic: &str) -> Result<Vec<String>> {
    let defaults = [("group.id", "unused"), ("enable.auto.commit", "false")];
    let consumer: BaseConsumer = config(bootstrap, &defaults)
        .extend_with(settings)
        .extend_with(&[("enable.partition.eof", "true")])
        .create()?;
    let partitions = partition_count(&consumer, topic)?;
    let mut assignment = TopicPartitionList::new();
    for partition in 0..partitions {
        assignment.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let start = Instant::now();
    let mut values = Vec::new();
    let mut at_end = HashSet::new();
    while at_end.len() < partitions as usize {
        if start.elapsed() > LIMIT {
            return Err(Error::Timeout {
                what: format!("the end of {topic}"),
                after: LIMIT,
                last: format!(": {} records came", values.len()),
            });
        }
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                let value = message.payload().unwrap_or_default();
                values.push(String::from_utf8_lossy(value).into_owned());
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                at_end.insert(partition);
            }
            Some(Err(_)) | None => {}
        }
    }
    Ok(values)
}

/// Sum of the distances between first and last offset of all partitions: the number of records, if the
/// topic is neither compacted nor written in transactions.
///
/// # Errors
/// The brokers do not answer.
pub fn record_count(bootstrap: &str, topic: &str) -> Result<usize> {
    let consumer: BaseConsumer = config(bootstrap, &[]).create()?;
    let mut count = 0;
    for partition in 0..partition_count(&consumer, topic)? {
        let (low, high) = consumer.fetch_watermarks(topic, partition, LIMIT)?;
        count += usize::try_from(high - low).unwrap_or(0);
    }
    Ok(count)
}

fn partition_count(consumer: &BaseConsumer, topic: &str) -> Result<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT)?;
    let count = metadata
        .topics()
        .first()
        .map_or(0, |t| t.partitions().len());
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}

/// Runs a future of this crate's clients to its end.
pub fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime without threads needs nothing")
        .block_on(future)
}

trait ExtendWith {
    fn extend_with(self, settings: &[(&str, &str)]) -> ClientConfig;
}

impl ExtendWith for ClientConfig {
    fn extend_with(mut self, settings: &[(&str, &str)]) -> ClientConfig {
        for (key, value) in settings {
            self.set(*key, *value);
        }
        self
    }
}
