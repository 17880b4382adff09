//! Inputs to start from: valid messages of every kind, and what real clients sent.

use std::fs;
use std::path::Path;

use wire::api::{ApiKey, Direction};
use wire::build::default_body;
use wire::header::{RequestHeader, request_header_version, response_header_len};
use wire::plan::{Interest, Plan};
use wire::records::{Batches, Entry};
use wire::schema::Entity;
use wire::testing::{Rng, random_body};
use wire::walk::{Field, Value, Visitor};

use super::bodies::messages;

/// Seeds of each target.
pub struct Seeds {
    pub header: Vec<Vec<u8>>,
    pub request: Vec<Vec<u8>>,
    pub response: Vec<Vec<u8>>,
    pub records: Vec<Vec<u8>>,
}

/// Default and random bodies of every message, and the golden frames in `golden`.
pub fn seeds(golden: &Path) -> Seeds {
    let mut rng = Rng::new(1);
    let mut seeds = Seeds {
        header: Vec::new(),
        request: Vec::new(),
        response: Vec::new(),
        records: Vec::new(),
    };
    for (choice, (api, version)) in (0_u16..).zip(messages()) {
        seeds.header.push(request_header(*api, *version));
        for (dir, target) in [
            (Direction::Request, &mut seeds.request),
            (Direction::Response, &mut seeds.response),
        ] {
            let bodies = [
                default_body(*api, *version, dir),
                Some(random_body(*api, *version, dir, &mut rng)),
            ];
            target.extend(
                bodies
                    .into_iter()
                    .flatten()
                    .map(|body| chosen(choice, &body)),
            );
        }
    }
    for entry in fs::read_dir(golden).into_iter().flatten().flatten() {
        if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "bin")
        {
            let frame = fs::read(entry.path()).unwrap_or_default();
            add_golden(&entry.file_name().to_string_lossy(), &frame, &mut seeds);
        }
    }
    seeds
}

/// A frame whose file name says `<api>-<version>-<req or res>-...`; the API key of a response comes from its name.
fn add_golden(file: &str, frame: &[u8], seeds: &mut Seeds) {
    if file.contains("-req-") {
        let Ok(header) = RequestHeader::parse(frame) else {
            return;
        };
        seeds.header.push(frame[..header.len].to_vec());
        add_body(
            header.api,
            header.version,
            Direction::Request,
            &frame[header.len..],
            seeds,
        );
    } else if let Some((name, rest)) = split_name(file)
        && let Some(version) = rest
            .split('-')
            .next()
            .and_then(|version| version.parse().ok())
        && let Some(api) = ApiKey::all().find(|api| api.name().eq_ignore_ascii_case(&name))
        && let Ok(len) = response_header_len(api, version, frame)
    {
        add_body(api, version, Direction::Response, &frame[len..], seeds);
    }
}

fn add_body(api: ApiKey, version: i16, dir: Direction, body: &[u8], seeds: &mut Seeds) {
    let Some(choice) = messages()
        .iter()
        .position(|message| *message == (api, version))
    else {
        return;
    };
    let target = match dir {
        Direction::Request => &mut seeds.request,
        Direction::Response => &mut seeds.response,
    };
    target.push(chosen(choice as u16, body));
    if let Some(plan) = Plan::compile(api, version, dir, Interest::of(&[Entity::Records])) {
        let _ = plan.visit(body, &mut RecordSets(&mut seeds.records));
    }
}

struct RecordSets<'a>(&'a mut Vec<Vec<u8>>);

impl Visitor for RecordSets<'_> {
    fn field(&mut self, field: &Field<'_>) {
        let Value::Records(Some(set)) = field.value else {
            return;
        };
        self.0.push([&[0, 0], set].concat());
        for entry in Batches::new(set) {
            if let Ok(Entry::Batch(batch)) = entry
                && batch.records().is_ok()
            {
                self.0
                    .push([&[1, batch.header().records_count as u8], batch.payload()].concat());
            }
        }
    }
}

fn request_header(api: ApiKey, version: i16) -> Vec<u8> {
    let mut header = [
        &api.0.to_be_bytes()[..],
        &version.to_be_bytes(),
        &[0, 0, 0, 7, 0, 6],
        b"client",
    ]
    .concat();
    if request_header_version(api, version) >= 2 {
        header.extend_from_slice(&[1, 9, 2, 0xaa, 0xbb]);
    }
    header
}

/// The two bytes in front of a body that choose its message.
fn chosen(choice: u16, body: &[u8]) -> Vec<u8> {
    [&choice.to_le_bytes(), body].concat()
}

/// `list-offsets-11-res-x.bin` gives `listoffsets` and `11-res-x.bin`.
fn split_name(file: &str) -> Option<(String, &str)> {
    let at = file.find(|c: char| c.is_ascii_digit())?;
    let (name, rest) = file.split_at(at);
    Some((name.replace('-', ""), rest))
}
