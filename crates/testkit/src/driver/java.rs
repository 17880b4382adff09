//! The Java side: programs compiled once per release and kept in the cache.

use super::{AT_A_TIME, HOSTS};
use crate::compile::compiled;
use crate::dirs::Scratch;
use crate::process::{Process, Spec};
use crate::{Error, Release, Result};
use std::fs;

const ROUND_TRIP: &str = include_str!("../../java/RoundTrip.java");
const MODERN: &str = include_str!("../../java/Modern.java");
const MOVERS: &str = include_str!("../../java/Movers.java");

/// The programs of a release, as file name and text.
fn sources(release: Release) -> &'static [(&'static str, &'static str)] {
    match release {
        Release::V4_3 => &[
            ("RoundTrip.java", ROUND_TRIP),
            ("Modern.java", MODERN),
            ("Movers.java", MOVERS),
        ],
        Release::V2_1 | Release::V3_9 => &[("RoundTrip.java", ROUND_TRIP)],
    }
}

pub(super) fn start(release: Release, port: u16, scratch: &Scratch) -> Result<Process> {
    let label = format!("round-trip-{}", release.version());
    let classes = compiled(&label, &release.class_path()?, sources(release))?;
    let hosts = scratch.join("hosts");
    let text: String = HOSTS
        .iter()
        .map(|name| format!("127.0.0.1 {name}\n"))
        .collect();
    fs::write(&hosts, text).map_err(Error::io("write a hosts file"))?;
    Spec::new(
        format!("RoundTrip {}", release.version()),
        "java",
        scratch.join("log"),
    )
    .args(release.java_options_with(&[&classes])?)
    .args([format!("-Djdk.net.hosts.file={}", hosts.display())])
    .args(crate::java::quiet_logging(scratch.path())?)
    .args(["RoundTrip", &port.to_string(), &AT_A_TIME.to_string()])
    .start()
}
