//! Frames that real clients and a real Apache Kafka 4.3.0 broker exchanged (`examples/capture.rs`).
//!
//! `golden/manifest.tsv` says for each file what it is and which names the walker must find in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use sluicegate_wire::api::{ApiKey, Direction};
use sluicegate_wire::header::{RequestHeader, response_header_len};
use sluicegate_wire::plan::{Interest, Plan};
use sluicegate_wire::records::{Batches, Compression, Entry};
use sluicegate_wire::rewrite::{Edits, Rewrite, Segments};
use sluicegate_wire::stream::{Step, StreamWalker};
use sluicegate_wire::walk::{Field, Value, Visitor, validate};

struct Golden {
    file: String,
    api: ApiKey,
    version: i16,
    dir: Direction,
    /// `Entity:name`.
    names: BTreeSet<String>,
    frame: Vec<u8>,
}

impl Golden {
    fn body(&self) -> &[u8] {
        let header = match self.dir {
            Direction::Request => {
                let header = RequestHeader::parse(&self.frame).expect(&self.file);
                assert_eq!(
                    (header.api, header.version),
                    (self.api, self.version),
                    "{}",
                    self.file
                );
                assert!(
                    header.client_id.is_some_and(|id| !id.is_empty()),
                    "{}",
                    self.file
                );
                header.len
            }
            Direction::Response => {
                response_header_len(self.api, self.version, &self.frame).expect(&self.file)
            }
        };
        &self.frame[header..]
    }

    fn plan(&self, interest: Interest) -> Plan {
        Plan::compile(self.api, self.version, self.dir, interest).expect(&self.file)
    }
}

#[derive(Default)]
struct Found {
    names: BTreeSet<String>,
    record_sets: Vec<Vec<u8>>,
}

impl Visitor for Found {
    fn field(&mut self, field: &Field<'_>) {
        match field.value {
            Value::Text(Some(text)) => {
                self.names.insert(format!(
                    "{:?}:{}",
                    field.entity,
                    String::from_utf8_lossy(text)
                ));
            }
            Value::Records(Some(records)) => self.record_sets.push(records.to_vec()),
            _ => {}
        }
    }
}

struct Untouched;

impl Rewrite for Untouched {
    fn field(&mut self, _field: &Field<'_>, _edits: &mut Edits<'_>) {}
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn frames() -> Vec<Golden> {
    let manifest = fs::read_to_string(folder().join("manifest.tsv")).expect("the manifest");
    let rows = manifest.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| {
        let [file, api, version, dir, _client, names] = row.split('\t').collect::<Vec<_>>()[..]
        else {
            panic!("{row}");
        };
        Golden {
            file: file.to_owned(),
            api: ApiKey(api.parse().expect("an API key")),
            version: version.parse().expect("a version"),
            dir: if dir == "request" {
                Direction::Request
            } else {
                Direction::Response
            },
            names: names
                .split(' ')
                .filter(|name| *name != "-")
                .map(str::to_owned)
                .collect(),
            frame: fs::read(folder().join(file)).expect(file),
        }
    })
    .collect()
}

#[test]
fn every_file_is_in_the_manifest() {
    let listed: BTreeSet<String> = frames().into_iter().map(|golden| golden.file).collect();
    let stored = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(
        listed,
        stored.filter(|name| name.ends_with(".bin")).collect()
    );
}

#[test]
fn the_walker_accepts_every_frame() {
    for golden in frames() {
        assert_eq!(
            validate(golden.api, golden.version, golden.dir, golden.body()),
            Ok(()),
            "{}",
            golden.file
        );
    }
}

#[test]
fn names_are_visited() {
    for golden in frames() {
        let mut found = Found::default();
        golden
            .plan(Interest::ALL)
            .visit(golden.body(), &mut found)
            .unwrap();
        let missing: Vec<_> = golden.names.difference(&found.names).collect();
        assert!(
            missing.is_empty(),
            "{}: {missing:?} not among {:?}",
            golden.file,
            found.names
        );
    }
}

#[test]
fn rewriting_nothing_changes_nothing() {
    let mut segments = Segments::new();
    for golden in frames() {
        let mut body = golden.body().to_vec();
        segments.clear();
        golden
            .plan(Interest::ALL)
            .rewrite(&mut body, &mut Untouched, &mut segments)
            .unwrap();
        assert!(segments.is_identity(), "{}", golden.file);
        assert_eq!(segments.to_vec(&body), golden.body(), "{}", golden.file);
    }
}

#[test]
fn frames_stream_through_small_windows() {
    for golden in frames() {
        let (plan, body) = (golden.plan(Interest::NONE), golden.body());
        for window in [16, 33, 4096] {
            let mut walker = StreamWalker::new(&plan, body.len() as u64);
            let mut at = 0;
            loop {
                let input = &body[at..body.len().min(at + window)];
                match walker.next(input) {
                    Ok(Step::Skip(len)) => at += len,
                    Ok(Step::End) => break,
                    step => panic!("{} at {at}: {step:?}", golden.file),
                }
            }
            assert_eq!(at, body.len(), "{}", golden.file);
        }
    }
}

#[test]
fn record_sets_are_complete_batches_with_a_valid_crc() {
    let mut codecs = BTreeSet::new();
    for golden in frames() {
        let mut found = Found::default();
        golden
            .plan(Interest::ALL)
            .visit(golden.body(), &mut found)
            .unwrap();
        for set in &found.record_sets {
            for entry in Batches::new(set) {
                let Ok(Entry::Batch(batch)) = entry else {
                    panic!("{}: {entry:?}", golden.file)
                };
                assert!(batch.crc_is_valid(), "{}", golden.file);
                codecs.insert(format!("{:?}", batch.compression()));
                if batch.compression() == Compression::None {
                    assert_eq!(batch.check_records(), Ok(()), "{}", golden.file);
                }
            }
        }
    }
    let all = ["Gzip", "Lz4", "None", "Snappy", "Zstd"];
    assert_eq!(
        codecs.iter().map(String::as_str).collect::<Vec<_>>(),
        all,
        "codecs among the golden frames"
    );
}
