//! Programs that run a while in processes of their own, to be killed: applications of Kafka Streams, workers of Kafka Connect. And classes
//! for brokers.

use crate::compile::compiled;
use crate::dirs::{self, Scratch};
use crate::maven::{self, Jars};
use crate::process::{Process, Spec, tail};
use crate::{Error, Release, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The release of all of them.
const RELEASE: Release = Release::V4_3;

/// Settings by key.
pub type Settings = Vec<(String, String)>;

/// A program that runs. Dropping it kills it (SIGKILL) and waits for its end.
#[derive(Debug)]
pub struct Program {
    name: &'static str,
    process: Process,
    _scratch: Scratch,
}

impl Program {
    /// Waits until it says a line that begins with `start`; gives the rest of the line.
    ///
    /// # Errors
    /// It ends, or the time is up; the error has the end of its log.
    pub fn says(&self, start: &str, limit: Duration) -> Result<String> {
        let begin = Instant::now();
        while let Some(line) = self
            .process
            .next_line(limit.saturating_sub(begin.elapsed()))
        {
            if let Some(rest) = line.strip_prefix(start) {
                return Ok(rest.trim().to_owned());
            }
        }
        Err(Error::Timeout {
            what: format!("{} to say {start}", self.name),
            after: begin.elapsed(),
            last: format!(": {}", self.log()),
        })
    }

    /// An error with the end of its log if it has ended.
    ///
    /// # Errors
    /// It has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.process.exit_status() {
            None => Ok(()),
            Some(status) => Err(Error::Exit {
                program: self.name.to_owned(),
                status,
                output: self.log(),
            }),
        }
    }

    /// The end of what it has logged.
    pub fn log(&self) -> String {
        tail(&self.process.log(), 40)
    }
}

/// Counts words (see `WordCount.java`): one process with an application for each list of settings. Fetches Kafka Streams if it is not
/// in the cache.
///
/// # Errors
/// Kafka cannot be fetched, or Java not started.
pub fn word_count(applications: &[Settings]) -> Result<Program> {
    const SOURCES: &[(&str, &str)] = &[("WordCount.java", include_str!("../java/WordCount.java"))];
    let streams = streams_jar()?;
    let class_path = format!("{}:{}", RELEASE.class_path()?, streams.display());
    let classes = compiled("word-count", &class_path, SOURCES)?;
    let scratch = Scratch::new("word-count")?;
    let mut files = Vec::new();
    for (number, settings) in applications.iter().enumerate() {
        let dir = scratch.join(format!("state-{number}"));
        let mut settings = settings.clone();
        settings.push(("state.dir".to_owned(), dir.display().to_string()));
        files.push(write(&scratch, &format!("{number}.properties"), &settings)?);
    }
    start(
        "WordCount",
        "WordCount",
        &[&streams, &classes],
        &files,
        scratch,
    )
}

/// A worker of Kafka Connect in distributed mode that knows the connector `Numbers` (see `Numbers.java`).
///
/// # Errors
/// Kafka cannot be fetched, or Java not started.
pub fn connect_worker(settings: &Settings) -> Result<Program> {
    const SOURCES: &[(&str, &str)] = &[
        ("Numbers.java", include_str!("../java/Numbers.java")),
        (
            "META-INF/services/org.apache.kafka.connect.source.SourceConnector",
            "Numbers\n",
        ),
    ];
    let classes = compiled("numbers", &RELEASE.class_path()?, SOURCES)?;
    let scratch = Scratch::new("connect")?;
    let files = [write(&scratch, "worker.properties", settings)?];
    let class = "org.apache.kafka.connect.cli.ConnectDistributed";
    start("a Connect worker", class, &[&classes], &files, scratch)
}

/// A member of a share group that sends on what it reads (see `SharePipeline.java`).
///
/// # Errors
/// Kafka cannot be fetched, or Java not started.
pub fn share_pipeline(settings: &Settings) -> Result<Program> {
    const SOURCES: &[(&str, &str)] = &[(
        "SharePipeline.java",
        include_str!("../java/SharePipeline.java"),
    )];
    let classes = compiled("share-pipeline", &RELEASE.class_path()?, SOURCES)?;
    let scratch = Scratch::new("share")?;
    let files = [write(&scratch, "client.properties", settings)?];
    start(
        "SharePipeline",
        "SharePipeline",
        &[&classes],
        &files,
        scratch,
    )
}

/// Classes for brokers: the policies `Policies$OfTopics` and `Policies$OfConfigs` (see `Policies.java`).
///
/// # Errors
/// Kafka cannot be fetched, or there is no JDK.
pub fn policies() -> Result<PathBuf> {
    const SOURCES: &[(&str, &str)] = &[("Policies.java", include_str!("../java/Policies.java"))];
    compiled("policies", &RELEASE.class_path()?, SOURCES)
}

fn start(
    name: &'static str,
    class: &str,
    class_path: &[&Path],
    files: &[PathBuf],
    scratch: Scratch,
) -> Result<Program> {
    let process = Spec::new(name, "java", scratch.join("log"))
        .args(RELEASE.java_options_with(class_path)?)
        .args(crate::java::quiet_logging(scratch.path())?)
        .args([class])
        .args(files)
        .start_with_lines()?;
    Ok(Program {
        name,
        process,
        _scratch: scratch,
    })
}

fn write(scratch: &Scratch, name: &str, settings: &Settings) -> Result<PathBuf> {
    let path = scratch.join(name);
    let text: String = settings
        .iter()
        .map(|(key, value)| format!("{key}={}\n", value.replace('\\', "\\\\")))
        .collect();
    fs::write(&path, text).map_err(Error::io(format!("write {}", path.display())))?;
    Ok(path)
}

/// Kafka Streams, 2 MB, without the store in RocksDB: that would be 70 MB, and the programs here keep everything in memory.
fn streams_jar() -> Result<PathBuf> {
    let version = RELEASE.version();
    let dir = dirs::cache()?.join(format!("kafka-streams-{version}"));
    fs::create_dir_all(&dir).map_err(Error::io(format!("create {}", dir.display())))?;
    let dir = dir
        .canonicalize()
        .map_err(Error::io(format!("find {}", dir.display())))?;
    let _lock = maven::lock(&dir)?;
    let jars = Jars {
        name: format!("Kafka Streams {version}"),
        dir,
        dependencies: format!(
            "<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-streams</artifactId>\
             <version>{version}</version><exclusions><exclusion><groupId>*</groupId>\
             <artifactId>*</artifactId></exclusion></exclusions></dependency>\n"
        ),
        pins: vec![(
            "kafka-streams-4.3.0.jar",
            "aa3a70c72cb04c72eabcf6d04762c3a3ca8522e93654eca9180e7877172433c4",
        )],
    };
    Ok(jars.ready()?.join(format!("kafka-streams-{version}.jar")))
}
