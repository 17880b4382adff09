//! Topics under other names.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::driver::{Given, Task};
use testkit::rdkafka::Message;
use testkit::rdkafka::consumer::{BaseConsumer, Consumer};
use testkit::rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use testkit::rdkafka::types::RDKafkaErrorCode;
use testkit::{Error, Result, librdkafka, wait};
use wire::api::ApiKey;

use crate::ask::{self, Kind, code};
use crate::caller::Caller;
use crate::message::{hex, unhex};
use crate::prepare::{assignment, join_request, subscription};
use crate::scale;
use crate::stop::Stop;
use crate::world::{LIMIT, PASSTHROUGH, Tenant, World, fresh_name, java};

/// A topic made outside of any virtual cluster.
fn target(world: &World) -> Result<String> {
    let name = fresh_name("target");
    ask::topic(&mut world.brokers(), &name, 1)?;
    Ok(name)
}

fn topic_id(caller: &mut Caller, name: &str) -> Result<String> {
    let answer = caller.ask(1, ApiKey::METADATA, 12, &ask::named(&[name]))?;
    let topic = &answer["Topics"][0];
    match (topic["ErrorCode"].as_i64(), topic["TopicId"].as_str()) {
        (Some(0), Some(id)) => Ok(id.to_owned()),
        _ => Err(Error::Answer(answer.to_string())),
    }
}

#[test]
fn one_topic_is_read_under_several_names() -> Result<()> {
    let world = World::get()?;
    let target = target(world)?;
    let tenants = [world.tenant("london")?, world.tenant("paris")?];
    let api = &world.front.api;
    for tenant in &tenants {
        api.alias(&tenant.name, "shared", &target)?;
    }
    let outside = fresh_name("alias");
    api.alias(PASSTHROUGH, &outside, &target)?;
    let values: Vec<String> = (0..10).map(|number| number.to_string()).collect();
    let [one, two] = &tenants;
    librdkafka::produce(
        &one.bootstrap(),
        &one.settings()?.list(),
        "shared",
        values.clone(),
    )?;
    for tenant in &tenants {
        let mut root = tenant.root()?;
        assert_eq!(ask::topics(&mut root)?, ["shared"]);
        // In the same group, each with an offset of its own.
        let settings = tenant.settings()?;
        let seen = librdkafka::consume(
            &tenant.bootstrap(),
            &settings.list(),
            "readers",
            "shared",
            10,
        )?;
        assert_eq!(seen, values);
    }
    let mut root = two.root()?;
    ask::commit(&mut root, "others", "shared", 4)?;
    assert_eq!(ask::committed(&mut one.root()?, "others", "shared")?, -1);
    let direct = ask::committed(&mut world.brokers(), &two.physical("others"), &target)?;
    assert_eq!(direct, 4, "offsets are the target's");
    let listed = ask::topics(&mut world.passthrough().root()?)?;
    assert!(
        listed.contains(&outside) && listed.contains(&target),
        "{listed:?}"
    );
    Ok(())
}

#[test]
fn aliases_that_cannot_be_are_refused() -> Result<()> {
    let world = World::get()?;
    let target = target(world)?;
    let tenant = world.tenant("madrid")?;
    let api = &world.front.api;
    ask::topic(&mut tenant.root()?, "plain", 1)?;
    api.alias(&tenant.name, "alias", &target)?;
    let status = |name: &str, physical: &str| {
        api.put_alias(&tenant.name, name, physical)
            .map(|(status, _)| status)
    };
    assert_eq!(status("of-alias", "alias")?, 404, "an alias of an alias");
    assert_eq!(status("nothing", "no-such-topic")?, 404);
    assert_eq!(status("state", "_conduktor_gateway_usermappings")?, 400);
    assert_eq!(status("offsets", "__consumer_offsets")?, 400);
    assert_eq!(status("plain", &target)?, 409, "a plain topic has the name");
    assert_eq!(status("bad/name", &target)?, 400);
    let elsewhere = json!({ "physicalName": target, "physicalCluster": "elsewhere" });
    for name in ["far", "alias"] {
        let metadata = json!({ "vCluster": tenant.name, "name": name });
        let (status, answer) = api.put("AliasTopic", metadata, elsewhere.clone())?;
        assert_eq!(status, 409, "{name}: {answer}");
    }
    let unknown = api.put_alias("no-such-cluster", "alias", &target)?;
    assert_eq!(unknown.0, 404, "{}", unknown.1);
    Ok(())
}

/// The topic's shape is its owner's.
#[test]
fn an_alias_is_not_the_topic() -> Result<()> {
    let world = World::get()?;
    let target = target(world)?;
    let tenant = world.guarded("berlin")?;
    world.front.api.alias(&tenant.name, "alias", &target)?;
    tenant.account("clerk")?;
    let (mut root, mut clerk) = (tenant.root()?, tenant.caller("clerk")?);
    let all = json!({
        "ResourceType": 2, "ResourceName": "alias", "ResourcePatternType": 3,
        "Principal": "User:clerk", "Host": "*", "Operation": 2, "PermissionType": 3,
    });
    root.must(1, ApiKey::CREATE_ACLS, 3, &json!({ "Creations": [all] }))?;
    assert_eq!(
        ask::create(&mut root, "alias", 1)?,
        code::TOPIC_ALREADY_EXISTS
    );
    let named = json!({ "Topics": [{ "Name": "alias" }], "TimeoutMs": 30_000 });
    let answer = root.ask(1, ApiKey::DELETE_TOPICS, 6, &named)?;
    assert_eq!(
        ask::ints(&answer["Responses"], "ErrorCode"),
        [code::TOPIC_DELETION_DISABLED]
    );
    let by_id = topic_id(&mut root, "alias")?;
    let body = json!({ "Topics": [{ "Name": null, "TopicId": by_id }], "TimeoutMs": 30_000 });
    let answer = root.ask(1, ApiKey::DELETE_TOPICS, 6, &body)?;
    assert_eq!(
        ask::ints(&answer["Responses"], "ErrorCode"),
        [code::TOPIC_DELETION_DISABLED]
    );
    let body = json!({
        "Topics": [{ "Name": "alias", "Count": 5, "Assignments": null }],
        "TimeoutMs": 30_000,
    });
    let answer = root.ask(1, ApiKey::CREATE_PARTITIONS, 3, &body)?;
    assert_eq!(
        ask::ints(&answer["Results"], "ErrorCode"),
        [code::POLICY_VIOLATION]
    );

    let alter = json!({ "Resources": [{
        "ResourceType": 2,
        "ResourceName": "alias",
        "Configs": [{ "Name": "segment.ms", "ConfigOperation": 0, "Value": "3600000" }],
    }] });
    let altered = |caller: &mut Caller| -> Result<Vec<i64>> {
        let answer = caller.ask(1, ApiKey::INCREMENTAL_ALTER_CONFIGS, 1, &alter)?;
        Ok(ask::ints(&answer["Responses"], "ErrorCode"))
    };
    assert_eq!(altered(&mut clerk)?, [code::TOPIC_AUTHORIZATION_FAILED]);
    assert_eq!(altered(&mut root)?, [0], "a super user");
    let describe = json!({ "Resources": [{
        "ResourceType": 2,
        "ResourceName": "alias",
        "ConfigurationKeys": ["segment.ms"],
    }] });
    wait::until_true("the new value", LIMIT, || {
        let answer = clerk.must(1, ApiKey::DESCRIBE_CONFIGS, 4, &describe);
        answer.is_ok_and(|answer| {
            let result = &answer["Results"][0];
            result["ResourceName"] == "alias" && result["Configs"][0]["Value"] == "3600000"
        })
    })?;

    ask::produce(&mut clerk, "alias", 4, "some")?;
    let body = json!({
        "Topics": [{ "Name": "alias", "Partitions": [{ "PartitionIndex": 0, "Offset": 2 }] }],
        "TimeoutMs": 30_000,
    });
    let answer = clerk.must(1, ApiKey::DELETE_RECORDS, 2, &body)?;
    assert_eq!(answer["Topics"][0]["Partitions"][0]["LowWatermark"], 2);
    assert_eq!(answer["Topics"][0]["Name"], "alias");
    Ok(())
}

/// A Java consumer of two aliases of one topic reads everything twice.
#[test]
fn two_aliases_give_every_record_twice() -> Result<()> {
    let world = World::get()?;
    let target = target(world)?;
    let tenant = world.tenant("vienna")?;
    for name in ["left", "right"] {
        world.front.api.alias(&tenant.name, name, &target)?;
    }
    let values = (0..20).map(|number| number.to_string());
    librdkafka::produce(&world.broker_bootstrap(), &[], &target, values)?;
    let mut root = tenant.root()?;
    let mut ids = BTreeSet::from([topic_id(&mut world.brokers(), &target)?]);
    for name in ["left", "right"] {
        let id = topic_id(&mut root, name)?;
        assert_eq!(topic_id(&mut root, name)?, id, "the same each time");
        assert!(ids.insert(id), "ids are distinct");
    }
    let access = tenant.access()?.java(&[
        ("group.id", "readers"),
        ("auto.offset.reset", "earliest"),
        ("count", "40"),
    ]);
    let report = java()?.run(Task::Consume, "left,right", &access)?;
    assert!(report.ok, "{}", report.text);
    let seen: BTreeSet<&str> = report.text.lines().collect();
    let expected: BTreeSet<String> = (0..20)
        .flat_map(|at| ["left", "right"].map(|name| format!("{name} 0 {at} {at}")))
        .collect();
    assert_eq!(seen, expected.iter().map(String::as_str).collect());
    Ok(())
}

/// A producer numbers its batches for each name it knows; a broker for each partition it has.
#[test]
fn an_idempotent_producer_writes_to_aliases_and_their_target() -> Result<()> {
    let world = World::get()?;
    let tenant = world.tenant("dublin")?;
    ask::topic(&mut tenant.root()?, "target", 1)?;
    for name in ["left", "right"] {
        world
            .front
            .api
            .alias(&tenant.name, name, &tenant.physical("target"))?;
    }
    let count = scale(3_000);
    let settings = tenant
        .settings()?
        .with("enable.idempotence", "true")
        .with("linger.ms", "1")
        .with("batch.num.messages", "20");
    let producer: BaseProducer =
        librdkafka::config(&tenant.bootstrap(), &settings.list()).create()?;
    for number in 0..count {
        let name = ["target", "left", "right"][(number % 3) as usize];
        let value = number.to_string();
        let mut record = BaseRecord::<(), str>::to(name).partition(0).payload(&value);
        while let Err((error, unsent)) = producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            producer.poll(Duration::from_millis(10));
            record = unsent;
        }
    }
    producer.flush(LIMIT)?;
    let seen = librdkafka::read_all(&tenant.bootstrap(), &tenant.settings()?.list(), "target")?;
    let distinct: BTreeSet<&String> = seen.iter().collect();
    assert_eq!((seen.len() as u64, distinct.len() as u64), (count, count));
    Ok(())
}

#[test]
fn members_of_groups_read_the_names_they_know() -> Result<()> {
    let world = World::get()?;
    let target = target(world)?;
    let tenant = world.tenant("oslo")?;
    world.front.api.alias(&tenant.name, "alias", &target)?;
    // Another one of the same topic, before it in the alphabet.
    world.front.api.alias(&tenant.name, "aaa", &target)?;
    let mut root = tenant.root()?;
    let node = ask::coordinator(&mut root, Kind::Group, "readers")?;
    let first = root.ask(
        node,
        ApiKey::JOIN_GROUP,
        4,
        &join_request("readers", "", "alias"),
    )?;
    let id = first["MemberId"].as_str().unwrap_or_default().to_owned();
    let joined = root.must(
        node,
        ApiKey::JOIN_GROUP,
        4,
        &join_request("readers", &id, "alias"),
    )?;
    let subscribed = joined["Members"][0]["Metadata"]
        .as_str()
        .unwrap_or_default();
    assert_eq!(unhex(subscribed), subscription("alias"));
    let body = json!({
        "GroupId": "readers",
        "GenerationId": joined["GenerationId"],
        "MemberId": id,
        "Assignments": [{ "MemberId": id, "Assignment": hex(&assignment("alias")) }],
    });
    let synced = root.must(node, ApiKey::SYNC_GROUP, 3, &body)?;
    assert_eq!(
        unhex(synced["Assignment"].as_str().unwrap_or_default()),
        assignment("alias")
    );
    let describe = |caller: &mut Caller, group: &str| -> Result<Value> {
        let answer = caller.must(
            node,
            ApiKey::DESCRIBE_GROUPS,
            5,
            &json!({ "Groups": [group] }),
        )?;
        Ok(answer["Groups"][0]["Members"][0].clone())
    };
    let own = describe(&mut root, "readers")?;
    let outside = describe(&mut world.brokers(), &tenant.physical("readers"))?;
    for field in ["MemberMetadata", "MemberAssignment"] {
        let own = own[field].as_str().unwrap_or_default();
        assert!(
            own.contains(&hex(b"alias")) && !own.contains(&hex(target.as_bytes())),
            "{own}"
        );
        assert!(
            outside[field].to_string().contains(&hex(target.as_bytes())),
            "{outside}"
        );
    }
    Ok(())
}

#[test]
fn a_target_that_is_made_again_is_found_again() -> Result<()> {
    let world = World::get()?;
    let target = target(world)?;
    let tenant = world.tenant("lisbon")?;
    world.front.api.alias(&tenant.name, "alias", &target)?;
    let mut root = tenant.root()?;
    let before = topic_id(&mut root, "alias")?;
    let settings = tenant
        .settings()?
        .with("group.id", "readers")
        .with("auto.offset.reset", "earliest")
        .with("topic.metadata.refresh.interval.ms", "500");
    let consumer: BaseConsumer =
        librdkafka::config(&tenant.bootstrap(), &settings.list()).create()?;
    consumer.subscribe(&["alias"])?;
    let of_java = read_by_java(&tenant, 4)?;
    // More than there will be: who goes on reading where they were is told that this is beyond the end.
    for value in ["one", "two", "before"] {
        produce(&tenant, value)?;
    }
    reads(&consumer, "before")?;
    for (group, _) in &of_java {
        wait::until_true("Java to read so far", LIMIT, || {
            ask::committed(&mut root, group, "alias").is_ok_and(|offset| offset == 3)
        })?;
    }

    let mut brokers = world.brokers();
    let named = json!({ "Topics": [{ "Name": target }], "TimeoutMs": 30_000 });
    brokers.must(1, ApiKey::DELETE_TOPICS, 6, &named)?;
    wait::until_true("the alias to lead nowhere", LIMIT, || {
        let codes = ask::lookup(&mut root, &["alias"]);
        codes.is_ok_and(|codes| codes == [code::UNKNOWN_TOPIC_OR_PARTITION])
    })?;
    assert_eq!(
        ask::topics(&mut root)?,
        Vec::<String>::new(),
        "hidden without its target"
    );
    ask::topic(&mut brokers, &target, 1)?;
    let after = wait::until("the alias to lead somewhere", LIMIT, || {
        topic_id(&mut root, "alias").map(Some)
    })?;
    assert_ne!(before, after);
    produce(&tenant, "after")?;
    reads(&consumer, "after")?;
    // Java's consumers take the new topic for the old one, cut off, and may go on at its end. So there has to be more.
    let more = Stop::default();
    std::thread::scope(|scope| {
        let _stop = more.on_drop();
        let writer = scope.spawn(|| {
            while !more.flag().load(Ordering::Relaxed) {
                produce(&tenant, "after")?;
            }
            Ok(())
        });
        for (group, task) in of_java {
            let report = task.wait()?;
            assert!(report.ok, "{group}: {}", report.text);
            let last = report.text.lines().last().unwrap_or_default();
            assert!(last.ends_with(" after"), "{group}: {}", report.text);
        }
        more.now();
        let ended = writer.join();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Java consumers of the alias, by the name of their group, which is that of its protocol. They commit at once what they
/// have read, and leave after `count` records.
fn read_by_java(tenant: &Tenant<'_>, count: u64) -> Result<Vec<(&'static str, Given<'static>)>> {
    let given = |protocol: &'static str| {
        let access = tenant.access()?.java(&[
            ("group.id", protocol),
            ("group.protocol", protocol),
            ("auto.offset.reset", "earliest"),
            ("auto.commit.interval.ms", "100"),
            ("count", &count.to_string()),
        ]);
        Ok((protocol, java()?.give(Task::Consume, "alias", &access)?))
    };
    ["classic", "consumer"].into_iter().map(given).collect()
}

fn produce(tenant: &Tenant<'_>, value: &str) -> Result<()> {
    let settings = tenant.settings()?;
    librdkafka::produce(
        &tenant.bootstrap(),
        &settings.list(),
        "alias",
        [value.to_owned()],
    )
}

fn reads(consumer: &BaseConsumer, value: &str) -> Result<()> {
    wait::until_true(&format!("the record {value:?}"), LIMIT, || {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => message.payload() == Some(value.as_bytes()),
            _ => false,
        }
    })
}

/// Clients that fetch by id stop reading when an id is not what they know, and ask for metadata again and again.
#[test]
fn java_consumers_stay_with_an_alias() -> Result<()> {
    /// A consumer that is content asks every five minutes; one that is not, ten times a second.
    const CONTENT: f64 = 2.0;
    let world = World::get()?;
    let target = target(world)?;
    let tenant = world.tenant("riga")?;
    world.front.api.alias(&tenant.name, "alias", &target)?;
    // A task must not take longer than a minute.
    let records = (scale(1) * 60).min(800);
    let given = read_by_java(&tenant, records)?;
    let mut brokers = world.brokers();
    let mut root = tenant.root()?;
    let mut write = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            let body = ask::production(&target, 0, &crate::records::batch(1, &number.to_string()));
            brokers.must(1, ApiKey::PRODUCE, 9, &body)?;
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok::<_, Error>(())
    };
    let asked = |api: &str| {
        let name = &tenant.name;
        let series = "gateway_thread_request_rebuild_total";
        let labels = format!("{{api_key=\"{api}\",vcluster=\"{name}\"}}");
        world.front.metric(&format!("{series}{labels}"))
    };
    write(0..10)?;
    for (group, _) in &given {
        wait::until_true("Java to read", LIMIT, || {
            ask::committed(&mut root, group, "alias").is_ok_and(|offset| offset == 10)
        })?;
    }
    let (metadata, fetches) = (asked("METADATA")?, asked("FETCH")?);
    write(10..records)?;
    let (metadata, fetches) = (asked("METADATA")? - metadata, asked("FETCH")? - fetches);
    assert!(metadata <= CONTENT, "{metadata} requests for metadata");
    assert!(fetches > metadata, "{fetches} fetches");
    for (group, task) in given {
        let report = task.wait()?;
        assert!(report.ok, "{group}: {}", report.text);
        assert!(report.text.lines().all(|line| line.starts_with("alias ")));
        assert_eq!(report.count, records, "{group}");
    }
    Ok(())
}

/// Many read different places of one topic through aliases of it at the same time.
#[test]
fn readers_of_aliases_get_what_they_ask_for() -> Result<()> {
    const RECORDS: i64 = 40;
    let world = World::get()?;
    let target = target(world)?;
    let tenant = world.tenant("tallinn")?;
    let mut brokers = world.brokers();
    for number in 0..RECORDS {
        let body = ask::production(&target, 0, &crate::records::batch(1, &number.to_string()));
        brokers.must(1, ApiKey::PRODUCE, 9, &body)?;
    }
    let mut root = tenant.root()?;
    for name in ["left", "right"] {
        world.front.api.alias(&tenant.name, name, &target)?;
    }
    let ids = [topic_id(&mut root, "left")?, topic_id(&mut root, "right")?];
    for (number, group) in ["one", "two"].iter().enumerate() {
        ask::commit(&mut root, group, "left", number as i64 + 5)?;
    }
    let reader = &|number: i64, mut caller: Caller| -> Result<()> {
        for round in 0..scale(60) as i64 {
            let offset = (number * 7 + round) % RECORDS;
            let at = (round % 2) as usize;
            let body = json!({
                "MaxWaitMs": 0,
                "SessionId": 0,
                "SessionEpoch": round % 2 - 1,
                "Topics": [{
                    "TopicId": ids[at],
                    "Partitions": [{
                        "Partition": 0, "FetchOffset": offset, "PartitionMaxBytes": 80,
                    }],
                }],
            });
            let answer = caller.must(1, ApiKey::FETCH, 16, &body)?;
            let records = answer["Responses"][0]["Partitions"][0]["Records"].as_str();
            let first = records.and_then(|bytes| i64::from_str_radix(bytes.get(..16)?, 16).ok());
            assert_eq!(first, Some(offset), "{answer}");
            assert_eq!(answer["Responses"][0]["TopicId"], *ids[at]);
            let group = ["one", "two"][at];
            let node = coordinator(&mut caller, group)?;
            let body = json!({
                "GroupId": group,
                "Topics": [{ "Name": "left", "PartitionIndexes": [0] }],
            });
            let answer = caller.must(node, ApiKey::OFFSET_FETCH, 7, &body)?;
            let committed = &answer["Topics"][0]["Partitions"][0]["CommittedOffset"];
            assert_eq!(*committed, at + 5, "{answer}");
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..6)
            .map(|number| {
                let caller = root.again();
                scope.spawn(move || reader(number, caller))
            })
            .collect();
        readers.into_iter().try_for_each(|reader| {
            let ended = reader.join();
            ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })
}

fn coordinator(caller: &mut Caller, group: &str) -> Result<i32> {
    ask::coordinator(caller, Kind::Group, group)
}
