//! Series by their labels, under caps.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::instrument::{Counter, Facet, Instrument, Kind, Moment, Samples};
use super::{ANONYMOUS, MetricsSettings, NONE, OTHER, PASSTHROUGH, UNKNOWN};
use crate::targets;

/// Series of one family, whatever the caps of its labels are.
const MAX_SERIES: usize = 50_000;
/// Pause between two warnings about one family.
const WARNING_PAUSE: Duration = Duration::from_secs(3600);
/// A series of a user that nobody can change any more ends this long after its last change, seconds.
const IDLE_USER: u64 = 24 * 3600;
/// A level of a user is not shown when it has been 0 for so long, seconds.
const IDLE_LEVEL: u64 = 300;

/// What is known of a family before anything is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// As in the text form 0.0.4.
    pub name: &'static str,
    /// What it shows; the first has the type of the family.
    pub facets: &'static [Facet],
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// The cap that the values of each label are under; as long as `labels`.
    pub domains: &'static [Option<Domain>],
    /// For people who read the scrape.
    pub help: &'static str,
}

impl Declaration {
    /// The type of the family.
    pub fn kind(&self) -> Kind {
        self.facets.first().map_or(Kind::Gauge, |facet| facet.kind)
    }
}

/// Label values that share a cap, over all families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Names of users, bounded by [`MetricsSettings::max_users`].
    Users,
    /// Names of virtual clusters, bounded by [`MetricsSettings::max_vclusters`].
    Vclusters,
}

/// Series of one kind, by the values of `N` labels.
#[derive(Debug)]
pub struct Family<I, const N: usize> {
    declaration: &'static Declaration,
    domains: Domains,
    series: RwLock<BTreeMap<Key<N>, Series<I>>>,
    /// Counts look-ups that did not get a series of their own.
    folds: Counter,
    warned: Mutex<Option<Instant>>,
}

type Key<const N: usize> = [Arc<str>; N];

#[derive(Debug, Default)]
struct Series<I> {
    instrument: I,
    /// What it showed when it was last looked at, and since when.
    shown: (u64, Moment),
    /// Not shown as long as it is 0.
    is_hidden: bool,
}

impl<I: Instrument> Series<I> {
    fn of(instrument: I) -> Self {
        Self {
            instrument,
            ..Self::default()
        }
    }

    fn is_visible(&self) -> bool {
        !self.is_hidden || self.instrument.value() != Some(0)
    }
}

impl<I: Instrument, const N: usize> Family<I, N> {
    pub(super) fn new(
        declaration: &'static Declaration,
        domains: &Domains,
        folds: Counter,
    ) -> Self {
        Self {
            declaration,
            domains: domains.clone(),
            series: RwLock::default(),
            folds,
            warned: Mutex::default(),
        }
    }

    /// The instrument of the series with these label values, in the order of the declaration; made at the first call. Beyond a
    /// cap, counters are shared under [`OTHER`] and gauges are not exposed.
    pub fn with(&self, values: [&str; N]) -> I {
        let mut folded = false;
        let mut position = self.declaration.domains.iter();
        let key = values.map(|value| {
            let domain = position.next().copied().flatten();
            match domain.map(|domain| self.domains.admit(domain, value)) {
                None => Arc::from(value),
                Some(Some(known)) => known,
                Some(None) => {
                    folded = true;
                    Arc::from(OTHER)
                }
            }
        });
        if !folded {
            let found = self.read(|series| series.get(&key).map(|found| found.instrument.clone()));
            if let Some(found) = found {
                return found;
            }
            if let Some(made) = self.insert(key.clone(), MAX_SERIES) {
                return made;
            }
        }
        self.fold(if folded {
            key
        } else {
            values.map(|_| Arc::from(OTHER))
        })
    }

    fn fold(&self, key: Key<N>) -> I {
        self.folded();
        match self.declaration.kind() {
            // A level of some that are not named means nothing.
            Kind::Gauge => I::default(),
            // One series more for each combination of the labels that are not folded, which are themselves bounded.
            _ => self.insert(key, usize::MAX).unwrap_or_default(),
        }
    }

    /// Shows `instrument`, which another family has too, as the series with these label values.
    pub(super) fn share(&self, values: [&str; N], instrument: &I) {
        self.attach(values.map(Arc::from), instrument);
    }

    /// Shows `instrument` as the series with these label values. Whoever calls keeps to a cap, and to [`Family::remove`].
    pub(super) fn attach(&self, key: [Arc<str>; N], instrument: &I) {
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        series.insert(key, Series::of(instrument.clone()));
    }

    /// Shows exactly these series from now on.
    pub fn replace(&self, current: impl IntoIterator<Item = ([String; N], I)>) {
        let current = current.into_iter().take(MAX_SERIES);
        let current = current.map(|(values, instrument)| {
            let key = values.map(|value| Arc::from(value.as_str()));
            (key, Series::of(instrument))
        });
        let current = current.collect();
        *self.series.write().unwrap_or_else(PoisonError::into_inner) = current;
    }

    /// Does not show a series any more; whether it was shown. Those who keep its instrument count for nobody.
    pub(super) fn remove(&self, values: [&str; N]) -> bool {
        let key = values.map(Arc::from);
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        series.remove(&key).is_some()
    }

    /// A series did not fit under a cap that is not this family's.
    pub(super) fn folded(&self) {
        self.folds.inc();
        self.warn();
    }

    fn insert(&self, key: Key<N>, limit: usize) -> Option<I> {
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        if series.len() >= limit && !series.contains_key(&key) {
            return None;
        }
        Some(series.entry(key).or_default().instrument.clone())
    }

    fn read<T>(&self, with: impl FnOnce(&BTreeMap<Key<N>, Series<I>>) -> T) -> T {
        with(&self.series.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn warn(&self) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|last| last.elapsed() >= WARNING_PAUSE) {
            *warned = Some(Instant::now());
            tracing::warn!(target: targets::METRICS, family = self.declaration.name,
                "a metric has reached its cap; further counters go to {OTHER}, further gauges are dropped");
        }
    }
}

/// A family, seen by the encoder.
pub(super) trait Exposed {
    fn declaration(&self) -> &'static Declaration;

    /// How many series there are.
    fn len(&self) -> usize;

    /// Ends series that have been idle for long, if those of this family do.
    fn sweep(&self, now: Moment);

    /// Calls `each` with label values and instrument of up to `limit` series behind `after`, in order, outside of any lock, and tells
    /// the last of them; `None` at the end.
    fn page(
        &self,
        facet: usize,
        after: Option<&[Arc<str>]>,
        limit: usize,
        each: Each<'_>,
    ) -> Result<Option<Vec<Arc<str>>>, fmt::Error>;
}

/// Writes one series: label values, and what gives its samples.
pub(super) type Each<'a> =
    &'a mut dyn FnMut(&[Arc<str>], &dyn Fn(Samples<'_>) -> fmt::Result) -> fmt::Result;

impl<I: Instrument, const N: usize> Exposed for Family<I, N> {
    fn declaration(&self) -> &'static Declaration {
        self.declaration
    }

    fn len(&self) -> usize {
        self.read(BTreeMap::len)
    }

    fn sweep(&self, now: Moment) {
        let domains = self.declaration.domains;
        let users = domains
            .iter()
            .position(|domain| *domain == Some(Domain::Users));
        let Some(users) = users else {
            return;
        };
        let is_level = self.declaration.kind() == Kind::Gauge;
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        series.retain(|key, series| {
            let Some(value) = series.instrument.value() else {
                return true;
            };
            if series.shown.0 != value || series.shown.1 == Moment::default() {
                series.shown = (value, now);
            }
            let idle = now.since(series.shown.1);
            series.is_hidden = is_level && value == 0 && idle >= IDLE_LEVEL;
            // There are few of those, and they are there from the start.
            let is_reserved = key
                .get(users)
                .is_some_and(|user| RESERVED.contains(&&**user));
            let is_over = series.is_hidden || (idle >= IDLE_USER && !is_reserved);
            !is_over || series.instrument.is_held()
        });
    }

    fn page(
        &self,
        facet: usize,
        after: Option<&[Arc<str>]>,
        limit: usize,
        each: Each<'_>,
    ) -> Result<Option<Vec<Arc<str>>>, fmt::Error> {
        let start: Option<Key<N>> = after.and_then(|values| values.to_vec().try_into().ok());
        let bounds = (
            start.map_or(Bound::Unbounded, Bound::Excluded),
            Bound::Unbounded,
        );
        let page: Vec<(Key<N>, I)> = self.read(|series| {
            let visible = series
                .range(bounds)
                .filter(|(_, series)| series.is_visible());
            let page = visible.take(limit);
            page.map(|(key, series)| (key.clone(), series.instrument.clone()))
                .collect()
        });
        for (key, instrument) in &page {
            each(key, &|samples| instrument.samples(facet, samples))?;
        }
        Ok(page
            .last()
            .filter(|_| page.len() == limit)
            .map(|(key, _)| key.to_vec()))
    }
}

/// Values that take no place under a cap.
const RESERVED: [&str; 5] = [UNKNOWN, NONE, OTHER, ANONYMOUS, PASSTHROUGH];

/// The values admitted to each [`Domain`].
#[derive(Clone, Debug)]
pub(super) struct Domains {
    /// `None`: no user has series of its own.
    users: Option<Arc<Admitted>>,
    vclusters: Arc<Admitted>,
}

#[derive(Debug)]
struct Admitted {
    limit: usize,
    values: RwLock<HashSet<Arc<str>>>,
}

impl Domains {
    pub(super) fn new(settings: &MetricsSettings) -> Self {
        let up_to = |limit| {
            Arc::new(Admitted {
                limit,
                values: RwLock::default(),
            })
        };
        Self {
            users: settings.users.then(|| up_to(settings.max_users)),
            vclusters: up_to(settings.max_vclusters),
        }
    }

    /// The value, if it fits under the cap, as it was admitted first.
    fn admit(&self, domain: Domain, value: &str) -> Option<Arc<str>> {
        if RESERVED.contains(&value) {
            return Some(Arc::from(value));
        }
        let admitted = match domain {
            Domain::Users => match &self.users {
                Some(users) => users,
                None => return Some(Arc::from(OTHER)),
            },
            Domain::Vclusters => &self.vclusters,
        };
        if let Some(known) = admitted
            .values
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(value)
        {
            return Some(Arc::clone(known));
        }
        let mut values = admitted
            .values
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = values.get(value) {
            return Some(Arc::clone(known));
        }
        if values.len() >= admitted.limit {
            return None;
        }
        let value: Arc<str> = Arc::from(value);
        values.insert(Arc::clone(&value));
        Some(value)
    }
}

impl Domains {
    /// Gives the places of values that no series has any more to others.
    pub(super) fn release(&self) {
        for admitted in self.users.iter().chain([&self.vclusters]) {
            let mut values = admitted
                .values
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            values.retain(|value| Arc::strong_count(value) > 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Catalogue, Format, Metrics};

    #[test]
    fn names_beyond_the_cap_are_counted_together() {
        let metrics = Metrics::new(&MetricsSettings {
            max_users: 2,
            ..MetricsSettings::default()
        });
        for name in ["a", "b", "c", "d", "a", UNKNOWN, NONE] {
            metrics.authentication_failed(name, "PLAIN", "r");
        }
        let family = &metrics.catalogue().failed_authentications;
        let counted = ["a", "b", OTHER, UNKNOWN, NONE].map(|name| family.with([name]).get());
        assert_eq!(counted, [2, 1, 2, 1, 1]);
        let text: String = metrics.encode(Format::Text).collect();
        let folded = "gateway_metrics_series_folded_total{family=\"gateway_failed_authentications_total\"} 2\n";
        assert!(text.contains(folded), "{text}");
    }

    #[test]
    fn a_family_has_a_cap_of_its_own() {
        let catalogue = Catalogue::new(&MetricsSettings::default());
        for i in 0..MAX_SERIES + 10 {
            catalogue
                .authorization_denied
                .with(["TOPIC", &i.to_string()])
                .inc();
            catalogue.certificate_expiry.with([&i.to_string()]).set(1.0);
        }
        assert_eq!(
            catalogue.authorization_denied.with([OTHER, OTHER]).get(),
            10
        );
        assert_eq!(
            catalogue.authorization_denied.read(BTreeMap::len),
            MAX_SERIES + 1
        );
        assert_eq!(catalogue.certificate_expiry.read(BTreeMap::len), MAX_SERIES);
    }

    #[test]
    fn other_mechanisms_share_a_series() {
        let metrics = Metrics::new(&MetricsSettings::default());
        for i in 0..100 {
            metrics.authentication_failed(
                UNKNOWN,
                &format!("MADE-UP-{i}"),
                "unsupported-mechanism",
            );
        }
        let detail = &metrics.catalogue().failed_authentications_detail;
        assert_eq!(detail.with([OTHER, "unsupported-mechanism"]).get(), 100);
        assert_eq!(detail.read(BTreeMap::len), 1);
    }

    #[test]
    fn series_of_users_end_when_they_are_idle() {
        let metrics = Metrics::new(&MetricsSettings {
            max_users: 2,
            ..MetricsSettings::default()
        });
        let catalogue = metrics.catalogue();
        let (failed, levels) = (&catalogue.failed_authentications, &catalogue.in_flight);
        let at = Moment::at_second;
        for user in ["a", "b"] {
            failed.with([user]).inc();
        }
        let held = failed.with(["b"]);
        let level = levels.with(["Fetch", PASSTHROUGH, "b"]).own();
        level.inc();
        drop(levels.with(["Produce", PASSTHROUGH, "b"]));
        let shown = || metrics.encode(Format::Text).collect::<String>();
        let has = |name: &str| shown().contains(name);
        catalogue.sweep(at(100));
        let fetch = "\ngateway_current_inflight_apiKeys{apiKeys=\"Fetch\"";
        assert!(has(fetch));
        level.dec();
        catalogue.sweep(at(200));
        catalogue.sweep(at(499));
        assert!(has(fetch));
        catalogue.sweep(at(500));
        assert!(!has(fetch), "0 for five minutes");
        assert_eq!(levels.len(), 1, "nobody can change the other one");
        level.inc();
        assert!(has(fetch), "no longer 0");
        let a = "gateway_failed_authentications_total{username=\"a\"}";
        let b = "gateway_failed_authentications_total{username=\"b\"}";
        catalogue.sweep(at(100 + IDLE_USER - 1));
        assert!(has(a) && has(b));
        catalogue.sweep(at(100 + IDLE_USER));
        assert!(!has(a) && has(b), "somebody may still count for b");
        assert!(has("{username=\"<unknown>\"} 0"), "known from the start");
        failed.with(["c"]).inc();
        assert!(has("{username=\"c\"} 1"), "the place of a");
        held.inc();
        failed.with(["d"]).inc();
        assert_eq!((held.get(), failed.with([OTHER]).get()), (2, 1));
    }

    #[test]
    fn users_may_be_left_out() {
        let metrics = Metrics::new(&MetricsSettings {
            users: false,
            ..MetricsSettings::default()
        });
        let clients = metrics.clients();
        let (a, b) = (clients.get("v", "a"), clients.get("v", "b"));
        let fetch = crate::metrics::Api {
            key: 1,
            name: "Fetch",
        };
        for client in [&a, &b] {
            client.accepted(fetch);
            client.owed(fetch);
        }
        let text: String = metrics.encode(Format::Text).collect();
        for line in [
            "gateway_current_inflight_apiKeys_total{apiKeys=\"Fetch\",vcluster=\"v\",username=\"<other>\"} 2\n",
            "gateway_current_inflight_apiKeys{apiKeys=\"Fetch\",vcluster=\"v\",username=\"<other>\"} 2\n",
            "gateway_metrics_series_folded_total{family=\"gateway_current_inflight_apiKeys_total\"} 0\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn replaced_series() {
        let catalogue = Catalogue::new(&MetricsSettings::default());
        let counts = |classes: &[&str]| {
            let family = &catalogue.lived_class_instances;
            family.replace(
                classes
                    .iter()
                    .map(|class| ([class.to_string()], Default::default())),
            );
            family.read(|series| {
                series
                    .keys()
                    .map(|[class]| class.to_string())
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(counts(&["a", "b"]), ["a", "b"]);
        assert_eq!(counts(&["b", "c"]), ["b", "c"]);
    }

    #[test]
    fn pages_give_every_series_once() {
        let catalogue = Catalogue::new(&MetricsSettings::default());
        for i in 0..10 {
            catalogue
                .authorization_denied
                .with(["TOPIC", &i.to_string()])
                .inc();
        }
        for limit in [1, 3, 5, 10, 11] {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page = catalogue.authorization_denied.page(
                    0,
                    after.as_deref(),
                    limit,
                    &mut |values, _| {
                        seen.push(values[1].to_string());
                        Ok(())
                    },
                );
                after = page.expect("written");
                if after.is_none() {
                    break;
                }
            }
            let expected: Vec<_> = (0..10).map(|i| i.to_string()).collect();
            assert_eq!(seen, expected, "{limit}");
        }
    }
}
