//! Producing and consuming with every client line.

use crate::front::{Front, LIMIT};
use testkit::{JavaTool, Release, Result, Tool, librdkafka, shared};

#[test]
fn console_tools_of_all_ages() -> Result<()> {
    for line in [Release::V3_9, Release::V4_3] {
        let cluster = shared::cluster(line)?;
        let front = Front::of(&cluster)?;
        for client in Release::ALL {
            let topic = shared::unique("console");
            librdkafka::create_topic(&front.bootstrap(), &topic, 3)?;
            JavaTool::new(Tool::ConsoleProducer, client, &front.bootstrap())
                .args(&["--topic", &topic])
                // By default it repeats itself after a second and a half.
                .args(&["--request-timeout-ms", "60000"])
                .config("acks", "all")
                .input("one\ntwo\nthree\n")
                .run(LIMIT)?;
            let mut lines = JavaTool::new(Tool::ConsoleConsumer, client, &front.bootstrap())
                .args(&["--topic", &topic, "--group", &topic, "--from-beginning"])
                .args(&["--max-messages", "3", "--timeout-ms", "60000"])
                .run(LIMIT)?;
            lines.sort();
            assert_eq!(lines, ["one", "three", "two"], "{client:?}");
        }
        front.finish()?;
    }
    Ok(())
}

#[test]
fn librdkafka_with_every_compression_it_has() -> Result<()> {
    for line in Release::cluster_lines() {
        let cluster = shared::cluster(*line)?;
        let front = Front::of(&cluster)?;
        for codec in ["none", "gzip", "snappy", "lz4"] {
            let topic = shared::unique("rdkafka");
            librdkafka::create_topic(&front.bootstrap(), &topic, 3)?;
            let values: Vec<String> = (0..1000).map(|n| format!("{codec} {n:04}")).collect();
            let settings = [("compression.type", codec), ("enable.idempotence", "true")];
            librdkafka::produce(&front.bootstrap(), &settings, &topic, values.clone())?;
            let mut seen =
                librdkafka::consume(&front.bootstrap(), &[], &topic, &topic, values.len())?;
            seen.sort();
            assert!(seen == values, "{codec}");
        }
        front.finish()?;
    }
    Ok(())
}

#[test]
fn batches_of_almost_a_megabyte() -> Result<()> {
    let cluster = shared::cluster(Release::V4_3)?;
    let front = Front::of(&cluster)?;
    let topic = shared::unique("large");
    librdkafka::create_topic(&front.bootstrap(), &topic, 1)?;
    // Key and value are the same 400 kB.
    let values: Vec<String> = (0..20).map(|n| format!("{n:02}").repeat(200_000)).collect();
    librdkafka::produce(&front.bootstrap(), &[], &topic, values.clone())?;
    let seen = librdkafka::consume(&front.bootstrap(), &[], &topic, &topic, values.len())?;
    assert!(seen == values);
    front.finish()
}
