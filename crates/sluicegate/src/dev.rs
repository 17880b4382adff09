//! `sluicegate dev`: in-memory brokers and the gateway in front of them, in one process, for trying out.

use std::process::ExitCode;
use std::sync::mpsc;

use config::{Config, Source};
use devbroker::{DevCluster, Options};

use crate::cli::DevArgs;
use crate::run;

/// Runs brokers and gateway until a signal ends them.
pub(crate) fn run(args: &DevArgs) -> ExitCode {
    let bootstrap = match start_brokers(u16::from(args.brokers)) {
        Ok(bootstrap) => bootstrap,
        Err(error) => {
            eprintln!("cannot start the in-memory brokers: {error}");
            return ExitCode::FAILURE;
        }
    };
    // What the user sets wins, KAFKA_BOOTSTRAP_SERVERS included.
    let source = other_ports(args.env.source())
        .with_host_name("localhost")
        .or_set("KAFKA_BOOTSTRAP_SERVERS", bootstrap)
        .or_set("GATEWAY_MIN_BROKERID", "1")
        // Trying out begins with a topic that is just used.
        .or_set("GATEWAY_AUTO_CREATE_TOPICS_ENABLED", "true");
    let greeting = run::Greeting {
        configuration: false, // `sluicegate check` shows it; here the welcome shall be seen
        ready: |config: &Config| print!("{}", welcome(config)),
    };
    run::run(&source, greeting)
}

/// Where the listener `DEV` is given ports, what else it needs is known.
fn other_ports(source: Source) -> Source {
    if source.get("GATEWAY_LISTENER_DEV_PORTS").is_none() {
        return source;
    }
    source
        .or_set("GATEWAY_SECURITY_MODE", "GATEWAY_MANAGED")
        .or_set("GATEWAY_LISTENER_DEV_SECURITY_PROTOCOL", "PLAINTEXT")
        .or_set("GATEWAY_LISTENER_DEV_ROUTING", "port")
        .or_set("GATEWAY_LISTENER_DEV_ADVERTISED_HOST", "localhost")
}

/// Starts the brokers on a thread of their own, so that a busy gateway does not starve them; they live as long as the
/// process. Returns their bootstrap servers.
fn start_brokers(count: u16) -> std::io::Result<String> {
    let (started, outcome) = mpsc::channel();
    std::thread::Builder::new()
        .name("devbroker".to_owned())
        .spawn(move || {
            let runtime = match tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return;
                }
            };
            runtime.block_on(async {
                match DevCluster::start(Options::new().brokers(count)).await {
                    Ok(cluster) => {
                        let _ = started.send(Ok(cluster.bootstrap()));
                        std::future::pending::<()>().await;
                    }
                    Err(error) => {
                        let _ = started.send(Err(error));
                    }
                }
            });
        })?;
    outcome
        .recv()
        .unwrap_or_else(|_| Err(std::io::Error::other("the broker thread ended")))
}

/// What to try next.
fn welcome(config: &Config) -> String {
    let Some(listener) = config.network.listeners.first() else {
        return String::new();
    };
    let port = match &listener.ports {
        config::PortPlan::FromStart { start, .. } => *start,
        config::PortPlan::Explicit(pairs) => pairs.first().map_or(0, |pair| pair.advertised),
    };
    let gateway = format!("{}:{port}", listener.advertised_host);
    let admin = config.http.port;
    let mut text = format!(
        "
Sluicegate is ready: clients connect to {gateway}, the admin port is {admin}.

Try, in another terminal:

  echo 'hello' | kcat -P -b {gateway} -t greetings
  kcat -C -b {gateway} -t greetings -o beginning -e

or with the tools of an Apache Kafka installation:

  kafka-topics.sh --bootstrap-server {gateway} --create --topic orders --partitions 3
  echo 'hello' | kafka-console-producer.sh --bootstrap-server {gateway} --topic orders
  kafka-console-consumer.sh --bootstrap-server {gateway} --topic orders --from-beginning --max-messages 1

and look at its health:

  curl localhost:{admin}/health

"
    );
    text.push_str("Behind it are in-memory brokers for trying out, not a Kafka cluster:\n\n");
    for limit in devbroker::LIMITS {
        text.push_str("  * ");
        text.push_str(limit);
        text.push('\n');
    }
    text.push_str("\nCtrl-C ends it.\n");
    text
}
