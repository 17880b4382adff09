//! One TCP connection, plain or TLS, used by the two halves of one task.
//!
//! A connection lives on one single-threaded worker; its request half and its response half are polled by the same
//! task. So a `RefCell` that is borrowed during a poll only, never across an `await`, is all the sharing needed.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use telemetry::metrics::OwnCounter;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::conn::Metered;

/// A stream of bytes to a client or to a broker.
pub(crate) struct Socket {
    inner: RefCell<Inner>,
    traffic: OnceCell<Traffic>,
    /// Since when a write has had to wait.
    stalled: Cell<Option<Instant>>,
}

/// Counts bytes, after decryption and before encryption.
#[derive(Clone)]
pub(crate) struct Traffic {
    pub(crate) read: OwnCounter,
    pub(crate) written: OwnCounter,
}

enum Inner {
    Plain(TcpStream),
    Tls(Box<TlsStream<Metered>>),
}

impl Socket {
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Socket::new(Inner::Plain(stream))
    }

    pub(crate) fn tls(stream: TlsStream<Metered>) -> Self {
        Socket::new(Inner::Tls(Box::new(stream)))
    }

    fn new(inner: Inner) -> Self {
        Socket {
            inner: RefCell::new(inner),
            traffic: OnceCell::new(),
            stalled: Cell::new(None),
        }
    }

    /// Counts from now on; the first call holds.
    pub(crate) fn count(&self, traffic: Traffic) {
        let _ = self.traffic.set(traffic);
    }

    /// Waits until a read is worth a buffer: bytes (or the end) have arrived. Holds no buffer meanwhile.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        poll_fn(|cx| match &*self.inner.borrow() {
            Inner::Plain(stream) => stream.poll_read_ready(cx),
            Inner::Tls(stream) => {
                let (tcp, session) = stream.get_ref();
                if session.wants_read() {
                    tcp.tcp().poll_read_ready(cx)
                } else {
                    Poll::Ready(Ok(())) // decrypted bytes are waiting
                }
            }
        })
        .await
    }

    /// Reads some bytes; 0 is the end of the stream.
    pub(crate) async fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|cx| {
            let mut buffer = ReadBuf::new(buffer);
            ready!(match &mut *self.inner.borrow_mut() {
                Inner::Plain(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
                Inner::Tls(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            })?;
            let count = buffer.filled().len();
            if let Some(traffic) = self.traffic.get() {
                traffic.read.add(count as u64);
            }
            Poll::Ready(Ok(count))
        })
        .await
    }

    /// Reads exactly `buffer.len()` bytes.
    pub(crate) async fn read_exact(&self, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            let n = self.read(&mut buffer[filled..]).await?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += n;
        }
        Ok(())
    }

    /// Writes some bytes of the slices.
    pub(crate) async fn write_vectored(&self, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
        let count = poll_fn(|cx| {
            let polled = match &mut *self.inner.borrow_mut() {
                // The kernel does less for a plain buffer than for a list of one.
                Inner::Plain(stream) if slices.len() == 1 => {
                    Pin::new(stream).poll_write(cx, slices.first().map_or(&[], |only| only))
                }
                Inner::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
                Inner::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            };
            if polled.is_pending() && self.stalled.get().is_none() {
                self.stalled.set(Some(Instant::now()));
            }
            polled
        })
        .await?;
        if let Some(traffic) = self.traffic.get() {
            traffic.written.add(count as u64);
        }
        Ok(count)
    }

    /// Since when what was written last had to wait for the other side; tells once.
    pub(crate) fn stalled(&self) -> Option<Instant> {
        self.stalled.take()
    }

    /// Writes all of `bytes` and flushes.
    pub(crate) async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = self.write_vectored(&[io::IoSlice::new(bytes)]).await?;
            if n == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[n..];
        }
        self.flush().await
    }

    /// Says goodbye, so that the other side can tell the end from a cut connection; free for plain sockets. Does not wait
    /// for somebody who does not read.
    pub(crate) async fn close(&self) {
        const PATIENCE: Duration = Duration::from_millis(100);
        let closing = poll_fn(|cx| match &mut *self.inner.borrow_mut() {
            Inner::Plain(_) => Poll::Ready(Ok(())),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        });
        let _ = tokio::time::timeout(PATIENCE, closing).await;
    }

    /// Pushes out what TLS still holds; free for plain sockets.
    pub(crate) async fn flush(&self) -> io::Result<()> {
        poll_fn(|cx| match &mut *self.inner.borrow_mut() {
            Inner::Plain(_) => Poll::Ready(Ok(())),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(cx),
        })
        .await
    }
}
