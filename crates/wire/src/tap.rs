//! Reading along while a body passes by in pieces.
//!
//! A [`Tap`] is given the bytes of a body as they come, in pieces of any size, and reports the fields of interest. It never asks for
//! bytes to be held back: of a field that is cut it keeps a copy of the beginning, and record sets are skipped by their length. So it takes
//! time by the number of fields and not of bytes, and a bounded amount of memory. A body that comes in one piece, as small ones do, is walked
//! like any whole body, without a stack of its own.
//!
//! ```
//! use sluicegate_wire::api::{ApiKey, Direction};
//! use sluicegate_wire::plan::{Interest, Plan};
//! use sluicegate_wire::schema::{Entity, FieldSpec};
//! use sluicegate_wire::tap::{Listener, Tap, Told};
//!
//! struct Bytes(u64);
//! impl Listener for Bytes {
//!     fn field(&mut self, _spec: &'static FieldSpec, told: Told<'_>) {
//!         if let Told::Records { len, .. } = told {
//!             self.0 += len;
//!         }
//!     }
//! }
//!
//! // Produce version 3: one topic, one partition with 3 bytes.
//! let body = [0xff, 0xff, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3, 7, 7, 7];
//! let plan = Plan::compile(ApiKey::PRODUCE, 3, Direction::Request, Interest::of(&[Entity::Records])).unwrap();
//! let (mut tap, mut bytes) = (Tap::new(&plan, body.len() as u64), Bytes(0));
//! for piece in body.chunks(4) {
//!     tap.feed(piece, &mut bytes).unwrap();
//! }
//! assert!(tap.is_complete() && bytes.0 == 3);
//! ```

use thiserror::Error;

use crate::cursor::Cursor;
use crate::plan::{Op, Plan, Program, Tag};
use crate::records::BatchHeader;
use crate::schema::{FieldSpec, FieldType};
use crate::stream::{Next, check_count, read_op, read_tag};
use crate::walk::{Field, Value, Visitor, WalkError, fixed};

/// A text of interest that is longer is not read, bytes.
pub const MAX_TEXT: usize = 1024;

/// What is kept of a field that is cut.
const MAX_PIECE: usize = MAX_TEXT + 16;

/// Hears of the fields of interest, in the order of the bytes.
pub trait Listener {
    /// A field of interest, or one element of an array of such.
    fn field(&mut self, spec: &'static FieldSpec, told: Told<'_>);

    /// A struct (one element, if `spec` is an array) that can hold something of interest begins.
    fn enter(&mut self, _spec: &'static FieldSpec) {}

    /// It has ended.
    fn leave(&mut self, _spec: &'static FieldSpec) {}
}

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Told<'a> {
    /// Anything of a fixed size.
    Fixed(Value<'a>),
    /// string or bytes
    Text(Option<&'a [u8]>),
    /// records: their length, and their beginning up to the end of the header of the first batch.
    Records {
        /// Bytes; 0 for null.
        len: u64,
        /// The first of them, up to [`BatchHeader::LEN`].
        head: &'a [u8],
    },
}

/// Why a tap reads no further. The body is none, or nothing that somebody meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TapError {
    /// It is not a message of this kind.
    #[error(transparent)]
    Malformed(#[from] WalkError),
    /// A text of more than [`MAX_TEXT`] bytes.
    #[error("a text of {0} bytes")]
    TooLong(usize),
}

/// Reads one body.
#[derive(Debug)]
pub struct Tap<'p> {
    plan: &'p Plan,
    /// Something has been fed.
    begun: bool,
    /// Of a body that comes in pieces.
    stack: Vec<Frame<'p>>,
    /// Position in the body.
    pos: u64,
    /// End of the body, or of the tagged field the tap is in.
    end: u64,
    /// Bytes after `pos` that are known to be of no interest.
    skip: u64,
    /// The beginning of a field whose rest has not come.
    cut: Vec<u8>,
}

#[derive(Debug)]
enum Frame<'p> {
    Ops {
        ops: &'p [Op],
        at: usize,
        /// The struct that the end of the operations is the end of.
        of: Option<&'static FieldSpec>,
    },
    Elements {
        element: &'p Program,
        left: usize,
        of: Option<&'static FieldSpec>,
    },
    Tags {
        known: &'p [Tag],
        left: usize,
    },
    TagEnd {
        end: u64,
        outer_end: u64,
    },
}

impl<'p> Tap<'p> {
    /// A tap on a body of `body_len` bytes (the frame's length less the header).
    pub fn new(plan: &'p Plan, body_len: u64) -> Tap<'p> {
        Tap {
            plan,
            begun: false,
            stack: Vec::new(),
            pos: 0,
            end: body_len,
            skip: 0,
            cut: Vec::new(),
        }
    }

    /// Takes the next bytes of the body. Bytes behind the message are ignored, as brokers ignore them.
    ///
    /// # Errors
    /// See [`TapError`]; the tap is of no use then.
    pub fn feed(&mut self, mut input: &[u8], listener: &mut impl Listener) -> Result<(), TapError> {
        if !self.begun {
            self.begun = true;
            let len = usize::try_from(self.end).ok();
            if let Some(body) = len.and_then(|len| input.get(..len)) {
                return self.whole(body, listener);
            }
            self.stack.reserve_exact(self.plan.depth);
            self.stack.push(Frame::Ops {
                ops: &self.plan.root.ops,
                at: 0,
                of: None,
            });
        }
        if !self.cut.is_empty() {
            let had = self.cut.len();
            let more = input.len().min(MAX_PIECE.saturating_sub(had));
            let mut cut = std::mem::take(&mut self.cut);
            cut.extend_from_slice(&input[..more]);
            let used = self.run(&cut, listener)?;
            if used < had {
                if more < input.len() {
                    return Err(TapError::TooLong(cut.len()));
                }
                cut.drain(..used);
                self.cut = cut;
                return Ok(());
            }
            input = input.get(used - had..).unwrap_or_default();
            cut.clear();
            self.cut = cut;
        }
        let used = self.run(input, listener)?;
        let rest = input.get(used..).unwrap_or_default();
        if rest.len() >= MAX_PIECE {
            return Err(TapError::TooLong(rest.len()));
        }
        self.cut.extend_from_slice(rest);
        Ok(())
    }

    /// Whether the message has ended.
    pub fn is_complete(&self) -> bool {
        self.begun && self.stack.is_empty() && self.skip == 0
    }

    /// Reads a body that is there as a whole.
    fn whole(&mut self, body: &[u8], listener: &mut impl Listener) -> Result<(), TapError> {
        let mut hearing = Hearing {
            listener,
            too_long: None,
        };
        let walked = self.plan.visit(body, &mut hearing);
        self.skip = u64::MAX; // not complete, if that was an error
        match (hearing.too_long, walked) {
            (Some(len), _) => Err(TapError::TooLong(len)),
            (None, Ok(()) | Err(WalkError::TrailingBytes { .. })) => {
                (self.pos, self.skip) = (self.end, 0);
                Ok(())
            }
            (None, Err(error)) => Err(error.into()),
        }
    }

    /// Reads as far as whole fields go; how far that is.
    fn run(&mut self, input: &[u8], listener: &mut impl Listener) -> Result<usize, TapError> {
        let mut used = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            let skip = self.skip.min(rest.len() as u64);
            self.skip -= skip;
            self.pos += skip;
            used += skip as usize;
            if self.skip > 0 {
                return Ok(used);
            }
            if self.stack.is_empty() {
                return Ok(input.len());
            }
            match self.advance(rest.get(skip as usize..).unwrap_or_default(), listener)? {
                Some(count) => {
                    used += count;
                    self.pos += count as u64;
                }
                None => return Ok(used),
            }
        }
    }

    /// One operation. `None`: more bytes are needed, and nothing has changed.
    fn advance(
        &mut self,
        input: &[u8],
        listener: &mut impl Listener,
    ) -> Result<Option<usize>, TapError> {
        let remaining = self.end - self.pos;
        let visible = usize::try_from(remaining)
            .unwrap_or(usize::MAX)
            .min(input.len());
        let mut cursor = Cursor::new(&input[..visible]);
        let Some(frame) = self.stack.last_mut() else {
            return Ok(None);
        };
        let read = match frame {
            Frame::Ops { ops, at, of } => match ops.get(*at) {
                None => Ok(Turn::End(*of)),
                Some(op) => step(&mut cursor, op, remaining, listener).inspect(|_| *at += 1),
            },
            Frame::Elements { left: 0, .. } | Frame::Tags { left: 0, .. } => Ok(Turn::End(None)),
            Frame::Elements { element, left, of } => {
                *left -= 1;
                if let Some(of) = of {
                    listener.enter(of);
                }
                Ok(Turn::Into(Frame::Ops {
                    ops: &element.ops,
                    at: 0,
                    of: *of,
                }))
            }
            Frame::Tags { known, left } => read_tag(&mut cursor, known)
                .inspect(|_| *left -= 1)
                .map(|next| match next {
                    Next::Tagged { tag, size } => Turn::Tagged { tag, size },
                    Next::Skip(size) => Turn::Skip(size),
                    _ => Turn::Skip(0),
                }),
            Frame::TagEnd { end, .. } if *end != self.pos => {
                Err(WalkError::TagSizeMismatch { offset: 0 })
            }
            Frame::TagEnd { outer_end, .. } => {
                self.end = *outer_end;
                Ok(Turn::End(None))
            }
        };
        let turn = match read {
            Ok(turn) => turn,
            Err(WalkError::Truncated { .. }) if (visible as u64) < remaining => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let left = remaining - cursor.pos as u64;
        match turn {
            Turn::Skip(len) | Turn::Tagged { size: len, .. } if len > left => {
                return Err(WalkError::Truncated { offset: 0 }.into());
            }
            Turn::Skip(len) => self.skip = len,
            Turn::TooLong(len) => return Err(TapError::TooLong(len)),
            Turn::End(of) => {
                self.stack.pop();
                if let Some(of) = of {
                    listener.leave(of);
                }
            }
            Turn::Into(frame) => self.stack.push(frame),
            Turn::Tagged { tag, size } => {
                let end = self.pos + cursor.pos as u64 + size;
                self.stack.push(Frame::TagEnd {
                    end,
                    outer_end: self.end,
                });
                self.stack.push(Frame::Ops {
                    ops: &tag.program.ops,
                    at: 0,
                    of: None,
                });
                self.end = end;
            }
        }
        Ok(Some(cursor.pos))
    }
}

/// Hears of a whole body what a listener hears of its pieces.
struct Hearing<'l, L> {
    listener: &'l mut L,
    /// A text that was too long: nothing is told from there on.
    too_long: Option<usize>,
}

impl<L: Listener> Visitor for Hearing<'_, L> {
    #[inline]
    fn field(&mut self, field: &Field<'_>) {
        let told = match field.value {
            Value::Text(Some(text)) | Value::Bytes(Some(text)) if text.len() > MAX_TEXT => {
                self.too_long = self.too_long.or(Some(text.len()));
                return;
            }
            Value::Text(text) | Value::Bytes(text) => Told::Text(text),
            Value::Records(records) => {
                let records = records.unwrap_or_default();
                Told::Records {
                    len: records.len() as u64,
                    head: &records[..records.len().min(BatchHeader::LEN)],
                }
            }
            value => Told::Fixed(value),
        };
        if self.too_long.is_none() {
            self.listener.field(field.spec, told);
        }
    }

    #[inline]
    fn enter(&mut self, spec: &'static FieldSpec, _pos: usize) {
        if self.too_long.is_none() {
            self.listener.enter(spec);
        }
    }

    #[inline]
    fn leave(&mut self, spec: &'static FieldSpec, _pos: usize) {
        if self.too_long.is_none() {
            self.listener.leave(spec);
        }
    }
}

/// What follows an operation.
enum Turn<'p> {
    Skip(u64),
    TooLong(usize),
    End(Option<&'static FieldSpec>),
    Into(Frame<'p>),
    Tagged { tag: &'p Tag, size: u64 },
}

/// `remaining` counts from the beginning of the input to the end of what surrounds it.
fn step<'p>(
    cursor: &mut Cursor<'_>,
    op: &'p Op,
    remaining: u64,
    listener: &mut impl Listener,
) -> Result<Turn<'p>, WalkError> {
    Ok(match op {
        Op::Fixed { spec } => {
            let field = fixed(cursor, spec)?;
            listener.field(spec, Told::Fixed(field.value));
            Turn::Skip(0)
        }
        Op::Var {
            spec,
            prefix,
            nullable,
        } => {
            let len = cursor.prefix(*prefix, *nullable)?;
            let is_records = matches!(spec.ty, FieldType::Records);
            if !is_records && len.is_some_and(|len| len > MAX_TEXT) {
                return Ok(Turn::TooLong(len.unwrap_or(0)));
            }
            let whole = len.unwrap_or(0);
            if whole as u64 > remaining - cursor.pos as u64 {
                return Err(WalkError::Truncated { offset: 0 });
            }
            let taken = match is_records {
                true => whole.min(BatchHeader::LEN),
                false => whole,
            };
            let bytes = cursor.take(taken)?;
            listener.field(
                spec,
                match is_records {
                    true => Told::Records {
                        len: whole as u64,
                        head: bytes,
                    },
                    false => Told::Text(len.map(|_| bytes)),
                },
            );
            Turn::Skip((whole - taken) as u64)
        }
        Op::Array {
            spec,
            element,
            prefix,
            nullable,
            interesting,
        } => {
            let left = cursor.prefix(*prefix, *nullable)?.unwrap_or(0);
            check_count(cursor, left, element.min_size, remaining)?;
            let is_struct = matches!(spec.ty, FieldType::Struct(_));
            Turn::Into(Frame::Elements {
                element,
                left,
                of: (*interesting && is_struct).then_some(*spec),
            })
        }
        Op::Struct {
            spec,
            inner,
            nullable,
            interesting,
        } => match *nullable && !cursor.present()? {
            true => Turn::Skip(0),
            false => {
                let of = interesting.then_some(*spec);
                if let Some(of) = of {
                    listener.enter(of);
                }
                Turn::Into(Frame::Ops {
                    ops: &inner.ops,
                    at: 0,
                    of,
                })
            }
        },
        Op::Tags { known, .. } => {
            let left = cursor.varint()? as usize;
            check_count(cursor, left, 2, remaining)?;
            Turn::Into(Frame::Tags { known, left })
        }
        Op::Skip(_) | Op::SkipVar { .. } | Op::SkipElements { .. } => {
            match read_op(cursor, op, remaining)? {
                Next::Skip(len) => Turn::Skip(len),
                _ => Turn::Skip(0),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ApiKey, Direction};
    use crate::plan::{Interest, Plans};
    use crate::schema::Entity;
    use crate::testing::{Rng, random_body};
    use crate::walk::{Field, Visitor};

    #[derive(Default, PartialEq, Debug)]
    struct Notes(Vec<String>);

    impl Listener for Notes {
        fn field(&mut self, spec: &'static FieldSpec, told: Told<'_>) {
            let text = match told {
                Told::Fixed(value) => format!("{value:?}"),
                Told::Text(text) => format!("{text:?}"),
                Told::Records { len, head } => format!("{len} {head:?}"),
            };
            self.0.push(format!("{} {text}", spec.name));
        }

        fn enter(&mut self, spec: &'static FieldSpec) {
            self.0.push(format!("> {}", spec.name));
        }

        fn leave(&mut self, spec: &'static FieldSpec) {
            self.0.push(format!("< {}", spec.name));
        }
    }

    impl Visitor for Notes {
        fn field(&mut self, field: &Field<'_>) {
            let told = match field.value {
                Value::Text(text) | Value::Bytes(text) => Told::Text(text),
                Value::Records(bytes) => Told::Records {
                    len: bytes.map_or(0, |bytes| bytes.len() as u64),
                    head: bytes.map_or(&[][..], |b| &b[..b.len().min(BatchHeader::LEN)]),
                },
                value => Told::Fixed(value),
            };
            Listener::field(self, field.spec, told);
        }

        fn enter(&mut self, spec: &'static FieldSpec, _pos: usize) {
            Listener::enter(self, spec);
        }

        fn leave(&mut self, spec: &'static FieldSpec, _pos: usize) {
            Listener::leave(self, spec);
        }
    }

    static PLANS: Plans = Plans::new(Interest::of(&[
        Entity::TopicName,
        Entity::TopicId,
        Entity::Partition,
        Entity::GroupId,
        Entity::Records,
        Entity::ErrorCode,
        Entity::Offset,
    ]));

    /// The walker is the oracle, whatever the size of the pieces.
    #[test]
    fn pieces_of_any_size_tell_what_the_whole_tells() {
        let mut rng = Rng::new(7);
        for api in ApiKey::all() {
            let spec = api.spec().unwrap();
            for version in spec.min_version..=spec.max_version {
                for dir in [Direction::Request, Direction::Response] {
                    let plan = PLANS.get(api, version, dir).unwrap();
                    let body = random_body(api, version, dir, &mut rng);
                    let mut expected = Notes::default();
                    plan.visit(&body, &mut expected).unwrap();
                    for size in [1, 3, 1 + rng.below(100), body.len().max(1)] {
                        let mut notes = Notes::default();
                        let mut tap = Tap::new(plan, body.len() as u64);
                        for piece in body.chunks(size) {
                            tap.feed(piece, &mut notes).unwrap();
                        }
                        tap.feed(&[], &mut notes).unwrap();
                        assert!(tap.is_complete(), "{api} v{version} {dir:?}");
                        assert_eq!(notes, expected, "{api} v{version} {dir:?} by {size}");
                    }
                }
            }
        }
    }

    /// Damaged bodies are an error, or read to some end; memory stays bounded.
    #[test]
    fn hostile_bodies() {
        let mut rng = Rng::new(11);
        for round in 0..20_000 {
            let (api, dir) = [
                (ApiKey::PRODUCE, Direction::Request),
                (ApiKey::PRODUCE, Direction::Response),
                (ApiKey::FETCH, Direction::Response),
                (ApiKey::OFFSET_FETCH, Direction::Response),
                (ApiKey::OFFSET_COMMIT, Direction::Request),
            ][round % 5];
            let spec = api.spec().unwrap();
            let versions = usize::try_from(spec.max_version - spec.min_version + 1).unwrap();
            let version = spec.min_version + i16::try_from(rng.below(versions)).unwrap();
            let mut body = random_body(api, version, dir, &mut rng);
            for _ in 0..1 + rng.below(4) {
                let at = rng.below(body.len());
                if let Some(byte) = body.get_mut(at) {
                    *byte = rng.number() as u8;
                }
            }
            let plan = PLANS.get(api, version, dir).unwrap();
            let mut tap = Tap::new(plan, body.len() as u64);
            let mut notes = Notes::default();
            let size = 1 + rng.below(50);
            let fed = body
                .chunks(size)
                .try_for_each(|piece| tap.feed(piece, &mut notes));
            let mut expected = Notes::default();
            let walked = plan.visit(&body, &mut expected);
            if fed.is_ok() && tap.is_complete() {
                let fine = matches!(walked, Ok(()) | Err(WalkError::TrailingBytes { .. }));
                assert!(fine, "{api} v{version}: {walked:?}");
                assert_eq!(notes, expected);
            } else {
                assert!(walked.is_err() || matches!(fed, Err(TapError::TooLong(_))));
            }
            assert!(tap.cut.len() <= MAX_PIECE && tap.stack.len() <= plan.depth);
            // In one piece, too.
            let mut tap = Tap::new(plan, body.len() as u64);
            let mut notes = Notes::default();
            let fed = tap.feed(&body, &mut notes);
            assert_eq!(tap.is_complete(), fed.is_ok());
            match fed {
                Ok(()) => assert_eq!(notes, expected),
                Err(TapError::Malformed(error)) => {
                    assert_eq!((notes, walked), (expected, Err(error)));
                }
                Err(TapError::TooLong(_)) => {
                    assert_eq!(expected.0.get(..notes.0.len()), Some(&notes.0[..]));
                }
            }
        }
    }

    #[test]
    fn large_records_are_skipped_and_their_head_is_shown() {
        const RECORDS: usize = 50_000_000;
        let mut head = vec![0xff, 0xff, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 1, b't'];
        head.extend([0, 0, 0, 1, 0, 0, 0, 5]);
        head.extend((RECORDS as u32).to_be_bytes());
        let plan = PLANS.get(ApiKey::PRODUCE, 3, Direction::Request).unwrap();
        let mut tap = Tap::new(plan, (head.len() + RECORDS) as u64);
        let mut notes = Notes::default();
        tap.feed(&head, &mut notes).unwrap();
        let chunk = vec![9; 100_000];
        for _ in 0..RECORDS / chunk.len() {
            tap.feed(&chunk, &mut notes).unwrap();
            assert!(tap.cut.is_empty());
        }
        assert!(tap.is_complete());
        let records = format!("Records {RECORDS} {:?}", &chunk[..BatchHeader::LEN]);
        assert!(notes.0.contains(&records), "{notes:?}");
    }

    #[test]
    fn long_texts_end_it() {
        let mut body = vec![0x7f, 0xff];
        body.extend(vec![b'g'; 0x7fff]);
        let plan = PLANS.get(ApiKey::HEARTBEAT, 0, Direction::Request).unwrap();
        // Ten bytes are missing, or none.
        for (size, len) in [(1, 10), (1000, 10), (body.len(), 10), (body.len(), 0)] {
            let mut tap = Tap::new(plan, (body.len() + len) as u64);
            let mut notes = Notes::default();
            let fed = body
                .chunks(size)
                .try_for_each(|piece| tap.feed(piece, &mut notes));
            assert_eq!(fed, Err(TapError::TooLong(0x7fff)));
        }
    }
}
