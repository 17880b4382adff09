//! Free TCP ports for servers that bind by number.
//!
//! The ports lie below the ephemeral range, so that an outgoing connection of any process cannot
//! take one between the probe here and the bind of the server.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

const LOW: u16 = 12_000;
const HIGH: u16 = 32_000;

/// One free port on loopback.
pub fn free() -> u16 {
    range(1)
}

/// The first of `count` consecutive free ports on loopback. No port is handed out twice by one
/// process until the whole range was used.
///
/// # Panics
/// If there are no `count` consecutive free ports.
pub fn range(count: u16) -> u16 {
    static NEXT: Mutex<Option<u16>> = Mutex::new(None);
    let mut next = NEXT
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut candidate = next.unwrap_or_else(first_candidate);
    for _ in LOW..HIGH {
        if candidate + count > HIGH {
            candidate = LOW;
        }
        match (candidate..candidate + count).find(|port| !is_free(*port)) {
            None => {
                *next = Some(candidate + count);
                return candidate;
            }
            Some(taken) => candidate = taken + 1,
        }
    }
    panic!("no {count} consecutive free ports between {LOW} and {HIGH}");
}

/// Test processes that run side by side start at different places.
fn first_candidate() -> u16 {
    let spread = u32::from(HIGH - LOW);
    LOW + u16::try_from(std::process::id().wrapping_mul(797) % spread).unwrap_or(0)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn ranges_do_not_overlap() {
        let first = super::range(5);
        let second = super::range(5);
        assert!(second >= first + 5 || second + 5 <= first);
    }
}
