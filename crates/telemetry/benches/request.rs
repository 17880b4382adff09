//! What counting one request costs: everything that is done on the way of a request that goes to the broker and back.
//!
//! ```text
//! cargo bench -p sluicegate-telemetry --bench request
//! ```

use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use sluicegate_telemetry::metrics::{
    Answered, Api, ClientMetrics, Histogram, Metrics, MetricsSettings, Moment, OwnCounter,
};

const PRODUCE: Api = Api {
    key: 0,
    name: "Produce",
};

/// What a connection has resolved.
struct Handles {
    client: Rc<ClientMetrics>,
    broker: Histogram,
    from_client: OwnCounter,
    to_client: OwnCounter,
}

impl Handles {
    fn new(metrics: &Metrics) -> Handles {
        let catalogue = metrics.catalogue();
        Handles {
            client: metrics.clients().get("billing", "app"),
            broker: catalogue.upstream_request.with(["1", "other"]),
            from_client: catalogue.bytes.with(["upstream"]).own(),
            to_client: catalogue.bytes.with(["downstream"]).own(),
        }
    }

    fn request(&self, at: Moment) {
        self.from_client.add(black_box(1024));
        self.client.accepted(PRODUCE);
        self.client.owed(PRODUCE);
        self.client.upstream.add(black_box(1024));
        self.client.downstream.add(black_box(64));
        let upstream = black_box(Duration::from_micros(900));
        self.broker.observe(at, upstream);
        self.to_client.add(black_box(64));
        let answered = Answered {
            at,
            took: black_box(Duration::from_micros(950)),
            upstream,
            queued: Duration::ZERO,
            throttle_ms: 0,
            error: None,
        };
        self.client.answered(PRODUCE, &answered);
        self.client.settled(PRODUCE);
    }
}

fn request(c: &mut Criterion) {
    let metrics = Metrics::new(&MetricsSettings::default());
    let handles = Handles::new(&metrics);
    let at = Moment::now();
    c.bench_function("all updates of one request", |b| {
        b.iter(|| handles.request(at))
    });
    c.bench_function("reading the clock", |b| b.iter(Instant::now));
}

fn scrape(c: &mut Criterion) {
    let metrics = Metrics::new(&MetricsSettings::default());
    let clients = metrics.clients();
    let connected: Vec<_> = (0..1000)
        .map(|user| clients.get("billing", &format!("user-{user}")))
        .collect();
    connected.iter().for_each(|client| client.accepted(PRODUCE));
    c.bench_function("a scrape with 1000 users", |b| {
        b.iter(|| {
            let chunks = metrics.encode(sluicegate_telemetry::metrics::Format::Text);
            chunks.map(|chunk| chunk.len()).sum::<usize>()
        });
    });
}

criterion_group!(benches, request, scrape);
criterion_main!(benches);
