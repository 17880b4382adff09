//! Bytes of clients that nobody knows yet.
//!
//! What a client sends before it has authenticated is in memory as a whole: a token, or the messages of a TLS handshake. The first
//! bytes of each connection are free, and few of them get along with less. What is more comes out of one budget of the process, as
//! it arrives, and of that one address gets a part.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::limits::network;

/// Bytes of a connection that cost nothing: more than PLAIN and SCRAM take, and most signed tokens.
pub(crate) const FREE: usize = 8 * 1024;

/// Most bytes of all connections together, their free ones aside.
const MOST: u64 = 64 << 20;

/// Fewest: one frame of the default `GATEWAY_SASL_SERVER_MAX_RECEIVE_SIZE` of each of two addresses.
const FEWEST: u64 = 4 << 20;

/// Of all that, one address may have this part.
const ADDRESSES: u64 = 4;

/// How long who finds nothing left waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes per permit.
const UNIT: usize = 1024;

/// The budget of the process.
pub(crate) struct Intake {
    all: Arc<Semaphore>,
    part: usize,
    /// Of addresses that hold something or wait for it.
    parts: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// What one connection holds of it; given back when dropped.
pub(crate) struct Allowance {
    intake: Arc<Intake>,
    network: IpAddr,
    held: Option<Held>,
}

struct Held {
    of_part: OwnedSemaphorePermit,
    of_all: OwnedSemaphorePermit,
}

impl Intake {
    /// An eighth of `buffers` bytes, within bounds.
    pub(crate) fn new(buffers: u64) -> Intake {
        let bytes = (buffers / 8).clamp(FEWEST, MOST);
        let units = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX) / UNIT;
        Intake {
            all: Arc::new(Semaphore::new(units(bytes))),
            part: units(bytes / ADDRESSES),
            parts: Mutex::default(),
        }
    }

    /// For a connection from `ip`, which holds nothing yet.
    pub(crate) fn allowance(self: &Arc<Self>, ip: IpAddr) -> Allowance {
        Allowance {
            intake: self.clone(),
            network: network(ip),
            held: None,
        }
    }

    fn part(&self, network: IpAddr) -> Arc<Semaphore> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let part = parts
            .entry(network)
            .or_insert_with(|| Arc::new(Semaphore::new(self.part)));
        Arc::clone(part)
    }

    /// Forgets an address that holds nothing. Who waits holds its part, too.
    fn forget(&self, network: IpAddr) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(part) = parts.get(&network)
            && Arc::strong_count(part) == 1
        {
            parts.remove(&network);
        }
    }
}

impl Allowance {
    /// Waits until the connection may hold `bytes` in all. `false`: there is not so much, or not in time.
    pub(crate) async fn hold(&mut self, bytes: usize) -> bool {
        let Some(units) = self.missing(bytes) else {
            return true;
        };
        if bytes.saturating_sub(FREE).div_ceil(UNIT) > self.intake.part {
            return false;
        }
        let part = self.intake.part(self.network);
        let all = self.intake.all.clone();
        let taken = timeout(PATIENCE, async {
            Some(Held {
                of_part: part.acquire_many_owned(units).await.ok()?,
                of_all: all.acquire_many_owned(units).await.ok()?,
            })
        });
        match taken.await {
            Ok(Some(held)) => {
                self.add(held);
                true
            }
            _ => false,
        }
    }

    /// As [`Allowance::hold`], without waiting.
    fn hold_now(&mut self, bytes: usize) -> bool {
        let Some(units) = self.missing(bytes) else {
            return true;
        };
        let part = self.intake.part(self.network);
        let all = self.intake.all.clone();
        let taken = part.try_acquire_many_owned(units).ok().and_then(|of_part| {
            let of_all = all.try_acquire_many_owned(units).ok()?;
            Some(Held { of_part, of_all })
        });
        taken.map(|held| self.add(held)).is_some()
    }

    /// Gives everything back.
    pub(crate) fn release(&mut self) {
        self.held = None;
    }

    /// Permits to be taken for `bytes` in all.
    fn missing(&self, bytes: usize) -> Option<u32> {
        let needed = bytes.saturating_sub(FREE).div_ceil(UNIT);
        let held = self
            .held
            .as_ref()
            .map_or(0, |held| held.of_all.num_permits());
        let missing = needed.saturating_sub(held);
        // What does not fit 32 bits fits no budget.
        (missing > 0).then(|| u32::try_from(missing).unwrap_or(u32::MAX))
    }

    fn add(&mut self, more: Held) {
        match &mut self.held {
            None => self.held = Some(more),
            Some(held) => {
                held.of_part.merge(more.of_part);
                held.of_all.merge(more.of_all);
            }
        }
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        self.held = None;
        self.intake.forget(self.network);
    }
}

/// A client's TCP stream; until its TLS handshake is complete, what is read of it is paid for.
pub(crate) struct Metered {
    tcp: TcpStream,
    meter: Option<Meter>,
}

struct Meter {
    allowance: Allowance,
    read: usize,
    first: [u8; FIRST],
}

/// Bytes that tell one protocol from another.
const FIRST: usize = 4;

impl Metered {
    pub(crate) fn new(tcp: TcpStream, allowance: Allowance) -> Metered {
        Metered {
            tcp,
            meter: Some(Meter {
                allowance,
                read: 0,
                first: [0; FIRST],
            }),
        }
    }

    /// What has come first of a handshake.
    pub(crate) fn first(&self) -> &[u8] {
        self.meter.as_ref().map_or(&[], |meter| &meter.first)
    }

    /// A stream that nothing is paid for.
    pub(crate) fn free(tcp: TcpStream) -> Metered {
        Metered { tcp, meter: None }
    }

    /// The handshake is complete: its messages are not in memory any more.
    pub(crate) fn settle(&mut self) {
        self.meter = None;
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buffer))?;
        if let Some(meter) = &mut self.meter {
            let bytes = buffer.filled().get(before..).unwrap_or_default();
            let rest = meter.first.iter_mut().skip(meter.read);
            rest.zip(bytes).for_each(|(place, byte)| *place = *byte);
            meter.read += bytes.len();
            if !meter.allowance.hold_now(meter.read) {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::OutOfMemory,
                    format!(
                        "{} bytes of a handshake do not fit the budget of clients that are not authenticated",
                        meter.read
                    ),
                )));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn intake() -> Arc<Intake> {
        Arc::new(Intake::new(8 * (8 << 20)))
    }

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_gets_a_part_and_the_first_bytes_are_free() {
        let intake = intake();
        let (mut first, mut second) = (intake.allowance(ip(1)), intake.allowance(ip(1)));
        assert!(first.hold(MIB).await && first.hold(2 * MIB).await);
        assert!(first.hold_now(2 * MIB + FREE), "two of eight");
        assert!(!second.hold_now(FREE + 1) && second.hold_now(FREE));
        assert!(
            !second.hold(FREE + 1).await,
            "nothing is given back in time"
        );
        let mut other = intake.allowance(ip(2));
        assert!(other.hold(2 * MIB).await, "another address has its own");
        first.release();
        assert!(second.hold(2 * MIB).await);
    }

    #[tokio::test(start_paused = true)]
    async fn all_addresses_share_the_whole() {
        let intake = intake();
        let mut held = Vec::new();
        for last in 0..4 {
            let mut allowance = intake.allowance(ip(last));
            assert!(allowance.hold(FREE + 2 * MIB).await);
            held.push(allowance);
        }
        let mut late = intake.allowance(ip(9));
        assert!(!late.hold(FREE + 1).await);
        let waiting = async { late.hold(FREE + 1).await };
        let leaving = async {
            tokio::task::yield_now().await;
            held.clear();
        };
        assert!(tokio::join!(waiting, leaving).0);
        assert!(!late.hold(3 * MIB).await, "more than a part");
        drop(late);
        assert!(intake.parts.lock().expect("not poisoned").is_empty());
    }
}
