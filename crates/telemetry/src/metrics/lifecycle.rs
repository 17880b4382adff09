//! How long requests take from stage to stage. Off unless asked for: then nothing is measured.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::catalogue::Catalogue;
use super::client::{Api, KEYS, snake};
use super::instrument::{Moment, OwnHistogram, Stages};

/// What is measured, if anything.
#[derive(Clone, Debug, Default)]
pub struct LifecycleSettings {
    /// `GATEWAY_LIFECYCLE_METRICS_API_KEYS`: names of requests, as `Produce` or `PRODUCE`; none means all.
    pub api_keys: Vec<String>,
}

/// When a request reached the end of each stage. What did not happen is `None`.
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    /// The last byte of the request was read.
    pub read: Instant,
    /// The header was parsed; who asks is known.
    pub begun: Option<Instant>,
    /// It was decided whether that is allowed.
    pub decided: Option<Instant>,
    /// What goes to the broker was made.
    pub rebuilt: Option<Instant>,
    /// The last byte was taken by the connection to the broker.
    pub sent: Option<Instant>,
    /// The last byte of the answer was read.
    pub arrived: Option<Instant>,
    /// What goes to the client was made.
    pub remade: Option<Instant>,
    /// What the client may not see was taken out: the answer is complete.
    pub complete: Option<Instant>,
    /// The last byte was taken by the connection to the client.
    pub written: Option<Instant>,
}

/// The timers of one thread.
pub struct Lifecycle {
    catalogue: Arc<Catalogue>,
    /// In capitals, without underscores; empty: all.
    only: HashSet<String>,
    apis: Box<[OnceCell<Box<PerApi>>]>,
}

impl fmt::Debug for Lifecycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lifecycle").finish_non_exhaustive()
    }
}

type Timer = OwnHistogram<Stages>;

#[derive(Debug)]
struct PerApi {
    preprocess: Timer,
    authorization: Timer,
    rebuilder: Timer,
    upstream_queue: Timer,
    upstream_wait: Timer,
    response_rebuilder: Timer,
    response_authorization: Timer,
    send: Timer,
    total: Timer,
}

impl LifecycleSettings {
    /// Those of [`LifecycleSettings::api_keys`] that are none of `names`.
    pub fn unknown(&self, names: &[&str]) -> Vec<String> {
        let known: HashSet<_> = names.iter().map(|name| plain(name)).collect();
        let asked = self.api_keys.iter();
        asked
            .filter(|name| !known.contains(&plain(name)))
            .cloned()
            .collect()
    }
}

impl Lifecycle {
    pub(super) fn new(catalogue: &Arc<Catalogue>, settings: &LifecycleSettings) -> Self {
        let lifecycle = Self {
            catalogue: Arc::clone(catalogue),
            only: settings.api_keys.iter().map(|name| plain(name)).collect(),
            apis: (0..KEYS).map(|_| OnceCell::new()).collect(),
        };
        for (key, name) in [(0, "Produce"), (1, "Fetch"), (3, "Metadata")] {
            let api = Api { key, name };
            if lifecycle.covers(api) {
                lifecycle.api(api);
            }
        }
        lifecycle
    }

    /// Whether requests of this kind are measured.
    pub fn covers(&self, api: Api) -> bool {
        self.only.is_empty() || self.only.contains(&plain(api.name))
    }

    /// A request has come to its end. Times of stages add up to the total: a stage that was over before the one before it (a request
    /// is looked at while its last bytes are still coming) took no time.
    pub fn record(&self, api: Api, steps: &Steps) {
        let Some(timers) = self.api(api) else {
            return;
        };
        let last = steps.written.or(steps.sent).unwrap_or(steps.read);
        let at = Moment::of(last);
        let mut since = steps.read;
        for (timer, until) in [
            (&timers.preprocess, steps.begun),
            (&timers.authorization, steps.decided),
            (&timers.rebuilder, steps.rebuilt),
            (&timers.upstream_queue, steps.sent),
            (&timers.upstream_wait, steps.arrived),
            (&timers.response_rebuilder, steps.remade),
            (&timers.response_authorization, steps.complete),
            (&timers.send, steps.written),
        ] {
            if let Some(until) = until {
                timer.observe(at, until.saturating_duration_since(since));
                since = since.max(until);
            }
        }
        if steps.written.is_some() {
            let total: Duration = since.saturating_duration_since(steps.read);
            timers.total.observe(at, total);
        }
    }

    fn api(&self, api: Api) -> Option<&PerApi> {
        let place = usize::try_from(api.key).map_or(KEYS - 1, |key| key.min(KEYS - 1));
        let slot = self.apis.get(place)?;
        Some(slot.get_or_init(|| Box::new(PerApi::new(&self.catalogue, api.name))))
    }
}

impl PerApi {
    fn new(catalogue: &Catalogue, name: &str) -> Self {
        let name = &snake(name);
        Self {
            preprocess: catalogue.stage_preprocess.with([name]).own(),
            authorization: catalogue.stage_authorization.with([name]).own(),
            rebuilder: catalogue.stage_rebuilder.with([name]).own(),
            upstream_queue: catalogue.stage_upstream_queue.with([name]).own(),
            upstream_wait: catalogue.stage_upstream_wait.with([name]).own(),
            response_rebuilder: catalogue.stage_response_rebuilder.with([name]).own(),
            response_authorization: catalogue.stage_response_authorization.with([name]).own(),
            send: catalogue.stage_send.with([name]).own(),
            total: catalogue.stage_total.with([name]).own(),
        }
    }
}

fn plain(name: &str) -> String {
    let letters = name.trim().chars().filter(|c| *c != '_');
    letters.map(|c| c.to_ascii_uppercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Format, Metrics, MetricsSettings};

    const FETCH: Api = Api {
        key: 1,
        name: "Fetch",
    };

    fn metrics(api_keys: &[&str]) -> Metrics {
        Metrics::new(&MetricsSettings {
            lifecycle: Some(LifecycleSettings {
                api_keys: api_keys.iter().map(|name| name.to_string()).collect(),
            }),
            ..MetricsSettings::default()
        })
    }

    fn text(metrics: &Metrics) -> String {
        metrics.encode(Format::Text).collect()
    }

    #[test]
    fn stages_add_up_to_the_total() {
        let metrics = metrics(&[]);
        let lifecycle = metrics.lifecycle().expect("on");
        let read = Instant::now();
        let after = |ms| Some(read + Duration::from_millis(ms));
        lifecycle.record(
            FETCH,
            &Steps {
                read,
                begun: read.checked_sub(Duration::from_millis(5)),
                decided: after(1),
                rebuilt: after(3),
                sent: after(6),
                arrived: after(106),
                remade: after(110),
                complete: after(115),
                written: after(121),
            },
        );
        let text = text(&metrics);
        for (stage, seconds) in [
            ("request_preprocess", "0"),
            ("request_authorization", "0.001"),
            ("request_rebuilder", "0.002"),
            ("request_upstreamqueue", "0.003"),
            ("request_upstreamwait", "0.1"),
            ("response_rebuilder", "0.004"),
            ("response_authorization", "0.005"),
            ("response_send", "0.006"),
            ("request_total", "0.121"),
        ] {
            for line in [
                format!("gateway_{stage}_duration_seconds_sum{{api_key=\"FETCH\"}} {seconds}\n"),
                format!("gateway_{stage}_duration_seconds_count{{api_key=\"FETCH\"}} 1\n"),
            ] {
                assert!(text.contains(&line), "{line} in {text}");
            }
        }
        let of_wait =
            "gateway_request_upstreamwait_duration_seconds_bucket{api_key=\"FETCH\",le=\"";
        let bounds = text.lines().filter_map(|line| line.strip_prefix(of_wait));
        let bounds: Vec<_> = bounds.filter_map(|rest| rest.split('"').next()).collect();
        let expected = [
            "0.00005", "0.0001", "0.0005", "0.001", "0.01", "0.05", "0.1", "0.5", "1.0", "5.0",
            "30.0", "+Inf",
        ];
        assert_eq!(bounds, expected);
    }

    #[test]
    fn stages_that_did_not_happen_have_no_samples() {
        let metrics = metrics(&[]);
        let lifecycle = metrics.lifecycle().expect("on");
        let now = Instant::now();
        let unanswered = Steps {
            read: now,
            begun: Some(now),
            decided: Some(now),
            rebuilt: Some(now),
            sent: Some(now),
            arrived: None,
            remade: None,
            complete: None,
            written: None,
        };
        lifecycle.record(FETCH, &unanswered);
        let text = text(&metrics);
        for (stage, count) in [
            ("request_upstreamqueue", 1),
            ("request_upstreamwait", 0),
            ("response_send", 0),
            ("request_total", 0),
        ] {
            let line =
                format!("gateway_{stage}_duration_seconds_count{{api_key=\"FETCH\"}} {count}\n");
            assert!(text.contains(&line), "{line} in {text}");
        }
    }

    #[test]
    fn only_what_is_asked_for() {
        assert!(
            Metrics::new(&MetricsSettings::default())
                .lifecycle()
                .is_none()
        );
        let metrics = metrics(&["LIST_OFFSETS", "fetch", "made-up"]);
        let lifecycle = metrics.lifecycle().expect("on");
        let covers = |name| lifecycle.covers(Api { key: 2, name });
        assert!(covers("ListOffsets") && covers("Fetch") && !covers("Produce"));
        let settings = metrics.lifecycle.as_deref().expect("on");
        assert_eq!(settings.unknown(&["Fetch", "ListOffsets"]), ["made-up"]);
    }
}
