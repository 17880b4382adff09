//! A cursor over bytes that belong to a longer record set.

use super::RecordError;

/// Reads forward through `rest`; `at` is where `rest` begins in the record set, for errors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(rest: &'a [u8], at: usize) -> Self {
        Self { rest, at }
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    #[inline]
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(RecordError::Truncated { at: self.at });
        };
        self.rest = rest;
        self.at += len;
        Ok(head)
    }

    #[inline]
    pub(super) fn byte(&mut self) -> Result<u8, RecordError> {
        let Some((&byte, rest)) = self.rest.split_first() else {
            return Err(RecordError::Truncated { at: self.at });
        };
        self.rest = rest;
        self.at += 1;
        Ok(byte)
    }

    /// A zigzag varint of at most 32 bits (5 bytes).
    #[inline]
    pub(super) fn varint(&mut self) -> Result<i32, RecordError> {
        let raw = self.unsigned(32)? as u32;
        Ok(((raw >> 1) as i32) ^ -((raw & 1) as i32))
    }

    /// A zigzag varint of at most 64 bits (10 bytes).
    #[inline]
    pub(super) fn varlong(&mut self) -> Result<i64, RecordError> {
        let raw = self.unsigned(64)?;
        Ok(((raw >> 1) as i64) ^ -((raw & 1) as i64))
    }

    /// A varint length and that many bytes; any negative length is null, as Kafka's own reader has it.
    #[inline]
    pub(super) fn nullable_bytes(&mut self) -> Result<Option<&'a [u8]>, RecordError> {
        match usize::try_from(self.varint()?) {
            Ok(len) => self.take(len).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Base-128, least significant group first. Bits beyond `bits` are refused rather than dropped, so that nobody
    /// reads another number than we do.
    #[inline]
    fn unsigned(&mut self, bits: u32) -> Result<u64, RecordError> {
        let start = self.at;
        let mut value = 0_u64;
        let mut shift = 0;
        loop {
            let byte = self
                .byte()
                .map_err(|_| RecordError::Truncated { at: start })?;
            let group = u64::from(byte & 0x7f);
            let room = bits - shift;
            if room < 7 && group >> room != 0 {
                return Err(RecordError::BadVarint { at: start });
            }
            value |= group << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
            if shift >= bits {
                return Err(RecordError::BadVarint { at: start });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_their_documented_values() {
        for (bytes, value) in [
            (&[0x00][..], 0),
            (&[0x01], -1),
            (&[0x02], 1),
            (&[0x7f], -64),
            (&[0x80, 0x01], 64),
            (&[0xfe, 0xff, 0xff, 0xff, 0x0f], i32::MAX),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], i32::MIN),
            (&[0x82, 0x00], 1),
        ] {
            assert_eq!(Cursor::new(bytes, 0).varint(), Ok(value), "{bytes:x?}");
        }
        let min = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Cursor::new(&min, 0).varlong(), Ok(i64::MIN));
    }

    #[test]
    fn varints_out_of_range_are_refused() {
        let bad = Err(RecordError::BadVarint { at: 7 });
        assert_eq!(
            Cursor::new(&[0xff, 0xff, 0xff, 0xff, 0x1f], 7).varint(),
            bad
        );
        assert_eq!(
            Cursor::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00], 7).varint(),
            bad
        );
        let long = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x03];
        assert_eq!(
            Cursor::new(&long, 7).varlong(),
            Err(RecordError::BadVarint { at: 7 })
        );
        assert_eq!(
            Cursor::new(&[0x80, 0x80], 7).varint(),
            Err(RecordError::Truncated { at: 7 })
        );
    }
}
