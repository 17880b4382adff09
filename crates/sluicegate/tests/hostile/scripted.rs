//! One broker that answers its clients whatever a test wants, byte by byte.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use wire::header::RequestHeader;

use crate::frames::{CLIENT_ID, text};

/// Node id of the broker.
pub(crate) const NODE: i32 = 1;

/// What it claims to speak: (API key, lowest version, highest version).
const SPEAKS: &[(i16, i16, i16)] = &[
    (0, 3, 9),
    (1, 4, 18),
    (2, 1, 5),
    (3, 0, 7),
    (8, 2, 7),
    (10, 0, 2),
    (12, 0, 3),
    (16, 0, 2),
    (18, 0, 4),
    (22, 0, 1),
    (78, 1, 1),
];

/// A request of a client under test.
pub(crate) struct Asked {
    pub(crate) api: i16,
    pub(crate) correlation_id: i32,
    pub(crate) body: Vec<u8>,
    /// Which of the connections that the broker has seen, from 0.
    pub(crate) connection: usize,
}

impl Asked {
    /// An answer with a header without tagged fields.
    pub(crate) fn plain(&self, body: &[u8]) -> Vec<u8> {
        self.framed(&[], body)
    }

    /// An answer with a header with tagged fields (none).
    pub(crate) fn flexible(&self, body: &[u8]) -> Vec<u8> {
        self.framed(&[0], body)
    }

    fn framed(&self, tags: &[u8], body: &[u8]) -> Vec<u8> {
        let size = 4 + tags.len() + body.len();
        let mut frame = (size as i32).to_be_bytes().to_vec();
        frame.extend(self.correlation_id.to_be_bytes());
        frame.extend(tags);
        frame.extend(body);
        frame
    }
}

/// Answers requests of clients; `false` closes the connection.
pub(crate) trait Script: Fn(&Asked, &mut TcpStream) -> bool + Send + Sync + 'static {}
impl<F: Fn(&Asked, &mut TcpStream) -> bool + Send + Sync + 'static> Script for F {}

/// The broker. Its listener lives as long as the test process.
pub(crate) struct Scripted {
    address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    /// Connections on which a client under test has sent something, and which are open.
    clients: AtomicUsize,
    accepted: AtomicUsize,
}

impl Scripted {
    /// Starts to listen. The gateway's own requests are answered by themselves.
    pub(crate) fn start(script: impl Script) -> Scripted {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let counts = Arc::new(Counts::default());
        let script: Arc<dyn Script> = Arc::new(script);
        thread::spawn({
            let counts = counts.clone();
            move || {
                for stream in listener.incoming().flatten() {
                    let (script, counts) = (script.clone(), counts.clone());
                    let connection = counts.accepted.fetch_add(1, Ordering::Relaxed);
                    thread::spawn(move || serve(stream, address, connection, &*script, &counts));
                }
            }
        });
        Scripted { address, counts }
    }

    pub(crate) fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    /// Open connections that carry requests of clients.
    pub(crate) fn client_connections(&self) -> usize {
        self.counts.clients.load(Ordering::Relaxed)
    }
}

fn serve(
    mut stream: TcpStream,
    address: SocketAddr,
    connection: usize,
    script: &dyn Script,
    counts: &Counts,
) {
    let mut counted = false;
    while let Some((asked, is_client)) = read(&mut stream, connection) {
        if is_client && !counted {
            counted = true;
            counts.clients.fetch_add(1, Ordering::Relaxed);
        }
        let go_on = match asked.api {
            _ if is_client => script(&asked, &mut stream),
            18 => stream.write_all(&asked.plain(&api_versions())).is_ok(),
            3 => stream.write_all(&asked.plain(&metadata(address))).is_ok(),
            _ => false,
        };
        if !go_on {
            break;
        }
    }
    if counted {
        counts.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

fn read(stream: &mut TcpStream, connection: usize) -> Option<(Asked, bool)> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).ok()?];
    stream.read_exact(&mut frame).ok()?;
    let header = RequestHeader::parse(&frame).ok()?;
    let asked = Asked {
        api: header.api.0,
        correlation_id: header.correlation_id,
        body: frame[header.len..].to_vec(),
        connection,
    };
    Some((asked, header.client_id == Some(CLIENT_ID.as_bytes())))
}

/// The body of ApiVersions v4, which the gateway asks first.
fn api_versions() -> Vec<u8> {
    let mut body = vec![0, 0, SPEAKS.len() as u8 + 1];
    for (api, min, max) in SPEAKS {
        for number in [api, min, max] {
            body.extend(number.to_be_bytes());
        }
        body.push(0);
    }
    body.extend([0; 5]); // throttle time, no tagged fields
    body
}

/// The body of Metadata v7: the broker itself and no topic.
pub(crate) fn metadata(address: SocketAddr) -> Vec<u8> {
    let mut body = vec![0; 4];
    body.extend(1_i32.to_be_bytes());
    body.extend(NODE.to_be_bytes());
    text(&mut body, &address.ip().to_string());
    body.extend(i32::from(address.port()).to_be_bytes());
    body.extend([0xff, 0xff]);
    text(&mut body, "scripted");
    body.extend(NODE.to_be_bytes());
    body.extend(0_i32.to_be_bytes());
    body
}
