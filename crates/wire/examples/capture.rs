//! Records the frames between Kafka clients and one broker, one file a frame.
//!
//! ```text
//! cargo run -p sluicegate-wire --example capture -- 127.0.0.1:19092 127.0.0.1:29092 /tmp/frames
//! ```
//!
//! Listens on the first address and relays every connection to the second, unchanged. The broker must advertise the
//! first. Each frame goes to `<folder>/<number>-<api key>-<version>-{req,res}.bin` without its length prefix; a request
//! and its response share the number. Meant for plaintext listeners without SASL. Runs until killed.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// Frames beyond this are taken for garbage; the connection ends.
const MAX_FRAME: usize = 64 << 20;

/// The file name stems of requests that wait for a response, by correlation id.
type Waiting = Arc<Mutex<HashMap<[u8; 4], String>>>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, upstream, folder] = &arguments[..] else {
        return Err("usage: capture <listen address> <broker address> <folder>".into());
    };
    let folder = Arc::new(PathBuf::from(folder));
    std::fs::create_dir_all(&*folder)?;
    let number = Arc::new(AtomicU32::new(0));
    for client in TcpListener::bind(listen)?.incoming() {
        let client = client?;
        let broker = TcpStream::connect(upstream)?;
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let waiting = Waiting::default();
        let (from, to) = (client.try_clone()?, broker.try_clone()?);
        let (requests, responses) = (waiting.clone(), waiting);
        let (request_folder, response_folder) = (folder.clone(), folder.clone());
        let number = number.clone();
        thread::spawn(move || {
            relay(from, to, |frame| {
                let (Some(api), Some(version), Some(correlation)) =
                    (int16(frame, 0), int16(frame, 2), id(frame, 4))
                else {
                    return Ok(());
                };
                let number = number.fetch_add(1, Ordering::Relaxed);
                let stem = format!("{number:04}-{api}-{version}");
                save(&request_folder, &stem, "req", frame)?;
                requests
                    .lock()
                    .map_err(|_| io::ErrorKind::Other)?
                    .insert(correlation, stem);
                Ok(())
            })
        });
        thread::spawn(move || {
            relay(broker, client, |frame| {
                let stem = match id(frame, 0) {
                    Some(correlation) => responses
                        .lock()
                        .map_err(|_| io::ErrorKind::Other)?
                        .remove(&correlation),
                    None => None,
                };
                stem.map_or(Ok(()), |stem| save(&response_folder, &stem, "res", frame))
            })
        });
    }
    Ok(())
}

/// Forwards frames until either side ends, then ends the other.
fn relay(mut from: TcpStream, mut to: TcpStream, mut seen: impl FnMut(&[u8]) -> io::Result<()>) {
    while let Ok(frame) = read_frame(&mut from) {
        if seen(&frame[4..])
            .and_then(|()| to.write_all(&frame))
            .is_err()
        {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// One frame with its length prefix.
fn read_frame(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut prefix = [0; 4];
    from.read_exact(&mut prefix)?;
    let length = u32::from_be_bytes(prefix) as usize;
    if length > MAX_FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; 4 + length];
    frame[..4].copy_from_slice(&prefix);
    from.read_exact(&mut frame[4..])?;
    Ok(frame)
}

fn save(folder: &Path, stem: &str, direction: &str, frame: &[u8]) -> io::Result<()> {
    std::fs::write(folder.join(format!("{stem}-{direction}.bin")), frame)
}

fn int16(frame: &[u8], at: usize) -> Option<i16> {
    frame
        .get(at..)?
        .first_chunk()
        .copied()
        .map(i16::from_be_bytes)
}

fn id(frame: &[u8], at: usize) -> Option<[u8; 4]> {
    frame.get(at..)?.first_chunk().copied()
}
