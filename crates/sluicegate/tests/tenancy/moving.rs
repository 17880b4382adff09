//! Groups that move from the classic to the consumer protocol and back, member by member, while records come.

use serde_json::json;
use testkit::driver::Task;
use testkit::{Result, wait};
use wire::api::ApiKey;

use crate::ask;
use crate::caller::Caller;
use crate::scale;
use crate::world::{LIMIT, World, java};

const PARTITIONS: i32 = 4;

/// No partition without an owner in the end nor with two at any time, no record lost nor given twice, and mapped names only.
#[test]
fn groups_move_between_protocols_and_back() -> Result<()> {
    let world = World::get()?;
    let tenant = world.tenant("mover")?;
    let mut root = tenant.root()?;
    let rounds = scale(1).min(20);
    let limit = LIMIT * 2 * u32::try_from(rounds).unwrap_or(u32::MAX);
    let driver = java()?;
    let mut moves = Vec::new();
    for assignor in ["Range", "Sticky", "CooperativeSticky"] {
        let topic = format!("for-{}", assignor.to_lowercase());
        let group = format!("{}-movers", assignor.to_lowercase());
        ask::topic(&mut root, &topic, PARTITIONS)?;
        beat_often(&mut root, &group)?;
        let access = tenant.access()?.java(&[
            ("group.id", &group),
            (
                "assignor",
                &format!("org.apache.kafka.clients.consumer.{assignor}Assignor"),
            ),
            ("partitions", &PARTITIONS.to_string()),
            ("rounds", &rounds.to_string()),
            ("pause.ms", "20"),
            ("brokers.bootstrap", &world.broker_bootstrap()),
            ("brokers.group", &tenant.physical(&group)),
        ]);
        let task = driver.give(Task::Move, &topic, &access)?;
        moves.push((assignor, topic, task));
    }
    for (assignor, topic, task) in moves {
        let report = task.wait_for(limit)?;
        assert!(report.ok, "{assignor}: {}", report.text);
        let mut lines = report.text.lines();
        let physical = tenant.physical(&topic);
        let mut expected = Vec::new();
        let mut state = |what: &str, kind: &str, members: usize| {
            expected.push(format!(
                "state {what} {kind} {members} [{topic}] at brokers {kind} {members} [{physical}]"
            ));
        };
        state("classic", "Classic", 2);
        for _ in 0..rounds {
            for end in ["consumer", "classic"] {
                let last = match end {
                    "consumer" => "Consumer",
                    _ => "Classic",
                };
                state("mixed", "Consumer", 3);
                state("mixed", "Consumer", 2);
                state("mixed", "Consumer", 3);
                state(end, last, 2);
            }
        }
        for expected in expected {
            assert_eq!(
                lines.next(),
                Some(&*expected),
                "{assignor}: {}",
                report.text
            );
        }
        let counts = lines.next().unwrap_or_default();
        assert!(
            counts.starts_with("sent ") && counts.ends_with(" again 0"),
            "{assignor}: {}",
            report.text
        );
        assert_eq!(
            lines.next(),
            Some(&*format!("topics [{topic}]")),
            "{assignor}"
        );
        assert_eq!(lines.next(), None, "{assignor}: {}", report.text);
        println!("{assignor}: {rounds} times there and back, {counts}");
    }
    Ok(())
}

/// Lets members of the consumer protocol say more often that they live, so that they hear sooner of others.
fn beat_often(root: &mut Caller, group: &str) -> Result<()> {
    let key = "consumer.heartbeat.interval.ms";
    let body = json!({ "Resources": [{
        "ResourceType": 32,
        "ResourceName": group,
        "Configs": [{ "Name": key, "Value": "200" }],
    }] });
    root.must(1, ApiKey::INCREMENTAL_ALTER_CONFIGS, 1, &body)?;
    let body = json!({ "Resources": [{
        "ResourceType": 32,
        "ResourceName": group,
        "ConfigurationKeys": [key],
    }] });
    for node in root.nodes() {
        wait::until_true("a group's configuration to be known", LIMIT, || {
            let answer = root.must(node, ApiKey::DESCRIBE_CONFIGS, 4, &body);
            answer.is_ok_and(|answer| answer["Results"][0]["Configs"][0]["Value"] == "200")
        })?;
    }
    Ok(())
}
