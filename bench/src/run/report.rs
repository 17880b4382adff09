//! The report, in Markdown.

use std::fmt::{self, Write as _};

use super::table::Figures;
use super::world::Kind;
use super::{Measured, targets};
use crate::cpu;
use crate::load::Outcome;

/// Writes everything down.
pub(crate) fn write(measured: &Measured) -> Result<String, fmt::Error> {
    let mut text = String::from("# Performance report\n\n");
    conditions(&mut text, measured)?;
    costs(
        &mut text,
        "Closed loop, memory broker",
        &measured.saturation,
    )?;
    latency(&mut text, &measured.latency)?;
    costs(&mut text, "TLS, closed loop, memory broker", &measured.tls)?;
    costs(
        &mut text,
        "Virtual cluster, closed loop, devbroker",
        &measured.tenancy,
    )?;
    costs(&mut text, "Closed loop, Apache Kafka", &measured.kafka)?;
    costs(
        &mut text,
        "Scrapes, at 30 % load, memory broker",
        &measured.scraped,
    )?;
    crowds(&mut text, measured)?;
    aims(&mut text, measured)?;
    Ok(text)
}

fn conditions(text: &mut String, measured: &Measured) -> fmt::Result {
    writeln!(text, "| condition | |\n| --- | --- |")?;
    for (name, value) in cpu::hardware() {
        writeln!(text, "| {name} | {value} |")?;
    }
    writeln!(
        text,
        "| load average before and after | {:.1}, {:.1} |",
        measured.load_before,
        cpu::load_average()
    )?;
    for (name, version) in &measured.versions {
        writeln!(text, "| {name} | {version} |")?;
    }
    writeln!(
        text,
        "| mode | {}, {} rounds of {} s for each cell, peers in turn; {} s in all |",
        if measured.quick { "quick" } else { "full" },
        measured.rounds,
        measured.seconds,
        measured.took.as_secs(),
    )?;
    for condition in &measured.conditions {
        writeln!(text, "| | {condition} |")?;
    }
    writeln!(
        text,
        "\nFigures are medians over the rounds with (minimum-maximum). MB are 10^6 bytes of requests and answers on the client's side, \
         CPU time is user and system time of all processes of the peer.\n"
    )
}

fn costs(text: &mut String, title: &str, figures: &Figures) -> fmt::Result {
    if figures.rows().next().is_none() {
        return Ok(());
    }
    writeln!(text, "## {title}\n")?;
    writeln!(
        text,
        "| workload | peer | MB/s | requests/s | mcore per MB/s | CPU s per GiB | p50 us | p99 us | Produce, Fetch | cipher suite |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )?;
    for (workload, peer, outcomes) in figures.rows() {
        let shown = |figure: fn(&Outcome) -> f64| show(figures, workload, peer, figure);
        let cost = |figure| match peer == Kind::Direct.name() {
            true => "-".to_owned(),
            false => shown(figure),
        };
        writeln!(
            text,
            "| {workload} | {peer} | {} | {} | {} | {} | {} | {} | {} | {} |",
            shown(Outcome::megabytes_per_second),
            shown(Outcome::requests_per_second),
            cost(Outcome::millicores_per_megabyte),
            cost(Outcome::cpu_seconds_per_gib),
            shown(|outcome| outcome.latency.p50),
            shown(|outcome| outcome.latency.p99),
            versions(outcomes),
            outcomes
                .iter()
                .find_map(|outcome| outcome.suite.as_deref())
                .unwrap_or("-"),
        )?;
    }
    writeln!(text)
}

fn show(figures: &Figures, workload: &str, peer: &str, figure: fn(&Outcome) -> f64) -> String {
    figures
        .spread(workload, peer, figure)
        .map_or_else(|| "-".to_owned(), |spread| spread.to_string())
}

fn versions(outcomes: &[Outcome]) -> String {
    let mut seen: Vec<String> = outcomes
        .iter()
        .map(|outcome| format!("v{}, v{}", outcome.produce, outcome.fetch))
        .collect();
    seen.dedup();
    seen.join("; ")
}

fn latency(text: &mut String, figures: &Figures) -> fmt::Result {
    if figures.rows().next().is_none() {
        return Ok(());
    }
    writeln!(text, "## Latency, open loop, the same rate for all\n")?;
    writeln!(
        text,
        "30 % of what the slowest peer reaches in the closed loop. Latency counts from the intended moment of sending. Added is what a median is above that of direct.\n"
    )?;
    writeln!(
        text,
        "| workload | peer | requests/s | p50 us | p99 us | p99.9 us | added p50 | added p99 | added p99.9 | mcore per MB/s |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )?;
    let quantiles: [fn(&Outcome) -> f64; 3] = [
        |outcome| outcome.latency.p50,
        |outcome| outcome.latency.p99,
        |outcome| outcome.latency.p999,
    ];
    for (workload, peer, _) in figures.rows() {
        let direct = peer == Kind::Direct.name();
        let added = |figure: fn(&Outcome) -> f64| {
            let median = |peer| figures.spread(workload, peer, figure).map(|s| s.median);
            match (median(peer), median(Kind::Direct.name())) {
                (Some(with), Some(without)) if !direct => format!("{:.0}", with - without),
                _ => "-".to_owned(),
            }
        };
        let all = quantiles.map(|figure| show(figures, workload, peer, figure));
        let added = quantiles.map(added);
        let cost = match direct {
            true => "-".to_owned(),
            false => show(figures, workload, peer, Outcome::millicores_per_megabyte),
        };
        writeln!(
            text,
            "| {workload} | {peer} | {} | {} | {} | {cost} |",
            show(figures, workload, peer, Outcome::requests_per_second),
            all.join(" | "),
            added.join(" | "),
        )?;
    }
    writeln!(text)
}

fn crowds(text: &mut String, measured: &Measured) -> fmt::Result {
    writeln!(text, "## Connections\n")?;
    writeln!(
        text,
        "Each in a fresh process, with a connection to the broker of its own. Stalled ones have asked for 5 MiB and read nothing.\n"
    )?;
    writeln!(
        text,
        "| peer | connections | resident before, KiB | with them, KiB | each, KiB |\n| --- | --- | --- | --- | --- |"
    )?;
    for row in &measured.crowds.rows {
        writeln!(
            text,
            "| {} | {} {} | {} | {} | {:.1} |",
            row.peer,
            row.connections,
            row.conduct,
            row.before / 1024,
            row.with / 1024,
            row.kib_each(),
        )?;
    }
    writeln!(
        text,
        "\n| peer | connections opened, used for one request and closed, per second |\n| --- | --- |"
    )?;
    for (peer, rate) in &measured.crowds.taken {
        writeln!(text, "| {peer} | {rate:.0} |")?;
    }
    writeln!(text)
}

fn aims(text: &mut String, measured: &Measured) -> fmt::Result {
    writeln!(
        text,
        "## Targets\n\n| target | aim | found | |\n| --- | --- | --- | --- |"
    )?;
    for target in targets::all(measured) {
        let found = target
            .found
            .map_or_else(|| "-".to_owned(), |found| format!("{found:.2}"));
        let met = match target.met {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "not measured",
        };
        writeln!(
            text,
            "| {} | {} | {found} | {met} |",
            target.what, target.aim
        )?;
    }
    Ok(())
}
