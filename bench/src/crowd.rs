//! Many connections: idle ones, ones that do not read, ones that come and go.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::load::Session;
use crate::{Result, frames, net};

/// Connections that are being opened at a time.
const AT_ONCE: usize = 64;
/// Requests that a stalled reader sends.
const UNREAD: usize = 5;
/// Bytes that each of them asks for.
const ASKED: usize = 1 << 20;

/// Which connections.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// `host:port`.
    #[arg(long)]
    address: String,
    /// How many; with `--conduct churn` how many at a time.
    #[arg(long, default_value_t = AT_ONCE)]
    count: usize,
    /// What they do.
    #[arg(long)]
    conduct: Conduct,
    /// Seconds of opening and closing.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// PEM file of trusted certificates: speak TLS.
    #[arg(long)]
    tls: Option<PathBuf>,
}

/// What connections do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Conduct {
    /// Ask for metadata once, then nothing.
    Idle,
    /// Fetch, and do not read the answers.
    Stalled,
    /// Ask for versions, and go.
    Churn,
}

/// Prints `open` when all connections are there and holds them until the process is killed; or prints connections per
/// second.
pub(crate) fn run(args: Args) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        if args.conduct == Conduct::Churn {
            println!("{}", churn(&args).await?);
            return Ok(());
        }
        let mut open = JoinSet::new();
        let mut held = Vec::new();
        for started in 0..args.count {
            if started >= AT_ONCE {
                held.extend(open.join_next().await.transpose()?.transpose()?);
            }
            open.spawn(open_one(args.clone()));
        }
        while let Some(one) = open.join_next().await {
            held.push(one??);
        }
        println!("open");
        std::future::pending::<()>().await;
        drop(held);
        Ok(())
    })
}

async fn connect(args: &Args) -> Result<Session> {
    let tls = args.tls.as_deref().map(net::connector).transpose()?;
    Session::open(&args.address, tls.as_ref(), None).await
}

async fn open_one(args: Args) -> Result<Session> {
    let mut session = connect(&args).await?;
    // It needs a broker for that, so a relay that connects late does it now.
    let topics = session.topics(&["c1024-0".to_owned()]).await?;
    if args.conduct == Conduct::Stalled {
        let fetch = frames::fetch(session.versions.fetch, &topics, ASKED)?;
        for id in 0..UNREAD {
            session
                .writer
                .write(&fetch.head(id as i32), fetch.rest())
                .await?;
        }
    }
    Ok(session)
}

/// Connections per second.
async fn churn(args: &Args) -> Result<f64> {
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(args.seconds);
    let mut clients = JoinSet::new();
    for _ in 0..args.count {
        let args = args.clone();
        clients.spawn(async move {
            let mut done = 0_u32;
            while Instant::now() < end {
                drop(connect(&args).await?);
                done += 1;
            }
            Ok::<_, crate::Error>(done)
        });
    }
    let mut done = 0;
    while let Some(client) = clients.join_next().await {
        done += client??;
    }
    Ok(f64::from(done) / begin.elapsed().as_secs_f64())
}
