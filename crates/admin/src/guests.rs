//! The connections of the port, and which of them makes room when there are too many.
//!
//! Nobody waits for a place: a probe has to be answered within a second, whoever else is connected. Who asks nothing now makes
//! room first, the one that has been idle longest of the network with the most of them; then who is busy, of a network with many.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::oneshot;

use crate::access::network;

/// A request of a network that has no more connections than others may take this long while places are short.
const PATIENCE: Duration = Duration::from_secs(10);

/// All connections.
pub(crate) struct Guests {
    max: usize,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    taken: BTreeMap<u64, Guest>,
    next: u64,
}

struct Guest {
    network: IpAddr,
    /// Requests that are being answered.
    busy: usize,
    /// Since when it is busy, or idle.
    since: Instant,
    leave: oneshot::Sender<()>,
}

/// The place of one connection; given back when dropped.
pub(crate) struct Seat {
    guests: Arc<Guests>,
    number: u64,
}

/// A request of a connection that is being answered, until the last of its answer was taken.
struct Busy(Arc<Seat>);

/// Resolves when the connection has to make room.
pub(crate) type Leave = oneshot::Receiver<()>;

impl Guests {
    pub(crate) fn new(max: usize) -> Arc<Guests> {
        Arc::new(Guests {
            max,
            seats: Mutex::default(),
        })
    }

    /// Takes a place for a connection from `ip`. `None`: all others have a better right to theirs.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr, now: Instant) -> Option<(Arc<Seat>, Leave)> {
        let network = network(ip);
        let mut seats = self.seats();
        if seats.taken.len() >= self.max {
            let number = seats.who_leaves(network, now)?;
            if let Some(guest) = seats.taken.remove(&number) {
                let _ = guest.leave.send(());
            }
        }
        let (leave, told) = oneshot::channel();
        let number = seats.next;
        seats.next += 1;
        let guest = Guest {
            network,
            busy: 0,
            since: now,
            leave,
        };
        seats.taken.insert(number, guest);
        let guests = Arc::clone(self);
        Some((Arc::new(Seat { guests, number }), told))
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    fn who_leaves(&self, newcomer: IpAddr, now: Instant) -> Option<u64> {
        self.oldest_of_most(|guest| guest.busy == 0)
            .or_else(|| self.oldest_of_most(|guest| self.may_be_cut(guest, newcomer, now)))
    }

    fn may_be_cut(&self, guest: &Guest, newcomer: IpAddr, now: Instant) -> bool {
        let of = |network| {
            let guests = self.taken.values();
            guests.filter(|guest| guest.network == network).count()
        };
        of(guest.network) > of(newcomer) + 1
            || now.saturating_duration_since(guest.since) >= PATIENCE
    }

    /// Of those that fit, and of the network with the most of them, the one for which nothing has changed for the longest time.
    fn oldest_of_most(&self, fits: impl Fn(&Guest) -> bool) -> Option<u64> {
        let fitting: Vec<_> = self.taken.iter().filter(|(_, guest)| fits(guest)).collect();
        let mut crowds = HashMap::<IpAddr, usize>::new();
        for (_, guest) in &fitting {
            *crowds.entry(guest.network).or_default() += 1;
        }
        let (largest, _) = crowds
            .iter()
            .max_by_key(|(network, size)| (**size, **network))?;
        fitting
            .into_iter()
            .filter(|(_, guest)| guest.network == *largest)
            .min_by_key(|(_, guest)| guest.since)
            .map(|(number, _)| *number)
    }
}

impl Seat {
    /// Notes that a request is being answered; what is returned notes the end of it.
    pub(crate) fn begin(self: &Arc<Self>) -> impl Sized + use<> {
        self.change(|busy| busy + 1);
        Busy(Arc::clone(self))
    }

    fn change(&self, busy: impl Fn(usize) -> usize) {
        if let Some(guest) = self.guests.seats().taken.get_mut(&self.number) {
            guest.busy = busy(guest.busy);
            guest.since = Instant::now();
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.guests.seats().taken.remove(&self.number);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.change(|busy| busy.saturating_sub(1));
    }
}

/// A body that holds something until it was taken.
pub(crate) struct Holding<T> {
    body: Body,
    _held: T,
}

impl<T> Holding<T> {
    pub(crate) fn new(body: Body, held: T) -> Self {
        Self { body, _held: held }
    }
}

impl<T: Unpin> HttpBody for Holding<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn the_idle_make_room_and_the_busy_of_a_crowd_after_them() {
        let guests = Guests::new(4);
        let now = Instant::now();
        let enter = |last| guests.enter(ip(last), now);
        let mut crowd: Vec<_> = (0..3).map(|_| enter(1).expect("a place")).collect();
        let mut other = enter(2).expect("a place");
        let _first = crowd[0].0.begin();
        let _probe = enter(3).expect("somebody is idle");
        assert_eq!(crowd[1].1.try_recv(), Ok(()), "idle for longest");
        assert!(crowd[0].1.try_recv().is_err() && other.1.try_recv().is_err());

        let all: Vec<_> = [&crowd[0], &crowd[2], &other]
            .map(|(seat, _)| seat.begin())
            .into();
        let _probing = _probe.0.begin();
        let newcomer = enter(3);
        assert!(
            newcomer.is_none(),
            "all are busy, and two of three are no crowd"
        );
        assert!(enter(4).is_some(), "two are one too many for who has none");
        assert_eq!(crowd[0].1.try_recv(), Ok(()));
        drop(all);
    }

    #[test]
    fn a_place_is_given_back() {
        let guests = Guests::new(1);
        let first = guests.enter(ip(1), Instant::now()).expect("a place");
        let busy = first.0.begin();
        assert!(guests.enter(ip(1), Instant::now()).is_none());
        let later = Instant::now() + PATIENCE;
        assert!(guests.enter(ip(1), later).is_some(), "it takes too long");
        drop((busy, first));
        assert_eq!(guests.seats().taken.len(), 0);
    }
}
