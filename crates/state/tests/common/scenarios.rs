//! What the store promises, for any broker.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::{
    AddPartitionsToTxnRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    EndTxnRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest, ProducerId,
    TransactionalId,
};
use kafka_protocol::protocol::StrBytes;
use state::{
    Conflict, OpenError, Options, Status, Store, StoreError, StoreTopic, Transport, Upsert,
    WriteError,
};
use wire::api::ApiKey;
use wire::error_code::POLICY_VIOLATION;

use super::{
    Fate, Faulty, LIMIT, Producer, ask, binding, broken, client, eventually, external, local, open,
    options, produce, raw, size, topic_name,
};

/// Every scenario that needs nothing but a broker.
pub(crate) async fn all(bootstrap: &str) {
    resources_survive(bootstrap).await;
    external_names_are_unique(bootstrap).await;
    two_nodes_take_turns(bootstrap).await;
    a_racing_pair_agrees(bootstrap).await;
    strange_records_do_no_harm(bootstrap).await;
    aborted_records_do_not_count(bootstrap).await;
    several_partitions_work(bootstrap).await;
    a_lost_commit_is_settled(bootstrap).await;
    an_outage_keeps_the_snapshot(bootstrap).await;
    a_full_refresh_changes_nothing(bootstrap).await;
    the_wrong_policy_stops_the_start(bootstrap).await;
    deleted_records_break_the_store(bootstrap).await;
    a_deleted_topic_breaks_the_store(bootstrap).await;
}

async fn resources_survive(bootstrap: &str) {
    let id = "survive";
    let store = open(bootstrap, id).await;
    let mut changes = store.changes();
    assert_eq!(store.status(), Status::Current);
    let account = local("v1", "alice");
    assert_eq!(
        store.put_account(account.clone()).await.unwrap(),
        Upsert::Created
    );
    assert_eq!(**store.snapshot().account("v1", "alice").unwrap(), account);
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert_eq!(
        store.put_account(account.clone()).await.unwrap(),
        Upsert::NotChanged
    );
    let changed = external("v1", "alice", "CN=alice");
    assert_eq!(
        store.put_account(changed.clone()).await.unwrap(),
        Upsert::Updated
    );
    store.put_account(local("v2", "alice")).await.unwrap();
    store.put_account(local("v2", "bob")).await.unwrap();
    assert!(store.delete_account("v2", "bob").await.unwrap());
    assert!(!store.delete_account("v2", "bob").await.unwrap());

    let many: Vec<_> = (0..3_000)
        .map(|n| binding("v1", &format!("t{n}")))
        .collect();
    assert_eq!(store.acls_add(many.clone()).await.unwrap(), 3_000);
    assert_eq!(store.acls_add(many).await.unwrap(), 0);
    let gone = store
        .acls_remove(|b| b.resource_name.ends_with('7'))
        .await
        .unwrap();
    assert_eq!(gone.len(), 300);
    store.acls_add(vec![binding("v2", "other")]).await.unwrap();
    let replaced = store
        .acls_replace("v1", vec![binding("v1", "only")])
        .await
        .unwrap();
    assert_eq!(replaced, Upsert::Updated);
    let too_large = {
        let mut account = local("v1", "large");
        account
            .metadata
            .insert("x".to_owned(), "y".repeat(1 << 20).into());
        store.put_account(account).await
    };
    assert!(matches!(
        too_large,
        Err(WriteError::Store(StoreError::TooLarge { .. }))
    ));

    let again = open(bootstrap, id).await;
    assert_eq!(*again.snapshot(), *store.snapshot());
    assert_eq!(**again.snapshot().account("v1", "alice").unwrap(), changed);
    assert_eq!(again.snapshot().acls.len(), 2);
    assert_eq!(
        (
            size(&again, StoreTopic::UserMappings),
            size(&again, StoreTopic::Acls)
        ),
        (2, 2)
    );
}

async fn external_names_are_unique(bootstrap: &str) {
    let (one, two) = (
        open(bootstrap, "unique").await,
        open(bootstrap, "unique").await,
    );
    let (a, b) = tokio::join!(
        one.put_account(external("v1", "alice", "CN=a")),
        two.put_account(external("v2", "bob", "CN=a"))
    );
    let refused = match (a, b) {
        (Ok(Upsert::Created), Err(error)) | (Err(error), Ok(Upsert::Created)) => error,
        other => panic!("exactly one should win: {other:?}"),
    };
    let WriteError::Refused(Conflict::ExternalName { external_name, .. }) = refused else {
        panic!("{refused}");
    };
    assert_eq!(external_name, "CN=a");
}

/// Reading on one node what another one wrote.
async fn two_nodes_take_turns(bootstrap: &str) {
    let (one, two) = (
        open(bootstrap, "turns").await,
        open(bootstrap, "turns").await,
    );
    for n in 0..10 {
        let name = format!("user-{n}");
        one.put_account(local("v", &name)).await.unwrap();
        assert!(two.refresh(LIMIT).await);
        assert!(two.snapshot().account("v", &name).is_some());
        assert!(two.delete_account("v", &name).await.unwrap());
        assert!(one.refresh(LIMIT).await);
        assert!(one.snapshot().account("v", &name).is_none());
    }
}

/// 200 changes through two nodes at once, each of two records that belong together.
async fn a_racing_pair_agrees(bootstrap: &str) {
    let id = "race";
    let (one, two) = (open(bootstrap, id).await, open(bootstrap, id).await);
    let writer = |store: Store, node: &'static str| async move {
        for n in 0..100 {
            let account = local("v", &format!("{node}-{n}"));
            let acl = binding("v", &format!("{node}-{n}"));
            let written: Result<(), WriteError<()>> = store
                .write(|snapshot, changes| {
                    assert_eq!(
                        snapshot.accounts.len(),
                        snapshot.acls.len(),
                        "half a change"
                    );
                    changes.put(&account);
                    changes.put(&acl);
                    Ok(())
                })
                .await;
            written.expect("written");
            assert!(store.snapshot().account("v", &account.name).is_some());
        }
    };
    tokio::join!(writer(one.clone(), "a"), writer(two.clone(), "b"));
    let fresh = open(bootstrap, id).await;
    assert!(one.refresh(LIMIT).await && two.refresh(LIMIT).await);
    for store in [&one, &two, &fresh] {
        let snapshot = store.snapshot();
        assert_eq!((snapshot.accounts.len(), snapshot.acls.len()), (200, 200));
        assert_eq!(*snapshot, *fresh.snapshot());
        for node in ["a", "b"] {
            for n in 0..100 {
                assert!(snapshot.account("v", &format!("{node}-{n}")).is_some());
            }
        }
    }
}

async fn strange_records_do_no_harm(bootstrap: &str) {
    let id = "strange";
    let store = open(bootstrap, id).await;
    store.put_account(local("v", "kept")).await.unwrap();
    let transport = client(bootstrap);
    let accounts = topic_name(StoreTopic::UserMappings, id);
    let newer = r#"["service-account","v","newer"]"#;
    let records = vec![
        raw("not json", "x"),
        raw("", ""),
        raw(r#"["service-account","v","x"]"#, "[[[["),
        raw(r#"["service-account","v","x"]"#, &"[".repeat(100_000)),
        raw(r#"["service-account","v"]"#, r#"{"v":1}"#),
        raw(
            r#"["service-account", "v", "spaces"]"#,
            r#"{"v":1,"type":"LOCAL"}"#,
        ),
        raw(r#"["star","v"]"#, r#"{"v":1}"#),
        raw(newer, r#"{"v":99,"type":"QUANTUM"}"#),
        raw(&"k".repeat(20_000), "v"),
        (Some(b"\xff\xfe".to_vec()), Some(b"\xff".to_vec())),
        raw(
            r#"["service-account","v","good"]"#,
            r#"{"v":1,"type":"LOCAL","later":1}"#,
        ),
    ];
    produce(transport.as_ref(), &accounts, 0, &records, None).await;
    assert!(store.refresh(LIMIT).await);
    let fresh = open(bootstrap, id).await;
    for store in [&store, &fresh] {
        let snapshot = store.snapshot();
        let names: Vec<_> = snapshot.accounts.iter().map(|a| a.name.clone()).collect();
        assert_eq!(names, ["good", "kept"]);
        assert_eq!(size(store, StoreTopic::UserMappings), 10);
    }
    // What a newer release wrote is not to be overwritten; a tombstone frees the name.
    let refused = store.put_account(local("v", "newer")).await;
    assert!(matches!(
        refused,
        Err(WriteError::Store(StoreError::Newer { .. }))
    ));
    let tombstone = (Some(newer.into()), None);
    produce(transport.as_ref(), &accounts, 0, &[tombstone], None).await;
    assert_eq!(
        store.put_account(local("v", "newer")).await.unwrap(),
        Upsert::Created
    );
}

async fn aborted_records_do_not_count(bootstrap: &str) {
    let id = "aborted";
    let store = open(bootstrap, id).await;
    store.put_account(local("v", "before")).await.unwrap();
    let transport = client(bootstrap);
    let accounts = topic_name(StoreTopic::UserMappings, id);
    let mut open_one = None;
    for (name, committed) in [("no", Some(false)), ("yes", Some(true)), ("never", None)] {
        let producer = begin(transport.as_ref(), &format!("{id}-{name}"), &accounts).await;
        let key = format!(r#"["service-account","v","{name}"]"#);
        let record = raw(&key, r#"{"v":1,"type":"LOCAL"}"#);
        produce(transport.as_ref(), &accounts, 0, &[record], Some(&producer)).await;
        match committed {
            Some(committed) => end(transport.as_ref(), &producer, committed).await,
            None => open_one = Some(producer),
        }
    }
    // The open transaction holds nobody up who only reads; what follows it waits.
    let fresh = open(bootstrap, id).await;
    assert!(fresh.snapshot().account("v", "yes").is_some());
    assert!(fresh.snapshot().account("v", "no").is_none());
    end(transport.as_ref(), &open_one.unwrap(), false).await;
    store.put_account(local("v", "after")).await.unwrap();
    assert!(fresh.refresh(LIMIT).await);
    for store in [&store, &fresh] {
        let snapshot = store.snapshot();
        let names: Vec<_> = snapshot.accounts.iter().map(|a| a.name.clone()).collect();
        assert_eq!(names, ["after", "before", "yes"]);
    }
}

async fn begin(
    transport: &dyn Transport,
    id: &str,
    topic: &kafka_protocol::messages::TopicName,
) -> Producer {
    let id = TransactionalId(StrBytes::from_string(id.to_owned()));
    loop {
        let asked = InitProducerIdRequest::default()
            .with_transactional_id(Some(id.clone()))
            .with_transaction_timeout_ms(60_000)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1);
        let given = ask(transport, 4, asked).await;
        if given.error_code != 0 {
            // The coordinator may still be loading.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        }
        let asked = AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(id.clone())
            .with_v3_and_below_producer_id(given.producer_id)
            .with_v3_and_below_producer_epoch(given.producer_epoch)
            .with_v3_and_below_topics(vec![
                AddPartitionsToTxnTopic::default()
                    .with_name(topic.clone())
                    .with_partitions(vec![0]),
            ]);
        let added = ask(transport, 3, asked).await;
        let result = &added.results_by_topic_v3_and_below[0].results_by_partition[0];
        assert_eq!(result.partition_error_code, 0);
        return (id, given.producer_id.0, given.producer_epoch);
    }
}

async fn end(transport: &dyn Transport, producer: &Producer, committed: bool) {
    let asked = EndTxnRequest::default()
        .with_transactional_id(producer.0.clone())
        .with_producer_id(ProducerId(producer.1))
        .with_producer_epoch(producer.2)
        .with_committed(committed);
    assert_eq!(ask(transport, 3, asked).await.error_code, 0);
}

async fn create(
    transport: &dyn Transport,
    id: &str,
    topic: StoreTopic,
    partitions: i32,
    policy: &'static str,
) {
    let config = CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str("cleanup.policy"))
        .with_value(Some(StrBytes::from_static_str(policy)));
    let wanted = CreatableTopic::default()
        .with_name(topic_name(topic, id))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(vec![config]);
    let asked = CreateTopicsRequest::default()
        .with_topics(vec![wanted])
        .with_timeout_ms(30_000);
    let answer = ask(transport, 5, asked).await;
    assert_eq!(answer.topics[0].error_code, 0);
}

async fn several_partitions_work(bootstrap: &str) {
    let id = "partitions";
    let transport = client(bootstrap);
    create(
        transport.as_ref(),
        id,
        StoreTopic::UserMappings,
        3,
        "compact",
    )
    .await;
    let store = open(bootstrap, id).await;
    let accounts = topic_name(StoreTopic::UserMappings, id);
    for partition in 0..3 {
        let key = format!(r#"["service-account","v","p{partition}"]"#);
        let record = raw(&key, r#"{"v":1,"type":"LOCAL"}"#);
        produce(transport.as_ref(), &accounts, partition, &[record], None).await;
    }
    assert!(store.refresh(LIMIT).await);
    assert_eq!(store.snapshot().accounts.len(), 3);
    assert_eq!(
        store.put_account(external("v", "p2", "x")).await.unwrap(),
        Upsert::Updated
    );
    assert!(store.delete_account("v", "p1").await.unwrap());
    store.put_account(local("v", "new")).await.unwrap();
    let fresh = open(bootstrap, id).await;
    assert_eq!(*fresh.snapshot(), *store.snapshot());
    let snapshot = fresh.snapshot();
    let names: Vec<_> = snapshot.accounts.iter().map(|a| a.name.clone()).collect();
    assert_eq!(names, ["new", "p0", "p2"]);
    assert_eq!(snapshot.account("v", "p2").unwrap().external_names(), ["x"]);
}

/// The answer to the commit is lost, and another node takes over before it can be asked for again.
async fn a_lost_commit_is_settled(bootstrap: &str) {
    let id = "doubt";
    let faulty = Faulty::new(client(bootstrap));
    let store = Store::open(faulty.clone(), options(id)).await.unwrap();
    let other = open(bootstrap, id).await;
    for committed in [true, false] {
        let name = if committed { "committed" } else { "not" };
        let lost = Arc::new(AtomicBool::new(false));
        let taken_over = Arc::new(AtomicBool::new(false));
        let (lose, may_go_on) = (lost.clone(), taken_over.clone());
        faulty.judge(move |call| {
            if call.api != ApiKey::END_TXN || may_go_on.load(Ordering::SeqCst) {
                return Fate::Pass;
            }
            let first = !lose.swap(true, Ordering::SeqCst);
            if committed && first {
                Fate::AnswerLost
            } else {
                Fate::Lost
            }
        });
        let interloper = async {
            eventually("the commit to be lost", || lost.load(Ordering::SeqCst)).await;
            other
                .put_account(local("v", &format!("interloper-{name}")))
                .await
                .unwrap();
            taken_over.store(true, Ordering::SeqCst);
        };
        let account = local("v", name);
        let (put, ()) = tokio::join!(store.put_account(account), interloper);
        assert_eq!(put.unwrap(), Upsert::Created, "{name}");
        assert!(other.refresh(LIMIT).await);
        assert!(other.snapshot().account("v", name).is_some());
        assert_eq!(
            other.snapshot().accounts.len(),
            store.snapshot().accounts.len()
        );
    }
}

async fn an_outage_keeps_the_snapshot(bootstrap: &str) {
    let id = "outage";
    let faulty = Faulty::new(client(bootstrap));
    let short = Options {
        write_limit: Duration::from_millis(500),
        ..options(id)
    };
    let store = Store::open(faulty.clone(), short).await.unwrap();
    eventually("a first account", || true).await;
    let first = loop {
        // On a busy machine half a second may be too short.
        if let Ok(upsert) = store.put_account(local("v", "before")).await {
            break upsert;
        }
    };
    assert_ne!(first, Upsert::Updated);
    faulty.judge(|_| Fate::Lost);
    let refused = store.put_account(local("v", "during")).await;
    assert!(
        matches!(
            refused,
            Err(WriteError::Store(StoreError::Unavailable { .. }))
        ),
        "{refused:?}"
    );
    assert!(!store.refresh(Duration::from_millis(100)).await);
    eventually("staleness", || matches!(store.status(), Status::Stale(_))).await;
    assert_eq!(store.snapshot().accounts.len(), 1);
    faulty.judge(|_| Fate::Pass);
    eventually("recovery", || store.status() == Status::Current).await;
    assert!(store.refresh(LIMIT).await);
    assert_eq!(store.snapshot().accounts.len(), 1);
}

async fn a_full_refresh_changes_nothing(bootstrap: &str) {
    let often = Options {
        ttl: Duration::from_millis(100),
        ..options("ttl")
    };
    let store = Store::open(client(bootstrap), often).await.unwrap();
    for n in 0..20 {
        store
            .put_account(local("v", &format!("user-{n}")))
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(store.snapshot().accounts.len(), 20);
    assert_eq!(
        (store.refresh_differences(), store.status()),
        (0, Status::Current)
    );
}

async fn the_wrong_policy_stops_the_start(bootstrap: &str) {
    let transport = client(bootstrap);
    create(transport.as_ref(), "policy", StoreTopic::Acls, 1, "delete").await;
    let error = Store::open(transport, options("policy"))
        .await
        .err()
        .expect("an error");
    assert!(matches!(
        &error,
        OpenError::WrongSetting {
            topic: StoreTopic::Acls,
            property: "cleanup.policy",
            ..
        }
    ));
    let text = error.to_string();
    assert!(
        text.contains("GATEWAY_ACLS_TOPIC") && text.contains("_conduktor_policy_acls"),
        "{text}"
    );
}

async fn deleted_records_break_the_store(bootstrap: &str) {
    let id = "cut";
    let store = open(bootstrap, id).await;
    store.acls_add(vec![binding("v", "t")]).await.unwrap();
    let transport = client(bootstrap);
    // Kafka deletes no records of a topic that is compacted only.
    let name = StrBytes::from_string(StoreTopic::Acls.default_name(id));
    let asked = IncrementalAlterConfigsRequest::default().with_resources(vec![
        AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(name)
            .with_configs(vec![
                AlterableConfig::default()
                    .with_name(StrBytes::from_static_str("cleanup.policy"))
                    .with_value(Some(StrBytes::from_static_str("compact,delete"))),
            ]),
    ]);
    let answer = ask(transport.as_ref(), 1, asked).await;
    assert_eq!(answer.responses[0].error_code, 0);
    let answer = loop {
        let asked = delete_records(id);
        let answer = ask(transport.as_ref(), 2, asked).await;
        // The broker may not have heard of the new policy.
        if answer.topics[0].partitions[0].error_code != POLICY_VIOLATION {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
    still_in_force(&store).await;
}

fn delete_records(id: &str) -> DeleteRecordsRequest {
    DeleteRecordsRequest::default()
        .with_timeout_ms(30_000)
        .with_topics(vec![
            DeleteRecordsTopic::default()
                .with_name(topic_name(StoreTopic::Acls, id))
                .with_partitions(vec![
                    DeleteRecordsPartition::default()
                        .with_partition_index(0)
                        .with_offset(-1),
                ]),
        ])
}

async fn a_deleted_topic_breaks_the_store(bootstrap: &str) {
    let id = "gone";
    let store = open(bootstrap, id).await;
    store.acls_add(vec![binding("v", "t")]).await.unwrap();
    let transport = client(bootstrap);
    let asked = DeleteTopicsRequest::default()
        .with_topic_names(vec![topic_name(StoreTopic::Acls, id)])
        .with_timeout_ms(30_000);
    assert_eq!(
        ask(transport.as_ref(), 5, asked).await.responses[0].error_code,
        0
    );
    still_in_force(&store).await;
}

async fn still_in_force(store: &Store) {
    broken(store).await;
    assert_eq!(store.snapshot().acls.len(), 1);
    let refused = store.put_account(local("v", "late")).await;
    assert!(
        matches!(refused, Err(WriteError::Store(StoreError::Broken { .. }))),
        "{refused:?}"
    );
    assert!(!store.refresh(LIMIT).await);
    assert!(matches!(
        store.status(),
        Status::Broken {
            topic: StoreTopic::Acls,
            ..
        }
    ));
}
