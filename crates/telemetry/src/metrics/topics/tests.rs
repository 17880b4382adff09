use super::*;
use crate::metrics::{Format, Metrics, MetricsSettings};

fn metrics(topics: TopicSettings) -> Metrics {
    Metrics::new(&MetricsSettings {
        topics,
        ..MetricsSettings::default()
    })
}

fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let text: String = metrics.encode(Format::Text).collect();
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(&format!("{series} ")));
    line.map(|value| value.parse().expect("a number"))
}

fn lines(metrics: &Metrics, name: &str) -> Vec<String> {
    let text: String = metrics.encode(Format::Text).collect();
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines.map(str::to_owned).collect()
}

fn folded(metrics: &Metrics, family: &str) -> f64 {
    let series = format!("gateway_metrics_series_folded_total{{family=\"{family}\"}}");
    value(metrics, &series).expect("born")
}

fn pattern(text: &str) -> Option<Regex> {
    Some(Regex::new(&format!("^(?:{text})$")).expect("a pattern"))
}

const BYTES: &str = "gateway_bytes_exchanged_topic_total";
const ENDS: &str = "gateway_topic_log_end_offset";
const COMMITS: &str = "gateway_topic_current_offset";
const LAG: &str = "gateway_consumer_lag{vcluster=\"v\",group=\"g\",topic=\"t\"}";
const AGE: &str = "gateway_consumer_lag_seconds{vcluster=\"v\",group=\"g\",topic=\"t\"}";

fn after(metrics: &Metrics, time: Duration) {
    let topics = metrics.topics();
    topics.tick(topics.started + time);
}

#[test]
fn topics_over_the_cap_are_folded_and_sums_stay_exact() {
    let metrics = metrics(TopicSettings {
        max_topics: 3,
        max_offset_series: 4,
        ..TopicSettings::default()
    });
    for i in 0..10 {
        let topic = metrics.topics().topic("v", &format!("t{i}"));
        topic.upstream.add(10);
        topic.downstream.add(1);
        topic.end(0, 5);
        topic.end(1, 6);
    }
    let all = lines(&metrics, &format!("{BYTES}{{direction=\"upstream\""));
    assert_eq!(all.len(), 4, "{all:?}");
    let other = format!("{BYTES}{{direction=\"upstream\",topic=\"<other>\",vcluster=\"v\"}}");
    assert_eq!(value(&metrics, &other), Some(70.0));
    assert_eq!(folded(&metrics, BYTES), 7.0);
    assert_eq!(lines(&metrics, &format!("{ENDS}{{")).len(), 4);
    assert!(folded(&metrics, ENDS) >= 8.0);
}

#[test]
fn the_same_name_in_two_virtual_clusters_is_two_topics() {
    let metrics = metrics(TopicSettings::default());
    for (vcluster, end) in [("a", 1), ("b", 2)] {
        let topic = metrics.topics().topic(vcluster, "t");
        topic.end(0, end);
        topic.upstream.add(end as u64);
    }
    for (vcluster, expected) in [("a", 1.0), ("b", 2.0)] {
        let end = format!("{ENDS}{{vcluster=\"{vcluster}\",topic=\"t\",partition=\"0\"}}");
        assert_eq!(value(&metrics, &end), Some(expected));
        let bytes =
            format!("{BYTES}{{direction=\"upstream\",topic=\"t\",vcluster=\"{vcluster}\"}}");
        assert_eq!(value(&metrics, &bytes), Some(expected));
    }
}

#[test]
fn a_late_topic_gets_the_place_of_a_deleted_one() {
    let metrics = metrics(TopicSettings {
        max_topics: 1,
        ..TopicSettings::default()
    });
    let topics = metrics.topics();
    let first = topics.topic("v", "first");
    let late = topics.topic("v", "late");
    assert!(!topics.is_stale(&first) && !topics.is_stale(&late));
    first.end(3, 1);
    topics.committed("v", "g", "first", 3, 1);
    topics.topic_deleted("v", "first");
    assert!(topics.is_stale(&first) && topics.is_stale(&late));
    // It was kept for its ends, under the name that all share; what was counted there stays there.
    topics.topic_deleted("v", "late");
    topics.topic("v", "late").upstream.add(7);
    let own = format!("{BYTES}{{direction=\"upstream\",topic=\"late\",vcluster=\"v\"}}");
    assert_eq!(value(&metrics, &own), Some(7.0));
    assert!(
        lines(
            &metrics,
            &format!("{BYTES}{{direction=\"upstream\",topic=\"first")
        )
        .is_empty()
    );
    assert!(lines(&metrics, &format!("{ENDS}{{")).is_empty());
    assert!(lines(&metrics, &format!("{COMMITS}{{")).is_empty());
}

#[test]
fn lists_say_who_is_shown() {
    let metrics = metrics(TopicSettings {
        max_topics: 1,
        topics: Names {
            allow: pattern("a.*"),
            deny: pattern("ab"),
        },
        groups: Names {
            allow: None,
            deny: pattern("tmp-.*"),
        },
        ..TopicSettings::default()
    });
    for name in ["a1", "a2", "ab", "c"] {
        let topic = metrics.topics().topic("v", name);
        topic.upstream.add(1);
        topic.end(0, 1);
        metrics.topics().committed("v", "g", name, 0, 1);
        metrics.topics().committed("v", "tmp-1", name, 0, 1);
    }
    let shown = lines(&metrics, &format!("{BYTES}{{direction=\"upstream\""));
    assert_eq!(shown.len(), 3, "{shown:?}");
    let other = format!("{BYTES}{{direction=\"upstream\",topic=\"<other>\",vcluster=\"v\"}}");
    assert_eq!(value(&metrics, &other), Some(2.0));
    assert_eq!(folded(&metrics, BYTES), 0.0, "not over a cap");
    assert_eq!(lines(&metrics, &format!("{ENDS}{{")).len(), 2);
    assert_eq!(lines(&metrics, &format!("{COMMITS}{{")).len(), 2);
}

#[test]
fn lag_is_that_of_the_partition_with_most_of_it() {
    let metrics = metrics(TopicSettings::default());
    let topics = metrics.topics();
    topics.committed("v", "g", "t", 0, 10);
    topics.committed("v", "g", "t", 1, 10);
    after(&metrics, Duration::from_secs(1));
    assert_eq!(value(&metrics, LAG), None, "no end is known");
    let topic = topics.topic("v", "t");
    topic.end(0, 10);
    topic.end(1, 15);
    after(&metrics, Duration::from_secs(2));
    assert_eq!(value(&metrics, LAG), Some(5.0));
    assert_eq!(value(&metrics, AGE), None, "older than what was seen");
    topics.committed("v", "g", "t", 1, 15);
    after(&metrics, Duration::from_secs(4));
    assert_eq!(
        (value(&metrics, LAG), value(&metrics, AGE)),
        (Some(0.0), Some(0.0))
    );
    topic.end(0, 12);
    after(&metrics, Duration::from_secs(6));
    after(&metrics, Duration::from_secs(16));
    assert_eq!(value(&metrics, LAG), Some(2.0));
    assert_eq!(value(&metrics, AGE), Some(12.0));
    topics.group_deleted("v", "g");
    after(&metrics, Duration::from_secs(18));
    assert_eq!(value(&metrics, LAG), None);
    assert!(lines(&metrics, &format!("{COMMITS}{{")).is_empty());
}

#[test]
fn a_poll_does_not_undo_what_came_while_it_was_under_way() {
    let metrics = metrics(TopicSettings::default());
    let topics = metrics.topics();
    let end = format!("{ENDS}{{vcluster=\"v\",topic=\"t\",partition=\"0\"}}");
    let commit = format!("{COMMITS}{{vcluster=\"v\",group=\"g\",topic=\"t\",partition=\"0\"}}");
    let topic = topics.topic("v", "t");
    let found = |offset| {
        [Committed {
            topic: "t",
            partition: 0,
            offset,
        }]
    };
    topic.end(0, 100);
    topics.committed("v", "g", "t", 0, 90);
    let poll = topics.begin_poll();
    topic.polled_end(0, 7, poll);
    topics.polled_commits("v", "g", &found(5), poll);
    assert_eq!(value(&metrics, &end), Some(7.0), "created anew");
    assert_eq!(value(&metrics, &commit), Some(5.0));
    let poll = topics.begin_poll();
    topic.end(0, 9);
    topics.committed("v", "g", "t", 0, 8);
    topic.polled_end(0, 7, poll);
    topics.polled_commits("v", "g", &found(5), poll);
    assert_eq!(value(&metrics, &end), Some(9.0));
    assert_eq!(value(&metrics, &commit), Some(8.0));
    topics.polled_commits("v", "g", &[], poll);
    assert_eq!(value(&metrics, &commit), Some(8.0));
    let poll = topics.begin_poll();
    topics.polled_commits("v", "g", &[], poll);
    assert_eq!(value(&metrics, &commit), None);
}

#[test]
fn without_partitions_there_are_sums() {
    let metrics = metrics(TopicSettings {
        partitions: false,
        max_offset_series: 16,
        ..TopicSettings::default()
    });
    let topics = metrics.topics();
    for i in 0..20 {
        let topic = topics.topic("v", &format!("t{i}"));
        for partition in 0..100 {
            topic.end(partition, 2);
            topics.committed("v", "g", &format!("t{i}"), partition, 1);
        }
    }
    after(&metrics, Duration::from_secs(1));
    assert_eq!(
        value(&metrics, &format!("{ENDS}{{vcluster=\"v\",topic=\"t3\"}}")),
        Some(200.0)
    );
    let commit = format!("{COMMITS}{{vcluster=\"v\",group=\"g\",topic=\"t3\"}}");
    assert_eq!(value(&metrics, &commit), Some(100.0));
    assert_eq!(lines(&metrics, &format!("{ENDS}{{")).len(), 16);
    assert_eq!(lines(&metrics, &format!("{COMMITS}{{")).len(), 16);
    assert!(folded(&metrics, ENDS) > 0.0 && folded(&metrics, COMMITS) > 0.0);
}

#[test]
fn what_is_idle_for_a_day_is_forgotten() {
    const HOUR: Duration = Duration::from_secs(3600);
    let metrics = metrics(TopicSettings::default());
    let topics = metrics.topics();
    let (busy, idle) = (topics.topic("v", "t"), topics.topic("v", "idle"));
    idle.upstream.add(1);
    idle.end(0, 1);
    topics.committed("v", "g", "idle", 0, 1);
    for hour in 1..26 {
        busy.upstream.add(1);
        after(&metrics, HOUR * hour);
    }
    assert!(topics.is_stale(&idle) && !topics.is_stale(&busy));
    for name in [BYTES, ENDS, COMMITS] {
        let left = lines(&metrics, &format!("{name}{{"));
        assert!(left.iter().all(|line| !line.contains("idle")), "{left:?}");
    }
    assert_eq!(lines(&metrics, &format!("{BYTES}{{")).len(), 2);
    assert!(topics.polled_groups().is_empty());
    assert_eq!(topics.polled_topics().len(), 1);
}

#[test]
fn a_group_that_kafka_still_has_is_not_forgotten() {
    const HOUR: Duration = Duration::from_secs(3600);
    let metrics = metrics(TopicSettings::default());
    let topics = metrics.topics();
    for group in ["g", "gone"] {
        topics.committed("v", group, "t", 0, 3);
    }
    topics.topic("v", "t").end(0, 8);
    for hour in 1..40 {
        topics.group_is_there("v", "g", topics.started + HOUR * hour);
        after(&metrics, HOUR * hour);
    }
    let left = lines(&metrics, &format!("{COMMITS}{{"));
    assert_eq!(left.len(), 1, "{left:?}");
    assert_eq!(value(&metrics, LAG), Some(5.0));
    // When its offsets are gone, so is it, and its place is for others.
    let poll = topics.begin_poll();
    topics.polled_commits("v", "g", &[], poll);
    assert!(topics.polled_groups().is_empty());
}

#[test]
fn what_only_groups_have_read_takes_no_place_of_what_is_used() {
    let metrics = metrics(TopicSettings {
        max_topics: 1,
        ..TopicSettings::default()
    });
    let topics = metrics.topics();
    let up = |topic| format!("{BYTES}{{direction=\"upstream\",topic=\"{topic}\",vcluster=\"v\"}}");
    topics.committed("v", "g", "t", 0, 3);
    topics.known("v", "t").expect("it is asked for").end(0, 8);
    assert!(lines(&metrics, &format!("{BYTES}{{")).is_empty());
    // A producer that is not answered finds it, too.
    topics.used("v", "t").expect("it is known").upstream.add(5);
    assert_eq!(value(&metrics, &up("t")), Some(5.0));
    assert!(topics.used("v", "made up").is_none());
    topics.topic("v", "t").end(0, 9);
    after(&metrics, Duration::from_secs(1));
    assert_eq!(value(&metrics, LAG), Some(6.0));
    topics.topic_deleted("v", "t");
    assert!(lines(&metrics, &format!("{ENDS}{{")).is_empty());
    topics.topic("v", "late").upstream.add(1);
    assert_eq!(value(&metrics, &up("late")), Some(1.0));
}
