//! How many connections there may be, and who makes room when there is none.
//!
//! A connection is a stranger until its client has authenticated or, where nobody does, has sent a first valid request. Strangers
//! may take a part of the places only, and the one that has been silent longest makes room for a newcomer, so that nobody keeps
//! others out by connecting and saying nothing.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

/// A stranger of an address that has no more of them than others is left alone for this long.
const PATIENCE: Duration = Duration::from_secs(2);

/// Strangers that were told to leave and are open still.
const MAX_LEAVING: u32 = 64;

/// Strangers that there may always be, if there may be so many connections.
const FEW: u32 = 256;

/// Of the budget for buffers, one more stranger for each so many bytes: about twice what one takes, its free bytes included.
const BYTES_PER_STRANGER: u64 = 32 * 1024;

/// Counts connections in total and per client address, and knows the strangers among them.
pub(crate) struct Admission {
    max: u32,
    max_strangers: u32,
    max_per_ip: Option<u32>,
    counts: Mutex<Counts>,
    /// Somebody who was told to leave has left.
    left: Notify,
}

#[derive(Default)]
struct Counts {
    total: u32,
    leaving: u32,
    per_ip: HashMap<IpAddr, u32>,
    strangers: Strangers,
}

#[derive(Default)]
struct Strangers {
    total: u32,
    /// In the order in which they came.
    by_network: HashMap<IpAddr, BTreeMap<u64, Stranger>>,
    /// How many each network has, the most last.
    crowds: BTreeSet<(usize, IpAddr)>,
    next: u64,
}

struct Stranger {
    since: Instant,
    /// Tells its connection to leave.
    leave: oneshot::Sender<()>,
}

/// A place taken; given back when dropped.
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    ip: IpAddr,
    number: u64,
    known: Cell<bool>,
}

/// Resolves when a stranger has to make room. Never, once it is known.
pub(crate) type Leave = oneshot::Receiver<()>;

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// A limit is reached.
    Full,
    /// There is one as soon as somebody who was told to leave has left.
    Soon,
}

impl Admission {
    /// `buffers` is what all connections together may hold, in bytes: strangers must not be worth more.
    pub(crate) fn new(max: u32, max_per_ip: Option<u32>, buffers: u64) -> Self {
        let affordable = u32::try_from(buffers / BYTES_PER_STRANGER).unwrap_or(u32::MAX);
        Admission {
            max,
            max_strangers: (max / 2).min(affordable).max(FEW).min(max),
            max_per_ip,
            counts: Mutex::default(),
            left: Notify::new(),
        }
    }

    /// Takes a place for a client at `ip`.
    pub(crate) fn admit(
        self: &Arc<Self>,
        ip: IpAddr,
        now: Instant,
    ) -> Result<(Admitted, Leave), NoPlace> {
        let mut counts = self.counts();
        let same_ip = counts.per_ip.get(&ip).copied().unwrap_or(0);
        if self.max_per_ip.is_some_and(|max| same_ip >= max) {
            return Err(NoPlace::Full);
        }
        if counts.total >= self.max || counts.strangers.total >= self.max_strangers {
            if counts.leaving >= MAX_LEAVING {
                return Err(NoPlace::Soon);
            }
            if !counts.strangers.give_way(network(ip), now) {
                return Err(NoPlace::Full);
            }
            counts.total -= 1;
            counts.leaving += 1;
        }
        counts.total += 1;
        counts.per_ip.insert(ip, same_ip + 1);
        let (number, leave) = counts.strangers.add(network(ip), now);
        let admitted = Admitted {
            admission: self.clone(),
            ip,
            number,
            known: Cell::new(false),
        };
        Ok((admitted, leave))
    }

    /// Waits until somebody who was told to leave has left; not for long.
    pub(crate) async fn room(&self) {
        const PATIENCE: Duration = Duration::from_millis(100);
        let _ = tokio::time::timeout(PATIENCE, self.left.notified()).await;
    }

    /// Connections now.
    pub(crate) fn total(&self) -> u32 {
        self.counts().total
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Admitted {
    /// The client is no stranger any more. `false`: it was told to make room before.
    pub(crate) fn is_known(&self) -> bool {
        if self.known.get() {
            return true;
        }
        let mut counts = self.admission.counts();
        let was_stranger = counts.strangers.remove(network(self.ip), self.number);
        self.known.set(was_stranger);
        was_stranger
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.admission.counts();
        let has_place = self.known.get() || counts.strangers.remove(network(self.ip), self.number);
        match has_place {
            true => counts.total -= 1,
            false => {
                counts.leaving -= 1;
                self.admission.left.notify_one();
            }
        }
        if let Some(n) = counts.per_ip.get_mut(&self.ip) {
            *n -= 1;
            if *n == 0 {
                counts.per_ip.remove(&self.ip);
            }
        }
    }
}

impl Strangers {
    fn add(&mut self, network: IpAddr, since: Instant) -> (u64, Leave) {
        let (leave, told) = oneshot::channel();
        let number = self.next;
        self.next += 1;
        self.total += 1;
        let crowd = self.by_network.entry(network).or_default();
        self.crowds.remove(&(crowd.len(), network));
        crowd.insert(number, Stranger { since, leave });
        self.crowds.insert((crowd.len(), network));
        (number, told)
    }

    /// Whether it was there.
    fn remove(&mut self, network: IpAddr, number: u64) -> bool {
        let Some(crowd) = self.by_network.get_mut(&network) else {
            return false;
        };
        let before = crowd.len();
        if crowd.remove(&number).is_none() {
            return false;
        }
        self.total -= 1;
        self.crowds.remove(&(before, network));
        match crowd.len() {
            0 => drop(self.by_network.remove(&network)),
            now => drop(self.crowds.insert((now, network))),
        }
        true
    }

    /// Tells a stranger to leave: the oldest one of the network with the most. `false`: all of them have a right to stay.
    fn give_way(&mut self, newcomer: IpAddr, now: Instant) -> bool {
        let Some(&(size, network)) = self.crowds.last() else {
            return false;
        };
        let own = self.by_network.get(&newcomer).map_or(0, BTreeMap::len);
        let crowd = self.by_network.get_mut(&network);
        let Some(oldest) = crowd.and_then(|crowd| crowd.first_entry()) else {
            return false;
        };
        // Who logs in among many others of the same address must get to the end of it.
        let is_crowd = size > own + 1;
        if !is_crowd && now.saturating_duration_since(oldest.get().since) < PATIENCE {
            return false;
        }
        let number = *oldest.key();
        let (leave, _) = oneshot::channel();
        let leave = std::mem::replace(&mut oldest.into_mut().leave, leave);
        self.remove(network, number);
        leave.send(()).is_ok()
    }
}

/// Whom a share belongs to: an IPv4 address, or 64 bits of IPv6, which a host has at will.
pub(super) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}

/// Spaces out what may happen at most `per_second` times a second, with a burst of one second's worth.
pub(crate) struct Pace {
    interval: Duration,
    next: Instant,
}

impl Pace {
    pub(crate) fn new(per_second: u32) -> Self {
        Pace {
            interval: Duration::from_secs(1) / per_second.max(1),
            next: Instant::now(),
        }
    }

    /// How long to wait before the next one.
    pub(crate) fn delay(&mut self, now: Instant) -> Duration {
        let burst = Duration::from_secs(1);
        let earliest = now.checked_sub(burst).unwrap_or(now);
        let due = self.next.max(earliest);
        self.next = due + self.interval;
        due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLENTY: u64 = 1 << 40;

    fn ip(last: u8) -> IpAddr {
        [127, 0, 0, last].into()
    }

    fn known(admission: &Arc<Admission>, ip: IpAddr) -> Admitted {
        let (admitted, _) = admission.admit(ip, Instant::now()).expect("a place");
        admitted.is_known();
        admitted
    }

    #[test]
    fn places_are_given_back() {
        let admission = Arc::new(Admission::new(3, Some(2), PLENTY));
        let (a, b) = (ip(1), ip(2));
        let refused = |ip| admission.admit(ip, Instant::now()).err();
        let first = known(&admission, a);
        let _second = known(&admission, a);
        assert_eq!(refused(a), Some(NoPlace::Full), "two per address");
        let _third = known(&admission, b);
        assert_eq!(refused(b), Some(NoPlace::Full), "three in total");
        drop(first);
        assert_eq!(admission.total(), 2);
        let _again = known(&admission, a);
        assert_eq!(admission.total(), 3);
    }

    #[test]
    fn the_oldest_stranger_of_the_largest_crowd_makes_room() {
        let admission = Arc::new(Admission::new(4, None, PLENTY));
        let now = Instant::now();
        let enter = |last| admission.admit(ip(last), now);
        let mut crowd: Vec<_> = (0..3).map(|_| enter(1).expect("a place")).collect();
        let (_other, mut other) = enter(2).expect("a place");
        let _newcomer = enter(3).expect("the crowd makes room");
        assert_eq!(crowd[0].1.try_recv(), Ok(()), "the oldest");
        assert!(!crowd[0].0.is_known(), "too late");
        assert!(crowd[1].1.try_recv().is_err() && other.try_recv().is_err());
        assert_eq!(admission.total(), 4, "who leaves has no place any more");
        // Two against one are no crowd, and nobody has been silent for long.
        assert_eq!(enter(3).err(), Some(NoPlace::Full));
        let later = admission.admit(ip(3), now + PATIENCE);
        assert!(later.is_ok() && crowd[1].1.try_recv() == Ok(()));
        drop(crowd);
        assert_eq!(admission.total(), 3);
        assert_eq!(admission.counts().leaving, 0);
    }

    #[test]
    fn who_is_known_is_never_told_to_leave() {
        let admission = Arc::new(Admission::new(2, None, PLENTY));
        let now = Instant::now();
        let (first, mut told) = admission.admit(ip(1), now).expect("a place");
        first.is_known();
        let _second = known(&admission, ip(1));
        assert!(admission.admit(ip(2), now + 2 * PATIENCE).is_err());
        assert_ne!(told.try_recv(), Ok(()));
    }

    #[test]
    fn strangers_are_a_part_of_the_places() {
        let strangers = |max, buffers| Admission::new(max, None, buffers).max_strangers;
        assert_eq!(strangers(3, PLENTY), 3);
        assert_eq!(strangers(300, PLENTY), 256);
        assert_eq!(strangers(10_000, PLENTY), 5000);
        assert_eq!(strangers(10_000, 64 << 20), 2048);
        assert_eq!(strangers(10_000, 1 << 20), 256);
    }

    #[test]
    fn so_many_leave_at_a_time() {
        let admission = Arc::new(Admission::new(300, None, PLENTY));
        let now = Instant::now();
        let mut crowd: Vec<_> = (0..256)
            .map(|_| admission.admit(ip(1), now).expect("a place"))
            .collect();
        let others: Vec<_> = (0..MAX_LEAVING)
            .map(|_| admission.admit(ip(2), now).expect("a place"))
            .collect();
        let more = || admission.admit(ip(3), now).err();
        assert_eq!(more(), Some(NoPlace::Soon));
        crowd.remove(0);
        assert_eq!(more(), None);
        assert_eq!(others.len(), 64);
    }

    #[test]
    fn a_host_has_as_many_addresses_of_ipv6_as_it_likes() {
        let [a, b, c] = ["2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:1::1"]
            .map(|text| network(text.parse().expect("an address")));
        assert_eq!(a, b);
        assert_ne!(a, c);
        assert_eq!(
            network("::ffff:10.0.0.1".parse().expect("one")),
            network([10, 0, 0, 1].into())
        );
    }

    #[test]
    fn pace_allows_a_burst_and_then_spaces_out() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut pace = Pace::new(2);
        let delays: Vec<_> = (0..5).map(|_| pace.delay(start)).collect();
        assert_eq!(delays[..3], [Duration::ZERO; 3]);
        assert_eq!(delays[3], Duration::from_millis(500));
        assert_eq!(delays[4], Duration::from_secs(1));
    }
}
