//! Validating a whole body and visiting the fields of interest.
//!
//! ```
//! use sluicegate_wire::api::{ApiKey, Direction};
//! use sluicegate_wire::plan::{Interest, Plan};
//! use sluicegate_wire::schema::Entity;
//! use sluicegate_wire::walk::{Field, Value, Visitor};
//!
//! struct Groups(Vec<String>);
//! impl Visitor for Groups {
//!     fn field(&mut self, field: &Field<'_>) {
//!         if let Value::Text(Some(name)) = field.value {
//!             self.0.push(String::from_utf8_lossy(name).into_owned());
//!         }
//!     }
//! }
//!
//! let body = [0, 1, b'g', 0, 0, 0, 7, 0, 1, b'm'];
//! let plan = Plan::compile(ApiKey::HEARTBEAT, 0, Direction::Request, Interest::of(&[Entity::GroupId])).unwrap();
//! let mut groups = Groups(Vec::new());
//! plan.visit(&body, &mut groups).unwrap();
//! assert_eq!(groups.0, ["g"]);
//! ```
//!
//! A body is accepted when it is consumed to the last byte. Where this is more lenient than the definitions, as brokers and clients are:
//! varints may be longer than necessary, tagged fields may be in any order, a boolean is any byte, text need not be UTF-8, records may
//! be null in every version. It is stricter in one point: null is -1, no other negative length is.

use crate::api::{ApiKey, Direction};
use crate::cursor::Cursor;
use crate::plan::{Interest, Op, Plan, Plans, Prefix, Program, Tag};
use crate::rewrite::EditProblem;
use crate::schema::{Entity, FieldSpec, FieldType};
use crate::stream::StopPoint;

/// Checks that `body`, the bytes after the header, is exactly one message of this kind.
pub fn validate(api: ApiKey, version: i16, dir: Direction, body: &[u8]) -> Result<(), WalkError> {
    static PLANS: Plans = Plans::new(Interest::NONE);
    let plan = PLANS
        .get(api, version, dir)
        .ok_or(WalkError::UnknownMessage { api, version })?;
    let mut cursor = Cursor::new(body);
    skip(&mut cursor, &plan.root.ops)?;
    finish(&cursor)
}

impl Plan {
    /// Walks `body` and reports every field of interest in the order of the bytes. The body must be consumed exactly. Fields are
    /// reported as they are met: an error can follow.
    pub fn visit<V: Visitor>(&self, body: &[u8], visitor: &mut V) -> Result<(), WalkError> {
        let mut cursor = Cursor::new(body);
        walk(&mut cursor, &self.root.ops, &mut Visiting(visitor))?;
        finish(&cursor)
    }

    /// Like [`Plan::visit`] for the end of a body whose beginning a [`StreamWalker`](crate::stream::StreamWalker) went through.
    /// Positions count from the beginning of `tail`.
    pub fn visit_tail<V: Visitor>(
        &self,
        stop: StopPoint,
        tail: &[u8],
        visitor: &mut V,
    ) -> Result<(), WalkError> {
        let mut cursor = Cursor::new(tail);
        walk(&mut cursor, self.ops_from(stop), &mut Visiting(visitor))?;
        finish(&cursor)
    }

    pub(crate) fn ops_from(&self, stop: StopPoint) -> &[Op] {
        self.root.ops.get(stop.op..).unwrap_or_default()
    }
}

/// Receives fields of interest.
pub trait Visitor {
    /// A field of interest, or one element of an array of such.
    fn field(&mut self, _field: &Field<'_>) {}

    /// A struct (one element, if `spec` is an array) that can hold something of interest begins at `pos`.
    fn enter(&mut self, _spec: &'static FieldSpec, _pos: usize) {}

    /// The struct ends before `pos`.
    fn leave(&mut self, _spec: &'static FieldSpec, _pos: usize) {}
}

/// One field of a body.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Its definition.
    pub spec: &'static FieldSpec,
    /// What it means, same as `spec.entity`.
    pub entity: Entity,
    /// Its value.
    pub value: Value<'a>,
    /// Offset of the encoded field in the body, length prefix included.
    pub pos: usize,
    /// Bytes of the encoded field, length prefix included.
    pub len: usize,
}

/// Value of a [`Field`].
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Value<'a> {
    /// bool
    Bool(bool),
    /// Any integer type.
    Int(i64),
    /// float64
    F64(f64),
    /// uuid
    Uuid([u8; 16]),
    /// string; not necessarily UTF-8.
    Text(Option<&'a [u8]>),
    /// bytes
    Bytes(Option<&'a [u8]>),
    /// records
    Records(Option<&'a [u8]>),
}

/// Why a body is not a message. Offsets are bytes from the beginning of the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WalkError {
    /// A field reaches beyond the end of the body or of the tagged field it is in.
    #[error("field at {offset} is cut off")]
    Truncated {
        /// Where.
        offset: usize,
    },
    /// A varint of more than 32 bits.
    #[error("bad varint at {offset}")]
    BadVarint {
        /// Where.
        offset: usize,
    },
    /// A length or count below -1.
    #[error("negative length at {offset}")]
    NegativeLength {
        /// Where.
        offset: usize,
    },
    /// Null in a field that must not be null in this version.
    #[error("null at {offset} in a field that must not be null")]
    NullNotAllowed {
        /// Where.
        offset: usize,
    },
    /// More elements than the remaining bytes can hold.
    #[error("count at {offset} is larger than the rest of the body can hold")]
    CountTooLarge {
        /// Where.
        offset: usize,
    },
    /// A known tagged field is shorter than its declared size.
    #[error("tagged field ends at {offset}, before its declared size")]
    TagSizeMismatch {
        /// Where.
        offset: usize,
    },
    /// The message ends before the body does.
    #[error("message ends at {offset}, before the body")]
    TrailingBytes {
        /// Where.
        offset: usize,
    },
    /// The table has no such message.
    #[error("{api} has no version {version}")]
    UnknownMessage {
        /// Asked for.
        api: ApiKey,
        /// Asked for.
        version: i16,
    },
    /// An edit cannot be done; the fault of the rewriter, not of the body.
    #[error("edit at {offset}: {problem}")]
    BadEdit {
        /// Where.
        offset: usize,
        /// What is wrong with it.
        problem: EditProblem,
    },
}

/// What a walk tells; [`Visitor`] and the rewriter sit behind it.
pub(crate) trait Sink {
    /// Remembers the state at the beginning of an array, element or tagged field.
    type Mark: Copy;

    fn mark(&mut self) -> Self::Mark;
    /// True: the element is dropped.
    fn field(&mut self, field: &Field<'_>, shape: Shape) -> Result<bool, WalkError>;
    fn enter(&mut self, spec: &'static FieldSpec, pos: usize);
    /// True: the element is dropped.
    fn leave(
        &mut self,
        spec: &'static FieldSpec,
        range: (usize, usize),
        mark: Self::Mark,
    ) -> Result<bool, WalkError>;
    fn end_array(
        &mut self,
        at: (usize, usize),
        prefix: Prefix,
        count: usize,
        dropped: usize,
        mark: Self::Mark,
    );
    fn end_tag(&mut self, at: (usize, usize), size: usize, mark: Self::Mark);
}

/// How a field is written, for edits.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// `None`: fixed size.
    pub(crate) prefix: Option<Prefix>,
    pub(crate) nullable: bool,
    /// Element of an array.
    pub(crate) element: bool,
}

struct Visiting<'v, V>(&'v mut V);

impl<V: Visitor> Sink for Visiting<'_, V> {
    type Mark = ();

    fn mark(&mut self) {}

    #[inline(always)]
    fn field(&mut self, field: &Field<'_>, _shape: Shape) -> Result<bool, WalkError> {
        self.0.field(field);
        Ok(false)
    }

    #[inline(always)]
    fn enter(&mut self, spec: &'static FieldSpec, pos: usize) {
        self.0.enter(spec, pos);
    }

    #[inline(always)]
    fn leave(
        &mut self,
        spec: &'static FieldSpec,
        range: (usize, usize),
        _mark: (),
    ) -> Result<bool, WalkError> {
        self.0.leave(spec, range.1);
        Ok(false)
    }

    fn end_array(
        &mut self,
        _at: (usize, usize),
        _prefix: Prefix,
        _count: usize,
        _dropped: usize,
        _mark: (),
    ) {
    }

    fn end_tag(&mut self, _at: (usize, usize), _size: usize, _mark: ()) {}
}

/// The message must end where the body ends.
pub(crate) fn finish(cursor: &Cursor<'_>) -> Result<(), WalkError> {
    if cursor.pos == cursor.buf.len() {
        Ok(())
    } else {
        Err(WalkError::TrailingBytes { offset: cursor.pos })
    }
}

/// Runs a program and tells the sink.
pub(crate) fn walk<S: Sink>(
    cursor: &mut Cursor<'_>,
    ops: &[Op],
    sink: &mut S,
) -> Result<(), WalkError> {
    for op in ops {
        match op {
            // What is most common is done here: a call costs more.
            Op::Skip(size) => cursor.advance(*size as usize)?,
            Op::SkipVar { prefix, nullable } => {
                let len = cursor.prefix(*prefix, *nullable)?.unwrap_or(0);
                cursor.advance(len)?;
            }
            Op::Tags {
                known,
                interesting: false,
            } => {
                for _ in 0..tag_count(cursor)? {
                    cursor.pos = skip_tag(&cursor.buf[..cursor.end], cursor.pos, known)?;
                }
            }
            Op::Fixed { spec } => {
                sink.field(
                    &fixed(cursor, spec)?,
                    Shape {
                        prefix: None,
                        nullable: false,
                        element: false,
                    },
                )?;
            }
            Op::Var {
                spec,
                prefix,
                nullable,
            } => {
                let shape = Shape {
                    prefix: Some(*prefix),
                    nullable: *nullable,
                    element: false,
                };
                sink.field(&variable(cursor, spec, *prefix, *nullable)?, shape)?;
            }
            Op::Array {
                spec,
                element,
                prefix,
                nullable,
                interesting: true,
            } => {
                walk_array(cursor, spec, element, *prefix, *nullable, sink)?;
            }
            Op::Struct {
                spec,
                inner,
                nullable,
                interesting: true,
            } => {
                if *nullable && !cursor.present()? {
                    continue;
                }
                let start = cursor.pos;
                let mark = sink.mark();
                sink.enter(spec, start);
                walk(cursor, &inner.ops, sink)?;
                if sink.leave(spec, (start, cursor.pos), mark)? {
                    return Err(WalkError::BadEdit {
                        offset: start,
                        problem: EditProblem::NotAnElement,
                    });
                }
            }
            Op::Tags {
                known,
                interesting: true,
            } => {
                for _ in 0..tag_count(cursor)? {
                    let tag = cursor.varint()?;
                    let size_at = cursor.pos;
                    let size = cursor.varint()? as usize;
                    let size_end = cursor.pos;
                    match known.iter().find(|known| known.tag == tag) {
                        Some(known) if known.interesting => {
                            let mark = sink.mark();
                            within(cursor, size, |cursor| {
                                walk(cursor, &known.program.ops, sink)
                            })?;
                            sink.end_tag((size_at, size_end), size, mark);
                        }
                        Some(known) => {
                            within(cursor, size, |cursor| skip(cursor, &known.program.ops))?
                        }
                        None => cursor.advance(size)?,
                    }
                }
            }
            _ => skip(cursor, std::slice::from_ref(op))?,
        }
    }
    Ok(())
}

fn walk_array<S: Sink>(
    cursor: &mut Cursor<'_>,
    spec: &'static FieldSpec,
    element: &Program,
    prefix: Prefix,
    nullable: bool,
    sink: &mut S,
) -> Result<(), WalkError> {
    let count_at = cursor.pos;
    let Some(count) = element_count(cursor, prefix, nullable, element.min_size)? else {
        return Ok(());
    };
    let count_end = cursor.pos;
    let array_mark = sink.mark();
    let mut dropped = 0;
    for _ in 0..count {
        let gone = match &*element.ops {
            [Op::Fixed { spec }] if !matches!(spec.ty, FieldType::Struct(_)) && spec.array => sink
                .field(
                    &fixed(cursor, spec)?,
                    Shape {
                        prefix: None,
                        nullable: false,
                        element: true,
                    },
                )?,
            [
                Op::Var {
                    spec,
                    prefix,
                    nullable,
                },
            ] if spec.array => {
                let shape = Shape {
                    prefix: Some(*prefix),
                    nullable: *nullable,
                    element: true,
                };
                sink.field(&variable(cursor, spec, *prefix, *nullable)?, shape)?
            }
            ops => {
                let start = cursor.pos;
                let mark = sink.mark();
                sink.enter(spec, start);
                walk(cursor, ops, sink)?;
                sink.leave(spec, (start, cursor.pos), mark)?
            }
        };
        dropped += usize::from(gone);
    }
    if dropped > 0 {
        sink.end_array((count_at, count_end), prefix, count, dropped, array_mark);
    }
    Ok(())
}

/// Runs a program for its length only.
pub(crate) fn skip(cursor: &mut Cursor<'_>, ops: &[Op]) -> Result<(), WalkError> {
    cursor.pos = skip_times(&cursor.buf[..cursor.end], cursor.pos, ops, 1)?;
    Ok(())
}

/// Runs a program `times` times and gives the position behind. Positions go in and out by value, which keeps them in registers: most of
/// the time of a walk is spent here.
fn skip_times(buf: &[u8], pos: usize, ops: &[Op], times: usize) -> Result<usize, WalkError> {
    let mut cursor = Cursor {
        buf,
        pos,
        end: buf.len(),
    };
    for _ in 0..times {
        for op in ops {
            match op {
                Op::Skip(size) => cursor.advance(*size as usize)?,
                Op::SkipVar { prefix, nullable }
                | Op::Var {
                    prefix, nullable, ..
                } => {
                    let len = cursor.prefix(*prefix, *nullable)?.unwrap_or(0);
                    cursor.advance(len)?;
                }
                Op::SkipElements {
                    size,
                    prefix,
                    nullable,
                } => {
                    let count = element_count(&mut cursor, *prefix, *nullable, *size)?.unwrap_or(0);
                    cursor.advance(count * *size as usize)?;
                }
                Op::Fixed { spec } => cursor.advance(spec.ty.fixed_size().unwrap_or(0))?,
                Op::Array {
                    element,
                    prefix,
                    nullable,
                    ..
                } => {
                    let count = element_count(&mut cursor, *prefix, *nullable, element.min_size)?
                        .unwrap_or(0);
                    cursor.pos = skip_times(buf, cursor.pos, &element.ops, count)?;
                }
                Op::Struct {
                    inner, nullable, ..
                } => {
                    if !nullable || cursor.present()? {
                        cursor.pos = skip_times(buf, cursor.pos, &inner.ops, 1)?;
                    }
                }
                Op::Tags { known, .. } => {
                    for _ in 0..tag_count(&mut cursor)? {
                        cursor.pos = skip_tag(buf, cursor.pos, known)?;
                    }
                }
            }
        }
    }
    Ok(cursor.pos)
}

/// One tagged field; most messages have none.
#[inline(never)]
fn skip_tag(buf: &[u8], pos: usize, known: &[Tag]) -> Result<usize, WalkError> {
    let mut cursor = Cursor {
        buf,
        pos,
        end: buf.len(),
    };
    let tag = cursor.varint()?;
    let size = cursor.varint()? as usize;
    match known.iter().find(|known| known.tag == tag) {
        Some(known) => within(&mut cursor, size, |cursor| skip(cursor, &known.program.ops))?,
        None => cursor.advance(size)?,
    }
    Ok(cursor.pos)
}

/// The count of an array; more than the rest can hold is refused before anything is done `count` times.
#[inline(always)]
pub(crate) fn element_count(
    cursor: &mut Cursor<'_>,
    prefix: Prefix,
    nullable: bool,
    min_size: u32,
) -> Result<Option<usize>, WalkError> {
    let offset = cursor.pos;
    let count = cursor.prefix(prefix, nullable)?;
    match count {
        Some(count) if count as u64 * u64::from(min_size) > cursor.remaining() as u64 => {
            Err(WalkError::CountTooLarge { offset })
        }
        count => Ok(count),
    }
}

/// The count of tagged fields; each takes two bytes at least.
#[inline(always)]
pub(crate) fn tag_count(cursor: &mut Cursor<'_>) -> Result<usize, WalkError> {
    let offset = cursor.pos;
    let count = cursor.varint()? as usize;
    if count as u64 * 2 > cursor.remaining() as u64 {
        return Err(WalkError::CountTooLarge { offset });
    }
    Ok(count)
}

/// Runs `inner` on the next `size` bytes, all of which it must consume.
fn within<'a>(
    cursor: &mut Cursor<'a>,
    size: usize,
    inner: impl FnOnce(&mut Cursor<'a>) -> Result<(), WalkError>,
) -> Result<(), WalkError> {
    if size > cursor.remaining() {
        return Err(WalkError::Truncated { offset: cursor.pos });
    }
    let outer = std::mem::replace(&mut cursor.end, cursor.pos + size);
    inner(cursor)?;
    if cursor.pos != cursor.end {
        return Err(WalkError::TagSizeMismatch { offset: cursor.pos });
    }
    cursor.end = outer;
    Ok(())
}

#[inline(always)]
pub(crate) fn fixed<'a>(
    cursor: &mut Cursor<'a>,
    spec: &'static FieldSpec,
) -> Result<Field<'a>, WalkError> {
    let pos = cursor.pos;
    let value = match spec.ty {
        FieldType::Bool => Value::Bool(u8::from_be_bytes(cursor.array()?) != 0),
        FieldType::Int8 => Value::Int(i8::from_be_bytes(cursor.array()?).into()),
        FieldType::Int16 => Value::Int(i16::from_be_bytes(cursor.array()?).into()),
        FieldType::Uint16 => Value::Int(u16::from_be_bytes(cursor.array()?).into()),
        FieldType::Int32 => Value::Int(i32::from_be_bytes(cursor.array()?).into()),
        FieldType::Uint32 => Value::Int(u32::from_be_bytes(cursor.array()?).into()),
        FieldType::Int64 => Value::Int(i64::from_be_bytes(cursor.array()?)),
        FieldType::Float64 => Value::F64(f64::from_be_bytes(cursor.array()?)),
        FieldType::Uuid => Value::Uuid(cursor.array()?),
        FieldType::String | FieldType::Bytes | FieldType::Records | FieldType::Struct(_) => {
            return variable(cursor, spec, Prefix::Compact, true);
        }
    };
    Ok(Field {
        spec,
        entity: spec.entity,
        value,
        pos,
        len: cursor.pos - pos,
    })
}

#[inline(always)]
fn variable<'a>(
    cursor: &mut Cursor<'a>,
    spec: &'static FieldSpec,
    prefix: Prefix,
    nullable: bool,
) -> Result<Field<'a>, WalkError> {
    let pos = cursor.pos;
    let bytes = match cursor.prefix(prefix, nullable)? {
        Some(len) => Some(cursor.take(len)?),
        None => None,
    };
    let value = match spec.ty {
        FieldType::String => Value::Text(bytes),
        FieldType::Records => Value::Records(bytes),
        _ => Value::Bytes(bytes),
    };
    Ok(Field {
        spec,
        entity: spec.entity,
        value,
        pos,
        len: cursor.pos - pos,
    })
}

#[cfg(test)]
mod tests {
    use super::{Field, Value, Visitor, WalkError, validate};
    use crate::api::{ApiKey, Direction};
    use crate::plan::{Interest, Plan};
    use crate::schema::{Entity, FieldSpec};

    /// Writes down what it is told.
    #[derive(Default)]
    struct Log(Vec<String>);

    impl Visitor for Log {
        fn field(&mut self, field: &Field<'_>) {
            let value = match field.value {
                Value::Text(Some(text)) => String::from_utf8_lossy(text).into_owned(),
                value => format!("{value:?}"),
            };
            self.0.push(format!(
                "{}={value}@{}+{}",
                field.spec.name, field.pos, field.len
            ));
        }

        fn enter(&mut self, spec: &'static FieldSpec, pos: usize) {
            self.0.push(format!("<{}@{pos}", spec.name));
        }

        fn leave(&mut self, spec: &'static FieldSpec, pos: usize) {
            self.0.push(format!("{}>@{pos}", spec.name));
        }
    }

    fn log(
        api: ApiKey,
        version: i16,
        dir: Direction,
        entities: &[Entity],
        body: &[u8],
    ) -> Vec<String> {
        let plan = Plan::compile(api, version, dir, Interest::of(entities)).unwrap();
        let mut log = Log::default();
        plan.visit(body, &mut log).unwrap();
        log.0
    }

    #[test]
    fn plain_versions() {
        // Metadata v1: brokers, controller, topics.
        let brokers = [&[
            0, 0, 0, 1, 0, 0, 0, 5, 0, 2, b'h', b'1', 0, 0, 0x23, 0x84, 0xff, 0xff,
        ][..]]
        .concat();
        let body = [&brokers[..], &[0, 0, 0, 5, 0, 0, 0, 0]].concat();
        assert_eq!(
            log(
                ApiKey::METADATA,
                1,
                Direction::Response,
                &[Entity::NodeId, Entity::Host, Entity::Port],
                &body
            ),
            [
                "<Brokers@4",
                "NodeId=Int(5)@4+4",
                "Host=h1@8+4",
                "Port=Int(9092)@12+4",
                "Brokers>@18"
            ]
        );
        assert_eq!(
            log(
                ApiKey::METADATA,
                1,
                Direction::Response,
                &[Entity::ControllerId],
                &body
            ),
            ["ControllerId=Int(5)@18+4"]
        );
    }

    #[test]
    fn arrays_of_plain_values_give_their_elements() {
        // ConsumerGroupDescribe v0: GroupIds ["a", "bc"], flag.
        let body = [3, 2, b'a', 3, b'b', b'c', 1, 0];
        assert_eq!(
            log(
                ApiKey::CONSUMER_GROUP_DESCRIBE,
                0,
                Direction::Request,
                &[Entity::GroupId],
                &body
            ),
            ["GroupIds=a@1+2", "GroupIds=bc@3+3"]
        );
        assert_eq!(
            validate(
                ApiKey::CONSUMER_GROUP_DESCRIBE,
                0,
                Direction::Request,
                &body
            ),
            Ok(())
        );
    }

    #[test]
    fn tagged_fields_are_bounded_by_their_size() {
        // Fetch v16 response: no topics, NodeEndpoints in tag 0, an unknown tag 9.
        let head = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        let node = [2, 0, 0, 0, 7, 2, b'h', 0, 0, 0, 80, 0, 0];
        let body = [&head[..], &[2, 0, node.len() as u8], &node, &[9, 2, 1, 2]].concat();
        assert_eq!(
            log(
                ApiKey::FETCH,
                16,
                Direction::Response,
                &[Entity::NodeId, Entity::Host, Entity::Port],
                &body
            ),
            [
                "<NodeEndpoints@15",
                "NodeId=Int(7)@15+4",
                "Host=h@19+2",
                "Port=Int(80)@21+4",
                "NodeEndpoints>@27"
            ]
        );
        // In v15 tag 0 is unknown: its content does not matter.
        assert_eq!(
            validate(ApiKey::FETCH, 15, Direction::Response, &body),
            Ok(())
        );
        let check = |at: usize, value: u8| {
            let mut body = body.clone();
            body[at] = value;
            validate(ApiKey::FETCH, 16, Direction::Response, &body)
        };
        assert_eq!(
            check(13, node.len() as u8 - 1),
            Err(WalkError::Truncated { offset: 26 })
        );
        assert_eq!(
            check(13, node.len() as u8 + 1),
            Err(WalkError::TagSizeMismatch { offset: 27 })
        );
        assert_eq!(
            check(11, 0x7f),
            Err(WalkError::CountTooLarge { offset: 11 })
        );
    }

    #[test]
    fn structs_may_be_null() {
        // DescribeTopicPartitions v0 request: no topics, limit, cursor.
        let interest = [Entity::TopicName];
        let read = |body: &[u8]| {
            log(
                ApiKey::DESCRIBE_TOPIC_PARTITIONS,
                0,
                Direction::Request,
                &interest,
                body,
            )
        };
        assert!(read(&[1, 0, 0, 0, 9, 0xff, 0]).is_empty());
        assert_eq!(
            read(&[1, 0, 0, 0, 9, 1, 2, b't', 0, 0, 0, 0, 0, 0]),
            ["<Cursor@6", "TopicName=t@6+2", "Cursor>@13"]
        );
    }

    #[test]
    fn null_only_where_it_is_allowed() {
        let metadata =
            |version, body: &[u8]| validate(ApiKey::METADATA, version, Direction::Request, body);
        assert_eq!(
            metadata(0, &[0xff; 4]),
            Err(WalkError::NullNotAllowed { offset: 0 })
        );
        assert_eq!(metadata(1, &[0xff; 4]), Ok(()));
        assert_eq!(
            metadata(1, &[0xff, 0xff, 0xff, 0xfe]),
            Err(WalkError::NegativeLength { offset: 0 })
        );
        let heartbeat = [0xff, 0xff, 0, 0, 0, 1, 0, 0];
        let verdict = validate(ApiKey::HEARTBEAT, 0, Direction::Request, &heartbeat);
        assert_eq!(verdict, Err(WalkError::NullNotAllowed { offset: 0 }));
    }

    #[test]
    fn counts_are_bounded_before_they_are_used() {
        // Produce v3 with 2^31-1 topics: the body that makes typed decoders ask for hundreds of gigabytes.
        let body = [0xff, 0xff, 0, 1, 0, 0, 0, 9, 0x7f, 0xff, 0xff, 0xff];
        assert_eq!(
            validate(ApiKey::PRODUCE, 3, Direction::Request, &body),
            Err(WalkError::CountTooLarge { offset: 8 })
        );
        let body = [0, 0, 1, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0x0f, 0];
        assert_eq!(
            validate(ApiKey::PRODUCE, 9, Direction::Request, &body),
            Err(WalkError::CountTooLarge { offset: 7 })
        );
    }

    #[test]
    fn varints_of_more_than_32_bits_are_refused() {
        let body = [0, 0, 1, 0, 0, 0, 9, 0x80, 0x80, 0x80, 0x80, 0x10, 0];
        assert_eq!(
            validate(ApiKey::PRODUCE, 9, Direction::Request, &body),
            Err(WalkError::BadVarint { offset: 7 })
        );
        let longer_than_necessary = [0, 0, 1, 0, 0, 0, 9, 0x81, 0x80, 0x80, 0x80, 0x00, 0];
        assert_eq!(
            validate(
                ApiKey::PRODUCE,
                9,
                Direction::Request,
                &longer_than_necessary
            ),
            Ok(())
        );
    }

    #[test]
    fn the_body_must_end_with_the_message() {
        let body = [0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            validate(ApiKey::HEARTBEAT, 1, Direction::Response, &body),
            Err(WalkError::TrailingBytes { offset: 6 })
        );
        assert_eq!(
            validate(ApiKey::HEARTBEAT, 1, Direction::Response, &body[..5]),
            Err(WalkError::Truncated { offset: 0 })
        );
        let unknown = validate(ApiKey(4), 0, Direction::Request, &[]);
        assert_eq!(
            unknown,
            Err(WalkError::UnknownMessage {
                api: ApiKey(4),
                version: 0
            })
        );
    }
}
