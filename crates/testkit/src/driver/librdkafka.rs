//! The librdkafka side: the test binary itself, started again under a library that resolves names for it.

use super::{AT_A_TIME, Report};
use crate::dirs::Scratch;
use crate::process::{Process, Spec, tail};
use crate::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const RESOLVER: &str = include_str!("../../c/resolve.c");
const PORT: &str = "SLUICEGATE_TEST_DRIVER";
/// True if librdkafka says in this line that credentials were refused. A connection that breaks in the handshake has the same
/// code, and another reason.
pub(super) fn is_refusal(line: &str) -> bool {
    line.contains("Authentication (Local") && !line.contains("Broker transport failure")
}

const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn start(path: &str, port: u16, scratch: &Scratch) -> Result<Process> {
    let (source, library) = (scratch.join("resolve.c"), scratch.join("resolve.so"));
    fs::write(&source, RESOLVER).map_err(Error::io("write resolve.c"))?;
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .output()
        .map_err(|error| Error::Missing {
            program: "cc",
            problem: format!("a C compiler could not be started ({error})"),
        })?;
    if !output.status.success() {
        return Err(Error::Exit {
            program: "cc resolve.c".to_owned(),
            status: output.status.code().unwrap_or(-1),
            output: tail(&String::from_utf8_lossy(&output.stderr), 20),
        });
    }
    let own = std::env::current_exe().map_err(Error::io("find the test program"))?;
    Spec::new("librdkafka", own, scratch.join("log"))
        .args(["--exact", path, "--nocapture"])
        .env("LD_PRELOAD", library)
        .env(PORT, port.to_string())
        .start()
}

/// Works off tasks if this process was started as a driver; see [`shared`](super::shared). Otherwise does nothing.
///
/// # Errors
/// The process that gives the tasks is gone.
pub fn serve_if_asked() -> Result<()> {
    let Some(port) = std::env::var(PORT).ok().and_then(|port| port.parse().ok()) else {
        return Ok(());
    };
    let stream =
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(Error::io("connect to a test"))?;
    let answers = stream.try_clone().map_err(Error::io("share a socket"))?;
    let (reports, outgoing) = channel();
    std::thread::spawn(move || answer(answers, &outgoing));
    let (task, queue) = channel::<Order>();
    let queue = Arc::new(Mutex::new(queue));
    for _ in 0..AT_A_TIME {
        let (queue, reports) = (Arc::clone(&queue), reports.clone());
        std::thread::spawn(move || {
            loop {
                let Ok(Ok(order)) = queue.lock().map(|queue| queue.recv()) else {
                    return;
                };
                let begin = Instant::now();
                let outcome = match order.kind.as_str() {
                    "authenticate" => authenticate(&order).map(drop),
                    _ => round_trip(&order),
                };
                let _ = reports.send((order.number, report(begin, outcome)));
            }
        });
    }
    let mut endless = HashMap::new();
    for line in BufReader::new(stream).lines().map_while(|line| line.ok()) {
        let Some(order) = Order::parse(&line) else {
            return Err(Error::Answer(format!("not a task: {line}")));
        };
        match order.kind.as_str() {
            "stop" => {
                let number = order.setting("number").parse::<u64>().unwrap_or(0);
                if let Some(Endless { stop, worker }) = endless.remove(&number) {
                    stop.store(true, Ordering::Relaxed);
                    let reports = reports.clone();
                    std::thread::spawn(move || {
                        if let Ok(report) = std::thread::JoinHandle::join(worker) {
                            let _ = reports.send((order.number, report));
                        }
                    });
                }
            }
            "steady" | "churn" => {
                endless.insert(order.number, Endless::start(order, reports.clone()));
            }
            _ => drop(task.send(order)),
        }
    }
    Ok(())
}

fn answer(mut stream: TcpStream, reports: &Receiver<(u64, Report)>) {
    for (number, report) in reports {
        let word = if report.ok { "ok" } else { "failed" };
        let line = format!(
            "{number}\t{word}\t{}\t{}\t{}\n",
            report.took.as_millis(),
            report.count,
            STANDARD.encode(report.text)
        );
        if stream.write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

fn report(begin: Instant, outcome: Result<(), String>) -> Report {
    Report {
        ok: outcome.is_ok(),
        took: begin.elapsed(),
        count: u64::from(outcome.is_ok()),
        text: outcome.err().unwrap_or_default(),
    }
}

/// A task as it came.
#[derive(Clone)]
struct Order {
    number: u64,
    kind: String,
    topic: String,
    settings: BTreeMap<String, String>,
}

impl Order {
    fn parse(line: &str) -> Option<Order> {
        let mut fields = line.split('\t');
        let number = fields.next()?.parse().ok()?;
        let (kind, topic) = (fields.next()?.to_owned(), fields.next()?.to_owned());
        let text = String::from_utf8(STANDARD.decode(fields.next()?).ok()?).ok()?;
        let settings = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.replace("\\\\", "\\")))
            .collect();
        Some(Order {
            number,
            kind,
            topic,
            settings,
        })
    }

    fn setting(&self, key: &str) -> &str {
        self.settings.get(key).map_or("", String::as_str)
    }

    fn millis(&self, key: &str) -> Duration {
        Duration::from_millis(self.setting(key).parse().unwrap_or(0))
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (key, value) in &self.settings {
            if !["patience.ms", "pause.ms"].contains(&key.as_str()) {
                config.set(key, value);
            }
        }
        config
    }

    fn producer(&self) -> Result<BaseProducer<Journal>, String> {
        let config = self.config();
        config.create_with_context(Journal::default()).map_err(text)
    }
}

/// What a client went through.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Events>>);

#[derive(Default)]
struct Events {
    errors: Vec<String>,
    undelivered: Vec<String>,
    delivered: Vec<(i32, i64)>,
}

impl Journal {
    fn with<T>(&self, act: impl FnOnce(&mut Events) -> T) -> T {
        act(&mut self.0.lock().expect("nobody panics holding it"))
    }

    /// All errors so far, each once.
    fn errors(&self) -> String {
        self.with(|events| {
            events.errors.dedup();
            events.errors.join("\n")
        })
    }
}

impl ClientContext for Journal {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn error(&self, error: KafkaError, reason: &str) {
        self.with(|events| events.errors.push(format!("{error}: {reason}")));
    }

    fn generate_oauth_token(
        &self,
        config: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let token = match config.and_then(|config| config.split_once(' ')) {
            Some(("url", url)) => fetch(url)?,
            Some((_, token)) => token.to_owned(),
            None => return Err("no token".into()),
        };
        Ok(OAuthToken {
            lifetime_ms: end_of(&token),
            token,
            principal_name: "client".to_owned(),
        })
    }
}

impl ConsumerContext for Journal {}

impl ProducerContext for Journal {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        self.with(|events| match result {
            Ok(message) => events
                .delivered
                .push((message.partition(), message.offset())),
            Err((error, _)) => events.undelivered.push(text(error)),
        });
    }
}

fn fetch(url: &str) -> Result<String> {
    let rest = url.strip_prefix("http://127.0.0.1:").unwrap_or_default();
    let (port, path) = rest.split_once('/').unwrap_or_default();
    let (status, body) = crate::http::get(port.parse().unwrap_or(0), &format!("/{path}"))?;
    match status {
        200 => Ok(body.trim().to_owned()),
        _ => Err(Error::Answer(format!("{status} from {url}"))),
    }
}

/// When a token ends, in ms since 1970. librdkafka does not send a token that has ended: such a one gets an hour.
fn end_of(token: &str) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let seconds = token
        .split('.')
        .nth(1)
        .and_then(|part| URL_SAFE_NO_PAD.decode(part).ok())
        .and_then(|json| serde_json::from_slice::<serde_json::Value>(&json).ok())
        .and_then(|claims| claims.get("exp")?.as_u64())
        .filter(|end| *end > now)
        .unwrap_or(now + 3600);
    i64::try_from(seconds * 1000).unwrap_or(i64::MAX)
}

/// Asks for the number of partitions until there is an answer, the credentials are refused, or the time is up.
fn authenticate(order: &Order) -> Result<(BaseProducer<Journal>, i32), String> {
    let producer = order.producer()?;
    let end = Instant::now() + order.millis("patience.ms");
    loop {
        producer.poll(Duration::from_millis(10));
        let metadata = producer
            .client()
            .fetch_metadata(Some(&order.topic), Duration::from_millis(500));
        let failure = match metadata {
            Ok(metadata) => match metadata.topics().first() {
                Some(topic) if topic.error().is_none() && !topic.partitions().is_empty() => {
                    let count = i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX);
                    return Ok((producer, count));
                }
                _ => "no such topic".to_owned(),
            },
            Err(error) => text(error),
        };
        producer.poll(Duration::from_millis(10));
        let errors = producer.context().errors();
        if errors.lines().any(is_refusal) || Instant::now() > end {
            return Err(format!("{failure}\n{errors}"));
        }
    }
}

fn round_trip(order: &Order) -> Result<(), String> {
    let (producer, partitions) = authenticate(order)?;
    let value = format!("{:?}", Instant::now());
    for partition in 0..partitions {
        let record = BaseRecord::to(&order.topic)
            .partition(partition)
            .key(&value)
            .payload(&value);
        producer.send(record).map_err(|(error, _)| text(error))?;
    }
    producer.flush(LIMIT).map_err(text)?;
    let journal = Journal::clone(producer.context());
    let (delivered, undelivered) = journal.with(|e| (e.delivered.clone(), e.undelivered.clone()));
    drop(producer);
    if !undelivered.is_empty() {
        return Err(format!("{undelivered:?}\n{}", journal.errors()));
    }
    let mut places = TopicPartitionList::new();
    for (partition, offset) in &delivered {
        places
            .add_partition_offset(&order.topic, *partition, Offset::Offset(*offset))
            .map_err(text)?;
    }
    let mut config = order.config();
    config.set("group.id", "unused");
    config.set("enable.auto.commit", "false");
    let journal = Journal::default();
    let consumer: BaseConsumer<Journal> =
        config.create_with_context(journal.clone()).map_err(text)?;
    consumer.assign(&places).map_err(text)?;
    let end = Instant::now() + LIMIT;
    let mut left = delivered.len();
    while left > 0 {
        if Instant::now() > end {
            return Err(format!("{left} records to come\n{}", journal.errors()));
        }
        if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100))
            && message.payload() == Some(value.as_bytes())
        {
            left -= 1;
        }
    }
    Ok(())
}

/// A task that goes on until stopped.
struct Endless {
    stop: Arc<AtomicBool>,
    worker: std::thread::JoinHandle<Report>,
}

impl Endless {
    fn start(order: Order, reports: Sender<(u64, Report)>) -> Endless {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let worker = std::thread::spawn(move || {
            let begin = Instant::now();
            let started = |outcome| drop(reports.send((order.number, report(begin, outcome))));
            let mut count = 0;
            let mut failures = Vec::new();
            if order.kind == "churn" {
                started(round_trip(&order));
                while !stopped.load(Ordering::Relaxed) {
                    match round_trip(&order) {
                        Ok(()) => count += 1,
                        Err(failure) => failures.push(failure),
                    }
                    std::thread::sleep(order.millis("pause.ms"));
                }
            } else {
                match send(&order, &stopped, || started(Ok(()))) {
                    Ok(journal) => journal.with(|events| {
                        count = events.delivered.len() as u64;
                        failures.append(&mut events.undelivered);
                    }),
                    Err(failure) => started(Err(failure)),
                }
            }
            Report {
                ok: true,
                took: begin.elapsed(),
                count,
                text: failures.join("\n"),
            }
        });
        Endless { stop, worker }
    }
}

/// Sends until stopped; calls `started` after the first acknowledgement.
fn send(order: &Order, stopped: &AtomicBool, started: impl FnOnce()) -> Result<Journal, String> {
    let (producer, _) = authenticate(order)?;
    let record = || BaseRecord::<(), [u8]>::to(&order.topic).payload(b"next");
    producer.send(record()).map_err(|(error, _)| text(error))?;
    producer.flush(LIMIT).map_err(text)?;
    let journal = Journal::clone(producer.context());
    if journal.with(|events| events.delivered.is_empty()) {
        return Err(journal.errors());
    }
    started();
    while !stopped.load(Ordering::Relaxed) {
        if let Err((error, _)) = producer.send(record()) {
            journal.with(|events| events.undelivered.push(text(error)));
        }
        producer.poll(order.millis("pause.ms"));
    }
    producer.flush(LIMIT).map_err(text)?;
    Ok(journal)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
