//! Messages as trees that follow the schema table, so that one piece of code serves every version the table knows.
//!
//! For what has to be understood and changed as a whole; whoever only looks uses [`plan`](crate::plan). Texts and records are borrowed from
//! the body.

use std::borrow::Cow;

use crate::api::{ApiKey, Direction};
use crate::plan::Interest;
use crate::schema::{DefaultValue, Entity, FieldSpec, FieldType};
use crate::varint;
use crate::walk::{WalkError, validate};

/// A request whose tree has more nodes than this is refused: a byte of a body can become a node of 64 bytes, and whoever answers makes some
/// more of it. So a tree takes 16 MiB at most, and a Fetch request may name 25,000 partitions.
const MAX_NODES: usize = 1 << 18;

/// A small request may have this many; beyond them there is one for each byte. Structs have nodes for fields that their version lacks, too.
const FREE_NODES: usize = 1 << 16;

/// The same for answers, which are as large as what there is in Kafka: 512 MiB, the tree of a Metadata answer about 900,000 partitions.
const MAX_ANSWER_NODES: usize = 1 << 23;

/// Why a body is not understood, or not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TreeError {
    /// The body is no message of this kind.
    #[error("malformed body: {0}")]
    Body(#[from] WalkError),
    /// A name is not UTF-8.
    #[error("a resource name is not UTF-8")]
    NotText,
    /// More elements than anybody needs.
    #[error("too many elements")]
    TooLarge,
    /// Two readers of one body disagree; a fault of ours.
    #[error("body is valid but cannot be read")]
    Disagreement,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub enum Node<'a> {
    /// The version has no such field, or nobody set it: written as its default.
    Absent,
    /// Null.
    Null,
    /// bool and the integers.
    Int(i64),
    /// float64
    Double(f64),
    /// uuid
    Uuid([u8; 16]),
    /// string, bytes, records
    Text(Cow<'a, [u8]>),
    /// Array of integers.
    Ints(Vec<i64>),
    /// Any other array.
    List(Vec<Node<'a>>),
    /// A struct.
    Record(Record<'a>),
    /// An array or a struct as the bytes that it has in the version of the body; see [`decode_around`].
    Raw(Cow<'a, [u8]>),
}

/// The values of one struct, or of a whole message, in the order of its definition.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    fields: &'static [FieldSpec],
    values: Vec<Node<'a>>,
    unknown: Vec<(u32, Cow<'a, [u8]>)>,
}

impl<'a> Record<'a> {
    /// Every field at its default.
    pub fn new(fields: &'static [FieldSpec]) -> Record<'a> {
        Record {
            fields,
            values: vec![Node::Absent; fields.len()],
            unknown: Vec::new(),
        }
    }

    /// The definition.
    pub fn fields(&self) -> &'static [FieldSpec] {
        self.fields
    }

    /// A value by the name of its field.
    pub fn get(&self, name: &str) -> &Node<'a> {
        let at = self.fields.iter().position(|spec| spec.name == name);
        at.and_then(|at| self.values.get(at))
            .unwrap_or(&Node::Absent)
    }

    /// The first value that is there and has this meaning.
    pub fn meaning(&self, entity: Entity) -> &Node<'a> {
        self.each()
            .find(|(spec, value)| spec.entity == entity && **value != Node::Absent)
            .map_or(&Node::Absent, |(_, value)| value)
    }

    /// The same, to be changed; `None` if the struct has no such field in any version.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Node<'a>> {
        let at = self.fields.iter().position(|spec| spec.name == name)?;
        self.values.get_mut(at)
    }

    /// Every field with its value.
    pub fn each(&self) -> impl Iterator<Item = (&'static FieldSpec, &Node<'a>)> {
        self.fields.iter().zip(&self.values)
    }

    /// Sets a field. One that the struct has in no version is left alone.
    pub fn set(&mut self, name: &str, value: Node<'a>) {
        if let Some(slot) = self.get_mut(name) {
            *slot = value;
        }
    }

    /// Every field with its value, to be changed.
    pub fn each_mut(&mut self) -> impl Iterator<Item = (&'static FieldSpec, &mut Node<'a>)> {
        self.fields.iter().zip(&mut self.values)
    }

    /// Takes out tagged fields that the table does not know, of this struct only; tells whether there were any.
    pub fn drop_unknown(&mut self) -> bool {
        !std::mem::take(&mut self.unknown).is_empty()
    }

    /// Integer; 0 if absent.
    pub fn int(&self, name: &str) -> i64 {
        self.get(name).as_int()
    }

    /// Elements of an array; none if it is absent or null.
    pub fn list(&self, name: &str) -> &[Node<'a>] {
        match self.get(name) {
            Node::List(list) => list,
            _ => &[],
        }
    }

    /// Structs of an array.
    pub fn records(&self, name: &str) -> impl Iterator<Item = &Record<'a>> {
        self.list(name).iter().filter_map(Node::as_record)
    }

    /// Bytes that it will have when written, about.
    fn bytes(&self) -> usize {
        self.values.iter().map(Node::bytes).sum()
    }

    /// Changes an array; one that is absent or null becomes empty first.
    pub fn edit_list<R>(&mut self, name: &str, edit: impl FnOnce(&mut Vec<Node<'a>>) -> R) -> R {
        let mut list = match self.get_mut(name) {
            Some(Node::List(list)) => std::mem::take(list),
            _ => Vec::new(),
        };
        let result = edit(&mut list);
        self.set(name, Node::List(list));
        result
    }
}

impl PartialEq for Record<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.fields, other.fields)
            && self.values == other.values
            && self.unknown == other.unknown
    }
}

impl<'a> Node<'a> {
    /// A text of our own.
    pub fn text(text: &str) -> Node<'static> {
        Node::Text(Cow::Owned(text.as_bytes().to_vec()))
    }

    /// Integer; 0 if it is none.
    pub fn as_int(&self) -> i64 {
        match self {
            Node::Int(value) => *value,
            _ => 0,
        }
    }

    /// Text; `None` if it is null, absent or of another type.
    pub fn as_text(&self) -> Result<Option<&str>, TreeError> {
        match self {
            Node::Text(text) => std::str::from_utf8(text)
                .map(Some)
                .map_err(|_| TreeError::NotText),
            _ => Ok(None),
        }
    }

    /// Bytes; none if it is something else.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Node::Text(bytes) => bytes,
            _ => &[],
        }
    }

    /// A struct; `None` if it is something else.
    pub fn as_record(&self) -> Option<&Record<'a>> {
        match self {
            Node::Record(record) => Some(record),
            _ => None,
        }
    }

    /// The same, to be changed.
    pub fn as_record_mut(&mut self) -> Option<&mut Record<'a>> {
        match self {
            Node::Record(record) => Some(record),
            _ => None,
        }
    }

    /// Memory that it takes with all that is in it, bytes, about.
    pub fn weight(&self) -> usize {
        let within = match self {
            Node::Text(Cow::Owned(bytes)) | Node::Raw(Cow::Owned(bytes)) => bytes.capacity(),
            Node::Ints(values) => values.capacity() * size_of::<i64>(),
            Node::List(list) => list.iter().map(Node::weight).sum(),
            Node::Record(record) => record.values.iter().map(Node::weight).sum(),
            _ => 0,
        };
        size_of::<Self>() + within
    }

    fn bytes(&self) -> usize {
        match self {
            Node::Absent | Node::Null => 0,
            Node::Int(_) => size_of::<i32>(),
            Node::Double(value) => size_of_val(value),
            Node::Uuid(id) => id.len(),
            Node::Text(bytes) => size_of::<i16>() + bytes.len(),
            Node::Raw(bytes) => bytes.len(),
            Node::Ints(values) => values.len() * size_of::<i32>(),
            Node::List(list) => list.iter().map(Node::bytes).sum(),
            Node::Record(record) => record.bytes(),
        }
    }

    /// The same value without borrowing.
    pub fn to_owned(&self) -> Node<'static> {
        match self {
            Node::Absent => Node::Absent,
            Node::Null => Node::Null,
            Node::Int(value) => Node::Int(*value),
            Node::Double(value) => Node::Double(*value),
            Node::Uuid(value) => Node::Uuid(*value),
            Node::Text(text) => Node::Text(Cow::Owned(text.to_vec())),
            Node::Raw(bytes) => Node::Raw(Cow::Owned(bytes.to_vec())),
            Node::Ints(values) => Node::Ints(values.clone()),
            Node::List(list) => Node::List(list.iter().map(Node::to_owned).collect()),
            Node::Record(record) => Node::Record(Record {
                fields: record.fields,
                values: record.values.iter().map(Node::to_owned).collect(),
                unknown: Vec::new(),
            }),
        }
    }
}

/// The definition of the structs in an array (or of a nested struct) of a message.
pub fn element(fields: &'static [FieldSpec], name: &str) -> &'static [FieldSpec] {
    match fields
        .iter()
        .find(|spec| spec.name == name)
        .map(|spec| spec.ty)
    {
        Some(FieldType::Struct(inner)) => inner,
        _ => {
            debug_assert!(false, "no struct {name}");
            &[]
        }
    }
}

/// The fields of a message; none if the table does not know the API.
pub fn message(api: ApiKey, dir: Direction) -> &'static [FieldSpec] {
    api.spec().map_or(&[], |spec| spec.message(dir).fields)
}

/// Validates a body and makes its tree.
///
/// # Errors
/// The body is not understood, or has too many elements.
pub fn decode(
    api: ApiKey,
    version: i16,
    dir: Direction,
    body: &[u8],
) -> Result<Record<'_>, TreeError> {
    decode_with(api, version, dir, body, None)
}

/// Like [`decode`], but arrays and structs that hold nothing of interest stay the bytes that they are, [`Node::Raw`], unless there are
/// tagged fields in them that the table does not know. Such a tree can be written in the same version only.
///
/// # Errors
/// As for [`decode`].
pub fn decode_around(
    api: ApiKey,
    version: i16,
    dir: Direction,
    body: &[u8],
    interest: Interest,
) -> Result<Record<'_>, TreeError> {
    decode_with(api, version, dir, body, Some(interest))
}

fn decode_with(
    api: ApiKey,
    version: i16,
    dir: Direction,
    body: &[u8],
    interest: Option<Interest>,
) -> Result<Record<'_>, TreeError> {
    validate(api, version, dir, body)?;
    let spec = api.spec().ok_or(TreeError::Disagreement)?;
    let mut reader = Reader {
        rest: body,
        version,
        flexible: spec.is_flexible(dir, version),
        nodes_left: match dir {
            Direction::Request => MAX_NODES.min(FREE_NODES + body.len()),
            Direction::Response => MAX_ANSWER_NODES,
        },
        interest,
        dull: Vec::new(),
    };
    reader.record(spec.message(dir).fields)
}

/// Writes a tree.
pub fn encode(api: ApiKey, version: i16, dir: Direction, root: &Record<'_>) -> Vec<u8> {
    let flexible = api
        .spec()
        .is_some_and(|spec| spec.is_flexible(dir, version));
    let mut writer = Writer {
        version,
        flexible,
        // Lengths and tags are not in the estimate.
        out: Vec::with_capacity(root.bytes() * 9 / 8 + 64),
    };
    writer.record(root);
    writer.out
}

/// Reads what the walker has found valid; whatever it does not understand all the same is a disagreement.
struct Reader<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    nodes_left: usize,
    /// Of whoever wants the tree; `None`: all.
    interest: Option<Interest>,
    /// Definitions that have been looked at, and whether nothing in them is of interest.
    dull: Vec<(&'static [FieldSpec], bool)>,
}

impl<'a> Reader<'a> {
    /// Whether nobody wants to know what is in an array or a struct.
    fn is_dull(&mut self, spec: &'static FieldSpec) -> bool {
        let Some(interest) = self.interest else {
            return false;
        };
        let FieldType::Struct(inner) = spec.ty else {
            return spec.array && !interest.contains(spec.entity);
        };
        let mut known = self.dull.iter();
        match known.find(|(fields, _)| std::ptr::eq(*fields, inner)) {
            Some((_, dull)) => *dull,
            None => {
                let dull = holds_nothing(inner, interest);
                self.dull.push((inner, dull));
                dull
            }
        }
    }

    /// Passes over a field. `false`: it holds tagged fields that the table does not know.
    fn skip(&mut self, spec: &'static FieldSpec) -> Result<bool, TreeError> {
        if !spec.array {
            return self.skip_value(spec);
        }
        let Some(count) = self.length(false)? else {
            return Ok(true);
        };
        if let Some(size) = spec.ty.fixed_size() {
            let size = count.checked_mul(size).ok_or(TreeError::Disagreement)?;
            return self.take(size).map(|_| true);
        }
        let mut known = true;
        for _ in 0..count {
            known &= match spec.ty {
                FieldType::Struct(inner) => self.skip_record(inner)?,
                _ => self.skip_value(spec)?,
            };
        }
        Ok(known)
    }

    fn skip_value(&mut self, spec: &'static FieldSpec) -> Result<bool, TreeError> {
        match spec.ty {
            FieldType::Struct(inner) => {
                let nullable = spec.nullable.contains(self.version);
                if nullable && (self.array::<1>()?[0] as i8) < 0 {
                    return Ok(true);
                }
                self.skip_record(inner)
            }
            ty => {
                let size = match ty.fixed_size() {
                    Some(size) => size,
                    None => self.length(matches!(ty, FieldType::String))?.unwrap_or(0),
                };
                self.take(size).map(|_| true)
            }
        }
    }

    fn skip_record(&mut self, fields: &'static [FieldSpec]) -> Result<bool, TreeError> {
        let mut known = true;
        for spec in fields {
            let here = spec.versions.contains(self.version)
                && !(self.flexible && spec.tagged.contains(self.version));
            if here {
                known &= self.skip(spec)?;
            }
        }
        if !self.flexible {
            return Ok(known);
        }
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            let content = self.take(size)?;
            let is_meant = |spec: &&FieldSpec| is_tagged(spec, self.version, tag);
            let Some(spec) = fields.iter().find(is_meant) else {
                known = false;
                continue;
            };
            let after = std::mem::replace(&mut self.rest, content);
            known &= self.skip(spec)?;
            self.rest = after;
        }
        Ok(known)
    }

    fn record(&mut self, fields: &'static [FieldSpec]) -> Result<Record<'a>, TreeError> {
        self.nodes_left = self
            .nodes_left
            .checked_sub(fields.len())
            .ok_or(TreeError::TooLarge)?;
        let mut record = Record::new(fields);
        for (spec, value) in fields.iter().zip(&mut record.values) {
            let here = spec.versions.contains(self.version)
                && !(self.flexible && spec.tagged.contains(self.version));
            if here {
                *value = self.field(spec)?;
            }
        }
        if self.flexible {
            self.tags(&mut record)?;
        }
        Ok(record)
    }

    fn tags(&mut self, record: &mut Record<'a>) -> Result<(), TreeError> {
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            let content = self.take(size)?;
            let mut fields = record.fields.iter().zip(&mut record.values);
            let known = fields.find(|(spec, _)| is_tagged(spec, self.version, tag));
            let Some((spec, value)) = known else {
                let left = self.nodes_left.checked_sub(1);
                self.nodes_left = left.ok_or(TreeError::TooLarge)?;
                record.unknown.push((tag, Cow::Borrowed(content)));
                continue;
            };
            let after = std::mem::replace(&mut self.rest, content);
            *value = self.field(spec)?;
            if !std::mem::replace(&mut self.rest, after).is_empty() {
                return Err(TreeError::Disagreement);
            }
        }
        Ok(())
    }

    fn field(&mut self, spec: &'static FieldSpec) -> Result<Node<'a>, TreeError> {
        if self.is_dull(spec) {
            let before = self.rest;
            if self.skip(spec)? {
                let (bytes, _) = before.split_at(before.len() - self.rest.len());
                return Ok(Node::Raw(Cow::Borrowed(bytes)));
            }
            self.rest = before;
        }
        if !spec.array {
            return self.value(spec);
        }
        let Some(count) = self.length(false)? else {
            return Ok(Node::Null);
        };
        // The walker has seen to it that the elements are there: each takes a byte at least.
        let capacity = count.min(self.rest.len());
        self.nodes_left = self
            .nodes_left
            .checked_sub(count)
            .ok_or(TreeError::TooLarge)?;
        match (spec.ty, spec.ty.fixed_size()) {
            (FieldType::Uuid | FieldType::Float64, _) | (_, None) => {
                let mut list = Vec::with_capacity(capacity);
                for _ in 0..count {
                    list.push(self.element(spec)?);
                }
                Ok(Node::List(list))
            }
            (_, Some(size)) => {
                let mut list = Vec::with_capacity(capacity);
                for _ in 0..count {
                    list.push(self.integer(spec.ty, size)?);
                }
                Ok(Node::Ints(list))
            }
        }
    }

    fn element(&mut self, spec: &'static FieldSpec) -> Result<Node<'a>, TreeError> {
        match spec.ty {
            FieldType::Struct(inner) => self.record(inner).map(Node::Record),
            _ => self.value(spec),
        }
    }

    fn value(&mut self, spec: &'static FieldSpec) -> Result<Node<'a>, TreeError> {
        match spec.ty {
            FieldType::String | FieldType::Bytes | FieldType::Records => {
                match self.length(matches!(spec.ty, FieldType::String))? {
                    Some(len) => Ok(Node::Text(Cow::Borrowed(self.take(len)?))),
                    None => Ok(Node::Null),
                }
            }
            FieldType::Struct(inner) => {
                let nullable = spec.nullable.contains(self.version);
                if nullable && (self.array::<1>()?[0] as i8) < 0 {
                    return Ok(Node::Null);
                }
                self.record(inner).map(Node::Record)
            }
            FieldType::Uuid => Ok(Node::Uuid(self.array()?)),
            FieldType::Float64 => Ok(Node::Double(f64::from_be_bytes(self.array()?))),
            ty => self
                .integer(ty, ty.fixed_size().unwrap_or(0))
                .map(Node::Int),
        }
    }

    fn integer(&mut self, ty: FieldType, size: usize) -> Result<i64, TreeError> {
        let bytes = self.take(size)?;
        let unsigned = bytes
            .iter()
            .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
        Ok(match ty {
            FieldType::Int8 => i64::from(unsigned as i8),
            FieldType::Int16 => i64::from(unsigned as i16),
            FieldType::Int32 => i64::from(unsigned as i32),
            _ => unsigned as i64,
        })
    }

    /// Length or count; `short` for the two bytes of a string.
    fn length(&mut self, short: bool) -> Result<Option<usize>, TreeError> {
        if self.flexible {
            return Ok((self.varint()? as usize).checked_sub(1));
        }
        let length = if short {
            i32::from(i16::from_be_bytes(self.array()?))
        } else {
            i32::from_be_bytes(self.array()?)
        };
        Ok(usize::try_from(length).ok())
    }

    fn varint(&mut self) -> Result<u32, TreeError> {
        varint::take(&mut self.rest).ok_or(TreeError::Disagreement)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], TreeError> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(TreeError::Disagreement)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], TreeError> {
        let (bytes, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(TreeError::Disagreement)?;
        self.rest = rest;
        Ok(*bytes)
    }
}

fn holds_nothing(fields: &[FieldSpec], interest: Interest) -> bool {
    fields.iter().all(|spec| match spec.ty {
        FieldType::Struct(inner) => holds_nothing(inner, interest),
        _ => !interest.contains(spec.entity),
    })
}

fn is_tagged(spec: &FieldSpec, version: i16, tag: u32) -> bool {
    spec.versions.contains(version) && spec.tagged.contains(version) && spec.tag == tag
}

struct Writer {
    version: i16,
    flexible: bool,
    out: Vec<u8>,
}

impl Writer {
    fn record(&mut self, record: &Record<'_>) {
        let mut tagged = Vec::new();
        for (spec, value) in record.fields.iter().zip(&record.values) {
            if !spec.versions.contains(self.version) {
                continue;
            }
            if !(self.flexible && spec.tagged.contains(self.version)) {
                self.field(spec, value);
            } else if *value != Node::Absent {
                tagged.push((spec, value));
            }
        }
        if self.flexible {
            self.tags(tagged, &record.unknown);
        }
    }

    fn tags(
        &mut self,
        known: Vec<(&'static FieldSpec, &Node<'_>)>,
        unknown: &[(u32, Cow<'_, [u8]>)],
    ) {
        let mut tags: Vec<(u32, Cow<'_, [u8]>)> = Vec::with_capacity(known.len() + unknown.len());
        for (spec, value) in known {
            let outer = std::mem::take(&mut self.out);
            self.field(spec, value);
            let content = std::mem::replace(&mut self.out, outer);
            tags.push((spec.tag, Cow::Owned(content)));
        }
        tags.extend(
            unknown
                .iter()
                .map(|(tag, content)| (*tag, Cow::Borrowed(&**content))),
        );
        tags.sort_by_key(|(tag, _)| *tag);
        self.varint(tags.len());
        for (tag, content) in tags {
            self.varint(tag as usize);
            self.varint(content.len());
            self.out.extend_from_slice(&content);
        }
    }

    fn field(&mut self, spec: &FieldSpec, value: &Node<'_>) {
        if let Node::Raw(bytes) = value {
            return self.out.extend_from_slice(bytes);
        }
        let nullable = spec.nullable.contains(self.version);
        if spec.array {
            return self.array(spec, value, nullable);
        }
        match (spec.ty, value) {
            (FieldType::Struct(inner), value) => self.structure(spec, inner, value, nullable),
            (FieldType::String | FieldType::Bytes | FieldType::Records, value) => {
                let short = matches!(spec.ty, FieldType::String);
                match value {
                    Node::Text(text) => {
                        self.length(Some(text.len()), short);
                        self.out.extend_from_slice(text);
                    }
                    value => {
                        let null = *value == Node::Null || spec.default == DefaultValue::Null;
                        self.length((!(null && nullable)).then_some(0), short);
                    }
                }
            }
            (_, Node::Uuid(value)) => self.out.extend_from_slice(value),
            (_, Node::Double(value)) => self.out.extend_from_slice(&value.to_be_bytes()),
            (ty, Node::Int(value)) => self.integer(ty, *value),
            (ty, _) => {
                let value = match spec.default {
                    DefaultValue::Int(value) => value,
                    DefaultValue::Zero | DefaultValue::Null => 0,
                };
                self.integer(ty, value);
            }
        }
    }

    fn structure(
        &mut self,
        spec: &FieldSpec,
        inner: &'static [FieldSpec],
        value: &Node<'_>,
        nullable: bool,
    ) {
        let null =
            *value == Node::Null || (*value == Node::Absent && spec.default == DefaultValue::Null);
        if nullable {
            self.out.push(if null { 0xff } else { 1 });
        }
        match value {
            Node::Record(record) => self.record(record),
            _ if nullable && null => {}
            _ => self.record(&Record::new(inner)),
        }
    }

    fn array(&mut self, spec: &FieldSpec, value: &Node<'_>, nullable: bool) {
        match value {
            Node::List(list) => {
                self.length(Some(list.len()), false);
                for node in list {
                    match (spec.ty, node) {
                        (FieldType::String | FieldType::Bytes | FieldType::Records, node) => {
                            let short = matches!(spec.ty, FieldType::String);
                            self.length(Some(node.as_bytes().len()), short);
                            self.out.extend_from_slice(node.as_bytes());
                        }
                        (FieldType::Struct(_), Node::Record(record)) => self.record(record),
                        (FieldType::Struct(inner), _) => self.record(&Record::new(inner)),
                        (_, Node::Uuid(value)) => self.out.extend_from_slice(value),
                        (_, Node::Double(value)) => {
                            self.out.extend_from_slice(&value.to_be_bytes())
                        }
                        (ty, node) => self.integer(ty, node.as_int()),
                    }
                }
            }
            Node::Ints(values) => {
                self.length(Some(values.len()), false);
                values
                    .iter()
                    .for_each(|value| self.integer(spec.ty, *value));
            }
            value => {
                let null = *value == Node::Null
                    || (*value == Node::Absent && spec.default == DefaultValue::Null);
                self.length((!(null && nullable)).then_some(0), false);
            }
        }
    }

    fn integer(&mut self, ty: FieldType, value: i64) {
        let size = ty.fixed_size().unwrap_or(0);
        let wide = [[0; 8], value.to_be_bytes()].concat();
        self.out.extend_from_slice(&wide[16 - size..]);
    }

    fn length(&mut self, length: Option<usize>, short: bool) {
        if self.flexible {
            return self.varint(length.map_or(0, |length| length + 1));
        }
        match (length, short) {
            (None, true) => self.out.extend_from_slice(&(-1_i16).to_be_bytes()),
            (None, false) => self.out.extend_from_slice(&(-1_i32).to_be_bytes()),
            (Some(length), true) => self.out.extend_from_slice(&(length as i16).to_be_bytes()),
            (Some(length), false) => self.out.extend_from_slice(&(length as i32).to_be_bytes()),
        }
    }

    /// Lengths of messages stay far below the 32 bits.
    fn varint(&mut self, value: usize) {
        varint::put(value as u32, &mut self.out);
    }
}

#[cfg(test)]
mod tests {
    use crate::api::{ApiKey, Direction};
    use crate::build::default_body;
    use crate::plan::Interest;
    use crate::schema::Entity;
    use crate::testing::{Rng, random_body};
    use crate::walk::validate;

    use super::{Node, Record, decode, decode_around, encode, message};

    /// Every message in every version, with what random bodies are made of.
    fn for_each_message(mut check: impl FnMut(ApiKey, i16, Direction, &mut Rng)) {
        for api in ApiKey::all() {
            let spec = api.spec().unwrap();
            for version in spec.min_version..=spec.max_version {
                for dir in [Direction::Request, Direction::Response] {
                    let seed = (api.0 as u64) << 20 | (version as u64) << 4 | dir as u64;
                    check(api, version, dir, &mut Rng::new(seed));
                }
            }
        }
    }

    #[test]
    fn what_is_of_no_interest_is_written_as_it_came() {
        let interests = [
            Interest::NONE,
            Interest::of(&[Entity::TopicName]),
            Interest::of(&[Entity::ErrorCode, Entity::GroupId]),
            Interest::ALL,
        ];
        let mut raw = 0;
        for_each_message(|api, version, dir, rng| {
            for interest in interests {
                let body = random_body(api, version, dir, rng);
                let expected = decode(api, version, dir, &body).unwrap();
                let tree = decode_around(api, version, dir, &body, interest).unwrap();
                let has_raw = |(_, value): (_, &Node<'_>)| matches!(value, Node::Raw(_));
                raw += usize::from(tree.each().any(has_raw));
                let again = encode(api, version, dir, &tree);
                assert_eq!(
                    decode(api, version, dir, &again).unwrap(),
                    expected,
                    "{api} v{version} {dir:?}"
                );
            }
        });
        assert!(raw > 500, "only {raw} trees had raw bytes in them");
    }

    /// Otherwise nobody could take it out.
    #[test]
    fn what_the_table_does_not_know_does_not_hide() {
        // Metadata v9, no brokers; one topic without an error, "t", internal, with one partition that has a tagged field 77.
        let partition = [
            &[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1][..],
            &[1, 77, 2, b'h', b'i'],
        ];
        let topic = [&[0, 0, 2, b't', 1, 2][..], &partition.concat()[..], &[0; 5]];
        let body = [
            &[0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2][..],
            &topic.concat()[..],
            &[0; 5],
        ]
        .concat();
        let names = Interest::of(&[Entity::TopicName]);
        let mut tree =
            decode_around(ApiKey::METADATA, 9, Direction::Response, &body, names).unwrap();
        let Some(Node::List(topics)) = tree.get_mut("Topics") else {
            panic!("no topics");
        };
        let topic = topics[0].as_record_mut().unwrap();
        let Some(Node::List(partitions)) = topic.get_mut("Partitions") else {
            panic!("partitions are not to be seen");
        };
        assert!(partitions[0].as_record_mut().unwrap().drop_unknown());
    }

    #[test]
    fn what_is_read_is_written_again() {
        for_each_message(|api, version, dir, rng| {
            for _ in 0..10 {
                let body = random_body(api, version, dir, rng);
                let tree = decode(api, version, dir, &body).unwrap();
                let again = encode(api, version, dir, &tree);
                assert_eq!(
                    validate(api, version, dir, &again),
                    Ok(()),
                    "{api} v{version} {dir:?}"
                );
                assert_eq!(
                    decode(api, version, dir, &again).unwrap(),
                    tree,
                    "{api} v{version} {dir:?}"
                );
            }
            let empty = encode(api, version, dir, &Record::new(message(api, dir)));
            assert_eq!(
                validate(api, version, dir, &empty),
                Ok(()),
                "{api} v{version} {dir:?}"
            );
            let shortest = default_body(api, version, dir).unwrap();
            assert!(decode(api, version, dir, &shortest).is_ok());
        });
    }
}
