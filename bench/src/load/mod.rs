//! The load generator: producers and consumers that send frames made before, as fast as answers come (closed loop) or at
//! a fixed rate (open loop).
//!
//! In an open loop latency counts from the moment at which a request was meant to be sent, so that a slow peer cannot hide
//! behind the requests it keeps from being sent (coordinated omission).

mod open;
mod session;
mod stats;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use wire::api::ApiKey;

use crate::frames::{self, Template, Topic};
use crate::net::{self, Reader, Writer};
use crate::{Result, cpu};
pub(crate) use session::{Session, Versions, check};
pub(crate) use stats::Outcome;
use stats::Stats;

/// Topics in one request at most.
const TOPICS_PER_REQUEST: usize = 10;
/// One answer of so many is decoded and its error codes looked at; the first ones of a connection always are.
const LOOK_AT: u64 = 64;
/// Requests that wait in an open loop; beyond, the peer is overloaded.
const WAITING: usize = 1 << 16;
/// Environment variable of the password, which shall not stand on a command line.
pub(crate) const PASSWORD: &str = "BENCH_PASSWORD";

/// What to send where.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Where each broker is reached: `node id=host:port,...`.
    #[arg(long)]
    pub(crate) addresses: String,
    /// Connections that produce.
    #[arg(long, default_value_t = 0)]
    producers: usize,
    /// Connections that fetch.
    #[arg(long, default_value_t = 0)]
    consumers: usize,
    /// Topics, all written and read equally; a request carries up to ten.
    #[arg(long, default_value_t = 1)]
    topics: usize,
    /// Bytes of a record's value.
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
    /// Bytes of values in a batch; a batch has at least one record.
    #[arg(long, default_value_t = 16_384)]
    batch_bytes: usize,
    /// Bytes of records one Fetch asks for.
    #[arg(long, default_value_t = 1 << 20)]
    fetch_bytes: usize,
    /// Acknowledgements: 0, 1 or -1 for all.
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    acks: i16,
    /// Highest version of Produce to use.
    #[arg(long, default_value_t = i16::MAX)]
    max_produce: i16,
    /// Highest version of Fetch to use.
    #[arg(long, default_value_t = i16::MAX)]
    max_fetch: i16,
    /// Requests of a producer in flight; a consumer has one. Closed loop only.
    #[arg(long, default_value_t = 5)]
    window: usize,
    /// Requests per second of all connections together: open loop.
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds before measuring.
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Seconds of measuring.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Processes whose CPU time is measured over the same seconds.
    #[arg(long, value_delimiter = ',')]
    watch: Vec<u32>,
    /// PEM file of trusted certificates: speak TLS.
    #[arg(long)]
    pub(crate) tls: Option<PathBuf>,
    /// User for SASL PLAIN; the password is in the environment variable BENCH_PASSWORD.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Creates the topics and fills those that are read, instead of measuring.
    #[arg(long)]
    prepare: bool,
    /// Replicas of topics to be created.
    #[arg(long, default_value_t = 1)]
    replicas: i16,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Runs the load and prints an [`Outcome`] as JSON.
pub(crate) fn run(args: Args) -> Result<()> {
    let mut builder = match args.threads {
        0 | 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder
        .worker_threads(args.threads.max(1))
        .enable_all()
        .build()?;
    let tls = args.tls.as_deref().map(net::connector).transpose()?;
    let outcome = runtime.block_on(async {
        if args.prepare {
            session::prepare(&args, tls.as_ref()).await?;
            return Ok::<_, crate::Error>(None);
        }
        drive(args, tls).await.map(Some)
    })?;
    if let Some(outcome) = outcome {
        println!("{}", serde_json::to_string(&outcome)?);
    }
    // Connections that still wait for answers end with the process.
    runtime.shutdown_background();
    Ok(())
}

/// Names of the topics for a purpose: `r` is written, `c` is read.
fn names(args: &Args, purpose: char) -> Vec<String> {
    let name = |n| format!("{purpose}{}-{n}", args.record_bytes);
    (0..args.topics.max(1)).map(name).collect()
}

/// What a connection sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Produce,
    Fetch,
}

async fn drive(args: Args, tls: Option<TlsConnector>) -> Result<Outcome> {
    let stats = Arc::new(Stats::default());
    let batch = frames::batch(args.record_bytes, args.batch_bytes);
    let mut running = JoinSet::new();
    let mut lines = Vec::new();
    let mut versions = Versions::default();
    let mut suite = None;
    let kinds = [
        (Kind::Produce, args.producers),
        (Kind::Fetch, args.consumers),
    ];
    for (kind, count) in kinds {
        for n in 0..count {
            let plan = prepare_connection(&args, tls.as_ref(), kind, n, &batch).await?;
            versions = plan.versions;
            suite = plan.session.reader.suite().map(str::to_owned);
            lines.extend(start(&args, plan, kind, &stats, &mut running));
        }
    }
    let pacing = args
        .rate
        .map(|rate| open::Pace::start(rate, lines))
        .transpose()?;
    let work = async {
        tokio::time::sleep(Duration::from_secs_f64(args.warm_up)).await;
        let begin = (Instant::now(), cpu::seconds(&args.watch));
        stats.open();
        tokio::time::sleep(Duration::from_secs_f64(args.seconds)).await;
        stats.close();
        let seconds = begin.0.elapsed().as_secs_f64();
        (seconds, cpu::seconds(&args.watch) - begin.1)
    };
    let (seconds, cpu_seconds) = tokio::select! {
        measured = work => measured,
        // Nobody ends by himself but by failing.
        Some(ended) = running.join_next() => return Err(match ended {
            Ok(Err(error)) => error,
            Ok(Ok(())) => "the peer has closed a connection".into(),
            Err(panic) => panic.into(),
        }),
    };
    if let Some(pacing) = pacing {
        let dropped = pacing.stop();
        if dropped > 0 {
            return Err(format!("overloaded: {dropped} requests could not be sent").into());
        }
    }
    Ok(stats.outcome(seconds, cpu_seconds, versions, suite))
}

/// A connection that is ready to work.
struct Plan {
    session: Session,
    versions: Versions,
    frames: Vec<Template>,
}

async fn prepare_connection(
    args: &Args,
    tls: Option<&TlsConnector>,
    kind: Kind,
    n: usize,
    batch: &Bytes,
) -> Result<Plan> {
    let addresses = session::addresses(&args.addresses)?;
    let (_, first) = addresses.first_key_value().ok_or("no address")?;
    let mut session = Session::open(first, tls, args.user.as_deref()).await?;
    let names = match kind {
        Kind::Produce => names(args, 'r'),
        Kind::Fetch => names(args, 'c'),
    };
    let mut topics = session.topics(&names).await?;
    // Connections are spread over the brokers that lead anything.
    let mut leaders: Vec<i32> = topics.iter().map(|topic| topic.leader).collect();
    leaders.sort_unstable();
    leaders.dedup();
    let leader = leaders[n % leaders.len()];
    topics.retain(|topic| topic.leader == leader);
    let address = addresses
        .get(&leader)
        .ok_or_else(|| format!("no address for broker {leader}"))?;
    if address != first {
        session = Session::open(address, tls, args.user.as_deref()).await?;
    }
    let versions = Versions {
        produce: session.versions.produce.min(args.max_produce),
        fetch: session.versions.fetch.min(args.max_fetch),
    };
    let groups = topics.chunks(TOPICS_PER_REQUEST);
    let frames = groups
        .map(|topics| request(args, versions, kind, topics, batch))
        .collect::<Result<Vec<_>>>()?;
    Ok(Plan {
        session,
        versions,
        frames,
    })
}

fn request(
    args: &Args,
    versions: Versions,
    kind: Kind,
    topics: &[Topic],
    batch: &Bytes,
) -> Result<Template> {
    match kind {
        Kind::Produce => frames::produce(versions.produce, args.acks, topics, batch),
        Kind::Fetch => frames::fetch(versions.fetch, topics, args.fetch_bytes),
    }
}

/// Starts a connection's tasks; in an open loop gives where its requests are asked for.
fn start(
    args: &Args,
    plan: Plan,
    kind: Kind,
    stats: &Arc<Stats>,
    running: &mut JoinSet<Result<()>>,
) -> Option<mpsc::Sender<Instant>> {
    let Session { reader, writer, .. } = plan.session;
    let window = match kind {
        Kind::Produce => args.window,
        Kind::Fetch => 1,
    };
    let answered = kind == Kind::Fetch || args.acks != 0;
    let window = Arc::new(Semaphore::new(window));
    let (sent, owed) = mpsc::channel(WAITING);
    if answered {
        let api = match kind {
            Kind::Produce => (ApiKey::PRODUCE, plan.versions.produce),
            Kind::Fetch => (ApiKey::FETCH, plan.versions.fetch),
        };
        let receiving = Receiving {
            reader,
            owed,
            window: window.clone(),
            api,
            stats: stats.clone(),
        };
        running.spawn(receiving.run());
    } else {
        running.spawn(watch_for_end(reader));
    }
    let (lines, due) = match args.rate {
        Some(_) => {
            let (line, due) = mpsc::channel(WAITING);
            (Some(line), Turn::At(due))
        }
        None if answered => (None, Turn::WhenAnswered(window)),
        None => (None, Turn::Always),
    };
    let sending = Sending {
        writer,
        frames: plan.frames,
        sent: answered.then_some(sent),
        stats: stats.clone(),
    };
    running.spawn(sending.run(due));
    lines
}

/// When the next request is sent.
enum Turn {
    At(mpsc::Receiver<Instant>),
    WhenAnswered(Arc<Semaphore>),
    Always,
}

impl Turn {
    /// The moment the next request is meant for, once it has come; None at the end.
    async fn next(&mut self) -> Option<Instant> {
        match self {
            Turn::At(due) => due.recv().await,
            Turn::WhenAnswered(window) => {
                window.acquire().await.ok()?.forget();
                Some(Instant::now())
            }
            Turn::Always => Some(Instant::now()),
        }
    }
}

struct Sending {
    writer: Writer,
    frames: Vec<Template>,
    /// Requests in flight, with the moment they were meant for.
    sent: Option<mpsc::Sender<Instant>>,
    stats: Arc<Stats>,
}

impl Sending {
    async fn run(mut self, mut turn: Turn) -> Result<()> {
        let ids = AtomicI32::new(1);
        let frames = std::mem::take(&mut self.frames);
        let mut frames = frames.iter().cycle();
        while let (Some(intended), Some(frame)) = (turn.next().await, frames.next()) {
            let id = ids.fetch_add(1, Ordering::Relaxed);
            if let Some(sent) = &self.sent {
                // Before the write: the answer may be there before the write returns.
                sent.send(intended).await?;
            }
            self.writer.write(&frame.head(id), frame.rest()).await?;
            self.stats.wrote(frame.len());
            if self.sent.is_none() {
                self.stats.completed();
            }
        }
        // The connection stays open; what is in flight may still be answered.
        std::future::pending().await
    }
}

struct Receiving {
    reader: Reader,
    owed: mpsc::Receiver<Instant>,
    window: Arc<Semaphore>,
    api: (ApiKey, i16),
    stats: Arc<Stats>,
}

impl Receiving {
    async fn run(mut self) -> Result<()> {
        let (api, version) = self.api;
        let mut first_length = 0;
        let mut count = 0_u64;
        while let Some(intended) = self.owed.recv().await {
            if !self.reader.need(4).await? {
                return Ok(());
            }
            let length = self.reader.length();
            if first_length == 0 {
                let frame = self.reader.frame().await?.unwrap_or_default();
                check(api, version, &frame)?;
                first_length = length;
            } else if api == ApiKey::PRODUCE && count.is_multiple_of(LOOK_AT) {
                let frame = self.reader.frame().await?.unwrap_or_default();
                check(api, version, &frame)?;
            } else if api == ApiKey::FETCH && length < first_length / 2 {
                return Err(format!("a Fetch answer of only {length} bytes").into());
            } else {
                self.reader.consume(4);
                self.reader.discard(length).await?;
            }
            count += 1;
            self.stats.read(length + 4);
            self.stats.completed();
            self.stats.took(intended);
            self.window.add_permits(1);
        }
        Ok(())
    }
}

/// Without acknowledgements the only answer is the end of the connection.
async fn watch_for_end(mut reader: Reader) -> Result<()> {
    if reader.need(1).await? {
        return Err("an answer to a request without acknowledgements".into());
    }
    Ok(())
}
