//! Instructions per request of the data path, by callgrind.
//!
//! The gateway runs under valgrind with a worker thread for each case. A connection never moves to another worker, so callgrind's
//! profile of a thread holds one case: the connection's beginning and its requests, one at a time. Work of the kernel is not counted, and
//! neither is what the gateway does besides, such as following the cluster.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use devbroker::{DevCluster, Options};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, TopicName};
use testkit::dirs::Scratch;
use testkit::{Gateway, GatewayOptions};
use wire::api::ApiKey;

use crate::frames::{self, Template, text};
use crate::load::Session;
use crate::run::world::{make_virtual_cluster, with_accounts};
use crate::{Result, load};

/// The virtual cluster, which is the prefix of its topics' names.
const VIRTUAL: &str = "tenant";
const PASSTHROUGH: &str = "passthrough";
const USER: &str = "counter";
/// Bytes of a batch, in Produce and in answers to Fetch.
const BATCH: usize = 16 * 1024;
/// Topics in a Metadata answer.
const NAMES: usize = 100;
/// Names what only workers run: a connection's task.
const WORKER: &str = "sluicegate_proxy::worker::run::{{closure}}::{{closure}}";

/// How to count.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The gateway.
    #[arg(long)]
    gateway: PathBuf,
    /// The numbers to compare with.
    #[arg(long)]
    file: PathBuf,
    /// Writes the numbers instead of comparing them.
    #[arg(long)]
    bless: bool,
    /// Requests of each case.
    #[arg(long, default_value_t = 100)]
    requests: u32,
    /// How much more may be counted than the numbers say, per cent.
    #[arg(long, default_value_t = 3.0)]
    tolerance: f64,
    /// Keeps callgrind's profiles in this folder.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// What is counted.
struct Case {
    name: &'static str,
    virtual_cluster: &'static str,
    api: ApiKey,
    version: i16,
}

const CASES: [Case; 6] = [
    Case {
        name: "Produce v13, 16 KiB",
        virtual_cluster: PASSTHROUGH,
        api: ApiKey::PRODUCE,
        version: 13,
    },
    Case {
        name: "Fetch v17, 16 KiB",
        virtual_cluster: PASSTHROUGH,
        api: ApiKey::FETCH,
        version: 17,
    },
    Case {
        name: "Produce v9, 16 KiB, virtual cluster",
        virtual_cluster: VIRTUAL,
        api: ApiKey::PRODUCE,
        version: 9,
    },
    Case {
        name: "Fetch v12, 16 KiB, virtual cluster",
        virtual_cluster: VIRTUAL,
        api: ApiKey::FETCH,
        version: 12,
    },
    Case {
        name: "Metadata v12, 100 topics",
        virtual_cluster: PASSTHROUGH,
        api: ApiKey::METADATA,
        version: 12,
    },
    Case {
        name: "Metadata v12, 100 topics, virtual cluster",
        virtual_cluster: VIRTUAL,
        api: ApiKey::METADATA,
        version: 12,
    },
];

/// Counts and compares, or writes the numbers.
pub(crate) fn run(args: &Args) -> Result<()> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!(
            "Instruction counts are left out: `valgrind` is missing (Debian: apt-get install valgrind)."
        );
        return Ok(());
    }
    let counted = count(args)?;
    if args.bless {
        let lines: Vec<String> = counted
            .iter()
            .map(|(name, count)| format!("{count}\t{name}\n"))
            .collect();
        fs::write(&args.file, lines.concat())?;
        println!("written to {}", args.file.display());
        return Ok(());
    }
    compare(args, &counted)
}

fn compare(args: &Args, counted: &[(&str, u64)]) -> Result<()> {
    let Ok(known) = fs::read_to_string(&args.file) else {
        for (name, count) in counted {
            println!("{name}: {count} instructions per request");
        }
        let file = args.file.display();
        println!("There is no {file} to compare with; --bless writes it.");
        return Ok(());
    };
    let known: BTreeMap<&str, u64> = known
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .filter_map(|(count, name)| Some((name, count.parse().ok()?)))
        .collect();
    let mut exceeded = Vec::new();
    for (name, count) in counted {
        let before = known
            .get(name)
            .ok_or_else(|| format!("{} has no number for {name}", args.file.display()))?;
        let change = (*count as f64 / *before as f64 - 1.0) * 100.0;
        println!("{name}: {count} instructions per request, {change:+.1} % ({before} before)");
        if change > args.tolerance {
            exceeded.push(*name);
        } else if change < -args.tolerance {
            println!("  better than the number that is checked in: write it down with --bless");
        }
    }
    if exceeded.is_empty() {
        return Ok(());
    }
    Err(format!(
        "more than {} % above {}: {}. If that is wanted, say why in the commit and update the numbers with --bless.",
        args.tolerance,
        args.file.display(),
        exceeded.join("; ")
    )
    .into())
}

/// Instructions per request of each case.
fn count(args: &Args) -> Result<Vec<(&'static str, u64)>> {
    let scratch = Scratch::new("counts")?;
    let folder = args.keep.as_deref().unwrap_or(scratch.path());
    fs::create_dir_all(folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let cluster = runtime.block_on(DevCluster::start(Options::new().brokers(1)))?;
    let bootstrap = cluster.bootstrap();
    runtime.block_on(prepare(&bootstrap))?;
    let mut gateway = start(args, folder, &bootstrap)?;
    let address = gateway.bootstrap();
    let mut passwords = BTreeMap::new();
    for name in [PASSTHROUGH, VIRTUAL] {
        let password = make_virtual_cluster(gateway.http_port(), name, USER)?;
        passwords.insert(name, password);
    }
    let sessions = runtime.block_on(async {
        let mut open = Vec::new();
        for case in &CASES {
            let password = passwords.get(case.virtual_cluster).map(String::as_str);
            let login = password.map(|password| (USER, password));
            open.push(work(case, &address, login, args.requests).await?);
        }
        // Open until all are done: the next connection goes to the worker that has none.
        Ok::<_, crate::Error>(open)
    })?;
    drop(sessions);
    gateway.stop()?;
    let totals = totals(folder)?;
    if totals.len() != CASES.len() {
        return Err(format!(
            "{} profiles of workers instead of {}",
            totals.len(),
            CASES.len()
        )
        .into());
    }
    let cases = CASES.iter().zip(totals);
    Ok(cases
        .map(|(case, total)| (case.name, total / u64::from(args.requests.max(1))))
        .collect())
}

fn start(args: &Args, folder: &Path, bootstrap: &str) -> Result<Gateway> {
    let out = folder.join("profile");
    let threads = CASES.len().to_string();
    let options = GatewayOptions::new("valgrind", bootstrap).args(&[
        "--quiet",
        "--tool=callgrind",
        "--separate-threads=yes",
        &format!("--callgrind-out-file={}", out.display()),
        &args.gateway.display().to_string(),
        "run",
    ]);
    let options = with_accounts(options)
        // Else it has no rights in `passthrough`.
        .env("GATEWAY_SUPER_USERS", USER)
        .env("GATEWAY_UPSTREAM_THREAD", &threads)
        .env("GATEWAY_DOWNSTREAM_THREAD", &threads);
    let mut gateway = options.launch()?;
    gateway.wait_ready()?;
    Ok(gateway)
}

/// Topics under their physical names, at the broker itself.
async fn prepare(bootstrap: &str) -> Result<()> {
    let mut session = Session::open(bootstrap, None, None).await?;
    let mut names = Vec::new();
    for prefix in ["", VIRTUAL] {
        names.extend(["r", "c"].map(|name| format!("{prefix}{name}")));
        names.extend((0..NAMES).map(|n| format!("{prefix}m-{n}")));
    }
    session.create(&names, 1, &[]).await?;
    let topics = session
        .topics(&["c".to_owned(), format!("{VIRTUAL}c")])
        .await?;
    for topic in topics {
        session
            .fill(&[topic], &frames::batch(1024, BATCH), 1)
            .await?;
    }
    Ok(())
}

/// Sends a case's requests one at a time.
async fn work(
    case: &Case,
    address: &str,
    login: Option<(&str, &str)>,
    requests: u32,
) -> Result<Session> {
    let mut session = Session::log_in_at(address, None, login).await?;
    let template = match case.api {
        ApiKey::PRODUCE => {
            let topics = session.topics(&["r".to_owned()]).await?;
            frames::produce(case.version, -1, &topics, &frames::batch(1024, BATCH))?
        }
        ApiKey::FETCH => {
            let topics = session.topics(&["c".to_owned()]).await?;
            frames::fetch(case.version, &topics, BATCH)?
        }
        _ => metadata(case.version)?,
    };
    for _ in 0..requests {
        let answer = session.exchange(case.api, case.version, &template).await?;
        if case.api != ApiKey::METADATA {
            load::check(case.api, case.version, &answer)?;
        }
    }
    Ok(session)
}

fn metadata(version: i16) -> Result<Template> {
    let topics = (0..NAMES).map(|n| {
        let name = TopicName(text(&format!("m-{n}")));
        MetadataRequestTopic::default().with_name(Some(name))
    });
    let request = MetadataRequest::default()
        .with_topics(Some(topics.collect()))
        .with_allow_auto_topic_creation(false);
    Template::new(ApiKey::METADATA, version, &request)
}

/// Instructions of each worker, in the order in which they were started.
fn totals(folder: &Path) -> Result<Vec<u64>> {
    let mut by_thread = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let profile = String::from_utf8_lossy(&fs::read(entry?.path())?).into_owned();
        if !profile.contains(WORKER) {
            continue;
        }
        let field = |name: &str| {
            let line = profile.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.trim().parse::<u64>().ok())
        };
        if let (Some(thread), Some(total)) = (field("thread:"), field("totals:")) {
            by_thread.insert(thread, total);
        }
    }
    Ok(by_thread.into_values().collect())
}
