//! Walking a body of which only a window is in memory.
//!
//! Produce requests and Fetch responses can be a hundred megabytes. A [`StreamWalker`] validates them while the bytes pass through, with
//! a stack whose size depends on the definitions only, and stops where the bytes begin to matter to the caller.

use crate::cursor::Cursor;
use crate::plan::{Op, Plan, Program, Tag};
use crate::walk::WalkError;

/// A walk over one body, fed in pieces.
#[derive(Debug)]
pub struct StreamWalker<'p> {
    plan: &'p Plan,
    stack: Vec<Frame<'p>>,
    /// Position in the body.
    pos: u64,
    /// End of the body, or of the tagged field the walk is in.
    end: u64,
    /// Bytes after `pos` that are known to be of no interest.
    skip: u64,
    body_len: u64,
}

/// What the next bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// This many bytes of the input (at least one) hold nothing of interest: forward them and go on behind them.
    Skip(usize),
    /// The input ends inside a length or count; 16 bytes of input are always enough.
    NeedMore,
    /// The next byte begins something that can hold a field of interest. Take the rest of the body into memory and give it to
    /// [`Plan::rewrite_tail`] or [`Plan::visit_tail`].
    Stop(StopPoint),
    /// The body ended where it should.
    End,
}

/// Where a [`StreamWalker`] stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StopPoint {
    pub(crate) op: usize,
    /// Bytes of the body before this point.
    pub offset: u64,
}

impl<'p> StreamWalker<'p> {
    /// A walk over a body of `body_len` bytes (the frame's length less the header).
    pub fn new(plan: &'p Plan, body_len: u64) -> StreamWalker<'p> {
        let mut stack = Vec::with_capacity(plan.depth);
        stack.push(Frame::Ops {
            ops: &plan.root.ops,
            at: 0,
        });
        StreamWalker {
            plan,
            stack,
            pos: 0,
            end: body_len,
            skip: 0,
            body_len,
        }
    }

    /// Position in the body: bytes skipped so far.
    pub fn position(&self) -> u64 {
        self.pos
    }

    /// Looks at `input`, the body from the current position on, as far as it is there. After [`Step::Skip`] the caller goes on behind
    /// the skipped bytes; after any other step the position is the same as before.
    pub fn next(&mut self, input: &[u8]) -> Result<Step, WalkError> {
        let mut used = 0;
        let step = loop {
            let forward = self.skip.min((input.len() - used) as u64);
            self.skip -= forward;
            self.pos += forward;
            used += forward as usize;
            if self.skip > 0 {
                break Step::NeedMore;
            }
            match self.advance(&input[used..])? {
                Advance::By(count) => used += count,
                Advance::Done(step) => break step,
            }
        };
        Ok(if used > 0 { Step::Skip(used) } else { step })
    }

    /// One operation, or one part of it. Changes nothing unless it returns `By`.
    fn advance(&mut self, input: &[u8]) -> Result<Advance, WalkError> {
        let at_root = self.stack.len() == 1;
        let remaining = self.end - self.pos;
        let visible = usize::try_from(remaining)
            .unwrap_or(usize::MAX)
            .min(input.len());
        let mut cursor = Cursor::new(&input[..visible]);
        let Some(frame) = self.stack.last_mut() else {
            return match self.pos == self.body_len {
                true => Ok(Advance::Done(Step::End)),
                false => Err(WalkError::TrailingBytes {
                    offset: self.pos as usize,
                }),
            };
        };
        let read = match frame {
            Frame::Ops { ops, at } => match ops.get(*at) {
                None => Ok(Next::Pop),
                Some(op) if at_root && op.is_interesting() => {
                    return Ok(Advance::Done(Step::Stop(StopPoint {
                        op: *at,
                        offset: self.pos,
                    })));
                }
                Some(op) => read_op(&mut cursor, op, remaining).inspect(|_| *at += 1),
            },
            Frame::Elements { left: 0, .. } | Frame::Tags { left: 0, .. } => Ok(Next::Pop),
            Frame::Elements { element, left } => {
                *left -= 1;
                Ok(Next::Push(Frame::Ops {
                    ops: &element.ops,
                    at: 0,
                }))
            }
            Frame::Tags { known, left } => read_tag(&mut cursor, known).inspect(|_| *left -= 1),
            Frame::TagEnd { end, .. } if *end != self.pos => {
                Err(WalkError::TagSizeMismatch { offset: 0 })
            }
            Frame::TagEnd { outer_end, .. } => {
                self.end = *outer_end;
                Ok(Next::Pop)
            }
        };
        let next = match read {
            Ok(next) => next,
            Err(WalkError::Truncated { .. }) if (visible as u64) < remaining => {
                return Ok(Advance::Done(Step::NeedMore));
            }
            Err(error) => return Err(self.located(error)),
        };
        self.pos += cursor.pos as u64;
        match next {
            Next::Skip(len) => {
                if len > self.end - self.pos {
                    return Err(WalkError::Truncated {
                        offset: self.pos as usize,
                    });
                }
                self.skip = len;
            }
            Next::Pop => {
                self.stack.pop();
            }
            Next::Push(frame) => self.stack.push(frame),
            Next::Tagged { tag, size } => {
                if size > self.end - self.pos {
                    return Err(WalkError::Truncated {
                        offset: self.pos as usize,
                    });
                }
                let end = self.pos + size;
                self.stack.push(Frame::TagEnd {
                    end,
                    outer_end: self.end,
                });
                self.stack.push(Frame::Ops {
                    ops: &tag.program.ops,
                    at: 0,
                });
                self.end = end;
            }
        }
        Ok(Advance::By(cursor.pos))
    }

    /// Turns an offset in the window into an offset in the body.
    fn located(&self, error: WalkError) -> WalkError {
        let base = self.pos as usize;
        match error {
            WalkError::Truncated { offset } => WalkError::Truncated {
                offset: base + offset,
            },
            WalkError::BadVarint { offset } => WalkError::BadVarint {
                offset: base + offset,
            },
            WalkError::NegativeLength { offset } => WalkError::NegativeLength {
                offset: base + offset,
            },
            WalkError::NullNotAllowed { offset } => WalkError::NullNotAllowed {
                offset: base + offset,
            },
            WalkError::CountTooLarge { offset } => WalkError::CountTooLarge {
                offset: base + offset,
            },
            WalkError::TagSizeMismatch { offset } => WalkError::TagSizeMismatch {
                offset: base + offset,
            },
            other => other,
        }
    }

    /// The plan of the walk.
    pub fn plan(&self) -> &'p Plan {
        self.plan
    }
}

#[derive(Debug)]
pub(crate) enum Frame<'p> {
    Ops { ops: &'p [Op], at: usize },
    Elements { element: &'p Program, left: usize },
    Tags { known: &'p [Tag], left: usize },
    TagEnd { end: u64, outer_end: u64 },
}

pub(crate) enum Next<'p> {
    Skip(u64),
    Pop,
    Push(Frame<'p>),
    Tagged { tag: &'p Tag, size: u64 },
}

enum Advance {
    By(usize),
    Done(Step),
}

/// Reads what comes before the bytes of `op`. `remaining` counts from the beginning of the window to the end of what surrounds it.
pub(crate) fn read_op<'p>(
    cursor: &mut Cursor<'_>,
    op: &'p Op,
    remaining: u64,
) -> Result<Next<'p>, WalkError> {
    match op {
        Op::Skip(size) => Ok(Next::Skip(u64::from(*size))),
        Op::Fixed { spec } => Ok(Next::Skip(spec.ty.fixed_size().unwrap_or(0) as u64)),
        Op::SkipVar { prefix, nullable }
        | Op::Var {
            prefix, nullable, ..
        } => Ok(Next::Skip(
            cursor.prefix(*prefix, *nullable)?.unwrap_or(0) as u64
        )),
        Op::SkipElements {
            size,
            prefix,
            nullable,
        } => {
            let count = cursor.prefix(*prefix, *nullable)?.unwrap_or(0);
            check_count(cursor, count, *size, remaining)?;
            Ok(Next::Skip(count as u64 * u64::from(*size)))
        }
        Op::Array {
            element,
            prefix,
            nullable,
            ..
        } => {
            let left = cursor.prefix(*prefix, *nullable)?.unwrap_or(0);
            check_count(cursor, left, element.min_size, remaining)?;
            Ok(Next::Push(Frame::Elements { element, left }))
        }
        Op::Struct {
            inner, nullable, ..
        } => match *nullable && !cursor.present()? {
            true => Ok(Next::Skip(0)),
            false => Ok(Next::Push(Frame::Ops {
                ops: &inner.ops,
                at: 0,
            })),
        },
        Op::Tags { known, .. } => {
            let left = cursor.varint()? as usize;
            check_count(cursor, left, 2, remaining)?;
            Ok(Next::Push(Frame::Tags { known, left }))
        }
    }
}

pub(crate) fn read_tag<'p>(
    cursor: &mut Cursor<'_>,
    known: &'p [Tag],
) -> Result<Next<'p>, WalkError> {
    let number = cursor.varint()?;
    let size = u64::from(cursor.varint()?);
    Ok(match known.iter().find(|known| known.tag == number) {
        Some(tag) => Next::Tagged { tag, size },
        None => Next::Skip(size),
    })
}

pub(crate) fn check_count(
    cursor: &Cursor<'_>,
    count: usize,
    min_size: u32,
    remaining: u64,
) -> Result<(), WalkError> {
    if count as u64 * u64::from(min_size) > remaining - cursor.pos as u64 {
        return Err(WalkError::CountTooLarge { offset: 0 });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Step, StreamWalker};
    use crate::api::{ApiKey, Direction};
    use crate::plan::{Interest, Plan};
    use crate::schema::Entity;
    use crate::walk::WalkError;

    /// Produce v3: no transactional id, acks 1, timeout, one topic "t", partition 0.
    const HEAD: [u8; 27] = [
        0xff, 0xff, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1, 0, 0, 0, 0, 0x05, 0xf5,
        0xe1, 0x00,
    ];

    #[test]
    fn a_large_record_set_is_never_buffered() {
        let records = 100_000_000_u64;
        let plan = Plan::compile(ApiKey::PRODUCE, 3, Direction::Request, Interest::NONE).unwrap();
        let mut walker = StreamWalker::new(&plan, HEAD.len() as u64 + records);
        assert_eq!(walker.next(&HEAD), Ok(Step::Skip(HEAD.len())));
        assert_eq!(walker.next(&[]), Ok(Step::NeedMore));
        let chunk = vec![0; 64 * 1024];
        let mut left = records;
        while left > 0 {
            let input = &chunk[..chunk.len().min(left as usize)];
            assert_eq!(walker.next(input), Ok(Step::Skip(input.len())));
            left -= input.len() as u64;
        }
        assert_eq!(walker.next(&[]), Ok(Step::End));
        assert_eq!(walker.position(), HEAD.len() as u64 + records);
    }

    #[test]
    fn bytes_after_the_body_are_not_looked_at() {
        let body = [0, 0, 0, 0, 0, 25];
        let plan =
            Plan::compile(ApiKey::HEARTBEAT, 1, Direction::Response, Interest::NONE).unwrap();
        let mut walker = StreamWalker::new(&plan, body.len() as u64);
        let input = [&body[..], &[1, 2, 3]].concat();
        assert_eq!(walker.next(&input), Ok(Step::Skip(body.len())));
        assert_eq!(walker.next(&input[body.len()..]), Ok(Step::End));
    }

    #[test]
    fn lengths_are_bounded_by_the_frame() {
        let plan = Plan::compile(ApiKey::PRODUCE, 3, Direction::Request, Interest::NONE).unwrap();
        let mut walker = StreamWalker::new(&plan, HEAD.len() as u64 + 10);
        assert_eq!(
            walker.next(&HEAD),
            Err(WalkError::Truncated { offset: HEAD.len() })
        );
    }

    #[test]
    fn stops_where_the_interest_begins() {
        let plan = Plan::compile(
            ApiKey::PRODUCE,
            3,
            Direction::Request,
            Interest::of(&[Entity::TopicName]),
        )
        .unwrap();
        let mut walker = StreamWalker::new(&plan, 1000);
        assert_eq!(walker.next(&HEAD), Ok(Step::Skip(8)));
        assert!(matches!(walker.next(&HEAD[8..]), Ok(Step::Stop(stop)) if stop.offset == 8));
        assert!(!plan.streams());
    }
}
