//! Clients of every kind in processes of their own, which work off tasks: one Java virtual machine, or one process with
//! librdkafka, serves many tests.
//!
//! Both know the names under `.gateway.test` that [`HOSTS`] lists; all lead to this machine.

mod java;
mod librdkafka;

pub use librdkafka::serve_if_asked;

use crate::access::Access;
use crate::dirs::Scratch;
use crate::process::{Process, tail};
use crate::{Error, Release, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Names that clients resolve: of listeners with a pattern, of older listeners, and one that no gateway has.
pub const HOSTS: [&str; 9] = [
    "bootstrap.gateway.test",
    "broker-1.gateway.test",
    "broker-2.gateway.test",
    "broker-3.gateway.test",
    "older.gateway.test",
    "brokermain1-older.gateway.test",
    "brokermain2-older.gateway.test",
    "brokermain3-older.gateway.test",
    "elsewhere.gateway.test",
];

/// How long a task may take, the machine being busy.
const LIMIT: Duration = Duration::from_secs(120);

/// Tasks that one process works on at a time, not counting steady ones.
const AT_A_TIME: usize = 3;

/// Which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// Kafka's Java client.
    Java(Release),
    /// librdkafka.
    Librdkafka,
}

impl Client {
    /// All of them.
    pub const ALL: [Client; 4] = [
        Client::Java(Release::V2_1),
        Client::Java(Release::V3_9),
        Client::Java(Release::V4_3),
        Client::Librdkafka,
    ];
}

/// What a client shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Ask for the partitions of the topic.
    Authenticate,
    /// One record to each partition of the topic, acknowledged, and read back.
    RoundTrip,
    /// Java only: read `count` records of topics (separated by commas; or of those that `pattern` matches) in a group, commit,
    /// leave. The report has a line of topic, partition, offset and value for each.
    Consume,
    /// Java of the current release only: [`Task::Consume`] in a share group.
    Share,
    /// Java of the current release only: [`Task::Consume`] where the topic is an expression that the brokers evaluate.
    Match,
    /// Java of the current release only: copy a partition 0 up to offset `end` to the topic `to`, in transactions.
    Copy,
    /// Java of the current release only: call every method of the admin client, with `group.id` and `transactional.id` of
    /// the topic's users. The report has a line for each: `method = answer`, `method ! class: message`, or `method ?` if there
    /// is no call of it.
    Sweep,
    /// Java of the current release only: move the group to the consumer protocol and back, member by member, while records come. See
    /// `Movers.java` for the settings and the report.
    Move,
}

impl Task {
    fn kind(self) -> &'static str {
        match self {
            Task::Authenticate => "authenticate",
            Task::RoundTrip => "round-trip",
            Task::Consume => "consume",
            Task::Share => "share",
            Task::Match => "match",
            Task::Copy => "copy",
            Task::Sweep => "sweep",
            Task::Move => "move",
        }
    }
}

/// What became of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether it succeeded.
    pub ok: bool,
    /// How long it took.
    pub took: Duration,
    /// How often it succeeded: acknowledged records, or round trips; or the number of lines that it has to tell.
    pub count: u64,
    /// What the task has to tell. Errors: of Java, class and message of each cause; of librdkafka, its codes and reasons.
    pub text: String,
}

impl Report {
    /// True if the client says that its credentials were refused and does not try again.
    pub fn is_refused(&self) -> bool {
        let of_java = [
            "AuthenticationException",
            "UnsupportedSaslMechanismException",
        ];
        let mut lines = self.text.lines();
        !self.ok
            && lines.any(|line| {
                librdkafka::is_refusal(line) || of_java.iter().any(|sign| line.contains(sign))
            })
    }
}

/// A process with a client. Dropping it kills it.
#[derive(Debug)]
pub struct Driver {
    client: Client,
    tasks: Mutex<TcpStream>,
    waiting: Waiting,
    next: AtomicU64,
    process: Mutex<Process>,
    _scratch: Scratch,
}

type Waiting = Arc<Mutex<HashMap<u64, Sender<Report>>>>;

/// The process with a client that all tests of this one share, started when first asked for. For librdkafka, the calling
/// test binary needs a test named `driver` (in any module) that calls [`serve_if_asked`]; `path` is its full name.
///
/// # Errors
/// It does not come up; every later call gives the same error.
pub fn shared(client: Client, path: &'static str) -> Result<&'static Driver> {
    static SLOTS: [OnceLock<Result<Driver, String>>; 4] = [const { OnceLock::new() }; 4];
    let slot = match client {
        Client::Java(release) => release as usize,
        Client::Librdkafka => 3,
    };
    SLOTS[slot]
        .get_or_init(|| Driver::start(client, path).map_err(|error| error.to_string()))
        .as_ref()
        .map_err(|error| Error::Violated(error.clone()))
}

impl Driver {
    /// A process of its own; see [`shared`] about `path`.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(client: Client, path: &str) -> Result<Driver> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("bind"))?;
        let port = listener.local_addr().map_err(Error::io("bind"))?.port();
        let scratch = Scratch::new("driver")?;
        let mut process = match client {
            Client::Java(release) => java::start(release, port, &scratch)?,
            Client::Librdkafka => librdkafka::start(path, port, &scratch)?,
        };
        let stream = accept(&listener, &mut process)?;
        let reading = stream.try_clone().map_err(Error::io("share a socket"))?;
        let waiting = Waiting::default();
        let reports = Arc::clone(&waiting);
        std::thread::spawn(move || deliver(reading, &reports));
        Ok(Driver {
            client,
            tasks: Mutex::new(stream),
            waiting,
            next: AtomicU64::new(1),
            process: Mutex::new(process),
            _scratch: scratch,
        })
    }

    /// Gives it a task; several may be under way.
    ///
    /// # Errors
    /// The process has ended.
    pub fn give(&self, task: Task, topic: &str, access: &Access) -> Result<Given<'_>> {
        self.send(task.kind(), topic, &self.settings(access))
    }

    /// Gives it a task and waits for its end.
    ///
    /// # Errors
    /// The process has ended, or takes too long; a client that fails is a [`Report`].
    pub fn run(&self, task: Task, topic: &str, access: &Access) -> Result<Report> {
        self.give(task, topic, access)?.wait()
    }

    /// A producer that sends one record after the other until stopped, never twice: a disconnect in between is a
    /// failure. Returns when the first is acknowledged.
    ///
    /// # Errors
    /// As [`Driver::run`], or the first record failed.
    pub fn steady(&self, topic: &str, access: &Access) -> Result<Steady<'_>> {
        let access = access
            .clone()
            .java(&[
                ("retries", "0"),
                ("enable.idempotence", "false"),
                ("pause.ms", "5"),
            ])
            .librdkafka(&[("message.send.max.retries", "0"), ("pause.ms", "5")]);
        self.endless("steady", topic, &access)
    }

    /// One round trip of new clients after the other until stopped. Returns after the first.
    ///
    /// # Errors
    /// As [`Driver::run`], or the first round trip failed.
    pub fn churn(&self, topic: &str, access: &Access) -> Result<Steady<'_>> {
        let pause = [("pause.ms", "20")];
        let access = access.clone().java(&pause).librdkafka(&pause);
        self.endless("churn", topic, &access)
    }

    /// A producer that sends one record after the other until stopped, as often as its settings say that it tries. Returns when the
    /// first is acknowledged.
    ///
    /// # Errors
    /// As [`Driver::run`], or the first record failed.
    pub fn lasting(&self, topic: &str, access: &Access) -> Result<Steady<'_>> {
        let pause = [("pause.ms", "25")];
        let access = access.clone().java(&pause).librdkafka(&pause);
        self.endless("steady", topic, &access)
    }

    /// Java only: a consumer in a group that reads topics (separated by commas) from their beginnings until stopped, and then to
    /// their ends. Counts every offset once; one that is left out is a failure. Returns after the first record.
    ///
    /// # Errors
    /// As [`Driver::run`], or no record came.
    pub fn follow(&self, topics: &str, access: &Access) -> Result<Steady<'_>> {
        let settings = [("auto.offset.reset", "earliest"), ("pause.ms", "100")];
        self.endless("follow", topics, &access.clone().java(&settings))
    }

    fn endless(&self, kind: &str, topic: &str, access: &Access) -> Result<Steady<'_>> {
        let started = self.send(kind, topic, &self.settings(access))?;
        let number = started.number;
        let report = started.wait()?;
        if report.ok {
            return Ok(Steady {
                driver: self,
                number,
            });
        }
        Err(Error::Answer(format!("{:?}: {}", self.client, report.text)))
    }

    fn settings(&self, access: &Access) -> Vec<(String, String)> {
        match self.client {
            Client::Java(_) => access.java_settings(),
            Client::Librdkafka => access.librdkafka_settings(),
        }
    }

    fn send(&self, kind: &str, topic: &str, settings: &[(String, String)]) -> Result<Given<'_>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, report) = channel();
        lock(&self.waiting).insert(number, sender);
        let text: String = settings
            .iter()
            .map(|(key, value)| format!("{key}={}\n", value.replace('\\', "\\\\")))
            .collect();
        let line = format!("{number}\t{kind}\t{topic}\t{}\n", STANDARD.encode(text));
        lock(&self.tasks)
            .write_all(line.as_bytes())
            .map_err(Error::io("give a task to a driver"))?;
        Ok(Given {
            driver: self,
            number,
            report,
        })
    }
}

/// A task under way.
#[derive(Debug)]
pub struct Given<'a> {
    driver: &'a Driver,
    number: u64,
    report: Receiver<Report>,
}

impl Given<'_> {
    /// Waits for its end.
    ///
    /// # Errors
    /// As [`Driver::run`].
    pub fn wait(self) -> Result<Report> {
        self.wait_for(LIMIT)
    }

    /// Waits for its end for at most `limit`.
    ///
    /// # Errors
    /// As [`Driver::run`].
    pub fn wait_for(self, limit: Duration) -> Result<Report> {
        self.report.recv_timeout(limit).map_err(|_| Error::Timeout {
            what: format!("a task of {:?}", self.driver.client),
            after: limit,
            last: format!(": {}", tail(&lock(&self.driver.process).log(), 20)),
        })
    }
}

/// A task that goes on.
#[derive(Debug)]
pub struct Steady<'a> {
    driver: &'a Driver,
    number: u64,
}

impl Steady<'_> {
    /// Ends it, which takes a consumer until it has read all; the report's text lists what failed, empty if nothing did.
    ///
    /// # Errors
    /// As [`Driver::run`].
    pub fn stop(self) -> Result<Report> {
        let number = [("number".to_owned(), self.number.to_string())];
        self.driver.send("stop", "-", &number)?.wait()
    }
}

/// Waits for the process to connect.
fn accept(listener: &TcpListener, process: &mut Process) -> Result<TcpStream> {
    let accepting = || Error::io("accept a driver");
    listener.set_nonblocking(true).map_err(accepting())?;
    let stream = crate::wait::until("a driver to connect", LIMIT, || {
        if let Some(status) = process.exit_status() {
            return Ok(Some(Err(status)));
        }
        match listener.accept() {
            Ok((stream, _)) => Ok(Some(Ok(stream))),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(accepting()(error)),
        }
    })?;
    let stream = stream.map_err(|status| Error::Exit {
        program: "a driver".to_owned(),
        status,
        output: tail(&process.log(), 30),
    })?;
    stream.set_nonblocking(false).map_err(accepting())?;
    stream.set_nodelay(true).map_err(accepting())?;
    Ok(stream)
}

/// Hands reports to those who wait for them, until the process ends.
fn deliver(stream: TcpStream, waiting: &Waiting) {
    for line in BufReader::new(stream).lines().map_while(|line| line.ok()) {
        if let Some((number, report)) = parse(&line)
            && let Some(sender) = lock(waiting).remove(&number)
        {
            // Nobody waits any more: a test that gave up.
            let _ = sender.send(report);
        }
    }
    lock(waiting).clear();
}

fn parse(line: &str) -> Option<(u64, Report)> {
    let mut fields = line.split('\t');
    let number = fields.next()?.parse().ok()?;
    let ok = fields.next()? == "ok";
    let took = Duration::from_millis(fields.next()?.parse().ok()?);
    let count = fields.next()?.parse().ok()?;
    let text = String::from_utf8(STANDARD.decode(fields.next()?).ok()?).ok()?;
    Some((
        number,
        Report {
            ok,
            took,
            count,
            text,
        },
    ))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
