//! Bounds-checked reading.

use crate::plan::Prefix;
use crate::walk::WalkError;

/// A position in a body. Nothing at or after `end` is ever read.
pub(crate) struct Cursor<'a> {
    pub(crate) buf: &'a [u8],
    pub(crate) pos: usize,
    pub(crate) end: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(buf: &'a [u8]) -> Cursor<'a> {
        Cursor {
            buf,
            pos: 0,
            end: buf.len(),
        }
    }

    #[inline(always)]
    pub(crate) fn remaining(&self) -> usize {
        self.end - self.pos
    }

    #[inline(always)]
    pub(crate) fn advance(&mut self, count: usize) -> Result<(), WalkError> {
        if count > self.remaining() {
            return Err(WalkError::Truncated { offset: self.pos });
        }
        self.pos += count;
        Ok(())
    }

    #[inline(always)]
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], WalkError> {
        let start = self.pos;
        self.advance(count)?;
        Ok(&self.buf[start..self.pos])
    }

    #[inline(always)]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], WalkError> {
        match self.buf[self.pos..self.end].first_chunk::<N>() {
            Some(bytes) => {
                self.pos += N;
                Ok(*bytes)
            }
            None => Err(WalkError::Truncated { offset: self.pos }),
        }
    }

    /// An unsigned varint of at most 32 bits; longer than necessary is allowed, as it is in Kafka.
    #[inline(always)]
    pub(crate) fn varint(&mut self) -> Result<u32, WalkError> {
        if self.pos < self.end {
            let byte = self.buf[self.pos];
            if byte < 0x80 {
                self.pos += 1;
                return Ok(u32::from(byte));
            }
        }
        let (value, end) = long_varint(&self.buf[..self.end], self.pos)?;
        self.pos = end;
        Ok(value)
    }

    /// A length or count; `None` for null.
    #[inline(always)]
    pub(crate) fn prefix(
        &mut self,
        prefix: Prefix,
        nullable: bool,
    ) -> Result<Option<usize>, WalkError> {
        let start = self.pos;
        let value = match prefix {
            Prefix::Compact => i64::from(self.varint()?) - 1,
            Prefix::Int16 => i64::from(i16::from_be_bytes(self.array()?)),
            Prefix::Int32 => i64::from(i32::from_be_bytes(self.array()?)),
        };
        if value >= 0 {
            return Ok(Some(value as usize));
        }
        match value {
            -1 if nullable => Ok(None),
            -1 => Err(WalkError::NullNotAllowed { offset: start }),
            _ => Err(WalkError::NegativeLength { offset: start }),
        }
    }

    /// The byte before a struct that may be null; `true` if the struct is there.
    pub(crate) fn present(&mut self) -> Result<bool, WalkError> {
        let [byte] = self.array()?;
        Ok(byte < 0x80)
    }
}

/// A varint of any length at `start`, and where it ends. By value, so that the position of the caller can stay in a register.
#[cold]
#[inline(never)]
fn long_varint(buf: &[u8], start: usize) -> Result<(u32, usize), WalkError> {
    let mut value = 0;
    for (at, &byte) in buf[start..].iter().take(5).enumerate() {
        if at == 4 && byte > 0x0f {
            return Err(WalkError::BadVarint { offset: start });
        }
        value |= u32::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Ok((value, start + at + 1));
        }
    }
    Err(WalkError::Truncated { offset: start })
}
