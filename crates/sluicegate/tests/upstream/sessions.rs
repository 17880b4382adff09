//! Sessions that end (KIP-368): the gateway logs in again on a running connection, and clients notice nothing.
//!
//! The brokers close a connection on which a request comes after the end of its session. The gateway would then close
//! the client's connection, which librdkafka counts.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use testkit::owner::Owner;
use testkit::raw::{RawClient, Request};
use testkit::rdkafka::client::ClientContext;
use testkit::rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use testkit::rdkafka::error::KafkaError;
use testkit::rdkafka::message::DeliveryResult;
use testkit::rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use testkit::rdkafka::{Message, Statistics};
use testkit::{Gateway, Listener, Result, librdkafka, shared, wait};

use crate::world::{
    CLIENT_SECRET, PASSWORD, SESSION, World, assert_no_secrets, client_credentials, plain, scram,
    world,
};

const LIMIT: Duration = Duration::from_secs(60);

/// What a client went through.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Events>>);

#[derive(Default)]
struct Events {
    trouble: Vec<String>,
    disconnects: i64,
    delivered: usize,
}

impl Journal {
    fn with<T>(&self, act: impl FnOnce(&mut Events) -> T) -> T {
        act(&mut self.0.lock().expect("no test panics holding it"))
    }
}

impl ClientContext for Journal {
    fn error(&self, error: KafkaError, reason: &str) {
        self.with(|events| events.trouble.push(format!("{error}: {reason}")));
    }

    fn stats(&self, statistics: Statistics) {
        let brokers = statistics.brokers.values();
        let disconnects = brokers.filter_map(|broker| broker.disconnects).sum();
        self.with(|events| events.disconnects = disconnects);
    }
}

impl ConsumerContext for Journal {}

impl ProducerContext for Journal {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.with(|events| match result {
            Ok(_) => events.delivered += 1,
            Err((error, _)) => events.trouble.push(format!("not delivered: {error}")),
        });
    }
}

const STATISTICS: (&str, &str) = ("statistics.interval.ms", "250");

struct Pair {
    topic: String,
    producer: BaseProducer<Journal>,
    consumer: BaseConsumer<Journal>,
    journal: Journal,
    sent: usize,
    received: usize,
}

impl Pair {
    /// A producer and a consumer group of one, on a topic of their own. The consumer has its partitions.
    fn new(gateway: &Gateway, consumer: &[(&str, &str)]) -> Result<Pair> {
        let topic = shared::unique("sessions");
        librdkafka::create_topic(&gateway.bootstrap(), &topic, 3)?;
        let journal = Journal::default();
        let producer = librdkafka::config(
            &gateway.bootstrap(),
            &[STATISTICS, ("enable.idempotence", "true")],
        )
        .create_with_context(journal.clone())?;
        let mut settings = vec![
            STATISTICS,
            ("group.id", topic.as_str()),
            ("auto.offset.reset", "earliest"),
        ];
        settings.extend(consumer);
        let consumer: BaseConsumer<Journal> = librdkafka::config(&gateway.bootstrap(), &settings)
            .create_with_context(journal.clone())?;
        consumer.subscribe(&[&topic])?;
        let mut pair = Pair {
            topic,
            producer,
            consumer,
            journal,
            sent: 0,
            received: 0,
        };
        pair.send()?;
        pair.receive_all()?;
        Ok(pair)
    }

    fn send(&mut self) -> Result<()> {
        let value = self.sent.to_string();
        self.producer
            .send(BaseRecord::to(&self.topic).key(&value).payload(&value))
            .map_err(|(error, _)| error)?;
        self.sent += 1;
        Ok(())
    }

    /// Serves both clients for a moment.
    fn poll(&mut self) -> Result<()> {
        self.producer.poll(Duration::ZERO);
        if let Some(message) = self.consumer.poll(Duration::from_millis(100)) {
            let message = message?;
            assert!(message.payload().is_some());
            self.received += 1;
        }
        Ok(())
    }

    fn receive_all(&mut self) -> Result<()> {
        self.producer.flush(LIMIT)?;
        wait::until("all records", LIMIT, || {
            self.poll()?;
            Ok((self.received == self.sent).then_some(()))
        })
    }

    /// Lets `sessions` sessions pass, one record after the other on the way.
    fn work(&mut self, sessions: u32) -> Result<()> {
        let end = Instant::now() + SESSION * sessions;
        while Instant::now() < end {
            self.send()?;
            self.poll()?;
        }
        self.receive_all()
    }

    /// Lets `sessions` sessions pass without a record.
    fn idle(&mut self, sessions: u32) -> Result<()> {
        let end = Instant::now() + SESSION * sessions;
        while Instant::now() < end {
            self.poll()?;
        }
        Ok(())
    }

    fn finish(self) {
        let events = self.journal.with(std::mem::take);
        assert!(events.trouble.is_empty(), "{:#?}", events.trouble);
        assert_eq!((events.disconnects, events.delivered), (0, self.sent));
    }
}

fn gateway(world: &World, mechanism: &str, jaas: &str, more: &[(&str, &str)]) -> Result<Gateway> {
    let url = world.token_endpoint()?;
    let mut settings = vec![("sasl.mechanism", mechanism), ("sasl.jaas.config", jaas)];
    if mechanism == "OAUTHBEARER" {
        settings.push(("sasl.oauthbearer.token.endpoint.url", &url));
    }
    let mut options = world.gateway(Listener::Relayed, &settings);
    for (key, value) in more {
        options = options.env(key, value);
    }
    options.start()
}

fn stop(world: &World, mut gateway: Gateway) -> Result<()> {
    assert_eq!(gateway.stop()?, 0);
    let log = gateway.log();
    assert!(!log.contains("re-authentication"), "{log}");
    assert_no_secrets(world, &log)
}

fn clients_outlive_sessions(mechanism: &str, jaas: &str) -> Result<()> {
    let world = world()?;
    let gateway = gateway(world, mechanism, jaas, &[])?;
    let mut pair = Pair::new(&gateway, &[])?;
    pair.work(3)?;
    pair.finish();
    stop(world, gateway)
}

#[test]
fn plain_sessions() -> Result<()> {
    clients_outlive_sessions("PLAIN", &plain(PASSWORD))
}

#[test]
fn scram_sessions() -> Result<()> {
    clients_outlive_sessions("SCRAM-SHA-512", &scram(PASSWORD))
}

#[test]
fn bearer_sessions() -> Result<()> {
    clients_outlive_sessions("OAUTHBEARER", &client_credentials(CLIENT_SECRET))
}

/// The broker reads a request behind a waiting fetch when it has answered that one: here after the session has ended.
#[test]
fn requests_behind_a_fetch_that_outlasts_the_session() -> Result<()> {
    let world = world()?;
    let gateway = gateway(world, "PLAIN", &plain(PASSWORD), &[])?;
    let topic = shared::unique("sessions");
    librdkafka::create_topic(&gateway.bootstrap(), &topic, 1)?;
    librdkafka::produce(&gateway.bootstrap(), &[], &topic, ["first".to_owned()])?;
    let view = world.cluster.view()?;
    let mut partitions = view.partitions.iter();
    let leader = partitions.find(|p| p.topic == topic).map(|p| p.leader);
    let slot = leader.and_then(|id| u16::try_from(id - 1).ok());
    let mut client = RawClient::connect(&gateway.address(slot.expect("a leader")))?;

    let mut body = Vec::new();
    body.extend((-1_i32).to_be_bytes()); // not a replica
    body.extend(((SESSION * 3 / 2).as_millis() as i32).to_be_bytes());
    body.extend(1_i32.to_be_bytes()); // bytes worth an answer
    body.extend(1_000_000_i32.to_be_bytes());
    body.push(0); // uncommitted
    body.extend(1_i32.to_be_bytes()); // topics
    body.extend((topic.len() as i16).to_be_bytes());
    body.extend(topic.as_bytes());
    body.extend(1_i32.to_be_bytes()); // partitions
    body.extend(0_i32.to_be_bytes());
    body.extend(1_i64.to_be_bytes()); // from the end on
    body.extend(1_000_000_i32.to_be_bytes());
    let fetch = Request {
        api: 1,
        version: 4,
        flexible: false,
        client_id: "raw",
        body: &body,
    };
    let metadata = Request {
        api: 3,
        version: 1,
        body: &[0; 4], // no topics
        ..fetch
    };
    for _ in 0..2 {
        let sent = [client.send(fetch)?, client.send(metadata)?];
        let answers = [client.receive()?, client.receive()?];
        assert_eq!(answers.each_ref().map(|answer| id(answer)), sent);
        // Behind throttle time, name and partition.
        let error = 4 + 4 + 4 + 2 + topic.len() + 4 + 4;
        assert_eq!(answers[0].get(error..error + 2), Some(&[0, 0][..]));
    }
    stop(world, gateway)
}

/// The correlation id of an answer.
fn id(answer: &[u8]) -> i32 {
    answer
        .first_chunk()
        .map_or(-1, |id| i32::from_be_bytes(*id))
}

/// Consumers that wait for longer than a session lasts.
#[test]
fn sessions_that_end_during_a_long_fetch() -> Result<()> {
    let world = world()?;
    let gateway = gateway(world, "PLAIN", &plain(PASSWORD), &[])?;
    let wait = (SESSION * 3 / 2).as_millis().to_string();
    let mut pair = Pair::new(
        &gateway,
        &[
            ("fetch.wait.max.ms", &wait),
            ("topic.metadata.refresh.interval.ms", "500"),
        ],
    )?;
    pair.idle(4)?;
    pair.send()?;
    pair.receive_all()?;
    pair.finish();
    stop(world, gateway)
}

#[test]
fn sessions_of_shared_connections() -> Result<()> {
    let world = world()?;
    let gateway = gateway(
        world,
        "SCRAM-SHA-512",
        &scram(PASSWORD),
        &[
            ("GATEWAY_UPSTREAM_CONNECTION_POOL_TYPE", "ROUND_ROBIN"),
            ("GATEWAY_UPSTREAM_NUM_CONNECTION", "2"),
        ],
    )?;
    let mut pair = Pair::new(&gateway, &[])?;
    let before = connections(world, &gateway);
    pair.work(3)?;
    let during = connections(world, &gateway) - before;
    let sent = pair.sent as u64;
    pair.finish();
    // Shared ones stay; the gateway looks at the brokers over connections of its own now and then.
    assert!(
        sent > 50 && during < 25,
        "{during} connections for {sent} records"
    );
    stop(world, gateway)
}

/// Connections that the gateway has made to the brokers so far.
fn connections(world: &World, gateway: &Gateway) -> u64 {
    let of_gateway =
        |owner: &Owner| matches!(owner, Owner::Process { pid, .. } if *pid == gateway.pid());
    world
        .cluster
        .node_ids()
        .into_iter()
        .flat_map(|id| world.cluster.with_relay(id, testkit::Relay::owners))
        .filter(|(owner, _)| of_gateway(owner))
        .map(|(_, count)| count)
        .sum()
}
