//! Apache Kafka releases, fetched from Maven Central with Maven and checked.

use crate::dirs;
use crate::maven::{self, Jars};
use crate::process::{Process, Signal, Spec};
use crate::{Error, Result, ports, wait};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

/// A pinned release of Apache Kafka: the Java clients and tools of that line, and brokers where it
/// can run as a KRaft cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Release {
    /// 2.1.1: the oldest line whose clients still speak to Kafka 4 (KIP-896). Clients only.
    V2_1,
    /// 3.9.2: the last line before 4.0.
    V3_9,
    /// 4.3.0: the current line.
    V4_3,
}

impl Release {
    /// All releases, oldest first.
    pub const ALL: [Release; 3] = [Release::V2_1, Release::V3_9, Release::V4_3];

    /// The lines of brokers that tests run on: the current one, and with `SLUICEGATE_TEST_LINES=all` every one. The full
    /// run is for before a release; it takes twice as long.
    pub fn cluster_lines() -> &'static [Release] {
        match std::env::var("SLUICEGATE_TEST_LINES").as_deref() {
            Ok("all") => &[Release::V3_9, Release::V4_3],
            _ => &[Release::V4_3],
        }
    }

    /// The version, for example `4.3.0`.
    pub fn version(self) -> &'static str {
        match self {
            Release::V2_1 => "2.1.1",
            Release::V3_9 => "3.9.2",
            Release::V4_3 => "4.3.0",
        }
    }

    /// True if a KRaft cluster of this release can be started.
    pub fn has_brokers(self) -> bool {
        self != Release::V2_1
    }

    /// The Java class path of this release, fetched first if it is not in the cache.
    ///
    /// Two processes may call this at the same time; one of them fetches.
    ///
    /// # Errors
    /// Java 17 or Maven is missing, Maven Central is out of reach, or a jar is not the pinned one.
    pub fn class_path(self) -> Result<String> {
        static READY: [OnceLock<Result<String, String>>; 3] = [const { OnceLock::new() }; 3];
        let ready = &READY[self as usize];
        let outcome = ready.get_or_init(|| self.fetch().map_err(|error| error.to_string()));
        outcome.clone().map_err(Error::Violated)
    }

    /// Options for every `java` call: a small heap, a quick start.
    ///
    /// # Errors
    /// As [`Release::class_path`].
    pub fn java_options(self) -> Result<Vec<String>> {
        let class_path = self.class_path()?;
        let mut options: Vec<String> = JAVA_OPTIONS.map(str::to_owned).to_vec();
        let archive = self.archive()?;
        if archive.exists() {
            options.push(format!("-XX:SharedArchiveFile={}", archive.display()));
        }
        options.extend(["-cp".to_owned(), class_path]);
        Ok(options)
    }

    /// [`Release::java_options`] with further folders or jars on the class path.
    ///
    /// # Errors
    /// As [`Release::class_path`].
    pub fn java_options_with(self, more: &[&Path]) -> Result<Vec<String>> {
        let mut options = self.java_options()?;
        if let Some(class_path) = options.last_mut() {
            for place in more {
                class_path.push_str(&format!(":{}", place.display()));
            }
        }
        Ok(options)
    }

    fn fetch(self) -> Result<String> {
        check_java()?;
        let dir = self.dir()?;
        let _lock = maven::lock(&dir)?;
        let libs = self.jars(dir).ready()?;
        let class_path = format!("{}/*", libs.display());
        if self.has_brokers() && !self.archive()?.exists() {
            self.write_archive(&class_path)?;
        }
        Ok(class_path)
    }

    fn jars(self, dir: PathBuf) -> Jars {
        let dependency = |(group, artifact, version)| {
            format!(
                "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
                 <version>{version}</version></dependency>\n"
            )
        };
        Jars {
            name: format!("Kafka {}", self.version()),
            dir,
            dependencies: self.artifacts().into_iter().map(dependency).collect(),
            pins: self.pins().to_vec(),
        }
    }

    fn dir(self) -> Result<PathBuf> {
        let dir = dirs::cache()?.join(format!("kafka-{}", self.version()));
        fs::create_dir_all(&dir).map_err(Error::io(format!("create {}", dir.display())))?;
        dir.canonicalize()
            .map_err(Error::io(format!("find {}", dir.display())))
    }

    fn archive(self) -> Result<PathBuf> {
        Ok(self.dir()?.join("classes.jsa"))
    }

    fn artifacts(self) -> Vec<(&'static str, &'static str, &'static str)> {
        let kafka = "org.apache.kafka";
        let version = self.version();
        match self {
            Release::V2_1 => vec![
                (kafka, "kafka_2.12", version),
                (kafka, "kafka-tools", version),
            ],
            Release::V3_9 => vec![
                (kafka, "kafka_2.13", version),
                (kafka, "kafka-tools", version),
            ],
            // Kafka 4 leaves the choice of a logging back end to the distribution.
            Release::V4_3 => vec![
                (kafka, "kafka_2.13", version),
                (kafka, "kafka-tools", version),
                ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.4"),
            ],
        }
    }

    /// SHA-256 of the jars that matter.
    fn pins(self) -> [(&'static str, &'static str); 3] {
        match self {
            Release::V2_1 => [
                (
                    "kafka_2.12-2.1.1.jar",
                    "3b1b1400cc3e895611a65f47df4095f7acd4db0b708bdbfa6dda48001e03fe46",
                ),
                (
                    "kafka-clients-2.1.1.jar",
                    "d5c1ed6e23e815fe43c0f050ef0651110b9e9b59cfc4d86e50bf7cc084132a93",
                ),
                (
                    "kafka-tools-2.1.1.jar",
                    "3ff308d4b4dd991fc4f83a09dbff7b4482eb41b5d2aae82e3b0a631490d260d4",
                ),
            ],
            Release::V3_9 => [
                (
                    "kafka_2.13-3.9.2.jar",
                    "dddf49b18c931301fece0048a76d6b0956c36c8b1d1fc721bfed318aa6ee3e4f",
                ),
                (
                    "kafka-clients-3.9.2.jar",
                    "014b4ef36884478a932641818b080c36a8f8e2e92dc771e800c9d2694f4f83d8",
                ),
                (
                    "kafka-tools-3.9.2.jar",
                    "3e6844711c3f5c9148f76ac96dfbf1de0aeeba11249e142e084b6de68e0ed05e",
                ),
            ],
            Release::V4_3 => [
                (
                    "kafka_2.13-4.3.0.jar",
                    "e3669cb733f657689f71cba145af51022f29cebba81d8bf69699274b46c70da8",
                ),
                (
                    "kafka-clients-4.3.0.jar",
                    "97a5b492d4ad658fd2dfba969fa0e403c2e38c971fb1e083da4e391471925fc1",
                ),
                (
                    "kafka-tools-4.3.0.jar",
                    "b88bc6ccc520d648142515526e4042c285612ce94b032434a88e3e936e38b600",
                ),
            ],
        }
    }

    /// Runs one broker once and keeps its loaded classes in an archive: later starts need half the
    /// processor time.
    fn write_archive(self, class_path: &str) -> Result<()> {
        let scratch = dirs::Scratch::new("class-archive")?;
        let (port, controller) = (ports::free(), ports::free());
        let properties = scratch.join("server.properties");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\nlog.dirs={}\n",
            scratch.join("data").display()
        );
        fs::write(&properties, text)
            .map_err(Error::io(format!("write {}", properties.display())))?;
        let java = |name: &str, extra: &[String], args: &[&str]| -> Result<Process> {
            Spec::new(name, "java", scratch.join("log"))
                .args(JAVA_OPTIONS)
                .args(extra)
                .args(["-cp", class_path])
                .args(args)
                .start()
        };
        let properties = properties.to_string_lossy();
        let cluster_id = "c2x1aWNlZ2F0ZS10ZXN0cw";
        java(
            "kafka-storage",
            &[],
            &[
                "kafka.tools.StorageTool",
                "format",
                "-t",
                cluster_id,
                "-c",
                &properties,
            ],
        )?
        .wait(START_LIMIT)?;
        let fresh = self.archive()?.with_extension("fresh");
        let dump = format!("-XX:ArchiveClassesAtExit={}", fresh.display());
        let mut broker = java("Kafka", &[dump], &["kafka.Kafka", &properties])?;
        wait::until_true("a broker to listen", START_LIMIT, || {
            !broker.is_running() || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        })?;
        broker.signal(Signal::Term);
        broker.wait(START_LIMIT)?;
        // Without an archive everything works, only slower.
        let _ = fs::rename(&fresh, self.archive()?);
        Ok(())
    }
}

const START_LIMIT: Duration = Duration::from_secs(90);

/// `-Xlog:disable` keeps warnings of the virtual machine out of the tools' output.
const JAVA_OPTIONS: [&str; 4] = [
    "-Xmx384m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xlog:disable",
];

fn check_java() -> Result<()> {
    let missing = |problem: String| Error::Missing {
        program: "java",
        problem,
    };
    let output = Command::new("java")
        .arg("-version")
        .output()
        .map_err(|error| {
            missing(format!(
                "a JDK, 17 or newer, could not be started ({error})"
            ))
        })?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let major = text
        .split('"')
        .nth(1)
        .and_then(|version| version.split(['.', '-']).next())
        .and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= 17 => Ok(()),
        _ => Err(missing(format!(
            "version 17 or newer, found {}",
            text.lines().next().unwrap_or("no version")
        ))),
    }
}
