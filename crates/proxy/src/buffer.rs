//! Memory of a connection: windows lent from a pool, outboxes that point into them, and the process budget.
//!
//! A connection looks at its traffic through a [`Window`]: one buffer of [`WINDOW`] bytes that is lent from the
//! worker's pool while there is something in it and given back when there is not, so that idle connections hold
//! none. What may leave again is noted in an [`Outbox`] as ranges of the window (forwarded bytes are never copied)
//! or as owned bytes (what the gateway says itself). Frames that have to be in memory as a whole and do not fit a
//! window, and what is remembered of requests until they are answered, take their bytes from the [`Budget`] of the process.

use std::cell::RefCell;
use std::io;

use bytes::Bytes;

use crate::fair::FairShare;
use crate::socket::Socket;

/// Size of a lent buffer, bytes. Relaying 1 MiB frames costs about half the CPU with 256 KiB that it costs with 16 KiB.
pub(crate) const WINDOW: usize = 256 * 1024;

/// Lent buffers that a worker keeps for reuse (16 MiB).
const KEEP: usize = 64;

/// A connection that waits for the rest of a small piece copies what it has and gives its window back: a client that
/// sends half a header and then nothing costs what it sent, not a window.
const PARK_BELOW: usize = 16 * 1024;

/// Slices handed to one vectored write.
const MAX_SLICES: usize = 64;

thread_local! {
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

fn borrow_buffer() -> Box<[u8]> {
    FREE.with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| vec![0; WINDOW].into_boxed_slice())
}

fn give_back(buffer: Box<[u8]>) {
    // The pool is gone while its thread ends: then the buffer is simply freed.
    let _ = FREE.try_with(|free| {
        if let Ok(mut free) = free.try_borrow_mut()
            && free.len() < KEEP
        {
            free.push(buffer);
        }
    });
}

/// The part of a byte stream that has been read and not yet been dealt with.
#[derive(Default)]
pub(crate) struct Window {
    buffer: Option<Box<[u8]>>,
    start: usize,
    end: usize,
    parked: Vec<u8>,
}

impl Window {
    /// Bytes read and not consumed.
    pub(crate) fn bytes(&self) -> &[u8] {
        match &self.buffer {
            Some(buffer) => &buffer[self.start..self.end],
            None => &self.parked,
        }
    }

    /// The same, to be patched in place.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.buffer {
            Some(buffer) => &mut buffer[self.start..self.end],
            None => &mut self.parked,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the first `n` bytes. They stay where they are until the next [`Window::fill`], so that an outbox may
    /// point at them.
    pub(crate) fn consume(&mut self, n: usize) -> Span {
        debug_assert!(n <= self.len());
        if self.buffer.is_none() {
            self.unpark();
        }
        let span = Span {
            start: self.start,
            end: self.start + n,
        };
        self.start += n;
        span
    }

    /// Reads more. The outbox that points into this window has to be flushed before. Returns the bytes read; 0 is the
    /// end of the stream.
    pub(crate) async fn fill(&mut self, socket: &Socket) -> io::Result<usize> {
        if self.len() < PARK_BELOW {
            self.park();
            socket.ready().await?;
        }
        self.unpark();
        let Some(buffer) = &mut self.buffer else {
            return Ok(0);
        };
        if self.start > 0 {
            buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == buffer.len() {
            return Err(io::Error::other("a piece larger than a window"));
        }
        let n = socket.read(&mut buffer[self.end..]).await?;
        self.end += n;
        Ok(n)
    }

    /// Gives the buffer back while there is nothing in it.
    pub(crate) fn release(&mut self) {
        if self.is_empty() {
            self.park();
        }
    }

    fn park(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.parked.extend_from_slice(&buffer[self.start..self.end]);
            give_back(buffer);
        }
        (self.start, self.end) = (0, 0);
    }

    fn unpark(&mut self) {
        if self.buffer.is_none() {
            let mut buffer = borrow_buffer();
            buffer[..self.parked.len()].copy_from_slice(&self.parked);
            (self.start, self.end) = (0, self.parked.len());
            self.parked = Vec::new();
            self.buffer = Some(buffer);
        }
    }

    fn slice(&self, span: Span) -> &[u8] {
        self.buffer
            .as_ref()
            .map_or(&[][..], |buffer| &buffer[span.start..span.end])
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            give_back(buffer);
        }
    }
}

/// A stretch of a window that was consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    start: usize,
    end: usize,
}

enum Piece {
    Span(Span),
    Owned(Bytes),
}

/// What is to be written next, in order.
#[derive(Default)]
pub(crate) struct Outbox {
    pieces: Vec<Piece>,
    bytes: usize,
}

impl Outbox {
    /// Forwards a stretch of the window; neighbouring stretches become one.
    pub(crate) fn forward(&mut self, span: Span) {
        if span.start == span.end {
            return;
        }
        self.bytes += span.end - span.start;
        if let Some(Piece::Span(last)) = self.pieces.last_mut()
            && last.end == span.start
        {
            last.end = span.end;
            return;
        }
        self.pieces.push(Piece::Span(span));
    }

    /// Appends bytes of our own.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.bytes += bytes.len();
            self.pieces.push(Piece::Owned(bytes));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Bytes waiting.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Writes everything; `progress` is told how many bytes each write has moved.
    pub(crate) async fn flush(
        &mut self,
        window: &Window,
        socket: &Socket,
        mut progress: impl FnMut(usize),
    ) -> io::Result<()> {
        let mut first = 0; // index of the first piece with unwritten bytes
        let mut offset = 0; // bytes of it already written
        while first < self.pieces.len() {
            let mut slices = [io::IoSlice::new(&[]); MAX_SLICES];
            let mut count = 0;
            for (i, piece) in self.pieces[first..].iter().take(MAX_SLICES).enumerate() {
                let bytes = match piece {
                    Piece::Span(span) => window.slice(*span),
                    Piece::Owned(bytes) => bytes,
                };
                slices[i] = io::IoSlice::new(if i == 0 { &bytes[offset..] } else { bytes });
                count += 1;
            }
            let mut n = socket.write_vectored(&slices[..count]).await?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            progress(n);
            while n > 0 {
                let left = match &self.pieces[first] {
                    Piece::Span(span) => span.end - span.start,
                    Piece::Owned(bytes) => bytes.len(),
                } - offset;
                if n < left {
                    offset += n;
                    break;
                }
                n -= left;
                first += 1;
                offset = 0;
            }
        }
        self.pieces.clear();
        self.bytes = 0;
        socket.flush().await
    }
}

/// Bytes that all connections together may hold besides their windows (`GATEWAY_MAX_BUFFERED_BYTES`), in shares, so that who
/// fills one does not hold up the others.
#[derive(Clone)]
pub(crate) struct Budget {
    /// Answers that are in memory as a whole: a half.
    pub(crate) answers: FairShare,
    /// Requests that are: a quarter.
    pub(crate) requests: FairShare,
    /// What is remembered of requests until they are answered: a quarter.
    pub(crate) remembered: FairShare,
}

impl Budget {
    pub(crate) fn new(bytes: u64) -> Self {
        Budget {
            answers: FairShare::new(bytes / 2),
            requests: FairShare::new(bytes / 4),
            remembered: FairShare::without_waiting(bytes / 4),
        }
    }
}
