//! What the brokers promise beyond the protocol: bounds, faults on command, benchmark mode.

mod common;

use std::time::Duration;

use common::*;
use devbroker::{Benchmark, Fault, Options, Rule};
use kafka_protocol::messages::*;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn memory_stays_bounded_oldest_first_and_compacted_topics_refuse() {
    let limit = 2 << 20;
    let cluster = start(Options::new().brokers(1).memory_limit(limit)).await;
    let mut client = Client::connect(&cluster, 1).await;
    create_topic(&mut client, "t", 1, &[]).await;
    let value = "v".repeat(100_000);
    for _ in 0..60 {
        assert_eq!(
            produce(&mut client, "t", 0, batch(PLAIN, &[("k", &value)]))
                .await
                .error_code,
            0
        );
        assert!(cluster.memory_used() <= limit);
    }
    let newest = fetch(&mut client, fetch_request("t", 0, 59)).await;
    assert_eq!((newest.error_code, newest.high_watermark), (0, 60));
    assert!(newest.log_start_offset > 30);
    create_topic(&mut client, "state", 1, &[("cleanup.policy", "compact")]).await;
    let mut refused = 0;
    for key in 0..40 {
        let answer = produce(
            &mut client,
            "state",
            0,
            batch(PLAIN, &[(&key.to_string(), &value)]),
        )
        .await;
        refused += i32::from(answer.error_code == 56);
    }
    assert!((15..30).contains(&refused), "{refused} of 40 refused");
    for _ in 0..40 {
        let answer = produce(&mut client, "state", 0, batch(PLAIN, &[("0", "small")])).await;
        assert_eq!(answer.error_code, 0);
    }
    let first = fetch(&mut client, fetch_request("state", 0, 0)).await;
    assert_eq!((first.error_code, first.log_start_offset), (0, 0));
    cluster.shutdown().await;
}

#[tokio::test]
async fn hostile_frames_end_their_own_connection_only() {
    let cluster = start(Options::new().brokers(1).max_connections(4)).await;
    let mut good = Client::connect(&cluster, 1).await;
    let frames: [&[u8]; 6] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0, 0, 0, 8, 0, 99, 0, 0, 0, 0, 0, 1],
        // Produce version 8 that announces 2^31 - 1 topics.
        &[
            0, 0, 0, 22, 0, 0, 0, 8, 0, 0, 0, 1, 255, 255, 255, 255, 0, 1, 0, 0, 0, 0, 0x7f, 0xff,
            0xff, 0xff,
        ],
        &[0, 0, 0, 9, 0, 3, 0, 12, 0, 0, 0, 1, 255],
    ];
    for frame in frames {
        let mut bad = Client::connect(&cluster, 1).await;
        bad.stream.write_all(frame).await.expect("sent");
        assert!(bad.is_closed().await, "{frame:?}");
    }
    let mut held = Vec::new();
    while held.len() < 3 {
        // The places of the connections above become free shortly after their clients see the end.
        let mut client = Client::connect(&cluster, 1).await;
        client.send(0, &ApiVersionsRequest::default()).await;
        if client.frame().await.is_some() {
            held.push(client);
        }
    }
    assert!(
        Client::connect(&cluster, 1).await.is_closed().await,
        "one connection too many"
    );
    good.call(0, ApiVersionsRequest::default()).await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn faults_strike_as_told() {
    let cluster = start(Options::new()).await;
    let faults = cluster.faults();
    let mut client = Client::connect(&cluster, 1).await;
    let versions = ApiVersionsRequest::default;
    faults.inject(Rule::new(Fault::Error(29)).api(3).times(1));
    faults.inject(Rule::new(Fault::Throttle(77)).broker(1).api(3));
    let throttled = client
        .call(13, MetadataRequest::default().with_topics(None))
        .await;
    assert_eq!((throttled.error_code, throttled.throttle_time_ms), (29, 77));
    assert_eq!(
        client
            .call(13, MetadataRequest::default().with_topics(None))
            .await
            .error_code,
        0
    );
    faults.clear();
    for fault in [Fault::Close, Fault::CloseAfter] {
        let id = faults.inject(Rule::new(fault).broker(2).times(1));
        let mut other = Client::connect(&cluster, 2).await;
        other.send(0, &versions()).await;
        assert!(other.is_closed().await);
        assert_eq!(faults.hits(id), 1);
    }
    faults.inject(Rule::new(Fault::WrongCorrelationId).times(1));
    client.send(0, &versions()).await;
    let wrong = client.frame().await.expect("answer");
    client.send(0, &versions()).await;
    let right = client.frame().await.expect("answer");
    assert_eq!(
        (wrong[3], right[3]),
        (right[3], right[3]),
        "ids follow each other, the first is one too high"
    );
    faults.inject(Rule::new(Fault::Garbage).times(1));
    client.send(0, &versions()).await;
    let garbage = client.frame().await.expect("answer");
    assert!(garbage.len() == right.len() && garbage[4..].iter().all(|b| *b == 0xff));
    faults.inject(Rule::new(Fault::Truncate(20)).times(1));
    client.send(0, &versions()).await;
    assert!(client.frame().await.is_none());
    let never = faults.inject(Rule::new(Fault::NeverAnswer).times(1));
    let mut silent = Client::connect(&cluster, 3).await;
    silent.send(0, &versions()).await;
    silent.send(0, &versions()).await;
    while faults.hits(never) == 0 {
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(Duration::from_millis(50), silent.frame())
        .await
        .expect_err("no answer");
    faults.clamp_versions(None, 1, 4, 11);
    faults.clamp_versions(Some(1), 0, 1, 0);
    let mut client = Client::connect(&cluster, 1).await;
    let shown = client.call(0, versions()).await;
    assert!(
        shown
            .api_keys
            .iter()
            .any(|k| k.api_key == 1 && k.max_version == 11)
    );
    assert!(!shown.api_keys.iter().any(|k| k.api_key == 0));
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_moved_leader_is_told_and_stopped_brokers_leave() {
    let cluster = start(Options::new()).await;
    let faults = cluster.faults();
    let mut client = Client::connect(&cluster, 1).await;
    let id = create_topic(&mut client, "t", 1, &[]).await;
    faults.move_leader("t", 0, 2).expect("moved");
    assert!(faults.move_leader("t", 5, 2).is_err() && faults.move_leader("t", 0, 9).is_err());
    let answer = client
        .call(
            12,
            produce_request("t", 0, None, batch(PLAIN, &[("k", "v")])),
        )
        .await;
    let partition = &answer.responses[0].partition_responses[0];
    assert_eq!(
        (
            partition.error_code,
            partition.current_leader.leader_id.0,
            partition.current_leader.leader_epoch
        ),
        (6, 2, 1)
    );
    assert_eq!(
        (
            answer.node_endpoints.len(),
            answer.node_endpoints[0].node_id.0
        ),
        (1, 2)
    );
    assert_eq!(
        answer.node_endpoints[0].port,
        i32::from(cluster.addresses()[1].port())
    );
    let mut request = fetch_request("t", 0, 0);
    request.topics[0].topic = Default::default();
    request.topics[0].topic_id = id;
    let answer = client.call(16, request.clone()).await;
    let partition = &answer.responses[0].partitions[0];
    assert_eq!(
        (
            partition.error_code,
            partition.current_leader.leader_id.0,
            partition.current_leader.leader_epoch
        ),
        (6, 2, 1)
    );
    assert_eq!(
        (
            answer.node_endpoints.len(),
            answer.node_endpoints[0].node_id.0
        ),
        (1, 2)
    );
    let mut second = Client::connect(&cluster, 2).await;
    request.topics[0].partitions[0].current_leader_epoch = 0;
    assert_eq!(
        second.call(16, request).await.responses[0].partitions[0].error_code,
        74
    );

    faults.stop_broker(2).await.expect("stopped");
    assert!(second.is_closed().await);
    let left = client
        .call(12, MetadataRequest::default().with_topics(None))
        .await;
    assert_eq!(
        left.brokers.iter().map(|b| b.node_id.0).collect::<Vec<_>>(),
        [1, 3]
    );
    assert_eq!(
        left.topics[0].partitions[0].leader_id.0, 1,
        "the other replica leads"
    );
    let port = faults.start_broker(2, Some(0)).await.expect("started");
    let back = client
        .call(12, MetadataRequest::default().with_topics(None))
        .await;
    assert_eq!(back.brokers[1].port, i32::from(port));
    assert_eq!(cluster.addresses()[1].port(), port);
    Client::connect(&cluster, 2)
        .await
        .call(0, ApiVersionsRequest::default())
        .await;
    cluster.shutdown().await;
}

#[tokio::test]
async fn benchmark_mode_stores_nothing_and_fetches_anything() {
    let cluster = start(Options::new().brokers(1).benchmark(Benchmark {
        record_bytes: 1_000,
        records: 10,
    }))
    .await;
    let mut client = Client::connect(&cluster, 1).await;
    create_topic(&mut client, "t", 1, &[]).await;
    let before = cluster.memory_used();
    assert_eq!(
        produce(&mut client, "t", 0, batch(PLAIN, &[("k", "v")]))
            .await
            .error_code,
        0
    );
    assert_eq!(cluster.memory_used(), before);
    let got = fetch(
        &mut client,
        fetch_request("t", 0, 123).with_max_bytes(45_000),
    )
    .await;
    assert_eq!(
        batches(&got.records.expect("records")),
        [(123, 10), (133, 10), (143, 10), (153, 10)]
    );

    // What is measured may keep its state in topics of this kind.
    create_topic(&mut client, "_state", 1, &[]).await;
    for base in 0..2 {
        let stored = produce(&mut client, "_state", 0, batch(PLAIN, &[("k", "v")])).await;
        assert_eq!((stored.error_code, stored.base_offset), (0, base));
    }
    assert!(cluster.memory_used() > before);
    cluster.shutdown().await;
}
