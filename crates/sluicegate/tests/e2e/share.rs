//! Share groups (KIP-932) whose way to the brokers is cut: by the death of the gateway, and by relays without one.
//!
//! `SLUICEGATE_TEST_MESSAGES` is how many records there are; 3000 if unset, the full proof takes 50000.

use testkit::programs::{self, Program, Settings};
use testkit::{Gateway, GatewayOptions, JavaTool, KafkaCluster, Listener, Release, Result, Tool};
use testkit::{librdkafka, ports, shared};

use crate::front::LIMIT;

const CUTS: usize = 2;

/// What one member has counted, by name: see `SharePipeline.java`.
struct Counted(String);

impl Counted {
    fn of(&self, name: &str) -> usize {
        let mut parts = self.0.split_whitespace();
        let number = parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        let number = number.and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("{name} in {}", self.0))
    }
}

/// The way of the clients.
trait Cut {
    fn bootstrap(&self) -> String;
    fn cut(&mut self) -> Result<()>;
}

struct Killed {
    options: GatewayOptions,
    gateway: Gateway,
}

impl Cut for Killed {
    fn bootstrap(&self) -> String {
        self.gateway.bootstrap()
    }

    fn cut(&mut self) -> Result<()> {
        self.gateway.kill();
        self.gateway = self.options.clone().start()?;
        Ok(())
    }
}

struct Relayed<'a>(&'a KafkaCluster);

impl Cut for Relayed<'_> {
    fn bootstrap(&self) -> String {
        self.0.bootstrap(Listener::Relayed)
    }

    fn cut(&mut self) -> Result<()> {
        for id in self.0.node_ids() {
            self.0.with_relay(id, testkit::Relay::cut);
        }
        Ok(())
    }
}

fn records() -> usize {
    let count = std::env::var("SLUICEGATE_TEST_MESSAGES");
    count.map_or(3000, |text| text.parse().expect("a number"))
}

/// Takes two minutes, as the locks of members that are cut off have to run out; see `docs/proofs.md`.
#[test]
#[ignore = "takes minutes"]
fn nothing_is_lost_in_a_pipeline_of_share_groups() -> Result<()> {
    let cluster = shared::exclusive(Release::V4_3)?;
    let direct = cluster.bootstrap(Listener::Plaintext);
    let upstream = cluster.bootstrap(Listener::Relayed);
    let options = GatewayOptions::new(env!("CARGO_BIN_EXE_sluicegate"), &upstream)
        .env("GATEWAY_PORT_START", &ports::range(8).to_string())
        .env("GATEWAY_HTTP_PORT", &ports::free().to_string());
    pipeline("relay", &direct, &mut Relayed(&cluster))?;
    let gateway = options.clone().start()?;
    pipeline("gateway", &direct, &mut Killed { options, gateway })
}

fn pipeline(name: &str, direct: &str, way: &mut dyn Cut) -> Result<()> {
    let count = records();
    let topic = |level: usize| format!("share-{name}-{level}");
    for level in 0..2 {
        librdkafka::create_topic(direct, &topic(level), 4)?;
        JavaTool::new(Tool::Configs, Release::V4_3, direct)
            .args(&[
                "--alter",
                "--entity-type",
                "groups",
                "--entity-name",
                &topic(level),
            ])
            .args(&["--add-config", "share.auto.offset.reset=earliest"])
            .run(LIMIT)?;
    }
    let values = (0..count).map(|number| number.to_string());
    librdkafka::produce(direct, &[], &topic(0), values)?;
    let member = |level: usize, to: Option<String>| -> Result<Program> {
        let mut settings: Settings = [
            ("bootstrap.servers", way.bootstrap()),
            ("group.id", topic(level)),
            ("from", topic(level)),
            ("count", count.to_string()),
            // Longer than a record is locked for a member that is gone.
            ("quiet.ms", "35000".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        settings.extend(to.map(|to| ("to".to_owned(), to)));
        programs::share_pipeline(&settings)
    };
    let first = member(0, Some(topic(1)))?;
    let second = member(1, None)?;
    let patience = LIMIT * 4;
    for _ in 0..CUTS {
        second.says("progress", patience)?;
        way.cut()?;
    }
    let first = Counted(first.says("result", patience)?);
    let second = Counted(second.says("result", patience)?);
    let there = librdkafka::record_count(direct, &topic(1))?;
    println!(
        "{name}: {}\n{name}: {}\n{there} records in the second topic",
        first.0, second.0
    );
    for member in [&first, &second] {
        assert_eq!(member.of("distinct"), count, "{name}: lost");
        // Nothing that the broker has taken as accepted comes again.
        assert_eq!(member.of("accepted"), member.of("places"), "{name}");
    }
    // An answer that was lost on the way is not counted.
    assert!(second.of("places") <= there, "{name}: more than there are");
    Ok(())
}
