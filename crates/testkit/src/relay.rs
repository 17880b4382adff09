//! TCP relays that count, delay, throttle, stall, swallow and cut.
//!
//! A relay stands in front of one address. What it does can be changed while connections run, for each
//! direction by itself.

use crate::owner::{self, Owner};
use crate::{Error, Result, wait};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The two ways through a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client that connected to the address behind.
    Up,
    /// Back to the client.
    Down,
}

/// What happens to bytes of one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They pass.
    Pass,
    /// Each chunk read waits this long first; order is kept.
    Delay(Duration),
    /// At most this many bytes per second pass on each connection.
    Throttle(u64),
    /// They wait until the mode changes; the sender feels it (back-pressure).
    Stall,
    /// They vanish; the sender feels nothing.
    Swallow,
}

/// What a relay does with new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// They are relayed.
    Open,
    /// They are closed at once.
    Closed,
    /// They are accepted and nothing more.
    Silent,
}

/// A relay on a loopback port of its own. Dropping it cuts everything.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Relay {
    /// A relay in front of `target` (`host:port`).
    ///
    /// # Errors
    /// No port could be bound.
    pub fn new(target: impl Into<String>) -> Result<Relay> {
        Relay::build(target.into(), false)
    }

    /// A relay that also finds out which process made each connection; see [`Relay::owners`].
    ///
    /// # Errors
    /// As [`Relay::new`].
    pub fn watching(target: impl Into<String>) -> Result<Relay> {
        Relay::build(target.into(), true)
    }

    fn build(target: String, watching: bool) -> Result<Relay> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("bind"))?;
        let address = listener.local_addr().map_err(Error::io("bind"))?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                target,
                up: Mode::Pass,
                down: Mode::Pass,
                door: Door::Open,
                ended: false,
                links: BTreeMap::new(),
                owners: BTreeMap::new(),
            }),
            changed: Condvar::new(),
            accepted: AtomicU64::new(0),
            bytes_up: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
            watching,
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept_loop(&listener, address, &accepting));
        Ok(Relay { address, shared })
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends new connections to another address from now on.
    pub fn set_target(&self, target: impl Into<String>) {
        self.shared.lock().target = target.into();
    }

    /// Sets what happens to the bytes of one way, on running connections too.
    pub fn set(&self, way: Way, mode: Mode) {
        let mut state = self.shared.lock();
        match way {
            Way::Up => state.up = mode,
            Way::Down => state.down = mode,
        }
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Sets what happens to both ways.
    pub fn set_both(&self, mode: Mode) {
        self.set(Way::Up, mode);
        self.set(Way::Down, mode);
    }

    /// Sets what happens to new connections.
    pub fn set_door(&self, door: Door) {
        self.shared.lock().door = door;
    }

    /// Closes all running connections at both ends.
    pub fn cut(&self) {
        let links: Vec<Link> = std::mem::take(&mut self.shared.lock().links)
            .into_values()
            .collect();
        for link in links {
            link.close();
        }
        self.shared.changed.notify_all();
    }

    /// Ends one way of all running connections: the receiver sees the end of the stream, the other way
    /// goes on.
    pub fn half_close(&self, way: Way) {
        for link in self.shared.lock().links.values() {
            let receiver = match way {
                Way::Up => link.server.as_ref(),
                Way::Down => Some(&link.client),
            };
            if let Some(receiver) = receiver {
                let _ = receiver.shutdown(Shutdown::Write);
            }
        }
    }

    /// Number of connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Number of connections running now.
    pub fn running(&self) -> usize {
        self.shared.lock().links.len()
    }

    /// Bytes that passed one way so far.
    pub fn bytes(&self, way: Way) -> u64 {
        self.shared.counter(way).load(Ordering::Relaxed)
    }

    /// Which processes made how many connections; only for [`Relay::watching`].
    pub fn owners(&self) -> BTreeMap<Owner, u64> {
        self.shared.lock().owners.clone()
    }

    /// Waits until `count` connections run.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub fn wait_for_running(&self, count: usize, limit: Duration) -> Result<()> {
        let what = format!("{count} connections through the relay");
        wait::until_true(&what, limit, || self.running() == count)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.cut();
        // Wakes the accept loop, so that it sees the end.
        let _ = TcpStream::connect(self.address);
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    accepted: AtomicU64,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    watching: bool,
}

#[derive(Debug)]
struct State {
    target: String,
    up: Mode,
    down: Mode,
    door: Door,
    ended: bool,
    links: BTreeMap<u64, Link>,
    owners: BTreeMap<Owner, u64>,
}

/// One relayed connection; `server` is missing while the door is silent.
#[derive(Debug)]
struct Link {
    client: TcpStream,
    server: Option<TcpStream>,
}

impl Link {
    fn close(&self) {
        for stream in [Some(&self.client), self.server.as_ref()]
            .into_iter()
            .flatten()
        {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counter(&self, way: Way) -> &AtomicU64 {
        match way {
            Way::Up => &self.bytes_up,
            Way::Down => &self.bytes_down,
        }
    }

    /// Waits until the bytes may go on; false if they may not at all.
    fn admit(&self, id: u64, way: Way, count: usize) -> Admission {
        let start = Instant::now();
        let mut state = self.lock();
        loop {
            if !state.links.contains_key(&id) {
                return Admission::Closed;
            }
            let pause = match if way == Way::Up { state.up } else { state.down } {
                Mode::Pass => return Admission::Pass,
                Mode::Swallow => return Admission::Swallow,
                Mode::Stall => Duration::from_secs(3600),
                Mode::Delay(delay) => delay,
                Mode::Throttle(rate) => Duration::from_secs_f64(count as f64 / rate.max(1) as f64),
            };
            let Some(rest) = pause
                .checked_sub(start.elapsed())
                .filter(|rest| !rest.is_zero())
            else {
                return Admission::Pass;
            };
            state = self
                .changed
                .wait_timeout(state, rest)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Small chunks make a throttled stream flow instead of jump.
    fn chunk(&self, way: Way) -> usize {
        let state = self.lock();
        match if way == Way::Up { state.up } else { state.down } {
            Mode::Throttle(rate) => usize::try_from(rate / 20).unwrap_or(CHUNK).clamp(1, CHUNK),
            _ => CHUNK,
        }
    }
}

enum Admission {
    Pass,
    Swallow,
    Closed,
}

const CHUNK: usize = 64 * 1024;

fn accept_loop(listener: &TcpListener, address: SocketAddr, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.lock().ended {
            return;
        }
        let Ok(client) = stream else { continue };
        let id = shared.accepted.fetch_add(1, Ordering::Relaxed);
        if shared.watching {
            let likely: Vec<u32> = shared
                .lock()
                .owners
                .keys()
                .filter_map(|owner| match owner {
                    Owner::Process { pid, .. } => Some(*pid),
                    Owner::Gone => None,
                })
                .collect();
            let look = || {
                client.peer_addr().map_or(Owner::Gone, |peer| {
                    owner::of_connection(peer, address, &likely)
                })
            };
            // The table of sockets is not read in one piece: a second look finds what the first one missed.
            let owner = match look() {
                Owner::Gone => look(),
                owner => owner,
            };
            if owner == Owner::Gone {
                // It was closed before it could be looked up, and nothing of it has been relayed: it bypassed nobody.
                continue;
            }
            *shared.lock().owners.entry(owner).or_default() += 1;
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || relay(id, client, &shared));
    }
}

fn relay(id: u64, client: TcpStream, shared: &Arc<Shared>) {
    let (door, target) = {
        let state = shared.lock();
        (state.door, state.target.clone())
    };
    let server = match door {
        Door::Closed => return,
        Door::Silent => None,
        Door::Open => match TcpStream::connect(&target) {
            Ok(server) => Some(server),
            Err(_) => return,
        },
    };
    let Ok(for_link) = client.try_clone() else {
        return;
    };
    let link = Link {
        client: for_link,
        server: server.as_ref().and_then(|server| server.try_clone().ok()),
    };
    {
        let mut state = shared.lock();
        if state.ended {
            return link.close();
        }
        state.links.insert(id, link);
    }
    let Some(server) = server else { return };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    if let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) {
        let upward = Arc::clone(shared);
        let up = thread::spawn(move || pump(id, Way::Up, from, to, &upward));
        pump(id, Way::Down, server, client, shared);
        let _ = up.join();
    }
    let link = shared.lock().links.remove(&id);
    if let Some(link) = link {
        link.close();
    }
}

/// Moves bytes one way until the stream ends; an error ends the whole link.
fn pump(id: u64, way: Way, mut from: TcpStream, mut to: TcpStream, shared: &Shared) {
    let mut buffer = vec![0; CHUNK];
    loop {
        let size = shared.chunk(way);
        let count = match from.read(&mut buffer[..size]) {
            Ok(0) => {
                // The end of the stream waits its turn like bytes do.
                if matches!(shared.admit(id, way, 0), Admission::Pass) {
                    let _ = to.shutdown(Shutdown::Write);
                }
                return;
            }
            Ok(count) => count,
            Err(_) => break,
        };
        match shared.admit(id, way, count) {
            Admission::Pass => {
                // Counted first, so that whoever receives the bytes finds them counted.
                shared
                    .counter(way)
                    .fetch_add(count as u64, Ordering::Relaxed);
                if to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            Admission::Swallow => {}
            Admission::Closed => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    /// A server that sends back what it gets, and a relay before it.
    fn echo_behind_relay() -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || {
                    let mut copy = stream.try_clone().unwrap();
                    let _ = std::io::copy(&mut copy, &mut stream);
                    let _ = stream.shutdown(Shutdown::Write);
                });
            }
        });
        Relay::watching(target).unwrap()
    }

    fn connect(relay: &Relay) -> TcpStream {
        let stream = TcpStream::connect(relay.address()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    fn echo(stream: &mut TcpStream) -> std::io::Result<()> {
        stream.write_all(b"ping")?;
        stream.read_exact(&mut [0; 4])
    }

    #[test]
    fn relays_and_counts() {
        let relay = echo_behind_relay();
        let mut stream = connect(&relay);
        echo(&mut stream).unwrap();
        assert_eq!((relay.accepted(), relay.running()), (1, 1));
        assert_eq!((relay.bytes(Way::Up), relay.bytes(Way::Down)), (4, 4));
        let owners = relay.owners();
        assert_eq!(owners.len(), 1);
        assert!(
            owners
                .keys()
                .all(|o| matches!(o, Owner::Process { pid, .. } if *pid == std::process::id()))
        );
        drop(stream);
        relay.wait_for_running(0, LIMIT).unwrap();
    }

    #[test]
    fn cut_ends_running_connections_and_leaves_the_door_open() {
        let relay = echo_behind_relay();
        let mut stream = connect(&relay);
        echo(&mut stream).unwrap();
        relay.cut();
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
        echo(&mut connect(&relay)).unwrap();
    }

    #[test]
    fn stalled_bytes_arrive_when_released() {
        let relay = echo_behind_relay();
        let mut stream = connect(&relay);
        relay.set(Way::Up, Mode::Stall);
        stream.write_all(b"ping").unwrap();
        relay.wait_for_running(1, LIMIT).unwrap();
        assert_eq!(relay.bytes(Way::Up), 0);
        relay.set(Way::Up, Mode::Pass);
        stream.read_exact(&mut [0; 4]).unwrap();
    }

    #[test]
    fn swallowed_bytes_never_arrive() {
        let relay = echo_behind_relay();
        let mut stream = connect(&relay);
        echo(&mut stream).unwrap();
        relay.set(Way::Down, Mode::Swallow);
        stream.write_all(b"lost").unwrap();
        wait::until_true("the bytes to go up", LIMIT, || relay.bytes(Way::Up) == 8).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        relay.wait_for_running(0, LIMIT).unwrap();
        assert_eq!(relay.bytes(Way::Down), 4);
    }

    #[test]
    fn half_close_leaves_the_other_way_open() {
        let relay = echo_behind_relay();
        let mut stream = connect(&relay);
        echo(&mut stream).unwrap();
        relay.half_close(Way::Down);
        assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
        stream.write_all(b"still").unwrap();
        wait::until_true("bytes to go up", LIMIT, || relay.bytes(Way::Up) == 9).unwrap();
    }

    #[test]
    fn a_closed_door_turns_clients_away() {
        let relay = echo_behind_relay();
        relay.set_door(Door::Closed);
        assert!(echo(&mut connect(&relay)).is_err());
        relay.set_door(Door::Silent);
        let silent = connect(&relay);
        relay.wait_for_running(1, LIMIT).unwrap();
        drop(silent);
    }

    #[test]
    fn throttle_and_delay_let_everything_through() {
        let relay = echo_behind_relay();
        relay.set(Way::Up, Mode::Throttle(1_000_000));
        relay.set(Way::Down, Mode::Delay(Duration::from_millis(5)));
        let mut stream = connect(&relay);
        let sent: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let mut writer = stream.try_clone().unwrap();
        let copy = sent.clone();
        let writing = thread::spawn(move || writer.write_all(&copy));
        let mut received = vec![0; sent.len()];
        stream.read_exact(&mut received).unwrap();
        writing.join().unwrap().unwrap();
        assert!(sent == received);
    }
}
