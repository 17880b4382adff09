//! A Kafka client that sends any bytes: for hostile, differential and readiness checks.
//!
//! It does its own framing on purpose, so that a mistake in the gateway's codec cannot hide here.

use crate::{Error, Result};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Longest answer accepted, bytes.
const MAX_FRAME: usize = 256 << 20;

/// A blocking connection.
#[derive(Debug)]
pub struct RawClient {
    stream: TcpStream,
    next_correlation_id: i32,
}

impl RawClient {
    /// Connects; reads and writes time out after 30 s.
    ///
    /// # Errors
    /// No connection.
    pub fn connect(address: &str) -> Result<RawClient> {
        let resolved: SocketAddr = address
            .to_socket_addrs()
            .map_err(Error::io(format!("resolve {address}")))?
            .next()
            .ok_or_else(|| Error::Answer(format!("{address} resolves to nothing")))?;
        let stream = TcpStream::connect_timeout(&resolved, Duration::from_secs(10))
            .map_err(Error::io(format!("connect to {address}")))?;
        let client = RawClient {
            stream,
            next_correlation_id: 1,
        };
        client.set_timeout(Duration::from_secs(30))?;
        Ok(client)
    }

    /// Connects from the given address of this machine, and lets the kernel hold few bytes that were not read.
    ///
    /// # Errors
    /// No connection.
    pub fn connect_from(local: IpAddr, address: SocketAddr) -> Result<RawClient> {
        const UNREAD: usize = 4096;
        let connect = || -> std::io::Result<TcpStream> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_recv_buffer_size(UNREAD)?;
            socket.bind(&SocketAddr::new(local, 0).into())?;
            socket.connect(&address.into())?;
            Ok(socket.into())
        };
        let client = RawClient {
            stream: connect().map_err(Error::io(format!("connect to {address}")))?,
            next_correlation_id: 1,
        };
        client.set_timeout(Duration::from_secs(30))?;
        Ok(client)
    }

    /// Sets the longest wait of one read or write.
    ///
    /// # Errors
    /// The socket refuses.
    pub fn set_timeout(&self, limit: Duration) -> Result<()> {
        let set = |limit| {
            self.stream.set_read_timeout(limit)?;
            self.stream.set_write_timeout(limit)?;
            self.stream.set_nodelay(true)
        };
        set(Some(limit)).map_err(Error::io("set socket options"))
    }

    /// The socket, for half-closes and the like.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends one request and gives the bytes of the answer after its correlation id (for a flexible
    /// answer these begin with the tagged fields of the header).
    ///
    /// # Errors
    /// The connection broke, or the answer is to another request.
    pub fn call(&mut self, request: Request<'_>) -> Result<Vec<u8>> {
        let id = self.send(request)?;
        let frame = self.receive()?;
        match frame.split_first_chunk::<4>() {
            Some((head, rest)) if i32::from_be_bytes(*head) == id => Ok(rest.to_vec()),
            _ => Err(Error::Answer(format!(
                "the answer does not begin with correlation id {id}"
            ))),
        }
    }

    /// Sends one request; gives its correlation id.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, request: Request<'_>) -> Result<i32> {
        let id = self.next_correlation_id;
        self.next_correlation_id += 1;
        self.send_bytes(&request.frame(id))?;
        Ok(id)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream
            .write_all(bytes)
            .map_err(Error::io("send to the peer"))
    }

    /// Reads one frame: the bytes after the length, beginning with the correlation id.
    ///
    /// # Errors
    /// The connection broke, or the length is absurd.
    pub fn receive(&mut self) -> Result<Vec<u8>> {
        let reading = || Error::io("read from the peer");
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).map_err(reading())?;
        let length = usize::try_from(i32::from_be_bytes(length))
            .ok()
            .filter(|length| *length <= MAX_FRAME)
            .ok_or_else(|| Error::Answer("frame of an absurd length".to_owned()))?;
        let mut frame = vec![0; length];
        self.stream.read_exact(&mut frame).map_err(reading())?;
        Ok(frame)
    }

    /// True if the peer has closed or reset the connection by the end of the timeout.
    pub fn is_closed_by_peer(&mut self) -> bool {
        let mut byte = [0; 1];
        match self.stream.read(&mut byte) {
            Ok(count) => count == 0,
            Err(error) => !matches!(
                error.kind(),
                std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
            ),
        }
    }
}

/// A request of any API and version.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// API key.
    pub api: i16,
    /// API version.
    pub version: i16,
    /// True if this version is flexible (request header 2).
    pub flexible: bool,
    /// Client id.
    pub client_id: &'a str,
    /// Body, encoded.
    pub body: &'a [u8],
}

impl Request<'_> {
    /// The whole frame, length included.
    pub fn frame(&self, correlation_id: i32) -> Vec<u8> {
        let mut frame = vec![0; 4];
        frame.extend(self.api.to_be_bytes());
        frame.extend(self.version.to_be_bytes());
        frame.extend(correlation_id.to_be_bytes());
        let id_length = i16::try_from(self.client_id.len()).unwrap_or(i16::MAX);
        frame.extend(id_length.to_be_bytes());
        frame.extend(self.client_id.as_bytes());
        if self.flexible {
            frame.push(0);
        }
        frame.extend(self.body);
        let length = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
        frame[..4].copy_from_slice(&length.to_be_bytes());
        frame
    }
}

/// What a Metadata answer says.
#[derive(Clone, Debug, Default)]
pub struct ClusterView {
    /// Host and port by node id.
    pub brokers: BTreeMap<i32, (String, u16)>,
    /// Cluster id.
    pub cluster_id: String,
    /// Node id of the controller, -1 if unknown.
    pub controller: i32,
    /// All partitions of all topics.
    pub partitions: Vec<PartitionView>,
}

/// One partition in a [`ClusterView`].
#[derive(Clone, Debug)]
pub struct PartitionView {
    /// Topic name.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// Node id of the leader, -1 if none.
    pub leader: i32,
    /// Node ids of all replicas.
    pub replicas: Vec<i32>,
    /// Node ids of the replicas in sync.
    pub in_sync: Vec<i32>,
}

/// Asks one address for the metadata of the whole cluster (Metadata v7).
///
/// # Errors
/// No connection, or no proper answer.
pub fn metadata(address: &str) -> Result<ClusterView> {
    let mut client = RawClient::connect(address)?;
    // Null topic list: all topics; no auto creation.
    let body = [0xff, 0xff, 0xff, 0xff, 0];
    let answer = client.call(Request {
        api: 3,
        version: 7,
        flexible: false,
        client_id: "testkit",
        body: &body,
    })?;
    Reader(&answer)
        .cluster_view()
        .ok_or_else(|| Error::Answer("cut Metadata answer".to_owned()))
}

/// Reads the fixed-width encodings of old versions.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn cluster_view(&mut self) -> Option<ClusterView> {
        let mut view = ClusterView::default();
        self.i32()?;
        for _ in 0..self.i32()? {
            let (id, host, port) = (self.i32()?, self.text()?, self.i32()?);
            self.text()?;
            view.brokers.insert(id, (host, u16::try_from(port).ok()?));
        }
        view.cluster_id = self.text()?;
        view.controller = self.i32()?;
        for _ in 0..self.i32()? {
            self.i16()?;
            let topic = self.text()?;
            self.take::<1>()?;
            for _ in 0..self.i32()? {
                self.i16()?;
                let (partition, leader) = (self.i32()?, self.i32()?);
                self.i32()?;
                let (replicas, in_sync) = (self.ids()?, self.ids()?);
                self.ids()?;
                view.partitions.push(PartitionView {
                    topic: topic.clone(),
                    partition,
                    leader,
                    replicas,
                    in_sync,
                });
            }
        }
        Some(view)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn ids(&mut self) -> Option<Vec<i32>> {
        (0..self.i32()?).map(|_| self.i32()).collect()
    }

    /// A string; null reads as empty.
    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_length_header_body() {
        let request = Request {
            api: 18,
            version: 3,
            flexible: true,
            client_id: "me",
            body: &[9],
        };
        assert_eq!(
            request.frame(7),
            [0, 0, 0, 14, 0, 18, 0, 3, 0, 0, 0, 7, 0, 2, b'm', b'e', 0, 9]
        );
    }
}
