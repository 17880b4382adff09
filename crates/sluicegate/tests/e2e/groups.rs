//! Consumer groups of all kinds.

use crate::front::{Front, LIMIT};
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::rdkafka::consumer::{BaseConsumer, Consumer};
use testkit::verify::Verifiable;
use testkit::{JavaTool, Release, Result, Tool, librdkafka, shared, wait};

#[test]
fn two_members_share_the_partitions_and_offsets_survive() -> Result<()> {
    for line in Release::cluster_lines() {
        let cluster = shared::cluster(*line)?;
        let front = Front::of(&cluster)?;
        let topic = shared::unique("classic");
        librdkafka::create_topic(&front.bootstrap(), &topic, 4)?;
        let settings = [
            ("group.id", topic.as_str()),
            ("auto.offset.reset", "earliest"),
        ];
        let member = || -> Result<BaseConsumer> {
            let member: BaseConsumer =
                librdkafka::config(&front.bootstrap(), &settings).create()?;
            member.subscribe(&[&topic])?;
            Ok(member)
        };
        let members = [member()?, member()?];
        wait::until_true("both members to own two partitions", LIMIT, || {
            // Polling serves the rebalance: of all of them, as whoever came first has to give up what it got.
            for member in &members {
                let _ = member.poll(Duration::from_millis(50));
            }
            members
                .iter()
                .all(|member| member.assignment().is_ok_and(|owned| owned.count() == 2))
        })?;
        drop(members);

        let values = |range: std::ops::Range<u32>| range.map(|n| format!("{n:03}"));
        librdkafka::produce(&front.bootstrap(), &[], &topic, values(0..100))?;
        let first = librdkafka::consume(&front.bootstrap(), &[], &topic, &topic, 100)?;
        librdkafka::produce(&front.bootstrap(), &[], &topic, values(100..150))?;
        let second = librdkafka::consume(&front.bootstrap(), &[], &topic, &topic, 50)?;
        let all: BTreeSet<String> = first.into_iter().chain(second).collect();
        assert_eq!(all.len(), 150);
        front.finish()?;
    }
    Ok(())
}

#[test]
fn consumer_protocol_kip_848() -> Result<()> {
    let cluster = shared::cluster(Release::V4_3)?;
    let front = Front::of(&cluster)?;
    let topic = shared::unique("kip848");
    librdkafka::create_topic(&front.bootstrap(), &topic, 4)?;
    let settings = [("group.protocol", "consumer")];
    let start =
        || Verifiable::consumer(Release::V4_3, &front.bootstrap(), &topic, &topic, &settings);
    let (one, two) = (start()?, start()?);
    let values = (0..500).map(|n| n.to_string());
    librdkafka::produce(&front.bootstrap(), &[], &topic, values)?;
    wait::until_true("all records", LIMIT, || one.count() + two.count() >= 500)?;
    // "uniform" is an assignor of the broker: a classic group would name one of the client's.
    wait::until_true("a stable group of the new protocol", LIMIT, || {
        JavaTool::new(Tool::ConsumerGroups, Release::V4_3, &front.bootstrap())
            .args(&["--describe", "--group", &topic, "--state"])
            .run(LIMIT)
            .is_ok_and(|lines| {
                lines
                    .iter()
                    .any(|line| line.contains("Stable") && line.contains("uniform"))
            })
    })?;
    let mut seen = one.stop(LIMIT)?;
    seen.extend(two.stop(LIMIT)?);
    let distinct: BTreeSet<&str> = seen.iter().map(|record| record.value.as_str()).collect();
    assert_eq!((seen.len(), distinct.len()), (500, 500));
    front.finish()
}

#[test]
fn share_group() -> Result<()> {
    let cluster = shared::cluster(Release::V4_3)?;
    let front = Front::of(&cluster)?;
    let topic = shared::unique("share");
    librdkafka::create_topic(&front.bootstrap(), &topic, 2)?;
    JavaTool::new(Tool::Configs, Release::V4_3, &front.bootstrap())
        .args(&[
            "--alter",
            "--entity-type",
            "groups",
            "--entity-name",
            &topic,
        ])
        .args(&["--add-config", "share.auto.offset.reset=earliest"])
        .run(LIMIT)?;
    let values: Vec<String> = (0..100).map(|n| format!("{n:03}")).collect();
    librdkafka::produce(&front.bootstrap(), &[], &topic, values.clone())?;
    let mut lines = JavaTool::new(
        Tool::ConsoleShareConsumer,
        Release::V4_3,
        &front.bootstrap(),
    )
    .args(&["--topic", &topic, "--group", &topic])
    .args(&["--max-messages", "100", "--timeout-ms", "60000"])
    .run(LIMIT)?;
    lines.sort();
    assert_eq!(lines, values);
    let described = JavaTool::new(Tool::ShareGroups, Release::V4_3, &front.bootstrap())
        .args(&["--describe", "--group", &topic])
        .run(LIMIT)?;
    assert!(
        described.iter().any(|line| line.contains(&topic)),
        "{described:?}"
    );
    front.finish()
}
