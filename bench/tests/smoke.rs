//! The load generator and the brokers it measures with, together and for a moment: that they work, not how fast.

use std::process::Command;
use std::time::Duration;

use testkit::dirs::Scratch;
use testkit::process::{Process, Spec};
use testkit::{Error, Result, ports};

const PROGRAM: &str = env!("CARGO_BIN_EXE_sluicegate-bench");
const LIMIT: Duration = Duration::from_secs(60);

/// A broker of this program.
struct Broker {
    port: u16,
    _process: Process,
    _scratch: Scratch,
}

impl Broker {
    fn start(kind: &str) -> Result<Broker> {
        let scratch = Scratch::new("bench-smoke")?;
        let port = ports::free();
        let process = Spec::new(kind, PROGRAM, scratch.join("broker.log"))
            .args([kind, "--port", &port.to_string()])
            .start_with_lines()?;
        match process.next_line(LIMIT).as_deref() {
            Some("ready") => Ok(Broker {
                port,
                _process: process,
                _scratch: scratch,
            }),
            _ => Err(Error::Violated(process.log())),
        }
    }

    /// Runs a load; gives what it printed.
    fn load(&self, args: &[&str]) -> Result<String> {
        let address = format!("1=127.0.0.1:{}", self.port);
        let output = Command::new(PROGRAM)
            .args(["load", "--addresses", &address])
            .args(["--topics", "12", "--fetch-bytes", "200000"])
            .args(["--warm-up", "0.1", "--seconds", "0.2"])
            .args(args)
            .output()
            .map_err(|error| Error::Violated(error.to_string()))?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(printed);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::Violated(format!("{args:?}: {said}")))
    }

    /// Runs a load and checks that requests were answered.
    fn works(&self, args: &[&str], versions: (i64, i64)) -> Result<()> {
        let printed = self.load(args)?;
        let outcome: serde_json::Value =
            serde_json::from_str(&printed).map_err(|error| Error::Violated(error.to_string()))?;
        assert!(
            outcome["requests"].as_u64() > Some(0),
            "{args:?}: {printed}"
        );
        assert!(
            outcome["bytes"].as_u64() > Some(1000),
            "{args:?}: {printed}"
        );
        let used = (outcome["produce"].as_i64(), outcome["fetch"].as_i64());
        assert_eq!(used, (Some(versions.0), Some(versions.1)), "{args:?}");
        Ok(())
    }
}

#[test]
fn the_memory_broker_answers_all_loads() -> Result<()> {
    let broker = Broker::start("broker")?;
    let both = ["--producers", "2", "--consumers", "2"];
    broker.works(&both, (13, 18))?;
    broker.works(&[&both[..], &["--rate", "200"]].concat(), (13, 18))?;
    let old = ["--max-produce", "9", "--max-fetch", "12"];
    broker.works(&[&both[..], &old].concat(), (9, 12))?;
    broker.works(&["--producers", "2", "--acks", "0"], (13, 18))
}

#[test]
fn devbroker_answers_loads() -> Result<()> {
    let broker = Broker::start("dev-broker")?;
    broker.load(&["--prepare"])?;
    let both = ["--producers", "1", "--consumers", "1"];
    let printed = broker.load(&both)?;
    assert!(printed.contains("requests"), "{printed}");
    Ok(())
}
