//! Which process holds the other end of a connection on this machine (Linux, `/proc`).

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// A process, as far as it could be identified.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// This process holds the socket.
    Process {
        /// Process id.
        pid: u32,
        /// Command name.
        command: String,
    },
    /// The socket was closed before it could be looked up.
    Gone,
}

/// The process whose socket is bound to `local` and connected to `remote`; asks the processes in
/// `likely` first.
pub fn of_connection(local: SocketAddr, remote: SocketAddr, likely: &[u32]) -> Owner {
    let (SocketAddr::V4(local), SocketAddr::V4(remote)) = (local, remote) else {
        return Owner::Gone;
    };
    let wanted = (local, remote);
    let Some(inode) = sockets()
        .into_iter()
        .find_map(|(ends, inode)| (ends == wanted).then_some(inode))
    else {
        return Owner::Gone;
    };
    likely
        .iter()
        .copied()
        .chain(all_processes())
        .find(|pid| holds_socket(*pid, inode))
        .map_or(Owner::Gone, |pid| Owner::Process {
            pid,
            command: fs::read_to_string(format!("/proc/{pid}/comm"))
                .unwrap_or_default()
                .trim()
                .to_owned(),
        })
}

/// Remote ends of all IPv4 TCP connections that one process holds now.
pub fn connections_of(pid: u32) -> Vec<SocketAddrV4> {
    let by_inode: HashMap<u64, SocketAddrV4> = sockets()
        .into_iter()
        .map(|((_, remote), inode)| (inode, remote))
        .collect();
    inodes_of(pid)
        .filter_map(|inode| by_inode.get(&inode).copied())
        .filter(|remote| remote.port() != 0)
        .collect()
}

/// All IPv4 TCP sockets with an owner: (local, remote) and inode.
fn sockets() -> Vec<((SocketAddrV4, SocketAddrV4), u64)> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| {
            table
                .lines()
                .skip(1)
                .filter_map(parse_row)
                .collect::<Vec<_>>()
        })
        .collect()
}

fn parse_row(row: &str) -> Option<((SocketAddrV4, SocketAddrV4), u64)> {
    let mut fields = row.split_whitespace().skip(1);
    let local = parse_address(fields.next()?)?;
    let remote = parse_address(fields.next()?)?;
    let inode: u64 = fields.nth(6)?.parse().ok()?;
    (inode != 0).then_some(((local, remote), inode))
}

/// `0100007F:1F90`, or the IPv4-mapped form a Java process shows in `tcp6`; the bytes of an address
/// stand in the machine's order.
fn parse_address(text: &str) -> Option<SocketAddrV4> {
    let (host, port) = text.split_once(':')?;
    let host = host.get(host.len().checked_sub(8)?..)?;
    let host = u32::from_str_radix(host, 16).ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(SocketAddrV4::new(Ipv4Addr::from(host.to_ne_bytes()), port))
}

fn all_processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn holds_socket(pid: u32, inode: u64) -> bool {
    inodes_of(pid).any(|held| held == inode)
}

fn inodes_of(pid: u32) -> impl Iterator<Item = u64> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let target = fs::read_link(entry.ok()?.path()).ok()?;
            let inode = target
                .to_str()?
                .strip_prefix("socket:[")?
                .strip_suffix(']')?;
            inode.parse().ok()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn finds_the_process_behind_a_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let owner = of_connection(peer, server.local_addr().unwrap(), &[]);
        assert!(matches!(owner, Owner::Process { pid, .. } if pid == std::process::id()));
        let SocketAddr::V4(remote) = client.peer_addr().unwrap() else {
            panic!("IPv4 asked for")
        };
        assert!(connections_of(std::process::id()).contains(&remote));
    }
}
