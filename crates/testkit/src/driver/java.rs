//! The Java side: programs compiled once per release and kept in the cache.

use super::{AT_A_TIME, HOSTS};
use crate::dirs::{self, Scratch};
use crate::process::{Process, Spec, tail};
use crate::{Error, Release, Result};
use aws_lc_rs::digest;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const ROUND_TRIP: &str = include_str!("../../java/RoundTrip.java");
const MODERN: &str = include_str!("../../java/Modern.java");

/// The programs of a release, as file name and text.
fn sources(release: Release) -> &'static [(&'static str, &'static str)] {
    match release {
        Release::V4_3 => &[("RoundTrip.java", ROUND_TRIP), ("Modern.java", MODERN)],
        Release::V2_1 | Release::V3_9 => &[("RoundTrip.java", ROUND_TRIP)],
    }
}

pub(super) fn start(release: Release, port: u16, scratch: &Scratch) -> Result<Process> {
    let classes = compiled(release)?;
    let hosts = scratch.join("hosts");
    let text: String = HOSTS
        .iter()
        .map(|name| format!("127.0.0.1 {name}\n"))
        .collect();
    fs::write(&hosts, text).map_err(Error::io("write a hosts file"))?;
    let mut options = release.java_options()?;
    if let Some(class_path) = options.last_mut() {
        *class_path = format!("{class_path}:{}", classes.display());
    }
    Spec::new(
        format!("RoundTrip {}", release.version()),
        "java",
        scratch.join("log"),
    )
    .args(options)
    .args([format!("-Djdk.net.hosts.file={}", hosts.display())])
    .args(crate::java::quiet_logging(scratch.path())?)
    .args(["RoundTrip", &port.to_string(), &AT_A_TIME.to_string()])
    .start()
}

/// Where the compiled programs lie. Takes its name last, so that an interrupted or concurrent call does no harm.
fn compiled(release: Release) -> Result<PathBuf> {
    let all: String = sources(release).iter().map(|(_, text)| *text).collect();
    let sum = digest::digest(&digest::SHA256, all.as_bytes());
    let sum: String = sum.as_ref()[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let cache = dirs::cache()?
        .canonicalize()
        .map_err(Error::io("find the cache"))?;
    let classes = cache.join(format!("round-trip-{}-{sum}", release.version()));
    if classes.exists() {
        return Ok(classes);
    }
    let scratch = Scratch::new("round-trip")?;
    let fresh = scratch.join("classes");
    let mut files = Vec::new();
    for (name, text) in sources(release) {
        let file = scratch.join(name);
        fs::write(&file, text).map_err(Error::io(format!("write {name}")))?;
        files.push(file);
    }
    let output = Command::new("javac")
        .args(["-nowarn", "-proc:none", "-cp", &release.class_path()?, "-d"])
        .arg(&fresh)
        .args(&files)
        .output()
        .map_err(|error| Error::Missing {
            program: "javac",
            problem: format!("a JDK, 17 or newer, could not be started ({error})"),
        })?;
    if !output.status.success() {
        return Err(Error::Exit {
            program: format!("javac of the driver (Kafka {})", release.version()),
            status: output.status.code().unwrap_or(-1),
            output: tail(&String::from_utf8_lossy(&output.stderr), 30),
        });
    }
    match fs::rename(&fresh, &classes) {
        Ok(()) => Ok(classes),
        // Somebody else was faster.
        Err(_) if classes.exists() => Ok(classes),
        Err(error) => Err(Error::io(format!("rename {}", fresh.display()))(error)),
    }
}
