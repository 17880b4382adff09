//! Transactions: committed records are seen, aborted ones are not, offsets go with the commit.

use crate::front::{Front, LIMIT};
use std::time::Duration;
use testkit::rdkafka::consumer::{BaseConsumer, Consumer};
use testkit::rdkafka::message::Message;
use testkit::rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use testkit::{Release, Result, librdkafka, shared, wait};

const READ_COMMITTED: [(&str, &str); 1] = [("isolation.level", "read_committed")];

#[test]
fn only_committed_records_are_seen() -> Result<()> {
    for line in Release::cluster_lines() {
        let cluster = shared::cluster(*line)?;
        let front = Front::of(&cluster)?;
        let topic = shared::unique("transactions");
        librdkafka::create_topic(&front.bootstrap(), &topic, 3)?;
        let producer = transactional(&front, &topic)?;
        let mut committed = Vec::new();
        for round in 0..6 {
            producer.begin_transaction()?;
            let values: Vec<String> = (0..10).map(|n| format!("{round}-{n}")).collect();
            for value in &values {
                producer
                    .send(BaseRecord::<str, str>::to(&topic).key(value).payload(value))
                    .map_err(|(error, _)| error)?;
            }
            if round % 2 == 0 {
                producer.commit_transaction(LIMIT)?;
                committed.extend(values);
            } else {
                producer.flush(LIMIT)?;
                producer.abort_transaction(LIMIT)?;
            }
        }
        let mut seen = librdkafka::read_all(&front.bootstrap(), &READ_COMMITTED, &topic)?;
        seen.sort();
        assert_eq!(seen, committed);
        let all = librdkafka::read_all(
            &front.bootstrap(),
            &[("isolation.level", "read_uncommitted")],
            &topic,
        )?;
        assert_eq!(all.len(), 60);
        front.finish()?;
    }
    Ok(())
}

#[test]
fn offsets_are_part_of_the_transaction() -> Result<()> {
    for line in Release::cluster_lines() {
        let cluster = shared::cluster(*line)?;
        let front = Front::of(&cluster)?;
        let (input, output) = (shared::unique("input"), shared::unique("output"));
        librdkafka::create_topic(&front.bootstrap(), &input, 1)?;
        librdkafka::create_topic(&front.bootstrap(), &output, 1)?;
        let values: Vec<String> = (0..40).map(|n| format!("{n:02}")).collect();
        librdkafka::produce(&front.bootstrap(), &[], &input, values.clone())?;
        let settings = [
            ("group.id", input.as_str()),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
        ];
        // The first attempt aborts, so the second reads everything again.
        for commit in [false, true] {
            let consumer: BaseConsumer =
                librdkafka::config(&front.bootstrap(), &settings).create()?;
            consumer.subscribe(&[&input])?;
            let producer = transactional(&front, &input)?;
            producer.begin_transaction()?;
            let mut copied = 0;
            wait::until_true("all input", LIMIT, || {
                if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                    let value = message.payload().unwrap_or_default();
                    let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(&output).payload(value);
                    copied += usize::from(producer.send(record).is_ok());
                }
                copied == values.len()
            })?;
            let metadata = consumer
                .group_metadata()
                .ok_or_else(|| testkit::Error::Answer("no group metadata".to_owned()))?;
            producer.send_offsets_to_transaction(&consumer.position()?, &metadata, LIMIT)?;
            if commit {
                producer.commit_transaction(LIMIT)?;
            } else {
                producer.abort_transaction(LIMIT)?;
            }
        }
        let seen = librdkafka::read_all(&front.bootstrap(), &READ_COMMITTED, &output)?;
        assert_eq!(seen, values);
        front.finish()?;
    }
    Ok(())
}

/// Commit and abort wait for delivery reports, so something has to poll meanwhile.
fn transactional(front: &Front<'_>, id: &str) -> Result<ThreadedProducer<DefaultProducerContext>> {
    let settings = [("transactional.id", id)];
    let producer: ThreadedProducer<_> =
        librdkafka::config(&front.bootstrap(), &settings).create()?;
    producer.init_transactions(LIMIT)?;
    Ok(producer)
}
