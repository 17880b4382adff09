//! Kafka's verifiable producer and consumer, and the check that nothing was lost or doubled between them.

use crate::java::{JavaTool, RunningTool, Tool};
use crate::process::Signal;
use crate::{Error, Release, Result, wait};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A record as one of the tools reported it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Partition.
    pub partition: i64,
    /// Offset.
    pub offset: i64,
    /// Value: the producer counts from 0.
    pub value: String,
}

/// Settings under which a producer keeps every record through restarts of brokers.
pub const PATIENT_PRODUCER: [(&str, &str); 5] = [
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("retries", "2147483647"),
    ("delivery.timeout.ms", "300000"),
    ("max.in.flight.requests.per.connection", "5"),
];

/// A verifiable producer or consumer that runs, and the records it has reported.
#[derive(Debug)]
pub struct Verifiable {
    tool: RunningTool,
    seen: Arc<Seen>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    records: Mutex<Vec<Record>>,
    count: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl Verifiable {
    /// Starts a producer with [`PATIENT_PRODUCER`] settings that sends numbers until it is stopped, at most
    /// `per_second` of them each second.
    ///
    /// # Errors
    /// As [`JavaTool::start`].
    pub fn producer(
        release: Release,
        bootstrap: &str,
        topic: &str,
        per_second: u64,
    ) -> Result<Verifiable> {
        let rate = per_second.to_string();
        let tool = JavaTool::new(Tool::VerifiableProducer, release, bootstrap)
            .args(&["--topic", topic, "--throughput", &rate, "--acks", "-1"])
            .configs(&PATIENT_PRODUCER);
        Verifiable::start(tool, "producer_send_success")
    }

    /// Starts a consumer of a group that reports every record and commits after each poll.
    ///
    /// # Errors
    /// As [`JavaTool::start`].
    pub fn consumer(
        release: Release,
        bootstrap: &str,
        topic: &str,
        group: &str,
        settings: &[(&str, &str)],
    ) -> Result<Verifiable> {
        let mut args = vec!["--topic", topic, "--group-id", group, "--verbose"];
        args.extend(["--reset-policy", "earliest"]);
        // The tool's own argument wins over the setting. The consumer protocol (KIP-848) leaves the session time-out to
        // the broker.
        if settings.contains(&("group.protocol", "consumer")) {
            args.extend(["--group-protocol", "consumer"]);
        } else {
            args.extend(["--session-timeout", "30000"]);
        }
        let tool = JavaTool::new(Tool::VerifiableConsumer, release, bootstrap)
            .args(&args)
            .configs(settings);
        Verifiable::start(tool, "record_data")
    }

    fn start(tool: JavaTool, event: &'static str) -> Result<Verifiable> {
        let mut tool = tool.start()?;
        let seen = Arc::new(Seen::default());
        let lines = tool.process().take_lines();
        let writer = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            for line in lines {
                writer.note(&line, event);
            }
        });
        Ok(Verifiable {
            tool,
            seen,
            reader: Some(reader),
        })
    }

    /// Number of records reported so far.
    pub fn count(&self) -> usize {
        self.seen.count.load(Ordering::Relaxed)
    }

    /// The records reported so far.
    pub fn records(&self) -> Vec<Record> {
        lock(&self.seen.records).clone()
    }

    /// Waits until `count` records were reported.
    ///
    /// # Errors
    /// The tool ended, or the time is up.
    pub fn wait_for(&mut self, count: usize, limit: Duration) -> Result<()> {
        let ended = wait::until(&format!("{count} records"), limit, || {
            if self.count() >= count {
                return Ok(Some(None));
            }
            Ok(self.tool.process().exit_status().map(Some))
        })?;
        match ended {
            None => Ok(()),
            Some(status) => Err(self.failed(status)),
        }
    }

    /// Stops the tool in order (SIGTERM) and gives all records it reported.
    ///
    /// # Errors
    /// It does not stop, or had reported an error before it was told to. What a producer is about to send when it is
    /// stopped fails, and was never acknowledged.
    pub fn stop(mut self, limit: Duration) -> Result<Vec<Record>> {
        let failed_before = !lock(&self.seen.failures).is_empty();
        self.tool.process().signal(Signal::Term);
        let status = self.tool.process().wait(limit)?;
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        if failed_before {
            return Err(self.failed(status));
        }
        Ok(std::mem::take(&mut *lock(&self.seen.records)))
    }

    fn failed(&mut self, status: i32) -> Error {
        let failures = lock(&self.seen.failures);
        let first: Vec<&str> = failures.iter().take(5).map(String::as_str).collect();
        Error::Exit {
            program: "verifiable producer or consumer".to_owned(),
            status,
            output: format!(
                "{} failures\n{}\n{}",
                failures.len(),
                first.join("\n"),
                crate::process::tail(&self.tool.process().log(), 20)
            ),
        }
    }
}

impl Seen {
    fn note(&self, line: &str, event: &str) {
        let Ok(json) = serde_json::from_str::<Value>(line) else {
            return;
        };
        match json["name"].as_str() {
            Some(name) if name == event => {
                let value = match &json["value"] {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                lock(&self.records).push(Record {
                    partition: json["partition"].as_i64().unwrap_or(-1),
                    offset: json["offset"].as_i64().unwrap_or(-1),
                    value,
                });
                self.count.fetch_add(1, Ordering::Relaxed);
            }
            Some("producer_send_error") => lock(&self.failures).push(line.to_owned()),
            _ => {}
        }
    }
}

/// Checks that no record was seen twice and every acknowledged value was seen.
///
/// # Errors
/// [`Error::Violated`] with numbers and the first cases.
pub fn exactly_once(acknowledged: &[Record], seen: &[Record]) -> Result<()> {
    let mut places = HashSet::new();
    let mut values = HashSet::new();
    let doubled: Vec<&Record> = seen
        .iter()
        .filter(|record| {
            let new_place = places.insert((record.partition, record.offset));
            !values.insert(record.value.as_str()) | !new_place
        })
        .collect();
    let lost: Vec<&Record> = acknowledged
        .iter()
        .filter(|record| !values.contains(record.value.as_str()))
        .collect();
    if doubled.is_empty() && lost.is_empty() {
        return Ok(());
    }
    Err(Error::Violated(format!(
        "{} acknowledged, {} seen; {} lost: {:?}; {} seen twice: {:?}",
        acknowledged.len(),
        seen.len(),
        lost.len(),
        &lost[..lost.len().min(5)],
        doubled.len(),
        &doubled[..doubled.len().min(5)]
    )))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(offset: i64, value: &str) -> Record {
        Record {
            partition: 0,
            offset,
            value: value.to_owned(),
        }
    }

    #[test]
    fn finds_lost_and_doubled_records() {
        let (a, b) = (record(0, "0"), record(1, "1"));
        let both = [a.clone(), b.clone()];
        exactly_once(&both, &both).unwrap();
        exactly_once(&both[..1], &both).unwrap();
        assert!(exactly_once(&both, &both[..1]).is_err());
        assert!(exactly_once(&both, &[a.clone(), b.clone(), b.clone()]).is_err());
        assert!(exactly_once(&both, &[a, b, record(2, "1")]).is_err());
    }
}
