//! Kafka's admin tools.

use crate::front::{Front, LIMIT};
use testkit::{JavaTool, Release, Result, Tool, librdkafka, shared};

#[test]
fn topics_and_configs() -> Result<()> {
    for release in Release::cluster_lines().iter().copied() {
        let cluster = shared::cluster(release)?;
        let front = Front::of(&cluster)?;
        for client in [Release::V3_9, Release::V4_3] {
            let topic = shared::unique("admin");
            let run = |tool: Tool, args: &[&str]| -> Result<String> {
                let lines = JavaTool::new(tool, client, &front.bootstrap())
                    .args(args)
                    .run(LIMIT)?;
                Ok(lines.join("\n"))
            };
            run(
                Tool::Topics,
                &[
                    "--create",
                    "--topic",
                    &topic,
                    "--partitions",
                    "2",
                    "--config",
                    "retention.ms=60000",
                ],
            )?;
            run(
                Tool::Topics,
                &["--alter", "--topic", &topic, "--partitions", "5"],
            )?;
            let described = run(Tool::Topics, &["--describe", "--topic", &topic])?;
            assert!(described.contains("PartitionCount: 5"), "{described}");
            assert!(described.contains("retention.ms=60000"), "{described}");

            let entity = ["--entity-type", "topics", "--entity-name", topic.as_str()];
            run(
                Tool::Configs,
                &[
                    &["--alter", "--add-config", "max.message.bytes=4242"],
                    &entity[..],
                ]
                .concat(),
            )?;
            let described = run(Tool::Configs, &[&["--describe"], &entity[..]].concat())?;
            assert!(described.contains("max.message.bytes=4242"), "{described}");

            run(Tool::Topics, &["--delete", "--topic", &topic])?;
            let listed = run(Tool::Topics, &["--list"])?;
            assert!(!listed.lines().any(|line| line == topic), "{listed}");
        }
        front.finish()?;
    }
    Ok(())
}

#[test]
fn groups_are_described_and_reset() -> Result<()> {
    for release in Release::cluster_lines().iter().copied() {
        let cluster = shared::cluster(release)?;
        let front = Front::of(&cluster)?;
        for client in Release::ALL {
            let topic = shared::unique("reset");
            librdkafka::create_topic(&front.bootstrap(), &topic, 1)?;
            let values = (0..10).map(|n| n.to_string());
            librdkafka::produce(&front.bootstrap(), &[], &topic, values)?;
            librdkafka::consume(&front.bootstrap(), &[], &topic, &topic, 10)?;
            let groups = |args: &[&str]| -> Result<String> {
                let lines = JavaTool::new(Tool::ConsumerGroups, client, &front.bootstrap())
                    .args(&["--group", &topic])
                    .args(args)
                    .run(LIMIT)?;
                Ok(lines.join("\n"))
            };
            groups(&[
                "--reset-offsets",
                "--to-offset",
                "4",
                "--topic",
                &topic,
                "--execute",
            ])?;
            let described = groups(&["--describe"])?;
            let row: Vec<&str> = described
                .lines()
                .find(|line| {
                    line.split_whitespace()
                        .any(|word| word == topic && !line.contains("GROUP "))
                })
                .map(|line| line.split_whitespace().collect())
                .unwrap_or_default();
            // Current offset, end, lag.
            assert!(
                row.windows(3).any(|words| words == ["4", "10", "6"]),
                "{described}"
            );
            groups(&["--delete"])?;
        }
        front.finish()?;
    }
    Ok(())
}

#[test]
fn records_are_deleted() -> Result<()> {
    for release in Release::cluster_lines().iter().copied() {
        let cluster = shared::cluster(release)?;
        let front = Front::of(&cluster)?;
        for client in Release::ALL {
            let topic = shared::unique("truncate");
            librdkafka::create_topic(&front.bootstrap(), &topic, 1)?;
            let values = (0..10).map(|n| n.to_string());
            librdkafka::produce(&front.bootstrap(), &[], &topic, values)?;
            let request = cluster.dir().join(format!("{topic}.json"));
            let text = format!(
                r#"{{"version":1,"partitions":[{{"topic":"{topic}","partition":0,"offset":7}}]}}"#
            );
            std::fs::write(&request, text).map_err(testkit::Error::io("write the request"))?;
            JavaTool::new(Tool::DeleteRecords, client, &front.bootstrap())
                .args(&["--offset-json-file", &request.display().to_string()])
                .run(LIMIT)?;
            let left = librdkafka::read_all(&front.bootstrap(), &[], &topic)?;
            assert_eq!(left, ["7", "8", "9"], "{client:?}");
        }
        front.finish()?;
    }
    Ok(())
}
