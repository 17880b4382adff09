//! What is measured of each request of a connection, and counted when its answer has gone out.
//!
//! The points in time are those of the path: the last byte read from the client, the last byte taken by the broker, the last byte
//! of the answer read, the answer complete, the answer written.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use telemetry::metrics::{Answered, Api, ClientMetrics, Lifecycle, Moment, Origin, Steps};
use wire::api::ApiKey;

use super::inspect::Seen;

/// The requests of one connection whose answers have not been written, in order.
pub(super) struct Timings {
    pub(super) counts: Rc<ClientMetrics>,
    queue: RefCell<VecDeque<Timing>>,
    /// Entries that have left the queue: the number of the first one in it.
    gone: Cell<u64>,
    /// Entries at the front whose answers are complete.
    complete: Cell<usize>,
    /// The number of the first entry that may not have been sent.
    unsent: Cell<u64>,
    /// The number of the entry whose body is still arriving.
    arriving: Cell<Option<u64>>,
    /// When bytes of the client were last read.
    read: Cell<Instant>,
    /// Nanoseconds for which requests of this connection have waited for Kafka altogether before they could be sent.
    waited: Cell<u64>,
    /// The same when bytes of the client were last read.
    waited_before: Cell<u64>,
    /// Who is to blame for answers that are never given; `None`: the client.
    fault: Cell<Option<Origin>>,
    stages: Option<Stages>,
}

/// Where the request is that is being looked at; only if stages of requests are measured.
struct Stages {
    lifecycle: Rc<Lifecycle>,
    /// `None`: requests of its kind are not measured.
    begun: Cell<Option<Instant>>,
    decided: Cell<Option<Instant>>,
    rebuilt: Cell<Option<Instant>>,
    /// Requests without an answer that have not been sent.
    unanswered: RefCell<Vec<(Api, Steps)>>,
}

/// Where an answer comes from, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The gateway answers.
    Local,
    /// The private leg.
    Private,
    /// A shared leg.
    Shared,
    /// Not a request of the client, or part of a login: not measured.
    Apart,
}

struct Timing {
    api: Api,
    way: Way,
    read: Instant,
    /// Nanoseconds that were waited on this connection before its last byte was read, and after that until it was sent.
    waited_before: u64,
    queued: u64,
    sent: Option<Instant>,
    upstream: Duration,
    complete: Option<Instant>,
    throttle_ms: u32,
    error: Option<(i16, Origin)>,
    /// If its stages are measured.
    steps: Option<Box<Steps>>,
}

impl Timings {
    pub(super) fn new(counts: Rc<ClientMetrics>, lifecycle: Option<Rc<Lifecycle>>) -> Timings {
        Timings {
            stages: lifecycle.map(|lifecycle| Stages {
                lifecycle,
                begun: Cell::new(None),
                decided: Cell::new(None),
                rebuilt: Cell::new(None),
                unanswered: RefCell::default(),
            }),
            counts,
            queue: RefCell::default(),
            gone: Cell::new(0),
            complete: Cell::new(0),
            unsent: Cell::new(0),
            arriving: Cell::new(None),
            read: Cell::new(Instant::now()),
            waited: Cell::new(0),
            waited_before: Cell::new(0),
            fault: Cell::new(None),
        }
    }

    /// Bytes of the client were read.
    pub(super) fn read(&self, at: Instant) {
        self.read.set(at);
        self.waited_before.set(self.waited.get());
    }

    /// Waits for something that Kafka brings about: until fewer requests are in flight, or until a connection is there and takes what is
    /// sent. It is not what the gateway takes itself.
    pub(super) async fn queued<F: Future + Unpin>(&self, mut wait: F) -> F::Output {
        let mut since = None;
        let output = poll_fn(|context| {
            let polled = Pin::new(&mut wait).poll(context);
            if polled.is_pending() && since.is_none() {
                since = Some(Instant::now());
            }
            polled
        });
        let output = output.await;
        if let Some(since) = since {
            self.waited_since(since);
        }
        output
    }

    /// It has been waited like that until now.
    pub(super) fn waited_since(&self, since: Instant) {
        self.waited.set(self.waited.get() + nanos(since.elapsed()));
    }

    /// A request was accepted; an answer may be owed or not.
    pub(super) fn accepted(&self, api: ApiKey) {
        let api = named(api);
        self.counts.accepted(api);
        if let Some(stages) = &self.stages {
            let is_measured = stages.lifecycle.covers(api);
            stages.begun.set(is_measured.then(Instant::now));
            stages.decided.set(None);
            stages.rebuilt.set(None);
        }
    }

    /// The request is allowed.
    pub(super) fn decided(&self) {
        if let Some(stages) = self.measured() {
            stages.decided.set(Some(Instant::now()));
        }
    }

    /// What goes to the broker is made.
    pub(super) fn rebuilt(&self) {
        if let Some(stages) = self.measured() {
            stages.rebuilt.set(Some(Instant::now()));
        }
    }

    /// The request goes to the broker, which does not answer it.
    pub(super) fn unanswered(&self, api: ApiKey) {
        if let (Some(stages), Some(steps)) = (self.measured(), self.steps(Way::Private)) {
            stages.unanswered.borrow_mut().push((named(api), *steps));
        }
    }

    /// An answer is owed.
    pub(super) fn owed(&self, api: ApiKey, way: Way) {
        let way = match api {
            ApiKey::SASL_HANDSHAKE | ApiKey::SASL_AUTHENTICATE => Way::Apart,
            _ => way,
        };
        let api = named(api);
        if way != Way::Apart {
            self.counts.owed(api);
        }
        self.queue.borrow_mut().push_back(Timing {
            api,
            way,
            read: self.read.get(),
            waited_before: self.waited_before.get(),
            queued: self.waited.get() - self.waited_before.get(),
            sent: None,
            upstream: Duration::ZERO,
            complete: (way == Way::Local).then(Instant::now),
            throttle_ms: 0,
            error: None,
            steps: match way {
                Way::Apart => None,
                _ => self.steps(way),
            },
        });
    }

    /// The body of the request that was told last is still to come.
    pub(super) fn body_follows(&self) {
        let last = self.queue.borrow().len().checked_sub(1);
        let number = last.map(|last| self.gone.get() + last as u64);
        self.arriving.set(number);
    }

    /// The body has come.
    pub(super) fn body_is_complete(&self) {
        if let Some(number) = self.arriving.take() {
            let (read, waited_before) = (self.read.get(), self.waited_before.get());
            self.with(number, |timing| {
                (timing.read, timing.waited_before) = (read, waited_before);
            });
        }
    }

    /// What was collected for the broker has been written.
    pub(super) fn sent(&self) {
        let end = self.gone.get() + self.queue.borrow().len() as u64;
        let end = self.arriving.get().unwrap_or(end);
        if let Some(stages) = &self.stages {
            for (api, mut steps) in stages.unanswered.borrow_mut().drain(..) {
                steps.sent = Some(Instant::now());
                stages.lifecycle.record(api, &steps);
            }
        }
        if self.unsent.get() >= end {
            return;
        }
        let (now, waited) = (Instant::now(), self.waited.get());
        for number in self.unsent.get()..end {
            self.with(number, |timing| {
                timing.sent = Some(now);
                if timing.way == Way::Private {
                    timing.queued = waited - timing.waited_before;
                }
            });
        }
        self.unsent.set(end);
    }

    /// The answer at hand has been read from the broker. Tells when, and how long the broker took.
    pub(super) fn arrived(&self) -> Option<(Instant, Duration)> {
        let mut queue = self.queue.borrow_mut();
        let timing = queue.get_mut(self.complete.get())?;
        let sent = timing.sent.filter(|_| timing.way == Way::Private)?;
        let now = Instant::now();
        timing.upstream = now.saturating_duration_since(sent);
        timing.complete = Some(now);
        if let Some(steps) = &mut timing.steps {
            (steps.sent, steps.arrived) = (Some(sent), Some(now));
        }
        Some((now, timing.upstream))
    }

    /// The broker took that long over the answer at hand, after its request had waited behind those of others.
    pub(super) fn took(&self, upstream: Duration, queued: Duration) {
        self.at_hand(|timing| {
            timing.upstream = upstream;
            timing.queued += nanos(queued);
            if let Some(steps) = &mut timing.steps {
                let now = Instant::now();
                (steps.sent, steps.arrived) = (now.checked_sub(upstream), Some(now));
            }
        });
    }

    /// The answer at hand has the names and addresses that the client knows.
    pub(super) fn remade(&self) {
        if self.stages.is_some() {
            self.at_hand(|timing| {
                if let Some(steps) = &mut timing.steps {
                    steps.remade = Some(Instant::now());
                }
            });
        }
    }

    /// What was seen in the answer at hand, the first error counts.
    pub(super) fn seen(&self, seen: Seen, origin: Origin) {
        self.at_hand(|timing| {
            timing.throttle_ms = timing.throttle_ms.max(seen.throttle_ms);
            timing.error = timing.error.or(seen.error.map(|code| (code, origin)));
        });
    }

    /// Work on the answer at hand has taken until now.
    pub(super) fn worked(&self) {
        self.at_hand(|timing| timing.complete = Some(Instant::now()));
    }

    /// The answer at hand is complete; the next one comes.
    pub(super) fn complete(&self) {
        self.complete.set(self.complete.get() + 1);
    }

    /// Complete answers have been written.
    pub(super) fn written(&self, count: usize) {
        let now = self.stages.as_ref().map(|_| Instant::now());
        for _ in 0..count {
            let Some(timing) = self.queue.borrow_mut().pop_front() else {
                return;
            };
            self.gone.set(self.gone.get() + 1);
            self.complete.set(self.complete.get().saturating_sub(1));
            if timing.way == Way::Apart {
                continue;
            }
            self.counts.settled(timing.api);
            let complete = timing.complete.unwrap_or_else(Instant::now);
            let answered = Answered {
                at: Moment::of(complete),
                took: complete.saturating_duration_since(timing.read),
                upstream: timing.upstream,
                queued: Duration::from_nanos(timing.queued),
                throttle_ms: timing.throttle_ms,
                error: timing.error,
            };
            self.counts.answered(timing.api, &answered);
            if let (Some(stages), Some(mut steps)) = (&self.stages, timing.steps) {
                steps.read = timing.read;
                steps.complete = Some(complete);
                if steps.arrived.is_some() {
                    steps.remade = steps.remade.or(Some(complete));
                }
                steps.written = now;
                stages.lifecycle.record(timing.api, &steps);
            }
        }
    }

    /// The stages, if those of the request that is being looked at are measured.
    fn measured(&self) -> Option<&Stages> {
        let stages = self.stages.as_ref();
        stages.filter(|stages| stages.begun.get().is_some())
    }

    /// How far the request has come that is being looked at.
    fn steps(&self, way: Way) -> Option<Box<Steps>> {
        let stages = self.measured()?;
        let now = Instant::now();
        let is_forwarded = way != Way::Local;
        Some(Box::new(Steps {
            read: self.read.get(),
            begun: stages.begun.get(),
            decided: stages.decided.get().filter(|_| is_forwarded).or(Some(now)),
            rebuilt: is_forwarded.then(|| stages.rebuilt.get().unwrap_or(now)),
            sent: None,
            arrived: None,
            remade: None,
            complete: None,
            written: None,
        }))
    }

    /// The connection ends because of somebody else than the client.
    pub(super) fn fail(&self, origin: Origin) {
        self.fault.set(Some(origin));
    }

    fn at_hand(&self, change: impl FnOnce(&mut Timing)) {
        let mut queue = self.queue.borrow_mut();
        if let Some(timing) = queue.get_mut(self.complete.get()) {
            change(timing);
        }
    }

    fn with(&self, number: u64, change: impl FnOnce(&mut Timing)) {
        let place = number.checked_sub(self.gone.get());
        let place = place.and_then(|place| usize::try_from(place).ok());
        let mut queue = self.queue.borrow_mut();
        if let Some(timing) = place.and_then(|place| queue.get_mut(place)) {
            change(timing);
        }
    }
}

impl Drop for Timings {
    fn drop(&mut self) {
        for timing in self.queue.take() {
            if timing.way == Way::Apart {
                continue;
            }
            self.counts.settled(timing.api);
            if let Some(origin) = self.fault.get() {
                self.counts.unanswered(timing.api, origin);
            }
        }
    }
}

fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

fn named(api: ApiKey) -> Api {
    Api {
        key: api.0,
        name: api.name(),
    }
}

#[cfg(test)]
mod tests {
    use telemetry::metrics::{Format, Metrics, MetricsSettings};

    use super::*;

    fn timings() -> (Metrics, Timings) {
        let metrics = Metrics::new(&MetricsSettings::default());
        let timings = Timings::new(metrics.clients().get("v", "u"), None);
        (metrics, timings)
    }

    fn value(metrics: &Metrics, series: &str) -> f64 {
        let text: String = metrics.encode(Format::Text).collect();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        let value = line.and_then(|value| value.trim().parse().ok());
        value.unwrap_or_else(|| panic!("{series} in {text}"))
    }

    const COUNT: &str = "gateway_latency_request_response_seconds_count";
    const IN_FLIGHT: &str =
        "gateway_current_inflight_apiKeys{apiKeys=\"Metadata\",vcluster=\"v\",username=\"u\"}";
    const ERRORS: &str =
        "gateway_error_per_apiKeys_total{apiKeys=\"Metadata\",vcluster=\"v\",username=\"u\"}";

    #[test]
    fn answers_count_when_they_are_written() {
        let (metrics, timings) = timings();
        for _ in 0..3 {
            timings.owed(ApiKey::METADATA, Way::Private);
        }
        timings.sent();
        for _ in 0..2 {
            assert!(timings.arrived().is_some());
            timings.complete();
        }
        assert_eq!(value(&metrics, COUNT), 0.0);
        assert_eq!(value(&metrics, IN_FLIGHT), 3.0);
        timings.written(2);
        assert_eq!(value(&metrics, COUNT), 2.0);
        assert_eq!(value(&metrics, IN_FLIGHT), 1.0);
        drop(timings);
        assert_eq!(value(&metrics, IN_FLIGHT), 0.0);
    }

    #[test]
    fn a_request_whose_body_follows_is_not_sent_yet() {
        let (_metrics, timings) = timings();
        timings.owed(ApiKey::PRODUCE, Way::Private);
        timings.owed(ApiKey::PRODUCE, Way::Private);
        timings.body_follows();
        timings.sent();
        assert!(timings.arrived().is_some());
        timings.complete();
        assert!(timings.arrived().is_none(), "it is not with the broker");
        timings.read(Instant::now());
        timings.body_is_complete();
        timings.sent();
        assert!(timings.arrived().is_some());
    }

    #[test]
    fn answers_that_never_come_are_errors_unless_the_client_left() {
        for (fault, expected) in [(None, None), (Some(Origin::Broker), Some(2.0))] {
            let (metrics, timings) = timings();
            timings.owed(ApiKey::METADATA, Way::Private);
            timings.owed(ApiKey::METADATA, Way::Local);
            timings.owed(ApiKey::SASL_AUTHENTICATE, Way::Apart);
            if let Some(origin) = fault {
                timings.fail(origin);
            }
            drop(timings);
            match expected {
                Some(count) => assert_eq!(value(&metrics, ERRORS), count),
                None => {
                    let text: String = metrics.encode(Format::Text).collect();
                    assert!(!text.contains(ERRORS), "{text}");
                }
            }
            assert_eq!(value(&metrics, COUNT), 0.0);
        }
    }

    /// What the lifecycle timers have seen: how often, and seconds.
    fn stage(metrics: &Metrics, stage: &str) -> (f64, f64) {
        let of = |part| {
            let series = format!("gateway_{stage}_duration_seconds_{part}{{api_key=\"METADATA\"}}");
            value(metrics, &series)
        };
        (of("count"), of("sum"))
    }

    fn staged() -> (Metrics, Timings) {
        let metrics = Metrics::new(&MetricsSettings {
            lifecycle: Some(telemetry::metrics::LifecycleSettings::default()),
            ..MetricsSettings::default()
        });
        let lifecycle = metrics.lifecycle().map(Rc::new);
        let timings = Timings::new(metrics.clients().get("v", "u"), lifecycle);
        (metrics, timings)
    }

    #[test]
    fn a_client_that_does_not_read_moves_the_last_stage_only() {
        const PAUSE: Duration = Duration::from_millis(20);
        let (metrics, timings) = staged();
        timings.read(Instant::now());
        timings.accepted(ApiKey::METADATA);
        timings.decided();
        timings.owed(ApiKey::METADATA, Way::Private);
        timings.sent();
        timings.arrived();
        timings.remade();
        timings.worked();
        timings.complete();
        std::thread::sleep(PAUSE);
        timings.written(1);
        let (count, send) = stage(&metrics, "response_send");
        let (_, total) = stage(&metrics, "request_total");
        assert!(count == 1.0 && send >= PAUSE.as_secs_f64(), "{send}");
        let mut sum = send;
        for name in [
            "request_preprocess",
            "request_authorization",
            "request_rebuilder",
            "request_upstreamqueue",
            "request_upstreamwait",
            "response_rebuilder",
            "response_authorization",
        ] {
            let (count, seconds) = stage(&metrics, name);
            assert_eq!(count, 1.0, "{name}");
            sum += seconds;
        }
        assert!((sum - total).abs() < 1e-9, "{sum} {total}");
        assert!(total - send < send, "the pause is in the last stage");
    }

    #[test]
    fn stages_of_other_ways() {
        let (metrics, timings) = staged();
        timings.accepted(ApiKey::METADATA);
        timings.owed(ApiKey::METADATA, Way::Local);
        timings.complete();
        timings.written(1);
        timings.accepted(ApiKey::METADATA);
        timings.owed(ApiKey::METADATA, Way::Shared);
        timings.took(Duration::from_millis(3), Duration::ZERO);
        timings.worked();
        timings.complete();
        timings.written(1);
        timings.accepted(ApiKey::METADATA);
        timings.unanswered(ApiKey::METADATA);
        timings.sent();
        for (name, count) in [
            ("request_preprocess", 3.0),
            ("request_authorization", 3.0),
            ("request_rebuilder", 2.0),
            ("request_upstreamqueue", 2.0),
            ("request_upstreamwait", 1.0),
            ("response_rebuilder", 1.0),
            ("response_authorization", 2.0),
            ("response_send", 2.0),
            ("request_total", 2.0),
        ] {
            assert_eq!(stage(&metrics, name).0, count, "{name}");
        }
    }

    #[tokio::test]
    async fn waiting_for_a_turn_is_apart() {
        const PAUSE: Duration = Duration::from_millis(20);
        let (metrics, timings) = timings();
        let pause = || timings.queued(Box::pin(tokio::time::sleep(PAUSE)));
        timings.read(Instant::now());
        timings.owed(ApiKey::METADATA, Way::Private);
        timings.sent();
        // The one behind it waits for its turn, and for the connection; both were read at once.
        pause().await;
        timings.owed(ApiKey::METADATA, Way::Private);
        pause().await;
        timings.sent();
        // One that comes later waits no more.
        timings.read(Instant::now());
        timings.queued(std::future::ready(())).await;
        timings.owed(ApiKey::METADATA, Way::Local);
        for _ in 0..3 {
            timings.arrived();
            timings.complete();
        }
        timings.written(3);
        let wait = "gateway_queue_wait_seconds";
        let of = |part| value(&metrics, &format!("{wait}_{part}{{api_key=\"METADATA\"}}"));
        assert_eq!(of("count"), 1.0);
        assert!(of("sum") >= 2.0 * PAUSE.as_secs_f64());
        let total = value(&metrics, "gateway_latency_request_response_seconds_sum");
        let overhead = "gateway_overhead_seconds_sum{api_key=\"METADATA\"}";
        assert!(value(&metrics, overhead) + of("sum") <= total);
    }

    #[test]
    fn logins_are_not_measured() {
        let (metrics, timings) = timings();
        timings.owed(ApiKey::SASL_HANDSHAKE, Way::Local);
        timings.complete();
        timings.written(1);
        assert_eq!(value(&metrics, COUNT), 0.0);
    }
}
