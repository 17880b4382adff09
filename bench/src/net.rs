//! Sockets of both ends of a measurement: plain or TLS, and a reader that can drop bytes without copying them.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::Result;

/// Read ahead on a plain socket. Small: what is to be dropped should not be copied before.
const PLAIN_WINDOW: usize = 4 * 1024;
/// Read ahead on a TLS socket: some records.
const TLS_WINDOW: usize = 64 * 1024;
/// Most bytes dropped by one call.
const DROP: usize = 1 << 20;
/// Linux: a read on a TCP socket drops the bytes instead of copying them.
const MSG_TRUNC: i32 = 0x20;

/// Both directions of a connection.
pub(crate) type Halves = (Reader, Writer);

/// Connects; with `tls` for the host of `address`.
pub(crate) async fn connect(address: &str, tls: Option<&TlsConnector>) -> Result<Halves> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    match tls {
        None => Ok(plain(stream)),
        Some(connector) => {
            let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
            let name = ServerName::try_from(host.to_owned())?;
            let stream = connector.connect(name, stream).await?;
            Ok(secured(TlsStream::Client(stream)))
        }
    }
}

/// The server's side of a connection.
pub(crate) async fn accepted(stream: TcpStream, tls: Option<&TlsAcceptor>) -> Result<Halves> {
    stream.set_nodelay(true)?;
    match tls {
        None => Ok(plain(stream)),
        Some(acceptor) => Ok(secured(TlsStream::Server(acceptor.accept(stream).await?))),
    }
}

fn plain(stream: TcpStream) -> Halves {
    let (read, write) = stream.into_split();
    (
        Reader::new(ReadSide::Plain(read), PLAIN_WINDOW),
        Writer::Plain(write),
    )
}

fn secured(stream: TlsStream<TcpStream>) -> Halves {
    let (_, session) = stream.get_ref();
    let suite = session
        .negotiated_cipher_suite()
        .map(|suite| format!("{:?}", suite.suite()));
    let (read, write) = tokio::io::split(stream);
    let mut reader = Reader::new(ReadSide::Tls(read), TLS_WINDOW);
    reader.suite = suite;
    (reader, Writer::Tls(write))
}

/// Trusts the certificates of a PEM file.
pub(crate) fn connector(trust: &Path) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(trust)? {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Shows the certificate of a PEM file that holds the key as well.
pub(crate) fn acceptor(key_and_chain: &Path) -> Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(key_and_chain)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key_and_chain)?;
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[derive(Debug)]
enum ReadSide {
    Plain(OwnedReadHalf),
    Tls(ReadHalf<TlsStream<TcpStream>>),
}

/// The reading half, with a small buffer.
#[derive(Debug)]
pub(crate) struct Reader {
    side: ReadSide,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    suite: Option<String>,
}

impl Reader {
    fn new(side: ReadSide, window: usize) -> Reader {
        Reader {
            side,
            buffer: vec![0; window],
            start: 0,
            end: 0,
            suite: None,
        }
    }

    /// Name of the cipher suite, with TLS.
    pub(crate) fn suite(&self) -> Option<&str> {
        self.suite.as_deref()
    }

    /// What is buffered.
    pub(crate) fn data(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Reads until `count` bytes are buffered. False if the peer has ended before the first of them.
    pub(crate) async fn need(&mut self, count: usize) -> io::Result<bool> {
        while self.end - self.start < count {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.buffer.len() < count {
                self.buffer.resize(count, 0);
            }
            let room = &mut self.buffer[self.end..];
            let read = match &mut self.side {
                ReadSide::Plain(socket) => socket.read(room).await?,
                ReadSide::Tls(stream) => stream.read(room).await?,
            };
            match read {
                0 if self.end == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.end += read,
            }
        }
        Ok(true)
    }

    /// Takes `count` buffered bytes away.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }

    /// Takes `count` bytes.
    pub(crate) async fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        if !self.need(count).await? && count > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = self.data()[..count].to_vec();
        self.consume(count);
        Ok(taken)
    }

    /// Drops the next `count` bytes; on a plain socket the kernel does it.
    pub(crate) async fn discard(&mut self, count: usize) -> io::Result<()> {
        let buffered = count.min(self.end - self.start);
        self.consume(buffered);
        let mut left = count - buffered;
        while left > 0 {
            let dropped = match &mut self.side {
                ReadSide::Plain(socket) => drop_from(socket, left.min(DROP)).await?,
                ReadSide::Tls(stream) => {
                    let room = left.min(self.buffer.len());
                    stream.read(&mut self.buffer[..room]).await?
                }
            };
            if dropped == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= dropped;
        }
        Ok(())
    }

    /// Takes one frame without its length; None at the end of the stream.
    pub(crate) async fn frame(&mut self) -> io::Result<Option<Vec<u8>>> {
        if !self.need(4).await? {
            return Ok(None);
        }
        let length = self.length();
        self.consume(4);
        self.take(length).await.map(Some)
    }

    /// The length at the front of the buffer, which holds at least four bytes.
    pub(crate) fn length(&self) -> usize {
        let length = self.data().first_chunk().copied().unwrap_or_default();
        usize::try_from(i32::from_be_bytes(length)).unwrap_or(0)
    }
}

async fn drop_from(socket: &OwnedReadHalf, count: usize) -> io::Result<usize> {
    thread_local! {
        /// Where the kernel writes nothing.
        static NOWHERE: std::cell::RefCell<Box<[MaybeUninit<u8>]>> =
            std::cell::RefCell::new(Box::new_uninit_slice(DROP));
    }
    let stream: &TcpStream = socket.as_ref();
    stream
        .async_io(Interest::READABLE, || {
            NOWHERE.with_borrow_mut(|nowhere| {
                let socket = socket2::SockRef::from(stream);
                socket.recv_with_flags(&mut nowhere[..count], MSG_TRUNC)
            })
        })
        .await
}

/// The writing half.
#[derive(Debug)]
pub(crate) enum Writer {
    /// TCP.
    Plain(OwnedWriteHalf),
    /// TLS.
    Tls(WriteHalf<TlsStream<TcpStream>>),
}

impl Writer {
    /// Writes `head` and `rest` as one.
    pub(crate) async fn write(&mut self, head: &[u8], rest: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < head.len() + rest.len() {
            let slices = [
                IoSlice::new(&head[done.min(head.len())..]),
                IoSlice::new(&rest[done.saturating_sub(head.len())..]),
            ];
            let slices = &slices[usize::from(done >= head.len())..];
            let written = match self {
                Writer::Plain(socket) => socket.write_vectored(slices).await?,
                Writer::Tls(stream) => stream.write_vectored(slices).await?,
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            done += written;
        }
        match self {
            Writer::Plain(_) => Ok(()),
            Writer::Tls(stream) => stream.flush().await,
        }
    }
}
