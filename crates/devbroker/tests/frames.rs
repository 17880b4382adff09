//! Requests made by hand, one frame at a time: what clients rarely do, and the exact fields of what they do.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::*;
use devbroker::Options;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn api_versions_of_every_version_and_of_one_too_high() {
    let cluster = start(Options::new().brokers(1)).await;
    let mut client = Client::connect(&cluster, 1).await;
    for version in 0..=4 {
        let request = ApiVersionsRequest::default();
        let request = request
            .with_client_software_name(text("test"))
            .with_client_software_version(text("1"));
        let response = client
            .call(
                version,
                if version < 3 {
                    ApiVersionsRequest::default()
                } else {
                    request
                },
            )
            .await;
        assert!(
            response
                .api_keys
                .iter()
                .any(|k| k.api_key == 0 && k.max_version == 13)
        );
    }
    client
        .stream
        .write_all(&[0, 0, 0, 10, 0, 18, 0, 99, 0, 0, 0, 7, 255, 255])
        .await
        .expect("sent");
    let frame = client.frame().await.expect("answer");
    assert_eq!(frame[..6], [0, 0, 0, 7, 0, 35]);
    cluster.shutdown().await;
}

#[tokio::test]
async fn metadata_creates_on_demand_and_spreads_leaders() {
    let cluster = start(
        Options::new()
            .default_partitions(6)
            .racks(["r1", "r2", "r3"])
            .cluster_id("abc"),
    )
    .await;
    let mut client = Client::connect(&cluster, 1).await;
    let ask = |allow: bool| {
        let wanted =
            metadata_request::MetadataRequestTopic::default().with_name(Some(topic("made")));
        MetadataRequest::default()
            .with_topics(Some(vec![wanted]))
            .with_allow_auto_topic_creation(allow)
    };
    let response = client.call(12, ask(false)).await;
    assert_eq!(response.topics[0].error_code, 3);
    let response = client.call(12, ask(true)).await;
    assert_eq!(
        (
            response.topics[0].error_code,
            response.topics[0].partitions.len()
        ),
        (0, 6)
    );
    let leaders: Vec<i32> = response.topics[0]
        .partitions
        .iter()
        .map(|p| p.leader_id.0)
        .collect();
    assert!(
        (1..=3).all(|node| leaders.iter().filter(|l| **l == node).count() == 2),
        "{leaders:?}"
    );
    assert_eq!(response.cluster_id, Some(text("abc")));
    assert_eq!(response.brokers.len(), 3);
    assert_eq!(response.brokers[1].rack, Some(text("r2")));
    let id = response.topics[0].topic_id;
    let by_id = metadata_request::MetadataRequestTopic::default()
        .with_topic_id(id)
        .with_name(None);
    let response = client
        .call(
            12,
            MetadataRequest::default().with_topics(Some(vec![by_id])),
        )
        .await;
    assert_eq!(response.topics[0].name, Some(topic("made")));
    for version in 0..=13 {
        let all = if version == 0 { Some(vec![]) } else { None };
        let response = client
            .call(version, MetadataRequest::default().with_topics(all))
            .await;
        assert_eq!(response.topics.len(), 1, "version {version}");
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn produce_and_fetch_in_all_versions() {
    let cluster = start(Options::new().brokers(1)).await;
    let mut client = Client::connect(&cluster, 1).await;
    let id = create_topic(&mut client, "t", 1, &[]).await;
    for version in 3..=13 {
        let mut request = produce_request("t", 0, None, batch(PLAIN, &[("k", "v"), ("l", "w")]));
        if version >= 13 {
            request.topic_data[0].name = Default::default();
            request.topic_data[0].topic_id = id;
        }
        let response = client.call(version, request).await;
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(
            (partition.error_code, partition.base_offset),
            (0, 2 * i64::from(version - 3)),
            "version {version}"
        );
    }
    for version in 4..=18 {
        let mut request = fetch_request("t", 0, 5);
        if version >= 13 {
            request.topics[0].topic = Default::default();
            request.topics[0].topic_id = id;
        }
        if version < 7 {
            request.session_epoch = -1;
        }
        let response = client.call(version, request).await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!(
            (
                partition.error_code,
                partition.high_watermark,
                partition.last_stable_offset
            ),
            (0, 22, 22)
        );
        let found = batches(partition.records.as_ref().expect("records"));
        assert_eq!(
            (found.first(), found.len()),
            (Some(&(4, 2)), 9),
            "version {version}"
        );
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn bad_batches_are_refused_each_with_its_error() {
    let cluster = start(Options::new().brokers(1)).await;
    let mut client = Client::connect(&cluster, 1).await;
    create_topic(&mut client, "t", 1, &[("max.message.bytes", "200")]).await;
    create_topic(
        &mut client,
        "compacted",
        1,
        &[("cleanup.policy", "compact")],
    )
    .await;
    let good = batch(PLAIN, &[("k", "v")]);
    let mut flipped = good.to_vec();
    flipped[65] ^= 1;
    let mut magic = good.to_vec();
    magic[16] = 1;
    let large = batch(PLAIN, &[("k", &"v".repeat(300))]);
    let twice = [good.clone(), good.clone()].concat();
    let cases = [
        ("t", flipped, 2),
        ("t", magic, 43),
        ("t", large.to_vec(), 10),
        ("t", twice, 87),
        ("none", good.to_vec(), 3),
    ];
    for (name, records, error) in cases {
        assert_eq!(
            produce(&mut client, name, 0, Bytes::from(records))
                .await
                .error_code,
            error
        );
    }
    assert_eq!(
        produce(&mut client, "t", 1, good.clone()).await.error_code,
        3
    );
    assert_eq!(produce(&mut client, "t", 0, good).await.base_offset, 0);
    cluster.shutdown().await;
}

#[tokio::test]
async fn fetch_waits_honours_limits_and_always_returns_one_batch() {
    let cluster = start(Options::new().brokers(1)).await;
    let mut client = Client::connect(&cluster, 1).await;
    create_topic(&mut client, "t", 1, &[]).await;
    let mut waiting = Client::connect(&cluster, 1).await;
    waiting
        .send(12, &fetch_request("t", 0, 0).with_max_wait_ms(60_000))
        .await;
    let record = "v".repeat(1_000);
    for _ in 0..3 {
        produce(&mut client, "t", 0, batch(PLAIN, &[("k", &record)])).await;
    }
    assert!(waiting.frame().await.expect("woken").len() > 1_000);
    let mut small = fetch_request("t", 0, 0).with_max_bytes(10);
    small.topics[0].partitions[0].partition_max_bytes = 10;
    assert_eq!(
        batches(
            fetch(&mut client, small)
                .await
                .records
                .as_ref()
                .expect("one")
        )
        .len(),
        1
    );
    let two = fetch_request("t", 0, 0).with_max_bytes(2_500);
    assert_eq!(
        batches(fetch(&mut client, two).await.records.as_ref().expect("two")).len(),
        2
    );
    for offset in [-1, 4] {
        assert_eq!(
            fetch(&mut client, fetch_request("t", 0, offset))
                .await
                .error_code,
            1
        );
    }
    let session = fetch_request("t", 0, 0)
        .with_session_id(5)
        .with_session_epoch(1);
    assert_eq!(client.call(12, session).await.error_code, 70);
    cluster.shutdown().await;
}

#[tokio::test]
async fn offsets_are_listed_and_records_deleted() {
    use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let cluster = start(Options::new().brokers(1)).await;
    let mut client = Client::connect(&cluster, 1).await;
    create_topic(&mut client, "t", 1, &[]).await;
    produce(
        &mut client,
        "t",
        0,
        batch(PLAIN, &[("a", "1"), ("b", "2"), ("c", "3")]),
    )
    .await;
    produce(&mut client, "t", 0, batch(PLAIN, &[("d", "4")])).await;
    let list = |timestamp| {
        let partition = ListOffsetsPartition::default()
            .with_timestamp(timestamp)
            .with_current_leader_epoch(-1);
        let topics = vec![
            ListOffsetsTopic::default()
                .with_name(topic("t"))
                .with_partitions(vec![partition]),
        ];
        ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(topics)
    };
    for (timestamp, offset) in [
        (-1, 4),
        (-2, 0),
        (-3, 2),
        (first_timestamp() + 1, 1),
        (0, 0),
        (first_timestamp() + 5_000, -1),
    ] {
        let response = client.call(9, list(timestamp)).await;
        assert_eq!(
            response.topics[0].partitions[0].offset, offset,
            "timestamp {timestamp}"
        );
    }
    for version in 1..=10 {
        assert_eq!(
            client.call(version, list(-1)).await.topics[0].partitions[0].offset,
            4
        );
    }
    use delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    let delete = |offset| {
        let topics = vec![
            DeleteRecordsTopic::default()
                .with_name(topic("t"))
                .with_partitions(vec![DeleteRecordsPartition::default().with_offset(offset)]),
        ];
        DeleteRecordsRequest::default()
            .with_topics(topics)
            .with_timeout_ms(1_000)
    };
    let deleted = client.call(2, delete(2)).await.topics[0].partitions[0].clone();
    assert_eq!((deleted.error_code, deleted.low_watermark), (0, 2));
    assert_eq!(
        client.call(2, delete(9)).await.topics[0].partitions[0].error_code,
        1
    );
    assert_eq!(
        fetch(&mut client, fetch_request("t", 0, 1))
            .await
            .error_code,
        1
    );
    assert_eq!(
        fetch(&mut client, fetch_request("t", 0, 2))
            .await
            .log_start_offset,
        2
    );
    assert_eq!(
        client.call(9, list(-2)).await.topics[0].partitions[0].offset,
        2
    );
    cluster.shutdown().await;
}

#[tokio::test]
async fn idempotent_producers_are_deduplicated() {
    let cluster = start(Options::new().brokers(1)).await;
    let mut client = Client::connect(&cluster, 1).await;
    create_topic(&mut client, "t", 1, &[]).await;
    let init = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(1_000);
    let given = client
        .call(
            4,
            init.with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1),
        )
        .await;
    let producer = Producer {
        id: given.producer_id.0,
        epoch: given.producer_epoch,
        sequence: 0,
        transactional: false,
    };
    let first = batch(producer, &[("a", "1"), ("b", "2")]);
    assert_eq!(
        produce(&mut client, "t", 0, first.clone())
            .await
            .base_offset,
        0
    );
    let again = produce(&mut client, "t", 0, first).await;
    assert_eq!((again.error_code, again.base_offset), (0, 0));
    let gap = batch(
        Producer {
            sequence: 5,
            ..producer
        },
        &[("c", "3")],
    );
    assert_eq!(produce(&mut client, "t", 0, gap).await.error_code, 45);
    let next = batch(
        Producer {
            sequence: 2,
            ..producer
        },
        &[("c", "3")],
    );
    assert_eq!(produce(&mut client, "t", 0, next).await.base_offset, 2);
    cluster.shutdown().await;
}

#[tokio::test]
async fn aborted_transactions_are_listed_for_committed_readers_and_timeouts_fence() {
    use add_partitions_to_txn_request::AddPartitionsToTxnTopic;
    let cluster = start(Options::new().brokers(1)).await;
    let mut client = Client::connect(&cluster, 1).await;
    create_topic(&mut client, "t", 1, &[]).await;
    let id = || TransactionalId(text("tx"));
    let init = |timeout| {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(id()))
            .with_transaction_timeout_ms(timeout);
        request
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    };
    let given = client.call(4, init(60_000)).await;
    let producer = Producer {
        id: given.producer_id.0,
        epoch: given.producer_epoch,
        sequence: 0,
        transactional: true,
    };
    let add = |producer: Producer| {
        let topics = vec![
            AddPartitionsToTxnTopic::default()
                .with_name(topic("t"))
                .with_partitions(vec![0]),
        ];
        AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(id())
            .with_v3_and_below_producer_id(ProducerId(producer.id))
            .with_v3_and_below_producer_epoch(producer.epoch)
            .with_v3_and_below_topics(topics)
    };
    let records = batch(producer, &[("a", "1")]);
    let early = client
        .call(11, produce_request("t", 0, Some("tx"), records.clone()))
        .await;
    assert_eq!(
        early.responses[0].partition_responses[0].error_code, 48,
        "partition not yet in the transaction"
    );
    client.call(3, add(producer)).await;
    let sent = client
        .call(11, produce_request("t", 0, Some("tx"), records))
        .await;
    assert_eq!(sent.responses[0].partition_responses[0].error_code, 0);
    let committed = |offset| fetch_request("t", 0, offset).with_isolation_level(1);
    let open = fetch(&mut client, committed(0)).await;
    assert_eq!(
        (
            open.error_code,
            open.high_watermark,
            open.last_stable_offset
        ),
        (0, 1, 0)
    );
    assert!(open.records.is_none_or(|r| r.is_empty()));
    let end = EndTxnRequest::default()
        .with_transactional_id(id())
        .with_producer_id(ProducerId(producer.id));
    let end = end
        .with_producer_epoch(producer.epoch)
        .with_committed(false);
    assert_eq!(client.call(3, end.clone()).await.error_code, 0);
    let ended = fetch(&mut client, committed(0)).await;
    assert_eq!((ended.high_watermark, ended.last_stable_offset), (2, 2));
    let aborted = ended.aborted_transactions.expect("listed");
    assert_eq!(
        (
            aborted.len(),
            aborted[0].producer_id.0,
            aborted[0].first_offset
        ),
        (1, producer.id, 0)
    );
    assert_eq!(batches(&ended.records.expect("both")), [(0, 1), (1, 1)]);

    let short = client.call(4, init(1)).await;
    let producer = Producer {
        epoch: short.producer_epoch,
        ..producer
    };
    let added = client.call(3, add(producer)).await;
    assert_eq!(
        added.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code,
        0
    );
    let expired = async {
        while fetch(&mut client, committed(2)).await.high_watermark < 3 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), expired)
        .await
        .expect("aborted by timeout");
    let late = client
        .call(3, end.with_producer_epoch(producer.epoch))
        .await;
    assert_eq!(late.error_code, 90, "fenced");
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_group_of_one_joins_syncs_commits_and_leaves() {
    let cluster = start(Options::new().brokers(1)).await;
    let mut client = Client::connect(&cluster, 1).await;
    create_topic(&mut client, "t", 1, &[]).await;
    let group = || GroupId(text("g"));
    let protocols = || {
        let protocol =
            join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
        vec![protocol.with_metadata(Bytes::from_static(b"subscription"))]
    };
    let join = |member: StrBytes| {
        let request = JoinGroupRequest::default()
            .with_group_id(group())
            .with_member_id(member)
            .with_protocols(protocols());
        request
            .with_protocol_type(text("consumer"))
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(10_000)
    };
    let told = client.call(9, join(text(""))).await;
    assert_eq!(told.error_code, 79, "member id first");
    let joined = client.call(9, join(told.member_id.clone())).await;
    assert_eq!(
        (
            joined.error_code,
            joined.generation_id,
            joined.members.len()
        ),
        (0, 1, 1)
    );
    assert_eq!(joined.leader, joined.member_id);
    let member = joined.member_id.clone();
    let assignment =
        sync_group_request::SyncGroupRequestAssignment::default().with_member_id(member.clone());
    let sync = SyncGroupRequest::default()
        .with_group_id(group())
        .with_generation_id(1)
        .with_member_id(member.clone());
    let sync = sync
        .with_protocol_name(Some(text("range")))
        .with_protocol_type(Some(text("consumer")));
    let sync = sync.with_assignments(vec![
        assignment.with_assignment(Bytes::from_static(b"mine")),
    ]);
    assert_eq!(
        client.call(5, sync).await.assignment,
        Bytes::from_static(b"mine")
    );
    let beat = |generation| {
        HeartbeatRequest::default()
            .with_group_id(group())
            .with_generation_id(generation)
            .with_member_id(member.clone())
    };
    assert_eq!(client.call(4, beat(1)).await.error_code, 0);
    assert_eq!(client.call(4, beat(7)).await.error_code, 22);
    let partition =
        offset_commit_request::OffsetCommitRequestPartition::default().with_committed_offset(42);
    let topics = vec![
        offset_commit_request::OffsetCommitRequestTopic::default()
            .with_name(topic("t"))
            .with_partitions(vec![partition]),
    ];
    let commit = OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(1)
        .with_topics(topics);
    assert_eq!(
        client.call(8, commit.clone()).await.topics[0].partitions[0].error_code,
        25,
        "no member named"
    );
    assert_eq!(
        client
            .call(8, commit.with_member_id(member.clone()))
            .await
            .topics[0]
            .partitions[0]
            .error_code,
        0
    );
    for version in 1..=9 {
        let request = if version >= 8 {
            let wanted = offset_fetch_request::OffsetFetchRequestGroup::default()
                .with_group_id(group())
                .with_topics(None);
            OffsetFetchRequest::default().with_groups(vec![wanted])
        } else {
            let wanted =
                offset_fetch_request::OffsetFetchRequestTopic::default().with_name(topic("t"));
            OffsetFetchRequest::default()
                .with_group_id(group())
                .with_topics(Some(vec![wanted.with_partition_indexes(vec![0])]))
        };
        let response = client.call(version, request).await;
        let offset = match response.groups.first() {
            Some(group) => group.topics[0].partitions[0].committed_offset,
            None => response.topics[0].partitions[0].committed_offset,
        };
        assert_eq!(offset, 42, "version {version}");
    }
    let described = client
        .call(
            6,
            DescribeGroupsRequest::default().with_groups(vec![group()]),
        )
        .await;
    assert_eq!(
        (
            &*described.groups[0].group_state,
            &*described.groups[0].protocol_data
        ),
        ("Stable", "range")
    );
    assert_eq!(
        described.groups[0].members[0].member_assignment,
        Bytes::from_static(b"mine")
    );
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group()]);
    assert_eq!(
        client.call(2, delete.clone()).await.results[0].error_code,
        68
    );
    let leaving = leave_group_request::MemberIdentity::default().with_member_id(member);
    let left = client
        .call(
            5,
            LeaveGroupRequest::default()
                .with_group_id(group())
                .with_members(vec![leaving]),
        )
        .await;
    assert_eq!(left.members[0].error_code, 0);
    assert_eq!(
        client.call(2, delete.clone()).await.results[0].error_code,
        0
    );
    assert_eq!(client.call(2, delete).await.results[0].error_code, 69);
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_silent_member_loses_its_place() {
    let cluster = start(Options::new().brokers(1)).await;
    let mut client = Client::connect(&cluster, 1).await;
    let join = JoinGroupRequest::default()
        .with_group_id(GroupId(text("g")))
        .with_protocol_type(text("consumer"));
    let protocol = join_group_request::JoinGroupRequestProtocol::default().with_name(text("range"));
    let join = join
        .with_protocols(vec![protocol])
        .with_session_timeout_ms(1_000)
        .with_rebalance_timeout_ms(1_000);
    assert_eq!(client.call(3, join).await.error_code, 0);
    let empty = async {
        loop {
            let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text("g"))]);
            if client.call(5, request).await.groups[0].members.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), empty)
        .await
        .expect("session ends");
    cluster.shutdown().await;
}

#[tokio::test]
async fn bytes_after_the_end_of_a_request_are_let_pass() {
    let cluster = start(Options::new().brokers(1)).await;
    let mut client = Client::connect(&cluster, 1).await;
    // Metadata version 13 for all topics as librdkafka 2.16 sends it.
    let mut frame = vec![0, 0, 0, 25, 0, 3, 0, 13, 0, 0, 0, 3, 0, 7];
    frame.extend_from_slice(b"rdkafka\0");
    frame.extend_from_slice(&[0, 0, 0, 0, 1, 0, 0]);
    tokio::io::AsyncWriteExt::write_all(&mut client.stream, &frame)
        .await
        .expect("sent");
    let answer = client.frame().await.expect("answer");
    assert_eq!(answer[..4], [0, 0, 0, 3]);
    cluster.shutdown().await;
}
