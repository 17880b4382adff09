//! Kafka's own command line tools, of any release, as clients.

use crate::dirs::Scratch;
use crate::process::{Process, Spec, tail};
use crate::{Error, Release, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The tools tests use. Their classes moved between releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// `kafka-console-producer`.
    ConsoleProducer,
    /// `kafka-console-consumer`.
    ConsoleConsumer,
    /// `kafka-console-share-consumer`; from 4.0.
    ConsoleShareConsumer,
    /// `kafka-topics`; 2.1 speaks to ZooKeeper only.
    Topics,
    /// `kafka-configs`; 2.1 knows brokers only.
    Configs,
    /// `kafka-consumer-groups`.
    ConsumerGroups,
    /// `kafka-share-groups`; from 4.0.
    ShareGroups,
    /// `kafka-acls`; 2.1 speaks to ZooKeeper unless told otherwise.
    Acls,
    /// `kafka-delete-records`.
    DeleteRecords,
    /// `kafka-broker-api-versions`.
    BrokerApiVersions,
    /// `kafka-verifiable-producer`.
    VerifiableProducer,
    /// `kafka-verifiable-consumer`.
    VerifiableConsumer,
    /// The copier of Kafka's system tests.
    TransactionalMessageCopier,
}

impl Tool {
    /// The class of the tool in a release.
    pub fn class(self, release: Release) -> &'static str {
        let old = release == Release::V2_1;
        let before_4 = release < Release::V4_3;
        match self {
            Tool::ConsoleProducer if before_4 => "kafka.tools.ConsoleProducer",
            Tool::ConsoleProducer => "org.apache.kafka.tools.ConsoleProducer",
            Tool::ConsoleConsumer if old => "kafka.tools.ConsoleConsumer",
            Tool::ConsoleConsumer => "org.apache.kafka.tools.consumer.ConsoleConsumer",
            Tool::ConsoleShareConsumer => "org.apache.kafka.tools.consumer.ConsoleShareConsumer",
            Tool::Topics if old => "kafka.admin.TopicCommand",
            Tool::Topics => "org.apache.kafka.tools.TopicCommand",
            Tool::Configs => "kafka.admin.ConfigCommand",
            Tool::ConsumerGroups if old => "kafka.admin.ConsumerGroupCommand",
            Tool::ConsumerGroups => "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            Tool::ShareGroups => "org.apache.kafka.tools.consumer.group.ShareGroupCommand",
            Tool::Acls if before_4 => "kafka.admin.AclCommand",
            Tool::Acls => "org.apache.kafka.tools.AclCommand",
            Tool::DeleteRecords if old => "kafka.admin.DeleteRecordsCommand",
            Tool::DeleteRecords => "org.apache.kafka.tools.DeleteRecordsCommand",
            Tool::BrokerApiVersions if old => "kafka.admin.BrokerApiVersionsCommand",
            Tool::BrokerApiVersions if before_4 => "kafka.admin.BrokerApiVersionsCommand",
            Tool::BrokerApiVersions => "org.apache.kafka.tools.BrokerApiVersionsCommand",
            Tool::VerifiableProducer => "org.apache.kafka.tools.VerifiableProducer",
            Tool::VerifiableConsumer => "org.apache.kafka.tools.VerifiableConsumer",
            Tool::TransactionalMessageCopier => "org.apache.kafka.tools.TransactionalMessageCopier",
        }
    }

    /// The option that takes the addresses.
    fn address_option(self, release: Release) -> &'static str {
        match self {
            Tool::TransactionalMessageCopier => "--broker-list",
            Tool::ConsoleProducer | Tool::VerifiableProducer | Tool::VerifiableConsumer
                if release == Release::V2_1 =>
            {
                "--broker-list"
            }
            _ => "--bootstrap-server",
        }
    }

    /// The option that takes a file of client settings; the copier has none.
    fn config_option(self) -> Option<&'static str> {
        match self {
            Tool::ConsoleProducer | Tool::VerifiableProducer => Some("--producer.config"),
            Tool::ConsoleConsumer | Tool::VerifiableConsumer => Some("--consumer.config"),
            Tool::TransactionalMessageCopier => None,
            _ => Some("--command-config"),
        }
    }
}

/// One call of a tool.
#[derive(Clone, Debug)]
pub struct JavaTool {
    tool: Tool,
    release: Release,
    args: Vec<String>,
    config: Vec<(String, String)>,
    input: String,
}

/// What a finished tool left.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit status; 128 + n after signal n.
    pub status: i32,
    /// Lines of standard output.
    pub lines: Vec<String>,
    /// Standard error.
    pub errors: String,
}

impl JavaTool {
    /// A tool of a release, speaking to `bootstrap`.
    pub fn new(tool: Tool, release: Release, bootstrap: &str) -> JavaTool {
        JavaTool {
            tool,
            release,
            args: vec![
                tool.address_option(release).to_owned(),
                bootstrap.to_owned(),
            ],
            config: Vec::new(),
            input: String::new(),
        }
    }

    /// Arguments.
    pub fn args(mut self, args: &[&str]) -> JavaTool {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// A client setting.
    ///
    /// # Panics
    /// If the tool takes no settings.
    pub fn config(mut self, key: &str, value: &str) -> JavaTool {
        assert!(self.tool.config_option().is_some(), "a tool with settings");
        self.config.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Client settings.
    pub fn configs(self, settings: &[(&str, &str)]) -> JavaTool {
        settings
            .iter()
            .fold(self, |tool, (key, value)| tool.config(key, value))
    }

    /// Text for standard input.
    pub fn input(mut self, text: &str) -> JavaTool {
        self.input.push_str(text);
        self
    }

    /// Starts the tool; its output is read through [`RunningTool::process`].
    ///
    /// # Errors
    /// Kafka cannot be fetched or Java not started.
    pub fn start(self) -> Result<RunningTool> {
        let scratch = Scratch::new("tool")?;
        let write = |name: &str, text: &str| write(scratch.path(), name, text);
        let name = format!("{:?} {}", self.tool, self.release.version());
        let mut spec = Spec::new(name.clone(), "java", scratch.join("stderr"))
            .args(self.release.java_options()?)
            .args(quiet_logging(scratch.path())?)
            .args([self.tool.class(self.release)])
            .args(&self.args);
        if let (Some(option), false) = (self.tool.config_option(), self.config.is_empty()) {
            let text: String = self
                .config
                .iter()
                .map(|(key, value)| format!("{key}={value}\n"))
                .collect();
            let path = write("client.properties", &text)?;
            spec = spec.args([option]).args([path]);
        }
        if !self.input.is_empty() {
            spec = spec.input(write("stdin", &self.input)?);
        }
        Ok(RunningTool {
            name,
            process: spec.start_with_lines()?,
            _scratch: scratch,
        })
    }

    /// Runs the tool to its end, whatever its status.
    ///
    /// # Errors
    /// As [`JavaTool::start`], or it does not end within `limit`.
    pub fn output(self, limit: Duration) -> Result<Output> {
        self.start()?.finish(limit)
    }

    /// Runs the tool to its end and expects status 0; gives its lines.
    ///
    /// # Errors
    /// As [`JavaTool::output`], or another status.
    pub fn run(self, limit: Duration) -> Result<Vec<String>> {
        let name = format!("{:?} {}", self.tool, self.release.version());
        let output = self.output(limit)?;
        if output.status == 0 {
            return Ok(output.lines);
        }
        Err(Error::Exit {
            program: name,
            status: output.status,
            output: tail(
                &format!("{}\n{}", output.lines.join("\n"), output.errors),
                40,
            ),
        })
    }
}

/// A tool that runs. Dropping it kills it.
#[derive(Debug)]
pub struct RunningTool {
    name: String,
    process: Process,
    _scratch: Scratch,
}

impl RunningTool {
    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits for the end and gives what it left.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the end of its output.
    pub fn finish(mut self, limit: Duration) -> Result<Output> {
        let lines = self.process.take_lines();
        let reader = std::thread::spawn(move || lines.iter().collect::<Vec<String>>());
        let ended = self.process.wait(limit);
        let errors = self.process.log();
        self.process.kill();
        let lines = reader.join().unwrap_or_default();
        match ended {
            Ok(status) => Ok(Output {
                status,
                lines,
                errors,
            }),
            Err(Error::Timeout { after, .. }) => Err(Error::Timeout {
                what: format!("the end of {}", self.name),
                after,
                last: format!(": {}", tail(&format!("{}\n{errors}", lines.join("\n")), 30)),
            }),
            Err(error) => Err(error),
        }
    }
}

/// Writes logging set-ups for both logging libraries Kafka used into `dir`: warnings to standard error. Gives the options
/// that name them.
pub(crate) fn quiet_logging(dir: &Path) -> Result<[String; 2]> {
    let old = write(dir, "log4j.properties", QUIET_LOG4J)?;
    let new = write(dir, "log4j2.properties", QUIET_LOG4J2)?;
    Ok([
        format!("-Dlog4j.configuration=file:{}", old.display()),
        format!("-Dlog4j2.configurationFile={}", new.display()),
    ])
}

fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    fs::write(&path, text).map_err(Error::io(format!("write {}", path.display())))?;
    Ok(path)
}

const QUIET_LOG4J: &str = "\
log4j.rootLogger=WARN, stderr
log4j.appender.stderr=org.apache.log4j.ConsoleAppender
log4j.appender.stderr.target=System.err
log4j.appender.stderr.layout=org.apache.log4j.PatternLayout
log4j.appender.stderr.layout.ConversionPattern=%d %p %c{1} %m%n
";

const QUIET_LOG4J2: &str = "\
status=warn
appender.console.type=Console
appender.console.name=console
appender.console.target=SYSTEM_ERR
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
";
