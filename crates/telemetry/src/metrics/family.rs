//! Series by their labels, under caps.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::instrument::{Counter, Facet, Instrument, Kind, Samples};
use super::{ANONYMOUS, MetricsSettings, NONE, OTHER, PASSTHROUGH, UNKNOWN};
use crate::targets;

/// Series of one family, whatever the caps of its labels are.
const MAX_SERIES: usize = 50_000;
/// Pause between two warnings about one family.
const WARNING_PAUSE: Duration = Duration::from_secs(3600);

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
    series: RwLock<BTreeMap<Key<N>, I>>,
    /// Counts look-ups that did not get a series of their own.
    folds: Counter,
    warned: Mutex<Option<Instant>>,
}

type Key<const N: usize> = [Arc<str>; N];

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
            if let Some(found) = self.read(|series| series.get(&key).cloned()) {
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
        series.insert(key, instrument.clone());
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
        Some(series.entry(key).or_default().clone())
    }

    fn read<T>(&self, with: impl FnOnce(&BTreeMap<Key<N>, I>) -> T) -> T {
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
            let page = series.range(bounds).take(limit);
            page.map(|(key, instrument)| (key.clone(), instrument.clone()))
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

/// The values admitted to each [`Domain`].
#[derive(Clone, Debug)]
pub(super) struct Domains {
    users: Arc<Admitted>,
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
            users: up_to(settings.max_users),
            vclusters: up_to(settings.max_vclusters),
        }
    }

    /// The value, if it fits under the cap, as it was admitted first.
    fn admit(&self, domain: Domain, value: &str) -> Option<Arc<str>> {
        if [UNKNOWN, NONE, OTHER, ANONYMOUS, PASSTHROUGH].contains(&value) {
            return Some(Arc::from(value));
        }
        let admitted = match domain {
            Domain::Users => &self.users,
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
