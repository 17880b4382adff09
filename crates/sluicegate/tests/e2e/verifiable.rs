//! Nothing acknowledged is lost and nothing is seen twice while brokers are restarted one after another.
//!
//! `SLUICEGATE_TEST_LINES=all` includes the line before. `SLUICEGATE_TEST_MESSAGES` sets how many messages each client line sends; if unset, 2000 and one restart. The full proof takes 1000000.

use crate::front::{Front, LIMIT};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::thread::ScopedJoinHandle;
use std::time::Duration;
use testkit::verify::{Record, Verifiable, exactly_once};
use testkit::{JavaTool, KafkaCluster, Listener, Release, Result, Tool, librdkafka, shared, wait};

/// How long the whole exchange may take.
const LONG: Duration = Duration::from_secs(1800);

#[test]
fn no_loss_and_no_double_on_the_current_line() -> Result<()> {
    survive_rolling_restarts(Release::V4_3)
}

#[test]
fn no_loss_and_no_double_on_the_line_before() -> Result<()> {
    match Release::cluster_lines().contains(&Release::V3_9) {
        true => survive_rolling_restarts(Release::V3_9),
        false => Ok(()), // see `Release::cluster_lines`
    }
}

/// All client lines at once, so that one round of restarts serves them all.
fn survive_rolling_restarts(release: Release) -> Result<()> {
    // One at a time: each run keeps a dozen Java processes busy.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = shared::exclusive(release)?;
    let front = Front::of(&cluster)?;
    let copiers: Vec<Copier> = Release::ALL
        .into_iter()
        .map(|client| Copier::prepare(client, &front))
        .collect::<Result<_>>()?;
    std::thread::scope(|scope| {
        let streams: Vec<Stream> = Release::ALL
            .into_iter()
            .map(|client| Stream::start(client, &front))
            .collect::<Result<_>>()?;
        let copying: Vec<_> = copiers
            .iter()
            .map(|copier| scope.spawn(|| told("copier", copier.client, copier.run())))
            .collect();
        for id in cluster.node_ids().into_iter().take(restarts()) {
            cluster.restart(id)?;
        }
        let finishing: Vec<_> = streams
            .into_iter()
            .map(|stream| scope.spawn(|| stream.finish(&cluster)))
            .collect();
        finishing.into_iter().chain(copying).try_for_each(joined)
    })?;
    for copier in &copiers {
        copier.check(&cluster)?;
    }
    front.finish()
}

/// Brokers that are restarted: on ordinary days one.
fn restarts() -> usize {
    match std::env::var("SLUICEGATE_TEST_MESSAGES") {
        Ok(_) => usize::MAX,
        Err(_) => 1,
    }
}

fn joined(thread: ScopedJoinHandle<'_, Result<()>>) -> Result<()> {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Says at once what went wrong: the rest of a long run may take another half an hour.
fn told<T>(what: &str, client: Release, result: Result<T>) -> Result<T> {
    if let Err(error) = &result {
        println!("{what} {}: {error}", client.version());
    }
    result
}

/// A verifiable producer and a group of two verifiable consumers.
struct Stream {
    client: Release,
    topic: String,
    producer: Verifiable,
    consumers: [Verifiable; 2],
}

impl Stream {
    fn start(client: Release, front: &Front<'_>) -> Result<Stream> {
        let topic = shared::unique("verifiable");
        let bootstrap = front.bootstrap();
        librdkafka::create_topic(&bootstrap, &topic, 6)?;
        let consumer = || Verifiable::consumer(client, &bootstrap, &topic, &topic, &[]);
        let consumers = [consumer()?, consumer()?];
        // The default number takes about as long as the restarts.
        let per_second = (messages() as u64 / 20).max(100);
        let producer = Verifiable::producer(client, &bootstrap, &topic, per_second)?;
        Ok(Stream {
            client,
            topic,
            producer,
            consumers,
        })
    }

    fn finish(self, cluster: &KafkaCluster) -> Result<()> {
        told("client", self.client, self.compare(cluster))
    }

    fn compare(mut self, cluster: &KafkaCluster) -> Result<()> {
        self.producer.wait_for(messages(), LONG)?;
        let acknowledged = self.producer.stop(LIMIT)?;
        let direct = cluster.bootstrap(Listener::Plaintext);
        let written = librdkafka::record_count(&direct, &self.topic)?;
        wait::until_true("all records to be consumed", LONG, || {
            self.consumers.iter().map(Verifiable::count).sum::<usize>() >= written
        })?;
        let mut seen: Vec<Record> = Vec::new();
        for consumer in self.consumers {
            seen.extend(consumer.stop(LIMIT)?);
        }
        println!(
            "client {} on {}: {} acknowledged, {} seen",
            self.client.version(),
            cluster.release().version(),
            acknowledged.len(),
            seen.len()
        );
        exactly_once(&acknowledged, &seen)
    }
}

/// A transactional copier from one topic to another.
struct Copier {
    client: Release,
    bootstrap: String,
    input: String,
    output: String,
}

impl Copier {
    fn prepare(client: Release, front: &Front<'_>) -> Result<Copier> {
        let copy = Copier {
            client,
            bootstrap: front.bootstrap(),
            input: shared::unique("copy-input"),
            output: shared::unique("copy-output"),
        };
        librdkafka::create_topic(&copy.bootstrap, &copy.input, 1)?;
        librdkafka::create_topic(&copy.bootstrap, &copy.output, 1)?;
        let values = (0..messages()).map(|n| n.to_string());
        librdkafka::produce(&copy.bootstrap, &[], &copy.input, values)?;
        Ok(copy)
    }

    /// The tool may give up when a transaction fails; it is made to be started again.
    fn run(&self) -> Result<()> {
        let transaction = (messages() / 200).max(100).to_string();
        let start = std::time::Instant::now();
        loop {
            let output = JavaTool::new(
                Tool::TransactionalMessageCopier,
                self.client,
                &self.bootstrap,
            )
            .args(&["--input-topic", &self.input, "--input-partition", "0"])
            .args(&[
                "--output-topic",
                &self.output,
                "--consumer-group",
                &self.input,
            ])
            .args(&[
                "--transactional-id",
                &self.input,
                "--transaction-size",
                &transaction,
            ])
            .args(&["--enable-random-aborts"])
            .output(LONG)?;
            if output.status == 0 {
                return Ok(());
            }
            if start.elapsed() > LONG {
                return Err(testkit::Error::Exit {
                    program: format!("copier {}", self.client.version()),
                    status: output.status,
                    output: output.errors,
                });
            }
        }
    }

    fn check(&self, cluster: &KafkaCluster) -> Result<()> {
        let direct = cluster.bootstrap(Listener::Plaintext);
        let seen = librdkafka::read_all(
            &direct,
            &[("isolation.level", "read_committed")],
            &self.output,
        )?;
        let distinct: BTreeSet<&String> = seen.iter().collect();
        println!(
            "copier {} on {}: {} of {} copied",
            self.client.version(),
            cluster.release().version(),
            seen.len(),
            messages()
        );
        if seen.len() == messages() && distinct.len() == messages() {
            return Ok(());
        }
        Err(testkit::Error::Violated(format!(
            "copier {}: {} records, {} distinct, {} expected",
            self.client.version(),
            seen.len(),
            distinct.len(),
            messages()
        )))
    }
}

fn messages() -> usize {
    std::env::var("SLUICEGATE_TEST_MESSAGES")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(2_000)
}
