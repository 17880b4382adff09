//! The brake on guessing passwords, by address and by user name.
//!
//! An address that has failed lately takes turns: each attempt gets a time of its own, a pause after the one before, whether it
//! will be right or wrong, and however many connections they come on. Attempts on one user by all such addresses take turns as
//! well. What does not fit a short queue is refused at once. Who has not failed waits for nobody; neither does who has logged in
//! with this name from this address lately and has not failed often since, even if others guess behind the same address.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

/// Between two attempts, and before a failure is answered.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest that an attempt waits for its turn.
const MAX_WAIT: Duration = Duration::from_secs(1);
/// Attempts that wait at a time. Each of them holds a connection.
const MAX_WAITING: usize = 32;
/// An address is remembered for this long after its last failure.
const MEMORY: Duration = Duration::from_secs(15 * 60);
/// Addresses remembered at a time. While there are so many, all others take turns with each other.
const MAX_ADDRESSES: usize = 4096;
/// User names are told apart by this many hashes.
const NAMES: usize = 256;
/// How long a login vouches for the ones after it.
const TRUST: Duration = Duration::from_secs(3600);
/// Failures after which it does not any more.
const MAX_DOUBT: u32 = 3;
/// Pairs of address and user that are trusted at a time.
const MAX_TRUSTED: usize = 4096;

/// Who has to wait for whom.
#[derive(Debug)]
pub(crate) struct Throttle {
    state: Mutex<State>,
    hasher: RandomState,
}

/// There are too many attempts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overflow;

#[derive(Debug)]
struct State {
    failed: HashMap<IpAddr, Failed>,
    /// When those that `failed` has no room for may try.
    others_free_at: Instant,
    names_free_at: Vec<Instant>,
    trusted: HashMap<(IpAddr, Vec<u8>), Trusted>,
    waiting: usize,
}

#[derive(Debug)]
struct Failed {
    free_at: Instant,
    forget_at: Instant,
}

#[derive(Debug)]
struct Trusted {
    until: Instant,
    doubt: u32,
}

/// An attempt that waits for its turn.
struct Waiting<'a>(&'a Throttle);

impl Default for Throttle {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            state: Mutex::new(State {
                failed: HashMap::new(),
                others_free_at: now,
                names_free_at: vec![now; NAMES],
                trusted: HashMap::new(),
                waiting: 0,
            }),
            hasher: RandomState::new(),
        }
    }
}

impl Throttle {
    /// Waits until an attempt on `name` from `ip` may be checked.
    ///
    /// # Errors
    /// Too many are waiting already.
    pub(crate) async fn wait(&self, ip: IpAddr, name: &[u8]) -> Result<(), Overflow> {
        let turn = {
            let mut state = self.lock();
            let turn = state.turn(network(ip), name, self.hash(name))?;
            if let Some(turn) = turn {
                if state.waiting >= MAX_WAITING {
                    return Err(Overflow);
                }
                state.waiting += 1;
                Some((turn, Waiting(self)))
            } else {
                None
            }
        };
        if let Some((turn, _waiting)) = turn {
            sleep_until(turn).await;
        }
        Ok(())
    }

    /// The attempt was right.
    pub(crate) fn succeeded(&self, ip: IpAddr, name: &[u8]) {
        let now = Instant::now();
        let mut state = self.lock();
        if state.trusted.len() >= MAX_TRUSTED {
            state.trusted.retain(|_, trusted| trusted.until > now);
        }
        if state.trusted.len() < MAX_TRUSTED {
            let trusted = Trusted {
                until: now + TRUST,
                doubt: 0,
            };
            state.trusted.insert((network(ip), name.to_vec()), trusted);
        }
    }

    /// The attempt was wrong. Waits before it is answered.
    pub(crate) async fn failed(&self, ip: IpAddr, name: &[u8]) {
        self.lock().failed(network(ip), name, self.hash(name));
        sleep(PAUSE).await;
    }

    fn hash(&self, name: &[u8]) -> usize {
        (self.hasher.hash_one(name) % NAMES as u64) as usize
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}

impl State {
    /// When the next attempt may be checked; `None`: now, without taking turns.
    fn turn(
        &mut self,
        network: IpAddr,
        name: &[u8],
        hash: usize,
    ) -> Result<Option<Instant>, Overflow> {
        let now = Instant::now();
        let trusted = self.trusted.get(&(network, name.to_vec()));
        if trusted.is_some_and(|trusted| trusted.until > now) {
            return Ok(None);
        }
        let is_full = self.failed.len() >= MAX_ADDRESSES;
        let of_network = match self.failed.get_mut(&network) {
            Some(failed) if failed.forget_at > now => &mut failed.free_at,
            None if is_full => &mut self.others_free_at,
            _ => return Ok(None),
        };
        let Some(of_name) = self.names_free_at.get_mut(hash) else {
            return Ok(None);
        };
        let turn = now.max(*of_network).max(*of_name);
        if turn > now + MAX_WAIT {
            return Err(Overflow);
        }
        *of_network = turn + PAUSE;
        *of_name = turn + PAUSE;
        Ok(Some(turn))
    }

    fn failed(&mut self, network: IpAddr, name: &[u8], hash: usize) {
        let now = Instant::now();
        let key = (network, name.to_vec());
        if let Some(trusted) = self.trusted.get_mut(&key) {
            trusted.doubt += 1;
            if trusted.doubt > MAX_DOUBT {
                self.trusted.remove(&key);
            }
        }
        if self.failed.len() >= MAX_ADDRESSES {
            self.failed.retain(|_, failed| failed.forget_at > now);
        }
        let free_at = now + PAUSE;
        if self.failed.len() < MAX_ADDRESSES || self.failed.contains_key(&network) {
            let failed = self.failed.entry(network).or_insert(Failed {
                free_at,
                forget_at: now,
            });
            failed.free_at = failed.free_at.max(free_at);
            failed.forget_at = now + MEMORY;
        } else {
            self.others_free_at = self.others_free_at.max(free_at);
        }
        if let Some(of_name) = self.names_free_at.get_mut(hash) {
            *of_name = (*of_name).max(free_at);
        }
    }
}

/// IPv6 hosts own 64 bits of addresses; they count as one.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
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

    /// Begins an attempt for each address and name, all at once; gives when they may be checked, `None` for those that may not.
    async fn turns(throttle: &Throttle, attempts: &[(&str, &str)]) -> Vec<Option<Duration>> {
        let start = Instant::now();
        let mut running: Vec<_> = attempts
            .iter()
            .map(|(address, name)| {
                Box::pin(async move {
                    let outcome = throttle.wait(ip(address), name.as_bytes()).await;
                    outcome.ok().map(|()| start.elapsed())
                })
            })
            .collect();
        // As if each came on a connection of its own: all begin before the first one is over.
        let mut done = vec![None; running.len()];
        std::future::poll_fn(|context| {
            let mut is_pending = false;
            for (attempt, done) in running.iter_mut().zip(&mut done) {
                if done.is_none() {
                    match attempt.as_mut().poll(context) {
                        std::task::Poll::Ready(outcome) => *done = Some(outcome),
                        std::task::Poll::Pending => is_pending = true,
                    }
                }
            }
            match is_pending {
                true => std::task::Poll::Pending,
                false => std::task::Poll::Ready(()),
            }
        })
        .await;
        done.into_iter().flatten().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_failed_take_turns_and_the_rest_is_refused() {
        let throttle = Throttle::default();
        throttle.failed(ip("10.0.0.1"), b"ann").await;
        let many = [("10.0.0.1", "ann"); 30];
        let times = turns(&throttle, &many).await;
        let expected: Vec<_> = (0..30)
            .map(|turn| Some(turn * PAUSE).filter(|at| *at <= MAX_WAIT))
            .collect();
        assert_eq!(times, expected);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_the_failures_of_others() {
        let throttle = Throttle::default();
        throttle.failed(ip("10.0.0.1"), b"ann").await;
        let several = [("10.0.0.1", "bob"); 5];
        turns(&throttle, &several).await;
        let times = turns(
            &throttle,
            &[
                ("10.0.0.1", "bob"),
                ("10.0.0.2", "ann"),
                ("10.0.0.2", "bob"),
            ],
        )
        .await;
        let now = Some(Duration::ZERO);
        assert_eq!(times[1..], [now, now]);
        assert_ne!(times[0], now);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_that_failed_share_the_turns_of_a_user() {
        let throttle = Throttle::default();
        let [first, second] = ["10.0.0.1", "10.0.0.2"];
        throttle.failed(ip(first), b"ann").await;
        throttle.failed(ip(second), b"ann").await;
        let times = turns(
            &throttle,
            &[(first, "ann"), (second, "ann"), (first, "ann")],
        )
        .await;
        assert_eq!(times, [0, 1, 2].map(|turn| Some(turn * PAUSE)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_logged_in_does_not_wait_until_it_fails_often() {
        let throttle = Throttle::default();
        let here = ip("10.0.0.1");
        throttle.succeeded(here, b"ann");
        throttle.failed(here, b"bob").await;
        let several = [("10.0.0.1", "bob"); 5];
        turns(&throttle, &several).await;
        for _ in 0..MAX_DOUBT {
            let times = turns(&throttle, &[("10.0.0.1", "ann"); 2]).await;
            assert_eq!(times, [Some(Duration::ZERO); 2]);
            throttle.lock().failed(here, b"ann", 0);
        }
        throttle.lock().failed(here, b"ann", 0);
        let times = turns(&throttle, &[("10.0.0.1", "ann"); 2]).await;
        assert!(times[1] > times[0]);
    }

    #[tokio::test(start_paused = true)]
    async fn few_wait_at_a_time() {
        let throttle = Throttle::default();
        let names: Vec<String> = (0..100).map(|i| format!("10.0.1.{i}")).collect();
        for (i, name) in names.iter().enumerate() {
            throttle.lock().failed(ip(name), b"", i);
        }
        let attempts: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), name.as_str()))
            .collect();
        let times = turns(&throttle, &attempts).await;
        assert_eq!(times.iter().flatten().count(), MAX_WAITING);
        assert_eq!(throttle.lock().waiting, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let throttle = Throttle::default();
        for i in 0..MAX_ADDRESSES as u32 + 100 {
            let address = IpAddr::from((i + (10 << 24)).to_be_bytes());
            throttle.lock().failed(address, b"ann", 0);
            throttle.succeeded(address, b"ann");
        }
        let (failed, trusted) = {
            let state = throttle.lock();
            (state.failed.len(), state.trusted.len())
        };
        assert_eq!((failed, trusted), (MAX_ADDRESSES, MAX_TRUSTED));
        // Whoever is not remembered takes turns with the rest.
        let times = turns(&throttle, &[("10.9.0.1", "x"), ("10.9.0.2", "y")]).await;
        assert!(times[0] > Some(Duration::ZERO) && times[1] > times[0]);
        tokio::time::advance(MEMORY).await;
        throttle
            .lock()
            .failed(network(ip("2001:db8::1")), b"ann", 0);
        throttle
            .lock()
            .failed(network(ip("2001:db8::2")), b"ann", 0);
        let state = throttle.lock();
        assert_eq!(state.failed.len(), 1);
    }
}
