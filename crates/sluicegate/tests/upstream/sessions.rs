//! Sessions that end (KIP-368): the gateway logs in again on a running connection, and clients notice nothing.
//!
//! The brokers close a connection on which a request comes after the end of its session. The gateway would then close
//! the client's connection, which librdkafka counts.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use testkit::owner::Owner;
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

    fn assert_undisturbed(&self) {
        self.with(|events| {
            assert!(events.trouble.is_empty(), "{:#?}", events.trouble);
            assert_eq!(events.disconnects, 0);
        });
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
        self.journal.assert_undisturbed();
        self.journal
            .with(|events| assert_eq!(events.delivered, self.sent));
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

/// A fetch that waits in the broker for longer than a session lasts, and requests behind it on the same connection.
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
            ("topic.metadata.refresh.sparse", "false"),
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
