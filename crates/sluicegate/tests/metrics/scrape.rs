//! Reading a scrape, and the rules that every scrape keeps.

use std::collections::{BTreeMap, BTreeSet};

use testkit::{Error, Result};

use crate::world::world;

/// Values by series, labels as in the text.
#[derive(Clone, Debug)]
pub(crate) struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    pub(crate) fn parse(text: &str) -> Result<Scrape> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let values = lines.map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        let values: Option<_> = values.collect();
        values
            .map(Scrape)
            .ok_or_else(|| Error::Answer(format!("not a scrape: {text}")))
    }

    /// The value of one series; 0 if it is not there.
    pub(crate) fn get(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or(0.0)
    }

    /// The sum over the series of a name whose labels contain all of `labels`.
    pub(crate) fn sum(&self, name: &str, labels: &[&str]) -> f64 {
        let of_name = |series: &str| {
            let rest = series.strip_prefix(name);
            rest.filter(|rest| rest.is_empty() || rest.starts_with('{'))
                .is_some_and(|rest| labels.iter().all(|label| rest.contains(label)))
        };
        let values = self.0.iter().filter(|(series, _)| of_name(series));
        values.map(|(_, value)| value).sum()
    }

    /// How many series of a name there are whose labels contain all of `labels`.
    pub(crate) fn count(&self, name: &str, labels: &[&str]) -> usize {
        let of_name = |series: &&String| {
            let rest = series.strip_prefix(name);
            rest.filter(|rest| rest.starts_with('{'))
                .is_some_and(|rest| labels.iter().all(|label| rest.contains(label)))
        };
        self.0.keys().filter(of_name).count()
    }

    /// All series.
    pub(crate) fn series(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub(crate) fn has(&self, series: &str) -> bool {
        self.0.contains_key(series)
    }
}

#[test]
fn series_are_born_at_zero() -> Result<()> {
    let world = world()?;
    let scrape = world.secured.scrape()?;
    for series in [
        "gateway_upstream_connection_close_total",
        "gateway_upstream_connection_creation_rate",
        "gateway_upstream_select_rate_seconds_max",
        "gateway_bytes_exchanged_total{direction=\"upstream\"}",
        "gateway_bytes_exchanged_vcluster_total{direction=\"downstream\",vcluster=\"passthrough\"}",
        "gateway_thread_request_rebuild_total{api_key=\"FETCH\",vcluster=\"passthrough\"}",
        "gateway_apiKeys_latency_request_response_seconds_count{apiKeys=\"Produce\",vcluster=\"passthrough\"}",
        "gateway_apiKeys_throttle_ms_seconds_count{apiKeys=\"Fetch\",vcluster=\"passthrough\"}",
        "gateway_latency_request_response_seconds_bucket{le=\"0.1\"}",
        "gateway_failed_authentications_total{username=\"<unknown>\"}",
        "gateway_failed_authentications_detail_total{mechanism=\"PLAIN\",reason=\"wrong_credentials\"}",
        "gateway_upstream_connect_failures_total{reason=\"tcp\"}",
        "gateway_client_close_total{reason=\"idle\"}",
        "gateway_kcache_size{type=\"usermappings\"}",
        "gateway_state_store_last_update_seconds{type=\"acls\"}",
        "gateway_thread_tasks{name=\"upstream-0\",threadId=\"0\"}",
    ] {
        assert!(scrape.has(series), "{series} in {scrape:#?}");
    }
    for check in ["config", "listeners", "upstream", "state", "draining"] {
        let series = format!("gateway_ready{{check=\"{check}\"}}");
        assert_eq!(scrape.get(&series), 1.0, "{series}");
    }
    assert_eq!(scrape.get("gateway_license_remaining_days"), f64::INFINITY);
    Ok(())
}

#[test]
fn both_forms_say_the_same_and_families_are_told_once() -> Result<()> {
    let world = world()?;
    let text = world.open.text("text/plain")?;
    let open = world.open.text("application/openmetrics-text")?;
    assert!(open.ends_with("# EOF\n") && !text.contains("# EOF"));
    let series = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let lines = lines.filter_map(|line| line.rsplit_once(' '));
        lines.map(|(series, _)| series.to_owned()).collect()
    };
    assert_eq!(series(&text), series(&open));
    for form in [&text, &open] {
        let mut seen = BTreeSet::new();
        for line in form.lines().filter(|line| line.starts_with("# TYPE ")) {
            assert!(seen.insert(line), "{line}");
        }
    }
    for line in [
        "# TYPE gateway_current_inflight_apiKeys_total unknown",
        "# TYPE gateway_thread_request_rebuild counter",
        "# TYPE gateway_apiKeys_latency_request_response_seconds summary",
        "# TYPE gateway_apiKeys_latency_request_response_seconds_max gauge",
    ] {
        assert!(open.lines().any(|l| l == line), "{line} in {open}");
    }
    Ok(())
}
