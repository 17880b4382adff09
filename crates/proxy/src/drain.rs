//! Ending gracefully: broker by broker, as a rolling restart of the cluster would look to clients.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::cluster::Target;

/// Which connections are to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drain {
    /// None.
    Not,
    /// Those bound to brokers up to this id.
    UpTo(i32),
    /// All.
    All,
}

impl Drain {
    pub(crate) fn concerns(self, target: Target) -> bool {
        match (self, target) {
            (Drain::Not, _) | (Drain::UpTo(_), Target::Bootstrap) => false,
            (Drain::UpTo(last), Target::Broker(id)) => id <= last,
            (Drain::All, _) => true,
        }
    }
}

/// Counts connections per target.
#[derive(Default)]
pub(crate) struct Places {
    counts: Mutex<BTreeMap<Option<i32>, usize>>,
    left: Notify,
}

/// One connection's entry; removed when dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    key: Option<i32>,
}

impl Places {
    pub(crate) fn enter(self: &Arc<Self>, target: Target) -> Place {
        let key = match target {
            Target::Broker(id) => Some(id),
            Target::Bootstrap => None,
        };
        *self.lock().entry(key).or_default() += 1;
        Place {
            places: self.clone(),
            key,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Option<i32>, usize>> {
        self.counts.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn concerned(&self, drain: Drain) -> usize {
        self.lock()
            .iter()
            .filter(|(key, _)| drain.concerns(key.map_or(Target::Bootstrap, Target::Broker)))
            .map(|(_, n)| n)
            .sum()
    }

    fn broker_ids(&self) -> Vec<i32> {
        self.lock().keys().flatten().copied().collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.places.lock();
        if let Some(n) = counts.get_mut(&self.key) {
            *n -= 1;
            if *n == 0 {
                counts.remove(&self.key);
            }
        }
        drop(counts);
        self.places.left.notify_waiters();
    }
}

/// Ends all connections: for each broker in id order, then those bound to none. Waits up to `patience` in total for
/// answers in flight, and `pause` after each broker. Returns how many connections had to be cut.
pub(crate) async fn drain(
    places: &Places,
    signal: &watch::Sender<Drain>,
    patience: Duration,
    pause: Duration,
) -> usize {
    let mut deadline = Instant::now() + patience;
    for id in places.broker_ids() {
        signal.send_replace(Drain::UpTo(id));
        settle(places, Drain::UpTo(id), deadline).await;
        if !pause.is_zero() {
            sleep(pause).await;
            deadline += pause; // the pause does not eat the time for answers
        }
    }
    signal.send_replace(Drain::All);
    settle(places, Drain::All, deadline).await;
    places.concerned(Drain::All)
}

async fn settle(places: &Places, drain: Drain, deadline: Instant) {
    loop {
        let left = places.left.notified();
        if places.concerned(drain) == 0 || timeout_at(deadline, left).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_in_order_then_the_rest() {
        assert!(!Drain::Not.concerns(Target::Broker(0)));
        assert!(Drain::UpTo(1).concerns(Target::Broker(1)));
        assert!(!Drain::UpTo(1).concerns(Target::Broker(2)));
        assert!(!Drain::UpTo(9).concerns(Target::Bootstrap));
        assert!(Drain::All.concerns(Target::Bootstrap));
    }

    #[tokio::test]
    async fn waits_for_connections_and_reports_what_is_left() {
        let places = Arc::new(Places::default());
        let signal = watch::Sender::new(Drain::Not);
        let one = places.enter(Target::Broker(1));
        let _stuck = places.enter(Target::Bootstrap);
        let mut seen = signal.subscribe();
        tokio::spawn(async move {
            while !seen.borrow_and_update().concerns(Target::Broker(1)) {
                seen.changed().await.unwrap();
            }
            drop(one);
        });
        let cut = drain(&places, &signal, Duration::from_millis(50), Duration::ZERO).await;
        assert_eq!(cut, 1);
    }
}
