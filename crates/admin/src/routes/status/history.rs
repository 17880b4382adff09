//! The last minutes, kept in the process: points for charts, and what had been counted a minute ago.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

/// How often a point is kept.
pub(super) const PERIOD: Duration = Duration::from_secs(5);

/// Points that are kept: five minutes.
const POINTS: usize = 60;

/// One in so many points has totals by topic, user and kind of error, too, as there may be many of those.
const SPARSE: usize = 2;

/// "Lately" is at least so long, if the process is not younger.
const RECENT: Duration = Duration::from_secs(60);

/// What charts show of one moment. Numbers of events count from the start of the process.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Point {
    /// Seconds since 1970.
    pub(super) time: f64,
    /// From clients, to clients.
    pub(super) bytes: [f64; 2],
    /// Requests, and seconds that the gateway has added to them.
    pub(super) gateway: [f64; 2],
    /// The same for brokers.
    pub(super) kafka: [f64; 2],
    /// Of clients, to brokers.
    pub(super) connections: [f64; 2],
    /// Of the gateway, of brokers.
    pub(super) errors: [f64; 2],
    /// The greatest, in records.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lag: Option<f64>,
}

/// What has been counted, one by one. Bounded by the caps of the families.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals<V = f64> {
    /// By request, code and origin.
    pub(super) errors: HashMap<[Arc<str>; 3], V>,
    /// By topic and virtual cluster: bytes from clients, to clients.
    pub(super) topics: HashMap<[Arc<str>; 2], [V; 2]>,
    /// By user and virtual cluster: requests.
    pub(super) users: HashMap<[Arc<str>; 2], V>,
}

/// What is kept.
#[derive(Debug, Default)]
pub(super) struct History {
    points: VecDeque<Point>,
    totals: VecDeque<(Instant, Totals)>,
    added: usize,
}

impl History {
    /// Keeps one more moment, and lets the oldest go.
    pub(super) fn add(&mut self, at: Instant, point: Point, totals: Totals) {
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points.push_back(point);
        if self.added.is_multiple_of(SPARSE) {
            // The second one is old enough: nobody asks for the first any more.
            while self.totals.get(1).is_some_and(|(old, _)| is_old(*old, at)) {
                self.totals.pop_front();
            }
            self.totals.push_back((at, totals));
        }
        self.added = self.added.wrapping_add(1);
    }

    /// Oldest first.
    pub(super) fn points(&self) -> Vec<Point> {
        self.points.iter().copied().collect()
    }

    /// Over how many seconds lately is, and with each of `now` what was counted in it.
    pub(super) fn recent(&self, now: Totals, started: Instant) -> (f64, Totals<(f64, f64)>) {
        let at = Instant::now();
        let old = self.totals.iter().rev().find(|(old, _)| is_old(*old, at));
        // The process is younger: all that was counted is recent.
        let none = Totals::default();
        let (since, old) = old.map_or((started, &none), |(since, old)| (*since, old));
        let grown = Totals {
            errors: with(now.errors, &old.errors, grown),
            topics: with(now.topics, &old.topics, |[up, down], old| {
                [
                    grown(up, old.map(|old| &old[0])),
                    grown(down, old.map(|old| &old[1])),
                ]
            }),
            users: with(now.users, &old.users, grown),
        };
        (at.saturating_duration_since(since).as_secs_f64(), grown)
    }
}

fn is_old(old: Instant, now: Instant) -> bool {
    now.saturating_duration_since(old) >= RECENT
}

fn with<K: Eq + Hash, V, G>(
    now: HashMap<K, V>,
    old: &HashMap<K, V>,
    grown: impl Fn(V, Option<&V>) -> G,
) -> HashMap<K, G> {
    let now = now.into_iter();
    now.map(|(key, value)| {
        let grown = grown(value, old.get(&key));
        (key, grown)
    })
    .collect()
}

/// A series that was forgotten and came back counts from 0 again.
fn grown(now: f64, old: Option<&f64>) -> (f64, f64) {
    let old = old.copied().filter(|old| *old <= now).unwrap_or(0.0);
    (now, now - old)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(time: f64) -> Point {
        Point {
            time,
            bytes: [0.0; 2],
            gateway: [0.0; 2],
            kafka: [0.0; 2],
            connections: [0.0; 2],
            errors: [0.0; 2],
            lag: None,
        }
    }

    fn totals(count: f64) -> Totals {
        let key = ["user", "vcluster"].map(Arc::from);
        Totals {
            users: HashMap::from([(key, count)]),
            ..Totals::default()
        }
    }

    #[test]
    fn five_minutes_are_kept_and_the_last_one_is_told_apart() {
        let Some(start) = Instant::now().checked_sub(Duration::from_secs(3600)) else {
            return; // The machine was started just now.
        };
        let mut history = History::default();
        let of = |history: &History, count| {
            let (seconds, recent) = history.recent(totals(count), start);
            let users: Vec<_> = recent.users.into_values().collect();
            (seconds, users)
        };
        let (seconds, users) = of(&history, 7.0);
        assert!(seconds >= 3600.0, "all since the start");
        assert_eq!(users, [(7.0, 7.0)]);
        // The last sample is of now, and each has counted one more.
        let now = Instant::now();
        for i in 0..=700_u32 {
            let at = now - PERIOD * (700 - i);
            history.add(at, point(f64::from(i)), totals(f64::from(i)));
        }
        let points = history.points();
        assert_eq!(points.len(), POINTS);
        assert_eq!((points[0].time, points[POINTS - 1].time), (641.0, 700.0));
        let (seconds, users) = of(&history, 700.0);
        assert!((60.0..75.0).contains(&seconds), "{seconds}");
        assert_eq!(users, [(700.0, 12.0)]);
        assert!(history.totals.len() <= 8, "{}", history.totals.len());
        // It was forgotten meanwhile.
        assert_eq!(of(&history, 3.0).1, [(3.0, 3.0)]);
    }
}
