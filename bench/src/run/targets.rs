//! What was aimed at, and whether it was reached.

use super::table::{Figures, Spread};
use super::world::Kind;
use super::{Measured, memory::Crowd};
use crate::load::Outcome;

/// One row of the table.
pub(crate) struct Target {
    pub(crate) what: String,
    /// The bound, as it is written.
    pub(crate) aim: String,
    /// What was measured; None if it was not.
    pub(crate) found: Option<f64>,
    pub(crate) met: Option<bool>,
}

impl Target {
    fn at_most(what: String, bound: f64, unit: &str, found: Option<f64>) -> Target {
        Target {
            what,
            aim: format!("<= {bound}{unit}"),
            found,
            met: found.map(|found| found <= bound),
        }
    }

    fn at_least(what: String, bound: f64, found: Option<f64>) -> Target {
        Target {
            what,
            aim: format!(">= {bound}x"),
            found,
            met: found.map(|found| found >= bound),
        }
    }
}

/// Medians of a figure of two cells, divided.
fn ratio(
    figures: &Figures,
    one: (&str, &str),
    other: (&str, &str),
    figure: fn(&Outcome) -> f64,
) -> Option<f64> {
    let median = |(workload, peer)| -> Option<f64> {
        let spread: Spread = figures.spread(workload, peer, figure)?;
        (spread.median > 0.0).then_some(spread.median)
    };
    Some(median(one)? / median(other)?)
}

/// All targets.
pub(crate) fn all(measured: &Measured) -> Vec<Target> {
    let mut targets = Vec::new();
    for workload in ["produce", "consume"] {
        targets.extend(next_to_relays(measured, workload));
    }
    for workload in ["produce", "consume"] {
        targets.extend(added_latency(measured, workload));
    }
    for workload in ["produce", "consume"] {
        targets.extend(other_ratios(measured, workload));
    }
    targets.extend(memory(measured));
    targets
}

fn next_to_relays(measured: &Measured, workload: &str) -> Vec<Target> {
    let figures = &measured.saturation;
    let gateway = (workload, Kind::Gateway.name());
    let mut targets = Vec::new();
    for (relay, bound) in [(Kind::HaproxyPackaged, 0.6), (Kind::HaproxyTuned, 0.9)] {
        let other = (workload, relay.name());
        targets.push(Target::at_most(
            format!(
                "{workload}: CPU per MB of the gateway / of {}",
                relay.name()
            ),
            bound,
            "x",
            ratio(figures, gateway, other, Outcome::millicores_per_megabyte),
        ));
        targets.push(Target::at_least(
            format!("{workload}: MB/s of the gateway / of {}", relay.name()),
            1.0,
            ratio(figures, gateway, other, Outcome::megabytes_per_second),
        ));
    }
    targets
}

fn added_latency(measured: &Measured, workload: &str) -> Vec<Target> {
    let added = |peer: Kind, figure: fn(&Outcome) -> f64| -> Option<f64> {
        let median = |kind: Kind| {
            let spread = measured.latency.spread(workload, kind.name(), figure)?;
            Some(spread.median)
        };
        Some(median(peer)? - median(Kind::Direct)?)
    };
    let row = |name: &str, bound: f64, figure: fn(&Outcome) -> f64| {
        let relay = added(Kind::HaproxyPackaged, figure);
        let gateway = added(Kind::Gateway, figure);
        let found = match (gateway, relay) {
            (Some(gateway), Some(relay)) if relay > 0.0 => Some(gateway / relay),
            _ => None,
        };
        Target::at_most(
            format!("{workload}: added {name} at 30 % load, gateway / HAProxy"),
            bound,
            "x",
            found,
        )
    };
    vec![
        row("p50", 2.0, |outcome| outcome.latency.p50),
        row("p99", 1.5, |outcome| outcome.latency.p99),
    ]
}

fn other_ratios(measured: &Measured, workload: &str) -> Vec<Target> {
    let cost = Outcome::millicores_per_megabyte;
    let gateway = Kind::Gateway.name();
    let old = format!("{workload}, 3.x client");
    let tls = |one: Kind, other: Kind| {
        let (one, other) = (one.name(), other.name());
        ratio(&measured.tls, (workload, one), (workload, other), cost)
    };
    vec![
        Target::at_most(
            format!("{workload}: CPU per MB with a current client / a 3.x client"),
            1.1,
            "x",
            ratio(
                &measured.saturation,
                (workload, gateway),
                (&old, gateway),
                cost,
            ),
        ),
        Target::at_most(
            format!("{workload}: CPU per MB in a virtual cluster / without one"),
            1.3,
            "x",
            ratio(
                &measured.tenancy,
                (workload, Kind::Virtual.name()),
                (workload, gateway),
                cost,
            ),
        ),
        Target::at_most(
            format!("{workload}: CPU per MB with TLS to clients, gateway / nginx"),
            1.5,
            "x",
            tls(Kind::GatewayTls, Kind::NginxTls),
        ),
        Target::at_most(
            format!("{workload}: CPU per MB with TLS on both sides, gateway / nginx"),
            1.5,
            "x",
            tls(Kind::GatewayTlsBoth, Kind::NginxTlsBoth),
        ),
        Target::at_most(
            format!("{workload}: CPU per MB with metrics / without updating them"),
            1.03,
            "x",
            ratio(
                &measured.saturation,
                (workload, gateway),
                (workload, Kind::Uncounted.name()),
                cost,
            ),
        ),
        Target::at_most(
            format!("{workload}: CPU per MB at 30 % load, scraped each second / not"),
            1.03,
            "x",
            ratio(
                &measured.scraped,
                (workload, "scraped each second"),
                (workload, "not scraped"),
                cost,
            ),
        ),
    ]
}

fn memory(measured: &Measured) -> Vec<Target> {
    let found = |kind: Kind| {
        let rows = measured.crowds.rows.iter();
        let idle = rows.filter(|row| row.peer == kind.name() && row.conduct == "idle");
        idle.max_by_key(|row| row.connections)
    };
    let row = |kind: Kind, bound: f64| {
        let crowd = found(kind);
        let count = crowd.map_or(10_000, |crowd| crowd.connections);
        Target::at_most(
            format!(
                "{}: resident memory of each of {count} idle connections",
                kind.name()
            ),
            bound,
            " KiB",
            crowd.map(Crowd::kib_each),
        )
    };
    vec![row(Kind::Gateway, 20.0), row(Kind::GatewayTls, 40.0)]
}
