//! Bounds on how many records of one kind are written.
//!
//! Whoever can cause the events (failed logins, say) can then fill neither the log nor the disk, nor keep the records of what others do
//! out of it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Records are counted for so long.
const WINDOW: Duration = Duration::from_secs(1);

/// What was suppressed is told after so long, if no record has told it before.
const TOLD_AFTER: Duration = Duration::from_secs(10);

/// An event that has not happened for so long is a first one when it does.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// Sums that are told at a time; others are told the next time.
const MAX_TOLD: usize = 100;

/// Bytes of a name that are kept.
const MAX_NAME: usize = 256;

/// What stands for sources and events that have no place of their own.
const OTHERS: &str = "<others>";

/// Lets the first event of each source through, then so many per second, and counts the rest.
///
/// A source is somebody who causes events: a client's address, a user. Events of one source are told apart by a name, too. How many are
/// told apart is bounded in total and for each source; those beyond are counted together, as `<others>`.
#[derive(Debug)]
pub struct FloodGate {
    limits: FloodLimits,
    state: Mutex<State>,
}

/// Bounds of a [`FloodGate`].
#[derive(Clone, Copy, Debug)]
pub struct FloodLimits {
    /// Records per second of one event of one source.
    pub per_event: u32,
    /// Records per second, those of first events not refused.
    pub total: u32,
    /// Events of one source that are told apart.
    pub per_source: usize,
    /// Events of all sources that are told apart.
    pub events: usize,
}

/// How often an event was suppressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppressed {
    /// Who caused it.
    pub source: String,
    /// What it was.
    pub event: String,
    /// Since the last record of it.
    pub count: u64,
}

#[derive(Debug)]
struct State {
    sources: BTreeMap<Box<str>, Source>,
    /// In all of `sources`.
    events: usize,
    /// Of those that have no place.
    others: Tally,
    total: Tally,
}

#[derive(Debug, Default)]
struct Source {
    events: BTreeMap<Box<str>, Tally>,
    others: Tally,
}

/// The records of one event.
#[derive(Debug)]
struct Tally {
    begun: Option<Instant>,
    admitted: u32,
    suppressed: u64,
    /// When it happened last.
    seen: Option<Instant>,
    /// Since when something is suppressed that was not told.
    since: Option<Instant>,
}

impl FloodGate {
    /// A gate with these bounds.
    pub const fn new(limits: FloodLimits) -> Self {
        Self {
            limits,
            state: Mutex::new(State {
                sources: BTreeMap::new(),
                events: 0,
                others: Tally::NONE,
                total: Tally::NONE,
            }),
        }
    }

    /// Whether to record an event that happens at `now`: `Some` with the number of such events that were suppressed since the last one
    /// that was recorded, to be told with it; `None` to suppress this one.
    pub fn admit(&self, source: &str, event: &str, now: Instant) -> Option<u64> {
        let (source, event) = (cut(source), cut(event));
        let limits = self.limits;
        let mut state = self.state();
        let State {
            sources,
            events,
            others,
            total,
        } = &mut *state;
        let is_room = *events < limits.events;
        if is_room && !sources.contains_key(source) {
            sources.insert(source.into(), Source::default());
        }
        let tally = match sources.get_mut(source) {
            None => others,
            Some(of) => {
                if is_room && of.events.len() < limits.per_source && !of.events.contains_key(event)
                {
                    of.events.insert(event.into(), Tally::NONE);
                    *events += 1;
                }
                match of.events.get_mut(event) {
                    None => &mut of.others,
                    Some(tally) => tally,
                }
            }
        };
        let is_first = tally.seen.is_none();
        let admitted = tally.has_room(limits.per_event, now) && total.has_room(limits.total, now);
        tally.take(is_first || admitted, now).inspect(|_| {
            total.take(true, now);
        })
    }

    /// What was suppressed some time ago and told by no record since. Forgets what has not happened for long. To be called about every
    /// second.
    pub fn overdue(&self, now: Instant) -> Vec<Suppressed> {
        let is_overdue = |since: Instant| now.saturating_duration_since(since) >= TOLD_AFTER;
        self.tell(now, MAX_TOLD, |tally| tally.since.is_some_and(is_overdue))
    }

    /// All that was suppressed and told by no record.
    pub fn rest(&self, now: Instant) -> Vec<Suppressed> {
        self.tell(now, usize::MAX, |tally| tally.suppressed > 0)
    }

    fn tell(&self, now: Instant, max: usize, is_due: impl Fn(&Tally) -> bool) -> Vec<Suppressed> {
        let mut told = Vec::new();
        let mut tell = |source: &str, event: &str, tally: &mut Tally| {
            if told.len() < max && is_due(tally) {
                told.push(Suppressed {
                    source: source.to_owned(),
                    event: event.to_owned(),
                    count: std::mem::take(&mut tally.suppressed),
                });
                tally.since = None;
            }
        };
        let mut state = self.state();
        let State {
            sources,
            events,
            others,
            ..
        } = &mut *state;
        tell(OTHERS, OTHERS, others);
        for (name, source) in sources.iter_mut() {
            tell(name, OTHERS, &mut source.others);
            for (event, tally) in &mut source.events {
                tell(name, event, tally);
            }
            let before = source.events.len();
            source.events.retain(|_, tally| tally.is_remembered(now));
            *events -= before - source.events.len();
        }
        sources.retain(|_, source| !source.events.is_empty() || source.others.is_remembered(now));
        told
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    const NONE: Tally = Tally {
        begun: None,
        admitted: 0,
        suppressed: 0,
        seen: None,
        since: None,
    };

    /// Whether one more may be recorded in this window.
    fn has_room(&mut self, limit: u32, now: Instant) -> bool {
        let is_over = |begun: Instant| now.saturating_duration_since(begun) >= WINDOW;
        if self.begun.is_none_or(is_over) {
            self.begun = Some(now);
            self.admitted = 0;
        }
        self.admitted < limit
    }

    /// Counts an event; gives what it has to tell if it is recorded.
    fn take(&mut self, recorded: bool, now: Instant) -> Option<u64> {
        self.seen = Some(now);
        if !recorded {
            self.suppressed = self.suppressed.saturating_add(1);
            self.since.get_or_insert(now);
            return None;
        }
        self.admitted = self.admitted.saturating_add(1);
        self.since = None;
        Some(std::mem::take(&mut self.suppressed))
    }

    fn is_remembered(&self, now: Instant) -> bool {
        let is_long_ago = |seen: Instant| now.saturating_duration_since(seen) >= FORGOTTEN_AFTER;
        self.suppressed > 0 || !self.seen.is_none_or(is_long_ago)
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::NONE
    }
}

/// What stands for a client's address: whoever has one IPv6 address has a network of 2^64 of them.
pub fn address_source(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            format!("{}/64", Ipv6Addr::from(network))
        }
    }
}

fn cut(name: &str) -> &str {
    name.get(..name.floor_char_boundary(MAX_NAME))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FloodLimits = FloodLimits {
        per_event: 3,
        total: 5,
        per_source: 2,
        events: 4,
    };

    /// A gate and a clock that is read in milliseconds.
    struct Bench {
        gate: FloodGate,
        start: Instant,
    }

    impl Bench {
        fn new() -> Bench {
            Bench {
                gate: FloodGate::new(LIMITS),
                start: Instant::now(),
            }
        }

        fn at(&self, millis: u64, source: &str, event: &str) -> Option<u64> {
            let now = self.start + Duration::from_millis(millis);
            self.gate.admit(source, event, now)
        }

        fn overdue(&self, seconds: u64) -> Vec<(String, String, u64)> {
            let told = self.gate.overdue(self.start + Duration::from_secs(seconds));
            let plain = told
                .into_iter()
                .map(|told| (told.source, told.event, told.count));
            plain.collect()
        }

        fn is_empty(&self) -> bool {
            let state = self.gate.state();
            state.sources.is_empty() && state.events == 0
        }
    }

    fn told(source: &str, event: &str, count: u64) -> (String, String, u64) {
        (source.to_owned(), event.to_owned(), count)
    }

    #[test]
    fn so_many_per_second_and_the_rest_is_told_with_the_next() {
        let bench = Bench::new();
        let at = |millis| bench.at(millis, "a", "x");
        assert_eq!(
            [at(0), at(1), at(500), at(600), at(999)],
            [Some(0), Some(0), Some(0), None, None]
        );
        assert_eq!([at(1000), at(1001)], [Some(2), Some(0)]);
        // A clock that is read out of order does no harm.
        assert_eq!([at(0), at(1002), at(2000)], [Some(0), None, Some(1)]);
    }

    #[test]
    fn a_flood_hides_nobody_else() {
        let bench = Bench::new();
        let flood: Vec<_> = (0..1000).map(|at| bench.at(at / 2, "a", "x")).collect();
        assert_eq!(flood.iter().flatten().count(), 3);
        // The first of others, and of something else of the same source.
        assert_eq!(bench.at(500, "b", "x"), Some(0));
        assert_eq!(bench.at(500, "a", "y"), Some(0));
        assert_eq!(bench.at(500, "c", "z"), Some(0), "beyond the total");
        // What is no first has to share.
        assert_eq!(bench.at(501, "b", "x"), None);
        assert_eq!(bench.at(1502, "b", "x"), Some(1));
    }

    #[test]
    fn names_without_end_share_a_place() {
        let bench = Bench::new();
        // Events of one source.
        let made_up: Vec<_> = (0..50).map(|n| bench.at(0, "a", &n.to_string())).collect();
        assert_eq!(
            made_up.iter().flatten().count(),
            5,
            "two, and three of the rest"
        );
        assert_eq!(bench.at(0, "b", "x"), Some(0));
        assert_eq!(bench.at(0, "c", "x"), Some(0));
        // Sources: there is no room any more, but for the first one.
        let made_up: Vec<_> = (0..50)
            .map(|n| bench.at(0, &format!("d{n}"), "x"))
            .collect();
        assert_eq!(made_up.iter().flatten().count(), 1);
        // What has a place keeps it.
        assert_eq!(bench.at(1000, "b", "x"), Some(0));
        assert_eq!(
            bench.overdue(10),
            [told(OTHERS, OTHERS, 49), told("a", OTHERS, 45)]
        );
    }

    #[test]
    fn what_is_suppressed_is_told_even_if_nothing_more_happens() {
        let bench = Bench::new();
        for at in 0..10 {
            bench.at(at, "a", "x");
        }
        assert_eq!(bench.overdue(9), []);
        assert_eq!(bench.overdue(11), [told("a", "x", 7)]);
        assert_eq!(bench.overdue(12), []);
        // Nothing is left of it in the end.
        assert!(!bench.is_empty());
        bench.overdue(61);
        assert!(bench.is_empty());
        assert_eq!(bench.at(62_000, "a", "x"), Some(0));
    }

    #[test]
    fn a_flood_that_goes_on_is_told_of_now_and_then() {
        let bench = Bench::new();
        let mut recorded = 0;
        let mut counted = 0;
        for second in 0..30 {
            for n in 0..100 {
                if let Some(more) = bench.at(second * 1000 + n, "a", "x") {
                    (recorded, counted) = (recorded + 1, counted + more);
                }
            }
            assert_eq!(bench.overdue(second), []);
        }
        let rest = bench.gate.rest(bench.start + Duration::from_secs(30));
        assert_eq!(rest.len(), 1);
        assert_eq!((recorded, counted + rest[0].count), (90, 3000 - 90));
    }

    #[test]
    fn long_names_are_cut() {
        let bench = Bench::new();
        let long = "é".repeat(MAX_NAME);
        for _ in 0..9 {
            bench.at(0, &long, &long);
        }
        let told = bench.overdue(10);
        assert!(told[0].0.len() <= MAX_NAME && told[0].1.len() <= MAX_NAME);
    }

    #[test]
    fn who_has_a_network_is_one_source() {
        for (address, source) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ] {
            assert_eq!(address_source(address.parse().unwrap()), source);
        }
    }
}
