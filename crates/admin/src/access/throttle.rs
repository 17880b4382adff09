//! A pause after a wrong password, by address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How long an address has to wait after a failure.
const PAUSE: Duration = Duration::from_millis(100);
/// Addresses remembered at a time. A failure answers late even if its address is not remembered.
const MAX_ADDRESSES: usize = 4096;

/// When each address may try again. Nobody is ever locked out, and no address waits for another one.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    free_at: Mutex<HashMap<IpAddr, Instant>>,
}

impl Throttle {
    /// Waits until the pause after the last failure of this address is over.
    pub(crate) async fn wait(&self, ip: IpAddr) {
        let free_at = self.lock().get(&network(ip)).copied();
        if let Some(free_at) = free_at {
            sleep_until(free_at).await;
        }
    }

    /// Begins a pause for this address and waits for its end.
    pub(crate) async fn failed(&self, ip: IpAddr) {
        let now = Instant::now();
        let free_at = now + PAUSE;
        {
            let mut addresses = self.lock();
            if addresses.len() >= MAX_ADDRESSES {
                addresses.retain(|_, free_at| *free_at > now);
            }
            if addresses.len() < MAX_ADDRESSES {
                addresses.insert(network(ip), free_at);
            }
        }
        sleep_until(free_at).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.free_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// IPv6 hosts own 64 bits of addresses; they count as one.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_address_that_failed_waits_and_only_once() {
        let throttle = Throttle::default();
        let start = Instant::now();
        throttle.wait(ip("10.0.0.1")).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        let other = async {
            tokio::task::yield_now().await;
            throttle.wait(ip("10.0.0.2")).await;
            start.elapsed()
        };
        let same = async {
            tokio::task::yield_now().await;
            throttle.wait(ip("::ffff:10.0.0.1")).await;
            start.elapsed()
        };
        let ((), other, same) = tokio::join!(throttle.failed(ip("10.0.0.1")), other, same);
        assert_eq!((other, same), (Duration::ZERO, PAUSE));
        throttle.wait(ip("10.0.0.1")).await;
        assert_eq!(start.elapsed(), PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let throttle = Throttle::default();
        let attempts =
            (0..MAX_ADDRESSES as u32 + 100).map(|i| throttle.failed(IpAddr::from(i.to_be_bytes())));
        let mut running: Vec<_> = attempts.map(Box::pin).collect();
        std::future::poll_fn(|context| {
            for attempt in &mut running {
                assert!(attempt.as_mut().poll(context).is_pending());
            }
            std::task::Poll::Ready(())
        })
        .await;
        assert_eq!(throttle.lock().len(), MAX_ADDRESSES);
        tokio::time::advance(PAUSE).await;
        throttle.failed(ip("2001:db8::1")).await;
        throttle.failed(ip("2001:db8::2")).await;
        assert_eq!(throttle.lock().len(), 1);
    }
}
