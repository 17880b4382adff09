//! Random valid bodies made from the table: for property tests, fuzz seeds and the differential test.
//!
//! They use everything a version has: nulls, tagged fields known and unknown, lengths that need two bytes, varints longer than necessary.

use crate::api::{ApiKey, Direction};
use crate::plan::Prefix;
use crate::schema::{FieldSpec, FieldType};
use crate::tree::{self, Node, Record};
use crate::varint;

/// A deterministic source of numbers (splitmix64). Not for secrets.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 if `limit` is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.number() % (limit.max(1) as u64)) as usize
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// Tags of unknown tagged fields begin here; the definitions use single digits.
const FIRST_UNKNOWN_TAG: u32 = 100;

/// A body larger than this gets empty arrays from there on.
const ENOUGH: usize = 4096;

/// A random valid body. Empty if the table does not know the message.
pub fn random_body(api: ApiKey, version: i16, dir: Direction, rng: &mut Rng) -> Vec<u8> {
    let Some(spec) = api.spec().filter(|spec| spec.has_version(version)) else {
        return Vec::new();
    };
    let flexible = spec.is_flexible(dir, version);
    let mut writer = Writer {
        version,
        flexible,
        rng,
        body: Vec::new(),
    };
    writer.fields(spec.message(dir).fields);
    writer.body
}

/// For each array of a message a body in which it has `count` elements, all of them different, and nothing else is there but what the
/// array is in; with the names of the fields that lead to it.
pub fn crowded_bodies(
    api: ApiKey,
    version: i16,
    dir: Direction,
    count: usize,
) -> Vec<(String, Vec<u8>)> {
    let mut roots = Vec::new();
    crowd(tree::message(api, dir), version, count, "", &mut roots);
    let body = |(path, root)| (path, tree::encode(api, version, dir, &root));
    roots.into_iter().map(body).collect()
}

fn crowd(
    fields: &'static [FieldSpec],
    version: i16,
    count: usize,
    path: &str,
    out: &mut Vec<(String, Record<'static>)>,
) {
    for spec in fields.iter().filter(|spec| spec.versions.contains(version)) {
        let path = format!("{path}/{}", spec.name);
        let holding = |value| {
            let mut record = distinct(fields, 0);
            record.set(spec.name, value);
            record
        };
        if spec.array {
            let elements = (0..count).map(|number| match spec.ty {
                FieldType::Struct(inner) => Node::Record(distinct(inner, number)),
                ty => value(ty, number),
            });
            let list = match spec.ty {
                FieldType::Struct(_) | FieldType::String | FieldType::Bytes | FieldType::Uuid => {
                    Node::List(elements.collect())
                }
                _ => Node::Ints((0..count as i64).collect()),
            };
            out.push((path.clone(), holding(list)));
        }
        if let FieldType::Struct(inner) = spec.ty {
            let mut within = Vec::new();
            crowd(inner, version, count, &path, &mut within);
            for (path, record) in within {
                let record = Node::Record(record);
                let holder = if spec.array {
                    Node::List(vec![record])
                } else {
                    record
                };
                out.push((path, holding(holder)));
            }
        }
    }
}

/// A struct without arrays whose texts and ids no other number has.
fn distinct(fields: &'static [FieldSpec], number: usize) -> Record<'static> {
    let mut record = Record::new(fields);
    for spec in fields.iter().filter(|spec| !spec.array) {
        if matches!(spec.ty, FieldType::String | FieldType::Uuid) {
            record.set(spec.name, value(spec.ty, number));
        }
    }
    record
}

fn value(ty: FieldType, number: usize) -> Node<'static> {
    match ty {
        FieldType::String | FieldType::Bytes => Node::text(&format!("n{number}")),
        FieldType::Uuid => Node::Uuid((number as u128 + 1).to_be_bytes()),
        _ => Node::Int(number as i64),
    }
}

/// Changes, removes, inserts or cuts some bytes.
pub fn mutate(body: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..=rng.below(3) {
        let at = rng.below(body.len());
        let random = rng.number() as u8;
        match rng.below(6) {
            0 => body.truncate(at),
            1 => body.insert(at, random),
            2 if !body.is_empty() => drop(body.remove(at)),
            3 => body.push(random),
            _ => {
                if let Some(byte) = body.get_mut(at) {
                    const EDGES: [u8; 6] = [0, 1, 0x7f, 0x80, 0xfe, 0xff];
                    *byte = if random & 1 == 0 {
                        random
                    } else {
                        EDGES[usize::from(random >> 1) % EDGES.len()]
                    };
                }
            }
        }
    }
}

struct Writer<'r> {
    version: i16,
    flexible: bool,
    rng: &'r mut Rng,
    body: Vec<u8>,
}

impl Writer<'_> {
    fn fields(&mut self, fields: &[FieldSpec]) {
        let version = self.version;
        let mut tagged = Vec::new();
        for spec in fields.iter().filter(|spec| spec.versions.contains(version)) {
            if self.flexible && spec.tagged.contains(version) {
                tagged.push(spec);
            } else {
                self.field(spec);
            }
        }
        if self.flexible {
            self.tags(tagged);
        }
    }

    fn tags(&mut self, mut known: Vec<&FieldSpec>) {
        known.retain(|_| self.rng.one_in(2));
        known.sort_by_key(|spec| spec.tag);
        let unknown = if self.rng.one_in(6) {
            1 + self.rng.below(3)
        } else {
            0
        };
        self.varint((known.len() + unknown) as u32);
        for spec in known {
            let outer = std::mem::take(&mut self.body);
            self.field(spec);
            let inner = std::mem::replace(&mut self.body, outer);
            self.tag(spec.tag, &inner);
        }
        for at in 0..unknown {
            let inner = self.random_bytes(20);
            self.tag(FIRST_UNKNOWN_TAG + at as u32 * 77, &inner);
        }
    }

    fn tag(&mut self, tag: u32, content: &[u8]) {
        self.varint(tag);
        self.varint(content.len() as u32);
        self.body.extend_from_slice(content);
    }

    fn field(&mut self, spec: &FieldSpec) {
        let null = spec.nullable.contains(self.version) && self.rng.one_in(4);
        if !spec.array {
            return self.value(spec, null);
        }
        let prefix = if self.flexible {
            Prefix::Compact
        } else {
            Prefix::Int32
        };
        let count = match self.rng.below(12) {
            _ if self.body.len() > ENOUGH => 0,
            0 | 1 => 0,
            2 if spec.ty.fixed_size().is_some() => 100 + self.rng.below(100),
            _ => 1 + self.rng.below(3),
        };
        self.prefix(prefix, (!null).then_some(count));
        for _ in 0..if null { 0 } else { count } {
            self.value(spec, false);
        }
    }

    fn value(&mut self, spec: &FieldSpec, null: bool) {
        match spec.ty {
            FieldType::Struct(fields) => {
                if spec.nullable.contains(self.version) && !spec.array {
                    self.body.push(if null { 0xff } else { 1 });
                }
                if !null {
                    self.fields(fields);
                }
            }
            FieldType::String => self.variable(Prefix::Int16, null, Self::random_text),
            FieldType::Bytes | FieldType::Records => self.variable(Prefix::Int32, null, |writer| {
                let limit = if writer.rng.one_in(8) { 300 } else { 30 };
                writer.random_bytes(limit)
            }),
            FieldType::Bool => {
                let value = self.rng.below(2) as u8;
                self.body.push(value);
            }
            FieldType::Float64 => {
                let value = self.rng.below(1_000_000) as f64 / 8.0;
                self.body.extend_from_slice(&value.to_be_bytes());
            }
            ty => {
                for _ in 0..ty.fixed_size().unwrap_or(0) {
                    let byte = self.rng.number() as u8;
                    self.body.push(byte);
                }
            }
        }
    }

    fn variable(&mut self, plain: Prefix, null: bool, content: impl FnOnce(&mut Self) -> Vec<u8>) {
        let prefix = if self.flexible {
            Prefix::Compact
        } else {
            plain
        };
        if null {
            return self.prefix(prefix, None);
        }
        let content = content(self);
        self.prefix(prefix, Some(content.len()));
        self.body.extend_from_slice(&content);
    }

    fn random_text(&mut self) -> Vec<u8> {
        const ALPHABET: [&str; 8] = ["a", "z", "0", ".", "-", "_", "ö", "話"];
        let count = if self.rng.one_in(12) {
            130
        } else {
            self.rng.below(12)
        };
        (0..count)
            .flat_map(|_| ALPHABET[self.rng.below(ALPHABET.len())].bytes())
            .collect()
    }

    fn random_bytes(&mut self, limit: usize) -> Vec<u8> {
        (0..self.rng.below(limit))
            .map(|_| self.rng.number() as u8)
            .collect()
    }

    fn prefix(&mut self, prefix: Prefix, value: Option<usize>) {
        match prefix {
            Prefix::Compact => self.varint(value.map_or(0, |value| value as u32 + 1)),
            _ => prefix.encode(value, &mut self.body),
        }
    }

    /// Now and then one byte longer than necessary.
    fn varint(&mut self, value: u32) {
        varint::put(value, &mut self.body);
        if self.rng.one_in(40)
            && let Some(last) = self.body.last_mut()
        {
            *last |= 0x80;
            self.body.push(0);
        }
    }
}
