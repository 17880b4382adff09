//! One client connection: frames in, one at a time, answers out in the same order.
//!
//! Memory: a buffer grows only as bytes arrive; what large frames hold comes out of one allowance for the whole cluster; a client that does
//! not read its answers, or does not finish its frame, is cut off.

use std::future::pending;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;
use wire::header::{HeaderError, RequestHeader};

use crate::api::{self, Request};
use crate::broker::Broker;
use crate::cluster::Cluster;
use crate::codec::Refusal;
use crate::faults::Conduct;

/// A connection may be idle that long (`connections.max.idle.ms`).
const IDLE: Duration = Duration::from_secs(600);
/// A frame must be complete, and an answer taken, within this time.
const TRANSFER: Duration = Duration::from_secs(60);
/// First size of a read buffer, and how far is read ahead while a request is being answered.
const READ_BUFFER: usize = 64 * 1024;
/// A read buffer larger than this is not kept between frames.
const KEPT_BUFFER: usize = 1280 * 1024;
/// Slices in one write.
const SLICES: usize = 64;

/// Serves the connection until either side ends it.
pub(crate) async fn serve(
    stream: TcpStream,
    peer: IpAddr,
    broker: &Arc<Broker>,
    cluster: &Arc<Cluster>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
    let (read, write) = stream.into_split();
    let mut reader = Reader {
        stream: read,
        buffer: BytesMut::with_capacity(READ_BUFFER),
        held: None,
    };
    let connection = Connection {
        peer,
        broker,
        cluster,
    };
    if let Err(end) = connection.run(&mut reader, write).await {
        tracing::debug!(broker = broker.node_id, %peer, reason = %end, "connection closed");
    }
}

/// Why a connection was ended.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("frame of {0} bytes")]
    FrameSize(i32),
    #[error("too slow or idle")]
    Time(#[from] tokio::time::error::Elapsed),
    #[error("fault")]
    Fault,
    #[error("the client hung up")]
    Closed,
}

struct Connection<'c> {
    peer: IpAddr,
    broker: &'c Arc<Broker>,
    cluster: &'c Arc<Cluster>,
}

impl<'c> Connection<'c> {
    async fn run(&self, reader: &mut Reader<'c>, mut write: OwnedWriteHalf) -> Result<(), End> {
        while let Some(frame) = reader.frame(self.cluster).await? {
            let Some((pieces, last)) = self.answer(reader, frame).await? else {
                continue;
            };
            timeout(TRANSFER, write_all(&mut write, pieces)).await??;
            if last {
                return Err(End::Fault);
            }
        }
        Ok(())
    }

    /// The answer to one request, and whether it is the connection's last; None if it wants none.
    async fn answer(
        &self,
        reader: &mut Reader<'c>,
        frame: Bytes,
    ) -> Result<Option<(Vec<Bytes>, bool)>, End> {
        let header = match RequestHeader::parse(&frame) {
            Ok(header) => header,
            Err(HeaderError::UnsupportedVersion {
                api,
                correlation_id: Some(id),
                ..
            }) if api.0 == api::API_VERSIONS => {
                let answer = api::unsupported_api_versions(self.cluster, self.broker.node_id, id)?;
                return Ok(Some((answer.finish(), false)));
            }
            Err(error) => return Err(Refusal::from(error).into()),
        };
        let effects = self
            .cluster
            .rules
            .effects(self.broker.node_id, header.api.0);
        match effects.conduct {
            Conduct::Close => return Err(End::Fault),
            Conduct::NeverAnswer => return reader.drain().await,
            _ => {}
        }
        let request = Request {
            cluster: self.cluster,
            node: self.broker.node_id,
            peer: self.peer,
            api: header.api.0,
            version: header.version,
            correlation_id: header.correlation_id,
            client_id: header
                .client_id
                .map(String::from_utf8_lossy)
                .unwrap_or_default()
                .into_owned(),
            forced: effects.error,
            throttle_ms: effects.throttle_ms,
            body: frame.slice(header.len..),
        };
        let work = async {
            let answer = api::handle(&request).await;
            if !effects.delay.is_zero() {
                tokio::time::sleep(effects.delay).await;
            }
            answer
        };
        let answer = reader.while_connected(work).await?;
        drop(request);
        drop(frame);
        let Some(answer) = answer? else {
            return Ok(None);
        };
        spoil(answer.finish(), effects.conduct)
    }
}

/// Does to a finished answer what a fault wants done.
fn spoil(pieces: Vec<Bytes>, conduct: Conduct) -> Result<Option<(Vec<Bytes>, bool)>, End> {
    let mut whole = match conduct {
        Conduct::CloseAfter => return Err(End::Fault),
        Conduct::Truncate(_) | Conduct::Garbage | Conduct::WrongCorrelationId => pieces.concat(),
        Conduct::Answer | Conduct::NeverAnswer | Conduct::Close => {
            return Ok(Some((pieces, false)));
        }
    };
    match conduct {
        Conduct::Truncate(bytes) => whole.truncate(bytes),
        Conduct::Garbage => whole.iter_mut().skip(8).for_each(|b| *b = 0xff),
        _ => {
            if let Some(lowest) = whole.get_mut(7) {
                *lowest = lowest.wrapping_add(1);
            }
        }
    }
    let last = matches!(conduct, Conduct::Truncate(_));
    Ok(Some((vec![Bytes::from(whole)], last)))
}

struct Reader<'c> {
    stream: OwnedReadHalf,
    buffer: BytesMut,
    /// The allowance that the buffer takes beyond what every connection may have.
    held: Option<SemaphorePermit<'c>>,
}

impl<'c> Reader<'c> {
    /// The next frame without its length prefix; None at the end of the stream.
    async fn frame(&mut self, cluster: &'c Cluster) -> Result<Option<Bytes>, End> {
        self.shrink();
        while self.buffer.is_empty() {
            self.buffer.reserve(READ_BUFFER);
            if timeout(IDLE, self.stream.read_buf(&mut self.buffer)).await?? == 0 {
                return Ok(None);
            }
        }
        timeout(TRANSFER, self.rest_of_frame(cluster))
            .await?
            .map(Some)
    }

    async fn rest_of_frame(&mut self, cluster: &'c Cluster) -> Result<Bytes, End> {
        while self.buffer.len() < 4 {
            self.fill(4).await?;
        }
        let announced = (&self.buffer[..4]).get_i32();
        let size = usize::try_from(announced)
            .ok()
            .filter(|n| (8..=cluster.options.max_frame_bytes).contains(n));
        let size = size.ok_or(End::FrameSize(announced))?;
        while self.buffer.len() < 4 + size {
            let step = (4 + size - self.buffer.len()).min(self.buffer.len().max(READ_BUFFER));
            if self.buffer.len() + step > KEPT_BUFFER {
                self.hold(cluster, self.buffer.len() + step).await?;
            }
            self.fill(step).await?;
        }
        self.buffer.advance(4);
        Ok(self.buffer.split_to(size).freeze())
    }

    /// Reads once, into at least `more` bytes of room.
    async fn fill(&mut self, more: usize) -> Result<(), End> {
        if self.buffer.capacity() - self.buffer.len() < more.min(READ_BUFFER) {
            self.buffer.reserve(more);
        }
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(End::Closed),
            _ => Ok(()),
        }
    }

    /// Takes allowance for a buffer of `bytes`, waiting for other connections to give some back.
    async fn hold(&mut self, cluster: &'c Cluster, bytes: usize) -> Result<(), End> {
        let have = self.held.as_ref().map_or(0, SemaphorePermit::num_permits);
        let want = bytes.div_ceil(1024).saturating_sub(have);
        if want == 0 {
            return Ok(());
        }
        let more = cluster
            .frame_memory
            .acquire_many(want as u32)
            .await
            .map_err(|_| End::Closed)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }

    fn shrink(&mut self) {
        if self.buffer.len() < READ_BUFFER
            && (self.held.is_some() || self.buffer.capacity() > KEPT_BUFFER)
        {
            let mut small = BytesMut::with_capacity(READ_BUFFER);
            small.extend_from_slice(&self.buffer);
            self.buffer = small;
            self.held = None;
        }
    }

    /// Runs `work` to its end unless the client hangs up before.
    async fn while_connected<T>(&mut self, work: impl Future<Output = T>) -> Result<T, End> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                read = read_ahead(&mut self.stream, &mut self.buffer) => read?,
            }
        }
    }

    /// Reads and forgets until the client hangs up.
    async fn drain<T>(&mut self) -> Result<T, End> {
        loop {
            self.buffer.clear();
            self.fill(READ_BUFFER).await?;
        }
    }
}

/// Reads what comes while a request is answered, up to a bound; notices the end of the connection.
async fn read_ahead(stream: &mut OwnedReadHalf, buffer: &mut BytesMut) -> Result<(), End> {
    if buffer.len() >= READ_BUFFER {
        return pending().await;
    }
    buffer.reserve(READ_BUFFER - buffer.len());
    match stream.read_buf(buffer).await? {
        0 => Err(End::Closed),
        _ => Ok(()),
    }
}

async fn write_all(stream: &mut OwnedWriteHalf, pieces: Vec<Bytes>) -> io::Result<()> {
    let mut pieces = std::collections::VecDeque::from(pieces);
    while !pieces.is_empty() {
        let slices: Vec<IoSlice<'_>> = pieces
            .iter()
            .take(SLICES)
            .map(|p| IoSlice::new(p))
            .collect();
        let mut written = stream.write_vectored(&slices).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(first) = pieces.front_mut() {
            if written < first.len() {
                first.advance(written);
                break;
            }
            written -= first.len();
            pieces.pop_front();
        }
    }
    Ok(())
}
